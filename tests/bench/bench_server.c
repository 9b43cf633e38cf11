// The server of the benchmark. It sends frames that were built in advance, and reads only the first
// bytes of each frame that it receives, so that no client has to wait for it.
//
// It listens on 127.0.0.1 and prints its port. It ends when its standard input ends. The path of
// the URL, /MODE/COUNT/SIZE, selects what a connection does. Each connection has a process of its
// own:
//
//   /burst/…     after the subscription to /topic/bench: COUNT messages with bodies of SIZE bytes,
//                then one message from /topic/end
//   /pingpong/…  for each SEND a MESSAGE with a body of SIZE bytes
//   /sink/…      after COUNT SENDs one MESSAGE from /topic/end
#define STOMP_WS_IMPLEMENTATION
#include "../../stomp_ws.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LIFETIME_SECONDS = 300,
    BLOCK = 256 << 10,  // bytes per read or write
    HEAD = 1024,        // bytes of a client's frame that may be examined
    MESSAGE_HEAD = 512, // bytes of a MESSAGE besides its body
    WS_HEAD = 14
};

typedef struct peer {
    int fd;
    char mode[16];
    long count, size, sent;
    char subscription[64];
    char *in;
    size_t at, len;
    unsigned long long rest; // of the frame that is arriving
    char command[16];        // of the message that is arriving
    int fin;
    char head[HEAD + 1];
    char *answer;
    size_t answer_len;
} peer;

static void give_up(const char *why) {
    fprintf(stderr, "bench_server: %s\n", why);
    _exit(1);
}

static void *memory(size_t size) {
    void *block = malloc(size);
    if (!block) give_up("no memory");
    return block;
}

static void push(const peer *p, const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = send(p->fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) _exit(0); // the client has closed the connection
        data += n;
        len -= (size_t)n;
    }
}

static void pull(peer *p) {
    ssize_t n;
    if (p->at == p->len) p->at = p->len = 0;
    memmove(p->in, p->in + p->at, p->len - p->at);
    p->len -= p->at;
    p->at = 0;
    do n = recv(p->fd, p->in + p->len, BLOCK - p->len, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0) _exit(0);
    p->len += (size_t)n;
}

// Builds a complete WebSocket frame that contains a STOMP frame.
static size_t text(char *out, size_t cap, const char *frame, size_t len) {
    size_t need;
    if (stws_ws_build(out, cap, STWS_WS_TEXT, 1, frame, len, NULL, &need) != STWS_OK)
        give_up("a frame does not fit");
    return need;
}

static size_t message(const peer *p, char *out, size_t cap, long number, const char *destination,
                      const char *body, size_t body_len) {
    char *frame = (char *)memory(MESSAGE_HEAD + body_len);
    size_t len = (size_t)sprintf(frame,
                                 "MESSAGE\nsubscription:%s\nmessage-id:session-1234-%07ld\n"
                                 "destination:%s\ncontent-type:text/plain\ncontent-length:%zu\n\n",
                                 p->subscription, number, destination, body_len);
    memcpy(frame + len, body, body_len);
    frame[len + body_len] = 0;
    len = text(out, cap, frame, len + body_len + 1);
    free(frame);
    return len;
}

static void push_end(const peer *p) {
    static const char body[] = "that was all";
    char out[MESSAGE_HEAD];
    size_t len = message(p, out, sizeof out, 0, "/topic/end", body, sizeof body - 1);
    push(p, out, len);
}

static char *body_of_size(const peer *p) {
    char *body = (char *)memory((size_t)p->size + 1);
    memset(body, 'x', (size_t)p->size);
    return body;
}

// All messages have the same length, so a part of a block can be sent, too.
static void push_burst(const peer *p) {
    size_t room = (size_t)p->size + MESSAGE_HEAD + WS_HEAD, one = 0;
    long in_block = BLOCK / (long)room + 1, i, left;
    char *block = (char *)memory((size_t)in_block * room), *body = body_of_size(p);
    for (i = 0; i < in_block; i++)
        one = message(p, block + (size_t)i * one, room, i, "/topic/bench", body, (size_t)p->size);
    for (left = p->count; left > 0; left -= in_block)
        push(p, block, one * (size_t)(left < in_block ? left : in_block));
    push_end(p);
    free(body);
    free(block);
}

static void prepare_answer(peer *p) {
    size_t room = (size_t)p->size + MESSAGE_HEAD + WS_HEAD;
    char *body = body_of_size(p);
    free(p->answer);
    p->answer = (char *)memory(room);
    p->answer_len = message(p, p->answer, room, 1, "/topic/echo", body, (size_t)p->size);
    free(body);
}

// Finds the value of a header in the text of a frame. Does not unescape, because the benchmark's
// clients send nothing that is escaped.
static void header(const char *head, const char *name, char *out, size_t cap) {
    const char *line = strstr(head, name);
    size_t len = line ? strcspn(line + strlen(name), "\r\n") : 0;
    if (len >= cap) give_up("a header is too long");
    if (line) memcpy(out, line + strlen(name), len);
    out[len] = 0;
}

static void log_in(const peer *p) {
    char frame[128], out[160];
    size_t len =
        (size_t)sprintf(frame, "CONNECTED\nversion:%s\nserver:bench_server/1\nheart-beat:0,0\n\n",
                        strstr(p->head, "1.2") ? "1.2" : "1.1");
    len = text(out, sizeof out, frame, len + 1);
    push(p, out, len);
}

