/* Who hears of speakers and volumes, when, and how often: audio_levels.c on rows as the data plane would
 * publish them. */
#include "rooms_steps.h"

static struct producer *voices[8]; /* who is made to speak */
static uint8_t loudness[8];        /* level byte of each, AUDIO_LEVEL_NONE: sends nothing */

static uint32_t slot(void)
{
    return (uint32_t)(clock_monotonic_ns() / AUDIO_INTERVAL_NS);
}

/* What the data plane would have published by now, had everybody been as loud all the time. */
static void publish_levels(void)
{
    for (int i = 0; i < 8; i++) {
        struct audio_level_row *row;

        if (!voices[i])
            continue;
        row = &fake_dataplane.levels[handle_index(voices[i]->handle)].level;
        row->header.generation = handle_generation(voices[i]->handle);
        row->header.used = 1;
        row->newest_interval = slot();
        memset(row->level, loudness[i], sizeof(row->level));
    }
}

static void pass_ms(uint64_t ms)
{
    uint64_t end = uv_hrtime() / 1000000 + ms;

    while (uv_hrtime() / 1000000 < end) {
        publish_levels();
        uv_run(&loop, UV_RUN_ONCE);
        pump();
    }
}

/* How many notices of this name since the last time; the last one's value. */
static int heard_of(struct socket *s, const char *name, const cJSON **last)
{
    int count = 0;

    for (; s->heard_read < s->heard_count; s->heard_read++)
        if (strcmp(s->heard[s->heard_read].name, name) == 0) {
            count++;
            if (last)
                *last = s->heard[s->heard_read].value;
        }
    return count;
}

static struct person speaker_enter(int n, const char *room, bool wants_audio_levels)
{
    struct person p = {.s = connect_user(user(n)), .id = user(n)};
    const cJSON *ack;

    assert_ok(request(p.s, "room:join", "{'roomId':'%s','audioLevels':%s}", room,
                      wants_audio_levels ? "true" : "false"));
    p.send = make_transport(p.s, room, "send");
    p.recv = make_transport(p.s, room, "recv");
    ack = produce(p.s, room, p.send, "audio");
    assert_ok(ack);
    p.audio = keep(text_of(ack, "id"));
    voices[n] = producer_find(rooms, p.audio);
    loudness[n] = 100;
    return p;
}

static int begin(void **state)
{
    memset(voices, 0, sizeof(voices));
    return setup(state);
}

static void everybody_hears_who_speaks(void **state)
{
    struct socket *host = connect_user(user(1)), *late;
    const char *room = make_room(host);
    struct person a = speaker_enter(1, room, false), b = speaker_enter(2, room, false);
    const cJSON *value = NULL;

    pass_ms(500); /* nobody speaks */
    skip_heard(b.s);
    assert_int_equal(heard_of(a.s, "media:activeSpeaker", NULL), 0);
    loudness[1] = 30;
    pass_ms(1200);
    assert_int_equal(heard_of(b.s, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "roomId"), room);
    assert_string_equal(text_of(value, "userId"), a.id);
    assert_string_equal(text_of(value, "producerId"), a.audio);
    assert_int_equal(heard_of(a.s, "media:activeSpeaker", NULL), 1);

    loudness[1] = 100; /* the word passes, within about a second */
    loudness[2] = 30;
    pass_ms(1500);
    assert_int_equal(heard_of(a.s, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "userId"), b.id);
    skip_heard(b.s);
    assert_int_equal(heard_of(a.s, "media:audioLevels", NULL), 0); /* nobody asked */

    late = connect_user(user(3)); /* who joins later is told */
    assert_ok(request(late, "room:join", "{'roomId':'%s'}", room));
    assert_int_equal(heard_of(late, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "userId"), b.id);

    /* muted, it is nobody's turn until somebody speaks; then it may be the same one again */
    skip_heard(a.s);
    assert_ok(request(b.s, "media:pauseProducer", "{'producerId':'%s'}", b.audio));
    assert_null(room_find(rooms, room)->dominant);
    pass_ms(800); /* its row would still say that it is loud */
    assert_int_equal(heard_of(a.s, "media:activeSpeaker", NULL), 0);
    assert_ok(request(b.s, "media:resumeProducer", "{'producerId':'%s'}", b.audio));
    pass_ms(1200);
    assert_int_equal(heard_of(a.s, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "userId"), b.id);

    skip_heard(late);
    voices[2] = NULL; /* closed while it has the word, then gone as a whole */
    assert_ok(request(b.s, "media:closeProducer", "{'producerId':'%s'}", b.audio));
    assert_null(room_find(rooms, room)->dominant);
    loudness[1] = 30;
    pass_ms(1200);
    assert_int_equal(heard_of(late, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "userId"), a.id);
    voices[1] = NULL;
    assert_ok(request(a.s, "room:leave", "{'roomId':'%s'}", room));
    assert_null(room_find(rooms, room)->dominant);
    pass_ms(1200); /* nothing is left in the list of those that are listened to */
    assert_true(TAILQ_EMPTY(&rooms->measured));
    assert_false(uv_is_active((uv_handle_t *)&rooms->audio_levels_tick));
    leave_test(a.s);
    leave_test(b.s);
    leave_test(late);
    leave_test(host);
}

