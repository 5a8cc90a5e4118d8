/* One id has one spelling inside: a client that writes ids in upper case, and room codes in lower
 * case, without hyphens and with spaces around, reaches the same room and the same objects. */
#include "rooms_steps.h"

#include <ctype.h>

/* The id in upper case, with a space before and after it. */
static const char *loud(const char *id)
{
    static char texts[8][64];
    static int next;
    char *text = texts[next++ % 8];

    snprintf(text, sizeof(texts[0]), " %s ", id);
    for (char *c = text; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return text;
}

static int open_rooms(void)
{
    struct room *room;
    int count = 0;

    TAILQ_FOREACH(room, &rooms->all, link)
    count++;
    return count;
}

/* The guest names the room in every way that people do. There is never a second room, and the guest
 * who leaves does not end the meeting. */
static void a_room_is_found_by_every_spelling(void **state)
{
    struct socket *host = connect_user(user(1)), *guest = connect_user(user(2));
    const char *room = make_room(host);
    char code[ROOM_CODE_BYTES], plain[ROOM_CODE_BYTES] = "", spaced[32];
    const char *spellings[] = {room, loud(room), code, plain, spaced};
    int joined = 0;

    snprintf(code, sizeof(code), "%s", meeting_of(room)->room_code);
    for (const char *at = code; *at; at++) {
        if (*at != '-')
            plain[strlen(plain)] = (char)tolower((unsigned char)*at);
    }
    snprintf(spaced, sizeof(spaced), "  %.4s %.4s\t%.4s ", plain, plain + 4, plain + 8);
    for (int with_host = 0; with_host <= 1; with_host++) {
        if (with_host)
            assert_ok(request(host, "room:join", "{'roomId':'%s'}", room));
        for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
            const cJSON *ack = request(guest, "room:join", "{'roomId':'%s'}", spellings[i]);

            assert_ok(ack);
            assert_string_equal(text_of(ack, "roomId"), room);
            assert_int_equal(open_rooms(), 1);
            assert_ok(request(host, "room:join", "{'roomId':'%s'}", room));
            assert_ok(request(guest, "room:leave", "{'roomId':'%s'}", spellings[i]));
            assert_int_equal(rooms_participant_count(rooms, spellings[i]), 1);
            assert_string_equal(meeting_of(room)->status, "active");
            joined++;
        }
    }
    print_message("# %d joins with 5 spellings of one room: 1 room is open\n", joined);
    assert_code(request(guest, "room:join", "{'roomId':'%.35s'}", room), "room_not_found");
    assert_code(request(guest, "room:join", "{'roomId':'%sA'}", plain), "room_not_found");
    socket_lose(guest);
    socket_lose(host);
}

/* Two joins with two spellings of a room that is not open yet, at the same time. */
static void two_spellings_at_once_open_one_room(void **state)
{
    struct socket *host = connect_user(user(1)), *guest = connect_user(user(2));
    const char *room = make_room(host), *names[] = {room, loud(room)};
    struct socket *sockets[] = {host, guest};

    for (int i = 0; i < 2; i++) {
        cJSON *payload = cJSON_CreateObject(), *args = cJSON_CreateArray();

        cJSON_AddStringToObject(payload, "roomId", names[i]);
        cJSON_AddItemToArray(args, payload);
        rooms_socket_handlers.event(sockets[i], "room:join", args, 1);
        cJSON_Delete(args);
    }
    pump();
    assert_ok(host->ack);
    assert_ok(guest->ack);
    assert_int_equal(open_rooms(), 1);
    assert_int_equal(rooms_participant_count(rooms, room), 2);
    socket_lose(guest);
    socket_lose(host);
}

/* Every event that names something by its id. */
static void every_id_is_found_in_upper_case(void **state)
{
    struct socket *host = connect_user(user(0xabc));
    const char *room = make_room(host), *consumer;
    struct person a = enter(0xabc, room), b = enter(0xdef, room);
    const char *loud_room = keep(loud(room));
    const cJSON *ack;

    publish(&a, room);
    assert_ok(request(a.s, "media:getRouterCapabilities", "{'roomId':'%s'}", loud_room));
    assert_ok(request(a.s, "media:connectTransport",
                      "{'transportId':'%s','dtlsParameters':{'role':'client','fingerprints':"
                      "[{'algorithm':'sha-256','value':'" FINGERPRINT "'}]}}",
                      loud(a.send)));
    assert_ok(request(a.s, "media:restartIce", "{'transportId':'%s'}", loud(a.send)));
    ack = consume(b.s, loud_room, loud(b.recv), loud(a.audio));
    assert_ok(ack);
    consumer = keep(text_of(ack, "id"));
    assert_string_equal(text_of(ack, "producerId"), a.audio);
    assert_ok(request(b.s, "media:resumeConsumer", "{'consumerId':'%s'}", loud(consumer)));
    assert_ok(request(b.s, "media:pauseConsumer", "{'consumerId':'%s'}", loud(consumer)));
    assert_ok(request(b.s, "media:getStats", "{'consumerId':'%s'}", loud(consumer)));
    assert_ok(request(a.s, "media:getStats", "{'producerId':'%s'}", loud(a.audio)));
    assert_ok(request(a.s, "media:getStats", "{'transportId':'%s'}", loud(a.send)));
    assert_ok(request(a.s, "media:pauseProducer", "{'producerId':'%s'}", loud(a.audio)));
    assert_ok(request(a.s, "media:resumeProducer", "{'producerId':'%s'}", loud(a.audio)));
    assert_ok(request(a.s, "media:closeProducer", "{'roomId':'%s','producerId':'%s'}", loud_room,
                      loud(a.audio)));
    assert_ok(request(a.s, "media:closeTransport", "{'transportId':'%s'}", loud(a.send)));
    assert_ok(request(a.s, "room:muteAll", "{'roomId':'%s'}", loud_room));
    assert_ok(request(a.s, "room:changeRole",
                      "{'roomId':'%s','targetUserId':'%s','newRole':'co_host'}", loud_room,
                      loud(b.id)));
    assert_ok(
        request(a.s, "room:kick", "{'roomId':'%s','targetUserId':'%s'}", loud_room, loud(b.id)));
    assert_code(
        request(a.s, "room:kick", "{'roomId':'%s','targetUserId':'%s'}", loud_room, loud(b.id)),
        "user_not_found");
    assert_ok(request(a.s, "room:close", "{'roomId':'%s'}", loud_room));
    socket_lose(b.s);
    socket_lose(a.s);
    socket_lose(host);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_room_is_found_by_every_spelling),
        T(two_spellings_at_once_open_one_room),
        T(every_id_is_found_in_upper_case),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
