/* test_calls.c - every system call and every allocation of the header fails, one at a time, once
   and permanently, with each error that it may have. The client must never crash, leak, hang or
   report something wrong.

   failing.h has the table of the call sites; a test compares the table with the text of the header.
   For each site several programs run against a real server on loopback, again and again, and each
   time another call of the site fails. The programs are: `talk` (one thread: connect, subscribe,
   send with confirm, large messages, a request, reconnect, end), `threads` (a client in its own
   thread, a small queue, sends from another thread), `many` (clients in caller-supplied memory,
   without getrandom, driven together), `plain` (without confirm, on a slow network) and `quiet` (no
   heart-beat arrives). Checks after each run:

     - the program ended in time; if not, an alarm prints what hangs
     - no descriptor is open, no heap block is in use (ASan finds further errors)
     - every send has an outcome; confirmed messages have reached the server; if no error was
   reported, every message has come back
     - every end has a result code and an error text */
#define STOMP_WS_IMPLEMENTATION
#include "failing.h"

#include "loopback.h"

#include "call_sites.h"

#include <signal.h>

enum { BODIES = 8, LARGE = 70000, LAST_CALL = 40, RUN_SECONDS = 60, BEAT_MS = 2000 };

/* The most time that a program may take, on the shifted clock: several attempts and their
   time-outs. */
enum { MOST_MS = 45000 };

static struct loopback server;

/* ==== messages that reached the server ==== */

static struct arrived {
    pthread_mutex_t mutex;
    int run;
    int bodies[BODIES];
} arrived = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* A body is "RUN NUMBER"; a large body is padded with blanks. Returns the number, or -1 if the body
   belongs to another run. */
static int number_of(const char *body, int run) {
    int of_run = -1, number = -1;
    if (sscanf(body, "%d %d", &of_run, &number) != 2 || of_run != run) return -1;
    return number >= 0 && number < BODIES ? number : -1;
}

static void note_arrival(const stws_frame *frame) {
    int number;
    pthread_mutex_lock(&arrived.mutex);
    number = number_of(frame->body, arrived.run);
    if (number >= 0) arrived.bodies[number]++;
    pthread_mutex_unlock(&arrived.mutex);
}

static int has_arrived(int number) {
    int count;
    pthread_mutex_lock(&arrived.mutex);
    count = arrived.bodies[number];
    pthread_mutex_unlock(&arrived.mutex);
    return count > 0;
}

/* ==== one run: the sends of a client and their outcomes ==== */

struct outcome {
    const stws *client; /* NULL: nothing was sent */
    int receipt, reported, result;
};

struct run {
    pthread_mutex_t mutex; /* a client in its own thread shares this struct with the main thread */
    int number, late;
    char destination[32];
    struct outcome outcomes[BODIES];
    int seen[BODIES];
    int errors; /* errors reported in any way */
    int mute;   /* errors reported without a text */
    int acks_refused;
    stws_queue *queue; /* closed when some messages will not arrive any more */
    int stops;         /* 1: stop the client when its message has an outcome */
    long long begun_ms;
    int patience_ms; /* limit for calls that wait: after a failure an answer may never arrive */
};

static int run_number;

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int is_late(struct run *r) {
    if (now_ms() - r->begun_ms < MOST_MS) return 0;
    r->late = 1;
    return 1;
}

static void note_error(struct run *r, int result, const char *text) {
    if (result == STWS_OK || result == STWS_CLOSED) return; /* requested, so not an error */
    r->errors++;
    if (!text || !*text) r->mute++;
}

static void count_error(struct run *r) {
    pthread_mutex_lock(&r->mutex);
    r->errors++;
    pthread_mutex_unlock(&r->mutex);
}

static void on_event(stws *client, const stws_event *e, void *user) {
    struct run *r = (struct run *)user;
    int i, reported = 0;
    pthread_mutex_lock(&r->mutex);
    if (e->type == STWS_EVENT_DISCONNECTED || e->type == STWS_EVENT_ERROR)
        note_error(r, e->result, e->text);
    for (i = 0; i < BODIES && e->type == STWS_EVENT_RECEIPT; i++) {
        struct outcome *o = &r->outcomes[i];
        if (o->client != client || o->receipt != e->receipt) continue;
        o->reported++;
        o->result = e->result;
        reported = 1;
    }
    pthread_mutex_unlock(&r->mutex);
    if (reported && r->stops) stws_stop(client);
    if (r->queue && ((reported && e->result != STWS_OK) ||
                     (e->type == STWS_EVENT_DISCONNECTED && e->retry_ms < 0)))
        stws_queue_close(r->queue);
}

