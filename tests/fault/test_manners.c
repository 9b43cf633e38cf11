/* test_manners.c - tests bad manners of a peer or of the program itself: a network that never
   pauses, error texts with control characters, calls from the wrong place, and options and messages
   that do not fit. Most tests use the scripted server; some use a real one on loopback. */
#include "loopback.h"

#include <fcntl.h>
#include <sys/resource.h>

/* ==== a network that always has more data ==== */

/* Drives the client like an event loop, with data to read at every turn. Returns after how many ms
   the client has left. */
static long long drive_in_a_flood(struct peer *p, const char *more, long long until_us) {
    stws_event e;
    long long begun = p->now_us;
    int i, result = 0;
    p->piece = 1;
    while (p->now_us - begun < until_us && result >= 0 && p->retry_ms == -2) {
        while (p->out.len < 1000) peer_say(p, more);
        for (i = 0; i < 3 && result >= 0; i++) {
            result = stws_next(p->client, &e, 0);
            if (result > 0) peer_log_event(p, &e);
        }
        p->now_us += 10000;
    }
    return (p->now_us - begun) / 1000;
}

static void test_a_flood_instead_of_connected(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.connected_timeout_ms = 1000;
    p.automatic &= ~AUTO_LOGIN;
    peer_start(&p, &o);
    peer_turn(&p);
    CHECK_INT(STWS_LOGGING_IN, stws_state(p.client));
    CHECK(drive_in_a_flood(&p, "\x81\x01\n", 5000000) < 1200);
    CHECK_INT(STWS_ERR_TIMEOUT, p.result);
    peer_free(&p);
}

static void test_a_flood_instead_of_101(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.handshake_timeout_ms = 1000;
    p.answer = "";
    peer_start(&p, &o);
    peer_turn(&p);
    CHECK_INT(STWS_UPGRADING, stws_state(p.client));
    CHECK(drive_in_a_flood(&p, "HTTP/1.1 100 Continue\r\n\r\n", 5000000) < 1200);
    CHECK_INT(STWS_ERR_TIMEOUT, p.result);
    peer_free(&p);
}

static void test_a_receipt_that_does_not_come_in_a_flood(void) {
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .receipt = 1};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.receipt_timeout_ms = 1000;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.automatic = 0;
    CHECK(stws_send_ex(p.client, &m) > 0);
    drive_in_a_flood(&p, "\x81\x01\n", 1500000);
    CHECK_HAS("RECEIPT 1 STWS_ERR_TIMEOUT", bytes_text(&p.log));
    peer_free(&p);
}

/* ==== text from a peer in error texts ==== */

static void check_printable(struct peer *p, const char *part) {
    const char *at = bytes_text(&p->why);
    CHECK_HAS(part, at);
    for (; *at; at++) CHECK((unsigned char)*at >= 32 && *at != 127);
}

static void test_error_texts_are_one_line(void) {
    struct peer p;
    peer_begin(&p);
    CHECK(peer_connect(&p));
    peer_stomp(&p, "ERROR\nmessage:bad\\n2026-01-01 root\\c login ok\x1b[2J\n\n");
    peer_turn(&p);
    check_printable(&p, "bad.2026-01-01 root: login ok.[2J");
    peer_free(&p);
    peer_begin(&p);
    CHECK(peer_connect(&p));
    peer_close(&p, 1008, "bye\nroot: in\x1b[2J");
    peer_turn(&p);
    check_printable(&p, "bye.root: in.[2J");
    peer_free(&p);
}

/* ==== calls from the wrong place, and calls with NULL ==== */

struct inside {
    int results[4];
    char body[32];
};

static void drive_inside(stws *c, const stws_message *message, void *user) {
    struct inside *inside = (struct inside *)((struct peer *)user)->extra;
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1};
    stws_message *reply = NULL;
    stws_event e;
    inside->results[0] = stws_next(c, &e, 0);
    inside->results[1] = stws_step(c);
    inside->results[2] = stws_run(c);
    inside->results[3] = stws_request(c, &m, &reply, 0);
    snprintf(inside->body, sizeof inside->body, "%s", message->body);
}

