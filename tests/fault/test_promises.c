/* test_promises.c - tests what the manual promises for the end of a session and of a client:
   accepted messages are delivered or reported, the current message is acknowledged first, and the
   end is reported once. The server is scripted. */
#include "scripted.h"

enum { ON_RETURN = STWS_ACK_ON_RETURN };

static stws_subscribe_options ack_on_return(void) {
    stws_subscribe_options s = {.ack_on = STWS_ACK_ON_RETURN};
    return s;
}

static void begin(struct peer *p, int stepping, int confirm) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.confirm = confirm;
    o.ping_ms = STWS_OFF;
    p->stepping = stepping;
    peer_start(p, &o);
}

/* ==== ending while sends await their confirmation ==== */

/* The connection breaks after stws_disconnect. The client reconnects and finishes, within the time
   limit. */
static void test_disconnect_survives_a_lost_connection(void) {
    struct peer p;
    begin(&p, 0, 1);
    CHECK(peer_connect(&p));
    p.automatic = AUTO_ALL & ~AUTO_RECEIPT;
    peer_send(&p, "precious");
    peer_turn(&p);
    CHECK_INT(0, stws_disconnect(p.client, 10000));
    peer_end(&p);
    peer_turn(&p);
    p.automatic = AUTO_ALL;
    peer_advance(&p, 9000);
    CHECK_INT(STWS_CLOSED, p.ended);
    CHECK_INT(2, peer_count(&p, "SEND"));
    CHECK_STR("CONNECT SEND CONNECT SEND DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
    peer_free(&p);
}

/* The client cannot reconnect, and reports how many frames were not confirmed. */
static void test_disconnect_reports_lost_frames(void) {
    struct peer p;
    begin(&p, 0, 1);
    CHECK(peer_connect(&p));
    p.automatic = AUTO_ALL & ~AUTO_RECEIPT;
    peer_send(&p, "one");
    peer_send(&p, "two");
    peer_turn(&p);
    CHECK_INT(0, stws_disconnect(p.client, 3000));
    p.open_result = STWS_ERR_CONNECT;
    peer_end(&p);
    peer_advance(&p, 4000);
    CHECK_INT(STWS_ERR_LOST, p.ended);
    CHECK_HAS("2 frames", bytes_text(&p.why));
    CHECK_INT(STWS_ERR_LOST, stws_run(p.client));
    peer_free(&p);
}

static void test_disconnect_of_a_refused_client_reports_it(void) {
    struct peer p;
    begin(&p, 0, 0);
    p.answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    peer_send(&p, "one");
    CHECK_INT(0, stws_disconnect(p.client, 3000));
    peer_turn(&p);
    CHECK_INT(STWS_ERR_LOST, p.ended);
    CHECK_HAS("1 frames", bytes_text(&p.why));
    CHECK_HAS("403", bytes_text(&p.why));
    peer_free(&p);
}

/* ==== stws_close ==== */

static void test_close(void) {
    struct peer p;
    begin(&p, 0, 1);
    p.tick_us = 100;
    peer_send(&p, "one");
    CHECK_INT(0, stws_close(p.client, 5000));
    CHECK_INT(STWS_ENDED, stws_state(p.client));
    CHECK_STR("CONNECT SEND DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
    CHECK_INT(0, stws_close(p.client, 5000));
    peer_free(&p);
    CHECK_INT(STWS_ERR_MEMORY, stws_close(NULL, 0));
}

static void test_close_reports_lost_frames(void) {
    struct peer p;
    begin(&p, 0, 1);
    p.automatic = AUTO_ALL & ~AUTO_RECEIPT;
    p.tick_us = 1000;
    peer_send(&p, "one");
    CHECK_INT(STWS_ERR_LOST, stws_close(p.client, 500));
    CHECK_HAS("1 frames", stws_error_text(p.client));
    peer_free(&p);
}

static void close_in_callback(struct peer *p, const stws_event *event) {
    if (event->type != STWS_EVENT_CONNECTED) return;
    CHECK_INT(STWS_ERR_STATE, stws_close(p->client, 100));
    CHECK_HAS("stws_disconnect", stws_error_text(p->client));
}

static void test_close_in_a_callback(void) {
    struct peer p;
    begin(&p, 1, 0);
    p.on_event = close_in_callback;
    CHECK(peer_connect(&p));
    peer_free(&p);
}

/* ==== the current message ==== */

enum act { ACT_DISCONNECT, ACT_STOP, ACT_UNSUBSCRIBE, ACT_FLUSH_TOO, ACTS };

static void act(struct peer *p, int what, int handle) {
    if (what == ACT_DISCONNECT || what == ACT_FLUSH_TOO)
        CHECK_INT(0, stws_disconnect(p->client, 5000));
    if (what == ACT_FLUSH_TOO) stws_flush(p->client, 0);
    if (what == ACT_STOP) stws_stop(p->client);
    if (what == ACT_UNSUBSCRIBE) CHECK_INT(0, stws_unsubscribe(p->client, handle));
}

static void act_in_callback(struct peer *p, const stws_event *event) {
    if (event->type == STWS_EVENT_MESSAGE) act(p, *(int *)p->extra, event->message->handle);
}

static void check_order(struct peer *p, int what) {
    const char *order = bytes_text(&p->order), *ack = strstr(order, " ACK ");
    const char *end = strstr(order, what == ACT_UNSUBSCRIBE ? " UNSUBSCRIBE " : " DISCONNECT ");
    CHECK(ack && end && ack < end);
    if (!ack || !end || ack >= end) printf("%d: %s\n", what, order);
    CHECK_INT(1, peer_count(p, "ACK"));
}

/* The end is requested in the message's callback, or between two calls of stws_next. The ACK must
   be sent first. */
static void test_the_current_message_is_acknowledged_first(void) {
    int stepping, what, own;
    for (what = 0; what < ACTS; what++)
        for (stepping = 0; stepping < 2; stepping++)
            for (own = 0; own < 2; own++) {
                stws_subscribe_options s = ack_on_return();
                struct peer p;
                s.id = own ? "mine" : NULL;
                begin(&p, stepping, 0);
                p.extra = &what;
                p.on_event = act_in_callback;
                CHECK(stws_subscribe(p.client, "/queue/a", &s) > 0);
                CHECK(peer_connect(&p));
                peer_message(&p, own ? "mine" : "sub-1", "1", "/queue/a", "job");
                peer_turn(&p);
                peer_advance(&p, 100);
                check_order(&p, what);
                peer_free(&p);
            }
}

/* A thread that has popped a message pops again after stws_disconnect. DISCONNECT waits for the ACK
   that this causes. */
static void test_a_popped_message_is_acknowledged_first(void) {
    stws_queue *queue = stws_queue_create(0);
    const stws_message *m = NULL;
    stws_subscribe_options s = ack_on_return();
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    peer_start(&p, &o);
    CHECK(stws_subscribe(p.client, "/queue/a", &s) > 0);
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "1", "/queue/a", "job");
    peer_turn(&p);
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    CHECK_INT(0, stws_disconnect(p.client, 5000));
    peer_turn(&p);
    CHECK_INT(0, peer_count(&p, "DISCONNECT"));
    CHECK_INT(0, stws_queue_pop(queue, &m, 0));
    peer_turn(&p);
    check_order(&p, ACT_DISCONNECT);
    CHECK_INT(STWS_CLOSED, p.ended);
    CHECK_INT(STWS_CLOSED, stws_queue_pop(queue, &m, -1));
    peer_free(&p);
    stws_queue_destroy(queue);
}

/* Fills the outbox and ends the subscription. Then there is room neither for the ACK nor for
   UNSUBSCRIBE. */
static void fill_and_unsubscribe(struct peer *p, const stws_event *event) {
    if (event->type != STWS_EVENT_MESSAGE) return;
    while (stws_send_text(p->client, "/queue/a", "much") == STWS_OK) continue;
    CHECK_INT(STWS_ERR_FULL, stws_send_text(p->client, "/queue/a", "much"));
    CHECK_INT(0, stws_unsubscribe(p->client, event->message->handle));
}

/* The subscription still ends, and is not renewed in the next session. */
static void test_unsubscribing_with_a_full_outbox(void) {
    int stepping;
    for (stepping = 0; stepping < 2; stepping++) {
        stws_subscribe_options s = ack_on_return();
        struct peer p;
        begin(&p, stepping, 0);
        p.on_event = fill_and_unsubscribe;
        CHECK(stws_subscribe(p.client, "/queue/a", &s) > 0);
        CHECK(peer_connect(&p));
        p.write_blocked = 1;
        peer_message(&p, "sub-1", "1", "/queue/a", "job");
        peer_turn(&p);
        CHECK_HAS("job", bytes_text(&p.log));
        p.write_blocked = 0;
        p.write_error = STWS_ERR_IO;
        peer_turn(&p);
        p.write_error = 0;
        peer_end(&p);
        peer_advance(&p, 5000);
        CHECK_INT(2, p.sessions);
        CHECK_INT(STWS_CONNECTED, stws_state(p.client));
        CHECK_INT(1, peer_count(&p, "SUBSCRIBE"));
        peer_free(&p);
    }
}

/* Another call kept a message for stws_next, and its subscription ended meanwhile. The message must
   report that the library does not acknowledge it. */
static void test_a_kept_message_without_its_subscription(void) {
    stws_subscribe_options s = ack_on_return();
    stws_outgoing m = {.destination = "/queue/b", .body = "?", .body_len = 1};
    stws_message *reply = NULL;
    struct peer p;
    stws_event e;
    begin(&p, 0, 0);
    CHECK_INT(1, stws_subscribe(p.client, "/queue/a", &s));
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "1", "/queue/a", "job");
    p.tick_us = 1000;
    CHECK_INT(STWS_ERR_TIMEOUT, stws_request(p.client, &m, &reply, 50));
    CHECK_INT(0, stws_unsubscribe(p.client, 1));
    CHECK_INT(1, stws_next(p.client, &e, 0));
    CHECK_INT(STWS_EVENT_MESSAGE, e.type);
    CHECK_INT(0, e.message->ack_on);
    p.tick_us = 0;
    peer_turn(&p);
    CHECK_INT(0, peer_count(&p, "ACK"));
    peer_free(&p);
}

