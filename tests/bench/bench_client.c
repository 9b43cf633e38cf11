// Measures the speed of the client through its public API. Each run has one mode and prints one
// line of JSON.
#define STOMP_WS_IMPLEMENTATION
#include "../../stomp_ws.h"
#include "bench.h"

enum { CONNECT_MS = 10000, SILENCE_MS = 30000 };

static int fail(const bench *b, stws *client, const char *what) {
    fprintf(stderr, "%s: %s: %s\n", b->program, what, stws_error_text(client));
    return EXIT_FAILURE;
}

// Reads the next MESSAGE. Returns 1, or 0 if the connection has ended.
static int next_message(stws *client, stws_event *e) {
    while (stws_next(client, e, SILENCE_MS) > 0) {
        if (e->type == STWS_EVENT_MESSAGE) return 1;
        if (e->type == STWS_EVENT_ERROR || e->type == STWS_EVENT_DISCONNECTED) return 0;
    }
    return 0;
}

static int is_end(const stws_message *m) {
    return m->destination && strcmp(m->destination, "/topic/end") == 0;
}

static void read_message(bench *b, const stws_message *m) {
    b->messages++;
    b->checksum += m->body_len;
    if (m->message_id) b->checksum += (unsigned char)m->message_id[0];
}

static int burst(bench *b, stws *client) {
    stws_event e;
    stws_subscribe(client, "/topic/bench", NULL);
    while (next_message(client, &e)) {
        if (b->messages == 0) b->began = bench_now();
        if (is_end(e.message)) {
            b->ended = bench_now();
            return EXIT_SUCCESS;
        }
        read_message(b, e.message);
    }
    return fail(b, client, "the burst did not end");
}

static int pingpong(bench *b, stws *client) {
    stws_event e;
    stws_subscribe(client, "/topic/echo", NULL);
    b->began = bench_now();
    while (b->messages < b->count) {
        double sent = bench_now();
        if (stws_send(client, "/topic/echo", b->body, (size_t)b->size) < 0 ||
            !next_message(client, &e))
            return fail(b, client, "an echo did not come");
        bench_note_trip(b, bench_now() - sent);
        read_message(b, e.message);
    }
    b->ended = bench_now();
    return EXIT_SUCCESS;
}

static int sink(bench *b, stws *client) {
    stws_event e;
    stws_subscribe(client, "/topic/end", NULL);
    b->began = bench_now();
    while (b->messages < b->count) {
        int result = stws_send(client, "/topic/sink", b->body, (size_t)b->size);
        if (result == STWS_OK) b->messages++;
        if (result == STWS_ERR_FULL) result = stws_flush(client, SILENCE_MS);
        if (result < 0) return fail(b, client, "sending failed");
    }
    if (!next_message(client, &e)) return fail(b, client, "the server did not confirm the end");
    b->ended = bench_now();
    return EXIT_SUCCESS;
}

static int run(bench *b) {
    stws_options o;
    stws *client;
    int code;
    memset(&o, 0, sizeof o);
    o.url = b->url;
    o.single_thread = 1;
    o.reconnect = STWS_OFF;
    o.max_body = ((size_t)16 << 20) + (size_t)b->size;
    // A publisher that is faster than the network fills its whole buffer, so the buffer's size
    // becomes memory in use. 64 KiB are enough. The default of 1 MiB would only cost memory.
    o.outbox_bytes = ((size_t)64 << 10) + 2 * (size_t)b->size;
    client = stws_create(&o);
    if (stws_connect(client, CONNECT_MS) != STWS_OK)
        code = fail(b, client, "no connection");
    else if (bench_is(b, "burst"))
        code = burst(b, client);
    else
        code = bench_is(b, "sink") ? sink(b, client) : pingpong(b, client);
    stws_destroy(client);
    return code;
}

int main(int argc, char **argv) {
    static bench b;
    int code;
    bench_begin(&b, argc, argv);
    code = run(&b);
    if (code == EXIT_SUCCESS) bench_report(&b);
    bench_end(&b);
    return code;
}
