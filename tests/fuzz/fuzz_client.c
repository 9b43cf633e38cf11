/* The whole client with a scripted transport. An input is a list of records, and each record is
   an event: bytes from the server, as valid frames or raw; time; calls of the application;
   faults of transport, memory and randomness. The first bytes choose the options.

   Whatever happens, the client follows both protocols, never runs in an endless loop, never uses
   more memory than its options allow, explains each failure in a sentence, and ends when
   requested. */
#define STOMP_WS_IMPLEMENTATION
#include "tests/fault/scripted.h"

#include "tests/fuzz/fuzz.h"

enum {
    MAX_BODY = 2048,
    MAX_LINE = 256,
    MAX_FRAME_HEADERS = 8,
    MEMORY_BEYOND = 64 << 10, /* memory beyond stws_size() by which the buffers may grow, with these
                                 limits */
    MOST_MS = 90000,          /* an input may let at most this much time pass */
    DESTINATIONS = 4
};

struct world {
    struct peer peer;
    struct fuzz_input in;
    stws_allocator allocator;
    size_t allocated, most_allocated;
    int no_memory, no_randomness; /* number of allocations that fail from now on */
    stws_message *last;           /* a copy of the last message */
    stws_queue *queue;
    int in_callback; /* the application's actions in a callback */
    int last_handle;
    long long ms_left;
};

static const char *const destinations[DESTINATIONS] = {"/topic/a", "/queue/b", "/topic/a:\\c",
                                                       "/x"};

/* ---- memory and random bytes, which may be unavailable ---- */

static void *world_alloc(void *ctx, size_t size) {
    struct world *w = (struct world *)ctx;
    void *block;
    if (w->no_memory > 0) {
        w->no_memory--;
        return NULL;
    }
    block = malloc(size);
    if (!block) abort();
    w->allocated += size;
    if (w->allocated > w->most_allocated) w->most_allocated = w->allocated;
    return block;
}

static void world_release(void *ctx, void *block, size_t size) {
    struct world *w = (struct world *)ctx;
    if (!block) return;
    FUZZ_CHECK(size <= w->allocated);
    w->allocated -= size;
    free(block);
}

static int world_fill(void *ctx, void *out, size_t len) {
    struct peer *p = (struct peer *)ctx;
    struct world *w = (struct world *)p->extra;
    if (w->no_randomness == 0) return peer_fill(ctx, out, len);
    w->no_randomness--;
    return -1;
}

/* Nothing can be read before the connection is open, even if the server has already sent
   something. */
static int world_wants(void *ctx, int wants) {
    const struct peer *p = (const struct peer *)ctx;
    return p->open_result == STWS_MORE ? wants : peer_t_wants(ctx, wants);
}

/* ---- actions of the application ---- */

/* Checks the result of a call: it is a success, or an error that has a name and a text. */
static int called(int result) {
    if (result < 0) fuzz_check_error(result);
    return result;
}

static void keep_message(struct world *w, const stws_message *m) {
    stws_message_free(w->last);
    w->last = stws_message_copy(m);
    if (!w->last) abort();
}

static void check_message(const stws_message *m) {
    FUZZ_CHECK(m->body && m->body[m->body_len] == 0);
    FUZZ_CHECK(m->body_len <= MAX_BODY && m->frame.header_count <= MAX_FRAME_HEADERS);
    FUZZ_CHECK(m->body_is_utf8 == stws_utf8_valid(m->body, m->body_len));
}

static void act_in_callback(struct world *w, const stws_event *e) {
    stws *c = w->peer.client;
    int what = w->in_callback;
    if (what == 1 && e->type == STWS_EVENT_MESSAGE) called(stws_ack(c, e->message));
    if (what == 2) called(stws_send(c, destinations[0], "in a callback", 13));
    if (what == 3 && w->last_handle) called(stws_unsubscribe(c, w->last_handle));
    if (what == 4) called(stws_subscribe(c, destinations[1], NULL));
    if (what == 5) called(stws_reconnect_now(c));
    if (what == 6) called(stws_disconnect(c, -1));
    if (what == 7) stws_stop(c);
    if (what >= 3) w->in_callback = 0;
}

