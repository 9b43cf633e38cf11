/* sim.c - simulates clients of stomp_ws.h, several brokers and the network between them. All of it
   runs in one thread and in simulated time. Faults happen at random, and everything that the
   library promises must still be true.

       sim --seeds N [--from S] [--first]     run N stories, each with its own seed; with --first
                                              stop at the first story that fails
       sim --seed S [--verbose]               run one story, and print it line by line

   world.h contains the state. kinds.h counts what happens. wire.h parses what clients write, and
   net.h transports it. broker.h contains the brokers, faults.h the faults, and check.h the
   conditions that must be true. acts.h and user.h are the programs that use the clients. threads.h
   simulates other threads. */
#define _POSIX_C_SOURCE 200809L
#define STOMP_WS_IMPLEMENTATION
#include "faults.h"
#include "threads.h"
#include "user.h"

#include <sys/wait.h>
#include <unistd.h>

enum { STEPS_AT_ONCE = 20000, DRAIN_MS = 90000 };

/* ==== the seed chooses the properties of the world ==== */

static void make_profile(struct world *w) {
    static const int versions[] = {7, 4, 6, 7, 2, 1, 4, 6};
    static const int latencies[] = {1, 3000, 20000, 90000};
    struct profile *p = &w->p;
    p->users = between(w, 1, USERS);
    p->brokers = between(w, 1, BROKERS);
    p->confirm = chance(w, 600);
    p->versions = versions[below(w, 8)];
    p->partial = chance(w, 400) ? 0 : between(w, 50, 900);
    p->tiny = chance(w, 350);
    p->large = chance(w, 250);
    p->latency_us = latencies[below(w, 4)];
    p->cut = chance(w, 200) ? between(w, 16, 400) : 0;
    p->prefetch = between(w, 1, 6);
    p->queue = chance(w, 150);
    p->fault_every_ms = chance(w, 100) ? 0 : between(w, 150, 3000);
    p->action_every_ms = between(w, 5, 120);
    p->hooks = chance(w, 200);
    p->transactions = chance(w, 400);
    p->out_of_order = chance(w, 500) ? between(w, 50, 600) : 0;
    p->policy = chance(w, 250)   ? STWS_FULL_DROP_OLDEST
                : chance(w, 400) ? STWS_FULL_BLOCK
                                 : STWS_FULL_FAIL;
    p->blocking = chance(w, 250);
    p->refusals = chance(w, 200) ? 15 : 0;
    p->interrupts = chance(w, 400) ? between(w, 2, 60) : 0;
}
static void make_brokers(struct world *w) {
    static const char *const names[] = {NULL, "RabbitMQ/3.13.0", "ActiveMQ-Artemis/2.31",
                                        "ActiveMQ/5.18", "other"};
    int i, shared = chance(w, 700);
    for (i = 0; i < w->p.brokers; i++) {
        struct broker *b = &w->brokers[i];
        b->store = shared ? 0 : i % STORES;
        do b->versions = between(w, 1, 7);
        while (!(b->versions & w->p.versions));
        b->server = names[below(w, 5)];
        b->beat_out = chance(w, 150) ? 0 : between(w, 300, 1500);
        b->beat_in = chance(w, 150) ? 0 : between(w, 300, 1500);
    }
}
static void make_world(struct world *w, uint64_t seed, int verbose) {
    int i;
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->random = scramble(seed + 1);
    w->verbose = verbose;
    w->hash = 14695981039346656037u;
    w->now_us = 1000000000;
    w->faults = 1;
    make_profile(w);
    make_brokers(w);
    for (i = 0; i < STORES; i++) {
        void *memory = malloc(stws_dedup_size(DEDUP));
        if (!memory) abort();
        w->stores[i].seen = stws_dedup_init(memory, DEDUP);
    }
    new_parcel(w, 0, 0); /* number 0 belongs to no message */
    w->end_us = w->now_us + between(w, 3000, 15000) * MS;
    w->next_fault =
        w->p.fault_every_ms ? w->now_us + below(w, 2 * w->p.fault_every_ms * 1000) : NEVER;
    for (i = 0; i < w->p.users; i++) {
        struct user *u = &w->users[i];
        u->w = w;
        u->number = i;
        u->style = below(w, 2);
        u->due_us = u->next_other = NEVER;
        u->wake_fd = -1;
        u->next_action = w->now_us + below(w, 20000);
        if (w->p.queue) u->queue = stws_queue_create(w->p.large ? 65536 : 4096);
    }
}

