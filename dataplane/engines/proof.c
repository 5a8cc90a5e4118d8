/* Limits of a path until it is proven, and its proof. */
#include "proof.h"

#define NS_PER_S 1000000000ull

/* ---- how much ---- */

static uint64_t bucket_used(const struct proof_limit *limit, uint64_t now_ns)
{
    uint64_t past_ns = now_ns > limit->used_ns ? now_ns - limit->used_ns : 0;
    uint64_t given = past_ns / 1000 * PROOF_BYTES_PER_S / (NS_PER_S / 1000);

    return given < limit->used_bytes ? limit->used_bytes - given : 0;
}

uint64_t proof_room(const struct proof *proof, const struct proof_limit *limit, enum proof_use use,
                    uint64_t now_ns)
{
    uint64_t most = PROOF_BUCKET_BYTES - (use == PROOF_USE_CONTROL ? 0 : PROOF_RESERVE_BYTES);
    uint64_t used = bucket_used(limit, now_ns), room = used < most ? most - used : 0;
    uint64_t earned;

    if (!proof)
        return room;
    earned = proof->received_bytes * PROOF_FACTOR;
    earned = earned > proof->sent_bytes ? earned - proof->sent_bytes : 0;
    /* Who sends so much media needs no bucket: the factor alone is never reached. */
    if (proof->state == PROOF_SENDS && use == PROOF_USE_CONTROL)
        return earned;
    return earned < room ? earned : room;
}

bool proof_spend(struct proof *proof, struct proof_limit *limit, enum proof_use use, uint64_t bytes,
                 uint64_t now_ns)
{
    if (bytes > proof_room(proof, limit, use, now_ns))
        return false;
    if (proof)
        proof->sent_bytes += bytes;
    if (!proof || proof->state != PROOF_SENDS || use != PROOF_USE_CONTROL) {
        limit->used_bytes = bucket_used(limit, now_ns) + bytes;
        limit->used_ns = now_ns;
    }
    return true;
}

/* ---- by a report block ---- */

bool proof_is_due(struct proof *proof, uint32_t ntp_now, uint32_t random, uint64_t now_ns)
{
    if (proof->challenge_ns && now_ns - proof->asked_ns < PROOF_ASK_INTERVAL_NS)
        return false;
    if (!proof->challenge_ns || now_ns - proof->challenge_ns >= PROOF_CHALLENGE_NS) {
        /* A time in the past: for a receiver it is an old report that came late. */
        proof->challenge = ntp_now - (random & ((1u << PROOF_RANDOM_BITS) - 1));
        proof->challenge_ns = now_ns;
    }
    proof->asked_ns = now_ns;
    return true;
}

static bool is_known(const struct proof_limit *limit, uint8_t path, uint32_t value)
{
    for (unsigned i = 0; i < limit->wrong_count; i++)
        if (limit->wrong[i].value == value && limit->wrong[i].path == path)
            return true;
    return false;
}

static void count_wrong(struct proof_limit *limit, uint8_t path, uint32_t value, uint64_t now_ns)
{
    if (limit->wrong_count && now_ns - limit->wrong_ns >= PROOF_WRONG_NS)
        limit->wrong_count = 0;
    if (is_known(limit, path, value))
        return;
    if (limit->wrong_count == 0)
        limit->wrong_ns = now_ns;
    limit->wrong[limit->wrong_count].value = value;
    limit->wrong[limit->wrong_count++].path = path;
    if (limit->wrong_count < PROOF_WRONG_MAX)
        return;
    limit->wrong_count = 0;
    limit->locked_until_ns = now_ns + (PROOF_WRONG_NS << limit->locked_count);
    if (limit->locked_count < PROOF_LOCKED_DOUBLINGS)
        limit->locked_count++;
}

bool proof_echo(struct proof *proof, struct proof_limit *limit, uint8_t path, uint32_t last_sr,
                uint64_t now_ns)
{
    if (proof->state == PROOF_COMPLETE || !proof->challenge_ns || now_ns < limit->locked_until_ns)
        return false;
    if (last_sr != proof->challenge) {
        count_wrong(limit, path, last_sr, now_ns);
        return false;
    }
    proof->state = PROOF_COMPLETE;
    return true;
}

/* ---- by media ---- */

bool proof_media(struct proof *proof, uint32_t media_total)
{
    bool in_a_row = proof->media_packets && media_total == proof->media_total + 1;

    proof->media_packets = in_a_row ? proof->media_packets + 1 : 1;
    proof->media_total = media_total;
    if (proof->state != PROOF_NONE || proof->media_packets < PROOF_MEDIA_PACKETS)
        return false;
    proof->state = PROOF_SENDS;
    return true;
}
