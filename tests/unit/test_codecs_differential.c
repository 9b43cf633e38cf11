/* Tests stws_frame_parse against the reference parser of reference_stomp.h. Frames are generated,
   damaged and cut into pieces at random; both parsers must agree on the frames, the errors and the
   number of consumed bytes. */
#ifndef STOMP_WS_NO_IO
#define STOMP_WS_NO_IO /* the codecs are enough */
#endif
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/reference_stomp.h"
#include "tests/unit/test_codecs.h"

enum { MOST_BYTES = 4096 };

typedef struct text {
    char data[MOST_BYTES];
    size_t len;
} text;

static void put(text *t, const char *s, size_t len) {
    if (len > MOST_BYTES - t->len) len = MOST_BYTES - t->len;
    memcpy(t->data + t->len, s, len);
    t->len += len;
}

static void put_string(text *t, const char *s) {
    put(t, s, strlen(s));
}

static void put_one_of(dice *d, text *t, const char *const *words, size_t count) {
    put_string(t, words[roll_below(d, count)]);
}

#define PUT_ONE_OF(d, t, words) put_one_of(d, t, words, sizeof(words) / sizeof *(words))

/* ---- frames ---- */

static void put_end_of_line(dice *d, text *t) {
    put_string(t, one_in(d, 4) ? "\r\n" : "\n");
}

static void put_between(dice *d, text *t) {
    static const char *const words[] = {"\n", "\n", "\n", "\r\n", "\n\n\n"};
    size_t n = one_in(d, 2) ? 0 : roll_below(d, 4);
    while (n-- > 0) PUT_ONE_OF(d, t, words);
    if (one_in(d, 12)) put(t, "\0\0", 1 + roll_below(d, 2));
    if (one_in(d, 150)) put_string(t, "\r");
}

static void put_command(dice *d, text *t) {
    static const char *const usual[] = {"MESSAGE", "MESSAGE",   "MESSAGE", "RECEIPT",
                                        "ERROR",   "CONNECTED", "SEND"};
    static const char *const rare[] = {"CONNECT",
                                       "STOMP",
                                       "MESSAGES",
                                       "X",
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF",
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG",
                                       "message",
                                       "MESSAGE ",
                                       "HTTP/1.1 400"};
    if (one_in(d, 12))
        PUT_ONE_OF(d, t, rare);
    else
        PUT_ONE_OF(d, t, usual);
    put_end_of_line(d, t);
}

/* Builds header text from pieces: plain pieces, and pieces with a special meaning in some
   context. */
static void put_header_text(dice *d, text *t) {
    static const char *const plain[] = {"a",
                                        "x=1",
                                        "/topic/notifications",
                                        "key",
                                        "some value",
                                        "\xc3\xa9",
                                        "0123456789abcdefghijklmnopqrstuvwxyz",
                                        "\xff",
                                        "\x01",
                                        "\t",
                                        " "};
    static const char *const special[] = {"\\n",    "\\c",   "\\\\", "\\r",
                                          "\\n\\c", "\\\\n", ":",    "\r"};
    static const char *const bad[] = {"\\t", "\\", "\\:", "\\\\\\", "\\N", "\\\r"};
    size_t n = 1 + roll_below(d, 4);
    while (n-- > 0) {
        if (one_in(d, 60))
            PUT_ONE_OF(d, t, bad);
        else if (one_in(d, 4))
            PUT_ONE_OF(d, t, special);
        else
            PUT_ONE_OF(d, t, plain);
    }
}

static void put_header(dice *d, text *t) {
    static const char *const known[] = {"destination:/topic/a",
                                        "message-id:7",
                                        "subscription:0",
                                        "ack:ID\\c1",
                                        "content-type:text/plain",
                                        "receipt-id:77",
                                        "a:",
                                        " padded : value ",
                                        "Content-Length:3",
                                        "content-length2:3"};
    static const char *const bad[] = {"nothing", ":empty", ":", " ", "\t:x"};
    if (one_in(d, 40)) {
        PUT_ONE_OF(d, t, bad);
    } else if (one_in(d, 2)) {
        PUT_ONE_OF(d, t, known);
    } else {
        put_header_text(d, t);
        put_string(t, ":");
        put_header_text(d, t);
    }
    put_end_of_line(d, t);
}

