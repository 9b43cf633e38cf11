/* test_options.c - tests every option, alone and combined with others. Numbers out of range are
   refused. A client uses exactly the memory that stws_size states, even when every table and buffer
   is full. */
#include <stdint.h>

#include "scripted.h"

enum { RED_ZONE = 256, COMBINATIONS = 150 };

static const char *const SOME_HEADERS[] = {"name", "value", "other", "one", NULL};
static const char *const SOME_URLS[] = {"ws://one.test/", "ws://two.test:8080/websocket", NULL};

static void ignore_trace(stws *client, stws_direction direction, const stws_frame *frame,
                         void *user) {
    (void)client, (void)direction, (void)frame, (void)user;
}

static int allow_connect(stws *client, stws_attempt *attempt, void *user) {
    (void)client, (void)attempt, (void)user;
    return 0;
}

static int allow_subscribe(stws *client, stws_subscribing *subscribing, void *user) {
    (void)client, (void)subscribing, (void)user;
    return 0;
}

/* ==== one option at a time; `choice` selects one of its values ==== */

#define NUMBER_OPTIONS(X)                                                                          \
    X(heartbeat_out_ms, 1, 2147483647)                                                             \
    X(heartbeat_in_ms, 1, 2147483647)                                                              \
    X(heartbeat_grace, 1, 1000000)                                                                 \
    X(ping_ms, 1, 2147483647)                                                                      \
    X(give_up, 0, 2)                                                                               \
    X(keep_cookies, 0, 1)                                                                          \
    X(follow_redirects, 0, 1)                                                                      \
    X(connect_timeout_ms, 1, 2147483647)                                                           \
    X(handshake_timeout_ms, 1, 2147483647)                                                         \
    X(connected_timeout_ms, 1, 2147483647)                                                         \
    X(receipt_timeout_ms, 1, 2147483647)                                                           \
    X(close_timeout_ms, 1, 2147483647)                                                             \
    X(write_timeout_ms, 1, 2147483647)                                                             \
    X(reconnect, -1, 1)                                                                            \
    X(reconnect_min_ms, 1, 2147483647)                                                             \
    X(reconnect_max_ms, 1, 2147483647)                                                             \
    X(reconnect_factor, 100, 10000)                                                                \
    X(reconnect_jitter, -100, 1000)                                                                \
    X(reconnect_attempts, 1, 2147483647)                                                           \
    X(stable_ms, 1, 2147483647)                                                                    \
    X(max_session_ms, 1, 2147483647)                                                               \
    X(outbox_block_ms, 1, 2147483647)                                                              \
    X(max_body, 1, 2147483647)                                                                     \
    X(max_line, 1, 2147483647)                                                                     \
    X(max_headers, 8, 1000000)                                                                     \
    X(rx_buffer, 256, 2147483647)                                                                  \
    X(tx_buffer, 256, 2147483647)                                                                  \
    X(outbox_bytes, 16, 2147483647)                                                                \
    X(outbox_count, 1, 2147483647)                                                                 \
    X(outbox_high, 1, 2147483647)                                                                  \
    X(subscription_bytes, 16, 1000000)                                                             \
    X(max_subscriptions, 1, 1000000)                                                               \
    X(max_receipts, 4, 1000000)                                                                    \
    X(versions, 1, 7)                                                                              \
    X(outbox_policy, 0, 2)                                                                         \
    X(utf8, 0, 1)                                                                                  \
    X(broker, 0, 4)                                                                                \
    X(shuffle_urls, 0, 1)                                                                          \
    X(confirm, 0, 1)                                                                               \
    X(binary, 0, 1)                                                                                \
    X(single_thread, 0, 1)                                                                         \
    X(tls_insecure_no_verify, 0, 1)

/* Reduces the options that request memory: a test machine cannot give each of them its largest
   value. */
static long long affordable(const char *name, long long value) {
    static const char *const memory[] = {
        "max_headers",  "rx_buffer",          "tx_buffer",         "outbox_bytes",
        "max_receipts", "subscription_bytes", "max_subscriptions", NULL};
    int i;
    for (i = 0; memory[i]; i++)
        if (strcmp(memory[i], name) == 0 && value > 600) return 600 + value % 100;
    return value;
}

