/* calls_options.h - the options of the client in fuzz_calls.c: all options within their ranges, and
   one option out of its range. The first bytes of an input choose them. */
#ifndef CALLS_OPTIONS_H
#define CALLS_OPTIONS_H

#define CALLS_INTS(X)                                                                              \
    X(versions)                                                                                    \
    X(heartbeat_out_ms)                                                                            \
    X(heartbeat_in_ms)                                                                             \
    X(heartbeat_grace)                                                                             \
    X(ping_ms)                                                                                     \
    X(give_up)                                                                                     \
    X(keep_cookies)                                                                                \
    X(follow_redirects)                                                                            \
    X(connect_timeout_ms)                                                                          \
    X(handshake_timeout_ms)                                                                        \
    X(connected_timeout_ms)                                                                        \
    X(receipt_timeout_ms)                                                                          \
    X(close_timeout_ms)                                                                            \
    X(write_timeout_ms)                                                                            \
    X(reconnect)                                                                                   \
    X(reconnect_min_ms)                                                                            \
    X(reconnect_max_ms)                                                                            \
    X(reconnect_factor)                                                                            \
    X(reconnect_jitter)                                                                            \
    X(reconnect_attempts)                                                                          \
    X(stable_ms)                                                                                   \
    X(max_session_ms)                                                                              \
    X(shuffle_urls)                                                                                \
    X(outbox_policy)                                                                               \
    X(outbox_block_ms)                                                                             \
    X(confirm)                                                                                     \
    X(max_subscriptions)                                                                           \
    X(max_receipts)                                                                                \
    X(utf8)                                                                                        \
    X(binary)                                                                                      \
    X(broker)
#define CALLS_SIZES(X)                                                                             \
    X(max_body)                                                                                    \
    X(max_line)                                                                                    \
    X(max_headers)                                                                                 \
    X(max_ws_message)                                                                              \
    X(rx_buffer)                                                                                   \
    X(tx_buffer)                                                                                   \
    X(outbox_bytes)                                                                                \
    X(outbox_count)                                                                                \
    X(outbox_high)                                                                                 \
    X(outbox_low)                                                                                  \
    X(subscription_bytes)

#define CALLS_FIELD(name) offsetof(stws_options, name),
static const size_t calls_ints[] = {CALLS_INTS(CALLS_FIELD)};
static const size_t calls_sizes[] = {CALLS_SIZES(CALLS_FIELD)};
enum {
    INTS = sizeof calls_ints / sizeof *calls_ints,
    SIZES = sizeof calls_sizes / sizeof *calls_sizes
};

static size_t calls_large_size(unsigned which) {
    static const size_t below[] = {0, 1, 15, 16, 100, 4095, 70000, 1u << 20};
    static const size_t parts[] = {2, 3, 16, 24, 32, 48, 64, 96};
    size_t whole = (size_t)-1;
    return which < 8 ? whole - below[which] : whole / parts[which & 7] + 2;
}

/* Sets one option to a value out of its range, or near the end of the range. */
static void set_wild(struct world *w, stws_options *o, unsigned which, unsigned value) {
    static const int ints[] = {-1,   -2,      1,       2,          3,     7,
                               1000, 1 << 20, 1 << 28, 2147483647, -1000, -2147483647 - 1};
    size_t size = value & 64 ? calls_large_size(value & 15) : (size_t)1 << (value & 15);
    int number = ints[value % (sizeof ints / sizeof *ints)];
    if (calls_without("wild")) return;
    w->wild = 1;
    if (which < 128)
        memcpy((char *)o + calls_ints[which % INTS], &number, sizeof number);
    else
        memcpy((char *)o + calls_sizes[which % SIZES], &size, sizeof size);
    /* With 1 ms the time at the end of each input would contain 100,000 sessions or PINGs. */
    if (o->max_session_ms > 0 && o->max_session_ms < 50) o->max_session_ms = 50;
    if (o->ping_ms > 0 && o->ping_ms < 50) o->ping_ms = 50;
}

