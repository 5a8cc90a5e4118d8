/* Audio levels (RFC 6464) as the worker publishes them: by time, with gaps and bursts. */
#include "call.h"

enum { LEVEL_ID = 7, SPEAKER = 0 };

static void audio_producer(struct rig *rig, uint32_t index, bool paused, uint32_t generation)
{
    struct producer_row row = rig_audio_row(SPEAKER, AUDIO_SSRC);

    row.paused = paused;
    row.extension_sent_id[EXTENSION_audio_level] = LEVEL_ID;
    rig_row(rig, TABLE_producer, index, &row.header, generation);
}

static struct rig *speaker_open(struct client *speaker)
{
    struct rig *rig = rig_open();

    memset(speaker, 0, sizeof(*speaker));
    rig_connect(rig, speaker, SPEAKER, SRTP_PROFILE_aead_aes_128_gcm);
    audio_producer(rig, 0, false, 1);
    rig_turn(rig);
    return rig;
}

static void speaker_close(struct rig *rig, struct client *speaker)
{
    client_close(speaker);
    rig_close(rig);
}

/* An Opus packet with a level that takes this many bytes in the header extension; 0: no
 * extension. */
static size_t speak_packet(uint8_t *out, uint16_t sequence, uint8_t level, size_t bytes)
{
    out[0] = bytes ? 0x90 : 0x80;
    out[1] = 111;
    put16(out + 2, sequence);
    put32(out + 4, sequence * 960u);
    put32(out + 8, AUDIO_SSRC);
    if (bytes) {
        put32(out + 12, 0xbede0001);
        memset(out + 16, 0, 4);
        out[16] = (uint8_t)(LEVEL_ID << 4 | (bytes - 1));
        out[17] = level;
    }
    memset(out + 12 + (bytes ? 8 : 0), 0x55, 60);
    return 12 + (bytes ? 8 : 0) + 60;
}

static uint16_t sequence;

static void speak(struct rig *rig, struct client *c, uint8_t level)
{
    uint8_t packet[200];

    client_send_rtp(rig, c, packet, speak_packet(packet, ++sequence, level, 1));
}

static bool read_levels(struct rig *rig, struct audio_level_row *row)
{
    return row_copy(TABLE_audio_level, row, region_row(&rig->actual, TABLE_audio_level, 0), 1) ==
           ROW_OK;
}

/* wanted[0] is the newest published level, wanted[1] the one before, and so on. */
static void assert_levels(struct rig *rig, const uint8_t *wanted, size_t count)
{
    struct audio_level_row row;

    assert_true(read_levels(rig, &row));
    for (size_t i = 0; i < count; i++) {
        uint8_t got = row.level[(row.newest_interval - i) % AUDIO_LEVEL_INTERVALS];

        if (got != wanted[i])
            fail_msg("%zu intervals back: %#x, not %#x", i, got, wanted[i]);
    }
}

/* Turns move the clock by microseconds: begin in the middle of an interval, so that none ends
 * meanwhile. */
static void move_to_middle_of_interval(void)
{
    rig_now_ns += AUDIO_INTERVAL_NS - rig_now_ns % AUDIO_INTERVAL_NS + AUDIO_INTERVAL_NS / 2;
}

