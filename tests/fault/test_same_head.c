/* test_same_head.c - tests the encoded head of a SEND that is kept for the next SEND to the same
   destination. The wire bytes must be exactly those that stws_frame_build makes of the same
   message, whatever the order of destinations, content types, bodies and flags. */
#include "scripted.h"

static const char RABBITMQ[] = "CONNECTED\nversion:1.2\nserver:RabbitMQ/3.10.8\nheart-beat:0,0\n\n";
static const char ACTIVEMQ[] = "CONNECTED\nversion:1.1\nserver:ActiveMQ/5.18.6\nheart-beat:0,0\n\n";
static const char OLD[] = "CONNECTED\nserver:Unheard/1\n\n";

/* Some destinations are prefixes of others, some need escapes, and one looks like the escaped form
   of another. */
static const char *const destinations[] = {
    "/q", "/queue/a", "/queue/ab", "/queue/b", "/q\xC3\xA4", "/a:b", "/a\\cb", "/a\\c", "/\xFF"};
static const char *const types[] = {NULL,  NULL, "text/plain",    "text/pl",
                                    "a:b", "",   "text/plain;x=1"};
static const char *const more[] = {"priority", "4", "content-type", "text/x", NULL};
static char bodies[5][10000];
static const size_t body_lens[] = {0, 1, 64, 300, 9000};

enum { DESTINATIONS = 9, TYPES = 7, BODIES = 5, LENS = 5, ROUNDS = 4000 };

