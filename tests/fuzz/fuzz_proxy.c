/* The connection through a proxy. The proxy's answers, HTTP or SOCKS 5, arrive in pieces over
   simulated sockets. An independent judge reads the same bytes one by one, and knows how many bytes
   each recv call returned. The client must come to the same result, however the answers are split:
   it continues, waits, or explains the failure in a sentence. It retries only if that may help.
   Each byte that it sends to the proxy is what the RFCs require. Bytes of the server that arrive
   behind the proxy's answer must reach the session completely.

   Also tests the URLs of proxies, and the choice of a proxy by environment variables. */
#define STOMP_WS_IMPLEMENTATION
#include "net.h"

#include "tests/fault/scripted.h"

#include "tests/fuzz/fuzz.h"

#include "net_drive.h"

/* ==== the judge: RFC 9110, 9.3.6; RFC 1928; RFC 1929 ==== */

enum { METHOD, LOGIN, WAY, OPEN, REFUSED };
enum { NOT_HTTP, NOT_SOCKS, TOO_LONG, SAYS_NO, BYTES_BEHIND };
enum { MOST_HEAD = 4096, MOST_HEADERS = 64, MOST_FIRST_WORD = 20 };

static struct judge {
    int socks, has_login;
    int step, why, code, final, logged_in;
    size_t count; /* bytes of the current answer; with HTTP including interim answers */
    size_t whole; /* with SOCKS: the number of bytes that the answer has */
    char head[MOST_HEAD + 1];
    size_t begin;           /* where the current head begins in head[] */
    struct fuzz_text stray; /* what was read behind the answer */
} judge;

static void refuse(int why, int code, int final) {
    judge.step = REFUSED;
    judge.why = why;
    judge.code = code;
    judge.final = final;
}

static int is_token_char(int c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c > 0 && strchr("!#$%&'*+-.^_`|~", c));
}

static int is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Returns the status of "HTTP/1.x NNN", at the end of the line or before a blank. Returns 0 if the
   line is different. */
static int status_of(const char *line) {
    int status, i;
    if (strncmp(line, "HTTP/1.", 7) != 0 || !is_digit(line[7]) || line[8] != ' ') return 0;
    for (status = 0, i = 9; i < 12; i++) {
        if (!is_digit(line[i])) return 0;
        status = 10 * status + line[i] - '0';
    }
    if (line[12] && line[12] != ' ') return 0;
    return status < 100 || (status == 101 && line[7] == '0') ? 0 : status;
}

/* Returns whether the line is a request. A request instead of an answer is read to its end, and
   then refused. */
static int is_request(const char *line) {
    size_t method = strcspn(line, " "), target, i;
    for (i = 0; i < method; i++)
        if (!is_token_char(line[i])) return 0;
    if (method == 0 || !line[method]) return 0;
    target = strcspn(line + method + 1, " ");
    line += method + 1 + target;
    return target > 0 && strlen(line) == 9 && strncmp(line, " HTTP/1.", 8) == 0 &&
           is_digit(line[8]);
}

static int is_field(const char *line) {
    size_t i;
    for (i = 0; is_token_char(line[i]);) i++;
    return i > 0 && line[i] == ':';
}

/* Returns the line at *at, in place, and moves *at behind it. Returns NULL if the line contains
   bytes that no line may contain. */
static char *take_line(char **at) {
    char *line = *at, *end = line;
    while (*end != '\n') end++;
    *at = end + 1;
    if (end > line && end[-1] == '\r') end--;
    *end = 0;
    return strlen(line) == (size_t)(end - line) && !strchr(line, '\r') ? line : NULL;
}

