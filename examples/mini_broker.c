/* mini_broker.c - a small STOMP-over-WebSocket broker on the loopback: for demos, tests, and to
   learn from.

       mini_broker [--port N] [--bind 127.0.0.1|::1] [--base /notifications] [--files DIR]
                   [--heartbeat OUT,IN] [--login USER:PASS] [--quiet]

   It shows the codecs of stomp_ws.h from the server's side, without the client. All above the
   section "sockets" is a machine without network and clock: connection_open() makes a peer,
   connection_feed() takes octets in, connection_output() and connection_written() give them out,
   connection_input_ended() is the peer's end of file, broker_tick() tells the time, and
   broker_free() ends it all. A fuzz target defines MINI_BROKER_NO_MAIN, includes this file and
   needs no more than a zeroed struct broker with settings.base.

   What a hostile peer can cost is bounded twice: every table and every wait has a limit, and all
   memory comes out of one budget. There is no TLS and no check of Origin: loopback only. */

#ifndef STOMP_WS_H
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_NO_IO
#include "stomp_ws.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ==== limits: octets, counts and milliseconds ==== */

enum {
    MEMORY_LIMIT = 512 << 20, /* everything together */
    OUTPUT_LIMIT = 64 << 20,  /* waiting for one peer: beyond it, it is a slow consumer */
    HIGH_WATER = 1 << 20,     /* from here on, who publishes has to wait */
    READ_CHUNK = 64 << 10,    /* read at once, and kept by an idle buffer at most */
    MAX_BODY = 32 << 20,
    MAX_BODY_STRANGER = 1024, /* before CONNECTED */
    MAX_FILE = 16 << 20,
    MAX_LINE = 8192,
    MAX_NAME = 1024, /* a destination, a path */
    MAX_HEADERS = 128,
    MAX_CONNECTIONS = 16384,
    MAX_DESTINATIONS = 65536,
    MAX_SUBSCRIPTIONS = 4096, /* per connection, as the next two */
    MAX_UNACKED = 131072,
    MAX_TRANSACTIONS = 32,
    MAX_OPERATIONS = 65536, /* per transaction */
    MAX_HELD = 65536,       /* per queue */
    MAX_DELIVERIES = 6,     /* of one message: the next NACK drops it */
    LOGIN_MS = 10000,       /* from accept to the request's end, or to CONNECTED */
    CLOSE_MS = 2000,        /* for the peer's part in an ending */
    STALL_MS = 5000,        /* over HIGH_WATER and nothing taken: a slow consumer */
    RETRY_MS = 200,         /* until accept() is tried again */
    PORT_TEXT = 16
};

/* ==== the parts of the machine ==== */

enum kind { KIND_TOPIC, KIND_QUEUE, KIND_REPLY };
enum ack { ACK_AUTO, ACK_CLIENT, ACK_INDIVIDUAL };

enum phase {
    PHASE_HTTP,    /* the head of a request is coming */
    PHASE_POST,    /* and its body */
    PHASE_SESSION, /* the WebSocket is open */
    PHASE_CLOSING, /* our close frame is out, the peer's is not yet in */
    PHASE_DRAIN,   /* the last output leaves, input is thrown away */
    PHASE_GONE     /* nothing to do but connection_free() */
};

struct settings {
    const char *bind, *port;
    const char *base;  /* "/notifications" */
    const char *files; /* directory, or NULL */
    const char *login; /* "USER:PASS", or NULL: everybody may in */
    long long beat_out, beat_in;
    int quiet;
};

struct buffer {
    char *data;
    size_t start, len, cap;
};

/* One block. Topics share it among their subscribers; in a queue it is in one place at a time. */
struct message {
    struct message *next;
    int references, deliveries;
    const char *destination, *body;
    size_t body_len, header_count;
    stws_header *headers; /* behind it */
};

struct destination {
    struct destination *next;
    struct subscription *listeners;
    struct message *first, *last; /* held, since nobody could take them yet */
    size_t held;
    size_t users; /* subscriptions that point here, listening or not */
    enum kind kind;
    const char *name; /* behind it */
};

struct subscription {
    struct subscription *next;          /* of the connection */
    struct subscription *next_listener; /* of the destination */
    struct connection *connection;
    struct destination *destination;
    enum ack ack;
    unsigned long long acknowledged; /* in client mode: nothing up to here waits for an ACK */
    int implicit;                    /* made by a reply-to, not by SUBSCRIBE */
    const char *id;                  /* behind it */
};

/* A MESSAGE that waits for its ACK; without a subscription it is settled. In order of number. */
struct delivery {
    unsigned long long number;
    struct subscription *subscription;
    struct message *message; /* NULL for topics, which never send it again */
};

/* What a transaction holds back: a message to publish, or a number to ACK or NACK. */
struct operation {
    struct message *message;
    unsigned long long number;
    int nack;
};

struct transaction {
    struct transaction *next;
    struct buffer operations;
    const char *name; /* behind it */
};

struct connection {
    struct connection *next;
    struct broker *broker;
    int fd, output_ended; /* the sockets' */
    int input_ended;
    enum phase phase;
    const char *doom;             /* why broker_settle() shall end it */
    struct buffer in, stomp, out; /* from the peer; STOMP out of it; to the peer */
    stws_http http;
    stws_ws ws;
    stws_frame_state frames;
    stws_header headers[MAX_HEADERS]; /* of the request, later of a frame */

    int head_only; /* a HEAD request */
    size_t post_len;
    char post_destination[MAX_NAME], post_type[128];

    unsigned long long session;
    int version; /* STWS_STOMP_NONE until CONNECTED */
    struct subscription *subscriptions;
    struct transaction *transactions;
    size_t subscription_count, transaction_count;
    struct buffer unacked;        /* of struct delivery */
    unsigned long long delivered; /* number of the last MESSAGE */
    int publishes, congested;

    long long deadline; /* of the phase; 0: none */
    long long last_in, last_out, progress, beat_out, beat_in;
};

enum { BUCKETS = 1024 };

struct broker {
    struct settings settings;
    long long now; /* milliseconds, monotonic */
    size_t memory;
    struct connection *connections;
    size_t connection_count, destination_count, congested;
    unsigned long long sessions;
    int doomed; /* somebody is */
    struct destination *destinations[BUCKETS];
};

static void log_line(const struct connection *c, const char *what, const char *why) {
    if (!c->broker->settings.quiet) fprintf(stderr, "session %llu %s%s\n", c->session, what, why);
}

/* ==== memory: one budget, and buffers ==== */

/* What stands in front of each block; the other member only aligns. */
union block {
    size_t size;
    long double alignment;
};

/* realloc within the budget: NULL, and nothing has changed, when there is no more. */
static void *claim(struct broker *b, void *old, size_t size) {
    union block *block = old ? (union block *)old - 1 : NULL, *moved;
    size_t had = block ? block->size : 0;
    if (size > had && size - had > MEMORY_LIMIT - b->memory) return NULL;
    moved = (union block *)realloc(block, sizeof *block + size);
    if (!moved) return NULL;
    moved->size = size;
    b->memory = b->memory - had + size;
    return moved + 1;
}

static void give_back(struct broker *b, void *old) {
    union block *block = old ? (union block *)old - 1 : NULL;
    if (block) b->memory -= block->size;
    free(block);
}

/* A zeroed struct of that size with a name behind it. */
static void *claim_named(struct broker *b, size_t size, const char *name) {
    size_t len = strlen(name) + 1;
    char *p = (char *)claim(b, NULL, size + len);
    if (!p) return NULL;
    memset(p, 0, size);
    memcpy(p + size, name, len);
    return p;
}

static char *buffer_view(const struct buffer *f) {
    return f->data ? f->data + f->start : NULL;
}

/* Room for n octets behind the content, or NULL. The content moves down only into a free half, so
   that an octet is moved a constant number of times, however the buffer is used. */
static char *buffer_room(struct broker *b, struct buffer *f, size_t n) {
    size_t cap = f->cap ? f->cap : 512;
    char *data = f->data;
    if (f->start && f->start >= f->len && f->cap - f->start - f->len < n) {
        memmove(f->data, f->data + f->start, f->len);
        f->start = 0;
    }
    while (cap - f->start - f->len < n) cap *= 2;
    if (cap != f->cap) data = (char *)claim(b, f->data, cap);
    if (!data) return NULL;
    f->data = data;
    f->cap = cap;
    return f->data + f->start + f->len;
}