static void test_a_callback_does_not_drive(void) {
    stws_subscribe_options own = {.on_message = drive_inside};
    struct inside inside = {{0}, ""};
    struct peer p;
    int i;
    peer_begin(&p);
    CHECK(peer_connect(&p));
    p.extra = &inside;
    own.user = &p;
    CHECK(stws_subscribe(p.client, "/topic/a", &own) > 0);
    peer_message(&p, "sub-1", "1", "/topic/a", "as it was");
    peer_message(&p, "sub-1", "2", "/topic/a", "as it was");
    peer_turn(&p);
    for (i = 0; i < 4; i++) CHECK_INT(STWS_ERR_STATE, inside.results[i]);
    CHECK_STR("as it was", inside.body);
    peer_free(&p);
}

static void test_null_arguments(void) {
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1};
    const stws_message *message = NULL;
    stws_message *reply;
    struct peer p;
    peer_begin(&p);
    CHECK_INT(STWS_ERR_USAGE, stws_send_ex(p.client, NULL));
    CHECK_INT(STWS_ERR_USAGE, stws_request(p.client, NULL, &reply, 0));
    CHECK_INT(STWS_ERR_USAGE, stws_request(p.client, &m, NULL, 0));
    CHECK_INT(STWS_ERR_MEMORY, stws_queue_pop(NULL, &message, 0));
    stws_queue_close(NULL);
    stws_queue_destroy(NULL);
    peer_free(&p);
}

/* ==== invalid options and arguments ==== */

static void check_options(stws_options o, const char *part) {
    const char *why = NULL;
    stws *client;
    o.url = "ws://broker.test/";
    CHECK_INT(0, (long)stws_size(&o));
    CHECK_INT(STWS_ERR_USAGE, stws_init(NULL, 0, &o, &client, &why));
    CHECK_HAS(part, why);
}

static void test_invalid_options(void) {
    static const char *const smuggled[] = {"1.2.3.4\r\nX-Injected: yes", NULL};
    static const char *const name[] = {"127.0.0.1", "broker.test", NULL};
    static const char *const good[] = {"127.0.0.1", "::1", "fe80::1%eth0", NULL};
    stws_options o = {.addresses = smuggled, .single_thread = 1};
    check_options(o, "options.addresses");
    o.addresses = name;
    check_options(o, "options.addresses");
    o.addresses = good;
    o.url = "ws://broker.test/";
    CHECK(stws_size(&o) > 0);
    o.outbox_policy = 9;
    check_options(o, "options.outbox_policy");
    o.outbox_policy = (stws_outbox_policy)-1;
    check_options(o, "options.outbox_policy");
    o.outbox_policy = 0;
    o.utf8 = 9;
    check_options(o, "options.utf8");
    o.utf8 = (stws_utf8_check)-1;
    check_options(o, "options.utf8");
    o.utf8 = 0;
    o.broker = STWS_BROKER_ARTEMIS + 1;
    check_options(o, "options.broker");
    o.broker = (stws_broker_kind)-1;
    check_options(o, "options.broker");
    o.broker = 0;
    o.versions = 1 << 9;
    check_options(o, "options.versions");
    o.versions = 0;
    o.stable_id = "";
    check_options(o, "options.stable_id");
}

static void test_invalid_header_lists(void) {
    static const char *const lists[][3] = {{"name", NULL, NULL},
                                           {"", "value", NULL},
                                           {"na:me", "value", NULL},
                                           {"na\nme", "value", NULL},
                                           {"name", "val\rue", NULL}};
    stws_options o = {.single_thread = 1};
    size_t i;
    for (i = 0; i < sizeof lists / sizeof *lists; i++) {
        o.connect_headers = lists[i];
        check_options(o, "connect_headers");
    }
    o.connect_headers = NULL;
    o.client_id = "two\rlines";
    check_options(o, "client_id");
}

