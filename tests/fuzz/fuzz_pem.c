/* The data that TLS parses before it trusts a peer: PEM files with CAs, certificates and keys, the
   server's chain, names and pins. A file contains the same objects however it is split. Fields are
   within their certificate. No chain is trusted without a CA, or with a key other than the pinned
   key. */
#define STOMP_WS_BEARSSL
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/fuzz/fuzz.h"

#include <strings.h>

static stws_p_bear tls; /* 84 KB: cleared for each input, but allocated only one time */
static stws_options options;
static struct fuzz_text objects;

static int fill_alike(void *ctx, void *out, size_t len) {
    (void)ctx;
    memset(out, 1, len);
    return 0;
}

static void begin(const char *host) {
    static const stws_random alike = {NULL, fill_alike};
    stws_tls_start start = {.host = host, .port = 443, .options = &options, .random = &alike};
    memset(&tls, 0, sizeof tls);
    memset(&options, 0, sizeof options);
    FUZZ_CHECK(stws_bearssl()->begin(&tls, &start) == STWS_DONE);
}

static void reset(void) {
    begin("localhost");
}

static int is_inside(stws_p_der part, const unsigned char *block, size_t len) {
    return part.data >= block && part.len <= len &&
           part.data - block <= (ptrdiff_t)(len - part.len);
}

/* ==== PEM: the same objects, as a whole or in pieces ==== */

static void note_object(stws_p_bear *t, const char *name, stws_p_der der) {
    stws_p_der parts[STWS_P_PARTS];
    FUZZ_CHECK(is_inside(der, t->der, sizeof t->der));
    fuzz_add_span(&objects, name, strlen(name));
    fuzz_add_span(&objects, der.data, der.len);
    if (stws_p_pem_certificate(t, name, der, parts))
        FUZZ_CHECK(is_inside(parts[STWS_P_KEY], der.data, der.len));
}

static void read_in_pieces(struct fuzz_cuts cuts, const char *text, size_t len) {
    reset();
    br_pem_decoder_init(&tls.pem);
    while (len > 0) {
        size_t n = fuzz_cut(&cuts, len);
        char *piece = fuzz_copy(text, n);
        stws_p_pem_text(&tls, piece, n, note_object);
        free(piece);
        text += n;
        len -= n;
    }
    stws_p_pem_text(&tls, "\n", 1, note_object);
}

/* Searches as BearSSL does: in upper or lower case. */
static size_t beginnings(const char *text) {
    static const char begin[] = "-----BEGIN ";
    size_t count = 0;
    for (; *text; text++) count += strncasecmp(text, begin, sizeof begin - 1) == 0;
    return count;
}

static void check_objects(struct fuzz_input *in) {
    struct fuzz_cuts cuts = fuzz_cuts_of(in);
    char *text = fuzz_string(in->data, in->left);
    struct fuzz_text whole;
    size_t found;
    reset();
    memset(&objects, 0, sizeof objects);
    found = stws_p_pem_read(&tls, text, NULL, note_object);
    FUZZ_CHECK(found <= beginnings(text));
    whole = objects;
    memset(&objects, 0, sizeof objects);
    read_in_pieces(cuts, text, strlen(text));
    FUZZ_CHECK(tls.found == found && fuzz_same(&whole, &objects));
    fuzz_text_free(&whole);
    fuzz_text_free(&objects);
    free(text);
}

/* ==== DER: elements follow one another, and fields lie in the certificate ==== */

static void check_elements(stws_p_der der) {
    unsigned char *end = der.data + der.len;
    stws_p_der whole, content;
    while (stws_p_der_next(&der, &whole, &content)) {
        FUZZ_CHECK(is_inside(content, whole.data, whole.len));
        FUZZ_CHECK(whole.data + whole.len == der.data && der.data + der.len == end);
        FUZZ_CHECK(content.data + content.len == der.data && whole.len >= content.len + 2);
    }
}

static void check_certificate(struct fuzz_input *in) {
    char *block = fuzz_copy(in->data, in->left);
    stws_p_der der = {(unsigned char *)block, in->left}, parts[STWS_P_PARTS];
    int i;
    check_elements(der);
    if (stws_p_der_certificate(der, parts)) {
        for (i = 0; i < STWS_P_PARTS; i++) FUZZ_CHECK(is_inside(parts[i], der.data, der.len));
        check_elements(parts[STWS_P_REST]);
        stws_p_der_names(parts[STWS_P_REST], (const unsigned char *)"\x7F\0\0\1", 4);
        stws_p_der_names(parts[STWS_P_REST], NULL, 0);
        stws_p_der_is_for_servers(parts[STWS_P_REST]);
    }
    free(block);
}

/* ==== the client's own certificate and key ==== */

