/* calls_threads.h - the threaded mode of fuzz_calls.c. Three real threads run in real time, and
   each takes its own program from the input. One thread drives. The others make calls and also act
   as the server. What happens differs from run to run, and ThreadSanitizer finds the races.

   Nothing may hang. A watchdog ends the program in that case, and shows the stack of the driving
   thread. */
#ifndef CALLS_THREADS_H
#define CALLS_THREADS_H

#include <fcntl.h>

enum { DRIVER = 1, MOST_SECONDS = 8, THREAD_RECORDS = 60 };

static struct watchdog {
    pthread_mutex_t mutex;
    pthread_t thread, driver;
    int started, seconds; /* seconds that the current input has run; -1: no input runs */
} watchdog = {PTHREAD_MUTEX_INITIALIZER, 0, 0, 0, -1};

static void *watch(void *argument) {
    (void)argument;
    for (;;) {
        (poll)(NULL, 0, 1000);
        (pthread_mutex_lock)(&watchdog.mutex);
        if (watchdog.seconds >= 0 && ++watchdog.seconds > MOST_SECONDS) {
            int i;
            fprintf(stderr, "not true: the threads come to an end\n");
            for (i = 0; i < ACTORS; i++)
                if (calls_world->actors[i].doing)
                    fprintf(stderr, "thread %d is in %s\n", i, calls_world->actors[i].doing);
            pthread_kill(watchdog.driver, SIGABRT);
            (poll)(NULL, 0, 3000);
            abort();
        }
        (pthread_mutex_unlock)(&watchdog.mutex);
    }
    return NULL;
}

static void watch_input(int seconds) {
    (pthread_mutex_lock)(&watchdog.mutex);
    watchdog.seconds = seconds;
    if (!watchdog.started) {
        watchdog.started = 1;
        if ((pthread_create)(&watchdog.thread, NULL, watch, NULL) != 0) abort();
        pthread_detach(watchdog.thread);
    }
    (pthread_mutex_unlock)(&watchdog.mutex);
}

/* Real time is precious, so the times are short. */
static void set_quick(stws_options *o) {
    o->reconnect_min_ms = 1;
    o->reconnect_max_ms = 5;
    o->connect_timeout_ms = o->handshake_timeout_ms = o->connected_timeout_ms = 30;
    o->receipt_timeout_ms = o->close_timeout_ms = o->write_timeout_ms = 20;
    o->outbox_block_ms = 5;
    if (o->max_session_ms) o->max_session_ms = 5;
}

static void *drive_thread(void *argument) {
    struct actor *a = (struct actor *)argument;
    struct world *w = a->w;
    int n = 0;
    calls_actor = a;
    (pthread_mutex_lock)(&watchdog.mutex);
    watchdog.driver = pthread_self();
    (pthread_mutex_unlock)(&watchdog.mutex);
    while (a->in->left > 0 && !w->ended && n++ < THREAD_RECORDS) act_record(a);
    while (!w->ended) {
        stws_event e = {0};
        int result;
        if (w->next_driven) {
            drive_begin(a, "stws_next");
            result = stws_next(w->peer.client, &e, 100);
            if (result == 1) told(a, &e, 1);
            drive_end(a, result, result < 0);
        } else {
            act_run(a);
        }
    }
    return NULL;
}

static void *talk_thread(void *argument) {
    struct actor *a = (struct actor *)argument;
    int n = 0;
    calls_actor = a;
    while (a->in->left > 0 && n++ < THREAD_RECORDS) act_record(a);
    return NULL;
}

static void end_threads(struct world *w, int choice) {
    struct actor *main_actor = &w->actors[0];
    set_heal(main_actor);
    world_enter(w);
    w->stopped = choice & 1 ? 1 : w->stopped;
    w->asked = 1;
    world_ring(w);
    world_leave(w);
    if (choice & 1)
        stws_stop(w->peer.client);
    else
        called(stws_disconnect(w->peer.client, 30));
    if (w->queue) stws_queue_close(w->queue);
}

static void run_threads(struct world *w) {
    static struct fuzz_input parts[ACTORS];
    int i, choice = (int)fuzz_byte(&w->in);
    size_t each = w->in.left / 3;
    for (i = 0; i < 2; i++)
        if (fcntl(w->peer.pipe[i], F_SETFL, O_NONBLOCK) != 0) abort();
    watch_input(0);
    for (i = 0; i < ACTORS; i++) {
        parts[i].data = w->in.data + (size_t)(i > 0 ? i - 1 : 0) * each;
        parts[i].left = i > 0 ? each : 0;
        w->actors[i].in = &parts[i];
    }
    for (i = DRIVER; i < ACTORS; i++)
        if ((pthread_create)(&w->actors[i].thread, NULL, i == DRIVER ? drive_thread : talk_thread,
                             &w->actors[i]) != 0)
            abort();
    for (i = DRIVER + 1; i < ACTORS; i++) (pthread_join)(w->actors[i].thread, NULL);
    end_threads(w, choice);
    (pthread_join)(w->actors[DRIVER].thread, NULL);
    w->threaded = 0;
    if (w->ended) check_receipts(w);
    for (i = DRIVER; i < ACTORS; i++) drain_queue(w, &w->actors[i]);
    drain_queue(w, &w->actors[0]);
    world_free(w);
    watch_input(-1);
}

#endif
