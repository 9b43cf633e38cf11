/* fuzz.h - code that the fuzz targets share.

   A target is one program. It defines fuzz_one(), which takes an input apart, passes it to the
   library, and ends the program with FUZZ_CHECK if the library breaks a promise. With
   FUZZ_LIBFUZZER and -fsanitize=fuzzer, libFuzzer calls it. Without them the target has its own
   main(), which replays files and directories of files. That main() needs no particular compiler,
   and its last line is "N passed, N failed".

   Include this file after stomp_ws.h and its implementation. */
#ifndef FUZZ_H
#define FUZZ_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void fuzz_one(const unsigned char *data, size_t size);

#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))

static inline void fuzz_fail(const char *file, int line, const char *what) {
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
    abort();
}

/* ==== blocks: as long as their content, so that a sanitizer finds an access one byte behind it
   ==== */

static inline char *fuzz_room(size_t len) {
    char *block = (char *)calloc(len ? len : 1, 1);
    if (!block) abort();
    return block;
}

static inline char *fuzz_copy(const void *data, size_t len) {
    char *block = fuzz_room(len);
    if (len) memcpy(block, data, len);
    return block;
}

static inline char *fuzz_string(const void *data, size_t len) {
    char *block = fuzz_room(len + 1);
    if (len) memcpy(block, data, len);
    block[len] = 0;
    return block;
}

/* A text that grows. It records the results of a parser, to compare them with another run. */
struct fuzz_text {
    char *data;
    size_t len, cap;
};

static inline void fuzz_add(struct fuzz_text *t, const void *data, size_t len) {
    if (t->cap - t->len < len) {
        t->cap = 2 * (t->len + len) + 64;
        t->data = (char *)realloc(t->data, t->cap);
        if (!t->data) abort();
    }
    if (len) memcpy(t->data + t->len, data, len);
    t->len += len;
}

/* Adds a number, or a text with its length before it. So different lists never look the same. */
static inline void fuzz_add_number(struct fuzz_text *t, unsigned long long n) {
    fuzz_add(t, &n, sizeof n);
}

static inline void fuzz_add_span(struct fuzz_text *t, const void *data, size_t len) {
    fuzz_add_number(t, len);
    fuzz_add(t, data, len);
}

static inline int fuzz_same(const struct fuzz_text *a, const struct fuzz_text *b) {
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static inline void fuzz_text_free(struct fuzz_text *t) {
    free(t->data);
    memset(t, 0, sizeof *t);
}

/* ==== the input: bytes that choose something, and the rest ==== */

struct fuzz_input {
    const unsigned char *data;
    size_t left;
};

/* Returns the next byte, or 0 at the end. So every input is valid. */
static inline unsigned fuzz_byte(struct fuzz_input *in) {
    if (in->left == 0) return 0;
    in->left--;
    return *in->data++;
}

static inline unsigned fuzz_below(struct fuzz_input *in, unsigned n) {
    return fuzz_byte(in) % n;
}

static inline size_t fuzz_number(struct fuzz_input *in) {
    size_t high = fuzz_byte(in);
    return high << 8 | fuzz_byte(in);
}

/* Returns a text of at most 255 bytes. Its length is the byte before it. */
static inline const unsigned char *fuzz_span(struct fuzz_input *in, size_t *len) {
    const unsigned char *start;
    *len = fuzz_byte(in);
    if (*len > in->left) *len = in->left;
    start = in->data;
    in->data += *len;
    in->left -= *len;
    return start;
}

/* ==== a stream, split as the input says ==== */

/* Lengths of pieces, used in turn. 0 means all that is left. */
struct fuzz_cuts {
    unsigned char lengths[3];
    unsigned next;
};

static inline struct fuzz_cuts fuzz_cuts_of(struct fuzz_input *in) {
    struct fuzz_cuts cuts = {{0, 0, 0}, 0};
    unsigned i;
    for (i = 0; i < 3; i++) cuts.lengths[i] = (unsigned char)fuzz_byte(in);
    return cuts;
}

static inline size_t fuzz_cut(struct fuzz_cuts *cuts, size_t left) {
    size_t n = cuts->lengths[cuts->next++ % 3];
    return n == 0 || n > left ? left : n;
}

/* The bytes that the parser has not consumed yet, at the end of a block of memory. */
struct fuzz_window {
    char *block;
    size_t start, end;
};

static inline char *fuzz_window_at(const struct fuzz_window *w) {
    return w->block + w->start;
}

static inline size_t fuzz_window_len(const struct fuzz_window *w) {
    return w->end - w->start;
}

/* More bytes arrive. All unconsumed bytes move to a new block, as they may in a receive buffer. */
static inline void fuzz_window_feed(struct fuzz_window *w, const void *data, size_t len) {
    size_t left = fuzz_window_len(w);
    char *block = fuzz_room(left + len);
    if (left) memcpy(block, fuzz_window_at(w), left);
    if (len) memcpy(block + left, data, len);
    free(w->block);
    w->block = block;
    w->start = 0;
    w->end = left + len;
}

static inline void fuzz_window_used(struct fuzz_window *w, size_t used) {
    FUZZ_CHECK(used <= fuzz_window_len(w));
    w->start += used;
}

/* ==== checks for every call ==== */

/* Checks that an error has a name and a text. */
static inline void fuzz_check_error(int result) {
    FUZZ_CHECK(result < 0);
    FUZZ_CHECK(strcmp(stws_result_name(result), "STWS_UNKNOWN") != 0);
    FUZZ_CHECK(strlen(stws_result_text(result)) > 10);
}

static inline void fuzz_check_sentence(const char *text) {
    const unsigned char *p = (const unsigned char *)text;
    FUZZ_CHECK(text != NULL);
    FUZZ_CHECK(strlen(text) > 10);
    FUZZ_CHECK(stws_utf8_valid(text, strlen(text)));
    for (; *p; p++) {
        FUZZ_CHECK(*p >= 32 && *p != 127);
        FUZZ_CHECK(*p != 0xC2 || p[1] >= 0xA0);                               /* C1 control
                                                                                 characters */
        FUZZ_CHECK(*p != 0xE2 || p[1] != 0x80 || p[2] < 0xA8 || p[2] > 0xAE); /* U+2028 to U+202E */
        FUZZ_CHECK(*p != 0xE2 || p[1] != 0x81 || p[2] < 0xA0 || p[2] > 0xAF); /* U+2060 to U+206F */
    }
}

/* ==== the entry for libFuzzer, and a main() without it ==== */

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    fuzz_one(data, size);
    return 0;
}

