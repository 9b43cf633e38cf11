/* A stream of STOMP frames is parsed by the library's parser and by the reference parser of the
   unit tests, which works byte by byte. Both must produce the same frames. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/fuzz/fuzz_stomp.h"
#include "tests/unit/reference_stomp.h"

static size_t next_piece(void *ctx, size_t left) {
    return fuzz_cut((struct fuzz_cuts *)ctx, left);
}

static void fuzz_one(const unsigned char *data, size_t size) {
    struct fuzz_input in = {data, size};
    struct fuzz_stomp_settings s = fuzz_stomp_settings_of(&in);
    struct fuzz_cuts cuts = fuzz_cuts_of(&in);
    ref_settings settings = {s.version, s.max_headers, s.max_line, s.max_body, next_piece, &cuts};
    char *stream = fuzz_copy(in.data, in.left);
    const char *difference = ref_compare(stream, in.left, &settings);
    free(stream);
    if (!difference) return;
    fprintf(stderr, "%s\n", difference);
    abort();
}