static void check_identity(struct fuzz_input *in) {
    char *text = fuzz_string(in->data, in->left);
    size_t i;
    reset();
    FUZZ_CHECK(stws_p_pem_read(&tls, text, NULL, stws_p_bear_use_own) >= tls.own_count);
    FUZZ_CHECK(tls.own_count <= STWS_P_CHAIN && tls.used <= sizeof tls.der);
    for (i = 0; i < tls.own_count; i++) {
        stws_p_der der = {tls.own[i].data, tls.own[i].data_len};
        FUZZ_CHECK(is_inside(der, tls.der, tls.used));
    }
    br_skey_decoder_init(&tls.key);
    stws_p_pem_read(&tls, text, NULL, stws_p_bear_use_key);
    if (br_skey_decoder_key_type(&tls.key)) FUZZ_CHECK(strstr(text, "PRIVATE KEY") != NULL);
    free(text);
}

/* ==== the server's chain ==== */

/* Passes certificates as TLS does, in pieces. */
static void receive_chain(struct fuzz_input *in, struct fuzz_cuts cuts) {
    const br_x509_class **x = &tls.verifier;
    unsigned count = fuzz_below(in, STWS_P_CHAIN + 2);
    (*x)->start_chain(x, tls.host);
    while (count-- > 0) {
        size_t len = fuzz_number(in), n;
        (*x)->start_cert(x, (uint32_t)len);
        if (len > in->left) len = in->left;
        for (; len > 0; len -= n, in->data += n, in->left -= n) {
            n = fuzz_cut(&cuts, len);
            (*x)->append(x, in->data, n);
        }
        (*x)->end_cert(x);
    }
}

static const char *pick_host(struct fuzz_input *in) {
    static const char *const hosts[] = {"localhost", "a.stomp.example", "127.0.0.1"};
    return hosts[fuzz_below(in, 3)];
}

/* The hash of the first certificate's key, if the chain has a certificate. */
static void pin_first(char pin[65]) {
    stws_p_der parts[STWS_P_PARTS];
    unsigned char hash[br_sha256_SIZE];
    br_sha256_context sha256;
    size_t i;
    if (!tls.chain_count || !stws_p_der_certificate(tls.chain[0], parts)) return;
    br_sha256_init(&sha256);
    br_sha256_update(&sha256, parts[STWS_P_KEY].data, parts[STWS_P_KEY].len);
    br_sha256_out(&sha256, hash);
    for (i = 0; i < sizeof hash; i++) snprintf(pin + 2 * i, 3, "%02x", hash[i]);
}

/* Checks that the first certificate contains the host, and that each certificate is for servers or
   does not restrict its use. */
static void check_trusted(void) {
    stws_p_der parts[STWS_P_PARTS];
    size_t i = tls.chain_count;
    while (i-- > 0) {
        FUZZ_CHECK(stws_p_der_certificate(tls.chain[i], parts));
        FUZZ_CHECK(stws_p_der_is_for_servers(parts[STWS_P_REST]));
    }
    FUZZ_CHECK(stws_p_der_names(parts[STWS_P_REST], tls.ip, tls.ip_len));
}

static void check_chain(struct fuzz_input *in) {
    enum { INSECURE = 1, PINNED = 2, WRONG_PIN = 4 };
    struct fuzz_cuts cuts = fuzz_cuts_of(in);
    unsigned flags = fuzz_byte(in), error;
    stws_p_tls layer = {.table = stws_bearssl(), .state = &tls, .start = {.options = &options}};
    char pin[65] = "", *text;
    int pinned;
    begin(pick_host(in));
    receive_chain(in, cuts);
    text = fuzz_string(in->data, in->left);
    options.tls_ca_pem = text;
    options.tls_insecure_no_verify = flags & INSECURE;
    if (flags & PINNED) pin_first(pin);
    if (flags & (PINNED | WRONG_PIN)) options.tls_pin = flags & WRONG_PIN ? "none" : pin;
    error = tls.verifier->end_chain(&tls.verifier);
    FUZZ_CHECK(tls.chain_count <= STWS_P_CHAIN && tls.anchor_count <= STWS_P_ANCHORS);
    FUZZ_CHECK(tls.used <= sizeof tls.der);
    pinned = stws_p_tls_check_pin(&layer) == STWS_DONE;
    if (flags & WRONG_PIN) FUZZ_CHECK(!pinned);
    if (!error && !(flags & WRONG_PIN)) FUZZ_CHECK(pinned);
    if (tls.overflow || tls.chain_count == 0) FUZZ_CHECK(error != 0);
    if (!(flags & INSECURE) && tls.anchor_count == 0) FUZZ_CHECK(error != 0);
    if (!error) FUZZ_CHECK(tls.verifier->get_pkey(&tls.verifier, NULL) != NULL);
    if (!error && !(flags & INSECURE)) check_trusted();
    free(text);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    struct fuzz_input in = {data, size};
    switch (fuzz_below(&in, 4)) {
        case 0: check_objects(&in); break;
        case 1: check_certificate(&in); break;
        case 2: check_identity(&in); break;
        default: check_chain(&in); break;
    }
}
