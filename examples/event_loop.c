/* How do clients run in my own event loop, together with my own timer?

       event_loop [URL [TICKS]]

   The loop is the program's: epoll on Linux, poll elsewhere. Two clients take part in it by three
   calls. stws_fds returns the descriptors to wait for, stws_deadline returns how long to wait, and
   stws_step does what can be done without blocking. At each tick of the loop's timer, one client
   publishes a message; the other client prints it. After TICKS ticks (default: no limit), or at
   Ctrl-C, both clients end. The exit status is 0 if neither of them failed. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/epoll.h>
#else
#include <poll.h>
#endif

enum { PUBLISHER, READER, CLIENTS };
enum { TICK_MS = 1000, MAX_FDS = 3 * CLIENTS };

static const char destination[] = "/topic/ticks";
static stws *clients[CLIENTS]; /* global, because the signal handler needs them */

static void stop_all(int signal_number) {
    (void)signal_number;
    for (int i = 0; i < CLIENTS; i++) stws_stop(clients[i]);
}

/* ==== The loop: wait until a descriptor is ready or the time is over ==== */

#ifdef __linux__
/* Descriptors change at each reconnect, so this small loop builds its epoll set anew each time. A
   loop with thousands of clients keeps the set: see many_clients.c. */
static void wait_for(const stws_fd *fds, int count, int timeout_ms) {
    struct epoll_event ready[MAX_FDS];
    int set = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {0};
        if (fds[i].wants & STWS_WANT_READ) event.events |= EPOLLIN;
        if (fds[i].wants & STWS_WANT_WRITE) event.events |= EPOLLOUT;
        epoll_ctl(set, EPOLL_CTL_ADD, fds[i].fd, &event);
    }
    epoll_wait(set, ready, MAX_FDS, timeout_ms);
    close(set);
}
#else
static void wait_for(const stws_fd *fds, int count, int timeout_ms) {
    struct pollfd polled[MAX_FDS];
    for (int i = 0; i < count; i++) {
        polled[i].fd = fds[i].fd;
        polled[i].events = 0;
        if (fds[i].wants & STWS_WANT_READ) polled[i].events |= POLLIN;
        if (fds[i].wants & STWS_WANT_WRITE) polled[i].events |= POLLOUT;
    }
    poll(polled, (nfds_t)count, timeout_ms);
}
#endif

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ==== The clients ==== */

static void print(stws *client, const stws_message *message, void *user) {
    (void)client, (void)user;
    puts(message->body);
    fflush(stdout);
}

static void explain(stws *client, const stws_event *event, void *user) {
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s: %s; trying again\n", (const char *)user, stws_error_text(client));
}

static stws *make_client(const char *url, char *name) {
    stws_options options = stws_options_default();
    options.url = url;
    options.on_message = print;
    options.on_event = explain;
    options.user = name;
    return stws_create(&options);
}

/* Steps each client. Returns how many of them still run, and sets *failed if one has failed. */
static int step_all(int *failed) {
    int running = 0;
    for (int i = 0; i < CLIENTS; i++) {
        if (stws_state(clients[i]) == STWS_ENDED) continue;
        int result = stws_step(clients[i]);
        running += result >= 0;
        if (result >= 0 || result == STWS_CLOSED) continue;
        fprintf(stderr, "%s\n", stws_error_text(clients[i]));
        *failed = 1;
    }
    return running;
}

/* Waits until a client must be stepped, but at most timeout_ms. */
static void wait_for_clients(long long timeout_ms) {
    stws_fd fds[MAX_FDS];
    int count = 0;
    for (int i = 0; i < CLIENTS; i++) {
        if (stws_state(clients[i]) == STWS_ENDED) continue;
        long long deadline = stws_deadline(clients[i]);
        count += stws_fds(clients[i], fds + count, MAX_FDS - count);
        if (deadline >= 0 && deadline < timeout_ms) timeout_ms = deadline;
    }
    wait_for(fds, count, (int)timeout_ms);
}

static void publish(stws *client, int tick) {
    char text[32];
    snprintf(text, sizeof text, "tick %d", tick);
    if (stws_state(client) == STWS_CONNECTED) stws_send_text(client, destination, text);
}

int main(int argc, char **argv) {
    const char *url = argc > 1 ? argv[1] : "ws://localhost:8080/notifications/websocket";
    int ticks = argc > 2 ? atoi(argv[2]) : 0, tick = 0; /* ticks 0: no limit */
    char publisher_name[] = "publisher", reader_name[] = "reader";
    long long next_tick = now_ms() + TICK_MS;
    clients[PUBLISHER] = make_client(url, publisher_name);
    clients[READER] = make_client(url, reader_name);
    int failed = stws_error(clients[PUBLISHER]) < 0; /* the URL is not valid */
    if (failed) fprintf(stderr, "%s\n", stws_error_text(clients[PUBLISHER]));
    stws_subscribe(clients[READER], destination, NULL);
    signal(SIGINT, stop_all);
    signal(SIGTERM, stop_all);

    while (step_all(&failed) > 0) {
        long long left_ms = next_tick - now_ms();
        if (left_ms > 0) {
            wait_for_clients(left_ms);
            continue;
        }
        next_tick += TICK_MS;
        if (ticks <= 0 || tick < ticks)
            publish(clients[PUBLISHER], ++tick);
        else
            for (int i = 0; i < CLIENTS; i++) stws_disconnect(clients[i], TICK_MS);
    }
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    for (int i = 0; i < CLIENTS; i++) stws_destroy(clients[i]);
    return failed;
}
