/* How does each attempt to connect get a token that has not expired?

       token_refresh URL TOKEN_FILE DESTINATION

   The client calls before_connect before each attempt: the first one, and each reconnect. Here it
   reads the token from a file that another program keeps fresh. If the file has no token yet, it
   asks the client to call again after 200 ms; nothing blocks meanwhile. The program prints the
   messages of DESTINATION until Ctrl-C. Its exit status is 0 then, and 1 if the client failed. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { CALL_AGAIN_MS = 200 };

/* before_connect sets pointers into this. They must stay valid until its next call. */
struct token {
    const char *path;
    char header[4096]; /* "Bearer " and the token */
    const char *http_headers[3];
};

static const char scheme[] = "Bearer ";
static stws *client_to_stop; /* global, because the signal handler needs it */

static void stop(int signal_number) {
    (void)signal_number;
    stws_stop(client_to_stop);
}

static int read_token(stws *client, stws_attempt *attempt, void *user) {
    struct token *token = (struct token *)user;
    char *text = token->header + strlen(scheme);
    FILE *file = fopen(token->path, "r");
    (void)client;
    if (!file) return CALL_AGAIN_MS;
    size_t len = fread(text, 1, sizeof token->header - sizeof scheme, file);
    fclose(file);
    text[len] = 0;
    text[strcspn(text, "\r\n")] = 0;
    if (!text[0]) return CALL_AGAIN_MS;

    /* A server looks for the token in one of two places: Spring Security in the HTTP upgrade; a
       ChannelInterceptor, and the brokers, in CONNECT. Remove the one that yours does not need. */
    memcpy(token->header, scheme, strlen(scheme));
    token->http_headers[0] = "Authorization";
    token->http_headers[1] = token->header;
    attempt->http_headers = token->http_headers;
    attempt->passcode = text;
    return 0;
}

static void print(stws *client, const stws_message *message, void *user) {
    (void)client, (void)user;
    puts(message->body);
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
    options.before_connect = read_token;
    options.on_message = print;
    options.on_event = explain;
    options.user = &token;

    stws *client = client_to_stop = stws_create(&options);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    stws_subscribe(client, argv[3], NULL);
    int result = stws_run(client);
    if (result < 0) fprintf(stderr, "%s\n", stws_error_text(client));
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    stws_destroy(client);
    return result < 0;
}
