/* How do I connect with TLS, and choose which servers to trust?

       wss URL [CA_FILE [PIN]]

   Without CA_FILE, the system's CAs are trusted. CA_FILE holds the CA of a company, in PEM. PIN is
   the SHA-256 of the server's public key: it protects you even if a CA issues a wrong certificate.
   The name in the server's certificate is always checked. The program connects, prints the outcome,
   and closes the connection. Its exit status is 0 if it could connect. To build it, define
   STOMP_WS_BEARSSL and link with -lbearssl (on Debian, install libbearssl-dev). */
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
        fputs("wss: the URL must begin with wss://; with ws:// no server is verified\n", stderr);
        return 2;
    }
    options.url = argv[1];
    if (argc > 2) options.tls_ca_file = argv[2];
    if (argc > 3) options.tls_pin = argv[3];
    options.reconnect = STWS_OFF; /* one attempt only */

    stws *client = stws_create(&options);
    int result = stws_connect(client, -1);
    if (result >= 0)
        puts("connected; the server's certificate is trusted");
    else
        fprintf(stderr, "%s\n", stws_error_text(client));
    stws_close(client, -1);
    stws_destroy(client);
    return result < 0;
}
