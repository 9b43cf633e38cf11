/* A stream of WebSocket frames, for both roles. However it is split, the same messages, control
   frames and errors must be reported. The limits must be kept. Each received message is built again
   and parsed again, with the same result. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/fuzz/fuzz.h"

struct settings {
    int server, check_utf8;
    size_t max_message, max_fragments;
};

/* The results of one way of reading the stream. */
struct reading {
    stws_ws ws;
    struct fuzz_text seen;    /* complete messages and control frames */
    struct fuzz_text message; /* the message that is arriving */
    stws_ws_opcode opcode;    /* the opcode of the message that is arriving; 0: no message */
    size_t frames_used;
    int result;
};

/* Builds a message or a control frame for the other role and parses it. The result must be
   equal. */
static void check_again(const struct reading *r, stws_ws_opcode opcode, const char *data,
                        size_t len) {
    static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    stws_ws ws = {0};
    stws_ws_event event = {0};
    size_t need = 0, used = 0;
    char *frame;
    ws.server = r->ws.server;
    FUZZ_CHECK(stws_ws_build(NULL, 0, opcode, 1, data, len, ws.server ? key : NULL, &need) ==
               STWS_ERR_SPACE);
    frame = fuzz_room(need);
    FUZZ_CHECK(stws_ws_build(frame, need - 1, opcode, 1, data, len, ws.server ? key : NULL,
                             &used) == STWS_ERR_SPACE);
    FUZZ_CHECK(stws_ws_build(frame, need, opcode, 1, data, len, ws.server ? key : NULL, &used) ==
               STWS_OK);
    FUZZ_CHECK(stws_ws_parse(frame, need, &ws, &event, &used) == STWS_DONE);
    FUZZ_CHECK(used == need && event.opcode == opcode && event.first && event.last);
    FUZZ_CHECK(event.len == len && (len == 0 || memcmp(event.data, data, len) == 0));
    free(frame);
}

static void on_control(struct reading *r, const stws_ws_event *e) {
    FUZZ_CHECK(e->len <= 125 && e->first && e->last);
    fuzz_add_number(&r->seen, (unsigned)e->opcode);
    fuzz_add_number(&r->seen, (unsigned)e->close_code);
    fuzz_add_span(&r->seen, e->data, e->len);
    if (e->opcode != STWS_WS_CLOSE) {
        check_again(r, e->opcode, e->data, e->len);
        return;
    }
    FUZZ_CHECK(e->close_code >= 1000 && e->close_code <= 4999 && e->close_code != 1006);
    FUZZ_CHECK(stws_utf8_valid(e->data, e->len));
}

static void on_piece(struct reading *r, const stws_ws_event *e) {
    FUZZ_CHECK(e->opcode == STWS_WS_TEXT || e->opcode == STWS_WS_BINARY);
    FUZZ_CHECK(e->first == (r->opcode == 0));
    FUZZ_CHECK(e->first || r->opcode == e->opcode);
    r->opcode = e->opcode;
    fuzz_add(&r->message, e->data, e->len);
    FUZZ_CHECK(!r->ws.max_message || r->message.len <= r->ws.max_message);
    if (!e->last) return;
    if (r->ws.check_utf8 && e->opcode == STWS_WS_TEXT)
        FUZZ_CHECK(stws_utf8_valid(r->message.data, r->message.len));
    fuzz_add_number(&r->seen, (unsigned)e->opcode);
    fuzz_add_span(&r->seen, r->message.data, r->message.len);
    check_again(r, e->opcode, r->message.data, r->message.len);
    r->message.len = 0;
    r->opcode = 0;
}

static void check_event(const struct fuzz_window *w, const stws_ws_event *e, size_t used) {
    const char *start = fuzz_window_at(w);
    FUZZ_CHECK(used <= fuzz_window_len(w));
    FUZZ_CHECK(e->len <= used);
    FUZZ_CHECK(e->data >= start && e->data + e->len <= start + used);
}

