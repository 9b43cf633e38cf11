/* How do several workers share a queue, so that each job is done even when a worker dies over it?

       work_queue URL QUEUE PROGRAM [ARGUMENT]...

   Each message is a job: PROGRAM finds its body on stdin, and ends with 0 when the job is done.
   Start as many of these as you like. With client-individual acks the broker keeps a job until its
   ACK: a job whose worker dies goes to another one, and what is done twice at worst is that one. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Run the program with the body as its input: whether it ended well. */
static int work(char **program, const stws_message *job) {
    FILE *input = tmpfile();
    int status = -1;
    if (!input) return 0;
    fwrite(job->body, 1, job->body_len, input);
    rewind(input);
    pid_t child = fork();
    if (child == 0) {
        if (dup2(fileno(input), STDIN_FILENO) == STDIN_FILENO) execvp(program[0], program);
        _exit(127);
    }
    if (child > 0) waitpid(child, &status, 0);
    fclose(input);
    return status == 0;
}

static void explain(stws *client, const stws_event *event) {
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s; trying again\n", stws_error_text(client));
}

int main(int argc, char **argv) {
    stws_options options = stws_options_default();
    stws_subscribe_options subscription = {0};
    stws_event event;
    int result;
    if (argc < 4) {
        fputs("usage: work_queue URL QUEUE PROGRAM [ARGUMENT]...\n", stderr);
        return 2;
    }
    options.url = argv[1];
    options.heartbeat_out_ms = STWS_OFF; /* we would not keep the promise while a program runs */
    subscription.ack = STWS_ACK_CLIENT_INDIVIDUAL;
    subscription.prefetch = 1; /* one job at a time: the others are for who has nothing to do */

    stws *client = stws_create(&options);
    stws_subscribe(client, argv[2], &subscription);
    while ((result = stws_next(client, &event, -1)) >= 0) {
        if (result > 0) explain(client, &event);
        if (result == 0 || event.type != STWS_EVENT_MESSAGE) continue;
        /* An ACK from before a reconnect is dropped: the broker gives that job out again. */
        if (work(argv + 3, event.message))
            stws_ack(client, event.message);
        else
            stws_nack(client, event.message);
    }
    fprintf(stderr, "%s\n", stws_error_text(client));
    stws_destroy(client);
    return 1;
}
