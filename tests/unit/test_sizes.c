/* Tests that the manual's table "what the options cost in memory" agrees with stws_size. The
   numbers are read from stomp_ws.h itself. */
#include "stomp_ws.h"

#include "tests/test.h"

static void ignore_frame(stws *client, stws_direction direction, const stws_frame *frame,
                         void *user) {
    (void)client, (void)direction, (void)frame, (void)user;
}

/* Returns the number in the manual's row that begins with this text; -1 if the manual lacks such a
   row. */
static long stated_in_manual(const char *what) {
    char line[256], row[128];
    long number = -1;
    FILE *file = fopen("stomp_ws.h", "r");
    if (!file) return -1;
    snprintf(row, sizeof row, "    | %s ", what);
    while (number < 0 && fgets(line, sizeof line, file)) {
        const char *p = line + strlen(row);
        if (strncmp(line, row, strlen(row)) != 0) continue;
        p += strspn(p, " |");
        for (number = 0; *p == ',' || (*p >= '0' && *p <= '9'); p++)
            if (*p != ',') number = 10 * number + (*p - '0');
    }
    fclose(file);
    return number;
}

/* An exact row must match exactly. For a whole struct, the manual may state up to a tenth more than
   the measured size. With pointers of less than 8 bytes, only the upper limit is checked. */
static void check_row(const char *what, size_t measured, int exact) {
    long stated = stated_in_manual(what), actual = (long)measured;
    int good = actual <= stated &&
               (sizeof(void *) < 8 || (exact ? actual == stated : actual >= stated - stated / 10));
    CHECK(actual > 0);
    CHECK(good);
    if (!good) printf("%s: %ld bytes, the manual states %ld\n", what, actual, stated);
}

static stws_options least(void) {
    stws_options o = stws_options_default();
    o.url = "ws://localhost/";
    o.single_thread = 1;
    o.rx_buffer = o.tx_buffer = 256;
    o.outbox_bytes = o.subscription_bytes = 16;
    o.max_headers = 8;
    o.max_subscriptions = 1;
    o.max_receipts = 4;
    return o;
}

static void test_the_default_client(void) {
    stws_options o = stws_options_default();
    o.url = "ws://localhost/";
    check_row("a client with default options", stws_size(&o), 0);
}

static void test_the_least_client(void) {
    stws_options o = least(), more = o;
    check_row("the smallest client possible, single_thread", stws_size(&o), 0);
    more.single_thread = 0;
    check_row("added if single_thread is not set", stws_size(&more) - stws_size(&o), 0);
    more = o;
    more.proxy = "http://proxy:3128";
    check_row("a proxy", stws_size(&more) - stws_size(&o), 0);
}

/* From 64 KiB on, a larger buffer adds only its own bytes. */
static void test_buffers(void) {
    static const char row[] = "per byte of rx_buffer, tx_buffer, outbox_bytes";
    stws_options o = least(), more;
    o.rx_buffer = o.tx_buffer = o.outbox_bytes = 65536;
    more = o;
    more.rx_buffer += 65536;
    check_row(row, (stws_size(&more) - stws_size(&o)) / 65536, 1);
    more.tx_buffer += 65536;
    check_row(row, (stws_size(&more) - stws_size(&o)) / 131072, 1);
    more.outbox_bytes += 65536;
    check_row(row, (stws_size(&more) - stws_size(&o)) / 196608, 1);
}

static void test_tables(void) {
    stws_options o = least(), more;
    size_t plain, traced;
    o.max_headers = 100;
    o.max_subscriptions = o.max_receipts = 100;
    o.subscription_bytes = 16;
    more = o;
    more.max_headers += 100;
    plain = stws_size(&more) - stws_size(&o);
    check_row("per header of max_headers", plain / 100, 1);
    o.on_trace = more.on_trace = ignore_frame;
    traced = stws_size(&more) - stws_size(&o);
    check_row("added per header of max_headers with on_trace", (traced - plain) / 100, 1);
    more = o;
    more.max_receipts += 100;
    check_row("per receipt of max_receipts", (stws_size(&more) - stws_size(&o)) / 100, 1);
    more = o;
    more.max_subscriptions += 100;
    check_row("per subscription, besides subscription_bytes",
              (stws_size(&more) - stws_size(&o)) / 100 - o.subscription_bytes, 1);
}

int main(void) {
    RUN(test_the_default_client);
    RUN(test_the_least_client); /* [Y5] */
    RUN(test_buffers);
    RUN(test_tables);
    return test_report();
}
