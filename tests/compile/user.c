/* The other file of a program, which has the declarations: implementation.c has the rest. Also
   compiled as C++. */
#include "stomp_ws.h"
#include <string.h>

int main(void) {
    stws_options options = stws_options_default();
    stws *client;
    stws_connection_state state;
    options.url = "ws://127.0.0.1:1/";
    client = stws_create(&options);
    state = stws_state(client);
    stws_destroy(client);
    return state != STWS_IDLE || strcmp(stws_state_name(state), "") == 0;
}
