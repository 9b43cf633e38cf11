#!/bin/sh
# Runs test programs and adds up their counts.
#
#     [JOBS=N] [TIME_LIMIT=SECONDS] [UNDER='TOOL OPTIONS'] tests/run.sh 'PROGRAM [ARGUMENT]...'...
#
# JOBS is the number of programs that run at the same time (default: 1). TIME_LIMIT is the limit for
# each program (default: 120). UNDER is a command that runs each program, for example valgrind.
#
# Each program gets one line of output. A program counts its own checks, and its last line is "N
# passed, N failed" or "N passed, N failed, N skipped" (the last line of pytest works too). These
# are failures: a program that crashes, runs out of time or counts nothing, prints something after
# its counts, or has an exit status that does not agree with its counts. If a check of a program
# fails, the whole output of that program is shown.
#
# Reports of sanitizers are failures, also reports of processes that a program starts in the
# background. Sanitizers write their reports to files. With gcc, UBSan cannot do that if ASan is
# used too; then the program's output is searched for reports.
#
# If this machine lacks something that a check needs, the program prints "SKIPPED THING: CHECK" and
# counts the check as skipped. The end of the output names each missing thing once.
# shellcheck disable=SC2086,SC2046 # a command is several words
set -u

time_limit=${TIME_LIMIT:-120}
under=${UNDER:-}

# A program in the background of a shell ignores SIGINT. Some tests send that signal.
heed_signals=
if env --default-signal=INT,QUIT true 2>/dev/null; then heed_signals='env --default-signal=INT,QUIT'; fi

# counts FILE: prints "PASSED FAILED SKIPPED" from the last line of the file that is not empty, or nothing
# if that line counts nothing. In pytest's line, errors and tests marked as expected to fail count as
# failures, and the colours, the ruler and the time are ignored.
counts() {
    awk '
        { gsub(/\033\[[0-9;]*m/, "") }
        /[^ ]/ { line = $0 }
        END {
            if (line !~ /^=* ?([0-9]+ [a-z]+, )*[0-9]+ [a-z]+( in [0-9.]+s.*)?$/ ||
                line !~ / (passed|failed|errors?|skipped)/)
                exit
            gsub(/[=,]/, " ", line)
            sub(/ in [0-9].*/, "", line)
            n = split(line, word, " ")
            for (i = 1; i < n; i += 2) {
                if (word[i + 1] == "passed") passed += word[i]
                else if (word[i + 1] == "skipped") skipped += word[i]
                else if (word[i + 1] !~ /^(warnings?|deselected)$/) failed += word[i]
            }
            print passed + 0, failed + 0, skipped + 0
        }' "$1"
}

# fault STATUS [PASSED FAILED SKIPPED]: prints the reason if the program ran out of time, crashed, did not
# end with its counts, ended with a status that does not agree with them, or counted no check.
fault() {
    if [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; then
        echo "stopped with status $1; the limit is $time_limit s"
    elif [ $# -eq 1 ]; then
        echo "ended with status $1, and its last line has no counts"
    elif [ "$1" -ge 128 ] || { [ "$1" -ne 0 ] && [ "$3" -eq 0 ]; }; then
        echo "ended with status $1"
    elif [ $(($2 + $3 + $4)) -eq 0 ]; then
        echo "counted no check"
    elif [ "$1" -eq 0 ] && [ "$3" -ne 0 ]; then
        echo "ended with status 0, although a check failed"
    fi
}

# collect_reports FILE: makes the sanitizers of all processes that are started from now on write each
# report to a file whose name begins with FILE, which may contain blanks or one kind of quotes.
# shellcheck disable=SC2034 # eval uses $quote
collect_reports() {
    case $1 in
        *\'*) quote='"' ;;
        *) quote=\' ;;
    esac
    for options in ASAN_OPTIONS MSAN_OPTIONS TSAN_OPTIONS UBSAN_OPTIONS; do
        eval "export $options=\"\${$options:+\$$options:}log_path=\$quote\$1\$quote\""
    done
}

# A pattern that matches one line of each report.
REPORT=': runtime error: |(ERROR|WARNING): [A-Za-z]+Sanitizer'

# run_one PROGRAM: runs the program and prints its line. The counts and the skipped checks are kept
# for the totals. All output is printed as a whole, because other programs print at the same time.
# The program runs in the background, so that a signal ends the wait for it. timeout then ends all
# its processes.
run_one() {
    program=$1 log=$logs/$$ began=$(date +%s)
    collect_reports "$log.sanitizer"
    timeout -k 5 "$time_limit" $heed_signals $under $1 >"$log" 2>&1 </dev/null &
    child=$!
    trap 'kill -TERM $child; wait $child; exit 130' HUP INT TERM
    wait $child
    status=$?
    seconds=$(($(date +%s) - began))
    set -- $(counts "$log")
    passed=${1:-0} failed=${2:-0} skipped=${3:-0} skips=
    fault=$(fault "$status" "$@")
    cat "$log".sanitizer.* >>"$log" 2>/dev/null
    ! grep -qE "$REPORT" "$log" || fault="${fault:+$fault; }a sanitizer reports an error"
    [ -z "$fault" ] || failed=$((failed + 1))
    [ "$skipped" -eq 0 ] || skips=", $skipped skipped"
    grep '^SKIPPED ' "$log" >>"$logs/skipped"
    [ "$failed" -ne 0 ] || : >"$log"
    printf '%s: %s passed, %s failed%s, %s s%s\n' \
        "$program" "$passed" "$failed" "$skips" "$seconds" "${fault:+ ($fault)}" >>"$log"
    cat "$log"
    echo "$passed $failed $skipped" >>"$logs/counts"
}

if [ "${1:-}" = --one ]; then
    logs=$2
    run_one "$3"
    exit 0
fi

logs=$(mktemp -d "${TMPDIR:-/tmp}/run.XXXXXX") || exit 1
# After a signal, programs that end now may still write a file there.
trap 'rm -rf "$logs" 2>/dev/null || { sleep 1; rm -rf "$logs"; }' EXIT
trap 'exit 130' HUP INT TERM
: >"$logs/counts"
: >"$logs/skipped"
printf '%s\0' "$@" | xargs -0 -n 1 -P "${JOBS:-1}" sh "$0" --one "$logs"

# Lists the missing things, each once, with the checks that need it.
sed 's/^SKIPPED //' "$logs/skipped" | sort -u | awk -F ': ' '
    NR == 1 { print "Skipped checks, and what they need:" }
    $1 != missing { printf "%s    %s: ", sep, missing = $1; sep = "\n"; comma = "" }
    { printf "%s%s", comma, substr($0, length(missing) + 3); comma = ", " }
    END { if (NR) print "" }'

# A program whose shell was killed has no line in the file of counts, and is a failure.
awk -v programs=$# '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        failed += programs - NR
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed || !(passed + skipped)
    }' "$logs/counts"
