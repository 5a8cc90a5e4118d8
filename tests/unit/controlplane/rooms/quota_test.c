/* Limits belong to the user and to the address: a new socket renews nothing, and what is closed is
 * given back. Each attack has somebody beside it who may go on. */
#include "rooms_steps.h"

/* ---- how fast ---- */

static int passes(struct socket *s, int most)
{
    int count = 0;

    while (count < most &&
           strcmp(text_of(request(s, "room:leave", "{'roomId':'x'}"), "code"), "rate_limited") != 0)
        count++;
    return count;
}

static void a_new_socket_renews_no_budget(void **state)
{
    struct socket *s = connect_user(user(1)), *other = connect_user(user(2)), *second;
    int passed = 0;

    settings.rate_limit_events = 60;
    for (int i = 0; i < 300; i++) { /* DISCONNECT and CONNECT before each event */
        socket_lose(s);
        s = connect_user(user(1));
        passed += passes(s, 1);
    }
    second = connect_user(user(1));
    passed += passes(second, 1);
    next_ip = "2001:db8::9";
    socket_lose(second);
    second = connect_user(user(1));
    passed += passes(second, 1);
    next_ip = "192.0.2.7";
    print_message("# 302 sockets of one user, one event each: %d passed; of another user: %d\n",
                  passed, passes(other, 100));
    assert_int_equal(passed, 60);
    assert_int_equal(passes(other, 100), 0); /* it had its own 60 */
    assert_int_equal(audits[AUDIT_rate_limited], 2);
    settings.rate_limit_window_s = 1;
    wait_ms(1300);
    assert_int_equal(passes(s, 100), 60);
    socket_lose(second);
    socket_lose(other);
    socket_lose(s);
    WAIT_UNTIL(rooms->holders.count == 0);
}

static void many_users_of_one_address_share_its_budget(void **state)
{
    struct socket *s[6];
    int passed = 0;

    settings.rate_limit_events = 20;
    settings.users_per_address = 3;
    for (int i = 0; i < 6; i++) {
        s[i] = connect_user(user(i + 1));
        passed += passes(s[i], 30);
    }
    assert_int_equal(passed, 60);
    next_ip = "192.0.2.8";
    socket_lose(s[5]);
    s[5] = connect_user(user(7));
    assert_int_equal(passes(s[5], 30), 20);
    next_ip = "192.0.2.7";
    for (int i = 0; i < 6; i++)
        socket_lose(s[i]);
}

/* A late joiner of a large room takes every producer, with the default limit of 60 events. */
static void consuming_has_a_budget_that_grows_with_the_room(void **state)
{
    enum { PUBLISHERS = 50 };
    struct socket *host = connect_user(user(1)), *strange;
    const char *room = make_room(host);
    struct person people[PUBLISHERS], late;
    int consumed = 0, resumed = 0, paused = 0;

    for (int i = 0; i < PUBLISHERS; i++) {
        people[i] = enter(i + 2, room);
        publish(&people[i], room);
        skip_received(people[i].s);
    }
    settings.rate_limit_events = 60;
    late = enter(200, room);
    for (int i = 0; i < 2 * PUBLISHERS; i++) {
        const char *producer = i % 2 ? people[i / 2].video : people[i / 2].audio;
        const cJSON *ack = consume(late.s, room, late.recv, producer);
        const char *id = keep(text_of(ack, "id"));

        consumed += id[0] != '\0';
        ack = request(late.s, "media:resumeConsumer", "{'consumerId':'%s'}", id);
        resumed += cJSON_IsTrue(cJSON_GetObjectItem(ack, "resumed"));
    }
    for (int i = 0; i < 1000; i++) {
        const cJSON *ack = request(late.s, "media:pauseConsumer", "{'consumerId':'x'}");

        paused += strcmp(text_of(ack, "code"), "rate_limited") != 0;
    }
    print_message("# 60 events a minute, 100 producers: %d consumed, %d resumed, then %d of 1000\n",
                  consumed, resumed, paused);
    assert_int_equal(consumed, 2 * PUBLISHERS);
    assert_int_equal(resumed, 2 * PUBLISHERS);
    assert_int_equal(paused, 60 + 4 * 2 * PUBLISHERS - 4 * PUBLISHERS); /* 60 + 4 x 100 in all */
    assert_int_equal(passes(late.s, 100), 60 - 3); /* join and two transports: the other budget */
    strange = connect_user(user(201));             /* in no room: nothing to take */
    for (int i = 0; i < 60; i++)
        assert_code(request(strange, "media:pauseConsumer", "{'consumerId':'x'}"),
                    "consumer_not_found");
    assert_code(request(strange, "media:pauseConsumer", "{'consumerId':'x'}"), "rate_limited");
    assert_int_equal(passes(strange, 100), 60);
    for (int i = 0; i < PUBLISHERS; i++)
        socket_lose(people[i].s);
    socket_lose(strange);
    socket_lose(late.s);
    socket_lose(host);
}

/* ---- how many ---- */