static void judge_head(int is_last) {
    char *at = judge.head + judge.begin, *line = take_line(&at);
    int status = line ? status_of(line) : 0, fields = 0;
    if (!status && (!line || !is_request(line))) {
        refuse(NOT_HTTP, 0, 1);
        return;
    }
    while ((line = take_line(&at)) != NULL && *line) {
        if (!is_field(line)) break;
        if (++fields > MOST_HEADERS) {
            refuse(TOO_LONG, 0, 1);
            return;
        }
    }
    if (!line || *line || !status)
        refuse(NOT_HTTP, 0, 1);
    else if (status < 200 && status != 101)
        judge.begin = judge.count;
    else if (status < 200 || status > 299)
        refuse(SAYS_NO, status, status < 500 && status != 408 && status != 425 && status != 429);
    else if (!is_last)
        refuse(BYTES_BEHIND, 0, 1);
    else
        judge.step = OPEN;
}

static void judge_http(int c, int is_last) {
    const char *head = judge.head + judge.begin;
    size_t n = judge.count - judge.begin;
    if (n <= MOST_FIRST_WORD && !memchr(head, ' ', n)) {
        int ends = c == ' ' && n > 0, goes_on = is_token_char(c) || c == '/';
        if (!ends && (!goes_on || n == MOST_FIRST_WORD)) {
            refuse(NOT_HTTP, 0, 1);
            return;
        }
    }
    judge.head[judge.count++] = (char)c;
    n++;
    if (c == '\n' &&
        ((n >= 2 && head[n - 2] == '\n') || (n >= 3 && head[n - 2] == '\r' && head[n - 3] == '\n')))
        judge_head(is_last);
    if (judge.step == WAY && judge.count == MOST_HEAD) refuse(TOO_LONG, 0, 1);
}

static void judge_socks_end(int next, int is_last) {
    judge.count = 0;
    judge.step = next;
    judge.logged_in |= next == LOGIN;
    if (!is_last) refuse(BYTES_BEHIND, 0, 1);
}

static void judge_socks(int c, int is_last) {
    size_t n = judge.count++;
    if (n == 0 && c != (judge.step == LOGIN ? 1 : 5)) {
        refuse(NOT_SOCKS, 0, 1);
    } else if (judge.step == METHOD && n == 1) {
        if (c == 0 || (c == 2 && judge.has_login))
            judge_socks_end(c ? LOGIN : WAY, is_last);
        else
            refuse(SAYS_NO, 255, 1);
    } else if (judge.step == LOGIN && n == 1) {
        if (c == 0)
            judge_socks_end(WAY, is_last);
        else
            refuse(SAYS_NO, 256, 1);
    } else if (judge.step == WAY) {
        if (n == 1 && c) refuse(SAYS_NO, c, c == 2 || c > 6);
        if (n == 3 && c != 1 && c != 3 && c != 4) refuse(NOT_SOCKS, 0, 1);
        if (n == 3) judge.whole = c == 1 ? 10 : c == 4 ? 22 : 7;
        if (n == 4 && judge.whole == 7) judge.whole += (size_t)c;
        if (n > 4 && n + 1 == judge.whole) judge_socks_end(OPEN, is_last);
    }
}

static void judge_reading(const unsigned char *data, size_t len) {
    size_t i;
    if (judge.step == OPEN) fuzz_add(&judge.stray, data, len);
    if (judge.step == OPEN) return;
    for (i = 0; i < len && judge.step != REFUSED; i++) {
        if (judge.socks)
            judge_socks(data[i], i + 1 == len);
        else
            judge_http(data[i], i + 1 == len);
    }
}

/* ==== what the client must send to the proxy ==== */

struct target {
    const char *url, *host, *place; /* place: host and port as CONNECT names them */
    const char *socks;              /* the address in SOCKS form: its type, its length if needed,
                                       its bytes */
    size_t socks_len;
    int port;
};

#define SOCKS(literal) literal, sizeof(literal) - 1
static const struct target targets[] = {
    {"ws://broker.invalid/x", "broker.invalid", "broker.invalid:80", SOCKS("\3\16broker.invalid"),
     80},
    {"ws://192.0.2.7:8080/", "192.0.2.7", "192.0.2.7:8080", SOCKS("\1\300\0\2\7"), 8080},
    {"ws://[2001:db8::7]:65535/", "2001:db8::7", "[2001:db8::7]:65535",
     SOCKS("\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\7"), 65535},
    {"ws://a:1", "a", "a:1", SOCKS("\3\1a"), 1}};

