/* test_threads.c - tests several threads that use one client, and several clients that share one
   queue, with real sockets on the loopback interface. The main thread makes almost all checks; the
   other threads leave their results in numbers. */
#include "loopback.h"

#include <sched.h>
#include <signal.h>

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pause_ms(int ms) {
    poll(NULL, 0, ms);
}

/* A number that several threads use. */
struct shared {
    pthread_mutex_t mutex;
    int value;
};

static void shared_set(struct shared *s, int value) {
    pthread_mutex_lock(&s->mutex);
    s->value = value;
    pthread_mutex_unlock(&s->mutex);
}

static int shared_get(struct shared *s) {
    int value;
    pthread_mutex_lock(&s->mutex);
    value = s->value;
    pthread_mutex_unlock(&s->mutex);
    return value;
}

/* Every test ends here. It also checks that no client has broken a protocol. */
static void end_server(struct loopback *server) {
    loopback_stop(server);
    CHECK_INT(0, server->odd);
}

/* Waits until the client is in that state, for at most a minute, because the machine may be
   busy. */
static int wait_for_state(const stws *client, stws_connection_state state) {
    long long until = now_ms() + 60000;
    while (stws_state(client) != state && now_ms() < until) sched_yield();
    return stws_state(client) == state;
}

static int wait_for_value(struct shared *s, int value) {
    long long until = now_ms() + 60000;
    while (shared_get(s) < value && now_ms() < until) pause_ms(1);
    return shared_get(s) == value;
}

static stws_options options_for(const struct loopback *server) {
    stws_options o = stws_options_default();
    o.url = server->url;
    o.reconnect_min_ms = 20;
    return o;
}

/* ==== many senders, one client ==== */

enum { SENDERS = 4, EACH = 1500 };

struct sender {
    stws *client;
    pthread_t thread;
    int number, refused, failed;
};

/* Sends numbered messages. If the outbox is full, it waits and tries again. */
static void *send_numbered(void *argument) {
    struct sender *s = (struct sender *)argument;
    char body[32];
    int i;
    for (i = 0; i < EACH;) {
        int len = snprintf(body, sizeof body, "%d %d", s->number, i);
        int result = stws_send(s->client, "/topic/a", body, (size_t)len);
        if (result == 0) i++;
        if (result == STWS_ERR_FULL) s->refused++, pause_ms(1);
        if (result < 0 && result != STWS_ERR_FULL) {
            s->failed = result;
            break;
        }
    }
    return NULL;
}

/* What the receiving callback has seen: the next expected number of each sender. */
struct tally {
    int next[SENDERS], disorder;
    struct shared total;
};

static void tally_message(stws *client, const stws_message *message, void *user) {
    struct tally *t = (struct tally *)user;
    int sender = -1, number = -1;
    (void)client;
    if (sscanf(message->body, "%d %d", &sender, &number) != 2 || sender < 0 || sender >= SENDERS ||
        number != t->next[sender]++)
        t->disorder++;
    shared_set(&t->total, shared_get(&t->total) + 1);
}

static void check_senders(const stws_options *from, struct tally *tally) {
    struct sender senders[SENDERS];
    stws_options o = *from;
    stws *client;
    int i;
    o.on_message = tally_message;
    o.user = tally;
    client = stws_create(&o);
    CHECK(stws_subscribe(client, "/topic/a", NULL) > 0);
    CHECK_INT(0, stws_start(client));
    CHECK_INT(STWS_ERR_STATE, stws_start(client));
    for (i = 0; i < SENDERS; i++) {
        struct sender s = {client, 0, i, 0, 0};
        senders[i] = s;
        if (pthread_create(&senders[i].thread, NULL, send_numbered, &senders[i]) != 0) abort();
    }
    for (i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        CHECK_STR("STWS_OK", stws_result_name(senders[i].failed));
        if (o.outbox_policy == STWS_FULL_BLOCK) CHECK_INT(0, senders[i].refused);
    }
    CHECK(wait_for_value(&tally->total, SENDERS * EACH));
    CHECK_INT(0, stws_flush(client, 5000));
    CHECK_INT(0, stws_disconnect(client, 5000));
    CHECK_INT(0, stws_join(client));
    CHECK_STR("", stws_error_text(client));
    CHECK_INT(STWS_ERR_STATE, stws_join(client));
    CHECK_HAS("stws_join", stws_error_text(client));
    CHECK_INT(0, tally->disorder);
    for (i = 0; i < SENDERS; i++) CHECK_INT(EACH, tally->next[i]);
    stws_destroy(client);
}