static void on_event(struct peer *p, const stws_event *e) {
    struct world *w = (struct world *)p->extra;
    FUZZ_CHECK(e->text != NULL);
    if (e->result < 0) fuzz_check_error(e->result);
    if (e->type == STWS_EVENT_DISCONNECTED) fuzz_check_sentence(e->text);
    if (e->type == STWS_EVENT_ERROR) fuzz_check_sentence(e->text);
    if (e->type == STWS_EVENT_MESSAGE) {
        check_message(e->message);
        keep_message(w, e->message);
    }
    act_in_callback(w, e);
}

static void do_subscribe(struct world *w) {
    static const stws_ack_mode acks[] = {STWS_ACK_DEFAULT, STWS_ACK_CLIENT,
                                         STWS_ACK_CLIENT_INDIVIDUAL, STWS_ACK_AUTO};
    static const char *const headers[] = {"selector", "a = 'b:c'", NULL};
    stws_subscribe_options options = {0};
    unsigned choice = fuzz_byte(&w->in);
    int handle;
    options.ack = acks[choice & 3];
    options.receipt = choice >> 2 & 1;
    options.headers = choice & 8 ? headers : NULL;
    options.id = choice & 16 ? "own" : NULL;
    handle = called(stws_subscribe(w->peer.client, destinations[choice >> 5 & 3], &options));
    if (handle > 0) w->last_handle = handle;
}

static void do_unsubscribe(struct world *w) {
    unsigned choice = fuzz_byte(&w->in);
    called(stws_unsubscribe(w->peer.client, choice & 1 ? (int)choice : w->last_handle));
}

static void do_send(struct world *w) {
    static const char *const types[] = {NULL, "text/plain"};
    stws_outgoing out = {0};
    unsigned choice = fuzz_byte(&w->in);
    char *body;
    size_t len;
    const unsigned char *data = fuzz_span(&w->in, &len);
    body = fuzz_copy(data, len);
    out.destination = destinations[choice & 3];
    out.body = body;
    out.body_len = len;
    out.receipt = choice >> 2 & 1;
    out.content_length = (stws_content_length)(choice >> 3 & 1);
    out.content_type = types[choice >> 4 & 1];
    out.transaction = choice & 32 ? "t" : NULL;
    called(stws_send_ex(w->peer.client, &out));
    free(body);
}

/* A header that some STOMP versions cannot represent. */
static void do_send_header(struct world *w) {
    const char *headers[3] = {NULL, NULL, NULL};
    stws_outgoing out = {0};
    size_t name_len, value_len;
    const unsigned char *name = fuzz_span(&w->in, &name_len);
    const unsigned char *value = fuzz_span(&w->in, &value_len);
    char *name_text = fuzz_string(name, name_len), *value_text = fuzz_string(value, value_len);
    headers[0] = name_text;
    headers[1] = value_text;
    out.destination = destinations[0];
    out.headers = headers;
    called(stws_send_ex(w->peer.client, &out));
    free(name_text);
    free(value_text);
}

static void do_ack(struct world *w) {
    unsigned choice = fuzz_byte(&w->in);
    const char *transaction = choice & 2 ? "t" : NULL;
    stws *c = w->peer.client;
    if (!w->last) return;
    called(choice & 1 ? stws_nack_in(c, w->last, transaction)
                      : stws_ack_in(c, w->last, transaction));
}

static void do_transaction(struct world *w) {
    stws *c = w->peer.client;
    switch (fuzz_below(&w->in, 3)) {
        case 0: called(stws_begin(c, "t")); break;
        case 1: called(stws_commit(c, "t")); break;
        default: called(stws_abort(c, "t")); break;
    }
}

