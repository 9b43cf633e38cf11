/* How do I send so that nothing is lost if the connection breaks, or does not exist yet?

       confirmed_publisher URL DESTINATION < lines

   Each line of stdin becomes a message. With options.confirm the client keeps a message until the
   broker's receipt for it arrives, and resends the message after a reconnect. So each line arrives
   at least once. The client runs in its own thread: heart-beats continue while the main thread
   waits for a line. At the end of stdin the program waits for all receipts, and prints how many
   lines are confirmed. Its exit status is 0 if all of them are. */
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

/* Sends the lines of stdin, and counts them. Returns 0, or the error at which it stopped. */
static int publish(stws *client, const char *destination, long *count) {
    char *line = NULL; /* getline allocates it, and enlarges it for a longer line */
    size_t size = 0;
    int result = 0;
    while (result >= 0 && getline(&line, &size, stdin) >= 0) {
        line[strcspn(line, "\n")] = 0;
        result = stws_send_text(client, destination, line);
        if (result >= 0) ++*count;
    }
    free(line);
    return result;
}

int main(int argc, char **argv) {
    stws_options options = stws_options_default();
    long count = 0;
    if (argc != 3) {
        fputs("usage: confirmed_publisher URL DESTINATION < lines\n", stderr);
        return 2;
    }
    options.url = argv[1];
    options.on_event = explain;
    options.confirm = 1;
    options.outbox_policy = STWS_FULL_BLOCK; /* if the outbox is full, sending waits for room */
    options.outbox_block_ms = FLUSH_MS;

    stws *client = stws_create(&options);
    int result = stws_start(client);
    if (result >= 0) result = publish(client, argv[2], &count);
    if (result >= 0) result = stws_flush(client, FLUSH_MS); /* 0: every message is confirmed */
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