static void note_seen(struct run *r, const char *body) {
    int number = number_of(body, r->number);
    pthread_mutex_lock(&r->mutex);
    if (number >= 0) r->seen[number]++;
    pthread_mutex_unlock(&r->mutex);
}

static void on_message(stws *client, const stws_message *message, void *user) {
    struct run *r = (struct run *)user;
    stws_message *copy = stws_message_copy(message);
    note_seen(r, message->body);
    if (!copy) r->errors++;
    if (copy) CHECK_MEM(message->body, message->body_len, copy->body, copy->body_len);
    stws_message_free(copy);
    if (stws_ack(client, message) != 0) r->acks_refused++;
}

static void ask(struct run *r, stws *client, int number, size_t len) {
    struct outcome *o = &r->outcomes[number];
    stws_outgoing m = {.destination = r->destination, .receipt = 1};
    char *body = (char *)malloc(len + 32);
    if (!body) abort();
    memset(body, ' ', len + 32);
    m.body_len = (size_t)snprintf(body, 32, "%d %d ", r->number, number);
    body[m.body_len] = ' ';
    m.body_len += len;
    m.body = body;
    pthread_mutex_lock(&r->mutex);
    o->receipt = stws_send_ex(client, &m);
    o->client = client;
    if (o->receipt < 0) o->reported = 1, o->result = o->receipt, r->errors++;
    pthread_mutex_unlock(&r->mutex);
    free(body);
}

static int is_reported(struct run *r, int number) {
    int reported;
    pthread_mutex_lock(&r->mutex);
    reported = r->outcomes[number].reported;
    pthread_mutex_unlock(&r->mutex);
    return reported;
}

static void begin_run(struct run *r, const char *name) {
    memset(r, 0, sizeof *r);
    pthread_mutex_init(&r->mutex, NULL);
    r->number = ++run_number;
    snprintf(r->destination, sizeof r->destination, "/topic/%s-%d", name, r->number);
    pthread_mutex_lock(&arrived.mutex);
    arrived.run = r->number;
    memset(arrived.bodies, 0, sizeof arrived.bodies);
    pthread_mutex_unlock(&arrived.mutex);
    r->begun_ms = now_ms();
}

/* Checks that apply at the end of any run, after the client was destroyed. */
static void end_run(struct run *r) {
    int i;
    CHECK_INT(0, r->late);
    CHECK_INT(0, r->mute);
    for (i = 0; i < BODIES; i++) {
        const struct outcome *o = &r->outcomes[i];
        if (!o->client) continue;
        CHECK_INT(1, o->reported);
        if (o->reported && o->result == STWS_OK) CHECK(has_arrived(i));
        if (!r->seen[i] && o->result == STWS_OK) CHECK(r->errors > 0);
    }
    pthread_mutex_destroy(&r->mutex);
}

static stws_options options_of(struct run *r) {
    stws_options o = stws_options_default();
    o.url = server.url;
    o.on_event = on_event;
    o.on_message = on_message;
    o.user = r;
    o.confirm = 1;
    o.reconnect_min_ms = 1;
    o.reconnect_max_ms = 5;
    o.reconnect_jitter = STWS_OFF;
    o.reconnect_attempts = 3;
    o.stable_ms = 1;
    o.connect_timeout_ms = o.handshake_timeout_ms = o.connected_timeout_ms = 2000;
    o.receipt_timeout_ms = o.write_timeout_ms = 3000;
    return o;
}

/* ==== talk: one thread ==== */

/* Drives the client until that message has an outcome. Returns 0, or the error with which the
   client ended. */
static int drive_until_reported(struct run *r, stws *client, int number) {
    int result = stws_step(client);
    while (result >= 0 && !is_reported(r, number) && !is_late(r)) {
        stws_fd fds[3];
        struct pollfd polled[3];
        long long ms = stws_deadline(client);
        int i, n = stws_fds(client, fds, 3);
        for (i = 0; i < n; i++) {
            polled[i].fd = fds[i].fd;
            polled[i].revents = 0;
            polled[i].events = (short)((fds[i].wants & STWS_WANT_READ ? POLLIN : 0) |
                                       (fds[i].wants & STWS_WANT_WRITE ? POLLOUT : 0));
        }
        poll(polled, (nfds_t)n, ms < 0 || ms > 1000 ? 1000 : (int)ms);
        result = stws_step(client);
    }
    return result < 0 ? result : 0;
}

