/* test_stomp_cat.c - tests what stomp_cat prints when a peer sends bytes that control a terminal.
   Each case starts stomp_cat and a hostile server on the loopback interface, and compares every
   byte of the output. stdout is a pseudo-terminal or a pipe.

       test_stomp_cat [stomp_cat]    default: $STOMP_CAT, or build/stomp_cat */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* for posix_openpt */
#endif

#include "loopback.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <termios.h>

/* NOLINTBEGIN(misc-misleading-bidirectional): strings here are meant to mislead a terminal */

enum { MAX_ARGUMENTS = 32, ON_TERMINAL = 1 };

static const char *cat_path;

/* ==== the hostile server ==== */

static struct loopback server;
static struct bytes hostile; /* WebSocket frames: the answer to each SEND */

static void send_hostile(const stws_frame *frame) {
    (void)frame;
    bytes_add(&server.links->out, hostile.data, hostile.len);
}

/* Sets the message, ERROR or close frame that the next server sends. */
static void prepare(stws_ws_opcode opcode, const void *data, size_t len) {
    bytes_clear(&hostile);
    bytes_add_ws(&hostile, opcode, 1, data, len);
}

/* Sets a MESSAGE for the subscription "x", with these additional headers and this body. */
static void prepare_message(const char *headers, const char *body, size_t len) {
    struct bytes frame = {0};
    bytes_print(&frame,
                "MESSAGE\nsubscription:x\nmessage-id:1\ndestination:/topic/x\n"
                "content-length:%d\n%s\n",
                (int)len, headers);
    bytes_add(&frame, body, len);
    prepare(STWS_WS_TEXT, frame.data, frame.len + 1);
    bytes_free(&frame);
}

static void prepare_error(const char *text) {
    prepare(STWS_WS_TEXT, text, strlen(text) + 1);
}

/* A server that answers one HTTP request with this text. */
struct http_server {
    int listener;
    const char *answer;
};

static void *answer_http(void *argument) {
    const struct http_server *http = (const struct http_server *)argument;
    struct bytes request = {0};
    char chunk[4096];
    ssize_t n;
    int fd = accept(http->listener, NULL, NULL);
    while (!strstr(bytes_text(&request), "\r\n\r\n") && (n = recv(fd, chunk, sizeof chunk, 0)) > 0)
        bytes_add(&request, chunk, (size_t)n);
    if (send(fd, http->answer, strlen(http->answer), MSG_NOSIGNAL) < 0) abort();
    close(fd);
    bytes_free(&request);
    return NULL;
}

/* ==== stomp_cat ==== */

struct printed {
    struct bytes out, err;
    int status;
};

/* Opens a pseudo-terminal that passes each byte on unchanged. Returns 0 if this machine has no
   pseudo-terminal. */
static int open_terminal(int ends[2]) {
    struct termios how;
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
    if (ends[0] < 0) return 0;
    ends[1] = grantpt(ends[0]) == 0 && unlockpt(ends[0]) == 0
                  ? open(ptsname(ends[0]), O_RDWR | O_NOCTTY)
                  : -1;
    if (ends[1] < 0) {
        close(ends[0]);
        return 0;
    }
    if (tcgetattr(ends[1], &how) != 0) abort();
    how.c_oflag &= ~(tcflag_t)OPOST;
    if (tcsetattr(ends[1], TCSANOW, &how) != 0) abort();
    return 1;
}

static int has_terminal(const char *what) {
    int ends[2];
    if (!open_terminal(ends)) {
        SKIP("a pseudo-terminal", what);
        return 0;
    }
    close(ends[0]);
    close(ends[1]);
    return 1;
}

static void execute(const char *const *arguments, int out, int err) {
    char *argv[MAX_ARGUMENTS];
    int i;
    for (i = 0; i + 1 < MAX_ARGUMENTS && arguments[i]; i++)
        memcpy(&argv[i], &arguments[i], sizeof argv[i]);
    argv[i] = NULL;
    if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) abort();
    execv(cat_path, argv);
    perror(cat_path);
    _exit(127);
}

/* Returns 0 at the end. At the end of a terminal, read returns an error. */
static int read_some(int fd, struct bytes *into) {
    char chunk[4096];
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n > 0) bytes_add(into, chunk, (size_t)n);
    return n > 0 || (n < 0 && errno == EINTR);
}