#ifndef FUZZ_LIBFUZZER

enum { FUZZ_SECONDS = 20 }; /* for each file */

struct fuzz_files {
    char **paths;
    size_t count, cap;
};

static void fuzz_files_add(struct fuzz_files *files, const char *path) {
    if (files->count == files->cap) {
        files->cap = 2 * files->cap + 64;
        files->paths = (char **)realloc(files->paths, files->cap * sizeof *files->paths);
        if (!files->paths) abort();
    }
    files->paths[files->count++] = fuzz_string(path, strlen(path));
}

static int fuzz_is_file(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

/* Adds a file, or the files of a directory. Returns 0 if the path is neither. */
static int fuzz_files_find(struct fuzz_files *files, const char *path) {
    char below[4096];
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort), i;
    if (count < 0) {
        if (!fuzz_is_file(path)) return 0;
        fuzz_files_add(files, path);
        return 1;
    }
    for (i = 0; i < count; i++) {
        snprintf(below, sizeof below, "%s/%s", path, entries[i]->d_name);
        if (fuzz_is_file(below)) fuzz_files_add(files, below);
        free(entries[i]);
    }
    free(entries);
    return 1;
}

static void fuzz_replay_file(const char *path) {
    struct fuzz_text text = {0};
    char piece[4096], *copy;
    size_t n;
    FILE *file = fopen(path, "rb");
    if (!file) abort();
    while ((n = fread(piece, 1, sizeof piece, file)) > 0) fuzz_add(&text, piece, n);
    fclose(file);
    copy = fuzz_copy(text.data, text.len);
    alarm(FUZZ_SECONDS);
    fuzz_one((const unsigned char *)copy, text.len);
    alarm(0);
    free(copy);
    fuzz_text_free(&text);
}

/* Replays files in a child process, which may crash, hang or leak. Returns 1 if it did not. */
static int fuzz_replay(const struct fuzz_files *files, size_t from, size_t count) {
    int status = 1;
    size_t i;
    pid_t child;
    fflush(stdout);
    child = fork();
    if (child < 0) return 0;
    if (child == 0) {
        for (i = 0; i < count; i++) fuzz_replay_file(files->paths[from + i]);
        exit(EXIT_SUCCESS);
    }
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return 0;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Returns how many files fail. First replays all files together, which is fast. If that fails,
   replays them one by one to find the failing one. */
static size_t fuzz_replay_all(const struct fuzz_files *files) {
    size_t failed = 0, i;
    if (fuzz_replay(files, 0, files->count)) return 0;
    for (i = 0; i < files->count; i++) {
        if (fuzz_replay(files, i, 1)) continue;
        printf("FAILED %s\n", files->paths[i]);
        failed++;
    }
    if (failed == 0) printf("FAILED together, but each file passes alone\n");
    return failed ? failed : 1;
}

int main(int argc, char **argv) {
    struct fuzz_files files = {0};
    size_t failed, i;
    int k;
    for (k = 1; k < argc; k++) {
        if (fuzz_files_find(&files, argv[k])) continue;
        fprintf(stderr, "%s is neither a file nor a directory\n", argv[k]);
        return EXIT_FAILURE;
    }
    failed = files.count ? fuzz_replay_all(&files) : 1;
    if (files.count == 0) printf("FAILED: no input\nusage: %s FILE|DIRECTORY...\n", argv[0]);
    for (i = 0; i < files.count; i++) free(files.paths[i]);
    free(files.paths);
    printf("%zu passed, %zu failed\n", files.count ? files.count - failed : 0, failed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
#endif
