/* Tests WebSocket frames: every possible header, messages that are sent and received in random
   pieces, limits, and close payloads. The legality of a header is decided by a plain transcription
   of RFC 6455. */
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

/* ---- every head ---- */

/* A header to test: its first two bytes, the length field, the role of the parser, and whether a
   fragmented message is open. */
typedef struct head {
    unsigned char first, second;
    uint64_t length;
    int server, in_message;
} head;

static int is_control(const head *h) {
    return (h->first & 0x0F) >= 8;
}

/* The rules of RFC 6455, sections 5.1, 5.2, 5.4 and 5.5, one after the other. */
static int head_is_legal(const head *h) {
    unsigned opcode = h->first & 0x0F, form = h->second & 0x7F;
    int fin = h->first >> 7, masked = h->second >> 7;
    if (h->first & 0x40) return 0;
    if (h->first & 0x20) return 0;
    if (h->first & 0x10) return 0;
    if (h->server && !masked) return 0;
    if (!h->server && masked) return 0;
    switch (opcode) {
        case 0x0:
            if (!h->in_message) return 0;
            break;
        case 0x1:
        case 0x2:
            if (h->in_message) return 0;
            break;
        case 0x8:
        case 0x9:
        case 0xA:
            if (!fin) return 0;
            if (form > 125) return 0;
            break;
        default: return 0;
    }
    if (form == 126 && h->length < 126) return 0;
    if (form == 127 && h->length < 65536) return 0;
    if (form == 127 && h->length >= (uint64_t)1 << 63) return 0;
    return 1;
}

static size_t write_head(const head *h, char *out) {
    size_t bytes = (h->second & 0x7F) == 126 ? 2 : (h->second & 0x7F) == 127 ? 8 : 0, i, n = 2;
    out[0] = (char)h->first;
    out[1] = (char)h->second;
    for (i = bytes; i-- > 0;) out[n++] = (char)(h->length >> (8 * i) & 0xFF);
    if (h->second & 0x80) {
        memset(out + n, 0, 4);
        n += 4;
    }
    return n;
}

/* Brings the parser into that state by parsing real frames. */
static void prepare(const head *h, stws_ws *ws) {
    char begun[6] = {0x02, 0x00, 0, 0, 0, 0};
    stws_ws_event event;
    size_t used;
    memset(ws, 0, sizeof *ws);
    ws->server = h->server;
    if (!h->in_message) return;
    if (h->server) begun[1] = (char)0x80;
    CHECK_INT(STWS_DONE, stws_ws_parse(begun, h->server ? 6 : 2, ws, &event, &used));
}

/* Gives control frames a valid payload: a close frame gets code 1000 and a reason. */
static size_t write_payload(const head *h, char *out) {
    if (!is_control(h) || (h->second & 0x7F) > 125) return 0;
    memset(out, 'p', h->second & 0x7F);
    if ((h->first & 0x0F) == 8) {
        out[0] = 0x03;
        out[1] = (char)0xE8;
    }
    return h->second & 0x7F;
}

static void check_legal_head(const head *h, int result, size_t used, size_t head_len, size_t len,
                             const stws_ws_event *event) {
    if (is_control(h)) {
        CHECK_INT(STWS_DONE, result);
        CHECK_INT(len, used);
        CHECK_INT(h->first & 0x0F, event->opcode);
        CHECK(event->first && event->last);
        CHECK_INT(len - head_len - ((h->first & 0x0F) == 8 && len > head_len ? 2 : 0), event->len);
    } else if (h->length == 0) {
        CHECK_INT(STWS_DONE, result);
        CHECK_INT(head_len, used);
        CHECK_INT(h->first & 0x0F ? h->first & 0x0F : STWS_WS_BINARY, event->opcode);
        CHECK_INT(!h->in_message, event->first);
        CHECK_INT(h->first >> 7, event->last);
    } else {
        CHECK_INT(STWS_MORE, result);
    }
}

