/* world.h - the state that all parts of the simulator share: one clock that only the simulator
   advances, one generator of random numbers, the tables of parcels, stores, brokers, connections
   and users, the last lines of the log, and the first failure.

   Nothing here reads the real time, a real socket or an address. So the same seed always produces
   the same story. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

/* The client waits in poll(). Here poll() advances the world instead. The client's lock is only
   checked, because there is only one real thread. The simulator pretends that several threads
   call. */
static int sim_poll(struct pollfd *fds, nfds_t count, int ms);
static int sim_lock(const pthread_mutex_t *mutex);
static int sim_unlock(const pthread_mutex_t *mutex);
static pthread_t sim_self(void);
static int sim_cond_wait(const pthread_mutex_t *mutex, const struct timespec *until);
static int sim_signal(void);
static int sim_time(struct timespec *now);
#define poll(fds, count, ms) sim_poll(fds, count, ms)
#define pthread_mutex_lock(mutex) sim_lock(mutex)
#define pthread_mutex_unlock(mutex) sim_unlock(mutex)
#define pthread_self() sim_self()
#define pthread_cond_timedwait(cond, mutex, until) sim_cond_wait(mutex, until)
#define pthread_cond_broadcast(cond) sim_signal()
#define clock_gettime(clock, now) sim_time(now)
#include "../fault/scripted.h"
#undef poll
#undef pthread_mutex_lock
#undef pthread_mutex_unlock
#undef pthread_self
#undef pthread_cond_timedwait
#undef pthread_cond_broadcast
#undef clock_gettime

#include "kinds.h"

#define MS 1000LL
#define NEVER 9223372036854775807LL

enum { USERS = 3, BROKERS = 3, STORES = 2, PLACES = 4, QUEUES = 3, CONN_SUBS = 48, USER_SUBS = 12 };
enum { TRANSACTION_ACKS = 8, DEDUP = 65536 /* more than the number of SENDs in a story */ };
enum {
    GRIPS = 24,
    LINES = 90,
    NET_FD = 100000 /* descriptors from this number on are connections */
};

#define SECRET "hush-hush"

/* The destinations of messages: first the queues, then a topic. */
static const char *const place_name[PLACES] = {"/queue/a", "/queue/b:c\\d", "/queue/a.long",
                                               "/topic/t"};

/* A message and everything that is known about it, from the send call that accepted it to the
   callback that received it. */
struct parcel {
    int user, incarnation, place, kind;
    size_t size;
    int call;           /* number of the call that sent it; 0: the call refused it */
    int wanted;         /* the call accepted it */
    int told;           /* it requested a receipt */
    int transacted;     /* number of its transaction; 0: none */
    int requests;       /* sent by stws_request: only its reply confirms it */
    int waited;         /* its call waited for room, so later messages may have overtaken it */
    int stored;         /* a bit mask of the stores that have received it */
    char stable_id[64]; /* the value of options.stable_id's header, when first written */
    int sent_conn;      /* current connection when it was sent; 0: none */
    int written;        /* how often; below: the last connection and time */
    int written_conn;
    long long written_at;
    int accepted;  /* how often a broker accepted it */
    int confirmed; /* its receipt said OK; below: the last connection at that time */
    int confirmed_conn;
    int refused; /* a broker answered with ERROR, or it was dropped and the user was told */
};

/* A broker's queue: a shelf of entries. Several brokers may share a store of shelves. */
enum { ENTRY_READY, ENTRY_OUT, ENTRY_GONE };
struct entry {
    int uid, state, nacks, times;
};
struct shelf {
    struct entry *entries;
    int count, cap, first; /* all entries before the first are gone */
};
struct store {
    struct shelf shelves[PLACES];
    stws_dedup *seen; /* the stable ids of all received messages */
};

