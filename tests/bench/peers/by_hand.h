// STOMP written by hand, as users of a bare WebSocket library do: one kind of frame to read, three
// kinds to send. Nothing is unescaped or checked. The file is valid C99 and C++.
#ifndef BY_HAND_H
#define BY_HAND_H

#include "../bench.h"

enum { BY_HAND_HEAD = 256 };

typedef struct by_hand {
    const char *destination, *message_id, *body;
    size_t destination_len, message_id_len, body_len;
} by_hand;

static inline int by_hand_named(const char *line, size_t name_len, const char *name) {
    return strlen(name) == name_len && memcmp(line, name, name_len) == 0;
}

static inline void by_hand_header(by_hand *m, const char *line, size_t name_len, size_t line_len) {
    const char *value = line + name_len + 1;
    size_t value_len = line_len - name_len - 1;
    if (by_hand_named(line, name_len, "destination")) {
        m->destination = value;
        m->destination_len = value_len;
    } else if (by_hand_named(line, name_len, "message-id")) {
        m->message_id = value;
        m->message_id_len = value_len;
    } else if (by_hand_named(line, name_len, "content-length")) {
        m->body_len = (size_t)strtoul(value, NULL, 10);
    }
}

// Returns 1 for a MESSAGE, 0 for any other frame.
static inline int by_hand_parse(by_hand *m, const char *frame, size_t len) {
    static const char command[] = "MESSAGE\n";
    const char *at = frame + sizeof command - 1, *end = frame + len, *newline, *colon;
    memset(m, 0, sizeof *m);
    if (len < sizeof command || memcmp(frame, command, sizeof command - 1) != 0) return 0;
    while ((newline = (const char *)memchr(at, '\n', (size_t)(end - at))) != NULL) {
        if (newline == at) {
            m->body = newline + 1;
            return m->body_len < (size_t)(end - m->body);
        }
        colon = (const char *)memchr(at, ':', (size_t)(newline - at));
        if (!colon) return 0;
        by_hand_header(m, at, (size_t)(colon - at), (size_t)(newline - at));
        at = newline + 1;
    }
    return 0;
}

static inline int by_hand_is_end(const by_hand *m) {
    return by_hand_named(m->destination, m->destination_len, "/topic/end");
}

static inline void by_hand_read(bench *b, const by_hand *m) {
    b->messages++;
    b->checksum += m->body_len;
    if (m->message_id) b->checksum += (unsigned char)m->message_id[0];
}

static inline const char *by_hand_connect(void) {
    return "CONNECT\naccept-version:1.2\nhost:/\n\n";
}

// Only the head. The NUL that ends it is part of the frame.
static inline size_t by_hand_subscribe(char out[BY_HAND_HEAD], const char *destination) {
    return (size_t)sprintf(out, "SUBSCRIBE\nid:1\ndestination:%s\n\n", destination) + 1;
}

// out must have room for body_len + BY_HAND_HEAD bytes.
static inline size_t by_hand_send(char *out, const char *destination, const char *body,
                                  size_t body_len) {
    size_t head = (size_t)sprintf(out, "SEND\ndestination:%s\ncontent-length:%lu\n\n", destination,
                                  (unsigned long)body_len);
    memcpy(out + head, body, body_len);
    out[head + body_len] = 0;
    return head + body_len + 1;
}

static inline const char *by_hand_destination(const bench *b) {
    if (bench_is(b, "burst")) return "/topic/bench";
    return bench_is(b, "sink") ? "/topic/end" : "/topic/echo";
}

#endif
