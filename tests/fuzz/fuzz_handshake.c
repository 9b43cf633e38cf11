/* The HTTP upgrade. A head is parsed as a whole and in pieces. A client checks it as a response,
   and a server answers it as a request. A request that is built from arbitrary strings contains
   only the headers that were requested. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/fuzz/fuzz.h"

enum { MAX_HEADERS = 16 };

static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char offered[] = "v12.stomp, v11.stomp, v10.stomp";

struct head {
    stws_http http;
    stws_header headers[MAX_HEADERS];
    struct fuzz_window window;
    size_t used;
    int result;
};

static void head_free(struct head *h) {
    free(h->window.block);
}

static void head_read(struct head *h, const unsigned char *data, size_t len, size_t max_bytes,
                      struct fuzz_cuts cuts) {
    size_t have = 0;
    memset(h, 0, sizeof *h);
    h->http.headers = h->headers;
    h->http.max_headers = MAX_HEADERS;
    h->http.max_bytes = max_bytes;
    do {
        size_t n = fuzz_cut(&cuts, len - have);
        fuzz_window_feed(&h->window, data + have, n);
        have += n;
        h->result = stws_handshake_parse(h->window.block, have, &h->http, &h->used);
        if (h->result != STWS_DONE) FUZZ_CHECK(h->used == 0);
        if (h->result < 0) fuzz_check_error(h->result);
        FUZZ_CHECK(h->used <= have);
        FUZZ_CHECK(have < max_bytes || h->result != STWS_MORE);
    } while (h->result == STWS_MORE && have < len);
}

static void check_line_text(const char *s) {
    FUZZ_CHECK(s != NULL);
    FUZZ_CHECK(strcspn(s, "\r\n") == strlen(s));
}

static void check_head(const struct head *h, size_t max_bytes) {
    const stws_http *http = &h->http;
    size_t i;
    FUZZ_CHECK(h->used <= max_bytes && http->header_count <= MAX_HEADERS);
    FUZZ_CHECK(http->minor >= 0 && http->minor <= 9);
    if (http->status) {
        FUZZ_CHECK(http->status >= 100 && http->status <= 999);
        check_line_text(http->reason);
    } else {
        check_line_text(http->method);
        check_line_text(http->target);
        FUZZ_CHECK(*http->method && *http->target && !strchr(http->target, ' '));
    }
    for (i = 0; i < http->header_count; i++) {
        const stws_header *header = &http->headers[i];
        FUZZ_CHECK(header->name_len > 0 && strlen(header->name) == header->name_len);
        FUZZ_CHECK(strlen(header->value) == header->value_len);
        FUZZ_CHECK(strcspn(header->name, "\r\n\t :") == header->name_len);
        check_line_text(header->value);
        FUZZ_CHECK(stws_http_header(http, header->name) != NULL);
    }
}

/* Checks that the result does not depend on how the bytes arrived. */
static void check_same(const struct head *a, const struct head *b) {
    size_t i;
    FUZZ_CHECK(a->result == b->result);
    if (a->result != STWS_DONE) return;
    FUZZ_CHECK(a->used == b->used && a->http.status == b->http.status);
    FUZZ_CHECK(a->http.header_count == b->http.header_count);
    for (i = 0; i < a->http.header_count; i++) {
        FUZZ_CHECK(strcmp(a->headers[i].name, b->headers[i].name) == 0);
        FUZZ_CHECK(strcmp(a->headers[i].value, b->headers[i].value) == 0);
    }
}

/* ---- both sides check it ---- */