/* A message that was released cannot be acknowledged any more, even if its struct already holds the
   next message. */
static void test_an_ack_after_the_message_was_released(void) {
    struct peer p;
    stws_event event;
    stws_subscribe_options s = {.ack = STWS_ACK_CLIENT_INDIVIDUAL};
    begin(&p, 0, 0);
    CHECK(stws_subscribe(p.client, "/queue/a", &s) > 0);
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "1", "/queue/a", "one");
    while (stws_next(p.client, &event, 0) == 1 && event.type != STWS_EVENT_MESSAGE) {
    }
    CHECK_STR("one", event.message->body);
    peer_message(&p, "sub-1", "2", "/queue/a", "two");
    CHECK_INT(0, stws_send(p.client, "/queue/b", "x", 1));
    CHECK_INT(0, stws_flush(p.client, 100));
    CHECK_INT(STWS_ERR_STALE, stws_ack(p.client, event.message));
    peer_turn(&p);
    CHECK_INT(0, peer_count(&p, "ACK"));
    peer_free(&p);
}

/* ==== other driving calls keep messages for stws_next ==== */

static void request_answered(struct peer *p, const struct sent *sent) {
    struct bytes b = {0};
    int i;
    if (sent->frame.command_id != STWS_COMMAND_SEND) return;
    for (i = 0; i < 3; i++) peer_message(p, "sub-1", "1", "/queue/a", "job");
    bytes_print(
        &b, "MESSAGE\nsubscription:sub-2\nmessage-id:9\ndestination:%s\ncorrelation-id:%s\n\nyes",
        sent_header(sent, "reply-to"), sent_header(sent, "correlation-id"));
    peer_stomp(p, b.data);
    bytes_free(&b);
}

