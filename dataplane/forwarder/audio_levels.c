/* Audio levels (RFC 6464), as clients tell them with each packet: by time, for whoever draws meters and
 * finds the one who speaks. The level is of the clear header, which SRTP has authenticated.
 *
 * A packet takes the slot of the turn it came in. What came at once after a delay in the network takes
 * the slots that follow, up to AHEAD_MAX: the reader looks no closer than that. */
#include <string.h>

#include "worker.h"

#define AHEAD_MAX 4 /* slots */

void audio_levels_begin(struct worker *w, struct producer *p)
{
    p->level_id = 0;
    for (uint8_t id = 1; id < 15 && p->kind == MEDIA_KIND_audio; id++)
        if (p->router_id[id] == EXTENSION_audio_level)
            p->level_id = id;
    memset(p->levels, AUDIO_LEVEL_NONE, sizeof(p->levels));
    p->newest_interval = w->turn.audio_interval - 1;
    p->level_published = p->newest_interval;
}

/* Up to the slot before this one nothing came. */
static void pass_over(struct producer *p, uint32_t slot)
{
    if (slot - p->newest_interval > AUDIO_LEVEL_INTERVALS)
        p->newest_interval = slot - AUDIO_LEVEL_INTERVALS - 1;
    while (++p->newest_interval != slot)
        p->levels[p->newest_interval % AUDIO_LEVEL_INTERVALS] = AUDIO_LEVEL_NONE;
}

static bool is_louder(uint8_t a, uint8_t b)
{
    return (a & 0x7f) < (b & 0x7f);
}

void audio_level_note(struct worker *w, struct producer *p, uint8_t level)
{
    uint32_t slot = p->newest_interval + 1;
    uint8_t *here;

    if ((int32_t)(w->turn.audio_interval - slot) > 0)
        slot = w->turn.audio_interval;
    if ((int32_t)(slot - w->turn.audio_interval) > AHEAD_MAX) {
        here = &p->levels[p->newest_interval % AUDIO_LEVEL_INTERVALS];
        if (is_louder(level, *here))
            *here = level;
        return;
    }
    if (slot == p->newest_interval + 1)
        p->newest_interval = slot;
    else
        pass_over(p, slot);
    p->levels[slot % AUDIO_LEVEL_INTERVALS] = level;
    if (slot - p->level_published < AUDIO_PUBLISH_INTERVALS)
        return;
    p->level_published = slot;
    publish_audio_levels(w, p);
}
