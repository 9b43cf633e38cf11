/* test_session.c - tests one session: the bytes in both directions, and the events that the client
   reports. The server is scripted. */
#include "scripted.h"

static const char CONNECTED_10[] = "CONNECTED\nheart-beat:0,0\n\n";
static const char CONNECTED_11[] = "CONNECTED\nversion:1.1\nheart-beat:0,0\n\n";
static const char CONNECTED_12[] = "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n";

/* Connects a client to a server that answers CONNECT with this frame. */
static void connected(struct peer *p, const char *frame) {
    peer_begin(p);
    p->connected = frame;
    CHECK(peer_connect(p));
}

/* ==== the upgrade and CONNECT ==== */

static void test_the_upgrade_request(void) {
    static const char *const extra[] = {"Authorization", "Bearer abc", NULL};
    struct peer p;
    stws_options o;
    const char *request;
    peer_init(&p);
    o = peer_options(&p);
    o.origin = "https://app.test";
    o.cookie = "JSESSIONID=1";
    o.http_headers = extra;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    request = bytes_text(&p.request);
    CHECK(strncmp(request, "GET /notifications/websocket HTTP/1.1\r\n", 39) == 0);
    CHECK_HAS("\r\nHost: broker.test:8080\r\n", request);
    CHECK_HAS("\r\nUpgrade: websocket\r\n", request);
    CHECK_HAS("\r\nConnection: Upgrade\r\n", request);
    CHECK_HAS("\r\nSec-WebSocket-Version: 13\r\n", request);
    CHECK_HAS("\r\nSec-WebSocket-Protocol: v12.stomp, v11.stomp, v10.stomp\r\n", request);
    CHECK_HAS("\r\nOrigin: https://app.test\r\n", request);
    CHECK_HAS("\r\nCookie: JSESSIONID=1\r\n", request);
    CHECK_HAS("\r\nAuthorization: Bearer abc\r\n", request);
    peer_free(&p);
}

static void test_no_origin_unless_requested(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    CHECK(strstr(bytes_text(&p.request), "Origin") == NULL);
    CHECK(strstr(bytes_text(&p.request), "Cookie") == NULL);
    CHECK_STR("broker.test", p.endpoint_host);
    CHECK_INT(8080, p.endpoint.port);
    CHECK_INT(0, p.endpoint.secure);
    peer_free(&p);
}

static void test_the_connect_frame(void) {
    static const char *const extra[] = {"client-id", "me\\you:them", NULL};
    struct peer p;
    stws_options o;
    const struct sent *s;
    peer_init(&p);
    o = peer_options(&p);
    o.login = "guest";
    o.passcode = "p:w\\d";
    o.connect_headers = extra;
    o.heartbeat_out_ms = 4000;
    o.heartbeat_in_ms = STWS_OFF;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    s = peer_sent(&p, "CONNECT", 0);
    CHECK_STR("1.0,1.1,1.2", sent_header(s, "accept-version"));
    CHECK_STR("/", sent_header(s, "host"));
    CHECK_STR("4000,0", sent_header(s, "heart-beat"));
    CHECK_STR("guest", sent_header(s, "login"));
    CHECK_HAS("\npasscode:p:w\\d\n", s->raw);
    CHECK_HAS("\nclient-id:me\\you:them\n", s->raw);
    CHECK_INT(STWS_WS_TEXT, s->opcode);
    CHECK_STR("CONNECT ", bytes_text(&p.order));
    peer_free(&p);
}

static void test_fewer_versions(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.versions = STWS_STOMP_11 | STWS_STOMP_12;
    o.host = "vhost";
    p.connected = CONNECTED_11;
    p.answer = "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
               "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Protocol: v11.stomp\r\n\r\n";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK_HAS("\r\nSec-WebSocket-Protocol: v12.stomp, v11.stomp\r\n", bytes_text(&p.request));
    CHECK_STR("1.1,1.2", sent_header(peer_sent(&p, "CONNECT", 0), "accept-version"));
    CHECK_STR("vhost", sent_header(peer_sent(&p, "CONNECT", 0), "host"));
    CHECK_INT(STWS_STOMP_11, stws_version(p.client));
    peer_free(&p);
}

static void test_the_broker_is_recognised(void) {
    static const struct {
        const char *frame;
        int broker;
    } servers[] = {
        {"CONNECTED\nversion:1.2\nheart-beat:0,0\nuser-name:DOM\\user\n\n", STWS_BROKER_SPRING},
        {"CONNECTED\nserver:RabbitMQ/3.10.8\nversion:1.2\n\n", STWS_BROKER_RABBITMQ},
        {"CONNECTED\nserver:ActiveMQ/6.1.7\nsession:ID:vm-1:17\nversion:1.2\n\n",
         STWS_BROKER_ACTIVEMQ},
        {"CONNECTED\nversion:1.2\nserver:ActiveMQ-Artemis/2.44.0 x\n\n", STWS_BROKER_ARTEMIS},
        {"CONNECTED\nversion:1.2\nserver:something/1\n\n", STWS_BROKER_UNKNOWN},
    };
    size_t i;
    for (i = 0; i < sizeof servers / sizeof *servers; i++) {
        struct peer p;
        connected(&p, servers[i].frame);
        CHECK_INT(servers[i].broker, stws_broker(p.client));
        peer_free(&p);
    }
}

/* ==== the same events, however the input is cut ==== */

/* Adds one line per header after each event that has a frame. */
static void log_headers(struct peer *p, const stws_event *e) {
    size_t i;
    if (!e->message) return;
    for (i = 0; i < e->message->frame.header_count; i++)
        bytes_print(&p->log, "  %s=%s\n", e->message->frame.headers[i].name,
                    e->message->frame.headers[i].value);
    bytes_print(&p->log, "  (%d bytes)\n", (int)e->message->body_len);
}

static const char RECORDED_EVENTS[] =
    "CONNECTED\n  version=1.2\n  session=x:y\\z\n  (0 bytes)\n"
    "MESSAGE /topic/a m:1 hello\n  subscription=sub-1\n  message-id=m:1\n  destination=/topic/a\n"
    "  x:y=a\nb\\\n  x:y=second\n  (5 bytes)\n"
    "MESSAGE /queue/b m2 a\n  subscription=q:1\n  message-id=m2\n  destination=/queue/b\n"
    "  content-length=3\n  (3 bytes)\n"
    "MESSAGE /topic/a m3 three\n  subscription=sub-1\n  message-id=m3\n  destination=/topic/a\n"
    "  (5 bytes)\n"
    "RECEIPT 0 STWS_OK\n  receipt-id=nobody's\n  (0 bytes)\n"
    "MESSAGE /topic/a m4 \n  subscription=sub-1\n  message-id=m4\n  destination=/topic/a\n"
    "  content-length=0\n  (0 bytes)\n"
    "MESSAGE /topic/a m5 in two messages\n  subscription=sub-1\n  message-id=m5\n"
    "  destination=/topic/a\n  (15 bytes)\n"
    "UNHANDLED NEWS\n  a=b\n  (0 bytes)\n"
    "ERROR that was it\n  message=that was it\n  (7 bytes)\n"
    "DISCONNECTED STWS_ERR_BROKER\n";

#define WS(opcode, fin, text) peer_ws(p, opcode, fin, text, sizeof(text) - 1)

/* Sends everything that a server may do to a frame. All of it follows the answer to the upgrade
   without a pause. */
