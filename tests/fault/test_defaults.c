/* test_defaults.c - tests how stws_create processes the options: the defaults that the manual
   states, and the copies of all strings. The test reads the client's internal options, because most
   of them have a visible effect only after a long time, or only with special servers. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "../test.h"

static stws *create(const stws_options *o) {
    stws *client = stws_create(o);
    if (!client) abort();
    CHECK_STR("", stws_error_text(client));
    return client;
}

/* ==== defaults ==== */

static void test_defaults_of_times(void) {
    stws_options o = {.url = "ws://broker.test/"};
    stws *client = create(&o);
    CHECK_INT(10000, client->o.heartbeat_out_ms);
    CHECK_INT(10000, client->o.heartbeat_in_ms);
    CHECK_INT(300, client->o.heartbeat_grace);
    CHECK_INT(20000, client->o.ping_ms);
    CHECK_INT(10000, client->o.connect_timeout_ms);
    CHECK_INT(10000, client->o.handshake_timeout_ms);
    CHECK_INT(10000, client->o.connected_timeout_ms);
    CHECK_INT(15000, client->o.receipt_timeout_ms);
    CHECK_INT(2000, client->o.close_timeout_ms);
    CHECK_INT(30000, client->o.write_timeout_ms);
    CHECK_INT(1000, client->o.reconnect_min_ms);
    CHECK_INT(30000, client->o.reconnect_max_ms);
    CHECK_INT(200, client->o.reconnect_factor);
    CHECK_INT(-100, client->o.reconnect_jitter);
    CHECK_INT(0, client->o.reconnect_attempts);
    CHECK_INT(5000, client->o.stable_ms);
    CHECK_INT(0, client->o.max_session_ms);
    CHECK_INT(10000, client->o.outbox_block_ms);
    stws_destroy(client);
}

static void test_defaults_of_sizes(void) {
    stws_options o = {.url = "ws://broker.test/", .outbox_high = 1000};
    stws *client = create(&o);
    CHECK_INT(16 << 20, client->o.max_body);
    CHECK_INT(65536, client->o.max_line);
    CHECK_INT(128, client->o.max_headers);
    CHECK_INT(69632, client->o.rx_buffer);
    CHECK_INT(131072, client->o.tx_buffer);
    CHECK_INT(1 << 20, client->o.outbox_bytes);
    CHECK_INT(500, client->o.outbox_low);
    CHECK_INT(256, client->o.max_subscriptions);
    CHECK_INT(256, client->o.subscription_bytes);
    CHECK_INT(256, client->o.max_receipts);
    CHECK_INT(STWS_GIVE_UP_DEFAULT, client->o.give_up);
    CHECK_INT(0, client->o.keep_cookies);
    CHECK_INT(0, client->o.follow_redirects);
    stws_destroy(client);
}

static void test_defaults_of_strings(void) {
    stws_options o = {.url = "ws://broker.test/"};
    stws *client = create(&o);
    CHECK_STR("/", client->o.host);
    CHECK_STR("v12.stomp, v11.stomp, v10.stomp", client->o.subprotocols);
    CHECK_INT(STWS_STOMP_10 | STWS_STOMP_11 | STWS_STOMP_12, client->o.versions);
    stws_destroy(client);
    o.versions = STWS_STOMP_12 | STWS_STOMP_11;
    client = create(&o);
    CHECK_STR("v12.stomp, v11.stomp", client->o.subprotocols);
    stws_destroy(client);
}

/* STWS_OFF becomes 0 internally: no time limit, no heart-beat, no jitter. */
static void test_options_that_are_off(void) {
    stws_options o = {.url = "ws://broker.test/",
                      .heartbeat_out_ms = STWS_OFF,
                      .heartbeat_in_ms = STWS_OFF,
                      .receipt_timeout_ms = STWS_OFF,
                      .write_timeout_ms = STWS_OFF,
                      .reconnect_jitter = STWS_OFF};
    stws *client = create(&o);
    CHECK_INT(0, client->o.heartbeat_out_ms);
    CHECK_INT(0, client->o.heartbeat_in_ms);
    CHECK_INT(0, client->o.receipt_timeout_ms);
    CHECK_INT(0, client->o.write_timeout_ms);
    CHECK_INT(0, client->o.reconnect_jitter);
    stws_destroy(client);
    o.reconnect_jitter = -2;
    client = create(&o);
    CHECK_INT(-2, client->o.reconnect_jitter);
    stws_destroy(client);
}

