/* Audit: every row that was written is in the table exactly once and in order, whatever dies. */
#include "people.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "controlplane/people/audit.c"

static uv_loop_t test_loop;

static int setup(void **state)
{
    spool_bytes_max = 256ull << 20;
    spool_segment_bytes_max = 1ull << 20;
    return folder_make(state) || uv_loop_init(&test_loop);
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < 1000 && uv_run(&test_loop, UV_RUN_NOWAIT); i++)
        usleep(1000); /* bounded: after a failure handles are left */
    return uv_loop_close(&test_loop) || folder_remove(state);
}

static struct audit *audit_start(struct persistence *store)
{
    char why[192] = "";
    struct audit *audit = audit_open(&test_loop, store, &setup_settings, why);

    if (!audit)
        fail_msg("%s", why);
    return audit;
}

static void stop(struct audit *audit, struct persistence *store)
{
    audit_close(audit);
    store_close(&test_loop, store);
    uv_run(&test_loop, UV_RUN_DEFAULT);
}

static void row_write(struct audit *audit, unsigned n)
{
    audit_write(audit, AUDIT_user_joined, NULL, "f47ac10b-58cc-4372-a567-0e02b2c3d479", "192.0.2.1",
                "{\"n\":%u}", n);
}

/* Waits until `count` rows are in the table. */
static void rows_wait(int64_t count, unsigned seconds)
{
    uint64_t end_ns = clock_monotonic_ns() + seconds * NS_PER_S;
    int64_t now;

    while ((now = outside_number("SELECT count(*) FROM audit_logs")) != count) {
        if (clock_monotonic_ns() > end_ns)
            fail_msg("%lld rows, not %lld", (long long)now, (long long)count);
        loop_for(&test_loop, 5);
    }
}

/* Rows 0 … count-1, each once, in the order of writing. */
static void rows_are_in_order(int64_t count)
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

static uint64_t spool_files_bytes(unsigned *files)
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

static void store_break(bool broken, const char *when)
{
    outside_t *outside = outside_open();
    char text[400];

    snprintf(text, sizeof(text), SQL_BREAK, when);
    outside_run(outside, broken ? text : SQL_REPAIR);
    outside_close(outside);
}

static void lines_go_there_and_back(void **state)
{
    static const struct audit_row rows[] = {
        {.id = "f47ac10b-58cc-4372-a567-0e02b2c3d479",
         .action = "room_created",
         .user_id = "00000000-0000-4000-8000-000000000001",
         .room_id = "00000000-0000-4000-8000-000000000002",
         .metadata = "{\"a\":\"- \\t\"}",
         .ip_address = "2001:db8::1",
         .created_us = 1700000000123456},
        {.id = "f47ac10b-58cc-4372-a567-0e02b2c3d479",
         .action = "user_left",
         .created_us = 1700000000123457},
    };
    char line[SPOOL_LINE_BYTES + 1], copy[SPOOL_LINE_BYTES + 1];
    struct audit_row back;

    for (size_t i = 0; i < 2; i++) {
        size_t length = spool_line_format(&rows[i], line);

        assert_int_equal(line[length - 1], '\n');
        memcpy(copy, line, length);
        assert_true(spool_line_parse(copy, length - 1, &back));
        assert_string_equal(back.id, rows[i].id);
        assert_string_equal(back.action, rows[i].action);
        assert_string_equal(back.user_id, rows[i].user_id);
        assert_string_equal(back.room_id, rows[i].room_id);
        assert_string_equal(back.ip_address, rows[i].ip_address);
        assert_int_equal(back.created_us, rows[i].created_us);
        if (rows[i].metadata)
            assert_string_equal(back.metadata, rows[i].metadata);
        else
            assert_null(back.metadata);
        for (size_t cut = 0; cut < length - 1; cut++) { /* torn anywhere */
            memcpy(copy, line, length);
            assert_false(spool_line_parse(copy, cut, &back));
        }
        for (size_t at = 0; at < length - 1; at++) { /* one bit turned anywhere */
            memcpy(copy, line, length);
            copy[at] = (char)(copy[at] ^ (1 << at % 7));
            assert_false(spool_line_parse(copy, length - 1, &back));
        }
    }
}