static uint32_t held(const char *user_id, enum quota quota)
{
    struct owner owner;
    char why[QUOTA_WHY_BYTES];
    uint32_t most = quota == QUOTA_transports  ? settings.transports_per_user_max
                    : quota == QUOTA_producers ? settings.producers_per_user_max
                    : quota == QUOTA_consumers ? settings.consumers_per_user_max
                                               : settings.rooms_per_user_max;
    uint32_t n = 0;

    assert_true(owner_open(rooms, &owner, user_id, "198.51.100.1"));
    while (quota_take(rooms, &owner, quota, why))
        n++;
    quota_give_back(&owner, quota, n);
    owner_close(rooms, &owner);
    return most - n;
}

static void assert_limit(const cJSON *ack, const char *words)
{
    assert_code(ack, "limit_reached");
    if (strstr(text_of(ack, "message"), words) == NULL)
        fail_msg("%s: not in \"%s\"", words, text_of(ack, "message"));
}

static const cJSON *ask_transport(struct socket *s, const char *room)
{
    return request(s, "media:createTransport", "{'roomId':'%s','direction':'recv'}", room);
}

static void transports_are_counted_over_all_rooms_and_sockets(void **state)
{
    struct socket *host = connect_user(user(1)), *s[8];
    const char *room[8], *last = NULL;
    int made = 0, refused = 0;
    struct person other;

    for (int i = 0; i < 8; i++) {
        room[i] = make_room(host);
        s[i] = connect_user(user(2));
        assert_ok(request(s[i], "room:join", "{'roomId':'%s'}", room[i]));
    }
    for (int i = 0; i < 288; i++) {
        const cJSON *ack = ask_transport(s[i % 8], room[i % 8]);

        if (text_of(ack, "id")[0] != '\0')
            made++;
        else
            refused++;
        if (text_of(ack, "id")[0] != '\0')
            last = keep(text_of(ack, "id"));
    }
    print_message("# 288 transports of one user over 8 sockets and rooms: %d made, %d refused\n",
                  made, refused);
    assert_int_equal(made, 200);
    assert_limit(ask_transport(s[0], room[0]), "200 transports for one user; close one first");
    other = enter(3, room[0]); /* somebody else notices nothing */
    for (int i = 0; i < 126; i++)
        assert_ok(ask_transport(other.s, room[0]));
    assert_limit(ask_transport(other.s, room[0]), "128 transports");

    /* Closed, left, lost: each gives back. */
    assert_ok(request(s[7], "media:closeTransport", "{'transportId':'%s'}", last));
    assert_ok(ask_transport(s[0], room[0]));
    assert_limit(ask_transport(s[0], room[0]), "200");
    assert_ok(request(s[0], "room:leave", "{'roomId':'%s'}", room[0]));
    assert_int_equal(held(user(2), QUOTA_transports), 174);
    socket_lose(s[1]);
    assert_int_equal(held(user(2), QUOTA_transports), 174); /* the grace time runs */
    WAIT_UNTIL(held(user(2), QUOTA_transports) == 149);
    for (int i = 2; i < 8; i++)
        socket_lose(s[i]);
    socket_lose(s[0]);
    socket_lose(other.s);
    socket_lose(host);
    WAIT_UNTIL(held(user(2), QUOTA_transports) == 0 && held(user(2), QUOTA_seats) == 0);
    WAIT_UNTIL(held(user(3), QUOTA_transports) == 0);
}

static void producers_and_consumers_are_counted(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room1 = make_room(host), *room2 = make_room(host), *send2, *recv2, *consumer;
    struct person a = enter(2, room1), b = enter(3, room1);
    const cJSON *ack;

    settings.producers_per_user_max = 3;
    settings.consumers_per_user_max = 3;
    publish(&a, room1);
    assert_ok(request(a.s, "room:join", "{'roomId':'%s'}", room2));
    send2 = make_transport(a.s, room2, "send");
    recv2 = make_transport(a.s, room2, "recv");
    assert_ok(produce(a.s, room2, send2, "audio"));
    assert_limit(produce(a.s, room2, send2, "video"), "3 producers for one user");
    assert_ok(request(a.s, "media:closeProducer", "{'producerId':'%s'}", a.audio));
    assert_code(produce(a.s, room1, a.recv, "audio"), "wrong_direction"); /* takes nothing */
    assert_ok(produce(a.s, room2, send2, "video"));
    assert_limit(produce(a.s, room1, a.send, "audio"), "3 producers for one user");
    publish(&b, room1); /* another user */

    for (int i = 0; i < 3; i++) {
        ack = consume(a.s, room1, a.recv, i % 2 ? b.video : b.audio);
        assert_ok(ack);
        consumer = keep(text_of(ack, "id"));
    }
    (void)consumer;
    assert_limit(consume(a.s, room1, a.recv, b.audio), "3 consumers for one user");
    assert_code(consume(a.s, room2, recv2, b.audio), "producer_not_found");
    assert_ok(consume(b.s, room1, b.recv, a.video));
    assert_ok(request(b.s, "media:closeProducer", "{'producerId':'%s'}", b.audio));
    assert_int_equal(held(user(2), QUOTA_consumers), 1);
    assert_ok(consume(a.s, room1, a.recv, b.video));
    assert_ok(request(a.s, "media:closeTransport", "{'transportId':'%s'}", a.recv));
    assert_int_equal(held(user(2), QUOTA_consumers), 0);

    /* Another socket takes over: without media nothing is held but the seat. */
    socket_lose(b.s);
    b.s = connect_user(user(3));
    assert_ok(request(b.s, "room:join", "{'roomId':'%s'}", room1));
    assert_int_equal(held(user(3), QUOTA_producers), 0);
    assert_int_equal(held(user(3), QUOTA_transports), 0);
    assert_int_equal(held(user(3), QUOTA_seats), 1);
    socket_lose(a.s);
    socket_lose(b.s);
    socket_lose(host);
    WAIT_UNTIL(held(user(2), QUOTA_producers) == 0 && held(user(3), QUOTA_seats) == 0);
}

