/* A client that a test drives. Commands are read from stdin, one per line. All events are printed
   to stdout, one JSON object per line.

     connect URL [NAME=VALUE]...      an option of stws_options, with '-' for '_'; lists of headers
                                      as connect-header:NAME=VALUE, http-header:NAME=VALUE; trace=1
     subscribe DESTINATION [id=] [ack=] [receipt=1] [prefetch=N] [durable=] [header:NAME=VALUE]...
     unsubscribe HANDLE
     send DESTINATION [body=] [type=] [tx=] [receipt=1] [bare=1] [text=1] [count=N]
          [header:NAME=VALUE]...
                                      bare: without content-length; text: without it only if the
                                      broker then takes the body for text; count: send N messages
                                      with the numbers 1 to N as bodies
     request DESTINATION [body=] [timeout=MS] [header:NAME=VALUE]...
     ack N [TX], nack N [TX]          message number N, from 1
     begin TX, commit TX, abort TX
     flush MS, disconnect MS, stop, stats
     sleep MS                         do not drive the client meanwhile, like a slow callback

   Words are separated by one space and percent-encoded. The answer to each command is
   {"event":"done","result":R}, where R is what the library returned. Events of the client may be
   printed before and after it. Strings contain only the escapes that JSON requires, so bytes that
   are not UTF-8 are printed unchanged. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WORDS = 64, MAX_LIST = 2 * MAX_WORDS + 1 };

struct word {
    char *name, *value; /* name is NULL for a word without "=" */
    size_t len;         /* length of value, which may contain NULs */
};

struct line {
    struct word words[MAX_WORDS];
    int count;
};

struct input {
    char *data;
    size_t len, capacity;
    int ended;
};

struct probe {
    stws *client;
    stws_message **messages; /* a copy of each received message, for ack and nack */
    int message_count, message_capacity;
    int ended;
};

static void die(const char *why) {
    fprintf(stderr, "probe: %s\n", why);
    exit(2);
}

/* ---- JSON ---- */

static void print_byte(unsigned char byte) {
    if (byte == '"' || byte == '\\')
        printf("\\%c", byte);
    else if (byte < 0x20 || byte == 0x7F)
        printf("\\u%04x", byte);
    else
        putchar(byte);
}

static void print_string(const char *text, size_t len) {
    putchar('"');
    for (size_t i = 0; i < len; i++) print_byte((unsigned char)text[i]);
    putchar('"');
}

static void print_text(const char *key, const char *text) {
    printf(",\"%s\":", key);
    if (text)
        print_string(text, strlen(text));
    else
        fputs("null", stdout);
}

static void print_frame(const stws_frame *frame) {
    print_text("command", frame->command);
    fputs(",\"headers\":[", stdout);
    for (size_t i = 0; i < frame->header_count; i++) {
        const stws_header *header = &frame->headers[i];
        fputs(i ? ",[" : "[", stdout);
        print_string(header->name, header->name_len);
        putchar(',');
        print_string(header->value, header->value_len);
        putchar(']');
    }
    fputs("],\"body\":", stdout);
    print_string(frame->body ? frame->body : "", frame->body_len);
}

static void begin_event(const char *name) {
    printf("{\"event\":\"%s\"", name);
}

static void end_event(void) {
    puts("}");
    fflush(stdout);
}

static void print_message(const char *event, const stws_message *message) {
    begin_event(event);
    print_text("destination", message->destination);
    print_text("message_id", message->message_id);
    print_text("subscription", message->subscription);
    print_text("content_type", message->content_type);
    print_text("ack", message->ack);
    printf(",\"handle\":%d,\"utf8\":%d", message->handle, message->body_is_utf8);
    print_frame(&message->frame);
    end_event();
}

/* ---- callbacks of the client ---- */

static void keep(struct probe *probe, const stws_message *message) {
    if (probe->message_count == probe->message_capacity) {
        probe->message_capacity = 2 * probe->message_capacity + 64;
        probe->messages =
            realloc(probe->messages, (size_t)probe->message_capacity * sizeof *probe->messages);
        if (!probe->messages) die("no memory");
    }
    probe->messages[probe->message_count] = stws_message_copy(message);
    if (!probe->messages[probe->message_count++]) die("no memory");
}

