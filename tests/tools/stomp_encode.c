// How does the builder write this frame? Each line of stdin is a frame in JSON. Each frame is
// printed as a line of hex, or as "error: ...".
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_NO_IO
#include "../../stomp_ws.h"
#include "tool_json.h"

enum { MAX_HEADERS = 4096 };

typedef struct request {
    stws_frame frame;
    stws_header headers[MAX_HEADERS];
    char *texts[2 * MAX_HEADERS]; // the memory that the headers point to
    char *command, *body;
} request;

// Each text has a NUL behind it. Its length is also set, because the text may contain a NUL.
static int read_header(json_cursor *c, request *r) {
    stws_header *h = &r->headers[r->frame.header_count];
    char **texts = &r->texts[2 * r->frame.header_count];
    if (r->frame.header_count == MAX_HEADERS || !json_take(c, '[')) return 0;
    texts[0] = json_hex(c, &h->name_len);
    texts[1] = json_take(c, ',') ? json_hex(c, &h->value_len) : NULL;
    r->frame.header_count++;
    h->name = texts[0];
    h->value = texts[1];
    return texts[0] && texts[1] && json_take(c, ']');
}

static int read_headers(json_cursor *c, request *r) {
    if (!json_take(c, '[')) return 0;
    if (json_take(c, ']')) return 1;
    do {
        if (!read_header(c, r)) return 0;
    } while (json_take(c, ','));
    return json_take(c, ']');
}

static int read_command(json_cursor *c, request *r) {
    const char *text;
    size_t len;
    if (r->command || !json_string(c, &text, &len)) return 0;
    r->command = (char *)malloc(len + 1);
    if (!r->command) abort();
    memcpy(r->command, text, len);
    r->command[len] = 0;
    r->frame.command = r->command;
    return 1;
}

static int is_key(const char *key, size_t len, const char *name) {
    return len == strlen(name) && memcmp(key, name, len) == 0;
}

static int read_member(json_cursor *c, request *r) {
    const char *key;
    size_t len;
    int automatic;
    if (!json_string(c, &key, &len) || !json_take(c, ':')) return 0;
    if (is_key(key, len, "command")) return read_command(c, r);
    if (is_key(key, len, "headers_hex")) return r->frame.header_count == 0 && read_headers(c, r);
    if (is_key(key, len, "body_hex"))
        return !r->body && (r->body = json_hex(c, &r->frame.body_len)) != NULL;
    if (is_key(key, len, "auto_length")) {
        if (!json_boolean(c, &automatic)) return 0;
        r->frame.content_length = automatic ? STWS_CONTENT_LENGTH_SEND : STWS_CONTENT_LENGTH_OMIT;
        return 1;
    }
    return json_skip_value(c, 32);
}

static int read_request(const char *line, size_t len, request *r) {
    json_cursor c = {line, line + len};
    if (!json_take(&c, '{')) return 0;
    if (!json_take(&c, '}')) {
        do {
            if (!read_member(&c, r)) return 0;
        } while (json_take(&c, ','));
        if (!json_take(&c, '}')) return 0;
    }
    json_skip_blanks(&c);
    return c.at == c.end && r->command;
}

static void print_frame(const request *r, stws_stomp_version version) {
    size_t need = 0, i;
    int result = stws_frame_build(NULL, 0, version, &r->frame, &need);
    char *wire = (char *)malloc(need + 1);
    if (!wire) abort();
    if (result == STWS_ERR_SPACE) result = stws_frame_build(wire, need, version, &r->frame, &need);
    if (result == STWS_OK)
        for (i = 0; i < need; i++) printf("%02x", (unsigned)(unsigned char)wire[i]);
    else
        printf("error: %s", stws_result_text(result));
    putchar('\n');
    free(wire);
}

static void encode_line(const char *line, size_t len, stws_stomp_version version) {
    static request r;
    size_t i;
    memset(&r.frame, 0, sizeof r.frame);
    r.frame.headers = r.headers;
    r.command = r.body = NULL;
    if (read_request(line, len, &r)) {
        r.frame.body = r.body ? r.body : "";
        print_frame(&r, version);
    } else {
        puts("error: the line is not a frame in JSON");
    }
    for (i = 0; i < 2 * r.frame.header_count; i++) free(r.texts[i]);
    free(r.command);
    free(r.body);
    fflush(stdout);
}

// Reads a line of any length. Returns NULL at the end.
static char *read_line(char **line, size_t *cap, size_t *len) {
    int c;
    for (*len = 0; (c = getchar()) != EOF && c != '\n';) {
        if (*len == *cap) *line = (char *)realloc(*line, *cap = 2 * *cap + 4096);
        if (!*line) abort();
        (*line)[(*len)++] = (char)c;
    }
    return c == EOF && *len == 0 ? NULL : *line ? *line : (*line = (char *)calloc(1, *cap = 4096));
}

int main(int argc, char **argv) {
    stws_stomp_version version = STWS_STOMP_NONE;
    char *line = NULL;
    size_t cap = 0, len;
    if (argc != 1 &&
        (argc != 3 || strcmp(argv[1], "--version") != 0 || !tool_version(argv[2], &version)))
        return fputs("usage: stomp_encode [--version 1.0|1.1|1.2|none]\n", stderr), 2;
    while (read_line(&line, &cap, &len)) encode_line(line, len, version);
    free(line);
    return 0;
}