static void send_recorded_session(struct peer *p) {
    WS(STWS_WS_TEXT, 1, "CONNECTED\nversion:1.2\nsession:x:y\\z\n\n\0\n");
    WS(STWS_WS_TEXT, 1, "\n");
    WS(STWS_WS_TEXT, 1,
       "MESSAGE\nsubscription:sub-1\nmessage-id:m\\c1\ndestination:/topic/a\n"
       "x\\cy:a\\nb\\\\\nx\\cy:second\n\nhello\0");
    WS(STWS_WS_BINARY, 0, "MESSAGE\nsubscription:q\\c1\nmessage-id:m2\ndesti");
    WS(STWS_WS_PING, 1, "between");
    WS(STWS_WS_CONTINUATION, 0, "");
    WS(STWS_WS_CONTINUATION, 0, "nation:/queue/b\ncontent-length:3\n\na\0");
    WS(STWS_WS_PONG, 1, "unasked");
    WS(STWS_WS_CONTINUATION, 1, "b\0\n\n");
    WS(STWS_WS_TEXT, 1,
       "\n\r\nMESSAGE\r\nsubscription:sub-1\r\nmessage-id:m3\r\ndestination:/topic/a\r\n\r\n"
       "three\0\nRECEIPT\nreceipt-id:nobody's\n\n\0"
       "MESSAGE\nsubscription:sub-1\nmessage-id:m4\ndestination:/topic/a\ncontent-length:0\n\n\0");
    WS(STWS_WS_TEXT, 1,
       "MESSAGE\nsubscription:sub-1\nmessage-id:m5\ndestination:/topic/a\n\nin two");
    WS(STWS_WS_BINARY, 1, " messages\0NEWS\na:b\n\n\0");
    WS(STWS_WS_TEXT, 1, "ERROR\nmessage:that was it\n\nthe end\0");
    peer_close(p, 1002, "bye");
    peer_end(p);
}

/* Plays the recorded session with the input cut at `split` and into pieces of `piece` bytes.
   Returns the length of the session. */
static size_t play(struct peer *p, int stepping, size_t split, size_t piece) {
    stws_subscribe_options named = {.id = "q:1"};
    stws_options o;
    size_t len;
    peer_init(p);
    p->stepping = stepping;
    p->automatic = AUTO_UPGRADE;
    p->split = split;
    p->piece = piece;
    p->on_event = log_headers;
    o = peer_options(p);
    peer_start(p, &o);
    CHECK_INT(1, stws_subscribe(p->client, "/topic/a", NULL));
    CHECK(stws_subscribe(p->client, "/queue/b", &named) > 0);
    peer_drive(p);
    peer_listen(p);
    send_recorded_session(p);
    len = p->out.len;
    peer_turn(p);
    CHECK_INT(STWS_BACKOFF, stws_state(p->client));
    return len;
}

static void test_the_session_in_one_piece(void) {
    struct peer p;
    int stepping;
    for (stepping = 0; stepping < 2; stepping++) {
        play(&p, stepping, 0, 0);
        CHECK_STR(RECORDED_EVENTS, bytes_text(&p.log));
        peer_free(&p);
    }
}

static void test_split_at_every_byte(void) {
    size_t len = 2, i;
    for (i = 1; i < len; i++) {
        struct peer p;
        len = play(&p, (int)(i & 1), i, 0);
        CHECK_STR(RECORDED_EVENTS, bytes_text(&p.log));
        CHECK(p.given == len);
        peer_free(&p);
        if (test_case_failures) break;
    }
    CHECK(len > 700);
    CHECK_INT(len, i);
}

static void test_in_small_pieces(void) {
    size_t piece;
    for (piece = 1; piece < 40; piece++) {
        struct peer p;
        play(&p, (int)(piece & 1), 0, piece);
        CHECK_STR(RECORDED_EVENTS, bytes_text(&p.log));
        peer_free(&p);
    }
}

/* The client's own bytes arrive complete, however few bytes the transport takes at a time. */
static void test_written_in_small_pieces(void) {
    size_t piece;
    for (piece = 1; piece < 20; piece++) {
        struct peer p;
        stws_options o;
        char body[700];
        peer_init(&p);
        p.write_piece = piece;
        o = peer_options(&p);
        peer_start(&p, &o);
        memset(body, 'x', sizeof body);
        stws_subscribe(p.client, "/topic/a", NULL);
        CHECK(peer_connect(&p));
        CHECK_INT(0, stws_send(p.client, "/queue/a", body, sizeof body));
        CHECK_INT(0, stws_send(p.client, "/queue/b", "", 0));
        peer_turn(&p);
        CHECK_STR("CONNECT SUBSCRIBE SEND SEND ", bytes_text(&p.order));
        CHECK_INT(700, peer_sent(&p, "SEND", 0)->frame.body_len);
        peer_free(&p);
    }
}

static void test_a_ping_between_fragments(void) {
    struct peer peer, *p = &peer;
    connected(p, CONNECTED_12);
    stws_subscribe(p->client, "/topic/a", NULL);
    peer_turn(p);
    peer_forget(p);
    WS(STWS_WS_TEXT, 0, "MESSAGE\nsubscription:sub-1\nmessage-id:1\n");
    WS(STWS_WS_PING, 1, "one");
    WS(STWS_WS_CONTINUATION, 0, "destination:/topic/a\n\nfrag");
    WS(STWS_WS_PING, 1, "two");
    peer_turn(p);
    CHECK_STR("two", bytes_text(&p->last_pong));
    WS(STWS_WS_CONTINUATION, 1, "ments\0");
    WS(STWS_WS_PING, 1, "");
    peer_turn(p);
    CHECK_STR("MESSAGE /topic/a 1 fragments\n", bytes_text(&p->log));
    CHECK_STR("", bytes_text(&p->last_pong));
    CHECK_HAS("PONG() ", bytes_text(&p->order));
    peer_free(p);
}

/* ==== a message as the program sees it ==== */

static void look_at_message(struct peer *p, const stws_event *e) {
    const stws_message *m = e->message;
    if (e->type != STWS_EVENT_MESSAGE) return;
    CHECK_STR("/topic/a", m->destination);
    CHECK_STR("7", m->message_id);
    CHECK_STR("sub-1", m->subscription);
    CHECK_STR("text/plain", m->content_type);
    CHECK_STR("a:7", m->ack);
    CHECK_STR("first", stws_header_get(m, "x"));
    CHECK_STR(NULL, stws_header_get(m, "X"));
    CHECK_STR(NULL, stws_header_get(m, "absent"));
    CHECK_INT(5, m->body_len);
    CHECK_MEM("ab\0cd", 6, m->body, m->body_len + 1);
    CHECK_INT(1, m->body_is_utf8);
    CHECK_INT(*(int *)p->extra, m->handle);
    CHECK_INT(1, m->epoch);
    CHECK(m->client == p->client);
    CHECK(stws_user(p->client) == p);
    CHECK_STR("MESSAGE", m->frame.command);
}

static void test_a_message(void) {
    struct peer peer, *p = &peer;
    int handle;
    connected(p, CONNECTED_12);
    p->on_event = look_at_message;
    p->extra = &handle;
    handle = stws_subscribe(p->client, "/topic/a", NULL);
    peer_turn(p);
    WS(STWS_WS_TEXT, 1,
       "MESSAGE\nsubscription:sub-1\nmessage-id:7\ndestination:/topic/a\nack:a\\c7\n"
       "content-type:text/plain\nx:first\nx:second\ncontent-length:5\n\nab\0cd\0");
    peer_turn(p);
    CHECK_STR("CONNECTED\nMESSAGE /topic/a 7 ab\n", bytes_text(&p->log));
    CHECK_INT(1, peer_stats(p).messages_in);
    peer_free(p);
}

static void keep_copy(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_MESSAGE) *(stws_message **)p->extra = stws_message_copy(e->message);
}

static void test_a_copy_outlives_the_client(void) {
    struct peer peer, *p = &peer;
    stws_message *copy = NULL;
    connected(p, CONNECTED_12);
    p->on_event = keep_copy;
    p->extra = &copy;
    WS(STWS_WS_TEXT, 1, "MESSAGE\nsubscription:x\nmessage-id:7\ndestination:/a\nh:v\n\nbody\0");
    peer_turn(p);
    peer_free(p);
    CHECK(copy != NULL);
    if (!copy) return;
    CHECK_STR("/a", copy->destination);
    CHECK_STR("x", copy->subscription);
    CHECK_STR("v", stws_header_get(copy, "h"));
    CHECK_STR("body", copy->body);
    CHECK_INT(4, copy->body_len);
    CHECK_STR(NULL, copy->content_type);
    stws_message_free(copy);
    stws_message_free(NULL);
}

static void count_message(stws *client, const stws_message *message, void *user) {
    (void)client;
    (void)message;
    ++*(int *)user;
}

