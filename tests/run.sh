#!/bin/sh
# Runs test programs, JOBS at a time (1), and adds up their counts.
#
#     [JOBS=N] [TIME_LIMIT=SECONDS] [UNDER='TOOL OPTIONS'] tests/run.sh 'PROGRAM [ARGUMENT]...'...
#
# Each program gets one line of output. A program counts its own checks, and its last line is
# "N passed, N failed" or "N passed, N failed, N skipped" (the last line of pytest works too). A
# program that crashes, runs out of time or counts nothing is a failure. The output of a program is
# shown when something in it failed. UNDER is a command that runs each program.
#
# A check that this machine cannot make is printed by the program as "SKIPPED TOOL: CHECK", where
# TOOL is the missing thing. All missing things are listed before the last line, each once.
# shellcheck disable=SC2086,SC2046 # a command is several words
set -u

time_limit=${TIME_LIMIT:-120}
under=${UNDER:-}

# Prints "PASSED FAILED SKIPPED" from the last line of the output that counts something. Errors, and
# tests that are expected to fail, count as failed. The colours, the ruler and the time in pytest's
# line are ignored.
counts() {
    awk '
        { gsub(/\033\[[0-9;]*m/, "") }
        /^=* ?([0-9]+ [a-z]+, )*[0-9]+ [a-z]+( in [0-9.]+s.*)?$/ && / (passed|failed|errors?|skipped)/ {
            line = $0
        }
        END {
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

# Prints why a program failed although it counted no failure, or nothing.
fault() {
    status=$1 passed=$2 failed=$3 skipped=$4
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        echo "stopped after $time_limit s (status $status)"
    elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        echo "ended with status $status"
    elif [ "$((passed + failed + skipped))" -eq 0 ]; then
        echo "counted no check"
    fi
}

# run_one PROGRAM: runs it and prints its line in one piece, because other programs run at the same
# time. Its counts and its skipped checks are kept for the sum.
run_one() {
    program=$1 log=$logs/$$ began=$(date +%s)
    timeout -k 5 "$time_limit" $under $1 >"$log" 2>&1 </dev/null
    status=$?
    seconds=$(($(date +%s) - began))
    set -- $(counts "$log")
    passed=$1 failed=$2 skipped=$3
    fault=$(fault "$status" "$passed" "$failed" "$skipped")
    [ -z "$fault" ] || failed=$((failed + 1))
    grep '^SKIPPED ' "$log" >>"$logs/skipped"
    [ "$failed" -ne 0 ] || : >"$log"
    [ "$skipped" -eq 0 ] || skips=", $skipped skipped"
    printf '%s: %s passed, %s failed%s, %s s%s\n' \
        "$program" "$passed" "$failed" "${skips:-}" "$seconds" "${fault:+ ($fault)}" >>"$log"
    cat "$log"
    echo "$passed $failed $skipped" >>"$logs/counts"
}

if [ "${1:-}" = --one ]; then
    logs=$2
    run_one "$3"
    exit 0
fi

logs=$(mktemp -d "${TMPDIR:-/tmp}/run.XXXXXX") || exit 1
trap 'rm -rf "$logs"' EXIT
trap 'exit 130' HUP INT TERM
: >"$logs/counts"
: >"$logs/skipped"
printf '%s\0' "$@" | xargs -0 -n 1 -P "${JOBS:-1}" sh "$0" --one "$logs"

# Lists the missing things, each once, with the checks that need it.
sed 's/^SKIPPED //' "$logs/skipped" | sort -u | awk -F ': ' '
    NR == 1 { print "Skipped, because this machine lacks" }
    $1 != missing { printf "%s    %s: ", sep, missing = $1; sep = "\n"; comma = "" }
    { printf "%s%s", comma, substr($0, length(missing) + 3); comma = ", " }
    END { if (NR) print "" }'

awk -v programs=$# '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        failed += programs - NR # a program that was killed with its shell has left no line
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed || !passed
    }' "$logs/counts"
