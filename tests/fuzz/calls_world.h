/* calls_world.h - the records of fuzz_calls.c: what the client was asked to do, what the server has
   seen, and what the application was told. Also the checks that must be true of these records at
   each moment.

   In the threaded mode several threads use these records. All access is behind world_enter(). */
#ifndef CALLS_WORLD_H
#define CALLS_WORLD_H

enum {
    SENDS = 400,
    DELIVERIES = 300,
    SUBS = 24,
    NUMBERS = 4096,
    HELD = 1000,
    ACTORS = 4,
    CALLING = 1000000 /* a result: the call has not returned yet */
};

/* A message that a call was asked to send. */
struct send_note {
    int result, number, confirm, transacted, odd;
    int written, written_session; /* how often, and in which session last */
    int wire_number;              /* number of the receipt that the frame requests */
    int exposed; /* a session that may have contained it was lost: without confirm the message may
                    be lost */
};

/* A MESSAGE that the server has sent. */
struct delivery {
    int session, handed, given_back, acked, user_acks;
    stws_ack_on ack_on;
    int popped; /* it was taken from the message queue */
    char sub[40];
};

struct broker_sub {
    int live, waits_for_ack;
    char id[40], destination[64];
};

/* A thread of the application, or a simulated thread (fiber). */
struct actor {
    struct world *w;
    struct fuzz_input *in;
    stws_message *copy;         /* a copy of a message */
    const stws_message *popped; /* a message from the queue that was not given back yet */
    const char *doing;          /* the name of the current call */
    int number, driving, drove; /* driving: in a driving call (2: a flush); drove: this call has
                                   used the transport */
    int inside;                 /* the client is calling it: a callback or the transport */
    int interrupted;            /* another thread has driven during this call */
    int in_callback, left;      /* left: records that are still to be run */
    pthread_t thread;
};

struct world {
    struct peer peer;
    struct fuzz_input in;
    stws_options o;
    stws_allocator allocator;
    stws_queue *queue;
    void *memory; /* the memory that was passed to stws_init */
    size_t memory_size;
    struct actor actors[ACTORS];
    int threaded; /* uses real threads */
    pthread_mutex_t mutex;

    /* the application */
    int next_driven, watchful, ended, end_result, ended_by_stop;
    int runner, may_be_left;
    int armed, armed_left; /* callbacks of this kind run armed_left records */
    int hook_answer, hooks_left;
    int handles[SUBS], handle_count;
    const stws_message *hand; /* the message that stws_next has returned */
    int hand_delivery;
    int asked, stopped, destroyed;
    long long asked_until_us, ended_us, dry_us;
    int final_told; /* the number of DISCONNECTED events that say "no further attempt" */
    int dry;        /* no more input is read */
    int waits;      /* consecutive waits for time to pass */

    /* faults */
    int no_memory, no_randomness, memory_failed, randomness_failed;
    int replies; /* the server answers requests */
    int wild;    /* an option is out of its range */

    /* what is known */
    struct send_note sends[SENDS];
    int send_count, send_calls;
    struct delivery deliveries[DELIVERIES];
    int delivery_count;
    struct broker_sub subs[SUBS];
    char held[HELD][24]; /* receipts that the server has delayed */
    int held_count;
    unsigned char refused[NUMBERS]; /* refused by an ERROR frame */
    unsigned char said[NUMBERS], told[NUMBERS], taken[NUMBERS];
    int told_result[NUMBERS];
    int stands, logged_in, blocked, disconnect_seen;
    unsigned long moves; /* number of events between the client and its surroundings */
    int marks;           /* consecutive events of the outbox's marks, while nothing else happened */
    size_t allocated;
    unsigned long long dropped;
};

static struct world *calls_world;
static __thread struct actor *calls_actor; /* the actor of this thread, in the threaded mode */
static int calls_tell;                     /* CALLS_VERBOSE is set */

static int calls_without(const char *what) {
    const char *list = getenv("CALLS_WITHOUT"), *at = list ? strstr(list, what) : NULL;
    size_t len = strlen(what);
    return at && (at[len] == 0 || at[len] == ',') && (at == list || at[-1] == ',');
}