static void rows_arrive_whole_and_in_order(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned files;
    uint64_t start_ns, each_ns, worst_ns = 0;

    start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < 2000; i++) {
        each_ns = clock_monotonic_ns();
        row_write(audit, i);
        each_ns = clock_monotonic_ns() - each_ns;
        worst_ns = each_ns > worst_ns ? each_ns : worst_ns;
    }
    start_ns = clock_monotonic_ns() - start_ns;
    print_message("# audit_write: mean %.1f us, worst %.1f us\n", (double)start_ns / 2000 / 1e3,
                  (double)worst_ns / 1e3);
    rows_wait(2000, 5);
    rows_are_in_order(2000);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE \"userId\" IS NULL AND "
                                    "\"roomId\"='f47ac10b-58cc-4372-a567-0e02b2c3d479' AND "
                                    "\"ipAddress\"='192.0.2.1' AND action='user_joined' AND "
                                    "" SQL_MS("\"createdAt\"") " > 1700000000000"),
                     2000);
    loop_for(&test_loop, 50);
    assert_int_equal(spool_files_bytes(&files), 0); /* stored is forgotten */
    stop(audit, store);
}

static void metadata_is_json_or_nothing(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    char big[4000];

    memset(big, 'a', sizeof(big) - 1);
    big[sizeof(big) - 1] = 0;
    audit_write(audit, AUDIT_user_left, NULL, NULL, NULL, NULL);
    audit_write(audit, AUDIT_user_left, "", "", "", "{}");
    audit_write(audit, AUDIT_user_left, NULL, NULL, NULL, "not json");
    audit_write(audit, AUDIT_user_left, NULL, NULL, NULL, "[]");
    audit_write(audit, AUDIT_user_left, NULL, NULL, NULL, "{\"a\":\"%s\"}", "x\ty\nz");
    audit_write(audit, AUDIT_user_left, NULL, NULL, NULL, "{\"a\":\"%s\"}", big);
    rows_wait(6, 3);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE metadata IS NULL"), 5);
    stop(audit, store);
}

/* The store fails in the middle of a batch, twice, and is repaired. */
static void the_spool_is_replayed_once_and_in_order(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned files;

    store_break(true, "NEW.metadata = '{\"n\":150}'");
    for (unsigned i = 0; i < 300; i++)
        row_write(audit, i);
    loop_for(&test_loop, 400);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs"), 128); /* whole batches */
    assert_true(audit->away);
    assert_true(spool_files_bytes(&files) > 0);
    for (unsigned i = 300; i < 500; i++) { /* calls go on */
        row_write(audit, i);
        loop_for(&test_loop, 1);
    }
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs"), 128);
    store_break(false, "");
    store_break(true, "NEW.metadata = '{\"n\":400}'");
    rows_wait(384, 5);
    store_break(false, "");
    rows_wait(500, 5);
    rows_are_in_order(500);
    loop_for(&test_loop, 50);
    assert_int_equal(spool_files_bytes(&files), 0);
    assert_false(audit->away);
    stop(audit, store);
}

static void a_locked_store_only_delays(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    outside_t *outside = outside_open();

    outside_run(outside, SQL_LOCK_AUDIT);
    for (unsigned i = 0; i < 100; i++)
        row_write(audit, i);
    loop_for(&test_loop, 1200);
    assert_true(audit->away);
    outside_run(outside, "ROLLBACK");
    outside_close(outside);
    rows_wait(100, 5);
    rows_are_in_order(100);
    stop(audit, store);
}

/* What an older version left behind: milliseconds. And: no row is older than the one before. */
static void times_say_the_order(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    struct audit_row old = {.id = "f47ac10b-58cc-4372-a567-0e02b2c3d479",
                            .action = "user_left",
                            .created_us = 1700000000123};
    char line[SPOOL_LINE_BYTES + 1];
    struct audit_row back;

    assert_true(spool_line_parse(line, spool_line_format(&old, line) - 1, &back));
    assert_int_equal(back.created_us, 1700000000123000);
    for (unsigned i = 0; i < 1000; i++) {
        int64_t before = audit->written_us;

        row_write(audit, i);
        assert_true(audit->written_us > before);
    }
    audit->written_us += 500000; /* the clock is set back by half a second */
    old.created_us = audit->written_us;
    row_write(audit, 1000);
    assert_int_equal(audit->written_us, old.created_us + 1);
    rows_wait(1001, 5);
    rows_are_in_order(1001);
    audit->written_us += 3600 * 1000000ll; /* and by an hour: believed */
    row_write(audit, 1001);
    assert_true(audit->written_us < (int64_t)(clock_wall_ns() / 1000) + 1000000);
    stop(audit, store);
}

static void segments_turn_over_and_are_removed(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned files;

    spool_segment_bytes_max = 3000;
    store_break(true, "1");
    for (unsigned i = 0; i < 400; i++) {
        row_write(audit, i);
        if (i % 50 == 0)
            loop_for(&test_loop, 5);
    }
    assert_true(spool_files_bytes(&files) > 40000);
    assert_true(files > 10);
    store_break(false, "");
    rows_wait(400, 5);
    rows_are_in_order(400);
    loop_for(&test_loop, 50);
    assert_int_equal(spool_files_bytes(&files), 0);
    assert_true(files <= 1);
    stop(audit, store);
}

