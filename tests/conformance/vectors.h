/* Reads vector files: plain text with one "key: value" per line. A vector begins at its "vector:"
   line. The top of each file explains the keys of its format. Bytes are written alike in all files:

     "text"           with \n \r \t \0 \\ \" and \xHH as in C
     "text"*3         repeated three times
     "text"^37fa213d  masked with that key (RFC 6455, 5.3)
     "a" "b"*2        concatenated

   A mistake in a file ends the program: a vector that cannot be read must not count as passed. */
#ifndef VECTORS_H
#define VECTORS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A growing byte string; data[len] is a NUL byte. */
typedef struct bytes {
    char *data;
    size_t len, cap;
} bytes;

typedef struct vector_line {
    const char *key, *value;
    int number;
} vector_line;

typedef struct vector {
    const char *file, *name;
    const vector_line *lines;
    size_t count;
} vector;

typedef struct vector_file {
    const char *path, *format;
    char *text;
    vector_line *lines;
    vector *vectors;
    size_t line_count, count;
} vector_file;

static void *must(void *block) {
    if (block) return block;
    fputs("out of memory\n", stderr);
    exit(2);
}

static void bytes_put(bytes *b, const void *data, size_t len) {
    if (b->cap < b->len + len + 1) {
        b->cap = 2 * (b->len + len) + 64;
        b->data = must(realloc(b->data, b->cap));
    }
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
}

static void bytes_string(bytes *b, const char *s) {
    bytes_put(b, s, strlen(s));
}

static void bytes_number(bytes *b, long long n) {
    char digits[32];
    bytes_put(b, digits, (size_t)snprintf(digits, sizeof digits, "%lld", n));
}

/* Appends bytes in a quoted form that shows every byte and their end. Outcomes are compared and
   printed in this form. */
static void bytes_quoted(bytes *b, const char *data, size_t len) {
    char hex[8];
    size_t i;
    bytes_put(b, " \"", 2);
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c >= ' ' && c < 127 && c != '"' && c != '\\')
            bytes_put(b, data + i, 1);
        else
            bytes_put(b, hex, (size_t)snprintf(hex, sizeof hex, "\\x%02x", (unsigned)c));
    }
    bytes_put(b, "\"", 1);
}

static void bytes_free(bytes *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}

static void malformed(const vector *v, const vector_line *line, const char *what) {
    fprintf(stderr, "%s:%d: %s\n", v->file, line->number, what);
    exit(2);
}

/* ---- bytes ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Reads an escape after the backslash at p and moves *p after it. Returns the byte, or -1. */
static int escaped_byte(const char **p) {
    static const char from[] = "nrt0\\\"", to[] = "\n\r\t\0\\\"";
    char c = *(*p)++;
    const char *found = c ? strchr(from, c) : NULL;
    int high, low;
    if (found) return to[found - from];
    if (c != 'x') return -1;
    high = hex_digit((*p)[0]);
    low = high < 0 ? -1 : hex_digit((*p)[1]);
    if (low < 0) return -1;
    *p += 2;
    return high << 4 | low;
}

static const char *read_quoted(const vector *v, const vector_line *line, const char *p,
                               bytes *out) {
    while (*p != '"') {
        int byte = (unsigned char)*p;
        char c;
        if (*p == 0) malformed(v, line, "the string has no end");
        p++;
        if (byte == '\\') byte = escaped_byte(&p);
        if (byte < 0) malformed(v, line, "invalid escape");
        c = (char)byte;
        bytes_put(out, &c, 1);
    }
    return p + 1;
}

static void repeat_from(bytes *out, size_t start, unsigned long times) {
    size_t len = out->len - start;
    bytes once = {NULL, 0, 0};
    bytes_put(&once, out->data + start, len);
    out->len = start;
    while (times-- > 0) bytes_put(out, once.data, len);
    bytes_free(&once);
}

static const char *mask_from(const vector *v, const vector_line *line, const char *p, bytes *out,
                             size_t start) {
    unsigned char key[4];
    size_t i;
    for (i = 0; i < 4; i++) {
        int high = hex_digit(p[2 * i]), low = high < 0 ? -1 : hex_digit(p[2 * i + 1]);
        if (low < 0) malformed(v, line, "a masking key is eight hexadecimal digits");
        key[i] = (unsigned char)(high << 4 | low);
    }
    for (i = start; i < out->len; i++)
        out->data[i] = (char)((unsigned char)out->data[i] ^ key[(i - start) % 4]);
    return p + 8;
}

/* Reads one string with its suffixes. Returns the place after it and after the blanks that
   follow. */
static const char *read_string(const vector *v, const vector_line *line, const char *p,
                               bytes *out) {
    size_t start = out->len;
    char *end;
    if (*p != '"') malformed(v, line, "a string in quotes was expected");
    bytes_put(out, "", 0);
    p = read_quoted(v, line, p + 1, out);
    if (*p == '*') {
        repeat_from(out, start, strtoul(p + 1, &end, 10));
        p = end;
    }
    if (*p == '^') p = mask_from(v, line, p + 1, out, start);
    while (*p == ' ') p++;
    return p;
}

