/* The functions that STOMP_WS_NO_IO needs from a C library, for a target that has no C library. */
#ifndef FREESTANDING_STRING_H
#define FREESTANDING_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
void *memchr(const void *in, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t len);
char *strchr(const char *in, int c);
char *strstr(const char *in, const char *part);
size_t strlen(const char *s);
size_t strspn(const char *s, const char *accepted);
size_t strcspn(const char *s, const char *rejected);

#endif
