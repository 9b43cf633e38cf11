/* Runs the vectors of the formats stomp_parse and stomp_build. */
#ifndef STOMP_VECTORS_H
#define STOMP_VECTORS_H

#include "check.h"

enum { HEADER_TABLE = 256 };

typedef struct stomp_version {
    const char *name;
    stws_stomp_version number;
} stomp_version;

static const stomp_version stomp_versions[] = {{"none", STWS_STOMP_NONE},
                                               {"1.0", STWS_STOMP_10},
                                               {"1.1", STWS_STOMP_11},
                                               {"1.2", STWS_STOMP_12}};

enum { VERSIONS = sizeof stomp_versions / sizeof *stomp_versions };

static int vector_has_version(const vector *v, const stomp_version *version) {
    const vector_line *line = find_line(v, "version");
    if (!line) malformed(v, &v->lines[0], "the vector has no version");
    return strstr(line->value, version->name) != NULL;
}

/* A second table of the command numbers, so that a mistake in the library's own table is found. */
static stws_command command_number(const char *name) {
    static const char *const names[] = {"",           "CONNECT",   "STOMP",       "CONNECTED",
                                        "SEND",       "SUBSCRIBE", "UNSUBSCRIBE", "ACK",
                                        "NACK",       "BEGIN",     "COMMIT",      "ABORT",
                                        "DISCONNECT", "MESSAGE",   "RECEIPT",     "ERROR"};
    int i;
    for (i = 1; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(names[i], name) == 0) return (stws_command)i;
    return STWS_COMMAND_OTHER;
}

/* ---- parsing ---- */

typedef struct stomp_subject {
    stws_stomp_version version;
    size_t max_headers, max_line, max_body;
    stws_header *table; /* exactly max_headers long */
    stws_frame_state state;
} stomp_subject;

static void stomp_reset(void *ctx) {
    stomp_subject *s = ctx;
    memset(&s->state, 0, sizeof s->state);
    s->state.version = s->version;
    s->state.headers = s->table;
    s->state.max_headers = s->max_headers;
    s->state.max_line = s->max_line;
    s->state.max_body = s->max_body;
}

static void log_frame_start(bytes *log, const char *command, stws_command id) {
    bytes_string(log, "frame ");
    bytes_string(log, command);
    bytes_string(log, " ");
    bytes_number(log, id);
    bytes_string(log, "\n");
}

static void log_header(bytes *log, const char *name, size_t name_len, const char *value,
                       size_t value_len) {
    bytes_string(log, "header");
    bytes_quoted(log, name, name_len);
    bytes_quoted(log, value, value_len);
    bytes_string(log, "\n");
}

static void log_body(bytes *log, const char *body, size_t len) {
    bytes_string(log, "body");
    bytes_quoted(log, body, len);
    bytes_string(log, "\n");
}

static void log_frame(bytes *log, const stws_frame *frame) {
    size_t i;
    log_frame_start(log, frame->command, frame->command_id);
    for (i = 0; i < frame->header_count; i++) {
        const stws_header *h = &frame->headers[i];
        log_header(log, h->name, h->name_len, h->value, h->value_len);
        if (h->name[h->name_len] || h->value[h->value_len])
            bytes_string(log, "a header that does not end in a NUL\n");
    }
    log_body(log, frame->body, frame->body_len);
    if (frame->body[frame->body_len]) bytes_string(log, "a body that does not end in a NUL\n");
}

static int stomp_step(void *ctx, char *buf, size_t len, size_t *used, bytes *log) {
    stomp_subject *s = ctx;
    stws_frame frame;
    int result = stws_frame_parse(buf, len, &s->state, &frame, used);
    if (result == STWS_DONE) log_frame(log, &frame);
    return result;
}

static void log_stomp_end(bytes *log, size_t heartbeats, size_t left, const char *error) {
    bytes_string(log, "heart-beats ");
    bytes_number(log, (long long)heartbeats);
    bytes_string(log, error ? "\nerror " : "\nleft ");
    if (error)
        bytes_string(log, error);
    else
        bytes_number(log, (long long)left);
    bytes_string(log, "\n");
}

static void stomp_finish(void *ctx, const feed *f, bytes *log) {
    stomp_subject *s = ctx;
    log_stomp_end(log, s->state.heartbeats, f->len,
                  f->result < 0 ? stws_result_name(f->result) : NULL);
}

