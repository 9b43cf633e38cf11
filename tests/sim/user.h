/* user.h - the programs that use the clients: the events they receive, when they act, how they
   drive the client, how they begin and end. */
#ifndef SIM_USER_H
#define SIM_USER_H

#include "acts.h"

/* ==== the queue ==== */

/* Returns 1 if a message arrived in that time. The message belongs to the user until the next
   call. */
static int pop(struct user *u, int ms) {
    const stws_message *before = u->popped;
    int result = stws_queue_pop(u->queue, &u->popped, ms);
    if (result == 0 && u->popped) {
        happened(u->w, HEAR_NO_ROOM);
        if (u->popped != before)
            broken(u->w, "user %d: success, but there is no message", u->number);
    }
    if (result != 1) return 0;
    if (u->client && u->popped->client == u->client) user_message(u, u->popped, 1);
    return 1;
}
static void user_pop(struct user *u) {
    while (u->queue && !u->in_use && chance(u->w, u->w->draining ? 900 : 300))
        if (!pop(u, 0)) return;
}

/* ==== events ==== */

static void user_connected(struct user *u) {
    if (!u->conn || u->conn->told || !u->conn->logged_in) {
        broken(u->w, "user %d: CONNECTED at a wrong time", u->number);
        return;
    }
    happened(u->w, HEAR_CONNECTED);
    u->conn->told = 1;
    u->session_since = u->w->now_us;
}

/* The client has set a subscription aside. No later session will request it, so the user gives its
   handle back. */
static void user_refused(struct user *u, int handle) {
    int i;
    happened(u->w, HEAR_ASIDE);
    for (i = 0; i < u->sub_count; i++) {
        if (!u->subs[i].live || u->subs[i].handle != handle) continue;
        act_unsubscribe(u, &u->subs[i]);
        return;
    }
}
static void user_event(struct user *u, const stws_event *e) {
    static const char *const names[] = {"NONE",       "CONNECTED",    "MESSAGE",   "RECEIPT",
                                        "ERROR",      "DISCONNECTED", "UNHANDLED", "OUTBOX_HIGH",
                                        "OUTBOX_LOW", "REFUSED"};
    struct world *w = u->w;
    struct conn *last = w->conns;
    if (e->type != STWS_EVENT_MESSAGE)
        note(w, "user %d hears %s %d %s %.90s", u->number, names[e->type], e->receipt,
             stws_result_name(e->result), e->text);
    while (last && last->user != u) last = last->next;
    if (u->dead) broken(w, "a callback is called after destroy");
    if (e->type == STWS_EVENT_CONNECTED) user_connected(u);
    if (e->type == STWS_EVENT_MESSAGE) user_message(u, e->message, 0);
    if (e->type == STWS_EVENT_RECEIPT) check_receipt(u, e);
    if (e->type == STWS_EVENT_DISCONNECTED) check_disconnected(u, e, last);
    if (e->type == STWS_EVENT_OUTBOX_HIGH || e->type == STWS_EVENT_OUTBOX_LOW) check_mark(u, e);
    if (e->type == STWS_EVENT_UNHANDLED) broken(w, "a frame that no broker sends");
    if (e->type == STWS_EVENT_SUBSCRIPTION_REFUSED) user_refused(u, e->handle);
    if (e->type == STWS_EVENT_ERROR) {
        happened(w, HEAR_ERROR);
        if (!u->conn || !u->conn->errors) broken(w, "an ERROR that no broker sent");
        if (u->error_by == NEVER && u->state == STWS_CONNECTED)
            u->error_by = w->now_us + u->options.close_timeout_ms * MS;
    }
    if (chance(w, 60) && !w->draining) user_act(u);
}
static void on_event(stws *client, const stws_event *event, void *user) {
    struct user *u = (struct user *)user;
    if (client != u->client) broken(u->w, "an event of a different client");
    called_out(u, "on_event");
    u->calling++;
    user_event(u, event);
    u->calling--;
}
static void on_message(stws *client, const stws_message *message, void *user) {
    struct user *u = (struct user *)user;
    if (u->dead || client != u->client) broken(u->w, "a message arrives after destroy");
    called_out(u, "on_message");
    u->calling++;
    user_message(u, message, 0);
    u->calling--;
}

