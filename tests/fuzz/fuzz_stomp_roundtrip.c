/* An arbitrary STOMP frame is built and parsed. The parsed frame must be equal to the original. The
   builder must not write behind its buffer, and it must refuse exactly the frames that the version
   cannot represent. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/fuzz/fuzz_stomp.h"

enum { MAX_HEADERS = 6 };

/* A frame in which each text has a block of its own. */
struct made {
    stws_stomp_version version;
    stws_frame frame;
    stws_header headers[MAX_HEADERS];
    char *command, *body, *names[MAX_HEADERS], *values[MAX_HEADERS];
};

static char *text_of(struct fuzz_input *in, size_t *len) {
    const unsigned char *data = fuzz_span(in, len);
    return fuzz_string(data, *len);
}

/* To test a correct content-length, the body's length is needed. */
static void make_header(struct made *m, struct fuzz_input *in, size_t i) {
    stws_header *h = &m->headers[i];
    char digits[24];
    unsigned kind = fuzz_byte(in);
    m->names[i] = text_of(in, &h->name_len);
    m->values[i] = text_of(in, &h->value_len);
    if (kind % 4 == 0) {
        free(m->names[i]);
        free(m->values[i]);
        snprintf(digits, sizeof digits, "%zu", m->frame.body_len + (kind == 4));
        h->name_len = 14;
        h->value_len = strlen(digits);
        m->names[i] = fuzz_string("content-length", h->name_len);
        m->values[i] = fuzz_string(digits, h->value_len);
    }
    h->name = m->names[i];
    h->value = m->values[i];
}

static void make(struct made *m, struct fuzz_input *in) {
    unsigned choice = fuzz_byte(in), command = fuzz_byte(in);
    size_t len, i;
    memset(m, 0, sizeof *m);
    m->version = fuzz_stomp_version(choice);
    m->frame.content_length = (stws_content_length)(choice >> 2 & 1);
    m->frame.header_count = (choice >> 3) % (MAX_HEADERS + 1);
    m->frame.command_id = (stws_command)((int)(command % 18) - 1);
    if (command >= 128) m->frame.command = m->command = text_of(in, &len);
    m->frame.body = m->body = text_of(in, &m->frame.body_len);
    m->frame.headers = m->headers;
    for (i = 0; i < m->frame.header_count; i++) make_header(m, in, i);
}

static void made_free(struct made *m) {
    size_t i;
    for (i = 0; i < m->frame.header_count; i++) {
        free(m->names[i]);
        free(m->values[i]);
    }
    free(m->command);
    free(m->body);
}

/* ---- the rules for what can be represented ---- */

static const char *command_of(const struct made *m) {
    return m->command ? m->command : stws_command_name(m->frame.command_id);
}

static int is_one_of(const char *word, const char *const *words) {
    while (*words && strcmp(*words, word) != 0) words++;
    return *words != NULL;
}

static int is_raw(const struct made *m) {
    static const char *const raw[] = {"CONNECT", "STOMP", "CONNECTED", NULL};
    return m->version == STWS_STOMP_10 || is_one_of(command_of(m), raw);
}

static int may_say_text(const struct made *m, const char *s, size_t len) {
    if (memchr(s, 0, len)) return 0;
    if (is_raw(m)) return !memchr(s, '\n', len) && !memchr(s, '\r', len);
    return m->version != STWS_STOMP_11 || !memchr(s, '\r', len);
}

static int is_length(const stws_header *h) {
    return h->name_len == 14 && memcmp(h->name, "content-length", 14) == 0;
}

/* The digits of the body's length, after any number of zeros. */
static int is_right_length(const struct made *m, const stws_header *h) {
    char digits[24];
    const char *value = h->value;
    if (h->value_len == 0 || strspn(value, "0123456789") != h->value_len) return 0;
    while (value[0] == '0' && value[1]) value++;
    snprintf(digits, sizeof digits, "%zu", m->frame.body_len);
    return strcmp(value, digits) == 0;
}

/* A STOMP 1.0 parser would remove these blanks and read another name. */
static int is_padded(const stws_header *h) {
    const char *name = h->name;
    size_t len = h->name_len;
    stws_p_trim(&name, &len);
    return len != h->name_len;
}

