/* Runs the vectors of the formats handshake_answer, handshake_request, url and utf8. */
#ifndef HTTP_VECTORS_H
#define HTTP_VECTORS_H

#include "check.h"

enum { HTTP_TABLE = 32 };

typedef struct http_subject {
    const vector *v;
    size_t max_headers, max_bytes;
    stws_header *table;
    stws_http http;
    int finished; /* the last head was parsed; WebSocket frames follow */
    bytes key, offered, supported;
} http_subject;

static void http_reset(void *ctx) {
    http_subject *s = ctx;
    memset(&s->http, 0, sizeof s->http);
    s->http.headers = s->table;
    s->http.max_headers = s->max_headers;
    s->http.max_bytes = s->max_bytes;
    s->finished = 0;
}

static void log_text(bytes *log, const char *key, const char *text) {
    bytes_string(log, key);
    bytes_quoted(log, text, strlen(text));
    bytes_string(log, "\n");
}

static void log_http_headers(http_subject *s, bytes *log) {
    size_t i;
    for (i = 0; i < s->http.header_count; i++) {
        const stws_header *h = &s->http.headers[i];
        if (strlen(h->name) != h->name_len || strlen(h->value) != h->value_len)
            bytes_string(log, "the length of a header differs from its string\n");
        bytes_string(log, "header");
        bytes_quoted(log, h->name, h->name_len);
        bytes_quoted(log, h->value, h->value_len);
        bytes_string(log, "\n");
    }
}

/* A vector lists only the parts of a head that it tests. */
static int wants(const http_subject *s, const char *key) {
    return find_line(s->v, key) != NULL;
}

static void log_verdict(http_subject *s, bytes *log) {
    const char *subprotocol = "never set", *why = NULL;
    int result = stws_handshake_check(&s->http, s->key.data, s->offered.data, &subprotocol, &why);
    if (result < 0) {
        if (!why || !*why) bytes_string(log, "an error without a text\n");
        bytes_string(log, stws_result_name(result));
        bytes_string(log, "\n");
    } else {
        log_text(log, "subprotocol", subprotocol ? subprotocol : "");
    }
}

/* Skips 1xx answers other than 101, as a client must (RFC 9110, 15.2). */
static int answer_step(void *ctx, char *buf, size_t len, size_t *used, bytes *log) {
    http_subject *s = ctx;
    int result;
    if (s->finished) return STWS_MORE;
    result = stws_handshake_parse(buf, len, &s->http, used);
    if (result != STWS_DONE) return result;
    bytes_string(log, "status ");
    bytes_number(log, s->http.status);
    bytes_string(log, "\n");
    if (wants(s, "reason")) log_text(log, "reason", s->http.reason);
    if (wants(s, "header")) log_http_headers(s, log);
    s->finished = s->http.status / 100 != 1 || s->http.status == 101;
    if (s->finished)
        log_verdict(s, log);
    else
        http_reset(s);
    return result;
}

static void http_finish(void *ctx, const feed *f, bytes *log) {
    (void)ctx;
    if (f->result < 0) {
        bytes_string(log, stws_result_name(f->result));
    } else {
        bytes_string(log, "left ");
        bytes_number(log, (long long)f->len);
    }
    bytes_string(log, "\n");
}

/* Writes an expected line in the form that the log uses. The lines have the order of the log. */
static void expect_http_line(const vector *v, const vector_line *line, bytes *log) {
    bytes first = {NULL, 0, 0}, second = {NULL, 0, 0};
    bytes_string(log, line->key);
    if (key_is(line, "header")) {
        read_pair(v, line, &first, &second);
        bytes_quoted(log, first.data, first.len);
        bytes_quoted(log, second.data, second.len);
    } else if (line->value[0] == '"') {
        read_bytes(v, line, &first);
        bytes_quoted(log, first.data, first.len);
    } else {
        bytes_string(log, " ");
        bytes_string(log, line->value);
    }
    bytes_string(log, "\n");
    bytes_free(&first);
    bytes_free(&second);
}

/* "error:" after a status is a refusal by the check. Without a status, the parser reports that the
   input is not HTTP. */
static void answer_outcome(const vector *v, const bytes *in, outcomes *o) {
    const vector_line *left = find_line(v, "left"), *error = find_line(v, "error");
    bytes *log = &o->text[0];
    size_t i;
    memset(o, 0, sizeof *o);
    o->count = 1;
    bytes_put(log, "", 0);
    for (i = 0; i < v->count; i++) {
        const vector_line *line = &v->lines[i];
        if (key_is(line, "status") || key_is(line, "reason") || key_is(line, "header") ||
            key_is(line, "subprotocol"))
            expect_http_line(v, line, log);
    }
    if (error) {
        bytes_string(log, error->value);
        bytes_string(log, "\n");
    }
    if (error && !find_line(v, "status")) return;
    bytes_string(log, "left ");
    bytes_number(log, left ? (long long)left_of(v, left, in) : 0);
    bytes_string(log, "\n");
}

