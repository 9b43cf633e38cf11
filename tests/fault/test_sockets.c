/* test_sockets.c - tests small guarantees of the client's own TCP transport, with real sockets:
   addresses that race, system calls that are interrupted, and a host name that the machine does not
   know. failing.h makes single calls fail. In the races only the test moves the clock. */
#define STOMP_WS_IMPLEMENTATION
#include "failing.h"

#include "loopback.h"

enum { PATIENCE_MS = 20000 }; /* limit for events that must come */

/* From now on the nth call of that site fails; if lasting, every later call fails, too. site -1: no
   call fails. */
static void make_plan(int site, int nth, int error, int lasting) {
    pthread_mutex_lock(&plan.mutex);
    memset(plan.calls, 0, sizeof plan.calls);
    plan.site = site;
    plan.nth = nth;
    plan.error = error;
    plan.lasting = lasting;
    plan.fired = 0;
    pthread_mutex_unlock(&plan.mutex);
}

/* ==== addresses that race ==== */

static long long race_now_us;

static long long race_now(void *ctx) {
    return (void)ctx, race_now_us;
}
static const stws_clock race_clock = {NULL, race_now, NULL};

static stws *begin_race(const struct loopback *server, const char *const *addresses,
                        int single_thread) {
    stws_options o = stws_options_default();
    stws *client;
    race_now_us = 1000000;
    o.url = server->url;
    o.addresses = addresses;
    o.single_thread = single_thread;
    o.clock = &race_clock;
    client = stws_create(&o);
    if (!client) abort();
    return client;
}

/* Returns the last byte of the IPv4 address that the socket is connected or connecting to: 1 for
   127.0.0.1. */
static int host_of(int fd) {
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    memset(&at, 0, sizeof at);
    CHECK_INT(0, getpeername(fd, (struct sockaddr *)&at, &len));
    return (int)(ntohl(at.sin_addr.s_addr) & 255);
}

/* Returns the number of the client's open sockets. Also checks that a program started by the caller
   inherits none of the client's descriptors. */
static int open_sockets(void) {
    int fd, count = 0;
    for (fd = 0; fd < FD_LIMIT; fd++) {
        if (kind_of(fd) == FD_NONE) continue;
        CHECK_INT(FD_CLOEXEC, fcntl(fd, F_GETFD, 0));
        count += kind_of(fd) == FD_SOCKET;
    }
    return count;
}

/* Waits as stws_fds requests, with a stopped clock, until the client is connected. */
static void finish_race(stws *client) {
    while (stws_state(client) != STWS_CONNECTED) {
        struct pollfd polled[3];
        stws_fd fds[3];
        int n = stws_fds(client, fds, 3), i;
        for (i = 0; i < n; i++) {
            polled[i].fd = fds[i].fd;
            polled[i].events = (short)((fds[i].wants & STWS_WANT_READ ? POLLIN : 0) |
                                       (fds[i].wants & STWS_WANT_WRITE ? POLLOUT : 0));
        }
        CHECK(poll(polled, (nfds_t)n, PATIENCE_MS) > 0);
        CHECK_INT(0, stws_step(client));
        if (test_case_failures) break;
    }
    CHECK_INT(STWS_CONNECTED, stws_state(client));
}

/* Two addresses race, and neither has answered yet. stws_fds must report both sockets. */
static void check_race(int single_thread) {
    static const char *const addresses[] = {"127.0.0.1", "127.0.0.1", NULL};
    struct loopback server;
    stws_fd fds[3];
    stws *client;
    loopback_start(&server, 0, 0);
    client = begin_race(&server, addresses, single_thread);
    make_plan(site_of("stws_p_tcp_finished", "poll"), 1, FAIL_EARLY, 1);
    CHECK_INT(0, stws_step(client));
    CHECK_INT(250, stws_deadline(client));
    CHECK_INT(2 - single_thread, stws_fds(client, fds, 3));
    race_now_us += 249000;
    CHECK_INT(0, stws_step(client));
    CHECK_INT(2 - single_thread, stws_fds(client, fds, 3));
    race_now_us += 1000;
    CHECK_INT(0, stws_step(client));
    CHECK_INT(3 - single_thread, stws_fds(client, fds, 3));
    CHECK_INT(STWS_WANT_WRITE, fds[0].wants);
    CHECK_INT(STWS_WANT_WRITE, fds[1].wants);
    CHECK(fds[0].fd != fds[1].fd);
    CHECK_INT(1, host_of(fds[0].fd));
    CHECK_INT(1, host_of(fds[1].fd));
    make_plan(site_of("stws_p_tcp_finished", "getsockopt"), 1, FAIL_VALUE + ECONNREFUSED, 0);
    /* The first is refused, so the second becomes the connection. */
    CHECK_INT(0, stws_step(client));
    CHECK_INT(1, plan.fired);
    make_plan(-1, 0, 0, 0);
    finish_race(client);
    CHECK_INT(2 - single_thread, stws_fds(client, fds, 3));
    stws_destroy(client);
    loopback_stop(&server);
}
static void test_both_sockets_of_a_race_are_reported(void) {
    check_race(1);
    check_race(0);
}

