/* Persistence on SQLite: the seed's tables, every step, and a store that is locked, full or hung. */
#include "persistence_steps.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "controlplane/people/audit.h"
#include "controlplane/people/sqlite.h"

/* The database thread runs every query through this function, so that a test can make it hang. */
static _Atomic bool hang;

static void query_run_or_hang(struct sqlite_connection *connection, struct query *query)
{
    while (hang)
        usleep(1000);
    sqlite_query_run(connection, query);
}
#define sqlite_query_run query_run_or_hang
#include "controlplane/people/sqlite.c"
#undef sqlite_query_run
#include "controlplane/people/persistence.c"

static void columns_of(const char *table, char *out, size_t room)
{
    sqlite3 *database = outside_open();
    sqlite3_stmt *statement;
    char text[64];

    snprintf(text, sizeof(text), "PRAGMA table_info(%s)", table);
    sqlite3_prepare_v2(database, text, -1, &statement, NULL);
    out[0] = 0;
    while (sqlite3_step(statement) == SQLITE_ROW)
        snprintf(out + strlen(out), room - strlen(out), "%s ", sqlite3_column_text(statement, 1));
    sqlite3_finalize(statement);
    sqlite3_close(database);
}

static void tables_are_the_seeds_and_files_private(void **state)
{
    static const char *const rows[][2] = {
        {"users", "id email passwordHash displayName isActive createdAt updatedAt "},
        {"meetings", "id title roomCode hostId status maxParticipants startedAt endedAt "
                     "peakParticipants createdAt updatedAt "},
        {"audit_logs", "id action userId roomId metadata ipAddress createdAt "},
    };
    static const char *const files[] = {"ringcast.sqlite3", "ringcast.sqlite3-wal",
                                        "ringcast.sqlite3-shm"};
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");
    char text[600];
    struct stat file;

    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    for (unsigned i = 0; i < 3; i++) {
        columns_of(rows[i][0], text, sizeof(text));
        assert_string_equal(text, rows[i][1]);
        snprintf(text, sizeof(text), "%s/%s", setup_settings.data_directory, files[i]);
        assert_int_equal(stat(text, &file), 0);
        assert_int_equal(file.st_mode & 0777, 0600);
    }
    assert_int_equal(stat(setup_settings.data_directory, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0700);
    assert_int_equal(outside_number("PRAGMA user_version"), sqlite_migration_count);
    assert_string_equal(persistence_status(store), "ok");
    store_close(&test_loop, store);
}

static unsigned ticks;
static uint64_t tick_ns, tick_gap_ns;

static void tick(uv_timer_t *timer)
{
    uint64_t now_ns = clock_monotonic_ns();

    if (ticks++ && now_ns - tick_ns > tick_gap_ns)
        tick_gap_ns = now_ns - tick_ns;
    tick_ns = now_ns;
}

static void a_locked_store_is_unavailable_within_a_second(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row users[20];
    sqlite3 *outside = outside_open();
    uint64_t start_ns;
    uv_timer_t ticker;
    unsigned recovered = 0;

    ticks = 0;
    tick_gap_ns = 0;
    uv_timer_init(&test_loop, &ticker);
    uv_timer_start(&ticker, tick, 5, 5);
    outside_run(outside, "BEGIN IMMEDIATE");
    start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < 20; i++) {
        char email[32];

        snprintf(email, sizeof(email), "%u@example.org", i);
        users[i] = user_sample(email);
        user_insert(store, &users[i], on_done, NULL);
    }
    loop_until(&test_loop, &answers, 20, 3);
    answers = 0;
    assert_int_equal(last, PERSISTENCE_UNAVAILABLE);
    assert_in_range(clock_monotonic_ns() - start_ns, 500 * NS_PER_MS, 1100 * NS_PER_MS);
    assert_true(tick_gap_ns < 300 * NS_PER_MS); /* the loop went on (the machine is shared) */
    assert_string_equal(persistence_status(store), "database is locked by another process");
    user_by_email(store, "0@example.org", on_user, NULL); /* reading goes on, and is no health */
    assert_int_equal(answer_of_last(), PERSISTENCE_NOT_FOUND);
    assert_string_not_equal(persistence_status(store), "ok");
    outside_run(outside, "ROLLBACK");
    for (unsigned i = 0; i < 30 && !recovered; i++) { /* found out by itself */
        loop_for(&test_loop, 100);
        recovered = !strcmp(persistence_status(store), "ok");
    }
    assert_true(recovered);
    user_insert(store, &users[0], on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    sqlite3_close(outside);
    uv_close((uv_handle_t *)&ticker, NULL);
    store_close(&test_loop, store);
}

static void a_hung_store_is_answered_for(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");
    uint64_t start_ns = clock_monotonic_ns();

    hang = true;
    user_insert(store, &user, on_done, NULL);
    for (unsigned i = 0; i < 9; i++)
        user_by_email(store, "ada@example.org", on_user, NULL);
    loop_until(&test_loop, &answers, 10, 3);
    assert_int_equal(last, PERSISTENCE_UNAVAILABLE);
    assert_in_range(clock_monotonic_ns() - start_ns, 800 * NS_PER_MS, 1300 * NS_PER_MS);
    assert_string_equal(persistence_status(store), "database does not answer");
    answers = 0;
    hang = false;
    loop_for(&test_loop, 1500);
    assert_int_equal(answers, 0); /* the late outcome is nobody's any more */
    assert_string_equal(persistence_status(store), "ok");
    user_by_id(store, user.id, on_user, NULL); /* done after all: repeats must be harmless */
    assert_int_equal(answer_of_last(), PERSISTED);
    store_close(&test_loop, store);
}

static void a_full_disk_is_unavailable_and_comes_back(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct rlimit before, small = {4096, 0};
    struct user_row user = user_sample("ada@example.org");
    unsigned recovered = 0;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_UNAVAILABLE);
    assert_string_not_equal(persistence_status(store), "ok");
    user_by_id(store, user.id, on_user, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_NOT_FOUND);
    loop_for(&test_loop, 1300); /* over a probe that fails */
    assert_string_not_equal(persistence_status(store), "ok");
    setrlimit(RLIMIT_FSIZE, &before);
    for (unsigned i = 0; i < 30 && !recovered; i++) {
        loop_for(&test_loop, 100);
        recovered = !strcmp(persistence_status(store), "ok");
    }
    assert_true(recovered);
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    store_close(&test_loop, store);
}

