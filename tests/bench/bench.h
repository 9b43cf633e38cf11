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

typedef struct bench {
    const char *program, *url, *mode;
    long count, size;
    char *body;
    double *times;       // of each round trip, in seconds
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

// Ends the program with 2 when the arguments are wrong.
static inline void bench_begin(bench *b, int argc, char **argv) {
    int i, ok = argc % 2;
    memset(b, 0, sizeof *b);
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
    b->times = (double *)bench_memory((size_t)b->count * sizeof *b->times);
}

static inline int bench_by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double bench_percentile_us(const bench *b, long per_mille) {
    return bench_is(b, "pingpong") ? b->times[b->count * per_mille / 1000] * 1e6 : 0;
}

static inline void bench_report(bench *b) {
    if (bench_is(b, "pingpong")) qsort(b->times, (size_t)b->count, sizeof *b->times, bench_by_size);
    printf("{\"msgs\":%ld,\"secs\":%.6f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f}\n",
           b->messages, b->ended - b->began, bench_percentile_us(b, 500),
           bench_percentile_us(b, 990), bench_percentile_us(b, 999));
}

static inline void bench_end(bench *b) {
    free(b->body);
    free(b->times);
}

#endif