/* The expected log: the frames, and separately how the run ends. */
typedef struct stomp_expected {
    bytes frames;
    size_t heartbeats, left;
    const char *error;
} stomp_expected;

static void expect_header(const vector *v, const vector_line *line, bytes *log) {
    bytes name = {NULL, 0, 0}, value = {NULL, 0, 0};
    read_pair(v, line, &name, &value);
    log_header(log, name.data, name.len, value.data, value.len);
    bytes_free(&name);
    bytes_free(&value);
}

/* Reads one frame that begins at line i. Returns the index of the line after it. */
static size_t expect_frame(const vector *v, size_t i, bytes *log) {
    bytes body = {NULL, 0, 0};
    bytes_put(&body, "", 0);
    log_frame_start(log, v->lines[i].value, command_number(v->lines[i].value));
    for (i++; i < v->count && (key_is(&v->lines[i], "header") || key_is(&v->lines[i], "body"));
         i++) {
        if (key_is(&v->lines[i], "header"))
            expect_header(v, &v->lines[i], log);
        else
            read_bytes(v, &v->lines[i], &body);
    }
    log_body(log, body.data, body.len);
    bytes_free(&body);
    return i;
}

/* Reads the lines from i on, up to an "or:" or the end. Returns the index where it stopped. */
static size_t expect_stomp(const vector *v, size_t i, const bytes *in, stomp_expected *e) {
    memset(e, 0, sizeof *e);
    bytes_put(&e->frames, "", 0);
    while (i < v->count && !key_is(&v->lines[i], "or")) {
        const vector_line *line = &v->lines[i];
        if (key_is(line, "frame")) {
            i = expect_frame(v, i, &e->frames);
            continue;
        }
        if (key_is(line, "heart-beats")) e->heartbeats = number_or_end(v, line, line->value);
        if (key_is(line, "left")) e->left = left_of(v, line, in);
        if (key_is(line, "error")) e->error = line->value;
        i++;
    }
    return i;
}

static void stomp_outcomes(const vector *v, const bytes *in, outcomes *o, stomp_expected *first) {
    size_t i = 0;
    memset(o, 0, sizeof *o);
    while (i < v->count && o->count < MOST_OUTCOMES) {
        stomp_expected e;
        bytes *text = &o->text[o->count++];
        i = expect_stomp(v, i, in, &e) + 1;
        bytes_put(text, e.frames.data, e.frames.len);
        log_stomp_end(text, e.heartbeats, e.left, e.error);
        if (o->count == 1)
            *first = e;
        else
            bytes_free(&e.frames);
    }
}

/* A vector that has run. It is kept, to be joined with the input of other vectors. */
typedef struct stomp_record {
    const vector *v;
    stws_stomp_version version;
    bytes in;
    stomp_expected expected;
} stomp_record;

typedef struct stomp_records {
    stomp_record *list;
    size_t count;
} stomp_records;

static void keep_record(stomp_records *records, const vector *v, stws_stomp_version version,
                        const bytes *in, const stomp_expected *expected) {
    stomp_record *r;
    records->list = must(realloc(records->list, (records->count + 1) * sizeof *records->list));
    r = &records->list[records->count++];
    memset(r, 0, sizeof *r);
    r->v = v;
    r->version = version;
    bytes_put(&r->in, in->data, in->len);
    r->expected = *expected;
}

static stomp_subject stomp_subject_of(const vector *v, stws_stomp_version version) {
    stomp_subject s;
    memset(&s, 0, sizeof s);
    s.version = version;
    s.max_headers = limit_of(v, "headers=", HEADER_TABLE);
    s.max_line = limit_of(v, "line=", 0);
    s.max_body = limit_of(v, "body=", 0);
    s.table = must(malloc(s.max_headers ? s.max_headers * sizeof *s.table : 1));
    return s;
}

/* A vector with limits or with several outcomes runs only alone. Every other vector is joined later
   with the other vectors of its version. */
