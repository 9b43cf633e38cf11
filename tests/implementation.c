/* The header's implementation, compiled one time for all tests that do not need their own. A test
   that uses internal functions, or replaces functions that the header calls, defines
   STOMP_WS_IMPLEMENTATION in its own file. */
#define STOMP_WS_IMPLEMENTATION
#ifdef STOMP_WS_OPENSSL /* With `make OPENSSL=1`, programs that are linked with this file support
                           wss:// by OpenSSL. */
#define STOMP_WS_TLS stws_openssl()
struct stws_tls;
static const struct stws_tls *stws_openssl(void);
#endif
#include "stomp_ws.h"
#ifdef STOMP_WS_OPENSSL
#include "examples/stomp_ws_openssl.h"
#endif