static void check_as_answer(const stws_http *http) {
    const char *subprotocol = "", *why = NULL, *accept;
    int result = stws_handshake_check(http, key, offered, &subprotocol, &why);
    FUZZ_CHECK(stws_handshake_check(http, key, offered, NULL, NULL) == result);
    if (result < 0) {
        fuzz_check_error(result);
        fuzz_check_sentence(why);
        return;
    }
    accept = stws_http_header(http, "sec-websocket-accept");
    FUZZ_CHECK(http->status == 101 && http->minor >= 1);
    FUZZ_CHECK(accept && strcmp(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == 0);
    FUZZ_CHECK(!subprotocol || (strlen(subprotocol) == 9 && strstr(offered, subprotocol)));
}

/* Builds a complete head. */
static void parse_own(char *head, size_t len, stws_http *http, stws_header headers[MAX_HEADERS]) {
    size_t used = 0;
    memset(http, 0, sizeof *http);
    http->headers = headers;
    http->max_headers = MAX_HEADERS;
    FUZZ_CHECK(stws_handshake_parse(head, len, http, &used) == STWS_DONE);
    FUZZ_CHECK(used == len);
}

/* Checks that the client accepts the response that the server function builds. */
static void check_own_answer(char *answer, size_t len, const char *their_key) {
    const char *subprotocol = NULL, *why = NULL;
    stws_header headers[MAX_HEADERS];
    stws_http http;
    parse_own(answer, len, &http, headers);
    if (their_key)
        FUZZ_CHECK(stws_handshake_check(&http, their_key, offered, &subprotocol, &why) == STWS_OK);
    else
        FUZZ_CHECK(http.status == 400 || http.status == 426);
}

static void check_as_request(const stws_http *http) {
    size_t need = 0, again = 0;
    char *answer;
    int result;
    FUZZ_CHECK(stws_handshake_answer(NULL, 0, http, offered, &need) == STWS_ERR_SPACE);
    answer = fuzz_room(need);
    FUZZ_CHECK(stws_handshake_answer(answer, need - 1, http, offered, &again) == STWS_ERR_SPACE);
    FUZZ_CHECK(again == need);
    result = stws_handshake_answer(answer, need, http, offered, &again);
    FUZZ_CHECK(again == need && (result == STWS_OK || result == STWS_ERR_HTTP_UPGRADE));
    check_own_answer(answer, need,
                     result == STWS_OK ? stws_http_header(http, "Sec-WebSocket-Key") : NULL);
    free(answer);
}

static void fuzz_head(struct fuzz_input *in) {
    static const size_t limits[] = {16384, 16384, 300, 64};
    size_t limit = limits[fuzz_below(in, 4)];
    struct fuzz_cuts cuts = fuzz_cuts_of(in), none = {{0, 0, 0}, 0};
    struct head whole, pieces;
    head_read(&whole, in->data, in->left, limit, none);
    head_read(&pieces, in->data, in->left, limit, cuts);
    check_same(&whole, &pieces);
    if (whole.result == STWS_DONE) {
        check_head(&whole, limit);
        check_head(&pieces, limit);
        check_as_answer(&whole.http);
        check_as_request(&pieces.http);
    }
    head_free(&whole);
    head_free(&pieces);
}

/* ---- requests built from arbitrary strings ---- */

static char *text_of(struct fuzz_input *in) {
    size_t len;
    const unsigned char *data = fuzz_span(in, &len);
    return fuzz_string(data, len);
}

static void check_value(const stws_http *http, const char *name, const char *value) {
    const char *found = stws_http_header(http, name);
    size_t len = strlen(value);
    stws_p_trim(&value, &len);
    FUZZ_CHECK(found && strlen(found) == len && memcmp(found, value, len) == 0);
}

static void check_request(char *request, size_t len, const stws_handshake *h) {
    stws_header headers[MAX_HEADERS];
    stws_http http;
    unsigned basic;
    parse_own(request, len, &http, headers);
    basic = h->url->user_info &&
            !stws_p_equal_nocase(h->headers[0], strlen(h->headers[0]), "authorization", 13);
    FUZZ_CHECK(http.header_count == 6u + !!*h->subprotocols + !!*h->origin + !!*h->cookie + basic);
    if (basic) check_value(&http, "Authorization", "Basic dXNlcjpwQHNz");
    check_value(&http, "Sec-WebSocket-Key", key);
    if (*h->subprotocols) check_value(&http, "Sec-WebSocket-Protocol", h->subprotocols);
    check_as_request(&http);
}

/* With user and password in the URL, or without them. */
static void fuzz_request(struct fuzz_input *in, int with_user) {
    char *texts[5];
    const char *extra[3] = {NULL, NULL, NULL};
    stws_url url;
    stws_handshake h = {&url, key, NULL, NULL, NULL, extra};
    size_t need = 0, i;
    int result;
    for (i = 0; i < 5; i++) texts[i] = text_of(in);
    h.subprotocols = texts[0];
    h.origin = texts[1];
    h.cookie = texts[2];
    extra[0] = texts[3];
    extra[1] = texts[4];
    FUZZ_CHECK(stws_url_parse(with_user ? "ws://user:p%40ss@host/path" : "ws://host/path", &url,
                              NULL) == STWS_OK);
    result = stws_handshake_request(NULL, 0, &h, &need);
    if (result == STWS_ERR_SPACE) {
        char *request = fuzz_room(need);
        FUZZ_CHECK(stws_handshake_request(request, need, &h, &need) == STWS_OK);
        check_request(request, need, &h);
        free(request);
    } else {
        FUZZ_CHECK(result == STWS_ERR_USAGE);
    }
    for (i = 0; i < 5; i++) free(texts[i]);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    struct fuzz_input in = {data, size};
    unsigned choice = fuzz_byte(&in);
    if (choice & 1)
        fuzz_request(&in, choice >> 1 & 1);
    else
        fuzz_head(&in);
}
