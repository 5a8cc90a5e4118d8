/* Accounts: how often a password may be guessed, and how much work all requests together may cause
 * (threats C2, C3). */
#include "auth_fixture.h"

/* Retry-After is the rest of the minute that began with the first attempt, plus at most 3 s. */
static void retry_after_check(uint64_t first_attempt_ns)
{
    uint64_t passed_s = (clock_monotonic_ns() - first_attempt_ns) / NS_PER_S + 1;

    assert_in_range(last_retry_s, passed_s < 60 ? 60 - passed_s : 1, 63);
}

static void five_failures_per_account_do_not_lock_the_owner_out(void **state)
{
    char ip[20];
    uint64_t first_attempt_ns;

    assert_int_equal(registered("ada@example.org", "correct horse"), AUTH_OK);
    assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    first_attempt_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < 5; i++) { /* from many addresses */
        snprintf(ip, sizeof(ip), "203.0.113.%u", i);
        assert_int_equal(logged_in("ada@example.org", "guess", ip), AUTH_REFUSED);
    }
    for (unsigned i = 5; i < 50; i++) {
        snprintf(ip, sizeof(ip), "203.0.113.%u", i);
        assert_int_equal(logged_in("ada@example.org", "guess", ip), AUTH_TOO_MANY_ATTEMPTS);
        retry_after_check(first_attempt_ns);
    }
    /* The right password is refused from an unknown address, but not where the owner logged in
     * before. */
    assert_int_equal(logged_in("ada@example.org", "correct horse", "203.0.113.77"),
                     AUTH_TOO_MANY_ATTEMPTS);
    for (unsigned i = 0; i < 20; i++) /* successful logins are not counted */
        assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(logged_in("ada@example.org", "oops", "192.0.2.1"), AUTH_REFUSED);
    assert_int_equal(logged_in("ada@example.org", "oops", "192.0.2.1"), AUTH_TOO_MANY_ATTEMPTS);
    /* The answers for an unknown account are the same. */
    for (unsigned i = 0; i < 5; i++) {
        snprintf(ip, sizeof(ip), "203.0.113.%u", 100 + i);
        assert_int_equal(logged_in("eve@example.org", "guess", ip), AUTH_REFUSED);
    }
    assert_int_equal(logged_in("eve@example.org", "guess", "192.0.2.9"), AUTH_TOO_MANY_ATTEMPTS);
    audit_rows_check("rate_limited", 3); /* one for each account, and no more in the same window */
}

static void twenty_attempts_per_address(void **state)
{
    uint64_t first_attempt_ns = clock_monotonic_ns();
    char email[40];

    setup_settings.login_attempts_per_minute = 20;
    for (unsigned i = 0; i < 20; i++) {
        snprintf(email, sizeof(email), "%u@example.org", i);
        assert_int_equal(i % 2 ? logged_in(email, "guess", "2001:db8::1")
                               : logged_in(email, "guess", "2001:db8::2"),
                         AUTH_REFUSED);
    }
    assert_int_equal(logged_in("x@example.org", "guess", "2001:db8::3"), AUTH_TOO_MANY_ATTEMPTS);
    retry_after_check(first_attempt_ns);
    assert_int_equal(logged_in("x@example.org", "guess", "2001:db8:0:1::3"), AUTH_REFUSED);
    /* Registrations count apart, those that succeed too. */
    for (unsigned i = 0; i < 20; i++) {
        snprintf(email, sizeof(email), "y%u@example.org", i / 2);
        auth_register(auth, email, "correct horse", "Y", "2001:db8::4", on_auth, NULL);
        assert_int_equal(answer_wait(), i % 2 ? AUTH_DUPLICATE : AUTH_OK);
    }
    auth_register(auth, "z@example.org", "correct horse", "Y", "2001:db8::4", on_auth, NULL);
    assert_int_equal(answer_wait(), AUTH_TOO_MANY_ATTEMPTS);
}

/* An office: one address, and nobody types a wrong password. */
static void many_right_logins_from_one_address(void **state)
{
    enum { PEOPLE = 30, AT_ONCE = 100 };
    unsigned passed = 0;
    char email[40];

    setup_settings.login_attempts_per_minute = 1000; /* for the accounts */
    for (unsigned i = 0; i < PEOPLE; i++) {
        snprintf(email, sizeof(email), "%u@example.org", i);
        assert_int_equal(registered(email, "correct horse"), AUTH_OK);
    }
    setup_settings.login_attempts_per_minute = 20;
    for (unsigned i = 0; i < PEOPLE; i++) { /* one after another */
        snprintf(email, sizeof(email), "%u@example.org", i);
        passed += logged_in(email, "correct horse", "192.0.2.77") == AUTH_OK;
    }
    memset(by_result, 0, sizeof(by_result));
    for (unsigned i = 0; i < AT_ONCE; i++) { /* all in the same moment */
        snprintf(email, sizeof(email), "%u@example.org", i % PEOPLE);
        auth_login(auth, email, "correct horse", "192.0.2.77", on_auth, NULL);
    }
    LOOP_UNTIL(&test_loop, answers == AT_ONCE);
    answers = 0;
    print_message("# %u of %u right logins succeed one by one, %u of %u at once\n", passed, PEOPLE,
                  by_result[AUTH_OK], AT_ONCE);
    assert_int_equal(passed, PEOPLE);
    assert_int_equal(by_result[AUTH_OK], AT_ONCE);
    /* failures still count, also those that come at once: 20, and no more */
    memset(by_result, 0, sizeof(by_result));
    for (unsigned i = 0; i < AT_ONCE; i++) {
        snprintf(email, sizeof(email), "nobody%u@example.org", i);
        auth_login(auth, email, "guess", "192.0.2.77", on_auth, NULL);
    }
    LOOP_UNTIL(&test_loop, answers == AT_ONCE);
    answers = 0;
    print_message("# of %u wrong logins at once %u were tried\n", AT_ONCE, by_result[AUTH_REFUSED]);
    assert_int_equal(by_result[AUTH_REFUSED], 20);
    assert_int_equal(by_result[AUTH_TOO_MANY_ATTEMPTS], AT_ONCE - 20);
}

