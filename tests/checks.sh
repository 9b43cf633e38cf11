# Functions for POSIX sh test scripts. Source this file. `check` counts one passed or failed check,
# `skip` counts one skipped check, and `report` prints the counts in the form that tests/run.sh adds
# up.
#
# A script that sources this file ends at the first command that fails outside a check or a
# condition. So a misspelt name does not silently reduce the number of checks. Such a script prints
# no counts, which is a failure. Within a checked function, the shell continues after a failed
# command, as it always does in a condition. In $() some shells forget that they are in a condition,
# so $() contains `set +e`.
# shellcheck shell=sh
set -eu

checks_passed=0
checks_failed=0
checks_skipped=0
checks_output=${TMPDIR:-/tmp}/checks.$$
trap 'rm -f "$checks_output"' EXIT
trap 'exit 130' HUP INT TERM

# check NAME COMMAND...: passes if the command exits with 0, and the shell found each command that this
# script called for it. Otherwise prints the output.
check() {
    check_name=$1
    shift
    if "$@" >"$checks_output" 2>&1 && found_all_commands; then
        checks_passed=$((checks_passed + 1))
    else
        checks_failed=$((checks_failed + 1))
        printf 'FAILED %s\n' "$check_name"
        sed 's/^/    /' "$checks_output" | head -n 40
    fi
}

# The shell reports a command of this script that does not exist as "SCRIPT: LINE: NAME: not found".
found_all_commands() {
    [ -s "$checks_output" ] || return 0
    ! grep -F "$0: " "$checks_output" | grep -q ': \(command \)\{0,1\}not found$'
}

# check_loud NAME COMMAND...: like check, and prints the first line of the output, which is a figure.
check_loud() {
    check "$@"
    head -n 1 "$checks_output"
}

# check_silent NAME COMMAND...: like check, but output is also a failure. Some tools report a finding
# and exit with 0.
check_silent() {
    check_silent_name=$1
    shift
    check "$check_silent_name" run_silently "$@"
}

run_silently() {
    silent_output=$(set +e; "$@" 2>&1) && [ -z "$silent_output" ] && return
    printf '%s\n' "$silent_output"
    return 1
}

# refuse NAME SENTENCE COMMAND...: passes if the command fails and its output contains the sentence.
refuse() {
    refuse_name=$1
    refuse_sentence=$2
    shift 2
    check "$refuse_name" fails_with "$refuse_sentence" "$@"
}

fails_with() {
    expected_sentence=$1
    shift
    if failure_output=$(set +e; "$@" 2>&1); then
        echo "it succeeded"
        return 1
    fi
    printf '%s\n' "$failure_output"
    case $failure_output in
        *"$expected_sentence"*) ;;
        *) return 1 ;;
    esac
}

# prints TEXT COMMAND...: succeeds if the command prints this text and nothing else.
prints() {
    expected_text=$1
    shift
    found_text=$(timeout -k 5 60 "$@" 2>&1)
    printf '%s\n' "$found_text"
    [ "$found_text" = "$expected_text" ]
}

# skip MISSING CHECK: counts CHECK as skipped, because this machine lacks MISSING.
skip() {
    checks_skipped=$((checks_skipped + 1))
    printf 'SKIPPED %s: %s\n' "$1" "$2"
}

# has TOOL CHECK: succeeds if the tool is installed. Otherwise counts CHECK as skipped and fails.
has() {
    command -v "$1" >/dev/null && return
    skip "$1" "$2"
    return 1
}

# cxx_compiler CHECK...: sets cxx to the name of an installed C++ compiler. Without such a compiler it
# counts each CHECK as skipped and fails.
cxx_compiler() {
    for cxx in ${CXX:-} c++ g++ clang++; do
        ! command -v "$cxx" >/dev/null || return 0
    done
    for cxx_check in "$@"; do skip "a C++ compiler" "$cxx_check"; done
    return 1
}

# Prints the counts. Fails if a check has failed, or if nothing was checked or skipped.
report() {
    printf '%s passed, %s failed, %s skipped\n' \
        "$checks_passed" "$checks_failed" "$checks_skipped"
    [ "$checks_failed" -eq 0 ] && [ $((checks_passed + checks_skipped)) -gt 0 ]
}
