/* A second STOMP parser, written for clarity from the specification: it takes one byte at a time,
   copies everything and has no fast paths. ref_compare feeds the same input to stws_frame_parse and
   to this parser, and reports the first difference.

   Include this file after stomp_ws.h with its implementation. The unit tests and a fuzz target use
   it. */
#ifndef REFERENCE_STOMP_H
#define REFERENCE_STOMP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ref_text {
    char *data;
    size_t len, cap;
} ref_text;

typedef struct ref_header {
    ref_text name, value;
} ref_header;

enum ref_place {
    REF_BETWEEN,
    REF_BETWEEN_CR,
    REF_COMMAND,
    REF_COMMAND_CR,
    REF_LINE,
    REF_BODY,
    REF_LOST_LINE,
    REF_LOST
};

enum ref_answer { REF_MORE, REF_DONE, REF_FATAL };

typedef struct ref_stomp {
    stws_stomp_version version;
    size_t max_headers, max_line, max_body;
    enum ref_place place;
    ref_text command, line, body;
    ref_header *headers; /* max_headers of them */
    size_t header_count, heartbeats;
    int has_length;
    size_t length;
    size_t taken, settled; /* bytes seen; bytes fully consumed */
    unsigned faults;       /* after REF_FATAL: the errors that may be reported, as ref_bit()s */
} ref_stomp;

/* One line can have several errors, and a parser may report any of them. */
static unsigned ref_bit(int error) {
    return error <= STWS_ERR_FRAME_COMMAND && error >= STWS_ERR_FRAME_BODY
               ? 1u << (STWS_ERR_FRAME_COMMAND - error)
               : 0;
}

static void ref_add(ref_text *t, char c) {
    if (t->len + 1 >= t->cap) {
        t->cap = 2 * t->cap + 32;
        t->data = realloc(t->data, t->cap);
        if (!t->data) abort();
    }
    t->data[t->len++] = c;
    t->data[t->len] = 0;
}

static void ref_clear(ref_text *t) {
    ref_add(t, 0);
    t->len = 0;
}

static void ref_begin(ref_stomp *r, stws_stomp_version version, size_t max_headers, size_t max_line,
                      size_t max_body) {
    memset(r, 0, sizeof *r);
    r->version = version;
    r->max_headers = max_headers;
    r->max_line = max_line;
    r->max_body = max_body;
    r->headers = calloc(max_headers + 1, sizeof *r->headers);
    if (!r->headers) abort();
}

static void ref_end(ref_stomp *r) {
    size_t i;
    for (i = 0; i < r->max_headers; i++) {
        free(r->headers[i].name.data);
        free(r->headers[i].value.data);
    }
    free(r->headers);
    free(r->command.data);
    free(r->line.data);
    free(r->body.data);
}

/* ---- the head ---- */

/* No unescaping: STOMP 1.0 has no escapes, and CONNECT, STOMP and CONNECTED do not use them. */
static int ref_is_raw(const ref_stomp *r) {
    const char *c = r->command.data;
    return r->version == STWS_STOMP_10 || strcmp(c, "CONNECT") == 0 ||
           strcmp(c, "CONNECTED") == 0 || strcmp(c, "STOMP") == 0;
}

static const char *ref_escape(char c) {
    return c == 'n' ? "\n" : c == 'c' ? ":" : c == 'r' ? "\r" : c == '\\' ? "\\" : NULL;
}

/* Returns 0 if the text has an invalid escape and the version does not allow it. */
static int ref_decode(const ref_stomp *r, const char *s, size_t len, ref_text *out) {
    size_t i;
    ref_clear(out);
    for (i = 0; i < len; i++) {
        const char *meaning = i + 1 < len ? ref_escape(s[i + 1]) : NULL;
        if (s[i] != '\\' || ref_is_raw(r)) {
            ref_add(out, s[i]);
        } else if (meaning) {
            ref_add(out, *meaning);
            i++;
        } else if (r->version == STWS_STOMP_NONE) {
            ref_add(out, s[i]);
        } else {
            return 0;
        }
    }
    return 1;
}

static int ref_blank(char c) {
    return c == ' ' || c == '\t';
}

static void ref_trim(const char **s, size_t *len) {
    while (*len && ref_blank((*s)[0])) {
        ++*s;
        --*len;
    }
    while (*len && ref_blank((*s)[*len - 1])) --*len;
}

