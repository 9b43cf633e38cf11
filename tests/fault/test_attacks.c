/* test_attacks.c - attacks that hostile servers have used against other clients, tried on this
   client. Each test is a row of the attack table in .github/SECURITY.md, and
   tests/tools/check_attacks.py checks that the table and the tests agree. The client uses a
   counting allocator, so each attack shows how much memory it can make the client allocate. */
#include "scripted.h"

/* ==== counted memory ==== */

static struct {
    size_t now, most;
    int calls;
} taken;

static void *count_alloc(void *ctx, size_t size) {
    (void)ctx;
    taken.calls++;
    taken.now += size;
    if (taken.now > taken.most) taken.most = taken.now;
    return malloc(size);
}

static void count_release(void *ctx, void *block, size_t size) {
    (void)ctx;
    taken.now -= size;
    free(block);
}

static const stws_allocator counting = {NULL, count_alloc, count_release};

enum { MAX_BODY = 100000, MAX_LINE = 4096 };

/* The most that a message may add to the input buffer: the larger new buffer while the smaller one
   still exists. */
enum { GROWTH = 2 * (MAX_BODY + MAX_LINE + 65536) };

static size_t own_block; /* what the client has allocated before the session */

static void begin(struct peer *p) {
    stws_options o;
    memset(&taken, 0, sizeof taken);
    peer_init(p);
    o = peer_options(p);
    o.allocator = &counting;
    o.max_body = MAX_BODY;
    o.max_line = MAX_LINE;
    o.utf8 = STWS_UTF8_STRICT;
    peer_start(p, &o);
    own_block = taken.now;
}

static void begin_session(struct peer *p) {
    begin(p);
    CHECK(peer_connect(p));
}

/* Checks the client's reaction: the error, the code of its close frame (0: none sent), and the
   memory. */
static void check_answer(struct peer *p, int code, int close_code, size_t memory) {
    peer_turn(p);
    if (code != STWS_OK) CHECK_STR(stws_result_name(code), stws_result_name(p->result));
    CHECK_INT(close_code, p->close_code);
    CHECK(taken.most <= own_block + memory);
    peer_free(p);
    CHECK_INT(0, taken.now);
}

static void attack(const char *wire, size_t len, int code, int close_code) {
    struct peer p;
    begin_session(&p);
    peer_raw(&p, wire, len);
    check_answer(&p, code, close_code, 0);
}

#define ATTACK(wire, code, close_code) attack(wire, sizeof(wire) - 1, code, close_code)

/* ==== the upgrade ==== */

static void answer_upgrade(const char *answer, int code) {
    struct peer p;
    begin(&p);
    p.answer = answer;
    peer_turn(&p);
    CHECK_INT(0, peer_count(&p, "CONNECT")); /* such a server gets no CONNECT and no passcode */
    check_answer(&p, code, 0, 0);
}

#define UPGRADE "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

