/* test_details.c - tests small guarantees of the client. For each of them, a defect that was
   planted in the header once went unnoticed by all other tests. The order is that of the header's
   manual. The server is scripted. */
#include "scripted.h"

#include <semaphore.h>

#include <poll.h>
#include <pthread.h>

/* ==== subscriptions in a new session ==== */

/* Returns the destinations of the SUBSCRIBE frames so far, in the order in which they were sent. */
static const char *subscribed(const struct peer *p) {
    static struct bytes all;
    int i;
    bytes_free(&all);
    for (i = 0; peer_sent(p, "SUBSCRIBE", i); i++)
        bytes_print(&all, "%s ", sent_header(peer_sent(p, "SUBSCRIBE", i), "destination"));
    return bytes_text(&all);
}

/* Starts a client whose subscription table has three slots, all in use. */
static void with_a_full_table(struct peer *p) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.max_subscriptions = 3;
    peer_start(p, &o);
    CHECK_INT(1, stws_subscribe(p->client, "/topic/a", NULL));
    CHECK_INT(2, stws_subscribe(p->client, "/topic/b", NULL));
    CHECK_INT(3, stws_subscribe(p->client, "/topic/c", NULL));
    CHECK(peer_connect(p));
}

/* The third subscription is in the first slot of the table, and must still be sent last. */
static void test_a_full_table_is_sent_in_order(void) {
    struct peer p;
    with_a_full_table(&p);
    CHECK_STR("/topic/a /topic/b /topic/c ", subscribed(&p));
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("/topic/a /topic/b /topic/c ", subscribed(&p));
    peer_free(&p);
}

/* The order of SUBSCRIBE frames is the order of the handles. Reused slots do not change it. */
static void test_a_reused_slot_is_sent_last(void) {
    struct peer p;
    with_a_full_table(&p);
    CHECK_INT(0, stws_unsubscribe(p.client, 1));
    CHECK_INT(4, stws_subscribe(p.client, "/topic/d", NULL));
    CHECK_INT(0, stws_unsubscribe(p.client, 2));
    CHECK_INT(5, stws_subscribe(p.client, "/topic/e", NULL));
    peer_turn(&p);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("/topic/c /topic/d /topic/e ", subscribed(&p));
    peer_free(&p);
}

static int bring_headers(stws *client, stws_subscribing *asked, void *user) {
    static const char *const fresh[] = {"selector", "new = 1", "token", "2", NULL};
    const struct peer *p = (const struct peer *)user;
    (void)client;
    if (p->extra) asked->headers = fresh;
    return 0;
}

/* Returns how many headers of that name the frame has. */
static int headers_named(const struct sent *s, const char *name) {
    size_t i;
    int n = 0;
    for (i = 0; s && i < s->frame.header_count; i++)
        n += strcmp(s->frame.headers[i].name, name) == 0;
    return n;
}

/* Headers that before_subscribe sets replace the subscription's own headers. */
static void test_headers_of_the_hook_replace_the_others(void) {
    static const char *const own[] = {"selector", "old = 1", "x-own", "yes", NULL};
    stws_subscribe_options with_headers = {.headers = own};
    const struct sent *subscribe;
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.before_subscribe = bring_headers;
    peer_start(&p, &o);
    CHECK(stws_subscribe(p.client, "/topic/a", &with_headers) > 0);
    CHECK(peer_connect(&p));
    subscribe = peer_sent(&p, "SUBSCRIBE", 0);
    CHECK_STR("old = 1", sent_header(subscribe, "selector"));
    CHECK_STR("yes", sent_header(subscribe, "x-own"));
    peer_cut(&p);
    p.extra = &p;
    CHECK(peer_connect(&p));
    subscribe = peer_sent(&p, "SUBSCRIBE", 0);
    CHECK_STR("new = 1", sent_header(subscribe, "selector"));
    CHECK_STR("2", sent_header(subscribe, "token"));
    CHECK_INT(1, headers_named(subscribe, "selector"));
    CHECK_INT(0, headers_named(subscribe, "x-own"));
    peer_free(&p);
}

/* ==== the delay before the next attempt ==== */

/* No delay is longer than the cap, even if no power of the factor equals the cap. */
static void test_the_cap_between_two_steps(void) {
    static const long long expected[] = {1000, 3000, 5000, 5000, 5000};
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.reconnect_min_ms = 1000;
    o.reconnect_factor = 300;
    o.reconnect_max_ms = 5000;
    p.open_result = STWS_ERR_CONNECT;
    peer_start(&p, &o);
    for (i = 0; i < 5; i++) {
        peer_turn(&p);
        CHECK_INT(i + 1, p.sessions);
        CHECK_INT(expected[i], p.retry_ms);
        peer_advance(&p, p.retry_ms);
    }
    peer_free(&p);
}

