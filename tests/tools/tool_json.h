/* What stomp_decode and stomp_encode share: JSON and hex in lines, and the name of a STOMP version.

   Writing goes straight to a stream. Reading is strict (RFC 8259), and works in place: no value is
   longer than the text that stands for it, so strings are decoded where they lie, and end in a NUL. */
#ifndef TOOL_JSON_H
#define TOOL_JSON_H

#include <stdio.h>
#include <string.h>

/* ==== writing ==== */

static inline void hex_write(FILE *out, const char *data, size_t len) {
    static const char digits[] = "0123456789abcdef";
    size_t i;
    for (i = 0; i < len; i++) {
        unsigned char octet = (unsigned char)data[i];
        putc(digits[octet >> 4], out);
        putc(digits[octet & 15], out);
    }
}

/* A string of our own, or a STOMP command: ASCII, so that only JSON's own characters need care. */
static inline void json_write_string(FILE *out, const char *text) {
    putc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 32)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static inline void json_write_hex(FILE *out, const char *data, size_t len) {
    putc('"', out);
    hex_write(out, data, len);
    putc('"', out);
}

/* ==== reading ==== */

enum { JSON_DEPTH = 64 };

/* A text being read: [at, end), and what was wrong with it first, or NULL. */
struct json {
    const char *begin;
    char *at, *end;
    const char *error;
    size_t error_at; /* offset in the text */
    int depth;
};

struct json_text {
    char *data;
    size_t len;
};

static inline void json_open(struct json *j, char *text, size_t len) {
    memset(j, 0, sizeof *j);
    j->begin = j->at = text;
    j->end = text + len;
}

static inline int json_fail(struct json *j, const char *error) {
    if (!j->error) {
        j->error = error;
        j->error_at = (size_t)(j->at - j->begin);
    }
    return 0;
}

/* The next character that is no white space; 0 at the end. */
static inline char json_peek(struct json *j) {
    while (j->at < j->end && memchr(" \t\r\n", *j->at, 4)) j->at++;
    return (char)(j->at < j->end ? *j->at : 0);
}

static inline int json_take(struct json *j, char wanted) {
    if (json_peek(j) != wanted || j->at == j->end) return 0;
    j->at++;
    return 1;
}

static inline int json_expect(struct json *j, char wanted, const char *error) {
    return json_take(j, wanted) || json_fail(j, error);
}

/* Between two members of an array or object, or before the first: 1 when another follows. */
static inline int json_more(struct json *j, char closing, int *first) {
    int is_first = *first;
    *first = 0;
    if (j->error || json_take(j, closing)) return 0;
    return is_first || json_expect(j, ',', "a comma or the closing bracket is missing");
}

static inline int json_word(struct json *j, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(j->end - j->at) < len || memcmp(j->at, word, len) != 0) return 0;
    j->at += len;
    return 1;
}

static inline int hex_digit(char c) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) & 15 : -1;
}

static inline int json_read_unit(struct json *j, unsigned *unit) {
    int i, digit;
    *unit = 0;
    for (i = 0; i < 4; i++) {
        digit = j->at < j->end ? hex_digit(*j->at) : -1;
        if (digit < 0) return json_fail(j, "\\u is not followed by four hex digits");
        *unit = *unit << 4 | (unsigned)digit;
        j->at++;
    }
    return 1;
}

static inline char *utf8_put(char *to, unsigned long c) {
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xC0 | c >> 6);
        *to++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *to++ = (char)(0xE0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    } else {
        *to++ = (char)(0xF0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 63));
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    }
    return to;
}

/* Behind "\u": one unit, or two that are a pair of surrogates. */
static inline int json_read_unicode(struct json *j, char **to) {
    unsigned high, low;
    unsigned long c;
    if (!json_read_unit(j, &high)) return 0;
    c = high;
    if (high >= 0xD800 && high < 0xE000) {
        if (high >= 0xDC00 || !json_word(j, "\\u") || !json_read_unit(j, &low) || low < 0xDC00 ||
            low >= 0xE000)
            return json_fail(j, "half a pair of surrogates");
        c = 0x10000ul + ((unsigned long)(high - 0xD800) << 10) + (low - 0xDC00);
    }
    *to = utf8_put(*to, c);
    return 1;
}

