/* How do ten thousand clients share one thread, and what does each of them cost?

       many_clients [CLIENTS [MESSAGES]]

   One epoll set holds the descriptors of all clients. After an event, the loop steps only the
   client that the event belongs to, and asks it what to wait for next (stws_fds) and when it must
   be stepped (stws_deadline). The deadlines are in a heap, so an idle client costs nothing until
   its deadline. The server is a child process on the loopback interface, and does only what this
   program needs.

   The program creates CLIENTS clients (default: 10,000). It prints the connections per second and
   the memory per idle client. Then the server sends MESSAGES messages (default: 20) to each client,
   and as many messages in total to 100 clients while the others are idle. Each time the program
   prints the messages per second. At the end it destroys the clients and stops the server. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef __linux__
int main(void) {
    puts("this example needs epoll, which only Linux has");
    return EXIT_SUCCESS;
}
#else
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTING = 200,  /* connections that are made at the same time */
    FEW = 100,         /* clients that are busy while the others are idle */
    EVENTS = 256,      /* events that epoll_wait returns at most */
    BODY = 64,         /* bytes of a message's body */
    BLOCK = 64,        /* messages that the server writes in one call */
    SILENCE_MS = 60000 /* without any event for so long, the program fails */
};

static void fail(const char *what) {
    fprintf(stderr, "many_clients: %s\n", what);
    exit(EXIT_FAILURE);
}

static void *get_memory(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) fail("no memory");
    return memory;
}

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Adds a descriptor to an epoll set, or changes it there. Its events carry the index. */
static void watch(int set, int operation, int fd, int wants, int index) {
    struct epoll_event event = {0};
    event.data.u32 = (unsigned)index;
    if (wants & STWS_WANT_READ) event.events |= EPOLLIN;
    if (wants & STWS_WANT_WRITE) event.events |= EPOLLOUT;
    if (epoll_ctl(set, operation, fd, &event) != 0) fail("epoll_ctl");
}

/* ==== The server: a child process ==== */

/* A connection to a client. */
struct peer {
    int fd;
    int frames_read; /* 0: the upgrade request comes next; 1: CONNECT comes next */
    long left;       /* messages to send */
    size_t at;       /* bytes of the first of them that are already sent */
};

struct server {
    int set;      /* the epoll set */
    int listener; /* accepts connections */
    int orders;   /* a pipe from the parent process */
    struct peer *peers;
    int count;         /* number of peers */
    char message[512]; /* the message that is sent again and again */
    size_t message_len;
};

static void send_all(int fd, const char *data, size_t len) {
    if (write(fd, data, len) != (ssize_t)len) fail("the server cannot answer");
}

static void answer_upgrade(int fd, char *head, size_t len) {
    stws_header headers[16];
    stws_http http = {0};
    char answer[512];
    size_t used, need;
    http.headers = headers;
    http.max_headers = 16;
    if (stws_handshake_parse(head, len, &http, &used) != STWS_DONE) fail("no upgrade request");
    stws_handshake_answer(answer, sizeof answer, &http, "v12.stomp", &need);
    send_all(fd, answer, need);
}

/* Reads from a client. The upgrade request and CONNECT need an answer, later frames do not. */
static void read_from(struct server *s, struct peer *p) {
    static const char connected[] = "CONNECTED\nversion:1.2\nheart-beat:0,0\n\n";
    char in[4096], out[128];
    ssize_t len = read(p->fd, in, sizeof in);
    size_t need;
    if (len <= 0) {
        epoll_ctl(s->set, EPOLL_CTL_DEL, p->fd, NULL);
        return;
    }
    if (p->frames_read == 0) answer_upgrade(p->fd, in, (size_t)len);
    if (p->frames_read == 1) {
        stws_ws_build(out, sizeof out, STWS_WS_TEXT, 1, connected, sizeof connected, NULL, &need);
        send_all(p->fd, out, need);
    }
    p->frames_read++;
}

