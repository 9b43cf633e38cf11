/* How do I ask a service and wait for its answer, and how does a service answer?

       request_reply URL serve              answers each question with its length
       request_reply URL ask QUESTION       asks, and prints the answer

   The question waits in a queue until a service takes it. Where the answer goes to stands in the
   question: stws_request adds a reply-to, and a correlation-id by which it knows its own answer
   among others. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <stdio.h>
#include <string.h>

enum { ANSWER_WITHIN_MS = 10000 };

static const char questions[] = "/queue/questions";

/* A service sends its answer where the question asks for it, and repeats the correlation-id. */
static void answer(stws *client, const stws_message *question, void *user) {
    const char *reply_to = stws_header_get(question, "reply-to");
    const char *id = stws_header_get(question, "correlation-id");
    const char *const headers[] = {"correlation-id", id ? id : "", NULL};
    char text[32];
    stws_outgoing reply = {0};
    (void)user;
    if (!reply_to) return;
    snprintf(text, sizeof text, "%zu octets", question->body_len);
    reply.destination = reply_to;
    reply.body = text;
    reply.body_len = strlen(text);
    reply.headers = headers;
    stws_send_ex(client, &reply);
}

static int serve(stws *client) {
    stws_subscribe_options subscription = {0};
    subscription.on_message = answer;
    stws_subscribe(client, questions, &subscription);
    return stws_run(client);
}

static int ask(stws *client, const char *text) {
    stws_outgoing question = {0};
    stws_message *reply = NULL;
    question.destination = questions;
    question.body = text;
    question.body_len = strlen(text);
    int result = stws_request(client, &question, &reply, ANSWER_WITHIN_MS);
    if (reply) puts(reply->body);
    stws_message_free(reply);
    return result;
}

static void explain(stws *client, const stws_event *event, void *user) {
    (void)user;
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s; trying again\n", stws_error_text(client));
}

int main(int argc, char **argv) {
    int serving = argc == 3 && strcmp(argv[2], "serve") == 0;
    if (!serving && (argc != 4 || strcmp(argv[2], "ask") != 0)) {
        fputs("usage: request_reply URL serve | ask QUESTION\n", stderr);
        return 2;
    }
    stws_options options = stws_options_default();
    options.url = argv[1];
    options.on_event = explain;
    stws *client = stws_create(&options);
    int result = serving ? serve(client) : ask(client, argv[3]);
    if (result < 0) fprintf(stderr, "%s: %s\n", stws_result_text(result), stws_error_text(client));
    stws_destroy(client);
    return result < 0;
}
