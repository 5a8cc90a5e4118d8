/* Persistence as its callers see it: every query, on SQLite (postgres_persistence_test.c: on
 * PostgreSQL). */
#include "persistence_fixture.h"

#include "controlplane/people/audit.h"

static void on_barrier(void *context, enum persistence_result result)
{
    *(unsigned *)context = answers;
    on_done(context, result);
}

/* Runs first: store_begin() sets the limit for the other tests. */
static void the_product_waits_800_ms_for_an_answer(void **state)
{
    assert_int_equal(persistence_answer_ms_max, 800);
}

static void users_are_stored_and_read_whole(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("robert'); drop table users;--@example.org"), other;

    for (unsigned i = 0; i < 100; i++)
        memcpy(user.display_name + 4 * i, "\xf0\x9f\x8e\xa9", 4);
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answers, 0); /* no answer before the function has returned */
    assert_int_equal(answer_wait(), PERSISTED);
    user_by_email(store, user.email, on_user, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_memory_equal(&last_user, &user, sizeof(user));
    user_by_id(store, user.id, on_user, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    user_by_id(store, "nobody", on_user, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);
    user_by_email(store, "' OR ''='", on_user, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);

    other = user_sample(user.email); /* same e-mail address, another id; then the other way round */
    user_insert(store, &other, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_DUPLICATE);
    strcpy(other.id, user.id);
    strcpy(other.email, "other@example.org");
    user_insert(store, &other, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_DUPLICATE);

    user_set_password_hash(store, user.id, "$argon2id$y", on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    user_set_password_hash(store, "nobody", "$argon2id$y", on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);
    store_close(&test_loop, store);

    store = store_open(&test_loop); /* the next start */
    user_by_id(store, user.id, on_user, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_string_equal(last_user.password_hash, "$argon2id$y");
    assert_true(last_user.updated_ms > user.updated_ms);
    store_close(&test_loop, store);
}

static void meetings_go_from_waiting_over_active_to_closed(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row host = user_sample("ada@example.org");
    struct meeting_row meeting = {.participants_max = 7, .created_ms = 11, .updated_ms = 12};
    char lower[ROOM_CODE_BYTES] = {0}, upper[UUID_TEXT_BYTES] = {0};

    uuid_make(meeting.id);
    room_code_make(meeting.room_code);
    strcpy(meeting.host_id, host.id);
    strcpy(meeting.title, "Stand-up");
    strcpy(meeting.status, "waiting");
    meeting_insert(store, &meeting, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND); /* no such host */
    user_insert(store, &host, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    meeting_insert(store, &meeting, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    meeting_insert(store, &meeting, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_DUPLICATE);

    meeting_find(store, meeting.id, on_meeting, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_memory_equal(&last_meeting, &meeting, sizeof(meeting));
    for (unsigned i = 0; meeting.room_code[i]; i++)
        lower[i] =
            (char)(meeting.room_code[i] >= 'A' ? meeting.room_code[i] + 32 : meeting.room_code[i]);
    meeting_find(store, lower, on_meeting, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    for (unsigned i = 0; meeting.id[i]; i++)
        upper[i] = (char)(meeting.id[i] >= 'a' ? meeting.id[i] - 32 : meeting.id[i]);
    meeting_find(store, upper, on_meeting, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_string_equal(last_meeting.id, meeting.id);
    meeting_find(store, "AAAA-AAAA-AAAA", on_meeting, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);

    meeting_set_active(store, meeting.id, 1000, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    meeting_set_active(store, meeting.id, 2000, on_done, NULL); /* the first start counts */
    assert_int_equal(answer_wait(), PERSISTED);
    meeting_raise_peak(store, meeting.id, 5, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    meeting_raise_peak(store, meeting.id, 3, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    meeting_find(store, meeting.id, on_meeting, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_string_equal(last_meeting.status, "active");
    assert_int_equal(last_meeting.started_ms, 1000);
    assert_int_equal(last_meeting.participants_peak, 5);

    meeting_set_closed(store, meeting.id, 3000, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    meeting_set_closed(store, meeting.id, 4000, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    meeting_set_active(store, meeting.id, 5000, on_done, NULL); /* a closed meeting stays closed */
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);
    meeting_find(store, meeting.id, on_meeting, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_string_equal(last_meeting.status, "closed");
    assert_int_equal(last_meeting.ended_ms, 3000);
    meeting_set_active(store, "nothing", 1, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);
    store_close(&test_loop, store);
}

/* Asks for the meetings that the last run left active, and returns how many there are. The ids that
 * were found are marked in `ids`. */
static unsigned next_active_all(struct persistence *store, char ids[][UUID_TEXT_BYTES],
                                unsigned count, bool found[])
{
    char after[UUID_TEXT_BYTES] = "";
    unsigned n = 0;

    for (;; n++) {
        meeting_next_active(store, after, on_meeting, NULL);
        if (answer_wait() != PERSISTED)
            break;
        assert_string_equal(last_meeting.status, "active");
        assert_int_equal(last_meeting.participants_max, 7);
        strcpy(after, last_meeting.id);
        for (unsigned i = 0; i < count; i++)
            found[i] |= strcmp(ids[i], after) == 0;
        assert_true(n < count);
    }
    assert_int_equal(last_result, PERSISTENCE_NOT_FOUND);
    return n;
}

static void the_next_run_finds_what_the_last_one_left_active(void **state)
{
    enum { COUNT = 8 };
    struct persistence *store = store_open(&test_loop);
    struct user_row host = user_sample("ada@example.org");
    char ids[COUNT][UUID_TEXT_BYTES];
    bool found[COUNT] = {false};

    assert_int_equal(next_active_all(store, ids, 0, found), 0);
    user_insert(store, &host, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    for (unsigned i = 0; i < COUNT; i++) { /* even ones are active */
        struct meeting_row meeting = {.ended_ms = i == 3, .participants_max = 7};

        uuid_make(meeting.id);
        strcpy(ids[i], meeting.id);
        room_code_make(meeting.room_code);
        strcpy(meeting.host_id, host.id);
        strcpy(meeting.status, i == 3 ? "closed" : "waiting");
        meeting_insert(store, &meeting, on_done, NULL);
        assert_int_equal(answer_wait(), PERSISTED);
        if (i % 2 == 0) {
            meeting_set_active(store, meeting.id, 1, on_done, NULL);
            assert_int_equal(answer_wait(), PERSISTED);
        }
    }
    store_close(&test_loop, store);
    store = store_open(&test_loop); /* the next start */
    assert_int_equal(next_active_all(store, ids, COUNT, found), COUNT / 2);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(found[i], i % 2 == 0);
    meeting_set_closed(store, ids[2], 777, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_int_equal(next_active_all(store, ids, COUNT, found), COUNT / 2 - 1);
    assert_int_equal(outside_number("SELECT count(*) FROM meetings WHERE status='closed'"), 2);
    store_close(&test_loop, store);
}

static void every_audit_action_can_be_stored(void **state)
{
    static const char *const words[] = {
#define A(name) #name,
        AUDIT_ACTIONS(A)
#undef A
    };
    struct persistence *store = store_open(&test_loop);
    struct audit_row rows[AUDIT_COUNT + 2] = {0};
    struct user_row user = user_sample("ada@example.org");

    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    for (unsigned i = 0; i < AUDIT_COUNT; i++) {
        uuid_make(rows[i].id);
        strcpy(rows[i].action, words[i]);
        strcpy(rows[i].user_id, user.id);
        rows[i].metadata = "{\"a\":1}";
        rows[i].created_us = i;
    }
    uuid_make(rows[AUDIT_COUNT].id); /* an unknown user: stored without the user */
    strcpy(rows[AUDIT_COUNT].action, "user_left");
    strcpy(rows[AUDIT_COUNT].user_id, "f47ac10b-58cc-4372-a567-0e02b2c3d479");
    uuid_make(rows[AUDIT_COUNT + 1].id); /* an unknown action: only this row is lost */
    strcpy(rows[AUDIT_COUNT + 1].action, "user_danced");
    for (unsigned again = 0; again < 3; again++) { /* a repeat changes nothing */
        audit_insert_batch(store, rows, AUDIT_COUNT + 2, on_done, NULL);
        assert_int_equal(answer_wait(), PERSISTED);
    }
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs"), AUDIT_COUNT + 1);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE \"userId\" IS NULL"), 1);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE metadata='{\"a\":1}'"),
                     AUDIT_COUNT);
    assert_int_equal(outside_number("SELECT count(DISTINCT action) FROM audit_logs"), AUDIT_COUNT);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE \"roomId\" IS NULL AND "
                                    "\"ipAddress\" IS NULL"),
                     AUDIT_COUNT + 1);
    store_close(&test_loop, store);
}

/* With several connections, too, an empty audit batch is answered after every query before it. */
static void a_thousand_queries_at_once_and_a_barrier_after_them(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");
    uint64_t start_ns;
    unsigned answers_before = 0;

    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < 1000; i++)
        user_by_id(store, user.id, on_user, NULL);
    audit_insert_batch(store, NULL, 0, on_barrier, &answers_before);
    user_by_email(store, user.email, on_user, NULL);
    assert_int_equal(answers, 0);
    LOOP_UNTIL(&test_loop, answers == 1002);
    print_message("# 1000 queries at once: %.1f ms\n",
                  (double)(clock_monotonic_ns() - start_ns) / NS_PER_MS);
    assert_int_equal(last_result, PERSISTED);
    assert_true(answers_before >= 1000);
    answers = 0;
    for (unsigned i = 0; i < 100; i++) /* closing finishes the queries that wait */
        user_by_id(store, user.id, on_user, NULL);
    store_close(&test_loop, store);
    assert_int_equal(answers, 100);
    assert_int_equal(last_result, PERSISTED);
    answers = 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_product_waits_800_ms_for_an_answer),
        T(users_are_stored_and_read_whole),
        T(meetings_go_from_waiting_over_active_to_closed),
        T(the_next_run_finds_what_the_last_one_left_active),
        T(every_audit_action_can_be_stored),
        T(a_thousand_queries_at_once_and_a_barrier_after_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
