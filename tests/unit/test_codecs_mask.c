/* Tests WebSocket masking against its definition in RFC 6455, one byte at a time, and tests the
   builder of WebSocket frames: headers, lengths, too small buffers and refused arguments. */
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

/* The definition in RFC 6455, 5.3. */
static void mask_by_byte(unsigned char *dst, const unsigned char *src, size_t len,
                         const unsigned char key[4], size_t offset) {
    size_t i;
    for (i = 0; i < len; i++) dst[i] = src[i] ^ key[(offset + i) % 4];
}

enum { MOST = 200, SHIFTS = 16 };

/* Source and destination end at the end of their memory blocks, and begin at any alignment. */
static void check_mask(const unsigned char *data, size_t len, size_t offset, size_t from_shift,
                       size_t to_shift) {
    static const unsigned char key[4] = {0x37, 0xFA, 0x21, 0x3D};
    unsigned char *from = exact_block(from_shift + len), *to = exact_block(to_shift + len),
                  expected[MOST];
    memcpy(from + from_shift, data, len);
    mask_by_byte(expected, data, len, key, offset);
    stws_ws_mask(to + to_shift, from + from_shift, len, key, offset);
    CHECK_MEM(expected, len, to + to_shift, len);
    CHECK(memcmp(from + from_shift, data, len) == 0);
    stws_ws_mask(from + from_shift, from + from_shift, len, key, offset);
    CHECK_MEM(expected, len, from + from_shift, len);
    free(from);
    free(to);
}

static void test_every_length_offset_and_alignment(void) {
    dice d = dice_of(2);
    unsigned char data[MOST];
    size_t len, offset, shift;
    roll_bytes(&d, data, sizeof data);
    for (len = 0; len <= MOST; len++)
        for (offset = 0; offset < 5; offset++)
            for (shift = 0; shift < SHIFTS; shift++)
                check_mask(data, len, offset, shift, (shift * 7 + len) % SHIFTS);
}

static void test_every_pair_of_alignments(void) {
    dice d = dice_of(3);
    unsigned char data[MOST];
    size_t from, to;
    roll_bytes(&d, data, sizeof data);
    for (from = 0; from < SHIFTS; from++)
        for (to = 0; to < SHIFTS; to++)
            check_mask(data, 150 + (from + to) % 8, from + to, from, to);
}

static void test_far_offsets(void) {
    unsigned char data[MOST] = {0};
    size_t i;
    for (i = 0; i < 9; i++) {
        check_mask(data, 100, (size_t)-1 - i, 0, i);
        check_mask(data, 100, ((size_t)1 << 31) + i, i, 0);
    }
}

static void test_large(void) {
    enum { LARGE = (1 << 20) + 5 };
    dice d = dice_of(4);
    unsigned char *data = exact_block(LARGE), *expected = exact_block(LARGE),
                  *actual = exact_block(LARGE), key[4];
    size_t offset;
    roll_bytes(&d, data, LARGE);
    for (offset = 0; offset < 4; offset++) {
        roll_bytes(&d, key, sizeof key);
        mask_by_byte(expected, data, LARGE, key, offset);
        stws_ws_mask(actual, data, LARGE, key, offset);
        CHECK(memcmp(expected, actual, LARGE) == 0);
    }
    free(data);
    free(expected);
    free(actual);
}

/* A payload that is masked in pieces gives the same bytes as a payload that is masked as a
   whole. */
static void test_pieces(void) {
    static const unsigned char key[4] = {1, 2, 4, 8};
    unsigned char whole[MOST] = {0}, pieces[MOST] = {0};
    dice d = dice_of(5);
    int i;
    stws_ws_mask(whole, whole, MOST, key, 0);
    for (i = 0; i < 500; i++) {
        size_t at = 0;
        memset(pieces, 0, MOST);
        while (at < MOST) {
            size_t n = 1 + roll_below(&d, 30);
            if (n > MOST - at) n = MOST - at;
            stws_ws_mask(pieces + at, pieces + at, n, key, at);
            at += n;
        }
        CHECK(memcmp(whole, pieces, MOST) == 0);
    }
}

/* ---- building ---- */

static size_t head_of(size_t len, int masked) {
    return (len < 126 ? 2u : len <= 65535 ? 4u : 10u) + (masked ? 4u : 0u);
}

/* Reads the header from the bytes, by RFC 6455, 5.2. */
static void check_head(const unsigned char *p, stws_ws_opcode opcode, int fin, size_t len,
                       const unsigned char *key) {
    size_t bytes = len < 126 ? 0 : len <= 65535 ? 2 : 8, i, length = p[1] & 127;
    CHECK_INT((fin ? 128 : 0) + (int)opcode, p[0]);
    CHECK_INT(key ? 1 : 0, p[1] >> 7);
    CHECK_INT(bytes == 0 ? len : bytes == 2 ? 126u : 127u, length);
    for (i = 0, length = 0; i < bytes; i++) length = length * 256 + p[2 + i];
    if (bytes) CHECK_INT(len, length);
    if (key) CHECK_MEM(key, 4, p + 2 + bytes, 4);
}

static void check_built(const unsigned char *payload, size_t len, stws_ws_opcode opcode, int fin,
                        const unsigned char *key) {
    size_t head = head_of(len, key != NULL), need = 0;
    unsigned char *buf = exact_block(head + len), *expected = exact_block(len);
    static const unsigned char none[4] = {0, 0, 0, 0};
    CHECK_INT(STWS_OK,
              stws_ws_build((char *)buf, head + len, opcode, fin, payload, len, key, &need));
    CHECK_INT(head + len, need);
    check_head(buf, opcode, fin, len, key);
    mask_by_byte(expected, payload, len, key ? key : none, 0);
    CHECK_MEM(expected, len, buf + head, len);
    memset(buf, 0, head + len);
    if (len) memcpy(buf + head, payload, len);
    CHECK_INT(STWS_OK,
              stws_ws_build((char *)buf, head + len, opcode, fin, buf + head, len, key, &need));
    check_head(buf, opcode, fin, len, key);
    CHECK_MEM(expected, len, buf + head, len);
    free(buf);
    free(expected);
}