static void on_message(stws *client, const stws_message *message, void *user) {
    (void)client;
    keep(user, message);
    print_message("message", message);
}

static const char *event_name(stws_event_type type) {
    switch (type) {
        case STWS_EVENT_CONNECTED: return "connected";
        case STWS_EVENT_RECEIPT: return "receipt";
        case STWS_EVENT_ERROR: return "error";
        case STWS_EVENT_DISCONNECTED: return "disconnected";
        default: return "unhandled";
    }
}

static const char *broker_name(stws_broker_kind broker) {
    switch (broker) {
        case STWS_BROKER_SPRING: return "spring";
        case STWS_BROKER_RABBITMQ: return "rabbitmq";
        case STWS_BROKER_ACTIVEMQ: return "activemq";
        case STWS_BROKER_ARTEMIS: return "artemis";
        default: return "unknown";
    }
}

static const char *version_name(stws_stomp_version version) {
    switch (version) {
        case STWS_STOMP_10: return "1.0";
        case STWS_STOMP_11: return "1.1";
        case STWS_STOMP_12: return "1.2";
        default: return "none";
    }
}

static void on_event(stws *client, const stws_event *event, void *user) {
    (void)user;
    begin_event(event_name(event->type));
    if (event->type == STWS_EVENT_CONNECTED) {
        print_text("broker", broker_name(stws_broker(client)));
        print_text("version", version_name(stws_version(client)));
    }
    printf(",\"receipt\":%d,\"retry_ms\":%lld", event->receipt, event->retry_ms);
    print_text("result", stws_result_name(event->result));
    print_text("text", event->text);
    if (event->message) print_frame(&event->message->frame);
    end_event();
}

static void on_trace(stws *client, stws_direction direction, const stws_frame *frame, void *user) {
    (void)client, (void)user;
    begin_event("trace");
    print_text("direction", direction == STWS_SENT ? ">" : "<");
    print_frame(frame);
    end_event();
}

/* ---- words ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    die("a bad percent escape");
    return 0;
}

/* Decodes in place, adds a NUL behind the result and returns its length. */
static size_t decode(char *text, size_t len) {
    size_t out = 0;
    for (size_t in = 0; in < len; in++) {
        char c = text[in];
        if (c == '%') {
            if (in + 2 >= len) die("a bad percent escape");
            c = (char)(hex_digit(text[in + 1]) * 16 + hex_digit(text[in + 2]));
            in += 2;
        }
        text[out++] = c;
    }
    text[out] = 0;
    return out;
}

/* There must be room for a NUL behind the text at `start`. */
static struct word read_word(char *start, size_t len) {
    struct word word = {NULL, start, 0};
    char *equals = memchr(start, '=', len);
    if (equals) {
        word.name = start;
        word.value = equals + 1;
        decode(start, (size_t)(equals - start));
        len -= (size_t)(equals + 1 - start);
    }
    word.len = decode(word.value, len);
    return word;
}

static struct line read_line(char *text, size_t len) {
    struct line line = {0};
    while (len > 0) {
        char *space = memchr(text, ' ', len);
        size_t word_len = space ? (size_t)(space - text) : len;
        if (line.count == MAX_WORDS) die("too many words");
        line.words[line.count++] = read_word(text, word_len);
        text += word_len + (space != NULL);
        len -= word_len + (space != NULL);
    }
    return line;
}

/* Returns the word without "=" at this position. Position 0 is the command. */
static const char *plain(const struct line *line, int place) {
    if (place >= line->count || line->words[place].name) die("an argument is missing");
    return line->words[place].value;
}

static const struct word *named(const struct line *line, const char *name) {
    for (int i = 0; i < line->count; i++)
        if (line->words[i].name && strcmp(line->words[i].name, name) == 0) return &line->words[i];
    return NULL;
}

static const char *text_of(const struct line *line, const char *name) {
    const struct word *word = named(line, name);
    return word ? word->value : NULL;
}

static int number_of(const struct line *line, const char *name, int otherwise) {
    const char *text = text_of(line, name);
    return text ? atoi(text) : otherwise;
}

