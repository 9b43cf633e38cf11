/* load.c - the load of the deploy tests. One client publishes numbered messages with confirm.
   Another client consumes them and acknowledges each. Each client has its own thread.

       load [OPTION VALUE]... DESTINATION URL...

       --publish-to DEST    the publisher's destination, if it is not DESTINATION
       --subscribe NAME:VALUE   a header of SUBSCRIBE, at most 8 of them
       --http NAME:VALUE    a header of the upgrade request, at most 8 of them
       --proxy URL          options.proxy
       --address ADDRESS    an address of the server in the URL; several are tried in turn
       --ca FILE, --cert FILE, --key FILE   for wss://
       --login NAME, --passcode WORD, --client-id NAME, --durable NAME   (last two: consumer)
       --heartbeat MS       for both directions; 0 turns them off
       --ping MS            options.ping_ms; 0 turns it off
       --pace MS            time between two messages; default 5
       --stall MS           call stws_reconnect_now after this time without a receipt; default never
       --retry MS           delay before the first attempt of a series, which grows at most to ten
                            times this value; default 50

   It prints READY when both clients are connected. For each line on stdin it prints one line of
   JSON with the counts so far. The line "mark" also starts a new measurement of the longest pause.
   At the end of stdin it stops publishing. When all messages are confirmed and consumed, or after a
   time without progress, it prints a last line of JSON, which tells how many messages were lost or
   arrived twice.

   "pause_ms" is the longest time, since the last mark, in which one of the clients made no
   progress: the publisher got no confirmation, or the consumer got no message. */
#include "stomp_ws.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    MOST = 1 << 20,
    START_MS = 15000,
    PATIENCE_MS = 40000,
    RECEIPTS = 1024,
    LIST = 8,
    URLS = 8,
    ERROR_TEXT = 700
};

typedef struct header_list {
    const char *items[2 * LIST + 1]; /* name, value, ..., NULL */
    size_t count;
} header_list;

typedef struct settings {
    const char *destination, *publish_to, *proxy, *ca, *cert, *key, *login, *passcode, *client_id,
        *durable;
    const char *urls[URLS + 1], *addresses[URLS + 1];
    header_list subscribe, http;
    int url_count, address_count, heartbeat_ms, ping_ms, pace_ms, retry_ms, stall_ms;
} settings;

/* The progress of a client. Guarded by load.mutex. */
typedef struct progress {
    long long last_us, pause_us; /* time of the last progress, and the longest time between two */
    int sessions, ended;
    char error[ERROR_TEXT];
} progress;

static struct load {
    pthread_mutex_t mutex;
    unsigned char confirmed[MOST], consumed[MOST];
    int numbers[MOST]; /* number of the message that a receipt belongs to */
    int published, all_confirmed, refused, distinct, duplicates, damaged;
    int subscribed; /* number of confirmed SUBSCRIBE frames */
    progress publisher, consumer;
} load = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void lock(void) {
    pthread_mutex_lock(&load.mutex);
}

static void unlock(void) {
    pthread_mutex_unlock(&load.mutex);
}

static int look(const int *number) {
    int value;
    lock();
    value = *number;
    unlock();
    return value;
}

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void step(progress *p) {
    long long now = now_us();
    if (now - p->last_us > p->pause_us) p->pause_us = now - p->last_us;
    p->last_us = now;
}

/* ==== the clients' callbacks ==== */

static void on_event(stws *client, const stws_event *e, void *user) {
    progress *p = (progress *)user;
    lock();
    if (e->type == STWS_EVENT_CONNECTED && p->sessions++ == 0) p->last_us = now_us();
    if (e->type == STWS_EVENT_DISCONNECTED) {
        p->ended = e->retry_ms < 0;
        if (*stws_error_text(client))
            snprintf(p->error, sizeof p->error, "%s", stws_error_text(client));
    }
    if (e->type == STWS_EVENT_RECEIPT && p == &load.consumer) {
        load.subscribed += e->result == STWS_OK;
    } else if (e->type == STWS_EVENT_RECEIPT && e->receipt > 0 && e->receipt < MOST) {
        if (e->result != STWS_OK) load.refused++;
        if (e->result == STWS_OK && !load.confirmed[load.numbers[e->receipt]]++) {
            load.all_confirmed++;
            step(p);
        }
    }
    unlock();
}

static void on_message(stws *client, const stws_message *message, void *user) {
    char *end;
    long number = strtol(message->body, &end, 10);
    lock();
    if (number < 0 || number >= MOST || strcmp(end, " message") != 0)
        load.damaged++;
    else if (load.consumed[number]++)
        load.duplicates++;
    else
        load.distinct++;
    step((progress *)user);
    unlock();
    stws_ack(client, message); /* if it is stale, the message is redelivered and counted as a
                                  duplicate */
}

/* Publishes the next message. Returns 1 if the client accepted it. Holds the lock, so the receipt's
   number is stored before the receipt can arrive. */
