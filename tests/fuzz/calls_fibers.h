/* calls_fibers.h - threads of which one runs at a time. They change where one waits (poll, a lock, a
   condition, a join), or where the input says so: at any call of the system's that the client makes.
   So what happens is the same each time. They are real threads that pass a baton, as the client may
   ask the system who it is called by.

   Time passes only when all of them wait. What else may happen then is for fibers.environment. */
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
    pthread_t thread; /* there for all inputs */
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
    struct fiber all[FIBERS]; /* the first is the program's own thread */
    int current;
    int on;
    int created; /* by pthread_create, the last one */
    int preempt; /* after so many chances, somebody else runs; 0: nobody */
    unsigned long changes;
    struct fiber_lock locks[FIBER_LOCKS];
    long long *now_us;
    int (*is_ready)(
        const struct pollfd *fd); /* of a descriptor that is not the system's: 0, 1; -1 */
    void (*environment)(void);    /* all wait: make something happen */
    void (*intruder)(void);       /* somebody new is to run */
    unsigned long idle;           /* waits that ended at once, while nothing moved */
} fibers;

/* ==== changing over ==== */

static inline void fiber_await_turn(struct fiber *f) {
    while (sem_wait(&f->turn) != 0)
        if (errno != EINTR) abort();
}

static inline void fiber_switch(int to) {
    struct fiber *from = &fibers.all[fibers.current];
    int ends = from->done; /* then its place may be taken again as soon as somebody else runs */
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

/* The number of a new one, or 0 when there are too many. */
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

/* One that can go on, looking behind the current one first; -1: none. */
static inline int fiber_next(void) {
    int i;
    for (i = 1; i <= FIBERS; i++) {
        int k = (fibers.current + i) % FIBERS;
        if (fiber_is_ready(&fibers.all[k])) return k;
    }
    return -1;
}

/* The first time that anybody waits for. */
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

/* Go on with whoever can, until that is the current one. */
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

/* Somebody else may run here, if the input wants it. */
static inline void fiber_chance(void) {
    int next;
    if (!fibers.on || fibers.preempt == 0 || --fibers.preempt > 0) return;
    next = fiber_next();
    if (next == fibers.current || next < 0) fibers.intruder();
    next = fiber_next();
    if (next >= 0) fiber_switch(next);
}

/* A thread that has ended leaves its place. */
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
    if (++fibers.idle > 20000) calls_broken("a wait does not wait, and nothing moves");
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
    if (lock && lock->owner == fibers.current) calls_broken("a thread takes a lock that it has");
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
        calls_broken("a thread lets go of a lock that it has not");
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
    if (++fibers.idle > 20000) calls_broken("a wait does not wait, and nothing moves");
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
