// How do I subscribe and send from a shell? (as mosquitto_sub and mosquitto_pub do for MQTT)
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "stomp_cat - subscribe and send over STOMP on WebSocket\n"
    "\n"
    "usage: stomp_cat URL [-s DEST [-H 'name:value']...]... [-d DEST [-H 'name:value']... [-m TEXT | -f FILE]] "
    "[options]\n"
    "\n"
    "  -s DEST              subscribe; -H after it adds a header (id:X names the subscription)\n"
    "  -d DEST              send; -H after it adds a header. Without -m or -f each line of stdin is a message\n"
    "  -m TEXT, -f FILE     the body\n"
    "  -n, --count N        end after N messages received\n"
    "  -t, --timeout S      end after S seconds, back-off included: exit 3 when -n was not reached\n"
    "  -u LOGIN -p PASSCODE\n"
    "  --host VHOST         the vhost (default /)\n"
    "  --connect-header 'name:value', --http-header 'Name: value'   for CONNECT; for the HTTP upgrade\n"
    "  --versions 1.2,1.1   STOMP versions to offer\n"
    "  --ack MODE           auto, client or client-individual\n"
    "  --heartbeat OUT,IN   milliseconds, 0 for none\n"
    "  --no-reconnect, --reconnect MIN,MAX   milliseconds\n"
    "  --content-type T     of what is sent\n"
    "  --receipt            end only when the server has confirmed every message\n"
    "  --confirm            the same, and send again after a reconnect what was not confirmed\n"
    "  --request            send, and print the reply\n"
    "  --rate N             send at most N messages a second\n"
    "  --json               print one JSON object a message\n"
    "  --trace              print every frame to stderr, secrets masked\n"
    "\n"
    "exit: 0 done, 1 connection or broker error, 2 usage, 3 time-out\n"
    "\n"
    "  Spring Boot   stomp_cat ws://localhost:8080/notifications/websocket -s /topic/notifications\n"
    "  RabbitMQ      stomp_cat ws://localhost:15674/ws -u guest -p guest -d /queue/jobs -m hello --receipt\n"
    "  ActiveMQ      stomp_cat ws://localhost:61614 -s /queue/jobs --ack client-individual -n 1 --json\n"
    "  Artemis       journalctl -f | stomp_cat ws://localhost:61613 -d /topic/log\n";

enum { DONE = 0, FAILED = 1, USAGE = 2, TIMED_OUT = 3 };
enum { MAX_SUBS = 64, MAX_HEADERS = 64, END_MS = 2000, TICK_MS = 200 };

// Flat, as the library takes them: name, value, ..., NULL.
typedef struct header_list {
    const char *items[2 * MAX_HEADERS + 1];
    size_t count;
} header_list;

typedef struct subscription {
    const char *destination, *id, *ack;
    header_list headers;
} subscription;

typedef struct settings {
    stws_options options;
    subscription subs[MAX_SUBS];
    size_t sub_count;
    const char *destination, *text, *file, *content_type, *ack;
    header_list headers, connect_headers, http_headers;
    long count, seconds, rate;
    int receipt, json, request;
} settings;

typedef struct run {
    const settings *set;
    stws *client;
    long received, sent, waiting_receipts;
    int connected, was_connected, ending, code, sent_all, failed;
    const char *body;
    size_t body_len;
    int has_body; // a body that the library has not taken yet
    char *input;  // what was read of stdin and is not sent: [0, input_len), of which line_len octets are body
    size_t input_size, input_len, line_len;
    int input_over;
    long long deadline_us, next_send_us, progress_us;
} run;

static volatile sig_atomic_t signalled;

static void on_signal(int number) { signalled = number; }

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

// ---- usage ----

static int usage(const char *what, const char *argument) {
    fprintf(stderr, "stomp_cat: %s%s%s (see stomp_cat --help)\n", what, argument ? ": " : "", argument ? argument : "");
    return USAGE;
}

static char *copy_text(const char *text, size_t len) {
    char *copy = malloc(len + 1);
    if (!copy) abort();
    memcpy(copy, text, len);
    copy[len] = 0;
    return copy;
}

