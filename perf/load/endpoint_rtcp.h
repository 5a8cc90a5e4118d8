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
struct receiver;

/* Sends the reports of this second, and asks for every key frame that has not arrived. */
void endpoint_send_reports(struct endpoint *endpoint);
/* Sends a NACK for the missing packets of `receiver`, at most every 50 ms. */
void endpoint_send_nack(struct endpoint *endpoint, struct receiver *receiver);
void endpoint_send_transport_cc(struct endpoint *endpoint);
/* Decrypts `data` in place and acts on it. */
void endpoint_take_rtcp(struct endpoint *endpoint, uint8_t *data, size_t bytes);

#endif
