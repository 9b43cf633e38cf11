#!/bin/sh
# Builds cpp_threads.cpp with each of g++ and clang++ that is installed, and runs it.
#
#     tests/examples/cpp_threads.sh SANITIZER-FLAG...
#
# `make tsan` builds it with ThreadSanitizer, and `make check-rest` with ASan and UBSan. If a compiler
# cannot use the flags, the program is built without them.
# shellcheck disable=SC2086,SC2046 # flags are several words
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh
out=build/tests/examples-cpp-threads
mkdir -p $out

# The servers of the tests are C, so casts in the style of C are allowed here.
compile() {
    $1 $(cat tests/warnings) -Werror -Wno-missing-field-initializers -std=c++17 -O0 -g $sanitize \
        -I. -o "$2" tests/examples/cpp_threads.cpp -pthread
}

for compiler in g++ clang++; do
    has $compiler "threads with stomp_ws.hpp" || continue
    sanitize=$(CC=$compiler sh tests/sanitizers.sh flags "$@")
    [ "$sanitize" ] || skip "sanitizers of $compiler" "threads with stomp_ws.hpp, with sanitizers"
    program=$out/$compiler.$$
    check "$compiler cpp_threads.cpp" compile $compiler $program
    check "cpp_threads, built by $compiler" timeout -k 5 200 $program
    rm -f $program
done

report
