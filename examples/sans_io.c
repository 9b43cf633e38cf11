/* How do I use the codecs alone, over something that is no socket, with I/O of my own?

       sans_io write DESTINATION < lines | sans_io read

   The first makes each line a STOMP MESSAGE inside a WebSocket frame, as a server would; the second
   takes them apart, in whatever pieces a pipe delivers them. With STOMP_WS_NO_IO there is no client
   in it, no socket, no thread and no allocation: only functions from octets to octets. */
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_NO_IO
#include "../stomp_ws.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LINE = 1024, MAX_FRAME = 4096, MAX_HEADERS = 8 };

/* ==== write ==== */

static int write_line(const char *destination, const char *line) {
    const stws_header headers[] = {
        {"destination", destination, 0, 0}, {"subscription", "0", 0, 0}, {"message-id", "0", 0, 0}};
    char inner[MAX_FRAME], outer[MAX_FRAME];
    size_t inner_len, outer_len;
    stws_frame frame = {0};
    frame.command_id = STWS_COMMAND_MESSAGE;
    frame.headers = headers;
    frame.header_count = 3;
    frame.body = line;
    frame.body_len = strlen(line);
    /* A client would mask its frames, with a fresh key from a CSPRNG in the place of NULL. */
    int result = stws_frame_build(inner, sizeof inner, STWS_STOMP_12, &frame, &inner_len);
    if (result >= 0)
        result =
            stws_ws_build(outer, sizeof outer, STWS_WS_TEXT, 1, inner, inner_len, NULL, &outer_len);
    if (result >= 0) fwrite(outer, 1, outer_len, stdout);
    return result;
}

static int write_lines(const char *destination) {
    char line[MAX_LINE];
    int result = 0;
    while (result >= 0 && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        result = write_line(destination, line);
    }
    return result;
}

/* ==== read: octets to WebSocket payload to STOMP frames ==== */

struct buffer {
    char data[MAX_FRAME];
    size_t len;
};

static void drop(struct buffer *b, size_t count) {
    memmove(b->data, b->data + count, b->len - count);
    b->len -= count;
}

/* Print the frames that are whole; what is left of the buffer is the next one's beginning. */
static int take_frames(struct buffer *stream, stws_frame_state *state) {
    stws_frame frame;
    size_t used;
    int result;
    do {
        result = stws_frame_parse(stream->data, stream->len, state, &frame, &used);
        if (result == STWS_DONE)
            printf("%s: %s\n", stws_frame_header(&frame, "destination"), frame.body);
        if (result >= 0) drop(stream, used);
    } while (result == STWS_DONE);
    return result;
}

/* STOMP sees one stream of octets, wherever WebSocket messages begin or end. */
static int take_messages(struct buffer *wire, stws_ws *ws, struct buffer *stream,
                         stws_frame_state *state) {
    stws_ws_event event = {0};
    size_t used;
    int result;
    while ((result = stws_ws_parse(wire->data, wire->len, ws, &event, &used)) == STWS_DONE) {
        if (event.opcode == STWS_WS_TEXT || event.opcode == STWS_WS_BINARY) {
            if (event.len > sizeof stream->data - stream->len) return STWS_ERR_SPACE;
            memcpy(stream->data + stream->len, event.data, event.len);
            stream->len += event.len;
            if (take_frames(stream, state) < 0) return STWS_ERR_FRAME_COMMAND;
        }
        drop(wire, used);
    }
    if (result >= 0) drop(wire, used);
    return result;
}

static int read_messages(void) {
    static struct buffer wire, stream;
    stws_header headers[MAX_HEADERS];
    stws_frame_state state = {0};
    stws_ws ws = {0};
    ssize_t count;
    int result = 0;
    state.version = STWS_STOMP_12;
    state.headers = headers;
    state.max_headers = MAX_HEADERS;
    ws.check_utf8 = 1;
    while (result >= 0 &&
           (count = read(STDIN_FILENO, wire.data + wire.len, sizeof wire.data - wire.len)) > 0) {
        wire.len += (size_t)count;
        result = take_messages(&wire, &ws, &stream, &state);
    }
    return result;
}

int main(int argc, char **argv) {
    int writing = argc == 3 && strcmp(argv[1], "write") == 0;
    if (!writing && (argc != 2 || strcmp(argv[1], "read") != 0)) {
        fputs("usage: sans_io write DESTINATION < lines | sans_io read\n", stderr);
        return 2;
    }
    int result = writing ? write_lines(argv[2]) : read_messages();
    if (result < 0) fprintf(stderr, "sans_io: %s\n", stws_result_text(result));
    return result < 0;
}
