/* SRTP and SRTCP engine: protects and unprotects bursts of packets; no I/O, no clock, no allocation.
 *
 * Shape: a `struct srtp_engine` per worker (multi-buffer managers and scratch), a `struct srtp_key`
 *        per transport and direction (session keys of RTP and RTCP), a `struct srtp_stream` per
 *        received SSRC (roll-over counter, highest sequence number, replay window), a
 *        `struct srtcp_window` per transport.
 * Units: bytes; an index is the 48-bit SRTP packet index (roll-over counter << 16 | sequence number)
 *        or the 31-bit SRTCP index.
 * Threads: everything belongs to one worker.
 * Memory: keys and streams are the caller's, plain memory, zero-wiped by srtp_key_wipe.
 * Errors: enum srtp_result; all of them are the peer's fault but SRTP_KEY_LIMIT.
 * Source: RFC 3711 (3.3 processing, 3.3.1 index, 3.3.2 replay, 4.3 key derivation), RFC 5764,
 *         RFC 7714 (AEAD), RFC 6188 is not used. Built on intel-ipsec-mb; see shared limits for
 *         which manager serves which burst size. */
#ifndef RINGCAST_SRTP_H
#define RINGCAST_SRTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/rows.h" /* enum srtp_profile */

#define SRTP_BURST 256          /* jobs of one call at most */
#define SRTP_REPLAY_WINDOW 1024 /* packets */
#define SRTP_TAIL_BYTES_MAX 20  /* what protecting adds at most: tag 16 + SRTCP index 4 */

enum srtp_result { SRTP_OK, SRTP_MALFORMED, SRTP_UNAUTHENTIC, SRTP_REPLAYED, SRTP_KEY_LIMIT };

/* Session keys of one direction. Opaque; its real content is in srtp_engine.h (static-asserted).
 * Compact on purpose: a worker walks thousands of these in order. */
struct srtp_key {
    _Alignas(64) uint8_t opaque[1088];
};

struct srtp_stream {
    uint64_t highest_index; /* of an authenticated packet */
    bool started;           /* highest_index means something */
    uint64_t window[SRTP_REPLAY_WINDOW / 64];
};

/* Replay state of received SRTCP. Each sender SSRC counts its own index (RFC 3711 3.2.3: a context
 * belongs to an SSRC): a browser's reports for one stream and its feedback for others come with the
 * same indexes under different SSRCs. An SSRC gets a place when its first packet was authentic; when
 * all are taken the oldest place is given away. Zeroed = nothing received. */
#define SRTCP_SENDERS_MAX 32
#define SRTCP_REPLAY_WINDOW 64
struct srtcp_window {
    struct {
        uint32_t ssrc, highest_index;
        uint64_t seen; /* bit i: highest_index - i; 0: free */
    } senders[SRTCP_SENDERS_MAX];
    uint32_t next; /* to be given away */
};

struct srtp_engine;
/* NULL when the crypto library does not start on this CPU. One allocation, at worker start. */
struct srtp_engine *srtp_engine_new(void);
void srtp_engine_delete(struct srtp_engine *engine);

/* Bytes of master key and salt of a profile (0, 0 when unknown): 16+14, 16+12, 32+12. */
void srtp_profile_sizes(enum srtp_profile profile, size_t *key_bytes, size_t *salt_bytes);
/* Bytes that protecting RTP adds (the tag): 10, 16, 16. */
size_t srtp_tag_bytes(enum srtp_profile profile);

/* Derives the session keys (KDR 0, no MKI). False when the profile is unknown. */
bool srtp_key_init(struct srtp_engine *engine, struct srtp_key *key, enum srtp_profile profile,
                   const uint8_t *master_key, const uint8_t *master_salt);
void srtp_key_wipe(struct srtp_key *key);

/* One RTP packet to protect, out of place: the clear header (header_bytes, extensions included) is
 * already in `out`; the payload is read from `payload` (which may be shared by many jobs and must
 * not overlap out) and written encrypted behind the header, then the tag.
 * out holds header_bytes + payload_bytes + srtp_tag_bytes. */
struct srtp_protect_job {
    const struct srtp_key *key;
    uint8_t *out;
    const uint8_t *payload;
    uint64_t index;
    uint32_t ssrc;
    uint16_t header_bytes;
    uint16_t payload_bytes;
};

/* (Named _burst: libsrtp2, our oracle in tests, has the plain names.)
 * Protects count (≤ SRTP_BURST) packets together. Never fails: what can fail was checked when the
 * key was made; an index of 2^48 or more is a bug of the caller and asserted. */
void srtp_protect_burst(struct srtp_engine *engine, const struct srtp_protect_job *jobs,
                        size_t count);

/* One received SRTP packet. header_bytes: fixed header, CSRCs and extension, as rtp_parse() found
 * them. Header and clear payload go to `out` (room for `bytes`, not overlapping packet), NULL: in
 * place. On SRTP_OK, `bytes` has lost the tag, `index` is the packet's index and the stream has moved;
 * on any other result nothing but `result` has changed and the content of packet and out is
 * undefined. Jobs of one stream in one burst are checked against each other too. */
struct srtp_unprotect_job {
    const struct srtp_key *key;
    struct srtp_stream *stream;
    uint8_t *packet;
    uint8_t *out;
    uint64_t index;
    uint32_t ssrc;
    uint16_t sequence;
    uint16_t header_bytes;
    uint16_t bytes;
    uint8_t result; /* enum srtp_result */
};
void srtp_unprotect_burst(struct srtp_engine *engine, struct srtp_unprotect_job *jobs,
                          size_t count);

/* SRTCP, one compound at a time. Protecting works in place: `packet` has room for
 * SRTP_TAIL_BYTES_MAX more; *bytes grows. index is the 31-bit SRTCP index of this sender (per key),
 * never used twice. */
enum srtp_result srtcp_protect(struct srtp_engine *engine, const struct srtp_key *key,
                               uint32_t index, uint8_t *packet, size_t *bytes);
/* In place; *bytes shrinks to the clear compound. On any other result than SRTP_OK neither *bytes nor
 * the window has changed. */
enum srtp_result srtcp_unprotect(struct srtp_engine *engine, const struct srtp_key *key,
                                 struct srtcp_window *window, uint8_t *packet, size_t *bytes);

#endif