static void check_head(const head *h) {
    char wire[14 + 125];
    size_t head_len = write_head(h, wire), len = head_len + write_payload(h, wire + head_len),
           used = 0;
    int half_a_code = (h->first & 0x0F) == 8 && (h->second & 0x7F) == 1,
        legal = head_is_legal(h) && !half_a_code, result;
    char *block = exact_copy(wire, len);
    stws_ws_event event;
    stws_ws ws;
    prepare(h, &ws);
    result = stws_ws_parse(block, len, &ws, &event, &used);
    if (legal) {
        check_legal_head(h, result, used, head_len, len, &event);
    } else {
        CHECK_INT(STWS_ERR_WS_PROTOCOL, result);
        CHECK_INT(1002, ws.close_code);
        CHECK(ws.reason && *ws.reason);
    }
    free(block);
}

/* Parses only the first two bytes. A legal header must not be refused. An illegal header may be
   refused now or later. */
static void check_two_bytes(const head *h) {
    char *block = exact_block(2);
    size_t used = 0;
    stws_ws_event event;
    stws_ws ws;
    int result;
    block[0] = (char)h->first;
    block[1] = (char)h->second;
    prepare(h, &ws);
    result = stws_ws_parse(block, 2, &ws, &event, &used);
    if (head_is_legal(h))
        CHECK(result == STWS_MORE || (result == STWS_DONE && h->length == 0 && !h->server));
    else
        CHECK(result == STWS_MORE || result == STWS_ERR_WS_PROTOCOL);
    free(block);
}

static void check_lengths(head h) {
    static const uint64_t two[] = {0, 1, 125, 126, 127, 255, 256, 65535};
    static const uint64_t eight[] = {0,
                                     125,
                                     126,
                                     65535,
                                     65536,
                                     (uint64_t)1 << 32,
                                     ((uint64_t)1 << 63) - 1,
                                     (uint64_t)1 << 63,
                                     UINT64_MAX};
    unsigned form = h.second & 0x7F;
    size_t i, count = form == 126   ? sizeof two / sizeof *two
                      : form == 127 ? sizeof eight / sizeof *eight
                                    : 1;
    h.length = form;
    check_two_bytes(&h);
    for (i = 0; i < count; i++) {
        if (form == 126) h.length = two[i];
        if (form == 127) h.length = eight[i];
        check_head(&h);
        if (test_case_failures == 1)
            printf("  head %02x %02x, length %llu, %s%s\n", h.first, h.second,
                   (unsigned long long)h.length, h.server ? "server" : "client",
                   h.in_message ? ", in a message" : "");
    }
}

/* All 65,536 values of the first two bytes, each with several lengths, for both roles, outside and
   inside a fragmented message. */
static void test_every_head(void) {
    unsigned long n;
    for (n = 0; n < 0x40000; n++) {
        head h = {0, 0, 0, 0, 0};
        h.first = (unsigned char)(n >> 8 & 0xFF);
        h.second = (unsigned char)(n & 0xFF);
        h.server = n >> 16 & 1;
        h.in_message = n >> 17 & 1;
        check_lengths(h);
    }
}

/* Without the UTF-8 check the parser may take a shorter path. Both paths must give the same
   results. */
static void test_every_head_with_utf8(void) {
    unsigned n;
    for (n = 0; n < 0x10000; n++) {
        char wire[4 + 2] = {0};
        size_t used[2] = {0, 0};
        stws_ws ws[2];
        stws_ws_event event[2];
        int result[2], i;
        for (i = 0; i < 2; i++) {
            wire[0] = (char)(n >> 8);
            wire[1] = (char)(n & 0xFF);
            memset(wire + 2, 0, 4);
            memset(&ws[i], 0, sizeof ws[i]);
            ws[i].check_utf8 = i;
            result[i] = stws_ws_parse(wire, sizeof wire, &ws[i], &event[i], &used[i]);
        }
        CHECK_INT(result[0], result[1]);
        CHECK_INT(ws[0].close_code, ws[1].close_code);
        if (result[0] != STWS_DONE) continue;
        CHECK_INT(used[0], used[1]);
        CHECK_INT(event[0].opcode, event[1].opcode);
        CHECK_INT(event[0].len, event[1].len);
        CHECK_INT(event[0].last, event[1].last);
    }
}