/* Returns all words "prefix:NAME=VALUE" as a list for the library, or NULL if there are none. */
static const char *const *headers_of(const struct line *line, const char *prefix,
                                     const char *list[MAX_LIST]) {
    size_t prefix_len = strlen(prefix);
    int count = 0;
    for (int i = 0; i < line->count; i++) {
        const char *name = line->words[i].name;
        if (!name || strncmp(name, prefix, prefix_len) != 0 || name[prefix_len] != ':') continue;
        list[count++] = name + prefix_len + 1;
        list[count++] = line->words[i].value;
    }
    list[count] = NULL;
    return count ? list : NULL;
}

/* ---- commands: each returns the result of the library's function ---- */

struct option {
    const char *name;
    size_t offset;
};
#define OPTION(name, member)                                                                       \
    { name, offsetof(stws_options, member) }

static void set_strings(stws_options *options, const struct line *line) {
    static const struct option table[] = {
        OPTION("login", login),         OPTION("passcode", passcode),
        OPTION("host", host),           OPTION("origin", origin),
        OPTION("cookie", cookie),       OPTION("subprotocols", subprotocols),
        OPTION("client-id", client_id),
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *text = text_of(line, table[i].name);
        if (text) memcpy((char *)options + table[i].offset, &text, sizeof text);
    }
}

static void set_numbers(stws_options *options, const struct line *line) {
    static const struct option table[] = {
        OPTION("versions", versions),
        OPTION("heartbeat-out-ms", heartbeat_out_ms),
        OPTION("heartbeat-in-ms", heartbeat_in_ms),
        OPTION("ping-ms", ping_ms),
        OPTION("heartbeat-grace", heartbeat_grace),
        OPTION("connected-timeout-ms", connected_timeout_ms),
        OPTION("receipt-timeout-ms", receipt_timeout_ms),
        OPTION("close-timeout-ms", close_timeout_ms),
        OPTION("reconnect", reconnect),
        OPTION("reconnect-min-ms", reconnect_min_ms),
        OPTION("reconnect-max-ms", reconnect_max_ms),
        OPTION("confirm", confirm),
        OPTION("utf8", utf8),
        OPTION("binary", binary),
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int number = number_of(line, table[i].name, 0);
        if (number) memcpy((char *)options + table[i].offset, &number, sizeof number);
    }
}

static void set_sizes(stws_options *options, const struct line *line) {
    options->max_body = (size_t)number_of(line, "max-body", 0);
    options->outbox_bytes = (size_t)number_of(line, "outbox-bytes", 0);
    options->max_ws_message = (size_t)number_of(line, "max-ws-message", 0);
    if (number_of(line, "whole", 0)) options->max_ws_message = STWS_WHOLE;
}

static int run_connect(struct probe *probe, const struct line *line) {
    const char *connect_headers[MAX_LIST], *http_headers[MAX_LIST];
    stws_options options = {0};
    options.url = plain(line, 1);
    set_strings(&options, line);
    set_numbers(&options, line);
    set_sizes(&options, line);
    options.connect_headers = headers_of(line, "connect-header", connect_headers);
    options.http_headers = headers_of(line, "http-header", http_headers);
    options.on_message = on_message;
    options.on_event = on_event;
    options.on_trace = number_of(line, "trace", 0) ? on_trace : NULL;
    options.user = probe;
    if (probe->client) die("connected already");
    probe->client = stws_create(&options);
    if (!probe->client) die("no memory");
    return 0;
}

static stws_ack_mode ack_mode(const char *text) {
    if (!text) return STWS_ACK_DEFAULT;
    if (strcmp(text, "client-individual") == 0) return STWS_ACK_CLIENT_INDIVIDUAL;
    return strcmp(text, "client") == 0 ? STWS_ACK_CLIENT : STWS_ACK_AUTO;
}

static int run_subscribe(struct probe *probe, const struct line *line) {
    const char *headers[MAX_LIST];
    stws_subscribe_options options = {0};
    options.id = text_of(line, "id");
    options.ack = ack_mode(text_of(line, "ack"));
    options.durable = text_of(line, "durable");
    options.receipt = number_of(line, "receipt", 0);
    options.prefetch = number_of(line, "prefetch", 0);
    options.headers = headers_of(line, "header", headers);
    return stws_subscribe(probe->client, plain(line, 1), &options);
}

static int run_unsubscribe(struct probe *probe, const struct line *line) {
    return stws_unsubscribe(probe->client, atoi(plain(line, 1)));
}