static void do_end(struct world *w) {
    unsigned choice = fuzz_byte(&w->in);
    if (choice % 3 == 0)
        stws_stop(w->peer.client);
    else if (choice % 3 == 1)
        called(stws_disconnect(w->peer.client, (int)choice - 1));
    else
        called(stws_reconnect_now(w->peer.client));
}

static void do_flush(struct world *w) {
    called(stws_flush(w->peer.client, 0));
}

static void do_callback(struct world *w) {
    w->in_callback = (int)fuzz_below(&w->in, 8);
}

static void do_pop(struct world *w) {
    const stws_message *m = NULL;
    int turns = 0;
    while (w->queue && turns++ < 3 && called(stws_queue_pop(w->queue, &m, 0)) > 0) check_message(m);
    if (w->queue && m) stws_queue_pop(w->queue, &m, 0);
}

/* Calls all functions that read the state, which may be called at any time. */
static void do_look(struct world *w) {
    stws *c = w->peer.client;
    stws_statistics stats;
    stws_fd fds[3];
    stws_stats(c, &stats);
    FUZZ_CHECK(stws_state(c) >= STWS_IDLE && stws_state(c) <= STWS_ENDED);
    FUZZ_CHECK(strlen(stws_state_name(stws_state(c))) > 0);
    FUZZ_CHECK(stws_error_text(c) != NULL && stws_error(c) <= 0);
    FUZZ_CHECK(stws_http_status(c) >= 0 && stws_close_code(c) >= 0);
    FUZZ_CHECK(stws_fds(c, fds, 3) >= 0 && stws_deadline(c) >= -1);
    FUZZ_CHECK(stats.messages_in <= stats.frames_in && stats.sessions >= stats.reconnects);
}

/* ---- actions of the server ---- */

static void say_text(struct world *w) {
    size_t len;
    const unsigned char *data = fuzz_span(&w->in, &len);
    peer_ws(&w->peer, STWS_WS_TEXT, 1, data, len);
}

static void say_stomp(struct world *w) {
    size_t len;
    const unsigned char *data = fuzz_span(&w->in, &len);
    char *frame = fuzz_string(data, len);
    peer_ws(&w->peer, STWS_WS_TEXT, 1, frame, len + 1);
    free(frame);
}

static void say_any_frame(struct world *w) {
    static const stws_ws_opcode opcodes[] = {STWS_WS_CONTINUATION, STWS_WS_TEXT, STWS_WS_BINARY,
                                             STWS_WS_CLOSE,        STWS_WS_PING, STWS_WS_PONG};
    unsigned choice = fuzz_byte(&w->in);
    stws_ws_opcode opcode = opcodes[choice % 6];
    size_t len;
    const unsigned char *data = fuzz_span(&w->in, &len);
    if (opcode >= STWS_WS_CLOSE && len > 125) len = 125;
    peer_ws(&w->peer, opcode, opcode >= STWS_WS_CLOSE || choice < 128, data, len);
}

static void say_raw(struct world *w) {
    size_t len;
    const unsigned char *data = fuzz_span(&w->in, &len);
    peer_raw(&w->peer, data, len);
}

/* Sends a message of any size to the last subscription. */
static void say_message(struct world *w) {
    char body[MAX_BODY + 256];
    const struct sent *s = peer_sent(&w->peer, "SUBSCRIBE", 0), *next;
    int n = 0;
    size_t len = fuzz_number(&w->in) % (sizeof body - 1);
    while ((next = peer_sent(&w->peer, "SUBSCRIBE", ++n)) != NULL) s = next;
    memset(body, 'm', len);
    body[len] = 0;
    peer_message(&w->peer, s ? sent_header(s, "id") : "none", "7\\c1", "/topic/a", body);
}

/* Sends a receipt: for the nth frame that requested one, as the test's broker does it, or for no
   frame. */
