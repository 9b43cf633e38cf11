/* Tests all headers of WebSocket frames: every value of the first two bytes, with every form of the
   length at its boundaries, for both roles, before and inside a fragmented message. Each result of
   stws_ws_parse is compared with an oracle, which is written from the text of RFC 6455, section
   5.2, and shares no code with the parser. */
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

enum { MOST_HEAD = 14, MOST_PAYLOAD = 125, LIMIT = 70000 };

static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* ==== the oracle ==== */

/* The state before the frame: the role of the parser, and whether a text message is open. */
struct setting {
    int server, inside;
    size_t max_message;
};

struct head {
    int result, close_code;
    size_t bytes;               /* size of the header */
    unsigned long long payload; /* the announced length */
};

/* "If 0-125, that is the payload length. If 126, the following 2 bytes [...] If 127, the following
   8 bytes". */
static size_t length_bytes(unsigned second) {
    unsigned seven = second & 0x7F;
    return seven == 126 ? 2 : seven == 127 ? 8 : 0;
}

static unsigned long long length_of(const unsigned char *head) {
    unsigned long long n = 0;
    size_t bytes = length_bytes(head[1]), i;
    if (bytes == 0) return head[1] & 0x7F;
    for (i = 0; i < bytes; i++) n = 256 * n + head[2 + i];
    return n;
}

static int is_control(unsigned opcode) {
    return (opcode & 8) != 0;
}

/* Returns 1 if the first two bytes alone break a rule. */
static int breaks_a_rule(const unsigned char *head, const struct setting *s) {
    unsigned fin = head[0] >> 7, reserved = head[0] >> 4 & 7, opcode = head[0] & 15;
    unsigned masked = head[1] >> 7;
    if (reserved != 0) return 1;              /* "MUST be 0 unless an extension is negotiated" */
    if ((int)masked != s->server) return 1;   /* 5.1: a client masks, a server does not */
    if (opcode >= 3 && opcode <= 7) return 1; /* reserved for further non-control frames */
    if (opcode >= 11) return 1;               /* and for further control frames */
    if (is_control(opcode) && !fin) return 1; /* 5.5: MUST NOT be fragmented */
    if (is_control(opcode) && (head[1] & 0x7F) > 125) return 1; /* 5.5: 125 bytes or less */
    if (opcode == 0 && !s->inside) return 1;          /* 5.4: a continuation continues something */
    return (opcode == 1 || opcode == 2) && s->inside; /* 5.4: messages are not interleaved */
}

/* "the minimal number of bytes MUST be used"; "the most significant bit MUST be 0". */
static int breaks_length(const unsigned char *head) {
    unsigned long long n = length_of(head);
    if (length_bytes(head[1]) == 2) return n <= 125;
    if (length_bytes(head[1]) == 8) return n <= 65535 || n > 9223372036854775807ULL;
    return 0;
}

static struct head oracle(const unsigned char *head, const struct setting *s) {
    struct head h = {STWS_MORE, 0, 0, 0};
    h.bytes = 2 + length_bytes(head[1]) + (s->server ? 4 : 0);
    h.payload = length_of(head);
    if (breaks_a_rule(head, s) || breaks_length(head)) {
        h.result = STWS_ERR_WS_PROTOCOL;
        h.close_code = 1002;
    } else if (!is_control(head[0] & 15) && s->max_message && h.payload > s->max_message) {
        h.result = STWS_ERR_WS_LIMIT;
        h.close_code = 1009;
    }
    return h;
}

/* ==== the comparison ==== */

static unsigned long long tried;

/* Prints a mismatch with its bytes. Only the first five mismatches are printed. */
static void differ(const unsigned char *head, size_t len, const struct setting *s,
                   const char *what) {
    size_t i;
    test_case_failures++;
    if (test_case_failures > 5) return;
    printf("%s: server %d, inside %d, limit %zu, bytes", what, s->server, s->inside,
           s->max_message);
    for (i = 0; i < len; i++) printf(" %02x", head[i]);
    printf("\n");
}

static stws_ws ws_of(const struct setting *s) {
    static const unsigned char open_text[] = {0x01, 0x80, 0x37, 0xfa, 0x21, 0x3d};
    unsigned char open_plain[] = {0x01, 0x00};
    char copy[sizeof open_text];
    stws_ws ws = {0};
    stws_ws_event event;
    size_t used, len = s->server ? sizeof open_text : sizeof open_plain;
    ws.server = s->server;
    ws.max_message = s->max_message;
    if (!s->inside) return ws;
    memcpy(copy, s->server ? open_text : open_plain, len);
    CHECK_INT(STWS_DONE, stws_ws_parse(copy, len, &ws, &event, &used));
    return ws;
}