static void test_senders_in_four_threads(void) {
    struct tally tally = {.total = {PTHREAD_MUTEX_INITIALIZER, 0}};
    struct loopback server;
    stws_options o;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    check_senders(&o, &tally);
    end_server(&server);
    CHECK_INT(SENDERS * EACH, server.sends);
    CHECK_INT(1, server.disconnects);
    CHECK_INT(1, server.closes);
    CHECK_INT(1, server.links_total);
}

/* The buffers are so small that the senders have to wait for room all the time. */
static void test_senders_that_block(void) {
    struct tally tally = {.total = {PTHREAD_MUTEX_INITIALIZER, 0}};
    struct loopback server;
    stws_options o;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.tx_buffer = 2048;
    o.outbox_bytes = 4096;
    o.outbox_policy = STWS_FULL_BLOCK;
    check_senders(&o, &tally);
    end_server(&server);
    CHECK_INT(SENDERS * EACH, server.sends);
}

/* With receipts for all messages, and over IPv6. */
static void test_senders_with_confirm_over_ipv6(void) {
    struct tally tally = {.total = {PTHREAD_MUTEX_INITIALIZER, 0}};
    struct loopback server;
    stws_options o;
    if (!loopback_has_ipv6()) {
        SKIP("IPv6 on the loopback interface", "senders over IPv6");
        return;
    }
    loopback_start(&server, 1, 0);
    o = options_for(&server);
    o.confirm = 1;
    o.outbox_bytes = 65536;
    o.outbox_policy = STWS_FULL_BLOCK;
    check_senders(&o, &tally);
    end_server(&server);
    CHECK_INT(SENDERS * EACH, server.sends);
}

/* A thread returns a message to the queue, and its ACK takes a while. Meanwhile another thread
   destroys the client; it must wait for the ACK. Without sanitizers a fault here shows only by
   chance. */
struct returning {
    stws_queue *queue;
    struct shared popped, go, traced;
};

static void trace_slowly(stws *client, stws_direction direction, const stws_frame *frame,
                         void *user) {
    struct returning *g = (struct returning *)user;
    (void)client;
    if (direction != STWS_SENT || frame->command_id != STWS_COMMAND_ACK) return;
    shared_set(&g->traced, 1);
    pause_ms(50);
}

static void *pop_and_return(void *argument) {
    struct returning *g = (struct returning *)argument;
    const stws_message *m = NULL;
    CHECK_INT(1, stws_queue_pop(g->queue, &m, 60000));
    shared_set(&g->popped, 1);
    CHECK(wait_for_value(&g->go, 1));
    CHECK_INT(STWS_CLOSED, stws_queue_pop(g->queue, &m, 60000));
    return NULL;
}

static void test_returning_a_message_during_destroy(void) {
    struct returning g = {.popped = {PTHREAD_MUTEX_INITIALIZER, 0},
                          .go = {PTHREAD_MUTEX_INITIALIZER, 0},
                          .traced = {PTHREAD_MUTEX_INITIALIZER, 0}};
    stws_subscribe_options returned = {.ack_on = STWS_ACK_ON_RETURN};
    struct loopback server;
    stws_options o;
    pthread_t thread;
    stws_event e;
    stws *client;
    g.queue = stws_queue_create(0);
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.queue = g.queue;
    o.on_trace = trace_slowly;
    o.user = &g;
    client = stws_create(&o);
    CHECK(stws_subscribe(client, "/queue/a", &returned) > 0);
    CHECK_INT(0, stws_send_text(client, "/queue/a", "x"));
    if (pthread_create(&thread, NULL, pop_and_return, &g) != 0) abort();
    while (!shared_get(&g.popped)) stws_next(client, &e, 1);
    shared_set(&g.go, 1);
    CHECK(wait_for_value(&g.traced, 1));
    stws_destroy(client);
    pthread_join(thread, NULL);
    stws_queue_destroy(g.queue);
    end_server(&server);
}