static int buffer_append(struct broker *b, struct buffer *f, const void *data, size_t len) {
    char *room = buffer_room(b, f, len);
    if (!room) return 0;
    if (len) memcpy(room, data, len);
    f->len += len;
    return 1;
}

static void buffer_free(struct broker *b, struct buffer *f) {
    give_back(b, f->data);
    memset(f, 0, sizeof *f);
}

static void buffer_take(struct broker *b, struct buffer *f, size_t n) {
    f->start += n;
    f->len -= n;
    if (f->len == 0) f->start = 0;
    if (f->len == 0 && f->cap > READ_CHUNK) buffer_free(b, f);
}

static int starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int is_number(const char *text) {
    return *text && text[strspn(text, "0123456789")] == 0;
}

/* ==== output: octets for the peer ==== */

/* Ends the session once nobody walks over lists any more: see broker_settle(). */
static void connection_doom(struct connection *c, const char *why) {
    if (!c->doom) c->doom = why;
    c->broker->doomed = 1;
}

/* Who does not read is cut off here. What its ERROR has to say still goes out. */
static char *output_room(struct connection *c, size_t n) {
    int is_full = c->out.len > OUTPUT_LIMIT && !c->doom;
    char *room = is_full ? NULL : buffer_room(c->broker, &c->out, n);
    if (!room) connection_doom(c, is_full ? "slow consumer" : "the broker has no memory left");
    return room;
}

static void update_congestion(struct connection *c) {
    size_t mark = c->congested ? HIGH_WATER / 2 : HIGH_WATER;
    int congested = c->phase == PHASE_SESSION && c->out.len > mark;
    if (congested && !c->congested) c->broker->congested++;
    if (!congested && c->congested) c->broker->congested--;
    c->congested = congested;
}

static void set_phase(struct connection *c, enum phase phase, long long wait_ms) {
    c->phase = phase;
    c->deadline = c->broker->now + wait_ms;
    update_congestion(c);
}

static void output_added(struct connection *c, size_t n) {
    if (c->out.len == 0) c->progress = c->broker->now;
    c->out.len += n;
    update_congestion(c);
}

static void put(struct connection *c, const void *data, size_t len) {
    char *room = output_room(c, len);
    if (!room) return;
    if (len) memcpy(room, data, len);
    output_added(c, len);
}

/* A control frame or a heart-beat. */
static void put_websocket(struct connection *c, int opcode, const char *payload, size_t len) {
    char frame[2 + 125];
    size_t size;
    if (stws_ws_build(frame, sizeof frame, opcode, 1, payload, len, NULL, &size) == STWS_OK)
        put(c, frame, size);
}

/* One STOMP frame as one WebSocket message, built where it leaves from: as text if it can be. */
static int put_frame(struct connection *c, const stws_frame *frame) {
    size_t size, framed, head;
    char *room;
    int result = stws_frame_build(NULL, 0, c->version, frame, &size), opcode;
    if (result != STWS_ERR_SPACE) return result;
    stws_ws_build(NULL, 0, STWS_WS_TEXT, 1, NULL, size, NULL, &framed);
    head = framed - size;
    room = output_room(c, framed);
    if (!room) return STWS_ERR_MEMORY;
    result = stws_frame_build(room + head, size, c->version, frame, &size);
    if (result != STWS_OK) return result;
    opcode = stws_utf8_valid(room + head, size) ? STWS_WS_TEXT : STWS_WS_BINARY;
    result = stws_ws_build(room, framed, opcode, 1, room + head, size, NULL, &framed);
    if (result == STWS_OK) output_added(c, framed);
    return result;
}

static void set_header(stws_header *h, const char *name, const char *value) {
    h->name = name;
    h->value = value;
    h->name_len = strlen(name);
    h->value_len = strlen(value);
}

/* A frame from a flat list: name, value, ..., NULL. A header whose value is NULL stays away. */
static int put_reply(struct connection *c, int command, const char *const *list, const char *body) {
    stws_header headers[4];
    stws_frame frame = {0};
    frame.command_id = command;
    frame.headers = headers;
    frame.body = body;
    frame.body_len = strlen(body);
    for (; *list && frame.header_count < 4; list += 2)
        if (list[1]) set_header(&headers[frame.header_count++], list[0], list[1]);
    return put_frame(c, &frame);
}

/* ==== messages ==== */

static const char *copy_text(char **at, const char *text, size_t len) {
    char *copy = *at;
    if (len) memcpy(copy, text, len);
    copy[len] = 0;
    *at += len + 1;
    return copy;
}

static struct message *message_new(struct broker *b, const char *destination, const char *body,
                                   size_t body_len, const stws_header *headers, size_t count) {
    size_t head = sizeof(struct message) + count * sizeof *headers, i;
    size_t size = head + strlen(destination) + body_len + 2;
    struct message *m;
    char *at;
    for (i = 0; i < count; i++) size += headers[i].name_len + headers[i].value_len + 2;
    m = (struct message *)claim(b, NULL, size);
    if (!m) return NULL;
    memset(m, 0, head);
    m->headers = (stws_header *)(m + 1);
    at = (char *)m + head;
    m->references = 1;
    m->destination = copy_text(&at, destination, strlen(destination));
    m->body = copy_text(&at, body, body_len);
    m->body_len = body_len;
    for (i = 0; i < count; i++) {
        m->headers[i] = headers[i];
        m->headers[i].name = copy_text(&at, headers[i].name, headers[i].name_len);
        m->headers[i].value = copy_text(&at, headers[i].value, headers[i].value_len);
    }
    m->header_count = count;
    return m;
}

static void message_release(struct broker *b, struct message *m) {
    if (m && --m->references == 0) give_back(b, m);
}

/* ==== destinations ==== */

static struct destination **destination_bucket(struct broker *b, const char *name) {
    unsigned long hash = 5381;
    for (; *name; name++) hash = hash * 33 ^ (unsigned char)*name;
    return &b->destinations[hash % BUCKETS];
}

static struct destination *destination_find(struct broker *b, const char *name) {
    struct destination *d = *destination_bucket(b, name);
    while (d && strcmp(d->name, name) != 0) d = d->next;
    return d;
}

static enum kind kind_of(const char *name) {
    if (starts_with(name, "/queue/")) return KIND_QUEUE;
    return starts_with(name, "/reply-queue/") ? KIND_REPLY : KIND_TOPIC;
}

static struct destination *destination_make(struct broker *b, const char *name) {
    struct destination *d = destination_find(b, name), **bucket = destination_bucket(b, name);
    if (d || b->destination_count >= MAX_DESTINATIONS) return d;
    d = (struct destination *)claim_named(b, sizeof *d, name);
    if (!d) return NULL;
    d->name = (const char *)(d + 1);
    d->kind = kind_of(name);
    d->next = *bucket;
    *bucket = d;
    b->destination_count++;
    return d;
}

static void hold(struct destination *d, struct message *m, int in_front) {
    m->next = in_front ? d->first : NULL;
    if (!in_front && d->last) d->last->next = m;
    if (in_front || !d->first) d->first = m;
    if (!in_front || !m->next) d->last = m;
    d->held++;
}

static struct message *unhold(struct destination *d) {
    struct message *m = d->first;
    d->first = m->next;
    if (!d->first) d->last = NULL;
    d->held--;
    return m;
}

/* Destinations live as long as somebody uses them, or a queue holds something. */
static void destination_tidy(struct broker *b, struct destination *d) {
    struct destination **link = destination_bucket(b, d->name);
    if (d->users || (d->held && d->kind == KIND_QUEUE)) return;
    while (d->first) message_release(b, unhold(d));
    while (*link != d) link = &(*link)->next;
    *link = d->next;
    b->destination_count--;
    give_back(b, d);
}

/* ==== deliveries: MESSAGE frames and their ACKs ==== */

static struct delivery *unacked(const struct connection *c, size_t *count) {
    *count = c->unacked.len / sizeof(struct delivery);
    return (struct delivery *)(void *)buffer_view(&c->unacked);
}

static int unacked_is_full(const struct connection *c) {
    return c->unacked.len >= MAX_UNACKED * sizeof(struct delivery);
}

/* MESSAGE's own headers stand first, so that they count whatever the sender wrote. Where the STOMP
   version cannot say one of the sender's (a line feed in 1.0, say), it goes without them. */
