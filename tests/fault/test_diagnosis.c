/* test_diagnosis.c - tests the diagnosis of everything that can be wrong with a server, one fault
   at a time: the error's code, the facts that the error text must contain, and whether the client
   tries again. The server is scripted and time is simulated, except in the last part. */
#include "loopback.h"

/* What the client does after an error: it ends, or it tries again. */
enum fate { FINAL, RETRIED };

/* Drives the client until an error occurs, for at most a simulated minute. */
static void until_trouble(struct peer *p) {
    int i;
    peer_turn(p);
    for (i = 0; i < 120 && !p->ended && p->retry_ms < 0; i++) peer_advance(p, 500);
}

static void check_trouble(struct peer *p, int code, enum fate fate) {
    CHECK_STR(stws_result_name(code), stws_result_name(p->result));
    if (fate == FINAL) {
        CHECK_STR(stws_result_name(code), stws_result_name(p->ended));
        CHECK_INT(STWS_ENDED, stws_state(p->client));
    } else {
        CHECK_INT(0, p->ended);
        CHECK_INT(STWS_BACKOFF, stws_state(p->client));
        CHECK(p->retry_ms >= 0);
        CHECK_STR(stws_error_text(p->client), bytes_text(&p->why));
    }
    CHECK_INT(code, stws_error(p->client));
}

static const char *why(const struct peer *p) {
    return bytes_text(&p->why);
}

/* ==== the upgrade ==== */

static void begin_at(struct peer *p, const char *url, const char *answer) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.url = url;
    p->answer = answer;
    peer_start(p, &o);
}

/* The server answers the upgrade with this text and closes. */
static void answered(struct peer *p, const char *url, const char *answer) {
    begin_at(p, url, answer);
    peer_turn(p);
    peer_end(p);
    until_trouble(p);
}

static const char SPRING[] = "ws://broker.test:8080/notifications";
static const char RAW[] = "ws://broker.test:8080/notifications/websocket";

static void test_200_at_a_sockjs_endpoint(void) {
    struct peer p;
    answered(&p, SPRING, "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nWelcome to SockJS!\n");
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK_INT(200, stws_http_status(p.client));
    CHECK_HAS("200", why(&p));
    CHECK_HAS("append /websocket: ws://broker.test:8080/notifications/websocket", why(&p));
    CHECK_HAS("did not see our Upgrade header", why(&p)); /* otherwise Spring would answer 400 */
    CHECK_INT(1, p.sessions);
    peer_free(&p);
}

