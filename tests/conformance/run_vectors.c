/* Runs the conformance vectors: run_vectors FILE-OR-DIRECTORY... Every vector runs whole, cut in
   two at every byte, byte by byte in memory that moves and in memory that stays, and truncated
   after every byte. STOMP frames also run twice in a row, and after the input of every other
   vector. */
#include "stomp_ws.h"

#include <dirent.h>
#include <sys/stat.h>

#include "tests/test.h"

#include "http_vectors.h"
#include "stomp_vectors.h"
#include "ws_vectors.h"

typedef struct format {
    const char *name;
    void (*run)(const vector *v);
} format;

static const format formats[] = {{"stomp_build", run_stomp_build},
                                 {"ws_parse", run_ws_parse},
                                 {"handshake_answer", run_handshake_answer},
                                 {"handshake_request", run_handshake_request},
                                 {"url", run_url},
                                 {"utf8", run_utf8}};

static void count_case(const vector *v) {
    char name[400];
    snprintf(name, sizeof name, "%s:%d: %s", v->file, v->lines[0].number, v->name);
    test_end_case(name);
}

static void run_stomp_parse_file(const vector_file *f) {
    stomp_records records = {NULL, 0};
    size_t i;
    for (i = 0; i < f->count; i++) {
        run_stomp_parse(&f->vectors[i], &records);
        count_case(&f->vectors[i]);
    }
    for (i = 0; i < records.count; i++) {
        run_stomp_after_others(&records, i);
        count_case(records.list[i].v);
    }
    free_records(&records);
}

static void run_other_file(const vector_file *f) {
    const format *found = NULL;
    size_t i;
    for (i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, f->format) == 0) found = &formats[i];
    if (!found) {
        fprintf(stderr, "%s: unknown format: %s\n", f->path, f->format);
        exit(2);
    }
    for (i = 0; i < f->count; i++) {
        found->run(&f->vectors[i]);
        count_case(&f->vectors[i]);
    }
}

static unsigned long vectors;

static void run_file(const char *path) {
    unsigned long runs_before = runs;
    vector_file f;
    vectors_load(&f, path);
    if (strcmp(f.format, "stomp_parse") == 0)
        run_stomp_parse_file(&f);
    else
        run_other_file(&f);
    vectors += f.count;
    printf("%s: %lu vectors, %lu runs\n", path, (unsigned long)f.count, runs - runs_before);
    vectors_free(&f);
}

static int is_vector_file(const struct dirent *entry) {
    size_t len = strlen(entry->d_name);
    return len > 4 && strcmp(entry->d_name + len - 4, ".txt") == 0;
}

static void run_directory(const char *path) {
    struct dirent **names;
    int count = scandir(path, &names, is_vector_file, alphasort), i;
    if (count <= 0) {
        fprintf(stderr, "%s: no vector files\n", path);
        exit(2);
    }
    for (i = 0; i < count; i++) {
        bytes file = {NULL, 0, 0};
        bytes_string(&file, path);
        bytes_string(&file, "/");
        bytes_string(&file, names[i]->d_name);
        run_file(file.data);
        bytes_free(&file);
        free(names[i]);
    }
    free(names);
}

int main(int argc, char **argv) {
    struct stat what;
    int i;
    if (argc < 2) {
        fputs("usage: run_vectors FILE-OR-DIRECTORY...\n", stderr);
        return 2;
    }
    for (i = 1; i < argc; i++) {
        if (stat(argv[i], &what) == 0 && S_ISDIR(what.st_mode))
            run_directory(argv[i]);
        else
            run_file(argv[i]);
    }
    printf("%lu vectors, %lu runs\n", vectors, runs);
    return test_report();
}
