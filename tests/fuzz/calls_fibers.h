/* calls_fibers.h - threads of which only one runs at a time. They switch where a thread waits
   (poll, a lock, a condition, a join), or where the input requests it: at any system call of the
   client. So an input always does the same. They are real threads that pass a baton, because the
   client may ask the system which thread calls it.

   Time passes only when all threads wait. fibers.environment decides what else happens then. */
#ifndef CALLS_FIBERS_H
#define CALLS_FIBERS_H

#include <semaphore.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CALLS_TSAN 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define CALLS_TSAN 1
#endif

enum { FIBERS = 4, FIBER_LOCKS = 8 };
enum fiber_wait { WAIT_NOTHING, WAIT_LOCK, WAIT_POLL, WAIT_SIGNAL, WAIT_END };

static const long long FIBER_NEVER = 9223372036854775807LL;

struct fiber {
    pthread_t thread; /* it lives for all inputs */
    sem_t turn;
    int there;
    void *(*run)(void *);
    void *argument;
    int used, done;
    enum fiber_wait wait;
    const void *on;
    long long until;
    struct pollfd *fds;
    nfds_t count;
    int signalled, other;
};

struct fiber_lock {
    const void *mutex;
    int owner;
};

static struct fibers {
    struct fiber all[FIBERS]; /* the first one is the program's main thread */
    int current;
    int on;
    int created; /* number of the last one that pthread_create made */
    int preempt; /* switch to another thread after this number of chances; 0: do not switch */
    unsigned long changes;
    struct fiber_lock locks[FIBER_LOCKS];
    long long *now_us;
    int (*is_ready)(
        const struct pollfd *fd); /* for a simulated descriptor: 0 or 1; for a system descriptor:
                                     -1 */
    void (*environment)(void);    /* called when all threads wait: makes something happen */
    void (*intruder)(void);       /* called when another thread shall run, but none can */
    unsigned long idle;           /* waits that ended immediately, since anything changed */
} fibers;

/* ==== switching ==== */

static inline void fiber_await_turn(struct fiber *f) {
    while (sem_wait(&f->turn) != 0)
        if (errno != EINTR) abort();
}

static inline void fiber_switch(int to) {
    struct fiber *from = &fibers.all[fibers.current];
    int ends = from->done; /* after the switch its place may be used again */
    if (fibers.current == to) return;
    fibers.changes++;
    fibers.current = to;
    if (sem_post(&fibers.all[to].turn) != 0) abort();
    if (!ends) fiber_await_turn(from);
}

static inline void fiber_schedule(void);

static void *fiber_life(void *argument) {
    struct fiber *f = (struct fiber *)argument;
    for (;;) {
        fiber_await_turn(f);
        f->run(f->argument);
        f->done = 1;
        fiber_schedule();
    }
    return NULL;
}

static inline void fiber_prepare(struct fiber *f) {
    if (f->there) return;
    f->there = 1;
    if (sem_init(&f->turn, 0, 0) != 0) abort();
    if (f == fibers.all) return;
    if ((pthread_create)(&f->thread, NULL, fiber_life, f) != 0) abort();
    pthread_detach(f->thread);
}

/* Returns the number of a new thread, or 0 if there are too many. */
static inline int fiber_spawn(void *(*run)(void *), void *argument) {
    struct fiber *f = &fibers.all[1];
    while (f < fibers.all + FIBERS && f->used) f++;
    if (f == fibers.all + FIBERS) return 0;
    f->used = 1;
    f->done = f->signalled = 0;
    f->run = run;
    f->argument = argument;
    f->wait = WAIT_NOTHING;
    fiber_prepare(f);
    return (int)(f - fibers.all);
}

static inline void fibers_reset(void) {
    int i;
    for (i = 0; i < FIBERS; i++) fibers.all[i].used = fibers.all[i].done = 0;
    memset(fibers.locks, 0, sizeof fibers.locks);
    fibers.all[0].used = 1;
    fiber_prepare(&fibers.all[0]);
    fibers.all[0].wait = WAIT_NOTHING;
    fibers.current = fibers.preempt = 0;
    fibers.changes = fibers.idle = 0;
}

/* ==== waiting ==== */

static inline struct fiber_lock *fiber_find_lock(const void *mutex) {
    int i;
    for (i = 0; i < FIBER_LOCKS; i++)
        if (fibers.locks[i].mutex == mutex) return &fibers.locks[i];
    return NULL;
}

static inline int fiber_fd_ready(const struct pollfd *fd) {
    struct pollfd one = *fd;
    int answer = fibers.is_ready(fd);
    return answer >= 0 ? answer : (poll)(&one, 1, 0) > 0;
}

static inline int fiber_is_ready(const struct fiber *f) {
    nfds_t i;
    if (!f->used || f->done) return 0;
    if (f->wait == WAIT_NOTHING) return 1;
    if (f->wait == WAIT_LOCK) return fiber_find_lock(f->on) == NULL;
    if (f->wait == WAIT_END) return fibers.all[f->other].done;
    if (*fibers.now_us >= f->until) return 1;
    if (f->wait == WAIT_SIGNAL) return f->signalled;
    for (i = 0; i < f->count; i++)
        if (fiber_fd_ready(&f->fds[i])) return 1;
    return 0;
}

/* Returns a thread that can continue, or -1. Looks behind the current thread first. */
static inline int fiber_next(void) {
    int i;
    for (i = 1; i <= FIBERS; i++) {
        int k = (fibers.current + i) % FIBERS;
        if (fiber_is_ready(&fibers.all[k])) return k;
    }
    return -1;
}

