/* The rings between a worker and the handshaker process, which does DTLS.
 *
 * Threads: the worker's. Memory: the rings lie in shared memory; what the handshaker wrote is read
 *          once, then checked, then used.
 * Errors:  when the ring is full, a DTLS datagram is dropped; the peer sends it again. */
#ifndef RINGCAST_HANDSHAKER_LINK_H
#define RINGCAST_HANDSHAKER_LINK_H

#include "dataplane/io/io.h"
#include "src/ring.h"
#include "src/verdicts.h"

struct transport;

struct handshaker_link {
    struct turn *turn;
    struct transmit *transmit;
    struct proofs *proofs;
    struct transports *transports;
    struct ring to, from;
    bool ring_bell; /* wake the handshaker at the end of the turn */
};

/* Passes on a DTLS datagram that this transport's client sent. */
enum verdict handshaker_pass(struct handshaker_link *link, const struct transport *t,
                             const struct io_datagram *datagram);
/* False when the ring is full. */
bool handshaker_notify(struct handshaker_link *link, const struct transport *t,
                       enum dtls_note note);
/* Sends the datagrams that the handshaker made, and takes the keys that it agreed on. */
void handshaker_receive(struct handshaker_link *link);

#endif
