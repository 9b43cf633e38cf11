/* stomp_decode - octets as a server would send them, on stdin, to one line of JSON a frame

       stomp_decode [--version 1.0|1.1|1.2|none] [--chunk N] [--max-headers N] [--max-line N]
                    [--max-body N]

   Frames:  {"command":"MESSAGE","headers_hex":[["6b","76"]],"body_hex":"68690a"}
   Last:    {"error":null,"consumed":N,"heartbeats":N}, where N octets were whole frames and ends of
            lines between them; what is left of the input is the beginning of another frame
   or:      {"error":"the sentence","code":"STWS_ERR_...","heartbeats":N}

   The version is that of the session: none, the default, is the time before CONNECTED. The parser
   is fed N octets at a time, or, without --chunk, as much as is there and fits in memory. A limit of 0
   is the library's own. The input is read to its end in any case. */
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_NO_IO
#include "stomp_ws.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool_json.h"

enum { AT_ONCE = 1 << 20 }; /* read before the parser is asked, where nobody says how much */
enum { DEFAULT_MAX_HEADERS = 128 };

struct decoder {
    stws_frame_state state;
    size_t chunk; /* 0: fill the buffer */
    char *data;
    size_t len, cap;
    unsigned long long consumed;
    int error;
};

static int usage(const char *what, const char *which) {
    fprintf(stderr,
            "stomp_decode: %s %s\n"
            "usage: stomp_decode [--version 1.0|1.1|1.2|none] [--chunk N] [--max-headers N] "
            "[--max-line N]\n"
            "                    [--max-body N] < octets\n",
            what, which);
    return 2;
}

static int take_number(const char *text, size_t *number) {
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0;
}

/* One option and its value; 0 when there is something wrong with them. */
static int take_option(struct decoder *d, const char *name, const char *value) {
    if (strcmp(name, "--version") == 0) return (d->state.version = stomp_version(value)) >= 0;
    if (strcmp(name, "--chunk") == 0) return take_number(value, &d->chunk);
    if (strcmp(name, "--max-headers") == 0) return take_number(value, &d->state.max_headers);
    if (strcmp(name, "--max-line") == 0) return take_number(value, &d->state.max_line);
    return strcmp(name, "--max-body") == 0 && take_number(value, &d->state.max_body);
}

static int prepare(struct decoder *d) {
    size_t most = (size_t)-1 / sizeof *d->state.headers;
    if (d->state.max_headers == 0) d->state.max_headers = DEFAULT_MAX_HEADERS;
    if (d->state.max_headers > most) return 0;
    d->cap = AT_ONCE;
    d->data = malloc(d->cap);
    d->state.headers = malloc(d->state.max_headers * sizeof *d->state.headers);
    return d->data && d->state.headers;
}

static void print_frame(const stws_frame *frame) {
    size_t i;
    fputs("{\"command\":", stdout);
    json_write_string(stdout, frame->command);
    fputs(",\"headers_hex\":[", stdout);
    for (i = 0; i < frame->header_count; i++) {
        fputs(i ? ",[" : "[", stdout);
        json_write_hex(stdout, frame->headers[i].name, frame->headers[i].name_len);
        putchar(',');
        json_write_hex(stdout, frame->headers[i].value, frame->headers[i].value_len);
        putchar(']');
    }
    fputs("],\"body_hex\":", stdout);
    json_write_hex(stdout, frame->body, frame->body_len);
    fputs("}\n", stdout);
}

/* Print all frames that are whole by now, and keep the beginning of the next. */
static void decode(struct decoder *d) {
    size_t at = 0, used;
    stws_frame frame;
    int result;
    do {
        result = stws_frame_parse(d->data + at, d->len - at, &d->state, &frame, &used);
        if (result < 0) break;
        if (result == STWS_DONE) print_frame(&frame);
        at += used;
    } while (result == STWS_DONE);
    if (result < 0) {
        d->error = result;
        d->chunk = 0;
    }
    d->consumed += at;
    d->len -= at;
    if (at && d->len) memmove(d->data, d->data + at, d->len);
}

/* Twice the room, once a frame fills it all: the limits of the parser bound it. */
static int make_room(struct decoder *d) {
    char *data;
    if (d->len < d->cap) return 1;
    data = d->cap > (size_t)-1 / 2 ? NULL : realloc(d->data, d->cap * 2);
    if (!data) return 0;
    d->data = data;
    d->cap *= 2;
    return 1;
}

/* Read, and ask the parser after every chunk: 0 when there is no memory. After an error only read. */
static int decode_all(struct decoder *d) {
    size_t fed = 0, want, n;
    for (;;) {
        if (d->error < 0) d->len = 0;
        if (!make_room(d)) return 0;
        want = d->cap - d->len;
        if (d->chunk && want > d->chunk - fed) want = d->chunk - fed;
        n = fread(d->data + d->len, 1, want, stdin);
        d->len += n;
        fed += n;
        if (d->error == 0 && (n < want || !d->chunk || fed == d->chunk)) {
            decode(d);
            fed = 0;
        }
        if (n < want) return 1;
    }
}

static void print_end(const struct decoder *d) {
    unsigned long long heartbeats = d->state.heartbeats;
    fputs("{\"error\":", stdout);
    if (d->error < 0) {
        json_write_string(stdout, stws_result_text(d->error));
        fputs(",\"code\":", stdout);
        json_write_string(stdout, stws_result_name(d->error));
    } else {
        printf("null,\"consumed\":%llu", d->consumed);
    }
    printf(",\"heartbeats\":%llu}\n", heartbeats);
}

static int run(struct decoder *d) {
    const char *problem = NULL;
    if (!prepare(d) || !decode_all(d))
        problem = "there is not enough memory";
    else if (ferror(stdin))
        problem = "reading standard input failed";
    else
        print_end(d);
    if (!problem && (fflush(stdout) != 0 || ferror(stdout)))
        problem = "writing standard output failed";
    if (problem) fprintf(stderr, "stomp_decode: %s\n", problem);
    free(d->state.headers);
    free(d->data);
    return problem ? 1 : 0;
}

int main(int argc, char **argv) {
    struct decoder d;
    int i;
    memset(&d, 0, sizeof d);
    for (i = 1; i < argc; i += 2) {
        if (i + 1 == argc) return usage("no such option, or no value after it:", argv[i]);
        if (!take_option(&d, argv[i], argv[i + 1]))
            return usage("no such option, or a wrong value after it:", argv[i]);
    }
    return run(&d);
}
