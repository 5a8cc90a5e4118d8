/* Who speaks: dominant-speaker identification from audio levels. No I/O, no clock: one frame of
 * SPEAKER_FRAME_MS after the other in, who takes the word from whom out.
 *
 *   level of a frame ─► noise floor ─► is it voiced ─► history ─┬─ the newest frame        immediate
 *   (RFC 6464)                                                  ├─ SPEAKER_MEDIUM frames   medium
 *                                                               └─ SPEAKER_LONG of those   long
 *
 * Each time scale has a score: the logarithm of how much likelier so many active parts are if somebody
 * speaks (binomial) than if not (exponential). Somebody takes the word from who has it when their score
 * is so and so many times the other's on all three scales at once: so a cough fails on the long scale, a
 * word thrown in while the other goes on fails on the short ones.
 *
 * Threads: one at a time. Memory: the caller's.
 * Source: I. Volfin and I. Cohen, "Dominant speaker identification for multipoint videoconferencing",
 *         Computer Speech & Language 27 (2013). Of our own: levels in place of
 *         sub-band energies, the noise floor, that a lone voiced frame is a click, and that somebody must
 *         have spoken for SPEAKER_VOICED_MIN frames to take the word, also from nobody. */
#ifndef RINGCAST_SPEAKER_H
#define RINGCAST_SPEAKER_H

#include <stdbool.h>
#include <stdint.h>

#define SPEAKER_FRAME_MS 20
#define SPEAKER_MEDIUM 5 /* frames */
#define SPEAKER_LONG 10  /* mediums: one second */
/* 560 ms of voice within 1.28 s, all that is remembered: more than two coughs, less than a short
 * sentence */
#define SPEAKER_VOICED_MIN 28

struct speaker {
    uint64_t voiced;                   /* bit i: the frame i frames ago was */
    uint8_t units;                     /* how much of the newest frame is active */
    uint8_t level;                     /* of the last packet */
    uint8_t missing;                   /* frames without a packet since */
    bool tells_voice;                  /* the voice bit was seen: what comes without it is none */
    uint8_t quietest, quietest_before; /* loudness, of this and the last stretch */
    uint16_t stretch;                  /* frames of it */
};

void speaker_begin(struct speaker *speaker);
/* Was muted: what was said is forgotten, the background is not. */
void speaker_resume(struct speaker *speaker);
/* The next frame: the byte of RFC 6464, or AUDIO_LEVEL_NONE when no packet came. A packet may stand for
 * up to three frames (60 ms). Returns what the frame was taken for: that byte, the last packet's, or
 * AUDIO_LEVEL_NONE. */
uint8_t speaker_hear(struct speaker *speaker, uint8_t level);

/* Does `other` take the word from `dominant` (NULL: nobody has it) now? By how much (> 0): of several who
 * might, the one who leads by most gets it. 0: no. */
double speaker_lead(const struct speaker *other, const struct speaker *dominant);

#endif
