/* broker.h - simulated brokers. They are small, but exact about what a STOMP server must do and may
   expect.

   Several brokers may share a store. A queue gives an entry to one consumer at a time. The entry is
   gone when this consumer has acknowledged it (with ack:auto: when it was sent). If the session
   ends before, the entry goes back to its place. A topic gives a copy to each subscriber. */
#ifndef SIM_BROKER_H
#define SIM_BROKER_H

#include "net.h"

static int place_of(const char *name) {
    int i;
    for (i = 0; i < PLACES; i++)
        if (strcmp(place_name[i], name) == 0) return i;
    return -1;
}
static struct store *store_of(struct conn *c) {
    return &c->w->stores[c->w->brokers[c->broker].store];
}

/* ==== what a server sends ==== */

static void net_say_ws(struct conn *c, int opcode, int fin, const char *data, size_t len) {
    struct bytes b = {0};
    unsigned char head[4] = {0};
    size_t n = 2;
    head[0] = (unsigned char)((fin ? 0x80 : 0) | opcode);
    head[1] = (unsigned char)(len < 126 ? len : 126);
    if (len >= 126) {
        head[2] = (unsigned char)(len >> 8);
        head[3] = (unsigned char)len;
        n = 4;
    }
    bytes_add(&b, head, n);
    bytes_add(&b, data, len);
    stream_put(c->w, &c->down, b.data, b.len);
    bytes_free(&b);
}
static void server_ping(struct conn *c) {
    char text[8];
    if (c->down.hole) return;
    happened(c->w, SAY_PING);
    snprintf(text, sizeof text, "p%d", ++c->pings % 1000);
    net_say_ws(c, 9, 1, text, strlen(text));
}

/* Sends a message in one WebSocket frame or several, sometimes with a ping between them. */
static void server_say_message(struct conn *c, const char *data, size_t len) {
    int opcode = 1 + chance(c->w, 200);
    while (len > 30000 || (len > 1 && chance(c->w, 100))) {
        size_t piece = (size_t)below(c->w, len > 30000 ? 30000 : (int)len);
        happened(c->w, SAY_FRAGMENTS);
        net_say_ws(c, opcode, 0, data, piece);
        if (chance(c->w, 100)) server_ping(c);
        opcode = 0;
        data += piece;
        len -= piece;
    }
    net_say_ws(c, opcode, 1, data, len);
}

/* Sends what was prepared in this turn, split into WebSocket messages at random. */
static void server_flush(struct conn *c) {
    size_t at = 0, left;
    while (c->server_open && (left = c->outgoing.len - at) > 0) {
        size_t n = chance(c->w, 800) ? left : (size_t)below(c->w, (int)left) + 1;
        if (n < left) happened(c->w, SAY_CUT);
        server_say_message(c, c->outgoing.data + at, n);
        at += n;
    }
    bytes_clear(&c->outgoing);
}
static void say_header(struct conn *c, const char *name, const char *value) {
    struct bytes *b = &c->outgoing;
    bytes_print(b, "%s:", name);
    for (; *value; value++) {
        if (c->version <= STWS_STOMP_10)
            bytes_add(b, value, 1);
        else if (*value == '\n')
            bytes_add(b, "\\n", 2);
        else if (*value == ':')
            bytes_add(b, "\\c", 2);
        else if (*value == '\\')
            bytes_add(b, "\\\\", 2);
        else
            bytes_add(b, value, 1);
    }
    bytes_print(b, "\n");
}
static void server_receipt(struct conn *c, const char *id) {
    bytes_print(&c->outgoing, "RECEIPT\n");
    say_header(c, "receipt-id", id);
    bytes_add(&c->outgoing, "\n", 2);
}

