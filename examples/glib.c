/* How does a client live in GLib's main loop, as in a GTK program?

       glib URL [TICKS]

   A client becomes a GSource: before it waits the loop asks `prepare` what for and how long, and
   afterwards it has the client take its step. Beside it, a GLib timer of the program's own
   publishes; the client prints what comes back. (Debian: libglib2.0-dev.) */
#define STOMP_WS_IMPLEMENTATION
#include "../stomp_ws.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FDS = 3, TICK_MS = 50 };

/* ==== a client as a source ==== */

typedef struct client_source {
    GSource source; /* GLib's part comes first */
    stws *client;
    int *result; /* of the last step */
    gpointer tags[MAX_FDS];
    int count;
} client_source;

static GIOCondition to_glib(int wants) {
    int conditions = G_IO_ERR | G_IO_HUP;
    if (wants & STWS_WANT_READ) conditions |= G_IO_IN;
    if (wants & STWS_WANT_WRITE) conditions |= G_IO_OUT;
    return (GIOCondition)conditions;
}

/* Descriptors change with each reconnect, and what they wait for more often: watch them anew. */
static gboolean prepare(GSource *source, gint *timeout) {
    client_source *s = (client_source *)source;
    stws_fd fds[MAX_FDS];
    long long deadline = stws_deadline(s->client);
    while (s->count > 0) g_source_remove_unix_fd(source, s->tags[--s->count]);
    for (int n = stws_fds(s->client, fds, MAX_FDS); s->count < n; s->count++)
        s->tags[s->count] =
            g_source_add_unix_fd(source, fds[s->count].fd, to_glib(fds[s->count].wants));
    *timeout = deadline > G_MAXINT ? G_MAXINT : (gint)deadline;
    return deadline == 0;
}

static gboolean check(GSource *source) {
    client_source *s = (client_source *)source;
    for (int i = 0; i < s->count; i++)
        if (g_source_query_unix_fd(source, s->tags[i])) return TRUE;
    return stws_deadline(s->client) == 0;
}

static gboolean dispatch(GSource *source, GSourceFunc at_end, gpointer user) {
    client_source *s = (client_source *)source;
    *s->result = stws_step(s->client);
    if (*s->result >= 0) return G_SOURCE_CONTINUE;
    return at_end(user);
}

/* Let the default main loop drive the client; at_end is called when it has ended. */
static void embed(stws *client, int *result, GSourceFunc at_end, gpointer user) {
    static GSourceFuncs functions = {prepare, check, dispatch, NULL, NULL, NULL};
    GSource *source = g_source_new(&functions, sizeof(client_source));
    ((client_source *)source)->client = client;
    ((client_source *)source)->result = result;
    g_source_set_callback(source, at_end, user, NULL);
    g_source_attach(source, NULL);
    g_source_unref(source);
}

/* ==== the program ==== */

static const char destination[] = "/topic/ticks";
static int ticks = 3, ticked, printed;

static void print(stws *client, const stws_message *message, void *user) {
    (void)user;
    puts(message->body);
    if (++printed == ticks) stws_disconnect(client, -1);
}

static gboolean on_tick(gpointer user) {
    char text[32];
    snprintf(text, sizeof text, "tick %d", ++ticked);
    stws_send_text((stws *)user, destination, text);
    return ticked < ticks; /* FALSE: not again */
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
    stws *client = stws_create(&options);
    stws_subscribe(client, destination, NULL);

    GMainLoop *loop = g_main_loop_new(NULL, FALSE);
    embed(client, &result, quit, loop);
    guint timer = g_timeout_add(TICK_MS, on_tick, client);
    g_main_loop_run(loop);
    if (ticked < ticks) g_source_remove(timer);
    g_main_loop_unref(loop);

    if (result != STWS_CLOSED) fprintf(stderr, "%s\n", stws_error_text(client));
    stws_destroy(client);
    return result != STWS_CLOSED;
}
