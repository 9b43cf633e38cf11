/* calls_acts.h - the calls. Each record of an input is one public call, with every kind of
   argument. */
#ifndef CALLS_ACTS_H
#define CALLS_ACTS_H

static const char *const destinations[] = {"/topic/a", "/queue/b", "/queue/c:\\d", "/temp-queue/e"};
static const char *const transactions[] = {NULL, "t1", "t2", "t1"};

/* Checks the result of a call: it is a success, or an error that has a name and a text. */
static int called(int result) {
    if (result < 0 && result != STWS_CLOSED) fuzz_check_error(result);
    return result;
}

static int act_byte(struct actor *a) {
    int byte;
    world_enter(a->w);
    byte = (int)fuzz_byte(a->in);
    a->w->waits = 0;
    world_leave(a->w);
    return byte;
}

static void act_record(struct actor *a);

/* ==== driving ==== */

static int may_drive(const struct actor *a) {
    const struct world *w = a->w;
    int i;
    if (w->threaded) return a->number == 1;
    if (w->runner || w->destroyed) return 0;
    if (w->o.single_thread && a->number != 0) return 0;
    for (i = 0; i < ACTORS; i++)
        if (&w->actors[i] != a && (w->actors[i].driving == 1 ||
                                   (w->actors[i].driving && calls_without("flush_elsewhere"))))
            return 0;
    return 1;
}

/* A driving call begins. It gives back the message that the last call returned. */
static void drive_begin(struct actor *a, const char *name) {
    struct world *w = a->w;
    world_enter(w);
    calls_verbose("%s", name);
    a->doing = name;
    if (!a->in_callback) {
        w->may_be_left = 0;
        a->driving = 1;
        a->drove = a->interrupted = 0;
        if (w->hand) given_back(w, w->hand_delivery);
        w->hand = NULL;
    }
    world_leave(w);
}

enum { ENDS_IT = 1, LEAVES_MORE = 2 };

static int drive_end(struct actor *a, int result, int how) {
    struct world *w = a->w;
    world_enter(w);
    calls_verbose("%s: %d", a->doing, result);
    if (!a->in_callback) a->driving = 0;
    a->doing = NULL;
    called(result);
    if (how == LEAVES_MORE) w->may_be_left = 1;
    if (how == ENDS_IT && !a->in_callback && result != STWS_ERR_STATE) {
        HOLDS(!w->ended || w->end_result == result, "two different results of the end: %d and %d",
              w->end_result, result);
        if (!w->ended) w->ended_us = w->peer.now_us, w->ended_by_stop = w->stopped;
        w->ended = 1;
        w->end_result = result;
    }
    world_leave(w);
    return result;
}

/* Records an event, which arrives in a callback or is returned. */
static void told(struct actor *a, const stws_event *e, int returned) {
    struct world *w = a->w;
    int i = -1;
    world_enter(w);
    calls_verbose("event %d result %d receipt %d %.60s", e->type, e->result, e->receipt, e->text);
    HOLDS(e->text != NULL, "an event without a text");
    if (e->type == STWS_EVENT_MESSAGE) i = handed(w, e->message, 0);
    if (e->type == STWS_EVENT_RECEIPT) on_receipt_event(w, e);
    if (e->type == STWS_EVENT_DISCONNECTED && e->result == STWS_ERR_LOST)
        expose_all(w); /* this event tells the user about it */
    if (e->type == STWS_EVENT_DISCONNECTED && e->retry_ms < 0)
        HOLDS(!w->final_told++, "the end is reported twice");
    if (e->type == STWS_EVENT_OUTBOX_HIGH || e->type == STWS_EVENT_OUTBOX_LOW)
        HOLDS(++w->marks < 6, "the outbox's marks are reported again and again");
    else
        world_moved(w);
    if (returned) w->may_be_left = 1;
    if (returned && e->message) w->hand = e->message, w->hand_delivery = i;
    world_leave(w);
}

