// libwebsockets, with hand-written STOMP. The library delivers messages in pieces, which are joined
// here. It calls for output when the socket can be written.
#include "by_hand.h"
#include <libwebsockets.h>

enum { PIECE = 64 << 10 };

typedef struct peer {
    bench bench;
    struct lws *wsi;
    int state, ended, failed;
    double sent;
    char *out;
    char *in;
    size_t in_len, in_cap;
} peer;

enum { CONNECTING, LOGGED_IN, SUBSCRIBED };

static void put(peer *p, size_t len) {
    unsigned char *text = (unsigned char *)p->out + LWS_PRE;
    if (lws_write(p->wsi, text, len, LWS_WRITE_TEXT) < (int)len) p->failed = 1;
}

static void put_body(peer *p, const char *destination) {
    put(p, by_hand_send(p->out + LWS_PRE, destination, p->bench.body, (size_t)p->bench.size));
}

static void pour(peer *p) {
    bench *b = &p->bench;
    while (b->messages < b->count && !p->failed && !lws_send_pipe_choked(p->wsi)) {
        put_body(p, "/topic/sink");
        b->messages++;
    }
    if (b->messages < b->count) lws_callback_on_writable(p->wsi);
}

static void on_writable(peer *p) {
    const char *connect_frame = by_hand_connect();
    if (p->state == CONNECTING) {
        strcpy(p->out + LWS_PRE, connect_frame);
        put(p, strlen(connect_frame) + 1);
    } else if (p->state == LOGGED_IN) {
        p->state = SUBSCRIBED;
        put(p, by_hand_subscribe(p->out + LWS_PRE, by_hand_destination(&p->bench)));
        if (!bench_is(&p->bench, "burst")) {
            p->bench.began = bench_now();
            lws_callback_on_writable(p->wsi);
        }
    } else if (bench_is(&p->bench, "sink")) {
        pour(p);
    } else {
        p->sent = bench_now();
        put_body(p, "/topic/echo");
    }
}

static void on_echo(peer *p, const by_hand *m) {
    bench *b = &p->bench;
    bench_note_trip(b, bench_now() - p->sent);
    by_hand_read(b, m);
    p->ended = b->messages == b->count;
    if (!p->ended) lws_callback_on_writable(p->wsi);
}

static void on_message(peer *p) {
    by_hand m;
    if (!by_hand_parse(&m, p->in, p->in_len)) {
        p->state = LOGGED_IN;
        lws_callback_on_writable(p->wsi);
        return;
    }
    if (p->bench.began <= 0) p->bench.began = bench_now();
    if (by_hand_is_end(&m))
        p->ended = 1;
    else if (bench_is(&p->bench, "pingpong"))
        on_echo(p, &m);
    else
        by_hand_read(&p->bench, &m);
}

static void on_piece(peer *p, const char *piece, size_t len) {
    if (lws_is_first_fragment(p->wsi)) p->in_len = 0;
    if (p->in_len + len > p->in_cap) {
        p->in_cap = 2 * (p->in_len + len);
        p->in = (char *)realloc(p->in, p->in_cap);
        if (!p->in) abort();
    }
    memcpy(p->in + p->in_len, piece, len);
    p->in_len += len;
    if (lws_is_final_fragment(p->wsi) && lws_remaining_packet_payload(p->wsi) == 0) on_message(p);
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *session, void *in,
                  size_t len) {
    peer *p = (peer *)lws_context_user(lws_get_context(wsi));
    (void)session;
    switch (reason) {
        case LWS_CALLBACK_CLIENT_ESTABLISHED: lws_callback_on_writable(wsi); break;
        case LWS_CALLBACK_CLIENT_WRITEABLE: on_writable(p); break;
        case LWS_CALLBACK_CLIENT_RECEIVE: on_piece(p, (const char *)in, len); break;
        case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        case LWS_CALLBACK_CLIENT_CLOSED: p->failed = 1; break;
        default: break;
    }
    return 0;
}

static struct lws_context *connect_it(peer *p) {
    static const struct lws_protocols protocols[] = {
        {"v12.stomp", on_lws, 0, PIECE, 0, NULL, 0},
        {NULL, NULL, 0, 0, 0, NULL, 0},
    };
    struct lws_context_creation_info info;
    struct lws_client_connect_info to;
    static char path[64], host[32];
    int port;
    memset(&info, 0, sizeof info);
    memset(&to, 0, sizeof to);
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = protocols;
    info.user = p;
    lws_set_log_level(LLL_ERR, NULL);
    if (sscanf(p->bench.url, "ws://127.0.0.1:%d%63s", &port, path) != 2) return NULL;
    sprintf(host, "127.0.0.1:%d", port);
    to.context = lws_create_context(&info);
    to.address = "127.0.0.1";
    to.port = port;
    to.path = path;
    to.host = to.origin = host;
    to.protocol = protocols[0].name;
    to.pwsi = &p->wsi;
    return to.context && lws_client_connect_via_info(&to) ? to.context : NULL;
}

int main(int argc, char **argv) {
    static peer p;
    struct lws_context *context;
    bench_begin(&p.bench, argc, argv);
    p.out = (char *)bench_memory(LWS_PRE + (size_t)p.bench.size + BY_HAND_HEAD);
    context = connect_it(&p);
    while (context && !p.ended && !p.failed) lws_service(context, 0);
    p.bench.ended = bench_now();
    if (!p.ended) return fputs("lws: the connection failed\n", stderr), EXIT_FAILURE;
    bench_report(&p.bench);
    lws_context_destroy(context);
    free(p.in);
    free(p.out);
    bench_end(&p.bench);
    return EXIT_SUCCESS;
}
