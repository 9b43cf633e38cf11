#!/bin/sh
# Checks the test harness itself. Each small program or script here contains one mistake, which the
# harness must not report as success.
#
#     tests/harness.sh DIRECTORY-OF-THE-TEST-PROGRAMS
# shellcheck disable=SC2086 # CC and flags are several words
set -u

cd "$(dirname "$0")/.." || exit 1
. tests/checks.sh
programs=$1
cc=${CC:-cc}
out=build/tests/harness
rm -rf $out
mkdir -p $out

# run PROGRAM...: runs the programs with tests/run.sh, as `make test` does.
run() {
    env UNDER= JOBS=1 TIME_LIMIT=60 sh tests/run.sh "$@"
}

# script NAME: writes a script that contains the lines of stdin.
script() {
    cat >$out/$1
}

# program NAME: builds a test program from the C code on stdin.
program() {
    { echo '#include "tests/test.h"'; cat; } >$out/$1.c
    $cc -I. -o $out/$1 $out/$1.c
}

# ---- tests/run.sh: the last line has the counts, and the exit status agrees with it ----

script good <<'END'
echo '1 passed, 2 failed'
echo '2 passed, 0 failed, 1 skipped'
END
check "counts in the last line" run "sh $out/good"

script pytest <<'END'
echo 'some output'
printf '\033[32m===== \033[32m\033[1m3 passed\033[0m, \033[33m1 skipped\033[0m\033[32m in 0.12s (0:01:02) =====\033[0m\n\n'
END
check "the last line of pytest" run "sh $out/pytest"

script pytest_error <<'END'
echo '=== 3 passed, 1 error in 0.12s ==='
exit 1
END
refuse "an error in the last line of pytest" "3 passed, 1 failed" run "sh $out/pytest_error"

script goes_on <<'END'
echo '2 passed, 0 failed'
echo 'and something else'
END
refuse "output after the counts" "its last line has no counts" run "sh $out/goes_on"

script goes_on_on_stderr <<'END'
echo '2 passed, 0 failed'
echo 'and something else' >&2
END
refuse "output on stderr after the counts" "its last line has no counts" \
    run "sh $out/goes_on_on_stderr"

script ends_early <<'END'
echo '2 passed, 0 failed'
echo 'these counts are only for a part of this program'
exit 0
END
refuse "an early end after counts" "its last line has no counts" run "sh $out/ends_early"

script silent </dev/null
refuse "no output" "its last line has no counts" run "sh $out/silent"

script nothing <<'END'
echo '0 passed, 0 failed'
END
refuse "nothing counted" "counted no check" run "sh $out/nothing"

script status <<'END'
echo '2 passed, 0 failed'
exit 3
END
refuse "an exit status of failure, without a failed check" "ended with status 3" \
    run "sh $out/status"

script no_status <<'END'
echo '2 passed, 1 failed'
END
refuse "a failed check, but an exit status of success" "ended with status 0" \
    run "sh $out/no_status"

script crash <<'END'
echo '2 passed, 1 failed'
kill -s SEGV $$
END
refuse "a crash after a failed check" "ended with status 139" run "sh $out/crash"

script slow <<'END'
echo '2 passed, 0 failed'
sleep 100
END
refuse "a time limit" "the limit is 1 s" env UNDER= TIME_LIMIT=1 sh tests/run.sh "sh $out/slow"

check "several programs" run "sh $out/good" "sh $out/pytest"
refuse "a failure in one of several programs" "5 passed, 1 failed, 2 skipped" \
    run "sh $out/good" "sh $out/pytest" "sh $out/silent"

# ---- tests/test.h: each case must check something, and must run before the report ----