static void test_a_callback_of_a_subscription(void) {
    struct peer p;
    int count = 0;
    stws_subscribe_options own = {.on_message = count_message, .user = &count};
    connected(&p, CONNECTED_12);
    stws_subscribe(p.client, "/topic/a", &own);
    stws_subscribe(p.client, "/topic/b", NULL);
    peer_turn(&p);
    peer_forget(&p);
    peer_message(&p, "sub-1", "1", "/topic/a", "own");
    peer_message(&p, "sub-2", "2", "/topic/b", "other");
    peer_turn(&p);
    CHECK_INT(1, count);
    CHECK_STR("MESSAGE /topic/b 2 other\n", bytes_text(&p.log));
    peer_free(&p);
}

static void test_a_message_of_an_unknown_subscription(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    peer_message(&p, "/temp-queue/x", "1", "/queue/y", "reply");
    peer_turn(&p);
    CHECK_STR("CONNECTED\nMESSAGE /queue/y 1 reply\n", bytes_text(&p.log));
    CHECK_INT(1, peer_stats(&p).unknown_subscription);
    peer_free(&p);
}

/* A body much larger than the initial buffers, in both directions. */
static void test_a_mebibyte_each_way(void) {
    struct peer p;
    struct bytes b = {0};
    size_t i;
    connected(&p, "CONNECTED\nversion:1.2\nserver:ActiveMQ/6.1.7\nheart-beat:0,0\n\n");
    for (i = 0; i < 1 << 16; i++) bytes_print(&b, "%015d\n", (int)i);
    CHECK_INT(0, stws_send(p.client, "/queue/a", b.data, b.len));
    peer_message(&p, "sub-1", "1", "/topic/a", b.data);
    peer_turn(&p);
    CHECK_MEM(b.data, b.len, peer_sent(&p, "SEND", 0)->frame.body,
              peer_sent(&p, "SEND", 0)->frame.body_len);
    CHECK_HAS("MESSAGE /topic/a 1 000000000000000\n000000000000001\n", bytes_text(&p.log));
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
    bytes_free(&b);
}

/* ==== heart-beats ==== */

/* Connects a client that offers these intervals to a server that answers with these numbers. */
static void beating(struct peer *p, int out_ms, int in_ms, const char *numbers) {
    static char frame[128];
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.heartbeat_out_ms = out_ms;
    o.heartbeat_in_ms = in_ms;
    snprintf(frame, sizeof frame, "CONNECTED\nversion:1.2\n%s%s\n", numbers, *numbers ? "\n" : "");
    p->connected = frame;
    peer_start(p, &o);
    CHECK(peer_connect(p));
}

static void test_our_heart_beat(void) {
    struct peer p;
    beating(&p, 10000, 10000, "heart-beat:0,4000");
    peer_advance(&p, 100000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK(p.longest_silence_us <= 5010000);
    CHECK(p.beats >= 19 && p.beats <= 40);
    CHECK_INT(p.beats, peer_stats(&p).heartbeats_out);
    CHECK_INT(p.beats + 1, p.ws_messages); /* CONNECT, and each heart-beat in its own message */
    peer_free(&p);
}

/* A wait that should end immediately cannot end too late. */
static void test_a_silent_server_after_an_immediate_turn(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.now_us = 86400000000; /* the machine has been running for a day */
    o = peer_options(&p);
    p.connected = "CONNECTED\nversion:1.2\nheart-beat:4000,0\n\n";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK(stws_subscribe(p.client, "/topic/a", NULL) > 0);
    CHECK_INT(0, stws_deadline(p.client));
    peer_turn(&p);
    peer_advance(&p, 60000);
    CHECK(p.retry_ms >= 0);
    CHECK_HAS("heart-beat", bytes_text(&p.why));
    peer_free(&p);
}

/* The larger of the two numbers applies. */
static void test_the_servers_number_is_larger(void) {
    struct peer p;
    beating(&p, 1000, 1000, "heart-beat:20000,20000");
    peer_advance(&p, 59000);
    CHECK(p.beats >= 5 && p.beats <= 12);
    CHECK_INT(1, p.sessions);
    CHECK_STR("CONNECTED\n", bytes_text(&p.log));
    peer_advance(&p, 1100);
    CHECK_STR("CONNECTED\nDISCONNECTED STWS_ERR_HEARTBEAT\n", bytes_text(&p.log));
    peer_free(&p);
}

static void test_any_sent_frame_counts_as_a_heart_beat(void) {
    struct peer p;
    int i;
    beating(&p, 10000, 10000, "heart-beat:0,10000");
    for (i = 0; i < 30; i++) {
        CHECK_INT(0, stws_send(p.client, "/queue/a", "x", 1));
        peer_turn(&p);
        peer_advance(&p, 2000);
    }
    CHECK_INT(0, p.beats);
    peer_free(&p);
}

static void test_the_servers_heart_beat(void) {
    struct peer p;
    beating(&p, STWS_OFF, 1000, "heart-beat:1000,0");
    peer_advance(&p, 2990);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_ws(&p, STWS_WS_TEXT, 1, "\n", 1);
    peer_turn(&p);
    CHECK_INT(1, peer_stats(&p).heartbeats_in);
    peer_advance(&p, 2990);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_advance(&p, 20);
    CHECK_STR("CONNECTED\nDISCONNECTED STWS_ERR_HEARTBEAT\n", bytes_text(&p.log));
    CHECK_INT(0, p.beats);
    CHECK_INT(0, p.is_open);
    CHECK(peer_stats(&p).heartbeat_slack_ms >= 0 && peer_stats(&p).heartbeat_slack_ms <= 20);
    peer_free(&p);
}

static void test_the_grace_is_an_option(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.heartbeat_in_ms = 1000;
    o.heartbeat_grace = 150;
    p.connected = "CONNECTED\nversion:1.2\nheart-beat:1000,0\n\n";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_advance(&p, 1490);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_advance(&p, 20);
    CHECK_INT(STWS_BACKOFF, stws_state(p.client));
    peer_free(&p);
}

static void test_any_byte_is_a_sign_of_life(void) {
    static const char frame[] = "MESSAGE\nsubscription:sub-1\nmessage-id:1\ndestination:/a\n\n";
    struct peer p;
    size_t i;
    beating(&p, STWS_OFF, 1000, "heart-beat:1000,0");
    for (i = 0; i < 10; i++) {
        peer_advance(&p, 2900);
        peer_ws(&p, STWS_WS_PONG, 1, "", 0);
        peer_turn(&p);
    }
    for (i = 0; i < sizeof frame; i++) {
        peer_advance(&p, 2900);
        peer_ws(&p, i == 0 ? STWS_WS_TEXT : STWS_WS_CONTINUATION, i + 1 == sizeof frame, frame + i,
                1);
        peer_turn(&p);
    }
    CHECK_STR("CONNECTED\nMESSAGE /a 1 \n", bytes_text(&p.log));
    peer_free(&p);
}

/* Zero on either side means no heart-beat. So does a missing or malformed header. */
static void test_no_heart_beat(void) {
    static const struct {
        int out, in;
        const char *header;
    } cases[] = {
        {10000, 10000, "heart-beat:0,0"},        {10000, 10000, ""},
        {10000, 10000, "heart-beat:soon,later"}, {10000, 10000, "heart-beat:10000"},
        {10000, 10000, "heart-beat:-1,-1"},      {STWS_OFF, STWS_OFF, "heart-beat:10000,10000"},
        {STWS_OFF, 10000, "heart-beat:0,30000"},
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer p;
        beating(&p, cases[i].out, cases[i].in, cases[i].header);
        peer_advance(&p, 3600000);
        CHECK_INT(STWS_CONNECTED, stws_state(p.client));
        CHECK_INT(0, p.beats);
        peer_free(&p);
    }
}

/* The client's loop was late, but the heart-beats are in the socket. They count before the client
   judges the server. */
static void test_the_socket_is_read_before_the_server_is_judged(void) {
    struct peer p;
    int i;
    beating(&p, STWS_OFF, 1000, "heart-beat:1000,0");
    p.piece = 1;
    peer_sleep(&p, 10000);
    for (i = 0; i < 10; i++) peer_ws(&p, STWS_WS_TEXT, 1, "\n", 1);
    peer_turn(&p);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(10, peer_stats(&p).heartbeats_in);
    CHECK_INT(1, peer_stats(&p).late_loops);
    peer_advance(&p, 2900);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
}

/* ==== receipts ==== */

static int send_with_receipt(struct peer *p) {
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .receipt = 1};
    int number = stws_send_ex(p->client, &m);
    CHECK(number > 0);
    return number;
}

