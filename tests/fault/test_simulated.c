/* test_simulated.c - tests for the defects that the simulator (tests/sim) has found in stomp_ws.h.
   Each is reproduced in as few steps as possible, with the scripted server. */
#include "scripted.h"

#include <fcntl.h>
#include <pthread.h>

/* Fills the output, so that the outbox gets all later frames. */
static void fill_output(struct peer *p) {
    static char bulk[2000];
    int i;
    memset(bulk, 'x', sizeof bulk);
    p->write_blocked = 1;
    for (i = 0; i < 4; i++) CHECK_INT(0, stws_send(p->client, "/queue/a", bulk, sizeof bulk));
}

/* Starts a client whose UNSUBSCRIBE for this subscription waits behind a full output. */
static void unsubscribing(struct peer *p, const stws_subscribe_options *subscription) {
    stws_options o;
    int handle;
    peer_init(p);
    o = peer_options(p);
    o.tx_buffer = 4096;
    peer_start(p, &o);
    handle = stws_subscribe(p->client, "/topic/a", subscription);
    CHECK(peer_connect(p));
    peer_forget(p);
    fill_output(p);
    CHECK_INT(0, stws_unsubscribe(p->client, handle));
}

/* An id is reused while its UNSUBSCRIBE waits. The broker must get the UNSUBSCRIBE first. */
static void test_a_reused_id_waits_for_its_unsubscribe(void) {
    stws_subscribe_options mine = {.id = "mine"};
    struct peer p;
    int again;
    unsubscribing(&p, &mine);
    again = stws_subscribe(p.client, "/topic/b", &mine);
    CHECK(again > 0);
    CHECK_INT(0, stws_send(p.client, "/queue/a", "last", 4));
    p.write_blocked = 0;
    peer_turn(&p);
    CHECK_STR("SEND SEND SEND SEND UNSUBSCRIBE SUBSCRIBE SEND ", bytes_text(&p.order));
    CHECK_STR("/topic/b", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "destination"));
    peer_free(&p);
}

/* A subscription that ends before its SUBSCRIBE was sent sends nothing. */
static void test_a_reused_id_that_ends_before_it_is_sent(void) {
    stws_subscribe_options mine = {.id = "mine"};
    struct peer p;
    int handle;
    unsubscribing(&p, &mine);
    handle = stws_subscribe(p.client, "/topic/b", &mine);
    CHECK_INT(0, stws_unsubscribe(p.client, handle));
    CHECK(stws_subscribe(p.client, "/topic/c", &mine) > 0);
    p.write_blocked = 0;
    peer_turn(&p);
    CHECK_STR("SEND SEND SEND SEND UNSUBSCRIBE SUBSCRIBE ", bytes_text(&p.order));
    CHECK_STR("/topic/c", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "destination"));
    peer_free(&p);
}

static int log_attempt(stws *client, stws_attempt *attempt, void *user) {
    struct peer *p = (struct peer *)user;
    (void)client;
    bytes_print(&p->log, "ATTEMPT %d\n", attempt->number);
    return 0;
}

/* The end of a connection is reported before the hook is asked about the next attempt. */
static void test_reconnect_now_reports_the_end_before_the_hook(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.before_connect = log_attempt;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_forget(&p);
    stws_reconnect_now(p.client);
    peer_turn(&p);
    CHECK_STR("DISCONNECTED STWS_OK\nATTEMPT 1\nCONNECTED\n", bytes_text(&p.log));
    peer_free(&p);
}

static void test_no_pong_after_our_close(void) {
    stws_statistics before, after;
    struct peer p;
    peer_begin(&p);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_CLOSE;
    stws_disconnect(p.client, 1000);
    peer_turn(&p);
    CHECK_STR("CONNECT DISCONNECT CLOSE(1000) ", bytes_text(&p.order));
    stws_stats(p.client, &before);
    peer_ws(&p, STWS_WS_PING, 1, "late", 4);
    peer_turn(&p);
    stws_stats(p.client, &after);
    CHECK(after.bytes_in > before.bytes_in);
    CHECK_INT(before.bytes_out, after.bytes_out);
    peer_advance(&p, 1100);
    CHECK_INT(STWS_CLOSED, p.ended);
    peer_free(&p);
}

