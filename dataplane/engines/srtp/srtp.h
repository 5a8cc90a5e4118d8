/* SRTP and SRTCP: protects and unprotects many packets in one call, with intel-ipsec-mb. "Protect"
 * means encrypt and authenticate; "unprotect" means check and decrypt.
 *
 * Shape:   a struct srtp_engine for each worker (managers of intel-ipsec-mb and scratch memory); a
 *          struct srtp_key for each transport and direction (session keys of RTP and RTCP); a
 *          struct srtp_stream for each received SSRC (highest index, replay window); a struct
 *          srtcp_window for each transport.
 * Units:   bytes. An index is the SRTP packet index of 48 bits (roll-over counter << 16 | sequence
 *          number), or the SRTCP index of 31 bits.
 * Threads: everything belongs to one worker.
 * Memory:  srtp_engine_new allocates; nothing else does. Keys and streams are memory of the caller;
 *          srtp_key_wipe overwrites a key with zeros.
 * Errors:  enum srtp_result. SRTP_KEY_LIMIT means that a key must not be used any longer; all
 *          others are the peer's fault.
 * Source:  RFC 3711 (3.3 processing, 3.3.1 index, 3.3.2 replay, 4.3 key derivation), RFC 5764, RFC
 *          7714 (AEAD). RFC 6188 is not used. */
#ifndef RINGCAST_SRTP_H
#define RINGCAST_SRTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/rows.h" /* enum srtp_profile */

#define SRTP_BURST 256          /* the most jobs in one call */
#define SRTP_REPLAY_WINDOW 1024 /* packets */
#define SRTP_TAIL_BYTES_MAX 20 /* the most that protecting adds: a tag of 16, an SRTCP index of 4 */

enum srtp_result { SRTP_OK, SRTP_MALFORMED, SRTP_UNAUTHENTIC, SRTP_REPLAYED, SRTP_KEY_LIMIT };

/* Session keys of one direction. Opaque: engine.h has the content. It is as small as possible,
 * because a worker reads thousands of keys one after the other. */
struct srtp_key {
    _Alignas(64) uint8_t opaque[1088];
};

struct srtp_stream {
    uint64_t highest_index; /* of an authenticated packet */
    bool started;           /* false: no packet yet */
    uint64_t window[SRTP_REPLAY_WINDOW / 64];
};

/* Replay protection of received SRTCP. Each SSRC counts its own indexes (RFC 3711 3.2.3), so a
 * browser uses the same indexes for its reports about one stream and, under another SSRC, for its
 * feedback about others. An SSRC gets an entry with its first authentic packet. When all entries
 * are taken, the one that was taken first is used again. A zeroed window has received nothing. */
#define SRTCP_SENDERS_MAX 32
#define SRTCP_REPLAY_WINDOW 64
struct srtcp_window {
    struct {
        uint32_t ssrc, highest_index;
        uint64_t seen; /* bit i: index highest_index - i was received; 0: the entry is free */
    } senders[SRTCP_SENDERS_MAX];
    uint32_t next; /* entry for the next new SSRC */
};

struct srtp_engine;
/* NULL when there is no memory, or intel-ipsec-mb does not work on this CPU. */
struct srtp_engine *srtp_engine_new(void);
void srtp_engine_delete(struct srtp_engine *engine);

/* Lengths of master key and salt of a profile: 16 and 14, 16 and 12, 32 and 12; 0 and 0 when it is
 * unknown. */
void srtp_profile_sizes(enum srtp_profile profile, size_t *key_bytes, size_t *salt_bytes);
/* Length of the tag that protecting RTP adds: 10 or 16. */
size_t srtp_tag_bytes(enum srtp_profile profile);

/* Derives the session keys, with key derivation rate 0 and without MKI. False when the profile is
 * unknown. */
bool srtp_key_init(struct srtp_engine *engine, struct srtp_key *key, enum srtp_profile profile,
                   const uint8_t *master_key, const uint8_t *master_salt);
void srtp_key_wipe(struct srtp_key *key);

/* One RTP packet to protect. The caller has written the header to `out`, header_bytes with all
 * extensions. The engine reads the payload from `payload`, which many jobs may share, and writes
 * encrypted payload and tag behind the header. `out` has room for header_bytes + payload_bytes +
 * srtp_tag_bytes. It does not overlap `payload`, unless the payload lies where it will be encrypted,
 * at out + header_bytes. */
struct srtp_protect_job {
    const struct srtp_key *key;
    uint8_t *out;
    const uint8_t *payload;
    uint64_t index;
    uint32_t ssrc;
    uint16_t header_bytes;
    uint16_t payload_bytes;
};

/* Protects up to SRTP_BURST packets together. It cannot fail: an index of 2^48 or more is a bug of
 * the caller and ends the process. (The names end in _burst because libsrtp2, with which the tests
 * compare, has the shorter names.) */
void srtp_protect_burst(struct srtp_engine *engine, const struct srtp_protect_job *jobs,
                        size_t count);

/* One received SRTP packet. header_bytes are fixed header, CSRCs and extension, as rtp_parse()
 * says. Header and decrypted payload are written to `out`, which has room for `bytes` and does not
 * overlap `packet`; NULL: in place. After SRTP_OK, `bytes` is shorter by the tag, `index` is the
 * index of the packet, and the stream knows that index. After any other result, only `result` has
 * changed, and the content of packet and out is undefined. If a packet is twice in one burst, the
 * second one is SRTP_REPLAYED. */
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

/* For a packet of this stream that arrived inside a packet of another one (a retransmission): the
 * stream now knows its index. False: the stream has not begun, or it knew the index, or the packet
 * is too old to know, or so far ahead that it belongs to another stream. */
bool srtp_stream_take(struct srtp_stream *stream, uint16_t sequence, uint64_t *index);

/* Protects one RTCP compound in place. `packet` has room for SRTP_TAIL_BYTES_MAX more, and *bytes
 * grows. The caller never uses an index twice with one key and SSRC. */
enum srtp_result srtcp_protect(struct srtp_engine *engine, const struct srtp_key *key,
                               uint32_t index, uint8_t *packet, size_t *bytes);
/* Unprotects one RTCP compound in place, and *bytes shrinks. Unless the result is SRTP_OK, neither
 * *bytes nor the window has changed. */
enum srtp_result srtcp_unprotect(struct srtp_engine *engine, const struct srtp_key *key,
                                 struct srtcp_window *window, uint8_t *packet, size_t *bytes);

#endif
