/* loopback.h - a small STOMP server for the tests that need real sockets and threads. It has one
   thread with one poll. A message that is sent to a destination goes to all subscribers of that
   destination. Special destinations:

       SUBSCRIBE to /flood/N       is answered by N messages with the bodies 0, 1, ... N-1
       SUBSCRIBE to /deaf          cuts the line: no packet from the client arrives any more
       SEND to /slam               ends the connection with a reset
       SEND with a reply-to        is answered there: "re: " and the body

   From loopback_start to loopback_stop the struct belongs to the server's thread, except port and
   url. */
#ifndef LOOPBACK_H
#define LOOPBACK_H

#include "scripted.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

enum { LINK_SUBSCRIPTIONS = 64, LINK_HEADERS = 32, MAX_LINKS = 64 };

struct link_subscription {
    char id[48], destination[80];
};

struct link {
    struct link *next;
    int fd, upgraded, gone;
    struct bytes in, stomp, out;
    stws_ws ws;
    stws_frame_state frames;
    stws_header headers[LINK_HEADERS];
    struct link_subscription subscriptions[LINK_SUBSCRIPTIONS];
    int subscription_count;
};

struct loopback {
    int listener, port;
    int mute;            /* 1: accepts connections, but never answers */
    const char *refusal; /* the answer to each upgrade; NULL: accept the upgrade */
    /* Interval of heart-beats that it promises and wants, but never sends; 0: none. */
    int silent_ms;
    int beat_ms; /* interval of heart-beats that it promises and sends; 0: none */
    /* Called for each SEND, in the server's thread; or NULL. */
    void (*on_send)(const stws_frame *frame);
    int wake[2];
    char url[80];
    pthread_t thread;
    struct link *links;
    int message_id;
    /* Counters, to be read after loopback_stop. odd counts what no client may send. */
    int links_total, sends, disconnects, closes, odd;
};

/* ==== what it sends ==== */

static inline void link_say(struct link *l, const struct bytes *frame) {
    bytes_add_ws(&l->out, STWS_WS_TEXT, 1, frame->data, frame->len + 1); /* including its NUL */
}

static inline void link_receipt(struct link *l, const char *id) {
    struct bytes b = {0};
    bytes_print(&b, "RECEIPT\nreceipt-id:%s\n\n", id);
    link_say(l, &b);
    bytes_free(&b);
}

static inline void link_deliver(struct loopback *s, struct link *l,
                                const struct link_subscription *sub, const char *extra,
                                const char *body, size_t body_len) {
    struct bytes b = {0};
    bytes_print(&b,
                "MESSAGE\nsubscription:%s\nmessage-id:%d\ndestination:%s\ncontent-length:%d\n%s\n",
                sub->id, ++s->message_id, sub->destination, (int)body_len, extra);
    bytes_add(&b, body, body_len);
    link_say(l, &b);
    bytes_free(&b);
}

static inline void loopback_publish(struct loopback *s, const char *destination, const char *extra,
                                    const char *body, size_t body_len) {
    struct link *l;
    int i;
    for (l = s->links; l; l = l->next)
        for (i = 0; i < l->subscription_count; i++)
            if (strcmp(l->subscriptions[i].destination, destination) == 0)
                link_deliver(s, l, &l->subscriptions[i], extra, body, body_len);
}

/* ==== what it receives ==== */

/* Returns the header's value. A missing header counts as odd, and gives "". */
static inline const char *link_header(struct loopback *s, const stws_frame *f, const char *name) {
    const char *value = stws_frame_header(f, name);
    if (!value) s->odd++;
    return value ? value : "";
}

/* From now on no packet arrives at this socket. Returns 0 if the system does not allow it. The
   filter is one instruction, "return 0". Its structs are those of linux/filter.h, which some C
   libraries lack. */
static inline int deafen(int fd) {
#ifdef SO_ATTACH_FILTER
    struct {
        unsigned short code;
        unsigned char if_true, if_false;
        unsigned int value;
    } nothing = {6, 0, 0, 0};
    struct {
        unsigned short len;
        void *filter;
    } filter = {1, &nothing};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0;
#else
    (void)fd;
    return 0;
#endif
}

