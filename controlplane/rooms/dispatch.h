/* Dispatch: from the event that a socket received to the handler that answers it. */
#ifndef RINGCAST_ROOMS_DISPATCH_H
#define RINGCAST_ROOMS_DISPATCH_H

#include <cjson/cJSON.h>
#include <stdint.h>

struct socket;

/* Answers the event, or hands it to its handler. args: what followed the event's name; the payload is
 * the first of it. ack: -1 when the client wants no acknowledgement. */
void event_dispatch(struct socket *socket, const char *name, const cJSON *args, int64_t ack);

#endif
