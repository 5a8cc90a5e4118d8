/* The whole path of a worker, datagrams in to datagrams out, beside the protect calls alone. */
#ifndef RINGCAST_BENCH_WHOLE_H
#define RINGCAST_BENCH_WHOLE_H

#include "bench.h"

struct whole_options {
    enum srtp_profile profile;
    uint32_t fanout;     /* consumers of each producer */
    uint32_t bytes;      /* of the RTP packet, header and extensions included, without the tag */
    bool audio;          /* single packets of many producers instead of bursts of few */
    uint32_t rooms;      /* walked in turn; many: every context is cold when it is needed */
    uint32_t publishers; /* of a room */
    uint32_t burst;      /* packets of a producer in one turn */
    uint32_t rounds;
    uint32_t packets; /* out, in one round */
    uint64_t turn_ns; /* virtual time that passes with each turn */
};

/* Video or audio, warm or cold: what was not given (0) is filled in. */
void whole_defaults(struct whole_options *options, bool cold);
void whole_measure(const struct whole_options *options);

#endif
