/* How do I connect with TLS, and say whom I trust?

       wss URL [CA_FILE [PIN]]

   By default the system's CAs are trusted. A company's own CA is a file of PEM; and a pin, the
   SHA-256 of the server's public key, holds even when some CA is cheated. The server's name is
   always checked. Build it with -lbearssl (Debian: libbearssl-dev). */
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_BEARSSL
#include "../stomp_ws.h"

#include <stdio.h>

int main(int argc, char **argv) {
    stws_options options = stws_options_default();
    stws_url url;
    if (argc < 2) {
        fputs("usage: wss URL [CA_FILE [PIN]]\n", stderr);
        return 2;
    }
    if (stws_url_parse(argv[1], &url, NULL) == STWS_OK && !url.secure) {
        fputs("wss: the URL does not begin with wss://: nobody would be asked who he is\n", stderr);
        return 2;
    }
    options.url = argv[1];
    if (argc > 2) options.tls_ca_file = argv[2];
    if (argc > 3) options.tls_pin = argv[3];
    options.reconnect = STWS_OFF; /* one attempt, and its result */

    stws *client = stws_create(&options);
    int result = stws_connect(client, -1);
    if (result >= 0)
        puts("connected: the server is who it says it is");
    else
        fprintf(stderr, "%s\n", stws_error_text(client));
    stws_destroy(client);
    return result < 0;
}