/* ==== the outbox, and messages that await a receipt ==== */

/* STWS_FULL_DROP_OLDEST drops only unsent messages. A message that was sent may have arrived; only
   its receipt can tell. */
static void test_a_message_that_awaits_its_receipt_is_not_dropped(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.automatic &= ~AUTO_RECEIPT;
    o = peer_options(&p);
    o.confirm = 1;
    o.outbox_count = 2;
    o.outbox_policy = STWS_FULL_DROP_OLDEST;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_send(&p, "one");
    peer_send(&p, "two");
    peer_turn(&p);
    CHECK_STR("one two ", peer_bodies(&p));
    CHECK_INT(STWS_ERR_FULL, stws_send(p.client, "/queue/a", "three", 5));
    CHECK_INT(0, peer_stats(&p).dropped);
    peer_cut(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("one two ", peer_bodies(&p));
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_turn(&p);
    peer_send(&p, "three");
    peer_turn(&p);
    CHECK_STR("one two three ", peer_bodies(&p));
    CHECK_INT(0, peer_stats(&p).dropped);
    peer_free(&p);
}

/* A second thread, which flushes and then stops the client. */
static struct second {
    pthread_t thread, driver;
    sem_t looked; /* posted each time the second thread reads the clock */
    int started, result;
} second;

static void *flush_in_second_thread(void *client) {
    second.result = stws_flush((stws *)client, 600000);
    stws_stop((stws *)client);
    return NULL;
}

static long long now_for_second_thread(void *ctx) {
    if (!pthread_equal(pthread_self(), second.driver)) sem_post(&second.looked);
    return ((struct peer *)ctx)->now_us;
}

/* The flush reads the clock when it begins, and again under the lock just before it waits.
   stws_stats takes the same lock, so after stws_stats the flush is waiting. Then the connection
   breaks, and the next attempt starts immediately. */
static void flush_when_connected(struct peer *p, const stws_event *event) {
    stws_statistics numbers;
    if (event->type == STWS_EVENT_DISCONNECTED) {
        p->write_blocked = 0;
        stws_reconnect_now(p->client);
    }
    if (event->type != STWS_EVENT_CONNECTED || second.started++) return;
    p->write_blocked = 1;
    peer_send(p, "lost?");
    if (pthread_create(&second.thread, NULL, flush_in_second_thread, p->client) != 0) abort();
    sem_wait(&second.looked);
    sem_wait(&second.looked);
    stws_stats(p->client, &numbers);
    peer_end(p);
}

static int flush_during_a_loss(int confirm) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.stepping = 1;
    o = peer_options(&p);
    o.single_thread = 0;
    o.confirm = confirm;
    p.clock.now_us = now_for_second_thread;
    p.on_event = flush_when_connected;
    memset(&second, 0, sizeof second);
    second.driver = pthread_self();
    sem_init(&second.looked, 0, 0);
    peer_start(&p, &o);
    p.tick_us = 1; /* the server answers at each read */
    CHECK_INT(0, stws_run(p.client));
    pthread_join(second.thread, NULL);
    peer_free(&p);
    sem_destroy(&second.looked);
    return second.result;
}

/* After a loss the outbox is empty, but a message was lost, so the flush must return an error. */
static void test_a_flush_in_another_thread_reports_a_loss(void) {
    CHECK_STR("STWS_ERR_LOST", stws_result_name(flush_during_a_loss(0)));
}

/* The same in the driving thread. Here the session ends because of max_session_ms. */
static void test_a_flush_in_the_driving_thread_reports_a_loss(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.max_session_ms = 1000;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.write_blocked = 1;
    peer_send(&p, "lost");
    p.tick_us = 20000;
    CHECK_STR("STWS_ERR_LOST", stws_result_name(stws_flush(p.client, 600000)));
    p.tick_us = 0;
    peer_free(&p);
}

/* With confirm the message is resent, and the flush waits for that. */
static void test_a_flush_in_another_thread_with_confirm(void) {
    CHECK_STR("STWS_OK", stws_result_name(flush_during_a_loss(1)));
}

/* ==== acknowledgements ==== */

static void keep_copy(stws *client, const stws_message *message, void *user) {
    (void)client;
    *(stws_message **)user = stws_message_copy(message);
}
static void ack_the_copy(stws *client, const stws_message *message, void *user) {
    (void)message;
    CHECK_INT(0, stws_ack(client, *(stws_message **)user));
}

