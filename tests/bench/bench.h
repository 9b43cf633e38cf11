// Code that all C programs of the benchmark share: arguments, a clock, and the result as one line
// of JSON.
//
//     PROGRAM --url URL --mode burst|pingpong|sink --count N --size BYTES
//
//   burst     subscribe to /topic/bench, and read messages until one from /topic/end arrives
//   pingpong  N times: SEND to /topic/echo and wait for the MESSAGE
//   sink      SEND N bodies to /topic/sink, then wait for the MESSAGE from /topic/end
#ifndef BENCH_H
#define BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// Round trips are counted by their duration, so measuring takes little memory. Up to 1,024 ns each
// nanosecond has a bucket. Above, each octave (from a duration to its double) has 512 buckets. No
// bucket is wider than 0.2 %.
enum { BENCH_OCTAVE = 512, BENCH_BUCKETS = 40 * BENCH_OCTAVE };

typedef struct bench {
    const char *program, *url, *mode;
    long count, size;
    char *body;
    unsigned trips[BENCH_BUCKETS];
    long messages;       // received or sent so far
    double began, ended; // in seconds
    size_t checksum;     // of what was read, so the compiler cannot remove the reading
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

// Reads the arguments. Ends the program with status 2 if they are wrong. *b must be zero: use a
// static variable.
static inline void bench_begin(bench *b, int argc, char **argv) {
    int i, ok = argc % 2;
    b->program = argv[0];
    b->mode = "burst";
    b->count = 100000;
    for (i = 1; ok && i < argc; i += 2) ok = bench_take_argument(b, argv[i], argv[i + 1]);
    if (!ok || !b->url) {
        fprintf(stderr,
                "usage: %s --url URL --mode burst|pingpong|sink --count N --size BYTES\n"
                "  needs a running build/bench_server, which prints its port; the URL's path\n"
                "  repeats the arguments: ws://127.0.0.1:PORT/MODE/COUNT/SIZE\n",
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

// Returns the middle of a bucket, in microseconds.
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
