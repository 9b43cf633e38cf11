/* test_staying.c - tests that a client stays: which failures end it, and what it does before the
   next attempt. Also tests what it keeps from the answer to the upgrade: headers, cookies and
   redirects. The server is scripted, or runs on loopback. */
#include "loopback.h"

/* ==== a client that had a session tries again ==== */

#define REFUSED_BY(status) "HTTP/1.1 " status "\r\nContent-Length: 0\r\n\r\n"

/* The ERROR that answers CONNECT, instead of CONNECTED. */
static const char *refusal;

static void refuse_connect(struct peer *p, const struct sent *sent) {
    if (sent->frame.command_id == STWS_COMMAND_CONNECT && refusal) peer_stomp(p, refusal);
}

/* Starts a client that has a session, which breaks. The next attempt is answered by `answer` or, if
   that is NULL, refused by the ERROR `error`. */
static void refused_after_a_session(struct peer *p, stws_options o, const char *answer,
                                    const char *error) {
    refusal = NULL;
    peer_start(p, &o);
    CHECK(peer_connect(p));
    if (answer) p->answer = answer;
    p->on_sent = refuse_connect;
    refusal = error;
    if (error) p->automatic &= ~AUTO_LOGIN;
    peer_end(p);
    peer_turn(p);
    peer_advance(p, 1500);
}

/* The server works again. Returns 1 if the client connects again. */
static int connects_again(struct peer *p) {
    p->answer = PEER_ANSWER;
    p->automatic = AUTO_ALL;
    refusal = NULL;
    peer_advance(p, 40000);
    return !p->ended && stws_state(p->client) == STWS_CONNECTED;
}

/* Returns 1 if the client comes back after the refusal, 0 if it has ended. */
static int survives(stws_give_up give_up, int (*hook)(stws *, stws_attempt *, void *),
                    const char *answer, const char *error) {
    struct peer p;
    stws_options o;
    int alive;
    peer_init(&p);
    o = peer_options(&p);
    o.give_up = give_up;
    o.before_connect = hook;
    refused_after_a_session(&p, o, answer, error);
    alive = !p.ended;
    CHECK_INT(answer ? STWS_ERR_HTTP_STATUS : STWS_ERR_LOGIN, p.result);
    CHECK_INT(alive, connects_again(&p));
    peer_free(&p);
    return alive;
}

static int allow(stws *client, stws_attempt *attempt, void *user) {
    (void)client, (void)attempt, (void)user;
    return 0;
}

static const char *const passing_statuses[] = {
    REFUSED_BY("200 OK"),        REFUSED_BY("302 Found"), REFUSED_BY("400 Bad Request"),
    REFUSED_BY("404 Not Found"), REFUSED_BY("410 Gone"),  REFUSED_BY("426 Upgrade Required")};
static const char *const denying_statuses[] = {REFUSED_BY("401 Unauthorized"),
                                               REFUSED_BY("403 Forbidden"),
                                               REFUSED_BY("407 Proxy Authentication Required")};

/* ERRORs of brokers that are temporarily unavailable, and ERRORs about wrong credentials. */
static const char *const passing_errors[] = {
    "ERROR\nmessage:Broker not available.\n\n",
    "ERROR\nmessage:javax.jms.InvalidClientIDException\n\n"
    "Broker: b - Client: c already connected from tcp://127.0.0.1:1",
    "ERROR\nmessage:Bad CONNECT\n\nVirtual host '/' access denied",
    "ERROR\nmessage:Failed to send message to "
    "ExecutorSubscribableChannel[clientInboundChannel]\n\n",
    "ERROR\nmessage:\n\n"};
static const char *const denying_errors[] = {
    "ERROR\nmessage:Bad CONNECT\n\nAccess refused for user 'guest'",
    "ERROR\nmessage:User name [user] or password is invalid.\n\n",
    "ERROR\nmessage:Security Error occurred: User name [user] or password is invalid\n\n",
    "ERROR\nmessage:wrong passcode\n\n",
    "ERROR\nmessage:Bad credentials\n\n",
    "ERROR\nmessage:Access Denied\n\n",
    "ERROR\nmessage:Access is denied\n\n",
    "ERROR\nmessage:not authenticated\n\n",
    "ERROR\nmessage:Full authentication is required\n\n",
    "ERROR\nmessage:Unauthorized\n\n",
    "ERROR\nmessage:AMQ229031: Unable to validate user from 127.0.0.1\n\n",
    "ERROR\nmessage:Login failed\n\n"};

#define COUNT(list) (sizeof(list) / sizeof *(list))

static void test_a_client_that_had_a_session_tries_again(void) {
    size_t i;
    for (i = 0; i < COUNT(passing_statuses); i++) {
        CHECK_INT(1, survives(STWS_GIVE_UP_DEFAULT, NULL, passing_statuses[i], NULL));
        CHECK_INT(0, survives(STWS_GIVE_UP_SOON, NULL, passing_statuses[i], NULL));
        CHECK_INT(1, survives(STWS_GIVE_UP_NEVER, NULL, passing_statuses[i], NULL));
    }
    for (i = 0; i < COUNT(passing_errors); i++) {
        CHECK_INT(1, survives(STWS_GIVE_UP_DEFAULT, NULL, NULL, passing_errors[i]));
        CHECK_INT(0, survives(STWS_GIVE_UP_SOON, allow, NULL, passing_errors[i]));
        CHECK_INT(1, survives(STWS_GIVE_UP_NEVER, NULL, NULL, passing_errors[i]));
    }
}

static void test_refused_credentials_end_the_client(void) {
    size_t i;
    for (i = 0; i < COUNT(denying_statuses); i++) {
        CHECK_INT(0, survives(STWS_GIVE_UP_DEFAULT, NULL, denying_statuses[i], NULL));
        CHECK_INT(0, survives(STWS_GIVE_UP_SOON, allow, denying_statuses[i], NULL));
        CHECK_INT(1, survives(STWS_GIVE_UP_DEFAULT, allow, denying_statuses[i], NULL));
        CHECK_INT(1, survives(STWS_GIVE_UP_NEVER, NULL, denying_statuses[i], NULL));
    }
    for (i = 0; i < COUNT(denying_errors); i++) {
        CHECK_INT(0, survives(STWS_GIVE_UP_DEFAULT, NULL, NULL, denying_errors[i]));
        CHECK_INT(0, survives(STWS_GIVE_UP_SOON, allow, NULL, denying_errors[i]));
        CHECK_INT(1, survives(STWS_GIVE_UP_DEFAULT, allow, NULL, denying_errors[i]));
        CHECK_INT(1, survives(STWS_GIVE_UP_NEVER, NULL, NULL, denying_errors[i]));
    }
}

/* The very first attempt gets this answer. Returns 1 if the client tries again. */
static int tries_again_at_first(stws_give_up give_up, const char *answer, const char *connected) {
    struct peer p;
    stws_options o;
    int again;
    peer_init(&p);
    p.answer = answer ? answer : PEER_ANSWER;
    if (connected) p.connected = connected;
    o = peer_options(&p);
    o.give_up = give_up;
    o.before_connect = allow;
    peer_start(&p, &o);
    peer_turn(&p);
    peer_advance(&p, 5000);
    again = !p.ended;
    CHECK_INT(again, p.sessions > 1);
    peer_free(&p);
    return again;
}

static const char NO_ACCEPT[] =
    "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";

/* Before the first session a refusal means that the settings are wrong. */
static void test_a_first_refusal_ends_the_client(void) {
    static const stws_give_up strict[] = {STWS_GIVE_UP_DEFAULT, STWS_GIVE_UP_SOON};
    size_t i;
    for (i = 0; i < COUNT(strict); i++) {
        CHECK_INT(0, tries_again_at_first(strict[i], REFUSED_BY("404 Not Found"), NULL));
        CHECK_INT(0, tries_again_at_first(strict[i], REFUSED_BY("401 Unauthorized"), NULL));
        CHECK_INT(0, tries_again_at_first(strict[i], NO_ACCEPT, NULL));
        CHECK_INT(
            0, tries_again_at_first(strict[i], NULL, "ERROR\nmessage:Broker not available.\n\n"));
        CHECK_INT(0, tries_again_at_first(strict[i], NULL, "CONNECTED\nversion:9\n\n"));
        CHECK_INT(0, tries_again_at_first(strict[i], "SSH-2.0-x\r\n", NULL));
    }
}

