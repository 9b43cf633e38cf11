/* scripted.h - a scripted server for the tests. It lives in memory, and its clock moves only when
   the test moves it.

   A struct peer is the whole world of one client: its transport, its clock and its random bytes.
   The test decides what the server sends (peer_say and similar functions), how the bytes are cut
   (piece, split) and when time passes (peer_advance). peer_turn runs both sides until neither has
   anything left to do. The frames that the client sends are parsed with the library's codecs in the
   server's role, and kept in peer.sent. The events that the client reports are written to peer.log,
   one line per event. With the automatic answers (AUTO_...) a test scripts only what is special
   about it. */
#ifndef SCRIPTED_H
#define SCRIPTED_H

#include "stomp_ws.h"

#include <stdarg.h>
#include <unistd.h>

#include "../test.h"

/* ==== bytes: a growing buffer that always ends in a NUL, which is not counted ==== */

struct bytes {
    char *data;
    size_t len, cap;
};

static inline void bytes_room(struct bytes *b, size_t len) {
    if (b->cap - b->len > len) return;
    b->cap = 2 * (b->len + len) + 64;
    b->data = (char *)realloc(b->data, b->cap);
    if (!b->data) abort();
}

static inline void bytes_add(struct bytes *b, const void *data, size_t len) {
    bytes_room(b, len);
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
}

static inline void bytes_drop(struct bytes *b, size_t len) {
    if (len == 0) return;
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
    b->data[b->len] = 0;
}

static inline void bytes_clear(struct bytes *b) {
    bytes_drop(b, b->len);
}

static inline void bytes_free(struct bytes *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}

static inline const char *bytes_text(const struct bytes *b) {
    return b->data ? b->data : "";
}

static inline void bytes_print(struct bytes *b, const char *format, ...) {
    char line[2048];
    va_list list;
    int len;
    va_start(list, format);
    len = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (len < 0) abort();
    bytes_add(b, line, (size_t)len < sizeof line ? (size_t)len : sizeof line - 1);
}

/* Prints a frame as on_trace gets it, without its body: "< MESSAGE name=value". */
static inline void bytes_print_traced(struct bytes *b, stws_direction direction,
                                      const stws_frame *frame) {
    size_t i;
    bytes_print(b, "%c %s", direction, frame->command);
    for (i = 0; i < frame->header_count; i++)
        bytes_print(b, " %s=%s", frame->headers[i].name, frame->headers[i].value);
}

/* Appends a WebSocket frame as a server sends it. */
static inline void bytes_add_ws(struct bytes *b, stws_ws_opcode opcode, int fin,
                                const void *payload, size_t len) {
    size_t need = 0;
    bytes_room(b, len + 14);
    if (stws_ws_build(b->data + b->len, len + 14, opcode, fin, payload, len, NULL, &need) !=
        STWS_OK)
        abort();
    b->len += need;
    b->data[b->len] = 0;
}

/* ==== the peer ==== */

enum { AUTO_UPGRADE = 1, AUTO_LOGIN = 2, AUTO_RECEIPT = 4, AUTO_CLOSE = 8, AUTO_ALL = 15 };

/* A STOMP frame that the client sent: its wire bytes and the parsed frame. */
struct sent {
    struct sent *next;
    char *raw, *parsed;
    size_t raw_len;
    stws_header headers[32];
    stws_frame frame;
    stws_ws_opcode opcode; /* of the WebSocket message that holds its last byte */
    int ws_messages;       /* number of WebSocket messages that the frame spans */
    int session;
    long long at_us;
};

struct peer {
    stws *client;
    stws_transport transport;
    stws_clock clock;
    stws_random random;