// 'name:value'; blanks after the colon go for HTTP, and are data for STOMP.
static int add_header(header_list *list, const char *text, int trim) {
    const char *colon = strchr(text, ':'), *value;
    if (!colon || colon == text || list->count == MAX_HEADERS) return 0;
    for (value = colon + 1; trim && *value == ' ';) value++;
    list->items[2 * list->count] = copy_text(text, (size_t)(colon - text));
    list->items[2 * list->count + 1] = value;
    list->items[2 * ++list->count] = NULL;
    return 1;
}

static int add_sub_header(subscription *sub, const char *text) {
    if (strncmp(text, "id:", 3) == 0) {
        sub->id = text + 3;
        return *sub->id != 0;
    }
    if (strncmp(text, "ack:", 4) == 0) {
        sub->ack = text + 4;
        return 1;
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
        if (strncmp(text, "1.", 2) != 0 || text[2] < '0' || text[2] > '2' || (text[3] && text[3] != ',')) return 0;
        *versions |= 1 << (text[2] - '0');
    }
    return *versions != 0;
}

static int is_ack_mode(const char *text) {
    return strcmp(text, "auto") == 0 || strcmp(text, "client") == 0 || strcmp(text, "client-individual") == 0;
}

// ---- options: one function for those with a value, one for those without ----

