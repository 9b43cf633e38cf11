/* The declarations alone: no object may hold anything of them. */
#include "stomp_ws.h"

extern const stws_options *declaration_options;
