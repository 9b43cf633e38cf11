/* A system header first: in a strict mode it locks the features that the implementation needs. */
#include <stdio.h>
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

int main(void) {
    return puts(STOMP_WS_VERSION) < 0;
}
