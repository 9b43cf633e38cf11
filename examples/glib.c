/* How does a client run in GLib's main loop, as in a GTK program?

       glib URL [TICKS]

   A client becomes a GSource. Before the loop waits, it calls prepare(), which sets the descriptors
   to wait for and the time. After the wait it calls dispatch(), which steps the client. A GLib
   timer of the program publishes TICKS messages (default: 3), and the client prints them. Then, or
   at Ctrl-C, the client ends, its source calls quit(), and the program ends. Its exit status is 0
   if the client did not fail. To build it on Debian, install libglib2.0-dev. */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FDS = 3, TICK_MS = 50 };

/* ==== A client as a source ==== */

typedef struct client_source {
    GSource source; /* GLib requires it to be the first member */
    stws *client;
    int *result;            /* set to the result of the last step */
    gpointer tags[MAX_FDS]; /* GLib's handles of the watched descriptors */
    int count;              /* number of watched descriptors */
} client_source;

static GIOCondition to_glib(int wants) {
    int conditions = G_IO_ERR | G_IO_HUP;
    if (wants & STWS_WANT_READ) conditions |= G_IO_IN;
    if (wants & STWS_WANT_WRITE) conditions |= G_IO_OUT;
    return (GIOCondition)conditions;
}

/* Descriptors change at each reconnect, and the wanted events change more often. So this function
   removes all descriptors from the source, and adds the current ones. */
static gboolean prepare(GSource *source, gint *timeout) {
    client_source *self = (client_source *)source;
    stws_fd fds[MAX_FDS];
    long long deadline = stws_deadline(self->client);
    while (self->count > 0) g_source_remove_unix_fd(source, self->tags[--self->count]);
    for (int n = stws_fds(self->client, fds, MAX_FDS); self->count < n; self->count++)
        self->tags[self->count] =
            g_source_add_unix_fd(source, fds[self->count].fd, to_glib(fds[self->count].wants));
    *timeout = deadline > G_MAXINT ? G_MAXINT : (gint)deadline;
    return deadline == 0;
}

static gboolean check(GSource *source) {
    client_source *self = (client_source *)source;
    for (int i = 0; i < self->count; i++)
        if (g_source_query_unix_fd(source, self->tags[i])) return TRUE;
    return stws_deadline(self->client) == 0;
}

static gboolean dispatch(GSource *source, GSourceFunc at_end, gpointer user) {
    client_source *self = (client_source *)source;
    *self->result = stws_step(self->client);
    if (*self->result >= 0) return G_SOURCE_CONTINUE;
    return at_end(user);
}

/* Makes the default main loop drive the client, and call at_end when the client has ended. */
static void embed(stws *client, int *result, GSourceFunc at_end, gpointer user) {
    static GSourceFuncs functions = {prepare, check, dispatch, NULL, NULL, NULL};
    GSource *source = g_source_new(&functions, sizeof(client_source));
    ((client_source *)source)->client = client;
    ((client_source *)source)->result = result;
    g_source_set_callback(source, at_end, user, NULL);
    g_source_attach(source, NULL);
    g_source_unref(source);
}

/* ==== The program ==== */

static const char destination[] = "/topic/ticks";
static int ticks = 3, published, printed;
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

static void print(stws *client, const stws_message *message, void *user) {
    (void)user;
    puts(message->body);
    if (++printed == ticks) stws_disconnect(client, -1);
}

static gboolean on_tick(gpointer user) {
    char text[32];
    snprintf(text, sizeof text, "tick %d", ++published);
    stws_send_text((stws *)user, destination, text);
    return published < ticks; /* FALSE: GLib removes the timer */
}

static gboolean quit(gpointer loop) {
    g_main_loop_quit((GMainLoop *)loop);
    return G_SOURCE_REMOVE;
}

int main(int argc, char **argv) {
    stws_options options = stws_options_default();
    int result = 0;
    if (argc < 2) {
        fputs("usage: glib URL [TICKS]\n", stderr);
        return 2;
    }
    if (argc > 2) ticks = atoi(argv[2]);
    options.url = argv[1];
    options.on_message = print;
    options.on_event = explain;
    stws *client = client_to_stop = stws_create(&options);
    stws_subscribe(client, destination, NULL);
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    GMainLoop *loop = g_main_loop_new(NULL, FALSE);
    embed(client, &result, quit, loop);
    guint timer = g_timeout_add(TICK_MS, on_tick, client);
    g_main_loop_run(loop);
    if (published < ticks) g_source_remove(timer);
    g_main_loop_unref(loop);

    if (result != STWS_CLOSED) fprintf(stderr, "%s\n", stws_error_text(client));
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    stws_destroy(client);
    return result != STWS_CLOSED;
}