/* An ACK for a copy does not acknowledge the message of the current callback. That message is
   acknowledged when the callback returns. */
static void test_an_ack_for_a_copy(void) {
    stws_message *copy = NULL;
    stws_subscribe_options by_call = {
        .ack = STWS_ACK_CLIENT_INDIVIDUAL, .on_message = keep_copy, .user = &copy};
    stws_subscribe_options returned = {
        .ack_on = STWS_ACK_ON_RETURN, .on_message = ack_the_copy, .user = &copy};
    struct peer p;
    peer_begin(&p);
    CHECK_INT(1, stws_subscribe(p.client, "/queue/a", &by_call));
    CHECK_INT(2, stws_subscribe(p.client, "/queue/b", &returned));
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "first", "/queue/a", "x");
    peer_message(&p, "sub-2", "second", "/queue/b", "x");
    peer_turn(&p);
    CHECK(copy != NULL);
    CHECK_INT(2, peer_count(&p, "ACK"));
    CHECK_STR("first", sent_header(peer_sent(&p, "ACK", 0), "id"));
    CHECK_STR("second", sent_header(peer_sent(&p, "ACK", 1), "id"));
    stws_message_free(copy);
    peer_free(&p);
}

/* ==== heart-beats ==== */

/* Connects a client with these heart-beat intervals; 0: none in that direction. */
static void beating(struct peer *p, int out_ms, int in_ms, int grace) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.heartbeat_out_ms = out_ms ? out_ms : STWS_OFF;
    o.heartbeat_in_ms = in_ms ? in_ms : STWS_OFF;
    o.heartbeat_grace = grace;
    p->connected = "CONNECTED\nversion:1.2\nheart-beat:1,1\n\n";
    peer_start(p, &o);
    CHECK(peer_connect(p));
}

static void beat(struct peer *p) {
    peer_ws(p, STWS_WS_TEXT, 1, "\n", 1);
    peer_turn(p);
}

/* The slack is the smallest remaining part of the grace, which is 3,000 ms here. It is never
   negative. */
static void test_the_slack_is_the_smallest_so_far(void) {
    static const int pauses[] = {1000, 2400, 100, 2999}, expected[] = {2000, 600, 600, 1};
    struct peer p;
    int i;
    beating(&p, 0, 1000, 0);
    CHECK_INT(-1, peer_stats(&p).heartbeat_slack_ms);
    for (i = 0; i < 4; i++) {
        peer_advance(&p, pauses[i]);
        beat(&p);
        CHECK_INT(expected[i], peer_stats(&p).heartbeat_slack_ms);
    }
    peer_sleep(&p, 3400); /* after the grace, but not late enough to count as a late loop */
    beat(&p);
    CHECK_INT(0, peer_stats(&p).heartbeat_slack_ms);
    CHECK_INT(0, peer_stats(&p).late_loops);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
}

/* The grace is a percentage of 10 s. A server that is silent for the whole grace is disconnected; a
   server that is silent a little shorter is not. */
static void check_grace(int percent, int ms) {
    struct peer p;
    beating(&p, 0, 10000, percent);
    peer_advance(&p, ms - 1);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_advance(&p, 1);
    CHECK_STR("STWS_ERR_HEARTBEAT", stws_result_name(p.result));
    peer_free(&p);
}
static void test_the_grace(void) {
    struct peer p;
    check_grace(1, 100);
    check_grace(100, 10000);
    check_grace(0, 30000);
    beating(&p, 0, 10000, STWS_OFF); /* no limit */
    peer_advance(&p, 1000000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    beat(&p);
    CHECK(peer_stats(&p).heartbeat_slack_ms > 1000000);
    peer_free(&p);
}

/* Returns the late_loops counter after a loop that came late_ms later than the client had asked
   for. */
static unsigned long long late_loops(int out_ms, int in_ms, int late_ms) {
    unsigned long long count;
    struct peer p;
    beating(&p, out_ms, in_ms, 0);
    peer_sleep(&p, stws_deadline(p.client) + late_ms);
    beat(&p);
    count = peer_stats(&p).late_loops;
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
    return count;
}

static void take_long(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_MESSAGE) p->now_us += 1000LL * *(const int *)p->extra;
}

/* Returns the late_loops counter after a callback that took this long. */
static unsigned long long late_loops_in_a_callback(int ms) {
    unsigned long long count;
    struct peer p;
    beating(&p, 1000, 1000, 0);
    p.extra = &ms;
    p.on_event = take_long;
    peer_message(&p, "sub-1", "1", "/topic/a", "slow");
    peer_turn(&p);
    count = peer_stats(&p).late_loops;
    peer_free(&p);
    return count;
}

