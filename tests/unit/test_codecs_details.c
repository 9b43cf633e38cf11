/* Tests small guarantees of the codecs. For each of them, a defect that was planted in the header
   once went unnoticed by all other tests. Each test here calls a codec directly with a handmade
   input. */
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define SWITCHED                                                                                   \
    "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                               \
    "Sec-WebSocket-Accept: " ACCEPT "\r\n"

enum { TABLE = 16 };

/* Parses an answer and checks it for a client that offered v12.stomp. Returns the result of
   parsing, or of the check if parsing succeeded. */
static int judge(const char *answer) {
    char buf[512];
    stws_header headers[TABLE];
    stws_http http = {.headers = headers, .max_headers = TABLE};
    size_t used = 0;
    int result;
    snprintf(buf, sizeof buf, "%s", answer);
    result = stws_handshake_parse(buf, strlen(answer), &http, &used);
    if (result != STWS_DONE) return result;
    CHECK_INT(strlen(answer), used);
    return stws_handshake_check(&http, KEY, "v12.stomp", NULL, NULL);
}

static void test_an_extension_header_without_an_extension(void) {
    CHECK_INT(STWS_OK, judge(SWITCHED "Sec-WebSocket-Extensions:\r\n\r\n"));
    CHECK_INT(STWS_OK, judge(SWITCHED "Sec-WebSocket-Extensions: \t\r\n\r\n"));
    CHECK_INT(STWS_ERR_HTTP_EXTENSION, judge(SWITCHED "Sec-WebSocket-Extensions: x\r\n\r\n"));
    CHECK_INT(STWS_ERR_HTTP_EXTENSION,
              judge(SWITCHED "Sec-WebSocket-Extensions:\r\nSec-WebSocket-Extensions: x\r\n\r\n"));
}

/* Subprotocols are compared byte by byte (RFC 6455, 4.1: the value is one that was offered). */
static void test_a_subprotocol_in_capitals(void) {
    CHECK_INT(STWS_OK, judge(SWITCHED "Sec-WebSocket-Protocol: v12.stomp\r\n\r\n"));
    CHECK_INT(STWS_ERR_HTTP_SUBPROTOCOL,
              judge(SWITCHED "Sec-WebSocket-Protocol: V12.STOMP\r\n\r\n"));
}

/* HTTP/1.0 has no 101. */
static void test_101_of_an_older_http(void) {
    static const char answer[] = "HTTP/1.0 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n";
    CHECK_INT(STWS_ERR_HTTP, judge(answer));
    CHECK_INT(STWS_ERR_HTTP_STATUS, judge("HTTP/1.0 404 \r\n\r\n"));
}

/* The same struct parses one head after the other. The parser must find the end of the second,
   shorter head. */
static void test_a_short_head_after_a_long_one(void) {
    char longer[] =
        "HTTP/1.1 100 Continue\r\nX-Long: 0123456789012345678901234567890123456789\r\n\r\n";
    char shorter[] = "HTTP/1.1 204 \r\n\r\n";
    stws_header headers[TABLE];
    stws_http http = {.headers = headers, .max_headers = TABLE};
    size_t used = 0;
    CHECK_INT(STWS_MORE, stws_handshake_parse(longer, sizeof longer - 2, &http, &used));
    CHECK_INT(STWS_DONE, stws_handshake_parse(longer, sizeof longer - 1, &http, &used));
    CHECK_INT(STWS_DONE, stws_handshake_parse(shorter, sizeof shorter - 1, &http, &used));
    CHECK_INT(204, http.status);
}

/* The value of Sec-WebSocket-Protocol in a server's answer, or "" if the answer lacks that header.
   The server supports the subprotocols `supported`; the client offers `offered`. */
static const char *chosen(const char *offered, const char *supported) {
    static char answer[512];
    char request[512], *line;
    stws_header headers[TABLE];
    stws_http http = {.headers = headers, .max_headers = TABLE};
    size_t used = 0, need = 0;
    snprintf(request, sizeof request,
             "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Protocol: %s\r\n\r\n",
             offered);
    CHECK_INT(STWS_DONE, stws_handshake_parse(request, strlen(request), &http, &used));
    CHECK_INT(STWS_OK, stws_handshake_answer(answer, sizeof answer - 1, &http, supported, &need));
    answer[need] = 0;
    line = strstr(answer, "Sec-WebSocket-Protocol: ");
    if (!line) return "";
    line[strcspn(line, "\r")] = 0;
    return line + strlen("Sec-WebSocket-Protocol: ");
}