/* With several URLs, each gets an attempt before a refusal is final. */
static void check_urls(stws_give_up give_up, int good, int attempts) {
    static const char *const urls[] = {"ws://a.test/", "ws://b.test/", "ws://c.test/", NULL};
    struct peer p;
    stws_options o;
    int i;
    peer_init(&p);
    o = peer_options(&p);
    o.url = NULL;
    o.urls = urls;
    o.give_up = give_up;
    p.answer = REFUSED_BY("404 Not Found");
    peer_start(&p, &o);
    peer_turn(&p);
    for (i = 1; i < 6 && !p.ended; i++) {
        if (i == good) p.answer = PEER_ANSWER;
        peer_advance(&p, i * 1000LL); /* to the next attempt */
    }
    CHECK_INT(attempts, p.sessions);
    CHECK_INT(good < 0, p.ended != 0);
    peer_free(&p);
}

static void test_each_url_gets_an_attempt(void) {
    check_urls(STWS_GIVE_UP_DEFAULT, -1, 3);
    check_urls(STWS_GIVE_UP_DEFAULT, 2, 3);
    check_urls(STWS_GIVE_UP_SOON, -1, 1);
}

static void test_never_give_up(void) {
    CHECK_INT(1, tries_again_at_first(STWS_GIVE_UP_NEVER, REFUSED_BY("404 Not Found"), NULL));
    CHECK_INT(1, tries_again_at_first(STWS_GIVE_UP_NEVER, REFUSED_BY("401 Unauthorized"), NULL));
    CHECK_INT(1, tries_again_at_first(STWS_GIVE_UP_NEVER, NO_ACCEPT, NULL));
    CHECK_INT(1,
              tries_again_at_first(STWS_GIVE_UP_NEVER, NULL, "ERROR\nmessage:wrong passcode\n\n"));
    CHECK_INT(1, tries_again_at_first(STWS_GIVE_UP_NEVER, NULL, "CONNECTED\nversion:9\n\n"));
    CHECK_INT(1, tries_again_at_first(STWS_GIVE_UP_NEVER, "SSH-2.0-x\r\n", NULL));
}

/* ==== the information in before_connect ==== */

static int seen_errors[8], seen_statuses[8], seen_count;

static int note_last(stws *client, stws_attempt *attempt, void *user) {
    (void)client, (void)user;
    if (seen_count < 8) {
        seen_errors[seen_count] = attempt->last_error;
        seen_statuses[seen_count] = attempt->last_status;
    }
    seen_count++;
    return 0;
}

/* The token has expired. The hook sees the status 401 and sets a new token. */
static int renew_token(stws *client, stws_attempt *attempt, void *user) {
    static const char *const fresh[] = {"Authorization", "Bearer new", NULL};
    note_last(client, attempt, user);
    if (attempt->last_status == 401) attempt->http_headers = fresh;
    return 0;
}

static void test_before_connect_sees_the_last_failure(void) {
    static const char *const stale[] = {"Authorization", "Bearer old", NULL};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.before_connect = renew_token;
    o.http_headers = stale;
    seen_count = 0;
    refused_after_a_session(&p, o, REFUSED_BY("401 Unauthorized"), NULL);
    CHECK_HAS("Bearer old", bytes_text(&p.request));
    CHECK(connects_again(&p));
    CHECK_HAS("Bearer new", bytes_text(&p.request));
    CHECK_INT(3, seen_count);
    CHECK_INT(STWS_OK, seen_errors[0]);
    CHECK_INT(0, seen_statuses[0]);
    CHECK_INT(STWS_ERR_EOF, seen_errors[1]);
    CHECK_INT(101, seen_statuses[1]);
    CHECK_INT(STWS_ERR_HTTP_STATUS, seen_errors[2]);
    CHECK_INT(401, seen_statuses[2]);
    peer_free(&p);
}

/* ==== Retry-After ==== */

