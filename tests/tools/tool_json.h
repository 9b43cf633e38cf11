// JSON for stomp_decode and stomp_encode: writes hex strings, and reads one flat object.
#ifndef TOOL_JSON_H
#define TOOL_JSON_H

#include "../../stomp_ws.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- writing ----

static inline void json_put_string(const char *s) {
    putchar('"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') putchar('\\');
        putchar(*s);
    }
    putchar('"');
}

static inline void json_put_hex(const char *data, size_t len) {
    size_t i;
    putchar('"');
    for (i = 0; i < len; i++) printf("%02x", (unsigned)(unsigned char)data[i]);
    putchar('"');
}

// ---- reading: a cursor over one line; the functions return 0 if the text is invalid ----

typedef struct json_cursor {
    const char *at, *end;
} json_cursor;

static inline void json_skip_blanks(json_cursor *c) {
    while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at) c->at++;
}

static inline int json_take(json_cursor *c, char wanted) {
    json_skip_blanks(c);
    if (c->at == c->end || *c->at != wanted) return 0;
    c->at++;
    return 1;
}

// Reads what follows a backslash. Returns the number of bytes of the escape, 0 if JSON has no such
// escape.
static inline size_t json_escape_size(const json_cursor *c) {
    size_t left = (size_t)(c->end - c->at), i;
    if (left == 0 || !memchr("\"\\/bfnrtu", *c->at, 9)) return 0;
    if (*c->at != 'u') return 1;
    for (i = 1; i <= 4; i++)
        if (i == left || !memchr("0123456789abcdefABCDEF", c->at[i], 22)) return 0;
    return 5;
}

// Finds the text between quotes, without decoding it. Returns 1. Escapes are only skipped, because
// no key or hex string needs them.
static inline int json_string(json_cursor *c, const char **text, size_t *len) {
    if (!json_take(c, '"')) return 0;
    for (*text = c->at; c->at < c->end && *c->at != '"';) {
        size_t size = 0;
        if ((unsigned char)*c->at < 32) return 0;
        if (*c->at++ == '\\' && (size = json_escape_size(c)) == 0) return 0;
        c->at += size;
    }
    *len = (size_t)(c->at - *text);
    return json_take(c, '"');
}

static inline int json_word(json_cursor *c, const char *word) {
    json_skip_blanks(c);
    if ((size_t)(c->end - c->at) < strlen(word) || memcmp(c->at, word, strlen(word)) != 0) return 0;
    c->at += strlen(word);
    return 1;
}

static inline int json_boolean(json_cursor *c, int *value) {
    *value = json_word(c, "true");
    return *value || json_word(c, "false");
}

static inline int json_digits(json_cursor *c) {
    const char *first = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') c->at++;
    return c->at > first;
}

static inline int json_is_next(const json_cursor *c, const char *set) {
    return c->at < c->end && *c->at && strchr(set, *c->at);
}

static inline int json_skip_number(json_cursor *c) {
    if (json_is_next(c, "-")) c->at++;
    if (json_is_next(c, "0"))
        c->at++;
    else if (!json_digits(c))
        return 0;
    if (json_is_next(c, ".") && (c->at++, !json_digits(c))) return 0;
    if (!json_is_next(c, "eE")) return 1;
    c->at++;
    if (json_is_next(c, "+-")) c->at++;
    return json_digits(c);
}

static inline int json_skip_value(json_cursor *c, int depth);

static inline int json_skip_members(json_cursor *c, char close, int depth) {
    const char *text;
    size_t len;
    if (json_take(c, close)) return 1;
    do {
        if (close == '}' && (!json_string(c, &text, &len) || !json_take(c, ':'))) return 0;
        if (!json_skip_value(c, depth - 1)) return 0;
    } while (json_take(c, ','));
    return json_take(c, close);
}

// Skips any value, for unknown keys.
static inline int json_skip_value(json_cursor *c, int depth) {
    const char *text;
    size_t len;
    json_skip_blanks(c);
    if (depth == 0 || c->at == c->end) return 0;
    if (*c->at == '"') return json_string(c, &text, &len);
    if (json_take(c, '[')) return json_skip_members(c, ']', depth);
    if (json_take(c, '{')) return json_skip_members(c, '}', depth);
    return json_word(c, "true") || json_word(c, "false") || json_word(c, "null") ||
           json_skip_number(c);
}

static inline int json_nibble(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Decodes a hex string into a new block with a NUL behind it. Returns NULL if it is invalid.
static inline char *json_hex(json_cursor *c, size_t *len) {
    const char *text;
    size_t digits, i;
    char *data;
    if (!json_string(c, &text, &digits) || digits % 2) return NULL;
    data = (char *)malloc(digits / 2 + 1);
    if (!data) abort();
    for (i = 0; i < digits / 2; i++) {
        int high = json_nibble(text[2 * i]), low = json_nibble(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            free(data);
            return NULL;
        }
        data[i] = (char)(high << 4 | low);
    }
    data[digits / 2] = 0;
    *len = digits / 2;
    return data;
}

// ---- options of both tools ----

// Parses "1.0", "1.1", "1.2" or "none". Returns 1, or 0 for any other text.
static inline int tool_version(const char *text, stws_stomp_version *version) {
    static const char *const names[] = {"none", "1.0", "1.1", "1.2"};
    static const stws_stomp_version versions[] = {STWS_STOMP_NONE, STWS_STOMP_10, STWS_STOMP_11,
                                                  STWS_STOMP_12};
    int i;
    for (i = 0; i < 4; i++)
        if (strcmp(text, names[i]) == 0) return *version = versions[i], 1;
    return 0;
}

#endif
