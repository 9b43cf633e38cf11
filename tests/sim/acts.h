/* acts.h - the random actions of the programs that use the clients: they send, subscribe,
   acknowledge and end, and record what they requested. */
#ifndef SIM_ACTS_H
#define SIM_ACTS_H

#include "check.h"

static void user_act(struct user *u);

static struct conn *conn_by_number(struct world *w, int number) {
    struct conn *c = w->conns;
    while (c && c->number != number) c = c->next;
    return c;
}
static struct user_sub *live_sub(struct user *u, const char *id) {
    struct user_sub *s;
    for (s = u->subs; s < u->subs + u->sub_count; s++)
        if (s->live && id && strcmp(s->id, id) == 0) return s;
    return NULL;
}

/* Returns whether a subscription with this id has ended on the current connection. */
static int left_sub(const struct user *u, const char *id) {
    int i, found = 0;
    for (i = 0; i < u->sub_count && u->conn; i++)
        found |= !u->subs[i].live && u->subs[i].left_conn == u->conn->number &&
                 strcmp(u->subs[i].id, id) == 0;
    return found;
}

/* Returns whether another thread is calling, perhaps in the middle of a call of the driving thread.
   The user's records may then be incomplete. */
static int is_other(const struct user *u) {
    return u->w->thread != u->number + 1;
}
static int is_connected(const struct user *u) {
    return stws_state(u->client) == STWS_CONNECTED;
}

/* ==== messages and their ACKs ==== */

/* Keeps a copy of a message, to acknowledge it later. If all places are taken, it may replace a
   copy whose connection has ended. */
static void keep(struct user *u, const stws_message *m, int conn, int serial) {
    struct grip *g = u->grips, *end = u->grips + GRIPS;
    while (g < end && g->copy) g++;
    if (g == end) g = u->grips;
    while (g < end && g->copy && g->conn == conn) g++;
    if (g == end) return;
    stws_message_free(g->copy);
    g->copy = stws_message_copy(m);
    g->conn = conn;
    g->serial = serial;
}
static void acknowledge(struct user *u, const stws_message *m, int conn, int serial) {
    struct conn *c = conn_by_number(u->w, conn);
    struct delivery *d = c && c->client_open ? &c->deliveries[serial] : NULL;
    int nack = stws_version(u->client) != STWS_STOMP_10 && chance(u->w, u->w->draining ? 10 : 100);
    const char *in;
    int was = d ? d->ack_called : 0, here = u->conn && u->conn->number == conn && is_connected(u),
        result;
    if (was) return;
    if (d) d->ack_called = 1;
    in = u->in_transaction && u->acks_in < TRANSACTION_ACKS && !m->ack_on && chance(u->w, 300)
             ? u->transaction
             : NULL;
    result = nack ? stws_nack_in(u->client, m, in) : stws_ack_in(u->client, m, in);
    if (in &&
        result == STWS_ERR_STALE) { /* an ACK of an earlier session has made the whole transaction
                                       stale */
        in = NULL;
        result = nack ? stws_nack(u->client, m) : stws_ack(u->client, m);
    }
    u->acks_in += in && result == STWS_OK;
    if (in && result == STWS_OK) happened(u->w, ASK_ACK_IN);
    if (d) d->ack_called = result == STWS_OK;
    note(u->w, "user %d %s %d-%d: %s", u->number, nack ? "nacks" : "acks", conn, serial,
         stws_result_name(result));
    if (result == STWS_OK && !here && !is_other(u))
        broken(u->w, "user %d: an ACK is accepted for connection %d, which has ended", u->number,
               conn);
    if (result == STWS_ERR_STALE && here && !is_other(u))
        broken(u->w, "user %d: an ACK for the current connection is called stale", u->number);
    if (result == STWS_ERR_STALE) happened(u->w, ASK_STALE);
    if (m->ack_on) return; /* then the library acknowledges it */
    if (result == STWS_ERR_FULL || result == STWS_ERR_LIMIT) keep(u, m, conn, serial);
}
static void release_grip(struct user *u) {
    struct grip g, *at = &u->grips[below(u->w, GRIPS)], *end = u->grips + GRIPS;
    while (at < end && !at->copy) at++;
    if (at == end || !u->client) return;
    g = *at;
    at->copy = NULL;
    acknowledge(u, g.copy, g.conn, g.serial);
    stws_message_free(g.copy);
}
static void check_place_in_line(struct user *u, int conn, int serial) {
    if (conn == u->fifo_conn ? serial != u->fifo_next : conn < u->fifo_conn || serial != 0)
        broken(u->w, "user %d: message %d-%d arrives after %d-%d", u->number, conn, serial,
               u->fifo_conn, u->fifo_next - 1);
    u->fifo_conn = conn;
    u->fifo_next = serial + 1;
}

