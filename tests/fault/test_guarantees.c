/* test_guarantees.c - what is promised about messages: transactions that go whole or not at all,
   marks of the outbox, ids that stay, acknowledgements that the library gives itself, and how
   long a session lasts. */
#include "scripted.h"

/* A client that is connected, with confirm or without. */
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

/* The commands since the connection was made, with the session's CONNECT. */
static const char *said(const struct peer *p) {
    return bytes_text(&p->order);
}

static void test_an_open_transaction_goes_again_whole(void) {
    struct peer p;
    connected(&p, 0);
    CHECK_INT(0, stws_begin(p.client, "t"));
    CHECK_INT(0, send_in(&p, "t", "one"));
    peer_turn(&p);
    CHECK_STR("BEGIN SEND ", said(&p));
    peer_send(&p, "aside");
    peer_turn(&p);
    peer_cut(&p);
    CHECK_INT(0, send_in(&p, "t", "two"));
    CHECK_INT(0, stws_commit(p.client, "t"));
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT BEGIN SEND SEND COMMIT ", said(&p));
    CHECK_STR("one two ", peer_bodies(&p));
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT ", said(&p)); /* what was committed is over */
    CHECK_INT(0, peer_stats(&p).dropped);
    peer_free(&p);
}

static void test_with_confirm_it_stays_until_the_commit_is_confirmed(void) {
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
    CHECK_STR("CONNECT BEGIN SEND SEND COMMIT ", said(&p));
    CHECK_STR("one two ", peer_bodies(&p));
    CHECK_INT(STWS_ERR_TIMEOUT, stws_flush(p.client, 100));
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 1), "receipt"));
    peer_receipt(&p, sent_header(peer_sent(&p, "COMMIT", 0), "receipt"));
    CHECK_INT(0, stws_flush(p.client, 100));
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT ", said(&p));
    peer_free(&p);
}

/* Two of the same name, one after the other: the first one's end is not the second one's. */
static void test_a_name_that_is_used_again(void) {
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
    CHECK_STR("CONNECT BEGIN SEND ", said(&p));
    CHECK_STR("second ", peer_bodies(&p));
    CHECK_INT(0, stws_abort(p.client, "t"));
    peer_turn(&p);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT ", said(&p));
    peer_free(&p);
}

static void acknowledge_in_t(stws *client, const stws_message *message, void *user) {
    (void)user;
    CHECK_INT(0, stws_ack_in(client, message, "t"));
}

/* A transaction with an ACK in it that is under way when the connection breaks. */
static void acknowledged(struct peer *p, int confirm) {
    stws_subscription by_hand = {.id = "s", .ack = "client", .on_message = acknowledge_in_t};
    connected(p, confirm);
    stws_subscribe(p->client, "/queue/b", &by_hand);
    stws_begin(p->client, "t");
    peer_message(p, "s", "1", "/queue/b", "work");
    peer_turn(p);
    CHECK(send_in(p, "t", "result") >= 0);
    peer_turn(p);
    CHECK_STR("SUBSCRIBE BEGIN ACK SEND ", said(p));
}

static void test_an_ack_of_an_earlier_session_breaks_it(void) {
    struct peer p;
    acknowledged(&p, 0);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE ", said(&p));
    CHECK_INT(STWS_ERR_STALE, send_in(&p, "t", "more"));
    CHECK_INT(STWS_ERR_STALE, stws_commit(p.client, "t"));
    CHECK_INT(0, stws_begin(p.client, "t")); /* and now it is a new one */
    CHECK_INT(0, send_in(&p, "t", "again"));
    CHECK_INT(0, stws_commit(p.client, "t"));
    peer_turn(&p);
    CHECK_STR("CONNECT SUBSCRIBE BEGIN SEND COMMIT ", said(&p));
    CHECK_INT(2, peer_stats(&p).dropped);
    peer_free(&p);
}

static void test_a_broken_one_may_be_aborted(void) {
    struct peer p;
    acknowledged(&p, 0);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_abort(p.client, "t"));
    CHECK_INT(0, stws_flush(p.client, 100));
    CHECK_STR("CONNECT SUBSCRIBE ", said(&p));
    peer_free(&p);
}

static void test_a_committed_one_with_an_ack_is_not_said_in_part(void) {
    struct peer p;
    acknowledged(&p, 1);
    p.automatic &= ~AUTO_RECEIPT;
    CHECK_INT(0, stws_commit(p.client, "t"));
    peer_turn(&p);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE ", said(&p));
    CHECK_INT(0, stws_flush(p.client, 100));
    peer_free(&p);
}

static void test_the_receipt_of_a_broken_one_tells(void) {
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

/* The oldest go when the outbox is full, but nothing out of a transaction, and nothing in vain. */
static void test_a_full_outbox_takes_no_part_of_it(void) {
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
    CHECK_STR("CONNECT BEGIN SEND SEND COMMIT ", said(&p));
    peer_free(&p);
}

int main(void) {
    RUN(test_an_open_transaction_goes_again_whole);
    RUN(test_with_confirm_it_stays_until_the_commit_is_confirmed);
    RUN(test_a_name_that_is_used_again);
    RUN(test_an_ack_of_an_earlier_session_breaks_it);
    RUN(test_a_broken_one_may_be_aborted);
    RUN(test_a_committed_one_with_an_ack_is_not_said_in_part);
    RUN(test_the_receipt_of_a_broken_one_tells);
    RUN(test_a_full_outbox_takes_no_part_of_it);
    return test_report();
}
