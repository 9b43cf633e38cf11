/* test_resume.c - tests the change from one session to the next: back-off, what is resent and in
   which order, and the hooks before it. Also tests the end of a client, requested in every state
   and from every callback. The server is scripted. */
#include "scripted.h"

/* ==== back-off ==== */

/* Runs a client whose first n attempts fail. Returns the delay before each next attempt in
   `delays`. */
static void failing(struct peer *p, unsigned long long seed, int jitter, int n, long long *delays) {
    stws_options o;
    int i;
    peer_init(p);
    p->seed = seed;
    o = peer_options(p);
    o.reconnect_min_ms = 1000;
    o.reconnect_max_ms = 8000;
    o.reconnect_factor = 200;
    o.reconnect_jitter = jitter;
    p->open_result = STWS_ERR_CONNECT;
    peer_start(p, &o);
    for (i = 0; i < n; i++) {
        peer_turn(p);
        CHECK_INT(i + 1, p->sessions);
        CHECK_INT(STWS_BACKOFF, stws_state(p->client));
        delays[i] = p->retry_ms;
        peer_advance(p, p->retry_ms - 1);
        CHECK_INT(i + 1, p->sessions);
        peer_advance(p, 1);
    }
}

static void test_the_delay_grows_up_to_its_cap(void) {
    static const long long expected[] = {1000, 2000, 4000, 8000, 8000, 8000};
    long long delays[6];
    struct peer p;
    int i;
    failing(&p, 1, STWS_OFF, 6, delays);
    for (i = 0; i < 6; i++) CHECK_INT(expected[i], delays[i]);
    peer_free(&p);
}

/* The jitter stays in its bounds and varies. */
static void check_jitter(int jitter, int lowest_percent, int highest_percent) {
    static const long long base[] = {1000, 2000, 4000, 8000};
    long long delays[4], least = 1 << 20, most = 0;
    unsigned long long seed;
    int i;
    for (seed = 1; seed <= 30; seed++) {
        struct peer p;
        failing(&p, seed, jitter, 4, delays);
        for (i = 0; i < 4; i++) {
            CHECK(delays[i] >= base[i] * lowest_percent / 100);
            CHECK(delays[i] <= base[i] * highest_percent / 100);
        }
        if (delays[2] < least) least = delays[2];
        if (delays[2] > most) most = delays[2];
        peer_free(&p);
    }
    CHECK(most - least > base[2] * (highest_percent - lowest_percent) / 200);
}

static void test_the_jitter(void) {
    check_jitter(0, 0, 100);
    check_jitter(-100, 0, 100);
    check_jitter(-50, 50, 100);
    check_jitter(25, 100, 125);
}

static void test_a_stable_session_resets_the_delay(void) {
    long long delays[3];
    struct peer p;
    failing(&p, 1, STWS_OFF, 3, delays);
    p.open_result = STWS_DONE;
    CHECK(peer_connect(&p));
    peer_advance(&p, 4900);
    peer_end(&p);
    peer_turn(&p);
    CHECK_INT(8000, p.retry_ms); /* not stable yet, so it counts as one more failure */
    CHECK(peer_connect(&p));
    peer_advance(&p, 5100);
    peer_end(&p);
    peer_turn(&p);
    CHECK_INT(1000, p.retry_ms);
    CHECK_INT(2, peer_stats(&p).sessions);
    CHECK_INT(1, peer_stats(&p).reconnects);
    peer_free(&p);
}

static void test_the_last_attempt_fails(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.reconnect_attempts = 3;
    p.open_result = STWS_ERR_CONNECT;
    p.trouble = "Connection refused";
    peer_start(&p, &o);
    peer_turn(&p);
    peer_advance(&p, 60000);
    CHECK_STR("STWS_ERR_GAVE_UP", stws_result_name(p.ended));
    CHECK(p.sessions == 3 || p.sessions == 4);
    CHECK_HAS("Connection refused", bytes_text(&p.why));
    peer_free(&p);
}

/* With reconnect_attempts = 1, one attempt is made. */
static void test_one_attempt_after_a_stable_session(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.reconnect_attempts = 1;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_advance(&p, 10000);
    peer_end(&p);
    peer_turn(&p);
    CHECK_INT(0, p.ended);
    peer_advance(&p, 2000);
    CHECK_INT(2, p.sessions);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
}

static void test_no_reconnect(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.reconnect = STWS_OFF;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_end(&p);
    peer_turn(&p);
    CHECK_STR("CONNECTED\nDISCONNECTED STWS_ERR_EOF\nEND STWS_ERR_EOF\n", bytes_text(&p.log));
    CHECK_INT(-1, p.retry_ms);
    CHECK_INT(STWS_ERR_EOF, stws_error(p.client));
    CHECK(*stws_error_text(p.client) != 0);
    peer_advance(&p, 60000);
    CHECK_INT(1, p.sessions);
    peer_free(&p);
}

static void test_reconnect_now(void) {
    struct peer p;
    peer_begin(&p);
    stws_subscribe(p.client, "/topic/a", NULL);
    CHECK(peer_connect(&p));
    peer_forget(&p);
    CHECK_INT(0, stws_reconnect_now(p.client));
    peer_turn(&p);
    peer_advance(&p, 1);
    CHECK_INT(2, p.sessions);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_STR("CLOSE(1000) CONNECT SUBSCRIBE ", bytes_text(&p.order));
    p.open_result = STWS_ERR_CONNECT;
    peer_cut(&p);
    peer_advance(&p, 10000);
    p.open_result = STWS_DONE;
    stws_reconnect_now(p.client);
    peer_turn(&p);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
}

static void note_host(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_DISCONNECTED)
        bytes_print((struct bytes *)p->extra, "%s ", p->endpoint_host);
}

