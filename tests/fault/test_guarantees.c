/* test_guarantees.c - tests what the manual guarantees about messages: transactions are resent
   completely or not at all, the marks of the outbox, stable ids, acknowledgements by the library,
   and the maximum age of a session. The server is scripted. */
#include "scripted.h"

/* Connects a client, with or without confirm. */
static void connected(struct peer *p, int confirm) {
    stws_options o;
    peer_init(p);
    p->tick_us = 1000; /* for stws_flush */
    o = peer_options(p);
    o.confirm = confirm;
    peer_start(p, &o);
    CHECK(peer_connect(p));
    peer_forget(p);
}

/* ==== transactions ==== */

static int send_in(struct peer *p, const char *transaction, const char *body) {
    stws_outgoing m = {.destination = "/queue/a", .body = body};
    m.body_len = strlen(body);
    m.transaction = transaction;
    return stws_send_ex(p->client, &m);
}

/* Returns the commands that the client has sent since the last peer_forget. */
static const char *sent_commands(const struct peer *p) {
    return bytes_text(&p->order);
}

static void test_an_open_transaction_is_resent_completely(void) {
    struct peer p;
    connected(&p, 0);
    CHECK_INT(0, stws_begin(p.client, "t"));
    CHECK_INT(0, send_in(&p, "t", "one"));
    peer_turn(&p);
    CHECK_STR("BEGIN SEND ", sent_commands(&p));
    peer_send(&p, "aside");
    peer_turn(&p);
    peer_cut(&p);
    CHECK_INT(0, send_in(&p, "t", "two"));
    CHECK_INT(0, stws_commit(p.client, "t"));
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT BEGIN SEND SEND COMMIT ", sent_commands(&p));
    CHECK_STR("one two ", peer_bodies(&p));
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT ", sent_commands(&p)); /* a committed transaction is not resent */
    CHECK_INT(0, peer_stats(&p).dropped);
    peer_free(&p);
}

static void test_with_confirm_a_transaction_is_kept_until_its_commit_is_confirmed(void) {
    struct peer p;
    connected(&p, 1);
    p.automatic &= ~AUTO_RECEIPT;
    CHECK_INT(0, stws_begin(p.client, "t"));
    CHECK_INT(0, send_in(&p, "t", "one"));
    CHECK_INT(0, send_in(&p, "t", "two"));
    CHECK_INT(0, stws_commit(p.client, "t"));
    peer_turn(&p);
    CHECK(sent_header(peer_sent(&p, "COMMIT", 0), "receipt") != NULL);
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 1), "receipt"));
    peer_turn(&p);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT BEGIN SEND SEND COMMIT ", sent_commands(&p));
    CHECK_STR("one two ", peer_bodies(&p));
    CHECK_INT(STWS_ERR_TIMEOUT, stws_flush(p.client, 100));
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 1), "receipt"));
    peer_receipt(&p, sent_header(peer_sent(&p, "COMMIT", 0), "receipt"));
    CHECK_INT(0, stws_flush(p.client, 100));
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT ", sent_commands(&p));
    peer_free(&p);
}

/* Two transactions of the same name, one after the other. The end of the first must not end the
   second. */
static void test_a_reused_transaction_name(void) {
    struct peer p;
    connected(&p, 1);
    p.automatic &= ~AUTO_RECEIPT;
    stws_begin(p.client, "t");
    send_in(&p, "t", "first");
    stws_commit(p.client, "t");
    stws_begin(p.client, "t");
    send_in(&p, "t", "second");
    peer_turn(&p);
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_receipt(&p, sent_header(peer_sent(&p, "COMMIT", 0), "receipt"));
    peer_turn(&p);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT BEGIN SEND ", sent_commands(&p));
    CHECK_STR("second ", peer_bodies(&p));
    CHECK_INT(0, stws_abort(p.client, "t"));
    peer_turn(&p);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT ", sent_commands(&p));
    peer_free(&p);
}

static void acknowledge_in_t(stws *client, const stws_message *message, void *user) {
    (void)user;
    CHECK_INT(0, stws_ack_in(client, message, "t"));
}

