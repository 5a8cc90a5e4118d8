/* Persistence on SQLite: the seed's tables, every step, and a store that is locked, full or hung. */
#include "people.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "controlplane/people/audit.h"
#include "controlplane/people/sqlite.h"

/* The store thread runs this in place of the backend: real, until a test wants it to hang. */
static _Atomic bool hang;

static void maybe_hanging_do(struct sqlite_store *store, struct request *request)
{
    while (hang)
        usleep(1000);
    sqlite_store_do(store, request);
}
#define sqlite_store_do maybe_hanging_do
#include "controlplane/people/sqlite_thread.c"
#undef sqlite_store_do
#include "controlplane/people/persistence.c"

static uv_loop_t loop;
static unsigned answers;
static enum persistence_result last;
static struct user_row user_seen;
static struct meeting_row meeting_seen;

static void on_done(void *context, enum persistence_result result)
{
    answers++;
    last = result;
}

static void on_user(void *context, enum persistence_result result, const struct user_row *user)
{
    on_done(context, result);
    assert_int_equal(user != NULL, result == PERSISTED);
    if (user)
        user_seen = *user;
}

static void on_meeting(void *context, enum persistence_result result,
                       const struct meeting_row *meeting)
{
    on_done(context, result);
    assert_int_equal(meeting != NULL, result == PERSISTED);
    if (meeting)
        meeting_seen = *meeting;
}

static enum persistence_result answer_of_last(void)
{
    loop_until(&loop, &answers, 1, 3);
    answers = 0;
    return last;
}

static int setup(void **state)
{
    answers = 0;
    hang = false;
    return folder_make(state) || uv_loop_init(&loop);
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < 1000 && uv_run(&loop, UV_RUN_NOWAIT); i++)
        usleep(1000); /* bounded: after a failure handles are left */
    return uv_loop_close(&loop) || folder_remove(state);
}

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
    struct persistence *store = store_open(&loop);
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
    store_close(&loop, store);
}