/* One of two sockets wins. The other must be closed, and not kept until the session ends. */
static void test_the_loser_of_a_race_is_closed(void) {
    static const char *const addresses[] = {"127.0.0.1", "127.0.0.1", NULL};
    struct loopback server;
    stws *client;
    loopback_start(&server, 0, 0);
    client = begin_race(&server, addresses, 0);
    make_plan(site_of("stws_p_tcp_finished", "poll"), 1, FAIL_EARLY, 1);
    CHECK_INT(0, stws_step(client));
    race_now_us += 250000;
    CHECK_INT(0, stws_step(client));
    CHECK_INT(2, open_sockets());
    make_plan(-1, 0, 0, 0);
    CHECK_INT(0, stws_step(client));
    CHECK_INT(1, open_sockets());
    finish_race(client);
    stws_destroy(client);
    CHECK_INT(0, open_sockets());
    loopback_stop(&server);
}

/* Returns a listener at a port of 127.0.0.2, which accepts connections until it is closed. */
static int second_host(int port) {
    struct sockaddr_in at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    at.sin_port = htons((unsigned short)port);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 8) != 0) abort();
    return fd;
}

/* The first of two racing addresses fails. The third must join immediately, and not only after the
   second has been silent for two seconds. */
static void test_an_address_that_fails_hurries_the_next(void) {
    static const char *const addresses[] = {"127.0.0.2", "127.0.0.1", "127.0.0.1", NULL};
    struct loopback server;
    stws_fd fds[3];
    stws *client;
    int first;
    loopback_start(&server, 0, 0);
    first = second_host(server.port);
    client = begin_race(&server, addresses, 1);
    make_plan(site_of("stws_p_tcp_finished", "poll"), 1, FAIL_EARLY, 1);
    CHECK_INT(0, stws_step(client));
    race_now_us += 250000;
    CHECK_INT(0, stws_step(client));
    CHECK_INT(2, stws_fds(client, fds, 3));
    CHECK_INT(2, host_of(fds[0].fd));
    CHECK_INT(1, host_of(fds[1].fd));
    CHECK_INT(2000, stws_deadline(client));
    close(first);
    make_plan(site_of("stws_p_tcp_finished", "poll"), 2, FAIL_EARLY, 0); /* the second is silent */
    CHECK_INT(0, stws_step(client));
    CHECK_INT(1, plan.fired);
    make_plan(-1, 0, 0, 0);
    CHECK_INT(2, stws_fds(client, fds, 3));
    CHECK_INT(1, host_of(fds[0].fd));
    CHECK_INT(1, host_of(fds[1].fd));
    finish_race(client);
    stws_destroy(client);
    loopback_stop(&server);
}

/* ==== calls that are interrupted, or that find nothing to do ==== */

/* Connects, sends itself a message, and ends: one session, without an error. */
static void talk(const struct loopback *server) {
    stws_options o = stws_options_default();
    stws_statistics numbers;
    stws_event e;
    stws *client;
    int messages = 0, errors = 0, result;
    o.url = server->url;
    client = stws_create(&o);
    if (!client) abort();
    CHECK(stws_subscribe(client, "/topic/a", NULL) > 0);
    CHECK_INT(0, stws_send(client, "/topic/a", "hello", 5));
    while ((result = stws_next(client, &e, PATIENCE_MS)) > 0) {
        if (e.type == STWS_EVENT_MESSAGE) messages++;
        if (e.type == STWS_EVENT_MESSAGE) stws_disconnect(client, PATIENCE_MS);
        if (e.type == STWS_EVENT_DISCONNECTED && e.result != STWS_CLOSED) errors++;
        if (errors) printf("%s\n", e.text);
    }
    CHECK_INT(STWS_CLOSED, result);
    CHECK_INT(1, messages);
    CHECK_INT(0, errors);
    stws_stats(client, &numbers);
    CHECK_INT(1, numbers.sessions);
    stws_destroy(client);
}

/* Interrupts each call of the site in turn. Returns how many calls there were. */
static int interrupt(const struct loopback *server, int site, int error) {
    int nth = 0, fired = 1, failures = test_case_failures;
    while (fired && nth < 100) {
        make_plan(site, ++nth, error, 0);
        talk(server);
        fired = plan.fired;
        make_plan(-1, 0, 0, 0);
        if (test_case_failures == failures) continue;
        printf("... %s in %s, call %d\n", sites[site].call, sites[site].function, nth);
        break;
    }
    CHECK_INT(0, plan.strangers);
    return nth - 1;
}