static void calls_verbose(const char *format, ...) {
    va_list list;
    if (!calls_tell) return;
    va_start(list, format);
    fprintf(stderr, "%10lld f%d ", calls_world->peer.now_us / 1000, fibers.current);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
}

static void calls_broken(const char *what) {
    int i;
    fprintf(stderr, "not true: %s\n", what);
    for (i = 0; calls_world && i < ACTORS; i++)
        if (calls_world->actors[i].doing)
            fprintf(stderr, "thread %d is in %s\n", i, calls_world->actors[i].doing);
#ifdef CALLS_TSAN
    _exit(EXIT_FAILURE); /* the runtime must not be entered again from a signal handler */
#endif
    abort();
}

/* Reports a broken promise if the condition is false. */
#define HOLDS(condition, ...) ((condition) ? (void)0 : promise_broken(__LINE__, __VA_ARGS__))

static void promise_broken(int line, const char *format, ...) {
    char text[400];
    va_list list;
    int len = snprintf(text, sizeof text, "line %d: ", line);
    va_start(list, format);
    vsnprintf(text + len, sizeof text - (size_t)len, format, list);
    va_end(list);
    calls_broken(text);
}

static void world_enter(struct world *w) {
    if (w->threaded) (pthread_mutex_lock)(&w->mutex);
}

static void world_leave(struct world *w) {
    if (w->threaded) (pthread_mutex_unlock)(&w->mutex);
}

/* Something has changed, so the client is not in an endless loop. */
static void world_moved(struct world *w) {
    w->moves++;
    w->marks = 0;
    fibers.idle = 0;
}

static struct actor *world_actor(struct world *w) {
    if (!w->threaded) return &w->actors[fibers.current];
    return calls_actor ? calls_actor : &w->actors[0];
}

/* ==== sends ==== */

static int is_accepted(const struct send_note *s) {
    return s->result >= 0 && s->result != CALLING;
}

/* The end of this send was reported, and it was a failure. */
static int is_told_lost(const struct world *w, const struct send_note *s) {
    return s->number > 0 && s->number < NUMBERS && w->told[s->number] &&
           w->told_result[s->number] != STWS_OK;
}

static int is_confirmed(const struct world *w, const struct send_note *s) {
    return s->wire_number > 0 && s->wire_number < NUMBERS && w->said[s->wire_number];
}

static int is_refused(const struct world *w, const struct send_note *s) {
    return s->wire_number > 0 && s->wire_number < NUMBERS && w->refused[s->wire_number];
}

/* Returns whether a message was accepted, but was neither sent nor reported as lost. */
static int is_missing(const struct world *w, const struct send_note *s) {
    if (!is_accepted(s) || s->odd || s->transacted || is_told_lost(w, s)) return 0;
    if (w->memory_failed || w->wild)
        return 0; /* then only a counter in the statistics reports
                                                  it */
    if (w->o.outbox_policy == STWS_FULL_DROP_OLDEST) return 0;
    if (s->confirm) return !is_confirmed(w, s) && !is_refused(w, s);
    return !s->written && !s->exposed;
}

static void check_none_missing(struct world *w, int before, const char *when) {
    int i;
    for (i = 0; i < before; i++)
        HOLDS(!is_missing(w, &w->sends[i]), "%s: send %d was accepted (%d), but %s", when, i,
              w->sends[i].result,
              w->sends[i].confirm ? "is not confirmed" : "has not been written");
}

/* Returns the number of one of the client's receipts, or 0. */
static int receipt_number(const char *id) {
    int number = id && strncmp(id, "receipt-", 8) == 0 ? atoi(id + 8) : 0;
    return number > 0 && number < NUMBERS ? number : 0;
}