static void test_the_subprotocol_that_a_server_chooses(void) {
    CHECK_STR("v10.stomp", chosen("x, v10.stomp, v12.stomp", "v12.stomp, v10.stomp"));
    CHECK_STR("v12.stomp", chosen("V10.STOMP, v12.stomp", "v12.stomp, v10.stomp"));
    CHECK_STR("", chosen("V12.STOMP", "v12.stomp"));
    CHECK_STR("", chosen("v12.stomp", NULL));
}

/* A close frame with half a code. The byte after the frame must not be read as the second half. */
static void test_half_a_close_code(void) {
    char frame[] = "\x88\x01\x03\xE8";
    stws_ws ws = {0};
    stws_ws_event event;
    size_t used = 0;
    CHECK_INT(STWS_ERR_WS_PROTOCOL, stws_ws_parse(frame, 4, &ws, &event, &used));
    CHECK_INT(1002, ws.close_code);
    CHECK_HAS("half a code", ws.reason);
}

/* Parses a whole message of that length from a server. The parser has that limit. */
static int parse_message(size_t len, size_t limit) {
    static const char body[65538];
    char *frame = exact_block(len + 10);
    stws_ws ws = {.max_message = limit};
    stws_ws_event event;
    size_t need = 0, used = 0;
    int result;
    CHECK_INT(STWS_OK, stws_ws_build(frame, len + 10, STWS_WS_TEXT, 1, body, len, NULL, &need));
    result = stws_ws_parse(frame, need, &ws, &event, &used);
    if (result == STWS_DONE) CHECK_INT(len, event.len);
    if (result < 0) CHECK_INT(1009, ws.close_code);
    free(frame);
    return result;
}

/* A client's limit applies to messages that arrive complete, short and long. */
static void test_the_limit_of_a_whole_message(void) {
    static const size_t limits[] = {1, 2, 125, 126, 127, 65535, 65536};
    size_t i;
    for (i = 0; i < sizeof limits / sizeof *limits; i++) {
        CHECK_INT(STWS_DONE, parse_message(limits[i] - 1, limits[i]));
        CHECK_INT(STWS_DONE, parse_message(limits[i], limits[i]));
        CHECK_INT(STWS_ERR_WS_LIMIT, parse_message(limits[i] + 1, limits[i]));
        CHECK_INT(STWS_DONE, parse_message(limits[i] + 1, 0));
    }
}

/* Fragments without payload: only the first fragment of the message is reported as the first. */
static void test_the_first_of_empty_fragments(void) {
    char frames[] = "\x01\x00\x00\x00\x00\x01x\x80\x00";
    stws_ws ws = {0};
    stws_ws_event event;
    size_t used = 0, at = 0;
    int i;
    for (i = 0; i < 4; i++) {
        CHECK_INT(STWS_DONE,
                  stws_ws_parse(frames + at, sizeof frames - 1 - at, &ws, &event, &used));
        CHECK_INT(i == 0, event.first);
        CHECK_INT(i == 3, event.last);
        CHECK_INT(i == 2, event.len);
        at += used;
    }
    CHECK_INT(sizeof frames - 1, at);
}

/* Many ids. For some pairs the first four bytes of the hashes are equal, so only the whole hash
   distinguishes them. */
static void test_many_different_ids(void) {
    enum { IDS = 200000 };
    void *memory = malloc(stws_dedup_size(IDS));
    stws_dedup *d = stws_dedup_init(memory, IDS);
    char id[16];
    int i, wrong = 0;
    for (i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "%d", i);
        wrong += stws_dedup_seen(d, id);
    }
    CHECK_INT(0, wrong);
    CHECK_INT(1, stws_dedup_seen(d, "0"));
    CHECK_INT(1, stws_dedup_seen(d, id));
    free(memory);
}

int main(void) {
    RUN(test_an_extension_header_without_an_extension);
    RUN(test_a_subprotocol_in_capitals);
    RUN(test_101_of_an_older_http);
    RUN(test_a_short_head_after_a_long_one);
    RUN(test_the_subprotocol_that_a_server_chooses);
    RUN(test_half_a_close_code);
    RUN(test_the_limit_of_a_whole_message);
    RUN(test_the_first_of_empty_fragments);
    RUN(test_many_different_ids);
    return test_report();
}
