/* Runs one input in every way: whole, split, in pieces and truncated. Compares each outcome with
   the vector's expectation, or with the outcome of the uncut run. */
#ifndef CHECK_H
#define CHECK_H

#include "feed.h"

/* A parser under test: the function that calls it, a reset, and a function that logs the final
   state. */
typedef struct subject {
    feed_step step;
    void (*reset)(void *ctx);
    void (*finish)(void *ctx, const feed *f, bytes *log);
    void *ctx;
} subject;

enum { MOST_OUTCOMES = 2 };

/* The allowed outcomes. The vector lists several if the rules leave a choice ("or:"). */
typedef struct outcomes {
    bytes text[MOST_OUTCOMES];
    size_t count;
} outcomes;

static void outcomes_free(outcomes *o) {
    size_t i;
    for (i = 0; i < MOST_OUTCOMES; i++) bytes_free(&o->text[i]);
}

/* Returns how many bytes must be left over. The vector gives these bytes as text, for readability,
   and they must be the end of the input. */
static size_t left_of(const vector *v, const vector_line *line, const bytes *in) {
    bytes left = {NULL, 0, 0};
    size_t len = in->len;
    if (strcmp(line->value, "all") != 0) {
        read_bytes(v, line, &left);
        len = left.len;
        if (len > in->len || memcmp(left.data, in->data + in->len - len, len) != 0)
            malformed(v, line, "the bytes of left: are not the end of the input");
    }
    bytes_free(&left);
    return len;
}

static unsigned long runs;

static void count_run(void) {
    runs++;
    test_checked();
}

static void print_mismatch(const vector *v, const char *way, size_t at, const char *expected,
                           const char *actual) {
    test_case_failures++;
    if (test_case_failures > 1) return;
    printf("%s:%d: \"%s\", %s (%lu)\n-- expected:\n%s\n-- got:\n%s\n", v->file, v->lines[0].number,
           v->name, way, (unsigned long)at, expected, actual);
}

static void check_outcome(const vector *v, const char *way, size_t at, const outcomes *expected,
                          const char *actual) {
    size_t i;
    count_run();
    for (i = 0; i < expected->count; i++)
        if (strcmp(expected->text[i].data, actual) == 0) return;
    print_mismatch(v, way, at, expected->text[0].data, actual);
}

static void begin(const subject *s, feed *f) {
    s->reset(s->ctx);
    feed_begin(f, s->step, s->ctx);
}

static void finish(const vector *v, const subject *s, feed *f, const char *way, size_t at,
                   const outcomes *expected) {
    s->finish(s->ctx, f, &f->log);
    check_outcome(v, way, at, expected, f->log.data);
    feed_end(f);
}

static void check_split(const vector *v, const subject *s, const bytes *in, size_t at,
                        const outcomes *expected) {
    feed f;
    begin(s, &f);
    feed_piece(&f, in->data, at);
    feed_piece(&f, in->data + at, in->len - at);
    finish(v, s, &f, "split", at, expected);
}

static void check_pieces(const vector *v, const subject *s, const bytes *in, size_t size,
                         const outcomes *expected) {
    feed f;
    begin(s, &f);
    feed_pieces(&f, in->data, in->len, size);
    finish(v, s, &f, "moved, in pieces of", size, expected);
}

static void check_in_place(const vector *v, const subject *s, const bytes *in, size_t size,
                           const outcomes *expected) {
    feed f;
    begin(s, &f);
    feed_in_place(&f, in->data, in->len, size);
    finish(v, s, &f, "at one address, in pieces of", size, expected);
}

/* Returns the length of the log after the last event that was complete within the first n bytes. */
static size_t log_len_at(const feed *whole, size_t n) {
    size_t i, len = 0;
    for (i = 0; i < whole->mark_count && whole->marks[i].consumed <= n; i++)
        len = whole->marks[i].log_len;
    return len;
}

/* Feeds only the first n bytes. Every event that is complete in them must be reported immediately,
   and no other event. The only allowed error is the one of the whole input. */
static void check_truncated(const vector *v, const subject *s, const bytes *in, size_t n,
                            const feed *whole) {
    size_t expected_len = log_len_at(whole, n);
    bytes expected = {NULL, 0, 0};
    feed f;
    begin(s, &f);
    feed_piece(&f, in->data, n);
    bytes_put(&expected, whole->log.data, expected_len);
    count_run();
    if (strcmp(expected.data, f.log.data) != 0)
        print_mismatch(v, "cut off after", n, expected.data, f.log.data);
    else if (f.result != STWS_MORE && f.result != whole->result)
        print_mismatch(v, "cut off after", n, stws_result_name(whole->result),
                       stws_result_name(f.result));
    bytes_free(&expected);
    feed_end(&f);
}

/* An input up to this length is cut at every byte. A longer input, which only tests a limit, is cut
   at 400 places. */
enum { CUT_EVERYWHERE = 4096, PLACES = 400 };

static size_t stride(const bytes *in) {
    return in->len <= CUT_EVERYWHERE ? 1 : in->len / PLACES;
}

static void check_every_way(const vector *v, const subject *s, const bytes *in,
                            const outcomes *expected) {
    size_t at, step = stride(in);
    feed whole;
    begin(s, &whole);
    feed_piece(&whole, in->data, in->len);
    for (at = 0; at < in->len; at += step) check_truncated(v, s, in, at, &whole);
    feed_end(&whole);
    for (at = 0; at <= in->len; at += step) check_split(v, s, in, at, expected);
    check_pieces(v, s, in, step, expected);
    check_pieces(v, s, in, 3 * step, expected);
    check_in_place(v, s, in, 1, expected);
    check_in_place(v, s, in, 7, expected);
    check_in_place(v, s, in, in->len ? in->len : 1, expected);
}

#endif