/* ==== the progress of time ==== */

static int user_ready(const struct user *u) {
    const struct conn *c = u->conn;
    long long now = u->w->now_us;
    if (!u->client || u->busy || u->ended) return 0;
    if (u->due_us <= now || is_woken(u->wake_fd)) return 1;
    return c && (((u->wants & STWS_WANT_READ) && conn_readable(c, now)) ||
                 ((u->wants & STWS_WANT_WRITE) && conn_writable(c, now)));
}

/* A user acts: it uses its client, or creates one. */
static void user_turn(struct user *u) {
    struct world *w = u->w;
    if (u->next_other <= w->now_us) other_calls(u);
    if (u->busy || u->ended) return;
    become(u);
    if (u->next_action <= w->now_us) {
        u->next_action = w->now_us + below(w, 2 * w->p.action_every_ms * 1000) + 1;
        if (!u->client && !w->parting)
            user_make(u);
        else if (!w->draining)
            user_act(u);
        else
            release_grip(u);
        user_pop(u);
        if (u->client && !u->in_use && !w->draining && chance(w, 4)) {
            happened(w, END_DESTROYED);
            user_destroy(u);
        }
        user_look(u);
    }
    if (u->client && (user_ready(u) || chance(w, 10))) user_step(u);
}
static void prune(struct world *w) {
    struct conn **at = &w->conns, *c;
    while ((c = *at) != NULL) {
        if (c->client_open || c->server_open || conn_next(c) != NEVER) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        stream_free(&c->up);
        stream_free(&c->down);
        bytes_free(&c->server.raw);
        bytes_free(&c->server.stomp);
        bytes_free(&c->check.raw);
        bytes_free(&c->check.stomp);
        bytes_free(&c->outgoing);
        free(c->deliveries);
        free(c->transaction_uids);
        free(c);
    }
}

/* Runs everything that is due at this instant. */
static void world_turn(struct world *w) {
    struct conn *c;
    int i;
    for (c = w->conns; c; c = c->next) {
        if (c->server_open)
            server_turn(c);
        else
            stream_lose(&c->up);
        stream_arrive(&c->down, w->now_us);
    }
    serve_all(w);
    for (i = 0; i < w->p.users && !w->is_broken; i++) user_turn(&w->users[i]);
    if (w->next_fault <= w->now_us && w->faults) {
        w->next_fault = w->now_us + below(w, 2 * w->p.fault_every_ms * 1000) + 1;
        strike(w);
    }
}
static long long world_next(struct world *w) {
    long long first = NEVER;
    struct conn *c;
    int i;
    for (c = w->conns; c; c = c->next) sooner(&first, conn_next(c));
    for (i = 0; i < w->p.users; i++) {
        struct user *u = &w->users[i];
        sooner(&first, u->next_other);
        if (u->busy || u->ended) continue;
        sooner(&first, u->next_action);
        if (u->client) sooner(&first, u->due_us);
        if (user_ready(u)) return w->now_us;
    }
    if (w->faults) sooner(&first, w->next_fault);
    return first;
}

/* Advances the world by one instant, at most to `limit`. */
static void world_advance(struct world *w, long long limit) {
    long long next = world_next(w);
    if (next > limit) next = limit;
    if (next > w->now_us) {
        w->now_us = next;
        w->steps_now = 0;
    } else if (++w->steps_now > STEPS_AT_ONCE) {
        broken(w, "time does not advance");
    }
    world_turn(w);
}