/* Sends the delayed receipts, in random order. */
static void server_pay_receipts(struct conn *c) {
    while (c->receipts_owed > 0) {
        int pick = below(c->w, c->receipts_owed);
        server_receipt(c, c->owed[pick]);
        memcpy(c->owed[pick], c->owed[--c->receipts_owed], sizeof c->owed[0]);
    }
    c->owed_at = NEVER;
}
static void server_owe_receipt(struct conn *c, const char *id) {
    if (!id) return;
    if (!chance(c->w, c->w->p.out_of_order) || c->receipts_owed == 16) {
        server_receipt(c, id);
        return;
    }
    happened(c->w, SAY_LATE_RECEIPT);
    snprintf(c->owed[c->receipts_owed++], sizeof c->owed[0], "%.31s", id);
    if (c->owed_at == NEVER) c->owed_at = c->w->now_us + below(c->w, 200000);
}

/* ==== the end of a session, at the broker ==== */

static void give_back_one(struct conn *c, struct delivery *d) {
    struct shelf *s = &store_of(c)->shelves[d->place];
    if (d->state != DELIVERY_OUT) return;
    c->subs[d->sub].out--;
    d->state = DELIVERY_RETURNED;
    if (d->place >= QUEUES) return;
    s->entries[d->entry].state = ENTRY_READY;
    if (d->entry < s->first) s->first = d->entry;
}
static void give_back(struct conn *c, int sub) {
    int i;
    for (i = 0; i < c->delivery_count; i++)
        if (sub < 0 || c->deliveries[i].sub == sub) give_back_one(c, &c->deliveries[i]);
}
static void server_end(struct conn *c, const char *why) {
    if (!c->server_open) return;
    server_flush(c);
    note(c->w, "broker %d ends connection %d: %s", c->broker, c->number, why);
    c->server_open = 0;
    give_back(c, -1);
    c->fin_down_at = c->down.last_us > c->w->now_us ? c->down.last_us : c->w->now_us;
    if (c->down.hole) c->fin_down_at = NEVER;
}
static void server_error(struct conn *c, const char *why, const char *receipt) {
    bytes_print(&c->outgoing, "ERROR\nmessage:%s\n", why);
    if (receipt) say_header(c, "receipt-id", receipt);
    bytes_add(&c->outgoing, "\n", 2);
    c->errors++;
    note(c->w, "broker %d sends ERROR on connection %d: %s", c->broker, c->number, why);
    if (c->drop_at == NEVER && !chance(c->w, 250)) c->drop_at = c->w->now_us + below(c->w, 300000);
}

/* ==== queues and topics ==== */

static void deliver(struct conn *c, int sub, int place, int index, int uid) {
    struct server_sub *s = &c->subs[sub];
    struct delivery *d;
    struct bytes body = {0};
    char text[64];
    c->deliveries = (struct delivery *)grow(c->deliveries, c->delivery_count, &c->delivery_cap,
                                            sizeof *c->deliveries);
    d = &c->deliveries[c->delivery_count];
    memset(d, 0, sizeof *d);
    d->uid = uid;
    d->sub = sub;
    d->place = place;
    d->entry = index;
    bytes_print(&c->outgoing, "MESSAGE\n");
    say_header(c, "subscription", s->id);
    snprintf(text, sizeof text, "%d-%d", c->number, c->delivery_count);
    say_header(c, "message-id", text);
    snprintf(text, sizeof text, "a:%d-%d", c->number, c->delivery_count);
    if (c->version == STWS_STOMP_12 && s->ack != ACK_AUTO) say_header(c, "ack", text);
    say_header(c, "destination", place_name[place]);
    parcel_note(c->w, uid, text);
    say_header(c, "note", text);
    parcel_body(c->w, uid, &body);
    if (c->w->parcels[uid].kind == KIND_BYTES || chance(c->w, 600))
        bytes_print(&c->outgoing, "content-length:%d\n", (int)body.len);
    bytes_print(&c->outgoing, "\n");
    bytes_add(&c->outgoing, body.data, body.len + 1);
    if (chance(c->w, 100)) bytes_print(&c->outgoing, "\n");
    bytes_free(&body);
    c->delivery_count++;
    s->out += s->ack != ACK_AUTO;
    note(c->w, "broker %d sends m%d on connection %d as %d to %s", c->broker, uid, c->number,
         c->delivery_count - 1, s->id);
}
static int can_take(const struct conn *c, int sub, int place) {
    const struct server_sub *s = &c->subs[sub];
    return s->live && s->place == place && (s->ack == ACK_AUTO || s->out < c->w->p.prefetch);
}
static int serves(const struct conn *c) {
    return c->server_open && c->logged_in && !c->errors && !c->disconnected &&
           c->deaf_until <= c->w->now_us;
}