/* Starts stomp_cat and reads its output until it ends. */
static void run_cat(struct printed *p, int on_terminal, const char *const *arguments) {
    struct pollfd polled[2] = {{0, POLLIN, 0}, {0, POLLIN, 0}};
    int out[2], err[2];
    pid_t process;
    bytes_clear(&p->out);
    bytes_clear(&p->err);
    if ((on_terminal ? !open_terminal(out) : pipe(out) != 0) || pipe(err) != 0) abort();
    process = fork();
    if (process < 0) abort();
    if (process == 0) {
        close(out[0]);
        close(err[0]);
        execute(arguments, out[1], err[1]);
    }
    close(out[1]);
    close(err[1]);
    polled[0].fd = out[0];
    polled[1].fd = err[0];
    while (polled[0].fd >= 0 || polled[1].fd >= 0) {
        if (poll(polled, 2, -1) < 0) continue;
        if (polled[0].revents && !read_some(out[0], &p->out)) polled[0].fd = -1;
        if (polled[1].revents && !read_some(err[0], &p->err)) polled[1].fd = -1;
    }
    close(out[0]);
    close(err[0]);
    if (waitpid(process, &p->status, 0) != process) abort();
    p->status = WIFEXITED(p->status) ? WEXITSTATUS(p->status) : -1;
}

/* Runs stomp_cat: it subscribes, sends a message that the hostile server answers, and ends after
   one message. */
static void run_with_hostile_server(struct printed *p, int on_terminal, const char *option,
                                    const char *second) {
    const char *arguments[MAX_ARGUMENTS] = {
        "stomp_cat", NULL, "-s", "/topic/x", "-H",  "id:x",          "-d", "/queue/q", "-m",
        "something", "-n", "1",  "-t",       "100", "--no-reconnect"};
    arguments[15] = option;
    arguments[16] = option ? second : NULL;
    loopback_start_with(&server, 0, 0, 0, send_hostile);
    arguments[1] = server.url;
    run_cat(p, on_terminal, arguments);
    loopback_stop(&server);
}

static void free_printed(struct printed *p) {
    bytes_free(&p->out);
    bytes_free(&p->err);
    bytes_free(&hostile);
}

#define CHECK_BYTES(expected, expected_len, bytes)                                                 \
    (CHECK_MEM(expected, expected_len, (bytes).data, (bytes).len),                                 \
     CHECK_STR(expected, bytes_text(&(bytes))))

/* ==== bodies ==== */

/* A body with all kinds of bytes, and how it is shown. The last character lacks its last byte. */
#define BODY                                                                                       \
    "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\ta\\b\nline\r\n\x1B[31m \a\x7F \xC2\x9B"            \
    "31m \x9B"                                                                                     \
    "31m \xC2\xA0 \xE2\x80\xAE \xFF\xC0\xAF \xED\xA0\x80 \xF5\x80\x80\x80 \xF0\x9F\x98"
#define SHOWN                                                                                      \
    "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\ta\\b\nline\\x0d\n\\x1b[31m \\x07\\x7f \\u009b"     \
    "31m \\x9b"                                                                                    \
    "31m \xC2\xA0 \\u202e \\xff\\xc0\\xaf \\xed\\xa0\\x80 \\xf5\\x80\\x80\\x80 \\xf0\\x9f\\x98"

static void test_a_terminal_does_not_obey_a_body(void) {
    static struct printed p;
    if (!has_terminal("stomp_cat shows control characters of a body")) return;
    prepare_message("", BODY, sizeof BODY - 1);
    run_with_hostile_server(&p, ON_TERMINAL, NULL, NULL);
    CHECK_BYTES(SHOWN "\n", sizeof SHOWN, p.out);
    CHECK_INT(0, p.status);
    free_printed(&p);
}

static void test_a_nul_in_a_body_is_shown(void) {
    static struct printed p;
    if (!has_terminal("stomp_cat shows a NUL of a body")) return;
    prepare_message("", "a\0b", 3);
    run_with_hostile_server(&p, ON_TERMINAL, NULL, NULL);
    CHECK_BYTES("a\\x00b\n", 7, p.out);
    free_printed(&p);
}

static void test_a_pipe_gets_the_body_unchanged(void) {
    static struct printed p;
    prepare_message("", BODY "\0", sizeof BODY);
    run_with_hostile_server(&p, 0, NULL, NULL);
    CHECK_MEM(BODY "\0\n", sizeof BODY + 1, p.out.data, p.out.len);
    CHECK_STR("", bytes_text(&p.err));
    CHECK_INT(0, p.status);
    free_printed(&p);
}

