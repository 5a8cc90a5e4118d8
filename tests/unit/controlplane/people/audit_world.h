/* What the tests of the audit log share: rows that are numbered, a store that can be broken from outside,
 * and the proof that each row is there once and in order. */
#ifndef RINGCAST_TEST_AUDIT_WORLD_H
#define RINGCAST_TEST_AUDIT_WORLD_H

#include "people.h"

#include <dirent.h>

#include "controlplane/people/audit_internal.h"
#include "src/sanitizer.h"

static uv_loop_t test_loop;

static inline int setup(void **state)
{
    spool_bytes_max = 256ull << 20;
    spool_segment_bytes_max = 1ull << 20;
    spool_fsync = fsync;
    return folder_make(state) || uv_loop_init(&test_loop);
}

static inline int teardown(void **state)
{
    for (unsigned i = 0; i < 1000 && uv_run(&test_loop, UV_RUN_NOWAIT); i++)
        usleep(1000); /* bounded: after a failure handles are left */
    return uv_loop_close(&test_loop) || folder_remove(state);
}

static inline struct audit *audit_start(struct persistence *store)
{
    char why[192] = "";
    struct audit *audit = audit_open(&test_loop, store, &setup_settings, why);

    if (!audit)
        fail_msg("%s", why);
    return audit;
}

static inline void stop(struct audit *audit, struct persistence *store)
{
    audit_close(audit);
    store_close(&test_loop, store);
    uv_run(&test_loop, UV_RUN_DEFAULT);
}

/* True: it may be acknowledged. */
static inline bool row_write(struct audit *audit, unsigned n)
{
    return audit_write(audit, AUDIT_user_joined, NULL, "f47ac10b-58cc-4372-a567-0e02b2c3d479",
                       "192.0.2.1", "{\"n\":%u}", n);
}

/* Waits until `count` rows are in the table. */
static inline void rows_wait(int64_t count, unsigned seconds)
{
    uint64_t end_ns = clock_monotonic_ns() + seconds * NS_PER_S * SANITIZER_PATIENCE;
    int64_t now;

    while ((now = outside_number("SELECT count(*) FROM audit_logs")) != count) {
        if (clock_monotonic_ns() > end_ns)
            fail_msg("%lld rows, not %lld", (long long)now, (long long)count);
        loop_for(&test_loop, 5);
    }
}

/* Rows 0 … count-1, each once, in the order of writing. */
static inline void rows_are_in_order(int64_t count)
{
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs"), count);
    assert_int_equal(outside_number("SELECT count(DISTINCT " SQL_N ") "
                                    "FROM audit_logs"),
                     count);
    assert_int_equal(outside_number("SELECT count(*) FROM (SELECT " SQL_N " n, "
                                    "lag(" SQL_N ") OVER (ORDER BY " SQL_WRITTEN ") l "
                                    "FROM audit_logs) AS pairs WHERE n <= l"),
                     0);
}

static inline uint64_t spool_files_bytes(unsigned *files)
{
    DIR *list = opendir(setup_settings.data_directory);
    struct dirent *entry;
    uint64_t bytes = 0;

    *files = 0;
    while ((entry = readdir(list))) {
        struct stat file;

        if (strncmp(entry->d_name, "audit-spool-", 12) != 0)
            continue;
        assert_int_equal(fstatat(dirfd(list), entry->d_name, &file, 0), 0);
        assert_int_equal(file.st_mode & 0777, 0600);
        bytes += (uint64_t)file.st_size;
        ++*files;
    }
    closedir(list);
    return bytes;
}

static inline void store_break(bool broken, const char *when)
{
    outside_t *outside = outside_open();
    char text[400];

    snprintf(text, sizeof(text), SQL_BREAK, when);
    outside_run(outside, broken ? text : SQL_REPAIR);
    outside_close(outside);
}

static inline const char *audit_says(struct audit *audit)
{
    struct audit_health health;

    audit_health(audit, &health);
    return health.status;
}

#define AUDIT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
