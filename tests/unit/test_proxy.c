/* Tests both protocols for a proxy, HTTP CONNECT and SOCKS 5, without a socket: the proxy's URL,
   the environment variables, the requests that the client sends, and any answer of the proxy, cut
   into pieces at every place. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/test.h"

enum { WHOLE = 100000 };

/* ==== the URL ==== */

static void test_urls(void) {
    static const struct {
        const char *url;
        int socks, port;
        const char *host, *user, *password;
    } rows[] = {{"http://proxy.test:3128", 0, 3128, "proxy.test", "", ""},
                {"HTTP://proxy.test:3128/", 0, 3128, "proxy.test", "", ""},
                {"proxy.test:3128", 0, 3128, "proxy.test", "", ""},
                {"http://proxy.test", 0, 80, "proxy.test", "", ""},
                {"socks5://proxy.test", 1, 1080, "proxy.test", "", ""},
                {"socks5h://proxy.test:80", 1, 80, "proxy.test", "", ""},
                {"socks5://[::1]:9", 1, 9, "::1", "", ""},
                {"http://ada:secret@10.0.0.1:8080", 0, 8080, "10.0.0.1", "ada", "secret"},
                {"http://ada@h:1", 0, 1, "h", "ada", ""},
                {"http://:secret@h:1", 0, 1, "h", "", "secret"},
                {"http://@h:1", 0, 1, "h", "", ""},
                {"ada:secret@h:1", 0, 1, "h", "ada", "secret"},
                {"http://a%40c:%2fd%25%3A@h:1", 0, 1, "h", "a@c", "/d%:"},
                {"socks5://a%3Ab%40c:%2fd%25@h:1", 1, 1, "h", "a:b@c", "/d%"},
                {"socks5://a%09:%0A@h:1", 1, 1, "h", "a\t", "\n"},
                {"http://ada:a@b:c@h:1", 0, 1, "h", "ada", "a@b:c"},
                {"http://%c3%BC:x@h:1", 0, 1, "h", "\xc3\xbc", "x"}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        stws_p_proxy_url at;
        CHECK_INT(1, stws_p_proxy_parse(&at, rows[i].url));
        CHECK_INT(rows[i].socks, at.socks);
        CHECK_INT(rows[i].port, at.port);
        CHECK_STR(rows[i].host, at.host);
        CHECK_STR(rows[i].user, at.user);
        CHECK_STR(rows[i].password, at.password);
    }
}

static void test_urls_that_are_not_valid_for_a_proxy(void) {
    static const char *const urls[] = {"",
                                       "http://",
                                       "https://h:1",
                                       "socks4://h:1",
                                       "ws://h:1",
                                       "http://h:0",
                                       "http://h:65536",
                                       "http://h:1/path",
                                       "http://h:1?q",
                                       "http://h:1#f",
                                       "http://h:",
                                       "http://a b:1",
                                       "http://h:1\r\n",
                                       "http://[::1:1",
                                       "http://[h]:1", /* brackets are only for IPv6 addresses */
                                       "http://%zz:x@h:1",
                                       "http://%:x@h",
                                       "http://x:%4@h:1",
                                       "http://%00@h:1",
                                       "http://x:%0@h:1",
                                       "http://a%3Ab:x@h:1", /* RFC 7617, 2: no colon in the user */
                                       "http://%3A:x@h:1",
                                       "a%3Ab@h:1",
                                       "http://a%0D%0Ab:x@h:1", /* and no control characters */
                                       "http://a:b%09@h:1",
                                       "http://a%09:b@h:1",
                                       "http://a:b%1f@h:1",
                                       "http://a:%7F@h:1",
                                       "://h:1"};
    size_t i;
    stws_p_proxy_url at;
    for (i = 0; i < sizeof urls / sizeof *urls; i++)
        CHECK_STR(NULL, stws_p_proxy_parse(&at, urls[i]) ? urls[i] : NULL);
}

/* The user and the password have at most 255 bytes each; %XX counts as one byte. */
static void test_long_credentials(void) {
    char url[1200];
    stws_p_proxy_url at;
    int len;
    for (len = 253; len < 258; len++) {
        int i, n = snprintf(url, sizeof url, "http://");
        for (i = 0; i < len; i++) url[n++] = 'u';
        url[n++] = ':';
        for (i = 0; i < len; i++) n += snprintf(url + n, 4, "%%70");
        snprintf(url + n, sizeof url - (size_t)n, "@h:1");
        CHECK_INT(len <= 255, stws_p_proxy_parse(&at, url));
        if (len <= 255) CHECK_INT(len, strlen(at.user));
        if (len <= 255) CHECK_INT(len, strlen(at.password));
    }
}

