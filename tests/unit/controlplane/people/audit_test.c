/* Audit: every row that was written is stored exactly once and in order. */
#include "audit_fixture.h"

static void a_row_survives_as_a_line_of_the_spool(void **state)
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
        for (size_t cut = 0; cut < length - 1; cut++) { /* cut off anywhere */
            memcpy(copy, line, length);
            assert_false(spool_line_parse(copy, cut, &back));
        }
        for (size_t at = 0; at < length - 1; at++) { /* one bit changed anywhere */
            memcpy(copy, line, length);
            copy[at] = (char)(copy[at] ^ (1 << at % 7));
            assert_false(spool_line_parse(copy, length - 1, &back));
        }
    }
}

static void rows_are_stored_whole_and_in_order(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
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
    rows_wait(2000);
    rows_are_in_order(2000);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE \"userId\" IS NULL AND "
                                    "\"roomId\"='f47ac10b-58cc-4372-a567-0e02b2c3d479' AND "
                                    "\"ipAddress\"='192.0.2.1' AND action='user_joined' AND "
                                    "" SQL_MS("\"createdAt\"") " > 1700000000000"),
                     2000);
    spool_wait_empty();
    stop(audit, store);
}

static void metadata_is_a_json_object_or_null(void **state)
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
    rows_wait(6);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE metadata IS NULL"), 5);
    stop(audit, store);
}

/* The database fails in the middle of a batch, twice. */
static void rows_in_the_spool_are_stored_once_and_in_order_later(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned files;

    database_break("NEW.metadata = '{\"n\":150}'");
    for (unsigned i = 0; i < 300; i++)
        row_write(audit, i);
    LOOP_UNTIL(&test_loop, audit->database_down);
    assert_int_equal(rows_stored(), 128); /* whole batches */
    assert_true(spool_files_bytes(&files) > 0);
    for (unsigned i = 300; i < 500; i++) { /* requests continue */
        row_write(audit, i);
        loop_for(&test_loop, 1);
    }
    assert_int_equal(rows_stored(), 128);
    database_repair();
    database_break("NEW.metadata = '{\"n\":400}'");
    rows_wait(384);
    database_repair();
    rows_wait(500);
    rows_are_in_order(500);
    spool_wait_empty();
    assert_false(audit->database_down);
    stop(audit, store);
}

static void a_locked_table_only_delays_the_rows(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    outside_t *outside = outside_open();

    outside_run(outside, SQL_LOCK_AUDIT);
    for (unsigned i = 0; i < 100; i++)
        row_write(audit, i);
    persistence_answer_ms_max = ANSWER_MS;
    LOOP_UNTIL(&test_loop, audit->database_down);
    persistence_answer_ms_max = EVENT_S * 1000;
    outside_run(outside, "ROLLBACK");
    outside_close(outside);
    rows_wait(100);
    rows_are_in_order(100);
    stop(audit, store);
}

/* Each row has a later time than the row before it. */
static void the_times_of_rows_give_their_order(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    int64_t last_us;

    for (unsigned i = 0; i < 1000; i++) {
        int64_t before = audit->last_row_us;

        row_write(audit, i);
        assert_true(audit->last_row_us > before);
    }
    audit->last_row_us += 500000; /* as if the clock was set back by half a second */
    last_us = audit->last_row_us;
    row_write(audit, 1000);
    assert_int_equal(audit->last_row_us, last_us + 1);
    rows_wait(1001);
    rows_are_in_order(1001);
    audit->last_row_us += 3600 * 1000000ll; /* as if by an hour: the new time counts */
    row_write(audit, 1001);
    assert_true(audit->last_row_us < (int64_t)(clock_wall_ns() / 1000) + 1000000);
    stop(audit, store);
}

static void full_segments_are_removed_when_their_rows_are_stored(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned files;

    spool_segment_bytes_max = 3000;
    database_break("1");
    for (unsigned i = 0; i < 400; i++) {
        row_write(audit, i);
        if (i % 50 == 0)
            loop_for(&test_loop, 5);
    }
    assert_true(spool_files_bytes(&files) > 40000);
    assert_true(files > 10);
    database_repair();
    rows_wait(400);
    rows_are_in_order(400);
    spool_wait_empty();
    LOOP_UNTIL(&test_loop, (spool_files_bytes(&files), files <= 1));
    stop(audit, store);
}