static void http_subject_begin(const vector *v, http_subject *s) {
    memset(s, 0, sizeof *s);
    s->v = v;
    s->max_headers = limit_of(v, "headers=", HTTP_TABLE);
    s->max_bytes = limit_of(v, "bytes=", 0);
    s->table = must(malloc(s->max_headers ? s->max_headers * sizeof *s->table : 1));
    if (!collect(v, "key", &s->key)) bytes_string(&s->key, "dGhlIHNhbXBsZSBub25jZQ==");
    collect(v, "offered", &s->offered);
    collect(v, "supported", &s->supported);
}

static void http_subject_end(http_subject *s) {
    bytes_free(&s->key);
    bytes_free(&s->offered);
    bytes_free(&s->supported);
    free(s->table);
}

static void run_handshake_answer(const vector *v) {
    http_subject s;
    subject generic = {answer_step, http_reset, http_finish, NULL};
    outcomes expected;
    bytes in = {NULL, 0, 0};
    check_keys(
        v, " vector clause key offered limits input status reason header subprotocol error left ");
    if (!collect(v, "input", &in)) malformed(v, &v->lines[0], "the vector has no input");
    http_subject_begin(v, &s);
    generic.ctx = &s;
    answer_outcome(v, &in, &expected);
    check_every_way(v, &generic, &in, &expected);
    outcomes_free(&expected);
    bytes_free(&in);
    http_subject_end(&s);
}

/* ---- the server's half ---- */

/* Logs the status of the answer. Our own client must accept a 101, and the answer must end with its
   head. */
static void log_answered(http_subject *s, char *answer, size_t len, bytes *log) {
    stws_header table[HTTP_TABLE];
    stws_http http;
    size_t used = 0;
    memset(&http, 0, sizeof http);
    http.headers = table;
    http.max_headers = HTTP_TABLE;
    if (stws_handshake_parse(answer, len, &http, &used) != STWS_DONE || used != len)
        bytes_string(log, "the answer is not exactly one HTTP head\n");
    bytes_string(log, "answer ");
    bytes_number(log, http.status);
    bytes_string(log, "\n");
    if (http.status == 426 && !stws_http_has_token(&http, "Sec-WebSocket-Version", "13"))
        bytes_string(log, "a 426 without Sec-WebSocket-Version\n");
    if (http.status != 101) return;
    s->http = http;
    log_verdict(s, log);
}

/* Tries all buffer sizes: a buffer that is too small must be refused. */
static void log_answer(http_subject *s, const stws_http *request, bytes *log) {
    const char *supported = s->supported.len ? s->supported.data : NULL;
    char answer[1024];
    size_t need = 0, cap, untouched;
    int result = stws_handshake_answer(answer, sizeof answer, request, supported, &need);
    if (result != STWS_OK && result != STWS_ERR_HTTP_UPGRADE) bytes_string(log, "no answer\n");
    for (cap = 0; cap < need && need <= sizeof answer; cap++) {
        char *small = must(malloc(cap ? cap : 1));
        if (stws_handshake_answer(small, cap, request, supported, &untouched) != STWS_ERR_SPACE ||
            untouched != need)
            bytes_string(log, "a buffer that is too small was not refused\n");
        free(small);
    }
    log_answered(s, answer, need, log);
    if ((result == STWS_OK) != (s->http.status == 101)) bytes_string(log, "a wrong result\n");
}

static int request_step(void *ctx, char *buf, size_t len, size_t *used, bytes *log) {
    http_subject *s = ctx;
    stws_http request;
    int result;
    if (s->finished) return STWS_MORE;
    result = stws_handshake_parse(buf, len, &s->http, used);
    if (result != STWS_DONE) return result;
    s->finished = 1;
    request = s->http;
    if (wants(s, "method")) log_text(log, "method", request.method ? request.method : "(none)");
    if (wants(s, "target")) log_text(log, "target", request.target ? request.target : "(none)");
    if (wants(s, "header")) log_http_headers(s, log);
    s->http.status = 0;
    log_answer(s, &request, log);
    return result;
}

static void request_outcome(const vector *v, outcomes *o) {
    const vector_line *error = find_line(v, "error"), *answer = find_line(v, "answer");
    size_t i;
    memset(o, 0, sizeof *o);
    o->count = 1;
    for (i = 0; i < v->count; i++) {
        const vector_line *line = &v->lines[i];
        if (key_is(line, "method") || key_is(line, "target") || key_is(line, "header") ||
            key_is(line, "answer") || key_is(line, "subprotocol"))
            expect_http_line(v, line, &o->text[0]);
    }
    if (!answer == !error) malformed(v, &v->lines[0], "the vector needs either answer or error");
    bytes_string(&o->text[0], error ? error->value : "left 0");
    bytes_string(&o->text[0], "\n");
}

