/* world.h - what everything in the simulator shares: one clock that only the simulator moves, one
   seeded generator that all chance comes from, the tables of parcels, stores, brokers,
   connections and users, the last lines of the log, and the first thing that broke.

   Nothing here reads the time, a descriptor or an address, so a seed is the same story whenever
   it is told. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

/* The client's blocking calls wait in poll(): here that lets the world go on instead. Its lock is
   only watched, as there is but one thread; which one it takes that for, the simulator says. */
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
enum { TRANSACTION_ACKS = 8, DEDUP = 65536 /* more than a story has SENDs */ };
enum { GRIPS = 24, LINES = 90, NET_FD = 100000 /* descriptors from here on are connections */ };

#define SECRET "hush-hush"

/* Where messages go: the queues first, then a topic. */
static const char *const place_name[PLACES] = {"/queue/a", "/queue/b:c\\d", "/queue/a.long",
                                               "/topic/t"};

/* A message by its life: from the send that took it to the callback that got it. */
struct parcel {
    int user, incarnation, place, kind;
    size_t size;
    int call;           /* number of the call that sent it; 0: refused */
    int wanted;         /* the call took it */
    int told;           /* it asked for a receipt */
    int transacted;     /* number of the transaction that it is part of; 0: none */
    int requests;       /* by stws_request: its reply is all that confirms it */
    int waited;         /* its call waited for room, and others may have come before */
    int stored;         /* the stores that have had it, as bits */
    char stable_id[64]; /* options.stable_id's header, as it was first written */
    int sent_conn;      /* connection that stood when it was sent; 0: none */
    int written;        /* how often; last on that connection, at that time */
    int written_conn;
    long long written_at;
    int accepted;  /* how often by a broker */
    int confirmed; /* its receipt said OK, while that connection was the last */
    int confirmed_conn;
    int refused; /* a broker answered with an ERROR; or it was dropped, and the user told so */
};

/* A broker's queue: a shelf of entries. Several brokers may share a store of them. */
enum { ENTRY_READY, ENTRY_OUT, ENTRY_GONE };
struct entry {
    int uid, state, nacks, times;
};
struct shelf {
    struct entry *entries;
    int count, cap, first; /* all before the first are gone */
};
struct store {
    struct shelf shelves[PLACES];
    stws_dedup *seen; /* the stable ids of what came */
};

struct broker {
    int store, versions;
    const char *server; /* its name in CONNECTED, or NULL */
    int beat_out, beat_in;
    long long down_until, refuse_until, secret_until; /* secret: it refuses CONNECT */
    long long strict_until; /* it ends a session that subscribes to strict_place */
    int strict_place;
    int down_how;                   /* an error of open, or STWS_MORE: it hangs */
    int refuse_status, retry_after; /* of the answers to upgrades while it refuses them */
};

/* One direction of a connection: octets that are there, and octets under way. */
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
    int hole; /* what is put in vanishes */
    size_t swallowed;
};

/* A reader of what the client writes. */
struct wire {
    struct bytes raw, stomp;
    int checks; /* it looks at what is written; otherwise it is the broker's */
    int http_done, closed, has_key;
    unsigned char key[4]; /* of the last frame */
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
    int ack_on; /* of the subscription that it was acknowledged for */
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
    int stalled; /* a write took nothing, once */

    /* The session. */
    int logged_in, version, told; /* told: the user has heard CONNECTED */
    int disconnected, errors;
    struct bytes outgoing;                       /* STOMP that the server has said in this turn */
    long long drop_at;                           /* when the server leaves after an ERROR */
    long long beat_due, beat_every, client_beat; /* us; the server's next; the client's duty */
    int no_beats;
    int pings, pong; /* the last ping, and the last one answered */
    int retry_after;

    /* What the server knows of it. */
    struct server_sub subs[CONN_SUBS];
    int sub_count;
    struct delivery *deliveries;
    int delivery_count, delivery_cap;
    char owed[16][32]; /* receipts to come, at that time */
    int receipts_owed;
    long long owed_at;
    char transaction[16];
    int *transaction_uids, transaction_count, transaction_cap;
    int transaction_acks[TRANSACTION_ACKS], ack_count; /* deliveries; of a NACK ~ of the number */
    int last_uid[PLACES]; /* of what the broker took on this connection */
};

struct user_sub {
    int handle, place, ack, ack_on, live, call;
    char id[24];
    int at_connect; /* number of the connection on which it has to go before all else */
    int wire_conn;  /* number of the connection on which its SUBSCRIBE was last seen */
    int left_conn;  /* number of the connection that stood when it was unsubscribed */
};
struct receipt_note {
    int number, uid, ended;
};

/* A message that was kept for a later ACK. */
struct grip {
    stws_message *copy;
    int conn, serial;
};