static void check_request(size_t rx_buffer, int kept) {
    stws_outgoing m = {"/queue/ask", "?", 1, NULL, NULL, NULL, 0, 0};
    stws_subscribe_options s = ack_on_return();
    stws_message *reply = NULL;
    stws_options o;
    struct peer p;
    stws_event event;
    int result, jobs = 0, i;
    peer_init(&p);
    o = peer_options(&p);
    o.rx_buffer = rx_buffer;
    peer_start(&p, &o);
    p.tick_us = 100;
    p.on_sent = request_answered;
    CHECK(stws_subscribe(p.client, "/queue/a", &s) > 0);
    result = stws_request(p.client, &m, &reply, 1000);
    CHECK_INT(kept ? 0 : STWS_ERR_FULL, result);
    if (kept && reply) CHECK_STR("yes", reply->body);
    CHECK_INT(0, peer_count(&p, "ACK"));
    CHECK_INT(0, stws_deadline(p.client));
    p.tick_us = 0;
    for (i = 0; i < 20; i++) {
        if (stws_next(p.client, &event, 0) != 1 || event.type != STWS_EVENT_MESSAGE) continue;
        if (event.message->handle != 1) continue; /* an answer that arrived too late */
        peer_listen(&p);
        CHECK(peer_count(&p, "ACK") <= jobs); /* each is acknowledged by the next call */
        CHECK_STR("job", event.message->body);
        CHECK_STR("/queue/a", event.message->destination);
        jobs++;
    }
    peer_turn(&p);
    CHECK_INT(3, jobs);
    CHECK_INT(3, peer_count(&p, "ACK"));
    stws_message_free(reply);
    peer_free(&p);
}

