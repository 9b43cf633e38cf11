#!/bin/sh
# Finds out whether the sanitizers of the C compiler work on this machine.
#
#     tests/sanitizers.sh flags FLAG...    prints the flags if the compiler can build and run a program
#                                          with them. Otherwise prints nothing.
#     tests/sanitizers.sh FLAG...          checks that programs built with these flags stop at a defect,
#                                          and that the test programs in build/asan are built with them
#
# If the compiler cannot use the flags, `make test` builds without them. The checks here are skipped
# then, and the end of `make test` names what is missing.
# shellcheck disable=SC2086 # CC may hold several words
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
cc=${CC:-cc}
out=build/tests/sanitizers
mkdir -p $out

# build NAME BODY FLAG...: builds the program NAME, whose main() contains BODY.
build() {
    program=$out/$1 body=$2
    shift 2
    printf '#include <limits.h>\n#include <stdlib.h>\nint main(int n, char **v) { %s }\n' \
        "(void)v; $body" | $cc -w "$@" -x c -o $program -
}

works() {
    build nothing 'return n - 1;' "$@" && $out/nothing
}

# stops WORDS NAME BODY FLAG...: succeeds if the program NAME exits with an error, and its output
# contains WORDS. The options of the sanitizers are empty here, because tests/run.sh takes each
# report that they write to its files for a failure.
stops() {
    words=$1 name=$2 body=$3
    shift 3
    build $name "$body" "$@" || return
    if said=$(env ASAN_OPTIONS= UBSAN_OPTIONS= $out/$name 2>&1); then
        echo "the program ended with status 0: $said"
        return 1
    fi
    printf '%s\n' "$said"
    case $said in *"$words"*) ;; *) return 1 ;; esac
}

if [ "${1:-}" = flags ]; then
    shift
    if works "$@" >/dev/null 2>&1; then echo "$*"; fi
    exit
fi

# all_call FUNCTION: succeeds if each test program, and the implementation that they are linked
# with, calls this function of a sanitizer.
all_call() {
    without=$(find build/asan \( -name 'test_*' -o -name implementation.o \) -type f \
        -exec grep -L "$1" {} +)
    [ -z "$without" ] || { echo "without $1: $without"; return 1; }
}

# finds SANITIZER FUNCTION WORDS NAME BODY FLAG...: makes two checks if the flags request this
# sanitizer and it works.
finds() {
    sanitizer=$1 function=$2
    shift 2
    case " $* " in
        *" -fsanitize="*"$sanitizer"*) asked=1 ;;
        *) asked= ;;
    esac
    if [ -z "$asked" ]; then
        skip "-fsanitize=$sanitizer in SANITIZE" "running the tests with the sanitizer \"$sanitizer\""
    elif [ -z "$usable" ]; then
        skip "a C compiler that can use SANITIZE ($cc cannot)" \
            "running the tests with the sanitizer \"$sanitizer\""
    else
        check "the sanitizer \"$sanitizer\" finds a defect" stops "$@"
        check "the tests are built with the sanitizer \"$sanitizer\"" all_call $function
    fi
}

flags=$*
if works $flags >/dev/null 2>&1; then usable=1; else usable=; fi
if [ "${SANITIZE_ASKED:-}" ] && [ "$flags" ]; then
    check "programs can be built and run with SANITIZE" works $flags
fi
finds address __asan_report heap-buffer-overflow overflow \
    'char *p = malloc(8); p[7 + n] = 1; return p[0];' $flags
finds undefined __ubsan_handle 'signed integer overflow' sum 'return INT_MAX + n;' $flags
report
