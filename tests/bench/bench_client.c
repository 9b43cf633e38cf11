// How fast is the client, through its public API? One run of one kind, one line of JSON.
#define STOMP_WS_IMPLEMENTATION
#include "../../stomp_ws.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char usage_text[] = "usage: bench_client --url URL --mode burst|pingpong|sink --count N --size OCTETS\n";

enum { CONNECT_MS = 10000, SILENCE_MS = 30000 };

typedef struct bench {
    const char *url, *mode;
    long count, size;
    char *body;
    stws *client;
    long messages;       // on /topic/bench
    double began, ended; // seconds
    double p50_us, p99_us;
    size_t checksum; // of what was read, so that no reading is optimised away
} bench;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(const bench *b, const char *what) {
    fprintf(stderr, "bench_client: %s: %s\n", what, stws_error_text(b->client));
    return EXIT_FAILURE;
}

// The next MESSAGE: 1, or 0 when none comes any more.
static int next_message(bench *b, stws_event *e) {
    for (;;) {
        int result = stws_next(b->client, e, SILENCE_MS);
        if (result <= 0) return 0;
        if (e->type == STWS_EVENT_MESSAGE) return 1;
        if (e->type == STWS_EVENT_ERROR || e->type == STWS_EVENT_DISCONNECTED) return 0;
    }
}

static int is_end(const stws_message *m) { return m->destination && strcmp(m->destination, "/topic/end") == 0; }

// The server pushes to /topic/bench as soon as it sees the subscription, and then one message to /topic/end.
static int burst(bench *b) {
    stws_event e;
    stws_subscribe(b->client, "/topic/bench", NULL);
    while (next_message(b, &e)) {
        if (b->messages == 0) b->began = now();
        if (is_end(e.message)) {
            b->ended = now();
            return EXIT_SUCCESS;
        }
        b->messages++;
        b->checksum += e.message->body_len;
        if (e.message->message_id) b->checksum += (unsigned char)e.message->message_id[0];
    }
    return fail(b, "the burst did not end");
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int pingpong(bench *b) {
    double *times = (double *)malloc((size_t)b->count * sizeof *times);
    stws_event e;
    if (!times) abort();
    stws_subscribe(b->client, "/topic/echo", NULL);
    for (b->began = now(); b->messages < b->count; b->messages++) {
        double sent = now();
        if (stws_send(b->client, "/topic/echo", b->body, (size_t)b->size) < 0 || !next_message(b, &e)) break;
        times[b->messages] = now() - sent;
        b->checksum += e.message->body_len;
    }
    b->ended = now();
    if (b->messages == b->count) {
        qsort(times, (size_t)b->count, sizeof *times, by_size);
        b->p50_us = times[b->count / 2] * 1e6;
        b->p99_us = times[b->count * 99 / 100] * 1e6;
    }
    free(times);
    return b->messages == b->count ? EXIT_SUCCESS : fail(b, "an echo did not come");
}

// The server answers on /topic/end when it has taken them all.
static int sink(bench *b) {
    stws_event e;
    stws_subscribe(b->client, "/topic/end", NULL);
    for (b->began = now(); b->messages < b->count;) {
        int result = stws_send(b->client, "/topic/sink", b->body, (size_t)b->size);
        if (result == STWS_OK) b->messages++;
        if (result == STWS_ERR_FULL) result = stws_flush(b->client, SILENCE_MS);
        if (result < 0) return fail(b, "sending failed");
    }
    if (!next_message(b, &e)) return fail(b, "the server did not confirm the end");
    b->ended = now();
    return EXIT_SUCCESS;
}

static int run(bench *b) {
    stws_options o;
    int code;
    memset(&o, 0, sizeof o);
    o.url = b->url;
    o.single_thread = 1;
    o.reconnect = STWS_OFF;
    o.max_body = ((size_t)16 << 20) + (size_t)b->size;
    o.outbox_bytes = ((size_t)1 << 20) + 2 * (size_t)b->size;
    b->client = stws_create(&o);
    if (stws_connect(b->client, CONNECT_MS) != STWS_OK)
        code = fail(b, "no connection");
    else if (strcmp(b->mode, "burst") == 0)
        code = burst(b);
    else
        code = strcmp(b->mode, "sink") == 0 ? sink(b) : pingpong(b);
    stws_destroy(b->client);
    return code;
}

static int parse(bench *b, const char *name, const char *value) {
    if (strcmp(name, "--url") == 0) return b->url = value, 1;
    if (strcmp(name, "--mode") == 0) b->mode = value;
    if (strcmp(name, "--mode") == 0)
        return strcmp(value, "burst") == 0 || strcmp(value, "pingpong") == 0 || strcmp(value, "sink") == 0;
    if (strcmp(name, "--count") == 0) return (b->count = atol(value)) > 0;
    return strcmp(name, "--size") == 0 && (b->size = atol(value)) >= 0;
}

int main(int argc, char **argv) {
    bench b;
    int i, code;
    memset(&b, 0, sizeof b);
    b.mode = "burst";
    b.count = 100000;
    for (i = 1; i < argc; i += 2)
        if (i + 1 == argc || !parse(&b, argv[i], argv[i + 1])) return fputs(usage_text, stderr), 2;
    if (!b.url) return fputs(usage_text, stderr), 2;
    b.body = (char *)malloc((size_t)b.size + 1);
    if (!b.body) abort();
    memset(b.body, 'x', (size_t)b.size);
    code = run(&b);
    if (code == EXIT_SUCCESS)
        printf("{\"msgs\":%ld,\"secs\":%.6f,\"p50_us\":%.2f,\"p99_us\":%.2f}\n", b.messages, b.ended - b.began,
               b.p50_us, b.p99_us);
    free(b.body);
    return code;
}
