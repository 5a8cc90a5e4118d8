/* RTCP from clients: sender and receiver reports, key-frame requests, NACK, goodbyes.
 *
 * Threads: the worker's.
 * Errors:  a compound that is malformed, forged, replayed or over the rate is dropped whole.
 * Source:  RFC 3550 6, RFC 4585, RFC 5104. */
#ifndef RINGCAST_FEEDBACK_H
#define RINGCAST_FEEDBACK_H

#include "dataplane/io/io.h"
#include "src/verdicts.h"

/* What is acted upon per transport and second (threat D18). Feedback about packets (NACK,
 * transport-cc) has limits of its own: a client with twenty tiles on a bad link sends hundreds a
 * second, and more when the link gets worse. */
#define RTCP_PER_SECOND_MAX 100      /* compounds that do not begin with such feedback */
#define FEEDBACK_PER_SECOND_MAX 2000 /* compounds that do */
#define NACKED_PER_SECOND_MAX 10000  /* sequence numbers in NACKs */

struct transport;

struct feedback {
    struct turn *turn;
    struct srtp_engine *srtp;
    struct consumers *consumers;
    struct key_frames *key_frames;
    struct replicas *replicas;
    struct repair_out *repair_out;
    struct proofs *proofs;
};

/* Decrypts the compound in place and acts on it. It came on path `path` of the ICE agent. */
enum verdict feedback_receive(struct feedback *f, struct transport *t, int path,
                              struct io_datagram *datagram);

#endif
