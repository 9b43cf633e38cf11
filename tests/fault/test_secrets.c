/* test_secrets.c - tests that passcode, Authorization, cookies and similar secrets go only to the
   server. They never appear in a trace, an event or an error text, and memory that the client
   releases contains no part of them. The test searches the output of whole sessions, and every
   released block. The server is scripted. */
#include "scripted.h"

/* Every secret contains this word, and nothing else does. */
#define MARK "hush"

static const char *const http_headers[] = {"Authorization",
                                           "Bearer hush-http",
                                           "proxy-authorization",
                                           "Basic hush-proxy",
                                           "X-CSRF-TOKEN",
                                           "hush-csrf",
                                           NULL};
static const char *const connect_headers[] = {"authorization", "Bearer hush-connect", NULL};

/* ==== a heap that inspects released blocks ==== */

static struct heap {
    int live, dirty; /* blocks in use; released blocks that were not all zero */
} heap;

static void *heap_alloc(void *ctx, size_t size) {
    struct heap *h = (struct heap *)ctx;
    void *block = malloc(size);
    if (!block) abort();
    memset(block, 0, size);
    h->live++;
    return block;
}

static int is_clean(const void *block, size_t size) {
    const unsigned char *memory = (const unsigned char *)block;
    size_t i;
    for (i = 0; i < size; i++)
        if (memory[i]) return 0;
    return 1;
}

/* A clean block is all zero, so a secret is also found if it is masked, cut or encoded. */
static void heap_release(void *ctx, void *block, size_t size) {
    struct heap *h = (struct heap *)ctx;
    h->dirty += !is_clean(block, size);
    h->live--;
    free(block);
}

static const stws_allocator inspecting = {&heap, heap_alloc, heap_release};

/* ==== a client with secrets, and all its output ==== */

static void keep_trace(stws *client, stws_direction direction, const stws_frame *frame,
                       void *user) {
    struct bytes *output = (struct bytes *)((struct peer *)user)->extra;
    (void)client;
    bytes_print_traced(output, direction, frame);
    bytes_print(output, " %.*s\n", (int)frame->body_len, frame->body);
}

static void keep_event(struct peer *p, const stws_event *event) {
    struct bytes *output = (struct bytes *)p->extra;
    bytes_print(output, "event %d %s\n", event->type, event->text ? event->text : "");
    bytes_print(output, "error %s\n", stws_error_text(p->client));
}

static stws_options secret_options(struct peer *p, struct bytes *output) {
    stws_options o;
    memset(output, 0, sizeof *output);
    peer_init(p);
    o = peer_options(p);
    o.url = "ws://broker.test/stomp?access_token=hush-url";
    o.login = "guest";
    o.passcode = "hush-passcode";
    o.cookie = "session=hush-cookie";
    o.http_headers = http_headers;
    o.connect_headers = connect_headers;
    o.on_trace = keep_trace;
    p->extra = output;
    p->on_event = keep_event;
    p->answer =
        "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: @\r\n"
        "Set-Cookie: next=hush-answer\r\n\r\n";
    return o;
}

static void check_output(struct peer *p, struct bytes *output) {
    bytes_print(output, "error %s\n", stws_error_text(p->client));
    CHECK(strstr(bytes_text(output), MARK) == NULL);
    if (strstr(bytes_text(output), MARK)) printf("%s", bytes_text(output));
    bytes_free(output);
}

/* ==== output ==== */

/* The secrets must have been sent, otherwise the test would prove nothing. */
static void check_they_were_sent(const struct peer *p) {
    CHECK_HAS("Authorization: Bearer hush-http\r\n", bytes_text(&p->request));
    CHECK_HAS("Cookie: session=hush-cookie\r\n", bytes_text(&p->request));
    CHECK_HAS("access_token=hush-url", bytes_text(&p->request));
    CHECK_STR("hush-passcode", sent_header(peer_sent(p, "CONNECT", 0), "passcode"));
    CHECK_STR("Bearer hush-connect", sent_header(peer_sent(p, "CONNECT", 0), "authorization"));
}

static void test_a_session_shows_no_secret(void) {
    struct bytes output;
    struct peer p;
    stws_options o = secret_options(&p, &output);
    peer_start(&p, &o);
    stws_subscribe(p.client, "/topic/a", NULL);
    CHECK(peer_connect(&p));
    check_they_were_sent(&p);
    peer_message(&p, "sub-1", "1", "/topic/a", "x");
    stws_disconnect(p.client, 1000);
    peer_turn(&p);
    CHECK_INT(STWS_CLOSED, p.ended);
    CHECK_HAS("passcode=***", bytes_text(&output));
    CHECK_HAS("authorization=***", bytes_text(&output));
    check_output(&p, &output);
    peer_free(&p);
}