static void check_receipt(const struct peer *p, int number, const char *result) {
    struct bytes line = {0};
    bytes_print(&line, "RECEIPT %d %s\n", number, result);
    CHECK_HAS(line.data, bytes_text(&p->log));
    bytes_free(&line);
}

/* Connects a client and sends a SEND whose RECEIPT has not arrived. Returns the number of the
   receipt. */
static int connected_awaiting_a_receipt(struct peer *p) {
    int number;
    connected(p, CONNECTED_12);
    p->automatic &= ~AUTO_RECEIPT;
    number = send_with_receipt(p);
    peer_turn(p);
    return number;
}

static void test_a_receipt(void) {
    struct peer p;
    int first, second;
    connected(&p, CONNECTED_12);
    p.automatic &= ~AUTO_RECEIPT;
    first = send_with_receipt(&p);
    second = send_with_receipt(&p);
    CHECK(first != second);
    peer_turn(&p);
    CHECK_STR("CONNECTED\n", bytes_text(&p.log));
    peer_advance(&p, 40);
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 1), "receipt"));
    peer_turn(&p);
    check_receipt(&p, second, "STWS_OK");
    CHECK_INT(40000, peer_stats(&p).rtt_us);
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_turn(&p);
    check_receipt(&p, first, "STWS_OK");
    peer_advance(&p, 60000);
    CHECK(strstr(bytes_text(&p.log), "TIMEOUT") == NULL);
    peer_free(&p);
}

static void test_a_receipt_that_never_comes(void) {
    struct peer p;
    int number = connected_awaiting_a_receipt(&p);
    peer_advance(&p, 14900);
    CHECK_STR("CONNECTED\n", bytes_text(&p.log));
    peer_advance(&p, 200);
    check_receipt(&p, number, "STWS_ERR_TIMEOUT");
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    /* Too late, so not reported again. */
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_forget(&p);
    peer_turn(&p);
    CHECK(strstr(bytes_text(&p.log), "STWS_ERR") == NULL);
    peer_free(&p);
}

static void test_a_receipt_that_is_an_error(void) {
    struct peer p;
    struct bytes frame = {0};
    int number, other;
    connected(&p, CONNECTED_12);
    p.automatic &= ~AUTO_RECEIPT;
    number = send_with_receipt(&p);
    other = send_with_receipt(&p);
    peer_turn(&p);
    bytes_print(&frame, "ERROR\nreceipt-id:%s\nmessage:no such queue\n\nsorry",
                sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_stomp(&p, frame.data);
    peer_turn(&p);
    CHECK_HAS("ERROR no such queue\n", bytes_text(&p.log));
    CHECK_HAS("no such queue", bytes_text(&p.why));
    CHECK_HAS("sorry", bytes_text(&p.why));
    check_receipt(&p, number, "STWS_ERR_BROKER");
    peer_end(&p);
    peer_turn(&p);
    check_receipt(&p, other, "STWS_ERR_LOST");
    CHECK_HAS("DISCONNECTED STWS_ERR_BROKER\n", bytes_text(&p.log));
    peer_free(&p);
    bytes_free(&frame);
}

static void test_a_receipt_lost_with_the_connection(void) {
    struct peer p;
    int number = connected_awaiting_a_receipt(&p);
    peer_end(&p);
    peer_turn(&p);
    check_receipt(&p, number, "STWS_ERR_LOST");
    p.automatic |= AUTO_RECEIPT;
    peer_forget(&p);
    CHECK(peer_connect(&p));
    CHECK_INT(0, peer_count(&p, "SEND"));
    peer_free(&p);
}

/* RabbitMQ and Artemis copy the receipt header into the MESSAGE. */
static void test_a_receipt_header_is_not_a_receipt(void) {
    struct peer p;
    struct bytes frame = {0};
    connected(&p, CONNECTED_12);
    p.automatic &= ~AUTO_RECEIPT;
    send_with_receipt(&p);
    peer_turn(&p);
    bytes_print(&frame,
                "MESSAGE\nsubscription:sub-1\nmessage-id:1\ndestination:/a\nreceipt:%s\n\nx",
                sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_stomp(&p, frame.data);
    peer_turn(&p);
    CHECK_STR("CONNECTED\nMESSAGE /a 1 x\n", bytes_text(&p.log));
    peer_free(&p);
    bytes_free(&frame);
}

static void test_a_receipt_for_subscribe(void) {
    struct peer p;
    stws_subscribe_options wanted = {.receipt = 1};
    connected(&p, CONNECTED_12);
    CHECK(stws_subscribe(p.client, "/topic/a", &wanted) > 0);
    peer_turn(&p);
    CHECK(*sent_header(peer_sent(&p, "SUBSCRIBE", 0), "receipt") != 0);
    CHECK_HAS("RECEIPT ", bytes_text(&p.log));
    CHECK_HAS(" STWS_OK\n", bytes_text(&p.log));
    peer_free(&p);
}

static void test_too_many_receipts(void) {
    struct peer p;
    stws_options o;
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .receipt = 1};
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.max_receipts = 8;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    for (i = 0; i < 8; i++) send_with_receipt(&p);
    CHECK_INT(STWS_ERR_LIMIT, stws_send_ex(p.client, &m));
    peer_turn(&p);
    CHECK_INT(8, peer_count(&p, "SEND"));
    peer_advance(&p, 16000);
    send_with_receipt(&p);
    peer_free(&p);
}

/* ==== ACK, NACK, transactions ==== */

/* How to answer each message, and the result of that call. */
struct answering {
    int (*answer)(stws *client, const stws_message *message);
    const char *transaction;
    int result;
};

static void answer_message(struct peer *p, const stws_event *e) {
    struct answering *a = (struct answering *)p->extra;
    if (e->type != STWS_EVENT_MESSAGE) return;
    if (a->transaction)
        a->result = stws_ack_in(p->client, e->message, a->transaction);
    else
        a->result = a->answer(p->client, e->message);
}

/* The client answers one message. Checks the call's result, and the raw frame that the server got
   (NULL: none). */
static void check_answer(const char *version, struct answering a, const char *message, int result,
                         const char *command, const char *raw) {
    struct peer p;
    stws_subscribe_options individual = {.ack = STWS_ACK_CLIENT_INDIVIDUAL};
    connected(&p, version);
    p.on_event = answer_message;
    p.extra = &a;
    stws_subscribe(p.client, "/queue/a", &individual);
    peer_turn(&p);
    CHECK_STR("client-individual", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "ack"));
    peer_stomp(&p, message);
    peer_turn(&p);
    CHECK_STR(stws_result_name(result), stws_result_name(a.result));
    CHECK_STR(raw, peer_sent(&p, command, 0) ? peer_sent(&p, command, 0)->raw : NULL);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
}

