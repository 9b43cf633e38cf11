// Does a known amount of work, so that instructions.py can count its instructions. Each mode runs
// with two amounts. The difference of the two counts contains only the cost of the additional
// messages.
#define STOMP_WS_IMPLEMENTATION
#include "../../stomp_ws.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "usage: bench_count receive|receive-next|receive-locked URL\n"
    "       bench_count publish|publish-locked|publish-in-turn URL "
    "COUNT SIZE\n"
    "       bench_count parse|build HEADERS COUNT\n"
    "       bench_count utf8 SIZE COUNT\n"
    "       bench_count pieces|parse-pieces SIZE PIECE\n"
    "       bench_count subscriptions|subscriptions-named MANY COUNT\n";

enum { SILENCE_MS = 60000, MAX_HEADERS = 512, MAX_FRAME = 64 << 10 };

static size_t seen, allocations;

static void check(int ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "bench_count: %s\n", what);
    exit(EXIT_FAILURE);
}

static void *allocate(void *ctx, size_t size) {
    (void)ctx;
    allocations++;
    return malloc(size);
}

static void release(void *ctx, void *block, size_t size) {
    (void)ctx, (void)size;
    free(block);
}

static const stws_allocator allocator = {NULL, allocate, release};

static stws_options options(const char *url) {
    stws_options o;
    memset(&o, 0, sizeof o);
    o.url = url;
    o.single_thread = 1;
    o.reconnect = STWS_OFF;
    o.allocator = &allocator;
    return o;
}

// ---- a real socket, connected to build/bench_server ----

static void read_message(stws *client, const stws_message *m, void *user) {
    (void)user;
    // "/topic/end". Only one byte is compared, because the client's instructions are measured here,
    // not ours.
    if (m->destination[7] == 'e')
        stws_stop(client);
    else
        seen += m->body_len + (unsigned char)m->message_id[0];
}

static void report(stws *client, size_t allocations_before) {
    stws_statistics n;
    stws_stats(client, &n);
    printf("{\"allocations\":%zu,\"bytes_in\":%llu,\"reads\":%llu,\"bytes_out\":%llu,"
           "\"writes\":%llu}\n",
           allocations - allocations_before, n.bytes_in, n.reads, n.bytes_out, n.writes);
}

static stws *connect_to(const stws_options *o) {
    stws *client = stws_create(o);
    int result = stws_connect(client, SILENCE_MS);
    check(result == STWS_OK, stws_error_text(client));
    return client;
}

static void receive(const char *url, int single_thread) {
    stws_options o = options(url);
    size_t before;
    stws *client;
    o.single_thread = single_thread;
    o.on_message = read_message;
    client = connect_to(&o);
    before = allocations;
    stws_subscribe(client, "/topic/bench", NULL);
    check(stws_run(client) == STWS_OK && seen > 0, stws_error_text(client));
    report(client, before);
    stws_destroy(client);
}

static void receive_next(const char *url) {
    stws_options o = options(url);
    stws *client = connect_to(&o);
    size_t before = allocations;
    stws_event e;
    int result;
    stws_subscribe(client, "/topic/bench", NULL);
    while ((result = stws_next(client, &e, SILENCE_MS)) > 0)
        if (e.type == STWS_EVENT_MESSAGE) read_message(client, e.message, NULL);
    check(result == STWS_CLOSED && seen > 0, stws_error_text(client));
    report(client, before);
    stws_destroy(client);
}

// Publishes to two destinations in turn. No two consecutive messages have the same destination, so
// the client cannot reuse the encoded head of the last one.
static void publish(const char *url, long count, size_t size, const char *mode) {
    static const char *const sinks[] = {"/topic/sink", "/topic/sunk"};
    int in_turn = strcmp(mode, "publish-in-turn") == 0;
    stws_options o = options(url);
    char *body = (char *)malloc(size + 1);
    size_t before;
    stws *client;
    check(body != NULL, "no memory");
    memset(body, 'x', size);
    o.single_thread = strcmp(mode, "publish-locked") != 0;
    client = connect_to(&o);
    before = allocations;
    for (; count > 0; count--) {
        const char *sink = sinks[in_turn ? count & 1 : 0];
        int result = stws_send(client, sink, body, size);
        if (result == STWS_ERR_FULL && stws_flush(client, SILENCE_MS) == STWS_OK)
            result = stws_send(client, sink, body, size);
        if (result != STWS_OK) check(0, stws_error_text(client));
    }
    check(stws_flush(client, SILENCE_MS) == STWS_OK, stws_error_text(client));
    report(client, before);
    stws_destroy(client);
    free(body);
}

