/* fuzz_stomp.h - code that the targets for STOMP frames share: the bytes of an input that choose
   version and limits, and the checks that each parsed frame must pass. */
#ifndef FUZZ_STOMP_H
#define FUZZ_STOMP_H

#include "tests/fuzz/fuzz.h"

struct fuzz_stomp_settings {
    stws_stomp_version version;
    size_t max_headers, max_line, max_body;
};

static inline stws_stomp_version fuzz_stomp_version(unsigned choice) {
    static const stws_stomp_version versions[] = {STWS_STOMP_12, STWS_STOMP_11, STWS_STOMP_10,
                                                  STWS_STOMP_NONE};
    return versions[choice % 4];
}

static inline struct fuzz_stomp_settings fuzz_stomp_settings_of(struct fuzz_input *in) {
    static const size_t headers[] = {32, 32, 2, 0}, lines[] = {4096, 4096, 40, 8},
                        bodies[] = {65536, 65536, 30, 1};
    unsigned choice = fuzz_byte(in);
    struct fuzz_stomp_settings s;
    s.version = fuzz_stomp_version(choice);
    s.max_headers = headers[choice >> 2 & 3];
    s.max_line = lines[choice >> 4 & 3];
    s.max_body = bodies[choice >> 6 & 3];
    return s;
}

static inline int fuzz_is_command(const char *s) {
    size_t len = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return len >= 1 && len <= 32 && s[len] == 0;
}

/* Checks that all views are within [start, end), have a NUL behind them, and are within the
   limits. */
static inline void fuzz_check_frame(const stws_frame *f, const struct fuzz_stomp_settings *s,
                                    const char *start, const char *end) {
    size_t i;
    FUZZ_CHECK(f->command >= start && f->command < end && fuzz_is_command(f->command));
    FUZZ_CHECK(!f->command_id || strcmp(stws_command_name(f->command_id), f->command) == 0);
    FUZZ_CHECK(f->body >= start && f->body + f->body_len < end && f->body[f->body_len] == 0);
    FUZZ_CHECK(f->body_len <= s->max_body && f->header_count <= s->max_headers);
    for (i = 0; i < f->header_count; i++) {
        const stws_header *h = &f->headers[i];
        FUZZ_CHECK(h->name > f->command && h->name + h->name_len < f->body);
        FUZZ_CHECK(h->value > f->command && h->value + h->value_len < f->body);
        FUZZ_CHECK(h->name[h->name_len] == 0 && h->value[h->value_len] == 0);
        FUZZ_CHECK(strlen(h->name) == h->name_len && strlen(h->value) == h->value_len);
        FUZZ_CHECK(h->name_len > 0 && h->name_len + h->value_len + 1 <= s->max_line);
        FUZZ_CHECK(stws_frame_header(f, h->name) != NULL);
    }
}

#endif
