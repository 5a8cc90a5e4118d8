/* Accounts: register, log in, verify; keys and hashes that change; a database that does not answer;
 * a close with requests in progress. */
#include "auth_fixture.h"
#include "controlplane/people/password.h"

#include "controlplane/people/secret.h"

static void register_login_verify_deactivate(void **state)
{
    char token[TOKEN_BYTES_MAX], id[UUID_TEXT_BYTES];
    struct token_claims claims;
    int64_t now_s = (int64_t)(clock_wall_ns() / NS_PER_S);

    assert_int_equal(registered("ada@example.org", "correct horse"), AUTH_OK);
    assert_string_equal(last_user.email, "ada@example.org");
    strcpy(token, last_token);
    strcpy(id, last_user.id);
    assert_in_range(auth_token_life_ms(auth, token), 3590000, 3600000);
    assert_int_equal(registered("ada@example.org", "another horse"), AUTH_DUPLICATE);
    assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    assert_string_equal(last_user.id, id);
    assert_true(last_token[0]);
    assert_int_equal(logged_in("ada@example.org", "correct horsf", "192.0.2.1"), AUTH_REFUSED);
    assert_string_equal(last_token, "");
    assert_int_equal(logged_in("eve@example.org", "correct horse", "192.0.2.1"), AUTH_REFUSED);
    assert_int_equal(verified(token), AUTH_OK);
    assert_string_equal(last_user.id, id);
    set_active("ada@example.org", false);
    assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_REFUSED);
    assert_int_equal(verified(token), AUTH_REFUSED);
    set_active("ada@example.org", true);
    assert_int_equal(verified(token), AUTH_OK);
    assert_int_equal(verified(NULL), AUTH_REFUSED);
    assert_int_equal(verified(""), AUTH_REFUSED);
    token[strlen(token) - 1] ^= 4;
    assert_int_equal(verified(token), AUTH_REFUSED);
    assert_int_equal(auth_token_life_ms(auth, token), 0);
    /* a valid signature, but an unknown user */
    memset(&claims, 0, sizeof(claims));
    uuid_make(claims.subject);
    strcpy(claims.email, "x@example.org");
    strcpy(claims.display_name, "X");
    claims.issued_s = now_s;
    claims.expires_s = now_s + 60;
    {
        struct secrets secrets;
        char why[WHY_BYTES];

        assert_true(secrets_obtain(&setup_settings, &secrets, why));
        assert_true(token_make(secrets.keys[0], &claims, token));
    }
    assert_in_range(auth_token_life_ms(auth, token), 50000, 60000);
    assert_int_equal(verified(token), AUTH_REFUSED);
    audit_rows_check("user_registered", 1);
    audit_rows_check("user_login", 1);
    audit_rows_check("user_login_failed", 3);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE action="
                                    "'user_login_failed' AND \"ipAddress\"='192.0.2.1' AND "
                                    "metadata IN ('{\"reason\":\"wrong_password\"}',"
                                    "'{\"reason\":\"unknown_email\"}',"
                                    "'{\"reason\":\"deactivated\"}')"),
                     3);
    assert_int_equal(outside_number("SELECT count(*) FROM users WHERE \"passwordHash\" LIKE "
                                    "'$argon2id$v=19$m=19456,t=2,p=1$%'"),
                     1);
}

static void tokens_are_valid_after_a_restart(void **state)
{
    char token[TOKEN_BYTES_MAX];

    assert_int_equal(registered("ada@example.org", "correct horse"), AUTH_OK);
    strcpy(token, last_token);
    everything_close();
    everything_open();
    assert_int_equal(verified(token), AUTH_OK);
}

static void take_secrets(const char *first, const char *second)
{
    struct secrets secrets = {.count = second ? 2 : 1};

    strcpy(secrets.keys[0], first);
    strcpy(secrets.keys[1], second ? second : "");
    auth_use_secrets(auth, &secrets);
}