/* Returns a random consumer that has room, or NULL. */
static struct conn *find_consumer(struct world *w, int store, int place, int *sub) {
    struct conn *c, *found = NULL;
    int i, seen = 0;
    for (c = w->conns; c; c = c->next) {
        if (!serves(c) || w->brokers[c->broker].store != store) continue;
        for (i = 0; i < c->sub_count; i++) {
            if (!can_take(c, i, place) || below(w, ++seen) != 0) continue;
            found = c;
            *sub = i;
        }
    }
    return found;
}
static void serve_shelf(struct world *w, int store, int place) {
    struct shelf *s = &w->stores[store].shelves[place];
    int i, sub = 0;
    while (s->first < s->count && s->entries[s->first].state == ENTRY_GONE) s->first++;
    for (i = s->first; i < s->count; i++) {
        struct entry *e = &s->entries[i];
        struct conn *c;
        if (e->state != ENTRY_READY) continue;
        c = find_consumer(w, store, place, &sub);
        if (!c) return;
        e->state = c->subs[sub].ack == ACK_AUTO ? ENTRY_GONE : ENTRY_OUT;
        if (e->times++) happened(w, SAY_REDELIVERY);
        deliver(c, sub, place, i, e->uid);
        if (e->state == ENTRY_GONE) c->deliveries[c->delivery_count - 1].state = DELIVERY_ACKED;
    }
}
static void serve_all(struct world *w) {
    struct conn *c;
    int s, i;
    for (s = 0; s < STORES; s++)
        for (i = 0; i < QUEUES; i++) serve_shelf(w, s, i);
    for (c = w->conns; c; c = c->next)
        if (c->outgoing.len) server_flush(c);
}
static void put_on_shelf(struct world *w, int store, int place, int uid) {
    struct shelf *s = &w->stores[store].shelves[place];
    struct conn *c;
    int i;
    if (place >= QUEUES) {
        for (c = w->conns; c; c = c->next)
            for (i = 0; serves(c) && w->brokers[c->broker].store == store && i < c->sub_count; i++)
                if (can_take(c, i, place)) deliver(c, i, place, -1, uid);
        return;
    }
    s->entries = (struct entry *)grow(s->entries, s->count, &s->cap, sizeof *s->entries);
    memset(&s->entries[s->count], 0, sizeof *s->entries);
    s->entries[s->count++].uid = uid;
}

/* ==== what a client requests ==== */

/* Messages that arrive for the first time must arrive in the order of sending. On one connection
   this is always true. Across connections it is true unless an earlier message was given up and the
   user was told. */
static void check_order(struct conn *c, int uid) {
    struct world *w = c->w;
    const struct parcel *p = &w->parcels[uid];
    const struct user *u = &w->users[p->user];
    int *last = &w->last_first[p->user][p->place];
    if (p->transacted || p->waited) return;
    if (c->last_uid[p->place] >= uid + 1)
        broken(w, "order: m%d arrived after m%d on connection %d", uid, c->last_uid[p->place] - 1,
               c->number);
    c->last_uid[p->place] = uid + 1;
    if (!w->p.confirm || p->accepted || p->refused || p->incarnation != u->incarnation) return;
    if (w->p.policy == STWS_FULL_DROP_OLDEST || u->starved) return;
    if (*last && w->parcels[*last].incarnation == p->incarnation && *last > uid)
        broken(w, "order: m%d arrived for the first time after m%d", uid, *last);
    *last = uid;
}
/* Checks that a store which recognises duplicates by the stable id recognises exactly the
   duplicates. */