/* ---- there and back ---- */

typedef struct message {
    stws_ws_opcode opcode;
    size_t len;
    unsigned char data[1000];
} message;

enum { MESSAGES = 12, WIRE = 40000 };

typedef struct exchange {
    message sent[MESSAGES];
    size_t count;
    char wire[WIRE];
    size_t len;
} exchange;

static void send_frame(dice *d, exchange *x, int server, stws_ws_opcode opcode, int fin,
                       const unsigned char *data, size_t len) {
    unsigned char key[4];
    size_t need = 0;
    roll_bytes(d, key, sizeof key);
    CHECK_INT(STWS_OK, stws_ws_build(x->wire + x->len, WIRE - x->len, opcode, fin, data, len,
                                     server ? key : NULL, &need));
    x->len += need;
}

static void send_control(dice *d, exchange *x, int server) {
    message *m = &x->sent[x->count++];
    m->opcode = one_in(d, 2) ? STWS_WS_PING : STWS_WS_PONG;
    m->len = roll_below(d, 126);
    roll_bytes(d, m->data, m->len);
    send_frame(d, x, server, m->opcode, 1, m->data, m->len);
}

/* Sends one message in one or several frames, some of them empty, with control frames between them.
   The list `sent` is in the order in which the messages end. */
static void send_message(dice *d, exchange *x, int server) {
    message m;
    size_t at = 0, n;
    stws_ws_opcode opcode;
    m.opcode = opcode = one_in(d, 2) ? STWS_WS_TEXT : STWS_WS_BINARY;
    m.len = roll_below(d, one_in(d, 3) ? sizeof m.data : 140);
    roll_bytes(d, m.data, m.len);
    while (!one_in(d, 3)) {
        n = roll_below(d, m.len - at + 1);
        send_frame(d, x, server, opcode, 0, m.data + at, n);
        opcode = STWS_WS_CONTINUATION;
        at += n;
        if (one_in(d, 3) && x->count < MESSAGES - 1) send_control(d, x, server);
    }
    send_frame(d, x, server, opcode, 1, m.data + at, m.len - at);
    x->sent[x->count++] = m;
}

typedef struct receiver {
    const exchange *x;
    size_t count; /* messages received */
    message open;
    int is_open;
} receiver;

static void check_message(receiver *r, stws_ws_opcode opcode, const void *data, size_t len) {
    const message *expected = &r->x->sent[r->count];
    CHECK(r->count < r->x->count);
    CHECK_INT(expected->opcode, opcode);
    CHECK_MEM(expected->data, expected->len, data, len);
    r->count++;
}

static void receive(receiver *r, const stws_ws_event *event) {
    if (event->opcode >= STWS_WS_CLOSE) {
        CHECK(event->first && event->last);
        check_message(r, event->opcode, event->data, event->len);
        return;
    }
    CHECK_INT(!r->is_open, event->first);
    if (event->first) r->open.len = 0;
    r->is_open = !event->last;
    memcpy(r->open.data + r->open.len, event->data, event->len);
    r->open.len += event->len;
    if (event->last) check_message(r, event->opcode, r->open.data, r->open.len);
}

