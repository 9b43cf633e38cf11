/* The header's implementation, built once for the tests that need no part of it for themselves. Those
   that look inside, or change what it calls, have STOMP_WS_IMPLEMENTATION in their own file. */
#define STOMP_WS_IMPLEMENTATION
#ifdef STOMP_WS_OPENSSL /* make OPENSSL=1: what is linked with this has wss:// by OpenSSL */
#define STOMP_WS_TLS stws_openssl()
struct stws_tls;
static const struct stws_tls *stws_openssl(void);
#endif
#include "stomp_ws.h"
#ifdef STOMP_WS_OPENSSL
#include "examples/stomp_ws_openssl.h"
#endif
