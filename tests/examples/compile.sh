#!/bin/sh
# Each example compiles without a warning as C99 and as C++17, with each of gcc, clang, g++ and
# clang++ that is installed; and the one in C++ runs, with sanitizers.
#
#     tests/examples/compile.sh NAME-OF-AN-EXAMPLE-THAT-NEEDS-A-LIBRARY...
# shellcheck disable=SC2086 # flags are several words
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh
# shellcheck source=tests/processes.sh
. tests/processes.sh
trap 'clean_up; rm -f "$checks_output"' EXIT
with_libraries=" $* "
out=build/tests/examples-compile
rm -rf $out
mkdir -p $out

warnings=$(cat tests/warnings)

# strict COMPILER ARGUMENTS...: g++ and clang++ warn about {0}, which in C makes a whole struct zero.
strict() {
    strict_compiler=$1
    shift
    case $strict_compiler in
        *++) strict_language="-Wno-missing-field-initializers -x c++ -std=c++17" ;;
        *) strict_language="-Wstrict-prototypes -std=c99" ;;
    esac
    $strict_compiler $warnings -Werror $strict_language -I. "$@"
}

# With gcc and g++ the implementation is in each example's file, as a user would build it. clang and
# clang++ compile the implementation in tests/compile, and here the examples alone.
for compiler in gcc clang g++ clang++; do
    has $compiler "the examples in strict C99 or C++17" || continue
    case $compiler in
        clang*) without=-DSTOMP_WS_IMPLEMENTED ;;
        *) without= ;;
    esac
    for source in examples/*.c; do
        name=$(basename "$source" .c)
        case $with_libraries in *" $name "*) continue ;; esac
        check "$compiler $source" strict $compiler $without -fsyntax-only "$source"
    done
done

prints_numbers() {
    found=$(timeout 60 "$1" "$url" 2>&1)
    printf '%s\n' "$found"
    [ "$found" = "/topic/numbers: 19, sum 19
/topic/numbers: 23, sum 42
none is not a number" ]
}

check "the broker starts" start_broker build/mini_broker
for compiler in g++ clang++; do
    has $compiler "stomp_ws.hpp" || continue
    check "$compiler stomp_ws.hpp without exceptions" strict $compiler -Wold-style-cast \
        -fno-exceptions -fsyntax-only tests/examples/no_exceptions.cpp
    check "$compiler examples/cpp.cpp" strict $compiler -Wold-style-cast -g \
        -fsanitize=address,undefined -fno-sanitize-recover=undefined \
        -o $out/cpp.$compiler examples/cpp.cpp -pthread
    check "cpp, by $compiler" prints_numbers $out/cpp.$compiler
done

report