/* ==== waits that must be real: peer_free() fails if the client looped ==== */

static int not_yet(stws *client, stws_subscribing *asked, void *user) {
    (void)client, (void)asked, (void)user;
    return 100;
}
static void test_unsubscribed_while_the_hook_asks_to_wait(void) {
    struct peer p;
    stws_options o;
    int handle;
    peer_init(&p);
    o = peer_options(&p);
    o.before_subscribe = not_yet;
    peer_start(&p, &o);
    handle = stws_subscribe(p.client, "/topic/a", NULL);
    CHECK(peer_connect(&p));
    stws_unsubscribe(p.client, handle);
    peer_advance(&p, 1000);
    CHECK_STR("CONNECT ", bytes_text(&p.order));
    peer_free(&p);
}

/* Connects a client that a full queue holds back, and that has to send heart-beats. */
static stws_queue *held_back(struct peer *p) {
    stws_queue *queue = stws_queue_create(1024);
    stws_options o;
    int i;
    peer_init(p);
    o = peer_options(p);
    o.queue = queue;
    o.heartbeat_out_ms = 1000;
    o.write_timeout_ms = 2000;
    p->connected = "CONNECTED\nversion:1.2\nheart-beat:0,1000\n\n";
    peer_start(p, &o);
    CHECK(peer_connect(p));
    for (i = 0; i < 20; i++)
        peer_message(p, "sub-1", "1", "/topic/a", "0123456789012345678901234567");
    peer_turn(p);
    return queue;
}
static void test_writing_fails_while_the_queue_is_full(void) {
    struct peer p;
    stws_queue *queue = held_back(&p);
    p.write_error = STWS_ERR_IO;
    peer_advance(&p, 5000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client)); /* received data must still be read */
    peer_free(&p);
    stws_queue_destroy(queue);
}
static void test_writing_stalls_and_fails_while_the_queue_is_full(void) {
    struct peer p;
    stws_queue *queue = held_back(&p);
    p.write_blocked = 1;
    CHECK_INT(0, stws_send(p.client, "/queue/a", "x", 1));
    peer_advance(&p, 500);
    p.write_error = STWS_ERR_IO;
    peer_advance(&p, 5000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
    stws_queue_destroy(queue);
}

/* ==== times ==== */

static void dawdle(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_MESSAGE) p->now_us += 900000;
}

/* The delay before the next attempt starts when the client finds that the connection is gone, even
   if a callback took long before that. */
static void test_the_delay_begins_after_a_slow_callback(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.on_event = peer_on_event;
    p.stepping = 1;
    p.on_event = dawdle;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "1", "/topic/a", "slow");
    peer_close(&p, 1001, "");
    peer_turn(&p);
    CHECK_INT(STWS_BACKOFF, stws_state(p.client));
    CHECK_INT(1000, p.retry_ms);
    peer_advance(&p, 990);
    CHECK_INT(1, p.sessions);
    peer_advance(&p, 20);
    CHECK_INT(2, p.sessions);
    peer_free(&p);
}

/* A flush drives the client, so its duration does not count as lateness, which would extend the
   server's time. */
static void test_a_flush_does_not_count_as_lateness(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.heartbeat_in_ms = o.heartbeat_out_ms = 1000;
    o.before_subscribe = not_yet;
    p.connected = "CONNECTED\nversion:1.2\nheart-beat:1000,1000\n\n";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    stws_subscribe(p.client, "/topic/a", NULL);
    peer_turn(&p);
    CHECK(stws_deadline(p.client) > 0);
    p.tick_us = 20000;
    CHECK_INT(STWS_ERR_TIMEOUT, stws_flush(p.client, 2500));
    p.tick_us = 0;
    peer_turn(&p);
    peer_advance(&p, 1000);
    CHECK_INT(STWS_ERR_HEARTBEAT, p.result);
    peer_free(&p);
}

/* An immediate turn is never late, even after a long idle time. So a program that subscribes now
   and then still notices that the server is dead. */
