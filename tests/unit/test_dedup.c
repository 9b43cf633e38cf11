/* Tests stws_dedup, which remembers the last ids. Its answers are compared with those of a plain
   list. A second part counts the digests that a call compares, when a peer chooses ids that
   collide. */
#include <stdlib.h>
#include <string.h>

/* Counts how many digests are compared, to measure the cost of a call. */
static long compared;

static int counting_memcmp(const void *a, const void *b, size_t len) {
    compared++;
    return memcmp(a, b, len);
}

#define STOMP_WS_NO_IO
#define STOMP_WS_IMPLEMENTATION
#define memcmp counting_memcmp
#include "stomp_ws.h"
#undef memcmp

#include "tests/test.h"

static stws_dedup *make(size_t count) {
    void *memory = malloc(stws_dedup_size(count));
    if (!memory) abort();
    memset(memory, 0xA5, stws_dedup_size(count));
    return stws_dedup_init(memory, count);
}

static int seen(stws_dedup *d, unsigned long number) {
    char id[24];
    snprintf(id, sizeof id, "id-%lu", number);
    return stws_dedup_seen(d, id);
}

/* ==== a list with the newest id first ==== */

enum { MOST = 64 };

static struct {
    unsigned long ids[MOST];
    size_t count, most;
} list;

/* Returns 1 if the id is in the list. The id becomes the newest; if the list is full, the oldest id
   is dropped. */
static int list_seen(unsigned long number) {
    size_t i = 0;
    int found;
    while (i < list.count && list.ids[i] != number) i++;
    found = i < list.count;
    if (!found && list.count < list.most) list.count++;
    if (!found) i = list.count - 1;
    memmove(list.ids + 1, list.ids, i * sizeof *list.ids);
    list.ids[0] = number;
    return found;
}

static void check_against_the_list(size_t count, unsigned long ids, int rounds) {
    stws_dedup *d = make(count);
    unsigned random = (unsigned)count;
    int round;
    list.count = 0;
    list.most = count;
    for (round = 0; round < rounds; round++) {
        unsigned long id;
        random = random * 1103515245u + 12345u;
        id = (random >> 16) % ids;
        if (seen(d, id) != list_seen(id)) break;
    }
    CHECK_INT(rounds, round);
    free(d);
}

static void test_exactly_the_last_ids_are_known(void) {
    size_t count;
    for (count = 1; count <= MOST; count += 1 + count / 3) {
        check_against_the_list(count, count, 300);
        check_against_the_list(count, count + 1, 3000);
        check_against_the_list(count, 2 * count, 10000);
        check_against_the_list(count, 5 * count + 3, 10000);
    }
}

/* An id that keeps arriving is not forgotten, however many other ids arrive. */
static void test_a_repeated_id_is_renewed(void) {
    stws_dedup *d = make(3);
    unsigned long other;
    CHECK_INT(0, seen(d, 1));
    for (other = 100; other < 200; other += 2) {
        int new_ones = !seen(d, other) + !seen(d, other + 1);
        if (new_ones != 2 || !seen(d, 1)) break;
    }
    CHECK_INT(200, other);
    CHECK_INT(0, seen(d, 200));
    CHECK_INT(0, seen(d, 201));
    CHECK_INT(0, seen(d, 202));
    CHECK_INT(0, seen(d, 1));
    free(d);
}

static void test_no_id(void) {
    stws_dedup *d = make(2);
    CHECK_INT(0, stws_dedup_seen(d, NULL));
    CHECK_INT(0, stws_dedup_seen(d, NULL));
    CHECK_INT(0, stws_dedup_seen(d, ""));
    CHECK_INT(1, stws_dedup_seen(d, ""));
    free(d);
}

static void test_a_count_of_zero_remembers_one_id(void) {
    stws_dedup *d = make(0);
    CHECK_INT(0, seen(d, 1));
    CHECK_INT(1, seen(d, 1));
    CHECK_INT(0, seen(d, 2));
    CHECK_INT(0, seen(d, 1));
    CHECK_INT(1, seen(d, 1));
    free(d);
}

/* ==== a peer that chooses the ids ==== */

enum { COUNT = 256, CHOSEN = 256, ROUNDS = 3, MOST_COMPARED = 3 * (8 + 16) };

static unsigned long chosen[CHOSEN];

/* Finds ids whose SHA-1 has the same first or fourth byte. Assume a hash table of 256 chains that
   takes the first four bytes as a number, in either byte order: all these ids would be in one
   chain. */
static void choose(int from_the_end) {
    unsigned long number;
    size_t n = 0;
    for (number = 0; n < CHOSEN; number++) {
        unsigned char digest[20];
        char id[24];
        stws_p_sha1(id, (size_t)snprintf(id, sizeof id, "id-%lu", number), digest);
        if (digest[from_the_end ? 3 : 0] == 0) chosen[n++] = number;
    }
}

static int by_digest(const void *a, const void *b) {
    unsigned char digests[2][20];
    const unsigned long *numbers[2];
    int i;
    numbers[0] = (const unsigned long *)a;
    numbers[1] = (const unsigned long *)b;
    for (i = 0; i < 2; i++) {
        char id[24];
        stws_p_sha1(id, (size_t)snprintf(id, sizeof id, "id-%lu", *numbers[i]), digests[i]);
    }
    return memcmp(digests[0], digests[1], sizeof digests[0]);
}

/* The chosen ids arrive again and again, with other ids between the rounds. Returns how many
   digests the most expensive call compared. */
static long most_expensive(void) {
    stws_dedup *d = make(COUNT);
    long most = 0;
    int round, i, wrong = 0;
    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < CHOSEN; i++) {
            compared = 0;
            wrong += seen(d, chosen[i]) != 0;
            if (compared > most) most = compared;
        }
        for (i = 0; i < CHOSEN; i++) wrong += seen(d, chosen[i]) != 1;
        for (i = 0; i < COUNT; i++) seen(d, 1000000000uL + (unsigned long)(round * COUNT + i));
    }
    CHECK_INT(0, wrong);
    free(d);
    return most;
}

/* The limit MOST_COMPARED allows for: the 8 bits that are equal; twice the 8 bits that distinguish
   256 ids, because the ids do not arrive in the best order; and three searches when an id takes the
   place of the oldest. */
static void test_chosen_ids_cost_little(void) {
    int from_the_end;
    for (from_the_end = 0; from_the_end < 2; from_the_end++) {
        choose(from_the_end);
        CHECK(most_expensive() <= MOST_COMPARED);
        qsort(chosen, CHOSEN, sizeof *chosen, by_digest);
        CHECK(most_expensive() <= MOST_COMPARED);
    }
}

int main(void) {
    RUN(test_exactly_the_last_ids_are_known); /* [G3] */
    RUN(test_a_repeated_id_is_renewed);
    RUN(test_no_id);
    RUN(test_a_count_of_zero_remembers_one_id);
    RUN(test_chosen_ids_cost_little);
    return test_report();
}