static void test_options(void) {
    static const stws_transport none = {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    stws_options o = stws_options_default();
    stws *client;
    o.url = "ws://broker.test/";
    o.proxy = "https://secret-word@h:1";
    CHECK_INT(0, stws_size(&o));
    client = stws_create(&o);
    CHECK_INT(STWS_ERR_USAGE, stws_run(client));
    CHECK_HAS("http://[user:password@]host:port", stws_error_text(client));
    CHECK(!strstr(stws_error_text(client), "secret-word"));
    stws_destroy(client);
    o.proxy = "http://secret%3Aword:x@h:1";
    CHECK_INT(0, stws_size(&o));
    client = stws_create(&o);
    CHECK_HAS("no colon in the user", stws_error_text(client));
    CHECK(!strstr(stws_error_text(client), "secret"));
    stws_destroy(client);
    o.proxy = "http://h:1";
    CHECK(stws_size(&o) > 0);
    o.proxy = STWS_PROXY_FROM_ENVIRONMENT;
    CHECK(stws_size(&o) > 0);
    o.transport = &none;
    CHECK_INT(0, stws_size(&o));
}

/* ==== the environment ==== */

static void test_hosts_that_no_proxy_excludes(void) {
    static const struct {
        const char *list, *host;
        int spared;
    } rows[] = {{"", "a.test", 0},
                {"*", "a.test", 1},
                {"a.test", "a.test", 1},
                {"A.Test", "a.tEST", 1},
                {".a.test", "a.test", 1},
                {"a.test", "b.a.test", 1},
                {".a.test", "b.a.test", 1},
                {"a.test", "ba.test", 0},
                {"b.a.test", "a.test", 0},
                {"x, a.test ,y", "a.test", 1},
                {",,", "a.test", 0},
                {".", "a.test", 0},
                {"127.0.0.1", "127.0.0.1", 1},
                {"127.0.0.1", "127.0.0.10", 0},
                {"::1", "::1", 1},
                {"test", "a.test", 1},
                {"est", "a.test", 0}};
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK_INT(rows[i].spared, stws_p_proxy_is_excepted(rows[i].list, rows[i].host));
}

static void clear_environment(void) {
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                        "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
}

static const char *for_ws(void) {
    return stws_p_proxy_from_environment("a.test", 0);
}

static const char *for_wss(void) {
    return stws_p_proxy_from_environment("a.test", 1);
}

static void test_the_environment(void) {
    clear_environment();
    CHECK(!for_ws() && !for_wss());
    setenv("HTTP_PROXY", "from-a-request", 1);
    CHECK(!for_ws() && !for_wss());
    setenv("ALL_PROXY", "all", 1);
    CHECK_STR("all", for_ws());
    CHECK_STR("all", for_wss());
    setenv("all_proxy", "every", 1);
    CHECK_STR("every", for_ws());
    setenv("HTTPS_PROXY", "SECURE", 1);
    CHECK_STR("every", for_ws());
    CHECK_STR("SECURE", for_wss());
    setenv("https_proxy", "secure", 1);
    CHECK_STR("secure", for_wss());
    setenv("http_proxy", "plain", 1);
    CHECK_STR("plain", for_ws());
    setenv("http_proxy", "", 1);
    CHECK(!for_ws());
    setenv("NO_PROXY", "a.test", 1);
    CHECK(!for_wss());
    setenv("no_proxy", "b.test", 1);
    CHECK_STR("secure", for_wss());
    clear_environment();
}

/* ==== requests ==== */

static stws_p_proxy begin(const char *url, const char *target, int port) {
    static stws_p_proxy p;
    memset(&p, 0, sizeof p);
    CHECK_INT(1, stws_p_proxy_parse(&p.at, url));
    snprintf(p.target, sizeof p.target, "%s", target);
    p.port = port;
    stws_p_proxy_encode(&p, p.at.socks ? STWS_P_ASK_METHOD : STWS_P_ASK_CONNECT);
    return p;
}

static void check_request(const stws_p_proxy *p, const char *expected, size_t len) {
    CHECK_MEM(expected, len, p->data, p->len);
    CHECK_INT(0, p->sent);
}

#define CHECK_REQUEST(literal, p) check_request(p, literal, sizeof(literal) - 1)

static void test_requests_in_http(void) {
    stws_p_proxy p = begin("http://h:1", "broker.test", 8080);
    CHECK_REQUEST("CONNECT broker.test:8080 HTTP/1.1\r\nHost: broker.test:8080\r\n\r\n", &p);
    p = begin("http://h:1", "fe80::1", 80);
    CHECK_REQUEST("CONNECT [fe80::1]:80 HTTP/1.1\r\nHost: [fe80::1]:80\r\n\r\n", &p);
    p = begin("http://Aladdin:open%20sesame@h:1", "b", 1); /* RFC 7617, 2 */
    CHECK_REQUEST("CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n"
                  "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
                  &p);
    p = begin("http://:x@h:1", "b", 1);
    CHECK_REQUEST("CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\nProxy-Authorization: Basic Ong=\r\n\r\n",
                  &p);
}

static void test_requests_in_socks(void) {
    stws_p_proxy p = begin("socks5://h:1", "broker.test", 8080);
    CHECK_REQUEST("\5\1\0", &p);
    stws_p_proxy_encode(&p, STWS_P_ASK_CONNECT);
    CHECK_REQUEST("\5\1\0\3\13broker.test\x1f\x90", &p);
    p = begin("socks5://h:1", "127.0.0.1", 65535);
    stws_p_proxy_encode(&p, STWS_P_ASK_CONNECT);
    CHECK_REQUEST("\5\1\0\1\x7f\0\0\1\xff\xff", &p);
    p = begin("socks5://h:1", "fe80::1", 80);
    stws_p_proxy_encode(&p, STWS_P_ASK_CONNECT);
    CHECK_REQUEST("\5\1\0\4\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\x50", &p);
    p = begin("socks5://ada:secret@h:1", "b", 1);
    CHECK_REQUEST("\5\2\0\2", &p);
    stws_p_proxy_encode(&p, STWS_P_ASK_LOGIN);
    CHECK_REQUEST("\1\3ada\6secret", &p);
    p = begin("socks5://ada@h:1", "b", 1);
    stws_p_proxy_encode(&p, STWS_P_ASK_LOGIN);
    CHECK_REQUEST("\1\3ada\0", &p);
}

static void test_the_longest_requests(void) {
    char url[600], name[256], login[1 + 1 + 255 + 1 + 255];
    stws_p_proxy p;
    snprintf(url, sizeof url, "http://%0255d:%0255d@h:1", 1, 2);
    snprintf(name, sizeof name, "%0253d", 3);
    p = begin(url, name, 65535);
    CHECK(p.len < 2048);
    CHECK_MEM("\r\n\r\n", 4, p.data + p.len - 4, 4);
    snprintf(url, sizeof url, "socks5://%0255d:%0255d@h:1", 1, 2);
    p = begin(url, name, 65535);
    stws_p_proxy_encode(&p, STWS_P_ASK_LOGIN);
    CHECK_INT(sizeof login, p.len);
    CHECK_INT(255, (unsigned char)p.data[1]);
    CHECK_INT(255, (unsigned char)p.data[257]);
    stws_p_proxy_encode(&p, STWS_P_ASK_CONNECT);
    CHECK_INT(4 + 1 + 253 + 2, p.len);
}

/* ==== answers ==== */

/* Feeds the answers. A reply starts only after its request was sent. Feeds the first `split` bytes
   together, then `piece` bytes at a time. */
static int hear(stws_p_proxy *p, const char *answer, size_t len, size_t split, size_t piece) {
    int result = STWS_MORE;
    size_t at = 0;
    while (at < len && result == STWS_MORE) {
        size_t n = at < split ? split - at : piece, room;
        if (p->saying) p->saying = 0, p->len = 0;
        room = p->step == STWS_P_ASK_CONNECT ? sizeof p->data - p->len : 2 - p->len;
        if (n > len - at) n = len - at;
        if (n > room) n = room;
        if (n == 0) return STWS_OFF; /* it should have decided before */
        memcpy(p->data + p->len, answer + at, n);
        p->len += n;
        at += n;
        result = stws_p_proxy_handle_answer(p);
    }
    return result;
}

/* The result must be the same at every split and byte by byte. An incomplete answer must not
   succeed. Bytes after the answer are an error. */
static void check_accepted(const char *url, const char *answer, size_t len) {
    size_t split;
    for (split = 0; split <= len; split++) {
        stws_p_proxy p = begin(url, "b", 1);
        CHECK_INT(STWS_DONE, hear(&p, answer, len, split, split ? WHOLE : 1));
        CHECK_INT(STWS_P_ASK_CONNECT, p.step);
        CHECK_STR("", p.why);
    }
    for (split = 0; split < len; split++) {
        stws_p_proxy p = begin(url, "b", 1);
        CHECK_INT(STWS_MORE, hear(&p, answer, split, split, 1));
    }
    for (split = 0; split <= len; split++) {
        stws_p_proxy p = begin(url, "b", 1);
        char *longer = (char *)malloc(len + 1);
        if (!longer) abort();
        memcpy(longer, answer, len);
        longer[len] = '!';
        if (hear(&p, longer, len + 1, split, WHOLE) == STWS_ERR_PROXY) {
            CHECK_HAS("bytes of its own", p.why);
            CHECK_INT(1, p.final);
        } else {
            CHECK_INT(len, split); /* the extra byte arrived alone, after the answer was complete */
        }
        free(longer);
    }
}

#define CHECK_ACCEPTED(url, literal) check_accepted(url, literal, sizeof(literal) - 1)

static void test_good_answers(void) {
    CHECK_ACCEPTED("http://h:1", "HTTP/1.1 200 Connection established\r\n\r\n");
    CHECK_ACCEPTED("http://h:1", "HTTP/1.0 200\r\nVia: x\r\nContent-Length: 5\r\n\r\n");
    CHECK_ACCEPTED("http://h:1", "HTTP/1.1 299 x\n\n");
    /* RFC 9110, 15.2: interim answers come before the final one */
    CHECK_ACCEPTED("http://h:1", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    CHECK_ACCEPTED("http://h:1", "HTTP/1.1 102\r\nA: b\r\n\r\nHTTP/1.1 103 x\n\nHTTP/1.1 200\n\n");
    CHECK_ACCEPTED("socks5://h:1", "\5\0\5\0\0\1\1\2\3\4\5\6");
    CHECK_ACCEPTED("socks5://h:1", "\5\0\5\0\0\3\0\5\6");
    CHECK_ACCEPTED("socks5://h:1", "\5\0\5\0\0\3\5abcde\5\6");
    CHECK_ACCEPTED("socks5://h:1", "\5\0\5\0\0\4abcdefghijklmnop\5\6");
    CHECK_ACCEPTED("socks5://a:b@h:1", "\5\0\5\0\0\1\0\0\0\0\0\0");
    CHECK_ACCEPTED("socks5://a:b@h:1", "\5\2\1\0\5\0\0\1\0\0\0\0\0\0");
}

/* The longest address: a name of 255 bytes. */
static void test_a_long_reply(void) {
    char answer[2 + 5 + 255 + 2] = "\5\0\5\0\0\3\377";
    check_accepted("socks5://h:1", answer, sizeof answer);
}

static void check_refused(const char *url, const char *answer, size_t len, const char *words,
                          int final) {
    size_t split;
    for (split = 0; split <= len; split++) {
        stws_p_proxy p = begin(url, "b", 1);
        CHECK_INT(STWS_ERR_PROXY, hear(&p, answer, len, split, split ? WHOLE : 1));
        CHECK_HAS("the proxy h port 1 ", p.why);
        CHECK_HAS(words, p.why);
        CHECK_INT(final, p.final);
        CHECK(!strstr(p.why, "sesame"));
    }
}

#define CHECK_REFUSED(url, literal, words, final)                                                  \
    check_refused(url, literal, sizeof(literal) - 1, words, final)

static void test_http_proxy_refuses(void) {
    CHECK_REFUSED("http://h:1", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
                  "HTTP 407 Proxy Authentication Required: it wants credentials", 1);
    CHECK_REFUSED("http://ada:sesame@h:1", "HTTP/1.1 407 x\r\nProxy-Authenticate: NTLM\r\n\r\n",
                  "Basic", 1);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 403 Forbidden\r\n\r\nwords", "443", 1);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 405 No\r\n\r\n", "CONNECT for that host", 1);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", "HTTP 302", 1);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 429 Many\r\n\r\n", "HTTP 429", 0);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 500 \r\n\r\n", "HTTP 500", 0);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 502 Bad Gateway\r\n\r\n",
                  "HTTP 502 Bad Gateway: it cannot reach", 0);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 503 \r\n\r\n", "HTTP 503: it cannot reach", 0);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 504\r\n\r\n", "HTTP 504: it cannot reach", 0);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 100 \r\n\r\nHTTP/1.1 407 Who\r\n\r\n",
                  "HTTP 407 Who: it wants credentials", 1);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "HTTP 101", 1);
}