/* Identifies a message by its body and its message-id. Returns the number of its parcel, and sets its
   connection and its serial number there. Returns 0 if no broker sent it. */
static int check_message(struct user *u, const stws_message *m, int *conn, int *serial) {
    struct world *w = u->w;
    const char *said = stws_header_get(m, "note");
    int uid = parcel_of(w, m->body, m->body_len);
    struct conn *c;
    char expected[32];
    if (uid < 0 || !m->message_id || sscanf(m->message_id, "%d-%d", conn, serial) != 2 || !said) {
        broken(w, "user %d: a message that no broker sent", u->number);
        return 0;
    }
    note(w, "user %d gets m%d as %d-%d", u->number, uid, *conn, *serial);
    check_place_in_line(u, *conn, *serial);
    parcel_note(w, uid, expected);
    if (strcmp(said, expected) != 0 ||
        strcmp(m->destination, place_name[w->parcels[uid].place]) != 0)
        broken(w, "m%d: its header arrived as %.60s", uid, said);
    c = conn_by_number(w, *conn);
    if (c && c->deliveries[*serial].uid != uid)
        broken(w, "m%d arrived as %d-%d, which is a different message", uid, *conn, *serial);
    if (c) c->deliveries[*serial].seen = 1;
    return uid;
}

/* For a message that arrives in a callback or an event, so without a delay in a queue. */
static void check_at_once(struct user *u, const stws_message *m, int uid, int conn) {
    const struct user_sub *s = live_sub(u, m->subscription);
    if (!u->threaded && (s ? s->handle : 0) != m->handle)
        broken(u->w, "m%d: handle %d, but its subscription is %s", uid, m->handle, m->subscription);
    if (!u->conn || u->conn->number != conn)
        broken(u->w, "m%d arrives from a connection that has ended", uid);
}
static void user_message(struct user *u, const stws_message *m, int queued) {
    struct world *w = u->w;
    const struct user_sub *s = live_sub(u, m->subscription);
    int conn = 0, serial = -1, uid;
    if (strcmp(m->message_id, "reply") == 0) {
        happened(w, HEAR_LATE_REPLY);
        return;
    }
    uid = check_message(u, m, &conn, &serial);
    if (!uid) return;
    if (!queued) check_at_once(u, m, uid, conn);
    happened(w, queued ? HEAR_QUEUED : HEAR_MESSAGE);
    if (chance(w, 5) && !w->draining && !w->interrupted) { /* a callback that takes some time */
        happened(w, CALLBACK_BLOCKS);
        w->now_us += below(w, 3000) * MS;
        w->jumped_at = w->now_us;
    }
    if (m->ack_on) { /* the library acknowledges it, unless we do that first */
        if (m->ack_on == STWS_ACK_ON_RETURN && chance(w, 50)) acknowledge(u, m, conn, serial);
    } else if (!s || s->ack != ACK_AUTO) {
        if (w->draining || chance(w, 700))
            acknowledge(u, m, conn, serial);
        else if (chance(w, 800))
            keep(u, m, conn, serial);
    }
    if (chance(w, 60) && !w->draining) user_act(u);
}

/* ==== actions that a user may take at any time ==== */

