/* net.h - the network. A connection is two streams. The seed decides where they are split, delayed
   and broken. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "wire.h"

static void stream_arrive(struct stream *s, long long now) {
    int i;
    for (i = 0; i < s->count && s->segments[i].at_us <= now; i++) s->ready += s->segments[i].len;
    if (i == 0) return;
    s->count -= i;
    memmove(s->segments, s->segments + i, (size_t)s->count * sizeof *s->segments);
}

/* Sends data in one piece or several. No piece arrives before an earlier one. */
static void stream_put(struct world *w, struct stream *s, const char *data, size_t len) {
    if (s->hole) {
        s->swallowed += len;
        return;
    }
    bytes_add(&s->data, data, len);
    while (len) {
        size_t piece = chance(w, 600) ? len : (size_t)below(w, (int)len) + 1;
        long long at = w->now_us + below(w, w->p.latency_us);
        if (at < s->last_us) at = s->last_us;
        s->last_us = at;
        s->segments = (struct segment *)grow(s->segments, s->count, &s->cap, sizeof *s->segments);
        s->segments[s->count].len = piece;
        s->segments[s->count++].at_us = at;
        len -= piece;
    }
}
static void stream_lose(struct stream *s) {
    bytes_clear(&s->data);
    s->count = 0;
    s->ready = 0;
}
static void stream_free(struct stream *s) {
    bytes_free(&s->data);
    free(s->segments);
}

/* Returns the time at which the next piece arrives. */
static long long stream_next(const struct stream *s) {
    return s->count ? s->segments[0].at_us : NEVER;
}

static int conn_readable(const struct conn *c, long long now) {
    if (c->stuck_until > now || c->open_at > now || c->open_result != STWS_DONE) return 0;
    return c->down.ready || c->reset || (c->fin_down_at <= now && !c->down.data.len);
}
static int conn_writable(const struct conn *c, long long now) {
    if (c->open_at > now) return 0;
    if (c->open_result != STWS_DONE || c->reset) return c->open_result != STWS_MORE;
    return c->stuck_until <= now && c->up.swallowed < 4000;
}

/* ==== the client's end of a connection ==== */

static void come_between(struct world *w);

/* The client calls a function of the program. It must not hold its lock then, so another thread may
   call it at this moment. */
static void called_out(struct user *u, const char *what) {
    if (u->w->held[0])
        broken(u->w, "user %d: %s is called while the lock is held", u->number, what);
    come_between(u->w);
}

