/* test_tls.c - tests the client with a toy implementation of stws_tls: simply disguised records
   over sockets in memory. So each rule of stws_tls is tested without a TLS library: which functions
   are called and when, how records are moved, when a session may be resumed, pins, and errors
   before, during and after the handshake. tests/tls tests the real libraries. */
#define STOMP_WS_IMPLEMENTATION
#include "tests/fuzz/net.h"

#include "scripted.h"

#include <sys/wait.h>

#define FUZZ_CHECK CHECK
#include "tests/fuzz/net_drive.h"

/* ==== the toy: a record is its type, its length, and its disguised bytes ==== */

enum { HEAD = 2, MOST = 200, ROOM = 3 * (HEAD + MOST), DISGUISE = 0x2A };
enum { HELLO = 'H', WELCOME = 'W', DATA = 'D', ALERT = 'A', FINAL_ALERT = 'F', THE_END = 'E' };

struct toy {
    const stws_tls_start *start;
    unsigned char in[ROOM], out[ROOM];
    char data[MOST], why[64];
    size_t in_len, out_begin, out_end, data_begin, data_end;
    int done, error, final, begun, sessions;
};

/* Settings of the tests, and counters of the calls to the toy. */
static struct toys {
    int begin_error, has_key, refuses_writes, untrusted;
    int begins, ends, destroys, closes, resumes, used_after_end;
    char host[64];
} toys;

static void toy_put(struct toy *t, int type, const char *data, size_t len) {
    size_t i;
    if (t->out_begin == t->out_end) t->out_begin = t->out_end = 0;
    t->out[t->out_end++] = (unsigned char)type;
    t->out[t->out_end++] = (unsigned char)len;
    for (i = 0; i < len; i++) t->out[t->out_end++] = (unsigned char)(data[i] ^ DISGUISE);
}

static int toy_begin(void *tls, const stws_tls_start *start) {
    struct toy *t = (struct toy *)tls;
    int sessions = t->sessions;
    CHECK(!t->begun);
    memset(t, 0, sizeof *t);
    t->sessions = sessions;
    t->start = start;
    t->begun = 1;
    toys.begins++;
    toys.resumes += start->resume;
    CHECK(!start->resume || sessions > 0);
    CHECK(start->options->tls_insecure_no_verify == 0 && start->random->fill != NULL);
    snprintf(toys.host, sizeof toys.host, "%s:%d", start->host, start->port);
    snprintf(t->why, sizeof t->why, "the toy cannot begin");
    t->final = toys.begin_error == STWS_ERR_TLS_TRUST;
    if (toys.begin_error) return t->error = toys.begin_error;
    toy_put(t, HELLO, start->host, strlen(start->host));
    return STWS_DONE;
}

static int toy_state(void *tls) {
    struct toy *t = (struct toy *)tls;
    int output = t->out_begin < t->out_end, data = t->data_begin < t->data_end;
    CHECK(t->begun);
    if (t->error && !data) return t->error;
    return (output ? STWS_TLS_HAS_OUTPUT : 0) | (!data && !t->error ? STWS_TLS_TAKES_INPUT : 0) |
           (t->done && !output && !t->error ? STWS_TLS_TAKES_DATA : 0) |
           (data ? STWS_TLS_HAS_DATA : 0);
}

static char *toy_input(void *tls, size_t *room) {
    struct toy *t = (struct toy *)tls;
    size_t whole = t->in_len < HEAD ? HEAD : (size_t)HEAD + t->in[1];
    *room = whole - t->in_len; /* one record at a time */
    CHECK(*room > 0);
    return (char *)t->in + t->in_len;
}