    /* Set by the test. */
    int automatic;         /* AUTO_... */
    const char *answer;    /* to the upgrade; '@' stands for the right Sec-WebSocket-Accept */
    const char *connected; /* the CONNECTED frame */
    int stepping;          /* 1: driven by stws_step, with callbacks; 0: driven by stws_next */
    int open_result;       /* of the transport's open: STWS_DONE, STWS_MORE (hangs), or an error */
    size_t piece;          /* most bytes per read; 0: all */
    size_t split;          /* after this many bytes of a session one read returns 0; 0: never */
    size_t write_piece;    /* most bytes per write; 0: all */
    int write_blocked;     /* 1: every write returns 0 */
    int write_error;       /* the error that every write returns; 0: writes succeed */
    int end_result;        /* what a read returns after peer_end; default STWS_ERR_EOF */
    int answers_pings;     /* 1: the server answers PINGs */
    long long slept_us;    /* time asleep, for a clock that reports it */
    /* If set, the clock advances by itself at each reading, and the server answers by itself. For
       calls that wait. */
    long long tick_us;
    const char *trouble; /* the text that transport.error returns */
    void *extra;         /* data for the test's callbacks */
    /* Called after the event was logged. */
    void (*on_event)(struct peer *p, const stws_event *event);
    /* Called before the automatic answer. */
    void (*on_sent)(struct peer *p, const struct sent *sent);

    /* Time and randomness. */
    long long now_us;
    unsigned long long seed;

    /* The stream, in both directions. */
    int pipe[2]; /* the reading end is the transport's descriptor; nothing ever arrives there */
    struct bytes out, in, stomp;
    size_t given; /* bytes read by the client in this session */
    int ending, is_open, upgraded, split_done;
    stws_ws ws;
    stws_stomp_version version; /* of the CONNECTED frame */
    stws_ws_opcode message_opcode;
    int message_count;
    size_t message_len;

    /* Results, for the test to check. */
    int sessions, closes; /* number of calls of open and close */
    stws_endpoint endpoint;
    char endpoint_host[256];
    struct bytes request; /* the last upgrade request */
    struct sent *sent, **sent_tail;
    struct bytes order; /* "CONNECT SUBSCRIBE SEND PONG(x) CLOSE(1000) " */
    struct bytes last_pong;
    int beats;         /* heart-beats that the client sent */
    int pings;         /* PINGs that the client sent */
    int ws_messages;   /* data messages that the client sent */
    size_t ws_largest; /* bytes in the largest of them */
    long long last_write_us, longest_silence_us;
    int close_code;     /* of the client's close frame; 0: none yet */
    int broken;         /* the parser's error if the client broke RFC 6455 or STOMP */
    struct bytes log;   /* the client's events */
    struct bytes why;   /* the error text of the last DISCONNECTED, ERROR or end */
    int result;         /* and its result code */
    long long retry_ms; /* of the last DISCONNECTED; -2: there was none */
    int ended;          /* what the driving call returned at the end; 0: the client has not ended */
    int moved, busy;
};

static const char PEER_ANSWER[] =
    "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: @\r\n"
    "Sec-WebSocket-Protocol: v12.stomp\r\n\r\n";

static inline void peer_init(struct peer *p) {
    memset(p, 0, sizeof *p);
    p->automatic = AUTO_ALL;
    p->answer = PEER_ANSWER;
    p->connected = "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n";
    p->open_result = STWS_DONE;
    p->end_result = STWS_ERR_EOF;
    p->now_us = 1000000;
    p->seed = 20240817;
    p->retry_ms = -2;
    p->sent_tail = &p->sent;
    if (pipe(p->pipe) != 0) test_give_up("cannot make a pipe for a scripted server");
}

/* ==== what the server sends ==== */

static inline void peer_raw(struct peer *p, const void *data, size_t len) {
    bytes_add(&p->out, data, len);
}

static inline void peer_say(struct peer *p, const char *text) {
    peer_raw(p, text, strlen(text));
}

static inline void peer_ws(struct peer *p, stws_ws_opcode opcode, int fin, const void *payload,
                           size_t len) {
    bytes_add_ws(&p->out, opcode, fin, payload, len);
}

/* Sends one STOMP frame in one text message. The frame's text is given without the NUL. */
static inline void peer_stomp(struct peer *p, const char *frame) {
    peer_ws(p, STWS_WS_TEXT, 1, frame, strlen(frame) + 1);
}

static inline void peer_message(struct peer *p, const char *subscription, const char *id,
                                const char *destination, const char *body) {
    struct bytes b = {0};
    bytes_print(&b,
                "MESSAGE\nsubscription:%s\nmessage-id:%s\ndestination:%s\ncontent-length:%d\n\n",
                subscription, id, destination, (int)strlen(body));
    bytes_add(&b, body, strlen(body) + 1);
    peer_ws(p, STWS_WS_TEXT, 1, b.data, b.len);
    bytes_free(&b);
}

