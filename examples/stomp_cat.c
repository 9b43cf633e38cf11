// How do I subscribe and send from a shell? (as mosquitto_sub and mosquitto_pub do for MQTT)
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "stomp_cat - subscribe and send over STOMP on WebSocket\n"
    "\n"
    "usage: stomp_cat URL... [-s DEST [-H 'name:value']...]...\n"
    "                 [-d DEST [-H 'name:value']... [-m TEXT | -f FILE...]] [options]\n"
    "\n"
    "With several URLs each attempt to connect takes the next one, in their order.\n"
    "\n"
    "  -s DEST              subscribe; -H after it adds a header, of which id:X names\n"
    "                       the subscription and ack:MODE is its own --ack\n"
    "  -d DEST              send; -H after it adds a header. Without -m or -f each\n"
    "                       line of stdin is a message\n"
    "  -H 'name:value'      a header for the -s or -d before it\n"
    "  -m TEXT              the body\n"
    "  -f FILE              a whole file as the body, - for stdin; more of them are\n"
    "                       more messages\n"
    "  -n, --count N        end after N messages received (also without -s: replies)\n"
    "  -t, --timeout S      end after S seconds (0.5 is half a one), back-off included:\n"
    "                       exit 3 when -n was not reached, it is not connected, or\n"
    "                       something was not sent, not confirmed or not printed\n"
    "  -u, --login LOGIN    for CONNECT; or the environment's STOMP_LOGIN\n"
    "  -p, --passcode CODE  its passcode; or STOMP_PASSCODE, which other users do not\n"
    "                       see in the list of processes\n"
    "  --passcode-file FILE its passcode is the first line of this file\n"
    "  --host VHOST         the vhost (default /)\n"
    "  --connect-header 'name:value'   for CONNECT\n"
    "  --http-header 'Name: value'     for the HTTP upgrade\n"
    "  --header-file FILE   headers for the HTTP upgrade, one 'Name: value' a line\n"
    "  --token-command CMD  run this shell command before each attempt: the first line\n"
    "                       that it prints goes as Authorization: Bearer into HTTP and\n"
    "                       CONNECT, and, with -u and no passcode, as the passcode\n"
    "  --ca FILE            for wss://, which like the next four options needs\n"
    "                       make BEARSSL=1 or OPENSSL=1: whom to trust, PEM (default:\n"
    "                       the system's CAs)\n"
    "  --cert FILE          the client's certificate, PEM\n"
    "  --key FILE           and its key, PEM (default: in the file of --cert)\n"
    "  --pin HASH           the SHA-256 of the server's key, hex or base64\n"
    "  --insecure           for tests: with wss:// talk to whoever answers\n"
    "  --proxy URL          http://[user:password@]host:port or the same with socks5://;\n"
    "                       environment: look into https_proxy and its like\n"
    "  --versions 1.2,1.1   STOMP versions to offer\n"
    "  --ack MODE           auto, client or client-individual\n"
    "  --heartbeat OUT,IN   milliseconds, 0 for none\n"
    "  --ping MS            WebSocket PINGs where no heart-beat is agreed: after so many\n"
    "                       milliseconds of silence (default 20000), 0 for none\n"
    "  --no-reconnect       end with the first connection\n"
    "  --reconnect MIN,MAX  milliseconds before another attempt, at least and at most\n"
    "  --give-up WHEN       a refusal, such as HTTP 404, ends it: soon (always), default\n"
    "                       (before the first session; after one only refused\n"
    "                       credentials do) or never\n"
    "  --content-type T     of what is sent\n"
    "  --receipt            end only when the server has confirmed every message\n"
    "  --confirm            the same, and send again after a reconnect what was not\n"
    "                       confirmed. Without -d: fail when the server does not\n"
    "                       confirm a subscription\n"
    "  --request            send, and print the reply\n"
    "  --rate N             send at most N messages a second\n"
    "  --json               print one JSON object a message\n"
    "  --raw                print to a terminal as to a pipe: without it, control\n"
    "                       characters and bytes that are not UTF-8 are shown as \\x1b\n"
    "  -v, --verbose        tell on stderr what it is connected to\n"
    "  --trace              print every frame to stderr, secrets masked\n"
    "  -h, --help, --version\n"
    "\n";

static const char help_end[] =
    "Errors name options of the library: login and passcode are -u and -p here,\n"
    "connect_headers and http_headers --connect-header and --http-header.\n"
    "\n"
    "exit: 0 done, 1 connection or broker error, 2 usage, 3 time-out, 130 SIGINT,\n"
    "      143 SIGTERM\n"
    "\n"
    "Spring Boot\n"
    "  stomp_cat ws://localhost:8080/notifications/websocket -s /topic/notifications\n"
    "RabbitMQ\n"
    "  stomp_cat ws://localhost:15674/ws -u guest -p guest -d /queue/jobs -m hello \\\n"
    "      --receipt\n"
    "ActiveMQ\n"
    "  stomp_cat ws://localhost:61614 -s /queue/jobs --ack client-individual -n 1 --json\n"
    "Artemis\n"
    "  journalctl -f | stomp_cat ws://localhost:61613 -d /topic/log\n";

#ifndef PIPE_BUF
#define PIPE_BUF _POSIX_PIPE_BUF
#endif

#if defined(STOMP_WS_BEARSSL) || defined(STOMP_WS_OPENSSL) /* the implementation is linked to one */
enum { HAS_TLS = 1 };
#else
enum { HAS_TLS = 0 };
#endif
enum { DONE = 0, FAILED = 1, USAGE = 2, TIMED_OUT = 3 };
enum {
    MAX_SUBS = 1024,
    MAX_HEADERS = 64,
    MAX_FILES = 1024,
    MAX_URLS = 64,
    END_MS = 2000,
    TICK_MS = 200,
    ANSWER_MS = 30000
};
enum { EVENTS_A_TURN = 256 };       // between two looks at the clock and the signals
enum { CONFIRM_OUTBOX = 64 << 20 }; // a line of stdin that waits for its receipt fits
enum { CATCH_UP_US = 50000 };
enum { MAX_SECRET = 65536 };     // a line of a file with secrets
enum { HEARTBEAT_MS = 10000 };   // of the library, where no other is asked for
enum { PING_MS = 20000 };        // the same for PINGs
enum { QUEUE_BYTES = 20 << 20 }; // more than the largest message
enum { HELD_BYTES = 1 << 20, HELD_OVERHEAD = 1024, PAGE_BYTES = 1 << 20 };
enum { PIPE_BYTES = PIPE_BUF }; // a pipe that is ready takes so much
enum { TOKEN_MS = 30000, TOKEN_LOOK_MS = 20 };
enum { RETRY_MS = 1000, RETRY_MAX_MS = 30000 }; // the library's, where --reconnect is not given
enum { SHOWN_MS = 10000 };                      // a wait from there on is told in seconds
enum { JITTER = 20 };                           // percent of the delay before another attempt
enum { MANY = 100, PROGRESS_US = 1000000, PROGRESS_WIDTH = 70 };

// Flat, as the library takes them: name, value, ..., NULL.
typedef struct header_list {
    const char *items[2 * (MAX_HEADERS + 1) + 1]; // one more than may be given: that of a token
    size_t count;
} header_list;

typedef struct subscription {
    const char *destination, *id;
    stws_ack_mode ack;
    header_list headers;
} subscription;

typedef struct settings {
    stws_options options;
    const char *urls[MAX_URLS + 1]; // in the order of the attempts; NULL at the end
    size_t url_count;
    subscription subs[MAX_SUBS];
    size_t sub_count;
    const char *destination, *text, *content_type;
    stws_ack_mode ack;
    const char *files[MAX_FILES];
    size_t file_count;
    header_list headers, connect_headers, http_headers;
    const char *token_command, *passcode_file, *header_files[MAX_HEADERS];
    size_t header_file_count;
    long count, rate;
    double seconds;
    int receipt, json, raw, request, trace, acks; // acks: some subscription wants them
    int help, version, verbose;
} settings;

typedef struct content {
    char *data;
    size_t len;
} content;

// A message that waits to be printed.
typedef struct held {
    struct held *next;
    stws_message *copy;
} held;

// --token-command while it runs, and what it printed.
typedef struct bearer_token {
    pid_t process; // 0: it does not run
    int output;    // the pipe from it
    char text[MAX_SECRET];
    size_t len;
    long long deadline_us;
    int failures;                // one after the other
    char bearer[MAX_SECRET + 8]; // "Bearer " and the token
    header_list connect, http;   // those given, and Authorization
} bearer_token;

typedef struct run {
    const settings *set;
    stws *client;
    long received, sent, waiting_receipts;
    long frames_sent, confirmed_sends;
    char farewell[64];        // the receipt that DISCONNECT asks for
    int lost_receipt;         // its connection has ended before it came
    int handles[MAX_SUBS];    // of set->subs
    size_t aside;             // how many of them are set aside
    char confirmed[MAX_SUBS]; // of them: by the server, in this session
    int got_error;            // in this session
    size_t attempts;          // that have ended, each with its session
    long long outage_us;      // when the outage began that was told; 0: there is none
    int connected, was_connected, ending, code, sent_all;
    stws_queue *queue;            // what came and is not printed; NULL with --request
    const stws_message *popped;   // from the queue
    held *held_first, *held_last; // what waits and did not come through the queue
    size_t held_bytes;
    // The page that is being printed: how many messages, the text, and how much of that is written.
    FILE *page;
    long page_count;
    const stws_message *to_ack; // the last one of them, if it wants an ACK
    int is_held;                // it is the first one of the list
    char *text;
    size_t text_len, text_at;
    int prints_no_more;
    bearer_token token;
    long unprinted;    // of the messages that came, given up
    int escapes;       // bodies go to a terminal, which must not obey them
    char told[800];    // the last error sentence printed, so that none is said twice
    char refused[800]; // what the server said against a message when DISCONNECT was already out
    content bodies[MAX_FILES]; // what -m or -f want sent; none where it comes from stdin
    size_t body_count;
    const char *body;
    size_t body_len;
    int has_body; // a body that the library has not taken yet
    // What was read of stdin and is not sent: [input_at, input_len); up to input_seen no line ends.
    char *input;
    size_t input_size, input_at, input_len, input_seen, line_len;
    int input_over;
    int told_input; // that it was not read to its end
    long long deadline_us, next_send_us, answered_us;
    long long progress_us; // when it was shown last, or the run began
    long progress_count;   // of messages, then
    int progress_shown;    // a line that is not ended
    unsigned long long frames_in;
} run;

static volatile sig_atomic_t signalled;
// A client that stws_request drives just now: it cannot look at `signalled`.
static stws *volatile requesting;

