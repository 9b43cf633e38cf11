/* faults.h - the faults: of the network, a broker, the clock and the memory. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include "broker.h"

/* Returns a random connection that is open at the client, or NULL. */
static struct conn *some_conn(struct world *w) {
    struct conn *c, *found = NULL;
    int seen = 0;
    for (c = w->conns; c; c = c->next)
        if (c->client_open && below(w, ++seen) == 0) found = c;
    return found;
}
static void fault_reset(struct world *w, struct broker *b, struct conn *c) {
    (void)b;
    server_end(c, "reset");
    c->reset = 1;
    stream_lose(&c->up);
    if (chance(w, 700)) stream_lose(&c->down);
}
static void fault_hole(struct world *w, struct broker *b, struct conn *c) {
    int which = below(w, 3);
    (void)b;
    if (which != 1) c->up.hole = 1;
    if (which != 2) c->down.hole = 1;
    if (which != 1 && chance(w, 500)) stream_lose(&c->up);
}
static void fault_close(struct world *w, struct broker *b, struct conn *c) {
    static const char codes[] = "\x03\xe8\x03\xe9\x03\xf3\x03\xea";
    (void)b;
    if (!c->server_open) return;
    server_flush(c);
    if (chance(w, 600) && c->server.http_done) net_say_ws(c, 8, 1, codes + 2 * below(w, 4), 2);
    server_end(c, "no reason");
}
static void fault_error(struct world *w, struct broker *b, struct conn *c) {
    (void)w, (void)b;
    if (c->logged_in && c->server_open) server_error(c, "no more", NULL);
}
static void fault_stuck(struct world *w, struct broker *b, struct conn *c) {
    (void)b;
    c->stuck_until = w->now_us + below(w, 3500) * MS;
}
static void fault_deaf(struct world *w, struct broker *b, struct conn *c) {
    (void)b;
    c->deaf_until = w->now_us + below(w, 2500) * MS;
}
static void fault_no_beats(struct world *w, struct broker *b, struct conn *c) {
    (void)w, (void)b;
    c->no_beats = 1;
}
static void fault_crash(struct world *w, struct broker *b, struct conn *c) {
    for (c = w->conns; c; c = c->next)
        if (&w->brokers[c->broker] == b && c->server_open) fault_reset(w, b, c);
    b->down_until = w->now_us + below(w, 3000) * MS;
    b->down_how = chance(w, 700) ? STWS_ERR_CONNECT : chance(w, 500) ? STWS_ERR_RESOLVE : STWS_MORE;
}

/* The broker crashes and loses what it had not stored. */
static void fault_crash_empty(struct world *w, struct broker *b, struct conn *c) {
    int i, k;
    fault_crash(w, b, c);
    for (i = 0; i < PLACES; i++)
        for (k = 0; k < w->stores[b->store].shelves[i].count; k++)
            w->stores[b->store].shelves[i].entries[k].state = ENTRY_GONE;
}
static void fault_refuse(struct world *w, struct broker *b, struct conn *c) {
    static const int statuses[] = {503, 500, 429, 502, 503, 429, 503, 503, 503, 401, 404, 200};
    (void)c;
    b->refuse_status = statuses[below(w, 12)];
    b->retry_after = chance(w, 400) ? between(w, 1, 3) : 0;
    b->refuse_until = w->now_us + below(w, 1500) * MS;
}
static void fault_jump(struct world *w, struct broker *b, struct conn *c) {
    (void)b, (void)c;
    w->now_us += below(w, 8000) * MS;
    w->jumped_at = w->now_us;
}
static void fault_memory(struct world *w, struct broker *b, struct conn *c) {
    (void)b, (void)c;
    w->alloc_fail_until = w->now_us + below(w, 1000) * MS;
}
static void fault_secret(struct world *w, struct broker *b, struct conn *c) {
    (void)c;
    b->secret_until = w->now_us + below(w, 1000) * MS;
}

static void fault_strict(struct world *w, struct broker *b, struct conn *c) {
    (void)c;
    b->strict_until = w->now_us + between(w, 5000, 90000) * MS;
    b->strict_place = below(w, PLACES);
}

/* Causes a random fault. Each kind has its weight. */
static void strike(struct world *w) {
    static const struct {
        enum kind kind;
        int weight, needs_conn;
        void (*strike)(struct world *w, struct broker *b, struct conn *c);
    } faults[] = {{FAULT_RESET, 20, 1, fault_reset},
                  {FAULT_HOLE, 10, 1, fault_hole},
                  {FAULT_CLOSE, 10, 1, fault_close},
                  {FAULT_ERROR, 10, 1, fault_error},
                  {FAULT_STUCK, 10, 1, fault_stuck},
                  {FAULT_DEAF, 10, 1, fault_deaf},
                  {FAULT_NO_BEATS, 10, 1, fault_no_beats},
                  {FAULT_CRASH, 14, 0, fault_crash},
                  {FAULT_CRASH_EMPTY, 6, 0, fault_crash_empty},
                  {FAULT_REFUSE, 10, 0, fault_refuse},
                  {FAULT_JUMP, 10, 0, fault_jump},
                  {FAULT_MEMORY, 10, 0, fault_memory},
                  {FAULT_SECRET, 3, 0, fault_secret},
                  {FAULT_STRICT, 8, 0, fault_strict}};
    struct conn *c = some_conn(w);
    int broker = below(w, w->p.brokers), pick = below(w, 141), i = 0;
    for (; pick >= faults[i].weight; i++) pick -= faults[i].weight;
    if (!c && faults[i].needs_conn) return;
    note(w, "%s: connection %d, broker %d", kind_sentence[faults[i].kind], c ? c->number : 0,
         broker);
    happened(w, faults[i].kind);
    faults[i].strike(w, &w->brokers[broker], c);
}

#endif