static inline void peer_close(struct peer *p, int code, const char *reason) {
    char payload[125];
    peer_ws(p, STWS_WS_CLOSE, 1, payload, stws_ws_close_payload(payload, code, reason));
}

/* Refuses the frame that asked for this receipt. */
static inline void peer_refuse(struct peer *p, const char *receipt) {
    struct bytes b = {0};
    bytes_print(&b, "ERROR\nreceipt-id:%s\nmessage:no\n\n", receipt);
    peer_stomp(p, b.data);
    bytes_free(&b);
}

/* Ends the connection after the client has read everything that was sent. */
static inline void peer_end(struct peer *p) {
    p->ending = 1;
}

/* ==== the transport: what the client reads and writes ==== */

static inline void peer_listen(struct peer *p);

static inline int peer_t_open(void *ctx, const stws_endpoint *to) {
    struct peer *p = (struct peer *)ctx;
    if (!p->is_open) {
        p->is_open = 1;
        p->sessions++;
        p->moved++;
        p->given = 0;
        p->upgraded = p->ending = p->split_done = 0;
        p->version = STWS_STOMP_NONE;
        p->message_len = 0;
        p->message_count = 0;
        bytes_clear(&p->out);
        bytes_clear(&p->in);
        bytes_clear(&p->stomp);
        memset(&p->ws, 0, sizeof p->ws);
        p->ws.server = p->ws.check_utf8 = 1;
        p->last_write_us = p->now_us;
    }
    p->endpoint = *to;
    snprintf(p->endpoint_host, sizeof p->endpoint_host, "%s", to->host);
    return p->open_result;
}

static inline long peer_t_read(void *ctx, char *buf, size_t len) {
    struct peer *p = (struct peer *)ctx;
    size_t n;
    if (p->tick_us) peer_listen(p);
    n = p->out.len;
    if (n == 0 && p->ending) {
        p->moved++;
        return p->end_result;
    }
    if (n > len) n = len;
    if (p->piece && n > p->piece) n = p->piece;
    if (p->split && !p->split_done && p->given + n >= p->split) {
        n = p->split - p->given;
        p->split_done = n == 0;
    }
    if (n) memcpy(buf, p->out.data, n);
    bytes_drop(&p->out, n);
    p->given += n;
    p->moved += n != 0;
    return (long)n;
}

static inline long peer_t_write(void *ctx, const char *buf, size_t len) {
    struct peer *p = (struct peer *)ctx;
    long long silence = p->now_us - p->last_write_us;
    if (p->write_error) return p->write_error;
    if (p->write_blocked) return 0;
    if (p->write_piece && len > p->write_piece) len = p->write_piece;
    bytes_add(&p->in, buf, len);
    p->moved += len != 0;
    if (silence > p->longest_silence_us) p->longest_silence_us = silence;
    p->last_write_us = p->now_us;
    return (long)len;
}

static inline void peer_t_close(void *ctx) {
    struct peer *p = (struct peer *)ctx;
    p->closes++;
    p->moved++;
    p->is_open = 0;
}

static inline int peer_t_fd(void *ctx) {
    return ((const struct peer *)ctx)->pipe[0];
}

/* The descriptor never becomes readable, so pending data must be reported here. */
static inline int peer_t_wants(void *ctx, int wants) {
    const struct peer *p = (const struct peer *)ctx;
    int readable = (wants & STWS_WANT_READ) && (p->out.len || p->ending);
    return readable || p->tick_us ? wants | STWS_WANT_NOW : wants;
}

static inline const char *peer_t_error(void *ctx) {
    return ((const struct peer *)ctx)->trouble;
}

static inline long long peer_now(void *ctx) {
    struct peer *p = (struct peer *)ctx;
    p->now_us += p->tick_us;
    return p->now_us;
}

/* A linear congruential generator. The same seed gives the same session, byte by byte. */
static inline int peer_fill(void *ctx, void *out, size_t len) {
    struct peer *p = (struct peer *)ctx;
    unsigned char *to = (unsigned char *)out;
    size_t i;
    for (i = 0; i < len; i++) {
        p->seed = p->seed * 6364136223846793005u + 1442695040888963407u;
        to[i] = (unsigned char)(p->seed >> 56);
    }
    return 0;
}

