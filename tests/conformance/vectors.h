/* Reads vector files: plain text, one "key: value" a line, a vector begins at its "vector:" line.
   What the keys of each format mean stands at the top of each file; how octets are written is the
   same in all of them:

     "text"           with \n \r \t \0 \\ \" and \xHH as in C
     "text"*3         three times that
     "text"^37fa213d  masked with that key (RFC 6455, 5.3)
     "a" "b"*2        one behind the other

   A mistake in a file ends the program: a vector that cannot be read is no vector passed. */
#ifndef VECTORS_H
#define VECTORS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Octets that grow; data[len] is a NUL octet. */
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

/* Octets in a form that shows them all and ends where they end: how outcomes are compared and
   printed. */
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

/* ---- octets ---- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Behind a backslash at p: the octet it stands for, or -1; *p moves behind it. */
static int escaped_octet(const char **p) {
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
        int octet = (unsigned char)*p;
        char c;
        if (*p == 0) malformed(v, line, "a string that does not end");
        p++;
        if (octet == '\\') octet = escaped_octet(&p);
        if (octet < 0) malformed(v, line, "an escape that is none");
        c = (char)octet;
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

/* One string with what follows it; returns where it ends, blanks passed over. */
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

/* All strings of a line, one behind the other. */
static void read_octets(const vector *v, const vector_line *line, bytes *out) {
    const char *p = line->value;
    do p = read_string(v, line, p, out);
    while (*p);
}

/* Exactly two strings: a name and a value. */
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

/* The octets of all lines of that key, in order; 1 when there was one. */
static int collect(const vector *v, const char *key, bytes *out) {
    size_t i;
    int found = 0;
    bytes_put(out, "", 0);
    for (i = 0; i < v->count; i++) {
        if (!key_is(&v->lines[i], key)) continue;
        read_octets(v, &v->lines[i], out);
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

/* "limits: headers=2 line=10": the number behind that name, or otherwise. */
static size_t limit_of(const vector *v, const char *name, size_t otherwise) {
    const vector_line *line = find_line(v, "limits");
    const char *at = line ? strstr(line->value, name) : NULL;
    return at ? number_or_end(v, line, at + strlen(name)) : otherwise;
}

/* Only these keys, all in one string with blanks around each, and a clause that says what the
   vector is about. */
static void check_keys(const vector *v, const char *known) {
    char padded[64];
    size_t i;
    if (!find_line(v, "clause")) malformed(v, &v->lines[0], "the vector names no clause");
    for (i = 0; i < v->count; i++) {
        snprintf(padded, sizeof padded, " %s ", v->lines[i].key);
        if (!strstr(known, padded))
            malformed(v, &v->lines[i], "a key that this format does not have");
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

/* Cut one line into key and value; 0 when it is blank or a comment. */
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
    fprintf(stderr, "%s: no format or no vector in it\n", path);
    exit(2);
}

static void vectors_free(vector_file *f) {
    free(f->text);
    free(f->lines);
    free(f->vectors);
}

#endif
