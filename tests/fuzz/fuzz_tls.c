/* wss:// over simulated sockets, with BearSSL's server at the other end. The input says how many
   bytes move in each direction and when, how large records are, and which bytes are changed, lost
   or inserted. It also says when the server closes, requests a new handshake, or is cut off. In
   another mode there is no server, and the client receives arbitrary bytes from the input.

   All data in complete records before any damage must be delivered completely and in order. Nothing
   else may be delivered. Damage must cause an error with a sentence. The client must not take a cut
   connection for a closed one. */
#define STOMP_WS_BEARSSL
#define STOMP_WS_IMPLEMENTATION
#include "net.h"

#include "tests/fault/scripted.h"

#include "tests/fuzz/fuzz.h"

#include "net_drive.h"

enum { MOST_MESSAGES = 64, MOST_LEN = 20000, RECORD_HEAD = 5, MOST_ACTS = 400 };

/* ==== the server's identity: openssl made this certificate and key for this file ==== */

static const char certificate[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBazCCARCgAwIBAgIUaVP5alzaB8FtuCvDO/uoKX6yIckwCgYIKoZIzj0EAwIw\n"
    "DzENMAsGA1UEAwwEZnV6ejAgFw0yNDAxMDEwMDAwMDBaGA85OTk5MTIzMTIzNTk1\n"
    "OVowDzENMAsGA1UEAwwEZnV6ejBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJ4i\n"
    "+2BSOxAHuHQEVxhoxk8k/45Kh5XfVRCd8JUAiRYxlRXjszlsNaCHU46OB+2V4j0A\n"
    "b5FueVcvFskijj6QdV6jSDBGMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAPBgNVHRMB\n"
    "Af8EBTADAQH/MB0GA1UdDgQWBBRo1/yNKahV6fwYhsMGXxmAU2dfvzAKBggqhkjO\n"
    "PQQDAgNJADBGAiEA1TkAeqI8auuaRsQUHhrPGqeDUud8lKF5jUzJcXN8J5ECIQC3\n"
    "ZtsAK1UGpFEiXPmjoBn3Kz1HbCJ1cA5jsVyCHh+1BA==\n"
    "-----END CERTIFICATE-----\n";

static unsigned char secret[] = {0x93, 0x41, 0xca, 0x8a, 0x5d, 0x4b, 0x52, 0x47, 0x17, 0xf2, 0x06,
                                 0x77, 0x06, 0xf0, 0x2c, 0xc4, 0x5b, 0xe0, 0x21, 0x2e, 0x90, 0x20,
                                 0x32, 0xae, 0x6b, 0xa7, 0xa6, 0xfd, 0x10, 0x17, 0xb0, 0xee};
static const br_ec_private_key key = {BR_EC_secp256r1, secret, sizeof secret};

/* Replaces the function by which BearSSL gets the system's random bytes. It always returns the same
   bytes. */
static int seed_always_alike(const br_prng_class **ctx) {
    (*ctx)->update(ctx, "alike", 5);
    return 1;
}

br_prng_seeder br_prng_seeder_system(const char **name) {
    if (name) *name = "always alike";
    return seed_always_alike;
}

/* ==== both ends ==== */

/* The server's records on their way to the client, before any damage. */
struct records {
    unsigned char head[RECORD_HEAD];
    size_t have, left; /* have: bytes of the head so far; left: bytes of the record to come */
    int sealed, whole; /* sealed: records are encrypted from here on; whole: no byte of this record
                          was damaged */
};

static struct world {
    struct peer peer;
    struct fuzz_input in;
    br_ssl_server_context server;
    unsigned char buffer[BR_SSL_BUFSIZE_BIDI];
    struct records records;
    size_t record_len;          /* bytes of plain text in each of the server's records */
    size_t plain, passed;       /* plain: bytes that the server has encrypted; passed: bytes that
                                   reached the client */
    size_t ends[MOST_MESSAGES]; /* where each message ends, in bytes of plain text */
    int first, messages, read;  /* first message of this connection; number of messages; next one to
                                   deliver */
    int sends, heard;           /* numbers of the client's sends: made, and received by the
                                   server */
    int damaged, damaged_sealed, damaged_out, closed, told, cut, asked, hostile, renegotiated;
    size_t damage_in, damage_out; /* bytes until the next damage; 0: no damage */
    unsigned char flip_in, flip_out;
} world;

static struct session_store {
    br_ssl_session_cache_lru cache;
    unsigned char store[1000];
} sessions, first_sessions;
static stws_p_bear first_session; /* the first session as BearSSL's state keeps it */

static const uint16_t suites[] = {0xC02B, 0xC02C, 0xCCA9};

static void get_store(void *ctx, const void *data, size_t len) {
    fuzz_add((struct fuzz_text *)ctx, data, len);
}

/* Returns the certificate as DER, converted from its PEM. */
static const br_x509_certificate *chain(void) {
    static br_x509_certificate one;
    static struct fuzz_text der;
    br_pem_decoder_context pem;
    const char *at = certificate;
    if (one.data) return &one;
    br_pem_decoder_init(&pem);
    while (*at) {
        at += br_pem_decoder_push(&pem, at, strlen(at));
        if (br_pem_decoder_event(&pem) == BR_PEM_BEGIN_OBJ)
            br_pem_decoder_setdest(&pem, get_store, &der);
    }
    one.data = (unsigned char *)der.data;
    one.data_len = der.len;
    return &one;
}

static br_ssl_engine_context *engine(void) {
    return &world.server.eng;
}

static int can(unsigned what) {
    return (br_ssl_engine_current_state(engine()) & what) != 0;
}

/* A connection opens. The server and all records about it start again. */
static void on_open(void) {
    static const stws_endpoint to = {"localhost", 443, 1};
    struct world *w = &world;
    if (w->peer.is_open) peer_t_close(&w->peer);
    peer_t_open(&w->peer, &to);
    br_ssl_engine_set_buffer(engine(), w->buffer, sizeof w->buffer, 1);
    br_ssl_server_reset(&w->server);
    memset(&w->records, 0, sizeof w->records);
    w->records.whole = 1;
    w->plain = w->passed = 0;
    w->first = w->read = w->messages;
    w->heard = w->sends; /* the client resends what it keeps; that is not tested here */
    w->damaged = w->damaged_sealed = w->damaged_out = w->closed = w->told = 0;
    w->cut = w->renegotiated = 0;
    w->peer.retry_ms = -2;
    w->peer.result = 0;
    w->damage_in = w->damage_out = 0;
}

/* ==== the way from the server to the client ==== */

static size_t overhead(void) {
    br_ssl_session_parameters now;
    br_ssl_engine_get_session_parameters(engine(), &now);
    return now.cipher_suite == 0xCCA9 ? 16 : 24;
}

/* A record is complete. Its content counts if nothing was damaged so far. */
static void end_record(void) {
    struct records *r = &world.records;
    size_t len = (size_t)r->head[3] << 8 | r->head[4];
    if (r->head[0] == 23 && !world.damaged) world.passed += len - overhead();
    if (r->head[0] == 20) r->sealed = 1;
    if (r->head[0] == 21 && world.closed) world.told = 1;
    r->have = 0;
}

static void note_byte(unsigned char c) {
    struct records *r = &world.records;
    if (r->have < RECORD_HEAD) {
        r->head[r->have++] = c;
        if (r->have == RECORD_HEAD) r->left = (size_t)r->head[3] << 8 | r->head[4];
    } else {
        r->left--;
    }
    if (r->have == RECORD_HEAD && r->left == 0) end_record();
}

static void note_damage(void) {
    world.damaged = 1;
    if (world.records.sealed && !world.told) world.damaged_sealed = 1;
}

/* Passes at most this many bytes from the server to the client (0: all). Returns how many. */
static size_t pass_in(size_t most) {
    size_t len = 0, i;
    unsigned char *data = can(BR_SSL_SENDREC) ? br_ssl_engine_sendrec_buf(engine(), &len) : NULL;
    if (most && len > most) len = most;
    for (i = 0; i < len; i++) {
        unsigned char c = data[i];
        if (world.damage_in && --world.damage_in == 0) {
            note_damage();
            c ^= world.flip_in;
        }
        if (world.cut) continue;
        note_byte(data[i]);
        net_put(&net.in, &c, 1);
    }
    if (len) br_ssl_engine_sendrec_ack(engine(), len);
    return len;
}

/* ==== the way back ==== */

static size_t pass_out(size_t most) {
    size_t len = 0, n = net_len(&net.out), i;
    unsigned char *to = can(BR_SSL_RECVREC) ? br_ssl_engine_recvrec_buf(engine(), &len) : NULL;
    if (len > n) len = n;
    if (most && len > most) len = most;
    for (i = 0; i < len; i++) {
        to[i] = net_at(&net.out)[i];
        if (world.damage_out && --world.damage_out == 0) {
            world.damaged_out = 1;
            to[i] ^= world.flip_out;
        }
    }
    net.out.begin += len;
    if (len) br_ssl_engine_recvrec_ack(engine(), len);
    return len;
}

/* The server reads. It also writes a record, whose length the input has chosen. */
static int serve(void) {
    struct world *w = &world;
    struct peer *p = &w->peer;
    size_t len = 0;
    if (w->hostile) return 0;
    if (can(BR_SSL_RECVAPP)) {
        const unsigned char *from = br_ssl_engine_recvapp_buf(engine(), &len);
        bytes_add(&p->in, from, len);
        br_ssl_engine_recvapp_ack(engine(), len);
        peer_listen(p);
        return 1;
    }
    if (p->out.len && can(BR_SSL_SENDAPP)) {
        unsigned char *to = br_ssl_engine_sendapp_buf(engine(), &len);
        if (len > w->record_len) len = w->record_len;
        if (len > p->out.len) len = p->out.len;
        memcpy(to, p->out.data, len);
        br_ssl_engine_sendapp_ack(engine(), len);
        br_ssl_engine_flush(engine(), 0);
        bytes_drop(&p->out, len);
        w->plain += len;
        return 1;
    }
    return 0;
}

/* Runs until neither side has anything more to send. */
static void settle(void) {
    int moved = 1, rounds = 0;
    while (moved && rounds++ < 100000) {
        size_t before = net_len(&net.in) + net.in.begin;
        net_drive(&world.peer);
        moved = before != net_len(&net.in) + net.in.begin;
        while (serve()) moved = 1;
        if (!world.hostile && pass_out(0)) moved = 1;
        if (!world.hostile && pass_in(0)) moved = 1;
    }
    FUZZ_CHECK(rounds < 100000);
}

/* ==== messages: the number of a message defines its body ==== */

static size_t write_body(char *to, int number, size_t len) {
    size_t n = (size_t)sprintf(to, "%d %zu ", number, len), i;
    for (i = 0; i < len; i++) to[n + i] = (char)('a' + (i * i + (size_t)number) % 26);
    to[n + len] = 0;
    return n + len;
}

static int is_body(const char *body, int number) {
    static char expected[MOST_LEN + 64];
    int read_number;
    size_t len;
    if (sscanf(body, "%d %zu ", &read_number, &len) != 2 || len > MOST_LEN) return 0;
    write_body(expected, number, len);
    return strcmp(expected, body) == 0;
}

/* Returns the number of the first message that has not completely reached the client. */
static int messages_through(void) {
    int n = world.first;
    while (n < world.messages && world.ends[n] <= world.passed) n++;
    return n;
}

static void on_event(struct peer *p, const stws_event *e) {
    bytes_clear(&p->log);
    if (e->type == STWS_EVENT_DISCONNECTED) {
        fuzz_check_error(e->result);
        fuzz_check_sentence(e->text);
    }
    if (e->type != STWS_EVENT_MESSAGE) return;
    FUZZ_CHECK(is_body(e->message->body, world.read));
    world.read++;
    FUZZ_CHECK(world.read <= messages_through());
}

static void on_sent(struct peer *p, const struct sent *s) {
    (void)p;
    if (strcmp(s->frame.command, "SEND") != 0) return;
    FUZZ_CHECK(is_body(s->frame.body, world.heard));
    world.heard++;
}

/* ==== actions that the input may choose ==== */

/* Passes bytes to the client. If the client is not driven now, they arrive together with later
   bytes. */
static void do_pass_in(void) {
    unsigned n = fuzz_byte(&world.in);
    pass_in(n & 127);
    if (n < 128) net_drive(&world.peer);
    if (!world.hostile) serve();
}

static void do_pass_out(void) {
    pass_out(fuzz_byte(&world.in));
    serve();
}

static void do_settle(void) {
    settle();
}

/* Returns the client's SUBSCRIBE frame on this connection, or NULL. */
static const struct sent *subscription(void) {
    const struct sent *s = world.peer.sent;
    while (s && (s->session != world.peer.sessions || strcmp(s->frame.command, "SUBSCRIBE") != 0))
        s = s->next;
    return s;
}

/* The server sends a message. Output that still waits is sent before it. */
static void do_message(void) {
    static char body[MOST_LEN + 64];
    size_t len = fuzz_number(&world.in) % MOST_LEN;
    const struct sent *s = subscription();
    if (!s || world.messages == MOST_MESSAGES || world.closed) return;
    write_body(body, world.messages, len & 1 ? len : len % 300);
    peer_message(&world.peer, sent_header(s, "id"), "1", "/topic/a", body);
    world.ends[world.messages++] = world.plain + world.peer.out.len;
    serve();
}

static void do_send(void) {
    static char body[MOST_LEN + 64];
    size_t len = fuzz_number(&world.in) % MOST_LEN;
    len = write_body(body, world.sends, len & 1 ? len : len % 300);
    if (stws_state(world.peer.client) != STWS_CONNECTED || world.sends == MOST_MESSAGES) return;
    if (stws_send(world.peer.client, "/queue/a", body, len) >= 0) world.sends++;
}

static void do_record_len(void) {
    world.record_len = 1 + fuzz_number(&world.in) % 16384;
}

static void do_damage_in(void) {
    world.damage_in = 1 + fuzz_byte(&world.in);
    world.flip_in = (unsigned char)(1 + fuzz_below(&world.in, 255));
}

static void do_damage_out(void) {
    world.damage_out = 1 + fuzz_byte(&world.in);
    world.flip_out = (unsigned char)(1 + fuzz_below(&world.in, 255));
}

static void do_lose(void) {
    size_t n = 1 + fuzz_byte(&world.in), before = net_len(&net.in);
    if (world.cut || !can(BR_SSL_SENDREC)) return;
    note_damage();
    pass_in(n);
    net.in.end = net.in.begin + before;
}

static void do_put_between(void) {
    size_t len;
    const unsigned char *data = fuzz_span(&world.in, &len);
    if (len == 0 || world.cut) return;
    note_damage();
    net_put(&net.in, data, len);
    net_drive(&world.peer);
}

static void do_renegotiate(void) {
    if (can(BR_SSL_SENDAPP) && !world.closed)
        world.renegotiated |= br_ssl_engine_renegotiate(engine());
}

static void do_close(void) {
    if (world.hostile || !world.records.sealed || !can(BR_SSL_SENDAPP)) return;
    while (world.peer.out.len && serve() && pass_in(0)) continue;
    br_ssl_engine_close(engine());
    world.closed = 1;
}

static void do_cut(void) {
    if (world.peer.retry_ms != -2) return;
    world.cut = 1;
    net.end = fuzz_byte(&world.in) & 1 ? ECONNRESET : NET_OVER;
    net_drive(&world.peer);
}

static void do_cuts(void) {
    int i;
    for (i = 0; i < 3; i++) net.in.cuts[i] = (unsigned char)fuzz_byte(&world.in);
    for (i = 0; i < 3; i++) net.out.cuts[i] = (unsigned char)fuzz_byte(&world.in);
}

static void do_disconnect(void) {
    world.asked = 1;
    stws_disconnect(world.peer.client, 100);
    net_drive(&world.peer);
}

static void do_wait(void) {
    if (world.peer.retry_ms < 0 || stws_state(world.peer.client) != STWS_BACKOFF) return;
    net_pass_ms(&world.peer, 30000);
}

static void (*const acts[])(void) = {do_settle,      do_pass_in,     do_pass_out,   do_message,
                                     do_send,        do_record_len,  do_damage_in,  do_damage_out,
                                     do_lose,        do_put_between, do_cuts,       do_close,
                                     do_renegotiate, do_cut,         do_disconnect, do_wait};
enum { ACTS = sizeof acts / sizeof *acts };

/* ==== an input ==== */

static void server_begin(unsigned suite) {
    br_ssl_server_init_full_ec(&world.server, chain(), 1, BR_KEYTYPE_EC, &key);
    br_ssl_engine_set_versions(engine(), BR_TLS12, BR_TLS12);
    br_ssl_engine_set_suites(engine(), &suites[suite % 3], 1);
    /* different entropy than in the first session, because no other session may have its id */
    br_ssl_engine_inject_entropy(engine(), &first_session.session, sizeof first_session.session);
    br_ssl_server_set_cache(&world.server, &sessions.cache.vtable);
}

static void world_begin(unsigned choice, const unsigned char *data, size_t size) {
    struct world *w = &world;
    struct peer *p = &w->peer;
    stws_options o;
    memset(w, 0, sizeof *w);
    net_reset();
    net.on_open = on_open;
    w->in.data = data;
    w->in.left = size;
    w->record_len = 16384;
    w->hostile = (choice & 7) == 7;
    server_begin(choice & 8 ? choice >> 4 : 0);
    peer_init(p);
    p->stepping = 1;
    p->on_event = on_event;
    p->on_sent = on_sent;
    o = peer_options(p);
    o.transport = NULL;
    o.url = "wss://localhost/x";
    o.tls_ca_pem = certificate;
    o.rx_buffer = 4096;
    o.tx_buffer = 8192;
    o.addresses = (const char *const[]){"127.0.0.1", NULL};
    peer_start(p, &o);
    stws_subscribe(p->client, "/topic/a", NULL);
    if (choice & 8) return;
    *(stws_p_bear *)p->client->tls->state = first_session;
    p->client->tls->port = 443;
    snprintf(p->client->tls->host, sizeof p->client->tls->host, "localhost");
}

/* Checks the state at the end, when both sides have sent everything they could. */
static void check_end(void) {
    struct world *w = &world;
    struct peer *p = &w->peer;
    int cut_off = strstr(bytes_text(&p->why), "cut off, without the end") != NULL;
    FUZZ_CHECK(p->broken == 0);
    if (w->asked) return;
    if (stws_state(p->client) == STWS_CONNECTED || (w->records.sealed && p->retry_ms != -2))
        FUZZ_CHECK(w->read == messages_through() || !p->upgraded);
    if (w->damaged_sealed)
        FUZZ_CHECK(p->result == STWS_ERR_TLS || (w->cut && p->result == STWS_ERR_IO));
    if (w->damaged || w->damaged_out || w->hostile || w->renegotiated) return;
    if (w->told) FUZZ_CHECK(p->result == STWS_ERR_EOF && !cut_off);
    if (w->cut && !w->told) FUZZ_CHECK(p->result == STWS_ERR_TLS || p->result == STWS_ERR_IO);
    if (w->closed || w->cut) return;
    FUZZ_CHECK(stws_state(p->client) == STWS_CONNECTED);
    FUZZ_CHECK(w->read == w->messages && w->heard == w->sends);
}

static void world_end(void) {
    struct world *w = &world;
    struct peer *p = &w->peer;
    settle();
    if (w->damaged || w->damaged_out || w->hostile || w->renegotiated) {
        net.end = NET_OVER; /* after a refusal, which the server takes for an alert, the server also
                               closes the connection */
        net_drive(p);
    }
    check_end();
    stws_stop(p->client);
    net_drive(p);
    net_pass_ms(p, 60000);
    FUZZ_CHECK(p->ended != 0);
    if (p->is_open) peer_t_close(p);
    peer_free(p);
    fflush(stdout);
    FUZZ_CHECK(test_case_failures == 0 && net.opened == net.closed);
}

/* Makes a first session, which later connections resume. That saves most of a handshake. */
static void prepare(void) {
    br_ssl_session_cache_lru_init(&sessions.cache, sessions.store, sizeof sessions.store);
    world_begin(8, NULL, 0);
    settle();
    FUZZ_CHECK(stws_state(world.peer.client) == STWS_CONNECTED);
    first_session = *(stws_p_bear *)world.peer.client->tls->state;
    first_sessions = sessions;
    world_end();
}

static void fuzz_one(const unsigned char *data, size_t size) {
    struct fuzz_input in = {data, size};
    unsigned choice = fuzz_byte(&in), acted = 0;
    if (!first_session.has_session) prepare();
    sessions = first_sessions;
    world_begin(choice, in.data, in.left);
    net_drive(&world.peer);
    while (world.in.left > 0 && acted++ < MOST_ACTS) {
        unsigned act = fuzz_byte(&world.in) % ACTS;
        if (!world.hostile || acts[act] == do_cuts || acts[act] == do_wait || acts[act] == do_cut)
            acts[act]();
        else
            do_put_between();
    }
    world_end();
}
