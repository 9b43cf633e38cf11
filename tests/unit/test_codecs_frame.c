/* Tests STOMP frames: random frames with any bytes in their headers are built, parsed and built
   again. Also tests small functions: header lookup, command names, result names and texts. */
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

enum { HEADERS = 12, TEXT = 80, BODY = 400 };

static const stws_stomp_version versions[] = {STWS_STOMP_10, STWS_STOMP_11, STWS_STOMP_12};

/* A random frame with its memory. */
typedef struct made {
    stws_frame frame;
    stws_header headers[HEADERS];
    char names[HEADERS][TEXT + 1], values[HEADERS][TEXT + 1], body[BODY];
    stws_stomp_version version;
} made;

static size_t roll_header_text(dice *d, char *out, size_t least) {
    static const char special[] = "\\\n\r:\\nc \t\0";
    size_t len = least + roll_below(d, one_in(d, 4) ? TEXT - least + 1 : 12), i;
    int wild = one_in(d, 3);
    for (i = 0; i < len; i++) {
        out[i] = (char)(wild ? (int)roll_below(d, 256) : 'a' + (int)roll_below(d, 26));
        if (one_in(d, 12)) out[i] = special[roll_below(d, sizeof special - (one_in(d, 8) ? 1 : 2))];
    }
    out[len] = 0;
    return len;
}

static void roll_frame(dice *d, made *m) {
    static const stws_command commands[] = {
        STWS_COMMAND_CONNECT,   STWS_COMMAND_CONNECTED, STWS_COMMAND_SEND,  STWS_COMMAND_SEND,
        STWS_COMMAND_MESSAGE,   STWS_COMMAND_MESSAGE,   STWS_COMMAND_ERROR, STWS_COMMAND_RECEIPT,
        STWS_COMMAND_SUBSCRIBE, STWS_COMMAND_ACK};
    size_t i;
    memset(m, 0, sizeof *m);
    m->version = versions[roll_below(d, 3)];
    m->frame.command_id = commands[roll_below(d, sizeof commands / sizeof *commands)];
    m->frame.headers = m->headers;
    m->frame.header_count = roll_below(d, HEADERS);
    for (i = 0; i < m->frame.header_count; i++) {
        m->headers[i].name = m->names[i];
        m->headers[i].value = m->values[i];
        m->headers[i].name_len = roll_header_text(d, m->names[i], 1);
        m->headers[i].value_len = roll_header_text(d, m->values[i], 0);
    }
    m->frame.body = m->body;
    m->frame.body_len = one_in(d, 3) ? 0 : roll_below(d, BODY);
    m->frame.content_length = one_in(d, 4) ? STWS_CONTENT_LENGTH_OMIT : STWS_CONTENT_LENGTH_SEND;
    roll_bytes(d, m->body, m->frame.body_len);
}

static int is_raw(const made *m) {
    return m->version == STWS_STOMP_10 || m->frame.command_id == STWS_COMMAND_CONNECT ||
           m->frame.command_id == STWS_COMMAND_CONNECTED;
}

static int holds(const char *s, size_t len, char c) {
    return memchr(s, c, len) != NULL;
}

static int can_be_encoded(const made *m, const char *s, size_t len, int is_name) {
    if (holds(s, len, 0)) return 0;
    if (is_raw(m))
        return !holds(s, len, '\n') && !holds(s, len, '\r') && !(is_name && holds(s, len, ':'));
    return m->version == STWS_STOMP_12 || !holds(s, len, '\r');
}

/* STOMP 1.0: the receiver trims header names and values. Returns the trimmed text. */
static const char *trimmed(const made *m, const char *s, size_t *len) {
    if (m->version != STWS_STOMP_10) return s;
    while (*len && (s[*len - 1] == ' ' || s[*len - 1] == '\t')) --*len;
    while (*len && (*s == ' ' || *s == '\t')) {
        s++;
        --*len;
    }
    return s;
}

