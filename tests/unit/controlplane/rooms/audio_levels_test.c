/* Who is told about speakers and volumes, when and how often:
 * audio_levels.c on rows that the data plane would publish. Time is
 * the test's own, so nothing here depends on the speed of the machine. */
#include <uv.h>

#include "src/clock.h"

static uint64_t test_now_ns;

#define clock_monotonic_ns() test_now_ns
#define uv_now(loop) (test_now_ns / NS_PER_MS)
#include "controlplane/rooms/audio_levels.c"
#undef clock_monotonic_ns
#undef uv_now

#include "rooms_steps.h"

static struct producer *voices[8]; /* producers that publish levels */
static uint8_t loudness[8];        /* the level of each; AUDIO_LEVEL_NONE: it sends no packets */

/* What the data plane would have published if everybody had been as loud all the time. */
static void publish_levels(void)
{
    for (int i = 0; i < 8; i++) {
        struct audio_level_row *row;

        if (!voices[i])
            continue;
        row = &fake_dataplane.levels[handle_index(voices[i]->handle)].level;
        row->header.generation = handle_generation(voices[i]->handle);
        row->header.used = 1;
        row->newest_interval = current_interval();
        memset(row->level, loudness[i], sizeof(row->level));
    }
}

static void pass_ms(uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += TICK_EVERY_MS) {
        test_now_ns += TICK_EVERY_MS * NS_PER_MS;
        publish_levels();
        if (uv_is_active((uv_handle_t *)&rooms->audio_levels_tick))
            tick(&rooms->audio_levels_tick);
    }
}

/* How many events of this name the socket received since the
 * last time, and the value of the last one. */
static int count_received(struct socket *s, const char *name, const cJSON **last)
{
    int count = 0;

    for (; s->received_read < s->received_count; s->received_read++)
        if (strcmp(s->received[s->received_read].name, name) == 0) {
            count++;
            if (last)
                *last = s->received[s->received_read].value;
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
    test_now_ns = 1000 * NS_PER_S;
    return setup(state);
}

static void everybody_is_told_who_speaks(void **state)
{
    struct socket *host = connect_user(user(1)), *late;
    const char *room = make_room(host);
    struct person a = speaker_enter(1, room, false), b = speaker_enter(2, room, false);
    const cJSON *value = NULL;

    pass_ms(500); /* nobody speaks */
    assert_int_equal(uv_timer_get_repeat(&rooms->audio_levels_tick), TICK_EVERY_MS);
    skip_received(b.s);
    assert_int_equal(count_received(a.s, "media:activeSpeaker", NULL), 0);
    loudness[1] = 30;
    pass_ms(1200);
    assert_int_equal(count_received(b.s, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "roomId"), room);
    assert_string_equal(text_of(value, "userId"), a.id);
    assert_string_equal(text_of(value, "producerId"), a.audio);
    assert_int_equal(count_received(a.s, "media:activeSpeaker", NULL), 1);

    loudness[1] = 100; /* the other speaks now, and is dominant within about a second */
    loudness[2] = 30;
    pass_ms(1500);
    assert_int_equal(count_received(a.s, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "userId"), b.id);
    skip_received(b.s);
    assert_int_equal(count_received(a.s, "media:audioLevels", NULL),
                     0); /* nobody asked for volumes */

    late = connect_user(user(3)); /* somebody who joins later is told too */
    assert_ok(request(late, "room:join", "{'roomId':'%s'}", room));
    assert_int_equal(count_received(late, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "userId"), b.id);

    /* After the dominant speaker is muted nobody is dominant, until somebody speaks. */
    skip_received(a.s);
    assert_ok(request(b.s, "media:pauseProducer", "{'producerId':'%s'}", b.audio));
    assert_null(room_find(rooms, room)->dominant);
    pass_ms(800); /* its row still says that it is loud */
    assert_int_equal(count_received(a.s, "media:activeSpeaker", NULL), 0);
    assert_ok(request(b.s, "media:resumeProducer", "{'producerId':'%s'}", b.audio));
    pass_ms(1200);
    assert_int_equal(count_received(a.s, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "userId"), b.id);

    skip_received(late);
    voices[2] = NULL; /* the dominant speaker closes its producer; the next one leaves the room */
    assert_ok(request(b.s, "media:closeProducer", "{'producerId':'%s'}", b.audio));
    assert_null(room_find(rooms, room)->dominant);
    loudness[1] = 30;
    pass_ms(1200);
    assert_int_equal(count_received(late, "media:activeSpeaker", &value), 1);
    assert_string_equal(text_of(value, "userId"), a.id);
    voices[1] = NULL;
    assert_ok(request(a.s, "room:leave", "{'roomId':'%s'}", room));
    assert_null(room_find(rooms, room)->dominant);
    pass_ms(1200); /* nothing is measured any more, and the timer stops */
    assert_true(TAILQ_EMPTY(&rooms->measured));
    assert_false(uv_is_active((uv_handle_t *)&rooms->audio_levels_tick));
    socket_lose(a.s);
    socket_lose(b.s);
    socket_lose(late);
    socket_lose(host);
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

static void volumes_go_to_those_who_asked(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);
    struct person a = speaker_enter(1, room, true), b = speaker_enter(2, room, false);
    const cJSON *value = NULL, *list;
    int count;

    loudness[1] = 40;
    loudness[2] = 20 | 0x80;
    pass_ms(1000);
    skip_received(a.s);
    pass_ms(2000);
    count = count_received(a.s, "media:audioLevels", &value);
    assert_int_equal(count, 4); /* every 500 ms */
    assert_string_equal(text_of(value, "roomId"), room);
    list = cJSON_GetObjectItem(value, "volumes");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_string_equal(text_of(cJSON_GetArrayItem(list, 0), "userId"), b.id); /* loudest first */
    assert_int_equal((int)volume_in(value, b.audio), -20);
    assert_int_equal((int)volume_in(value, a.audio), -40);
    assert_int_equal(count_received(b.s, "media:audioLevels", NULL), 0);

    /* Silence is told once. */
    loudness[1] = 127;
    loudness[2] = AUDIO_LEVEL_NONE;
    pass_ms(1300);
    count_received(a.s, "media:audioLevels", &value);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(value, "volumes")), 0);
    pass_ms(1100);
    assert_int_equal(count_received(a.s, "media:audioLevels", NULL), 0);

    /* One asks for volumes now, and the other no longer, on
     * the same sockets. Then both are muted. */
    loudness[2] = 20;
    pass_ms(900);
    assert_true(count_received(a.s, "media:audioLevels", NULL) >= 1);
    assert_ok(request(b.s, "room:join", "{'roomId':'%s','audioLevels':true}", room));
    assert_ok(request(a.s, "room:join", "{'roomId':'%s'}", room));
    skip_received(a.s);
    skip_received(b.s);
    pass_ms(1100);
    assert_int_equal(count_received(a.s, "media:audioLevels", NULL), 0);
    assert_true(count_received(b.s, "media:audioLevels", NULL) >= 1);
    assert_ok(request(a.s, "media:pauseProducer", "{'producerId':'%s'}", a.audio));
    assert_ok(request(a.s, "room:muteAll", "{'roomId':'%s'}", room));
    pass_ms(700);
    assert_int_equal(count_received(b.s, "media:audioLevels", &value), 1);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(value, "volumes")), 0);
    socket_lose(a.s);
    socket_lose(b.s);
    socket_lose(host);
}