static void on_signal(int number) {
    signalled = number;
    if (requesting) stws_stop(requesting);
}

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// ---- text for a terminal ----

enum { NO_CHARACTER = 0x110000 };

// Returns the length of the first character of s, and sets *number to its number in Unicode. For a byte
// that is not part of valid UTF-8 the length is 1 and the number is NO_CHARACTER. len is at least 1.
static size_t read_character(const char *s, size_t len, unsigned long *number) {
    unsigned char first = (unsigned char)s[0];
    size_t n = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4, i;
    *number = NO_CHARACTER;
    if (n > len || !stws_utf8_valid(s, n)) return 1;
    *number = n == 1 ? first : first & (0x7Fu >> n);
    for (i = 1; i < n; i++) *number = *number << 6 | ((unsigned char)s[i] & 0x3Fu);
    return n;
}

// Is this a control character (C0, DEL, C1), or does it change the direction of the text after it
// (Unicode's Bidi_Control)? A terminal obeys the first kind. The second kind makes a text look like
// another text.
static int is_control(unsigned long number) {
    return number < 0x20 || (number >= 0x7F && number < 0xA0) || number == 0x061C ||
           number == 0x200E || number == 0x200F || (number >= 0x202A && number <= 0x202E) ||
           (number >= 0x2066 && number <= 0x2069);
}

// Prints text that a peer may have written. Control characters that are not in `kept` are printed as
// \x1b or \u202e, and a byte that is not part of valid UTF-8 as \x9b.
static void print_visible(FILE *out, const char *s, size_t len, const char *kept) {
    size_t n;
    for (; len > 0; s += n, len -= n) {
        unsigned long number;
        n = read_character(s, len, &number);
        if (number == NO_CHARACTER ||
            (number < 0x80 && is_control(number) && (number == 0 || !strchr(kept, (int)number))))
            fprintf(out, "\\x%02x", (unsigned char)*s);
        else if (number >= 0x80 && is_control(number))
            fprintf(out, "\\u%04lx", number);
        else
            fwrite(s, 1, n, out);
    }
}

static void print_plain(FILE *out, const char *text) {
    print_visible(out, text, strlen(text), "");
}

// How many of the len bytes are at most `most`, and do not end within a character.
static size_t cut_length(const char *s, size_t len, size_t most) {
    int within = 0;
    if (len <= most) return len;
    while (most > 0 && within++ < 3 && ((unsigned char)s[most] & 0xC0) == 0x80) most--;
    return most;
}

// ---- usage ----

static int usage(const char *what, const char *argument) {
    fprintf(stderr, "stomp_cat: %s%s", what, argument ? ": " : "");
    print_plain(stderr, argument ? argument : "");
    fputs(" (see stomp_cat --help)\n", stderr);
    return USAGE;
}

// A URL to be printed; NULL when something in it may be secret.
static const char *shown_url(const char *url) {
    return strpbrk(url, "@?") ? NULL : url;
}

static void out_of_memory(void) {
    fputs("stomp_cat: out of memory\n", stderr);
    exit(FAILED);
}

static char *copy_text(const char *text, size_t len) {
    char *copy = (char *)malloc(len + 1);
    if (!copy) out_of_memory();
    memcpy(copy, text, len);
    copy[len] = 0;
    return copy;
}

static int add_file(settings *set, const char *path) {
    if (set->text || set->file_count == MAX_FILES) return 0;
    set->files[set->file_count++] = path;
    return 1;
}

// A name that HTTP allows, and that the upgrade does not set itself.
static int is_upgrade_name(const char *name) {
    static const char *const taken[] = {"Host",
                                        "Upgrade",
                                        "Connection",
                                        "Content-Length",
                                        "Transfer-Encoding",
                                        "Sec-WebSocket-Key",
                                        "Sec-WebSocket-Version",
                                        "Sec-WebSocket-Protocol",
                                        "Sec-WebSocket-Extensions",
                                        "Sec-WebSocket-Accept"};
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    size_t i;
    for (i = 0; i < sizeof taken / sizeof *taken; i++)
        if (strcasecmp(name, taken[i]) == 0) return 0;
    return *name && !name[strspn(name, allowed)];
}

static int has_control(const char *text) {
    for (; *text; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7F) return 1;
    return 0;
}

// Adds the header 'name:value', of which it keeps a copy. Blanks after the colon are left out for
// HTTP; for STOMP they are part of the value. CONNECT and HTTP cannot represent line ends.
static int add_header(header_list *list, const char *text, int trim) {
    const char *colon = strchr(text, ':');
    char *name, *value;
    if (!colon || colon == text || list->count == MAX_HEADERS) return 0;
    if (trim && has_control(text)) return 0;
    name = copy_text(text, strlen(text));
    value = name + (colon - text);
    *value++ = 0;
    if (trim && !is_upgrade_name(name)) return free(name), 0;
    while (trim && *value == ' ') value++;
    list->items[2 * list->count] = name;
    list->items[2 * list->count + 1] = value;
    list->items[2 * ++list->count] = NULL;
    return 1;
}

// Reads an ack mode of STOMP. Returns 0 if the text is not one.
static int set_ack_mode(stws_ack_mode *mode, const char *text) {
    if (strcmp(text, "auto") == 0)
        *mode = STWS_ACK_AUTO;
    else if (strcmp(text, "client") == 0)
        *mode = STWS_ACK_CLIENT;
    else if (strcmp(text, "client-individual") == 0)
        *mode = STWS_ACK_CLIENT_INDIVIDUAL;
    else
        return 0;
    return 1;
}

static int add_sub_header(subscription *sub, const char *text) {
    if (strncmp(text, "id:", 3) == 0) {
        sub->id = text + 3;
        return *sub->id != 0;
    }
    if (strncmp(text, "ack:", 4) == 0) {
        return set_ack_mode(&sub->ack, text + 4);
    }
    return add_header(&sub->headers, text, 0);
}

static int parse_number(const char *text, long min, long max, long *out) {
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    return *text && !*end && !errno && *out >= min && *out <= max;
}

// "A,B" into two options, where the library's 0 means its default: so 0 becomes STWS_OFF.
static int parse_pair(const char *text, int *first, int *second) {
    char *end;
    long a = strtol(text, &end, 10), b;
    if (end == text || *end != ',') return 0;
    if (!parse_number(end + 1, 0, 86400000, &b) || a < 0 || a > 86400000) return 0;
    *first = a ? (int)a : STWS_OFF;
    *second = b ? (int)b : STWS_OFF;
    return 1;
}

static int parse_versions(const char *text, int *versions) {
    for (*versions = 0; *text; text += text[3] ? 4 : 3) {
        if (strncmp(text, "1.", 2) != 0 || text[2] < '0' || text[2] > '2' ||
            (text[3] && text[3] != ','))
            return 0;
        *versions |= 1 << (text[2] - '0');
    }
    return *versions != 0;
}

// Seconds, perhaps with a fraction.
static int parse_seconds(const char *text, double *out) {
    char *end;
    if (!*text || text[strspn(text, "0123456789.")]) return 0;
    *out = strtod(text, &end);
    return !*end && *out >= 0.001 && *out <= 10000000;
}

// ---- options: one function for those with a value, one for those without ----

// The library takes the jitter off the delay. So the delay starts higher than MIN, and every wait is
// from MIN to MAX. JITTER percent off 5/4 of MIN is the same as 25 percent added to MIN.
static int set_reconnect(settings *set, const char *value) {
    stws_options *o = &set->options;
    int min, max;
    long long jitter;
    if (!parse_pair(value, &min, &max) || min < 1 || min > max) return 0;
    jitter = 100LL * (max - min) / max;
    if (jitter > JITTER) jitter = JITTER;
    if (jitter < 2) jitter = 0; // the library's -1 is STWS_OFF
    o->reconnect_min_ms = (int)((100LL * min + 99 - jitter) / (100 - jitter)); // rounded up
    o->reconnect_max_ms = max;
    o->reconnect_factor = 200;
    o->reconnect_jitter = jitter ? (int)-jitter : STWS_OFF;
    return 1;
}

static int set_ping(settings *set, const char *value) {
    long ms;
    if (!parse_number(value, 0, 86400000, &ms)) return 0;
    set->options.ping_ms = ms ? (int)ms : STWS_OFF;
    return 1;
}

static int set_give_up(settings *set, const char *value) {
    static const char *const words[] = {"soon", "default", "never"};
    static const int rules[] = {STWS_GIVE_UP_SOON, STWS_GIVE_UP_DEFAULT, STWS_GIVE_UP_NEVER};
    size_t i;
    for (i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(value, words[i]) != 0) continue;
        set->options.give_up = rules[i];
        return 1;
    }
    return 0;
}

static int set_subscription(settings *set, const char *destination) {
    if (set->sub_count == MAX_SUBS || !*destination) return 0;
    set->subs[set->sub_count++].destination = destination;
    return 1;
}

static int set_destination(settings *set, const char *destination) {
    if (set->destination || !*destination) return 0;
    set->destination = destination;
    return 1;
}

static int set_text(settings *set, const char *text) {
    if (set->text || set->file_count) return 0;
    set->text = text;
    return 1;
}

static int set_header(settings *set, const char *value, const char *last) {
    if (!last) return 0;
    if (*last == 's') return add_sub_header(&set->subs[set->sub_count - 1], value);
    return add_header(&set->headers, value, 0);
}

static int add_header_file(settings *set, const char *path) {
    if (set->header_file_count == MAX_HEADERS) return 0;
    set->header_files[set->header_file_count++] = path;
    return 1;
}