/* Starts a transaction that contains an ACK, to be interrupted by a lost connection. */
static void acknowledged(struct peer *p, int confirm) {
    stws_subscribe_options by_hand = {
        .id = "s", .ack = STWS_ACK_CLIENT, .on_message = acknowledge_in_t};
    connected(p, confirm);
    stws_subscribe(p->client, "/queue/b", &by_hand);
    stws_begin(p->client, "t");
    peer_message(p, "s", "1", "/queue/b", "work");
    peer_turn(p);
    CHECK(send_in(p, "t", "result") >= 0);
    peer_turn(p);
    CHECK_STR("SUBSCRIBE BEGIN ACK SEND ", sent_commands(p));
}

static void test_an_ack_of_an_earlier_session_breaks_the_transaction(void) {
    struct peer p;
    acknowledged(&p, 0);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE ", sent_commands(&p));
    CHECK_INT(STWS_ERR_STALE, send_in(&p, "t", "more"));
    CHECK_INT(STWS_ERR_STALE, stws_commit(p.client, "t"));
    CHECK_INT(0, stws_begin(p.client, "t")); /* this begins a new transaction */
    CHECK_INT(0, send_in(&p, "t", "again"));
    CHECK_INT(0, stws_commit(p.client, "t"));
    peer_turn(&p);
    CHECK_STR("CONNECT SUBSCRIBE BEGIN SEND COMMIT ", sent_commands(&p));
    CHECK_INT(2, peer_stats(&p).dropped);
    peer_free(&p);
}

static void test_a_broken_transaction_may_be_aborted(void) {
    struct peer p;
    acknowledged(&p, 0);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_abort(p.client, "t"));
    CHECK_INT(0, stws_flush(p.client, 100));
    CHECK_STR("CONNECT SUBSCRIBE ", sent_commands(&p));
    peer_free(&p);
}

static void test_a_committed_transaction_with_an_ack_is_not_resent_in_part(void) {
    struct peer p;
    acknowledged(&p, 1);
    p.automatic &= ~AUTO_RECEIPT;
    CHECK_INT(0, stws_commit(p.client, "t"));
    peer_turn(&p);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE ", sent_commands(&p));
    CHECK_INT(0, stws_flush(p.client, 100));
    peer_free(&p);
}

static void test_the_receipt_of_a_broken_transaction_ends_as_stale(void) {
    stws_outgoing m = {
        .destination = "/queue/a", .body = "x", .body_len = 1, .transaction = "t", .receipt = 1};
    struct peer p;
    acknowledged(&p, 1);
    p.automatic &= ~AUTO_RECEIPT;
    CHECK(stws_send_ex(p.client, &m) > 0);
    peer_turn(&p);
    peer_end(&p);
    peer_turn(&p);
    CHECK_HAS("STALE", bytes_text(&p.log));
    peer_free(&p);
}

/* A full outbox drops the oldest messages, but no part of a transaction, and nothing if that would
   not make room. */
static void test_a_full_outbox_drops_no_part_of_a_transaction(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.outbox_count = 4;
    o.outbox_policy = STWS_FULL_DROP_OLDEST;
    peer_start(&p, &o);
    peer_send(&p, "lost");
    stws_begin(p.client, "t");
    send_in(&p, "t", "kept");
    peer_send(&p, "behind");
    CHECK_INT(0, stws_commit(p.client, "t"));
    CHECK_INT(STWS_ERR_FULL, stws_send(p.client, "/queue/a", "refused", 7));
    CHECK(peer_connect(&p));
    CHECK_STR("kept behind ", peer_bodies(&p));
    CHECK_STR("CONNECT BEGIN SEND SEND COMMIT ", sent_commands(&p));
    peer_free(&p);
}

/* ==== a socket that is full ==== */

static int writes;

static long count_writes(void *ctx, const char *buf, size_t len) {
    writes++;
    return peer_t_write(ctx, buf, len);
}

