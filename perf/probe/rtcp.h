/* The probe's RTCP (RFC 3550 6.4): it writes reports and reads those of the server. No I/O. */
#ifndef RINGCAST_PROBE_RTCP_H
#define RINGCAST_PROBE_RTCP_H

#include "streams.h"

#define REPORT_BYTES_MAX 1400 /* including what SRTCP adds */
#define REPORT_BLOCKS_MAX 31

/* Writes the sender report and SDES of one sender. Returns the bytes; 0: it has sent no frame yet.
 * wall_ns: time since 1970. */
size_t rtcp_write_sender_report(uint8_t out[REPORT_BYTES_MAX], const struct sender *sender,
                                uint64_t now_ns, uint64_t wall_ns);
/* Writes a receiver report from `ssrc` about the first 31 receivers that have packets. */
size_t rtcp_write_receiver_report(uint8_t out[REPORT_BYTES_MAX], const struct receiver *receivers,
                                  unsigned count, uint32_t ssrc, uint64_t now_ns);

/* Reads key-frame requests and receiver reports about `sender` from a compound. */
void rtcp_read_about_sender(struct sender *sender, const uint8_t *data, size_t bytes,
                            uint64_t wall_ns);
/* Reads the server's sender reports about `receiver` from a compound. */
void rtcp_read_about_receiver(struct receiver *receiver, const uint8_t *data, size_t bytes,
                              uint64_t now_ns);

#endif
