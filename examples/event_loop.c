/* How do clients live in an event loop that is not theirs, beside a timer of its own?

       event_loop [URL [ticks]]

   The loop below belongs to the program: epoll on Linux, poll elsewhere. Two clients take part
   in it through three calls: stws_fds says what to wait for, stws_deadline for how long,
   stws_step does what can be done without blocking. Each tick of the loop's own timer one client
   publishes; the other prints what arrives. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/epoll.h>
#else
#include <poll.h>
#endif

enum { TICK_MS = 1000, MAX_FDS = 8 };

static const char destination[] = "/topic/ticks";

/* ==== the loop: wait until one of the descriptors is ready or the time is over ==== */

#ifdef __linux__
/* Descriptors come and go with each reconnect, so this small loop makes its set anew each time;
   one with thousands of clients would keep the set and ask only the clients whose descriptors
   were ready or whose deadline has come. */
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

/* ==== the clients ==== */

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

/* One turn of each client; returns how many still run, and in *failed whether one could not. */
static int step(stws *const *clients, int count, int *failed) {
    int running = 0;
    for (int i = 0; i < count; i++) {
        if (stws_state(clients[i]) == STWS_ENDED) continue;
        int result = stws_step(clients[i]);
        running += result >= 0;
        if (result >= 0 || result == STWS_CLOSED) continue;
        fprintf(stderr, "%s\n", stws_error_text(clients[i]));
        *failed = 1;
    }
    return running;
}

/* Wait for any of the clients, or for the timer, whichever comes first. */
static void wait_for_clients(stws *const *clients, int count, long long timeout_ms) {
    stws_fd fds[MAX_FDS];
    int n = 0;
    for (int i = 0; i < count; i++) {
        if (stws_state(clients[i]) == STWS_ENDED) continue;
        long long deadline = stws_deadline(clients[i]);
        n += stws_fds(clients[i], fds + n, MAX_FDS - n);
        if (deadline >= 0 && deadline < timeout_ms) timeout_ms = deadline;
    }
    wait_for(fds, n, (int)timeout_ms);
}

static void publish(stws *client, int tick) {
    char body[32];
    int len = snprintf(body, sizeof body, "tick %d", tick);
    if (stws_state(client) == STWS_CONNECTED) stws_send(client, destination, body, (size_t)len);
}

int main(int argc, char **argv) {
    const char *url = argc > 1 ? argv[1] : "ws://localhost:8080/notifications/websocket";
    int ticks = argc > 2 ? atoi(argv[2]) : 0, tick = 0; /* 0: for ever */
    char publisher[] = "publisher", reader[] = "reader";
    stws *clients[] = {make_client(url, publisher), make_client(url, reader)};
    long long next_tick = now_ms() + TICK_MS;
    int failed = stws_error(clients[0]) < 0; /* no URL that can be used */
    if (failed) fprintf(stderr, "%s\n", stws_error_text(clients[0]));
    stws_subscribe(clients[1], destination, NULL);

    while (step(clients, 2, &failed) > 0) {
        long long left = next_tick - now_ms();
        if (left > 0) {
            wait_for_clients(clients, 2, left);
            continue;
        }
        if (ticks > 0 && tick == ticks)
            for (int i = 0; i < 2; i++) stws_disconnect(clients[i], TICK_MS);
        else
            publish(clients[0], ++tick);
        next_tick += TICK_MS;
    }
    for (int i = 0; i < 2; i++) stws_destroy(clients[i]);
    return failed;
}