/* Runs records of the input in a callback, if the input has requested that. */
static void act_in_callback(struct actor *a, int kind, const stws_message *m) {
    struct world *w = a->w;
    const stws_message *before = w->hand;
    int n;
    world_enter(w);
    n = (w->armed == kind || w->armed == 7) && w->armed_left > 0 ? w->armed_left : 0;
    if (n) w->armed_left = 0;
    world_inside(w);
    world_leave(w);
    if (n && m && !w->threaded) {
        w->hand = m;
        w->hand_delivery = -1;
    }
    a->in_callback++;
    for (; n > 0; n--) act_record(a);
    a->in_callback--;
    if (m && !w->threaded) w->hand = before;
    fiber_chance();
    world_enter(w);
    world_outside(w);
    world_leave(w);
}

static void on_event(stws *client, const stws_event *e, void *user) {
    struct world *w = (struct world *)user;
    struct actor *a = world_actor(w);
    int i;
    HOLDS(client == w->peer.client, "an event of another client");
    told(a, e, 0);
    act_in_callback(a, e->type == STWS_EVENT_MESSAGE ? 1 : 2, e->message);
    world_enter(w);
    i = e->type == STWS_EVENT_MESSAGE ? delivery_of(w, e->message->body) : -1;
    given_back(w, i);
    world_leave(w);
}

static void on_message(stws *client, const stws_message *m, void *user) {
    struct world *w = (struct world *)user;
    struct actor *a = world_actor(w);
    int i;
    HOLDS(client == w->peer.client, "a message of another client");
    world_enter(w);
    world_moved(w);
    i = handed(w, m, 0);
    calls_verbose("message m%d, ack_on %d", i, m->ack_on);
    world_leave(w);
    act_in_callback(a, 1, m);
    world_enter(w);
    HOLDS(m->body[m->body_len] == 0 && (i < 0 || delivery_of(w, m->body) == i),
          "a message changes while it is read");
    given_back(w, i);
    world_leave(w);
}

/* It reads all that it is given, and another thread may come between. */
static void on_trace(stws *client, stws_direction direction, const stws_frame *frame, void *user) {
    struct world *w = (struct world *)user;
    size_t i, len = 0;
    (void)client;
    if (direction == STWS_RECEIVED) fiber_chance();
    for (i = 0; i < frame->header_count; i++)
        len += strlen(frame->headers[i].name) + strlen(frame->headers[i].value);
    if (frame->body_len && memchr(frame->body, 1, frame->body_len)) len++;
    if (len + strlen(frame->command) == 1000000) world_moved(w);
}

static int hook_answer(struct world *w) {
    int answer = 0;
    world_enter(w);
    if (w->hooks_left > 0) w->hooks_left--, answer = w->hook_answer;
    world_leave(w);
    return w->threaded && answer > 5 ? 5 : answer;
}

static int before_connect(stws *client, stws_attempt *attempt, void *user) {
    static const char *const fresh[] = {"token", "fresh", NULL};
    struct world *w = (struct world *)user;
    (void)client;
    world_enter(w);
    world_moved(w);
    world_leave(w);
    attempt->connect_headers = fresh;
    act_in_callback(world_actor(w), 3, NULL);
    return hook_answer(w);
}

static int before_subscribe(stws *client, stws_subscribing *asked, void *user) {
    static const char *const fresh[] = {"selector", "a > 1", NULL};
    struct world *w = (struct world *)user;
    (void)client;
    world_enter(w);
    fibers.idle = 0;
    if (w->hook_answer & 1) asked->headers = fresh;
    world_leave(w);
    act_in_callback(world_actor(w), 4, NULL);
    return hook_answer(w);
}

static int drive_step(struct actor *a) {
    struct world *w = a->w;
    stws_event e = {0};
    int result;
    if (w->next_driven) {
        drive_begin(a, "stws_next");
        result = stws_next(w->peer.client, &e, 0);
        if (result == 1) told(a, &e, 1);
    } else {
        drive_begin(a, "stws_step");
        result = stws_step(w->peer.client);
    }
    return drive_end(a, result, result < 0);
}

/* Returns whether a descriptor that the client waits for is ready, or its deadline has come. No
   other thread runs meanwhile, because only the driving thread asks for these. */