/* As an operator changes keys: the new one in front, later the old one is removed. */
static void keys_can_be_changed(void **state)
{
    static const char old[] = "the-old-key-of-this-test-0123456789",
                      new[] = "the-new-key-of-this-test-0123456789";
    char by_old[TOKEN_BYTES_MAX], by_new[TOKEN_BYTES_MAX];
    struct token_claims claims;
    int64_t now_s = (int64_t)(clock_wall_ns() / NS_PER_S);

    take_secrets(old, NULL);
    assert_int_equal(registered("ada@example.org", "correct horse"), AUTH_OK);
    strcpy(by_old, last_token);
    take_secrets(new, old);
    assert_int_equal(verified(by_old), AUTH_OK);
    assert_true(auth_token_life_ms(auth, by_old) > 0 && auth_token_is_signed(auth, by_old));
    assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    strcpy(by_new, last_token);
    assert_true(token_verify(new, by_new, now_s, &claims)); /* the first key signs */
    assert_false(token_verify(old, by_new, now_s, &claims));
    assert_int_equal(verified(by_new), AUTH_OK);
    take_secrets(old, new); /* the old one in front again */
    assert_int_equal(verified(by_new), AUTH_OK);
    take_secrets(new, NULL); /* the old one is removed */
    assert_int_equal(verified(by_old), AUTH_REFUSED);
    assert_true(auth_token_life_ms(auth, by_old) == 0 && !auth_token_is_signed(auth, by_old));
    assert_int_equal(verified(by_new), AUTH_OK);
}

static void hash_starts_with(const char *prefix)
{
    char text[200];

    snprintf(text, sizeof(text), "SELECT count(*) FROM users WHERE \"passwordHash\" LIKE '%s%%'",
             prefix);
    if (outside_number(text) != 1)
        fail_msg("not %s", prefix);
}

/* After a higher cost is set, the next login makes a new hash. A lower cost changes no hash. */
static void a_higher_cost_applies_at_the_next_login(void **state)
{
    assert_int_equal(registered("ada@example.org", "correct horse"), AUTH_OK);
    hash_starts_with("$argon2id$v=19$m=19456,t=2,p=1$");
    setup_settings.argon2_passes = 3;
    assert_int_equal(logged_in("ada@example.org", "wrong", "192.0.2.1"), AUTH_REFUSED);
    hash_starts_with("$argon2id$v=19$m=19456,t=2,p=1$");
    assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    hash_starts_with("$argon2id$v=19$m=19456,t=3,p=1$");
    setup_settings.argon2_memory_kib = 20000;
    assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    hash_starts_with("$argon2id$v=19$m=20000,t=3,p=1$");
    setup_settings.argon2_passes = 2;
    setup_settings.argon2_lanes = 2;
    assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    hash_starts_with("$argon2id$v=19$m=20000,t=3,p=1$");
}

static void attempts_during_an_outage_do_not_count(void **state)
{
    sqlite3 *outside;

    setup_settings.account_attempts_per_minute = 1;
    assert_int_equal(registered("ada@example.org", "correct horse"), AUTH_OK);
    outside = outside_open();
    outside_run(outside, "PRAGMA journal_mode=WAL; BEGIN IMMEDIATE");
    assert_int_equal(registered("bob@example.org", "correct horse"), AUTH_UNAVAILABLE);
    assert_int_equal(logged_in("ada@example.org", "correct horse", "192.0.2.1"), AUTH_OK);
    outside_run(outside, "ROLLBACK");
    sqlite3_close(outside);
    assert_int_equal(registered("bob@example.org", "correct horse"), AUTH_OK);
}

