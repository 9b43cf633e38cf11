/* calls_hooks.h - replaces the system functions for time, waiting and threads that the client calls
   in fuzz_calls.c.

   Include it before the implementation, whose calls then lead here. While hooks.on is 0, the calls
   go to the system. */
#ifndef CALLS_HOOKS_H
#define CALLS_HOOKS_H

#if defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* the header does the same if it is included first */
#endif

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Larger requests fail, as on a machine with little memory. */
enum { CALLS_MOST_MEMORY = 1 << 25 };

static void *calls_malloc(size_t size) {
    return size > CALLS_MOST_MEMORY ? NULL : malloc(size);
}

static int calls_poll(struct pollfd *fds, nfds_t count, int ms);
static int calls_clock(clockid_t clock, struct timespec *now);
static int calls_lock(pthread_mutex_t *mutex);
static int calls_unlock(pthread_mutex_t *mutex);
static int calls_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
static int calls_signal(pthread_cond_t *cond, int all);
static int calls_create(pthread_t *thread, void *(*run)(void *), void *argument);
static int calls_join(pthread_t thread);

#define STOMP_WS_MALLOC calls_malloc
#define STOMP_WS_FREE free
#undef STOMP_WS_ASSERT /* that of asserts.h */
#define STOMP_WS_ASSERT(condition) ((condition) ? (void)0 : calls_broken(#condition))
static void calls_broken(const char *what);

#define poll(fds, count, ms) calls_poll(fds, count, ms)
#define clock_gettime(clock, now) calls_clock(clock, now)
#define pthread_mutex_lock(mutex) calls_lock(mutex)
#define pthread_mutex_unlock(mutex) calls_unlock(mutex)
#define pthread_cond_wait(cond, mutex) calls_wait(cond, mutex, NULL)
#define pthread_cond_timedwait(cond, mutex, until) calls_wait(cond, mutex, until)
#define pthread_cond_signal(cond) calls_signal(cond, 0)
#define pthread_cond_broadcast(cond) calls_signal(cond, 1)
#define pthread_create(thread, attributes, run, argument) calls_create(thread, run, argument)
#define pthread_join(thread, result) calls_join(thread)

#endif