static int is_due(struct world *w) {
    stws_fd fds[3];
    int n, i, preempt = fibers.preempt, due;
    fibers.preempt = 0;
    n = stws_fds(w->peer.client, fds, 3);
    due = stws_deadline(w->peer.client) == 0;
    fibers.preempt = preempt;
    if (due) return 1;
    for (i = 0; i < n; i++) {
        struct pollfd fd = {fds[i].fd, 0, 0};
        if (fds[i].wants & STWS_WANT_READ) fd.events |= POLLIN;
        if (fds[i].wants & STWS_WANT_WRITE) fd.events |= POLLOUT;
        if (fiber_fd_ready(&fd)) return 1;
    }
    return 0;
}

static long long next_due(struct world *w) {
    int preempt = fibers.preempt;
    long long due;
    fibers.preempt = 0;
    due = stws_deadline(w->peer.client);
    fibers.preempt = preempt;
    return due;
}

/* Checks that there is nothing to do if the client says that nothing is due. */
static void check_idle(struct actor *a) {
    struct world *w = a->w;
    unsigned long moves, changes;
    stws_connection_state state;
    if (w->threaded || a->in_callback || w->ended || !may_drive(a) || fibers_alive()) return;
    if (w->may_be_left && calls_without("left")) return;
    if (is_due(w)) return;
    moves = w->moves;
    changes = fibers.changes;
    state = stws_state(w->peer.client);
    drive_step(a);
    if (changes != fibers.changes) return;
    HOLDS(moves == w->moves && state == stws_state(w->peer.client),
          "stws_deadline and stws_fds report that nothing is due, but there was something to do");
    if (w->o.before_subscribe) return; /* ACKs wait, too, while the hook says "not yet" */
    if (stws_state(w->peer.client) == STWS_CONNECTED) check_acked(w, NULL, "nothing is due");
}

static void act_step(struct actor *a) {
    int n = 1 + act_byte(a) % 4;
    while (n-- > 0 && may_drive(a) && !a->in_callback && !a->w->ended) drive_step(a);
}

static int act_timeout(struct actor *a) {
    static const int times[] = {0, 10, 1000, 5000};
    return a->w->threaded ? times[act_byte(a) % 2] : times[act_byte(a) % 4];
}

static void act_next(struct actor *a) {
    struct world *w = a->w;
    stws_event e = {0};
    int ms = act_timeout(a), result;
    if (!may_drive(a)) return;
    drive_begin(a, "stws_next");
    result = stws_next(w->peer.client, &e, ms);
    HOLDS(result <= 0 || !a->in_callback, "stws_next drives in a callback");
    if (result == 1) told(a, &e, 1);
    drive_end(a, result, result < 0);
}

static void act_run(struct actor *a) {
    struct world *w = a->w;
    int result;
    if (!may_drive(a) || (w->next_driven && !w->ended)) return;
    drive_begin(a, "stws_run");
    result = stws_run(w->peer.client);
    drive_end(a, result == 0 ? (int)STWS_CLOSED : result, ENDS_IT);
}

static void act_connect(struct actor *a) {
    struct world *w = a->w;
    int ms = act_timeout(a), result;
    if (!may_drive(a) || (w->next_driven && calls_without("connect"))) return;
    drive_begin(a, "stws_connect");
    result = stws_connect(w->peer.client, ms);
    drive_end(a, result, LEAVES_MORE);
}

static void act_flush(struct actor *a) {
    struct world *w = a->w;
    int ms = act_timeout(a), before, result;
    if (w->o.single_thread && a->number != 0) return;
    if (calls_without("flush") || (calls_without("flush_elsewhere") && !may_drive(a))) return;
    if (calls_without("flush_elsewhere") && w->next_driven && fibers_alive()) return;
    world_enter(w);
    before = w->send_count;
    calls_verbose("stws_flush(%d)", ms);
    a->doing = "stws_flush";
    a->driving = a->driving ? a->driving : 2;
    a->drove = a->driving == 2 ? 0 : a->drove;
    if (a->driving == 2) a->interrupted = 0;
    world_leave(w);
    result = called(stws_flush(w->peer.client, ms));
    world_enter(w);
    calls_verbose("stws_flush: %d", result);
    if (a->driving == 2) a->driving = 0;
    a->doing = NULL;
    w->may_be_left = 1;
    if (result == STWS_OK && !w->threaded) check_none_missing(w, before, "stws_flush is done");
    world_leave(w);
}

