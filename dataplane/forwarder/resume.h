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

#include "dataplane/engines/srtp/sent.h"
#include "src/handle.h"

#define INDEX_RESERVE 4096

struct region;

struct resume {
    const struct region *region;
};

/* A consumer, as its row of this region knows it. */
struct resume_consumer {
    uint32_t index, generation, ssrc;
    handle_word transport;
};

/* Finds what was reserved for this object, by this forwarder or an earlier one; false: nothing. */
bool resume_find_rtp(const struct resume *resume, const struct resume_consumer *consumer,
                     uint64_t *reserved);
/* The same for its retransmissions, which are a stream of their own. */
bool resume_find_rtx(const struct resume *resume, const struct resume_consumer *consumer,
                     uint32_t rtx_ssrc, uint64_t *reserved);
bool resume_find_rtcp(const struct resume *resume, uint32_t transport, uint32_t generation,
                      uint32_t *reserved);
/* An SSRC begins only once on a transport, because its key remains: another consumer with it would
 * begin with indexes that may have been used. These are the SSRCs that packets were sent with; one that
 * is SRTP_SENT_WINDOW or more below the greatest counts as one of them. */
void resume_find_ssrcs(const struct resume *resume, uint32_t transport, uint32_t generation,
                       struct srtp_sent *taken, struct srtp_skipped *skipped);
/* One more, before its first packet is sent. */
void resume_take_ssrc(const struct resume *resume, handle_word transport, uint32_t ssrc);

/* Reserves INDEX_RESERVE indexes from `next` on; returns the first one behind them. */
uint64_t resume_reserve_rtp(const struct resume *resume, const struct resume_consumer *consumer,
                            uint64_t next);
uint64_t resume_reserve_rtx(const struct resume *resume, const struct resume_consumer *consumer,
                            uint32_t rtx_ssrc, uint64_t next);
uint32_t resume_reserve_rtcp(const struct resume *resume, uint32_t transport, uint32_t generation,
                             uint32_t next);

#endif
