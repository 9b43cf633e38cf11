/* check.h - the conditions that must be true: at each byte that the client writes, at each event
   that it reports, and after each turn. */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "broker.h"

enum { SLACK = 3 }; /* in ms: the client rounds deadlines up to whole milliseconds */

/* ==== at every frame that the client writes ==== */

static void check_sub_first(struct conn *c, const struct parcel *p, int uid) {
    const struct user *u = c->user;
    int i;
    for (i = 0; i < u->sub_count; i++) {
        const struct user_sub *s = &u->subs[i];
        if (!s->live || s->wire_conn == c->number) continue;
        if (s->at_connect == c->number)
            broken(c->w, "connection %d: m%d is written before the subscription %s", c->number, uid,
                   s->id);
        else if (s->call < p->call)
            broken(c->w, "connection %d: m%d overtakes the subscription %s", c->number, uid, s->id);
    }
}
/* With options.stable_id a SEND must have the same id each time it is written. Without the option
   it must have none. */
static void check_stable_id(struct conn *c, const struct stomp *f, struct parcel *p) {
    const char *id = field(f, "stable-id");
    if (!id != !c->user->options.stable_id)
        broken(c->w, "a SEND has %.60s as its stable id", id ? id : "nothing");
    if (!id) return;
    if (*p->stable_id && strcmp(p->stable_id, id) != 0)
        broken(c->w, "the stable id %s becomes %.60s", p->stable_id, id);
    if (*p->stable_id) happened(c->w, WRITE_STABLE_ID);
    snprintf(p->stable_id, sizeof p->stable_id, "%.60s", id);
}
static void check_send(struct conn *c, const struct stomp *f) {
    struct world *w = c->w;
    int uid = parcel_of(w, f->body, f->body_len);
    struct parcel *p = &w->parcels[uid < 0 ? 0 : uid];
    const char *said = field(f, "note");
    char expected[32];
    if (uid < 0 || !p->call || p->user != c->user->number ||
        p->incarnation != c->user->incarnation) {
        broken(w, "connection %d: a SEND that the user did not request", c->number);
        return;
    }
    parcel_note(w, uid, expected);
    if (!said || strcmp(said, expected) != 0)
        broken(w, "m%d: its header was written as %.60s", uid, said ? said : "none");
    check_stable_id(c, f, p);
    if (p->written && p->transacted) happened(w, WRITE_TRANSACTION_AGAIN);
    if (p->written && ((!w->p.confirm && !p->transacted) || p->written_conn == c->number))
        broken(w, "m%d is sent twice", uid);
    if (p->confirmed && !p->transacted && c->number > p->confirmed_conn)
        broken(w, "m%d is sent after it was confirmed", uid);
    if ((field(f, "receipt") != NULL) != (!p->requests && (w->p.confirm || p->told)))
        broken(w, "m%d: its receipt header is wrong", uid);
    if (p->written++) happened(w, WRITE_SEND_AGAIN);
    p->written_conn = c->number;
    p->written_at = w->now_us;
    check_sub_first(c, p, uid);
}
static void check_subscribe(struct conn *c, const struct stomp *f) {
    struct user_sub *s, *found = NULL;
    const char *id = field(f, "id"), *destination = field(f, "destination");
    if (strncmp(destination, "/temp-queue/", 12) == 0) return; /* the subscription of a request */
    for (s = c->user->subs; s < c->user->subs + c->user->sub_count; s++) {
        if (s->wire_conn == c->number || (!s->live && s->left_conn != c->number)) continue;
        if (strcmp(s->id, id) != 0 || strcmp(place_name[s->place], destination) != 0) continue;
        if (!found || s->live) found = s;
    }
    if (found && found->wire_conn) happened(c->w, WRITE_SUBSCRIBE_AGAIN);
    if (found)
        found->wire_conn = c->number;
    else
        broken(c->w, "connection %d: SUBSCRIBE %s to %s, which the user did not request", c->number,
               id, destination);
}
/* Returns the ack_on value of the delivery's subscription. Several subscriptions may have had its
   id, so their values are combined. */
