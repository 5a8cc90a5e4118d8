/* Accounts: every failed login takes equally long (threat C4). */
#include "auth_fixture.h"

#include <dirent.h>

enum { KINDS = 3, ROUNDS_MIN = 24, ROUNDS_MAX = 192 };

struct durations {
    double worked_ms[KINDS][ROUNDS_MAX], waited_ms[KINDS][ROUNDS_MAX];
    unsigned rounds;
};

/* How long the threads of this process were ready to run and had no processor. */
static double starved_ms(void)
{
    DIR *threads = opendir("/proc/self/task");
    unsigned long long sum_ns = 0, waited_ns;
    const struct dirent *entry;

    assert_non_null(threads);
    while ((entry = readdir(threads)) != NULL) {
        char path[64];
        FILE *file;

        snprintf(path, sizeof(path), "/proc/self/task/%.20s/schedstat", entry->d_name);
        file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        if (file && fscanf(file, "%*u %llu", &waited_ns) == 1)
            sum_ns += waited_ns;
        if (file)
            fclose(file);
    }
    closedir(threads);
    return (double)sum_ns / 1e6;
}

static void time_one_failure(unsigned kind, double *worked_ms, double *waited_ms)
{
    static const char *const who[KINDS] = {"ada@example.org", "eve@example.org", "bob@example.org"};
    double starved_before_ms = starved_ms();
    uint64_t processor_ns = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID), wall_ns = clock_monotonic_ns();

    auth_login(auth, who[kind], kind == 2 ? "correct horse" : "wrong horse", "192.0.2.1", on_auth,
               NULL);
    while (answers == 0)
        uv_run(&test_loop, UV_RUN_ONCE);
    answers = 0;
    wall_ns = clock_monotonic_ns() - wall_ns;
    processor_ns = clock_read_ns(CLOCK_PROCESS_CPUTIME_ID) - processor_ns;
    assert_int_equal(last_result, AUTH_REFUSED);
    *worked_ms = (double)processor_ns / 1e6;
    *waited_ms = (double)wall_ns / 1e6 - (starved_ms() - starved_before_ms) - *worked_ms;
}