static int set_reconnect(settings *set, const char *value) {
    stws_options *o = &set->options;
    if (!parse_pair(value, &o->reconnect_min_ms, &o->reconnect_max_ms)) return 0;
    if (o->reconnect_min_ms > o->reconnect_max_ms) return 0;
    o->reconnect_factor = 200;
    o->reconnect_jitter = 25;
    return 1;
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

static int set_header(settings *set, const char *value, const char *last) {
    if (!last) return 0;
    if (*last == 's') return add_sub_header(&set->subs[set->sub_count - 1], value);
    return add_header(&set->headers, value, 0);
}

static int set_value(settings *set, const char *name, const char *value, const char **last) {
    stws_options *o = &set->options;
    if (strcmp(name, "-s") == 0) return *last = "s", set_subscription(set, value);
    if (strcmp(name, "-d") == 0) return *last = "d", set_destination(set, value);
    if (strcmp(name, "-H") == 0) return set_header(set, value, *last);
    if (strcmp(name, "-m") == 0) return set->text = value, !set->file;
    if (strcmp(name, "-f") == 0) return set->file = value, !set->text;
    if (strcmp(name, "-u") == 0) return o->login = value, 1;
    if (strcmp(name, "-p") == 0) return o->passcode = value, 1;
    if (strcmp(name, "--host") == 0) return o->host = value, 1;
    if (strcmp(name, "--connect-header") == 0) return add_header(&set->connect_headers, value, 0);
    if (strcmp(name, "--http-header") == 0) return add_header(&set->http_headers, value, 1);
    if (strcmp(name, "--versions") == 0) return parse_versions(value, &o->versions);
    if (strcmp(name, "--ack") == 0) return set->ack = value, is_ack_mode(value);
    if (strcmp(name, "--heartbeat") == 0) return parse_pair(value, &o->heartbeat_out_ms, &o->heartbeat_in_ms);
    if (strcmp(name, "--reconnect") == 0) return set_reconnect(set, value);
    if (strcmp(name, "--content-type") == 0) return set->content_type = value, 1;
    if (strcmp(name, "--rate") == 0) return parse_number(value, 1, 1000000, &set->rate);
    if (strcmp(name, "-n") == 0 || strcmp(name, "--count") == 0) return parse_number(value, 1, 2000000000, &set->count);
    if (strcmp(name, "-t") == 0 || strcmp(name, "--timeout") == 0)
        return parse_number(value, 1, 10000000, &set->seconds);
    return -1;
}

static void print_trace(stws *client, int direction, const stws_frame *frame, void *user) {
    size_t i;
    (void)client, (void)user;
    fprintf(stderr, "%c %s", direction, *frame->command ? frame->command : "(heart-beat)");
    for (i = 0; i < frame->header_count; i++)
        fprintf(stderr, "%s%s:%s", i ? ", " : " ", frame->headers[i].name, frame->headers[i].value);
    if (frame->body_len) fprintf(stderr, " (%zu octets)", frame->body_len);
    fputc('\n', stderr);
}

static int set_flag(settings *set, const char *name) {
    if (strcmp(name, "--no-reconnect") == 0) return set->options.reconnect = STWS_OFF, 1;
    if (strcmp(name, "--receipt") == 0) return set->receipt = 1;
    if (strcmp(name, "--confirm") == 0) return set->options.confirm = 1;
    if (strcmp(name, "--json") == 0) return set->json = 1;
    if (strcmp(name, "--request") == 0) return set->request = 1;
    if (strcmp(name, "--trace") == 0) return set->options.on_trace = print_trace, 1;
    return 0;
}

// One argument, or two: how many were used, 0 for a mistake that was reported.
static int parse_argument(settings *set, char **argument, const char **last, int options_over) {
    char name[32];
    const char *text = argument[0], *equals = strchr(text, '='), *value = argument[1];
    int known;
    if (options_over || text[0] != '-' || !text[1]) {
        if (set->options.url) return usage("more than one URL", text), 0;
        return set->options.url = text, 1;
    }
    if (set_flag(set, text)) return 1;
    snprintf(name, sizeof name, "%.*s", text[1] == '-' && equals ? (int)(equals - text) : 31, text);
    if (text[1] == '-' && equals) value = equals + 1;
    known = set_value(set, name, value ? value : "", last);
    if (known < 0) return usage("no such option", text), 0;
    if (!value) return usage("the option wants a value", text), 0;
    if (!known) {
        fprintf(stderr, "stomp_cat: %s does not take \"%s\" (here)\n", name, value);
        return 0;
    }
    return text[1] == '-' && equals ? 1 : 2;
}

// The same id twice would leave one of the two subscriptions without messages.
static int ids_differ(const settings *set) {
    size_t i, j;
    for (i = 0; i < set->sub_count; i++)
        for (j = 0; j < i; j++)
            if (set->subs[i].id && set->subs[j].id && strcmp(set->subs[i].id, set->subs[j].id) == 0) return 0;
    return 1;
}

static int check_settings(const settings *set) {
    if (!set->options.url) return usage("the URL is missing", NULL);
    if (!set->sub_count && !set->destination) return usage("nothing to do: -s or -d is missing", NULL);
    if (!set->destination && (set->text || set->file)) return usage("-m and -f need -d", NULL);
    if (set->request && !set->destination) return usage("--request needs -d", NULL);
    if (!ids_differ(set)) return usage("the same id for two subscriptions", NULL);
    return DONE;
}

static int parse_arguments(int argc, char **argv, settings *set) {
    const char *last = NULL;
    int i = 1, used, over = 0;
    for (; i < argc; i += used) {
        used = 1;
        if (!over && strcmp(argv[i], "--") == 0) {
            over = 1;
            continue;
        }
        used = parse_argument(set, argv + i, &last, over);
        if (!used) return USAGE;
    }
    if (set->connect_headers.count) set->options.connect_headers = set->connect_headers.items;
    if (set->http_headers.count) set->options.http_headers = set->http_headers.items;
    return check_settings(set);
}

// ---- printing ----

static void json_text(const char *s, size_t len) {
    size_t i = 0;
    putchar('"');
    while (i < len) {
        unsigned char c = (unsigned char)s[i];
        size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
        if (n > len - i || !stws_utf8_valid(s + i, n)) {
            fputs("\\ufffd", stdout);
            n = 1;
        } else if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < 32) {
            printf("\\u%04x", c);
        } else {
            fwrite(s + i, 1, n, stdout);
        }
        i += n;
    }
    putchar('"');
}

static void json_string(const char *s) {
    if (s)
        json_text(s, strlen(s));
    else
        fputs("null", stdout);
}