static int put_message(struct subscription *s, const struct message *m, unsigned long long number) {
    struct connection *c = s->connection;
    stws_header headers[6 + MAX_HEADERS];
    stws_frame frame = {0};
    char id[48], length[24];
    size_t own = 0;
    int result;
    snprintf(id, sizeof id, "%llu-%llu", c->session, number);
    snprintf(length, sizeof length, "%zu", m->body_len);
    if (s->id[0]) set_header(&headers[own++], "subscription", s->id);
    set_header(&headers[own++], "message-id", id);
    set_header(&headers[own++], "destination", m->destination);
    if (s->ack && c->version == STWS_STOMP_12) set_header(&headers[own++], "ack", id);
    if (m->deliveries > 1) set_header(&headers[own++], "redelivered", "true");
    set_header(&headers[own++], "content-length", length);
    if (m->header_count) memcpy(headers + own, m->headers, m->header_count * sizeof *headers);
    frame.command_id = STWS_COMMAND_MESSAGE;
    frame.headers = headers;
    frame.header_count = own + m->header_count;
    frame.body = m->body;
    frame.body_len = m->body_len;
    result = put_frame(c, &frame);
    if (result != STWS_ERR_FRAME_BUILD) return result;
    frame.header_count = own;
    return put_frame(c, &frame);
}

/* Send m to one listener and, where it wants to acknowledge, remember it. 0: it did not go out. */
static int deliver(struct subscription *s, struct message *m) {
    struct connection *c = s->connection;
    struct delivery d = {0};
    int result;
    if (s->ack && unacked_is_full(c)) connection_doom(c, "too many messages without ACK");
    if (c->doom) return 0;
    d.number = c->delivered + 1;
    d.subscription = s;
    d.message = s->destination->kind == KIND_TOPIC ? NULL : m;
    if (s->ack && !buffer_append(c->broker, &c->unacked, &d, sizeof d)) {
        connection_doom(c, "the broker has no memory left");
        return 0;
    }
    result = put_message(s, m, d.number);
    if (result == STWS_ERR_FRAME_BUILD) connection_doom(c, "a MESSAGE that it cannot take");
    if (result != STWS_OK && s->ack) c->unacked.len -= sizeof d;
    if (result != STWS_OK) return 0;
    if (s->ack && d.message) m->references++;
    c->delivered++;
    return 1;
}

/* Whose turn it is in a queue: the first who can take a message goes to the end of the line. */
static struct subscription *next_listener(struct destination *d) {
    struct subscription **link = &d->listeners, *s;
    for (; (s = *link) != NULL; link = &s->next_listener)
        if (!s->connection->doom && !s->connection->congested && !unacked_is_full(s->connection))
            break;
    if (!s) return NULL;
    *link = s->next_listener;
    s->next_listener = NULL;
    while (*link) link = &(*link)->next_listener;
    return *link = s;
}

/* Hand out what a queue holds, for as long as somebody can take it. */
static void pump(struct broker *b, struct destination *d) {
    struct subscription *s;
    while (d->first && (s = next_listener(d)) != NULL) {
        struct message *m = unhold(d);
        m->deliveries++;
        if (deliver(s, m)) {
            message_release(b, m);
        } else {
            m->deliveries--;
            hold(d, m, 1);
        }
    }
}

/* Give m to who listens, or keep it for who will: NULL, or why not. The reference stays with the
   caller. */
static const char *publish(struct broker *b, struct message *m) {
    struct destination *d = destination_find(b, m->destination);
    struct subscription *s;
    if (!d && kind_of(m->destination) != KIND_QUEUE) return NULL;
    if (!d) d = destination_make(b, m->destination);
    if (!d) return "there are too many destinations";
    if (d->kind == KIND_TOPIC) {
        for (s = d->listeners; s; s = s->next_listener) deliver(s, m);
        return NULL;
    }
    if (d->held >= MAX_HELD) return "the queue is full";
    m->references++;
    hold(d, m, 0);
    pump(b, d);
    destination_tidy(b, d);
    return NULL;
}

/* One delivery is over. Again: the message goes back to where it came from, first in line. */
static void delivery_settle(struct broker *b, struct delivery *d, int again) {
    if (d->message && again)
        hold(d->subscription->destination, d->message, 1);
    else
        message_release(b, d->message);
    d->message = NULL;
    d->subscription = NULL;
}

/* Settled deliveries at the front are done with; others wait there for those before them. */
static void forget_settled(struct connection *c) {
    size_t count, settled = 0;
    const struct delivery *d = unacked(c, &count);
    while (settled < count && !d[settled].subscription) settled++;
    buffer_take(c->broker, &c->unacked, settled * sizeof *d);
}

/* Take back what s (NULL: anybody) has not acknowledged; the last first, for the old order. */
static void take_back(struct connection *c, const struct subscription *s) {
    size_t count;
    struct delivery *d = unacked(c, &count);
    while (count-- > 0)
        if (d[count].subscription && (!s || d[count].subscription == s))
            delivery_settle(c->broker, &d[count], 1);
    forget_settled(c);
}

