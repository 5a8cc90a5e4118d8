/* Makes bad datagrams. */
#include "flood.h"

#include <string.h>
#include <zlib.h>

#include "tests/data/chromium_client_hello.h"

#define POOL_BYTES (1u << 20)
#define SWEEP_LENGTHS 40
#define FINGERPRINT_XOR 0x5354554eu

static uint8_t pool[POOL_BYTES + 65536]; /* random bytes; datagrams take them from random places */

uint32_t random_next(struct random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return (uint32_t)((random->state * 0x2545f4914f6cdd1dull) >> 32);
}

uint32_t random_below(struct random *random, uint32_t limit)
{
    return (uint32_t)((uint64_t)random_next(random) * limit >> 32);
}

void make_prepare(struct random *random)
{
    for (size_t i = 0; i < sizeof(pool); i++)
        pool[i] = (uint8_t)random_next(random);
}

static const uint8_t *random_bytes(struct random *random)
{
    return pool + random_below(random, POOL_BYTES);
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

/* ---- STUN ---- */

static size_t attribute(uint8_t *out, size_t at, uint32_t type, const void *value, size_t bytes)
{
    put16(out + at, type);
    put16(out + at + 2, (uint32_t)bytes);
    memset(out + at + 4 + (bytes & ~(size_t)3), 0, 4);
    memcpy(out + at + 4, value, bytes);
    return at + 4 + ((bytes + 3) & ~(size_t)3);
}

/* A connectivity check. Only its MESSAGE-INTEGRITY is wrong, because that needs the password; with
 * `flaw` > 0 something else is wrong too. */
static size_t stun(uint8_t *out, const char *ufrag, struct random *random, unsigned flaw)
{
    char user[UFRAG_ROOM + 8];
    size_t at = 20, bytes = strlen(ufrag);

    memcpy(user, ufrag, bytes);
    memcpy(user + bytes, ":abcd", 5);
    put16(out, 1);
    put32(out + 4, 0x2112a442);
    memcpy(out + 8, random_bytes(random), 12);
    at = attribute(out, at, 0x0006, user, bytes + 5);
    at = attribute(out, at, 0x0024, random_bytes(random), 4);
    at = attribute(out, at, 0x802a, random_bytes(random), 8);
    if (random_next(random) & 1)
        at = attribute(out, at, 0x0025, "", 0);
    if (flaw != 1) /* 1: no MESSAGE-INTEGRITY */
        at = attribute(out, at, 0x0008, random_bytes(random), 20);
    if (flaw == 2) /* 2: an attribute after MESSAGE-INTEGRITY */
        at = attribute(out, at, 0x0025, "", 0);
    if (flaw != 3) { /* 3: no FINGERPRINT */
        put16(out + 2, (uint32_t)(at + 8 - 20));
        put16(out + at, 0x8028);
        put16(out + at + 2, 4);
        put32(out + at + 4, (uint32_t)crc32(0, out, (uInt)at) ^ FINGERPRINT_XOR ^ (flaw == 4));
        at += 8;
    }
    put16(out + 2, (uint32_t)(at - 20));
    return at;
}

static struct datagram stun_wrong(const struct samples *samples, struct random *random,
                                  uint8_t *slot)
{
    unsigned flaw = random_below(random, 2) ? 0 : random_below(random, 5), which;

    if (!samples->ufrag_count)
        return (struct datagram){slot, stun(slot, "none", random, flaw), NULL};
    which = random_below(random, samples->ufrag_count);
    return (struct datagram){slot, stun(slot, samples->ufrags[which].name, random, flaw),
                             samples->ufrags[which].sample};
}

static size_t stun_stranger(uint8_t *out, struct random *random)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789+/";
    char ufrag[33] = "";
    unsigned length = 4 + random_below(random, 28);

    for (unsigned i = 0; i < length; i++)
        ufrag[i] = letters[random_below(random, sizeof(letters) - 1)];
    return stun(out, ufrag, random, 0);
}

/* ---- mutation ---- */

static const struct sample *sample_of(const struct samples *samples, enum sample_class class,
                                      struct random *random)
{
    unsigned count = samples->count[class];

    return count ? &samples->list[class][random_below(random, count)] : NULL;
}