static stws_outgoing outgoing(const struct line *line, const char *list[MAX_LIST]) {
    const struct word *body = named(line, "body");
    stws_outgoing message = {0};
    message.destination = plain(line, 1);
    message.body = body ? body->value : "";
    message.body_len = body ? body->len : 0;
    message.content_type = text_of(line, "type");
    message.transaction = text_of(line, "tx");
    message.headers = headers_of(line, "header", list);
    message.receipt = number_of(line, "receipt", 0);
    if (number_of(line, "bare", 0)) message.content_length = STWS_CONTENT_LENGTH_OMIT;
    if (number_of(line, "text", 0)) message.content_length = STWS_CONTENT_LENGTH_JMS_TEXT;
    return message;
}

/* Sends the numbers 1 to count as bodies. If the buffers are full, it also writes and reads
   meanwhile. */
static int send_many(struct probe *probe, stws_outgoing message, int count) {
    char body[16];
    int result = 0;
    for (int i = 1; i <= count && result >= 0; i++) {
        message.body = body;
        message.body_len = (size_t)snprintf(body, sizeof body, "%d", i);
        result = stws_send_ex(probe->client, &message);
        if (result == STWS_ERR_FULL) {
            result = stws_flush(probe->client, 10000);
            i--;
        }
    }
    return result;
}

static int run_send(struct probe *probe, const struct line *line) {
    const char *headers[MAX_LIST];
    stws_outgoing message = outgoing(line, headers);
    int count = number_of(line, "count", 0);
    return count ? send_many(probe, message, count) : stws_send_ex(probe->client, &message);
}

static int run_request(struct probe *probe, const struct line *line) {
    const char *headers[MAX_LIST];
    stws_outgoing message = outgoing(line, headers);
    stws_message *reply = NULL;
    int result = stws_request(probe->client, &message, &reply, number_of(line, "timeout", 5000));
    if (reply) print_message("reply", reply);
    stws_message_free(reply);
    return result;
}

static int acknowledge(struct probe *probe, const struct line *line, int negative) {
    int number = atoi(plain(line, 1));
    if (number < 1 || number > probe->message_count) die("no message with this number");
    const stws_message *message = probe->messages[number - 1];
    const char *tx = line->count > 2 ? plain(line, 2) : NULL;
    if (negative)
        return tx ? stws_nack_in(probe->client, message, tx) : stws_nack(probe->client, message);
    return tx ? stws_ack_in(probe->client, message, tx) : stws_ack(probe->client, message);
}

static int run_ack(struct probe *probe, const struct line *line) {
    return acknowledge(probe, line, 0);
}

static int run_nack(struct probe *probe, const struct line *line) {
    return acknowledge(probe, line, 1);
}

static int run_begin(struct probe *probe, const struct line *line) {
    return stws_begin(probe->client, plain(line, 1));
}

static int run_commit(struct probe *probe, const struct line *line) {
    return stws_commit(probe->client, plain(line, 1));
}

static int run_abort(struct probe *probe, const struct line *line) {
    return stws_abort(probe->client, plain(line, 1));
}

static int run_flush(struct probe *probe, const struct line *line) {
    return stws_flush(probe->client, atoi(plain(line, 1)));
}

static int run_disconnect(struct probe *probe, const struct line *line) {
    return stws_disconnect(probe->client, atoi(plain(line, 1)));
}

static int run_stop(struct probe *probe, const struct line *line) {
    (void)line;
    stws_stop(probe->client);
    return 0;
}

static int run_sleep(struct probe *probe, const struct line *line) {
    long ms = atol(plain(line, 1));
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    (void)probe;
    nanosleep(&pause, NULL);
    return 0;
}

static int run_stats(struct probe *probe, const struct line *line) {
    stws_statistics n;
    (void)line;
    stws_stats(probe->client, &n);
    begin_event("stats");
    printf(",\"heartbeats_in\":%llu,\"heartbeats_out\":%llu", n.heartbeats_in, n.heartbeats_out);
    printf(",\"messages_in\":%llu,\"messages_out\":%llu", n.messages_in, n.messages_out);
    printf(",\"sessions\":%llu,\"reconnects\":%llu", n.sessions, n.reconnects);
    printf(",\"invalid_utf8\":%llu,\"stale_acks\":%llu", n.invalid_utf8, n.stale_acks);
    printf(",\"late_loops\":%llu,\"heartbeat_slack_ms\":%lld", n.late_loops, n.heartbeat_slack_ms);
    printf(",\"http_status\":%d", stws_http_status(probe->client));
    printf(",\"close_code\":%d", stws_close_code(probe->client));
    end_event();
    return 0;
}