/* ==== copies ==== */

static int is_inside(const stws *client, const void *at, size_t size) {
    const char *begin = (const char *)client, *p = (const char *)at;
    return p >= begin && size <= client->block_size && p <= begin + client->block_size - size;
}

static void check_string(const stws *client, const char *given, const char *kept) {
    CHECK_STR(given, kept);
    CHECK(is_inside(client, kept, strlen(given) + 1));
}

static void check_list(const stws *client, const char *const *given, const char *const *kept) {
    size_t i, n = 0;
    while (given[n]) n++;
    CHECK(is_inside(client, kept, (n + 1) * sizeof *kept));
    for (i = 0; i < n; i++) check_string(client, given[i], kept[i]);
    CHECK(kept[n] == NULL);
}

/* The program may free or change each string after stws_create. */
static void test_all_strings_are_copied(void) {
    static const char *const urls[] = {"ws://one.test/", "ws://two.test/", NULL};
    static const char *const addresses[] = {"127.0.0.1", "::1", NULL};
    static const char *const connect[] = {"name", "value", "other", "", NULL};
    static const char *const http[] = {"Authorization", "Bearer x", NULL};
    stws_options o = {.url = "ws://broker.test/",
                      .urls = urls,
                      .addresses = addresses,
                      .proxy = "http://proxy.test:3128",
                      .login = "ada",
                      .passcode = "sesame",
                      .host = "vhost",
                      .client_id = "client",
                      .connect_headers = connect,
                      .http_headers = http,
                      .origin = "https://page.test",
                      .cookie = "a=b",
                      .subprotocols = "v12.stomp",
                      .stable_id = "message-key",
                      .tls_ca_file = "ca.pem",
                      .tls_ca_pem = "-----BEGIN",
                      .tls_cert_file = "cert.pem",
                      .tls_key_file = "key.pem",
                      .tls_pin = "sha256//x"};
    stws *client = create(&o);
    check_string(client, o.url, client->o.url);
    check_string(client, o.proxy, client->o.proxy);
    check_string(client, o.login, client->o.login);
    check_string(client, o.passcode, client->o.passcode);
    check_string(client, o.host, client->o.host);
    check_string(client, o.client_id, client->o.client_id);
    check_string(client, o.origin, client->o.origin);
    check_string(client, o.cookie, client->o.cookie);
    check_string(client, o.subprotocols, client->o.subprotocols);
    check_string(client, o.stable_id, client->o.stable_id);
    check_string(client, o.tls_ca_file, client->o.tls_ca_file);
    check_string(client, o.tls_ca_pem, client->o.tls_ca_pem);
    check_string(client, o.tls_cert_file, client->o.tls_cert_file);
    check_string(client, o.tls_key_file, client->o.tls_key_file);
    check_string(client, o.tls_pin, client->o.tls_pin);
    check_list(client, urls, client->o.urls);
    check_list(client, addresses, client->o.addresses);
    check_list(client, connect, client->o.connect_headers);
    check_list(client, http, client->o.http_headers);
    stws_destroy(client);
}

/* ==== limits ==== */

static void check_options(const char *why, const stws_options *o) {
    stws *client = stws_create(o);
    if (!client) abort();
    CHECK_HAS(why, stws_error_text(client));
    CHECK_INT(*why != 0, stws_state(client) == STWS_ENDED);
    stws_destroy(client);
}

static void test_the_largest_number_of_urls(void) {
    const char *urls[66] = {NULL};
    stws_options o = {.urls = urls};
    int i;
    for (i = 0; i < 64; i++) urls[i] = "ws://broker.test/";
    check_options("", &o);
    urls[64] = "ws://broker.test/";
    check_options("more than 64", &o);
}

int main(void) {
    RUN(test_defaults_of_times);
    RUN(test_defaults_of_sizes);
    RUN(test_defaults_of_strings);
    RUN(test_options_that_are_off);
    RUN(test_all_strings_are_copied);
    RUN(test_the_largest_number_of_urls);
    return test_report();
}