static void act_request(struct actor *a) {
    struct world *w = a->w;
    stws_outgoing out = {0};
    stws_message *reply = NULL;
    int ms = act_timeout(a), choice = act_byte(a), result;
    if (!may_drive(a) || (w->next_driven && calls_without("request"))) return;
    out.destination = destinations[choice & 3];
    out.body = "what?";
    out.body_len = 5;
    drive_begin(a, "stws_request");
    result = stws_request(w->peer.client, choice == 255 ? NULL : &out, &reply, ms);
    drive_end(a, result, LEAVES_MORE);
    HOLDS(result != STWS_OK || (reply && strcmp(reply->body, "reply") == 0), "no reply");
    stws_message_free(reply);
}

static void act_idle(struct actor *a) {
    check_idle(a);
}

/* Lets time pass, and drives the client whenever it asks for that. */
static void act_pass(struct actor *a) {
    struct world *w = a->w;
    int choice = act_byte(a), turns = 0;
    long long ms = choice < 128 ? choice : (choice - 127) * 100LL, end;
    if (a->in_callback) return;
    if (w->threaded) {
        (poll)(NULL, 0, choice % 3);
        return;
    }
    if (!may_drive(a) || w->ended) {
        calls_poll(NULL, 0, (int)ms);
        return;
    }
    end = w->peer.now_us + ms * 1000;
    while (!w->ended && may_drive(a) && turns++ < 400) {
        long long due;
        unsigned long moves = w->moves;
        if (drive_step(a) < 0) return;
        if (moves != w->moves || is_due(w)) {
            if (moves == w->moves && turns > 300)
                calls_broken("the client runs in an endless loop");
            continue;
        }
        if (w->peer.now_us >= end) return;
        due = next_due(w);
        if (due < 0 || w->peer.now_us + due * 1000 > end) {
            calls_poll(NULL, 0, (int)((end - w->peer.now_us + 999) / 1000));
            end = w->peer.now_us;
        } else {
            calls_poll(NULL, 0, (int)due);
        }
    }
}

static void act_look(struct actor *a) {
    struct world *w = a->w;
    stws *c = w->peer.client;
    stws_statistics stats;
    stws_stats(c, &stats);
    HOLDS(stws_state(c) >= STWS_IDLE && stws_state(c) <= STWS_ENDED, "an unknown state");
    HOLDS(*stws_state_name(stws_state(c)) && stws_error(c) <= 0, "an error over 0");
    HOLDS(stws_http_status(c) >= 0 && stws_close_code(c) >= 0, "a negative status");
    HOLDS(stws_version(c) >= 0 && stws_broker(c) >= 0, "no version");
    HOLDS(*stws_result_name(stws_error(c)) && *stws_result_text(stws_error(c)), "no name");
    HOLDS(stws_user(c) == w || stws_user(c) == NULL, "another user");
    if (!may_drive(a) || a->in_callback) return;
    HOLDS(stws_error_text(c) != NULL, "no text");
    if (!w->threaded) HOLDS(next_due(w) >= -1, "no deadline");
}

/* ==== sending and subscribing ==== */

static void act_subscribe(struct actor *a) {
    static const stws_ack_mode acks[] = {STWS_ACK_DEFAULT, STWS_ACK_CLIENT,
                                         STWS_ACK_CLIENT_INDIVIDUAL, STWS_ACK_AUTO};
    static const char *const headers[] = {"selector", "a = 'b:c'", "x", "y", NULL};
    static const char *const ids[] = {NULL, "own", "sub-3", NULL};
    struct world *w = a->w;
    stws_subscribe_options o = {0};
    int choice = act_byte(a), more = act_byte(a), handle;
    o.ack = acks[choice & 3];
    o.ack_on = (stws_ack_on)((choice >> 2 & 3) % 3);
    if (calls_without("ack_on")) o.ack_on = STWS_ACK_BY_CALL;
    o.receipt = choice >> 4 & 1;
    o.headers = choice & 32 ? headers : NULL;
    o.id = ids[choice >> 6];
    o.prefetch = more & 1 ? 2 : 0;
    o.durable = more & 2 ? "durable" : NULL;
    if (more & 4 && !w->next_driven) o.on_message = on_message, o.user = w;
    calls_verbose("subscribe");
    handle = called(stws_subscribe(w->peer.client, more == 255 ? NULL : destinations[more >> 3 & 3],
                                   more & 32 ? NULL : &o));
    calls_verbose("subscribe: %d", handle);
    world_enter(w);
    if (handle > 0) w->handles[w->handle_count++ % SUBS] = handle;
    world_leave(w);
}