/* A socket that resumes says again whether it wants volumes. */
static void resuming_asks_again(void **state)
{
    struct socket *host = connect_user(user(1)), *again;
    const char *room = make_room(host);
    struct person a = speaker_enter(1, room, true);

    loudness[1] = 30;
    pass_ms(700);
    assert_true(count_received(a.s, "media:audioLevels", NULL) >= 1);
    again = connect_user(user(1));
    assert_ok(request(again, "room:join", "{'roomId':'%s','resume':true}", room));
    skip_received(again);
    pass_ms(700);
    assert_int_equal(count_received(again, "media:audioLevels", NULL), 0);
    assert_ok(request(again, "room:join", "{'roomId':'%s','audioLevels':true}", room));
    pass_ms(700);
    assert_true(count_received(again, "media:audioLevels", NULL) >= 1);
    voices[1] = NULL;
    socket_lose(a.s);
    socket_lose(again);
    socket_lose(host);
}

/* Audio without levels, and video, are not measured. After the
 * loop hung, old intervals are skipped. */
static void not_everything_is_measured(void **state)
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
    socket_lose(a.s);

    cJSON_Delete(audio_parameters);
    json = load("produce-av-audio");
    audio_parameters = cJSON_DetachItemFromObject(json, "produceRtpParameters");
    cJSON_Delete(json);
    a = speaker_enter(2, room, false);
    p = producer_find(rooms, a.audio);
    assert_false(TAILQ_EMPTY(&rooms->measured));
    p->next_interval -= 100000; /* as after half an hour without a tick */
    pass_ms(300);
    assert_true(current_interval() - p->next_interval < 20);
    assert_true(p->intervals < 200);
    voices[2] = NULL;
    socket_lose(a.s);
    socket_lose(host);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, teardown)
    const struct CMUnitTest tests[] = {
        T(everybody_is_told_who_speaks),
        T(volumes_go_to_those_who_asked),
        T(resuming_asks_again),
        T(not_everything_is_measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
