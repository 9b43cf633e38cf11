/* test_driving.c - tests the rule that only one thread at a time drives a client: which calls other
   threads may make meanwhile, which calls are refused, and with which error text. Uses real sockets
   on the loopback interface. */
#include "loopback.h"

#include <sched.h>
#include <sys/wait.h>

enum { ROUNDS = 150, LONG_MS = 20000 };

static stws_options options_for(const struct loopback *server) {
    stws_options o = stws_options_default();
    o.url = server->url;
    o.reconnect_min_ms = 20;
    return o;
}

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_for_state(const stws *client, stws_connection_state state) {
    long long until = now_ms() + 60000;
    while (stws_state(client) != state && now_ms() < until) sched_yield();
    return stws_state(client) == state;
}

static void *run(void *client) {
    int *result = (int *)malloc(sizeof *result);
    if (!result) abort();
    *result = stws_run((stws *)client);
    return result;
}

static pthread_t start_thread(void *(*function)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, argument) != 0) abort();
    return thread;
}

/* Waits for the thread. Returns the result that its function left in an allocated block, or 0. */
static int join_thread(pthread_t thread) {
    void *block = NULL;
    int result;
    pthread_join(thread, &block);
    if (!block) return 0;
    result = *(int *)block;
    free(block);
    return result;
}

/* ==== flush while another thread drives ==== */

static void test_flush_while_another_thread_drives(void) {
    struct loopback server;
    stws_options o;
    int round;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.confirm = 1;
    for (round = 0; round < ROUNDS; round++) {
        stws *client = stws_create(&o);
        pthread_t runner = start_thread(run, client);
        CHECK_INT(0, stws_send(client, "/queue/a", "1", 1));
        CHECK_INT(0, stws_flush(client, LONG_MS));
        CHECK_INT(0, stws_send(client, "/queue/a", "2", 1));
        CHECK_INT(0, stws_flush(client, LONG_MS));
        stws_stop(client);
        CHECK_INT(0, join_thread(runner));
        stws_destroy(client);
    }
    loopback_stop(&server);
    CHECK_INT(2 * ROUNDS, server.sends);
    CHECK_INT(0, server.odd);
}

static void *send_and_flush(void *argument) {
    stws *client = (stws *)argument;
    int *result = (int *)calloc(1, sizeof *result), i;
    if (!result) abort();
    for (i = 0; i < 20 && *result == 0; i++) {
        *result = stws_send(client, "/queue/a", "x", 1);
        if (*result >= 0) *result = stws_flush(client, LONG_MS);
    }
    return result;
}

/* The program's own loop waits while another thread sends and flushes. The wake-up of the loop must
   still be pending after the flush. */
static void test_flush_keeps_the_wake_up_of_a_loop(void) {
    struct loopback server;
    struct pollfd wake = {-1, POLLIN, 0};
    stws_fd fds[3];
    stws_options o;
    stws *client;
    int n;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.confirm = 1;
    client = stws_create(&o);
    CHECK_INT(0, stws_connect(client, LONG_MS));
    stws_step(client);
    n = stws_fds(client, fds, 3);
    CHECK_INT(2, n);
    wake.fd = fds[1].fd;
    CHECK(stws_deadline(client) != 0);
    CHECK_INT(0, join_thread(start_thread(send_and_flush, client)));
    CHECK_INT(1, poll(&wake, 1, 0));
    stws_step(client);
    CHECK(stws_deadline(client) != 0);
    CHECK_INT(0, poll(&wake, 1, 0));
    stws_stop(client);
    CHECK_INT(0, stws_run(client));
    stws_destroy(client);
    loopback_stop(&server);
}

