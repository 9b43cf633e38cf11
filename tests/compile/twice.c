/* Every order of including it again is harmless, in one file. */
#include "stomp_ws.h"
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"
#include "stomp_ws.h"
#undef STOMP_WS_IMPLEMENTATION
#include "stomp_ws.h"

int main(void) {
    return stws_result_text(STWS_OK) == NULL;
}