/* Reads everything that is complete. */
static void read_window(struct reading *r, struct fuzz_window *w) {
    do {
        stws_ws_event event = {0};
        size_t used = 0;
        r->result = stws_ws_parse(fuzz_window_at(w), fuzz_window_len(w), &r->ws, &event, &used);
        if (r->result == STWS_DONE) {
            check_event(w, &event, used);
            if (event.opcode >= STWS_WS_CLOSE)
                on_control(r, &event);
            else
                on_piece(r, &event);
            FUZZ_CHECK(used > 0);
        }
        if (r->result >= 0) fuzz_window_used(w, used);
    } while (r->result == STWS_DONE);
    if (r->result != STWS_MORE) return;
    FUZZ_CHECK(fuzz_window_len(w) < 14 + 125); /* no more than a frame header or a control frame may
                                                  remain unconsumed */
}

static void read_all(struct reading *r, const struct settings *s, const unsigned char *data,
                     size_t len, struct fuzz_cuts cuts) {
    struct fuzz_window w = {0};
    size_t have = 0;
    memset(r, 0, sizeof *r);
    r->ws.server = s->server;
    r->ws.check_utf8 = s->check_utf8;
    r->ws.max_message = s->max_message;
    r->ws.max_fragments = s->max_fragments;
    do {
        size_t n = fuzz_cut(&cuts, len - have);
        fuzz_window_feed(&w, data + have, n);
        have += n;
        read_window(r, &w);
    } while (r->result == STWS_MORE && have < len);
    if (r->result < 0) {
        fuzz_check_error(r->result);
        fuzz_check_sentence(r->ws.reason);
        FUZZ_CHECK(r->ws.close_code == 1002 || r->ws.close_code == 1007 ||
                   r->ws.close_code == 1009);
    }
    free(w.block);
}

/* After an error, one reading may have received more of the current message than the other. */
static void check_same(const struct reading *a, const struct reading *b) {
    size_t common = a->message.len < b->message.len ? a->message.len : b->message.len;
    FUZZ_CHECK(a->result == b->result);
    FUZZ_CHECK(a->ws.close_code == b->ws.close_code);
    FUZZ_CHECK(fuzz_same(&a->seen, &b->seen));
    FUZZ_CHECK(a->result < 0 || a->message.len == b->message.len);
    FUZZ_CHECK(common == 0 || memcmp(a->message.data, b->message.data, common) == 0);
}

static void reading_free(struct reading *r) {
    fuzz_text_free(&r->seen);
    fuzz_text_free(&r->message);
}

/* Masking, with any alignment, and beginning at any position in the key. */
static void check_mask(const unsigned char *data, size_t len, size_t offset) {
    unsigned char key[4] = {1, 2, 4, 8};
    char *from = fuzz_copy(data, len), *to = fuzz_room(len);
    size_t half = offset % (len + 1), i;
    if (len >= 4) memcpy(key, data, 4);
    stws_ws_mask(to, from, half, key, offset);
    stws_ws_mask(to + half, from + half, len - half, key, offset + half);
    for (i = 0; i < len; i++) FUZZ_CHECK((unsigned char)to[i] == (data[i] ^ key[(offset + i) % 4]));
    stws_ws_mask(from, from, len, key, offset);
    FUZZ_CHECK(len == 0 || memcmp(from, to, len) == 0);
    free(from);
    free(to);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    static const size_t messages[] = {0, 100, 1000, 70000}, fragments[] = {0, 1, 3, 10};
    struct fuzz_input in = {data, size};
    struct fuzz_cuts cuts, none = {{0, 0, 0}, 0}, ones = {{1, 1, 1}, 0};
    struct settings s;
    struct reading whole, pieces, one_by_one;
    unsigned choice = fuzz_byte(&in);
    s.server = choice & 1;
    s.check_utf8 = choice >> 1 & 1;
    s.max_message = messages[choice >> 2 & 3];
    s.max_fragments = fragments[choice >> 4 & 3];
    cuts = fuzz_cuts_of(&in);
    check_mask(in.data, in.left, cuts.lengths[0]);
    read_all(&whole, &s, in.data, in.left, none);
    read_all(&pieces, &s, in.data, in.left, cuts);
    read_all(&one_by_one, &s, in.data, in.left, ones);
    check_same(&whole, &pieces);
    check_same(&whole, &one_by_one);
    reading_free(&whole);
    reading_free(&pieces);
    reading_free(&one_by_one);
}
