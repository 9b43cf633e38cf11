/* Measures the cost of wss:// compared with BearSSL alone, for bench.py. The same bytes move from
   or to the same server, one time through the client, and one time through BearSSL's engine with
   nothing around it.

       bench receive|send client|raw|without PORT SIZE COUNT

   SIZE and COUNT are the size and the number of the messages. It prints the bytes of TLS's plain
   text and the CPU seconds that they took, without the handshake. "raw" moves the bytes of the
   client's stream and does not look at them. "without" is the client again, but without TLS and
   network once it is connected: it reads from memory, and what it writes is dropped. So "without"
   measures only the work for STOMP and WebSocket. */
#ifndef STOMP_WS_BEARSSL
#define STOMP_WS_BEARSSL
#endif
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { SILENCE_MS = 60000 };

typedef struct bench {
    int port, sending;
    size_t size, replayed, replay_len;
    long count, seen;
    double began;
    char *body, *replay;
} bench;

static void check(int ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "bench: %s\n", what);
    exit(EXIT_FAILURE);
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void report(const bench *b, unsigned long long bytes) {
    printf("%llu %.6f\n", bytes, cpu_seconds() - b->began);
}

/* ==== the client ==== */

/* The server's messages, as bench.py sends them, repeated. */
static long read_replay(void *ctx, char *buf, size_t len) {
    bench *b = (bench *)ctx;
    size_t n = b->replay_len - b->replayed;
    if (n > len) n = len;
    memcpy(buf, b->replay + b->replayed, n);
    b->replayed = (b->replayed + n) % b->replay_len;
    return (long)n;
}

static long write_nowhere(void *ctx, const char *buf, size_t len) {
    (void)ctx, (void)buf;
    return (long)len;
}

static int wants_now(void *ctx, int wants) {
    (void)ctx;
    return wants | STWS_WANT_NOW;
}

static int no_fd(void *ctx) {
    (void)ctx;
    return -1;
}

static void close_nothing(void *ctx) {
    (void)ctx;
}

/* About a mebibyte of messages, so that they are not all in the fastest cache. */
static void build_replay(bench *b) {
    char head[256];
    int len = snprintf(head, sizeof head,
                       "MESSAGE\nsubscription:1\nmessage-id:1\ndestination:/topic/flood\n"
                       "content-length:%zu\n\n",
                       b->size);
    size_t whole = (size_t)len + b->size + 1, room = (1 << 20) + whole + 16, need;
    char *frame = (char *)malloc(whole);
    b->replay = (char *)malloc(room);
    check(frame && b->replay, "no memory");
    memcpy(frame, head, (size_t)len);
    memcpy(frame + len, b->body, b->size);
    frame[whole - 1] = 0;
    while (b->replay_len < 1 << 20) {
        check(stws_ws_build(b->replay + b->replay_len, room - b->replay_len, STWS_WS_TEXT, 1, frame,
                            whole, NULL, &need) == STWS_OK,
              "no room");
        b->replay_len += need;
    }
    free(frame);
}

/* From here on there is no TLS. */
static void unplug(bench *b, stws *c) {
    static const stws_transport nothing = {.read = read_replay,
                                           .write = write_nowhere,
                                           .close = close_nothing,
                                           .fd = no_fd,
                                           .wants = wants_now};
    build_replay(b);
    c->io.close(c->io.ctx);
    c->io = nothing;
    c->io.ctx = b;
}

static void count_message(stws *client, const stws_message *m, void *user) {
    bench *b = (bench *)user;
    check(m->body_len == b->size, "a message of a wrong size");
    if (++b->seen == b->count) stws_stop(client);
}

/* Waits for the socket after each 128 KiB, as raw does, and not when all buffers are full. If the
   server is slow, messages would otherwise take the longer path through the outbox, which is not a
   cost of TLS. */
static void client_sends(stws *c, bench *b) {
    enum { AT_ONCE = 131072 };
    size_t unflushed = 0;
    for (; b->seen < b->count; b->seen++) {
        check(stws_send(c, "/topic/sink", b->body, b->size) == STWS_OK, stws_error_text(c));
        unflushed += b->size;
        if (unflushed < AT_ONCE) continue;
        check(stws_flush(c, SILENCE_MS) == STWS_OK, stws_error_text(c));
        unflushed = 0;
    }
    check(stws_flush(c, SILENCE_MS) == STWS_OK, stws_error_text(c));
}

static void run_client(bench *b, int without) {
    stws_options o = stws_options_default();
    stws_statistics before, after;
    char url[64];
    stws *c;
    snprintf(url, sizeof url, "wss://127.0.0.1:%d/client", b->port);
    o.url = url;
    o.single_thread = o.tls_insecure_no_verify = 1;
    o.reconnect = STWS_OFF;
    o.on_message = count_message;
    o.user = b;
    c = stws_create(&o);
    check(stws_connect(c, SILENCE_MS) == STWS_OK, stws_error_text(c));
    if (without) unplug(b, c);
    stws_stats(c, &before);
    b->began = cpu_seconds();
    if (b->sending) {
        client_sends(c, b);
    } else {
        stws_subscribe(c, "/topic/flood", NULL);
        check(stws_run(c) == STWS_OK, stws_error_text(c));
    }
    stws_stats(c, &after);
    report(b, after.bytes_in + after.bytes_out - before.bytes_in - before.bytes_out);
    stws_destroy(c);
}

