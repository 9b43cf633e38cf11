/* results.h - every result code with its number. A test that finds a code of the library missing here
   fails, see test_names.c. */
#ifndef TESTS_RESULTS_H
#define TESTS_RESULTS_H

#define EVERY_RESULT(X)                                                                            \
    X(STWS_OK, 0)                                                                                  \
    X(STWS_CLOSED, -1)                                                                             \
    X(STWS_ERR_USAGE, -2)                                                                          \
    X(STWS_ERR_STATE, -3)                                                                          \
    X(STWS_ERR_MEMORY, -4)                                                                         \
    X(STWS_ERR_SPACE, -5)                                                                          \
    X(STWS_ERR_FULL, -6)                                                                           \
    X(STWS_ERR_LIMIT, -7)                                                                          \
    X(STWS_ERR_TIMEOUT, -8)                                                                        \
    X(STWS_ERR_URL, -9)                                                                            \
    X(STWS_ERR_RESOLVE, -20)                                                                       \
    X(STWS_ERR_CONNECT, -21)                                                                       \
    X(STWS_ERR_IO, -22)                                                                            \
    X(STWS_ERR_EOF, -23)                                                                           \
    X(STWS_ERR_TLS, -24)                                                                           \
    X(STWS_ERR_TLS_TRUST, -25)                                                                     \
    X(STWS_ERR_PROXY, -26)                                                                         \
    X(STWS_ERR_HTTP, -30)                                                                          \
    X(STWS_ERR_HTTP_STATUS, -31)                                                                   \
    X(STWS_ERR_HTTP_UPGRADE, -32)                                                                  \
    X(STWS_ERR_HTTP_SUBPROTOCOL, -33)                                                              \
    X(STWS_ERR_HTTP_EXTENSION, -34)                                                                \
    X(STWS_ERR_HTTP_LIMIT, -35)                                                                    \
    X(STWS_ERR_WS_PROTOCOL, -40)                                                                   \
    X(STWS_ERR_WS_UTF8, -41)                                                                       \
    X(STWS_ERR_WS_LIMIT, -42)                                                                      \
    X(STWS_ERR_WS_CLOSE, -43)                                                                      \
    X(STWS_ERR_SOCKJS, -44)                                                                        \
    X(STWS_ERR_FRAME_COMMAND, -50)                                                                 \
    X(STWS_ERR_FRAME_HEADER, -51)                                                                  \
    X(STWS_ERR_FRAME_ESCAPE, -52)                                                                  \
    X(STWS_ERR_FRAME_CR, -53)                                                                      \
    X(STWS_ERR_FRAME_NUL, -54)                                                                     \
    X(STWS_ERR_FRAME_LENGTH, -55)                                                                  \
    X(STWS_ERR_FRAME_HEADERS, -56)                                                                 \
    X(STWS_ERR_FRAME_LINE, -57)                                                                    \
    X(STWS_ERR_FRAME_BODY, -58)                                                                    \
    X(STWS_ERR_FRAME_BUILD, -59)                                                                   \
    X(STWS_ERR_VERSION, -60)                                                                       \
    X(STWS_ERR_LOGIN, -61)                                                                         \
    X(STWS_ERR_BROKER, -62)                                                                        \
    X(STWS_ERR_HEARTBEAT, -63)                                                                     \
    X(STWS_ERR_LATE, -64)                                                                          \
    X(STWS_ERR_LOST, -65)                                                                          \
    X(STWS_ERR_STALE, -66)                                                                         \
    X(STWS_ERR_GAVE_UP, -67)

#endif