static void on_send_frame(struct world *w, const struct sent *f) {
    const char *note = stws_frame_header(&f->frame, "u");
    int i = note                                             ? atoi(note)
            : f->frame.body_len > 1 && *f->frame.body == 's' ? atoi(f->frame.body + 1)
                                                             : -1;
    struct send_note *s;
    int told;
    if (i < 0 || i >= w->send_count) return;
    s = &w->sends[i];
    s->wire_number = receipt_number(stws_frame_header(&f->frame, "receipt"));
    HOLDS(s->result >= 0, "send %d was refused (%d), but is written", i, s->result);
    HOLDS(!s->written || s->written_session != f->session, "send %d is written twice", i);
    HOLDS(!s->written || s->confirm || s->transacted, "send %d is written again", i);
    told = s->wire_number && w->told[s->wire_number] ? w->told_result[s->wire_number] : STWS_OK;
    HOLDS(told == STWS_OK || told == STWS_ERR_TIMEOUT || calls_without("replay") ||
              (told == STWS_ERR_STALE && s->transacted), /* it was aborted, but was in the output
                                                            buffer already */
          "send %d is written, but its receipt was already reported as %d", i, told);
    s->written++;
    s->written_session = f->session;
}

static void on_receipt_event(struct world *w, const stws_event *e) {
    int n = e->receipt;
    if (n == 0) return;
    HOLDS(n > 0, "a receipt with the number %d", n);
    if (n >= NUMBERS) return;
    HOLDS(!w->told[n], "receipt %d is reported twice: %d and %d", n, w->told_result[n], e->result);
    HOLDS(e->result != STWS_OK || w->said[n],
          "receipt %d is reported, but the server never sent it", n);
    w->told[n] = 1;
    w->told_result[n] = e->result;
}

/* ==== messages ==== */

static int delivery_of(const struct world *w, const char *body) {
    int i = body && *body == 'm' ? atoi(body + 1) : -1;
    return i >= 0 && i < w->delivery_count ? i : -1;
}

/* The application receives a message. Returns the number of its delivery, or -1. */
static int handed(struct world *w, const stws_message *m, int popped) {
    int i = delivery_of(w, m->body);
    struct delivery *d = &w->deliveries[i < 0 ? 0 : i];
    HOLDS(m->body && m->body[m->body_len] == 0, "a body without its NUL");
    if (i < 0) return -1;
    HOLDS(!d->handed, "message m%d is delivered twice", i);
    HOLDS(m->subscription && strcmp(m->subscription, d->sub) == 0, "m%d: its subscription is wrong",
          i);
    d->handed = 1;
    d->popped = popped;
    d->ack_on = m->ack_on;
    return i;
}

/* A message from the queue may be given back after stws_stop, which is too late for an ACK. */
static void given_back(struct world *w, int i) {
    if (i >= 0) w->deliveries[i].given_back = !(w->deliveries[i].popped && w->stopped);
}

static int is_owed(const struct world *w, const struct delivery *d) {
    return d->session == w->peer.sessions && d->handed && d->ack_on && d->given_back && !d->acked &&
           !d->user_acks;
}

/* Checks that the messages which were received and given back are acknowledged by now. */
static void check_acked(struct world *w, const char *sub, const char *when) {
    int i;
    if (w->blocked || w->memory_failed || w->randomness_failed || w->wild) return;
    for (i = 0; i < w->delivery_count; i++)
        if (!sub || strcmp(sub, w->deliveries[i].sub) == 0)
            HOLDS(!is_owed(w, &w->deliveries[i]), "%s: m%d was given back, but is not acknowledged",
                  when, i);
}

static void on_ack_frame(struct world *w, const struct sent *f) {
    const char *id = stws_frame_header(&f->frame, "id");
    struct delivery *d;
    int i;
    if (!id) id = stws_frame_header(&f->frame, "message-id");
    if (!id || *id != 'd') return;
    i = atoi(id + 1);
    if (i < 0 || i >= w->delivery_count) return;
    d = &w->deliveries[i];
    HOLDS(d->session == f->session, "an ACK of m%d, which belongs to another session", i);
    HOLDS(d->handed || w->queue, "an ACK of m%d, which the application did not receive", i);
    d->acked++;
    HOLDS(!d->handed || d->acked <= d->user_acks + (d->ack_on != 0),
          "an ACK of m%d that was not requested", i);
}