static void test_answers_that_are_not_http(void) {
    static const char words[] = "does not answer in HTTP";
    CHECK_REFUSED("http://h:1", "\5\377", words, 1);
    CHECK_REFUSED("http://h:1", "SSH-2.0-x\r\n\r\n", words, 1);
    CHECK_REFUSED("http://h:1", "HTTP/2 200\r\n\r\n", words, 1);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 2x0 OK\r\n\r\n", words, 1);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", words, 1);
    CHECK_REFUSED("http://h:1", "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n", words, 1);
    CHECK_REFUSED("http://h:1", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", words, 1);
}

static void test_an_endless_head(void) {
    static char head[3 * 4096] = "HTTP/1.1 200 OK\r\nA: ";
    stws_p_proxy p = begin("http://h:1", "b", 1);
    memset(head + 20, 'x', sizeof head - 20);
    CHECK_INT(STWS_ERR_PROXY, hear(&p, head, sizeof head, 0, 1000));
    CHECK_HAS("over 4096 bytes", p.why);
    CHECK_INT(1, p.final);
    memcpy(head + 4096 - 4, "\r\n\r\n", 4);
    p = begin("http://h:1", "b", 1);
    CHECK_INT(STWS_DONE, hear(&p, head, 4096, 0, 7));
    p = begin("http://h:1", "b", 1);
    memcpy(head + 4096 - 4, "xxx\r\n\r\n", 7);
    CHECK_INT(STWS_ERR_PROXY, hear(&p, head, sizeof head, 0, 1));
}