static struct delivery *delivery_find(const struct connection *c, unsigned long long number) {
    size_t low = 0, high;
    struct delivery *d = unacked(c, &high);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (d[middle].number == number) return d[middle].subscription ? &d[middle] : NULL;
        if (d[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ACK or NACK, in client mode with all before it. For what is settled already it means nothing. */
static void acknowledge(struct connection *c, unsigned long long number, int nack) {
    struct delivery *d = delivery_find(c, number), *first;
    struct subscription *s = d ? d->subscription : NULL;
    size_t count;
    if (!s) return;
    first = unacked(c, &count);
    for (;; d--) {
        int again = nack && d->message && d->message->deliveries < MAX_DELIVERIES;
        if (d->subscription == s) delivery_settle(c->broker, d, again);
        if (s->ack == ACK_INDIVIDUAL || d == first || d[-1].number <= s->acknowledged) break;
    }
    if (s->ack != ACK_INDIVIDUAL) s->acknowledged = number;
    forget_settled(c);
    pump(c->broker, s->destination);
}

/* ==== sessions: what a connection owns, and how it ends ==== */

static struct subscription *subscription_find(const struct connection *c, const char *id) {
    struct subscription *s = c->subscriptions;
    while (s && strcmp(s->id, id) != 0) s = s->next;
    return s;
}

static struct subscription *subscription_to(const struct connection *c, const char *destination) {
    struct subscription *s = c->subscriptions;
    while (s && strcmp(s->destination->name, destination) != 0) s = s->next;
    return s;
}

static struct subscription *subscribe(struct connection *c, const char *name, const char *id,
                                      enum ack ack) {
    struct broker *b = c->broker;
    struct destination *d;
    struct subscription *s;
    if (c->subscription_count >= MAX_SUBSCRIPTIONS) return NULL;
    d = destination_make(b, name);
    s = d ? (struct subscription *)claim_named(b, sizeof *s, id) : NULL;
    if (d && !s) destination_tidy(b, d);
    if (!s) return NULL;
    s->id = (const char *)(s + 1);
    s->ack = ack;
    s->connection = c;
    s->destination = d;
    s->next = c->subscriptions;
    c->subscriptions = s;
    c->subscription_count++;
    s->next_listener = d->listeners;
    d->listeners = s;
    d->users++;
    pump(b, d);
    return s;
}

/* From here on nothing is delivered to s. */
static void stop_listening(struct subscription *s) {
    struct subscription **link = &s->destination->listeners;
    while (*link != s) link = &(*link)->next_listener;
    *link = s->next_listener;
}

static void subscription_free(struct connection *c, struct subscription *s) {
    struct destination *d = s->destination;
    struct subscription **link = &c->subscriptions;
    while (*link != s) link = &(*link)->next;
    *link = s->next;
    c->subscription_count--;
    give_back(c->broker, s);
    pump(c->broker, d);
    d->users--;
    destination_tidy(c->broker, d);
}

static void unsubscribe(struct connection *c, struct subscription *s) {
    stop_listening(s);
    take_back(c, s);
    subscription_free(c, s);
}

static struct transaction **transaction_find(struct connection *c, const char *name) {
    struct transaction **link = &c->transactions;
    while (*link && strcmp((*link)->name, name) != 0) link = &(*link)->next;
    return link;
}

static void transaction_free(struct connection *c, struct transaction **link) {
    struct transaction *t = *link;
    struct operation *o = (struct operation *)(void *)buffer_view(&t->operations);
    size_t count = t->operations.len / sizeof *o, i;
    for (i = 0; i < count; i++) message_release(c->broker, o[i].message);
    *link = t->next;
    c->transaction_count--;
    buffer_free(c->broker, &t->operations);
    give_back(c->broker, t);
}

/* The session is over, whatever ended it: others may have what it did not acknowledge. */
static void session_end(struct connection *c) {
    struct subscription *s;
    for (s = c->subscriptions; s; s = s->next) stop_listening(s);
    take_back(c, NULL);
    while (c->subscriptions) subscription_free(c, c->subscriptions);
    while (c->transactions) transaction_free(c, &c->transactions);
    buffer_free(c->broker, &c->unacked);
}

/* Close the WebSocket. Next is PHASE_CLOSING, or PHASE_DRAIN when no answer is to be expected. */
static void session_close(struct connection *c, int code, const char *why, enum phase next) {
    char payload[125];
    set_phase(c, next, CLOSE_MS);
    session_end(c);
    put_websocket(c, STWS_WS_CLOSE, payload, stws_ws_close_payload(payload, code, why));
    log_line(c, "closed: ", why ? why : "by the peer");
}

/* The highest version in a list such as "1.0,1.1,1.2"; no list at all means 1.0. The constants are
   bits in the same order. */
static int negotiate(const char *list) {
    int best = STWS_STOMP_NONE, version;
    size_t len;
    if (!list) return STWS_STOMP_10;
    for (; *list; list += len + strspn(list + len, ", ")) {
        len = strcspn(list, ", ");
        if (len != 3 || list[0] != '1' || list[1] != '.' || !strchr("012", list[2])) continue;
        version = STWS_STOMP_10 << (list[2] - '0');
        if (version > best) best = version;
    }
    return best;
}

/* ERROR and the end. Who asked for a version that we do not speak is told which we do. */
static void refuse(struct connection *c, const stws_frame *cause, const char *why) {
    const char *list[9] = {"message", why, "content-type", "text/plain"};
    char body[256];
    size_t n = 4;
    snprintf(body, sizeof body, "%s: %s.\n", cause ? cause->command : "The session ends", why);
    if (cause && negotiate(stws_frame_header(cause, "accept-version")) == STWS_STOMP_NONE) {
        list[n++] = "version";
        list[n++] = "1.0,1.1,1.2";
    }
    if (cause) {
        list[n++] = "receipt-id";
        list[n++] = stws_frame_header(cause, "receipt");
    }
    if (put_reply(c, STWS_COMMAND_ERROR, list, body) == STWS_ERR_FRAME_BUILD) {
        list[4] = NULL; /* a receipt that cannot be said */
        put_reply(c, STWS_COMMAND_ERROR, list, body);
    }
    session_close(c, 1002, why, PHASE_CLOSING);
}

/* End those who were doomed meanwhile. Others get their messages, which may doom others again. */
static void broker_settle(struct broker *b) {
    struct connection *c;
    while (b->doomed) {
        b->doomed = 0;
        for (c = b->connections; c; c = c->next) {
            if (c->doom && c->phase == PHASE_SESSION)
                refuse(c, NULL, c->doom);
            else if (c->doom)
                set_phase(c, PHASE_GONE, 0);
            c->doom = NULL;
        }
    }
}

/* ==== STOMP frames from a client: a handler returns NULL, or why it refuses ==== */

/* The name that the broker uses: /app/x is answered on /topic/x, /temp-queue/x is each session's
   own. */
static const char *resolve(const struct connection *c, const char *name, char out[MAX_NAME]) {
    const char *p = name;
    int n;
    if (!name || !*name) return "there is no destination";
    while ((unsigned char)*p >= ' ' && *p != 127) p++;
    if (*p) return "the destination holds a control character";
    if (starts_with(name, "/app/"))
        n = snprintf(out, MAX_NAME, "/topic/%s", name + 5);
    else if (starts_with(name, "/temp-queue/"))
        n = snprintf(out, MAX_NAME, "/reply-queue/%llu/%s", c->session, name + 12);
    else
        n = snprintf(out, MAX_NAME, "%s", name);
    return n < MAX_NAME ? NULL : "the destination is too long";
}

/* "cx,cy": two numbers of milliseconds. */
static int parse_pair(const char *text, long long *first, long long *second) {
    char *end;
    *first = strtol(text, &end, 10);
    if (*end != ',' || !is_number(end + 1)) return 0;
    *second = strtol(end + 1, NULL, 10);
    return *text != ',' && text[strspn(text, "0123456789")] == ',' && *first <= INT_MAX &&
           *second <= INT_MAX;
}

static int may_log_in(const struct settings *settings, const stws_frame *f) {
    const char *login = stws_frame_header(f, "login"), *passcode = stws_frame_header(f, "passcode");
    size_t len = settings->login ? strcspn(settings->login, ":") : 0;
    if (!settings->login) return 1;
    return login && passcode && strlen(login) == len && strncmp(login, settings->login, len) == 0 &&
           strcmp(passcode, settings->login + len + 1) == 0;
}

/* STOMP 1.2, "Heart-beating": the slower of what one can and the other wants; 0 means none. */
static long long beat_interval(long long can, long long wants) {
    if (!can || !wants) return 0;
    return can > wants ? can : wants;
}

static void put_connected(struct connection *c, const char *version) {
    char beat[48], session[24];
    const struct settings *o = &c->broker->settings;
    const char *list[] = {"version",    version,  "session",
                          session,      "server", "mini-broker/" STOMP_WS_VERSION,
                          "heart-beat", beat,     NULL};
    snprintf(session, sizeof session, "%llu", c->session);
    snprintf(beat, sizeof beat, "%lld,%lld", o->beat_out, o->beat_in);
    put_reply(c, STWS_COMMAND_CONNECTED, list, "");
    log_line(c, "connected with STOMP ", version);
}

static const char *on_connect(struct connection *c, const stws_frame *f) {
    const struct settings *settings = &c->broker->settings;
    const char *beat = stws_frame_header(f, "heart-beat");
    long long can = 0, wants = 0;
    int version = negotiate(stws_frame_header(f, "accept-version"));
    if (c->version != STWS_STOMP_NONE) return "the session is connected already";
    if (version == STWS_STOMP_NONE) return "no version in common, here are 1.0, 1.1 and 1.2";
    if (!may_log_in(settings, f)) return "access refused, login or passcode is wrong";
    if (beat && !parse_pair(beat, &can, &wants)) return "heart-beat is not two numbers";
    c->version = c->frames.version = version;
    c->frames.max_body = MAX_BODY;
    c->deadline = 0;
    if (version != STWS_STOMP_10) {
        c->beat_out = beat_interval(settings->beat_out, wants);
        c->beat_in = beat_interval(can, settings->beat_in);
    }
    put_connected(c, version == STWS_STOMP_10 ? "1.0" : version == STWS_STOMP_11 ? "1.1" : "1.2");
    return NULL;
}

/* Headers of a SEND that end here: they speak to the broker, or MESSAGE has them of its own. */
static int is_passed_on(const char *name) {
    static const char *const own[] = {"destination",  "receipt",    "transaction", "content-length",
                                      "subscription", "message-id", "ack",         "redelivered"};
    size_t i;
    for (i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(name, own[i]) == 0) return 0;
    return 1;
}

/* A reply-to:/temp-queue/x becomes a name that others can send to. Who asks need not listen there
   by itself: it is made to, under the id /temp-queue/x. */
static const char *make_reply_to(struct connection *c, stws_header *h) {
    char name[MAX_NAME];
    struct subscription *s;
    const char *why = resolve(c, h->value, name);
    if (why) return why;
    s = subscription_to(c, name);
    if (!s) {
        s = subscribe(c, name, h->value, ACK_AUTO);
        if (!s) return "there are too many subscriptions";
        s->implicit = 1;
    }
    set_header(h, "reply-to", s->destination->name);
    return NULL;
}

static const char *message_from(struct connection *c, const stws_frame *f, struct message **m) {
    stws_header headers[MAX_HEADERS];
    char name[MAX_NAME];
    const char *why = resolve(c, stws_frame_header(f, "destination"), name);
    size_t count = 0, i;
    for (i = 0; i < f->header_count && !why; i++) {
        stws_header *h = &headers[count];
        if (!is_passed_on(f->headers[i].name)) continue;
        *h = f->headers[i];
        count++;
        if (strcmp(h->name, "reply-to") == 0 && starts_with(h->value, "/temp-queue/"))
            why = make_reply_to(c, h);
    }
    if (why) return why;
    *m = message_new(c->broker, name, f->body, f->body_len, headers, count);
    return *m ? NULL : "the broker has no memory left";
}

/* Do it now or, when the frame names a transaction, at its COMMIT. o's message is given away. */
static const char *perform(struct connection *c, const stws_frame *f, struct operation *o) {
    const char *name = stws_frame_header(f, "transaction"), *why = NULL;
    struct transaction *t = name ? *transaction_find(c, name) : NULL;
    if (t && t->operations.len < MAX_OPERATIONS * sizeof *o &&
        buffer_append(c->broker, &t->operations, o, sizeof *o))
        return NULL;
    if (name)
        why = t ? "the transaction is too large" : "no such transaction";
    else if (o->message)
        why = publish(c->broker, o->message);
    else
        acknowledge(c, o->number, o->nack);
    message_release(c->broker, o->message);
    return why;
}

static const char *on_send(struct connection *c, const stws_frame *f) {
    struct operation o = {0};
    const char *why = message_from(c, f, &o.message);
    c->publishes = 1;
    return why ? why : perform(c, f, &o);
}

static int parse_ack(const char *mode, int version, enum ack *ack) {
    *ack = ACK_AUTO;
    if (!mode || strcmp(mode, "auto") == 0) return 1;
    *ack = ACK_CLIENT;
    if (strcmp(mode, "client") == 0) return 1;
    *ack = ACK_INDIVIDUAL;
    return strcmp(mode, "client-individual") == 0 && version != STWS_STOMP_10;
}

/* STOMP 1.0 may do without an id. */
static const char *on_subscribe(struct connection *c, const stws_frame *f) {
    const char *destination = stws_frame_header(f, "destination"), *id = stws_frame_header(f, "id");
    char name[MAX_NAME];
    const char *why = resolve(c, destination, name);
    struct subscription *implicit;
    enum ack ack;
    if (why) return why;
    if (starts_with(destination, "/reply-queue/")) return "replies are for who asked";
    if (!parse_ack(stws_frame_header(f, "ack"), c->version, &ack)) return "ack is no mode there is";
    if (!id && c->version != STWS_STOMP_10) return "there is no id";
    implicit = subscription_find(c, destination);
    if (implicit && implicit->implicit) unsubscribe(c, implicit);
    if (id && subscription_find(c, id)) return "the id is in use";
    return subscribe(c, name, id ? id : "", ack) ? NULL : "there are too many subscriptions";
}

/* STOMP 1.0 may name the destination instead. */
static const char *on_unsubscribe(struct connection *c, const stws_frame *f) {
    const char *id = stws_frame_header(f, "id");
    char name[MAX_NAME];
    struct subscription *s = id ? subscription_find(c, id) : NULL;
    if (!id && c->version != STWS_STOMP_10) return "there is no id";
    if (!id && !resolve(c, stws_frame_header(f, "destination"), name)) s = subscription_to(c, name);
    if (!s) return "no such subscription";
    unsubscribe(c, s);
    return NULL;
}

/* Our message-ids and ack ids are "session-number"; 0 is none of ours. */
static unsigned long long delivery_number(const struct connection *c, const char *id) {
    char prefix[24];
    snprintf(prefix, sizeof prefix, "%llu-", c->session);
    if (!starts_with(id, prefix) || !is_number(id + strlen(prefix))) return 0;
    return strtoull(id + strlen(prefix), NULL, 10);
}

static const char *on_ack(struct connection *c, const stws_frame *f) {
    const char *id = stws_frame_header(f, c->version == STWS_STOMP_12 ? "id" : "message-id");
    struct operation o = {0};
    o.nack = f->command_id == STWS_COMMAND_NACK;
    if (o.nack && c->version == STWS_STOMP_10) return "STOMP 1.0 knows no NACK";
    if (!id) return c->version == STWS_STOMP_12 ? "there is no id" : "there is no message-id";
    if (c->version == STWS_STOMP_11 && !stws_frame_header(f, "subscription"))
        return "there is no subscription";
    o.number = delivery_number(c, id);
    if (o.number == 0 || o.number > c->delivered) return "no such message was delivered";
    return perform(c, f, &o);
}

static const char *on_begin(struct connection *c, const stws_frame *f) {
    const char *name = stws_frame_header(f, "transaction");
    struct transaction *t;
    if (!name) return "there is no transaction";
    if (*transaction_find(c, name)) return "the transaction has begun already";
    if (c->transaction_count >= MAX_TRANSACTIONS) return "there are too many transactions";
    t = (struct transaction *)claim_named(c->broker, sizeof *t, name);
    if (!t) return "the broker has no memory left";
    t->name = (const char *)(t + 1);
    t->next = c->transactions;
    c->transactions = t;
    c->transaction_count++;
    return NULL;
}

static const char *on_commit_or_abort(struct connection *c, const stws_frame *f) {
    const char *name = stws_frame_header(f, "transaction"), *why = NULL;
    struct transaction **link = name ? transaction_find(c, name) : NULL;
    size_t count, i;
    struct operation *o;
    if (!name) return "there is no transaction";
    if (!*link) return "no such transaction";
    o = (struct operation *)(void *)buffer_view(&(*link)->operations);
    count = f->command_id == STWS_COMMAND_ABORT ? 0 : (*link)->operations.len / sizeof *o;
    for (i = 0; i < count && !why; i++) {
        if (o[i].message)
            why = publish(c->broker, o[i].message);
        else
            acknowledge(c, o[i].number, o[i].nack);
    }
    transaction_free(c, link);
    return why;
}

static void put_receipt(struct connection *c, const stws_frame *f) {
    const char *list[] = {"receipt-id", stws_frame_header(f, "receipt"), NULL};
    if (!list[1] || f->command_id == STWS_COMMAND_CONNECT || f->command_id == STWS_COMMAND_STOMP)
        return;
    if (put_reply(c, STWS_COMMAND_RECEIPT, list, "") == STWS_ERR_FRAME_BUILD)
        connection_doom(c, "a RECEIPT that cannot be said");
}

static const char *on_disconnect(struct connection *c, const stws_frame *f) {
    put_receipt(c, f);
    session_close(c, 1000, "goodbye", PHASE_CLOSING);
    return NULL;
}

static void on_frame(struct connection *c, const stws_frame *f) {
    static const struct {
        int command;
        const char *(*handle)(struct connection *, const stws_frame *);
    } handlers[] = {{STWS_COMMAND_CONNECT, on_connect},
                    {STWS_COMMAND_STOMP, on_connect},
                    {STWS_COMMAND_SEND, on_send},
                    {STWS_COMMAND_ACK, on_ack},
                    {STWS_COMMAND_SUBSCRIBE, on_subscribe},
                    {STWS_COMMAND_UNSUBSCRIBE, on_unsubscribe},
                    {STWS_COMMAND_NACK, on_ack},
                    {STWS_COMMAND_BEGIN, on_begin},
                    {STWS_COMMAND_COMMIT, on_commit_or_abort},
                    {STWS_COMMAND_ABORT, on_commit_or_abort},
                    {STWS_COMMAND_DISCONNECT, on_disconnect}};
    const char *why = "a client may not send this command";
    size_t i = 0, count = sizeof handlers / sizeof *handlers;
    while (i < count && handlers[i].command != f->command_id) i++;
    if (i < count && handlers[i].handle != on_connect && c->version == STWS_STOMP_NONE)
        why = "CONNECT comes first";
    else if (i < count)
        why = handlers[i].handle(c, f);
    if (why)
        refuse(c, f, why);
    else if (c->phase == PHASE_SESSION)
        put_receipt(c, f);
}

/* ==== the WebSocket: pieces of messages in, STOMP frames out of them ==== */

/* The peer's close frame: answer it, unless it is the answer to ours. Nothing comes behind it. */
static void on_close(struct connection *c, int code) {
    c->input_ended = 1;
    if (c->phase == PHASE_SESSION)
        session_close(c, code == 1005 ? 0 : code, NULL, PHASE_DRAIN);
    else
        set_phase(c, PHASE_DRAIN, CLOSE_MS);
}

/* To STOMP, text and binary messages are one stream of octets, whatever pieces they come in. */
static void on_piece(struct connection *c, const stws_ws_event *event) {
    if (event->opcode == STWS_WS_CLOSE)
        on_close(c, event->close_code);
    else if (c->phase != PHASE_SESSION || event->opcode == STWS_WS_PONG)
        return;
    else if (event->opcode == STWS_WS_PING)
        put_websocket(c, STWS_WS_PONG, event->data, event->len);
    else if (!buffer_append(c->broker, &c->stomp, event->data, event->len))
        connection_doom(c, "the broker has no memory left");
}

/* Steps return 1 for as long as they get on. */
static int step_frames(struct connection *c) {
    stws_frame frame;
    size_t used;
    int result = stws_frame_parse(buffer_view(&c->stomp), c->stomp.len, &c->frames, &frame, &used);
    if (result < 0) refuse(c, NULL, stws_result_text(result));
    if (result == STWS_DONE) on_frame(c, &frame);
    buffer_take(c->broker, &c->stomp, used);
    return result != STWS_MORE;
}

static int step_websocket(struct connection *c) {
    stws_ws_event event;
    size_t used;
    int result;
    if (c->phase == PHASE_SESSION && c->stomp.len && step_frames(c)) return 1;
    if (c->in.len == 0) return 0;
    result = stws_ws_parse(buffer_view(&c->in), c->in.len, &c->ws, &event, &used);
    if (result == STWS_DONE) on_piece(c, &event);
    if (result < 0 && c->phase == PHASE_SESSION)
        session_close(c, c->ws.close_code, c->ws.reason, PHASE_DRAIN);
    else if (result < 0)
        set_phase(c, PHASE_DRAIN, CLOSE_MS);
    buffer_take(c->broker, &c->in, used);
    return result != STWS_MORE;
}

/* ==== HTTP: what else is asked for on the same port ==== */

static void http_reply(struct connection *c, const char *status, const char *type, const void *body,
                       size_t len) {
    char head[320];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nConnection: close\r\n", status);
    put(c, head, (size_t)n);
    n = snprintf(head, sizeof head,
                 "Content-Length: %zu\r\nContent-Type: %s\r\n"
                 "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
                 len, type);
    if (type[0]) put(c, head, (size_t)n);
    put(c, "\r\n", 2);
    if (!c->head_only) put(c, body, len);
    set_phase(c, PHASE_DRAIN, CLOSE_MS);
}

static void http_fail(struct connection *c, const char *status) {
    char body[64];
    snprintf(body, sizeof body, "%s\n", status);
    http_reply(c, status, "text/plain", body, strlen(body));
}

/* %XX decoded: 0 when it is none, hides a NUL, or does not fit. */
static int percent_decode(const char *text, size_t len, char *out, size_t cap) {
    size_t i, n = 0;
    for (i = 0; i < len && n + 1 < cap; i++) {
        char hex[3] = {0};
        out[n++] = text[i];
        if (text[i] != '%') continue;
        if (len - i < 3) return 0;
        memcpy(hex, text + i + 1, 2);
        if (strspn(hex, "0123456789abcdefABCDEF") != 2 || strcmp(hex, "00") == 0) return 0;
        out[n - 1] = (char)strtol(hex, NULL, 16);
        i += 2;
    }
    out[n] = 0;
    return i == len;
}

/* Open a file below dir. Each step is opened by itself and no link is followed, so that no path
   leads outside; names that begin with a dot are nobody's business. */
static int open_below(const char *dir, const char *path) {
    int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), next = -1, is_last = 0;
    char name[256];
    for (; at >= 0 && !is_last && *path == '/'; at = next) {
        size_t len = strcspn(++path, "/");
        int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
        is_last = path[len] == 0;
        snprintf(name, sizeof name, "%.*s", (int)len, path);
        next = len && len < sizeof name && name[0] != '.'
                   ? openat(at, name, is_last ? flags : flags | O_DIRECTORY)
                   : -1;
        close(at);
        path += len;
    }
    return at;
}

static const char *content_type(const char *path) {
    static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
                                           {".js", "text/javascript; charset=utf-8"},
                                           {".css", "text/css; charset=utf-8"},
                                           {".txt", "text/plain; charset=utf-8"},
                                           {".md", "text/plain; charset=utf-8"},
                                           {".json", "application/json"},
                                           {".svg", "image/svg+xml"},
                                           {".png", "image/png"},
                                           {".ico", "image/x-icon"}};
    const char *dot = strrchr(path, '.');
    size_t i;
    for (i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcmp(dot, types[i][0]) == 0) return types[i][1];
    return "application/octet-stream";
}

/* The whole file in one block, or NULL. */
static char *read_file(struct broker *b, int fd, size_t *size) {
    struct stat info;
    size_t len = 0;
    ssize_t n = 1;
    char *data;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > MAX_FILE) return NULL;
    *size = (size_t)info.st_size;
    data = (char *)claim(b, NULL, *size + 1);
    while (data && len < *size && n > 0) {
        n = read(fd, data + len, *size - len);
        if (n > 0) len += (size_t)n;
    }
    if (len == *size) return data;
    give_back(b, data);
    return NULL;
}

