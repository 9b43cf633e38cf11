/* test_memory.c - tests what is allocated and when: nothing by stws_init, one block by stws_create,
   and nothing while a session runs. Each allocation fails once, which must cause an error and not a
   crash. The heap under the library counts its blocks, and fails on request; the server is
   scripted. */
#include <stddef.h>

static void *heap_alloc(size_t size);
static void heap_free(void *block);

#define STOMP_WS_MALLOC(size) heap_alloc(size)
#define STOMP_WS_FREE(block) heap_free(block)

#define STOMP_WS_IMPLEMENTATION
#include "scripted.h"

/* ==== a heap that counts, and fails on request ==== */

enum { MAX_BLOCKS = 64 };

struct block {
    void *at;
    size_t size;
};

static struct heap {
    int calls;   /* number of allocations requested */
    int fail_at; /* the number of the allocation that fails; 0: none */
    int live;
    int wrong; /* releases of unknown blocks, or with a wrong size */
    const char *secret;
    int secrets; /* blocks that contained this text when they were released */
    struct block blocks[MAX_BLOCKS];
} heap;

static void heap_reset(int fail_at) {
    memset(&heap, 0, sizeof heap);
    heap.fail_at = fail_at;
}

static void *heap_alloc(size_t size) {
    int i;
    if (++heap.calls == heap.fail_at) return NULL;
    for (i = 0; i < MAX_BLOCKS && heap.blocks[i].at;) i++;
    if (i == MAX_BLOCKS) abort();
    heap.blocks[i].at = malloc(size);
    heap.blocks[i].size = size;
    if (!heap.blocks[i].at) abort();
    if (heap.secret) memset(heap.blocks[i].at, 0, size); /* the whole block will be searched */
    heap.live++;
    return heap.blocks[i].at;
}

static int holds_secret(const struct block *b) {
    const char *at = (const char *)b->at;
    size_t len = heap.secret ? strlen(heap.secret) : 0, i;
    for (i = 0; len && i + len <= b->size; i++)
        if (memcmp(at + i, heap.secret, len) == 0) return 1;
    return 0;
}

/* size 0: the caller does not know the size. */
static void heap_release(void *block, size_t size) {
    int i;
    for (i = 0; i < MAX_BLOCKS && heap.blocks[i].at != block;) i++;
    if (i == MAX_BLOCKS || (size && heap.blocks[i].size != size)) {
        heap.wrong++;
        return;
    }
    heap.secrets += holds_secret(&heap.blocks[i]);
    free(block);
    heap.blocks[i].at = NULL;
    heap.live--;
}

static void heap_free(void *block) {
    heap_release(block, 0);
}

/* The same heap as an options.allocator, whose release function gets the size. */
static void *allocator_alloc(void *ctx, size_t size) {
    ++*(int *)ctx;
    return heap_alloc(size);
}

static void allocator_release(void *ctx, void *block, size_t size) {
    --*(int *)ctx;
    heap_release(block, size ? size : 1);
}

static void check_heap(int calls) {
    CHECK_INT(calls, heap.calls);
    CHECK_INT(0, heap.live);
    CHECK_INT(0, heap.wrong);
}

/* ==== a busy session ==== */

/* Acknowledges and answers each message. */
static void ack_and_answer(struct peer *p, const stws_event *e) {
    if (e->type != STWS_EVENT_MESSAGE) return;
    CHECK_INT(0, stws_ack(p->client, e->message));
    CHECK_INT(0, stws_send(p->client, "/queue/answers", e->message->body, e->message->body_len));
}

static void exchange(struct peer *p, int messages) {
    stws_subscribe_options individual = {.ack = STWS_ACK_CLIENT_INDIVIDUAL};
    char id[16];
    int i;
    p->on_event = ack_and_answer;
    CHECK(stws_subscribe(p->client, "/queue/a", &individual) > 0);
    CHECK(peer_connect(p));
    for (i = 0; i < messages; i++) {
        snprintf(id, sizeof id, "%d", i);
        peer_message(p, "sub-1", id, "/queue/a", "a body, neither long nor short, as they come");
        if (i % 10 != 9) continue;
        peer_turn(p);
        CHECK_INT(10, peer_count(p, "ACK"));
        CHECK_INT(10, peer_count(p, "SEND"));
        peer_forget(p);
        if (test_case_failures) break;
    }
    CHECK_INT(STWS_CONNECTED, stws_state(p->client));
}

