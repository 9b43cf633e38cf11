/* stomp_ws_openssl.h - TLS 1.2 and 1.3 by OpenSSL 3, for stomp_ws.h - MIT or public domain

   How do I use OpenSSL instead of BearSSL? Include this file after stomp_ws.h in each file that
   calls stws_openssl, and link with -lssl -lcrypto:

       #include "stomp_ws_openssl.h"
       options.tls = stws_openssl();

   stomp_ws.h explains the options tls_*. If neither tls_ca_file nor tls_ca_pem is set, it trusts
   the CAs of the system's OpenSSL, or those of SSL_CERT_FILE and SSL_CERT_DIR. A TLS 1.3 server may
   ask for the client's certificate after the handshake. OpenSSL uses its own allocator and random
   numbers, not those of the options. */
#ifndef STOMP_WS_OPENSSL_H
#define STOMP_WS_OPENSSL_H
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { STWS_OSSL_RECORD = 16384, STWS_OSSL_BUFFER = 2 * STWS_OSSL_RECORD };

/* The state of a client's TLS connection. OpenSSL reads and writes `inside`. The client moves bytes
   between `outside` and the socket. The pair has a buffer for each direction. */
typedef struct stws_ossl {
    const stws_tls_start *start; /* what begin got */
    SSL_CTX *context;            /* one for each connection */
    SSL *ssl;                    /* the connection */
    BIO *inside;                 /* OpenSSL's end of the pair */
    BIO *outside;                /* our end of the pair */
    SSL_SESSION *session;        /* for resumption; it outlives the connection */
    int done;                    /* 1: the handshake is done */
    int dry;                     /* 1: OpenSSL has read all bytes that were received */
    int error;                   /* the first failure, or 0 */
    int final;                   /* 1: another attempt would fail, too */
    char why[400];               /* a sentence for the first failure */
} stws_ossl;

/* Stores a failure, unless there is one already. Returns the stored error. */
static int stws_ossl_fail(stws_ossl *s, int error, int final, const char *what, const char *of) {
    if (s->error) return s->error;
    BIO_snprintf(s->why, sizeof s->why, "%s (%.100s)", what, of);
    s->final = final;
    return s->error = error;
}

/* Returns a sentence with a remedy for what OpenSSL found wrong with a certificate of the chain;
   depth 0 is the server's own certificate. */
static const char *stws_ossl_distrust(int error, int depth) {
    if (error == X509_V_ERR_CERT_NOT_YET_VALID || error == X509_V_ERR_CERT_HAS_EXPIRED)
        return "a certificate of the server has expired or is not valid yet; is our clock right?";
    if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH)
        return "the server's certificate is for another host (only its subjectAltName counts)";
    if (error == X509_V_ERR_INVALID_PURPOSE)
        return "a certificate of the server is not for TLS servers (extendedKeyUsage serverAuth)";
    if (error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY && depth == 0)
        return "the CA of the server's certificate is not known here: the server did not send its "
               "intermediate certificate, or the CA is missing in tls_ca_file";
    if (error >= X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT &&
        error <= X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY)
        return "the CA of the server's certificate is not known here: see tls_ca_file";
    return "the server's certificate is not valid";
}

/* Adds the certificates of a text (or, if pem is NULL, of a file) to a store. Returns how many. */
static int stws_ossl_load(X509_STORE *store, const char *pem, const char *file) {
    BIO *in = pem ? BIO_new_mem_buf(pem, -1) : BIO_new_file(file, "r");
    int found = 0, more = in != NULL;
    for (; more; more = ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        X509 *each = (ERR_clear_error(), PEM_read_bio_X509(in, NULL, NULL, NULL));
        found += each && X509_STORE_add_cert(store, each);
        X509_free(each);
    }
    BIO_free(in);
    return found;
}

/* OpenSSL calls this to verify the server's chain. It reads the CAs only now, because a resumed
   session needs none. Returns 1 if the chain is trusted. */
static int stws_ossl_verify(X509_STORE_CTX *chain, void *arg) {
    stws_ossl *s = (stws_ossl *)arg;
    const stws_options *o = s->start->options;
    X509_STORE *store = SSL_CTX_get_cert_store(s->context);
    const char *why = "there is no CA to trust: tls_ca_file or tls_ca_pem has none in PEM";
    int error = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT;
    if (o->tls_insecure_no_verify) return 1;
    if (o->tls_ca_pem || o->tls_ca_file ? stws_ossl_load(store, o->tls_ca_pem, o->tls_ca_file)
                                        : X509_STORE_set_default_paths(store)) {
        if (X509_verify_cert(chain) > 0) return 1;
        error = X509_STORE_CTX_get_error(chain);
        why = stws_ossl_distrust(error, X509_STORE_CTX_get_error_depth(chain));
    }
    X509_STORE_CTX_set_error(chain, error);
    stws_ossl_fail(s, STWS_ERR_TLS_TRUST, 1, why, X509_verify_cert_error_string(error));
    return 0;
}

