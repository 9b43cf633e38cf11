/* test_broker.c - tests that a peer of the broker in examples/mini_broker.c cannot exhaust the
   broker's memory, time or connections, and cannot stop the other peers. The broker runs without
   sockets here: a test feeds it bytes, takes its output and sets its clock. For the tests of the
   sockets, the system calls are scripted. Work is counted in loop iterations, which are the same on
   every machine. */
#include "stomp_ws.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <search.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../test.h"

/* ==== scripted system calls for the broker's sockets ==== */

enum { FIRST_FD = 100000, LISTENER = 99999, ENOUGH_POLLS = 500 };

static struct {
    long long now;    /* milliseconds */
    int arrivals;     /* connections waiting to be accepted */
    int accept_error; /* if not 0, accept fails with this errno */
    int poll_error;   /* if not 0, poll fails with this errno */
    int accepts, opened, closed, polls;
    int refusals;      /* answers that begin with HTTP/1.1 503 */
    long long stop_at; /* a signal arrives at this time */
} script;

static int fail_with(int error) {
    errno = error;
    return -1;
}

static int scripted_accept(int fd, struct sockaddr *address, socklen_t *len) {
    (void)fd;
    (void)address;
    (void)len;
    script.accepts++;
    if (script.accept_error) return fail_with(script.accept_error);
    if (script.arrivals == 0) return fail_with(EAGAIN);
    script.arrivals--;
    return FIRST_FD + script.opened++;
}

/* Only the listener has events. A wait returns immediately, or lasts for its whole timeout. */
static int scripted_poll(struct pollfd *polls, nfds_t count, int timeout) {
    int has_arrivals = script.arrivals > 0 || script.accept_error;
    nfds_t i;
    script.polls++;
    if (script.polls > ENOUGH_POLLS) script.stop_at = script.now;
    if (count == 0 || script.poll_error) {
        if (count == 0) script.now += timeout;
        return fail_with(script.poll_error);
    }
    for (i = 0; i < count; i++) {
        polls[i].revents = polls[i].fd == LISTENER && has_arrivals ? POLLIN : 0;
        if (polls[i].revents) return 1;
    }
    script.now = timeout < 0 || script.now + timeout > script.stop_at ? script.stop_at
                                                                      : script.now + timeout;
    return 0;
}

static ssize_t scripted_send(int fd, const void *data, size_t len, int flags) {
    (void)fd;
    (void)flags;
    if (len > 12 && memcmp(data, "HTTP/1.1 503", 12) == 0) script.refusals++;
    return (ssize_t)len;
}

static ssize_t scripted_recv(int fd, void *data, size_t len, int flags) {
    (void)fd;
    (void)data;
    (void)len;
    (void)flags;
    return fail_with(EAGAIN);
}

/* The broker's loop reads only one descriptor: the pipe of the signal handler. */
static ssize_t scripted_read(int fd, void *data, size_t len) {
    if (fd != 0) return read(fd, data, len);
    return script.now >= script.stop_at ? 1 : fail_with(EAGAIN);
}

static int scripted_close(int fd) {
    if (fd < LISTENER) return close(fd);
    script.closed++;
    return 0;
}

static int scripted_gettime(struct timespec *t) {
    t->tv_sec = (time_t)(script.now / 1000);
    t->tv_nsec = (long)(script.now % 1000) * 1000000;
    return 0;
}

/* The limit of open files that getrlimit returns. */
static rlim_t files_limit;

static int scripted_getrlimit(struct rlimit *limit) {
    limit->rlim_cur = files_limit;
    return 0;
}

static int nothing(void) {
    return 0;
}

/* ==== the broker, with its system calls and loops replaced ==== */

static unsigned long long loop_turns;

/* Macros named like keywords are allowed after all includes. The macro for `for` adds an `else` at
   places where compilers warn about an ambiguous `else`. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdangling-else"
#ifdef __clang__
#pragma clang diagnostic ignored "-Wkeyword-macro"
#endif

#define accept(fd, address, len) scripted_accept(fd, address, len)
#define poll(polls, count, timeout) scripted_poll(polls, count, timeout)
#define send(fd, data, len, flags) scripted_send(fd, data, len, flags)
#define recv(fd, data, len, flags) scripted_recv(fd, data, len, flags)
#define read(fd, data, len) scripted_read(fd, data, len)
#define close(fd) scripted_close(fd)
#define clock_gettime(clock, t) scripted_gettime(t)
#define getrlimit(what, limit) scripted_getrlimit(limit)
#define setsockopt(fd, level, name, value, len) ((void)(value), nothing())
#define shutdown(fd, how) nothing()
#define fcntl(fd, ...) ((void)(fd), nothing())
#define main broker_main
/* clang-format off */
#define while(...) while (loop_turns++, (__VA_ARGS__))
#define for(...) for (__VA_ARGS__) if (loop_turns++, 0) (void)0; else
/* clang-format on */

/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "examples/mini_broker.c"

#undef for
#undef while
#undef main
#undef fcntl
#undef shutdown
#undef setsockopt
#undef getrlimit
#undef clock_gettime
#undef close
#undef read
#undef recv
#undef send
#undef poll
#undef accept
#pragma GCC diagnostic pop

/* ==== the peers ==== */

#define MIB ((size_t)1 << 20)

static struct broker broker;

/* A growing byte string that ends in a NUL. */
struct bytes {
    char *data;
    size_t len;
};

static void bytes_add(struct bytes *b, const void *data, size_t len) {
    b->data = (char *)realloc(b->data, b->len + len + 1);
    if (!b->data) abort();
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
}

static void bytes_drop(struct bytes *b, size_t len) {
    if (len == 0) return;
    b->len -= len;
    memmove(b->data, b->data + len, b->len + 1);
}

static void bytes_free(struct bytes *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}

/* One connection, and everything that the broker has sent on it. */
struct peer {
    struct connection *connection;
    struct bytes in, stomp; /* bytes that are not yet parsed */
    int is_websocket;
    stws_ws ws;
    stws_frame_state frames;
    stws_header headers[32];
    struct bytes answer; /* an HTTP answer */
    size_t taken;        /* bytes that the peer has read */
    int messages, receipts, errors, broken, close_code;
    char error[256], ack[64], body[64];
};

static void begin(const char *login) {
    memset(&broker, 0, sizeof broker);
    broker.now = 1;
    broker.settings.base = "/notifications";
    broker.settings.quiet = 1;
    broker.settings.login = login;
}

static void end(void) {
    broker_free(&broker);
    CHECK_INT(0, broker.memory);
    CHECK_INT(0, broker.connection_count);
    CHECK_INT(0, broker.destination_count);
}

static void note(char *to, size_t cap, const char *text, size_t len) {
    snprintf(to, cap, "%.*s", (int)(len < cap ? len : cap), text ? text : "");
}

static void peer_note_frame(struct peer *p, const stws_frame *f) {
    const char *message = stws_frame_header(f, "message"), *ack = stws_frame_header(f, "ack");
    if (f->command_id == STWS_COMMAND_RECEIPT) p->receipts++;
    if (f->command_id == STWS_COMMAND_ERROR) {
        p->errors++;
        note(p->error, sizeof p->error, message, strlen(message));
    }
    if (f->command_id == STWS_COMMAND_MESSAGE) {
        p->messages++;
        if (ack) note(p->ack, sizeof p->ack, ack, strlen(ack));
        note(p->body, sizeof p->body, f->body, f->body_len);
    }
}

static void peer_parse_message(struct peer *p) {
    stws_frame frame;
    size_t used;
    int result = stws_frame_parse(p->stomp.data, p->stomp.len, &p->frames, &frame, &used);
    if (result == STWS_DONE) peer_note_frame(p, &frame);
    if (result < 0 || used != p->stomp.len) p->broken = 1;
    bytes_drop(&p->stomp, p->stomp.len);
}

static void peer_parse_websocket(struct peer *p) {
    stws_ws_event e;
    size_t used, at = 0;
    int result = STWS_DONE;
    while (result == STWS_DONE && at < p->in.len) {
        result = stws_ws_parse(p->in.data + at, p->in.len - at, &p->ws, &e, &used);
        at += used;
        if (result < 0) p->broken = 1;
        if (result != STWS_DONE) break;
        if (e.opcode == STWS_WS_CLOSE) p->close_code = e.close_code;
        if (e.opcode >= STWS_WS_CLOSE) continue;
        bytes_add(&p->stomp, e.data, e.len);
        if (e.last) peer_parse_message(p);
    }
    bytes_drop(&p->in, at);
}