static void test_200_at_the_sockjs_info_path(void) {
    static const char info[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n4e\r\n"
                               "{\"entropy\":-1285498274,\"origins\":[\"*:*\"],"
                               "\"cookie_needed\":true,\"websocket\":true}\r\n0\r\n\r\n";
    struct peer p;
    answered(&p, "ws://broker.test:8080/notifications/info", info);
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK_HAS("SockJS's /info", why(&p));
    CHECK_HAS("beside it: ws://broker.test:8080/notifications/websocket", why(&p));
    CHECK(!strstr(why(&p), "append"));
    peer_free(&p);
}

/* The error text must contain the settings for nginx and Apache, and no other advice. */
static void check_stripped(const char *url, const char *answer) {
    struct peer p;
    answered(&p, url, answer);
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK_HAS("the server did not see our Upgrade header", why(&p));
    CHECK_HAS("proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
              "proxy_set_header Connection \"upgrade\";",
              why(&p));
    CHECK_HAS("upgrade=websocket", why(&p));
    CHECK(!strstr(why(&p), "append /websocket"));
    peer_free(&p);
}

static void test_a_proxy_that_strips_the_upgrade(void) {
    static const char spring[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 34\r\n\r\n"
                                 "Can \"Upgrade\" only to \"WebSocket\".";
    check_stripped(RAW, spring);
    check_stripped("ws://broker.test:8080/ws", spring);
    check_stripped(RAW, "HTTP/1.1 400 \r\nTransfer-Encoding: chunked\r\n\r\n6\r\nCan \"U\r\n"
                        "1c\r\npgrade\" only to \"WebSocket\".\r\n0\r\n\r\n");
    check_stripped(RAW, "HTTP/1.1 400 \r\nContent-Length: 31\r\n\r\n"
                        "\"Connection\" must be \"upgrade\".");
    /* RabbitMQ, and any other 426 that does not name a WebSocket version. */
    check_stripped("ws://broker.test:15674/ws",
                   "HTTP/1.1 426 Upgrade Required\r\nconnection: upgrade\r\n"
                   "upgrade: websocket\r\ncontent-length: 0\r\n\r\n");
}

static void test_200_at_an_ordinary_page(void) {
    struct peer p;
    answered(&p, SPRING,
             "HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n<!doctype html><title>SockJS?");
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK_HAS("an ordinary page answered", why(&p));
    CHECK(!strstr(why(&p), "SockJS endpoint"));
    peer_free(&p);
}

static void test_a_password_with_a_slash(void) {
    struct peer p;
    answered(&p, "ws://user:pa/SECRET@broker.test/#token=SECRET", "HTTP/1.1 404 \r\n\r\n");
    CHECK(!strstr(stws_error_text(p.client), "SECRET"));
    peer_free(&p);
}

static void test_400_at_a_sockjs_endpoint(void) {
    struct peer p;
    answered(&p, SPRING, "HTTP/1.1 400 \r\nContent-Length: 0\r\n\r\n");
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK_INT(400, stws_http_status(p.client));
    CHECK_HAS("400", why(&p));
    CHECK_HAS("ws://broker.test:8080/notifications/websocket", why(&p));
    peer_free(&p);
}

/* The advice shows that the URL has a query, but hides the query, because it may be a secret. The
   advice neither doubles a slash nor repeats /websocket. */
static void test_the_advice_names_a_url_that_works(void) {
    struct peer p;
    answered(&p, "ws://broker.test/stomp/?token=7", "HTTP/1.1 400 Bad Request\r\n\r\n");
    CHECK_HAS("ws://broker.test/stomp/websocket?***", why(&p));
    CHECK(strstr(why(&p), "token") == NULL);
    peer_free(&p);
    answered(&p, RAW, "HTTP/1.1 400 Bad Request\r\n\r\nCan \"Upgrade\" only to \"WebSocket\".");
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK(strstr(why(&p), "websocket/websocket") == NULL);
    CHECK_HAS("Can \"Upgrade\" only to \"WebSocket\".", why(&p));
    peer_free(&p);
}

static void check_sockjs_frame(const char *payload) {
    struct peer p;
    begin_at(&p, "ws://broker.test:8080/notifications/123/abc/websocket", PEER_ANSWER);
    p.automatic &= ~AUTO_LOGIN;
    peer_turn(&p);
    peer_ws(&p, STWS_WS_TEXT, 1, payload, strlen(payload));
    until_trouble(&p);
    CHECK_STR("STWS_ERR_SOCKJS", stws_result_name(p.result));
    CHECK_HAS("SockJS", why(&p));
    CHECK_HAS("/websocket", why(&p));
    peer_free(&p);
}

static void test_sockjs_framing(void) {
    check_sockjs_frame("o");
    check_sockjs_frame("h");
    check_sockjs_frame("a[\"CONNECTED\\nversion:1.2\\n\\n\\u0000\"]");
    check_sockjs_frame("c[3000,\"Go away!\"]");
    check_sockjs_frame("oa[\"what follows in the same read\"]");
    check_sockjs_frame("oh");
    check_sockjs_frame("a");
    check_sockjs_frame("c");
}

static void test_401(void) {
    struct peer p;
    answered(&p, RAW, "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"b\"\r\n\r\n");
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK_INT(401, stws_http_status(p.client));
    CHECK_HAS("HTTP 401 Unauthorized instead", why(&p));
    CHECK_HAS("no Authorization header was sent: put one into http_headers", why(&p));
    CHECK_HAS("WWW-Authenticate: Bearer realm=\"b\"", why(&p));
    peer_free(&p);
    answered(&p, RAW, "HTTP/1.1 401 \r\nContent-Length: 0\r\n\r\n");
    CHECK_HAS("HTTP 401 instead of 101", why(&p));
    peer_free(&p);
}

static const char *const fresh[] = {"X-Tenant", "blue", "authorization", "Bearer SECRET", NULL};

static int bring_fresh(stws *client, stws_attempt *attempt, void *user) {
    (void)client, (void)user;
    attempt->http_headers = fresh;
    return 0;
}

static void test_401_with_credentials(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.before_connect = bring_fresh;
    p.answer = "HTTP/1.1 401 \r\nWWW-Authenticate: Bearer error=\"invalid_token\", "
               "error_description=\"Jwt expired at 2026-11-30T20:00:00Z\"\r\n"
               "Content-Length: 0\r\n\r\n";
    peer_start(&p, &o);
    until_trouble(&p);
    CHECK_HAS("did not accept the Authorization header that was sent", why(&p));
    CHECK_HAS("Jwt expired at 2026-11-30T20:00:00Z", why(&p));
    CHECK(!strstr(why(&p), "SECRET"));
    peer_free(&p);
}

static void test_403(void) {
    struct peer p;
    answered(&p, RAW, "HTTP/1.1 403 \r\nContent-Length: 20\r\n\r\nInvalid CORS request");
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK_HAS("403", why(&p));
    CHECK_HAS("rigin", why(&p));
    CHECK_HAS("Invalid CORS request", why(&p));
    peer_free(&p);
}

static void test_404(void) {
    struct peer p;
    answered(&p, RAW, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK_HAS("404", why(&p));
    CHECK_HAS("/notifications/websocket", why(&p));
    peer_free(&p);
}

static void test_426(void) {
    struct peer p;
    answered(&p, RAW, "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\n\r\n");
    CHECK_STR("STWS_ERR_HTTP_STATUS", stws_result_name(p.result));
    CHECK_INT(426, stws_http_status(p.client));
    CHECK_HAS("426", why(&p));
    CHECK_HAS("wants another WebSocket version", why(&p));
    peer_free(&p);
}

static void test_a_redirect_names_its_target(void) {
    static const char *const status[] = {"301", "302", "307", "308"};
    size_t i;
    for (i = 0; i < sizeof status / sizeof *status; i++) {
        struct peer p;
        struct bytes answer = {0};
        bytes_print(&answer, "HTTP/1.1 %s Over There\r\nLocation: https://b.test/s/\r\n\r\n",
                    status[i]);
        answered(&p, RAW, answer.data);
        CHECK_STR("STWS_ERR_HTTP_STATUS", stws_result_name(p.result));
        CHECK_HAS(status[i], why(&p));
        CHECK_HAS("use that URL: wss://b.test/s/", why(&p));
        peer_free(&p);
        bytes_free(&answer);
    }
}

static void check_redirect(const char *url, const char *location, const char *goal) {
    struct peer p;
    struct bytes answer = {0};
    bytes_print(&answer, "HTTP/1.1 302 \r\nContent-Length: 0\r\nLocation: %s\r\n\r\n", location);
    begin_at(&p, url, "");
    peer_turn(&p);
    peer_say(&p, answer.data); /* unlike in p.answer, an '@' is not replaced here */
    peer_end(&p);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    CHECK_HAS(goal, why(&p));
    CHECK(!strstr(why(&p), "SECRET"));
    peer_free(&p);
    bytes_free(&answer);
}

static void test_a_redirect_is_offered_as_a_ws_url(void) {
    static const char deep[] = "ws://broker.test:8080/a/b?key=SECRET";
    check_redirect(deep, "http://b.test/", "use that URL: ws://b.test/");
    check_redirect(deep, "HTTPS://b.test:8443/s?token=SECRET", ": wss://b.test:8443/s?***");
    check_redirect(deep, "wss://b.test/s#SECRET", ": wss://b.test/s");
    check_redirect(deep, "//b.test/s", ": ws://b.test/s");
    check_redirect(deep, "/s", ": ws://broker.test:8080/s");
    check_redirect(deep, "s", ": ws://broker.test:8080/a/s");
    check_redirect(deep, "?x=SECRET", ": ws://broker.test:8080/a/b?***");
    check_redirect("ws://broker.test", "s", ": ws://broker.test/s");
    check_redirect("ws://broker.test", "?x", ": ws://broker.test/?***");
    check_redirect("ws://[::1]:9/a", "/s:80", ": ws://[::1]:9/s:80");
    check_redirect(deep, "https://user:SECRET@b.test/", ": ***");
    check_redirect(deep, "ftp://b.test/s", ": ftp://b.test/s");
    check_redirect(deep, "https:b.test", ": https:b.test");
    check_redirect(deep, "/login", ": ws://broker.test:8080/login (a login page");
}

/* ==== the page that comes with an answer ==== */

static void page_is(const char *status, const char *headers, const char *page, const char *fact) {
    struct peer p;
    struct bytes answer = {0};
    bytes_print(&answer, "HTTP/1.1 %s\r\n%s\r\n%s", status, headers, page);
    answered(&p, RAW, answer.data);
    CHECK_STR("STWS_ERR_HTTP_STATUS", stws_result_name(p.result));
    CHECK_HAS(fact, why(&p));
    peer_free(&p);
    bytes_free(&answer);
}

static void test_the_title_of_a_page_is_quoted(void) {
    page_is("404 Not Found", "",
            "<html>\r\n<head><title>404 Not\r\n   Found </title></head>\r\n<body>",
            "; it says: 404 Not Found");
    page_is("404 ", "", "\r\n <!doctype html>\n<TITLE lang='en'>Nothing</TITLE>", ": Nothing");
    page_is("502 ", "", "<html><title></title><body><h1 class=\"x\">Bad Gateway</h1>",
            ": Bad Gateway");
    page_is("404 ", "", "<html><title>cut of", ": cut of");
    page_is("404 ", "", "<html><title", ": <html><title");
    page_is("404 ", "", "<?xml version='1.0'?>", ": <?xml");
    page_is("404 ", "", "\n\nplain words\nand more", "; it says: plain words");
}

static void test_a_page_that_names_a_remedy(void) {
    page_is("400 Bad Request", "",
            "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title>",
            "use wss:// instead of ws://");
    page_is("400 Bad Request", "",
            "<html><head><title>400 No required SSL certificate was sent</title>",
            "options tls_cert_file and tls_key_file; it says: 400 No required SSL certificate");
    page_is("400 Bad Request", "",
            "<html><head><title>400 Request Header Or Cookie Too Large</title>",
            "shorten http_headers or cookie; it says: 400 Request Header Or Cookie Too Large");
    page_is("431 Too Large", "Content-Length: 0\r\n", "", "shorten http_headers or cookie");
    page_is("502 ", "", "<title>SSL certificate</title>", "the next attempt waits");
}

/* The server answers only "400". The advice depends on the length of the client's own head. */
static void test_400_to_a_long_head(void) {
    size_t len;
    for (len = 3000; len <= 4200; len += 1200) {
        struct peer p;
        struct bytes cookie = {0};
        stws_options o;
        peer_init(&p);
        while (cookie.len < len) bytes_print(&cookie, "%0100d", 0);
        o = peer_options(&p);
        o.url = RAW;
        o.cookie = cookie.data;
        p.answer = "HTTP/1.1 400 \r\nContent-Length: 0\r\n\r\n";
        peer_start(&p, &o);
        until_trouble(&p);
        CHECK_HAS("HTTP 400 instead", why(&p));
        CHECK_INT(len > 4000, strstr(why(&p), "shorten http_headers or cookie") != NULL);
        peer_free(&p);
        bytes_free(&cookie);
    }
}

static const char CHUNKED[] = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";

static void test_a_chunked_page_is_decoded(void) {
    page_is("404 ", CHUNKED,
            "58\r\n{\"timestamp\":\"2026\",\"status\":404,\"error\":\"Not Found\","
            "\"path\":\"/notifications/websocke\"}\r\n0\r\n\r\n",
            "; it says: Not Found");
    page_is("404 ", CHUNKED, "3;x=y\r\nabc\r\nA\r\ndefghijklm\r\n0\r\n\r\n",
            "; it says: abcdefghijklm");
    page_is("404 ", CHUNKED, "fffffffffffffffffffff\r\nabc", "; it says: abc");
    page_is("404 ", CHUNKED, "0\r\n\r\n", "check the path of the URL");
    page_is("404 ", CHUNKED, "neither\r\nnor\r\n", "check the path of the URL");
}

static void test_the_message_in_json_is_quoted(void) {
    static const char json[] = "Content-Type: application/json\r\n";
    page_is("403 ", json,
            "{\"error\":\"Forbidden\",\"message\" : \"no \\\"role\\\"\\nfor \\u00e4\\u20AC\"}",
            "; it says: no \"role\" for \xC3\xA4\xE2\x82\xAC");
    page_is("403 ", json, "{\"error\":\"Forbidden\",\"message\":\"\"}", "; it says: Forbidden");
    page_is("403 ", json, "{\"error\":{\"code\":3,\"message\":\"deep\"}}", "; it says: deep");
    page_is("403 ", json, "{\"detail\":\"of a problem\"}", "; it says: of a problem");
    page_is("403 ", json, "{\"message\":\"\\ud83d\\ude00\\u0000\\u12\"}", "; it says: ????");
    page_is("403 ", json, "{\"message\":17}", "; it says: {\"message\":17}");
    page_is("403 ", json, "{\"message\":\"cut of", "; it says: cut of");
    page_is("403 ", json, "{\"message\":\"cut of\\", "; it says: cut of");
}

static void test_a_compressed_page_is_reported_as_compressed(void) {
    page_is("404 ", "Content-Encoding: br\r\n", "...", "; its page is compressed (br)");
    page_is("404 ", "", "\x1F\x8B\b", "; its page is compressed (gzip)");
    page_is("404 ", "Content-Encoding: identity\r\n", "words", "; it says: words");
    page_is("404 ", "Content-Encoding: gzip\r\nContent-Length: 0\r\n", "", "check the path");
}

/* The error text must be the same wherever the network cuts the answer, and however the answer
   ends: by its length, its last chunk, the end of the connection, or half a second without data. */
static void check_cuts(const char *answer, const char *fact, int ends) {
    size_t len = strlen(answer), at;
    for (at = 0; at <= len; at++) {
        struct peer p;
        begin_at(&p, RAW, "");
        peer_turn(&p);
        peer_raw(&p, answer, at);
        peer_turn(&p);
        peer_advance(&p, 200);
        peer_raw(&p, answer + at, len - at);
        if (ends) {
            peer_turn(&p);
        } else {
            CHECK_INT(STWS_UPGRADING, stws_state(p.client));
            peer_advance(&p, 600);
        }
        CHECK_STR("STWS_ERR_HTTP_STATUS", stws_result_name(p.ended));
        CHECK_HAS(fact, why(&p));
        peer_free(&p);
    }
}

static void test_the_client_waits_for_the_page(void) {
    check_cuts("HTTP/1.1 404 \r\nContent-Length: 24\r\n\r\n<title>words</title>....",
               "; it says: words", 1);
    check_cuts("HTTP/1.1 404 \r\ntransfer-encoding: chunked\r\n\r\n5\r\nmore \r\n5\r\nwords\r\n"
               "0\r\n\r\n",
               "; it says: more words", 1);
    check_cuts("HTTP/1.1 404 \r\nConnection: close\r\n\r\nwords", "; it says: words", 0);
    check_cuts("HTTP/1.1 404 \r\nContent-Length: 20\r\n\r\nwords", "; it says: words", 0);
}

/* The client waits for the page for at most half a second, and not longer than
   handshake_timeout_ms. */
static void test_a_page_that_does_not_come(void) {
    struct peer p;
    stws_options o;
    begin_at(&p, RAW, "HTTP/1.1 503 \r\nContent-Length: 1000\r\nRetry-After: 9\r\n\r\nwor");
    peer_turn(&p);
    peer_advance(&p, 400);
    CHECK_INT(STWS_UPGRADING, stws_state(p.client));
    peer_say(&p, "ds");
    peer_advance(&p, 150);
    check_trouble(&p, STWS_ERR_HTTP_STATUS, RETRIED);
    CHECK_HAS("; it says: words", why(&p));
    CHECK(p.retry_ms > 8000);
    peer_advance(&p, p.retry_ms + 100);
    CHECK_INT(2, p.sessions);
    /* The page of the next attempt is waited for, too. */
    CHECK_INT(STWS_UPGRADING, stws_state(p.client));
    peer_free(&p);
    peer_init(&p);
    o = peer_options(&p);
    o.handshake_timeout_ms = 100;
    p.answer = "HTTP/1.1 404 \r\nContent-Length: 1000\r\n\r\nwords";
    peer_start(&p, &o);
    peer_turn(&p);
    peer_advance(&p, 110);
    check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
    peer_free(&p);
}

/* If a page never ends, the client reads only a part of it. */
static void test_a_page_without_end(void) {
    struct peer p;
    int i;
    begin_at(&p, RAW, "HTTP/1.1 404 \r\nContent-Length: 100000000\r\n\r\n<title>words</title>");
    peer_turn(&p);
    for (i = 0; i < 100 && !p.ended; i++) {
        peer_say(&p, "0123456789012345678901234567890123456789012345678901234567890123");
        peer_turn(&p);
    }
    CHECK_INT(32, i);
    CHECK_HAS("; it says: words", why(&p));
    peer_free(&p);
}

static void answered_with_status(struct peer *p, int status) {
    struct bytes answer = {0};
    bytes_print(&answer, "HTTP/1.1 %d Trouble\r\nContent-Length: 0\r\n\r\n", status);
    answered(p, RAW, answer.data);
    bytes_free(&answer);
}

static void test_a_server_in_trouble_is_tried_again(void) {
    static const int status[] = {408, 425, 429, 500, 502, 503, 504};
    size_t i;
    for (i = 0; i < sizeof status / sizeof *status; i++) {
        struct peer p;
        struct bytes number = {0};
        bytes_print(&number, "%d", status[i]);
        answered_with_status(&p, status[i]);
        check_trouble(&p, STWS_ERR_HTTP_STATUS, RETRIED);
        CHECK_HAS(number.data, why(&p));
        p.answer = PEER_ANSWER;
        CHECK(peer_connect(&p));
        CHECK_INT(2, p.sessions);
        peer_free(&p);
        bytes_free(&number);
    }
}

static void test_statuses_that_are_final(void) {
    static const int status[] = {402, 405, 410, 418, 451};
    size_t i;
    for (i = 0; i < sizeof status / sizeof *status; i++) {
        struct peer p;
        answered_with_status(&p, status[i]);
        check_trouble(&p, STWS_ERR_HTTP_STATUS, FINAL);
        CHECK_INT(status[i], stws_http_status(p.client));
        peer_free(&p);
    }
}

static void test_503_with_retry_after(void) {
    struct peer p;
    answered(&p, RAW, "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    check_trouble(&p, STWS_ERR_HTTP_STATUS, RETRIED);
    CHECK_HAS("503", why(&p));
    CHECK(p.retry_ms >= 6990 && p.retry_ms <= 10000);
    peer_advance(&p, 6900);
    CHECK_INT(1, p.sessions);
    peer_advance(&p, 4000);
    CHECK_INT(2, p.sessions);
    peer_free(&p);
}

/* The server sends these bytes and closes. Checks whether the client recognises TLS. */
static void check_record(const char record[7], int is_tls) {
    struct peer p;
    begin_at(&p, RAW, "");
    peer_turn(&p);
    peer_raw(&p, record, 7);
    peer_end(&p);
    until_trouble(&p);
    CHECK_INT(STWS_ERR_HTTP, p.result);
    CHECK_HAS(is_tls ? "wss://" : "is not HTTP", why(&p));
    CHECK_INT(is_tls, strstr(why(&p), "answers with TLS") != NULL);
    peer_free(&p);
}

static void test_a_tls_server_on_a_plain_url(void) {
    check_record("\x15\x03\x03\0\x02\x02\x46", 1); /* an alert */
    check_record("\x16\x03\x03\0\x02\x02\x46", 1); /* a handshake record */
    check_record("\x16\x04\x03\0\x02\x02\x46", 0);
    check_record("\x14\x03\x03\0\x02\x02\x46", 0);
}

static void test_not_http_at_all(void) {
    struct peer p;
    answered(&p, RAW, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
    CHECK_STR("STWS_ERR_HTTP", stws_result_name(p.result));
    CHECK_HAS("SSH-2.0-OpenSSH", why(&p));
    peer_free(&p);
}

/* The server begins with HTTP/2 SETTINGS, whole or in pieces; or it closes immediately, over
   TLS. */
static void test_a_server_that_speaks_only_http_2(void) {
    static const char frames[] = "\0\0\x06\4\0\0\0\0\0\0\3\0\0\0\x80\0\0\x08\7\0\0\0\0\0";
    struct peer p;
    size_t at;
    for (at = 0; at <= 24; at++) {
        begin_at(&p, RAW, "");
        peer_turn(&p);
        peer_raw(&p, frames, at);
        peer_turn(&p);
        peer_raw(&p, frames + at, 24 - at);
        peer_end(&p);
        until_trouble(&p);
        check_trouble(&p, STWS_ERR_HTTP, FINAL);
        CHECK_HAS("speaks only HTTP/2", why(&p));
        CHECK_HAS("HTTP/1.1", why(&p));
        peer_free(&p);
    }
    answered(&p, "wss://broker.test/notifications/websocket", "");
    check_trouble(&p, STWS_ERR_EOF, RETRIED);
    CHECK_HAS("HTTP/2", why(&p));
    peer_free(&p);
    answered(&p, RAW, "");
    CHECK(!strstr(why(&p), "HTTP/2"));
    peer_free(&p);
}

/* Checks a 101 that breaks the handshake. */
static void check_bad_101(const char *answer, int code, const char *fact) {
    struct peer p;
    answered(&p, RAW, answer);
    CHECK_STR(stws_result_name(code), stws_result_name(p.result));
    CHECK_HAS(fact, why(&p));
    CHECK_STR("", bytes_text(&p.order));
    peer_free(&p);
}

static void test_101_that_breaks_the_handshake(void) {
    check_bad_101("HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                  STWS_ERR_HTTP_UPGRADE, "Sec-WebSocket-Accept");
    check_bad_101("HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                  STWS_ERR_HTTP_UPGRADE, "Sec-WebSocket-Accept");
    check_bad_101("HTTP/1.1 101 \r\nConnection: Upgrade\r\nSec-WebSocket-Accept: @\r\n\r\n",
                  STWS_ERR_HTTP_UPGRADE, "Upgrade");
    check_bad_101("HTTP/1.1 101 \r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: @\r\n\r\n",
                  STWS_ERR_HTTP_UPGRADE, "Upgrade");
    check_bad_101("HTTP/1.1 101 \r\nUpgrade: websocket\r\nSec-WebSocket-Accept: @\r\n\r\n",
                  STWS_ERR_HTTP_UPGRADE, "Connection");
    check_bad_101("HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
                  STWS_ERR_HTTP_SUBPROTOCOL, "mqtt");
    check_bad_101("HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
                  STWS_ERR_HTTP_EXTENSION, "permessage-deflate");
}

static void test_101_without_a_subprotocol_is_fine(void) {
    struct peer p;
    begin_at(&p, RAW,
             "HTTP/1.1 101 \r\nupgrade: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n"
             "sec-websocket-accept: @\r\n\r\n");
    CHECK(peer_connect(&p));
    peer_free(&p);
    begin_at(&p, RAW,
             "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 101 \r\nUpgrade: websocket\r\n"
             "Connection: upgrade\r\nSec-WebSocket-Accept: @\r\n\r\n");
    CHECK(peer_connect(&p));
    peer_free(&p);
}

static void test_a_mebibyte_of_headers(void) {
    struct peer p;
    size_t i;
    begin_at(&p, RAW, "HTTP/1.1 101 \r\n");
    peer_turn(&p);
    for (i = 0; i < 16384; i++)
        peer_say(&p, "X-Padding: 0123456789012345678901234567890123456789012345678\r\n");
    until_trouble(&p);
    CHECK_STR("STWS_ERR_HTTP_LIMIT", stws_result_name(p.result));
    CHECK(p.given < 200000);
    peer_free(&p);
}

/* ==== the trace ==== */

static void keep_trace(stws *client, stws_direction direction, const stws_frame *frame,
                       void *user) {
    struct bytes *traced = (struct bytes *)((struct peer *)user)->extra;
    (void)client;
    bytes_print_traced(traced, direction, frame);
    bytes_print(traced, " [%s]\n", frame->body);
}

static void begin_traced(struct peer *p, struct bytes *traced, stws_options *o) {
    peer_init(p);
    p->extra = traced;
    *o = peer_options(p);
    o->url = "ws://broker.test:8080/notifications/websocket?key=SECRET";
    o->on_trace = keep_trace;
}

/* The trace shows everything that was sent to the server, except secrets. */
static void test_sent_http_headers_are_traced(void) {
    static const char *const headers[] = {
        "Authorization",       "Bearer SECRET", "X-Tenant", "blue",
        "PROXY-authorization", "SECRET",        NULL};
    struct peer p;
    struct bytes traced = {0};
    stws_options o;
    begin_traced(&p, &traced, &o);
    o.cookie = "id=SECRET";
    o.origin = "https://shop.test";
    o.http_headers = headers;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK_HAS("> GET /notifications/websocket?*** HTTP/1.1 Host=broker.test:8080 "
              "Upgrade=websocket Connection=Upgrade Sec-WebSocket-Key=",
              bytes_text(&traced));
    CHECK_HAS(" Origin=https://shop.test Cookie=*** Authorization=*** X-Tenant=blue "
              "PROXY-authorization=*** []\n< HTTP/1.1 101",
              bytes_text(&traced));
    CHECK(!strstr(bytes_text(&traced), "SECRET"));
    CHECK_HAS("Authorization: Bearer SECRET\r\n", bytes_text(&p.request));
    bytes_free(&traced);
    peer_free(&p);
}

/* If a request is larger than the input buffer, the trace has only its first line. The request is
   sent complete. */
static void test_a_request_too_large_to_be_traced(void) {
    struct peer p;
    struct bytes traced = {0}, cookie = {0};
    stws_options o;
    begin_traced(&p, &traced, &o);
    bytes_print(&cookie, "id=%02000d", 7);
    o.cookie = cookie.data;
    o.rx_buffer = 1024;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK_HAS("> GET /notifications/websocket?*** HTTP/1.1 []\n", bytes_text(&traced));
    CHECK_HAS(cookie.data, bytes_text(&p.request));
    bytes_free(&cookie);
    bytes_free(&traced);
    peer_free(&p);
}

/* ==== time-outs ==== */

static void test_no_tcp_answer_in_time(void) {
    struct peer p;
    long long begun;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.connect_timeout_ms = 3000;
    p.open_result = STWS_MORE;
    peer_start(&p, &o);
    begun = p.now_us;
    peer_turn(&p);
    peer_advance(&p, 2900);
    CHECK_INT(STWS_CONNECTING, stws_state(p.client));
    peer_advance(&p, 200);
    check_trouble(&p, STWS_ERR_TIMEOUT, RETRIED);
    CHECK_INT(3100, (p.now_us - begun) / 1000);
    CHECK_HAS("broker.test", why(&p));
    peer_free(&p);
}

static void test_no_http_answer_in_time(void) {
    struct peer p;
    begin_at(&p, RAW, "");
    peer_turn(&p);
    peer_advance(&p, 9900);
    CHECK_INT(STWS_UPGRADING, stws_state(p.client));
    peer_advance(&p, 200);
    check_trouble(&p, STWS_ERR_TIMEOUT, RETRIED);
    peer_free(&p);
}

/* One byte per second is no progress: the deadline applies to the whole answer. */
static void test_a_dripping_http_answer(void) {
    struct peer p;
    int i;
    begin_at(&p, RAW, "HTTP/1.1 101 ");
    peer_turn(&p);
    for (i = 0; i < 12 && p.retry_ms == -2; i++) {
        peer_say(&p, "x");
        peer_advance(&p, 1000);
    }
    CHECK(i <= 10);
    check_trouble(&p, STWS_ERR_TIMEOUT, RETRIED);
    peer_free(&p);
}

static void test_no_connected_in_time(void) {
    struct peer p;
    begin_at(&p, RAW, PEER_ANSWER);
    p.automatic &= ~AUTO_LOGIN;
    peer_turn(&p);
    peer_advance(&p, 9900);
    CHECK_INT(STWS_LOGGING_IN, stws_state(p.client));
    peer_advance(&p, 200);
    check_trouble(&p, STWS_ERR_TIMEOUT, RETRIED);
    CHECK_HAS("CONNECTED", why(&p));
    peer_free(&p);
}

static void test_heart_beats_instead_of_connected(void) {
    struct peer p;
    int i;
    begin_at(&p, RAW, PEER_ANSWER);
    p.automatic &= ~AUTO_LOGIN;
    peer_turn(&p);
    for (i = 0; i < 20 && p.retry_ms == -2; i++) {
        peer_ws(&p, STWS_WS_TEXT, 1, "\n", 1);
        peer_ws(&p, STWS_WS_PING, 1, "?", 1);
        peer_advance(&p, 1000);
    }
    CHECK(i <= 13);
    CHECK_STR("STWS_ERR_TIMEOUT", stws_result_name(p.result));
    peer_free(&p);
}

/* ==== the login ==== */

/* The server answers CONNECT with this frame, and keeps the connection open. */
static void logged_in_with(struct peer *p, int versions, const char *frame) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.versions = versions;
    p->connected = frame;
    peer_start(p, &o);
    until_trouble(p);
}

static void test_a_refused_login(void) {
    struct peer p;
    logged_in_with(&p, 0,
                   "ERROR\nmessage:Bad CONNECT\ncontent-type:text/plain\n\n"
                   "Access refused for user 'guest'\n\tat a.long.StackTrace(Of.java:1)\n");
    check_trouble(&p, STWS_ERR_LOGIN, FINAL);
    CHECK_HAS("Bad CONNECT", why(&p));
    CHECK_HAS("Access refused for user 'guest'", why(&p));
    CHECK(strstr(why(&p), "StackTrace") == NULL);
    CHECK_INT(1, p.sessions);
    peer_free(&p);
}

static void test_a_refused_vhost(void) {
    struct peer p;
    logged_in_with(&p, 0, "ERROR\nmessage:Bad CONNECT\n\nVirtual host '/' access denied");
    check_trouble(&p, STWS_ERR_LOGIN, FINAL);
    CHECK_HAS("Virtual host '/' access denied", why(&p));
    CHECK_HAS("is \"/\" already", why(&p));
    CHECK_HAS("limit of connections", why(&p));
    CHECK(!strstr(why(&p), "leave it out"));
    peer_free(&p);
}

static void test_a_refused_vhost_that_was_named(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.host = "localhost";
    p.connected = "ERROR\nmessage:Bad CONNECT\n\nVirtual host 'localhost' access denied";
    peer_start(&p, &o);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_LOGIN, FINAL);
    CHECK_HAS("takes option host as its virtual host: leave it out for \"/\"", why(&p));
    peer_free(&p);
}

/* Checks that the first line is quoted and the other lines are counted. */
static void check_lines(const char *body, const char *fact) {
    struct peer p;
    struct bytes frame = {0};
    bytes_print(&frame, "ERROR\nmessage:Bad CONNECT\n\n%s", body);
    logged_in_with(&p, 0, frame.data);
    CHECK_HAS(fact, why(&p));
    CHECK_INT(strchr(fact, '(') != NULL, strstr(why(&p), " more)") != NULL);
    peer_free(&p);
    bytes_free(&frame);
}

static void test_the_lines_of_a_stack_trace(void) {
    struct bytes trace = {0};
    int i;
    bytes_print(&trace, "java.lang.SecurityException: User name [a] is invalid\r\n");
    for (i = 0; i < 34; i++) bytes_print(&trace, "\tat org.apache.activemq.A.b(A.java:%d)\r\n", i);
    check_lines(trace.data, "User name [a] is invalid\" (and 34 lines more)");
    check_lines("one\ntwo", "\"one\" (and 1 line more)");
    check_lines("one\n\n", "\"one\"");
    check_lines("one", "\"one\"");
    check_lines("", "\"Bad CONNECT\"");
    bytes_free(&trace);
}

/* A bad escape must not hide the reason for which the login was refused. */
static void test_a_refusal_with_odd_escapes(void) {
    struct peer p;
    logged_in_with(&p, 0, "ERROR\nmessage:no such user\\c CORP\\tom\n\n");
    check_trouble(&p, STWS_ERR_LOGIN, FINAL);
    CHECK_HAS("no such user: CORP\\tom", why(&p));
    peer_free(&p);
}

static void test_versions_that_do_not_meet(void) {
    struct peer p;
    logged_in_with(&p, STWS_STOMP_12, "CONNECTED\nversion:1.1\n\n");
    CHECK_STR("STWS_ERR_VERSION", stws_result_name(p.result));
    CHECK_HAS("1.1", why(&p));
    CHECK_HAS("versions", why(&p));
    peer_free(&p);
    logged_in_with(&p, 0, "CONNECTED\nversion:1.3\n\n");
    CHECK_STR("STWS_ERR_VERSION", stws_result_name(p.result));
    CHECK_HAS("1.3", why(&p));
    peer_free(&p);
    logged_in_with(&p, STWS_STOMP_11 | STWS_STOMP_12, "CONNECTED\nsession:1\n\n");
    CHECK_STR("STWS_ERR_VERSION", stws_result_name(p.result));
    CHECK_HAS("1.0", why(&p));
    peer_free(&p);
    logged_in_with(&p, STWS_STOMP_12, "ERROR\nversion:1.0,1.1\nmessage:Version mismatch\n\n");
    CHECK(p.result == STWS_ERR_VERSION || p.result == STWS_ERR_LOGIN);
    CHECK(p.ended == p.result);
    CHECK_HAS("Version mismatch", why(&p));
    CHECK_HAS("versions", why(&p));
    peer_free(&p);
}

static void test_a_message_before_connected(void) {
    struct peer p;
    logged_in_with(&p, 0, "MESSAGE\nsubscription:0\nmessage-id:1\ndestination:/x\n\nearly");
    check_trouble(&p, STWS_ERR_TIMEOUT, RETRIED);
    CHECK_STR("UNHANDLED MESSAGE\nDISCONNECTED STWS_ERR_TIMEOUT\n", bytes_text(&p.log));
    peer_free(&p);
}

/* ==== the session ==== */

static void session(struct peer *p, const char *connected) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.heartbeat_in_ms = 1000;
    o.max_body = 1000;
    o.max_line = 200;
    o.max_headers = 20;
    if (connected) p->connected = connected;
    peer_start(p, &o);
    CHECK(peer_connect(p));
}

static void test_the_close_code_and_reason(void) {
    struct peer p;
    session(&p, NULL);
    peer_close(&p, 1011, "out of cheese");
    peer_end(&p);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_WS_CLOSE, RETRIED);
    CHECK_INT(1011, stws_close_code(p.client));
    CHECK_HAS("1011", why(&p));
    CHECK_HAS("out of cheese", why(&p));
    peer_free(&p);
}

static void test_a_close_code_of_spring(void) {
    struct peer p;
    session(&p, NULL);
    peer_close(&p, 4500, "Failed to send message within the configured send limit");
    peer_end(&p);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_WS_CLOSE, RETRIED);
    CHECK_HAS("4500", why(&p));
    CHECK_HAS("configured send limit", why(&p));
    peer_free(&p);
}

/* RabbitMQ closes with "STOMP died" for anything that it does not allow. If our own loop was late,
   that is the likely cause. */
static void test_stomp_died(void) {
    struct peer p;
    session(&p, NULL);
    peer_close(&p, 1000, "STOMP died");
    peer_end(&p);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_WS_CLOSE, RETRIED);
    CHECK_HAS("no permission for the destination, or arguments that differ from the queue's",
              why(&p));
    CHECK_HAS("log has the reason", why(&p));
    peer_free(&p);
    session(&p, NULL);
    peer_close(&p, 1000, "bye");
    peer_end(&p);
    until_trouble(&p);
    CHECK(!strstr(why(&p), "log"));
    peer_free(&p);
}

/* Sends that frame to a client with small limits. */
static void check_over_limit(const char *frame, int code, const char *option, int close_code) {
    struct peer p;
    session(&p, NULL);
    peer_stomp(&p, frame);
    until_trouble(&p);
    CHECK_STR(stws_result_name(code), stws_result_name(p.result));
    CHECK_HAS(option, why(&p));
    CHECK_INT(close_code, p.close_code);
    CHECK(strstr(bytes_text(&p.log), "MESSAGE") == NULL);
    peer_free(&p);
}

static void test_a_message_over_our_limits(void) {
    struct bytes b = {0};
    int i;
    check_over_limit(
        "MESSAGE\ndestination:/x\nmessage-id:1\nsubscription:0\ncontent-length:1001\n\n",
        STWS_ERR_FRAME_BODY, "max_body", 1009);
    bytes_print(&b, "MESSAGE\ndestination:/x\n\n%01200d", 0);
    check_over_limit(b.data, STWS_ERR_FRAME_BODY, "max_body", 1009);
    bytes_clear(&b);
    bytes_print(&b, "MESSAGE\ndestination:/x\nlong:%0300d\n\n", 0);
    check_over_limit(b.data, STWS_ERR_FRAME_LINE, "max_line", 1009);
    bytes_clear(&b);
    bytes_print(&b, "MESSAGE\ndestination:/x\n");
    for (i = 0; i < 20; i++) bytes_print(&b, "h%d:v\n", i);
    bytes_print(&b, "\n");
    check_over_limit(b.data, STWS_ERR_FRAME_HEADERS, "max_headers", 1009);
    bytes_free(&b);
}

/* ActiveMQ does not accept frames in pieces, so the advice must not recommend max_ws_message
   there. */
static void check_over_the_servers_limit(const char *connected, const char *advice,
                                         const char *not_that) {
    struct peer p;
    char body[20000];
    session(&p, connected);
    memset(body, 'x', sizeof body);
    CHECK_INT(0, stws_send(p.client, "/queue/a", body, sizeof body));
    peer_turn(&p);
    peer_close(&p, 1009, "Text message too large");
    peer_end(&p);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_WS_CLOSE, RETRIED);
    CHECK_HAS("1009", why(&p));
    CHECK_HAS(advice, why(&p));
    CHECK(!strstr(why(&p), not_that));
    peer_free(&p);
}