static void a_bcrypt_hash_is_verified_and_replaced(void **state)
{
    sqlite3 *outside = outside_open();

    outside_run(outside, "INSERT INTO users (id,email,\"passwordHash\",\"displayName\") VALUES "
                         "('f47ac10b-58cc-4372-a567-0e02b2c3d479','old@example.org',"
                         "'$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW','Old')");
    sqlite3_close(outside);
    assert_int_equal(logged_in("old@example.org", "wrong", "192.0.2.1"), AUTH_REFUSED);
    assert_int_equal(outside_number("SELECT \"passwordHash\" LIKE '$2a$%' FROM users"), 1);
    assert_int_equal(logged_in("old@example.org", "U*U", "192.0.2.1"), AUTH_OK);
    assert_int_equal(
        outside_number("SELECT \"passwordHash\" LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'"
                       " FROM users"),
        1);
    assert_int_equal(logged_in("old@example.org", "U*U", "192.0.2.1"), AUTH_OK);
    assert_int_equal(logged_in("old@example.org", "wrong", "192.0.2.1"), AUTH_REFUSED);
}

static void a_close_answers_every_request_once(void **state)
{
    char email[40];

    for (unsigned i = 0; i < 40; i++) {
        snprintf(email, sizeof(email), "%u@example.org", i);
        auth_register(auth, email, "correct horse", "A", "192.0.2.1", on_auth, NULL);
        auth_login(auth, email, "correct horse", "192.0.2.1", on_auth, NULL);
        auth_verify(auth, "x", on_auth, NULL);
    }
    loop_for(&test_loop, 30);
    everything_close();
    LOOP_UNTIL(&test_loop, answers >= 120);
    loop_for(&test_loop, 50);
    assert_int_equal(answers, 120);
}

/* An account of the NestJS backend: its domain is stored as people write it. */
static void an_account_is_found_by_both_forms_of_its_domain(void **state)
{
    outside_t *outside = outside_open();
    char text[600], hash[PASSWORD_HASH_BYTES];
    struct password_cost cost = {setup_settings.argon2_memory_kib, setup_settings.argon2_passes,
                                 setup_settings.argon2_lanes};

    assert_true(password_hash(&cost, "correct horse", hash));
    snprintf(text, sizeof(text),
             "INSERT INTO users (\"id\", \"email\", \"passwordHash\", \"displayName\") VALUES"
             " ('f47ac10b-58cc-4372-a567-0e02b2c3d479', 'j\xc3\xb6rg@b\xc3\xbc"
             "cher.example', '%s', 'J')",
             hash);
    outside_run(outside, text);
    outside_close(outside);
    for (unsigned i = 0; i < 30; i++) /* successes do not count, also those found late */
        assert_int_equal(
            logged_in("j\xc3\xb6rg@xn--bcher-kva.example", "correct horse", "192.0.2.1"), AUTH_OK);
    assert_string_equal(last_user.id, "f47ac10b-58cc-4372-a567-0e02b2c3d479");
    assert_int_equal(logged_in("j\xc3\xb6rg@xn--bcher-kva.example", "guess", "192.0.2.1"),
                     AUTH_REFUSED);
    assert_int_equal(registered("j\xc3\xb6rg@xn--bcher-kva.example", "correct horse"),
                     AUTH_DUPLICATE);
    assert_int_equal(registered("other@xn--bcher-kva.example", "correct horse"), AUTH_OK);
    assert_int_equal(logged_in("other@xn--bcher-kva.example", "correct horse", "192.0.2.1"),
                     AUTH_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ACCOUNT_TEST(register_login_verify_deactivate),
        ACCOUNT_TEST(tokens_are_valid_after_a_restart),
        ACCOUNT_TEST(keys_can_be_changed),
        ACCOUNT_TEST(a_higher_cost_applies_at_the_next_login),
        ACCOUNT_TEST(attempts_during_an_outage_do_not_count),
        ACCOUNT_TEST(a_bcrypt_hash_is_verified_and_replaced),
        ACCOUNT_TEST(a_close_answers_every_request_once),
        ACCOUNT_TEST(an_account_is_found_by_both_forms_of_its_domain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