static void json_base64(const char *s, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t i;
    putchar('"');
    for (i = 0; i < len; i += 3) {
        unsigned long group = (unsigned long)(unsigned char)s[i] << 16;
        if (i + 1 < len) group |= (unsigned long)(unsigned char)s[i + 1] << 8;
        if (i + 2 < len) group |= (unsigned char)s[i + 2];
        putchar(digits[group >> 18]);
        putchar(digits[group >> 12 & 63]);
        putchar(i + 1 < len ? digits[group >> 6 & 63] : '=');
        putchar(i + 2 < len ? digits[group & 63] : '=');
    }
    putchar('"');
}

static void print_json(const stws_message *m) {
    size_t i;
    fputs("{\"destination\":", stdout);
    json_string(m->destination);
    fputs(",\"subscription\":", stdout);
    json_string(m->subscription);
    fputs(",\"message_id\":", stdout);
    json_string(m->message_id);
    fputs(",\"headers\":[", stdout);
    for (i = 0; i < m->frame.header_count; i++) {
        fputs(i ? ",[" : "[", stdout);
        json_text(m->frame.headers[i].name, m->frame.headers[i].name_len);
        putchar(',');
        json_text(m->frame.headers[i].value, m->frame.headers[i].value_len);
        putchar(']');
    }
    fputs(m->body_is_utf8 ? "],\"body\":" : "],\"body_base64\":", stdout);
    if (m->body_is_utf8)
        json_text(m->body, m->body_len);
    else
        json_base64(m->body, m->body_len);
    fputs("}\n", stdout);
}

static void print_message(const run *r, const stws_message *m) {
    if (r->set->json) {
        print_json(m);
    } else {
        fwrite(m->body, 1, m->body_len, stdout);
        putchar('\n');
    }
    fflush(stdout);
}

// How far we are, for somebody who watches a terminal.
static void show_progress(run *r, long long now) {
    if (!isatty(STDERR_FILENO) || isatty(STDOUT_FILENO) || now < r->progress_us) return;
    if (r->progress_us) fprintf(stderr, "\r%ld received, %ld sent ", r->received, r->sent);
    r->progress_us = now + 1000000;
}

// ---- the run ----

// DISCONNECT with a receipt, then close; what comes meanwhile is nobody's any more.
static void finish(run *r, int code) {
    if (r->ending) return;
    r->ending = 1;
    r->code = code;
    stws_disconnect(r->client, END_MS);
}

static void fail(run *r, const char *sentence) {
    fprintf(stderr, "stomp_cat: %s\n", sentence);
    finish(r, FAILED);
}

static void on_message(run *r, const stws_message *m) {
    if (r->ending) return;
    if (!m->handle)
        fprintf(stderr, "stomp_cat: a message for subscription \"%s\", which is none of ours\n",
                m->subscription ? m->subscription : "");
    print_message(r, m);
    if (m->handle && (m->ack || (r->set->ack && strcmp(r->set->ack, "auto") != 0))) stws_ack(r->client, m);
    if (++r->received == r->set->count) finish(r, DONE);
}

static void on_receipt(run *r, const stws_event *e) {
    if (!e->receipt || r->ending) return;
    r->waiting_receipts--;
    if (e->result == STWS_OK) return;
    fprintf(stderr, "stomp_cat: receipt %d: %s\n", e->receipt, stws_result_text(e->result));
    finish(r, FAILED);
}

static void on_event(run *r, const stws_event *e) {
    switch (e->type) {
        case STWS_EVENT_CONNECTED: r->connected = r->was_connected = 1; break;
        case STWS_EVENT_MESSAGE: on_message(r, e->message); break;
        case STWS_EVENT_RECEIPT: on_receipt(r, e); break;
        case STWS_EVENT_ERROR:
            fprintf(stderr, "stomp_cat: %s\n", e->text);
            r->failed = 1;
            if (r->set->destination && r->was_connected) finish(r, FAILED);
            break;
        case STWS_EVENT_DISCONNECTED:
            r->connected = 0;
            if (e->retry_ms >= 0) fprintf(stderr, "stomp_cat: %s; trying again in %lld ms\n", e->text, e->retry_ms);
            break;
        default: break;
    }
}

static char *grow(char *data, size_t size) {
    char *grown = realloc(data, size);
    if (!grown) abort();
    return grown;
}

