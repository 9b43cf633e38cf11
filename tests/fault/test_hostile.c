/* test_hostile.c - tests deceptive input: a request in place of an answer, URLs with a secret in an
   unusual place, text that would move or hide other text on a terminal, an upgrade that names two
   protocols, and endless interim answers. The server is scripted and time is simulated. */
#include "scripted.h"

static const char URL[] = "ws://broker.test:8080/notifications/websocket";

/* Every secret contains this word, and nothing else does. */
#define MARK "hush"

#define UPGRADE "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

static const char *why(const struct peer *p) {
    return bytes_text(&p->why);
}

/* Drives the client until an error occurs, for at most a simulated minute. */
static void until_trouble(struct peer *p) {
    int i;
    peer_turn(p);
    for (i = 0; i < 120 && !p->ended && p->retry_ms < 0; i++) peer_advance(p, 500);
}

/* Collects the trace. */
static struct bytes traced;

static void keep_trace(stws *client, stws_direction direction, const stws_frame *frame,
                       void *user) {
    (void)client, (void)user;
    bytes_print_traced(&traced, direction, frame);
    bytes_add(&traced, "\n", 1);
}

static void begin_at(struct peer *p, const char *url, const char *answer) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.url = url;
    o.on_trace = keep_trace;
    p->answer = answer;
    bytes_clear(&traced);
    peer_start(p, &o);
}

/* The server answers the upgrade with this text and closes. */
static void answered(struct peer *p, const char *url, const char *answer) {
    begin_at(p, url, answer);
    peer_turn(p);
    peer_end(p);
    until_trouble(p);
}

static void end(struct peer *p) {
    peer_free(p);
    bytes_free(&traced);
}

/* ==== a request in the place of an answer ==== */

static void check_request(const char *request) {
    struct peer p;
    answered(&p, URL, request);
    CHECK_STR("STWS_ERR_HTTP", stws_result_name(p.result));
    CHECK_INT(STWS_ENDED, stws_state(p.client));
    CHECK_INT(0, stws_http_status(p.client));
    CHECK_HAS("is not HTTP", why(&p));
    CHECK(!strstr(why(&p), "null") && !strstr(why(&p), "HTTP 0"));
    CHECK(!strstr(bytes_text(&traced), "null"));
    CHECK_INT(0, peer_count(&p, "CONNECT"));
    end(&p);
}

static void test_a_request_is_not_an_answer(void) {
    check_request("GET / HTTP/1.1\r\n\r\n");
    check_request("POST /x HTTP/1.0\r\nHost: a\r\n\r\nbody");
    check_request("GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: @\r\n\r\n");
    check_request("HTTP/1.1 100 Continue\r\n\r\nOPTIONS * HTTP/1.1\r\n\r\n");
}

/* ==== URLs ==== */

static const char *brought; /* the URL that before_connect sets */

static int bring(stws *client, stws_attempt *attempt, void *user) {
    (void)client, (void)user;
    attempt->url = brought;
    return 0;
}

static void check_no_secret(struct peer *p) {
    CHECK(!strstr(stws_error_text(p->client), MARK));
    CHECK(!strstr(why(p), MARK));
    CHECK(!strstr(bytes_text(&traced), MARK));
    if (strstr(stws_error_text(p->client), MARK)) printf("%s\n", stws_error_text(p->client));
}

/* before_connect sets the URL. If the client gets that far, the server answers the upgrade with
   404. */
static void bring_url(struct peer *p, const char *url) {
    stws_options o;
    brought = url;
    peer_init(p);
    o = peer_options(p);
    o.before_connect = bring;
    o.on_trace = keep_trace;
    p->answer = "HTTP/1.1 404 \r\n\r\n";
    bytes_clear(&traced);
    peer_start(p, &o);
    peer_turn(p);
    peer_end(p);
    until_trouble(p);
}