static void check_duplicate(struct conn *c, const struct parcel *p) {
    int seen;
    if (!*p->stable_id) return;
    seen = stws_dedup_seen(store_of(c)->seen, p->stable_id);
    if (seen) happened(c->w, SAY_DUPLICATE);
    if (seen != (p->stored >> c->w->brokers[c->broker].store & 1))
        broken(c->w, "the id %s is taken for that of %s", p->stable_id,
               seen ? "an old message" : "a new one");
}
static void take_parcel(struct conn *c, int uid) {
    struct world *w = c->w;
    struct parcel *p = &w->parcels[uid];
    note(w, "broker %d accepts m%d on connection %d", c->broker, uid, c->number);
    check_order(c, uid);
    check_duplicate(c, p);
    p->accepted++;
    p->stored |= 1 << w->brokers[c->broker].store;
    put_on_shelf(w, w->brokers[c->broker].store, p->place, uid);
}
/* Sends the reply. It goes to the subscription of the temporary queue, or, as RabbitMQ does it, to
   a subscription with the queue's name. */
static void server_reply(struct conn *c, const struct stomp *f) {
    const char *to = field(f, "reply-to"), *id = to;
    int i;
    for (i = 0; i < c->sub_count; i++)
        if (c->subs[i].live && c->subs[i].place < 0) id = c->subs[i].id;
    happened(c->w, SAY_REPLY);
    bytes_print(&c->outgoing, "MESSAGE\n");
    say_header(c, "subscription", id);
    say_header(c, "destination", to);
    bytes_print(&c->outgoing, "message-id:reply\ncorrelation-id:%s\n\nreply%c",
                field(f, "correlation-id"), 0);
}
static void on_send(struct conn *c, const struct stomp *f) {
    int uid = parcel_of(c->w, f->body, f->body_len), place = place_of(field(f, "destination"));
    const char *transaction = field(f, "transaction");
    if (uid < 0 || place < 0 || c->w->parcels[uid].place != place) {
        broken(c->w, "connection %d: the broker received a body or destination that no client sent",
               c->number);
        return;
    }
    if (!transaction && chance(c->w, c->w->p.refusals)) {
        happened(c->w, SAY_REFUSAL);
        c->w->parcels[uid].refused = 1;
        server_error(c, "no room", field(f, "receipt"));
    } else if (!transaction) {
        take_parcel(c, uid);
        if (field(f, "reply-to") && chance(c->w, 700)) server_reply(c, f);
    } else if (strcmp(transaction, c->transaction) != 0) {
        broken(c->w, "connection %d: m%d is part of a transaction that is not open", c->number,
               uid);
    } else {
        c->transaction_uids = (int *)grow(c->transaction_uids, c->transaction_count,
                                          &c->transaction_cap, sizeof *c->transaction_uids);
        c->transaction_uids[c->transaction_count++] = uid;
    }
}
/* Checks that a transaction contains all parts that the client accepted. */
static void check_whole(struct conn *c) {
    struct world *w = c->w;
    int number = atoi(c->transaction + 1), uid, parts = 0;
    for (uid = 1; uid < w->parcel_count; uid++) {
        const struct parcel *p = &w->parcels[uid];
        parts += p->transacted == number && p->user == c->user->number && p->wanted &&
                 p->incarnation == c->user->incarnation;
    }
    if (parts != c->transaction_count && c->client_open && !c->user->starved)
        broken(w, "connection %d: %d of %d parts of %s are committed", c->number,
               c->transaction_count, parts, c->transaction);
}
/* Finds the delivery that an ACK names: "12-7" is connection 12, serial number 7. STOMP 1.2 has
   "a:12-7". */
