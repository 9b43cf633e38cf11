/* Tests how the client reads the page that comes with a refused upgrade: the words for the error
   text, the remedy, chunked bodies, the end of the answer, and redirects. Each page is cut at every
   length, and each part lies in memory of exactly its size, so that a sanitizer reports a read past
   the end. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/test.h"

static char *exact(const char *data, size_t len) {
    char *copy = (char *)malloc(len ? len : 1);
    if (!copy) abort();
    if (len) memcpy(copy, data, len);
    return copy;
}

#define PAGE(text)                                                                                 \
    { text, sizeof(text) - 1 }

static const struct page {
    const char *data;
    size_t len;
} pages[] = {
    PAGE("<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>"),
    PAGE("<!DOCTYPE html><title></title><h1 class='a'>Bad \t\r\n Gateway</h1>"),
    PAGE("<title"),
    PAGE("<title>\0<h1>\0"),
    PAGE("{\"timestamp\":\"2026\",\"status\":404,\"error\":\"Not Found\",\"path\":\"/a\"}"),
    PAGE("{\"message\" : \"a \\\"b\\\" \\n\\t\\u00e4\\u20AC\\ud83d\\ude00\\u0000\\u12 \\x\\"),
    PAGE("{\"message\":\"\",\"message\":{\"message\":[\"error\",\"detail\"]},\"error\":::::"),
    PAGE("5\r\nabcde\r\n3;x=y\r\n\r\nf\r\n0\r\nTrailer: 1\r\n\r\n"),
    PAGE("ffffffffffffffffff\r\nab\r\n-1\r\n\n\n\n0x5\r\n"),
    PAGE("\n\n1\n\n1\n1\n\r\r\r1\r\r\n0"),
    PAGE("\x1F\x8B\b\0\0\0\0\0"),
    PAGE("Can \"Upgrade\" only to \"WebSocket\"."),
    PAGE("400 Request Header Or Cookie Too Large, SSL certificate"),
    PAGE(" \t\r\n\0 \xFF\xFE\xE2\x82"),
};
enum { PAGES = sizeof pages / sizeof *pages };

/* Calls `look` with the first 0, 1, 2, ... bytes of each page. */
static void with_beginnings(void (*look)(char *data, size_t len)) {
    size_t i, len;
    for (i = 0; i < PAGES; i++) {
        for (len = 0; len <= pages[i].len; len++) {
            char *data = exact(pages[i].data, len);
            look(data, len);
            free(data);
        }
    }
}

static void look_for_words(char *data, size_t len) {
    static stws_header coding[] = {{"Content-Encoding", "identity", 16, 8}};
    char *out = (char *)malloc(140);
    stws_http answer = {0};
    answer.headers = coding;
    if (!out) abort();
    for (answer.header_count = 0; answer.header_count < 2; answer.header_count++) {
        const char *words = stws_p_page_words(out, &answer, data, len);
        CHECK(strlen(words) < 140);
        CHECK(!*words || strncmp(words, "; it", 4) == 0);
    }
    free(out);
}

static void test_words(void) {
    with_beginnings(look_for_words);
}

static void look_for_remedies(char *data, size_t len) {
    const char *remedy = stws_p_page_remedy(data, len);
    CHECK(!remedy || len >= 15);
}

static void test_remedies(void) {
    with_beginnings(look_for_remedies);
}

/* Decoding in place must give the same result as decoding into other memory, and the result is
   never longer than the input. */
static void look_for_chunks(char *data, size_t len) {
    char *out = exact(data, len);
    int whole = 2, as_whole = 3, in_place = 4;
    size_t measured = stws_p_unchunk(NULL, data, len, &whole);
    size_t n = stws_p_unchunk(out, data, len, &as_whole);
    CHECK(n <= len);
    CHECK_INT(measured, n);
    CHECK_INT(whole, as_whole);
    CHECK_INT(n, stws_p_unchunk(data, data, len, &in_place));
    CHECK_INT(whole, in_place);
    CHECK_MEM(out, n, data, n);
    free(out);
}

static void test_chunks(void) {
    with_beginnings(look_for_chunks);
}

/* Cuts the answer at every length. The answer is complete from byte `from` on, and every longer
   part is complete, too. */
static void check_whole(const char *answer, size_t from) {
    size_t len, size = strlen(answer);
    for (len = 0; len <= size; len++) {
        char *data = exact(answer, len);
        int head_is_whole = strstr(answer, "\r\n\r\n") + 4 <= answer + len;
        int whole = stws_p_answer_is_whole(data, len, 0);
        /* The head parser handles an incomplete head. */
        CHECK_INT(len >= from || !head_is_whole, whole);
        free(data);
    }
}

#define HEAD "HTTP/1.1 404 \r\n"

static void test_complete_answers(void) {
    size_t head = sizeof HEAD - 1;
    check_whole(HEAD "Content-Length: 3\r\n\r\nabcd", head + 21 + 3);
    check_whole(HEAD "content-length:\t3\r\n\r\nabcd", head + 21 + 3);
    check_whole(HEAD "Content-Length: 0\r\n\r\nabcd", head + 21);
    check_whole(HEAD "Content-Length: x\r\n\r\nabcd", head + 21);
    check_whole(HEAD "Content-Length:\r\n\r\nabcd", head + 19);
    check_whole(HEAD "Content-Length: 9\r\n\r\nabcd", 1000);
    check_whole(HEAD "X-Content-Length: 3\r\n\r\nabcd", 1000);
    check_whole(HEAD "\r\nabcd", 1000);
    check_whole(HEAD "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", head + 30 + 6 + 3);
    check_whole("HTTP/1.1 204 \r\n\r\nabcd", 17);
    check_whole("HTTP/1.1 304 \r\n\r\nabcd", 17);
    check_whole("HTTP/1.1 101 \r\n\r\nabcd", 17);
    check_whole("GET / HTTP/1.1\r\n\r\nabcd", 18);
}

static void test_garbage_is_not_http(void) {
    char garbage[64];
    size_t len;
    memset(garbage, 0x15, sizeof garbage);
    for (len = 1; len <= sizeof garbage; len++) {
        char *data = exact(garbage, len);
        CHECK_INT(len == 64, stws_p_answer_is_whole(data, len, 0));
        free(data);
    }
}

static void test_redirects(void) {
    static const char *const places[] = {"https://b.test:8443/s?token=1#top",
                                         "//b.test/s",
                                         "?a:b",
                                         "ws:",
                                         "wss:/",
                                         "mailto:a@b",
                                         "../a/./b",
                                         "#",
                                         "HTTP://"};
    stws_url url;
    const char *why;
    size_t i, len, cap;
    CHECK_INT(STWS_OK, stws_url_parse("ws://[::1]:9/a/b?c", &url, &why));
    for (i = 0; i < sizeof places / sizeof *places; i++) {
        for (len = 0; len <= strlen(places[i]); len++) {
            char *place = exact(places[i], len + 1);
            place[len] = 0;
            for (cap = 1; cap < 64; cap++) {
                char *out = (char *)malloc(cap);
                int fits = out && stws_p_redirect_url(&url, place, out, cap);
                CHECK(!fits || (strncmp(out, "ws", 2) == 0 && strlen(out) < cap));
                free(out);
            }
            free(place);
        }
    }
}

int main(void) {
    RUN(test_words);
    RUN(test_remedies);
    RUN(test_chunks);
    RUN(test_complete_answers);
    RUN(test_garbage_is_not_http);
    RUN(test_redirects);
    return test_report();
}