/* A loop counts as late after half a heart-beat interval; with two intervals, the shorter one
   counts. */
static void test_when_a_loop_is_late(void) {
    static const int intervals[][2] = {
        {1000, 0}, {0, 1000}, {1000, 1000}, {1000, 4000}, {4000, 1000}};
    size_t i;
    for (i = 0; i < sizeof intervals / sizeof *intervals; i++) {
        CHECK_INT(0, late_loops(intervals[i][0], intervals[i][1], 250));
        CHECK_INT(1, late_loops(intervals[i][0], intervals[i][1], 750));
    }
    CHECK_INT(0, late_loops_in_a_callback(250));
    CHECK_INT(1, late_loops_in_a_callback(750));
}

/* If our own loop was late, the server gets that time in addition: here 10 s, added to a grace of 3
   s. */
static void test_our_lateness_extends_the_limit_of_the_server(void) {
    struct peer p;
    beating(&p, 1000, 1000, 0);
    CHECK_INT(500, stws_deadline(p.client)); /* the client's own heart-beat is due then */
    p.now_us += 10500000;
    peer_turn(&p);
    CHECK_INT(1, peer_stats(&p).late_loops);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_advance(&p, 2499);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_advance(&p, 1);
    CHECK_STR("STWS_ERR_HEARTBEAT", stws_result_name(p.result));
    peer_free(&p);
}

/* ==== deadlines ==== */

/* The deadline is exactly the end of a receipt's time-out, and there is no other deadline, because
   there are no heart-beats. */
static void test_the_deadline_of_a_receipt(void) {
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .receipt = 1};
    struct peer p;
    peer_begin_quiet(&p);
    p.automatic &= ~AUTO_RECEIPT;
    CHECK(peer_connect(&p));
    CHECK_INT(-1, stws_deadline(p.client));
    CHECK_INT(1, stws_send_ex(p.client, &m));
    peer_turn(&p);
    CHECK_INT(15000, stws_deadline(p.client));
    peer_advance(&p, 14999);
    CHECK_STR("CONNECTED\n", bytes_text(&p.log));
    CHECK_INT(1, stws_deadline(p.client));
    peer_advance(&p, 1);
    CHECK_STR("CONNECTED\nRECEIPT 1 STWS_ERR_TIMEOUT\n", bytes_text(&p.log));
    CHECK_INT(-1, stws_deadline(p.client));
    peer_free(&p);
}

/* Connects a client, and then stalls its output. */
static void stall(struct peer *p, int timeout_ms) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.write_timeout_ms = timeout_ms;
    peer_start(p, &o);
    CHECK(peer_connect(p));
    p->write_blocked = 1;
    peer_send(p, "stalls");
    peer_turn(p);
}
static void test_the_deadline_of_stalled_output(void) {
    struct peer p;
    stall(&p, 700);
    CHECK_INT(700, stws_deadline(p.client));
    peer_advance(&p, 699);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(1, stws_deadline(p.client));
    peer_advance(&p, 1);
    CHECK_HAS("write_timeout_ms", bytes_text(&p.why));
    peer_free(&p);
    stall(&p, STWS_OFF);
    CHECK_INT(-1, stws_deadline(p.client));
    peer_advance(&p, 1000000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
}

static void test_the_deadline_after_an_error_frame(void) {
    struct peer p;
    peer_begin(&p);
    CHECK(peer_connect(&p));
    peer_stomp(&p, "ERROR\nmessage:no\n\n");
    peer_turn(&p);
    CHECK_INT(2000, stws_deadline(p.client));
    peer_advance(&p, 1999);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(1, stws_deadline(p.client));
    peer_advance(&p, 1);
    CHECK_INT(STWS_BACKOFF, stws_state(p.client));
    CHECK_INT(1000, stws_deadline(p.client));
    peer_free(&p);
}

/* Connects a client whose messages go to that queue. */
static void with_queue(struct peer *p, stws_queue *queue) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.queue = queue;
    peer_start(p, &o);
    CHECK(peer_connect(p));
}

/* A client without a wake pipe cannot be woken when the queue has room again, so it polls every 10
   ms. */
