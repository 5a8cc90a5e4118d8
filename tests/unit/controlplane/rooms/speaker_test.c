/* Who speaks: the scores, a truth table of who takes the word from whom, and simulated conversations
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

/* Who has the word, when `dominant` had it; NULL: an empty place. */
static size_t decide(const struct speaker *const *speakers, size_t count, size_t dominant)
{
    const struct speaker *had_it = dominant < count ? speakers[dominant] : NULL;
    size_t found = had_it ? dominant : NOBODY;
    double best = 0;

    for (size_t i = 0; i < count; i++) {
        double lead = speakers[i] && i != dominant ? speaker_lead(speakers[i], had_it) : 0;

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
    /* A frame counts as speech from 4 units on, and no speech is likelier than other speech to a degree
     * that the margin would take for a change. */
    for (unsigned v = 0; v <= UNITS; v++)
        assert_true(v < 4 ? score(&immediate, v) < 1e-9 : score(&immediate, v) > 0.9);
    for (unsigned v = UNITS_VOICED; v <= UNITS; v++)
        assert_true(log(score(&immediate, 8) / score(&immediate, v)) < immediate.margin);
    /* by hand: log C(5,2) + 5 log 0.5 - log 24 + 48 */
    assert_true(fabs(score(&medium, 2) - (2.302585 - 3.465736 - 3.178054 + 48)) < 1e-4);
}

/* ---- frames ---- */

static void frames_are_voiced(void **state)
{
    static const struct {
        const char *what;
        uint8_t levels[12]; /* after 20 frames of `before` */
        uint8_t before;
        const char *voiced; /* the newest last */
    } table[] = {
        {"loud", {20, 20, 20, 20}, 127, "1111"},
        {"quiet", {80, 80, 64, 63}, 127, "0001"},
        {"above a fan", {45, 45, 36, 35}, 45, "0001"},
        {"a fan alone", {45, 44, 46, 45}, 45, "0000"},
        {"digital silence", {127, 127, 0xff, 127}, 20, "0000"},
        {"60 ms a packet", {20, 0xff, 0xff, 20, 0xff, 0xff}, 127, "111111"},
        {"packets stop", {20, 0xff, 0xff, 0xff, 0xff}, 127, "11100"},
        {"the voice bit, once seen, counts", {20, 20 | VOICE, 20, 20 | VOICE}, 127, "1101"},
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

/* The background is the quietest of the last 5 to 10 s: what becomes loud becomes background. */
static void the_floor_follows(void **state)
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
    for (int n = 0; n < 510; n++) /* and stops: who speaks as softly as it was is heard again */
        speaker_hear(&s, 70);
    speaker_hear(&s, 40);
    assert_true(s.voiced & 1);
}

/* ---- who takes the word ---- */

/* "v300 s200" is 300 ms of voice and 200 ms of silence; the end is now. */
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

static void the_word_passes(void **state)
{
    static const struct {
        const char *what, *has_it /* NULL: nobody */, *other;
        bool passes;
    } table[] = {
        {"silence after silence", "s2000", "s2000", false},
        {"one stopped, the other speaks", "v2000 s1000", "s2000 v1000", true},
        {"after 600 ms already", "v2000 s700", "s2100 v600", true},
        {"but not after 300", "v2000 s400", "s2100 v300", false},
        {"both speak on", "v2000", "v2000", false},
        {"one is louder, both speak on", "v2000", "l2000", false},
        {"the one who had it stops after both spoke", "v1900 s100", "v2000", true},
        {"a breath is no end", "v1960 s40", "v2000", false},
        {"60 ms, after longer pauses, are no end either", "v1500 s300 v140 s60", "v2000", false},
        {"who has said more this second keeps it", "v2000 s200", "s1600 v600", false},
        {"the other stopped as well", "s2000", "v1800 s200", false},
        {"a cough", "v3000 s1000", "s3600 l400", false},
        {"two coughs", "v3000 s1000", "s3300 l260 s180 l260", false},
        {"a door", "v3000 s1000", "s3880 l120", false},
        {"a word thrown in", "v2000 s300 v300", "s2000 v300 s300", false},
        {"who had it types now",
         "v2000 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20 s80 v20",
         "s2000 v1000", true},
        {"typing", "v2000 s1000",
         "s2000 v20 s20 v20 s20 v20 s20 v20 s20 v20 s20 v20 s20 v20 s20 v20", false},
        {"nobody had it: silence", NULL, "s2000", false},
        {"nobody had it: a cough", NULL, "s1600 l400", false},
        {"nobody had it: speech", NULL, "s1400 v600", true},
        {"nobody had it: speech with pauses", NULL, "s1000 v200 s60 v240 s80 v220 s20 v80", true},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (size_t place = 0; place < 2; place++) { /* the order must not matter */
            struct speaker first, second;
            const struct speaker *both[3] = {NULL, NULL, NULL};
            size_t before = table[i].has_it ? place : NOBODY, after;

            play(&second, table[i].other);
            both[2 - 2 * place] = &second;
            if (table[i].has_it) {
                play(&first, table[i].has_it);
                before = 2 * place;
                both[before] = &first;
            }
            after = decide(both, 3, before);
            if (after != (table[i].passes ? 2 - 2 * place : before))
                fail_msg("%s: %zu had it, %zu has it", table[i].what, before, after);
        }
}

/* Of several the one who speaks most clearly, and who went loses it even to nobody. */
static void the_best_of_several(void **state)
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
    int left_ms, part_ms; /* of the sound; of the syllable, pause, burst it is at */
    bool loud;            /* that part is a loud one */
    int rest_ms;          /* until the next noise: a cough and a door and a word at once are talk */
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
    case SPEECH: /* syllables run together to words; between them gaps, sometimes a breath */
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

/* People take turns of 3 to 9 s; who does not speak makes noises. The detector decides every 100 ms. */
static void a_conversation(void **state)
{
    enum { PEOPLE = 6, TURNS = 40, SEEDS = 20 };
    static const int noise_ms[] = {[COUGH] = 620, [DOOR] = 140, [KEYS] = 2500, [MHM] = 320};
    int slowest_ms = 0, total_ms = 0, turns = 0, wrong = 0, noises = 0, slow = 0;

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static const uint8_t backgrounds[PEOPLE] = {78, 95, 127,
                                                    52, 70, 88}; /* a fan; mute at the source */
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
        "%d turns, %d noises: found after %d ms, %d only after 1.2 s (slowest %d), wrong for "
        "%d decisions\n",
        turns, noises, total_ms / turns, slow, slowest_ms, wrong);
    assert_int_equal(wrong, 0);
    assert_true(noises > 2000);
    assert_in_range(total_ms / turns, 500, 1000);
    assert_true(slow * 20 <= turns);
    assert_in_range(slowest_ms, 500, 2500); /* who begins with a word and a long breath */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_rise_with_activity), cmocka_unit_test(frames_are_voiced),
        cmocka_unit_test(the_floor_follows),         cmocka_unit_test(the_word_passes),
        cmocka_unit_test(the_best_of_several),       cmocka_unit_test(a_conversation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