/* Feeds pieces of random size, each time in a new block. */
static void take_all(dice *d, exchange *x, int server, size_t most) {
    static receiver r;
    stws_ws ws;
    size_t have = 0, left = 0, used;
    char *block = NULL;
    memset(&ws, 0, sizeof ws);
    memset(&r, 0, sizeof r);
    ws.server = server;
    r.x = x;
    while (have < x->len) {
        size_t fresh = 1 + roll_below(d, most), at = 0;
        char *next;
        stws_ws_event event;
        if (fresh > x->len - have) fresh = x->len - have;
        next = exact_block(left + fresh);
        if (left) memcpy(next, block, left);
        memcpy(next + left, x->wire + have, fresh);
        free(block);
        block = next;
        have += fresh;
        left += fresh;
        while (stws_ws_parse(block + at, left - at, &ws, &event, &used) == STWS_DONE) {
            receive(&r, &event);
            at += used;
        }
        CHECK_INT(0, ws.close_code);
        at += used;
        left -= at;
        memmove(block, block + at, left);
    }
    CHECK_INT(x->count, r.count);
    CHECK_INT(0, left);
    free(block);
}

static void test_there_and_back(void) {
    static const size_t pieces[] = {1, 3, 50, 2000, WIRE};
    static exchange x;
    unsigned long seed;
    for (seed = 1; seed <= 1500 && !test_case_failures; seed++) {
        dice d = dice_of(seed);
        int server = one_in(&d, 2);
        memset(&x, 0, sizeof x);
        while (x.count < MESSAGES && !one_in(&d, 8)) {
            if (one_in(&d, 4))
                send_control(&d, &x, server);
            else
                send_message(&d, &x, server);
        }
        take_all(&d, &x, server, pieces[roll_below(&d, sizeof pieces / sizeof *pieces)]);
    }
}

/* ---- limits ---- */

static int parse_all(stws_ws *ws, char *wire, size_t len, size_t *messages) {
    size_t at = 0, used;
    stws_ws_event event;
    int result;
    while ((result = stws_ws_parse(wire + at, len - at, ws, &event, &used)) == STWS_DONE) {
        at += used;
        *messages += event.last != 0;
    }
    return result;
}

/* The default limit is 65,537 frames per message, empty frames included. */
static void test_default_fragments(void) {
    size_t fragments, messages;
    for (fragments = 65536; fragments <= 65538; fragments++) {
        char *wire = exact_block(2 * fragments);
        stws_ws ws;
        memset(&ws, 0, sizeof ws);
        memset(wire, 0, 2 * fragments);
        wire[0] = STWS_WS_TEXT;
        wire[2 * fragments - 2] = (char)0x80;
        messages = 0;
        CHECK_INT(fragments <= 65537 ? STWS_MORE : STWS_ERR_WS_LIMIT,
                  parse_all(&ws, wire, 2 * fragments, &messages));
        CHECK_INT(fragments <= 65537, messages);
        free(wire);
    }
}

/* The limit applies to the sum of the fragments' lengths. Tests all small limits. */
static void test_message_limit(void) {
    size_t limit, a, b, messages;
    for (limit = 1; limit < 12; limit++)
        for (a = 0; a < 14; a++)
            for (b = 0; b < 14; b++) {
                char wire[40] = {STWS_WS_BINARY, (char)a};
                stws_ws ws;
                memset(&ws, 0, sizeof ws);
                ws.max_message = limit;
                wire[2 + a] = (char)0x80;
                wire[3 + a] = (char)b;
                messages = 0;
                CHECK_INT(a + b <= limit ? STWS_MORE : STWS_ERR_WS_LIMIT,
                          parse_all(&ws, wire, 4 + a + b, &messages));
                CHECK_INT(a + b <= limit, messages);
                CHECK_INT(a + b <= limit ? 0 : 1009, ws.close_code);
            }
}

/* ---- close ---- */

static void check_close(const char *expected_reason, size_t expected_len, int code,
                        const char *reason) {
    char *out = exact_block(125);
    memset(out, '~', 125);
    CHECK_INT(2 + expected_len, stws_ws_close_payload(out, code, reason));
    CHECK_INT(code, (unsigned char)out[0] << 8 | (unsigned char)out[1]);
    CHECK_MEM(expected_reason, expected_len, out + 2, expected_len);
    free(out);
}

static void test_close_payload(void) {
    char *out = exact_block(125);
    check_close("bye", 3, 1000, "bye");
    check_close("", 0, 1001, "");
    check_close("", 0, 4999, NULL);
    CHECK_INT(0, stws_ws_close_payload(out, 0, NULL));
    CHECK_INT(0, stws_ws_close_payload(out, 0, "not said"));
    free(out);
}