static void count_receipts(stws *client, const stws_event *event, void *user) {
    struct shared *reported = (struct shared *)user;
    (void)client;
    if (event->type == STWS_EVENT_RECEIPT && event->result == STWS_OK)
        shared_set(reported, shared_get(reported) + 1);
}

/* All receipts are in use. A send waits for a receipt to arrive, like it waits for room. */
static void test_a_sender_that_waits_for_receipts(void) {
    enum { SENDS = 300 };
    struct shared reported = {PTHREAD_MUTEX_INITIALIZER, 0};
    stws_outgoing m = {.destination = "/queue/a", .body = "x", .body_len = 1, .receipt = 1};
    struct loopback server;
    stws_options o;
    stws *client;
    int i;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.max_receipts = 4;
    o.outbox_policy = STWS_FULL_BLOCK;
    o.on_event = count_receipts;
    o.user = &reported;
    client = stws_create(&o);
    CHECK_INT(0, stws_start(client));
    for (i = 0; i < SENDS; i++) CHECK(stws_send_ex(client, &m) > 0);
    CHECK(wait_for_value(&reported, SENDS));
    stws_stop(client);
    CHECK_INT(0, stws_join(client));
    stws_destroy(client);
    end_server(&server);
    CHECK_INT(SENDS, server.sends);
}

static void test_a_blocked_sender_gives_up(void) {
    struct loopback server;
    stws_options o;
    stws *client;
    char body[1000];
    long long begun;
    int result, i = 0;
    memset(body, 'x', sizeof body);
    loopback_start(&server, 0, 1);
    o = options_for(&server);
    o.outbox_bytes = 4096;
    o.outbox_policy = STWS_FULL_BLOCK;
    o.outbox_block_ms = 100;
    client = stws_create(&o);
    CHECK_INT(0, stws_start(client));
    CHECK(wait_for_state(client, STWS_UPGRADING));
    begun = now_ms();
    do result = stws_send(client, "/topic/a", body, sizeof body);
    while (result == 0 && i++ < 10);
    CHECK(result == STWS_ERR_FULL || result == STWS_ERR_TIMEOUT);
    CHECK(now_ms() - begun >= 100 && now_ms() - begun < 10000);
    stws_stop(client);
    CHECK_INT(0, stws_join(client));
    stws_destroy(client);
    end_server(&server);
}

static void *run_client(void *client) {
    return stws_run((stws *)client) == 0 ? NULL : client;
}

/* Connects in this thread, drives in another thread, and sends from this thread while the other
   thread is still starting. */
static void connect_and_hand_over(const stws_options *o, int in_own_thread) {
    stws *client = stws_create(o);
    void *failed = NULL;
    pthread_t runner;
    char body[1000];
    int i;
    CHECK_INT(0, stws_connect(client, 5000));
    if (!in_own_thread) CHECK_INT(0, stws_start(client));
    if (in_own_thread && pthread_create(&runner, NULL, run_client, client) != 0) abort();
    memset(body, 'x', sizeof body);
    for (i = 0; i < 300; i++) CHECK_INT(0, stws_send(client, "/queue/b", body, sizeof body));
    if (!in_own_thread) CHECK_INT(0, stws_flush(client, 5000));
    CHECK_INT(0, stws_disconnect(client, 5000));
    if (in_own_thread) pthread_join(runner, &failed);
    CHECK(failed == NULL);
    if (!in_own_thread) CHECK_INT(0, stws_join(client));
    stws_destroy(client);
}

/* The thread that drives the client need not be the thread that has connected it. */
static void test_connect_here_and_drive_there(void) {
    struct loopback server;
    stws_options o;
    int i;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    for (i = 0; i < 20; i++) connect_and_hand_over(&o, i % 2);
    end_server(&server);
    CHECK_INT(20 * 300, server.sends);
    CHECK_INT(20, server.disconnects);
}

/* ==== subscribing while the client runs ==== */

struct subscriber {
    stws *client;
    pthread_t thread;
    int failed;
};

static void *subscribe_and_unsubscribe(void *argument) {
    struct subscriber *s = (struct subscriber *)argument;
    char id[32];
    int i;
    for (i = 0; i < 300; i++) {
        stws_subscribe_options named = {.id = id};
        int handle;
        snprintf(id, sizeof id, "%p-%d", argument, i);
        handle = stws_subscribe(s->client, "/topic/x", i % 2 ? &named : NULL);
        if (handle < 0) s->failed++;
        if (stws_send(s->client, "/topic/x", "x", 1) < 0) s->failed++;
        if (handle > 0 && stws_unsubscribe(s->client, handle) < 0) s->failed++;
    }
    return NULL;
}