struct broker {
    int store, versions;
    const char *server; /* its name in the CONNECTED frame, or NULL */
    int beat_out, beat_in;
    long long down_until, refuse_until, secret_until; /* secret_until: until then it refuses
                                                         CONNECT */
    long long strict_until; /* until then it ends a session that subscribes to strict_place */
    int strict_place;
    int down_how;                   /* the error of open, or STWS_MORE: open does not finish */
    int refuse_status, retry_after; /* in its responses to upgrades while it refuses them */
};

/* One direction of a connection: bytes that have arrived, and bytes on their way. */
struct segment {
    size_t len;
    long long at_us;
};
struct stream {
    struct bytes data;
    struct segment *segments;
    int count, cap;
    size_t ready;
    long long last_us;
    int hole; /* everything that is sent disappears */
    size_t swallowed;
};

/* A parser for what the client writes. */
struct wire {
    struct bytes raw, stomp;
    int checks; /* 1: checks what is written; 0: reads what arrives at the broker */
    int http_done, closed, has_key;
    unsigned char key[4]; /* masking key of the last frame */
};

enum { ACK_AUTO, ACK_CLIENT, ACK_EACH };
struct server_sub {
    char id[24];
    int place, ack, out, live; /* out: messages that wait for their ACK */
};

enum { DELIVERY_OUT, DELIVERY_ACKED, DELIVERY_RETURNED };
struct delivery {
    int uid, sub, place, entry, state;
    int seen, ack_called, ack_written;
    int ack_on; /* the ack_on value of its subscription when it was acknowledged */
};

struct conn {
    struct conn *next;
    struct world *w;
    struct user *user;
    int number, broker;
    struct stream up, down;
    struct wire server, check;

    /* The network. */
    long long open_at, stuck_until, deaf_until, fin_down_at, fin_up_at;
    int open_result, client_open, server_open, reset;
    long long last_write, last_read;
    int stalled; /* a write accepted nothing at least one time */

    /* The session. */
    int logged_in, version, told; /* told: the user has received CONNECTED */
    int disconnected, errors;
    struct bytes outgoing;                       /* STOMP that the server sends in this turn */
    long long drop_at;                           /* when the server closes after an ERROR */
    long long beat_due, beat_every, client_beat; /* in us; beat_*: the server's heart-beats;
                                                    client_beat: those the client must send */
    int no_beats;
    int pings, pong; /* number of the last ping, and of the last ping that was answered */
    int retry_after;

    /* What the server knows about the session. */
    struct server_sub subs[CONN_SUBS];
    int sub_count;
    struct delivery *deliveries;
    int delivery_count, delivery_cap;
    char owed[16][32]; /* receipts that will be sent at owed_at */
    int receipts_owed;
    long long owed_at;
    char transaction[16];
    int *transaction_uids, transaction_count, transaction_cap;
    int transaction_acks[TRANSACTION_ACKS], ack_count; /* numbers of deliveries; a NACK is stored as
                                                          ~number */
    int last_uid[PLACES]; /* the last parcel that the broker accepted on this connection */
};

struct user_sub {
    int handle, place, ack, ack_on, live, call;
    char id[24];
    int at_connect; /* number of the connection on which it must be written before everything
                       else */
    int wire_conn;  /* number of the connection on which its SUBSCRIBE was last written */
    int left_conn;  /* number of the connection that was open when it was unsubscribed */
};
struct receipt_note {
    int number, uid, ended;
};

/* A message that is kept to acknowledge it later. */
struct grip {
    stws_message *copy;
    int conn, serial;
};

/* A program that uses one client after another. */
struct user {
    struct world *w;
    int number, incarnation, style; /* style 0: uses callbacks; 1: asks for the next event */
    stws *client;
    stws_options options;
    stws_transport transport;
    stws_clock clock;
    stws_random random;
    stws_allocator allocator;
    const char *urls[BROKERS + 1];
    stws_queue *queue;
    const stws_message *popped;
    struct conn *conn;

