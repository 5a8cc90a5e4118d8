/* The mirror: which keys it writes, and that Redis has the right content in the end, whatever is
 *             lost. */
#include "fake_redis.h"

#include "controlplane/live/mirror.h"

#define INSTANCE "11111111-1111-4111-8111-111111111111"

static struct mirror *mirror;
static struct commands commands;
static enum mirror_result worst; /* since the last pump */

static int setup(void **state)
{
    mirror = mirror_new(INSTANCE);
    assert_non_null(mirror);
    return 0;
}

static int teardown(void **state)
{
    mirror_delete(mirror);
    commands_free(&commands);
    fake_hang_up();
    fake_flush();
    fake.is_full = false;
    return 0;
}

/* ---- commands and replies ---- */

/* Sends the commands. False: the connection broke after `most` of them. */
static bool exchange(int most)
{
    redisReader *reader = redisReaderCreate();
    bool whole = (int)commands.replies <= most;
    void *reply = NULL;

    assert_false(commands.failed);
    fake.out_bytes = 0;
    fake_take(commands.bytes, commands.count, most);
    commands_clear(&commands);
    redisReaderFeed(reader, fake.out, fake.out_bytes);
    while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
        enum mirror_result result = mirror_reply(mirror, reply);

        if (result > worst)
            worst = result;
        freeReplyObject(reply);
    }
    redisReaderFree(reader);
    assert_int_equal(whole ? mirror_pending(mirror) : 0, 0);
    return whole;
}

static void pump(void)
{
    worst = MIRROR_FINE;
    while (mirror_write(mirror, &commands))
        exchange(1000000);
}

static void connect_fake(void)
{
    mirror_start(mirror, &commands);
    exchange(1000000);
    pump();
}

/* ---- rooms and keys ---- */

static struct live_room room_of(const char *id, const char *status)
{
    return (struct live_room){id, "host-1",     status, "Büro \"A\"", "AAAA-BBBB-CCCC",
                              25, 1700000000000};
}

static void put_room(const char *id, const char *status)
{
    struct live_room room = room_of(id, status);

    mirror_room_put(mirror, &room);
}

static void assert_key(const char *name, char type, int ttl, int count)
{
    struct fake_key *key = fake_find(name);

    assert_non_null(key);
    assert_int_equal(key->type, type);
    assert_int_equal(key->ttl, ttl);
    assert_int_equal(key->count, count);
}

static int keys_used(void)
{
    int count = 0;

    for (int i = 0; i < FAKE_KEYS; i++)
        count += fake.keys[i].type != 0;
    return count;
}

/* ---- keys ---- */

