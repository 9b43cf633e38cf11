/* Shared by the tests of the codecs: pseudo-random numbers that are the same in every run, and
   memory blocks that are exactly as long as their content. With such a block a sanitizer reports a
   read of one byte too many. */
#ifndef TEST_CODECS_H
#define TEST_CODECS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct dice {
    uint64_t state;
} dice;

static inline dice dice_of(unsigned long seed) {
    dice d = {seed * 0x9E3779B97F4A7C15u + 1};
    return d;
}

static inline uint32_t roll(dice *d) {
    d->state ^= d->state >> 12;
    d->state ^= d->state << 25;
    d->state ^= d->state >> 27;
    return (uint32_t)((d->state * 0x2545F4914F6CDD1Du) >> 32);
}

/* Returns a number from 0 to n - 1. */
static inline size_t roll_below(dice *d, size_t n) {
    return (size_t)((uint64_t)roll(d) * n >> 32);
}

static inline int one_in(dice *d, size_t n) {
    return roll_below(d, n) == 0;
}

static inline void roll_bytes(dice *d, void *out, size_t len) {
    unsigned char *p = out;
    size_t i;
    for (i = 0; i < len; i++) p[i] = (unsigned char)roll(d);
}

static inline void *exact_block(size_t len) {
    void *block = malloc(len ? len : 1);
    if (!block) abort();
    return block;
}

static inline char *exact_copy(const void *data, size_t len) {
    char *copy = exact_block(len);
    if (len) memcpy(copy, data, len);
    return copy;
}

#endif