static void serve_file(struct connection *c, const char *path) {
    const char *dir = c->broker->settings.files;
    char *data = NULL;
    size_t size = 0;
    int fd;
    if (strcmp(path, "/") == 0) path = "/index.html";
    fd = dir ? open_below(dir, path) : -1;
    if (fd >= 0) data = read_file(c->broker, fd, &size);
    if (fd >= 0) close(fd);
    if (data)
        http_reply(c, "200 OK", content_type(path), data, size);
    else
        http_fail(c, "404 Not Found");
    give_back(c->broker, data);
}

static void open_websocket(struct connection *c) {
    char answer[512];
    size_t size;
    int result = stws_handshake_answer(answer, sizeof answer, &c->http,
                                       "v12.stomp,v11.stomp,v10.stomp", &size);
    if (result != STWS_ERR_SPACE) put(c, answer, size);
    if (result == STWS_OK)
        c->phase = PHASE_SESSION; /* the deadline stays: it is CONNECT's now */
    else
        set_phase(c, PHASE_DRAIN, CLOSE_MS);
}

/* Spring's SockJS endpoint in small: what a client meets that forgot the final /websocket. */
static void on_get(struct connection *c, const char *path) {
    static const char welcome[] = "Welcome to SockJS!\n";
    static const char info[] = "{\"websocket\":true,\"origins\":[\"*:*\"],\"cookie_needed\":false,"
                               "\"entropy\":4}\n";
    const char *base = c->broker->settings.base;
    const char *rest = starts_with(path, base) ? path + strlen(base) : "/";
    int is_info = strcmp(rest, "/info") == 0;
    if (strcmp(rest, "/websocket") == 0)
        open_websocket(c);
    else if (is_info)
        http_reply(c, "200 OK", "application/json", info, strlen(info));
    else if (*rest)
        serve_file(c, path);
    else if (stws_http_has_token(&c->http, "Upgrade", "websocket"))
        http_reply(c, "400 Bad Request", "text/plain", "", 0);
    else
        http_reply(c, "200 OK", "text/plain", welcome, strlen(welcome));
}

