/* Tests the WebSocket handshake: requests are built, answers are checked, and the client's half and
   the server's half are run against each other. Inputs lie in blocks of exactly their size. */
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum { TABLE = 32, BUFFER = 2048 };

static stws_handshake handshake_to(const char *text, stws_url *url) {
    stws_handshake h;
    memset(&h, 0, sizeof h);
    CHECK_INT(STWS_OK, stws_url_parse(text, url, NULL));
    h.url = url;
    h.key = KEY;
    return h;
}

/* ---- requests ---- */

static void check_request(const char *expected, const stws_handshake *h) {
    size_t len = strlen(expected), need = 0, cap;
    for (cap = 0; cap <= len + 2; cap++) {
        char *buf = exact_block(cap);
        int result = stws_handshake_request(buf, cap, h, &need);
        CHECK_INT(cap < len ? STWS_ERR_SPACE : STWS_OK, result);
        CHECK_INT(len, need);
        if (result == STWS_OK) CHECK_MEM(expected, len, buf, need);
        free(buf);
    }
}

static void test_smallest_request(void) {
    stws_url url;
    stws_handshake h = handshake_to("ws://localhost:8080/notifications/websocket", &url);
    check_request(
        "GET /notifications/websocket HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
        &h);
}

static void test_largest_request(void) {
    static const char *const headers[] = {"Authorization", "Bearer abc.def", "X-Empty", "",
                                          "X-Tab",         "a\tb",           NULL};
    stws_url url;
    stws_handshake h = handshake_to("wss://h/a?b=c", &url);
    h.subprotocols = "v12.stomp, v11.stomp";
    h.origin = "https://example.com";
    h.cookie = "a=b; c=d";
    h.headers = headers;
    check_request("GET /a?b=c HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Protocol: v12.stomp, v11.stomp\r\nOrigin: "
                  "https://example.com\r\nCookie: a=b; c=d\r\n"
                  "Authorization: Bearer abc.def\r\nX-Empty: \r\nX-Tab: a\tb\r\n\r\n",
                  &h);
}

/* Checks the request line and the Host header for a URL. */
static void check_first_lines(const char *url_text, const char *expected) {
    char buf[BUFFER];
    stws_url url;
    stws_handshake h = handshake_to(url_text, &url);
    size_t need = 0;
    CHECK_INT(STWS_OK, stws_handshake_request(buf, sizeof buf, &h, &need));
    CHECK(need > strlen(expected));
    CHECK_MEM(expected, strlen(expected), buf, strlen(expected));
}

/* Measuring the size needs no buffer, even if some parts are empty. */
static void test_measured_without_a_buffer(void) {
    stws_handshake h = {0};
    stws_url url;
    size_t need = 0;
    CHECK_INT(STWS_OK, stws_url_parse("ws://example.com", &url, NULL));
    h.url = &url;
    h.key = KEY;
    CHECK_INT(STWS_ERR_SPACE, stws_handshake_request(NULL, 0, &h, &need));
    CHECK(need > 100);
}

static void test_host_and_target(void) {
    check_first_lines("ws://h", "GET / HTTP/1.1\r\nHost: h\r\n");
    check_first_lines("ws://h:80/x", "GET /x HTTP/1.1\r\nHost: h\r\n");
    check_first_lines("wss://h:443/", "GET / HTTP/1.1\r\nHost: h\r\n");
    check_first_lines("ws://h:443/", "GET / HTTP/1.1\r\nHost: h:443\r\n");
    check_first_lines("wss://h:80/", "GET / HTTP/1.1\r\nHost: h:80\r\n");
    check_first_lines("ws://h?token=x", "GET /?token=x HTTP/1.1\r\nHost: h\r\n");
    check_first_lines("ws://[::1]:8080/ws", "GET /ws HTTP/1.1\r\nHost: [::1]:8080\r\n");
    check_first_lines("wss://[2001:db8::1]/", "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n");
}

static void check_refused(const stws_handshake *h) {
    char buf[BUFFER];
    size_t need = 0;
    memset(buf, '~', sizeof buf);
    buf[sizeof buf - 1] = 0;
    CHECK_INT(STWS_ERR_USAGE, stws_handshake_request(buf, sizeof buf - 1, h, &need));
    CHECK_INT(sizeof buf - 1, strspn(buf, "~"));
}