static void test_the_deadline_with_a_full_queue(void) {
    stws_queue *queue = stws_queue_create(1024);
    struct peer p;
    int i;
    with_queue(&p, queue);
    for (i = 0; i < 20; i++)
        peer_message(&p, "sub-1", "1", "/topic/a", "0123456789012345678901234567");
    peer_turn(&p);
    CHECK_INT(10, stws_deadline(p.client));
    peer_free(&p);
    stws_queue_destroy(queue);
}

static int count_not_yet(stws *client, stws_subscribing *asked, void *user) {
    struct peer *p = (struct peer *)user;
    (void)client, (void)asked;
    ++*(int *)p->extra;
    return 300;
}

/* Connects a client with a subscription; the hook has been asked once. */
static void connect_with_hook(struct peer *p, int *asked) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.before_subscribe = count_not_yet;
    p->extra = asked;
    peer_start(p, &o);
    CHECK(stws_subscribe(p->client, "/topic/a", NULL) > 0);
    CHECK(peer_connect(p));
    peer_turn(p);
}

static void test_the_deadline_of_a_hook_that_asks_to_wait(void) {
    int asked = 0;
    struct peer p;
    connect_with_hook(&p, &asked);
    CHECK_INT(1, asked);
    CHECK_INT(300, stws_deadline(p.client));
    peer_advance(&p, 299);
    CHECK_INT(1, asked);
    CHECK_INT(1, stws_deadline(p.client));
    peer_advance(&p, 1);
    CHECK_INT(2, asked);
    CHECK_INT(300, stws_deadline(p.client));
    peer_free(&p);
}

/* The hook's deadline passes while an abandoned session still writes. The hook must not be asked,
   and the client must not loop. */
static void test_the_hook_is_not_asked_in_an_abandoned_session(void) {
    int asked = 0;
    struct peer p;
    connect_with_hook(&p, &asked);
    p.write_blocked = 1;
    peer_ws(&p, STWS_WS_PING, 1, "x", 1);
    peer_turn(&p);
    CHECK_INT(0, stws_reconnect_now(p.client));
    peer_advance(&p, 600);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(1, asked);
    CHECK_INT(1, p.sessions);
    peer_free(&p);
}

/* ==== queues ==== */

static void test_a_closed_queue_takes_nothing(void) {
    stws_queue *queue = stws_queue_create(0);
    const stws_message *m = NULL;
    struct peer p;
    with_queue(&p, queue);
    peer_message(&p, "sub-1", "1", "/topic/a", "before");
    peer_turn(&p);
    stws_queue_close(queue);
    peer_message(&p, "sub-1", "2", "/topic/a", "after");
    peer_turn(&p);
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    CHECK_STR("before", m->body);
    CHECK_INT(STWS_CLOSED, stws_queue_pop(queue, &m, 0));
    CHECK(m == NULL);
    peer_free(&p);
    stws_queue_destroy(queue);
}

/* Messages that a client has put into a queue stay there after its end. No later pop may use the
   destroyed client, neither to report room nor to acknowledge the message that was popped
   before. */
static void test_a_destroyed_client_does_not_wait_for_room(void) {
    stws_subscribe_options returned = {.ack_on = STWS_ACK_ON_RETURN};
    stws_queue *queue = stws_queue_create(1024);
    const stws_message *m = NULL;
    struct peer p;
    int i, popped = 1;
    with_queue(&p, queue);
    CHECK_INT(1, stws_subscribe(p.client, "/topic/a", &returned));
    for (i = 0; i < 20; i++)
        peer_message(&p, "sub-1", "1", "/topic/a", "0123456789012345678901234567");
    peer_turn(&p);
    CHECK_INT(10, stws_deadline(p.client)); /* the client waits for room */
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    CHECK(m->client == p.client);
    peer_turn(&p);
    peer_free(&p);
    while (stws_queue_pop(queue, &m, 0) == 1) popped += m->client == NULL;
    CHECK(popped > 1 && popped < 20);
    stws_queue_destroy(queue);
}

/* ==== randomness ==== */

/* Fills eight bytes, and zeros after them. */
static int fill_with_few(void *ctx, void *out, size_t len) {
    (void)ctx;
    memset(out, 0, len);
    memset(out, 0x5A, len < 8 ? len : 8);
    return 0;
}

static int fill_with_zeros(void *ctx, void *out, size_t len) {
    (void)ctx;
    memset(out, 0, len);
    return 0;
}

static void begin_with_random(struct peer *p, int (*fill)(void *ctx, void *out, size_t len)) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    p->random.fill = fill;
    peer_start(p, &o);
}