/* OpenSSL calls this with a session that can be resumed. In TLS 1.3 this happens after the
   handshake, and more than once. */
static int stws_ossl_keep(SSL *ssl, SSL_SESSION *session) {
    stws_ossl *s = (stws_ossl *)SSL_get_app_data(ssl);
    SSL_SESSION_free(s->session);
    s->session = session;
    return 1;
}

/* Evaluates the result of an OpenSSL call. Returns 1 if it succeeded. Returns 0 if it has to
   wait, and if it failed; the failure is stored. */
static int stws_ossl_outcome(stws_ossl *s, int result) {
    int code = SSL_get_error(s->ssl, result), reason = ERR_GET_REASON(ERR_peek_error());
    int alert = reason > SSL_AD_REASON_OFFSET ? reason - SSL_AD_REASON_OFFSET : 0;
    const char *detail, *text;
    s->dry |= code == SSL_ERROR_WANT_READ;
    if (result > 0 || code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE)
        return result > 0;
    if (code == SSL_ERROR_ZERO_RETURN) return stws_ossl_fail(s, STWS_ERR_EOF, 0, "the end", ""), 0;
    detail = ERR_reason_error_string(ERR_peek_error());
    text = stws_tls_alert_text(alert);
    if (s->done && alert == SSL_AD_HANDSHAKE_FAILURE)
        text =
            "the server wants a handshake anew in the middle of a session (renegotiation, perhaps "
            "for a client certificate). This is not supported: let the server ask in the first "
            "handshake, or use TLS 1.3";
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_UNSUPPORTED_PROTOCOL ||
        reason == SSL_R_HTTP_REQUEST || reason == SSL_R_HTTPS_PROXY_REQUEST)
        text = "the server's answer is not TLS 1.2 or 1.3. Is this a port for ws://?";
    stws_ossl_fail(s, STWS_ERR_TLS, text != NULL, text ? text : "the TLS connection failed",
                   detail ? detail : "no reason known");
    return 0;
}

/* The functions of stws_tls follow; stomp_ws.h describes each of them. */

static void stws_ossl_destroy(void *tls) {
    SSL_SESSION_free(((stws_ossl *)tls)->session);
    ((stws_ossl *)tls)->session = NULL;
}

static void stws_ossl_end(void *tls) {
    stws_ossl *s = (stws_ossl *)tls;
    SSL_SESSION *kept = s->session;
    if (s->ssl) SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN); /* keeps the session resumable */
    SSL_free(s->ssl);                                        /* also frees `inside` */
    BIO_free(s->outside);
    SSL_CTX_free(s->context);
    memset(s, 0, sizeof *s);
    s->session = kept;
}

/* Creates the context and the connection, with all settings and with the host that the
   certificate must name. Returns 0 without memory. */
static int stws_ossl_configure(stws_ossl *s, SSL_CTX *context) {
    char name[256];
    if (!(s->context = context)) return 0;
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20"); /* for TLS 1.2 */
    SSL_CTX_set_security_level(context, 2);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, stws_ossl_keep);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, stws_ossl_verify, s);
    SSL_CTX_set_default_passwd_cb_userdata(context, s->why); /* "": no password, no prompt */
    SSL_CTX_set_post_handshake_auth(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    s->ssl = SSL_new(context);
    if (!s->ssl || SSL_set_alpn_protos(s->ssl, (const unsigned char *)"\x08http/1.1", 9) != 0 ||
        !BIO_new_bio_pair(&s->inside, STWS_OSSL_BUFFER, &s->outside, STWS_OSSL_BUFFER))
        return 0;
    SSL_set_bio(s->ssl, s->inside, s->inside);
    SSL_set_app_data(s->ssl, (char *)s);
    SSL_set_hostflags(s->ssl, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    X509_VERIFY_PARAM_set_flags(SSL_get0_param(s->ssl),
                                X509_V_FLAG_PARTIAL_CHAIN); /* an intermediate CA may be trusted */
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), s->start->host)) return 1;
    BIO_snprintf(name, sizeof name, "%s", s->start->host); /* SNI is only for names */
    return SSL_set1_host(s->ssl, name) && SSL_set_tlsext_host_name(s->ssl, name);
}