static void peer_parse(struct peer *p) {
    const char *head_end = p->is_websocket ? NULL : strstr(p->in.data, "\r\n\r\n");
    if (head_end && strncmp(p->in.data, "HTTP/1.1 101", 12) == 0) {
        bytes_drop(&p->in, (size_t)(head_end + 4 - p->in.data));
        p->is_websocket = 1;
    }
    if (p->is_websocket) {
        peer_parse_websocket(p);
    } else {
        bytes_add(&p->answer, p->in.data, p->in.len);
        bytes_drop(&p->in, p->in.len);
    }
}

/* The peer reads up to `most` bytes. */
static void peer_read_some(struct peer *p, size_t most) {
    size_t len;
    const char *data = connection_output(p->connection, &len);
    if (len > most) len = most;
    if (len == 0) return;
    p->taken += len;
    bytes_add(&p->in, data, len);
    connection_written(p->connection, len);
    peer_parse(p);
}

/* The peer reads everything. */
static void peer_read(struct peer *p) {
    size_t len;
    while (connection_output(p->connection, &len) && len) peer_read_some(p, len);
}

static size_t peer_backlog(const struct peer *p) {
    size_t len;
    connection_output(p->connection, &len);
    return len;
}

static void peer_open(struct peer *p) {
    memset(p, 0, sizeof *p);
    p->frames.headers = p->headers;
    p->frames.max_headers = 32;
    p->frames.version = STWS_STOMP_12;
    p->connection = connection_open(&broker);
    if (!p->connection) abort();
}

static void peer_feed(struct peer *p, const char *text) {
    connection_feed(p->connection, text, strlen(text));
}

/* Sends bytes as one masked WebSocket frame. The broker reads the frame in pieces. */
static void peer_send(struct peer *p, const void *payload, size_t len) {
    static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    char *frame = (char *)malloc(len + 14);
    size_t size, at, piece;
    if (!frame || stws_ws_build(frame, len + 14, STWS_WS_BINARY, 1, payload, len, key, &size) != 0)
        abort();
    for (at = 0; at < size; at += piece) {
        piece = size - at < READ_CHUNK ? size - at : READ_CHUNK;
        connection_feed(p->connection, frame + at, piece);
    }
    free(frame);
}

/* Sends a STOMP frame with formatted text. */
static void peer_say(struct peer *p, const char *format, ...) {
    char frame[4096];
    va_list arguments;
    int len;
    va_start(arguments, format);
    len = vsnprintf(frame, sizeof frame, format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= sizeof frame) abort();
    peer_send(p, frame, (size_t)len + 1);
}

/* Sends a body of `len` bytes to a destination. `more` holds further header lines. */
static void peer_publish(struct peer *p, const char *destination, const char *more, size_t len) {
    char *frame = (char *)malloc(len + 512);
    int head;
    if (!frame) abort();
    head = snprintf(frame, 512, "SEND\ndestination:%s\n%s\n", destination, more);
    memset(frame + head, 'x', len);
    frame[(size_t)head + len] = 0;
    peer_send(p, frame, (size_t)head + len + 1);
    free(frame);
}

static const char upgrade[] =
    "GET /notifications/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n";

static void peer_connect(struct peer *p) {
    peer_open(p);
    peer_feed(p, upgrade);
    peer_say(p, "CONNECT\naccept-version:1.2\nhost:/\n\n");
    peer_read(p);
}

static void peer_subscribe(struct peer *p, const char *destination, const char *ack) {
    peer_say(p, "SUBSCRIBE\nid:%s\ndestination:%s\nack:%s\n\n", destination, destination, ack);
}

static void peer_close(struct peer *p) {
    if (p->connection) connection_free(p->connection);
    bytes_free(&p->in);
    bytes_free(&p->stomp);
    bytes_free(&p->answer);
    memset(p, 0, sizeof *p);
}

/* Checks that the broker has ended this peer's session and has sent the reason. */
static void check_refused_with(struct peer *p, const char *why) {
    peer_read(p);
    CHECK_INT(1, p->errors);
    CHECK_HAS(why, p->error);
    CHECK_INT(0, p->broken);
    CHECK(p->connection->phase > PHASE_SESSION);
}

/* Checks that this peer's session works, and that the broker has refused it nothing. */
static void check_serves(struct peer *p) {
    int before;
    peer_read(p);
    before = p->receipts;
    peer_say(p, "SEND\ndestination:/topic/nobody\nreceipt:r\n\n");
    peer_read(p);
    CHECK_INT(before + 1, p->receipts);
    CHECK_INT(0, p->errors);
    CHECK_INT(0, p->broken);
}

/* Lets seconds pass. After each second the peer reads `bytes` bytes. */
static void pass_seconds(int seconds, struct peer *p, size_t bytes) {
    while (seconds-- > 0) {
        broker_tick(&broker, broker.now + 1000);
        if (p) peer_read_some(p, bytes);
    }
}

/* Simulates memory that other connections use, so that only `left` bytes of the budget remain. */
static size_t taken_by_others;

static void leave_memory(size_t left) {
    taken_by_others += MEMORY_LIMIT - left - broker.memory;
    broker.memory = MEMORY_LIMIT - left;
}

static void return_memory(void) {
    broker.memory -= taken_by_others;
    taken_by_others = 0;
}

/* ==== slow readers ==== */

/* One subscriber stops reading. The other gets each message immediately. */
static void test_a_reader_that_stops_does_not_delay_others(void) {
    struct peer stopped, reader, publisher;
    size_t i, count = OUTPUT_LIMIT / MIB + 2;
    begin(NULL);
    peer_connect(&stopped);
    peer_connect(&reader);
    peer_connect(&publisher);
    peer_subscribe(&stopped, "/topic/a", "auto");
    peer_subscribe(&reader, "/topic/a", "auto");
    for (i = 1; i <= count; i++) {
        peer_publish(&publisher, "/topic/a", "", MIB);
        peer_read(&reader);
        CHECK_INT(i, reader.messages);
        CHECK(peer_backlog(&stopped) <= OUTPUT_LIMIT + 2 * MIB);
    }
    check_serves(&publisher);
    check_serves(&reader);
    CHECK(broker.memory < 8 * MIB);
    check_refused_with(&stopped, "slow consumer");
    peer_close(&stopped);
    peer_close(&reader);
    peer_close(&publisher);
    end();
}

/* The slow reader has read a part of a frame. It gets the rest of this frame, and then the
   ERROR. */
static void test_the_error_follows_the_started_frame(void) {
    struct peer slow, publisher;
    int i;
    begin(NULL);
    peer_connect(&slow);
    peer_connect(&publisher);
    peer_subscribe(&slow, "/topic/a", "auto");
    for (i = 0; i < 10; i++) peer_publish(&publisher, "/topic/a", "", 20000);
    peer_read_some(&slow, 50000);
    for (i = 0; i < (int)(OUTPUT_LIMIT / MIB) + 2; i++)
        peer_publish(&publisher, "/topic/a", "", MIB);
    check_refused_with(&slow, "slow consumer");
    CHECK_INT(3, slow.messages);
    CHECK(slow.taken < 100000);
    peer_close(&slow);
    peer_close(&publisher);
    end();
}

/* The slow reader has read a part of a large message. The broker does not keep the rest, so it
   closes the connection without an ERROR. */
static void test_a_large_started_frame_is_not_kept(void) {
    struct peer slow, publisher;
    size_t i;
    begin(NULL);
    peer_connect(&slow);
    peer_connect(&publisher);
    peer_subscribe(&slow, "/topic/a", "auto");
    for (i = 0; i < OUTPUT_LIMIT / MIB + 2; i++) {
        peer_publish(&publisher, "/topic/a", "", MIB);
        peer_read_some(&slow, i == 0 ? 1000 : 0);
    }
    CHECK_INT(PHASE_GONE, slow.connection->phase);
    CHECK(broker.memory < 4 * MIB);
    check_serves(&publisher);
    peer_close(&slow);
    peer_close(&publisher);
    end();
}

/* Reading a byte now and then does not count as reading. */
static void test_a_session_that_reads_byte_by_byte_is_cut_off(void) {
    struct peer slow, publisher;
    int i;
    begin(NULL);
    peer_connect(&slow);
    peer_connect(&publisher);
    peer_subscribe(&slow, "/topic/a", "auto");
    for (i = 0; i < 20; i++) peer_publish(&publisher, "/topic/a", "", HIGH_WATER / 10);
    pass_seconds(20, &slow, 1);
    CHECK(slow.connection->phase > PHASE_SESSION);
    CHECK(slow.taken < 1000);
    check_serves(&publisher);
    peer_close(&slow);
    peer_close(&publisher);
    end();
}