static void test_a_request_keeps_other_messages(void) {
    check_request(0, 1);
    check_request(256, 0);
}

/* ==== replay, renewal, a full outbox, randomness ==== */

static void test_a_receipt_in_a_resent_transaction(void) {
    stws_outgoing m = {"/queue/a", "x", 1, NULL, "tx", NULL, 1, 0};
    struct peer p;
    begin(&p, 0, 0);
    CHECK(peer_connect(&p));
    p.automatic = AUTO_ALL & ~AUTO_RECEIPT;
    CHECK_INT(0, stws_begin(p.client, "tx"));
    CHECK(stws_send_ex(p.client, &m) > 0);
    peer_turn(&p);
    peer_end(&p);
    peer_turn(&p);
    p.automatic = AUTO_ALL;
    CHECK(!strstr(bytes_text(&p.log), "STWS_ERR_LOST"));
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_commit(p.client, "tx"));
    peer_turn(&p);
    CHECK_HAS("STWS_OK", bytes_text(&p.log));
    CHECK(!strstr(bytes_text(&p.log), "STWS_ERR_LOST"));
    peer_free(&p);
}

/* Accepted messages are written before a working session is left. */
static void test_leaving_a_session_loses_nothing(void) {
    int by_age;
    for (by_age = 0; by_age < 2; by_age++) {
        struct peer p;
        stws_options o;
        peer_init(&p);
        o = peer_options(&p);
        if (by_age) o.max_session_ms = 10000;
        peer_start(&p, &o);
        CHECK(peer_connect(&p));
        p.write_blocked = 1;
        peer_send(&p, "one");
        if (by_age)
            peer_advance(&p, 10000);
        else
            CHECK_INT(0, stws_reconnect_now(p.client));
        peer_turn(&p);
        peer_send(&p, "two");
        p.write_blocked = 0;
        peer_advance(&p, 100);
        CHECK_STR("one two ", peer_bodies(&p));
        CHECK_INT(2, p.sessions);
        CHECK_INT(1, peer_sent(&p, "SEND", 0)->session);
        peer_free(&p);
    }
}

static int delay_the_second(stws *client, stws_subscribing *asked, void *user) {
    (void)client, (void)user;
    return asked->handle == 2 ? 60000 : 0;
}

/* An ACK waits behind a subscription that may not be sent yet. The ACK is written before the
   session is left. */
static void test_a_waiting_ack_is_sent_before_the_end(void) {
    int stops;
    for (stops = 0; stops < 2; stops++) {
        stws_subscribe_options s = ack_on_return();
        struct peer p;
        stws_options o;
        peer_init(&p);
        o = peer_options(&p);
        o.before_subscribe = delay_the_second;
        peer_start(&p, &o);
        CHECK_INT(1, stws_subscribe(p.client, "/queue/a", &s));
        CHECK_INT(2, stws_subscribe(p.client, "/queue/b", &s));
        CHECK(peer_connect(&p));
        peer_message(&p, "sub-1", "1", "/queue/a", "job");
        peer_turn(&p);
        peer_turn(&p);
        CHECK_INT(0, peer_count(&p, "ACK"));
        CHECK_INT(0, stws_send_text(p.client, "/queue/a", "later"));
        if (stops)
            stws_stop(p.client);
        else
            CHECK_INT(0, stws_reconnect_now(p.client));
        peer_turn(&p);
        CHECK_INT(1, peer_count(&p, "ACK"));
        CHECK_INT(0, peer_count(&p, "SEND"));
        CHECK_HAS(stops ? "SUBSCRIBE ACK DISCONNECT CLOSE" : "SUBSCRIBE ACK CLOSE",
                  bytes_text(&p.order));
        peer_free(&p);
    }
}