/* The value of a parameter of the query, decoded. */
static int query_value(const char *query, const char *name, char *out, size_t cap) {
    size_t len = strlen(name), size;
    for (; *query; query += size + (query[size] == '&')) {
        size = strcspn(query, "&");
        if (size > len && strncmp(query, name, len) == 0 && query[len] == '=')
            return percent_decode(query + len + 1, size - len - 1, out, cap);
    }
    return 0;
}

/* POST /publish?destination=/topic/x: sent when the body is there, see step_post(). */
static void on_post(struct connection *c, const char *path, const char *query) {
    const char *length = stws_http_header(&c->http, "Content-Length");
    const char *type = stws_http_header(&c->http, "Content-Type"), *fault = NULL;
    char name[MAX_NAME];
    if (strcmp(path, "/publish") != 0)
        fault = "404 Not Found";
    else if (!query_value(query, "destination", c->post_destination, MAX_NAME) ||
             resolve(c, c->post_destination, name))
        fault = "400 Bad Request";
    else if (!length || !is_number(length))
        fault = "411 Length Required";
    else if (strlen(length) > 9 || strtoul(length, NULL, 10) > MAX_BODY)
        fault = "413 Content Too Large";
    if (fault) {
        http_fail(c, fault);
        return;
    }
    c->post_len = strtoul(length, NULL, 10);
    snprintf(c->post_type, sizeof c->post_type, "%s", type ? type : "application/octet-stream");
    if (stws_http_header(&c->http, "Expect")) put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    c->phase = PHASE_POST;
}

static int step_post(struct connection *c) {
    char name[MAX_NAME];
    stws_header type;
    struct message *m;
    if (c->in.len < c->post_len) return 0;
    resolve(c, c->post_destination, name);
    set_header(&type, "content-type", c->post_type);
    m = message_new(c->broker, name, buffer_view(&c->in), c->post_len, &type, 1);
    if (m && !publish(c->broker, m))
        http_reply(c, "204 No Content", "", "", 0);
    else
        http_fail(c, "503 Service Unavailable");
    message_release(c->broker, m);
    return 0;
}

