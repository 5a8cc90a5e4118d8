/* One measurement: counters, histograms and sums of the time between its start and its stop.
 *
 * A packet belongs to the measurement if it was SENT between start and stop. Loss and latency
 * follow the packet's number, so packets that are still on their way at the start or the stop are
 * counted correctly. Counters marked "window" count by wall time: what happened between start and
 * stop.
 *
 *   measurement_start ─► … ─► measurement_stop ─► wait for late packets ─► measurement_sum
 *
 * Units:   nanoseconds of CLOCK_MONOTONIC, bytes.
 * Threads: the media thread writes; others read after media_stop. The functions fit media_call. */
#ifndef RINGCAST_LOAD_MEASUREMENT_H
#define RINGCAST_LOAD_MEASUREMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "gaps.h"
#include "histogram.h"
#include "verify.h"

struct media;
struct receiver;

/* Each name is also the name in the JSON result. */
struct media_counts {
    /* window */
    uint64_t rtp_received, rtp_received_bytes; /* with a correct SRTP tag */
    uint64_t rtp_sent, rtp_sent_bytes;
    uint64_t unauthentic, replayed, malformed;
    uint64_t corrupt, foreign, misrouted; /* correct tag, wrong content: see payload.h */
    uint64_t injected_send_loss, injected_send_reorder;
    uint64_t injected_loss, injected_duplicate, injected_corrupt, injected_scramble;
    /* whole run */
    uint64_t before_key_frame;
    uint64_t unknown_ssrc, unknown_endpoint, too_early;
    uint64_t rtcp_received, rtcp_sent, rtcp_bad;
    uint64_t pli_sent, pli_received, fir_received, nack_sent, nack_received, rtx_sent, rtx_received;
    uint64_t nack_packets_sent;
    uint64_t transport_cc_sent, transport_cc_packets, transport_cc_unnumbered;
    uint64_t checks_sent, checks_answered, check_errors, consent_lost;
};

/* The sum over all receivers of one kind of stream. */
struct media_sums {
    uint64_t expected, received, lost, duplicates, reordered, ancient;
    uint64_t receivers, silent, with_loss; /* silent: received no packet at all */
    uint64_t not_sent; /* part of `lost`: packets that --loss kept from the server */
    uint32_t lost_worst, distance_max;
    double loss_worst; /* the highest loss of one receiver, 0…1 */
};

struct measurement {
    bool running;
    uint64_t began_ns, ended_ns;
    uint64_t last_counted_ns; /* arrival of the latest packet that belongs to the measurement */
    struct media_counts counts;
    struct media_sums sums[2]; /* by enum stream_kind */
    struct histogram latency[2], lateness, read_lag;
    struct histogram *room_latency; /* one per room; NULL without --room-latency */
    uint64_t own_cpu_ns,
        own_process_cpu_ns; /* of this thread and process, between start and stop */
    /* of all receivers that answer NACKs, in the whole run */
    struct gap_counts gaps;
    uint64_t gaps_open;           /* not decided yet when the run ended */
    struct verify_counts verify;  /* of all receivers, in the whole run */
    struct histogram layer_delay; /* from the request for a layer to its first packet */
    struct histogram missing;     /* how long packets were missing that came in the end */
    uint64_t drops, send_failed;  /* of the generator's own sockets, between start and sum */
};

void measurement_start(struct media *media, void *unused);
void measurement_stop(struct media *media, void *unused);
void measurement_sum(struct media *media, void *unused);
/* Adds what `receiver` counted to the sums, once. For a receiver that leaves. */
void measurement_add_receiver(struct media *media, struct receiver *receiver);

#endif
