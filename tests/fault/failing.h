/* failing.h - replaces the system calls of the header, so that one chosen call fails.

   Include this file before the implementation: its system calls and heap calls then go through the
   functions below. Each call is looked up in a table of call sites, which lists the function, the
   call, and the errors that it may have. struct plan chooses which call of which site fails, and
   how. Every other call, and every call from outside the header, goes on to the real system.

   open, read, write and close are also members of stws_transport, so a macro can only rename them.
   For these calls, the descriptor tells which function called them. */
#ifndef FAILING_H
#define FAILING_H

#if defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* the header does the same if it is included first */
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Failures without an errno: fewer bytes than requested, the end of the stream, a call that reports
   too early that nothing is ready, and an error as the value of SO_ERROR. */
enum { FAIL_SHORT = 10001, FAIL_END, FAIL_EARLY, FAIL_VALUE = 20000 };

/* While a failure lasts, each failed call advances the clock by this step, so that no test has to
   wait for time-outs; and at most by this sum. */
enum { FAIL_STEP_US = 20000, FAIL_STEPS_US = 40000000 };

/* A call in the header that can fail: how often the call occurs in the text of the function, and
   the errors that it may have. */
struct site {
    const char *function, *call;
    int times;
    int errors[10];
};

static const struct site sites[] = {
    {"stws_p_system_random", "getrandom", 1, {EINTR, ENOSYS, FAIL_SHORT}},
    {"stws_p_system_random", "open", 1, {EMFILE, ENFILE, ENOENT, EACCES}},
    {"stws_p_system_random", "read", 1, {EINTR, EIO, FAIL_SHORT, FAIL_END}},
    {"stws_p_system_random", "close", 1, {EINTR, EIO}},
    {"stws_p_tcp_resolve",
     "getaddrinfo",
     1,
     {EAI_AGAIN, EAI_FAIL, EAI_NONAME, EAI_MEMORY, EAI_SYSTEM}},
    {"stws_p_nonblocking", "fcntl", 3, {EPERM, EINTR}},
    {"stws_p_tcp_socket", "socket", 1, {EMFILE, ENFILE, ENOBUFS, ENOMEM, EAFNOSUPPORT, EACCES}},
    {"stws_p_tcp_socket", "setsockopt", 2, {ENOBUFS, EINVAL}},
    {"stws_p_tcp_connect",
     "connect",
     1,
     {ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EACCES, EAGAIN, EINTR}},
    {"stws_p_tcp_finished", "poll", 1, {EINTR, ENOMEM, FAIL_EARLY}},
    {"stws_p_tcp_finished",
     "getsockopt",
     1,
     {ENOBUFS, FAIL_VALUE + ECONNREFUSED, FAIL_VALUE + ETIMEDOUT, FAIL_VALUE + ENETUNREACH}},
    {"stws_p_tcp_read",
     "recv",
     1,
     {EINTR, EAGAIN, ECONNRESET, ETIMEDOUT, ENOMEM, FAIL_SHORT, FAIL_END}},
    {"stws_p_tcp_write",
     "send",
     1,
     {EINTR, EAGAIN, EPIPE, ECONNRESET, ENOBUFS, ENETUNREACH, FAIL_SHORT}},
    {"stws_p_close_fd", "close", 1, {EINTR, EIO}},
    {"stws_p_explain_silence", "ioctl", 1, {ENOTTY, EINVAL}},
    {"stws_p_wake_init", "pipe", 1, {EMFILE, ENFILE}},
    {"stws_p_write_wake_byte", "write", 1, {EINTR}},
    {"stws_p_end_wait", "read", 1, {EINTR}},
    {"stws_p_wait", "poll", 1, {EINTR, ENOMEM, FAIL_EARLY}},
    {"stws_p_wait_many", "poll", 1, {EINTR, ENOMEM, FAIL_EARLY}},
    {"stws_p_push_output", "poll", 1, {EINTR, ENOMEM, FAIL_EARLY}},
    {"stws_start", "pthread_create", 1, {EAGAIN, EPERM}},
    {"stws_p_sync_init", "pthread_mutex_init", 1, {EAGAIN, ENOMEM}},
    {"stws_p_sync_init", "pthread_condattr_init", 1, {ENOMEM}},
    {"stws_p_sync_init", "pthread_cond_init", 1, {EAGAIN, ENOMEM}},
    {"stws_p_cond_wait", "pthread_cond_wait", 1, {FAIL_EARLY}},
    {"stws_p_cond_wait", "pthread_cond_timedwait", 1, {FAIL_EARLY, ETIMEDOUT}},
    {"stws_message_copy", "STOMP_WS_MALLOC", 1, {ENOMEM}},
    {"stws_queue_create", "STOMP_WS_MALLOC", 1, {ENOMEM}},
    {"stws_p_heap_alloc", "STOMP_WS_MALLOC", 1, {ENOMEM}},
};
enum { SITES = sizeof sites / sizeof *sites };