static int set_value(settings *set, const char *name, const char *value, const char **last) {
    stws_options *o = &set->options;
    if (strcmp(name, "-s") == 0) return *last = "s", set_subscription(set, value);
    if (strcmp(name, "-d") == 0) return *last = "d", set_destination(set, value);
    if (strcmp(name, "-H") == 0) return set_header(set, value, *last);
    if (strcmp(name, "-m") == 0) return set_text(set, value);
    if (strcmp(name, "-f") == 0) return add_file(set, value);
    if (strcmp(name, "-u") == 0 || strcmp(name, "--login") == 0) return o->login = value, 1;
    if (strcmp(name, "-p") == 0 || strcmp(name, "--passcode") == 0) return o->passcode = value, 1;
    if (strcmp(name, "--passcode-file") == 0) return set->passcode_file = value, 1;
    if (strcmp(name, "--token-command") == 0) return set->token_command = value, *value != 0;
    if (strcmp(name, "--header-file") == 0) return add_header_file(set, value);
    if (strcmp(name, "--host") == 0) return o->host = value, 1;
    if (strcmp(name, "--connect-header") == 0) return add_header(&set->connect_headers, value, 0);
    if (strcmp(name, "--http-header") == 0) return add_header(&set->http_headers, value, 1);
    if (strcmp(name, "--ca") == 0) return o->tls_ca_file = value, 1;
    if (strcmp(name, "--cert") == 0) return o->tls_cert_file = value, 1;
    if (strcmp(name, "--key") == 0) return o->tls_key_file = value, 1;
    if (strcmp(name, "--pin") == 0) return o->tls_pin = value, 1;
    if (strcmp(name, "--proxy") == 0) return o->proxy = value, 1;
    if (strcmp(name, "--versions") == 0) return parse_versions(value, &o->versions);
    if (strcmp(name, "--ack") == 0) return set_ack_mode(&set->ack, value);
    if (strcmp(name, "--heartbeat") == 0)
        return parse_pair(value, &o->heartbeat_out_ms, &o->heartbeat_in_ms);
    if (strcmp(name, "--ping") == 0) return set_ping(set, value);
    if (strcmp(name, "--give-up") == 0) return set_give_up(set, value);
    if (strcmp(name, "--reconnect") == 0) return set_reconnect(set, value);
    if (strcmp(name, "--content-type") == 0) return set->content_type = value, 1;
    if (strcmp(name, "--rate") == 0) return parse_number(value, 1, 1000000, &set->rate);
    if (strcmp(name, "-n") == 0 || strcmp(name, "--count") == 0)
        return parse_number(value, 1, 2000000000, &set->count);
    if (strcmp(name, "-t") == 0 || strcmp(name, "--timeout") == 0)
        return parse_seconds(value, &set->seconds);
    return -1;
}

// What an option wants, for whoever gave it something else.
static const char *wanted(const char *name) {
    static const char *const wants[][2] = {
        {"-s", "a destination (at most 1024 of them)"},
        {"-d", "one destination, once"},
        {"-H", "'name:value', after the -s or -d that it belongs to"},
        {"-m", "one text, once, and no -f beside it"},
        {"-f", "a file (at most 1024 of them), and no -m beside it"},
        {"--connect-header", "'name:value'"},
        {"--http-header", "'Name: value' in one line, not a header that the upgrade sets, as Host"},
        {"--header-file", "a file (at most 64 of them)"},
        {"--token-command", "a shell command"},
        {"--versions", "a list of 1.0, 1.1 and 1.2"},
        {"--ack", "auto, client or client-individual"},
        {"--heartbeat", "OUT,IN in milliseconds, 0 for none"},
        {"--ping", "milliseconds, 0 for none"},
        {"--give-up", "soon, default or never"},
        {"--reconnect", "MIN,MAX in milliseconds, from 1 on, MIN not above MAX"},
        {"--rate", "a number from 1 to 1000000"},
        {"-t", "seconds, such as 2 or 0.5"},
        {"--timeout", "seconds, such as 2 or 0.5"}};
    size_t i;
    for (i = 0; i < sizeof wants / sizeof *wants; i++)
        if (strcmp(wants[i][0], name) == 0) return wants[i][1];
    return "a number from 1 on";
}

static void print_trace(FILE *out, stws_direction direction, const stws_frame *frame) {
    size_t i;
    fprintf(out, "%c ", direction);
    print_plain(out, *frame->command ? frame->command : "(heart-beat)");
    for (i = 0; i < frame->header_count; i++) {
        fputs(i ? ", " : " ", out);
        print_plain(out, frame->headers[i].name);
        fputc(':', out);
        print_plain(out, frame->headers[i].value);
    }
    if (frame->body_len)
        fprintf(out, " (%zu byte%s)", frame->body_len, frame->body_len == 1 ? "" : "s");
    fputc('\n', out);
}

static int set_flag(settings *set, const char *name) {
    if (strcmp(name, "--no-reconnect") == 0) return set->options.reconnect = STWS_OFF, 1;
    if (strcmp(name, "--insecure") == 0) return set->options.tls_insecure_no_verify = 1;
    if (strcmp(name, "--receipt") == 0) return set->receipt = 1;
    if (strcmp(name, "--confirm") == 0) return set->options.confirm = 1;
    if (strcmp(name, "--json") == 0) return set->json = 1;
    if (strcmp(name, "--raw") == 0) return set->raw = 1;
    if (strcmp(name, "--request") == 0) return set->request = 1;
    if (strcmp(name, "--trace") == 0) return set->trace = 1;
    if (strcmp(name, "-v") == 0 || strcmp(name, "--verbose") == 0) return set->verbose = 1;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return set->help = 1;
    if (strcmp(name, "--version") == 0) return set->version = 1;
    return 0;
}

// Is the value of this option a header, whose value may be a secret?
static int is_header(const char *name) {
    return strcmp(name, "--http-header") == 0 || strcmp(name, "--connect-header") == 0;
}

// One argument, or two: how many were used, 0 for a mistake that was reported.
static int parse_argument(settings *set, char **argument, const char **last, int options_over) {
    char name[32];
    const char *text = argument[0], *equals = strchr(text, '='), *value = argument[1];
    int known;
    if (options_over || text[0] != '-' || !text[1]) {
        if (set->url_count == MAX_URLS) return usage("more than 64 URLs", NULL), 0;
        set->urls[set->url_count++] = text;
        return 1;
    }
    if (set_flag(set, text)) return 1;
    snprintf(name, sizeof name, "%.*s", text[1] == '-' && equals ? (int)(equals - text) : 31, text);
    if (text[1] == '-' && equals) value = equals + 1;
    known = set_value(set, name, value ? value : "", last);
    if (known < 0) return usage("no such option", text), 0;
    if (!value) return usage("the option wants a value", text), 0;
    if (!known) {
        fprintf(stderr, "stomp_cat: %s does not take \"", name);
        print_visible(stderr, value, strcspn(value, is_header(name) ? ":\r\n" : "\r\n"), "");
        fprintf(stderr, "\": it wants %s\n", wanted(name));
        return 0;
    }
    return text[1] == '-' && equals ? 1 : 2;
}

// The same id twice would leave one of the two subscriptions without messages.
static int ids_differ(const settings *set) {
    size_t i, j;
    for (i = 0; i < set->sub_count; i++)
        for (j = 0; j < i; j++)
            if (set->subs[i].id && set->subs[j].id && strcmp(set->subs[i].id, set->subs[j].id) == 0)
                return 0;
    return 1;
}

static int check_urls(const settings *set) {
    stws_url url;
    const char *why = "";
    size_t i;
    if (!set->url_count)
        return usage("the URL is missing", "stomp_cat ws://host:port/path -s /topic/x");
    for (i = 0; i < set->url_count; i++) {
        if (stws_url_parse(set->urls[i], &url, &why) != STWS_OK)
            return usage(why, shown_url(set->urls[i]));
        if (HAS_TLS || !url.secure) continue;
        fputs("stomp_cat: built without TLS; make BEARSSL=1 or make OPENSSL=1\n", stderr);
        return FAILED;
    }
    return DONE;
}

// A file of PEM, whose option is `option`. It is not opened: a pipe would lose what is written to it.
// The library reads it later, at each attempt.
static int check_tls_file(const char *option, const char *path) {
    struct stat status;
    int error = 0;
    if (!path) return DONE;
    if (stat(path, &status) != 0 || access(path, R_OK) != 0)
        error = errno;
    else if (S_ISDIR(status.st_mode))
        error = EISDIR;
    if (!error) return DONE;
    fprintf(stderr, "stomp_cat: %s: the file cannot be read: ", option);
    print_plain(stderr, path);
    fprintf(stderr, ": %s\n", strerror(error));
    return USAGE;
}

static int is_hash(const char *text, size_t len) {
    static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    if (len == 64) return strspn(text, lower) >= len || strspn(text, upper) >= len;
    return len == 44 && text[43] == '=';
}

// One hash, or several with anything between them, each perhaps behind "sha256//" as curl wants it.
static int check_pin(const char *pin) {
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    int count = 0;
    if (!pin) return DONE;
    for (;;) {
        size_t len;
        if (strncmp(pin, "sha256//", 8) == 0) pin += 8;
        len = strspn(pin, digits);
        if (len && !is_hash(pin, len)) break;
        count += len > 0;
        pin += len;
        if (!*pin && count) return DONE;
        if (!*pin++) break;
    }
    return usage("--pin wants the SHA-256 of a key: 64 hex digits or 44 characters of base64",
                 NULL);
}

static int check_tls(const settings *set) {
    const stws_options *o = &set->options;
    int code = check_tls_file("--ca", o->tls_ca_file);
    if (code == DONE) code = check_tls_file("--cert", o->tls_cert_file);
    if (code == DONE) code = check_tls_file("--key", o->tls_key_file);
    return code == DONE ? check_pin(o->tls_pin) : code;
}

static int check_settings(const settings *set) {
    int code = check_urls(set);
    if (code == DONE) code = check_tls(set);
    if (code != DONE) return code;
    if (!set->destination && (set->text || set->file_count))
        return usage("-m and -f need -d", NULL);
    if (!set->destination && set->request) return usage("--request needs -d", NULL);
    if (!set->destination && set->receipt) return usage("--receipt needs -d", NULL);
    if (!set->sub_count && !set->destination)
        return usage("nothing to do: -s or -d is missing", NULL);
    if (!ids_differ(set)) return usage("the same id for two subscriptions", NULL);
    return DONE;
}

// ---- secrets that do not stand on the command line ----

// A file with a secret. A warning tells when other users may read it: a regular file only, because
// for a pipe or a device the mode says little.
static FILE *open_secret(const char *path) {
    struct stat status;
    FILE *file = fopen(path, "r");
    if (!file || fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode)) return file;
    if (!(status.st_mode & S_IROTH)) return file;
    fputs("stomp_cat: every user of this machine may read \"", stderr);
    print_plain(stderr, path);
    fputs("\": chmod o-r mends that\n", stderr);
    return file;
}

// The next line of a file, without its line end: its text, or NULL at the end, for a longer line and
// for one with a NUL.
static char *next_secret(FILE *file, char line[MAX_SECRET]) {
    size_t len;
    if (!fgets(line, MAX_SECRET, file)) return NULL;
    len = strcspn(line, "\n");
    if (!line[len] && !feof(file)) return NULL;
    if (len > 0 && line[len - 1] == '\r') len--;
    line[len] = 0;
    return line;
}

static int read_passcode(settings *set) {
    char line[MAX_SECRET];
    const char *path = set->passcode_file;
    FILE *file;
    int is_read;
    if (set->options.passcode) return usage("-p and --passcode-file do not go together", NULL);
    file = open_secret(path);
    if (file && next_secret(file, line)) set->options.passcode = copy_text(line, strlen(line));
    is_read = file && !ferror(file);
    if (file) fclose(file);
    if (!is_read) return usage("--passcode-file: the file cannot be read", path);
    if (set->options.passcode && *set->options.passcode) return DONE;
    return usage("--passcode-file: the first line of the file is empty, or too long", path);
}

