/* Where servers are, as settings name them.
 *
 * Errors: a list is used up when nothing is left of it; what is left otherwise cannot be understood. */
#ifndef RINGCAST_ENDPOINTS_H
#define RINGCAST_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#define ENDPOINT_HOST_ROOM 256

/* Takes the next "host", "host:port" or "[v6]:port" off a list separated by commas and blanks. Without
 * a port *port stays as it is. */
bool endpoint_next(const char **list, char host[ENDPOINT_HOST_ROOM], uint16_t *port);

#endif
