// What the C programs of the benchmark have in common: arguments, a clock, and one line of JSON.
//
//     PROGRAM --url URL --mode burst|pingpong|sink --count N --size OCTETS
//
// burst     subscribe to /topic/bench, read each message until one comes from /topic/end
// pingpong  N times: SEND to /topic/echo and wait for the MESSAGE
// sink      SEND N bodies to /topic/sink, then wait for the MESSAGE from /topic/end
#ifndef BENCH_H
#define BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Round trips are counted by their length, so that measuring takes little memory: each nanosecond
// has a bucket up to 1,024, above that each octave has 512, and none is wider than 0.2 %.
enum { BENCH_OCTAVE = 512, BENCH_BUCKETS = 40 * BENCH_OCTAVE };

typedef struct bench {
    const char *program, *url, *mode;
    long count, size;
    char *body;
    unsigned trips[BENCH_BUCKETS];
    long messages;       // how many so far
    double began, ended; // seconds
    size_t checksum;     // of what was read, so that no reading is optimised away
} bench;

static inline double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline int bench_is(const bench *b, const char *mode) {
    return strcmp(b->mode, mode) == 0;
}

static inline int bench_take_argument(bench *b, const char *name, const char *value) {
    if (strcmp(name, "--url") == 0) return (b->url = value) != NULL;
    if (strcmp(name, "--count") == 0) return (b->count = atol(value)) > 0;
    if (strcmp(name, "--size") == 0) return (b->size = atol(value)) >= 0;
    if (strcmp(name, "--mode") != 0) return 0;
    b->mode = value;
    return bench_is(b, "burst") || bench_is(b, "pingpong") || bench_is(b, "sink");
}

static inline void *bench_memory(size_t size) {
    void *memory = malloc(size);
    if (!memory) abort();
    return memory;
}

// Ends the program with 2 when the arguments are wrong. b is static, and so empty.
static inline void bench_begin(bench *b, int argc, char **argv) {
    int i, ok = argc % 2;
    b->program = argv[0];
    b->mode = "burst";
    b->count = 100000;
    for (i = 1; ok && i < argc; i += 2) ok = bench_take_argument(b, argv[i], argv[i + 1]);
    if (!ok || !b->url) {
        fprintf(stderr,
                "usage: %s --url URL --mode burst|pingpong|sink --count N --size OCTETS\n"
                "  against build/bench_server, which prints its port; the path of the URL\n"
                "  says the same again: ws://127.0.0.1:PORT/MODE/COUNT/SIZE\n",
                argv[0]);
        exit(2);
    }
    b->body = (char *)bench_memory((size_t)b->size + 1);
    memset(b->body, 'x', (size_t)b->size);
    b->body[b->size] = 0;
}

static inline void bench_note_trip(bench *b, double seconds) {
    unsigned long ns = (unsigned long)(seconds * 1e9), octave = 0;
    while (ns >> octave >= 2 * BENCH_OCTAVE) octave++;
    b->trips[octave * BENCH_OCTAVE + (ns >> octave)]++;
}

// The middle of a bucket, in microseconds.
static inline double bench_bucket_us(unsigned long bucket) {
    unsigned long octave = bucket < 2 * BENCH_OCTAVE ? 0 : bucket / BENCH_OCTAVE - 1;
    unsigned long least = (bucket - octave * BENCH_OCTAVE) << octave;
    return ((double)least + (double)(1ul << octave) / 2) / 1e3;
}

static inline double bench_percentile_us(const bench *b, long per_mille) {
    long before = b->count * per_mille / 1000;
    unsigned long bucket = 0;
    if (!bench_is(b, "pingpong")) return 0;
    while (bucket < BENCH_BUCKETS - 1 && before >= (long)b->trips[bucket])
        before -= (long)b->trips[bucket++];
    return bench_bucket_us(bucket);
}

static inline void bench_report(const bench *b) {
    printf("{\"msgs\":%ld,\"secs\":%.6f,\"p50_us\":%.3f,\"p99_us\":%.3f,\"p999_us\":%.3f}\n",
           b->messages, b->ended - b->began, bench_percentile_us(b, 500),
           bench_percentile_us(b, 990), bench_percentile_us(b, 999));
}

static inline void bench_end(bench *b) {
    free(b->body);
}

#endif