static void test_an_immediate_turn_is_not_late(void) {
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.heartbeat_in_ms = 1000;
    o.heartbeat_out_ms = STWS_OFF;
    p.connected = "CONNECTED\nversion:1.2\nheart-beat:1000,0\n\n";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    for (i = 0; i < 4; i++) {
        CHECK(stws_deadline(p.client) >= 700);
        p.now_us += 700000;
        stws_subscribe(p.client, "/topic/a", NULL);
        CHECK_INT(0, stws_deadline(p.client));
        peer_turn(&p);
    }
    peer_advance(&p, 300);
    CHECK_INT(STWS_ERR_HEARTBEAT, p.result);
    peer_free(&p);
}

/* ==== results ==== */

static void flush_here(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_MESSAGE)
        bytes_print(&p->log, "FLUSH %s\n", stws_result_name(stws_flush(p->client, 10)));
}

/* Frames that could not be written do not count as flushed, although they no longer wait. */
static void test_a_flush_after_a_failed_write(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.stepping = 1;
    o = peer_options(&p);
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_forget(&p);
    p.on_event = flush_here;
    p.write_error = STWS_ERR_IO;
    CHECK_INT(0, stws_send(p.client, "/queue/a", "lost", 4));
    peer_message(&p, "sub-1", "1", "/topic/a", "x");
    peer_turn(&p);
    CHECK_STR("MESSAGE /topic/a 1 x\nFLUSH STWS_ERR_IO\nDISCONNECTED STWS_ERR_IO\n",
              bytes_text(&p.log));
    peer_free(&p);
}

static void stop_here(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_ERROR) stws_stop(p->client);
}
static void test_stop_when_the_login_is_refused(void) {
    struct peer p;
    peer_begin(&p);
    p.on_event = stop_here;
    p.connected = "ERROR\nmessage:not you\n\n";
    peer_turn(&p);
    CHECK_STR("ERROR not you\nDISCONNECTED STWS_CLOSED\nEND STWS_CLOSED\n", bytes_text(&p.log));
    peer_free(&p);
}

/* ==== a flush that cannot read, and has nothing to write yet ==== */

static int count_waits(void *ctx, int wants) {
    struct peer *p = (struct peer *)ctx;
    p->moved++;
    return wants & ~STWS_WANT_NOW;
}

/* The descriptor of a pipe that is always writable. */
static int writable_fd(void *ctx) {
    return ((const struct peer *)ctx)->pipe[1];
}

/* Options with which a flush has to wait for its subscription, by the real clock. */
static stws_options waiting_options(struct peer *p, int (*fd)(void *)) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.before_subscribe = not_yet;
    o.clock = NULL;
    p->transport.wants = count_waits;
    p->transport.fd = fd;
    return o;
}
static void check_flush_sleeps(struct peer *p) {
    p->moved = 0;
    CHECK_INT(STWS_ERR_TIMEOUT, stws_flush(p->client, 80));
    CHECK(p->moved < 200);
    peer_free(p);
}

static void test_a_flush_that_has_to_wait_sleeps(void) {
    struct peer p;
    stws_options o = waiting_options(&p, writable_fd);
    int i;
    o.rx_buffer = 1024;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    for (i = 0; i < 20; i++)
        peer_message(&p, "sub-1", "1", "/topic/a", "0123456789012345678901234567");
    stws_subscribe(p.client, "/topic/a", NULL);
    check_flush_sleeps(&p);
}

static int no_fd(void *ctx) {
    return (void)ctx, -1;
}

/* Puts a byte into the wake pipe of a client whose transport has no descriptor, as a send from
   another thread does. stws_fds returns the reading end of the pipe; /proc of Linux opens the
   writing end. */
static void poke(stws *client) {
    stws_fd fds[3];
    char path[40];
    int end;
    CHECK_INT(1, stws_fds(client, fds, 3));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fds[0].fd);
    end = open(path, O_WRONLY);
    CHECK_INT(1, write(end, "", 1));
    close(end);
}

/* A transport without a descriptor is polled periodically. The wake pipe must not be polled then,
   because a byte in it would end each wait immediately. */