static void test_a_message_over_the_servers_limit(void) {
    check_over_the_servers_limit(
        "CONNECTED\nversion:1.2\nserver:ActiveMQ/6.1.7\nheart-beat:0,0\n\n", "maxTextMessageSize",
        "max_ws_message");
    check_over_the_servers_limit("CONNECTED\nversion:1.2\nserver:some/1\nheart-beat:0,0\n\n",
                                 "max_ws_message", "maxTextMessageSize");
}

/* Checks the advice after an ERROR in a session. It is derived from the known words of brokers. */
static void check_hint(const char *frame, int heartbeat_out_ms, const char *part) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.heartbeat_out_ms = heartbeat_out_ms;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_stomp(&p, frame);
    peer_turn(&p);
    if (part)
        CHECK_HAS(part, why(&p));
    else
        CHECK(!strchr(why(&p), ';'));
    peer_free(&p);
}

static void test_errors_with_a_remedy(void) {
    check_hint("ERROR\nmessage:over the configured buffer size limit 65536\n\n", 0,
               "setMessageSizeLimit");
    check_hint("ERROR\nmessage:no\n\nThe maximum command length was exceeded", 0,
               "setMessageSizeLimit");
    check_hint("ERROR\nmessage:AMQ229014: no data in 60,000 ms\n\n", 0, "heartbeat_out_ms");
    check_hint("ERROR\nmessage:Session closed.\n\n", STWS_OFF, "heartbeat_out_ms");
    check_hint("ERROR\nmessage:Session closed.\n\n", 0, NULL);
    check_hint("ERROR\nmessage:no such vhost\n\n", 0, "option host");
    check_hint("ERROR\nmessage:Failed to send message to ExecutorSubscribableChannel"
               "[clientInboundChannel]\ncontent-length:0\n\n",
               0, "CSRF token in connect_headers");
    check_hint("ERROR\nmessage:Failed to send message to MessageChannel\n\n", 0,
               "ChannelInterceptor");
    check_hint("ERROR\nmessage:Supported protocol versions are 1.0\n\n", 0, "option versions");
    check_hint("ERROR\n\nsomething else", 0, NULL);
}

