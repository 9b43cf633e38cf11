/* Feeds bytes to a parser as a connection would: in pieces, each time in a new memory block that is
   exactly as long as its content. With such a block a sanitizer reports a read of one byte too
   many, and any use of a pointer into the old block. */
#ifndef FEED_H
#define FEED_H

#include "vectors.h"

/* Calls the parser once. If the result is STWS_DONE, *used bytes formed an event, and the event was
   written to *log. */
typedef int (*feed_step)(void *ctx, char *buf, size_t len, size_t *used, bytes *log);

/* The position in the stream where an event was complete, and the length of the log at that
   time. */
typedef struct feed_mark {
    size_t consumed, log_len;
} feed_mark;

typedef struct feed {
    feed_step step;
    void *ctx;
    bytes log;   /* the events so far, as text */
    char *block; /* bytes not consumed yet */
    size_t len, consumed;
    int result; /* the last result: STWS_MORE or an error */
    feed_mark *marks;
    size_t mark_count, mark_cap;
} feed;

static void feed_begin(feed *f, feed_step step, void *ctx) {
    memset(f, 0, sizeof *f);
    f->step = step;
    f->ctx = ctx;
    bytes_put(&f->log, "", 0);
}

static void feed_end(feed *f) {
    bytes_free(&f->log);
    free(f->block);
    free(f->marks);
}

static void feed_mark_event(feed *f) {
    if (f->mark_count == f->mark_cap) {
        f->mark_cap = 2 * f->mark_cap + 8;
        f->marks = must(realloc(f->marks, f->mark_cap * sizeof *f->marks));
    }
    f->marks[f->mark_count].consumed = f->consumed;
    f->marks[f->mark_count++].log_len = f->log.len;
}

/* Parses the bytes that are there. Returns how many bytes were consumed. */
static size_t feed_parse(feed *f, char *buf, size_t len) {
    size_t done = 0, used;
    do {
        used = 0;
        f->result = f->step(f->ctx, buf + done, len - done, &used, &f->log);
        if (f->result < 0) break;
        if (used > len - done || (f->result == STWS_DONE && used == 0)) {
            bytes_string(&f->log, "the parser reports an impossible number of used bytes\n");
            f->result = STWS_ERR_USAGE;
            break;
        }
        done += used;
        f->consumed += used;
        if (f->result == STWS_DONE) feed_mark_event(f);
    } while (f->result == STWS_DONE);
    return done;
}

/* Appends one more piece to the rest of the input, all in a new block. */
static void feed_piece(feed *f, const char *data, size_t len) {
    size_t total = f->len + len, done;
    char *block;
    if (f->result < 0) return;
    block = must(malloc(total ? total : 1));
    if (f->len) memcpy(block, f->block, f->len);
    if (len) memcpy(block + f->len, data, len);
    free(f->block);
    f->block = block;
    done = feed_parse(f, block, total);
    f->len = total - done;
    f->block = must(malloc(f->len ? f->len : 1));
    if (f->len) memcpy(f->block, block + done, f->len);
    free(block);
}

/* Feeds the data in pieces of `size` bytes. */
static void feed_pieces(feed *f, const char *data, size_t len, size_t size) {
    size_t at = 0;
    while (at < len) {
        size_t n = len - at < size ? len - at : size;
        feed_piece(f, data + at, n);
        at += n;
    }
}

/* The same, but at a fixed address, like in a receive buffer that has room. */
static void feed_in_place(feed *f, const char *data, size_t len, size_t size) {
    char *block = must(malloc(len ? len : 1));
    size_t have = 0, done = 0;
    while (have < len && f->result >= 0) {
        size_t n = len - have < size ? len - have : size;
        memcpy(block + have, data + have, n);
        have += n;
        done += feed_parse(f, block + done, have - done);
    }
    f->len = len - done;
    free(block);
}

#endif
