/* test_pressure.c - tests programs that are slower than the server, full outboxes, and what may end
   meanwhile. A working session must not be given up, and nothing may be lost that was promised. The
   server is scripted. */
#include "scripted.h"

/* ==== a slow program, and more messages than it handles in time ==== */

/* Takes up to `count` messages. The program works `work_us` on each of them, while the server sends
   a heart-beat every 2 s. Returns how many messages were taken. */
static int take_slowly(struct peer *p, int count, long long work_us) {
    long long next_beat = p->now_us + 2000000;
    stws_event e;
    int taken = 0, i;
    for (i = 0; i < count && p->retry_ms == -2; i++) {
        int result = stws_next(p->client, &e, 1000);
        if (result == 1) peer_log_event(p, &e);
        taken += result == 1 && e.type == STWS_EVENT_MESSAGE;
        peer_listen(p);
        p->now_us += work_us;
        for (; p->now_us >= next_beat; next_beat += 2000000) peer_ws(p, STWS_WS_TEXT, 1, "\n", 1);
    }
    return taken;
}

/* The server's heart-beats wait behind its earlier messages. The client must not miss them. */
static void test_a_slow_program_keeps_the_session(void) {
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.heartbeat_in_ms = o.heartbeat_out_ms = 2000;
    p.connected = "CONNECTED\nversion:1.2\nheart-beat:2000,2000\n\n";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    for (i = 0; i < 300; i++) peer_message(&p, "sub-1", "1", "/topic/a", "x");
    CHECK_INT(290, take_slowly(&p, 290, 100000));
    CHECK_INT(1, p.sessions);
    CHECK(p.longest_silence_us <= 2000000);
    peer_free(&p);
}

/* Messages that arrive together after a wait may be slow from the first one on. */
static void test_a_slow_program_after_a_wait(void) {
    struct peer p;
    int i;
    peer_begin(&p);
    p.connected = "CONNECTED\nversion:1.2\nheart-beat:0,10000\n\n";
    CHECK(peer_connect(&p));
    p.longest_silence_us = 0;
    p.last_write_us = p.now_us;
    CHECK(stws_deadline(p.client) > 0);
    for (i = 0; i < 40; i++) peer_message(&p, "sub-1", "1", "/topic/a", "x");
    CHECK_INT(40, take_slowly(&p, 40, 1000000));
    CHECK(p.longest_silence_us > 0 && p.longest_silence_us <= 10000000);
    peer_free(&p);
}

/* A message is not read before there is room for it. */
static void test_a_slow_program_needs_no_more_memory(void) {
    static char body[40001];
    struct peer p;
    stws_options o;
    void *memory;
    const char *why;
    stws_event e;
    int i, taken = 0;
    memset(body, 'x', sizeof body - 1);
    peer_init(&p);
    o = peer_options(&p);
    memory = malloc(stws_size(&o));
    CHECK_INT(0, stws_init(memory, stws_size(&o), &o, &p.client, &why));
    CHECK(peer_connect(&p));
    for (i = 0; i < 60 && p.retry_ms == -2; i++) {
        while (p.out.len < 400000) peer_message(&p, "sub-1", "1", "/topic/a", body);
        if (stws_next(p.client, &e, 1000) == 1) taken += e.type == STWS_EVENT_MESSAGE;
        p.now_us += 6000;
    }
    CHECK_INT(60, taken);
    CHECK_STR("", stws_error_text(p.client));
    peer_free(&p);
    free(memory);
}

/* ==== transactions of the same name, one after the other ==== */

static const stws_outgoing PART = {
    .destination = "/queue/a", .body = "first", .body_len = 5, .transaction = "tx"};

static void begin_small(struct peer *p, size_t count) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.outbox_count = count;
    o.tx_buffer = 512;
    peer_start(p, &o);
}

static void fill_with_parts(struct peer *p) {
    static char body[300];
    stws_outgoing part = PART;
    part.body = body;
    part.body_len = sizeof body;
    while (stws_send_ex(p->client, &part) == STWS_OK) continue;
}