/* Reads all strings of a line and concatenates them. */
static void read_bytes(const vector *v, const vector_line *line, bytes *out) {
    const char *p = line->value;
    do p = read_string(v, line, p, out);
    while (*p);
}

/* Reads exactly two strings: a name and a value. */
static void read_pair(const vector *v, const vector_line *line, bytes *name, bytes *value) {
    const char *p = read_string(v, line, line->value, name);
    p = read_string(v, line, p, value);
    if (*p) malformed(v, line, "two strings were expected");
}

/* ---- lines of a vector ---- */

static int key_is(const vector_line *line, const char *key) {
    return strcmp(line->key, key) == 0;
}

static const vector_line *find_line(const vector *v, const char *key) {
    size_t i;
    for (i = 0; i < v->count; i++)
        if (key_is(&v->lines[i], key)) return &v->lines[i];
    return NULL;
}

/* Collects the bytes of all lines with that key, in order. Returns 1 if there was such a line. */
static int collect(const vector *v, const char *key, bytes *out) {
    size_t i;
    int found = 0;
    bytes_put(out, "", 0);
    for (i = 0; i < v->count; i++) {
        if (!key_is(&v->lines[i], key)) continue;
        read_bytes(v, &v->lines[i], out);
        found = 1;
    }
    return found;
}

static size_t number_or_end(const vector *v, const vector_line *line, const char *text) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text) malformed(v, line, "a number was expected");
    return n;
}

/* "limits: headers=2 line=10": returns the number after that name, or `otherwise`. */
static size_t limit_of(const vector *v, const char *name, size_t otherwise) {
    const vector_line *line = find_line(v, "limits");
    const char *at = line ? strstr(line->value, name) : NULL;
    return at ? number_or_end(v, line, at + strlen(name)) : otherwise;
}

/* Allows only these keys, which are given in one string with blanks around each. Also requires a
   clause, which says what the vector tests. */
static void check_keys(const vector *v, const char *known) {
    char padded[64];
    size_t i;
    if (!find_line(v, "clause")) malformed(v, &v->lines[0], "the vector has no clause");
    for (i = 0; i < v->count; i++) {
        snprintf(padded, sizeof padded, " %s ", v->lines[i].key);
        if (!strstr(known, padded)) malformed(v, &v->lines[i], "unknown key for this format");
    }
}

/* ---- files ---- */

static char *read_text(const char *path) {
    FILE *f = fopen(path, "rb");
    bytes text = {NULL, 0, 0};
    char piece[4096];
    size_t n;
    if (!f) {
        perror(path);
        exit(2);
    }
    bytes_put(&text, "", 0);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) bytes_put(&text, piece, n);
    fclose(f);
    return text.data;
}

/* Cuts one line into key and value. Returns 0 if the line is blank or a comment. */
static int cut_line(char *text, vector_line *line) {
    char *colon = strchr(text, ':');
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\r')) text[--len] = 0;
    if (len == 0 || text[0] == '#') return 0;
    line->key = text;
    line->value = "";
    if (!colon) return 1;
    *colon = 0;
    line->value = colon + 1 + strspn(colon + 1, " ");
    return 1;
}

static void cut_lines(vector_file *f) {
    char *p = f->text;
    int number = 0;
    while (*p) {
        char *end = p + strcspn(p, "\n");
        int more = *end != 0;
        vector_line line = {NULL, NULL, ++number};
        *end = 0;
        if (cut_line(p, &line)) {
            f->lines = must(realloc(f->lines, (f->line_count + 1) * sizeof *f->lines));
            f->lines[f->line_count++] = line;
        }
        p = end + more;
    }
}

static void cut_vectors(vector_file *f) {
    size_t i;
    for (i = 0; i < f->line_count; i++) {
        vector *v;
        if (key_is(&f->lines[i], "format") && f->count == 0) {
            f->format = f->lines[i].value;
        } else if (key_is(&f->lines[i], "vector")) {
            f->vectors = must(realloc(f->vectors, (f->count + 1) * sizeof *f->vectors));
            v = &f->vectors[f->count++];
            v->file = f->path;
            v->name = f->lines[i].value;
            v->lines = &f->lines[i];
            v->count = 1;
        } else if (f->count) {
            f->vectors[f->count - 1].count++;
        }
    }
}

static void vectors_load(vector_file *f, const char *path) {
    memset(f, 0, sizeof *f);
    f->path = path;
    f->text = read_text(path);
    cut_lines(f);
    cut_vectors(f);
    if (f->format && f->count) return;
    fprintf(stderr, "%s: no format, or no vector\n", path);
    exit(2);
}

static void vectors_free(vector_file *f) {
    free(f->text);
    free(f->lines);
    free(f->vectors);
}

#endif
