/* The test harness. A program is a list of cases, and a case is a list of checks. The program's last
   line counts the cases that passed, failed and were skipped. A failed check prints its file and line
   with the condition or the value, and the case goes on. A case that checks nothing is a failure. A
   case is skipped only if this machine lacks something that the case needs; SKIP names that thing. */
#ifndef TEST_H
#define TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_passed, test_failed, test_skipped, test_case_failures, test_case_skipped;
static int test_case_checked, test_reported;

#define CHECK(condition)                                                                           \
    (test_checked(),                                                                               \
     (condition) ? (void)0                                                                         \
                 : (void)(test_case_failures++,                                                    \
                          printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #condition)))

#define CHECK_INT(expected, actual)                                                                \
    test_check_int(__FILE__, __LINE__, #actual, (long long)(expected), (long long)(actual))

#define CHECK_STR(expected, actual) test_check_str(__FILE__, __LINE__, #actual, expected, actual)

/* Checks that text contains part. For error texts: their wording may change, their facts may not. */
#define CHECK_HAS(part, text) test_check_has(__FILE__, __LINE__, #text, part, text)

#define CHECK_MEM(expected, expected_len, actual, actual_len)                                      \
    test_check_mem(__FILE__, __LINE__, #actual, expected, expected_len, actual, actual_len)

/* Counts this case as skipped, because this machine lacks `missing` and `what` cannot be tested. The
   case must then return. */
#define SKIP(missing, what)                                                                        \
    ((void)printf("SKIPPED %s: %s\n", missing, what), (void)(test_case_skipped = 1))

#define RUN(function) test_run(#function, function)

/* Notes that this case has checked something. A case may do that in several threads. */
static inline void test_checked(void) {
#ifdef __ATOMIC_RELAXED
    __atomic_store_n(&test_case_checked, 1, __ATOMIC_RELAXED);
#else
    test_case_checked = 1;
#endif
}

/* Ends the program with the reason in errno, because this machine lacks something that the test
   needs. */
static inline void test_give_up(const char *what) {
    fflush(stdout);
    perror(what);
    _Exit(EXIT_FAILURE); /* skips the leak check of sanitizers, and stops other threads */
}

static inline void test_check_int(const char *file, int line, const char *what, long long expected,
                                  long long actual) {
    test_checked();
    if (expected == actual) return;
    test_case_failures++;
    printf("%s:%d: %s is %lld, expected %lld\n", file, line, what, actual, expected);
}

static inline void test_check_str(const char *file, int line, const char *what,
                                  const char *expected, const char *actual) {
    test_checked();
    if (expected == actual || (expected && actual && strcmp(expected, actual) == 0)) return;
    test_case_failures++;
    printf("%s:%d: %s is \"%s\", expected \"%s\"\n", file, line, what, actual ? actual : "(null)",
           expected ? expected : "(null)");
}

static inline void test_check_has(const char *file, int line, const char *what, const char *part,
                                  const char *text) {
    test_checked();
    if (text && strstr(text, part)) return;
    test_case_failures++;
    printf("%s:%d: %s is \"%s\", which lacks \"%s\"\n", file, line, what, text ? text : "(null)",
           part);
}

static inline void test_check_mem(const char *file, int line, const char *what,
                                  const void *expected, size_t expected_len, const void *actual,
                                  size_t actual_len) {
    test_checked();
    if (expected_len == actual_len &&
        (expected_len == 0 || memcmp(expected, actual, expected_len) == 0))
        return;
    test_case_failures++;
    printf("%s:%d: %s differs: %zu bytes, expected %zu\n", file, line, what, actual_len,
           expected_len);
}

/* A check that failed outside a case is a failure of its own. */
static inline void test_end_gap(void) {
    if (test_case_failures) {
        test_failed++;
        printf("FAILED outside a case\n");
    }
    test_case_failures = test_case_skipped = test_case_checked = 0;
}

/* Counts the case that has just ended. */
static inline void test_end_case(const char *name) {
    if (test_case_failures) {
        test_failed++;
        printf("FAILED %s\n", name);
    } else if (test_case_skipped) {
        test_skipped++;
    } else if (!test_case_checked) {
        test_failed++;
        printf("FAILED %s: it checked nothing\n", name);
    } else {
        test_passed++;
    }
    test_case_failures = test_case_skipped = test_case_checked = 0;
}

/* A case after the report is not counted. Its line is then the last one, and tests/run.sh objects. */
static inline void test_run(const char *name, void (*function)(void)) {
    test_end_gap();
    function();
    test_end_case(name);
    if (test_reported) printf("%s: it ran after test_report\n", name);
}

/* The last line of a test program, which tests/run.sh adds up. */
static inline int test_report(void) {
    test_end_gap();
    printf("%d passed, %d failed, %d skipped\n", test_passed, test_failed, test_skipped);
    test_reported = 1;
    return test_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