static void test_create_allocates_one_block(void) {
    struct peer p;
    stws_options o;
    heap_reset(0);
    peer_init(&p);
    o = peer_options(&p);
    peer_start(&p, &o);
    CHECK_INT(1, heap.calls);
    exchange(&p, 10000);
    CHECK_INT(1, heap.calls);
    peer_end(&p);
    peer_turn(&p);
    CHECK(peer_connect(&p));
    CHECK_INT(1, heap.calls);
    peer_free(&p);
    check_heap(1);
}

static void test_a_custom_allocator(void) {
    int balance = 0;
    stws_allocator a = {&balance, allocator_alloc, allocator_release};
    struct peer p;
    stws_options o;
    heap_reset(0);
    peer_init(&p);
    o = peer_options(&p);
    o.allocator = &a;
    peer_start(&p, &o);
    CHECK_INT(1, balance);
    exchange(&p, 100);
    CHECK_INT(1, balance);
    peer_free(&p);
    CHECK_INT(0, balance);
    check_heap(1);
    o.url = "http://no.test/";
    p.client = stws_create(&o);
    CHECK_INT(1, balance);
    stws_destroy(p.client);
    CHECK_INT(0, balance);
    check_heap(2);
}

/* ==== memory supplied by the caller ==== */

enum { GUARD = 64 };

/* Creates a client in a block of exactly the size of stws_size, with a guard after it. */
static unsigned char *start_in_place(struct peer *p, stws_options *o, size_t *size) {
    const char *why = NULL;
    unsigned char *memory;
    *size = stws_size(o);
    CHECK(*size > 0);
    memory = (unsigned char *)malloc(*size + GUARD);
    if (!memory) abort();
    memset(memory, 0xA5, *size + GUARD);
    CHECK_INT(STWS_ERR_MEMORY, stws_init(memory, *size - 1, o, &p->client, &why));
    CHECK_HAS("stws_size", why);
    CHECK(p->client == NULL);
    CHECK_INT(STWS_ERR_MEMORY, stws_init(NULL, *size, o, &p->client, NULL));
    CHECK_INT(STWS_OK, stws_init(memory, *size, o, &p->client, &why));
    CHECK(p->client != NULL);
    return memory;
}

static void end_in_place(struct peer *p, unsigned char *memory, size_t size) {
    static unsigned char untouched[GUARD];
    memset(untouched, 0xA5, GUARD);
    peer_free(p);
    CHECK_MEM(untouched, GUARD, memory + size, GUARD);
    free(memory);
    check_heap(0);
}

static void test_init_allocates_nothing(void) {
    int single;
    for (single = 0; single < 2; single++) {
        struct peer p;
        stws_options o;
        unsigned char *memory;
        size_t size;
        heap_reset(0);
        peer_init(&p);
        o = peer_options(&p);
        o.single_thread = single;
        memory = start_in_place(&p, &o, &size);
        exchange(&p, 1000);
        peer_end(&p);
        peer_turn(&p);
        CHECK_INT(0, stws_send(p.client, "/queue/a", "waits", 5));
        CHECK(peer_connect(&p));
        CHECK_INT(1, peer_count(&p, "SEND"));
        end_in_place(&p, memory, size);
    }
}

/* After stws_destroy no secrets are left in the caller's memory. */
static void test_destroy_wipes_secrets(void) {
    static const char secret[] = "hush-hush-hush";
    struct peer p;
    stws_options o;
    unsigned char *memory;
    size_t size, i;
    int found = 0;
    heap_reset(0);
    peer_init(&p);
    o = peer_options(&p);
    o.passcode = secret;
    memory = start_in_place(&p, &o, &size);
    CHECK(peer_connect(&p));
    CHECK_STR(secret, sent_header(peer_sent(&p, "CONNECT", 0), "passcode"));
    stws_destroy(p.client);
    p.client = NULL;
    for (i = 0; i + sizeof secret <= size; i++)
        found += memcmp(memory + i, secret, sizeof secret - 1) == 0;
    CHECK_INT(0, found);
    end_in_place(&p, memory, size);
}

static stws_options little(struct peer *p) {
    stws_options o = peer_options(p);
    o.rx_buffer = 4096;
    o.tx_buffer = 4096;
    o.outbox_bytes = 16384;
    o.max_subscriptions = 4;
    o.max_receipts = 4;
    return o;
}