/* RFC 4648, section 4, bit by bit. */
static void add_base64(struct fuzz_text *t, const char *data, size_t len) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t bit, k;
    for (bit = 0; bit < 8 * len; bit += 6) {
        unsigned value = 0;
        for (k = bit; k < bit + 6; k++)
            value = value << 1 |
                    (k < 8 * len ? ((unsigned char)data[k / 8] + 0u) >> (7 - k % 8) & 1 : 0);
        fuzz_add(t, &letters[value], 1);
    }
    for (; bit % 24; bit += 6) fuzz_add(t, "=", 1);
}

static void add_string(struct fuzz_text *t, const char *s) {
    fuzz_add(t, s, strlen(s));
}

static void add_counted(struct fuzz_text *t, const char *s) {
    unsigned char len = (unsigned char)strlen(s);
    fuzz_add(t, &len, 1);
    add_string(t, s);
}

static void say_http(struct fuzz_text *t, const struct target *to, const char *user,
                     const char *password) {
    struct fuzz_text pair = {0};
    add_string(t, "CONNECT ");
    add_string(t, to->place);
    add_string(t, " HTTP/1.1\r\nHost: ");
    add_string(t, to->place);
    add_string(t, "\r\n");
    if (*user || *password) {
        add_string(&pair, user);
        add_string(&pair, ":");
        add_string(&pair, password);
        add_string(t, "Proxy-Authorization: Basic ");
        add_base64(t, pair.data, pair.len);
        add_string(t, "\r\n");
        fuzz_text_free(&pair);
    }
    add_string(t, "\r\n");
}

/* Adds what the client must have sent up to the judge's current step. */
static void say_socks(struct fuzz_text *t, const struct target *to, const char *user,
                      const char *password) {
    unsigned char port[2];
    port[0] = (unsigned char)(to->port >> 8);
    port[1] = (unsigned char)(to->port & 255);
    fuzz_add(t, *user ? "\5\2\0\2" : "\5\1\0", *user ? 4 : 3);
    if (judge.logged_in) {
        add_string(t, "\1");
        add_counted(t, user);
        add_counted(t, password);
    }
    if (judge.step < WAY) return;
    fuzz_add(t, "\5\1\0", 3);
    fuzz_add(t, to->socks, to->socks_len);
    fuzz_add(t, port, 2);
}

/* ==== a negotiation with a proxy ==== */

struct way {
    struct peer peer;
    struct fuzz_input in;
    const struct target *to;
    char *user, *password;
    char url[1800];
    size_t allocated, most_allocated, block; /* block: the size of the client's own block */
};

static void *way_alloc(void *ctx, size_t size) {
    struct way *w = (struct way *)ctx;
    void *block = malloc(size);
    if (!block) abort();
    w->allocated += size;
    if (w->allocated > w->most_allocated) w->most_allocated = w->allocated;
    return block;
}

static void way_release(void *ctx, void *block, size_t size) {
    struct way *w = (struct way *)ctx;
    w->allocated -= block ? size : 0;
    free(block);
}

/* A text of the input, as a string without NUL. */
static char *word_of(struct fuzz_input *in) {
    size_t len;
    const unsigned char *data = fuzz_span(in, &len);
    return fuzz_string(data, len);
}

/* Replaces the characters that Basic does not allow (RFC 7617, section 2): control characters, and
   those in `others`. */
static void make_basic(char *word, const char *others) {
    for (; *word; word++)
        if ((unsigned char)*word < 32 || *word == 127 || strchr(others, *word)) *word = '_';
}

static size_t put_encoded(char *to, const char *s) {
    size_t len = 0;
    for (; *s; s++) len += (size_t)sprintf(to + len, "%%%02X", (unsigned char)*s);
    return len;
}

static void write_url(struct way *w) {
    char *at = w->url + sprintf(w->url, "%s://", judge.socks ? "socks5" : "http");
    if (*w->user || *w->password) {
        at += put_encoded(at, w->user);
        at += sprintf(at, ":");
        at += put_encoded(at, w->password);
        at += sprintf(at, "@");
    }
    sprintf(at, "127.0.0.1:3128");
}