static void count_message(stws *client, const stws_message *message, void *user) {
    (void)client;
    (void)message;
    shared_set((struct shared *)user, shared_get((struct shared *)user) + 1);
}

static void test_subscribers_in_three_threads(void) {
    enum { SUBSCRIBERS = 3 };
    struct subscriber subscribers[SUBSCRIBERS];
    struct shared count = {PTHREAD_MUTEX_INITIALIZER, 0}, last = {PTHREAD_MUTEX_INITIALIZER, 0};
    stws_subscribe_options own = {.on_message = count_message, .user = &last};
    struct loopback server;
    stws_options o;
    stws *client;
    int i;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.on_message = count_message;
    o.user = &count;
    o.outbox_policy = STWS_FULL_BLOCK;
    client = stws_create(&o);
    CHECK_INT(0, stws_start(client));
    CHECK(wait_for_state(client, STWS_CONNECTED));
    for (i = 0; i < SUBSCRIBERS; i++) {
        subscribers[i].client = client;
        subscribers[i].failed = 0;
        if (pthread_create(&subscribers[i].thread, NULL, subscribe_and_unsubscribe,
                           &subscribers[i]) != 0)
            abort();
    }
    for (i = 0; i < SUBSCRIBERS; i++) {
        pthread_join(subscribers[i].thread, NULL);
        CHECK_INT(0, subscribers[i].failed);
    }
    CHECK(stws_subscribe(client, "/topic/last", &own) > 0);
    CHECK_INT(0, stws_send(client, "/topic/last", "x", 1));
    CHECK(wait_for_value(&last, 1));
    stws_stop(client);
    CHECK_INT(0, stws_join(client));
    stws_destroy(client);
    end_server(&server);
}

/* ==== stop ==== */

/* Stops a client that blocks in stws_run in another thread, in that state. It must end
   immediately. */
static void check_stop(const char *url, stws_connection_state state) {
    stws_options o = stws_options_default();
    long long begun;
    stws *client;
    o.url = url;
    o.reconnect_min_ms = 60000;
    o.reconnect_max_ms = 60000;
    o.reconnect_jitter = STWS_OFF;
    client = stws_create(&o);
    CHECK_INT(0, stws_start(client));
    CHECK(wait_for_state(client, state));
    pause_ms(50); /* now the client sleeps */
    begun = now_ms();
    stws_stop(client);
    CHECK_INT(0, stws_join(client));
    CHECK(now_ms() - begun < 5000); /* the client has no deadline within 5 s */
    stws_destroy(client);
}

static void test_stop_wakes_a_blocked_run(void) {
    struct loopback server, mute;
    loopback_start(&server, 0, 0);
    loopback_start(&mute, 0, 1);
    check_stop(server.url, STWS_CONNECTED);
    check_stop(mute.url, STWS_UPGRADING);
    end_server(&mute);
    check_stop(mute.url, STWS_BACKOFF); /* nobody listens there now */
    end_server(&server);
}

static stws *stopped_by_signal;

static void on_signal(int number) {
    (void)number;
    stws_stop(stopped_by_signal);
}

static void *send_signal(void *argument) {
    pause_ms(100);
    pthread_kill(*(pthread_t *)argument, SIGUSR1);
    return NULL;
}

static void test_stop_from_a_signal_handler(void) {
    struct sigaction action, before;
    pthread_t here = pthread_self(), other;
    struct loopback server;
    stws_options o;
    long long begun;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    stopped_by_signal = stws_create(&o);
    sigaction(SIGUSR1, &action, &before);
    begun = now_ms();
    if (pthread_create(&other, NULL, send_signal, &here) != 0) abort();
    CHECK_INT(0, stws_run(stopped_by_signal));
    CHECK(now_ms() - begun >= 90 && now_ms() - begun < 5000);
    pthread_join(other, NULL);
    sigaction(SIGUSR1, &before, NULL);
    stws_destroy(stopped_by_signal);
    end_server(&server);
    CHECK_INT(1, server.disconnects);
}