static void toy_hear(struct toy *t) {
    size_t len = t->in[1], i;
    for (i = 0; i < len; i++) t->data[i] = (char)(t->in[HEAD + i] ^ DISGUISE);
    t->in_len = 0;
    if (t->in[0] == DATA) t->data_begin = 0, t->data_end = len;
    if (t->in[0] == WELCOME) t->done = ++t->sessions;
    if (t->in[0] == THE_END) t->error = STWS_ERR_EOF;
    if (t->in[0] != ALERT && t->in[0] != FINAL_ALERT) return;
    snprintf(t->why, sizeof t->why, "the toy heard: %.*s", (int)len, t->data);
    t->error = toys.untrusted ? STWS_ERR_TLS_TRUST : STWS_ERR_TLS;
    t->final = t->in[0] == FINAL_ALERT;
    toy_put(t, ALERT, "me too", 6);
}

static void toy_received(void *tls, size_t len) {
    struct toy *t = (struct toy *)tls;
    t->in_len += len;
    if (t->in_len >= HEAD && t->in_len == (size_t)HEAD + t->in[1]) toy_hear(t);
}

static const char *toy_output(void *tls, size_t *len) {
    struct toy *t = (struct toy *)tls;
    *len = t->out_end - t->out_begin;
    return (char *)t->out + t->out_begin;
}

static void toy_sent(void *tls, size_t len) {
    ((struct toy *)tls)->out_begin += len;
}

static size_t toy_read(void *tls, char *buf, size_t len) {
    struct toy *t = (struct toy *)tls;
    CHECK(t->data_begin < t->data_end);
    if (len > t->data_end - t->data_begin) len = t->data_end - t->data_begin;
    memcpy(buf, t->data + t->data_begin, len);
    t->data_begin += len;
    return len;
}

static size_t toy_write(void *tls, const char *buf, size_t len) {
    struct toy *t = (struct toy *)tls;
    CHECK(toy_state(t) & STWS_TLS_TAKES_DATA);
    if (toys.refuses_writes && toys.refuses_writes--) return 0;
    if (len > MOST) len = MOST;
    toy_put(t, DATA, buf, len);
    return len;
}

static void toy_close(void *tls) {
    toys.closes++;
    toy_put((struct toy *)tls, THE_END, "", 0);
}

static void toy_end(void *tls) {
    struct toy *t = (struct toy *)tls;
    CHECK(t->begun);
    t->begun = 0;
    toys.ends++;
}

static void toy_destroy(void *tls) {
    CHECK(!((struct toy *)tls)->begun);
    toys.destroys++;
}

static int toy_key_hash(void *tls, unsigned char sha256[32]) {
    CHECK(((struct toy *)tls)->done);
    memset(sha256, 0xAB, 32);
    return toys.has_key;
}

static const char *toy_error(void *tls, int *final) {
    *final = ((struct toy *)tls)->final;
    return ((struct toy *)tls)->why;
}

static const stws_tls toy = {
    sizeof(struct toy), toy_begin, toy_state, toy_input, toy_received, toy_output,   toy_sent,
    toy_read,           toy_write, toy_close, toy_end,   toy_destroy,  toy_key_hash, toy_error};

/* ==== the server at the other end of the socket ==== */

static struct server {
    struct peer peer;
    struct bytes in;
    int answer;      /* the record type that answers HELLO; 0: no answer */
    int slams;       /* 1: after the answer it sends an alert and disconnects */
    int is_over;     /* THE_END has arrived */
    int alerts;      /* number of alerts received */
    size_t in_piece; /* data bytes per record that it sends */
} server;

static void serve_put(int type, const char *data, size_t len) {
    struct toy record = {0};
    toy_put(&record, type, data, len);
    net_put(&net.in, record.out, record.out_end);
}

static void serve_record(const unsigned char *record, size_t len) {
    char data[256];
    size_t i;
    for (i = 0; i < len; i++) data[i] = (char)(record[HEAD + i] ^ DISGUISE);
    if (record[0] == HELLO && server.answer) serve_put(server.answer, "no", 2);
    if (record[0] == HELLO && server.slams) {
        serve_put(FINAL_ALERT, "no", 2);
        net.write_error = EPIPE;
        net.end = ECONNRESET;
    }
    if (record[0] == THE_END) server.is_over = 1;
    if (record[0] == ALERT) server.alerts++;
    if (record[0] == DATA) bytes_add(&server.peer.in, data, len);
}