static int may_say_headers(const struct made *m) {
    size_t i, lengths = 0;
    for (i = 0; i < m->frame.header_count; i++) {
        const stws_header *h = &m->headers[i];
        if (h->name_len == 0 || (is_raw(m) && memchr(h->name, ':', h->name_len))) return 0;
        if (m->version == STWS_STOMP_10 && is_padded(h)) return 0;
        if (!may_say_text(m, h->name, h->name_len)) return 0;
        if (!may_say_text(m, h->value, h->value_len)) return 0;
        if (!is_length(h)) continue;
        if (lengths++ || !is_right_length(m, h)) return 0;
    }
    return 1;
}

static int may_say(const struct made *m) {
    static const char *const bodiless[] = {
        "CONNECT", "STOMP",  "CONNECTED", "SUBSCRIBE",  "UNSUBSCRIBE", "ACK", "NACK",
        "BEGIN",   "COMMIT", "ABORT",     "DISCONNECT", "RECEIPT",     NULL};
    if (!fuzz_is_command(command_of(m))) return 0;
    if (m->frame.body_len && is_one_of(command_of(m), bodiless)) return 0;
    return may_say_headers(m);
}

/* ---- comparing the parsed frame ---- */

/* STOMP 1.0 is read without its padding. */
static int same_text(const struct made *m, const char *sent, size_t len, const char *got,
                     size_t got_len) {
    if (m->version == STWS_STOMP_10) stws_p_trim(&sent, &len);
    return len == got_len && (len == 0 || memcmp(sent, got, len) == 0);
}

static void check_headers(const struct made *m, const stws_frame *f) {
    size_t i, lengths = 0;
    for (i = 0; i < m->frame.header_count; i++) {
        const stws_header *sent = &m->headers[i], *got = &f->headers[i];
        FUZZ_CHECK(same_text(m, sent->name, sent->name_len, got->name, got->name_len));
        FUZZ_CHECK(same_text(m, sent->value, sent->value_len, got->value, got->value_len));
        lengths += (size_t)is_length(sent);
    }
    if (f->header_count == m->frame.header_count) return;
    FUZZ_CHECK(f->header_count == m->frame.header_count + 1 && lengths == 0);
    FUZZ_CHECK(is_length(&f->headers[i]) && is_right_length(m, &f->headers[i]));
}

static void check_parsed(const struct made *m, char *bytes, size_t len) {
    struct fuzz_stomp_settings s = {0, MAX_HEADERS + 1, 1024, 1024};
    stws_header headers[MAX_HEADERS + 1];
    stws_frame_state state = {0};
    stws_frame frame;
    size_t used = 0;
    state.version = s.version = m->version;
    state.headers = headers;
    state.max_headers = MAX_HEADERS + 1;
    FUZZ_CHECK(stws_frame_parse(bytes, len, &state, &frame, &used) == STWS_DONE);
    FUZZ_CHECK(used == len && state.heartbeats == 0);
    fuzz_check_frame(&frame, &s, bytes, bytes + len);
    FUZZ_CHECK(strcmp(frame.command, command_of(m)) == 0);
    FUZZ_CHECK(frame.body_len == m->frame.body_len);
    FUZZ_CHECK(memcmp(frame.body, m->body, frame.body_len + 1) == 0);
    check_headers(m, &frame);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    struct fuzz_input in = {data, size};
    struct made m;
    size_t need = 1, again = 0;
    int result;
    make(&m, &in);
    result = stws_frame_build(NULL, 0, m.version, &m.frame, &need);
    if (!may_say(&m)) {
        FUZZ_CHECK(result == STWS_ERR_FRAME_BUILD && need == 0);
    } else {
        char *bytes = fuzz_room(need);
        FUZZ_CHECK(result == STWS_ERR_SPACE);
        FUZZ_CHECK(stws_frame_build(bytes, need - 1, m.version, &m.frame, &again) ==
                   STWS_ERR_SPACE);
        FUZZ_CHECK(again == need);
        FUZZ_CHECK(stws_frame_build(bytes, need, m.version, &m.frame, &again) == STWS_OK);
        FUZZ_CHECK(again == need);
        check_parsed(&m, bytes, need);
        free(bytes);
    }
    made_free(&m);
}
