#!/bin/sh
# What can be found without running anything: compilers' warnings, four analysers, the style of the
# header, and the scripts. No finding is accepted, and a tool that is missing is a failure.
# shellcheck disable=SC2086 # flags are several words
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
out=build/lint
mkdir -p $out

warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual
    -Wstrict-prototypes -Wundef -Werror"
header="-x c -std=c11 -DSTOMP_WS_IMPLEMENTATION stomp_ws.h"
# Other people's clients in the benchmark need libraries of theirs, which its install.sh has.
# Examples that need a library are looked at where that is, by `make examples-embedding`.
with_libraries=$(sed -n 's/^WITH_LIBRARIES = //p' Makefile | tr ' ' '|')
sources=$(find examples tests -name '*.c' ! -path 'tests/compile/*' ! -path 'tests/bench/peers/*' |
    grep -vE "^examples/($with_libraries)\.c$" | sort)
scripts=$(find tests -name '*.sh' | sort)

for tool in gcc clang clang-tidy cppcheck shellcheck bash python3; do
    check "$tool is installed" command -v $tool
done

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
check "gcc -fanalyzer stomp_ws.h" gcc -fanalyzer -O1 -Werror -c -o $out/object.o $header
check "clang --analyze stomp_ws.h" clang_analyze $header
check "clang-tidy stomp_ws.h" clang_tidy stomp_ws.h -x c -std=c11 -DSTOMP_WS_IMPLEMENTATION
check "cppcheck stomp_ws.h" cpp_check -DSTOMP_WS_IMPLEMENTATION --language=c stomp_ws.h

for source in $sources; do
    case $source in examples/*) check "clang --analyze $source" clang_analyze "$source" ;; esac
done
# What cppcheck has to say of the header it has said above.
for source in $sources; do
    check "gcc, strictly: $source" gcc -std=c99 -O1 $warnings -I. -c -o $out/object.o "$source"
    check "clang, strictly: $source" clang -std=c2x $warnings -I. -fsyntax-only "$source"
    check "clang-tidy $source" clang_tidy "$source"
    check "cppcheck $source" cpp_check '--suppress=*:*stomp_ws.h' "$source"
done

for script in $scripts; do
    check "sh -n $script" sh -n "$script"
done
check "bash -n .ci/run" bash -n .ci/run
check "shellcheck" shellcheck -x $scripts .ci/run
check "shellcheck, completion" shellcheck -s bash examples/completion/stomp_cat.bash

check "the header's style" python3 tests/tools/check_header.py
check "the attack table" python3 tests/tools/check_attacks.py

report