static void test_invalid_urls(void) {
    static const char *urls[66], *const none[] = {NULL};
    stws_options o = {.urls = urls, .single_thread = 1};
    const char *why = NULL;
    stws *client;
    size_t i;
    CHECK_INT(STWS_ERR_USAGE, stws_init(NULL, 0, NULL, &client, &why));
    CHECK_HAS("url is missing", why);
    for (i = 0; i < 65; i++) urls[i] = "ws://broker.test/";
    check_options(o, "more than 64");
    urls[1] = "http://broker.test/";
    check_options(o, "ws://");
    o.urls = none;
    o.url = NULL;
    CHECK_INT(STWS_ERR_USAGE, stws_init(NULL, 0, &o, &client, &why));
}

/* ==== no client at all ==== */

static void test_no_client(void) {
    stws_outgoing m = {.destination = "/queue/a"};
    stws_message none;
    stws_message *reply = NULL;
    stws_statistics numbers;
    stws_event e;
    stws_fd fd;
    memset(&none, 0, sizeof none);
    stws_stop(NULL);
    stws_destroy(NULL);
    CHECK_INT(STWS_ERR_MEMORY, stws_next(NULL, &e, 0));
    CHECK_INT(STWS_ERR_MEMORY, stws_run(NULL));
    CHECK_INT(STWS_ERR_MEMORY, stws_step(NULL));
    CHECK_INT(STWS_ERR_MEMORY, stws_connect(NULL, 0));
    CHECK_INT(STWS_ERR_MEMORY, stws_start(NULL));
    CHECK_INT(STWS_ERR_MEMORY, stws_join(NULL));
    CHECK_INT(STWS_ERR_MEMORY, stws_flush(NULL, 0));
    CHECK_INT(STWS_ERR_MEMORY, stws_disconnect(NULL, 0));
    CHECK_INT(STWS_ERR_MEMORY, stws_reconnect_now(NULL));
    CHECK_INT(STWS_ERR_MEMORY, stws_subscribe(NULL, "/topic/a", NULL));
    CHECK_INT(STWS_ERR_MEMORY, stws_unsubscribe(NULL, 1));
    CHECK_INT(STWS_ERR_MEMORY, stws_send(NULL, "/queue/a", "x", 1));
    CHECK_INT(STWS_ERR_MEMORY, stws_begin(NULL, "t"));
    CHECK_INT(STWS_ERR_MEMORY, stws_request(NULL, &m, &reply, 0));
    CHECK_INT(STWS_ERR_STALE, stws_ack(NULL, &none));
    CHECK_INT(STWS_ERR_MEMORY, stws_nack(NULL, NULL));
    CHECK_INT(0, stws_fds(NULL, &fd, 1));
    CHECK_INT(0, (int)stws_deadline(NULL));
    CHECK_INT(STWS_ENDED, stws_state(NULL));
    CHECK_INT(STWS_ERR_MEMORY, stws_error(NULL));
    CHECK_INT(STWS_BROKER_UNKNOWN, stws_broker(NULL));
    CHECK_INT(STWS_STOMP_NONE, stws_version(NULL));
    CHECK_INT(0, stws_http_status(NULL));
    CHECK_INT(0, stws_close_code(NULL));
    CHECK(stws_user(NULL) == NULL && *stws_error_text(NULL));
    stws_stats(NULL, &numbers);
    CHECK_INT(0, (int)numbers.bytes_in);
}

/* ==== a flush in a callback only writes ==== */

/* Sends, and logs the flush's result and how many bytes the peer has received. */
static void flush_in_callback(struct peer *p, const stws_event *e) {
    int result;
    if (e->type != STWS_EVENT_MESSAGE) return;
    if (p->extra)
        stws_subscribe(p->client, "/topic/held-back", NULL);
    else
        CHECK_INT(0, stws_send(p->client, "/queue/a", "now", 3));
    result = stws_flush(p->client, 20);
    bytes_print(&p->log, "%s, %d bytes written\n", stws_result_name(result), (int)p->in.len);
}

static int ask_to_wait(stws *client, stws_subscribing *asked, void *user) {
    (void)client, (void)asked, (void)user;
    return 1000;
}

