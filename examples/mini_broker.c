/* How do I write a server with the codecs?

       mini_broker [--port N] [--bind 127.0.0.1|::1] [--base /notifications] [--files DIR]
                   [--heartbeat OUT,IN] [--login USER:PASS] [--quiet]

   This is a small STOMP-over-WebSocket broker on the loopback interface, for demos and tests. It
   prints READY and its URL, and serves until SIGINT or SIGTERM. Then it closes all sessions, waits
   at most two seconds for the peers, and exits with 0.

   It uses the codecs of stomp_ws.h on the server's side, without the client. Everything above the
   section "sockets" works without network and clock: connection_open() creates a peer,
   connection_feed() receives bytes from it, connection_output() and connection_written() return
   bytes for it, connection_input_ended() is called at the end of its input, broker_tick() sets
   the time, and broker_free() ends everything. A fuzz target defines MINI_BROKER_NO_MAIN,
   includes this file, and needs only a zeroed struct broker with settings.base.

   No peer can stop the others. The broker never waits for a slow reader. If too much output waits
   for a peer, the output is dropped, the peer gets an ERROR "slow consumer" (except in the middle
   of a long frame), and its connection is closed. A queue gives its messages to the consumers that
   can take them. Only the peer that exceeds a limit gets an ERROR or an HTTP error. All memory
   comes from one budget. When it is used up, the connection that uses the most memory is closed.
   The cost of a frame does not depend on other connections, except for a SEND to a topic, which is
   copied for each subscriber. The limits:

     connections     1000, fewer if the limit of open files is lower; others get a 503
     login           10 s from accept to the end of the request, and to CONNECT
     HTTP            16384 bytes for the head of a request, 16 MiB for a body, 16 MiB for a
                     file; 10 s to read an answer
     frame           128 headers, 8192 bytes per header line, 16 MiB for a body (1024 bytes
                     before CONNECTED)
     session         256 subscriptions; 32 transactions with 1024 frames each and 16 MiB
                     together; 16384 messages that wait for an ACK; names of 1023 bytes
     slow consumer   64 MiB of output wait for it, or it reads less than 64 KiB in 5 s while
                     more than 1 MiB waits
     queue           65536 messages or 32 MiB, including messages that wait for an ACK
     all queues      160 MiB; 65536 queues without a subscriber, each deleted when it was not
                     used for 60 minutes
     topic           128 MiB for all copies of a message
     memory          512 MiB; when it is used up, the connection that uses the most is
                     closed, unless all use less than 256 KiB

   With --login, CONNECT needs these credentials, and POST needs them as "Authorization: Basic".
   GET needs no credentials: everybody may read the files of --files. There is no TLS and no check
   of Origin, so the broker binds to the loopback interface only. */

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
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ==== limits: bytes, counts and milliseconds ==== */

enum {
    /* Memory. The queues leave enough for FAIR_SHARE per connection, and for all copies of one
       largest frame. */
    MEMORY_LIMIT = 512 << 20, /* everything together */
    QUEUES_LIMIT = 160 << 20, /* all queues */
    QUEUE_LIMIT = 32 << 20,   /* one queue, including its messages that wait for an ACK */
    MAX_HELD = 65536,         /* messages of one queue, including those that wait for an ACK */
    MAX_QUEUES = 65536,       /* queues without a subscriber */
    FANOUT_LIMIT = 128 << 20, /* one message to all subscribers of a topic */
    TURN_LIMIT = 4 << 20,     /* output that one connection's input may cause in a turn */
    /* One connection. */
    FAIR_SHARE = 256 << 10,  /* a connection that uses no more is not closed to free memory */
    OUTPUT_LIMIT = 64 << 20, /* with more waiting output, the peer is a slow consumer */
    HIGH_WATER = 1 << 20,  /* with more waiting output, it is not read from and gets no messages */
    READ_CHUNK = 64 << 10, /* bytes of one read; a larger buffer is freed when it is empty */
    KEPT_LIMIT = 16 << 20, /* its transactions and subscriptions */
    MAX_SUBSCRIPTIONS = 256,
    MAX_TRANSACTIONS = 32,
    MAX_OPERATIONS = 1024, /* of one transaction */
    MAX_UNACKED = 16384,
    MAX_DELIVERIES = 6, /* of one message; the next NACK drops the message */
    /* One frame, request or file. */
    MAX_BODY = 16 << 20,
    MAX_BODY_STRANGER = 1024, /* before CONNECTED */
    MAX_FILE = 16 << 20,
    MAX_REQUEST = 16384, /* the head of a request */
    MAX_LINE = 8192,
    MAX_HEADERS = 128,
    MAX_NAME = 1024, /* a destination, a path, the id of a subscription, a transaction */
    MAX_LOGIN = 256,
    /* Sockets. These numbers fit into the usual limit of 1,024 open files. */
    MAX_CONNECTIONS = 1000,
    MAX_REFUSED = 16, /* additional connections that get a 503 at the same time */
    SPARE_FILES = 8,  /* standard streams, signals, the listener, a file that is served */
    PORT_TEXT = 16,
    /* Time. */
    LOGIN_MS = 10000,   /* from accept to the request's end, and to CONNECT */
    CLOSE_MS = 2000,    /* for the peer to close its side */
    ANSWER_MS = 10000,  /* for the peer to read an HTTP answer */
    STALL_MS = 5000,    /* over HIGH_WATER, a peer that reads less than READ_CHUNK is too slow */
    QUEUE_MS = 3600000, /* an unused queue is deleted after this time */
    RETRY_MS = 200      /* accept() or poll() is tried again so long after it failed */
};

/* ==== the parts of the machine ==== */

enum kind { KIND_TOPIC, KIND_QUEUE, KIND_REPLY };
enum ack { ACK_AUTO, ACK_CLIENT, ACK_INDIVIDUAL };

enum phase {
    PHASE_HTTP,    /* waits for the head of a request */
    PHASE_POST,    /* waits for the body of a request */
    PHASE_SESSION, /* the WebSocket is open */
    PHASE_CLOSING, /* our close frame is sent; waits for the peer's close frame */
    PHASE_DRAIN,   /* the last output is sent; input is dropped */
    PHASE_GONE     /* connection_free() comes next */
};

struct settings {
    const char *bind, *port;
    const char *base;   /* "/notifications" */
    const char *files;  /* a directory, or NULL */
    const char *login;  /* "USER:PASS", or NULL: no login is needed */
    size_t connections; /* 0: MAX_CONNECTIONS */
    long long beat_out, beat_in;
    int quiet;
};

struct buffer {
    char *data;
    size_t start, len, cap;
};

/* A member of a list. It can leave the list without a search. Each struct that can be a member
   begins with a struct link. */
struct link {
    struct link *before, *after;
    struct list *list; /* NULL: it is in no list */
};

/* A list. */
struct list {
    struct link *first, *last;
    size_t count;
};

/* A message, in one block of memory. The subscribers of a topic share it. A message of a queue is
   in one place at a time. */
struct message {
    struct message *next;
    int references, deliveries;
    const char *destination, *body;
    size_t body_len, header_count;
    stws_header *headers; /* stored after the struct, with all strings */
};

struct destination {
    struct link link;             /* in broker.idle, for a queue without a subscriber */
    long long idle_since;         /* milliseconds */
    struct list listeners;        /* topic: all subscriptions; queue: those that can take more */
    struct message *first, *last; /* messages that no consumer could take yet */
    size_t count, bytes;          /* of messages here, and of those that wait for an ACK */
    size_t users;                 /* all subscriptions to this destination */
    enum kind kind;
    const char *name; /* stored after the struct */
};

struct subscription {
    struct link link;          /* in destination.listeners or connection.parked */
    struct subscription *next; /* of the connection */
    struct connection *connection;
    struct destination *destination;
    enum ack ack;
    size_t oldest, newest; /* slots of deliveries that wait for an ACK, see struct delivery */
    int implicit;          /* 1: created by a reply-to header, not by SUBSCRIBE */
    const char *id;        /* stored after the struct */
};

/* A MESSAGE that waits for its ACK. It is stored in a slot. Slots are numbered from 1; 0 means no
   slot. The slot's number is part of the ack id, so ACK needs no search. The deliveries of a
   subscription are linked, so ACK in client mode and UNSUBSCRIBE visit only these. */
