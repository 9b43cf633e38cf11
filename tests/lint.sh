#!/bin/sh
# Checks everything that can be checked without running the programs: compiler warnings, four static
# analysers, the style of the header, and the scripts. Every finding is a failure, and so is a
# missing tool.
#
#     tests/lint.sh                              all checks, as many at a time as there are cores
#     tests/lint.sh [header | scripts | SOURCE]  only the header, the scripts, or this C file
# shellcheck disable=SC2086 # flags are several words
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
out=build/lint/$$
mkdir -p $out
trap 'rm -rf "$out" "$checks_output"' EXIT

warnings="$(cat tests/warnings) -Wstrict-prototypes -Werror"
header="-x c -std=c11 -DSTOMP_WS_IMPLEMENTATION stomp_ws.h"
# The other clients in the benchmark need libraries that tests/bench/install.sh installs. They are
# not checked here. An example that needs a library is checked by `make examples-embedding`.
with_libraries=$(sed -n 's/^WITH_LIBRARIES = //p' Makefile | tr ' ' '|')
sources=$(find examples tests -name '*.c' ! -path 'tests/compile/*' ! -path 'tests/bench/peers/*' |
    grep -vE "^examples/($with_libraries)\.c$" | sort)
scripts=$(find tests -name '*.sh' | sort)

# cppcheck does not read system headers. Two macros that stomp_ws.h looks for are passed to it.
cpp_check() {
    cppcheck -q --error-exitcode=1 --enable=warning,performance,portability --std=c99 \
        --library=posix --library=gnu --suppress=missingIncludeSystem -I. \
        -DAI_PASSIVE=1 -DCLOCK_MONOTONIC=1 "$@"
}

clang_analyze() {
    clang --analyze -Xclang -analyzer-werror -I. -o $out/plist "$@"
}

# clang-tidy prints on stderr how many findings in system headers it has hidden. Shown only on a
# failure.
clang_tidy() {
    tidy_file=$1
    shift
    clang-tidy --quiet --warnings-as-errors='*' "$tidy_file" -- -I. "$@" 2>$out/tidy.stderr ||
        { cat $out/tidy.stderr; return 1; }
}

# The header is the main file here, because some tools skip the functions of included files.
lint_header() {
    for tool in gcc clang clang-tidy clang-format clangd cppcheck shellcheck bash python3; do
        check "$tool is installed" command -v $tool
    done
    # gcc's default factor is 5. It takes ten times as long and finds nothing more (DEPTH=5 make
    # lint).
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

# Prints the targets that have no description for `make help` (##) or `make help-all` (#:). A target
# may have several rules; one of them has the description.
undocumented_targets() {
    awk -F: '/^[a-z-]+:/ { targets[$1]; if (/:.*#[#:] /) described[$1] }
        END { for (target in targets) if (!(target in described)) print "make " target }' Makefile
}

# lint_header checks the implementation. So programs that need only the declarations are checked
# with only these, which takes a tenth of the time. Only some test programs need the implementation.
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
    check "all files are formatted as by make format" \
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