static void send_kilobytes(struct peer *p, int count) {
    static char kilobyte[1024];
    while (count-- > 0) CHECK_INT(0, stws_send(p->client, "/queue/a", kilobyte, sizeof kilobyte));
}

/* Calling the socket costs more than building a small frame, so it is not called for every frame. A
   program that only sends must still continue once there is room. */
static void test_a_full_socket_is_not_called_for_every_frame(void) {
    struct peer p;
    stws_options o;
    int asked;
    peer_init(&p);
    o = peer_options(&p);
    p.transport.write = count_writes;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.write_blocked = 1;
    writes = 0;
    send_kilobytes(&p, 64);
    CHECK_INT(1, writes);
    send_kilobytes(&p, 320);
    CHECK(writes > 1 && writes <= 20);
    p.write_blocked = 0;
    asked = writes;
    send_kilobytes(&p, 64);
    CHECK(writes > asked);
    peer_turn(&p);
    CHECK_INT(448, (int)peer_stats(&p).messages_out);
    peer_free(&p);
}

/* ==== the marks of the outbox ==== */

static void test_the_marks_of_the_outbox(void) {
    static char kilobyte[1024];
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.outbox_high = 10000;
    o.outbox_low = 3000;
    peer_start(&p, &o);
    p.open_result = STWS_ERR_CONNECT;
    for (i = 0; i < 5; i++) stws_send(p.client, "/queue/a", kilobyte, sizeof kilobyte);
    peer_turn(&p);
    CHECK(!strstr(bytes_text(&p.log), "OUTBOX"));
    CHECK(stws_deadline(p.client) != 0);
    for (i = 0; i < 6; i++) stws_send(p.client, "/queue/a", kilobyte, sizeof kilobyte);
    CHECK_INT(0, (int)stws_deadline(p.client)); /* an event loop must call again immediately */
    peer_turn(&p);
    CHECK(stws_deadline(p.client) != 0);
    CHECK_HAS("OUTBOX_HIGH\n", bytes_text(&p.log));
    stws_send(p.client, "/queue/a", kilobyte, sizeof kilobyte);
    peer_turn(&p);
    p.open_result = STWS_DONE;
    bytes_clear(&p.log);
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_STR("CONNECTED\nOUTBOX_LOW\n", bytes_text(&p.log));
    peer_free(&p);
}

static void test_marks_in_the_wrong_order(void) {
    stws_options o = {.url = "ws://localhost/x", .outbox_high = 10, .outbox_low = 11};
    stws *client = stws_create(&o);
    CHECK_INT(STWS_ERR_USAGE, stws_run(client));
    CHECK_HAS("outbox_low", stws_error_text(client));
    stws_destroy(client);
}

/* ==== the age of a session ==== */

static void test_a_session_that_is_too_old_is_replaced(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.max_session_ms = 60000;
    peer_start(&p, &o);
    CHECK(stws_subscribe(p.client, "/topic/a", NULL) > 0);
    CHECK(peer_connect(&p));
    peer_advance(&p, 53900);
    CHECK_INT(1, p.sessions);
    peer_forget(&p);
    peer_advance(&p, 6200);
    CHECK_INT(2, p.sessions);
    CHECK_HAS("max_session_ms", bytes_text(&p.why));
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_STR("CLOSE(1000) CONNECT SUBSCRIBE ", sent_commands(&p));
    peer_advance(&p, 120200);
    CHECK_INT(4, p.sessions);
    peer_free(&p);
}

/* ==== ids that stay ==== */

static void test_a_resent_message_keeps_its_id(void) {
    struct peer p;
    stws_options o;
    char first[64], second[64];
    peer_init(&p);
    o = peer_options(&p);
    o.confirm = 1;
    o.stable_id = "message-uid";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    peer_send(&p, "one");
    peer_send(&p, "two");
    peer_turn(&p);
    snprintf(first, sizeof first, "%s", sent_header(peer_sent(&p, "SEND", 0), "message-uid"));
    snprintf(second, sizeof second, "%s", sent_header(peer_sent(&p, "SEND", 1), "message-uid"));
    CHECK_INT(18, strlen(first));
    CHECK_STR("-1", first + 16);
    CHECK_STR("-2", second + 16);
    CHECK(strncmp(first, second, 16) == 0);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR(first, sent_header(peer_sent(&p, "SEND", 0), "message-uid"));
    CHECK_STR(second, sent_header(peer_sent(&p, "SEND", 1), "message-uid"));
    peer_free(&p);
}

