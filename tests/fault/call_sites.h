/* call_sites.h - finds the calls in the text of the header: names before an opening parenthesis,
   outside comments and strings, in the implementation. For each call it also finds the function or
   macro that contains it. Calls through members (c->io.read) are left out, and so are the functions
   that the header itself defines. */
#ifndef CALL_SITES_H
#define CALL_SITES_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_NAME = 64 };

struct scan {
    char *text, *at;
    int depth, in_define;      /* depth of braces; 1 in the lines of a #define */
    char function[CALL_NAME];  /* the function whose body this is */
    char candidate[CALL_NAME]; /* the first name before a parenthesis, outside of all bodies */
    char call[CALL_NAME], within[CALL_NAME]; /* what scan_next found */
};

/* Opens the implementation. Returns 0 if the file or the implementation cannot be found. */
static inline int scan_open(struct scan *s, const char *path) {
    FILE *file = fopen(path, "rb");
    long size;
    memset(s, 0, sizeof *s);
    if (!file) return 0;
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    s->text = (char *)calloc(1, (size_t)size + 1);
    if (!s->text || fread(s->text, 1, (size_t)size, file) != (size_t)size) abort();
    fclose(file);
    s->at = strstr(s->text, "#define STOMP_WS_IMPLEMENTED");
    return s->at != NULL;
}

static inline void scan_close(struct scan *s) {
    free(s->text);
}

/* Skips a comment or a literal that begins here. Returns 1 if there was one. */
static inline int scan_skip(struct scan *s) {
    char quote = *s->at;
    if (strncmp(s->at, "/*", 2) == 0) {
        s->at = strstr(s->at, "*/") + 2;
        return 1;
    }
    if (quote != '"' && quote != '\'') return 0;
    for (s->at++; *s->at != quote; s->at++)
        if (*s->at == '\\') s->at++;
    s->at++;
    return 1;
}

static inline size_t scan_name(const struct scan *s, char name[CALL_NAME]) {
    size_t len = 0;
    while (isalnum((unsigned char)s->at[len]) || s->at[len] == '_') len++;
    snprintf(name, CALL_NAME, "%.*s", (int)len, s->at);
    return len;
}

/* Updates the position: the end of a #define, the depth of braces, the function. */
static inline void scan_mark(struct scan *s) {
    if (*s->at == '\n' && s->at[-1] != '\\') s->in_define = 0;
    if (s->in_define) return;
    if (strncmp(s->at, "#define ", 8) == 0) {
        s->at += 8;
        s->in_define = 1;
        s->at += scan_name(s, s->within) - 1;
    } else if (*s->at == '#') { /* #if defined(...) is not a call */
        s->at += strcspn(s->at, "\n") - 1;
    } else if (*s->at == '{' && s->depth++ == 0) {
        memcpy(s->function, s->candidate, sizeof s->function);
    } else if (*s->at == '}') {
        s->depth--;
    }
    if (s->depth == 0 && (*s->at == ';' || *s->at == '}')) s->candidate[0] = 0;
}

/* Finds the next call and its function. Returns 0 at the end. */
static inline int scan_next(struct scan *s) {
    while (*s->at) {
        char name[CALL_NAME], before = s->at[-1], parenthesis;
        size_t len = isdigit((unsigned char)*s->at) ? 0 : scan_name(s, name);
        int member = before == '.' || (before == '>' && s->at[-2] == '-');
        if (scan_skip(s)) continue;
        if (len == 0) {
            scan_mark(s);
            s->at++;
            continue;
        }
        s->at += len;
        parenthesis = s->at[strspn(s->at, " ")];
        if (parenthesis != '(' || member) continue;
        if (s->depth == 0 && !s->in_define) {
            if (!s->candidate[0]) memcpy(s->candidate, name, sizeof name);
            continue;
        }
        memcpy(s->call, name, sizeof name);
        if (!s->in_define) memcpy(s->within, s->function, sizeof s->function);
        return 1;
    }
    return 0;
}

#endif