static void on_open(void) {
    static const stws_endpoint to = {"toy", 443, 1};
    if (server.peer.is_open) peer_t_close(&server.peer);
    peer_t_open(&server.peer, &to);
    bytes_clear(&server.in);
    server.is_over = 0;
}

/* Runs both sides until neither has anything more to send. */
static void settle(void) {
    struct peer *p = &server.peer;
    size_t before = 1;
    while (before) {
        net_drive(p);
        before = net_len(&net.out);
        bytes_add(&server.in, net_at(&net.out), net_len(&net.out));
        net.out.begin = net.out.end;
        while (server.in.len >= HEAD &&
               server.in.len >= (size_t)HEAD + (unsigned char)server.in.data[1]) {
            size_t len = (unsigned char)server.in.data[1];
            serve_record((const unsigned char *)server.in.data, len);
            bytes_drop(&server.in, HEAD + len);
        }
        peer_listen(p);
        while (p->out.len && net_len(&net.in) < NET_ROOM / 2) {
            size_t len = p->out.len < server.in_piece ? p->out.len : server.in_piece;
            serve_put(DATA, p->out.data, len);
            bytes_drop(&p->out, len);
            before = 1;
        }
        before += net_len(&net.in) && !p->ended;
        if (p->ended || p->retry_ms >= 0) return;
    }
}

static stws_options begin(void) {
    static const char *const addresses[] = {"127.0.0.1", NULL};
    stws_options o;
    memset(&server, 0, sizeof server);
    memset(&toys, 0, sizeof toys);
    net_reset();
    net.on_open = on_open;
    server.answer = WELCOME;
    server.in_piece = MOST;
    peer_init(&server.peer);
    server.peer.stepping = 1;
    o = peer_options(&server.peer);
    o.transport = NULL;
    o.tls = &toy;
    o.url = "wss://toy.test/x";
    o.addresses = addresses;
    return o;
}

static void start(stws_options *o) {
    peer_start(&server.peer, o);
    stws_subscribe(server.peer.client, "/topic/a", NULL);
    settle();
}

static const char *why(void) {
    return bytes_text(&server.peer.why);
}

/* Ends a test. Checks that every begin had its end, and that destroy was called once. */
static void finish(void) {
    stws_stop(server.peer.client);
    settle();
    if (server.peer.is_open) peer_t_close(&server.peer);
    bytes_free(&server.in);
    peer_free(&server.peer);
    CHECK_INT(toys.begins, toys.ends);
    CHECK_INT(1, toys.destroys);
    CHECK_INT(net.opened, net.closed);
}

static void check_connected(void) {
    CHECK_INT(STWS_CONNECTED, stws_state(server.peer.client));
}

/* Checks how the attempt has failed. retry: 1 if another attempt follows. */
static void check_failed(int result, int retry, const char *words) {
    CHECK_INT(result, server.peer.result);
    CHECK_INT(retry, server.peer.retry_ms >= 0);
    CHECK_HAS(words, why());
}

/* ==== sessions ==== */

static void exchange(size_t len) {
    char *body = (char *)malloc(len + 1);
    const struct sent *sent;
    if (!body) test_give_up("no memory");
    memset(body, 'x', len);
    body[len] = 0;
    stws_send(server.peer.client, "/queue/a", body, len);
    settle();
    for (sent = server.peer.sent; sent && strcmp(sent->frame.command, "SEND") != 0;)
        sent = sent->next;
    CHECK_INT(len, sent ? sent->frame.body_len : 0);
    peer_message(&server.peer, "1", "7", "/topic/a", body);
    settle();
    CHECK(strstr(bytes_text(&server.peer.log), "MESSAGE") != NULL);
    free(body);
}