/* Without a heap the buffers cannot grow. The error text names the option to raise. */
static void test_a_message_over_the_buffer(void) {
    struct peer p;
    struct bytes body = {0};
    stws_options o;
    unsigned char *memory;
    size_t size;
    heap_reset(0);
    peer_init(&p);
    o = little(&p);
    memory = start_in_place(&p, &o, &size);
    CHECK(size < 65536);
    CHECK(peer_connect(&p));
    bytes_print(&body, "%01900d", 0);
    peer_message(&p, "sub-1", "1", "/queue/a", body.data);
    peer_turn(&p);
    CHECK_HAS("MESSAGE /queue/a 1 0000", bytes_text(&p.log));
    while (body.len < 6000) bytes_print(&body, "%0100d", 0);
    peer_message(&p, "sub-1", "2", "/queue/a", body.data);
    peer_turn(&p);
    CHECK(p.retry_ms >= 0);
    CHECK_HAS("rx_buffer", bytes_text(&p.why));
    CHECK_INT(1009, p.close_code);
    CHECK(peer_connect(&p));
    end_in_place(&p, memory, size);
    bytes_free(&body);
}

/* A SEND that can never be written is refused, or dropped and counted. Later SENDs are written. */
static void check_oversized_send(int connect_first) {
    struct peer p;
    char body[8000];
    stws_options o;
    stws_statistics stats;
    unsigned char *memory;
    size_t size;
    int result;
    heap_reset(0);
    peer_init(&p);
    o = little(&p);
    memory = start_in_place(&p, &o, &size);
    if (connect_first) CHECK(peer_connect(&p));
    memset(body, 'x', sizeof body);
    result = stws_send(p.client, "/queue/a", body, sizeof body);
    CHECK(result == 0 || result == STWS_ERR_LIMIT);
    CHECK_INT(0, stws_send(p.client, "/queue/b", "small", 5));
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_INT(1, peer_count(&p, "SEND"));
    CHECK_STR("/queue/b", sent_header(peer_sent(&p, "SEND", 0), "destination"));
    stws_stats(p.client, &stats);
    CHECK_INT(result == 0, stats.dropped);
    end_in_place(&p, memory, size);
}

static void test_a_send_over_the_buffer(void) {
    check_oversized_send(1);
    check_oversized_send(0);
}

/* ==== buffers that grow, and shrink back ==== */

static void talk_big(struct peer *p, size_t len) {
    struct bytes body = {0};
    while (body.len < len) bytes_print(&body, "%0100d", 7);
    peer_message(p, "sub-1", "big", "/queue/a", body.data);
    stws_send(p->client, "/queue/b", body.data, body.len);
    peer_turn(p);
    bytes_free(&body);
}

static void test_buffers_grow_and_shrink(void) {
    struct peer p;
    int grown;
    heap_reset(0);
    peer_begin(&p);
    CHECK(peer_connect(&p));
    talk_big(&p, 300000);
    CHECK_HAS("MESSAGE /queue/a big ", bytes_text(&p.log));
    CHECK_INT(1, peer_count(&p, "SEND"));
    grown = heap.calls;
    CHECK(grown > 1);
    CHECK_INT(3, heap.live); /* the client, its input buffer, its output buffer */
    talk_big(&p, 300000);
    CHECK_INT(grown, heap.calls);
    peer_end(&p);
    peer_turn(&p);
    CHECK_INT(1, heap.live);
    CHECK(peer_connect(&p));
    talk_big(&p, 300000);
    CHECK_INT(2, peer_count(&p, "CONNECT"));
    CHECK_INT(3, peer_count(&p, "SEND"));
    peer_free(&p);
    CHECK_INT(0, heap.live);
    CHECK_INT(0, heap.wrong);
}

/* A declared length alone does not allocate memory. */
static void test_announcements_allocate_nothing(void) {
    static const char ws_head[] = {(char)0x82, 127, 0, 0, 0, 0, 0, (char)0xF0, 0, 0};
    struct peer p;
    heap_reset(0);
    peer_begin(&p);
    CHECK(peer_connect(&p));
    peer_raw(&p, ws_head, sizeof ws_head);
    peer_say(&p, "MESSAGE\nsubscription:sub-1\nmessage-id:1\ndestination:/"
                 "a\ncontent-length:15000000\n\nbegin");
    peer_turn(&p);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(1, heap.calls);
    peer_free(&p);
    check_heap(1);
}