static void every_key_has_its_type_content_and_time_to_live(void **state)
{
    connect_fake();
    assert_true(mirror_is_synced(mirror));
    assert_int_equal(keys_used(), 0);
    put_room("room-1", "waiting");
    mirror_participant_put(mirror, "room-1", "user-1", "{\"userId\":\"user-1\"}");
    mirror_socket_put(mirror, "socket-1", "user-1");
    pump();
    assert_int_equal(worst, MIRROR_FINE);
    assert_true(mirror_is_synced(mirror));
    assert_key("room:room-1", 'h', 86400, 8);
    assert_string_equal(fake_value("room:room-1", "hostUserId"), "host-1");
    assert_string_equal(fake_value("room:room-1", "status"), "waiting");
    assert_string_equal(fake_value("room:room-1", "routerId"), "room-1");
    assert_string_equal(fake_value("room:room-1", "title"), "Büro \"A\"");
    assert_string_equal(fake_value("room:room-1", "roomCode"), "AAAA-BBBB-CCCC");
    assert_string_equal(fake_value("room:room-1", "maxParticipants"), "25");
    assert_string_equal(fake_value("room:room-1", "createdAt"), "1700000000000");
    assert_string_equal(fake_value("room:room-1", "instance"), INSTANCE);
    assert_key("room:room-1:participants", 'h', 86400, 1);
    assert_string_equal(fake_value("room:room-1:participants", "user-1"),
                        "{\"userId\":\"user-1\"}");
    assert_key("active_rooms", 's', -1, 1);
    assert_key("socket:user:socket-1", 't', 7200, 1);
    assert_string_equal(fake_value("socket:user:socket-1", ""), "user-1");
    assert_key("user:socket:user-1", 't', 7200, 1);
    assert_string_equal(fake_value("user:socket:user-1", ""), "socket-1");
    assert_key("ringcast:" INSTANCE ":rooms", 's', 86400, 1);
    assert_key("ringcast:" INSTANCE ":sockets", 'h', 86400, 1);
    assert_int_equal(keys_used(), 7);

    put_room("room-1", "active");
    pump();
    assert_string_equal(fake_value("room:room-1", "status"), "active");
    mirror_participant_put(mirror, "room-1", "user-2", "{}");
    mirror_participant_remove(mirror, "room-1", "user-1");
    pump();
    assert_key("room:room-1:participants", 'h', 86400, 1);
    assert_null(fake_value("room:room-1:participants", "user-1"));
    mirror_room_remove(mirror, "room-1");
    mirror_socket_remove(mirror, "socket-1");
    pump();
    assert_int_equal(keys_used(), 0);
    assert_true(mirror_is_synced(mirror));
}

static void many_changes_become_one_write(void **state)
{
    char json[32];
    long before;

    connect_fake();
    put_room("room-1", "active");
    pump();
    before = fake.commands;
    for (int i = 0; i < 1000; i++) {
        snprintf(json, sizeof(json), "{\"n\":%d}", i);
        mirror_participant_put(mirror, "room-1", "user-1", json);
        put_room("room-1", "active"); /* no change */
    }
    pump();
    assert_string_equal(fake_value("room:room-1:participants", "user-1"), "{\"n\":999}");
    assert_int_equal(fake.commands - before, 3); /* HSET and two EXPIREs */
    mirror_participant_put(mirror, "room-1", "user-1", "{\"n\":999}");
    assert_false(mirror_write(mirror, &commands));
}

/* A room, a participant and a socket are added and removed between two writes; then a room is
 * removed and added. */
static void only_the_latest_state_is_written(void **state)
{
    connect_fake();
    put_room("room-1", "active");
    mirror_participant_put(mirror, "room-1", "user-1", "{}");
    mirror_participant_remove(mirror, "room-1", "user-1");
    mirror_room_remove(mirror, "room-1");
    mirror_socket_put(mirror, "socket-1", "user-1");
    mirror_socket_remove(mirror, "socket-1");
    pump();
    assert_int_equal(keys_used(), 0);
    put_room("room-1", "active");
    mirror_participant_put(mirror, "room-1", "user-1", "{}");
    pump();
    mirror_room_remove(mirror, "room-1");
    put_room("room-1", "waiting");
    mirror_participant_put(mirror, "room-1", "user-2", "{}");
    pump();
    assert_string_equal(fake_value("room:room-1", "status"), "waiting");
    assert_key("room:room-1:participants", 'h', 86400, 1);
    assert_non_null(fake_value("room:room-1:participants", "user-2"));
}

static void a_user_with_two_sockets(void **state)
{
    connect_fake();
    mirror_socket_put(mirror, "a", "user-1");
    mirror_socket_put(mirror, "b", "user-1");
    pump();
    assert_string_equal(fake_value("user:socket:user-1", ""), "b");
    mirror_socket_remove(mirror, "b");
    pump();
    assert_string_equal(fake_value("user:socket:user-1", ""), "a");
    fake_set("user:socket:user-1", "on another node", 7200);
    mirror_socket_remove(mirror, "a");
    pump();
    assert_string_equal(fake_value("user:socket:user-1", ""), "on another node");
    assert_int_equal(keys_used(), 1);
}