static void test_an_id_set_by_the_program_is_kept(void) {
    static const char *const own[] = {"message-uid", "mine", NULL};
    stws_outgoing m = {.destination = "/queue/a", .headers = own};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.stable_id = "message-uid";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_send_ex(p.client, &m));
    peer_turn(&p);
    CHECK_STR("mine", sent_header(peer_sent(&p, "SEND", 0), "message-uid"));
    CHECK(!strstr(peer_sent(&p, "SEND", 0)->raw, "-1\n"));
    peer_free(&p);
}

/* ==== acknowledged by the library ==== */

static void note(stws *client, const stws_message *message, void *user) {
    struct peer *p = (struct peer *)user;
    (void)client;
    bytes_print(&p->log, "%s, %d acks before\n", message->body, peer_count(p, "ACK"));
}

static void refuse(stws *client, const stws_message *message, void *user) {
    (void)user;
    CHECK_INT(0, stws_nack(client, message));
}

static void test_acknowledged_when_the_callback_returns(void) {
    struct peer p;
    stws_subscribe_options own = {.ack_on = STWS_ACK_ON_RETURN, .on_message = note, .user = &p};
    stws_subscribe_options by_hand = own;
    stws_subscribe_options bad = {.ack_on = STWS_ACK_ON_RETURN, .on_message = refuse};
    by_hand.ack_on = STWS_ACK_BY_CALL;
    connected(&p, 0);
    bytes_clear(&p.log);
    CHECK_INT(1, stws_subscribe(p.client, "/queue/a", &own));
    CHECK_INT(2, stws_subscribe(p.client, "/queue/b", &bad));
    CHECK_INT(3, stws_subscribe(p.client, "/queue/c", &by_hand));
    peer_turn(&p);
    CHECK_STR("client-individual", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "ack"));
    peer_message(&p, "sub-1", "1", "/queue/a", "good");
    peer_message(&p, "sub-2", "2", "/queue/b", "bad");
    peer_turn(&p);
    peer_message(&p, "sub-3", "3", "/queue/c", "later");
    peer_turn(&p);
    CHECK_STR("SUBSCRIBE SUBSCRIBE SUBSCRIBE ACK NACK ", sent_commands(&p));
    CHECK_STR("good, 0 acks before\nlater, 1 acks before\n", bytes_text(&p.log));
    peer_free(&p);
}

/* Through stws_next: the message is acknowledged by the next call, or before this call returns. */
static void acknowledged_as_an_event(stws_ack_on ack_on, int acks_at_once) {
    struct peer p;
    stws_event e;
    stws_subscribe_options own = {.id = "s", .ack_on = ack_on};
    connected(&p, 0);
    CHECK(stws_subscribe(p.client, "/queue/a", &own) > 0);
    peer_turn(&p);
    peer_message(&p, "s", "1", "/queue/a", "work");
    CHECK_INT(1, stws_next(p.client, &e, 0));
    CHECK_INT(ack_on, e.message->ack_on);
    stws_send(p.client, "/queue/b", "result", 6);
    stws_next(p.client, &e, 0);
    peer_turn(&p);
    CHECK_STR(acks_at_once ? "SUBSCRIBE ACK SEND " : "SUBSCRIBE SEND ACK ", sent_commands(&p));
    peer_free(&p);
}

static void test_acknowledged_as_an_event(void) {
    acknowledged_as_an_event(STWS_ACK_ON_HANDOVER, 1);
    acknowledged_as_an_event(STWS_ACK_ON_RETURN, 0);
}

/* Through a queue: acknowledged when the message is put into the queue, or at the next pop after
   its own. */