/* ==== each allocation fails once ==== */

static void copy_message(struct peer *p, const stws_event *e) {
    stws_message *copy;
    if (e->type != STWS_EVENT_MESSAGE) return;
    copy = stws_message_copy(e->message);
    if (copy) CHECK_STR(e->message->message_id, copy->message_id);
    stws_message_free(copy);
    (void)p;
}

/* Uses a queue, a client, large frames in both directions, copies and a second session. Returns 1
   if no allocation failed. */
static int everything(int fail_at) {
    struct peer p;
    stws_queue *queue;
    stws_options o;
    heap_reset(fail_at);
    queue = stws_queue_create(65536);
    peer_init(&p);
    p.on_event = copy_message;
    o = peer_options(&p);
    p.client = stws_create(&o);
    if (p.client) {
        CHECK(peer_connect(&p));
        talk_big(&p, 300000);
        if (stws_state(p.client) != STWS_CONNECTED)
            CHECK_STR("STWS_ERR_LIMIT", stws_result_name(p.result));
        CHECK(peer_connect(&p));
        peer_forget(&p);
        peer_message(&p, "sub-1", "small", "/queue/a", "still works");
        CHECK_INT(0, stws_send(p.client, "/queue/c", "too", 3));
        peer_turn(&p);
        CHECK_HAS("MESSAGE /queue/a small still works\n", bytes_text(&p.log));
        CHECK(peer_count(&p, "SEND") > 0);
        stws_disconnect(p.client, 1000);
        peer_turn(&p);
        CHECK_STR("STWS_CLOSED", stws_result_name(p.ended));
    } else {
        CHECK_STR(stws_result_text(STWS_ERR_MEMORY), stws_error_text(p.client));
        CHECK_INT(STWS_ERR_MEMORY, stws_subscribe(p.client, "/topic/a", NULL));
        CHECK_INT(STWS_ERR_MEMORY, stws_run(p.client));
    }
    peer_free(&p);
    if (queue) stws_queue_destroy(queue);
    CHECK_INT(0, heap.live);
    CHECK_INT(0, heap.wrong);
    return heap.calls < fail_at;
}

static void test_each_allocation_fails_in_turn(void) {
    int n = 1;
    CHECK(everything(1000));
    while (n < 100 && !everything(n)) n++;
    CHECK(n > 5 && n < 100);
}

/* The reply of a request is a copy. Without memory for the copy, the request returns an error. */
static void answer_request(struct peer *p, const struct sent *s) {
    struct bytes b = {0};
    if (s->frame.command_id != STWS_COMMAND_SEND) return;
    bytes_print(
        &b, "MESSAGE\nsubscription:%s\nmessage-id:1\ndestination:/x\ncorrelation-id:%s\n\nreply",
        sent_header(peer_sent(p, "SUBSCRIBE", 0), "id"), sent_header(s, "correlation-id"));
    peer_stomp(p, b.data);
    bytes_free(&b);
}

static void test_a_request_without_memory(void) {
    stws_outgoing m = {.destination = "/queue/rpc", .body = "x", .body_len = 1};
    stws_message *reply = NULL;
    struct peer p;
    heap_reset(2);
    peer_begin(&p);
    p.tick_us = 1000;
    p.on_sent = answer_request;
    CHECK_STR("STWS_ERR_MEMORY", stws_result_name(stws_request(p.client, &m, &reply, 5000)));
    CHECK(reply == NULL);
    peer_free(&p);
    CHECK_INT(0, heap.live);
}

/* ==== small buffers ==== */

/* Options for a request and an answer of over 256 bytes each. */
static stws_options small_options(struct peer *p) {
    static char url[600] = "ws://broker.test:8080/", answer[900];
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    memset(url + 22, 'a', 500);
    snprintf(answer, sizeof answer,
             "HTTP/1.1 101 Switching Protocols\r\nX-Long: %s\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Accept: @\r\n\r\n",
             url);
    p->answer = answer;
    o.url = url;
    o.rx_buffer = o.tx_buffer = 256;
    return o;
}

