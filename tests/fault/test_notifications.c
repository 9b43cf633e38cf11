/* test_notifications.c - tests a large notification receiver: eight clients in threads, four
   destinations each, and one queue that the main thread reads. A ninth client publishes a hundred
   thousand messages. Each message must arrive exactly once, and in order per destination.

       test_notifications [mini_broker]    default: $MINI_BROKER, or build/mini_broker */
#include "stomp_ws.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../test.h"

enum {
    CLIENTS = 8,
    DESTINATIONS = 4,
    PER_DESTINATION = 3125,
    TOTAL = CLIENTS * DESTINATIONS * PER_DESTINATION
};

static const char *broker_path;
static pid_t broker;
static char url[128];

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ==== the broker, in its own process ==== */

/* Reads the broker's output until the line "READY url" is complete, for at most a minute. Returns 0
   if the line does not arrive. */
static int read_ready(int fd) {
    char line[160];
    size_t len = 0;
    long long until = now_ms() + 60000, left;
    while (len + 1 < sizeof line && (left = until - now_ms()) > 0) {
        struct pollfd polled = {0, POLLIN, 0};
        ssize_t n;
        polled.fd = fd;
        if (poll(&polled, 1, (int)left) <= 0) continue;
        n = read(fd, line + len, sizeof line - 1 - len);
        if (n <= 0) return 0;
        len += (size_t)n;
        line[len] = 0;
        if (strchr(line, '\n')) return sscanf(line, "READY %127s", url) == 1;
    }
    return 0;
}

static void start_broker(void) {
    int out[2];
    if (pipe(out) != 0) abort();
    broker = fork();
    if (broker == 0) {
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        execl(broker_path, broker_path, "--port", "0", "--quiet", (char *)NULL);
        perror(broker_path);
        _exit(127);
    }
    close(out[1]);
    CHECK(read_ready(out[0]));
    close(out[0]);
}

static void stop_broker(void) {
    if (broker <= 0) return;
    kill(broker, SIGTERM);
    waitpid(broker, NULL, 0);
}

/* ==== the publisher, a ninth client ==== */

struct publisher {
    pthread_t thread;
    int result;
};

static void destination_name(char out[32], int client, int destination) {
    snprintf(out, 32, "/topic/%d.%d", client, destination);
}

/* Sends message n to every destination, for n = 0, 1, 2, ... */
static int publish_all(stws *c) {
    char destination[32], body[16];
    int n, i, result;
    for (n = 0; n < PER_DESTINATION; n++) {
        int len = snprintf(body, sizeof body, "%d", n);
        for (i = 0; i < CLIENTS * DESTINATIONS; i++) {
            destination_name(destination, i / DESTINATIONS, i % DESTINATIONS);
            result = stws_send(c, destination, body, (size_t)len);
            if (result == STWS_ERR_FULL) {
                result = stws_flush(c, 10000);
                if (result == 0) i--; /* try again */
            }
            if (result < 0) return result;
        }
    }
    return stws_flush(c, 20000);
}

static void *publish(void *argument) {
    struct publisher *p = (struct publisher *)argument;
    stws_options o = stws_options_default();
    stws *c;
    o.url = url;
    c = stws_create(&o);
    p->result = c ? stws_connect(c, 10000) : STWS_ERR_MEMORY;
    if (p->result == 0) p->result = publish_all(c);
    if (p->result == 0) {
        stws_disconnect(c, 10000);
        p->result = stws_run(c);
    }
    stws_destroy(c);
    return NULL;
}

/* ==== the readers ==== */

struct runner {
    stws *clients[CLIENTS];
    stws_queue *queue;
    int next[CLIENTS][DESTINATIONS]; /* the expected number */
    int total, disorder, unexpected;
};

/* How many subscriptions the broker has confirmed with receipts. */
static int confirmed;
static pthread_mutex_t confirmed_mutex = PTHREAD_MUTEX_INITIALIZER;