static int converse(struct run *r, stws *client) {
    stws_subscribe_options individual = {.ack = STWS_ACK_CLIENT_INDIVIDUAL, .receipt = 1};
    stws_outgoing question = {.destination = "/queue/rpc", .body = "?", .body_len = 1};
    stws_message *reply = NULL;
    int result;
    CHECK(stws_subscribe(client, r->destination, &individual) > 0);
    ask(r, client, 0, 0);
    result = stws_connect(client, 10000);
    if (result < 0) r->errors++;
    if (result < 0 && stws_state(client) == STWS_ENDED) return result;
    result = drive_until_reported(r, client, 0);
    if (result < 0) return result;
    ask(r, client, 1, LARGE);
    ask(r, client, 2, 0);
    result = stws_flush(client, r->patience_ms);
    if (result < 0) r->errors++;
    result = stws_request(client, &question, &reply, r->patience_ms);
    if (result < 0) r->errors++;
    if (reply) CHECK_STR("re: ?", reply->body);
    CHECK_INT(result == 0, reply != NULL);
    stws_message_free(reply);
    CHECK_INT(0, stws_reconnect_now(client));
    ask(r, client, 3, 0);
    result = drive_until_reported(r, client, 3);
    if (result < 0) return result;
    CHECK_INT(0, stws_disconnect(client, r->patience_ms));
    return stws_run(client) < 0 ? stws_error(client) : STWS_CLOSED;
}

/* After its end, a client has a result code and an error text. */
static void check_end(struct run *r, stws *client, int result) {
    CHECK_INT(STWS_ENDED, stws_state(client));
    if (result != STWS_CLOSED) note_error(r, result, stws_error_text(client));
    stws_destroy(client);
}

/* Returns a client, or NULL after checking that the failure was reported. */
static stws *create(struct run *r, const stws_options *o) {
    stws *client = stws_create(o);
    int result;
    if (client && stws_state(client) != STWS_ENDED) return client;
    result = stws_connect(client, 1000);
    CHECK(result == STWS_ERR_MEMORY || (client && result == STWS_ERR_IO));
    note_error(r, result, stws_error_text(client));
    stws_destroy(client);
    return NULL;
}

static void talk(struct run *r) {
    stws_options o = options_of(r);
    char url[80];
    stws *client;
    snprintf(url, sizeof url, "ws://localhost:%d/stomp/websocket", server.port);
    o.url = url;
    client = create(r, &o);
    if (client) check_end(r, client, converse(r, client));
}

/* ==== threads: a client in its own thread, and a queue that is too small for the flood ==== */

enum { FLOOD = 40, QUEUE = 2048 };

/* Returns 0 until both sends have an outcome, then 1; or 2 if an outcome is bad, because then some
   messages never arrive. */
static int are_reported(struct run *r) {
    int i, reported = 0, bad = 0;
    pthread_mutex_lock(&r->mutex);
    for (i = 0; i < 2; i++) {
        reported += r->outcomes[i].reported;
        bad |= r->outcomes[i].result != STWS_OK;
    }
    pthread_mutex_unlock(&r->mutex);
    return reported < 2 ? 0 : 1 + bad;
}

/* Pops messages until the flood and all outcomes have arrived, or on_event has closed the queue. */
static void pop_all(struct run *r, stws_queue *queue) {
    const stws_message *message = NULL;
    int flood = 0, result = 0;
    while (result != STWS_CLOSED && !is_late(r)) {
        int reported = are_reported(r);
        if (reported == 2 || (reported && flood >= FLOOD)) break;
        result = stws_queue_pop(queue, &message, flood < FLOOD / 2 && !reported ? -1 : 5);
        if (result == 1 && strcmp(message->destination, r->destination) != 0) flood++;
        if (result == 1) note_seen(r, message->body);
    }
    while (result != STWS_CLOSED && stws_queue_pop(queue, &message, 0) == 1)
        note_seen(r, message->body);
}

