/* The region `resume`: what a forwarder leaves to the one that replaces it. No other file reads or
 * writes that region's rows.
 *
 * No (SSRC, index) may ever be encrypted twice with different content (threat D13), not even by a
 * forwarder that replaces one that crashed. So a worker reserves indexes here before it uses them,
 * INDEX_RESERVE at a time, and a successor starts behind everything that was reserved.
 *
 * Units:   48-bit SRTP indexes and 31-bit SRTCP indexes, see srtp.h.
 * Threads: a row is written by the worker that has the object. Reading is safe at any time.
 * Errors:  a forwarder that died while it wrote left the row torn. Each word of it is then the old
 *          or the new one, and nothing beyond the old had been used: both are safe to start from.
 */
#ifndef RINGCAST_RESUME_H
#define RINGCAST_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#define INDEX_RESERVE 4096

struct region;

struct resume {
    const struct region *region;
};

/* Finds what an earlier forwarder reserved for this object; false: nothing. */
bool resume_find_rtp(const struct resume *resume, uint32_t consumer, uint32_t generation,
                     uint64_t *reserved);
bool resume_find_rtcp(const struct resume *resume, uint32_t transport, uint32_t generation,
                      uint32_t *reserved);

/* Reserves INDEX_RESERVE indexes from `next` on; returns the first one behind them. */
uint64_t resume_reserve_rtp(const struct resume *resume, uint32_t consumer, uint32_t generation,
                            uint64_t next, uint32_t timestamp_offset);
uint32_t resume_reserve_rtcp(const struct resume *resume, uint32_t transport, uint32_t generation,
                             uint32_t next);

#endif