static void test_ack_and_nack_in_each_version(void) {
    static const char with_ack[] =
        "MESSAGE\nsubscription:sub-1\nmessage-id:m\\c1\nack:ID\\cvm\\c9\n"
        "destination:/queue/a\n\nx";
    static const char without[] =
        "MESSAGE\nsubscription:sub-1\nmessage-id:m1\ndestination:/queue/a\n\nx";
    struct answering ack = {stws_ack, NULL, 1}, nack = {stws_nack, NULL, 1}, in = {NULL, "tx:1", 1};
    check_answer(CONNECTED_12, ack, with_ack, 0, "ACK", "ACK\nid:ID\\cvm\\c9\n\n");
    check_answer(CONNECTED_12, nack, with_ack, 0, "NACK", "NACK\nid:ID\\cvm\\c9\n\n");
    check_answer(CONNECTED_12, in, with_ack, 0, "ACK",
                 "ACK\nid:ID\\cvm\\c9\ntransaction:tx\\c1\n\n");
    check_answer(CONNECTED_12, ack, without, 0, "ACK", "ACK\nid:m1\n\n");
    check_answer(CONNECTED_11, ack, with_ack, 0, "ACK",
                 "ACK\nmessage-id:m\\c1\nsubscription:sub-1\n\n");
    check_answer(CONNECTED_11, nack, without, 0, "NACK",
                 "NACK\nmessage-id:m1\nsubscription:sub-1\n\n");
    check_answer(CONNECTED_10, ack, without, 0, "ACK", "ACK\nmessage-id:m1\n\n");
    check_answer(CONNECTED_10, nack, without, STWS_ERR_FRAME_BUILD, "NACK", NULL);
}

static void test_a_transaction(void) {
    struct peer p;
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .transaction = "tx"};
    connected(&p, CONNECTED_12);
    peer_forget(&p);
    CHECK_INT(0, stws_begin(p.client, "tx"));
    CHECK_INT(0, stws_send_ex(p.client, &m));
    CHECK_INT(0, stws_commit(p.client, "tx"));
    CHECK_INT(0, stws_begin(p.client, "ty"));
    CHECK_INT(0, stws_abort(p.client, "ty"));
    CHECK_INT(STWS_ERR_USAGE, stws_begin(p.client, ""));
    CHECK_INT(STWS_ERR_USAGE, stws_begin(p.client, NULL));
    peer_turn(&p);
    CHECK_STR("BEGIN SEND COMMIT BEGIN ABORT ", bytes_text(&p.order));
    CHECK_STR("BEGIN\ntransaction:tx\n\n", peer_sent(&p, "BEGIN", 0)->raw);
    CHECK_STR("tx", sent_header(peer_sent(&p, "SEND", 0), "transaction"));
    CHECK_STR("COMMIT\ntransaction:tx\n\n", peer_sent(&p, "COMMIT", 0)->raw);
    CHECK_STR("ABORT\ntransaction:ty\n\n", peer_sent(&p, "ABORT", 0)->raw);
    peer_free(&p);
}

/* ==== SUBSCRIBE, UNSUBSCRIBE, SEND ==== */

static void test_subscribe_and_unsubscribe(void) {
    static const char *const headers[] = {"selector", "a = 'b:c'", "prefetch-count", "5", NULL};
    stws_subscribe_options full = {.id = "mine", .ack = STWS_ACK_CLIENT, .headers = headers};
    struct peer p;
    int a, b;
    connected(&p, CONNECTED_12);
    peer_forget(&p);
    a = stws_subscribe(p.client, "/topic/a", NULL);
    b = stws_subscribe(p.client, "/queue/b", &full);
    CHECK(a > 0 && b > 0 && a != b);
    peer_turn(&p);
    CHECK_STR("SUBSCRIBE SUBSCRIBE ", bytes_text(&p.order));
    CHECK_STR("/topic/a", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "destination"));
    CHECK(*sent_header(peer_sent(&p, "SUBSCRIBE", 0), "id") != 0);
    CHECK_STR("mine", sent_header(peer_sent(&p, "SUBSCRIBE", 1), "id"));
    CHECK_STR("client", sent_header(peer_sent(&p, "SUBSCRIBE", 1), "ack"));
    CHECK_STR("a = 'b:c'", sent_header(peer_sent(&p, "SUBSCRIBE", 1), "selector"));
    CHECK_STR("5", sent_header(peer_sent(&p, "SUBSCRIBE", 1), "prefetch-count"));
    CHECK_INT(STWS_ERR_USAGE, stws_subscribe(p.client, "/queue/c", &full));
    CHECK_INT(0, stws_unsubscribe(p.client, b));
    CHECK_INT(STWS_ERR_USAGE, stws_unsubscribe(p.client, b));
    peer_turn(&p);
    CHECK_STR("UNSUBSCRIBE\nid:mine\n\n", peer_sent(&p, "UNSUBSCRIBE", 0)->raw);
    CHECK_INT(1, peer_count(&p, "UNSUBSCRIBE"));
    peer_free(&p);
}

static void test_arguments_that_are_refused(void) {
    static const char *const odd[] = {"name", NULL};
    static const char *const lies[] = {"content-length", "7", NULL};
    stws_subscribe_options bad = {.headers = odd};
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .headers = lies};
    struct peer p;
    connected(&p, CONNECTED_11);
    CHECK_INT(STWS_ERR_USAGE, stws_subscribe(p.client, NULL, NULL));
    CHECK_INT(STWS_ERR_USAGE, stws_subscribe(p.client, "", NULL));
    CHECK_INT(STWS_ERR_USAGE, stws_subscribe(p.client, "/a", &bad));
    /* STOMP 1.1 cannot encode CR. */
    CHECK_INT(STWS_ERR_FRAME_BUILD, stws_subscribe(p.client, "/a\rb", NULL));
    CHECK_INT(STWS_ERR_USAGE, stws_send(p.client, NULL, "x", 1));
    CHECK_INT(STWS_ERR_USAGE, stws_send(p.client, "/a", NULL, 1));
    CHECK_INT(STWS_ERR_FRAME_BUILD, stws_send(p.client, "/a\rb", "x", 1));
    CHECK_INT(STWS_ERR_FRAME_BUILD, stws_send_ex(p.client, &m));
    CHECK(stws_unsubscribe(p.client, 77) < 0);
    CHECK(stws_unsubscribe(p.client, -1) < 0);
    CHECK(stws_unsubscribe(p.client, 0) < 0);
    peer_turn(&p);
    CHECK_STR("CONNECT ", bytes_text(&p.order));
    peer_free(&p);
}

static void test_a_full_subscription_table(void) {
    struct peer p;
    stws_options o;
    int handles[4], i;
    peer_init(&p);
    o = peer_options(&p);
    o.max_subscriptions = 4;
    o.subscription_bytes = 1024;
    peer_start(&p, &o);
    for (i = 0; i < 4; i++) CHECK((handles[i] = stws_subscribe(p.client, "/topic/a", NULL)) > 0);
    CHECK_INT(STWS_ERR_LIMIT, stws_subscribe(p.client, "/topic/a", NULL));
    CHECK(peer_connect(&p));
    CHECK_INT(4, peer_count(&p, "SUBSCRIBE"));
    for (i = 0; i < 1000; i++) {
        CHECK_INT(0, stws_unsubscribe(p.client, handles[i % 4]));
        CHECK((handles[i % 4] = stws_subscribe(p.client, "/topic/b", NULL)) > 0);
        peer_turn(&p);
    }
    CHECK_INT(1004, peer_count(&p, "SUBSCRIBE"));
    CHECK_INT(1000, peer_count(&p, "UNSUBSCRIBE"));
    peer_free(&p);
}

/* ==== ids chosen by the program: found by hash, in chains ==== */

enum { MANY_OWN = 500 };

/* For each id: its handle (0: not subscribed) and how many messages its callback got. */
struct own_ids {
    struct peer peer;
    int count, handles[MANY_OWN], had[MANY_OWN];
};

static void own_begin(struct own_ids *all, int count, int max_subscriptions) {
    stws_options o;
    memset(all, 0, sizeof *all);
    all->count = count;
    peer_init(&all->peer);
    all->peer.stepping = 1;
    o = peer_options(&all->peer);
    o.max_subscriptions = max_subscriptions;
    o.subscription_bytes = 64;
    peer_start(&all->peer, &o);
    CHECK(peer_connect(&all->peer));
}

/* The ids with one digit are prefixes of the ids with two and three digits. */
static void own_id(char id[16], int i) {
    snprintf(id, 16, "own-%d", i);
}

static int own_subscribe(struct own_ids *all, int i) {
    char id[16];
    stws_subscribe_options own = {.id = id, .on_message = count_message, .user = &all->had[i]};
    own_id(id, i);
    return stws_subscribe(all->peer.client, "/topic/a", &own);
}

