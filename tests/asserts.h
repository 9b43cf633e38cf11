/* asserts.h - the assertions of stomp_ws.h, on: each that fails is printed, and ends the program.

   The Makefile includes this before all else (-include) where a test has sanitizers. Therefore it
   includes nothing: a system header here would come before a test's own _GNU_SOURCE. */
#ifndef ASSERTS_H
#define ASSERTS_H

int dprintf(int fd, const char *format, ...);
void abort(void);

#define STOMP_WS_ASSERT(condition)                                                                 \
    ((condition) ? (void)0                                                                         \
                 : ((void)dprintf(2, "stomp_ws.h:%d: %s: assertion failed: %s\n", __LINE__,        \
                                  __func__, #condition),                                           \
                    abort()))

#endif