static int frame_can_be_encoded(const made *m) {
    stws_command id = m->frame.command_id;
    size_t i;
    if (m->frame.body_len && id != STWS_COMMAND_SEND && id != STWS_COMMAND_MESSAGE &&
        id != STWS_COMMAND_ERROR)
        return 0;
    for (i = 0; i < m->frame.header_count; i++) {
        const stws_header *h = &m->headers[i];
        size_t len = h->name_len;
        trimmed(m, h->name, &len);
        if (len != h->name_len) return 0; /* the receiver would read another name */
        if (!can_be_encoded(m, h->name, h->name_len, 1) ||
            !can_be_encoded(m, h->value, h->value_len, 0))
            return 0;
    }
    return 1;
}

static void check_text(const made *m, const char *sent, size_t sent_len, const char *got,
                       size_t got_len) {
    const char *expected = trimmed(m, sent, &sent_len);
    CHECK_MEM(expected, sent_len, got, got_len);
    CHECK_INT(0, got[got_len]);
}

static int has_length_header(const made *m) {
    return m->frame.body_len && (!m->frame.content_length || holds(m->body, m->frame.body_len, 0));
}

static void check_parsed(const made *m, const stws_frame *got) {
    char length[24];
    size_t i;
    CHECK_INT(m->frame.command_id, got->command_id);
    CHECK_STR(stws_command_name(m->frame.command_id), got->command);
    CHECK_INT(m->frame.header_count + (size_t)has_length_header(m), got->header_count);
    for (i = 0; i < m->frame.header_count && i < got->header_count; i++) {
        const stws_header *sent = &m->headers[i], *back = &got->headers[i];
        check_text(m, sent->name, sent->name_len, back->name, back->name_len);
        check_text(m, sent->value, sent->value_len, back->value, back->value_len);
    }
    CHECK_MEM(m->body, m->frame.body_len, got->body, got->body_len);
    CHECK_INT(0, got->body[got->body_len]);
    snprintf(length, sizeof length, "%lu", (unsigned long)m->frame.body_len);
    if (has_length_header(m)) CHECK_STR(length, stws_frame_header(got, "content-length"));
}

static stws_frame_state state_of(stws_stomp_version version, stws_header *table, size_t count) {
    stws_frame_state s;
    memset(&s, 0, sizeof s);
    s.version = version;
    s.headers = table;
    s.max_headers = count;
    return s;
}

static int names_survive(const made *m) {
    size_t i;
    for (i = 0; i < m->frame.header_count; i++) {
        size_t len = m->headers[i].name_len;
        trimmed(m, m->headers[i].name, &len);
        if (len == 0) return 0;
    }
    return 1;
}

/* Builds the frame into a block of exactly its size and parses it. The parsed frame is built again
   and must give the same bytes. */
static void check_there_and_back(const made *m, size_t need) {
    char *wire = exact_block(need), *copy = exact_block(need), *again = exact_block(need);
    stws_header table[HEADERS + 1];
    stws_frame_state s = state_of(m->version, table, HEADERS + 1);
    stws_frame got;
    size_t used = 0, written = 0;
    memset(&got, 0, sizeof got);
    CHECK_INT(STWS_OK, stws_frame_build(wire, need, m->version, &m->frame, &written));
    CHECK_INT(need, written);
    memcpy(copy, wire, need);
    if (!names_survive(m)) {
        CHECK_INT(STWS_ERR_FRAME_HEADER, stws_frame_parse(wire, need, &s, &got, &used));
    } else {
        CHECK_INT(STWS_DONE, stws_frame_parse(wire, need, &s, &got, &used));
        CHECK_INT(need, used);
        check_parsed(m, &got);
        got.command = NULL;
        CHECK_INT(STWS_OK, stws_frame_build(again, need, m->version, &got, &written));
        if (m->version != STWS_STOMP_10) CHECK_MEM(copy, need, again, written);
    }
    free(wire);
    free(copy);
    free(again);
}