/* A masking key of zeros would leave the frame unmasked, so the client takes the next key. */
static void test_no_masking_key_of_zeros(void) {
    struct peer p;
    begin_with_random(&p, fill_with_few);
    CHECK(peer_connect(&p));
    CHECK_MEM("\x5A\x5A\x5A\x5A", 4, p.ws.key, 4);
    peer_free(&p);
}

/* A source that returns only zeros is broken, even if it reports success. The client reports an
   error, and does not look for a masking key forever. */
static void test_a_random_source_of_zeros_is_refused(void) {
    struct peer p;
    begin_with_random(&p, fill_with_zeros);
    peer_turn(&p);
    CHECK_STR("STWS_ERR_IO", stws_result_name(p.ended));
    CHECK_HAS("no random numbers", bytes_text(&p.why));
    CHECK_INT(0, p.in.len);
    peer_free(&p);
}

/* ==== a transport with buffered data ==== */

/* No descriptor announces buffered data, so the client must not wait. */
static void test_data_buffered_in_the_transport(void) {
    struct peer p;
    stws_fd fds[3];
    peer_begin_quiet(&p);
    CHECK(peer_connect(&p));
    CHECK_INT(-1, stws_deadline(p.client));
    peer_message(&p, "sub-1", "1", "/topic/a", "inside");
    CHECK_INT(0, stws_deadline(p.client));
    CHECK_INT(1, stws_fds(p.client, fds, 3));
    CHECK_INT(p.pipe[0], fds[0].fd);
    CHECK_INT(STWS_WANT_READ, fds[0].wants);
    peer_turn(&p);
    CHECK_HAS("MESSAGE /topic/a 1 inside", bytes_text(&p.log));
    CHECK_INT(-1, stws_deadline(p.client));
    peer_free(&p);
}

/* A transport that reports buffered data, regardless of what the client wants. */
static int wants_now(void *ctx, int wants) {
    const struct peer *p = (const struct peer *)ctx;
    return p->out.len ? wants | STWS_WANT_NOW : wants;
}

/* While a full queue holds the client back, buffered data must not cause an immediate turn. */
static void test_data_buffered_in_the_transport_with_a_full_queue(void) {
    stws_queue *queue = stws_queue_create(1024);
    const stws_message *m = NULL;
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    p.transport.wants = wants_now;
    o.single_thread = 0; /* otherwise the client polls the queue every 10 ms */
    o.ping_ms = STWS_OFF;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    for (i = 0; i < 20; i++)
        peer_message(&p, "sub-1", "1", "/topic/a", "0123456789012345678901234567");
    peer_turn(&p);
    peer_message(&p, "sub-1", "1", "/topic/a", "still inside");
    CHECK_INT(-1, stws_deadline(p.client));
    CHECK_INT(1, stws_queue_pop(queue, &m, 0));
    CHECK_INT(0, stws_queue_pop(queue, &m, 0) < 0);
    CHECK_INT(0, stws_deadline(p.client));
    peer_free(&p);
    stws_queue_destroy(queue);
}

/* ==== attempts, one after the other ==== */

/* The first answer to the upgrade is cut off. The next answer is shorter, and must be parsed from
   its own beginning. */
static void test_an_answer_after_half_of_a_longer_one(void) {
    static char half[600] = "HTTP/1.1 101 \r\nX-Long: ";
    struct peer p;
    memset(half + strlen(half), 'x', sizeof half - 1 - strlen(half));
    peer_begin(&p);
    p.automatic &= ~AUTO_UPGRADE;
    peer_turn(&p);
    peer_say(&p, half);
    peer_end(&p);
    peer_turn(&p);
    CHECK_STR("DISCONNECTED STWS_ERR_EOF\n", bytes_text(&p.log));
    p.automatic = AUTO_ALL;
    CHECK(peer_connect(&p));
    CHECK_INT(2, p.sessions);
    peer_free(&p);
}

/* The status and close code of the last attempt do not apply to the current attempt. */
static void test_an_attempt_resets_the_status_of_the_last(void) {
    struct peer p;
    peer_begin(&p);
    CHECK(peer_connect(&p));
    CHECK_INT(101, stws_http_status(p.client));
    peer_close(&p, 1012, "");
    peer_turn(&p);
    CHECK_INT(1012, stws_close_code(p.client));
    p.answer = "HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n";
    peer_advance(&p, 1000);
    CHECK_INT(503, stws_http_status(p.client));
    CHECK_INT(0, stws_close_code(p.client));
    p.open_result = STWS_ERR_CONNECT;
    peer_advance(&p, 2000);
    CHECK_INT(3, p.sessions);
    CHECK_STR("STWS_ERR_CONNECT", stws_result_name(p.result));
    CHECK_INT(0, stws_http_status(p.client));
    peer_free(&p);
}

