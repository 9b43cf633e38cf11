/* How do several clients, each in its own thread, feed one queue that the main thread reads?

       notifications URL [-c CLIENTS] [-d DESTINATION]... [-n TOTAL] [--quiet]

   Each client subscribes to each destination, so a published message arrives once per client. The
   program prints the messages, or with --quiet only counts them. It ends after TOTAL messages, or
   at Ctrl-C. Then it stops, joins and destroys each client. Its exit status is 0 if no client
   failed. */
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

/* The signal handler uses these. They do not change while it is installed. */
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
    fputs("usage: notifications URL [-c CLIENTS] [-d DESTINATION]... [-n TOTAL] [--quiet]\n",
          stderr);
    return 2;
}

/* Returns the text as a number from 1 to max, or 0 if it is not such a number. */
static long number(const char *text, long max) {
    char *end;
    long value = strtol(text, &end, 10);
    return *end == 0 && value >= 1 && value <= max ? value : 0;
}

/* Stores the value of an option. Returns 0 if the option or its value is not valid. */
static int take_option(struct arguments *arguments, const char *name, const char *value) {
    if (strcmp(name, "-c") == 0) return (arguments->clients = (int)number(value, MAX_CLIENTS)) != 0;
    if (strcmp(name, "-n") == 0) return (arguments->total = number(value, 1000000000)) != 0;
    if (strcmp(name, "-d") != 0 || arguments->destination_count == MAX_DESTINATIONS) return 0;
    arguments->destinations[arguments->destination_count++] = value;
    return 1;
}

/* Returns 0 if the arguments are not valid. */
static int take_arguments(struct arguments *arguments, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quiet") == 0)
            arguments->quiet = 1;
        else if (argv[i][0] != '-' && !arguments->url)
            arguments->url = argv[i];
        else if (i + 1 == argc || !take_option(arguments, argv[i], argv[i + 1]))
            return 0;
        else
            i++;
    }
    if (!arguments->clients) arguments->clients = 1;
    if (!arguments->destination_count)
        arguments->destinations[arguments->destination_count++] = "/topic/notifications";
    return arguments->url != NULL;
}

/* Creates the clients, then installs the signal handler that stops them. */
static void make_clients(const struct arguments *arguments, stws_queue *queue) {
    stws_options options = stws_options_default();
    options.url = arguments->url;
    options.queue = queue;
    options.on_event = explain;
    for (int i = 0; i < arguments->clients; i++) {
        clients[i] = stws_create(&options);
        for (int k = 0; k < arguments->destination_count; k++)
            stws_subscribe(clients[i], arguments->destinations[k], NULL);
    }
    client_count = arguments->clients;
    signal(SIGINT, stop_all);
    signal(SIGTERM, stop_all);
}

/* Prints messages until there are enough, or every client has ended. Returns their number. */
static long read_queue(const struct arguments *arguments, stws_queue *queue) {
    const stws_message *message = NULL; /* each call returns the previous message to the queue */
    long count = 0;
    while ((arguments->total == 0 || count < arguments->total) &&
           stws_queue_pop(queue, &message, -1) > 0) {
        count++;
        if (arguments->quiet) continue;
        printf("%s: %s\n", message->destination ? message->destination : "", message->body);
        fflush(stdout);
    }
    return count;
}

/* Stops, joins and destroys the clients. Returns 0, or the error of the first that failed. */
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