static void rooms_are_counted(void **state)
{
    struct socket *host = connect_user(user(1)), *other = connect_user(user(2)), *s;
    const char *room = NULL;
    int made = 0;

    settings.rooms_per_user_max = 20;
    for (int i = 0; i < 300; i++) {
        const cJSON *ack;

        s = connect_user(user(1));
        ack = request(s, "room:create", "{'title':'flood'}");
        made += text_of(ack, "roomId")[0] != '\0';
        if (text_of(ack, "roomId")[0] != '\0')
            room = keep(text_of(ack, "roomId"));
        else
            assert_limit(ack, "20 rooms that were created and not closed for one user");
        socket_lose(s);
    }
    print_message("# 300 rooms asked for: %d made\n", made);
    assert_int_equal(made, 20);
    assert_ok(request(other, "room:create", "{'title':'mine'}"));
    assert_ok(request(host, "room:join", "{'roomId':'%s'}", room));
    assert_ok(request(host, "room:close", "{'roomId':'%s'}", room));
    store_down = true; /* what fails takes nothing */
    assert_code(request(host, "room:create", "{'title':'x'}"), "unavailable");
    store_down = false;
    assert_code(request(host, "room:create", "{'title':''}"), "invalid_payload");
    assert_ok(request(host, "room:create", "{'title':'again'}"));
    assert_limit(request(host, "room:create", "{'title':'x'}"), "20 rooms");

    /* A user is in at most as many rooms. */
    settings.rooms_per_user_max = 1;
    assert_ok(request(other, "room:join", "{'roomId':'%s'}", meetings[0].id));
    assert_limit(request(other, "room:join", "{'roomId':'%s'}", meetings[1].id),
                 "1 rooms at the same time for one user; leave one first");
    assert_ok(request(other, "room:leave", "{'roomId':'%s'}", meetings[0].id));
    assert_ok(request(other, "room:join", "{'roomId':'%s'}", meetings[1].id));
    socket_lose(other);
    socket_lose(host);
}

static void an_address_never_gets_everything(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);
    struct person a = enter(2, room), b, c, d;

    settings.transports_per_user_max = 4;
    settings.users_per_address = 2;
    b = enter(3, room);
    assert_ok(ask_transport(a.s, room));
    assert_ok(ask_transport(a.s, room));
    assert_ok(ask_transport(b.s, room));
    assert_limit(ask_transport(a.s, room), "4 transports for one user");
    c.s = connect_user(user(4));
    assert_ok(request(c.s, "room:join", "{'roomId':'%s'}", room));
    assert_ok(ask_transport(c.s, room));
    assert_limit(ask_transport(c.s, room), "8 transports for one address");
    next_ip = "192.0.2.99";
    d.s = connect_user(user(5));
    assert_ok(request(d.s, "room:join", "{'roomId':'%s'}", room));
    for (int i = 0; i < 4; i++)
        assert_ok(ask_transport(d.s, room));

    /* Somebody moves to another network and takes everything along. */
    socket_lose(a.s);
    a.s = connect_user(user(2));
    assert_ok(request(a.s, "room:join", "{'roomId':'%s','resume':true}", room));
    assert_ok(ask_transport(c.s, room)); /* the first address has room again */
    assert_limit(ask_transport(a.s, room), "4 transports for one user");
    settings.transports_per_user_max = 100; /* 1 % of the table: 327 */
    settings.users_per_address = 250;
    settings.address_share_percent = 1;
    settings.transports_per_participant_max = 1000;
    settings.transports_per_user_max = 1000;
    for (int i = 8; i < 327; i++)
        assert_ok(ask_transport(a.s, room));
    assert_limit(ask_transport(a.s, room), "327 transports for one address");
    next_ip = "192.0.2.7";
    socket_lose(a.s);
    socket_lose(b.s);
    socket_lose(c.s);
    socket_lose(d.s);
    socket_lose(host);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_new_socket_renews_no_budget),
        T(many_users_of_one_address_share_its_budget),
        T(consuming_has_a_budget_that_grows_with_the_room),
        T(transports_are_counted_over_all_rooms_and_sockets),
        T(producers_and_consumers_are_counted),
        T(rooms_are_counted),
        T(an_address_never_gets_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