/* A session that reads in large pieces is kept, even if it never catches up. */
static void test_a_session_that_keeps_reading_is_kept(void) {
    struct peer reader, publisher;
    int i;
    begin(NULL);
    peer_connect(&reader);
    peer_connect(&publisher);
    peer_subscribe(&reader, "/topic/a", "auto");
    for (i = 0; i < 60; i++) {
        peer_publish(&publisher, "/topic/a", "", 100000);
        pass_seconds(1, &reader, 50000);
    }
    check_serves(&reader);
    CHECK_INT(60, reader.messages);
    peer_close(&reader);
    peer_close(&publisher);
    end();
}

/* An HTTP answer must be read within DRAIN_MS, however slowly its bytes are taken. */
static void test_an_answer_that_is_read_byte_by_byte_ends(void) {
    struct peer slow;
    begin(NULL);
    peer_open(&slow);
    peer_feed(&slow, "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n");
    pass_seconds(11, &slow, 1);
    CHECK_INT(PHASE_GONE, slow.connection->phase);
    CHECK(slow.taken < 20);
    peer_close(&slow);
    end();
}

/* If a peer requests receipts and does not read them, the broker stops reading from it. */
static void test_answers_that_a_peer_does_not_read_are_bounded(void) {
    struct peer p;
    int i;
    begin(NULL);
    peer_connect(&p);
    for (i = 0; i < 1000; i++)
        peer_say(&p, "SEND\ndestination:/topic/nobody\nreceipt:%03900d\n\n", i);
    CHECK(peer_backlog(&p) <= HIGH_WATER + 8192);
    peer_read(&p); /* once it reads, it gets all receipts */
    CHECK_INT(1000, p.receipts);
    check_serves(&p);
    peer_close(&p);
    end();
}

/* Slow readers have used up the memory. Each time memory is needed, the broker closes the
   connection that uses the most. */
static void test_many_slow_readers_affect_only_themselves(void) {
    static struct peer slow[20];
    struct peer reader, publisher;
    int i, n, gone = 0;
    begin(NULL);
    peer_connect(&reader);
    peer_connect(&publisher);
    peer_subscribe(&reader, "/topic/a", "auto");
    for (n = 0; n < 20; n++) {
        peer_connect(&slow[n]);
        peer_subscribe(&slow[n], "/topic/a", "auto");
    }
    for (i = 1; i <= 60; i++) {
        if (i == 30) leave_memory(1000);
        peer_publish(&publisher, "/topic/a", "", 100000);
        peer_read(&reader);
        CHECK_INT(i, reader.messages);
        CHECK(broker.memory <= MEMORY_LIMIT);
    }
    check_serves(&reader);
    check_serves(&publisher);
    for (n = 0; n < 20; n++) {
        peer_read(&slow[n]);
        gone += slow[n].errors == 1 && strstr(slow[n].error, "memory") != NULL;
        CHECK(slow[n].errors || slow[n].messages == 60);
        CHECK_INT(0, slow[n].broken);
        peer_close(&slow[n]);
    }
    CHECK(gone > 0 && gone < 20);
    return_memory();
    peer_close(&reader);
    peer_close(&publisher);
    end();
}

/* The same with peers that never finish their frames. */
static void test_frames_that_never_end_affect_only_their_senders(void) {
    static struct peer hog[20];
    struct peer reader, publisher;
    int n, gone = 0;
    begin(NULL);
    peer_connect(&reader);
    peer_connect(&publisher);
    peer_subscribe(&reader, "/topic/a", "auto");
    for (n = 0; n < 20; n++) peer_connect(&hog[n]);
    leave_memory(10 * MIB);
    for (n = 0; n < 20; n++) {
        char *half = (char *)calloc(1, MIB);
        if (!half) abort();
        memcpy(half, "SEND\ndestination:/topic/a\ncontent-length:9999999\n\n", 50);
        peer_send(&hog[n], half, MIB);
        free(half);
    }
    peer_publish(&publisher, "/topic/a", "", 500000);
    peer_read(&reader);
    CHECK_INT(1, reader.messages);
    check_serves(&reader);
    check_serves(&publisher);
    for (n = 0; n < 20; n++) {
        peer_read(&hog[n]);
        gone += hog[n].errors == 1;
    }
    CHECK(gone >= 10 && gone < 20);
    return_memory();
    for (n = 0; n < 20; n++) peer_close(&hog[n]);
    peer_close(&reader);
    peer_close(&publisher);
    end();
}

/* A message that would have to be copied too often is refused to its publisher. */
static void test_a_large_message_to_many_is_refused(void) {
    static struct peer many[10];
    struct peer publisher;
    int n, copies = FANOUT_LIMIT / (10 * MIB);
    begin(NULL);
    peer_connect(&publisher);
    for (n = 0; n < 10; n++) {
        peer_connect(&many[n]);
        peer_subscribe(&many[n], "/topic/a", "auto");
    }
    peer_publish(&publisher, "/topic/a", "", (size_t)(copies + 1) * MIB);
    check_refused_with(&publisher, "too large for so many");
    for (n = 0; n < 10; n++) {
        check_serves(&many[n]);
        CHECK_INT(0, many[n].messages);
        peer_close(&many[n]);
    }
    peer_close(&publisher);
    end();
}

/* If one read causes much output, the broker handles it in portions, so that other peers get their
   turns in between. */
static void test_much_work_is_done_in_portions(void) {
    enum { READERS = 200, SIZE = 1000, SENDS = READ_CHUNK / (SIZE + 100) };
    static struct peer reader[READERS];
    struct peer publisher;
    struct bytes input = {0};
    char frame[SIZE + 64];
    unsigned long long before;
    int n, turns = 0;
    begin(NULL);
    peer_connect(&publisher);
    for (n = 0; n < READERS; n++) {
        peer_connect(&reader[n]);
        peer_subscribe(&reader[n], "/topic/a", "auto");
    }
    n = snprintf(frame, sizeof frame, "SEND\ndestination:/topic/a\n\n%0*d", SIZE, 0) + 1;
    while (input.len < SENDS * (size_t)n) bytes_add(&input, frame, (size_t)n);
    before = broker.produced;
    peer_send(&publisher, input.data, input.len);
    while (reader[0].messages < SENDS && turns < 100) {
        CHECK(broker.produced - before < TURN_LIMIT + READERS * 2 * SIZE);
        for (n = 0; n < READERS; n++) peer_read(&reader[n]);
        if (reader[0].messages < SENDS) CHECK_INT(broker.now, connection_due(publisher.connection));
        before = broker.produced;
        broker_tick(&broker, broker.now);
        turns++;
    }
    CHECK(turns > SENDS * READERS * SIZE / TURN_LIMIT);
    for (n = 0; n < READERS; n++) {
        CHECK_INT(SENDS, reader[n].messages);
        peer_close(&reader[n]);
    }
    check_serves(&publisher);
    CHECK_INT(LLONG_MAX, connection_due(publisher.connection));
    bytes_free(&input);
    peer_close(&publisher);
    end();
}

/* A session that is closed to free memory returns its messages to the queue, like any other
   session. */
static void test_a_session_closed_for_memory_gives_its_messages_back(void) {
    struct peer hog, other;
    char *half = (char *)calloc(1, 2 * MIB);
    if (!half) abort();
    begin(NULL);
    peer_connect(&hog);
    peer_connect(&other);
    peer_subscribe(&hog, "/queue/q", "client");
    peer_say(&other, "SEND\ndestination:/queue/q\n\nback");
    peer_read(&hog);
    memcpy(half, "SEND\ndestination:/topic/a\ncontent-length:9999999\n\n", 50);
    peer_send(&hog, half, 2 * MIB);
    free(half);
    leave_memory(MIB);
    peer_publish(&other, "/topic/a", "", 600000);
    check_refused_with(&hog, "memory");
    peer_subscribe(&other, "/queue/q", "auto");
    peer_read(&other);
    CHECK_STR("back", other.body);
    check_serves(&other);
    return_memory();
    peer_close(&hog);
    peer_close(&other);
    end();
}