// The number of the first line that is not a header; 0 when all are. Empty lines and those that begin
// with # are left out.
static int read_headers(settings *set, FILE *file) {
    char line[MAX_SECRET];
    int number;
    for (number = 1; next_secret(file, line); number++) {
        if (!*line || *line == '#') continue;
        if (!add_header(&set->http_headers, line, 1)) return number;
    }
    return feof(file) ? 0 : number;
}

// The text of a wrong line is not shown: it may be a secret.
static int read_header_file(settings *set, const char *path) {
    FILE *file = open_secret(path);
    int number = file ? read_headers(set, file) : 0, is_read = file && !ferror(file);
    if (file) fclose(file);
    if (!is_read) return usage("--header-file: the file cannot be read", path);
    if (!number) return DONE;
    fprintf(stderr, "stomp_cat: --header-file: line %d of \"", number);
    print_plain(stderr, path);
    fputs("\" is not 'Name: value', or is a header that the upgrade sets (as Host), or there are "
          "more "
          "than 64 headers\n",
          stderr);
    return USAGE;
}

// Other headers may be repeated.
static int check_authorization(const settings *set) {
    size_t i, count = 0;
    for (i = 0; i < set->http_headers.count; i++)
        count += strcasecmp(set->http_headers.items[2 * i], "authorization") == 0;
    if (count < 2) return DONE;
    return usage("two Authorization headers for the HTTP upgrade (--http-header, --header-file)",
                 NULL);
}

// The value of a variable of the environment; NULL when it is empty.
static const char *from_environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int read_secrets(settings *set) {
    size_t i;
    int code = set->passcode_file ? read_passcode(set) : DONE;
    for (i = 0; i < set->header_file_count && code == DONE; i++)
        code = read_header_file(set, set->header_files[i]);
    if (code == DONE) code = check_authorization(set);
    if (!set->options.login) set->options.login = from_environment("STOMP_LOGIN");
    if (!set->options.passcode) set->options.passcode = from_environment("STOMP_PASSCODE");
    return code;
}

static int any_acks(const settings *set) {
    size_t i;
    for (i = 0; i < set->sub_count; i++)
        if (set->subs[i].ack > STWS_ACK_AUTO) return 1;
    return set->ack > STWS_ACK_AUTO;
}

static int parse_arguments(int argc, char **argv, settings *set) {
    const char *last = NULL;
    int i = 1, used, over = 0, code;
    for (; i < argc; i += used) {
        used = 1;
        if (!over && strcmp(argv[i], "--") == 0) {
            over = 1;
            continue;
        }
        used = parse_argument(set, argv + i, &last, over);
        if (!used) return USAGE;
        if (set->help || set->version) return DONE;
    }
    code = check_settings(set);
    if (code == DONE) code = read_secrets(set);
    set->options.urls = set->urls;
    if (set->connect_headers.count) set->options.connect_headers = set->connect_headers.items;
    if (set->http_headers.count) set->options.http_headers = set->http_headers.items;
    set->acks = any_acks(set);
    return code;
}

// ---- printing ----

// Is stdout needed?
static int prints(const settings *set) {
    return set->help || set->version || set->sub_count || set->request || set->count;
}

// A byte that is not part of valid UTF-8 becomes U+FFFD. Control characters are escaped, also those that
// JSON would allow: the output may be read on a terminal.
static void json_text(FILE *out, const char *s, size_t len) {
    size_t n;
    putc('"', out);
    for (; len > 0; s += n, len -= n) {
        unsigned long number;
        n = read_character(s, len, &number);
        if (number == NO_CHARACTER)
            fputs("\\ufffd", out);
        else if (is_control(number))
            fprintf(out, "\\u%04lx", number);
        else if (number == '"' || number == '\\')
            fprintf(out, "\\%c", *s);
        else
            fwrite(s, 1, n, out);
    }
    putc('"', out);
}

static void json_string(FILE *out, const char *s) {
    if (s)
        json_text(out, s, strlen(s));
    else
        fputs("null", out);
}

static void json_base64(FILE *out, const char *s, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t i;
    putc('"', out);
    for (i = 0; i < len; i += 3) {
        unsigned long group = (unsigned long)(unsigned char)s[i] << 16;
        if (i + 1 < len) group |= (unsigned long)(unsigned char)s[i + 1] << 8;
        if (i + 2 < len) group |= (unsigned char)s[i + 2];
        putc(digits[group >> 18], out);
        putc(digits[group >> 12 & 63], out);
        putc(i + 1 < len ? digits[group >> 6 & 63] : '=', out);
        putc(i + 2 < len ? digits[group & 63] : '=', out);
    }
    putc('"', out);
}

static void print_json(FILE *out, const stws_message *m) {
    size_t i;
    fputs("{\"destination\":", out);
    json_string(out, m->destination);
    fputs(",\"subscription\":", out);
    json_string(out, m->subscription);
    fputs(",\"message_id\":", out);
    json_string(out, m->message_id);
    fputs(",\"headers\":[", out);
    for (i = 0; i < m->frame.header_count; i++) {
        fputs(i ? ",[" : "[", out);
        json_text(out, m->frame.headers[i].name, m->frame.headers[i].name_len);
        putc(',', out);
        json_text(out, m->frame.headers[i].value, m->frame.headers[i].value_len);
        putc(']', out);
    }
    fputs(m->body_is_utf8 ? "],\"body\":" : "],\"body_base64\":", out);
    if (m->body_is_utf8)
        json_text(out, m->body, m->body_len);
    else
        json_base64(out, m->body, m->body_len);
    fputs("}\n", out);
}

static void format_message(FILE *out, const run *r, const stws_message *m) {
    if (r->set->json) {
        print_json(out, m);
        return;
    }
    if (r->escapes)
        print_visible(out, m->body, m->body_len, "\t\n");
    else
        fwrite(m->body, 1, m->body_len, out);
    putc('\n', out);
}

// ---- progress: one line of a terminal, written again and again ----

// stderr, free of that line, for something that has to be said.
static FILE *notes(run *r) {
    if (r->progress_shown) fprintf(stderr, "\r%*s\r", PROGRESS_WIDTH, "");
    r->progress_shown = 0;
    return stderr;
}

// Is it about many messages, and does somebody watch who does not see them go by?
static int wants_progress(const run *r) {
    const settings *set = r->set;
    if (set->count < MANY && r->received + r->sent < MANY) return 0;
    return isatty(STDERR_FILENO) && !(prints(set) && isatty(STDOUT_FILENO));
}

static void print_progress(run *r, long a_second) {
    char line[PROGRESS_WIDTH + 1], goal[32] = "";
    if (r->set->count) snprintf(goal, sizeof goal, " of %ld", r->set->count);
    snprintf(line, sizeof line, "%ld%s received, %ld sent, %ld/s", r->received, goal, r->sent,
             a_second);
    fprintf(stderr, "\r%-*s", PROGRESS_WIDTH, line);
    r->progress_shown = 1;
}

static void show_progress(run *r, long long now) {
    long count = r->received + r->sent;
    long long elapsed_us = now - r->progress_us;
    if (r->ending || elapsed_us < PROGRESS_US) return;
    if (wants_progress(r))
        print_progress(r, (long)((count - r->progress_count) * 1000000LL / elapsed_us));
    r->progress_us = now;
    r->progress_count = count;
}

// The line stays, with what it came to.
static void end_progress(run *r) {
    if (!r->progress_shown) return;
    notes(r);
    fprintf(stderr, "%ld received, %ld sent\n", r->received, r->sent);
}

// ---- the run ----

// DISCONNECT with a receipt, then close; what comes meanwhile is nobody's any more.
static void finish(run *r, int code) {
    if (r->ending) return;
    r->ending = 1;
    r->code = code;
    if (stws_state(r->client) == STWS_CONNECTED)
        stws_disconnect(r->client, END_MS);
    else
        stws_stop(r->client); // there is nobody to say farewell to
}

// An error's sentence, unless it has just been said.
static void say(run *r, const char *sentence) {
    if (strcmp(r->told, sentence) == 0) return;
    fputs("stomp_cat: ", notes(r));
    print_plain(stderr, sentence);
    fputc('\n', stderr);
    snprintf(r->told, sizeof r->told, "%s", sentence);
}

static void fail(run *r, const char *sentence) {
    say(r, sentence);
    finish(r, FAILED);
}

// Does this message want an ACK? Not where the subscription is nobody's, or in mode auto.
static int wants_ack(const run *r, const stws_message *m) {
    size_t i;
    for (i = 0; m->handle && r->set->acks && i < r->set->sub_count; i++) {
        stws_ack_mode mode = r->set->subs[i].ack ? r->set->subs[i].ack : r->set->ack;
        if (r->handles[i] == m->handle) return mode > STWS_ACK_AUTO;
    }
    return 0;
}

// ---- from what came to stdout ----

// Nothing here waits for who reads stdout: the connection is served meanwhile. What came waits in the
// library's queue, and when that is full, the library stops reading and the broker waits. A reply
// and what comes while stws_request drives wait in a list.

// Keeps a message for later. The list owns it from now on.
static void hold(run *r, stws_message *copy) {
    held *entry = (held *)malloc(sizeof *entry);
    if (!copy || !entry) out_of_memory();
    entry->copy = copy;
    entry->next = NULL;
    if (r->held_last)
        r->held_last->next = entry;
    else
        r->held_first = entry;
    r->held_last = entry;
    r->held_bytes += copy->body_len + HELD_OVERHEAD;
}

static void drop_held(run *r) {
    held *first = r->held_first;
    r->held_bytes -= first->copy->body_len + HELD_OVERHEAD;
    r->held_first = first->next;
    if (!r->held_first) r->held_last = NULL;
    stws_message_free(first->copy);
    free(first);
}

// The next message to be printed; NULL when there is none. It gives back the one before.
static const stws_message *next_message(run *r) {
    if (r->held_first) return r->held_first->copy;
    if (r->queue && stws_queue_pop(r->queue, &r->popped, 0) > 0) return r->popped;
    return NULL;
}

static void begin_page(run *r) {
    r->text_at = 0;
    if (!r->page) r->page = open_memstream(&r->text, &r->text_len);
    if (!r->page) out_of_memory();
    rewind(r->page);
}

static void end_page(run *r) {
    if (r->page) fclose(r->page);
    r->page = NULL;
    free(r->text);
    r->text = NULL;
}