static void run_in_thread(struct run *r, stws_queue *queue, stws *client) {
    char flood[32];
    int result;
    snprintf(flood, sizeof flood, "/flood/%d", FLOOD);
    CHECK(stws_subscribe(client, r->destination, NULL) > 0);
    CHECK(stws_subscribe(client, flood, NULL) > 0);
    result = stws_start(client);
    if (result < 0) {
        note_error(r, result, stws_result_text(result));
        stws_destroy(client);
        return;
    }
    ask(r, client, 0, 0);
    ask(r, client, 1, 0);
    pop_all(r, queue);
    if (stws_flush(client, r->patience_ms) < 0) count_error(r);
    stws_queue_close(queue);
    if (stws_disconnect(client, r->patience_ms) < 0) count_error(r);
    result = stws_join(client);
    check_end(r, client, result == 0 ? STWS_CLOSED : result);
}

static void threads(struct run *r) {
    stws_queue *queue = stws_queue_create(QUEUE);
    stws_options o = options_of(r);
    const stws_message *nothing = NULL;
    stws *client;
    if (!queue) {
        r->errors++;
        return;
    }
    CHECK_INT(0, stws_queue_pop(queue, &nothing, 1));
    o.on_message = NULL;
    o.queue = r->queue = queue;
    client = create(r, &o);
    if (client) run_in_thread(r, queue, client);
    stws_queue_destroy(queue);
}

/* ==== many: clients in caller-supplied memory, without getrandom, with two addresses ==== */

enum { CLIENTS = 2, MEMORY = 1 << 22 };

static stws *init_one(struct run *r, void *memory, int i) {
    static const char *const addresses[] = {"::1", "127.0.0.1", NULL};
    stws_options o = options_of(r);
    const char *why = NULL;
    stws *client = NULL;
    o.single_thread = i;
    o.addresses = addresses;
    if (stws_init(memory, MEMORY, &o, &client, &why) == STWS_OK) return client;
    note_error(r, STWS_ERR_IO, why);
    CHECK(client == NULL);
    return NULL;
}

static void many(struct run *r) {
    static long long memory[CLIENTS][MEMORY / sizeof(long long)];
    stws *clients[CLIENTS];
    int i, n = 0;
    plan.without_getrandom = r->stops = 1;
    for (i = 0; i < CLIENTS; i++) {
        clients[n] = init_one(r, memory[i], i);
        if (!clients[n]) continue;
        CHECK(stws_subscribe(clients[n], r->destination, NULL) > 0);
        ask(r, clients[n], i, 0);
        n++;
    }
    CHECK_INT(0, stws_run_many(clients, n, MOST_MS));
    for (i = 0; i < n; i++) check_end(r, clients[i], stws_error(clients[i]));
}

/* ==== plain: without confirm, on a network that takes few bytes at a time ==== */

static void plain(struct run *r) {
    stws_options o = options_of(r);
    stws *client;
    int result;
    plan.slow = r->stops = 1;
    o.confirm = 0;
    o.single_thread = 1;
    client = create(r, &o);
    if (!client) return;
    CHECK(stws_subscribe(client, r->destination, NULL) > 0);
    if (stws_connect(client, r->patience_ms) < 0) r->errors++;
    ask(r, client, 0, LARGE);
    if (stws_flush(client, r->patience_ms) < 0) count_error(r);
    result = stws_run(client);
    check_end(r, client, result == 0 ? STWS_CLOSED : result);
}

/* ==== quiet: time passes faster than the server's heart-beats arrive ==== */

enum { QUIET_STEP_US = 2000000, QUIET_STEPS = 100 };

static void pass_time(long long us) {
    pthread_mutex_lock(&plan.mutex);
    plan.skew_us += us;
    pthread_mutex_unlock(&plan.mutex);
}

static void quiet(struct run *r) {
    stws_options o = options_of(r);
    stws *client;
    int i, result = 0;
    o.reconnect = STWS_OFF;
    client = create(r, &o);
    if (!client) return;
    result = stws_connect(client, r->patience_ms);
    if (result < 0 && stws_state(client) != STWS_ENDED) {
        count_error(r);
        stws_destroy(client);
        return;
    }
    for (i = 0; i < QUIET_STEPS && result >= 0; i++) {
        pass_time(QUIET_STEP_US);
        (void)stws_deadline(client);
        result = stws_step(client);
    }
    CHECK(result < 0);
    r->begun_ms = now_ms();
    check_end(r, client, result);
    CHECK(r->errors > 0);
    if (result == STWS_ERR_HEARTBEAT) r->errors = 0; /* as expected */
}

/* ==== failures ==== */

static const struct program {
    const char *name;
    void (*run)(struct run *r);
} programs[] = {
    {"talk", talk}, {"threads", threads}, {"many", many}, {"plain", plain}, {"quiet", quiet}};