static struct delivery *named_delivery(struct conn *c, const struct stomp *f) {
    const char *id = field(f, c->version == STWS_STOMP_12 ? "id" : "message-id");
    int conn = 0, serial = -1;
    if (id && id[0] == 'a') id += 2;
    if (!id || sscanf(id, "%d-%d", &conn, &serial) != 2) {
        broken(c->w, "an %s that names no message", f->command);
    } else if (conn != c->number) {
        broken(c->w, "connection %d: %s of a message of connection %d", c->number, f->command,
               conn);
    } else if (serial < 0 || serial >= c->delivery_count) {
        broken(c->w, "connection %d: %s of %d, which was never sent", c->number, f->command,
               serial);
    } else {
        return &c->deliveries[serial];
    }
    return NULL;
}
static void finish_delivery(struct conn *c, struct delivery *d, int nack) {
    struct entry *e;
    if (d->state != DELIVERY_OUT) return;
    c->subs[d->sub].out--;
    d->state = DELIVERY_ACKED;
    if (d->place >= QUEUES) return;
    e = &store_of(c)->shelves[d->place].entries[d->entry];
    e->state = nack && ++e->nacks < 3 ? ENTRY_READY : ENTRY_GONE;
    if (e->state == ENTRY_READY && d->entry < store_of(c)->shelves[d->place].first)
        store_of(c)->shelves[d->place].first = d->entry;
}
static void finish_deliveries(struct conn *c, struct delivery *d, int nack) {
    struct delivery *other;
    for (other = c->deliveries; other < d && c->subs[d->sub].ack == ACK_CLIENT; other++)
        if (other->sub == d->sub) finish_delivery(c, other, nack);
    finish_delivery(c, d, nack);
}

/* The transaction ends. On COMMIT its ACKs take effect. On ABORT its messages become available
   again. */
static void end_acks(struct conn *c, int commits) {
    int i;
    for (i = 0; i < c->ack_count; i++) {
        int nack = c->transaction_acks[i] < 0;
        struct delivery *d =
            &c->deliveries[nack ? ~c->transaction_acks[i] : c->transaction_acks[i]];
        if (commits)
            finish_deliveries(c, d, nack);
        else
            give_back_one(c, d);
    }
    c->ack_count = 0;
}
static void on_ack(struct conn *c, const struct stomp *f) {
    const char *transaction = field(f, "transaction");
    struct delivery *d = named_delivery(c, f);
    int nack = f->command[0] == 'N';
    if (!d) return;
    if (!d->seen && !(d->ack_on & STWS_ACK_ON_HANDOVER))
        broken(c->w, "%s of m%d, which no callback received", f->command, d->uid);
    if (d->state == DELIVERY_ACKED && c->subs[d->sub].ack == ACK_EACH)
        broken(c->w, "connection %d: a second %s of m%d", c->number, f->command, d->uid);
    if (!transaction)
        finish_deliveries(c, d, nack);
    else if (strcmp(transaction, c->transaction) != 0 || c->ack_count == TRANSACTION_ACKS)
        broken(c->w, "connection %d: %s in the transaction %s, which is not open", c->number,
               f->command, transaction);
    else
        c->transaction_acks[c->ack_count++] =
            nack ? ~(int)(d - c->deliveries) : (int)(d - c->deliveries);
}