/* No string of the caller can inject a header or a second request. */
static void test_injection(void) {
    static const char *const evil[] = {
        "a\r\nX: y", "a\nX: y", "a\r", "\n", "a\r\n\r\nGET / HTTP/1.1", "a\x01", "a\x7f"};
    stws_url url;
    size_t i;
    for (i = 0; i < sizeof evil / sizeof *evil; i++) {
        stws_handshake h = handshake_to("ws://h/", &url), clean = h;
        const char *headers[] = {"X-A", NULL, NULL};
        headers[1] = evil[i];
        h.origin = evil[i];
        check_refused(&h);
        h = clean;
        h.cookie = evil[i];
        check_refused(&h);
        h = clean;
        h.subprotocols = evil[i];
        check_refused(&h);
        h = clean;
        h.key = evil[i];
        check_refused(&h);
        h = clean;
        h.headers = headers;
        check_refused(&h);
        headers[0] = evil[i];
        headers[1] = "value";
        check_refused(&h);
    }
}

/* The caller may have filled in the stws_url by hand, so its parts are untrusted strings, too. */
static void test_injection_through_the_url(void) {
    static const struct {
        const char *text;
        size_t len;
    } evil[] = {{"/a HTTP/1.1\r\nX: y", 17},
                {"/a\nb", 4},
                {"/a\r", 3},
                {"/a\0b", 4},
                {"/\r\n", 3},
                {"/\n", 2}};
    stws_url url;
    size_t i;
    for (i = 0; i < sizeof evil / sizeof *evil; i++) {
        stws_handshake h = handshake_to("ws://h/", &url);
        url.target = evil[i].text;
        url.target_len = evil[i].len;
        check_refused(&h);
        url.target = evil[i].text + 1;
        url.target_len = evil[i].len - 1;
        check_refused(&h);
        h = handshake_to("ws://h/", &url);
        url.host = evil[i].text + 1;
        url.host_len = evil[i].len - 1;
        check_refused(&h);
    }
}

static void test_header_names(void) {
    static const char *const names[] = {"Host",
                                        "UPGRADE",
                                        "connection",
                                        "Sec-WebSocket-Key",
                                        "sec-websocket-version",
                                        "Sec-WebSocket-Protocol",
                                        "Sec-WebSocket-Extensions",
                                        "",
                                        "a b",
                                        "a:",
                                        "a\tb",
                                        "n\xc3\xa9",
                                        "(a)"};
    stws_url url;
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        stws_handshake h = handshake_to("ws://h/", &url);
        const char *headers[] = {NULL, "value", NULL};
        headers[0] = names[i];
        h.headers = headers;
        check_refused(&h);
    }
}

/* ---- answers ---- */

static stws_header table[TABLE];

static int parse(char *buf, size_t len, stws_http *http, size_t *used) {
    memset(http, 0, sizeof *http);
    http->headers = table;
    http->max_headers = TABLE;
    return stws_handshake_parse(buf, len, http, used);
}

static void test_header_lookup(void) {
    char buf[] = "HTTP/1.1 101 x\r\nA: one\r\nB:\r\na: two , THREE,,four\r\nAB: five\r\n\r\n";
    stws_http http;
    size_t used;
    CHECK_INT(STWS_DONE, parse(buf, sizeof buf - 1, &http, &used));
    CHECK_INT(sizeof buf - 1, used);
    CHECK_INT(4, http.header_count);
    CHECK_STR("one", stws_http_header(&http, "a"));
    CHECK_STR("", stws_http_header(&http, "b"));
    CHECK_STR("five", stws_http_header(&http, "aB"));
    CHECK_STR(NULL, stws_http_header(&http, "ABC"));
    CHECK_STR(NULL, stws_http_header(&http, ""));
    CHECK_INT(1, stws_http_has_token(&http, "A", "One"));
    CHECK_INT(1, stws_http_has_token(&http, "a", "two"));
    CHECK_INT(1, stws_http_has_token(&http, "a", "three"));
    CHECK_INT(1, stws_http_has_token(&http, "a", "four"));
    CHECK_INT(0, stws_http_has_token(&http, "a", "five"));
    CHECK_INT(0, stws_http_has_token(&http, "a", "tw"));
    CHECK_INT(0, stws_http_has_token(&http, "a", "fourth"));
    CHECK_INT(0, stws_http_has_token(&http, "b", "one"));
    CHECK_INT(0, stws_http_has_token(&http, "c", "one"));
}

/* RFC 9112, 2.2: the parser must treat a CR that does not end a line as invalid, or replace it with
   a space. The caller never sees it. */
static void test_bare_cr(void) {
    static const char *const heads[] = {
        "HTTP/1.1 101 x\r\nA: b\rc\r\n\r\n", "HTTP/1.1 101 x\r\nA: b\r\r\n\r\n",
        "HTTP/1.1 101 a\rb\r\nA: b\r\n\r\n", "HTTP/1.1 101 x\nA:\rb\n\n"};
    size_t i, used;
    stws_http http;
    for (i = 0; i < sizeof heads / sizeof *heads; i++) {
        char *buf = exact_copy(heads[i], strlen(heads[i]));
        int result = parse(buf, strlen(heads[i]), &http, &used);
        if (result == STWS_DONE)
            CHECK(!strchr(http.reason, '\r') && !strchr(stws_http_header(&http, "A"), '\r'));
        else
            CHECK_INT(STWS_ERR_HTTP, result);
        free(buf);
    }
}