static void note_send(struct user *u, int uid, int result, long long began) {
    struct world *w = u->w;
    struct parcel *p = &w->parcels[uid];
    p->wanted = result >= 0;
    p->waited =
        w->now_us != began || (u->options.outbox_policy == STWS_FULL_BLOCK && w->calls != p->call);
    if (p->waited)
        p->call = ++w->calls; /* the call waited for room, so the client accepted it only
                                            now */
    if (result < 0)
        p->call = 0;
    else
        u->taken++;
    note(w, "user %d sends m%d (%d bytes): %s", u->number, uid, (int)p->size,
         result >= 0 ? "taken" : stws_result_name(result));
    if (result == STWS_ERR_FULL) happened(w, ASK_FULL);
    if (result == STWS_ERR_LIMIT) happened(w, ASK_LIMIT);
    if (result == STWS_ERR_STATE) happened(w, ASK_STATE);
    if (p->waited) happened(w, THREAD_WAITS_FOR_ROOM);
    if (p->waited && w->jumped_at < began)
        check_late(u, "a send", began, u->options.outbox_block_ms);
    if (result == STWS_ERR_USAGE || result == STWS_ERR_FRAME_BUILD ||
        (result > 0) != (p->told && result >= 0))
        broken(w, "user %d: a send returns %d", u->number, result);
    if (result <= 0) return;
    u->receipts = (struct receipt_note *)grow(u->receipts, u->receipt_count, &u->receipt_cap,
                                              sizeof *u->receipts);
    u->receipts[u->receipt_count].number = result;
    u->receipts[u->receipt_count].ended = 0;
    u->receipts[u->receipt_count++].uid = uid;
}
/* A message to a random place, with the body and the header of a new parcel. */
struct letter {
    int uid;
    struct bytes body;
    char note[32];
    const char *headers[3];
    stws_outgoing m;
};

static void write_letter(struct user *u, struct letter *l) {
    struct world *w = u->w;
    int place = below(w, PLACES);
    memset(l, 0, sizeof *l);
    l->uid = new_parcel(w, u->number, place);
    parcel_body(w, l->uid, &l->body);
    parcel_note(w, l->uid, l->note);
    l->headers[0] = "note";
    l->headers[1] = l->note;
    l->m.destination = place_name[place];
    l->m.body = l->body.data;
    l->m.body_len = l->body.len;
    l->m.headers = l->headers;
    w->parcels[l->uid].incarnation = u->incarnation;
}
static void act_send(struct user *u) {
    struct world *w = u->w;
    long long began = w->now_us;
    struct letter l;
    struct parcel *p;
    write_letter(u, &l);
    p = &w->parcels[l.uid];
    p->told = chance(w, 300);
    p->transacted = u->in_transaction && chance(w, 500) ? u->transactions : 0;
    p->sent_conn = u->conn && is_connected(u) ? u->conn->number : 0;
    p->call = ++w->calls;
    l.m.receipt = p->told;
    if (p->transacted) l.m.transaction = u->transaction;
    note_send(u, l.uid, stws_send_ex(u->client, &l.m), began);
    bytes_free(&l.body);
}
static void act_subscribe(struct user *u, int place, int ack) {
    static const stws_ack_mode modes[] = {STWS_ACK_AUTO, STWS_ACK_CLIENT,
                                          STWS_ACK_CLIENT_INDIVIDUAL};
    struct world *w = u->w;
    struct user_sub fresh;
    stws_subscribe_options o;
    char id[24];
    int taken, ends;
    memset(&o, 0, sizeof o);
    memset(&fresh, 0, sizeof fresh);
    snprintf(id, sizeof id, "mine:%d", below(w, 4));
    o.ack = modes[ack];
    if (ack == ACK_EACH && chance(w, 400)) o.ack_on = (stws_ack_on)between(w, 1, 2);
    o.receipt = chance(w, 200);
    if (chance(w, 400)) o.id = id;
    if (!o.id) id[0] = 0;
    taken = o.id && live_sub(u, id);
    /* A subscription that ends keeps its id while its last message is in use. */
    ends = o.id && u->client->hand_unsubscribed;
    memcpy(fresh.id, id, sizeof id);
    fresh.place = place;
    fresh.ack = ack;
    fresh.ack_on = (int)o.ack_on;
    fresh.call = ++w->calls;
    u->subscribing++;
    fresh.handle = stws_subscribe(u->client, place_name[place], &o);
    u->subscribing--;
    note(w, "user %d subscribes to %s as %s: %d", u->number, place_name[place],
         o.id ? id : "its handle", fresh.handle);
    if (fresh.handle == STWS_ERR_USAGE) happened(w, ASK_TAKEN);
    if (fresh.handle == STWS_ERR_USAGE && !taken && !ends && !is_other(u))
        broken(w, "user %d: the id %s is free, but refused", u->number, id);
    if (fresh.handle <= 0) return;
    if (taken && !is_other(u))
        broken(w, "user %d: the id %s is in use, but accepted again", u->number, id);
    if (o.id && left_sub(u, id)) happened(w, ASK_REUSE);
    if (!o.id) snprintf(fresh.id, sizeof fresh.id, "sub-%d", fresh.handle);
    fresh.live = 1;
    u->subs = (struct user_sub *)grow(u->subs, u->sub_count, &u->sub_cap, sizeof *u->subs);
    u->subs[u->sub_count++] = fresh;
}
static void act_unsubscribe(struct user *u, struct user_sub *s) {
    int result, before = u->conn ? u->conn->number : 0, index = (int)(s - u->subs);
    if (!s || !s->live) return;
    u->subscribing++;
    result = stws_unsubscribe(u->client, s->handle);
    u->subscribing--;
    s = &u->subs[index]; /* the table may have moved during the call */
    note(u->w, "user %d unsubscribes %s: %s", u->number, s->id, stws_result_name(result));
    if (result == STWS_ERR_USAGE && s->live && !is_other(u))
        broken(u->w, "user %d: the live subscription %s is unknown", u->number, s->id);
    if (result != STWS_OK) return;
    s->live = 0;
    s->left_conn = before;
}