/* ---- keys of the last run, and of other instances ---- */

static void keys_of_the_last_run_are_removed_and_those_of_others_stay(void **state)
{
    connect_fake();
    put_room("old", "active");
    put_room("taken over", "active");
    mirror_participant_put(mirror, "old", "user-1", "{}");
    mirror_socket_put(mirror, "socket-1", "user-1");
    mirror_socket_put(mirror, "socket-2", "user-2");
    pump();
    mirror_delete(mirror); /* kill -9 */
    fake_put(fake_find("room:taken over"), "instance", "another");
    fake_put(fake_get("room:theirs", 'h'), "instance", "another");
    fake_put(fake_get("active_rooms", 's'), "theirs", NULL);
    fake_set("user:socket:user-2", "theirs", 7200);
    mirror = mirror_new(INSTANCE);
    put_room("new", "active");
    connect_fake();
    assert_true(mirror_is_synced(mirror));
    assert_null(fake_find("room:old"));
    assert_null(fake_find("room:old:participants"));
    assert_null(fake_find("socket:user:socket-1"));
    assert_null(fake_find("socket:user:socket-2"));
    assert_null(fake_find("user:socket:user-1"));
    assert_non_null(fake_find("room:new"));
    assert_non_null(fake_find("room:taken over"));
    assert_non_null(fake_find("room:theirs"));
    assert_string_equal(fake_value("user:socket:user-2", ""), "theirs");
    assert_key("active_rooms", 's', -1, 3);
    assert_key("ringcast:" INSTANCE ":rooms", 's', 86400, 1);
    assert_null(fake_find("ringcast:" INSTANCE ":sockets"));
}

/* ---- refresh ---- */

static void a_refresh_renews_every_time_to_live(void **state)
{
    connect_fake();
    for (int i = 0; i < 3; i++) {
        char id[40];

        snprintf(id, sizeof(id), "room-%d", i);
        put_room(id, "active");
        mirror_participant_put(mirror, id, "user-1", "{}");
        mirror_socket_put(mirror, id, "user-1");
    }
    pump();
    for (int i = 0; i < FAKE_KEYS; i++)
        if (fake.keys[i].type && fake.keys[i].ttl > 0)
            fake.keys[i].ttl = 1;
    mirror_refresh(mirror);
    pump();
    assert_int_equal(worst, MIRROR_FINE);
    assert_true(mirror_is_synced(mirror));
    for (int i = 0; i < FAKE_KEYS; i++)
        if (fake.keys[i].type && fake.keys[i].ttl > 0)
            assert_true(fake.keys[i].ttl >= 7200);
    assert_false(mirror_write(mirror, &commands)); /* one refresh only */
}

static void missing_keys_are_found_and_written_again(void **state)
{
    static const char *const victims[] = {"room:room-1",
                                          "room:room-1:participants",
                                          "active_rooms",
                                          "socket:user:socket-1",
                                          "user:socket:user-1",
                                          "ringcast:" INSTANCE ":rooms",
                                          "ringcast:" INSTANCE ":sockets",
                                          NULL};

    connect_fake();
    put_room("room-1", "active");
    mirror_participant_put(mirror, "room-1", "user-1", "{}");
    mirror_socket_put(mirror, "socket-1", "user-1");
    pump();
    for (int i = 0; i < (int)(sizeof(victims) / sizeof(victims[0])); i++) {
        if (victims[i])
            assert_int_equal(fake_delete(victims[i]), 1);
        else
            fake_flush();
        mirror_refresh(mirror);
        pump();
        assert_int_equal(worst, MIRROR_DRIFTED);
        assert_false(mirror_is_synced(mirror));
        connect_fake();
        assert_true(mirror_is_synced(mirror));
        assert_int_equal(keys_used(), 7);
    }
    /* One participant too many is noticed as well. */
    fake_put(fake_find("room:room-1:participants"), "stranger", "{}");
    mirror_refresh(mirror);
    pump();
    assert_int_equal(worst, MIRROR_DRIFTED);
    connect_fake();
    assert_null(fake_value("room:room-1:participants", "stranger"));
}

