# For POSIX sh scripts that make checks; source it. Each `check` is one pass or one failure, each
# `skip` is one skipped check, and `report` prints the counts in the form that tests/run.sh adds up.
# shellcheck shell=sh

checks_passed=0
checks_failed=0
checks_skipped=0
checks_output=${TMPDIR:-/tmp}/checks.$$
trap 'rm -f "$checks_output"' EXIT
trap 'exit 130' HUP INT TERM

# check NAME COMMAND...: the command is to succeed; its output is shown when it does not.
check() {
    check_name=$1
    shift
    if "$@" >"$checks_output" 2>&1; then
        checks_passed=$((checks_passed + 1))
    else
        checks_failed=$((checks_failed + 1))
        printf 'FAILED %s\n' "$check_name"
        sed 's/^/    /' "$checks_output" | head -n 40
    fi
}

# check_silent NAME COMMAND...: as check, for tools that report a finding and yet end with 0.
check_silent() {
    check_silent_name=$1
    shift
    check "$check_silent_name" run_silently "$@"
}

run_silently() {
    silent_output=$("$@" 2>&1) && [ -z "$silent_output" ] && return
    printf '%s\n' "$silent_output"
    return 1
}

# refuse NAME SENTENCE COMMAND...: the command is to fail, and to say so in this sentence.
refuse() {
    refuse_name=$1
    refuse_sentence=$2
    shift 2
    check "$refuse_name" fails_with "$refuse_sentence" "$@"
}

fails_with() {
    expected_sentence=$1
    shift
    if failure_output=$("$@" 2>&1); then
        echo "it succeeded"
        return 1
    fi
    printf '%s\n' "$failure_output"
    case $failure_output in
        *"$expected_sentence"*) ;;
        *) return 1 ;;
    esac
}

# skip MISSING CHECK: this machine lacks MISSING, and so CHECK cannot be made.
skip() {
    checks_skipped=$((checks_skipped + 1))
    printf 'SKIPPED %s: %s\n' "$1" "$2"
}

# has TOOL CHECK: whether the tool is installed. CHECK is skipped when the tool is missing.
has() {
    command -v "$1" >/dev/null && return
    skip "$1" "$2"
    return 1
}

# cxx_compiler CHECK...: sets cxx to a C++ compiler. Without one the checks are skipped.
cxx_compiler() {
    for cxx in ${CXX:-} c++ g++ clang++; do
        ! command -v "$cxx" >/dev/null || return 0
    done
    for cxx_check in "$@"; do skip "a C++ compiler" "$cxx_check"; done
    return 1
}

report() {
    printf '%s passed, %s failed, %s skipped\n' \
        "$checks_passed" "$checks_failed" "$checks_skipped"
    [ "$checks_failed" -eq 0 ] && [ "$checks_passed" -gt 0 ]
}
