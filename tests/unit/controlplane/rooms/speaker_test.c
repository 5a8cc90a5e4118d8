/* The dominant speaker: scores, a truth table of who becomes dominant, and simulated conversations
 * with coughs, doors, keyboards and fans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "controlplane/rooms/speaker.c"

#define VOICE 0x80
#define NOBODY SIZE_MAX

/* Returns who is dominant now; `dominant` was before. Entries of `speakers` may be NULL. */
static size_t decide(const struct speaker *const *speakers, size_t count, size_t dominant)
{
    const struct speaker *before = dominant < count ? speakers[dominant] : NULL;
    size_t found = before ? dominant : NOBODY;
    double best = 0;

    for (size_t i = 0; i < count; i++) {
        double lead = speakers[i] && i != dominant ? speaker_lead(speakers[i], before) : 0;

        if (lead > best) {
            best = lead;
            found = i;
        }
    }
    return found;
}

/* ---- scores ---- */

static void scores_rise_with_activity(void **state)
{
    for (unsigned v = 0; v <= SPEAKER_LONG; v++) {
        assert_true(v > 0 ? score(&longer, v) > score(&longer, v - 1) + 1
                          : score(&longer, 0) < 1e-9);
        if (v <= SPEAKER_MEDIUM)
            assert_true(v > 0 ? score(&medium, v) > score(&medium, v - 1) + 1
                              : score(&medium, 0) < 1e-9);
    }
    /* A frame counts as speech from 4 units on. All speech has nearly the same score: louder speech
     * alone does not reach the margin. */
    for (unsigned v = 0; v <= UNITS; v++)
        assert_true(v < 4 ? score(&immediate, v) < 1e-9 : score(&immediate, v) > 0.9);
    for (unsigned v = UNITS_VOICED; v <= UNITS; v++)
        assert_true(log(score(&immediate, 8) / score(&immediate, v)) < immediate.margin);
    /* calculated by hand: log C(5,2) + 5 log 0.5 - log 24 + 48 */
    assert_true(fabs(score(&medium, 2) - (2.302585 - 3.465736 - 3.178054 + 48)) < 1e-4);
}

/* ---- frames ---- */

