/* The head of a WebSocket frame, all of them: every first two octets, with every form of length at
   its boundaries, for both roles, before and inside a fragmented message. What stws_ws_parse makes
   of each is compared with an oracle that is written from the words of RFC 6455, section 5.2, and
   knows nothing of the parser. */
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

enum { MOST_HEAD = 14, MOST_PAYLOAD = 125, LIMIT = 70000 };

static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};

/* ==== the oracle ==== */

/* Before the frame: whose frames they are, and whether a text message stands open. */
struct setting {
    int server, inside;
    size_t max_message;
};

struct head {
    int result, close_code;
    size_t octets;              /* of the head */
    unsigned long long payload; /* octets announced */
};

/* "If 0-125, that is the payload length. If 126, the following 2 bytes [...] If 127, the following
   8 bytes". */
static size_t length_octets(unsigned second) {
    unsigned seven = second & 0x7F;
    return seven == 126 ? 2 : seven == 127 ? 8 : 0;
}

static unsigned long long length_of(const unsigned char *head) {
    unsigned long long n = 0;
    size_t octets = length_octets(head[1]), i;
    if (octets == 0) return head[1] & 0x7F;
    for (i = 0; i < octets; i++) n = 256 * n + head[2 + i];
    return n;
}

static int is_control(unsigned opcode) {
    return (opcode & 8) != 0;
}

/* What the first two octets alone break. */
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
    if (length_octets(head[1]) == 2) return n <= 125;
    if (length_octets(head[1]) == 8) return n <= 65535 || n > 9223372036854775807ULL;
    return 0;
}

