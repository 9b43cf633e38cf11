/* How do I use the codecs alone, with my own I/O, without a socket?

       sans_io write DESTINATION < lines | sans_io read

   The writer encodes each line as a STOMP MESSAGE in a WebSocket frame, as a server does. The reader
   decodes them from the pipe, which delivers them in pieces of any size, and prints them. With
   STOMP_WS_NO_IO the header has no client, no socket, no thread and no allocation: its functions
   only turn bytes into bytes. Both programs end at the end of their input. The exit status is 1 if
   the input breaks a rule of WebSocket or STOMP. */
#define STOMP_WS_IMPLEMENTATION
#define STOMP_WS_NO_IO
#include "../stomp_ws.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LINE = 1024, MAX_FRAME = 4096, MAX_HEADERS = 8 };

/* ==== Write: from a line to a STOMP frame to a WebSocket frame ==== */

static int write_line(const char *destination, const char *line) {
    const stws_header headers[] = {
        {"destination", destination, 0, 0}, {"subscription", "0", 0, 0}, {"message-id", "0", 0, 0}};
    char stomp[MAX_FRAME], websocket[MAX_FRAME];
    size_t stomp_len, websocket_len;
    stws_frame frame = {0};
    frame.command_id = STWS_COMMAND_MESSAGE;
    frame.headers = headers;
    frame.header_count = 3;
    frame.body = line;
    frame.body_len = strlen(line);
    int result = stws_frame_build(stomp, sizeof stomp, STWS_STOMP_12, &frame, &stomp_len);
    /* A client must mask its frames: instead of NULL it passes four bytes from a CSPRNG. */
    if (result >= 0)
        result = stws_ws_build(websocket, sizeof websocket, STWS_WS_TEXT, 1, stomp, stomp_len, NULL,
                               &websocket_len);
    if (result >= 0) fwrite(websocket, 1, websocket_len, stdout);
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

/* ==== Read: from bytes to WebSocket payload to STOMP frames ==== */

struct buffer {
    char data[MAX_FRAME];
    size_t len;
};

/* Removes bytes from the front of a buffer. */
static void drop(struct buffer *buffer, size_t count) {
    memmove(buffer->data, buffer->data + count, buffer->len - count);
    buffer->len -= count;
}

/* Prints the complete frames. The rest of the stream is the beginning of the next frame. */
static int print_frames(struct buffer *stream, stws_frame_state *state) {
    stws_frame frame;
    size_t used;
    int result;
    do {
        result = stws_frame_parse(stream->data, stream->len, state, &frame, &used);
        if (result == STWS_DONE) {
            const char *destination = stws_frame_header(&frame, "destination");
            printf("%s: %s\n", destination ? destination : "", frame.body);
        }
        if (result >= 0) drop(stream, used);
    } while (result == STWS_DONE);
    return result;
}

/* Appends the payload of each WebSocket message to the STOMP stream. For STOMP it is one stream of
   bytes: a STOMP frame may begin and end anywhere in a WebSocket message. */
static int take_messages(struct buffer *wire, stws_ws *ws, struct buffer *stream,
                         stws_frame_state *state) {
    stws_ws_event event;
    size_t used;
    int result;
    while ((result = stws_ws_parse(wire->data, wire->len, ws, &event, &used)) == STWS_DONE) {
        if (event.opcode == STWS_WS_TEXT || event.opcode == STWS_WS_BINARY) {
            if (event.len > sizeof stream->data - stream->len) return STWS_ERR_SPACE;
            memcpy(stream->data + stream->len, event.data, event.len);
            stream->len += event.len;
            int parsed = print_frames(stream, state);
            if (parsed < 0) return parsed;
        }
        drop(wire, used);
    }
    if (result >= 0) drop(wire, used);
    return result;
}

static int read_messages(void) {
    static struct buffer wire, stream;
    stws_header headers[MAX_HEADERS];
    stws_frame_state state;
    stws_ws ws = {0};
    ssize_t count;
    int result = 0;
    memset(&state, 0, sizeof state);
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
