// What does the parser make of these bytes? stdin contains what a server would send. Each frame is
// printed as one line of JSON.
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_NO_IO
#include "../../stomp_ws.h"
#include "tool_json.h"
#include <errno.h>

static const char usage_text[] =
    "usage: stomp_decode [--version 1.0|1.1|1.2|none] [--chunk N] [--max-headers N] "
    "[--max-line N] [--max-body N]\n";

enum { DEFAULT_HEADERS = 1000, MAX_HEADERS = 1 << 24, READ_SIZE = 65536 };

typedef struct decoder {
    stws_frame_state state;
    char *data; // bytes that no frame has used yet: [0, len)
    size_t len, cap, chunk;
    unsigned long long consumed; // bytes of whole frames, and of line ends between them
} decoder;

static void print_frame(const stws_frame *frame) {
    size_t i;
    fputs("{\"command\":", stdout);
    json_put_string(frame->command);
    fputs(",\"headers_hex\":[", stdout);
    for (i = 0; i < frame->header_count; i++) {
        fputs(i ? ",[" : "[", stdout);
        json_put_hex(frame->headers[i].name, frame->headers[i].name_len);
        putchar(',');
        json_put_hex(frame->headers[i].value, frame->headers[i].value_len);
        putchar(']');
    }
    fputs("],\"body_hex\":", stdout);
    json_put_hex(frame->body, frame->body_len);
    fputs("}\n", stdout);
}

// Prints all complete frames. Returns STWS_MORE, or an error.
static int decode(decoder *d) {
    stws_frame frame;
    size_t used = 0, at = 0;
    int result;
    while ((result = stws_frame_parse(d->data + at, d->len - at, &d->state, &frame, &used)) ==
           STWS_DONE) {
        print_frame(&frame);
        at += used;
    }
    if (result == STWS_MORE) at += used;
    d->consumed += at;
    d->len -= at;
    if (d->len) memmove(d->data, d->data + at, d->len);
    return result;
}

// Gives the parser n more bytes, in chunks.
static int feed(decoder *d, const char *bytes, size_t n) {
    int result = STWS_MORE;
    while (n && result == STWS_MORE) {
        size_t piece = d->chunk && d->chunk < n ? d->chunk : n;
        if (d->cap - d->len < piece) {
            d->cap = 2 * d->cap + piece;
            d->data = (char *)realloc(d->data, d->cap);
            if (!d->data) abort();
        }
        memcpy(d->data + d->len, bytes, piece);
        d->len += piece;
        bytes += piece;
        n -= piece;
        result = decode(d);
    }
    return result;
}

static int decode_input(decoder *d) {
    static char bytes[READ_SIZE];
    int result = STWS_MORE;
    size_t n;
    while ((n = fread(bytes, 1, sizeof bytes, stdin)) > 0)
        if (result == STWS_MORE)
            result =
                feed(d, bytes, n); // after an error only read on, so that the writer is not blocked
    return result;
}

static void print_end(const decoder *d, int result) {
    if (result == STWS_MORE) {
        printf("{\"error\":null,\"consumed\":%llu,\"heartbeats\":%llu}\n", d->consumed,
               (unsigned long long)d->state.heartbeats);
        return;
    }
    fputs("{\"error\":", stdout);
    json_put_string(stws_result_text(result));
    printf(",\"code\":\"%s\",\"heartbeats\":%llu}\n", stws_result_name(result),
           (unsigned long long)d->state.heartbeats);
}

static int parse_size(const char *text, size_t *out) {
    char *end;
    errno = 0;
    *out = (size_t)strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static int parse_option(decoder *d, const char *name, const char *value) {
    if (strcmp(name, "--version") == 0) return tool_version(value, &d->state.version);
    if (strcmp(name, "--chunk") == 0) return parse_size(value, &d->chunk);
    if (strcmp(name, "--max-headers") == 0)
        return parse_size(value, &d->state.max_headers) && d->state.max_headers <= MAX_HEADERS;
    if (strcmp(name, "--max-line") == 0) return parse_size(value, &d->state.max_line);
    return strcmp(name, "--max-body") == 0 && parse_size(value, &d->state.max_body);
}

int main(int argc, char **argv) {
    decoder d;
    int i;
    memset(&d, 0, sizeof d);
    d.state.max_headers = DEFAULT_HEADERS;
    for (i = 1; i < argc; i += 2)
        if (i + 1 == argc || !parse_option(&d, argv[i], argv[i + 1]))
            return fputs(usage_text, stderr), 2;
    d.state.headers = (stws_header *)calloc(d.state.max_headers + 1, sizeof(stws_header));
    if (!d.state.headers) abort();
    print_end(&d, decode_input(&d));
    free(d.state.headers);
    free(d.data);
    return 0;
}
