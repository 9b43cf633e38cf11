/* A stream of STOMP frames. However it is split, the same frames are parsed, and all of them are
   views within the limits. The first bytes of the input choose the version, the limits and the
   splits. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/fuzz/fuzz_stomp.h"

/* The results of one way of reading the stream. */
struct reading {
    stws_frame_state state;
    stws_header headers[33];
    struct fuzz_text frames;
    size_t used;
    int result;
};

static void on_frame(struct reading *r, const stws_frame *f) {
    size_t i;
    fuzz_add_span(&r->frames, f->command, strlen(f->command));
    fuzz_add_number(&r->frames, (unsigned)f->content_length);
    fuzz_add_number(&r->frames, f->header_count);
    for (i = 0; i < f->header_count; i++) {
        fuzz_add_span(&r->frames, f->headers[i].name, f->headers[i].name_len);
        fuzz_add_span(&r->frames, f->headers[i].value, f->headers[i].value_len);
    }
    fuzz_add_span(&r->frames, f->body, f->body_len);
}

/* Parses all frames that are complete. */
static void read_window(struct reading *r, const struct fuzz_stomp_settings *s,
                        struct fuzz_window *w) {
    do {
        stws_frame frame;
        size_t used = 0;
        const char *start = fuzz_window_at(w);
        r->result =
            stws_frame_parse(fuzz_window_at(w), fuzz_window_len(w), &r->state, &frame, &used);
        fuzz_window_used(w, used);
        r->used += used;
        if (r->result == STWS_DONE) {
            FUZZ_CHECK(used > 0);
            fuzz_check_frame(&frame, s, start, start + used);
            on_frame(r, &frame);
        }
    } while (r->result == STWS_DONE);
}

static void read_all(struct reading *r, const struct fuzz_stomp_settings *s,
                     const unsigned char *data, size_t len, struct fuzz_cuts cuts) {
    struct fuzz_window w = {0};
    size_t have = 0;
    memset(r, 0, sizeof *r);
    r->state.version = s->version;
    r->state.headers = r->headers;
    r->state.max_headers = s->max_headers;
    r->state.max_line = s->max_line;
    r->state.max_body = s->max_body;
    do {
        size_t n = fuzz_cut(&cuts, len - have);
        fuzz_window_feed(&w, data + have, n);
        have += n;
        read_window(r, s, &w);
    } while (r->result == STWS_MORE && have < len);
    if (r->result < 0) {
        fuzz_check_error(r->result);
        FUZZ_CHECK(r->result <= STWS_ERR_FRAME_COMMAND && r->result >= STWS_ERR_FRAME_BODY);
    }
    free(w.block);
}

/* If several things are wrong with a line, the error may name any of them. But the line may not be
   accepted. */
static void check_same(const struct reading *a, const struct reading *b) {
    FUZZ_CHECK((a->result < 0) == (b->result < 0));
    FUZZ_CHECK(fuzz_same(&a->frames, &b->frames));
    if (a->result < 0) return;
    FUZZ_CHECK(a->used == b->used && a->state.heartbeats == b->state.heartbeats);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    struct fuzz_input in = {data, size};
    struct fuzz_stomp_settings s = fuzz_stomp_settings_of(&in);
    struct fuzz_cuts cuts = fuzz_cuts_of(&in), none = {{0, 0, 0}, 0}, ones = {{1, 1, 1}, 0};
    struct reading whole, pieces, one_by_one;
    read_all(&whole, &s, in.data, in.left, none);
    read_all(&pieces, &s, in.data, in.left, cuts);
    read_all(&one_by_one, &s, in.data, in.left, ones);
    check_same(&whole, &pieces);
    check_same(&whole, &one_by_one);
    fuzz_text_free(&whole.frames);
    fuzz_text_free(&pieces.frames);
    fuzz_text_free(&one_by_one.frames);
}
