/* Password hashes: the test vector of RFC 9106 with the linked library, our costs, bcrypt of old
 *                  users. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <argon2.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/people/password.h"
#include "src/clock.h"
#include "src/sanitizer.h"

static const struct password_cost cost = {19456, 2, 1}; /* threat C1 */

/* RFC 9106 §5.3 */
static void rfc9106_argon2id_vector(void **state)
{
    static const uint8_t tag[32] = {0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c,
                                    0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9,
                                    0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e,
                                    0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59};
    uint8_t password[32], salt[16], secret[8], data[12], out[32];
    argon2_context context = {.out = out,
                              .outlen = sizeof(out),
                              .pwd = password,
                              .pwdlen = sizeof(password),
                              .salt = salt,
                              .saltlen = sizeof(salt),
                              .secret = secret,
                              .secretlen = sizeof(secret),
                              .ad = data,
                              .adlen = sizeof(data),
                              .t_cost = 3,
                              .m_cost = 32,
                              .lanes = 4,
                              .threads = 4,
                              .version = ARGON2_VERSION_13};

    memset(password, 1, sizeof(password));
    memset(salt, 2, sizeof(salt));
    memset(secret, 3, sizeof(secret));
    memset(data, 4, sizeof(data));
    assert_int_equal(argon2id_ctx(&context), ARGON2_OK);
    assert_memory_equal(out, tag, sizeof(tag));
}

static void new_hashes_are_phc_strings_with_the_given_cost(void **state)
{
    char first[PASSWORD_HASH_BYTES], second[PASSWORD_HASH_BYTES];

    assert_true(password_hash(&cost, "correct horse", first));
    assert_true(password_hash(&cost, "correct horse", second));
    assert_int_equal(strncmp(first, "$argon2id$v=19$m=19456,t=2,p=1$", 31), 0);
    assert_int_equal(strlen(first), 31 + 22 + 1 + 43);
    assert_string_not_equal(first, second); /* each hash has its own salt */
    assert_true(password_verify(first, "correct horse"));
    assert_true(password_verify(second, "correct horse"));
    assert_false(password_verify(first, "correct horsf"));
    assert_false(password_verify(first, "correct hors"));
    assert_false(password_verify(first, ""));
    assert_false(password_hash_is_weaker(first, &cost));
}

