/* Decides when to send without copying; see zero_copy.h. */
#include "zero_copy.h"

static void state_enter(struct zero_copy *z, enum zero_copy_state state)
{
    z->state = state;
    z->reported = z->copied = 0;
    z->untried = state == ZERO_COPY_trying ? ZERO_COPY_TRIAL : 0;
    if (state == ZERO_COPY_off)
        z->until_trial = ZERO_COPY_TRIAL_EVERY;
}

void zero_copy_open(struct zero_copy *z, bool possible)
{
    state_enter(z, ZERO_COPY_off);
    z->possible = possible;
    z->until_trial = 0; /* the first sends that qualify are a trial */
}

uint32_t zero_copy_allowed(struct zero_copy *z, uint32_t sends, uint32_t bytes)
{
    if (!z->possible || bytes < ZERO_COPY_TURN_BYTES_MIN)
        return 0;
    if (z->state == ZERO_COPY_off && z->until_trial > sends) {
        z->until_trial -= sends;
        return 0;
    }
    if (z->state == ZERO_COPY_off)
        state_enter(z, ZERO_COPY_trying);
    if (z->state == ZERO_COPY_trying && z->untried < sends)
        return z->untried;
    return sends;
}

void zero_copy_made(struct zero_copy *z)
{
    if (z->state == ZERO_COPY_trying && z->untried > 0)
        z->untried--;
}

void zero_copy_reported(struct zero_copy *z, bool copied)
{
    uint32_t wanted = z->state == ZERO_COPY_trying ? ZERO_COPY_TRIAL : ZERO_COPY_WINDOW;

    if (z->state == ZERO_COPY_off) /* a report of an earlier trial */
        return;
    z->reported++;
    z->copied += copied;
    if (z->copied * ZERO_COPY_COPIED_SHARE > wanted)
        state_enter(z, ZERO_COPY_off);
    else if (z->reported >= wanted)
        state_enter(z, ZERO_COPY_on);
}

void zero_copy_failed(struct zero_copy *z, bool never)
{
    if (never) {
        state_enter(z, ZERO_COPY_off);
        z->possible = false;
    } else if (z->state == ZERO_COPY_trying) {
        z->untried++;
    }
}