enum { PROGRAMS = sizeof programs / sizeof *programs };

static int most[PROGRAMS][SITES], failures[SITES];
static char doing[200]; /* for the alarm */

static void on_alarm(int number) {
    static const char text[] = "\nHANGS\n0 passed, 1 failed\n";
    (void)number;
    if (write(1, doing, strlen(doing)) < 0 || write(1, text, sizeof text - 1) < 0) _exit(2);
    _exit(1);
}

static int open_descriptors(void) {
    int fd, count = 0;
    for (fd = 0; fd < FD_LIMIT; fd++) count += kind_of(fd) != FD_NONE;
    return count;
}

static void make_plan(int site, int nth, int error, int lasting) {
    pthread_mutex_lock(&plan.mutex);
    memset(plan.calls, 0, sizeof plan.calls);
    memset(plan.kinds, FD_NONE, sizeof plan.kinds);
    plan.site = site;
    plan.nth = nth;
    plan.error = error;
    plan.lasting = lasting;
    plan.fired = plan.strangers = plan.blocks = plan.without_getrandom = plan.slow = 0;
    plan.skew_us = 0;
    pthread_mutex_unlock(&plan.mutex);
}

/* Runs a program once with that failure (site -1: without a failure). Returns 1 if the call was
   reached. */
static int run_once(int program, int site, int nth, int error, int lasting) {
    int before = test_case_failures, i;
    struct run r;
    make_plan(site, nth, error, lasting);
    snprintf(doing, sizeof doing, "%s: %s in %s, call %d%s, error %d", programs[program].name,
             site < 0 ? "nothing fails" : sites[site].call, site < 0 ? "it" : sites[site].function,
             nth, lasting ? " and all after it" : "", error);

    alarm(RUN_SECONDS);
    begin_run(&r, programs[program].name);
    r.patience_ms = site < 0 ? 20000 : 300;
    programs[program].run(&r);
    end_run(&r);
    alarm(0);
    CHECK_INT(0, plan.strangers);
    CHECK_INT(0, plan.blocks);
    CHECK_INT(0, open_descriptors());
    if (site < 0) CHECK_INT(0, r.errors);
    for (i = 0; i < SITES; i++)
        if (plan.calls[i] > most[program][i] && site < 0) most[program][i] = plan.calls[i];
    if (test_case_failures != before) printf("... %s\n", doing);
    return plan.fired != 0;
}

/* Fails each call of the site once, and permanently from the first and from the middle call on. */
static void fail_site_in(int program, int site) {
    const int *error;
    int nth, last = most[program][site] < LAST_CALL ? most[program][site] : LAST_CALL;
    for (error = sites[site].errors; *error; error++) {
        for (nth = 1; nth <= last; nth++) failures[site] += run_once(program, site, nth, *error, 0);
        if (*error == EINTR) continue; /* signals do not arrive forever */
        if (last) failures[site] += run_once(program, site, 1, *error, 1);
        if (last > 3) failures[site] += run_once(program, site, last / 2, *error, 1);
    }
}

/* ==== the table agrees with the header ==== */

static int is_one_of(const char *name, const char *const *list) {
    for (; *list; list++)
        if (strcmp(name, *list) == 0) return 1;
    return 0;
}

