/* Challenges, their echoes, and what may be sent before. */
#include "proofs.h"

#include "checks.h"
#include "dataplane/engines/rtcp.h"
#include "random_pool.h"
#include "reports.h"
#include "turn.h"

#define SILENCE_NS (8 * NS_PER_S) /* longer than Chromium waits between audio reports */

bool proofs_may_send(struct proofs *p, struct transport *t, int path, enum proof_use use,
                     size_t bytes)
{
    struct proof *proof = path < 0 ? NULL : &t->ice.paths[path].proof;

    if (proof && proof->state == PROOF_COMPLETE)
        return true;
    if (proof_spend(proof, &t->ice.limit, use, bytes, p->turn->now_ns))
        return true;
    t->withheld++;
    t->dirty = true;
    p->turn->counters[COUNTER_path_withheld]++;
    return false;
}

bool proofs_may_send_rtp(struct proofs *p, const struct egress *egress, size_t bytes)
{
    struct transport *t = &p->transports->all[egress - p->transports->egresses];

    return proofs_may_send(p, t, t->ice.selected, PROOF_USE_MEDIA, bytes);
}

/* ---- the challenge ---- */

static bool needs_challenge(const struct transport *t, int path)
{
    const struct ice_path *to = &t->ice.paths[path];

    return to->last_check_ns && to->proof.state != PROOF_COMPLETE && t->profile && t->consumers &&
           (to->is_nominated || path == t->ice.selected);
}

void proofs_ask(struct proofs *p, struct transport *t, int path)
{
    struct ice_path *to = &t->ice.paths[path];
    uint64_t now_ns = p->turn->now_ns, ntp = rtcp_ntp(p->turn->wall_ns), room;
    uint32_t middle = rtcp_ntp_middle(ntp);
    size_t bytes;

    if (!needs_challenge(t, path)) {
        if (t->asked == path)
            t->asked = -1;
        return;
    }
    t->asked = (int8_t)path;
    if (!proof_is_due(&to->proof, middle, random_pool_take(p->random), now_ns))
        return;
    ntp -= (uint64_t)(middle - to->proof.challenge) << 16;
    room = proof_room(&to->proof, &t->ice.limit, PROOF_USE_CONTROL, now_ns);
    bytes = reports_send_challenge(p->reports, t, &to->path, ntp, room);
    if (bytes > 0) {
        proof_spend(&to->proof, &t->ice.limit, PROOF_USE_CONTROL, bytes, now_ns);
        p->turn->counters[COUNTER_path_challenges]++;
        t->has_challenged = true;
    }
}

bool proofs_is_challenge(const struct transport *t, uint32_t last_sr)
{
    for (unsigned i = 0; i < ICE_PATHS_MAX; i++)
        if (t->ice.paths[i].proof.challenge_ns && t->ice.paths[i].proof.challenge == last_sr)
            return true;
    return false;
}

bool proofs_silence_reports(const struct transport *t, uint64_t now_ns)
{
    const struct proof *asked = t->asked < 0 ? NULL : &t->ice.paths[t->asked].proof;

    return asked && asked->state != PROOF_COMPLETE && asked->challenge_ns &&
           (t->asked == t->ice.selected ||
            (asked->is_heard && now_ns - asked->challenge_ns < SILENCE_NS));
}

/* ---- proofs ---- */

static void proven(struct proofs *p, struct transport *t, int path)
{
    p->turn->counters[COUNTER_path_proofs]++;
    ice_path_proven(&t->ice, path, p->turn->now_ns);
    checks_path_changed(p->checks, t);
}

void proofs_heard(struct proofs *p, struct transport *t, int path)
{
    t->ice.paths[path].proof.is_heard = true;
    proofs_ask(p, t, path);
}

void proofs_echo(struct proofs *p, struct transport *t, int path, uint32_t last_sr)
{
    if (last_sr && proof_echo(&t->ice.paths[path].proof, &t->ice.limit, (uint8_t)path, last_sr,
                              p->turn->now_ns))
        proven(p, t, path);
}

void proofs_media(struct proofs *p, struct transport *t, const struct path *path)
{
    int index = ice_find_path(&t->ice, path);

    if (index < 0)
        return; /* a check of this turn took its place */
    t->ice.paths[index].proof.is_heard = true;
    if (proof_media(&t->ice.paths[index].proof, (uint32_t)t->rtp_packets_received) &&
        ice_is_proven(&t->ice, index))
        proven(p, t, index);
}