/* Sends as many of the peer's messages as the socket takes. */
static void send_messages(struct server *s, struct peer *p, int index) {
    static char block[BLOCK * sizeof s->message];
    size_t i, many, len, skipped = p->at;
    ssize_t sent;
    for (i = 0; i < BLOCK; i++) memcpy(block + i * s->message_len, s->message, s->message_len);
    while (p->left > 0) {
        many = p->left < BLOCK ? (size_t)p->left : (size_t)BLOCK;
        len = many * s->message_len - skipped;
        sent = send(p->fd, block + skipped, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0) break;
        p->left -= (long)((skipped + (size_t)sent) / s->message_len);
        skipped = (skipped + (size_t)sent) % s->message_len;
    }
    p->at = skipped;
    watch(s->set, EPOLL_CTL_MOD, p->fd, p->left ? STWS_WANT_READ | STWS_WANT_WRITE : STWS_WANT_READ,
          index);
}

/* Reads an order of the parent process: the number of clients, and of messages to each of them. The
   server ends when the pipe is closed. */
static void take_order(struct server *s) {
    long order[2];
    int i;
    if (read(s->orders, order, sizeof order) != (ssize_t)sizeof order) exit(EXIT_SUCCESS);
    for (i = 0; i < order[0]; i++) {
        s->peers[i].left = order[1];
        send_messages(s, &s->peers[i], i);
    }
}

static void accept_client(struct server *s, int most) {
    int fd = accept(s->listener, NULL, NULL);
    if (fd < 0 || s->count == most) fail("the server cannot accept a connection");
    s->peers[s->count].fd = fd;
    watch(s->set, EPOLL_CTL_ADD, fd, STWS_WANT_READ, s->count++);
}

static void make_message(struct server *s) {
    char frame[256] = "MESSAGE\nsubscription:sub-1\nmessage-id:1\ndestination:/topic/a\n"
                      "content-length:64\n\n";
    size_t head = strlen(frame);
    memset(frame + head, 'x', BODY);
    frame[head + BODY] = 0;
    stws_ws_build(s->message, sizeof s->message, STWS_WS_TEXT, 1, frame, head + BODY + 1, NULL,
                  &s->message_len);
}

/* Runs the server for at most so many clients. Does not return. */
static void serve(int listener, int orders, int most) {
    struct epoll_event events[EVENTS];
    struct server s = {0};
    int i, n;
    s.set = epoll_create1(EPOLL_CLOEXEC);
    s.listener = listener;
    s.orders = orders;
    s.peers = (struct peer *)get_memory((size_t)most, sizeof *s.peers);
    make_message(&s);
    watch(s.set, EPOLL_CTL_ADD, listener, STWS_WANT_READ, most);
    watch(s.set, EPOLL_CTL_ADD, orders, STWS_WANT_READ, most + 1);
    while ((n = epoll_wait(s.set, events, EVENTS, SILENCE_MS)) > 0) {
        for (i = 0; i < n; i++) {
            int index = (int)events[i].data.u32;
            if (index == most)
                accept_client(&s, most);
            else if (index > most)
                take_order(&s);
            else if (events[i].events & EPOLLOUT)
                send_messages(&s, &s.peers[index], index);
            else
                read_from(&s, &s.peers[index]);
        }
    }
    exit(EXIT_FAILURE);
}

/* ==== The clients ==== */

struct one {
    stws *client;
    int fd, wants; /* what the epoll set has; fd -1: the client is not in the set */
    long long due; /* when the client must be stepped; -1: no deadline */
    int place;     /* its place in the heap */
};

struct all {
    int set;       /* the epoll set */
    int count;     /* clients to create */
    int created;   /* clients that are created */
    int connected; /* clients that have a session */
    struct one *ones;
    int *heap; /* indices of the clients with a deadline; the earliest deadline comes first */
    int heap_len;
    long messages; /* received messages */
};

/* ---- A heap of deadlines ---- */