/* Returns what poll() would return, for the connection of a user or for a wake pipe. */
static int poll_ready(const struct world *w, const struct pollfd *fds, nfds_t count) {
    nfds_t i;
    for (i = 0; i < count; i++) {
        int number = fds[i].fd - NET_FD;
        const struct conn *c = number >= 0 && number < w->p.users ? w->users[number].conn : NULL;
        if (number < 0 && (fds[i].events & POLLIN) && is_woken(fds[i].fd)) return 1;
        if (c && (fds[i].events & POLLIN) && conn_readable(c, w->now_us)) return 1;
        if (c && (fds[i].events & POLLOUT) && conn_writable(c, w->now_us)) return 1;
    }
    return 0;
}
static int sim_poll(struct pollfd *fds, nfds_t count, int ms) {
    struct world *w = sim_world;
    long long until = ms < 0 ? NEVER : w->now_us + ms * MS;
    int thread = w->thread, may_wait = w->may_wait, interrupted = w->interrupted, ready;
    while (!(ready = poll_ready(w, fds, count))) {
        if (w->is_broken) w->now_us += 1000 * MS; /* every call that waits shall give up */
        if (w->now_us >= until || w->is_broken) break;
        if (ms < 0 && w->now_us > w->end_us + DRAIN_MS * MS)
            broken(w, "a call waits without an end");
        w->may_wait = w->interrupted = 0; /* for other callers during this wait */
        world_advance(w, until);
        w->thread = thread;
        w->may_wait = may_wait;
        w->interrupted = interrupted;
    }
    return ready;
}

/* Another thread waits for a driving thread, at most until this time. */
static int sim_cond_wait(const pthread_mutex_t *mutex, const struct timespec *until) {
    struct world *w = sim_world;
    long long end = until->tv_sec * 1000000LL + until->tv_nsec / 1000;
    int thread = w->thread, interrupted = w->interrupted;
    if (!w->may_wait) broken(w, "a call waits although it must not");
    w->held[0] = NULL;
    w->interrupted = w->may_wait = w->signals = 0;
    while (!w->signals && w->now_us < end && !w->is_broken) world_advance(w, end);
    if (w->is_broken) w->now_us += 1000 * MS; /* every call that waits shall give up */
    w->may_wait = 1;
    w->interrupted = interrupted;
    w->thread = thread;
    if (w->held[0]) broken(w, "a driving thread still holds a lock");
    w->held[0] = mutex;
    return w->now_us < end ? 0 : ETIMEDOUT;
}
static int sim_time(struct timespec *now) {
    now->tv_sec = (time_t)(sim_world->now_us / 1000000);
    now->tv_nsec = (long)(sim_world->now_us % 1000000) * 1000;
    return 0;
}

/* ==== the end: no more faults, and all messages must arrive ==== */

static int shelf_left(const struct world *w, int store) {
    int i, k, left = 0;
    for (i = 0; i < QUEUES; i++)
        for (k = w->stores[store].shelves[i].first; k < w->stores[store].shelves[i].count; k++)
            left += w->stores[store].shelves[i].entries[k].state != ENTRY_GONE;
    return left;
}
static int user_left(struct user *u) {
    int i, left = 0;
    become(u);
    if (u->client && u->in_transaction) act_transaction(u);
    if (!u->client || !is_connected(u)) return 1;
    for (i = 0; i < u->receipt_count; i++) left += !u->receipts[i].ended;
    for (i = 0; i < GRIPS; i++) left += u->grips[i].copy != NULL;
    if (stws_flush(u->client, 0) != STWS_OK) return left + 1;
    return left + subs_differ(u);
}
static void heal(struct world *w, int store) {
    struct conn *c;
    int i;
    for (i = 0; i < BROKERS; i++) {
        struct broker *b = &w->brokers[i];
        b->refuse_until = b->secret_until = b->strict_until = 0;
        b->down_until = b->store == store ? 0 : NEVER;
        b->down_how = STWS_ERR_CONNECT;
    }
    for (c = w->conns; c; c = c->next) fault_reset(w, NULL, c);
    w->alloc_fail_until = 0;
    w->draining = 1;
    w->faults = 0;
    w->jumped_at = w->now_us;
    note(w, "no more faults from here on, with the brokers of store %d", store);
}