static void say_receipt(struct world *w) {
    unsigned nth = fuzz_byte(&w->in);
    const struct sent *s;
    for (s = w->peer.sent; s; s = s->next)
        if (stws_frame_header(&s->frame, "receipt") && nth-- == 0) break;
    peer_receipt(&w->peer, s ? sent_header(s, "receipt") : "nobody's");
}

static void say_close(struct world *w) {
    peer_close(&w->peer, (int)fuzz_number(&w->in), "the reason");
}

static void say_end(struct world *w) {
    static const int ends[] = {STWS_ERR_EOF, STWS_ERR_IO, STWS_ERR_TLS, STWS_ERR_CONNECT};
    w->peer.end_result = ends[fuzz_below(&w->in, 4)];
    peer_end(&w->peer);
}

/* What the server does automatically from now on. */
static void set_automatic(struct world *w) {
    w->peer.automatic = (int)(fuzz_byte(&w->in) & AUTO_ALL);
}

static void set_answer(struct world *w) {
    static const char *const answers[] = {
        PEER_ANSWER,
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nWelcome to SockJS!\n\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: "
        "upgrade\r\n"
        "Sec-WebSocket-Accept: @\r\n\r\n",
        "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\nlater",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\n\r\n",
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n",
        "o\n"};
    w->peer.answer = answers[fuzz_below(&w->in, 8)];
}

static void set_connected(struct world *w) {
    static const char *const frames[] = {
        "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n",
        "CONNECTED\nversion:1.2\nheart-beat:500,700\nserver:RabbitMQ/3.10.8\n\n",
        "CONNECTED\nversion:1.1\nheart-beat:1,4294967296\nserver:ActiveMQ/6.1\n\n",
        "CONNECTED\n\n",
        "CONNECTED\nversion:2.0\n\n",
        "ERROR\nmessage:Bad CONNECT\n\nAccess refused",
        "CONNECTED\nversion:1.2\nheart-beat:x\n\n",
        "CONNECTED\nversion:1.0\nsession:a:b\\c\nserver:ActiveMQ-Artemis/2.31\n\n"};
    w->peer.connected = frames[fuzz_below(&w->in, 8)];
}

/* ---- faults and time ---- */

static void set_transport(struct world *w) {
    static const int opens[] = {STWS_DONE, STWS_DONE, STWS_MORE, STWS_ERR_CONNECT};
    unsigned choice = fuzz_byte(&w->in);
    w->peer.open_result = opens[choice & 3];
    w->peer.write_blocked = choice >> 2 & 1;
    w->peer.piece = choice & 8 ? 1 + (choice >> 6) : 0;
    w->peer.write_piece = choice & 16 ? 1 + (choice >> 5) : 0;
    w->peer.trouble = choice & 32 ? "the cable is cut" : NULL;
}

static void set_faults(struct world *w) {
    unsigned choice = fuzz_byte(&w->in);
    w->no_memory = (int)(choice & 3);
    w->no_randomness = (int)(choice >> 2 & 3);
}

static void pass_time(struct world *w) {
    unsigned choice = fuzz_byte(&w->in);
    long long ms = choice < 128 ? (long long)choice : (long long)(choice - 127) * 250;
    if (ms > w->ms_left) ms = w->ms_left;
    w->ms_left -= ms;
    peer_advance(&w->peer, ms);
}

static void oversleep(struct world *w) {
    long long ms = (long long)fuzz_byte(&w->in) * 100;
    if (ms > w->ms_left) ms = w->ms_left;
    w->ms_left -= ms;
    w->peer.now_us += ms * 1000;
}

static void do_turn(struct world *w) {
    peer_turn(&w->peer);
}

/* ---- running an input ---- */

