/* Tests the UTF-8 validation against a reference that decodes one byte at a time. Text is checked
   as a whole, in pieces, and in fragments of WebSocket messages. Most tests run once for each kind
   of vector instructions that the processor supports. */
#include "tests/features.h"
#ifndef STOMP_WS_NO_IO
#define STOMP_WS_NO_IO /* the codecs are enough */
#endif
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

/* RFC 3629, section 3: the number of bytes of a character that begins with the byte c, and the
   smallest code point that needs so many. */
static size_t bytes_of(unsigned char c, unsigned long *bits, unsigned long *least) {
    static const unsigned long leasts[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = c < 0x80             ? 1
               : (c & 0xE0) == 0xC0 ? 2
               : (c & 0xF0) == 0xE0 ? 3
               : (c & 0xF8) == 0xF0 ? 4
                                    : 0;
    *bits = n == 1 ? c : n == 2 ? c & 0x1Fu : n == 3 ? c & 0x0Fu : c & 0x07u;
    *least = leasts[n];
    return n;
}

static int reference_valid(const unsigned char *p, size_t len) {
    size_t i = 0, k, n;
    unsigned long bits, least;
    while (i < len) {
        n = bytes_of(p[i], &bits, &least);
        if (n == 0 || n > len - i) return 0;
        for (k = 1; k < n; k++) {
            if ((p[i + k] & 0xC0) != 0x80) return 0;
            bits = bits << 6 | (p[i + k] & 0x3Fu);
        }
        if (bits < least || bits > 0x10FFFF || (bits >= 0xD800 && bits <= 0xDFFF)) return 0;
        i += n;
    }
    return 1;
}

static void compare(const unsigned char *p, size_t len) {
    int expected = reference_valid(p, len);
    test_checked();
    if (expected == stws_utf8_valid(p, len)) return;
    CHECK_INT(expected, !expected);
    if (len >= 4)
        printf("  %lu bytes, %02x %02x %02x %02x ...\n", (unsigned long)len, p[0], p[1], p[2],
               p[3]);
}

static void test_all_of_one_and_two_bytes(void) {
    unsigned char p[2];
    unsigned n;
    CHECK_INT(1, stws_utf8_valid("", 0));
    for (n = 0; n < 0x10000; n++) {
        p[0] = (unsigned char)(n >> 8);
        p[1] = (unsigned char)n;
        compare(p, 1);
        compare(p, 2);
    }
}

static void test_all_of_three_bytes(void) {
    unsigned char p[3];
    unsigned long n;
    for (n = 0; n < 0x1000000; n++) {
        p[0] = (unsigned char)(n >> 16);
        p[1] = (unsigned char)(n >> 8);
        p[2] = (unsigned char)n;
        if (reference_valid(p, 3) != stws_utf8_valid(p, 3)) CHECK_INT(-1, (long)n);
    }
    CHECK_INT(0x1000000, n);
}

/* All values of the first two bytes. The last two bytes take the values at the edges of every
   range. */
static void test_edges_of_four_bytes(void) {
    static const unsigned char edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90,
                                          0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    enum { EDGES = sizeof edges };
    unsigned char p[4];
    unsigned n;
    size_t i, k;
    for (n = 0; n < 0x10000; n++)
        for (i = 0; i < EDGES; i++)
            for (k = 0; k < EDGES; k++) {
                p[0] = (unsigned char)(n >> 8);
                p[1] = (unsigned char)n;
                p[2] = edges[i];
                p[3] = edges[k];
                compare(p, 4);
            }
}

static size_t put_character(unsigned long c, unsigned char *out) {
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (unsigned char)(0xC0 | c >> 6);
        out[1] = (unsigned char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (unsigned char)(0xE0 | c >> 12);
        out[1] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (unsigned char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (unsigned char)(0xF0 | c >> 18);
    out[1] = (unsigned char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (unsigned char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (unsigned char)(0x80 | (c & 0x3F));
    return 4;
}

/* Encodes every number up to 0x11FFFF. All are valid, except surrogates and numbers above
   0x10FFFF. */
static void test_all_characters(void) {
    unsigned char p[4];
    unsigned long c;
    for (c = 0; c < 0x120000; c++) {
        size_t len = put_character(c, p);
        int expected = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
        if (stws_utf8_valid(p, len) != expected) CHECK_INT(-1, (long)c);
    }
    CHECK_INT(0x120000, c);
}

/* ---- in text ---- */

static unsigned long roll_character(dice *d) {
    static const unsigned long limits[] = {0x80, 0x800, 0xD800, 0x110000};
    unsigned long c = (unsigned long)roll_below(d, limits[roll_below(d, 4)]);
    return c >= 0xD800 && c <= 0xDFFF ? 'x' : c;
}

/* Writes up to `most` bytes of text: runs of ASCII and of longer characters. */
static size_t roll_text(dice *d, unsigned char *out, size_t most) {
    size_t len = 0, run;
    while (len + 4 <= most && !one_in(d, 40)) {
        for (run = one_in(d, 3) ? roll_below(d, 70) : 0; run > 0 && len + 5 <= most; run--)
            out[len++] = 'a';
        len += put_character(roll_character(d), out + len);
    }
    return len;
}

/* Damages the text in one place: changes a byte, removes a byte, or cuts off the end. */
static size_t spoil(dice *d, unsigned char *text, size_t len) {
    static const unsigned char bytes[] = {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xC1, 0xC2,
                                          0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF};
    size_t at;
    if (len == 0) return 0;
    at = roll_below(d, len);
    switch (roll_below(d, 3)) {
        case 0: text[at] = bytes[roll_below(d, sizeof bytes)]; return len;
        case 1: memmove(text + at, text + at + 1, len - at - 1); return len - 1;
        default: return at;
    }
}

enum { MOST = 400 };

static void test_random_text(void) {
    unsigned char text[MOST];
    dice d = dice_of(7);
    int i;
    for (i = 0; i < 60000; i++) {
        size_t len = roll_text(&d, text, MOST), shift = roll_below(&d, 32);
        unsigned char *block;
        CHECK(reference_valid(text, len));
        if (one_in(&d, 2)) len = spoil(&d, text, len);
        block = exact_block(shift + len);
        memcpy(block + shift, text, len);
        compare(block + shift, len);
        free(block);
    }
}

/* One sequence between ASCII text, at every place around blocks of 16, 32 and 64 bytes. */
static void test_around_blocks(void) {
    static const char *const sequences[] = {"\x80",
                                            "\xbf",
                                            "\xc2",
                                            "\xc2\x80",
                                            "\xc0\x80",
                                            "\xe2\x82\xac",
                                            "\xe2\x82",
                                            "\xed\x9f\xbf",
                                            "\xed\xa0\x80",
                                            "\xf0\x9f\x98\x80",
                                            "\xf0\x9f\x98",
                                            "\xf4\x8f\xbf\xbf",
                                            "\xf4\x90\x80\x80",
                                            "\xff",
                                            "\xc3\xa9\xc3\xa9\xc3"};
    unsigned char text[MOST];
    size_t i, at, len, n;
    for (i = 0; i < sizeof sequences / sizeof *sequences; i++)
        for (len = 0; len < 150; len++)
            for (at = len > 70 ? len - 70 : 0; at <= len; at++) {
                n = strlen(sequences[i]);
                memset(text, 'a', len);
                memcpy(text + at, sequences[i], n);
                memset(text + at + n, 'b', len - at);
                compare(text, len + n);
            }
}

/* Puts n bytes between copies of a character. `before` bytes precede them; if the character's size
   does not divide `before`, they begin with ASCII. About 70 bytes follow. */
static size_t put_within(const char *character, size_t before, const unsigned char *bytes, size_t n,
                         unsigned char *out) {
    size_t size = strlen(character), at;
    memset(out, 'a', before % size);
    for (at = before % size; at < before; at += size) memcpy(out + at, character, size);
    memcpy(out + at, bytes, n);
    for (at += n; at < before + 70; at += size) memcpy(out + at, character, size);
    return at;
}

static const char *const characters[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
enum { CHARACTERS = sizeof characters / sizeof *characters };

/* All combinations of three bytes at the edges of every range, placed around the edges of the first
   vectors. */
static void test_threes_around_vectors(void) {
    static const unsigned char edges[] = {0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1,
                                          0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5};
    enum { EDGES = sizeof edges };
    unsigned char text[MOST], three[3];
    size_t n, i, before;
    for (n = 0; n < (size_t)EDGES * EDGES * EDGES; n++) {
        three[0] = edges[n / EDGES / EDGES];
        three[1] = edges[n / EDGES % EDGES];
        three[2] = edges[n % EDGES];
        for (i = 0; i < CHARACTERS; i++)
            for (before = 30 + n % 2; before < 39; before += 2)
                compare(text, put_within(characters[i], before, three, 3, text));
    }
}

/* All values of two bytes, with 0, 1 or 2 continuation bytes after them, at changing places. */
static void test_pairs_in_vectors(void) {
    unsigned char text[MOST], bytes[4] = {0, 0, 0x80, 0x80};
    size_t n;
    for (n = 0; n < 0x10000; n++) {
        bytes[0] = (unsigned char)(n >> 8);
        bytes[1] = (unsigned char)n;
        compare(text, put_within(characters[n % CHARACTERS], 3 + n % 67, bytes, 2, text));
        compare(text, put_within(characters[n % CHARACTERS], 3 + n % 71, bytes, 3, text));
        compare(text, put_within(characters[n % CHARACTERS], 3 + n % 73, bytes, 4, text));
    }
}

/* Text cut at both ends at every place, each time in a block of its own. */
static void test_cut_everywhere(void) {
    unsigned char text[MOST];
    size_t i, from, len, all;
    for (i = 0; i < CHARACTERS; i++) {
        all = put_within(characters[i], 75, (const unsigned char *)"\xf0\x9f\x98\x80\xc3\xa9", 6,
                         text);
        for (from = 0; from < 6; from++)
            for (len = 0; len <= all - from; len++) {
                char *copy = exact_copy(text + from, len);
                compare((const unsigned char *)copy, len);
                free(copy);
            }
    }
}

/* ASCII text of every length, in a block of its own. Then the same with one byte that is not
   ASCII. */
static void test_long_ascii(void) {
    size_t len;
    for (len = 200; len < 700; len++) {
        unsigned char *text = exact_block(len);
        memset(text, 'a', len);
        compare(text, len);
        text[len - 1 - len % 199] = 0x80;
        compare(text, len);
        free(text);
    }
}

/* ---- as a stream ---- */

/* Feeding two pieces must end like feeding single bytes: refused in the piece with the first wrong
   byte, or in the same state. */
static void check_pieces(const unsigned char *text, size_t len, const unsigned *states,
                         size_t wrong) {
    size_t a;
    for (a = 0; a <= len; a++) {
        char *one = exact_copy(text, a), *two = exact_copy(text + a, len - a);
        unsigned state = 0;
        int goes_on = stws_p_utf8_feed(&state, one, a);
        if (goes_on != (wrong >= a)) CHECK_INT((long)wrong, (long)a);
        if (goes_on && wrong >= a) {
            if (state != states[a]) CHECK_INT(states[a], state);
            goes_on = stws_p_utf8_feed(&state, two, len - a);
            if (goes_on != (wrong >= len)) CHECK_INT((long)wrong, (long)len);
            if (goes_on && state != states[len]) CHECK_INT(states[len], state);
        }
        free(one);
        free(two);
    }
}

/* states[n] is the state after n single bytes. */
static void test_pieces_of_random_text(void) {
    unsigned char text[MOST];
    unsigned states[MOST + 1];
    dice d = dice_of(9);
    int i;
    for (i = 0; i < 600; i++) {
        size_t len = roll_text(&d, text, MOST), n = 0;
        if (one_in(&d, 2)) len = spoil(&d, text, len);
        for (states[0] = 0; n < len; n++) {
            states[n + 1] = states[n];
            if (!stws_p_utf8_feed(&states[n + 1], text + n, 1)) break;
        }
        CHECK_INT(reference_valid(text, len), n == len && states[n] == 0);
        check_pieces(text, len, states, n);
    }
}

enum { TEXT_HEAD = 4 };

/* Builds a frame of up to 65,535 payload bytes as a server sends it. The length decides the form of
   the header. */
static size_t put_frame(char *out, stws_ws_opcode opcode, int fin, const void *payload,
                        size_t len) {
    size_t need = 0;
    CHECK_INT(STWS_OK, stws_ws_build(out, TEXT_HEAD + len, opcode, fin, payload, len, NULL, &need));
    return need;
}

/* Feeds one more piece in its own block. Returns the last result of the parser. The piece completes
   at most one message. */
static int feed(stws_ws *ws, char **left, size_t *left_len, const char *data, size_t len,
                int *last) {
    char *block = exact_block(*left_len + len);
    size_t total = *left_len + len, at = 0, used;
    stws_ws_event event;
    int result;
    if (*left_len) memcpy(block, *left, *left_len);
    if (len) memcpy(block + *left_len, data, len);
    while ((result = stws_ws_parse(block + at, total - at, ws, &event, &used)) == STWS_DONE) {
        at += used;
        *last = event.last;
    }
    if (result == STWS_MORE) at += used;
    free(*left);
    *left_len = total - at;
    *left = exact_copy(block + at, *left_len);
    free(block);
    return result;
}

/* Cuts the wire bytes after a and after b. The parser must accept one whole message, or refuse it
   with 1007, as the reference does. */
static void check_cut(const char *wire, size_t len, size_t a, size_t b, int valid) {
    stws_ws ws;
    char *left = NULL;
    size_t left_len = 0;
    int last = 0, result;
    memset(&ws, 0, sizeof ws);
    ws.check_utf8 = 1;
    result = feed(&ws, &left, &left_len, wire, a, &last);
    if (result >= 0) result = feed(&ws, &left, &left_len, wire + a, b - a, &last);
    if (result >= 0) result = feed(&ws, &left, &left_len, wire + b, len - b, &last);
    CHECK_INT(valid ? STWS_MORE : STWS_ERR_WS_UTF8, result);
    CHECK_INT(valid, last);
    if (!valid) CHECK_INT(1007, ws.close_code);
    free(left);
}

static void check_stream(const unsigned char *text, size_t len) {
    char wire[MOST + 3 * TEXT_HEAD];
    int valid = reference_valid(text, len);
    size_t wire_len = put_frame(wire, STWS_WS_TEXT, 1, text, len), a, n;
    for (a = 0; a <= wire_len; a++) {
        check_cut(wire, wire_len, a, a, valid);
        check_cut(wire, wire_len, a, a + 1 < wire_len ? a + 1 : wire_len, valid);
        check_cut(wire, wire_len, a, a + 2 < wire_len ? a + 2 : wire_len, valid);
    }
    for (a = 0; a <= len; a++) {
        n = put_frame(wire, STWS_WS_TEXT, 0, text, a);
        n += put_frame(wire + n, STWS_WS_CONTINUATION, 1, text + a, len - a);
        check_cut(wire, n, 0, n, valid);
        check_cut(wire, n, n / 2, n, valid);
    }
}

static void test_streams_of_few_characters(void) {
    static const char *const texts[] = {"",
                                        "a",
                                        "\xc3\xa9",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80",
                                        "\xed\xa0\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xe2\x82",
                                        "\xf0\x9f\x98",
                                        "\xc3\xa9\x80",
                                        "x\xe2\x82y",
                                        "\xc0\x80",
                                        "\xe0\x80\x80",
                                        "\xf0\x80\x80\x80",
                                        "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z"};
    size_t i;
    for (i = 0; i < sizeof texts / sizeof *texts; i++)
        check_stream((const unsigned char *)texts[i], strlen(texts[i]));
}

static void test_random_streams(void) {
    unsigned char text[160];
    dice d = dice_of(8);
    int i;
    for (i = 0; i < 150; i++) {
        size_t len = roll_text(&d, text, sizeof text);
        if (one_in(&d, 2)) len = spoil(&d, text, len);
        check_stream(text, len);
    }
}

/* RFC 6455, 8.1: invalid text is refused at the first byte that cannot be valid, before the message
   ends (Autobahn case 6.4). */
static void check_refused_at(const char *text, size_t at) {
    char frame[64];
    size_t i, used;
    stws_ws_event event;
    stws_ws ws;
    memset(&ws, 0, sizeof ws);
    ws.check_utf8 = 1;
    memcpy(frame, "\x01\x7e\x01\x00", 4);
    CHECK_INT(STWS_MORE, stws_ws_parse(frame, 4, &ws, &event, &used));
    for (i = 0; i < at; i++) {
        char byte = text[i];
        CHECK_INT(STWS_DONE, stws_ws_parse(&byte, 1, &ws, &event, &used));
    }
    frame[0] = text[at];
    CHECK_INT(STWS_ERR_WS_UTF8, stws_ws_parse(frame, 1, &ws, &event, &used));
}

static void test_refused_at_the_first_wrong_byte(void) {
    check_refused_at("\x80", 0);
    check_refused_at("abc\xc0", 3);
    check_refused_at("\xc3"
                     "a",
                     1);
    check_refused_at("\xe0\x9f", 1);
    check_refused_at("\xed\xa0", 1);
    check_refused_at("\xe2\x82"
                     "a",
                     2);
    check_refused_at("\xf0\x8f", 1);
    check_refused_at("\xf4\x90", 1);
    check_refused_at("\xf0\x9f\x98"
                     "a",
                     3);
    check_refused_at("\xf5", 0);
    check_refused_at("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80", 12);
}

int main(void) {
    RUN(test_all_of_one_and_two_bytes);
    RUN(test_all_of_three_bytes);
    RUN(test_edges_of_four_bytes);
    RUN(test_all_characters);
    for (vectors_allowed = NO_VECTORS; vectors_allowed <= ALL_VECTORS; vectors_allowed++) {
        RUN(test_random_text);
        RUN(test_around_blocks);
        RUN(test_threes_around_vectors);
        RUN(test_pairs_in_vectors);
        RUN(test_cut_everywhere);
        RUN(test_long_ascii);
        RUN(test_pieces_of_random_text);
    }
    RUN(test_streams_of_few_characters);
    RUN(test_random_streams);
    RUN(test_refused_at_the_first_wrong_byte);
    return test_report();
}