static void test_check_without_pointers(void) {
    char buf[] = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: "
                 "Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n";
    stws_http http;
    size_t used;
    CHECK_INT(STWS_DONE, parse(buf, sizeof buf - 1, &http, &used));
    CHECK_INT(STWS_OK, stws_handshake_check(&http, KEY, NULL, NULL, NULL));
    CHECK_INT(STWS_ERR_HTTP_UPGRADE,
              stws_handshake_check(&http, "AQIDBAUGBwgJCgsMDQ4PEA==", NULL, NULL, NULL));
}

/* RFC 9110, 15.2: a 1xx answer before the 101 has a head of its own. The caller parses the rest
   again. */
static void test_interim_answers(void) {
    char buf[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\n"
                 "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: "
                 "Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n";
    size_t at = 0, used = 0;
    stws_http http;
    CHECK_INT(STWS_DONE, parse(buf, sizeof buf - 1, &http, &used));
    CHECK_INT(100, http.status);
    CHECK_INT(25, used);
    CHECK_INT(STWS_ERR_HTTP_STATUS, stws_handshake_check(&http, KEY, NULL, NULL, NULL));
    at += used;
    CHECK_INT(STWS_DONE, parse(buf + at, sizeof buf - 1 - at, &http, &used));
    CHECK_INT(102, http.status);
    at += used;
    CHECK_INT(STWS_DONE, parse(buf + at, sizeof buf - 1 - at, &http, &used));
    CHECK_INT(101, http.status);
    CHECK_INT(sizeof buf - 1, at + used);
    CHECK_INT(STWS_OK, stws_handshake_check(&http, KEY, NULL, NULL, NULL));
}

/* ---- both halves ---- */

/* Feeds the head byte by byte, each time in a new memory block. */
static void parse_slowly(const char *head, size_t len, stws_http *http, char **block) {
    size_t n, used = 0;
    int result = STWS_MORE;
    *block = NULL;
    memset(http, 0, sizeof *http);
    http->headers = table;
    http->max_headers = TABLE;
    for (n = 1; n <= len; n++) {
        free(*block);
        *block = exact_copy(head, n);
        CHECK_INT(STWS_MORE, result);
        result = stws_handshake_parse(*block, n, http, &used);
    }
    CHECK_INT(STWS_DONE, result);
    CHECK_INT(len, used);
}

static void check_halves(const char *offered, const char *supported, const char *chosen) {
    char request[BUFFER], answer[BUFFER], *block;
    unsigned char nonce[16];
    char key[25];
    stws_url url;
    stws_handshake h = handshake_to("ws://localhost:1234/ws", &url);
    stws_http http;
    size_t len = 0, need = 0;
    const char *subprotocol = "never set", *why = NULL;
    dice d = dice_of(10);
    roll_bytes(&d, nonce, sizeof nonce);
    stws_handshake_key(nonce, key);
    h.key = key;
    h.subprotocols = offered;
    CHECK_INT(STWS_OK, stws_handshake_request(request, sizeof request, &h, &len));
    parse_slowly(request, len, &http, &block);
    CHECK_STR("GET", http.method);
    CHECK_STR("/ws", http.target);
    CHECK_STR("localhost:1234", stws_http_header(&http, "Host"));
    CHECK_INT(STWS_OK, stws_handshake_answer(answer, sizeof answer, &http, supported, &need));
    free(block);
    parse_slowly(answer, need, &http, &block);
    CHECK_INT(101, http.status);
    CHECK_INT(STWS_OK, stws_handshake_check(&http, key, offered, &subprotocol, &why));
    CHECK_STR(chosen, subprotocol);
    free(block);
}

static void test_both_halves(void) {
    check_halves(NULL, NULL, NULL);
    check_halves(NULL, "v12.stomp", NULL);
    check_halves("v12.stomp, v11.stomp, v10.stomp", NULL, NULL);
    check_halves("v12.stomp, v11.stomp, v10.stomp", "v12.stomp", "v12.stomp");
    check_halves("v12.stomp,v11.stomp", "v10.stomp, v11.stomp", "v11.stomp");
    check_halves("mqtt", "v10.stomp, v11.stomp", NULL);
}

/* Heads with one to three changed bytes. The parser may accept or refuse them. It must not read
   past the end, and a refusal by the check must give a reason. */
static void test_broken_heads(void) {
    static const char good[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: a, Upgrade\r\n"
        "Sec-WebSocket-Accept: " ACCEPT "\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n";
    static const char request[] =
        "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n";
    static const char bytes[] = "\r\n\0 :,\tH/19aA\x80=";
    dice d = dice_of(11);
    int i;
    for (i = 0; i < 40000; i++) {
        int is_answer = one_in(&d, 2);
        size_t len = is_answer ? sizeof good - 1 : sizeof request - 1, used = 0, need = 0,
               changes = 1 + roll_below(&d, 3);
        char *buf = exact_copy(is_answer ? good : request, len), answer[BUFFER];
        const char *why = NULL;
        stws_http http;
        int result;
        while (changes-- > 0) buf[roll_below(&d, len)] = bytes[roll_below(&d, sizeof bytes - 1)];
        result = parse(buf, len, &http, &used);
        CHECK(result == STWS_DONE ? used > 0 && used <= len
                                  : result == STWS_MORE || result == STWS_ERR_HTTP);
        if (result == STWS_DONE && is_answer &&
            stws_handshake_check(&http, KEY, "v12.stomp", NULL, &why) < 0)
            CHECK(why && *why);
        if (result == STWS_DONE && !is_answer) {
            result = stws_handshake_answer(answer, sizeof answer, &http, "v12.stomp", &need);
            CHECK(result == STWS_OK || result == STWS_ERR_HTTP_UPGRADE);
            CHECK(need > 4 && memcmp(answer + need - 4, "\r\n\r\n", 4) == 0);
        }
        free(buf);
    }
}

/* ==== server refusals, and options that a client leaves empty ==== */

#define UPGRADE "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#define GOOD_KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static void check_refusal(const char *head, int result, const char *part) {
    char answer[BUFFER], *buf = exact_copy(head, strlen(head));
    size_t used = 0, need = 0;
    stws_http http;
    CHECK_INT(STWS_DONE, parse(buf, strlen(head), &http, &used));
    CHECK_INT(result, stws_handshake_answer(answer, sizeof answer - 1, &http, NULL, &need));
    answer[need] = 0;
    CHECK_HAS(part, answer);
    free(buf);
}

static void test_refusals(void) {
    check_refusal(UPGRADE GOOD_KEY "Host: a\r\nSec-WebSocket-Version: 13\r\n\r\n", STWS_OK,
                  " 101 ");
    check_refusal(UPGRADE GOOD_KEY "Host: a\r\nHost: b\r\nSec-WebSocket-Version: 13\r\n\r\n",
                  STWS_ERR_HTTP_UPGRADE, " 400 ");
    check_refusal(UPGRADE "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!!!\r\nHost: a\r\n"
                          "Sec-WebSocket-Version: 13\r\n\r\n",
                  STWS_ERR_HTTP_UPGRADE, " 400 ");
    check_refusal(UPGRADE GOOD_KEY "Host: a\r\nSec-WebSocket-Version: 8\r\n\r\n",
                  STWS_ERR_HTTP_UPGRADE, "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
}

static void test_empty_options_send_no_header(void) {
    char request[BUFFER];
    stws_handshake h = {.key = KEY, .subprotocols = "", .origin = "", .cookie = ""};
    stws_url url;
    size_t need = 0;
    CHECK_INT(STWS_OK, stws_url_parse("ws://[fe80::1%eth0]:81/x", &url, NULL));
    h.url = &url;
    CHECK_INT(STWS_OK, stws_handshake_request(request, sizeof request - 1, &h, &need));
    request[need] = 0;
    CHECK_HAS("\r\nHost: [fe80::1]:81\r\n", request);
    CHECK(!strstr(request, "Protocol") && !strstr(request, "Origin") && !strstr(request, "Cookie"));
}

static void test_an_answer_after_a_request(void) {
    char request[] = UPGRADE "\r\n", answer[] = "HTTP/1.1 200 OK\r\n\r\n";
    size_t used = 0;
    stws_http http;
    CHECK_INT(STWS_DONE, parse(request, sizeof request - 1, &http, &used));
    CHECK_STR("GET", http.method);
    CHECK_INT(STWS_DONE, stws_handshake_parse(answer, sizeof answer - 1, &http, &used));
    CHECK_INT(200, http.status);
    CHECK_STR(NULL, http.method);
}

int main(void) {
    RUN(test_smallest_request);
    RUN(test_largest_request);
    RUN(test_measured_without_a_buffer);
    RUN(test_host_and_target);
    RUN(test_injection);
    RUN(test_injection_through_the_url);
    RUN(test_header_names);
    RUN(test_header_lookup);
    RUN(test_bare_cr);
    RUN(test_check_without_pointers);
    RUN(test_interim_answers);
    RUN(test_both_halves);
    RUN(test_broken_heads);
    RUN(test_refusals);
    RUN(test_empty_options_send_no_header);
    RUN(test_an_answer_after_a_request);
    return test_report();
}
