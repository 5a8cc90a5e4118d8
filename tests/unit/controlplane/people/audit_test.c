/* Audit: every row that was written is in the table exactly once and in order. */
#include "audit_world.h"

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
    rows_wait(2000, 20);
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
    assert_true(audit->database_down);
    assert_true(spool_files_bytes(&files) > 0);
    for (unsigned i = 300; i < 500; i++) { /* calls go on */
        row_write(audit, i);
        loop_for(&test_loop, 1);
    }
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs"), 128);
    store_break(false, "");
    store_break(true, "NEW.metadata = '{\"n\":400}'");
    rows_wait(384, 20);
    store_break(false, "");
    rows_wait(500, 20);
    rows_are_in_order(500);
    loop_for(&test_loop, 50);
    assert_int_equal(spool_files_bytes(&files), 0);
    assert_false(audit->database_down);
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
    assert_true(audit->database_down);
    outside_run(outside, "ROLLBACK");
    outside_close(outside);
    rows_wait(100, 20);
    rows_are_in_order(100);
    stop(audit, store);
}

/* No row is older than the one before. */
static void times_say_the_order(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    int64_t last_us;

    for (unsigned i = 0; i < 1000; i++) {
        int64_t before = audit->last_row_us;

        row_write(audit, i);
        assert_true(audit->last_row_us > before);
    }
    audit->last_row_us += 500000; /* the clock is set back by half a second */
    last_us = audit->last_row_us;
    row_write(audit, 1000);
    assert_int_equal(audit->last_row_us, last_us + 1);
    rows_wait(1001, 20);
    rows_are_in_order(1001);
    audit->last_row_us += 3600 * 1000000ll; /* and by an hour: believed */
    row_write(audit, 1001);
    assert_true(audit->last_row_us < (int64_t)(clock_wall_ns() / 1000) + 1000000);
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
    rows_wait(400, 20);
    rows_are_in_order(400);
    loop_for(&test_loop, 50);
    assert_int_equal(spool_files_bytes(&files), 0);
    assert_true(files <= 1);
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
    rows_wait(320, 20);
    rows_are_in_order(320);
    stop(audit, store);
}

static void one_process_per_directory(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct audit *audit = audit_start(store);
    char why[192] = "";

    assert_null(audit_open(&test_loop, store, &setup_settings, why));
    assert_non_null(strstr(why, "another control plane already uses the data directory"));
    stop(audit, store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_go_there_and_back),
        AUDIT_TEST(rows_arrive_whole_and_in_order),
        AUDIT_TEST(metadata_is_json_or_nothing),
        AUDIT_TEST(the_spool_is_replayed_once_and_in_order),
        AUDIT_TEST(a_locked_store_only_delays),
        AUDIT_TEST(times_say_the_order),
        AUDIT_TEST(segments_turn_over_and_are_removed),
        AUDIT_TEST(a_close_stores_what_is_left),
        AUDIT_TEST(a_close_while_the_store_is_away_keeps_the_spool),
        AUDIT_TEST(one_process_per_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