program all_checks <<'END'
static void test_check(void) { CHECK(1); }
static void test_int(void) { CHECK_INT(1, 1); }
static void test_str(void) { CHECK_STR("a", "a"); }
static void test_has(void) { CHECK_HAS("a", "abc"); }
static void test_mem(void) { CHECK_MEM("a", 1, "a", 1); }
static void test_skip(void) { SKIP("something", "nothing"); }
int main(void) {
    RUN(test_check); RUN(test_int); RUN(test_str); RUN(test_has); RUN(test_mem); RUN(test_skip);
    return test_report();
}
END
check "each kind of check is counted" run $out/all_checks
check "the counts of each kind of check" sh -c "$out/all_checks | grep -x '5 passed, 0 failed, 1 skipped'"

program all_fail <<'END'
static void test_check(void) { CHECK(0); }
static void test_int(void) { CHECK_INT(1, 2); }
static void test_str(void) { CHECK_STR("a", NULL); }
static void test_has(void) { CHECK_HAS("a", "bc"); }
static void test_mem(void) { CHECK_MEM("a", 1, "b", 1); }
static void test_skip_and_fail(void) { SKIP("something", "nothing"); CHECK(0); }
int main(void) {
    RUN(test_check); RUN(test_int); RUN(test_str); RUN(test_has); RUN(test_mem);
    RUN(test_skip_and_fail);
    CHECK(0);
    return test_report();
}
END
refuse "each kind of check can fail" "0 passed, 7 failed" run $out/all_fail

program empty <<'END'
static void test_something(void) { CHECK(1); }
static void test_nothing(void) {}
int main(void) { RUN(test_something); RUN(test_nothing); return test_report(); }
END
refuse "a case without a check" "FAILED test_nothing: it checked nothing" run $out/empty

program after <<'END'
static void test_something(void) { CHECK(1); }
int main(void) {
    int status;
    RUN(test_something);
    status = test_report();
    RUN(test_something);
    return status;
}
END
refuse "a case after the report" "test_something: it ran after test_report" run $out/after

program ignored <<'END'
static void test_something(void) { CHECK(0); }
int main(void) { RUN(test_something); test_report(); return 0; }
END
refuse "a program that ignores its report" "ended with status 0" run $out/ignored

cat >$out/unused.c <<'END'
#include "tests/test.h"
static void test_forgotten(void) { CHECK(1); }
static void test_something(void) { CHECK(1); }
int main(void) { RUN(test_something); return test_report(); }
END
refuse "a case that no RUN() runs is an error" "unused-function" \
    env MAKEFLAGS= make -s build/plain/$out/unused

# ---- tests/checks.sh: a script ends at an unknown command ----

# checks NAME: writes a script that uses tests/checks.sh, with the lines of stdin as its checks.
checks() {
    { printf 'set -u\n. tests/checks.sh\n'; cat; echo report; } >$out/$1
}

checks known <<'END'
fails() { false; }
if has sh "nothing"; then check "one" true; fi
fails || check "two" true
! fails && check "three" true
refuse "four" "a sentence" sh -c 'echo a sentence; exit 1'
check_silent "five" true
skip "something" "nothing"
END
check "a script" run "sh $out/known"
check "the counts of a script" sh -c "sh $out/known | grep -x '5 passed, 0 failed, 1 skipped'"

checks misspelt <<'END'
check "one" true
chekc "two" false
check "three" true
END
refuse "a misspelt check" "chekc" run "sh $out/misspelt"

checks misspelt_in_function <<'END'
both() {
    chekc "one" false
    check "two" true
}
both
for word in a b; do both; done
END
refuse "a misspelt check in a function" "chekc" run "sh $out/misspelt_in_function"

checks misspelt_in_check <<'END'
compares() {
    copmare something
    true
}
check "one" compares
END
refuse "a misspelt command in what is checked" "copmare" run "sh $out/misspelt_in_check"

checks unset <<'END'
check "one" test "$unset_variable" = ""
END
refuse "a misspelt variable" "unset_variable" run "sh $out/unset"

checks fails <<'END'
check "one" false
check "two" true
END
refuse "a check that fails" "1 passed, 1 failed" run "sh $out/fails"

# ---- sanitizers: reports of background processes are failures ----