/* ==== BearSSL alone ==== */

static void wait_for(int fd, int events) {
    struct pollfd p = {fd, (short)events, 0};
    check(poll(&p, 1, SILENCE_MS) > 0, "the server is silent");
}

/* Moves a record or a part of it. Returns 0 if the connection has ended. */
static int move_records(br_ssl_engine_context *e, int fd) {
    unsigned state = br_ssl_engine_current_state(e);
    size_t len;
    unsigned char *buf;
    ssize_t n;
    int sends = (state & BR_SSL_SENDREC) != 0;
    buf = sends ? br_ssl_engine_sendrec_buf(e, &len) : br_ssl_engine_recvrec_buf(e, &len);
    check(buf != NULL, "the engine has stopped");
    n = sends ? send(fd, buf, len, MSG_NOSIGNAL) : recv(fd, buf, len, 0);
    if (n < 0 && errno == EAGAIN) return wait_for(fd, sends ? POLLOUT : POLLIN), 1;
    if (n <= 0) return 0;
    if (sends)
        br_ssl_engine_sendrec_ack(e, (size_t)n);
    else
        br_ssl_engine_recvrec_ack(e, (size_t)n);
    return 1;
}

static unsigned long long raw_receives(br_ssl_engine_context *e, int fd) {
    unsigned long long bytes = 0;
    size_t len;
    while (!(br_ssl_engine_current_state(e) & BR_SSL_CLOSED)) {
        if (br_ssl_engine_recvapp_buf(e, &len)) {
            bytes += len;
            br_ssl_engine_recvapp_ack(e, len);
        } else if (!move_records(e, fd)) {
            break;
        }
    }
    return bytes;
}

static void raw_sends(br_ssl_engine_context *e, int fd, const bench *b, unsigned long long bytes) {
    while (bytes > 0) {
        size_t len, done = 0;
        unsigned char *to = br_ssl_engine_sendapp_buf(e, &len);
        if (!to) {
            check(move_records(e, fd), "the server has closed the connection");
            continue;
        }
        if (len > bytes) len = (size_t)bytes;
        while (done < len) {
            size_t n = len - done < b->size ? len - done : b->size;
            memcpy(to + done, b->body, n);
            done += n;
        }
        br_ssl_engine_sendapp_ack(e, len);
        bytes -= len;
    }
    br_ssl_engine_flush(e, 0);
    while (br_ssl_engine_current_state(e) & BR_SSL_SENDREC)
        check(move_records(e, fd), "the server has closed the connection");
}

/* Makes the handshake with the client's transport. `bytes`: how many to send, or 0 to receive. */
static void run_raw(bench *b, unsigned long long bytes) {
    static stws_p_tls tls;
    static stws_p_bear bear;
    static const char request[] = "GET /raw HTTP/1.1\r\n\r\n";
    stws_options o = stws_options_default();
    stws_endpoint to = {"127.0.0.1", 0, 1};
    stws_clock clock = {.now_us = stws_p_system_clock};
    stws_random random = {NULL, stws_p_system_random};
    stws_transport io;
    stws_p_address addresses[STWS_P_ADDRESSES];
    stws_p_tcp tcp;
    int result;
    to.port = b->port;
    o.tls_insecure_no_verify = 1;
    stws_p_tcp_init(&tcp, &clock, &io);
    tcp.addresses = addresses;
    stws_p_tcp_numeric(&tcp, to.host);
    stws_p_tls_init(&tls, &bear, stws_bearssl());
    stws_p_tls_prepare(&tls, &o, &random, &tcp, &io);
    while ((result = io.open(io.ctx, &to)) == STWS_MORE) poll(NULL, 0, 1);
    check(result == STWS_DONE, "no handshake");
    check(io.write(io.ctx, request, sizeof request - 1) == sizeof request - 1, "no request");
    b->began = cpu_seconds();
    if (bytes)
        raw_sends(&bear.client.eng, tcp.fd, b, bytes);
    else
        bytes = raw_receives(&bear.client.eng, tcp.fd);
    report(b, bytes);
    io.close(io.ctx);
}

int main(int argc, char **argv) {
    bench b = {0};
    unsigned long long bytes;
    check(argc == 6, "usage: bench receive|send client|raw|without PORT SIZE COUNT");
    b.sending = strcmp(argv[1], "send") == 0;
    b.port = atoi(argv[3]);
    b.size = (size_t)atol(argv[4]);
    b.count = atol(argv[5]);
    bytes = b.sending ? b.size * (unsigned long long)b.count : 0;
    b.body = (char *)malloc(b.size + 1);
    check(b.body != NULL, "no memory");
    memset(b.body, 'x', b.size);
    if (strcmp(argv[2], "raw") == 0)
        run_raw(&b, bytes);
    else
        run_client(&b, strcmp(argv[2], "without") == 0);
    free(b.replay);
    free(b.body);
    return EXIT_SUCCESS;
}
