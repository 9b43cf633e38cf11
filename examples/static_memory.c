/* How does a client live without any heap?

       static_memory URL

   stws_init puts a client into memory of yours, and never allocates: the buffers below are its
   limits, and stws_size says what they come to. The URL's host is a numeric address, as the
   system's resolver allocates. The client sends itself a message, prints it, and ends. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <stdio.h>

/* Aligned for everything, as malloc aligns. */
static union {
    long double number;
    void *pointer;
    char octets[64 << 10];
} memory;

static const char destination[] = "/topic/static";

static int fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    return 1;
}

/* The next message's body into stdout, passing over other events: 0, or the error. */
static int print_one(stws *client) {
    stws_event event = {0};
    while (event.type != STWS_EVENT_MESSAGE) {
        int result = stws_next(client, &event, -1);
        if (result < 0) return result;
    }
    printf("%s\n", event.message->body);
    return 0;
}

int main(int argc, char **argv) {
    static char line[256]; /* else stdio would allocate a buffer */
    stws_options options = stws_options_default();
    const char *why = NULL;
    stws *client = NULL;
    setvbuf(stdout, line, _IOLBF, sizeof line);
    if (argc != 2) return fail("usage: static_memory URL");

    options.url = argv[1];
    options.rx_buffer = 8192; /* the largest frame that comes in */
    options.tx_buffer = 8192; /* the most that waits to be written */
    options.outbox_bytes = 2048;
    options.max_subscriptions = 4;
    options.max_receipts = 4;
    options.max_headers = 16;
    options.single_thread = 1;
    printf("%zu octets of %zu are needed\n", stws_size(&options), sizeof memory);
    if (stws_init(&memory, sizeof memory, &options, &client, &why) != STWS_OK)
        return fail(why ? why : "the memory is too small");

    stws_subscribe(client, destination, NULL);
    stws_send_text(client, destination, "no heap was used");
    int result = print_one(client);
    if (result < 0) fail(stws_error_text(client));
    stws_destroy(client);
    return result < 0;
}
