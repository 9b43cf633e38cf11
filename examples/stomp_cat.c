/* How do I subscribe and send from a shell?

       stomp_cat URL -s DESTINATION            prints each message, until Ctrl-C
       stomp_cat URL -d DESTINATION -m TEXT    sends a message
       stomp_cat --help                        prints all options

   It is to STOMP what mosquitto_sub and mosquitto_pub are to MQTT. One loop in drive() serves the
   network, stdin and stdout, and none of them ever waits for another. It ends by finish(): the
   client sends DISCONNECT and waits for the receipt, two seconds at most. The man page is
   stomp_cat.1. */
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
    "With several URLs, each attempt to connect takes the next URL in the list.\n"
    "\n"
    "What to receive and to send:\n"
    "  -s DEST              subscribe to this destination; can be repeated\n"
    "  -d DEST              send to this destination. Without -m or -f, each line of\n"
    "                       stdin is a message\n"
    "  -H 'name:value'      add a header to the -s or -d before it. After -s, id:X is\n"
    "                       the id of the subscription, and ack:MODE is its --ack\n"
    "  -m TEXT              send one message with this body\n"
    "  -f FILE              send one message with this file as its body (-: stdin);\n"
    "                       repeat -f to send several messages\n"
    "  --content-type T     the content type of the messages that are sent\n"
    "  --rate N             send at most N messages per second\n"
    "  --receipt            wait until the server has confirmed each message\n"
    "  --confirm            like --receipt, and resend unconfirmed messages after a\n"
    "                       reconnect. Without -d: fail if the server does not\n"
    "                       confirm a subscription\n"
    "  --request            send with a reply-to header, and print the reply\n"
    "  --ack MODE           how to acknowledge: auto (default), client or\n"
    "                       client-individual\n"
    "\n"
    "When to end:\n"
    "  -n, --count N        after N received messages (with --request: replies)\n"
    "  -t, --timeout S      after S seconds, such as 2 or 0.5. The exit status is 3\n"
    "                       if -n was not reached, there is no connection, or\n"
    "                       something was not sent, not confirmed or not printed\n"
    "\n"
    "Credentials:\n"
    "  -u, --login LOGIN    the login for CONNECT; default: the variable STOMP_LOGIN\n"
    "  -p, --passcode CODE  its passcode; default: the variable STOMP_PASSCODE. Other\n"
    "                       users can see -p in the list of processes\n"
    "  --passcode-file FILE read the passcode from the first line of this file\n"
    "  --token-command CMD  run this shell command before each attempt to connect.\n"
    "                       Its first line of output is sent as Authorization:\n"
    "                       Bearer in HTTP and in CONNECT. With -u and without a\n"
    "                       passcode it is also the passcode\n"
    "\n";

static const char help_connection[] =
    "The connection:\n"
    "  --host VHOST         the virtual host (default: /)\n"
    "  --connect-header 'name:value'   add a header to CONNECT\n"
    "  --http-header 'Name: value'     add a header to the HTTP upgrade\n"
    "  --header-file FILE   add the headers in this file to the HTTP upgrade; one\n"
    "                       'Name: value' per line\n"
    "  --proxy URL          http://[user:password@]host:port, or with socks5://; or\n"
    "                       environment: read https_proxy and similar variables\n"
    "  --versions 1.2,1.1   the STOMP versions to offer\n"
    "  --heartbeat OUT,IN   heart-beats in milliseconds; 0: none; default 10000,10000\n"
    "  --ping MS            if a heart-beat is not agreed, send a WebSocket PING\n"
    "                       after so many milliseconds of silence; 0: never;\n"
    "                       default 20000\n"
    "  --no-reconnect       end when the first connection fails or is lost\n"
    "  --reconnect MIN,MAX  the shortest and the longest wait before an attempt, in\n"
    "                       milliseconds\n"
    "  --give-up WHEN       which refusals (such as HTTP 404) end the program: soon\n"
    "                       (all), never (none), or default (before the first session\n"
    "                       all, later only refused credentials)\n"
    "\n"
    "TLS, for wss:// (needs a build with make BEARSSL=1 or make OPENSSL=1):\n"
    "  --ca FILE            a PEM file of trusted CAs (default: the system's CAs)\n"
    "  --cert FILE          a PEM file with the client's certificate\n"
    "  --key FILE           a PEM file with its key (default: the file of --cert)\n"
    "  --pin HASH           the SHA-256 of the server's public key, hex or base64\n"
    "  --insecure           for tests only: accept any server\n"
    "\n"
    "What to print:\n"
    "  --json               print one JSON object per message\n"
    "  --raw                print bodies to a terminal unchanged. Without it, control\n"
    "                       characters and bytes that are not UTF-8 are shown as \\x1b\n"
    "  -v, --verbose        report on stderr which server is connected\n"
    "  --trace              print each frame to stderr, with secrets masked\n"
    "  -h, --help           print this text\n"
    "  --version            print the version\n"
    "\n";

static const char help_end[] =
    "Error messages name the library's options: login and passcode are -u and -p,\n"
    "connect_headers and http_headers are --connect-header and --http-header.\n"
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

#if defined(STOMP_WS_BEARSSL) || defined(STOMP_WS_OPENSSL) // a TLS library is linked
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
enum { TURN_EVENTS = 256 };         // events, or messages sent, before the clock is read again
enum { CONFIRM_OUTBOX = 64 << 20 }; // with --confirm: the lines of stdin that wait for a receipt
enum { CATCH_UP_US = 50000 };       // with --rate: a delay up to this is made up for
enum { MAX_SECRET = 65536 };        // bytes of a line of a file with secrets
enum { HEARTBEAT_MS = 10000 };      // the library's default of --heartbeat
enum { PING_MS = 20000 };           // the library's default of --ping
enum { QUEUE_BYTES = 20 << 20 };    // of received messages; more than the largest message
enum { HELD_BYTES = 1 << 20 };      // of messages that did not come through the queue
enum { HELD_OVERHEAD = 1024 };      // added to the body's size for each of them
enum { PAGE_BYTES = 1 << 20 };      // a larger page buffer is freed after printing
enum { PIPE_BYTES = PIPE_BUF };     // a pipe that poll reports as writable takes so many bytes
enum { TOKEN_MS = 30000 };          // the longest run of --token-command
enum { TOKEN_CHECK_MS = 20 };       // how often to check whether it has ended
enum { RETRY_MS = 1000, RETRY_MAX_MS = 30000 }; // the library's defaults of --reconnect
enum { SHOWN_MS = 10000 };                      // a longer wait is shown in seconds
enum { JITTER = 20 };                           // percent of a wait that --reconnect varies
enum { MANY = 100, PROGRESS_US = 1000000, PROGRESS_WIDTH = 70 };