static void a_full_redis_accepts_removals_and_later_the_rest(void **state)
{
    connect_fake();
    put_room("room-1", "active");
    mirror_socket_put(mirror, "socket-1", "user-1");
    pump();
    fake.is_full = true;
    put_room("room-2", "active");
    pump();
    assert_int_equal(worst, MIRROR_REFUSED);
    assert_true(strncmp(mirror_problem(mirror), "OOM", 3) == 0);
    assert_true(mirror_has_failed(mirror));
    mirror_room_remove(mirror, "room-1"); /* removed meanwhile */
    mirror_socket_remove(mirror, "socket-1");
    assert_false(mirror_write(mirror, &commands));
    connect_fake();
    assert_int_equal(worst, MIRROR_REFUSED);
    assert_null(fake_find("room:room-1")); /* a full Redis accepts removals */
    assert_null(fake_find("room:room-2"));
    fake.is_full = false;
    connect_fake();
    assert_true(mirror_is_synced(mirror));
    assert_non_null(fake_find("room:room-2"));
    assert_int_equal(keys_used(), 3);
}

/* ---- random changes and failures: in the end Redis has the content of the rooms ---- */

#define ROOMS 6
#define USERS 5
#define SOCKETS 8

static uint64_t seed;
static uint32_t chance(uint32_t below)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(seed >> 33) % below;
}

static struct {
    bool room[ROOMS], socket[SOCKETS];
    int version[ROOMS][USERS]; /* 0: not in the room */
    int newest[USERS];         /* socket, -1: none */
} wanted;

static void change(void)
{
    char room[40], user[40], socket[40], json[40];
    int r = (int)chance(ROOMS), u = (int)chance(USERS), s = (int)chance(SOCKETS);

    snprintf(room, sizeof(room), "room-%d", r);
    snprintf(user, sizeof(user), "user-%d", u);
    snprintf(socket, sizeof(socket), "socket-%d", s);
    switch (chance(8)) {
    case 0:
        if (chance(3) == 0) {
            mirror_room_remove(mirror, room);
            wanted.room[r] = false;
            memset(wanted.version[r], 0, sizeof(wanted.version[r]));
        }
        break;
    case 1:
        mirror_participant_remove(mirror, room, user);
        wanted.version[r][u] = 0;
        break;
    case 2:
        snprintf(user, sizeof(user), "user-%d", s % USERS); /* a socket has one user */
        if (wanted.socket[s]) {
            mirror_socket_remove(mirror, socket);
            wanted.socket[s] = false;
        } else {
            mirror_socket_put(mirror, socket, user);
            wanted.socket[s] = true;
        }
        break;
    default:
        put_room(room, "active");
        wanted.room[r] = true;
        wanted.version[r][u] = 1 + (int)chance(1000);
        snprintf(json, sizeof(json), "{\"v\":%d}", wanted.version[r][u]);
        mirror_participant_put(mirror, room, user, json);
    }
}

