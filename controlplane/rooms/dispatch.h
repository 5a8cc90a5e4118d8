/* Dispatch: from the event that a socket received to the handler that answers it. */
#ifndef RINGCAST_ROOMS_DISPATCH_H
#define RINGCAST_ROOMS_DISPATCH_H

#include <cjson/cJSON.h>
#include <stdint.h>

struct socket;

/* Answers the event, or calls its handler. args: an array, of which the first element is the
 * payload. ack: -1 when the client wants no acknowledgement. */
void event_dispatch(struct socket *socket, const char *name, const cJSON *args, int64_t ack);

#endif