static void on_request(struct connection *c) {
    const char *target = c->http.target, *query = target + strcspn(target, "?");
    char path[MAX_NAME];
    int is_path = percent_decode(target, (size_t)(query - target), path, sizeof path);
    c->head_only = strcmp(c->http.method, "HEAD") == 0;
    if (!is_path)
        http_fail(c, "400 Bad Request");
    else if (c->head_only || strcmp(c->http.method, "GET") == 0)
        on_get(c, path);
    else if (strcmp(c->http.method, "POST") == 0)
        on_post(c, path, query + (*query == '?'));
    else
        http_fail(c, "405 Method Not Allowed");
}

static int step_request(struct connection *c) {
    size_t used;
    int result = stws_handshake_parse(buffer_view(&c->in), c->in.len, &c->http, &used);
    int is_answer = result == STWS_DONE && !c->http.method; /* "HTTP/1.1 200" is a head, too */
    if (result == STWS_ERR_HTTP_LIMIT)
        http_fail(c, "431 Request Header Fields Too Large");
    else if (result < 0 || is_answer)
        http_fail(c, "400 Bad Request");
    else if (result == STWS_DONE)
        on_request(c);
    buffer_take(c->broker, &c->in, used);
    return result == STWS_DONE;
}

/* ==== connections: octets in, octets out ==== */

static struct connection *connection_open(struct broker *b) {
    struct connection *c = (struct connection *)claim(b, NULL, sizeof *c);
    if (!c) return NULL;
    memset(c, 0, sizeof *c);
    c->broker = b;
    c->session = ++b->sessions;
    c->http.headers = c->frames.headers = c->headers;
    c->http.max_headers = c->frames.max_headers = MAX_HEADERS;
    c->frames.max_line = MAX_LINE;
    c->frames.max_body = MAX_BODY_STRANGER;
    c->ws.server = c->ws.check_utf8 = 1;
    c->last_in = c->last_out = b->now;
    set_phase(c, PHASE_HTTP, LOGIN_MS);
    c->next = b->connections;
    b->connections = c;
    b->connection_count++;
    return c;
}

/* The peer is lost. What it did not acknowledge is others' now. */
static void connection_lost(struct connection *c) {
    set_phase(c, PHASE_GONE, 0);
    session_end(c);
    broker_settle(c->broker);
}

static void connection_free(struct connection *c) {
    struct broker *b = c->broker;
    struct connection **link = &b->connections;
    connection_lost(c);
    while (*link != c) link = &(*link)->next;
    *link = c->next;
    b->connection_count--;
    buffer_free(b, &c->in);
    buffer_free(b, &c->stomp);
    buffer_free(b, &c->out);
    give_back(b, c);
}

/* Back-pressure: while somebody is behind, nothing is read from those who publish, nor from who is
   behind; TCP tells them. Who then makes no headway for STALL_MS has to go. */
static int connection_waits(const struct connection *c) {
    return c->phase == PHASE_SESSION && (c->congested || (c->publishes && c->broker->congested));
}

/* Handle what has come in, as far as it goes. */
static void connection_process(struct connection *c) {
    int goes_on = c->in.len || c->stomp.len;
    while (goes_on && !c->doom && !connection_waits(c)) {
        if (c->phase == PHASE_HTTP)
            goes_on = step_request(c);
        else if (c->phase == PHASE_POST)
            goes_on = step_post(c);
        else if (c->phase <= PHASE_CLOSING)
            goes_on = step_websocket(c);
        else
            goes_on = 0;
    }
    if (c->phase >= PHASE_DRAIN) buffer_free(c->broker, &c->in);
    broker_settle(c->broker);
}

static void connection_feed(struct connection *c, const char *data, size_t len) {
    c->last_in = c->broker->now;
    if (c->phase >= PHASE_DRAIN) return;
    if (!buffer_append(c->broker, &c->in, data, len))
        connection_doom(c, "the broker has no memory left");
    connection_process(c);
}

static const char *connection_output(const struct connection *c, size_t *len) {
    *len = c->out.len;
    return buffer_view(&c->out);
}

/* n octets have left. That may let a queue go on that waited for this consumer. */
static void connection_written(struct connection *c, size_t n) {
    int was_congested = c->congested;
    struct subscription *s;
    c->last_out = c->progress = c->broker->now;
    buffer_take(c->broker, &c->out, n);
    if (c->phase == PHASE_DRAIN) set_phase(c, PHASE_DRAIN, CLOSE_MS);
    update_congestion(c);
    if (was_congested && !c->congested)
        for (s = c->subscriptions; s; s = s->next) pump(c->broker, s->destination);
    broker_settle(c->broker);
}

/* The peer sends nothing more; what it still is to get, it gets. */
static void connection_input_ended(struct connection *c) {
    c->input_ended = 1;
    connection_lost(c);
    if (c->out.len) set_phase(c, PHASE_DRAIN, CLOSE_MS);
}

/* When connection_tick() has something to do. */
static long long connection_due(const struct connection *c) {
    long long due = c->deadline ? c->deadline : LLONG_MAX;
    long long stall = c->congested ? c->progress + STALL_MS : LLONG_MAX;
    long long in = c->beat_in ? c->last_in + 3 * c->beat_in : LLONG_MAX;
    long long out = c->beat_out && c->out.len == 0 ? c->last_out + c->beat_out / 2 : LLONG_MAX;
    if (c->phase != PHASE_SESSION) return due;
    if (stall < due) due = stall;
    if (in < due) due = in;
    return out < due ? out : due;
}

static void connection_tick(struct connection *c) {
    long long now = c->broker->now;
    if (connection_waits(c)) c->last_in = now; /* it may have sent: nobody looked */
    if (connection_due(c) > now) return;
    if (c->phase == PHASE_HTTP || c->phase == PHASE_POST)
        http_fail(c, "408 Request Timeout");
    else if (c->phase != PHASE_SESSION)
        set_phase(c, PHASE_GONE, 0);
    else if (c->deadline && c->deadline <= now)
        connection_doom(c, "CONNECT did not come in time");
    else if (c->congested && c->progress + STALL_MS <= now)
        connection_doom(c, "slow consumer");
    else if (c->beat_in && c->last_in + 3 * c->beat_in <= now)
        connection_doom(c, "your heart-beat stayed out");
    else
        put_websocket(c, STWS_WS_TEXT, "\n", 1);
}

/* What time brings. Those who had to wait go on here. */
static void broker_tick(struct broker *b, long long now) {
    struct connection *c;
    b->now = now;
    for (c = b->connections; c; c = c->next) {
        connection_tick(c);
        connection_process(c);
    }
}

/* What queues hold goes as well. Afterwards b->memory is 0. */
static void broker_free(struct broker *b) {
    struct connection *c, *next;
    struct destination *d, *next_d;
    size_t i;
    for (c = b->connections; c; c = next) {
        next = c->next;
        connection_free(c);
    }
    for (i = 0; i < BUCKETS; i++)
        for (d = b->destinations[i]; d; d = next_d) {
            next_d = d->next;
            d->kind = KIND_TOPIC;
            destination_tidy(b, d);
        }
}

#ifndef MINI_BROKER_NO_MAIN

/* ==== sockets: one thread, one poll() ==== */

/* A signal handler has no argument, so what it writes to has to be global. */
static int wake_pipe[2];

