// How do I print every message of a destination?
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"
#include <stdio.h>

static void print(stws *client, const stws_message *message, void *user) {
    (void)client, (void)user;
    puts(message->body);
    fflush(stdout);
}

static void explain(stws *client, const stws_event *event, void *user) {
    (void)user;
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s; trying again\n", stws_error_text(client));
}

int main(int argc, char **argv) {
    stws_options options = stws_options_default();
    options.url = argc > 1 ? argv[1] : "ws://localhost:8080/notifications/websocket";
    options.on_message = print;
    options.on_event = explain;

    stws *client = stws_create(&options);
    stws_subscribe(client, "/topic/notifications", NULL);
    int result = stws_run(client); // connects, and again when the connection breaks
    if (result < 0) fprintf(stderr, "%s\n", stws_error_text(client));
    stws_destroy(client);
    return result < 0;
}