static void test_a_lost_heart_beat(void) {
    struct peer p;
    session(&p, "CONNECTED\nversion:1.2\nheart-beat:1000,0\n\n");
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_HEARTBEAT, RETRIED);
    CHECK_HAS("heart-beat", why(&p));
    CHECK_HAS("1000", why(&p));
    peer_free(&p);
}

/* The client was silent for longer than it had promised, and the server left. The error text must
   say that the client was late. */
static void test_our_own_loop_was_late(void) {
    struct peer p;
    stws_statistics stats;
    session(&p, "CONNECTED\nversion:1.2\nheart-beat:0,1000\n\n");
    peer_sleep(&p, 60000);
    peer_close(&p, 1000, "STOMP died");
    peer_end(&p);
    until_trouble(&p);
    CHECK(p.result == STWS_ERR_LATE || p.result == STWS_ERR_WS_CLOSE);
    CHECK_HAS("late", why(&p));
    CHECK_HAS("STOMP died", why(&p));
    CHECK(!strstr(why(&p), "permission"));
    stws_stats(p.client, &stats);
    CHECK_INT(1, stats.late_loops);
    peer_free(&p);
}

static void take_a_minute(stws *client, const stws_message *message, void *user) {
    (void)client, (void)message;
    ((struct peer *)user)->now_us += 60000000;
}