/* A call that cannot fail, with the reason; or a call that is not compiled into this program. */
struct sure_site {
    const char *function, *call;
    int times;
    const char *why;
};

static const struct sure_site sure_sites[] = {
    {"stws_p_system_clock", "clock_gettime", 1, "the clock exists"},
    {"stws_p_system_slept", "clock_gettime", 1, "the clock exists"},
    {"stws_p_system_date", "clock_gettime", 1, "the clock exists"},
    {"stws_p_tcp_resolve", "freeaddrinfo", 1, "it returns nothing"},
    {"stws_message_free", "STOMP_WS_FREE", 1, "it returns nothing"},
    {"stws_queue_destroy", "STOMP_WS_FREE", 1, "it returns nothing"},
    {"stws_p_heap_release", "STOMP_WS_FREE", 1, "it returns nothing"},
    {"stws_p_cond_wait", "clock_gettime", 2, "the clock exists"},
    {"stws_p_sync_init", "pthread_condattr_setclock", 1, "the clock exists"},
    {"stws_p_bear_environment", "getuid", 1, "it always succeeds"},
    {"stws_p_bear_environment", "geteuid", 1, "it always succeeds"},
    {"stws_p_bear_environment", "getgid", 1, "it always succeeds"},
    {"stws_p_bear_environment", "getegid", 1, "it always succeeds"},
    {"stws_p_bear_read_folder", "opendir", 1, "with STOMP_WS_BEARSSL only: tests/tls"},
    {"stws_p_bear_read_folder", "readdir", 1, "with STOMP_WS_BEARSSL only: tests/tls"},
    {"stws_p_bear_read_folder", "closedir", 1, "with STOMP_WS_BEARSSL only: tests/tls"},
    {"stws_p_pem_read", "open", 1, "with STOMP_WS_BEARSSL only: tests/tls"},
    {"stws_p_pem_read", "read", 1, "with STOMP_WS_BEARSSL only: tests/tls"},
    {"stws_p_lock_atomics", "pthread_mutex_lock", 1, "it fails only if misused"},
    {"stws_p_lock_atomics", "pthread_mutex_unlock", 1, "it fails only if misused"},
    {"STWS_P_LOCK", "pthread_mutex_lock", 1, "it fails only if misused"},
    {"STWS_P_UNLOCK", "pthread_mutex_unlock", 1, "it fails only if misused"},
    {"stws_join", "pthread_join", 1, "it fails only if misused"},
    {"stws_p_sync_init", "pthread_mutex_destroy", 1, "only if misused"},
    {"stws_queue_create", "STOMP_WS_FREE", 1, "it returns nothing"},
    {"stws_p_queue_finish", "pthread_cond_broadcast", 1, "only if misused"},
    {"stws_p_queue_count_feeder", "pthread_cond_broadcast", 1, "only if misused"},
    {"stws_p_thread_id", "pthread_self", 1, "it always succeeds"},
    {"stws_queue_destroy", "pthread_cond_destroy", 1, "only if misused"},
    {"stws_queue_destroy", "pthread_mutex_destroy", 1, "only if misused"},
    {"stws_destroy", "pthread_cond_destroy", 1, "only if misused"},
    {"stws_destroy", "pthread_mutex_destroy", 1, "only if misused"},
    {"stws_p_sync_init", "pthread_condattr_destroy", 1, "only if misused"},
    {"stws_queue_close", "pthread_cond_broadcast", 1, "only if misused"},
    {"stws_p_signal", "pthread_cond_broadcast", 1, "only if misused"},
    {"stws_p_queue_put", "pthread_cond_signal", 1, "only if misused"},
    {"stws_queue_pop", "pthread_cond_signal", 1, "only if misused"},
};
enum { SURE_SITES = sizeof sure_sites / sizeof *sure_sites };