static void test_several_urls(void) {
    static const char *const urls[] = {"ws://one.test/s", "ws://two.test/s", "ws://[::1]:99/s",
                                       NULL};
    struct bytes hosts = {0};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.url = NULL;
    o.urls = urls;
    p.extra = &hosts;
    p.on_event = note_host;
    p.open_result = STWS_ERR_CONNECT;
    peer_start(&p, &o);
    peer_turn(&p);
    peer_advance(&p, 10000);
    CHECK_STR("one.test two.test ::1 one.test ", hosts.data);
    p.open_result = STWS_DONE;
    CHECK(peer_connect(&p));
    CHECK_HAS("\r\nHost: two.test\r\n", bytes_text(&p.request));
    peer_free(&p);
    bytes_free(&hosts);
}

/* ==== what is resent, and in which order ==== */

static void test_subscriptions_come_back(void) {
    struct peer p;
    stws_subscribe_options named = {.id = "mine", .ack = STWS_ACK_CLIENT};
    char first_id[32];
    int a, b, c;
    peer_begin(&p);
    a = stws_subscribe(p.client, "/topic/a", NULL);
    b = stws_subscribe(p.client, "/queue/b", &named);
    c = stws_subscribe(p.client, "/topic/c", NULL);
    stws_unsubscribe(p.client, c);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE SUBSCRIBE ", bytes_text(&p.order));
    snprintf(first_id, sizeof first_id, "%s", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "id"));
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE SUBSCRIBE ", bytes_text(&p.order));
    CHECK_STR(first_id, sent_header(peer_sent(&p, "SUBSCRIBE", 0), "id"));
    CHECK_STR("/topic/a", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "destination"));
    CHECK_STR("mine", sent_header(peer_sent(&p, "SUBSCRIBE", 1), "id"));
    CHECK_STR("client", sent_header(peer_sent(&p, "SUBSCRIBE", 1), "ack"));
    CHECK_INT(0, stws_unsubscribe(p.client, a));
    peer_cut(&p);
    CHECK_INT(0, stws_unsubscribe(p.client, b));
    CHECK(stws_subscribe(p.client, "/topic/d", NULL) > 0);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE ", bytes_text(&p.order));
    CHECK_STR("/topic/d", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "destination"));
    peer_free(&p);
}

static void test_what_was_sent_before_the_connection(void) {
    struct peer p;
    peer_begin(&p);
    peer_send(&p, "one");
    stws_subscribe(p.client, "/topic/a", NULL);
    peer_send(&p, "two");
    stws_subscribe(p.client, "/topic/b", NULL);
    CHECK(peer_connect(&p));
    peer_send(&p, "three");
    peer_turn(&p);
    CHECK_STR("CONNECT SUBSCRIBE SUBSCRIBE SEND SEND SEND ", bytes_text(&p.order));
    CHECK_STR("one two three ", peer_bodies(&p));
    peer_cut(&p);
    peer_send(&p, "four");
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE SUBSCRIBE SEND ", bytes_text(&p.order));
    CHECK_STR("four ", peer_bodies(&p));
    peer_free(&p);
}

/* Escapes depend on the STOMP version, which is unknown while the message waits. */
static void test_the_outbox_uses_the_version_of_the_new_session(void) {
    struct peer p;
    peer_begin(&p);
    CHECK_INT(0, stws_send(p.client, "/queue/a:b", "x", 1));
    p.connected = "CONNECTED\nversion:1.0\n\n";
    CHECK(peer_connect(&p));
    CHECK_HAS("\ndestination:/queue/a:b\n", peer_sent(&p, "SEND", 0)->raw);
    peer_cut(&p);
    CHECK_INT(0, stws_send(p.client, "/queue/a:b", "x", 1));
    CHECK_INT(0, stws_send(p.client, "/queue/a\rb", "x", 1));
    p.connected = "CONNECTED\nversion:1.1\n\n";
    CHECK(peer_connect(&p));
    /* STOMP 1.1 cannot encode CR, so that message is dropped and counted. */
    CHECK_INT(1, peer_count(&p, "SEND"));
    CHECK_HAS("\ndestination:/queue/a\\cb\n", peer_sent(&p, "SEND", 0)->raw);
    CHECK_INT(1, peer_stats(&p).dropped);
    peer_free(&p);
}

static void keep_copy(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_MESSAGE) *(stws_message **)p->extra = stws_message_copy(e->message);
}

static void test_a_stale_ack(void) {
    struct peer p;
    stws_message *copy = NULL;
    stws_subscribe_options individual = {.ack = STWS_ACK_CLIENT_INDIVIDUAL};
    peer_begin(&p);
    p.on_event = keep_copy;
    p.extra = &copy;
    stws_subscribe(p.client, "/queue/a", &individual);
    CHECK(peer_connect(&p));
    peer_stomp(&p, "MESSAGE\nsubscription:sub-1\nmessage-id:1\nack:1\ndestination:/queue/a\n\nx");
    peer_turn(&p);
    CHECK_INT(1, copy->epoch);
    peer_cut(&p);
    CHECK_INT(STWS_ERR_STALE, stws_ack(p.client, copy));
    CHECK(peer_connect(&p));
    CHECK_INT(STWS_ERR_STALE, stws_ack(p.client, copy));
    CHECK_INT(STWS_ERR_STALE, stws_nack(p.client, copy));
    peer_turn(&p);
    CHECK_INT(0, peer_count(&p, "ACK"));
    CHECK_INT(0, peer_count(&p, "NACK"));
    CHECK_INT(3, peer_stats(&p).stale_acks);
    peer_free(&p);
    stws_message_free(copy);
}

/* ==== the outbox ==== */

static void outbox(struct peer *p, stws_outbox_policy policy, size_t bytes, size_t count) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.outbox_policy = policy;
    o.outbox_bytes = bytes;
    o.outbox_count = count;
    peer_start(p, &o);
}

