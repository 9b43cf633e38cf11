/* The example broker without sockets. A few peers send valid frames or raw bytes, in any order. Its
   answers must be valid HTTP, WebSocket and STOMP. Its memory must stay within the budget. At the
   end all of its memory must be released. */
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_NO_IO
#include "stomp_ws.h"

/* The broker's source is written so that it can be included: see its first comment. */
#define MINI_BROKER_NO_MAIN
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "examples/mini_broker.c"

#include "tests/fuzz/fuzz.h"

enum { PEERS = 4, MOST_MEMORY = 8 << 20 };

/* A peer, and what it has read of the broker's answers. */
struct peer {
    struct connection *connection;
    int upgraded;
    int refused; /* it broke a rule, or got an HTTP answer: its answers are no longer checked */
    struct fuzz_window in;
    stws_ws ws;
    stws_frame_state frames;
    stws_header headers[MAX_HEADERS];
    struct fuzz_text stomp;
};

struct world {
    struct broker broker;
    struct peer peers[PEERS];
    struct fuzz_input in;
    int slow; /* the peers stop reading */
};

static const char request[] =
    "GET /notifications/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n";

static void peer_reset(struct peer *p) {
    free(p->in.block);
    fuzz_text_free(&p->stomp);
    memset(p, 0, sizeof *p);
    p->frames.headers = p->headers;
    p->frames.max_headers = MAX_HEADERS;
}

/* ---- the broker's answers ---- */

static void check_frame(struct peer *p, const stws_frame *f) {
    const char *version = stws_frame_header(f, "version");
    FUZZ_CHECK(f->command_id == STWS_COMMAND_CONNECTED || f->command_id == STWS_COMMAND_MESSAGE ||
               f->command_id == STWS_COMMAND_RECEIPT || f->command_id == STWS_COMMAND_ERROR);
    if (f->command_id == STWS_COMMAND_CONNECTED) {
        FUZZ_CHECK(version != NULL);
        p->frames.version = strcmp(version, "1.2") == 0   ? STWS_STOMP_12
                            : strcmp(version, "1.1") == 0 ? STWS_STOMP_11
                                                          : STWS_STOMP_10;
    }
    if (f->command_id == STWS_COMMAND_MESSAGE)
        FUZZ_CHECK(stws_frame_header(f, "message-id") && stws_frame_header(f, "destination"));
    if (f->command_id == STWS_COMMAND_RECEIPT) FUZZ_CHECK(stws_frame_header(f, "receipt-id"));
}

/* Checks that each WebSocket message contains one STOMP frame or one heart-beat. */
static void hear_message(struct peer *p) {
    stws_frame frame;
    size_t used = 0;
    int result = stws_frame_parse(p->stomp.data, p->stomp.len, &p->frames, &frame, &used);
    FUZZ_CHECK(result >= 0 && used == p->stomp.len);
    if (result == STWS_DONE) check_frame(p, &frame);
    p->stomp.len = 0;
}

static void hear_websocket(struct peer *p) {
    stws_ws_event e;
    size_t used = 0;
    int result = STWS_DONE;
    while (result == STWS_DONE) {
        result = stws_ws_parse(fuzz_window_at(&p->in), fuzz_window_len(&p->in), &p->ws, &e, &used);
        FUZZ_CHECK(result >= 0);
        if (result == STWS_DONE && e.opcode < STWS_WS_CLOSE) {
            fuzz_add(&p->stomp, e.data, e.len);
            if (e.last) hear_message(p);
        }
        fuzz_window_used(&p->in, used);
    }
}

static void hear_answer(struct peer *p) {
    stws_header headers[16];
    stws_http http = {0};
    size_t used = 0;
    int result;
    http.headers = headers;
    http.max_headers = 16;
    result = stws_handshake_parse(fuzz_window_at(&p->in), fuzz_window_len(&p->in), &http, &used);
    FUZZ_CHECK(result >= 0);
    if (result != STWS_DONE) return;
    FUZZ_CHECK(http.status >= 100 && http.status < 600);
    fuzz_window_used(&p->in, used);
    p->upgraded = http.status == 101;
    p->refused = !p->upgraded;
}

static void hear(struct peer *p, const char *data, size_t len) {
    fuzz_window_feed(&p->in, data, len);
    if (!p->upgraded && !p->refused) hear_answer(p);
    if (p->upgraded) hear_websocket(p);
}

/* The peer reads at most this many bytes of its waiting answers. */
static void take(struct peer *p, size_t most) {
    size_t len = 0;
    const char *data;
    char *copy;
    if (!p->connection) return;
    data = connection_output(p->connection, &len);
    if (len == 0) return;
    if (len > most) len = most;
    copy = fuzz_copy(data, len);
    hear(p, copy, len);
    free(copy);
    connection_written(p->connection, len);
}

static void settle(struct world *w) {
    size_t i;
    for (i = 0; i < PEERS; i++) {
        struct peer *p = &w->peers[i];
        if (!w->slow) take(p, (size_t)-1);
        if (!p->connection || p->connection->phase != PHASE_GONE) continue;
        connection_free(p->connection);
        peer_reset(p);
    }
    FUZZ_CHECK(w->broker.memory <= MOST_MEMORY);
}

/* ---- the actions of the peers ---- */

static void feed(struct peer *p, const void *data, size_t len) {
    char *copy;
    if (!p->connection) return;
    copy = fuzz_copy(data, len);
    connection_feed(p->connection, copy, len);
    free(copy);
}