/* Returns the earliest time for which a thread waits. */
static inline long long fiber_first_time(void) {
    long long first = FIBER_NEVER;
    int i;
    for (i = 0; i < FIBERS; i++) {
        const struct fiber *f = &fibers.all[i];
        if (!f->used || f->done || (f->wait != WAIT_POLL && f->wait != WAIT_SIGNAL)) continue;
        if (f->until < first) first = f->until;
    }
    return first;
}

/* Switches to a thread that can continue, and returns when the current thread may continue. */
static inline void fiber_schedule(void) {
    int next;
    while ((next = fiber_next()) < 0) fibers.environment();
    fiber_switch(next);
}

static inline void fiber_wait(enum fiber_wait wait, const void *on, long long until) {
    struct fiber *f = &fibers.all[fibers.current];
    f->wait = wait;
    f->on = on;
    f->until = until;
    f->signalled = 0;
    while (!fiber_is_ready(f)) fiber_schedule();
    f->wait = WAIT_NOTHING;
}

/* Switches to another thread here, if the input requests it. */
static inline void fiber_chance(void) {
    int next;
    if (!fibers.on || fibers.preempt == 0 || --fibers.preempt > 0) return;
    next = fiber_next();
    if (next == fibers.current || next < 0) fibers.intruder();
    next = fiber_next();
    if (next >= 0) fiber_switch(next);
}

/* Frees the place of a thread that has ended. */
static inline void fiber_collect(int number) {
    if (number != fibers.current && fibers.all[number].done) fibers.all[number].used = 0;
}

static inline int fibers_alive(void) {
    int i, alive = 0;
    for (i = 1; i < FIBERS; i++) alive += fibers.all[i].used && !fibers.all[i].done;
    return alive;
}

/* ==== the hooks ==== */

static int calls_poll(struct pollfd *fds, nfds_t count, int ms) {
    struct fiber *f = &fibers.all[fibers.current];
    int ready = 0;
    nfds_t i;
    if (!fibers.on) return (poll)(fds, count, ms);
    f->fds = fds;
    f->count = count;
    if (++fibers.idle > 20000)
        calls_broken("a wait ends immediately, again and again, but nothing changes");
    fiber_chance();
    fiber_wait(WAIT_POLL, NULL, ms < 0 ? FIBER_NEVER : *fibers.now_us + ms * 1000LL);
    for (i = 0; i < count; i++) {
        fds[i].revents = fiber_fd_ready(&fds[i]) ? fds[i].events : 0;
        ready += fds[i].revents != 0;
    }
    return ready;
}

static int calls_clock(clockid_t clock, struct timespec *now) {
    if (!fibers.on) return (clock_gettime)(clock, now);
    now->tv_sec = (time_t)(*fibers.now_us / 1000000);
    now->tv_nsec = (long)(*fibers.now_us % 1000000) * 1000;
    return 0;
}

static int calls_lock(pthread_mutex_t *mutex) {
    struct fiber_lock *lock;
    if (!fibers.on) return (pthread_mutex_lock)(mutex);
    lock = fiber_find_lock(mutex);
    if (lock && lock->owner == fibers.current)
        calls_broken("a thread locks a lock that it holds already");
    if (lock) fiber_wait(WAIT_LOCK, mutex, FIBER_NEVER);
    lock = fiber_find_lock(NULL);
    if (!lock) calls_broken("too many locks");
    lock->mutex = mutex;
    lock->owner = fibers.current;
    return 0;
}

static void fiber_let_go(pthread_mutex_t *mutex) {
    struct fiber_lock *lock = fiber_find_lock(mutex);
    if (!lock || lock->owner != fibers.current)
        calls_broken("a thread unlocks a lock that it does not hold");
    else
        lock->mutex = NULL;
}

static int calls_unlock(pthread_mutex_t *mutex) {
    if (!fibers.on) return (pthread_mutex_unlock)(mutex);
    fiber_let_go(mutex);
    fiber_chance();
    return 0;
}

static int calls_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until) {
    long long end = FIBER_NEVER;
    if (!fibers.on) {
        if (!until) return (pthread_cond_wait)(cond, mutex);
        return (pthread_cond_timedwait)(cond, mutex, until);
    }
    if (until) end = until->tv_sec * 1000000LL + until->tv_nsec / 1000;
    if (++fibers.idle > 20000)
        calls_broken("a wait ends immediately, again and again, but nothing changes");
    fiber_let_go(mutex);
    fiber_wait(WAIT_SIGNAL, cond, end);
    calls_lock(mutex);
    return *fibers.now_us < end ? 0 : ETIMEDOUT;
}

static int calls_signal(pthread_cond_t *cond, int all) {
    int i;
    if (!fibers.on) return all ? (pthread_cond_broadcast)(cond) : (pthread_cond_signal)(cond);
    for (i = 0; i < FIBERS; i++) {
        struct fiber *f = &fibers.all[i];
        if (!f->used || f->done || f->wait != WAIT_SIGNAL || f->on != cond || f->signalled)
            continue;
        f->signalled = 1;
        if (!all) break;
    }
    return 0;
}

static int calls_create(pthread_t *thread, void *(*run)(void *), void *argument) {
    int number;
    if (!fibers.on) return (pthread_create)(thread, NULL, run, argument);
    number = fibers.created = fiber_spawn(run, argument);
    *thread = (pthread_t)(number + 1);
    return number ? 0 : EAGAIN;
}

static int calls_join(pthread_t thread) {
    struct fiber *self = &fibers.all[fibers.current];
    if (!fibers.on) return (pthread_join)(thread, NULL);
    self->other = (int)thread - 1;
    fiber_wait(WAIT_END, NULL, FIBER_NEVER);
    fiber_collect(self->other);
    return 0;
}

#endif