static void send_whole(struct peer *p, const char *body) {
    stws_outgoing part = PART;
    part.body = body;
    part.body_len = strlen(body);
    CHECK_INT(0, stws_begin(p->client, "tx"));
    CHECK_INT(0, stws_send_ex(p->client, &part));
    CHECK_INT(0, stws_commit(p->client, "tx"));
}

static void test_an_abort_drops_only_its_own_transaction(void) {
    struct peer p;
    begin_small(&p, 8);
    send_whole(&p, "first");
    CHECK_INT(0, stws_begin(p.client, "tx"));
    fill_with_parts(&p);
    CHECK_INT(0, stws_abort(p.client, "tx"));
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_STR("CONNECT BEGIN SEND COMMIT ", bytes_text(&p.order));
    CHECK_STR("first ", peer_bodies(&p));
    peer_free(&p);
}

/* The broker already has a part of the transaction, so it must get the ABORT, although there was no
   room for it at first. */
static void test_an_abort_is_sent(void) {
    struct peer p;
    begin_small(&p, 6);
    CHECK(peer_connect(&p));
    peer_forget(&p);
    CHECK_INT(0, stws_begin(p.client, "tx"));
    CHECK_INT(0, stws_send_ex(p.client, &PART));
    peer_turn(&p);
    p.write_blocked = 1;
    fill_with_parts(&p);
    CHECK_INT(0, stws_abort(p.client, "tx"));
    p.write_blocked = 0;
    peer_turn(&p);
    send_whole(&p, "second");
    peer_turn(&p);
    CHECK_INT(2, peer_count(&p, "BEGIN"));
    CHECK_INT(1, peer_count(&p, "ABORT"));
    CHECK_HAS("ABORT BEGIN SEND COMMIT ", bytes_text(&p.order));
    peer_free(&p);
}

static void test_a_refused_commit_drops_only_its_own_transaction(void) {
    struct peer p;
    peer_begin_confirming(&p);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    send_whole(&p, "first");
    send_whole(&p, "second");
    peer_turn(&p);
    peer_refuse(&p, sent_header(peer_sent(&p, "COMMIT", 1), "receipt"));
    peer_end(&p);
    peer_turn(&p);
    peer_forget(&p);
    p.automatic |= AUTO_RECEIPT;
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_STR("CONNECT BEGIN SEND COMMIT ", bytes_text(&p.order));
    CHECK_STR("first ", peer_bodies(&p));
    peer_free(&p);
}

/* ==== a full queue ==== */

static int no_descriptor(void *ctx) {
    (void)ctx;
    return -1;
}

static stws_queue *begin_with_full_queue(struct peer *p, int has_descriptor) {
    stws_queue *queue = stws_queue_create(2048);
    stws_options o;
    int i;
    peer_init(p);
    o = peer_options(p);
    o.queue = queue;
    o.single_thread = 0;
    o.reconnect_min_ms = 10;
    o.ping_ms = STWS_OFF;
    if (!has_descriptor) p->transport.fd = no_descriptor;
    p->stepping = 1;
    peer_start(p, &o);
    CHECK(peer_connect(p));
    for (i = 0; i < 30; i++) peer_message(p, "sub-1", "1", "/topic/a", "x");
    peer_turn(p);
    CHECK_INT(-1, (int)stws_deadline(p->client)); /* the thread that makes room wakes the client */
    return queue;
}

/* A transport without a descriptor is polled while output waits. */
static void test_output_while_the_queue_is_full(void) {
    struct peer p;
    stws_queue *queue = begin_with_full_queue(&p, 0);
    p.write_blocked = 1;
    peer_send(&p, "one");
    peer_turn(&p);
    CHECK_INT(10, (int)stws_deadline(p.client));
    peer_free(&p);
    stws_queue_destroy(queue);
}

/* The client does not read, so it does not notice the broken stream yet. A message that is sent
   after that waits for the next session. */
static void test_a_requested_reconnect_of_a_broken_stream(void) {
    struct peer p;
    stws_queue *queue = begin_with_full_queue(&p, 1);
    p.write_error = STWS_ERR_IO;
    peer_send(&p, "lost");
    peer_turn(&p);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_send(&p, "kept");
    stws_reconnect_now(p.client);
    stws_step(p.client);
    p.write_error = 0;
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_STR("kept ", peer_bodies(&p));
    peer_free(&p);
    stws_queue_destroy(queue);
}