static void tell_unknown(run *r, const stws_message *m) {
    if (m->handle) return;
    fputs("stomp_cat: a message for subscription \"", notes(r));
    print_plain(stderr, m->subscription ? m->subscription : "");
    fputs("\", which is unknown\n", stderr);
}

// Must the message be the last one of its page? An ACK follows the printing of its message only, a
// held message is still needed, and what follows the last of -n is not printed.
static int ends_page(const run *r) {
    if (r->text_len >= PIPE_BYTES || r->is_held || r->to_ack) return 1;
    return r->received + r->page_count == r->set->count;
}

// Makes a page of the next messages: 1, or 0 when there is none.
static int take_messages(run *r) {
    const stws_message *m = next_message(r);
    if (!m) return 0;
    begin_page(r);
    do {
        r->to_ack = wants_ack(r, m) ? m : NULL;
        r->is_held = m != r->popped;
        r->page_count++;
        if (m == r->popped) tell_unknown(r, m);
        format_message(r->page, r, m);
        if (fflush(r->page) != 0 || ferror(r->page)) out_of_memory();
    } while (!ends_page(r) && (m = next_message(r)) != NULL);
    return 1;
}

// Prints no more. Messages that wait are given up.
static void stop_printing(run *r) {
    r->prints_no_more = 1;
}

static void fail_printing(run *r, int error) {
    char sentence[128];
    snprintf(sentence, sizeof sentence, "writing to stdout failed: %s", strerror(error));
    stop_printing(r);
    fail(r, sentence);
}

// Does stdout take PIPE_BYTES more? A pipe that says so does not block then.
static int takes_output(int wait_ms) {
    struct pollfd output = {STDOUT_FILENO, POLLOUT, 0};
    return poll(&output, 1, wait_ms) > 0;
}

// Writes of the text what stdout takes: 1 when all is written, 0 when not yet or never.
static int write_text(run *r, int wait_ms) {
    while (r->text_at < r->text_len) {
        size_t left = r->text_len - r->text_at;
        ssize_t n;
        if (!takes_output(wait_ms)) return 0;
        n = write(STDOUT_FILENO, r->text + r->text_at,
                  left < PIPE_BYTES ? left : (size_t)PIPE_BYTES);
        if (n < 0 && errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
            fail_printing(r, errno);
        if (n < 0) return 0;
        r->text_at += (size_t)n;
    }
    return 1;
}

// A page is printed: acknowledge its last message, and count them all. 0: there is no room for the ACK
// now. A message that could not be printed is not acknowledged, so that the broker keeps it.
static int finish_page(run *r) {
    if (r->to_ack && stws_ack(r->client, r->to_ack) == STWS_ERR_FULL) return 0;
    if (r->is_held) drop_held(r);
    if (r->text_len > PAGE_BYTES) end_page(r);
    r->received += r->page_count;
    r->page_count = 0;
    if (r->received != r->set->count) return 1;
    stop_printing(r);
    finish(r, DONE);
    return 1;
}

// Prints what came, as far as stdout takes it within wait_ms.
static void print_messages(run *r, int wait_ms) {
    while (!r->prints_no_more && (r->page_count || take_messages(r)))
        if (!write_text(r, wait_ms) || !finish_page(r)) return;
}

// Gives up what waits to be printed, and returns how many messages that is.
static long drop_messages(run *r) {
    long count = 0;
    if (r->prints_no_more) return 0;
    stop_printing(r);
    if (!r->is_held) count = r->page_count;
    r->page_count = 0;
    for (; r->held_first; count++) drop_held(r);
    while (r->queue && stws_queue_pop(r->queue, &r->popped, 0) > 0) count++;
    return count;
}

// Has -n been reached? Then nothing that follows counts.
static int is_complete(const run *r) {
    return r->ending && r->code == DONE && r->prints_no_more;
}

// A message that does not go through the queue. More than HELD_BYTES are not held: then we wait for
// stdout.
static void on_message(run *r, const stws_message *m) {
    if (r->prints_no_more) return;
    tell_unknown(r, m);
    hold(r, stws_message_copy(m));
    print_messages(r, 0);
    while (r->held_bytes > HELD_BYTES && !r->prints_no_more && !signalled)
        print_messages(r, TICK_MS);
}

// --confirm where nothing is sent: the subscriptions are what is to be confirmed.
static int confirms_subscriptions(const settings *set) {
    return set->options.confirm && !set->destination;
}

// The first of the subscriptions that the server has not confirmed in this session; NULL: there is none.
static const char *unconfirmed_subscription(const run *r) {
    size_t i;
    for (i = 0; confirms_subscriptions(r->set) && i < r->set->sub_count; i++)
        if (!r->confirmed[i]) return r->set->subs[i].destination;
    return NULL;
}

static void tell_subscription(run *r, const char *destination, const char *what) {
    fputs("stomp_cat: the subscription to \"", notes(r));
    print_plain(stderr, destination);
    fprintf(stderr, "\" %s\n", what);
}

static void on_subscription_receipt(run *r, const stws_event *e) {
    size_t i = 0;
    while (i < r->set->sub_count && r->handles[i] != e->handle) i++;
    if (i == r->set->sub_count || e->result == STWS_ERR_LOST)
        return; // on_disconnected sees to that
    if (e->result == STWS_OK) {
        r->confirmed[i] = 1;
        if (r->set->verbose) tell_subscription(r, r->set->subs[i].destination, "is confirmed");
        return;
    }
    tell_subscription(r, r->set->subs[i].destination,
                      e->result == STWS_ERR_TIMEOUT
                          ? "is not confirmed: no RECEIPT came in 15 s. Does this server send any? "
                            "(Spring's simple broker does not)"
                          : "was refused");
    finish(r, FAILED);
}

// Where nothing else is to be done, a run without subscriptions would wait for ever.
static void on_set_aside(run *r, const stws_event *e) {
    size_t i = 0;
    while (i < r->set->sub_count && r->handles[i] != e->handle) i++;
    if (i == r->set->sub_count) return;
    tell_subscription(r, r->set->subs[i].destination,
                      "is set aside: the server ended three sessions right after it");
    if (++r->aside < r->set->sub_count) return;
    if (!r->set->destination || r->sent_all) finish(r, FAILED);
}

// A server that refuses a subscription sends an ERROR, or just closes. Codes 1001, 1012 and 1013 are
// those of a server that goes away.
static int was_refused(const run *r) {
    int code = stws_close_code(r->client);
    return r->got_error || (code && code != 1001 && code != 1012 && code != 1013);
}

static void fail_receipt(run *r, int receipt, int result) {
    fprintf(notes(r), "stomp_cat: receipt %d: %s\n", receipt, stws_result_text(result));
    finish(r, FAILED);
}

static void on_receipt(run *r, const stws_event *e) {
    if (!e->receipt || r->ending) return;
    if (e->handle) {
        on_subscription_receipt(r, e);
        return;
    }
    r->waiting_receipts--;
    if (e->result == STWS_ERR_LOST) r->lost_receipt = e->receipt; // on_disconnected says why
    if (e->result != STWS_OK && e->result != STWS_ERR_LOST) fail_receipt(r, e->receipt, e->result);
}

// Prints all of an ERROR's body if the sentence has quoted only its first line.
static void print_body(FILE *out, const stws_message *m) {
    const char *line = m->body, *end = line + cut_length(line, m->body_len, 4096), *next;
    while (end > line && (end[-1] == '\n' || end[-1] == '\r')) end--;
    if (!memchr(line, '\n', (size_t)(end - line)) && end - line < 200) return;
    for (; line < end; line = next + 1) {
        size_t len;
        next = (const char *)memchr(line, '\n', (size_t)(end - line));
        if (!next) next = end;
        len = (size_t)(next - line);
        if (len > 0 && next < end && line[len - 1] == '\r') len--;
        fputs("    ", out);
        print_visible(out, line, len, "\t");
        fputc('\n', out);
    }
}

static void on_error(run *r, const stws_event *e) {
    r->got_error = 1;
    say(r, e->text);
    print_body(notes(r), e->message);
    if (r->set->destination && r->connected) finish(r, FAILED); // else CONNECT was refused
}

// Long waits are told in seconds.
static void tell_wait(run *r, long long ms) {
    int in_seconds = ms >= SHOWN_MS;
    fprintf(notes(r), "stomp_cat: trying again in %lld %s\n", in_seconds ? (ms + 999) / 1000 : ms,
            in_seconds ? "s" : "ms");
}

static void on_disconnected(run *r, const stws_event *e) {
    const char *unconfirmed = r->connected ? unconfirmed_subscription(r) : NULL;
    r->connected = 0;
    r->attempts++;
    if (e->retry_ms < 0 && (r->ending || !r->lost_receipt)) return;
    say(r, e->text);
    if (!r->outage_us) r->outage_us = now_us();
    if (r->lost_receipt && !r->ending) {
        fail_receipt(r, r->lost_receipt, STWS_ERR_LOST);
        return;
    }
    if (unconfirmed && !r->ending && was_refused(r)) {
        tell_subscription(r, unconfirmed, "was refused");
        finish(r, FAILED);
        return;
    }
    tell_wait(r, e->retry_ms);
}

// Without its query and its login, which may be secrets.
static void print_url(FILE *out, const char *text) {
    stws_url url;
    if (stws_url_parse(text, &url, NULL) != STWS_OK) return;
    fputs(url.secure ? "wss://" : "ws://", out);
    fprintf(out, url.is_ipv6 ? "[%.*s]" : "%.*s", (int)url.host_len, url.host);
    if (url.has_port) fprintf(out, ":%d", url.port);
    fprintf(out, "%.*s", (int)strcspn(url.target, "?"), url.target);
}

// The name and the version of the server, as it says them.
static void print_server(FILE *out, const char *server) {
    size_t name = strcspn(server, "/"), len = cut_length(server, strlen(server), 100);
    if (name > len) name = len;
    print_visible(out, server, name, "");
    if (name == len) return;
    fputc(' ', out);
    print_visible(out, server + name + 1, len - name - 1, "");
}

// An option of the library: 0 means its default, STWS_OFF none.
static unsigned long or_default(int ms, unsigned long default_ms) {
    return ms == 0 ? default_ms : ms < 0 ? 0 : (unsigned long)ms;
}

static void print_interval(FILE *out, unsigned long ms) {
    fprintf(out, ms % 1000 ? "%lu ms" : "%lu s", ms % 1000 ? ms : ms / 1000);
}

// What the two sides agree on: the larger of what one can and the other wants, or none. Returns
// whether they agree.
static int print_heartbeat(FILE *out, int ours_ms, unsigned long theirs_ms) {
    unsigned long ms = or_default(ours_ms, HEARTBEAT_MS);
    if (ms == 0 || theirs_ms == 0) {
        fputs("none", out);
        return 0;
    }
    print_interval(out, theirs_ms > ms ? theirs_ms : ms);
    return 1;
}

static void print_pings(FILE *out, int ping_ms) {
    unsigned long ms = or_default(ping_ms, PING_MS);
    if (!ms) return;
    fputs(", PINGs every ", out);
    print_interval(out, ms);
}

// "(RabbitMQ 3.10.8, STOMP 1.2, heart-beats 10 s/10 s)": those that we send, and those that we get.
static void print_connection(run *r, const stws_message *connected) {
    const stws_options *o = &r->set->options;
    const char *server = stws_header_get(connected, "server");
    const char *beats = stws_header_get(connected, "heart-beat"), *comma;
    unsigned long sends = 0, wants = 0;
    int version = stws_version(r->client), agreed;
    if (beats) sends = strtoul(beats, NULL, 10);
    comma = beats ? strchr(beats, ',') : NULL;
    if (comma) wants = strtoul(comma + 1, NULL, 10);
    fputs(" (", stderr);
    print_server(stderr, server && *server ? server : "a server without a name");
    fprintf(stderr, ", STOMP 1.%d, heart-beats ",
            version == STWS_STOMP_12 ? 2 : version == STWS_STOMP_11);
    agreed = print_heartbeat(stderr, o->heartbeat_out_ms, wants);
    fputc('/', stderr);
    agreed = print_heartbeat(stderr, o->heartbeat_in_ms, sends) && agreed;
    if (!agreed) print_pings(stderr, o->ping_ms);
    fputc(')', stderr);
}

// Who was told of an outage is also told of its end.
static void tell_connected(run *r, const stws_message *connected) {
    if (!r->set->verbose && !r->outage_us) return;
    fputs("stomp_cat: connected ", notes(r));
    fputs(r->was_connected ? "again to " : "to ", stderr);
    print_url(stderr, r->set->urls[r->attempts % r->set->url_count]);
    if (r->outage_us) fprintf(stderr, " after %.1f s", (double)(now_us() - r->outage_us) / 1e6);
    if (r->set->verbose) print_connection(r, connected);
    fputc('\n', stderr);
}

static void on_connected(run *r, const stws_message *connected) {
    tell_connected(r, connected);
    r->outage_us = 0;
    r->connected = r->was_connected = 1;
    r->got_error = 0;
    memset(r->confirmed, 0, sizeof r->confirmed);
    r->answered_us = now_us();
    r->told[0] = 0;
}

static void on_event(run *r, const stws_event *e) {
    print_messages(r, 0); // they came before
    if (is_complete(r)) return;
    switch (e->type) {
        case STWS_EVENT_CONNECTED: on_connected(r, e->message); break;
        case STWS_EVENT_MESSAGE: on_message(r, e->message); break;
        case STWS_EVENT_RECEIPT: on_receipt(r, e); break;
        case STWS_EVENT_ERROR: on_error(r, e); break;
        case STWS_EVENT_DISCONNECTED: on_disconnected(r, e); break;
        case STWS_EVENT_SUBSCRIPTION_REFUSED: on_set_aside(r, e); break;
        default: break;
    }
}

// What comes while stws_request drives.
static void call_message(stws *client, const stws_message *message, void *user) {
    (void)client;
    on_message((run *)user, message);
}

static void call_event(stws *client, const stws_event *event, void *user) {
    (void)client;
    on_event((run *)user, event);
}

// ---- a fresh token for each attempt ----

// The command is a process group of its own, so that all of it can be ended.
static void run_shell(const char *command, int output) {
    static char shell[] = "sh", option[] = "-c";
    char *argv[4] = {shell, option, NULL, NULL};
    int input = open("/dev/null", O_RDONLY);
    memcpy(&argv[2], &command, sizeof command);
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    if (input >= 0 && dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0)
        execv("/bin/sh", argv);
    _exit(127);
}

// 1, or 0 when the system cannot run it.
static int start_token(run *r) {
    bearer_token *t = &r->token;
    int ends[2];
    if (pipe(ends) != 0) return 0;
    t->process = fork();
    if (t->process == 0) run_shell(r->set->token_command, ends[1]);
    close(ends[1]);
    if (t->process < 0) {
        t->process = 0;
        close(ends[0]);
        return 0;
    }
    setpgid(t->process, t->process); // whichever of the two comes first
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    t->output = ends[0];
    t->len = 0;
    t->deadline_us = now_us() + TOKEN_MS * 1000LL;
    if (r->set->verbose) fputs("stomp_cat: running --token-command\n", notes(r));
    return 1;
}

// Ends the command, and returns its status as waitpid gives it.
static int end_token(bearer_token *t) {
    int status = -1;
    if (!t->process) return status;
    kill(-t->process, SIGKILL);
    close(t->output);
    while (waitpid(t->process, &status, 0) < 0 && errno == EINTR) continue;
    t->process = 0;
    return status;
}

// Reads what the command prints: 1 at the end of its output, 0 when more may come.
static int read_token(bearer_token *t) {
    static char rest[4096]; // what is behind the room
    for (;;) {
        size_t room = sizeof t->text - 1 - t->len;
        ssize_t n = read(t->output, room ? t->text + t->len : rest, room ? room : sizeof rest);
        if (n == 0) return 1;
        if (n < 0) return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
        if (room) t->len += (size_t)n;
    }
}

// The first line of the output, which is to be a word without blanks: 1, or 0.
static int cut_token(bearer_token *t) {
    size_t i;
    t->text[t->len] = 0;
    t->len = strcspn(t->text, "\r\n");
    if (t->len == 0 || t->len == sizeof t->text - 1) return 0;
    t->text[t->len] = 0;
    for (i = 0; i < t->len; i++)
        if (t->text[i] <= ' ' || t->text[i] > '~') return 0;
    return 1;
}

static void add_bearer(header_list *out, const header_list *given, const char *bearer) {
    size_t i;
    *out = *given;
    for (i = 0; i < given->count; i++)
        if (strcasecmp(given->items[2 * i], "authorization") == 0) return; // that one was asked for
    out->items[2 * out->count] = "Authorization";
    out->items[2 * out->count + 1] = bearer;
    out->items[2 * ++out->count] = NULL;
}

static void use_token(run *r, stws_attempt *attempt) {
    bearer_token *t = &r->token;
    snprintf(t->bearer, sizeof t->bearer, "Bearer %s", t->text);
    add_bearer(&t->connect, &r->set->connect_headers, t->bearer);
    add_bearer(&t->http, &r->set->http_headers, t->bearer);
    attempt->connect_headers = t->connect.items;
    attempt->http_headers = t->http.items;
    if (attempt->login && !attempt->passcode) attempt->passcode = t->text;
    t->failures = 0;
}

// There is no token. Another try follows after the wait of --reconnect, or none with --no-reconnect.
static int fail_token(run *r, const char *why) {
    const stws_options *o = &r->set->options;
    int ms = o->reconnect_min_ms ? o->reconnect_min_ms : RETRY_MS, i;
    int most = o->reconnect_max_ms ? o->reconnect_max_ms : RETRY_MAX_MS;
    for (i = 0; i < r->token.failures && ms < most; i++) ms *= 2;
    if (ms > most) ms = most;
    r->token.failures++;
    fprintf(notes(r), "stomp_cat: --token-command: %s\n", why);
    if (o->reconnect == STWS_OFF)
        finish(r, FAILED);
    else
        tell_wait(r, ms);
    return ms;
}

static int judge_token(run *r, stws_attempt *attempt, int status) {
    char why[100];
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        if (!r->token.len) return fail_token(r, "it printed nothing");
        if (!cut_token(&r->token))
            return fail_token(r, "its first line is not a token (one word of ASCII)");
        use_token(r, attempt);
        return 0;
    }
    if (WIFEXITED(status))
        snprintf(why, sizeof why, "it ended with status %d", WEXITSTATUS(status));
    else
        snprintf(why, sizeof why, "it was ended by signal %d", WTERMSIG(status));
    return fail_token(r, why);
}