// A flat list as the library takes it: name, value, ..., NULL.
typedef struct header_list {
    const char *items[2 * (MAX_HEADERS + 1) + 1]; // with room for the header of a token
    size_t count;
} header_list;

typedef struct subscription {
    const char *destination, *id;
    stws_ack_mode ack;
    header_list headers;
} subscription;

typedef struct settings {
    stws_options options;
    const char *urls[MAX_URLS + 1]; // in the order of the attempts; ended by NULL
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
    int receipt, json, raw, request, trace;
    int acks; // a subscription has an ack mode other than auto
    int help, version, verbose;
} settings;

typedef struct content {
    char *data;
    size_t len;
} content;

// A message that did not come through the queue and waits to be printed.
typedef struct held {
    struct held *next;
    stws_message *copy;
} held;

// The process of --token-command, and its output.
typedef struct bearer_token {
    pid_t process; // 0: it is not running
    int output;    // the pipe that reads its stdout
    char text[MAX_SECRET];
    size_t len;
    long long deadline_us;
    int failures;                // in a row
    char bearer[MAX_SECRET + 8]; // "Bearer " and the token
    header_list connect, http;   // the given headers and Authorization
} bearer_token;

typedef struct run {
    const settings *set;
    stws *client;
    long received, sent, waiting_receipts;
    long frames_sent, confirmed_sends;
    char end_receipt[64];     // the receipt header of DISCONNECT
    int lost_receipt;         // a receipt whose connection ended before it came
    int handles[MAX_SUBS];    // the handles of set->subs
    size_t aside;             // how many of them are set aside
    char confirmed[MAX_SUBS]; // 1: the server has confirmed it in this session
    int got_error;            // an ERROR came in this session
    size_t attempts;          // attempts and sessions that have ended
    long long outage_us;      // when the reported outage began; 0: none
    int connected, was_connected, ending, code, sent_all;
    stws_queue *queue;            // received messages; NULL with --request
    const stws_message *popped;   // the last message from the queue
    held *held_first, *held_last; // messages that did not come through the queue
    size_t held_bytes;
    // The page that is being printed: messages that are written together.
    FILE *page;
    long page_count;            // number of its messages
    const stws_message *to_ack; // its last message, if that needs an ACK
    int is_held;                // its last message is held_first
    char *text;                 // its text
    size_t text_len, text_at;   // bytes of the text; bytes that are written
    int prints_no_more;
    bearer_token token;
    long unprinted;            // received messages that will not be printed
    int escapes;               // 1: bodies go to a terminal, so control characters are escaped
    char reported[800];        // the last error sentence; the same one is not printed twice
    char refused[800];         // an error that the server reported after our DISCONNECT
    content bodies[MAX_FILES]; // the bodies of -m or -f
    size_t body_count;
    const char *body;
    size_t body_len;
    int has_body; // 1: body is the next one to send
    // The part of stdin that was read and is not sent: input[input_at] to input[input_len - 1].
    // No line ends before input[input_seen].
    char *input;
    size_t input_size, input_at, input_len, input_seen, line_len;
    int input_over;
    int reported_input; // the report says that stdin was not read to its end
    long long deadline_us, next_send_us, answered_us;
    long long progress_us; // when the progress line was last shown, or the run began
    long progress_count;   // messages at that time
    int progress_shown;    // 1: the progress line is on the terminal
    unsigned long long frames_in;
} run;

static volatile sig_atomic_t signalled;
// The client while stws_request drives it: during that call nothing checks `signalled`.
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

// Returns the length of the first character of s, and sets *number to its number in Unicode. For
// a byte that is not part of valid UTF-8 the length is 1 and the number is NO_CHARACTER. len is
// at least 1.
static size_t read_character(const char *s, size_t len, unsigned long *number) {
    unsigned char first = (unsigned char)s[0];
    size_t n = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4, i;
    *number = NO_CHARACTER;
    if (n > len || !stws_utf8_valid(s, n)) return 1;
    *number = n == 1 ? first : first & (0x7Fu >> n);
    for (i = 1; i < n; i++) *number = *number << 6 | ((unsigned char)s[i] & 0x3Fu);
    return n;
}

// Returns 1 for a control character (C0, DEL, C1), because a terminal obeys it. Returns 1 for a
// character that changes the direction of the text after it (Unicode's Bidi_Control), because it
// makes one text look like another.
static int is_control(unsigned long number) {
    return number < 0x20 || (number >= 0x7F && number < 0xA0) || number == 0x061C ||
           number == 0x200E || number == 0x200F || (number >= 0x202A && number <= 0x202E) ||
           (number >= 0x2066 && number <= 0x2069);
}

// Prints text that a peer may have written. Control characters, except those in `kept`, are
// printed as \x1b or \u202e. A byte that is not part of valid UTF-8 is printed as \x9b.
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

// Returns the smaller of len and most, reduced so that no UTF-8 character is cut.
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

// Returns the URL if it may be printed, or NULL if it may contain a secret.
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

// Returns 1 if HTTP allows this name, and the upgrade does not set this header itself.
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

// Adds a copy of the header 'name:value'. For HTTP (trim is 1) spaces after the colon are
// removed, and control characters are refused. For STOMP, spaces are part of the value. Returns 0
// if it is not valid.
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

// Parses "A,B" into two options. 0 becomes STWS_OFF, because the library's 0 means its default.
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

// Parses seconds, such as "2" or "0.5".
static int parse_seconds(const char *text, double *out) {
    char *end;
    if (!*text || text[strspn(text, "0123456789.")]) return 0;
    *out = strtod(text, &end);
    return !*end && *out >= 0.001 && *out <= 10000000;
}

// ---- options: set_value for options with a value, set_flag for the others ----