static size_t mutate_once(uint8_t *data, size_t bytes, struct random *random)
{
    static const uint16_t odd[] = {0, 1, 3, 4, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff};
    size_t at = bytes ? random_below(random, (uint32_t)bytes) : 0;
    size_t more;

    switch (random_below(random, 8)) {
    case 0:
    case 1: /* one bit */
        if (bytes)
            data[at] ^= (uint8_t)(1u << random_below(random, 8));
        return bytes;
    case 2: /* one byte near the beginning, where the headers are */
        if (bytes)
            data[random_below(random, bytes < 24 ? (uint32_t)bytes : 24)] =
                (uint8_t)random_next(random);
        return bytes;
    case 3: /* two bytes, perhaps a length */
        if (bytes >= 2)
            put16(data + (at < bytes - 1 ? at : bytes - 2),
                  odd[random_below(random, sizeof(odd) / sizeof(odd[0]))]);
        return bytes;
    case 4: /* shorter */
        return at;
    case 5: /* longer */
        more = 1 + random_below(random, 64);
        if (bytes + more > SLOT_BYTES)
            return bytes;
        memcpy(data + bytes, random_bytes(random), more);
        return bytes + more;
    case 6: /* some random bytes */
        more = random_below(random, (uint32_t)(bytes - at) + 1);
        memcpy(data + at, random_bytes(random), more);
        return bytes;
    default: /* some bytes moved */
        more = random_below(random, (uint32_t)(bytes - at) + 1);
        memmove(data + random_below(random, (uint32_t)(bytes - more) + 1), data + at, more);
        return bytes;
    }
}

/* A copy of the data that differs from it. */
static size_t mutate(uint8_t *out, const uint8_t *data, size_t bytes, struct random *random)
{
    size_t now = bytes;

    memcpy(out, data, bytes);
    for (unsigned i = 0, n = 1 + random_below(random, 4); i < n; i++)
        now = mutate_once(out, now, random);
    if (now == bytes && memcmp(out, data, bytes) == 0 && bytes)
        out[random_below(random, (uint32_t)bytes)] ^= 1;
    return now;
}

static struct datagram mutated(const struct samples *samples, enum sample_class class,
                               struct random *random, uint8_t *slot)
{
    const struct sample *sample = sample_of(samples, class, random);

    if (!sample)
        return (struct datagram){random_bytes(random), 1 + random_below(random, 200), NULL};
    return (struct datagram){slot, mutate(slot, sample->data, sample->bytes, random), sample};
}

/* ---- the kinds ---- */

static struct datagram sweep(struct random *random, uint8_t *slot)
{
    static uint32_t turn;
    static const uint16_t lengths[SWEEP_LENGTHS] = {
        1,   2,   3,   4,   5,   7,    8,    11,   12,   13,   14,   15,  16, 17,
        19,  20,  21,  23,  24,  25,   27,   28,   31,   32,   36,   44,  64, 100,
        127, 128, 200, 255, 256, 1000, 1199, 1200, 1300, 1472, 1499, 1500};
    size_t bytes = lengths[turn / 256 % SWEEP_LENGTHS];

    memcpy(slot, random_bytes(random), bytes);
    slot[0] = (uint8_t)turn++;
    return (struct datagram){slot, bytes, NULL};
}

static struct datagram oversize(struct random *random)
{
    size_t bytes = 1501 + random_below(random, random_below(random, 16) ? 8000 : 64006);

    return (struct datagram){random_bytes(random), bytes, NULL};
}

struct datagram make(enum kind kind, const struct samples *samples, struct random *random,
                     uint8_t slot[SLOT_BYTES])
{
    const struct sample *sample;

    switch (kind) {
    case KIND_random:
        return (struct datagram){random_bytes(random),
                                 random_below(random, random_below(random, 8) ? 200 : 1501), NULL};
    case KIND_sweep:
        return sweep(random, slot);
    case KIND_stun_stranger:
        return (struct datagram){slot, stun_stranger(slot, random), NULL};
    case KIND_stun_wrong:
        return stun_wrong(samples, random, slot);
    case KIND_stun_mutated:
        return mutated(samples, SAMPLE_stun, random, slot);
    case KIND_dtls_hello:
        if (random_next(random) & 1)
            return (struct datagram){chromium_client_hello_0, sizeof(chromium_client_hello_0),
                                     NULL};
        return (struct datagram){
            slot, mutate(slot, chromium_client_hello_0, sizeof(chromium_client_hello_0), random),
            NULL};
    case KIND_dtls_mutated:
        return mutated(samples, SAMPLE_dtls, random, slot);
    case KIND_srtp_mutated:
        return mutated(samples, SAMPLE_srtp, random, slot);
    case KIND_srtcp_mutated:
        return mutated(samples, SAMPLE_srtcp, random, slot);
    case KIND_replay:
        sample = sample_of(samples, SAMPLE_dtls + random_below(random, 3), random);
        return sample ? (struct datagram){sample->data, sample->bytes, sample}
                      : mutated(samples, SAMPLE_srtp, random, slot);
    case KIND_spoofed_replay:
        sample = sample_of(samples, random_below(random, 4) ? SAMPLE_srtp : SAMPLE_srtcp, random);
        return sample ? (struct datagram){sample->data, sample->bytes, sample}
                      : mutated(samples, SAMPLE_srtp, random, slot);
    case KIND_spoofed_mutated:
        return mutated(samples, random_below(random, SAMPLE_CLASS_COUNT), random, slot);
    case KIND_oversize:
        return oversize(random);
    case KIND_jumbo:
        return (struct datagram){random_bytes(random), 65507, NULL};
    default:
        return (struct datagram){slot, 0, NULL};
    }
}