// Asked by the library before each attempt, and again after so many milliseconds as it returns, until
// it returns 0. Nothing waits for the command.
static int before_connect(stws *client, stws_attempt *attempt, void *user) {
    run *r = (run *)user;
    bearer_token *t = &r->token;
    char why[100];
    int status;
    pid_t ended;
    (void)client;
    if (!t->process) return start_token(r) ? TOKEN_LOOK_MS : fail_token(r, strerror(errno));
    if (now_us() >= t->deadline_us) {
        end_token(t);
        snprintf(why, sizeof why, "it took more than %d s", TOKEN_MS / 1000);
        return fail_token(r, why);
    }
    ended = read_token(t) ? waitpid(t->process, &status, WNOHANG) : 0;
    if (ended == 0) return TOKEN_LOOK_MS;
    t->process = 0;
    close(t->output);
    return ended < 0 ? fail_token(r, strerror(errno)) : judge_token(r, attempt, status);
}

// Spring, and Spring as a relay, may say farewell with an ERROR.
static int is_farewell(const char *message) {
    static const char *const farewells[] = {"Session closed", "Connection to broker closed"};
    size_t i;
    for (i = 0; message && i < sizeof farewells / sizeof *farewells; i++)
        if (strncmp(message, farewells[i], strlen(farewells[i])) == 0) return 1;
    return 0;
}

// Which messages went out, and which of them the server has confirmed. With --confirm the first number
// counts a message again when it is sent again.
static void count_sends(run *r, stws_direction direction, const stws_frame *frame) {
    const char *receipt;
    if (direction == '>' && strcmp(frame->command, "SEND") == 0) r->frames_sent++;
    if (direction == '>' && strcmp(frame->command, "DISCONNECT") == 0) {
        receipt = stws_frame_header(frame, "receipt");
        snprintf(r->farewell, sizeof r->farewell, "%s", receipt ? receipt : "");
    }
    if (direction == '<' && strcmp(frame->command, "RECEIPT") == 0) {
        receipt = stws_frame_header(frame, "receipt-id");
        r->confirmed_sends += receipt && strcmp(receipt, r->farewell) != 0;
    }
}

// After our DISCONNECT the library takes an ERROR for a clean end. One that is no farewell and
// names no receipt is about a message on its way, and whoever sent it has to hear of it.
static void watch(stws *client, stws_direction direction, const stws_frame *frame, void *user) {
    run *r = (run *)user;
    const char *message = stws_frame_header(frame, "message");
    (void)client;
    if (r->set->trace) print_trace(notes(r), direction, frame);
    count_sends(r, direction, frame);
    if (direction != '<' || strcmp(frame->command, "ERROR") != 0 || !r->ending || !r->sent) return;
    if (stws_frame_header(frame, "receipt-id") || is_farewell(message)) return;
    if (!message) message = "";
    snprintf(r->refused, sizeof r->refused,
             "the server sent an ERROR after the last message: \"%.*s\": \"%.*s\"",
             (int)cut_length(message, strlen(message), 200), message,
             (int)cut_length(frame->body, frame->body_len, 400), frame->body);
}