flags=$(CC=$cc sh tests/sanitizers.sh flags -fsanitize=address,undefined -fno-sanitize-recover=undefined)
recovers=$(CC=$cc sh tests/sanitizers.sh flags -fsanitize=undefined)

# defect NAME BODY FLAG...: builds a program. BODY is the body of its main().
defect() {
    printf '#include <limits.h>\n#include <stdlib.h>\nint main(int n, char **v) { (void)v; %s }\n' \
        "$2" >$out/$1.c
    name=$1
    shift 2
    $cc -w "$@" -o $out/$name $out/$name.c
}

# dropped NAME: prints the name of a script that runs the program in the background, ignores its
# output and its status, and passes.
dropped() {
    printf '%s >/dev/null 2>&1 &\nwait\necho "1 passed, 0 failed"\n' $out/$1 | script dropped
    echo "sh $out/dropped"
}

# inherited NAME: the same, but the program has the script's own stderr.
inherited() {
    printf '%s &\nwait\necho "1 passed, 0 failed"\n' $out/$1 | script inherited
    echo "sh $out/inherited"
}

# started NAME: the same, but tests/processes.sh starts the program, and then another program under
# the same name.
started() {
    printf '. tests/processes.sh\nstart it %s\nwait\nstart it true\necho "1 passed, 0 failed"\n' \
        $out/$1 | script started
    echo "sh $out/started"
}

if [ "$flags" ] && [ "$recovers" ]; then
    defect nothing 'return n - 1;' $flags
    defect overflow 'char *p = malloc(8); p[7 + n] = 1; return p[0];' $flags
    defect leak 'return malloc((size_t)n + 7) == NULL;' $flags
    defect sum 'return INT_MAX + n;' $flags
    defect recovering_sum 'return INT_MAX + n;' $recovers
    for way in dropped inherited started; do
        check "a background process without a defect, $way" run "$($way nothing)"
        refuse "an overflow in the background, $way" "heap-buffer-overflow" run "$($way overflow)"
        refuse "a leak in the background, $way" "LeakSanitizer" run "$($way leak)"
        refuse "undefined behaviour in a program that continues, $way" "signed integer overflow" \
            run "$($way recovering_sum)"
    done
    for folder in "a folder" "it's a folder"; do
        mkdir -p "$out/$folder"
        refuse "an overflow in the background, TMPDIR is \"$folder\"" "heap-buffer-overflow" \
            env TMPDIR="$PWD/$out/$folder" sh tests/run.sh "$(dropped overflow)"
    done
    # With gcc, UBSan writes no report file if ASan is used, too.
    refuse "undefined behaviour in the background, inherited" "signed integer overflow" \
        run "$(inherited sum)"
    refuse "undefined behaviour in the background, started" "signed integer overflow" \
        run "$(started sum)"
    refuse "undefined behaviour in the background, without tests/run.sh" "signed integer overflow" \
        sh -c "$(started sum)"
else
    skip "a C compiler that can use SANITIZE ($cc cannot)" "reports of background processes"
fi

script options <<'END'
echo "options: $ASAN_OPTIONS"
echo '0 passed, 1 failed'
exit 1
END
refuse "the caller's options for sanitizers are kept" "options: exitcode=7:log_path=" \
    env ASAN_OPTIONS=exitcode=7 sh tests/run.sh "sh $out/options"

# ---- few file descriptors ----

few_descriptors() {
    sh -c "ulimit -n 64 && exec timeout 60 $programs/fault/test_manners" >$out/few 2>&1
    few_status=$?
    cat $out/few
    [ $few_status -eq 0 ] && grep '^SKIPPED .*descriptors.*: ' $out/few &&
        tail -n 1 $out/few | grep -x '[0-9]* passed, 0 failed, 1 skipped'
}
check "test_manners with 64 file descriptors" few_descriptors
refuse "test_manners with 8 file descriptors" "Too many open files" \
    sh -c "ulimit -n 8 && exec timeout 60 $programs/fault/test_manners"

report