/* 6000 at once: as many as the queue takes are done, the others refused, each answered once. */
static void the_queue_is_bounded(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");

    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    hang = true;
    for (unsigned i = 0; i < QUEUE_QUERIES_MAX + 3000; i++)
        user_by_id(store, user.id, on_user, NULL);
    assert_int_equal(answers, 0);
    loop_for(&test_loop, 20);
    assert_int_equal(answers, 3000);
    assert_int_equal(last, PERSISTENCE_UNAVAILABLE);
    hang = false;
    loop_until(&test_loop, &answers, QUEUE_QUERIES_MAX + 3000, 3);
    assert_int_equal(last, PERSISTED);
    loop_for(&test_loop, 20);
    assert_int_equal(answers, QUEUE_QUERIES_MAX + 3000);
    answers = 0;
    /* and a close finishes what is queued */
    for (unsigned i = 0; i < 100; i++)
        user_by_id(store, user.id, on_user, NULL);
    store_close(&test_loop, store);
    assert_int_equal(answers, 100);
}

static void refusals_to_start_say_why(void **state)
{
    char why[192], path[600];
    sqlite3 *outside;
    int fd;

    store_close(&test_loop, store_open(&test_loop));
    outside = outside_open();
    outside_run(outside, "PRAGMA user_version = 99");
    sqlite3_close(outside);
    assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
    assert_non_null(strstr(why, "schema version 99"));

    snprintf(path, sizeof(path), "%s/ringcast.sqlite3", setup_settings.data_directory);
    fd = open(path, O_WRONLY | O_TRUNC);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(write(fd, "this is not a database, is it? ", 31), 31);
    close(fd);
    assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
    assert_non_null(strstr(why, "ringcast.sqlite3 cannot be used: file is not a database"));

    unlink(path);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
    assert_non_null(strstr(why, "cannot open"));
    unlink(path);

    fd = open(path, O_WRONLY | O_CREAT, 0644);
    close(fd);
    strcat(setup_settings.data_directory, "/ringcast.sqlite3/x");
    assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
    assert_non_null(strstr(why, "cannot create the data directory"));
    assert_non_null(strstr(why, "set data_directory"));

    strcpy(setup_settings.persistence, "oracle");
    assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
    assert_non_null(strstr(why, "it may be sqlite or postgres"));
}

static void a_directory_of_someone_else_says_why(void **state)
{
    int status;
    pid_t child;

    if (geteuid() != 0) { /* we are the someone else then */
        chmod(folder, 0500);
        char why[192];

        assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
        assert_non_null(strstr(why, "set data_directory"));
        chmod(folder, 0700);
        return;
    }
    assert_int_equal(mkdir(setup_settings.data_directory, 0755), 0);
    chmod(folder, 0755);
    child = fork();
    if (child == 0) {
        char why[192] = "";

        if (setgid(65534) != 0 || setuid(65534) != 0)
            _exit(2);
        _exit(!persistence_open(&test_loop, &setup_settings, databases, why) &&
                      strstr(why, "is not usable") && strstr(why, "user 65534")
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(tables_are_the_seeds_and_files_private),
        T(a_locked_store_is_unavailable_within_a_second),
        T(a_hung_store_is_answered_for),
        T(a_full_disk_is_unavailable_and_comes_back),
        T(the_queue_is_bounded),
        T(refusals_to_start_say_why),
        T(a_directory_of_someone_else_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
