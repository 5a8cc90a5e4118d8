/* Audit under faults: disk full, spool full, torn, sync failed, killed. What was acknowledged is in the
 * table once and in order; what cannot be logged is refused (threats.md C22, F19–F21). */
#include "audit_world.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

/* Neither store nor disk takes rows: memory does, up to its bound; then rows are lost with an alarm
 * each, and what was kept still arrives, in order. */
static void a_full_spool_keeps_in_memory_and_alarms(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned in_spool;

    spool_bytes_max = 20000;
    store_break(true, "1");
    for (in_spool = 0; audit->memory_count == 0; in_spool++)
        row_write(audit, in_spool);
    for (unsigned i = in_spool; i < in_spool + MEMORY_ROWS_MAX + 99; i++)
        row_write(audit, i);
    assert_false(audit_ready(audit, 1));
    assert_string_equal(audit_says(audit), "rows cannot be logged: the spool is full");
    assert_int_equal(audit->rows_lost, 100);
    loop_for(&test_loop, 300);
    store_break(false, "");
    rows_wait(in_spool - 1 + MEMORY_ROWS_MAX, 5);
    rows_are_in_order(in_spool - 1 + MEMORY_ROWS_MAX);
    row_write(audit, 1000000); /* and all is well again */
    rows_wait(in_spool + MEMORY_ROWS_MAX, 5);
    for (unsigned i = 0; i < 200 && !audit_ready(audit, 1); i++) /* the store's last answer */
        loop_for(&test_loop, 5);
    assert_int_equal(audit->memory_count, 0);
    assert_true(audit_ready(audit, 1));
    assert_string_equal(audit_says(audit), "ok");
    stop(audit, store);
}

static void a_full_disk_takes_no_half_rows(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    struct rlimit before, small;

    signal(SIGXFSZ, SIG_IGN);
    store_break(true, "1");
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
    store_break(false, "");
    rows_wait(100, 5);
    rows_are_in_order(100);
    assert_int_equal(spool_damaged_lines(audit->spool), 0);
    stop(audit, store);
}

static void a_torn_tail_is_left_out(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    char path[600];
    FILE *file;

    store_break(true, "1");
    for (unsigned i = 0; i < 10; i++)
        row_write(audit, i);
    loop_for(&test_loop, 30);
    stop(audit, store);
    store_break(false, "");
    snprintf(path, sizeof(path), "%s/audit-spool-0000000000000001", setup_settings.data_directory);
    file = fopen(path, "a");
    assert_non_null(file);
    fputs("0badcafe\tf47ac10b-58cc\n", file); /* a whole line that is not what was written */
    fputs("12345678\tf47ac10b-58cc-4372-a567-0e02b2c3d479\tuser_lef", file);
    fclose(file);
    snprintf(path, sizeof(path), "%s/audit-spool-0000000000000007", setup_settings.data_directory);
    file = fopen(path, "w"); /* one that is not ours at all, without a line end */
    for (unsigned i = 0; i < 200000; i++)
        fputc(i % 251 == 10 ? 'x' : (int)(i % 251), file);
    fclose(file);
    store = store_open(&test_loop);
    audit = audit_start(store);
    rows_wait(10, 5);
    row_write(audit, 10);
    rows_wait(11, 5);
    rows_are_in_order(11);
    assert_true(spool_damaged_lines(audit->spool) >= 2);
    stop(audit, store);
}

static unsigned said(const char *words)
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

static void listen_to_log(void)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/log", folder);
    log_open("test", LOG_WARN, false);
    assert_non_null(freopen(path, "a", stderr));
}

