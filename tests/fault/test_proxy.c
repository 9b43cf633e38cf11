/* test_proxy.c - tests connections through a scripted proxy, over real sockets, to a server on the
   loopback interface.

   The proxy runs in a thread and accepts one connection after the other. On each connection it
   waits for the bytes that the script expects, and answers. Then it connects the client with the
   server, or hangs up. */
#define STOMP_WS_IMPLEMENTATION
#include "loopback.h"

enum { SECONDS = 30, HEARD = 2048, EXCHANGES = 3 };

struct exchange {
    size_t bytes; /* number of bytes to wait for; 0: an HTTP head */
    const char *answer;
    size_t len;
};

struct proxy {
    struct exchange script[EXCHANGES];
    size_t exchanges, piece; /* piece: bytes per send of an answer; 0: all */
    int server;              /* port of the server; 0: hang up after the script */
    int listener, port, wake[2];
    char url[128];
    pthread_t thread;
    int connections;
    char heard[HEARD]; /* bytes read by the script, on all connections */
    size_t heard_len;
};

#define EXCHANGE(count, literal)                                                                   \
    { count, literal, sizeof(literal) - 1 }

/* ==== the proxy ==== */

/* Waits for input. Returns 0 if the proxy shall end. */
static int wait_for(const struct proxy *p, int fd, int other) {
    struct pollfd polled[3] = {{p->wake[0], POLLIN, 0}, {fd, POLLIN, 0}, {other, POLLIN, 0}};
    return poll(polled, 3, SECONDS * 1000) > 0 && !polled[0].revents;
}

static void send_all(int fd, const char *data, size_t len, size_t piece) {
    while (len > 0) {
        ssize_t n = send(fd, data, piece && piece < len ? piece : len, MSG_NOSIGNAL);
        if (n <= 0) return;
        data += n;
        len -= (size_t)n;
    }
}

/* Reads the request of an exchange byte by byte, so that nothing after it is read. Returns 0 at the
   end. */
static int hear_request(struct proxy *p, int fd, size_t bytes) {
    size_t begin = p->heard_len;
    for (;;) {
        size_t len = p->heard_len - begin;
        if (bytes ? len == bytes : len >= 4 && !memcmp(p->heard + p->heard_len - 4, "\r\n\r\n", 4))
            return 1;
        if (!wait_for(p, fd, -1) || recv(fd, p->heard + p->heard_len, 1, 0) != 1) return 0;
        if (++p->heard_len == HEARD) abort();
    }
}

static int connect_to_server(int port) {
    struct sockaddr_in name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&name, 0, sizeof name);
    name.sin_family = AF_INET;
    name.sin_port = htons((uint16_t)port);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof name) != 0) abort();
    return fd;
}