struct delivery {
    unsigned long long number; /* of the MESSAGE; 0: the slot is free */
    struct subscription *subscription;
    struct message *message; /* NULL for topics, which never deliver again */
    size_t older, newer;     /* slots; in a free slot, newer is the next free slot */
};

/* A part of a transaction, done at COMMIT: a message to publish, or a delivery to ACK or NACK. */
struct operation {
    struct message *message;
    unsigned long long number;
    size_t slot;
    int nack;
};

struct transaction {
    struct transaction *next;
    struct buffer operations;
    const char *name; /* stored after the struct */
};

struct connection {
    struct connection *next;
    struct broker *broker;
    int fd, output_ended; /* used by the section "sockets" only */
    int input_ended;
    enum phase phase;
    const char *doom;    /* if set, broker_settle() ends the connection for this reason */
    struct buffer in;    /* bytes from the peer */
    struct buffer stomp; /* the STOMP stream in these bytes */
    struct buffer out;   /* bytes for the peer */
    size_t begun;        /* bytes at the front of out that complete a frame already begun */
    int mute;            /* 1: such bytes were dropped, so nothing more can be sent */
    stws_http http;
    stws_ws ws;
    stws_frame_state frames;
    stws_header headers[MAX_HEADERS]; /* of the request; later of a frame */

    int head_only; /* a HEAD request */
    size_t post_len;
    char post_destination[MAX_NAME], post_type[128];

    unsigned long long session;
    stws_stomp_version version; /* STWS_STOMP_NONE before CONNECTED */
    struct subscription *subscriptions;
    struct transaction *transactions;
    size_t subscription_count, transaction_count;
    size_t kept;                  /* bytes of subscriptions and transactions */
    struct list parked;           /* its subscriptions to queues, while it can take no messages */
    struct buffer unacked;        /* slots of struct delivery */
    size_t unacked_count, unused; /* slots in use; the first free slot */
    unsigned long long delivered; /* number of the last MESSAGE */
    int congested;

    long long deadline; /* when the phase must have ended; 0: no limit */
    long long last_in, last_out, beat_out, beat_in;
    long long progress; /* when congestion began, or the peer last completed READ_CHUNK bytes */
    size_t read_since;  /* bytes that the peer has read since then */
    int unfinished;     /* 1: its input is handled further in the next turn */
};

struct broker {
    struct settings settings;
    long long now;         /* milliseconds, monotonic */
    size_t memory, queued; /* bytes of everything; bytes of all queues */
    struct connection *connections;
    struct connection *busy; /* its frame or request is being handled, so its buffers are in use */
    size_t connection_count, destination_count;
    unsigned long long sessions;
    unsigned long long produced; /* bytes of output since the start */
    int doomed;                  /* 1: some connection has a doom */
    void *destinations;          /* a tree by name: see tsearch(3) */
    struct list idle; /* queues without a subscriber; the most recently used one is the last */
};

static void log_line(const struct connection *c, const char *what, const char *why) {
    if (!c->broker->settings.quiet) fprintf(stderr, "session %llu %s%s\n", c->session, what, why);
}

static void list_remove(struct link *l) {
    if (!l->list) return;
    *(l->before ? &l->before->after : &l->list->first) = l->after;
    *(l->after ? &l->after->before : &l->list->last) = l->before;
    l->list->count--;
    l->list = NULL;
}

/* Moves a member to the end of a list, from the list that it is in. */
static void list_append(struct list *list, struct link *l) {
    list_remove(l);
    l->before = list->last;
    l->after = NULL;
    *(list->last ? &list->last->after : &list->first) = l;
    list->last = l;
    list->count++;
    l->list = list;
}

/* Marks a connection to be ended later by broker_settle(), when no loop over lists is running. */
static void connection_doom(struct connection *c, const char *why) {
    if (!c->doom) c->doom = why;
    c->broker->doomed = 1;
}

/* ==== memory: one budget, and buffers ==== */

/* The header of each block of memory. The second member only aligns the block. */
union block {
    size_t size;
    long double alignment;
};

static size_t block_size(const void *data) {
    return data ? ((const union block *)data - 1)->size : 0;
}

static int evict(struct broker *b, const struct connection *asker);

/* Works like realloc, within the budget. If the budget is used up, another connection may be
   ended, see evict(). Returns NULL without memory; old is then unchanged. */