static void fill_outbox(struct peer *p, const stws_event *event) {
    if (event->type != STWS_EVENT_MESSAGE) return;
    while (stws_send_text(p->client, "/queue/a", "much") == STWS_OK) continue;
}

/* The same for an ACK that has no room even in the outbox. */
static void test_an_ack_without_room_is_sent_before_the_end(void) {
    int stops;
    for (stops = 0; stops < 2; stops++) {
        stws_subscribe_options s = ack_on_return();
        const char *order;
        struct peer p;
        begin(&p, 0, 0);
        p.on_event = fill_outbox;
        CHECK_INT(1, stws_subscribe(p.client, "/queue/a", &s));
        CHECK(peer_connect(&p));
        p.write_blocked = 1;
        peer_message(&p, "sub-1", "1", "/queue/a", "job");
        peer_turn(&p);
        peer_turn(&p);
        if (stops)
            stws_stop(p.client);
        else
            CHECK_INT(0, stws_reconnect_now(p.client));
        p.write_blocked = 0;
        peer_turn(&p);
        CHECK_INT(1, peer_count(&p, "ACK"));
        order = strstr(bytes_text(&p.order), " ACK ");
        CHECK(order && strstr(order, stops ? " DISCONNECT " : " CLOSE("));
        peer_free(&p);
    }
}

/* A transaction that was never committed neither delays the end nor makes it an error. */
static void test_disconnect_with_an_open_transaction(void) {
    stws_outgoing m = {"/queue/a", "x", 1, NULL, "tx", NULL, 0, 0};
    int confirm;
    for (confirm = 0; confirm < 2; confirm++) {
        struct peer p;
        begin(&p, 0, confirm);
        CHECK(peer_connect(&p));
        CHECK_INT(0, stws_begin(p.client, "tx"));
        CHECK_INT(0, stws_send_ex(p.client, &m));
        CHECK_INT(0, stws_disconnect(p.client, 3000));
        peer_advance(&p, 4000);
        CHECK_INT(STWS_CLOSED, p.ended);
        CHECK_INT(1, p.sessions);
        CHECK_STR("CONNECT BEGIN SEND DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
        peer_free(&p);
    }
}

/* A popped message shows that its client was destroyed. */
static void test_a_popped_message_outlives_its_client(void) {
    stws_queue *queue = stws_queue_create(0);
    const stws_message *m = NULL;
    stws_subscribe_options s = ack_on_return();
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    peer_start(&p, &o);
    CHECK(stws_subscribe(p.client, "/queue/a", &s) > 0);
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "1", "/queue/a", "job");
    peer_turn(&p);
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    peer_free(&p);
    CHECK(m->client == NULL);
    CHECK_STR("job", m->body);
    CHECK_INT(STWS_ERR_STALE, stws_ack(m->client, m));
    CHECK_INT(STWS_CLOSED, stws_queue_pop(queue, &m, -1));
    stws_queue_destroy(queue);
}

/* A server that reads nothing cannot delay the end forever. */
static void test_leaving_a_stalled_session_ends(void) {
    struct peer p;
    begin(&p, 0, 0);
    CHECK(peer_connect(&p));
    p.write_blocked = 1;
    peer_send(&p, "one");
    CHECK_INT(0, stws_reconnect_now(p.client));
    peer_advance(&p, 2100);
    CHECK_INT(2, p.sessions);
    CHECK_HAS("output was lost", bytes_text(&p.why)); /* the error text mentions the loss */
    CHECK_INT(STWS_ERR_LOST, p.result);
    peer_free(&p);
}

/* After an ERROR frame the session ends with that error, even if max_session_ms passes first. */
static void test_an_error_in_an_old_session(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.max_session_ms = 500;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_stomp(&p, "ERROR\nmessage:no more\n\n");
    peer_turn(&p);
    peer_advance(&p, 1900);
    CHECK_INT(1, p.sessions);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_advance(&p, 200);
    CHECK_STR("STWS_ERR_BROKER", stws_result_name(p.result));
    CHECK_HAS("no more", bytes_text(&p.why));
    peer_free(&p);
}

