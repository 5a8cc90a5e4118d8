/* Audit under faults: full disk, full spool, torn line, failed sync, kill. Rows that were confirmed
 * are stored once and in order; requests whose rows cannot be logged are refused (threats C22,
 * F19–F21). */
#include "audit_fixture.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

/* Database and disk take no rows: memory keeps them, up to its limit. After that each lost row is
 * logged, and the rows in memory are still stored, in order. */
static void rows_that_a_full_spool_refuses_stay_in_memory(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned in_spool;

    spool_bytes_max = 20000;
    database_break("1");
    for (in_spool = 0; audit->memory_count == 0; in_spool++)
        row_write(audit, in_spool);
    for (unsigned i = in_spool; i < in_spool + MEMORY_ROWS_MAX + 99; i++)
        row_write(audit, i);
    assert_false(audit_ready(audit, 1));
    assert_string_equal(audit_status(audit), "rows cannot be logged: the spool is full");
    assert_int_equal(audit->rows_lost, 100);
    LOOP_UNTIL(&test_loop, audit->database_down);
    database_repair();
    rows_wait(in_spool - 1 + MEMORY_ROWS_MAX);
    rows_are_in_order(in_spool - 1 + MEMORY_ROWS_MAX);
    row_write(audit, 1000000);
    rows_wait(in_spool + MEMORY_ROWS_MAX);
    LOOP_UNTIL(&test_loop, audit_ready(audit, 1));
    assert_int_equal(audit->memory_count, 0);
    assert_true(audit_ready(audit, 1));
    assert_string_equal(audit_status(audit), "ok");
    stop(audit, store);
}

static void a_full_disk_leaves_no_torn_lines(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    struct rlimit before, small;

    signal(SIGXFSZ, SIG_IGN);
    database_break("1");
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 5000; /* in the middle of a line */
    setrlimit(RLIMIT_FSIZE, &small);
    for (unsigned i = 0; i < 100; i++)
        row_write(audit, i);
    assert_false(audit_ready(audit, 1));
    setrlimit(RLIMIT_FSIZE, &before);
    assert_true(audit->memory_count > 0 && audit->memory_count < 100);
    assert_int_equal(audit->rows_lost, 0);
    database_repair();
    rows_wait(100);
    rows_are_in_order(100);
    assert_int_equal(spool_damaged_lines(audit->spool), 0);
    stop(audit, store);
}

static void damaged_lines_are_skipped(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    char path[600];
    FILE *file;

    database_break("1");
    for (unsigned i = 0; i < 10; i++)
        row_write(audit, i);
    loop_for(&test_loop, 30);
    stop(audit, store);
    database_repair();
    snprintf(path, sizeof(path), "%s/audit-spool-0000000000000001", setup_settings.data_directory);
    file = fopen(path, "a");
    assert_non_null(file);
    fputs("0badcafe\tf47ac10b-58cc\n", file); /* a whole line with a wrong checksum */
    fputs("12345678\tf47ac10b-58cc-4372-a567-0e02b2c3d479\tuser_lef", file);
    fclose(file);
    snprintf(path, sizeof(path), "%s/audit-spool-0000000000000007", setup_settings.data_directory);
    file = fopen(path, "w"); /* a file that is not a segment, without a newline */
    for (unsigned i = 0; i < 200000; i++)
        fputc(i % 251 == 10 ? 'x' : (int)(i % 251), file);
    fclose(file);
    store = store_open(&test_loop);
    audit = audit_start(store);
    rows_wait(10);
    row_write(audit, 10);
    rows_wait(11);
    rows_are_in_order(11);
    assert_true(spool_damaged_lines(audit->spool) >= 2);
    stop(audit, store);
}

static unsigned log_count(const char *words)
{
    char path[200], line[5000];
    unsigned count = 0;
    FILE *file;

    snprintf(path, sizeof(path), "%s/log", folder);
    file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        count += strstr(line, words) != NULL;
    fclose(file);
    return count;
}

