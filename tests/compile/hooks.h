/* A user's own memory functions and assertion, given to the library by its macros. Their bodies are
   in matrix.c. */
#ifndef HOOKS_H
#define HOOKS_H

#include <stddef.h>

#ifdef WITH_MEMORY_HOOKS
void *hook_malloc(size_t size);
void hook_free(void *block);
#define STOMP_WS_MALLOC(size) hook_malloc(size)
#define STOMP_WS_FREE(block) hook_free(block)
#endif

#ifdef WITH_ASSERT_HOOK
void hook_failed(const char *condition);
#define STOMP_WS_ASSERT(condition) ((condition) ? (void)0 : hook_failed(#condition))
#endif

#endif