static void own_enter(struct own_ids *all, int i) {
    CHECK((all->handles[i] = own_subscribe(all, i)) > 0);
}

static void own_leave(struct own_ids *all, int i) {
    CHECK_INT(0, stws_unsubscribe(all->peer.client, all->handles[i]));
    all->handles[i] = 0;
}

/* Sends a message to each id. The message must reach the callback of its subscription, if there is
   one. Subscribing with an id that is in use must be refused. */
static void own_check(struct own_ids *all) {
    unsigned long long unknown_before = peer_stats(&all->peer).unknown_subscription;
    int i, absent = 0;
    memset(all->had, 0, sizeof all->had);
    peer_turn(&all->peer);
    for (i = 0; i < all->count; i++) {
        char id[16];
        own_id(id, i);
        peer_message(&all->peer, id, "1", "/topic/a", "x");
        peer_turn(&all->peer);
        CHECK_INT(all->handles[i] != 0, all->had[i]);
        if (all->handles[i]) CHECK_INT(STWS_ERR_USAGE, own_subscribe(all, i));
        absent += !all->handles[i];
    }
    CHECK_INT(absent, peer_stats(&all->peer).unknown_subscription - unknown_before);
    peer_forget(&all->peer);
}

static void own_reconnect(struct own_ids *all) {
    int i, present = 0;
    for (i = 0; i < all->count; i++) present += all->handles[i] != 0;
    peer_cut(&all->peer);
    CHECK(peer_connect(&all->peer));
    CHECK_INT(present, peer_count(&all->peer, "SUBSCRIBE"));
    own_check(all);
}

/* A table of three slots, with every combination of three of twelve ids. Whatever the hash is, some
   combinations are all in one chain. The last id of the chain is removed and added again, then the
   second, then the first. */
static void test_custom_ids_that_collide(void) {
    struct own_ids all;
    int n;
    own_begin(&all, 12, 3);
    for (n = 0; n < 12 * 12 * 12; n++) {
        int own[3] = {n / 144, n / 12 % 12, n % 12}, i;
        if (own[0] >= own[1] || own[1] >= own[2]) continue;
        for (i = 0; i < 3; i++) own_enter(&all, own[i]);
        own_check(&all);
        for (i = 2; i >= 0; i--) {
            own_leave(&all, own[i]);
            own_check(&all);
            own_enter(&all, own[i]);
            own_check(&all);
        }
        own_reconnect(&all);
        for (i = 0; i < 3; i++) own_leave(&all, own[(i + n) % 3]);
        own_check(&all);
    }
    peer_free(&all.peer);
}

static void test_many_custom_ids(void) {
    static struct own_ids all;
    int i;
    own_begin(&all, MANY_OWN, 400);
    for (i = 0; i < 400; i++) own_enter(&all, i);
    CHECK_INT(STWS_ERR_LIMIT, own_subscribe(&all, 400));
    own_check(&all);
    for (i = 0; i < 400; i += 3) own_leave(&all, i);
    own_check(&all);
    for (i = 399; i >= 300; i -= 3) own_enter(&all, i);
    for (i = 400; i < MANY_OWN; i++) own_enter(&all, i);
    own_reconnect(&all);
    for (i = MANY_OWN - 1; i >= 0; i--)
        if (all.handles[i]) own_leave(&all, i);
    own_check(&all);
    for (i = 0; i < 400; i++) own_enter(&all, i);
    own_reconnect(&all);
    peer_free(&all.peer);
}

/* The program's id looks like one of the library's ids, for a handle not given out yet. The library
   must skip that handle. */
static void test_a_custom_id_like_a_generated_one(void) {
    stws_subscribe_options own = {.id = "sub-3"};
    struct peer p;
    connected(&p, CONNECTED_12);
    CHECK_INT(1, stws_subscribe(p.client, "/topic/a", &own));
    CHECK_INT(2, stws_subscribe(p.client, "/topic/b", NULL));
    CHECK_INT(4, stws_subscribe(p.client, "/topic/c", NULL));
    own.id = "sub-4";
    CHECK_INT(STWS_ERR_USAGE, stws_subscribe(p.client, "/topic/d", &own));
    peer_free(&p);
}

static void test_send(void) {
    static const char *const headers[] = {"x:y", "a\nb\\", "empty", "", NULL};
    stws_outgoing m = {.destination = "/queue/a",
                       .body = "a\0b",
                       .body_len = 3,
                       .content_type = "application/json",
                       .headers = headers};
    stws_outgoing text = {.destination = "/queue/a",
                          .body = "text",
                          .body_len = 4,
                          .content_length = STWS_CONTENT_LENGTH_OMIT};
    const struct sent *s;
    struct peer p;
    connected(&p, CONNECTED_12);
    CHECK_INT(0, stws_send_ex(p.client, &m));
    CHECK_INT(0, stws_send_ex(p.client, &text));
    CHECK_INT(0, stws_send(p.client, "/queue/b", NULL, 0));
    peer_turn(&p);
    s = peer_sent(&p, "SEND", 0);
    CHECK_STR("/queue/a", sent_header(s, "destination"));
    CHECK_STR("application/json", sent_header(s, "content-type"));
    CHECK_STR("3", sent_header(s, "content-length"));
    CHECK_STR("a\nb\\", sent_header(s, "x:y"));
    CHECK_STR("", sent_header(s, "empty"));
    CHECK_HAS("\nx\\cy:a\\nb\\\\\n", s->raw);
    CHECK_MEM("a\0b", 3, s->frame.body, s->frame.body_len);
    CHECK_STR("SEND\ndestination:/queue/a\n\ntext", peer_sent(&p, "SEND", 1)->raw);
    CHECK_INT(0, peer_sent(&p, "SEND", 2)->frame.body_len);
    CHECK_INT(3, peer_stats(&p).messages_out);
    peer_free(&p);
}

/* Frames are collected, and the next driving call writes them together. */
static void test_sends_are_batched(void) {
    struct peer p;
    unsigned long long before;
    int i;
    connected(&p, CONNECTED_12);
    before = peer_stats(&p).writes;
    for (i = 0; i < 50; i++) CHECK_INT(0, stws_send(p.client, "/queue/a", "0123456789", 10));
    CHECK_INT(before, peer_stats(&p).writes);
    peer_turn(&p);
    CHECK_INT(before + 1, peer_stats(&p).writes);
    CHECK_INT(50, peer_count(&p, "SEND"));
    peer_free(&p);
}

/* ==== large frames, and the kind of their WebSocket messages ==== */

/* Sends a body of 30,001 bytes, mostly of three-byte characters. Checks the WebSocket messages that
   carry it. */
static void check_cut(const char *server, size_t max_ws_message, size_t largest, int messages) {
    struct peer p;
    struct bytes body = {0}, frame = {0};
    stws_options o;
    int i;
    for (i = 0; i < 10000; i++) bytes_add(&body, "\xE2\x82\xAC", 3);
    bytes_add(&body, "!", 1);
    bytes_print(&frame, "CONNECTED\nversion:1.2\nheart-beat:0,0\n%s\n", server);
    peer_init(&p);
    o = peer_options(&p);
    o.max_ws_message = max_ws_message;
    p.connected = frame.data;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_forget(&p);
    CHECK_INT(0, stws_send(p.client, "/queue/a", body.data, body.len));
    CHECK_INT(0, stws_send(p.client, "/queue/b", "x", 1));
    peer_turn(&p);
    CHECK_INT(messages, peer_sent(&p, "SEND", 0)->ws_messages);
    CHECK_INT(1, peer_sent(&p, "SEND", 1)->ws_messages);
    CHECK(p.ws_largest <= largest);
    CHECK_INT(STWS_WS_TEXT, peer_sent(&p, "SEND", 0)->opcode);
    CHECK_MEM(body.data, body.len, peer_sent(&p, "SEND", 0)->frame.body,
              peer_sent(&p, "SEND", 0)->frame.body_len);
    peer_free(&p);
    bytes_free(&body);
    bytes_free(&frame);
}