static void each_interval_has_one_level(void **state)
{
    struct client speaker;
    struct rig *rig = speaker_open(&speaker);
    struct audio_level_row row;
    uint8_t wanted[AUDIO_LEVEL_INTERVALS];
    uint32_t behind;

    move_to_middle_of_interval();
    for (int i = 0; i < 40; i++) { /* levels are published without a consumer, too */
        speak(rig, &speaker, (uint8_t)(0x80 | i));
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_true(read_levels(rig, &row));
    behind = (uint32_t)(rig_now_ns / AUDIO_INTERVAL_NS) - 1 - row.newest_interval;
    /* the row is published after every fifth interval */
    assert_true(behind < AUDIO_PUBLISH_INTERVALS);
    for (size_t i = 0; i < AUDIO_LEVEL_INTERVALS; i++)
        wanted[i] = (uint8_t)(0x80 | (39 - behind - i));
    assert_levels(rig, wanted, AUDIO_LEVEL_INTERVALS);
    speaker_close(rig, &speaker);
}

static void intervals_without_packet_are_empty(void **state)
{
    static const unsigned gaps[] = {1, 2, 7, 31, 32, 33, 5000};

    for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
        struct client speaker;
        struct rig *rig = speaker_open(&speaker);
        uint8_t wanted[AUDIO_LEVEL_INTERVALS];
        size_t empty = gaps[i] < AUDIO_LEVEL_INTERVALS ? gaps[i] : AUDIO_LEVEL_INTERVALS - 5;

        move_to_middle_of_interval();
        for (int n = 0; n < 40; n++) {
            speak(rig, &speaker, 60);
            rig_turn(rig);
            rig_now_ns += AUDIO_INTERVAL_NS;
        }
        rig_now_ns += gaps[i] * (uint64_t)AUDIO_INTERVAL_NS;
        client_check(rig, &speaker, true);
        for (int n = 0; n < 5; n++) {
            speak(rig, &speaker, (uint8_t)n);
            rig_turn(rig);
            rig_now_ns += AUDIO_INTERVAL_NS;
        }
        memset(wanted, 60, sizeof(wanted));
        memset(wanted + 5, AUDIO_LEVEL_NONE, empty > 27 ? 27 : empty);
        memcpy(wanted, (uint8_t[]){4, 3, 2, 1, 0}, 5);
        /* The row is written at every fifth new level: it may be up to four behind. */
        {
            struct audio_level_row row;
            size_t behind;

            assert_true(read_levels(rig, &row));
            behind = (uint32_t)(rig_now_ns / AUDIO_INTERVAL_NS) - 1 - row.newest_interval;
            assert_true(behind < AUDIO_PUBLISH_INTERVALS);
            assert_levels(rig, wanted + behind, 20);
        }
        speaker_close(rig, &speaker);
    }
}

/* Packets that the network held up and delivered at once take one interval each, up to four ahead
 * of time. */
static void a_burst_spreads_over_intervals(void **state)
{
    struct client speaker;
    struct rig *rig = speaker_open(&speaker);
    struct audio_level_row row;

    move_to_middle_of_interval();
    for (int i = 0; i < 10; i++)
        speak(rig, &speaker, (uint8_t)(70 - i)); /* each louder than the one before */
    rig_turn(rig);
    rig_now_ns += 5 * (uint64_t)AUDIO_INTERVAL_NS;
    for (int i = 0; i < 6; i++) {
        speak(rig, &speaker, 100);
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_true(read_levels(rig, &row));
    /* intervals 0 to 4 of the burst: 70 69 68 67, and the loudest of the rest */
    for (int i = 0; i < 5; i++) {
        uint32_t at = (uint32_t)(rig_now_ns / AUDIO_INTERVAL_NS) - 11 + (uint32_t)i;

        assert_int_equal(row.level[at % AUDIO_LEVEL_INTERVALS], i < 4 ? 70 - i : 61);
    }
    speaker_close(rig, &speaker);
}

static void only_true_levels_of_active_producers_count(void **state)
{
    struct client speaker;
    struct rig *rig = speaker_open(&speaker);
    struct audio_level_row row;
    uint8_t packet[200];

    move_to_middle_of_interval();
    for (uint16_t i = 0; i < 20; i++) {
        size_t bytes = speak_packet(packet, ++sequence, 10, i % 2 ? 0 : 3);

        client_send_rtp(rig, &speaker, packet, bytes);
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_false(read_levels(rig, &row)); /* no extension, or one of three bytes */
    for (int i = 0; i < 20; i++) {        /* forged: the packets do not authenticate */
        size_t bytes = speak_packet(packet, ++sequence, 10, 1);

        assert_true(io_replay_feed(rig->io, &speaker.path, packet, (uint32_t)bytes));
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_false(read_levels(rig, &row));
    audio_producer(rig, 0, true, 1); /* paused */
    rig_turn(rig);
    for (int i = 0; i < 20; i++) {
        speak(rig, &speaker, 10);
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_false(read_levels(rig, &row));
    audio_producer(rig, 0, false, 1);
    for (int i = 0; i < 20; i++) {
        speak(rig, &speaker, 10);
        rig_turn(rig);
        rig_now_ns += AUDIO_INTERVAL_NS;
    }
    assert_true(read_levels(rig, &row));
    rig_free_row(rig, TABLE_producer, 0, 1); /* the producer goes, and its row */
    rig_turn(rig);
    assert_false(read_levels(rig, &row));
    speaker_close(rig, &speaker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_interval_has_one_level),
        cmocka_unit_test(intervals_without_packet_are_empty),
        cmocka_unit_test(a_burst_spreads_over_intervals),
        cmocka_unit_test(only_true_levels_of_active_producers_count),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