/* All interim answers and the final answer together have the same limit as one head. */
static void test_endless_interim_answers(void) {
    static const char interim[] = "HTTP/1.1 100\r\n\r\n"; /* 256 of them fill the room */
    static char heads[3 * 4096];
    size_t len = 0, whole, step;
    while (len + sizeof interim < sizeof heads) {
        memcpy(heads + len, interim, sizeof interim - 1);
        len += sizeof interim - 1;
    }
    for (step = 1; step < 5000; step = 3 * step + 1) {
        stws_p_proxy p = begin("http://h:1", "b", 1);
        CHECK_INT(STWS_ERR_PROXY, hear(&p, heads, len, 0, step));
        CHECK_HAS("over 4096", p.why);
        CHECK_INT(1, p.final);
        p = begin("http://h:1", "b", 1);
        whole = 4096 - 32;
        memcpy(heads + whole, "HTTP/1.1 200 OK\r\n\r\n", 19);
        CHECK_INT(STWS_DONE, hear(&p, heads, whole + 19, 0, step));
        memcpy(heads + whole, interim, 16);
        memcpy(heads + whole + 16, interim, 16);
    }
}

static void test_too_many_headers(void) {
    char head[4096];
    int count;
    for (count = 63; count < 66; count++) {
        int i, n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n");
        stws_p_proxy p = begin("http://h:1", "b", 1);
        for (i = 0; i < count; i++) n += snprintf(head + n, sizeof head - (size_t)n, "a: b\r\n");
        n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
        CHECK_INT(count > 64 ? STWS_ERR_PROXY : STWS_DONE, hear(&p, head, (size_t)n, 0, WHOLE));
        if (count > 64) CHECK_HAS("64 headers", p.why);
    }
}