/* One guesser leaves attempts for the owner, wherever the owner is. */
static void a_guesser_does_not_lock_the_owner_out(void **state)
{
    unsigned tried = 0, in = 0;

    assert_int_equal(registered("ada@example.org", "correct horse"), AUTH_OK);
    for (unsigned i = 0; i < 40; i++)
        tried += logged_in("ada@example.org", "guess", "203.0.113.5") == AUTH_REFUSED;
    for (unsigned i = 0; i < 40; i++)
        in += logged_in("ada@example.org", "correct horse", i % 2 ? "192.0.2.1" : "198.51.100.9") ==
              AUTH_OK;
    print_message("# a guesser from one address tried %u times, the owner got in %u of 40 times\n",
                  tried, in);
    assert_int_equal(tried, 3);
    assert_int_equal(in, 40);
}

/* Many addresses guess. The owner gets in where the owner was before, also after a restart. */
static void a_familiar_address_survives_a_restart(void **state)
{
    unsigned tried = 0, in = 0;
    char ip[20];

    assert_int_equal(registered("ada@example.org", "correct horse"), AUTH_OK);
    assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    everything_close();
    everything_open();
    for (unsigned i = 0; i < 50; i++) {
        snprintf(ip, sizeof(ip), "203.0.113.%u", i);
        tried += logged_in("ada@example.org", "guess", ip) == AUTH_REFUSED;
    }
    for (unsigned i = 0; i < 50; i++)
        in += logged_in("ada@example.org", "correct horse", "192.0.2.1") == AUTH_OK;
    print_message("# 50 addresses tried %u times, the owner got in %u of 50 times\n", tried, in);
    assert_int_equal(tried, 5);
    assert_int_equal(in, 50);
}

static uint64_t worst_gap_ns, ticked_ns;

static void tick(uv_timer_t *timer)
{
    uint64_t now_ns = clock_monotonic_ns();

    if (ticked_ns && now_ns - ticked_ns > worst_gap_ns)
        worst_gap_ns = now_ns - ticked_ns;
    ticked_ns = now_ns;
}

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long total = 0, resident = 0;

    assert_int_equal(fscanf(file, "%ld %ld", &total, &resident), 2);
    fclose(file);
    return resident * 4;
}

/* Of 300 logins at once 66 are served, and the others are told when to try again. The loop is not
 * blocked and memory does not grow with the number of requests. */
static void a_flood_of_logins_is_limited(void **state)
{
    uv_timer_t ticker;
    long before_kib = resident_kib(), most_kib = 0;
    uint64_t start_ns = clock_monotonic_ns();
    char email[40];

    ticked_ns = worst_gap_ns = 0;
    uv_timer_init(&test_loop, &ticker);
    uv_timer_start(&ticker, tick, 2, 2);
    for (unsigned i = 0; i < 300; i++) {
        snprintf(email, sizeof(email), "%u@example.org", i);
        auth_login(auth, email, "guess", "192.0.2.1", on_auth, NULL);
    }
    while (answers < 300) {
        long now_kib = resident_kib();

        uv_run(&test_loop, UV_RUN_NOWAIT);
        usleep(500);
        most_kib = now_kib > most_kib ? now_kib : most_kib;
        if (clock_monotonic_ns() - start_ns > EVENT_S * NS_PER_S)
            fail_msg("%u answers", answers);
    }
    print_message("# 66 hashes in %.0f ms, RSS +%ld KiB, worst gap of the loop %.1f ms\n",
                  (double)(clock_monotonic_ns() - start_ns) / 1e6, most_kib - before_kib,
                  (double)worst_gap_ns / 1e6);
    assert_int_equal(by_result[AUTH_REFUSED], 66);
    assert_int_equal(by_result[AUTH_BUSY], 234);
    assert_in_range(worst_gap_ns / NS_PER_MS, 0, 200 * patience());
    if (!BUILT_WITH_SANITIZER) /* sanitizers use memory of their own */
        assert_true(most_kib - before_kib < 64 * 1024);
    uv_close((uv_handle_t *)&ticker, NULL);
    answers = 0;
    assert_int_equal(logged_in("x@example.org", "guess", "192.0.2.1"), AUTH_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ACCOUNT_TEST(five_failures_per_account_do_not_lock_the_owner_out),
        ACCOUNT_TEST(twenty_attempts_per_address),
        ACCOUNT_TEST(many_right_logins_from_one_address),
        ACCOUNT_TEST(a_guesser_does_not_lock_the_owner_out),
        ACCOUNT_TEST(a_familiar_address_survives_a_restart),
        ACCOUNT_TEST(a_flood_of_logins_is_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