/* Reads the first content-length header. */
static unsigned ref_length(ref_stomp *r, const ref_text *value) {
    const char *s = value->data;
    size_t len = value->len, i;
    r->has_length = 1;
    r->length = 0;
    ref_trim(&s, &len);
    if (len == 0) return ref_bit(STWS_ERR_FRAME_LENGTH);
    for (i = 0; i < len; i++)
        if (s[i] < '0' || s[i] > '9') return ref_bit(STWS_ERR_FRAME_LENGTH);
    for (i = 0; i < len; i++) {
        r->length = r->length * 10 + (size_t)(s[i] - '0');
        if (r->length > r->max_body) return ref_bit(STWS_ERR_FRAME_BODY);
    }
    return 0;
}

/* Returns all errors of a complete line. A line without errors is added as a header. */
static unsigned ref_header_line(ref_stomp *r, const char *line, size_t len) {
    const char *colon = memchr(line, ':', len), *name = line, *value;
    size_t name_len, value_len;
    unsigned faults = 0;
    ref_header *h;
    if (!colon) return ref_bit(STWS_ERR_FRAME_HEADER);
    value = colon + 1;
    name_len = (size_t)(colon - line);
    value_len = len - name_len - 1;
    if (r->version == STWS_STOMP_10) {
        ref_trim(&name, &name_len);
        ref_trim(&value, &value_len);
    }
    if (name_len == 0) faults |= ref_bit(STWS_ERR_FRAME_HEADER);
    if (r->header_count == r->max_headers) return faults | ref_bit(STWS_ERR_FRAME_HEADERS);
    h = &r->headers[r->header_count];
    if (!ref_decode(r, name, name_len, &h->name)) faults |= ref_bit(STWS_ERR_FRAME_ESCAPE);
    if (!ref_decode(r, value, value_len, &h->value)) faults |= ref_bit(STWS_ERR_FRAME_ESCAPE);
    if (faults) return faults;
    r->header_count++;
    if (r->has_length || strcmp(h->name.data, "content-length") != 0 || h->name.len != 14) return 0;
    return ref_length(r, &h->value);
}

static enum ref_answer ref_fatal(ref_stomp *r, unsigned faults, enum ref_place place) {
    r->faults |= faults;
    r->place = place;
    return REF_FATAL;
}

static enum ref_answer ref_line_end(ref_stomp *r) {
    size_t len = r->line.len;
    unsigned faults;
    if (len && r->line.data[len - 1] == '\r') len--;
    if (len == 0) {
        ref_clear(&r->body);
        r->place = REF_BODY;
        return REF_MORE;
    }
    faults = ref_header_line(r, r->line.data, len);
    ref_clear(&r->line);
    return faults ? ref_fatal(r, faults, REF_LOST) : REF_MORE;
}

/* A parser may look at an incomplete line. Returns the errors that it could already report. */
static unsigned ref_early_faults(const ref_stomp *r) {
    ref_stomp copy;
    const char *colon = r->line.len ? memchr(r->line.data, ':', r->line.len) : NULL;
    size_t len = r->line.len;
    unsigned faults = 0;
    if (r->place != REF_LINE || len == 0) return 0;
    if (r->line.data[len - 1] == '\r' || r->line.data[len - 1] == '\\') len--;
    if (len && r->header_count == r->max_headers) faults |= ref_bit(STWS_ERR_FRAME_HEADERS);
    if (len == 0 || r->header_count == r->max_headers) return faults;
    copy = *r;
    copy.has_length = 1;
    faults = ref_header_line(&copy, r->line.data, len);
    return colon ? faults : faults & ~ref_bit(STWS_ERR_FRAME_HEADER);
}

static enum ref_answer ref_in_line(ref_stomp *r, char c) {
    int after_cr = r->line.len && r->line.data[r->line.len - 1] == '\r';
    unsigned fault = 0;
    if (c == '\n') return ref_line_end(r);
    if (after_cr && r->version == STWS_STOMP_12) fault = ref_bit(STWS_ERR_FRAME_CR);
    if (c == 0) fault |= ref_bit(STWS_ERR_FRAME_NUL);
    if (!fault) ref_add(&r->line, c);
    if (r->line.len - (c == '\r') > r->max_line) fault |= ref_bit(STWS_ERR_FRAME_LINE);
    return fault ? ref_fatal(r, fault | ref_early_faults(r), REF_LOST_LINE) : REF_MORE;
}

/* Called after the first error in a line. Collects further errors that a parser may report instead,
   because it looks at several bytes together. */
static enum ref_answer ref_in_lost_line(ref_stomp *r, char c) {
    if (c == 0) r->faults |= ref_bit(STWS_ERR_FRAME_NUL);
    if (c != '\n' && r->line.len && r->line.data[r->line.len - 1] == '\r' &&
        r->version == STWS_STOMP_12)
        r->faults |= ref_bit(STWS_ERR_FRAME_CR);
    if (c == '\n') r->place = REF_LOST;
    ref_add(&r->line, c);
    if (r->line.len > r->max_line) r->faults |= ref_bit(STWS_ERR_FRAME_LINE);
    return REF_FATAL;
}

