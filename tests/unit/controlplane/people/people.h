/* What the tests of people/ share: a data directory for each test, setup_settings, waiting on the
 * loop, and access to the database from outside: SQLite, or with TEST_POSTGRES a PostgreSQL server
 * of the test. */
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

#include "controlplane/people/data_directory_open.h"
#include "controlplane/people/databases.h"
#include "controlplane/people/uuid.h"
#include "src/clock.h"
#include "src/log.h"
#include "tests/unit/patience.h"

#define EVENT_S 60    /* a test waits this long for an event: more than any machine needs */
#define ANSWER_MS 800 /* persistence_answer_ms_max of the product */

static struct settings setup_settings;
static char folder[128];

#ifdef TEST_POSTGRES
#include "people_postgres.h"
#else
#include "people_sqlite.h"
#endif

/* Sends the log, which writes to descriptor 2, to a file. cmocka writes to the stream stderr: it
 * stays visible. */
static inline void log_redirect(const char *path)
{
    static FILE *visible;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    if (!visible) {
        visible = fdopen(dup(2), "w");
        setvbuf(visible, NULL, _IONBF, 0);
        stderr = visible;
    }
    assert_int_equal(dup2(fd, 2), 2);
    close(fd);
}

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
    setup_settings.transports_per_participant_max = 128;
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
    if (!getenv("TEST_LOG")) /* the tests provoke errors: do not show them */
        log_redirect("/dev/null");
    return 0;
}

/* Runs the loop until the condition holds; fails after EVENT_S. */
#define LOOP_UNTIL(loop, condition)                                        \
    do {                                                                   \
        uint64_t end_ns_ = clock_monotonic_ns() + EVENT_S * NS_PER_S;      \
                                                                           \
        while (!(condition)) {                                             \
            uv_run(loop, UV_RUN_NOWAIT);                                   \
            if (clock_monotonic_ns() > end_ns_)                            \
                fail_msg("after %d s still not: %s", EVENT_S, #condition); \
            usleep(200);                                                   \
        }                                                                  \
    } while (0)

/* For what must not happen: runs the loop for a while. */
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

static inline struct persistence *store_begin(uv_loop_t *loop)
{
    char why[WHY_BYTES] = "";
    struct persistence *store = persistence_open(loop, &setup_settings, databases, why);

    persistence_answer_ms_max = ANSWER_MS;
    if (!store)
        fail_msg("%s", why);
    return store;
}

/* Opens persistence and waits until it works: PostgreSQL has to connect. After that a query has as
 * long as an event; tests of the time limit set persistence_answer_ms_max to ANSWER_MS. */
static inline struct persistence *store_open(uv_loop_t *loop)
{
    struct persistence *store = store_begin(loop);

    LOOP_UNTIL(loop, strcmp(persistence_status(store), "ok") == 0);
    persistence_answer_ms_max = EVENT_S * 1000;
    return store;
}

static inline void store_close(uv_loop_t *loop, struct persistence *store)
{
    unsigned closed = 0;

    persistence_close(store, count_closed, &closed);
    LOOP_UNTIL(loop, closed);
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