static void active_frames_are_recognized(void **state)
{
    static const struct {
        const char *what;
        uint8_t levels[12]; /* after 20 frames of `before` */
        uint8_t before;
        const char *voiced; /* which of the frames are active: 1 */
    } table[] = {
        {"loud", {20, 20, 20, 20}, 127, "1111"},
        {"quiet", {80, 80, 64, 63}, 127, "0001"},
        {"above a fan", {45, 45, 36, 35}, 45, "0001"},
        {"a fan alone", {45, 44, 46, 45}, 45, "0000"},
        {"digital silence", {127, 127, 0xff, 127}, 20, "0000"},
        {"packets of 60 ms", {20, 0xff, 0xff, 20, 0xff, 0xff}, 127, "111111"},
        {"packets stop", {20, 0xff, 0xff, 0xff, 0xff}, 127, "11100"},
        {"the voice bit decides once it was seen", {20, 20 | VOICE, 20, 20 | VOICE}, 127, "1101"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        size_t frames = strlen(table[i].voiced);
        struct speaker s;

        speaker_begin(&s);
        for (int n = 0; n < 20; n++)
            speaker_hear(&s, table[i].before);
        for (size_t n = 0; n < frames; n++) {
            speaker_hear(&s, table[i].levels[n]);
            if ((s.voiced & 1) != (uint64_t)(table[i].voiced[n] - '0'))
                fail_msg("%s: frame %zu", table[i].what, n);
            assert_true((s.voiced & 1) == (s.units >= UNITS_VOICED));
        }
    }
}

/* The background is the quietest frame of the last 5 to 10 s:
 * a constant noise becomes background. */
static void the_background_is_followed(void **state)
{
    struct speaker s;
    int voiced = 0;

    speaker_begin(&s);
    for (int n = 0; n < 500; n++)
        speaker_hear(&s, 70);
    for (int n = 0; n < 1000; n++) { /* a fan starts */
        speaker_hear(&s, 40);
        voiced += s.voiced & 1;
        assert_true(n < 510 || !(s.voiced & 1));
    }
    assert_true(voiced > 200);
    speaker_hear(&s, 25);
    assert_true(s.voiced & 1);
    for (int n = 0; n < 510; n++) /* it stops: speech as soft as the fan is recognized again */
        speaker_hear(&s, 70);
    speaker_hear(&s, 40);
    assert_true(s.voiced & 1);
}

/* ---- who becomes dominant ---- */

/* Hears a script: "v300 l100 s200" is 300 ms of voice, 100 ms
 * of loud voice, then 200 ms of silence. */
static void play(struct speaker *s, const char *script)
{
    speaker_begin(s);
    for (int n = 0; n < 60; n++)
        speaker_hear(s, 100);
    while (*script) {
        char kind = *script++;
        long ms = strtol(script, (char **)&script, 10);

        for (long t = 0; t < ms; t += SPEAKER_FRAME_MS)
            speaker_hear(s, kind == 'v' ? 30 : kind == 'l' ? 5 : 100);
        script += *script == ' ';
    }
}

static void the_dominant_speaker_changes(void **state)
{
    static const struct {
        const char *what, *dominant /* NULL: nobody */, *other;
        bool changes; /* the other becomes dominant */
    } table[] = {
        {"silence after silence", "s2000", "s2000", false},
        {"the dominant one stopped, the other speaks", "v2000 s1000", "s2000 v1000", true},
        {"600 ms of speech are enough", "v2000 s700", "s2100 v600", true},
        {"300 ms are not enough", "v2000 s400", "s2100 v300", false},
        {"both speak on", "v2000", "v2000", false},
        {"both speak on, the other is louder", "v2000", "l2000", false},
        {"both spoke, the dominant one stops", "v1900 s100", "v2000", true},
        {"a breath of 40 ms", "v1960 s40", "v2000", false},
        {"a breath of 60 ms after longer pauses", "v1500 s300 v140 s60", "v2000", false},
        {"the dominant one spoke more in the last second", "v2000 s200", "s1600 v600", false},
        {"both stopped", "s2000", "v1800 s200", false},
        {"a cough", "v3000 s1000", "s3600 l400", false},
        {"two coughs", "v3000 s1000", "s3300 l260 s180 l260", false},
        {"a door", "v3000 s1000", "s3880 l120", false},
        {"a short word in between", "v2000 s300 v300", "s2000 v300 s300", false},
        {"the dominant one types, the other speaks",
         "v2000 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20",
         "s2000 v1000", true},
        {"typing", "v2000 s1000",
         "s2000 v20 s20 v20 s20 v20 s20 v20 s20 v20 s20 v20 s20 v20 s20 v20", false},
        {"nobody is dominant: silence", NULL, "s2000", false},
        {"nobody is dominant: a cough", NULL, "s1600 l400", false},
        {"nobody is dominant: speech", NULL, "s1400 v600", true},
        {"nobody is dominant: speech with pauses", NULL, "s1000 v200 s60 v240 s80 v220 s20 v80",
         true},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (size_t place = 0; place < 2; place++) { /* the order must not matter */
            struct speaker first, second;
            const struct speaker *both[3] = {NULL, NULL, NULL};
            size_t before = table[i].dominant ? place : NOBODY, after;

            play(&second, table[i].other);
            both[2 - 2 * place] = &second;
            if (table[i].dominant) {
                play(&first, table[i].dominant);
                before = 2 * place;
                both[before] = &first;
            }
            after = decide(both, 3, before);
            if (after != (table[i].changes ? 2 - 2 * place : before))
                fail_msg("%s: %zu was dominant, then %zu", table[i].what, before, after);
        }
}

/* Of several the one with the greatest lead becomes dominant.
 * One who left is not dominant any more. */
static void the_greatest_lead_wins(void **state)
{
    struct speaker a, b, c;
    const struct speaker *all[] = {&a, &b, &c};

    play(&a, "v2000 s1000");
    play(&b, "s2000 v920 s20 v20 s20 v20");
    play(&c, "s2000 v1000");
    assert_int_equal(decide(all, 3, 0), 2);
    all[0] = NULL; /* muted */
    assert_int_equal(decide(all, 3, 0), 2);
    all[1] = all[2] = NULL;
    assert_int_equal(decide(all, 3, 2), NOBODY);
    assert_int_equal(decide(all, 0, NOBODY), NOBODY);
}

/* ---- conversations ---- */

static uint64_t random_state;

static uint32_t dice(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % below;
}

enum sound { SILENT, SPEECH, COUGH, DOOR, KEYS, MHM };

struct person {
    struct speaker speaker;
    uint8_t background; /* -dBov */
    enum sound sound;
    int left_ms; /* of the sound */
    int part_ms; /* of the current syllable, pause or burst */
    bool loud;   /* the current part is not a pause */
    int rest_ms; /* until the next noise: several noises together would be like speech */
};

static uint8_t around(unsigned level, unsigned spread)
{
    unsigned value = level + dice(2 * spread + 1);

    return (uint8_t)(value < spread ? 0 : value - spread > 127 ? 127 : value - spread);
}

static void part_next(struct person *p)
{
    p->loud = !p->loud;
    switch (p->sound) {
    case SPEECH: /* words, between them short gaps and sometimes a breath */
        p->part_ms = p->loud ? 140 + (int)dice(320) : dice(12) == 0 ? 380 : 40 + (int)dice(110);
        break;
    case COUGH:
        p->part_ms = p->loud ? 160 + (int)dice(100) : 150 + (int)dice(150);
        break;
    case KEYS:
        p->part_ms = p->loud ? 20 : 60 + (int)dice(160);
        break;
    default:
        p->part_ms = p->left_ms;
    }
}

static uint8_t frame_of(struct person *p)
{
    static const uint8_t levels[] = {
        [SPEECH] = 30, [COUGH] = 15, [DOOR] = 8, [KEYS] = 32, [MHM] = 35};
    enum sound sound = p->sound;

    p->rest_ms -= SPEAKER_FRAME_MS;
    if (sound == SILENT)
        return around(p->background, 3);
    if (p->part_ms <= 0)
        part_next(p);
    p->part_ms -= SPEAKER_FRAME_MS;
    p->left_ms -= SPEAKER_FRAME_MS;
    if (p->left_ms <= 0)
        p->sound = SILENT;
    return p->loud ? around(levels[sound], 7) : around(p->background, 3);
}

static void make(struct person *p, enum sound sound, int ms)
{
    p->sound = sound;
    p->left_ms = ms;
    p->part_ms = 0;
    p->loud = false;
    p->rest_ms = ms + 1000;
}

/* People speak in turn for 3 to 9 s, and the others make
 * noises. The decision is made every 100 ms. */
static void a_conversation(void **state)
{
    enum { PEOPLE = 6, TURNS = 40, SEEDS = 20 };
    static const int noise_ms[] = {[COUGH] = 620, [DOOR] = 140, [KEYS] = 2500, [MHM] = 320};
    int slowest_ms = 0, total_ms = 0, turns = 0, wrong = 0, noises = 0, slow = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static const uint8_t backgrounds[PEOPLE] = {
            78, 95, 127, 52, 70, 88}; /* 52: a fan; 127: a muted microphone */
        struct person people[PEOPLE] = {0};
        const struct speaker *speakers[PEOPLE];
        size_t dominant = NOBODY, holder = 0;

        random_state = seed * 0x9e3779b97f4a7c15ull;
        for (size_t i = 0; i < PEOPLE; i++) {
            speaker_begin(&people[i].speaker);
            people[i].background = backgrounds[i];
            speakers[i] = &people[i].speaker;
        }
        for (int turn = 0; turn < TURNS; turn++) {
            int length_ms = 3000 + (int)dice(6000), pause_ms = (int)dice(900), found_ms = -1;
            size_t next = (holder + 1 + dice(PEOPLE - 1)) % PEOPLE, before = dominant;

            holder = next;
            for (int t = -pause_ms; t < length_ms; t += SPEAKER_FRAME_MS) {
                if (t >= 0 && t < SPEAKER_FRAME_MS)
                    make(&people[holder], SPEECH, length_ms - t);
                for (size_t i = 0; i < PEOPLE; i++)
                    if (i != holder && people[i].rest_ms < 0 && dice(200) == 0) {
                        enum sound noise = COUGH + dice(4);

                        make(&people[i], noise, noise_ms[noise]);
                        noises++;
                    }
                for (size_t i = 0; i < PEOPLE; i++)
                    speaker_hear(&people[i].speaker, frame_of(&people[i]));
                if (t % 100 >= SPEAKER_FRAME_MS || t % 100 < 0)
                    continue;
                dominant = decide(speakers, PEOPLE, dominant);
                if (dominant == holder && found_ms < 0)
                    found_ms = t;
                else if (dominant != holder && (dominant != before || found_ms >= 0))
                    wrong++;
                before = found_ms >= 0 ? holder : before;
            }
            assert_true(found_ms >= 0);
            slowest_ms = found_ms > slowest_ms ? found_ms : slowest_ms;
            total_ms += found_ms;
            slow += found_ms > 1200;
            turns++;
        }
    }
    print_message(
        "%d turns, %d noises: found after %d ms on average, %d of them after more than 1.2 s "
        "(slowest %d ms), %d wrong decisions\n",
        turns, noises, total_ms / turns, slow, slowest_ms, wrong);
    assert_int_equal(wrong, 0);
    assert_true(noises > 2000);
    assert_in_range(total_ms / turns, 500, 1000);
    assert_true(slow * 20 <= turns);
    assert_in_range(slowest_ms, 500, 2500); /* slowest: one word, and then a long breath */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_rise_with_activity),
        cmocka_unit_test(active_frames_are_recognized),
        cmocka_unit_test(the_background_is_followed),
        cmocka_unit_test(the_dominant_speaker_changes),
        cmocka_unit_test(the_greatest_lead_wins),
        cmocka_unit_test(a_conversation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
