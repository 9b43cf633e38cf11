#!/bin/sh
# Compiles the header in each supported way: languages, compilers, optimisation, orders of inclusion and
# sets of configuration macros, always with warnings as errors. Also checks which symbols and macros
# the header leaves behind.
#
#     tests/compile/run.sh          uses each of gcc, clang, g++ and clang++ that is installed
#     tests/compile/run.sh quick    uses $CC only, three standards, and half of the sets of macros
# shellcheck disable=SC2086 # flags are several words
set -u

cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/checks.sh
. ../checks.sh
root=../..
out=$root/build/compile
mkdir -p $out

warnings="$(cat $root/tests/warnings) -Werror"
only_look=-fsyntax-only
object="-c -o $out/scrap.o"

# strict COMPILER ARGUMENTS...: compiles as C, or as C++ if the compiler's name ends in ++, with
# warnings as errors.
strict() {
    strict_compiler=$1
    shift
    case $strict_compiler in
        *++) $strict_compiler -x c++ -I$root $warnings "$@" ;;
        *) $strict_compiler -I$root $warnings -Wstrict-prototypes "$@" ;;
    esac
}

c_compilers=
cxx_compilers=
if [ "${1:-}" = quick ]; then
    printf '#!/bin/sh\nexec %s "$@"\n' "${CC:-cc}" >$out/cc # CC may hold several words
    chmod +x $out/cc
    c_compilers=$out/cc
    c_standards='c99 gnu17 c2x'
    strict_standards='c99 c2x' gnu_standards=gnu17
    levels=
    simd_macros=none
else
    for compiler in gcc clang; do
        ! has $compiler "all standards of C" || c_compilers="$c_compilers $compiler"
    done
    for compiler in g++ clang++; do
        ! has $compiler "all standards of C++" || cxx_compilers="$cxx_compilers $compiler"
    done
    c_standards='c99 c11 c17 c2x gnu99 gnu11 gnu17 gnu2x'
    strict_standards='c99 c11 c17 c2x' gnu_standards='gnu99 gnu11 gnu17'
    levels='-O0 -O2 -Os -O3'
    simd_macros='none -DSTOMP_WS_NO_SIMD'
fi
: "${c_compilers:=cc}"
for first_c in $c_compilers; do break; done

# ---- every standard of both languages, and the levels of optimisation, where gcc sees more ----

for cc in $c_compilers; do
    for std in $c_standards; do
        check "$cc -std=$std" strict $cc -std=$std $only_look implementation.c
    done
    check "$cc, char is unsigned" strict $cc -funsigned-char $only_look implementation.c
done
for cc in $cxx_compilers; do
    for std in c++11 c++14 c++17 c++20 gnu++17; do
        check "$cc -std=$std" strict $cc -std=$std $only_look implementation.c
    done
done
for cc in $c_compilers $cxx_compilers; do
    case $cc in
        clang*) check "$cc -O2" strict $cc -O2 $object implementation.c ;;
        *)
            for level in $levels; do
                check "$cc $level" strict $cc $level $object implementation.c
            done
            ;;
    esac
done

# ---- the files of a program: one has the implementation, others the declarations ----

# two_files COMPILER-OF-THE-IMPLEMENTATION COMPILER-OF-ITS-USER
two_files() {
    strict $1 -c -o $out/implementation.o implementation.c &&
        strict $2 -c -o $out/user.o user.c &&
        $2 -o $out/user $out/user.o $out/implementation.o -pthread && $out/user
}

included_twice() {
    strict $1 -o $out/twice twice.c -pthread && $out/twice
}

# In C++ the declarations hold no C cast. The implementation may.
declarations_make_nothing() {
    case $1 in
        *++) set -- $1 -Wold-style-cast ;;
    esac
    strict "$@" -c -o $out/declaration.o declaration.c && [ -z "$(nm -P $out/declaration.o)" ]
}

for cc in $c_compilers $cxx_compilers; do
    check "$cc: two files" two_files $cc $cc
    check "$cc: included twice" included_twice $cc
    check "$cc: the declarations alone" declarations_make_nothing $cc
    check "$cc: STATIC, nothing called" strict $cc -DSTOMP_WS_STATIC $object implementation.c
    check "$cc: STATIC, one function called" strict $cc -DSTOMP_WS_STATIC $object one_call.c
done
for cc in $cxx_compilers; do
    check "$cc uses an implementation in C" two_files $first_c $cc
done

# In C++, `= {0}` fails for a struct that begins with an enum. Many programs write that.
zero_initialises() {
    {
        echo '#include "stomp_ws.h"'
        sed -n '/^typedef struct stws_p_/!s/^typedef struct \(stws[a-z_]*\) {$/\1 of_\1 = {0};/p' \
            $root/stomp_ws.h
    } | $1 -x c++ -fsyntax-only -I$root -
}
for cc in $cxx_compilers; do
    check "$cc: every public struct can be {0}" zero_initialises $cc