static void a_hash_of_less_cost_is_weaker(void **state)
{
    static const struct {
        const char *hash;
        struct password_cost now;
        bool weaker;
    } rows[] = {
        {"$argon2id$v=19$m=19456,t=2,p=1$x", {19456, 2, 1}, false},
        {"$argon2id$v=19$m=19455,t=2,p=1$x", {19456, 2, 1}, true},
        {"$argon2id$v=19$m=19456,t=1,p=1$x", {19456, 2, 1}, true},
        {"$argon2id$v=19$m=65536,t=3,p=4$x", {19456, 2, 1}, false},
        {"$argon2id$v=19$m=19456,t=2,p=1$x", {65536, 2, 1}, true},
        {"$argon2id$v=19$m=19456,t=2,p=1$x", {19456, 2, 4}, false}, /* lanes do not count */
        {"$argon2id$v=19$m=65536,t=2,p=1$x", {19456, 3, 1}, true},
        {"$argon2id$v=16$m=19456,t=2,p=1$x", {19456, 2, 1}, true},
        {"$argon2i$v=19$m=19456,t=2,p=1$x", {19456, 2, 1}, true},
        {"$argon2d$v=19$m=19456,t=2,p=1$x", {19456, 2, 1}, true},
        {"$2b$12$xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", {19456, 2, 1}, true},
        {"", {19456, 2, 1}, true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (password_hash_is_weaker(rows[i].hash, &rows[i].now) != rows[i].weaker)
            fail_msg("row %zu: %s", i, rows[i].hash);
}

/* The lowest and highest costs of the settings. */
static void every_cost_of_the_settings_works(void **state)
{
    static const struct password_cost rows[] = {
        {19456, 2, 1}, {19456, 2, 4}, {19456, 16, 1}, {65536, 3, 4}, {262144, 2, 4}};
    char hash[PASSWORD_HASH_BYTES], nobody[PASSWORD_HASH_BYTES];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(password_hash(&rows[i], "correct horse", hash));
        assert_true(password_verify(hash, "correct horse"));
        assert_false(password_verify(hash, "correct horsf"));
        assert_false(password_hash_is_weaker(hash, &rows[i]));
        password_nobody(&rows[i], nobody);
        assert_int_equal(strlen(hash), strlen(nobody));
        assert_int_equal(argon2id_verify(nobody, "x", 1), ARGON2_VERIFY_MISMATCH);
    }
}

static void hashes_of_known_kinds_are_verified_and_others_refused(void **state)
{
    static const struct {
        const char *hash, *password;
        bool matches;
    } rows[] = {
        /* the test vectors of crypt_blowfish */
        {"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", true},
        {"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", true},
        {"$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", true},
        {"$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK", "U*U*", true},
        {"$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", "", true},
        {"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*V", false},
        {"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe", "U*U", false},
        /* cost 31 would take days */
        {"$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", false},
        {"$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U", false},
        /* other kinds, too high costs, broken texts */
        {"", "", false},
        {"*0", "*0", false},
        {"plain", "plain", false},
        {"$1$abcdefgh$irWbblnpmw.5z7wgBnprh0", "password", false},
        {"$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$AAAA", "x", false},
        {"$argon2id$v=19$m=19456,t=4000000,p=1$c29tZXNhbHRzb21l$AAAAAAAAAAAAAAAA", "x", false},
        {"$argon2id$v=19$m=19456,t=2,p=200$c29tZXNhbHRzb21l$AAAAAAAAAAAAAAAA", "x", false},
        {"$argon2id$", "x", false},
        {"$argon2id$v=19$m=19456,t=2,p=1$", "x", false},
        {"$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21l$AAAAAAAAAAAAAAAA", "x", false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (password_verify(rows[i].hash, rows[i].password) != rows[i].matches)
            fail_msg("row %zu: %s", i, rows[i].hash);
    }
}

static uint64_t verify_cost_ns(const char *hash)
{
    uint64_t start_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);

    password_verify(hash, "wrong horse");
    return clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns;
}

/* The hash of nobody is well-formed, so argon2 does all its work on it, and no password matches it.
 * The shortest of several turns counts. On a loaded machine there are more turns; they cannot hide
 * a true difference. */
static void an_unknown_user_costs_as_much_as_a_known_one(void **state)
{
    enum { TURNS_MIN = 15, TURNS_MAX = 90 };
    char hash[PASSWORD_HASH_BYTES], nobody_hash[PASSWORD_HASH_BYTES];
    uint64_t real_ns = UINT64_MAX, nobody_ns = UINT64_MAX, apart_ns, limit_ns;

    password_nobody(&cost, nobody_hash);
    assert_int_equal(argon2id_verify(nobody_hash, "x", 1), ARGON2_VERIFY_MISMATCH);
    assert_false(password_hash_is_weaker(nobody_hash, &cost));
    assert_true(password_hash(&cost, "correct horse", hash));
    assert_int_equal(strlen(hash), strlen(nobody_hash));
    for (unsigned turn = 1; turn <= TURNS_MAX; turn++) {
        uint64_t real = verify_cost_ns(hash), nobody = verify_cost_ns(nobody_hash);

        real_ns = real < real_ns ? real : real_ns;
        nobody_ns = nobody < nobody_ns ? nobody : nobody_ns;
        apart_ns = real_ns > nobody_ns ? real_ns - nobody_ns : nobody_ns - real_ns;
        /* Threat C4. A sanitizer makes a hash ten times slower: there the limit is half a hash. */
        limit_ns = BUILT_WITH_SANITIZER ? real_ns / 2 : 2 * NS_PER_MS;
        if (turn >= TURNS_MIN && apart_ns < limit_ns)
            break;
    }
    print_message("# one verify: %.1f ms, nobody: %.1f ms\n", (double)real_ns / 1e6,
                  (double)nobody_ns / 1e6);
    assert_true(limit_ns <= real_ns / 2); /* a missing hash must exceed the limit */
    assert_true(apart_ns < limit_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc9106_argon2id_vector),
        cmocka_unit_test(new_hashes_are_phc_strings_with_the_given_cost),
        cmocka_unit_test(a_hash_of_less_cost_is_weaker),
        cmocka_unit_test(every_cost_of_the_settings_works),
        cmocka_unit_test(hashes_of_known_kinds_are_verified_and_others_refused),
        cmocka_unit_test(an_unknown_user_costs_as_much_as_a_known_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
