// wslay, with hand-written STOMP. Uses wslay's event API on a non-blocking socket.
#define _POSIX_C_SOURCE 200809L
#include "by_hand.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

enum { SILENCE_MS = 30000 };

typedef struct peer {
    bench bench;
    int fd, connected, ended;
    long echoes;
    char *out;
    wslay_event_context_ptr ws;
} peer;

static void give_up(const char *why) {
    fprintf(stderr, "wslay: %s\n", why);
    exit(EXIT_FAILURE);
}

// ---- the callbacks that wslay requires ----

static ssize_t on_recv(wslay_event_context_ptr ws, uint8_t *buf, size_t len, int flags,
                       void *user) {
    ssize_t n = recv(((peer *)user)->fd, buf, len, 0);
    (void)flags;
    if (n > 0) return n;
    wslay_event_set_error(ws, n < 0 && errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK
                                                       : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t on_send(wslay_event_context_ptr ws, const uint8_t *data, size_t len, int flags,
                       void *user) {
    int more = flags & WSLAY_MSG_MORE ? MSG_MORE : 0;
    ssize_t n = send(((peer *)user)->fd, data, len, MSG_NOSIGNAL | more);
    if (n >= 0) return n;
    wslay_event_set_error(ws, errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int on_mask(wslay_event_context_ptr ws, uint8_t *buf, size_t len, void *user) {
    (void)ws, (void)user;
    return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -1;
}

static void on_message(wslay_event_context_ptr ws, const struct wslay_event_on_msg_recv_arg *arg,
                       void *user) {
    peer *p = (peer *)user;
    by_hand m;
    (void)ws;
    if (!by_hand_parse(&m, (const char *)arg->msg, arg->msg_length)) {
        p->connected = 1;
        return;
    }
    if (p->bench.began <= 0) p->bench.began = bench_now();
    p->ended = by_hand_is_end(&m);
    if (bench_is(&p->bench, "burst") && !p->ended) by_hand_read(&p->bench, &m);
    p->echoes++;
}

// ---- the event loop ----

static void wait_for(const peer *p, short events) {
    struct pollfd waiting;
    waiting.fd = p->fd;
    waiting.events = events;
    if (poll(&waiting, 1, SILENCE_MS) <= 0) give_up("nothing came");
}

static void receive_some(peer *p) {
    wait_for(p, POLLIN);
    if (wslay_event_recv(p->ws) != 0) give_up("receiving failed");
}

static void send_text(peer *p, const char *text, size_t len) {
    struct wslay_event_msg message;
    message.opcode = WSLAY_TEXT_FRAME;
    message.msg = (const uint8_t *)text;
    message.msg_length = len;
    if (wslay_event_queue_msg(p->ws, &message) != 0) give_up("queueing failed");
    for (;;) {
        if (wslay_event_send(p->ws) != 0) give_up("sending failed");
        if (!wslay_event_want_write(p->ws)) return;
        wait_for(p, POLLOUT);
    }
}

static void send_body(peer *p, const char *destination) {
    send_text(p, p->out, by_hand_send(p->out, destination, p->bench.body, (size_t)p->bench.size));
}

// ---- the connection, which wslay does not provide ----

static void dial(peer *p, int port) {
    struct sockaddr_in to;
    int on = 1;
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((unsigned short)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&to, sizeof to) != 0)
        give_up("no connection");
}

static void upgrade(peer *p) {
    char request[512], path[64], answer[1024];
    size_t len = 0;
    int port;
    if (sscanf(p->bench.url, "ws://127.0.0.1:%d%63s", &port, path) != 2) give_up("not a URL");
    dial(p, port);
    sprintf(request,
            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n",
            path, port);
    if (send(p->fd, request, strlen(request), MSG_NOSIGNAL) < 0) give_up("cannot write");
    while (len < 4 || memcmp(answer + len - 4, "\r\n\r\n", 4) != 0)
        if (len == sizeof answer || recv(p->fd, answer + len++, 1, 0) != 1) give_up("no answer");
    if (memcmp(answer, "HTTP/1.1 101", 12) != 0) give_up("no upgrade");
    fcntl(p->fd, F_SETFL, O_NONBLOCK);
}

static void log_in(peer *p) {
    const char *connect_frame = by_hand_connect();
    char head[BY_HAND_HEAD];
    size_t len;
    send_text(p, connect_frame, strlen(connect_frame) + 1);
    while (!p->connected) receive_some(p);
    len = by_hand_subscribe(head, by_hand_destination(&p->bench));
    send_text(p, head, len);
}

// ---- the measurements ----

static void burst(peer *p) {
    while (!p->ended) receive_some(p);
}

static void sink(peer *p) {
    p->bench.began = bench_now();
    for (; p->bench.messages < p->bench.count; p->bench.messages++) send_body(p, "/topic/sink");
    while (!p->ended) receive_some(p);
}

static void pingpong(peer *p) {
    bench *b = &p->bench;
    for (b->began = bench_now(); b->messages < b->count; b->messages++) {
        double sent = bench_now();
        send_body(p, "/topic/echo");
        while (p->echoes == b->messages) receive_some(p);
        bench_note_trip(b, bench_now() - sent);
    }
}

int main(int argc, char **argv) {
    static const struct wslay_event_callbacks callbacks = {on_recv, on_send, on_mask,   NULL,
                                                           NULL,    NULL,    on_message};
    static peer p;
    bench_begin(&p.bench, argc, argv);
    p.out = (char *)bench_memory((size_t)p.bench.size + BY_HAND_HEAD);
    upgrade(&p);
    if (wslay_event_context_client_init(&p.ws, &callbacks, &p) != 0) give_up("no memory");
    log_in(&p);
    if (bench_is(&p.bench, "burst"))
        burst(&p);
    else if (bench_is(&p.bench, "sink"))
        sink(&p);
    else
        pingpong(&p);
    p.bench.ended = bench_now();
    bench_report(&p.bench);
    wslay_event_context_free(p.ws);
    free(p.out);
    bench_end(&p.bench);
    return EXIT_SUCCESS;
}