static int ack_on_of(const struct conn *c, const struct delivery *d) {
    const struct user *u = c->user;
    int i, when = STWS_ACK_BY_CALL;
    for (i = 0; i < u->sub_count; i++)
        if (strcmp(u->subs[i].id, c->subs[d->sub].id) == 0) when |= u->subs[i].ack_on;
    return when;
}
static void check_ack(struct conn *c, const struct stomp *f) {
    struct delivery *d = named_delivery(c, f);
    if (!d) return;
    d->ack_on = ack_on_of(c, d);
    if (!d->ack_called && d->ack_on)
        happened(c->w, WRITE_ACK_BY_ITSELF);
    else if (!d->ack_called)
        broken(c->w, "connection %d: %s of m%d, which the user did not request", c->number,
               f->command, d->uid);
    if (d->ack_written)
        broken(c->w, "connection %d: %s of m%d is written twice", c->number, f->command, d->uid);
    d->ack_written = 1;
}

/* A session begins. The current subscriptions must be written before everything else. */
static void check_connect(struct conn *c) {
    struct user *u = c->user;
    int i;
    for (i = 0; i < u->sub_count; i++)
        if (u->subs[i].live) u->subs[i].at_connect = c->number;
}
static void count_frame(struct world *w, const char *command) {
    static const char *const commands[] = {"CONNECT", "SEND",      "SUBSCRIBE", "UNSUBSCRIBE",
                                           "ACK",     "NACK",      "BEGIN",     "COMMIT",
                                           "ABORT",   "DISCONNECT"};
    static const enum kind kinds[] = {
        WRITE_CONNECT, WRITE_SEND,  WRITE_SUBSCRIBE, WRITE_UNSUBSCRIBE, WRITE_ACK,
        WRITE_NACK,    WRITE_BEGIN, WRITE_COMMIT,    WRITE_ABORT,       WRITE_DISCONNECT};
    size_t i;
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(command, commands[i]) == 0) happened(w, kinds[i]);
}
static void check_frame(struct conn *c, const struct stomp *f) {
    count_frame(c->w, f->command);
    if (strcmp(f->command, "CONNECT") == 0) check_connect(c);
    note(c->w, "user %d writes %s%s%s on connection %d", c->user->number, f->command,
         f->body_len ? " " : "", f->body_len ? "m" : "", c->number);
    if (strcmp(f->command, "SEND") == 0) check_send(c, f);
    if (strcmp(f->command, "SUBSCRIBE") == 0) check_subscribe(c, f);
    if (strcmp(f->command + (f->command[0] == 'N'), "ACK") == 0) check_ack(c, f);
}

/* ==== at every event ==== */

static struct receipt_note *find_receipt(struct user *u, int number) {
    int i;
    for (i = u->receipt_count - 1; i >= 0; i--)
        if (u->receipts[i].number == number) return &u->receipts[i];
    return NULL;
}
static void count_receipt(struct world *w, int result) {
    if (result == STWS_OK) happened(w, HEAR_RECEIPT);
    if (result == STWS_ERR_BROKER) happened(w, HEAR_RECEIPT_ERROR);
    if (result == STWS_ERR_TIMEOUT) happened(w, HEAR_RECEIPT_TIMEOUT);
    if (result == STWS_ERR_LOST) happened(w, HEAR_RECEIPT_LOST);
    if (result == STWS_ERR_FULL) happened(w, HEAR_RECEIPT_FULL);
}
static void check_receipt(struct user *u, const stws_event *e) {
    struct receipt_note *r = find_receipt(u, e->receipt);
    struct parcel *p;
    count_receipt(u->w, e->result);
    if (e->receipt == 0 || e->handle)
        return; /* a receipt after its time-out, or the receipt of a
                                                 subscription */
    if (!r || r->ended) {
        broken(u->w, "user %d: receipt %d ends %s", u->number, e->receipt,
               r ? "twice" : "although the user did not request it");
        return;
    }
    r->ended = 1;
    p = &u->w->parcels[r->uid];
    if (e->result == STWS_OK) {
        p->confirmed = 1;
        p->confirmed_conn = u->conn ? u->conn->number : u->w->conn_count;
        if (!p->accepted && !p->transacted)
            broken(u->w, "m%d is confirmed, but the broker does not have it", r->uid);
    } else {
        p->refused = 1;
    }
}