static void run_stomp_version(const vector *v, stws_stomp_version version, stomp_records *records) {
    stomp_subject s = stomp_subject_of(v, version);
    subject generic = {stomp_step, stomp_reset, stomp_finish, &s};
    stomp_expected expected;
    outcomes allowed;
    bytes in = {NULL, 0, 0};
    if (!collect(v, "input", &in)) malformed(v, &v->lines[0], "the vector has no input");
    stomp_outcomes(v, &in, &allowed, &expected);
    check_every_way(v, &generic, &in, &allowed);
    if (allowed.count == 1 && !find_line(v, "limits") && in.len <= CUT_EVERYWHERE)
        keep_record(records, v, version, &in, &expected);
    else
        bytes_free(&expected.frames);
    outcomes_free(&allowed);
    bytes_free(&in);
    free(s.table);
}

static void run_stomp_parse(const vector *v, stomp_records *records) {
    size_t i;
    check_keys(v,
               " vector clause version limits input frame header body heart-beats left error or ");
    for (i = 0; i < VERSIONS; i++)
        if (vector_has_version(v, &stomp_versions[i]))
            run_stomp_version(v, stomp_versions[i].number, records);
}

/* ---- one input after another ---- */

static int record_is_clean(const stomp_record *r) {
    return !r->expected.error && r->expected.left == 0;
}

static void outcome_of_pair(const stomp_record *a, const stomp_record *b, outcomes *o) {
    memset(o, 0, sizeof *o);
    o->count = 1;
    bytes_put(&o->text[0], a->expected.frames.data, a->expected.frames.len);
    bytes_put(&o->text[0], b->expected.frames.data, b->expected.frames.len);
    log_stomp_end(&o->text[0], a->expected.heartbeats + b->expected.heartbeats, b->expected.left,
                  b->expected.error);
}

/* Feeds the input of b directly after the input of a: whole, and cut at the boundary and next to
   it. */
static void run_stomp_pair(const stomp_record *a, const stomp_record *b) {
    stomp_subject s = stomp_subject_of(b->v, b->version);
    subject generic = {stomp_step, stomp_reset, stomp_finish, &s};
    bytes in = {NULL, 0, 0};
    outcomes expected;
    size_t at;
    outcome_of_pair(a, b, &expected);
    bytes_put(&in, a->in.data, a->in.len);
    bytes_put(&in, b->in.data, b->in.len);
    check_in_place(b->v, &generic, &in, in.len, &expected);
    for (at = a->in.len > 0 ? a->in.len - 1 : 0; at <= a->in.len + 1 && at <= in.len; at++)
        check_split(b->v, &generic, &in, at, &expected);
    if (a == b) check_pieces(b->v, &generic, &in, 1, &expected);
    outcomes_free(&expected);
    bytes_free(&in);
    free(s.table);
}

/* Runs a vector after every vector of its version whose input ends between frames, including
   itself. */
static void run_stomp_after_others(const stomp_records *records, size_t index) {
    const stomp_record *b = &records->list[index];
    size_t i;
    for (i = 0; i < records->count; i++)
        if (records->list[i].version == b->version && record_is_clean(&records->list[i]))
            run_stomp_pair(&records->list[i], b);
}

static void free_records(stomp_records *records) {
    size_t i;
    for (i = 0; i < records->count; i++) {
        bytes_free(&records->list[i].in);
        bytes_free(&records->list[i].expected.frames);
    }
    free(records->list);
}

/* ---- building ---- */

typedef struct built_frame {
    stws_frame frame;
    stws_header headers[HEADER_TABLE];
    bytes strings[2 * HEADER_TABLE];
    bytes body;
} built_frame;

static void add_header(const vector *v, const vector_line *line, built_frame *b) {
    size_t n = b->frame.header_count++;
    bytes *name = &b->strings[2 * n], *value = &b->strings[2 * n + 1];
    read_pair(v, line, name, value);
    b->headers[n].name = name->data;
    b->headers[n].name_len = name->len;
    b->headers[n].value = value->data;
    b->headers[n].value_len = value->len;
}

static void read_frame(const vector *v, built_frame *b) {
    const vector_line *command = find_line(v, "command");
    size_t i;
    if (!command) malformed(v, &v->lines[0], "the vector has no command");
    memset(b, 0, sizeof *b);
    b->frame.command = command->value;
    b->frame.headers = b->headers;
    if (find_line(v, "no-content-length")) b->frame.content_length = STWS_CONTENT_LENGTH_OMIT;
    for (i = 0; i < v->count; i++)
        if (key_is(&v->lines[i], "header")) add_header(v, &v->lines[i], b);
    if (collect(v, "body", &b->body)) b->frame.body = b->body.data;
    b->frame.body_len = b->body.len;
}

