/* features.h - which vectors the header may find in the processor, for tests of all its ways. A way
   is taken only if the processor has it, too. To be included before stomp_ws.h, and so without any
   header of the system. */
#ifndef FEATURES_H
#define FEATURES_H

enum { NO_VECTORS, SSSE3_ONLY, ALL_VECTORS };

static int vectors_allowed = ALL_VECTORS;

static inline int vectors_are_allowed(const char *name) {
    return vectors_allowed >= (name[0] == 'a' ? ALL_VECTORS : SSSE3_ONLY);
}

#define __builtin_cpu_supports(name) (vectors_are_allowed(name) && __builtin_cpu_supports(name))

#endif