/* Checks that no message was left out: all messages before a delivered message of the session were
   delivered, too. */
static void check_handed(struct world *w) {
    int i, last[2] = {-1, -1};
    for (i = w->delivery_count - 1; i >= 0; i--) {
        const struct delivery *d = &w->deliveries[i];
        HOLDS(d->handed || !d->acked, "m%d was acknowledged, but never delivered", i);
        if (d->handed && last[0] != d->session) last[0] = d->session, last[1] = i;
        HOLDS(d->handed || d->session != last[0], "m%d was left out, although m%d was delivered", i,
              last[1]);
    }
}

/* ==== the server ==== */

static void world_say_message(struct world *w, struct broker_sub *s, const char *more, size_t pad) {
    struct bytes b = {0};
    struct delivery *d;
    int i = w->delivery_count;
    if (i >= DELIVERIES) return;
    w->delivery_count++;
    d = &w->deliveries[i];
    memset(d, 0, sizeof *d);
    d->session = w->peer.sessions;
    memcpy(d->sub, s->id, sizeof d->sub);
    bytes_print(&b, "MESSAGE\nsubscription:%s\nmessage-id:d%d\ndestination:%s\n", s->id, i,
                s->destination);
    if (s->waits_for_ack && w->peer.version == STWS_STOMP_12) bytes_print(&b, "ack:d%d\n", i);
    bytes_print(&b, "%s\nm%d ", more, i);
    bytes_room(&b, pad);
    memset(b.data + b.len, 'x', pad);
    b.len += pad;
    b.data[b.len] = 0;
    peer_ws(&w->peer, STWS_WS_TEXT, 1, b.data, b.len + 1);
    bytes_free(&b);
}

static void world_say_receipt(struct world *w, const char *id) {
    w->said[receipt_number(id)] = 1;
    peer_receipt(&w->peer, id);
}

static struct broker_sub *broker_find(struct world *w, const char *id) {
    int i;
    for (i = 0; i < SUBS; i++)
        if (w->subs[i].live && strcmp(w->subs[i].id, id) == 0) return &w->subs[i];
    return NULL;
}

static void on_subscribe_frame(struct world *w, const struct sent *f) {
    const char *id = stws_frame_header(&f->frame, "id");
    const char *ack = stws_frame_header(&f->frame, "ack");
    int i = 0;
    HOLDS(id && !broker_find(w, id), "SUBSCRIBE %s, which is subscribed already", id);
    while (i < SUBS && w->subs[i].live) i++;
    if (i == SUBS) return;
    w->subs[i].live = 1;
    w->subs[i].waits_for_ack = ack && strcmp(ack, "auto") != 0;
    snprintf(w->subs[i].id, sizeof w->subs[i].id, "%s", id);
    snprintf(w->subs[i].destination, sizeof w->subs[i].destination, "%s",
             sent_header(f, "destination"));
}

static void on_unsubscribe_frame(struct world *w, const struct sent *f) {
    struct broker_sub *s = broker_find(w, sent_header(f, "id"));
    int i;
    if (!s) return;
    for (i = 0; i < w->delivery_count; i++) {
        const struct delivery *d = &w->deliveries[i];
        if (strcmp(d->sub, s->id) != 0 || d->session != f->session || d->popped) continue;
        HOLDS(!d->handed || !d->ack_on || d->acked || d->user_acks || w->blocked ||
                  w->memory_failed || w->randomness_failed || calls_without("unsubscribe_inside"),
              "UNSUBSCRIBE %s is sent before the ACK of m%d", s->id, i);
    }
    s->live = 0;
}