// The library takes the jitter off the delay. So the delay starts higher than MIN, and every wait
// is from MIN to MAX. JITTER percent off 5/4 of MIN is the same as 25 percent added to MIN.
static int set_reconnect(settings *set, const char *value) {
    stws_options *o = &set->options;
    int min, max;
    long long jitter;
    if (!parse_pair(value, &min, &max) || min < 1 || min > max) return 0;
    jitter = 100LL * (max - min) / max;
    if (jitter > JITTER) jitter = JITTER;
    if (jitter < 2) jitter = 0; // -1 would be STWS_OFF
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
    static const stws_give_up rules[] = {STWS_GIVE_UP_SOON, STWS_GIVE_UP_DEFAULT,
                                         STWS_GIVE_UP_NEVER};
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

// Returns a description of the values that an option accepts.
static const char *expected_value(const char *name) {
    static const char *const values[][2] = {
        {"-s", "a destination (-s can be given at most 1024 times)"},
        {"-d", "a destination (-d can be given once)"},
        {"-H", "'name:value', after the -s or -d that it belongs to"},
        {"-m", "a text (-m can be given once, and not together with -f)"},
        {"-f", "a file (-f can be given at most 1024 times, and not together with -m)"},
        {"--connect-header", "'name:value'"},
        {"--http-header", "'Name: value' in one line; Host and other headers of the upgrade "
                          "itself cannot be set"},
        {"--header-file", "a file (it can be given at most 64 times)"},
        {"--token-command", "a shell command"},
        {"--versions", "a list such as 1.2,1.1 (from 1.0, 1.1 and 1.2)"},
        {"--ack", "auto, client or client-individual"},
        {"--heartbeat", "OUT,IN in milliseconds (0: none)"},
        {"--ping", "milliseconds (0: never)"},
        {"--give-up", "soon, default or never"},
        {"--reconnect", "MIN,MAX in milliseconds, both at least 1, MIN not above MAX"},
        {"--rate", "a number from 1 to 1000000"},
        {"-t", "seconds, such as 2 or 0.5"},
        {"--timeout", "seconds, such as 2 or 0.5"}};
    size_t i;
    for (i = 0; i < sizeof values / sizeof *values; i++)
        if (strcmp(values[i][0], name) == 0) return values[i][1];
    return "a number, at least 1";
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

// Returns 1 if this option takes a header, because the header's value may be a secret.
static int is_header(const char *name) {
    return strcmp(name, "--http-header") == 0 || strcmp(name, "--connect-header") == 0;
}

// Parses an argument, and the next one if it is the value. Returns how many arguments were used;
// 0 after a mistake, which is reported.
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
    if (known < 0) return usage("unknown option", text), 0;
    if (!value) return usage("this option needs a value", text), 0;
    if (!known) {
        fprintf(stderr, "stomp_cat: invalid value for %s: \"", name);
        print_visible(stderr, value, strcspn(value, is_header(name) ? ":\r\n" : "\r\n"), "");
        fprintf(stderr, "\"; expected %s\n", expected_value(name));
        return 0;
    }
    return text[1] == '-' && equals ? 1 : 2;
}

// Two subscriptions with the same id cannot both get messages.
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
        return usage("the URL is missing. Example", "stomp_cat ws://host:port/path -s /topic/x");
    for (i = 0; i < set->url_count; i++) {
        if (stws_url_parse(set->urls[i], &url, &why) != STWS_OK)
            return usage(why, shown_url(set->urls[i]));
        if (HAS_TLS || !url.secure) continue;
        fputs("stomp_cat: wss:// needs TLS, and this program was built without it: build it with "
              "make BEARSSL=1 or make OPENSSL=1\n",
              stderr);
        return FAILED;
    }
    return DONE;
}

// Checks that a PEM file can be read. It does not open the file, because a pipe would lose its
// content. The library reads the file later, at each attempt.
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

// Checks --pin: one hash, or several with anything between them. A hash may begin with
// "sha256//", as for curl.
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
    return usage("--pin needs the SHA-256 of a key: 64 hex digits or 44 characters of base64",
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
        return usage("there is nothing to do: give -s or -d", NULL);
    if (!ids_differ(set)) return usage("two subscriptions have the same id", NULL);
    return DONE;
}

// ---- secrets from files and from the environment ----

// Opens a file with a secret. Prints a warning if every user may read it. Only a regular file is
// checked: the mode of a pipe or a device tells little.
static FILE *open_secret(const char *path) {
    struct stat status;
    FILE *file = fopen(path, "r");
    if (!file || fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode)) return file;
    if (!(status.st_mode & S_IROTH)) return file;
    fputs("stomp_cat: warning: every user of this machine may read \"", stderr);
    print_plain(stderr, path);
    fputs("\"; chmod o-r prevents that\n", stderr);
    return file;
}

// Reads the next line of a file, without its line end. Returns NULL at the end of the file, and
// for a line that is too long or contains a NUL byte.
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
    if (set->options.passcode) return usage("-p and --passcode-file exclude each other", NULL);
    file = open_secret(path);
    if (file && next_secret(file, line)) set->options.passcode = copy_text(line, strlen(line));
    is_read = file && !ferror(file);
    if (file) fclose(file);
    if (!is_read) return usage("--passcode-file: the file cannot be read", path);
    if (set->options.passcode && *set->options.passcode) return DONE;
    return usage("--passcode-file: the first line of the file is empty, or too long", path);
}

// Adds the headers of a file. Empty lines and lines that begin with # are skipped. Returns the
// number of the first line that is not valid, or 0.
static int read_headers(settings *set, FILE *file) {
    char line[MAX_SECRET];
    int number;
    for (number = 1; next_secret(file, line); number++) {
        if (!*line || *line == '#') continue;
        if (!add_header(&set->http_headers, line, 1)) return number;
    }
    return feof(file) ? 0 : number;
}

// The text of an invalid line is not shown, because it may be a secret.
static int read_header_file(settings *set, const char *path) {
    FILE *file = open_secret(path);
    int number = file ? read_headers(set, file) : 0, is_read = file && !ferror(file);
    if (file) fclose(file);
    if (!is_read) return usage("--header-file: the file cannot be read", path);
    if (!number) return DONE;
    fprintf(stderr, "stomp_cat: --header-file: line %d of \"", number);
    print_plain(stderr, path);
    fputs("\" is not valid: expected 'Name: value', at most 64 headers, and none that the upgrade "
          "sets itself (such as Host)\n",
          stderr);
    return USAGE;
}