static void test_a_full_outbox_fails(void) {
    struct peer p;
    char body[100];
    int i, taken = 0;
    memset(body, 'x', sizeof body);
    outbox(&p, STWS_FULL_FAIL, 10000, 0);
    for (i = 0; i < 200; i++) {
        int result = stws_send(p.client, "/queue/a", body, sizeof body);
        CHECK(result == 0 || (result == STWS_ERR_FULL && i > 10));
        taken += result == 0;
    }
    CHECK(taken > 10 && taken < 100);
    CHECK_INT(STWS_ERR_FULL, stws_send(p.client, "/queue/a", body, sizeof body));
    CHECK_INT(0, peer_stats(&p).dropped);
    CHECK(peer_connect(&p));
    CHECK_INT(taken, peer_count(&p, "SEND"));
    peer_send(&p, "again");
    peer_free(&p);
    outbox(&p, STWS_FULL_FAIL, 0, 3);
    for (i = 0; i < 3; i++) peer_send(&p, "x");
    CHECK_INT(STWS_ERR_FULL, stws_send(p.client, "/queue/a", "x", 1));
    CHECK_INT(STWS_ERR_FULL, stws_send(p.client, "/queue/a", "x", 1));
    peer_free(&p);
}

static void test_a_full_outbox_drops_the_oldest(void) {
    struct peer p;
    char text[16];
    int i;
    outbox(&p, STWS_FULL_DROP_OLDEST, 0, 3);
    for (i = 0; i < 10; i++) {
        snprintf(text, sizeof text, "m%d", i);
        peer_send(&p, text);
    }
    CHECK_INT(7, peer_stats(&p).dropped);
    CHECK(peer_connect(&p));
    CHECK_STR("m7 m8 m9 ", peer_bodies(&p));
    peer_free(&p);
}

static void test_a_message_that_never_fits(void) {
    struct peer p;
    char body[5000];
    memset(body, 'x', sizeof body);
    outbox(&p, STWS_FULL_DROP_OLDEST, 4096, 0);
    peer_send(&p, "kept");
    CHECK_INT(STWS_ERR_LIMIT, stws_send(p.client, "/queue/a", body, sizeof body));
    CHECK(peer_connect(&p));
    CHECK_STR("kept ", peer_bodies(&p));
    CHECK_INT(0, stws_send(p.client, "/queue/a", body, sizeof body));
    peer_turn(&p);
    CHECK_INT(2, peer_count(&p, "SEND"));
    peer_free(&p);
}

/* The outbox is a ring. It is filled and emptied with messages of many sizes, and no message may be
   lost, duplicated or reordered. */
static void test_the_outbox_wraps_around(void) {
    struct peer p;
    char body[400];
    int next = 0, round, i;
    outbox(&p, STWS_FULL_FAIL, 4096, 0);
    for (round = 0; round < 300; round++) {
        int taken = 0, n = 1 + round % 7;
        for (i = 0; i < n; i++) {
            int len = 8 + (round * 37 + i * 101) % 390, result;
            memset(body, '.', sizeof body);
            snprintf(body, sizeof body, "%07d", next + taken);
            result = stws_send(p.client, "/queue/a", body, (size_t)len);
            taken += result == 0;
            if (result != 0) break;
        }
        CHECK(peer_connect(&p));
        peer_turn(&p);
        CHECK_INT(taken, peer_count(&p, "SEND"));
        for (i = 0; i < taken; i++) CHECK_INT(next + i, atoi(peer_sent(&p, "SEND", i)->frame.body));
        next += taken;
        peer_cut(&p);
        if (test_case_failures) break;
    }
    CHECK(next > 900);
    peer_free(&p);
}

/* ==== confirm ==== */

static void test_unconfirmed_messages_are_resent(void) {
    struct peer p;
    char second[32];
    peer_begin_confirming(&p);
    stws_subscribe(p.client, "/topic/a", NULL);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    peer_send(&p, "one");
    peer_send(&p, "two");
    peer_send(&p, "three");
    peer_turn(&p);
    CHECK_STR("one two three ", peer_bodies(&p));
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_turn(&p);
    snprintf(second, sizeof second, "%s", sent_header(peer_sent(&p, "SEND", 1), "receipt"));
    CHECK(*second != 0);
    peer_cut(&p);
    peer_send(&p, "four");
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE SEND SEND SEND ", bytes_text(&p.order));
    CHECK_STR("two three four ", peer_bodies(&p));
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 2), "receipt")); /* out of order */
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_turn(&p);
    peer_cut(&p);
    p.automatic |= AUTO_RECEIPT;
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_STR("three ", peer_bodies(&p));
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("", peer_bodies(&p));
    CHECK_INT(0, peer_stats(&p).dropped);
    CHECK_STR("CONNECTED\n", bytes_text(&p.log));
    peer_free(&p);
}

/* A receipt that the program requested is reported once, when the message is confirmed, in
   whichever session that happens. */
static void test_a_receipt_with_confirm(void) {
    struct peer p;
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .receipt = 1};
    struct bytes line = {0};
    int number;
    peer_begin_confirming(&p);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    number = stws_send_ex(p.client, &m);
    CHECK(number > 0);
    peer_turn(&p);
    CHECK_INT(1, peer_count(&p, "SEND"));
    peer_cut(&p);
    p.automatic |= AUTO_RECEIPT;
    CHECK(peer_connect(&p));
    peer_turn(&p);
    bytes_print(&line, "CONNECTED\nRECEIPT %d STWS_OK\n", number);
    CHECK_STR(line.data, bytes_text(&p.log));
    peer_free(&p);
    bytes_free(&line);
}