static void test_a_session(void) {
    stws_options o = begin();
    start(&o);
    check_connected();
    CHECK_STR("toy.test:443", toys.host);
    exchange(30000);
    stws_disconnect(server.peer.client, 1000);
    settle();
    CHECK_INT(STWS_CLOSED, server.peer.ended);
    CHECK_INT(1, toys.closes);
    finish();
    CHECK_INT(1, server.is_over);
}

static void test_in_small_pieces(void) {
    static const unsigned char cuts[][3] = {{1, 1, 1}, {1, NET_LATER, 3}, {NET_LATER, 100, 2}};
    size_t i;
    for (i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        stws_options o = begin();
        memcpy(net.in.cuts, cuts[i], 3);
        memcpy(net.out.cuts, cuts[i], 3);
        server.in_piece = i + 1;
        start(&o);
        check_connected();
        exchange(3000);
        finish();
    }
}

static void test_writes_that_are_refused(void) {
    stws_options o = begin();
    toys.refuses_writes = 3;
    start(&o);
    check_connected();
    toys.refuses_writes = 2;
    exchange(1000);
    finish();
}

/* Empty records do not count as progress, and do not keep the client in one turn while they
   arrive. */
static void test_empty_records(void) {
    stws_options o = begin();
    int i;
    start(&o);
    for (i = 0; i < 2000; i++) serve_put(DATA, "", 0);
    CHECK_INT(0, stws_step(server.peer.client));
    CHECK(net_len(&net.in) > 0);
    exchange(100);
    finish();
}

static void next_attempt(void) {
    long long wait = server.peer.retry_ms;
    server.peer.retry_ms = -2;
    net_pass_ms(&server.peer, wait);
    settle();
}

static void test_resuming_at_the_same_host_only(void) {
    static const char *const same[] = {"wss://toy.test/x", "wss://toy.test/y", NULL};
    static const char *const others[] = {"wss://toy.test/x", "wss://other.test/x", NULL};
    static const char *const ports[] = {"wss://toy.test/x", "wss://toy.test:444/x", NULL};
    static const char *const dots[] = {"wss://toy.test/x", "wss://toy.test./x", NULL};
    static const struct {
        const char *const *urls;
        int resumes;
    } cases[] = {{same, 1}, {others, 0}, {ports, 0}, {dots, 1}};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        stws_options o = begin();
        o.url = NULL;
        o.urls = cases[i].urls;
        start(&o);
        check_connected();
        net.end = NET_OVER;
        settle();
        check_failed(STWS_ERR_TLS, 1, "cut off");
        next_attempt();
        check_connected();
        CHECK_INT(2, toys.begins);
        CHECK_INT(cases[i].resumes, toys.resumes);
        finish();
    }
}

static void test_no_resuming_after_a_failure(void) {
    stws_options o = begin();
    start(&o);
    net.end = NET_OVER;
    settle();
    server.answer = ALERT;
    next_attempt();
    check_failed(STWS_ERR_TLS, 1, "the toy heard: no");
    CHECK_INT(1, toys.resumes);
    server.answer = WELCOME;
    next_attempt();
    check_connected();
    CHECK_INT(1, toys.resumes);
    finish();
}

static void test_pins(void) {
    static const char pin[] = "ababababababababababababababababababababababababababababababababab";
    static const char base64[] = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=";
    static const struct {
        const char *pin;
        int has_key, trusted;
    } cases[] = {{pin, 1, 1},
                 {base64, 1, 1},
                 {"cd;ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB", 1, 1},
                 {pin, 0, 0},
                 {"abab", 1, 0},
                 {"", 1, 0}};
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        stws_options o = begin();
        o.tls_pin = cases[i].pin;
        toys.has_key = cases[i].has_key;
        start(&o);
        if (cases[i].trusted) {
            check_connected();
        } else {
            check_failed(STWS_ERR_TLS_TRUST, 0, "tls_pin");
            CHECK_INT(0, server.peer.in.len + server.peer.request.len); /* nothing was sent to it */
        }
        finish();
    }
}

/* ==== errors ==== */

