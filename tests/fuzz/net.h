/* net.h - simulated sockets, for fuzz targets that use the built-in TCP transport.

   Include it before the implementation, whose system calls then lead here. There is one connection
   at a time. The target puts into net.in what the client may receive, and takes from net.out what
   it has sent. The input says how many bytes a call moves, and where it would block. Calls for
   other descriptors go to the system. */
#ifndef FUZZ_NET_H
#define FUZZ_NET_H

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
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NET_FD = 1 << 20, NET_ROOM = 1 << 17, NET_OVER = -1, NET_LATER = 255 };

struct net_pipe {
    unsigned char data[NET_ROOM];
    size_t begin, end;
    unsigned char cuts[3]; /* bytes that a call moves, used in turn; 0: all; NET_LATER: none */
    unsigned next;
    int waited;
};

static struct net {
    struct net_pipe in, out;
    int end;         /* what comes after net.in: 0, NET_OVER or an errno */
    int write_error; /* an errno, or 0 */
    int opened, closed;
    unsigned long calls;
    void (*on_open)(void);
    void (*on_read)(const unsigned char *data, size_t len);
    const char *(*on_getenv)(const char *name);
} net;

static inline size_t net_len(const struct net_pipe *p) {
    return p->end - p->begin;
}

static inline const unsigned char *net_at(const struct net_pipe *p) {
    return p->data + p->begin;
}

/* Returns how many of len bytes this call moves. It never returns 0 two times in a row. */
static inline size_t net_cut(struct net_pipe *p, size_t len) {
    size_t n = p->cuts[p->next++ % 3];
    if (n == NET_LATER && !p->waited) {
        p->waited = 1;
        return 0;
    }
    p->waited = 0;
    return n == 0 || n > len || n == NET_LATER ? len : n;
}

/* Moves bytes. If there is no room, the caller must try again later. */
static inline size_t net_put(struct net_pipe *p, const void *data, size_t len) {
    if (p->begin == p->end) p->begin = p->end = 0;
    if (len > NET_ROOM - p->end) len = NET_ROOM - p->end;
    if (len) memcpy(p->data + p->end, data, len);
    p->end += len;
    return len;
}

/* Opens a new connection. */
static inline void net_begin(void) {
    net.in.begin = net.in.end = net.out.begin = net.out.end = 0;
    net.end = net.write_error = 0;
}

/* Prepares a new input: removes everything of the last one. */
static inline void net_reset(void) {
    net_begin();
    memset(net.in.cuts, 0, sizeof net.in.cuts);
    memset(net.out.cuts, 0, sizeof net.out.cuts);
    net.in.next = net.out.next = 0;
    net.in.waited = net.out.waited = 0;
    net.opened = net.closed = 0;
    net.on_open = NULL;
    net.on_read = NULL;
    net.on_getenv = NULL;
}

static inline int net_fail(int error) {
    errno = error;
    return -1;
}

/* ==== the system calls ==== */

static inline int net_socket(int family, int type, int protocol) {
    (void)family, (void)type, (void)protocol;
    net.opened++;
    return NET_FD;
}

static inline int net_connect(int fd, const struct sockaddr *to, socklen_t len) {
    (void)fd, (void)to, (void)len;
    net_begin();
    if (net.on_open) net.on_open();
    return net_fail(EINPROGRESS);
}

static inline int net_close(int fd) {
    if (fd != NET_FD) return close(fd);
    net.closed++;
    return 0;
}

static inline int net_fcntl(int fd, int command, int argument) {
    return fd == NET_FD ? 0 : fcntl(fd, command, argument);
}

static inline int net_getsockopt(int fd, int level, int name, void *value, socklen_t *len) {
    (void)fd, (void)level, (void)name, (void)len;
    memset(value, 0, sizeof(int));
    return 0;
}

static inline int net_poll(struct pollfd *fds, nfds_t count, int ms) {
    if (count != 1 || fds->fd != NET_FD) return poll(fds, count, ms);
    fds->revents = fds->events;
    return 1;
}

static inline ssize_t net_recv(int fd, void *to, size_t len, int flags) {
    size_t n = net_len(&net.in);
    (void)fd, (void)flags;
    net.calls++;
    if (n == 0 && net.end == NET_OVER) return 0;
    if (n == 0) return net_fail(net.end ? net.end : EAGAIN);
    n = net_cut(&net.in, n < len ? n : len);
    if (n == 0) return net_fail(EAGAIN);
    memcpy(to, net_at(&net.in), n);
    if (net.on_read) net.on_read(net_at(&net.in), n);
    net.in.begin += n;
    return (ssize_t)n;
}

static inline ssize_t net_send(int fd, const void *data, size_t len, int flags) {
    (void)fd, (void)flags;
    net.calls++;
    if (net.write_error) return net_fail(net.write_error);
    len = net_put(&net.out, data, net_cut(&net.out, len));
    return len ? (ssize_t)len : net_fail(EAGAIN);
}

/* Behaves like a system other than Linux, where a program cannot ask what the peer has
   acknowledged. */
static inline int net_ioctl(int fd, unsigned long request, int *value) {
    (void)fd, (void)request, (void)value;
    return net_fail(ENOTTY);
}

static inline const char *net_getenv(const char *name) {
    return net.on_getenv ? net.on_getenv(name) : getenv(name);
}

/* stws_transport has a member `close`, which this macro renames, too. */
#define socket(family, type, protocol) net_socket(family, type, protocol)
#define connect(fd, to, len) net_connect(fd, to, len)
#define close net_close
#define fcntl(fd, command, argument) net_fcntl(fd, command, argument)
#define setsockopt(fd, level, name, value, len) ((void)(value))
#define getsockopt(fd, level, name, value, len) net_getsockopt(fd, level, name, value, len)
#define poll(fds, count, ms) net_poll(fds, count, ms)
#define recv(fd, to, len, flags) net_recv(fd, to, len, flags)
#define send(fd, data, len, flags) net_send(fd, data, len, flags)
#define ioctl(fd, request, value) net_ioctl(fd, request, value)
#define getenv(name) net_getenv(name)

#endif
