/* Does the client receive at this address? Whoever knows a transport's ICE password, or has captured
 * one check, can send valid checks with the address of somebody else. So what may be sent to an
 * address is limited until it is proven (threat D4).
 *
 *   what proves a path              why nobody else can show it
 *   ------------------------------  ---------------------------------------------------------------
 *   the DTLS handshake              our random went only there, and the client's Finished depends on
 *                                   it
 *   a report block that repeats     its last 18 bits are random, and it went only there. The keys do
 *   the time of a sender report     not help a hostile participant: it must guess
 *   (LSR, RFC 3550 6.4.1)
 *
 * PROOF_SENDS is less: new authentic media came from there. That is enough for the little that we
 * send to a client that only sends, because it has sent much more itself.
 *
 * We are ICE-lite: we never learn the client's ICE password and cannot send checks of our own. A TCP
 * connection would prove its path itself, by our sequence numbers; there is no TCP yet.
 * Transport-wide feedback about numbers that went only there would be one more row of the table
 * above, for proof_complete.
 *
 * Limits until then
 * - 3 bytes out for each byte in, for each path (RFC 9000 8 has the same factor). All datagrams from
 *   that address count, authentic or not: the limit is about who amplifies, not about who it is.
 * - For all unproven paths of a transport together a bucket: at most 9500 bytes in 30 s.
 * - 8 wrong values in 10 s; then nothing is proven for a time that doubles each time.
 *
 * Shape:   struct proof for each path, struct proof_limit for each transport.
 * Units:   bytes of UDP payload; nanoseconds of a clock that the caller reads; a challenge is a time
 *          in 1/65536 s, as in report blocks.
 * Threads: the worker of the transport. Memory: none besides the structs, zeroed at the start.
 * Source:  RFC 3550 6.4.1, RFC 9000 8.1 and 8.2. */
#ifndef RINGCAST_PROOF_H
#define RINGCAST_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#define PROOF_FACTOR 3
#define PROOF_BUCKET_BYTES 5000  /* a slow DTLS handshake: checks, and four flights */
#define PROOF_BYTES_PER_S 150    /* answers to the checks of six standby paths, one per 2.5 s */
#define PROOF_RESERVE_BYTES 1500 /* of the bucket: for nominated paths, not for media */
#define PROOF_RANDOM_BITS 18     /* of a challenge: a time at most 4 s ago */
#define PROOF_WRONG_MAX 8        /* a client may repeat reports from before it moved, too */
#define PROOF_WRONG_NS 10000000000ull
#define PROOF_LOCKED_DOUBLINGS 9           /* 10 s … 85 min */
#define PROOF_ASK_INTERVAL_NS 200000000ull /* a challenge that got lost is sent again */
#define PROOF_CHALLENGE_NS 16000000000ull  /* twice Chromium's longest wait between audio reports */
#define PROOF_MEDIA_PACKETS 4              /* in a row, and none from elsewhere: PROOF_SENDS */

enum proof_state { PROOF_NONE, PROOF_SENDS, PROOF_COMPLETE };

struct proof {
    uint8_t state;         /* enum proof_state */
    bool is_heard;         /* a new authentic packet of media or RTCP came from there */
    uint8_t media_packets; /* of those: RTP in a row */
    uint32_t media_total;  /* the transport's RTP packets, when the last of them came; wraps */
    uint64_t received_bytes, sent_bytes;
    uint32_t challenge;
    uint64_t challenge_ns; /* when it was made; 0: there is none */
    uint64_t asked_ns;     /* when it was sent last */
};

struct proof_limit {
    uint64_t used_bytes, used_ns; /* the bucket: what is used, and when that was computed */
    struct {
        uint32_t value;
        uint8_t path;
    } wrong[PROOF_WRONG_MAX]; /* the same value again on the same path is not a new guess */
    uint8_t wrong_count;
    uint8_t locked_count;
    uint64_t wrong_ns; /* when the first of them came */
    uint64_t locked_until_ns;
};

/* What a datagram is for: may it use the reserve of the bucket? */
enum proof_use { PROOF_USE_CONTROL, PROOF_USE_STANDBY, PROOF_USE_MEDIA };

static inline void proof_count_received(struct proof *proof, uint32_t bytes)
{
    proof->received_bytes += bytes;
}

/* How many bytes may be sent to this path now. NULL: an address that is not a path. */
uint64_t proof_room(const struct proof *proof, const struct proof_limit *limit, enum proof_use use,
                    uint64_t now_ns);
/* Counts what is sent; false: it must not be sent. */
bool proof_spend(struct proof *proof, struct proof_limit *limit, enum proof_use use, uint64_t bytes,
                 uint64_t now_ns);

/* Is it time to send the challenge? Makes one if there is none: `ntp_now` is our NTP time in 1/65536
 * s, `random` a random word. */
bool proof_is_due(struct proof *proof, uint32_t ntp_now, uint32_t random, uint64_t now_ns);
/* A report block from this path, number `path`, repeats this time. True: the path is proven now. */
bool proof_echo(struct proof *proof, struct proof_limit *limit, uint8_t path, uint32_t last_sr,
                uint64_t now_ns);
/* A new authentic RTP packet came from this path; it is number media_total of the transport. True:
 * the state is now PROOF_SENDS. */
bool proof_media(struct proof *proof, uint32_t media_total);

#endif