/* The proxy sends a piece of its answer, one time or many times (a head may be long). The client
   runs after each piece, or only when all pieces have arrived. */
static void say_answer(struct way *w) {
    unsigned choice = fuzz_byte(&w->in), times = choice & 128 ? 1 + (choice & 31) : 1;
    size_t len;
    const unsigned char *data = fuzz_span(&w->in, &len);
    while (times--) net_put(&net.in, data, len);
    if (choice & 64) return;
    net_drive(&w->peer);
}

static void check_said(const struct way *w) {
    struct fuzz_text said = {0};
    if (judge.socks)
        say_socks(&said, w->to, w->user, w->password);
    else
        say_http(&said, w->to, w->user, w->password);
    FUZZ_CHECK(net_len(&net.out) >= said.len || judge.step == REFUSED);
    if (judge.step != OPEN && judge.step != REFUSED) FUZZ_CHECK(net_len(&net.out) == said.len);
    if (judge.step != REFUSED) {
        FUZZ_CHECK(memcmp(net_at(&net.out), said.data, said.len) == 0);
        net.out.begin += said.len;
    }
    fuzz_text_free(&said);
}

static void check_refused(const struct way *w) {
    static const char *const words[] = {"does not answer in HTTP", "does not answer in SOCKS 5",
                                        "answers with a head of over", "refused with ",
                                        "sends bytes of its own after its answer"};
    const struct peer *p = &w->peer;
    char code[40];
    FUZZ_CHECK(p->result == STWS_ERR_PROXY);
    FUZZ_CHECK(strstr(bytes_text(&p->why), "the proxy 127.0.0.1 port 3128 ") != NULL);
    FUZZ_CHECK(strstr(bytes_text(&p->why), words[judge.why]) != NULL);
    FUZZ_CHECK((p->retry_ms < 0) == judge.final);
    snprintf(code, sizeof code, judge.socks ? "SOCKS reply %d" : "HTTP %d", judge.code);
    if (judge.why == SAYS_NO) FUZZ_CHECK(strstr(bytes_text(&p->why), code) != NULL);
}

/* The proxy has neither accepted nor refused. The client waits, and any end of the wait is
   explained in a sentence. */
static void check_waiting(struct way *w) {
    static const int ends[] = {NET_OVER, ECONNRESET, ETIMEDOUT};
    struct peer *p = &w->peer;
    unsigned choice = fuzz_below(&w->in, 4);
    FUZZ_CHECK(stws_state(p->client) == STWS_CONNECTING && net_len(&net.in) == 0);
    FUZZ_CHECK(p->retry_ms == -2);
    if (choice < 3) {
        net.end = ends[choice];
        net_drive(p);
        FUZZ_CHECK(p->result == STWS_ERR_PROXY);
        FUZZ_CHECK(strstr(bytes_text(&p->why), "closed the connection before") != NULL);
    } else {
        net_pass_ms(p, 10000);
        FUZZ_CHECK(p->result == STWS_ERR_TIMEOUT);
        FUZZ_CHECK(strstr(bytes_text(&p->why), "the proxy did not connect us") != NULL);
    }
    FUZZ_CHECK(p->retry_ms >= 0);
}

/* Bytes that arrived behind the answer, but in a later recv, are the server's response to the
   upgrade. */
static void check_stray(const struct way *w) {
    stws_header headers[128];
    stws_http http = {0};
    size_t used;
    int result;
    http.headers = headers;
    http.max_headers = 128;
    result = stws_handshake_parse(judge.stray.data, judge.stray.len, &http, &used);
    if (result == STWS_DONE && http.status >= 200)
        FUZZ_CHECK(stws_http_status(w->peer.client) == http.status ||
                   stws_state(w->peer.client) == STWS_UPGRADING); /* the client waits for the body
                                                                     of the response */
    if (w->peer.retry_ms != -2) fuzz_check_sentence(bytes_text(&w->peer.why));
    FUZZ_CHECK(w->peer.result != STWS_ERR_PROXY);
}