/* Counts the reasons for which a connection may end. */
static void count_loss(struct world *w, int result) {
    static const int results[] = {STWS_OK,          STWS_ERR_CONNECT,     STWS_ERR_RESOLVE,
                                  STWS_ERR_TIMEOUT, STWS_ERR_HTTP_STATUS, STWS_ERR_IO,
                                  STWS_ERR_EOF,     STWS_ERR_WS_CLOSE,    STWS_ERR_BROKER,
                                  STWS_ERR_LOGIN,   STWS_ERR_HEARTBEAT,   STWS_ERR_LIMIT,
                                  STWS_ERR_LATE,    STWS_CLOSED,          STWS_ERR_LOST};
    int i, known = 0, count = (int)(sizeof results / sizeof *results);
    for (i = 0; i < count; i++) {
        if (result != results[i]) continue;
        happened(w, (enum kind)(LOST_ASKED + i));
        known = 1;
    }
    if (!known) broken(w, "a connection ends with %s", stws_result_name(result));
}
static void check_disconnected(struct user *u, const stws_event *e, const struct conn *last) {
    const struct world *w = u->w;
    count_loss(u->w, e->result);
    if (!e->text || !*e->text) broken(u->w, "user %d: a disconnection without a text", u->number);
    if (e->result == STWS_ERR_HEARTBEAT && last &&
        w->now_us - last->last_read <
            (last->beat_every ? last->beat_every : u->options.ping_ms * MS) * 3 - 2 * MS)
        broken(u->w, "user %d: the server is called dead after %d ms", u->number,
               (int)((w->now_us - last->last_read) / MS));
    if (e->result == STWS_ERR_HTTP_STATUS && last && e->retry_ms >= 0 && !u->hurried && !u->asked &&
        e->retry_ms < last->retry_after * 1000)
        broken(u->w, "user %d: the next attempt is in %d ms, before Retry-After", u->number,
               (int)e->retry_ms);
    if (e->result == STWS_OK && strstr(e->text, "max_session_ms")) {
        happened(u->w, HEAR_AGE);
        if (w->now_us - u->session_since < u->options.max_session_ms * 9 / 10 * MS)
            broken(u->w, "user %d: a session is called old after %d ms", u->number,
                   (int)((w->now_us - u->session_since) / MS));
    }
    u->session_since = NEVER;
    if (e->retry_ms > 60000)
        broken(u->w, "user %d: the next attempt in %d ms", u->number, (int)e->retry_ms);
    u->retry_at =
        e->retry_ms >= 0 && !w->p.hooks && !u->hurried ? w->now_us + e->retry_ms * MS : NEVER;
    u->error_by = NEVER;
    u->final = e->retry_ms < 0;
}

/* OUTBOX_HIGH and OUTBOX_LOW must alternate. */
static void check_mark(struct user *u, const stws_event *e) {
    int high = e->type == STWS_EVENT_OUTBOX_HIGH;
    happened(u->w, high ? HEAR_HIGH : HEAR_LOW);
    if (high == u->above)
        broken(u->w, "user %d: a mark of the outbox is reported twice", u->number);
    u->above = high;
}

/* ==== after each turn, if the client has nothing to do at present ==== */