/* Neither store nor disk takes rows: memory does, up to its bound; then rows are lost with an alarm
 * each, and what was kept still arrives, in order. */
static void a_full_spool_keeps_in_memory_and_alarms(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned in_spool;

    spool_bytes_max = 20000;
    store_break(true, "1");
    for (in_spool = 0; audit->kept_count == 0; in_spool++)
        row_write(audit, in_spool);
    for (unsigned i = in_spool; i < in_spool + KEPT_ROWS_MAX + 99; i++)
        row_write(audit, i);
    assert_true(audit->disk_full);
    assert_int_equal(audit->lost, 100);
    loop_for(&test_loop, 300);
    store_break(false, "");
    rows_wait(in_spool - 1 + KEPT_ROWS_MAX, 5);
    rows_are_in_order(in_spool - 1 + KEPT_ROWS_MAX);
    row_write(audit, 1000000); /* and all is well again */
    rows_wait(in_spool + KEPT_ROWS_MAX, 5);
    assert_int_equal(audit->kept_count, 0);
    stop(audit, store);
}

static void a_filling_spool_calls_for_help_in_time(void **state)
{
    static const struct {
        unsigned percent, alarms;
        const char *status;
    } rows[] = {{20, 0, "ok"},
                {30, 1, "the audit spool is a quarter full"},
                {60, 2, "the audit spool is half full"},
                {80, 3, "the audit spool is three quarters full"},
                {95, 4, "the audit spool is nearly full: audit rows will be lost"}};
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    struct audit_health health;
    unsigned n = 0;

    spool_bytes_max = 100000;
    store_break(true, "1");
    for (unsigned i = 0; i < 5; i++) {
        while (spool_bytes(audit->spool) < rows[i].percent * 1000)
            row_write(audit, n++);
        audit_health(audit, &health);
        assert_string_equal(health.status, rows[i].status);
        assert_int_equal(health.alarms, rows[i].alarms);
        assert_int_equal(health.spool_bytes_max, 100000);
        assert_true(health.spool_bytes >= rows[i].percent * 1000);
    }
    assert_int_equal(health.rows_lost, 0);
    store_break(false, "");
    rows_wait(n, 10);
    loop_for(&test_loop, 50);
    audit_health(audit, &health);
    assert_string_equal(health.status, "ok");
    assert_int_equal(health.spool_bytes, 0);
    assert_int_equal(health.alarms, 4); /* counted since the start */
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
    setrlimit(RLIMIT_FSIZE, &before);
    assert_true(audit->kept_count > 0 && audit->kept_count < 100);
    assert_int_equal(audit->lost, 0);
    store_break(false, "");
    rows_wait(100, 5);
    rows_are_in_order(100);
    assert_int_equal(spool_damaged_lines(audit->spool), 0);
    stop(audit, store);
}

static void a_close_stores_what_is_left(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned files;

    for (unsigned i = 0; i < 1000; i++) {
        row_write(audit, i);
        if (i == 500)
            loop_for(&test_loop, 15); /* a batch is on its way while we close */
    }
    stop(audit, store);
    rows_are_in_order(1000);
    assert_int_equal(spool_files_bytes(&files), 0);
}

static void a_close_while_the_store_is_away_keeps_the_spool(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);

    store_break(true, "1");
    for (unsigned i = 0; i < 300; i++)
        row_write(audit, i);
    loop_for(&test_loop, 30);
    stop(audit, store);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs"), 0);
    store_break(false, "");
    store = store_open(&test_loop);
    audit = audit_start(store);
    for (unsigned i = 300; i < 320; i++) /* newer ones stay behind older ones */
        row_write(audit, i);
    rows_wait(320, 5);
    rows_are_in_order(320);
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

static void one_process_per_directory(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    char why[192] = "";

    assert_null(audit_open(&test_loop, store, &setup_settings, why));
    assert_non_null(strstr(why, "another control plane already works with the data directory"));
    stop(audit, store);
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
        row_write(audit, first + i);
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

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_go_there_and_back),
        T(rows_arrive_whole_and_in_order),
        T(metadata_is_json_or_nothing),
        T(the_spool_is_replayed_once_and_in_order),
        T(a_locked_store_only_delays),
        T(times_say_the_order),
        T(segments_turn_over_and_are_removed),
        T(a_full_spool_keeps_in_memory_and_alarms),
        T(a_filling_spool_calls_for_help_in_time),
        T(a_full_disk_takes_no_half_rows),
        T(a_close_stores_what_is_left),
        T(a_close_while_the_store_is_away_keeps_the_spool),
        T(a_torn_tail_is_left_out),
        T(one_process_per_directory),
        T(killed_in_the_middle_loses_nothing_acknowledged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
