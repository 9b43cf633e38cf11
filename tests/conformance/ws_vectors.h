/* Runs the vectors of the format ws_parse. */
#ifndef WS_VECTORS_H
#define WS_VECTORS_H

#include "check.h"

typedef struct ws_subject {
    int server, check_utf8;
    size_t max_message, max_fragments;
    stws_ws ws;
    stws_ws_opcode open_opcode; /* of the message whose fragments are arriving; 0: no message */
    bytes message;
} ws_subject;

static void ws_reset(void *ctx) {
    ws_subject *s = ctx;
    memset(&s->ws, 0, sizeof s->ws);
    s->ws.server = s->server;
    s->ws.check_utf8 = s->check_utf8;
    s->ws.max_message = s->max_message;
    s->ws.max_fragments = s->max_fragments;
    s->open_opcode = 0;
    s->message.len = 0;
}

static const char *opcode_name(stws_ws_opcode opcode) {
    switch (opcode) {
        case STWS_WS_TEXT: return "text";
        case STWS_WS_BINARY: return "binary";
        case STWS_WS_CLOSE: return "close";
        case STWS_WS_PING: return "ping";
        case STWS_WS_PONG: return "pong";
        default: return "an opcode that an event cannot have";
    }
}

static void log_ws(bytes *log, stws_ws_opcode opcode, int close_code, const char *data,
                   size_t len) {
    bytes_string(log, opcode_name(opcode));
    if (opcode == STWS_WS_CLOSE) {
        bytes_string(log, " ");
        bytes_number(log, close_code);
    }
    bytes_quoted(log, data, len);
    bytes_string(log, "\n");
}

/* Joins the fragments to a message and checks that they belong together. */
static void take_piece(ws_subject *s, const stws_ws_event *event, bytes *log) {
    if (event->first != (s->open_opcode == 0)) bytes_string(log, "a wrong first\n");
    if (s->open_opcode && s->open_opcode != event->opcode) bytes_string(log, "a changed opcode\n");
    s->open_opcode = event->opcode;
    bytes_put(&s->message, event->data, event->len);
    if (!event->last) return;
    log_ws(log, event->opcode, 0, s->message.data, s->message.len);
    s->open_opcode = 0;
    s->message.len = 0;
}

static int ws_step(void *ctx, char *buf, size_t len, size_t *used, bytes *log) {
    ws_subject *s = ctx;
    stws_ws_event event;
    int result = stws_ws_parse(buf, len, &s->ws, &event, used);
    if (result != STWS_DONE) return result;
    if (event.opcode == STWS_WS_TEXT || event.opcode == STWS_WS_BINARY) {
        take_piece(s, &event, log);
    } else {
        if (!event.first || !event.last) bytes_string(log, "a control frame in pieces\n");
        log_ws(log, event.opcode, event.close_code, event.data, event.len);
    }
    return result;
}

static void log_ws_end(bytes *log, const char *error, int close_code) {
    bytes_string(log, error ? "error " : "open\n");
    if (!error) return;
    bytes_string(log, error);
    bytes_string(log, " ");
    bytes_number(log, close_code);
    bytes_string(log, "\n");
}

static void ws_finish(void *ctx, const feed *f, bytes *log) {
    ws_subject *s = ctx;
    int failed = f->result < 0;
    if (failed && (!s->ws.reason || !*s->ws.reason))
        bytes_string(log, "an error without a reason\n");
    log_ws_end(log, failed ? stws_result_name(f->result) : NULL, s->ws.close_code);
}

/* "close: 1000 "bye"": the code and the quoted reason. */
static void expect_close(const vector *v, const vector_line *line, bytes *log) {
    vector_line reason = *line;
    bytes text = {NULL, 0, 0};
    int code = (int)number_or_end(v, line, line->value);
    reason.value += strcspn(line->value, "\"");
    read_bytes(v, &reason, &text);
    log_ws(log, STWS_WS_CLOSE, code, text.data, text.len);
    bytes_free(&text);
}

static void expect_event(const vector *v, const vector_line *line, bytes *log) {
    static const stws_ws_opcode opcodes[] = {STWS_WS_TEXT, STWS_WS_BINARY, STWS_WS_PING,
                                             STWS_WS_PONG};
    bytes data = {NULL, 0, 0};
    size_t i;
    if (key_is(line, "close")) expect_close(v, line, log);
    for (i = 0; i < sizeof opcodes / sizeof *opcodes; i++) {
        if (!key_is(line, opcode_name(opcodes[i]))) continue;
        read_bytes(v, line, &data);
        log_ws(log, opcodes[i], 0, data.data, data.len);
    }
    bytes_free(&data);
}

/* "error: STWS_ERR_WS_PROTOCOL 1002" is already in the form of the log. */
static void ws_outcome(const vector *v, outcomes *o) {
    const vector_line *error = find_line(v, "error");
    size_t i;
    memset(o, 0, sizeof *o);
    o->count = 1;
    for (i = 0; i < v->count; i++) expect_event(v, &v->lines[i], &o->text[0]);
    bytes_string(&o->text[0], error ? "error " : "open");
    if (error) bytes_string(&o->text[0], error->value);
    bytes_string(&o->text[0], "\n");
}

static void run_ws(const vector *v, ws_subject *s, const bytes *in, int check_utf8) {
    subject generic = {ws_step, ws_reset, ws_finish, s};
    outcomes expected;
    s->check_utf8 = check_utf8;
    ws_outcome(v, &expected);
    check_every_way(v, &generic, in, &expected);
    outcomes_free(&expected);
}

/* Runs with the UTF-8 check, and also without it if the vector is not about UTF-8: the parser may
   take another path then. */
static void run_ws_parse(const vector *v) {
    ws_subject s;
    const vector_line *role = find_line(v, "role"), *error = find_line(v, "error");
    bytes in = {NULL, 0, 0};
    int about_utf8 = error && strstr(error->value, "UTF8");
    check_keys(v, " vector clause role utf8 limits input text binary ping pong close error ");
    if (!role || !collect(v, "input", &in)) malformed(v, &v->lines[0], "no role or no input");
    memset(&s, 0, sizeof s);
    s.server = strcmp(role->value, "server") == 0;
    s.max_message = limit_of(v, "message=", 0);
    s.max_fragments = limit_of(v, "fragments=", 0);
    bytes_put(&s.message, "", 0);
    if (!find_line(v, "utf8")) run_ws(v, &s, &in, 1);
    if (!about_utf8) run_ws(v, &s, &in, 0);
    bytes_free(&s.message);
    bytes_free(&in);
}

#endif
