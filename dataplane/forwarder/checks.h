/* ICE connectivity checks (STUN binding requests) of clients. A check is authenticated, given to
 * the ICE agent of its transport, and answered. Only checks decide which addresses a worker
 * receives from and may send to (gates G1 and G6); media goes there after a proof (proofs.h).
 *
 * Shape:   the worker's map of validated paths, and the ICE agent in each transport (ice.h).
 * Threads: the worker's.
 * Errors:  a check that names no transport or has a wrong signature gets no answer.
 * Source:  RFC 8445 7.3, RFC 7675 (consent). */
#ifndef RINGCAST_CHECKS_H
#define RINGCAST_CHECKS_H

#include "dataplane/engines/map.h"
#include "dataplane/engines/stun.h"
#include "dataplane/io/io.h"
#include "src/verdicts.h"

struct transport;

struct checks {
    struct turn *turn;
    struct transmit *transmit;
    struct publisher *publisher;
    struct handshaker_link *handshaker;
    struct proofs *proofs;
    struct transports *transports;
    struct stun_request request; /* the check that is being answered */
    uint64_t secret;             /* for hashing: strangers choose the addresses */
    struct map paths;            /* path → index of the transport that ICE validated it for */
};

bool checks_open(struct checks *checks);
void checks_close(struct checks *checks);

enum verdict checks_receive(struct checks *checks, const struct io_datagram *datagram);

/* The transport that ICE validated this path for; NULL: none. *index: the path in its ICE agent, good
 * until the next check. */
struct transport *checks_find_transport(const struct checks *checks, const struct path *path,
                                        int *index);

/* Another path is selected, or the selected one is proven now. */
void checks_path_changed(struct checks *checks, struct transport *t);

/* The ICE agent says that consent is lost: nothing is sent until a new check comes (RFC 7675,
 * threat D28). */
void checks_lose_consent(struct checks *checks, struct transport *t);
/* The transport is being removed: removes its paths from the map. */
void checks_forget(struct checks *checks, struct transport *t);

#endif
