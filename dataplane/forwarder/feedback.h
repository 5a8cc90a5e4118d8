/* RTCP from clients: sender and receiver reports, key-frame requests, NACK, goodbyes.
 *
 * Threads: the worker's.
 * Errors:  a compound that is malformed, forged, replayed or over the rate is dropped whole.
 * Source:  RFC 3550 6, RFC 4585, RFC 5104. */
#ifndef RINGCAST_FEEDBACK_H
#define RINGCAST_FEEDBACK_H

#include "dataplane/io/io.h"
#include "src/verdicts.h"

#define RTCP_PER_SECOND_MAX 100 /* compounds acted upon, per transport (threat D18) */

struct transport;

struct feedback {
    struct turn *turn;
    struct srtp_engine *srtp;
    struct consumers *consumers;
    struct key_frames *key_frames;
    struct replicas *replicas;
};

/* Decrypts the compound in place and acts on it. */
enum verdict feedback_receive(struct feedback *f, struct transport *t,
                              struct io_datagram *datagram);

#endif
