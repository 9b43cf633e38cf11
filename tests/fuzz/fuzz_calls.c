/* Options and calls. The first bytes of an input choose all options. The rest is a list of records.
   A record is a public call with every kind of argument; calls are made between turns, in
   callbacks, and from other threads in the middle of another call. Other records are actions of the
   server, the network and the system. Time is simulated, and only one thread runs at a time, so an
   input always does the same.

   These statements must be true. An accepted message is written, or its failure is reported; with
   confirm the server has it. A message is delivered one time, and none is left out. A message is
   acknowledged if and only if the application received it and acknowledges it. If the client says
   that nothing is due, there is nothing to do. Only one thread drives. Every call returns. No byte
   beyond stws_size() is used.

   Inputs whose first byte has the bits 0xc0 set run with real threads and in real time. A build
   with ThreadSanitizer runs only these inputs.

   CALLS_WITHOUT=word,word switches off something that hides other failures: wild, stable_id, marks,
   renew, drop, transaction, connect, request, flush, flush_elsewhere, ack_on, disconnect, stop,
   end_inside, unsubscribe_inside, threads, trace, sizes, randomness. CALLS_VERBOSE=1 prints what
   happens. */
#include "tests/fuzz/calls_hooks.h"
#define STOMP_WS_IMPLEMENTATION
#include "tests/fault/scripted.h"

#include "tests/fuzz/fuzz.h"

#include "tests/fuzz/calls_fibers.h"

#include "tests/fuzz/calls_world.h"

#include "tests/fuzz/calls_options.h"

#include "tests/fuzz/calls_acts.h"

enum { MOST_RECORDS = 600, MOST_WAITS = 30, END_MS = 120000 };

/* ==== actions of the server, the network and the system ==== */

static void say_message(struct actor *a) {
    static const size_t pads[] = {0, 10, 60, 300, 1000, 5000, 30, 60000};
    struct world *w = a->w;
    int choice = act_byte(a), i, nth = choice & 7;
    world_enter(w);
    for (i = 0; i < SUBS && w->peer.is_open && w->peer.version; i++) {
        if (!w->subs[i].live || nth-- > 0) continue;
        if (strncmp(w->subs[i].destination, "/temp-queue/stws-", 17) == 0) continue;
        world_say_message(w, &w->subs[i], choice & 64 ? "x:y\nlong:header\\nvalue\n" : "",
                          pads[choice >> 3 & 7]);
        break;
    }
    world_ring(w);
    world_leave(w);
}

static void say_messages(struct actor *a) {
    struct world *w = a->w;
    int n = 2 + act_byte(a) % 6, i, live = 0;
    world_enter(w);
    for (i = 0; i < SUBS * n && w->peer.is_open && w->peer.version; i++) {
        struct broker_sub *s = &w->subs[i % SUBS];
        if (!s->live || strncmp(s->destination, "/temp-queue/stws-", 17) == 0) continue;
        world_say_message(w, s, "", (size_t)i);
        if (++live == n) break;
    }
    world_ring(w);
    world_leave(w);
}

/* Sends receipts that were held back, or receipts with unknown ids. */
static void say_receipt(struct actor *a) {
    struct world *w = a->w;
    int choice = act_byte(a), n = choice & 7;
    char id[24];
    world_enter(w);
    if (!w->peer.is_open || !w->peer.version) {
        world_leave(w);
        return;
    }
    if (choice >= 240) {
        snprintf(id, sizeof id, choice & 1 ? "receipt-%d" : "nobody-%d", 3900 + choice);
        world_say_receipt(w, id);
    }
    for (; n >= 0 && w->held_count && choice < 240; n--) {
        int k = choice & 8 ? w->held_count - 1 : 0;
        memcpy(id, w->held[k], sizeof id);
        w->held_count--;
        memmove(w->held[k], w->held[k + 1], (size_t)(w->held_count - k) * sizeof id);
        if (choice & 16 && choice & 32)
            w->refused[receipt_number(id)] = 1, peer_refuse(&w->peer, id);
        else
            world_say_receipt(w, id);
    }
    world_ring(w);
    world_leave(w);
}