/* Under the lock. Whatever is shown can be read, and no secret is. */
static void on_trace(stws *client, stws_direction direction, const stws_frame *frame, void *user) {
    const struct user *u = (const struct user *)user;
    size_t i;
    (void)client;
    happened(u->w, HEAR_TRACE);
    if (direction != STWS_RECEIVED && direction != STWS_SENT)
        broken(u->w, "a trace without a direction");
    for (i = 0; i < frame->header_count; i++)
        if (strstr(frame->headers[i].value, SECRET)) broken(u->w, "a trace shows the passcode");
    for (i = 0; i < frame->body_len; i++) u->w->traced += (unsigned char)frame->body[i];
}

/* ==== the life of a client ==== */

static int before_connect(stws *client, stws_attempt *attempt, void *user) {
    struct user *u = (struct user *)user;
    int wait = chance(u->w, 200) && !u->w->draining ? between(u->w, 1, 300) : 0;
    (void)client;
    if (u->dead) broken(u->w, "before_connect is called after destroy");
    called_out(u, "before_connect");
    if (wait) happened(u->w, HOOK_WAITS);
    if (wait && !u->hurried) u->retry_at = u->w->now_us + wait * MS;
    note(u->w, "user %d: before_connect for attempt %d returns %d", u->number, attempt->number,
         wait);
    return wait;
}
static int before_subscribe(stws *client, stws_subscribing *asked, void *user) {
    struct user *u = (struct user *)user;
    int wait = chance(u->w, 150) && !u->w->draining ? between(u->w, 1, 200) : 0;
    (void)client, (void)asked;
    called_out(u, "before_subscribe");
    if (wait) happened(u->w, HOOK_WAITS);
    return wait;
}
static void user_plug(struct user *u) {
    stws_transport t = {u, net_open, net_read, net_write, net_close, net_fd, NULL, NULL};
    stws_clock k = {u, net_now, NULL};
    stws_random r = {u, net_random};
    stws_allocator a = {u, net_alloc, net_release};
    u->transport = t;
    u->clock = k;
    u->random = r;
    u->allocator = a;
    u->options.transport = &u->transport;
    u->options.clock = &u->clock;
    u->options.random = &u->random;
    u->options.allocator = &u->allocator;
}
static void user_limits(struct user *u, stws_options *o) {
    struct world *w = u->w;
    o->max_body = 65536;
    o->max_line = 4096;
    o->max_headers = 32;
    o->max_subscriptions = USER_SUBS;
    o->max_receipts = w->p.tiny ? 6 : 40;
    o->subscription_bytes = 128;
    o->rx_buffer = w->p.tiny ? 1024 : 16384;
    o->tx_buffer = w->p.tiny ? 1024 : 16384;
    o->outbox_bytes = w->p.large ? 131072 : w->p.tiny ? 8192 : 32768;
    o->outbox_count = chance(w, 200) ? 8 : 0;
    if (chance(w, 400)) o->outbox_high = o->outbox_bytes / (size_t)between(w, 2, 8);
    o->outbox_policy = w->p.policy;
    o->outbox_block_ms = 400;
    o->max_ws_message = (size_t)w->p.cut;
}
static void user_times(stws_options *o, struct world *w) {
    o->heartbeat_out_ms = chance(w, 150) ? STWS_OFF : between(w, 300, 1500);
    o->heartbeat_in_ms = chance(w, 150) ? STWS_OFF : between(w, 300, 1500);
    o->ping_ms = chance(w, 200) ? STWS_OFF : between(w, 300, 1500);
    o->connect_timeout_ms = 1500;
    o->handshake_timeout_ms = 1500;
    o->connected_timeout_ms = 1500;
    o->receipt_timeout_ms = 3000;
    o->close_timeout_ms = 700;
    o->write_timeout_ms = 2500;
    o->reconnect_min_ms = 50;
    o->reconnect_max_ms = 1500;
    o->stable_ms = 1000;
    o->max_session_ms = chance(w, 200) ? between(w, 2000, 8000) : 0;
    o->reconnect_jitter = chance(w, 300) ? 25 : 0;
}
static void user_make(struct user *u) {
    static char urls[BROKERS][32];
    struct world *w = u->w;
    stws_options *o = &u->options;
    int i;
    memset(o, 0, sizeof *o);
    user_plug(u);
    user_limits(u, o);
    user_times(o, w);
    for (i = 0; i < w->p.brokers; i++) {
        snprintf(urls[i], sizeof urls[i], "ws://b%d:80/stomp", i);
        u->urls[(i + u->number) % w->p.brokers] = urls[i];
    }
    u->urls[w->p.brokers] = NULL;
    o->urls = u->urls;
    o->versions = w->p.versions;
    o->confirm = w->p.confirm;
    u->threaded = w->p.interrupts && chance(w, 700);
    u->next_other = u->threaded ? w->now_us : NEVER;
    u->wake_fd = -1;
    o->single_thread = !u->threaded;
    if (chance(w, 300)) o->stable_id = "stable-id";
    if (chance(w, 200)) o->on_trace = on_trace;
    o->login = "user";
    o->passcode = SECRET;
    o->on_event = on_event;
    o->on_message = on_message;
    o->queue = u->queue;
    if (w->p.hooks) {
        o->before_connect = before_connect;
        o->before_subscribe = before_subscribe;
    }
    o->user = u;
    u->bound = stws_size(o) + 3 * (o->max_body + o->max_line + 2 * 65536);
    u->due_us = w->now_us;
    u->state_since = u->session_since = u->end_by = u->error_by = u->retry_at = NEVER;
    u->incarnation++;
    u->asked = u->stopped = u->ended = u->dead = u->result = u->in_transaction = 0;
    u->above = 0;
    u->state = STWS_IDLE;
    u->wants = u->late_end = u->final = u->hurried = u->starved = 0;
    u->receipt_count = u->sub_count = 0;
    w->interrupted++;
    u->client = stws_create(o);
    w->interrupted--;
    if (u->client) note(w, "user %d begins", u->number);
}
static void user_destroy(struct user *u) {
    stws *client = u->client;
    int i;
    for (i = 0; i < GRIPS; i++) {
        stws_message_free(u->grips[i].copy);
        u->grips[i].copy = NULL;
    }
    u->dead = 1;
    while (u->queue && !chance(u->w, 300) && stws_queue_pop(u->queue, &u->popped, 0) == 1) continue;
    u->client = NULL;
    u->ended = 0;
    u->next_other = NEVER;
    u->w->interrupted++;
    stws_destroy(client);
    u->w->interrupted--;
    if (u->conn) broken(u->w, "user %d: destroyed with its connection open", u->number);
    if (u->live_bytes || u->blocks)
        broken(u->w, "user %d: destroyed, but %d bytes are not released", u->number,
               (int)u->live_bytes);
    note(u->w, "user %d is destroyed", u->number);
    u->next_action = u->w->now_us + below(u->w, 500000);
    u->due_us = NEVER;
    u->wants = 0;
}
static void user_look(struct user *u) {
    stws_fd fds[3] = {{-1, 0}, {-1, 0}, {-1, 0}};
    long long wait;
    int n;
    if (!u->client || u->ended || u->busy) return;
    wait = stws_deadline(u->client);
    u->due_us = wait < 0 ? NEVER : u->w->now_us + wait * MS;
    n = stws_fds(u->client, fds, 3);
    u->wants = n > u->threaded ? fds[0].wants : 0;
    if (u->threaded && n) u->wake_fd = fds[n - 1].fd;
    if (u->due_us > u->w->now_us) check_marks(u);
    if (!is_connected(u) || (u->wants & STWS_WANT_READ)) return;
    u->held_at = u->w->now_us;
    happened(u->w, u->queue ? HEAR_HELD : HEAR_HELD_BY_ACK);
}
static int user_drive(struct user *u) {
    stws_event e;
    int result, i, wait;
    u->leaves = 0;
    if (u->style == 0) return stws_step(u->client);
    for (i = 0; i < 20; i++) {
        wait = may_wait(u) && chance(u->w, 200) ? below(u->w, 300) : 0;
        result = stws_next(u->client, &e, wait);
        if (result <= 0) return result;
        user_event(u, &e);
    }
    u->leaves = 1;
    return 0;
}
static void user_step(struct user *u) {
    int result;
    u->busy++;
    result = user_drive(u);
    u->busy--;
    if (result < 0) {
        u->ended = 1;
        u->result = result;
        note(u->w, "user %d has ended: %s", u->number, stws_result_name(result));
    }
    user_look(u);
    check_turn(u);
    if (!u->ended) return;
    check_ended(u);
    if (!u->w->is_broken && !u->in_use) user_destroy(u);
}

#endif