    /* How it is driven. */
    long long due_us, next_action;
    long long held_at;        /* when it last stopped reading */
    int wants, busy, calling; /* busy: in a driving call; calling: in a callback */
    int subscribing;          /* in stws_subscribe or stws_unsubscribe */
    int leaves;               /* the last turn left events for the next one */
    int threaded, wake_fd;    /* other threads may call its client, and wake it through wake_fd */
    long long next_other;     /* when another thread calls next */
    int in_use;               /* another thread is in a call that waits */

    /* What the client has reported, and what it must keep. */
    stws_connection_state state;
    int last_conn, ended, result, dead;
    int final; /* the last DISCONNECTED event announced that no further attempt follows */
    long long state_since, session_since, end_by, error_by, retry_at;
    int above;                /* OUTBOX_HIGH was reported, and OUTBOX_LOW not yet */
    int fifo_conn, fifo_next; /* the connection and serial number of the next message */
    int starved; /* an allocation failed: a frame larger than tx_buffer may have been given up */
    size_t live_bytes, bound;
    int blocks;

    /* What the user has requested. */
    int asked, stopped;    /* asked: 1 stws_disconnect, 2 stws_stop; late_end: the call came after
                              the client's end */
    int late_end, hurried; /* hurried: stws_reconnect_now was called since the last attempt */
    int taken;             /* number of sends that the client accepted */
    int in_transaction, transactions, acks_in; /* acks_in: number of ACKs in this transaction */
    char transaction[16];
    struct user_sub *subs; /* all subscriptions, also ended ones */
    int sub_count, sub_cap;
    struct receipt_note *receipts;
    int receipt_count, receipt_cap;
    struct grip grips[GRIPS];
};

/* The properties of a world: sizes, times in ms, and probabilities in permille. */
struct profile {
    int users, brokers, confirm, versions, partial, tiny, large, latency_us, cut, prefetch, queue;
    int fault_every_ms, action_every_ms, hooks, transactions, out_of_order, blocking, refusals;
    int interrupts;
    stws_outbox_policy policy;
};

struct world {
    uint64_t seed, random;
    struct profile p;
    int verbose, faults, draining, parting;
    long long now_us, next_fault, end_us, alloc_fail_until;
    long long jumped_at;  /* when the clock jumped, or a callback took some time */
    int steps_now, looks; /* at the same instant: steps of the world, and reads of the clock by
                             clients */
    long long looked_at;

    /* Threads. */
    int thread;      /* the caller: 1 and more drive the users' clients, 100 is another thread */
    int interrupted; /* another thread is calling within a turn, or must not do so */
    int other_waits; /* another thread is in a call that may wait */
    unsigned traced; /* a sum of the traced bytes */
    int signals;     /* number of signals from driving threads to waiting ones */
    int may_wait;    /* the current caller may wait */
    const pthread_mutex_t *held[2]; /* the locks that are held */

    struct parcel *parcels;
    int parcel_count, parcel_cap, calls, conn_count;
    int last_first[USERS][PLACES]; /* the last parcel that arrived for the first time */
    struct store stores[STORES];
    struct broker brokers[BROKERS];
    struct conn *conns;
    struct user users[USERS];

    /* The results. */
    unsigned kinds[KINDS];
    unsigned long long hash; /* of the whole story; the same seed must produce the same hash */
    int is_broken;
    char broken[400];
    char lines[LINES][200];
    int line_count;
};

static struct world *sim_world; /* for poll() and the lock, which get no other argument to find the
                                   world */

/* splitmix64. Each random number of the world is independent of how many random bytes the client
   requested before. */