/* The same with a callback that blocks, and with a machine that sleeps. The error texts must name
   these causes. */
static void test_a_callback_blocked_the_loop(void) {
    struct peer p;
    stws_subscribe_options slow = {.id = "s", .on_message = take_a_minute, .user = &p};
    session(&p, "CONNECTED\nversion:1.2\nheart-beat:0,1000\n\n");
    CHECK(stws_subscribe(p.client, "/topic/a", &slow) > 0);
    peer_turn(&p);
    peer_message(&p, "s", "1", "/topic/a", "x");
    peer_turn(&p);
    CHECK_INT(1, peer_stats(&p).late_loops);
    peer_close(&p, 1000, "STOMP died");
    peer_end(&p);
    until_trouble(&p);
    CHECK_STR("STWS_ERR_LATE", stws_result_name(p.result));
    CHECK_HAS("60000 ms", why(&p));
    CHECK_HAS("callback", why(&p));
    peer_free(&p);
}

static long long slept(void *ctx) {
    return ((struct peer *)ctx)->slept_us;
}

static void test_the_machine_slept(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    p.clock.slept_us = slept;
    p.slept_us = 5000000; /* time asleep before the session */
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.slept_us += 3600000000;
    peer_end(&p);
    until_trouble(&p);
    CHECK_HAS("slept for 3600 s", why(&p));
    peer_free(&p);
}

static void test_an_end_without_a_close_frame(void) {
    struct peer p;
    session(&p, NULL);
    peer_end(&p);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_EOF, RETRIED);
    peer_free(&p);
    begin_at(&p, RAW, "");
    peer_turn(&p);
    peer_end(&p);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_EOF, RETRIED);
    peer_free(&p);
    answered(&p, RAW, "HTTP/1.1 101 Switching Protocols\r\nUpgr");
    check_trouble(&p, STWS_ERR_EOF, RETRIED);
    peer_free(&p);
}