/* ==== what the client sent ==== */

/* Answers the upgrade, with the Accept value for the request's key. */
static inline void peer_say_answer(struct peer *p, const char *key) {
    char accept[29];
    const char *at = strchr(p->answer, '@');
    if (!at || !key) {
        peer_say(p, p->answer);
        return;
    }
    stws_handshake_accept(key, accept);
    peer_raw(p, p->answer, (size_t)(at - p->answer));
    peer_say(p, accept);
    peer_say(p, at + 1);
}

static inline void peer_hear_request(struct peer *p) {
    stws_header headers[64];
    stws_http http = {0};
    struct bytes copy = {0};
    size_t used = 0;
    int result;
    if (p->in.len == 0) return;
    bytes_add(&copy, p->in.data, p->in.len);
    http.headers = headers;
    http.max_headers = 64;
    result = stws_handshake_parse(copy.data, copy.len, &http, &used);
    if (result < 0) p->broken = result;
    if (result == STWS_DONE) {
        bytes_clear(&p->request);
        bytes_add(&p->request, p->in.data, used);
        p->upgraded = 1;
        if (p->automatic & AUTO_UPGRADE)
            peer_say_answer(p, stws_http_header(&http, "Sec-WebSocket-Key"));
        bytes_drop(&p->in, used);
    }
    bytes_free(&copy);
}

/* Returns the frame's header, or "", so that a test can compare without a NULL check. */
static inline const char *sent_header(const struct sent *s, const char *name) {
    const char *value = s ? stws_frame_header(&s->frame, name) : NULL;
    return value ? value : "";
}

static inline stws_stomp_version peer_version_of(const char *connected) {
    if (strstr(connected, "version:1.2")) return STWS_STOMP_12;
    return strstr(connected, "version:1.1") ? STWS_STOMP_11 : STWS_STOMP_10;
}

static inline void peer_receipt(struct peer *p, const char *id) {
    struct bytes b = {0};
    bytes_print(&b, "RECEIPT\nreceipt-id:%s\n\n", id);
    peer_stomp(p, b.data);
    bytes_free(&b);
}

/* Answers a frame as a server does, unless the test has switched that off. */
static inline void peer_answer_frame(struct peer *p, const struct sent *s) {
    const char *receipt = stws_frame_header(&s->frame, "receipt");
    if (s->frame.command_id == STWS_COMMAND_CONNECT) {
        p->version = peer_version_of(p->connected);
        if (p->automatic & AUTO_LOGIN) peer_stomp(p, p->connected);
    }
    if (receipt && (p->automatic & AUTO_RECEIPT)) peer_receipt(p, receipt);
}

/* Takes the first frame out of the STOMP stream. Returns 0 if the frame is not complete yet. */
static inline int peer_hear_frame(struct peer *p) {
    stws_frame_state state = {0};
    struct bytes copy = {0};
    struct sent *s = (struct sent *)calloc(1, sizeof *s);
    size_t used = 0, i;
    int result;
    if (!s) abort();
    bytes_add(&copy, p->stomp.data, p->stomp.len);
    state.version = p->version;
    state.headers = s->headers;
    state.max_headers = sizeof s->headers / sizeof *s->headers;
    result = stws_frame_parse(copy.data, copy.len, &state, &s->frame, &used);
    p->beats += (int)state.heartbeats;
    if (result < 0) p->broken = result;
    if (result != STWS_DONE) {
        bytes_drop(&p->stomp, used);
        bytes_free(&copy);
        free(s);
        return 0;
    }
    for (i = 0; p->stomp.data[i] == '\n' || p->stomp.data[i] == '\r';) i++;
    s->raw_len = used - i;
    s->raw = (char *)malloc(s->raw_len + 1);
    if (!s->raw) abort();
    memcpy(s->raw, p->stomp.data + i, s->raw_len);
    s->raw[s->raw_len] = 0;
    s->parsed = copy.data;
    s->opcode = p->message_opcode;
    s->ws_messages = p->message_count;
    s->session = p->sessions;
    s->at_us = p->now_us;
    *p->sent_tail = s;
    p->sent_tail = &s->next;
    bytes_drop(&p->stomp, used);
    bytes_print(&p->order, "%s ", s->frame.command);
    if (p->on_sent) p->on_sent(p, s);
    peer_answer_frame(p, s);
    return 1;
}