static inline int json_read_escape(struct json *j, char **to) {
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char name = (char)(j->at < j->end ? *j->at : 0);
    const char *found = name ? strchr(names, name) : NULL;
    if (!found && name != 'u') return json_fail(j, "an escape that JSON does not know");
    j->at++;
    if (!found) return json_read_unicode(j, to);
    *(*to)++ = meanings[found - names];
    return 1;
}

static inline int json_read_string(struct json *j, struct json_text *text) {
    char *to;
    if (!json_expect(j, '"', "a string is missing")) return 0;
    text->data = to = j->at;
    while (j->at < j->end && *j->at != '"') {
        char c = *j->at++;
        if ((unsigned char)c < 32) return json_fail(j, "a control character in a string");
        if (c != '\\')
            *to++ = c;
        else if (!json_read_escape(j, &to))
            return 0;
    }
    if (j->at == j->end) return json_fail(j, "a string has no end");
    j->at++;
    text->len = (size_t)(to - text->data);
    *to = 0;
    return 1;
}

/* A string of hex digits, as the octets that they stand for. */
static inline int json_read_hex(struct json *j, struct json_text *text) {
    size_t i;
    if (!json_read_string(j, text)) return 0;
    if (text->len % 2) return json_fail(j, "an odd number of hex digits");
    for (i = 0; i < text->len; i += 2) {
        int high = hex_digit(text->data[i]), low = hex_digit(text->data[i + 1]);
        if (high < 0 || low < 0) return json_fail(j, "a character that is no hex digit");
        text->data[i / 2] = (char)(high << 4 | low);
    }
    text->len /= 2;
    text->data[text->len] = 0;
    return 1;
}

static inline int json_read_bool(struct json *j, int *value) {
    json_peek(j);
    *value = json_word(j, "true");
    return *value || json_word(j, "false") || json_fail(j, "true or false is missing");
}

static inline int json_skip_digits(struct json *j) {
    const char *first = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9') j->at++;
    return j->at > first;
}

static inline int json_skip_number(struct json *j) {
    int whole;
    json_word(j, "-");
    whole = json_word(j, "0") || json_skip_digits(j);
    if (whole && json_word(j, ".")) whole = json_skip_digits(j);
    if (whole && (json_word(j, "e") || json_word(j, "E"))) {
        if (!json_word(j, "+")) json_word(j, "-");
        whole = json_skip_digits(j);
    }
    return whole || json_fail(j, "a value is missing");
}

static inline int json_skip(struct json *j);

static inline int json_skip_members(struct json *j, char closing) {
    struct json_text key;
    int first = 1;
    if (++j->depth > JSON_DEPTH) return json_fail(j, "values nested too deeply");
    while (json_more(j, closing, &first)) {
        if (closing == '}' &&
            (!json_read_string(j, &key) || !json_expect(j, ':', "a colon is missing")))
            return 0;
        if (!json_skip(j)) return 0;
    }
    j->depth--;
    return !j->error;
}

/* Any value, which nobody wants. */
static inline int json_skip(struct json *j) {
    struct json_text text;
    if (json_peek(j) == '"') return json_read_string(j, &text);
    if (json_take(j, '{')) return json_skip_members(j, '}');
    if (json_take(j, '[')) return json_skip_members(j, ']');
    return json_word(j, "true") || json_word(j, "false") || json_word(j, "null") ||
           json_skip_number(j);
}

/* ==== options ==== */

/* "1.2" as a STWS_STOMP_* constant, or -1. */
static inline int stomp_version(const char *name) {
    if (strcmp(name, "none") == 0) return STWS_STOMP_NONE;
    if (strcmp(name, "1.0") == 0) return STWS_STOMP_10;
    if (strcmp(name, "1.1") == 0) return STWS_STOMP_11;
    return strcmp(name, "1.2") == 0 ? (int)STWS_STOMP_12 : -1;
}

#endif
