/* Accounts: how often somebody may guess, and how much work all together may ask for (C2, C3). */
#include "auth_world.h"

static void five_failures_per_account_and_the_owner_gets_in(void **state)
{
    char ip[20];

    assert_int_equal(registering("ada@example.org", "correct horse"), AUTH_OK);
    assert_int_equal(logging_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    for (unsigned i = 0; i < 5; i++) { /* from everywhere */
        snprintf(ip, sizeof(ip), "203.0.113.%u", i);
        assert_int_equal(logging_in("ada@example.org", "guess", ip), AUTH_REFUSED);
    }
    for (unsigned i = 5; i < 50; i++) {
        snprintf(ip, sizeof(ip), "203.0.113.%u", i);
        assert_int_equal(logging_in("ada@example.org", "guess", ip), AUTH_TOO_MANY_ATTEMPTS);
        assert_in_range(last_retry_s, 50, 63);
    }
    /* the right password does not help a stranger; where the owner logged in before it does */
    assert_int_equal(logging_in("ada@example.org", "correct horse", "203.0.113.77"),
                     AUTH_TOO_MANY_ATTEMPTS);
    for (unsigned i = 0; i < 20; i++) /* and successes do not use anything up */
        assert_int_equal(logging_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(logging_in("ada@example.org", "oops", "192.0.2.1"), AUTH_REFUSED);
    assert_int_equal(logging_in("ada@example.org", "oops", "192.0.2.1"), AUTH_TOO_MANY_ATTEMPTS);
    /* an account that does not exist looks the same */
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(logging_in("eve@example.org", "guess", "192.0.2.9"), AUTH_REFUSED);
    assert_int_equal(logging_in("eve@example.org", "guess", "192.0.2.9"), AUTH_TOO_MANY_ATTEMPTS);
    assert_int_equal(audit_rows_of("rate_limited"), 3); /* once a window for each */
}

static void twenty_attempts_per_address(void **state)
{
    char email[40];

    setup_settings.login_attempts_per_minute = 20;
    for (unsigned i = 0; i < 20; i++) {
        snprintf(email, sizeof(email), "%u@example.org", i);
        assert_int_equal(i % 2 ? logging_in(email, "guess", "2001:db8::1")
                               : logging_in(email, "guess", "2001:db8::2"),
                         AUTH_REFUSED);
    }
    assert_int_equal(logging_in("x@example.org", "guess", "2001:db8::3"), AUTH_TOO_MANY_ATTEMPTS);
    assert_in_range(last_retry_s, 40, 63);
    assert_int_equal(logging_in("x@example.org", "guess", "2001:db8:0:1::3"), AUTH_REFUSED);
    auth_register(auth, "y@example.org", "correct horse", "Y", "2001:db8::4", on_auth, NULL);
    assert_int_equal(answer_of_last(), AUTH_TOO_MANY_ATTEMPTS);
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

/* 300 at once: 66 are served, the others told when to come again; the loop turns all the while. */
static void a_flood_is_bounded(void **state)
{
    uv_timer_t ticker;
    long before_kib = resident_kib(), most_kib = 0;
    char email[40];
    uint64_t start_ns;

    ticked_ns = worst_gap_ns = 0;
    uv_timer_init(&test_loop, &ticker);
    uv_timer_start(&ticker, tick, 2, 2);
    start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < 300; i++) {
        snprintf(email, sizeof(email), "%u@example.org", i);
        auth_login(auth, email, "guess", "192.0.2.1", on_auth, NULL);
    }
    while (answers < 300) {
        long now_kib = resident_kib();

        uv_run(&test_loop, UV_RUN_NOWAIT);
        usleep(500);
        most_kib = now_kib > most_kib ? now_kib : most_kib;
        if (clock_monotonic_ns() - start_ns > 60 * NS_PER_S)
            fail_msg("%u answers", answers);
    }
    print_message("# 66 hashes in %.0f ms, RSS +%ld KiB, worst gap of the loop %.1f ms\n",
                  (double)(clock_monotonic_ns() - start_ns) / 1e6, most_kib - before_kib,
                  (double)worst_gap_ns / 1e6);
    assert_int_equal(by_result[AUTH_REFUSED], 66);
    assert_int_equal(by_result[AUTH_BUSY], 234);
    assert_true(worst_gap_ns < 200 * NS_PER_MS * SANITIZER_PATIENCE);
    if (!BUILT_WITH_SANITIZER) /* they keep memory of their own */
        assert_true(most_kib - before_kib < 64 * 1024);
    uv_close((uv_handle_t *)&ticker, NULL);
    answers = 0;
    /* and it is over when it is over */
    assert_int_equal(logging_in("x@example.org", "guess", "192.0.2.1"), AUTH_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ACCOUNT_TEST(five_failures_per_account_and_the_owner_gets_in),
        ACCOUNT_TEST(twenty_attempts_per_address),
        ACCOUNT_TEST(a_flood_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
