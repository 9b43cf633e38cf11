/* features.h - which instructions the header may find in the processor, for tests of all its ways.
   To be included before stomp_ws.h: a way is taken only if the processor has it, too. */
#ifndef FEATURES_H
#define FEATURES_H

#include <string.h>

static const char *const feature_sets[] = {"", "ssse3", "ssse3 avx2"};
enum { FEATURE_SETS = sizeof feature_sets / sizeof *feature_sets };

static const char *features_allowed = "ssse3 avx2";

static inline int feature_allowed(const char *name) {
    return strstr(features_allowed, name) != NULL;
}

#define __builtin_cpu_supports(name) (feature_allowed(name) && __builtin_cpu_supports(name))

#endif