/* Returns whether SUBSCRIBE to /deaf works on this machine. Some kernels allow it only to root. */
static inline int loopback_can_deafen(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), result = fd >= 0 && deafen(fd);
    if (fd >= 0) close(fd);
    return result;
}

static inline void link_subscribe(struct loopback *s, struct link *l, const stws_frame *f) {
    struct link_subscription *sub = &l->subscriptions[l->subscription_count];
    char number[16];
    int i, flood = 0;
    if (l->subscription_count == LINK_SUBSCRIPTIONS) {
        s->odd++;
        return;
    }
    l->subscription_count++;
    snprintf(sub->id, sizeof sub->id, "%s", link_header(s, f, "id"));
    snprintf(sub->destination, sizeof sub->destination, "%s", link_header(s, f, "destination"));
    if (strncmp(sub->destination, "/flood/", 7) == 0) flood = atoi(sub->destination + 7);
    for (i = 0; i < flood; i++) {
        int len = snprintf(number, sizeof number, "%d", i);
        link_deliver(s, l, sub, "", number, (size_t)len);
    }
    if (strcmp(sub->destination, "/deaf") == 0 && !deafen(l->fd)) abort();
}

static inline void link_unsubscribe(struct loopback *s, struct link *l, const char *id) {
    int i;
    for (i = 0; i < l->subscription_count && strcmp(l->subscriptions[i].id, id) != 0;) i++;
    if (i == l->subscription_count)
        s->odd++;
    else
        l->subscriptions[i] = l->subscriptions[--l->subscription_count];
}

/* Closes so that the other side sees a reset. */
static inline void link_slam(struct link *l) {
    struct linger now = {1, 0};
    setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    l->gone = 1;
}

static inline void link_send(struct loopback *s, struct link *l, const stws_frame *f) {
    const char *destination = link_header(s, f, "destination"),
               *reply_to = stws_frame_header(f, "reply-to");
    s->sends++;
    if (s->on_send) s->on_send(f);
    if (strcmp(destination, "/slam") == 0) {
        link_slam(l);
    } else if (reply_to) {
        struct bytes extra = {0}, body = {0};
        bytes_print(&extra, "correlation-id:%s\n", link_header(s, f, "correlation-id"));
        bytes_print(&body, "re: %s", f->body);
        loopback_publish(s, reply_to, extra.data, body.data, body.len);
        bytes_free(&extra);
        bytes_free(&body);
    } else {
        loopback_publish(s, destination, "", f->body, f->body_len);
    }
}

static inline void link_frame(struct loopback *s, struct link *l, const stws_frame *f) {
    const char *receipt = stws_frame_header(f, "receipt");
    struct bytes b = {0};
    switch (f->command_id) {
        case STWS_COMMAND_CONNECT:
            bytes_print(&b, "CONNECTED\nversion:1.2\nserver:ActiveMQ/0\nheart-beat:%d,%d\n\n",
                        s->beat_ms + s->silent_ms, s->silent_ms);
            link_say(l, &b);
            break;
        case STWS_COMMAND_SUBSCRIBE: link_subscribe(s, l, f); break;
        case STWS_COMMAND_UNSUBSCRIBE: link_unsubscribe(s, l, link_header(s, f, "id")); break;
        case STWS_COMMAND_SEND: link_send(s, l, f); break;
        case STWS_COMMAND_DISCONNECT: s->disconnects++; break;
        default: break;
    }
    if (receipt) link_receipt(l, receipt);
    bytes_free(&b);
}

/* The client broke a protocol. */
static inline void link_break(struct loopback *s, struct link *l) {
    s->odd++;
    l->gone = 1;
}

static inline void link_frames(struct loopback *s, struct link *l) {
    stws_frame frame;
    size_t done = 0, used = 0;
    int result;
    do {
        result =
            stws_frame_parse(l->stomp.data + done, l->stomp.len - done, &l->frames, &frame, &used);
        done += used;
        if (result == STWS_DONE) link_frame(s, l, &frame);
    } while (result == STWS_DONE);
    if (result < 0) link_break(s, l);
    bytes_drop(&l->stomp, done);
}

