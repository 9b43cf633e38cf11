/* The implementation and nothing else, as a program's one file has it. Also compiled as C++. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"