/* Only the flushing threads drive the client, and this thread makes a step now and then. */
static void test_flush_without_a_driving_thread(void) {
    struct loopback server;
    stws_options o;
    stws *client;
    pthread_t threads[3];
    int i;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.confirm = 1;
    client = stws_create(&o);
    for (i = 0; i < 3; i++) threads[i] = start_thread(send_and_flush, client);
    for (i = 0; i < 50; i++) {
        stws_step(client);
        sched_yield();
    }
    for (i = 0; i < 3; i++) CHECK_INT(0, join_thread(threads[i]));
    stws_stop(client);
    CHECK_INT(0, stws_run(client));
    stws_destroy(client);
    loopback_stop(&server);
    CHECK_INT(60, server.sends);
    CHECK_INT(0, server.odd);
}

/* A flush in a callback must not wait for the driving thread, because it runs in that thread. */
static void flush_when_connected(stws *client, const stws_event *event, void *user) {
    long long *took = (long long *)user, begin = now_ms();
    if (event->type != STWS_EVENT_CONNECTED) return;
    stws_send(client, "/queue/a", "x", 1);
    stws_flush(client, LONG_MS);
    *took = now_ms() - begin;
    stws_disconnect(client, LONG_MS);
}

static void test_flush_in_the_first_callback(void) {
    struct loopback server;
    long long took = -1;
    stws_options o;
    stws *client;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.on_event = flush_when_connected;
    o.user = &took;
    client = stws_create(&o);
    /* Makes this thread the first that drives. */
    CHECK_INT(STWS_ERR_TIMEOUT, stws_connect(client, 0));
    CHECK_INT(0, join_thread(start_thread(run, client)));
    CHECK(took >= 0 && took < LONG_MS);
    stws_destroy(client);
    loopback_stop(&server);
    CHECK_INT(1, server.sends);
}

/* ==== who may drive ==== */

static void check_refused(stws *client, int result) {
    CHECK_INT(STWS_ERR_STATE, result);
    CHECK_HAS("another thread drives", stws_error_text(client));
}

/* A thread that reads an event of stws_next. The event must stay valid until that thread calls
   again. */
struct reader {
    stws *client;
    pthread_mutex_t mutex;
    int looking;
};

static int is_looking(struct reader *r, int begins) {
    int looking;
    pthread_mutex_lock(&r->mutex);
    r->looking |= begins;
    looking = r->looking;
    pthread_mutex_unlock(&r->mutex);
    return looking;
}

static void *look_at_messages(void *argument) {
    struct reader *r = (struct reader *)argument;
    int *wrong = (int *)calloc(1, sizeof *wrong), result;
    long long until;
    stws_event e;
    char id[64];
    if (!wrong) abort();
    while ((result = stws_next(r->client, &e, -1)) > 0) {
        if (e.type != STWS_EVENT_MESSAGE) continue;
        snprintf(id, sizeof id, "%s", e.message->message_id);
        is_looking(r, 1);
        for (until = now_ms() + 60; now_ms() < until;) sched_yield();
        *wrong += !e.message->message_id || strcmp(id, e.message->message_id) != 0;
        result = stws_ack(r->client, e.message); /* stale after DISCONNECT was sent */
        *wrong += 10 * (result != STWS_OK && result != STWS_ERR_STALE);
    }
    *wrong += 100 * (result != STWS_CLOSED);
    return wrong;
}

enum beside { BESIDE_CONNECT, BESIDE_FLUSH, BESIDE_REQUEST, BESIDE_CLOSE, BESIDES };