/* Names that are not calls, calls that cannot fail, and calls that only compute. */
static int is_harmless(const char *name) {
    static const char *const names[] = {"if",
                                        "for",
                                        "while",
                                        "switch",
                                        "return",
                                        "sizeof",
                                        "defined",
                                        "void",
                                        "memcpy",
                                        "__atomic_exchange_n",
                                        "__atomic_compare_exchange_n",
                                        "getpid",
                                        "offsetof",
                                        "memset",
                                        "memcmp",
                                        "memchr",
                                        "memmove",
                                        "strlen",
                                        "strchr",
                                        "strcmp",
                                        "strncmp",
                                        "strstr",
                                        "strcspn",
                                        "volatile",
                                        "strspn",
                                        "sscanf",
                                        "getenv",
                                        "snprintf",
                                        "htons",
                                        "vsnprintf",
                                        "va_start",
                                        "va_end",
                                        "inet_pton",
                                        "gai_strerror",
                                        "malloc",
                                        "free",
                                        "format",
                                        "__attribute__",
                                        "vector_size",
                                        "aligned",
                                        "target",
                                        "vld1q_u8",
                                        "vqtbl1q_u8",
                                        "vmaxvq_u8",
                                        "bits",
                                        "name",
                                        "__atomic_load_n",
                                        "__atomic_store_n",
                                        "STOMP_WS_ASSERT",
                                        NULL};
    static const char *const prefixes[] = {"stws_", "STWS_", "br_", "_mm_", "__builtin_", NULL};
    int i;
    for (i = 0; prefixes[i]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return 1;
    return is_one_of(name, names);
}

/* Returns the row of the table with that call: first the rows that can fail, then those that
   cannot. */
static int row_of(const char *function, const char *call) {
    int i, site = site_of(function, call);
    for (i = 0; i < SURE_SITES && site < 0; i++)
        if (strcmp(sure_sites[i].function, function) == 0 && strcmp(sure_sites[i].call, call) == 0)
            site = SITES + i;
    return site;
}

/* Function pointers: members of structs, and parameters that are called by their name. */
static int is_callback(const char *name) {
    static const char *const names[] = {"use", "call", NULL};
    return is_one_of(name, names);
}

static void check_table_row(const char *function, const char *call, int times, int found) {
    if (found == times) return;
    CHECK_INT(times, found);
    printf("... %s in %s\n", call, function);
}

static void test_the_table_agrees_with_the_header(void) {
    struct scan scan;
    int i, calls = 0, found[SITES + SURE_SITES] = {0};
    CHECK(scan_open(&scan, "stomp_ws.h"));
    while (scan_next(&scan)) {
        int row = row_of(scan.within, scan.call);
        if (row >= 0) found[row]++;
        if (is_harmless(scan.call) || is_callback(scan.call)) continue;
        calls++;
        if (row >= 0) continue;
        CHECK_STR("a call in the table", scan.call);
        printf("... in %s\n", scan.within);
    }
    scan_close(&scan);
    CHECK(calls > 50);
    for (i = 0; i < SITES; i++)
        check_table_row(sites[i].function, sites[i].call, sites[i].times, found[i]);
    for (i = 0; i < SURE_SITES; i++)
        check_table_row(sure_sites[i].function, sure_sites[i].call, sure_sites[i].times,
                        found[SITES + i]);
}

/* ==== all sites ==== */

static void test_nothing_fails(void) {
    int i;
    for (i = 0; i < 3 * PROGRAMS; i++) run_once(i % PROGRAMS, -1, 0, 0, 0);
}

static int this_site;

static void test_this_site(void) {
    int program;
    for (program = 0; program < PROGRAMS; program++) fail_site_in(program, this_site);
    CHECK(failures[this_site] > 0);
}

static int descriptors_before;

static int descriptors_of_process(void) {
    int fd, count = 0;
    for (fd = 0; fd < FD_LIMIT; fd++) count += fcntl(fd, F_GETFD, 0) >= 0;
    return count;
}

static void test_the_server_saw_nothing_odd(void) {
    loopback_stop(&server);
    CHECK_INT(0, server.odd);
    CHECK_INT(descriptors_before, descriptors_of_process());
}

static void print_sites(void) {
    int i, total = 0;
    for (i = 0; i < SITES; i++) {
        printf("%-24s in %-24s failed %4d times\n", sites[i].call, sites[i].function, failures[i]);
        total += failures[i];
    }
    for (i = 0; i < SURE_SITES; i++)
        printf("%-24s in %-24s never: %s\n", sure_sites[i].call, sure_sites[i].function,
               sure_sites[i].why);
    printf("%d calls failed at %d sites; %d sites cannot fail\n", total, SITES, SURE_SITES);
}

/* Tests all sites, or only the sites whose name contains the argument. */
int main(int argc, char **argv) {
    struct sigaction action;
    char name[100];
    setvbuf(stdout, NULL, _IOLBF, 0);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, NULL);
    descriptors_before = descriptors_of_process();
    RUN(test_the_table_agrees_with_the_header);
    loopback_start_with(&server, 0, 0, BEAT_MS, note_arrival);
    RUN(test_nothing_fails);
    for (this_site = 0; this_site < SITES; this_site++) {
        snprintf(name, sizeof name, "%s in %s", sites[this_site].call, sites[this_site].function);
        if (argc < 2 || strstr(name, argv[1])) test_run(name, test_this_site);
    }
    RUN(test_the_server_saw_nothing_odd);
    print_sites();
    return test_report();
}