/* Subscribes user 0 to each queue, with acknowledgements. */
static void listen_to_all(struct world *w) {
    struct user *u = &w->users[0];
    int place, i, listens;
    if (!u->client || u->asked) return;
    become(u);
    for (i = 0; i < u->sub_count; i++)
        if (u->subs[i].live && u->subs[i].place >= QUEUES) act_unsubscribe(u, &u->subs[i]);
    for (place = 0; place < QUEUES; place++) {
        for (listens = i = 0; i < u->sub_count; i++)
            listens |= u->subs[i].live && u->subs[i].place == place;
        if (listens) continue;
        if (chance(w, 300))
            act_unsubscribe(u, some_sub(u)); /* the client's table of subscriptions
                                                                may be full */
        act_subscribe(u, place, ACK_EACH);
    }
    user_look(u);
}
static void drain(struct world *w, int store) {
    int i, left = 1;
    heal(w, store);
    w->end_us = w->now_us + DRAIN_MS * MS;
    while (left && !w->is_broken && w->now_us < w->end_us) {
        long long until = w->now_us + 200 * MS;
        listen_to_all(w);
        while (w->now_us < until && !w->is_broken) world_advance(w, until);
        left = shelf_left(w, store);
        for (i = 0; i < w->p.users; i++) left += user_left(&w->users[i]);
    }
    if (left && !w->is_broken)
        broken(w, "at the end %d things are unfinished (%d of them in queues)", left,
               shelf_left(w, store));
    for (i = 0; i < w->p.users && !w->is_broken; i++)
        check_flushed(&w->users[i], w->calls, "at the end");
}

/* Ends all clients in an orderly way, without faults. */
static void part(struct world *w) {
    int i, alive = 1;
    w->parting = 1;
    w->end_us = w->now_us + 10000 * MS;
    for (i = 0; i < w->p.users; i++) {
        struct user *u = &w->users[i];
        if (!u->client) continue;
        become(u);
        stws_disconnect(u->client, 5000);
        u->asked = 1;
        u->late_end = 0;
        u->end_by = w->now_us + 5000 * MS;
        user_look(u);
    }
    while (alive && !w->is_broken && w->now_us < w->end_us) {
        world_advance(w, w->end_us);
        for (alive = i = 0; i < w->p.users; i++) alive |= w->users[i].client != NULL;
    }
    if (alive) broken(w, "a client does not end");
}
static void free_world(struct world *w) {
    struct conn *c;
    int i, k;
    for (i = 0; i < w->p.users; i++) {
        if (w->users[i].client) user_destroy(&w->users[i]);
        stws_queue_destroy(w->users[i].queue);
        free(w->users[i].receipts);
        free(w->users[i].subs);
    }
    for (c = w->conns; c; c = c->next) {
        c->client_open = c->server_open = 0;
        c->fin_down_at = NEVER;
        c->deaf_until = c->stuck_until = c->open_at = 0;
        stream_lose(&c->up);
        stream_lose(&c->down);
    }
    prune(w);
    for (i = 0; i < STORES; i++) {
        for (k = 0; k < PLACES; k++) free(w->stores[i].shelves[k].entries);
        free(w->stores[i].seen);
    }
    free(w->parcels);
}

/* ==== stories ==== */

/* The results of many stories. */
struct tally {
    unsigned long long passed, failed, kinds[KINDS];
};

static void tell_failure(const struct world *w, const char *program) {
    int i, from = w->line_count > LINES ? w->line_count - LINES : 0;
    for (i = from; i < w->line_count && !w->verbose; i++) printf("    %s\n", w->lines[i % LINES]);
    printf("FAILED seed %llu: %s\n", (unsigned long long)w->seed, w->broken);
    printf("    to run it alone: %s --seed %llu --verbose\n", program, (unsigned long long)w->seed);
    fflush(stdout);
}

/* Runs one story from beginning to end. The caller frees the world. */
static struct world *tell(uint64_t seed, int verbose) {
    struct world *w = (struct world *)malloc(sizeof *w);
    int store, rounds = 0;
    if (!w) abort();
    make_world(w, seed, verbose);
    sim_world = w;
    while (!w->is_broken && w->now_us < w->end_us) {
        world_advance(w, w->end_us);
        if ((++rounds & 63) == 0) prune(w);
    }
    for (store = 0; store < STORES && !w->is_broken; store++)
        if (store == 0 || shelf_left(w, store)) drain(w, store);
    if (!w->is_broken) part(w);
    free_world(w);
    return w;
}

