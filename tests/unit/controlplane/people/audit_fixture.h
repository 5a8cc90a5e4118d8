/* What the tests of the audit log share: numbered rows, a database that refuses rows when a test
 * says so, and a check that each row is stored once and in order. */
#ifndef RINGCAST_TEST_AUDIT_FIXTURE_H
#define RINGCAST_TEST_AUDIT_FIXTURE_H

#include "people.h"

#include <dirent.h>

#include "controlplane/people/audit_internal.h"

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
    /* After a failure handles may be open: do not wait for them for ever. */
    for (unsigned i = 0; i < 1000 && uv_run(&test_loop, UV_RUN_NOWAIT); i++)
        usleep(1000);
    return uv_loop_close(&test_loop) || folder_remove(state);
}

static inline struct audit *audit_start(struct persistence *store)
{
    char why[WHY_BYTES] = "";
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

/* True: the change that the row stands for may be confirmed. */
static inline bool row_write(struct audit *audit, unsigned n)
{
    return audit_write(audit, AUDIT_user_joined, NULL, "f47ac10b-58cc-4372-a567-0e02b2c3d479",
                       "192.0.2.1", "{\"n\":%u}", n);
}

static inline int64_t rows_stored(void)
{
    return outside_number("SELECT count(*) FROM audit_logs");
}

static inline void rows_wait(int64_t count)
{
    LOOP_UNTIL(&test_loop, rows_stored() == count);
}

/* Rows 0 to count - 1 are stored, each once, in the order of writing. */
static inline void rows_are_in_order(int64_t count)
{
    assert_int_equal(rows_stored(), count);
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

/* From now on the database refuses the rows for which the SQL condition `when` holds. */
static inline void database_break(const char *when)
{
    outside_t *outside = outside_open();
    char text[400];

    snprintf(text, sizeof(text), SQL_BREAK, when);
    outside_run(outside, text);
    outside_close(outside);
}

static inline void database_repair(void)
{
    outside_t *outside = outside_open();

    outside_run(outside, SQL_REPAIR);
    outside_close(outside);
}

/* The files of the spool have no rows any more. */
static inline void spool_wait_empty(void)
{
    unsigned files;

    LOOP_UNTIL(&test_loop, spool_files_bytes(&files) == 0);
}

static inline const char *audit_status(struct audit *audit)
{
    struct audit_health health;

    audit_health(audit, &health);
    return health.status;
}

#define AUDIT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
