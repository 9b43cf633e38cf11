/* How does a client run without any heap?

       static_memory URL

   stws_init creates a client in memory that you provide. Such a client never allocates: the sizes
   in its options are its limits, and stws_size returns how many bytes they need. Give the URL's
   host as a numeric address, because the system's resolver allocates. The client sends a message to
   itself, prints it, and closes. The exit status is 0 if the message arrived. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <stdio.h>

/* The union aligns the bytes for every type, as malloc does. */
static union {
    long double number;
    void *pointer;
    char bytes[64 << 10];
} memory;

static const char destination[] = "/topic/static";

static int fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    return 1;
}

/* Waits for a message and prints its body. Returns 0 or an error. */
static int print_one(stws *client) {
    stws_event event;
    do {
        int result = stws_next(client, &event, -1);
        if (result < 0) return result;
    } while (event.type != STWS_EVENT_MESSAGE);
    puts(event.message->body);
    return 0;
}

int main(int argc, char **argv) {
    static char line[256];
    stws_options options = stws_options_default();
    const char *why = NULL;
    stws *client = NULL;
    setvbuf(stdout, line, _IOLBF, sizeof line); /* without this, stdio allocates a buffer */
    if (argc != 2) return fail("usage: static_memory URL");

    options.url = argv[1];
    options.rx_buffer = 8192; /* the largest frame that can be received */
    options.tx_buffer = 8192; /* the most output that can wait to be written */
    options.outbox_bytes = 2048;
    options.max_subscriptions = 4;
    options.max_receipts = 4;
    options.max_headers = 16;
    options.single_thread = 1;
    printf("%zu of %zu bytes are needed\n", stws_size(&options), sizeof memory);
    if (stws_init(&memory, sizeof memory, &options, &client, &why) != STWS_OK)
        return fail(why ? why : "the memory is too small");

    stws_subscribe(client, destination, NULL);
    stws_send_text(client, destination, "no heap was used");
    int result = print_one(client);
    if (result < 0) fail(stws_error_text(client));
    stws_close(client, -1);
    stws_destroy(client);
    return result < 0;
}
