/* test_profiles.c - tests the headers that particular brokers need: the client recognises the
   broker and sends that broker's headers, and the program can always override them. The server is
   scripted. */
#include "scripted.h"

static const char SPRING[] = "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n";
static const char RABBITMQ[] = "CONNECTED\nversion:1.2\nserver:RabbitMQ/3.10.8\nheart-beat:0,0\n\n";
static const char ACTIVEMQ[] = "CONNECTED\nversion:1.2\nserver:ActiveMQ/5.18.6\nheart-beat:0,0\n\n";
static const char ARTEMIS[] =
    "CONNECTED\nversion:1.2\nserver:ActiveMQ-Artemis/2.44.0\nheart-beat:0,0\n\n";
static const char STRANGER[] = "CONNECTED\nversion:1.2\nserver:Unheard/1\nheart-beat:0,0\n\n";

static void begin_at_broker(struct peer *p, const char *frame) {
    peer_begin(p);
    p->connected = frame;
}

/* Returns that header of the SUBSCRIBE that a broker gets for this subscription; "" if it lacks the
   header. */
static char *subscribed(const char *frame, const stws_subscribe_options *options,
                        const char *name) {
    static char value[64];
    const char *found;
    struct peer p;
    begin_at_broker(&p, frame);
    CHECK(stws_subscribe(p.client, "/topic/a", options) > 0); /* before the broker is known */
    CHECK(peer_connect(&p));
    peer_turn(&p);
    found = stws_frame_header(&peer_sent(&p, "SUBSCRIBE", 0)->frame, name);
    snprintf(value, sizeof value, "%s", found ? found : "");
    peer_free(&p);
    return value;
}

static void test_prefetch(void) {
    stws_subscribe_options few = {.ack = STWS_ACK_CLIENT_INDIVIDUAL, .prefetch = 7};
    CHECK_STR("7", subscribed(RABBITMQ, &few, "prefetch-count"));
    CHECK_STR("7", subscribed(ACTIVEMQ, &few, "activemq.prefetchSize"));
    CHECK_STR("7168", subscribed(ARTEMIS, &few, "consumer-window-size"));
    CHECK_STR("", subscribed(SPRING, &few, "prefetch-count"));
    CHECK_STR("", subscribed(STRANGER, &few, "prefetch-count"));
    CHECK_STR("", subscribed(RABBITMQ, &few, "activemq.prefetchSize"));
}

static void test_no_prefetch_unless_requested(void) {
    CHECK_STR("", subscribed(RABBITMQ, NULL, "prefetch-count"));
    CHECK_STR("", subscribed(RABBITMQ, NULL, "durable"));
}

static void test_durable(void) {
    stws_subscribe_options kept = {.durable = "mine"};
    CHECK_STR("true", subscribed(RABBITMQ, &kept, "durable"));
    CHECK_STR("false", subscribed(RABBITMQ, &kept, "auto-delete"));
    CHECK_STR("mine", subscribed(RABBITMQ, &kept, "id"));
    CHECK_STR("mine", subscribed(ACTIVEMQ, &kept, "activemq.subscriptionName"));
    CHECK_STR("mine", subscribed(ARTEMIS, &kept, "durable-subscription-name"));
    CHECK_STR("", subscribed(SPRING, &kept, "durable"));
    kept.id = "other";
    CHECK_STR("other", subscribed(ARTEMIS, &kept, "id"));
    CHECK_STR("mine", subscribed(ARTEMIS, &kept, "durable-subscription-name"));
}

static void test_headers_of_the_program_take_precedence(void) {
    static const char *const own[] = {"prefetch-count", "1", "durable", "false", NULL};
    stws_subscribe_options both = {.prefetch = 7, .durable = "mine", .headers = own};
    CHECK_STR("1", subscribed(RABBITMQ, &both, "prefetch-count"));
    CHECK_STR("false", subscribed(RABBITMQ, &both, "durable"));
    CHECK_STR("false", subscribed(RABBITMQ, &both, "auto-delete"));
}

/* ActiveMQ deletes a durable subscription only when it has no consumer, so the consumer ends
   first. */
