/* Parses the lists of servers in settings: host:port, STUN and TURN URLs.
 *
 * Use:    call it in a loop; each call cuts one item off the front of *list.
 * Errors: false at the end of the list, and then **list is NUL; or false because the item at *list
 *         is wrong. */
#ifndef RINGCAST_ENDPOINTS_H
#define RINGCAST_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#define ENDPOINT_HOST_ROOM 256

/* The next "host", "host:port" or "[v6]:port" of a list separated by commas and blanks. An item
 * without a port leaves *port unchanged. */
bool endpoint_next(const char **list, char host[ENDPOINT_HOST_ROOM], uint16_t *port);

#define ICE_URL_ROOM 300

/* The next STUN or TURN URL (RFC 7064, RFC 7065) of a list separated by commas and blanks: stun:,
 * stuns:, turn: or turns:, a host, an optional port, and for TURN an optional ?transport=udp or
 * tcp. A browser throws an error for any other URL, and then its call does not start. */
bool ice_url_next(const char **list, char url[ICE_URL_ROOM]);

#endif