static void test_a_101_that_proves_nothing(void) {
    answer_upgrade("HTTP/1.1 101 \r\n\r\n", STWS_ERR_HTTP_UPGRADE);
    answer_upgrade(UPGRADE "\r\n", STWS_ERR_HTTP_UPGRADE);
    answer_upgrade(UPGRADE "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                   STWS_ERR_HTTP_UPGRADE);
    answer_upgrade(UPGRADE "Sec-WebSocket-Accept:\r\n\r\n", STWS_ERR_HTTP_UPGRADE);
}

static void test_a_redirect_is_not_followed(void) {
    answer_upgrade("HTTP/1.1 302 \r\nContent-Length: 0\r\nLocation: ws://elsewhere.test/\r\n\r\n",
                   STWS_ERR_HTTP_STATUS);
}

static void test_compression_that_was_not_offered(void) {
    answer_upgrade(UPGRADE "Sec-WebSocket-Accept: @\r\n"
                           "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
                   STWS_ERR_HTTP_EXTENSION);
    answer_upgrade(UPGRADE "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Extensions: "
                           "permessage-deflate; server_max_window_bits=99\r\n\r\n",
                   STWS_ERR_HTTP_EXTENSION);
    ATTACK("\xC1\x01x", STWS_ERR_WS_PROTOCOL, 1002); /* RSV1: compressed */
}

/* One byte per read. A parser that scans the head from its beginning each time would take
   forever. */
static void test_a_head_without_end(void) {
    struct peer p;
    int i;
    begin(&p);
    p.answer = "HTTP/1.1 101 \r\nX: ";
    p.piece = 1;
    peer_turn(&p);
    for (i = 0; i < 4000; i++) peer_say(&p, "xxxxxxxxxxxxxxxxxxxxxxxxx");
    peer_turn(&p);
    CHECK(p.given < 20000);
    check_answer(&p, STWS_ERR_HTTP_LIMIT, 0, 0);
}

/* ==== WebSocket frames ==== */

/* A head that declares a length of up to 64 bits. The client allocates nothing before the data
   arrives. */
static void test_lengths_that_overflow(void) {
    ATTACK("\x82\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", STWS_ERR_WS_PROTOCOL, 1002);
    ATTACK("\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00", STWS_ERR_WS_PROTOCOL, 1002);
    ATTACK("\x82\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", STWS_OK, 0);
    ATTACK("\x82\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xF6", STWS_OK, 0);
    ATTACK("\x82\x7F\x00\x00\x00\x01\x00\x00\x00\x00", STWS_OK, 0);
    ATTACK("\x82\x7F\x00\x00\x00\x00\xFF\xFF\xFF\xFF", STWS_OK, 0);
}

static void test_a_message_without_end(void) {
    struct peer p;
    char piece[1000];
    int i;
    begin_session(&p);
    memset(piece, 'x', sizeof piece);
    peer_ws(&p, STWS_WS_TEXT, 0, "MESSAGE\ndestination:/a\nmessage-id:1\nsubscription:1\n\n", 52);
    for (i = 0; i < 2000 && !p.close_code; i++) {
        peer_ws(&p, STWS_WS_CONTINUATION, 0, piece, sizeof piece);
        peer_turn(&p);
    }
    CHECK(p.given < GROWTH);
    check_answer(&p, STWS_ERR_FRAME_BODY, 1009, GROWTH);
}

static void test_a_flood_of_empty_fragments(void) {
    struct peer p;
    int i;
    begin_session(&p);
    peer_ws(&p, STWS_WS_TEXT, 0, "", 0);
    for (i = 0; i < 100000 && !p.close_code; i++) {
        peer_ws(&p, STWS_WS_CONTINUATION, 0, "", 0);
        if (i % 1000 == 0) peer_turn(&p);
    }
    CHECK(i < 70000);
    check_answer(&p, STWS_ERR_WS_LIMIT, 1009, 0);
}

/* The client's output is stalled. For a read full of PINGs it owes only one PONG, for the last
   PING. */
static void test_a_flood_of_pings(void) {
    enum { PINGS = 20000, A_READ = 100 };
    struct peer p;
    char payload[16];
    int i;
    begin_session(&p);
    p.write_blocked = 1;
    for (i = 0; i < PINGS; i++) {
        snprintf(payload, sizeof payload, "%d", i);
        peer_ws(&p, STWS_WS_PING, 1, payload, strlen(payload));
        if (i % A_READ == A_READ - 1) peer_turn(&p);
    }
    p.write_blocked = 0;
    peer_turn(&p);
    CHECK_STR("19999", bytes_text(&p.last_pong));
    CHECK(p.order.len < (PINGS / A_READ + 1) * sizeof "PONG(19999)");
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    check_answer(&p, STWS_OK, 0, 0);
}

static void test_control_frames_out_of_bounds(void) {
    ATTACK("\x88\x7E\x00\x80", STWS_ERR_WS_PROTOCOL, 1002); /* a close of 128 bytes */
    ATTACK("\x89\x7F\x00\x00\x00\x00\x00\x01\x00\x00", STWS_ERR_WS_PROTOCOL, 1002);
    ATTACK("\x88\x01x", STWS_ERR_WS_PROTOCOL, 1002);
    ATTACK("\x08\x00", STWS_ERR_WS_PROTOCOL, 1002);
    /* Empty: a parser that subtracts 2 from its length underflows. */
    ATTACK("\x88\x00", STWS_ERR_WS_CLOSE, 1005);
}

static void test_a_server_that_masks(void) {
    ATTACK("\x81\x81\1\2\3\4x", STWS_ERR_WS_PROTOCOL, 1002);
}

static void test_text_that_is_not_utf8(void) {
    ATTACK("\x81\x04\xF8\x88\x80\x80", STWS_ERR_WS_UTF8, 1007);
    ATTACK("\x01\x01\n\x80\x01\xFF", STWS_ERR_WS_UTF8, 1007);
}

/* ==== STOMP frames ==== */

static void stomp(const char *frame, int code, int close_code, size_t memory) {
    struct peer p;
    begin_session(&p);
    peer_ws(&p, STWS_WS_TEXT, 1, frame, strlen(frame));
    check_answer(&p, code, close_code, memory);
}

static void test_content_lengths_that_overflow(void) {
    stomp("MESSAGE\ncontent-length:18446744073709551615\n\n", STWS_ERR_FRAME_BODY, 1009, 0);
    stomp("MESSAGE\ncontent-length:18446744073709551616\n\n", STWS_ERR_FRAME_BODY, 1009, 0);
    stomp("MESSAGE\ncontent-length:9223372036854775807\n\n", STWS_ERR_FRAME_BODY, 1009, 0);
    stomp("MESSAGE\ncontent-length:4294967296\n\n", STWS_ERR_FRAME_BODY, 1009, 0);
    stomp("MESSAGE\ncontent-length:-1\n\n", STWS_ERR_FRAME_LENGTH, 1002, 0);
}

static void test_a_line_without_end(void) {
    struct bytes frame = {0};
    bytes_add(&frame, "MESSAGE\nx:", 10);
    while (frame.len < 60000) bytes_add(&frame, "xxxxxxxxxx", 10);
    stomp(frame.data, STWS_ERR_FRAME_LINE, 1009, 0);
    bytes_free(&frame);
}

static void test_a_flood_of_headers(void) {
    struct bytes frame = {0};
    bytes_add(&frame, "MESSAGE\n", 8);
    while (frame.len < 30000) bytes_add(&frame, "a:b\n", 4);
    stomp(frame.data, STWS_ERR_FRAME_HEADERS, 1009, 0);
    bytes_free(&frame);
}

static void test_a_flood_of_heart_beats(void) {
    struct peer p;
    char beats[50000];
    int i;
    begin_session(&p);
    memset(beats, '\n', sizeof beats);
    for (i = 0; i < 20; i++) {
        peer_ws(&p, STWS_WS_TEXT, 1, beats, sizeof beats);
        peer_turn(&p);
    }
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    check_answer(&p, STWS_OK, 0, 0);
}

/* Unknown receipts and messages of unknown subscriptions. */
static void test_frames_that_nobody_asked_for(void) {
    struct peer p;
    int i;
    begin_session(&p);
    for (i = 0; i < 2000; i++) {
        peer_receipt(&p, "never-asked");
        peer_message(&p, "nobody", "1", "/topic/none", "x");
        if (i % 100 == 99) peer_turn(&p), peer_forget(&p);
    }
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    check_answer(&p, STWS_OK, 0, 0);
}

/* ==== what the client sends ==== */

static struct {
    struct bytes raw; /* all bytes that were written */
    long (*write)(void *ctx, const char *buf, size_t len);
} wire;

static long record_write(void *ctx, const char *buf, size_t len) {
    long n = wire.write(ctx, buf, len);
    if (n > 0) bytes_add(&wire.raw, buf, (size_t)n);
    return n;
}

static void begin_recorded(struct peer *p) {
    stws_options o;
    memset(&wire, 0, sizeof wire);
    peer_init(p);
    o = peer_options(p);
    wire.write = p->transport.write;
    p->transport.write = record_write;
    peer_start(p, &o);
    CHECK(peer_connect(p));
    bytes_clear(&wire.raw);
}

enum { FRAMES = 300 };

/* All frames have the same length, so the place of each masking key is known. */
static void test_masks_that_do_not_repeat(void) {
    unsigned char keys[FRAMES][4];
    struct peer p;
    size_t each, at;
    int i, j, same = 0, zero = 0;
    begin_recorded(&p);
    for (i = 0; i < FRAMES; i++) CHECK_INT(0, stws_send(p.client, "/queue/a", "same", 4));
    peer_turn(&p);
    each = wire.raw.len / FRAMES;
    CHECK_INT(0, wire.raw.len % FRAMES);
    for (i = 0; i < FRAMES; i++) {
        at = (size_t)i * each;
        CHECK_INT(0x81, (unsigned char)wire.raw.data[at]);
        memcpy(keys[i], wire.raw.data + at + 2, 4);
        zero += memcmp(keys[i], "\0\0\0\0", 4) == 0;
        for (j = 0; j < i; j++) same += memcmp(keys[i], keys[j], 4) == 0;
    }
    CHECK_INT(0, same);
    CHECK_INT(0, zero);
    peer_free(&p);
    bytes_free(&wire.raw);
}

/* The close frame has only the code. No further byte from memory is sent. */
static void test_the_close_frame_is_all_ours(void) {
    struct peer p;
    begin_recorded(&p);
    peer_close(&p, 1000, "");
    peer_turn(&p);
    CHECK_INT(8, wire.raw.len); /* head, key, code */
    CHECK_MEM("\x88\x82", 2, wire.raw.data, 2);
    peer_free(&p);
    bytes_free(&wire.raw);
}

static int no_randomness(void *ctx, void *out, size_t len) {
    (void)ctx, (void)out, (void)len;
    return -1;
}

/* Without randomness from the system there is no connection, and never a guessed key. */
static void test_no_randomness_no_connection(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    p.random.fill = no_randomness;
    peer_start(&p, &o);
    peer_turn(&p);
    CHECK_STR("STWS_ERR_IO", stws_result_name(p.result));
    CHECK_HAS("random", stws_error_text(p.client));
    CHECK_INT(0, p.request.len);
    peer_free(&p);
}

static void test_urls_without_end(void) {
    struct bytes url = {0};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    bytes_add(&url, "ws://", 5);
    while (url.len < 1000000) bytes_add(&url, "xxxxxxxxxx", 10);
    o.url = url.data;
    peer_start(&p, &o);
    peer_turn(&p);
    CHECK_STR("STWS_ERR_URL", stws_result_name(p.ended));
    peer_free(&p);
    bytes_free(&url);
}

int main(void) {
    RUN(test_a_101_that_proves_nothing);
    RUN(test_a_redirect_is_not_followed);
    RUN(test_compression_that_was_not_offered);
    RUN(test_a_head_without_end);
    RUN(test_lengths_that_overflow);
    RUN(test_a_message_without_end);
    RUN(test_a_flood_of_empty_fragments);
    RUN(test_a_flood_of_pings);
    RUN(test_control_frames_out_of_bounds);
    RUN(test_a_server_that_masks);
    RUN(test_text_that_is_not_utf8);
    RUN(test_content_lengths_that_overflow);
    RUN(test_a_line_without_end);
    RUN(test_a_flood_of_headers);
    RUN(test_a_flood_of_heart_beats);
    RUN(test_frames_that_nobody_asked_for);
    RUN(test_masks_that_do_not_repeat);
    RUN(test_the_close_frame_is_all_ours);
    RUN(test_no_randomness_no_connection);
    RUN(test_urls_without_end);
    return test_report();
}