/* An invalid URL is never shown, not even in part. */
static void test_no_part_of_a_wrong_url_is_shown(void) {
    static const char *const urls[] = {
        "ws://guest:hush%@broker.test/stomp",
        "ws://hush%@broker.test/stomp",
        "ws://guest:hu/hush@broker.test/stomp",
        "ws://guest:hu#hush@broker.test/stomp",
        "ws://guest:hu?hush@broker.test/stomp",
        "ws://guest:a@hush@broker.test/stomp",
        "ws://guest:a@b/hush@broker.test/#hush",
        "ws://guest:a@broker.test/hush@x y",
        "ws://broker.test/stomp#access_token=hush",
        "ws://broker.test/stomp#a?token=hush",
        "ws://broker.test/#a@hush",
        "ws://broker.test/stomp?a=b#hush",
        "ws://broker.test:port/stomp?token=hush",
        "ws://broker.test/hush with a blank",
        "ws:guest:hush@broker.test",
        "ws:/guest:hush@broker.test/",
        "guest:hush@broker.test://x",
        "//guest:hush@broker.test/",
        "http://guest:hush@broker.test/?token=hush",
        "hush",
        "?hush",
        "#hush",
        "@hush",
    };
    size_t i;
    for (i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct peer p;
        bring_url(&p, urls[i]);
        CHECK_STR("STWS_ERR_URL", stws_result_name(p.ended));
        CHECK_HAS("before_connect", stws_error_text(p.client));
        CHECK_INT(0, p.sessions);
        check_no_secret(&p);
        end(&p);
    }
}

/* A password with digits and then a slash or a question mark looks like a port and a path. */
static void test_no_secret_of_a_url_that_looks_right(void) {
    static const char *const urls[] = {
        "ws://guest:12/hush@broker.test/stomp",  "ws://guest/hush@broker.test/stomp",
        "ws://guest:12?hush@broker.test/stomp",  "ws://broker.test/stomp?token=hush",
        "ws://broker.test?token=hush",           "ws://broker.test/a?b@c/hush",
        "ws://guest:1/hush@broker.test/a?hush=", "ws://guest:1//hush:hush@broker.test",
    };
    size_t i;
    for (i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct peer p;
        bring_url(&p, urls[i]);
        CHECK_STR("STWS_ERR_HTTP_STATUS", stws_result_name(p.result));
        CHECK_HAS("404", why(&p));
        CHECK_HAS(" at ws://", why(&p));
        check_no_secret(&p);
        CHECK_HAS(MARK, bytes_text(&p.request));
        end(&p);
    }
}

/* The other error texts with a URL, and the advice about SockJS, which names another URL. */
static void check_error_of(const char *url, const char *answer, const char *part) {
    struct peer p;
    answered(&p, url, answer);
    CHECK_HAS(part, why(&p));
    check_no_secret(&p);
    end(&p);
}

static void test_no_secret_in_any_error_text(void) {
    static const char *const urls[] = {"ws://guest:12/hush@broker.test/stomp",
                                       "ws://guest:12/a/b/hush@broker.test/stomp/websocket",
                                       "ws://broker.test/stomp?hush", "ws://broker.test/?hush"};
    size_t i;
    for (i = 0; i < sizeof urls / sizeof *urls; i++) {
        check_error_of(urls[i], "HTTP/1.1 200 OK\r\n\r\n", "200");
        check_error_of(urls[i], "HTTP/1.1 200 OK\r\n\r\nWelcome to SockJS!\n", "200");
        check_error_of(urls[i], "HTTP/1.1 400 \r\n\r\n", "400");
        check_error_of(urls[i], "SSH-2.0\r\n", "is not HTTP");
        check_error_of(urls[i], "\x15\x03\x03\1\1\1", "wss://");
        check_error_of(urls[i], "", "before it answered");
    }
}

static void test_no_secret_in_a_timeout(void) {
    struct peer p;
    begin_at(&p, "ws://guest:12/hush@broker.test/stomp?hush", "");
    until_trouble(&p);
    CHECK_STR("STWS_ERR_TIMEOUT", stws_result_name(p.result));
    CHECK_HAS("ws://guest:12/", why(&p));
    check_no_secret(&p);
    end(&p);
}

