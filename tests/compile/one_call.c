/* With STOMP_WS_STATIC: a program that calls one function of all those that it includes. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

int main(void) {
    return !stws_utf8_valid("", 0);
}