static void test_large_frames_are_cut_for_each_broker(void) {
    check_cut("", 0, 8192, 4);
    check_cut("server:RabbitMQ/3.10.8\n", 0, 8192, 4);
    check_cut("server:ActiveMQ-Artemis/2.44.0 ActiveMQ Artemis Messaging Engine\n", 0, 8192, 4);
    check_cut("server:ActiveMQ/6.1.7\n", 0, 40000, 1);
    check_cut("server:unheard-of/1.0\n", 0, 40000, 1);
    check_cut("", STWS_WHOLE, 40000, 1);
    check_cut("server:ActiveMQ/6.1.7\n", 16384, 16384, 2);
}

/* Frames of every length around the limit. */
static void test_frames_around_the_limit(void) {
    struct peer p;
    char body[8300];
    size_t len;
    connected(&p, CONNECTED_12);
    memset(body, 'x', sizeof body);
    for (len = 8100; len < sizeof body; len++) {
        peer_forget(&p);
        CHECK_INT(0, stws_send(p.client, "/queue/a", body, len));
        peer_turn(&p);
        CHECK(p.ws_largest <= 8192);
        CHECK_INT(peer_sent(&p, "SEND", 0)->raw_len > 8192 ? 2 : 1,
                  peer_sent(&p, "SEND", 0)->ws_messages);
    }
    peer_free(&p);
}

static void test_text_or_binary(void) {
    static const char invalid[] = "\xC3(";
    struct peer p;
    stws_options o;
    char large[20000];
    connected(&p, CONNECTED_12);
    memset(large, 0xFF, sizeof large);
    CHECK_INT(0, stws_send(p.client, "/queue/a", "gr\xC3\xBC\xC3\x9F", 6));
    CHECK_INT(0, stws_send(p.client, "/queue/a", invalid, 2));
    CHECK_INT(0, stws_send(p.client, "/queue/a", large, sizeof large));
    peer_turn(&p);
    CHECK_INT(STWS_WS_TEXT, peer_sent(&p, "SEND", 0)->opcode);
    CHECK_INT(STWS_WS_BINARY, peer_sent(&p, "SEND", 1)->opcode);
    CHECK_INT(STWS_WS_BINARY, peer_sent(&p, "SEND", 2)->opcode);
    CHECK_INT(3, peer_sent(&p, "SEND", 2)->ws_messages);
    peer_free(&p);
    peer_init(&p);
    o = peer_options(&p);
    o.binary = 1;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_send(p.client, "/queue/a", "plain", 5));
    peer_turn(&p);
    CHECK_INT(STWS_WS_BINARY, peer_sent(&p, "SEND", 0)->opcode);
    peer_free(&p);
}

static void note_utf8(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_MESSAGE) *(int *)p->extra = e->message->body_is_utf8;
}

#define BINARY_BODY "MESSAGE\nsubscription:sub-1\nmessage-id:1\ndestination:/a\n\n\xFF\xFE\0"

/* RabbitMQ sends binary bodies in text messages. */
static void test_text_that_is_not_utf8(void) {
    struct peer peer, *p = &peer;
    int is_utf8 = -1;
    stws_options o;
    connected(p, CONNECTED_12);
    p->on_event = note_utf8;
    p->extra = &is_utf8;
    WS(STWS_WS_TEXT, 1, BINARY_BODY);
    peer_turn(p);
    CHECK_INT(0, is_utf8);
    CHECK_STR("CONNECTED\nMESSAGE /a 1 \xFF\xFE\n", bytes_text(&p->log));
    CHECK_INT(1, peer_stats(p).invalid_utf8);
    WS(STWS_WS_BINARY, 1, BINARY_BODY);
    peer_turn(p);
    CHECK_INT(1, peer_stats(p).invalid_utf8);
    peer_free(p);
    peer_init(p);
    o = peer_options(p);
    o.utf8 = STWS_UTF8_STRICT;
    peer_start(p, &o);
    CHECK(peer_connect(p));
    WS(STWS_WS_BINARY, 1, BINARY_BODY);
    peer_turn(p);
    CHECK_INT(STWS_CONNECTED, stws_state(p->client));
    WS(STWS_WS_TEXT, 1, BINARY_BODY);
    peer_turn(p);
    CHECK_INT(1007, p->close_code);
    CHECK_HAS("DISCONNECTED STWS_ERR_WS_UTF8\n", bytes_text(&p->log));
    peer_free(p);
}

/* ==== the end ==== */