static char *grow(char *data, size_t size) {
    char *grown = (char *)realloc(data, size);
    if (!grown) out_of_memory();
    return grown;
}

// All that is left of a file: 1, or 0 when it cannot be read, or a signal came: then a pipe may
// stay silent for ever.
static int read_all(int fd, content *out) {
    size_t size = 65536;
    ssize_t n = 1;
    out->len = 0;
    out->data = grow(NULL, size);
    while (n > 0 && !signalled) {
        struct pollfd input = {fd, POLLIN, 0};
        if (poll(&input, 1, TICK_MS) <= 0) continue;
        n = read(fd, out->data + out->len, size - out->len);
        if (n > 0) out->len += (size_t)n;
        if (out->len == size) out->data = grow(out->data, size *= 2);
    }
    return n == 0;
}

static int read_file(const char *path, content *out) {
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY);
    int is_read = fd >= 0 && read_all(fd, out);
    if (fd > STDIN_FILENO) close(fd);
    return is_read;
}

// What -m or -f want sent. Files are read before anything is: with one that cannot be, nothing is
// sent.
static int read_bodies(run *r) {
    const settings *set = r->set;
    if (set->text) {
        r->bodies[0].len = strlen(set->text);
        r->bodies[0].data = copy_text(set->text, r->bodies[0].len);
        r->body_count = 1;
    }
    for (; !set->text && r->body_count < set->file_count; r->body_count++) {
        const char *path = set->files[r->body_count];
        if (read_file(path, r->bodies + r->body_count)) continue;
        return signalled ? 128 + signalled : usage("-f: the file cannot be read", path);
    }
    return DONE;
}

static void free_bodies(run *r) {
    size_t i;
    for (i = 0; i < MAX_FILES; i++) free(r->bodies[i].data);
}

// More of stdin, if there is any just now.
static void read_input(run *r) {
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    ssize_t n;
    if (r->input_over || poll(&input, 1, 0) <= 0) return;
    r->input_len -= r->input_at;
    r->input_seen -= r->input_at;
    if (r->input_at && r->input_len) memmove(r->input, r->input + r->input_at, r->input_len);
    r->input_at = 0;
    if (r->input_size - r->input_len < 4096) {
        r->input_size = 2 * r->input_size + 65536;
        r->input = grow(r->input, r->input_size);
    }
    n = read(STDIN_FILENO, r->input + r->input_len, r->input_size - r->input_len);
    if (n > 0) r->input_len += (size_t)n;
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) r->input_over = 1;
}

// Where the first line that was read ends, or NULL. No byte is looked at twice.
static const char *line_end(run *r) {
    const char *end = NULL;
    if (r->input_len > r->input_seen)
        end = (const char *)memchr(r->input + r->input_seen, '\n', r->input_len - r->input_seen);
    r->input_seen = end ? (size_t)(end - r->input) : r->input_len;
    return end;
}

// A line of stdin as the next body: 1, or 0 when none is whole yet.
static int next_line(run *r) {
    const char *end = line_end(r);
    if (!end) {
        read_input(r);
        end = line_end(r);
    }
    if (!end && !(r->input_over && r->input_len > r->input_at)) {
        r->sent_all = r->input_over;
        return 0;
    }
    r->body = r->input + r->input_at;
    r->body_len = r->input_seen - r->input_at;
    r->line_len = r->body_len + (end != NULL);
    return 1;
}

static void drop_line(run *r) {
    r->input_at += r->line_len;
    r->input_seen = r->input_at;
    r->line_len = 0;
}

// The next body of -m or -f: 1, or 0 when there is none any more.
static int next_given(run *r) {
    const content *next = r->bodies + r->sent;
    if ((size_t)r->sent == r->body_count) return 0;
    r->body = next->data;
    r->body_len = next->len;
    return 1;
}

// The next body: 1; 0 when there is none now. sent_all is set when there will be none any more.
static int next_body(run *r) {
    if (r->has_body) return 1;
    if (r->body_count)
        r->sent_all = !(r->has_body = next_given(r));
    else
        r->has_body = !r->sent_all && next_line(r);
    return r->has_body;
}

// Send with a reply-to, and print what comes back. A signal reaches the client itself meanwhile.
static int request(run *r, const stws_outgoing *m) {
    stws_message *reply = NULL;
    long long left_ms =
        r->deadline_us ? (r->deadline_us - now_us()) / 1000 + 1 : (long long)ANSWER_MS;
    int result;
    requesting = r->client;
    result = signalled ? STWS_CLOSED
                       : stws_request(r->client, m, &reply, left_ms > 0 ? (int)left_ms : 0);
    requesting = NULL;
    if (reply) hold(r, reply);
    print_messages(r, 0);
    return result;
}

static int send_body(run *r) {
    stws_outgoing m;
    memset(&m, 0, sizeof m);
    m.destination = r->set->destination;
    m.body = r->body;
    m.body_len = r->body_len;
    m.content_type = r->set->content_type;
    m.headers = r->set->headers.count ? r->set->headers.items : NULL;
    m.receipt = r->set->receipt;
    return r->set->request ? request(r, &m) : stws_send_ex(r->client, &m);
}

// Is there nothing left that waits to be written or, with --confirm, for its receipt?
static int is_flushed(const run *r) {
    return stws_flush(r->client, 0) == STWS_OK;
}

static int is_late(const run *r) {
    return r->deadline_us && now_us() >= r->deadline_us;
}

// A send was not taken: 1 when it is to be tried again or somebody else says why, 0 when that was
// all.
static int may_come_later(const run *r, int result) {
    if (r->ending || signalled || stws_state(r->client) == STWS_ENDED) return 1;
    if (result == STWS_ERR_FULL) return 1;
    if (result == STWS_ERR_LIMIT) return r->waiting_receipts || !is_flushed(r);
    return result == STWS_ERR_TIMEOUT && is_late(r);
}

static void say_not_sent(run *r, int result) {
    char sentence[256];
    if (r->set->request && result == STWS_ERR_TIMEOUT)
        snprintf(sentence, sizeof sentence, "no reply came within %d ms", ANSWER_MS);
    else
        snprintf(sentence, sizeof sentence, "the message was not sent: %s",
                 stws_result_text(result));
    fail(r, sentence);
}

// When --rate allows the next message. A short delay is made good, or the clock's ticks would slow
// us down; a pause of the input is not.
static long long next_turn(const run *r, long long now) {
    long long began = now - r->next_send_us < CATCH_UP_US ? r->next_send_us : now;
    return began + 1000000 / r->set->rate;
}

// Send what there is, as fast as the library takes it or --rate allows, but look at the clock in
// between.
static void pump(run *r) {
    int turns = 0;
    if (r->set->request && r->held_first) return; // a reply waits for stdout
    while (r->connected && !r->ending && !r->sent_all && now_us() >= r->next_send_us &&
           turns++ < EVENTS_A_TURN && next_body(r)) {
        int result = send_body(r);
        if (result < 0) {
            if (!may_come_later(r, result)) say_not_sent(r, result);
            return;
        }
        r->has_body = 0;
        if (r->line_len) drop_line(r);
        r->sent++;
        r->waiting_receipts += result > 0;
        if (r->set->rate) r->next_send_us = next_turn(r, now_us());
    }
}

// With --confirm a server that sends no receipts would keep us for ever.
static void check_confirmations(run *r) {
    stws_statistics numbers;
    if (!r->set->options.confirm || r->ending || !r->connected || !r->sent) return;
    stws_stats(r->client, &numbers);
    if (numbers.frames_in != r->frames_in || is_flushed(r)) r->answered_us = now_us();
    r->frames_in = numbers.frames_in;
    if (now_us() - r->answered_us < ANSWER_MS * 1000LL) return;
    fail(r,
         "no RECEIPT came for 30 s: does this server send any? (Spring's simple broker does not)");
}

// Has everything that was asked for been done?
static void check_done(run *r) {
    check_confirmations(r);
    if (r->ending || !r->set->destination || !r->sent_all) return;
    if (r->aside < r->set->sub_count || (r->set->count && !r->aside)) return; // more may come
    if (r->waiting_receipts || (r->set->options.confirm && !is_flushed(r))) return;
    if (!r->held_first) finish(r, r->aside ? FAILED : DONE);
}

// ---- what a signal or a time-out leaves undone ----

// Lines of stdin that were read and not sent. Half a line is none, unless stdin is at its end.
static long lines_left(const run *r) {
    size_t at;
    long count = 0;
    for (at = r->input_at; at < r->input_len; at++) count += r->input[at] == '\n';
    return count +
           (r->input_over && r->input_len > r->input_at && r->input[r->input_len - 1] != '\n');
}

// What stdin has after the part that was read. Only call it at the end of the run: it reads a byte.
enum input_rest { REST_NONE, REST_SILENT, REST_WAITING };

static enum input_rest rest_of_input(run *r) {
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    char byte;
    if (!r->set->destination || r->body_count || r->input_over) return REST_NONE;
    if (poll(&input, 1, 0) <= 0) return REST_SILENT;
    if (read(STDIN_FILENO, &byte, 1) > 0) return REST_WAITING;
    r->input_over = 1;
    return REST_NONE;
}

// What the session leaves undone, as a sentence; an empty one when that is nothing.
static void tell_undone(run *r, char *out, size_t size) {
    const settings *set = r->set;
    const char *unconfirmed = r->connected ? unconfirmed_subscription(r) : NULL;
    enum input_rest rest = rest_of_input(r);
    *out = 0;
    if (set->count && r->received < set->count)
        snprintf(out, size, "%ld of %ld messages came", r->received, set->count);
    else if (unconfirmed)
        snprintf(out, size, "the subscription to \"%.100s\" is not confirmed", unconfirmed);
    else if (!r->connected)
        return; // that is why
    else if (set->request && r->has_body)
        snprintf(out, size, "no reply came");
    else if ((size_t)r->sent < r->body_count)
        snprintf(out, size, "a message could not be sent yet");
    else if (lines_left(r))
        snprintf(out, size, "lines of standard input were not sent");
    else if (r->waiting_receipts)
        snprintf(out, size, "no RECEIPT came for %ld of %ld messages", r->waiting_receipts,
                 r->sent);
    else if (r->sent && (set->options.confirm || !set->sub_count) && !is_flushed(r))
        snprintf(out, size, "%s waits to be %s", set->options.confirm ? "a RECEIPT" : "a message",
                 set->options.confirm ? "received for what was sent" : "sent");
    else if (rest != REST_NONE)
        r->told_input = snprintf(out, size, "standard input was not read to its end") > 0;
}

