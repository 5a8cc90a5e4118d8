/* How loud an audio producer was lately, as its client says it with each packet (RFC 6464). Clients
 * read it to draw meters; the control plane reads it to find the speaker.
 *
 * Shape:   one level for each of the last AUDIO_LEVEL_INTERVALS intervals of AUDIO_INTERVAL_NS;
 *          interval i lies at i modulo AUDIO_LEVEL_INTERVALS. A level is the byte of RFC 6464: the
 *          top bit says "voice", the others -dBov.
 * Memory:  lies in the producer. An engine: no clock, no I/O.
 * Source:  the level is in the clear header, which SRTP authenticates. */
#ifndef RINGCAST_AUDIO_LEVELS_H
#define RINGCAST_AUDIO_LEVELS_H

#include <stdbool.h>
#include <stdint.h>

#include "src/limits.h"

struct audio_levels {
    uint8_t extension_id;       /* the client's id of the extension; 0: it does not send levels */
    uint32_t newest, published; /* the newest interval here, and in the row */
    uint8_t level[AUDIO_LEVEL_INTERVALS];
};

/* Nothing was heard yet. */
void audio_levels_init(struct audio_levels *levels, uint8_t extension_id, uint32_t interval_now);

/* Adds the level of an authentic packet that arrived in interval_now. True: enough is new since the
 * row was published. */
bool audio_levels_add(struct audio_levels *levels, uint32_t interval_now, uint8_t level);

#endif