static void test_socks_proxy_refuses(void) {
    static const struct {
        const char *words;
        int final;
    } replies[] = {{"gives no reason", 0},     {"rules forbid", 1},       {"no route", 0},
                   {"cannot reach", 0},        {"connection refused", 0}, {"TTL", 0},
                   {"not support CONNECT", 1}, {"kind of address", 1},    {"SOCKS reply 9:", 1}};
    char answer[12] = "\5\0\5\0\0\1";
    int i;
    for (i = 0; i < 9; i++) {
        answer[3] = (char)(i + 1);
        check_refused("socks5://h:1", answer, sizeof answer, replies[i].words, replies[i].final);
        check_refused("socks5://h:1", answer, 4, replies[i].words, replies[i].final);
    }
    CHECK_REFUSED("socks5://h:1", "\5\0\5\377", "SOCKS reply 255:", 1);
    CHECK_REFUSED("socks5://h:1", "\5\377", "socks5://user:password@host:port", 1);
    CHECK_REFUSED("socks5://h:1", "\5\2", "wants credentials", 1);
    CHECK_REFUSED("socks5://ada:sesame@h:1", "\5\377", "or other ones", 1);
    CHECK_REFUSED("socks5://ada:sesame@h:1", "\5\1", "or other ones", 1);
    CHECK_REFUSED("socks5://ada:sesame@h:1", "\5\2\1\1", "does not accept the user and password",
                  1);
}

