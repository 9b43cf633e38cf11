/* test_stomp_cat_memory.c - tests stomp_cat when memory runs out. Each allocation, in stomp_cat and
   in the library, fails in a run of its own. The run must end with an error text and status 1; or,
   if that memory is not essential, with its normal result. */
#define _POSIX_C_SOURCE 200809L
#include <stddef.h>

static void *failing_malloc(size_t size);

#define STOMP_WS_MALLOC(size) failing_malloc(size)
#define STOMP_WS_FREE(block) free(block)
#define STOMP_WS_IMPLEMENTATION
#include "loopback.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ==== an allocation that fails ==== */

static int calls, fail_at;

static int fails(void) {
    return ++calls == fail_at;
}

static void *failing_malloc(size_t size) {
    return fails() ? NULL : malloc(size);
}

static void *failing_realloc(void *block, size_t size) {
    return fails() ? NULL : realloc(block, size);
}

static FILE *failing_memstream(char **text, size_t *len) {
    return fails() ? NULL : open_memstream(text, len);
}

/* ==== the program ==== */

#define malloc failing_malloc
#define realloc failing_realloc
#define open_memstream failing_memstream
#define main run_stomp_cat
#include "../../examples/stomp_cat.c" /* NOLINT(bugprone-suspicious-include) */
#undef malloc
#undef realloc
#undef open_memstream
#undef main

/* ==== one run ==== */

enum { MAX_ARGUMENTS = 32, NOT_REACHED = 77 };

struct outcome {
    struct bytes out, err;
    int status; /* NOT_REACHED: the run had fewer allocations */
};

static void be_stomp_cat(char **argv, int nth, int out, int err) {
    int argc = 0, code;
    while (argv[argc]) argc++;
    if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) _exit(126);
    close(out);
    close(err);
    fail_at = nth;
    code = run_stomp_cat(argc, argv);
    fflush(NULL);
    _exit(calls < nth ? NOT_REACHED : code);
}

static void read_to_end(int fd, struct bytes *into) {
    char chunk[4096];
    ssize_t n;
    bytes_clear(into);
    while ((n = read(fd, chunk, sizeof chunk)) > 0) bytes_add(into, chunk, (size_t)n);
    close(fd);
}

static void run_with_failure(struct outcome *o, char **argv, int nth) {
    int out[2], err[2], status;
    pid_t process;
    if (pipe(out) != 0 || pipe(err) != 0) abort();
    fflush(NULL);
    process = fork();
    if (process < 0) abort();
    if (process == 0) be_stomp_cat(argv, nth, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    read_to_end(out[0], &o->out);
    read_to_end(err[0], &o->err);
    if (waitpid(process, &status, 0) != process) abort();
    o->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Makes each allocation fail once. `output` is the expected stdout of a run that succeeds. */
static void check_each_failure(const char *output, int least, const char *const *words) {
    static struct loopback server;
    struct outcome o = {{0}, {0}, 0};
    char *argv[MAX_ARGUMENTS];
    int nth, i;
    loopback_start(&server, 0, 0);
    for (i = 0; words[i]; i++) memcpy(&argv[i], &words[i], sizeof argv[i]);
    argv[i] = NULL;
    argv[1] = server.url;
    for (nth = 1; nth < 200; nth++) {
        run_with_failure(&o, argv, nth);
        if (o.status == NOT_REACHED) break;
        CHECK(o.status == DONE || o.status == FAILED);
        if (o.status == FAILED) CHECK_HAS("memory", bytes_text(&o.err));
        if (o.status == DONE) CHECK_STR(output, bytes_text(&o.out));
    }
    CHECK_STR(output, bytes_text(&o.out));
    CHECK(nth > least && nth < 200); /* the loop ends at a run without a failure */
    loopback_stop(&server);
    bytes_free(&o.out);
    bytes_free(&o.err);
}

static void test_a_receiver_without_memory(void) {
    static const char *const words[] = {"stomp_cat", "",  "-s", "/flood/3", "-H", "x:y",
                                        "-n",        "3", "-u", "login",    NULL};
    check_each_failure("0\n1\n2\n", 4, words);
}

static void test_a_sender_without_memory(void) {
    static const char *const words[] = {"stomp_cat", "",   "-d",  "/queue/q",  "-m",
                                        "x",         "-H", "x:y", "--confirm", NULL};
    check_each_failure("", 3, words);
}

static void test_a_sender_of_a_file_without_memory(void) {
    static const char *const words[] = {"stomp_cat", "",          "-d",        "/queue/q",
                                        "-f",        "/dev/null", "--receipt", NULL};
    check_each_failure("", 2, words);
}

static void test_a_request_without_memory(void) {
    static const char *const words[] = {"stomp_cat", "",   "-d", "/queue/q",       "-m", "x",
                                        "--request", "-n", "1",  "--no-reconnect", NULL};
    check_each_failure("re: x\n", 5, words);
}

static void test_secrets_without_memory(void) {
    char passcode[] = "/tmp/stomp_cat.XXXXXX", headers[] = "/tmp/stomp_cat.XXXXXX";
    const char *words[] = {
        "stomp_cat",     "",      "-s", "/flood/1", "-n", "1", "--passcode-file", passcode,
        "--header-file", headers, NULL};
    int fds[2];
    fds[0] = mkstemp(passcode);
    fds[1] = mkstemp(headers);
    if (write(fds[0], "x", 1) != 1 || write(fds[1], "X: y", 4) != 4) abort();
    close(fds[0]);
    close(fds[1]);
    check_each_failure("0\n", 5, words);
    unlink(passcode);
    unlink(headers);
}

int main(void) {
    RUN(test_a_receiver_without_memory);
    RUN(test_a_sender_without_memory);
    RUN(test_a_sender_of_a_file_without_memory);
    RUN(test_a_request_without_memory);
    RUN(test_secrets_without_memory);
    return test_report();
}