static void a_close_stores_the_rows_that_wait(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    unsigned files;

    for (unsigned i = 0; i < 1000; i++) {
        row_write(audit, i);
        if (i == 500)
            LOOP_UNTIL(&test_loop, audit->sending); /* a batch is on its way when audit closes */
    }
    stop(audit, store);
    rows_are_in_order(1000);
    assert_int_equal(spool_files_bytes(&files), 0);
}

static void a_close_while_the_database_is_down_keeps_the_spool(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);

    database_break("1");
    for (unsigned i = 0; i < 300; i++)
        row_write(audit, i);
    loop_for(&test_loop, 30);
    stop(audit, store);
    assert_int_equal(rows_stored(), 0);
    database_repair();
    store = store_open(&test_loop);
    audit = audit_start(store);
    for (unsigned i = 300; i < 320; i++) /* newer rows stay behind older ones */
        row_write(audit, i);
    rows_wait(320);
    rows_are_in_order(320);
    stop(audit, store);
}

static void in_data_directory(char path[600], const char *name)
{
    snprintf(path, 600, "%s/%s", setup_settings.data_directory, name);
}

/* Segments whose numbers are far apart, and what only has the name of one. */
static void odd_names_do_not_stop_the_spool(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    char from[600], to[600], path[600], name[64];
    struct stat file;
    int fd;

    spool_segment_bytes_max = 3000;
    database_break("1");
    for (unsigned i = 0; i < 100; i++)
        row_write(audit, i);
    loop_for(&test_loop, 30);
    stop(audit, store);
    for (unsigned n = 2; n < 40; n++) { /* all but the first: in the same order, far behind it */
        snprintf(name, sizeof(name), "audit-spool-%016x", n);
        in_data_directory(from, name);
        snprintf(name, sizeof(name), "audit-spool-00ffffff%08x", n);
        in_data_directory(to, name);
        if (stat(from, &file) == 0)
            assert_int_equal(rename(from, to), 0);
    }
    in_data_directory(path, "audit-spool-0000000000000002");
    assert_int_equal(mkdir(path, 0700), 0);
    in_data_directory(path, "audit-spool-00ffffff00000100"); /* the next number is taken */
    assert_int_equal(mkdir(path, 0700), 0);
    in_data_directory(path, "audit-spool-ffffffffffffffff");
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    database_repair();
    store = store_open(&test_loop);
    audit = audit_start(store);
    for (unsigned i = 100; i < 120; i++)
        assert_true(row_write(audit, i));
    rows_wait(120);
    rows_are_in_order(120);
    stop(audit, store);
    in_data_directory(to, "audit-spool-00ffffff00000002");
    assert_int_equal(stat(to, &file), -1); /* stored, so it is gone */
    assert_int_equal(unlink(path), 0);     /* not ours, so it stays */
    in_data_directory(path, "audit-spool-0000000000000002");
    assert_int_equal(rmdir(path), 0);
    in_data_directory(path, "audit-spool-00ffffff00000100");
    assert_int_equal(rmdir(path), 0);
}

static void only_one_process_may_use_a_data_directory(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    char why[WHY_BYTES] = "";

    assert_null(audit_open(&test_loop, store, &setup_settings, why));
    assert_non_null(strstr(why, "another control plane already uses the data directory"));
    stop(audit, store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_survives_as_a_line_of_the_spool),
        AUDIT_TEST(rows_are_stored_whole_and_in_order),
        AUDIT_TEST(metadata_is_a_json_object_or_null),
        AUDIT_TEST(rows_in_the_spool_are_stored_once_and_in_order_later),
        AUDIT_TEST(a_locked_table_only_delays_the_rows),
        AUDIT_TEST(the_times_of_rows_give_their_order),
        AUDIT_TEST(full_segments_are_removed_when_their_rows_are_stored),
        AUDIT_TEST(a_close_stores_the_rows_that_wait),
        AUDIT_TEST(a_close_while_the_database_is_down_keeps_the_spool),
        AUDIT_TEST(odd_names_do_not_stop_the_spool),
        AUDIT_TEST(only_one_process_may_use_a_data_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