/* A connection that asks for more memory than any other holds is refused; the others stay. */
static void test_the_largest_connection_is_refused_itself(void) {
    struct peer hog, other;
    begin(NULL);
    peer_connect(&hog);
    peer_connect(&other);
    peer_subscribe(&other, "/topic/b", "auto");
    peer_publish(&other, "/topic/b", "", 500000);
    leave_memory(2 * MIB);
    peer_publish(&hog, "/topic/a", "", 3 * MIB);
    check_refused_with(&hog, "no memory left");
    check_serves(&other);
    CHECK_INT(1, other.messages);
    return_memory();
    peer_close(&hog);
    peer_close(&other);
    end();
}

/* If no connection holds more than FAIR_SHARE, none is closed to make room for another. */
static void test_a_fair_share_is_not_taken_away(void) {
    struct peer asker, other;
    begin(NULL);
    peer_connect(&asker);
    peer_connect(&other);
    peer_subscribe(&other, "/topic/b", "auto");
    peer_publish(&other, "/topic/b", "", FAIR_SHARE / 4);
    leave_memory(1000);
    peer_publish(&asker, "/topic/a", "", FAIR_SHARE / 8);
    check_refused_with(&asker, "no memory left");
    check_serves(&other);
    CHECK_INT(1, other.messages);
    return_memory();
    peer_close(&asker);
    peer_close(&other);
    end();
}

/* The broker frees memory for the copies of a frame. The frame itself stays intact, although its
   sender is the largest connection. */
static void test_the_current_frame_is_not_freed(void) {
    struct peer publisher, hog, reader;
    begin(NULL);
    peer_connect(&publisher);
    peer_connect(&hog);
    peer_connect(&reader);
    peer_subscribe(&hog, "/topic/b", "auto");
    peer_subscribe(&reader, "/topic/a", "auto");
    peer_publish(&publisher, "/topic/b", "", MIB);
    leave_memory(4 * MIB);
    peer_publish(&publisher, "/topic/a", "receipt:r\n", 3 * MIB / 2);
    peer_read(&publisher);
    peer_read(&reader);
    CHECK_INT(1, publisher.receipts);
    CHECK_INT(1, reader.messages);
    check_refused_with(&hog, "memory");
    return_memory();
    peer_close(&publisher);
    peer_close(&hog);
    peer_close(&reader);
    end();
}

/* ==== queues ==== */

/* One of a queue's consumers stops reading. The other gets the messages. */
static void test_a_consumer_that_stops_leaves_the_queue_to_others(void) {
    struct peer stopped, reader, publisher;
    int i, before;
    begin(NULL);
    peer_connect(&stopped);
    peer_connect(&publisher);
    peer_subscribe(&stopped, "/queue/q", "auto");
    for (i = 0; i < 30; i++) peer_publish(&publisher, "/queue/q", "", 100000);
    CHECK(peer_backlog(&stopped) < HIGH_WATER + 200000);
    peer_connect(&reader);
    peer_subscribe(&reader, "/queue/q", "auto");
    for (i = 0; i < 30; i++) peer_read(&reader);
    CHECK(reader.messages >= 18);
    before = reader.messages;
    peer_read(&stopped);
    CHECK_INT(30, before + stopped.messages);
    for (i = 0; i < 10; i++) peer_publish(&publisher, "/queue/q", "", 10);
    peer_read(&reader);
    peer_read(&stopped);
    CHECK_INT(5, reader.messages - before);
    check_serves(&publisher);
    peer_close(&stopped);
    peer_close(&reader);
    peer_close(&publisher);
    end();
}

/* A consumer that reads again gets the messages that the queue has kept for it. */
static void test_a_consumer_that_reads_again_gets_the_rest(void) {
    struct peer slow, publisher;
    int i;
    begin(NULL);
    peer_connect(&slow);
    peer_connect(&publisher);
    peer_subscribe(&slow, "/queue/q", "auto");
    peer_subscribe(&slow, "/queue/r", "auto");
    for (i = 0; i < 40; i++) peer_publish(&publisher, i % 2 ? "/queue/q" : "/queue/r", "", 100000);
    CHECK(peer_backlog(&slow) < HIGH_WATER + 200000);
    peer_read(&slow);
    CHECK_INT(40, slow.messages);
    check_serves(&slow);
    peer_close(&slow);
    peer_close(&publisher);
    end();
}

/* If a queue has many consumers and all are full, a SEND does not check each of them. */
static void test_full_consumers_do_not_slow_down_a_publisher(void) {
    enum { CONSUMERS = 200 };
    static struct peer consumer[CONSUMERS];
    struct peer publisher;
    unsigned long long before;
    int n;
    begin(NULL);
    peer_connect(&publisher);
    for (n = 0; n < CONSUMERS; n++) {
        peer_connect(&consumer[n]);
        peer_subscribe(&consumer[n], "/queue/q", "auto");
        peer_subscribe(&consumer[n], "/topic/a", "auto");
    }
    for (n = 0; n < 11; n++) peer_publish(&publisher, "/topic/a", "", HIGH_WATER / 10);
    peer_publish(&publisher, "/queue/q", "", 1);
    before = loop_turns;
    for (n = 0; n < 100; n++) peer_publish(&publisher, "/queue/q", "", 1);
    CHECK((loop_turns - before) / 100 < CONSUMERS);
    for (n = 0; n < CONSUMERS; n++) peer_close(&consumer[n]);
    peer_close(&publisher);
    end();
}

/* The number of queues without a subscriber is limited. Only the peer that asks for one more queue
   is refused. */
static void test_too_many_queues_are_refused_to_their_sender(void) {
    struct peer greedy, other, reader;
    unsigned long long before = 0;
    int i;
    begin(NULL);
    peer_connect(&greedy);
    peer_connect(&other);
    peer_connect(&reader);
    for (i = 0; i < MAX_QUEUES; i++) {
        peer_say(&greedy, "SEND\ndestination:/queue/%d\n\n", i);
        if (i == MAX_QUEUES - 100) before = loop_turns;
    }
    CHECK((loop_turns - before) / 100 < 60);
    CHECK_INT(MAX_QUEUES, broker.destination_count);
    check_serves(&greedy);
    peer_say(&greedy, "SEND\ndestination:/queue/more\n\n");
    check_refused_with(&greedy, "too many queues");
    peer_subscribe(&reader, "/topic/a", "auto");
    peer_subscribe(&reader, "/queue/new", "auto");
    peer_subscribe(&reader, "/queue/17", "auto");
    peer_say(&other, "SEND\ndestination:/topic/a\n\none");
    peer_say(&other, "SEND\ndestination:/queue/new\n\ntwo");
    peer_say(&other, "SEND\ndestination:/queue/18\n\nkept");
    peer_read(&reader);
    CHECK_INT(3, reader.messages);
    check_serves(&other);
    check_serves(&reader);
    /* The empty queue is deleted, so there is room for one more. */
    peer_say(&reader, "UNSUBSCRIBE\nid:/queue/17\n\n");
    peer_say(&other, "SEND\ndestination:/queue/more\n\nthree");
    check_serves(&other);
    peer_close(&greedy);
    peer_close(&other);
    peer_close(&reader);
    end();
}

/* An unused queue is deleted after QUEUE_MS. Each SEND to the queue restarts this time. */
static void test_unused_queues_are_deleted(void) {
    struct peer p, consumer;
    begin(NULL);
    peer_connect(&p);
    peer_connect(&consumer);
    peer_say(&p, "SEND\ndestination:/queue/served\n\n");
    peer_subscribe(&consumer, "/queue/served", "client");
    peer_say(&p, "SEND\ndestination:/queue/a\n\n");
    peer_say(&p, "SEND\ndestination:/queue/b\n\n");
    broker_tick(&broker, broker.now + QUEUE_MS / 2);
    peer_say(&p, "SEND\ndestination:/queue/a\n\n");
    CHECK_INT(3, broker.destination_count);
    broker_tick(&broker, broker.now + QUEUE_MS / 2);
    CHECK_INT(2, broker.destination_count);
    broker_tick(&broker, broker.now + QUEUE_MS / 2);
    CHECK_INT(1, broker.destination_count);
    peer_close(&consumer); /* not acknowledged, so the message returns to the queue */
    broker_tick(&broker, broker.now + QUEUE_MS - 1);
    CHECK_INT(1, broker.destination_count);
    broker_tick(&broker, broker.now + 1);
    CHECK_INT(0, broker.destination_count);
    check_serves(&p);
    peer_close(&p);
    end();
}

