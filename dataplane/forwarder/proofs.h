/* Proofs that clients receive at the addresses they name (threat D4): what may be sent to a path,
 * asking for a proof, taking it. proof.h has the rules, ice.h what follows from a proof.
 *
 *   check or RTCP from an unproven path ─► proofs_ask ─► sender reports of a random time, sent only
 *                                                        there
 *   a report block with that time, from there ─► proofs_echo ─► the path is proven and selected
 *
 * Chromium reports about video after 0.5 to 1.5 s, about audio after 2.5 to 7.5 s, so a challenge
 * names video first. Proofs are for the slow path: proven paths cost a packet one branch.
 *
 * Threads: the worker's.
 * Errors:  what must not be sent is counted: path_withheld, and path_withheld of the transport. */
#ifndef RINGCAST_PROOFS_H
#define RINGCAST_PROOFS_H

#include "transport.h"

struct proofs {
    struct turn *turn;
    struct random_pool *random;
    struct reports *reports;
    struct checks *checks;
    struct transports *transports;
};

/* A datagram came on this path. */
static inline void proofs_count_received(struct transport *t, int path, uint32_t bytes)
{
    struct proof *proof = &t->ice.paths[path].proof;

    if (__builtin_expect(proof->state != PROOF_COMPLETE, 0))
        proof_count_received(proof, bytes);
}

/* May so many bytes be sent to this path? Counts them. path -1: an address that is not a path. */
bool proofs_may_send(struct proofs *p, struct transport *t, int path, enum proof_use use,
                     size_t bytes);
/* The same for RTP to an egress that is_limited. */
bool proofs_may_send_rtp(struct proofs *p, const struct egress *egress, size_t bytes);

/* Sends the challenge to this path, if it needs one and may get it now. */
void proofs_ask(struct proofs *p, struct transport *t, int path);

static inline bool proofs_is_complete(const struct transport *t, int path)
{
    return t->ice.paths[path].proof.state == PROOF_COMPLETE;
}

/* For paths that are not complete: a new authentic RTCP compound came on this path. */
void proofs_heard(struct proofs *p, struct transport *t, int path);
/* It has a report block about a stream of ours, with this time of the last sender report. */
void proofs_echo(struct proofs *p, struct transport *t, int path, uint32_t last_sr);
/* A new authentic RTP packet came from there; it is counted in t->rtp_packets_received already. */
void proofs_media(struct proofs *p, struct transport *t, const struct path *path);

/* Is this time of a sender report one of a challenge? It tells no round-trip time. Ask only if
 * t->has_challenged. */
bool proofs_is_challenge(const struct transport *t, uint32_t last_sr);
/* Sender reports to the selected path would hide the challenge from the client: a report block
 * repeats the time of the last one. */
bool proofs_silence_reports(const struct transport *t, uint64_t now_ns);

#endif
