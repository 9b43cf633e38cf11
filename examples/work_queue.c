/* How do several workers share a queue, so that each job is done even if a worker dies?

       work_queue URL QUEUE PROGRAM [ARGUMENT]...

   Each message is a job. PROGRAM reads the body from stdin, and exits with 0 if the job is done.
   Start as many workers as you like. With client-individual acknowledgement the broker keeps a job
   until its ACK. If a worker dies, the broker gives its job to another worker, so a job may be done
   twice. At Ctrl-C the worker finishes and acknowledges its job, then ends with exit status 0. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static stws *client_to_stop; /* global, because the signal handler needs it */

static void stop(int signal_number) {
    (void)signal_number;
    stws_stop(client_to_stop);
}

/* Runs the program with the body as its stdin. Returns 1 if it exits with 0, else 0. */
static int work(char **program, const stws_message *job) {
    FILE *input = tmpfile();
    int status = -1;
    if (!input) return 0;
    fwrite(job->body, 1, job->body_len, input);
    rewind(input);
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0); /* Ctrl-C reaches only the worker */
        if (dup2(fileno(input), STDIN_FILENO) == STDIN_FILENO) execvp(program[0], program);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    fclose(input);
    return status == 0;
}

static void explain(const stws_event *event) {
    if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
        fprintf(stderr, "%s; trying again\n", event->text);
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
    options.heartbeat_out_ms = STWS_OFF; /* none can be sent while a program runs */
    subscription.ack = STWS_ACK_CLIENT_INDIVIDUAL;
    subscription.prefetch = 1; /* one job at a time; the other jobs go to idle workers */

    stws *client = client_to_stop = stws_create(&options);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    stws_subscribe(client, argv[2], &subscription);
    while ((result = stws_next(client, &event, -1)) > 0) {
        explain(&event);
        if (event.type != STWS_EVENT_MESSAGE) continue;
        /* If the session ended during the job, no ACK is sent. The broker delivers the job again. */
        if (work(argv + 3, event.message))
            stws_ack(client, event.message);
        else
            stws_nack(client, event.message);
    }
    if (result != STWS_CLOSED) fprintf(stderr, "%s\n", stws_error_text(client));
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    stws_destroy(client);
    return result != STWS_CLOSED;
}