static void on_transaction(struct conn *c, const struct stomp *f) {
    const char *name = field(f, "transaction");
    int begins = f->command[0] == 'B', i;
    if (!name || (strcmp(name, c->transaction) != 0) != begins) {
        broken(c->w, "connection %d: %s at a wrong time", c->number, f->command);
        return;
    }
    if (f->command[0] == 'C') check_whole(c);
    for (i = 0; f->command[0] == 'C' && i < c->transaction_count; i++)
        take_parcel(c, c->transaction_uids[i]);
    end_acks(c, f->command[0] == 'C');
    c->transaction_count = 0;
    snprintf(c->transaction, sizeof c->transaction, "%.15s", begins ? name : "");
}
static int sub_by_id(const struct conn *c, const char *id) {
    int i;
    for (i = 0; id && i < c->sub_count; i++)
        if (c->subs[i].live && strcmp(c->subs[i].id, id) == 0) return i;
    return -1;
}
static void on_subscribe(struct conn *c, const struct stomp *f) {
    const char *id = field(f, "id"), *ack = field(f, "ack");
    struct server_sub *s = &c->subs[c->sub_count];
    const struct broker *b = &c->w->brokers[c->broker];
    if (sub_by_id(c, id) >= 0) {
        broken(c->w, "connection %d: SUBSCRIBE with the id %s, which is in use", c->number, id);
        return;
    }
    if (c->sub_count == CONN_SUBS) {
        server_error(c, "too many subscriptions", field(f, "receipt"));
        return;
    }
    memset(s, 0, sizeof *s);
    snprintf(s->id, sizeof s->id, "%.23s", id);
    s->place = place_of(field(f, "destination"));
    s->ack = !ack || strcmp(ack, "auto") == 0 ? ACK_AUTO
             : strcmp(ack, "client") == 0     ? ACK_CLIENT
                                              : ACK_EACH;
    if (c->w->now_us < b->strict_until && s->place == b->strict_place) {
        if (field(f, "receipt")) {
            server_error(c, "not there", field(f, "receipt"));
            return;
        }
        server_flush(c);
        net_say_ws(c, 8, 1, "\x03\xe8STOMP died", 12);
        server_end(c, "it died");
        return;
    }
    s->live = 1;
    c->sub_count++;
}
static void on_unsubscribe(struct conn *c, const struct stomp *f) {
    int sub = sub_by_id(c, field(f, "id"));
    if (sub < 0) {
        broken(c->w, "connection %d: UNSUBSCRIBE for %s, which is not subscribed", c->number,
               field(f, "id") ? field(f, "id") : "nothing");
        return;
    }
    c->subs[sub].live = 0;
    give_back(c, sub);
}

static void on_connect(struct conn *c, const struct stomp *f) {
    struct broker *b = &c->w->brokers[c->broker];
    const char *offered = field(f, "accept-version"), *beats = field(f, "heart-beat");
    int cx = 0, cy = 0;
    if (c->logged_in || b->secret_until > c->w->now_us) {
        server_error(c, "not you", NULL);
        return;
    }
    if (beats) sscanf(beats, "%d,%d", &cx, &cy);
    c->version = strstr(offered, "1.2") && (b->versions & STWS_STOMP_12)   ? STWS_STOMP_12
                 : strstr(offered, "1.1") && (b->versions & STWS_STOMP_11) ? STWS_STOMP_11
                                                                           : STWS_STOMP_10;
    c->logged_in = 1;
    bytes_print(&c->outgoing, "CONNECTED\nversion:1.%d\nheart-beat:%d,%d\n",
                c->version == STWS_STOMP_12 ? 2 : c->version == STWS_STOMP_11, b->beat_out,
                b->beat_in);
    if (b->server) bytes_print(&c->outgoing, "server:%s\n", b->server);
    bytes_add(&c->outgoing, "\n", 2);
    c->client_beat = cx && b->beat_in ? (cx > b->beat_in ? cx : b->beat_in) * MS : 0;
    c->beat_every = cy && b->beat_out ? (cy > b->beat_out ? cy : b->beat_out) * MS : 0;
    if (c->beat_every) c->beat_due = c->w->now_us + c->beat_every * 3 / 4;
}

static void server_frame(struct conn *c, const struct stomp *f) {
    const char *receipt = field(f, "receipt");
    if (!c->server_open || c->errors) return;
    if (c->disconnected) {
        broken(c->w, "connection %d: %s after DISCONNECT", c->number, f->command);
        return;
    }
    if (!c->logged_in && strcmp(f->command, "CONNECT") != 0)
        broken(c->w, "%s before CONNECT", f->command);
    if (strcmp(f->command, "CONNECT") == 0)
        on_connect(c, f);
    else if (strcmp(f->command, "SEND") == 0)
        on_send(c, f);
    else if (strcmp(f->command, "SUBSCRIBE") == 0)
        on_subscribe(c, f);
    else if (strcmp(f->command, "UNSUBSCRIBE") == 0)
        on_unsubscribe(c, f);
    else if (strcmp(f->command + (f->command[0] == 'N'), "ACK") == 0)
        on_ack(c, f);
    else if (strcmp(f->command, "DISCONNECT") == 0)
        c->disconnected = 1;
    else
        on_transaction(c, f);
    if (c->disconnected) server_pay_receipts(c);
    if (!c->errors) server_owe_receipt(c, receipt);
}
static void server_control(struct conn *c, int opcode, const char *data, size_t len) {
    if (!c->server_open) return;
    if (opcode == 9) net_say_ws(c, 10, 1, data, len);
    if (opcode != 8) return;
    server_flush(c);
    net_say_ws(c, 8, 1, data, len >= 2 ? 2 : 0);
    server_end(c, "the client has closed");
}