static void time_failures(struct durations *d)
{
    for (unsigned end = d->rounds + ROUNDS_MIN; d->rounds < end; d->rounds++)
        for (unsigned turn = 0; turn < KINDS; turn++) {
            unsigned kind = (d->rounds + turn) % KINDS;

            time_one_failure(kind, &d->worked_ms[kind][d->rounds], &d->waited_ms[kind][d->rounds]);
        }
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

/* The mean of the middle half, and its width. The disturbance by other processes is in the outer
 * halves. */
static double middle_mean(double *values, unsigned count, double *width)
{
    double sum = 0;

    qsort(values, count, sizeof(*values), by_size);
    for (unsigned i = count / 4; i < count - count / 4; i++)
        sum += values[i];
    *width = values[count - count / 4 - 1] - values[count / 4];
    return sum / (count - 2 * (count / 4));
}

/* Do the kinds differ by less than limit_ms, and is the uncertainty (about the width over the
 * square root of the count) small enough to be sure? Each value is compared with the others of its
 * round, because the processor may be faster or slower in the next one. */
static bool apart_at_most(double values[KINDS][ROUNDS_MAX], unsigned rounds, double limit_ms,
                          double *apart_ms)
{
    double apart[ROUNDS_MAX], least = 0, most = 0, widest = 0;

    for (unsigned kind = 0; kind < KINDS; kind++) {
        double mean, width;

        for (unsigned i = 0; i < rounds; i++)
            apart[i] = values[kind][i] - (values[0][i] + values[1][i] + values[2][i]) / KINDS;
        mean = middle_mean(apart, rounds, &width);
        least = mean < least ? mean : least;
        most = mean > most ? mean : most;
        widest = width > widest ? width : widest;
    }
    *apart_ms = most - least;
    limit_ms -= *apart_ms;
    return limit_ms > 0 && widest * widest < limit_ms * limit_ms * rounds;
}

/* Threat C4. The time until an answer has three parts: what the process worked (CPU time), what it
 * waited for, and what other processes took away. A stranger can learn from the first two; the
 * third is left out. (The waiting may be negative when threads work side by side.) On a loaded
 * machine there are more rounds, which make both values more exact, and the limit is wider. Under a
 * sanitizer, which makes a hash slower and less even, it is half a hash. A missing hash would exceed
 * it in every case. */
static void failures_take_equally_long(void **state)
{
    static struct durations d;
    double worked_ms = 0, waited_ms = 0, limit_ms = 0;

    d.rounds = 0;
    setup_settings.account_attempts_per_minute = 1000;
    assert_int_equal(registered("ada@example.org", "correct horse"), AUTH_OK);
    assert_int_equal(registered("bob@example.org", "correct horse"), AUTH_OK);
    set_active("bob@example.org", false);
    while (d.rounds < ROUNDS_MAX) {
        double hash[ROUNDS_MAX], hash_ms, width;
        bool same_work, same_waiting;

        time_failures(&d);
        memcpy(hash, d.worked_ms[0], d.rounds * sizeof(*hash));
        hash_ms = middle_mean(hash, d.rounds, &width);
        limit_ms = 2 * patience();
        if (BUILT_WITH_SANITIZER || limit_ms > hash_ms / 2)
            limit_ms = hash_ms / 2;
        same_work = apart_at_most(d.worked_ms, d.rounds, limit_ms, &worked_ms);
        same_waiting = apart_at_most(d.waited_ms, d.rounds, limit_ms, &waited_ms);
        print_message("# a wrong password costs %.1f ms; unknown email and deactivated user: %.2f "
                      "ms apart in work, %.2f ms in waiting\n",
                      hash_ms, worked_ms, waited_ms);
        assert_true(limit_ms <= hash_ms / 2); /* a missing hash must exceed the limit */
        if (same_work && same_waiting)
            return;
    }
    fail_msg("work differs by %.2f ms, waiting by %.2f ms; allowed are %.2f ms", worked_ms,
             waited_ms, limit_ms);
}

/* A bcrypt hash, whose cost the NestJS backend chose, takes other CPU time than argon2id. The clock
 * does not show that: refusals come at fixed moments after the request, and later at a multiple
 * when the hash takes longer. */
static void refusals_come_at_fixed_moments(void **state)
{
    static const char *const who[] = {"ada@example.org", "eve@example.org", "old@example.org"};
    const uint64_t every_ns = 400 * NS_PER_MS * patience();
    outside_t *outside = outside_open();

    assert_int_equal(registered(who[0], "correct horse"), AUTH_OK);
    outside_run(outside, "INSERT INTO users (id, email, \"passwordHash\", \"displayName\") VALUES "
                         "('0b0f5a52-6f0e-4e3a-9b3c-0d6c3a5f7e11', 'old@example.org', "
                         "'$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW', 'Old')");
    outside_close(outside);
    auth_refusal_ns = every_ns;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t began_ns = clock_monotonic_ns(), took_ns;

        assert_int_equal(logged_in(who[i], "wrong horse", "192.0.2.1"), AUTH_REFUSED);
        took_ns = clock_monotonic_ns() - began_ns;
        assert_in_range(took_ns / NS_PER_MS, every_ns / NS_PER_MS, every_ns * 7 / 4 / NS_PER_MS);
    }
    auth_refusal_ns = 10 * NS_PER_MS; /* shorter than a hash takes */
    assert_int_equal(logged_in(who[0], "wrong horse", "192.0.2.1"), AUTH_REFUSED);
    auth_refusal_ns = 60 * NS_PER_S; /* a refusal that waits is answered by the close */
    auth_login(auth, who[0], "wrong horse", "192.0.2.1", on_auth, NULL);
    loop_for(&test_loop, 300 * patience()); /* until the hash is made */
    assert_int_equal(answers, 0);
    everything_close();
    assert_int_equal(answers, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ACCOUNT_TEST(failures_take_equally_long),
        ACCOUNT_TEST(refusals_come_at_fixed_moments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
