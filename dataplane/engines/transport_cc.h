/* Transport-wide congestion control, receiving side: notes when packets came and tells the sender,
 * whose estimator lives on it. An engine without I/O and clock.
 *
 * Shape: per transport one struct transport_cc; sequence numbers are the sender's transport-wide ones
 *        (extension, 16 bit), times are kept in ticks of 250 µs, the format's unit.
 * Limits: at most TRANSPORT_CC_WINDOW packets back; packets older than what was reported last are
 *         reported once more with everything after them, as libwebrtc does.
 * Source: draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1. */
#ifndef RINGCAST_TRANSPORT_CC_H
#define RINGCAST_TRANSPORT_CC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSPORT_CC_WINDOW 1024
#define TRANSPORT_CC_INTERVAL_NS (100 * 1000000ull)

struct transport_cc {
    bool started;
    uint16_t base;  /* first sequence number of the next report */
    uint16_t count; /* from base on, as far as anything came; 0: nothing to report */
    uint8_t report_count;
    uint32_t ticks[TRANSPORT_CC_WINDOW]; /* by sequence number; 0: did not come */
};

/* A packet came. True when it is the first one since the last report: time to plan the next. */
bool transport_cc_add_packet(struct transport_cc *cc, uint16_t sequence, uint64_t now_ns);

/* Builds one RTCP feedback packet about as many packets as fit `room` (≥ 64) and takes them off the
 * report; returns its bytes, 0 when there is nothing (more) to report. Call until 0. */
size_t transport_cc_build_report(struct transport_cc *cc, uint32_t sender_ssrc, uint32_t media_ssrc,
                                 uint8_t *out, size_t room);

#endif