static void assert_wanted(void)
{
    char name[80], user[40], json[40];
    int rooms = 0, sockets = 0;

    for (int r = 0; r < ROOMS; r++) {
        int people = 0;

        for (int u = 0; u < USERS; u++) {
            if (!wanted.version[r][u])
                continue;
            people++;
            snprintf(name, sizeof(name), "room:room-%d:participants", r);
            snprintf(user, sizeof(user), "user-%d", u);
            snprintf(json, sizeof(json), "{\"v\":%d}", wanted.version[r][u]);
            assert_string_equal(fake_value(name, user), json);
        }
        snprintf(name, sizeof(name), "room:room-%d:participants", r);
        if (people)
            assert_key(name, 'h', 86400, people);
        else
            assert_null(fake_find(name));
        snprintf(name, sizeof(name), "room:room-%d", r);
        assert_int_equal(fake_find(name) != NULL, wanted.room[r]);
        rooms += wanted.room[r];
    }
    for (int s = 0; s < SOCKETS; s++) {
        snprintf(name, sizeof(name), "socket:user:socket-%d", s);
        assert_int_equal(fake_find(name) != NULL, wanted.socket[s]);
        sockets += wanted.socket[s];
    }
    for (int u = 0; u < USERS; u++) {
        bool any = false;

        for (int s = u; s < SOCKETS; s += USERS)
            any |= wanted.socket[s];
        snprintf(name, sizeof(name), "user:socket:user-%d", u);
        assert_int_equal(fake_find(name) != NULL, any);
    }
    if (rooms) {
        assert_key("active_rooms", 's', -1, rooms);
        assert_key("ringcast:" INSTANCE ":rooms", 's', 86400, rooms);
    } else {
        assert_null(fake_find("active_rooms"));
    }
    if (sockets)
        assert_key("ringcast:" INSTANCE ":sockets", 'h', 86400, sockets);
}

/* Some commands reach Redis, or the connection breaks, or Redis loses its keys or is full. */
static void connection_step(bool *up)
{
    if (!*up) {
        if (chance(4) != 0)
            return;
        mirror_start(mirror, &commands);
        *up = true;
    } else if (chance(20) == 0) {
        mirror_refresh(mirror);
    } else if (chance(60) == 0) {
        fake_flush();
    }
    fake.is_full = chance(40) == 0;
    for (uint32_t n = chance(4); n > 0 && mirror_write(mirror, &commands); n--)
        ;
    worst = MIRROR_FINE;
    if (!exchange(chance(10) == 0 ? (int)chance(20) : 1000000)) {
        fake_hang_up();
        mirror_stop(mirror);
        *up = false;
    } else if (mirror_has_failed(mirror)) {
        mirror_start(mirror, &commands);
        exchange(1000000);
    }
}

static void write_everything(bool *up)
{
    fake.is_full = false;
    for (int i = 0; i < 4; i++) { /* a refresh finds the keys that Redis lost */
        if (!*up || mirror_has_failed(mirror))
            connect_fake();
        *up = true;
        pump();
        mirror_refresh(mirror);
        pump();
    }
    assert_int_equal(worst, MIRROR_FINE);
    assert_true(mirror_is_synced(mirror));
}

static void after_random_changes_and_failures_redis_has_the_content_of_the_rooms(void **state)
{
    for (int round = 0; round < 300; round++) {
        bool up = false;

        seed = (uint64_t)round;
        memset(&wanted, 0, sizeof(wanted));
        for (int step = 0; step < 400; step++) {
            change();
            connection_step(&up);
        }
        write_everything(&up);
        assert_wanted();
        if (round % 2 == 0) { /* stopped; in the other rounds killed */
            for (int i = 0; i < ROOMS + SOCKETS; i++) {
                char name[40];

                snprintf(name, sizeof(name), i < ROOMS ? "room-%d" : "socket-%d",
                         i < ROOMS ? i : i - ROOMS);
                (i < ROOMS ? mirror_room_remove : mirror_socket_remove)(mirror, name);
            }
            pump();
            assert_int_equal(keys_used(), 0);
        }
        mirror_delete(mirror);
        mirror = mirror_new(INSTANCE);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_key_has_its_type_content_and_time_to_live),
        TEST(many_changes_become_one_write),
        TEST(only_the_latest_state_is_written),
        TEST(a_user_with_two_sockets),
        TEST(keys_of_the_last_run_are_removed_and_those_of_others_stay),
        TEST(a_refresh_renews_every_time_to_live),
        TEST(missing_keys_are_found_and_written_again),
        TEST(a_full_redis_accepts_removals_and_later_the_rest),
        TEST(after_random_changes_and_failures_redis_has_the_content_of_the_rooms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
