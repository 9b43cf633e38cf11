/* call_sites.h - what the text of the header calls: names before an opening parenthesis, outside
   comments and strings, in the implementation; and in which function or macro that is. Members
   (c->io.read) and what the header itself defines are none of them. */
#ifndef CALL_SITES_H
#define CALL_SITES_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_NAME = 64 };

struct scan {
    char *text, *at;
    int depth, in_define;      /* of braces; in the lines of a #define */
    char function[CALL_NAME];  /* whose body this is */
    char candidate[CALL_NAME]; /* the first name before a parenthesis, out of any body */
    char call[CALL_NAME], within[CALL_NAME]; /* what scan_next found */
};

/* The implementation: 0 when there is no such file. */
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

/* Past a comment or a literal that begins here: 1 when there was one. */
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

/* Line ends, braces and macros say where we are. */
static inline void scan_mark(struct scan *s) {
    if (*s->at == '\n' && s->at[-1] != '\\') s->in_define = 0;
    if (s->in_define) return;
    if (strncmp(s->at, "#define ", 8) == 0) {
        s->at += 8;
        s->in_define = 1;
        s->at += scan_name(s, s->within) - 1;
    } else if (*s->at == '#') { /* #if defined(...) calls nothing */
        s->at += strcspn(s->at, "\n") - 1;
    } else if (*s->at == '{' && s->depth++ == 0) {
        memcpy(s->function, s->candidate, sizeof s->function);
    } else if (*s->at == '}') {
        s->depth--;
    }
    if (s->depth == 0 && (*s->at == ';' || *s->at == '}')) s->candidate[0] = 0;
}

/* The next call, and where it stands: 0 at the end. */
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