static int publish(stws *client, const char *destination) {
    static const char *const persistent[] = {"persistent", "true", NULL};
    char body[32];
    stws_outgoing m = {.destination = destination, .headers = persistent, .receipt = 1};
    int receipt;
    m.body = body;
    lock();
    m.body_len = (size_t)snprintf(body, sizeof body, "%d message", load.published);
    receipt = stws_send_ex(client, &m);
    if (receipt > 0 && receipt < MOST) load.numbers[receipt] = load.published++;
    unlock();
    return receipt > 0;
}

/* ==== starting and ending ==== */

static int off(int ms) {
    return ms ? ms : STWS_OFF;
}

static stws_options options_for(const settings *set, int publishes) {
    stws_options o = stws_options_default();
    o.urls = set->urls;
    if (set->address_count) o.addresses = set->addresses;
    o.proxy = set->proxy;
    o.tls_ca_file = set->ca;
    o.tls_cert_file = set->cert;
    o.tls_key_file = set->key;
    o.login = set->login;
    o.passcode = set->passcode;
    if (set->http.count) o.http_headers = set->http.items;
    if (!publishes) o.client_id = set->client_id;
    o.on_event = on_event;
    o.on_message = on_message;
    o.user = publishes ? &load.publisher : &load.consumer;
    o.confirm = publishes;
    o.max_receipts = RECEIPTS;
    o.heartbeat_in_ms = o.heartbeat_out_ms = off(set->heartbeat_ms);
    o.ping_ms = off(set->ping_ms);
    o.reconnect_min_ms = set->retry_ms;
    o.reconnect_max_ms = 10 * set->retry_ms;
    o.reconnect_jitter = 25; /* percent that is added: an attempt is never earlier than retry_ms */
    o.stable_ms = 500;
    o.connect_timeout_ms = o.handshake_timeout_ms = o.connected_timeout_ms = 3000;
    return o;
}

static stws *start(const settings *set, int publishes) {
    stws_options o = options_for(set, publishes);
    stws_subscribe_options individual = {
        .ack = STWS_ACK_CLIENT_INDIVIDUAL, .prefetch = 100, .receipt = 1};
    stws *client = stws_create(&o);
    individual.durable = set->durable;
    if (set->subscribe.count) individual.headers = set->subscribe.items;
    if (!publishes && stws_subscribe(client, set->destination, &individual) < 0) abort();
    if (stws_start(client) != STWS_OK) {
        fprintf(stderr, "load: %s\n", stws_error_text(client));
        exit(1);
    }
    return client;
}

static int end(stws *client) {
    int result;
    stws_disconnect(client, 5000);
    result = stws_join(client);
    if (result != STWS_OK) fprintf(stderr, "load: %s\n", stws_error_text(client));
    return result;
}

/* Waits until *total reaches `enough`. Gives up if it has not grown for some time, or if a client
   has ended. */
static void wait_for(const int *total, int enough, int patience_ms) {
    int waited, before = look(total), now;
    for (waited = 0; waited < patience_ms; waited += 10) {
        now = look(total);
        if (now >= enough || look(&load.publisher.ended) || look(&load.consumer.ended)) return;
        if (now > before) waited = 0;
        before = now;
        poll(NULL, 0, 10);
    }
}

/* ==== output ==== */

static void print_text(const char *name, const char *text) {
    printf(", \"%s\": \"", name);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putchar('\\');
        putchar(*text);
    }
    putchar('"');
}

static void print_counts(void) {
    int i, lost = 0, first_lost = -1;
    long long pause_us, now = now_us();
    lock();
    for (i = load.published - 1; i >= 0; i--) {
        if (!load.confirmed[i] || load.consumed[i]) continue;
        lost++;
        first_lost = i;
    }
    pause_us = load.publisher.pause_us;
    if (load.consumer.pause_us > pause_us) pause_us = load.consumer.pause_us;
    if (now - load.publisher.last_us > pause_us) pause_us = now - load.publisher.last_us;
    printf("{\"published\": %d, \"confirmed\": %d, \"refused\": %d, \"consumed\": %d, "
           "\"duplicated\": %d, \"damaged\": %d, \"lost\": %d, \"pause_ms\": %lld, "
           "\"publisher_sessions\": %d, \"consumer_sessions\": %d, \"ended\": %d, "
           "\"first_lost\": %d",
           load.published, load.all_confirmed, load.refused, load.distinct, load.duplicates,
           load.damaged, lost, pause_us / 1000, load.publisher.sessions, load.consumer.sessions,
           load.publisher.ended + load.consumer.ended, first_lost);
    print_text("publisher_error", load.publisher.error);
    print_text("consumer_error", load.consumer.error);
    puts("}");
    fflush(stdout);
    unlock();
}

static void mark(void) {
    lock();
    load.publisher.pause_us = load.consumer.pause_us = 0;
    load.publisher.last_us = load.consumer.last_us = now_us();
    unlock();
}