static void acknowledged_through_a_queue(stws_ack_on ack_on) {
    struct peer p;
    stws_options o;
    stws_queue *queue = stws_queue_create(65536);
    const stws_message *m = NULL;
    stws_subscribe_options own = {.id = "s", .ack_on = ack_on};
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    peer_start(&p, &o);
    CHECK(stws_subscribe(p.client, "/queue/a", &own) > 0);
    CHECK(peer_connect(&p));
    peer_message(&p, "s", "1", "/queue/a", "one");
    peer_message(&p, "s", "2", "/queue/a", "two");
    peer_message(&p, "s", "3", "/queue/a", "three");
    peer_turn(&p);
    CHECK_INT(ack_on == STWS_ACK_ON_HANDOVER ? 3 : 0, peer_count(&p, "ACK"));
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    peer_turn(&p);
    CHECK_INT(ack_on == STWS_ACK_ON_HANDOVER ? 3 : 1, peer_count(&p, "ACK"));
    if (ack_on == STWS_ACK_ON_RETURN) CHECK_INT(0, stws_nack(p.client, m));
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    CHECK_INT(0, stws_queue_pop(queue, &m, 0));
    peer_turn(&p);
    CHECK_INT(ack_on == STWS_ACK_ON_HANDOVER ? 3 : 2, peer_count(&p, "ACK"));
    CHECK_INT(ack_on == STWS_ACK_ON_HANDOVER ? 0 : 1, peer_count(&p, "NACK"));
    peer_free(&p);
    stws_queue_destroy(queue);
}

static void test_acknowledged_through_a_queue(void) {
    acknowledged_through_a_queue(STWS_ACK_ON_HANDOVER);
    acknowledged_through_a_queue(STWS_ACK_ON_RETURN);
}

/* Messages in a queue outlive their client. After that they cannot be acknowledged. */
static void test_a_queue_outlives_its_client(void) {
    struct peer p;
    stws_options o;
    stws_queue *queue = stws_queue_create(65536);
    const stws_message *m = NULL;
    stws_subscribe_options own = {.id = "s", .ack_on = STWS_ACK_ON_RETURN};
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    peer_start(&p, &o);
    CHECK(stws_subscribe(p.client, "/queue/a", &own) > 0);
    CHECK(peer_connect(&p));
    peer_message(&p, "s", "1", "/queue/a", "one");
    peer_message(&p, "s", "2", "/queue/a", "two");
    peer_turn(&p);
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    peer_free(&p);
    CHECK_STR("one", m->body);
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    CHECK_STR("two", m->body);
    CHECK_INT(STWS_ERR_STALE, stws_ack(m->client, m));
    CHECK_INT(STWS_CLOSED, stws_queue_pop(queue, &m, -1)); /* no more messages can arrive */
    stws_queue_destroy(queue);
}

/* ---- when there is no room for the ACK ---- */

/* The ACK for this id needs more room than the smallest of the messages that fill the outbox. */
#define LONG_ID "an-id-that-is-much-longer-than-the-destination-of-that-message-"

/* A client with a blocked socket, a full outbox, and two received messages. */
static void with_a_full_outbox(struct peer *p, stws_options *o, stws_ack_on ack_on,
                               stws_message_fn call) {
    static char body[400];
    stws_subscribe_options own = {.id = "s", .prefetch = 1, .ack_on = ack_on};
    own.on_message = call;
    own.user = p;
    o->tx_buffer = 1024;
    o->outbox_bytes = 2048;
    peer_start(p, o);
    CHECK(stws_subscribe(p->client, "/queue/a", &own) > 0);
    CHECK(peer_connect(p));
    peer_turn(p);
    bytes_clear(&p->log);
    p->write_blocked = 1;
    while (stws_send(p->client, "/queue/b", body, sizeof body) == STWS_OK) continue;
    while (stws_send(p->client, "/queue/b", "", 0) == STWS_OK) continue;
    peer_message(p, "s", LONG_ID "1", "/queue/a", "one");
    peer_message(p, "s", LONG_ID "2", "/queue/a", "two");
}