/* Sends the reply to a request. */
static void broker_reply(struct world *w, const struct sent *f) {
    const char *to = stws_frame_header(&f->frame, "reply-to"), *id = NULL;
    struct bytes b = {0};
    int i;
    if (!to || !w->replies) return;
    for (i = 0; i < SUBS; i++)
        if (w->subs[i].live && strcmp(w->subs[i].destination, to) == 0) id = w->subs[i].id;
    bytes_print(&b, "MESSAGE\nsubscription:%s\nmessage-id:r\ndestination:%s\n", id ? id : to, to);
    bytes_print(&b, "correlation-id:%s\n\nreply", sent_header(f, "correlation-id"));
    peer_ws(&w->peer, STWS_WS_TEXT, 1, b.data, b.len + 1);
    bytes_free(&b);
}

static void world_on_sent(struct peer *p, const struct sent *f) {
    struct world *w = (struct world *)p->extra;
    const char *receipt = stws_frame_header(&f->frame, "receipt");
    calls_verbose("> %s %s%s %.20s", f->frame.command, receipt ? receipt : "", sent_header(f, "id"),
                  f->frame.body);
    switch (f->frame.command_id) {
        case STWS_COMMAND_SEND:
            on_send_frame(w, f);
            broker_reply(w, f);
            break;
        case STWS_COMMAND_SUBSCRIBE: on_subscribe_frame(w, f); break;
        case STWS_COMMAND_UNSUBSCRIBE: on_unsubscribe_frame(w, f); break;
        case STWS_COMMAND_ACK:
        case STWS_COMMAND_NACK: on_ack_frame(w, f); break;
        case STWS_COMMAND_DISCONNECT:
            w->disconnect_seen = 1;
            if (!calls_without("end_inside")) check_acked(w, NULL, "DISCONNECT comes");
            break;
        case STWS_COMMAND_CONNECT: w->logged_in = 1; break;
        default: break;
    }
    if (!receipt) return;
    if (p->automatic & AUTO_RECEIPT)
        w->said[receipt_number(receipt)] = 1;
    else if (w->held_count < HELD)
        snprintf(w->held[w->held_count++], sizeof w->held[0], "%s", receipt);
}

/* ==== the transport ==== */

/* The client calls a callback or its transport. Checks that only one thread drives. A flush may
   give way to another driving thread and continue later. */
static void world_inside(struct world *w) {
    struct actor *a = world_actor(w);
    int i;
    for (i = 0; i < ACTORS; i++) {
        struct actor *b = &w->actors[i];
        if (b == a) continue;
        HOLDS(!b->inside, "two threads drive: %s and %s", a->doing ? a->doing : "a call",
              b->doing ? b->doing : "a call");
        if (b->driving == 1 && b->drove) b->interrupted = 1;
    }
    HOLDS(!a->interrupted, "two threads drive: %s, and a call of another thread meanwhile",
          a->doing ? a->doing : "a call");
    a->drove = a->driving;
    a->inside++;
}

static void world_outside(struct world *w) {
    world_actor(w)->inside--;
}

static int world_open(void *ctx, const stws_endpoint *to) {
    struct world *w = (struct world *)((struct peer *)ctx)->extra;
    int result;
    world_enter(w);
    world_inside(w);
    if (!w->peer.is_open) {
        world_moved(w);
        memset(w->subs, 0, sizeof w->subs);
        w->held_count = 0;
        w->logged_in = w->disconnect_seen = 0;
        w->blocked = w->peer.write_blocked;
    }
    result = peer_t_open(ctx, to);
    w->stands = result == STWS_DONE;
    calls_verbose("open: %d", result);
    world_leave(w);
    fiber_chance();
    world_enter(w);
    world_outside(w);
    world_leave(w);
    return result;
}

static long world_read(void *ctx, char *buf, size_t len) {
    struct world *w = (struct world *)((struct peer *)ctx)->extra;
    char scrap[64];
    long n;
    world_enter(w);
    world_inside(w);
    fiber_chance();
    n = peer_t_read(ctx, buf, len);
    if (w->threaded && w->peer.out.len == 0)
        while (read(w->peer.pipe[0], scrap, sizeof scrap) > 0) continue;
    if (n) world_moved(w);
    if (n) calls_verbose("read: %ld", n);
    world_outside(w);
    world_leave(w);
    return n;
}