static void count_receipt(stws *client, const stws_event *event, void *user) {
    (void)client;
    (void)user;
    if (event->type != STWS_EVENT_RECEIPT || event->result != STWS_OK) return;
    pthread_mutex_lock(&confirmed_mutex);
    confirmed++;
    pthread_mutex_unlock(&confirmed_mutex);
}

static int all_subscribed(void) {
    long long until = now_ms() + 60000;
    int count = 0;
    while (count < CLIENTS * DESTINATIONS && now_ms() < until) {
        poll(NULL, 0, 2);
        pthread_mutex_lock(&confirmed_mutex);
        count = confirmed;
        pthread_mutex_unlock(&confirmed_mutex);
    }
    return count == CLIENTS * DESTINATIONS;
}

static void start_clients(struct runner *r) {
    stws_subscribe_options with_receipt = {.receipt = 1};
    stws_options o = stws_options_default();
    char destination[32];
    int i, k;
    o.url = url;
    o.queue = r->queue;
    o.on_event = count_receipt;
    for (i = 0; i < CLIENTS; i++) {
        r->clients[i] = stws_create(&o);
        for (k = 0; k < DESTINATIONS; k++) {
            destination_name(destination, i, k);
            CHECK(stws_subscribe(r->clients[i], destination, &with_receipt) > 0);
        }
        CHECK_INT(0, stws_start(r->clients[i]));
    }
}

static void take(struct runner *r, const stws_message *m) {
    int client = -1, destination = -1;
    if (sscanf(m->destination, "/topic/%d.%d", &client, &destination) != 2 || client < 0 ||
        client >= CLIENTS || destination < 0 || destination >= DESTINATIONS ||
        m->client != r->clients[client]) {
        r->unexpected++;
    } else if (atoi(m->body) != r->next[client][destination]++) {
        r->disorder++;
    }
    r->total++;
}

/* Reads until nothing arrives for a while, for at most a minute and a half. */
static void read_queue(struct runner *r) {
    const stws_message *m = NULL;
    long long until = now_ms() + 90000;
    while (now_ms() < until) {
        int result = stws_queue_pop(r->queue, &m, r->total < TOTAL ? 30000 : 200);
        if (result != 1) break;
        take(r, m);
    }
}

/* Returns the milliseconds from the first stws_stop to the last stws_join. */
static long long stop_clients(struct runner *r) {
    long long begun = now_ms();
    int i;
    for (i = 0; i < CLIENTS; i++) stws_stop(r->clients[i]);
    for (i = 0; i < CLIENTS; i++) CHECK_INT(0, stws_join(r->clients[i]));
    return now_ms() - begun;
}

static void test_eight_clients_and_one_queue(void) {
    static struct runner r;
    struct publisher publisher = {0, 1};
    int i, k;
    r.queue = stws_queue_create(262144);
    CHECK(r.queue != NULL);
    start_clients(&r);
    CHECK(all_subscribed());
    if (pthread_create(&publisher.thread, NULL, publish, &publisher) != 0) abort();
    read_queue(&r);
    pthread_join(publisher.thread, NULL);
    CHECK_STR("STWS_OK", stws_result_name(publisher.result));
    CHECK_INT(TOTAL, r.total);
    CHECK_INT(0, r.disorder);
    CHECK_INT(0, r.unexpected);
    for (i = 0; i < CLIENTS; i++)
        for (k = 0; k < DESTINATIONS; k++) CHECK_INT(PER_DESTINATION, r.next[i][k]);
    CHECK(stop_clients(&r) < 5000); /* the clients have no deadline within 5 s */
    for (i = 0; i < CLIENTS; i++) stws_destroy(r.clients[i]);
    stws_queue_destroy(r.queue);
}

int main(int argc, char **argv) {
    broker_path = argc > 1 ? argv[1] : getenv("MINI_BROKER");
    if (!broker_path) broker_path = "build/mini_broker";
    RUN(start_broker);
    if (test_failed == 0) RUN(test_eight_clients_and_one_queue);
    stop_broker();
    return test_report();
}
