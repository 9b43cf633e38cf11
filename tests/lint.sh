#!/bin/sh
# What can be found without running anything: compilers' warnings, four analysers, the style of the
# header, and the scripts. No finding is accepted, and a tool that is missing is a failure.
#
#     tests/lint.sh [header | scripts | SOURCE]      # that part; all of them, a core each
# shellcheck disable=SC2086 # flags are several words
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
out=build/lint/$$
mkdir -p $out
trap 'rm -rf "$out" "$checks_output"' EXIT

warnings="$(cat tests/warnings) -Wstrict-prototypes -Werror"
header="-x c -std=c11 -DSTOMP_WS_IMPLEMENTATION stomp_ws.h"
# Other people's clients in the benchmark need libraries of theirs, which its install.sh has.
# Examples that need a library are looked at where that is, by `make examples-embedding`.
with_libraries=$(sed -n 's/^WITH_LIBRARIES = //p' Makefile | tr ' ' '|')
sources=$(find examples tests -name '*.c' ! -path 'tests/compile/*' ! -path 'tests/bench/peers/*' |
    grep -vE "^examples/($with_libraries)\.c$" | sort)
scripts=$(find tests -name '*.sh' | sort)

# cppcheck sees no system headers, and so is told of the two macros that the header looks for.
cpp_check() {
    cppcheck -q --error-exitcode=1 --enable=warning,performance,portability --std=c99 \
        --library=posix --library=gnu --suppress=missingIncludeSystem -I. \
        -DAI_PASSIVE=1 -DCLOCK_MONOTONIC=1 "$@"
}

clang_analyze() {
    clang --analyze -Xclang -analyzer-werror -I. -o $out/plist "$@"
}

# clang-tidy counts on stderr what it found in system headers and does not show.
clang_tidy() {
    tidy_file=$1
    shift
    clang-tidy --quiet --warnings-as-errors='*' "$tidy_file" -- -I. "$@" 2>$out/tidy.stderr ||
        { cat $out/tidy.stderr; return 1; }
}

# The header is a program's main file here: some tools pass over the functions of an included one.
lint_header() {
    for tool in gcc clang clang-tidy clang-format clangd cppcheck shellcheck bash python3; do
        check "$tool is installed" command -v $tool
    done
    # gcc's own factor is 5, takes ten times as long and finds no more (DEPTH=5 make lint).
    check "gcc -fanalyzer stomp_ws.h" gcc -fanalyzer --param "analyzer-bb-explosion-factor=${DEPTH:-2}" \
        -O1 -Werror -c -o $out/object.o $header
    check "clang --analyze stomp_ws.h" clang_analyze $header
    check "clang-tidy stomp_ws.h" clang_tidy stomp_ws.h -x c -std=c11 -DSTOMP_WS_IMPLEMENTATION
    check "cppcheck stomp_ws.h" cpp_check -DSTOMP_WS_IMPLEMENTATION --language=c stomp_ws.h
    check "the header's style" python3 tests/tools/check_header.py
    # Debian's libclang is a module of Debian's python3.
    check_loud "the declarations' comments" /usr/bin/python3 tests/tools/check_interface.py
    check "what an editor shows" python3 tests/tools/check_hover.py
    check "the attack table" python3 tests/tools/check_attacks.py
    check "the version" sh tests/release.sh
    check_silent "make help has every target" undocumented_targets
}

# Targets, which may have several lines, of which none is for `make help`.
undocumented_targets() {
    awk -F: '/^[a-z-]+:/ { seen[$1]; if (/:.*## /) said[$1] }
        END { for (target in seen) if (!(target in said)) print "make " target }' Makefile
}

# What there is to say of the header is said above: a program that needs only its declarations is
# looked at with these, in a tenth of the time. None but test programs need more.
lint_source() {
    posix=-D_POSIX_C_SOURCE=200809L
    only=-DSTOMP_WS_IMPLEMENTED
    case $1 in
        examples/*) check "clang --analyze $1" clang_analyze $only "$1" ;;
        *) clang -std=c2x $posix $warnings -I. -fsyntax-only $only "$1" 2>/dev/null || only= ;;
    esac
    check "gcc, strictly: $1" gcc -std=c99 $posix -O1 $warnings -I. $only -c -o $out/object.o "$1"
    check "clang, strictly: $1" clang -std=c2x $posix $warnings -I. $only -fsyntax-only "$1"
    check "clang-tidy $1" clang_tidy "$1" $only
    check "cppcheck $1" cpp_check '--suppress=*:*stomp_ws.h' $only "$1"
}

lint_scripts() {
    check "all is as make format leaves it" \
        env MAKEFLAGS= make -s format FORMAT='clang-format --dry-run -Werror'
    for script in $scripts; do
        check "sh -n $script" sh -n "$script"
    done
    check "bash -n .ci/run" bash -n .ci/run
    check "shellcheck" shellcheck -x $scripts .ci/run
    check "shellcheck, completion" shellcheck -s bash examples/completion/stomp_cat.bash
}

lint_all() {
    set -- 'sh tests/lint.sh header' 'sh tests/lint.sh scripts'
    for source in $sources; do
        set -- "$@" "sh tests/lint.sh $source"
    done
    JOBS=$(getconf _NPROCESSORS_ONLN) TIME_LIMIT=1200 sh tests/run.sh "$@"
}

case ${1:-all} in
    all) lint_all; exit ;;
    header) lint_header ;;
    scripts) lint_scripts ;;
    *) lint_source "$1" ;;
esac
report