static void on_signal(int number) {
    int saved = errno;
    char octet = (char)number;
    if (write(wake_pipe[1], &octet, 1) < 0) octet = 0; /* full: it wakes up anyway */
    errno = saved;
}

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void make_nonblocking(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Returns 0 when descriptors or memory ran out: it is no use to come back at once. */
static int accept_all(struct broker *b, int listener) {
    int fd = 0, on = 1;
    while (b->connection_count < MAX_CONNECTIONS && (fd = accept(listener, NULL, NULL)) >= 0) {
        struct connection *c = connection_open(b);
        if (!c) {
            close(fd);
            return 0;
        }
        make_nonblocking(fd);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        c->fd = fd;
    }
    return fd >= 0 || (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM);
}

static int is_just_not_now(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static void read_from(struct connection *c) {
    char chunk[READ_CHUNK];
    ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
    if (n > 0)
        connection_feed(c, chunk, (size_t)n);
    else if (n == 0)
        connection_input_ended(c);
    else if (!is_just_not_now())
        connection_lost(c);
}

/* What a turn has brought leaves together. Behind the last octet our end is told and the peer's is
   awaited: close() with octets unread would reset the connection, and cost it what we said last. */
static void write_to(struct connection *c) {
    size_t len;
    const char *data = connection_output(c, &len);
    ssize_t n = len && c->phase != PHASE_GONE ? send(c->fd, data, len, MSG_NOSIGNAL) : 0;
    if (n > 0)
        connection_written(c, (size_t)n);
    else if (n < 0 && !is_just_not_now())
        connection_lost(c);
    if (c->phase != PHASE_DRAIN || c->out.len) return;
    if (!c->output_ended) shutdown(c->fd, SHUT_WR);
    c->output_ended = 1;
    if (c->input_ended) connection_lost(c);
}

static int wants_input(const struct connection *c) {
    return !c->input_ended && !connection_waits(c);
}

static void react(struct connection *c, int revents) {
    if ((revents & ~POLLOUT) && wants_input(c))
        read_from(c);
    else if (revents & (POLLHUP | POLLERR | POLLNVAL))
        connection_lost(c);
}

static void reap(struct broker *b) {
    struct connection *c, *next;
    for (c = b->connections; c; c = next) {
        next = c->next;
        if (c->phase != PHASE_GONE) continue;
        close(c->fd);
        connection_free(c);
    }
}

/* Fill in what to wait for; returns how many, and how long in *timeout. */
static nfds_t prepare(const struct broker *b, struct pollfd *polls, int listener, long long until,
                      int *timeout) {
    const struct connection *c;
    nfds_t n = 2;
    polls[0].fd = wake_pipe[0];
    polls[1].fd = b->connection_count < MAX_CONNECTIONS ? listener : -1;
    polls[0].events = polls[1].events = POLLIN;
    for (c = b->connections; c; c = c->next, n++) {
        polls[n].fd = c->fd;
        polls[n].events = (short)((wants_input(c) ? POLLIN : 0) | (c->out.len ? POLLOUT : 0));
        if (connection_due(c) < until) until = connection_due(c);
    }
    *timeout = until == LLONG_MAX ? -1 : until <= b->now ? 0 : INT_MAX;
    if (*timeout == INT_MAX && until - b->now < INT_MAX) *timeout = (int)(until - b->now);
    return n;
}

/* Wait, read, let time act, write. Who is accepted has its first turn in the next one. */
static void turn(struct broker *b, struct pollfd *polls, int listener, long long until) {
    int timeout;
    nfds_t count = prepare(b, polls, listener, until, &timeout), n = 2;
    struct connection *c;
    if (poll(polls, count, timeout) < 0) return;
    b->now = now_ms();
    for (c = b->connections; c; c = c->next) react(c, polls[n++].revents);
    broker_tick(b, b->now);
    for (c = b->connections; c; c = c->next) write_to(c);
    reap(b);
}

static void say_goodbye(struct broker *b) {
    struct connection *c;
    for (c = b->connections; c; c = c->next) {
        if (c->phase == PHASE_SESSION)
            session_close(c, 1001, "it shuts down", PHASE_CLOSING);
        else if (c->phase < PHASE_SESSION)
            connection_lost(c);
    }
}

/* Serve until a signal comes, and then for CLOSE_MS at most, or until the next signal. */
static void serve(struct broker *b, struct pollfd *polls, int listener) {
    long long retry_at = 0, stop_at = LLONG_MAX;
    char signals[16];
    b->now = now_ms();
    while (read(wake_pipe[0], signals, sizeof signals) < 0) {
        int is_paused = retry_at > b->now;
        turn(b, polls, is_paused ? -1 : listener, is_paused ? retry_at : LLONG_MAX);
        if (polls[1].revents && !accept_all(b, listener)) retry_at = b->now + RETRY_MS;
    }
    close(listener);
    say_goodbye(b);
    stop_at = b->now + CLOSE_MS;
    while (b->connections && b->now < stop_at && read(wake_pipe[0], signals, sizeof signals) < 0)
        turn(b, polls, -1, stop_at);
}

/* ==== the program ==== */

static int usage(FILE *out, int status) {
    fputs("usage: mini_broker [--port N] [--bind 127.0.0.1|::1] [--base /notifications]\n"
          "                   [--files DIR] [--heartbeat OUT,IN] [--login USER:PASS] [--quiet]\n"
          "A STOMP-over-WebSocket broker on the loopback. Port 0, the default, is a free one; the\n"
          "URL is printed behind READY. Heart-beats are in milliseconds, 10000,10000 by default.\n"
          "With --files it serves a directory, too; POST /publish?destination=/topic/x sends the\n"
          "body to that destination.\n",
          out);
    return status;
}

/* A slash in front and none behind; "/" alone is no base at all. */
static int parse_base(char *text, const char **base) {
    size_t len = strlen(text);
    int is_path = text[0] == '/' && len < MAX_NAME;
    while (len > 0 && text[len - 1] == '/') text[--len] = 0;
    *base = text;
    return is_path;
}

static int parse_option(struct settings *o, const char *name, char *value) {
    if (strcmp(name, "--bind") == 0)
        o->bind = value;
    else if (strcmp(name, "--port") == 0)
        o->port = value;
    else if (strcmp(name, "--files") == 0)
        o->files = value;
    else if (strcmp(name, "--login") == 0)
        o->login = value;
    else if (strcmp(name, "--base") == 0)
        return parse_base(value, &o->base);
    else if (strcmp(name, "--heartbeat") == 0)
        return parse_pair(value, &o->beat_out, &o->beat_in);
    else
        return 0;
    return 1;
}

static int parse_options(int argc, char **argv, struct settings *o) {
    int i = 1;
    while (i < argc) {
        if (strcmp(argv[i], "--quiet") == 0) {
            o->quiet = 1;
            i++;
        } else {
            if (i + 1 == argc || !parse_option(o, argv[i], argv[i + 1])) return 0;
            i += 2;
        }
    }
    return is_number(o->port) && strlen(o->port) <= 5 && strtol(o->port, NULL, 10) <= 65535 &&
           (!o->login || strchr(o->login, ':')) &&
           (strcmp(o->bind, "127.0.0.1") == 0 || strcmp(o->bind, "::1") == 0);
}

/* A listening socket, or -1 and errno; port becomes the one it got. */
static int listen_on(const struct settings *o, char port[PORT_TEXT]) {
    struct addrinfo hints = {0}, *found;
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    int fd, listens, error, on = 1;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
    hints.ai_socktype = SOCK_STREAM;
    errno = EINVAL; /* what getaddrinfo cannot take is no number */
    if (getaddrinfo(o->bind, o->port, &hints, &found) != 0) return -1;
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    listens =
        fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1024) == 0 &&
        getsockname(fd, (struct sockaddr *)&name, &len) == 0 &&
        getnameinfo((struct sockaddr *)&name, len, NULL, 0, port, PORT_TEXT, NI_NUMERICSERV) == 0;
    error = errno;
    if (fd >= 0 && !listens) close(fd);
    freeaddrinfo(found);
    errno = error;
    return listens ? fd : -1;
}

static int catch_signals(void) {
    struct sigaction action;
    if (pipe(wake_pipe) != 0) return 0;
    memset(&action, 0, sizeof action);
    make_nonblocking(wake_pipe[0]);
    make_nonblocking(wake_pipe[1]);
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGTERM, &action, NULL) == 0 && sigaction(SIGINT, &action, NULL) == 0;
}

int main(int argc, char **argv) {
    static struct broker broker;
    static struct pollfd polls[MAX_CONNECTIONS + 2];
    struct settings *o = &broker.settings;
    const char *host;
    char port[PORT_TEXT];
    int listener;
    o->bind = "127.0.0.1";
    o->port = "0";
    o->base = "/notifications";
    o->beat_out = o->beat_in = 10000;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return usage(stdout, 0);
    if (!parse_options(argc, argv, o)) return usage(stderr, 2);
    listener = catch_signals() ? listen_on(o, port) : -1;
    if (listener < 0) {
        fprintf(stderr, "mini_broker: cannot listen on %s, port %s: %s\n", o->bind, o->port,
                strerror(errno));
        return 1;
    }
    make_nonblocking(listener);
    host = strchr(o->bind, ':') ? "[::1]" : o->bind;
    printf("READY ws://%s:%s%s/websocket\n", host, port, o->base);
    fflush(stdout);
    serve(&broker, polls, listener);
    broker_free(&broker);
    return 0;
}

#endif /* MINI_BROKER_NO_MAIN */