static void test_there_and_back(void) {
    static made m;
    unsigned long seed, encoded = 0;
    for (seed = 1; seed <= 30000 && !test_case_failures; seed++) {
        dice d = dice_of(seed);
        size_t need = 0;
        int result;
        roll_frame(&d, &m);
        result = stws_frame_build(NULL, 0, m.version, &m.frame, &need);
        CHECK_INT(frame_can_be_encoded(&m) ? STWS_ERR_SPACE : STWS_ERR_FRAME_BUILD, result);
        if (result == STWS_ERR_SPACE) check_there_and_back(&m, need);
        encoded += result == STWS_ERR_SPACE;
        if (test_case_failures) printf("seed %lu\n", seed);
    }
    CHECK(encoded > 5000 && encoded < 25000);
}

/* Tests one byte value in a name or a value, at positions where a scan by blocks could go wrong. */
static void check_byte(stws_stomp_version version, stws_command command, char byte, size_t before,
                       size_t after, int in_name) {
    static made m;
    char *text = in_name ? m.names[0] : m.values[0];
    size_t need = 0;
    int result;
    memset(&m, 0, sizeof m);
    m.version = version;
    m.frame.command_id = command;
    m.frame.headers = m.headers;
    m.frame.header_count = 1;
    m.headers[0].name = m.names[0];
    m.headers[0].value = m.values[0];
    m.names[0][0] = 'n';
    memset(text, 'x', before + 1 + after);
    text[before] = byte;
    m.headers[0].name_len = in_name ? before + 1 + after : 1;
    m.headers[0].value_len = in_name ? 0 : before + 1 + after;
    result = stws_frame_build(NULL, 0, version, &m.frame, &need);
    CHECK_INT(frame_can_be_encoded(&m) ? STWS_ERR_SPACE : STWS_ERR_FRAME_BUILD, result);
    if (result == STWS_ERR_SPACE) check_there_and_back(&m, need);
}

static void test_every_byte(void) {
    static const size_t places[] = {0, 1, 7, 14, 15, 16, 17, 30, 31, 32, 33, 40};
    int byte, version;
    size_t i;
    for (byte = 0; byte < 256; byte++)
        for (version = 0; version < 3; version++)
            for (i = 0; i < sizeof places / sizeof *places; i++) {
                check_byte(versions[version], STWS_COMMAND_SEND, (char)byte, places[i], 3, 0);
                check_byte(versions[version], STWS_COMMAND_SEND, (char)byte, places[i], 3, 1);
                check_byte(versions[version], STWS_COMMAND_CONNECT, (char)byte, places[i], 0,
                           byte & 1);
            }
}

/* ---- building by hand ---- */

static void check_wire(const char *expected, size_t len, stws_stomp_version version,
                       const stws_frame *frame) {
    char *buf = exact_block(len);
    size_t need = 0;
    CHECK_INT(STWS_OK, stws_frame_build(buf, len, version, frame, &need));
    CHECK_MEM(expected, len, buf, need);
    free(buf);
}

#define CHECK_WIRE(expected, version, frame)                                                       \
    check_wire(expected, sizeof(expected) - 1, version, frame)

/* A length of 0 means that strlen() gives the length. */
static void test_lengths_left_out(void) {
    static const stws_header headers[] = {{"destination", "/queue/a", 0, 0},
                                          {"empty", "", 0, 0},
                                          {"cut", "off", 2, 1},
                                          {"content-length", "2", 0, 0}};
    stws_frame frame = {0};
    frame.command = "SEND";
    frame.headers = headers;
    frame.header_count = 4;
    frame.body = "hi";
    frame.body_len = 2;
    CHECK_WIRE("SEND\ndestination:/queue/a\nempty:\ncu:o\ncontent-length:2\n\nhi\0", STWS_STOMP_12,
               &frame);
}

static void test_command_by_number(void) {
    stws_frame frame = {0};
    frame.command_id = STWS_COMMAND_DISCONNECT;
    CHECK_WIRE("DISCONNECT\n\n\0", STWS_STOMP_12, &frame);
    frame.command = "BEGIN"; /* the text takes precedence */
    CHECK_WIRE("BEGIN\n\n\0", STWS_STOMP_12, &frame);
}

