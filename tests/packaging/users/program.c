/* The program that a user builds with each way of packaging. */
#define STOMP_WS_IMPLEMENTATION
#include <stomp_ws.h>
#include <stdio.h>

int main(void) {
    stws_options options = stws_options_default();
    options.url = "ws://localhost:8080/notifications/websocket";
    stws *client = stws_create(&options);
    int is_well = client && stws_error(client) == 0;
    stws_destroy(client);
    printf("stomp_ws %s %s\n", STOMP_WS_VERSION, is_well ? "works" : "fails");
    return !is_well;
}
