/* Which SRTP indexes a sender has used, so that no index is ever used twice: two packets under one
 * key and index give away plaintext, and under GCM the key of the authentication (RFC 3711 9.1, RFC
 * 7714 8.1).
 *
 * Shape: `next` is the highest used index plus one. `skipped` marks the indexes below `next`
 *        that were passed over; they may still be used once, while they are among the last
 *        SRTP_SENT_WINDOW. All others are used. A sender without skipped indexes, which is the
 *        usual case, never touches `skipped`, so that it may lie in memory that is rarely read.
 * Units:  indexes are 48-bit SRTP packet indexes.
 * Threads: one worker.
 * Memory: plain; zeroed and next_and_skipped set to the first index that may be used. */
#ifndef RINGCAST_SRTP_SENT_H
#define RINGCAST_SRTP_SENT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SRTP_SENT_WINDOW 1024 /* indexes; a power of two */
#define SRTP_INDEX_END (1ull << 48)

struct srtp_sent {
    uint64_t
        next_and_skipped; /* `next` (up to SRTP_INDEX_END), and above it how many are skipped */
};
#define SRTP_SENT_SKIPPED_ONE (1ull << 49)

static inline uint64_t srtp_sent_next(const struct srtp_sent *sent)
{
    return sent->next_and_skipped & (SRTP_SENT_SKIPPED_ONE - 1);
}

/* How many of the indexes that may still be used are below `next`. */
static inline uint64_t srtp_sent_skipped(const struct srtp_sent *sent)
{
    return sent->next_and_skipped / SRTP_SENT_SKIPPED_ONE;
}

struct srtp_skipped {
    uint64_t bits[SRTP_SENT_WINDOW / 64]; /* bit index % SRTP_SENT_WINDOW */
};

static inline uint64_t *srtp_skipped_word(struct srtp_skipped *skipped, uint64_t index)
{
    return &skipped->bits[index % SRTP_SENT_WINDOW / 64];
}

static inline bool srtp_skipped_test(struct srtp_skipped *skipped, uint64_t index)
{
    return *srtp_skipped_word(skipped, index) >> (index % 64) & 1;
}

/* An index and the index SRTP_SENT_WINDOW before it have the same bit. When a new index is set, the
 * older one is forgotten. */
static inline void srtp_skipped_set(struct srtp_sent *sent, struct srtp_skipped *skipped,
                                    uint64_t index, bool value)
{
    uint64_t *word = srtp_skipped_word(skipped, index), bit = 1ull << (index % 64);

    sent->next_and_skipped -= *word & bit ? SRTP_SENT_SKIPPED_ONE : 0;
    sent->next_and_skipped += value ? SRTP_SENT_SKIPPED_ONE : 0;
    *word = value ? *word | bit : *word & ~bit;
}

/* The way for gaps, reordering and repetition. */
bool srtp_sent_take_late(struct srtp_sent *sent, struct srtp_skipped *skipped, uint64_t index);

/* The usual case: the index is `next`, and none is skipped. False: srtp_sent_take_late decides. */
static inline bool srtp_sent_take_next(struct srtp_sent *sent, uint64_t index)
{
    if (sent->next_and_skipped != index || index >= SRTP_INDEX_END)
        return false;
    sent->next_and_skipped = index + 1;
    return true;
}

/* True: the index was never used before, and counts as used from now on. False: it was used, or is
 * too old to know, or the key has no indexes left; nothing may be sent with it. */
static inline bool srtp_sent_take(struct srtp_sent *sent, struct srtp_skipped *skipped,
                                  uint64_t index)
{
    return srtp_sent_take_next(sent, index) || srtp_sent_take_late(sent, skipped, index);
}

#endif