/* A queue without messages and subscribers is freed immediately. */
static void test_queues_without_anything_are_freed(void) {
    struct peer p;
    int i;
    begin(NULL);
    peer_connect(&p);
    for (i = 0; i < 100; i++) {
        peer_say(&p, "SEND\ndestination:/queue/%d\n\n", i);
        peer_say(&p, "SUBSCRIBE\nid:s\ndestination:/queue/%d\nack:client\n\n", i);
        peer_read(&p);
        peer_say(&p, "ACK\nid:%s\n\n", p.ack);
        peer_say(&p, "UNSUBSCRIBE\nid:s\n\n");
    }
    CHECK_INT(100, p.messages);
    CHECK_INT(0, broker.destination_count);
    peer_close(&p);
    end();
}

static void test_one_queue_is_bounded_in_messages(void) {
    struct peer p;
    int i;
    begin(NULL);
    peer_connect(&p);
    for (i = 0; i < MAX_HELD; i++) peer_say(&p, "SEND\ndestination:/queue/q\n\n");
    check_serves(&p);
    peer_say(&p, "SEND\ndestination:/queue/q\n\n");
    check_refused_with(&p, "the queue is full");
    peer_close(&p);
    end();
}

static void test_one_queue_is_bounded_in_bytes(void) {
    struct peer p;
    size_t i;
    begin(NULL);
    peer_connect(&p);
    for (i = 1; i < QUEUE_LIMIT / MIB; i++) peer_publish(&p, "/queue/q", "", MIB);
    check_serves(&p);
    peer_publish(&p, "/queue/q", "", MIB);
    check_refused_with(&p, "the queue is full");
    peer_close(&p);
    end();
}

/* A message that is delivered but not acknowledged still counts as in the queue. */
static void test_deliveries_without_an_ack_fill_the_queue(void) {
    struct peer p, consumer;
    size_t i;
    begin(NULL);
    peer_connect(&p);
    peer_connect(&consumer);
    peer_subscribe(&consumer, "/queue/q", "client");
    for (i = 1; i < QUEUE_LIMIT / MIB; i++) {
        peer_publish(&p, "/queue/q", "", MIB);
        peer_read(&consumer);
    }
    CHECK_INT(QUEUE_LIMIT / MIB - 1, consumer.messages);
    check_serves(&p);
    peer_say(&consumer, "ACK\nid:%s\n\n", consumer.ack);
    for (i = 1; i < QUEUE_LIMIT / MIB; i++) {
        peer_publish(&p, "/queue/q", "", MIB);
        peer_read(&consumer);
    }
    check_serves(&p);
    peer_publish(&p, "/queue/q", "", MIB);
    check_refused_with(&p, "the queue is full");
    check_serves(&consumer);
    peer_close(&p);
    peer_close(&consumer);
    end();
}

/* The memory of all queues together is limited, so that topics and empty queues still work. */
static void test_full_queues_leave_topics_alone(void) {
    struct peer p, refused, consumer;
    size_t i;
    char name[32];
    begin(NULL);
    peer_connect(&p);
    peer_connect(&refused);
    peer_connect(&consumer);
    peer_subscribe(&consumer, "/queue/empty", "auto");
    peer_subscribe(&consumer, "/topic/a", "auto");
    for (i = 0; i < QUEUES_LIMIT / (8 * MIB) - 1; i++) {
        snprintf(name, sizeof name, "/queue/%zu", i / 2);
        peer_publish(&p, name, "", 8 * MIB);
    }
    check_serves(&p);
    peer_publish(&refused, "/queue/new", "", 8 * MIB);
    check_refused_with(&refused, "all queues together");
    peer_publish(&p, "/queue/empty", "", 8 * MIB);
    peer_publish(&p, "/topic/a", "", 8 * MIB);
    peer_read(&consumer);
    CHECK_INT(2, consumer.messages);
    check_serves(&p);
    peer_close(&p);
    peer_close(&refused);
    peer_close(&consumer);
    end();
}

/* ==== deliveries ==== */

/* One message waits for its ACK; many later messages are acknowledged. The acknowledged messages
   cost no memory, no work in UNSUBSCRIBE, and no place among the limited deliveries without an
   ACK. */
static void test_acknowledged_deliveries_cost_nothing(void) {
    struct peer p;
    char first[64];
    unsigned long long before;
    size_t memory = 0;
    int i;
    begin(NULL);
    peer_connect(&p);
    peer_subscribe(&p, "/queue/q", "client-individual");
    peer_subscribe(&p, "/queue/other", "client-individual");
    peer_say(&p, "SEND\ndestination:/queue/q\n\nfirst");
    peer_read(&p);
    memcpy(first, p.ack, sizeof first);
    for (i = 0; i < MAX_UNACKED + 10; i++) {
        peer_say(&p, "SEND\ndestination:/queue/other\n\n");
        peer_read(&p);
        peer_say(&p, "ACK\nid:%s\n\n", p.ack);
        if (i == 10) memory = broker.memory;
    }
    CHECK_INT(MAX_UNACKED + 11, p.messages);
    CHECK_INT(memory, broker.memory);
    before = loop_turns;
    peer_say(&p, "UNSUBSCRIBE\nid:/queue/other\n\n");
    CHECK(loop_turns - before < 200);
    peer_say(&p, "ACK\nid:%s\n\n", first);
    peer_say(&p, "UNSUBSCRIBE\nid:/queue/q\n\n");
    CHECK_INT(0, broker.destination_count);
    check_serves(&p);
    peer_close(&p);
    end();
}

/* The cost of an ACK does not grow with the deliveries of other subscriptions. */
static void test_an_ack_does_not_search_other_subscriptions(void) {
    enum { OTHERS = 100, WAITING = 5000 };
    struct peer p;
    char acks[OTHERS][64];
    unsigned long long before;
    int i;
    begin(NULL);
    peer_connect(&p);
    peer_subscribe(&p, "/topic/busy", "client");
    for (i = 0; i < OTHERS; i++)
        peer_say(&p, "SUBSCRIBE\nid:%d\ndestination:/topic/%d\nack:client\n\n", i, i);
    for (i = 0; i < WAITING; i++) {
        peer_say(&p, "SEND\ndestination:/topic/busy\n\n");
        peer_read(&p);
    }
    for (i = 0; i < OTHERS; i++) {
        peer_say(&p, "SEND\ndestination:/topic/%d\n\n", i);
        peer_read(&p);
        memcpy(acks[i], p.ack, sizeof acks[i]);
    }
    before = loop_turns;
    for (i = 0; i < OTHERS; i++) peer_say(&p, "ACK\nid:%s\n\n", acks[i]);
    CHECK((loop_turns - before) / OTHERS < 100);
    check_serves(&p);
    peer_close(&p);
    end();
}

/* UNSUBSCRIBE does not search all subscriptions of the destination. */
static void test_unsubscribe_costs_the_same_among_many_subscribers(void) {
    enum { PEERS = 40, EACH = 100 };
    static struct peer peers[PEERS];
    unsigned long long before;
    int n, i;
    begin(NULL);
    for (n = 0; n < PEERS; n++) {
        peer_connect(&peers[n]);
        for (i = 0; i < EACH; i++)
            peer_say(&peers[n], "SUBSCRIBE\nid:%d\ndestination:/topic/a\n\n", i);
    }
    before = loop_turns;
    peer_say(&peers[0], "UNSUBSCRIBE\nid:50\n\n");
    peer_say(&peers[PEERS - 1], "UNSUBSCRIBE\nid:50\n\n");
    CHECK(loop_turns - before < 1000);
    for (n = 0; n < PEERS; n++) peer_close(&peers[n]);
    end();
}

/* Messages that a lost session has not acknowledged are delivered again, in the order of their
   SENDs. */
static void test_returned_messages_keep_their_order(void) {
    struct peer lost, publisher, next;
    char ack[64] = "";
    int i;
    begin(NULL);
    peer_connect(&publisher);
    peer_connect(&lost);
    peer_say(&lost, "SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client-individual\n\n");
    peer_say(&lost, "SUBSCRIBE\nid:2\ndestination:/queue/q\nack:client\n\n");
    for (i = 0; i < 9; i++) {
        peer_say(&publisher, "SEND\ndestination:/queue/q\n\n%d", i);
        peer_read(&lost);
        if (i == 4) memcpy(ack, lost.ack, sizeof ack);
    }
    /* Message 4, and no other one if its mode is individual. */
    peer_say(&lost, "ACK\nid:%s\n\n", ack);
    peer_close(&lost);
    peer_connect(&next);
    peer_subscribe(&next, "/queue/q", "client-individual");
    for (i = 0; peer_backlog(&next) > 0; i++) {
        int before = next.messages;
        while (next.messages == before && peer_backlog(&next) > 0) peer_read_some(&next, 1);
        if (i == 4) i++;
        CHECK_INT(i, atoi(next.body));
    }
    CHECK_INT(8, next.messages);
    peer_close(&publisher);
    peer_close(&next);
    end();
}