static void put_length(dice *d, text *t, size_t len) {
    static const char *const odd[] = {
        "x", "-1", "", " ", "2x", "0x2", "18446744073709551618", "99999", "1 1", "4294967296"};
    char value[40];
    put_string(t, "content-length:");
    if (one_in(d, 20)) {
        PUT_ONE_OF(d, t, odd);
    } else {
        snprintf(value, sizeof value,
                 one_in(d, 8)   ? " %lu\t"
                 : one_in(d, 8) ? "000%lu"
                                : "%lu",
                 (unsigned long)len);
        put_string(t, value);
    }
    put_end_of_line(d, t);
}

static void put_body(dice *d, text *t, const char *body, size_t len) {
    put_end_of_line(d, t);
    put(t, body, len);
    if (!one_in(d, 100)) put(t, "", 1);
    if (one_in(d, 100)) put_string(t, "more");
}

static void put_frame(dice *d, text *t) {
    char body[200];
    size_t len = one_in(d, 3) ? 0 : roll_below(d, one_in(d, 4) ? sizeof body : 20),
           headers = roll_below(d, 6), i;
    int counted = one_in(d, 2);
    roll_bytes(d, body, len);
    for (i = 0; i < len; i++)
        if (one_in(d, 8)) body[i] = "\n\r:\\\0"[roll_below(d, 5)];
    for (i = 0; !counted && i < len; i++)
        if (body[i] == 0) body[i] = 'x';
    put_between(d, t);
    put_command(d, t);
    for (i = 0; i < headers; i++) put_header(d, t);
    if (counted) put_length(d, t, one_in(d, 60) ? roll_below(d, 300) : len);
    if (one_in(d, 15)) put_length(d, t, roll_below(d, 30));
    while (one_in(d, 3)) put_header(d, t);
    put_body(d, t, body, len);
}

/* Changes, removes or inserts one byte, usually a byte with a special meaning. Or changes several
   bytes: to one value, or to a copy of another part of the text, because a parser that compares
   words may mistake one for another. */
static void mutate(dice *d, text *t) {
    static const char bytes[] = "\n\r\0:\\ \tAZaznrct0189-\xff";
    size_t at, most, from;
    char c = bytes[roll_below(d, sizeof bytes - 1)];
    if (t->len == 0 || t->len == MOST_BYTES) return;
    at = roll_below(d, t->len);
    most = t->len - at < 20 ? t->len - at : 20;
    from = roll_below(d, t->len - most + 1);
    switch (roll_below(d, 6)) {
        case 0:
            memmove(t->data + at, t->data + at + 1, t->len - at - 1);
            t->len--;
            break;
        case 1:
            memmove(t->data + at + 1, t->data + at, t->len - at);
            t->data[at] = c;
            t->len++;
            break;
        case 2: memset(t->data + at, c, 1 + roll_below(d, most)); break;
        case 3: memmove(t->data + at, t->data + from, 1 + roll_below(d, most)); break;
        default: t->data[at] = c;
    }
}

/* ---- runs ---- */

typedef struct cutting {
    dice *d;
    size_t most; /* 0: all in one piece */
} cutting;

static size_t next_piece(void *ctx, size_t left) {
    cutting *c = ctx;
    size_t n = c->most ? 1 + roll_below(c->d, c->most) : left;
    return n < left ? n : left;
}

static void print_bytes(const text *t) {
    size_t i;
    for (i = 0; i < t->len; i++) {
        unsigned char c = (unsigned char)t->data[i];
        if (c >= ' ' && c < 127 && c != '\\')
            putchar(c);
        else
            printf("\\x%02x", (unsigned)c);
    }
    putchar('\n');
}

