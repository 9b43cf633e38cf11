// Measures the codecs without a socket, in nanoseconds. Each line of output is a JSON object that
// contains the name of a measurement and the best of several rounds. Masking and UTF-8 are compared
// with their bounds: memcpy and a plain SSE2 loop are the fastest possible, a loop over bytes is
// the slow one that they must beat.
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_NO_IO
#include "../../stomp_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 200, COPIES = 64, MAX_HEADERS = 20, ROOM = 1024, MIB = 1 << 20 };

static const unsigned char key[4] = {0x37, 0xFA, 0x21, 0x3D};
static volatile size_t sink;

static double now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void check(int ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "bench_micro: %s\n", what);
    exit(EXIT_FAILURE);
}

static void report(const char *name, size_t unit, double ns, size_t bytes) {
    printf("{\"name\":\"%s %zu\",\"ns\":%.2f,\"gb_s\":%.2f}\n", name, unit, ns,
           ns > 0 ? (double)bytes / ns : 0);
}

// ---- STOMP ----

static size_t make_frame(char *out, size_t header_count) {
    static const char *const usual[][2] = {
        {"destination", "/topic/bench"}, {"message-id", "session-1234-0000001"},
        {"subscription", "sub-1"},       {"content-type", "text/plain;charset=utf-8"},
        {"timestamp", "1700000000000"},  {"priority", "4"},
    };
    static char names[MAX_HEADERS][32], body[64];
    stws_header headers[MAX_HEADERS];
    stws_frame frame;
    size_t i, need = 0;
    memset(&frame, 0, sizeof frame);
    memset(headers, 0, sizeof headers);
    memset(body, 'x', sizeof body);
    for (i = 0; i < header_count; i++) {
        int is_usual = i < sizeof usual / sizeof usual[0];
        if (!is_usual) sprintf(names[i], "x-application-%03u", (unsigned)i);
        headers[i].name = is_usual ? usual[i][0] : names[i];
        headers[i].value = is_usual ? usual[i][1] : "some value of 24 bytes..";
    }
    frame.command_id = STWS_COMMAND_MESSAGE;
    frame.headers = headers;
    frame.header_count = header_count;
    frame.body = body;
    frame.body_len = sizeof body;
    check(stws_frame_build(out, ROOM, STWS_STOMP_12, &frame, &need) == STWS_OK, "no frame");
    return need;
}

// Parsing changes the frame in place, so a fresh copy is made before the clock starts.
static void parse(size_t header_count, int with_websocket) {
    static char one[ROOM], wire[ROOM], copies[COPIES][ROOM];
    stws_header headers[MAX_HEADERS + 1];
    size_t len = make_frame(one, header_count), wire_len = len, used, i;
    double best = 1e9;
    int round;
    memcpy(wire, one, len);
    if (with_websocket)
        stws_ws_build(wire, sizeof wire, STWS_WS_TEXT, 1, one, len, NULL, &wire_len);
    for (round = 0; round < ROUNDS; round++) {
        stws_frame_state state;
        stws_ws ws;
        double began;
        memset(&state, 0, sizeof state);
        memset(&ws, 0, sizeof ws);
        state.version = STWS_STOMP_12;
        state.headers = headers;
        state.max_headers = MAX_HEADERS + 1;
        for (i = 0; i < COPIES; i++) memcpy(copies[i], wire, wire_len);
        began = now_ns();
        for (i = 0; i < COPIES; i++) {
            stws_ws_event event;
            stws_frame frame;
            event.data = copies[i];
            event.len = wire_len;
            if (with_websocket) stws_ws_parse(copies[i], wire_len, &ws, &event, &used);
            check(stws_frame_parse(event.data, event.len, &state, &frame, &used) == STWS_DONE,
                  "no frame was parsed");
            sink += frame.body_len;
        }
        if (now_ns() - began < best) best = now_ns() - began;
    }
    report(with_websocket ? "decode" : "parse", header_count, best / COPIES, len);
}