static void set_strings(stws_options *o, unsigned choice) {
    static const char *const urls[] = {"ws://a.test/x", "ws://b.test:81/y/websocket", NULL};
    static const char *const wrong[] = {"ws://a.test/x", "http://nowhere/", NULL};
    static const char *const headers[] = {"x", "1", "token", "abc", NULL};
    static const char *const half[] = {"x", NULL};
    o->url = "ws://broker.test:8080/notifications/websocket";
    if (choice & 1) o->login = "user", o->passcode = "p:w\\";
    if (choice & 2) o->connect_headers = o->http_headers = headers;
    if (choice & 4) o->host = "vhost", o->client_id = "me";
    if (choice & 8) o->urls = urls;
    if (choice & 16) o->origin = "http://o", o->cookie = "c=1";
    if ((choice >> 5) == 5) o->urls = wrong;
    if ((choice >> 5) == 6) o->connect_headers = half;
    if ((choice >> 5) == 7) o->url = NULL;
}

static void set_sizes(stws_options *o, unsigned choice, unsigned marks) {
    static const size_t outboxes[] = {2048, 600, 16384, 0};
    static const size_t buffers[] = {1024, 300, 8192, 0};
    static const size_t highs[] = {0, 400, 1000, 2000};
    o->outbox_bytes = outboxes[choice & 3];
    o->rx_buffer = buffers[choice >> 2 & 3];
    o->tx_buffer = buffers[choice >> 4 & 3];
    o->max_subscriptions = choice & 64 ? 2 : 8;
    o->max_receipts = choice & 128 ? 4 : 40;
    o->outbox_high = highs[marks & 3];
    o->outbox_low = marks & 4 ? o->outbox_high : marks & 8 ? o->outbox_high / 4 : 0;
    if (o->outbox_low == o->outbox_high && calls_without("marks")) o->outbox_low = 0;
    o->outbox_count = marks & 16 ? 3 : 0;
    o->subscription_bytes = marks & 32 ? 64 : 0;
    o->max_ws_message = marks & 64 ? 100 : 0;
    o->max_headers = marks & 128 ? 10 : 0;
    o->max_body = 100000;
}

static void set_times(stws_options *o, unsigned choice, unsigned more) {
    static const int sessions[] = {0, 0, 500, 5000};
    static const int receipts[] = {0, 300, 3000, STWS_OFF};
    o->heartbeat_out_ms = choice & 1 ? 1000 : STWS_OFF;
    o->heartbeat_in_ms = choice & 2 ? 1000 : STWS_OFF;
    o->max_session_ms = calls_without("renew") ? 0 : sessions[choice >> 2 & 3];
    o->receipt_timeout_ms = receipts[choice >> 4 & 3];
    o->reconnect_jitter = choice & 64 ? 50 : STWS_OFF;
    o->outbox_block_ms = 400;
    o->reconnect_min_ms = 100;
    o->reconnect_max_ms = 1000;
    o->reconnect = (more & 7) == 7 ? STWS_OFF : 0;
    o->reconnect_attempts = (more >> 3 & 7) == 7 ? 2 : 0;
    o->write_timeout_ms = more & 64 ? 500 : 0;
    o->ping_ms = more & 64 ? 300 : choice & 128 ? STWS_OFF : 0;
    o->give_up = choice & 128 ? STWS_GIVE_UP_NEVER : 0;
    o->keep_cookies = o->follow_redirects = more >> 6 & 1;
    o->close_timeout_ms = more & 128 ? 300 : 0;
}

static void set_sending(struct world *w, stws_options *o, unsigned choice) {
    o->confirm = choice & 1;
    if (choice & 2 && !calls_without("stable_id")) o->stable_id = "stable";
    o->outbox_policy = (stws_outbox_policy)((choice >> 2 & 3) % 3);
    if (o->outbox_policy == STWS_FULL_DROP_OLDEST && calls_without("drop")) o->outbox_policy = 0;
    o->binary = choice >> 4 & 1;
    o->utf8 = choice >> 5 & 1;
    w->watchful = choice >> 6 & 1;
    w->replies = choice >> 7 & 1;
}

/* The value of the CONNECTED frame's `server` header. */
static const char *const calls_connected[] = {
    "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n",
    "CONNECTED\nversion:1.2\nserver:RabbitMQ/3.10.8\n\n",
    "CONNECTED\nversion:1.1\nserver:ActiveMQ/6.1\n\n",
    "CONNECTED\nversion:1.2\nheart-beat:1000,1000\nserver:ActiveMQ-Artemis/2.31\n\n",
    "CONNECTED\nversion:1.0\nserver:x\n\n",
    "CONNECTED\nversion:1.2\nserver:x\n\n",
    "CONNECTED\n\n",
    "CONNECTED\nversion:1.1\nheart-beat:300,300\n\n"};

#endif