/* The server answers the upgrade or CONNECT with these texts, or sends `then` later; then the
   connection is lost. */
static void check_failure(const char *answer, const char *connected, const char *then, int code) {
    struct bytes output;
    struct peer p;
    stws_options o = secret_options(&p, &output);
    if (answer) p.answer = answer;
    if (connected) p.connected = connected;
    peer_start(&p, &o);
    peer_turn(&p);
    if (then) peer_stomp(&p, then);
    peer_turn(&p);
    peer_end(&p);
    peer_turn(&p);
    peer_advance(&p, 500);
    CHECK_STR(stws_result_name(code), stws_result_name(p.result));
    CHECK_HAS("event", bytes_text(&output));
    check_output(&p, &output);
    peer_free(&p);
}

static void test_failures_show_no_secret(void) {
    check_failure("HTTP/1.1 401 \r\nSet-Cookie: a=hush\r\n\r\n", NULL, NULL, STWS_ERR_HTTP_STATUS);
    check_failure("HTTP/1.1 403 \r\n\r\n", NULL, NULL, STWS_ERR_HTTP_STATUS);
    check_failure("HTTP/1.1 404 \r\n\r\n", NULL, NULL, STWS_ERR_HTTP_STATUS);
    check_failure("HTTP/1.1 503 \r\nRetry-After: 1\r\n\r\n", NULL, NULL, STWS_ERR_HTTP_STATUS);
    check_failure("HTTP/1.1 101 \r\nSet-Cookie: a=hush\r\n\r\n", NULL, NULL, STWS_ERR_HTTP_UPGRADE);
    check_failure("SSH-2.0-x\r\n", NULL, NULL, STWS_ERR_HTTP);
    check_failure(NULL, "ERROR\nmessage:Bad CONNECT\n\nAccess refused\n", NULL, STWS_ERR_LOGIN);
    check_failure(NULL, "CONNECTED\nversion:9\n\n", NULL, STWS_ERR_VERSION);
    check_failure(NULL, NULL, "ERROR\nmessage:no\n\nrefused", STWS_ERR_BROKER);
    check_failure(NULL, NULL, "MESSAGE\nno colon\n\n", STWS_ERR_FRAME_HEADER);
}

/* A hook that sets an invalid URL. */
static int wrong_url(stws *client, stws_attempt *attempt, void *user) {
    (void)client, (void)user;
    attempt->url = "ws://guest:hush%@broker.test/stomp";
    return 0;
}

static void test_a_wrong_url_shows_no_password(void) {
    struct bytes output;
    struct peer p;
    stws_options o = secret_options(&p, &output);
    o.before_connect = wrong_url;
    peer_start(&p, &o);
    peer_turn(&p);
    CHECK_STR("STWS_ERR_URL", stws_result_name(p.ended));
    CHECK_HAS("before_connect supplied a URL", stws_error_text(p.client));
    check_output(&p, &output);
    peer_free(&p);
}

static void check_refused_options(const stws_options *o, int code) {
    static long long memory[65536];
    const char *sentence = NULL;
    stws *client = NULL;
    CHECK_INT(code, stws_init(memory, sizeof memory, o, &client, &sentence));
    CHECK(sentence != NULL && strlen(sentence) > 10 && strstr(sentence, MARK) == NULL);
}

static void test_refused_options_show_no_secret(void) {
    static const char *const broken[] = {"Authorization", "hush\r\nX: y", NULL};
    struct bytes output;
    struct peer p;
    stws_options o = secret_options(&p, &output);
    o.passcode = "hush\nhush";
    check_refused_options(&o, STWS_ERR_USAGE);
    o.passcode = NULL;
    o.cookie = "hush\r\n";
    check_refused_options(&o, STWS_ERR_USAGE);
    o.cookie = NULL;
    o.http_headers = broken;
    check_refused_options(&o, STWS_ERR_USAGE);
    o.http_headers = NULL;
    o.connect_headers = broken;
    check_refused_options(&o, STWS_ERR_USAGE);
    o.connect_headers = NULL;
    o.url = "ws://user:hush%@broker.test/";
    check_refused_options(&o, STWS_ERR_URL);
    bytes_free(&output);
    peer_free(&p);
}

/* ==== memory ==== */

