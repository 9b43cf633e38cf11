/* How do I send so that nothing is lost when the connection breaks, or is not there yet?

       confirmed_publisher URL DESTINATION < lines

   With `confirm` each message is kept until the broker's receipt for it has come, and sent again
   after a reconnect: every line arrives at least once. The client runs in a thread of its own, so
   that heart-beats go on while this one waits for a line. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_MS = 60000 };

static void explain(stws *client, const stws_event *event, void *user) {
    (void)user;
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s; trying again\n", stws_error_text(client));
}

/* Hand over all lines; returns how many, and in *result how it ended. */
static long publish(stws *client, const char *destination, int *result) {
    char *line = NULL; /* of getline, which makes room for any length */
    size_t size = 0;
    long count = 0;
    while (*result >= 0 && getline(&line, &size, stdin) >= 0) {
        line[strcspn(line, "\n")] = 0;
        *result = stws_send_text(client, destination, line);
        if (*result >= 0) count++;
    }
    free(line);
    return count;
}

int main(int argc, char **argv) {
    stws_options options = stws_options_default();
    if (argc != 3) {
        fputs("usage: confirmed_publisher URL DESTINATION < lines\n", stderr);
        return 2;
    }
    options.url = argv[1];
    options.on_event = explain;
    options.confirm = 1;
    options.outbox_policy = STWS_FULL_BLOCK; /* a full outbox holds getline back, not memory */
    options.outbox_block_ms = FLUSH_MS;

    stws *client = stws_create(&options);
    int result = stws_start(client);
    long count = publish(client, argv[2], &result);
    if (result >= 0) result = stws_flush(client, FLUSH_MS); /* 0: all of them are confirmed */
    stws_disconnect(client, -1);
    stws_join(client);
    if (result >= 0)
        printf("%ld confirmed\n", count);
    else
        fprintf(stderr, "after line %ld: %s. %s\n", count, stws_result_text(result),
                stws_error_text(client));
    stws_destroy(client);
    return result < 0;
}
