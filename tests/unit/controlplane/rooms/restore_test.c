/* A restart of the control plane ends no meeting: clients are not told to stay away, and rooms that
 * people may come back to are open again. */
#include "rooms_steps.h"

/* Stops the control plane; the store keeps the meetings. */
static void stop(void)
{
    rooms_close(rooms);
    pump();
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(audit_holds, 0);
}

static void start(void)
{
    char why[192];

    rooms = rooms_open(&loop, &settings, NULL, NULL, NULL, NULL, why);
    assert_non_null(rooms);
    pump();
}

static void wait_for_grace(void)
{
    wait_ms(settings.reconnect_grace_s * 1000 + 2 * TICK_MS + 50);
}

/* The same for everybody who was there: no event, no DISCONNECT. */
static void assert_unaware(struct socket *s)
{
    received_nothing(s);
    assert_true(s->open); /* socket_disconnect was not called */
    s->open = false;      /* the transport closes */
    socket_unref(s);
}

static void a_meeting_goes_on_after_a_restart(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host), *other = make_room(host);
    struct person a = enter(1, room), b = enter(2, room), c = enter(3, other);
    int64_t started_ms;
    const cJSON *ack;

    publish(&a, room);
    assert_ok(request(b.s, "media:createTransport", "{'roomId':'%s','direction':'send'}", room));
    started_ms = meeting_of(room)->started_ms;
    skip_received(host);
    skip_received(a.s);
    skip_received(b.s);
    skip_received(c.s);
    stop();
    assert_unaware(host);
    assert_unaware(a.s);
    assert_unaware(b.s);
    assert_unaware(c.s);
    for (int table = 0; table < 4; table++)
        assert_int_equal(fake_used(table), 0);
    assert_string_equal(meeting_of(room)->status, "active");
    assert_string_equal(meeting_of(other)->status, "waiting");
    assert_int_equal(audits[AUDIT_room_closed], 0);
    assert_int_equal(audits[AUDIT_user_left], 3);

    start();
    assert_non_null(room_find(rooms, room)); /* open before anybody comes */
    assert_null(room_find(rooms, other));    /* its host never came: it waits in the store */
    b.s = connect_user(user(2));
    ack = request(b.s, "room:join", "{'roomId':'%s','resume':true}", room); /* before the host */
    assert_ok(ack);
    assert_string_equal(text_of(ack, "role"), "participant");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(ack, "resumed")));
    a.s = connect_user(user(1));
    ack = request(a.s, "room:join", "{'roomId':'%s'}", room);
    assert_string_equal(text_of(ack, "role"), "host");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(ack, "participants")), 2);
    c.s = connect_user(user(3));
    assert_ok(request(c.s, "room:join", "{'roomId':'%s'}", other));
    wait_for_grace();
    assert_ok(request(a.s, "media:getRouterCapabilities", "{'roomId':'%s'}", room));
    assert_string_equal(meeting_of(room)->status, "active");
    assert_int_equal(meeting_of(room)->started_ms, started_ms);

    /* Later it ends as always, when the last one leaves. */
    assert_ok(request(a.s, "room:leave", "{'roomId':'%s'}", room));
    assert_string_equal(meeting_of(room)->status, "active");
    assert_ok(request(b.s, "room:leave", "{'roomId':'%s'}", room));
    assert_string_equal(meeting_of(room)->status, "closed");
    assert_int_equal(audits[AUDIT_room_closed], 1);
    assert_code(request(b.s, "room:join", "{'roomId':'%s'}", room), "room_closed");
    socket_lose(a.s);
    socket_lose(b.s);
    socket_lose(c.s);
}

static void a_meeting_that_nobody_comes_back_to_is_closed(void **state)
{
    struct socket *host = connect_user(user(1)), *guest;
    const char *empty = make_room(host), *visited = make_room(host);

    assert_ok(request(host, "room:join", "{'roomId':'%s'}", empty));
    assert_ok(request(host, "room:join", "{'roomId':'%s'}", visited));
    stop();
    socket_unref(host);
    start();
    stop(); /* at once again: still nothing is lost */
    start();
    assert_string_equal(meeting_of(empty)->status, "active");
    guest = connect_user(user(2));
    assert_ok(request(guest, "room:join", "{'roomId':'%s'}", visited));
    assert_ok(request(guest, "room:leave", "{'roomId':'%s'}", visited));
    assert_string_equal(meeting_of(visited)->status, "active"); /* the host may come back */
    wait_for_grace();
    assert_string_equal(meeting_of(empty)->status, "closed");
    assert_string_equal(meeting_of(visited)->status, "closed");
    assert_int_equal(audits[AUDIT_room_closed], 2);
    assert_true(TAILQ_EMPTY(&rooms->all));
    socket_lose(guest);
}

/* The grace time begins when the database answers: before that nobody can come back. */
static void the_database_is_down_at_the_start(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);

    assert_ok(request(host, "room:join", "{'roomId':'%s'}", room));
    stop();
    socket_unref(host);
    store_down = true;
    start();
    wait_for_grace();
    assert_null(room_find(rooms, room));
    store_down = false;
    WAIT_UNTIL(room_find(rooms, room) != NULL);
    assert_string_equal(meeting_of(room)->status, "active");
    host = connect_user(user(1));
    assert_string_equal(text_of(request(host, "room:join", "{'roomId':'%s'}", room), "role"),
                        "host");
    wait_for_grace();
    assert_ok(request(host, "media:getRouterCapabilities", "{'roomId':'%s'}", room));
    socket_lose(host);
}

/* A join that comes before the store has named the room, and one that fails. */
static void a_join_may_come_first(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);

    assert_ok(request(host, "room:join", "{'roomId':'%s'}", room));
    stop();
    socket_unref(host);
    store_down = true;
    start();
    store_down = false;
    settings.room_participants_max = 0;
    host = connect_user(user(1));
    assert_code(request(host, "room:join", "{'roomId':'%s'}", room), "room_full");
    assert_non_null(room_find(rooms, room)); /* it is closed later: somebody must look after it */
    settings.room_participants_max = 100;
    assert_ok(request(host, "room:join", "{'roomId':'%s'}", room));
    wait_for_grace();
    assert_int_equal(rooms_participant_count(rooms, room), 1);
    socket_lose(host);
    WAIT_UNTIL(!strcmp(meeting_of(room)->status, "closed"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_meeting_goes_on_after_a_restart),
        T(a_meeting_that_nobody_comes_back_to_is_closed),
        T(the_database_is_down_at_the_start),
        T(a_join_may_come_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