static double volume_in(const cJSON *value, const char *producer)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, cJSON_GetObjectItem(value, "volumes"))
    {
        if (strcmp(text_of(item, "producerId"), producer) == 0)
            return cJSON_GetObjectItem(item, "volume")->valuedouble;
    }
    return 1;
}

static void volumes_for_those_who_asked(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);
    struct person a = speaker_enter(1, room, true), b = speaker_enter(2, room, false);
    const cJSON *value = NULL, *list;
    int count;

    loudness[1] = 40;
    loudness[2] = 20 | 0x80;
    pass_ms(1000);
    skip_heard(a.s);
    pass_ms(2100);
    count = heard_of(a.s, "media:audioLevels", &value);
    assert_in_range(count, 3, 5); /* every 500 ms, in steps of the timer's 100 */
    assert_string_equal(text_of(value, "roomId"), room);
    list = cJSON_GetObjectItem(value, "volumes");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_string_equal(text_of(cJSON_GetArrayItem(list, 0), "userId"), b.id); /* loudest first */
    assert_int_equal((int)volume_in(value, b.audio), -20);
    assert_int_equal((int)volume_in(value, a.audio), -40);
    assert_int_equal(heard_of(b.s, "media:audioLevels", NULL), 0);

    /* nothing but silence: told once, then no more */
    loudness[1] = 127;
    loudness[2] = AUDIO_LEVEL_NONE;
    pass_ms(1300);
    heard_of(a.s, "media:audioLevels", &value);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(value, "volumes")), 0);
    pass_ms(1100);
    assert_int_equal(heard_of(a.s, "media:audioLevels", NULL), 0);

    /* asked again without it, on the same socket; and muted all at once */
    loudness[2] = 20;
    pass_ms(900);
    assert_true(heard_of(a.s, "media:audioLevels", NULL) >= 1);
    assert_ok(request(b.s, "room:join", "{'roomId':'%s','audioLevels':true}", room));
    assert_ok(request(a.s, "room:join", "{'roomId':'%s'}", room));
    skip_heard(a.s);
    skip_heard(b.s);
    pass_ms(1100);
    assert_int_equal(heard_of(a.s, "media:audioLevels", NULL), 0);
    assert_true(heard_of(b.s, "media:audioLevels", NULL) >= 1);
    assert_ok(request(a.s, "media:pauseProducer", "{'producerId':'%s'}", a.audio));
    assert_ok(request(a.s, "room:muteAll", "{'roomId':'%s'}", room));
    pass_ms(700);
    assert_int_equal(heard_of(b.s, "media:audioLevels", &value), 1);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(value, "volumes")), 0);
    leave_test(a.s);
    leave_test(b.s);
    leave_test(host);
}

/* Who takes over the seat says anew whether it wants volumes. */
static void a_seat_taken_over(void **state)
{
    struct socket *host = connect_user(user(1)), *again;
    const char *room = make_room(host);
    struct person a = speaker_enter(1, room, true);

    loudness[1] = 30;
    pass_ms(700);
    assert_true(heard_of(a.s, "media:audioLevels", NULL) >= 1);
    again = connect_user(user(1));
    assert_ok(request(again, "room:join", "{'roomId':'%s','resume':true}", room));
    skip_heard(again);
    pass_ms(700);
    assert_int_equal(heard_of(again, "media:audioLevels", NULL), 0);
    assert_ok(request(again, "room:join", "{'roomId':'%s','audioLevels':true}", room));
    pass_ms(700);
    assert_true(heard_of(again, "media:audioLevels", NULL) >= 1);
    voices[1] = NULL;
    leave_test(a.s);
    leave_test(again);
    leave_test(host);
}

/* Clients that tell no level, and video, are not listened to; a loop that hung catches up. */
static void who_is_not_listened_to(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);
    struct person a = enter(1, room);
    cJSON *extensions = cJSON_GetObjectItem(audio_parameters, "headerExtensions"), *json;
    struct producer *p;

    assert_ok(produce(a.s, room, a.send, "video"));
    assert_true(TAILQ_EMPTY(&rooms->measured));
    while (cJSON_GetArraySize(extensions) > 0)
        cJSON_DeleteItemFromArray(extensions, 0);
    assert_ok(produce(a.s, room, a.send, "audio"));
    assert_true(TAILQ_EMPTY(&rooms->measured));
    leave_test(a.s);

    cJSON_Delete(audio_parameters);
    json = load("produce-av-audio");
    audio_parameters = cJSON_DetachItemFromObject(json, "produceRtpParameters");
    cJSON_Delete(json);
    a = speaker_enter(2, room, false);
    p = producer_find(rooms, a.audio);
    assert_false(TAILQ_EMPTY(&rooms->measured));
    p->next_interval -= 100000; /* half an hour */
    pass_ms(300);
    assert_true(slot() - p->next_interval < 20);
    assert_true(p->intervals < 200);
    voices[2] = NULL;
    leave_test(a.s);
    leave_test(host);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, teardown)
    const struct CMUnitTest tests[] = {
        T(everybody_hears_who_speaks),
        T(volumes_for_those_who_asked),
        T(a_seat_taken_over),
        T(who_is_not_listened_to),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