static void test_no_command(void) {
    static const stws_command numbers[] = {STWS_COMMAND_OTHER, (stws_command)-1, (stws_command)99};
    stws_frame frame = {0};
    char buf[32];
    size_t need, i;
    for (i = 0; i < 3; i++) {
        frame.command_id = numbers[i];
        CHECK_INT(STWS_ERR_FRAME_BUILD,
                  stws_frame_build(buf, sizeof buf, STWS_STOMP_12, &frame, &need));
    }
    frame.command = "SEND\nx:y";
    CHECK_INT(STWS_ERR_FRAME_BUILD,
              stws_frame_build(buf, sizeof buf, STWS_STOMP_12, &frame, &need));
}

/* ---- reading ---- */

static void test_header_lookup(void) {
    char wire[] = "MESSAGE\na:first\nb:\na:second\nab:c\n\n";
    stws_header table[4];
    stws_frame_state s = state_of(STWS_STOMP_12, table, 4);
    stws_frame frame;
    size_t used;
    CHECK_INT(STWS_DONE, stws_frame_parse(wire, sizeof wire, &s, &frame, &used));
    CHECK_STR("first", stws_frame_header(&frame, "a"));
    CHECK_STR("", stws_frame_header(&frame, "b"));
    CHECK_STR("c", stws_frame_header(&frame, "ab"));
    CHECK_STR(NULL, stws_frame_header(&frame, "A"));
    CHECK_STR(NULL, stws_frame_header(&frame, "abc"));
    CHECK_STR(NULL, stws_frame_header(&frame, ""));
}

/* A decoded name may contain a colon, and the lookup finds it. */
static void test_lookup_of_a_decoded_name(void) {
    char wire[] = "MESSAGE\na\\cb:c\n\n";
    stws_header table[2];
    stws_frame_state s = state_of(STWS_STOMP_12, table, 2);
    stws_frame frame;
    size_t used;
    CHECK_INT(STWS_DONE, stws_frame_parse(wire, sizeof wire, &s, &frame, &used));
    CHECK_STR("c", stws_frame_header(&frame, "a:b"));
    CHECK_STR(NULL, stws_frame_header(&frame, "a"));
}

/* The version is known only after CONNECTED; the same parser state continues with it. */
static void test_version_changes_between_frames(void) {
    char wire[] = "ERROR\nm:\\q\n\n\0CONNECTED\nversion:1.2\nx:\\n\n\n\0MESSAGE\nx:\\n\n\n";
    stws_header table[4];
    stws_frame_state s = state_of(STWS_STOMP_NONE, table, 4);
    stws_frame frame;
    size_t at = 0, used;
    CHECK_INT(STWS_DONE, stws_frame_parse(wire, sizeof wire, &s, &frame, &used));
    CHECK_STR("\\q", stws_frame_header(&frame, "m"));
    at += used;
    CHECK_INT(STWS_DONE, stws_frame_parse(wire + at, sizeof wire - at, &s, &frame, &used));
    CHECK_STR("\\n", stws_frame_header(&frame, "x"));
    at += used;
    s.version = STWS_STOMP_12;
    CHECK_INT(STWS_DONE, stws_frame_parse(wire + at, sizeof wire - at, &s, &frame, &used));
    CHECK_STR("\n", stws_frame_header(&frame, "x"));
    CHECK_INT(sizeof wire, at + used);
}

/* A parser may remember the index of content-length. It must look up that index in the table that
   is used now. */
static void test_the_header_table_changes_between_frames(void) {
    static const char first[] = "MESSAGE\na:1\ncontent-length:2\n\nxy\0";
    static const char second[] = "MESSAGE\na:1\ncontent-length:9\n\n123456789\0";
    char wire[4][64];
    stws_header tables[2][4], *used_by[4];
    stws_frame_state s = state_of(STWS_STOMP_12, tables[0], 4);
    stws_frame frame;
    size_t used, i;
    used_by[0] = tables[0];
    used_by[1] = tables[0] + 1;
    used_by[2] = tables[1];
    used_by[3] = tables[0];
    memset(wire, 'x', sizeof wire);
    for (i = 0; i < 4; i++) {
        const char *text = i & 1 ? second : first;
        size_t len = i & 1 ? sizeof second - 1 : sizeof first - 1;
        memcpy(wire[i], text, len);
        s.headers = used_by[i];
        s.max_headers = 3;
        CHECK_INT(STWS_DONE, stws_frame_parse(wire[i], sizeof wire[i], &s, &frame, &used));
        CHECK_INT(len, used);
        CHECK_INT(i & 1 ? 9 : 2, frame.body_len);
        CHECK_MEM(&used_by[i], sizeof used_by[i], &frame.headers, sizeof frame.headers);
    }
}

