/* Transport-wide congestion control, on the receiving side. It notes when packets arrive and
 * reports that to their sender, which estimates the bandwidth from it.
 *
 * Shape:   one struct transport_cc for each transport; zeroed, it has seen nothing.
 * Units:   sequence numbers are those of the transport-cc header extension (16 bits). Times are
 *          ticks of 250 µs, the unit of the report.
 * Threads: the worker of the transport. It has no clock: the caller says what time it is.
 * Memory:  none besides the struct.
 * Errors:  none.
 * Limits:  a report covers at most TRANSPORT_CC_WINDOW packets; older ones are forgotten. When a
 *          packet is late and the packets around it were reported already, the next report covers
 *          it and all packets after it once more, as libwebrtc does.
 * Source:  draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1. */
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
    uint16_t count; /* of sequence numbers up to the newest that arrived; 0: nothing to report */
    uint8_t report_count;
    uint32_t ticks[TRANSPORT_CC_WINDOW]; /* by sequence number; 0: has not arrived */
};

/* Notes that a packet has arrived. True when it is the first since the last report, so that the
 * caller can plan the next report. */
bool transport_cc_add_packet(struct transport_cc *cc, uint16_t sequence, uint64_t now_ns);

/* Builds one RTCP packet that reports as many packets as fit into `room` (at least 64 bytes), and
 * forgets them. Returns its length, or 0 when there is nothing left to report. Call it until it
 * returns 0. */
size_t transport_cc_build_report(struct transport_cc *cc, uint32_t sender_ssrc, uint32_t media_ssrc,
                                 uint8_t *out, size_t room);

#endif