/* Sends frames of 300 KB in both directions, so that both buffers grow. */
static void talk_big(struct peer *p) {
    struct bytes body = {0};
    while (body.len < 300000) bytes_print(&body, "%0100d", 7);
    peer_message(p, "sub-1", "1", "/topic/a", body.data);
    CHECK_INT(0, stws_send(p->client, "/topic/a", body.data, body.len));
    peer_turn(p);
    bytes_free(&body);
}

/* Brings the client to that state, in which it is destroyed. */
static void bring_to(struct peer *p, int state) {
    if (state == STWS_CONNECTING) p->open_result = STWS_MORE;
    if (state == STWS_UPGRADING) p->automatic = 0;
    if (state == STWS_LOGGING_IN) p->automatic = AUTO_UPGRADE;
    stws_subscribe(p->client, "/topic/a", NULL);
    stws_send(p->client, "/topic/a", "x", 1);
    if (state == STWS_IDLE) return;
    peer_turn(p);
    if (state == STWS_BACKOFF) peer_end(p);
    if (state == STWS_CLOSING) p->automatic = 0, stws_disconnect(p->client, 1000);
    if (state == STWS_ENDED) stws_stop(p->client);
    peer_turn(p);
    CHECK_INT(state, stws_state(p->client));
}

static const int states[] = {STWS_IDLE,      STWS_CONNECTING, STWS_UPGRADING, STWS_LOGGING_IN,
                             STWS_CONNECTED, STWS_CLOSING,    STWS_BACKOFF,   STWS_ENDED};

enum { STATES = sizeof states / sizeof *states };

static void destroy(struct peer *p, struct bytes *output) {
    check_output(p, output);
    stws_destroy(p->client);
    p->client = NULL;
}

/* The caller's memory must be all zero afterwards. */
static void test_memory_given_to_init(void) {
    int i;
    for (i = 0; i < STATES; i++) {
        struct bytes output;
        struct peer p;
        stws_options o = secret_options(&p, &output);
        size_t size = stws_size(&o);
        void *memory = calloc(1, size);
        if (!memory) abort();
        CHECK_INT(STWS_OK, stws_init(memory, size, &o, &p.client, NULL));
        bring_to(&p, states[i]);
        CHECK(!is_clean(memory, size));
        destroy(&p, &output);
        CHECK(is_clean(memory, size));
        free(memory);
        peer_free(&p);
    }
}

static void test_blocks_of_the_heap(void) {
    int i;
    for (i = 0; i < STATES; i++) {
        struct bytes output;
        struct peer p;
        stws_options o = secret_options(&p, &output);
        memset(&heap, 0, sizeof heap);
        o.allocator = &inspecting;
        peer_start(&p, &o);
        bring_to(&p, states[i]);
        destroy(&p, &output);
        CHECK_INT(0, heap.live);
        CHECK_INT(0, heap.dirty);
        peer_free(&p);
    }
}

/* Buffers that have grown are released when the connection ends or the client is destroyed. */
static void test_buffers_that_grew(void) {
    struct bytes output;
    struct peer p;
    stws_options o = secret_options(&p, &output);
    memset(&heap, 0, sizeof heap);
    o.allocator = &inspecting;
    o.on_trace = NULL;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    talk_big(&p);
    CHECK_INT(3, heap.live);
    peer_end(&p);
    peer_turn(&p);
    CHECK_INT(1, heap.live);
    CHECK(peer_connect(&p));
    talk_big(&p);
    CHECK_INT(3, heap.live);
    destroy(&p, &output);
    CHECK_INT(0, heap.live);
    CHECK_INT(0, heap.dirty);
    peer_free(&p);
}

/* A client with invalid options keeps none of them. */
static void test_a_broken_client(void) {
    struct bytes output;
    struct peer p;
    stws_options o = secret_options(&p, &output);
    memset(&heap, 0, sizeof heap);
    o.allocator = &inspecting;
    o.passcode = "hush\nhush";
    peer_start(&p, &o);
    peer_turn(&p);
    CHECK_INT(STWS_ERR_USAGE, p.ended);
    destroy(&p, &output);
    CHECK_INT(0, heap.live);
    CHECK_INT(0, heap.dirty);
    peer_free(&p);
}

int main(void) {
    RUN(test_a_session_shows_no_secret);
    RUN(test_failures_show_no_secret);
    RUN(test_a_wrong_url_shows_no_password);
    RUN(test_refused_options_show_no_secret);
    RUN(test_memory_given_to_init);
    RUN(test_blocks_of_the_heap);
    RUN(test_buffers_that_grew);
    RUN(test_a_broken_client);
    return test_report();
}