/* ---- names ---- */

static void test_command_names(void) {
    CHECK_STR("CONNECT", stws_command_name(STWS_COMMAND_CONNECT));
    CHECK_STR("STOMP", stws_command_name(STWS_COMMAND_STOMP));
    CHECK_STR("CONNECTED", stws_command_name(STWS_COMMAND_CONNECTED));
    CHECK_STR("SEND", stws_command_name(STWS_COMMAND_SEND));
    CHECK_STR("SUBSCRIBE", stws_command_name(STWS_COMMAND_SUBSCRIBE));
    CHECK_STR("UNSUBSCRIBE", stws_command_name(STWS_COMMAND_UNSUBSCRIBE));
    CHECK_STR("ACK", stws_command_name(STWS_COMMAND_ACK));
    CHECK_STR("NACK", stws_command_name(STWS_COMMAND_NACK));
    CHECK_STR("BEGIN", stws_command_name(STWS_COMMAND_BEGIN));
    CHECK_STR("COMMIT", stws_command_name(STWS_COMMAND_COMMIT));
    CHECK_STR("ABORT", stws_command_name(STWS_COMMAND_ABORT));
    CHECK_STR("DISCONNECT", stws_command_name(STWS_COMMAND_DISCONNECT));
    CHECK_STR("MESSAGE", stws_command_name(STWS_COMMAND_MESSAGE));
    CHECK_STR("RECEIPT", stws_command_name(STWS_COMMAND_RECEIPT));
    CHECK_STR("ERROR", stws_command_name(STWS_COMMAND_ERROR));
    CHECK_STR("", stws_command_name(STWS_COMMAND_OTHER));
    CHECK_STR("", stws_command_name((stws_command)-1));
    CHECK_STR("", stws_command_name(STWS_COMMAND_ERROR + 1));
}

static void test_results(void) {
    int code;
    for (code = -1100; code < 50; code++) CHECK(stws_result_name(code) && *stws_result_text(code));
}

/* A STOMP 1.0 receiver trims blanks from names, so it would read " content-length" as
   content-length. */
static void test_padded_names_in_1_0(void) {
    stws_header padded[] = {{" content-length", "1", 0, 0}, {"a\t", "b", 0, 0}, {"a b", "c", 0, 0}};
    stws_frame frame = {.command_id = STWS_COMMAND_SEND, .header_count = 1};
    char buf[200];
    size_t need, i;
    for (i = 0; i < 3; i++) {
        frame.headers = &padded[i];
        CHECK_INT(i < 2 ? STWS_ERR_FRAME_BUILD : STWS_OK,
                  stws_frame_build(buf, sizeof buf, STWS_STOMP_10, &frame, &need));
        CHECK_INT(STWS_OK, stws_frame_build(buf, sizeof buf, STWS_STOMP_12, &frame, &need));
    }
}

static void test_nothing_to_parse(void) {
    stws_frame_state state = {0};
    stws_frame frame;
    size_t used = 1;
    CHECK_INT(STWS_MORE, stws_frame_parse(NULL, 0, &state, &frame, &used));
    CHECK_INT(0, (long)used);
}

int main(void) {
    RUN(test_there_and_back);
    RUN(test_every_byte);
    RUN(test_lengths_left_out);
    RUN(test_command_by_number);
    RUN(test_no_command);
    RUN(test_header_lookup);
    RUN(test_lookup_of_a_decoded_name);
    RUN(test_version_changes_between_frames);
    RUN(test_the_header_table_changes_between_frames);
    RUN(test_command_names);
    RUN(test_results);
    RUN(test_padded_names_in_1_0);
    RUN(test_nothing_to_parse);
    return test_report();
}
