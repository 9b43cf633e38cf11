/* A wss:// client with its own thread. Other threads send through it, the main thread takes the
   messages from a queue, and one more thread reads the statistics. run.py runs it, also with
   TSan.

       threads URL CA COUNT      COUNT messages from each thread; "done" when all are back */
#if !defined(STOMP_WS_BEARSSL) && !defined(STOMP_WS_OPENSSL)
#define STOMP_WS_BEARSSL
#endif
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"
#ifdef STOMP_WS_OPENSSL
#include "examples/stomp_ws_openssl.h"
#endif
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SENDERS = 3, WAIT_MS = 60000 };

static stws *client;
static int count;

static void *send_all(void *name) {
    char body[64];
    int i;
    for (i = 0; i < count; i++) {
        int result;
        snprintf(body, sizeof body, "%s %d", (const char *)name, i);
        do result = stws_send_text(client, "/topic/a", body);
        while (result == STWS_ERR_FULL && stws_flush(client, WAIT_MS) == STWS_OK);
        if (result != STWS_OK) exit(1);
    }
    return NULL;
}

static void *look(void *unused) {
    stws_statistics numbers;
    while (stws_state(client) != STWS_ENDED) {
        stws_stats(client, &numbers);
        poll(NULL, 0, 1);
    }
    return unused;
}

int main(int argc, char **argv) {
    static char names[SENDERS][2] = {"a", "b", "c"};
    pthread_t senders[SENDERS], looker;
    stws_options o = stws_options_default();
    const stws_message *message = NULL;
    int i, left, next[SENDERS] = {0};
    if (argc != 4) return 2;
    count = atoi(argv[3]);
    o.url = argv[1];
    o.tls_ca_file = argv[2];
#ifdef STOMP_WS_OPENSSL
    o.tls = stws_openssl();
#endif
    o.queue = stws_queue_create(1 << 20);
    client = stws_create(&o);
    if (!client || !o.queue || stws_subscribe(client, "/topic/a", NULL) < 0) return 1;
    if (stws_start(client) != STWS_OK || pthread_create(&looker, NULL, look, NULL) != 0) return 1;
    for (i = 0; i < SENDERS; i++)
        if (pthread_create(&senders[i], NULL, send_all, names[i]) != 0) return 1;
    for (left = SENDERS * count; left > 0 && stws_queue_pop(o.queue, &message, WAIT_MS) == 1;
         left--) {
        int *expected = &next[message->body[0] - 'a'];
        if (atoi(message->body + 2) != (*expected)++) break;
    }
    for (i = 0; i < SENDERS; i++) pthread_join(senders[i], NULL);
    stws_disconnect(client, WAIT_MS);
    i = stws_join(client);
    pthread_join(looker, NULL);
    printf("%s\n%s\n", left ? "some messages are missing" : "done", stws_error_text(client));
    if (message) stws_queue_close(o.queue), stws_queue_pop(o.queue, &message, 0);
    stws_destroy(client);
    stws_queue_destroy(o.queue);
    return left || i != STWS_OK;
}