/* A failed call in a callback must not change the error with which the client has ended. */
static void send_after_the_end(struct peer *p, const stws_event *event) {
    if (event->type == STWS_EVENT_DISCONNECTED)
        CHECK(stws_send_text(p->client, "/queue/a", "late") < 0);
}

static void test_the_error_text_of_an_end(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.stepping = 1;
    p.on_event = send_after_the_end;
    p.open_result = STWS_ERR_CONNECT;
    o = peer_options(&p);
    o.reconnect = STWS_OFF;
    peer_start(&p, &o);
    peer_turn(&p);
    CHECK_INT(STWS_ERR_CONNECT, p.ended);
    CHECK_HAS("no connection", stws_error_text(p.client));
    peer_free(&p);
}

/* stws_close keeps each receipt for stws_next, even without a heap. */
static void test_close_keeps_receipts(void) {
    enum { SENDS = 40 };
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .receipt = 1};
    const char *why = NULL;
    struct peer p;
    stws_options o;
    stws_event e;
    size_t size;
    void *memory;
    int i, reported = 0;
    peer_init(&p);
    o = peer_options(&p);
    size = stws_size(&o);
    memory = malloc(size);
    if (!memory || stws_init(memory, size, &o, &p.client, &why) != STWS_OK) abort();
    p.tick_us = 1000;
    for (i = 0; i < SENDS; i++) CHECK(stws_send_ex(p.client, &m) > 0);
    CHECK_INT(0, stws_close(p.client, 5000));
    while (stws_next(p.client, &e, 0) > 0)
        reported += e.type == STWS_EVENT_RECEIPT && e.result == STWS_OK;
    CHECK_INT(SENDS, reported);
    peer_free(&p);
    free(memory);
}

/* No message is dropped if that would not make enough room. */
static void test_drop_oldest_drops_nothing_in_vain(void) {
    static const char large[1800] = "";
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.outbox_bytes = 2048;
    o.outbox_policy = STWS_FULL_DROP_OLDEST;
    peer_start(&p, &o);
    for (i = 0; i < 3; i++) peer_send(&p, "small");
    CHECK_INT(0, stws_begin(p.client, "tx")); /* a part of a transaction may not be dropped */
    CHECK_INT(STWS_ERR_FULL, stws_send(p.client, "/queue/a", large, sizeof large));
    CHECK_INT(0, peer_stats(&p).dropped);
    CHECK_INT(0, stws_abort(p.client, "tx"));
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_STR("small small small ", peer_bodies(&p));
    peer_free(&p);
}

/* Fills with the peer's random bytes, or fails if the peer's `extra` is set. */
static int fill_or_fail(void *ctx, void *out, size_t len) {
    memset(out, 7, len);
    return ((struct peer *)ctx)->extra ? -1 : peer_fill(ctx, out, len);
}

/* Without randomness nothing can be sent. Messages that await confirmation are kept. */
static void test_no_randomness_in_a_session(void) {
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.confirm = 1;
    p.random.fill = fill_or_fail;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.extra = &p;
    for (i = 0; i < 200; i++) peer_send(&p, "x"); /* uses up the pool of masking keys */
    peer_turn(&p);
    CHECK_INT(STWS_BACKOFF, stws_state(p.client));
    CHECK_HAS("random", bytes_text(&p.why));
    p.extra = NULL;
    CHECK_INT(0, peer_stats(&p).dropped);
    peer_forget(&p);
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK(peer_count(&p, "SEND") > 100);
    CHECK_INT(0, stws_flush(p.client, 0));
    peer_free(&p);
}

/* ==== small promises ==== */

static void test_a_body_of_null(void) {
    struct peer p;
    begin(&p, 0, 0);
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_send(p.client, "/queue/a", NULL, 0));
    CHECK_INT(0, stws_send(p.client, "/queue/a", "", 0));
    peer_turn(&p);
    CHECK_INT(2, peer_count(&p, "SEND"));
    CHECK_STR(peer_sent(&p, "SEND", 1)->raw, peer_sent(&p, "SEND", 0)->raw);
    CHECK(!strstr(peer_sent(&p, "SEND", 0)->raw, "content-type"));
    peer_free(&p);
}