static struct conn *new_conn(struct user *u, const stws_endpoint *to) {
    struct world *w = u->w;
    struct conn *c = (struct conn *)calloc(1, sizeof *c);
    struct broker *b;
    if (!c) abort();
    c->w = w;
    c->user = u;
    c->number = ++w->conn_count;
    c->broker = to->host[1] - '0';
    c->fin_down_at = c->fin_up_at = c->drop_at = c->beat_due = c->owed_at = NEVER;
    c->client_open = 1;
    c->check.checks = 1;
    c->last_write = c->last_read = w->now_us;
    c->open_at = w->now_us + below(w, w->p.latency_us);
    b = &w->brokers[c->broker];
    c->open_result = b->down_until > w->now_us ? b->down_how : STWS_DONE;
    c->server_open = c->open_result == STWS_DONE;
    if (c->open_result == STWS_MORE) c->open_at = NEVER;
    if (c->open_result == STWS_MORE) happened(w, NET_HANGS);
    if (c->open_result == STWS_ERR_CONNECT) happened(w, NET_REFUSED);
    if (c->open_result == STWS_ERR_RESOLVE) happened(w, NET_UNKNOWN);
    c->next = w->conns;
    w->conns = c;
    note(w, "user %d opens connection %d to broker %d: %s", u->number, c->number, c->broker,
         c->open_result == STWS_DONE ? "up" : "down");
    return c;
}
static int net_open(void *ctx, const stws_endpoint *to) {
    struct user *u = (struct user *)ctx;
    if (u->dead) broken(u->w, "open is called after destroy");
    if (!u->conn) {
        u->conn = new_conn(u, to);
        if (u->retry_at != NEVER && u->w->now_us < u->retry_at - MS)
            broken(u->w, "user %d: an attempt %d us too early", u->number,
                   (int)(u->retry_at - u->w->now_us));
        u->retry_at = NEVER;
        u->hurried = 0;
    }
    if (u->w->now_us < u->conn->open_at) return STWS_MORE;
    return u->conn->reset ? STWS_ERR_CONNECT : u->conn->open_result;
}
static long net_read(void *ctx, char *buf, size_t len) {
    struct user *u = (struct user *)ctx;
    struct conn *c = u->conn;
    size_t n;
    if (u->dead || !c) {
        broken(u->w, "user %d reads without a connection", u->number);
        return STWS_ERR_IO;
    }
    called_out(u, "read");
    stream_arrive(&c->down, u->w->now_us);
    if (c->stuck_until > u->w->now_us) return 0;
    n = c->down.ready < len ? c->down.ready : len;
    if (n == 0)
        return c->reset                                              ? STWS_ERR_IO
               : c->fin_down_at <= u->w->now_us && !c->down.data.len ? STWS_ERR_EOF
                                                                     : 0;
    if (u->w->p.partial && chance(u->w, u->w->p.partial)) {
        n = (size_t)below(u->w, (int)n) + 1;
        happened(u->w, NET_READ_PART);
    }
    memcpy(buf, c->down.data.data, n);
    bytes_drop(&c->down.data, n);
    c->down.ready -= n;
    c->last_read = u->w->now_us;
    return (long)n;
}
static long net_write(void *ctx, const char *buf, size_t len) {
    struct user *u = (struct user *)ctx;
    struct world *w = u->w;
    struct conn *c = u->conn;
    if (u->dead || !c) {
        broken(w, "user %d writes without a connection", u->number);
        return STWS_ERR_IO;
    }
    called_out(u, "write");
    if (c->reset) return STWS_ERR_IO;
    if (c->stuck_until > w->now_us || c->up.swallowed >= 4000) {
        c->stalled = 1;
        return 0;
    }
    if (w->p.partial && chance(w, w->p.partial)) {
        len = (size_t)below(w, (int)len + 1);
        happened(w, len ? NET_WRITE_PART : NET_WRITE_NOTHING);
    }
    if (len == 0) {
        c->stalled = 1;
        return 0;
    }
    wire_feed(c, &c->check, buf, len);
    stream_put(w, &c->up, buf, len);
    c->last_write = w->now_us;
    return (long)len;
}
static void net_close(void *ctx) {
    struct user *u = (struct user *)ctx;
    struct conn *c = u->conn;
    if (!c) {
        broken(u->w, "user %d closes a connection that is not open", u->number);
        return;
    }
    c->client_open = 0;
    c->fin_up_at = c->up.last_us > u->w->now_us ? c->up.last_us : u->w->now_us;
    if (c->up.hole)
        c->fin_up_at = NEVER;
    else if (chance(u->w, 300))
        c->reset = 1; /* unread data turn the close into a reset */
    u->conn = NULL;
    note(u->w, "user %d closes connection %d", u->number, c->number);
}
static int net_fd(void *ctx) {
    return NET_FD + ((const struct user *)ctx)->number;
}

/* The client reads the clock. A client that reads it very often at the same instant is in an
   endless loop. */
static long long net_now(void *ctx) {
    struct world *w = ((struct user *)ctx)->w;
    if (w->looked_at != w->now_us) w->looks = 0;
    w->looked_at = w->now_us;
    if (++w->looks > 50000) {
        broken(w, "user %d: the client is in an endless loop", ((struct user *)ctx)->number);
        w->now_us += 1000 * MS;
    }
    return w->now_us;
}
static int net_random(void *ctx, void *out, size_t len) {
    struct user *u = (struct user *)ctx;
    unsigned char *to = (unsigned char *)out;
    uint64_t x = draw(u->w);
    size_t i;
    for (i = 0; i < len; i++) {
        if ((i & 7) == 0) x = scramble(x + i + 1);
        to[i] = (unsigned char)(x >> (8 * (i & 7)));
    }
    return 0;
}
static void *net_alloc(void *ctx, size_t size) {
    struct user *u = (struct user *)ctx;
    void *block;
    if (u->w->alloc_fail_until > u->w->now_us && chance(u->w, 700)) {
        happened(u->w, NET_NO_MEMORY);
        u->starved = 1;
        note(u->w, "user %d: no memory for %d bytes", u->number, (int)size);
        return NULL;
    }
    block = malloc(size);
    u->live_bytes += size;
    u->blocks++;
    if (u->bound && u->live_bytes > u->bound)
        broken(u->w, "user %d uses %d bytes of memory, more than its limit", u->number,
               (int)u->live_bytes);
    return block;
}
static void net_release(void *ctx, void *block, size_t size) {
    struct user *u = (struct user *)ctx;
    if (u->live_bytes < size) broken(u->w, "more memory is released than was allocated");
    u->live_bytes -= size;
    u->blocks--;
    free(block);
}

#endif