static void say_frame(struct actor *a) {
    static const char *const frames[] = {
        "ERROR\nmessage:no\n\nwhat was that?",
        "MESSAGE\nsubscription:nobody\nmessage-id:1\ndestination:/x\n\nhello",
        "\n",
        "STRANGE\na:b\n\n",
        "MESSAGE\n\n",
        "RECEIPT\n\n",
        "CONNECTED\nversion:1.2\n\n",
        "ERROR\nreceipt-id:receipt-4001\n\n"};
    struct world *w = a->w;
    int choice = act_byte(a);
    world_enter(w);
    if (w->peer.is_open && w->peer.upgraded) {
        const char *frame = frames[choice & 7];
        size_t len = strlen(frame);
        peer_ws(&w->peer, choice & 32 ? STWS_WS_BINARY : STWS_WS_TEXT, 1, frame,
                *frame == '\n' ? 1 : len + 1);
        if (choice & 64) peer_ws(&w->peer, STWS_WS_PING, 1, "ping", 4);
    }
    world_ring(w);
    world_leave(w);
}

static void say_end(struct actor *a) {
    static const int ends[] = {STWS_ERR_EOF, STWS_ERR_IO, STWS_ERR_EOF, STWS_ERR_TLS};
    struct world *w = a->w;
    int choice = act_byte(a);
    world_enter(w);
    if (choice & 4 && w->peer.upgraded && w->peer.is_open)
        peer_close(&w->peer, 1000 + choice / 8, "the reason");
    w->peer.end_result = ends[choice & 3];
    if (w->peer.is_open) peer_end(&w->peer);
    world_ring(w);
    world_leave(w);
}

static void set_automatic(struct actor *a) {
    int choice = act_byte(a);
    world_enter(a->w);
    a->w->peer.automatic = choice & 64 ? AUTO_ALL & ~AUTO_RECEIPT : choice & AUTO_ALL;
    world_leave(a->w);
}

static void say_login(struct actor *a) {
    world_enter(a->w);
    if (a->w->logged_in && a->w->peer.version) peer_stomp(&a->w->peer, a->w->peer.connected);
    world_ring(a->w);
    world_leave(a->w);
}

static void set_answer(struct actor *a) {
    static const char *const answers[] = {PEER_ANSWER, PEER_ANSWER,
                                          "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\n\r\nlater",
                                          "HTTP/1.1 401 Unauthorized\r\n\r\n"};
    int choice = act_byte(a);
    world_enter(a->w);
    a->w->peer.answer = answers[choice & 3];
    a->w->peer.connected = choice & 64 ? "ERROR\nmessage:no\n\n" : calls_connected[choice >> 3 & 7];
    world_leave(a->w);
}

static void set_transport(struct actor *a) {
    static const int opens[] = {STWS_DONE, STWS_DONE, STWS_MORE, STWS_ERR_CONNECT};
    struct world *w = a->w;
    int choice = act_byte(a);
    world_enter(w);
    w->peer.open_result = opens[choice & 3];
    w->peer.write_blocked = choice >> 2 & 1;
    w->peer.piece = choice & 8 ? 15 + (size_t)(choice >> 6) * 20 : 0;
    w->peer.write_piece = choice & 16 ? 15 + (size_t)(choice >> 5) * 20 : 0;
    w->peer.write_error = (choice >> 5) == 7 ? STWS_ERR_IO : 0;
    world_leave(w);
}

static void set_faults(struct actor *a) {
    int choice = act_byte(a);
    world_enter(a->w);
    a->w->no_memory = choice & 3;
    if (!calls_without("randomness")) a->w->no_randomness = choice >> 2 & 7;
    world_leave(a->w);
}

