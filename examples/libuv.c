/* How does a client live in libuv's loop?

       libuv URL [TICKS]

   Three calls are all there is to it: stws_step does what can be done without blocking, stws_fds
   says what to wait for, and stws_deadline for how long. turn() hands the answers to uv_poll and
   uv_timer. Beside the client the loop has a timer of the program's own, which publishes; the
   client prints what comes back. (Debian: libuv1-dev.) */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { MAX_FDS = 3, TICK_MS = 50 };

/* ==== a client in a loop ==== */

struct watch {
    uv_poll_t *poll; /* or NULL */
    int fd;
};

struct embedded {
    stws *client;
    uv_loop_t *loop;
    uv_timer_t timer;
    struct watch watches[MAX_FDS];
    int result; /* of the last step: below 0 it was the last one */
};

static void turn(struct embedded *e);

static void on_ready(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events; /* stws_step finds out by itself */
    turn((struct embedded *)poll->data);
}

static void on_deadline(uv_timer_t *timer) {
    turn((struct embedded *)timer->data);
}

static void release(uv_handle_t *handle) {
    free(handle);
}

/* A libuv handle belongs to one descriptor: make another when it changes, which reconnects do. */
static uv_poll_t *aim(struct embedded *e, struct watch *watch, int fd) {
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

static void wait_for(struct embedded *e) {
    stws_fd fds[MAX_FDS] = {{-1, 0}, {-1, 0}, {-1, 0}}; /* none */
    long long deadline = stws_deadline(e->client);
    if (e->result >= 0) stws_fds(e->client, fds, MAX_FDS);
    for (int i = 0; i < MAX_FDS; i++) {
        uv_poll_t *poll = aim(e, &e->watches[i], fds[i].fd);
        if (poll && fds[i].wants) uv_poll_start(poll, to_libuv(fds[i].wants), on_ready);
    }
    if (e->result < 0)
        uv_close((uv_handle_t *)&e->timer, NULL);
    else if (deadline >= 0)
        uv_timer_start(&e->timer, on_deadline, (uint64_t)deadline, 0);
}

/* The step may close a descriptor, which libuv must not be polling then: so all stop first. */
static void turn(struct embedded *e) {
    for (int i = 0; i < MAX_FDS; i++)
        if (e->watches[i].poll) uv_poll_stop(e->watches[i].poll);
    uv_timer_stop(&e->timer);
    e->result = stws_step(e->client);
    wait_for(e);
}

static void embed(struct embedded *e, uv_loop_t *loop, stws *client) {
    e->client = client;
    e->loop = loop;
    uv_timer_init(loop, &e->timer);
    e->timer.data = e;
    turn(e);
}

/* ==== the program ==== */

static const char destination[] = "/topic/ticks";
static int ticks = 3, ticked, printed;

static void print(stws *client, const stws_message *message, void *user) {
    (void)user;
    puts(message->body);
    if (++printed == ticks) stws_disconnect(client, -1);
}

static void on_tick(uv_timer_t *timer) {
    struct embedded *e = (struct embedded *)timer->data;
    char text[32];
    if (ticked == ticks || e->result < 0) {
        uv_close((uv_handle_t *)timer, NULL);
        return;
    }
    snprintf(text, sizeof text, "tick %d", ++ticked);
    stws_send_text(e->client, destination, text);
    turn(e); /* a call from outside: what it wants of the loop may be new */
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
    stws *client = stws_create(&options);
    stws_subscribe(client, destination, NULL);

    uv_timer_init(uv_default_loop(), &tick);
    tick.data = &embedded;
    embed(&embedded, uv_default_loop(), client);
    uv_timer_start(&tick, on_tick, TICK_MS, TICK_MS);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* until nothing is left in it */
    uv_loop_close(uv_default_loop());

    if (embedded.result != STWS_CLOSED) fprintf(stderr, "%s\n", stws_error_text(client));
    stws_destroy(client);
    return embedded.result != STWS_CLOSED;
}