static inline void peer_hear_data(struct peer *p, const stws_ws_event *e) {
    p->message_opcode = e->opcode;
    p->message_len += e->len;
    bytes_add(&p->stomp, e->data, e->len);
    if (!e->last) return;
    p->ws_messages++;
    p->message_count++;
    if (p->message_len > p->ws_largest) p->ws_largest = p->message_len;
    p->message_len = 0;
    while (peer_hear_frame(p)) p->message_count = 0;
    if (p->stomp.len == 0) p->message_count = 0;
}

static inline void peer_hear_control(struct peer *p, const stws_ws_event *e) {
    if (e->opcode == STWS_WS_CLOSE) {
        p->close_code = e->close_code;
        bytes_print(&p->order, "CLOSE(%d) ", e->close_code);
        if (p->automatic & AUTO_CLOSE) {
            peer_close(p, e->close_code == 1005 ? 0 : e->close_code, "");
            peer_end(p);
        }
    } else {
        bytes_print(&p->order, "%s(%.*s) ", e->opcode == STWS_WS_PONG ? "PONG" : "PING",
                    (int)e->len, e->data);
        if (e->opcode == STWS_WS_PING) {
            p->pings++;
            if (p->answers_pings) peer_ws(p, STWS_WS_PONG, 1, e->data, e->len);
        }
        bytes_clear(&p->last_pong);
        bytes_add(&p->last_pong, e->data, e->len);
    }
}

/* Reads what the client wrote, and answers. */
static inline void peer_listen(struct peer *p) {
    stws_ws_event event;
    size_t used = 0;
    if (!p->upgraded) peer_hear_request(p);
    while (p->upgraded && !p->broken) {
        int result = stws_ws_parse(p->in.data, p->in.len, &p->ws, &event, &used);
        if (result < 0) p->broken = result;
        if (result == STWS_DONE && event.opcode >= STWS_WS_CLOSE) peer_hear_control(p, &event);
        if (result == STWS_DONE && event.opcode < STWS_WS_CLOSE) peer_hear_data(p, &event);
        bytes_drop(&p->in, used);
        if (result != STWS_DONE) break;
    }
}

/* Returns the nth frame with that command (0: the first), or NULL. */
static inline const struct sent *peer_sent(const struct peer *p, const char *command, int nth) {
    const struct sent *s;
    for (s = p->sent; s; s = s->next)
        if (strcmp(s->frame.command, command) == 0 && nth-- == 0) return s;
    return NULL;
}

static inline int peer_count(const struct peer *p, const char *command) {
    int n = 0;
    while (peer_sent(p, command, n)) n++;
    return n;
}

/* Forgets the frames and events so far, so that the test sees only what comes next. */
static inline void peer_forget(struct peer *p) {
    while (p->sent) {
        struct sent *s = p->sent;
        p->sent = s->next;
        free(s->raw);
        free(s->parsed);
        free(s);
    }
    p->sent_tail = &p->sent;
    bytes_clear(&p->order);
    bytes_clear(&p->log);
    p->ws_messages = p->beats = 0;
    p->ws_largest = 0;
}

/* ==== the client's events ==== */

static inline const char *peer_or(const char *s) {
    return s ? s : "-";
}

static inline void peer_log_trouble(struct peer *p, const stws_event *e) {
    p->result = e->result;
    bytes_clear(&p->why);
    bytes_print(&p->why, "%s", e->text);
    if (e->type == STWS_EVENT_ERROR) {
        const char *message = e->message ? stws_header_get(e->message, "message") : NULL;
        bytes_print(&p->log, "ERROR %s\n", peer_or(message));
        return;
    }
    p->retry_ms = e->retry_ms;
    bytes_print(&p->log, "DISCONNECTED %s\n", stws_result_name(e->result));
}