static void test_answers_that_are_not_socks(void) {
    CHECK_REFUSED("socks5://h:1", "HTTP/1.1 400 Bad Request\r\n\r\n", "not answer in SOCKS 5", 1);
    CHECK_REFUSED("socks5://h:1", "\4\132", "not answer in SOCKS 5", 1);
    CHECK_REFUSED("socks5://h:1", "\5\0\4\0", "not answer in SOCKS 5", 1);
    /* RFC 1929, 2: the login has a version of its own */
    CHECK_REFUSED("socks5://a:sesame@h:1", "\5\2\5\0", "not answer in SOCKS 5", 1);
    CHECK_REFUSED("socks5://a:sesame@h:1", "\5\2\0\0", "not answer in SOCKS 5", 1);
    CHECK_REFUSED("socks5://a:sesame@h:1", "\5\2\5\1", "not answer in SOCKS 5", 1);
    /* RFC 1928, 5: kinds of addresses; the length of any other is not known */
    CHECK_REFUSED("socks5://h:1", "\5\0\5\0\0\2\0\0\0", "not answer in SOCKS 5", 1);
    CHECK_REFUSED("socks5://h:1", "\5\0\5\0\0\0\0\0\0", "not answer in SOCKS 5", 1);
}

static void test_an_answer_before_the_request(void) {
    stws_p_proxy p = begin("socks5://h:1", "b", 1);
    p.saying = 0;
    p.len = 3;
    memcpy(p.data, "\5\0\5", 3);
    CHECK_INT(STWS_ERR_PROXY, stws_p_proxy_handle_answer(&p));
    CHECK_HAS("bytes of its own", p.why);
}

/* Random answers never look like success over HTTP, and never overflow the buffer. */
static void test_random_answers(void) {
    unsigned seed = 1;
    int round;
    for (round = 0; round < 20000; round++) {
        stws_p_proxy p = begin(round & 1 ? "http://h:1" : "socks5://a:b@h:1", "b", 1);
        char noise[64];
        size_t i;
        for (i = 0; i < sizeof noise; i++) {
            seed = seed * 1103515245u + 12345u;
            noise[i] = (char)(seed >> 16);
            if (round & 2) noise[i] = "\5\0\2\1HTP/. \r\n"[(seed >> 16) % 13];
        }
        if (hear(&p, noise, sizeof noise, 0, 1 + seed % 9) == STWS_DONE) CHECK_INT(0, round & 1);
        CHECK(p.len <= sizeof noise);
    }
}

int main(void) {
    RUN(test_urls);
    RUN(test_urls_that_are_not_valid_for_a_proxy);
    RUN(test_long_credentials);
    RUN(test_options);
    RUN(test_hosts_that_no_proxy_excludes);
    RUN(test_the_environment);
    RUN(test_requests_in_http);
    RUN(test_requests_in_socks);
    RUN(test_the_longest_requests);
    RUN(test_good_answers);
    RUN(test_a_long_reply);
    RUN(test_http_proxy_refuses);
    RUN(test_answers_that_are_not_http);
    RUN(test_an_endless_head);
    RUN(test_endless_interim_answers);
    RUN(test_too_many_headers);
    RUN(test_socks_proxy_refuses);
    RUN(test_answers_that_are_not_socks);
    RUN(test_an_answer_before_the_request);
    RUN(test_random_answers);
    return test_report();
}