/* Long before it is full, once a level, and again only after it had emptied. */
static void alarms_come_once_a_level(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    struct audit_health health;
    unsigned n = 0;

    listen_to_log();
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

        store_break(true, "1");
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            while (spool_bytes(audit->spool) * 100 / spool_bytes_max < rows[i].percent)
                assert_true(row_write(audit, n++));
            assert_string_equal(audit_says(audit), rows[i].status);
            assert_int_equal(said("the audit spool fills up"), 3 * (outage - 1) + rows[i].warnings);
        }
        while (audit_ready(audit, 1))
            assert_true(row_write(audit, n++));
        assert_string_equal(audit_says(audit), "rows cannot be logged: the spool is full");
        while (row_write(audit, n)) /* what is no call goes on: a socket that breaks off */
            n++;
        n++;
        assert_int_equal(said("the audit spool is full"), outage);
        audit_health(audit, &health);
        assert_int_equal(health.alarms, 4 * outage);
        assert_int_equal(health.requests_refused, outage);
        assert_int_equal(health.rows_in_memory, 1);
        loop_for(&test_loop, 50);
        store_break(false, "");
        rows_wait(n, 5);
        for (unsigned i = 0; i < 200 && strcmp(audit_says(audit), "ok") != 0; i++)
            loop_for(&test_loop, 5);
        assert_string_equal(audit_says(audit), "ok");
        assert_true(audit_ready(audit, 1));
    }
    rows_are_in_order(n);
    stop(audit, store);
}

/* ---- a disk that is really full: a file system of 24 MiB that only this process sees ---- */

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

static int small_disk_gone(void **state)
{
    umount(setup_settings.data_directory);
    return teardown(state);
}

static void ballast_path(char *path, size_t room)
{
    snprintf(path, room, "%s/ballast", setup_settings.data_directory);
}

/* Fills the disk up to so many bytes. */
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

/* F19: calls are refused while nothing could be lost yet, and every row that a call was told of is
 * there in the end, although the store was away all the while. */
static void a_full_disk_refuses_calls_before_it_loses_rows(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned n = 0;

    store_break(true, "1");
    ballast_put(600 << 10);
    while (audit_ready(audit, 1)) {
        assert_true(row_write(audit, n++));
        assert_true(n < 10000);
    }
    print_message("# %u rows in 600 KiB\n", n);
    assert_true(n > 500);
    assert_string_equal(audit_says(audit), "rows cannot be logged: No space left on device");
    loop_for(&test_loop, 50);
    assert_false(audit_ready(audit, 1));
    ballast_drop();
    assert_string_equal(audit_says(audit), "ok"); /* by itself: nobody need call first */
    assert_true(audit_ready(audit, 1));
    assert_true(row_write(audit, n++));
    store_break(false, "");
    rows_wait(n, 5);
    rows_are_in_order(n);
    stop(audit, store);
}

/* What was promised holds, whoever takes the disk's last byte in between. */
static void a_promise_outlives_the_disks_last_byte(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned n;

    store_break(true, "1");
    assert_true(audit_ready(audit, 300));
    ballast_put(0);
    for (n = 0; n < 300; n++)
        assert_true(row_write(audit, n));
    while (row_write(audit, n)) /* and then some more were held */
        n++;
    assert_true(n > 1000 && n < 20000);
    n++;
    assert_false(audit_ready(audit, 1));
    ballast_drop();
    assert_true(audit_ready(audit, 1)); /* the row that memory had is in the spool now */
    assert_int_equal(audit->memory_count, 0);
    assert_true(row_write(audit, n++));
    loop_for(&test_loop, 20);
    stop(audit, store); /* the store is still away: the next start has it all */
    store_break(false, "");
    store = store_open(&test_loop);
    audit = audit_start(store);
    rows_wait(n, 5);
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

/* F21: calls are refused until what the failed sync covered lies in files that were synced. */
static void a_failed_sync_refuses_calls_until_repaired(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    uint64_t before, end_ns = clock_monotonic_ns() + 8 * NS_PER_S;
    unsigned n = 0, files;

    spool_fsync = fsync_fails;
    syncs_failed = 0;
    store_break(true, "1");
    for (; n < 200; n++)
        assert_true(row_write(audit, n));
    before = inode_of(1);
    assert_int_not_equal(before, 0);
    syncs_to_fail = 3; /* the first sync, and the first two attempts to repair */
    while (audit_ready(audit, 1)) {
        loop_for(&test_loop, 5);
        assert_true(clock_monotonic_ns() < end_ns);
    }
    assert_non_null(strstr(audit_says(audit), "disk fails"));
    row_write(audit, n++); /* no call: it goes on */
    assert_int_equal(inode_of(1), before);
    while (!audit_ready(audit, 1)) {
        loop_for(&test_loop, 5);
        assert_true(clock_monotonic_ns() < end_ns);
    }
    assert_int_equal(syncs_failed, 3);
    assert_int_not_equal(inode_of(1), before); /* not the file that was not synced */
    assert_string_equal(audit_says(audit), "ok");
    for (; n < 400; n++)
        assert_true(row_write(audit, n));
    loop_for(&test_loop, 100);
    store_break(false, "");
    rows_wait(400, 5);
    rows_are_in_order(400);
    loop_for(&test_loop, 50);
    assert_int_equal(spool_files_bytes(&files), 0);
    assert_true(files <= 1);
    stop(audit, store);
}

/* Died in a repair: the copy that was not finished is nobody's. */
static void a_torn_repair_leaves_nothing(void **state)
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
    rows_wait(1, 5);
    stop(audit, store);
    assert_int_equal(spool_files_bytes(&files), 0);
}

