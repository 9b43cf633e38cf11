/* test_der.c - the parts of a certificate that the library itself parses: elements of DER, names,
   and the uses of the certificate. The bytes are written by hand, because a CA would not issue most
   of these certificates. */
#ifndef STOMP_WS_BEARSSL
#define STOMP_WS_BEARSSL
#endif
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "tests/test.h"

/* Copies the bytes to the heap, so that a sanitizer finds a read beyond them. */
static stws_p_der copy_of(const char *bytes, size_t len) {
    stws_p_der der;
    der.data = (unsigned char *)malloc(len ? len : 1);
    if (!der.data) abort();
    if (len) memcpy(der.data, bytes, len);
    der.len = len;
    return der;
}

#define DER(literal) copy_of(literal, sizeof(literal) - 1)

#define CHECK_CONTENT(literal, der) CHECK_MEM(literal, sizeof(literal) - 1, (der).data, (der).len)

static void test_an_element_is_found_behind_others(void) {
    stws_p_der list = DER("\x02\x01\x05\x81\x02\x30\x00\xA3\x03\x04\x01\x7F\x05\x00"), rest = list;
    stws_p_der content;
    CHECK_INT(1, stws_p_der_find(&rest, 0xA3, &content));
    CHECK_CONTENT("\x04\x01\x7F", content);
    CHECK_CONTENT("\x05\x00", rest);
    CHECK_INT(0, stws_p_der_find(&rest, 0xA3, &content));
    free(list.data);
}

/* One variable may be both the list and the result. Elements that are skipped must not become the
   list. */
static void test_an_element_may_replace_its_list(void) {
    stws_p_der list = DER("\x81\x04\xA3\x02\x05\x00\xA3\x03\x04\x01\x7F"), rest = list;
    CHECK_INT(1, stws_p_der_find(&rest, 0xA3, &rest));
    CHECK_CONTENT("\x04\x01\x7F", rest);
    CHECK_INT(1, stws_p_der_find(&rest, 0x04, &rest));
    CHECK_CONTENT("\x7F", rest);
    free(list.data);
}

static void test_elements_that_are_cut_off(void) {
    static const char *const cut[] = {"",         "\x30",         "\x30\x01",
                                      "\x30\x81", "\x30\x82\x01", "\x30\x84\x01\x01\x01\x01"};
    size_t i;
    for (i = 0; i < sizeof cut / sizeof *cut; i++) {
        stws_p_der list = copy_of(cut[i], strlen(cut[i])), rest = list, content;
        CHECK_INT(0, stws_p_der_find(&rest, 0x30, &content));
        free(list.data);
    }
}

/* ==== extensions ==== */

/* The fields of a certificate behind the key. The bytes that were added are wrapped into one
   element after another. */
static struct {
    char bytes[256];
    size_t len;
} written;

static void add(const char *bytes, size_t len) {
    memcpy(written.bytes + written.len, bytes, len);
    written.len += len;
}

#define ADD(literal) add(literal, sizeof(literal) - 1)

/* Wraps all bytes from `from` on into an element. */
static void wrap(size_t from, int tag) {
    size_t len = written.len - from;
    if (len > 127) abort();
    memmove(written.bytes + from + 2, written.bytes + from, len);
    written.bytes[from] = (char)tag;
    written.bytes[from + 1] = (char)len;
    written.len += 2;
}

#define SUBJECT_ALT_NAME "\x06\x03\x55\x1D\x11"
#define EXTENDED_KEY_USAGE "\x06\x03\x55\x1D\x25"
#define CRITICAL "\x01\x01\xFF"

/* Adds an extension: its number, "critical" if requested, and the content of its list. */
static void add_extension(const char *number, size_t number_len, const char *list, size_t len) {
    size_t from = written.len, value;
    add(number, number_len);
    value = written.len;
    add(list, len);
    wrap(value, 0x30);
    wrap(value, 0x04);
    wrap(from, 0x30);
}

#define EXTENSION(number, list) add_extension(number, sizeof(number) - 1, list, sizeof(list) - 1)

/* Builds the complete extensions, as they stand in a certificate after `before`. */
static stws_p_der certificate_rest(const char *before, size_t len) {
    stws_p_der der;
    wrap(0, 0x30);
    wrap(0, 0xA3);
    memmove(written.bytes + len, written.bytes, written.len);
    memcpy(written.bytes, before, len);
    der = copy_of(written.bytes, written.len + len);
    written.len = 0;
    return der;
}

