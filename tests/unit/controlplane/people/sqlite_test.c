/* Persistence on SQLite: the tables of the NestJS backend, a database that is locked, hangs or is
 * on a full disk, and errors at the start. */
#include "persistence_fixture.h"

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

static void tables_are_those_of_the_nestjs_backend_and_files_are_private(void **state)
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
    assert_int_equal(answer_wait(), PERSISTED);
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

static void a_locked_database_is_unavailable_within_a_second(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row users[20];
    sqlite3 *outside = outside_open();
    uint64_t start_ns;

    persistence_answer_ms_max = ANSWER_MS;
    ticker_start();
    outside_run(outside, "BEGIN IMMEDIATE");
    start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < 20; i++) {
        char email[32];

        snprintf(email, sizeof(email), "%u@example.org", i);
        users[i] = user_sample(email);
        user_insert(store, &users[i], on_done, NULL);
    }
    LOOP_UNTIL(&test_loop, answers == 20);
    answers = 0;
    assert_int_equal(last_result, PERSISTENCE_UNAVAILABLE);
    assert_in_range((clock_monotonic_ns() - start_ns) / NS_PER_MS, 500, 1100 * patience());
    ticker_stop_and_check();
    persistence_answer_ms_max = EVENT_S * 1000;
    assert_string_equal(persistence_status(store), "database is locked by another process");
    user_by_email(store, "0@example.org", on_user, NULL); /* reads work, but do not prove health */
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);
    assert_string_not_equal(persistence_status(store), "ok");
    outside_run(outside, "ROLLBACK");
    LOOP_UNTIL(&test_loop, strcmp(persistence_status(store), "ok") == 0); /* a probe finds out */
    user_insert(store, &users[0], on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    sqlite3_close(outside);
    store_close(&test_loop, store);
}

static void queries_to_a_hung_database_are_answered(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");
    uint64_t start_ns = clock_monotonic_ns();

    persistence_answer_ms_max = ANSWER_MS;
    hang = true;
    user_insert(store, &user, on_done, NULL);
    for (unsigned i = 0; i < 9; i++)
        user_by_email(store, "ada@example.org", on_user, NULL);
    LOOP_UNTIL(&test_loop, answers == 10);
    assert_int_equal(last_result, PERSISTENCE_UNAVAILABLE);
    assert_in_range((clock_monotonic_ns() - start_ns) / NS_PER_MS, 800, 1300 * patience());
    assert_string_equal(persistence_status(store), "database does not answer");
    answers = 0;
    persistence_answer_ms_max = EVENT_S * 1000;
    hang = false;
    LOOP_UNTIL(&test_loop, strcmp(persistence_status(store), "ok") == 0);
    assert_int_equal(answers, 0);              /* the late results were dropped */
    user_by_id(store, user.id, on_user, NULL); /* the insert was done: repeats must be harmless */
    assert_int_equal(answer_wait(), PERSISTED);
    store_close(&test_loop, store);
}

static void a_full_disk_makes_the_database_unavailable_until_it_has_space(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct rlimit before, small = {4096, 0};
    struct user_row user = user_sample("ada@example.org");

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_UNAVAILABLE);
    assert_string_not_equal(persistence_status(store), "ok");
    user_by_id(store, user.id, on_user, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);
    loop_for(&test_loop, 1300); /* until after a probe, which fails */
    assert_string_not_equal(persistence_status(store), "ok");
    setrlimit(RLIMIT_FSIZE, &before);
    LOOP_UNTIL(&test_loop, strcmp(persistence_status(store), "ok") == 0);
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    store_close(&test_loop, store);
}

/* Of more queries than the queue takes, the first are done and the others refused. Each has one
 * answer. */