static void test_a_flush_without_descriptor_sleeps(void) {
    struct peer p;
    stws_options o = waiting_options(&p, no_fd);
    o.single_thread = 0;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    stws_subscribe(p.client, "/topic/a", NULL);
    poke(p.client);
    check_flush_sleeps(&p);
}

/* A message in a transaction can be confirmed only in the session that got the end of the
   transaction. If that session breaks before the receipt arrives, no later session can bring the
   receipt. */
static void check_receipt_in_transaction(int (*end)(stws *client, const char *transaction)) {
    stws_outgoing m = {0};
    struct peer p;
    stws_options o;
    int receipt;
    peer_init(&p);
    p.automatic &= ~AUTO_RECEIPT;
    o = peer_options(&p);
    o.confirm = 1;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    m.destination = "/queue/a";
    m.body = "x";
    m.body_len = 1;
    m.transaction = "t";
    m.receipt = 1;
    CHECK_INT(0, stws_begin(p.client, "t"));
    receipt = stws_send_ex(p.client, &m);
    CHECK(receipt > 0);
    CHECK_INT(0, end(p.client, "t"));
    peer_turn(&p);
    if (peer_sent(&p, "COMMIT", 0))
        peer_receipt(&p, sent_header(peer_sent(&p, "COMMIT", 0), "receipt"));
    peer_turn(&p);
    peer_forget(&p);
    peer_end(&p);
    peer_turn(&p);
    CHECK_HAS("RECEIPT", bytes_text(&p.log));
    CHECK(peer_connect(&p));
    CHECK_INT(0, peer_count(&p, "SEND"));
    peer_free(&p);
}
static void test_a_receipt_out_of_a_transaction_ends(void) {
    check_receipt_in_transaction(stws_abort);
    check_receipt_in_transaction(stws_commit);
}

/* ==== another thread sends while the driving thread ends the session ==== */

static void *send_from_another_thread(void *client) {
    CHECK_INT(0, stws_send((stws *)client, "/queue/a", "aside", 5));
    return NULL;
}

/* While the transport writes the last bytes of a session, another thread sends. */
static long write_slowly(void *ctx, const char *buf, size_t len) {
    struct peer *p = (struct peer *)ctx;
    pthread_t other;
    long taken = peer_t_write(ctx, buf, len);
    if (p->extra) {
        p->extra = NULL;
        if (pthread_create(&other, NULL, send_from_another_thread, p->client) != 0) abort();
        pthread_join(other, NULL);
    }
    return taken;
}
static void test_a_send_during_the_end_waits_for_the_next_session(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.single_thread = 0;
    p.transport.write = write_slowly;
    p.automatic &= ~AUTO_CLOSE;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.extra = &p;
    stws_reconnect_now(p.client);
    peer_turn(&p);
    CHECK(p.extra == NULL);
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_STR("aside", peer_sent(&p, "SEND", 0) ? peer_sent(&p, "SEND", 0)->frame.body : "nothing");
    CHECK_INT(1, peer_count(&p, "SEND"));
    CHECK_INT(2, peer_sent(&p, "SEND", 0) ? peer_sent(&p, "SEND", 0)->session : 0);
    peer_free(&p);
}

int main(void) {
    RUN(test_a_reused_id_waits_for_its_unsubscribe);
    RUN(test_a_reused_id_that_ends_before_it_is_sent);
    RUN(test_reconnect_now_reports_the_end_before_the_hook);
    RUN(test_no_pong_after_our_close);
    RUN(test_unsubscribed_while_the_hook_asks_to_wait);
    RUN(test_writing_fails_while_the_queue_is_full);
    RUN(test_writing_stalls_and_fails_while_the_queue_is_full);
    RUN(test_the_delay_begins_after_a_slow_callback);
    RUN(test_a_flush_does_not_count_as_lateness);
    RUN(test_an_immediate_turn_is_not_late);
    RUN(test_a_flush_after_a_failed_write);
    RUN(test_stop_when_the_login_is_refused);
    RUN(test_a_flush_that_has_to_wait_sleeps);
    RUN(test_a_flush_without_descriptor_sleeps);
    RUN(test_a_receipt_out_of_a_transaction_ends);
    RUN(test_a_send_during_the_end_waits_for_the_next_session);
    return test_report();
}