// Authorization may be given once; other headers may be repeated.
static int check_authorization(const settings *set) {
    size_t i, count = 0;
    for (i = 0; i < set->http_headers.count; i++)
        count += strcasecmp(set->http_headers.items[2 * i], "authorization") == 0;
    if (count < 2) return DONE;
    return usage("two Authorization headers for the HTTP upgrade (--http-header, --header-file)",
                 NULL);
}

// Returns the value of an environment variable, or NULL if it is not set or empty.
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

// Returns 1 if the program will print to stdout.
static int prints(const settings *set) {
    return set->help || set->version || set->sub_count || set->request || set->count;
}

// A byte that is not part of valid UTF-8 becomes U+FFFD. All control characters are escaped, also
// those that JSON allows, because the output may be read on a terminal.
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

// ---- progress: one line on a terminal, overwritten once per second ----

// Removes the progress line, and returns stderr for another message.
static FILE *error_output(run *r) {
    if (r->progress_shown) fprintf(stderr, "\r%*s\r", PROGRESS_WIDTH, "");
    r->progress_shown = 0;
    return stderr;
}

// Progress is shown if there are many messages, stderr is a terminal, and the messages themselves
// are not printed to a terminal.
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

// Replaces the progress line by the final numbers.
static void end_progress(run *r) {
    if (!r->progress_shown) return;
    error_output(r);
    fprintf(stderr, "%ld received, %ld sent\n", r->received, r->sent);
}

// ---- the run ----

// Ends the client: sends DISCONNECT with a receipt, waits for it, and closes the connection.
// drive() then returns code.
static void finish(run *r, int code) {
    if (r->ending) return;
    r->ending = 1;
    r->code = code;
    if (stws_state(r->client) == STWS_CONNECTED)
        stws_disconnect(r->client, END_MS);
    else
        stws_stop(r->client); // there is no session to end
}

// Prints an error sentence, unless it is the same as the last one.
static void report(run *r, const char *sentence) {
    if (strcmp(r->reported, sentence) == 0) return;
    fputs("stomp_cat: ", error_output(r));
    print_plain(stderr, sentence);
    fputc('\n', stderr);
    snprintf(r->reported, sizeof r->reported, "%s", sentence);
}

static void fail(run *r, const char *sentence) {
    report(r, sentence);
    finish(r, FAILED);
}

// Returns 1 if this message must be acknowledged. A message that matches no subscription, or one
// of ack mode auto, needs no ACK.
static int wants_ack(const run *r, const stws_message *m) {
    size_t i;
    for (i = 0; m->handle && r->set->acks && i < r->set->sub_count; i++) {
        stws_ack_mode mode = r->set->subs[i].ack ? r->set->subs[i].ack : r->set->ack;
        if (r->handles[i] == m->handle) return mode > STWS_ACK_AUTO;
    }
    return 0;
}

// ---- from received messages to stdout ----

// Nothing here waits for the reader of stdout, so that the connection is served meanwhile.
// Received messages wait in the library's queue. While the queue is full, the library does not
// read, and the broker has to wait. Replies, and messages that arrive during stws_request, wait
// in a list.

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

// Returns the next message to print, or NULL. The previous message goes back to the queue.
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

static void report_unknown(run *r, const stws_message *m) {
    if (m->handle) return;
    fputs("stomp_cat: a message for the unknown subscription \"", error_output(r));
    print_plain(stderr, m->subscription ? m->subscription : "");
    fputs("\"\n", stderr);
}

// Returns 1 if the page must end after this message: the page is long enough, the message is held
// or needs an ACK (which is sent after printing), or -n is reached.
static int ends_page(const run *r) {
    if (r->text_len >= PIPE_BYTES || r->is_held || r->to_ack) return 1;
    return r->received + r->page_count == r->set->count;
}

// Fills a page with the next messages. Returns 0 if there are none.
static int take_messages(run *r) {
    const stws_message *m = next_message(r);
    if (!m) return 0;
    begin_page(r);
    do {
        r->to_ack = wants_ack(r, m) ? m : NULL;
        r->is_held = m != r->popped;
        r->page_count++;
        if (m == r->popped) report_unknown(r, m);
        format_message(r->page, r, m);
        if (fflush(r->page) != 0 || ferror(r->page)) out_of_memory();
    } while (!ends_page(r) && (m = next_message(r)) != NULL);
    return 1;
}

// After this, waiting messages are not printed.
static void stop_printing(run *r) {
    r->prints_no_more = 1;
}

static void fail_printing(run *r, int error) {
    char sentence[128];
    snprintf(sentence, sizeof sentence, "writing to stdout failed: %s", strerror(error));
    stop_printing(r);
    fail(r, sentence);
}

// Waits until stdout takes output. A pipe then takes PIPE_BYTES without blocking.
static int takes_output(int wait_ms) {
    struct pollfd output = {STDOUT_FILENO, POLLOUT, 0};
    return poll(&output, 1, wait_ms) > 0;
}

// Writes as much of the page as stdout takes. Returns 1 if all of it is written.
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

// Call this when a page is printed. Acknowledges its last message, and counts all of them.
// Returns 0 if there is no room for the ACK now. A message that was not printed is not
// acknowledged, so the broker keeps it.
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

// Prints the waiting messages. Stops if stdout takes no output within wait_ms.
static void print_messages(run *r, int wait_ms) {
    while (!r->prints_no_more && (r->page_count || take_messages(r)))
        if (!write_text(r, wait_ms) || !finish_page(r)) return;
}

// Drops the messages that wait to be printed. Returns their number.
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

// Returns 1 if -n is reached. Later events do not matter.
static int is_complete(const run *r) {
    return r->ending && r->code == DONE && r->prints_no_more;
}

// Handles a message that does not go through the queue. At most HELD_BYTES are held; beyond that,
// it waits for stdout.
static void on_message(run *r, const stws_message *m) {
    if (r->prints_no_more) return;
    report_unknown(r, m);
    hold(r, stws_message_copy(m));
    print_messages(r, 0);
    while (r->held_bytes > HELD_BYTES && !r->prints_no_more && !signalled)
        print_messages(r, TICK_MS);
}

// With --confirm and without -d, the server must confirm the subscriptions.
static int confirms_subscriptions(const settings *set) {
    return set->options.confirm && !set->destination;
}

