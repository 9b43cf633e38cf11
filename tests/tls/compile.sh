#!/bin/sh
# Checks the header with BearSSL, and the companion header for OpenSSL, in the way in which
# tests/lint.sh and tests/compile check the header without TLS: strictly in C and C++, and with the
# analysers.
# shellcheck disable=SC2086 # flags are several words
set -u

cd "$(dirname "$0")/../.." || exit 1
. tests/checks.sh
out=build/bearssl
mkdir -p $out

warnings="$(cat tests/warnings) -Werror"
header="-DSTOMP_WS_IMPLEMENTATION -DSTOMP_WS_BEARSSL stomp_ws.h"

for cc in gcc clang; do
    for std in c99 c11 c17 c2x gnu11; do
        check "$cc -std=$std" $cc -std=$std -O1 $warnings -Wstrict-prototypes -x c -c \
            -o $out/scrap.o $header
    done
    check "$cc, STATIC" $cc -O1 $warnings -DSTOMP_WS_STATIC -x c -c -o $out/scrap.o $header
    check "$cc, no threads" $cc -O1 $warnings -DSTOMP_WS_NO_THREADS -x c -c -o $out/scrap.o $header
    check "$cc, no I/O" $cc -O1 $warnings -DSTOMP_WS_NO_IO -x c -c -o $out/scrap.o $header
done
for cxx in g++ clang++; do
    for std in c++11 c++17 c++20; do
        check "$cxx -std=$std" $cxx -std=$std -O1 $warnings -x c++ -c \
            -o $out/scrap.o $header
    done
done

# The companion is included after the declarations or after the implementation, in C and in C++.
cat >$out/companion.c <<'END'
#include "stomp_ws.h"
#include "examples/stomp_ws_openssl.h"
const stws_tls *table(void);
const stws_tls *table(void) { return stws_openssl(); }
END
companion="-I. $out/companion.c"
for define in -DONLY -DSTOMP_WS_IMPLEMENTATION; do
    for cc in gcc clang; do
        for std in c99 c17 c2x; do
            check "$cc -std=$std stomp_ws_openssl.h $define" $cc -std=$std -O1 $warnings \
                -Wstrict-prototypes $define -c -o $out/scrap.o $companion
        done
    done
    for cxx in g++ clang++; do
        for std in c++11 c++20; do
            check "$cxx -std=$std stomp_ws_openssl.h $define" $cxx -std=$std -O1 $warnings $define \
                -x c++ -c -o $out/scrap.o $companion
        done
    done
done
# Comments and blank lines are not counted.
companion_lines() {
    [ "$(gcc -fpreprocessed -dD -E -P examples/stomp_ws_openssl.h | wc -l)" -le 250 ]
}
check "the companion has at most 250 lines of code" companion_lines

# The linker must see the same public functions with and without BearSSL.
symbols() {
    gcc -O1 "$@" -DSTOMP_WS_IMPLEMENTATION -x c -c -o $out/scrap.o stomp_ws.h &&
        nm -g --defined-only -P $out/scrap.o | cut -d ' ' -f 1
}
same_symbols() {
    symbols >$out/without && symbols -DSTOMP_WS_BEARSSL >$out/with && diff $out/without $out/with
}
check "the same public functions" same_symbols

# The declarations, and so the layout of every public struct, must not depend on BearSSL.
declarations() {
    echo '#include "stomp_ws.h"' | gcc -E -P -I. "$@" -
}
same_declarations() {
    declarations >$out/without && declarations -DSTOMP_WS_BEARSSL >$out/with &&
        diff $out/without $out/with
}
check "the same declarations" same_declarations

clang_analyze() {
    clang --analyze -Xclang -analyzer-werror -o $out/plist "$@"
}
# The same options as in tests/lint.sh.
check "gcc -fanalyzer" gcc -fanalyzer --param "analyzer-bb-explosion-factor=${DEPTH:-2}" \
    -O1 -Werror -std=c11 -x c -c -o $out/scrap.o $header
check "clang --analyze" clang_analyze -std=c11 -x c $header
check "clang-tidy" clang-tidy --quiet --warnings-as-errors='*' stomp_ws.h -- -x c -std=c11 \
    -DSTOMP_WS_IMPLEMENTATION -DSTOMP_WS_BEARSSL
# cppcheck's rule about readdir is older than POSIX.1-2024: no other thread uses this DIR.
check "cppcheck" cppcheck -q --error-exitcode=1 --enable=warning,performance,portability \
    --suppress=readdirCalled --std=c99 --library=posix --library=gnu --suppress=missingIncludeSystem --language=c \
    -DAI_PASSIVE=1 -DCLOCK_MONOTONIC=1 -DSTOMP_WS_IMPLEMENTATION -DSTOMP_WS_BEARSSL stomp_ws.h

check "gcc -fanalyzer stomp_ws_openssl.h" gcc -fanalyzer -O1 -Werror -c -o $out/scrap.o $companion
check "clang --analyze stomp_ws_openssl.h" clang_analyze $companion
check "clang-tidy stomp_ws_openssl.h" clang-tidy --quiet --warnings-as-errors='*' \
    $out/companion.c -- -x c -std=c11 -I.
check "cppcheck stomp_ws_openssl.h" cppcheck -q --error-exitcode=1 --std=c99 --library=posix \
    --enable=warning,performance,portability --suppress=missingIncludeSystem -I. $out/companion.c

report