static int stws_ossl_begin(void *tls, const stws_tls_start *start) {
    stws_ossl *s = (stws_ossl *)tls;
    const char *file = start->options->tls_cert_file;
    const char *key = start->options->tls_key_file ? start->options->tls_key_file : file;
    const char *why = NULL, *what = start->host;
    if (!start->resume) stws_ossl_destroy(s);
    s->start = start;
    ERR_clear_error();
    if (!stws_ossl_configure(s, SSL_CTX_new(TLS_client_method())))
        why = "no memory for TLS";
    else if (file && SSL_use_certificate_chain_file(s->ssl, file) != 1)
        why = "tls_cert_file cannot be read, or has no certificate in PEM", what = file;
    else if (file && SSL_use_PrivateKey_file(s->ssl, key, SSL_FILETYPE_PEM) != 1)
        why = "tls_key_file cannot be read, or has no key without password that fits", what = key;
    if (why) return stws_ossl_fail(s, STWS_ERR_TLS, what != start->host, why, what);
    if (s->session) SSL_set_session(s->ssl, s->session);
    stws_ossl_outcome(s, SSL_connect(s->ssl));
    return s->error ? s->error : (int)STWS_DONE;
}

static int stws_ossl_state(void *tls) {
    stws_ossl *s = (stws_ossl *)tls;
    int bits = s->done && !s->dry ? STWS_TLS_HAS_DATA : 0;
    ERR_clear_error(); /* other code in this thread may have left an OpenSSL error */
    if (s->error) return s->error;
    if (BIO_ctrl_get_write_guarantee(s->outside) > 0) bits |= STWS_TLS_TAKES_INPUT;
    if (BIO_ctrl_pending(s->outside) > 0) return bits | STWS_TLS_HAS_OUTPUT;
    return s->done ? bits | STWS_TLS_TAKES_DATA : bits;
}

static char *stws_ossl_input(void *tls, size_t *room) {
    char *to = NULL;
    *room = (size_t)BIO_nwrite0(((stws_ossl *)tls)->outside, &to);
    return to;
}

static void stws_ossl_received(void *tls, size_t len) {
    stws_ossl *s = (stws_ossl *)tls;
    char *unused;
    BIO_nwrite(s->outside, &unused, (int)len);
    s->dry = 0;
    if (s->done || !stws_ossl_outcome(s, SSL_connect(s->ssl))) return;
    SSL_CTX_set_cert_store(s->context, X509_STORE_new()); /* frees the CAs */
    s->done = 1;
}

static const char *stws_ossl_output(void *tls, size_t *len) {
    BIO *outside = ((stws_ossl *)tls)->outside;
    char *from = NULL;
    *len = BIO_ctrl_pending(outside) ? (size_t)BIO_nread0(outside, &from) : 0;
    return from;
}

static void stws_ossl_sent(void *tls, size_t len) {
    char *unused;
    BIO_nread(((stws_ossl *)tls)->outside, &unused, (int)len);
}

static size_t stws_ossl_read(void *tls, char *buf, size_t len) {
    size_t n = 0;
    stws_ossl_outcome((stws_ossl *)tls, SSL_read_ex(((stws_ossl *)tls)->ssl, buf, len, &n));
    return n;
}

static size_t stws_ossl_write(void *tls, const char *buf, size_t len) {
    stws_ossl *s = (stws_ossl *)tls;
    int n = SSL_write(s->ssl, buf, len > STWS_OSSL_RECORD ? STWS_OSSL_RECORD : (int)len);
    return stws_ossl_outcome(s, n) ? (size_t)n : 0;
}

static void stws_ossl_close(void *tls) {
    SSL_shutdown(((stws_ossl *)tls)->ssl);
}

static int stws_ossl_key_hash(void *tls, unsigned char sha256[32]) {
    X509 *leaf =
        SSL_get0_peer_certificate(((stws_ossl *)tls)->ssl); /* resumed sessions have it, too */
    unsigned char *der = NULL;
    int len = leaf ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &der) : 0;
    int known = len > 0 && EVP_Digest(der, (size_t)len, sha256, NULL, EVP_sha256(), NULL);
    OPENSSL_free(der);
    return known;
}

static const char *stws_ossl_error(void *tls, int *final) {
    *final = ((stws_ossl *)tls)->final;
    return ((stws_ossl *)tls)->why;
}

/* Returns the table for options.tls. It may be used by any number of clients. */
static const stws_tls *stws_openssl(void) {
    static const stws_tls table = {sizeof(stws_ossl),  stws_ossl_begin,    stws_ossl_state,
                                   stws_ossl_input,    stws_ossl_received, stws_ossl_output,
                                   stws_ossl_sent,     stws_ossl_read,     stws_ossl_write,
                                   stws_ossl_close,    stws_ossl_end,      stws_ossl_destroy,
                                   stws_ossl_key_hash, stws_ossl_error};
    return &table;
}
#endif