static void act_unsubscribe(struct actor *a) {
    struct world *w = a->w;
    int choice = act_byte(a), handle;
    world_enter(w);
    handle = choice < 200 ? w->handles[choice % SUBS] : choice - 210;
    if (choice >= 128 && choice < 200 && w->handle_count)
        handle = w->handles[(w->handle_count - 1) % SUBS];
    world_leave(w);
    if (a->in_callback && calls_without("unsubscribe_inside")) return;
    calls_verbose("unsubscribe %d: %d", handle, called(stws_unsubscribe(w->peer.client, handle)));
}

/* Begins a new send. Returns its number, or SENDS if there are too many. */
static int send_begin(struct world *w, int transacted) {
    int i;
    world_enter(w);
    i = w->send_count;
    if (i < SENDS) {
        memset(&w->sends[i], 0, sizeof w->sends[i]);
        w->sends[i].result = CALLING;
        w->sends[i].confirm = w->o.confirm;
        w->sends[i].transacted = transacted;
        w->send_count++;
    }
    world_leave(w);
    return i;
}

static void send_end(struct world *w, int i, int result, int receipt) {
    struct send_note *s = &w->sends[i];
    called(result);
    world_enter(w);
    calls_verbose("send %d: %d", i, result);
    HOLDS(result < 0 || receipt || result == 0, "a send without a receipt returns %d", result);
    HOLDS(result < 1 || result >= NUMBERS || !w->taken[result], "receipt %d is given twice",
          result);
    HOLDS(result >= 0 || s->written == 0, "send %d was written, although it was refused (%d)", i,
          result);
    if (result > 0 && result < NUMBERS) w->taken[result] = 1;
    s->result = result;
    s->number = result > 0 ? result : 0;
    world_leave(w);
}

/* Sends, and checks STWS_FULL_DROP_OLDEST: if messages were dropped, the new message must be
   accepted. */
static void send_checked(struct world *w, const stws_outgoing *out, int i, int receipt) {
    stws_statistics before, after;
    unsigned long changes = fibers.changes;
    int result;
    stws_stats(w->peer.client, &before);
    result = stws_send_ex(w->peer.client, out);
    if (i < SENDS) send_end(w, i, result, receipt);
    if (w->o.outbox_policy != STWS_FULL_DROP_OLDEST || w->threaded || changes != fibers.changes)
        return;
    stws_stats(w->peer.client, &after);
    HOLDS(result != STWS_ERR_FULL || before.dropped == after.dropped,
          "a message was dropped, but the new message is refused");
}

static void act_send(struct actor *a) {
    static const size_t sizes[] = {0, 0, 40, 200, 700, 3000, 20000, 90000};
    static const char *const types[] = {NULL, "text/plain"};
    struct world *w = a->w;
    const char *headers[7] = {NULL};
    char *note = fuzz_room(16), body[16];
    stws_outgoing out = {0};
    int choice = act_byte(a), more = act_byte(a), i, n = 0;
    char *own;
    size_t len;
    out.destination = destinations[choice & 1];
    out.receipt = choice >> 1 & 1;
    if (choice >> 2 & 1)
        out.content_length = STWS_CONTENT_LENGTH_OMIT;
    else if (more == 17)
        out.content_length = STWS_CONTENT_LENGTH_JMS_TEXT;
    out.transaction = calls_without("transaction") ? NULL : transactions[choice >> 3 & 3];
    out.content_type = types[choice >> 5 & 1];
    i = send_begin(w, out.transaction != NULL);
    snprintf(note, 16, "%d", i);
    snprintf(body, sizeof body, "s%d ", i);
    if (choice & 64) headers[n++] = "u", headers[n++] = note;
    if (choice & 128) headers[n++] = "x", headers[n++] = "a longer value, which takes some room";
    if (more == 18) headers[n++] = "a:b", headers[n++] = "c\nd";
    if (more == 19) headers[n++] = "lonely";
    if (i < SENDS) w->sends[i].odd = more == 18 || more == 19;
    if (n) out.headers = headers;
    len = sizes[more & 7] + (size_t)(more >> 3);
    if (len < strlen(body)) len = strlen(body);
    /* The body is in a block of its own. A sanitizer finds code that reads it after the call. */
    own = fuzz_room(len);
    memset(own, more & 1 ? 'y' : 'z', len);
    memcpy(own, body, strlen(body));
    if (more == 33 && len > 10) own[10] = (char)0xff;
    out.body = own;
    out.body_len = len;
    if (choice & 64 && more == 0) out.body = NULL, out.body_len = 0;
    calls_verbose("send %d of %d, receipt %d, %s", i, (int)len, out.receipt,
                  out.transaction ? out.transaction : "-");
    send_checked(w, &out, i, out.receipt);
    free(own);
    free(note);
}

