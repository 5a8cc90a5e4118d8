/* Levels of audio producers, by time.
 *
 * A packet takes the interval that it came in. Packets that the network held up and delivered at
 * once take the intervals after that, at most AHEAD_MAX of them; the reader's own delay is longer.
 */
#include "audio_levels.h"

#include <string.h>

#include "dataplane/engines/rtp.h"

#define AHEAD_MAX 4 /* intervals */

void audio_levels_init(struct audio_levels *levels, uint8_t extension_id, uint32_t interval_now)
{
    levels->extension_id = extension_id;
    memset(levels->level, AUDIO_LEVEL_NONE, sizeof(levels->level));
    levels->newest = interval_now - 1;
    levels->published = levels->newest;
}

/* Makes `interval` the newest one; those that are skipped get no level. */
static void skip_to(struct audio_levels *levels, uint32_t interval)
{
    if (interval - levels->newest > AUDIO_LEVEL_INTERVALS)
        levels->newest = interval - AUDIO_LEVEL_INTERVALS - 1;
    while (++levels->newest != interval)
        levels->level[levels->newest % AUDIO_LEVEL_INTERVALS] = AUDIO_LEVEL_NONE;
}

static bool is_louder(uint8_t a, uint8_t b)
{
    return (a & 0x7f) < (b & 0x7f);
}

bool audio_levels_add(struct audio_levels *levels, uint32_t interval_now, uint8_t level)
{
    uint32_t interval = levels->newest + 1;
    uint8_t *newest;

    if ((int32_t)(interval_now - interval) > 0)
        interval = interval_now;
    if ((int32_t)(interval - interval_now) > AHEAD_MAX) {
        newest = &levels->level[levels->newest % AUDIO_LEVEL_INTERVALS];
        if (is_louder(level, *newest))
            *newest = level;
        return false;
    }
    if (interval == levels->newest + 1)
        levels->newest = interval;
    else
        skip_to(levels, interval);
    levels->level[interval % AUDIO_LEVEL_INTERVALS] = level;
    if (interval - levels->published < AUDIO_PUBLISH_INTERVALS)
        return false;
    levels->published = interval;
    return true;
}