/* A redirect often repeats the query of the request. */
static void test_no_secret_in_a_redirect(void) {
    static const char *const places[][2] = {
        {"https://broker.test/stomp?token=hush", ": wss://broker.test/stomp?***"},
        {"https://guest:hush@broker.test/stomp", ": ***"},
        {"/stomp/?token=hush#hush", "/stomp/?***"},
        {"https://broker.test/#hush", ": wss://broker.test/"},
        {"//hush@broker.test/", ": ***"},
        {"ftp://broker.test/stomp?hush", ": ftp://broker.test/stomp?***"}};
    size_t i;
    for (i = 0; i < sizeof places / sizeof *places; i++) {
        struct bytes answer = {0};
        struct peer p;
        bytes_print(&answer, "HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n", places[i][0]);
        begin_at(&p, URL, "");
        peer_turn(&p);
        peer_say(&p, answer.data); /* in p.answer an '@' would be replaced */
        until_trouble(&p);
        CHECK_HAS(places[i][1], why(&p));
        CHECK(!strstr(why(&p), MARK));
        end(&p);
        bytes_free(&answer);
    }
    check_error_of(URL, "HTTP/1.1 302 \r\nLocation: https://b.test/a/b;c=d\r\n\r\n",
                   ": wss://b.test/a/b;c=d");
}

/* ==== text that would move or hide other text ==== */

/* Decodes a character, independently of the library. Returns its length, or 0 if it is not valid
   UTF-8. */
static size_t decode(const char *text, unsigned long *code) {
    static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    size_t len = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0, i;
    if (len == 0) return 0;
    *code = len == 1 ? *p : *p & (0xFFu >> (len + 1));
    for (i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
        *code = *code << 6 | (p[i] & 0x3F);
    }
    if (*code < least[len] || *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000)) return 0;
    return len;
}

/* C0 and C1 controls and DEL; direction marks, invisible characters and line ends of Unicode;
   tags. */