static void run_handshake_request(const vector *v) {
    http_subject s;
    subject generic = {request_step, http_reset, http_finish, NULL};
    outcomes expected;
    bytes in = {NULL, 0, 0};
    check_keys(v, " vector clause key offered supported limits input method target header answer "
                  "subprotocol error ");
    if (!collect(v, "input", &in)) malformed(v, &v->lines[0], "the vector has no input");
    http_subject_begin(v, &s);
    generic.ctx = &s;
    request_outcome(v, &expected);
    check_every_way(v, &generic, &in, &expected);
    outcomes_free(&expected);
    bytes_free(&in);
    http_subject_end(&s);
}

/* ---- URLs ---- */

static void check_url_string(const vector *v, const char *key, const char *actual, size_t len) {
    bytes expected = {NULL, 0, 0};
    if (!collect(v, key, &expected))
        malformed(v, &v->lines[0], "the vector lacks a part of the URL");
    CHECK_MEM(expected.data, expected.len, actual, len);
    bytes_free(&expected);
}

static int line_says(const vector *v, const char *key, const char *value) {
    const vector_line *line = find_line(v, key);
    return line && strcmp(line->value, value) == 0;
}

static void check_url_parts(const vector *v, const stws_url *url) {
    const vector_line *port = find_line(v, "port");
    if (!port) malformed(v, &v->lines[0], "the vector lacks the port");
    CHECK_INT(line_says(v, "secure", "yes"), url->secure);
    CHECK_INT(line_says(v, "ipv6", "yes"), url->is_ipv6);
    CHECK_INT(number_or_end(v, port, port->value), url->port);
    CHECK_INT(strstr(port->value, "default") == NULL, url->has_port);
    check_url_string(v, "host", url->host, url->host_len);
    check_url_string(v, "target", url->target, url->target_len);
    CHECK_INT(find_line(v, "user_info") != NULL, url->user_info != NULL);
    if (url->user_info) check_url_string(v, "user_info", url->user_info, url->user_info_len);
}

static void check_url_refused(const vector *v, const char *url) {
    const vector_line *why_has = find_line(v, "why");
    const char *why = NULL;
    stws_url parts;
    CHECK_INT(STWS_ERR_URL, stws_url_parse(url, &parts, NULL));
    CHECK_INT(STWS_ERR_URL, stws_url_parse(url, &parts, &why));
    CHECK(why && *why);
    if (why_has) CHECK_HAS(why_has->value, why);
}

static void run_url(const vector *v) {
    bytes text = {NULL, 0, 0};
    char *url;
    stws_url parts;
    check_keys(v, " vector clause url secure ipv6 host port target user_info error why ");
    if (!collect(v, "url", &text)) malformed(v, &v->lines[0], "the vector has no URL");
    url = must(malloc(text.len + 1));
    memcpy(url, text.data, text.len + 1);
    if (find_line(v, "error")) {
        CHECK(line_says(v, "error", "STWS_ERR_URL"));
        check_url_refused(v, url);
    } else {
        CHECK_INT(STWS_OK, stws_url_parse(url, &parts, NULL));
        check_url_parts(v, &parts);
    }
    count_run();
    if (test_case_failures) printf("%s:%d: \"%s\"\n", v->file, v->lines[0].number, v->name);
    free(url);
    bytes_free(&text);
}

/* ---- UTF-8 ---- */

/* Places the sequence in the middle of valid text, at every distance from the blocks in which a
   validator may work. The text consists of copies of one character, padded at the front with
   ASCII. */
static void check_utf8_within(const vector *v, const bytes *sequence, int valid, size_t before,
                              size_t after, const char *character) {
    size_t len = before + sequence->len + after, size = strlen(character), at;
    char *text = must(malloc(len ? len : 1));
    memset(text, 'a', len ? len : 1);
    for (at = before % size; at < before; at += size) memcpy(text + at, character, size);
    for (at = len - after; len - at >= size; at += size) memcpy(text + at, character, size);
    if (sequence->len) memcpy(text + before, sequence->data, sequence->len);
    if (stws_utf8_valid(text, len) != valid) {
        CHECK_INT(valid, !valid);
        printf("%s:%d: \"%s\", after %lu and before %lu bytes of %s\n", v->file, v->lines[0].number,
               v->name, (unsigned long)before, (unsigned long)after, character);
    }
    count_run();
    free(text);
}

static void run_utf8(const vector *v) {
    int valid = line_says(v, "valid", "yes");
    static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    bytes sequence = {NULL, 0, 0};
    size_t before, i;
    check_keys(v, " vector clause bytes valid ");
    if (!valid && !line_says(v, "valid", "no")) malformed(v, &v->lines[0], "valid: yes or no");
    if (!collect(v, "bytes", &sequence)) malformed(v, &v->lines[0], "the vector has no bytes");
    for (before = 0; before <= 80 && !test_case_failures; before++)
        for (i = 0; i < sizeof characters / sizeof *characters; i++) {
            check_utf8_within(v, &sequence, valid, before, 0, characters[i]);
            check_utf8_within(v, &sequence, valid, before, 1, characters[i]);
            check_utf8_within(v, &sequence, valid, before, 80 - before, characters[i]);
        }
    bytes_free(&sequence);
}

#endif