// Why there is no connection just now.
static const char *absence(const run *r) {
    const char *error = stws_error_text(r->client);
    if (r->token.process) return "waiting for --token-command";
    if (r->token.failures) return "--token-command failed";
    return *error ? error : stws_state_name(stws_state(r->client));
}

// What -t leaves undone, as a sentence; NULL when that is nothing.
static const char *undone(run *r, char *out, size_t size) {
    const char *why = absence(r);
    size_t len;
    if (!r->was_connected) {
        if (why == stws_error_text(r->client)) return why;
        snprintf(out, size, "no connection (%s)", why);
        return out;
    }
    tell_undone(r, out, size);
    len = strlen(out);
    if (!r->connected) snprintf(out + len, size - len, "%snot connected: %s", len ? "; " : "", why);
    return *out ? out : NULL;
}

static void check_limits(run *r) {
    char text[1200];
    const char *missing;
    if (!signalled && !is_late(r)) return;
    r->unprinted += drop_messages(r);
    if (signalled) finish(r, 128 + signalled);
    if (r->ending) return;
    missing = undone(r, text, sizeof text);
    if (missing) {
        fprintf(notes(r), "stomp_cat: time-out after %g s: ", r->set->seconds);
        print_plain(stderr, missing);
        fputc('\n', stderr);
    }
    finish(r, missing ? TIMED_OUT : DONE);
}

// A stdin that is silent is told after a time-out, or if nothing was ever sent: a signal is the usual
// end of an input that goes on.
static void tell_input(const run *r, int code, enum input_rest rest) {
    int is_open = rest == REST_SILENT && (code == TIMED_OUT || !r->was_connected);
    if (r->told_input || (rest != REST_WAITING && !is_open)) return;
    fputs("stomp_cat: standard input was not read to its end\n", stderr);
}

static void tell_left(run *r, int code) {
    const settings *set = r->set;
    enum input_rest rest;
    long total, left;
    const char *what = "sent";
    if (r->unprinted)
        fprintf(stderr, "stomp_cat: %ld messages were received and not printed\n", r->unprinted);
    if (!set->destination) return;
    rest = rest_of_input(r);
    total = r->body_count ? (long)r->body_count : r->sent + lines_left(r);
    left = total - r->frames_sent;
    if (set->request) left = total - r->sent, what = "answered";
    if (set->receipt || set->options.confirm) left = total - r->confirmed_sends, what = "confirmed";
    if (left > 0)
        fprintf(stderr, "stomp_cat: %ld of %ld messages were not %s\n", left, total, what);
    tell_input(r, code, rest);
}

// Wait for the network, for stdin when a line is wanted, and never so long that a signal or a
// deadline is missed.
static void wait_a_while(run *r) {
    struct pollfd polled[5];
    stws_fd fds[3];
    int n = stws_fds(r->client, fds, 3), i;
    long long ms = stws_deadline(r->client), left;
    int wants_line = r->connected && !r->ending && !r->sent_all && r->set->destination &&
                     !r->has_body && !r->body_count && now_us() >= r->next_send_us;
    for (i = 0; i < n; i++) {
        polled[i].fd = fds[i].fd;
        polled[i].events = (short)((fds[i].wants & STWS_WANT_READ ? POLLIN : 0) |
                                   (fds[i].wants & STWS_WANT_WRITE ? POLLOUT : 0));
    }
    if (wants_line) {
        polled[n].fd = STDIN_FILENO;
        polled[n++].events = POLLIN;
    }
    // Whoever reads stdout may go before there is anything to print.
    polled[n].fd = prints(r->set) && !r->prints_no_more ? STDOUT_FILENO : -1;
    polled[n].events = r->page_count && r->text_at < r->text_len ? POLLOUT : 0;
    polled[n].revents = 0;
    if (ms < 0 || ms > TICK_MS) ms = TICK_MS;
    left = r->next_send_us - now_us();
    if (left > 0 && left / 1000 < ms) ms = left / 1000 + 1;
    poll(polled, (nfds_t)n + 1, (int)ms);
    if (polled[n].revents & POLLERR) fail_printing(r, EPIPE);
}

// The connection has ended. What came before is printed, however long that takes, but for a signal
// or the end of -t.
static void print_rest(run *r) {
    for (;;) {
        print_messages(r, TICK_MS);
        if (r->prints_no_more || !(r->page_count || r->held_first)) return;
        check_limits(r);
    }
}

static int subscribe_all(run *r) {
    size_t i;
    for (i = 0; i < r->set->sub_count; i++) {
        const subscription *sub = &r->set->subs[i];
        stws_subscribe_options o;
        int handle;
        memset(&o, 0, sizeof o);
        o.id = sub->id;
        o.ack = sub->ack ? sub->ack : r->set->ack;
        o.headers = sub->headers.count ? sub->headers.items : NULL;
        o.receipt = confirms_subscriptions(r->set);
        handle = stws_subscribe(r->client, sub->destination, &o);
        if (handle < 0) return usage("-s, its headers or its id cannot be used", sub->destination);
        r->handles[i] = handle;
    }
    return DONE;
}

// We have ended as we wanted to; but has the server refused what we sent last, when DISCONNECT was
// already out?
static int judge_end(run *r) {
    int close_code = stws_close_code(r->client);
    if (!r->ending) return signalled ? 128 + signalled : FAILED;
    if (r->code != DONE || !r->sent) return r->code;
    if (close_code > 1002 && close_code != 1005)
        snprintf(r->refused, sizeof r->refused,
                 "the server closed with code %d after the last message%s", close_code,
                 close_code == 1009 ? ": it was too big for it" : "");
    if (!r->refused[0]) return DONE;
    say(r, r->refused);
    return FAILED;
}

static int drive(run *r) {
    stws_event e;
    int result, i;
    for (;;) {
        for (i = 0; i < EVENTS_A_TURN && (result = stws_next(r->client, &e, 0)) > 0; i++)
            on_event(r, &e);
        if (result < 0) break;
        print_messages(r, 0);
        check_limits(r);
        if (r->set->destination) pump(r);
        check_done(r);
        show_progress(r, now_us());
        wait_a_while(r);
    }
    print_rest(r);
    end_progress(r);
    if (result == STWS_CLOSED) return judge_end(r);
    if (!r->ending) say(r, stws_error_text(r->client));
    return r->ending ? r->code : FAILED;
}

static size_t subscription_size(const subscription *sub) {
    size_t size = strlen(sub->destination) + (sub->id ? strlen(sub->id) : 0) + 64, i;
    for (i = 0; i < 2 * sub->headers.count; i++) size += strlen(sub->headers.items[i]) + 1;
    return size;
}

// The options, with room for all that the arguments ask for; stws_request has a subscription of its
// own.
static stws_options options_for(run *r) {
    const settings *set = r->set;
    stws_options o = set->options;
    size_t i, size, longest = 0;
    o.max_subscriptions = MAX_SUBS + 1;
    o.subscription_bytes = 256;
    for (i = 0; i < set->sub_count; i++) {
        size = subscription_size(&set->subs[i]);
        if (size > o.subscription_bytes) o.subscription_bytes = size;
    }
    for (i = 0; i < r->body_count; i++)
        if (r->bodies[i].len > longest) longest = r->bodies[i].len;
    o.outbox_bytes = o.confirm && !r->body_count ? (size_t)CONFIRM_OUTBOX : (1 << 20) + longest;
    // Only with a wake descriptor no signal is too early for stws_request to see.
    o.single_thread = !set->request;
    o.queue = r->queue;
    o.on_message = call_message;
    o.on_event = call_event;
    o.on_trace = set->trace || set->destination ? watch : NULL;
    o.user = r;
    if (set->token_command) o.before_connect = before_connect;
    return o;
}

// The client, and its subscriptions; USAGE when the arguments are not good for one.
static int prepare(run *r) {
    stws_options o;
    // stws_request calls back for what comes meanwhile, and cannot wait for us to empty a queue.
    if (prints(r->set) && !r->set->request) {
        r->queue = stws_queue_create(QUEUE_BYTES);
        if (!r->queue) out_of_memory();
    }
    o = options_for(r);
    r->client = stws_create(&o);
    if (!r->client) out_of_memory();
    if (stws_error(r->client) != STWS_OK) return usage(stws_error_text(r->client), NULL);
    return subscribe_all(r);
}

static int run_client(const settings *set) {
    static run r;
    int code;
    r.set = set;
    code = read_bodies(&r);
    r.escapes = !set->raw && isatty(STDOUT_FILENO);
    r.progress_us = now_us();
    if (set->seconds > 0) r.deadline_us = r.progress_us + (long long)(set->seconds * 1e6);
    if (code == DONE) code = prepare(&r);
    if (code == DONE) {
        code = drive(&r);
        if (code == DONE && r.unprinted) code = signalled ? 128 + signalled : TIMED_OUT;
        if (code >= TIMED_OUT || r.unprinted) tell_left(&r, code);
    }
    end_token(&r.token);
    stws_destroy(r.client);
    stws_queue_destroy(r.queue);
    while (r.held_first) drop_held(&r);
    end_page(&r);
    free_bodies(&r);
    free(r.input);
    return code;
}

// What of stdin, stdout and stderr is closed would become the socket. /dev/null takes its place,
// opened so that reading or writing fails as before. Returns whether stdout was open.
static int occupy_standard_files(void) {
    int fd, had_stdout = 1;
    for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) exit(FAILED);
        if (fd == STDOUT_FILENO) had_stdout = 0;
    }
    return had_stdout;
}

// Two texts, one behind the other, on stdout.
static int show(const char *text, const char *rest) {
    if (fputs(text, stdout) >= 0 && fputs(rest, stdout) >= 0 && fflush(stdout) == 0) return DONE;
    fprintf(stderr, "stomp_cat: writing to stdout failed: %s\n", strerror(errno));
    return FAILED;
}

int main(int argc, char **argv) {
    static settings set;
    struct sigaction action;
    int code, has_stdout = occupy_standard_files();
    code = parse_arguments(argc, argv, &set);
    if (code != DONE) return code;
    if (!has_stdout && prints(&set)) {
        fputs("stomp_cat: stdout is closed, and there would be something to print\n", stderr);
        return FAILED;
    }
    if (set.help) return show(help, help_end);
    if (set.version) return show("stomp_cat " STOMP_WS_VERSION, "\n");
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_IGN;
    // A closed stdout is an error to report, with a farewell to the server.
    sigaction(SIGPIPE, &action, NULL);
    action.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &action, NULL); // whoever started us may have ignored it
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return run_client(&set);
}
