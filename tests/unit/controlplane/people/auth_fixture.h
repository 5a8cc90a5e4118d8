/* What the tests of accounts share: persistence, audit log and accounts on one loop, and requests
 * that wait for their answer. */
#ifndef RINGCAST_TEST_AUTH_FIXTURE_H
#define RINGCAST_TEST_AUTH_FIXTURE_H

#include "people.h"

#include "controlplane/people/auth.h"
#include "controlplane/people/token.h"

static uv_loop_t test_loop;
static struct persistence *store;
static struct audit *audit;
static struct auth *auth;
static unsigned answers, by_result[AUTH_UNAVAILABLE + 1];
static enum auth_result last_result;
static uint32_t last_retry_s;
static struct user_row last_user;
static char last_token[TOKEN_BYTES_MAX];

static inline void on_auth(void *context, enum auth_result result, const struct user_row *user,
                           const char *token, uint32_t retry_after_s)
{
    answers++;
    by_result[result]++;
    last_result = result;
    last_retry_s = retry_after_s;
    assert_int_equal(user != NULL, result == AUTH_OK);
    if (user)
        last_user = *user;
    snprintf(last_token, sizeof(last_token), "%s", token ? token : "");
}

static inline void everything_open(void)
{
    char why[WHY_BYTES] = "";

    store = store_open(&test_loop);
    audit = audit_open(&test_loop, store, &setup_settings, why);
    auth = audit ? auth_open(&test_loop, store, audit, &setup_settings, why) : NULL;
    if (!auth)
        fail_msg("%s", why);
}

static inline void everything_close(void)
{
    auth_close(auth);
    audit_close(audit);
    store_close(&test_loop, store);
    auth = NULL;
}

static inline int setup(void **state)
{
    answers = 0;
    auth_refusal_ns = 0; /* tests of the delay set it */
    memset(by_result, 0, sizeof(by_result));
    if (folder_make(state) || uv_loop_init(&test_loop))
        return -1;
    everything_open();
    return 0;
}

static inline int teardown(void **state)
{
    if (auth)
        everything_close();
    /* After a failure handles may be open: do not wait for them for ever. */
    for (unsigned i = 0; i < 1000 && uv_run(&test_loop, UV_RUN_NOWAIT); i++)
        usleep(1000);
    return uv_loop_close(&test_loop) || folder_remove(state);
}

static inline enum auth_result answer_wait(void)
{
    assert_int_equal(answers, 0); /* no answer before the function has returned */
    LOOP_UNTIL(&test_loop, answers >= 1);
    answers = 0;
    return last_result;
}

static inline enum auth_result registered(const char *email, const char *password)
{
    auth_register(auth, email, password, "Ada", "192.0.2.1", on_auth, NULL);
    return answer_wait();
}

static inline enum auth_result logged_in(const char *email, const char *password, const char *ip)
{
    auth_login(auth, email, password, ip, on_auth, NULL);
    return answer_wait();
}

static inline enum auth_result verified(const char *token)
{
    auth_verify(auth, token, on_auth, NULL);
    return answer_wait();
}

static inline void set_active(const char *email, bool active)
{
    outside_t *outside = outside_open();
    char text[200];

    snprintf(text, sizeof(text), "UPDATE users SET \"isActive\"=%d WHERE email='%s'", active,
             email);
    outside_run(outside, text);
    outside_close(outside);
}

static inline int64_t audit_rows_of(const char *action)
{
    char text[200];

    snprintf(text, sizeof(text), "SELECT count(*) FROM audit_logs WHERE action='%s'", action);
    return outside_number(text);
}

/* The audit log has exactly this many rows of that action. */
static inline void audit_rows_check(const char *action, int64_t count)
{
    LOOP_UNTIL(&test_loop, audit_rows_of(action) >= count);
    loop_for(&test_loop, 50); /* one more would come now */
    assert_int_equal(audit_rows_of(action), count);
}

#define ACCOUNT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