static void compare_cut(unsigned long seed, cutting c, const text *t, ref_settings settings) {
    const char *difference;
    settings.next_piece = next_piece;
    settings.ctx = &c;
    difference = ref_compare(t->data, t->len, &settings);
    CHECK_STR(NULL, difference);
    if (!difference || test_case_failures > 3) return;
    printf("seed %lu, version %d, pieces of %lu, limits %lu %lu %lu:\n", seed, settings.version,
           (unsigned long)c.most, (unsigned long)settings.max_headers,
           (unsigned long)settings.max_line, (unsigned long)settings.max_body);
    print_bytes(t);
}

static void compare(unsigned long seed, dice *d, const text *t, ref_settings settings) {
    static const stws_stomp_version versions[] = {STWS_STOMP_NONE, STWS_STOMP_10, STWS_STOMP_11,
                                                  STWS_STOMP_12, STWS_STOMP_12};
    static const size_t pieces[] = {0, 1, 2, 5, 40, 300};
    cutting c = {NULL, 0};
    c.d = d;
    c.most = pieces[roll_below(d, sizeof pieces / sizeof *pieces)];
    settings.version = versions[roll_below(d, sizeof versions / sizeof *versions)];
    compare_cut(seed, c, t, settings);
}

/* Runs `count` streams of one to four frames, each generated from its seed, with up to `mutations`
   mutations. */
static void run_seeds(unsigned long from, unsigned long count, size_t mutations, int tight) {
    static text t;
    unsigned long seed;
    for (seed = from; seed < from + count; seed++) {
        dice d = dice_of(seed);
        ref_settings settings;
        size_t frames = 1 + roll_below(&d, 4), n = mutations ? 1 + roll_below(&d, mutations) : 0;
        memset(&settings, 0, sizeof settings);
        settings.max_headers = tight ? roll_below(&d, 5) : 64;
        settings.max_line = tight ? 20 + roll_below(&d, 60) : 4096;
        settings.max_body = tight ? 1 + roll_below(&d, 60) : 100000;
        t.len = 0;
        while (frames-- > 0) put_frame(&d, &t);
        while (n-- > 0) mutate(&d, &t);
        compare(seed, &d, &t, settings);
    }
}

static void test_generated_frames(void) {
    run_seeds(1, 20000, 0, 0);
}

static void test_mutated_frames(void) {
    run_seeds(100001, 30000, 6, 0);
}

static void test_tight_limits(void) {
    run_seeds(200001, 20000, 3, 1);
}

/* Random sequences of bytes with a special meaning, with or without the beginning of a head before
   them. */
static void test_random_special_bytes(void) {
    static const char bytes[] = "\n\n\n\r\0:::\\\\ncrt AB";
    static text t;
    unsigned long seed;
    for (seed = 300001; seed < 330001; seed++) {
        dice d = dice_of(seed);
        ref_settings settings = {0, 8, 64, 64, NULL, NULL};
        size_t n = roll_below(&d, 60);
        t.len = 0;
        if (!one_in(&d, 6)) put_string(&t, "MESSAGE\n");
        while (n-- > 0) put(&t, &bytes[roll_below(&d, sizeof bytes - 1)], 1);
        compare(seed, &d, &t, settings);
    }
}

/* Every sequence of five of these nine bytes, inside a head. */
static void test_all_short_heads(void) {
    static const char bytes[] = "\n\r\0:\\nca";
    enum { KINDS = sizeof bytes, LENGTH = 5 };
    static text t;
    unsigned long n, total = 1, rest;
    int i;
    for (i = 0; i < LENGTH; i++) total *= KINDS;
    for (n = 0; n < total; n++) {
        dice d = dice_of(n + 400001);
        ref_settings settings = {0, 2, 100, 100, NULL, NULL};
        t.len = 0;
        put_string(&t, "ERROR\n");
        for (i = 0, rest = n; i < LENGTH; i++, rest /= KINDS) put(&t, &bytes[rest % KINDS], 1);
        put(&t, "\n\n\0", 3);
        compare(n + 400001, &d, &t, settings);
    }
}

/* The parser expects that a frame has the same headers as the frame before. Here the second frame
   has another line in place of the known header: any byte, 1 to 16 times, and then ":value". */
