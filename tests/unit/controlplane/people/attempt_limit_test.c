/* The limit of attempts: never more than the limit in any minute, allowed again by itself, memory
 * of a fixed size. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <stdlib.h>

#include "controlplane/people/attempt_limit.c"
#include "controlplane/people/known_logins.h"

#define START_NS (1000000 * NS_PER_S + 123456789)

static bool passes(struct attempt_limit *attempts, const char *name, uint64_t now_ns,
                   uint32_t limit)
{
    uint32_t retry_after_s;

    return attempt_limit_take(attempts, name, now_ns, limit, &retry_after_s) == ATTEMPT_ALLOWED;
}

static void after_the_limit_attempts_are_refused_for_a_minute(void **state)
{
    struct attempt_limit *attempts = attempt_limit_new();
    uint32_t retry_after_s;

    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(attempt_limit_take(attempts, "a", START_NS, 5, &retry_after_s),
                         ATTEMPT_ALLOWED);
    assert_int_equal(attempt_limit_take(attempts, "a", START_NS, 5, &retry_after_s),
                     ATTEMPT_REFUSED_FIRST);
    assert_in_range(retry_after_s, 58, 63);
    /* Only the first refusal in a window is for the audit log, and refusals are not counted. */
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(
            attempt_limit_take(attempts, "a", START_NS + i * 50 * NS_PER_MS, 5, &retry_after_s),
            ATTEMPT_REFUSED);
    assert_true(passes(attempts, "b", START_NS, 5));
    /* After Retry-After the attempt is allowed. */
    assert_int_equal(attempt_limit_take(attempts, "a", START_NS + 50 * NS_PER_S, 5, &retry_after_s),
                     ATTEMPT_REFUSED);
    assert_true(passes(attempts, "a", START_NS + (50 + retry_after_s) * NS_PER_S, 5));
    attempt_limit_delete(attempts);
}

/* Compared with an exact list of the allowed attempts, with random gaps and limits. */
static void never_more_than_the_limit_in_any_minute(void **state)
{
    static const uint32_t limits[] = {1, 2, 5, 20, 60, 1000};

    srand(7);
    for (unsigned l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
        struct attempt_limit *attempts = attempt_limit_new();
        static uint64_t passed[20000];
        unsigned count = 0, tail = 0;
        uint64_t now_ns = START_NS;

        for (unsigned i = 0; i < 20000; i++) {
            now_ns += (uint64_t)(rand() % 60000) * NS_PER_MS / limits[l] / (rand() % 4 ? 4 : 1);
            if (!passes(attempts, "a", now_ns, limits[l]))
                continue;
            passed[count++] = now_ns;
            while (passed[tail] + 60 * NS_PER_S <= now_ns)
                tail++;
            assert_true(count - tail <= limits[l]);
        }
        /* Nor much less: an attempt may be refused 3 s too long, and the next one comes about
         * 13 s / limit later. */
        assert_true(count >= (now_ns - START_NS) / NS_PER_S * limits[l] / 80);
        attempt_limit_delete(attempts);
    }
}

static void retry_after_is_the_earliest_time(void **state)
{
    struct attempt_limit *attempts = attempt_limit_new();
    uint32_t retry_after_s;

    for (unsigned i = 0; i < 4; i++) /* at 0, 10, 20, 30 s */
        assert_true(passes(attempts, "a", START_NS + i * 10 * NS_PER_S, 4));
    assert_int_not_equal(
        attempt_limit_take(attempts, "a", START_NS + 31 * NS_PER_S, 4, &retry_after_s),
        ATTEMPT_ALLOWED);
    assert_in_range(retry_after_s, 29, 32); /* when the first attempt leaves the window */
    /* With a lower limit (settings were reloaded) two more attempts have to leave. */
    assert_int_not_equal(
        attempt_limit_take(attempts, "a", START_NS + 31 * NS_PER_S, 2, &retry_after_s),
        ATTEMPT_ALLOWED);
    assert_in_range(retry_after_s, 49, 52);
    attempt_limit_delete(attempts);
}