static void check_flush_in_callback(int blocked, int write_error, int waits, const char *expected) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.stepping = 1;
    o = peer_options(&p);
    if (waits) o.before_subscribe = ask_to_wait;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_forget(&p);
    p.tick_us = 1000;
    p.on_event = flush_in_callback;
    p.extra = waits ? &p : NULL;
    p.write_blocked = blocked;
    peer_message(&p, "sub-9", "1", "/topic/a", "x");
    if (write_error) p.write_error = write_error;
    stws_step(p.client);
    CHECK_HAS(expected, bytes_text(&p.log));
    peer_free(&p);
}

static void test_a_flush_in_a_callback(void) {
    check_flush_in_callback(0, 0, 0, "STWS_OK, 54 bytes written\n");
    check_flush_in_callback(1, 0, 0, "STWS_ERR_TIMEOUT, 0 bytes written\n");
    check_flush_in_callback(0, STWS_ERR_IO, 0, "STWS_ERR_IO, 0 bytes written\n");
    check_flush_in_callback(0, 0, 1, "STWS_ERR_STATE, 0 bytes written\n");
}

/* ==== more clients than one wait covers ==== */

/* Raises the limit of open file descriptors to this number. Returns 1, or 0 if that is not
   allowed. */
static int raise_limit(rlim_t count) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    if (limit.rlim_cur >= count) return 1;
    limit.rlim_cur = count;
    return limit.rlim_max >= count && setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static void test_run_many_of_many(void) {
    enum { MANY = 70, DESCRIPTORS = 4 * MANY + 32 }; /* two pipes for each client, and some spare */
    static struct peer peers[MANY];
    stws *clients[MANY];
    stws_options o;
    int i, connected = 0, tries = 300;
    if (!raise_limit(DESCRIPTORS)) {
        SKIP("a limit of 312 file descriptors (ulimit -n)", "stws_run_many with 70 clients");
        return;
    }
    for (i = 0; i < MANY; i++) {
        peer_init(&peers[i]);
        o = peer_options(&peers[i]);
        o.clock = NULL; /* waiting uses the real clock */
        clients[i] = peer_start(&peers[i], &o);
        peers[i].tick_us = 1;
    }
    for (; connected < MANY && tries > 0; tries--) {
        CHECK_INT(STWS_ERR_TIMEOUT, stws_run_many(clients, MANY, 100));
        for (connected = i = 0; i < MANY; i++)
            connected += stws_state(clients[i]) == STWS_CONNECTED;
    }
    CHECK_INT(MANY, connected);
    for (i = 0; i < MANY; i++) stws_stop(clients[i]);
    CHECK_INT(0, stws_run_many(clients, MANY, -1));
    for (i = 0; i < MANY; i++) peer_free(&peers[i]);
}

static void test_invalid_subscriptions(void) {
    static const stws_subscribe_options wrong[] = {
        {.ack = (stws_ack_mode)4},  {.ack = (stws_ack_mode)-1},
        {.ack_on = (stws_ack_on)7}, {.ack_on = (stws_ack_on)-1},
        {.prefetch = -1},           {.ack = STWS_ACK_AUTO, .ack_on = STWS_ACK_ON_RETURN},
    };
    size_t i;
    struct peer p;
    peer_begin(&p);
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK_INT(STWS_ERR_USAGE, stws_subscribe(p.client, "/topic/a", &wrong[i]));
    peer_free(&p);
}

/* A handle from an ended client would never become active. */
static void test_no_new_calls_after_the_end(void) {
    struct peer p;
    peer_begin(&p);
    CHECK(peer_connect(&p));
    stws_disconnect(p.client, -1);
    CHECK_INT(STWS_ERR_STATE, stws_subscribe(p.client, "/topic/a", NULL));
    CHECK_INT(STWS_ERR_STATE, stws_send_text(p.client, "/topic/a", "x"));
    peer_turn(&p);
    CHECK_INT(STWS_ENDED, stws_state(p.client));
    CHECK_INT(STWS_CLOSED, stws_subscribe(p.client, "/topic/a", NULL));
    CHECK_INT(STWS_CLOSED, stws_send_text(p.client, "/topic/a", "x"));
    CHECK_INT(0, peer_count(&p, "SUBSCRIBE"));
    peer_free(&p);
}

