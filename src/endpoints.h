/* Where servers are, as settings name them: host:port, STUN and TURN URLs.
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

#define ICE_URL_ROOM 300

/* Takes the next STUN or TURN URL (RFC 7064, RFC 7065: stun:, stuns:, turn: or turns:, a host, maybe a
 * port, with TURN maybe ?transport=udp or tcp) off a list separated by commas and blanks. Browsers
 * throw at whatever else they are given, and the call with it. */
bool ice_url_next(const char **list, char url[ICE_URL_ROOM]);

#endif