static void users_are_kept_whole(void **state)
{
    struct persistence *store = store_open(&loop);
    struct user_row user = user_sample("robert'); drop table users;--@example.org"), other;

    for (unsigned i = 0; i < 100; i++)
        memcpy(user.display_name + 4 * i, "\xf0\x9f\x8e\xa9", 4);
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answers, 0); /* never before the call has returned */
    assert_int_equal(answer_of_last(), PERSISTED);
    user_by_email(store, user.email, on_user, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_memory_equal(&user_seen, &user, sizeof(user));
    user_by_id(store, user.id, on_user, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    user_by_id(store, "nobody", on_user, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_NOT_FOUND);
    user_by_email(store, "' OR ''='", on_user, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_NOT_FOUND);

    other = user_sample(user.email); /* same email, another id; then the other way round */
    user_insert(store, &other, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_DUPLICATE);
    strcpy(other.id, user.id);
    strcpy(other.email, "other@example.org");
    user_insert(store, &other, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_DUPLICATE);

    user_set_password_hash(store, user.id, "$argon2id$y", on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    user_set_password_hash(store, "nobody", "$argon2id$y", on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_NOT_FOUND);
    store_close(&loop, store);

    store = store_open(&loop); /* the next start */
    user_by_id(store, user.id, on_user, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_string_equal(user_seen.password_hash, "$argon2id$y");
    assert_true(user_seen.updated_ms > user.updated_ms);
    store_close(&loop, store);
}

static void meetings_go_from_waiting_to_closed(void **state)
{
    struct persistence *store = store_open(&loop);
    struct user_row host = user_sample("ada@example.org");
    struct meeting_row meeting = {.participants_max = 7, .created_ms = 11, .updated_ms = 12};
    char lower[ROOM_CODE_BYTES] = {0};

    uuid_make(meeting.id);
    room_code_make(meeting.room_code);
    strcpy(meeting.host_id, host.id);
    strcpy(meeting.title, "Stand-up");
    strcpy(meeting.status, "waiting");
    meeting_insert(store, &meeting, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_NOT_FOUND); /* no such host */
    user_insert(store, &host, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_insert(store, &meeting, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_insert(store, &meeting, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_DUPLICATE);

    meeting_find(store, meeting.id, on_meeting, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_memory_equal(&meeting_seen, &meeting, sizeof(meeting));
    for (unsigned i = 0; meeting.room_code[i]; i++)
        lower[i] =
            (char)(meeting.room_code[i] >= 'A' ? meeting.room_code[i] + 32 : meeting.room_code[i]);
    meeting_find(store, lower, on_meeting, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_find(store, "AAAA-AAAA-AAAA", on_meeting, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_NOT_FOUND);

    meeting_set_active(store, meeting.id, 1000, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_set_active(store, meeting.id, 2000, on_done, NULL); /* started once */
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_raise_peak(store, meeting.id, 5, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_raise_peak(store, meeting.id, 3, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_find(store, meeting.id, on_meeting, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_string_equal(meeting_seen.status, "active");
    assert_int_equal(meeting_seen.started_ms, 1000);
    assert_int_equal(meeting_seen.participants_peak, 5);

    meeting_set_closed(store, meeting.id, 3000, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_set_closed(store, meeting.id, 4000, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_set_active(store, meeting.id, 5000, on_done, NULL); /* closed is closed */
    assert_int_equal(answer_of_last(), PERSISTENCE_NOT_FOUND);
    meeting_find(store, meeting.id, on_meeting, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_string_equal(meeting_seen.status, "closed");
    assert_int_equal(meeting_seen.ended_ms, 3000);
    meeting_set_active(store, "nothing", 1, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_NOT_FOUND);
    store_close(&loop, store);
}

static void stale_meetings_are_closed(void **state)
{
    static const char *const statuses[] = {"waiting", "active", "active", "closed"};
    struct persistence *store = store_open(&loop);
    struct user_row host = user_sample("ada@example.org");

    meetings_close_stale(store, 1, on_done, NULL); /* none is fine, too */
    assert_int_equal(answer_of_last(), PERSISTED);
    user_insert(store, &host, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    for (unsigned i = 0; i < 4; i++) {
        struct meeting_row meeting = {.ended_ms = i == 3 ? 1 : 0};

        uuid_make(meeting.id);
        room_code_make(meeting.room_code);
        strcpy(meeting.host_id, host.id);
        strcpy(meeting.status, statuses[i]);
        meeting_insert(store, &meeting, on_done, NULL);
        assert_int_equal(answer_of_last(), PERSISTED);
    }
    meetings_close_stale(store, 777, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_int_equal(outside_number("SELECT count(*) FROM meetings WHERE status='closed'"), 3);
    assert_int_equal(outside_number("SELECT count(*) FROM meetings WHERE \"endedAt\"=777"), 2);
    assert_int_equal(outside_number("SELECT count(*) FROM meetings WHERE status='waiting'"), 1);
    store_close(&loop, store);
}

static void every_audit_word_is_in_the_table(void **state)
{
    static const char *const words[] = {
#define A(name) #name,
        AUDIT_ACTIONS(A)
#undef A
    };
    struct persistence *store = store_open(&loop);
    struct audit_row rows[AUDIT_COUNT + 2] = {0};
    struct user_row user = user_sample("ada@example.org");

    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    for (unsigned i = 0; i < AUDIT_COUNT; i++) {
        uuid_make(rows[i].id);
        strcpy(rows[i].action, words[i]);
        strcpy(rows[i].user_id, user.id);
        rows[i].metadata = "{\"a\":1}";
        rows[i].created_ms = i;
    }
    uuid_make(rows[AUDIT_COUNT].id); /* a user that is not there: kept without it */
    strcpy(rows[AUDIT_COUNT].action, "user_left");
    strcpy(rows[AUDIT_COUNT].user_id, "f47ac10b-58cc-4372-a567-0e02b2c3d479");
    uuid_make(rows[AUDIT_COUNT + 1].id); /* a word that is not there: left out, the rest stays */
    strcpy(rows[AUDIT_COUNT + 1].action, "user_danced");
    for (unsigned again = 0; again < 3; again++) { /* a repeat changes nothing */
        audit_insert_batch(store, rows, AUDIT_COUNT + 2, on_done, NULL);
        assert_int_equal(answer_of_last(), PERSISTED);
    }
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs"), AUDIT_COUNT + 1);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE \"userId\" IS NULL"), 1);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE metadata='{\"a\":1}'"),
                     AUDIT_COUNT);
    assert_int_equal(outside_number("SELECT count(DISTINCT action) FROM audit_logs"), AUDIT_COUNT);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE \"roomId\" IS NULL AND "
                                    "\"ipAddress\" IS NULL"),
                     AUDIT_COUNT + 1);
    store_close(&loop, store);
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
    struct persistence *store = store_open(&loop);
    struct user_row users[20];
    sqlite3 *outside = outside_open();
    uint64_t start_ns;
    uv_timer_t ticker;
    unsigned recovered = 0;

    ticks = 0;
    tick_gap_ns = 0;
    uv_timer_init(&loop, &ticker);
    uv_timer_start(&ticker, tick, 5, 5);
    outside_run(outside, "BEGIN IMMEDIATE");
    start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < 20; i++) {
        char email[32];

        snprintf(email, sizeof(email), "%u@example.org", i);
        users[i] = user_sample(email);
        user_insert(store, &users[i], on_done, NULL);
    }
    loop_until(&loop, &answers, 20, 3);
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
        loop_for(&loop, 100);
        recovered = !strcmp(persistence_status(store), "ok");
    }
    assert_true(recovered);
    user_insert(store, &users[0], on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    sqlite3_close(outside);
    uv_close((uv_handle_t *)&ticker, NULL);
    store_close(&loop, store);
}

static void a_hung_store_is_answered_for(void **state)
{
    struct persistence *store = store_open(&loop);
    struct user_row user = user_sample("ada@example.org");
    uint64_t start_ns = clock_monotonic_ns();

    hang = true;
    user_insert(store, &user, on_done, NULL);
    for (unsigned i = 0; i < 9; i++)
        user_by_email(store, "ada@example.org", on_user, NULL);
    loop_until(&loop, &answers, 10, 3);
    assert_int_equal(last, PERSISTENCE_UNAVAILABLE);
    assert_in_range(clock_monotonic_ns() - start_ns, 800 * NS_PER_MS, 1300 * NS_PER_MS);
    assert_string_equal(persistence_status(store), "database does not answer");
    answers = 0;
    hang = false;
    loop_for(&loop, 1500);
    assert_int_equal(answers, 0); /* the late outcome is nobody's any more */
    assert_string_equal(persistence_status(store), "ok");
    user_by_id(store, user.id, on_user, NULL); /* done after all: repeats must be harmless */
    assert_int_equal(answer_of_last(), PERSISTED);
    store_close(&loop, store);
}

static void a_full_disk_is_unavailable_and_comes_back(void **state)
{
    struct persistence *store = store_open(&loop);
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
    loop_for(&loop, 1300); /* over a probe that fails */
    assert_string_not_equal(persistence_status(store), "ok");
    setrlimit(RLIMIT_FSIZE, &before);
    for (unsigned i = 0; i < 30 && !recovered; i++) {
        loop_for(&loop, 100);
        recovered = !strcmp(persistence_status(store), "ok");
    }
    assert_true(recovered);
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    store_close(&loop, store);
}

/* 6000 at once: as many as the queue takes are done, the others refused, each answered once. */
static void the_queue_is_bounded(void **state)
{
    struct persistence *store = store_open(&loop);
    struct user_row user = user_sample("ada@example.org");

    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    hang = true;
    for (unsigned i = 0; i < QUEUE_REQUESTS_MAX + 3000; i++)
        user_by_id(store, user.id, on_user, NULL);
    assert_int_equal(answers, 0);
    loop_for(&loop, 20);
    assert_int_equal(answers, 3000);
    assert_int_equal(last, PERSISTENCE_UNAVAILABLE);
    hang = false;
    loop_until(&loop, &answers, QUEUE_REQUESTS_MAX + 3000, 3);
    assert_int_equal(last, PERSISTED);
    loop_for(&loop, 20);
    assert_int_equal(answers, QUEUE_REQUESTS_MAX + 3000);
    answers = 0;
    /* and a close finishes what is queued */
    for (unsigned i = 0; i < 100; i++)
        user_by_id(store, user.id, on_user, NULL);
    store_close(&loop, store);
    assert_int_equal(answers, 100);
}

static void refusals_to_start_say_why(void **state)
{
    char why[192], path[600];
    sqlite3 *outside;
    int fd;

    store_close(&loop, store_open(&loop));
    outside = outside_open();
    outside_run(outside, "PRAGMA user_version = 99");
    sqlite3_close(outside);
    assert_null(persistence_open(&loop, &setup_settings, why));
    assert_non_null(strstr(why, "schema version 99"));

    snprintf(path, sizeof(path), "%s/ringcast.sqlite3", setup_settings.data_directory);
    fd = open(path, O_WRONLY | O_TRUNC);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(write(fd, "this is not a database, is it? ", 31), 31);
    close(fd);
    assert_null(persistence_open(&loop, &setup_settings, why));
    assert_non_null(strstr(why, "ringcast.sqlite3 cannot be used: file is not a database"));

    unlink(path);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_null(persistence_open(&loop, &setup_settings, why));
    assert_non_null(strstr(why, "cannot open"));
    unlink(path);

    fd = open(path, O_WRONLY | O_CREAT, 0644);
    close(fd);
    strcat(setup_settings.data_directory, "/ringcast.sqlite3/x");
    assert_null(persistence_open(&loop, &setup_settings, why));
    assert_non_null(strstr(why, "cannot make the data directory"));
    assert_non_null(strstr(why, "set data_directory"));

    strcpy(setup_settings.persistence, "postgres");
    assert_null(persistence_open(&loop, &setup_settings, why));
    assert_non_null(strstr(why, "this version knows: sqlite"));
}

static void a_directory_of_someone_else_says_why(void **state)
{
    int status;
    pid_t child;

    if (geteuid() != 0) { /* we are the someone else then */
        chmod(folder, 0500);
        char why[192];

        assert_null(persistence_open(&loop, &setup_settings, why));
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
        _exit(!persistence_open(&loop, &setup_settings, why) && strstr(why, "is not usable") &&
                      strstr(why, "user 65534")
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
        T(users_are_kept_whole),
        T(meetings_go_from_waiting_to_closed),
        T(stale_meetings_are_closed),
        T(every_audit_word_is_in_the_table),
        T(a_locked_store_is_unavailable_within_a_second),
        T(a_hung_store_is_answered_for),
        T(a_full_disk_is_unavailable_and_comes_back),
        T(the_queue_is_bounded),
        T(refusals_to_start_say_why),
        T(a_directory_of_someone_else_says_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
