/* The mirror: what it writes key by key, and that it converges whatever is lost on the way. */
#include "fake_redis.h"

#include "controlplane/live/mirror.h"

#define INSTANCE "11111111-1111-4111-8111-111111111111"

static struct mirror *mirror;
static struct commands commands;
static enum mirror_result worst; /* of the last talk */

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

/* ---- talking ---- */

/* Sends what is gathered; the line breaks after `most` commands. */
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

static void server_is_up(void)
{
    mirror_start(mirror, &commands);
    exchange(1000000);
    pump();
}

/* ---- what should be, as the test knows it ---- */

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

/* ---- key by key ---- */

static void test_keys(void **state)
{
    server_is_up();
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

static void test_one_write_for_many_changes(void **state)
{
    char json[32];
    long before;

    server_is_up();
    put_room("room-1", "active");
    pump();
    before = fake.commands;
    for (int i = 0; i < 1000; i++) {
        snprintf(json, sizeof(json), "{\"n\":%d}", i);
        mirror_participant_put(mirror, "room-1", "user-1", json);
        put_room("room-1", "active"); /* nothing new */
    }
    pump();
    assert_string_equal(fake_value("room:room-1:participants", "user-1"), "{\"n\":999}");
    assert_int_equal(fake.commands - before, 3); /* HSET and two EXPIREs */
    mirror_participant_put(mirror, "room-1", "user-1", "{\"n\":999}");
    assert_false(mirror_write(mirror, &commands));
}

/* In and out again before it was ever written; out and in again. */
static void test_back_and_forth(void **state)
{
    server_is_up();
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

static void test_two_sockets_of_one_user(void **state)
{
    server_is_up();
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

/* ---- ghosts, and rooms of others ---- */

static void test_ghosts_of_an_earlier_life(void **state)
{
    server_is_up();
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
    server_is_up();
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

/* ---- refresh and drift ---- */

static void test_refresh(void **state)
{
    server_is_up();
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
    assert_false(mirror_write(mirror, &commands)); /* one pass, not for ever */
}

static void test_what_is_missing_comes_back(void **state)
{
    static const char *const victims[] = {"room:room-1",
                                          "room:room-1:participants",
                                          "active_rooms",
                                          "socket:user:socket-1",
                                          "user:socket:user-1",
                                          "ringcast:" INSTANCE ":rooms",
                                          "ringcast:" INSTANCE ":sockets",
                                          NULL};

    server_is_up();
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
        server_is_up();
        assert_true(mirror_is_synced(mirror));
        assert_int_equal(keys_used(), 7);
    }
    /* One participant less or more than there should be is noticed as well. */
    fake_put(fake_find("room:room-1:participants"), "ghost", "{}");
    mirror_refresh(mirror);
    pump();
    assert_int_equal(worst, MIRROR_DRIFTED);
    server_is_up();
    assert_null(fake_value("room:room-1:participants", "ghost"));
}

static void test_a_full_redis(void **state)
{
    server_is_up();
    put_room("room-1", "active");
    mirror_socket_put(mirror, "socket-1", "user-1");
    pump();
    fake.is_full = true;
    put_room("room-2", "active");
    pump();
    assert_int_equal(worst, MIRROR_REFUSED);
    assert_true(strncmp(mirror_problem(mirror), "OOM", 3) == 0);
    assert_true(mirror_has_failed(mirror));
    mirror_room_remove(mirror, "room-1"); /* what goes meanwhile */
    mirror_socket_remove(mirror, "socket-1");
    assert_false(mirror_write(mirror, &commands));
    server_is_up();
    assert_int_equal(worst, MIRROR_REFUSED);
    assert_null(fake_find("room:room-1")); /* removing was allowed */
    assert_null(fake_find("room:room-2"));
    fake.is_full = false;
    server_is_up();
    assert_true(mirror_is_synced(mirror));
    assert_non_null(fake_find("room:room-2"));
    assert_int_equal(keys_used(), 3);
}

/* ---- whatever happens: the content is that of the rooms in the end ---- */

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
    int version[ROOMS][USERS]; /* 0: not in there */
    int newest[USERS];         /* socket, -1: none */
} truth;

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
            truth.room[r] = false;
            memset(truth.version[r], 0, sizeof(truth.version[r]));
        }
        break;
    case 1:
        mirror_participant_remove(mirror, room, user);
        truth.version[r][u] = 0;
        break;
    case 2:
        snprintf(user, sizeof(user), "user-%d", s % USERS); /* a socket belongs to one user */
        if (truth.socket[s]) {
            mirror_socket_remove(mirror, socket);
            truth.socket[s] = false;
        } else {
            mirror_socket_put(mirror, socket, user);
            truth.socket[s] = true;
        }
        break;
    default:
        put_room(room, "active");
        truth.room[r] = true;
        truth.version[r][u] = 1 + (int)chance(1000);
        snprintf(json, sizeof(json), "{\"v\":%d}", truth.version[r][u]);
        mirror_participant_put(mirror, room, user, json);
    }
}

static void assert_truth(void)
{
    char name[80], user[40], json[40];
    int rooms = 0, sockets = 0;

    for (int r = 0; r < ROOMS; r++) {
        int people = 0;

        for (int u = 0; u < USERS; u++) {
            if (!truth.version[r][u])
                continue;
            people++;
            snprintf(name, sizeof(name), "room:room-%d:participants", r);
            snprintf(user, sizeof(user), "user-%d", u);
            snprintf(json, sizeof(json), "{\"v\":%d}", truth.version[r][u]);
            assert_string_equal(fake_value(name, user), json);
        }
        snprintf(name, sizeof(name), "room:room-%d:participants", r);
        if (people)
            assert_key(name, 'h', 86400, people);
        else
            assert_null(fake_find(name));
        snprintf(name, sizeof(name), "room:room-%d", r);
        assert_int_equal(fake_find(name) != NULL, truth.room[r]);
        rooms += truth.room[r];
    }
    for (int s = 0; s < SOCKETS; s++) {
        snprintf(name, sizeof(name), "socket:user:socket-%d", s);
        assert_int_equal(fake_find(name) != NULL, truth.socket[s]);
        sockets += truth.socket[s];
    }
    for (int u = 0; u < USERS; u++) {
        bool any = false;

        for (int s = u; s < SOCKETS; s += USERS)
            any |= truth.socket[s];
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

/* One step of the line's life: some of what is to be written goes through, or the line breaks. */
static void live_a_little(bool *up)
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

static void settle(bool *up)
{
    fake.is_full = false;
    for (int i = 0; i < 4; i++) { /* a refresh may find what a flush took */
        if (!*up || mirror_has_failed(mirror))
            server_is_up();
        *up = true;
        pump();
        mirror_refresh(mirror);
        pump();
    }
    assert_int_equal(worst, MIRROR_FINE);
    assert_true(mirror_is_synced(mirror));
}

static void test_converges(void **state)
{
    for (int round = 0; round < 300; round++) {
        bool up = false;

        seed = (uint64_t)round;
        memset(&truth, 0, sizeof(truth));
        for (int step = 0; step < 400; step++) {
            change();
            live_a_little(&up);
        }
        settle(&up);
        assert_truth();
        if (round % 2 == 0) { /* ends in peace, or is killed */
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
        TEST(test_keys),
        TEST(test_one_write_for_many_changes),
        TEST(test_back_and_forth),
        TEST(test_two_sockets_of_one_user),
        TEST(test_ghosts_of_an_earlier_life),
        TEST(test_refresh),
        TEST(test_what_is_missing_comes_back),
        TEST(test_a_full_redis),
        TEST(test_converges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
