/* loopback.h - a STOMP server for the tests that need real sockets and threads: one thread, one poll, as small as it
   can be. What is sent to a destination goes to all who subscribe to it; besides,

       SUBSCRIBE to /flood/N       is answered by N messages with the bodies 0, 1, ... N-1
       SEND to /slam               ends the connection with a reset
       SEND with a reply-to        is answered there: "re: " and the body

   From loopback_start to loopback_stop the struct belongs to the server's thread, port and url excepted. */
#ifndef LOOPBACK_H
#define LOOPBACK_H

#include "scripted.h"

enum { LINK_SUBSCRIPTIONS = 64, MAX_LINKS = 64 };

struct link_subscription {
    char id[48], destination[80];
};

struct link {
    struct link *next;
    int fd, upgraded, gone;
    struct bytes in, stomp, out;
    stws_ws ws;
    struct link_subscription subscriptions[LINK_SUBSCRIPTIONS];
    int subscription_count;
};

struct loopback {
    int listener, port;
    int mute;                   /* connections are taken, and nothing is ever answered */
    int wake[2];
    char url[80];
    pthread_t thread;
    struct link *links;
    int message_id;
    int links_total, sends, disconnects, closes; /* what it saw; to be read after loopback_stop */
};

/* ==== what it says ==== */

static inline void link_say(struct link *l, const struct bytes *frame) {
    bytes_add_ws(&l->out, STWS_WS_TEXT, 1, frame->data, frame->len + 1); /* with its NUL */
}

static inline void link_receipt(struct link *l, const char *id) {
    struct bytes b = {0};
    bytes_print(&b, "RECEIPT\nreceipt-id:%s\n\n", id);
    link_say(l, &b);
    bytes_free(&b);
}

static inline void link_deliver(struct loopback *s, struct link *l, const struct link_subscription *sub,
                                const char *extra, const char *body, size_t body_len) {
    struct bytes b = {0};
    bytes_print(&b, "MESSAGE\nsubscription:%s\nmessage-id:%d\ndestination:%s\ncontent-length:%d\n%s\n", sub->id,
                ++s->message_id, sub->destination, (int)body_len, extra);
    bytes_add(&b, body, body_len);
    link_say(l, &b);
    bytes_free(&b);
}

static inline void loopback_publish(struct loopback *s, const char *destination, const char *extra, const char *body,
                                    size_t body_len) {
    struct link *l;
    int i;
    for (l = s->links; l; l = l->next)
        for (i = 0; i < l->subscription_count; i++)
            if (strcmp(l->subscriptions[i].destination, destination) == 0)
                link_deliver(s, l, &l->subscriptions[i], extra, body, body_len);
}

/* ==== what it hears ==== */

static inline void link_subscribe(struct loopback *s, struct link *l, const stws_frame *f) {
    struct link_subscription *sub = &l->subscriptions[l->subscription_count];
    char number[16];
    int i, flood = 0;
    if (l->subscription_count == LINK_SUBSCRIPTIONS) abort();
    l->subscription_count++;
    snprintf(sub->id, sizeof sub->id, "%s", stws_frame_header(f, "id"));
    snprintf(sub->destination, sizeof sub->destination, "%s", stws_frame_header(f, "destination"));
    if (strncmp(sub->destination, "/flood/", 7) == 0) flood = atoi(sub->destination + 7);
    for (i = 0; i < flood; i++) {
        int len = snprintf(number, sizeof number, "%d", i);
        link_deliver(s, l, sub, "", number, (size_t)len);
    }
}

static inline void link_unsubscribe(struct link *l, const char *id) {
    int i;
    for (i = 0; i < l->subscription_count && strcmp(l->subscriptions[i].id, id) != 0;) i++;
    if (i == l->subscription_count) abort();
    l->subscriptions[i] = l->subscriptions[--l->subscription_count];
}

/* Close so that the other side sees a reset. */
static inline void link_slam(struct link *l) {
    struct linger now = {1, 0};
    setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    l->gone = 1;
}

static inline void link_send(struct loopback *s, struct link *l, const stws_frame *f) {
    const char *destination = stws_frame_header(f, "destination"), *reply_to = stws_frame_header(f, "reply-to");
    s->sends++;
    if (strcmp(destination, "/slam") == 0) {
        link_slam(l);
    } else if (reply_to) {
        struct bytes extra = {0}, body = {0};
        bytes_print(&extra, "correlation-id:%s\n", stws_frame_header(f, "correlation-id"));
        bytes_print(&body, "re: %s", f->body);
        loopback_publish(s, reply_to, extra.data, body.data, body.len);
        bytes_free(&extra);
        bytes_free(&body);
    } else {
        loopback_publish(s, destination, "", f->body, f->body_len);
    }
}

static inline void link_frame(struct loopback *s, struct link *l, const stws_frame *f) {
    static const char connected[] = "CONNECTED\nversion:1.2\nserver:ActiveMQ/0\nheart-beat:0,0\n\n";
    const char *receipt = stws_frame_header(f, "receipt");
    switch (f->command_id) {
        case STWS_COMMAND_CONNECT:
            bytes_add_ws(&l->out, STWS_WS_TEXT, 1, connected, sizeof connected);
            break;
        case STWS_COMMAND_SUBSCRIBE: link_subscribe(s, l, f); break;
        case STWS_COMMAND_UNSUBSCRIBE: link_unsubscribe(l, stws_frame_header(f, "id")); break;
        case STWS_COMMAND_SEND: link_send(s, l, f); break;
        case STWS_COMMAND_DISCONNECT: s->disconnects++; break;
        default: break;
    }
    if (receipt) link_receipt(l, receipt);
}

static inline void link_frames(struct loopback *s, struct link *l) {
    stws_header headers[32];
    stws_frame_state state = {0};
    stws_frame frame;
    size_t done = 0, used = 0;
    while (done < l->stomp.len) { /* each try begins anew, so an unfinished frame must not be touched: it is copied */
        const char *nul = (const char *)memchr(l->stomp.data + done, 0, l->stomp.len - done);
        if (!nul) break;
        memset(&state, 0, sizeof state);
        state.version = STWS_STOMP_12;
        state.headers = headers;
        state.max_headers = 32;
        if (stws_frame_parse(l->stomp.data + done, l->stomp.len - done, &state, &frame, &used) != STWS_DONE) abort();
        link_frame(s, l, &frame);
        done += used;
    }
    bytes_drop(&l->stomp, done);
}