/* Returns a random live subscription, or NULL. */
static struct user_sub *some_sub(struct user *u) {
    struct user_sub *found = NULL;
    int i, seen = 0;
    for (i = 0; i < u->sub_count; i++)
        if (u->subs[i].live && below(u->w, ++seen) == 0) found = &u->subs[i];
    return found;
}
static void act_transaction(struct user *u) {
    int result, aborts;
    if (!u->w->p.transactions || u->threaded)
        return; /* several threads would have to agree on one
                                                         transaction */
    if (!u->in_transaction) {
        snprintf(u->transaction, sizeof u->transaction, "t%d", ++u->transactions);
        result = stws_begin(u->client, u->transaction);
        u->acks_in = 0;
    } else {
        aborts = chance(u->w, 300);
        result =
            aborts ? stws_abort(u->client, u->transaction) : stws_commit(u->client, u->transaction);
    }
    note(u->w, "user %d begins or ends %s: %s", u->number, u->transaction,
         stws_result_name(result));
    if (result == STWS_OK) u->in_transaction = !u->in_transaction;
    if (result == STWS_ERR_STALE)
        u->in_transaction = 0; /* the client had given it up, and this
                                                            call ended it */
}

/* Returns whether this call may wait. User 0 may wait outside of callbacks, unless another thread
   waits already. */
static int may_wait(const struct user *u) {
    if (is_other(u)) return u->w->may_wait;
    return u->number == 0 && u->w->p.blocking && !u->calling && !u->w->other_waits;
}
/* A flush by another thread drives the client itself if no thread drives it. Then the user's own
   thread would have to wait, so it makes no call meanwhile. While a subscription is being made or
   ended, the flush must not write, because the simulator has not recorded the change yet. */