/* ---- frames ---- */

static enum ref_answer ref_in_command(ref_stomp *r, char c) {
    if (c == '\n') {
        r->place = REF_LINE;
    } else if (c == '\r' && r->place == REF_COMMAND) {
        r->place = REF_COMMAND_CR;
    } else if (r->place == REF_COMMAND && c >= 'A' && c <= 'Z' && r->command.len < 32) {
        ref_add(&r->command, c);
    } else {
        return ref_fatal(r, ref_bit(STWS_ERR_FRAME_COMMAND) | (c ? 0 : ref_bit(STWS_ERR_FRAME_NUL)),
                         REF_LOST);
    }
    return REF_MORE;
}

/* A LF (heart-beat) or a stray NUL is consumed immediately; a CR only together with its LF. */
static enum ref_answer ref_between(ref_stomp *r, char c) {
    if (r->place == REF_BETWEEN_CR && c != '\n')
        return ref_fatal(r, ref_bit(STWS_ERR_FRAME_COMMAND), REF_LOST);
    r->place = c == '\r' ? REF_BETWEEN_CR : REF_BETWEEN;
    if (c == '\r') return REF_MORE;
    if (c == '\n' || c == 0) {
        r->heartbeats += c == '\n';
        r->settled = r->taken;
        return REF_MORE;
    }
    r->place = REF_COMMAND;
    r->header_count = 0;
    r->has_length = 0;
    ref_clear(&r->command);
    ref_clear(&r->line);
    return ref_in_command(r, c);
}

static enum ref_answer ref_in_body(ref_stomp *r, char c) {
    int at_end = r->has_length ? r->body.len == r->length : c == 0;
    if (!at_end) {
        ref_add(&r->body, c);
        if (r->body.len > r->max_body) return ref_fatal(r, ref_bit(STWS_ERR_FRAME_BODY), REF_LOST);
        return REF_MORE;
    }
    if (c) return ref_fatal(r, ref_bit(STWS_ERR_FRAME_NUL), REF_LOST);
    r->place = REF_BETWEEN;
    r->settled = r->taken;
    return REF_DONE;
}

/* Takes one byte. REF_DONE: command, headers and body form a frame, which is valid until the next
   byte. */
static enum ref_answer ref_byte(ref_stomp *r, char c) {
    r->taken++;
    switch (r->place) {
        case REF_BETWEEN:
        case REF_BETWEEN_CR: return ref_between(r, c);
        case REF_COMMAND:
        case REF_COMMAND_CR: return ref_in_command(r, c);
        case REF_LINE: return ref_in_line(r, c);
        case REF_BODY: return ref_in_body(r, c);
        case REF_LOST_LINE: return ref_in_lost_line(r, c);
        case REF_LOST: break;
    }
    return REF_FATAL;
}

/* ---- comparing both parsers ---- */

typedef struct ref_settings {
    stws_stomp_version version;
    size_t max_headers, max_line, max_body;
    size_t (*next_piece)(void *ctx, size_t left); /* size of the next piece: 1 to left */
    void *ctx;
} ref_settings;

static int ref_same(const ref_text *t, const char *data, size_t len) {
    return t->len == len && (len == 0 || memcmp(t->data, data, len) == 0) && data[len] == 0;
}

static const char *ref_compare_frame(const ref_stomp *r, const stws_frame *frame) {
    size_t i;
    if (strcmp(r->command.data, frame->command) != 0) return "the command differs";
    if (frame->command_id && strcmp(stws_command_name(frame->command_id), frame->command) != 0)
        return "the number of the command differs";
    if (r->header_count != frame->header_count) return "the number of headers differs";
    for (i = 0; i < r->header_count; i++) {
        const stws_header *h = &frame->headers[i];
        if (!ref_same(&r->headers[i].name, h->name, h->name_len)) return "a name differs";
        if (!ref_same(&r->headers[i].value, h->value, h->value_len)) return "a value differs";
    }
    return ref_same(&r->body, frame->body, frame->body_len) ? NULL : "the body differs";
}

/* Checks which headers the parser found as known headers. If a name repeats, the first header
   counts. */