static void check_session(struct way *w) {
    struct peer *p = &w->peer;
    char *body = word_of(&w->in);
    struct bytes expected = {0};
    stws_subscribe(p->client, "/topic/a", NULL);
    net_serve(p);
    FUZZ_CHECK(stws_state(p->client) == STWS_CONNECTED);
    peer_message(p, sent_header(peer_sent(p, "SUBSCRIBE", 0), "id"), "1", "/topic/a", body);
    net_serve(p);
    bytes_print(&expected, "CONNECTED\nMESSAGE /topic/a 1 %s\n", body);
    FUZZ_CHECK(strcmp(bytes_text(&expected), bytes_text(&p->log)) == 0);
    FUZZ_CHECK(p->broken == 0);
    bytes_free(&expected);
    free(body);
}

static void on_open(void) {
    judge.step = judge.socks ? METHOD : WAY;
}

static void way_begin(struct way *w, unsigned choice, const unsigned char *data, size_t size) {
    static stws_allocator allocator = {NULL, way_alloc, way_release};
    stws_endpoint to = {"", 0, 0};
    stws_options o;
    unsigned i;
    memset(w, 0, sizeof *w);
    memset(&judge, 0, sizeof judge);
    w->in.data = data;
    w->in.left = size;
    judge.socks = choice & 1;
    w->to = &targets[choice >> 1 & 3];
    w->user = choice & 8 ? word_of(&w->in) : fuzz_string("", 0);
    w->password = choice & 8 ? word_of(&w->in) : fuzz_string("", 0);
    if (!judge.socks) make_basic(w->user, ":");
    if (!judge.socks) make_basic(w->password, "");
    judge.has_login = *w->user != 0;
    for (i = 0; i < 3; i++) net.in.cuts[i] = (unsigned char)fuzz_byte(&w->in);
    for (i = 0; i < 3; i++) net.out.cuts[i] = (unsigned char)fuzz_byte(&w->in);
    net.on_open = on_open;
    net.on_read = judge_reading;
    write_url(w);
    peer_init(&w->peer);
    w->peer.stepping = 1;
    o = peer_options(&w->peer);
    o.transport = NULL;
    o.url = w->to->url;
    o.proxy = w->url;
    o.rx_buffer = o.tx_buffer = 4096;
    allocator.ctx = w;
    o.allocator = &allocator;
    peer_start(&w->peer, &o);
    peer_t_open(&w->peer, &to);
    w->block = w->most_allocated;
    FUZZ_CHECK(w->block <= stws_size(&o) + 256);
}

static void way_end(struct way *w) {
    struct peer *p = &w->peer;
    stws_stop(p->client);
    net_drive(p);
    net_pass_ms(p, 60000);
    FUZZ_CHECK(p->ended != 0);
    FUZZ_CHECK(w->allocated == w->block);
    /* The client's buffer may have grown only because the server sent a long head. */
    FUZZ_CHECK(w->most_allocated == w->block || judge.stray.len > 4096);
    peer_t_close(p);
    peer_free(p);
    fflush(stdout);
    FUZZ_CHECK(test_case_failures == 0 && net.opened == net.closed && w->allocated == 0);
    fuzz_text_free(&judge.stray);
    free(w->user);
    free(w->password);
}

static void fuzz_way(unsigned choice, const unsigned char *data, size_t size) {
    static struct way w;
    int answers = 0;
    way_begin(&w, choice, data, size);
    net_drive(&w.peer);
    while (w.in.left > 0 && judge.step < OPEN && answers++ < 16) say_answer(&w);
    net_drive(&w.peer);
    check_said(&w);
    if (judge.step == REFUSED)
        check_refused(&w);
    else if (judge.step != OPEN)
        check_waiting(&w);
    else if (judge.stray.len)
        check_stray(&w);
    else
        check_session(&w);
    way_end(&w);
}

/* ==== URLs, and the environment ==== */