/* The ACK of the first message waits for room, and the second message is held back until then, even
   though the broker has already sent it. When the socket is free again, both are acknowledged in
   the same session. */
static void test_an_ack_waits_for_room_after_a_callback(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    with_a_full_outbox(&p, &o, STWS_ACK_ON_RETURN, note);
    peer_turn(&p);
    CHECK_STR("one, 0 acks before\n", bytes_text(&p.log));
    CHECK_INT(0, peer_count(&p, "ACK"));
    p.write_blocked = 0;
    peer_turn(&p);
    CHECK_STR("one, 0 acks before\ntwo, 0 acks before\n", bytes_text(&p.log));
    CHECK_INT(2, peer_count(&p, "ACK"));
    CHECK_INT(1, peer_stats(&p).sessions);
    peer_free(&p);
}

/* A flush makes room, and then reads what it waits for. */
static void test_a_flush_makes_room_for_the_ack(void) {
    struct peer p;
    stws_options o;
    stws_event e;
    peer_init(&p);
    p.tick_us = 1000;
    o = peer_options(&p);
    o.confirm = 1;
    with_a_full_outbox(&p, &o, STWS_ACK_ON_RETURN, note);
    CHECK_INT(0, stws_next(p.client, &e, 0));
    CHECK_STR("one, 0 acks before\n", bytes_text(&p.log));
    p.write_blocked = 0;
    CHECK_INT(0, stws_flush(p.client, 5000));
    CHECK(peer_count(&p, "ACK") > 0);
    peer_free(&p);
}

static void an_ack_waits_for_room_after_an_event(stws_ack_on ack_on) {
    struct peer p;
    stws_options o;
    stws_event e;
    peer_init(&p);
    o = peer_options(&p);
    with_a_full_outbox(&p, &o, ack_on, NULL);
    p.tick_us = 1000;
    CHECK_INT(1, stws_next(p.client, &e, 0));
    CHECK_STR("one", e.message->body);
    CHECK_INT(0, stws_next(p.client, &e, 0));
    CHECK_INT(0, peer_count(&p, "ACK"));
    p.write_blocked = 0;
    CHECK_INT(1, stws_next(p.client, &e, 1000));
    CHECK_STR("two", e.message->body);
    CHECK_INT(0, stws_next(p.client, &e, 0));
    CHECK_INT(2, peer_count(&p, "ACK"));
    peer_free(&p);
}

static void test_an_ack_waits_for_room_after_an_event(void) {
    an_ack_waits_for_room_after_an_event(STWS_ACK_ON_RETURN);
    an_ack_waits_for_room_after_an_event(STWS_ACK_ON_HANDOVER);
}

/* With acknowledgement at hand-over, the client waits. With acknowledgement on return, the popping
   call waits, and its message stays valid. */
static void an_ack_waits_for_room_in_a_queue(stws_ack_on ack_on, int popped_at_once) {
    struct peer p;
    stws_options o;
    const stws_message *m = NULL, *first;
    stws_queue *queue = stws_queue_create(65536);
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    with_a_full_outbox(&p, &o, ack_on, NULL);
    peer_turn(&p);
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    first = m;
    CHECK_STR("one", m->body);
    CHECK_INT(popped_at_once, stws_queue_pop(queue, &m, 0));
    if (!popped_at_once) CHECK(m == first || ack_on == STWS_ACK_ON_HANDOVER);
    CHECK_INT(0, peer_count(&p, "ACK"));
    p.write_blocked = 0;
    peer_turn(&p);
    while (stws_queue_pop(queue, &m, 0) == 1) CHECK_STR("two", m->body);
    peer_turn(&p);
    CHECK_INT(2, peer_count(&p, "ACK"));
    peer_free(&p);
    stws_queue_destroy(queue);
}

static void test_an_ack_waits_for_room_in_a_queue(void) {
    an_ack_waits_for_room_in_a_queue(STWS_ACK_ON_RETURN, 0);
    an_ack_waits_for_room_in_a_queue(STWS_ACK_ON_HANDOVER, 0);
}

/* If the session ends meanwhile, the message arrives again in the next session, and is acknowledged
   there. */