static void test_raw_on_a_terminal(void) {
    static struct printed p;
    if (!has_terminal("stomp_cat --raw")) return;
    prepare_message("", BODY, sizeof BODY - 1);
    run_with_hostile_server(&p, ON_TERMINAL, "--raw", NULL);
    CHECK_BYTES(BODY "\n", sizeof BODY, p.out);
    CHECK_INT(0, p.status);
    free_printed(&p);
}

static void test_a_reply_is_shown_like_a_message(void) {
    static struct printed p;
    const char *arguments[] = {"stomp_cat", NULL, "-d", "/queue/q", "-m",  "\x1B\xC2\x85",
                               "--request", "-n", "1",  "-t",       "100", NULL};
    if (!has_terminal("stomp_cat shows control characters of a reply")) return;
    loopback_start(&server, 0, 0);
    arguments[1] = server.url;
    run_cat(&p, ON_TERMINAL, arguments);
    loopback_stop(&server);
    CHECK_BYTES("re: \\x1b\\u0085\n", 15, p.out);
    CHECK_INT(0, p.status);
    free_printed(&p);
}

/* ==== every character ==== */

static const unsigned long direction[] = {0x061C, 0x200E, 0x200F, 0x202A, 0x202B, 0x202C,
                                          0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x2069};

static int is_control(unsigned long c) {
    size_t i;
    for (i = 0; i < sizeof direction / sizeof *direction; i++)
        if (direction[i] == c) return 1;
    return c < 0x20 || (c >= 0x7F && c <= 0x9F);
}

static void add_utf8(struct bytes *b, unsigned long c) {
    char text[3];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
    text[0] = (char)(n == 1 ? c : n == 2 ? 0xC0 | c >> 6 : 0xE0 | c >> 12);
    text[n - 1] = (char)(n == 1 ? c : 0x80 | (c & 63));
    if (n == 3) text[1] = (char)(0x80 | (c >> 6 & 63));
    bytes_add(b, text, n);
}

/* All characters up to U+33FF. This range has all control characters. */
static void check_every_character(int on_terminal, const char *option) {
    static struct printed p;
    struct bytes body = {0}, expected = {0};
    unsigned long c;
    if (option) bytes_print(&expected, "],\"body\":\"");
    for (c = 0; c < 0x3400; c++) {
        add_utf8(&body, c);
        if (option && (c == '"' || c == '\\'))
            bytes_print(&expected, "\\%c", (int)c);
        else if (!is_control(c) || (!option && (c == '\t' || c == '\n')))
            add_utf8(&expected, c);
        else
            bytes_print(&expected, c < 0x80 && !option ? "\\x%02lx" : "\\u%04lx", c);
    }
    bytes_print(&expected, option ? "\"}\n" : "\n");
    prepare_message("", body.data, body.len);
    run_with_hostile_server(&p, on_terminal, option, NULL);
    CHECK(p.out.len >= expected.len);
    if (p.out.len >= expected.len) CHECK_STR(expected.data, p.out.data + p.out.len - expected.len);
    bytes_free(&body);
    bytes_free(&expected);
    free_printed(&p);
}

static void test_every_character_on_a_terminal(void) {
    if (!has_terminal("stomp_cat shows each control character")) return;
    check_every_character(ON_TERMINAL, NULL);
}

static void test_every_character_in_json(void) {
    check_every_character(0, "--json");
}

/* ==== JSON ==== */

/* A byte of a header that is not part of UTF-8 becomes U+FFFD. A body that is not UTF-8 is encoded
   in base64. */
#define HOSTILE_HEADERS "e\x1B\x7F:\xC2\x9B\xE2\x80\xAE\xE2\x81\xA9 \x9B \xE2\x80\t\\\\\"\n"
#define JSON                                                                                       \
    "{\"destination\":\"/topic/x\",\"subscription\":\"x\",\"message_id\":\"1\",\"headers\":["      \
    "[\"subscription\",\"x\"],[\"message-id\",\"1\"],[\"destination\",\"/topic/x\"],"              \
    "[\"content-length\",\"1\"],[\"e\\u001b\\u007f\",\"\\u009b\\u202e\\u2069 \\ufffd "             \
    "\\ufffd\\ufffd\\u0009\\\\\\\"\"]],\"body_base64\":\"mw==\"}\n"

static void check_json(int on_terminal, const char *option, const char *second) {
    static struct printed p;
    prepare_message(HOSTILE_HEADERS, "\x9B", 1);
    run_with_hostile_server(&p, on_terminal, option, second);
    CHECK_STR(JSON, bytes_text(&p.out));
    CHECK(stws_utf8_valid(p.out.data, p.out.len));
    CHECK_INT(0, p.status);
    free_printed(&p);
}