/* ==== a message that is larger than the queue ==== */

static void test_a_message_larger_than_the_queue(void) {
    static char large[5000];
    const stws_message *message = NULL;
    stws_queue *queue = stws_queue_create(1000);
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK(stws_subscribe(p.client, "/topic/a", NULL) > 0);
    memset(large, 'x', sizeof large - 1);
    peer_message(&p, "sub-1", "1", "/topic/a", "small");
    peer_message(&p, "sub-1", "2", "/topic/a", large);
    peer_message(&p, "sub-1", "3", "/topic/a", "small");
    peer_turn(&p);
    CHECK_HAS("MESSAGE /topic/a 2 xxx", bytes_text(&p.log));
    CHECK_INT(STWS_ERR_LIMIT, stws_error(p.client));
    CHECK_HAS("queue", stws_error_text(p.client));
    CHECK_INT(1, stws_queue_pop(queue, &message, 0));
    CHECK_INT(1, stws_queue_pop(queue, &message, 0));
    CHECK_STR("3", message->message_id);
    CHECK_INT(0, stws_queue_pop(queue, &message, 0));
    peer_free(&p);
    stws_queue_destroy(queue);
}

/* ==== slow callbacks ==== */

static void work_slowly(stws *c, const stws_message *message, void *user) {
    struct peer *p = (struct peer *)user;
    (void)c;
    (void)message;
    p->now_us += 100000;
}

/* 900 messages arrive in one read, and each takes a tenth of a second of work. The client must
   still send its heart-beats. */
static void test_heart_beats_between_messages_of_one_read(void) {
    stws_subscribe_options slow = {.on_message = work_slowly};
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.heartbeat_out_ms = 10000;
    p.connected = "CONNECTED\nversion:1.2\nheart-beat:0,10000\n\n";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    slow.user = &p;
    CHECK(stws_subscribe(p.client, "/topic/a", &slow) > 0);
    peer_turn(&p);
    p.longest_silence_us = 0;
    for (i = 0; i < 900; i++) peer_message(&p, "sub-1", "1", "/topic/a", "x");
    for (i = 0; i < 900; i++) peer_turn(&p);
    CHECK_INT(900, (long)peer_stats(&p).messages_in);
    CHECK(p.beats > 5);
    CHECK(p.longest_silence_us > 0 && p.longest_silence_us <= 10000000);
    peer_free(&p);
}

/* Frames that are left over after a turn are handled in the next turn, even if the network brings
   nothing more. */
static void test_left_over_frames_are_handled(void) {
    struct peer p;
    stws_event e;
    int i;
    peer_begin(&p);
    CHECK(peer_connect(&p));
    CHECK(stws_subscribe(p.client, "/topic/a", NULL) > 0);
    peer_turn(&p);
    for (i = 0; i < 100; i++) peer_message(&p, "sub-1", "1", "/topic/a", "x");
    p.tick_us = 6000;
    for (i = 0; i < 100; i++) CHECK_INT(1, stws_next(p.client, &e, 100));
    p.tick_us = 0;
    peer_free(&p);
}

static void work_really_slowly(stws *c, const stws_message *message, void *user) {
    struct timespec six_ms = {0, 6000000};
    (void)c;
    (void)message;
    nanosleep(&six_ms, NULL);
    ++*(int *)user;
}

/* The same over a socket, which has nothing more to wake the client. */
static void test_left_over_frames_are_handled_without_waiting(void) {
    static struct loopback server;
    stws_subscribe_options slow = {.on_message = work_really_slowly};
    stws_options o = {0};
    stws_event e;
    int i, count = 0;
    stws *client;
    loopback_start(&server, 0, 0);
    o.url = server.url;
    o.single_thread = 1;
    o.heartbeat_in_ms = o.heartbeat_out_ms = STWS_OFF;
    client = stws_create(&o);
    CHECK_INT(0, stws_connect(client, 9000));
    slow.user = &count;
    CHECK(stws_subscribe(client, "/topic/a", &slow) > 0);
    for (i = 0; i < 100; i++) CHECK_INT(0, stws_send(client, "/topic/a", "x", 1));
    for (i = 0; i < 10 && count < 100; i++) stws_next(client, &e, 1000);
    CHECK_INT(100, count);
    stws_destroy(client);
    loopback_stop(&server);
}

