/* How do several clients in threads of their own feed one queue that the main thread reads?

       notifications URL [-c clients] [-d destination]... [-n total] [--quiet]

   Every client subscribes to every destination, so what is published once arrives once per
   client. Without -n it runs until Ctrl-C; --quiet only counts. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLIENTS = 64, MAX_DESTINATIONS = 64 };

struct arguments {
    const char *url;
    const char *destinations[MAX_DESTINATIONS];
    int destination_count;
    int clients;
    long total; /* 0: no limit */
    int quiet;
};

/* What the signal handler has to reach. It is written before the handler is installed, and never
   after. */
static stws *clients[MAX_CLIENTS];
static int client_count;

static void stop_all(int signal_number) {
    (void)signal_number;
    for (int i = 0; i < client_count; i++) stws_stop(clients[i]);
}

static void explain(stws *client, const stws_event *event, void *user) {
    (void)user;
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s; trying again\n", stws_error_text(client));
}

static int usage(void) {
    fputs("usage: notifications URL [-c clients] [-d destination]... [-n total] [--quiet]\n",
          stderr);
    return 2;
}

/* A number from 1 to max, or 0 when the text is none. */
static long number(const char *text, long max) {
    char *end;
    long value = strtol(text, &end, 10);
    return *end == 0 && value >= 1 && value <= max ? value : 0;
}

/* One option and its value; 0 when it is none. */
static int take_option(struct arguments *a, const char *name, const char *value) {
    if (strcmp(name, "-c") == 0) return (a->clients = (int)number(value, MAX_CLIENTS)) != 0;
    if (strcmp(name, "-n") == 0) return (a->total = number(value, 1000000000)) != 0;
    if (strcmp(name, "-d") != 0 || a->destination_count == MAX_DESTINATIONS) return 0;
    a->destinations[a->destination_count++] = value;
    return 1;
}

static int take_arguments(struct arguments *a, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quiet") == 0)
            a->quiet = 1;
        else if (argv[i][0] != '-' && !a->url)
            a->url = argv[i];
        else if (i + 1 == argc || !take_option(a, argv[i], argv[i + 1]))
            return 0;
        else
            i++;
    }
    if (!a->clients) a->clients = 1;
    if (!a->destination_count) a->destinations[a->destination_count++] = "/topic/notifications";
    return a->url != NULL;
}

/* Make the clients, and only then let Ctrl-C reach them. */
static void make_clients(const struct arguments *a, stws_queue *queue) {
    stws_options options = stws_options_default();
    options.url = a->url;
    options.queue = queue;
    options.on_event = explain;
    for (int i = 0; i < a->clients; i++) {
        clients[i] = stws_create(&options);
        for (int k = 0; k < a->destination_count; k++)
            stws_subscribe(clients[i], a->destinations[k], NULL);
    }
    client_count = a->clients;
    signal(SIGINT, stop_all);
    signal(SIGTERM, stop_all);
}

/* The main thread's part: take messages until there are enough, or every client has ended;
   returns how many came. */
static long read_queue(const struct arguments *a, stws_queue *queue) {
    const stws_message *message = NULL; /* given back by the call that takes the next */
    long count = 0;
    while ((a->total == 0 || count < a->total) && stws_queue_pop(queue, &message, -1) > 0) {
        count++;
        if (a->quiet) continue;
        printf("%s: %s\n", message->destination ? message->destination : "", message->body);
        fflush(stdout);
    }
    return count;
}

/* Stop, join and destroy them all: 0, or the first error. */
static int end_clients(void) {
    int first_error = 0;
    stop_all(0);
    for (int i = 0; i < client_count; i++) {
        int result = stws_join(clients[i]);
        if (result < 0) fprintf(stderr, "client %d: %s\n", i, stws_error_text(clients[i]));
        if (result < 0 && first_error == 0) first_error = result;
    }
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    for (int i = 0; i < client_count; i++) stws_destroy(clients[i]);
    return first_error;
}

int main(int argc, char **argv) {
    struct arguments arguments = {0};
    if (!take_arguments(&arguments, argc, argv)) return usage();

    stws_queue *queue = stws_queue_create(1 << 20);
    if (!queue) return 1;
    make_clients(&arguments, queue);
    for (int i = 0; i < client_count; i++) stws_start(clients[i]);

    long count = read_queue(&arguments, queue);
    int result = end_clients();
    stws_queue_destroy(queue);
    fprintf(stderr, "%ld messages\n", count);
    return result < 0;
}
