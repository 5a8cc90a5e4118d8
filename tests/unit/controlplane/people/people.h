/* What the tests of people/ share: a data directory of their own, setup_settings, waiting on the loop, and
 * a look at the database from outside: SQLite, or with TEST_POSTGRES a PostgreSQL of their own. */
#ifndef RINGCAST_TEST_PEOPLE_H
#define RINGCAST_TEST_PEOPLE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw */
#endif
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "controlplane/people/databases.h"
#include "controlplane/people/uuid.h"
#include "src/clock.h"
#include "src/log.h"

static struct settings setup_settings;
static char folder[128];

#ifdef TEST_POSTGRES
#include "people_postgres.h"
#else
#include "people_sqlite.h"
#endif

static int folder_remove_one(const char *path, const struct stat *file, int kind, struct FTW *at)
{
    return remove(path);
}

static int folder_remove(void **state)
{
    return nftw(folder, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int folder_make(void **state)
{
    const char *base = getenv("TMPDIR");

    snprintf(folder, sizeof(folder), "%.90s/ringcast-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    memset(&setup_settings, 0, sizeof(setup_settings));
    snprintf(setup_settings.data_directory, sizeof(setup_settings.data_directory), "%s/data",
             folder);
    strcpy(setup_settings.persistence, "sqlite");
    strcpy(setup_settings.node_env, "development");
    setup_settings.jwt_expiration_s = 3600;
    setup_settings.room_participants_max = 100;
    setup_settings.transports_per_participant_max = 8;
    setup_settings.login_attempts_per_minute = 1000;
    setup_settings.account_attempts_per_minute = 5;
    setup_settings.argon2_memory_kib = 19456;
    setup_settings.argon2_passes = 2;
    setup_settings.argon2_lanes = 1;
    setup_settings.rate_limit_events = 60;
    setup_settings.rate_limit_window_s = 60;
#ifdef TEST_POSTGRES
    database_make();
#endif
    log_open("test", getenv("TEST_LOG") ? LOG_DEBUG : LOG_ERROR, false);
    if (!getenv("TEST_LOG")) /* expected complaints of the code under test */
        assert_non_null(freopen("/dev/null", "w", stderr));
    return 0;
}

/* Runs the loop until *count is `wanted`; fails after seconds. */
static inline void loop_until(uv_loop_t *loop, const unsigned *count, unsigned wanted,
                              unsigned seconds)
{
    uint64_t end_ns = clock_monotonic_ns() + seconds * NS_PER_S;

    while (*count < wanted) {
        uv_run(loop, UV_RUN_NOWAIT);
        if (clock_monotonic_ns() > end_ns)
            fail_msg("%u of %u after %u s", *count, wanted, seconds);
        usleep(200);
    }
}

static inline void loop_for(uv_loop_t *loop, unsigned ms)
{
    uint64_t end_ns = clock_monotonic_ns() + ms * NS_PER_MS;

    while (clock_monotonic_ns() < end_ns) {
        uv_run(loop, UV_RUN_NOWAIT);
        usleep(200);
    }
}

static inline void count_closed(void *context)
{
    ++*(unsigned *)context;
}

/* Open, and where that takes a moment connected. */
static inline struct persistence *store_open(uv_loop_t *loop)
{
    char why[192] = "";
    struct persistence *store = persistence_open(loop, &setup_settings, databases, why);

    if (!store)
        fail_msg("%s", why);
    for (unsigned i = 0; i < 1000 && strcmp(persistence_status(store), "ok"); i++)
        loop_for(loop, 5);
    assert_string_equal(persistence_status(store), "ok");
    return store;
}

static inline void store_close(uv_loop_t *loop, struct persistence *store)
{
    unsigned closed = 0;

    persistence_close(store, count_closed, &closed);
    loop_until(loop, &closed, 1, 5);
}

static inline struct user_row user_sample(const char *email)
{
    struct user_row user = {.is_active = true, .created_ms = 1700000000123, .updated_ms = 5};

    uuid_make(user.id);
    snprintf(user.email, sizeof(user.email), "%s", email);
    strcpy(user.password_hash, "$argon2id$x");
    strcpy(user.display_name, "Ada");
    return user;
}

#endif