static void test_an_ack_that_waits_for_room_ends_with_its_session(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    with_a_full_outbox(&p, &o, STWS_ACK_ON_RETURN, note);
    peer_turn(&p);
    CHECK_STR("one, 0 acks before\n", bytes_text(&p.log));
    p.write_blocked = 0;
    p.write_error = STWS_ERR_IO;
    peer_turn(&p);
    p.write_error = 0;
    peer_end(&p);
    peer_turn(&p);
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_INT(0, peer_count(&p, "ACK"));
    peer_message(&p, "s", "3", "/queue/a", "one");
    peer_turn(&p);
    CHECK_INT(1, peer_count(&p, "ACK"));
    CHECK_INT(2, peer_sent(&p, "ACK", 0)->session);
    peer_free(&p);
}

/* A message of an earlier session is not acknowledged in the current one, whether by the program or
   by the library. */
static void test_no_acknowledgement_in_another_session(void) {
    struct peer p;
    stws_event e;
    stws_subscribe_options own = {.id = "s", .ack_on = STWS_ACK_ON_RETURN};
    connected(&p, 0);
    CHECK(stws_subscribe(p.client, "/queue/a", &own) > 0);
    peer_turn(&p);
    peer_message(&p, "s", "1", "/queue/a", "work");
    CHECK_INT(1, stws_next(p.client, &e, 0));
    stws_reconnect_now(p.client);
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK(peer_count(&p, "ACK") <= 1);
    CHECK_INT(1, peer_stats(&p).stale_acks + (unsigned)peer_count(&p, "ACK"));
    CHECK(!peer_sent(&p, "ACK", 0) || peer_sent(&p, "ACK", 0)->session == 1);
    peer_free(&p);
}

static void test_ack_on_with_auto_is_refused(void) {
    struct peer p;
    stws_subscribe_options wrong = {.ack = STWS_ACK_AUTO, .ack_on = STWS_ACK_ON_RETURN};
    connected(&p, 0);
    CHECK_INT(STWS_ERR_USAGE, stws_subscribe(p.client, "/queue/a", &wrong));
    peer_free(&p);
}

int main(void) {
    RUN(test_an_open_transaction_is_resent_completely);                         /* [G6] */
    RUN(test_with_confirm_a_transaction_is_kept_until_its_commit_is_confirmed); /* [G6] */
    RUN(test_a_reused_transaction_name);
    RUN(test_an_ack_of_an_earlier_session_breaks_the_transaction); /* [G7] */
    RUN(test_a_broken_transaction_may_be_aborted);
    RUN(test_a_committed_transaction_with_an_ack_is_not_resent_in_part);
    RUN(test_the_receipt_of_a_broken_transaction_ends_as_stale); /* [G7] */
    RUN(test_a_full_outbox_drops_no_part_of_a_transaction);
    RUN(test_a_full_socket_is_not_called_for_every_frame);
    RUN(test_the_marks_of_the_outbox);
    RUN(test_marks_in_the_wrong_order);
    RUN(test_a_session_that_is_too_old_is_replaced); /* [E7] */
    RUN(test_a_resent_message_keeps_its_id);         /* [G3] */
    RUN(test_an_id_set_by_the_program_is_kept);
    RUN(test_acknowledged_when_the_callback_returns); /* [G8] */
    RUN(test_acknowledged_as_an_event);               /* [G8] */
    RUN(test_acknowledged_through_a_queue);           /* [G8] */
    RUN(test_a_queue_outlives_its_client);
    RUN(test_an_ack_waits_for_room_after_a_callback); /* [G8] */
    RUN(test_an_ack_waits_for_room_after_an_event);
    RUN(test_a_flush_makes_room_for_the_ack);
    RUN(test_an_ack_waits_for_room_in_a_queue);
    RUN(test_an_ack_that_waits_for_room_ends_with_its_session);
    RUN(test_no_acknowledgement_in_another_session); /* [G9] */
    RUN(test_ack_on_with_auto_is_refused);
    return test_report();
}