/* Returns 1 if the client must continue after this error as if nothing had happened. */
static int must_continue_after(int site, int error) {
    static const char *const calls[] = {"recv", "send",  "poll",    "getrandom",
                                        "read", "write", "connect", "close"};
    const char *call = sites[site].call;
    size_t known = 0;
    int i;
    while (known < sizeof calls / sizeof *calls && strcmp(call, calls[known]) != 0) known++;
    if (known == sizeof calls / sizeof *calls) return 0;
    if (error == EAGAIN && strcmp(call, "connect") == 0) return 0;
    for (i = 0; sites[site].errors[i]; i++)
        if (sites[site].errors[i] == error) return 1;
    return 0;
}

static void test_interrupted_calls_are_not_errors(void) {
    static const int errors[] = {EINTR, EAGAIN, FAIL_SHORT, FAIL_EARLY};
    struct loopback server;
    int interrupted[SITES] = {0};
    int site, i;
    loopback_start(&server, 0, 0);
    for (i = 0; i < 4; i++)
        for (site = 0; site < SITES; site++) {
            if (must_continue_after(site, errors[i]))
                interrupted[site] += interrupt(&server, site, errors[i]);
        }
    CHECK(interrupted[site_of("stws_p_tcp_read", "recv")] > 12);
    CHECK(interrupted[site_of("stws_p_tcp_write", "send")] > 12);
    CHECK(interrupted[site_of("stws_p_tcp_connect", "connect")] > 0);
    CHECK(interrupted[site_of("stws_p_wait", "poll")] > 0);
    CHECK(interrupted[site_of("stws_p_system_random", "getrandom")] > 0);
    loopback_stop(&server);
    CHECK_INT(0, server.odd);
}

/* ==== randomness that arrives in pieces ==== */

/* Each call of that site returns only one byte. Returns how many of 64 bytes are not 0; by chance,
   one byte in 256 is 0. */
static int bytes_filled(const char *call) {
    unsigned char out[64] = {0};
    int filled = 0, i;
    make_plan(site_of("stws_p_system_random", call), 1, FAIL_SHORT, 1);
    plan.without_getrandom = strcmp(call, "read") == 0;
    CHECK_INT(0, stws_p_system_random(NULL, out, sizeof out));
    CHECK_INT(64, plan.fired);
    for (i = 0; i < 64; i++) filled += out[i] != 0;
    plan.without_getrandom = 0;
    make_plan(-1, 0, 0, 0);
    return filled;
}
static void test_randomness_that_comes_byte_by_byte(void) {
    CHECK(bytes_filled("getrandom") > 48);
    CHECK(bytes_filled("read") > 48);
}

/* Without randomness from the system the function returns an error, and never guessed numbers. */
static void test_no_randomness_at_all(void) {
    unsigned char out[64];
    plan.without_getrandom = 1;
    make_plan(site_of("stws_p_system_random", "open"), 1, EMFILE, 1);
    CHECK_INT(-1, stws_p_system_random(NULL, out, sizeof out));
    make_plan(site_of("stws_p_system_random", "read"), 1, EIO, 1);
    CHECK_INT(-1, stws_p_system_random(NULL, out, sizeof out));
    make_plan(site_of("stws_p_system_random", "read"), 2, FAIL_END, 1);
    CHECK_INT(0, stws_p_system_random(NULL, out, sizeof out));
    CHECK_INT(-1, stws_p_system_random(NULL, out, sizeof out));
    plan.without_getrandom = 0;
    make_plan(-1, 0, 0, 0);
}

/* ==== two threads wait at a queue ==== */

static struct poppers {
    pthread_mutex_t mutex;
    stws_queue *queue;
    int got;
} poppers = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void *pop_one(void *nothing) {
    const stws_message *m = NULL;
    int result = stws_queue_pop(poppers.queue, &m, -1);
    pthread_mutex_lock(&poppers.mutex);
    poppers.got += result == 1;
    pthread_mutex_unlock(&poppers.mutex);
    return nothing;
}

static int counted(pthread_mutex_t *mutex, const int *number) {
    int count;
    pthread_mutex_lock(mutex);
    count = *number;
    pthread_mutex_unlock(mutex);
    return count;
}

/* Returns 1 if both threads have got a message, after waiting for them. */
static int both_got_one(void) {
    int ms;
    for (ms = 0; ms < PATIENCE_MS && counted(&poppers.mutex, &poppers.got) < 2; ms++)
        poll(NULL, 0, 1);
    return ms < PATIENCE_MS;
}