static void put(struct all *a, int place, int index) {
    a->heap[place] = index;
    a->ones[index].place = place;
}

static long long due_at(const struct all *a, int place) {
    return a->ones[a->heap[place]].due;
}

/* Moves the client at that place to where its deadline belongs. */
static void sift(struct all *a, int place) {
    int index = a->heap[place], child;
    long long due = a->ones[index].due;
    while (place > 0 && due_at(a, (place - 1) / 2) > due) {
        put(a, place, a->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    while ((child = 2 * place + 1) < a->heap_len) {
        if (child + 1 < a->heap_len && due_at(a, child + 1) < due_at(a, child)) child++;
        if (due_at(a, child) >= due) break;
        put(a, place, a->heap[child]);
        place = child;
    }
    put(a, place, index);
}

/* Sets a client's deadline; -1 removes the client from the heap. */
static void set_due(struct all *a, int index, long long due) {
    struct one *o = &a->ones[index];
    int place = o->due < 0 ? a->heap_len : o->place;
    if (o->due < 0 && due < 0) return;
    if (o->due < 0) put(a, a->heap_len++, index);
    o->due = due;
    if (due < 0) {
        if (place == --a->heap_len) return;
        put(a, place, a->heap[a->heap_len]);
    }
    sift(a, place);
}

/* ---- Driving ---- */

/* Steps a client, then asks what it waits for. epoll_ctl is called only if that has changed. */
static void turn(struct all *a, int index) {
    struct one *o = &a->ones[index];
    stws_fd fd = {-1, 0};
    long long left;
    if (stws_step(o->client) < 0) fail(stws_error_text(o->client));
    left = stws_deadline(o->client);
    stws_fds(o->client, &fd, 1);
    set_due(a, index, left < 0 ? -1 : now_ms() + left);
    if (fd.fd == o->fd && fd.wants == o->wants) return;
    if (o->fd >= 0 && fd.fd != o->fd) epoll_ctl(a->set, EPOLL_CTL_DEL, o->fd, NULL);
    if (fd.fd >= 0)
        watch(a->set, fd.fd == o->fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd.fd, fd.wants, index);
    o->fd = fd.fd;
    o->wants = fd.wants;
}

/* Waits for events, and steps the clients with an event and those whose deadline has come. */
static void turn_all(struct all *a) {
    struct epoll_event events[EVENTS];
    long long left = SILENCE_MS;
    int i, n;
    if (a->heap_len) left = due_at(a, 0) - now_ms();
    if (left > SILENCE_MS) left = SILENCE_MS;
    n = epoll_wait(a->set, events, EVENTS, left < 0 ? 0 : (int)left);
    for (i = 0; i < n; i++) turn(a, (int)events[i].data.u32);
    if (n == 0 && left == SILENCE_MS) fail("no event came for 60 s");
    while (a->heap_len && due_at(a, 0) <= now_ms()) turn(a, a->heap[0]);
}

static void note_event(stws *client, const stws_event *event, void *user) {
    if (event->type == STWS_EVENT_CONNECTED) ((struct all *)user)->connected++;
    if (event->type == STWS_EVENT_DISCONNECTED) fail(stws_error_text(client));
}

static void note_message(stws *client, const stws_message *message, void *user) {
    (void)client;
    if (message->body_len == BODY) ((struct all *)user)->messages++;
}

/* Returns options for a small client: it has one subscription, and small buffers that grow only
   for a large frame. */
static stws_options small_options(struct all *a, const char *url) {
    stws_options o = stws_options_default();
    o.url = url;
    o.on_event = note_event;
    o.on_message = note_message;
    o.user = a;
    o.single_thread = 1;
    o.rx_buffer = o.tx_buffer = 256;
    o.outbox_bytes = 16; /* too small for any message: none is sent */
    o.max_headers = 8;
    o.max_subscriptions = 1;
    o.max_receipts = 4;
    o.subscription_bytes = 32;
    o.heartbeat_in_ms = o.heartbeat_out_ms = STWS_OFF;
    return o;
}

static void create_one(struct all *a, const stws_options *options) {
    struct one *o = &a->ones[a->created];
    o->client = stws_create(options);
    o->fd = -1;
    o->due = -1;
    stws_subscribe(o->client, "/topic/a", NULL);
    turn(a, a->created++);
}

/* ==== The measurement ==== */

static long resident_bytes(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1) fail("/proc/self/statm");
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static double rate(long count, long long began) {
    long long taken = now_ms() - began;
    return 1000.0 * (double)count / (double)(taken > 0 ? taken : 1);
}

static void connect_all(struct all *a, const char *url) {
    stws_options options = small_options(a, url);
    long before = resident_bytes();
    long long began = now_ms();
    while (a->connected < a->count) {
        while (a->created < a->count && a->created - a->connected < CONNECTING)
            create_one(a, &options);
        turn_all(a);
    }
    printf("%d clients connected: %.0f per second\n", a->count, rate(a->count, began));
    printf("bytes per idle client: %zu by stws_size, %ld resident (rx_buffer and tx_buffer 256,\n"
           "    outbox_bytes 16, max_headers 8, one subscription)\n",
           stws_size(&options), (resident_bytes() - before) / a->count);
}

static double cpu_us(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return 1e6 * (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* Orders messages from the server, and receives them. */
static void receive(struct all *a, int orders, long clients, long messages) {
    long order[2];
    long long began = now_ms();
    double cpu = cpu_us();
    order[0] = clients;
    order[1] = messages;
    a->messages = 0;
    if (write(orders, order, sizeof order) != (ssize_t)sizeof order) fail("the server is gone");
    while (a->messages < clients * messages) turn_all(a);
    printf("%ld messages to %ld clients, %ld idle: %.0f per second, %.2f us of CPU each\n",
           a->messages, clients, a->count - clients, rate(a->messages, began),
           (cpu_us() - cpu) / (double)a->messages);
}

static int listen_on_loopback(int *port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        fail("no port is free on the loopback interface");
    *port = ntohs(address.sin_port);
    return fd;
}

/* Each client needs a descriptor; the program needs a few more. */
static void raise_limit(int clients) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)clients + 16)
        fail("the limit of open files is too low; see ulimit -Hn");
}

int main(int argc, char **argv) {
    int clients = argc > 1 ? atoi(argv[1]) : 10000, port, orders[2], listener, i;
    long messages = argc > 2 ? atol(argv[2]) : 20, few;
    struct all a = {0};
    char url[64];
    pid_t child;
    if (clients < 1 || messages < 1) fail("usage: many_clients [CLIENTS [MESSAGES]]");
    raise_limit(clients);
    listener = listen_on_loopback(&port);
    if (pipe(orders) != 0) fail("no pipe");
    fflush(stdout);
    child = fork();
    if (child == 0) {
        close(orders[1]);
        serve(listener, orders[0], clients);
    }
    close(listener);
    close(orders[0]);
    signal(SIGPIPE, SIG_IGN);
    snprintf(url, sizeof url, "ws://127.0.0.1:%d/many", port);
    a.count = clients;
    a.set = epoll_create1(EPOLL_CLOEXEC);
    a.ones = (struct one *)get_memory((size_t)clients, sizeof *a.ones);
    a.heap = (int *)get_memory((size_t)clients, sizeof *a.heap);
    connect_all(&a, url);
    receive(&a, orders[1], clients, messages);
    few = clients < FEW ? clients : FEW;
    receive(&a, orders[1], few, messages * clients / few);
    for (i = 0; i < clients; i++) stws_destroy(a.ones[i].client);
    close(orders[1]); /* this ends the server */
    waitpid(child, NULL, 0);
    free(a.ones);
    free(a.heap);
    close(a.set);
    return EXIT_SUCCESS;
}
#endif