/* Sends the response to the upgrade request. */
static void server_request(struct conn *c, const char *key) {
    struct broker *b = &c->w->brokers[c->broker];
    struct bytes out = {0};
    char accept[29];
    if (b->refuse_until > c->w->now_us) {
        bytes_print(&out, "HTTP/1.1 %d No\r\n", b->refuse_status);
        if (b->retry_after) {
            bytes_print(&out, "Retry-After: %d\r\n", b->retry_after);
            happened(c->w, SAY_RETRY_AFTER);
        }
        c->retry_after = b->retry_after;
        bytes_print(&out, "Content-Length: 4\r\n\r\nbusy");
    } else {
        stws_handshake_accept(key, accept);
        if (chance(c->w, 50)) bytes_print(&out, "HTTP/1.1 100 Continue\r\n\r\n");
        bytes_print(&out, "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n");
        bytes_print(&out, "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                    accept);
    }
    stream_put(c->w, &c->down, out.data, out.len);
    bytes_free(&out);
    if (b->refuse_until > c->w->now_us) server_end(c, "upgrade refused");
}

/* ==== time passes at the broker ==== */

static void server_hear(struct conn *c) {
    struct bytes got = {0};
    stream_arrive(&c->up, c->w->now_us);
    if (c->up.ready && c->deaf_until <= c->w->now_us) {
        bytes_add(&got, c->up.data.data, c->up.ready);
        bytes_drop(&c->up.data, c->up.ready);
        c->up.ready = 0;
        if (c->server_open) wire_feed(c, &c->server, got.data, got.len);
    }
    bytes_free(&got);
    if (c->fin_up_at <= c->w->now_us && !c->up.data.len) server_end(c, "end of stream");
}
static void server_beat(struct conn *c) {
    c->beat_due = c->w->now_us + c->beat_every * 3 / 4;
    if (!c->no_beats && c->deaf_until <= c->w->now_us && c->server_open)
        net_say_ws(c, 1 + chance(c->w, 100), 1, "\n", 1);
}
static void server_turn(struct conn *c) {
    long long now = c->w->now_us;
    server_hear(c);
    if (c->owed_at <= now) server_pay_receipts(c);
    if (c->outgoing.len) server_flush(c);
    if (c->beat_due <= now) server_beat(c);
    if (c->drop_at <= now) {
        c->drop_at = NEVER;
        server_end(c, "after an ERROR");
    }
}
static void sooner(long long *first, long long when) {
    if (when < *first) *first = when;
}

/* Returns the time of the next event on this connection. */
static long long conn_next(const struct conn *c) {
    long long first = NEVER, now = c->w->now_us;
    sooner(&first, stream_next(&c->down));
    sooner(&first, stream_next(&c->up));
    if (c->deaf_until > now) sooner(&first, c->deaf_until);
    if (c->stuck_until > now) sooner(&first, c->stuck_until);
    if (c->open_at > now) sooner(&first, c->open_at);
    if (c->server_open) {
        sooner(&first, c->beat_due);
        sooner(&first, c->drop_at);
        sooner(&first, c->owed_at);
        if (c->fin_up_at > now || c->up.data.len == 0) sooner(&first, c->fin_up_at);
    } else if (c->fin_down_at > now) {
        sooner(&first, c->fin_down_at);
    }
    return first;
}

#endif