static void test_a_broken_read(void) {
    struct peer p;
    session(&p, NULL);
    p.end_result = STWS_ERR_IO;
    p.trouble = "Connection reset by peer";
    peer_end(&p);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_IO, RETRIED);
    CHECK_HAS("Connection reset by peer", why(&p));
    peer_free(&p);
}

static void test_a_refused_open(void) {
    struct peer p;
    begin_at(&p, RAW, "");
    p.open_result = STWS_ERR_CONNECT;
    p.trouble = "Connection refused";
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_CONNECT, RETRIED);
    CHECK_HAS("Connection refused", why(&p));
    CHECK_HAS("broker.test", why(&p));
    CHECK_HAS("8080", why(&p));
    peer_free(&p);
}

/* The server announces ten GiB. The client must not allocate memory for them, and must not wait for
   them forever. */
static void test_ten_gibibytes_announced(void) {
    static const char head[] = {(char)0x81, 127, 0, 0, 0, 2, (char)0x80, 0, 0, 0};
    struct peer p;
    session(&p, "CONNECTED\nversion:1.2\nheart-beat:1000,0\n\n");
    peer_raw(&p, head, sizeof head);
    peer_say(&p, "MESSAGE\ndestination:/x\n\n");
    until_trouble(&p);
    CHECK(p.result == STWS_ERR_WS_LIMIT || p.result == STWS_ERR_HEARTBEAT);
    peer_free(&p);
    session(&p, NULL);
    peer_raw(&p, head, sizeof head);
    peer_say(&p, "MESSAGE\ndestination:/x\n\n");
    while (p.sessions == 1 && p.retry_ms == -2 && p.given < 100000) {
        peer_say(&p, "0123456789012345678901234567890123456789012345678901234567890123456789");
        peer_turn(&p);
    }
    CHECK(p.result == STWS_ERR_WS_LIMIT || p.result == STWS_ERR_FRAME_BODY);
    CHECK(p.given < 10000);
    peer_free(&p);
    check_over_limit("MESSAGE\ndestination:/x\ncontent-length:10737418240\n\n", STWS_ERR_FRAME_BODY,
                     "max_body", 1009);
    check_over_limit("MESSAGE\ndestination:/x\ncontent-length:99999999999999999999999999\n\n",
                     STWS_ERR_FRAME_BODY, "max_body", 1009);
}

static void test_endless_garbage(void) {
    struct peer p;
    char garbage[4096];
    int i;
    begin_at(&p, RAW, "");
    peer_fill(&p, garbage, sizeof garbage);
    peer_turn(&p);
    for (i = 0; i < 100 && p.retry_ms == -2 && !p.ended; i++) {
        peer_raw(&p, garbage, sizeof garbage);
        peer_turn(&p);
    }
    CHECK(p.result == STWS_ERR_HTTP || p.result == STWS_ERR_HTTP_LIMIT);
    CHECK(i < 20);
    peer_free(&p);
    session(&p, NULL);
    garbage[0] = (char)0xF3; /* reserved bits, reserved opcode */
    for (i = 0; i < 100 && p.retry_ms == -2; i++) {
        peer_raw(&p, garbage, sizeof garbage);
        peer_turn(&p);
        if (p.close_code) peer_advance(&p, 500);
    }
    check_trouble(&p, STWS_ERR_WS_PROTOCOL, RETRIED);
    CHECK_INT(1002, p.close_code);
    CHECK(i < 20);
    peer_free(&p);
}

/* Checks a STOMP frame that breaks the rules: the error's code, and close code 1002. */
static void check_bad_frame(const char *frame, size_t len, int code) {
    struct peer p;
    session(&p, NULL);
    peer_ws(&p, STWS_WS_TEXT, 1, frame, len);
    until_trouble(&p);
    check_trouble(&p, code, RETRIED);
    CHECK_INT(1002, p.close_code);
    peer_free(&p);
}

#define BAD_FRAME(text, code) check_bad_frame(text, sizeof(text), code)

static void test_bad_stomp_frames(void) {
    BAD_FRAME("HTTP/1.1 400 Bad Request\n\n", STWS_ERR_FRAME_COMMAND);
    BAD_FRAME("message\n\n", STWS_ERR_FRAME_COMMAND);
    BAD_FRAME("MESSAGE\nno colon\n\n", STWS_ERR_FRAME_HEADER);
    BAD_FRAME("MESSAGE\na:b\\t\n\n", STWS_ERR_FRAME_ESCAPE);
    BAD_FRAME("MESSAGE\na:b\rc\n\n", STWS_ERR_FRAME_CR);
    BAD_FRAME("RECEIPT\nreceipt-id:77\n", STWS_ERR_FRAME_NUL);
    BAD_FRAME("MESSAGE\ncontent-length:3\n\nabcd", STWS_ERR_FRAME_NUL);
    BAD_FRAME("MESSAGE\ncontent-length:0x3\n\nabc", STWS_ERR_FRAME_LENGTH);
}

/* Sends a frame of `len` bytes in a session with a trace. */
static void traced_frame(struct peer *p, struct bytes *traced, const char *frame, size_t len) {
    stws_options o;
    begin_traced(p, traced, &o);
    peer_start(p, &o);
    CHECK(peer_connect(p));
    bytes_clear(traced);
    peer_ws(p, STWS_WS_TEXT, 1, frame, len);
    until_trouble(p);
}

/* A refused frame is in the trace: its command, the headers before the fault, and the rest as the
   body. */
static void check_refused_frame(const char *frame, size_t len, const char *trace,
                                const char *sentence) {
    struct peer p;
    struct bytes traced = {0};
    traced_frame(&p, &traced, frame, len);
    CHECK(p.retry_ms >= 0);
    CHECK_HAS(trace, bytes_text(&traced));
    CHECK_HAS(sentence, why(&p));
    bytes_free(&traced);
    peer_free(&p);
}

#define REFUSED(text, trace, sentence) check_refused_frame(text, sizeof(text), trace, sentence)

static void test_a_refused_frame_is_traced(void) {
    REFUSED("HTTP/1.1 400 Bad Request\n\n", "< HTTP/1.1 400 Bad Request []\n",
            "\"HTTP/1.1 400 Bad Request\"");
    REFUSED("MESSAGE\na:b\nno colon\n\n", "< MESSAGE a=b [no colon\n\n]\n", ": \"no colon\"");
    REFUSED("MESSAGE\na:b\nc:d\\t\n\nx", "< MESSAGE a=b [c:d\\t\n\nx]\n", ": \"c:d\\t\"");
    REFUSED("MESSAGE\na:b\nc:\rd\n\nx", "< MESSAGE a=b [c:\rd\n\nx]\n", ": \"c:d\"");
    REFUSED("RECEIPT\nreceipt-id:77\n", "< RECEIPT receipt-id=77 []\n", "a NUL byte stands inside");
    REFUSED("MESSAGE\ncontent-length:0x3\n\nabc", "< MESSAGE content-length=0x3 []\n",
            "MESSAGE has content-length:0x3");
    REFUSED("MESSAGE\ncontent-length:2\n\nabc", "< MESSAGE content-length=2 [abc]\n",
            "characters instead of bytes");
    REFUSED("MESSAGE\na:1234567890123456789012345678901234567890\n"
            "content-length:99999999999999\n\nabc",
            "< MESSAGE a=1234567890123456789012345678901234567890 content-length=99999999999999 ",
            "max_body");
}

/* The error text names a wrong content-length, the frame's destination, and a likely cause. */
static void test_a_wrong_content_length(void) {
    REFUSED(
        "MESSAGE\ndestination:/topic/caf\xC3\xA9\nsubscription:1\ncontent-length:4\n\n"
        "caf\xC3\xA9",
        "< MESSAGE destination=/topic/caf\xC3\xA9 subscription=1 content-length=4 [caf\xC3\xA9]",
        "MESSAGE of /topic/caf\xC3\xA9 has content-length:4; does the server count characters "
        "instead of bytes?");
    REFUSED(
        "MESSAGE\ndestination:/topic/a\ncontent-length:5\n\ncafe\0\n",
        "< MESSAGE destination=/topic/a content-length=5 [cafe]",
        "MESSAGE of /topic/a has content-length:5; does the server also count the closing NUL?");
    REFUSED("MESSAGE\ndestination:/topic/a\ncontent-length:-1\n\ncafe",
            "< MESSAGE destination=/topic/a content-length=-1 []",
            "MESSAGE of /topic/a has content-length:-1");
}

/* The text of an ERROR is reported, whatever its content-length is, and a refused CONNECT is final.
   Variants: more data follows, the server closes, the server only disconnects, and nothing follows
   at all. */
static void check_broken_refusal(const char *frame, size_t len, int how) {
    struct peer p;
    struct bytes traced = {0};
    stws_options o;
    begin_traced(&p, &traced, &o);
    p.automatic &= ~AUTO_LOGIN;
    peer_start(&p, &o);
    peer_turn(&p);
    peer_ws(&p, STWS_WS_TEXT, 1, frame, len);
    if (how == 1) peer_ws(&p, STWS_WS_TEXT, 1, "\n", 1);
    if (how == 2) peer_close(&p, 1002, "");
    if (how < 3) peer_end(&p);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_LOGIN, FINAL);
    CHECK_HAS("\"Bad CONNECT\": \"Zugriff f\xC3\xBCr m\xC3\xBCller verweigert", why(&p));
    CHECK_HAS("< ERROR message=Bad CONNECT", bytes_text(&traced));
    bytes_free(&traced);
    peer_free(&p);
}