static void check_by_destination(const char *connected, int subscriptions, int found) {
    stws_subscribe_options s = ack_on_return();
    struct peer p;
    stws_event event;
    begin(&p, 0, 0);
    p.connected = connected;
    p.answer = "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: "
               "upgrade\r\nSec-WebSocket-Accept: @\r\n\r\n";
    while (subscriptions-- > 0) CHECK(stws_subscribe(p.client, "/queue/a", &s) > 0);
    CHECK(stws_subscribe(p.client, "/queue/other", NULL) > 0);
    CHECK(peer_connect(&p));
    peer_turn(&p);
    peer_stomp(&p, "MESSAGE\ndestination:/queue/a\nmessage-id:m-1\n\nbody");
    CHECK_INT(1, stws_next(p.client, &event, 0));
    CHECK_INT(STWS_EVENT_MESSAGE, event.type);
    CHECK_INT(found, event.message->handle);
    peer_turn(&p);
    CHECK_INT(found != 0, peer_stats(&p).matched_by_destination);
    CHECK_INT(found == 0, peer_stats(&p).unknown_subscription);
    CHECK_INT(found != 0, peer_count(&p, "ACK"));
    if (found) CHECK_STR("m-1", sent_header(peer_sent(&p, "ACK", 0), "message-id"));
    if (found && p.version == STWS_STOMP_11)
        CHECK_STR("sub-1", sent_header(peer_sent(&p, "ACK", 0), "subscription"));
    peer_free(&p);
}

static void test_a_message_without_subscription(void) {
    check_by_destination("CONNECTED\nversion:1.0\n\n", 1, 1);
    check_by_destination("CONNECTED\nversion:1.0\n\n", 2, 1);
    check_by_destination("CONNECTED\nversion:1.1\n\n", 1, 1);
    check_by_destination("CONNECTED\nversion:1.1\n\n", 2, 0);
    check_by_destination("CONNECTED\nversion:1.1\n\n", 0, 0);
}

/* After an event more may be due; here the DISCONNECT, which waited for CONNECTED. */
static void test_deadline_after_an_event(void) {
    struct peer p;
    stws_event e;
    begin(&p, 0, 0);
    p.automatic = AUTO_ALL & ~AUTO_LOGIN;
    peer_turn(&p);
    CHECK_INT(STWS_LOGGING_IN, stws_state(p.client));
    CHECK_INT(0, stws_disconnect(p.client, 5000));
    CHECK_INT(0, stws_next(p.client, &e, 0));
    CHECK(stws_deadline(p.client) > 0);
    peer_stomp(&p, p.connected);
    CHECK_INT(1, stws_next(p.client, &e, 0));
    CHECK_INT(STWS_EVENT_CONNECTED, e.type);
    CHECK_INT(0, (int)stws_deadline(p.client));
    peer_turn(&p);
    CHECK_INT(1, peer_count(&p, "DISCONNECT"));
    peer_advance(&p, 1000);
    CHECK_INT(STWS_CLOSED, p.ended);
    peer_free(&p);
}

/* With the program's own loop: data that a flush has read is handled in the next turn, without a
   ready descriptor. */
static void test_deadline_after_a_flush(void) {
    struct peer p;
    begin(&p, 1, 0);
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-9", "1", "/a", "read by the flush");
    peer_send(&p, "x");
    CHECK_INT(0, stws_flush(p.client, 100));
    CHECK_INT(0, stws_deadline(p.client));
    CHECK_INT(0, stws_step(p.client));
    CHECK_HAS("read by the flush", bytes_text(&p.log));
    CHECK_INT(-1, stws_deadline(p.client));
    peer_free(&p);
}

/* Returns how often the log contains a word. */
static int count_in_log(const struct peer *p, const char *word) {
    const char *at = bytes_text(&p->log);
    int n = 0;
    while ((at = strstr(at, word)) != NULL) n++, at++;
    return n;
}