static void check_late(struct user *u, const char *what, long long since, long long limit_ms) {
    long long now = u->w->now_us;
    if (since == NEVER || now - since <= (limit_ms + SLACK) * MS) return;
    broken(u->w, "user %d: %s takes %d ms, longer than its limit of %d", u->number, what,
           (int)((now - since) / MS), (int)limit_ms);
}
static void check_beats(struct user *u) {
    struct conn *c = u->conn;
    long long now = u->w->now_us, jumped = u->w->jumped_at, heard;
    if (!c || !c->told || u->state != STWS_CONNECTED) return;
    heard = c->last_read > u->held_at ? c->last_read : u->held_at;
    if (c->client_beat && c->server_open && !c->stalled && !c->reset && jumped < c->last_write &&
        now - c->last_write > c->client_beat)
        broken(u->w, "user %d: wrote no heart-beat for %d ms", u->number,
               (int)((now - c->last_write) / MS));
    if (c->beat_every && !u->queue && jumped < heard &&
        now - heard > c->beat_every * 3 + SLACK * MS)
        broken(u->w, "user %d: does not notice that the server has been silent for %d ms",
               u->number, (int)((now - heard) / MS));
}

/* Checks that each ping was answered, if the client has read all data and can write. */
static void check_pong(struct user *u) {
    const struct conn *c = u->conn;
    if (!c || !c->told || u->state != STWS_CONNECTED || u->queue || u->leaves) return;
    if (c->down.data.len || c->stalled || c->reset || c->check.closed) return;
    if (u->held_at == u->w->now_us) return; /* what it has read may still be in its buffer */
    if (c->pong != c->pings % 1000)
        broken(u->w, "user %d: ping %d is not answered", u->number, c->pings);
}
static void check_receipt_times(struct user *u) {
    int i;
    if (u->w->p.confirm) return;
    for (i = 0; i < u->receipt_count; i++) {
        const struct parcel *p = &u->w->parcels[u->receipts[i].uid];
        /* a part of a transaction is resent with the transaction, and its time starts again then */
        if (p->transacted && (!u->conn || p->written_conn != u->conn->number)) continue;
        if (!u->receipts[i].ended && p->written)
            check_late(u, "a receipt", p->written_at, u->options.receipt_timeout_ms);
    }
}
static void check_marks(struct user *u) {
    const stws_options *o = &u->client->o; /* without the defaults, which are set later */
    size_t used = stws_p_ring_used(&u->client->s.outbox);
    if (u->threaded)
        return; /* another thread may have sent just now, and has only woken this
                                one */
    if (o->outbox_high && (u->above ? used <= o->outbox_low : used >= o->outbox_high))
        broken(u->w, "user %d: the outbox has %d bytes, and that is not reported", u->number,
               (int)used);
}
static void check_quiet(struct user *u) {
    const stws_options *o = &u->options;
    if (u->state == STWS_CONNECTING)
        check_late(u, "CONNECTING", u->state_since, o->connect_timeout_ms);
    if (u->state == STWS_UPGRADING)
        check_late(u, "UPGRADING", u->state_since, o->handshake_timeout_ms);
    if (u->state == STWS_LOGGING_IN)
        check_late(u, "LOGGING_IN", u->state_since, o->connected_timeout_ms);
    if (u->state == STWS_BACKOFF) check_late(u, "BACKOFF", u->retry_at, 0);
    check_late(u, "the end", u->end_by, 0);
    check_late(u, "the wait after an ERROR", u->error_by, 0);
    check_beats(u);
    check_pong(u);
    check_receipt_times(u);
    check_marks(u);
    /* when a session is old, its waiting output may take another close_timeout_ms */
    if (u->state == STWS_CONNECTED && !u->asked && o->max_session_ms &&
        u->w->jumped_at + o->close_timeout_ms * MS < u->w->now_us)
        check_late(u, "a session", u->session_since, o->max_session_ms + o->close_timeout_ms);
}
static void check_turn(struct user *u) {
    stws_connection_state state = stws_state(u->client);
    int conn = u->conn ? u->conn->number : 0;
    if (state != u->state || conn != u->last_conn) u->state_since = u->w->now_us;
    u->state = state;
    u->last_conn = conn;
    if (u->stopped == 1 && !u->ended && !u->leaves)
        broken(u->w, "user %d: stopped, but the client continues", u->number);
    if (u->stopped == 2)
        u->stopped = 1; /* another thread called stws_stop: it takes effect with
                                            the next turn */
    if (!u->ended && u->due_us > u->w->now_us) check_quiet(u);
}