/* RFC 6455, 5.5: at most 125 bytes, so 123 bytes of reason. 5.5.1: the reason is UTF-8, so no
   character is cut. */
static void test_close_payload_is_cut(void) {
    static const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char reason[400], *payload = exact_block(125);
    size_t ascii, kind, len, expected, width;
    for (kind = 0; kind < 3; kind++)
        for (ascii = 0; ascii <= 130; ascii++) {
            width = strlen(characters[kind]);
            memset(reason, 'r', ascii);
            for (len = ascii; len < 200; len += width)
                memcpy(reason + len, characters[kind], width);
            reason[len] = 0;
            expected = ascii >= 123 ? 123 : ascii + (123 - ascii) / width * width;
            check_close(reason, expected, 1002, reason);
            CHECK(stws_utf8_valid(payload + 2, stws_ws_close_payload(payload, 1000, reason) - 2));
        }
    free(payload);
}

static void test_close_payload_of_every_length(void) {
    char reason[300];
    size_t len;
    for (len = 0; len < 200; len++) {
        memset(reason, 'x', len);
        reason[len] = 0;
        check_close(reason, len < 123 ? len : 123, 1000, reason);
    }
}

/* RFC 6455, 7.4. The IANA registry added 1012 to 1014 later. */
static int code_may_be_sent(int code) {
    if (code < 1000 || code >= 5000) return 0;
    if (code >= 3000) return 1;
    return code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

static void test_every_close_code(void) {
    int code;
    for (code = 0; code < 65536; code++) {
        char wire[] = {(char)0x88, 2, (char)(code >> 8), (char)(code & 255)};
        size_t used = 0;
        stws_ws_event event;
        stws_ws ws;
        int result;
        memset(&ws, 0, sizeof ws);
        result = stws_ws_parse(wire, sizeof wire, &ws, &event, &used);
        if (result != (code_may_be_sent(code) ? STWS_DONE : STWS_ERR_WS_PROTOCOL))
            CHECK_INT(-1, code);
        if (result == STWS_DONE && event.close_code != code) CHECK_INT(code, event.close_code);
    }
    CHECK_INT(65536, code);
}

/* Our parser accepts the close frame that our builder makes. */
static void test_close_there_and_back(void) {
    char payload[125], wire[127];
    static const unsigned char key[4] = {9, 8, 7, 6};
    size_t len = stws_ws_close_payload(payload, 1008, "policy"), need, used;
    stws_ws_event event;
    stws_ws ws;
    memset(&ws, 0, sizeof ws);
    ws.server = 1;
    CHECK_INT(STWS_OK,
              stws_ws_build(wire, sizeof wire, STWS_WS_CLOSE, 1, payload, len, key, &need));
    CHECK_INT(STWS_DONE, stws_ws_parse(wire, need, &ws, &event, &used));
    CHECK_INT(STWS_WS_CLOSE, event.opcode);
    CHECK_INT(1008, event.close_code);
    CHECK_MEM("policy", 6, event.data, event.len);
    CHECK_INT(need, used);
}

/* 1005 means that a close frame had no code, so 1005 is never sent: an empty close is answered with
   an empty close. */
static void test_no_code_is_not_sent(void) {
    char payload[125];
    CHECK_INT(0, (long)stws_ws_close_payload(payload, 1005, "nothing"));
}

int main(void) {
    RUN(test_every_head);
    RUN(test_every_head_with_utf8);
    RUN(test_there_and_back);
    RUN(test_default_fragments);
    RUN(test_message_limit);
    RUN(test_close_payload);
    RUN(test_close_payload_is_cut);
    RUN(test_close_payload_of_every_length);
    RUN(test_every_close_code);
    RUN(test_close_there_and_back);
    RUN(test_no_code_is_not_sent);
    return test_report();
}
