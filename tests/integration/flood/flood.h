/* A bounded flood at the media port: random, mutated, replayed and spoofed datagrams, counted by
 * kind. For namespaces that a test made; see attack.test.mjs.
 *
 *   capture.c  seeds from the call that goes on    make.c  datagrams    main.c  sending, counting */
#ifndef RINGCAST_FLOOD_H
#define RINGCAST_FLOOD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEED_BYTES_MAX 1500
#define SEEDS_MAX 512 /* of one class */
#define TARGETS_MAX 16
#define SLOT_BYTES 2048 /* room for one made datagram */
#define UFRAGS_MAX 16
#define UFRAG_ROOM 80

/* clang-format off */
/* K(name, weight, text): what is sent, in proportion to the weights. */
#define KINDS(K)                                                                        \
    K(random, 44, "random bytes of random length")                                      \
    K(sweep, 24, "every first byte × 40 lengths")                                       \
    K(stun_stranger, 24, "sound STUN for a user fragment that nobody has")              \
    K(stun_wrong, 30, "STUN for a user fragment of the call, without its password")     \
    K(stun_mutated, 20, "checks of the call, mutated")                                  \
    K(dtls_hello, 20, "ClientHello of a browser, from strangers")                       \
    K(dtls_mutated, 20, "handshakes of the call, mutated")                              \
    K(srtp_mutated, 24, "SRTP of the call, mutated")                                    \
    K(srtcp_mutated, 12, "SRTCP of the call, mutated")                                  \
    K(replay, 24, "DTLS, SRTP and SRTCP of the call as they were, from strangers")      \
    K(spoofed_replay, 5, "SRTP and SRTCP of the call as they were, in the client's name") \
    K(spoofed_mutated, 5, "all of the call, mutated, in the client's name")             \
    K(empty, 3, "nothing at all")                                                       \
    K(oversize, 1, "1501 to 65507 bytes")                                               \
    K(jumbo, 0, "65507 bytes; only when asked for")
/* clang-format on */

enum kind {
#define K(name, weight, text) KIND_##name,
    KINDS(K)
#undef K
        KIND_COUNT
};

enum seed_class { SEED_stun, SEED_dtls, SEED_srtp, SEED_srtcp, SEED_CLASS_COUNT };

struct seed {
    struct sockaddr_in from, to;
    size_t bytes;
    uint8_t data[SEED_BYTES_MAX];
};

struct seeds {
    unsigned count[SEED_CLASS_COUNT];
    struct seed list[SEED_CLASS_COUNT][SEEDS_MAX];
    unsigned ufrag_count; /* the server's, out of the checks' USERNAME */
    struct {
        char name[UFRAG_ROOM];
        const struct seed *seed; /* a check with it */
    } ufrags[UFRAGS_MAX];
};

/* Listens on lo for `seconds` to what clients send to `ports`. False: no packet socket. */
bool capture(struct seeds *seeds, const uint16_t *ports, unsigned port_count, unsigned seconds);

struct datagram {
    const uint8_t *data;
    size_t bytes;
    const struct seed *seed; /* what it was made of: spoofed ones bear its addresses; or NULL */
};

/* xorshift64*, seeded: a run can be repeated. */
struct random {
    uint64_t state;
};
uint32_t random_next(struct random *random);
uint32_t random_below(struct random *random, uint32_t limit);

void make_prepare(struct random *random);
/* Makes one datagram of this kind; its bytes lie in `slot` or in memory that lasts. */
struct datagram make(enum kind kind, const struct seeds *seeds, struct random *random,
                     uint8_t slot[SLOT_BYTES]);

#endif