/* Returns whether the client accepted a message that asked for a receipt, is in no transaction, and
   was neither confirmed nor reported as lost. */
static int has_open_parcel(const struct user *u) {
    const struct world *w = u->w;
    int i, open = 0;
    for (i = 0; i < w->parcel_count; i++) {
        const struct parcel *p = &w->parcels[i];
        if (p->user != u->number || p->incarnation != u->incarnation || p->transacted) continue;
        open |= p->wanted && !p->confirmed && !p->refused && p->told;
    }
    return open;
}

/* The client has ended. All requests must have ended, too. */
static void check_ended(struct user *u) {
    int i;
    if (u->asked == 1 && u->result == STWS_CLOSED && u->options.confirm && has_open_parcel(u))
        broken(u->w, "user %d: the client ends as if nothing was lost", u->number);
    happened(u->w, u->result != STWS_CLOSED ? END_FINAL
                   : u->asked == 2          ? END_STOPPED
                                            : END_DISCONNECTED);
    for (i = 0; i < u->receipt_count; i++)
        if (!u->receipts[i].ended)
            broken(u->w, "user %d: receipt %d never ends", u->number, u->receipts[i].number);
    if (u->conn) broken(u->w, "user %d: the client ends with its connection open", u->number);
    if (u->asked && u->result != STWS_CLOSED && !u->late_end &&
        (u->result != STWS_ERR_LOST || u->asked == 2))
        broken(u->w, "user %d requested the end, but the result is %s", u->number,
               stws_result_name(u->result));
}

/* Checks a successful flush, for all messages up to this call. With confirm the broker must have
   them. Without it, the messages of this connection must have been written. */
static void check_flushed(struct user *u, int call, const char *when) {
    struct world *w = u->w;
    int dropped = (int)u->client->s.stats.dropped, uid, missing = 0, example = 0,
        conn = u->conn ? u->conn->number : -1;
    for (uid = 1; uid < w->parcel_count; uid++) {
        const struct parcel *p = &w->parcels[uid];
        if (p->user != u->number || p->incarnation != u->incarnation || !p->wanted || p->refused ||
            p->call > call)
            continue;
        if (w->p.confirm ? p->accepted || p->transacted : p->written || p->sent_conn != conn)
            continue;
        missing++;
        example = uid;
    }
    if (missing > dropped)
        broken(w, "user %d, %s: %d messages are missing, for example m%d, but %d were dropped",
               u->number, when, missing, example, dropped);
}

/* Returns the number of differences between the user's live subscriptions and those at the broker,
   on the current connection. */
static int subs_differ(const struct user *u) {
    const struct conn *c = u->conn;
    int i, k, there, differ = 0;
    for (i = 0; i < u->sub_count; i++) {
        const struct user_sub *s = &u->subs[i];
        for (there = k = 0; s->live && c && k < c->sub_count; k++)
            there += c->subs[k].live && c->subs[k].place == s->place &&
                     strcmp(c->subs[k].id, s->id) == 0;
        differ += there != s->live;
    }
    for (k = 0; c && k < c->sub_count; k++) differ += c->subs[k].live && c->subs[k].place >= 0;
    for (i = 0; i < u->sub_count; i++) differ -= u->subs[i].live;
    return differ;
}

#endif