static void test_the_upgrade_borrows_from_the_heap(void) {
    struct peer p;
    stws_options o;
    int calls;
    heap_reset(0);
    o = small_options(&p);
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK(heap.calls > 1);
    CHECK_INT(1, heap.live);
    calls = heap.calls;
    CHECK_INT(0, stws_send(p.client, "/queue/a", "fits", 4));
    peer_turn(&p);
    CHECK_INT(1, peer_count(&p, "SEND"));
    CHECK_INT(calls, heap.calls);
    peer_free(&p);
    check_heap(calls);
}

static void test_the_upgrade_without_a_heap_names_the_small_buffer(void) {
    struct peer p;
    stws_options o = small_options(&p);
    unsigned char *memory;
    size_t size;
    heap_reset(0);
    memory = start_in_place(&p, &o, &size);
    CHECK(!peer_connect(&p));
    CHECK_HAS("tx_buffer", stws_error_text(p.client));
    end_in_place(&p, memory, size);
    o = small_options(&p);
    o.tx_buffer = 1024;
    heap_reset(0);
    memory = start_in_place(&p, &o, &size);
    CHECK(!peer_connect(&p));
    CHECK_INT(STWS_ERR_HTTP_LIMIT, stws_error(p.client));
    CHECK_HAS("256 bytes", stws_error_text(p.client));
    end_in_place(&p, memory, size);
}

/* If there is little room for the error text, the text is cut, not lost. */
static void test_a_short_error_text(void) {
    struct peer p;
    stws_options o = small_options(&p);
    o.reconnect_attempts = 1;
    heap_reset(0);
    p.answer = "HTTP/1.1 503 Busy\r\n\r\n";
    peer_start(&p, &o);
    CHECK(!peer_connect(&p));
    peer_advance(&p, 60000);
    CHECK_INT(STWS_ERR_GAVE_UP, p.result);
    CHECK_HAS("gave up after 2 attempts; the last error: HTTP 503 Busy", stws_error_text(p.client));
    CHECK_INT(255, strlen(stws_error_text(p.client)));
    peer_free(&p);
}

/* ==== copies of messages ==== */

/* Checks that the string with its NUL is completely inside the block, and has the expected
   bytes. */
static void check_inside(const struct block *b, const char *expected, size_t len,
                         const char *found) {
    const char *begin = (const char *)b->at;
    CHECK(found >= begin && found + len < begin + b->size);
    if (test_case_failures) return;
    CHECK_MEM(expected, len, found, len);
    CHECK_INT(0, found[len]);
}

static void check_value_inside(const struct block *b, const char *expected, const char *found) {
    CHECK(expected != NULL);
    if (expected) check_inside(b, expected, strlen(expected), found);
}

static void check_headers_inside(const struct block *b, const stws_frame *expected,
                                 const stws_frame *found) {
    const char *begin = (const char *)b->at, *table = (const char *)found->headers;
    size_t i;
    CHECK_INT(expected->header_count, found->header_count);
    CHECK(table >= begin &&
          table + found->header_count * sizeof *found->headers <= begin + b->size);
    for (i = 0; i < found->header_count && !test_case_failures; i++) {
        const stws_header *e = &expected->headers[i], *f = &found->headers[i];
        CHECK_INT(e->name_len, f->name_len);
        CHECK_INT(e->value_len, f->value_len);
        check_inside(b, e->name, e->name_len, f->name);
        check_inside(b, e->value, e->value_len, f->value);
    }
}

/* Everything that the copy points to is in the copy's own block. */
static void check_copy(struct peer *p, const stws_event *event) {
    const stws_message *m = event->message;
    stws_message *copy;
    int i;
    if (event->type != STWS_EVENT_MESSAGE) return;
    copy = stws_message_copy(m);
    for (i = 0; i < MAX_BLOCKS && heap.blocks[i].at != copy;) i++;
    if (i == MAX_BLOCKS) abort();
    check_value_inside(&heap.blocks[i], m->destination, copy->destination);
    check_value_inside(&heap.blocks[i], m->message_id, copy->message_id);
    check_value_inside(&heap.blocks[i], m->subscription, copy->subscription);
    check_value_inside(&heap.blocks[i], m->content_type, copy->content_type);
    check_value_inside(&heap.blocks[i], m->ack, copy->ack);
    check_value_inside(&heap.blocks[i], m->frame.command, copy->frame.command);
    check_inside(&heap.blocks[i], m->body, m->body_len, copy->body);
    check_inside(&heap.blocks[i], m->body, m->body_len, copy->frame.body);
    check_headers_inside(&heap.blocks[i], &m->frame, &copy->frame);
    CHECK_INT(m->body_len, copy->body_len);
    CHECK_INT(m->frame.body_len, copy->frame.body_len);
    CHECK_INT(m->frame.command_id, copy->frame.command_id);
    CHECK_INT(m->handle, copy->handle);
    CHECK_INT(m->ack_on, copy->ack_on);
    CHECK_INT(m->epoch, copy->epoch);
    CHECK_INT(m->body_is_utf8, copy->body_is_utf8);
    CHECK(m->client == copy->client);
    stws_message_free(copy);
    ++*(int *)p->extra;
}