// A whole file as one body; NULL when it cannot be read.
static char *read_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    size_t size = 65536, n;
    char *data = malloc(size);
    *len = 0;
    while (file && data && (n = fread(data + *len, 1, size - *len, file)) > 0) {
        *len += n;
        if (*len < size) continue;
        data = grow(data, size *= 2);
    }
    if (file && !ferror(file)) {
        fclose(file);
        return data;
    }
    if (file) fclose(file);
    free(data);
    return NULL;
}

// More of stdin, if there is any just now.
static void read_input(run *r) {
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    ssize_t n;
    if (r->input_over || poll(&input, 1, 0) <= 0) return;
    if (r->input_size - r->input_len < 4096) {
        r->input_size = 2 * r->input_size + 65536;
        r->input = grow(r->input, r->input_size);
    }
    n = read(STDIN_FILENO, r->input + r->input_len, r->input_size - r->input_len);
    if (n > 0) r->input_len += (size_t)n;
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) r->input_over = 1;
}

// A line of stdin as the next body: 1, or 0 when none is whole yet.
static int next_line(run *r) {
    char *end = r->input_len ? memchr(r->input, '\n', r->input_len) : NULL;
    if (!end) {
        read_input(r);
        end = r->input_len ? memchr(r->input, '\n', r->input_len) : NULL;
    }
    if (!end && !(r->input_over && r->input_len)) {
        r->sent_all = r->input_over;
        return 0;
    }
    r->body = r->input;
    r->body_len = end ? (size_t)(end - r->input) : r->input_len;
    r->line_len = end ? r->body_len + 1 : r->body_len;
    return 1;
}

static void drop_line(run *r) {
    r->input_len -= r->line_len;
    if (r->input_len) memmove(r->input, r->input + r->line_len, r->input_len);
    r->line_len = 0;
}

// The next body: 1; 0 when there is none now. sent_all is set when there will be none any more.
static int next_body(run *r) {
    if (r->has_body) return 1;
    if (r->set->text || r->set->file) {
        r->sent_all = r->sent > 0;
        r->has_body = !r->sent_all;
    } else {
        r->has_body = !r->sent_all && next_line(r);
    }
    return r->has_body;
}

static int send_body(run *r) {
    stws_outgoing m;
    stws_message *reply = NULL;
    int result;
    memset(&m, 0, sizeof m);
    m.destination = r->set->destination;
    m.body = r->body;
    m.body_len = r->body_len;
    m.content_type = r->set->content_type;
    m.headers = r->set->headers.count ? r->set->headers.items : NULL;
    m.receipt = r->set->receipt;
    if (!r->set->request) return stws_send_ex(r->client, &m);
    result = stws_request(r->client, &m, &reply, r->deadline_us ? (int)((r->deadline_us - now_us()) / 1000) : 30000);
    if (reply) print_message(r, reply);
    stws_message_free(reply);
    return result;
}

// Send what there is, as fast as the library takes it or --rate allows.
static void pump(run *r) {
    while (r->connected && !r->ending && !r->sent_all && now_us() >= r->next_send_us && next_body(r)) {
        int result = send_body(r);
        if (result == STWS_ERR_FULL || (result == STWS_ERR_LIMIT && r->waiting_receipts)) return;
        if (result < 0) {
            char sentence[256];
            snprintf(sentence, sizeof sentence, "the message was not sent: %s", stws_result_text(result));
            fail(r, sentence);
            return;
        }
        r->has_body = 0;
        if (r->line_len) drop_line(r);
        r->sent++;
        r->waiting_receipts += result > 0;
        if (r->set->rate) r->next_send_us = now_us() + 1000000 / r->set->rate;
    }
}

// Has everything that was asked for been done?
static void check_done(run *r) {
    if (r->ending || !r->set->destination || !r->sent_all || r->set->sub_count) return;
    if (r->waiting_receipts || (r->set->options.confirm && stws_flush(r->client, 0) != STWS_OK)) return;
    finish(r, DONE);
}

