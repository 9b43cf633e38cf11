/* Tests the URL parser beyond the vectors of tests/conformance/url.txt: every port, every byte
   value in host and target, URLs that are cut off, and random text. */
#include "stomp_ws.h"

#include "tests/test.h"
#include "tests/unit/test_codecs.h"

static void test_null(void) {
    stws_url url;
    const char *why = NULL;
    CHECK_INT(STWS_ERR_URL, stws_url_parse(NULL, &url, &why));
    CHECK(why && *why);
    CHECK_INT(STWS_ERR_URL, stws_url_parse(NULL, &url, NULL));
}

/* The parts are views: they point into the URL. */
static void test_views(void) {
    static const char text[] = "wss://example.com:8443/a/b?c";
    stws_url url;
    CHECK_INT(STWS_OK, stws_url_parse(text, &url, NULL));
    CHECK(url.host == text + 6);
    CHECK_INT(11, url.host_len);
    CHECK(url.target == text + 22);
    CHECK_INT(6, url.target_len);
    CHECK_INT(8443, url.port);
}

static void test_every_port(void) {
    char text[64];
    long port;
    stws_url url;
    for (port = 0; port < 70000; port++) {
        int valid = port >= 1 && port <= 65535;
        snprintf(text, sizeof text, "ws://h:%ld/x", port);
        if (stws_url_parse(text, &url, NULL) != (valid ? STWS_OK : STWS_ERR_URL))
            CHECK_INT(-1, port);
        if (valid && url.port != port) CHECK_INT(port, url.port);
    }
    CHECK_INT(70000, port);
}

/* RFC 3986, 2: a host name may contain unreserved characters and sub-delims. A target may contain
   pchar, '/' and '?'. */
static int may_be_in_host(int c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("-._~!$&'()*+,;=", c) != NULL);
}

static void test_every_byte_in_the_host(void) {
    char text[] = "ws://a?b/x";
    int c;
    stws_url url;
    for (c = 1; c < 256; c++) {
        text[6] = (char)c;
        if (strchr(":/?@", c)) continue; /* these characters delimit the host */
        CHECK_INT(may_be_in_host(c) ? STWS_OK : STWS_ERR_URL, stws_url_parse(text, &url, NULL));
        if (may_be_in_host(c)) CHECK_INT(3, url.host_len);
    }
}

/* The parser refuses bytes that could end a request line or begin a fragment. It accepts the
   characters that RFC 3986 allows. */
static void test_every_byte_in_the_target(void) {
    char text[] = "ws://h/a?b";
    int c, result;
    stws_url url;
    for (c = 1; c < 256; c++) {
        text[8] = (char)c;
        result = stws_url_parse(text, &url, NULL);
        if (c <= ' ' || c >= 127 || c == '#') CHECK_INT(STWS_ERR_URL, result);
        if (may_be_in_host(c) || strchr(":@/?%", c)) {
            CHECK_INT(STWS_OK, result);
            CHECK_INT(4, url.target_len);
        }
    }
}

/* URLs cut off at any place, in memory that ends there. The parser may accept or refuse them, but
   must not read past the end. */
static void test_cut_off(void) {
    static const char *const texts[] = {"wss://[2001:db8::1]:8443/a?b", "ws://guest:guest@h/",
                                        "WS://h:80/#x"};
    size_t i, len;
    stws_url url;
    const char *why;
    for (i = 0; i < sizeof texts / sizeof *texts; i++)
        for (len = 0; len <= strlen(texts[i]); len++) {
            char *text = exact_block(len + 1);
            memcpy(text, texts[i], len);
            text[len] = 0;
            why = NULL;
            CHECK(stws_url_parse(text, &url, &why) == STWS_OK || (why && *why));
            free(text);
        }
}

static void test_random_bytes(void) {
    static const char bytes[] = "ws:/[]@.?#%:0189ah \r\n\\\xc3";
    dice d = dice_of(9);
    int i;
    for (i = 0; i < 50000; i++) {
        size_t len = roll_below(&d, 24), k;
        char *text = exact_block(len + 6);
        stws_url url;
        memcpy(text, "ws://", 5);
        for (k = 0; k < len; k++) text[5 + k] = bytes[roll_below(&d, sizeof bytes - 1)];
        text[5 + len] = 0;
        if (stws_url_parse(text, &url, NULL) == STWS_OK) {
            CHECK(url.host_len > 0 && url.port >= 1 && url.port <= 65535);
            CHECK(url.target + url.target_len == text + 5 + len);
            CHECK(strpbrk(text, " \r\n#\xc3") == NULL);
        }
        free(text);
    }
}

int main(void) {
    RUN(test_null);
    RUN(test_views);
    RUN(test_every_port);
    RUN(test_every_byte_in_the_host);
    RUN(test_every_byte_in_the_target);
    RUN(test_cut_off);
    RUN(test_random_bytes);
    return test_report();
}