/* If a session no longer confirms anything, starts a new session, in which everything is resent. */
static void leave_stalled(stws *client, int stall_ms) {
    long long waited_us;
    lock();
    waited_us = now_us() - load.publisher.last_us;
    unlock();
    if (!stall_ms || waited_us < stall_ms * 1000LL || stws_state(client) != STWS_CONNECTED) return;
    lock();
    step(&load.publisher); /* records the pause so far, and restarts its clock */
    unlock();
    stws_reconnect_now(client);
}

/* Runs until stdin ends. Answers each line immediately. */
static void publish_all(stws *client, const settings *set) {
    struct pollfd input = {0, POLLIN, 0};
    const char *destination = set->publish_to ? set->publish_to : set->destination;
    char line[64];
    ssize_t n;
    long long next_us = now_us(), left_us;
    for (;;) {
        left_us = next_us - now_us();
        if (left_us <= 0) {
            publish(client, destination);
            leave_stalled(client, set->stall_ms);
            next_us = now_us() + set->pace_ms * 1000LL;
            left_us = set->pace_ms * 1000LL;
        }
        if (poll(&input, 1, (int)(left_us / 1000 + 1)) <= 0) continue;
        n = read(0, line, sizeof line);
        if (n <= 0) return;
        if (memcmp(line, "mark", 4) == 0) mark();
        print_counts();
    }
}

/* ==== the command line ==== */

static int add_header(header_list *list, char *text) {
    char *colon = strchr(text, ':');
    if (!colon || list->count == LIST) return 0;
    *colon = 0;
    list->items[2 * list->count] = text;
    list->items[2 * list->count + 1] = colon + 1;
    list->count++;
    return 1;
}

static int set_text(settings *set, const char *name, const char *value) {
    const struct {
        const char *name, **place;
    } texts[] = {
        {"--proxy", &set->proxy},
        {"--publish-to", &set->publish_to},
        {"--ca", &set->ca},
        {"--cert", &set->cert},
        {"--key", &set->key},
        {"--login", &set->login},
        {"--passcode", &set->passcode},
        {"--client-id", &set->client_id},
        {"--durable", &set->durable},
    };
    size_t i;
    for (i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(texts[i].name, name) != 0) continue;
        *texts[i].place = value;
        return 1;
    }
    return 0;
}

static int set_number(settings *set, const char *name, const char *value) {
    int number = (int)strtol(value, NULL, 10);
    if (strcmp(name, "--heartbeat") == 0)
        set->heartbeat_ms = number;
    else if (strcmp(name, "--ping") == 0)
        set->ping_ms = number;
    else if (strcmp(name, "--pace") == 0)
        set->pace_ms = number;
    else if (strcmp(name, "--retry") == 0)
        set->retry_ms = number;
    else if (strcmp(name, "--stall") == 0)
        set->stall_ms = number;
    else
        return 0;
    return 1;
}

static int set_option(settings *set, const char *name, char *value) {
    if (strcmp(name, "--subscribe") == 0) return add_header(&set->subscribe, value);
    if (strcmp(name, "--http") == 0) return add_header(&set->http, value);
    if (strcmp(name, "--address") == 0 && set->address_count < URLS)
        return set->addresses[set->address_count++] = value, 1;
    return set_text(set, name, value) || set_number(set, name, value);
}

static int parse_arguments(settings *set, int argc, char **argv) {
    int i;
    set->heartbeat_ms = 1000;
    set->ping_ms = 0;
    set->pace_ms = 5;
    set->retry_ms = 50;
    for (i = 1; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2)
        if (!set_option(set, argv[i], argv[i + 1])) return 0;
    if (i + 1 >= argc) return 0;
    set->destination = argv[i++];
    for (; i < argc && set->url_count < URLS; i++) set->urls[set->url_count++] = argv[i];
    return i == argc;
}

int main(int argc, char **argv) {
    static settings set;
    stws *consumer, *publisher;
    int failed;
    if (!parse_arguments(&set, argc, argv)) {
        fputs("load [OPTION VALUE]... DESTINATION URL...\n", stderr);
        return 2;
    }
    consumer = start(&set, 0);
    wait_for(&load.subscribed, 1, START_MS); /* now the queue or the durable subscription exists */
    publisher = start(&set, 1);
    wait_for(&load.publisher.sessions, 1, START_MS);
    if (!look(&load.publisher.sessions) || !look(&load.subscribed)) {
        print_counts();
        return 1;
    }
    puts("READY");
    fflush(stdout);
    publish_all(publisher, &set);
    wait_for(&load.all_confirmed, load.published, PATIENCE_MS);
    wait_for(&load.distinct, load.all_confirmed, PATIENCE_MS);
    failed = end(publisher) != 0;
    failed |= end(consumer) != 0;
    print_counts();
    stws_destroy(publisher);
    stws_destroy(consumer);
    return failed;
}
