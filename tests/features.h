/* features.h - limits which vector instructions of the processor the header may detect. Tests use
   it to reach all code paths of the header. A code path runs only if the processor also has its
   instructions. Include this file before stomp_ws.h, and before every header of the system. */
#ifndef FEATURES_H
#define FEATURES_H

enum { NO_VECTORS, SSSE3_ONLY, ALL_VECTORS };

static int vectors_allowed = ALL_VECTORS;

static inline int vectors_are_allowed(const char *name) {
    return vectors_allowed >= (name[0] == 'a' ? ALL_VECTORS : SSSE3_ONLY);
}

#define __builtin_cpu_supports(name) (vectors_are_allowed(name) && __builtin_cpu_supports(name))

#endif