static const unsigned char ip[] = {127, 0, 0, 1};

static void check_names(stws_p_der rest, int has_name, int has_ip) {
    CHECK_INT(has_name, stws_p_der_names(rest, NULL, 0));
    CHECK_INT(has_ip, stws_p_der_names(rest, ip, sizeof ip));
    free(rest.data);
}

static void test_names(void) {
    check_names(certificate_rest("", 0), 0, 0);
    check_names(DER(""), 0, 0);
    EXTENSION(SUBJECT_ALT_NAME, "\x82\1a");
    check_names(certificate_rest("", 0), 1, 0);
    EXTENSION(SUBJECT_ALT_NAME, "\x87\4\x7F\0\0\1");
    check_names(certificate_rest("", 0), 0, 1);
    EXTENSION(SUBJECT_ALT_NAME, "\x87\4\x7F\0\0\2\x81\1a\x82\1b\x87\4\x7F\0\0\1");
    check_names(certificate_rest("", 0), 1, 1);
    EXTENSION(SUBJECT_ALT_NAME CRITICAL, "\x82\1a");
    check_names(certificate_rest("", 0), 1, 0);
    EXTENSION(SUBJECT_ALT_NAME, "");
    check_names(certificate_rest("", 0), 0, 0);
    ADD(SUBJECT_ALT_NAME "\x04\3\x82\1a"); /* not a list */
    wrap(0, 0x30);
    check_names(certificate_rest("", 0), 0, 0);
    EXTENSION("\x06\x03\x55\x1D\x12", "\x82\1a"); /* issuerAltName */
    EXTENSION(EXTENDED_KEY_USAGE, "\x82\1a");
    check_names(certificate_rest("", 0), 0, 0);
    /* after the unique ids of issuer and subject; the first of them looks like extensions */
    EXTENSION(SUBJECT_ALT_NAME, "\x82\1a");
    check_names(certificate_rest("\x81\3\xA3\1\x30\x82\1\0", 8), 1, 0);
}

static void check_uses(stws_p_der rest, int for_servers) {
    CHECK_INT(for_servers, stws_p_der_is_for_servers(rest));
    free(rest.data);
}

#define SERVER_AUTH "\x06\x08\x2B\6\1\5\5\7\3\1"
#define CLIENT_AUTH "\x06\x08\x2B\6\1\5\5\7\3\2"
#define ANY "\x06\x04\x55\x1D\x25\0"

static void test_uses(void) {
    check_uses(DER(""), 1);
    EXTENSION(SUBJECT_ALT_NAME, "\x82\1a");
    check_uses(certificate_rest("", 0), 1);
    EXTENSION(EXTENDED_KEY_USAGE, SERVER_AUTH);
    check_uses(certificate_rest("", 0), 1);
    EXTENSION(EXTENDED_KEY_USAGE, CLIENT_AUTH);
    check_uses(certificate_rest("", 0), 0);
    EXTENSION(EXTENDED_KEY_USAGE, CLIENT_AUTH SERVER_AUTH);
    check_uses(certificate_rest("", 0), 1);
    EXTENSION(EXTENDED_KEY_USAGE CRITICAL, CLIENT_AUTH);
    check_uses(certificate_rest("", 0), 0);
    EXTENSION(EXTENDED_KEY_USAGE, CLIENT_AUTH ANY);
    check_uses(certificate_rest("", 0), 1);
    EXTENSION(EXTENDED_KEY_USAGE, "");
    check_uses(certificate_rest("", 0), 0);
    EXTENSION(SUBJECT_ALT_NAME, SERVER_AUTH);
    EXTENSION(EXTENDED_KEY_USAGE, CLIENT_AUTH);
    check_uses(certificate_rest("\x81\1\0", 3), 0);
    ADD(EXTENDED_KEY_USAGE "\x04\0"); /* without a list */
    wrap(0, 0x30);
    check_uses(certificate_rest("", 0), 0);
    ADD(EXTENDED_KEY_USAGE);
    wrap(0, 0x30);
    check_uses(certificate_rest("", 0), 0);
}

int main(void) {
    RUN(test_an_element_is_found_behind_others);
    RUN(test_an_element_may_replace_its_list);
    RUN(test_elements_that_are_cut_off);
    RUN(test_names);
    RUN(test_uses);
    return test_report();
}
