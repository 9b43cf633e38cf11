#!/bin/sh
# Checks that an example that needs a library compiles strictly in C and C++, and works.
#
#     tests/examples/embedding.sh NAME FLAG...      FLAG: the compiler's flags for the library
# shellcheck disable=SC2086 # flags are several words
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh
# shellcheck source=tests/processes.sh
. tests/processes.sh
trap 'rm -f "$checks_output"; clean_up' EXIT
name=$1
shift
out=build/tests/embedding
mkdir -p $out

# Include directories of the library are system directories, so that warnings in its headers are
# ignored. Some libraries need nothing to be linked.
compile_flags=
flags=
for flag in "$@"; do
    case $flag in
        -I*) compile_flags="$compile_flags -isystem ${flag#-I}" ;;
        *) flags="$flags $flag" ;;
    esac
done
flags="$compile_flags $flags"
warnings="$(cat tests/warnings) -Werror"

check "the library for $name is installed" test $# -gt 0
for compiler in gcc clang; do
    check "$compiler examples/$name.c" $compiler -std=c99 $warnings -Wstrict-prototypes -g -O1 \
        -fsanitize=address,undefined -fno-sanitize-recover=undefined -o "$out/$name.$compiler" \
        "examples/$name.c" $flags -pthread
done
for compiler in g++ clang++; do
    check "$compiler examples/$name.c" $compiler -x c++ -std=c++17 $warnings \
        -Wno-missing-field-initializers -c -o $out/scrap.o "examples/$name.c" $compile_flags
done
clang_analyze() {
    clang --analyze -Xclang -analyzer-werror -o $out/plist "$@"
}
check "clang --analyze examples/$name.c" clang_analyze "examples/$name.c" $compile_flags

# A timer of the event loop publishes what the client prints. After five ticks both end.
ticks() {
    found=$(timeout 60 "$1" "$url" 5 2>&1)
    printf '%s\n' "$found"
    [ "$found" = "tick 1
tick 2
tick 3
tick 4
tick 5" ]
}

# The broker is killed in between. After that the descriptors are different.
ticks_after_a_reconnect() {
    start ticking "$1" "$url" 100
    wait_for "$work/ticking" "tick 3" 600 || return
    end_broker -KILL
    start_broker_again build/mini_broker && wait_for "$work/ticking" "tick 100" 600
}

if [ -f "tests/examples/$name.py" ]; then
    for compiler in gcc clang; do
        check "$name, by $compiler" python3 "tests/examples/$name.py" "$out/$name.$compiler"
    done
elif ! grep -qw "$name" tests/tls/run.py; then # `make tls` runs this example
    check "the broker starts" start_broker build/mini_broker
    for compiler in gcc clang; do
        check "$name, by $compiler" ticks "$out/$name.$compiler"
    done
    check "$name reconnects" ticks_after_a_reconnect "$out/$name.gcc"
fi

report
