/* wire.h - an independent parser for what the client writes. It uses none of the library's parsers.
   Each connection has two of them: one checks each byte when the client writes it, the other reads
   what arrives at the broker. */
#ifndef SIM_WIRE_H
#define SIM_WIRE_H

#include "world.h"

struct field {
    char *name, *value;
};
struct stomp {
    char *command, *body;
    struct field fields[40];
    int count, opcode;
    size_t body_len;
};

static void check_frame(struct conn *c, const struct stomp *f);
static void server_frame(struct conn *c, const struct stomp *f);
static void server_request(struct conn *c, const char *key);
static void server_control(struct conn *c, int opcode, const char *data, size_t len);

static const char *field(const struct stomp *f, const char *name) {
    int i;
    for (i = 0; i < f->count; i++)
        if (strcmp(f->fields[i].name, name) == 0) return f->fields[i].value;
    return NULL;
}

/* Checks UTF-8 by the table of RFC 3629. */
static int is_utf8(const char *data, size_t len) {
    const unsigned char *p = (const unsigned char *)data, *end = p + len;
    while (p < end) {
        int more = *p < 0x80   ? 0
                   : *p < 0xc2 ? -1
                   : *p < 0xe0 ? 1
                   : *p < 0xf0 ? 2
                   : *p < 0xf5 ? 3
                               : -1;
        unsigned low = 0x80, high = 0xbf;
        if (more < 0 || end - p <= more) return 0;
        if (*p == 0xe0) low = 0xa0;
        if (*p == 0xed) high = 0x9f;
        if (*p == 0xf0) low = 0x90;
        if (*p == 0xf4) high = 0x8f;
        if (more && (p[1] < low || p[1] > high)) return 0;
        for (p++; more > 0; more--, p++)
            if ((*p & 0xc0) != 0x80) return 0;
    }
    return 1;
}

/* ==== HTTP ==== */

static const char *http_value(const char *head, const char *name, char out[200]) {
    const char *at = head;
    size_t len = strlen(name), n;
    while ((at = strstr(at, "\r\n")) != NULL) {
        at += 2;
        if (strncmp(at, name, len) != 0 || at[len] != ':') continue;
        at += len + 1 + strspn(at + len + 1, " ");
        n = strcspn(at, "\r");
        if (n > 199) n = 199;
        memcpy(out, at, n);
        out[n] = 0;
        return out;
    }
    return NULL;
}
static void wire_request(struct conn *c, struct wire *r) {
    char value[200], key[200], *end;
    size_t used;
    if (r->raw.len && strncmp(r->raw.data, "GET /stomp", r->raw.len < 10 ? r->raw.len : 10) != 0)
        broken(c->w, "the upgrade request does not begin as it must");
    end = r->raw.len ? strstr(r->raw.data, "\r\n\r\n") : NULL;
    if (!end) return;
    used = (size_t)(end - r->raw.data) + 4;
    end[2] = 0;
    if (!http_value(r->raw.data, "Host", value) || !http_value(r->raw.data, "Upgrade", value) ||
        strcmp(value, "websocket") != 0 ||
        !http_value(r->raw.data, "Sec-WebSocket-Version", value) || strcmp(value, "13") != 0 ||
        !http_value(r->raw.data, "Sec-WebSocket-Key", key) || strlen(key) != 24)
        broken(c->w, "the request lacks a header of an upgrade request");
    r->http_done = 1;
    bytes_drop(&r->raw, used);
    if (!r->checks) server_request(c, key);
}

/* ==== STOMP ==== */

/* Unescapes a header for a STOMP version, in place. Returns 0 if the version does not have that
   escape. */
