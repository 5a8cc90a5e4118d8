/* Threat C7: a socket whose user was deactivated, whose token expired or whose key was withdrawn is
 * disconnected in time, among thousands of sockets, and no other socket is. */
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

static void expired_tokens_disconnect(void **state)
{
    struct socket *long_lived = connect_user(user(1)), *brief;
    int64_t expires_ms;

    token_life_s = 2;
    brief = connect_user(user(2));
    expires_ms = ((struct session *)brief->data)->token_expires_s * 1000;
    auth_answer = AUTH_UNAVAILABLE; /* this needs no store */
    while (brief->open) {
        wait_ms(10);
        verify_all();
    }
    assert_true((int64_t)(clock_wall_ns() / NS_PER_MS) >= expires_ms);
    assert_true(long_lived->open);
    socket_lose(long_lived);
    socket_lose(brief);
}

static void after_new_keys_tokens_are_verified_again(void **state)
{
    struct socket *a = connect_user(user(1));

    verify_all();
    assert_int_equal(lookups, 1); /* only the user is looked up */
    fake_keys_version++;
    auth_answer = AUTH_REFUSED; /* the token was signed with a key that was withdrawn */
    verify_all();
    assert_int_equal(lookups, 0);
    assert_false(a->open);
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
        T(deactivated_users_are_disconnected), T(the_timer_verifies),
        T(expired_tokens_disconnect),          T(after_new_keys_tokens_are_verified_again),
        T(thousands_are_verified_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