static void subscribe(peer *p) {
    header(p->head, "\nid:", p->subscription, sizeof p->subscription);
    if (strcmp(p->mode, "burst") == 0) push_burst(p);
    if (strcmp(p->mode, "pingpong") == 0) prepare_answer(p);
}

static void take_send(peer *p) {
    if (strcmp(p->mode, "pingpong") == 0) push(p, p->answer, p->answer_len);
    if (strcmp(p->mode, "sink") == 0 && ++p->sent == p->count) push_end(p);
}

static void act(peer *p) {
    const char *command = p->command;
    if (strcmp(command, "SEND") == 0)
        take_send(p);
    else if (strcmp(command, "CONNECT") == 0 || strcmp(command, "STOMP") == 0)
        log_in(p);
    else if (strcmp(command, "SUBSCRIBE") == 0)
        subscribe(p);
    else if (strcmp(command, "DISCONNECT") == 0)
        _exit(0);
}

// Finds the number of bytes of the frame's header at `in` and of its payload. Returns 0 if the
// header is not complete yet.
static size_t frame_head(const unsigned char *in, size_t have, unsigned long long *payload) {
    size_t head = 6, i;
    if (have < 2) return 0;
    *payload = in[1] & 127u;
    if (*payload == 126) head = 8;
    if (*payload == 127) head = 14;
    if (have < head) return 0;
    if (head > 6) *payload = 0;
    for (i = 2; i + 4 < head; i++) *payload = *payload << 8 | in[i];
    return head;
}

static void name_command(peer *p, const unsigned char *in, size_t head, size_t shown) {
    size_t name;
    char first[8];
    size_t look = shown < 5 ? shown : 5;
    stws_ws_mask(first, in + head, look, in + head - 4, 0);
    if (look == 5 && memcmp(first, "SEND\n", 5) == 0) { // this case has to be fast
        strcpy(p->command, "SEND");
        return;
    }
    stws_ws_mask(p->head, in + head, shown, in + head - 4, 0);
    p->head[shown] = 0;
    name = strcspn(p->head, "\r\n");
    if (name >= sizeof p->command) name = 0;
    memcpy(p->command, p->head, name);
    p->command[name] = 0;
}

// Returns 1 if a frame has begun, 0 if more bytes are needed.
static int begin_frame(peer *p) {
    const unsigned char *in = (const unsigned char *)p->in + p->at;
    size_t have = p->len - p->at, shown, head = frame_head(in, have, &p->rest);
    int opcode;
    if (head == 0) return 0;
    shown = p->rest < HEAD ? (size_t)p->rest : HEAD;
    if (have < head + shown) return 0;
    opcode = in[0] & 15;
    if (opcode == STWS_WS_CLOSE) _exit(0);
    p->fin = in[0] >> 7;
    if (opcode != STWS_WS_CONTINUATION) name_command(p, in, head, shown);
    p->at += head;
    return 1;
}

static void end_frame(peer *p) {
    if (!p->fin) return;
    act(p);
    p->command[0] = 0;
}

static void serve(peer *p) {
    for (;;) {
        size_t take;
        while (begin_frame(p)) {
            while (p->rest > p->len - p->at) {
                p->rest -= p->len - p->at;
                p->at = p->len;
                pull(p);
            }
            take = (size_t)p->rest;
            p->at += take;
            p->rest = 0;
            end_frame(p);
        }
        pull(p);
    }
}

static void upgrade(peer *p) {
    stws_header headers[32];
    stws_http request;
    char answer[1024];
    size_t used = 0, need;
    int result;
    memset(&request, 0, sizeof request);
    request.headers = headers;
    request.max_headers = 32;
    do {
        pull(p);
        result = stws_handshake_parse(p->in, p->len, &request, &used);
    } while (result == STWS_MORE);
    if (result != STWS_DONE ||
        sscanf(request.target, "/%15[a-z]/%ld/%ld", p->mode, &p->count, &p->size) != 3)
        give_up("the path is not /MODE/COUNT/SIZE");
    stws_handshake_answer(answer, sizeof answer, &request, "v12.stomp, v11.stomp", &need);
    push(p, answer, need);
    p->at = used;
}

static void be_peer(int fd) {
    int on = 1;
    peer p;
    memset(&p, 0, sizeof p);
    p.fd = fd;
    p.in = (char *)memory(BLOCK);
    alarm(LIFETIME_SECONDS);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    upgrade(&p);
    serve(&p);
}

static int listen_on_loopback(int *port) {
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 16) != 0 || getsockname(listener, (struct sockaddr *)&address, &len) != 0)
        give_up("cannot listen on 127.0.0.1");
    *port = ntohs(address.sin_port);
    return listener;
}

static void accept_one(int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) return;
    if (fork() == 0) {
        close(listener);
        be_peer(fd);
    }
    close(fd);
}

int main(void) {
    struct pollfd waiting[2];
    int port;
    waiting[0].fd = listen_on_loopback(&port);
    waiting[1].fd = 0;
    waiting[0].events = waiting[1].events = POLLIN;
    signal(SIGCHLD, SIG_IGN);
    printf("%d\n", port);
    fflush(stdout);
    while (poll(waiting, 2, -1) >= 0 && !waiting[1].revents)
        if (waiting[0].revents) accept_one(waiting[0].fd);
    return 0;
}