static void test_a_refusal_with_a_wrong_content_length(void) {
    static const int lengths[] = {29, 31, 32, 33, 99}; /* 31 bytes, 29 characters */
    size_t i;
    int how;
    for (i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct bytes frame = {0};
        bytes_print(&frame, "ERROR\nmessage:Bad CONNECT\ncontent-length:%d\n\n%s", lengths[i],
                    "Zugriff f\xC3\xBCr m\xC3\xBCller verweigert");
        for (how = 0; how <= 3; how++) check_broken_refusal(frame.data, frame.len + 1, how);
        bytes_free(&frame);
    }
}

/* The text of an ERROR is reported even if the frame is larger than a buffer that cannot grow. */
static void test_a_refusal_that_does_not_fit(void) {
    static long long memory[65536];
    const char *wrong;
    struct peer p;
    struct bytes frame = {0};
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.rx_buffer = 512;
    o.outbox_bytes = 4096;
    bytes_print(&frame, "ERROR\nmessage:Bad CONNECT\n\nno such user\n%01000d", 0);
    p.connected = frame.data;
    CHECK_INT(STWS_OK, stws_init(memory, sizeof memory, &o, &p.client, &wrong));
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_LOGIN, FINAL);
    CHECK_HAS("\"Bad CONNECT\": \"no such user\"", why(&p));
    peer_free(&p);
    bytes_free(&frame);
}

/* In a session the ERROR ends the receipt that it names, so the refused frame is not resent. */
static void test_an_error_with_a_wrong_content_length(void) {
    struct peer p;
    struct bytes frame = {0};
    const char *receipt;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.confirm = 1;
    p.automatic &= ~AUTO_RECEIPT;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_send(&p, "refused");
    peer_turn(&p);
    receipt = sent_header(peer_sent(&p, "SEND", 0), "receipt");
    bytes_print(&frame, "ERROR\nmessage:denied\nreceipt-id:%s\ncontent-length:2\n\nM\xC3\xBCll",
                receipt);
    peer_ws(&p, STWS_WS_TEXT, 1, frame.data, frame.len + 1);
    until_trouble(&p);
    check_trouble(&p, STWS_ERR_BROKER, RETRIED);
    CHECK_HAS("\"denied\": \"M\xC3\xBCll\"", why(&p));
    CHECK(peer_connect(&p));
    CHECK_INT(2, p.sessions);
    CHECK_INT(1, peer_count(&p, "SEND"));
    bytes_free(&frame);
    peer_free(&p);
}

/* Checks a WebSocket frame that breaks the rules: the error, and the code that the client closes
   with. */
static void check_bad_ws(const void *frame, size_t len, int code, int close_code) {
    struct peer p;
    session(&p, NULL);
    peer_raw(&p, frame, len);
    until_trouble(&p);
    check_trouble(&p, code, RETRIED);
    CHECK_INT(close_code, p.close_code);
    peer_free(&p);
}

#define BAD_WS(wire, code, close_code) check_bad_ws(wire, sizeof(wire) - 1, code, close_code)

static void test_bad_websocket_frames(void) {
    BAD_WS("\xC1\x01x", STWS_ERR_WS_PROTOCOL, 1002);           /* RSV1 */
    BAD_WS("\x83\x01x", STWS_ERR_WS_PROTOCOL, 1002);           /* opcode 3 */
    BAD_WS("\x81\x81\1\2\3\4x", STWS_ERR_WS_PROTOCOL, 1002);   /* masked */
    BAD_WS("\x09\x00", STWS_ERR_WS_PROTOCOL, 1002);            /* ping in fragments */
    BAD_WS("\x89\x7E\x01\x00", STWS_ERR_WS_PROTOCOL, 1002);    /* ping of 256 bytes */
    BAD_WS("\x80\x01x", STWS_ERR_WS_PROTOCOL, 1002);           /* continuation without a message */
    BAD_WS("\x01\x01\n\x81\x01x", STWS_ERR_WS_PROTOCOL, 1002); /* a new message inside a message */
    BAD_WS("\x81\x7E\x00\x01x", STWS_ERR_WS_PROTOCOL, 1002);   /* length not minimal */
    BAD_WS("\x81\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", STWS_ERR_WS_PROTOCOL, 1002);
    BAD_WS("\x88\x01x", STWS_ERR_WS_PROTOCOL, 1002);        /* half a close code */
    BAD_WS("\x88\x02\x03\xED", STWS_ERR_WS_PROTOCOL, 1002); /* 1005 on the wire */
    BAD_WS("\x88\x03\x03\xE8\xFF", STWS_ERR_WS_UTF8, 1007); /* a reason that is not UTF-8 */
}

/* ==== an answer or frame that is cut off at every byte ==== */

static void check_sentence(const struct peer *p) {
    CHECK(p->result < 0);
    CHECK(p->why.len > 0 && stws_utf8_valid(p->why.data, p->why.len));
    CHECK(!strpbrk(why(p), "\n\r\x1b"));
}

static void test_each_beginning_of_an_answer(void) {
    static const char *const answers[] = {
        "HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<titl\r\nffff\r\ne>\r\n",
        "HTTP/1.1 400 \r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08",
        "HTTP/1.1 500 \r\n\r\n{\"message\":\"\\u00e4\\n\xE2\x82\xAC\\\"\"}",
        "HTTP/1.1 302 \r\nLocation: ../b?c\r\n\r\n<h1>Found",
        "HTTP/1.1 100 \r\n\r\nHTTP/1.1 401 \r\nWWW-Authenticate: Basic\r\n\r\n",
    };
    size_t i, len;
    for (i = 0; i < sizeof answers / sizeof *answers; i++) {
        for (len = 0; len <= strlen(answers[i]); len++) {
            struct peer p;
            begin_at(&p, RAW, "");
            peer_turn(&p);
            peer_raw(&p, answers[i], len);
            peer_end(&p);
            until_trouble(&p);
            CHECK(p.result == STWS_ERR_EOF || p.result == STWS_ERR_HTTP_STATUS);
            check_sentence(&p);
            peer_free(&p);
        }
    }
}

/* Sends the frame cut off at every length, before and after CONNECTED. The buffer is large enough,
   or it must grow, so that the parsed part of the frame moves. */
static void check_beginnings(const char *frame, size_t size, int automatic, size_t rx_buffer) {
    size_t len;
    for (len = 0; len <= size; len++) {
        struct peer p;
        struct bytes traced = {0};
        stws_options o;
        begin_traced(&p, &traced, &o);
        o.rx_buffer = rx_buffer;
        p.automatic = automatic;
        peer_start(&p, &o);
        peer_turn(&p);
        peer_ws(&p, STWS_WS_TEXT, 1, frame, len);
        peer_end(&p);
        until_trouble(&p);
        check_sentence(&p);
        CHECK(len < 20 || strstr(bytes_text(&traced), "< ERROR"));
        bytes_free(&traced);
        peer_free(&p);
    }
}

static void test_each_beginning_of_an_error(void) {
    static const char frame[] = "ERROR\nmessage:a\\cb\ncontent-length:4\nc:d\n\nwords\nand more";
    struct bytes large = {0};
    check_beginnings(frame, sizeof frame, AUTO_ALL, 0);
    check_beginnings(frame, sizeof frame, AUTO_ALL & ~AUTO_LOGIN, 0);
    bytes_print(&large, "ERROR\nmessage:a\ncontent-length:700\n\n%0600d", 0);
    check_beginnings(large.data, large.len + 1, AUTO_ALL & ~AUTO_LOGIN, 256);
    bytes_free(&large);
}

/* ==== options that cannot work ==== */

/* Checks both ways to create a client: stws_init returns the error itself; after stws_create the
   first driving call returns it. */
static void check_refused(const stws_options *o, int code, const char *fact) {
    static long long memory[65536];
    const char *sentence = NULL;
    stws_event event = {0};
    stws *client = NULL;
    CHECK_STR(stws_result_name(code),
              stws_result_name(stws_init(memory, sizeof memory, o, &client, &sentence)));
    CHECK(client == NULL);
    CHECK_HAS(fact, sentence);
    CHECK_INT(0, stws_size(o));
    client = stws_create(o);
    CHECK(client != NULL);
    CHECK_STR(stws_result_name(code), stws_result_name(stws_next(client, &event, 0)));
    CHECK_HAS(fact, stws_error_text(client));
    CHECK_INT(STWS_ENDED, stws_state(client));
    /* A working client would run forever. */
    if (stws_state(client) == STWS_ENDED) CHECK_INT(code, stws_run(client));
    stws_destroy(client);
}

static stws_options small_options(const char *url) {
    stws_options o = stws_options_default();
    o.url = url;
    o.rx_buffer = o.tx_buffer = 4096;
    o.max_subscriptions = o.max_receipts = 4;
    o.outbox_bytes = 4096;
    return o;
}

static void test_bad_urls(void) {
    static const char *const bad[][2] = {
        {"", "ws://"},
        {"localhost:8080/stomp", "ws://"},
        {"http://localhost:8080/notifications", "ws://"},
        {"https://localhost/notifications", "wss://"},
        {"ws:/localhost/", "ws://"},
        {"ws://", "host"},
        {"ws:///path", "host"},
        {"ws://host:0/", "port"},
        {"ws://host:65536/", "port"},
        {"ws://host:abc/", "port"},
        {"ws://host:/", "port"},
        {"ws://guest:se cret@host/", "%XX"},
        {"ws://[::1/", "IPv6"},
        {"ws://[host]/", "IPv6"},
        {"ws://host/#top", "fragment"},
        {"ws://host/a b", "percent"},
        {"ws://host/a\r\nX: y", "percent"},
        {"ws://ho st/", "host"},
    };
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        stws_options o = small_options(bad[i][0]);
        check_refused(&o, STWS_ERR_URL, bad[i][1]);
    }
}

static void test_no_url(void) {
    stws_options o = small_options(NULL);
    check_refused(&o, STWS_ERR_USAGE, "url");
}