static int unescape(char *s, int version) {
    char *to = s;
    for (; *s; s++) {
        if (*s == '\r') return 0;
        if (*s != '\\' || version <= STWS_STOMP_10) {
            *to++ = *s;
            continue;
        }
        s++;
        if (*s == 'n')
            *to++ = '\n';
        else if (*s == 'c')
            *to++ = ':';
        else if (*s == '\\')
            *to++ = '\\';
        else if (*s == 'r' && version == STWS_STOMP_12)
            *to++ = '\r';
        else
            return 0;
    }
    *to = 0;
    return 1;
}
static int needs(const struct stomp *f, const char *command, const char *name) {
    return strcmp(f->command, command) != 0 || field(f, name) != NULL;
}
static int frame_is_complete(const struct stomp *f, int version) {
    static const char commands[] =
        " CONNECT SEND SUBSCRIBE UNSUBSCRIBE ACK NACK BEGIN COMMIT ABORT DISCONNECT ";
    char word[40];
    snprintf(word, sizeof word, " %.30s ", f->command);
    if (!strstr(commands, word)) return 0;
    if (f->body_len && strcmp(f->command, "SEND") != 0) return 0;
    if (version == STWS_STOMP_10 && strcmp(f->command, "NACK") == 0) return 0;
    if (version == STWS_STOMP_11 &&
        (!needs(f, "ACK", "subscription") || !needs(f, "NACK", "subscription")))
        return 0;
    if (version == STWS_STOMP_12) return needs(f, "ACK", "id") && needs(f, "NACK", "id");
    return (version == 0) == (strcmp(f->command, "CONNECT") == 0) &&
           needs(f, "ACK", "message-id") && needs(f, "SEND", "destination") &&
           needs(f, "SUBSCRIBE", "destination") && needs(f, "SUBSCRIBE", "id") &&
           needs(f, "BEGIN", "transaction") && needs(f, "CONNECT", "accept-version") &&
           needs(f, "CONNECT", "host");
}

/* Parses one header line, in place. */
static int stomp_header(struct stomp *f, char *line, int version) {
    char *colon = strchr(line, ':');
    struct field *h = &f->fields[f->count];
    if (!colon || colon == line || f->count == 40) return 0;
    *colon = 0;
    h->name = line;
    h->value = colon + 1;
    f->count++;
    return unescape(h->name, version) && unescape(h->value, version);
}

/* Parses a frame in place. Returns the number of bytes used, 0 if more bytes are needed, -1 if it
   is not a frame. */
static long stomp_parse(char *data, size_t len, int version, struct stomp *f) {
    char *at = data, *end = data + len, *eol;
    const char *length;
    size_t body;
    memset(f, 0, sizeof *f);
    for (;;) {
        eol = (char *)memchr(at, '\n', (size_t)(end - at));
        if (!eol) return 0;
        *eol = 0;
        if (strlen(at) != (size_t)(eol - at)) return -1;
        if (eol == at) break;
        if (!f->command)
            f->command = at;
        else if (!stomp_header(f, at, version))
            return -1;
        at = eol + 1;
    }
    if (!f->command) return -1;
    f->body = ++at;
    length = field(f, "content-length");
    body = length ? (size_t)atol(length) : (size_t)-1;
    if (length && (size_t)(end - at) < body + 1) return 0;
    if (!length) {
        eol = (char *)memchr(at, 0, (size_t)(end - at));
        if (!eol) return 0;
        body = (size_t)(eol - at);
    }
    f->body_len = body;
    return at[body] == 0 ? at + body + 1 - data : -1;
}

/* A whole WebSocket message has arrived. At most one frame ends with it, and nothing may follow
   that frame. */
static void wire_stomp(struct conn *c, struct wire *r, int opcode) {
    struct bytes copy = {0};
    struct stomp f;
    long used;
    if (r->stomp.len == 1 && r->stomp.data[0] == '\n') {
        if (r->checks) happened(c->w, WRITE_BEAT);
        bytes_clear(&r->stomp);
        return;
    }
    bytes_add(&copy, r->stomp.data, r->stomp.len);
    used = stomp_parse(copy.data, copy.len, c->version, &f);
    if (used == 0 && r->checks) happened(c->w, WRITE_CUT);
    if (opcode == 2 && r->checks) happened(c->w, WRITE_BINARY);
    f.opcode = opcode;
    if (used < 0 || (used > 0 && !frame_is_complete(&f, c->version)))
        broken(c->w, "connection %d: not a STOMP frame of version %d: %.60s", c->number, c->version,
               r->stomp.data);
    else if (used > 0 && (size_t)used != r->stomp.len)
        broken(c->w, "connection %d: bytes after the frame in its message", c->number);
    else if (used > 0) {
        bytes_clear(&r->stomp);
        if (r->checks)
            check_frame(c, &f);
        else
            server_frame(c, &f);
    }
    bytes_free(&copy);
}