/* ==== error texts ==== */

static void answered(struct peer *p, const char *url, const char *answer) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.url = url;
    p->answer = answer;
    peer_start(p, &o);
    peer_turn(p);
}

/* The advice leaves out SockJS's own path after the base, because the advised URL would not work
   with it. */
static void check_sockjs_advice(const char *expected, const char *url) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.automatic &= ~AUTO_LOGIN;
    o = peer_options(&p);
    o.url = url;
    peer_start(&p, &o);
    peer_turn(&p);
    peer_ws(&p, STWS_WS_TEXT, 1, "o", 1);
    peer_turn(&p);
    CHECK_STR("STWS_ERR_SOCKJS", stws_result_name(p.result));
    CHECK_HAS(expected, bytes_text(&p.why));
    peer_free(&p);
}
static void test_the_advice_for_a_sockjs_session(void) {
    check_sockjs_advice("append /websocket: ws://broker.test/app/websocket",
                        "ws://broker.test/app/123/a0b1c2d3/websocket");
    check_sockjs_advice("append /websocket: ws://broker.test/app/websocket?***",
                        "ws://broker.test/app/123/a0b1c2d3/websocket/?token=7");
    check_sockjs_advice("append /websocket: ws://broker.test/websocket",
                        "ws://broker.test/123/a0b1c2d3/websocket");
    check_sockjs_advice("append /websocket: ws://broker.test/app/websocket",
                        "ws://broker.test/app");
}

static void test_all_kinds_of_redirects(void) {
    static const int statuses[] = {300, 301, 308, 399};
    char answer[60];
    struct peer p;
    size_t i;
    for (i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        snprintf(answer, sizeof answer, "HTTP/1.1 %d \r\nContent-Length: 0\r\n\r\n", statuses[i]);
        answered(&p, "ws://broker.test/", answer);
        CHECK_HAS("redirects are not followed", bytes_text(&p.why));
        peer_free(&p);
    }
}

/* An error text stays valid UTF-8, even if it quotes only the beginning of a server's text. */
static void test_a_quotation_ends_with_a_whole_character(void) {
    static const char head[] = "HTTP/1.1 404 \r\n\r\n";
    char answer[200];
    struct peer p;
    size_t before;
    for (before = 110; before < 135; before++) {
        size_t at = sizeof head - 1;
        memcpy(answer, head, at);
        memset(answer + at, 'x', before);
        snprintf(answer + at + before, sizeof answer - at - before, "\xE2\x82\xAC\xE2\x82\xAC");
        answered(&p, "ws://broker.test/", answer);
        peer_end(&p);
        peer_turn(&p);
        CHECK_HAS("xxxxxxxx", bytes_text(&p.why));
        CHECK(stws_utf8_valid(bytes_text(&p.why), p.why.len));
        peer_free(&p);
    }
}

/* Returns the error text after a session that the server ended after `silent_ms` of silence.
   `server` is the server's name, `beat_ms` its wish for heart-beats; with_close: it sends a close
   frame. */
static const char *ended_after(int silent_ms, const char *server, int beat_ms, int with_close) {
    static char text[640];
    struct bytes connected = {0};
    struct peer p;
    stws_options o;
    bytes_print(&connected, "CONNECTED\nversion:1.2\nserver:%s\nheart-beat:0,%d\n\n", server,
                beat_ms);
    peer_init(&p);
    p.connected = connected.data;
    o = peer_options(&p);
    o.ping_ms = STWS_OFF;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_advance(&p, silent_ms);
    if (with_close) peer_close(&p, 1000, "");
    peer_end(&p);
    peer_turn(&p);
    snprintf(text, sizeof text, "%s", bytes_text(&p.why));
    peer_free(&p);
    bytes_free(&connected);
    return text;
}

static const char *ended(const char *server, int beat_ms, int with_close) {
    return ended_after(60000, server, beat_ms, with_close);
}

/* Two brokers end connections that have agreed on no heart-beats. */
static void test_brokers_that_end_silent_clients(void) {
    int with_close;
    for (with_close = 0; with_close < 2; with_close++) {
        CHECK_HAS("Artemis ends silent clients", ended("ActiveMQ-Artemis/2.30.0", 0, with_close));
        CHECK_HAS("heartbeat_out_ms", ended("ActiveMQ-Artemis/2.30.0", 0, with_close));
        CHECK_HAS("RabbitMQ ends idle", ended("RabbitMQ/3.12.0", 0, with_close));
        CHECK(!strstr(ended("ActiveMQ/5.18", 0, with_close), "heartbeat_out_ms"));
        CHECK(!strstr(ended("RabbitMQ/3.12.0", 5000, with_close), "heartbeat_out_ms"));
        CHECK(!strstr(ended("ActiveMQ-Artemis/2.30.0", 5000, with_close), "heartbeat_out_ms"));
    }
    /* Too early for that cause. */
    CHECK(!strstr(ended_after(29000, "RabbitMQ/3.12.0", 0, 1), "RabbitMQ ends idle"));
}