#define SET_NUMBER(name, low, high)                                                                \
    if (index-- == 0) {                                                                            \
        long long value = choice == 0   ? (low)                                                    \
                          : choice == 1 ? affordable(#name, high)                                  \
                                        : affordable(#name, (low) + (high) / 2);                   \
        memset(&o->name, 0, sizeof o->name);                                                       \
        if (sizeof o->name == sizeof(size_t)) {                                                    \
            size_t size = (size_t)value;                                                           \
            memcpy(&o->name, &size, sizeof o->name);                                               \
        } else {                                                                                   \
            int number = (int)value;                                                               \
            memcpy(&o->name, &number, sizeof o->name);                                             \
        }                                                                                          \
        return #name;                                                                              \
    }

#define SET(name, value)                                                                           \
    if (index-- == 0) {                                                                            \
        o->name = value;                                                                           \
        return #name;                                                                              \
    }

/* Sets the option with that index and returns its name. Returns NULL after the last option. */
static const char *set_option(stws_options *o, int index, int choice) {
    NUMBER_OPTIONS(SET_NUMBER)
    SET(urls, SOME_URLS)
    SET(login, "user")
    SET(passcode, "secret")
    SET(host, "vhost")
    SET(client_id, "client-1")
    SET(connect_headers, SOME_HEADERS)
    SET(http_headers, SOME_HEADERS)
    SET(origin, "https://origin.test")
    SET(cookie, "a=b")
    SET(subprotocols, "v12.stomp")
    SET(stable_id, choice ? "x-id" : "a-much-longer-name-of-a-header-that-every-send-gets")
    SET(on_trace, ignore_trace)
    SET(before_connect, allow_connect)
    SET(before_subscribe, allow_subscribe)
    SET(tls_pin, "0000000000000000000000000000000000000000000000000000000000000000")
    SET(tls_ca_file, "/nowhere/ca.pem")
    SET(tls_ca_pem, "-----BEGIN CERTIFICATE-----\n")
    SET(tls_cert_file, "/nowhere/cert.pem")
    SET(tls_key_file, "/nowhere/key.pem")
    SET(max_ws_message, choice ? 100 : STWS_WHOLE)
    SET(outbox_low, 1)
    return NULL;
}

/* Fills the outbox with messages of all kinds, until no more are accepted. */
static void fill_outbox(stws *c) {
    static const char body[] = "a body";
    stws_outgoing m = {"/queue/a", body, sizeof body - 1, NULL, NULL, NULL, 0, 0};
    int kind, result, limit;
    CHECK(stws_begin(c, "tx") <= 0);
    for (kind = 0; kind < 8; kind++) {
        m.receipt = kind & 1;
        m.headers = kind & 2 ? SOME_HEADERS : NULL;
        m.transaction = kind & 4 ? "tx" : NULL;
        for (limit = 0, result = 0; result >= 0 && limit < 600; limit++)
            result = stws_send_ex(c, &m);
    }
    stws_commit(c, "tx");
}

static void fill_subscriptions(stws *c, int headers) {
    stws_subscribe_options s = {.receipt = 1, .prefetch = 7};
    char destination[64];
    int i, result = 0;
    if (headers) s.headers = SOME_HEADERS;
    for (i = 0; result >= 0 && i < 1000; i++) {
        snprintf(destination, sizeof destination, "/topic/%d", i);
        s.durable = i % 3 == 1 ? destination + 1 : NULL;
        s.id = i % 3 == 2 ? destination + 1 : NULL;
        result = stws_subscribe(c, destination, &s);
    }
}

static void send_headers(struct peer *p, const char *begin, int count) {
    struct bytes b = {0};
    int i;
    bytes_print(&b, "%s", begin);
    for (i = 0; i < count; i++) bytes_print(&b, "h%d:v\n", i);
    bytes_print(&b, "\nbody");
    peer_stomp(p, b.data);
    bytes_free(&b);
}

/* Some options prevent every attempt from succeeding, so only a few attempts are made. */
static void connect_soon(struct peer *p) {
    int i;
    peer_turn(p);
    for (i = 0; i < 4 && !p->ended && stws_state(p->client) != STWS_CONNECTED; i++) {
        long long wait = stws_deadline(p->client);
        p->now_us += (wait > 0 ? wait : 1) * 1000;
        peer_turn(p);
    }
}

/* Fills all tables and buffers of a client with these options, with and without a connection. */
static void fill_everything(struct peer *p, const stws_options *o) {
    stws *c = p->client;
    int headers = o->max_headers && o->max_headers < 200 ? (int)o->max_headers : 128, session;
    fill_subscriptions(c, 0);
    fill_outbox(c);
    for (session = 0; session < 2; session++) {
        p->write_blocked = 0;
        connect_soon(p);
        send_headers(p, "MESSAGE\ndestination:/topic/1\nmessage-id:1\nsubscription:sub-1\n",
                     headers - 3);
        send_headers(p, "RECEIPT\nreceipt-id:receipt-1\n", headers - 1);
        peer_turn(p);
        fill_subscriptions(c, 1);
        p->write_blocked = 1;
        fill_outbox(c);
        peer_turn(p);
        peer_end(p);
        peer_turn(p);
    }
    p->write_blocked = 0;
    stws_stop(c);
    peer_turn(p);
}

/* Runs a client in memory of the size of stws_size. Nothing may be written before or after that
   memory. */
static void check_memory(const stws_options *given, struct peer *p) {
    stws_options o = *given;
    size_t size = stws_size(&o), i;
    unsigned char *memory = (unsigned char *)malloc(RED_ZONE + size + RED_ZONE);
    int touched = 0;
    const char *why = "";
    if (!memory) abort();
    memset(memory, 0xA5, RED_ZONE + size + RED_ZONE);
    if (size) CHECK_INT(STWS_OK, stws_init(memory + RED_ZONE, size, &o, &p->client, &why));
    CHECK_STR("", why);
    if (size && p->client) {
        fill_everything(p, &o);
        stws_destroy(p->client);
    }
    for (i = 0; i < RED_ZONE; i++)
        touched += memory[i] != 0xA5 || memory[RED_ZONE + size + i] != 0xA5;
    CHECK_INT(0, touched);
    free(memory);
}

/* The same in a block of stws_create, which a sanitizer guards. */
static void check_created(const stws_options *o, struct peer *p) {
    p->client = stws_create(o);
    if (!p->client) abort();
    if (stws_size(o)) fill_everything(p, o);
}

static void check_options(void (*set)(stws_options *o, unsigned seed), unsigned seed) {
    int created;
    for (created = 0; created < 2; created++) {
        struct peer p;
        stws_options o;
        peer_init(&p);
        o = peer_options(&p);
        o.outbox_bytes = 4096;
        o.max_subscriptions = 8;
        o.max_receipts = 8;
        set(&o, seed);
        CHECK(stws_size(&o) > 0);
        if (!created)
            check_memory(&o, &p);
        else
            check_created(&o, &p);
        if (!created) p.client = NULL;
        p.broken = p.busy = 0; /* other tests check these */
        peer_free(&p);
    }
}

static void set_one(stws_options *o, unsigned seed) {
    const char *name = set_option(o, (int)(seed / 3), (int)(seed % 3));
    if (o->outbox_low) o->outbox_high = 100;
    if (strcmp(name, "outbox_high") == 0 && o->outbox_high == 1) o->outbox_low = 0;
}

static void test_each_option_alone(void) {
    stws_options o = stws_options_default();
    unsigned i;
    for (i = 0; set_option(&o, (int)(i / 3), 0); i++) check_options(set_one, i);
    CHECK(i > 3 * 50);
}

static void set_many(stws_options *o, unsigned seed) {
    unsigned long long state = seed * 2654435761u + 1;
    stws_options scrap;
    int i;
    for (i = 0; set_option(&scrap, i, 0); i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        if ((state >> 40 & 3) == 0) set_option(o, i, (int)(state >> 50 & 1));
    }
    if (o->outbox_low) o->outbox_high = o->outbox_low + 1;
    if (o->reconnect_min_ms && o->reconnect_max_ms) o->reconnect_min_ms = 1;
}

static void test_options_together(void) {
    unsigned seed;
    for (seed = 0; seed < COMBINATIONS; seed++) check_options(set_many, seed);
}

/* ==== numbers out of range ==== */

static void refused(const stws_options *o, const char *name) {
    const char *why = NULL;
    char memory[8];
    stws *c = NULL;
    CHECK_INT(0, stws_size(o));
    CHECK_INT(STWS_ERR_USAGE, stws_init(memory, sizeof memory, o, &c, &why));
    CHECK(c == NULL);
    CHECK_HAS(name, why);
    c = stws_create(o);
    CHECK_INT(STWS_ERR_USAGE, stws_error(c));
    CHECK_HAS(name, stws_error_text(c));
    if (stws_error(c) == STWS_ERR_USAGE) CHECK_INT(STWS_ERR_USAGE, stws_run(c));
    stws_destroy(c);
}

#define CHECK_RANGE(name, low, high)                                                               \
    {                                                                                              \
        static const long long wrong[] = {(low)-1LL, (high) + 1LL, -7, -2147483648LL};             \
        size_t i;                                                                                  \
        for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {                                       \
            stws_options o = stws_options_default();                                               \
            int number = (int)wrong[i];                                                            \
            size_t size = (size_t)wrong[i];                                                        \
            int is_size = (o.name = 0, --o.name > 0); /* a size_t, or an enum */                   \
            int harmless = (wrong[i] >= (low) && wrong[i] <= (high)) || wrong[i] == 0 ||           \
                           wrong[i] == STWS_OFF || (!is_size && wrong[i] > 2147483647);            \
            o.url = "ws://localhost/";                                                             \
            if (harmless && !is_size) continue;                                                    \
            if (wrong[i] == 0) continue;                                                           \
            memcpy(&o.name,                                                                        \
                   sizeof o.name == sizeof size ? (const void *)&size : (const void *)&number,     \
                   sizeof o.name);                                                                 \
            refused(&o, #name);                                                                    \
        }                                                                                          \
    }

static void test_numbers_out_of_range(void) {
    NUMBER_OPTIONS(CHECK_RANGE)
}

/* STWS_OFF is not a size, and neither is a number that wraps around. */
static void test_sizes_that_would_wrap(void) {
    static const size_t sizes[] = {(size_t)STWS_OFF, SIZE_MAX - 15, SIZE_MAX / 2 + 1,
                                   SIZE_MAX / 32 + 1};
    stws_options both = stws_options_default();
    size_t i;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        stws_options o = stws_options_default(), bad;
        o.url = "ws://localhost/";
        if (sizes[i] <= 2147483647) continue; /* with 32-bit pointers this is in the range */
        bad = o, bad.outbox_bytes = sizes[i], refused(&bad, "outbox_bytes");
        bad = o, bad.max_headers = sizes[i], refused(&bad, "max_headers");
        bad = o, bad.subscription_bytes = sizes[i], refused(&bad, "subscription_bytes");
        bad = o, bad.tx_buffer = sizes[i], refused(&bad, "tx_buffer");
        bad = o, bad.rx_buffer = sizes[i], refused(&bad, "rx_buffer");
        bad = o, bad.outbox_low = sizes[i], refused(&bad, "outbox_low");
    }
    both.url = "ws://localhost/";
    /* Each is in its range, but together over 4 GiB. */
    both.outbox_bytes = both.tx_buffer = 2147483647;
    if (sizeof(void *) < 8) refused(&both, "more memory than a pointer can address");
    CHECK(stws_queue_create(SIZE_MAX) == NULL);
    CHECK(stws_queue_create(SIZE_MAX - 15) == NULL);
    CHECK(stws_queue_create(SIZE_MAX - 200) == NULL);
}

static void test_delays_that_contradict(void) {
    stws_options o = stws_options_default();
    o.url = "ws://localhost/";
    o.reconnect_min_ms = 2000;
    o.reconnect_max_ms = 1000;
    refused(&o, "reconnect_min_ms");
    o.reconnect_max_ms = 0; /* the default, 30 s, is larger */
    CHECK(stws_size(&o) > 0);
    o.reconnect_min_ms = 0;
    o.reconnect_max_ms = 10; /* below the default of reconnect_min_ms */
    CHECK(stws_size(&o) > 0);
    o.reconnect_max_ms = 0;
    o.outbox_high = o.outbox_low = 100;
    refused(&o, "outbox_low");
}

int main(void) {
    RUN(test_each_option_alone); /* [Y3] */
    RUN(test_options_together);
    RUN(test_numbers_out_of_range);
    RUN(test_sizes_that_would_wrap);
    RUN(test_delays_that_contradict);
    return test_report();
}