static void test_json_escapes_hostile_characters(void) {
    check_json(0, "--json", NULL);
}

static void test_json_on_a_terminal(void) {
    if (!has_terminal("stomp_cat --json on a terminal")) return;
    check_json(ON_TERMINAL, "--json", NULL);
    check_json(ON_TERMINAL, "--json", "--raw");
}

/* ==== stderr ==== */

/* Checks that stderr has no byte that a terminal obeys. */
static void check_plain(const struct printed *p) {
    size_t i;
    CHECK(p->err.len > 0 && stws_utf8_valid(p->err.data, p->err.len));
    for (i = 0; i < p->err.len; i++) {
        unsigned char c = (unsigned char)p->err.data[i];
        CHECK(c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7F));
    }
    CHECK(!strstr(bytes_text(&p->err), "\xC2\x9B") && !strstr(bytes_text(&p->err), "\xE2\x80\xAE"));
}

static void test_an_error_of_the_broker_is_plain(void) {
    static struct printed p;
    prepare_error("ERROR\nmessage:m \xC2\x9B"
                  "31m \xE2\x80\xAE \x9B.\n\nfirst \xC2\x9B"
                  "31m\r\nsecond\t\x1B[31m \xE2\x80\xAE\x9B\x7F\xC3\xA9\n");
    run_with_hostile_server(&p, 0, NULL, NULL);
    check_plain(&p);
    CHECK_HAS("\"m .31m . ..\"", bytes_text(&p.err)); /* the library's error text */
    CHECK_HAS("\n    first \\u009b31m\n    second\t\\x1b[31m \\u202e\\x9b\\x7f\xC3\xA9\n",
              bytes_text(&p.err));
    CHECK_INT(1, p.status);
    free_printed(&p);
}

/* At most 4096 bytes of an ERROR's body are printed, and never an incomplete character. */
static void test_a_long_error_ends_with_a_whole_character(void) {
    static struct printed p;
    struct bytes error = {0};
    int i;
    bytes_print(&error, "ERROR\nmessage:m\n\n");
    for (i = 0; i < 4095; i++) bytes_add(&error, i % 64 ? "x" : "\n", 1);
    bytes_add(&error, "\xC3\xA9", 2);
    bytes_add(&error, "yyy", 3);
    prepare_error(error.data);
    run_with_hostile_server(&p, 0, NULL, NULL);
    CHECK_HAS("    xxx", bytes_text(&p.err));
    CHECK(!strstr(bytes_text(&p.err), "\\x") && !strchr(bytes_text(&p.err), 'y'));
    check_plain(&p);
    bytes_free(&error);
    free_printed(&p);
}

/* An ERROR after the client's DISCONNECT. The error text quotes at most 400 bytes of the body. */
static void test_an_error_after_the_last_message_is_plain(void) {
    static struct printed p;
    const char *arguments[] = {"stomp_cat", NULL, "-d",  "/queue/q", "-m",
                               "something", "-t", "100", NULL};
    struct bytes error = {0};
    int i;
    bytes_print(&error, "ERROR\nmessage:a\xC2\x9B");
    for (i = 0; i < 100; i++) bytes_add(&error, "\xC3\xA9", 2);
    bytes_print(&error, "\n\n\xE2\x80\xAE  ");
    for (i = 0; i < 200; i++) bytes_add(&error, "\xE2\x82\xAC", 3);
    prepare_error(error.data);
    loopback_start_with(&server, 0, 0, 0, send_hostile);
    arguments[1] = server.url;
    run_cat(&p, 0, arguments);
    loopback_stop(&server);
    check_plain(&p);
    CHECK_HAS("\\u009b\xC3\xA9", bytes_text(&p.err));
    CHECK(!strstr(bytes_text(&p.err), "\\x"));
    CHECK_INT(1, p.status);
    bytes_free(&error);
    free_printed(&p);
}

static void test_a_close_reason_is_plain(void) {
    static struct printed p;
    char payload[125];
    size_t len = stws_ws_close_payload(payload, 1008,
                                       "why \xC2\x9B"
                                       "31m \xE2\x80\xAE");
    prepare(STWS_WS_CLOSE, payload, len);
    run_with_hostile_server(&p, 0, NULL, NULL);
    check_plain(&p);
    CHECK_HAS("\"why .31m .\"", bytes_text(&p.err));
    CHECK_INT(1, p.status);
    free_printed(&p);
}