static void set_heal(struct actor *a) {
    struct world *w = a->w;
    world_enter(w);
    w->peer.open_result = STWS_DONE;
    w->peer.write_blocked = w->peer.write_error = 0;
    w->peer.piece = w->peer.write_piece = 0;
    w->peer.automatic = AUTO_ALL;
    w->peer.answer = PEER_ANSWER;
    if (strncmp(w->peer.connected, "ERROR", 5) == 0) w->peer.connected = calls_connected[5];
    w->no_memory = w->no_randomness = 0;
    world_leave(w);
}

/* Lets time pass, even if the client has asked to be called earlier. */
static void oversleep(struct actor *a) {
    int choice = act_byte(a);
    if (!a->w->threaded) a->w->peer.now_us += choice * 20000LL;
}

/* ==== records ==== */

struct act {
    void (*run)(struct actor *a);
    int outside; /* not a call of the application, so it may happen while all threads wait */
};

static const struct act acts[] = {
    {act_step, 0},       {act_step, 0},        {act_pass, 0},       {act_pass, 0},
    {act_next, 0},       {act_run, 0},         {act_connect, 0},    {act_flush, 0},
    {act_request, 0},    {act_idle, 0},        {act_look, 0},       {act_subscribe, 0},
    {act_subscribe, 0},  {act_unsubscribe, 0}, {act_send, 0},       {act_send, 0},
    {act_send_plain, 0}, {act_send_text, 0},   {act_ack, 0},        {act_ack, 0},
    {act_copy, 0},       {act_transaction, 0}, {act_disconnect, 0}, {act_stop, 0},
    {act_reconnect, 0},  {act_pop, 0},         {act_pop, 0},        {act_close_queue, 0},
    {act_start, 0},      {act_join, 0},        {act_nothing, 0},    {act_fill, 0},
    {act_arm, 1},        {act_arm, 1},         {act_hook, 1},       {act_preempt, 1},
    {act_preempt, 1},    {act_yield, 0},       {say_message, 1},    {say_message, 1},
    {say_messages, 1},   {say_receipt, 1},     {say_receipt, 1},    {say_frame, 1},
    {say_end, 1},        {say_end, 1},         {set_automatic, 1},  {say_login, 1},
    {set_answer, 1},     {set_transport, 1},   {set_faults, 1},     {set_heal, 1},
    {oversleep, 1}};

enum { ACTS = sizeof acts / sizeof *acts };

static void act_record(struct actor *a) {
    int which;
    if (a->in->left == 0 || a->w->dry) return;
    which = act_byte(a) % ACTS;
    acts[which].run(a);
    if (a->w->watchful && !acts[which].outside) check_idle(a);
}

/* ==== all threads wait: the surroundings act, or time passes ==== */

static struct actor outside_actor;

static void *other_thread(void *argument) {
    struct actor *a = (struct actor *)argument;
    for (; a->left > 0; a->left--) act_record(a);
    if (a->popped && a->w->queue) { /* it still has a message from the queue, and gives it back */
        const struct delivery *d = &a->w->deliveries[0];
        int i = delivery_of(a->w, a->popped->body);
        (void)d;
        if (stws_queue_pop(a->w->queue, &a->popped, 0) != 0 || !a->popped) given_back(a->w, i);
        if (a->popped && delivery_of(a->w, a->popped->body) != i) handed(a->w, a->popped, 1);
        if (a->popped)
            a->w->actors[0].popped = a->w->actors[0].popped ? a->w->actors[0].popped : a->popped;
        a->popped = NULL;
    }
    a->doing = NULL;
    return NULL;
}

static int spawn_other(struct world *w, int records) {
    int number, i;
    if (w->o.single_thread || calls_without("threads")) return 0;
    for (i = 1; i < FIBERS; i++)
        if (i != w->runner) fiber_collect(i);
    number = fiber_spawn(other_thread, NULL);
    if (!number) return 0;
    fibers.all[number].argument = &w->actors[number];
    w->actors[number].left = records;
    w->actors[number].driving = w->actors[number].in_callback = 0;
    calls_verbose("thread %d comes", number);
    return 1;
}

