/* Sends a limited number of bad datagrams to media ports: random, mutated, replayed and spoofed
 * ones, counted by kind. Only for the network namespace of a test; see attack.test.mjs.
 *
 *   capture.c  samples of a running call    make.c  the datagrams    main.c  sends and counts */
#ifndef RINGCAST_FLOOD_H
#define RINGCAST_FLOOD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SAMPLE_BYTES_MAX 1500
#define SAMPLES_MAX 512 /* of each class */
#define TARGETS_MAX 16
#define SLOT_BYTES 2048 /* room for one datagram */
#define UFRAGS_MAX 16
#define UFRAG_ROOM 80

/* clang-format off */
/* K(name, weight, text): the kinds of datagrams, sent in proportion to their weights. */
#define KINDS(K)                                                                                \
    K(random, 44, "random bytes of random length")                                              \
    K(sweep, 24, "every first byte × 40 lengths")                                               \
    K(stun_stranger, 24, "valid STUN for a user fragment that does not exist")                  \
    K(stun_wrong, 30, "STUN for a user fragment of the call, with a wrong password")            \
    K(stun_mutated, 20, "connectivity checks of the call, mutated")                             \
    K(dtls_hello, 20, "ClientHello of a browser, from other addresses")                         \
    K(dtls_mutated, 20, "handshakes of the call, mutated")                                      \
    K(srtp_mutated, 24, "SRTP of the call, mutated")                                            \
    K(srtcp_mutated, 12, "SRTCP of the call, mutated")                                          \
    K(replay, 24, "DTLS, SRTP and SRTCP of the call, unchanged, from other addresses")          \
    K(spoofed_replay, 5, "SRTP and SRTCP of the call, unchanged, from the client's address")    \
    K(spoofed_mutated, 5, "all classes of the call, mutated, from the client's address")        \
    K(empty, 3, "no bytes")                                                                     \
    K(oversize, 1, "1501 to 65507 bytes")                                                       \
    K(jumbo, 0, "65507 bytes; only with --only jumbo")
/* clang-format on */

enum kind {
#define K(name, weight, text) KIND_##name,
    KINDS(K)
#undef K
        KIND_COUNT
};

enum sample_class { SAMPLE_stun, SAMPLE_dtls, SAMPLE_srtp, SAMPLE_srtcp, SAMPLE_CLASS_COUNT };

struct sample {
    struct sockaddr_in from, to;
    size_t bytes;
    uint8_t data[SAMPLE_BYTES_MAX];
};

struct samples {
    unsigned count[SAMPLE_CLASS_COUNT];
    struct sample list[SAMPLE_CLASS_COUNT][SAMPLES_MAX];
    unsigned ufrag_count; /* the server's user fragments, from USERNAME in connectivity checks */
    struct {
        char name[UFRAG_ROOM];
        const struct sample *sample; /* a connectivity check with it */
    } ufrags[UFRAGS_MAX];
};

/* Captures for `seconds` what clients send to `ports` over lo. False: no packet socket. */
bool capture(struct samples *samples, const uint16_t *ports, unsigned port_count, unsigned seconds);

struct datagram {
    const uint8_t *data;
    size_t bytes;
    /* The sample that it was made from, or NULL. Spoofed datagrams use its addresses. */
    const struct sample *sample;
};

/* xorshift64*: the same seed gives the same run. */
struct random {
    uint64_t state;
};
uint32_t random_next(struct random *random);
uint32_t random_below(struct random *random, uint32_t limit);

void make_prepare(struct random *random);
/* Makes one datagram of this kind. Its bytes are in `slot` or in memory that stays. */
struct datagram make(enum kind kind, const struct samples *samples, struct random *random,
                     uint8_t slot[SLOT_BYTES]);

#endif
