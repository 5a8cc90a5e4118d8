/* C7: sockets whose user was deactivated, whose token expired or whose key is no longer in use are cut, at
 * any number of them, and nobody else is. */
#include "rooms_steps.h"

static void the_store_away_cuts_nobody_a_deactivation_does(void **state)
{
    struct socket *a = connect_user(user(1)), *b = connect_user(user(2));
    const char *room = make_room(a);

    assert_ok(request(a, "room:join", "{'roomId':'%s'}", room));
    assert_ok(request(b, "room:join", "{'roomId':'%s'}", room));
    skip_heard(a);
    auth_answer = AUTH_UNAVAILABLE; /* the store is away: nobody is cut */
    wait_ms(REVERIFY_MS + 500);
    assert_true(a->open && b->open);
    assert_true(looked_up >= 2);
    auth_answer = -1;
    strcpy(deactivated, user(2));
    wait_ms(REVERIFY_MS + 500);
    assert_true(a->open);
    assert_false(b->open);
    heard(a, "room:userLeft"); /* at once: no grace for who may not come back */
    leave_test(a);
    leave_test(b);
}

static void an_expired_token_ends_its_socket(void **state)
{
    struct socket *long_lived = connect_user(user(1)), *brief;

    token_life_s = 2;
    brief = connect_user(user(2));
    auth_answer = AUTH_UNAVAILABLE; /* time goes on without the store as well */
    wait_ms(1000);
    assert_true(brief->open);
    wait_ms(2 * REVERIFY_MS);
    assert_false(brief->open);
    assert_true(long_lived->open);
    leave_test(long_lived);
    leave_test(brief);
}

static void new_keys_have_every_token_read_again(void **state)
{
    struct socket *a = connect_user(user(1));

    wait_ms(REVERIFY_MS + 500);
    assert_true(looked_up >= 1);
    looked_up = 0;
    fake_keys++;
    auth_answer = AUTH_REFUSED; /* signed with a key that is gone */
    wait_ms(REVERIFY_MS + 500);
    assert_int_equal(looked_up, 0);
    assert_false(a->open);
    leave_test(a);
}

/* Thousands that came in one moment and are due in one: in the ticks that are left of the 5 s. */
static void thousands_are_looked_at_in_time(void **state)
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
    looked_up = 0;
    while (sockets[MANY - 1]->open && ticks < 100) {
        sessions_reverify(rooms);
        pump();
        ticks++;
        assert_true(looked_up <= ticks * REVERIFY_PER_TICK_MAX);
    }
    print_message("# the last of %d was cut after %u of %d ticks\n", MANY, ticks, TICKS);
    assert_true(ticks <= TICKS);
    for (int i = 0; i < MANY; i++)
        open += sockets[i]->open;
    assert_int_equal(open, MANY - MANY / 200);
    looked_up = 0; /* and not again before the next time */
    sessions_reverify(rooms);
    assert_int_equal(looked_up, 0);
    for (int i = 0; i < MANY; i++)
        leave_test(sockets[i]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_store_away_cuts_nobody_a_deactivation_does),
        T(an_expired_token_ends_its_socket),
        T(new_keys_have_every_token_read_again),
        T(thousands_are_looked_at_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
