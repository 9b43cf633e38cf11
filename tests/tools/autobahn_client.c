// Does the WebSocket layer follow RFC 6455? autobahn_client URL: echoes every message until the
// connection ends.
#define STOMP_WS_IMPLEMENTATION
#include "../../stomp_ws.h"
#include <stdio.h>
#include <stdlib.h>

// The library's own transport, driven by hand, because the layer above it is tested.
enum { WAIT_MS = 30000, MAX_MESSAGE = 64 << 20 };

typedef struct echo {
    stws_transport io;
    stws_p_tcp tcp;
    stws_p_address addresses[STWS_P_ADDRESSES];
    stws_clock clock;
    stws_url url;
    stws_ws ws;
    char *in, *out, *message;
    size_t in_len, in_cap, out_len, out_cap, message_len, message_cap;
    int close_sent, close_seen;
} echo;

static int fail(const char *what) {
    fprintf(stderr, "autobahn_client: %s\n", what);
    return EXIT_FAILURE;
}

static void reserve(char **data, size_t *cap, size_t need) {
    if (need <= *cap) return;
    *cap = need + need / 2 + 65536;
    *data = (char *)realloc(*data, *cap);
    if (!*data) abort();
}

static int wait_for(echo *e, short events) {
    struct pollfd p;
    p.fd = e->io.fd(e->io.ctx);
    p.events = events;
    p.revents = 0;
    return poll(&p, 1, WAIT_MS) > 0;
}

// Writes all bytes. Returns 1, or 0 if the connection is gone.
static int flush(echo *e) {
    size_t done = 0, len = e->out_len;
    e->out_len = 0;
    while (done < len) {
        long n = e->io.write(e->io.ctx, e->out + done, len - done);
        if (n < 0 || (n == 0 && !wait_for(e, POLLOUT))) return 0;
        done += (size_t)n;
    }
    return 1;
}

static void post(echo *e, stws_ws_opcode opcode, const void *payload, size_t len) {
    unsigned char key[4];
    size_t need = 0;
    if (stws_p_system_random(NULL, key, sizeof key) != 0) abort();
    reserve(&e->out, &e->out_cap, e->out_len + len + 14);
    if (stws_ws_build(e->out + e->out_len, e->out_cap - e->out_len, opcode, 1, payload, len, key,
                      &need) != STWS_OK)
        abort();
    e->out_len += need;
}

static void post_close(echo *e, int code, const char *reason) {
    char payload[125];
    size_t len = stws_ws_close_payload(payload, code == 1005 ? 0 : code, reason);
    if (!e->close_sent) post(e, STWS_WS_CLOSE, payload, len);
    e->close_sent = 1;
}

static void take(echo *e, const stws_ws_event *event) {
    if (event->opcode == STWS_WS_PING) post(e, STWS_WS_PONG, event->data, event->len);
    if (event->opcode == STWS_WS_CLOSE) {
        e->close_seen = 1;
        post_close(e, event->close_code, "");
    }
    if (event->opcode >= STWS_WS_CLOSE) return;
    if (event->first) e->message_len = 0;
    reserve(&e->message, &e->message_cap, e->message_len + event->len);
    if (event->len) memcpy(e->message + e->message_len, event->data, event->len);
    e->message_len += event->len;
    if (event->last && !e->close_sent) post(e, event->opcode, e->message, e->message_len);
}

// Handles everything that has arrived. Returns 0 if the peer violated the protocol; it has then
// been told.
static int take_all(echo *e) {
    size_t at = 0, used = 0;
    stws_ws_event event;
    int result;
    while ((result = stws_ws_parse(e->in + at, e->in_len - at, &e->ws, &event, &used)) ==
           STWS_DONE) {
        at += used;
        take(e, &event);
    }
    at += result == STWS_MORE ? used : 0;
    e->in_len -= at;
    if (e->in_len) memmove(e->in, e->in + at, e->in_len);
    if (result < 0) post_close(e, e->ws.close_code, e->ws.reason);
    return result >= 0;
}

// Reads more bytes. Returns 1, or 0 at the end of the connection. Reads small pieces, so that
// invalid text is answered while it arrives.
static int receive(echo *e) {
    long n;
    reserve(&e->in, &e->in_cap, e->in_len + 65536);
    while ((n = e->io.read(e->io.ctx, e->in + e->in_len, 65536)) == 0)
        if (!wait_for(e, POLLIN)) return 0;
    if (n < 0) return 0;
    e->in_len += (size_t)n;
    return 1;
}

static int open_connection(echo *e) {
    char host[256];
    stws_endpoint to;
    int result;
    memcpy(host, e->url.host, e->url.host_len);
    host[e->url.host_len] = 0;
    to.host = host;
    to.port = e->url.port;
    to.secure = 0;
    e->clock.now_us = stws_p_system_clock;
    stws_p_tcp_init(&e->tcp, &e->clock, &e->io);
    e->tcp.addresses = e->addresses;
    if (!stws_p_tcp_numeric(&e->tcp, host) && stws_p_tcp_resolve(&e->tcp, host, 0) != 0) return 0;
    while ((result = e->io.open(e->io.ctx, &to)) == STWS_MORE) wait_for(e, POLLOUT);
    return result == STWS_DONE;
}

static int shake_hands(echo *e) {
    unsigned char random[16];
    char key[25];
    const char *why = "";
    stws_header headers[64];
    stws_handshake h;
    stws_http answer;
    size_t used = 0;
    int result;
    if (stws_p_system_random(NULL, random, sizeof random) != 0) abort();
    stws_handshake_key(random, key);
    memset(&h, 0, sizeof h);
    h.url = &e->url;
    h.key = key;
    reserve(&e->out, &e->out_cap, 4096);
    if (stws_handshake_request(e->out, e->out_cap, &h, &e->out_len) != STWS_OK || !flush(e))
        return 0;
    memset(&answer, 0, sizeof answer);
    answer.headers = headers;
    answer.max_headers = 64;
    do {
        if (!receive(e)) return 0;
        result = stws_handshake_parse(e->in, e->in_len, &answer, &used);
    } while (result == STWS_MORE);
    if (result == STWS_DONE) result = stws_handshake_check(&answer, key, NULL, NULL, &why);
    if (result != STWS_OK) return fail(*why ? why : stws_result_text(result)), 0;
    e->in_len -= used;
    memmove(e->in, e->in + used, e->in_len);
    return 1;
}

// Runs until the connection ends. After both close frames, or after a fault, the server has a
// moment to close the connection.
static int run(echo *e) {
    int open = 1;
    e->ws.check_utf8 = 1;
    e->ws.max_message = MAX_MESSAGE;
    while (open) {
        open = take_all(e);
        if (!flush(e))
            return e->close_seen || e->close_sent ? EXIT_SUCCESS
                                                  : fail("the connection broke while writing");
        if (!open) break;
        open = receive(e);
    }
    while (e->close_sent && !e->close_seen && receive(e)) e->in_len = 0;
    return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    static echo e;
    const char *why = "";
    int code;
    if (argc != 2) return fputs("usage: autobahn_client URL\n", stderr), 2;
    if (stws_url_parse(argv[1], &e.url, &why) != STWS_OK) return fail(why);
    if (!open_connection(&e)) return fail("no connection");
    code = shake_hands(&e) ? run(&e) : EXIT_FAILURE;
    e.io.close(e.io.ctx);
    free(e.in);
    free(e.out);
    free(e.message);
    return code;
}
