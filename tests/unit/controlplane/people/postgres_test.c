/* Persistence on PostgreSQL: which tables it accepts, what it says when it cannot use them, and
 * servers that are stopped, hang, or lose the connection between COMMIT and its answer. */
#define TEST_POSTGRES
#include "persistence_fixture.h"

#include <arpa/inet.h>

#include "controlplane/people/audit.h"

static void status_wait(struct persistence *store, const char *part)
{
    LOOP_UNTIL(&test_loop, strstr(persistence_status(store), part));
}

static void run_outside(const char *text)
{
    outside_t *outside = outside_open();

    outside_run(outside, text);
    outside_close(outside);
}

/* Makes the tables as TypeORM made them, as the role of the NestJS backend. */
static void nestjs_tables_make(void)
{
    static char text[16384] = "SET ROLE videoconf;";
    FILE *file = fopen("tests/data/typeorm/nestjs.sql", "r");
    size_t at = strlen("SET ROLE videoconf;");

    assert_non_null(file);
    at += fread(text + at, 1, sizeof(text) - 1 - at, file);
    text[at] = 0;
    fclose(file);
    run_outside("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"");
    run_outside(text);
}

static void tables_of_typeorm_are_used_unchanged(void **state)
{
    static const char catalogue[] =
        "SELECT sum(hashtext(c.relname || a.attname || format_type(a.atttypid, a.atttypmod) ||"
        " a.attnotnull || coalesce(pg_get_expr(d.adbin, d.adrelid), '')))::bigint"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relname IN ('users', 'meetings', 'audit_logs')";
    struct user_row user = user_sample("grace@example.org");
    struct meeting_row meeting = {.participants_max = 7, .created_ms = 11, .updated_ms = 12};
    struct audit_row row = {.action = "rate_limited",
                            .metadata = "{\"a\":1}",
                            .ip_address = "2001:db8::1",
                            .created_us = 1700000000123456};
    struct persistence *store;
    int64_t before;

    nestjs_tables_make();
    run_outside("INSERT INTO users (email, \"passwordHash\", \"displayName\") VALUES "
                "('Ada@Example.org', '$2b$10$x', 'Ada')");
    before = outside_number(catalogue);
    store = store_open(&test_loop);
    assert_int_equal(outside_number(catalogue), before);
    assert_int_equal(outside_number("SELECT count(*) FROM pg_enum WHERE enumtypid = "
                                    "'audit_logs_action_enum'::regtype"),
                     AUDIT_COUNT);
    /* a user of the NestJS backend: the address as the user typed it, the time of the database
     * server */
    user_by_email(store, "ada@example.org", on_user, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_string_equal(last_user.email, "Ada@Example.org");
    assert_string_equal(last_user.password_hash, "$2b$10$x");
    assert_true(last_user.created_ms > 1700000000000);
    strcpy(user.email, "ada@example.org");
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_DUPLICATE);
    strcpy(user.email, "grace@example.org");
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    uuid_make(meeting.id);
    room_code_make(meeting.room_code);
    strcpy(meeting.host_id, user.id);
    strcpy(meeting.status, "waiting");
    meeting_insert(store, &meeting, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    uuid_make(row.id);
    strcpy(row.user_id, user.id);
    strcpy(row.room_id, meeting.id);
    audit_insert_batch(store, &row, 1, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_int_equal(
        outside_number("SELECT count(*) FROM audit_logs a JOIN users u ON u.id = "
                       "a.\"userId\" JOIN meetings m ON m.id = a.\"roomId\" WHERE "
                       "host(\"ipAddress\") = '2001:db8::1' AND metadata->'a' = '1' AND "
                       "a.\"createdAt\" = '2023-11-14 22:13:20.123456+00'"),
        1);
    store_close(&test_loop, store);
    store_close(&test_loop, store_open(&test_loop)); /* the next start has nothing to do */
}

static void of_eight_that_start_at_once_one_makes_the_tables(void **state)
{
    struct persistence *stores[8];

    for (unsigned i = 0; i < 8; i++)
        stores[i] = store_begin(&test_loop);
    for (unsigned i = 0; i < 8; i++) {
        LOOP_UNTIL(&test_loop, strcmp(persistence_status(stores[i]), "ok") == 0);
        /* no migration disturbs another one */
        for (unsigned k = i; k < 8; k++)
            assert_int_not_equal(strncmp(persistence_status(stores[k]), "PostgreSQL: ", 12), 0);
    }
    assert_int_equal(outside_number("SELECT version FROM ringcast_schema"), 2);
    assert_int_equal(outside_number("SELECT count(*) FROM ringcast_schema"), 1);
    for (unsigned i = 0; i < 8; i++)
        store_close(&test_loop, stores[i]);
}

/* Each problem is noticed and named, and persistence works by itself once an operator has solved
 * it. */
static void problems_are_named_and_can_be_solved_while_it_runs(void **state)
{
    static const struct {
        const char *wrong, *says, *right;
    } rows[] = {
        {"ALTER DATABASE %s OWNER TO postgres; REVOKE CREATE ON SCHEMA public FROM public, "
         "videoconf",
         "permission denied for schema public; start once as the owner",
         "GRANT CREATE ON SCHEMA public TO videoconf"},
        {"CREATE TABLE users (id uuid PRIMARY KEY, name text); ALTER TABLE users OWNER TO "
         "videoconf",
         "column \"email\" does not exist", "DROP TABLE users"},
        {"CREATE TABLE ringcast_schema (version integer); INSERT INTO ringcast_schema VALUES (99); "
         "ALTER TABLE ringcast_schema OWNER TO videoconf",
         "schema version 99, but this program knows only up to 2", "DROP TABLE ringcast_schema"},
        {"ALTER ROLE videoconf PASSWORD 'another'", "cannot connect to PostgreSQL",
         "ALTER ROLE videoconf PASSWORD 'videoconf password'"},
        {"ALTER ROLE videoconf SET default_transaction_read_only = on",
         "cannot connect to PostgreSQL",
         "ALTER ROLE videoconf RESET default_transaction_read_only"},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct persistence *store;
        char text[400];

        if (i)
            database_make();
        snprintf(text, sizeof(text), rows[i].wrong, setup_settings.postgres_db);
        run_outside(text);
        store = store_begin(&test_loop);
        status_wait(store, rows[i].says);
        snprintf(text, sizeof(text), rows[i].right, setup_settings.postgres_db);
        run_outside(text);
        status_wait(store, "ok");
        store_close(&test_loop, store);
    }
}

/* Somebody takes a right away while persistence runs: the status names the right, and it works
 * again when the right is back. */
static void a_right_that_is_taken_away_is_named(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");

    run_outside("ALTER TABLE users OWNER TO postgres; GRANT SELECT, UPDATE, REFERENCES ON users TO "
                "videoconf");
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_UNAVAILABLE);
    status_wait(store, "user \"videoconf\" may not INSERT in table \"users\"");
    run_outside("GRANT INSERT ON users TO videoconf");
    status_wait(store, "ok");
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    store_close(&test_loop, store);
}

static void a_control_plane_restores_only_its_own_meetings(void **state)
{
    struct persistence *store = store_open(&test_loop), *other;
    struct user_row host = user_sample("ada@example.org");
    char directory[SETTING_TEXT_ROOM];
    struct meeting_row meetings[2] = {0};

    user_insert(store, &host, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    strcpy(directory, setup_settings.data_directory);
    snprintf(setup_settings.data_directory, sizeof(setup_settings.data_directory), "%s/other",
             folder);
    other = store_open(&test_loop); /* another control plane on the same database */
    for (unsigned i = 0; i < 2; i++) {
        struct persistence *whose = i ? other : store;

        uuid_make(meetings[i].id);
        room_code_make(meetings[i].room_code);
        strcpy(meetings[i].host_id, host.id);
        strcpy(meetings[i].status, "waiting");
        meeting_insert(whose, &meetings[i], on_done, NULL);
        assert_int_equal(answer_wait(), PERSISTED);
        meeting_set_active(whose, meetings[i].id, 1000, on_done, NULL);
        assert_int_equal(answer_wait(), PERSISTED);
    }
    meeting_next_active(store, "", on_meeting, NULL); /* active in this run: not left by the last */
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);
    store_close(&test_loop, store);
    strcpy(setup_settings.data_directory, directory);
    store = store_open(&test_loop);
    meeting_next_active(store, "", on_meeting, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_string_equal(last_meeting.id, meetings[0].id);
    meeting_next_active(store, meetings[0].id, on_meeting, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);
    meeting_set_active(other, meetings[0].id, 2000, on_done, NULL); /* it goes on over there */
    assert_int_equal(answer_wait(), PERSISTED);
    meeting_next_active(store, "", on_meeting, NULL);
    assert_int_equal(answer_wait(), PERSISTENCE_NOT_FOUND);
    store_close(&test_loop, other);
    store_close(&test_loop, store);
}

/* ---- outages ---- */

/* Sends `count` queries: all are answered with UNAVAILABLE within a second, and the loop is not
 * blocked. */
static void queries_fail_in_time(struct persistence *store, unsigned count)
{
    uint64_t start_ns = clock_monotonic_ns();

    persistence_answer_ms_max = ANSWER_MS;
    ticker_start();
    for (unsigned i = 0; i < count; i++)
        user_by_email(store, "ada@example.org", on_user, NULL);
    LOOP_UNTIL(&test_loop, answers == count);
    answers = 0;
    assert_int_equal(last_result, PERSISTENCE_UNAVAILABLE);
    assert_in_range((clock_monotonic_ns() - start_ns) / NS_PER_MS, 0, 1000 * patience());
    ticker_stop_and_check();
    assert_string_not_equal(persistence_status(store), "ok");
}

static void the_outage_ends(struct persistence *store)
{
    persistence_answer_ms_max = EVENT_S * 1000;
    status_wait(store, "ok");
    user_by_email(store, "ada@example.org", on_user, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
}

static void an_outage(const char *begin, const char *end)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");

    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    server_command(begin);
    queries_fail_in_time(store, 50); /* at once */
    queries_fail_in_time(store, 50);
    loop_for(&test_loop, 1500);
    queries_fail_in_time(store, 50); /* while the pool tries to connect again */
    server_command(end);
    the_outage_ends(store);
    store_close(&test_loop, store);
}

/* A crash looks the same from here; tests/integration/outage has one. */
static void a_stopped_server_is_unavailable_until_it_starts(void **state)
{
    an_outage("stop", "start");
}

static void a_hung_server_is_unavailable_until_it_goes_on(void **state)
{
    an_outage("hang", "go on");
}

static void a_hang_is_noticed_without_queries(void **state)
{
    struct persistence *store = store_open(&test_loop);

    persistence_answer_ms_max = ANSWER_MS;
    server_command("hang");
    status_wait(store, "PostgreSQL does not answer");
    server_command("go on");
    status_wait(store, "ok");
    store_close(&test_loop, store);
}

/* The owner of the tables has started Ringcast once. After that a role with few rights is
 * enough. */
static void a_role_with_only_the_rights_it_needs_is_enough(void **state)
{
    struct user_row user = user_sample("ada@example.org");
    struct audit_row row = {.action = "config_changed", .created_us = 1700000000123456};
    struct persistence *store;

    store_close(&test_loop, store_open(&test_loop));
    run_outside("DROP ROLE IF EXISTS modest; CREATE ROLE modest LOGIN PASSWORD 'modest';"
                "GRANT SELECT, INSERT, UPDATE ON users, meetings TO modest;"
                "GRANT SELECT, INSERT ON audit_logs TO modest;"
                "GRANT SELECT, UPDATE ON ringcast_schema TO modest;"
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ringcast_active_meetings TO modest");
    strcpy(setup_settings.postgres_user, "modest");
    strcpy(setup_settings.postgres_password, "modest");
    store = store_open(&test_loop);
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    uuid_make(row.id);
    strcpy(row.user_id, user.id);
    audit_insert_batch(store, &row, 1, on_done, NULL);
    assert_int_equal(answer_wait(), PERSISTED);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE \"userId\" IS NOT NULL"),
                     1);
    store_close(&test_loop, store);
    run_outside("DROP OWNED BY modest; DROP ROLE modest");
}

static void a_start_without_a_server_waits_for_it(void **state)
{
    struct persistence *store;

    server_command("stop");
    store = store_begin(&test_loop);
    status_wait(store, "cannot connect to PostgreSQL");
    queries_fail_in_time(store, 20);
    server_command("start");
    status_wait(store, "ok");
    store_close(&test_loop, store);

    strcpy(setup_settings.postgres_host, "no-such-host.invalid");
    store = store_begin(&test_loop);
    queries_fail_in_time(store, 20);
    store_close(&test_loop, store);
}

static void several_hosts_and_verified_tls(void **state)
{
    struct persistence *store;

    strcpy(setup_settings.postgres_host,
           "127.0.0.2, localhost"); /* no server listens at the first */
    strcpy(setup_settings.postgres_sslmode, "verify-full");
    snprintf(setup_settings.postgres_sslrootcert, sizeof(setup_settings.postgres_sslrootcert),
             "%s/server.crt", server.directory);
    store = store_open(&test_loop);
    assert_true(outside_number("SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING "
                               "(pid) WHERE s.ssl AND a.application_name = 'ringcast'") >= 1);
    store_close(&test_loop, store);
    strcpy(setup_settings.postgres_sslrootcert, "/etc/ssl/certs/ca-certificates.crt");
    store = store_begin(&test_loop);
    status_wait(store, "cannot connect to PostgreSQL");
    store_close(&test_loop, store);

    snprintf(setup_settings.postgres_host, sizeof(setup_settings.postgres_host), "%s",
             server.directory); /* a directory of sockets */
    strcpy(setup_settings.postgres_sslmode, "disable");
    store = store_open(&test_loop);
    store_close(&test_loop, store);
}

/* ---- a connection that breaks between COMMIT and its answer (threat F18) ----
 *
 * The connection goes through a relay. When relay_cuts is set, the relay drops what the server
 * answers, and closes the connection. */

struct relay_side {
    uv_tcp_t tcp;
    struct relay_side *other;
    bool is_server;
};

static uv_tcp_t relay_listener;
static bool relay_cuts;
static unsigned relay_cut_count;

static void relay_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    *buffer = uv_buf_init(malloc(wanted), (unsigned)wanted);
}

static void relay_side_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void relay_close(struct relay_side *side)
{
    struct relay_side *other = side->other;

    if (uv_is_closing((uv_handle_t *)&side->tcp))
        return;
    uv_close((uv_handle_t *)&side->tcp, relay_side_closed);
    if (other)
        relay_close(other);
}

static void relay_written(uv_write_t *write, int status)
{
    free(write->data);
    free(write);
}

static void relay_received(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer)
{
    struct relay_side *side = stream->data;
    uv_buf_t out = uv_buf_init(buffer->base, bytes > 0 ? (unsigned)bytes : 0);
    uv_write_t *write;

    if (bytes <= 0 || uv_is_closing((uv_handle_t *)&side->other->tcp)) {
        free(buffer->base);
        if (bytes < 0)
            relay_close(side);
        return;
    }
    if (side->is_server && relay_cuts) { /* the server has committed */
        free(buffer->base);
        relay_cut_count++;
        relay_close(side);
        return;
    }
    write = calloc(1, sizeof(*write));
    write->data = buffer->base;
    uv_write(write, (uv_stream_t *)&side->other->tcp, &out, 1, relay_written);
}

static void relay_connected(uv_connect_t *connect, int status)
{
    struct relay_side *side = connect->data;

    free(connect);
    assert_int_equal(status, 0);
    uv_read_start((uv_stream_t *)&side->tcp, relay_room, relay_received);
    uv_read_start((uv_stream_t *)&side->other->tcp, relay_room, relay_received);
}

static void relay_accepted(uv_stream_t *listener, int status)
{
    struct relay_side *client = calloc(1, sizeof(*client)), *other = calloc(1, sizeof(*other));
    uv_connect_t *connect = calloc(1, sizeof(*connect));
    struct sockaddr_in address;

    client->other = other;
    other->other = client;
    other->is_server = true;
    client->tcp.data = client;
    other->tcp.data = other;
    connect->data = other;
    uv_tcp_init(&test_loop, &client->tcp);
    uv_tcp_init(&test_loop, &other->tcp);
    uv_accept(listener, (uv_stream_t *)&client->tcp);
    uv_ip4_addr("127.0.0.1", (int)server.port, &address);
    uv_tcp_connect(connect, &other->tcp, (struct sockaddr *)&address, relay_connected);
}

static void relay_open(void)
{
    struct sockaddr_in address;
    int bytes = sizeof(address);

    relay_cuts = false;
    relay_cut_count = 0;
    uv_tcp_init(&test_loop, &relay_listener);
    uv_ip4_addr("127.0.0.1", 0, &address);
    assert_int_equal(uv_tcp_bind(&relay_listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&relay_listener, 16, relay_accepted), 0);
    uv_tcp_getsockname(&relay_listener, (struct sockaddr *)&address, &bytes);
    setup_settings.postgres_port = ntohs(address.sin_port);
}

static void audit_rows_are_stored_once_when_the_answer_to_commit_is_lost(void **state)
{
    struct persistence *store;
    struct audit *audit;
    char why[WHY_BYTES];

    relay_open();
    store = store_open(&test_loop);
    audit = audit_open(&test_loop, store, &setup_settings, why);
    assert_non_null(audit);
    for (unsigned i = 0; i < 3000; i++) {
        audit_write(audit, AUDIT_user_joined, NULL, "f47ac10b-58cc-4372-a567-0e02b2c3d479", NULL,
                    "{\"n\":%u}", i);
        if (i % 750 == 375) {
            unsigned before = relay_cut_count;

            relay_cuts = true;
            LOOP_UNTIL(&test_loop, relay_cut_count > before);
            relay_cuts = false;
        }
    }
    LOOP_UNTIL(&test_loop, outside_number("SELECT count(*) FROM audit_logs") >= 3000);
    assert_true(relay_cut_count >= 4);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs"), 3000);
    assert_int_equal(outside_number("SELECT count(DISTINCT metadata->>'n') FROM audit_logs"), 3000);
    assert_int_equal(outside_number("SELECT count(*) FROM (SELECT " SQL_N " n, lag(" SQL_N ") OVER "
                                    "(ORDER BY \"createdAt\") l FROM audit_logs) AS pairs WHERE n "
                                    "<> l + 1"),
                     0);
    audit_close(audit);
    store_close(&test_loop, store);
    uv_close((uv_handle_t *)&relay_listener, NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(tables_of_typeorm_are_used_unchanged),
        T(of_eight_that_start_at_once_one_makes_the_tables),
        T(problems_are_named_and_can_be_solved_while_it_runs),
        T(a_right_that_is_taken_away_is_named),
        T(a_control_plane_restores_only_its_own_meetings),
        T(a_stopped_server_is_unavailable_until_it_starts),
        T(a_hung_server_is_unavailable_until_it_goes_on),
        T(a_hang_is_noticed_without_queries),
        T(a_role_with_only_the_rights_it_needs_is_enough),
        T(a_start_without_a_server_waits_for_it),
        T(several_hosts_and_verified_tls),
        T(audit_rows_are_stored_once_when_the_answer_to_commit_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
