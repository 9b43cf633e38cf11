/* URLs. The parts of an accepted URL are within the string, and form the same URL when they are put
   together. They can be used in an upgrade request, which contains them unchanged. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/fuzz/fuzz.h"

static int is_inside(const char *part, size_t len, const char *whole) {
    return part >= whole && len <= strlen(whole) && part + len <= whole + strlen(whole);
}

static int is_visible(const char *s, size_t len) {
    size_t i;
    for (i = 0; i < len; i++)
        if (s[i] <= ' ' || s[i] >= 127) return 0;
    return 1;
}

static void check_parts(const stws_url *url, const char *text) {
    FUZZ_CHECK(url->host_len >= 1 && url->host_len <= 253);
    FUZZ_CHECK(url->port >= 1 && url->port <= 65535);
    FUZZ_CHECK(url->has_port || url->port == (url->secure ? 443 : 80));
    FUZZ_CHECK(is_inside(url->host, url->host_len, text));
    FUZZ_CHECK(is_visible(url->host, url->host_len));
    FUZZ_CHECK(!memchr(url->host, '@', url->host_len) && !memchr(url->host, '/', url->host_len));
    FUZZ_CHECK(url->is_ipv6 || !memchr(url->host, ':', url->host_len));
    FUZZ_CHECK(!url->user_info || is_inside(url->user_info, url->user_info_len, text));
    FUZZ_CHECK(!url->user_info || is_visible(url->user_info, url->user_info_len));
    FUZZ_CHECK(url->target_len == 0 || is_inside(url->target, url->target_len, text));
    FUZZ_CHECK(is_visible(url->target, url->target_len));
    FUZZ_CHECK(!memchr(url->target, '#', url->target_len));
}

/* "host:port" as it stands in a URL and in the Host header. */
static void add_authority(struct fuzz_text *t, const stws_url *url, int with_port) {
    char port[16];
    if (url->is_ipv6) fuzz_add(t, "[", 1);
    fuzz_add(t, url->host, url->host_len);
    if (url->is_ipv6) fuzz_add(t, "]", 1);
    if (!with_port) return;
    snprintf(port, sizeof port, ":%d", url->port);
    fuzz_add(t, port, strlen(port));
}

static int same(const char *a, size_t a_len, const char *b, size_t b_len) {
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static void check_again(const stws_url *url) {
    struct fuzz_text t = {0};
    const char *why = NULL;
    stws_url again;
    fuzz_add(&t, url->secure ? "wss://" : "ws://", url->secure ? 6 : 5);
    add_authority(&t, url, 1);
    fuzz_add(&t, url->target, url->target_len);
    fuzz_add(&t, "", 1);
    FUZZ_CHECK(stws_url_parse(t.data, &again, &why) == STWS_OK);
    FUZZ_CHECK(again.secure == url->secure && again.port == url->port && again.has_port);
    FUZZ_CHECK(again.is_ipv6 == url->is_ipv6);
    FUZZ_CHECK(same(again.host, again.host_len, url->host, url->host_len));
    FUZZ_CHECK(same(again.target, again.target_len, url->target, url->target_len));
    fuzz_text_free(&t);
}

/* A zone is valid only on this machine, so the Host header must not contain it (RFC 6874, section
   4). */
static stws_url without_zone(const stws_url *url) {
    const char *zone = url->is_ipv6 ? memchr(url->host, '%', url->host_len) : NULL;
    stws_url plain = *url;
    if (zone) plain.host_len = (size_t)(zone - url->host);
    return plain;
}

static void check_request(const stws_url *url) {
    const stws_url named = without_zone(url);
    stws_handshake handshake = {url, "dGhlIHNhbXBsZSBub25jZQ==", "v12.stomp", NULL, NULL, NULL};
    stws_header headers[8];
    stws_http http = {0};
    struct fuzz_text host = {0};
    size_t need = 0, used = 0, skip;
    const char *basic;
    char *request;
    FUZZ_CHECK(stws_handshake_request(NULL, 0, &handshake, &need) == STWS_ERR_SPACE);
    request = fuzz_room(need);
    FUZZ_CHECK(stws_handshake_request(request, need, &handshake, &need) == STWS_OK);
    http.headers = headers;
    http.max_headers = 8;
    http.max_bytes = need;
    FUZZ_CHECK(stws_handshake_parse(request, need, &http, &used) == STWS_DONE);
    basic = stws_http_header(&http, "Authorization");
    FUZZ_CHECK(used == need && http.header_count == (basic ? 7u : 6u));
    FUZZ_CHECK(!basic || (url->user_info && strncmp(basic, "Basic ", 6) == 0));
    FUZZ_CHECK(basic || url->user_info_len == 0 ||
               same(url->user_info, url->user_info_len, ":", 1));
    FUZZ_CHECK(http.method && strcmp(http.method, "GET") == 0 && http.target[0] == '/');
    skip = url->target_len && url->target[0] == '/' ? 0 : 1;
    FUZZ_CHECK(same(http.target + skip, strlen(http.target) - skip, url->target, url->target_len));
    add_authority(&host, &named, url->port != (url->secure ? 443 : 80));
    fuzz_add(&host, "", 1);
    FUZZ_CHECK(strcmp(stws_http_header(&http, "Host"), host.data) == 0);
    fuzz_text_free(&host);
    free(request);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    char *text = fuzz_string(data, size);
    const char *why = NULL;
    stws_url url;
    int result = stws_url_parse(text, &url, &why);
    if (result == STWS_OK) {
        check_parts(&url, text);
        check_again(&url);
        check_request(&url);
    } else {
        FUZZ_CHECK(result == STWS_ERR_URL);
        fuzz_check_sentence(why);
    }
    FUZZ_CHECK(stws_url_parse(text, &url, NULL) == result);
    free(text);
}
