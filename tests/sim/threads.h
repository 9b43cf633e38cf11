/* threads.h - other threads, which call at moments that the seed chooses: between two turns of a
   client, while it waits, and within a turn wherever it has released its lock. They send,
   subscribe, acknowledge, flush and end, as stomp_ws.h allows from any thread. */
#ifndef SIM_THREADS_H
#define SIM_THREADS_H

#include "user.h"

enum { OTHER_THREAD = 100 };

/* The thread that drives this user's client is the caller from now on. */
static void become(const struct user *u) {
    u->w->thread = u->number + 1;
}
static pthread_t sim_self(void) {
    return (pthread_t)sim_world->thread;
}

/* Returns whether the wake pipe contains data. */
static int is_woken(int fd) {
    struct pollfd polled = {fd, POLLIN, 0};
    return fd >= 0 && poll(&polled, 1, 0) == 1;
}

/* Returns whether a send never waits for room, which depends on options.outbox_policy. */
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

/* Another thread takes a message from the queue and gives the previous message back. That may have
   to wait for room. */
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

/* Returns whether a call may wait now. That is so if no other call waits, because their waiting
   times would add up. */
static int all_are_idle(const struct world *w) {
    int i, busy = w->other_waits;
    for (i = 0; i < w->p.users; i++) busy |= w->users[i].busy;
    return !busy;
}

/* Another thread makes a call that waits for the driving thread, which continues meanwhile. */
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

/* Another thread makes a call that does not wait. The driving thread, which sleeps, must be woken
   for it. */
static void other_pokes(struct user *u) {
    int taken = u->taken, slept = !u->busy && u->due_us > u->w->now_us && !is_woken(u->wake_fd);
    if (never_waits(u)) other_acts(u);
    if (!slept) return;
    if (is_woken(u->wake_fd))
        happened(u->w, THREAD_WAKES);
    else if (u->taken != taken)
        broken(u->w, "user %d: another thread has sent, and the driving thread is not woken",
               u->number);
}

/* Another thread calls between two turns. */
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

/* The client has released its lock, or calls a function of the program. Another thread may call at
   this moment. */
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
    if (w->held[0] == mutex || w->held[1]) broken(w, "a thread locks a lock that it holds already");
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
    if (w->held[last] != mutex) broken(w, "a thread unlocks a lock that it does not hold");
    w->held[last] = NULL;
    if (!last) come_between(w);
    return 0;
}

#endif
