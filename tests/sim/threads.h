/* threads.h - other threads, at moments that the seed decides: between two steps of a client, while
   it waits, and in the middle of a step, wherever it has let go of its lock. They send, subscribe,
   acknowledge, flush and end, as stomp_ws.h allows from any thread. */
#ifndef SIM_THREADS_H
#define SIM_THREADS_H

#include "user.h"

enum { OTHER_THREAD = 100 };

/* From now on the thread that drives this user's client is calling. */
static void become(const struct user *u) {
    u->w->thread = u->number + 1;
}
static pthread_t sim_self(void) {
    return (pthread_t)sim_world->thread;
}

/* Has somebody written into a wake pipe? */
static int is_woken(int fd) {
    struct pollfd polled = {fd, POLLIN, 0};
    return fd >= 0 && poll(&polled, 1, 0) == 1;
}

/* With that policy a send may wait for room. */
static int never_waits(const struct user *u) {
    return u->options.outbox_policy != STWS_FULL_BLOCK;
}
static void other_acts(struct user *u) {
    struct world *w = u->w;
    int thread = w->thread;
    w->thread = OTHER_THREAD;
    w->interrupted++;
    user_act(u);
    w->interrupted--;
    w->thread = thread;
}

/* Another thread takes a message, and gives the one before back, which may have to wait for room. */
static void other_pops(struct user *u) {
    struct world *w = u->w;
    int thread = w->thread;
    long long began = w->now_us;
    w->thread = OTHER_THREAD;
    w->interrupted++;
    pop(u, below(w, 800));
    w->interrupted--;
    w->thread = thread;
    if (u->popped && w->now_us > began) happened(w, THREAD_WAITS_TO_POP);
}

/* May a call wait now? Only where no other call that waits is under way: their times would add
   up. */
static int all_are_idle(const struct world *w) {
    int i, busy = w->other_waits;
    for (i = 0; i < w->p.users; i++) busy |= w->users[i].busy;
    return !busy;
}

/* Another thread makes a call that waits for the driving one, which goes on meanwhile. */
static void other_waits(struct user *u) {
    if (!all_are_idle(u->w)) return;
    u->in_use = u->w->other_waits = u->w->may_wait = 1;
    if (u->queue && chance(u->w, 500))
        other_pops(u);
    else
        other_acts(u);
    u->in_use = u->w->other_waits = u->w->may_wait = 0;
    if (u->ended && !u->w->is_broken) user_destroy(u);
}

/* Another thread makes one that does not. What it asks for has to reach the driving one, which
   sleeps. */
static void other_pokes(struct user *u) {
    int taken = u->taken, slept = !u->busy && u->due_us > u->w->now_us && !is_woken(u->wake_fd);
    if (never_waits(u)) other_acts(u);
    if (!slept) return;
    if (is_woken(u->wake_fd))
        happened(u->w, THREAD_WAKES);
    else if (u->taken != taken)
        broken(u->w, "user %d: another thread has sent, and nobody is woken", u->number);
}

/* Another thread calls between two steps. */
static void other_calls(struct user *u) {
    struct world *w = u->w;
    u->next_other = w->draining ? NEVER : w->now_us + below(w, 4 * w->p.action_every_ms * 1000) + 1;
    if (!u->client || u->ended || w->draining) return;
    happened(w, THREAD_CALLS);
    if (chance(w, 200))
        other_waits(u);
    else
        other_pokes(u);
}

/* The client has let go of its lock, or calls out: another thread may come between. */
static void come_between(struct world *w) {
    struct user *u = &w->users[below(w, w->p.users)];
    if (!w->p.interrupts || w->interrupted || w->draining || w->is_broken ||
        !chance(w, w->p.interrupts))
        return;
    if (!u->client || !u->threaded || u->ended || u->dead || !never_waits(u)) return;
    happened(w, THREAD_COMES_BETWEEN);
    other_acts(u);
}
static int sim_lock(const pthread_mutex_t *mutex) {
    struct world *w = sim_world;
    if (w->held[0] == mutex || w->held[1]) broken(w, "a thread waits for a lock that it has");
    w->held[w->held[0] != NULL] = mutex;
    return 0;
}
static int sim_signal(void) {
    sim_world->signals++;
    return 0;
}
static int sim_unlock(const pthread_mutex_t *mutex) {
    struct world *w = sim_world;
    int last = w->held[1] != NULL;
    if (w->held[last] != mutex) broken(w, "a thread lets go of a lock that it does not have");
    w->held[last] = NULL;
    if (!last) come_between(w);
    return 0;
}

#endif