// Returns the first subscription that the server must confirm and has not confirmed in this
// session, or NULL.
static const char *unconfirmed_subscription(const run *r) {
    size_t i;
    for (i = 0; confirms_subscriptions(r->set) && i < r->set->sub_count; i++)
        if (!r->confirmed[i]) return r->set->subs[i].destination;
    return NULL;
}

static void report_subscription(run *r, const char *destination, const char *what) {
    fputs("stomp_cat: the subscription to \"", error_output(r));
    print_plain(stderr, destination);
    fprintf(stderr, "\" %s\n", what);
}

static void on_subscription_receipt(run *r, const stws_event *e) {
    size_t i = 0;
    while (i < r->set->sub_count && r->handles[i] != e->handle) i++;
    if (i == r->set->sub_count || e->result == STWS_ERR_LOST) return; // on_disconnected reports it
    if (e->result == STWS_OK) {
        r->confirmed[i] = 1;
        if (r->set->verbose) report_subscription(r, r->set->subs[i].destination, "is confirmed");
        return;
    }
    report_subscription(r, r->set->subs[i].destination,
                        e->result == STWS_ERR_TIMEOUT
                            ? "is not confirmed: no RECEIPT came in 15 s. Does this server send "
                              "receipts? (Spring's simple broker does not.)"
                            : "was refused");
    finish(r, FAILED);
}

// If no subscription is left and nothing is to be sent, the program ends; it would wait for ever.
static void on_set_aside(run *r, const stws_event *e) {
    size_t i = 0;
    while (i < r->set->sub_count && r->handles[i] != e->handle) i++;
    if (i == r->set->sub_count) return;
    report_subscription(r, r->set->subs[i].destination,
                        "is set aside: the server ended three sessions right after it");
    if (++r->aside < r->set->sub_count) return;
    if (!r->set->destination || r->sent_all) finish(r, FAILED);
}

// Returns 1 if the server has refused a subscription: it sent an ERROR, or closed the WebSocket.
// The close codes 1001, 1012 and 1013 are different: they mean that the server shuts down or
// restarts.
static int was_refused(const run *r) {
    int code = stws_close_code(r->client);
    return r->got_error || (code && code != 1001 && code != 1012 && code != 1013);
}

static void fail_receipt(run *r, int receipt, int result) {
    fprintf(error_output(r), "stomp_cat: receipt %d: %s\n", receipt, stws_result_text(result));
    finish(r, FAILED);
}

static void on_receipt(run *r, const stws_event *e) {
    if (!e->receipt || r->ending) return;
    if (e->handle) {
        on_subscription_receipt(r, e);
        return;
    }
    r->waiting_receipts--;
    if (e->result == STWS_ERR_LOST) r->lost_receipt = e->receipt; // on_disconnected reports it
    if (e->result != STWS_OK && e->result != STWS_ERR_LOST) fail_receipt(r, e->receipt, e->result);
}

// Prints the body of an ERROR if it is longer than the part that the error sentence quotes.
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
    report(r, e->text);
    print_body(error_output(r), e->message);
    if (r->set->destination && r->connected) finish(r, FAILED); // else CONNECT was refused
}

// Prints a long wait in seconds, a short one in milliseconds.
static void report_wait(run *r, long long ms) {
    int in_seconds = ms >= SHOWN_MS;
    fprintf(error_output(r), "stomp_cat: trying again in %lld %s\n",
            in_seconds ? (ms + 999) / 1000 : ms, in_seconds ? "s" : "ms");
}

static void on_disconnected(run *r, const stws_event *e) {
    const char *unconfirmed = r->connected ? unconfirmed_subscription(r) : NULL;
    r->connected = 0;
    r->attempts++;
    if (e->retry_ms < 0 && (r->ending || !r->lost_receipt)) return;
    report(r, e->text);
    if (!r->outage_us) r->outage_us = now_us();
    if (r->lost_receipt && !r->ending) {
        fail_receipt(r, r->lost_receipt, STWS_ERR_LOST);
        return;
    }
    if (unconfirmed && !r->ending && was_refused(r)) {
        report_subscription(r, unconfirmed, "was refused");
        finish(r, FAILED);
        return;
    }
    report_wait(r, e->retry_ms);
}

// Prints a URL without its query and its login, which may be secrets.
static void print_url(FILE *out, const char *text) {
    stws_url url;
    if (stws_url_parse(text, &url, NULL) != STWS_OK) return;
    fputs(url.secure ? "wss://" : "ws://", out);
    fprintf(out, url.is_ipv6 ? "[%.*s]" : "%.*s", (int)url.host_len, url.host);
    if (url.has_port) fprintf(out, ":%d", url.port);
    fprintf(out, "%.*s", (int)strcspn(url.target, "?"), url.target);
}

// Prints the server's name and version, from "name/version".
static void print_server(FILE *out, const char *server) {
    size_t name = strcspn(server, "/"), len = cut_length(server, strlen(server), 100);
    if (name > len) name = len;
    print_visible(out, server, name, "");
    if (name == len) return;
    fputc(' ', out);
    print_visible(out, server + name + 1, len - name - 1, "");
}

// Returns the value of an option of the library: 0 means its default, STWS_OFF means 0.
static unsigned long or_default(int ms, unsigned long default_ms) {
    return ms == 0 ? default_ms : ms < 0 ? 0 : (unsigned long)ms;
}

static void print_interval(FILE *out, unsigned long ms) {
    fprintf(out, ms % 1000 ? "%lu ms" : "%lu s", ms % 1000 ? ms : ms / 1000);
}

// Prints the agreed interval: the larger of the two sides' numbers, or "none" if one of them is
// 0. Returns 1 if there is an interval.
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

