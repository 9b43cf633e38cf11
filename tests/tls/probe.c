/* A client for wss://, used by tests/tls/run.py. It connects, sends messages to itself, ends, and
   prints the result on stdout.

       probe name=value...

   These options have the names of stws_options: url, addresses (with commas), ca, cert, key, pin,
   insecure=1. The others:

       pem=FILE        a file whose content becomes tls_ca_pem
       later=URL       the URL that before_connect uses instead of url
       again=URL       the same, but only after the first attempt
       size=N          bytes of each body
       sends=N         number of messages
       rounds=N        number of connections, one after the other
       timeout=MS      time limit
       search=0        do not search the memory for secrets; parts of it were never written
       fault=ERRNO     every second read of a file fails with this error
       setuid=1        the process seems to have other rights than its user
       soon=1          give up soon, also after a session

   The client uses a block of memory of exactly stws_size bytes. If the library calls malloc, the
   program ends. */
#if !defined(STOMP_WS_BEARSSL) && !defined(STOMP_WS_OPENSSL)
#define STOMP_WS_BEARSSL
#endif
#if defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* the header does the same if it is included first */
#endif
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_MALLOC(size) must_not_allocate(size)
#define STOMP_WS_FREE(block) ((void)(block))
#include <stddef.h>
#include <unistd.h>
static void *must_not_allocate(size_t size);
static ssize_t read_with_faults(int fd, void *buf, size_t len);
static int seems_setuid;
#define read read_with_faults
#define geteuid() (getuid() + (seems_setuid == 1))
#define getegid() (getgid() + (seems_setuid == 2))
#include "stomp_ws.h"
#undef read
#undef geteuid
#undef getegid
#ifdef STOMP_WS_OPENSSL
#include "examples/stomp_ws_openssl.h"
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int fault;

typedef struct probe {
    stws_options options;
    const char *later_url, *again_url;
    const char *addresses[4];
    size_t size;
    int sends, rounds, timeout_ms, search;
    int attempts, received, wrong, saw_tls;
    char *body;
} probe;

static void *must_not_allocate(size_t size) {
    printf("the library asked for %zu bytes of heap\n", size);
    exit(3);
}

static ssize_t read_with_faults(int fd, void *buf, size_t len) {
    static int reads;
    struct stat file;
    if (!fault || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) return read(fd, buf, len);
    if (++reads % 2) return read(fd, buf, len);
    errno = fault;
    return -1;
}

static char *read_text(const char *file) {
    static char text[65536];
    FILE *f = fopen(file, "rb");
    if (!f || fread(text, 1, sizeof text - 1, f) == 0) exit(2);
    fclose(f);
    return text;
}

static int set_number(probe *p, const char *name, const char *value) {
    int number = atoi(value);
    if (!strcmp(name, "insecure"))
        p->options.tls_insecure_no_verify = number;
    else if (!strcmp(name, "size"))
        p->size = (size_t)number;
    else if (!strcmp(name, "sends"))
        p->sends = number;
    else if (!strcmp(name, "rounds"))
        p->rounds = number;
    else if (!strcmp(name, "timeout"))
        p->timeout_ms = number;
    else if (!strcmp(name, "search"))
        p->search = number;
    else if (!strcmp(name, "fault"))
        fault = number;
    else if (!strcmp(name, "soon"))
        p->options.give_up = STWS_GIVE_UP_SOON;
    else if (!strcmp(name, "setuid"))
        seems_setuid = number;
    else if (!strcmp(name, "handshake"))
        p->options.connect_timeout_ms = number;
    else
        return 0;
    return 1;
}

static int change_url(stws *client, stws_attempt *attempt, void *user) {
    probe *p = (probe *)user;
    (void)client;
    if (p->later_url) attempt->url = p->later_url;
    if (p->again_url && p->attempts++) attempt->url = p->again_url;
    return 0;
}

static void set_addresses(probe *p, const char *value) {
    static char text[256];
    char *at = text;
    size_t n = 0;
    snprintf(text, sizeof text, "%s", value);
    for (; at && n < 3; n++) {
        p->addresses[n] = at;
        at = strchr(at, ',');
        if (at) *at++ = 0;
    }
    p->options.addresses = p->addresses;
}

static void set(probe *p, const char *name, const char *value) {
    stws_options *o = &p->options;
    if (!strcmp(name, "url"))
        o->url = value;
    else if (!strcmp(name, "addresses"))
        set_addresses(p, value);
    else if (!strcmp(name, "ca"))
        o->tls_ca_file = value;
    else if (!strcmp(name, "pem"))
        o->tls_ca_pem = read_text(value);
    else if (!strcmp(name, "cert"))
        o->tls_cert_file = value;
    else if (!strcmp(name, "key"))
        o->tls_key_file = value;
    else if (!strcmp(name, "pin"))
        o->tls_pin = value;
    else if (!strcmp(name, "later"))
        p->later_url = value, o->before_connect = change_url, o->user = p;
    else if (!strcmp(name, "again"))
        p->again_url = value, o->before_connect = change_url, o->user = p;
    else if (!set_number(p, name, value))
        exit(2);
}

