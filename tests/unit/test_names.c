/* Tests the functions that return names and texts of results, states, commands and the version.
   Also tests that a client that could not be created reports its error from every call. */
#include "stomp_ws.h"

#include "tests/results.h"
#include "tests/test.h"

#define CHECK_RESULT(code, number)                                                                 \
    CHECK_INT(number, code);                                                                       \
    CHECK_STR(#code, stws_result_name(code));                                                      \
    CHECK(strlen(stws_result_text(code)) > 6);                                                     \
    known++;

static void test_every_result_has_a_name_and_a_text(void) {
    int known = 0, named = 0, code;
    EVERY_RESULT(CHECK_RESULT)
    for (code = STWS_RESULT_END; code < 100; code++)
        named += strcmp("STWS_UNKNOWN", stws_result_name(code)) != 0;
    CHECK_INT(known, named);
    CHECK_STR("success", stws_result_text(STWS_OK));
    CHECK_STR("the server refused CONNECT", stws_result_text(STWS_ERR_LOGIN));
    CHECK_STR("all reconnect attempts are used up", stws_result_text(STWS_ERR_GAVE_UP));
}

static void test_no_two_results_have_the_same_text(void) {
    int a, b;
    for (a = -100; a <= 0; a++)
        for (b = -100; b < a; b++)
            CHECK(stws_result_name(a) == stws_result_name(b) ||
                  strcmp(stws_result_text(a), stws_result_text(b)) != 0);
}

static void test_a_number_that_is_not_a_result(void) {
    CHECK_STR("STWS_UNKNOWN", stws_result_name(STWS_RESULT_END));
    CHECK(*stws_result_text(STWS_RESULT_END) != 0);
}

static void test_states(void) {
    int state;
    for (state = STWS_IDLE; state <= STWS_ENDED; state++)
        CHECK(strcmp("unknown", stws_state_name((stws_connection_state)state)) != 0);
    CHECK_STR("resolving", stws_state_name(STWS_RESOLVING));
    CHECK_STR("TLS handshake", stws_state_name(STWS_TLS));
    CHECK_STR("unknown", stws_state_name((stws_connection_state)(STWS_ENDED + 1)));
    CHECK_STR("unknown", stws_state_name((stws_connection_state)-1));
}

static void test_commands(void) {
    CHECK_STR("", stws_command_name(STWS_COMMAND_OTHER));
    CHECK_STR("CONNECT", stws_command_name(STWS_COMMAND_CONNECT));
    CHECK_STR("ERROR", stws_command_name(STWS_COMMAND_ERROR));
    CHECK_STR("", stws_command_name((stws_command)(STWS_COMMAND_ERROR + 1)));
    CHECK_STR("", stws_command_name((stws_command)-1));
}

static void test_both_forms_of_the_version_are_equal(void) {
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", STOMP_WS_VERSION_MAJOR, STOMP_WS_VERSION_MINOR,
             STOMP_WS_VERSION_PATCH);
    CHECK_STR(STOMP_WS_VERSION, text);
}

/* Calls with a NULL client return an error and never crash. */
static void test_no_client(void) {
    stws_event event;
    stws_fd fds[3];
    stws_statistics numbers;
    CHECK_INT(STWS_ERR_MEMORY, stws_run(NULL));
    CHECK_INT(STWS_ERR_MEMORY, stws_next(NULL, &event, 0));
    CHECK_INT(STWS_EVENT_NONE, event.type);
    CHECK_INT(STWS_ERR_MEMORY, stws_send(NULL, "/queue/a", "", 0));
    CHECK_INT(STWS_ERR_MEMORY, stws_subscribe(NULL, "/queue/a", NULL));
    CHECK_INT(0, stws_fds(NULL, fds, 3));
    CHECK_INT(STWS_ENDED, stws_state(NULL));
    CHECK(*stws_error_text(NULL) != 0);
    stws_stats(NULL, &numbers);
    CHECK_INT(0, numbers.bytes_in);
    stws_stop(NULL);
    stws_destroy(NULL);
}

static void test_a_client_with_wrong_options_reports_it(void) {
    stws_options o = stws_options_default();
    stws_event event;
    stws *client = stws_create(&o);
    CHECK_INT(STWS_ERR_USAGE, stws_run(client));
    CHECK_HAS("url", stws_error_text(client));
    CHECK_INT(STWS_ERR_USAGE, stws_send(client, "/queue/a", "", 0));
    stws_destroy(client);
    o.url = "http://localhost/";
    o.utf8 = STWS_UTF8_LENIENT;
    client = stws_create(&o);
    CHECK_INT(STWS_ERR_URL, stws_next(client, &event, 0));
    CHECK_HAS("ws://", stws_error_text(client));
    stws_destroy(client);
}

int main(void) {
    RUN(test_every_result_has_a_name_and_a_text);
    RUN(test_no_two_results_have_the_same_text);
    RUN(test_a_number_that_is_not_a_result);
    RUN(test_states);
    RUN(test_commands);
    RUN(test_both_forms_of_the_version_are_equal);
    RUN(test_no_client);
    RUN(test_a_client_with_wrong_options_reports_it);
    return test_report();
}