static void act_send_plain(struct actor *a) {
    struct world *w = a->w;
    int n = 1 + act_byte(a) % 24, i, result = 0;
    size_t pad = (size_t)(act_byte(a) * 4);
    char *body = fuzz_room(pad + 16); /* one buffer for all, because the client may remember the
                                         head of the last message */
    while (n-- > 0 && result >= 0) {
        i = send_begin(w, 0);
        if (i >= SENDS) break;
        memset(body, 'p', pad + 16);
        snprintf(body, 16, "s%d ", i);
        body[strlen(body)] = 'p';
        result = stws_send(w->peer.client, destinations[0], body, 6 + pad);
        send_end(w, i, result, 0);
    }
    free(body);
}

static void act_send_text(struct actor *a) {
    struct world *w = a->w;
    char text[24];
    int i = send_begin(w, 0);
    if (i >= SENDS) return;
    snprintf(text, sizeof text, "s%d text", i);
    send_end(w, i, stws_send_text(w->peer.client, destinations[1], text), 0);
}

/* Returns the current message, the message from the queue, or a copy of an earlier one. */
static void act_ack(struct actor *a) {
    struct world *w = a->w;
    int choice = act_byte(a), i, result;
    const char *transaction = choice & 4 ? transactions[choice >> 4 & 3] : NULL;
    const stws_message *m = choice & 2 && a->copy ? a->copy : a->popped ? a->popped : a->copy;
    if (!w->threaded && !(choice & 2) && !a->popped && w->hand && (a->in_callback || may_drive(a)))
        m = w->hand;
    if (!m) return;
    world_enter(w);
    i = delivery_of(w, m->body);
    if (i >= 0) w->deliveries[i].user_acks++;
    world_leave(w);
    result = choice & 1    ? stws_nack_in(w->peer.client, m, transaction)
             : transaction ? stws_ack_in(w->peer.client, m, transaction)
                           : stws_ack(w->peer.client, m);
    called(result);
    calls_verbose("ack of m%d: %d", i, result);
    world_enter(w);
    if (i >= 0 && result < 0) w->deliveries[i].user_acks--;
    world_leave(w);
}

static void act_copy(struct actor *a) {
    struct world *w = a->w;
    const stws_message *m = a->popped;
    if (!w->threaded && !m && w->hand && (a->in_callback || may_drive(a))) m = w->hand;
    if (!m || m->client == NULL) return;
    stws_message_free(a->copy);
    a->copy = stws_message_copy(m);
    if (a->copy && a->copy->frame.header_count)
        HOLDS(stws_header_get(a->copy, a->copy->frame.headers[0].name) != NULL, "no header");
}

static void act_transaction(struct actor *a) {
    stws *c = a->w->peer.client;
    int choice = act_byte(a);
    const char *name = transactions[choice & 3];
    if (calls_without("transaction")) return;
    calls_verbose("transaction %d %s", choice >> 2 & 3, name ? name : "-");
    switch (choice >> 2 & 3) {
        case 0:
        case 3: called(stws_begin(c, name)); break;
        case 1: called(stws_commit(c, name)); break;
        default: called(stws_abort(c, name)); break;
    }
}