/* In client mode, an ACK acknowledges all earlier deliveries of its subscription, and no others. */
static void test_a_cumulative_ack(void) {
    struct peer p, next;
    char ack[64] = "";
    int i;
    begin(NULL);
    peer_connect(&p);
    peer_subscribe(&p, "/queue/a", "client");
    peer_subscribe(&p, "/queue/b", "client");
    for (i = 0; i < 10; i++) {
        peer_say(&p, "SEND\ndestination:/queue/%c\n\n%d", i % 2 ? 'b' : 'a', i);
        peer_read(&p);
        if (i == 6) memcpy(ack, p.ack, sizeof ack);
    }
    peer_say(&p, "ACK\nid:%s\n\n", ack); /* acknowledges 0, 2, 4, 6 */
    peer_say(&p, "ACK\nid:%s\n\n", ack); /* a second ACK has no effect */
    peer_close(&p);
    peer_connect(&next);
    peer_subscribe(&next, "/queue/a", "auto");
    peer_read(&next);
    CHECK_INT(1, next.messages);
    CHECK_STR("8", next.body);
    peer_subscribe(&next, "/queue/b", "auto");
    peer_read(&next);
    CHECK_INT(6, next.messages);
    peer_close(&next);
    end();
}

/* A session with too many deliveries without an ACK gets no more messages from a queue until it
   acknowledges. A topic cannot keep messages, so it ends the session. */
static void test_deliveries_without_an_ack_are_bounded(void) {
    struct peer p, publisher;
    int i;
    begin(NULL);
    peer_connect(&p);
    peer_connect(&publisher);
    peer_subscribe(&p, "/queue/q", "client");
    for (i = 0; i < MAX_UNACKED + 100; i++) {
        peer_say(&publisher, "SEND\ndestination:/queue/q\n\n%d", i);
        peer_read(&p);
    }
    CHECK_INT(MAX_UNACKED, p.messages);
    peer_say(&p, "ACK\nid:%s\n\n", p.ack);
    peer_read(&p);
    CHECK_INT(MAX_UNACKED + 100, p.messages);
    peer_say(&p, "ACK\nid:%s\n\n", p.ack);
    peer_subscribe(&p, "/topic/a", "client");
    for (i = 0; i <= MAX_UNACKED; i++) {
        peer_say(&publisher, "SEND\ndestination:/topic/a\n\n");
        peer_read(&p);
    }
    check_refused_with(&p, "without ACK");
    check_serves(&publisher);
    peer_close(&p);
    peer_close(&publisher);
    end();
}

/* Like an ACK, the end of a subscription makes room for the other subscriptions of the session. */
static void test_unsubscribe_lets_other_subscriptions_go_on(void) {
    struct peer p;
    int i;
    begin(NULL);
    peer_connect(&p);
    peer_subscribe(&p, "/topic/a", "client");
    peer_subscribe(&p, "/queue/q", "client");
    for (i = 0; i < MAX_UNACKED; i++) {
        peer_say(&p, "SEND\ndestination:/topic/a\n\n");
        peer_read(&p);
    }
    peer_say(&p, "SEND\ndestination:/queue/q\n\nwaits");
    check_serves(&p);
    CHECK_INT(MAX_UNACKED, p.messages);
    CHECK_INT(0, peer_backlog(&p));
    peer_say(&p, "UNSUBSCRIBE\nid:/topic/a\n\n");
    CHECK(peer_backlog(&p) > 0);
    check_serves(&p);
    CHECK_STR("waits", p.body);
    peer_close(&p);
    end();
}

/* An ACK with an id that the broker never gave is an error. An ACK for a settled delivery has no
   effect, even if a new delivery has its place. */
static void test_ids_of_deliveries(void) {
    static const char *const wrong[] = {
        "", "0", "1", "1-", "1-1x", "1-1-x", "2-1-1", "1-9-1", "1-0-1", "1-99999999999999999999-1"};
    struct peer p;
    char first[64];
    size_t i;
    begin(NULL);
    peer_connect(&p);
    peer_subscribe(&p, "/queue/q", "client-individual");
    peer_say(&p, "SEND\ndestination:/queue/q\n\none");
    peer_read(&p);
    memcpy(first, p.ack, sizeof first);
    peer_say(&p, "ACK\nid:%s\n\n", first);
    peer_say(&p, "SEND\ndestination:/queue/q\n\ntwo");
    peer_read(&p);
    peer_say(&p, "ACK\nid:%s\n\n", first);
    peer_say(&p, "ACK\nid:1-1\n\n");
    peer_say(&p, "ACK\nid:1-1-99999999999999999999\n\n");
    peer_say(&p, "ACK\nid:1-2-7\n\n");
    check_serves(&p);
    peer_close(&p);
    CHECK_INT(1, broker.destination_count); /* "two" was not acknowledged */
    broker_free(&broker);
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        begin(NULL);
        peer_connect(&p);
        peer_say(&p, "ACK\nid:%s\n\n", wrong[i]);
        check_refused_with(&p, "no such message");
        peer_close(&p);
        end();
    }
}

/* ==== credentials ==== */

/* Sends a POST to /topic/a with this Authorization header (NULL: without one), and returns the
   answer. */
static const char *post(struct peer *p, const char *authorization) {
    char request[1024];
    snprintf(request, sizeof request,
             "POST /publish?destination=/topic/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
             "%s%s%s\r\nhello",
             authorization ? "Authorization: " : "", authorization ? authorization : "",
             authorization ? "\r\n" : "");
    peer_open(p);
    peer_feed(p, request);
    peer_read(p);
    return p->answer.data ? p->answer.data : "";
}

static void test_post_asks_for_the_login(void) {
    static const char *const wrong[] = {NULL,
                                        "",
                                        "Basic",
                                        "Basic ",
                                        "Basic YWxpY2U6c2VjcmV",      /* too short */
                                        "Basic YWxpY2U6c2VjcmV0eA==", /* alice:secretx */
                                        "Basic YWxpY2U6c2VjcmVU",     /* alice:secreT */
                                        "Basic Om51bGw=",
                                        "Bearer YWxpY2U6c2VjcmV0",
                                        "alice:secret"};
    struct peer reader, p;
    size_t i;
    begin("alice:secret");
    peer_open(&reader);
    peer_feed(&reader, upgrade);
    peer_say(&reader, "CONNECT\naccept-version:1.2\nlogin:alice\npasscode:secret\n\n");
    peer_read(&reader);
    peer_subscribe(&reader, "/topic/a", "auto");
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_HAS("HTTP/1.1 401 Unauthorized\r\n", post(&p, wrong[i]));
        CHECK_HAS("\r\nWWW-Authenticate: Basic realm=\"mini_broker\"\r\n", p.answer.data);
        peer_close(&p);
    }
    peer_read(&reader);
    CHECK_INT(0, reader.messages);
    CHECK_HAS("HTTP/1.1 204 ", post(&p, "Basic YWxpY2U6c2VjcmV0"));
    peer_close(&p);
    CHECK_HAS("HTTP/1.1 204 ", post(&p, "bASIC   YWxpY2U6c2VjcmV0"));
    peer_close(&p);
    peer_read(&reader);
    CHECK_INT(2, reader.messages);
    peer_close(&reader);
    end();
}

/* Base64 text can end in three ways. */
static void test_post_knows_the_encodings_of_a_login(void) {
    static const char *const logins[][2] = {{"a:", "Basic YTo="},
                                            {"a:b", "Basic YTpi"},
                                            {"a:bc", "Basic YTpiYw=="},
                                            {":", "Basic Og=="},
                                            {"a:\xc3\xbf\xef\xbf\xbd", "Basic YTrDv++/vQ=="}};
    struct peer p;
    size_t i;
    for (i = 0; i < sizeof logins / sizeof *logins; i++) {
        begin(logins[i][0]);
        CHECK_HAS("HTTP/1.1 204 ", post(&p, logins[i][1]));
        peer_close(&p);
        end();
    }
    begin(NULL);
    CHECK_HAS("HTTP/1.1 204 ", post(&p, NULL));
    peer_close(&p);
    end();
}