static void log_capture(void)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/log", folder);
    log_open("test", LOG_WARN, false);
    log_redirect(path);
}

/* The log warns long before the spool is full, once per level, and again only after the spool was
 * emptied. */
static void the_log_warns_once_per_level(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    struct audit_health health;
    unsigned n = 0;

    log_capture();
    spool_bytes_max = 60000;
    for (unsigned outage = 1; outage <= 2; outage++) {
        static const struct {
            unsigned percent, warnings;
            const char *status;
        } rows[] = {{49, 0, "ok"},
                    {51, 1, "the spool is 51 % full: bring the database back"},
                    {79, 1, "the spool is 79 % full: bring the database back"},
                    {81, 2, "the spool is 81 % full: bring the database back"},
                    {94, 2, "the spool is 94 % full: bring the database back"},
                    {95, 3, "the spool is 95 % full: bring the database back"}};

        database_break("1");
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            while (spool_bytes(audit->spool) * 100 / spool_bytes_max < rows[i].percent)
                assert_true(row_write(audit, n++));
            assert_string_equal(audit_status(audit), rows[i].status);
            assert_int_equal(log_count("the audit spool is filling up"),
                             3 * (outage - 1) + rows[i].warnings);
        }
        while (audit_ready(audit, 1))
            assert_true(row_write(audit, n++));
        assert_string_equal(audit_status(audit), "rows cannot be logged: the spool is full");
        while (row_write(audit, n)) /* rows without a request: a socket that disconnects */
            n++;
        n++;
        assert_int_equal(log_count("the audit spool is full"), outage);
        audit_health(audit, &health);
        assert_int_equal(health.alarms, 4 * outage);
        assert_int_equal(health.requests_refused, outage);
        assert_int_equal(health.rows_in_memory, 1);
        loop_for(&test_loop, 50);
        database_repair();
        rows_wait(n);
        LOOP_UNTIL(&test_loop, strcmp(audit_status(audit), "ok") == 0);
        assert_true(audit_ready(audit, 1));
    }
    rows_are_in_order(n);
    stop(audit, store);
}

/* ---- a disk that is full: a file system of 24 MiB that only this process sees ---- */