static void test_the_end_of_a_durable_subscription(void) {
    stws_subscribe_options kept = {.durable = "mine"};
    struct peer p;
    int handle;
    begin_at_broker(&p, ACTIVEMQ);
    CHECK(peer_connect(&p));
    handle = stws_subscribe(p.client, "/topic/a", &kept);
    peer_turn(&p);
    CHECK_INT(0, stws_unsubscribe(p.client, handle));
    peer_turn(&p);
    CHECK_STR("UNSUBSCRIBE\nid:mine\n\n", peer_sent(&p, "UNSUBSCRIBE", 0)->raw);
    CHECK_STR("UNSUBSCRIBE\nid:mine\nactivemq.subscriptionName:mine\n\n",
              peer_sent(&p, "UNSUBSCRIBE", 1)->raw);
    peer_free(&p);
}

/* If there is room only for the first of the two frames, the call fails. The second call sends only
   the other frame. */
static void test_a_durable_subscription_ends_once(void) {
    static char body[700], name[100];
    stws_subscribe_options kept = {.durable = name};
    struct peer p;
    stws_options o;
    int handle;
    memset(name, 'n', sizeof name - 1);
    peer_init(&p);
    p.connected = ACTIVEMQ;
    o = peer_options(&p);
    o.tx_buffer = 1024;
    o.outbox_count = 1;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    handle = stws_subscribe(p.client, "/topic/a", &kept);
    peer_turn(&p);
    p.write_blocked = 1;
    CHECK_INT(0, stws_send(p.client, "/queue/a", body, sizeof body));
    CHECK_STR("STWS_ERR_FULL", stws_result_name(stws_unsubscribe(p.client, handle)));
    p.write_blocked = 0;
    peer_turn(&p);
    CHECK_INT(0, stws_unsubscribe(p.client, handle));
    peer_turn(&p);
    CHECK_INT(2, peer_count(&p, "UNSUBSCRIBE"));
    CHECK_STR(name, sent_header(peer_sent(&p, "UNSUBSCRIBE", 1), "activemq.subscriptionName"));
    CHECK_INT(STWS_ERR_USAGE, stws_unsubscribe(p.client, handle));
    peer_free(&p);
}

/* A durable name counts as an id: no two subscriptions may have the same id. */
static void test_a_durable_name_is_an_id(void) {
    stws_subscribe_options kept = {.durable = "mine"}, other = {.id = "mine"};
    struct peer p;
    begin_at_broker(&p, RABBITMQ);
    CHECK(stws_subscribe(p.client, "/topic/a", &kept) > 0);
    CHECK_INT(STWS_ERR_USAGE, stws_subscribe(p.client, "/topic/b", &kept));
    CHECK_INT(STWS_ERR_USAGE, stws_subscribe(p.client, "/topic/b", &other));
    peer_free(&p);
}

/* Returns the first SEND that a broker gets for a text that was sent before the broker was
   known. */
static char *sent_text(const char *frame) {
    static char raw[256];
    struct peer p;
    begin_at_broker(&p, frame);
    CHECK_INT(0, stws_send_text(p.client, "/queue/a", "hey"));
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_send_text(p.client, "/queue/a", "hey"));
    peer_turn(&p);
    CHECK_STR(peer_sent(&p, "SEND", 0)->raw, peer_sent(&p, "SEND", 1)->raw);
    snprintf(raw, sizeof raw, "%s", peer_sent(&p, "SEND", 0)->raw);
    peer_free(&p);
    return raw;
}

static void test_text(void) {
    static const char with[] = "SEND\ndestination:/queue/a\n"
                               "content-type:text/plain;charset=utf-8\ncontent-length:3\n\nhey";
    static const char without[] = "SEND\ndestination:/queue/a\n"
                                  "content-type:text/plain;charset=utf-8\n\nhey";
    CHECK_STR(with, sent_text(SPRING));
    CHECK_STR(with, sent_text(RABBITMQ));
    CHECK_STR(with, sent_text(STRANGER));
    CHECK_STR(without, sent_text(ACTIVEMQ));
    CHECK_STR(without, sent_text(ARTEMIS));
}