// ---- the codecs alone ----

// Headers of a MESSAGE: first the usual headers that every broker sends, then others.
static size_t make_headers(stws_header *headers, char (*names)[32], size_t count) {
    static const char *const usual[][2] = {
        {"destination", "/topic/bench"}, {"message-id", "session-1234-0000001"},
        {"subscription", "sub-1"},       {"content-type", "text/plain;charset=utf-8"},
        {"timestamp", "1700000000000"},  {"priority", "4"},
    };
    size_t i;
    memset(headers, 0, count * sizeof *headers);
    for (i = 0; i < count; i++) {
        int is_usual = i < sizeof usual / sizeof usual[0];
        if (!is_usual) sprintf(names[i], "x-application-%03u", (unsigned)i);
        headers[i].name = is_usual ? usual[i][0] : names[i];
        headers[i].value = is_usual ? usual[i][1] : "some value of 24 bytes..";
    }
    return count;
}

// The frame is in static tables. It is made one time and built as often as requested.
static const stws_frame *make_frame(size_t header_count) {
    static char names[MAX_HEADERS][32];
    static stws_header headers[MAX_HEADERS];
    static const char body[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static stws_frame frame;
    check(header_count <= MAX_HEADERS, "too many headers");
    frame.command_id = STWS_COMMAND_MESSAGE;
    frame.headers = headers;
    frame.header_count = make_headers(headers, names, header_count);
    frame.body = body;
    frame.body_len = sizeof body - 1;
    return &frame;
}

static size_t build_one(char *out, const stws_frame *frame) {
    size_t need;
    check(stws_frame_build(out, MAX_FRAME, STWS_STOMP_12, frame, &need) == STWS_OK,
          "a frame that cannot be built");
    return need;
}

static void build(size_t header_count, long count) {
    static char out[MAX_FRAME];
    const stws_frame *frame = make_frame(header_count);
    for (; count > 0; count--) seen += build_one(out, frame);
}

// Parsing changes a frame in place, so the frame is copied again before each parse. The
// instructions of that memcpy are counted, too.
static void parse(size_t header_count, long count) {
    static char original[MAX_FRAME], copy[MAX_FRAME];
    static stws_header headers[MAX_HEADERS + 1];
    size_t len = build_one(original, make_frame(header_count)), used;
    for (; count > 0; count--) {
        stws_frame_state state;
        stws_frame frame;
        memset(&state, 0, sizeof state);
        state.version = STWS_STOMP_12;
        state.headers = headers;
        state.max_headers = MAX_HEADERS + 1;
        memcpy(copy, original, len);
        check(stws_frame_parse(copy, len, &state, &frame, &used) == STWS_DONE && used == len,
              "a frame that cannot be parsed");
        seen += frame.header_count;
    }
}

// Text with characters of one to four bytes.
static void utf8(size_t size, long count) {
    static const char piece[] = "Gr\xC3\xBC\xC3\x9F"
                                "e \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80 abc, ";
    char *text = (char *)malloc(size);
    size_t i;
    check(text != NULL, "no memory");
    memset(text, ' ', size);
    for (i = 0; i + sizeof piece <= size; i += sizeof piece - 1)
        memcpy(text + i, piece, sizeof piece - 1);
    for (; count > 0; count--) check(stws_utf8_valid(text, size), "text that is not valid");
    free(text);
}

// ---- a complete client on a simulated server, which delivers a message in pieces ----

typedef struct script {
    char answer[1024];
    size_t message_len, len, at, piece;
    char *message;
    const char *out;
    int stage;
} script;

static void say(script *s, const char *out, size_t len) {
    s->out = out;
    s->len = len;
    s->at = 0;
}

static void answer_upgrade(script *s, const char *data, size_t len) {
    char request[4096];
    stws_header headers[32];
    stws_http http;
    size_t used, need;
    memset(&http, 0, sizeof http);
    http.headers = headers;
    http.max_headers = 32;
    check(len < sizeof request, "a long request");
    memcpy(request, data, len);
    check(stws_handshake_parse(request, len, &http, &used) == STWS_DONE, "no request");
    stws_handshake_answer(s->answer, sizeof s->answer, &http, "v12.stomp", &need);
    say(s, s->answer, need);
}

static void answer_connect(script *s) {
    static const char connected[] = "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n";
    size_t need;
    stws_ws_build(s->answer, sizeof s->answer, STWS_WS_TEXT, 1, connected, sizeof connected, NULL,
                  &need);
    say(s, s->answer, need);
}

static int script_open(void *ctx, const stws_endpoint *to) {
    (void)ctx, (void)to;
    return STWS_DONE;
}

static long script_write(void *ctx, const char *data, size_t len) {
    script *s = (script *)ctx;
    switch (s->stage++) {
        case 0: answer_upgrade(s, data, len); break;
        case 1: answer_connect(s); break;
        case 2: say(s, s->message, s->message_len); break;
        default: break;
    }
    return (long)len;
}

static long script_read(void *ctx, char *out, size_t len) {
    script *s = (script *)ctx;
    if (len > s->piece) len = s->piece;
    if (len > s->len - s->at) len = s->len - s->at;
    memcpy(out, s->out + s->at, len);
    s->at += len;
    return (long)len;
}

static void script_close(void *ctx) {
    (void)ctx;
}

static int script_fd(void *ctx) {
    (void)ctx;
    return -1;
}

static int script_wants(void *ctx, int wants) {
    const script *s = (const script *)ctx;
    return s->at < s->len ? wants | STWS_WANT_NOW : wants;
}

static void make_message(script *s, size_t size) {
    char *frame = (char *)malloc(size + 256);
    size_t len;
    s->message = (char *)malloc(size + 512);
    check(frame && s->message, "no memory");
    len = (size_t)sprintf(frame,
                          "MESSAGE\nsubscription:1\nmessage-id:m\ndestination:/topic/a\n"
                          "content-length:%zu\n\n",
                          size);
    memset(frame + len, 'x', size);
    frame[len + size] = 0;
    stws_ws_build(s->message, size + 512, STWS_WS_TEXT, 1, frame, len + size + 1, NULL,
                  &s->message_len);
    free(frame);
}

static void stop_after(stws *client, const stws_message *m, void *user) {
    check(m->body_len == *(const size_t *)user, "a body was cut");
    seen += m->body_len;
    stws_stop(client);
}

static void pieces(size_t size, size_t piece) {
    static script s;
    stws_transport transport = {&s,           script_open, script_read,  script_write,
                                script_close, script_fd,   script_wants, NULL};
    stws_options o = options("ws://127.0.0.1/pieces");
    stws *client;
    make_message(&s, size);
    s.piece = piece;
    o.transport = &transport;
    o.max_body = size;
    o.on_message = stop_after;
    o.user = &size;
    client = stws_create(&o);
    stws_subscribe(client, "/topic/a", NULL);
    check(stws_run(client) == STWS_OK && seen == size, stws_error_text(client));
    stws_destroy(client);
    free(s.message);
}

// The same for the parsers alone. Received bytes are appended to the input, and both parsers are
// called after each piece.
static void parse_pieces(size_t size, size_t piece) {
    static script s;
    static stws_header headers[MAX_HEADERS];
    stws_ws ws;
    stws_ws_event event;
    stws_frame_state state;
    stws_frame frame;
    size_t at, used, stomp = 0, parsed = 0;
    char *begin = NULL;
    int result = STWS_MORE;
    memset(&ws, 0, sizeof ws);
    memset(&state, 0, sizeof state);
    state.version = STWS_STOMP_12;
    state.headers = headers;
    state.max_headers = MAX_HEADERS;
    state.max_body = size;
    make_message(&s, size);
    for (at = 0; at < s.message_len; at += used) {
        size_t here = s.message_len - at < piece ? s.message_len - at : piece;
        // A WebSocket frame header is parsed only when it is complete, so the first piece contains
        // all of it.
        if (at == 0) here = s.message_len - (size + 1) < 14 ? s.message_len : 14;
        if (stws_ws_parse(s.message + at, here, &ws, &event, &used) != STWS_DONE) exit(1);
        if (!begin) begin = event.data;
        stomp += event.len;
        result = stws_frame_parse(begin, stomp, &state, &frame, &parsed);
        check(result >= 0 && used > 0, "a message that cannot be parsed");
    }
    check(result == STWS_DONE && frame.body_len == size, "a body was cut");
    free(s.message);
}

// ---- many subscriptions: messages go to them in turn, and consecutive ones are far apart ----

enum { IN_BLOCK = 100 }; // different messages that are made; they are then repeated

static int whose(long message, int many) {
    return (int)(message % IN_BLOCK * 7919 % many);
}

static void make_messages(script *s, int many, const char *id) {
    static const char rest[] = "\nmessage-id:session-1234-0000001\ndestination:/topic/a\n\nbody";
    const size_t room = 256;
    long i;
    s->message = (char *)malloc(IN_BLOCK * room);
    check(s->message != NULL, "no memory");
    for (i = 0; i < IN_BLOCK; i++) {
        char frame[128 + sizeof rest];
        int len = sprintf(frame, "MESSAGE\nsubscription:%s%d%s", id, whose(i, many) + 1, rest);
        size_t need;
        stws_ws_build(s->message + s->message_len, room, STWS_WS_TEXT, 1, frame, (size_t)len + 1,
                      NULL, &need);
        s->message_len += need;
    }
}

// How many messages are still to come, for this subscription and in total.
typedef struct awaited {
    long here, *all;
} awaited;

static void await_less(stws *client, const stws_message *m, void *user) {
    awaited *a = (awaited *)user;
    seen += m->body_len;
    a->here--;
    if (--*a->all == 0) stws_stop(client);
}

static long read_again(void *ctx, char *out, size_t len) {
    script *s = (script *)ctx;
    if (s->out == s->message && s->at == s->len) s->at = 0;
    return script_read(ctx, out, len);
}

static int wants_again(void *ctx, int wants) {
    const script *s = (const script *)ctx;
    return s->out == s->message ? wants | STWS_WANT_NOW : script_wants(ctx, wants);
}

static void subscribe_all(stws *client, awaited *each, int many, const char *id) {
    int i;
    for (i = 0; i < many; i++) {
        char name[32];
        stws_subscribe_options o;
        memset(&o, 0, sizeof o);
        sprintf(name, "%s%d", id, i + 1);
        if (strcmp(id, "sub-") != 0) o.id = name;
        o.on_message = await_less;
        o.user = &each[i];
        check(stws_subscribe(client, "/topic/a", &o) > 0, stws_error_text(client));
    }
}

static void subscriptions(int many, long count, const char *id) {
    static script s;
    stws_transport transport = {&s,           script_open, read_again,  script_write,
                                script_close, script_fd,   wants_again, NULL};
    stws_options o = options("ws://127.0.0.1/subscriptions");
    awaited *each = (awaited *)calloc((size_t)many, sizeof *each);
    long i, left = count;
    stws *client;
    check(each != NULL, "no memory");
    for (i = 0; i < many; i++) each[i].all = &left;
    for (i = 0; i < count; i++) each[whose(i, many)].here++;
    make_messages(&s, many, id);
    s.piece = 64 << 10;
    o.transport = &transport;
    o.max_subscriptions = many;
    o.subscription_bytes = 64;
    client = stws_create(&o);
    subscribe_all(client, each, many, id);
    check(stws_run(client) == STWS_OK && left == 0, stws_error_text(client));
    for (i = 0; i < many; i++) check(each[i].here == 0, "a message went to another subscription");
    stws_destroy(client);
    free(s.message);
    free(each);
}

static int run(const char *mode, const char *first, const char *second, const char *third) {
    size_t number = (size_t)atol(first);
    if (strcmp(mode, "receive") == 0) return receive(first, 1), 0;
    if (strcmp(mode, "receive-locked") == 0) return receive(first, 0), 0;
    if (strcmp(mode, "receive-next") == 0) return receive_next(first), 0;
    if (!second) return -1;
    if (strcmp(mode, "parse") == 0) return parse(number, atol(second)), 0;
    if (strcmp(mode, "build") == 0) return build(number, atol(second)), 0;
    if (strcmp(mode, "utf8") == 0) return utf8(number, atol(second)), 0;
    if (strcmp(mode, "parse-pieces") == 0) return parse_pieces(number, (size_t)atol(second)), 0;
    if (strcmp(mode, "pieces") == 0) return pieces(number, (size_t)atol(second)), 0;
    if (strcmp(mode, "subscriptions") == 0)
        return subscriptions((int)number, atol(second), "sub-"), 0;
    if (strcmp(mode, "subscriptions-named") == 0)
        return subscriptions((int)number, atol(second), "box-"), 0;
    if (!third || strncmp(mode, "publish", 7) != 0) return -1;
    return publish(first, atol(second), (size_t)atol(third), mode), 0;
}

int main(int argc, char **argv) {
    if (argc < 3 || run(argv[1], argv[2], argv[3], argc > 4 ? argv[4] : NULL) != 0)
        return fputs(usage_text, stderr), 2;
    return EXIT_SUCCESS;
}