static void build(size_t header_count) {
    static char one[ROOM], out[ROOM];
    stws_header headers[MAX_HEADERS + 1];
    stws_frame_state state;
    stws_frame frame;
    size_t len = make_frame(one, header_count), used;
    double best = 1e9;
    int round, i;
    memset(&state, 0, sizeof state);
    state.version = STWS_STOMP_12;
    state.headers = headers;
    state.max_headers = MAX_HEADERS + 1;
    check(stws_frame_parse(one, len, &state, &frame, &used) == STWS_DONE, "no frame");
    for (round = 0; round < ROUNDS; round++) {
        double began = now_ns();
        for (i = 0; i < COPIES; i++)
            sink += (size_t)stws_frame_build(out, sizeof out, STWS_STOMP_12, &frame, &used);
        if (now_ns() - began < best) best = now_ns() - began;
    }
    report("build", header_count, best / COPIES, used);
}

// ---- masking and UTF-8, each as a function of (to, from, len) ----

typedef void work(char *to, const char *from, size_t len);

static void ours(char *to, const char *from, size_t len) {
    stws_ws_mask(to, from, len, key, 1);
}

static void byte_by_byte(char *to, const char *from, size_t len) {
    size_t i;
    for (i = 0; i < len; i++) to[i] = (char)(from[i] ^ (char)key[(i + 1) & 3]);
}

static void by_memcpy(char *to, const char *from, size_t len) {
    memcpy(to, from, len);
}

#ifdef __SSE2__
#include <emmintrin.h>
static void by_sse2(char *to, const char *from, size_t len) {
    const __m128i wide = _mm_set1_epi32(0x373D21FA);
    size_t i;
    for (i = 0; i + 16 <= len; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(from + i));
        _mm_storeu_si128((__m128i *)(void *)(to + i), _mm_xor_si128(v, wide));
    }
    for (; i < len; i++) to[i] = (char)(from[i] ^ (char)key[(i + 1) & 3]);
}
#endif

static void validate(char *to, const char *from, size_t len) {
    (void)to;
    check(stws_utf8_valid(from, len), "text that is not valid");
}

static void measure(const char *name, work *volatile function, const char *from, size_t len) {
    char *to = (char *)malloc(len);
    size_t times = (size_t)4 * MIB / len + 1, i;
    double best = 1e12;
    int round;
    check(to != NULL, "no memory");
    for (round = 0; round < 20; round++) {
        double began = now_ns();
        for (i = 0; i < times; i++) function(to, from, len);
        if (now_ns() - began < best) best = now_ns() - began;
    }
    sink += (unsigned char)to[len / 2];
    report(name, len, best / (double)times, len);
    free(to);
}

// Text with characters of one to four bytes, which is typical outside of English.
static void make_mixed(char *text, size_t len) {
    static const char piece[] = "Gr\xC3\xBC\xC3\x9F"
                                "e \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x98\x80 abc, ";
    size_t i;
    memset(text, ' ', len);
    for (i = 0; i + sizeof piece <= len; i += sizeof piece - 1)
        memcpy(text + i, piece, sizeof piece - 1);
}

int main(void) {
    char *text = (char *)malloc(MIB);
    size_t headers[] = {2, 6, 20}, i;
    check(text != NULL, "no memory");
    for (i = 0; i < 3; i++) parse(headers[i], 0);
    for (i = 0; i < 3; i++) build(headers[i]);
    parse(6, 1);
    memset(text, 'x', MIB);
    measure("mask", ours, text, 1024);
    measure("mask by memcpy", by_memcpy, text, 1024);
    measure("mask byte by byte", byte_by_byte, text, 1024);
#ifdef __SSE2__
    measure("mask by sse2", by_sse2, text, 1024);
#endif
    measure("utf8 ascii", validate, text, MIB);
    make_mixed(text, MIB);
    measure("utf8 mixed", validate, text, MIB);
    free(text);
    return EXIT_SUCCESS;
}
