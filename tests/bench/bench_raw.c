// Measures what the kernel allows. Uses the same connections as the clients, but after the login it
// does not process the data. burst only calls recv. sink writes frames that were masked in advance.
// pingpong sends and receives frames of the same lengths as the STOMP frames.
#define STOMP_WS_IMPLEMENTATION
#include "../../stomp_ws.h"
#include "bench.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/time.h>

enum { BLOCK = 64 << 10, HEAD = 256, TAIL = 16, SILENCE_SECONDS = 30 };

typedef struct raw {
    bench bench;
    int fd;
    char in[TAIL + BLOCK];
} raw;

static const char end_of_all[] = "that was all"; // including the NUL that ends the frame

static void give_up(const char *why) {
    fprintf(stderr, "bench_raw: %s\n", why);
    exit(EXIT_FAILURE);
}

static void put(const raw *r, const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = send(r->fd, data, len, MSG_NOSIGNAL);
        if (n <= 0) give_up("cannot write");
        data += n;
        len -= (size_t)n;
    }
}

static size_t get(raw *r) {
    ssize_t n = recv(r->fd, r->in + TAIL, BLOCK, 0);
    if (n <= 0) give_up("cannot read");
    return (size_t)n;
}

// Masks the frame, as every client must. The key is fixed, because a fresh key costs time that is
// not the kernel's.
static size_t frame(char *out, size_t cap, const char *head, const char *body, size_t body_len) {
    static const unsigned char key[4] = {0x12, 0x34, 0x56, 0x78};
    size_t head_len = strlen(head), need;
    char *stomp = (char *)bench_memory(head_len + body_len + 1);
    memcpy(stomp, head, head_len);
    memcpy(stomp + head_len, body, body_len);
    stomp[head_len + body_len] = 0;
    if (stws_ws_build(out, cap, STWS_WS_TEXT, 1, stomp, head_len + body_len + 1, key, &need) !=
        STWS_OK)
        give_up("a frame does not fit");
    free(stomp);
    return need;
}

static void put_frame(const raw *r, const char *head) {
    char out[HEAD];
    size_t len = frame(out, sizeof out, head, "", 0);
    put(r, out, len);
}

static size_t send_frame(const raw *r, const char *destination, char *out, size_t cap) {
    char head[HEAD];
    sprintf(head, "SEND\ndestination:%s\ncontent-length:%ld\n\n", destination, r->bench.size);
    return frame(out, cap, head, r->bench.body, (size_t)r->bench.size);
}

static void dial(raw *r, const stws_url *url) {
    struct timeval silence = {SILENCE_SECONDS, 0};
    struct sockaddr_in to;
    int on = 1;
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((unsigned short)url->port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    setsockopt(r->fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence);
    if (r->fd < 0 || connect(r->fd, (struct sockaddr *)&to, sizeof to) != 0)
        give_up("no connection");
}

static void log_in(raw *r) {
    static const unsigned char nonce[16] = {1, 2, 3};
    stws_handshake handshake;
    stws_url url;
    char key[25], request[1024];
    size_t need;
    memset(&handshake, 0, sizeof handshake);
    if (stws_url_parse(r->bench.url, &url, NULL) != STWS_OK) give_up("not a URL");
    dial(r, &url);
    stws_handshake_key(nonce, key);
    handshake.url = &url;
    handshake.key = key;
    stws_handshake_request(request, sizeof request, &handshake, &need);
    put(r, request, need);
    get(r); // the 101 response; the server sends nothing more before it receives CONNECT
    put_frame(r, "CONNECT\naccept-version:1.2\nhost:/\n\n");
    get(r);
}

static void subscribe(const raw *r, const char *destination) {
    char head[HEAD];
    sprintf(head, "SUBSCRIBE\nid:1\ndestination:%s\n\n", destination);
    put_frame(r, head);
}

// Reads until the end mark has arrived. The end mark may be split between two reads, so the last
// bytes of each read are kept before `in`.
static void read_to_end(raw *r) {
    size_t n;
    memset(r->in, 0, TAIL);
    do {
        n = get(r);
        if (r->bench.began <= 0) r->bench.began = bench_now();
        memmove(r->in, r->in + n, TAIL);
    } while (memcmp(r->in + TAIL - sizeof end_of_all, end_of_all, sizeof end_of_all) != 0);
    r->bench.ended = bench_now();
    r->bench.messages = r->bench.count;
}

static void burst(raw *r) {
    subscribe(r, "/topic/bench");
    read_to_end(r);
}

static void sink(raw *r) {
    size_t room = (size_t)r->bench.size + HEAD, one = 0;
    long in_block = BLOCK / (long)room + 1, i, left;
    char *block = (char *)bench_memory((size_t)in_block * room);
    for (i = 0; i < in_block; i++)
        one = send_frame(r, "/topic/sink", block + (size_t)i * one, room);
    subscribe(r, "/topic/end");
    r->bench.began = bench_now();
    for (left = r->bench.count; left > 0; left -= in_block)
        put(r, block, one * (size_t)(left < in_block ? left : in_block));
    read_to_end(r);
    free(block);
}

// Returns the number of bytes of the frame that begins at `in`.
static size_t whole_frame(const unsigned char *in) {
    size_t len = in[1], wide = len == 126 ? 2 : len == 127 ? 8 : 0, i;
    if (wide) len = 0;
    for (i = 0; i < wide; i++) len = len << 8 | in[2 + i];
    return 2 + wide + len;
}

static void pingpong(raw *r) {
    size_t room = (size_t)r->bench.size + HEAD;
    char *ping = (char *)bench_memory(room);
    size_t len = send_frame(r, "/topic/echo", ping, room), got, whole;
    subscribe(r, "/topic/echo");
    r->bench.began = bench_now();
    for (; r->bench.messages < r->bench.count; r->bench.messages++) {
        double sent = bench_now();
        put(r, ping, len);
        got = get(r);
        whole = whole_frame((const unsigned char *)r->in + TAIL);
        while (got < whole) got += get(r);
        bench_note_trip(&r->bench, bench_now() - sent);
    }
    r->bench.ended = bench_now();
    free(ping);
}

int main(int argc, char **argv) {
    static raw r;
    bench_begin(&r.bench, argc, argv);
    log_in(&r);
    if (bench_is(&r.bench, "burst"))
        burst(&r);
    else if (bench_is(&r.bench, "sink"))
        sink(&r);
    else
        pingpong(&r);
    bench_report(&r.bench);
    bench_end(&r.bench);
    return EXIT_SUCCESS;
}
