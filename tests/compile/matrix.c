/* Compiled with every set of configuration macros, as C and as C++. It prints the size of each
   public struct and the number of each result, which no macro may change, and uses the library a
   little. structs.h is made by run.sh and holds a line SHOW(name) for each struct that there is. */
#include "hooks.h"
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"
#include "tests/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WITH_MEMORY_HOOKS
static int blocks_made, blocks_left;

void *hook_malloc(size_t size) {
    blocks_made++;
    blocks_left++;
    return malloc(size);
}

void hook_free(void *block) {
    if (block) blocks_left--;
    free(block);
}
#endif

#ifdef WITH_ASSERT_HOOK
void hook_failed(const char *condition) {
    fprintf(stderr, "assertion failed: %s\n", condition);
    exit(1);
}
#endif

static int wrong(const char *what) {
    fprintf(stderr, "wrong: %s\n", what);
    return 1;
}

static size_t build_frame(char *buf, size_t cap, const char *destination, const char *body) {
    stws_header header;
    stws_frame frame;
    size_t len = 0;
    memset(&header, 0, sizeof header);
    memset(&frame, 0, sizeof frame);
    header.name = "destination";
    header.value = destination;
    frame.command_id = STWS_COMMAND_SEND;
    frame.headers = &header;
    frame.header_count = 1;
    frame.body = body;
    frame.body_len = strlen(body);
    return stws_frame_build(buf, cap, STWS_STOMP_12, &frame, &len) == STWS_OK ? len : 0;
}

static int parse_frame(char *buf, size_t len, stws_header *table, size_t max_headers,
                       stws_frame *frame) {
    stws_frame_state state;
    size_t used;
    memset(&state, 0, sizeof state);
    state.version = STWS_STOMP_12;
    state.headers = table;
    state.max_headers = max_headers;
    return stws_frame_parse(buf, len, &state, frame, &used) == STWS_DONE && used == len;
}

/* The payload of the one masked frame in buf, as a server sees it, or NULL. */
static char *unwrap(char *buf, size_t len, size_t payload_len) {
    stws_ws ws;
    stws_ws_event event;
    size_t used;
    memset(&ws, 0, sizeof ws);
    ws.server = 1;
    ws.check_utf8 = 1;
    if (stws_ws_parse(buf, len, &ws, &event, &used) != STWS_DONE) return NULL;
    return used == len && event.last && event.len == payload_len ? event.data : NULL;
}

/* A frame comes out of the parser as it went into the builder, through a masked WebSocket frame. */
static int codecs_are_wrong(void) {
    static const unsigned char key[4] = {0x12, 0x34, 0x56, 0x78};
    static const char body[] = "longer than a vector register, so that whole vectors as well as\n"
                               "the bytes behind them are masked and looked through\n";
    char plain[512], wire[512], *payload;
    stws_header table[4];
    stws_frame frame;
    size_t len = build_frame(plain, sizeof plain, "/topic/a:b", body), wire_len;
    if (len == 0) return wrong("frame_build");
    if (stws_ws_build(wire, sizeof wire, STWS_WS_TEXT, 1, plain, len, key, &wire_len) != STWS_OK)
        return wrong("ws_build");
    payload = unwrap(wire, wire_len, len);
    if (!payload) return wrong("ws_parse");
    if (!parse_frame(payload, len, table, 4, &frame)) return wrong("frame_parse");
    if (frame.command_id != STWS_COMMAND_SEND) return wrong("command");
    if (strcmp(frame.body, body) != 0) return wrong("body");
    if (strcmp(stws_frame_header(&frame, "destination"), "/topic/a:b") != 0) return wrong("header");
    return 0;
}

#ifndef STOMP_WS_NO_IO
/* Without TLS a wss:// URL is an error; its sentence is the short one of its code with NO_TEXTS. */
static int text_is_wrong(stws_options options) {
    stws_event event;
    stws *client;
    int plain;
    options.url = "wss://127.0.0.1:1/";
    client = stws_create(&options);
    if (!client || stws_next(client, &event, 0) != 1) return wrong("no event for wss://");
    plain = strcmp(stws_error_text(client), stws_result_text(STWS_ERR_TLS)) == 0;
    stws_destroy(client);
#ifdef STOMP_WS_NO_TEXTS
    return !plain && wrong("NO_TEXTS");
#else
    return plain && wrong("the sentence");
#endif
}

static int proxy_is_wrong(stws_options options) {
    int taken;
    options.proxy = "http://127.0.0.1:1";
    taken = stws_size(&options) != 0;
#ifdef STOMP_WS_NO_PROXY
    return taken && wrong("NO_PROXY");
#else
    return !taken && wrong("the proxy");
#endif
}

/* A client is made, takes a subscription and goes, all without a connection. */
static int client_is_wrong(void) {
    stws_options options = stws_options_default();
    stws *client;
    options.url = "ws://127.0.0.1:1/";
#ifdef STOMP_WS_NO_THREADS
    options.single_thread = 1; /* without it a client refuses to run, and says so */
#endif
    client = stws_create(&options);
    if (!client) return wrong("create");
    if (stws_subscribe(client, "/topic/a", NULL) <= 0) return wrong("subscribe");
    if (stws_state(client) != STWS_IDLE) return wrong("state");
    stws_destroy(client);
    if (text_is_wrong(options) || proxy_is_wrong(options)) return 1;
#ifdef WITH_MEMORY_HOOKS
    if (blocks_made == 0 || blocks_left != 0) return wrong("the memory hooks");
#endif
    return 0;
}
#else
static int client_is_wrong(void) {
    return 0;
}
#endif

static int version_is_wrong(void) {
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", STOMP_WS_VERSION_MAJOR, STOMP_WS_VERSION_MINOR,
             STOMP_WS_VERSION_PATCH);
    return strcmp(text, STOMP_WS_VERSION) != 0 && wrong("version");
}

#define SHOW(name) printf("%s %zu\n", #name, sizeof(name));
#define SHOW_RESULT(name, number) printf("%s %d\n", #name, name);

int main(void) {
    EVERY_RESULT(SHOW_RESULT)
#include "structs.h"
    return version_is_wrong() || codecs_are_wrong() || client_is_wrong();
}