static bool own_mounts(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int small_disk(void **state)
{
    if (setup(state) || mkdir(setup_settings.data_directory, 0755))
        return -1;
    return mount("ringcast-test", setup_settings.data_directory, "tmpfs", 0, "size=24m");
}

static int small_disk_unmount(void **state)
{
    umount(setup_settings.data_directory);
    return teardown(state);
}

static void ballast_path(char *path, size_t room)
{
    snprintf(path, room, "%s/ballast", setup_settings.data_directory);
}

/* Fills the disk until only `left` bytes are left. */
static void ballast_put(uint64_t leave_bytes)
{
    char path[600];
    struct statvfs disk;
    int fd;

    ballast_path(path, sizeof(path));
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(statvfs(setup_settings.data_directory, &disk), 0);
    assert_int_equal(posix_fallocate(fd, 0, (off_t)(disk.f_bavail * disk.f_bsize - leave_bytes)),
                     0);
    close(fd);
}

static void ballast_drop(void)
{
    char path[600];

    ballast_path(path, sizeof(path));
    assert_int_equal(unlink(path), 0);
}

/* Threat F19: requests are refused before a row can be lost, and every confirmed row is stored in
 * the end, although the database was down all the time. */
static void a_full_disk_refuses_requests_before_it_loses_rows(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned n = 0;

    database_break("1");
    ballast_put(600 << 10);
    while (audit_ready(audit, 1)) {
        assert_true(row_write(audit, n++));
        assert_true(n < 10000);
    }
    print_message("# %u rows in 600 KiB\n", n);
    assert_true(n > 500);
    assert_string_equal(audit_status(audit), "rows cannot be logged: No space left on device");
    loop_for(&test_loop, 50);
    assert_false(audit_ready(audit, 1));
    ballast_drop();
    assert_string_equal(audit_status(audit), "ok"); /* no request is needed for that */
    assert_true(audit_ready(audit, 1));
    assert_true(row_write(audit, n++));
    database_repair();
    rows_wait(n);
    rows_are_in_order(n);
    stop(audit, store);
}

/* Space that audit_ready has reserved is there, also when others fill the disk meanwhile. */
static void reserved_space_is_there_on_a_full_disk(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned n;

    database_break("1");
    assert_true(audit_ready(audit, 300));
    ballast_put(0);
    for (n = 0; n < 300; n++)
        assert_true(row_write(audit, n));
    while (row_write(audit, n)) /* audit_ready reserves more rows than asked for */
        n++;
    assert_true(n > 1000 && n < 20000);
    n++;
    assert_false(audit_ready(audit, 1));
    ballast_drop();
    assert_true(audit_ready(audit, 1)); /* the row in memory went to the spool */
    assert_int_equal(audit->memory_count, 0);
    assert_true(row_write(audit, n++));
    loop_for(&test_loop, 20);
    stop(audit, store); /* the database is still down: the next start sends the rows */
    database_repair();
    store = store_open(&test_loop);
    audit = audit_start(store);
    rows_wait(n);
    rows_are_in_order(n);
    stop(audit, store);
}

/* ---- a sync that fails ---- */

static _Atomic int syncs_to_fail, syncs_failed;

static int fsync_fails(int fd)
{
    int left = syncs_to_fail;

    if (left > 0 && atomic_compare_exchange_strong(&syncs_to_fail, &left, left - 1)) {
        syncs_failed++;
        errno = EIO;
        return -1;
    }
    return fsync(fd);
}

static uint64_t inode_of(uint64_t segment)
{
    char path[600];
    struct stat file;

    snprintf(path, sizeof(path), "%s/audit-spool-%016llx", setup_settings.data_directory,
             (unsigned long long)segment);
    return stat(path, &file) == 0 ? file.st_ino : 0;
}

/* Threat F21: requests are refused until the rows of the failed sync are in other files, which are
 * synced. */
static void a_failed_sync_refuses_requests_until_the_repair(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    uint64_t before;
    unsigned n = 0, files;

    spool_fsync = fsync_fails;
    syncs_failed = 0;
    database_break("1");
    for (; n < 200; n++)
        assert_true(row_write(audit, n));
    before = inode_of(1);
    assert_int_not_equal(before, 0);
    syncs_to_fail = 3; /* the first sync, and the first two attempts to repair */
    LOOP_UNTIL(&test_loop, !audit_ready(audit, 1));
    assert_non_null(strstr(audit_status(audit), "disk has errors"));
    row_write(audit, n++); /* without a request */
    assert_int_equal(inode_of(1), before);
    LOOP_UNTIL(&test_loop, audit_ready(audit, 1));
    assert_int_equal(syncs_failed, 3);
    assert_int_not_equal(inode_of(1), before); /* a new file */
    assert_string_equal(audit_status(audit), "ok");
    for (; n < 400; n++)
        assert_true(row_write(audit, n));
    loop_for(&test_loop, 100);
    database_repair();
    rows_wait(400);
    rows_are_in_order(400);
    spool_wait_empty();
    LOOP_UNTIL(&test_loop, (spool_files_bytes(&files), files <= 1));
    stop(audit, store);
}

/* The process died in a repair: the next start removes the unfinished copy. */
static void an_unfinished_repair_is_removed(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned files;
    char path[600];
    FILE *copy;

    stop(audit, store);
    snprintf(path, sizeof(path), "%s/audit-spool-0000000000000001.new",
             setup_settings.data_directory);
    copy = fopen(path, "w");
    fputs("half a li", copy);
    fclose(copy);
    chmod(path, 0600);
    store = store_open(&test_loop);
    audit = audit_start(store);
    assert_int_not_equal(access(path, F_OK), 0);
    row_write(audit, 0);
    rows_wait(1);
    stop(audit, store);
    assert_int_equal(spool_files_bytes(&files), 0);
}

/* By default ThreadSanitizer ends a child that starts threads when its parent had threads. Our
 * parent has joined all its threads before the fork. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

/* The child confirms each row with a byte in the pipe when audit_write has returned. */
static void child_writes(int pipe_fd, unsigned first)
{
    struct persistence *store;
    struct audit *audit;
    char why[WHY_BYTES];

    if (uv_loop_init(&test_loop) != 0 || !(store = store_open(&test_loop)) ||
        !(audit = audit_open(&test_loop, store, &setup_settings, why)))
        _exit(1);
    for (unsigned i = 0; i < 1000; i++) {
        if (!row_write(audit, first + i))
            _exit(3);
        if (write(pipe_fd, "x", 1) != 1)
            _exit(2);
        if (i % 8 == 0)
            uv_run(&test_loop, UV_RUN_NOWAIT);
    }
    for (;;)
        uv_run(&test_loop, UV_RUN_ONCE);
}

static void a_kill_loses_no_confirmed_row(void **state)
{
    unsigned confirmed[12] = {0};
    struct persistence *store;
    struct audit *audit;
    unsigned total = 0;
    char text[200];

    srand((unsigned)clock_monotonic_ns());
    for (unsigned round = 0; round < 12; round++) {
        int ends[2], status;
        char bytes[1000];
        ssize_t got;
        pid_t child;

        assert_int_equal(pipe(ends), 0);
        child = fork();
        if (child == 0)
            child_writes(ends[1], round * 1000);
        close(ends[1]);
        assert_int_equal(read(ends[0], bytes, 1), 1);
        usleep((useconds_t)(rand() % 30000));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        confirmed[round] = 1;
        while ((got = read(ends[0], bytes, sizeof(bytes))) > 0)
            confirmed[round] += (unsigned)got;
        close(ends[0]);
        total += confirmed[round];
    }
    print_message("# 12 kills, %u of 12000 rows were confirmed\n", total);
    store = store_open(&test_loop);
    audit = audit_start(store);
    LOOP_UNTIL(&test_loop, spool_is_empty(audit->spool));
    stop(audit, store);
    for (unsigned round = 0; round < 12; round++) {
        snprintf(text, sizeof(text),
                 "SELECT count(*) FROM audit_logs WHERE " SQL_N " >= %u AND "
                 "" SQL_N " < %u",
                 round * 1000, round * 1000 + confirmed[round]);
        assert_int_equal(outside_number(text), confirmed[round]);
    }
    assert_int_equal(outside_number("SELECT count(*) - count(DISTINCT " SQL_N ")"
                                    " FROM audit_logs"),
                     0);
    assert_int_equal(outside_number("SELECT count(*) FROM (SELECT " SQL_N " n, "
                                    "lag(" SQL_N ") OVER (ORDER BY " SQL_WRITTEN ") l "
                                    "FROM audit_logs) AS pairs WHERE n <= l"),
                     0);
}

#define SMALL_DISK_TEST(name) cmocka_unit_test_setup_teardown(name, small_disk, small_disk_unmount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDIT_TEST(rows_that_a_full_spool_refuses_stay_in_memory),
        AUDIT_TEST(a_full_disk_leaves_no_torn_lines),
        AUDIT_TEST(the_log_warns_once_per_level),
        SMALL_DISK_TEST(a_full_disk_refuses_requests_before_it_loses_rows),
        SMALL_DISK_TEST(reserved_space_is_there_on_a_full_disk),
        AUDIT_TEST(a_failed_sync_refuses_requests_until_the_repair),
        AUDIT_TEST(an_unfinished_repair_is_removed),
        AUDIT_TEST(damaged_lines_are_skipped),
        AUDIT_TEST(a_kill_loses_no_confirmed_row),
    };

    if (!own_mounts()) {
        print_message("# no right to mount a small disk: tests skipped\n");
        return getenv("CI") ? 1 : 0; /* in CI a skipped test is a failure */
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