static void test_a_copy_points_into_its_own_block(void) {
    static const char frame[] =
        "MESSAGE\ndestination:/queue/a\nmessage-id:7\nsubscription:sub-1\ncontent-type:text/plain\n"
        "ack:ack-7\nescaped:a\\cb\\n\nempty:\ndestination:/queue/"
        "again\ncontent-length:6\n\nbo\0dy\xFF";
    stws_subscribe_options returned = {.ack_on = STWS_ACK_ON_RETURN};
    struct peer p;
    int copies = 0;
    heap_reset(0);
    peer_begin(&p);
    p.on_event = check_copy;
    p.extra = &copies;
    CHECK_INT(1, stws_subscribe(p.client, "/queue/a", &returned));
    CHECK(peer_connect(&p));
    peer_ws(&p, STWS_WS_TEXT, 1, frame, sizeof frame);
    peer_turn(&p);
    CHECK_INT(1, copies);
    peer_free(&p);
    check_heap(2);
}

static void keep_copy(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_MESSAGE) *(stws_message **)p->extra = stws_message_copy(e->message);
}

/* Released copies, queues and buffers contain no secrets. */
static void test_released_memory_is_wiped(void) {
    stws_queue *queue;
    const stws_message *popped = NULL;
    stws_message *copy = NULL;
    struct peer p;
    stws_options o;
    heap_reset(0);
    heap.secret = "hush-hush-hush";
    peer_begin(&p);
    p.on_event = keep_copy;
    p.extra = &copy;
    CHECK_INT(1, stws_subscribe(p.client, "/queue/a", NULL));
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "1", "/queue/a", heap.secret);
    peer_turn(&p);
    CHECK(copy != NULL);
    stws_message_free(copy);
    CHECK_INT(0, heap.secrets);
    peer_free(&p);
    CHECK_INT(0, heap.secrets);

    queue = stws_queue_create(4096);
    peer_init(&p);
    o = peer_options(&p);
    o.queue = queue;
    peer_start(&p, &o);
    CHECK_INT(1, stws_subscribe(p.client, "/queue/a", NULL));
    CHECK(peer_connect(&p));
    peer_message(&p, "sub-1", "1", "/queue/a", heap.secret);
    peer_message(&p, "sub-1", "2", "/queue/a", heap.secret);
    peer_turn(&p);
    CHECK_INT(1, stws_queue_pop(queue, &popped, 0));
    CHECK_INT(0, stws_send_text(p.client, "/queue/a", heap.secret));
    peer_free(&p);
    stws_queue_destroy(queue);
    CHECK_INT(0, heap.secrets);
    check_heap(heap.calls);
}

int main(void) {
    RUN(test_create_allocates_one_block); /* [Y1] */
    RUN(test_a_custom_allocator);
    RUN(test_init_allocates_nothing); /* [Y3] */
    RUN(test_destroy_wipes_secrets);
    RUN(test_a_message_over_the_buffer);
    RUN(test_a_send_over_the_buffer);
    RUN(test_buffers_grow_and_shrink);        /* [Y2] */
    RUN(test_announcements_allocate_nothing); /* [Y2] */
    RUN(test_each_allocation_fails_in_turn);
    RUN(test_a_request_without_memory);
    RUN(test_the_upgrade_borrows_from_the_heap);
    RUN(test_the_upgrade_without_a_heap_names_the_small_buffer);
    RUN(test_a_short_error_text);
    RUN(test_a_copy_points_into_its_own_block); /* [Y4] */
    RUN(test_released_memory_is_wiped);
    return test_report();
}