/* The kind of a descriptor of the header. It tells which function uses the descriptor. */
enum { FD_NONE, FD_SOCKET, FD_WAKE, FD_FILE, FD_LIMIT = 1024 };

static struct plan {
    pthread_mutex_t mutex;
    int site; /* its nth call fails and, if lasting, every later call; -1: nothing fails */
    int nth, error, lasting;
    int without_getrandom; /* 1: the system lacks getrandom */
    int slow;              /* every other send writes nothing */
    int fired;
    int calls[SITES]; /* of each site */
    int strangers;    /* calls that the table does not list, or calls on a wrong descriptor */
    int blocks;       /* heap blocks in use */
    long long skew_us;
    char kinds[FD_LIMIT];
} plan = {.mutex = PTHREAD_MUTEX_INITIALIZER, .site = -1};

/* Returns the index of the site, or -1 if the table does not have it. */
static int site_of(const char *function, const char *call) {
    int i;
    for (i = 0; i < SITES; i++)
        if (strcmp(sites[i].function, function) == 0 && strcmp(sites[i].call, call) == 0) return i;
    return -1;
}

static int is_ours(const char *function) {
    return strncmp(function, "stws_", 5) == 0;
}

/* Counts a call. Returns 0 if the call shall go on, or the error with which it shall fail. */
static int strike(const char *function, const char *call) {
    int site, error = 0;
    if (!is_ours(function)) return 0;
    site = site_of(function, call);
    pthread_mutex_lock(&plan.mutex);
    if (site < 0)
        plan.strangers++;
    else if (++plan.calls[site] == plan.nth || (plan.lasting && plan.calls[site] > plan.nth))
        error = site == plan.site ? plan.error : 0;
    if (error) plan.fired++;
    if (error && error != FAIL_SHORT && plan.lasting && plan.skew_us < FAIL_STEPS_US)
        plan.skew_us += FAIL_STEP_US;
    if (!error && plan.without_getrandom && strcmp(call, "getrandom") == 0) error = ENOSYS;
    if (!error && plan.slow && strcmp(call, "send") == 0 && plan.calls[site] % 2) error = EAGAIN;
    pthread_mutex_unlock(&plan.mutex);
    return error;
}

/* Sets errno and returns -1. */
static int fail(int error) {
    errno = error;
    return -1;
}

static int kind_of(int fd) {
    int kind;
    pthread_mutex_lock(&plan.mutex);
    kind = fd >= 0 && fd < FD_LIMIT ? plan.kinds[fd] : FD_NONE;
    pthread_mutex_unlock(&plan.mutex);
    return kind;
}

static void set_kind(int fd, int kind) {
    pthread_mutex_lock(&plan.mutex);
    if (fd >= FD_LIMIT) abort();
    if (fd >= 0) plan.kinds[fd] = (char)kind;
    pthread_mutex_unlock(&plan.mutex);
}

/* Converts from the system's time to the plan's time (sign 1), or back (sign -1). */
static void shift(struct timespec *t, int sign) {
    long long us;
    pthread_mutex_lock(&plan.mutex);
    us = sign * plan.skew_us;
    pthread_mutex_unlock(&plan.mutex);
    us += (long long)t->tv_sec * 1000000 + t->tv_nsec / 1000;
    t->tv_sec = (time_t)(us / 1000000);
    t->tv_nsec = (long)(us % 1000000) * 1000;
}

/* ==== the calls ==== */

/* Resolves the name localhost itself, because not every machine can. */
static inline int f_getaddrinfo(const char *from, const char *host, const char *service,
                                const struct addrinfo *hints, struct addrinfo **list) {
    int error = strike(from, "getaddrinfo");
    if (error == EAI_SYSTEM) errno = EMFILE;
    return error ? error
                 : getaddrinfo(strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, service, hints,
                               list);
}

static inline int f_socket(const char *from, int family, int type, int protocol) {
    int error = strike(from, "socket"), fd = error ? fail(error) : socket(family, type, protocol);
    if (is_ours(from)) set_kind(fd, FD_SOCKET);
    return fd;
}

/* Fails with that error. After EINTR the connection goes on by itself, so it is started here
   first. */
static inline int f_connect(const char *from, int fd, const struct sockaddr *to, socklen_t len) {
    int error = strike(from, "connect");
    if (error == EINTR && connect(fd, to, len) != 0 && errno != EINPROGRESS) return -1;
    return error ? fail(error) : connect(fd, to, len);
}