done

# ---- a system header before it ----

sentence="stomp_ws.h: a system header came before it"
for cc in $c_compilers; do
    for std in $strict_standards; do
        for file in late.c late_implementation.c; do
            refuse "$cc -std=$std $file" "$sentence" strict $cc -std=$std $only_look $file
        done
        for macro in _POSIX_C_SOURCE=200809L STOMP_WS_NO_IO; do
            check "$cc -std=$std -D$macro late.c" strict $cc -std=$std -D$macro $only_look late.c
        done
        check "$cc -std=$std after_stddef.c" strict $cc -std=$std $only_look after_stddef.c
    done
    for std in $gnu_standards; do
        check "$cc -std=$std late.c" strict $cc -std=$std $only_look late.c
    done
done
for cc in $cxx_compilers; do
    for std in c++11 c++20; do
        check "$cc -std=$std late.c" strict $cc -std=$std $only_look late.c
    done
done

# ---- sets of configuration macros: in these eight, any two meet in all four ways, where those two
# count as one that make it small; the quick ones are half of them ----

# structs DIRECTORY FLAGS...: the public structs that the declarations have, for matrix.c to show.
structs() {
    structs_in=$1
    shift
    mkdir -p $structs_in
    $first_c -E "$@" -I$root declaration.c |
        sed -n 's/^typedef struct \(stws_[a-z0-9_]*\) {.*/SHOW(\1)/p' >$structs_in/structs.h
    [ -s $structs_in/structs.h ]
}

# matrix COMPILER MACROS...: it compiles, works, and shows the same as the first set of all, from
# which NO_IO may leave something out.
matrix() {
    matrix_compiler=$1
    shift
    case "$*" in *NO_IO*) include=$out/no_io ;; *) include=$out/with_io ;; esac
    strict $matrix_compiler "$@" -I$include -o $out/matrix matrix.c -pthread || return
    $out/matrix >$out/shown || return
    [ -f $out/expected ] || cp $out/shown $out/expected
    case "$*" in
        *NO_IO*) ! grep -Fxv -f $out/expected $out/shown ;;
        *) diff $out/expected $out/shown ;;
    esac
}

# when_different ONE OTHER FLAG: the flag when one is empty and the other is not.
when_different() {
    [ "${1:+set}" = "${2:+set}" ] || echo "$3"
}

