#!/bin/sh
# Compiles the examples as C99 and as C++17, with warnings as errors, with each of gcc, clang, g++ and
# clang++ that is installed. Also runs examples/cpp.cpp, built with sanitizers.
#
#     tests/examples/compile.sh [--without NAME...]
#
# The named examples are left out. They need libraries, and `make examples-embedding` compiles them.
# shellcheck disable=SC2086 # flags are several words
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh
# shellcheck source=tests/processes.sh
. tests/processes.sh
trap 'rm -f "$checks_output"; clean_up' EXIT
without=" $* "
out=build/tests/examples-compile
rm -rf $out
mkdir -p $out

warnings=$(cat tests/warnings)

# strict COMPILER ARGUMENTS...: compiles as C99 or C++17 with warnings as errors. In C++ the warning
# about {0} is off: in C this is the usual way to set a struct to zero.
strict() {
    strict_compiler=$1
    shift
    case $strict_compiler in
        *++) strict_language="-Wno-missing-field-initializers -x c++ -std=c++17" ;;
        *) strict_language="-Wstrict-prototypes -std=c99" ;;
    esac
    $strict_compiler $warnings -Werror $strict_language -I. "$@"
}

# gcc and g++ compile each example together with the implementation, as a user does. clang and clang++
# compile only the examples here; tests/compile/run.sh compiles the implementation with them.
for compiler in gcc clang g++ clang++; do
    has $compiler "the examples in strict C99 or C++17" || continue
    case $compiler in
        clang*) declarations=-DSTOMP_WS_IMPLEMENTED ;;
        *) declarations= ;;
    esac
    for source in examples/*.c; do
        name=$(basename "$source" .c)
        case $without in *" $name "*) continue ;; esac
        check "$compiler $source" strict $compiler $declarations -fsyntax-only "$source"
    done
done

url=
check "the broker starts" start_broker build/mini_broker
for compiler in g++ clang++; do
    has $compiler "stomp_ws.hpp" || continue
    sanitize=$(CC=$compiler sh tests/sanitizers.sh flags ${SANITIZE:-})
    [ "$sanitize" ] || skip "sanitizers of $compiler" "examples/cpp.cpp with sanitizers"
    check "$compiler stomp_ws.hpp without exceptions" strict $compiler -Wold-style-cast -DSTOMP_WS_IMPLEMENTED \
        -fno-exceptions -fsyntax-only tests/examples/no_exceptions.cpp
    check "$compiler examples/cpp.cpp" strict $compiler -g $sanitize -o \
        $out/cpp.$compiler examples/cpp.cpp -pthread
    check "examples/cpp.cpp, built by $compiler, prints the numbers" \
        prints "$(cat tests/examples/cpp.txt)" $out/cpp.$compiler "$url"
done

report