static struct head oracle(const unsigned char *head, const struct setting *s) {
    struct head h = {STWS_MORE, 0, 0, 0};
    h.octets = 2 + length_octets(head[1]) + (s->server ? 4 : 0);
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

/* A mismatch is shown with its octets; the first few are enough. */
static void differ(const unsigned char *head, size_t len, const struct setting *s,
                   const char *what) {
    size_t i;
    test_case_failures++;
    if (test_case_failures > 5) return;
    printf("%s: server %d, inside %d, limit %zu, octets", what, s->server, s->inside,
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

/* One octet too few, at the very end of a block: nothing may be decided but what the octets that
   are there decide, and nothing be read behind them. */
static void check_cut(const unsigned char *head, size_t len, const struct setting *s,
                      const stws_ws *fresh, const struct head *expected) {
    stws_ws ws = *fresh;
    stws_ws_event event;
    size_t used = 0;
    char *block = exact_copy(head, len);
    int result = stws_ws_parse(block, len, &ws, &event, &used);
    if (used != 0) differ(head, len, s, "octets of half a head were used");
    if (result == STWS_DONE) differ(head, len, s, "half a head made an event");
    if (result < 0 && result != expected->result) differ(head, len, s, "half a head is wrong");
    free(block);
}

/* first, last: a message may have begun before this frame, and this frame may not be here whole. */
static int is_event_of(const stws_ws_event *e, unsigned octet, const struct setting *s,
                       const struct head *h) {
    int opcode = (int)(octet & 15), fin = octet >> 7 == 1;
    int first = is_control(octet & 15) || !s->inside, last = fin && h->payload <= MOST_PAYLOAD;
    if ((int)e->opcode != (opcode ? opcode : (int)STWS_WS_TEXT)) return 0;
    return e->first == first && e->last == last;
}

/* A close frame says more than its head, so its payload here is a code that may stand there. */
static void fill_payload(char *payload, size_t len, unsigned opcode, const struct setting *s) {
    memset(payload, 'a', len);
    if (opcode == STWS_WS_CLOSE && len >= 2) memcpy(payload, "\x03\xe8", 2);
    if (s->server) stws_ws_mask(payload, payload, len, key, 0);
}

/* The whole head with as much payload as is wanted of it. */
static void check_whole(const unsigned char *head, const struct setting *s, const stws_ws *fresh,
                        const struct head *h) {
    static char block[MOST_HEAD + MOST_PAYLOAD];
    unsigned opcode = head[0] & 15;
    size_t there = h->payload < MOST_PAYLOAD ? (size_t)h->payload : MOST_PAYLOAD, used = 0;
    size_t len = h->octets + there;
    stws_ws ws = *fresh;
    stws_ws_event event = {0};
    int result;
    memcpy(block, head, h->octets);
    fill_payload(block + h->octets, there, opcode, s);
    result = stws_ws_parse(block, len, &ws, &event, &used);
    if (h->result < 0) {
        if (result != h->result) differ(head, h->octets, s, "another result than an error");
        if (ws.close_code != h->close_code) differ(head, h->octets, s, "another close code");
        if (!ws.reason || !*ws.reason) differ(head, h->octets, s, "an error without a reason");
        return;
    }
    if (opcode == STWS_WS_CLOSE && h->payload == 1) {
        if (result != STWS_ERR_WS_PROTOCOL) differ(head, h->octets, s, "half a close code");
        return;
    }
    if (result != STWS_DONE || used != len) {
        differ(head, h->octets, s, "a frame that was not taken");
        return;
    }
    if (!is_event_of(&event, head[0], s, h)) differ(head, h->octets, s, "another event");
    if (event.data + event.len != block + len)
        differ(head, h->octets, s, "octets of another place");
    if (event.len != there - (opcode == STWS_WS_CLOSE && there ? 2u : 0u))
        differ(head, h->octets, s, "another length");
}

static void check_head(const unsigned char *head, const struct setting *s, const stws_ws *fresh) {
    struct head h = oracle(head, s);
    check_whole(head, s, fresh, &h);
    check_cut(head, 1, s, fresh, &h);
    check_cut(head, h.octets - 1, s, fresh, &h);
    test_checked();
    tried++;
}

/* ==== all heads ==== */

/* Where something changes, and one octet to either side. */
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

/* The two octets with every length that their form can say. */
static void check_two_octets(unsigned two, const struct setting *s, const stws_ws *fresh) {
    unsigned char head[MOST_HEAD];
    size_t octets, i, k;
    head[0] = (unsigned char)(two >> 8);
    head[1] = (unsigned char)(two & 255);
    octets = length_octets(head[1]);
    for (i = 0; i < LENGTHS; i++) {
        if (octets == 2 && lengths[i] > 65535) break;
        for (k = 0; k < octets; k++)
            head[2 + k] = (unsigned char)(lengths[i] >> (8 * (octets - 1 - k)));
        memcpy(head + 2 + octets, key, sizeof key);
        check_head(head, s, fresh);
        if (octets == 0) break;
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
    for (two = 0; two <= 0xFFFF; two++) check_two_octets(two, &s, &fresh);
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

/* Eight passes over 256 first octets and, for either value of the mask bit, 126 second ones that
   are a length, one with 12 lengths behind it, and one with all. */
static void test_none_was_left_out(void) {
    CHECK_INT(8ULL * 256 * 2 * (126ULL + 12 + LENGTHS), tried);
}

/* The oracle itself, on the examples of section 5.7 and on what the text forbids by name. */
static void test_oracle_alone(void) {
    static const struct setting client = {0, 0, 0}, server = {1, 0, 0}, inside = {0, 1, 0};
    static const unsigned char hello[] = {0x81, 0x05}, masked[] = {0x81, 0x85},
                               ping[] = {0x89, 0x05}, rest[] = {0x80, 0x02},
                               small[] = {0x82, 0x7E, 0x01, 0x00},
                               large[] = {0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0};
    CHECK_INT(STWS_MORE, oracle(hello, &client).result);
    CHECK_INT(STWS_ERR_WS_PROTOCOL, oracle(hello, &server).result);
    CHECK_INT(STWS_MORE, oracle(masked, &server).result);
    CHECK_INT(6, oracle(masked, &server).octets);
    CHECK_INT(STWS_ERR_WS_PROTOCOL, oracle(hello, &inside).result);
    CHECK_INT(STWS_MORE, oracle(ping, &inside).result);
    CHECK_INT(STWS_MORE, oracle(rest, &inside).result);
    CHECK_INT(STWS_ERR_WS_PROTOCOL, oracle(rest, &client).result);
    CHECK_INT(256, oracle(small, &client).payload);
    CHECK_INT(4, oracle(small, &client).octets);
    CHECK_INT(65536, oracle(large, &client).payload);
    CHECK_INT(10, oracle(large, &client).octets);
}

int main(void) {
    RUN(test_oracle_alone);
    RUN(test_heads_from_a_server);
    RUN(test_heads_from_a_server_inside_a_message);
    RUN(test_heads_from_a_client);
    RUN(test_heads_from_a_client_inside_a_message);
    RUN(test_none_was_left_out);
    return test_report();
}
