/* What wss:// costs beside BearSSL alone, for bench.py: the same octets from or to the same server,
   once by the client and once by BearSSL's engine with nothing else around it.

       bench receive|send client|raw PORT SIZE COUNT

   SIZE and COUNT are of the messages. It prints the octets of TLS's data, and the CPU seconds that
   they took, the handshake left out. The raw one is handed the octets of the client's stream, and
   does not look at them. */
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
    size_t size;
    long count, seen;
    double began;
    char *body;
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

static void report(const bench *b, unsigned long long octets) {
    printf("%llu %.6f\n", octets, cpu_seconds() - b->began);
}

/* ==== the client ==== */

static void count_message(stws *client, const stws_message *m, void *user) {
    bench *b = (bench *)user;
    check(m->body_len == b->size, "a message of another size");
    if (++b->seen == b->count) stws_stop(client);
}

static void client_sends(stws *c, bench *b) {
    for (; b->seen < b->count; b->seen++) {
        int result = stws_send(c, "/topic/sink", b->body, b->size);
        if (result == STWS_ERR_FULL) {
            check(stws_flush(c, SILENCE_MS) == STWS_OK, stws_error_text(c));
            result = stws_send(c, "/topic/sink", b->body, b->size);
        }
        check(result == STWS_OK, stws_error_text(c));
    }
    check(stws_flush(c, SILENCE_MS) == STWS_OK, stws_error_text(c));
}

static void run_client(bench *b) {
    stws_options o = stws_options_default();
    stws_stats_numbers before, after;
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

/* Move a record, or a part of it; 0 when the connection has ended. */
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
    unsigned long long octets = 0;
    size_t len;
    while (!(br_ssl_engine_current_state(e) & BR_SSL_CLOSED)) {
        if (br_ssl_engine_recvapp_buf(e, &len)) {
            octets += len;
            br_ssl_engine_recvapp_ack(e, len);
        } else if (!move_records(e, fd)) {
            break;
        }
    }
    return octets;
}

static void raw_sends(br_ssl_engine_context *e, int fd, const bench *b, unsigned long long octets) {
    while (octets > 0) {
        size_t len, done = 0;
        unsigned char *to = br_ssl_engine_sendapp_buf(e, &len);
        if (!to) {
            check(move_records(e, fd), "the server has left");
            continue;
        }
        if (len > octets) len = (size_t)octets;
        while (done < len) {
            size_t n = len - done < b->size ? len - done : b->size;
            memcpy(to + done, b->body, n);
            done += n;
        }
        br_ssl_engine_sendapp_ack(e, len);
        octets -= len;
    }
    br_ssl_engine_flush(e, 0);
    while (br_ssl_engine_current_state(e) & BR_SSL_SENDREC)
        check(move_records(e, fd), "the server has left");
}

/* The handshake by the client's own transport; octets: how many to send, or 0 to receive. */
static void run_raw(bench *b, unsigned long long octets) {
    static stws_p_tls tls;
    static const char request[] = "GET /raw HTTP/1.1\r\n\r\n";
    stws_options o = stws_options_default();
    stws_endpoint to = {"127.0.0.1", 0, 1};
    stws_clock clock = {.now_us = stws_p_system_clock};
    stws_random random = {NULL, stws_p_system_random};
    stws_transport io;
    stws_p_tcp tcp;
    int result;
    to.port = b->port;
    o.tls_insecure_no_verify = 1;
    stws_p_tcp_init(&tcp, &clock, &io);
    stws_p_tcp_numeric(&tcp, to.host);
    stws_p_tls_plug(&tls, &o, &random, &tcp, &io);
    while ((result = io.open(io.ctx, &to)) == STWS_MORE) poll(NULL, 0, 1);
    check(result == STWS_DONE, "no handshake");
    check(io.write(io.ctx, request, sizeof request - 1) == sizeof request - 1, "no request");
    b->began = cpu_seconds();
    if (octets)
        raw_sends(&tls.client.eng, tcp.fd, b, octets);
    else
        octets = raw_receives(&tls.client.eng, tcp.fd);
    report(b, octets);
    io.close(io.ctx);
}

int main(int argc, char **argv) {
    bench b = {0};
    unsigned long long octets;
    check(argc == 6, "usage: bench receive|send client|raw PORT SIZE COUNT");
    b.sending = strcmp(argv[1], "send") == 0;
    b.port = atoi(argv[3]);
    b.size = (size_t)atol(argv[4]);
    b.count = atol(argv[5]);
    octets = b.sending ? b.size * (unsigned long long)b.count : 0;
    b.body = (char *)malloc(b.size + 1);
    check(b.body != NULL, "no memory");
    memset(b.body, 'x', b.size);
    if (strcmp(argv[2], "raw") == 0)
        run_raw(&b, octets);
    else
        run_client(&b);
    free(b.body);
    return EXIT_SUCCESS;
}