static inline void link_close(struct loopback *s, struct link *l, const stws_ws_event *e) {
    char payload[125];
    s->closes++;
    bytes_add_ws(&l->out, STWS_WS_CLOSE, 1, payload,
                 stws_ws_close_payload(payload, e->close_code, ""));
}

/* Handles the received bytes: first the request, then frames. */
static inline void link_hear(struct loopback *s, struct link *l) {
    stws_ws_event event;
    size_t done = 0, used = 0;
    int result = STWS_DONE;
    if (!l->upgraded) {
        stws_header headers[32];
        stws_http http = {0};
        http.headers = headers;
        http.max_headers = 32;
        if (!strstr(l->in.data, "\r\n\r\n")) return;
        if (s->refusal) {
            bytes_print(&l->out, "%s", s->refusal);
            bytes_clear(&l->in);
            return;
        }
        bytes_room(&l->out, 1024);
        if (stws_handshake_parse(l->in.data, l->in.len, &http, &done) != STWS_DONE ||
            stws_handshake_answer(l->out.data, 1024, &http, "v12.stomp", &used) != STWS_OK) {
            link_break(s, l);
            return;
        }
        l->out.len = used;
        l->upgraded = 1;
    }
    while (result == STWS_DONE) {
        result = stws_ws_parse(l->in.data + done, l->in.len - done, &l->ws, &event, &used);
        if (result == STWS_DONE && event.opcode == STWS_WS_CLOSE) link_close(s, l, &event);
        if (result == STWS_DONE && event.opcode < STWS_WS_CLOSE)
            bytes_add(&l->stomp, event.data, event.len);
        done += used;
    }
    if (result < 0) link_break(s, l);
    bytes_drop(&l->in, done);
    if (l->stomp.len) link_frames(s, l);
}

/* ==== sockets ==== */

/* Returns 1 if something was received. */
static inline int link_read(struct loopback *s, struct link *l) {
    char chunk[65536];
    ssize_t n = recv(l->fd, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) l->gone = 1;
    if (n <= 0 || s->mute) return n > 0;
    bytes_add(&l->in, chunk, (size_t)n);
    link_hear(s, l);
    return 1;
}

static inline void link_write(struct link *l) {
    ssize_t n = send(l->fd, l->out.data, l->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) l->gone = 1;
    if (n > 0) bytes_drop(&l->out, (size_t)n);
}

static inline void loopback_accept(struct loopback *s) {
    struct link *l = (struct link *)calloc(1, sizeof *l);
    if (!l) abort();
    l->fd = accept(s->listener, NULL, NULL);
    if (l->fd < 0) test_give_up("the server of the test cannot accept a connection");
    l->ws.server = l->ws.check_utf8 = 1;
    l->frames.version = STWS_STOMP_12;
    l->frames.headers = l->headers;
    l->frames.max_headers = LINK_HEADERS;
    l->next = s->links;
    s->links = l;
    s->links_total++;
}

static inline void link_free(struct link *l) {
    close(l->fd);
    bytes_free(&l->in);
    bytes_free(&l->stomp);
    bytes_free(&l->out);
    free(l);
}

/* Frees the links that are gone, or all links when the server ends. */
static inline void loopback_sweep(struct loopback *s, int all) {
    struct link **at = &s->links;
    while (*at) {
        struct link *l = *at;
        if (all || l->gone) {
            *at = l->next;
            link_free(l);
        } else {
            at = &l->next;
        }
    }
}

/* Sends heart-beats. Called when nothing has happened for beat_ms. */
static inline void loopback_beat(struct loopback *s) {
    struct link *l;
    for (l = s->links; l; l = l->next) {
        if (l->upgraded) bytes_add_ws(&l->out, STWS_WS_TEXT, 1, "\n", 1);
        if (l->upgraded) link_write(l);
    }
}

