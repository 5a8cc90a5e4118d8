/* The probe's RTCP (RFC 3550 6.4): what it reports and what it takes from reports. No I/O. */
#ifndef RINGCAST_PROBE_RTCP_H
#define RINGCAST_PROBE_RTCP_H

#include "streams.h"

#define REPORT_ROOM 1400 /* with room for SRTCP */
#define REPORT_BLOCKS_MAX 31

/* SR and SDES of one sender; 0 before its first frame. wall_ns: since 1970. */
size_t report_sender(uint8_t out[REPORT_ROOM], const struct sender *sender, uint64_t now_ns,
                     uint64_t wall_ns);
/* RR about what came, from `ssrc`; of the first 31 receivers that had anything. */
size_t report_receivers(uint8_t out[REPORT_ROOM], const struct receiver *receivers, unsigned count,
                        uint32_t ssrc, uint64_t now_ns);

/* Takes a compound about what we send: key-frame requests, receiver reports. */
void reports_about_sender(struct sender *sender, const uint8_t *data, size_t bytes,
                          uint64_t wall_ns);
/* Takes the server's sender reports about what we receive. */
void reports_about_receiver(struct receiver *receiver, const uint8_t *data, size_t bytes,
                            uint64_t now_ns);

uint64_t reports_wall_ns(void);

#endif