static void *claim(struct broker *b, const struct connection *asker, void *old, size_t size) {
    union block *block = old ? (union block *)old - 1 : NULL, *moved;
    size_t had = block_size(old);
    while (size > had && size - had > MEMORY_LIMIT - b->memory)
        if (!evict(b, asker)) return NULL;
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

/* Returns a zeroed struct of that size, followed by a copy of the name. */
static void *claim_named(const struct connection *c, size_t size, const char *name) {
    size_t len = strlen(name) + 1;
    char *p = (char *)claim(c->broker, c, NULL, size + len);
    if (!p) return NULL;
    memset(p, 0, size);
    memcpy(p + size, name, len);
    return p;
}

static char *buffer_view(const struct buffer *f) {
    return f->data ? f->data + f->start : NULL;
}

/* Returns room for n bytes after the content of a buffer, or NULL. The content is moved to the
   front only if it fits into the free space there, so each byte is moved a constant number of
   times. */
static char *buffer_room(const struct connection *c, struct buffer *f, size_t n) {
    size_t cap = f->cap ? f->cap : 512;
    char *data = f->data;
    if (f->start && f->start >= f->len && f->cap - f->start - f->len < n) {
        memmove(f->data, f->data + f->start, f->len);
        f->start = 0;
    }
    while (cap - f->start - f->len < n) cap *= 2;
    if (cap != f->cap) data = (char *)claim(c->broker, c, f->data, cap);
    if (!data) return NULL;
    f->data = data;
    f->cap = cap;
    return f->data + f->start + f->len;
}

static int buffer_append(const struct connection *c, struct buffer *f, const void *data,
                         size_t len) {
    char *room = buffer_room(c, f, len);
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

/* Drops the output that waits for the peer, except the rest of a frame that is partly sent. If
   that rest is long, it is dropped, too, and nothing more can be sent to the peer. */
static void output_drop(struct connection *c) {
    struct buffer *f = &c->out;
    if (c->phase != PHASE_SESSION || c->begun > READ_CHUNK) {
        buffer_free(c->broker, f);
        c->begun = 0;
        c->mute = 1;
    } else if (f->cap > READ_CHUNK) {
        char *data;
        memmove(f->data, f->data + f->start, c->begun);
        data = (char *)claim(c->broker, c, f->data, READ_CHUNK);
        if (data) f->data = data;
        f->start = 0;
        f->len = c->begun;
        f->cap = READ_CHUNK;
    }
}

static size_t footprint(const struct connection *c) {
    return c->in.cap + c->stomp.cap + c->out.cap + c->unacked.cap + c->kept;
}

/* Frees memory for the asker: ends the connection that uses the most. Returns 0 if that is the
   asker itself, or if no connection uses more than FAIR_SHARE. A connection whose frame is being
   handled is never ended here, because its buffers are in use. */
static int evict(struct broker *b, const struct connection *asker) {
    struct connection *c, *largest = NULL;
    for (c = b->connections; c; c = c->next)
        if (!c->doom && (c == asker || c != b->busy) &&
            (!largest || footprint(c) > footprint(largest)))
            largest = c;
    if (!largest || largest == asker || footprint(largest) <= FAIR_SHARE) return 0;
    if (largest->phase != PHASE_SESSION) buffer_free(b, &largest->in);
    buffer_free(b, &largest->stomp);
    output_drop(largest);
    connection_doom(largest, "the broker needs the memory that this session holds");
    return 1;
}

static int starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int is_number(const char *text) {
    return *text && text[strspn(text, "0123456789")] == 0;
}

/* ==== output: bytes for the peer ==== */

/* Returns room for n bytes of output, or NULL. A peer that does not read is ended here. */
static char *output_room(struct connection *c, size_t n) {
    int is_slow = c->out.len > OUTPUT_LIMIT && !c->doom;
    char *room = is_slow ? NULL : buffer_room(c, &c->out, n);
    if (room || c->doom) return room;
    output_drop(c);
    connection_doom(c, is_slow ? "slow consumer" : "the broker has no memory left");
    return NULL;
}

static void update_congestion(struct connection *c) {
    size_t mark = c->congested ? HIGH_WATER / 2 : HIGH_WATER;
    if (!c->congested || c->read_since >= READ_CHUNK) {
        c->progress = c->broker->now;
        c->read_since = 0;
    }
    c->congested = c->phase == PHASE_SESSION && c->out.len > mark;
}

static void set_phase(struct connection *c, enum phase phase, long long wait_ms) {
    c->phase = phase;
    c->deadline = c->broker->now + wait_ms;
    update_congestion(c);
}

static void output_added(struct connection *c, size_t n) {
    c->out.len += n;
    c->broker->produced += n;
    update_congestion(c);
}

/* Returns the length of the WebSocket frame that begins there. It is one of ours, so it has no
   key. */
static size_t frame_size(const char *data) {
    const unsigned char *at = (const unsigned char *)data;
    size_t size = at[1] & 127u, bytes = size == 127 ? 8 : size == 126 ? 2 : 0, i;
    if (bytes) size = 0;
    for (i = 0; i < bytes; i++) size = size << 8 | at[2 + i];
    return 2 + bytes + size;
}

static void output_left(struct connection *c, size_t n) {
    while (c->phase == PHASE_SESSION && c->begun < n)
        c->begun += frame_size(buffer_view(&c->out) + c->begun);
    c->begun = c->begun > n ? c->begun - n : 0;
    buffer_take(c->broker, &c->out, n);
    c->last_out = c->broker->now;
    c->read_since += n;
    update_congestion(c);
}

static void put(struct connection *c, const void *data, size_t len) {
    char *room = output_room(c, len);
    if (!room) return;
    if (len) memcpy(room, data, len);
    output_added(c, len);
}

/* Sends a control frame or a heart-beat. */
static void put_websocket(struct connection *c, stws_ws_opcode opcode, const char *payload,
                          size_t len) {
    char frame[2 + 125];
    size_t size;
    if (stws_ws_build(frame, sizeof frame, opcode, 1, payload, len, NULL, &size) == STWS_OK)
        put(c, frame, size);
}

/* Sends a STOMP frame as one WebSocket message: as text if it is UTF-8, else as binary. The frame
   is built in the output buffer. */
static int put_frame(struct connection *c, const stws_frame *frame) {
    size_t size, framed, head;
    char *room;
    stws_ws_opcode opcode;
    int result = stws_frame_build(NULL, 0, c->version, frame, &size);
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

/* Sends a frame with headers from a flat list: name, value, ..., NULL. A header whose value is
   NULL is left out. */
static int put_reply(struct connection *c, stws_command command, const char *const *list,
                     const char *body) {
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

static struct message *message_new(const struct connection *c, const char *destination,
                                   const char *body, size_t body_len, const stws_header *headers,
                                   size_t count) {
    size_t head = sizeof(struct message) + count * sizeof *headers, i;
    size_t size = head + strlen(destination) + body_len + 2;
    struct message *m;
    char *at;
    for (i = 0; i < count; i++) size += headers[i].name_len + headers[i].value_len + 2;
    m = (struct message *)claim(c->broker, c, NULL, size);
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

static int compare_destinations(const void *a, const void *b) {
    return strcmp(((const struct destination *)a)->name, ((const struct destination *)b)->name);
}

static struct destination *destination_find(struct broker *b, const char *name) {
    struct destination key, **found;
    memset(&key, 0, sizeof key);
    key.name = name;
    found = (struct destination **)tfind(&key, &b->destinations, compare_destinations);
    return found ? *found : NULL;
}

static enum kind kind_of(const char *name) {
    if (starts_with(name, "/queue/")) return KIND_QUEUE;
    return starts_with(name, "/reply-queue/") ? KIND_REPLY : KIND_TOPIC;
}

/* Returns the destination with that name; creates it if necessary. Returns NULL without memory. */
static struct destination *destination_make(const struct connection *c, const char *name) {
    struct broker *b = c->broker;
    struct destination *d = destination_find(b, name);
    if (d) return d;
    d = (struct destination *)claim_named(c, sizeof *d, name);
    if (!d) return NULL;
    d->name = (const char *)(d + 1);
    d->kind = kind_of(name);
    if (!tsearch(d, &b->destinations, compare_destinations)) {
        give_back(b, d);
        return NULL;
    }
    b->destination_count++;
    return d;
}

/* Removes a message from a queue for good. It was counted there since publish(). */
static void queue_releases(struct broker *b, struct destination *d, struct message *m) {
    d->count--;
    d->bytes -= block_size(m);
    b->queued -= block_size(m);
    message_release(b, m);
}

static void hold(struct destination *d, struct message *m, int in_front) {
    m->next = in_front ? d->first : NULL;
    if (!in_front && d->last) d->last->next = m;
    if (in_front || !d->first) d->first = m;
    if (!in_front || !m->next) d->last = m;
}

static struct message *unhold(struct destination *d) {
    struct message *m = d->first;
    d->first = m->next;
    if (!d->first) d->last = NULL;
    return m;
}

static void idle_leave(struct broker *b, struct destination *d) {
    if (d->link.list) b->queued -= block_size(d);
    list_remove(&d->link);
}

static void destination_free(struct broker *b, struct destination *d) {
    while (d->first) queue_releases(b, d, unhold(d));
    idle_leave(b, d);
    tdelete(d, &b->destinations, compare_destinations);
    b->destination_count--;
    give_back(b, d);
}

/* A destination lives as long as it has a subscription. A queue that holds messages lives for
   QUEUE_MS longer, unless all queues together are full. */
static void destination_tidy(struct broker *b, struct destination *d) {
    idle_leave(b, d);
    if (d->users) return;
    if (d->first && d->kind == KIND_QUEUE && b->queued + block_size(d) <= QUEUES_LIMIT) {
        b->queued += block_size(d);
        d->idle_since = b->now;
        list_append(&b->idle, &d->link);
    } else {
        destination_free(b, d);
    }
}

/* ==== deliveries: MESSAGE frames and their ACKs ==== */

static struct delivery *slot(const struct connection *c, size_t number) {
    return (struct delivery *)(void *)buffer_view(&c->unacked) + (number - 1);
}

static size_t slot_count(const struct connection *c) {
    return c->unacked.len / sizeof(struct delivery);
}

/* Stores a delivery to s in a slot, as the newest one of s. Returns the slot, or 0 without
   memory. */
static size_t slot_take(struct subscription *s, const struct delivery *d) {
    struct connection *c = s->connection;
    size_t i = c->unused;
    if (i)
        c->unused = slot(c, i)->newer;
    else if (buffer_append(c, &c->unacked, d, sizeof *d))
        i = slot_count(c);
    else
        return 0;
    *slot(c, i) = *d;
    slot(c, i)->older = s->newest;
    *(s->newest ? &slot(c, s->newest)->newer : &s->oldest) = i;
    s->newest = i;
    c->unacked_count++;
    return i;
}

static void slot_give(struct connection *c, size_t i) {
    struct delivery *d = slot(c, i);
    struct subscription *s = d->subscription;
    *(d->older ? &slot(c, d->older)->newer : &s->oldest) = d->newer;
    *(d->newer ? &slot(c, d->newer)->older : &s->newest) = d->older;
    memset(d, 0, sizeof *d);
    d->newer = c->unused;
    c->unused = i;
    if (--c->unacked_count > 0) return;
    c->unused = 0;
    buffer_take(c->broker, &c->unacked, c->unacked.len);
}

/* Returns 1 if the connection can take messages of queues. */
static int can_take(const struct connection *c) {
    return !c->doom && !c->congested && c->unacked_count < MAX_UNACKED;
}

/* Sends a MESSAGE. The broker's headers come first, so they win over headers of the sender with
   the same name. If this STOMP version cannot represent a header of the sender (such as a line
   feed in 1.0), all headers of the sender are left out. */
static int put_message(struct subscription *s, const struct message *m, unsigned long long number,
                       size_t i) {
    struct connection *c = s->connection;
    stws_header headers[6 + MAX_HEADERS];
    stws_frame frame = {0};
    char id[72], length[24];
    size_t own = 0;
    int result;
    snprintf(id, sizeof id, i ? "%llu-%llu-%zu" : "%llu-%llu", c->session, number, i);
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

/* Sends m to one subscription and, unless its ack mode is auto, stores the delivery. Returns 0 if
   the message was not sent; then the connection is doomed. */
static int deliver(struct subscription *s, struct message *m) {
    struct connection *c = s->connection;
    struct delivery d = {0};
    size_t i = 0;
    int result;
    d.number = c->delivered + 1;
    d.subscription = s;
    d.message = s->destination->kind == KIND_TOPIC ? NULL : m;
    if (s->ack && c->unacked_count >= MAX_UNACKED)
        connection_doom(c, "too many messages without ACK");
    else if (s->ack && !c->doom && (i = slot_take(s, &d)) == 0)
        connection_doom(c, "the broker has no memory left");
    if (c->doom) return 0;
    result = put_message(s, m, d.number, i);
    if (result == STWS_ERR_FRAME_BUILD)
        connection_doom(c, "its STOMP version cannot represent a MESSAGE");
    if (result != STWS_OK && i) slot_give(c, i);
    if (result != STWS_OK) return 0;
    c->delivered++;
    return 1;
}

/* Returns the subscription that gets the next message of a queue, or NULL. A subscription that
   cannot take messages leaves the list until unpark(), so it is not visited again and again. */
static struct subscription *next_listener(struct destination *d) {
    struct subscription *s;
    while ((s = (struct subscription *)(void *)d->listeners.first) != NULL) {
        if (can_take(s->connection)) return s;
        list_append(&s->connection->parked, &s->link);
    }
    return NULL;
}

/* Delivers the messages of a queue as long as a consumer can take them. */
static void pump(struct broker *b, struct destination *d) {
    struct subscription *s;
    while (d->first && (s = next_listener(d)) != NULL) {
        struct message *m = unhold(d);
        m->deliveries++;
        if (!deliver(s, m)) {
            m->deliveries--;
            hold(d, m, 1);
            continue;
        }
        if (!s->ack) queue_releases(b, d, m);
        list_append(&d->listeners, &s->link);
    }
}

/* Call this when the connection may be able to take messages again. */
static void unpark(struct connection *c) {
    struct subscription *s;
    while ((s = (struct subscription *)(void *)c->parked.first) != NULL && can_take(c)) {
        list_append(&s->destination->listeners, &s->link);
        pump(c->broker, s->destination);
    }
}

/* Returns NULL if the queue can keep a message, else the reason. d is NULL for a new queue. */
static const char *queue_limit(const struct broker *b, struct destination *d,
                               const struct message *m) {
    const struct subscription *s = d && !d->first ? next_listener(d) : NULL;
    size_t size = block_size(m) + (d ? 0 : sizeof *d + strlen(m->destination) + 1);
    if (s && s->ack == ACK_AUTO) return NULL; /* it leaves the queue immediately */
    if (!d && b->idle.count >= MAX_QUEUES) return "too many queues have no subscriber";
    if (b->queued + size > QUEUES_LIMIT) return "all queues together are full";
    if (d && (d->count >= MAX_HELD || d->bytes + block_size(m) > QUEUE_LIMIT))
        return "the queue is full";
    return NULL;
}

/* Delivers m to the subscribers, or keeps it in its queue, on behalf of c. Returns NULL, or why
   this is not possible. The caller keeps its reference. */
static const char *publish(const struct connection *c, struct message *m) {
    struct broker *b = c->broker;
    struct destination *d = destination_find(b, m->destination);
    struct link *l;
    const char *why;
    if (!d && kind_of(m->destination) != KIND_QUEUE) return NULL;
    if (d && d->kind == KIND_TOPIC) {
        if (d->users && block_size(m) > FANOUT_LIMIT / d->users)
            return "the message is too large for so many subscribers";
        for (l = d->listeners.first; l; l = l->after) deliver((struct subscription *)(void *)l, m);
        return NULL;
    }
    why = queue_limit(b, d, m);
    if (!why && !d && (d = destination_make(c, m->destination)) == NULL)
        why = "the broker has no memory left";
    if (why) return why;
    m->references++;
    d->count++;
    d->bytes += block_size(m);
    b->queued += block_size(m);
    hold(d, m, 0);
    pump(b, d);
    destination_tidy(b, d);
    return NULL;
}

/* Ends a delivery. again: the message goes back to the front of its queue. */
static void delivery_settle(struct connection *c, size_t i, int again) {
    struct message *m = slot(c, i)->message;
    struct destination *d = slot(c, i)->subscription->destination;
    slot_give(c, i);
    if (m && again)
        hold(d, m, 1);
    else if (m)
        queue_releases(c->broker, d, m);
}

/* Handles ACK or NACK; in client mode also for all earlier deliveries. A delivery that has ended is
   ignored. */
static void acknowledge(struct connection *c, const struct operation *o) {
    struct subscription *s;
    size_t i = o->slot, older = 0;
    if (i == 0 || i > slot_count(c) || slot(c, i)->number != o->number) return;
    s = slot(c, i)->subscription;
    for (; i; i = s->ack == ACK_INDIVIDUAL ? 0 : older) {
        const struct message *m = slot(c, i)->message;
        older = slot(c, i)->older;
        delivery_settle(c, i, o->nack && m && m->deliveries < MAX_DELIVERIES);
    }
    pump(c->broker, s->destination);
    unpark(c);
}

/* ==== sessions: subscriptions, transactions, and the end ==== */

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

/* Creates a subscription. Returns NULL, or why this is not possible. */
static const char *subscribe(struct connection *c, const char *name, const char *id, enum ack ack,
                             int implicit) {
    struct broker *b = c->broker;
    struct destination *d;
    struct subscription *s;
    if (c->subscription_count >= MAX_SUBSCRIPTIONS) return "there are too many subscriptions";
    d = destination_make(c, name);
    s = d ? (struct subscription *)claim_named(c, sizeof *s, id) : NULL;
    if (d && !s) destination_tidy(b, d);
    if (!s) return "the broker has no memory left";
    s->id = (const char *)(s + 1);
    s->ack = ack;
    s->implicit = implicit;
    s->connection = c;
    s->destination = d;
    s->next = c->subscriptions;
    c->subscriptions = s;
    c->subscription_count++;
    c->kept += block_size(s) + block_size(d);
    list_append(&d->listeners, &s->link);
    d->users++;
    idle_leave(b, d);
    pump(b, d);
    return NULL;
}

/* Frees a subscription that is in no list and has no deliveries. */
static void subscription_free(struct connection *c, struct subscription *s) {
    struct destination *d = s->destination;
    struct subscription **link = &c->subscriptions;
    while (*link != s) link = &(*link)->next;
    *link = s->next;
    c->subscription_count--;
    c->kept -= block_size(s) + block_size(d);
    give_back(c->broker, s);
    pump(c->broker, d);
    d->users--;
    destination_tidy(c->broker, d);
}

static void unsubscribe(struct connection *c, struct subscription *s) {
    list_remove(&s->link);
    while (s->newest) delivery_settle(c, s->newest, 1); /* newest first keeps the order */
    subscription_free(c, s);
    unpark(c);
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
    for (i = 0; i < count; i++) {
        c->kept -= sizeof *o + block_size(o[i].message);
        message_release(c->broker, o[i].message);
    }
    *link = t->next;
    c->transaction_count--;
    c->kept -= block_size(t);
    buffer_free(c->broker, &t->operations);
    give_back(c->broker, t);
}

static int compare_deliveries(const void *a, const void *b) {
    unsigned long long x = ((const struct delivery *)a)->number;
    unsigned long long y = ((const struct delivery *)b)->number;
    return x < y ? -1 : x > y;
}

/* Puts all messages without an ACK back into their queues, the newest first. Frees all slots. */
static void take_back_all(struct connection *c) {
    size_t i = slot_count(c);
    if (i) qsort(slot(c, 1), i, sizeof(struct delivery), compare_deliveries);
    for (; i > 0 && slot(c, i)->number; i--) {
        const struct delivery *d = slot(c, i);
        if (d->message) hold(d->subscription->destination, d->message, 1);
    }
    c->unacked_count = c->unused = 0;
    buffer_free(c->broker, &c->unacked);
}

/* Ends the session. Its messages without an ACK go to other sessions. */
static void session_end(struct connection *c) {
    struct subscription *s;
    for (s = c->subscriptions; s; s = s->next) list_remove(&s->link);
    take_back_all(c);
    while (c->subscriptions) subscription_free(c, c->subscriptions);
    while (c->transactions) transaction_free(c, &c->transactions);
}

/* Closes the WebSocket. next is PHASE_CLOSING, or PHASE_DRAIN if the peer will not answer. */
static void session_close(struct connection *c, int code, const char *why, enum phase next) {
    char payload[125];
    set_phase(c, next, CLOSE_MS);
    session_end(c);
    put_websocket(c, STWS_WS_CLOSE, payload, stws_ws_close_payload(payload, code, why));
    log_line(c, "closed: ", why ? why : "by the peer");
}

/* Returns the highest supported version in a list such as "1.0,1.1,1.2". Without a list it is
   1.0. */
static stws_stomp_version negotiate(const char *list) {
    static const stws_stomp_version versions[] = {STWS_STOMP_10, STWS_STOMP_11, STWS_STOMP_12};
    stws_stomp_version best = STWS_STOMP_NONE, version;
    size_t len;
    if (!list) return STWS_STOMP_10;
    for (; *list; list += len + strspn(list + len, ", ")) {
        len = strcspn(list, ", ");
        if (len != 3 || list[0] != '1' || list[1] != '.' || !strchr("012", list[2])) continue;
        version = versions[list[2] - '0'];
        if (version > best) best = version;
    }
    return best;
}

/* Sends ERROR and closes the session. If the peer offered only unsupported versions, the ERROR
   lists the supported ones. */
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
        list[4] = NULL; /* a receipt that cannot be represented */
        put_reply(c, STWS_COMMAND_ERROR, list, body);
    }
    session_close(c, 1002, why, PHASE_CLOSING);
}

/* Ends the session without a word to the peer. */
static void session_lost(struct connection *c) {
    set_phase(c, PHASE_GONE, 0);
    session_end(c);
}

/* Ends the doomed connections. Their messages go to other connections, and this may doom more. */
static void broker_settle(struct broker *b) {
    struct connection *c;
    while (b->doomed) {
        b->doomed = 0;
        for (c = b->connections; c; c = c->next) {
            if (c->doom && c->phase == PHASE_SESSION && !c->mute)
                refuse(c, NULL, c->doom);
            else if (c->doom) {
                log_line(c, "lost: ", c->doom);
                session_lost(c);
            }
            c->doom = NULL;
        }
    }
}

/* ==== STOMP frames from a client: a handler returns NULL, or why it refuses ==== */

/* Writes the name that the broker uses: /app/x becomes /topic/x, and each session has its own
   /temp-queue/x. Returns NULL, or why the name is not valid. */
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

/* Parses "cx,cy", two numbers of milliseconds. Returns 0 if the text is not valid. */
static int parse_pair(const char *text, long long *first, long long *second) {
    char *end;
    *first = strtol(text, &end, 10);
    if (*end != ',' || !is_number(end + 1)) return 0;
    *second = strtol(end + 1, NULL, 10);
    return *text != ',' && text[strspn(text, "0123456789")] == ',' && *first <= INT_MAX &&
           *second <= INT_MAX;
}

/* Compares with a secret. The time that it takes depends only on the length of the given text. */
static int is_secret(const char *given, const char *secret, size_t len) {
    size_t given_len = strlen(given), i;
    int differs = given_len != len;
    for (i = 0; i < given_len; i++) differs |= given[i] ^ secret[len ? i % len : 0];
    return !differs;
}

static int may_connect(const struct settings *settings, const stws_frame *f) {
    const char *login = stws_frame_header(f, "login"), *passcode = stws_frame_header(f, "passcode");
    const char *user = settings->login, *secret;
    int is_user, is_right;
    if (!user) return 1;
    if (!login || !passcode) return 0;
    secret = strchr(user, ':') + 1;
    is_user = is_secret(login, user, (size_t)(secret - 1 - user));
    is_right = is_secret(passcode, secret, strlen(secret));
    return is_user && is_right;
}

/* STOMP 1.2, "Heart-beating": the longer one of the interval that one side can send in and the
   interval that the other side wants. 0 means no heart-beats. */
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
    stws_stomp_version version = negotiate(stws_frame_header(f, "accept-version"));
    if (c->version != STWS_STOMP_NONE) return "the session is connected already";
    if (version == STWS_STOMP_NONE) return "no version in common, here are 1.0, 1.1 and 1.2";
    if (!may_connect(settings, f)) return "access refused, login or passcode is wrong";
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

/* Returns 0 for a header of SEND that is for the broker only, or that MESSAGE sets itself. */
static int is_passed_on(const char *name) {
    static const char *const own[] = {"destination",  "receipt",    "transaction", "content-length",
                                      "subscription", "message-id", "ack",         "redelivered"};
    size_t i;
    for (i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(name, own[i]) == 0) return 0;
    return 1;
}

/* A reply-to:/temp-queue/x becomes a name that others can send to. If the session is not
   subscribed to it, it gets a subscription whose id is /temp-queue/x. */
static const char *make_reply_to(struct connection *c, stws_header *h) {
    char name[MAX_NAME];
    const char *why = resolve(c, h->value, name);
    if (!why && !subscription_to(c, name)) why = subscribe(c, name, h->value, ACK_AUTO, 1);
    if (!why) set_header(h, "reply-to", subscription_to(c, name)->destination->name);
    return why;
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
    *m = message_new(c, name, f->body, f->body_len, headers, count);
    return *m ? NULL : "the broker has no memory left";
}

static const char *perform(struct connection *c, const struct operation *o) {
    if (o->message) return publish(c, o->message);
    acknowledge(c, o);
    return NULL;
}

/* Performs an operation now or, if the frame names a transaction, at its COMMIT. Takes over the
   reference to o's message. */
static const char *perform_or_postpone(struct connection *c, const stws_frame *f,
                                       const struct operation *o) {
    const char *name = stws_frame_header(f, "transaction"), *why = "no such transaction";
    struct transaction *t = name ? *transaction_find(c, name) : NULL;
    size_t size = sizeof *o + block_size(o->message);
    if (t && t->operations.len < MAX_OPERATIONS * sizeof *o && c->kept + size <= KEPT_LIMIT &&
        buffer_append(c, &t->operations, o, sizeof *o)) {
        c->kept += size;
        return NULL;
    }
    if (t)
        why = "the transactions of the session hold too much";
    else if (!name)
        why = perform(c, o);
    message_release(c->broker, o->message);
    return why;
}

static const char *on_send(struct connection *c, const stws_frame *f) {
    struct operation o = {0};
    const char *why = message_from(c, f, &o.message);
    return why ? why : perform_or_postpone(c, f, &o);
}

static int parse_ack(const char *mode, stws_stomp_version version, enum ack *ack) {
    *ack = ACK_AUTO;
    if (!mode || strcmp(mode, "auto") == 0) return 1;
    *ack = ACK_CLIENT;
    if (strcmp(mode, "client") == 0) return 1;
    *ack = ACK_INDIVIDUAL;
    return strcmp(mode, "client-individual") == 0 && version != STWS_STOMP_10;
}

/* In STOMP 1.0 the id is optional. */
static const char *on_subscribe(struct connection *c, const stws_frame *f) {
    const char *destination = stws_frame_header(f, "destination"), *id = stws_frame_header(f, "id");
    char name[MAX_NAME];
    const char *why = resolve(c, destination, name);
    struct subscription *implicit;
    enum ack ack;
    if (why) return why;
    if (starts_with(destination, "/reply-queue/")) return "replies are for the session that asked";
    if (!parse_ack(stws_frame_header(f, "ack"), c->version, &ack)) return "ack is an unknown mode";
    if (!id && c->version != STWS_STOMP_10) return "there is no id";
    if (id && strlen(id) >= MAX_NAME) return "the id is too long";
    implicit = subscription_find(c, destination);
    if (implicit && implicit->implicit) unsubscribe(c, implicit);
    if (id && subscription_find(c, id)) return "the id is in use";
    return subscribe(c, name, id ? id : "", ack, 0);
}

/* STOMP 1.0 may name the destination instead of the id. */
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

/* Parses a message-id or ack id: "session-number", followed by "-slot" if the message waits for
   an ACK. Returns 0 for an id that no message of this session has had. */
static int parse_id(const struct connection *c, const char *id, struct operation *o) {
    char prefix[24], *end;
    snprintf(prefix, sizeof prefix, "%llu-", c->session);
    if (!starts_with(id, prefix) || !strchr("123456789", id[strlen(prefix)])) return 0;
    o->number = strtoull(id + strlen(prefix), &end, 10);
    if (*end == '-' && is_number(end + 1)) o->slot = strtoul(end + 1, &end, 10);
    return o->number > 0 && o->number <= c->delivered && *end == 0;
}

static const char *on_ack(struct connection *c, const stws_frame *f) {
    const char *id = stws_frame_header(f, c->version == STWS_STOMP_12 ? "id" : "message-id");
    struct operation o = {0};
    o.nack = f->command_id == STWS_COMMAND_NACK;
    if (o.nack && c->version == STWS_STOMP_10) return "STOMP 1.0 has no NACK";
    if (!id) return c->version == STWS_STOMP_12 ? "there is no id" : "there is no message-id";
    if (c->version == STWS_STOMP_11 && !stws_frame_header(f, "subscription"))
        return "there is no subscription";
    if (!parse_id(c, id, &o)) return "no such message was delivered";
    return perform_or_postpone(c, f, &o);
}

static const char *on_begin(struct connection *c, const stws_frame *f) {
    const char *name = stws_frame_header(f, "transaction");
    struct transaction *t;
    if (!name) return "there is no transaction";
    if (strlen(name) >= MAX_NAME) return "the transaction's name is too long";
    if (*transaction_find(c, name)) return "the transaction has begun already";
    if (c->transaction_count >= MAX_TRANSACTIONS) return "there are too many transactions";
    t = (struct transaction *)claim_named(c, sizeof *t, name);
    if (!t) return "the broker has no memory left";
    t->name = (const char *)(t + 1);
    t->next = c->transactions;
    c->transactions = t;
    c->transaction_count++;
    c->kept += block_size(t);
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
    for (i = 0; i < count && !why; i++) why = perform(c, &o[i]);
    transaction_free(c, link);
    return why;
}

static void put_receipt(struct connection *c, const stws_frame *f) {
    const char *list[] = {"receipt-id", stws_frame_header(f, "receipt"), NULL};
    if (!list[1] || f->command_id == STWS_COMMAND_CONNECT || f->command_id == STWS_COMMAND_STOMP)
        return;
    if (put_reply(c, STWS_COMMAND_RECEIPT, list, "") == STWS_ERR_FRAME_BUILD)
        connection_doom(c, "its STOMP version cannot represent the RECEIPT");
}

static const char *on_disconnect(struct connection *c, const stws_frame *f) {
    put_receipt(c, f);
    session_close(c, 1000, "goodbye", PHASE_CLOSING);
    return NULL;
}

static void on_frame(struct connection *c, const stws_frame *f) {
    static const struct {
        stws_command command;
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

/* ==== WebSocket: from pieces of messages to STOMP frames ==== */

/* Handles the peer's close frame: answers it, unless it answers ours. Nothing may follow it. */
static void on_close(struct connection *c, int code) {
    c->input_ended = 1;
    if (c->phase == PHASE_SESSION)
        session_close(c, code == 1005 ? 0 : code, NULL, PHASE_DRAIN);
    else
        set_phase(c, PHASE_DRAIN, CLOSE_MS);
}

/* To STOMP, text and binary messages are one stream of bytes, whatever pieces they come in. */
static void on_piece(struct connection *c, const stws_ws_event *event) {
    if (event->opcode == STWS_WS_CLOSE)
        on_close(c, event->close_code);
    else if (c->phase != PHASE_SESSION || event->opcode == STWS_WS_PONG)
        return;
    else if (event->opcode == STWS_WS_PING)
        put_websocket(c, STWS_WS_PONG, event->data, event->len);
    else if (!buffer_append(c, &c->stomp, event->data, event->len))
        connection_doom(c, "the broker has no memory left");
}

/* A step handles the next part of the input. It returns 1 if there may be more to handle. */
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

/* ==== HTTP: other requests on the same port ==== */

/* Answers a request. status may be followed by header lines. */
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
    set_phase(c, PHASE_DRAIN, ANSWER_MS);
}

static void http_fail(struct connection *c, const char *status, const char *why) {
    char body[128];
    int n = snprintf(body, sizeof body, "%.*s%s%s\n", (int)strcspn(status, "\r"), status,
                     why ? ": " : "", why ? why : "");
    http_reply(c, status, "text/plain", body, (size_t)n);
}

/* Encodes base64 (RFC 4648, section 4). out needs 4 bytes for each 3 bytes or part of them, and a
   byte for NUL. */
static void base64(const char *text, char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; *text; text += strnlen(text, 3), out += 4) {
        size_t n = strnlen(text, 3), i;
        unsigned long bits = 0;
        for (i = 0; i < 3; i++) bits = bits << 8 | (i < n ? (unsigned char)text[i] : 0u);
        for (i = 0; i < 4; i++) out[i] = i <= n ? digits[bits >> (18 - 6 * i) & 63] : '=';
    }
    *out = 0;
}

/* Returns 1 if the request has the credentials of --login (RFC 7617), or if none are needed. */
static int may_post(const struct connection *c) {
    const char *login = c->broker->settings.login;
    const char *given = stws_http_header(&c->http, "Authorization");
    char wanted[MAX_LOGIN / 3 * 4 + 5];
    if (!login) return 1;
    if (!given || strncasecmp(given, "Basic ", 6) != 0) return 0;
    base64(login, wanted);
    return is_secret(given + 6 + strspn(given + 6, " "), wanted, strlen(wanted));
}

/* Decodes %XX. Returns 0 if the text is malformed, contains a NUL byte, or does not fit. */
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

/* Opens a file below dir. Each part of the path is opened separately, and no link is followed, so
   no path can leave dir. Names that begin with a dot are not served. */
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

/* Returns the content of a file in one block, or NULL. */
static char *read_file(const struct connection *c, int fd, size_t *size) {
    struct stat info;
    size_t len = 0;
    ssize_t n = 1;
    char *data;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > MAX_FILE) return NULL;
    *size = (size_t)info.st_size;
    data = (char *)claim(c->broker, c, NULL, *size + 1);
    while (data && len < *size && n > 0) {
        n = read(fd, data + len, *size - len);
        if (n > 0) len += (size_t)n;
    }
    if (len == *size) return data;
    give_back(c->broker, data);
    return NULL;
}

static void serve_file(struct connection *c, const char *path) {
    const char *dir = c->broker->settings.files;
    char *data = NULL;
    size_t size = 0;
    int fd;
    if (strcmp(path, "/") == 0) path = "/index.html";
    fd = dir ? open_below(dir, path) : -1;
    if (fd >= 0) data = read_file(c, fd, &size);
    if (fd >= 0) close(fd);
    if (data)
        http_reply(c, "200 OK", content_type(path), data, size);
    else
        http_fail(c, "404 Not Found", NULL);
    give_back(c->broker, data);
}

static void open_websocket(struct connection *c) {
    char answer[512];
    size_t size;
    int result = stws_handshake_answer(answer, sizeof answer, &c->http,
                                       "v12.stomp,v11.stomp,v10.stomp", &size);
    if (result != STWS_ERR_SPACE) put(c, answer, size);
    c->begun = c->out.len; /* the answer must not be cut, like a frame */
    if (result == STWS_OK)
        c->phase = PHASE_SESSION; /* the deadline is now that of CONNECT */
    else
        set_phase(c, PHASE_DRAIN, CLOSE_MS);
}

/* Handles GET. The base path answers like Spring's SockJS endpoint, for clients whose URL lacks
   /websocket. */
static void on_get(struct connection *c, const char *path) {
    static const char welcome[] = "Welcome to SockJS!\n";
    static const char info[] = "{\"websocket\":true,\"origins\":[\"*:*\"],\"cookie_needed\":false,"
                               "\"entropy\":4}\n";
    const char *base = c->broker->settings.base;
    const char *rest = starts_with(path, base) ? path + strlen(base) : "/";
    if (strcmp(rest, "/websocket") == 0)
        open_websocket(c);
    else if (strcmp(rest, "/info") == 0)
        http_reply(c, "200 OK", "application/json", info, strlen(info));
    else if (*rest)
        serve_file(c, path);
    else if (stws_http_has_token(&c->http, "Upgrade", "websocket"))
        http_reply(c, "400 Bad Request", "text/plain", "", 0);
    else
        http_reply(c, "200 OK", "text/plain", welcome, strlen(welcome));
}

/* Writes the decoded value of a query parameter. Returns 0 if there is none. */
static int query_value(const char *query, const char *name, char *out, size_t cap) {
    size_t len = strlen(name), size;
    for (; *query; query += size + (query[size] == '&')) {
        size = strcspn(query, "&");
        if (size > len && strncmp(query, name, len) == 0 && query[len] == '=')
            return percent_decode(query + len + 1, size - len - 1, out, cap);
    }
    return 0;
}

/* Handles POST /publish?destination=/topic/x. step_post() publishes it when the body has arrived.
   */
static void on_post(struct connection *c, const char *path, const char *query) {
    const char *length = stws_http_header(&c->http, "Content-Length");
    const char *type = stws_http_header(&c->http, "Content-Type"), *fault = NULL;
    char name[MAX_NAME];
    if (strcmp(path, "/publish") != 0)
        fault = "404 Not Found";
    else if (!may_post(c))
        fault = "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"mini_broker\"";
    else if (!query_value(query, "destination", c->post_destination, MAX_NAME) ||
             resolve(c, c->post_destination, name))
        fault = "400 Bad Request";
    else if (!length || !is_number(length))
        fault = "411 Length Required";
    else if (strlen(length) > 9 || strtoul(length, NULL, 10) > MAX_BODY)
        fault = "413 Content Too Large";
    if (fault) {
        http_fail(c, fault, NULL);
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
    const char *why = "the broker has no memory left";
    if (c->in.len < c->post_len) return 0;
    resolve(c, c->post_destination, name);
    set_header(&type, "content-type", c->post_type);
    m = message_new(c, name, buffer_view(&c->in), c->post_len, &type, 1);
    if (m) why = publish(c, m);
    if (why)
        http_fail(c, "503 Service Unavailable", why);
    else
        http_reply(c, "204 No Content", "", "", 0);
    message_release(c->broker, m);
    return 0;
}

static void on_request(struct connection *c) {
    const char *target = c->http.target, *query = target + strcspn(target, "?");
    char path[MAX_NAME];
    int is_path = percent_decode(target, (size_t)(query - target), path, sizeof path);
    c->head_only = strcmp(c->http.method, "HEAD") == 0;
    if (!is_path)
        http_fail(c, "400 Bad Request", NULL);
    else if (c->head_only || strcmp(c->http.method, "GET") == 0)
        on_get(c, path);
    else if (strcmp(c->http.method, "POST") == 0)
        on_post(c, path, query + (*query == '?'));
    else
        http_fail(c, "405 Method Not Allowed", NULL);
}

static int step_request(struct connection *c) {
    size_t used;
    int result = stws_handshake_parse(buffer_view(&c->in), c->in.len, &c->http, &used);
    int is_answer = result == STWS_DONE && !c->http.method; /* "HTTP/1.1 200" is a head, too */
    if (result == STWS_ERR_HTTP_LIMIT)
        http_fail(c, "431 Request Header Fields Too Large", NULL);
    else if (result < 0 || is_answer)
        http_fail(c, "400 Bad Request", NULL);
    else if (result == STWS_DONE)
        on_request(c);
    buffer_take(c->broker, &c->in, used);
    return result == STWS_DONE;
}

/* ==== connections: bytes in, bytes out ==== */

static size_t connection_limit(const struct broker *b) {
    return b->settings.connections ? b->settings.connections : (size_t)MAX_CONNECTIONS;
}

static struct connection *connection_open(struct broker *b) {
    struct connection *c = (struct connection *)claim(b, NULL, NULL, sizeof *c);
    if (!c) return NULL;
    memset(c, 0, sizeof *c);
    c->broker = b;
    c->session = ++b->sessions;
    c->http.headers = c->frames.headers = c->headers;
    c->http.max_headers = c->frames.max_headers = MAX_HEADERS;
    c->http.max_bytes = MAX_REQUEST;
    c->frames.max_line = MAX_LINE;
    c->frames.max_body = MAX_BODY_STRANGER;
    c->ws.server = c->ws.check_utf8 = 1;
    c->last_in = c->last_out = b->now;
    set_phase(c, PHASE_HTTP, LOGIN_MS);
    c->next = b->connections;
    b->connections = c;
    b->connection_count++;
    if (b->connection_count > connection_limit(b))
        http_fail(c, "503 Service Unavailable", "there are too many connections");
    return c;
}

static void connection_lost(struct connection *c) {
    session_lost(c);
    broker_settle(c->broker);
}

static void connection_free(struct connection *c) {
    struct broker *b = c->broker;
    struct connection **link = &b->connections;
    while (*link != c) link = &(*link)->next;
    *link = c->next;
    b->connection_count--;
    connection_lost(c);
    buffer_free(b, &c->in);
    buffer_free(b, &c->stomp);
    buffer_free(b, &c->out);
    give_back(b, c);
}

/* Returns 1 if the broker does not read from a session now: the session does not read, and its own
   requests may cause the output. */
static int connection_waits(const struct connection *c) {
    return c->phase == PHASE_SESSION && c->congested;
}

/* Handles the input, until all is handled or TURN_LIMIT bytes of output are produced. */
static void connection_process(struct connection *c) {
    struct broker *b = c->broker;
    unsigned long long stop = b->produced + TURN_LIMIT;
    int goes_on = c->in.len || c->stomp.len;
    b->busy = c;
    while (goes_on && !c->doom && !connection_waits(c) && b->produced < stop) {
        if (c->phase == PHASE_HTTP)
            goes_on = step_request(c);
        else if (c->phase == PHASE_POST)
            goes_on = step_post(c);
        else if (c->phase <= PHASE_CLOSING)
            goes_on = step_websocket(c);
        else
            goes_on = 0;
    }
    b->busy = NULL;
    c->unfinished = goes_on && b->produced >= stop;
    if (c->phase >= PHASE_DRAIN) buffer_free(b, &c->in);
    broker_settle(b);
}

static void connection_feed(struct connection *c, const char *data, size_t len) {
    c->last_in = c->broker->now;
    if (c->phase >= PHASE_DRAIN) return;
    if (!buffer_append(c, &c->in, data, len)) connection_doom(c, "the broker has no memory left");
    connection_process(c);
}

static const char *connection_output(const struct connection *c, size_t *len) {
    *len = c->out.len;
    return buffer_view(&c->out);
}

/* Call this when n bytes were sent. Goes on with messages of queues, and with the peer's input. */
static void connection_written(struct connection *c, size_t n) {
    output_left(c, n);
    if (c->phase == PHASE_DRAIN && c->out.len == 0 && c->deadline > c->broker->now + CLOSE_MS)
        set_phase(c, PHASE_DRAIN, CLOSE_MS);
    unpark(c);
    connection_process(c);
}

/* Call this at the end of the peer's input. The peer still gets the waiting output. */
static void connection_input_ended(struct connection *c) {
    c->input_ended = 1;
    connection_lost(c);
    if (c->out.len) set_phase(c, PHASE_DRAIN, ANSWER_MS);
}

/* Returns when connection_tick() has something to do. */
static long long connection_due(const struct connection *c) {
    long long due = c->deadline ? c->deadline : LLONG_MAX;
    long long stall = c->congested ? c->progress + STALL_MS : LLONG_MAX;
    long long in = c->beat_in ? c->last_in + 3 * c->beat_in : LLONG_MAX;
    long long out = c->beat_out && c->out.len == 0 ? c->last_out + c->beat_out / 2 : LLONG_MAX;
    if (c->unfinished) return c->broker->now;
    if (c->phase != PHASE_SESSION) return due;
    if (stall < due) due = stall;
    if (in < due) due = in;
    return out < due ? out : due;
}

static void connection_tick(struct connection *c) {
    long long now = c->broker->now;
    if (connection_waits(c)) c->last_in = now; /* it may have sent data that was not read */
    if (connection_due(c) > now) return;
    if (c->unfinished)
        connection_process(c);
    else if (c->phase == PHASE_HTTP || c->phase == PHASE_POST)
        http_fail(c, "408 Request Timeout", NULL);
    else if (c->phase != PHASE_SESSION)
        set_phase(c, PHASE_GONE, 0);
    else if (c->deadline && c->deadline <= now)
        connection_doom(c, "CONNECT did not come in time");
    else if (c->congested && c->progress + STALL_MS <= now) {
        output_drop(c);
        connection_doom(c, "slow consumer");
    } else if (c->beat_in && c->last_in + 3 * c->beat_in <= now)
        connection_doom(c, "no heart-beat came from you");
    else
        put_websocket(c, STWS_WS_TEXT, "\n", 1);
}

/* Returns when the next unused queue must be deleted. */
static long long broker_due(const struct broker *b) {
    const struct destination *d = (const struct destination *)(const void *)b->idle.first;
    return d ? d->idle_since + QUEUE_MS : LLONG_MAX;
}

/* Sets the time, and does what is due. */
static void broker_tick(struct broker *b, long long now) {
    struct connection *c;
    b->now = now;
    while (broker_due(b) <= now) destination_free(b, (struct destination *)(void *)b->idle.first);
    for (c = b->connections; c; c = c->next) connection_tick(c);
    broker_settle(b);
}

/* Frees all connections, queues and messages. Afterwards b->memory is 0. */
static void broker_free(struct broker *b) {
    struct connection *c, *next;
    for (c = b->connections; c; c = next) {
        next = c->next;
        connection_free(c);
    }
    while (b->idle.first) destination_free(b, (struct destination *)(void *)b->idle.first);
}

#ifndef MINI_BROKER_NO_MAIN

/* ==== sockets: one thread, one poll() ==== */

/* Global, because the signal handler needs it. */
static int wake_pipe[2];

static void on_signal(int number) {
    int saved = errno;
    char byte = (char)number;
    if (write(wake_pipe[1], &byte, 1) < 0)
        byte = 0; /* if the pipe is full, poll() returns anyway */
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

/* Accepts waiting connections, up to MAX_REFUSED more than the limit; these additional ones get a
   503. Returns 0 if there is no descriptor or memory left: accept() would fail again immediately.
   */
static int accept_all(struct broker *b, int listener) {
    int fd = 0, on = 1;
    while (b->connection_count < connection_limit(b) + MAX_REFUSED &&
           (fd = accept(listener, NULL, NULL)) >= 0) {
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

/* Sends all output of a turn in one call. After the last byte it ends our side and waits for the
   peer to end its side. close() with unread bytes would reset the connection, and the peer would
   lose the last output. */
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
    return !c->input_ended && !c->unfinished && !connection_waits(c);
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

/* Fills in the descriptors to wait for. Returns their number, and sets *timeout. */
static nfds_t prepare(const struct broker *b, struct pollfd *polls, int listener, long long until,
                      int *timeout) {
    const struct connection *c;
    nfds_t n = 2;
    if (broker_due(b) < until) until = broker_due(b);
    polls[0].fd = wake_pipe[0];
    polls[1].fd = b->connection_count < connection_limit(b) + MAX_REFUSED ? listener : -1;
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

/* One turn: waits, reads, calls broker_tick(), writes. accept_all() follows it. */
static void turn(struct broker *b, struct pollfd *polls, int listener, long long until) {
    int timeout;
    nfds_t count = prepare(b, polls, listener, until, &timeout), n = 2;
    struct connection *c;
    int ready = poll(polls, count, timeout);
    if (ready < 0 && errno != EINTR) poll(NULL, 0, RETRY_MS); /* such as no memory */
    b->now = now_ms();
    if (ready < 0) return;
    for (c = b->connections; c; c = c->next) react(c, polls[n++].revents);
    broker_tick(b, b->now);
    for (c = b->connections; c; c = c->next) write_to(c);
    reap(b);
}

static void say_goodbye(struct broker *b) {
    struct connection *c;
    for (c = b->connections; c; c = c->next) {
        if (c->phase == PHASE_SESSION)
            session_close(c, 1001, "the broker shuts down", PHASE_CLOSING);
        else if (c->phase < PHASE_SESSION)
            connection_lost(c);
    }
}

/* Serves until a signal. Then closes all sessions, and waits for the peers for at most CLOSE_MS,
   or until the next signal. */
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
    static const char text[] =
        "usage: mini_broker [--port N] [--bind 127.0.0.1|::1] [--base /notifications]\n"
        "                   [--files DIR] [--heartbeat OUT,IN] [--login USER:PASS] [--quiet]\n"
        "A STOMP-over-WebSocket broker on the loopback interface. Port 0 (the default) means any\n"
        "free port. READY and the URL are printed when it is ready. Heart-beats are in\n"
        "milliseconds; the default is 10000,10000. --files also serves the files of a directory.\n"
        "POST /publish?destination=/topic/x sends the body to that destination. --login is "
        "required\n"
        "in CONNECT, and in POST as Authorization: Basic. Limits:\n"
        "  connections     %d, fewer if the limit of open files is lower; others get a 503\n"
        "  login           %d s from accept to the end of the request, and to CONNECT\n"
        "  HTTP            %d bytes for the head of a request, %d MiB for a body, %d MiB for a\n"
        "                  file; %d s to read an answer\n"
        "  frame           %d headers, %d bytes per header line, %d MiB for a body (%d bytes\n"
        "                  before CONNECTED)\n"
        "  session         %d subscriptions; %d transactions with %d frames each and %d MiB\n"
        "                  together; %d messages that wait for an ACK; names of %d bytes\n"
        "  slow consumer   %d MiB of output wait for it, or it reads less than %d KiB in %d s "
        "while\n"
        "                  more than %d MiB waits\n"
        "  queue           %d messages or %d MiB, including messages that wait for an ACK\n"
        "  all queues      %d MiB; %d queues without a subscriber, each deleted when it was not\n"
        "                  used for %d minutes\n"
        "  topic           %d MiB for all copies of a message\n"
        "  memory          %d MiB; when it is used up, the connection that uses the most is\n"
        "                  closed, unless all use less than %d KiB\n";
    fprintf(out, text, MAX_CONNECTIONS, LOGIN_MS / 1000, MAX_REQUEST, MAX_BODY >> 20,
            MAX_FILE >> 20, ANSWER_MS / 1000, MAX_HEADERS, MAX_LINE, MAX_BODY >> 20,
            MAX_BODY_STRANGER, MAX_SUBSCRIPTIONS, MAX_TRANSACTIONS, MAX_OPERATIONS,
            KEPT_LIMIT >> 20, MAX_UNACKED, MAX_NAME - 1, OUTPUT_LIMIT >> 20, READ_CHUNK >> 10,
            STALL_MS / 1000, HIGH_WATER >> 20, MAX_HELD, QUEUE_LIMIT >> 20, QUEUES_LIMIT >> 20,
            MAX_QUEUES, QUEUE_MS / 60000, FANOUT_LIMIT >> 20, MEMORY_LIMIT >> 20, FAIR_SHARE >> 10);
    return status;
}

/* Parses a path that begins with a slash. Slashes at its end are removed, so "/" becomes "". */
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
           (!o->login || (strchr(o->login, ':') && strlen(o->login) <= MAX_LOGIN)) &&
           (strcmp(o->bind, "127.0.0.1") == 0 || strcmp(o->bind, "::1") == 0);
}

/* Returns a listening socket, or -1 and sets errno. Writes its port to port. */
static int listen_on(const struct settings *o, char port[PORT_TEXT]) {
    struct addrinfo hints = {0}, *found;
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    int fd, listens, error, on = 1;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
    hints.ai_socktype = SOCK_STREAM;
    errno = EINVAL; /* in case getaddrinfo refuses the address or the port */
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

static size_t connections_allowed(void) {
    struct rlimit files;
    rlim_t spare = MAX_REFUSED + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= MAX_CONNECTIONS + spare)
        return MAX_CONNECTIONS;
    return files.rlim_cur > spare ? (size_t)(files.rlim_cur - spare) : 1;
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
    static struct pollfd polls[MAX_CONNECTIONS + MAX_REFUSED + 2];
    struct settings *o = &broker.settings;
    const char *host;
    char port[PORT_TEXT];
    int listener;
    o->bind = "127.0.0.1";
    o->port = "0";
    o->base = "/notifications";
    o->beat_out = o->beat_in = 10000;
    o->connections = connections_allowed();
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