static void feed_websocket(struct peer *p, unsigned first, const void *data, size_t len) {
    static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char head[8] = {0};
    char *payload = fuzz_room(len);
    size_t n = 2;
    head[0] = (unsigned char)first;
    head[1] = (unsigned char)(0x80 | (len < 126 ? len : 126));
    if (len >= 126) {
        head[n++] = (unsigned char)(len >> 8);
        head[n++] = (unsigned char)len;
    }
    memcpy(head + n, key, 4);
    stws_ws_mask(payload, data, len, key, 0);
    feed(p, head, n + 4);
    feed(p, payload, len);
    free(payload);
}

static void do_open(struct world *w, struct peer *p) {
    if (!p->connection) p->connection = connection_open(&w->broker);
}

static void do_upgrade(struct world *w, struct peer *p) {
    do_open(w, p);
    feed(p, request, sizeof request - 1);
}

static void do_connect(struct world *w, struct peer *p) {
    static const char *const frames[] = {
        "CONNECT\naccept-version:1.2\nhost:/\n\n",
        "CONNECT\naccept-version:1.0,1.1\nheart-beat:100,100\n\n",
        "CONNECT\nlogin:a\npasscode:b\n\n",
        "STOMP\naccept-version:1.2\nlogin:user\npasscode:pass\n\n"};
    const char *frame = frames[fuzz_below(&w->in, 4)];
    do_upgrade(w, p);
    feed_websocket(p, 0x81, frame, strlen(frame) + 1);
}

static void do_raw(struct world *w, struct peer *p) {
    size_t len;
    const unsigned char *data = fuzz_span(&w->in, &len);
    feed(p, data, len);
}

static void do_stomp(struct world *w, struct peer *p) {
    size_t len;
    const unsigned char *data = fuzz_span(&w->in, &len);
    char *frame = fuzz_string(data, len);
    feed_websocket(p, 0x81, frame, len + 1);
    free(frame);
}

static void do_websocket(struct world *w, struct peer *p) {
    unsigned first = fuzz_byte(&w->in);
    size_t len;
    const unsigned char *data = fuzz_span(&w->in, &len);
    feed_websocket(p, first, data, len);
}

/* Frames that cause an interaction between peers. */
static void do_frame(struct world *w, struct peer *p) {
    static const char *const frames[] = {
        "SUBSCRIBE\nid:1\ndestination:/topic/a\n\n",
        "SUBSCRIBE\nid:2\ndestination:/queue/q\nack:client-individual\n\n",
        "SUBSCRIBE\nid:3\ndestination:/queue/q\nack:client\nreceipt:r\n\n",
        "SEND\ndestination:/topic/a\nx\\c:y\\n\n\nto all",
        "SEND\ndestination:/queue/q\n\nto one",
        "SEND\ndestination:/queue/q\ntransaction:t\n\nlater",
        "SEND\ndestination:/queue/q\nreply-to:/temp-queue/r\n\nanswer me",
        "ACK\nid:1-1-1\n\n",
        "NACK\nid:2-1-1\n\n",
        "ACK\nid:1-2-2\ntransaction:t\n\n",
        "BEGIN\ntransaction:t\n\n",
        "COMMIT\ntransaction:t\n\n",
        "ABORT\ntransaction:t\n\n",
        "UNSUBSCRIBE\nid:2\n\n",
        "DISCONNECT\nreceipt:bye\n\n",
        "\n"};
    const char *frame = frames[fuzz_below(&w->in, 16)];
    feed_websocket(p, 0x81, frame, strlen(frame) + 1);
}

static void do_end(struct world *w, struct peer *p) {
    (void)w;
    if (p->connection) connection_input_ended(p->connection);
}

static void do_leave(struct world *w, struct peer *p) {
    (void)w;
    if (p->connection) connection_free(p->connection);
    peer_reset(p);
}

static void do_tick(struct world *w, struct peer *p) {
    (void)p;
    broker_tick(&w->broker, w->broker.now + (long long)fuzz_byte(&w->in) * 50);
}

static void do_slow(struct world *w, struct peer *p) {
    (void)p;
    w->slow = !w->slow;
}

static void do_take(struct world *w, struct peer *p) {
    take(p, 1 + fuzz_byte(&w->in));
}

static void (*const records[])(struct world *w, struct peer *p) = {
    do_open,  do_upgrade, do_connect, do_raw,  do_stomp, do_websocket,
    do_frame, do_end,     do_leave,   do_tick, do_slow,  do_take};

enum { RECORDS = sizeof records / sizeof *records };

static void world_end(struct world *w) {
    size_t i;
    for (i = 0; i < PEERS; i++) peer_reset(&w->peers[i]);
    broker_free(&w->broker);
    FUZZ_CHECK(w->broker.memory == 0 && w->broker.connection_count == 0);
    FUZZ_CHECK(w->broker.destination_count == 0);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    static struct world w;
    unsigned choice;
    size_t i;
    memset(&w, 0, sizeof w);
    w.in.data = data;
    w.in.left = size;
    choice = fuzz_byte(&w.in);
    w.broker.now = 1;
    w.broker.settings.base = "/notifications";
    w.broker.settings.quiet = 1;
    w.broker.settings.login = choice & 1 ? "user:pass" : NULL;
    w.broker.settings.beat_out = w.broker.settings.beat_in = choice & 2 ? 100 : 0;
    for (i = 0; i < PEERS; i++) peer_reset(&w.peers[i]);
    while (w.in.left > 0) {
        unsigned record = fuzz_byte(&w.in);
        records[record / PEERS % RECORDS](&w, &w.peers[record % PEERS]);
        settle(&w);
    }
    world_end(&w);
}
