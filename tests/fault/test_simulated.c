/* test_simulated.c - what tests/sim has found in stomp_ws.h, each in as few steps as it needs. */
#include "scripted.h"

/* Fill the output, so that from now on the outbox takes what is sent. */
static void fill_output(struct peer *p) {
    static char bulk[2000];
    int i;
    memset(bulk, 'x', sizeof bulk);
    p->write_blocked = 1;
    for (i = 0; i < 4; i++) CHECK_INT(0, stws_send(p->client, "/queue/a", bulk, sizeof bulk));
}

/* An id is given anew while its UNSUBSCRIBE waits: the broker hears of the end first. */
static void test_a_reused_id_waits_for_its_unsubscribe(void) {
    stws_subscription mine = {0};
    stws_options o;
    struct peer p;
    int handle, again;
    peer_init(&p);
    o = peer_options(&p);
    o.tx_buffer = 4096;
    peer_start(&p, &o);
    mine.id = "mine";
    handle = stws_subscribe(p.client, "/topic/a", &mine);
    CHECK(peer_connect(&p));
    peer_forget(&p);
    fill_output(&p);
    CHECK_INT(0, stws_unsubscribe(p.client, handle));
    again = stws_subscribe(p.client, "/topic/b", &mine);
    CHECK(again > 0);
    CHECK_INT(0, stws_send(p.client, "/queue/a", "last", 4));
    p.write_blocked = 0;
    peer_turn(&p);
    CHECK_STR("SEND SEND SEND SEND UNSUBSCRIBE SUBSCRIBE SEND ", bytes_text(&p.order));
    CHECK_STR("/topic/b", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "destination"));
    peer_free(&p);
}

/* One that ends again before it was sent leaves no trace. */
static void test_a_reused_id_that_ends_at_once(void) {
    stws_subscription mine = {0};
    stws_options o;
    struct peer p;
    int handle;
    peer_init(&p);
    o = peer_options(&p);
    o.tx_buffer = 4096;
    peer_start(&p, &o);
    mine.id = "mine";
    handle = stws_subscribe(p.client, "/topic/a", &mine);
    CHECK(peer_connect(&p));
    peer_forget(&p);
    fill_output(&p);
    CHECK_INT(0, stws_unsubscribe(p.client, handle));
    handle = stws_subscribe(p.client, "/topic/b", &mine);
    CHECK_INT(0, stws_unsubscribe(p.client, handle));
    CHECK(stws_subscribe(p.client, "/topic/c", &mine) > 0);
    p.write_blocked = 0;
    peer_turn(&p);
    CHECK_STR("SEND SEND SEND SEND UNSUBSCRIBE SUBSCRIBE ", bytes_text(&p.order));
    CHECK_STR("/topic/c", sent_header(peer_sent(&p, "SUBSCRIBE", 0), "destination"));
    peer_free(&p);
}

/* ==== waits that were none: peer_free() sees the client spin ==== */

/* ==== times ==== */

/* ==== answers ==== */

/* ==== a flush that cannot read, and has nothing to write yet ==== */

int main(void) {
    RUN(test_a_reused_id_waits_for_its_unsubscribe);
    RUN(test_a_reused_id_that_ends_at_once);
    return test_report();
}
