/* test_attempts.c - tests which URL an attempt uses, and how long it waits for the answer to the
   upgrade. The server is scripted. */
#include "scripted.h"

/* The server accepts the connection and never answers the upgrade. */
static void test_handshake_timeout(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.automatic = 0;
    o = peer_options(&p);
    o.handshake_timeout_ms = 700;
    peer_start(&p, &o);
    peer_turn(&p);
    CHECK_INT(STWS_UPGRADING, stws_state(p.client));
    peer_advance(&p, 600);
    CHECK_INT(STWS_UPGRADING, stws_state(p.client));
    peer_advance(&p, 200);
    CHECK_INT(STWS_ERR_TIMEOUT, p.result);
    CHECK_HAS("handshake_timeout_ms", bytes_text(&p.why));
    peer_free(&p);
}

static int first_port;

static int note_url(stws *client, stws_attempt *attempt, void *user) {
    (void)client, (void)user;
    if (!first_port) first_port = attempt->url[strlen("ws://server:1")] - '0';
    return 0;
}

static int first_choice(int shuffle, unsigned long long seed) {
    static const char *const urls[] = {"ws://server:10/", "ws://server:11/", "ws://server:12/",
                                       "ws://server:13/", NULL};
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.seed = seed;
    o = peer_options(&p);
    o.url = NULL;
    o.urls = urls;
    o.shuffle_urls = shuffle;
    o.before_connect = note_url;
    first_port = 0;
    peer_start(&p, &o);
    peer_turn(&p);
    peer_free(&p);
    return first_port;
}

/* Without shuffling the first URL is always first. With shuffling each URL is first for some
   seed. */
static void test_which_url_comes_first(void) {
    int seen[4] = {0, 0, 0, 0};
    unsigned long long seed;
    for (seed = 1; seed < 60; seed++) {
        CHECK_INT(0, first_choice(0, seed));
        seen[first_choice(1, seed) & 3]++;
    }
    CHECK(seen[0] && seen[1] && seen[2] && seen[3]);
}

int main(void) {
    RUN(test_handshake_timeout);
    RUN(test_which_url_comes_first);
    return test_report();
}
