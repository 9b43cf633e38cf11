/* The header's implementation, built once for the tests that need no part of it for themselves. Those
   that look inside, or change what it calls, have STOMP_WS_IMPLEMENTATION in their own file. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"