/* Returns how many loop iterations it takes to refuse these credentials in a CONNECT. */
static unsigned long long turns_of_login(const char *login, const char *passcode) {
    unsigned long long before;
    struct peer p;
    peer_open(&p);
    peer_feed(&p, upgrade);
    before = loop_turns;
    peer_say(&p, "CONNECT\naccept-version:1.2\nlogin:%s\npasscode:%s\n\n", login, passcode);
    before = loop_turns - before;
    check_refused_with(&p, "access refused");
    peer_close(&p);
    return before;
}

/* Every byte of a passcode is compared, right or wrong, so the time reveals nothing about the right
   passcode. */
static void test_a_wrong_passcode_takes_the_same_work_whatever_it_is(void) {
    unsigned long long turns;
    begin("alice:secret");
    turns = turns_of_login("alice", "xxxxxx");
    CHECK_INT(turns, turns_of_login("alice", "secrex"));
    CHECK_INT(turns, turns_of_login("alice", "xecret"));
    CHECK_INT(turns, turns_of_login("xxxxx", "secret"));
    CHECK_INT(turns + 10, turns_of_login("alice", "secretxxxxxxxxxx"));
    CHECK_INT(turns - 6, turns_of_login("alice", ""));
    end();
}

static void test_login_is_compared_as_a_whole(void) {
    static const char *const wrong[][2] = {
        {"alice", "secretsecret"}, {"alicealice", "secret"}, {"alice", "secret:"}, {"", ""},
        {"alice:secret", ""},      {"alic", "e:secret"},     {"secret", "alice"}};
    struct peer p;
    size_t i;
    begin("alice:secret");
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) turns_of_login(wrong[i][0], wrong[i][1]);
    peer_open(&p);
    peer_feed(&p, upgrade);
    peer_say(&p, "CONNECT\naccept-version:1.2\npasscode:secret\n\n");
    check_refused_with(&p, "access refused");
    peer_close(&p);
    end();
}

/* The file server does not require the login. */
static void test_get_needs_no_login(void) {
    struct peer p;
    begin("alice:secret");
    peer_open(&p);
    peer_feed(&p, "GET /notifications HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_read(&p);
    CHECK_HAS("Welcome to SockJS", p.answer.data);
    peer_close(&p);
    end();
}

/* ==== deadlines ==== */

/* A peer that sends one byte per second has LOGIN_MS for the head of its request, like any other
   peer. */
static void test_a_request_that_never_ends(void) {
    struct peer p;
    int i;
    begin(NULL);
    peer_open(&p);
    for (i = 0; i < 20 && p.connection->phase < PHASE_SESSION; i++) {
        connection_feed(p.connection, upgrade + i, 1);
        pass_seconds(1, NULL, 0);
    }
    CHECK_INT(LOGIN_MS / 1000, i);
    peer_read(&p);
    CHECK_HAS("HTTP/1.1 408 ", p.answer.data);
    peer_close(&p);
    end();
}

/* The time from accept to CONNECT is limited to LOGIN_MS, too. */
static void test_a_websocket_without_connect(void) {
    struct peer p;
    int i;
    begin(NULL);
    peer_open(&p);
    pass_seconds(5, NULL, 0);
    peer_feed(&p, upgrade);
    for (i = 0; i < 20 && p.connection->phase == PHASE_SESSION; i++) {
        peer_send(&p, &"CONNECT\naccept-version:1.2"[i], 1);
        pass_seconds(1, NULL, 0);
    }
    CHECK_INT(LOGIN_MS / 1000 - 5, i);
    check_refused_with(&p, "CONNECT did not come");
    pass_seconds(3, NULL, 0);
    CHECK_INT(PHASE_GONE, p.connection->phase);
    peer_close(&p);
    end();
}

static void test_a_post_whose_body_never_ends(void) {
    struct peer p;
    begin(NULL);
    peer_open(&p);
    peer_feed(&p, "POST /publish?destination=/topic/a HTTP/1.1\r\nHost: a\r\n"
                  "Content-Length: 5\r\n\r\n");
    peer_feed(&p, "hell");
    pass_seconds(LOGIN_MS / 1000, NULL, 0);
    peer_read(&p);
    CHECK_HAS("HTTP/1.1 408 ", p.answer.data);
    peer_close(&p);
    end();
}

/* ==== sizes ==== */

static void test_a_post_that_is_too_large(void) {
    char request[256];
    struct peer p;
    int i;
    for (i = 0; i < 2; i++) {
        begin(NULL);
        peer_open(&p);
        snprintf(request, sizeof request,
                 "POST /publish?destination=/topic/a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n"
                 "\r\n",
                 MAX_BODY + i);
        peer_feed(&p, request);
        peer_read(&p);
        if (i == 0) CHECK_INT(0, p.answer.len);
        if (i == 1) CHECK_HAS("HTTP/1.1 413 ", p.answer.data);
        peer_close(&p);
        end();
    }
}

/* If a queue refuses a POST, the answer states the reason. */
static void test_a_post_that_a_queue_refuses(void) {
    struct peer p, publisher;
    size_t i;
    begin(NULL);
    peer_connect(&publisher);
    for (i = 1; i < QUEUE_LIMIT / MIB; i++) peer_publish(&publisher, "/queue/q", "", MIB);
    peer_publish(&publisher, "/queue/q", "", MIB - 4096);
    peer_open(&p);
    peer_feed(&p, "POST /publish?destination=/queue/q HTTP/1.1\r\nHost: a\r\n"
                  "Content-Length: 5000\r\n\r\n");
    for (i = 0; i < 500; i++) peer_feed(&p, "xxxxxxxxxx");
    peer_read(&p);
    CHECK_HAS("HTTP/1.1 503 ", p.answer.data);
    CHECK_HAS("the queue is full", p.answer.data);
    check_serves(&publisher);
    peer_close(&p);
    peer_close(&publisher);
    end();
}

static void test_subscriptions_are_bounded(void) {
    struct peer p, other;
    int i;
    begin(NULL);
    peer_connect(&p);
    peer_connect(&other);
    for (i = 0; i < MAX_SUBSCRIPTIONS; i++)
        peer_say(&p, "SUBSCRIBE\nid:%d\ndestination:/topic/%d\n\n", i, i);
    check_serves(&p);
    peer_say(&p, "SUBSCRIBE\nid:more\ndestination:/topic/more\n\n");
    check_refused_with(&p, "too many subscriptions");
    peer_subscribe(&other, "/topic/a", "auto");
    check_serves(&other);
    peer_close(&p);
    peer_close(&other);
    end();
}

static void test_names_are_bounded(void) {
    static const char *const frames[] = {
        "SUBSCRIBE\nid:%01100d\ndestination:/topic/a\n\n", "BEGIN\ntransaction:%01100d\n\n",
        "SUBSCRIBE\nid:1\ndestination:/topic/%01100d\n\n", "SEND\ndestination:/queue/%01100d\n\n"};
    struct peer p;
    size_t i;
    for (i = 0; i < sizeof frames / sizeof *frames; i++) {
        begin(NULL);
        peer_connect(&p);
        peer_say(&p, frames[i], 1);
        check_refused_with(&p, "too long");
        peer_close(&p);
        end();
    }
}

static void test_transactions_are_bounded(void) {
    struct peer p, other;
    int i;
    begin(NULL);
    peer_connect(&p);
    peer_connect(&other);
    for (i = 0; i < MAX_TRANSACTIONS; i++) peer_say(&p, "BEGIN\ntransaction:%d\n\n", i);
    check_serves(&p);
    peer_say(&p, "BEGIN\ntransaction:more\n\n");
    check_refused_with(&p, "too many transactions");
    check_serves(&other);
    peer_close(&p);
    peer_close(&other);
    end();
}

static void test_a_transaction_is_bounded_in_frames(void) {
    struct peer p;
    int i;
    begin(NULL);
    peer_connect(&p);
    peer_say(&p, "BEGIN\ntransaction:1\n\n");
    for (i = 0; i < MAX_OPERATIONS; i++)
        peer_say(&p, "SEND\ndestination:/topic/a\ntransaction:1\n\n");
    check_serves(&p);
    peer_say(&p, "SEND\ndestination:/topic/a\ntransaction:1\n\n");
    check_refused_with(&p, "the transactions");
    peer_close(&p);
    end();
}

/* All transactions of a session together are limited in bytes. Finished transactions do not
   count. */
static void test_transactions_are_bounded_in_bytes(void) {
    struct peer p;
    size_t i;
    int round;
    begin(NULL);
    peer_connect(&p);
    for (round = 0; round < 3; round++) {
        peer_say(&p, "BEGIN\ntransaction:1\n\n");
        peer_say(&p, "BEGIN\ntransaction:2\n\n");
        for (i = 1; i < KEPT_LIMIT / MIB; i++)
            peer_publish(&p, "/topic/a", i % 2 ? "transaction:1\n" : "transaction:2\n", MIB);
        check_serves(&p);
        if (round == 2) break;
        peer_say(&p, "COMMIT\ntransaction:1\n\n");
        peer_say(&p, "ABORT\ntransaction:2\n\n");
    }
    peer_publish(&p, "/topic/a", "transaction:1\n", MIB);
    check_refused_with(&p, "the transactions");
    peer_close(&p);
    end();
}

/* The end of a session costs work in proportion to its subscriptions and deliveries. */
static void test_the_end_of_a_session_does_not_search(void) {
    struct peer p, publisher;
    unsigned long long before;
    int i;
    begin(NULL);
    peer_connect(&p);
    peer_connect(&publisher);
    for (i = 0; i < MAX_SUBSCRIPTIONS; i++)
        peer_say(&p, "SUBSCRIBE\nid:%d\ndestination:/queue/%d\nack:client\n\n", i, i);
    for (i = 0; i < MAX_UNACKED; i++) {
        peer_say(&publisher, "SEND\ndestination:/queue/%d\n\n", i % MAX_SUBSCRIPTIONS);
        peer_read(&p);
    }
    before = loop_turns;
    connection_lost(p.connection);
    CHECK(loop_turns - before < 10ULL * (MAX_UNACKED + MAX_SUBSCRIPTIONS));
    peer_close(&p);
    peer_close(&publisher);
    end();
}

/* ==== sockets ==== */

/* Serves for this many seconds of scripted time, with scripted descriptors. */
static void serve_script(int seconds) {
    static struct pollfd polls[MAX_CONNECTIONS + MAX_REFUSED + 2];
    script.stop_at = script.now + seconds * 1000LL;
    serve(&broker, polls, LISTENER);
}

/* At the limit, new connections get a refusal. Only a few are refused at a time; the rest wait in
   the kernel. */
static void test_too_many_connections_are_refused(void) {
    begin(NULL);
    memset(&script, 0, sizeof script);
    broker.settings.connections = 10;
    script.arrivals = 15;
    serve_script(1);
    CHECK_INT(15, script.opened);
    CHECK_INT(5, script.refusals);
    broker_free(&broker);
    begin(NULL);
    memset(&script, 0, sizeof script);
    broker.settings.connections = 10;
    script.arrivals = 10 + MAX_REFUSED + 5;
    serve_script(1);
    CHECK_INT(10 + MAX_REFUSED, script.opened);
    CHECK_INT(MAX_REFUSED, script.refusals);
    end();
}

/* Connections that were refused end and make room, and so do connections that never sent
   anything. */
static void test_refused_connections_end(void) {
    begin(NULL);
    memset(&script, 0, sizeof script);
    broker.settings.connections = 10;
    script.arrivals = 300;
    serve_script(60);
    CHECK_INT(0, script.arrivals);
    CHECK(script.polls < ENOUGH_POLLS);
    end();
}

/* While descriptors or memory are short, accept is called only a few times per second. */
static void test_accept_does_not_spin(void) {
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    size_t i;
    for (i = 0; i < sizeof errors / sizeof *errors; i++) {
        begin(NULL);
        memset(&script, 0, sizeof script);
        script.accept_error = errors[i];
        serve_script(10);
        CHECK(script.accepts <= 10 * 1000 / RETRY_MS + 1);
        CHECK(script.polls < ENOUGH_POLLS);
        end();
    }
}

static void test_poll_does_not_spin(void) {
    begin(NULL);
    memset(&script, 0, sizeof script);
    script.poll_error = EINVAL;
    serve_script(10);
    CHECK(script.polls < ENOUGH_POLLS);
    end();
}

/* The limit of connections leaves some open files for the listener, the signals and the file that
   is served. */
static void test_the_limit_of_open_files_counts(void) {
    static const struct {
        rlim_t files;
        size_t connections;
    } cases[] = {{4096, MAX_CONNECTIONS},
                 {1024, MAX_CONNECTIONS},
                 {1023, MAX_CONNECTIONS - 1},
                 {100, 100 - MAX_REFUSED - SPARE_FILES},
                 {5, 1}};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        files_limit = cases[i].files;
        CHECK_INT(cases[i].connections, connections_allowed());
    }
}