/* ==== the queue ==== */

enum { PRODUCERS = 3, CONSUMERS = 3, FLOOD = 4000 };

struct consumer {
    stws_queue *queue;
    stws *const *clients;
    pthread_t thread;
    int begin_after_ms, unexpected;
    unsigned char seen[PRODUCERS][FLOOD];
};

static void *consume(void *argument) {
    struct consumer *c = (struct consumer *)argument;
    const stws_message *m = NULL;
    pause_ms(c->begin_after_ms);
    while (stws_queue_pop(c->queue, &m, -1) == 1) {
        int number = atoi(m->body), client;
        for (client = 0; client < PRODUCERS && c->clients[client] != m->client;) client++;
        if (client < PRODUCERS && number >= 0 && number < FLOOD)
            c->seen[client][number]++;
        else
            c->unexpected++;
    }
    return NULL;
}

/* Returns how many of all numbers were seen exactly once, by any consumer. */
static int seen_once(const struct consumer *consumers, int count) {
    int client, number, i, once = 0;
    for (client = 0; client < PRODUCERS; client++)
        for (number = 0; number < FLOOD; number++) {
            int times = 0;
            for (i = 0; i < count; i++) times += consumers[i].seen[client][number];
            once += times == 1;
        }
    return once;
}

static int messages_of(stws *const *clients) {
    int i, total = 0;
    for (i = 0; i < PRODUCERS; i++) {
        stws_statistics stats;
        stws_stats(clients[i], &stats);
        total += (int)stats.messages_in;
    }
    return total;
}

/* Three clients put a flood each into one queue of that capacity, and three threads take messages
   out of it. */
static void check_queue(size_t capacity, int begin_after_ms) {
    static struct consumer consumers[CONSUMERS];
    stws_queue *queue = stws_queue_create(capacity);
    stws *clients[PRODUCERS];
    struct loopback server;
    stws_options o;
    char destination[32];
    long long until = now_ms() + 10000;
    int i;
    CHECK(queue != NULL);
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.queue = queue;
    snprintf(destination, sizeof destination, "/flood/%d", FLOOD);
    for (i = 0; i < PRODUCERS; i++) {
        clients[i] = stws_create(&o);
        CHECK(stws_subscribe(clients[i], destination, NULL) > 0);
    }
    for (i = 0; i < CONSUMERS; i++) {
        memset(&consumers[i], 0, sizeof consumers[i]);
        consumers[i].queue = queue;
        consumers[i].clients = clients;
        consumers[i].begin_after_ms = begin_after_ms;
        if (pthread_create(&consumers[i].thread, NULL, consume, &consumers[i]) != 0) abort();
    }
    for (i = 0; i < PRODUCERS; i++) CHECK_INT(0, stws_start(clients[i]));
    if (begin_after_ms) {
        pause_ms(begin_after_ms / 2);
        CHECK(messages_of(clients) < PRODUCERS * FLOOD); /* the full queue holds the clients back */
    }
    while (messages_of(clients) < PRODUCERS * FLOOD && now_ms() < until) pause_ms(5);
    for (i = 0; i < PRODUCERS; i++) stws_disconnect(clients[i], 3000);
    for (i = 0; i < PRODUCERS; i++) CHECK_INT(0, stws_join(clients[i]));
    stws_queue_close(queue);
    for (i = 0; i < CONSUMERS; i++) {
        pthread_join(consumers[i].thread, NULL);
        CHECK_INT(0, consumers[i].unexpected);
    }
    CHECK_INT(PRODUCERS * FLOOD, seen_once(consumers, CONSUMERS));
    for (i = 0; i < PRODUCERS; i++) stws_destroy(clients[i]);
    stws_queue_destroy(queue);
    end_server(&server);
}

static void test_a_queue_between_three_and_three(void) {
    check_queue(1 << 20, 0);
}

static void test_a_small_queue_holds_the_clients_back(void) {
    check_queue(4096, 300);
}

static void *close_queue(void *queue) {
    pause_ms(100);
    stws_queue_close((stws_queue *)queue);
    return NULL;
}