static inline int f_getsockopt(const char *from, int fd, int level, int name, void *value,
                               socklen_t *len) {
    int error = strike(from, "getsockopt");
    if (error >= FAIL_VALUE) {
        *(int *)value = error - FAIL_VALUE;
        return 0;
    }
    return error ? fail(error) : getsockopt(fd, level, name, value, len);
}

static inline int f_setsockopt(const char *from, int fd, int level, int name, const void *value,
                               socklen_t len) {
    int error = strike(from, "setsockopt");
    return error ? fail(error) : setsockopt(fd, level, name, value, len);
}

static inline int f_fcntl(const char *from, int fd, int command, int argument) {
    int error = strike(from, "fcntl");
    return error ? fail(error) : fcntl(fd, command, argument);
}

static inline int f_poll(const char *from, struct pollfd *fds, nfds_t n, int ms) {
    int error = strike(from, "poll");
    if (error == FAIL_EARLY) return 0;
    return error ? fail(error) : poll(fds, n, ms);
}

static inline int f_ioctl(const char *from, int fd, unsigned long request, int *value) {
    int error = strike(from, "ioctl");
    return error ? fail(error) : ioctl(fd, request, value);
}

static inline ssize_t f_recv(const char *from, int fd, void *buf, size_t len, int flags) {
    int error = strike(from, "recv");
    if (error == FAIL_END) return 0;
    if (error == FAIL_SHORT) return recv(fd, buf, 1, flags);
    return error ? fail(error) : recv(fd, buf, len, flags);
}

static inline ssize_t f_send(const char *from, int fd, const void *buf, size_t len, int flags) {
    int error = strike(from, "send");
    if (error == FAIL_SHORT) return send(fd, buf, 1, flags);
    return error ? fail(error) : send(fd, buf, len, flags);
}

static inline ssize_t f_getrandom(const char *from, void *buf, size_t len, unsigned flags) {
    int error = strike(from, "getrandom");
    if (error == FAIL_SHORT) return getrandom(buf, 1, flags);
    return error ? fail(error) : getrandom(buf, len, flags);
}

static inline int f_pipe(const char *from, int fds[2]) {
    int error = strike(from, "pipe"), result = error ? fail(error) : pipe(fds);
    if (result == 0 && is_ours(from)) set_kind(fds[0], FD_WAKE), set_kind(fds[1], FD_WAKE);
    return result;
}

static inline int f_clock_gettime(const char *from, clockid_t clock, struct timespec *t) {
    int result = clock_gettime(clock, t);
    (void)from;
    shift(t, 1);
    return result;
}

static inline int f_pthread_create(const char *from, pthread_t *thread,
                                   const pthread_attr_t *attributes, void *(*run)(void *),
                                   void *argument) {
    int error = strike(from, "pthread_create");
    return error ? error : pthread_create(thread, attributes, run, argument);
}

/* An object that could not be initialised must not be used. It is filled with garbage, so that a
   use is noticed. */
static inline int f_pthread_mutex_init(const char *from, pthread_mutex_t *mutex,
                                       const pthread_mutexattr_t *attributes) {
    int error = strike(from, "pthread_mutex_init");
    if (error) memset(mutex, 0xA5, sizeof *mutex);
    return error ? error : pthread_mutex_init(mutex, attributes);
}

static inline int f_pthread_condattr_init(const char *from, pthread_condattr_t *attributes) {
    int error = strike(from, "pthread_condattr_init");
    if (error) memset(attributes, 0xA5, sizeof *attributes);
    return error ? error : pthread_condattr_init(attributes);
}

static inline int f_pthread_cond_init(const char *from, pthread_cond_t *cond,
                                      const pthread_condattr_t *attributes) {
    int error = strike(from, "pthread_cond_init");
    if (error) memset(cond, 0xA5, sizeof *cond);
    return error ? error : pthread_cond_init(cond, attributes);
}

/* A spurious wake-up, as POSIX allows it. Other threads get the mutex meanwhile. */
static inline void wake_early(pthread_mutex_t *mutex) {
    pthread_mutex_unlock(mutex);
    sched_yield();
    pthread_mutex_lock(mutex);
}

static inline int f_pthread_cond_wait(const char *from, pthread_cond_t *cond,
                                      pthread_mutex_t *mutex) {
    if (!strike(from, "pthread_cond_wait")) return pthread_cond_wait(cond, mutex);
    wake_early(mutex);
    return 0;
}