static void test_build_every_kind(void) {
    static const size_t lengths[] = {0,   1,   2,     5,     124,   125,   126,   127,
                                     128, 300, 65534, 65535, 65536, 65537, 100000};
    static const unsigned char key[4] = {0xA1, 0xB2, 0xC3, 0xD4};
    dice d = dice_of(6);
    unsigned char *payload = exact_block(100000);
    size_t i;
    stws_ws_opcode opcode;
    int fin;
    roll_bytes(&d, payload, 100000);
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (opcode = STWS_WS_CONTINUATION; opcode <= STWS_WS_BINARY; opcode++)
            for (fin = 0; fin < 2; fin++) {
                check_built(payload, lengths[i], opcode, fin, key);
                check_built(payload, lengths[i], opcode, fin, NULL);
            }
    for (i = 0; lengths[i] <= 125; i++)
        for (opcode = STWS_WS_CLOSE; opcode <= STWS_WS_PONG; opcode++) {
            check_built(payload, lengths[i], opcode, 1, key);
            check_built(payload, lengths[i], opcode, 1, NULL);
        }
    free(payload);
}

static void check_no_space(size_t len, const unsigned char *key) {
    size_t need, cap, full = head_of(len, key != NULL) + len;
    char *payload = exact_block(len);
    memset(payload, 'p', len);
    for (cap = 0; cap < full; cap += cap < 20 || cap + 20 > full ? 1 : 10) {
        char *buf = exact_block(cap + 1);
        memset(buf, '~', cap);
        buf[cap] = 0;
        need = 0;
        CHECK_INT(STWS_ERR_SPACE,
                  stws_ws_build(buf, cap, STWS_WS_TEXT, 1, payload, len, key, &need));
        CHECK_INT(full, need);
        CHECK_INT(cap, strspn(buf, "~"));
        free(buf);
    }
    free(payload);
}

static void test_build_without_space(void) {
    static const unsigned char key[4] = {1, 2, 3, 4};
    check_no_space(0, NULL);
    check_no_space(0, key);
    check_no_space(5, key);
    check_no_space(125, NULL);
    check_no_space(126, key);
    check_no_space(65536, key);
}

static void check_usage_error(int opcode, int fin, size_t len) {
    char buf[300], payload[200] = {0};
    size_t need;
    memset(buf, '~', sizeof buf);
    buf[sizeof buf - 1] = 0;
    CHECK_INT(STWS_ERR_USAGE, stws_ws_build(buf, sizeof buf, (stws_ws_opcode)opcode, fin, payload,
                                            len, NULL, &need));
    CHECK_INT(sizeof buf - 1, strspn(buf, "~"));
}

/* RFC 6455, 5.5: control frames are not fragmented and have at most 125 bytes. 5.2: the other
   opcodes are reserved. */
static void test_build_refuses_illegal_frames(void) {
    int opcode;
    for (opcode = STWS_WS_CLOSE; opcode <= STWS_WS_PONG; opcode++) {
        check_usage_error(opcode, 0, 0);
        check_usage_error(opcode, 0, 5);
        check_usage_error(opcode, 1, 126);
        check_usage_error(opcode, 1, 200);
    }
    for (opcode = 3; opcode < 8; opcode++) check_usage_error(opcode, 1, 1);
    for (opcode = 11; opcode < 20; opcode++) check_usage_error(opcode, 1, 1);
    check_usage_error(-1, 1, 1);
    check_usage_error(0x81, 1, 1);
}

static void check_wire(const char *wire, size_t wire_len, stws_ws_opcode opcode, int fin,
                       const char *payload, size_t len, const unsigned char *key) {
    char *buf = exact_block(wire_len);
    size_t need = 0;
    CHECK_INT(STWS_OK, stws_ws_build(buf, wire_len, opcode, fin, payload, len, key, &need));
    CHECK_MEM(wire, wire_len, buf, need);
    free(buf);
}

/* The examples of RFC 6455, 5.7. */
static void test_build_examples(void) {
    static const unsigned char key[4] = {0x37, 0xFA, 0x21, 0x3D};
    static const char masked[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    static const char pong[] = "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    check_wire("\x81\x05Hello", 7, STWS_WS_TEXT, 1, "Hello", 5, NULL);
    check_wire(masked, 11, STWS_WS_TEXT, 1, "Hello", 5, key);
    check_wire("\x01\x03Hel", 5, STWS_WS_TEXT, 0, "Hel", 3, NULL);
    check_wire("\x80\x02lo", 4, STWS_WS_CONTINUATION, 1, "lo", 2, NULL);
    check_wire("\x89\x05Hello", 7, STWS_WS_PING, 1, "Hello", 5, NULL);
    check_wire(pong, 11, STWS_WS_PONG, 1, "Hello", 5, key);
}

int main(void) {
    RUN(test_every_length_offset_and_alignment);
    RUN(test_every_pair_of_alignments);
    RUN(test_far_offsets);
    RUN(test_large);
    RUN(test_pieces);
    RUN(test_build_every_kind);
    RUN(test_build_without_space);
    RUN(test_build_refuses_illegal_frames);
    RUN(test_build_examples);
    return test_report();
}