static inline void *loopback_thread(void *server) {
    struct loopback *s = (struct loopback *)server;
    struct link *l;
    for (;;) {
        struct pollfd polled[MAX_LINKS + 2] = {{0, POLLIN, 0}, {0, POLLIN, 0}};
        nfds_t n = 2, i = 2;
        polled[0].fd = s->wake[0];
        polled[1].fd = s->listener;
        for (l = s->links; l && n < MAX_LINKS + 2; l = l->next, n++) {
            polled[n].fd = l->fd;
            polled[n].events = (short)(POLLIN | (l->out.len ? POLLOUT : 0));
        }
        if (poll(polled, n, s->beat_ms ? s->beat_ms : -1) == 0) loopback_beat(s);
        if (polled[0].revents) break;
        for (l = s->links; l && i < n; l = l->next, i++)
            if (polled[i].revents & (POLLIN | POLLHUP | POLLERR)) link_read(s, l);
        for (l = s->links; l; l = l->next)
            if (l->out.len && !l->gone) link_write(l);
        if (polled[1].revents) loopback_accept(s);
        loopback_sweep(s, 0);
    }
    for (l = s->links; l; l = l->next)
        while (!l->gone && link_read(s, l))
            continue; /* read everything that the clients wrote before they left */
    loopback_sweep(s, 1);
    return NULL;
}

/* Returns a socket that listens at a free port of 127.0.0.1 or ::1, or -1 if this machine lacks
   that address. */
static inline int loopback_try_listen(int ipv6, int *port) {
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;
    struct sockaddr *name = ipv6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    socklen_t len = ipv6 ? sizeof v6 : sizeof v4;
    int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    memset(&v6, 0, sizeof v6);
    memset(&v4, 0, sizeof v4);
    v6.sin6_family = AF_INET6;
    v6.sin6_addr = in6addr_loopback;
    v4.sin_family = AF_INET;
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && bind(fd, name, len) == 0 && listen(fd, 64) == 0 &&
        getsockname(fd, name, &len) == 0) {
        *port = ntohs(ipv6 ? v6.sin6_port : v4.sin_port);
        return fd;
    }
    if (fd >= 0) close(fd);
    return -1;
}

static inline int loopback_has_ipv6(void) {
    int port, fd = loopback_try_listen(1, &port);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static inline int loopback_listen(int ipv6, int *port) {
    int fd = loopback_try_listen(ipv6, port);
    if (fd >= 0) return fd;
    perror("cannot listen on the loopback interface, which these tests need");
    exit(EXIT_FAILURE);
}

static inline void loopback_start_with(struct loopback *s, int ipv6, int mute, int beat_ms,
                                       void (*on_send)(const stws_frame *frame)) {
    memset(s, 0, sizeof *s);
    s->mute = mute;
    s->beat_ms = beat_ms;
    s->on_send = on_send;
    s->listener = loopback_listen(ipv6, &s->port);
    snprintf(s->url, sizeof s->url, "ws://%s:%d/stomp/websocket", ipv6 ? "[::1]" : "127.0.0.1",
             s->port);
    if (pipe(s->wake) != 0) test_give_up("cannot make a pipe for the server of the test");
    if (pthread_create(&s->thread, NULL, loopback_thread, s) != 0) abort();
}

static inline void loopback_start(struct loopback *s, int ipv6, int mute) {
    loopback_start_with(s, ipv6, mute, 0, NULL);
}

/* Starts a server at another IPv4 address of this machine, at this port (0: any free port). It
   answers each upgrade with `refusal`, or never if `refusal` is NULL. */
static inline void loopback_start_refusing(struct loopback *s, const char *address, int port,
                                           const char *refusal) {
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    memset(s, 0, sizeof *s);
    memset(&at, 0, sizeof at);
    s->mute = !refusal;
    s->refusal = refusal;
    at.sin_family = AF_INET;
    at.sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, address, &at.sin_addr);
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(s->listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(s->listener, 16) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&at, &len) != 0)
        test_give_up("cannot listen at a second address of the loopback interface");
    s->port = ntohs(at.sin_port);
    snprintf(s->url, sizeof s->url, "ws://%s:%d/stomp/websocket", address, s->port);
    if (pipe(s->wake) != 0) test_give_up("cannot make a pipe for the server of the test");
    if (pthread_create(&s->thread, NULL, loopback_thread, s) != 0) abort();
}

static inline void loopback_stop(struct loopback *s) {
    if (write(s->wake[1], "", 1) != 1) abort();
    pthread_join(s->thread, NULL);
    close(s->wake[0]);
    close(s->wake[1]);
    close(s->listener);
}

#endif
