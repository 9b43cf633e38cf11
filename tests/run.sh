#!/bin/sh
# Runs test programs, JOBS at a time (1), and adds up what they count.
#
#     [JOBS=N] [TIME_LIMIT=SECONDS] [UNDER='TOOL OPTIONS'] tests/run.sh 'PROGRAM [ARGUMENT]...'...
#
# A program counts its own checks and ends with the line "N passed, N failed" (the last line of
# pytest will do too). One that crashes, runs out of time, counts nothing or forgets to count is a
# failure; where anything failed the output is shown. UNDER is a command to run each program with.
# shellcheck disable=SC2086,SC2046 # a command is several words
set -u

time_limit=${TIME_LIMIT:-120}
under=${UNDER:-}

# What the last line that counts something says, as "PASSED FAILED": errors, skipped tests and tests
# that are expected to fail have not passed. Of pytest's line, colours, ruler and time are left out.
counts() {
    awk '
        { gsub(/\033\[[0-9;]*m/, "") }
        /^=* ?([0-9]+ [a-z]+, )*[0-9]+ [a-z]+( in [0-9.]+s.*)?$/ && / (passed|failed|errors?)/ {
            line = $0
        }
        END {
            gsub(/[=,]/, " ", line)
            sub(/ in [0-9].*/, "", line)
            n = split(line, word, " ")
            for (i = 1; i < n; i += 2) {
                if (word[i + 1] == "passed") passed += word[i]
                else if (word[i + 1] !~ /^(warnings?|deselected)$/) failed += word[i]
            }
            print passed + 0, failed + 0
        }' "$1"
}

# Why a program that says it is well is not, or nothing.
fault() {
    status=$1 passed=$2 failed=$3
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        echo "stopped after $time_limit s (status $status)"
    elif [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        echo "ended with status $status"
    elif [ "$((passed + failed))" -eq 0 ]; then
        echo "counted no check"
    fi
}

# run_one PROGRAM: runs it and says what came of it, in one piece, as others run beside it. What it
# counted is left for the sum.
run_one() {
    program=$1 log=$logs/$$ began=$(date +%s)
    timeout -k 5 "$time_limit" $under $1 >"$log" 2>&1 </dev/null
    status=$?
    seconds=$(($(date +%s) - began))
    set -- $(counts "$log")
    passed=$1 failed=$2
    fault=$(fault "$status" "$passed" "$failed")
    [ -z "$fault" ] || failed=$((failed + 1))
    [ "$failed" -ne 0 ] || : >"$log"
    printf '%s: %s passed, %s failed, %s s%s\n' \
        "$program" "$passed" "$failed" "$seconds" "${fault:+ ($fault)}" >>"$log"
    cat "$log"
    echo "$passed $failed" >>"$logs/counts"
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
printf '%s\0' "$@" | xargs -0 -n 1 -P "${JOBS:-1}" sh "$0" --one "$logs"
awk -v programs=$# '
    { passed += $1; failed += $2 }
    END {
        failed += programs - NR # one that was killed with its shell has left nothing
        print passed + 0 " passed, " failed + 0 " failed"
        exit failed || !passed
    }' "$logs/counts"
