/* Finds the dominant speaker of a meeting from audio levels. No I/O and no clock: the caller hands
 * over one frame of SPEAKER_FRAME_MS after the other, and asks whether another speaker becomes
 * dominant.
 *
 *   level of a frame ─► louder than the background? ─► active? ─┬─► the newest frame: immediate
 *   (RFC 6464)                                                  ├─► the last 5 frames: medium
 *                                                               └─► the last second:   long
 *
 * Each of the three time scales has a score: the logarithm of how much more likely its number of
 * active parts is if the person speaks (binomial distribution) than if not (exponential
 * distribution). Somebody becomes dominant when their score beats the dominant speaker's by a
 * margin on all three scales at once. So a cough does not count, because the long scale is against
 * it, and neither does a short word while the dominant speaker continues, because the short scales
 * are against it.
 *
 * Threads: one at a time. Memory: the caller's.
 * Source: I. Volfin and I. Cohen, "Dominant speaker identification for multipoint
 *         videoconferencing", Computer Speech & Language 27 (2013). We differ from the paper:
 *         levels replace sub-band energies; the background noise is measured; a single active frame
 *         is a click and does not count; and nobody becomes dominant with less than
 *         SPEAKER_VOICED_MIN active frames. */
#ifndef RINGCAST_SPEAKER_H
#define RINGCAST_SPEAKER_H

#include <stdbool.h>
#include <stdint.h>

#define SPEAKER_FRAME_MS 20
#define SPEAKER_MEDIUM 5 /* frames */
#define SPEAKER_LONG 10  /* mediums: one second */
/* 560 ms of voice within the 1.28 s that are remembered:
 * longer than two coughs, shorter than a short sentence. */
#define SPEAKER_VOICED_MIN 28

struct speaker {
    uint64_t voiced; /* bit i: the frame i frames ago was active */
    uint8_t units;   /* how active the newest frame is, 0 to 13; 0: not active */
    uint8_t level;   /* of the last packet */
    uint8_t missing; /* frames without a packet since then */
    /* The voice bit was seen once: from then on, frames without it are not active. */
    bool sends_voice_bit;
    /* The lowest loudness in the current stretch of 5 s and in the one before. */
    uint8_t quietest, quietest_before;
    uint16_t stretch; /* frames in the current stretch */
};

void speaker_begin(struct speaker *speaker);
/* After a pause: forgets what was said and keeps the background noise. */
void speaker_resume(struct speaker *speaker);
/* Hears the next frame: the level byte of RFC 6464, or AUDIO_LEVEL_NONE when no packet arrived. A
 * packet may last three frames (60 ms), so up to two frames without a packet repeat its level.
 * Returns the level that was used, or AUDIO_LEVEL_NONE. */
uint8_t speaker_hear(struct speaker *speaker, uint8_t level);

/* Returns by how much `other` leads over `dominant` (NULL: nobody is dominant yet); 0: it does not.
 * The one with the greatest lead becomes dominant. */
double speaker_lead(const struct speaker *other, const struct speaker *dominant);

#endif