// Prints "(RabbitMQ 3.10.8, STOMP 1.2, heart-beats 10 s/10 s)". The first interval is that of the
// heart-beats that we send, the second that of the heart-beats that we receive.
static void print_connection(run *r, const stws_message *connected) {
    const stws_options *o = &r->set->options;
    const char *server = stws_header_get(connected, "server");
    const char *beats = stws_header_get(connected, "heart-beat"), *comma;
    unsigned long sends = 0, wants = 0;
    stws_stomp_version version = stws_version(r->client);
    int agreed;
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

// Reports the connection with -v, and after a reported outage.
static void report_connected(run *r, const stws_message *connected) {
    if (!r->set->verbose && !r->outage_us) return;
    fputs("stomp_cat: connected ", error_output(r));
    fputs(r->was_connected ? "again to " : "to ", stderr);
    print_url(stderr, r->set->urls[r->attempts % r->set->url_count]);
    if (r->outage_us) fprintf(stderr, " after %.1f s", (double)(now_us() - r->outage_us) / 1e6);
    if (r->set->verbose) print_connection(r, connected);
    fputc('\n', stderr);
}

static void on_connected(run *r, const stws_message *connected) {
    report_connected(r, connected);
    r->outage_us = 0;
    r->connected = r->was_connected = 1;
    r->got_error = 0;
    memset(r->confirmed, 0, sizeof r->confirmed);
    r->answered_us = now_us();
    r->reported[0] = 0;
}

static void on_event(run *r, const stws_event *e) {
    print_messages(r, 0); // these messages came before the event
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

// The callbacks for messages and events during stws_request.
static void call_message(stws *client, const stws_message *message, void *user) {
    (void)client;
    on_message((run *)user, message);
}

static void call_event(stws *client, const stws_event *event, void *user) {
    (void)client;
    on_event((run *)user, event);
}

// ---- --token-command: a fresh token for each attempt ----

// Runs the command in its own process group, so that all of its processes can be ended.
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

// Starts --token-command. Returns 0 if the system cannot run it.
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
    setpgid(t->process, t->process); // parent and child both call it, because either may be first
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    t->output = ends[0];
    t->len = 0;
    t->deadline_us = now_us() + TOKEN_MS * 1000LL;
    if (r->set->verbose) fputs("stomp_cat: running --token-command\n", error_output(r));
    return 1;
}

// Ends the command. Returns its status as waitpid does.
static int end_token(bearer_token *t) {
    int status = -1;
    if (!t->process) return status;
    kill(-t->process, SIGKILL);
    close(t->output);
    while (waitpid(t->process, &status, 0) < 0 && errno == EINTR) continue;
    t->process = 0;
    return status;
}

// Reads the output of the command. Returns 1 at its end, 0 if more may come.
static int read_token(bearer_token *t) {
    static char rest[4096]; // output for which t->text has no room is dropped
    for (;;) {
        size_t room = sizeof t->text - 1 - t->len;
        ssize_t n = read(t->output, room ? t->text + t->len : rest, room ? room : sizeof rest);
        if (n == 0) return 1;
        if (n < 0) return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
        if (room) t->len += (size_t)n;
    }
}

// Cuts the output after its first line. Returns 0 if that is not one word of ASCII.
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
        if (strcasecmp(given->items[2 * i], "authorization") == 0)
            return; // a given header is not replaced
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

// Reports that there is no token. With --no-reconnect the program ends. Else returns the
// milliseconds until the command runs again.
static int fail_token(run *r, const char *why) {
    const stws_options *o = &r->set->options;
    int ms = o->reconnect_min_ms ? o->reconnect_min_ms : RETRY_MS, i;
    int most = o->reconnect_max_ms ? o->reconnect_max_ms : RETRY_MAX_MS;
    for (i = 0; i < r->token.failures && ms < most; i++) ms *= 2;
    if (ms > most) ms = most;
    r->token.failures++;
    fprintf(error_output(r), "stomp_cat: --token-command: %s\n", why);
    if (o->reconnect == STWS_OFF)
        finish(r, FAILED);
    else
        report_wait(r, ms);
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

// The library calls this before each attempt, and again after as many milliseconds as it returns,
// until it returns 0. So nothing blocks while the command runs.
static int before_connect(stws *client, stws_attempt *attempt, void *user) {
    run *r = (run *)user;
    bearer_token *t = &r->token;
    char why[100];
    int status;
    pid_t ended;
    (void)client;
    if (!t->process) return start_token(r) ? TOKEN_CHECK_MS : fail_token(r, strerror(errno));
    if (now_us() >= t->deadline_us) {
        end_token(t);
        snprintf(why, sizeof why, "it took more than %d s", TOKEN_MS / 1000);
        return fail_token(r, why);
    }
    ended = read_token(t) ? waitpid(t->process, &status, WNOHANG) : 0;
    if (ended == 0) return TOKEN_CHECK_MS;
    t->process = 0;
    close(t->output);
    return ended < 0 ? fail_token(r, strerror(errno)) : judge_token(r, attempt, status);
}

// Returns 1 if this ERROR is how Spring ends a session after DISCONNECT.
static int is_end_of_spring(const char *message) {
    static const char *const spring_messages[] = {"Session closed", "Connection to broker closed"};
    size_t i;
    for (i = 0; message && i < sizeof spring_messages / sizeof *spring_messages; i++)
        if (strncmp(message, spring_messages[i], strlen(spring_messages[i])) == 0) return 1;
    return 0;
}

// Counts the messages that were sent, and the confirmed ones. With --confirm a message that is
// resent is counted again as sent.
static void count_sends(run *r, stws_direction direction, const stws_frame *frame) {
    const char *receipt;
    if (direction == STWS_SENT && strcmp(frame->command, "SEND") == 0) r->frames_sent++;
    if (direction == STWS_SENT && strcmp(frame->command, "DISCONNECT") == 0) {
        receipt = stws_frame_header(frame, "receipt");
        snprintf(r->end_receipt, sizeof r->end_receipt, "%s", receipt ? receipt : "");
    }
    if (direction == STWS_RECEIVED && strcmp(frame->command, "RECEIPT") == 0) {
        receipt = stws_frame_header(frame, "receipt-id");
        r->confirmed_sends += receipt && strcmp(receipt, r->end_receipt) != 0;
    }
}

// After our DISCONNECT, the library takes an ERROR for a clean end. But an ERROR that does not
// name a receipt, and is not how Spring ends a session, concerns a message that was just sent. So
// it is reported.
static void on_trace(stws *client, stws_direction direction, const stws_frame *frame, void *user) {
    run *r = (run *)user;
    const char *message = stws_frame_header(frame, "message");
    (void)client;
    if (r->set->trace) print_trace(error_output(r), direction, frame);
    count_sends(r, direction, frame);
    if (direction != STWS_RECEIVED || strcmp(frame->command, "ERROR") != 0 || !r->ending ||
        !r->sent)
        return;
    if (stws_frame_header(frame, "receipt-id") || is_end_of_spring(message)) return;
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

// Reads the rest of a file. Returns 0 if it cannot be read, or if a signal came: a pipe may stay
// silent for ever.
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

// Reads the bodies of -m or -f. All files are read before anything is sent: if one cannot be
// read, nothing is sent.
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

// Reads more of stdin, if this does not block.
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

// Returns the end of the first line that was read, or NULL. It looks at no byte twice.
static const char *line_end(run *r) {
    const char *end = NULL;
    if (r->input_len > r->input_seen)
        end = (const char *)memchr(r->input + r->input_seen, '\n', r->input_len - r->input_seen);
    r->input_seen = end ? (size_t)(end - r->input) : r->input_len;
    return end;
}

// Makes the next line of stdin the next body. Returns 0 if there is no complete line.
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

// Makes the next body of -m or -f the next body. Returns 0 if all are sent.
static int next_given(run *r) {
    const content *next = r->bodies + r->sent;
    if ((size_t)r->sent == r->body_count) return 0;
    r->body = next->data;
    r->body_len = next->len;
    return 1;
}

// Prepares the next body. Returns 0 if there is none now, and sets sent_all if there will be no
// more.
static int next_body(run *r) {
    if (r->has_body) return 1;
    if (r->body_count)
        r->sent_all = !(r->has_body = next_given(r));
    else
        r->has_body = !r->sent_all && next_line(r);
    return r->has_body;
}

// Sends with a reply-to header, waits, and prints the reply. A signal stops the client itself
// meanwhile.
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

// Returns 1 if everything is written and, with --confirm, confirmed.
static int is_flushed(const run *r) {
    return stws_flush(r->client, 0) == STWS_OK;
}

static int is_late(const run *r) {
    return r->deadline_us && now_us() >= r->deadline_us;
}

// Call this if a send was not accepted. Returns 1 if it must be tried again, or if the reason is
// reported elsewhere.
static int may_come_later(const run *r, int result) {
    if (r->ending || signalled || stws_state(r->client) == STWS_ENDED) return 1;
    if (result == STWS_ERR_FULL) return 1;
    if (result == STWS_ERR_LIMIT) return r->waiting_receipts || !is_flushed(r);
    return result == STWS_ERR_TIMEOUT && is_late(r);
}

static void fail_send(run *r, int result) {
    char sentence[256];
    if (r->set->request && result == STWS_ERR_TIMEOUT)
        snprintf(sentence, sizeof sentence, "no reply came within %d ms", ANSWER_MS);
    else
        snprintf(sentence, sizeof sentence, "the message was not sent: %s",
                 stws_result_text(result));
    fail(r, sentence);
}

// Returns when --rate allows the next message. A delay of up to CATCH_UP_US is made up for,
// because poll is not exact. A longer pause of the input is not.
static long long next_turn(const run *r, long long now) {
    long long began = now - r->next_send_us < CATCH_UP_US ? r->next_send_us : now;
    return began + 1000000 / r->set->rate;
}

// Sends messages as fast as the library and --rate allow, at most TURN_EVENTS of them.
static void send_bodies(run *r) {
    int turns = 0;
    if (r->set->request && r->held_first) return; // a reply must be printed first
    while (r->connected && !r->ending && !r->sent_all && now_us() >= r->next_send_us &&
           turns++ < TURN_EVENTS && next_body(r)) {
        int result = send_body(r);
        if (result < 0) {
            if (!may_come_later(r, result)) fail_send(r, result);
            return;
        }
        r->has_body = 0;
        if (r->line_len) drop_line(r);
        r->sent++;
        r->waiting_receipts += result > 0;
        if (r->set->rate) r->next_send_us = next_turn(r, now_us());
    }
}

// With --confirm the program would wait for ever for a server that sends no receipts.
static void check_confirmations(run *r) {
    stws_statistics numbers;
    if (!r->set->options.confirm || r->ending || !r->connected || !r->sent) return;
    stws_stats(r->client, &numbers);
    if (numbers.frames_in != r->frames_in || is_flushed(r)) r->answered_us = now_us();
    r->frames_in = numbers.frames_in;
    if (now_us() - r->answered_us < ANSWER_MS * 1000LL) return;
    fail(r,
         "no RECEIPT came for 30 s. Does this server send receipts? (Spring's simple broker does "
         "not.)");
}

// Ends the program if everything is done.
static void check_done(run *r) {
    check_confirmations(r);
    if (r->ending || !r->set->destination || !r->sent_all) return;
    if (r->aside < r->set->sub_count || (r->set->count && !r->aside))
        return; // more messages may come
    if (r->waiting_receipts || (r->set->options.confirm && !is_flushed(r))) return;
    if (!r->held_first) finish(r, r->aside ? FAILED : DONE);
}

// ---- the report after a signal or a time-out ----

// Counts the lines of stdin that were read and not sent. A line without an end counts only at the
// end of stdin.
static long lines_left(const run *r) {
    size_t at;
    long count = 0;
    for (at = r->input_at; at < r->input_len; at++) count += r->input[at] == '\n';
    return count +
           (r->input_over && r->input_len > r->input_at && r->input[r->input_len - 1] != '\n');
}

// The rest of stdin: none, open without data, or data that was not read.
enum input_rest { REST_NONE, REST_SILENT, REST_WAITING };

// Call this only at the end of the run, because it reads a byte.

static enum input_rest rest_of_input(run *r) {
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    char byte;
    if (!r->set->destination || r->body_count || r->input_over) return REST_NONE;
    if (poll(&input, 1, 0) <= 0) return REST_SILENT;
    if (read(STDIN_FILENO, &byte, 1) > 0) return REST_WAITING;
    r->input_over = 1;
    return REST_NONE;
}

// Writes a sentence about what is not done; an empty one if everything is done.
static void describe_undone(run *r, char *out, size_t size) {
    const settings *set = r->set;
    const char *unconfirmed = r->connected ? unconfirmed_subscription(r) : NULL;
    enum input_rest rest = rest_of_input(r);
    *out = 0;
    if (set->count && r->received < set->count)
        snprintf(out, size, "%ld of %ld messages arrived", r->received, set->count);
    else if (unconfirmed)
        snprintf(out, size, "the subscription to \"%.100s\" is not confirmed", unconfirmed);
    else if (!r->connected)
        return; // the missing connection is the reason
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
        snprintf(out, size,
                 set->options.confirm ? "a message is not confirmed" : "a message is not sent");
    else if (rest != REST_NONE)
        r->reported_input = snprintf(out, size, "standard input was not read to its end") > 0;
}

// Returns why there is no connection.
static const char *absence(const run *r) {
    const char *error = stws_error_text(r->client);
    if (r->token.process) return "waiting for --token-command";
    if (r->token.failures) return "--token-command failed";
    return *error ? error : stws_state_name(stws_state(r->client));
}

// Returns a sentence about what is not done when the time of -t is over; NULL if everything is
// done.
static const char *undone(run *r, char *out, size_t size) {
    const char *why = absence(r);
    size_t len;
    if (!r->was_connected) {
        if (why == stws_error_text(r->client)) return why;
        snprintf(out, size, "no connection (%s)", why);
        return out;
    }
    describe_undone(r, out, size);
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
        fprintf(error_output(r), "stomp_cat: time-out after %g s: ", r->set->seconds);
        print_plain(stderr, missing);
        fputc('\n', stderr);
    }
    finish(r, missing ? TIMED_OUT : DONE);
}

// Reports that stdin was not read to its end. A silent stdin is reported only after a time-out or
// without any connection, because a signal is the usual way to end an input that has no end.
static void report_input(const run *r, int code, enum input_rest rest) {
    int is_open = rest == REST_SILENT && (code == TIMED_OUT || !r->was_connected);
    if (r->reported_input || (rest != REST_WAITING && !is_open)) return;
    fputs("stomp_cat: standard input was not read to its end\n", stderr);
}

static void report_left(run *r, int code) {
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
    report_input(r, code, rest);
}

// Waits for the network, for stdin if a line is needed, and for stdout; at most TICK_MS, so that
// signals and deadlines are noticed.
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
    // Even without anything to print, poll reports when the reader of stdout has gone.
    polled[n].fd = prints(r->set) && !r->prints_no_more ? STDOUT_FILENO : -1;
    polled[n].events = r->page_count && r->text_at < r->text_len ? POLLOUT : 0;
    polled[n].revents = 0;
    if (ms < 0 || ms > TICK_MS) ms = TICK_MS;
    left = r->next_send_us - now_us();
    if (left > 0 && left / 1000 < ms) ms = left / 1000 + 1;
    poll(polled, (nfds_t)n + 1, (int)ms);
    if (polled[n].revents & POLLERR) fail_printing(r, EPIPE);
}

// Call this after the client's end. Prints the remaining messages, however long that takes. A
// signal or the end of -t stops it.
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
        if (handle < 0)
            return usage("-s: the destination, a header or the id is not valid", sub->destination);
        r->handles[i] = handle;
    }
    return DONE;
}