/* ==== the documentation ==== */

static char *contents(FILE *file) {
    char *text = (char *)calloc(1, 200000);
    if (!file || !text) abort();
    rewind(file);
    if (fread(text, 1, 199999, file) == 0) abort();
    fclose(file);
    return text;
}

/* The limits in --help are printed from the constants. Each of these lines must also be in the
   file's first comment. */
static void test_the_first_comment_states_the_limits_of_the_help(void) {
    FILE *help = tmpfile();
    char *comment = contents(fopen("examples/mini_broker.c", "r")), *text, *line, *end;
    int lines = 0;
    if (!help) abort();
    usage(help, 0);
    text = contents(help);
    *strstr(comment, "*/") = 0;
    line = strstr(text, "Limits:\n");
    CHECK(line != NULL);
    for (line = line ? line + 8 : text; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        CHECK_HAS(line, comment);
        lines++;
    }
    CHECK(lines >= 10);
    free(comment);
    free(text);
}

int main(void) {
    RUN(test_a_reader_that_stops_does_not_delay_others);
    RUN(test_the_error_follows_the_started_frame);
    RUN(test_a_large_started_frame_is_not_kept);
    RUN(test_a_session_that_reads_byte_by_byte_is_cut_off);
    RUN(test_a_session_that_keeps_reading_is_kept);
    RUN(test_an_answer_that_is_read_byte_by_byte_ends);
    RUN(test_answers_that_a_peer_does_not_read_are_bounded);
    RUN(test_many_slow_readers_affect_only_themselves);
    RUN(test_frames_that_never_end_affect_only_their_senders);
    RUN(test_a_large_message_to_many_is_refused);
    RUN(test_much_work_is_done_in_portions);
    RUN(test_a_session_closed_for_memory_gives_its_messages_back);
    RUN(test_the_largest_connection_is_refused_itself);
    RUN(test_a_fair_share_is_not_taken_away);
    RUN(test_the_current_frame_is_not_freed);
    RUN(test_a_consumer_that_stops_leaves_the_queue_to_others);
    RUN(test_a_consumer_that_reads_again_gets_the_rest);
    RUN(test_full_consumers_do_not_slow_down_a_publisher);
    RUN(test_too_many_queues_are_refused_to_their_sender);
    RUN(test_unused_queues_are_deleted);
    RUN(test_queues_without_anything_are_freed);
    RUN(test_one_queue_is_bounded_in_messages);
    RUN(test_one_queue_is_bounded_in_bytes);
    RUN(test_deliveries_without_an_ack_fill_the_queue);
    RUN(test_full_queues_leave_topics_alone);
    RUN(test_acknowledged_deliveries_cost_nothing);
    RUN(test_an_ack_does_not_search_other_subscriptions);
    RUN(test_unsubscribe_costs_the_same_among_many_subscribers);
    RUN(test_returned_messages_keep_their_order);
    RUN(test_a_cumulative_ack);
    RUN(test_deliveries_without_an_ack_are_bounded);
    RUN(test_unsubscribe_lets_other_subscriptions_go_on);
    RUN(test_ids_of_deliveries);
    RUN(test_post_asks_for_the_login);
    RUN(test_post_knows_the_encodings_of_a_login);
    RUN(test_a_wrong_passcode_takes_the_same_work_whatever_it_is);
    RUN(test_login_is_compared_as_a_whole);
    RUN(test_get_needs_no_login);
    RUN(test_a_request_that_never_ends);
    RUN(test_a_websocket_without_connect);
    RUN(test_a_post_whose_body_never_ends);
    RUN(test_a_post_that_is_too_large);
    RUN(test_a_post_that_a_queue_refuses);
    RUN(test_subscriptions_are_bounded);
    RUN(test_names_are_bounded);
    RUN(test_transactions_are_bounded);
    RUN(test_a_transaction_is_bounded_in_frames);
    RUN(test_transactions_are_bounded_in_bytes);
    RUN(test_the_end_of_a_session_does_not_search);
    RUN(test_too_many_connections_are_refused);
    RUN(test_refused_connections_end);
    RUN(test_accept_does_not_spin);
    RUN(test_poll_does_not_spin);
    RUN(test_the_limit_of_open_files_counts);
    RUN(test_the_first_comment_states_the_limits_of_the_help);
    return test_report();
}