static uint64_t draw(struct world *w) {
    uint64_t z = (w->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static int below(struct world *w, int limit) {
    return limit > 0 ? (int)(draw(w) % (unsigned)limit) : 0;
}

/* Returns 1 with this probability in permille. */
static int chance(struct world *w, int permille) {
    return below(w, 1000) < permille;
}
static int between(struct world *w, int low, int high) {
    return low + below(w, high - low + 1);
}

static void note(struct world *w, const char *format, ...) {
    char *line = w->lines[w->line_count++ % LINES];
    va_list list;
    const char *at;
    int n = snprintf(line, sizeof w->lines[0], "%9.3f ", (double)w->now_us / 1000.0);
    va_start(list, format);
    vsnprintf(line + n, sizeof w->lines[0] - (size_t)n, format, list);
    va_end(list);
    for (at = line; *at; at++) w->hash = (w->hash ^ (unsigned char)*at) * 1099511628211u;
    if (w->verbose) printf("%s\n", line);
}

static void happened(struct world *w, enum kind kind) {
    w->kinds[kind]++;
}

/* Only the first failure is kept. */
static void broken(struct world *w, const char *format, ...) {
    va_list list;
    if (w->is_broken) return;
    w->is_broken = 1;
    va_start(list, format);
    vsnprintf(w->broken, sizeof w->broken, format, list);
    va_end(list);
    note(w, "BROKEN: %s", w->broken);
}

static void *grow(void *data, int count, int *cap, size_t size) {
    if (count < *cap) return data;
    *cap = *cap ? 2 * *cap : 16;
    data = realloc(data, (size_t)*cap * size);
    if (!data) abort();
    return data;
}

/* ==== parcels: a body contains the parcel's number, from which all other content follows ==== */

static uint64_t scramble(uint64_t x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

enum { KIND_TEXT, KIND_BYTES, KIND_WIDE };

static int new_parcel(struct world *w, int user, int place) {
    struct parcel *p;
    w->parcels =
        (struct parcel *)grow(w->parcels, w->parcel_count, &w->parcel_cap, sizeof *w->parcels);
    p = &w->parcels[w->parcel_count];
    memset(p, 0, sizeof *p);
    p->user = user;
    p->place = place;
    p->kind = chance(w, 150) ? KIND_BYTES : chance(w, 150) ? KIND_WIDE : KIND_TEXT;
    p->size = (size_t)(10 + below(w, chance(w, 200) ? 900 : 60));
    if (w->p.large && chance(w, 120)) p->size = (size_t)below(w, 24000) + 10;
    return w->parcel_count++;
}

static void parcel_body(const struct world *w, int uid, struct bytes *out) {
    const struct parcel *p = &w->parcels[uid];
    uint64_t x = scramble((uint64_t)uid + 77);
    char c;
    bytes_clear(out);
    bytes_print(out, "m%06d:", uid);
    while (out->len < p->size) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        c = (char)('a' + (int)((x >> 40) % 26));
        if (p->kind == KIND_BYTES) c = (char)(x >> 48);
        if (p->kind == KIND_WIDE && (x >> 60) < 6) bytes_add(out, "\xe2\x82\xac", 3);
        bytes_add(out, &c, 1);
    }
}

/* Returns the number of the parcel that has this body, or -1 if the body is not exactly that of a
   parcel. */
static int parcel_of(const struct world *w, const char *body, size_t len) {
    struct bytes expected = {0};
    int uid = 0, same;
    if (len < 8 || body[0] != 'm' || body[7] != ':') return -1;
    uid = atoi(body + 1);
    if (uid < 0 || uid >= w->parcel_count) return -1;
    parcel_body(w, uid, &expected);
    same = expected.len == len && memcmp(expected.data, body, len) == 0;
    bytes_free(&expected);
    return same ? uid : -1;
}

/* Makes the value of a header. It needs escapes if all versions in use support them. */
static void parcel_note(const struct world *w, int uid, char out[32]) {
    uint64_t x = scramble((uint64_t)uid + 5);
    const char *odd = w->p.versions & STWS_STOMP_10 ? "=" : (x & 1) ? ":\\\n" : "\\c:";
    snprintf(out, 32, "n%d%s%d", uid, odd, (int)(x >> 50));
}

#endif