static void check_calls_while_a_thread_reads(enum beside what) {
    stws_subscribe_options each = {.ack = STWS_ACK_CLIENT_INDIVIDUAL};
    stws_outgoing question = {.destination = "/queue/b", .body = "?", .body_len = 1};
    stws_message *reply = NULL;
    struct reader r = {NULL, PTHREAD_MUTEX_INITIALIZER, 0};
    struct loopback server;
    stws_options o;
    pthread_t thread;
    int i, result = 0;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    r.client = stws_create(&o);
    CHECK(stws_subscribe(r.client, "/queue/a", &each) > 0);
    for (i = 0; i < 3; i++) CHECK_INT(0, stws_send_text(r.client, "/queue/a", "x"));
    thread = start_thread(look_at_messages, &r);
    while (!is_looking(&r, 0)) sched_yield();
    if (what == BESIDE_CONNECT) CHECK_INT(0, stws_connect(r.client, LONG_MS));
    if (what == BESIDE_CONNECT || what == BESIDE_FLUSH) {
        CHECK_INT(0, stws_send_text(r.client, "/queue/b", "y"));
        CHECK_INT(0, stws_flush(r.client, LONG_MS));
    }
    if (what == BESIDE_REQUEST) {
        result = stws_request(r.client, &question, &reply, 20);
        CHECK(result == STWS_ERR_TIMEOUT || result == STWS_ERR_STATE);
    }
    CHECK_INT(0, stws_close(r.client, LONG_MS));
    CHECK_INT(0, join_thread(thread));
    stws_message_free(reply);
    stws_destroy(r.client);
    loopback_stop(&server);
    CHECK_INT(0, server.odd);
}

static void test_calls_while_a_thread_reads_an_event(void) {
    int what;
    for (what = 0; what < BESIDES; what++) check_calls_while_a_thread_reads((enum beside)what);
}

/* A thread flushes, which runs a callback, and meanwhile another thread waits to drive. A flush
   inside that callback must return immediately, with a documented result. */
struct flush_in_hook {
    pthread_t other;
    int begun, result;
};

static void *drive_once(void *client) {
    stws_step((stws *)client);
    return NULL;
}

static int flush_in_before_connect(stws *client, stws_attempt *attempt, void *user) {
    struct flush_in_hook *f = (struct flush_in_hook *)user;
    long long until = now_ms() + 200; /* by then the other thread waits */
    (void)attempt;
    if (f->begun++) return 0;
    f->other = start_thread(drive_once, client);
    while (now_ms() < until) sched_yield();
    f->result = stws_flush(client, 0);
    return 0;
}

static void test_flush_in_a_callback_of_a_flush(void) {
    struct flush_in_hook f = {0};
    struct loopback server;
    stws_options o;
    stws *client;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.before_connect = flush_in_before_connect;
    o.user = &f;
    client = stws_create(&o);
    CHECK_INT(0, join_thread(start_thread(send_and_flush, client)));
    CHECK_INT(0, join_thread(f.other));
    CHECK_STR("STWS_ERR_STATE", stws_result_name(f.result));
    stws_stop(client);
    CHECK_INT(0, stws_run(client));
    stws_destroy(client);
    loopback_stop(&server);
    CHECK_INT(20, server.sends);
}

static void test_two_threads_may_not_drive(void) {
    struct loopback server;
    stws_options o;
    stws_message *reply = NULL;
    stws_outgoing m = {"/queue/a", "x", 1, NULL, NULL, NULL, 0, 0};
    stws_event event;
    stws_fd fds[3];
    stws *client;
    pthread_t runner;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    client = stws_create(&o);
    runner = start_thread(run, client);
    CHECK(wait_for_state(client, STWS_CONNECTED));
    CHECK_STR("", stws_error_text(client));
    check_refused(client, stws_run(client));
    check_refused(client, stws_next(client, &event, 0));
    check_refused(client, stws_step(client));
    check_refused(client, stws_fds(client, fds, 3));
    check_refused(client, (int)stws_deadline(client));
    check_refused(client, stws_run_many(&client, 1, 0));
    check_refused(client, stws_request(client, &m, &reply, 10));
    check_refused(client, stws_start(client));
    CHECK_INT(0, stws_connect(client, LONG_MS)); /* it is already connected */
    stws_destroy(client);                        /* refused, too: the client still exists */
    CHECK_HAS("another thread drives", stws_error_text(client));
    stws_stop(client);
    CHECK_INT(0, join_thread(runner));
    stws_destroy(client);
    loopback_stop(&server);
}