static void fuzz_url(struct fuzz_input *in) {
    stws_p_proxy_url first, again;
    stws_options o = stws_options_default();
    char *url = fuzz_string(in->data, in->left), copy[2000], *at = copy;
    o.url = "ws://broker.invalid/";
    o.proxy = url;
    if (!stws_p_proxy_parse(&first, url)) {
        FUZZ_CHECK(stws_size(&o) == 0 || strcmp(url, STWS_PROXY_FROM_ENVIRONMENT) == 0);
    } else {
        FUZZ_CHECK(stws_size(&o) > 0);
        FUZZ_CHECK(*first.host && first.port > 0 && first.port < 65536);
        at += sprintf(at, "%s://", first.socks ? "socks5" : "http");
        at += put_encoded(at, first.user);
        at += sprintf(at, ":");
        at += put_encoded(at, first.password);
        sprintf(at, strchr(first.host, ':') ? "@[%s]:%d" : "@%s:%d", first.host, first.port);
        FUZZ_CHECK(stws_p_proxy_parse(&again, copy));
        FUZZ_CHECK(memcmp(&first, &again, sizeof first) == 0);
    }
    free(url);
}

enum { VARIABLES = 8 };
static const char *const variables[VARIABLES] = {"no_proxy",    "NO_PROXY",   "https_proxy",
                                                 "HTTPS_PROXY", "http_proxy", "HTTP_PROXY",
                                                 "all_proxy",   "ALL_PROXY"};
static char *values[VARIABLES];

static const char *value_of(const char *name) {
    int i;
    for (i = 0; strcmp(name, variables[i]) != 0;) i++;
    return values[i];
}

static int is_same_letter(char a, char b) {
    a = a >= 'A' && a <= 'Z' ? (char)(a - 'A' + 'a') : a;
    b = b >= 'A' && b <= 'Z' ? (char)(b - 'A' + 'a') : b;
    return a == b;
}

/* Returns whether the host ends in these bytes, and they begin at a label. Compares from the last
   byte backwards. */
static int ends_in(const char *host, const char *word, size_t len) {
    size_t i, host_len = strlen(host);
    for (i = 0; i < len; i++)
        if (i >= host_len || !is_same_letter(host[host_len - 1 - i], word[len - 1 - i])) return 0;
    return len == host_len || host[host_len - 1 - len] == '.';
}

static int is_spared(const char *list, const char *host) {
    for (;;) {
        size_t len = strcspn(list, ","), left = len;
        const char *word = list;
        while (left && strchr(" \t", *word)) word++, left--;
        while (left && strchr(" \t", word[left - 1])) left--;
        if (left == 1 && *word == '*') return 1;
        if (left && *word == '.' && ends_in(host, word + 1, left - 1)) return 1;
        if (left && *word != '.' && ends_in(host, word, left)) return 1;
        if (!list[len]) return 0;
        list += len + 1;
    }
}

/* Returns the first of these variables that is set, or NULL. */
static const char *first_of(const int *numbers) {
    for (; *numbers >= 0; numbers++)
        if (values[*numbers]) return values[*numbers];
    return NULL;
}

static void fuzz_environment(struct fuzz_input *in) {
    static const int secure[] = {2, 3, 6, 7, -1}, plain[] = {4, 6, 7, -1}, spare[] = {0, 1, -1};
    unsigned there = fuzz_byte(in), is_secure = fuzz_byte(in) & 1;
    const char *expected, *list;
    char *host = word_of(in);
    int i;
    for (i = 0; i < VARIABLES; i++) values[i] = there >> i & 1 ? word_of(in) : NULL;
    net.on_getenv = value_of;
    expected = first_of(is_secure ? secure : plain);
    list = first_of(spare);
    if (expected && (!*expected || (list && is_spared(list, host)))) expected = NULL;
    FUZZ_CHECK(stws_p_proxy_from_environment(host, (int)is_secure) == expected);
    for (i = 0; i < VARIABLES; i++) free(values[i]);
    free(host);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    struct fuzz_input in = {data, size};
    unsigned choice = fuzz_byte(&in);
    net_reset();
    if (choice < 192)
        fuzz_way(choice, in.data, in.left);
    else if (choice < 224)
        fuzz_url(&in);
    else
        fuzz_environment(&in);
}