/* ThreadSanitizer ends a child that starts threads after a fork of a process that had some; ours has
 * joined them all by then. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

/* The child acknowledges (a byte down the pipe) each row when audit_write has returned. */
static void child_writes(int pipe_fd, unsigned first)
{
    struct persistence *store;
    struct audit *audit;
    char why[192];

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

static void killed_in_the_middle_loses_nothing_acknowledged(void **state)
{
    unsigned acknowledged[12] = {0};
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
        acknowledged[round] = 1;
        while ((got = read(ends[0], bytes, sizeof(bytes))) > 0)
            acknowledged[round] += (unsigned)got;
        close(ends[0]);
        total += acknowledged[round];
    }
    print_message("# 12 kills, %u of 12000 rows were acknowledged\n", total);
    store = store_open(&test_loop);
    audit = audit_start(store);
    for (unsigned i = 0; i < 500 && !spool_is_empty(audit->spool); i++)
        loop_for(&test_loop, 10);
    stop(audit, store);
    for (unsigned round = 0; round < 12; round++) {
        snprintf(text, sizeof(text),
                 "SELECT count(*) FROM audit_logs WHERE " SQL_N " >= %u AND "
                 "" SQL_N " < %u",
                 round * 1000, round * 1000 + acknowledged[round]);
        assert_int_equal(outside_number(text), acknowledged[round]);
    }
    assert_int_equal(outside_number("SELECT count(*) - count(DISTINCT " SQL_N ")"
                                    " FROM audit_logs"),
                     0);
    assert_int_equal(outside_number("SELECT count(*) FROM (SELECT " SQL_N " n, "
                                    "lag(" SQL_N ") OVER (ORDER BY " SQL_WRITTEN ") l "
                                    "FROM audit_logs) AS pairs WHERE n <= l"),
                     0);
}

#define SMALL_DISK_TEST(name) cmocka_unit_test_setup_teardown(name, small_disk, small_disk_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDIT_TEST(a_full_spool_keeps_in_memory_and_alarms),
        AUDIT_TEST(a_full_disk_takes_no_half_rows),
        AUDIT_TEST(alarms_come_once_a_level),
        SMALL_DISK_TEST(a_full_disk_refuses_calls_before_it_loses_rows),
        SMALL_DISK_TEST(a_promise_outlives_the_disks_last_byte),
        AUDIT_TEST(a_failed_sync_refuses_calls_until_repaired),
        AUDIT_TEST(a_torn_repair_leaves_nothing),
        AUDIT_TEST(a_torn_tail_is_left_out),
        AUDIT_TEST(killed_in_the_middle_loses_nothing_acknowledged),
    };

    if (!own_mounts()) {
        print_message("# not allowed to mount a small disk\n");
        return getenv("CI") ? 1 : 0; /* a green run there must have run them */
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
