/* How do I ask a service and wait for its answer, and how does a service answer?

       request_reply URL serve              answers each question with its length, until Ctrl-C
       request_reply URL ask QUESTION       asks one question, and prints the answer

   A question waits in a queue until a service takes it. stws_request adds two headers to the
   question: reply-to names the destination of the answer, and correlation-id tells this answer from
   others. The exit status of ask is 0 if an answer arrived. The service ends with 0 at Ctrl-C, and
   with 1 if its client failed. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MS = 10000 };

static const char questions[] = "/queue/questions";
static stws *client_to_stop; /* global, because the signal handler needs it */

static void stop(int signal_number) {
    (void)signal_number;
    stws_stop(client_to_stop);
}

static void explain(stws *client, const stws_event *event, void *user) {
    (void)user;
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s; trying again\n", stws_error_text(client));
}

/* Sends the answer to the destination that reply-to names, with the question's correlation-id. */
static void answer(stws *client, const stws_message *question, void *user) {
    const char *id = stws_header_get(question, "correlation-id");
    const char *const headers[] = {"correlation-id", id ? id : "", NULL};
    char text[32];
    stws_outgoing reply = {0};
    (void)user;
    reply.destination = stws_header_get(question, "reply-to");
    if (!reply.destination) return;
    snprintf(text, sizeof text, "%zu bytes", question->body_len);
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
    int result = stws_request(client, &question, &reply, ANSWER_MS);
    if (reply) puts(reply->body);
    stws_message_free(reply);
    return result;
}

int main(int argc, char **argv) {
    int serves = argc == 3 && strcmp(argv[2], "serve") == 0;
    if (!serves && (argc != 4 || strcmp(argv[2], "ask") != 0)) {
        fputs("usage: request_reply URL serve | ask QUESTION\n", stderr);
        return 2;
    }
    stws_options options = stws_options_default();
    options.url = argv[1];
    options.on_event = explain;
    stws *client = client_to_stop = stws_create(&options);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    int result = serves ? serve(client) : ask(client, argv[3]);
    if (result < 0) fprintf(stderr, "%s: %s\n", stws_result_text(result), stws_error_text(client));
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    stws_destroy(client);
    return result < 0;
}
