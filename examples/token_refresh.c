/* How does each attempt to connect get a token that has not expired?

       token_refresh URL TOKEN_FILE DESTINATION

   before_connect runs before every attempt, the first one and each reconnect. Here it reads a file
   that somebody else keeps fresh; when there is no token yet it asks to be asked again, which keeps
   neither this thread nor the program waiting. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <stdio.h>
#include <string.h>

enum { ASK_AGAIN_MS = 200 };

/* What an attempt points at has to live until the next one. */
struct token {
    const char *path;
    char header[4096];
    const char *http_headers[3];
};

static const char scheme[] = "Bearer ";

static int take_token(stws *client, stws_attempt *attempt, void *user) {
    struct token *token = (struct token *)user;
    char *text = token->header + strlen(scheme);
    FILE *file = fopen(token->path, "r");
    (void)client;
    if (!file) return ASK_AGAIN_MS;
    size_t len = fread(text, 1, sizeof token->header - sizeof scheme, file);
    fclose(file);
    text[len] = 0;
    text[strcspn(text, "\r\n")] = 0;
    if (!text[0]) return ASK_AGAIN_MS;

    /* There are two places for it, and servers look at one: Spring Security at the HTTP upgrade, a
       ChannelInterceptor and the brokers at CONNECT. Leave out what yours does not ask for. */
    memcpy(token->header, scheme, strlen(scheme));
    token->http_headers[0] = "Authorization";
    token->http_headers[1] = token->header;
    attempt->http_headers = token->http_headers;
    attempt->passcode = text;
    return 0;
}

static void print(stws *client, const stws_message *message, void *user) {
    (void)client, (void)user;
    printf("%s\n", message->body);
    fflush(stdout);
}

static void explain(stws *client, const stws_event *event, void *user) {
    (void)user;
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s; trying again\n", stws_error_text(client));
}

int main(int argc, char **argv) {
    static struct token token;
    stws_options options = stws_options_default();
    if (argc != 4) {
        fputs("usage: token_refresh URL TOKEN_FILE DESTINATION\n", stderr);
        return 2;
    }
    token.path = argv[2];
    options.url = argv[1];
    options.login = "token";
    options.before_connect = take_token;
    options.on_message = print;
    options.on_event = explain;
    options.user = &token;

    stws *client = stws_create(&options);
    stws_subscribe(client, argv[3], NULL);
    int result = stws_run(client);
    if (result < 0) fprintf(stderr, "%s\n", stws_error_text(client));
    stws_destroy(client);
    return result < 0;
}