static void the_queue_is_limited(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");

    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    hang = true;
    for (unsigned i = 0; i < QUEUE_QUERIES_MAX + 3000; i++)
        user_by_id(store, user.id, on_user, NULL);
    assert_int_equal(answers, 0);
    LOOP_UNTIL(&test_loop, answers >= 3000);
    loop_for(&test_loop, 20);
    assert_int_equal(answers, 3000);
    assert_int_equal(last_result, PERSISTENCE_UNAVAILABLE);
    hang = false;
    LOOP_UNTIL(&test_loop, answers >= QUEUE_QUERIES_MAX + 3000);
    assert_int_equal(last_result, PERSISTED);
    loop_for(&test_loop, 20);
    assert_int_equal(answers, QUEUE_QUERIES_MAX + 3000);
    answers = 0;
    for (unsigned i = 0; i < 100; i++) /* closing finishes the queries that wait */
        user_by_id(store, user.id, on_user, NULL);
    store_close(&test_loop, store);
    assert_int_equal(answers, 100);
}

/* Without its file the database would seem well until the next start, which would find nothing. */
static void a_removed_file_is_noticed(void **state)
{
    static const char *const files[] = {"ringcast.sqlite3", "ringcast.sqlite3-wal",
                                        "ringcast.sqlite3-shm"};
    struct persistence *store = store_open(&test_loop);
    struct user_row ada = user_sample("ada@example.org"), bob = user_sample("bob@example.org");
    char path[600], away[610];

    user_insert(store, &ada, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", setup_settings.data_directory, files[i]);
        snprintf(away, sizeof(away), "%s.away", path);
        assert_int_equal(rename(path, away), 0);
    }
    user_insert(store, &bob, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_UNAVAILABLE);
    assert_non_null(strstr(persistence_status(store), "was removed or replaced; put it back"));
    loop_for(&test_loop, 1500); /* it is tried again meanwhile */
    assert_string_not_equal(persistence_status(store), "ok");
    snprintf(path, sizeof(path), "%s/%s", setup_settings.data_directory, files[0]);
    assert_int_equal(access(path, F_OK), -1); /* no new one is made */
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", setup_settings.data_directory, files[i]);
        snprintf(away, sizeof(away), "%s.away", path);
        assert_int_equal(rename(away, path), 0);
    }
    LOOP_UNTIL(&test_loop, strcmp(persistence_status(store), "ok") == 0);
    user_insert(store, &ada, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_DUPLICATE); /* what was stored is there */
    store_close(&test_loop, store);
}

static void errors_at_the_start_are_explained(void **state)
{
    char why[WHY_BYTES], path[600];
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
    assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
    assert_non_null(strstr(why, "is empty; restore it, or remove it to begin with a new one"));
    strcat(setup_settings.data_directory, "/ringcast.sqlite3/x");
    assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
    assert_non_null(strstr(why, "cannot create the data directory"));
    assert_non_null(strstr(why, "set data_directory"));

    strcpy(setup_settings.persistence, "oracle");
    assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
    assert_non_null(strstr(why, "it may be sqlite or postgres"));
}

static void a_directory_of_another_user_is_explained(void **state)
{
    int status;
    pid_t child;

    if (geteuid() != 0) { /* then this process is the other user */
        chmod(folder, 0500);
        char why[WHY_BYTES];

        assert_null(persistence_open(&test_loop, &setup_settings, databases, why));
        assert_non_null(strstr(why, "set data_directory"));
        chmod(folder, 0700);
        return;
    }
    assert_int_equal(mkdir(setup_settings.data_directory, 0755), 0);
    chmod(folder, 0755);
    child = fork();
    if (child == 0) {
        char why[WHY_BYTES] = "";

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
        T(tables_are_those_of_the_nestjs_backend_and_files_are_private),
        T(a_locked_database_is_unavailable_within_a_second),
        T(queries_to_a_hung_database_are_answered),
        T(a_full_disk_makes_the_database_unavailable_until_it_has_space),
        T(the_queue_is_limited),
        T(a_removed_file_is_noticed),
        T(errors_at_the_start_are_explained),
        T(a_directory_of_another_user_is_explained),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
