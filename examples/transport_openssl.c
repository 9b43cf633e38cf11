// How do I get TLS 1.3, by OpenSSL instead of BearSSL?
//     transport_openssl URL DESTINATION [CA.pem]
// sends a message to wss://... and prints it when it comes back. The transport is a few short
// functions around SSL_connect, SSL_read and SSL_write. Build it with -lssl -lcrypto.
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>

struct tls {
    SSL_CTX *context;
    SSL *ssl;
    int fd, blocked_on; // STWS_WANT_WRITE while OpenSSL has to write before it goes on
    const char *why;
};

// Blocks, as getaddrinfo does anyway. What the library has built in for TCP does not.
static int connect_to(const stws_endpoint *to) {
    struct addrinfo hints, *list, *each;
    char port[8];
    int fd = -1, on = 1;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    snprintf(port, sizeof port, "%d", to->port);
    if (getaddrinfo(to->host, port, &hints, &list) != 0) return -1;
    for (each = list; each && fd < 0; each = each->ai_next) {
        fd = socket(each->ai_family, SOCK_STREAM, 0);
        if (fd >= 0 && connect(fd, each->ai_addr, each->ai_addrlen) != 0) close(fd), fd = -1;
    }
    freeaddrinfo(list);
    if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd >= 0) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

// The name is checked, or the address; an address is no server name (SNI).
static int expect_host(SSL *ssl, const char *host) {
    char address[16], name[256];
    snprintf(name, sizeof name, "%s", host); // OpenSSL's macro takes no const
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
    return SSL_set1_host(ssl, host) && SSL_set_tlsext_host_name(ssl, name);
}

// What a call of OpenSSL came to, for stws: octets, 0 for "not now", or an error.
static long outcome(struct tls *t, int result) {
    int error = SSL_get_error(t->ssl, result);
    long verified = SSL_get_verify_result(t->ssl);
    t->blocked_on = error == SSL_ERROR_WANT_WRITE ? STWS_WANT_WRITE : 0;
    if (result > 0) return result;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
    if (error == SSL_ERROR_ZERO_RETURN) return STWS_ERR_EOF;
    t->why = ERR_reason_error_string(ERR_get_error());
    if (!t->why) t->why = "the connection broke";
    if (verified != X509_V_OK) t->why = X509_verify_cert_error_string(verified);
    return verified != X509_V_OK ? STWS_ERR_TLS_TRUST : STWS_ERR_TLS;
}

static int tls_open(void *ctx, const stws_endpoint *to) {
    struct tls *t = (struct tls *)ctx;
    long result;
    if (!t->ssl) {
        t->fd = connect_to(to);
        t->ssl = SSL_new(t->context);
        t->why = "nobody there answers";
        if (t->fd < 0 || !t->ssl) return STWS_ERR_CONNECT;
        if (!expect_host(t->ssl, to->host) || !SSL_set_fd(t->ssl, t->fd)) return STWS_ERR_TLS;
    }
    ERR_clear_error();
    result = outcome(t, SSL_connect(t->ssl));
    if (result > 0) return STWS_DONE;
    return result ? (int)result : (int)STWS_MORE;
}

static long tls_read(void *ctx, char *buf, size_t len) {
    struct tls *t = (struct tls *)ctx;
    ERR_clear_error();
    return outcome(t, SSL_read(t->ssl, buf, len > INT_MAX ? INT_MAX : (int)len));
}

static long tls_write(void *ctx, const char *buf, size_t len) {
    struct tls *t = (struct tls *)ctx;
    ERR_clear_error();
    return outcome(t, SSL_write(t->ssl, buf, len > INT_MAX ? INT_MAX : (int)len));
}

static void tls_close(void *ctx) {
    struct tls *t = (struct tls *)ctx;
    if (t->ssl && SSL_is_init_finished(t->ssl)) SSL_shutdown(t->ssl); // one try to say the end
    SSL_free(t->ssl);
    if (t->fd >= 0) close(t->fd);
    t->ssl = NULL;
    t->fd = -1;
}

static int tls_fd(void *ctx) {
    return ((struct tls *)ctx)->fd;
}

// Data that OpenSSL has inside make no descriptor ready.
static int tls_wants(void *ctx, int wants) {
    struct tls *t = (struct tls *)ctx;
    if (!SSL_is_init_finished(t->ssl)) return t->blocked_on ? t->blocked_on : STWS_WANT_READ;
    return wants | t->blocked_on | (SSL_pending(t->ssl) ? STWS_WANT_NOW : 0);
}

static const char *tls_error(void *ctx) {
    return ((struct tls *)ctx)->why;
}

static void print(stws *client, const stws_message *message, void *user) {
    struct tls *t = (struct tls *)user;
    printf("%s: %s\n", SSL_get_version(t->ssl), message->body);
    stws_disconnect(client, -1);
}

static int trust(SSL_CTX *context, const char *ca_file) {
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (!ca_file) return SSL_CTX_set_default_verify_paths(context);
    return SSL_CTX_load_verify_locations(context, ca_file, NULL);
}

int main(int argc, char **argv) {
    struct tls t = {SSL_CTX_new(TLS_client_method()), NULL, -1, 0, NULL};
    stws_transport transport = {&t,        tls_open, tls_read,  tls_write,
                                tls_close, tls_fd,   tls_wants, tls_error};
    stws_options options = stws_options_default();
    if (argc < 3 || !t.context) return 2;
    if (!trust(t.context, argc > 3 ? argv[3] : NULL)) return puts("There is no CA."), 1;
    signal(SIGPIPE, SIG_IGN); // OpenSSL writes with write(2)
    options.url = argv[1];
    options.transport = &transport;
    options.on_message = print;
    options.user = &t;

    stws *client = stws_create(&options);
    stws_subscribe(client, argv[2], NULL);
    stws_send(client, argv[2], "hello", 5);
    int result = stws_run(client);
    if (result < 0) fprintf(stderr, "%s\n", stws_error_text(client));
    stws_destroy(client);
    SSL_CTX_free(t.context);
    return result < 0;
}