static void an_attempt_given_back_does_not_count(void **state)
{
    struct attempt_limit *attempts = attempt_limit_new();

    for (unsigned i = 0; i < 100; i++) {
        assert_true(passes(attempts, "a", START_NS + i * NS_PER_S, 5));
        attempt_limit_give_back(attempts, "a", START_NS + i * NS_PER_S);
    }
    attempt_limit_give_back(attempts, "a", START_NS);     /* a second time: no effect */
    attempt_limit_give_back(attempts, "never", START_NS); /* an unknown name */
    attempt_limit_give_back(attempts, "a", START_NS / 2); /* out of the window */
    attempt_limit_give_back(attempts, "a", START_NS * 2); /* in the future */
    for (unsigned i = 0; i < 5; i++)
        assert_true(passes(attempts, "a", START_NS + 100 * NS_PER_S, 5));
    assert_false(passes(attempts, "a", START_NS + 100 * NS_PER_S, 5));
    attempt_limit_delete(attempts);
}

/* Ten times as many other names as two hash threads take in a minute, each tried once: the table
 * still knows the account under attack. */
static void an_account_under_attack_is_not_forgotten(void **state)
{
    struct attempt_limit *attempts = attempt_limit_new();
    char name[32];

    for (unsigned i = 0; i < 5; i++)
        assert_true(passes(attempts, "victim@example.org", START_NS, 5));
    for (unsigned i = 0; i < 50000; i++) {
        snprintf(name, sizeof(name), "%u@example.org", i);
        assert_true(passes(attempts, name, START_NS + i * NS_PER_MS, 5));
        if (i % 1000 == 0)
            assert_false(passes(attempts, "victim@example.org", START_NS + i * NS_PER_MS, 5));
    }
    assert_false(passes(attempts, "victim@example.org", START_NS + 55 * NS_PER_S, 5));
    attempt_limit_delete(attempts);
}

static void a_clock_that_stands_still_or_jumps_is_harmless(void **state)
{
    struct attempt_limit *attempts = attempt_limit_new();

    assert_true(passes(attempts, "a", 0, 1));
    assert_false(passes(attempts, "a", 0, 1));
    assert_true(passes(attempts, "a", UINT64_MAX / 2, 1));
    assert_false(passes(attempts, "a", UINT64_MAX / 2, 1));
    attempt_limit_delete(attempts);
}

static void known_logins_are_remembered_in_memory_of_a_fixed_size(void **state)
{
    struct known_logins *known = known_logins_open(-1);
    char account[32];

    assert_false(known_logins_has(known, "ada", "192.0.2.1"));
    known_logins_add(known, "ada", "192.0.2.1");
    assert_true(known_logins_has(known, "ada", "192.0.2.1"));
    assert_false(known_logins_has(known, "ada", "192.0.2.2"));
    assert_false(known_logins_has(known, "eve", "192.0.2.1"));
    for (unsigned i = 0; i < 100000; i++) { /* new ones replace the oldest */
        snprintf(account, sizeof(account), "%u", i);
        known_logins_add(known, account, "192.0.2.1");
        assert_true(known_logins_has(known, account, "192.0.2.1"));
    }
    assert_false(known_logins_has(known, "ada", "192.0.2.1"));
    known_logins_close(known);
}

/* An attacker has accounts too, and with IPv6 many addresses. */
static void one_account_cannot_make_others_forgotten(void **state)
{
    struct known_logins *known = known_logins_open(-1);
    char text[32];
    unsigned left = 0;

    for (unsigned i = 0; i < 2000; i++) {
        snprintf(text, sizeof(text), "user %u", i);
        known_logins_add(known, text, "192.0.2.1");
    }
    for (unsigned i = 0; i < 100000; i++) {
        snprintf(text, sizeof(text), "2001:db8:%x:%x::/64", i >> 16, i & 0xffff);
        known_logins_add(known, "eve", text);
        assert_true(known_logins_has(known, "eve", text));
    }
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(text, sizeof(text), "user %u", i);
        left += known_logins_has(known, text, "192.0.2.1");
    }
    print_message("%u of 2000 familiar addresses are left after 100000 logins of one account\n",
                  left);
    assert_int_equal(left, 2000);
    known_logins_close(known);
}