static void take(probe *p, const stws_message *message) {
    p->received++;
    p->wrong += message->body_len != p->size || memcmp(message->body, p->body, p->size) != 0;
}

/* Drives the client until it has reached this state and received this many messages. Also ends when
   the client or the time ends. */
static int drive_until(stws *c, probe *p, stws_connection_state state, int received) {
    stws_event event;
    long long end = stws_p_system_clock(NULL) + p->timeout_ms * 1000LL;
    while (stws_p_system_clock(NULL) < end) {
        stws_connection_state now = stws_state(c);
        int shakes = now == STWS_CONNECTING || now == STWS_TLS;
        int result = stws_next(c, &event, shakes ? 0 : 5); /* with a longer wait the state TLS could
                                                              begin and end unseen */
        p->saw_tls |= stws_state(c) == STWS_TLS;
        if (result < 0) return result;
        if (result && event.type == STWS_EVENT_MESSAGE) take(p, event.message);
        if (result && event.type == STWS_EVENT_DISCONNECTED && event.retry_ms >= 0 &&
            (event.result || state == STWS_BACKOFF))
            return event.result;
        if (stws_state(c) == state && p->received >= received) return STWS_OK;
    }
    return STWS_ERR_TIMEOUT;
}

/* Uses one connection: sends the messages, and waits until all have come back. */
static int talk(stws *c, probe *p) {
    int i, result = drive_until(c, p, STWS_CONNECTED, p->received), goal = p->received + p->sends;
    for (i = 0; result == STWS_OK && i < p->sends; i++) {
        result = stws_send(c, "/topic/echo", p->body, p->size);
        if (result == STWS_ERR_FULL)
            result = drive_until(c, p, STWS_CONNECTED, p->received + 1), i--;
    }
    return result == STWS_OK ? drive_until(c, p, STWS_CONNECTED, goal) : result;
}

/* Checks that the memory contains no secret: no passcode, no private key, no master secret, in any
   encoding. */
static int is_clean(const char *memory, size_t size) {
    size_t i;
    for (i = 0; i < size; i++)
        if (memory[i]) return 0;
    return 1;
}

int main(int argc, char **argv) {
    probe p = {.size = 100, .sends = 1, .rounds = 1, .timeout_ms = 5000, .search = 1};
    char *memory;
    const char *why = "", *equals;
    size_t size, i;
    stws *c = NULL;
    int arg, round, result, final;
    for (arg = 1; arg < argc; arg++) {
        char name[16];
        equals = strchr(argv[arg], '=');
        if (!equals || equals - argv[arg] > 15) return 2;
        snprintf(name, sizeof name, "%.*s", (int)(equals - argv[arg]), argv[arg]);
        set(&p, name, equals + 1);
    }
    p.options.single_thread = 1;
#ifdef STOMP_WS_OPENSSL
    p.options.tls = stws_openssl();
#endif
    p.options.passcode = "open-sesame-4711";
    p.options.rx_buffer = p.options.tx_buffer = p.size + 100000;
    p.body = malloc(p.size + 1);
    size = stws_size(&p.options);
    memory = malloc(size);
    if (!p.body || !memory) return 2;
    for (i = 0; i < p.size; i++) p.body[i] = (char)('a' + i % 26);
    result = stws_init(memory, size, &p.options, &c, &why);
    if (result != STWS_OK) return printf("%s\n%s\n", stws_result_name(result), why), 1;
    stws_subscribe(c, "/topic/echo", NULL);
    for (round = 0; result == STWS_OK && round < p.rounds; round++) {
        if (round) stws_reconnect_now(c);
        if (round) drive_until(c, &p, STWS_BACKOFF, p.received);
        result = talk(c, &p);
    }
    final = stws_state(c) == STWS_ENDED;
    printf("%s\n%s\n", stws_result_name(result), stws_error_text(c));
    if (result == STWS_OK) stws_disconnect(c, 2000), drive_until(c, &p, STWS_ENDED, 0);
    stws_destroy(c);
    printf("%s, received %d, wrong %d, TLS state %s\n", final ? "final" : "retried", p.received,
           p.wrong, p.saw_tls ? "seen" : "not seen");
    if (result == STWS_OK && p.search)
        printf("secrets %s\n", is_clean(memory, size) ? "wiped" : "left");
    free(memory);
    free(p.body);
    return result == STWS_OK ? 0 : 1;
}