static unsigned chance(unsigned below) {
    static unsigned long long seed = 1;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static void fill_bodies(void) {
    int i;
    for (i = 0; i < BODIES; i++) memset(bodies[i], 'a' + i, sizeof bodies[i]);
    memcpy(bodies[1], "\xE2\x82\xAC", 3); /* cut to one byte, it is not UTF-8 */
    bodies[2][0] = '\xFF';
    bodies[3][63] = 0;
}

static void add(stws_frame *frame, stws_header *headers, const char *name, const char *value) {
    stws_header *h = &headers[frame->header_count++];
    h->name = name;
    h->value = value;
    h->name_len = strlen(name);
    h->value_len = strlen(value);
}

/* The content type that the manual states for such a message. */
static const char *expected_type(const stws_outgoing *m) {
    if (m->content_type || m->headers || stws_utf8_valid(m->body, m->body_len))
        return m->content_type;
    return "application/octet-stream";
}

static void expect(const stws_outgoing *m, stws_stomp_version version, int bare_is_text,
                   int receipt, const struct sent *s) {
    static char built[32000];
    stws_header headers[8];
    stws_frame frame = {0};
    char id[32];
    size_t need = 0, i;
    int text;
    frame.command_id = STWS_COMMAND_SEND;
    frame.headers = headers;
    frame.body = m->body;
    frame.body_len = m->body_len;
    frame.content_length = m->content_length;
    if (m->content_length == STWS_CONTENT_LENGTH_JMS_TEXT)
        frame.content_length = bare_is_text ? STWS_CONTENT_LENGTH_OMIT : STWS_CONTENT_LENGTH_SEND;
    add(&frame, headers, "destination", m->destination);
    if (expected_type(m)) add(&frame, headers, "content-type", expected_type(m));
    if (m->transaction) add(&frame, headers, "transaction", m->transaction);
    for (i = 0; m->headers && m->headers[i]; i += 2)
        add(&frame, headers, m->headers[i], m->headers[i + 1]);
    snprintf(id, sizeof id, "receipt-%d", receipt);
    if (receipt) add(&frame, headers, "receipt", id);
    CHECK_INT(STWS_OK, stws_frame_build(built, sizeof built, version, &frame, &need));
    CHECK(s != NULL);
    if (!s) return;
    CHECK_MEM(built, need, s->raw, s->raw_len);
    text = stws_utf8_valid(built, need);
    CHECK_INT(text ? STWS_WS_TEXT : STWS_WS_BINARY, s->opcode);
}

static stws_outgoing any_message(char destination[16]) {
    stws_outgoing m = {0};
    const char *to = destinations[chance(DESTINATIONS)];
    m.destination = to;
    if (chance(2)) m.destination = strcpy(destination, to); /* the same memory, another text */
    m.body = bodies[chance(BODIES)];
    m.body_len = body_lens[chance(chance(8) ? LENS - 1 : LENS)];
    m.content_type = types[chance(TYPES)];
    if (chance(6) == 0) m.headers = more;
    if (chance(6) == 0) m.transaction = "t";
    if (chance(6) == 0) m.receipt = 1;
    if (chance(4) == 0)
        m.content_length = chance(2) ? STWS_CONTENT_LENGTH_OMIT : STWS_CONTENT_LENGTH_JMS_TEXT;
    return m;
}

/* Sends each message two to four times, so that heads are kept, and many different messages. */
static void send_all(const char *connected, stws_stomp_version version, int bare_is_text,
                     size_t largest) {
    char destination[16];
    struct peer p;
    int i, times, result;
    fill_bodies();
    peer_begin(&p);
    p.connected = connected;
    CHECK(peer_connect(&p));
    for (i = 0; i < ROUNDS && !test_case_failures; i++) {
        stws_outgoing m = any_message(destination);
        for (times = 2 + (int)chance(3); times > 0; times--) {
            if (chance(3) == 0) m.body_len = body_lens[chance(LENS - 1)];
            peer_forget(&p);
            result = stws_send_ex(p.client, &m);
            CHECK(m.receipt ? result > 0 : result == 0);
            peer_turn(&p);
            expect(&m, version, bare_is_text, result, peer_sent(&p, "SEND", 0));
            CHECK_INT(1, peer_count(&p, "SEND"));
            CHECK(p.ws_largest <= largest);
        }
    }
    peer_free(&p);
}

/* STOMP 1.2, and large frames in pieces, as the manual states. */
static void test_as_built_for_rabbitmq(void) {
    send_all(RABBITMQ, STWS_STOMP_12, 0, 8192);
}

static void test_as_built_for_activemq(void) {
    send_all(ACTIVEMQ, STWS_STOMP_11, 1, 16384);
}

static void test_as_built_in_stomp_10(void) {
    send_all(OLD, STWS_STOMP_10, 0, 16384);
}

/* A head is kept only for its session: the next session may have another version. */
static void test_the_next_session_keeps_no_head(void) {
    struct peer p;
    int i;
    peer_begin(&p);
    CHECK(peer_connect(&p));
    for (i = 0; i < 3; i++) CHECK_INT(0, stws_send(p.client, "/a\\b", "x", 1));
    peer_turn(&p);
    CHECK_STR("SEND\ndestination:/a\\\\b\ncontent-length:1\n\nx", peer_sent(&p, "SEND", 2)->raw);
    for (i = 0; i < 3; i++) CHECK_INT(0, stws_send(p.client, "/a", "x", 1));
    p.connected = OLD;
    peer_turn(&p);
    peer_forget(&p);
    peer_end(&p);
    peer_advance(&p, 5000);
    CHECK(stws_state(p.client) == STWS_CONNECTED);
    for (i = 0; i < 3; i++) CHECK_INT(0, stws_send(p.client, "/a", "xy", 2));
    for (i = 0; i < 3; i++) CHECK_INT(0, stws_send(p.client, "/a\\b", "x", 1));
    peer_turn(&p);
    CHECK_STR("SEND\ndestination:/a\ncontent-length:2\n\nxy", peer_sent(&p, "SEND", 2)->raw);
    CHECK_STR("SEND\ndestination:/a\\b\ncontent-length:1\n\nx", peer_sent(&p, "SEND", 5)->raw);
    peer_free(&p);
}

/* A kept head makes no difference for statistics and traces. */
static int traced;
static void count_trace(stws *client, stws_direction direction, const stws_frame *frame,
                        void *user) {
    (void)client, (void)user;
    traced += direction == STWS_SENT && frame->command_id == STWS_COMMAND_SEND;
}

static void test_counted_and_traced(void) {
    struct peer p;
    stws_options o;
    stws_statistics before, after;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.on_trace = count_trace;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    for (i = 0; i < 5; i++) CHECK_INT(0, stws_send_text(p.client, "/a", "x"));
    CHECK_INT(5, traced);
    peer_free(&p);
    peer_begin(&p);
    CHECK(peer_connect(&p));
    stws_stats(p.client, &before);
    for (i = 0; i < 5; i++) CHECK_INT(0, stws_send_text(p.client, "/a", "x"));
    stws_stats(p.client, &after);
    CHECK_INT(5, after.messages_out - before.messages_out);
    CHECK_INT(5, after.frames_out - before.frames_out);
    peer_free(&p);
}

/* Every message has its own stable id, even if the id's header is content-type. */
static void test_stable_ids_differ(void) {
    static const char *const names[] = {"id", "content-type"};
    struct peer p;
    stws_options o;
    int i, j;
    for (i = 0; i < 2; i++) {
        peer_init(&p);
        o = peer_options(&p);
        o.stable_id = names[i];
        peer_start(&p, &o);
        CHECK(peer_connect(&p));
        for (j = 0; j < 4; j++) CHECK_INT(0, stws_send(p.client, "/a", "x", 1));
        peer_turn(&p);
        for (j = 1; j < 4; j++)
            CHECK(strcmp(sent_header(peer_sent(&p, "SEND", j - 1), names[i]),
                         sent_header(peer_sent(&p, "SEND", j), names[i])) != 0);
        peer_free(&p);
    }
}

/* Connects a client with a small output buffer, and blocks the output. */
static void connected_and_blocked(struct peer *p) {
    stws_options o;
    peer_init(p);
    o = peer_options(p);
    o.tx_buffer = 1024;
    peer_start(p, &o);
    CHECK(peer_connect(p));
    p->write_blocked = 1;
}

/* If the output is full and cannot grow, the remaining messages wait, in order. */
static void test_a_full_output(void) {
    struct peer p;
    char body[16], expected[16];
    int i, sent = 0;
    connected_and_blocked(&p);
    for (i = 0; i < 200; i++) {
        snprintf(body, sizeof body, "%d", i);
        CHECK_INT(0, stws_send_text(p.client, "/queue/a", body));
    }
    p.write_blocked = 0;
    peer_turn(&p);
    for (; peer_sent(&p, "SEND", sent); sent++) {
        snprintf(expected, sizeof expected, "%d", sent);
        CHECK_STR(expected, peer_sent(&p, "SEND", sent)->frame.body);
    }
    CHECK_INT(200, sent);
    peer_free(&p);
}

/* A small message that would still fit does not overtake a larger message that waits. */
static void test_no_overtaking(void) {
    static const char large[600] = "large";
    struct peer p;
    int i;
    connected_and_blocked(&p);
    for (i = 0; i < 3; i++) CHECK_INT(0, stws_send(p.client, "/queue/a", "small", 5));
    for (i = 0; i < 2; i++) CHECK_INT(0, stws_send(p.client, "/queue/a", large, sizeof large));
    CHECK_INT(0, stws_send(p.client, "/queue/a", "small", 5));
    p.write_blocked = 0;
    peer_turn(&p);
    for (i = 0; i < 6; i++)
        CHECK_STR(i == 3 || i == 4 ? "large" : "small", peer_sent(&p, "SEND", i)->frame.body);
    peer_free(&p);
}

int main(void) {
    RUN(test_as_built_for_rabbitmq);
    RUN(test_as_built_for_activemq);
    RUN(test_as_built_in_stomp_10);
    RUN(test_the_next_session_keeps_no_head);
    RUN(test_counted_and_traced);
    RUN(test_stable_ids_differ);
    RUN(test_a_full_output);
    RUN(test_no_overtaking); /* [G1] */
    return test_report();
}