static void test_an_injected_line_is_refused(void) {
    static const char *const http[] = {"X-Token", "a\r\nX-Evil: 1", NULL};
    static const char *const name[] = {"X-Evil: 1\r\nX-Token", "a", NULL};
    static const char *const connect[] = {"client-id", "a\nadmin:true", NULL};
    static const char *const owned[] = {"Sec-WebSocket-Key", "AAAA", NULL};
    static const char *const odd[] = {"X-Token", NULL};
    stws_options o = small_options(RAW);
    o.http_headers = http;
    check_refused(&o, STWS_ERR_USAGE, "http_headers");
    o.http_headers = name;
    check_refused(&o, STWS_ERR_USAGE, "http_headers");
    o.http_headers = owned;
    check_refused(&o, STWS_ERR_USAGE, "http_headers");
    o.http_headers = odd;
    check_refused(&o, STWS_ERR_USAGE, "http_headers");
    o = small_options(RAW);
    o.connect_headers = connect;
    check_refused(&o, STWS_ERR_USAGE, "connect_headers");
    o = small_options(RAW);
    o.origin = "http://a\r\nX-Evil: 1";
    check_refused(&o, STWS_ERR_USAGE, "origin");
    o = small_options(RAW);
    o.cookie = "a=b\nX-Evil: 1";
    check_refused(&o, STWS_ERR_USAGE, "cookie");
    o = small_options(RAW);
    o.subprotocols = "v12.stomp\r\nX-Evil: 1";
    check_refused(&o, STWS_ERR_USAGE, "subprotocols");
    o = small_options(RAW);
    o.login = "guest\nadmin:true";
    check_refused(&o, STWS_ERR_USAGE, "login");
    o = small_options(RAW);
    o.passcode = "guest\nadmin:true";
    check_refused(&o, STWS_ERR_USAGE, "passcode");
    o = small_options(RAW);
    o.host = "/\nadmin:true";
    check_refused(&o, STWS_ERR_USAGE, "host");
}

/* ==== real sockets on the loopback interface ==== */

/* Runs the client with the system's sockets until an error occurs, for at most twenty seconds. */
static void run_with_sockets(struct peer *p, const char *url) {
    stws_options o = stws_options_default();
    int i;
    peer_init(p);
    o.url = url;
    p->client = stws_create(&o);
    for (i = 0; i < 200 && !p->ended && p->retry_ms < 0; i++) {
        stws_event event = {0};
        int result = stws_next(p->client, &event, 100);
        if (result == 1) peer_log_event(p, &event);
        if (result < 0) peer_note_end(p, result);
    }
}

/* Returns a port where nobody listens: the port was free a moment ago. */
static int free_port(void) {
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0), port = 0;
    memset(&name, 0, sizeof name);
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&name, len) == 0 &&
        getsockname(fd, (struct sockaddr *)&name, &len) == 0)
        port = ntohs(name.sin_port);
    close(fd);
    return port;
}

static void test_connection_refused(void) {
    struct peer p;
    struct bytes url = {0}, port = {0};
    bytes_print(&port, "%d", free_port());
    bytes_print(&url, "ws://127.0.0.1:%s/stomp", port.data);
    run_with_sockets(&p, url.data);
    check_trouble(&p, STWS_ERR_CONNECT, RETRIED);
    CHECK_HAS("127.0.0.1", why(&p));
    CHECK_HAS(port.data, why(&p));
    CHECK_HAS("refused", why(&p));
    peer_free(&p);
    bytes_free(&url);
    bytes_free(&port);
}

static void test_a_name_that_does_not_exist(void) {
    struct peer p;
    run_with_sockets(&p, "ws://nosuch.invalid:8080/stomp");
    CHECK_STR("STWS_ERR_RESOLVE", stws_result_name(p.result));
    CHECK_HAS("nosuch.invalid", why(&p));
    peer_free(&p);
}

static void test_wss_without_tls_compiled_in(void) {
    struct peer p;
    run_with_sockets(&p, "wss://127.0.0.1:1/stomp");
    check_trouble(&p, STWS_ERR_TLS, FINAL);
    CHECK_HAS("STOMP_WS_BEARSSL", why(&p));
    peer_free(&p);
}

/* A silent server. The error text must tell whether the server's machine still acknowledges our
   data. */
static void check_silence(int deaf, const char *fact) {
    static const char silent[] = "no heart-beat from the server";
    struct loopback server;
    stws_options o = stws_options_default();
    stws_event e = {0};
    stws *client;
    int i;
    loopback_start(&server, 0, 0);
    server.silent_ms = 1000; /* set before any client connects */
    o.url = server.url;
    o.heartbeat_in_ms = o.heartbeat_out_ms = 1000;
    client = stws_create(&o);
    if (deaf) stws_subscribe(client, "/deaf", NULL);
    for (i = 0; i < 200 && e.type != STWS_EVENT_DISCONNECTED; i++) stws_next(client, &e, 100);
    CHECK_STR("STWS_ERR_HEARTBEAT", stws_result_name(e.result));
    CHECK_HAS(silent, stws_error_text(client));
    CHECK_HAS(fact, stws_error_text(client));
    stws_destroy(client);
    loopback_stop(&server);
}

static void test_a_server_that_hangs(void) {
    check_silence(0, "its machine acknowledges");
}

static void test_a_line_that_is_cut(void) {
    if (!loopback_can_deafen())
        SKIP("the right to attach a socket filter, which some kernels give to root only",
             "a test of the error text for a cut line");
    else
        check_silence(1, "our last data is not acknowledged");
}

int main(void) {
    RUN(test_200_at_a_sockjs_endpoint); /* [S1] */
    RUN(test_200_at_the_sockjs_info_path);
    RUN(test_a_proxy_that_strips_the_upgrade);
    RUN(test_200_at_an_ordinary_page);
    RUN(test_a_password_with_a_slash);
    RUN(test_400_at_a_sockjs_endpoint); /* [S1] */
    RUN(test_the_advice_names_a_url_that_works);
    RUN(test_sockjs_framing);
    RUN(test_401); /* [E3] */
    RUN(test_401_with_credentials);
    RUN(test_403); /* [E3] */
    RUN(test_404); /* [E3] */
    RUN(test_426);
    RUN(test_a_redirect_names_its_target);
    RUN(test_a_redirect_is_offered_as_a_ws_url);
    RUN(test_the_title_of_a_page_is_quoted);
    RUN(test_a_page_that_names_a_remedy);
    RUN(test_400_to_a_long_head);
    RUN(test_a_chunked_page_is_decoded);
    RUN(test_the_message_in_json_is_quoted);
    RUN(test_a_compressed_page_is_reported_as_compressed);
    RUN(test_the_client_waits_for_the_page);
    RUN(test_a_page_that_does_not_come);
    RUN(test_a_page_without_end);
    RUN(test_a_server_in_trouble_is_tried_again); /* [E1] */
    RUN(test_statuses_that_are_final);            /* [E3] */
    RUN(test_503_with_retry_after);               /* [E4] */
    RUN(test_a_tls_server_on_a_plain_url);
    RUN(test_not_http_at_all);
    RUN(test_a_server_that_speaks_only_http_2);
    RUN(test_101_that_breaks_the_handshake);
    RUN(test_101_without_a_subprotocol_is_fine);
    RUN(test_a_mebibyte_of_headers);
    RUN(test_sent_http_headers_are_traced);
    RUN(test_a_request_too_large_to_be_traced);
    RUN(test_no_tcp_answer_in_time);
    RUN(test_no_http_answer_in_time);
    RUN(test_a_dripping_http_answer);
    RUN(test_no_connected_in_time);
    RUN(test_heart_beats_instead_of_connected);
    RUN(test_a_refused_login); /* [E3] */
    RUN(test_a_refused_vhost);
    RUN(test_a_refused_vhost_that_was_named);
    RUN(test_the_lines_of_a_stack_trace);
    RUN(test_a_refusal_with_odd_escapes);
    RUN(test_versions_that_do_not_meet);  /* [E3] */
    RUN(test_a_message_before_connected); /* [M3] */
    RUN(test_the_close_code_and_reason);
    RUN(test_a_close_code_of_spring);
    RUN(test_stomp_died);
    RUN(test_a_message_over_our_limits); /* [I1] */
    RUN(test_a_message_over_the_servers_limit);
    RUN(test_errors_with_a_remedy);
    RUN(test_a_lost_heart_beat);           /* [E4] */
    RUN(test_our_own_loop_was_late);       /* [H4] */
    RUN(test_a_callback_blocked_the_loop); /* [H4] */
    RUN(test_the_machine_slept);           /* [H4] */
    RUN(test_an_end_without_a_close_frame);
    RUN(test_a_broken_read);
    RUN(test_a_refused_open);
    RUN(test_ten_gibibytes_announced);
    RUN(test_endless_garbage);
    RUN(test_bad_stomp_frames);
    RUN(test_a_refused_frame_is_traced);
    RUN(test_a_wrong_content_length);
    RUN(test_a_refusal_with_a_wrong_content_length);
    RUN(test_a_refusal_that_does_not_fit);
    RUN(test_an_error_with_a_wrong_content_length);
    RUN(test_bad_websocket_frames); /* [I1] */
    RUN(test_each_beginning_of_an_answer);
    RUN(test_each_beginning_of_an_error);
    RUN(test_bad_urls);
    RUN(test_no_url);
    RUN(test_an_injected_line_is_refused);
    RUN(test_connection_refused); /* [E4] */
    RUN(test_a_name_that_does_not_exist);
    RUN(test_wss_without_tls_compiled_in);
    RUN(test_a_server_that_hangs); /* [H5] */
    RUN(test_a_line_that_is_cut);  /* [H5] */
    return test_report();
}