static void intruder(void) {
    struct world *w = calls_world;
    if (w->in.left > 0 && !w->dry) spawn_other(w, 1 + (int)fuzz_below(&w->in, 2));
}

/* Requests the client's end from outside, as a signal handler or another thread would. */
static void end_from_outside(struct world *w) {
    calls_verbose("the end is requested");
    w->dry = 1;
    set_heal(&outside_actor);
    w->stopped = 1;
    stws_stop(w->peer.client);
    if (w->queue) stws_queue_close(w->queue);
    w->dry_us = w->peer.now_us;
}

static void environment(void) {
    struct world *w = calls_world;
    long long first = fiber_first_time();
    if (w->in.left > 0 && !w->dry) {
        int which = *w->in.data % ACTS;
        if (acts[which].outside) {
            outside_actor.w = w;
            act_byte(&outside_actor);
            acts[which].run(&outside_actor);
            if (acts[which].run == oversleep && w->peer.now_us > first) w->peer.now_us = first;
            return;
        }
        if (spawn_other(w, 1)) return;
    }
    if (!w->dry && ++w->waits > MOST_WAITS) {
        w->waits = 0;
        if (w->in.left > 0)
            act_byte(&outside_actor); /* a call waits without end: skip a byte of the input */
        else
            end_from_outside(w);
        return;
    }
    if (first != FIBER_NEVER) {
        HOLDS(!w->dry || first <= w->dry_us + END_MS * 1000LL, "a call does not return");
        if (first > w->peer.now_us) w->peer.now_us = first;
        return;
    }
    if (w->in.left > 0 && !w->dry) {
        act_byte(&outside_actor);
        return;
    }
    HOLDS(!w->dry, "calls wait for each other forever");
    end_from_outside(w);
}

/* ==== running an input ==== */

static void options_of(struct world *w) {
    unsigned a = fuzz_byte(&w->in), b = fuzz_byte(&w->in), which, value;
    stws_options *o = &w->o;
    *o = peer_options(&w->peer);
#ifdef CALLS_TSAN
    w->threaded = 1;
#else
    w->threaded = (a & 0xc0) == 0xc0;
#endif
    o->single_thread = !w->threaded && (a & 1);
    w->next_driven = a >> 1 & 1;
    if (a & 4) w->queue = stws_queue_create(a & 8 ? 2000 : 600);
    if (a & 16 && !calls_without("trace")) o->on_trace = on_trace;
    w->memory = a & 32 ? w : NULL; /* made in world_begin */
    set_sending(w, o, fuzz_byte(&w->in));
    value = fuzz_byte(&w->in);
    set_sizes(o, value, fuzz_byte(&w->in));
    value = fuzz_byte(&w->in);
    set_times(o, value, fuzz_byte(&w->in));
    w->peer.connected = calls_connected[b & 7];
    if (b & 8) o->before_connect = before_connect;
    if (b & 16) o->before_subscribe = before_subscribe;
    if (b & 32) o->versions = 4;
    o->broker = (b >> 6) == 3 ? STWS_BROKER_RABBITMQ : 0;
    set_strings(o, fuzz_byte(&w->in));
    which = fuzz_byte(&w->in);
    value = fuzz_byte(&w->in);
    if (b & 64) set_wild(w, o, which, value);
    if (!w->next_driven) o->on_event = on_event;
    if (!w->next_driven && !(b & 128)) o->on_message = on_message;
    o->queue = w->queue;
    o->user = w;
    o->allocator = &w->allocator;
    o->transport = &w->peer.transport;
    w->peer.transport.open = world_open;
    w->peer.transport.read = world_read;
    w->peer.transport.write = world_write;
    w->peer.transport.close = world_close;
    w->peer.transport.wants = world_wants;
    w->peer.clock.now_us = world_now;
    w->peer.random.fill = world_fill;
    w->peer.on_sent = world_on_sent;
}

/* Returns 1 if there is a client. It may be a client that only reports what is wrong with its
   options. */