/* Calls stws_close, then takes all events that remain until the end with stws_next. */
static void act_close(struct actor *a, int ms) {
    struct world *w = a->w;
    stws_event e;
    int result;
    drive_begin(a, "stws_close");
    result = stws_close(w->peer.client, ms);
    while (stws_state(w->peer.client) == STWS_ENDED && stws_next(w->peer.client, &e, 0) == 1)
        told(a, &e, 1);
    drive_end(a, result == 0 ? (int)STWS_CLOSED : result, ENDS_IT);
}

static void act_disconnect(struct actor *a) {
    static const int times[] = {0, 10, 1000, 5000};
    struct world *w = a->w;
    int choice = act_byte(a), ms = times[choice % (w->threaded ? 2 : 4)];
    if (calls_without("disconnect")) return;
    if (a->in_callback && calls_without("end_inside")) return;
    world_enter(w);
    if (!w->asked) {
        w->asked_until_us = w->peer.now_us + (ms ? ms : 2000) * 1000LL;
        w->asked = 1;
    }
    calls_verbose("disconnect(%d)", ms ? ms : -1);
    world_leave(w);
    if (choice >= 200 && may_drive(a))
        act_close(a, ms ? ms : -1);
    else
        called(stws_disconnect(w->peer.client, ms ? ms : -1));
}

static void act_stop(struct actor *a) {
    if (calls_without("stop") || (a->in_callback && calls_without("end_inside"))) return;
    world_enter(a->w);
    a->w->stopped = 1;
    world_leave(a->w);
    calls_verbose("stop");
    stws_stop(a->w->peer.client);
}

static void act_reconnect(struct actor *a) {
    if (calls_without("renew")) return;
    calls_verbose("reconnect_now");
    called(stws_reconnect_now(a->w->peer.client));
}

static void act_pop(struct actor *a) {
    struct world *w = a->w;
    const stws_message *before = a->popped;
    int ms = act_timeout(a), result, i;
    if (!w->queue || a->in_callback) return;
    if (w->o.single_thread && a->number != 0) return;
    world_enter(w);
    i = before ? delivery_of(w, before->body) : -1;
    a->doing = "stws_queue_pop";
    world_leave(w);
    result = called(stws_queue_pop(w->queue, &a->popped, ms));
    calls_verbose("pop: %d", result);
    world_enter(w);
    a->doing = NULL;
    if (result != 0 || a->popped == NULL) given_back(w, i);
    if (result == 1) handed(w, a->popped, 1);
    world_leave(w);
}

static void act_close_queue(struct actor *a) {
    if (!a->w->queue || act_byte(a) % 4) return;
    stws_queue_close(a->w->queue);
}

static void act_start(struct actor *a) {
    struct world *w = a->w;
    int result, i;
    if (w->threaded || a->in_callback || !may_drive(a) || w->next_driven || a->number != 0) return;
    for (i = 0; i < ACTORS; i++)
        if (w->actors[i].driving) return;
    if (w->hand) given_back(w, w->hand_delivery);
    w->hand = NULL;
    w->runner = 1;
    calls_verbose("start");
    result = called(stws_start(w->peer.client));
    if (result != STWS_OK) {
        w->runner = 0;
        return;
    }
    w->actors[fibers.created].driving = 1;
    w->actors[fibers.created].drove = w->actors[fibers.created].interrupted = 0;
    w->actors[fibers.created].doing = "stws_start's thread";
    w->runner = fibers.created;
}

static void act_join(struct actor *a) {
    struct world *w = a->w;
    int result;
    if (a->number != 0 || a->in_callback || w->threaded || !w->runner) return;
    a->doing = "stws_join";
    result = called(stws_join(w->peer.client));
    a->doing = NULL;
    w->actors[w->runner].driving = 0;
    w->actors[w->runner].doing = NULL;
    w->runner = 0;
    w->ended_us = w->peer.now_us;
    w->ended_by_stop = w->stopped;
    w->ended = 1;
    w->end_result = result == 0 ? (int)STWS_CLOSED : result;
}