// Returns the exit status after a clean end. The server may have refused the last message after
// our DISCONNECT; then the status is FAILED.
static int judge_end(run *r) {
    int close_code = stws_close_code(r->client);
    if (!r->ending) return signalled ? 128 + signalled : FAILED;
    if (r->code != DONE || !r->sent) return r->code;
    if (close_code > 1002 && close_code != 1005)
        snprintf(r->refused, sizeof r->refused,
                 "the server closed with code %d after the last message%s", close_code,
                 close_code == 1009 ? ": the message was too big for the server" : "");
    if (!r->refused[0]) return DONE;
    report(r, r->refused);
    return FAILED;
}

// The main loop: handles events, prints, sends, and waits, until the client ends. Returns the
// exit status.
static int drive(run *r) {
    stws_event e;
    int result, i;
    for (;;) {
        for (i = 0; i < TURN_EVENTS && (result = stws_next(r->client, &e, 0)) > 0; i++)
            on_event(r, &e);
        if (result < 0) break;
        print_messages(r, 0);
        check_limits(r);
        if (r->set->destination) send_bodies(r);
        check_done(r);
        show_progress(r, now_us());
        wait_a_while(r);
    }
    print_rest(r);
    end_progress(r);
    if (result == STWS_CLOSED) return judge_end(r);
    if (!r->ending) report(r, stws_error_text(r->client));
    return r->ending ? r->code : FAILED;
}

