/* Threat C7: a socket whose user was deactivated, whose token expired or whose key was withdrawn is
 * closed in time, among thousands of sockets, and no other socket is. */
#include <math.h>

#include "rooms_steps.h"

/* Every session is due now; verifies those whose turn it is. */
static void verify_all(void)
{
    struct session *session;

    uv_update_time(&loop);
    TAILQ_FOREACH(session, &rooms->sessions, link)
    session->verified_ms = uv_now(&loop) - REVERIFY_MS;
    lookups = 0;
    sessions_reverify(rooms);
    pump();
}

static void deactivated_users_are_disconnected(void **state)
{
    struct socket *a = connect_user(user(1)), *b = connect_user(user(2));
    const char *room = make_room(a);

    assert_ok(request(a, "room:join", "{'roomId':'%s'}", room));
    assert_ok(request(b, "room:join", "{'roomId':'%s'}", room));
    skip_received(a);
    auth_answer = AUTH_UNAVAILABLE; /* while the store is down nobody is disconnected */
    verify_all();
    assert_true(a->open && b->open);
    assert_int_equal(lookups, 1); /* one per tick is enough for two sockets */
    verify_all();
    assert_true(a->open && b->open);
    auth_answer = -1;
    strcpy(deactivated, user(2));
    while (b->open)
        verify_all();
    assert_true(a->open);
    received(a, "room:userLeft"); /* at once: there is no grace time for this user */
    socket_lose(a);
    socket_lose(b);
}

/* Nothing but the timer of the rooms is at work here. */
static void the_timer_verifies(void **state)
{
    struct socket *a = connect_user(user(1)), *b = connect_user(user(2));

    strcpy(deactivated, user(2));
    WAIT_UNTIL(!b->open);
    assert_true(a->open);
    assert_true(lookups >= 1);
    socket_lose(a);
    socket_lose(b);
}

static struct participant *participant_of(const char *room, const char *user_id)
{
    struct room *found = room_find(rooms, room);

    return found != NULL ? participant_find(found, user_id) : NULL;
}

/* The socket goes, the participant stays for the grace time, and a socket with a fresh token takes
 * its place. */
static void expired_tokens_close_the_socket_only(void **state)
{
    struct socket *a = connect_user(user(1)), *brief, *fresh;
    const char *room = make_room(a);
    uint64_t began_ms = uv_now(&loop), open_ms;

    assert_ok(request(a, "room:join", "{'roomId':'%s'}", room));
    token_life_ms = 500;
    brief = connect_user(user(2));
    assert_ok(request(brief, "room:join", "{'roomId':'%s'}", room));
    skip_received(a);
    auth_answer = AUTH_UNAVAILABLE; /* this needs no store */
    while (brief->open) {
        wait_ms(10);
        verify_all();
    }
    open_ms = uv_now(&loop) - began_ms;
    print_message("# a token of 500 ms: the socket was open for %u ms\n", (unsigned)open_ms);
    assert_true(open_ms >= 500);
    assert_true(a->open);
    assert_false(brief->disconnected); /* a stock client connects again by itself */
    assert_int_equal(a->received_count, a->received_read); /* nobody has left */
    assert_non_null(participant_of(room, user(2)));
    auth_answer = -1;
    token_life_ms = 3600000;
    fresh = connect_user(user(2));
    assert_ok(request(fresh, "room:join", "{'roomId':'%s','resume':true}", room));
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(fresh->ack, "resumed")));
    assert_int_equal(a->received_count, a->received_read);
    socket_lose(a);
    socket_lose(brief);
    socket_lose(fresh);
}

static unsigned announcements(struct socket *socket)
{
    unsigned count = 0;

    for (int i = 0; i < socket->received_count; i++)
        count += !strcmp(socket->received[i].name, "auth:expiring");
    return count;
}