static void world_ring(struct world *w) {
    if (w->threaded && (w->peer.out.len || w->peer.ending) && write(w->peer.pipe[1], "", 1) < 0)
        return; /* the pipe is full, so the reader is woken anyway */
}

static long world_write(void *ctx, const char *buf, size_t len) {
    struct world *w = (struct world *)((struct peer *)ctx)->extra;
    long n;
    world_enter(w);
    world_inside(w);
    fiber_chance();
    n = peer_t_write(ctx, buf, len);
    calls_verbose("write %d: %ld", (int)len, n);
    if (n <= 0 || (size_t)n < len) w->blocked = 1;
    if (n) world_moved(w);
    peer_listen(&w->peer);
    HOLDS(w->peer.broken == 0, "the client violates the protocol: %d", w->peer.broken);
    peer_forget(&w->peer);
    world_ring(w);
    world_outside(w);
    world_leave(w);
    return n;
}

/* Without confirm, everything that was sent so far may be lost with its session. */
static void expose_all(struct world *w) {
    int i;
    for (i = 0; i < w->send_count; i++) w->sends[i].exposed = 1;
}

static void world_close(void *ctx) {
    struct world *w = (struct world *)((struct peer *)ctx)->extra;
    int error;
    world_enter(w);
    if (w->peer.client) world_inside(w);
    world_moved(w);
    error = w->peer.client ? stws_error(w->peer.client) : 0;
    calls_verbose("close: %d", error);
    peer_t_close(ctx);
    w->stands = 0;
    if (w->logged_in && error < 0) expose_all(w);
    w->logged_in = 0;
    memset(w->subs, 0, sizeof w->subs);
    if (w->peer.client) world_outside(w);
    world_leave(w);
}

static int world_wants(void *ctx, int wants) {
    struct peer *p = (struct peer *)ctx;
    struct world *w = (struct world *)p->extra;
    int answer;
    world_enter(w);
    answer = w->stands ? peer_t_wants(ctx, wants) : wants;
    if (w->threaded && w->stands && (wants & STWS_WANT_WRITE) && !p->write_blocked)
        answer |= STWS_WANT_NOW; /* the pipe's descriptor does not show whether it can be written */
    world_leave(w);
    return answer;
}

/* Returns what a real poll would report for the transport's descriptor. */
static int world_is_ready(const struct pollfd *fd) {
    const struct peer *p = &calls_world->peer;
    if (fd->fd != p->pipe[0]) return -1;
    if (!calls_world->stands) return p->open_result != STWS_MORE;
    if ((fd->events & POLLIN) && (p->out.len || p->ending)) return 1;
    return (fd->events & POLLOUT) && (!p->write_blocked || p->write_error);
}

static long long world_now(void *ctx) {
    struct world *w = (struct world *)((struct peer *)ctx)->extra;
    struct timespec t;
    if (!w->threaded) return w->peer.now_us;
    (clock_gettime)(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int world_fill(void *ctx, void *out, size_t len) {
    struct world *w = (struct world *)((struct peer *)ctx)->extra;
    int result = -1;
    world_enter(w);
    if (w->no_randomness == 0)
        result = peer_fill(ctx, out, len);
    else
        w->no_randomness--, w->randomness_failed = 1;
    world_leave(w);
    return result;
}

static void *world_alloc(void *ctx, size_t size) {
    struct world *w = (struct world *)ctx;
    void *block = NULL;
    world_enter(w);
    if (w->no_memory > 0)
        w->no_memory--;
    else
        block = calls_malloc(size);
    if (block)
        w->allocated += size;
    else
        w->memory_failed = 1;
    world_leave(w);
    return block;
}

static void world_release(void *ctx, void *block, size_t size) {
    struct world *w = (struct world *)ctx;
    world_enter(w);
    HOLDS(size <= w->allocated, "more memory is released than was allocated");
    w->allocated -= size;
    world_leave(w);
    free(block);
}

#endif