static void test_waiting_at_an_empty_queue(void) {
    stws_queue *queue = stws_queue_create(0);
    const stws_message *m = NULL;
    long long begun = now_ms();
    pthread_t other;
    CHECK(queue != NULL);
    CHECK_INT(0, stws_queue_pop(queue, &m, 0));
    CHECK_INT(0, stws_queue_pop(queue, &m, 50));
    CHECK(now_ms() - begun >= 50 && now_ms() - begun < 10000);
    if (pthread_create(&other, NULL, close_queue, queue) != 0) abort();
    CHECK_INT(STWS_CLOSED, stws_queue_pop(queue, &m, -1));
    pthread_join(other, NULL);
    stws_queue_destroy(queue);
}

/* ==== several clients in one thread ==== */

struct stopper {
    stws *clients[3];
    struct shared *count;
    int target;
};

static void *stop_when_reached(void *argument) {
    struct stopper *s = (struct stopper *)argument;
    int i;
    wait_for_value(s->count, s->target);
    for (i = 0; i < 3; i++) stws_stop(s->clients[i]);
    return NULL;
}

static void test_run_many(void) {
    struct shared count = {PTHREAD_MUTEX_INITIALIZER, 0};
    struct stopper stopper;
    struct loopback server;
    stws_options o;
    long long begun;
    pthread_t other;
    int i;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.on_message = count_message;
    o.user = &count;
    for (i = 0; i < 3; i++) {
        stopper.clients[i] = stws_create(&o);
        CHECK(stws_subscribe(stopper.clients[i], "/flood/50", NULL) > 0);
    }
    begun = now_ms();
    CHECK_INT(STWS_ERR_TIMEOUT, stws_run_many(stopper.clients, 3, 200));
    CHECK(now_ms() - begun >= 199 && now_ms() - begun < 10000);
    stopper.count = &count;
    stopper.target = 150;
    if (pthread_create(&other, NULL, stop_when_reached, &stopper) != 0) abort();
    CHECK_INT(0, stws_run_many(stopper.clients, 3, 60000));
    pthread_join(other, NULL);
    CHECK_INT(150, count.value);
    for (i = 0; i < 3; i++) stws_destroy(stopper.clients[i]);
    end_server(&server);
    CHECK_INT(3, server.links_total);
}

/* The program's own loop, with poll. It must wake when there is something to do, and only then. */
static void test_a_custom_loop(void) {
    struct shared count = {PTHREAD_MUTEX_INITIALIZER, 0};
    struct loopback server;
    struct pollfd polled[3];
    stws_fd fds[3];
    stws_options o;
    stws *client;
    long long until = now_ms() + 60000, after = 0;
    int turns = 0, i, n, result = 0;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.on_message = count_message;
    o.user = &count;
    client = stws_create(&o);
    CHECK(stws_subscribe(client, "/flood/10", NULL) > 0);
    while (now_ms() < until && result == 0) {
        long long left, due;
        result = stws_step(client);
        /* No more messages arrive after these ten. */
        if (!after && shared_get(&count) == 10) after = until = now_ms() + 300;
        left = until > now_ms() ? until - now_ms() : 0;
        due = stws_deadline(client);
        n = stws_fds(client, fds, 3);
        for (i = 0; i < n; i++) {
            polled[i].fd = fds[i].fd;
            polled[i].events = (short)((fds[i].wants & STWS_WANT_READ ? POLLIN : 0) |
                                       (fds[i].wants & STWS_WANT_WRITE ? POLLOUT : 0));
        }
        poll(polled, (nfds_t)n, (int)(due >= 0 && due < left ? due : left));
        turns++;
    }
    CHECK_INT(0, result);
    CHECK_INT(10, count.value);
    CHECK(turns < 40);
    stws_destroy(client);
    end_server(&server);
}

/* ==== other tests that need a network ==== */

/* Each reply ends its wait before the time-out. */
static void test_a_request_and_its_reply(void) {
    stws_outgoing m = {.destination = "/queue/rpc", .body = "ping", .body_len = 4};
    stws_message *reply = NULL;
    struct loopback server;
    stws_options o;
    stws *client;
    long long begun;
    int i;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    client = stws_create(&o);
    begun = now_ms();
    for (i = 0; i < 10; i++) {
        CHECK_INT(0, stws_request(client, &m, &reply, 30000));
        CHECK_STR("re: ping", reply ? reply->body : NULL);
        stws_message_free(reply);
    }
    CHECK(now_ms() - begun < 30000);
    stws_destroy(client);
    end_server(&server);
}