/* An incomplete header at the very end of a block. The parser may decide only what the present
   bytes determine, and must not read past them. */
static void check_cut(const unsigned char *head, size_t len, const struct setting *s,
                      const stws_ws *fresh, const struct head *expected) {
    stws_ws ws = *fresh;
    stws_ws_event event;
    size_t used = 0;
    char *block = exact_copy(head, len);
    int result = stws_ws_parse(block, len, &ws, &event, &used);
    if (used != 0) differ(head, len, s, "bytes of an incomplete header were consumed");
    if (result == STWS_DONE) differ(head, len, s, "an incomplete header made an event");
    if (result < 0 && result != expected->result)
        differ(head, len, s, "a wrong error for an incomplete header");
    free(block);
}

/* Checks `first` and `last`: a message may have begun before this frame, and this frame's payload
   may be incomplete. */
static int is_event_of(const stws_ws_event *e, unsigned byte, const struct setting *s,
                       const struct head *h) {
    int opcode = (int)(byte & 15), fin = byte >> 7 == 1;
    int first = is_control(byte & 15) || !s->inside, last = fin && h->payload <= MOST_PAYLOAD;
    if ((int)e->opcode != (opcode ? opcode : (int)STWS_WS_TEXT)) return 0;
    return e->first == first && e->last == last;
}

/* A close frame also has a code in its payload, so its payload here begins with a valid code. */
static void fill_payload(char *payload, size_t len, unsigned opcode, const struct setting *s) {
    memset(payload, 'a', len);
    if (opcode == STWS_WS_CLOSE && len >= 2) memcpy(payload, "\x03\xe8", 2);
    if (s->server) stws_ws_mask(payload, payload, len, key, 0);
}

/* Parses the complete header with its payload, or with the first 125 bytes of a longer payload. */
static void check_whole(const unsigned char *head, const struct setting *s, const stws_ws *fresh,
                        const struct head *h) {
    static char block[MOST_HEAD + MOST_PAYLOAD];
    unsigned opcode = head[0] & 15;
    size_t there = h->payload < MOST_PAYLOAD ? (size_t)h->payload : MOST_PAYLOAD, used = 0;
    size_t len = h->bytes + there;
    stws_ws ws = *fresh;
    stws_ws_event event = {0};
    int result;
    memcpy(block, head, h->bytes);
    fill_payload(block + h->bytes, there, opcode, s);
    result = stws_ws_parse(block, len, &ws, &event, &used);
    if (h->result < 0) {
        if (result != h->result) differ(head, h->bytes, s, "a wrong result instead of the error");
        if (ws.close_code != h->close_code) differ(head, h->bytes, s, "a wrong close code");
        if (!ws.reason || !*ws.reason) differ(head, h->bytes, s, "an error without a reason");
        return;
    }
    if (opcode == STWS_WS_CLOSE && h->payload == 1) {
        if (result != STWS_ERR_WS_PROTOCOL)
            differ(head, h->bytes, s, "half a close code was not refused");
        return;
    }
    if (result != STWS_DONE || used != len) {
        differ(head, h->bytes, s, "a frame was not accepted");
        return;
    }
    if (!is_event_of(&event, head[0], s, h)) differ(head, h->bytes, s, "a wrong event");
    if (event.data + event.len != block + len)
        differ(head, h->bytes, s, "the data is at a wrong place");
    if (event.len != there - (opcode == STWS_WS_CLOSE && there ? 2u : 0u))
        differ(head, h->bytes, s, "a wrong length");
}

static void check_head(const unsigned char *head, const struct setting *s, const stws_ws *fresh) {
    struct head h = oracle(head, s);
    check_whole(head, s, fresh, &h);
    check_cut(head, 1, s, fresh, &h);
    check_cut(head, h.bytes - 1, s, fresh, &h);
    test_checked();
    tried++;
}

/* ==== all heads ==== */

