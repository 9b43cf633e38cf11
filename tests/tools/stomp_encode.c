/* stomp_encode - one frame a line, as JSON on stdin, to the octets on the wire, in hex

       stomp_encode [--version 1.0|1.1|1.2|none]

   In:   {"command":"SEND","headers_hex":[["6b","76"]],"body_hex":"6869","auto_length":false}
         in any order; headers_hex and body_hex may be left out, other keys are passed over;
         auto_length says whether a content-length is asked for (true)
   Out:  the octets in hex, or "error: the sentence"

   The version is that of the session: none, the default, is the time before CONNECTED. */
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_NO_IO
#include "stomp_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool_json.h"

struct encoder {
    int version;
    stws_header *headers;
    size_t header_cap;
    char *wire;
    size_t wire_cap;
};

static int usage(const char *what, const char *which) {
    fprintf(stderr,
            "stomp_encode: %s %s\nusage: stomp_encode [--version 1.0|1.1|1.2|none] < frames\n",
            what, which);
    return 2;
}

/* Memory for `count` things of that size at least, keeping what is there: NULL when there is none. */
static void *grown(void *old, size_t *cap, size_t count, size_t size) {
    size_t larger = *cap ? *cap : 16;
    void *data;
    if (count <= *cap) return old;
    while (larger < count && larger <= (size_t)-1 / 2) larger *= 2;
    data = larger < count || larger > (size_t)-1 / size ? NULL : realloc(old, larger * size);
    if (data) *cap = larger;
    return data;
}

static int read_header(struct encoder *e, struct json *j, stws_frame *frame) {
    struct json_text name, value;
    stws_header *headers =
        grown(e->headers, &e->header_cap, frame->header_count + 1, sizeof *headers);
    if (!headers) return json_fail(j, "there is not enough memory");
    e->headers = headers;
    if (!json_expect(j, '[', "a header is no [name, value]") || !json_read_hex(j, &name) ||
        !json_expect(j, ',', "a header is no [name, value]") || !json_read_hex(j, &value) ||
        !json_expect(j, ']', "a header is no [name, value]"))
        return 0;
    headers += frame->header_count++;
    headers->name = name.data;
    headers->name_len = name.len;
    headers->value = value.data;
    headers->value_len = value.len;
    return 1;
}

static int read_headers(struct encoder *e, struct json *j, stws_frame *frame) {
    int first = 1;
    frame->header_count = 0;
    if (!json_expect(j, '[', "headers_hex is no array")) return 0;
    while (json_more(j, ']', &first))
        if (!read_header(e, j, frame)) return 0;
    frame->headers = e->headers;
    return !j->error;
}

static int read_command(struct json *j, stws_frame *frame) {
    struct json_text text;
    if (!json_read_string(j, &text)) return 0;
    frame->command = text.data;
    return strlen(text.data) == text.len || json_fail(j, "the command holds a NUL");
}

static int read_body(struct json *j, stws_frame *frame) {
    struct json_text text;
    if (!json_read_hex(j, &text)) return 0;
    frame->body = text.data;
    frame->body_len = text.len;
    return 1;
}

static int read_auto_length(struct json *j, stws_frame *frame) {
    int wanted;
    if (!json_read_bool(j, &wanted)) return 0;
    frame->no_content_length = !wanted;
    return 1;
}

static int read_member(struct encoder *e, struct json *j, stws_frame *frame) {
    struct json_text key;
    if (!json_read_string(j, &key) || !json_expect(j, ':', "a colon is missing")) return 0;
    if (strcmp(key.data, "command") == 0) return read_command(j, frame);
    if (strcmp(key.data, "headers_hex") == 0) return read_headers(e, j, frame);
    if (strcmp(key.data, "body_hex") == 0) return read_body(j, frame);
    if (strcmp(key.data, "auto_length") == 0) return read_auto_length(j, frame);
    return json_skip(j);
}

static int read_frame(struct encoder *e, struct json *j, stws_frame *frame) {
    int first = 1;
    memset(frame, 0, sizeof *frame);
    if (!json_expect(j, '{', "there is no object")) return 0;
    while (json_more(j, '}', &first))
        if (!read_member(e, j, frame)) return 0;
    json_peek(j);
    if (j->at < j->end) return json_fail(j, "something follows the object");
    if (!j->error && !frame->command) return json_fail(j, "the command is missing");
    return !j->error;
}

static int build(struct encoder *e, const stws_frame *frame, size_t *size) {
    char *wire;
    int result = stws_frame_build(e->wire, e->wire_cap, e->version, frame, size);
    if (result != STWS_ERR_SPACE) return result;
    wire = grown(e->wire, &e->wire_cap, *size, 1);
    if (!wire) return STWS_ERR_MEMORY;
    e->wire = wire;
    return stws_frame_build(e->wire, e->wire_cap, e->version, frame, size);
}

static void encode_line(struct encoder *e, char *line, size_t len) {
    struct json j;
    stws_frame frame;
    size_t size;
    int result;
    json_open(&j, line, len);
    if (!read_frame(e, &j, &frame)) {
        printf("error: the line is not a frame in JSON: %s at character %llu\n", j.error,
               (unsigned long long)j.error_at + 1);
        return;
    }
    result = build(e, &frame, &size);
    if (result == STWS_OK)
        hex_write(stdout, e->wire, size);
    else
        printf("error: %s", stws_result_text(result));
    putchar('\n');
}

static int encode_all(struct encoder *e) {
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int failed;
    while ((len = getline(&line, &cap, stdin)) >= 0) encode_line(e, line, (size_t)len);
    failed = !feof(stdin) || fflush(stdout) != 0 || ferror(stdout);
    if (failed)
        fputs("stomp_encode: reading or writing failed, or there is not enough memory\n", stderr);
    free(line);
    free(e->headers);
    free(e->wire);
    return failed;
}

int main(int argc, char **argv) {
    struct encoder e;
    memset(&e, 0, sizeof e);
    if (argc > 1 && strcmp(argv[1], "--version") != 0) return usage("no such option:", argv[1]);
    if (argc == 2) return usage("no value after", argv[1]);
    if (argc > 3) return usage("one argument too many:", argv[3]);
    if (argc == 3 && (e.version = stomp_version(argv[2])) < 0)
        return usage("no such STOMP version:", argv[2]);
    return encode_all(&e);
}