/* Returns the milliseconds until the next attempt, after an answer with these headers. */
static long long wait_after(stws_options o, struct peer *p, const char *headers) {
    char answer[400];
    snprintf(answer, sizeof answer, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n%s\r\n", headers);
    p->answer = answer;
    peer_start(p, &o);
    peer_turn(p);
    CHECK_INT(STWS_ERR_HTTP_STATUS, p->result);
    return p->retry_ms;
}

/* Checks that the wait is between these two values, for a client with default options and without
   jitter. */
static void check_wait(const char *headers, long long least, long long most) {
    struct peer p;
    stws_options o;
    long long ms;
    peer_init(&p);
    o = peer_options(&p);
    ms = wait_after(o, &p, headers);
    if (ms < least || ms > most) printf("%s: %d ms\n", headers, (int)ms);
    CHECK(ms >= least && ms <= most);
    peer_free(&p);
}

static void test_retry_after_in_seconds(void) {
    check_wait("", 1000, 1000);
    check_wait("Retry-After: 7\r\n", 7000, 7000);
    check_wait("Retry-After: 0\r\n", 1000, 1000);
    check_wait("Retry-After: -7\r\n", 1000, 1000);
    check_wait("Retry-After: soon\r\n", 1000, 1000);
    /* The wait is never longer than ten times reconnect_max_ms, which is 30 s. */
    check_wait("Retry-After: 300\r\n", 300000, 300000);
    check_wait("Retry-After: 301\r\n", 270000, 300000);
    check_wait("Retry-After: 86400\r\n", 270000, 300000);
    check_wait("Retry-After: 99999999999999999999999\r\n", 270000, 300000);
}

#define DATE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

/* The three forms of a date (RFC 9110, 5.6.7). The date is relative to the Date header of the
   answer. */
static void test_retry_after_as_a_date(void) {
    check_wait(DATE "Retry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\n", 30000, 30000);
    check_wait(DATE "Retry-After: Sunday, 06-Nov-94 08:50:07 GMT\r\n", 30000, 30000);
    check_wait(DATE "Retry-After: Sun Nov  6 08:50:07 1994\r\n", 30000, 30000);
    check_wait(DATE "Retry-After: Sun, 06 Nov 1994 08:49:00 GMT\r\n", 1000, 1000);
    check_wait(DATE "Retry-After: Mon, 06 Nov 1995 08:49:37 GMT\r\n", 270000, 300000);
    /* Ends of months and years, leap years, the year 2000. */
    check_wait(
        "Date: Fri, 31 Dec 1999 23:59:50 GMT\r\nRetry-After: Sat, 01 Jan 2000 00:00:20 GMT\r\n",
        30000, 30000);
    check_wait(
        "Date: Mon, 28 Feb 2000 23:59:30 GMT\r\nRetry-After: Tue, 29 Feb 2000 00:00:00 GMT\r\n",
        30000, 30000);
    check_wait(
        "Date: Tue, 29 Feb 2000 23:59:30 GMT\r\nRetry-After: Wed, 01 Mar 2000 00:00:00 GMT\r\n",
        30000, 30000);
    check_wait(
        "Date: Sun, 28 Feb 2100 23:59:30 GMT\r\nRetry-After: Mon, 01 Mar 2100 00:00:00 GMT\r\n",
        30000, 30000);
    check_wait(
        "Date: Wed, 31 Jul 2024 23:59:30 GMT\r\nRetry-After: Thu, 01 Aug 2024 00:00:00 GMT\r\n",
        30000, 30000);
    check_wait(
        "Date: Thursday, 31-Dec-69 23:59:30 GMT\r\nRetry-After: Friday, 01-Jan-70 00:00:00 GMT\r\n",
        1000, 1000);
    /* Not a valid date. */
    check_wait(DATE "Retry-After: Sun, 06 Nov 1994\r\n", 1000, 1000);
    check_wait(DATE "Retry-After: Sun, 06 Abc 1994 08:50:07 GMT\r\n", 1000, 1000);
    check_wait(DATE "Retry-After: Sun, 32 Nov 1994 08:50:07 GMT\r\n", 1000, 1000);
    check_wait(DATE "Retry-After: Sun, 06 Nov 1994 08:61:07 GMT\r\n", 1000, 1000);
    check_wait(DATE "Retry-After: Nov\r\n", 1000, 1000);
    /* RFC 6265 accepts this form. */
    check_wait(DATE "Retry-After: Sun, 06 Nov 1994 8:50:7 GMT\r\n", 30000, 30000);
    check_wait(DATE "Retry-After: Sun, 06 Nov 1994 08:50 GMT\r\n", 1000, 1000);
    check_wait(DATE "Retry-After: Sun, 06 Nov 1994 08:50:07:00 GMT\r\n", 1000, 1000);
    check_wait(DATE "Retry-After: Sun, 06 Nov 1994 08:500:07 GMT\r\n", 1000, 1000);
    /* Without a Date header the client's own clock counts. 1994 is in the past, the year 9000 is
       not. */
    check_wait("Retry-After: Sun, 06 Nov 1994 08:50:07 GMT\r\n", 1000, 1000);
    check_wait("Retry-After: Sun, 06 Nov 9000 08:50:07 GMT\r\n", 270000, 300000);
    check_wait("Date: yesterday\r\nRetry-After: Sun, 06 Nov 9000 08:50:07 GMT\r\n", 270000, 300000);
}

/* Clients that were refused together come back at different times, and none too early. */
static void test_retry_after_is_spread(void) {
    long long first = 0, ms, least = 1000000, most = 0;
    int i, different = 0;
    for (i = 0; i < 40; i++) {
        struct peer p;
        stws_options o;
        peer_init(&p);
        p.seed = (unsigned long long)i;
        o = peer_options(&p);
        o.reconnect_jitter = 0; /* the default */
        ms = wait_after(o, &p, "Retry-After: 20\r\n");
        if (i == 0) first = ms;
        different += ms != first;
        if (ms < least) least = ms;
        if (ms > most) most = ms;
        peer_free(&p);
    }
    CHECK(different > 30);
    CHECK(least >= 20000);
    CHECK(most > 21000 && most <= 23000);
}

/* ==== the next address ==== */

/* Two servers with one name. The first accepts connections and never answers, or answers 502. */
static void check_next_address(const char *answer) {
    static const char *const addresses[] = {"127.0.0.2", "127.0.0.1", NULL};
    struct loopback bad, good;
    stws_options o = stws_options_default();
    stws *client;
    int refused = 0, i;
    stws_event event;
    loopback_start(&good, 0, 0);
    loopback_start_refusing(&bad, "127.0.0.2", good.port, answer);
    o.url = good.url;
    o.addresses = addresses;
    o.single_thread = 1;
    o.handshake_timeout_ms = 50;
    o.reconnect_min_ms = o.reconnect_max_ms = 10;
    client = stws_create(&o);
    for (i = 0; i < 8 && stws_state(client) != STWS_CONNECTED; i++)
        if (stws_next(client, &event, 5000) == 1) refused += event.type == STWS_EVENT_DISCONNECTED;
    CHECK_INT(STWS_CONNECTED, stws_state(client));
    CHECK_INT(1, refused);
    stws_destroy(client);
    loopback_stop(&good);
    loopback_stop(&bad);
    CHECK_INT(1, bad.links_total);
}

static void test_the_next_address_after_a_failed_upgrade(void) {
    check_next_address("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    check_next_address(NULL);
}

/* ==== keep-alive without heart-beats ==== */

/* Starts a session with that ping_ms and these agreed heart-beats in each direction, in
   milliseconds. */
static void begin_with_pings(struct peer *p, int ping_ms, int out_ms, int in_ms) {
    static char connected[80];
    stws_options o;
    snprintf(connected, sizeof connected, "CONNECTED\nversion:1.2\nheart-beat:%d,%d\n\n", in_ms,
             out_ms);
    peer_init(p);
    p->connected = connected;
    p->answers_pings = 1;
    o = peer_options(p);
    o.ping_ms = ping_ms;
    if (out_ms) o.heartbeat_out_ms = out_ms;
    if (in_ms) o.heartbeat_in_ms = in_ms;
    peer_start(p, &o);
    CHECK(peer_connect(p));
}

/* Returns the number of PINGs in a minute. The server sends a message every `they` ms, and the
   client every `we` ms; 0: never. */
static int pings_of_a_minute(struct peer *p, int they, int we) {
    int ms, before = p->pings;
    for (ms = 1000; ms <= 60000; ms += 1000) {
        if (they && ms % they == 0) peer_message(p, "sub-9", "1", "/topic/a", "x");
        if (we && ms % we == 0) peer_send(p, "y");
        peer_advance(p, 1000);
    }
    CHECK_INT(STWS_CONNECTED, stws_state(p->client));
    return p->pings - before;
}

static void check_pings(int ping_ms, int out_ms, int in_ms, int they, int we, int expected) {
    struct peer p;
    stws_statistics n;
    begin_with_pings(&p, ping_ms, out_ms, in_ms);
    CHECK_INT(expected, pings_of_a_minute(&p, they, we));
    n = peer_stats(&p);
    CHECK_INT(expected, (int)n.pings_out);
    CHECK_INT(expected, (int)n.pongs_in);
    CHECK_INT(expected > 0 && !in_ms ? 1 : in_ms > 0, n.heartbeat_slack_ms >= 0);
    peer_free(&p);
}

/* A PING is sent if a direction was idle for ping_ms, unless heart-beats are agreed for both
   directions. */
static void test_when_pings_are_sent(void) {
    check_pings(0, 0, 0, 0, 0, 3);
    check_pings(5000, 0, 0, 0, 0, 12);
    check_pings(STWS_OFF, 0, 0, 0, 0, 0);
    /* Both directions have traffic: one PING, to learn whether the server answers. */
    check_pings(5000, 0, 0, 1000, 1000, 1);
    /* Only one direction has traffic: a proxy may watch the other. */
    check_pings(5000, 0, 0, 1000, 0, 12);
    check_pings(5000, 0, 0, 0, 1000, 12);
    /* Our heart-beat does not make the server send anything. */
    check_pings(5000, 2000, 0, 0, 0, 12);
    /* The server's heart-beat does not make us send anything. */
    check_pings(5000, 0, 2000, 1000, 0, 12);
    /* Both heart-beats are agreed: no PING, however small ping_ms is. */
    check_pings(500, 2000, 2000, 1000, 0, 0);
}

/* Once a server has answered a PING, silence counts against it. */
static void test_a_server_that_stops_answering_pings(void) {
    struct peer p;
    begin_with_pings(&p, 0, 0, 0);
    peer_advance(&p, 21000);
    CHECK_INT(1, p.pings);
    p.answers_pings = 0;
    peer_advance(&p, 57000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_advance(&p, 3000);
    CHECK_INT(STWS_ERR_HEARTBEAT, p.result);
    CHECK_HAS("nothing came for 60000 ms", bytes_text(&p.why));
    CHECK_HAS("PINGs, which are sent every 20000 ms (option ping_ms)", bytes_text(&p.why));
    CHECK(p.retry_ms >= 0);
    peer_free(&p);
}

/* The network starts to swallow everything on a busy connection. The client keeps sending, and must
   notice. */
static void test_a_busy_connection_into_a_black_hole(void) {
    struct peer p;
    int i;
    begin_with_pings(&p, 5000, 0, 0);
    for (i = 0; i < 30; i++) {
        peer_message(&p, "sub-9", "1", "/topic/a", "x");
        peer_send(&p, "y");
        peer_advance(&p, 1000);
    }
    CHECK_INT(1, p.pings);
    p.answers_pings = 0;
    for (i = 0; i < 13; i++) {
        peer_send(&p, "y");
        peer_advance(&p, 1000);
    }
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    for (i = 0; i < 3; i++) {
        peer_send(&p, "y");
        peer_advance(&p, 1000);
    }
    CHECK_INT(STWS_ERR_HEARTBEAT, p.result);
    peer_free(&p);
}

/* A busy connection whose server never answers a PING gets every PING, but its silence does not
   count. */
static void test_a_busy_server_that_never_answers_pings(void) {
    struct peer p;
    begin_with_pings(&p, 5000, 0, 0);
    p.answers_pings = 0;
    CHECK_INT(12, pings_of_a_minute(&p, 1000, 1000));
    peer_free(&p);
}

/* A server that has answered no PING in this session may be silent forever, even if it did answer
   in the session before. */
static void test_a_server_that_never_answers_pings(void) {
    struct peer p;
    begin_with_pings(&p, 0, 0, 0);
    peer_advance(&p, 21000);
    p.answers_pings = 0;
    peer_end(&p);
    CHECK(peer_connect(&p));
    CHECK_INT(2, p.sessions);
    peer_ws(&p, STWS_WS_PONG, 1, "stws", 4); /* answers no PING of this session */
    peer_advance(&p, 3600000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(2, p.sessions);
    CHECK(p.pings > 170);
    peer_free(&p);
}

/* A PONG that does not answer a PING of ours (RFC 6455, 5.5.3) does not oblige the server. */
static void test_an_unrequested_pong(void) {
    struct peer p;
    begin_with_pings(&p, 0, 0, 0);
    p.answers_pings = 0;
    peer_ws(&p, STWS_WS_PONG, 1, "stws", 4); /* before our first PING */
    peer_advance(&p, 21000);
    CHECK_INT(1, p.pings);
    peer_ws(&p, STWS_WS_PONG, 1, "", 0);
    peer_ws(&p, STWS_WS_PONG, 1, "stwt", 4);
    peer_ws(&p, STWS_WS_PONG, 1, "stwss", 5);
    peer_advance(&p, 600000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(0, (int)peer_stats(&p).pongs_in);
    peer_free(&p);
}

/* Without a grace, silence never counts. */
static void test_pings_without_a_grace(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.answers_pings = 1;
    o = peer_options(&p);
    o.heartbeat_grace = STWS_OFF;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    peer_advance(&p, 21000);
    p.answers_pings = 0;
    peer_advance(&p, 3600000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_free(&p);
}

/* While output waits, no PING is added, and the client requests no useless turn. */
static void test_no_ping_while_output_waits(void) {
    struct peer p;
    begin_with_pings(&p, 5000, 0, 0);
    p.write_blocked = 1;
    peer_send(&p, "x");
    peer_advance(&p, 20000);
    p.write_blocked = 0;
    peer_advance(&p, 1);
    CHECK_STR("CONNECT SEND PING(stws) ", bytes_text(&p.order));
    CHECK_INT(0, p.busy);
    peer_free(&p);
}

/* Cuts the connection without a close frame, `idle_ms` after the last traffic. The error text has
   the hint, or lacks it if `hint` is NULL. */
static void check_cut(int ping_ms, int end_result, int idle_ms, const char *hint) {
    struct peer p;
    begin_with_pings(&p, ping_ms, 0, 0);
    p.end_result = end_result;
    p.answers_pings = 0;
    peer_advance(&p, idle_ms);
    peer_end(&p);
    peer_turn(&p);
    CHECK_INT(end_result, p.result);
    if (hint) CHECK_HAS(hint, bytes_text(&p.why));
    CHECK_INT(hint != NULL, strstr(bytes_text(&p.why), "set option ping_ms below") != NULL);
    peer_free(&p);
}

static void test_an_idle_connection_is_cut(void) {
    check_cut(STWS_OFF, STWS_ERR_EOF, 60000,
              "nothing had come for 60 s (heart-beats: 0 ms out, 0 ms in; PINGs: 0 ms)");
    check_cut(STWS_OFF, STWS_ERR_IO, 60000, "nothing had come for 60 s");
    check_cut(20000, STWS_ERR_EOF, 3000, "PINGs: 20000 ms");
    check_cut(20000, STWS_ERR_EOF, 1500, NULL);
    check_cut(20000, STWS_ERR_IO, 1500, NULL);
}

/* ==== a server that ends the session because of a SUBSCRIBE ==== */

/* The server's reaction to a destination that begins with "/bad": it closes, as RabbitMQ does; or
   it sends an ERROR and closes, as Spring does with Spring Security; and variants. */
enum { CLOSES, SAYS_ERROR, SAYS_ERROR_AND_STAYS, NAMES_THE_RECEIPT };
static int strictness;

static void refuse_bad(struct peer *p, const struct sent *sent) {
    const char *destination = sent_header(sent, "destination");
    struct bytes b = {0};
    int subscribes = sent->frame.command_id == STWS_COMMAND_SUBSCRIBE;
    if (!subscribes || strncmp(destination, "/bad", 4) != 0) return;
    bytes_print(&b, "ERROR\nmessage:denied\n");
    if (strictness == NAMES_THE_RECEIPT)
        bytes_print(&b, "receipt-id:%s\n", sent_header(sent, "receipt"));
    bytes_print(&b, "\n");
    if (strictness != CLOSES) peer_stomp(p, b.data);
    if (strictness != SAYS_ERROR_AND_STAYS) peer_close(p, 1000, "STOMP died");
    bytes_free(&b);
}

/* Starts a client with these destinations (NULL at the end) at a server with that reaction. */
static void begin_at_a_strict_server(struct peer *p, int strict, const char *const *destinations) {
    stws_subscribe_options with_receipt = {.receipt = 1};
    stws_options o;
    strictness = strict;
    peer_init(p);
    p->on_sent = refuse_bad;
    if (strict == NAMES_THE_RECEIPT) p->automatic &= ~AUTO_RECEIPT;
    o = peer_options(p);
    peer_start(p, &o);
    for (; *destinations; destinations++)
        CHECK(stws_subscribe(p->client, *destinations,
                             strict == NAMES_THE_RECEIPT ? &with_receipt : NULL) > 0);
    peer_turn(p);
}

static int occurrences(const struct bytes *in, const char *word) {
    const char *at = bytes_text(in);
    int count = 0;
    while ((at = strstr(at, word)) != NULL) count++, at++;
    return count;
}

/* The bad subscription is set aside after `ends` ended sessions, and all others work. */
static void check_one_bad(int strict, const char *const *destinations, int bad, int ends) {
    struct peer p;
    char refused[40];
    int i;
    begin_at_a_strict_server(&p, strict, destinations);
    for (i = 0; i < 400 && !strstr(bytes_text(&p.log), "REFUSED"); i++) peer_advance(&p, 1000);
    snprintf(refused, sizeof refused, "REFUSED %d %s\n", bad,
             strict == CLOSES ? "STWS_ERR_WS_CLOSE" : "STWS_ERR_BROKER");
    CHECK_HAS(refused, bytes_text(&p.log));
    CHECK_INT(ends, occurrences(&p.log, "DISCONNECTED"));
    CHECK_HAS(
        "right after SUBSCRIBE to \"/bad\", for the third time in a row: that subscription is "
        "set aside",
        bytes_text(&p.why));
    CHECK_INT(1, occurrences(&p.log, "REFUSED"));
    peer_forget(&p);
    CHECK(peer_connect(&p));
    peer_advance(&p, 600000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    for (i = 0; destinations[i]; i++) continue;
    CHECK_INT(i - 1, peer_count(&p, "SUBSCRIBE"));
    /* The handle is still in use; unsubscribing sends no frame. */
    CHECK_INT(0, stws_unsubscribe(p.client, bad));
    CHECK_INT(STWS_ERR_USAGE, stws_unsubscribe(p.client, bad));
    peer_turn(&p);
    CHECK_INT(0, peer_count(&p, "UNSUBSCRIBE"));
    CHECK_INT(0, p.busy);
    peer_free(&p);
}

static void test_a_bad_subscription_is_set_aside(void) {
    static const char *const alone[] = {"/bad", NULL};
    static const char *const first[] = {"/bad", "/b", "/c", NULL};
    static const char *const last[] = {"/a", "/b", "/c", "/d", "/bad", NULL};
    int strict;
    for (strict = CLOSES; strict <= SAYS_ERROR_AND_STAYS; strict++) {
        check_one_bad(strict, alone, 1, 3);
        check_one_bad(strict, first, 1, 6);
        check_one_bad(strict, last, 5, 5);
    }
}

/* Two subscriptions are bad. They are found one after the other. */
static void test_two_bad_subscriptions_are_set_aside(void) {
    static const char *const destinations[] = {"/a", "/bad1", "/b", "/bad2", "/c", NULL};
    struct peer p;
    begin_at_a_strict_server(&p, CLOSES, destinations);
    peer_advance(&p, 600000);
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    CHECK_INT(2, occurrences(&p.log, "REFUSED"));
    CHECK_HAS("REFUSED 2", bytes_text(&p.log));
    CHECK_HAS("REFUSED 4", bytes_text(&p.log));
    peer_free(&p);
}

/* If an ERROR names the receipt of a SUBSCRIBE, the bad subscription is known immediately. */
static void test_an_error_that_names_a_subscription(void) {
    static const char *const destinations[] = {"/a", "/b", "/c", "/d", "/bad", NULL};
    check_one_bad(NAMES_THE_RECEIPT, destinations, 5, 3);
}

/* Checks the error texts of the ended sessions, one after the other. */
static void test_the_error_text_after_a_subscribe(void) {
    static const char *const destinations[] = {"/a", "/bad", NULL};
    struct peer p;
    begin_at_a_strict_server(&p, CLOSES, destinations);
    CHECK_HAS("this happened right after 2 SUBSCRIBEs", bytes_text(&p.why));
    CHECK(!strstr(bytes_text(&p.why), "try fewer"));
    peer_advance(&p, 1000);
    CHECK_HAS("2 SUBSCRIBEs: the next sessions try fewer of them at a time", bytes_text(&p.why));
    while (!p.ended && occurrences(&p.log, "DISCONNECTED") < 3) peer_advance(&p, 1000);
    CHECK_HAS("right after SUBSCRIBE to \"/bad\"", bytes_text(&p.why));
    CHECK(!strstr(bytes_text(&p.why), "set aside"));
    peer_free(&p);
}

/* If a session ends more than a second after the SUBSCRIBE, the subscription is not suspected. */
static void test_ends_long_after_a_subscribe(void) {
    static const char *const destinations[] = {"/a", NULL};
    struct peer p;
    int i;
    begin_at_a_strict_server(&p, CLOSES, destinations);
    for (i = 0; i < 6; i++) {
        CHECK(peer_connect(&p));
        peer_advance(&p, 1001);
        peer_close(&p, 1000, "bye");
        peer_turn(&p);
        CHECK_INT(STWS_ERR_WS_CLOSE, p.result);
        CHECK(!strstr(bytes_text(&p.why), "SUBSCRIBE"));
    }
    CHECK_INT(0, occurrences(&p.log, "REFUSED"));
    peer_free(&p);
}

/* If the connection just breaks, no subscription is suspected, because that may be any network
   failure. */
static void test_breaks_right_after_a_subscribe(void) {
    static const char *const destinations[] = {"/a", NULL};
    struct peer p;
    int i;
    begin_at_a_strict_server(&p, CLOSES, destinations);
    for (i = 0; i < 6; i++) {
        CHECK(peer_connect(&p));
        peer_end(&p);
        peer_turn(&p);
        CHECK_INT(STWS_ERR_EOF, p.result);
        CHECK(!strstr(bytes_text(&p.why), "SUBSCRIBE"));
    }
    CHECK_INT(0, occurrences(&p.log, "REFUSED"));
    peer_free(&p);
}

/* Sessions that end soon, whatever is subscribed. No subscription is set aside, however often that
   happens. */
static void test_a_server_that_ends_each_session_soon(void) {
    static const char *const destinations[] = {"/a", "/b", NULL};
    struct peer p;
    int i;
    begin_at_a_strict_server(&p, CLOSES, destinations);
    for (i = 0; i < 40; i++) {
        CHECK(peer_connect(&p));
        peer_advance(&p, 400);
        peer_close(&p, 1011, "tired");
        peer_turn(&p);
    }
    CHECK_INT(0, occurrences(&p.log, "REFUSED"));
    peer_free(&p);
}

/* With confirm, a SEND that ends each session is resent right after the SUBSCRIBEs. No subscription
   may be blamed for it. */
static void end_at_send(struct peer *p, const struct sent *sent) {
    if (sent->frame.command_id != STWS_COMMAND_SEND) return;
    peer_stomp(p, "ERROR\nmessage:too large\n\n");
    peer_close(p, 1002, "");
}

static void test_a_send_that_ends_each_session(void) {
    struct peer p;
    peer_begin_confirming(&p);
    p.on_sent = end_at_send;
    CHECK(stws_subscribe(p.client, "/a", NULL) > 0);
    CHECK(stws_subscribe(p.client, "/b", NULL) > 0);
    peer_send(&p, "poison");
    peer_advance(&p, 900000);
    CHECK(p.sessions > 20);
    CHECK_INT(0, occurrences(&p.log, "REFUSED"));
    peer_free(&p);
}

/* While a session tests suspected subscriptions, the outbox waits, and so does a flush. After that
   everything is sent. */
static void test_the_outbox_waits_while_subscriptions_are_tested(void) {
    struct peer p;
    peer_begin_confirming(&p);
    strictness = CLOSES;
    p.on_sent = refuse_bad;
    CHECK(stws_subscribe(p.client, "/a", NULL) > 0);
    CHECK(stws_subscribe(p.client, "/bad", NULL) > 0);
    peer_turn(&p);
    peer_advance(&p, 1000); /* the second ended session */
    CHECK_INT(2, occurrences(&p.log, "DISCONNECTED"));
    p.on_sent = NULL; /* the server accepts it from now on */
    peer_forget(&p);
    peer_send(&p, "waits");
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT ", bytes_text(&p.order));
    CHECK_INT(STWS_ERR_TIMEOUT, stws_flush(p.client, 0));
    peer_advance(&p, 999);
    CHECK_STR("CONNECT ", bytes_text(&p.order));
    peer_advance(&p, 1);
    CHECK_STR("CONNECT SUBSCRIBE ", bytes_text(&p.order));
    peer_advance(&p, 1000);
    CHECK_STR("CONNECT SUBSCRIBE SUBSCRIBE ", bytes_text(&p.order));
    peer_advance(&p, 1000);
    CHECK_STR("CONNECT SUBSCRIBE SUBSCRIBE SEND ", bytes_text(&p.order));
    /* After the test was passed, no subscription is suspected any more. */
    peer_close(&p, 1001, "");
    peer_turn(&p);
    peer_forget(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("CONNECT SUBSCRIBE SUBSCRIBE ", bytes_text(&p.order));
    CHECK_INT(0, p.busy);
    peer_free(&p);
}

/* Subscribing, unsubscribing and a hook in such a session. */
static int refuse_hook(stws *client, stws_subscribing *subscribing, void *user) {
    (void)client, (void)user;
    return strcmp(subscribing->destination, "/not-now") == 0 ? -1 : 0;
}

static void test_subscriptions_that_change_during_the_test(void) {
    struct peer p;
    stws_options o;
    int bad;
    peer_init(&p);
    strictness = CLOSES;
    p.on_sent = refuse_bad;
    o = peer_options(&p);
    o.before_subscribe = refuse_hook;
    peer_start(&p, &o);
    CHECK_INT(1, stws_subscribe(p.client, "/not-now", NULL));
    bad = stws_subscribe(p.client, "/bad", NULL);
    CHECK_INT(3, stws_subscribe(p.client, "/b", NULL));
    peer_turn(&p);
    peer_advance(&p, 1000); /* the second ended session: two subscriptions are suspected */
    CHECK(peer_connect(&p));
    CHECK_INT(0, stws_unsubscribe(p.client, bad));
    CHECK(stws_subscribe(p.client, "/new", NULL) > 0);
    peer_forget(&p);
    peer_advance(&p, 5000);
    CHECK_STR("SUBSCRIBE SUBSCRIBE ", bytes_text(&p.order));
    CHECK_INT(STWS_CONNECTED, stws_state(p.client));
    peer_send(&p, "flows");
    peer_turn(&p);
    CHECK_STR("SUBSCRIBE SUBSCRIBE SEND ", bytes_text(&p.order));
    peer_free(&p);
}

/* The event of a lost receipt states why the session has ended, before DISCONNECTED does. */
static char receipt_text[300];

static void note_receipt(struct peer *p, const stws_event *e) {
    (void)p;
    if (e->type == STWS_EVENT_RECEIPT) snprintf(receipt_text, sizeof receipt_text, "%s", e->text);
}

static void test_a_lost_receipt_states_the_cause(void) {
    stws_outgoing m = {.destination = "/a", .body = "x", .body_len = 1, .receipt = 1};
    struct peer p;
    peer_begin(&p);
    p.automatic &= ~AUTO_RECEIPT;
    p.on_event = note_receipt;
    CHECK(peer_connect(&p));
    CHECK_INT(1, stws_send_ex(p.client, &m));
    peer_turn(&p);
    peer_close(&p, 1007, "frame too big");
    peer_turn(&p);
    CHECK_HAS("RECEIPT 1 STWS_ERR_LOST", bytes_text(&p.log));
    CHECK_HAS("code 1007", receipt_text);
    CHECK_HAS("frame too big", receipt_text);
    m.receipt = 1;
    p.automatic = AUTO_ALL;
    CHECK(peer_connect(&p));
    CHECK_INT(2, stws_send_ex(p.client, &m));
    peer_turn(&p);
    CHECK_HAS("RECEIPT 2 STWS_OK", bytes_text(&p.log));
    CHECK_STR("", receipt_text);
    peer_free(&p);
}

/* ==== the headers of the answer to the upgrade ==== */

#define ACCEPTED                                                                                   \
    "HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: @\r\n"

static char seen_node[80];

static int note_node(stws *client, stws_attempt *attempt, void *user) {
    const char *node = stws_upgrade_header(client, "x-NODE");
    (void)attempt, (void)user;
    snprintf(seen_node, sizeof seen_node, "%s", node ? node : "(none)");
    return 0;
}

static void test_a_header_of_the_answer(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    p.answer = ACCEPTED "X-Node: blue\r\nX-Empty:\r\nX-Node: second\r\n\r\n";
    o = peer_options(&p);
    o.before_connect = note_node;
    peer_start(&p, &o);
    CHECK(stws_upgrade_header(p.client, "X-Node") == NULL);
    CHECK(peer_connect(&p));
    CHECK_STR("(none)", seen_node);
    CHECK_STR("blue", stws_upgrade_header(p.client, "X-Node"));
    CHECK_STR("", stws_upgrade_header(p.client, "x-empty"));
    CHECK(stws_upgrade_header(p.client, "X-Nod") == NULL);
    CHECK(stws_upgrade_header(NULL, "X-Node") == NULL);
    CHECK(stws_upgrade_header(p.client, NULL) == NULL);
    p.answer = "HTTP/1.1 503 \r\nX-Node: green\r\nContent-Length: 0\r\n\r\n";
    peer_end(&p);
    peer_turn(&p);
    peer_advance(&p, 1500);
    CHECK_STR("blue", seen_node);
    CHECK_STR("green", stws_upgrade_header(p.client, "X-Node"));
    peer_free(&p);
}

/* If the head is long, only its first part is kept, and no incomplete header. */
static void test_headers_that_are_not_kept(void) {
    struct bytes answer = {0};
    struct peer p;
    stws_options o;
    int i;
    bytes_print(&answer, ACCEPTED);
    for (i = 0; i < 20; i++) bytes_print(&answer, "X-Number-%d: %0100d\r\n", i, i);
    bytes_print(&answer, "\r\n");
    peer_init(&p);
    p.answer = answer.data;
    o = peer_options(&p);
    o.rx_buffer = 16384; /* so 1,024 bytes of the head are kept */
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK(stws_upgrade_header(p.client, "X-Number-7") != NULL);
    CHECK_INT(100, strlen(stws_upgrade_header(p.client, "X-Number-7")));
    CHECK(stws_upgrade_header(p.client, "X-Number-8") == NULL);
    CHECK(stws_upgrade_header(p.client, "X-Number-19") == NULL);
    bytes_free(&answer);
    peer_free(&p);
}

/* ==== cookies ==== */

/* Returns the Cookie header of the last request, or "". */
static const char *cookie_sent(const struct peer *p) {
    static char value[5000];
    const char *at = strstr(bytes_text(&p->request), "\r\nCookie: ");
    value[0] = 0;
    if (at) snprintf(value, sizeof value, "%.*s", (int)strcspn(at + 10, "\r"), at + 10);
    return value;
}

static const char *next_url;

static int choose_url(stws *client, stws_attempt *attempt, void *user) {
    (void)client, (void)user;
    if (next_url) attempt->url = next_url;
    return 0;
}

/* The server sets these cookies. Checks the cookies in the next request, to that URL (NULL: the
   same URL). */
static void check_cookies(int keep, const char *own, const char *set, const char *url,
                          const char *expected) {
    char answer[6000];
    struct peer p;
    stws_options o;
    snprintf(answer, sizeof answer, ACCEPTED "%s\r\n", set);
    peer_init(&p);
    p.answer = answer;
    o = peer_options(&p);
    o.url = "ws://Broker.test/app/stomp/websocket";
    o.keep_cookies = keep;
    o.cookie = own;
    o.before_connect = choose_url;
    next_url = NULL;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK_STR(own ? own : "", cookie_sent(&p));
    next_url = url;
    p.answer = PEER_ANSWER;
    peer_end(&p);
    peer_turn(&p);
    CHECK(peer_connect(&p));
    CHECK_STR(expected, cookie_sent(&p));
    peer_free(&p);
}

static void test_cookies_are_sent_back(void) {
    check_cookies(0, NULL, "Set-Cookie: node=7\r\n", NULL, "");
    check_cookies(1, NULL, "", NULL, "");
    check_cookies(1, "a=1", "", NULL, "a=1");
    check_cookies(1, NULL, "Set-Cookie: node=7\r\n", NULL, "node=7");
    check_cookies(1, NULL, "set-cookie:  node=7 ; Path=/ ; HttpOnly\r\n", NULL, "node=7");
    check_cookies(1, "a=1; b=2", "Set-Cookie: node=7\r\nSet-Cookie: x=\r\n", NULL,
                  "a=1; b=2; node=7; x=");
    check_cookies(1, NULL, "Set-Cookie: n=1\r\nSet-Cookie: m=1\r\nSet-Cookie: n=2\r\n", NULL,
                  "m=1; n=2");
    check_cookies(1, NULL, "Set-Cookie: n=1; Path=/app\r\nSet-Cookie: n=2; Path=/\r\n", NULL,
                  "n=1; n=2");
    /* Invalid and expired cookies. */
    check_cookies(1, NULL,
                  "Set-Cookie: nothing\r\nSet-Cookie: =x\r\nSet-Cookie: ;\r\nSet-Cookie:\r\n", NULL,
                  "");
    check_cookies(1, NULL, "Set-Cookie: n=1\r\nSet-Cookie: n=; Max-Age=0\r\n", NULL, "");
    check_cookies(1, NULL, "Set-Cookie: n=1; Max-Age=-5\r\n", NULL, "");
    check_cookies(1, NULL, "Set-Cookie: n=1; Max-Age=5\r\n", NULL, "n=1");
    check_cookies(1, NULL, "Set-Cookie: n=1; Expires=Thu, 01 Jan 1970 00:00:10 GMT\r\n", NULL, "");
    check_cookies(1, NULL,
                  "Set-Cookie: n=1; Path=/\r\nSet-Cookie: n=; Path=/; Expires=Mon, 01-Jan-1601 "
                  "00:00:00 GMT\r\n",
                  NULL, "");
    check_cookies(1, NULL, "Set-Cookie: n=1; expires=Thu, 01 Jan 9000 00:00:10 GMT\r\n", NULL,
                  "n=1");
    check_cookies(1, NULL, "Set-Cookie: n=1; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:10 GMT\r\n",
                  NULL, "n=1");
    check_cookies(1, NULL, "Set-Cookie: n=1; Maximum=0; Max-Age\r\n", NULL, "n=1");
}

static void test_cookies_that_are_not_for_this_url(void) {
    check_cookies(1, NULL, "Set-Cookie: n=1\r\n", "ws://other.test/app/stomp/websocket", "");
    check_cookies(1, "a=1", "Set-Cookie: n=1; Domain=test\r\n", "ws://other.test/app/x", "a=1");
    check_cookies(1, NULL, "Set-Cookie: n=1\r\n", "ws://broker.TEST:81/app/stomp/other", "n=1");
    check_cookies(1, NULL, "Set-Cookie: n=1\r\n", "ws://broker.test/app/other", "");
    check_cookies(1, NULL, "Set-Cookie: n=1; Path=/app\r\n", "ws://broker.test/app/other", "n=1");
    check_cookies(1, NULL, "Set-Cookie: n=1; Path=/app\r\n", "ws://broker.test/app", "n=1");
    check_cookies(1, NULL, "Set-Cookie: n=1; Path=/app\r\n", "ws://broker.test/app?q", "n=1");
    check_cookies(1, NULL, "Set-Cookie: n=1; Path=/app\r\n", "ws://broker.test/apple", "");
    check_cookies(1, NULL, "Set-Cookie: n=1; Path=/app/\r\n", "ws://broker.test/app/x", "n=1");
    check_cookies(1, NULL, "Set-Cookie: n=1; Path=/else\r\n", NULL, "");
    check_cookies(1, NULL, "Set-Cookie: n=1; Path=\r\n", NULL, "n=1");
    check_cookies(1, NULL, "Set-Cookie: n=1; Secure\r\n", NULL, "");
    check_cookies(1, NULL, "Set-Cookie: n=1; Secure\r\n", "wss://broker.test/app/stomp/websocket",
                  "n=1");
}

/* Two hosts. Each gets back only its own cookies. */
static void test_cookies_of_two_hosts(void) {
    static const char *const urls[] = {"ws://a.test/", "ws://b.test/", NULL};
    struct peer p;
    stws_options o;
    peer_init(&p);
    o = peer_options(&p);
    o.url = NULL;
    o.urls = urls;
    o.keep_cookies = 1;
    p.answer = ACCEPTED "Set-Cookie: s=1; Path=/\r\n\r\n";
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    p.answer = ACCEPTED "Set-Cookie: s=2; Path=/\r\n\r\n";
    peer_end(&p);
    peer_turn(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("b.test", p.endpoint_host);
    CHECK_STR("", cookie_sent(&p));
    p.answer = PEER_ANSWER;
    peer_end(&p);
    peer_turn(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("a.test", p.endpoint_host);
    CHECK_STR("s=1", cookie_sent(&p));
    peer_end(&p);
    peer_turn(&p);
    CHECK(peer_connect(&p));
    CHECK_STR("s=2", cookie_sent(&p));
    peer_free(&p);
}

/* More cookies than the client has room for. The cookies that fit stay complete. */
static void test_cookies_without_room(void) {
    struct bytes set = {0};
    int i;
    bytes_print(&set, "Set-Cookie: first=1\r\n");
    bytes_print(&set, "Set-Cookie: large=%02000d\r\n", 7);
    bytes_print(&set, "Set-Cookie: last=2\r\n");
    check_cookies(1, NULL, set.data, NULL, "first=1; last=2");
    bytes_clear(&set);
    for (i = 0; i < 40; i++) bytes_print(&set, "Set-Cookie: same=%060d\r\n", i);
    bytes_print(&set, "Set-Cookie: other=2\r\n");
    check_cookies(1, NULL, set.data, NULL,
                  "same=000000000000000000000000000000000000000000000000000000000039; other=2");
    bytes_free(&set);
}

/* ==== credentials in the URL ==== */

static void check_basic(const char *url, const char *const *headers, const char *expected) {
    struct peer p;
    stws_options o;
    const char *at;
    peer_init(&p);
    o = peer_options(&p);
    o.url = url;
    o.http_headers = headers;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    if (expected) CHECK_HAS(expected, bytes_text(&p.request));
    at = strstr(bytes_text(&p.request), "uthorization");
    CHECK_INT(expected != NULL, at != NULL);
    CHECK(!at || !strstr(at + 5, "uthorization"));
    CHECK_STR("broker.test", p.endpoint_host);
    CHECK(!strstr(bytes_text(&p.request), "@broker"));
    peer_free(&p);
}

/* The example of RFC 7617, 2, and values with %XX. */
static void test_credentials_of_the_url(void) {
    static const char *const own[] = {"authorization", "Bearer x", NULL};
    check_basic("ws://broker.test/x", NULL, NULL);
    check_basic("ws://Aladdin:open%20sesame@broker.test/x", NULL,
                "\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n");
    check_basic("ws://Aladdin@broker.test:81/x", NULL, "\r\nAuthorization: Basic QWxhZGRpbjo=\r\n");
    check_basic("ws://a%40b:c:d@broker.test", NULL, "\r\nAuthorization: Basic YUBiOmM6ZA==\r\n");
    check_basic("ws://Aladdin:open%20sesame@broker.test/x", own, "\r\nauthorization: Bearer x\r\n");
    check_basic("ws://broker.test/a@b", NULL, NULL);
    check_basic("ws://@broker.test/", NULL, NULL);
    check_basic("ws://:@broker.test/", NULL, NULL);
    check_basic("ws://:x@broker.test/", NULL, "\r\nAuthorization: Basic Ong=\r\n");
}

static void test_invalid_credentials_in_the_url(void) {
    static const char *const urls[] = {"ws://a%3Ab:c@h/", "ws://a%0Ab:c@h/", "ws://a:%0d@h/",
                                       "ws://a:%7f@h/",   "ws://a:%zz@h/",   "ws://a:%1@h/",
                                       "ws://a:%@h/",     "ws://a%00:b@h/"};
    const char *why;
    stws_url url;
    size_t i;
    for (i = 0; i < COUNT(urls); i++) {
        CHECK_INT(STWS_ERR_URL, stws_url_parse(urls[i], &url, &why));
        CHECK_HAS("%XX", why);
    }
}

/* A page, an ERROR and a close reason may repeat the URL. Its secrets are hidden there, too. */
static void test_a_peer_that_repeats_the_url(void) {
    struct peer p;
    stws_options o;
    int how;
    for (how = 0; how < 3; how++) {
        peer_init(&p);
        o = peer_options(&p);
        o.url = "ws://guest:hush@broker.test/x?token=SECRET";
        if (how == 0)
            p.answer = "HTTP/1.1 404 x\r\nContent-Length: 46\r\n\r\n"
                       "no handler: guest:hush@broker.test/x?token=SECRET!";
        peer_start(&p, &o);
        peer_turn(&p);
        if (how == 1)
            peer_stomp(&p, "ERROR\nmessage:not at /x?token=SECRET or guest:hush\n\n?token=SECRET");
        if (how == 2) peer_close(&p, 1008, "no /x?token=SECRET guest:hush");
        peer_turn(&p);
        CHECK(p.why.len > 0);
        CHECK_HAS("***", bytes_text(&p.why));
        CHECK(!strstr(bytes_text(&p.why), "SECRET"));
        CHECK(!strstr(bytes_text(&p.why), "hush"));
        peer_free(&p);
    }
}

/* The credentials appear neither in error texts nor in the trace. */
static void test_credentials_of_the_url_are_not_shown(void) {
    static const char *const answers[] = {
        "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 401 \r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 400 \r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nWelcome to SockJS!\n",
        "HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-x\r\n"};
    size_t i;
    for (i = 0; i < COUNT(answers); i++) {
        struct peer p;
        stws_options o;
        peer_init(&p);
        p.answer = answers[i];
        o = peer_options(&p);
        o.url = "ws://guest:hush@broker.test/notifications";
        peer_start(&p, &o);
        peer_turn(&p);
        peer_advance(&p, 1000);
        CHECK(p.ended != 0);
        CHECK_HAS("broker.test", i == 5 ? "broker.test" : bytes_text(&p.why));
        CHECK(!strstr(bytes_text(&p.why), "hush"));
        CHECK(!strstr(bytes_text(&p.why), "guest"));
        peer_free(&p);
    }
}

/* ==== redirects ==== */

#define REDIRECT(status, to)                                                                       \
    "HTTP/1.1 " status "\r\nLocation: " to                                                         \
    "\r\nSet-Cookie: n=1; Path=/\r\nContent-Length: 0\r\n\r\n"

static const char *redirects[8];
static int redirect_at;

/* Answers each request with the next redirect, and the last request with 101. */
static int peer_redirects(void *ctx, const stws_endpoint *to) {
    struct peer *p = (struct peer *)ctx;
    int opened = p->is_open, result = peer_t_open(ctx, to);
    if (!opened) {
        p->answer = redirects[redirect_at] ? redirects[redirect_at] : PEER_ANSWER;
        redirect_at += redirects[redirect_at] != NULL;
    }
    return result;
}

/* Checks where the client ends up: "host:port/path" of its last request, or a part of the error
   text. */
static void check_redirects(int follow, const char *url, const char *expected) {
    char where[400];
    struct peer p;
    stws_options o;
    const char *path;
    peer_init(&p);
    o = peer_options(&p);
    o.url = url;
    o.follow_redirects = follow;
    p.transport.open = peer_redirects;
    redirect_at = 0;
    peer_start(&p, &o);
    peer_turn(&p);
    peer_advance(&p, 600);
    path = strchr(bytes_text(&p.request), ' ');
    snprintf(where, sizeof where, "%s%s:%d%.*s", p.endpoint.secure ? "wss " : "", p.endpoint_host,
             p.endpoint.port, path ? (int)strcspn(path + 1, " ") : 0, path ? path + 1 : "");
    if (stws_state(p.client) == STWS_CONNECTED) {
        CHECK_STR(expected, where);
        CHECK_STR("CONNECTED\n", bytes_text(&p.log));
    } else {
        CHECK_HAS(expected, bytes_text(&p.why));
    }
    peer_free(&p);
}

static void redirect_to(const char *first, const char *second, const char *third,
                        const char *fourth) {
    redirects[0] = first;
    redirects[1] = second;
    redirects[2] = third;
    redirects[3] = fourth;
    redirects[4] = NULL;
}

static void test_redirects_are_followed(void) {
    redirect_to(REDIRECT("302 Found", "/b"), NULL, NULL, NULL);
    check_redirects(0, "ws://h.test/a", "see option follow_redirects");
    check_redirects(1, "ws://h.test/a", "h.test:80/b");
    check_redirects(1, "ws://h.test:81/a", "h.test:81/b");
    redirect_to(REDIRECT("301 Moved", "http://H.test:8080/b?q=1#top"), NULL, NULL, NULL);
    check_redirects(1, "ws://h.test/a", "H.test:8080/b?q=1");
    redirect_to(REDIRECT("307 Temporary", "https://h.test/b"), NULL, NULL, NULL);
    check_redirects(1, "ws://h.test/a", "wss h.test:443/b");
    redirect_to(REDIRECT("308 Permanent", "wss://h.test/b"), NULL, NULL, NULL);
    check_redirects(1, "wss://h.test/a", "wss h.test:443/b");
    redirect_to(REDIRECT("302 Found", "c"), REDIRECT("302 Found", "?x"),
                REDIRECT("302 Found", "/d"), NULL);
    check_redirects(1, "ws://h.test/a/b", "h.test:80/d");
}

static void test_redirects_that_are_not_followed(void) {
    redirect_to(REDIRECT("302 Found", "/b"), REDIRECT("302 Found", "/b"),
                REDIRECT("302 Found", "/b"), REDIRECT("302 Found", "/b"));
    check_redirects(1, "ws://h.test/a", "this redirect is not followed");
    redirect_to(REDIRECT("302 Found", "ws://other.test/b"), NULL, NULL, NULL);
    check_redirects(1, "ws://h.test/a", "ws://other.test/b");
    redirect_to(REDIRECT("302 Found", "//other.test/b"), NULL, NULL, NULL);
    check_redirects(1, "ws://h.test/a", "this redirect is not followed");
    redirect_to(REDIRECT("302 Found", "http://h.test/b"), NULL, NULL, NULL);
    check_redirects(1, "wss://h.test/a", "this redirect is not followed");
    redirect_to(REDIRECT("302 Found", "http://x:y@h.test/b"), NULL, NULL, NULL);
    check_redirects(1, "ws://h.test/a", "this redirect is not followed");
    redirect_to("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", NULL, NULL, NULL);
    check_redirects(1, "ws://h.test/a", "302");
    redirect_to(REDIRECT("304 Not Modified", "/b"), NULL, NULL, NULL);
    check_redirects(1, "ws://h.test/a", "304");
    redirect_to(REDIRECT("302 Found", "mailto:x@y"), NULL, NULL, NULL);
    check_redirects(1, "ws://h.test/a", "302");
}

/* Each attempt begins at the URL of the options. Cookies and credentials are sent to the redirect's
   target, too. */
static void test_cookies_and_credentials_follow_a_redirect(void) {
    struct peer p;
    stws_options o;
    peer_init(&p);
    redirect_to(REDIRECT("302 Found", "/b"), NULL, NULL, NULL);
    o = peer_options(&p);
    o.url = "ws://guest:hush@h.test/a";
    o.follow_redirects = o.keep_cookies = 1;
    p.transport.open = peer_redirects;
    redirect_at = 0;
    peer_start(&p, &o);
    CHECK(peer_connect(&p));
    CHECK_HAS("GET /b ", bytes_text(&p.request));
    CHECK_HAS("Authorization: Basic Z3Vlc3Q6aHVzaA==", bytes_text(&p.request));
    CHECK_STR("n=1", cookie_sent(&p));
    peer_end(&p);
    peer_turn(&p);
    CHECK(peer_connect(&p));
    CHECK_HAS("GET /a ", bytes_text(&p.request));
    peer_free(&p);
}

/* A subscription is set aside, and unsubscribed before that is reported. Then nothing is
   reported. */
static int handle_to_end;

static void unsubscribe_at_receipt(struct peer *p, const stws_event *e) {
    if (e->type == STWS_EVENT_RECEIPT && handle_to_end) stws_unsubscribe(p->client, handle_to_end);
}

static void test_a_subscription_that_ends_before_it_is_refused(void) {
    stws_subscribe_options with_receipt = {.receipt = 1};
    struct peer p;
    int i;
    strictness = CLOSES;
    peer_begin(&p);
    p.on_sent = refuse_bad;
    p.automatic &= ~AUTO_RECEIPT;
    p.on_event = unsubscribe_at_receipt;
    handle_to_end = 0;
    CHECK_INT(1, stws_subscribe(p.client, "/bad", &with_receipt));
    peer_turn(&p);
    for (i = 0; i < 20 && occurrences(&p.log, "DISCONNECTED") < 3; i++) {
        handle_to_end = occurrences(&p.log, "DISCONNECTED") == 2;
        peer_advance(&p, 500);
    }
    CHECK_INT(3, occurrences(&p.log, " STWS_ERR_LOST\n"));
    CHECK_INT(0, occurrences(&p.log, "REFUSED"));
    CHECK_INT(STWS_ERR_USAGE, stws_unsubscribe(p.client, 1));
    peer_free(&p);
}

/* A built-in client without TLS does not follow a redirect to wss://. The redirect counts as a
   normal refusal. */
static void test_a_redirect_to_tls_without_tls(void) {
    struct loopback server;
    stws_options o = stws_options_default();
    stws_event event;
    stws *client;
    int result;
    loopback_start_refusing(
        &server, "127.0.0.3", 0,
        "HTTP/1.1 302 Found\r\nLocation: https://127.0.0.3/\r\nContent-Length: 0\r\n\r\n");
    o.url = server.url;
    o.single_thread = o.follow_redirects = 1;
    o.give_up = STWS_GIVE_UP_NEVER;
    client = stws_create(&o);
    result = stws_next(client, &event, 5000);
    CHECK_INT(1, result);
    CHECK_INT(STWS_EVENT_DISCONNECTED, event.type);
    CHECK_STR("STWS_ERR_HTTP_STATUS", stws_result_name(event.result));
    CHECK(event.retry_ms >= 0);
    stws_destroy(client);
    loopback_stop(&server);
}

int main(void) {
    RUN(test_a_client_that_had_a_session_tries_again); /* [E3] */
    RUN(test_refused_credentials_end_the_client);      /* [E3] */
    RUN(test_a_first_refusal_ends_the_client);         /* [E3] */
    RUN(test_each_url_gets_an_attempt);                /* [E3] */
    RUN(test_never_give_up);                           /* [E3] */
    RUN(test_before_connect_sees_the_last_failure);    /* [E6] */
    RUN(test_retry_after_in_seconds);                  /* [E4] */
    RUN(test_retry_after_as_a_date);                   /* [E4] */
    RUN(test_retry_after_is_spread);                   /* [E4] */
    RUN(test_the_next_address_after_a_failed_upgrade); /* [E4] */
    RUN(test_when_pings_are_sent);                     /* [H6] */
    RUN(test_a_server_that_stops_answering_pings);     /* [H6] */
    RUN(test_a_server_that_never_answers_pings);       /* [H6] */
    RUN(test_a_busy_connection_into_a_black_hole);     /* [H6] */
    RUN(test_a_busy_server_that_never_answers_pings);  /* [H6] */
    RUN(test_an_unrequested_pong);                     /* [H6] */
    RUN(test_pings_without_a_grace);                   /* [H6] */
    RUN(test_no_ping_while_output_waits);              /* [H6] */
    RUN(test_an_idle_connection_is_cut);
    RUN(test_a_bad_subscription_is_set_aside); /* [E12] */
    RUN(test_two_bad_subscriptions_are_set_aside);
    RUN(test_an_error_that_names_a_subscription);
    RUN(test_the_error_text_after_a_subscribe);
    RUN(test_ends_long_after_a_subscribe);
    RUN(test_breaks_right_after_a_subscribe);
    RUN(test_a_server_that_ends_each_session_soon);
    RUN(test_a_send_that_ends_each_session);
    RUN(test_the_outbox_waits_while_subscriptions_are_tested);
    RUN(test_subscriptions_that_change_during_the_test);
    RUN(test_a_lost_receipt_states_the_cause);
    RUN(test_a_header_of_the_answer);
    RUN(test_headers_that_are_not_kept);
    RUN(test_cookies_are_sent_back);
    RUN(test_cookies_that_are_not_for_this_url);
    RUN(test_cookies_of_two_hosts);
    RUN(test_cookies_without_room);
    RUN(test_credentials_of_the_url);
    RUN(test_invalid_credentials_in_the_url);
    RUN(test_credentials_of_the_url_are_not_shown);
    RUN(test_a_peer_that_repeats_the_url);
    RUN(test_redirects_are_followed);
    RUN(test_redirects_that_are_not_followed);
    RUN(test_cookies_and_credentials_follow_a_redirect);
    RUN(test_a_redirect_to_tls_without_tls);
    RUN(test_a_subscription_that_ends_before_it_is_refused);
    return test_report();
}