static inline void peer_log_event(struct peer *p, const stws_event *e) {
    const stws_message *m = e->message;
    p->moved++;
    switch (e->type) {
        case STWS_EVENT_CONNECTED: bytes_print(&p->log, "CONNECTED\n"); break;
        case STWS_EVENT_MESSAGE:
            bytes_print(&p->log, "MESSAGE %s %s %s\n", peer_or(m->destination),
                        peer_or(m->message_id), m->body);
            break;
        case STWS_EVENT_RECEIPT:
            bytes_print(&p->log, "RECEIPT %d %s\n", e->receipt, stws_result_name(e->result));
            break;
        case STWS_EVENT_OUTBOX_HIGH: bytes_print(&p->log, "OUTBOX_HIGH\n"); break;
        case STWS_EVENT_OUTBOX_LOW: bytes_print(&p->log, "OUTBOX_LOW\n"); break;
        case STWS_EVENT_SUBSCRIPTION_REFUSED:
            bytes_print(&p->log, "REFUSED %d %s\n", e->handle, stws_result_name(e->result));
            break;
        case STWS_EVENT_UNHANDLED: bytes_print(&p->log, "UNHANDLED %s\n", m->frame.command); break;
        default: peer_log_trouble(p, e); break;
    }
    if (p->on_event) p->on_event(p, e);
}

static inline void peer_on_event(stws *client, const stws_event *event, void *user) {
    (void)client;
    peer_log_event((struct peer *)user, event);
}

static inline void peer_on_message(stws *client, const stws_message *message, void *user) {
    stws_event event = {0};
    (void)client;
    event.type = STWS_EVENT_MESSAGE;
    event.text = "";
    event.message = message;
    peer_log_event((struct peer *)user, &event);
}

/* ==== driving both sides ==== */

/* Returns options for a client of this peer. The test may change them before peer_start. */
static inline stws_options peer_options(struct peer *p) {
    stws_options o = stws_options_default();
    o.url = "ws://broker.test:8080/notifications/websocket";
    o.single_thread = 1;
    o.reconnect_jitter = STWS_OFF;
    o.user = p;
    p->transport.ctx = p->clock.ctx = p->random.ctx = p;
    p->transport.open = peer_t_open;
    p->transport.read = peer_t_read;
    p->transport.write = peer_t_write;
    p->transport.close = peer_t_close;
    p->transport.fd = peer_t_fd;
    p->transport.wants = peer_t_wants;
    p->transport.error = peer_t_error;
    p->clock.now_us = peer_now;
    p->random.fill = peer_fill;
    o.transport = &p->transport;
    o.clock = &p->clock;
    o.random = &p->random;
    return o;
}

static inline stws *peer_start(struct peer *p, stws_options *o) {
    if (p->stepping && !o->on_event) o->on_event = peer_on_event;
    if (p->stepping && !o->on_message && !o->queue) o->on_message = peer_on_message;
    p->client = stws_create(o);
    if (!p->client) test_give_up("cannot create a client");
    return p->client;
}

/* Starts a client with default options. */
static inline stws *peer_begin(struct peer *p) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    return peer_start(p, &o);
}

/* Starts a client that sends no PINGs, so an idle client has no deadline. */
static inline stws *peer_begin_quiet(struct peer *p) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.ping_ms = STWS_OFF;
    return peer_start(p, &o);
}

/* Starts a client that asks for receipts. */
static inline stws *peer_begin_confirming(struct peer *p) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.confirm = 1;
    return peer_start(p, &o);
}

static inline int peer_drive(struct peer *p) {
    stws_event event = {0};
    int result;
    if (p->stepping) return stws_step(p->client);
    result = stws_next(p->client, &event, 0);
    if (result == 1) peer_log_event(p, &event);
    return result < 0 ? result : 0;
}

static inline void peer_note_end(struct peer *p, int result) {
    p->ended = p->result = result;
    bytes_print(&p->log, "END %s\n", stws_result_name(result));
    bytes_clear(&p->why);
    bytes_print(&p->why, "%s", stws_error_text(p->client));
}