/* Calls functions with missing arguments, or without a client. */
static void act_nothing(struct actor *a) {
    stws *c = a->w->peer.client;
    stws_statistics stats;
    stws_event e;
    switch (act_byte(a) % 16) {
        case 0: HOLDS(stws_subscribe(NULL, "/a", NULL) < 0, "no client"); break;
        case 1: HOLDS(stws_send(c, NULL, "x", 1) < 0, "no destination"); break;
        case 2: HOLDS(stws_send_ex(c, NULL) < 0 && stws_send_ex(NULL, NULL) < 0, "none"); break;
        case 3: HOLDS(stws_send(c, "/a", NULL, 5) < 0, "no body"); break;
        case 4: HOLDS(stws_ack(c, NULL) < 0 && stws_nack(NULL, NULL) < 0, "no message"); break;
        case 5: HOLDS(stws_begin(c, NULL) < 0 && stws_commit(c, "") < 0, "no name"); break;
        case 6: HOLDS(stws_disconnect(NULL, 0) < 0 && stws_reconnect_now(NULL) < 0, "none"); break;
        case 7: HOLDS(stws_flush(NULL, 0) < 0 && stws_run(NULL) < 0, "no client"); break;
        case 8: HOLDS(stws_next(NULL, &e, 0) < 0 && stws_step(NULL) < 0, "no client"); break;
        case 9: HOLDS(stws_start(NULL) < 0 && stws_join(NULL) < 0, "no client"); break;
        case 10: HOLDS(stws_fds(NULL, NULL, 0) == 0 && stws_connect(NULL, 0) < 0, "none"); break;
        case 11: stws_stats(NULL, &stats), stws_stop(NULL), stws_destroy(NULL); break;
        case 12: stws_message_free(NULL), stws_queue_close(NULL), stws_queue_destroy(NULL); break;
        case 13: HOLDS(stws_state(NULL) == STWS_ENDED && stws_error(NULL) < 0, "a state"); break;
        case 14: HOLDS(*stws_error_text(NULL) && stws_user(NULL) == NULL, "no text"); break;
        default: HOLDS(stws_unsubscribe(c, 0) < 0 && stws_unsubscribe(c, -5) < 0, "none"); break;
    }
}

/* Sends until no more is accepted, each message shorter than the last. Then all of the memory is in
   use. */
static int fill_with(struct actor *a, size_t len) {
    struct world *w = a->w;
    char body[3001];
    int result, n = send_begin(w, 0);
    if (n >= SENDS) return STWS_CLOSED;
    memset(body, 'f', sizeof body);
    snprintf(body, 16, "s%d ", n);
    body[strlen(body)] = 'f';
    result = stws_send(w->peer.client, "/f", body, len);
    send_end(w, n, result, 0);
    return result;
}

static void act_fill(struct actor *a) {
    struct world *w = a->w;
    size_t len = 3000, unused = 0, i;
    int result = 0;
    for (; len >= 8; len = len > 16 ? len * 2 / 3 : len - 8)
        while ((result = fill_with(a, len)) == 0) continue;
    if (result != STWS_ERR_FULL || !w->memory || w->o.outbox_count || w->o.outbox_policy ||
        w->moves || w->threaded || w->wild)
        return;
    for (i = 0; i < 512 && i < w->memory_size; i++)
        unused += ((unsigned char *)w->memory)[w->memory_size - 1 - i] == 0xcd;
    HOLDS(unused < 500, "the outbox is full, but the end of the memory is unused");
}

/* ==== preparing callbacks and thread switches ==== */

static void act_arm(struct actor *a) {
    int choice = act_byte(a);
    static const int kinds[] = {1, 2, 7, 1, 3, 4, 7, 1};
    world_enter(a->w);
    a->w->armed = kinds[choice & 7];
    a->w->armed_left = 1 + (choice >> 3) % 3;
    world_leave(a->w);
}

static void act_hook(struct actor *a) {
    static const int answers[] = {1, 50, 2000, -1};
    int choice = act_byte(a);
    world_enter(a->w);
    a->w->hook_answer = choice >= 240 ? -1 : answers[choice % 3];
    a->w->hooks_left = 1 + (choice >> 4 & 3);
    world_leave(a->w);
}

static void act_preempt(struct actor *a) {
    int choice = act_byte(a);
    if (!a->w->o.single_thread && !a->w->threaded && !calls_without("threads"))
        fibers.preempt = 1 + choice % 64;
}

/* Switches to another thread. */
static void act_yield(struct actor *a) {
    if (a->w->o.single_thread || a->w->threaded) return;
    fibers.preempt = 1;
    fiber_chance();
}

#endif