static const char *ref_compare_known(const stws_frame_state *state, const stws_frame *frame) {
    static const struct {
        int known;
        const char *name;
    } names[] = {{STWS_P_DESTINATION, "destination"},
                 {STWS_P_MESSAGE_ID, "message-id"},
                 {STWS_P_SUBSCRIPTION, "subscription"},
                 {STWS_P_CONTENT_TYPE, "content-type"},
                 {STWS_P_CONTENT_LENGTH, "content-length"},
                 {STWS_P_RECEIPT_ID, "receipt-id"},
                 {STWS_P_ACK, "ack"}};
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++)
        if (state->known[names[i].known]->value != stws_frame_header(frame, names[i].name))
            return "another header was found as a known header";
    return NULL;
}

/* The parser reports that a frame ends at `until`. The reference must see the same end, and none
   before it. */
static const char *ref_compare_done(ref_stomp *r, const char *in, size_t until,
                                    const stws_frame *frame) {
    while (r->taken < until) {
        enum ref_answer answer = ref_byte(r, in[r->taken]);
        if (answer == REF_FATAL) return "the parser accepted a frame that is invalid";
        if (answer == REF_DONE && r->taken < until) return "the frame ended earlier";
        if (answer == REF_DONE) return ref_compare_frame(r, frame);
    }
    return "the frame has not ended";
}

static const char *ref_compare_more(ref_stomp *r, const char *in, size_t have, size_t settled) {
    while (r->taken < have) {
        enum ref_answer answer = ref_byte(r, in[r->taken]);
        if (answer == REF_DONE) return "the parser missed a frame";
        if (answer == REF_FATAL) return "the parser missed an error";
    }
    return settled == r->settled ? NULL : "the number of consumed bytes differs";
}

static const char *ref_compare_error(ref_stomp *r, const char *in, size_t have, int error) {
    enum ref_answer answer = REF_MORE;
    while (r->taken < have && answer != REF_DONE) answer = ref_byte(r, in[r->taken]);
    if (answer == REF_DONE) return "the parser reported an error for a valid frame";
    if (answer == REF_MORE) r->faults = ref_early_faults(r);
    return r->faults & ref_bit(error) ? NULL : "the parser reported a wrong error";
}

/* Parses the input that is there, in its memory block, and advances *settled. */
static const char *ref_compare_piece(ref_stomp *r, stws_frame_state *state, const char *in,
                                     size_t have, char *block, size_t *settled, int *result) {
    size_t start = *settled, used;
    const char *difference = NULL;
    stws_frame frame;
    do {
        used = 0;
        *result =
            stws_frame_parse(block + (*settled - start), have - *settled, state, &frame, &used);
        if (used > have - *settled) return "more bytes consumed than there were";
        *settled += used;
        if (*result == STWS_DONE) difference = ref_compare_done(r, in, *settled, &frame);
        if (*result == STWS_DONE && !difference) difference = ref_compare_known(state, &frame);
        if (*result == STWS_MORE) difference = ref_compare_more(r, in, have, *settled);
        if (*result < 0) difference = ref_compare_error(r, in, have, *result);
        if (!difference && *result >= 0 && state->heartbeats != r->heartbeats)
            difference = "the heart-beats differ";
    } while (!difference && *result == STWS_DONE);
    return difference;
}

/* Moves the rest of the input into a block of exactly the right size, followed by `fresh` new
   bytes. */
static char *ref_next_block(char *block, size_t left, const char *in, size_t fresh) {
    char *next = malloc(left + fresh ? left + fresh : 1);
    if (!next) abort();
    if (left) memcpy(next, block, left);
    if (fresh) memcpy(next + left, in, fresh);
    free(block);
    return next;
}

/* Returns NULL if both parsers agree on these bytes, else a sentence that describes the
   difference. */
static const char *ref_compare(const char *in, size_t len, const ref_settings *settings) {
    stws_frame_state state;
    ref_stomp r;
    size_t have = 0, settled = 0;
    const char *difference = NULL;
    char *block = NULL;
    int result = STWS_MORE;
    memset(&state, 0, sizeof state);
    ref_begin(&r, settings->version, settings->max_headers, settings->max_line, settings->max_body);
    state.version = settings->version;
    state.max_headers = settings->max_headers;
    state.max_line = settings->max_line;
    state.max_body = settings->max_body;
    state.headers = calloc(settings->max_headers + 1, sizeof *state.headers);
    if (!state.headers) abort();
    while (!difference && result >= 0 && have < len) {
        size_t fresh = settings->next_piece(settings->ctx, len - have), before = settled;
        block = ref_next_block(block, have - settled, in + have, fresh);
        have += fresh;
        difference = ref_compare_piece(&r, &state, in, have, block, &settled, &result);
        memmove(block, block + (settled - before), have - settled);
    }
    free(block);
    free(state.headers);
    ref_end(&r);
    return difference;
}

#endif