/* Runs both sides, without time passing, until neither does anything more. */
static inline void peer_turn(struct peer *p) {
    int rounds = 0, still = 0, result;
    while (!p->ended && still < 2 && rounds++ < 100000) {
        int before = p->moved;
        result = peer_drive(p);
        if (result < 0) peer_note_end(p, result);
        peer_listen(p);
        still = p->moved == before ? still + 1 : 0;
    }
    if (rounds >= 100000) p->busy++;
}

/* Checks an idle client: it has not asked for a turn now, and the server has sent nothing, so a
   turn must find nothing to do. This check finds forgotten deadlines. */
static inline void peer_check_idle(struct peer *p) {
    int before = p->moved, idle = stws_deadline(p->client) != 0 && !p->out.len && !p->ending, i;
    size_t written = p->in.len;
    stws_fd fds[3];
    for (i = stws_fds(p->client, fds, 3); i-- > 0;) idle &= !(fds[i].wants & STWS_WANT_WRITE);
    if (!idle || p->ended || p->write_blocked || p->write_piece || p->tick_us) return;
    peer_drive(p);
    if (p->moved == before && p->in.len == written) return;
    CHECK_STR("nothing to do", "a turn before stws_deadline found something to do");
    peer_listen(p);
}

/* Lets time pass, and gives the client a turn exactly when it asked for one. */
static inline void peer_advance(struct peer *p, long long ms) {
    long long end = p->now_us + ms * 1000;
    int idle = 0;
    while (p->now_us < end && !p->ended) {
        long long wait = stws_deadline(p->client), left = (end - p->now_us + 999) / 1000;
        if (wait == 0 && ++idle > 50) {
            p->busy++;
            wait = 1;
        }
        if (wait != 0) idle = 0;
        if (wait < 0 || wait > left) wait = left;
        if (wait > 1) {
            p->now_us += (wait - 1) * 1000;
            peer_check_idle(p);
            if (p->ended) break;
            wait = 1;
        }
        p->now_us += wait * 1000;
        if (p->now_us > end) p->now_us = end;
        peer_turn(p);
    }
}

/* Lets time pass without a turn for the client, although the client asked for one. */
static inline void peer_sleep(struct peer *p, long long ms) {
    CHECK(stws_deadline(p->client) >= 0);
    p->now_us += ms * 1000;
}

/* Runs until CONNECTED, for at most a minute. */
static inline int peer_connect(struct peer *p) {
    int i;
    peer_turn(p);
    for (i = 0; i < 60 && !p->ended && stws_state(p->client) != STWS_CONNECTED; i++)
        peer_advance(p, 1000);
    return stws_state(p->client) == STWS_CONNECTED;
}

static inline stws_statistics peer_stats(const struct peer *p) {
    stws_statistics numbers;
    stws_stats(p->client, &numbers);
    return numbers;
}

static inline void peer_send(struct peer *p, const char *text) {
    CHECK_INT(0, stws_send(p->client, "/queue/a", text, strlen(text)));
}

/* Returns the bodies of all SENDs so far, in order, separated by blanks. */
static inline const char *peer_bodies(struct peer *p) {
    static struct bytes all;
    int i;
    bytes_free(&all);
    for (i = 0; peer_sent(p, "SEND", i); i++)
        bytes_print(&all, "%s ", peer_sent(p, "SEND", i)->frame.body);
    return bytes_text(&all);
}

/* Breaks the connection. */
static inline void peer_cut(struct peer *p) {
    peer_end(p);
    peer_turn(p);
    CHECK_INT(STWS_BACKOFF, stws_state(p->client));
    peer_forget(p);
}

/* Ends a test. It also checks that the client never broke a protocol, never looped without
   progress, and closed every connection. */
static inline void peer_free(struct peer *p) {
    CHECK_STR("STWS_OK", stws_result_name(p->broken));
    CHECK_INT(0, p->busy);
    stws_destroy(p->client);
    CHECK_INT(0, p->is_open);
    CHECK_INT(p->sessions, p->closes);
    peer_forget(p);
    bytes_free(&p->out);
    bytes_free(&p->in);
    bytes_free(&p->stomp);
    bytes_free(&p->request);
    bytes_free(&p->order);
    bytes_free(&p->last_pong);
    bytes_free(&p->log);
    bytes_free(&p->why);
    close(p->pipe[0]);
    close(p->pipe[1]);
}

#endif