static int client_begin(struct world *w) {
    const char *why = NULL;
    int result;
    if (!w->memory) {
        w->peer.client = stws_create(&w->o);
        return w->peer.client != NULL;
    }
    w->memory_size = stws_size(&w->o);
    w->memory = w->memory_size ? calls_malloc(w->memory_size) : NULL;
    if (w->memory) memset(w->memory, 0xcd, w->memory_size);
    result = stws_init(w->memory, w->memory_size, &w->o, &w->peer.client, &why);
    HOLDS(result == STWS_OK || (*why && !w->peer.client), "no sentence");
    if (result == STWS_OK && w->memory_size > 16) {
        stws *other = NULL;
        char *less = fuzz_room(w->memory_size - 1);
        HOLDS(stws_init(less, w->memory_size - 1, &w->o, &other, NULL) == STWS_ERR_MEMORY,
              "less memory than stws_size requires is accepted");
        free(less);
    }
    return result == STWS_OK;
}

static void world_begin(struct world *w, const unsigned char *data, size_t size) {
    int i;
    memset(w, 0, sizeof *w);
    calls_world = w;
    calls_tell = getenv("CALLS_VERBOSE") != NULL;
    if ((pthread_mutex_init)(&w->mutex, NULL) != 0) abort();
    peer_init(&w->peer);
    w->in.data = data;
    w->in.left = size;
    w->peer.extra = w;
    w->allocator.ctx = w;
    w->allocator.alloc = world_alloc;
    w->allocator.release = world_release;
    for (i = 0; i < ACTORS; i++) {
        w->actors[i].w = w;
        w->actors[i].in = &w->in;
        w->actors[i].number = i;
    }
    outside_actor = w->actors[0];
    fibers_reset();
    fibers.now_us = &w->peer.now_us;
    fibers.is_ready = world_is_ready;
    fibers.environment = environment;
    fibers.intruder = intruder;
}

/* Drives until the end, which must come in time. Without a requested end, drives until nothing is
   due. */
static void drive_on(struct world *w, long long ms, int to_the_end) {
    struct actor *a = &w->actors[0];
    long long until = w->peer.now_us + ms * 1000;
    int spins = 0;
    while (!w->ended && w->peer.now_us < until) {
        unsigned long moves = w->moves;
        long long due;
        if (drive_step(a) < 0) return;
        if (moves != w->moves) spins = 0;
        if (moves != w->moves || is_due(w)) {
            HOLDS(++spins < 3000, "the client runs in an endless loop");
            continue;
        }
        due = stws_deadline(w->peer.client);
        if (due < 0 || w->peer.now_us + due * 1000 > until) break;
        w->peer.now_us += due * 1000;
    }
    HOLDS(!to_the_end || w->ended, "the end does not come");
}

static void wait_for_others(struct world *w) {
    int i;
    for (i = 1; i < FIBERS; i++) {
        if (!fibers.all[i].used) continue;
        if (i == w->runner) continue;
        fibers.all[0].other = i;
        fiber_wait(WAIT_END, NULL, FIBER_NEVER);
        fiber_collect(i);
    }
}

static void drain_queue(struct world *w, struct actor *a) {
    int turns = 0, i, result = 1;
    while (w->queue && result > 0 && turns++ < DELIVERIES) {
        i = a->popped ? delivery_of(w, a->popped->body) : -1;
        result = stws_queue_pop(w->queue, &a->popped, 0);
        if (result != 0 || !a->popped) given_back(w, i);
        if (result == 1) handed(w, a->popped, 1), world_moved(w);
    }
}

/* Repairs the network and lets time pass. Then everything must arrive. */
static void settle(struct world *w) {
    unsigned long moves = w->moves + 1;
    int i;
    if (w->asked || w->stopped || w->ended || w->runner) return;
    set_heal(&w->actors[0]);
    if (w->peer.is_open && w->peer.version)
        while (w->held_count > 0) world_say_receipt(w, w->held[--w->held_count]);
    for (i = 0; i < DELIVERIES && !w->ended && moves != w->moves; i++) {
        moves = w->moves;
        drive_on(w, 20000, 0);
        drain_queue(w, &w->actors[0]); /* a full queue stops the client from reading */
    }
    if (!w->ended) drive_on(w, 20000, 0);
    if (w->ended || stws_state(w->peer.client) != STWS_CONNECTED || w->asked || w->stopped) return;
    if (w->peer.write_blocked || w->o.before_subscribe) return;
    check_none_missing(w, w->send_count, "at the end");
}