static void (*const records[])(struct world *w) = {
    do_turn,     say_text,       say_stomp,     say_any_frame,  say_raw,      say_message,
    say_receipt, say_close,      say_end,       set_automatic,  set_answer,   set_connected,
    pass_time,   oversleep,      set_transport, set_faults,     do_subscribe, do_unsubscribe,
    do_send,     do_send_header, do_ack,        do_transaction, do_end,       do_flush,
    do_callback, do_pop,         do_look};

enum { RECORDS = sizeof records / sizeof *records };

static stws_options options_of(struct world *w) {
    static const int versions[] = {0, STWS_STOMP_12, STWS_STOMP_11, STWS_STOMP_10};
    static const size_t rx_buffers[] = {0, 4096, 1024, 2048};
    stws_options o = peer_options(&w->peer);
    unsigned a = fuzz_byte(&w->in), b = fuzz_byte(&w->in), c = fuzz_byte(&w->in);
    w->peer.stepping = a & 1;
    o.utf8 = a & 2 ? STWS_UTF8_STRICT : STWS_UTF8_LENIENT;
    o.confirm = a >> 2 & 1;
    o.binary = a >> 3 & 1;
    o.versions = versions[a >> 4 & 3];
    o.rx_buffer = rx_buffers[a >> 6 & 3];
    o.outbox_policy = b & 1 ? STWS_FULL_DROP_OLDEST : STWS_FULL_FAIL;
    o.reconnect = b & 2 ? STWS_OFF : 0;
    o.heartbeat_out_ms = b & 4 ? 1000 : 0;
    o.heartbeat_in_ms = b & 8 ? 1000 : 0;
    o.max_ws_message = b & 16 ? 100 : 0;
    o.tx_buffer = b & 32 ? 2048 : 0;
    o.outbox_bytes = b & 64 ? 600 : 0;
    o.login = b & 128 ? "user" : NULL;
    o.passcode = b & 128 ? "p:w\\" : NULL;
    if (c & 1) o.queue = w->queue = stws_queue_create(2048);
    o.reconnect_attempts = (int)(c >> 1 & 3);
    o.max_subscriptions = c & 8 ? 2 : 0;
    o.max_receipts = c & 16 ? 4 : 0;
    o.max_body = MAX_BODY;
    o.max_line = MAX_LINE;
    o.max_headers = MAX_FRAME_HEADERS;
    o.allocator = &w->allocator;
    return o;
}

static void world_begin(struct world *w, const unsigned char *data, size_t size) {
    memset(w, 0, sizeof *w);
    peer_init(&w->peer);
    w->in.data = data;
    w->in.left = size;
    w->ms_left = MOST_MS;
    w->peer.extra = w;
    w->peer.on_event = on_event;
    w->allocator.ctx = w;
    w->allocator.alloc = world_alloc;
    w->allocator.release = world_release;
}

/* Requests the end. It must come within the time that the options allow, in any state of the
   client. */
static void world_end(struct world *w, size_t size) {
    struct peer *p = &w->peer;
    stws_stop(p->client);
    peer_turn(p);
    peer_advance(p, 60000);
    FUZZ_CHECK(p->ended != 0);
    if (p->ended != STWS_CLOSED) fuzz_check_sentence(stws_error_text(p->client));
    do_look(w);
    FUZZ_CHECK(w->most_allocated <= size + MEMORY_BEYOND);
    stws_message_free(w->last);
    peer_free(p);
    fflush(stdout);
    FUZZ_CHECK(test_case_failures == 0);
    FUZZ_CHECK(w->allocated == 0);
    stws_queue_destroy(w->queue);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    static struct world w;
    stws_options o;
    world_begin(&w, data, size);
    o = options_of(&w);
    w.peer.random.fill = world_fill;
    w.peer.transport.wants = world_wants;
    peer_start(&w.peer, &o);
    while (w.in.left > 0) {
        unsigned record = fuzz_byte(&w.in);
        records[record % RECORDS](&w);
        if (record < 128) peer_turn(&w.peer);
    }
    world_end(&w, stws_size(&o));
}