/* Checks that the error text for a frame over a limit names the option and its value. */
static void check_limit(const char *frame, int code, const char *option) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.max_headers = 8;
    o.max_line = 40;
    o.max_body = 30;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_stomp(&p, frame);
    peer_turn(&p);
    CHECK_STR(stws_result_name(code), stws_result_name(p.result));
    CHECK_HAS(option, bytes_text(&p.why));
    peer_free(&p);
}
static void test_each_limit_names_its_option(void) {
    check_limit("MESSAGE\na:1\nb:1\nc:1\nd:1\ne:1\nf:1\ng:1\nh:1\ni:1\n\n", STWS_ERR_FRAME_HEADERS,
                "(8); raise option max_headers");
    check_limit("MESSAGE\na:0123456789012345678901234567890123456789\n\n", STWS_ERR_FRAME_LINE,
                "(40); raise option max_line");
    check_limit("MESSAGE\n\n0123456789012345678901234567890123456789", STWS_ERR_FRAME_BODY,
                "(30); raise option max_body");
}

/* ==== large frames ==== */

/* A max_ws_message below the size of a character is raised to 4, so that the client makes
   progress. */
static void test_a_limit_smaller_than_a_character(void) {
    static const char text[] = "\xE2\x82\xAC";
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.max_ws_message = 1;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.ws.check_utf8 = 0;
    peer_send(&p, text);
    peer_turn(&p);
    CHECK_STR(text, peer_sent(&p, "SEND", 0) ? peer_sent(&p, "SEND", 0)->frame.body : "nothing");
    /* The least size, so that each message can hold a whole character. */
    CHECK_INT(4, p.ws_largest);
    peer_free(&p);
}

int main(void) {
    RUN(test_a_full_table_is_sent_in_order); /* [E8] */
    RUN(test_a_reused_slot_is_sent_last);
    RUN(test_headers_of_the_hook_replace_the_others); /* [E6] */
    RUN(test_the_cap_between_two_steps);              /* [E2] */
    RUN(test_a_message_that_awaits_its_receipt_is_not_dropped);
    RUN(test_a_flush_in_another_thread_reports_a_loss);
    RUN(test_a_flush_in_the_driving_thread_reports_a_loss);
    RUN(test_a_flush_in_another_thread_with_confirm); /* [G4] */
    RUN(test_an_ack_for_a_copy);                      /* [G8] */
    RUN(test_the_slack_is_the_smallest_so_far);
    RUN(test_the_grace);                                    /* [H3] */
    RUN(test_when_a_loop_is_late);                          /* [H4] */
    RUN(test_our_lateness_extends_the_limit_of_the_server); /* [H3] */
    RUN(test_the_deadline_of_a_receipt);                    /* [E9] */
    RUN(test_the_deadline_of_stalled_output);
    RUN(test_the_deadline_after_an_error_frame);        /* [E10] */
    RUN(test_the_deadline_with_a_full_queue);           /* [D4] */
    RUN(test_the_deadline_of_a_hook_that_asks_to_wait); /* [E6] */
    RUN(test_the_hook_is_not_asked_in_an_abandoned_session);
    RUN(test_a_closed_queue_takes_nothing);
    RUN(test_a_destroyed_client_does_not_wait_for_room);
    RUN(test_no_masking_key_of_zeros);
    RUN(test_a_random_source_of_zeros_is_refused);
    RUN(test_data_buffered_in_the_transport);
    RUN(test_data_buffered_in_the_transport_with_a_full_queue);
    RUN(test_an_answer_after_half_of_a_longer_one);
    RUN(test_an_attempt_resets_the_status_of_the_last);
    RUN(test_the_advice_for_a_sockjs_session); /* [S1] */
    RUN(test_all_kinds_of_redirects);
    RUN(test_a_quotation_ends_with_a_whole_character);
    RUN(test_brokers_that_end_silent_clients);
    RUN(test_each_limit_names_its_option);      /* [I1] */
    RUN(test_a_limit_smaller_than_a_character); /* [L1] */
    return test_report();
}