/* The same seed must produce the same story. Otherwise a failure could not be reproduced. */
static int is_same_again(const struct world *w) {
    struct world *again = tell(w->seed, 0);
    int same = again->hash == w->hash;
    if (!same)
        printf("FAILED seed %llu: the same seed produced another story\n",
               (unsigned long long)w->seed);
    free(again);
    return same;
}

enum { EACH_AGAIN = 500, LONG_RUN = 2000 };

static void tell_one(struct tally *t, uint64_t seed, int verbose, const char *program) {
    struct world *w = tell(seed, verbose);
    int passed = !w->is_broken, i;
    if (!passed) tell_failure(w, program);
    if ((!passed || seed % EACH_AGAIN == 0) && !is_same_again(w)) passed = 0;
    for (i = 0; i < KINDS; i++) t->kinds[i] += w->kinds[i];
    t->passed += (unsigned)passed;
    t->failed += (unsigned)!passed;
    free(w);
}

/* Runs every step-th seed in a child process. Returns the descriptor from which its tally can be
   read. */
static int tell_aside(uint64_t from, uint64_t end, unsigned step, const char *program) {
    struct tally t;
    int ends[2];
    pid_t child;
    memset(&t, 0, sizeof t);
    fflush(stdout);
    if (pipe(ends) != 0 || (child = fork()) < 0) abort();
    if (child > 0) {
        close(ends[1]);
        return ends[0];
    }
    close(ends[0]);
    for (; from < end; from += step) tell_one(&t, from, 0, program);
    fflush(stdout);
    _exit(write(ends[1], &t, sizeof t) == (ssize_t)sizeof t ? EXIT_SUCCESS : EXIT_FAILURE);
}
static void add_tally(struct tally *sum, int fd) {
    struct tally t;
    int i;
    if (read(fd, &t, sizeof t) != (ssize_t)sizeof t) {
        printf("FAILED: a child process with stories has died\n");
        sum->failed++;
    } else {
        for (i = 0; i < KINDS; i++) sum->kinds[i] += t.kinds[i];
        sum->passed += t.passed;
        sum->failed += t.failed;
    }
    close(fd);
    wait(NULL);
}

/* Prints how often each kind of thing happened. In a long run each kind must have happened. */
static void report_kinds(struct tally *t) {
    int i, is_long = t->passed + t->failed >= LONG_RUN;
    for (i = 0; i < KINDS; i++) {
        printf("%10llu  %s\n", t->kinds[i], kind_sentence[i]);
        if (t->kinds[i] || !is_long) continue;
        printf("FAILED: this never happened: %s\n", kind_sentence[i]);
        t->failed++;
    }
}
static uint64_t number_after(int argc, char **argv, const char *name, uint64_t otherwise) {
    int i;
    for (i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) return strtoull(argv[i + 1], NULL, 10);
    return otherwise;
}
static int has_option(int argc, char **argv, const char *name) {
    int i;
    for (i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return 1;
    return 0;
}
int main(int argc, char **argv) {
    enum { PROCESSES = 2 };
    uint64_t from = number_after(argc, argv, "--from", 1),
             end = from + number_after(argc, argv, "--seeds", 1000), i;
    int verbose = has_option(argc, argv, "--verbose"),
        only_first = has_option(argc, argv, "--first"), ends[PROCESSES];
    struct tally t;
    memset(&t, 0, sizeof t);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16); /* a failure is printed as a whole, although two
                                               processes print */
    if (has_option(argc, argv, "--seed")) {
        tell_one(&t, number_after(argc, argv, "--seed", 1), verbose, argv[0]);
    } else if (only_first) {
        for (i = from; i < end && !t.failed; i++) tell_one(&t, i, 0, argv[0]);
    } else {
        for (i = 0; i < PROCESSES; i++) ends[i] = tell_aside(from + i, end, PROCESSES, argv[0]);
        for (i = 0; i < PROCESSES; i++) add_tally(&t, ends[i]);
        report_kinds(&t);
    }
    printf("%llu passed, %llu failed\n", t.passed, t.failed);
    return t.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
