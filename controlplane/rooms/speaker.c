/* Finds the dominant speaker: levels become activity, activity
 * becomes scores, and scores decide. */
#include "speaker.h"

#include <math.h>
#include <string.h>

#include "src/limits.h"

#define UNITS 13           /* N1 of the paper */
#define UNITS_VOICED 7     /* a frame is active from 7 units on: -63 dBov or louder */
#define MEDIUM_VOICED 3    /* a medium is active from 3 active frames on */
#define VOICE_ABOVE_DB 10  /* voice is at least this much louder than the background */
#define STRETCH_FRAMES 250 /* 5 s: speech as long as this has a pause, which shows the background */
#define PACKET_FRAMES_MAX 3 /* a packet lasts up to 60 ms */
#define SCORE_MIN 1e-10     /* when silence is more likely than speech */

/* A time scale: the number of its parts, the rate of the exponential
 * distribution for silence, and the margin by which the logarithm of
 * the score must beat the dominant speaker's. Numbers of the paper. */
static const struct scale {
    unsigned parts;
    double lambda, margin;
} immediate = {UNITS, 0.78, 3}, medium = {SPEAKER_MEDIUM, 24, 2}, longer = {SPEAKER_LONG, 47, 0};

void speaker_begin(struct speaker *s)
{
    *s = (struct speaker){.level = AUDIO_LEVEL_NONE,
                          .missing = PACKET_FRAMES_MAX,
                          .quietest = 127,
                          .quietest_before = 127};
}

void speaker_resume(struct speaker *s)
{
    s->voiced = 0;
    s->units = 0;
    s->missing = PACKET_FRAMES_MAX;
}

/* Returns the loudness of the quietest frame of the last 5 to 10 s. */
static unsigned background_follow(struct speaker *s, uint8_t loudness)
{
    if (++s->stretch > STRETCH_FRAMES) {
        s->stretch = 1;
        s->quietest_before = s->quietest;
        s->quietest = 127;
    }
    if (loudness < s->quietest)
        s->quietest = loudness;
    return s->quietest < s->quietest_before ? s->quietest : s->quietest_before;
}

/* Decides whether a frame with this level is active. */
static void frame_classify(struct speaker *s, uint8_t level)
{
    uint8_t loudness = (uint8_t)(127 - (level & 0x7f));
    unsigned background = background_follow(s, loudness), units;

    s->sends_voice_bit |= level >> 7;
    if ((s->sends_voice_bit && !(level >> 7)) || loudness < background + VOICE_ABOVE_DB)
        return;
    units = (loudness * UNITS + 63u) / 127;
    if (units < UNITS_VOICED)
        return;
    s->units = (uint8_t)units;
    s->voiced |= 1;
}

uint8_t speaker_hear(struct speaker *s, uint8_t level)
{
    if (level != AUDIO_LEVEL_NONE) {
        s->level = level;
        s->missing = 0;
    } else if (s->missing < PACKET_FRAMES_MAX) {
        s->missing++;
    }
    s->voiced <<= 1;
    s->units = 0;
    if (s->missing == PACKET_FRAMES_MAX)
        return AUDIO_LEVEL_NONE; /* without a packet the background stays unknown */
    frame_classify(s, s->level);
    return s->level;
}

/* ---- scores ---- */

static double score(const struct scale *scale, unsigned active)
{
    double n = scale->parts, v = active;
    double speech = lgamma(n + 1) - lgamma(v + 1) - lgamma(n - v + 1) + n * log(0.5);
    double silence = log(scale->lambda) - scale->lambda * v;

    return speech - silence > SCORE_MIN ? speech - silence : SCORE_MIN;
}

static unsigned count_bits(uint64_t bits, unsigned frames)
{
    return (unsigned)__builtin_popcountll(bits & ((1ull << frames) - 1));
}

/* Active frames next to another active frame: a single one is a click. */
static uint64_t sustained(const struct speaker *s)
{
    return s->voiced & (s->voiced << 1 | s->voiced >> 1);
}

struct scores {
    double immediate, medium, longer;
};

static struct scores scores_of(const struct speaker *s)
{
    uint64_t voiced = sustained(s);
    unsigned active = 0;

    for (unsigned i = 0; i < SPEAKER_LONG; i++)
        active += count_bits(voiced >> i * SPEAKER_MEDIUM, SPEAKER_MEDIUM) >= MEDIUM_VOICED;
    return (struct scores){
        .immediate = score(&immediate, voiced & 1 ? s->units : 0),
        .medium = score(&medium, count_bits(voiced, SPEAKER_MEDIUM)),
        .longer = score(&longer, active),
    };
}

double speaker_lead(const struct speaker *other, const struct speaker *dominant)
{
    struct scores theirs = {SCORE_MIN, SCORE_MIN, SCORE_MIN}, own;
    double lead;

    if (__builtin_popcountll(sustained(other)) < SPEAKER_VOICED_MIN)
        return 0;
    if (dominant)
        theirs = scores_of(dominant);
    own = scores_of(other);
    lead = log(own.medium / theirs.medium);
    return log(own.immediate / theirs.immediate) > immediate.margin && lead > medium.margin &&
                   log(own.longer / theirs.longer) > longer.margin
               ? lead
               : 0;
}