/* ==== events that do not end a flush ==== */

static void test_a_flush_before_there_is_a_connection(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.clock = NULL; /* only real time passes between two attempts */
    o.reconnect_min_ms = 10;
    peer_start(&p, &o);
    peer_send(&p, "one");
    p.write_error = STWS_ERR_IO; /* for the upgrade request */
    p.tick_us = 1;
    CHECK_STR("STWS_ERR_TIMEOUT", stws_result_name(stws_flush(p.client, 100)));
    p.write_error = 0;
    CHECK_STR("STWS_OK", stws_result_name(stws_flush(p.client, 60000)));
    p.tick_us = 0;
    peer_listen(&p);
    CHECK_STR("one ", peer_bodies(&p));
    peer_free(&p);
}

/* STWS_OFF for the receipt time-out means no limit, whichever broker it is. */
static void test_a_flush_without_receipt_timeout(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.confirm = 1;
    o.receipt_timeout_ms = STWS_OFF;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.automatic &= ~AUTO_RECEIPT;
    peer_send(&p, "one");
    peer_turn(&p);
    p.automatic |= AUTO_RECEIPT;
    peer_receipt(&p, sent_header(peer_sent(&p, "SEND", 0), "receipt"));
    p.tick_us = 1000;
    CHECK_STR("STWS_OK", stws_result_name(stws_flush(p.client, 5000)));
    peer_free(&p);
}

/* ==== stws_stop just before a wait, as from a signal handler ==== */

static int stop_while_asked(void *ctx, int wants) {
    struct peer *p = (struct peer *)ctx;
    if (p->extra) stws_stop(p->client);
    return wants;
}

static void test_a_stop_just_before_a_wait(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.heartbeat_in_ms = o.heartbeat_out_ms = STWS_OFF;
    p.transport.wants = stop_while_asked;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.extra = &p;
    CHECK_STR("STWS_OK", stws_result_name(stws_run_many(&p.client, 1, 100000)));
    peer_free(&p);
}

/* Writes 9 bytes, and then nothing. From step 3 on it fails once, and after that accepts
   everything; late_bytes counts these bytes. */
static int cut_step, late_bytes;

static long cut_write(void *ctx, const char *buf, size_t len) {
    if (cut_step == 0) return peer_t_write(ctx, buf, len);
    if (cut_step == 1) return cut_step = 2, peer_t_write(ctx, buf, 9);
    if (cut_step == 2) return 0;
    if (cut_step == 3) return cut_step = 4, STWS_ERR_IO;
    late_bytes += (int)len;
    return (long)len;
}

/* The stream broke in the middle of a frame. Nothing may follow the incomplete frame, not even a
   close frame, although the server closes. */
static void test_no_close_after_an_incomplete_frame(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    p.transport.write = cut_write;
    cut_step = late_bytes = 0;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    cut_step = 1;
    peer_send(&p, "a frame of more than nine bytes");
    peer_turn(&p);
    CHECK_INT(2, cut_step);
    peer_close(&p, 1000, "bye");
    cut_step = 3;
    peer_turn(&p);
    CHECK_INT(STWS_ERR_WS_CLOSE, p.result);
    CHECK_INT(4, cut_step);
    CHECK_INT(0, late_bytes);
    peer_free(&p);
}

int main(void) {
    RUN(test_a_slow_program_keeps_the_session); /* [H3] */
    RUN(test_a_slow_program_after_a_wait);      /* [H1] */
    RUN(test_a_slow_program_needs_no_more_memory);
    RUN(test_an_abort_drops_only_its_own_transaction); /* [G6] */
    RUN(test_an_abort_is_sent);
    RUN(test_a_refused_commit_drops_only_its_own_transaction);
    RUN(test_output_while_the_queue_is_full);
    RUN(test_a_requested_reconnect_of_a_broken_stream);
    RUN(test_a_flush_before_there_is_a_connection);
    RUN(test_a_flush_without_receipt_timeout);
    RUN(test_a_stop_just_before_a_wait); /* [T2] */
    RUN(test_no_close_after_an_incomplete_frame);
    return test_report();
}