/* ==== an end requested while something else is due ==== */

static void test_an_old_session_that_shall_end(void) {
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .receipt = 1};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.max_session_ms = 10000;
    o.receipt_timeout_ms = 60000;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    CHECK(stws_send_ex(p.client, &m) > 0);
    peer_advance(&p, 8000);
    CHECK_INT(0, stws_disconnect(p.client, 60000));
    peer_advance(&p, 8000);
    CHECK_INT(1, p.sessions);
    CHECK_INT(0, p.ended);
    CHECK(stws_deadline(p.client) > 1000); /* the client must not loop without waiting */
    peer_free(&p);
}

static void test_off_does_not_mean_immediately(void) {
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .receipt = 1};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.receipt_timeout_ms = STWS_OFF;
    o.heartbeat_grace = STWS_OFF;
    o.heartbeat_in_ms = 10000;
    p.connected = "CONNECTED\nversion:1.2\nheart-beat:10000,0\n\n";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    CHECK(stws_send_ex(p.client, &m) > 0);
    peer_advance(&p, 100000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK(!strstr(bytes_text(&p.log), "RECEIPT"));
    CHECK(stws_deadline(p.client) != 0);
    peer_end(&p);
    peer_turn(&p);
    CHECK_HAS("RECEIPT 1 STWS_ERR_LOST", bytes_text(&p.log));
    peer_free(&p);
}

static void test_requested_reconnects_do_not_count_as_failures(void) {
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.reconnect_attempts = 3;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    for (i = 0; i < 5; i++) {
        stws_reconnect_now(p.client);
        peer_turn(&p);
        CHECK(peer_connect(&p));
    }
    peer_cut(&p);
    peer_turn(&p);
    CHECK_INT(0, p.ended);
    CHECK(p.result != STWS_ERR_GAVE_UP);
    peer_free(&p);
}

/* If the server refuses a part of a transaction, the part is not resent in each new session. */
static void test_a_refused_part_is_sent_once(void) {
    stws_outgoing part = {
        .destination = "/queue/a", .body = "x", .body_len = 1, .transaction = "tx", .receipt = 1};
    struct peer p;
    peer_begin_confirming(&p);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    CHECK_INT(0, stws_begin(p.client, "tx"));
    CHECK(stws_send_ex(p.client, &part) > 0);
    peer_turn(&p);
    peer_refuse(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    peer_turn(&p);
    peer_end(&p);
    peer_advance(&p, 100000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(1, peer_count(&p, "SEND"));
    peer_free(&p);
}

/* A transaction that fills the outbox leaves no room for its ABORT. */
static void check_a_transaction_without_room(int is_connected, size_t bytes, size_t count) {
    stws_outgoing part = {
        .destination = "/queue/a", .body = "some text", .body_len = 9, .transaction = "tx"};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.outbox_bytes = bytes;
    o.outbox_count = count;
    peer_start(&p, &o);
    if (is_connected) CHECK(peer_connect(&p));
    CHECK_INT(0, stws_begin(p.client, "tx"));
    while (stws_send_ex(p.client, &part) == STWS_OK) continue;
    part.body_len = 0;
    while (stws_send_ex(p.client, &part) == STWS_OK) continue;
    while (stws_begin(p.client, "a") == STWS_OK) continue;
    CHECK_INT(0, stws_abort(p.client, "tx"));
    CHECK_INT(0, stws_send(p.client, "/queue/b", "x", 1));
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_INT(is_connected, peer_count(&p, "ABORT"));
    CHECK_STR("/queue/b",
              sent_header(peer_sent(&p, "SEND", peer_count(&p, "SEND") - 1), "destination"));
    if (!is_connected) CHECK_INT(1, peer_count(&p, "SEND"));
    peer_free(&p);
}

static void test_a_transaction_without_room(void) {
    check_a_transaction_without_room(1, 4096, 0);
    check_a_transaction_without_room(0, 4096, 0);
    check_a_transaction_without_room(1, 0, 10);
    check_a_transaction_without_room(0, 0, 10);
}

static int skip(stws *c, stws_subscribing *subscribing, void *user) {
    (void)c;
    (void)subscribing;
    (void)user;
    return -1;
}

static void test_a_skipped_subscription_is_not_unsubscribed(void) {
    struct peer p;
    stws_options o;
    int handle;
    peer_init(&p);
    o = peer_options(&p);
    o.before_subscribe = skip;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    handle = stws_subscribe(p.client, "/topic/a", NULL);
    peer_turn(&p);
    CHECK_INT(0, stws_unsubscribe(p.client, handle));
    peer_turn(&p);
    CHECK_INT(0, peer_count(&p, "SUBSCRIBE"));
    CHECK_INT(0, peer_count(&p, "UNSUBSCRIBE"));
    peer_free(&p);
}

/* ==== addresses that accept no connection ==== */

/* Returns a listener at 127.0.0.<last> whose backlog is full, so that a connection is neither made
   nor refused. */
static int silent_port(int last, int port, int fillers[4]) {
    struct sockaddr_in at;
    int fd = socket(AF_INET, SOCK_STREAM, 0), i;
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(0x7F000000u + (unsigned)last);
    at.sin_port = htons((unsigned short)port);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 0) != 0)
        test_give_up("cannot listen on a second address of the loopback interface");
    for (i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM, 0);
        fcntl(fillers[i], F_SETFL, O_NONBLOCK);
        if (connect(fillers[i], (struct sockaddr *)&at, sizeof at) == 0) continue;
    }
    return fd;
}