static void test_a_table_that_cannot_begin(void) {
    stws_options o = begin();
    toys.begin_error = STWS_ERR_TLS;
    start(&o);
    check_failed(STWS_ERR_TLS, 1, "the toy cannot begin");
    finish();
    o = begin();
    toys.begin_error = STWS_ERR_TLS_TRUST;
    start(&o);
    check_failed(STWS_ERR_TLS_TRUST, 0, "the toy cannot begin");
    finish();
}

static void test_errors_in_the_handshake(void) {
    stws_options o = begin();
    server.answer = ALERT;
    start(&o);
    check_failed(STWS_ERR_TLS, 1, "the toy heard: no");
    finish();
    o = begin();
    server.answer = FINAL_ALERT;
    start(&o);
    check_failed(STWS_ERR_TLS, 0, "the toy heard: no");
    finish();
    o = begin();
    server.answer = ALERT;
    toys.untrusted = 1;
    start(&o);
    check_failed(STWS_ERR_TLS_TRUST, 0, "the toy heard: no");
    finish();
}

static void test_an_alert_of_ours_is_sent(void) {
    stws_options o = begin();
    server.answer = ALERT;
    start(&o);
    CHECK_INT(1, server.alerts);
    finish();
}

static void test_ends_in_the_handshake(void) {
    stws_options o = begin();
    server.answer = THE_END;
    start(&o);
    check_failed(STWS_ERR_TLS, 1, "ended the connection in the handshake");
    finish();
    o = begin();
    server.answer = 0;
    start(&o);
    CHECK_INT(STWS_TLS, stws_state(server.peer.client));
    net.end = NET_OVER;
    settle();
    check_failed(STWS_ERR_TLS, 1, "does this port speak TLS?");
    finish();
    o = begin();
    server.answer = 0;
    start(&o);
    net.end = ECONNRESET;
    settle();
    check_failed(STWS_ERR_IO, 1, "reset");
    finish();
}

static void test_ends_in_a_session(void) {
    stws_options o = begin();
    start(&o);
    serve_put(THE_END, "", 0);
    settle();
    check_failed(STWS_ERR_EOF, 1, "without a close frame");
    finish();
    o = begin();
    start(&o);
    net.end = NET_OVER;
    settle();
    check_failed(STWS_ERR_TLS, 1, "cut off, without the close_notify that TLS requires");
    finish();
}

static void test_data_before_an_error_is_read(void) {
    stws_options o = begin();
    start(&o);
    peer_message(&server.peer, "1", "7", "/topic/a", "the last one");
    serve_put(DATA, server.peer.out.data, server.peer.out.len);
    bytes_clear(&server.peer.out);
    serve_put(FINAL_ALERT, "no", 2);
    settle();
    CHECK_HAS("the last one", bytes_text(&server.peer.log));
    check_failed(STWS_ERR_TLS, 1, "the toy heard: no"); /* in a session no TLS error is final */
    finish();
}

/* With TLS 1.3 a server refuses the client's certificate after the handshake, when the upgrade was
   already sent. */
static void test_errors_before_the_upgrade_is_answered(void) {
    static const int types[] = {ALERT, FINAL_ALERT};
    int i;
    for (i = 0; i < 2; i++) {
        stws_options o = begin();
        server.peer.automatic = 0;
        start(&o);
        CHECK_INT(STWS_UPGRADING, stws_state(server.peer.client));
        serve_put(types[i], "no", 2);
        settle();
        check_failed(STWS_ERR_TLS, types[i] == ALERT, "the toy heard: no");
        finish();
    }
}

/* The server has already closed when the client writes. Its earlier alert is the cause that is
   reported. */
static void test_an_alert_before_a_failed_write(void) {
    stws_options o = begin();
    server.slams = 1;
    start(&o);
    check_failed(STWS_ERR_TLS, 0, "the toy heard: no");
    finish();
}

static void test_a_handshake_that_does_not_end(void) {
    stws_options o = begin();
    server.answer = 0;
    o.connect_timeout_ms = 700;
    start(&o);
    net_pass_ms(&server.peer, 701);
    check_failed(STWS_ERR_TIMEOUT, 1, "TLS handshake");
    finish();
}