static void test_an_http_answer_is_plain(void) {
    static struct printed p;
    static struct http_server http;
    const char *arguments[] = {"stomp_cat", NULL,  "-s",      "/topic/x", "--no-reconnect",
                               "-t",        "100", "--trace", NULL};
    char url[64];
    pthread_t thread;
    int port;
    http.listener = loopback_listen(0, &port);
    http.answer = "HTTP/1.1 403 No \xC2\x9B\xE2\x80\xAE\x9B\r\nX: \xC2\x9B\xE2\x80\xAE\x9B\r\n"
                  "Content-Length: 14\r\n\r\nbody \x1B[m\xC2\x9B\xE2\x80\xAE\x9B";
    if (pthread_create(&thread, NULL, answer_http, &http) != 0) abort();
    snprintf(url, sizeof url, "ws://127.0.0.1:%d/", port);
    arguments[1] = url;
    run_cat(&p, 0, arguments);
    pthread_join(thread, NULL);
    close(http.listener);
    check_plain(&p);
    CHECK_HAS("\\u009b\\u202e\\x9b", bytes_text(&p.err));
    CHECK_INT(1, p.status);
    free_printed(&p);
}

static void test_a_trace_is_plain(void) {
    static struct printed p;
    prepare_message(HOSTILE_HEADERS, "x", 1);
    run_with_hostile_server(&p, 0, "--trace", NULL);
    check_plain(&p);
    CHECK_HAS("e\\x1b\\x7f:\\u009b\\u202e\\u2069 \\x9b \\xe2\\x80\\x09\\\"", bytes_text(&p.err));
    CHECK_INT(0, p.status);
    free_printed(&p);
}

static void test_an_unknown_subscription_is_plain(void) {
    static struct printed p;
    static const char message[] =
        "MESSAGE\nsubscription:\xC2\x9B\x9B\xE2\x80\xAE\nmessage-id:1\ndestination:/topic/x\n\nx";
    prepare(STWS_WS_TEXT, message, sizeof message);
    run_with_hostile_server(&p, 0, NULL, NULL);
    check_plain(&p);
    CHECK_HAS("\"\\u009b\\x9b\\u202e\"", bytes_text(&p.err));
    free_printed(&p);
}

/* Arguments may come from a peer, too, through a script. */
static void test_arguments_are_plain(void) {
    static const char word[] = "-\x1B[m\xC2\x9B\xE2\x80\xAE\x9B";
    static const char *const wrong[][5] = {
        {"stomp_cat", word, NULL},
        {"stomp_cat", "ws://127.0.0.1:1", word + 1, NULL},
        {"stomp_cat", word + 1, "-s", "/topic/x", NULL},
        {"stomp_cat", "ws://127.0.0.1:1", "-n", word, NULL},
        {"stomp_cat", "ws://127.0.0.1:1", "-f", word, NULL},
    };
    static struct printed p;
    size_t i;
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        run_cat(&p, 0, wrong[i]);
        check_plain(&p);
        CHECK_INT(2, p.status);
        if (!strstr(bytes_text(&p.err), "need -d"))
            CHECK_HAS("\\x1b[m\\u009b\\u202e\\x9b", bytes_text(&p.err));
    }
    free_printed(&p);
}

int main(int argc, char **argv) {
    cat_path = argc > 1 ? argv[1] : getenv("STOMP_CAT");
    if (!cat_path) cat_path = "build/stomp_cat";
    RUN(test_a_terminal_does_not_obey_a_body);
    RUN(test_a_nul_in_a_body_is_shown);
    RUN(test_a_pipe_gets_the_body_unchanged);
    RUN(test_raw_on_a_terminal);
    RUN(test_a_reply_is_shown_like_a_message);
    RUN(test_every_character_on_a_terminal);
    RUN(test_every_character_in_json);
    RUN(test_json_escapes_hostile_characters);
    RUN(test_json_on_a_terminal);
    RUN(test_an_error_of_the_broker_is_plain);
    RUN(test_a_long_error_ends_with_a_whole_character);
    RUN(test_an_error_after_the_last_message_is_plain);
    RUN(test_a_close_reason_is_plain);
    RUN(test_an_http_answer_is_plain);
    RUN(test_a_trace_is_plain);
    RUN(test_an_unknown_subscription_is_plain);
    RUN(test_arguments_are_plain);
    return test_report();
}

/* NOLINTEND(misc-misleading-bidirectional) */