/* Every end is reported once, with retry_ms -1. */
static void test_every_end_is_reported(void) {
    int how;
    for (how = 0; how < 5; how++) {
        struct peer p;
        stws_options o;
        peer_init(&p);
        o = peer_options(&p);
        if (how == 4) o.reconnect = STWS_OFF;
        p.stepping = how & 1;
        peer_start(&p, &o);
        if (how < 3) CHECK(peer_connect(&p));
        if (how == 0 || how == 3) stws_stop(p.client);
        if (how == 1) stws_disconnect(p.client, 1000);
        if (how == 2) p.answer = "HTTP/1.1 401 \r\n\r\n", peer_end(&p);
        if (how == 4) p.open_result = STWS_ERR_CONNECT;
        peer_advance(&p, 3000);
        CHECK(p.ended != 0);
        CHECK_INT(-1, p.retry_ms);
        CHECK(p.why.len > 0 || p.ended == STWS_CLOSED);
        CHECK_INT(how == 2 ? 2 : 1, count_in_log(&p, "DISCONNECTED"));
        peer_free(&p);
    }
}

/* Receipts are found without a search, however many are waiting. Receipts arrive in several orders,
   with gaps, repeated and unknown numbers. */
static void test_receipts_in_any_order(void) {
    enum { COUNT = 500 };
    int order, i;
    for (order = 0; order < 3; order++) {
        stws_outgoing m = {"/queue/a", "x", 1, NULL, NULL, NULL, 0, 0};
        struct peer p;
        stws_options o;
        peer_init(&p);
        o = peer_options(&p);
        o.confirm = 1;
        peer_start(&p, &o);
        CHECK(peer_connect(&p));
        p.automatic = AUTO_ALL & ~AUTO_RECEIPT;
        for (i = 0; i < COUNT; i++) {
            m.receipt = i % 10 == 0;
            CHECK(stws_send_ex(p.client, &m) >= 0);
        }
        peer_turn(&p);
        CHECK_INT(COUNT, peer_count(&p, "SEND"));
        for (i = 0; i < COUNT; i++) {
            int nth = order == 0 ? COUNT - 1 - i : order == 1 ? i * 7 % COUNT : i;
            const char *receipt = sent_header(peer_sent(&p, "SEND", nth), "receipt");
            CHECK_INT(STWS_ERR_TIMEOUT, stws_flush(p.client, 0));
            peer_receipt(&p, receipt);
            peer_receipt(&p, "receipt-1999999999");
            if (i % 50 == 0) peer_receipt(&p, receipt);
            peer_turn(&p);
        }
        CHECK_INT(0, stws_flush(p.client, 0));
        for (i = 0; i < 50; i++) CHECK(peer_stats(&p).dropped == 0);
        peer_free(&p);
    }
}

int main(void) {
    RUN(test_disconnect_survives_a_lost_connection); /* [G2] */
    RUN(test_disconnect_reports_lost_frames);
    RUN(test_disconnect_of_a_refused_client_reports_it);
    RUN(test_close);
    RUN(test_close_reports_lost_frames);
    RUN(test_close_in_a_callback);
    RUN(test_the_current_message_is_acknowledged_first); /* [G8] */
    RUN(test_a_popped_message_is_acknowledged_first);
    RUN(test_unsubscribing_with_a_full_outbox);
    RUN(test_a_kept_message_without_its_subscription);
    RUN(test_an_ack_after_the_message_was_released);
    RUN(test_a_request_keeps_other_messages);
    RUN(test_a_receipt_in_a_resent_transaction); /* [G6] */
    RUN(test_leaving_a_session_loses_nothing);   /* [E7] */
    RUN(test_a_waiting_ack_is_sent_before_the_end);
    RUN(test_an_ack_without_room_is_sent_before_the_end);
    RUN(test_disconnect_with_an_open_transaction);
    RUN(test_a_popped_message_outlives_its_client);
    RUN(test_leaving_a_stalled_session_ends);
    RUN(test_an_error_in_an_old_session);
    RUN(test_the_error_text_of_an_end);
    RUN(test_close_keeps_receipts);
    RUN(test_drop_oldest_drops_nothing_in_vain);
    RUN(test_no_randomness_in_a_session);
    RUN(test_a_body_of_null);
    RUN(test_a_message_without_subscription);
    RUN(test_deadline_after_an_event);
    RUN(test_deadline_after_a_flush);
    RUN(test_every_end_is_reported);
    RUN(test_receipts_in_any_order);
    return test_report();
}