/* A program, with one client after the other. */
struct user {
    struct world *w;
    int number, incarnation, style; /* style: 0 is called back, 1 asks for the next event */
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
    long long held_at;        /* when it last did not want to read */
    int wants, busy, calling; /* busy: in a driving call; calling: in a callback */
    int subscribing;          /* in stws_subscribe or stws_unsubscribe */
    int leaves;               /* the last turn left events behind */
    int threaded, wake_fd;    /* others may call its client, and wake it by this descriptor */
    long long next_other;     /* when another thread calls */
    int in_use;               /* another thread is in a call that waits */

    /* What the client has said, and what it has to keep. */
    int state, last_conn, ended, result, dead;
    int final; /* DISCONNECTED has said that no other attempt follows */
    long long state_since, session_since, end_by, error_by, retry_at;
    int above;                /* OUTBOX_HIGH was told, and no OUTBOX_LOW since */
    int fifo_conn, fifo_next; /* the message that has to come next */
    int starved; /* memory was short once: a frame larger than tx_buffer may have been given up */
    size_t live_bytes, bound;
    int blocks;

    /* What it has asked for. */
    int asked, stopped;    /* asked: 1 stws_disconnect, 2 stws_stop; late_end: after the end */
    int late_end, hurried; /* hurried: stws_reconnect_now was called since the last attempt */
    int taken;             /* sends that the client took */
    int in_transaction, transactions, acks_in; /* acks_in: ACKs in this transaction */
    char transaction[16];
    struct user_sub *subs; /* all that there ever were */
    int sub_count, sub_cap;
    struct receipt_note *receipts;
    int receipt_count, receipt_cap;
    struct grip grips[GRIPS];
};

/* What kind of world it is: sizes, times in ms, and chances in a thousand. */
struct profile {
    int users, brokers, confirm, versions, partial, tiny, large, latency_us, cut, prefetch, queue;
    int fault_every_ms, action_every_ms, hooks, transactions, out_of_order, policy, blocking;
    int refusals, interrupts;
};

struct world {
    uint64_t seed, random;
    struct profile p;
    int verbose, faults, draining, parting;
    long long now_us, next_fault, end_us, alloc_fail_until;
    long long jumped_at;  /* the clock, or a callback that took its time */
    int steps_now, looks; /* at the same instant: of the world, and of clients at the clock */
    long long looked_at;

    /* Threads. */
    int thread;      /* who is calling: 1 and more drive the users' clients, 100 is another */
    int interrupted; /* another thread has come between, or must not */
    int other_waits; /* another thread is in a call that may wait */
    unsigned traced; /* of what traces show */
    int signals;     /* of driving threads that something has moved */
    int may_wait;    /* and is the one that is calling just now */
    const pthread_mutex_t *held[2]; /* locks that are taken */

    struct parcel *parcels;
    int parcel_count, parcel_cap, calls, conn_count;
    int last_first[USERS][PLACES]; /* of what arrived for the first time */
    struct store stores[STORES];
    struct broker brokers[BROKERS];
    struct conn *conns;
    struct user users[USERS];

    /* What came of it. */
    unsigned kinds[KINDS];
    unsigned long long hash; /* of the whole story: the same seed gives the same */
    int is_broken;
    char broken[400];
    char lines[LINES][200];
    int line_count;
};

static struct world *sim_world; /* for poll() and the lock, which have no other way to know */

/* splitmix64: every draw is independent of how many octets the client asked for before it. */
static uint64_t draw(struct world *w) {
    uint64_t z = (w->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static int below(struct world *w, int limit) {
    return limit > 0 ? (int)(draw(w) % (unsigned)limit) : 0;
}

/* True so often in a thousand. */
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

/* The first thing that broke is the one that counts. */
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

/* ==== parcels: a body says whose it is, and the rest of it follows from that ==== */

static uint64_t scramble(uint64_t x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

enum { KIND_TEXT, KIND_OCTETS, KIND_WIDE };

static int new_parcel(struct world *w, int user, int place) {
    struct parcel *p;
    w->parcels =
        (struct parcel *)grow(w->parcels, w->parcel_count, &w->parcel_cap, sizeof *w->parcels);
    p = &w->parcels[w->parcel_count];
    memset(p, 0, sizeof *p);
    p->user = user;
    p->place = place;
    p->kind = chance(w, 150) ? KIND_OCTETS : chance(w, 150) ? KIND_WIDE : KIND_TEXT;
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
        if (p->kind == KIND_OCTETS) c = (char)(x >> 48);
        if (p->kind == KIND_WIDE && (x >> 60) < 6) bytes_add(out, "\xe2\x82\xac", 3);
        bytes_add(out, &c, 1);
    }
}

/* Whose body is it? -1 when it is not exactly the one of a parcel. */
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

/* A header that needs escapes, where every version in play has them. */
static void parcel_note(const struct world *w, int uid, char out[32]) {
    uint64_t x = scramble((uint64_t)uid + 5);
    const char *odd = w->p.versions & STWS_STOMP_10 ? "=" : (x & 1) ? ":\\\n" : "\\c:";
    snprintf(out, 32, "n%d%s%d", uid, odd, (int)(x >> 50));
}

#endif