static size_t subscription_size(const subscription *sub) {
    size_t size = strlen(sub->destination) + (sub->id ? strlen(sub->id) : 0) + 64, i;
    for (i = 0; i < 2 * sub->headers.count; i++) size += strlen(sub->headers.items[i]) + 1;
    return size;
}

// Returns the options, with enough room for all arguments. stws_request needs one more
// subscription.
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
    // --request needs the wake-up descriptor, so that stws_request notices every signal.
    o.single_thread = !set->request;
    o.queue = r->queue;
    o.on_message = call_message;
    o.on_event = call_event;
    o.on_trace = set->trace || set->destination ? on_trace : NULL;
    o.user = r;
    if (set->token_command) o.before_connect = before_connect;
    return o;
}

// Creates the client and its subscriptions. Returns USAGE if an argument is not valid.
static int prepare(run *r) {
    stws_options o;
    // With --request there is no queue: stws_request could not go on while the queue is full.
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
        if (code >= TIMED_OUT || r.unprinted) report_left(&r, code);
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

// If stdin, stdout or stderr is closed, the socket would get its number. So this opens /dev/null
// in its place, in a mode in which reading or writing still fails. Returns 1 if stdout was open.
static int occupy_standard_files(void) {
    int fd, had_stdout = 1;
    for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) exit(FAILED);
        if (fd == STDOUT_FILENO) had_stdout = 0;
    }
    return had_stdout;
}

// Prints three texts to stdout.
static int show(const char *first, const char *second, const char *third) {
    if (fputs(first, stdout) >= 0 && fputs(second, stdout) >= 0 && fputs(third, stdout) >= 0 &&
        fflush(stdout) == 0)
        return DONE;
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
        fputs("stomp_cat: stdout is closed, but there is something to print\n", stderr);
        return FAILED;
    }
    if (set.help) return show(help, help_connection, help_end);
    if (set.version) return show("stomp_cat ", STOMP_WS_VERSION, "\n");
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_IGN;
    // A closed stdout must not kill the program: it reports the error, and ends the session.
    sigaction(SIGPIPE, &action, NULL);
    action.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &action, NULL); // the parent process may have ignored it
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return run_client(&set);
}