static void the_end_of_a_token_is_announced_once(void **state)
{
    struct socket *brief, *a;
    const cJSON *value;
    double expires_at;

    token_life_ms = 3600000;
    a = connect_user(user(1));
    verify_all();
    assert_int_equal(announcements(a), 0);
    token_life_ms = EXPIRY_NOTICE_MS + 200; /* half of it is less than the notice */
    brief = connect_user(user(2));
    ((struct session *)a->data)->announce_expiry_ms = uv_now(&loop);
    verify_all();
    assert_int_equal(announcements(brief), 0);
    assert_int_equal(announcements(a), 1);
    verify_all();
    assert_int_equal(announcements(a), 1);
    received(a, "authenticated");
    value = received(a, "auth:expiring");
    expires_at = cJSON_GetNumberValue(cJSON_GetObjectItem(value, "expiresAt"));
    assert_true(fabs(expires_at - (double)wall_ms() - 3600000) < 60000);
    /* half of a short life, 60 s of a long one */
    assert_true(((struct session *)brief->data)->token_until_ms -
                    ((struct session *)brief->data)->announce_expiry_ms ==
                token_life_ms / 2);
    token_life_ms = 86400000;
    assert_ok(request(brief, "auth:refresh", "{'token':'%s'}", user(2)));
    assert_true(((struct session *)brief->data)->token_until_ms -
                    ((struct session *)brief->data)->announce_expiry_ms ==
                EXPIRY_NOTICE_MS);
    socket_lose(a);
    socket_lose(brief);
}

static void a_fresh_token_keeps_the_socket(void **state)
{
    struct socket *a;
    struct session *session;

    token_life_ms = 500;
    a = connect_user(user(1));
    session = a->data;
    /* the token of somebody else, a bad token, no answer of the store: nothing changes */
    token_life_ms = 3600000;
    assert_code(request(a, "auth:refresh", "{'token':'%s'}", user(2)), "invalid_token");
    assert_code(request(a, "auth:refresh", "{'token':'x'}"), "invalid_token");
    assert_code(request(a, "auth:refresh", "{}"), "invalid_payload");
    auth_answer = AUTH_UNAVAILABLE;
    assert_code(request(a, "auth:refresh", "{'token':'%s'}", user(1)), "unavailable");
    auth_answer = -1;
    token_life_ms = 0; /* expired while the store looked the user up */
    assert_code(request(a, "auth:refresh", "{'token':'%s'}", user(1)), "invalid_token");
    assert_true(session->token_until_ms <= uv_now(&loop) + 500);

    token_life_ms = 3600000;
    assert_ok(request(a, "auth:refresh", "{'token':'%s'}", user(1)));
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(a->ack, "expiresAt")) >
                (double)wall_ms() + 3500000);
    wait_ms(600);
    verify_all();
    assert_true(a->open);
    socket_lose(a);
}

static void after_new_keys_signatures_are_verified_again(void **state)
{
    struct socket *a = connect_user(user(1));

    verify_all();
    assert_int_equal(lookups, 1); /* only the user is looked up */
    fake_keys_version++;
    verify_all();
    assert_true(a->open); /* the key still counts */
    fake_keys_version++;
    key_is_withdrawn = true;
    verify_all();
    assert_int_equal(lookups, 0);
    assert_false(a->open);
    assert_true(a->disconnected);
    socket_lose(a);
}

/* Thousands of sockets are due in the same moment, and there
 * are 5 s minus REVERIFY_MS left for them. */
static void thousands_are_verified_in_time(void **state)
{
    enum { MANY = 4000, TICKS = (5000 - REVERIFY_MS) / TICK_MS };
    static struct socket *sockets[MANY];
    struct session *session;
    uint32_t open = 0, ticks = 0;

    for (int i = 0; i < MANY; i++)
        sockets[i] = connect_user(user(i % 200));
    strcpy(deactivated, user(199));
    uv_update_time(&loop);
    TAILQ_FOREACH(session, &rooms->sessions, link)
    session->verified_ms = uv_now(&loop) - REVERIFY_MS;
    lookups = 0;
    while (sockets[MANY - 1]->open && ticks < 100) {
        sessions_reverify(rooms);
        pump();
        ticks++;
        assert_true(lookups <= ticks * REVERIFY_PER_TICK_MAX);
    }
    print_message("# the last of %d was disconnected after %u of %d ticks\n", MANY, ticks, TICKS);
    assert_true(ticks <= TICKS);
    for (int i = 0; i < MANY; i++)
        open += sockets[i]->open;
    assert_int_equal(open, MANY - MANY / 200);
    lookups = 0; /* nobody is due again yet */
    sessions_reverify(rooms);
    assert_int_equal(lookups, 0);
    for (int i = 0; i < MANY; i++)
        socket_lose(sockets[i]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(deactivated_users_are_disconnected),   T(the_timer_verifies),
        T(expired_tokens_close_the_socket_only), T(the_end_of_a_token_is_announced_once),
        T(a_fresh_token_keeps_the_socket),       T(after_new_keys_signatures_are_verified_again),
        T(thousands_are_verified_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