static void drive_in_a_callback(stws *client, const stws_event *event, void *user) {
    int *refused = (int *)user;
    stws_event other;
    if (event->type != STWS_EVENT_CONNECTED) return;
    *refused += stws_run(client) == STWS_ERR_STATE;
    *refused += stws_next(client, &other, 0) == STWS_ERR_STATE;
    *refused += stws_step(client) == STWS_ERR_STATE;
    *refused += stws_connect(client, 0) == STWS_ERR_STATE;
    *refused += stws_deadline(client) == STWS_ERR_STATE;
    *refused += stws_join(client) == STWS_ERR_STATE;
    stws_destroy(client);
    *refused += strstr(stws_error_text(client), "callback") != NULL;
    stws_stop(client);
}

static void test_a_callback_may_not_drive(void) {
    struct loopback server;
    int single;
    loopback_start(&server, 0, 0);
    for (single = 0; single < 2; single++) {
        stws_options o = options_for(&server);
        int refused = 0;
        stws *client;
        o.single_thread = single;
        o.on_event = drive_in_a_callback;
        o.user = &refused;
        client = stws_create(&o);
        CHECK_INT(0, stws_run(client));
        CHECK_INT(7, refused);
        stws_destroy(client);
    }
    loopback_stop(&server);
}

static void test_start_then_connect(void) {
    struct loopback server;
    stws_options o;
    stws *client;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    client = stws_create(&o);
    CHECK_INT(0, stws_start(client));
    CHECK_INT(0, stws_connect(client, LONG_MS));
    CHECK_INT(STWS_CONNECTED, stws_state(client));
    stws_destroy(client); /* without stws_join: stws_destroy stops the thread and waits for it */
    loopback_stop(&server);
    CHECK_INT(1, server.disconnects);
    CHECK_INT(0, server.odd);
}

static void test_connect_while_the_thread_ends(void) {
    stws_options o = stws_options_default();
    stws *client;
    o.url = "ws://127.0.0.1:1/";
    o.reconnect = STWS_OFF;
    client = stws_create(&o);
    CHECK_INT(0, stws_start(client));
    CHECK_INT(STWS_ERR_CONNECT, stws_connect(client, LONG_MS));
    CHECK_INT(STWS_ERR_CONNECT, stws_join(client));
    CHECK_HAS("127.0.0.1", stws_error_text(client));
    stws_destroy(client);
}

/* ==== each thread has its own error text ==== */

static void *refuse_here(void *argument) {
    stws *client = (stws *)argument;
    int *wrong = (int *)calloc(1, sizeof *wrong);
    if (!wrong) abort();
#ifndef __TINYC__
    *wrong += strcmp(stws_error_text(client), "") != 0;
#endif
    *wrong += stws_subscribe(client, NULL, NULL) != STWS_ERR_USAGE;
    *wrong += strstr(stws_error_text(client), "destination") == NULL;
    return wrong;
}

static void test_each_thread_has_its_own_error_text(void) {
    struct loopback server;
    stws_options o;
    stws *client;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    client = stws_create(&o);
    CHECK_INT(0, stws_start(client));
    CHECK_INT(0, stws_connect(client, LONG_MS));
    CHECK_INT(STWS_ERR_USAGE, stws_unsubscribe(client, 77));
    CHECK_HAS("handle", stws_error_text(client));
    CHECK_INT(0, join_thread(start_thread(refuse_here, client)));
#ifndef __TINYC__ /* it has no thread-local variables */
    CHECK_HAS("handle", stws_error_text(client));
#endif
    stws_stop(client);
    CHECK_INT(0, stws_join(client));
    CHECK_STR("", stws_error_text(client));
    stws_destroy(client);
    loopback_stop(&server);
}

/* ==== on_trace ==== */

struct traced {
    int frames, inside, overlaps, shown;
};

static void look(stws *client, stws_direction direction, const stws_frame *frame, void *user) {
    struct traced *t = (struct traced *)user;
    size_t i;
    (void)client;
    t->overlaps += t->inside++;
    for (i = 0; i < frame->header_count; i++) {
        const stws_header *h = &frame->headers[i];
        int own = direction == STWS_SENT ? strcmp(h->name, "in") != 0 : strcmp(h->name, "out") != 0;
        t->shown += strstr(h->value, "secret") != NULL || !own;
    }
    t->frames++;
    t->inside--;
}

