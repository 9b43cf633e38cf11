/* UTF-8. The validator, called for a whole text and for pieces, is compared with a simple one that
   reads byte by byte and computes code points. Also tests the function that splits between
   characters. All kinds of vector instructions of this processor are tested. */
#include "tests/features.h"
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/fuzz/fuzz.h"

/* Returns the number of bytes in a character that begins with this byte; 0: no character begins
   with it. */
static size_t reference_length(unsigned first) {
    if (first < 0x80) return 1;
    if ((first & 0xE0) == 0xC0) return 2;
    if ((first & 0xF0) == 0xE0) return 3;
    return (first & 0xF8) == 0xF0 ? 4 : 0;
}

/* RFC 3629, section 3: only the shortest form, no surrogates, nothing above U+10FFFF. */
static int reference_character(const unsigned char *p, size_t len) {
    static const unsigned long smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned long code = len == 1 ? p[0] : p[0] & (0x7Fu >> len);
    size_t i;
    for (i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
        code = code << 6 | (p[i] & 0x3F);
    }
    return code >= smallest[len] && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
}

enum { INVALID, CUT, VALID };

/* An incomplete character is valid so far if it becomes valid with the lowest or the highest
   following bytes. */
static int reference_rest(const unsigned char *p, size_t have, size_t len) {
    unsigned char low[4] = {0x80, 0x80, 0x80, 0x80}, high[4] = {0xBF, 0xBF, 0xBF, 0xBF};
    memcpy(low, p, have);
    memcpy(high, p, have);
    return reference_character(low, len) || reference_character(high, len) ? CUT : INVALID;
}

static int reference(const unsigned char *p, size_t len) {
    while (len > 0) {
        size_t n = reference_length(*p);
        if (n == 0) return INVALID;
        if (n > len) return reference_rest(p, len, n);
        if (!reference_character(p, n)) return INVALID;
        p += n;
        len -= n;
    }
    return VALID;
}

/* Validates piece by piece. An invalid byte must be found in the piece that contains it. */
static void check_pieces(const unsigned char *data, size_t len, struct fuzz_cuts cuts) {
    unsigned state = 0;
    size_t have = 0;
    int goes_on = 1;
    while (goes_on && have < len) {
        size_t n = fuzz_cut(&cuts, len - have);
        char *piece = fuzz_copy(data + have, n);
        int expected;
        goes_on = stws_p_utf8_feed(&state, piece, n);
        free(piece);
        have += n;
        expected = reference(data, have);
        FUZZ_CHECK(goes_on == (expected != INVALID));
        if (goes_on) FUZZ_CHECK((state == 0) == (expected == VALID));
    }
}

/* Valid text that is split anywhere must still be valid. The same is checked for the reason in a
   close frame. */
static void check_cut(const unsigned char *data, size_t len, size_t at) {
    char *text = fuzz_string(data, len), *payload = fuzz_room(125);
    size_t cut = stws_p_utf8_cut(text, at, len), n;
    FUZZ_CHECK(cut <= at || at > len);
    FUZZ_CHECK(cut <= len);
    if (at >= 4) FUZZ_CHECK(reference(data, cut) == VALID);
    n = stws_ws_close_payload(payload, 1000, text);
    FUZZ_CHECK(n >= 2 && n <= 125);
    FUZZ_CHECK(n - 2 <= strlen(text));
    FUZZ_CHECK(memcmp(payload + 2, text, n - 2) == 0);
    FUZZ_CHECK(stws_utf8_valid(payload + 2, n - 2));
    if (strlen(text) <= 123) FUZZ_CHECK(n - 2 == strlen(text));
    free(text);
    free(payload);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    struct fuzz_input in = {data, size};
    struct fuzz_cuts cuts = fuzz_cuts_of(&in);
    size_t shift = fuzz_below(&in, 16), at = fuzz_number(&in);
    char *block = fuzz_room(shift + in.left);
    int expected = reference(in.data, in.left);
    memset(block, 0xFF, shift);
    if (in.left) memcpy(block + shift, in.data, in.left);
    for (vectors_allowed = NO_VECTORS; vectors_allowed <= ALL_VECTORS; vectors_allowed++) {
        FUZZ_CHECK(stws_utf8_valid(block + shift, in.left) == (expected == VALID));
        check_pieces(in.data, in.left, cuts);
    }
    free(block);
    if (expected == VALID) check_cut(in.data, in.left, in.left ? at % (in.left + 1) : 0);
}
