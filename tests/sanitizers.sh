#!/bin/sh
# Do the sanitizers of the C compiler work on this machine?
#
#     tests/sanitizers.sh flags FLAG...    prints the flags if a program can be built and run with
#                                          them, and nothing otherwise
#     tests/sanitizers.sh FLAG...          checks that programs built with them report a defect
#
# `make test` builds without sanitizers where a compiler has no run-time library for them. The checks
# are skipped then, which the last lines of `make test` say.
# shellcheck disable=SC2086 # a compiler, and flags, are several words
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
cc=${CC:-cc}
out=build/tests/sanitizers
mkdir -p $out

# build NAME BODY FLAG...: the program whose main() has this body.
build() {
    program=$out/$1 body=$2
    shift 2
    printf '#include <limits.h>\n#include <stdlib.h>\nint main(int n, char **v) { %s }\n' \
        "(void)v; $body" | $cc -w "$@" -x c -o $program -
}

works() {
    build nothing 'return n - 1;' "$@" && $out/nothing
}

reports() {
    words=$1 name=$2 body=$3
    shift 3
    build $name "$body" "$@" || return
    if said=$($out/$name 2>&1); then said="it ended with 0: $said"; fi
    printf '%s\n' "$said"
    case $said in *"$words"*) ;; *) return 1 ;; esac
}

if [ "${1:-}" = flags ]; then
    shift
    if works "$@" >/dev/null 2>&1; then echo "$*"; fi
    exit
fi

overflow='char *p = malloc(8); p[7 + n] = 1; return p[0];'
sum='return INT_MAX + n;'
if [ $# -gt 0 ] && works "$@" >/dev/null 2>&1; then
    check "AddressSanitizer reports an overflow" reports heap-buffer-overflow overflow "$overflow" "$@"
    check "UndefinedBehaviorSanitizer reports a sum" reports 'signed integer overflow' sum "$sum" "$@"
else
    lacks="the run-time library of the sanitizers of $cc"
    [ $# -gt 0 ] || lacks="sanitizers (SANITIZE is empty)"
    skip "$lacks" "AddressSanitizer in all tests"
    skip "$lacks" "UndefinedBehaviorSanitizer in all tests"
fi
report