/* Puts an empty message into the queue, as stws_p_queue_put does under the lock. */
static void put(stws_queue *queue) {
    static const stws_message nothing;
    size_t head = stws_p_align(sizeof(stws_p_queued));
    stws_p_queued *entry =
        (stws_p_queued *)stws_p_ring_put(&queue->ring, head + stws_p_message_size(&nothing));
    if (!entry) abort();
    entry->given_back = entry->answered = 0;
    entry->message = stws_p_message_write((char *)entry + head, &nothing);
}

/* The first message wakes one of the two threads. The second message arrives before that thread has
   the lock. A thread that takes a message and leaves another must wake the next thread. */
static void test_each_of_two_waiting_threads_is_woken(void) {
    const int *waits = &plan.calls[site_of("stws_p_cond_wait", "pthread_cond_wait")];
    stws_queue *queue = stws_queue_create(0);
    pthread_t threads[2];
    int i;
    poppers.queue = queue;
    make_plan(-1, 0, 0, 0);
    for (i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, pop_one, NULL) != 0) abort();
    while (counted(&plan.mutex, waits) < 2) poll(NULL, 0, 1);
    pthread_mutex_lock(queue->mutex); /* a counted thread holds this lock until it waits */
    put(queue);
    put(queue);
    pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(queue->mutex);
    CHECK(both_got_one());
    stws_queue_close(queue);
    for (i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    stws_queue_destroy(queue);
}

/* ==== no descriptor left ==== */

/* stws_init has already copied the options when it cannot create the wake pipe. It must clear the
   memory that it returns to the caller. */
static void test_init_without_a_descriptor(void) {
    stws_options o = {.url = "ws://broker.test/", .passcode = "open-sesame"};
    size_t size = stws_size(&o), i;
    char *memory = (char *)malloc(size);
    const char *why = NULL;
    stws *client;
    if (!memory) abort();
    memset(memory, 0xA5, size);
    make_plan(site_of("stws_p_wake_init", "pipe"), 1, EMFILE, 0);
    CHECK_INT(STWS_ERR_IO, stws_init(memory, size, &o, &client, &why));
    CHECK_INT(1, plan.fired);
    make_plan(-1, 0, 0, 0);
    CHECK(client == NULL);
    CHECK_HAS("descriptors", why);
    for (i = 0; i < size && !memory[i];) i++;
    CHECK_INT(size, i);
    free(memory);
}

/* ==== a host name that the machine does not know ==== */

/* Returns the error text of an attempt whose host name cannot be resolved. */
static const char *unresolved(const char *url, const char *proxy) {
    static char text[640];
    stws_options o = stws_options_default();
    stws_event e;
    stws *client;
    o.url = url;
    o.proxy = proxy;
    o.reconnect = STWS_OFF;
    o.single_thread = 1;
    client = stws_create(&o);
    if (!client) abort();
    make_plan(site_of("stws_p_tcp_resolve", "getaddrinfo"), 1, EAI_NONAME, 1);
    CHECK_INT(1, stws_next(client, &e, PATIENCE_MS));
    CHECK_INT(STWS_EVENT_DISCONNECTED, e.type);
    CHECK_STR("STWS_ERR_RESOLVE", stws_result_name(e.result));
    make_plan(-1, 0, 0, 0);
    snprintf(text, sizeof text, "%s", stws_error_text(client));
    stws_destroy(client);
    return text;
}

/* Many containers have no line for localhost in /etc/hosts. The error text must advise 127.0.0.1,
   which needs no such line. */
static void test_localhost_is_not_in_etc_hosts(void) {
    const char *text = unresolved("ws://localhost:8080/stomp", NULL);
    CHECK_HAS("\"localhost\"", text);
    CHECK_HAS("/etc/hosts", text);
    CHECK_HAS("127.0.0.1", text);
    CHECK_HAS("127.0.0.1", unresolved("ws://LocalHost/", NULL));
    text = unresolved("ws://broker.test/", "http://localhost:3128");
    CHECK_HAS("proxy's host name \"localhost\"", text);
    CHECK_HAS("127.0.0.1", text);
    CHECK(!strstr(unresolved("ws://broker.test/", NULL), "127.0.0.1"));
    CHECK(!strstr(unresolved("ws://localhost.test/", NULL), "127.0.0.1"));
}

int main(void) {
    RUN(test_both_sockets_of_a_race_are_reported);
    RUN(test_the_loser_of_a_race_is_closed);
    RUN(test_an_address_that_fails_hurries_the_next);
    RUN(test_interrupted_calls_are_not_errors);
    RUN(test_randomness_that_comes_byte_by_byte);
    RUN(test_no_randomness_at_all);
    RUN(test_each_of_two_waiting_threads_is_woken); /* [D4] */
    RUN(test_init_without_a_descriptor);
    RUN(test_localhost_is_not_in_etc_hosts);
    return test_report();
}
