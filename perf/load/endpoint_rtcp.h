/* RTCP of one endpoint, as a browser does it. Outgoing: sender and receiver reports every second,
 * key-frame requests until a key frame arrives, NACK and transport-cc feedback if the options ask
 * for them. Incoming: reports, key-frame requests and NACKs of the server.
 *
 * Threads: the media thread. */
#ifndef RINGCAST_LOAD_ENDPOINT_RTCP_H
#define RINGCAST_LOAD_ENDPOINT_RTCP_H

#include <stddef.h>
#include <stdint.h>

struct endpoint;

/* Sends the reports of this second, and asks for every key frame that has not arrived. */
void endpoint_send_reports(struct endpoint *endpoint);
/* Asks for the missing packets of all its streams in one compound, and for a key frame where asking
 * was in vain. Plans the next time. */
void endpoint_send_nacks(struct endpoint *endpoint);
void endpoint_send_transport_cc(struct endpoint *endpoint);
/* Decrypts `data` in place and acts on it. */
void endpoint_take_rtcp(struct endpoint *endpoint, uint8_t *data, size_t bytes);

#endif