static void test_other_header_in_place_of_a_known_one(void) {
    static const char *const before[] = {"ack:1\n",          "x:1\n",
                                         "destination:1\n",  "message-id:1\n",
                                         "receipt-id:1\n",   "subscription:1\n",
                                         "content-type:1\n", "content-length:0\n"};
    enum { FRAMES = 8, BYTES = 256, TIMES = 16 };
    static text t;
    unsigned n;
    for (n = 0; n < FRAMES * BYTES * TIMES; n++) {
        ref_settings settings = {STWS_STOMP_12, 8, 100, 100, NULL, NULL};
        cutting whole = {NULL, 0};
        char byte = (char)(n / FRAMES % BYTES);
        unsigned times = 1 + n / FRAMES / BYTES;
        t.len = 0;
        put_string(&t, "MESSAGE\n");
        put_string(&t, before[n % FRAMES]);
        put(&t, "\n\0MESSAGE\n", 10);
        while (times-- > 0) put(&t, &byte, 1);
        put_string(&t, ":value\n\nand a body of more bytes than are looked at together");
        put(&t, "", 1);
        compare_cut(n, whole, &t, settings);
    }
}

/* Tests the reference parser alone, on cases from the specification. Otherwise both parsers could
   have the same defect and agree. */
static void test_reference_alone(void) {
    static const char frame[] = "\n\0MESSAGE\r\na\\c:b\\n\ncontent-length:3\n\nx\0y";
    ref_stomp r;
    size_t i;
    ref_begin(&r, STWS_STOMP_12, 4, 100, 100);
    for (i = 0; i + 1 < sizeof frame; i++) CHECK_INT(REF_MORE, ref_byte(&r, frame[i]));
    CHECK_INT(REF_DONE, ref_byte(&r, 0));
    CHECK_STR("MESSAGE", r.command.data);
    CHECK_INT(2, r.header_count);
    CHECK_STR("a:", r.headers[0].name.data);
    CHECK_STR("b\n", r.headers[0].value.data);
    CHECK_MEM("x\0y", 3, r.body.data, r.body.len);
    CHECK_INT(1, r.heartbeats);
    CHECK_INT(sizeof frame, r.settled);
    ref_end(&r);
}

static void test_reference_refuses(void) {
    static const struct {
        const char *bytes;
        int error;
    } cases[] = {{"m", STWS_ERR_FRAME_COMMAND},
                 {"MESSAGE\nx\n", STWS_ERR_FRAME_HEADER},
                 {"MESSAGE\na:\\t\n", STWS_ERR_FRAME_ESCAPE},
                 {"MESSAGE\na:b\rc", STWS_ERR_FRAME_CR},
                 {"MESSAGE\ncontent-length:x\n", STWS_ERR_FRAME_LENGTH},
                 {"MESSAGE\na:b\nc:d\ne:f\n", STWS_ERR_FRAME_HEADERS},
                 {"MESSAGE\na:012345679", STWS_ERR_FRAME_LINE},
                 {"MESSAGE\n\n012345", STWS_ERR_FRAME_BODY}};
    size_t i, k;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        ref_stomp r;
        enum ref_answer answer = REF_MORE;
        ref_begin(&r, STWS_STOMP_12, 2, strchr(cases[i].bytes, '9') ? 10 : 100, 5);
        for (k = 0; cases[i].bytes[k]; k++) {
            CHECK_INT(REF_MORE, answer);
            answer = ref_byte(&r, cases[i].bytes[k]);
        }
        CHECK_INT(REF_FATAL, answer);
        CHECK_INT(ref_bit(cases[i].error), r.faults);
        ref_end(&r);
    }
}

int main(void) {
    RUN(test_reference_alone);
    RUN(test_reference_refuses);
    RUN(test_generated_frames);
    RUN(test_mutated_frames);
    RUN(test_tight_limits);
    RUN(test_random_special_bytes);
    RUN(test_all_short_heads);
    RUN(test_other_header_in_place_of_a_known_one);
    return test_report();
}