static void test_text_with_a_nul_has_a_length(void) {
    stws_outgoing m = {.destination = "/queue/a", .body = "a\0b", .body_len = 3};
    struct peer p;
    m.content_length = STWS_CONTENT_LENGTH_JMS_TEXT;
    begin_at_broker(&p, ACTIVEMQ);
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_send_ex(p.client, &m));
    peer_turn(&p);
    CHECK_STR("3", sent_header(peer_sent(&p, "SEND", 0), "content-length"));
    peer_free(&p);
}

static void test_arguments_of_a_text(void) {
    struct peer p;
    begin_at_broker(&p, SPRING);
    CHECK_INT(0, stws_send_text(p.client, "/queue/a", NULL)); /* the same as "" */
    CHECK_INT(STWS_ERR_USAGE, stws_send_text(p.client, NULL, "hey"));
    CHECK_INT(STWS_ERR_USAGE, stws_send_text(p.client, "", "hey"));
    CHECK_INT(STWS_ERR_MEMORY, stws_send_text(NULL, "/queue/a", "hey"));
    peer_free(&p);
}

static void test_the_option_broker_overrides_the_recognised_broker(void) {
    stws_subscribe_options few = {.prefetch = 7};
    stws_options o;
    struct peer p;
    peer_init(&p);
    o = peer_options(&p);
    o.broker = STWS_BROKER_RABBITMQ;
    p.connected = STRANGER;
    peer_start(&p, &o);
    CHECK(stws_subscribe(p.client, "/topic/a", &few) > 0);
    CHECK(peer_connect(&p));
    peer_turn(&p);
    CHECK_INT(STWS_BROKER_RABBITMQ, stws_broker(p.client));
    CHECK_STR("7", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "prefetch-count"));
    peer_free(&p);
}

static void test_no_such_broker(void) {
    stws_options o = {.url = "ws://broker.test/"};
    stws *client;
    o.broker = STWS_BROKER_ARTEMIS + 1;
    client = stws_create(&o);
    CHECK_INT(STWS_ERR_USAGE, stws_run(client));
    CHECK_HAS("options.broker", stws_error_text(client));
    stws_destroy(client);
}

static void test_the_client_id(void) {
    stws_options o;
    struct peer p;
    peer_init(&p);
    o = peer_options(&p);
    o.client_id = "gauge-7";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK_STR("gauge-7", sent_header(peer_sent(&p, "CONNECT", 0), "client-id"));
    peer_free(&p);
}

/* Spring's simple broker sends no receipts. A flush that waits for receipts ends, and the error
   text names the cause. */
static void test_a_flush_without_receipts(void) {
    stws_options o;
    struct peer p;
    peer_init(&p);
    o = peer_options(&p);
    o.confirm = 1;
    o.receipt_timeout_ms = 3000;
    p.connected = SPRING;
    p.automatic &= ~AUTO_RECEIPT;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_send(p.client, "/topic/a", "1", 1));
    peer_turn(&p);
    peer_advance(&p, 3001);
    CHECK_INT(STWS_ERR_TIMEOUT, stws_flush(p.client, -1));
    CHECK_HAS("Spring's simple broker sends no receipts", stws_error_text(p.client));
    peer_free(&p);
}

int main(void) {
    RUN(test_prefetch);
    RUN(test_no_prefetch_unless_requested);
    RUN(test_durable);
    RUN(test_headers_of_the_program_take_precedence);
    RUN(test_the_end_of_a_durable_subscription);
    RUN(test_a_durable_subscription_ends_once);
    RUN(test_a_durable_name_is_an_id);
    RUN(test_text);
    RUN(test_text_with_a_nul_has_a_length);
    RUN(test_arguments_of_a_text);
    RUN(test_the_option_broker_overrides_the_recognised_broker);
    RUN(test_no_such_broker);
    RUN(test_the_client_id);
    RUN(test_a_flush_without_receipts); /* [G5] */
    return test_report();
}
