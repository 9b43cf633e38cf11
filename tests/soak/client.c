/* client.c - the load of the soak test. One client publishes numbered messages with confirm.
   Another client consumes them with ack client-individual. Each client has its own thread, and both
   continue whatever happens to the broker.

       client URL DESTINATION [CA.pem]

   It prints READY when both clients are connected. For each line on stdin it prints the numbers of
   messages so far. At the end of stdin it stops publishing. When all messages are confirmed and
   consumed, or after a time without progress, it prints one line of JSON with the counts. A body is
   made from its number, so a damaged body is noticed. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 1 << 20, LONGEST = 3000, PATIENCE_MS = 60000, RECEIPTS = 1024 };

static struct soak {
    pthread_mutex_t mutex;
    unsigned char confirmed[MOST], consumed[MOST]; /* how often it was received, up to 255 */
    int numbers[MOST];                             /* number of the message that a receipt belongs
                                                      to */
    int published, all_confirmed, refused;
    int distinct, duplicates, damaged, stale_acks;
    int ready;
} soak = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void lock(void) {
    pthread_mutex_lock(&soak.mutex);
}

static void unlock(void) {
    pthread_mutex_unlock(&soak.mutex);
}

static int look(const int *number) {
    int value;
    lock();
    value = *number;
    unlock();
    return value;
}

/* Makes the body of a number and its length. No other number has the same letters in the same
   order. */
static int make_body(int number, char body[LONGEST + 32]) {
    unsigned state = (unsigned)number * 2654435761u + 1;
    int len = sprintf(body, "%d ", number), end = len + (int)(state >> 7) % LONGEST;
    while (len < end) {
        state = state * 1664525u + 1013904223u;
        body[len++] = (char)('a' + (state >> 24) % 26);
    }
    return len;
}

/* ==== publishing ==== */

static void on_event(stws *client, const stws_event *e, void *user) {
    (void)client, (void)user;
    lock();
    if (e->type == STWS_EVENT_CONNECTED) soak.ready++;
    if (e->type == STWS_EVENT_RECEIPT && e->receipt > 0 && e->receipt < MOST) {
        if (e->result != STWS_OK) soak.refused++;
        if (e->result == STWS_OK && !soak.confirmed[soak.numbers[e->receipt]]++)
            soak.all_confirmed++;
    }
    unlock();
}

/* Publishes the next message. Returns 1 if the client accepted it. The receipt is recorded before
   it can arrive. */
static int publish(stws *client, const char *destination) {
    static const char *const persistent[] = {"persistent", "true", NULL};
    char body[LONGEST + 32];
    stws_outgoing m = {.destination = destination, .headers = persistent, .receipt = 1};
    int receipt;
    m.body = body;
    m.body_len = (size_t)make_body(soak.published, body);
    lock();
    receipt = stws_send_ex(client, &m);
    if (receipt > 0 && receipt < MOST) soak.numbers[receipt] = soak.published++;
    unlock();
    return receipt > 0;
}

/* ==== consuming ==== */

static int is_whole(int number, const stws_message *message) {
    char body[LONGEST + 32];
    size_t len = (size_t)make_body(number, body);
    return message->body_len == len && memcmp(message->body, body, len) == 0;
}

static void on_message(stws *client, const stws_message *message, void *user) {
    int number = atoi(message->body), stale;
    (void)user;
    lock();
    if (number < 0 || number >= MOST || !is_whole(number, message))
        soak.damaged++;
    else if (soak.consumed[number]++)
        soak.duplicates++;
    else
        soak.distinct++;
    unlock();
    stale = stws_ack(client, message) != STWS_OK;
    lock();
    soak.stale_acks += stale;
    unlock();
}

/* ==== both clients ==== */

static stws *start(const char *url, const char *ca, int publishes, const char *destination) {
    stws_options o = stws_options_default();
    stws_subscribe_options individual = {.ack = STWS_ACK_CLIENT_INDIVIDUAL, .prefetch = 100};
    stws *client;
    o.url = url;
    o.tls_ca_file = ca;
    o.login = o.passcode = "soak";
    o.on_event = on_event;
    o.on_message = on_message;
    o.confirm = publishes;
    o.max_receipts = RECEIPTS;
    o.heartbeat_in_ms = o.heartbeat_out_ms = 1000;
    o.reconnect_min_ms = 50;
    o.reconnect_max_ms = 500;
    o.connect_timeout_ms = o.handshake_timeout_ms = o.connected_timeout_ms = 5000;
    client = stws_create(&o);
    if (!publishes && stws_subscribe(client, destination, &individual) < 0) abort();
    if (stws_start(client) != STWS_OK) {
        fprintf(stderr, "%s\n", stws_error_text(client));
        exit(1);
    }
    return client;
}

/* Waits until the total grows, or the time for that is over. */
static int progresses(const int *total, int enough) {
    int waited, before = look(total);
    for (waited = 0; waited < PATIENCE_MS; waited += 10) {
        if (look(total) > before || look(total) >= enough) return 1;
        poll(NULL, 0, 10);
    }
    return 0;
}

static void wait_for(const int *total, int enough) {
    while (look(total) < enough && progresses(total, enough)) continue;
}

/* Runs until stdin ends. Answers each line immediately. */
static void publish_all(stws *client, const char *destination) {
    struct pollfd input = {0, POLLIN, 0};
    char line[64];
    for (;;) {
        int published = publish(client, destination);
        if (poll(&input, 1, published ? 1 : 5) <= 0) continue;
        if (read(0, line, sizeof line) <= 0) return;
        printf("%d %d\n", look(&soak.all_confirmed), look(&soak.distinct) + look(&soak.duplicates));
        fflush(stdout);
    }
}

static void report(stws *publisher, stws *consumer) {
    stws_statistics out, in;
    int i, lost = 0;
    stws_stats(publisher, &out);
    stws_stats(consumer, &in);
    lock();
    for (i = 0; i < soak.published; i++) lost += soak.confirmed[i] && !soak.consumed[i];
    printf("{\"published\": %d, \"confirmed\": %d, \"refused\": %d, \"consumed\": %d, "
           "\"duplicates\": %d, \"damaged\": %d, \"lost\": %d, \"stale_acks\": %d, "
           "\"publisher_sessions\": %llu, \"consumer_sessions\": %llu}\n",
           soak.published, soak.all_confirmed, soak.refused, soak.distinct, soak.duplicates,
           soak.damaged, lost, soak.stale_acks, out.sessions, in.sessions);
    unlock();
}

static int end(stws *client) {
    int result;
    stws_disconnect(client, 5000);
    result = stws_join(client);
    if (result != STWS_OK) fprintf(stderr, "%s\n", stws_error_text(client));
    return result;
}

int main(int argc, char **argv) {
    const char *ca = argc > 3 ? argv[3] : NULL;
    stws *consumer, *publisher;
    int failed;
    if (argc < 3) {
        fputs("client URL DESTINATION [CA.pem]\n", stderr);
        return 2;
    }
    consumer = start(argv[1], ca, 0, argv[2]);
    wait_for(&soak.ready, 1); /* the subscription creates the queue */
    publisher = start(argv[1], ca, 1, argv[2]);
    wait_for(&soak.ready, 2);
    puts("READY");
    fflush(stdout);
    publish_all(publisher, argv[2]);
    wait_for(&soak.all_confirmed, soak.published);
    wait_for(&soak.distinct, soak.all_confirmed);
    failed = end(publisher) != 0;
    failed |= end(consumer) != 0;
    report(publisher, consumer);
    stws_destroy(publisher);
    stws_destroy(consumer);
    return failed;
}