static int pass_on(int from, int to) {
    char chunk[4096];
    ssize_t n = recv(from, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0) send_all(to, chunk, (size_t)n, 0);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static void serve(struct proxy *p, int fd) {
    size_t i;
    int server;
    for (i = 0; i < p->exchanges; i++) {
        if (!hear_request(p, fd, p->script[i].bytes)) return;
        send_all(fd, p->script[i].answer, p->script[i].len, p->piece);
    }
    if (!p->server) return;
    server = connect_to_server(p->server);
    while (wait_for(p, fd, server) && pass_on(fd, server) && pass_on(server, fd)) continue;
    close(server);
}

static void *proxy_thread(void *context) {
    struct proxy *p = (struct proxy *)context;
    while (wait_for(p, p->listener, -1)) {
        int fd = accept(p->listener, NULL, NULL), on = 1;
        if (fd < 0) abort();
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        p->connections++;
        serve(p, fd);
        close(fd);
    }
    return NULL;
}

static void proxy_start(struct proxy *p, const char *scheme, const char *login) {
    p->connections = 0;
    p->heard_len = 0;
    p->listener = loopback_listen(0, &p->port);
    snprintf(p->url, sizeof p->url, "%s://%s127.0.0.1:%d", scheme, login, p->port);
    if (pipe(p->wake) != 0 || pthread_create(&p->thread, NULL, proxy_thread, p) != 0) abort();
}

static void proxy_stop(struct proxy *p) {
    if (write(p->wake[1], "", 1) != 1) abort();
    pthread_join(p->thread, NULL);
    close(p->wake[0]);
    close(p->wake[1]);
    close(p->listener);
}

/* ==== a client behind the proxy ==== */

static stws_options options_behind(const struct proxy *p, const char *url) {
    stws_options o = stws_options_default();
    o.url = url;
    o.proxy = p->url;
    o.single_thread = 1;
    o.reconnect = STWS_OFF;
    return o;
}

/* Connects, sends a message to itself, receives it, and ends. */
static void check_echo(const stws_options *o) {
    stws *c = stws_create(o);
    stws_event event;
    int result = stws_connect(c, SECONDS * 1000);
    CHECK_STR("", stws_error_text(c));
    CHECK_INT(STWS_OK, result);
    if (result == STWS_OK) {
        stws_subscribe(c, "/topic/a", NULL);
        stws_send_text(c, "/topic/a", "hello");
        CHECK_INT(1, stws_next(c, &event, SECONDS * 1000));
        CHECK(event.message && strcmp(event.message->body, "hello") == 0);
    }
    stws_destroy(c);
}

static void check_fails(const stws_options *o, int code, const char *words) {
    stws *c = stws_create(o);
    CHECK_INT(code, stws_connect(c, SECONDS * 1000));
    CHECK_HAS(words, stws_error_text(c));
    CHECK(!strstr(stws_error_text(c), "sesame"));
    stws_destroy(c);
}

static const char OPEN_HTTP[] = "HTTP/1.1 200 Connection established\r\n\r\n";
static const char OPEN_SOCKS[] = "\5\0\0\1\0\0\0\0\0\0";

/* The name does not exist, so a DNS lookup in the client would fail. */
static void test_http_by_name(void) {
    struct loopback s;
    struct proxy p = {.script = {EXCHANGE(0, OPEN_HTTP)}, .exchanges = 1};
    char url[64], expected[256];
    stws_options o;
    loopback_start(&s, 0, 0);
    snprintf(url, sizeof url, "ws://broker.invalid:%d/stomp", s.port);
    for (p.piece = 0; p.piece < 2; p.piece++) {
        p.server = s.port;
        proxy_start(&p, "http", "ada:open%20sesame@");
        o = options_behind(&p, url);
        check_echo(&o);
        proxy_stop(&p);
        snprintf(expected, sizeof expected,
                 "CONNECT broker.invalid:%d HTTP/1.1\r\nHost: broker.invalid:%d\r\n"
                 "Proxy-Authorization: Basic YWRhOm9wZW4gc2VzYW1l\r\n\r\n",
                 s.port, s.port);
        CHECK_MEM(expected, strlen(expected), p.heard, p.heard_len);
        CHECK_INT(1, p.connections);
    }
    loopback_stop(&s);
    CHECK_INT(0, s.odd);
}

static void test_socks_by_name(void) {
    struct loopback s;
    struct proxy p = {.script = {EXCHANGE(3, "\5\0"), EXCHANGE(21, OPEN_SOCKS)}, .exchanges = 2};
    char url[64];
    stws_options o;
    loopback_start(&s, 0, 0);
    snprintf(url, sizeof url, "ws://broker.invalid:%d/stomp", s.port);
    for (p.piece = 0; p.piece < 2; p.piece++) {
        p.server = s.port;
        proxy_start(&p, "socks5", "");
        o = options_behind(&p, url);
        check_echo(&o);
        proxy_stop(&p);
        CHECK_MEM("\5\1\0\5\1\0\3\16broker.invalid", 22, p.heard, 22);
        CHECK_INT(s.port, (unsigned char)p.heard[22] << 8 | (unsigned char)p.heard[23]);
    }
    loopback_stop(&s);
}

static void test_socks_with_a_login(void) {
    struct loopback s;
    struct proxy p = {
        .script = {EXCHANGE(4, "\5\2"), EXCHANGE(13, "\1\0"), EXCHANGE(10, OPEN_SOCKS)},
        .exchanges = 3};
    stws_options o;
    loopback_start(&s, 0, 0);
    p.server = s.port;
    proxy_start(&p, "socks5", "ada:sesame2@");
    o = options_behind(&p, s.url);
    check_echo(&o);
    proxy_stop(&p);
    CHECK_MEM("\5\2\0\2\1\3ada\7sesame2\5\1\0\1\177\0\0\1", 25, p.heard, 25);
    loopback_stop(&s);
}

/* Each attempt uses the next address. TCP goes to the proxy, whichever address it is. */
static void test_addresses(void) {
    static const char *const addresses[] = {"192.0.2.1", "2001:db8::1", NULL};
    struct proxy p = {.script = {EXCHANGE(0, "HTTP/1.1 502 Bad\r\n\r\n")}, .exchanges = 1};
    stws_options o;
    proxy_start(&p, "http", "");
    o = options_behind(&p, "ws://broker.invalid:81/");
    o.addresses = addresses;
    o.reconnect = 0;
    o.reconnect_min_ms = o.reconnect_max_ms = 1;
    o.reconnect_attempts = 2;
    check_fails(&o, STWS_ERR_GAVE_UP, "HTTP 502 Bad: it cannot reach the server");
    proxy_stop(&p);
    CHECK_INT(3, p.connections);
    p.heard[p.heard_len] = 0;
    CHECK_STR("CONNECT 192.0.2.1:81 HTTP/1.1\r\nHost: 192.0.2.1:81\r\n\r\n"
              "CONNECT [2001:db8::1]:81 HTTP/1.1\r\nHost: [2001:db8::1]:81\r\n\r\n"
              "CONNECT 192.0.2.1:81 HTTP/1.1\r\nHost: 192.0.2.1:81\r\n\r\n",
              p.heard);
}

/* A proxy that hangs up inside a good answer. The failure is not final, because another attempt may
   succeed. */
static void check_truncated(const char *scheme, struct proxy *p) {
    size_t last = p->exchanges - 1, whole = p->script[last].len;
    for (p->script[last].len = 0; p->script[last].len < whole; p->script[last].len++) {
        stws_options o;
        proxy_start(p, scheme, "");
        o = options_behind(p, "ws://127.0.0.1:81/");
        o.reconnect = 0;
        o.reconnect_min_ms = o.reconnect_max_ms = 1;
        o.reconnect_attempts = 1;
        check_fails(&o, STWS_ERR_GAVE_UP, "closed the connection before it had answered");
        proxy_stop(p);
        CHECK_INT(2, p->connections);
    }
}

static void test_truncated_answers(void) {
    struct proxy http = {.script = {EXCHANGE(0, OPEN_HTTP)}, .exchanges = 1};
    struct proxy socks = {.script = {EXCHANGE(3, "\5\0"), EXCHANGE(10, OPEN_SOCKS)},
                          .exchanges = 2};
    check_truncated("http", &http);
    check_truncated("socks5", &socks);
}

/* After the proxy's answer all bytes come from the server, and errors are no longer the proxy's. */
static void test_an_end_after_the_answer(void) {
    struct proxy p = {.script = {EXCHANGE(0, OPEN_HTTP), EXCHANGE(0, "")}, .exchanges = 2};
    stws_options o;
    proxy_start(&p, "http", "");
    o = options_behind(&p, "ws://127.0.0.1:81/");
    check_fails(&o, STWS_ERR_EOF, "before it answered the upgrade");
    proxy_stop(&p);
}

static void test_refusals(void) {
    struct proxy p = {.script = {EXCHANGE(0, "HTTP/1.1 407 Who\r\n\r\n<html>")}, .exchanges = 1};
    stws_options o;
    proxy_start(&p, "http", "ada:sesame@");
    o = options_behind(&p, "ws://broker.invalid:81/");
    o.reconnect = 0; /* reconnecting is allowed, but the error is final */
    check_fails(&o, STWS_ERR_PROXY,
                "no connection to broker.invalid port 81: the proxy 127.0.0.1 port");
    check_fails(&o, STWS_ERR_PROXY,
                "HTTP 407 Who: it wants credentials: put them into options.proxy");
    proxy_stop(&p);
    CHECK_INT(2, p.connections);
}

/* The proxy's text is made harmless, like a server's text. */
static void test_a_refusal_that_would_move_text(void) {
    struct proxy p = {.script = {EXCHANGE(0, "HTTP/1.1 403 a\x1b[2J\xC2\x9B"
                                             "b\xE2\x80\xAE\xFF\r\n\r\n")},
                      .exchanges = 1};
    stws_options o;
    proxy_start(&p, "http", "");
    o = options_behind(&p, "ws://broker.invalid:81/");
    check_fails(&o, STWS_ERR_PROXY, "HTTP 403 a.[2J.b..: it forbids that host");
    proxy_stop(&p);
}

static void test_interim_answers(void) {
    struct loopback s;
    struct proxy p = {.script = {EXCHANGE(0, "HTTP/1.1 100 Continue\r\n\r\n"
                                             "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n"
                                             "HTTP/1.1 200 Connection established\r\n\r\n")},
                      .exchanges = 1};
    stws_options o;
    loopback_start(&s, 0, 0);
    for (p.piece = 0; p.piece < 2; p.piece++) {
        p.server = s.port;
        proxy_start(&p, "http", "");
        o = options_behind(&p, s.url);
        check_echo(&o);
        proxy_stop(&p);
    }
    loopback_stop(&s);
    CHECK_INT(2, s.links_total);
}

static void test_bytes_after_the_answer(void) {
    struct proxy p = {.script = {EXCHANGE(0, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Hello\r\n\r\n")},
                      .exchanges = 1};
    stws_options o;
    proxy_start(&p, "http", "");
    o = options_behind(&p, "ws://broker.invalid:81/");
    check_fails(&o, STWS_ERR_PROXY, "bytes of its own");
    proxy_stop(&p);
}

static void test_nobody_listens(void) {
    struct proxy p;
    stws_options o;
    memset(&p, 0, sizeof p);
    proxy_start(&p, "http", "");
    proxy_stop(&p);
    o = options_behind(&p, "ws://broker.invalid:81/");
    check_fails(&o, STWS_ERR_CONNECT, "cannot be reached: connection refused");
    o.proxy = "http://proxy.invalid:1";
    check_fails(&o, STWS_ERR_RESOLVE,
                "the proxy's host name \"proxy.invalid\" could not be resolved");
}

/* ==== time, set by the test ==== */

static long long clock_us;

static long long read_clock(void *ctx) {
    (void)ctx;
    return clock_us;
}

/* Steps the client until it has sent its request to the proxy, for which the proxy's thread needs
   real time. */
static void step_until_asked(stws *c) {
    int tries;
    for (tries = 0; tries < SECONDS * 1000 && !stws_p_proxy_in_dialogue(&c->tcp); tries++) {
        stws_step(c);
        poll(NULL, 0, 1);
    }
    CHECK(stws_p_proxy_in_dialogue(&c->tcp));
}

/* The proxy has its own limit of connect_timeout_ms, and the client waits without looping. */
static void test_silence(void) {
    static const stws_clock clock = {.now_us = read_clock};
    struct proxy p = {.script = {EXCHANGE(HEARD / 2, "")}, .exchanges = 1};
    stws_fd fds[3];
    stws_options o;
    stws *c;
    int result = 0;
    clock_us = 1000000;
    proxy_start(&p, "http", "");
    o = options_behind(&p, "ws://broker.invalid:81/");
    o.clock = &clock;
    c = stws_create(&o);
    while (stws_state(c) != STWS_CONNECTING) stws_step(c);
    CHECK_INT(10000, stws_deadline(c));
    c->tcp.addresses[1] = c->tcp.addresses[0]; /* a second address, which must not be tried later */
    c->tcp.count = 2;
    clock_us += 9000000;
    step_until_asked(c);
    stws_step(c);
    CHECK_INT(STWS_CONNECTING, stws_state(c));
    CHECK_INT(10000, stws_deadline(c));
    CHECK_INT(1, stws_fds(c, fds, 3));
    CHECK_INT(STWS_WANT_READ, fds[0].wants);
    clock_us += 9999000;
    stws_step(c);
    CHECK_INT(STWS_CONNECTING, stws_state(c));
    clock_us += 1000;
    while (result >= 0) result = stws_step(c);
    CHECK_INT(STWS_ERR_TIMEOUT, result);
    CHECK_HAS("the proxy did not connect us within connect_timeout_ms", stws_error_text(c));
    stws_destroy(c);
    proxy_stop(&p);
}

/* ==== the environment, memory, secrets ==== */

static void test_from_the_environment(void) {
    struct loopback s;
    struct proxy p = {.script = {EXCHANGE(0, OPEN_HTTP)}, .exchanges = 1};
    stws_options o;
    loopback_start(&s, 0, 0);
    p.server = s.port;
    proxy_start(&p, "http", "");
    o = options_behind(&p, s.url);
    o.proxy = STWS_PROXY_FROM_ENVIRONMENT;
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    setenv("http_proxy", p.url, 1);
    check_echo(&o);
    setenv("no_proxy", "127.0.0.1", 1);
    check_echo(&o);
    unsetenv("no_proxy");
    setenv("http_proxy", "socks4://ada:sesame@127.0.0.1", 1);
    check_fails(&o, STWS_ERR_USAGE, "the environment's proxy is unusable: a proxy is http://");
    unsetenv("http_proxy");
    check_echo(&o);
    proxy_stop(&p);
    CHECK_INT(1, p.connections);
    loopback_stop(&s);
    CHECK_INT(3, s.links_total);
}

static void never_trace(stws *client, stws_direction direction, const stws_frame *frame,
                        void *user) {
    size_t i;
    (void)client, (void)direction, (void)user;
    CHECK(!strstr(frame->command, "sesame"));
    for (i = 0; i < frame->header_count; i++) CHECK(!strstr(frame->headers[i].value, "c2VzYW1l"));
}

static int holds(const char *memory, size_t size, const char *part) {
    size_t len = strlen(part), i;
    for (i = 0; i + len <= size; i++)
        if (memcmp(memory + i, part, len) == 0) return 1;
    return 0;
}

/* Uses memory of exactly the size of stws_size. At the end it contains no password, in any
   encoding. */
static void test_memory_of_the_caller(void) {
    struct loopback s;
    struct proxy p = {.script = {EXCHANGE(0, OPEN_HTTP)}, .exchanges = 1};
    stws_options o;
    size_t size;
    char *memory;
    stws *c = NULL;
    loopback_start(&s, 0, 0);
    p.server = s.port;
    proxy_start(&p, "http", "ada:sesame@");
    o = options_behind(&p, s.url);
    o.on_trace = never_trace;
    size = stws_size(&o);
    memory = (char *)calloc(1, size);
    if (!memory) abort();
    CHECK_INT(STWS_OK, stws_init(memory, size, &o, &c, NULL));
    CHECK_INT(STWS_OK, stws_connect(c, SECONDS * 1000));
    CHECK(holds(memory, size, "YWRhOnNlc2FtZQ=="));
    stws_destroy(c);
    CHECK(!holds(memory, size, "sesame"));
    CHECK(!holds(memory, size, "YWRhOnNlc2FtZQ=="));
    free(memory);
    proxy_stop(&p);
    loopback_stop(&s);
}

int main(void) {
    RUN(test_http_by_name);  /* [P1] */
    RUN(test_socks_by_name); /* [P1] */
    RUN(test_socks_with_a_login);
    RUN(test_addresses); /* [P1] */
    RUN(test_truncated_answers);
    RUN(test_an_end_after_the_answer);
    RUN(test_refusals);
    RUN(test_a_refusal_that_would_move_text);
    RUN(test_interim_answers);
    RUN(test_bytes_after_the_answer);
    RUN(test_nobody_listens);
    RUN(test_silence);
    RUN(test_from_the_environment); /* [P2] */
    RUN(test_memory_of_the_caller);
    return test_report();
}