/* ==== options ==== */

static void check_refused(const stws_options *o, const char *words) {
    const char *sentence = "";
    static char memory[4];
    stws *client;
    CHECK_INT(0, stws_size(o));
    CHECK_INT(STWS_ERR_USAGE, stws_init(memory, sizeof memory, o, &client, &sentence));
    CHECK_HAS(words, sentence);
}

static void test_options(void) {
    stws_tls partial = toy;
    stws_options o = begin();
    stws_transport own = {0};
    size_t with, without;
    o.transport = &own;
    check_refused(&o, "options.tls");
    o.transport = NULL;
    partial.key_hash = NULL;
    o.tls = &partial;
    check_refused(&o, "lacks one of its functions");
    o.tls = &toy;
    with = stws_size(&o);
    o.tls = NULL;
    without = stws_size(&o);
    CHECK(with >= without + sizeof(struct toy));
    o.tls = &toy;
    o.url = "ws://toy.test/x"; /* TLS is not needed, so it gets no memory */
    CHECK(stws_size(&o) < without + sizeof(struct toy));
    peer_free(&server.peer);
}

static void test_a_table_may_have_nothing_to_release(void) {
    stws_tls partial = toy;
    stws_options o = begin();
    partial.end = NULL;
    partial.destroy = NULL;
    o.tls = &partial;
    start(&o);
    check_connected();
    stws_stop(server.peer.client);
    settle();
    if (server.peer.is_open) peer_t_close(&server.peer);
    bytes_free(&server.in);
    peer_free(&server.peer);
    CHECK_INT(0, toys.ends + toys.destroys);
}

/* A child process that destroys the client must not end the parent's TLS session. */
static void test_destroying_after_fork(void) {
    stws_options o = begin();
    pid_t child;
    int status = -1;
    start(&o);
    check_connected();
    fflush(stdout);
    child = fork();
    if (child < 0) test_give_up("cannot fork");
    if (child == 0) {
        stws_destroy(server.peer.client);
        _exit(toys.closes || net_len(&net.out) ? 1 : toys.ends == 1 && toys.destroys == 1 ? 0 : 2);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(0, status);
    exchange(100);
    finish();
}

static void test_without_bearssl(void) {
    CHECK(stws_bearssl() == NULL);
}

static void test_the_texts_of_alerts(void) {
    CHECK_HAS("tls_cert_file", stws_tls_alert_text(40));
    CHECK_HAS("tls_cert_file", stws_tls_alert_text(48));
    CHECK_HAS("tls_cert_file", stws_tls_alert_text(116));
    CHECK_HAS("versions", stws_tls_alert_text(70));
    CHECK_HAS("SNI", stws_tls_alert_text(112));
    CHECK(stws_tls_alert_text(80) == NULL && stws_tls_alert_text(0) == NULL);
}

int main(void) {
    RUN(test_a_session);
    RUN(test_in_small_pieces);
    RUN(test_empty_records);
    RUN(test_writes_that_are_refused);
    RUN(test_resuming_at_the_same_host_only);
    RUN(test_no_resuming_after_a_failure);
    RUN(test_pins);
    RUN(test_a_table_that_cannot_begin);
    RUN(test_errors_in_the_handshake);
    RUN(test_an_alert_of_ours_is_sent);
    RUN(test_ends_in_the_handshake);
    RUN(test_ends_in_a_session);
    RUN(test_data_before_an_error_is_read);
    RUN(test_errors_before_the_upgrade_is_answered);
    RUN(test_an_alert_before_a_failed_write);
    RUN(test_a_handshake_that_does_not_end);
    RUN(test_options);
    RUN(test_a_table_may_have_nothing_to_release);
    RUN(test_destroying_after_fork);
    RUN(test_without_bearssl);
    RUN(test_the_texts_of_alerts);
    return test_report();
}