static void check_limits(run *r) {
    int reached = r->set->sub_count ? !r->set->count || r->received >= r->set->count : r->sent_all;
    if (signalled) {
        finish(r, 128 + signalled);
        return;
    }
    if (!r->deadline_us || now_us() < r->deadline_us || r->ending) return;
    if (!r->was_connected || !reached)
        fprintf(stderr, "stomp_cat: time-out after %ld s: %s\n", r->set->seconds,
                r->was_connected              ? "not everything came"
                : *stws_error_text(r->client) ? stws_error_text(r->client)
                                              : "no connection");
    finish(r, r->was_connected && reached ? DONE : TIMED_OUT);
}

// Wait for the network, for stdin when a line is wanted, and never so long that a signal or a deadline is missed.
static void wait_a_while(run *r) {
    struct pollfd polled[4];
    stws_fd fds[3];
    int n = stws_fds(r->client, fds, 3), i;
    long long ms = stws_deadline(r->client), left;
    int wants_line = r->connected && !r->ending && !r->sent_all && r->set->destination && !r->has_body &&
                     !r->set->text && !r->set->file && now_us() >= r->next_send_us;
    for (i = 0; i < n; i++) {
        polled[i].fd = fds[i].fd;
        polled[i].events =
            (short)((fds[i].wants & STWS_WANT_READ ? POLLIN : 0) | (fds[i].wants & STWS_WANT_WRITE ? POLLOUT : 0));
    }
    if (wants_line) {
        polled[n].fd = STDIN_FILENO;
        polled[n++].events = POLLIN;
    }
    if (ms < 0 || ms > TICK_MS) ms = TICK_MS;
    left = r->next_send_us - now_us();
    if (left > 0 && left / 1000 < ms) ms = left / 1000 + 1;
    poll(polled, (nfds_t)n, (int)ms);
}

static int subscribe_all(run *r) {
    size_t i;
    for (i = 0; i < r->set->sub_count; i++) {
        const subscription *sub = &r->set->subs[i];
        stws_subscription o;
        int handle;
        memset(&o, 0, sizeof o);
        o.id = sub->id;
        o.ack = sub->ack ? sub->ack : r->set->ack;
        o.headers = sub->headers.count ? sub->headers.items : NULL;
        handle = stws_subscribe(r->client, sub->destination, &o);
        if (handle < 0 && *stws_error_text(r->client)) return FAILED;
        if (handle < 0) return usage(stws_result_text(handle), sub->destination);
    }
    return DONE;
}

static int drive(run *r) {
    stws_event e;
    int result;
    for (;;) {
        while ((result = stws_next(r->client, &e, 0)) > 0) on_event(r, &e);
        if (result < 0) break;
        check_limits(r);
        if (r->set->destination) pump(r);
        check_done(r);
        show_progress(r, now_us());
        wait_a_while(r);
    }
    if (result == STWS_CLOSED) return r->code;
    fprintf(stderr, "stomp_cat: %s\n", stws_error_text(r->client));
    return r->ending ? r->code : FAILED;
}

static int run_client(const settings *set) {
    char *file = NULL;
    run r;
    int code;
    memset(&r, 0, sizeof r);
    r.set = set;
    r.body = set->text;
    r.body_len = set->text ? strlen(set->text) : 0;
    if (set->file) r.body = file = read_file(set->file, &r.body_len);
    if (set->file && !file) return usage("the file cannot be read", set->file);
    if (set->seconds) r.deadline_us = now_us() + set->seconds * 1000000;
    r.client = stws_create(&set->options);
    code = subscribe_all(&r);
    if (code == DONE) {
        code = drive(&r);
    } else if (code == FAILED) {
        fprintf(stderr, "stomp_cat: %s\n", stws_error_text(r.client));
        if (stws_error(r.client) == STWS_ERR_URL || stws_error(r.client) == STWS_ERR_USAGE) code = USAGE;
    }
    stws_destroy(r.client);
    free(r.input);
    free(file);
    return code;
}

int main(int argc, char **argv) {
    static settings set;
    struct sigaction action;
    int code;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) return fputs(help, stdout), DONE;
    code = parse_arguments(argc, argv, &set);
    if (code != DONE) return code;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    set.options.single_thread = 1;
    return run_client(&set);
}