/* The server resets the connection while the client keeps sending. The process must not get a
   SIGPIPE. */
static void test_a_reset_while_sending(void) {
    struct loopback server;
    stws_statistics stats;
    stws_options o;
    stws *client;
    char body[4000];
    int i, k, result;
    memset(body, 'x', sizeof body);
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.stable_ms = 1;
    client = stws_create(&o);
    CHECK_INT(0, stws_start(client));
    for (i = 0; i < 5; i++) {
        CHECK(wait_for_state(client, STWS_CONNECTED));
        stws_send(client, "/slam", "x", 1);
        for (k = 0; k < 50; k++) stws_send(client, "/topic/a", body, sizeof body);
        pause_ms(5);
    }
    stws_stats(client, &stats); /* the client may not have noticed a reset yet */
    for (i = 0; i < 1000 && stats.reconnects < 1; i++) {
        pause_ms(10);
        stws_stats(client, &stats);
    }
    CHECK(stats.reconnects >= 1);
    CHECK(wait_for_state(client, STWS_CONNECTED));
    stws_disconnect(client, 5000);
    /* The last reset may come only now, and lose frames that were written. */
    result = stws_join(client);
    CHECK(result == 0 || result == STWS_ERR_LOST);
    stws_destroy(client);
    end_server(&server);
}

/* The addresses are tried in turn. The URL's host name stays in the Host header and is never
   resolved. */
static void test_addresses(void) {
    static const char *const addresses[] = {"127.0.0.2", "::1", "127.0.0.1", NULL};
    struct loopback server;
    struct bytes url = {0};
    stws_options o;
    stws *client;
    loopback_start(&server, 0, 0);
    bytes_print(&url, "ws://nosuch.invalid:%d/stomp", server.port);
    o = options_for(&server);
    o.url = url.data;
    o.addresses = addresses;
    o.reconnect = STWS_OFF;
    client = stws_create(&o);
    CHECK_INT(0, stws_connect(client, 5000));
    stws_destroy(client);
    end_server(&server);
    CHECK_INT(1, server.links_total);
    bytes_free(&url);
}

/* A client runs in its own thread, and this thread ends it in one of three ways. The request must
   never be missed, whatever the timing. Returns the milliseconds that the end took. */
static long long short_life(const stws_options *o, int way) {
    stws *client = stws_create(o);
    long long begun;
    CHECK_INT(0, stws_start(client));
    if (way != 0) CHECK(wait_for_state(client, STWS_CONNECTED));
    begun = now_ms();
    if (way == 2)
        CHECK_INT(0, stws_disconnect(client, 5000));
    else
        stws_stop(client);
    CHECK_INT(0, stws_join(client));
    stws_destroy(client);
    return now_ms() - begun;
}

/* No client leaves anything behind, not even a descriptor. */
static void test_many_short_lives(void) {
    struct loopback server;
    stws_options o;
    int i, first, last;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    first = dup(0);
    close(first);
    for (i = 0; i < 150; i++) CHECK(short_life(&o, i % 3) < 5000);
    end_server(&server);
    last = dup(0);
    close(last);
    CHECK(last <= first);
}

int main(void) {
    RUN(test_senders_in_four_threads); /* [T1] */
    RUN(test_senders_that_block);
    RUN(test_senders_with_confirm_over_ipv6);
    RUN(test_returning_a_message_during_destroy);
    RUN(test_a_sender_that_waits_for_receipts);
    RUN(test_a_blocked_sender_gives_up);
    RUN(test_connect_here_and_drive_there);
    RUN(test_subscribers_in_three_threads); /* [T1] */
    RUN(test_stop_wakes_a_blocked_run);     /* [D1] */
    RUN(test_stop_from_a_signal_handler);   /* [T2] */
    RUN(test_a_queue_between_three_and_three);
    RUN(test_a_small_queue_holds_the_clients_back); /* [D4] */
    RUN(test_waiting_at_an_empty_queue);
    RUN(test_run_many);      /* [D2] */
    RUN(test_a_custom_loop); /* [D3] */
    RUN(test_a_request_and_its_reply);
    RUN(test_a_reset_while_sending);
    RUN(test_addresses);
    RUN(test_many_short_lives);
    return test_report();
}