/* The lengths at which the encoding or a limit changes, and their neighbours. */
static const unsigned long long lengths[] = {0,
                                             1,
                                             124,
                                             125,
                                             126,
                                             127,
                                             128,
                                             255,
                                             256,
                                             32767,
                                             32768,
                                             65535,
                                             65536,
                                             65537,
                                             LIMIT,
                                             LIMIT + 1,
                                             2147483647ULL,
                                             2147483648ULL,
                                             4294967295ULL,
                                             4294967296ULL,
                                             4611686018427387904ULL,
                                             9223372036854775807ULL,
                                             9223372036854775808ULL,
                                             9223372036854775809ULL,
                                             18446744073709551615ULL};

enum { LENGTHS = sizeof lengths / sizeof *lengths };

/* Checks these two bytes with every length that their form can encode. */
static void check_two_bytes(unsigned two, const struct setting *s, const stws_ws *fresh) {
    unsigned char head[MOST_HEAD];
    size_t bytes, i, k;
    head[0] = (unsigned char)(two >> 8);
    head[1] = (unsigned char)(two & 255);
    bytes = length_bytes(head[1]);
    for (i = 0; i < LENGTHS; i++) {
        if (bytes == 2 && lengths[i] > 65535) break;
        for (k = 0; k < bytes; k++)
            head[2 + k] = (unsigned char)(lengths[i] >> (8 * (bytes - 1 - k)));
        memcpy(head + 2 + bytes, key, sizeof key);
        check_head(head, s, fresh);
        if (bytes == 0) break;
    }
}

static void check_all(int server, int inside, size_t max_message) {
    struct setting s;
    stws_ws fresh;
    unsigned two;
    s.server = server;
    s.inside = inside;
    s.max_message = max_message;
    fresh = ws_of(&s);
    for (two = 0; two <= 0xFFFF; two++) check_two_bytes(two, &s, &fresh);
}

static void test_heads_from_a_server(void) {
    check_all(0, 0, 0);
    check_all(0, 0, LIMIT);
}

static void test_heads_from_a_server_inside_a_message(void) {
    check_all(0, 1, 0);
    check_all(0, 1, LIMIT);
}

static void test_heads_from_a_client(void) {
    check_all(1, 0, 0);
    check_all(1, 0, LIMIT);
}

static void test_heads_from_a_client_inside_a_message(void) {
    check_all(1, 1, 0);
    check_all(1, 1, LIMIT);
}

/* Eight passes over 256 first bytes and both values of the mask bit. The second byte holds 126
   direct lengths, one form with the 12 lengths below 65,536, and one form with all lengths. */
static void test_every_header_was_tested(void) {
    CHECK_INT(8ULL * 256 * 2 * (126ULL + 12 + LENGTHS), tried);
}

/* Tests the oracle alone, on the examples of section 5.7 and on cases that the text explicitly
   forbids. */
static void test_oracle_alone(void) {
    static const struct setting client = {0, 0, 0}, server = {1, 0, 0}, inside = {0, 1, 0};
    static const unsigned char hello[] = {0x81, 0x05}, masked[] = {0x81, 0x85},
                               ping[] = {0x89, 0x05}, rest[] = {0x80, 0x02},
                               small[] = {0x82, 0x7E, 0x01, 0x00},
                               large[] = {0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0};
    CHECK_INT(STWS_MORE, oracle(hello, &client).result);
    CHECK_INT(STWS_ERR_WS_PROTOCOL, oracle(hello, &server).result);
    CHECK_INT(STWS_MORE, oracle(masked, &server).result);
    CHECK_INT(6, oracle(masked, &server).bytes);
    CHECK_INT(STWS_ERR_WS_PROTOCOL, oracle(hello, &inside).result);
    CHECK_INT(STWS_MORE, oracle(ping, &inside).result);
    CHECK_INT(STWS_MORE, oracle(rest, &inside).result);
    CHECK_INT(STWS_ERR_WS_PROTOCOL, oracle(rest, &client).result);
    CHECK_INT(256, oracle(small, &client).payload);
    CHECK_INT(4, oracle(small, &client).bytes);
    CHECK_INT(65536, oracle(large, &client).payload);
    CHECK_INT(10, oracle(large, &client).bytes);
}

int main(void) {
    RUN(test_oracle_alone);
    RUN(test_heads_from_a_server);
    RUN(test_heads_from_a_server_inside_a_message);
    RUN(test_heads_from_a_client);
    RUN(test_heads_from_a_client_inside_a_message);
    RUN(test_every_header_was_tested);
    return test_report();
}