/* If the end was reported as a success, nothing may have been left, unless the time for it was
   over. */
static void check_end(struct world *w) {
    int i;
    HOLDS(!w->ended || w->next_driven || !stws_user(w->peer.client) || w->final_told == 1,
          "the end is not reported");
    if (!w->ended || w->end_result != STWS_CLOSED || !w->asked || w->ended_by_stop) return;
    if (w->ended_us + 5000 < w->asked_until_us)
        check_none_missing(w, w->send_count, "stws_disconnect ends successfully before its time");
    for (i = 0; i < NUMBERS; i++)
        HOLDS(!w->told[i] || w->taken[i] || i > 0, "a receipt that was not requested");
}

static void check_receipts(struct world *w) {
    int i;
    for (i = 0; i < w->send_count; i++) {
        const struct send_note *s = &w->sends[i];
        HOLDS(s->number <= 0 || s->number >= NUMBERS || w->told[s->number] || w->destroyed,
              "the end of receipt %d was never reported", s->number);
    }
}

static void world_finish(struct world *w) {
    int choice = w->send_count + w->delivery_count;
    struct actor *a = &w->actors[0];
    long long left;
    fibers.preempt = 0;
    w->dry = 1;
    w->dry_us = w->peer.now_us;
    if (!w->asked) w->asked_until_us = w->peer.now_us;
    if (w->runner || fibers_alive()) {
        end_from_outside(w);
        wait_for_others(w);
        act_join(a);
    }
    w->armed_left = w->hooks_left = 0;
    if (!w->ended) settle(w);
    if (w->queue && !w->ended) drain_queue(w, a);
    if (!w->ended && !w->asked && !w->stopped) {
        w->asked_until_us = w->peer.now_us + 2000000;
        w->asked = 1;
        if (choice % 2)
            w->stopped = 1, stws_stop(w->peer.client);
        else
            stws_disconnect(w->peer.client, 2000);
    }
    set_heal(a);
    left = (w->asked_until_us - w->peer.now_us) / 1000;
    if (!w->ended) drive_on(w, (left > 0 ? left : 0) + 4000, 1);
    check_end(w);
    check_receipts(w);
    drain_queue(w, a);
}

static void world_free(struct world *w) {
    struct actor *a = &w->actors[0];
    int i;
    for (i = 0; i < ACTORS; i++) stws_message_free(w->actors[i].copy);
    w->destroyed = 1;
    stws_destroy(w->peer.client);
    w->peer.client = NULL;
    drain_queue(w, a);
    check_handed(w);
    HOLDS(w->allocated == 0, "%d bytes are not released", (int)w->allocated);
    HOLDS(!w->peer.is_open, "the transport is left open");
    HOLDS(w->peer.busy == 0, "busy");
    peer_free(&w->peer);
    stws_queue_destroy(w->queue);
    free(w->memory);
    fibers.on = 0;
}

#include "tests/fuzz/calls_threads.h"

static void fuzz_one(const unsigned char *data, size_t size) {
    static struct world w;
    int records = 0;
    world_begin(&w, data, size);
    options_of(&w);
    fibers.on = !w.threaded;
    if (w.threaded) set_quick(&w.o);
    if (!client_begin(&w)) {
        peer_free(&w.peer);
        stws_queue_destroy(w.queue);
        free(w.memory);
        fibers.on = 0;
        return;
    }
    if (w.threaded) {
        run_threads(&w);
        return;
    }
    while (w.in.left > 0 && !w.dry && records++ < MOST_RECORDS) act_record(&w.actors[0]);
    world_finish(&w);
    world_free(&w);
}
