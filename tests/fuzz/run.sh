#!/bin/sh
# Runs the fuzz targets. The Makefile builds them, and fuzz_*.c contain their checks.
#
#     tests/fuzz/run.sh fuzz SECONDS   run each target for this time, starting with its corpus, JOBS
#                                      (2) targets at a time; with SEED set, always the same way
#     tests/fuzz/run.sh replay         replay the corpora, and measure which parser code they cover
#     tests/fuzz/run.sh minimise       add new inputs to the corpora, and make the corpora as small
#                                      as possible with the same coverage
#
# A crash, a leak, a time-out or a lack of memory is a failure. The input file that causes it is
# printed. This file, and all new inputs that fuzzing finds, are kept in build/fuzz.
# shellcheck disable=SC2046,SC2086 # lists of words
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh

out=build/fuzz
corpora=tests/fuzz/corpus
targets=$(printf '%s\n' tests/fuzz/fuzz_*.c | sed 's|.*/fuzz_\(.*\)\.c|\1|')
max_bytes=2048 # the limit for an input
parsers='utf8 url http handshake websocket stomp_text stomp_head stomp_parse stomp_build proxy'
goal=99 # percent of the lines of each of them that the corpora must reach
export UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_stack_use_after_return=1:quarantine_size_mb=64

# Prints the dictionary of a target.
dictionary() {
    case $1 in
        url | utf8 | websocket | proxy | tls | calls) cat tests/fuzz/$1.dict ;;
        handshake) cat tests/fuzz/http.dict ;;
        stomp*) cat tests/fuzz/stomp.dict ;;
        pem) cat tests/fuzz/pem.dict ;;
        *) cat tests/fuzz/http.dict tests/fuzz/stomp.dict ;;
    esac
}

# Prints the limit for the length of an input. Long lists of calls are slow, and find no more.
longest() {
    case $1 in
        calls) echo 400 ;;
        *) echo $max_bytes ;;
    esac
}

# ---- fuzzing ----

# Prints the final statistics of libFuzzer as one line.
outcome() {
    awk '/^#[0-9]+.* cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") edges = $(i + 1) }
        /^stat::number_of_executed_units:/ { runs = $2 }
        /^stat::new_units_added:/ { fresh = $2 }
        /^stat::peak_rss_mb:/ { memory = $2 }
        END { printf "%d runs, %d edges, %d new inputs, %d MiB\n", runs, edges, fresh, memory }' "$1"
}

# Runs one target, and keeps its status for later.
fuzz_target() {
    log=$out/$1.log
    mkdir -p $out/corpus/$1 $out/found
    dictionary $1 >$out/$1.dict
    timeout -k 10 $((seconds + 120)) $out/tests/fuzz/fuzz_$1 -max_total_time=$seconds \
        -max_len=$(longest $1) -timeout=30 -rss_limit_mb=2048 -malloc_limit_mb=256 \
        -print_final_stats=1 -seed="${SEED:-0}" -dict=$out/$1.dict -artifact_prefix=$out/found/$1- \
        $out/corpus/$1 $corpora/$1 >$log 2>&1 && fuzz_status=0 || fuzz_status=$?
    echo $fuzz_status >$out/$1.status
}

fuzzed_well() {
    log=$out/$1.log
    [ "$(cat $out/$1.status)" = 0 ] && grep -q '^stat::number_of_executed_units: [1-9]' $log && return
    echo "input that causes it: $(sed -n 's/.*Test unit written to //p' $log)"
    grep -E 'not true|runtime error|ERROR: |SUMMARY|differ|^ALARM|: [0-9]+ passed' $log | head -n 10
    echo "complete log: $log"
    return 1
}

fuzz_all() {
    mkdir -p $out
    rm -f $out/*.status
    printf '%s\n' $targets | xargs -n 1 -P "${JOBS:-2}" sh tests/fuzz/run.sh one "$1" || :
    for target in $targets; do
        check "fuzzing $target" fuzzed_well $target
        printf '%-16s %s\n' "$target:" "$(outcome $out/$target.log)"
    done
}

# ---- replaying ----

replay_target() {
    timeout -k 10 600 build/asan/tests/fuzz/fuzz_$1 $corpora/$1
}

llvm() {
    tool=$(clang -print-prog-name=$1)
    shift
    $tool "$@"
}

# Finds the lines of the header that the corpora reach. build/fuzz/lines contains "line|count|text"
# for each line.
measure() {
    profiles=build/profile
    object= # llvm-cov takes the first program without a flag
    rm -f $profiles/*.profraw
    for target in $targets; do
        LLVM_PROFILE_FILE=$profiles/$target-%m.profraw \
            $profiles/tests/fuzz/fuzz_$target $corpora/$target || return 1
    done
    llvm llvm-profdata merge -o $profiles/all.profdata $profiles/*.profraw &&
        llvm llvm-cov show -show-instantiations=0 -instr-profile=$profiles/all.profdata \
            $(for target in $targets; do echo $object $profiles/tests/fuzz/fuzz_$target; object=-object; done) \
            stomp_ws.h >$out/lines
}

# Prints the covered share of a section's lines, and the lines that are missing. Fails if the share
# is below the goal.
cover_section() {
    awk -F '|' -v section=">>$1:" -v goal="$2" '
        $3 ~ /^\/\* ==== / { inside = index($3, section) }
        inside && $2 ~ /[0-9]/ {
            all++
            if ($2 ~ /^ *0$/) missing = missing "    " $1 + 0 ": " substr($0, index($0, $3)) "\n"
            else reached++
        }
        END {
            share = all ? 100 * reached / all : 0
            printf "%-16s %5.1f %% of %d lines\n", substr(section, 3), share, all
            if (goal) printf "%s", missing
            exit share < goal
        }' $out/lines
}

replay_all() {
    mkdir -p $out
    for target in $targets; do
        check "replaying the corpus of $target" replay_target $target
        printf '%-16s %d inputs\n' "$target:" $(find $corpora/$target -type f | wc -l)
    done
    check "measuring the coverage" measure
    echo "Covered by the corpora:"
    for section in $parsers; do
        check "coverage of $section" cover_section $section $goal
        cover_section $section $goal || :
    done
    for section in tls subscriptions receipts outbox transaction_records encode decode output dispatch \
        delivery pull input timers turn submit; do
        cover_section $section 0 || :
    done
}

# ---- minimising ----

# Keeps one input for each edge. libFuzzer uses counters and values only while it searches.
minimise_target() {
    rm -rf $out/minimal
    mkdir -p $out/minimal $out/corpus/$1 $corpora/$1
    $out/tests/fuzz/fuzz_$1 -merge=1 -use_counters=0 -max_len=$(longest $1) -timeout=10 \
        $out/minimal $corpora/$1 $out/corpus/$1 || return 1
    rm -rf "${corpora:?}/$1"
    mv $out/minimal $corpora/$1
}

minimise_all() {
    for target in $targets; do
        check "minimising $target" minimise_target $target
        printf '%-16s %d inputs\n' "$target:" $(find $corpora/$target -type f | wc -l)
    done
}

case ${1:-} in
    fuzz) fuzz_all "${2:-60}" ;;
    one) seconds=$2 && fuzz_target "$3" && exit ;;
    replay) replay_all ;;
    minimise) minimise_all ;;
    *) sed -n '4,8s/^# *//p' "$0" && exit 2 ;;
esac
report
