/* How does a client run in libuv's loop?

       libuv URL [TICKS]

   It takes three calls. stws_step does what can be done without blocking, stws_fds returns the
   descriptors to wait for, and stws_deadline returns how long to wait. turn() passes these to
   uv_poll and uv_timer. A libuv timer of the program publishes TICKS messages (default: 3), and the
   client prints them. Then, or at Ctrl-C, the client ends, all handles are closed, and uv_run
   returns. The exit status is 0 if the client did not fail. To build it on Debian, install
   libuv1-dev. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { MAX_FDS = 3, TICK_MS = 50 };

/* ==== A client in a loop ==== */

struct watch {
    uv_poll_t *poll; /* NULL: no descriptor is watched */
    int fd;          /* the watched descriptor */
};

struct embedded {
    stws *client;
    uv_loop_t *loop;
    uv_timer_t timer;
    struct watch watches[MAX_FDS];
    int result; /* of the last step; negative: the client has ended */
};

static void turn(struct embedded *e);

static void on_ready(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events; /* stws_step finds out what is ready */
    turn((struct embedded *)poll->data);
}

static void on_deadline(uv_timer_t *timer) {
    turn((struct embedded *)timer->data);
}

static void release(uv_handle_t *handle) {
    free(handle);
}

/* A libuv handle belongs to one descriptor, and each reconnect changes the descriptor. So this
   function replaces the handle if fd has changed. Returns the handle, or NULL if fd is -1. */
static uv_poll_t *watch_fd(struct embedded *e, struct watch *watch, int fd) {
    if (watch->poll && watch->fd == fd) return watch->poll;
    if (watch->poll) uv_close((uv_handle_t *)watch->poll, release);
    watch->poll = fd < 0 ? NULL : (uv_poll_t *)malloc(sizeof *watch->poll);
    watch->fd = fd;
    if (!watch->poll) return NULL;
    uv_poll_init(e->loop, watch->poll, fd);
    watch->poll->data = e;
    return watch->poll;
}

static int to_libuv(int wants) {
    return (wants & STWS_WANT_READ ? UV_READABLE : 0) | (wants & STWS_WANT_WRITE ? UV_WRITABLE : 0);
}

/* Tells libuv what to wait for. After the client's end it closes all handles instead. */
static void wait_for(struct embedded *e) {
    stws_fd fds[MAX_FDS] = {{-1, 0}, {-1, 0}, {-1, 0}}; /* -1: no descriptor */
    long long deadline = stws_deadline(e->client);
    if (e->result >= 0) stws_fds(e->client, fds, MAX_FDS);
    for (int i = 0; i < MAX_FDS; i++) {
        uv_poll_t *poll = watch_fd(e, &e->watches[i], fds[i].fd);
        if (poll && fds[i].wants) uv_poll_start(poll, to_libuv(fds[i].wants), on_ready);
    }
    if (e->result < 0)
        uv_close((uv_handle_t *)&e->timer, NULL);
    else if (deadline >= 0)
        uv_timer_start(&e->timer, on_deadline, (uint64_t)deadline, 0);
}

/* Steps the client, then waits again. The step may close a descriptor, and libuv must not poll a
   closed descriptor. So all polling stops before the step. */
static void turn(struct embedded *e) {
    for (int i = 0; i < MAX_FDS; i++)
        if (e->watches[i].poll) uv_poll_stop(e->watches[i].poll);
    uv_timer_stop(&e->timer);
    e->result = stws_step(e->client);
    wait_for(e);
}

/* Makes the loop drive the client. */
static void embed(struct embedded *e, uv_loop_t *loop, stws *client) {
    e->client = client;
    e->loop = loop;
    uv_timer_init(loop, &e->timer);
    e->timer.data = e;
    turn(e);
}

/* ==== The program ==== */

static const char destination[] = "/topic/ticks";
static int ticks = 3, published, printed;
static stws *client_to_stop; /* global, because the signal handler needs it */

static void stop(int signal_number) {
    (void)signal_number;
    stws_stop(client_to_stop);
}

static void explain(stws *client, const stws_event *event, void *user) {
    (void)user;
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s; trying again\n", stws_error_text(client));
}

static void print(stws *client, const stws_message *message, void *user) {
    (void)user;
    puts(message->body);
    if (++printed == ticks) stws_disconnect(client, -1);
}

static void on_tick(uv_timer_t *timer) {
    struct embedded *e = (struct embedded *)timer->data;
    char text[32];
    if (published == ticks || e->result < 0) {
        uv_close((uv_handle_t *)timer, NULL);
        return;
    }
    snprintf(text, sizeof text, "tick %d", ++published);
    stws_send_text(e->client, destination, text);
    turn(e); /* the send may have changed the wanted events and the deadline */
}

int main(int argc, char **argv) {
    struct embedded embedded = {0};
    uv_timer_t tick;
    stws_options options = stws_options_default();
    if (argc < 2) {
        fputs("usage: libuv URL [TICKS]\n", stderr);
        return 2;
    }
    if (argc > 2) ticks = atoi(argv[2]);
    options.url = argv[1];
    options.on_message = print;
    options.on_event = explain;
    stws *client = client_to_stop = stws_create(&options);
    stws_subscribe(client, destination, NULL);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    uv_timer_init(uv_default_loop(), &tick);
    tick.data = &embedded;
    embed(&embedded, uv_default_loop(), client);
    uv_timer_start(&tick, on_tick, TICK_MS, TICK_MS);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* returns when all handles are closed */
    uv_loop_close(uv_default_loop());

    if (embedded.result != STWS_CLOSED) fprintf(stderr, "%s\n", stws_error_text(client));
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    stws_destroy(client);
    return embedded.result != STWS_CLOSED;
}