static void free_frame(built_frame *b) {
    size_t i;
    for (i = 0; i < 2 * b->frame.header_count; i++) bytes_free(&b->strings[i]);
    bytes_free(&b->body);
}

/* Builds into a buffer of exactly `cap` bytes. Checks the written bytes, and that nothing is
   written if the buffer is too small. */
static void check_build_into(const vector *v, stws_stomp_version version, const stws_frame *frame,
                             size_t cap, const bytes *wire) {
    char *buf = must(malloc(cap + 2));
    size_t need = 12345, written;
    int result;
    memset(buf, '~', cap + 1);
    buf[cap + 1] = 0;
    result = stws_frame_build(buf, cap, version, frame, &need);
    CHECK_INT(wire->len, need);
    CHECK_STR(cap < wire->len ? "STWS_ERR_SPACE" : "STWS_OK", stws_result_name(result));
    if (result == STWS_OK) CHECK_MEM(wire->data, wire->len, buf, need < cap ? need : cap);
    written = result == STWS_OK ? wire->len : 0;
    CHECK_INT(cap + 1 - written, strspn(buf + written, "~"));
    count_run();
    if (test_case_failures)
        printf("%s:%d: \"%s\", into a buffer of %lu bytes\n", v->file, v->lines[0].number, v->name,
               (unsigned long)cap);
    free(buf);
}

static void check_built(const vector *v, stws_stomp_version version, const stws_frame *frame,
                        const bytes *wire) {
    char *exact = must(malloc(wire->len));
    size_t cap, need = 0;
    for (cap = 0; cap <= wire->len + 3 && !test_case_failures; cap++)
        check_build_into(v, version, frame, cap, wire);
    CHECK_INT(STWS_ERR_SPACE, stws_frame_build(NULL, 0, version, frame, &need));
    CHECK_INT(wire->len, need);
    CHECK_INT(STWS_OK, stws_frame_build(exact, wire->len, version, frame, &need));
    CHECK_MEM(wire->data, wire->len, exact, need);
    free(exact);
}

static void check_refused(const vector *v, stws_stomp_version version, const stws_frame *frame,
                          const char *error) {
    char buf[65];
    size_t need;
    memset(buf, '~', sizeof buf);
    buf[sizeof buf - 1] = 0;
    CHECK_STR(error,
              stws_result_name(stws_frame_build(buf, sizeof buf - 1, version, frame, &need)));
    CHECK_INT(sizeof buf - 1, strspn(buf, "~"));
    CHECK_STR(error, stws_result_name(stws_frame_build(NULL, 0, version, frame, &need)));
    runs += 2;
    if (test_case_failures)
        printf("%s:%d: \"%s\", refused\n", v->file, v->lines[0].number, v->name);
}

static void check_build(const vector *v, stws_stomp_version version, const stws_frame *frame) {
    const vector_line *error = find_line(v, "error");
    bytes wire = {NULL, 0, 0};
    int has_wire = collect(v, "wire", &wire);
    if (has_wire == (error != NULL))
        malformed(v, &v->lines[0], "the vector needs either wire or error");
    if (error)
        check_refused(v, version, frame, error->value);
    else
        check_built(v, version, frame, &wire);
    bytes_free(&wire);
}

/* Runs with the command's name, and also with its number if it has one. */
static void run_stomp_build(const vector *v) {
    built_frame b;
    size_t i;
    check_keys(v, " vector clause version command header body no-content-length wire error ");
    read_frame(v, &b);
    for (i = 0; i < VERSIONS; i++) {
        if (!vector_has_version(v, &stomp_versions[i])) continue;
        b.frame.command = find_line(v, "command")->value;
        b.frame.command_id = 0;
        check_build(v, stomp_versions[i].number, &b.frame);
        b.frame.command_id = command_number(b.frame.command);
        if (b.frame.command_id == 0) continue;
        b.frame.command = NULL;
        check_build(v, stomp_versions[i].number, &b.frame);
    }
    free_frame(&b);
}

#endif