static void test_disconnect(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    p.automatic &= ~AUTO_RECEIPT;
    CHECK_INT(0, stws_send(p.client, "/queue/a", "last", 4));
    CHECK_INT(0, stws_disconnect(p.client, 5000));
    CHECK(stws_send(p.client, "/queue/a", "too late", 8) < 0);
    peer_turn(&p);
    CHECK_INT(STWS_CLOSING, stws_state(p.client));
    CHECK_STR("CONNECT SEND DISCONNECT ", bytes_text(&p.order));
    peer_message(&p, "sub-1", "1", "/a", "still comes");
    peer_turn(&p);
    CHECK_HAS("MESSAGE /a 1 still comes\n", bytes_text(&p.log));
    peer_advance(&p, 100);
    peer_receipt(&p, sent_header(peer_sent(&p, "DISCONNECT", 0), "receipt"));
    peer_turn(&p);
    CHECK_STR("CONNECT SEND DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
    CHECK_INT(STWS_CLOSED, p.ended);
    CHECK_INT(STWS_CLOSED, stws_run(p.client) == 0 ? STWS_CLOSED : 1);
    CHECK_STR("", stws_error_text(p.client));
    CHECK_INT(STWS_CLOSED, stws_send(p.client, "/queue/a", "x", 1));
    peer_free(&p);
}

/* Spring answers DISCONNECT like this. It is the requested end, so it is not an error. */
static void test_disconnect_answered_by_error_and_1002(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    p.automatic &= ~AUTO_RECEIPT;
    stws_disconnect(p.client, 5000);
    peer_turn(&p);
    peer_stomp(&p, "ERROR\nmessage:Session closed.\ncontent-length:0\n\n");
    peer_close(&p, 1002, "");
    peer_end(&p);
    peer_turn(&p);
    CHECK_STR("CONNECTED\nDISCONNECTED STWS_CLOSED\nEND STWS_CLOSED\n", bytes_text(&p.log));
    CHECK_STR("", stws_error_text(p.client));
    peer_free(&p);
}

/* RabbitMQ closes without a RECEIPT; Artemis disconnects without a close frame. */
static void test_disconnect_answered_by_the_end(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    p.automatic &= ~AUTO_RECEIPT;
    stws_disconnect(p.client, 5000);
    peer_turn(&p);
    peer_close(&p, 1000, "STOMP died");
    peer_turn(&p);
    CHECK_STR("CONNECTED\nDISCONNECTED STWS_CLOSED\nEND STWS_CLOSED\n", bytes_text(&p.log));
    peer_free(&p);
    connected(&p, CONNECTED_12);
    p.automatic &= ~AUTO_RECEIPT;
    stws_disconnect(p.client, 5000);
    peer_turn(&p);
    peer_end(&p);
    peer_turn(&p);
    CHECK_STR("CONNECTED\nDISCONNECTED STWS_CLOSED\nEND STWS_CLOSED\n", bytes_text(&p.log));
    peer_free(&p);
}

static void test_disconnect_without_an_answer(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    p.automatic = 0;
    stws_disconnect(p.client, 3000);
    peer_turn(&p);
    peer_advance(&p, 2900);
    CHECK_INT(STWS_CLOSING, stws_state(p.client));
    peer_advance(&p, 200);
    CHECK_INT(STWS_CLOSED, p.ended);
    CHECK_HAS("DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
    peer_free(&p);
}

/* The end was requested. A reconnect request neither shortens nor restarts it. */
static void test_disconnect_and_then_reconnect(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    p.automatic = 0;
    stws_disconnect(p.client, 3000);
    stws_reconnect_now(p.client);
    peer_turn(&p);
    peer_advance(&p, 2900);
    CHECK_INT(STWS_CLOSING, stws_state(p.client));
    peer_advance(&p, 200);
    CHECK_INT(STWS_CLOSED, p.ended);
    CHECK_INT(1, p.sessions);
    CHECK_HAS("DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
    peer_free(&p);
}

/* The RECEIPT arrives, but then the server waits for the client to close, as Spring does. */
static void test_disconnect_without_an_answer_to_the_close(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    p.automatic = AUTO_RECEIPT;
    stws_disconnect(p.client, 3000);
    peer_turn(&p);
    peer_advance(&p, 3100);
    CHECK_INT(STWS_CLOSED, p.ended);
    CHECK_STR("CONNECT DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
    peer_free(&p);
}

static void test_error_without_a_close(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    peer_stomp(&p, "ERROR\nmessage:Processing error\n\nbecause");
    peer_turn(&p);
    CHECK_STR("CONNECTED\nERROR Processing error\n", bytes_text(&p.log));
    peer_advance(&p, 1900);
    CHECK_INT(1, p.is_open);
    peer_advance(&p, 200);
    CHECK_INT(0, p.is_open);
    CHECK(p.close_code != 0);
    CHECK_STR("CONNECTED\nERROR Processing error\nDISCONNECTED STWS_ERR_BROKER\n",
              bytes_text(&p.log));
    CHECK(strstr(bytes_text(&p.order), "DISCONNECT") == NULL);
    CHECK_HAS("Processing error", bytes_text(&p.why));
    CHECK_HAS("because", bytes_text(&p.why));
    CHECK(peer_connect(&p));
    peer_free(&p);
}

static void test_the_servers_close_is_answered(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    p.automatic &= ~AUTO_CLOSE;
    peer_close(&p, 1001, "restart");
    peer_turn(&p);
    CHECK_STR("CONNECT CLOSE(1001) ", bytes_text(&p.order));
    CHECK_INT(1001, stws_close_code(p.client));
    CHECK_INT(0, p.is_open);
    peer_free(&p);
}

/* A server that stops reading. */
static void test_a_stalled_server(void) {
    struct peer p;
    connected(&p, CONNECTED_12);
    p.write_blocked = 1;
    CHECK_INT(0, stws_send(p.client, "/queue/a", "x", 1));
    peer_turn(&p);
    peer_advance(&p, 29900);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_advance(&p, 200);
    CHECK(p.retry_ms >= 0);
    CHECK_HAS("write_timeout_ms", bytes_text(&p.why));
    CHECK_INT(0, p.is_open);
    peer_free(&p);
}

/* A heart-beat that is due while nothing can be written must wait, and the client must not loop. */
static void test_a_stalled_server_that_wants_heart_beats(void) {
    struct peer p;
    beating(&p, 10000, 10000, "heart-beat:0,4000");
    p.write_blocked = 1;
    CHECK_INT(0, stws_send(p.client, "/queue/a", "x", 1));
    peer_turn(&p);
    peer_advance(&p, 20000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    p.write_blocked = 0;
    peer_turn(&p);
    peer_advance(&p, 20000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK(p.beats >= 3);
    peer_free(&p);
}

/* ==== the trace ==== */

static void keep_trace(stws *client, stws_direction direction, const stws_frame *frame,
                       void *user) {
    struct bytes *trace = (struct bytes *)((struct peer *)user)->extra;
    (void)client;
    bytes_print_traced(trace, direction, frame);
    bytes_print(trace, "\n");
}

static void test_the_trace_holds_no_secret(void) {
    static const char *const http[] = {"Authorization", "Bearer hush1", "X-Open", "seen", NULL};
    static const char *const more[] = {"Authorization", "Bearer hush4", "client-id", "me", NULL};
    struct bytes trace = {0};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.url = "ws://broker.test/stomp?access_token=hush5";
    o.login = "guest";
    o.passcode = "hush2";
    o.cookie = "session=hush3";
    o.http_headers = http;
    o.connect_headers = more;
    o.on_trace = keep_trace;
    p.extra = &trace;
    p.answer =
        "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: @\r\n"
        "Set-Cookie: a=hush6\r\n\r\n";
    peer_start(&p, &o);
    stws_subscribe(p.client, "/topic/a", NULL);
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "1", "/topic/a", "x");
    stws_disconnect(p.client, 1000);
    peer_turn(&p);
    CHECK_INT(STWS_CLOSED, p.ended);
    CHECK(strstr(trace.data, "hush") == NULL);
    CHECK_HAS("> GET /stomp", trace.data);
    CHECK_HAS("< HTTP/1.1 101", trace.data);
    CHECK_HAS("> CONNECT accept-version=1.0,1.1,1.2", trace.data);
    CHECK_HAS("login=guest", trace.data);
    CHECK_HAS("passcode=***", trace.data);
    CHECK_HAS("client-id=me", trace.data);
    CHECK_HAS("< CONNECTED", trace.data);
    CHECK_HAS("> SUBSCRIBE id=sub-1 destination=/topic/a", trace.data);
    CHECK_HAS("< MESSAGE", trace.data);
    CHECK_HAS("> DISCONNECT", trace.data);
    CHECK_HAS("< RECEIPT", trace.data);
    peer_free(&p);
    bytes_free(&trace);
}

int main(void) {
    RUN(test_the_upgrade_request); /* [S2] */
    RUN(test_no_origin_unless_requested);
    RUN(test_the_connect_frame); /* [S2] */
    RUN(test_fewer_versions);
    RUN(test_the_broker_is_recognised);
    RUN(test_the_session_in_one_piece);
    RUN(test_split_at_every_byte);
    RUN(test_in_small_pieces);
    RUN(test_written_in_small_pieces);
    RUN(test_a_ping_between_fragments);
    RUN(test_a_message); /* [Y4] */
    RUN(test_a_copy_outlives_the_client);
    RUN(test_a_callback_of_a_subscription);
    RUN(test_a_message_of_an_unknown_subscription);
    RUN(test_a_mebibyte_each_way);
    RUN(test_our_heart_beat); /* [H2] */
    RUN(test_a_silent_server_after_an_immediate_turn);
    RUN(test_the_servers_number_is_larger);          /* [H1] */
    RUN(test_any_sent_frame_counts_as_a_heart_beat); /* [H2] */
    RUN(test_the_servers_heart_beat);
    RUN(test_the_grace_is_an_option);                         /* [H3] */
    RUN(test_any_byte_is_a_sign_of_life);                     /* [H3] */
    RUN(test_no_heart_beat);                                  /* [H1] */
    RUN(test_the_socket_is_read_before_the_server_is_judged); /* [H3] */
    RUN(test_a_receipt);                                      /* [E9] */
    RUN(test_a_receipt_that_never_comes);                     /* [E9] */
    RUN(test_a_receipt_that_is_an_error);                     /* [E9] */
    RUN(test_a_receipt_lost_with_the_connection);             /* [E9] */
    RUN(test_a_receipt_header_is_not_a_receipt);
    RUN(test_a_receipt_for_subscribe);
    RUN(test_too_many_receipts);
    RUN(test_ack_and_nack_in_each_version);
    RUN(test_a_transaction);
    RUN(test_subscribe_and_unsubscribe);
    RUN(test_arguments_that_are_refused);
    RUN(test_a_full_subscription_table);
    RUN(test_custom_ids_that_collide);
    RUN(test_many_custom_ids);
    RUN(test_a_custom_id_like_a_generated_one);
    RUN(test_send);
    RUN(test_sends_are_batched);
    RUN(test_large_frames_are_cut_for_each_broker); /* [L1] */
    RUN(test_frames_around_the_limit);
    RUN(test_text_or_binary); /* [L2] */
    RUN(test_text_that_is_not_utf8);
    RUN(test_disconnect);
    RUN(test_disconnect_answered_by_error_and_1002);
    RUN(test_disconnect_answered_by_the_end);
    RUN(test_disconnect_without_an_answer);
    RUN(test_disconnect_and_then_reconnect);
    RUN(test_disconnect_without_an_answer_to_the_close);
    RUN(test_error_without_a_close); /* [E10] */
    RUN(test_the_servers_close_is_answered);
    RUN(test_a_stalled_server);
    RUN(test_a_stalled_server_that_wants_heart_beats);
    RUN(test_the_trace_holds_no_secret);
    return test_report();
}