static void run(struct probe *probe, const struct line *line) {
    static const struct {
        const char *name;
        int (*run)(struct probe *, const struct line *);
    } commands[] = {
        {"connect", run_connect}, {"subscribe", run_subscribe}, {"unsubscribe", run_unsubscribe},
        {"send", run_send},       {"request", run_request},     {"ack", run_ack},
        {"nack", run_nack},       {"begin", run_begin},         {"commit", run_commit},
        {"abort", run_abort},     {"flush", run_flush},         {"disconnect", run_disconnect},
        {"stop", run_stop},       {"stats", run_stats},         {"sleep", run_sleep},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(plain(line, 0), commands[i].name) != 0) continue;
        if (!probe->client && commands[i].run != run_connect)
            die("the first command must be connect");
        int result = commands[i].run(probe, line);
        begin_event("done");
        print_text("command", commands[i].name);
        printf(",\"result\":%d", result);
        print_text("name", result < 0 ? stws_result_name(result) : "");
        end_event();
        return;
    }
    die("an unknown command");
}

/* ---- the event loop ---- */

static void fill(struct input *input) {
    if (input->capacity - input->len < 4096) {
        input->capacity = 2 * input->capacity + 8192;
        input->data = realloc(input->data, input->capacity);
        if (!input->data) die("no memory");
    }
    ssize_t got = read(STDIN_FILENO, input->data + input->len, input->capacity - input->len);
    if (got < 0 && errno != EINTR) die("stdin cannot be read");
    if (got == 0) input->ended = 1;
    if (got > 0) input->len += (size_t)got;
}

/* Runs the lines that have been read completely. */
static void run_input(struct probe *probe, struct input *input) {
    char *start = input->data, *end;
    size_t rest = input->len;
    while (rest > 0 && (end = memchr(start, '\n', rest)) != NULL) {
        struct line line = read_line(start, (size_t)(end - start));
        run(probe, &line);
        rest -= (size_t)(end + 1 - start);
        start = end + 1;
    }
    if (rest > 0) memmove(input->data, start, rest);
    input->len = rest;
}

static void drive(struct probe *probe) {
    int result = stws_step(probe->client);
    if (result >= 0) return;
    probe->ended = 1;
    begin_event("ended");
    print_text("result", stws_result_name(result));
    print_text("text", stws_error_text(probe->client));
    end_event();
}

static short poll_events(int wants) {
    return (short)((wants & STWS_WANT_READ ? POLLIN : 0) | (wants & STWS_WANT_WRITE ? POLLOUT : 0));
}

/* Waits for stdin and for what the client waits for. Returns whether stdin can be read. */
static int wait_for_something(struct probe *probe) {
    struct pollfd polled[4] = {{STDIN_FILENO, POLLIN, 0}};
    nfds_t count = 1;
    int timeout = -1;
    if (probe->client && !probe->ended) {
        stws_fd wanted[3];
        int wanted_count = stws_fds(probe->client, wanted, 3);
        for (int i = 0; i < wanted_count; i++) {
            polled[count].fd = wanted[i].fd;
            polled[count++].events = poll_events(wanted[i].wants);
        }
        long long deadline = stws_deadline(probe->client);
        timeout = deadline > 1000000 ? 1000000 : (int)deadline;
    }
    if (poll(polled, count, timeout) < 0 && errno != EINTR) die("poll failed");
    return polled[0].revents != 0;
}

static void release(struct probe *probe, struct input *input) {
    stws_destroy(probe->client);
    for (int i = 0; i < probe->message_count; i++) stws_message_free(probe->messages[i]);
    free(probe->messages);
    free(input->data);
}

int main(void) {
    struct probe probe = {0};
    struct input input = {0};
    while (!input.ended) {
        if (probe.client && !probe.ended) drive(&probe);
        if (wait_for_something(&probe)) {
            fill(&input);
            run_input(&probe, &input);
        }
    }
    release(&probe, &input);
    return 0;
}