static void known_logins_survive_a_restart(void **state)
{
    char folder[] = "/tmp/known-logins-XXXXXX", path[64];
    struct known_logins *known, *killed;
    struct stat file;
    int directory, fd;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/known-logins", folder);
    directory = open(folder, O_RDONLY | O_DIRECTORY);
    killed = known_logins_open(directory);
    known_logins_add(killed, "ada", "192.0.2.1");
    known = known_logins_open(directory); /* without a close: the process was killed */
    assert_true(known_logins_has(known, "ada", "192.0.2.1"));
    assert_false(known_logins_has(known, "ada", "192.0.2.2"));
    for (unsigned i = 0; i < 100000; i++) {
        char account[16];

        snprintf(account, sizeof(account), "%u", i);
        known_logins_add(known, account, "192.0.2.1");
    }
    known_logins_close(known);
    known_logins_close(killed);
    assert_int_equal(stat(path, &file), 0);
    print_message("the file has %ld bytes after 100001 logins\n", (long)file.st_size);
    assert_true(file.st_size < 300000);
    assert_int_equal(file.st_mode & 0777, 0600);
    /* cut off, of something else, a directory: begins anew, and works */
    for (unsigned i = 0; i < 3; i++) {
        unlink(path);
        if (i == 2) {
            assert_int_equal(mkdir(path, 0700), 0);
        } else {
            fd = open(path, O_WRONLY | O_CREAT, 0600);
            assert_int_equal(write(fd, "RCKNOWN1xyz", 11), 11);
            assert_int_equal(ftruncate(fd, i ? 1000000 : 11), 0);
            assert_int_equal(pwrite(fd, "X", i, 0), i);
            close(fd);
        }
        known = known_logins_open(directory);
        assert_false(known_logins_has(known, "ada", "192.0.2.1"));
        known_logins_add(known, "ada", "192.0.2.1");
        assert_true(known_logins_has(known, "ada", "192.0.2.1"));
        known_logins_close(known);
    }
    rmdir(path);
    rmdir(folder);
    close(directory);
}

static void an_address_of_ipv6_counts_as_its_64_bit_network(void **state)
{
    static const struct {
        const char *ip, *name;
    } rows[] = {
        {"192.0.2.7", "192.0.2.7"},
        {"::ffff:192.0.2.7", "192.0.2.7"},
        {"2001:db8:1:2::1", "2001:0db8:0001:0002::/64"},
        {"2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:0db8:0001:0002::/64"},
        {"2001:db8:1:3::1", "2001:0db8:0001:0003::/64"},
        {"::1", "0000:0000:0000:0000::/64"},
        {"", ""},
    };
    char name[ADDRESS_NAME_BYTES];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        address_name(rows[i].ip, name);
        assert_string_equal(name, rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_the_limit_attempts_are_refused_for_a_minute),
        cmocka_unit_test(never_more_than_the_limit_in_any_minute),
        cmocka_unit_test(retry_after_is_the_earliest_time),
        cmocka_unit_test(an_attempt_given_back_does_not_count),
        cmocka_unit_test(an_account_under_attack_is_not_forgotten),
        cmocka_unit_test(a_clock_that_stands_still_or_jumps_is_harmless),
        cmocka_unit_test(known_logins_are_remembered_in_memory_of_a_fixed_size),
        cmocka_unit_test(one_account_cannot_make_others_forgotten),
        cmocka_unit_test(known_logins_survive_a_restart),
        cmocka_unit_test(an_address_of_ipv6_counts_as_its_64_bit_network),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