static inline int f_pthread_cond_timedwait(const char *from, pthread_cond_t *cond,
                                           pthread_mutex_t *mutex, const struct timespec *until) {
    int error = strike(from, "pthread_cond_timedwait");
    struct timespec shifted = *until;
    if (error) {
        wake_early(mutex);
        return error == FAIL_EARLY ? 0 : error;
    }
    shift(&shifted, -1);
    return pthread_cond_timedwait(cond, mutex, &shifted);
}

static inline void *f_malloc(const char *from, size_t size) {
    void *block = strike(from, "STOMP_WS_MALLOC") ? NULL : malloc(size);
    pthread_mutex_lock(&plan.mutex);
    plan.blocks += block != NULL;
    pthread_mutex_unlock(&plan.mutex);
    return block;
}

static inline void f_free(void *block) {
    pthread_mutex_lock(&plan.mutex);
    plan.blocks--;
    pthread_mutex_unlock(&plan.mutex);
    free(block);
}

static inline int f_open(const char *path, int flags) {
    int error = strike("stws_p_system_random", "open"),
        fd = error ? fail(error) : open(path, flags);
    set_kind(fd, FD_FILE);
    return fd;
}

static inline ssize_t f_read(int fd, void *buf, size_t len) {
    int kind = kind_of(fd), error = 0;
    if (kind == FD_WAKE) error = strike("stws_p_end_wait", "read");
    if (kind == FD_FILE) error = strike("stws_p_system_random", "read");
    if (error == FAIL_END) return 0;
    if (error == FAIL_SHORT) return read(fd, buf, 1);
    return error ? fail(error) : read(fd, buf, len);
}

static inline ssize_t f_write(int fd, const void *buf, size_t len) {
    int error = kind_of(fd) == FD_WAKE ? strike("stws_p_write_wake_byte", "write") : 0;
    return error ? fail(error) : write(fd, buf, len);
}

/* The descriptor is closed even if the call fails, as on Linux. */
static inline int f_close(int fd) {
    int kind = kind_of(fd), error = 0, result;
    if (kind != FD_NONE)
        error = strike(kind == FD_FILE ? "stws_p_system_random" : "stws_p_close_fd", "close");
    if (kind != FD_NONE) set_kind(fd, FD_NONE);
    result = close(fd);
    return error ? fail(error) : result;
}

#define getaddrinfo(host, service, hints, list) f_getaddrinfo(__func__, host, service, hints, list)
#define socket(family, type, protocol) f_socket(__func__, family, type, protocol)
#define connect(fd, to, len) f_connect(__func__, fd, to, len)
#define getsockopt(fd, level, name, value, len) f_getsockopt(__func__, fd, level, name, value, len)
#define setsockopt(fd, level, name, value, len) f_setsockopt(__func__, fd, level, name, value, len)
#define fcntl(fd, command, argument) f_fcntl(__func__, fd, command, argument)
#define poll(fds, n, ms) f_poll(__func__, fds, n, ms)
#define ioctl(fd, request, value) f_ioctl(__func__, fd, request, value)
#define recv(fd, buf, len, flags) f_recv(__func__, fd, buf, len, flags)
#define send(fd, buf, len, flags) f_send(__func__, fd, buf, len, flags)
#define getrandom(buf, len, flags) f_getrandom(__func__, buf, len, flags)
#define pipe(fds) f_pipe(__func__, fds)
#define clock_gettime(clock, t) f_clock_gettime(__func__, clock, t)
#define pthread_create(thread, attributes, run, argument)                                          \
    f_pthread_create(__func__, thread, attributes, run, argument)
#define pthread_mutex_init(mutex, attributes) f_pthread_mutex_init(__func__, mutex, attributes)
#define pthread_condattr_init(attributes) f_pthread_condattr_init(__func__, attributes)
#define pthread_cond_init(cond, attributes) f_pthread_cond_init(__func__, cond, attributes)
#define pthread_cond_wait(cond, mutex) f_pthread_cond_wait(__func__, cond, mutex)
#define pthread_cond_timedwait(cond, mutex, until)                                                 \
    f_pthread_cond_timedwait(__func__, cond, mutex, until)
#define STOMP_WS_MALLOC(size) f_malloc(__func__, size)
#define STOMP_WS_FREE(block) f_free(block)
#define open f_open
#define read f_read
#define write f_write
#define close f_close

#endif