static void test_two_silent_addresses_and_a_third(void) {
    static const char *const addresses[] = {"127.0.0.2", "127.0.0.3", "127.0.0.1", NULL};
    static struct loopback server;
    stws_options o = {0};
    stws_event e;
    int fillers[8], silent[2], i;
    stws *client;
    loopback_start(&server, 0, 0);
    silent[0] = silent_port(2, server.port, fillers);
    silent[1] = silent_port(3, server.port, fillers + 4);
    o.url = server.url;
    o.single_thread = 1;
    o.addresses = addresses;
    client = stws_create(&o);
    CHECK_INT(1, stws_next(client, &e, 9000));
    CHECK_INT(STWS_EVENT_CONNECTED, e.type);
    stws_destroy(client);
    for (i = 0; i < 8; i++) close(fillers[i]);
    for (i = 0; i < 2; i++) close(silent[i]);
    loopback_stop(&server);
}

int main(void) {
    RUN(test_a_flood_instead_of_connected);
    RUN(test_a_flood_instead_of_101);
    RUN(test_a_receipt_that_does_not_come_in_a_flood); /* [E9] */
    RUN(test_error_texts_are_one_line);
    RUN(test_a_callback_does_not_drive);
    RUN(test_null_arguments);
    RUN(test_invalid_options);
    RUN(test_invalid_subscriptions);
    RUN(test_invalid_header_lists);
    RUN(test_invalid_urls);
    RUN(test_no_client);
    RUN(test_a_flush_in_a_callback);
    RUN(test_run_many_of_many); /* [D2] */
    RUN(test_no_new_calls_after_the_end);
    RUN(test_a_message_larger_than_the_queue);
    RUN(test_heart_beats_between_messages_of_one_read); /* [H1] */
    RUN(test_left_over_frames_are_handled);
    RUN(test_left_over_frames_are_handled_without_waiting);
    RUN(test_an_old_session_that_shall_end);
    RUN(test_off_does_not_mean_immediately);
    RUN(test_requested_reconnects_do_not_count_as_failures);
    RUN(test_a_refused_part_is_sent_once);
    RUN(test_a_transaction_without_room);
    RUN(test_a_skipped_subscription_is_not_unsubscribed);
    RUN(test_two_silent_addresses_and_a_third);
    return test_report();
}
