/* The declarations came first, but the implementation after a system header: that is as late. */
#include "stomp_ws.h"
#include <stdio.h>
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

int main(void) {
    return puts(STOMP_WS_VERSION) < 0;
}