static int is_harmful(unsigned long c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C || c == 0x180E ||
           (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
           (c >= 0xE0000 && c <= 0xE007F);
}

static void check_harmless(const char *text) {
    unsigned long code = 0;
    const char *at = text;
    size_t len = 1;
    while (*at && (len = decode(at, &code)) != 0 && !is_harmful(code)) at += len;
    CHECK(*at == 0);
    if (*at) printf("byte %d of: %s\n", (int)(at - text), text);
}

/* Text that a peer sends, and the text that an error shows for it. */
static const struct {
    const char *sent, *shown;
} words[] = {
    {"a\x1b[2Jb", "a.[2Jb"},
    {"a\tb\x01", "a.b."},
    {"a\x7f"
     "b",
     "a.b"},
    {"a\xC2\x80"
     "b\xC2\x9F"
     "c",
     "a.b.c"},
    {"a\xC2\x9B"
     "2Jb",
     "a.2Jb"},
    {"a\x9B"
     "2Jb\x85",
     "a.2Jb."},
    {"a\xE2\x80\xAE"
     "b\xE2\x80\xAC"
     "c",
     "a.b.c"},
    {"a\xE2\x81\xA6"
     "b\xE2\x81\xA9"
     "c",
     "a.b.c"},
    {"a\xE2\x80\x8B\xE2\x80\x8E\xE2\x80\x8F"
     "b",
     "a...b"},
    {"\xCD\x8F\xE1\x85\x9F\xE1\x9E\xB4\xE1\xA0\x8B", "...."},
    {"\xE3\x85\xA4\xEF\xB8\x8F\xEF\xBE\xA0\xEF\xBF\xB0", "...."},
    {"\xF0\x9B\xB2\xA0\xF0\x9D\x85\xB3\xF3\xA0\x84\x80\xE1\x85\xA1\xE3\x85\xA5z",
     "...\xE1\x85\xA1\xE3\x85\xA5z"},
    {"a\xD8\x9C"
     "b\xEF\xBB\xBF"
     "c",
     "a.b.c"},
    {"a\xE2\x80\xA8"
     "b\xE2\x80\xA9"
     "c",
     "a.b.c"},
    {"a\xF3\xA0\x81\x81"
     "b",
     "a.b"},
    {"a\xC2\xAD"
     "b",
     "a.b"},
    {"a\xE1\xA0\x8E"
     "b\xEF\xBF\xB9"
     "c",
     "a.b.c"},
    {"a\xFF"
     "b\xC0\xAF"
     "c",
     "a.b..c"},
    {"a\xED\xA0\x80"
     "b",
     "a...b"},
    {"a\xE2\x82(b\xF0\x9F\x98", "a.(b."},
    {"\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80\xD7\x90",
     "\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80\xD7\x90"},
    {"\xE2\x80\x9Cx\xE2\x80\x9D \xE2\x80\xA6", "\xE2\x80\x9Cx\xE2\x80\x9D \xE2\x80\xA6"},
};

enum { WORDS = sizeof words / sizeof *words };

static void check_shown(struct peer *p, size_t i) {
    CHECK_HAS(words[i].shown, why(p));
    CHECK_STR(why(p), stws_error_text(p->client));
    check_harmless(why(p));
}

/* Puts each text in place of the %s in an answer to the upgrade. */
static void check_answers(const char *format) {
    size_t i;
    for (i = 0; i < WORDS; i++) {
        struct bytes answer = {0};
        struct peer p;
        size_t place = (size_t)(strstr(format, "%s") - format);
        bytes_add(&answer, format, place);
        bytes_add(&answer, words[i].sent, strlen(words[i].sent));
        bytes_add(&answer, format + place + 2, strlen(format + place + 2));
        answered(&p, URL, answer.data);
        check_shown(&p, i);
        end(&p);
        bytes_free(&answer);
    }
}

static void test_words_of_an_http_answer(void) {
    check_answers("HTTP/1.1 404 %s\r\n\r\n");
    check_answers("HTTP/1.1 302 \r\nLocation: /%s\r\n\r\n");
    check_answers("HTTP/1.1 403 \r\n\r\n%s");
    check_answers("HTTP/1.1 403 \r\n\r\n%s\nand more");
    check_answers(UPGRADE "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Protocol: x%s\r\n\r\n");
    check_answers(UPGRADE "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Extensions: x%s\r\n\r\n");
    check_answers("x%s is no HTTP, but a longer line");
}

/* Puts each text in place of the %s in a frame, as the answer to CONNECT or in a session. */
static void check_frames(const char *format, int logged_in) {
    size_t i;
    for (i = 0; i < WORDS; i++) {
        struct bytes frame = {0};
        struct peer p;
        size_t place = (size_t)(strstr(format, "%s") - format);
        bytes_add(&frame, format, place);
        bytes_add(&frame, words[i].sent, strlen(words[i].sent));
        bytes_add(&frame, format + place + 2, strlen(format + place + 2));
        begin_at(&p, URL, PEER_ANSWER);
        if (!logged_in) p.connected = frame.data;
        peer_turn(&p);
        if (logged_in) peer_stomp(&p, frame.data);
        peer_turn(&p);
        check_shown(&p, i);
        end(&p);
        bytes_free(&frame);
    }
}

static void test_words_of_a_frame(void) {
    check_frames("ERROR\nmessage:%s\n\n", 0);
    check_frames("ERROR\nmessage:no\n\n%s", 0);
    check_frames("CONNECTED\nversion:%s\n\n", 0);
    check_frames("ERROR\nmessage:%s\n\n", 1);
    check_frames("ERROR\nmessage:no\n\n%s\nand more", 1);
    check_frames("x%s", 1);
}

/* A close reason that is not UTF-8 breaks RFC 6455, and is not shown at all. */
static void test_words_of_a_close_frame(void) {
    size_t i;
    for (i = 0; i < WORDS; i++) {
        struct peer p;
        begin_at(&p, URL, PEER_ANSWER);
        CHECK(peer_connect(&p));
        peer_close(&p, 1011, words[i].sent);
        peer_end(&p);
        until_trouble(&p);
        if (stws_utf8_valid(words[i].sent, strlen(words[i].sent)))
            check_shown(&p, i);
        else
            CHECK_STR("STWS_ERR_WS_UTF8", stws_result_name(p.result));
        check_harmless(why(&p));
        end(&p);
    }
}

/* A user-supplied transport may repeat text from a certificate. */
static void test_words_of_a_transport(void) {
    size_t i;
    for (i = 0; i < WORDS; i++) {
        struct peer p;
        begin_at(&p, URL, "");
        p.open_result = STWS_ERR_CONNECT;
        p.trouble = words[i].sent;
        until_trouble(&p);
        check_shown(&p, i);
        end(&p);
        begin_at(&p, URL, PEER_ANSWER);
        CHECK(peer_connect(&p));
        p.end_result = STWS_ERR_IO;
        p.trouble = words[i].sent;
        peer_end(&p);
        until_trouble(&p);
        check_shown(&p, i);
        end(&p);
    }
}

/* Wherever an error text is cut, no incomplete character remains. */
static void test_error_texts_that_are_cut(void) {
    size_t shift;
    for (shift = 0; shift < 4; shift++) {
        struct bytes frame = {0}, answer = {0};
        struct peer p;
        stws_options o;
        int i;
        bytes_print(&frame, "ERROR\nmessage:%.*s", (int)shift, "xxx");
        for (i = 0; i < 60; i++) bytes_add(&frame, "\xF0\x9F\x98\x80", 4);
        bytes_print(&frame, "\n\n%.*s", (int)shift, "yyy");
        for (i = 0; i < 60; i++) bytes_add(&frame, "\xE2\x82\xAC", 3);
        peer_init(&p);
        o = peer_options(&p);
        o.rx_buffer = 1024; /* error texts then have at most 256 bytes */
        o.reconnect_attempts = 1;
        o.reconnect_min_ms = 1;
        peer_start(&p, &o);
        CHECK(peer_connect(&p));
        peer_stomp(&p, frame.data);
        peer_turn(&p);
        check_harmless(why(&p));
        CHECK(strlen(why(&p)) >= 252);
        bytes_print(&answer, "HTTP/1.1 503 %.*s\r\n\r\n", (int)shift, "zzz");
        for (i = 0; i < 30; i++) bytes_add(&answer, "\xE2\x82\xAC", 3);
        p.answer = answer.data;
        peer_end(&p);
        peer_turn(&p);
        for (i = 0; i < 60 && !p.ended; i++) peer_advance(&p, 1000);
        CHECK_STR("STWS_ERR_GAVE_UP", stws_result_name(p.ended));
        check_harmless(stws_error_text(p.client));
        CHECK(strlen(stws_error_text(p.client)) >= 252);
        peer_free(&p);
        bytes_free(&frame);
        bytes_free(&answer);
    }
}

/* A trace is for programs, so it has the received bytes unchanged. */
static void test_a_trace_shows_the_received_bytes(void) {
    struct peer p;
    begin_at(&p, URL, "HTTP/1.1 404 a\x1b[2J\xE2\x80\xAE\r\nX: b\x9B\r\n\r\n");
    until_trouble(&p);
    CHECK_HAS("< HTTP/1.1 404 a\x1b[2J\xE2\x80\xAE X=b\x9B\n", bytes_text(&traced));
    end(&p);
}

/* ==== the answer to the upgrade ==== */

static void check_upgrade(const char *answer, int code) {
    struct peer p;
    answered(&p, URL, answer);
    CHECK_STR(stws_result_name(code), stws_result_name(p.result));
    CHECK_INT(0, peer_count(&p, "CONNECT"));
    end(&p);
}

/* RFC 6455, 4.1: Upgrade has one value; Connection is a list. */
static void test_an_upgrade_to_two_protocols(void) {
    static const char *const upgrades[] = {
        "Upgrade: h2c, websocket\r\n",
        "Upgrade: websocket, h2c\r\n",
        "Upgrade: websocket,websocket\r\n",
        "Upgrade: websocket\r\nUpgrade: websocket\r\n",
        "Upgrade: h2c\r\nUpgrade: websocket\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
        "Upgrade: websocket\r\nUpgrade:\r\n",
        "Upgrade: websocket,\r\n",
        "Upgrade: websocket/13\r\n",
    };
    size_t i;
    for (i = 0; i < sizeof upgrades / sizeof *upgrades; i++) {
        struct bytes answer = {0};
        bytes_print(&answer,
                    "HTTP/1.1 101 \r\n%sConnection: Upgrade\r\nSec-WebSocket-Accept: @\r\n\r\n",
                    upgrades[i]);
        check_upgrade(answer.data, STWS_ERR_HTTP_UPGRADE);
        bytes_free(&answer);
    }
    check_upgrade(UPGRADE "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Accept: @\r\n\r\n",
                  STWS_ERR_HTTP_UPGRADE);
    check_upgrade(UPGRADE "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Protocol: v12.stomp\r\n"
                          "Sec-WebSocket-Protocol: v12.stomp\r\n\r\n",
                  STWS_ERR_HTTP_SUBPROTOCOL);
    check_upgrade(UPGRADE "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Protocol:\r\n\r\n",
                  STWS_ERR_HTTP_SUBPROTOCOL);
}

static void test_interim_answers_are_passed_over(void) {
    size_t piece;
    for (piece = 0; piece < 3; piece++) {
        struct bytes answer = {0};
        struct peer p;
        int i;
        for (i = 0; i < 2000; i++)
            bytes_print(&answer, "HTTP/1.1 %d Wait\r\nLink: </a>\r\n\r\n", i % 2 ? 103 : 100);
        bytes_print(&answer, "%s", PEER_ANSWER);
        begin_at(&p, URL, answer.data);
        p.piece = piece;
        CHECK(peer_connect(&p));
        CHECK_INT(101, stws_http_status(p.client));
        end(&p);
        bytes_free(&answer);
    }
}

/* Endless interim answers do not extend the client's deadline. */
static void test_endless_interim_answers(void) {
    struct peer p;
    int i;
    begin_at(&p, URL, "");
    peer_turn(&p);
    for (i = 0; i < 100 && p.retry_ms == -2; i++) {
        peer_say(&p, "HTTP/1.1 102 Processing\r\n\r\n");
        peer_advance(&p, 500);
    }
    CHECK(i <= 21);
    CHECK_STR("STWS_ERR_TIMEOUT", stws_result_name(p.result));
    end(&p);
}

/* ==== frames that the client cuts ==== */

/* The peer checks that each text message is valid UTF-8. */
static void test_pieces_are_whole_characters(void) {
    static const char *const bodies[] = {"\xE2\x82\xAC",   "a\xF0\x9F\x98\x80", "\xC3\xBC", "x",
                                         "ab\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    size_t cut, i;
    for (cut = 1; cut < 12; cut++) {
        struct bytes body = {0};
        struct peer p;
        stws_options o;
        for (i = 0; i < 3000; i++) {
            const char *text = bodies[i / 500];
            bytes_add(&body, text, strlen(text));
        }
        peer_init(&p);
        o = peer_options(&p);
        o.max_ws_message = cut;
        peer_start(&p, &o);
        CHECK(peer_connect(&p));
        peer_forget(&p);
        CHECK_INT(0, stws_send(p.client, "/queue/a", body.data, body.len));
        peer_turn(&p);
        CHECK_INT(1, peer_count(&p, "SEND"));
        CHECK(p.ws_largest <= (cut < 4 ? 4 : cut));
        if (peer_sent(&p, "SEND", 0))
            CHECK_MEM(body.data, body.len, peer_sent(&p, "SEND", 0)->frame.body,
                      peer_sent(&p, "SEND", 0)->frame.body_len);
        peer_free(&p);
        bytes_free(&body);
    }
}

int main(void) {
    RUN(test_a_request_is_not_an_answer);
    RUN(test_no_part_of_a_wrong_url_is_shown);
    RUN(test_no_secret_of_a_url_that_looks_right);
    RUN(test_no_secret_in_any_error_text); /* [E11] */
    RUN(test_no_secret_in_a_timeout);
    RUN(test_no_secret_in_a_redirect);
    RUN(test_words_of_an_http_answer); /* [E11] */
    RUN(test_words_of_a_frame);        /* [E11] */
    RUN(test_words_of_a_close_frame);
    RUN(test_words_of_a_transport);
    RUN(test_error_texts_that_are_cut);
    RUN(test_a_trace_shows_the_received_bytes);
    RUN(test_an_upgrade_to_two_protocols);
    RUN(test_interim_answers_are_passed_over);
    RUN(test_endless_interim_answers);
    RUN(test_pieces_are_whole_characters);
    return test_report();
}
