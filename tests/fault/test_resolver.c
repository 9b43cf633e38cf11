/* test_resolver.c - tests which of the addresses from a resolver are tried, and in which order (RFC
   8305, section 4). The test supplies the resolver, and reads the resulting address list inside the
   transport. */
#if defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* the header does the same if it is included first */
#endif
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define getaddrinfo(host, service, hints, list) resolve(host, hints, list)
#define freeaddrinfo(list) ((void)(list))
static int resolve(const char *host, const struct addrinfo *hints, struct addrinfo **list);

#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

#include "../test.h"

/* The resolver. A host name lists the families of its addresses: "4", "6", and "u" for a family
   that the client does not know. The last byte of each address is its position in the name. */
static int resolve(const char *host, const struct addrinfo *hints, struct addrinfo **list) {
    static struct sockaddr_in v4[16];
    static struct sockaddr_in6 v6[16];
    static struct sockaddr_storage other;
    static struct addrinfo all[16];
    int i;
    CHECK_INT(SOCK_STREAM, hints->ai_socktype);
    memset(v4, 0, sizeof v4);
    memset(v6, 0, sizeof v6);
    memset(all, 0, sizeof all);
    for (i = 0; host[i]; i++) {
        all[i].ai_family = host[i] == '4' ? AF_INET : host[i] == '6' ? AF_INET6 : AF_UNIX;
        all[i].ai_addr = host[i] == '4'   ? (struct sockaddr *)&v4[i]
                         : host[i] == '6' ? (struct sockaddr *)&v6[i]
                                          : (struct sockaddr *)&other;
        all[i].ai_addrlen = host[i] == '4'   ? sizeof *v4
                            : host[i] == '6' ? sizeof *v6
                                             : sizeof other;
        all[i].ai_next = host[i + 1] ? &all[i + 1] : NULL;
        v4[i].sin_family = AF_INET;
        v4[i].sin_addr.s_addr = htonl(0x7F000000u + (unsigned)i);
        v6[i].sin6_family = AF_INET6;
        v6[i].sin6_addr.s6_addr[15] = (unsigned char)i;
    }
    *list = all;
    return 0;
}

/* Returns the addresses in the order in which they are tried, or the resolver's error. "4a 6c "
   means an IPv4 address, the first in the name, and then an IPv6 address, the third. */
static const char *tried(const char *host) {
    static char text[3 * STWS_P_ADDRESSES + 1];
    char *at = text;
    stws_p_address addresses[STWS_P_ADDRESSES];
    stws_p_tcp t;
    stws_transport io;
    int i, result;
    stws_p_tcp_init(&t, NULL, &io);
    t.addresses = addresses;
    result = stws_p_tcp_resolve(&t, host, 0);
    if (result != 0) return gai_strerror(result);
    stws_p_tcp_interleave(&t);
    for (i = 0; i < t.count; i++) {
        const stws_p_address *a = &addresses[i];
        int is_4 = a->any.sa_family == AF_INET;
        unsigned place = is_4 ? ntohl(a->v4.sin_addr.s_addr) & 255 : a->v6.sin6_addr.s6_addr[15];
        *at++ = is_4 ? '4' : '6';
        *at++ = (char)('a' + place);
        *at++ = ' ';
    }
    *at = 0;
    return text;
}

static void test_families_alternate(void) {
    CHECK_STR("4a ", tried("4"));
    CHECK_STR("6a 4b ", tried("64"));
    CHECK_STR("6a 4d 6b 4e 6c ", tried("66644"));
    CHECK_STR("4a 6d 4b 4c ", tried("4446"));
    CHECK_STR("6a 6b 6c ", tried("666"));
    CHECK_STR("4a 6b 4c 6d ", tried("4646"));
}

/* At most eight addresses are tried. If the first eight have the same family, the other family gets
   the last of the eight. */
static void test_at_most_eight_addresses(void) {
    CHECK_STR("4a 4b 4c 4d 4e 4f 4g 4h ", tried("44444444"));
    CHECK_STR("4a 4b 4c 4d 4e 4f 4g 4h ", tried("4444444444"));
    CHECK_STR("6a 4j 6b 6c 6d 6e 6f 6g ", tried("6666666664"));
}

static void test_families_that_are_unknown(void) {
    CHECK_STR("4b ", tried("u4"));
    CHECK_STR("6b 4d ", tried("u6u4u"));
    CHECK_STR(gai_strerror(EAI_NONAME), tried("u"));
}

int main(void) {
    RUN(test_families_alternate);
    RUN(test_at_most_eight_addresses);
    RUN(test_families_that_are_unknown);
    return test_report();
}
