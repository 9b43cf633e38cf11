/* <stddef.h>, which the declarations include themselves, is early enough. */
#include <stddef.h>
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"
