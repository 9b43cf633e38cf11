/* Tests SHA-1, base64 and the WebSocket key and accept values that are computed with them. The
   expected values come from the standards, from Python's hashlib, and from a simple decoder in this
   file. */
#ifndef STOMP_WS_NO_IO
#define STOMP_WS_NO_IO /* the codecs are enough */
#endif
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

static void hex_of(const unsigned char *bytes, size_t len, char *out) {
    size_t i;
    for (i = 0; i < len; i++) snprintf(out + 2 * i, 3, "%02x", (unsigned)bytes[i]);
}

static void check_sha1(const char *expected, const void *data, size_t len) {
    unsigned char digest[20];
    char hex[41];
    stws_p_sha1(data, len, digest);
    hex_of(digest, sizeof digest, hex);
    CHECK_STR(expected, hex);
}

/* The examples in FIPS 180 with one block, two blocks and a long message, and the shorter and
   longer examples that NIST published with them. */
static void test_sha1_examples(void) {
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static const char three_blocks[] =
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno"
        "ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
    check_sha1("da39a3ee5e6b4b0d3255bfef95601890afd80709", "", 0);
    check_sha1("a9993e364706816aba3e25717850c26c9cd0d89d", "abc", 3);
    check_sha1("84983e441c3bd26ebaae4aa1f95129e5e54670f1", two_blocks, sizeof two_blocks - 1);
    check_sha1("a49b2446a02c645bf419f995b67091253a04a259", three_blocks, sizeof three_blocks - 1);
}

static void test_sha1_of_a_million(void) {
    char *a = exact_block(1000000);
    memset(a, 'a', 1000000);
    check_sha1("34aa973cd4c4daa4f61eeb2bdbad27316534016f", a, 1000000);
    free(a);
}

/* Every length around the padding. The digests of "x" repeated 0 to 299 times are concatenated, and
   the digest of the result is compared with a value from Python's hashlib. */
static void test_sha1_of_every_length(void) {
    unsigned char digests[300 * 20];
    size_t len;
    for (len = 0; len < 300; len++) {
        char *data = exact_block(len);
        memset(data, 'x', len);
        stws_p_sha1(data, len, digests + 20 * len);
        free(data);
    }
    check_sha1("4ee55c5e082bdd64918ce81e1c13898cfa230941", digests, sizeof digests);
}

static void check_base64(const char *expected, const void *data, size_t len) {
    char *out = exact_block(strlen(expected) + 1);
    CHECK_INT(strlen(expected), stws_p_base64(data, len, out));
    CHECK_STR(expected, out);
    free(out);
}

/* From RFC 4648, section 10. */
static void test_base64_examples(void) {
    check_base64("", "", 0);
    check_base64("Zg==", "f", 1);
    check_base64("Zm8=", "fo", 2);
    check_base64("Zm9v", "foo", 3);
    check_base64("Zm9vYg==", "foob", 4);
    check_base64("Zm9vYmE=", "fooba", 5);
    check_base64("Zm9vYmFy", "foobar", 6);
    check_base64("AAAA", "\0\0\0", 3);
    check_base64("////", "\xff\xff\xff", 3);
    check_base64("+/+/", "\xfb\xff\xbf", 3);
}

static int sextet(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes bit by bit. Returns the number of bytes, or -1. */
static long decode_base64(const char *text, unsigned char *out) {
    unsigned long bits = 0;
    long bytes = 0;
    int held = 0;
    for (; *text && *text != '='; text++) {
        if (sextet(*text) < 0) return -1;
        bits = (bits << 6 | (unsigned long)sextet(*text)) & 0xFFFFFF;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        out[bytes++] = (unsigned char)(bits >> held);
    }
    return bytes;
}

static void test_base64_there_and_back(void) {
    dice d = dice_of(1);
    unsigned char bytes[64], back[80];
    char text[100];
    int i;
    for (i = 0; i < 5000; i++) {
        size_t len = roll_below(&d, sizeof bytes + 1), n;
        roll_bytes(&d, bytes, len);
        n = stws_p_base64(bytes, len, text);
        CHECK_INT((len + 2) / 3 * 4, n);
        CHECK_INT(n, strlen(text));
        CHECK_INT((3 - len % 3) % 3, n - strcspn(text, "="));
        CHECK_INT(len, decode_base64(text, back));
        CHECK(memcmp(bytes, back, len) == 0);
    }
}

static void check_accept(const char *expected, const char *key) {
    char *accept = exact_block(29);
    stws_handshake_accept(key, accept);
    CHECK_STR(expected, accept);
    free(accept);
}

/* From RFC 6455, 1.3 and 4.1. The second key encodes the sixteen bytes 1 to 16. */
static void test_accept(void) {
    check_accept("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "dGhlIHNhbXBsZSBub25jZQ==");
    check_accept("C/0nmHhBztSRGR1CwL6Tf4ZjwpY=", "AQIDBAUGBwgJCgsMDQ4PEA==");
}

static void test_key(void) {
    static const unsigned char one_to_sixteen[16] = {1, 2,  3,  4,  5,  6,  7,  8,
                                                     9, 10, 11, 12, 13, 14, 15, 16};
    char *key = exact_block(25);
    stws_handshake_key(one_to_sixteen, key);
    CHECK_STR("AQIDBAUGBwgJCgsMDQ4PEA==", key);
    stws_handshake_key((const unsigned char *)"the sample nonce", key);
    CHECK_STR("dGhlIHNhbXBsZSBub25jZQ==", key);
    free(key);
}

/* A server gets the key from its peer, so a key of any length must not overflow the buffer. */
static void test_accept_of_any_key(void) {
    char key[400], accept[29];
    size_t len;
    for (len = 0; len < sizeof key; len++) {
        memset(key, 'k', len);
        key[len] = 0;
        stws_handshake_accept(key, accept);
        CHECK_INT(28, strlen(accept));
    }
}

int main(void) {
    RUN(test_sha1_examples);
    RUN(test_sha1_of_a_million);
    RUN(test_sha1_of_every_length);
    RUN(test_base64_examples);
    RUN(test_base64_there_and_back);
    RUN(test_accept);
    RUN(test_key);
    RUN(test_accept_of_any_key);
    return test_report();
}