static void act_flush(struct user *u) {
    int wait = may_wait(u) ? below(u->w, 800) : 0, result, calls = u->w->calls, other = is_other(u),
        drives = !other || !u->busy;
    long long began = u->w->now_us;
    if (other && u->subscribing) return;
    u->busy += drives;
    result = stws_flush(u->client, wait);
    u->busy -= drives;
    note(u->w, "user %d flushes: %s", u->number, stws_result_name(result));
    if (other && u->w->now_us > began) happened(u->w, THREAD_WAITS_TO_FLUSH);
    happened(u->w, result == STWS_OK            ? ASK_FLUSHED
                   : result == STWS_ERR_TIMEOUT ? ASK_FLUSH_TIMEOUT
                                                : ASK_FLUSH_LOST);
    if (result == STWS_OK) check_flushed(u, calls, "flushed");
    if (u->w->jumped_at < began) check_late(u, "a flush", began, wait);
}
/* Makes a request and waits for its reply. It may end with the reply, with a time-out (then the
   reply may arrive later), or with an error. */
static void act_request(struct user *u) {
    struct world *w = u->w;
    int wait = below(w, 800), result;
    long long began = w->now_us;
    stws_message *reply = NULL;
    struct letter l;
    write_letter(u, &l);
    w->parcels[l.uid].waited = w->parcels[l.uid].requests = 1;
    w->parcels[l.uid].call = ++w->calls;
    u->busy++;
    result = stws_request(u->client, &l.m, &reply, wait);
    u->busy--;
    bytes_free(&l.body);
    note(w, "user %d requests by m%d: %s", u->number, l.uid, stws_result_name(result));
    if (result == STWS_OK) happened(w, ASK_REQUEST);
    if (result == STWS_ERR_TIMEOUT) happened(w, ASK_REQUEST_TIMEOUT);
    if ((result == STWS_OK) != (reply != NULL && reply->body_len == 5))
        broken(w, "user %d: stws_request returns %s, but its reply does not match that", u->number,
               stws_result_name(result));
    stws_message_free(reply);
    if (w->jumped_at < began) check_late(u, "a request", began, wait);
}
static void act_end(struct user *u) {
    struct world *w = u->w;
    int timeout = below(w, 1500), has_ended = stws_state(u->client) == STWS_ENDED;
    if (is_other(u))
        happened(w, THREAD_ENDS);
    else if (u->calling)
        happened(w, CALLBACK_ENDS);
    if (w->interrupted && u->busy && !u->conn)
        has_ended = 1; /* the client may have ended already; it is deciding that now */
    u->late_end = u->asked ? u->late_end : u->final || has_ended;
    if (chance(w, 400)) {
        stws_stop(u->client);
        u->stopped = is_other(u) ? 2 : !u->calling;
        if (!u->asked || !has_ended) u->asked = 2;
        note(w, "user %d stops", u->number);
    } else {
        stws_disconnect(u->client, timeout);
        if (!u->asked) u->end_by = w->now_us + timeout * MS;
        if (!u->asked) u->asked = 1;
        note(w, "user %d disconnects in %d ms", u->number, timeout);
    }
}
static void act_reconnect(struct user *u) {
    u->retry_at = NEVER;
    u->hurried = 1;
    stws_reconnect_now(u->client);
    happened(u->w, ASK_RECONNECT);
    note(u->w, "user %d reconnects now", u->number);
}
static void user_act(struct user *u) {
    struct world *w = u->w;
    int what = below(w, 1000);
    if (!u->client || u->dead || w->is_broken) return;
    if (u->calling && !is_other(u)) happened(w, CALLBACK_ACTS);
    if (what < 500)
        act_send(u);
    else if (what < 600)
        release_grip(u);
    else if (what < 720)
        act_subscribe(u, below(w, PLACES), chance(w, 700) ? ACK_EACH : below(w, 3));
    else if (what < 810)
        act_unsubscribe(u, some_sub(u));
    else if (what < 880)
        act_transaction(u);
    else if (what < 950)
        act_flush(u);
    else if (what < 955 && !is_other(u) && may_wait(u))
        act_request(u);
    else if (what < 975)
        act_reconnect(u);
    else if (what < 985 && chance(w, 500))
        act_end(u);
}

#endif