static void *send_secrets(void *argument) {
    static const char *const headers[] = {"out", "1", "Authorization", "secret", NULL};
    stws_outgoing m = {"/topic/a", "x", 1, NULL, NULL, headers, 0, 0};
    int *failed = (int *)calloc(1, sizeof *failed), i;
    if (!failed) abort();
    for (i = 0; i < 300; i++)
        if (stws_send_ex((stws *)argument, &m) < 0) sched_yield(), i--;
    return failed;
}

/* Two threads send and a third receives. Only one trace callback runs at a time, and each shows the
   headers of its own frame. */
static void test_trace_with_threads(void) {
    struct traced traced = {0, 0, 0, 0};
    struct loopback server;
    stws_options o;
    stws *client;
    pthread_t a, b;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.on_trace = look;
    o.user = &traced;
    client = stws_create(&o);
    CHECK(stws_subscribe(client, "/topic/a", NULL) > 0);
    CHECK_INT(0, stws_start(client));
    CHECK_INT(0, stws_connect(client, LONG_MS));
    a = start_thread(send_secrets, client);
    b = start_thread(send_secrets, client);
    CHECK_INT(0, join_thread(a) + join_thread(b));
    CHECK_INT(0, stws_flush(client, LONG_MS));
    stws_disconnect(client, LONG_MS);
    CHECK_INT(0, stws_join(client));
    stws_destroy(client);
    loopback_stop(&server);
    CHECK(traced.frames > 600);
    CHECK_INT(0, traced.overlaps);
    CHECK_INT(0, traced.shown);
}

/* ==== after fork() ==== */

static void *pop(void *queue) {
    const stws_message *message = NULL;
    while (stws_queue_pop((stws_queue *)queue, &message, -1) == 1) {
    }
    return NULL;
}

/* In the parent, one thread drives the client and one waits on the queue. The child must still be
   able to destroy both objects. */
static void test_destroy_in_a_child(void) {
    struct loopback server;
    stws_options o;
    stws *client;
    stws_queue *queue = stws_queue_create(0);
    pthread_t popper;
    int status = -1;
    pid_t child;
    loopback_start(&server, 0, 0);
    o = options_for(&server);
    o.queue = queue;
    client = stws_create(&o);
    popper = start_thread(pop, queue);
    CHECK_INT(0, stws_start(client));
    CHECK_INT(0, stws_connect(client, LONG_MS));
    child = fork();
    if (child == 0) {
        alarm(20); /* ends the child if it hangs */
        stws_destroy(client);
        stws_queue_destroy(queue);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK_INT(0, status);
    CHECK_INT(0, stws_send(client, "/queue/a", "x", 1)); /* the parent's client still works */
    CHECK_INT(0, stws_flush(client, LONG_MS));
    stws_queue_close(queue);
    pthread_join(popper, NULL);
    stws_destroy(client);
    stws_queue_destroy(queue);
    loopback_stop(&server);
    CHECK_INT(1, server.sends);
}

int main(void) {
    RUN(test_flush_while_another_thread_drives); /* [T1] */
    RUN(test_flush_keeps_the_wake_up_of_a_loop);
    RUN(test_flush_without_a_driving_thread);
    RUN(test_flush_in_the_first_callback);
    RUN(test_calls_while_a_thread_reads_an_event);
    RUN(test_flush_in_a_callback_of_a_flush);
    RUN(test_two_threads_may_not_drive);
    RUN(test_a_callback_may_not_drive);
    RUN(test_start_then_connect);
    RUN(test_connect_while_the_thread_ends);
    RUN(test_each_thread_has_its_own_error_text);
    RUN(test_trace_with_threads);
    RUN(test_destroy_in_a_child);
    return test_report();
}