rm -f $out/expected
check "the public structs are found" structs $out/with_io
check "the public structs are found with NO_IO" structs $out/no_io -DSTOMP_WS_NO_IO
for io in '' -DSTOMP_WS_NO_IO; do
    for threads in '' -DSTOMP_WS_NO_THREADS; do
        for simd in $simd_macros; do
            simd=${simd#none}
            static=$(when_different "$io" "$threads" -DSTOMP_WS_STATIC)
            memory=$(when_different "$io" "$simd" -DWITH_MEMORY_HOOKS)
            assertion=$(when_different "$threads" "$simd" -DWITH_ASSERT_HOOK)
            small=$(when_different "$static" "$simd" "-DSTOMP_WS_NO_PROXY -DSTOMP_WS_NO_TEXTS")
            set -- $io $threads $simd $static $memory $assertion $small
            for cc in $c_compilers $cxx_compilers; do
                check "$cc, macros: ${*:-none}" matrix $cc "$@"
            done
        done
    done
done

# ---- what it leaves behind ----

# The public functions of the declarations, as the preprocessor sees them under these flags.
public_functions() {
    $first_c -E -P -DSTOMP_WS_API=PUBLIC "$@" -I$root declaration.c | tr '\n;' ' \n' |
        sed -n 's/.*PUBLIC [^(]*[ *]\(stws_[a-z0-9_]*\)(.*/\1/p' | sort
}

# symbols KINDS NM-ARGUMENTS...: the names of those symbols whose kind is one of these letters.
symbols() {
    kinds=$1
    shift
    nm -P "$@" | awk -v kinds="$kinds" 'index(kinds, $2) { print $1 }' | sort
}

# Exactly the public functions are to be seen from outside, and nothing in it can be written to.
object_is_clean() {
    object_compiler=$1
    shift
    strict $object_compiler "$@" -fno-pic -c -o $out/object.o implementation.c || return
    public_functions "$@" >$out/declared
    symbols TDBRVWC -g --defined-only $out/object.o >$out/defined
    symbols dDbBcC $out/object.o >$out/writable
    diff $out/declared $out/defined && ! grep -v '^stws_p_refusal$' $out/writable # a thread's own
}

# needs_no_more_than NAMES COMPILER...: with NO_IO, a few functions for bytes and strings, and what
# the compiler brings itself, of which NAMES.
needs_no_more_than() {
    names="^(mem|str)[a-z]+\$|^_GLOBAL_OFFSET_|^__stack_chk_fail\$|$1"
    shift
    strict "$@" -DSTOMP_WS_NO_IO -c -o $out/no_io.o implementation.c &&
        ! symbols U $out/no_io.o | grep -vE "$names"
}

# The compiler says which processor it is in a hosted program; freestanding, nobody is asked.
is_freestanding() {
    needs_no_more_than '^__cpu_model$' $1 && needs_no_more_than '^$' $1 -ffreestanding
}

# A definition of one's own of STOMP_WS_API is taken: a shared library's, which names its exports.
api_is_exported() {
    strict $1 -fPIC -shared -fvisibility=hidden -o $out/library.so implementation.c -pthread \
        '-DSTOMP_WS_API=extern __attribute__((visibility("default")))' || return
    public_functions >$out/declared
    symbols TDBRVWC -D --defined-only $out/library.so | grep -vE '^_(init|fini)$' |
        diff $out/declared -
}

# The declarations add to the macros of <stddef.h> public ones of ours, and nothing else.
declarations_leak_nothing() {
    echo '#include <stddef.h>' | $1 -x $2 -dM -E - | sort >$out/before
    echo '#include "stomp_ws.h"' | $1 -x $2 -I$root -dM -E - | sort >$out/after
    diff $out/before $out/after |
        sed -n 's/^\([<>]\) #define \([A-Za-z0-9_]*\).*/\1 \2/p' >$out/leaked
    [ -s $out/leaked ] && ! grep -vE '^> (STOMP_WS_|STWS_P?[^P_])' $out/leaked
}

# What the header itself defines and still is at its end; of the system's headers it is no judge.
implementation_leaks_nothing() {
    $1 -std=gnu11 -I$root -dD -E implementation.c | awk '
        /^# [0-9]+ "/ { ours = $3 ~ /stomp_ws\.h"$/ }
        ours && /^#define / { split($2, part, "("); left[part[1]] = 1 }
        /^#undef / { delete left[$2] }
        END { for (name in left) print name }' | sort >$out/leaked
    [ -s $out/leaked ] && ! grep -vE '^(STOMP_WS_|STWS_P?[^P_])' $out/leaked
}

for cc in $c_compilers; do
    check "$cc: the object's symbols" object_is_clean $cc
    check "$cc: the object's symbols with NO_IO" object_is_clean $cc -DSTOMP_WS_NO_IO
    check "$cc: NO_IO is freestanding" is_freestanding $cc
    check "$cc: the API in a shared library" api_is_exported $cc
    check "$cc: macros of the declarations" declarations_leak_nothing $cc c
    check "$cc: macros of the implementation" implementation_leaks_nothing $cc
done
for cc in $cxx_compilers; do
    check "$cc: macros of the declarations" declarations_leak_nothing $cc c++
done

# ---- what an includer pays, and the first program that a reader sees ----

declarations_are_short() {
    lines=$(echo '#include "stomp_ws.h"' | $first_c -E -I$root - | grep -c '^[^#]')
    echo "an includer sees $lines preprocessed lines; the limit is 600"
    [ "$lines" -le 600 ]
}

minimal_is_short() {
    lines=$(wc -l <$root/examples/minimal.c)
    echo "examples/minimal.c has $lines lines; the bar is 30"
    [ "$lines" -le 30 ]
}

# A comment of this form cannot stand in another comment, where it becomes one of the other form.
minimal() {
    sed 's|/\* \(.*\) \*/$|// \1|' $root/examples/minimal.c
}

# From the line that names the program to the next one that is not indented, by four columns less.
quick_start() {
    awk '/Quick start \(examples\/minimal\.c\):$/ { inside = 1; next }
         inside && /^[^ ]/ { exit }
         inside { sub(/^    /, ""); line[++n] = $0 }
         END {
             while (n > 0 && line[n] == "") n--
             for (i = line[1] == "" ? 2 : 1; i <= n; i++) print line[i]
         }' $root/stomp_ws.h
}

minimal_is_the_quick_start() {
    minimal >$out/minimal.expected
    quick_start >$out/minimal.found
    [ -s $out/minimal.found ] || echo 'stomp_ws.h has no line "Quick start (examples/minimal.c):"'
    diff $out/minimal.expected $out/minimal.found
}

check "the cost of the declarations" declarations_are_short
check "examples/minimal.c is short" minimal_is_short
check "examples/minimal.c is the header's quick start" minimal_is_the_quick_start

# A C library before glibc 2.34 has its threads in a library of their own.
if echo '#include <pthread.h>
int main(void) { return pthread_join(pthread_self(), 0) == 0; }' |
    $first_c -x c -o $out/threads - 2>/dev/null; then
    threads=
else
    threads=-pthread
fi
check "$first_c examples/minimal.c" $first_c $root/examples/minimal.c -o $out/minimal $threads
for cc in $c_compilers; do
    check "$cc -std=c99 examples/minimal.c" \
        strict $cc -std=c99 $root/examples/minimal.c -o $out/minimal $threads
done

report