/* ==== RFC 6455 ==== */

static void wire_payload(struct conn *c, struct wire *r, int opcode, const char *data, size_t len) {
    if (r->closed) { /* RFC 6455, 5.5.1 */
        broken(c->w, "connection %d: a frame after the close frame", c->number);
    } else if (opcode >= 8) {
        r->closed = opcode == 8;
        if (r->checks)
            happened(c->w, opcode == 8 ? WRITE_CLOSE : opcode == 9 ? WRITE_PING : WRITE_PONG);
        if (opcode == 10 && r->checks && len > 1) c->pong = atoi(data + 1);
        if (!r->checks)
            server_control(c, opcode, data, len);
        else if (opcode == 8 && len == 1)
            broken(c->w, "a close frame with an incomplete code");
    } else {
        if (opcode == 1 && !is_utf8(data, len))
            broken(c->w, "connection %d: a text message that is not UTF-8", c->number);
        if (c->w->p.cut && len > (size_t)c->w->p.cut + 8)
            broken(c->w, "a WebSocket message of %d bytes, over max_ws_message", (int)len);
        bytes_add(&r->stomp, data, len);
        wire_stomp(c, r, opcode);
    }
}

/* Returns the length of a WebSocket frame's header if it is complete, else 0. *len is set to the
   length of the payload. */
static size_t wire_head(struct conn *c, const struct wire *r, size_t *len) {
    const unsigned char *b = (const unsigned char *)r->raw.data;
    size_t extra, i, opcode;
    if (r->raw.len < 2) return 0;
    opcode = b[0] & 15u;
    *len = b[1] & 127u;
    extra = *len == 126 ? 2 : *len == 127 ? 8 : 0;
    if ((b[0] & 0xf0) != 0x80 || !(b[1] & 0x80) || (opcode > 2 && opcode < 8) || opcode > 10 ||
        opcode == 0 || (opcode >= 8 && extra))
        broken(c->w, "connection %d: not a masked frame of RFC 6455: %02x %02x", c->number, b[0],
               b[1]);
    if (r->raw.len < 2 + extra + 4) return 0;
    if (extra) *len = 0;
    for (i = 0; i < extra; i++) *len = *len << 8 | b[2 + i];
    if ((extra == 2 && *len < 126) || (extra == 8 && *len < 65536))
        broken(c->w, "connection %d: a length that uses more bytes than it needs", c->number);
    return 2 + extra + 4;
}
static int wire_ws(struct conn *c, struct wire *r) {
    struct bytes payload = {0};
    size_t len = 0, head = wire_head(c, r, &len), i;
    char key[4];
    int opcode;
    if (!head || c->w->is_broken || r->raw.len < head + len) return 0;
    opcode = r->raw.data[0] & 15;
    memcpy(key, r->raw.data + head - 4, 4);
    if (r->has_key && memcmp(key, r->key, 4) == 0) broken(c->w, "the same masking key twice");
    memcpy(r->key, key, 4);
    r->has_key = 1;
    bytes_add(&payload, r->raw.data + head, len);
    for (i = 0; i < len; i++) payload.data[i] = (char)(payload.data[i] ^ key[i & 3]);
    bytes_drop(&r->raw, head + len);
    wire_payload(c, r, opcode, payload.data, len);
    bytes_free(&payload);
    return 1;
}

static void wire_feed(struct conn *c, struct wire *r, const char *data, size_t len) {
    bytes_add(&r->raw, data, len);
    if (!r->http_done) wire_request(c, r);
    while (r->http_done && !c->w->is_broken && wire_ws(c, r)) continue;
}

#endif