/* DISCONNECT is sent after the last confirmation, so that no message is in doubt. */
static void test_disconnect_waits_for_confirmations(void) {
    struct peer p;
    peer_begin_confirming(&p);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    peer_send(&p, "one");
    stws_disconnect(p.client, 10000);
    peer_turn(&p);
    peer_advance(&p, 500);
    CHECK_INT(0, peer_count(&p, "DISCONNECT"));
    p.automatic |= AUTO_RECEIPT;
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_turn(&p);
    CHECK_STR("CONNECT SEND DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
    CHECK_INT(STWS_CLOSED, p.ended);
    peer_free(&p);
}

/* ==== the hooks ==== */

/* The answers of a test's hooks, and how often they were called. */
struct hooks {
    struct peer *peer;
    int answer, calls, last_number;
    const char *passcode;
    const char *const *headers;
    int stop;
};

static int before_connect(stws *client, stws_attempt *attempt, void *user) {
    struct hooks *h = (struct hooks *)((struct peer *)user)->extra;
    CHECK(client == h->peer->client);
    h->calls++;
    h->last_number = attempt->number;
    if (h->passcode) attempt->passcode = h->passcode;
    if (h->headers) attempt->http_headers = h->headers;
    if (h->stop) stws_stop(client);
    return h->answer;
}

static int before_subscribe(stws *client, stws_subscribing *subscribing, void *user) {
    struct hooks *h = (struct hooks *)((struct peer *)user)->extra;
    CHECK(subscribing->handle > 0);
    CHECK_HAS("/topic/", subscribing->destination);
    h->calls++;
    if (h->headers) subscribing->headers = h->headers;
    if (h->stop) stws_stop(client);
    return h->answer;
}

static void hooked(struct peer *p, struct hooks *h, int connect) {
    stws_options o;
    memset(h, 0, sizeof *h);
    peer_init(p);
    h->peer = p;
    p->extra = h;
    o = peer_options(p);
    if (connect) o.before_connect = before_connect;
    if (!connect) o.before_subscribe = before_subscribe;
    o.passcode = "old";
    peer_start(p, &o);
}

static void test_before_connect_sets_a_new_token(void) {
    static const char *const headers[] = {"Authorization", "Bearer 2", NULL};
    struct hooks h;
    struct peer p;
    hooked(&p, &h, 1);
    CHECK(peer_connect(&p));
    CHECK_INT(1, h.calls);
    CHECK_INT(1, h.last_number);
    CHECK_STR("old", sent_header(peer_sent(&p, "CONNECT", 0), "passcode"));
    h.passcode = "new";
    h.headers = headers;
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_INT(2, h.calls);
    CHECK_INT(2, h.last_number);
    CHECK_STR("new", sent_header(peer_sent(&p, "CONNECT", 0), "passcode"));
    CHECK_HAS("\r\nAuthorization: Bearer 2\r\n", bytes_text(&p.request));
    peer_free(&p);
}

static void test_before_connect_asks_to_wait(void) {
    struct hooks h;
    struct peer p;
    hooked(&p, &h, 1);
    h.answer = 300;
    peer_turn(&p);
    peer_advance(&p, 290);
    CHECK_INT(1, h.calls);
    peer_advance(&p, 20);
    CHECK_INT(2, h.calls);
    peer_advance(&p, 600);
    CHECK_INT(4, h.calls);
    CHECK_INT(0, p.sessions);
    CHECK_INT(1, h.last_number);
    h.answer = 0;
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECTED\n", bytes_text(&p.log));
    peer_free(&p);
}

static void test_before_connect_ends_the_client(void) {
    struct hooks h;
    struct peer p;
    hooked(&p, &h, 1);
    h.answer = -1;
    peer_turn(&p);
    CHECK(p.ended < 0);
    CHECK_HAS("before_connect", bytes_text(&p.why));
    CHECK_INT(0, p.sessions);
    peer_free(&p);
}

static void test_before_subscribe(void) {
    static const char *const headers[] = {"token", "2", NULL};
    struct hooks h;
    struct peer p;
    hooked(&p, &h, 0);
    stws_subscribe(p.client, "/topic/a", NULL);
    stws_subscribe(p.client, "/topic/b", NULL);
    peer_send(&p, "after");
    h.answer = 300;
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT ", bytes_text(&p.order));
    h.answer = 0;
    h.headers = headers;
    peer_advance(&p, 310);
    CHECK_STR("CONNECT SUBSCRIBE SUBSCRIBE SEND ", bytes_text(&p.order));
    CHECK_STR("2", sent_header(peer_sent(&p, "SUBSCRIBE", 1), "token"));
    CHECK_INT(3, h.calls);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_INT(5, h.calls);
    peer_free(&p);
}

/* ==== the end, in every state ==== */

static const int states[] = {STWS_IDLE,      STWS_CONNECTING, STWS_UPGRADING, STWS_LOGGING_IN,
                             STWS_CONNECTED, STWS_CLOSING,    STWS_BACKOFF};

enum { STATES = sizeof states / sizeof *states };

/* Brings a client to that state, with a subscription and a message to send. */
static void bring_to(struct peer *p, int state, int stepping) {
    stws_options o;
    peer_init(p);
    p->stepping = stepping;
    o = peer_options(p);
    if (state == STWS_CONNECTING) p->open_result = STWS_MORE;
    if (state == STWS_BACKOFF) p->open_result = STWS_ERR_CONNECT;
    if (state == STWS_UPGRADING) p->automatic = 0;
    if (state == STWS_LOGGING_IN) p->automatic = AUTO_UPGRADE;
    peer_start(p, &o);
    CHECK(stws_subscribe(p->client, "/topic/a", NULL) > 0);
    peer_send(p, "waits");
    if (state != STWS_IDLE) peer_turn(p);
    if (state == STWS_CLOSING) {
        p->automatic = 0;
        stws_disconnect(p->client, 5000);
        peer_turn(p);
    }
    CHECK_INT(state, stws_state(p->client));
}

static void check_stopped(struct peer *p) {
    CHECK_STR("STWS_CLOSED", stws_result_name(stws_step(p->client)));
    CHECK_INT(STWS_ENDED, stws_state(p->client));
    CHECK_INT(0, p->is_open);
    CHECK_STR("", stws_error_text(p->client));
    CHECK_INT(STWS_CLOSED, stws_step(p->client));
    CHECK_INT(0, stws_run(p->client));
    CHECK_INT(STWS_CLOSED, stws_send(p->client, "/queue/a", "x", 1));
    peer_listen(p);
}

static void test_stop_in_every_state_takes_one_step(void) {
    int i;
    for (i = 0; i < STATES; i++) {
        struct peer p;
        bring_to(&p, states[i], 1);
        if (states[i] != STWS_CLOSING) peer_send(&p, "last");
        stws_stop(p.client);
        check_stopped(&p);
        if (states[i] == STWS_CONNECTED)
            CHECK_STR("CONNECT SUBSCRIBE SEND SEND DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
        peer_free(&p);
    }
}

static void test_stop_before_anything(void) {
    struct peer p;
    peer_begin(&p);
    stws_stop(p.client);
    stws_stop(p.client);
    CHECK_INT(0, stws_run(p.client));
    CHECK_INT(0, p.sessions);
    peer_free(&p);
}

static void test_stop_while_nothing_can_be_written(void) {
    struct peer p;
    bring_to(&p, STWS_CONNECTED, 1);
    p.write_blocked = 1;
    peer_send(&p, "stuck");
    peer_turn(&p);
    stws_stop(p.client);
    check_stopped(&p);
    peer_free(&p);
}

static void test_stop_after_an_error_frame(void) {
    struct peer p;
    bring_to(&p, STWS_CONNECTED, 1);
    peer_stomp(&p, "ERROR\nmessage:oh\n\n");
    peer_turn(&p);
    stws_stop(p.client);
    check_stopped(&p);
    peer_free(&p);
}

static void test_destroy_in_every_state(void) {
    int i;
    for (i = 0; i < STATES; i++) {
        struct peer p;
        int events;
        bring_to(&p, states[i], 1);
        events = (int)p.log.len;
        stws_destroy(p.client);
        p.client = NULL;
        CHECK_INT(events, p.log.len);
        peer_free(&p);
    }
    stws_destroy(NULL);
}

static void test_disconnect_in_every_state_ends_in_time(void) {
    int i, answers;
    for (i = 0; i < 2 * STATES; i++) {
        struct peer p;
        answers = i < STATES;
        bring_to(&p, states[i % STATES], 1);
        if (answers) p.automatic = AUTO_ALL;
        CHECK_INT(0, stws_disconnect(p.client, 700));
        peer_turn(&p);
        peer_advance(&p, states[i % STATES] == STWS_CLOSING ? 5001 : 701);
        /* A message that was never sent is reported as lost. */
        CHECK_STR(peer_count(&p, "SEND") ? "STWS_CLOSED" : "STWS_ERR_LOST",
                  stws_result_name(p.ended));
        CHECK_INT(0, p.is_open);
        peer_free(&p);
    }
}

/* Nothing waits to be sent, so the client ends immediately. */
static void test_disconnect_without_a_connection_ends_immediately(void) {
    struct peer p;
    peer_begin(&p);
    CHECK_INT(0, stws_disconnect(p.client, 60000));
    peer_turn(&p);
    CHECK_INT(STWS_CLOSED, p.ended);
    CHECK_INT(0, p.sessions);
    peer_free(&p);
    peer_begin(&p);
    p.open_result = STWS_ERR_CONNECT;
    peer_turn(&p);
    CHECK_INT(0, stws_disconnect(p.client, 60000));
    peer_turn(&p);
    CHECK_INT(STWS_CLOSED, p.ended);
    peer_free(&p);
}

static void test_reconnect_now_in_every_state(void) {
    int i;
    for (i = 0; i < STATES; i++) {
        struct peer p;
        if (states[i] == STWS_CLOSING) continue; /* a requested end cannot be undone: see above */
        bring_to(&p, states[i], 1);
        CHECK_INT(0, stws_reconnect_now(p.client));
        p.open_result = STWS_DONE;
        p.automatic = AUTO_ALL;
        CHECK(peer_connect(&p));
        peer_free(&p);
    }
}

/* ==== the end, requested in callbacks ==== */

static void stop_at_message(stws *client, const stws_message *message, void *user) {
    struct peer *p = (struct peer *)user;
    (void)message;
    ++*(int *)p->extra;
    stws_stop(client);
}

static void test_stop_from_on_message(void) {
    struct peer p;
    stws_options o;
    int count = 0, own;
    for (own = 0; own < 2; own++) {
        stws_subscribe_options sub = {.on_message = own ? stop_at_message : NULL};
        peer_init(&p);
        p.stepping = 1;
        p.extra = &count;
        sub.user = &p;
        o = peer_options(&p);
        o.on_message = stop_at_message;
        peer_start(&p, &o);
        stws_subscribe(p.client, "/topic/a", &sub);
        CHECK(peer_connect(&p));
        count = 0;
        peer_message(&p, "sub-1", "1", "/topic/a", "first");
        peer_message(&p, "sub-1", "2", "/topic/a", "second");
        CHECK_INT(STWS_CLOSED, stws_step(p.client));
        CHECK_INT(1, count);
        CHECK_INT(0, p.is_open);
        peer_free(&p);
    }
}

static void stop_at_event(stws *client, const stws_event *event, void *user) {
    struct peer *p = (struct peer *)user;
    if ((int)event->type != *(int *)p->extra) return;
    *(int *)p->extra = -1;
    stws_stop(client);
}

static void test_stop_from_on_event(void) {
    static const int types[] = {STWS_EVENT_CONNECTED, STWS_EVENT_RECEIPT, STWS_EVENT_ERROR,
                                STWS_EVENT_DISCONNECTED};
    size_t i;
    for (i = 0; i < sizeof types / sizeof *types; i++) {
        stws_outgoing m = {.destination = "/queue/a", .receipt = 1};
        struct peer p;
        stws_options o;
        int type = types[i];
        peer_init(&p);
        p.stepping = 1;
        p.extra = &type;
        o = peer_options(&p);
        o.on_event = stop_at_event;
        peer_start(&p, &o);
        CHECK(stws_send_ex(p.client, &m) > 0);
        peer_turn(&p);
        if (type == STWS_EVENT_ERROR) peer_stomp(&p, "ERROR\nmessage:oh\n\n");
        if (type == STWS_EVENT_DISCONNECTED) peer_end(&p);
        peer_turn(&p);
        CHECK_INT(-1, type);
        CHECK_STR("STWS_CLOSED", stws_result_name(p.ended));
        peer_free(&p);
    }
}

static void test_stop_from_the_hooks(void) {
    int connect;
    for (connect = 0; connect < 2; connect++) {
        struct hooks h;
        struct peer p;
        hooked(&p, &h, connect);
        h.stop = 1;
        stws_subscribe(p.client, "/topic/a", NULL);
        peer_turn(&p);
        CHECK_STR("STWS_CLOSED", stws_result_name(p.ended));
        CHECK_INT(1, h.calls);
        CHECK_INT(!connect, p.sessions);
        peer_free(&p);
    }
}

/* Makes every call that a callback may make to its own client. */
static void busy_callback(struct peer *p, const stws_event *e) {
    stws_subscribe_options named = {.id = "from-callback"};
    if (e->type == STWS_EVENT_CONNECTED) {
        CHECK(stws_subscribe(p->client, "/topic/b", &named) > 0);
        CHECK_INT(0, stws_send(p->client, "/queue/a", "hello", 5));
    } else if (e->type == STWS_EVENT_MESSAGE && strcmp(e->message->body, "first") == 0) {
        CHECK_INT(0, stws_unsubscribe(p->client, e->message->handle));
        CHECK_INT(0, stws_send(p->client, "/queue/a", e->message->body, e->message->body_len));
        CHECK_STR("first", e->message->body);
        CHECK_INT(0, stws_disconnect(p->client, 1000));
    }
}

static void test_a_busy_callback(void) {
    int stepping;
    for (stepping = 0; stepping < 2; stepping++) {
        struct peer p;
        stws_options o;
        peer_init(&p);
        p.stepping = stepping;
        p.on_event = busy_callback;
        o = peer_options(&p);
        peer_start(&p, &o);
        CHECK(peer_connect(&p));
        peer_message(&p, "from-callback", "1", "/topic/b", "first");
        peer_turn(&p);
        CHECK_STR("CONNECT SUBSCRIBE SEND UNSUBSCRIBE SEND DISCONNECT CLOSE(1000) ",
                  bytes_text(&p.order));
        CHECK_STR("hello first ", peer_bodies(&p));
        CHECK_INT(STWS_CLOSED, p.ended);
        peer_free(&p);
    }
}

/* ==== calls that wait: the peer and its clock run by themselves ==== */

static void test_connect(void) {
    struct peer p;
    long long begun;
    peer_begin(&p);
    p.tick_us = 50;
    CHECK_INT(0, stws_connect(p.client, 5000));
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(0, stws_connect(p.client, 5000));
    peer_free(&p);
    peer_begin(&p);
    p.tick_us = 1000;
    p.automatic = 0;
    begun = p.now_us;
    CHECK_INT(STWS_ERR_TIMEOUT, stws_connect(p.client, 3000));
    CHECK(p.now_us - begun >= 3000000 && p.now_us - begun < 3500000);
    peer_free(&p);
    peer_begin(&p);
    p.tick_us = 1000;
    p.answer = "HTTP/1.1 404 \r\n\r\n";
    CHECK_INT(STWS_ERR_HTTP_STATUS, stws_connect(p.client, 3000));
    peer_free(&p);
}

static void test_flush(void) {
    struct peer p;
    long long begun;
    peer_begin(&p);
    p.tick_us = 50;
    peer_send(&p, "one");
    CHECK_INT(0, stws_flush(p.client, 5000));
    peer_listen(&p);
    CHECK_STR("one ", peer_bodies(&p));
    peer_send(&p, "two");
    CHECK_INT(0, stws_flush(p.client, -1));
    peer_listen(&p);
    CHECK_STR("one two ", peer_bodies(&p));
    p.tick_us = 50000;
    p.write_blocked = 1;
    peer_send(&p, "three");
    begun = p.now_us;
    CHECK_INT(STWS_ERR_TIMEOUT, stws_flush(p.client, 2000));
    CHECK(p.now_us - begun >= 2000000 && p.now_us - begun < 3000000);
    peer_free(&p);
}

/* Starts a client that makes only one attempt. */
static void begin_without_reconnect(struct peer *p) {
    stws_options o = peer_options(p);
    p->tick_us = 1000;
    o.reconnect = STWS_OFF;
    peer_start(p, &o);
}

/* Connects a client, and fills its output while the server reads nothing. */
static void stuck(struct peer *p) {
    peer_init(p);
    begin_without_reconnect(p);
    CHECK_INT(0, stws_connect(p->client, 5000));
    p->write_blocked = 1;
    p->tick_us = 500000;
    peer_send(p, "stuck");
}

/* A flush ends with write_timeout_ms, or when the connection ends, even if its own time limit is
   longer. */
static void test_flush_to_a_server_that_reads_nothing(void) {
    struct peer p;
    long long begun;
    stuck(&p);
    begun = p.now_us;
    CHECK_STR("STWS_ERR_IO", stws_result_name(stws_flush(p.client, 100000)));
    CHECK(p.now_us - begun < 40000000);
    peer_free(&p);
    stuck(&p);
    peer_end(&p);
    begun = p.now_us;
    CHECK_STR("STWS_ERR_EOF", stws_result_name(stws_flush(p.client, 100000)));
    CHECK(p.now_us - begun < 5000000);
    peer_free(&p);
}

/* Received messages are delivered before a flush fails, however the connection ended. */
static void check_a_flush_that_fails(int write_error, int expected) {
    char log[100];
    struct peer p;
    peer_init(&p);
    p.stepping = 1;
    begin_without_reconnect(&p);
    CHECK_INT(0, stws_connect(p.client, 5000));
    bytes_clear(&p.log);
    peer_message(&p, "sub-1", "1", "/queue/a", "the last words");
    if (!write_error) peer_end(&p);
    p.write_blocked = 1;
    p.write_error = write_error;
    peer_send(&p, "stuck");
    CHECK_STR(stws_result_name(expected), stws_result_name(stws_flush(p.client, 5000)));
    CHECK_INT(expected, stws_error(p.client));
    peer_turn(&p);
    snprintf(log, sizeof log, "MESSAGE /queue/a 1 the last words\nDISCONNECTED %s\nEND %s\n",
             stws_result_name(expected), stws_result_name(expected));
    CHECK_STR(log, bytes_text(&p.log));
    peer_free(&p);
}

static void test_a_flush_that_fails(void) {
    check_a_flush_that_fails(STWS_ERR_IO, STWS_ERR_IO);
    check_a_flush_that_fails(0, STWS_ERR_EOF);
}

/* Once p.extra is set, there is a heart-beat to read after every wait. */
static int wants_and_beats(void *ctx, int wants) {
    struct peer *p = (struct peer *)ctx;
    if (!p->extra) return peer_t_wants(ctx, wants);
    peer_ws(p, STWS_WS_TEXT, 1, "\n", 1);
    return wants;
}

/* After a failed write the client still reads what the server sent before. Then it leaves the
   connection, although the server keeps sending heart-beats. */
static void test_a_write_that_fails(void) {
    stws_event event = {0};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    p.transport.wants = wants_and_beats;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "1", "/queue/a", "the last words");
    p.write_error = STWS_ERR_IO;
    p.tick_us = 1000;
    p.extra = &p;
    peer_send(&p, "one");
    CHECK_INT(1, stws_next(p.client, &event, 50));
    CHECK_INT(STWS_EVENT_MESSAGE, event.type);
    CHECK_INT(1, stws_next(p.client, &event, 50));
    CHECK_INT(STWS_EVENT_DISCONNECTED, event.type);
    CHECK_INT(STWS_ERR_IO, event.result);
    p.write_error = 0;
    p.tick_us = 0;
    p.extra = NULL;
    CHECK(peer_connect(&p));
    peer_free(&p);
}

static void test_flush_with_confirm(void) {
    struct peer p;
    long long begun;
    peer_begin_confirming(&p);
    p.tick_us = 1000;
    p.automatic &= ~AUTO_RECEIPT;
    CHECK_INT(0, stws_connect(p.client, 5000));
    peer_send(&p, "one");
    CHECK_INT(STWS_ERR_TIMEOUT, stws_flush(p.client, 1000));
    CHECK_STR("one ", peer_bodies(&p));
    p.automatic |= AUTO_RECEIPT;
    stws_reconnect_now(p.client);
    begun = p.now_us;
    CHECK_INT(0, stws_flush(p.client, 10000));
    CHECK(p.now_us - begun < 1000000); /* the receipt ends the flush, not the time-out */
    CHECK_STR("one one ", peer_bodies(&p));
    peer_free(&p);
}

static void send_back(struct peer *p, const struct sent *s) {
    if (s->frame.command_id == STWS_COMMAND_SEND)
        peer_message(p, "sub-1", "1", "/queue/a", s->frame.body);
}

static void acknowledge(stws *client, const stws_message *message, void *user) {
    (void)user;
    CHECK_INT(0, stws_ack(client, message));
}

/* The last receipt arrives while an ACK still has to be written. The flush ends when the ACK is
   written. */
static void test_flush_with_confirm_and_acks(void) {
    stws_subscribe_options individual = {.ack = STWS_ACK_CLIENT_INDIVIDUAL,
                                         .on_message = acknowledge};
    struct peer p;
    long long begun;
    peer_begin_confirming(&p);
    p.tick_us = 1000;
    p.on_sent = send_back;
    CHECK(stws_subscribe(p.client, "/queue/a", &individual) > 0);
    CHECK_INT(0, stws_connect(p.client, 5000));
    peer_send(&p, "one");
    begun = p.now_us;
    CHECK_INT(0, stws_flush(p.client, 10000));
    CHECK(p.now_us - begun < 1000000);
    peer_listen(&p);
    CHECK_INT(1, peer_count(&p, "ACK"));
    peer_free(&p);
}

/* Answers a request: to the subscription of its reply-to or, as RabbitMQ does, to the name in the
   reply-to itself. */
static void answer_request(struct peer *p, const struct sent *s) {
    const char *to = sent_header(s, "reply-to");
    const struct sent *sub = peer_sent(p, "SUBSCRIBE", 0);
    struct bytes b = {0};
    if (s->frame.command_id != STWS_COMMAND_SEND) return;
    CHECK(*to != 0);
    bytes_print(&b, "MESSAGE\nsubscription:%s\nmessage-id:0\ndestination:%s\ncorrelation-id:x\n\n",
                sub ? sent_header(sub, "id") : to, to);
    peer_stomp(p, b.data); /* a reply to an old request, which nobody waits for */
    bytes_clear(&b);
    bytes_print(
        &b, "MESSAGE\nsubscription:%s\nmessage-id:1\ndestination:%s\ncorrelation-id:%s\n\nre: %s",
        sub ? sent_header(sub, "id") : to, to, sent_header(s, "correlation-id"), s->frame.body);
    peer_stomp(p, b.data);
    bytes_free(&b);
}

static void check_request(const char *connected, int subscribes, stws_queue *queue) {
    const stws_message *queued = NULL;
    stws_options o;
    stws_outgoing m = {.destination = "/queue/rpc", .body = "ping", .body_len = 4};
    stws_message *reply = NULL;
    struct peer p;
    long long begun;
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    peer_start(&p, &o);
    p.tick_us = 1000;
    p.connected = connected;
    p.on_sent = answer_request;
    begun = p.now_us;
    CHECK_INT(0, stws_request(p.client, &m, &reply, 5000));
    CHECK(p.now_us - begun < 1000000); /* the reply ends the request, not the time-out */
    CHECK_STR("re: ping", reply ? reply->body : NULL);
    CHECK_INT(subscribes, peer_count(&p, "SUBSCRIBE"));
    stws_message_free(reply);
    p.on_sent = NULL;
    CHECK_INT(STWS_ERR_TIMEOUT, stws_request(p.client, &m, &reply, 2000));
    CHECK(reply == NULL);
    if (queue) CHECK_INT(0, stws_queue_pop(queue, &queued, 0));
    CHECK_INT(0, (int)peer_stats(&p).unknown_subscription);
    peer_free(&p);
}

static void refuse_request(struct peer *p, const struct sent *s) {
    if (s->frame.command_id == STWS_COMMAND_SEND) peer_stomp(p, "ERROR\nmessage:no such queue\n\n");
}

static void test_a_request_that_is_refused(void) {
    stws_outgoing m = {.destination = "/queue/rpc", .body = "ping", .body_len = 4};
    stws_message *reply = NULL;
    struct peer p;
    peer_begin(&p);
    p.tick_us = 1000;
    p.on_sent = refuse_request;
    CHECK_STR("STWS_ERR_BROKER", stws_result_name(stws_request(p.client, &m, &reply, 5000)));
    CHECK(reply == NULL);
    CHECK_HAS("no such queue", stws_error_text(p.client));
    peer_free(&p);
}

static void test_request(void) {
    static const char rabbitmq[] = "CONNECTED\nversion:1.2\nserver:RabbitMQ/3.10.8\n\n";
    static const char activemq[] = "CONNECTED\nversion:1.2\nserver:ActiveMQ/6.1.7\n\n";
    stws_queue *queue = stws_queue_create(0);
    check_request(rabbitmq, 0, NULL);
    check_request(activemq, 1, NULL);
    check_request(rabbitmq, 0, queue); /* the reply goes to the requester, not into the queue */
    check_request(activemq, 1, queue);
    stws_queue_destroy(queue);
}

/* ==== the queue, used in one thread ==== */

static void test_a_full_queue_holds_the_server_back(void) {
    enum { MESSAGES = 500 };
    struct peer p;
    stws_options o;
    stws_queue *queue = stws_queue_create(4096);
    const stws_message *m = NULL;
    char text[16];
    int i, got = 0;
    CHECK(queue != NULL);
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    o.rx_buffer = 1024;
    p.connected = "CONNECTED\nversion:1.2\nheart-beat:1000,0\n\n";
    o.heartbeat_in_ms = 1000;
    peer_start(&p, &o);
    stws_subscribe(p.client, "/topic/a", NULL);
    CHECK(peer_connect(&p));
    for (i = 0; i < MESSAGES; i++) {
        snprintf(text, sizeof text, "%d", i);
        peer_message(&p, "sub-1", text, "/topic/a", text);
    }
    peer_turn(&p);
    CHECK(p.out.len > 10000); /* unread, because the queue has no room */
    peer_advance(&p, 20000);  /* while the client does not read, it does not miss heart-beats */
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    while (got < MESSAGES && !p.ended) {
        if (stws_queue_pop(queue, &m, 0) != 1) {
            unsigned long long before = (unsigned long long)p.out.len;
            peer_advance(&p, 20);
            if (before == p.out.len && stws_queue_pop(queue, &m, 0) != 1) break;
        }
        if (!m) continue;
        CHECK_INT(got, atoi(m->body));
        CHECK(m->client == p.client);
        got++;
    }
    CHECK_INT(MESSAGES, got);
    CHECK_INT(0, stws_queue_pop(queue, &m, 0));
    stws_queue_close(queue);
    CHECK_INT(STWS_CLOSED, stws_queue_pop(queue, &m, -1));
    peer_free(&p);
    stws_queue_destroy(queue);
    stws_queue_destroy(NULL);
}

static void test_stop_with_a_full_queue(void) {
    struct peer p;
    stws_options o;
    stws_queue *queue = stws_queue_create(4096);
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    for (i = 0; i < 100; i++)
        peer_message(&p, "sub-1", "1", "/topic/a", "0123456789012345678901234567890123456789");
    peer_turn(&p);
    stws_stop(p.client);
    check_stopped(&p);
    peer_free(&p);
    stws_queue_destroy(queue);
}

int main(void) {
    RUN(test_the_delay_grows_up_to_its_cap);     /* [E2] */
    RUN(test_the_jitter);                        /* [E2] */
    RUN(test_a_stable_session_resets_the_delay); /* [E2] */
    RUN(test_the_last_attempt_fails);
    RUN(test_one_attempt_after_a_stable_session);
    RUN(test_no_reconnect);
    RUN(test_reconnect_now);                       /* [E7] */
    RUN(test_several_urls);                        /* [E5] */
    RUN(test_subscriptions_come_back);             /* [M1] */
    RUN(test_what_was_sent_before_the_connection); /* [M2] [E8] */
    RUN(test_the_outbox_uses_the_version_of_the_new_session);
    RUN(test_a_stale_ack); /* [G9] */
    RUN(test_a_full_outbox_fails);
    RUN(test_a_full_outbox_drops_the_oldest);
    RUN(test_a_message_that_never_fits);
    RUN(test_the_outbox_wraps_around);
    RUN(test_unconfirmed_messages_are_resent); /* [E8] [G2] */
    RUN(test_a_receipt_with_confirm);
    RUN(test_disconnect_waits_for_confirmations);
    RUN(test_before_connect_sets_a_new_token); /* [E6] */
    RUN(test_before_connect_asks_to_wait);     /* [E6] */
    RUN(test_before_connect_ends_the_client);
    RUN(test_before_subscribe); /* [E6] */
    RUN(test_stop_in_every_state_takes_one_step);
    RUN(test_stop_before_anything);
    RUN(test_stop_while_nothing_can_be_written);
    RUN(test_stop_after_an_error_frame);
    RUN(test_destroy_in_every_state);
    RUN(test_disconnect_in_every_state_ends_in_time);
    RUN(test_disconnect_without_a_connection_ends_immediately);
    RUN(test_reconnect_now_in_every_state);
    RUN(test_stop_from_on_message); /* [T3] */
    RUN(test_stop_from_on_event);
    RUN(test_stop_from_the_hooks);
    RUN(test_a_busy_callback); /* [T3] */
    RUN(test_connect);
    RUN(test_flush);
    RUN(test_flush_to_a_server_that_reads_nothing);
    RUN(test_a_flush_that_fails);
    RUN(test_a_write_that_fails);
    RUN(test_flush_with_confirm);          /* [G4] */
    RUN(test_flush_with_confirm_and_acks); /* [G4] */
    RUN(test_a_request_that_is_refused);
    RUN(test_request);
    RUN(test_a_full_queue_holds_the_server_back); /* [G10] */
    RUN(test_stop_with_a_full_queue);
    return test_report();
}
