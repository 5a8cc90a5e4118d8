/* PostgreSQL's own sides: whose tables it takes, what it says when it cannot, and servers that are away,
 * hung, or cut off between COMMIT and its answer. */
#define TEST_POSTGRES
#include "persistence_steps.h"

#include <arpa/inet.h>

#include "controlplane/people/audit.h"
#include "src/sanitizer.h"

static struct persistence *store_open_unready(void)
{
    char why[192] = "";
    struct persistence *store = persistence_open(&test_loop, &setup_settings, databases, why);

    if (!store)
        fail_msg("%s", why);
    return store;
}

/* The status that holds for a while, once it is no longer the first one. */
static void status_wait(struct persistence *store, const char *part, unsigned seconds)
{
    uint64_t end_ns = clock_monotonic_ns() + seconds * NS_PER_S;

    while (!strstr(persistence_status(store), part)) {
        if (clock_monotonic_ns() > end_ns)
            fail_msg("status is \"%s\", not \"%s\"", persistence_status(store), part);
        loop_for(&test_loop, 10);
    }
}

static void run_outside(const char *text)
{
    outside_t *outside = outside_open();

    outside_run(outside, text);
    outside_close(outside);
}

/* What TypeORM made, as the role that the NestJS backend logs in with. */
static void fixture_load(void)
{
    static char text[16384] = "SET ROLE videoconf;";
    FILE *file = fopen("tests/data/typeorm/seed.sql", "r");
    size_t at = strlen("SET ROLE videoconf;");

    assert_non_null(file);
    at += fread(text + at, 1, sizeof(text) - 1 - at, file);
    text[at] = 0;
    fclose(file);
    run_outside("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"");
    run_outside(text);
}

static void typeorms_tables_are_used_as_they_stand(void **state)
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

    fixture_load();
    run_outside("INSERT INTO users (email, \"passwordHash\", \"displayName\") VALUES "
                "('Ada@Example.org', '$2b$10$x', 'Ada')");
    before = outside_number(catalogue);
    store = store_open(&test_loop);
    assert_int_equal(outside_number(catalogue), before);
    assert_int_equal(outside_number("SELECT count(*) FROM pg_enum WHERE enumtypid = "
                                    "'audit_logs_action_enum'::regtype"),
                     AUDIT_COUNT);
    /* people of the other backend: their address as they typed it there, a time of the server's */
    user_by_email(store, "ada@example.org", on_user, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_string_equal(user_seen.email, "Ada@Example.org");
    assert_string_equal(user_seen.password_hash, "$2b$10$x");
    assert_true(user_seen.created_ms > 1700000000000);
    strcpy(user.email, "ada@example.org");
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_DUPLICATE);
    strcpy(user.email, "grace@example.org");
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    uuid_make(meeting.id);
    room_code_make(meeting.room_code);
    strcpy(meeting.host_id, user.id);
    strcpy(meeting.status, "waiting");
    meeting_insert(store, &meeting, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    uuid_make(row.id);
    strcpy(row.user_id, user.id);
    strcpy(row.room_id, meeting.id);
    audit_insert_batch(store, &row, 1, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_int_equal(
        outside_number("SELECT count(*) FROM audit_logs a JOIN users u ON u.id = "
                       "a.\"userId\" JOIN meetings m ON m.id = a.\"roomId\" WHERE "
                       "host(\"ipAddress\") = '2001:db8::1' AND metadata->'a' = '1' AND "
                       "a.\"createdAt\" = '2023-11-14 22:13:20.123456+00'"),
        1);
    store_close(&test_loop, store);
    store_close(&test_loop, store_open(&test_loop)); /* the next start finds all done */
}

static void of_two_starters_one_makes_the_tables(void **state)
{
    struct persistence *stores[8];
    unsigned ready = 0;

    for (unsigned i = 0; i < 8; i++)
        stores[i] = store_open_unready();
    for (unsigned turn = 0; turn < 2000 && ready < 8; turn++) {
        loop_for(&test_loop, 5);
        for (unsigned i = ready = 0; i < 8; i++) {
            const char *status = persistence_status(stores[i]);

            ready += !strcmp(status, "ok");
            assert_false(strncmp(status, "PostgreSQL: ", 12) == 0); /* none trips over another */
        }
    }
    assert_int_equal(ready, 8);
    assert_int_equal(outside_number("SELECT version FROM ringcast_schema"), 2);
    assert_int_equal(outside_number("SELECT count(*) FROM ringcast_schema"), 1);
    for (unsigned i = 0; i < 8; i++)
        store_close(&test_loop, stores[i]);
}

/* Each is found out, said, and comes right by itself once somebody has put it right. */
static void what_is_wrong_is_said_and_may_be_put_right(void **state)
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
        store = store_open_unready();
        status_wait(store, rows[i].says, 5);
        snprintf(text, sizeof(text), rows[i].right, setup_settings.postgres_db);
        run_outside(text);
        status_wait(store, "ok", 10);
        store_close(&test_loop, store);
    }
}

/* Rights taken away while it runs: the table is missed, told, and found again. */
static void rights_lost_while_running_are_named(void **state)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");

    run_outside("ALTER TABLE users OWNER TO postgres; GRANT SELECT, UPDATE, REFERENCES ON users TO "
                "videoconf");
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTENCE_UNAVAILABLE);
    status_wait(store, "user \"videoconf\" may not INSERT in table \"users\"", 5);
    run_outside("GRANT INSERT ON users TO videoconf");
    status_wait(store, "ok", 10);
    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    store_close(&test_loop, store);
}

static void only_its_own_meetings_are_stale(void **state)
{
    struct persistence *store = store_open(&test_loop), *other;
    struct user_row host = user_sample("ada@example.org");
    char directory[SETTING_TEXT_ROOM];
    struct meeting_row meetings[2] = {0};

    user_insert(store, &host, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
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
        assert_int_equal(answer_of_last(), PERSISTED);
        meeting_set_active(whose, meetings[i].id, 1000, on_done, NULL);
        assert_int_equal(answer_of_last(), PERSISTED);
    }
    meetings_close_stale(store, 777, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_find(store, meetings[0].id, on_meeting, NULL); /* of this run: people are in it */
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_string_equal(meeting_seen.status, "active");
    store_close(&test_loop, store);
    strcpy(setup_settings.data_directory, directory);
    store = store_open(&test_loop);
    meetings_close_stale(store, 777, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    meeting_find(store, meetings[0].id, on_meeting, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_string_equal(meeting_seen.status, "closed");
    meeting_find(store, meetings[1].id, on_meeting, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_string_equal(meeting_seen.status, "active");
    store_close(&test_loop, other);
    store_close(&test_loop, store);
}

/* ---- outages ---- */

static uint64_t tick_ns, tick_gap_ns;

static void tick(uv_timer_t *timer)
{
    uint64_t now_ns = clock_monotonic_ns();

    if (tick_ns && now_ns - tick_ns > tick_gap_ns)
        tick_gap_ns = now_ns - tick_ns;
    tick_ns = now_ns;
}

static void ticker_closed(uv_handle_t *handle)
{
    ++*(unsigned *)handle->data;
}

/* `count` questions now: all answered, with UNAVAILABLE, within a second, while the loop goes on. */
static void ask_in_vain(struct persistence *store, unsigned count)
{
    uint64_t start_ns = clock_monotonic_ns();
    static uv_timer_t ticker;
    unsigned closed = 0;

    tick_ns = tick_gap_ns = 0;
    uv_timer_init(&test_loop, &ticker);
    uv_timer_start(&ticker, tick, 5, 5);
    for (unsigned i = 0; i < count; i++)
        user_by_email(store, "ada@example.org", on_user, NULL);
    loop_until(&test_loop, &answers, count, 3);
    answers = 0;
    assert_int_equal(last, PERSISTENCE_UNAVAILABLE);
    assert_in_range(clock_monotonic_ns() - start_ns, 0, SANITIZER_PATIENCE * 1000 * NS_PER_MS);
    assert_true(tick_gap_ns <
                SANITIZER_PATIENCE * 300 * NS_PER_MS); /* nothing waited (the machine is shared) */
    ticker.data = &closed;
    uv_close((uv_handle_t *)&ticker, ticker_closed);
    loop_until(&test_loop, &closed, 1, 1);
    assert_string_not_equal(persistence_status(store), "ok");
}

static void comes_back(struct persistence *store)
{
    enum persistence_result result = PERSISTENCE_UNAVAILABLE;

    status_wait(store, "ok", 6);
    /* Under a sanitizer the handshakes of the other connections may take an answer's time. */
    for (unsigned i = 0; result != PERSISTED && i < 1 + 9 * BUILT_WITH_SANITIZER; i++) {
        user_by_email(store, "ada@example.org", on_user, NULL);
        result = answer_of_last();
    }
    assert_int_equal(result, PERSISTED);
}

static void an_outage_of(const char *end, const char *again)
{
    struct persistence *store = store_open(&test_loop);
    struct user_row user = user_sample("ada@example.org");

    user_insert(store, &user, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    server_tell(end);
    ask_in_vain(store, 50); /* at once */
    ask_in_vain(store, 50);
    loop_for(&test_loop, 1500);
    ask_in_vain(store, 50); /* while it tries to connect again */
    server_tell(again);
    comes_back(store);
    store_close(&test_loop, store);
}

/* (A crash differs in nothing that can be seen from here: tests/integration/outage has one.) */
static void a_stopped_server_is_unavailable_and_comes_back(void **state)
{
    an_outage_of("stop", "start");
}

static void a_hung_server_is_unavailable_and_comes_back(void **state)
{
    an_outage_of("hang", "go on");
}

static void a_hang_is_noticed_though_nobody_asks(void **state)
{
    struct persistence *store = store_open(&test_loop);

    server_tell("hang");
    status_wait(store, "PostgreSQL does not answer", 5);
    server_tell("go on");
    status_wait(store, "ok", 6);
    store_close(&test_loop, store);
}

/* A role that owns nothing, on a database that its owner has started Ringcast on once. */
static void a_role_with_no_more_than_it_needs(void **state)
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
    assert_int_equal(answer_of_last(), PERSISTED);
    uuid_make(row.id);
    strcpy(row.user_id, user.id);
    audit_insert_batch(store, &row, 1, on_done, NULL);
    assert_int_equal(answer_of_last(), PERSISTED);
    assert_int_equal(outside_number("SELECT count(*) FROM audit_logs WHERE \"userId\" IS NOT NULL"),
                     1);
    store_close(&test_loop, store);
    run_outside("DROP OWNED BY modest; DROP ROLE modest");
}

static void a_start_without_a_server_waits_for_it(void **state)
{
    struct persistence *store;

    server_tell("stop");
    store = store_open_unready();
    status_wait(store, "cannot connect to PostgreSQL", 3);
    ask_in_vain(store, 20);
    server_tell("start");
    status_wait(store, "ok", 6);
    store_close(&test_loop, store);

    strcpy(setup_settings.postgres_host, "no-such-host.invalid");
    store = store_open_unready();
    ask_in_vain(store, 20);
    store_close(&test_loop, store);
}

static void several_hosts_and_tls_that_is_verified(void **state)
{
    struct persistence *store;

    strcpy(setup_settings.postgres_host, "127.0.0.2, localhost"); /* nobody listens at the first */
    strcpy(setup_settings.postgres_sslmode, "verify-full");
    snprintf(setup_settings.postgres_sslrootcert, sizeof(setup_settings.postgres_sslrootcert),
             "%s/server.crt", server.directory);
    store = store_open(&test_loop);
    assert_true(outside_number("SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING "
                               "(pid) WHERE s.ssl AND a.application_name = 'ringcast'") >= 1);
    store_close(&test_loop, store);
    strcpy(setup_settings.postgres_sslrootcert, "/etc/ssl/certs/ca-certificates.crt");
    store = store_open_unready();
    status_wait(store, "cannot connect to PostgreSQL", 3);
    store_close(&test_loop, store);

    snprintf(setup_settings.postgres_host, sizeof(setup_settings.postgres_host), "%s",
             server.directory); /* a directory of sockets */
    strcpy(setup_settings.postgres_sslmode, "disable");
    store = store_open(&test_loop);
    store_close(&test_loop, store);
}

/* ---- cut off between COMMIT and the answer (F18): a relay that swallows what the server says ---- */

struct relay_side {
    uv_tcp_t tcp;
    struct relay_side *other;
    bool is_server;
};

static uv_tcp_t relay_listener;
static bool relay_swallows;
static unsigned relay_swallowed;

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

static void relay_heard(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer)
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
    if (side->is_server && relay_swallows) { /* it has committed: cut */
        free(buffer->base);
        relay_swallowed++;
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
    uv_read_start((uv_stream_t *)&side->tcp, relay_room, relay_heard);
    uv_read_start((uv_stream_t *)&side->other->tcp, relay_room, relay_heard);
}

static void relay_called(uv_stream_t *listener, int status)
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

    relay_swallows = false;
    relay_swallowed = 0;
    uv_tcp_init(&test_loop, &relay_listener);
    uv_ip4_addr("127.0.0.1", 0, &address);
    assert_int_equal(uv_tcp_bind(&relay_listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&relay_listener, 16, relay_called), 0);
    uv_tcp_getsockname(&relay_listener, (struct sockaddr *)&address, &bytes);
    setup_settings.postgres_port = ntohs(address.sin_port);
}

static void cut_after_commit_nothing_is_doubled(void **state)
{
    struct persistence *store;
    struct audit *audit;
    char why[192];

    relay_open();
    store = store_open(&test_loop);
    audit = audit_open(&test_loop, store, &setup_settings, why);
    assert_non_null(audit);
    for (unsigned i = 0; i < 3000; i++) {
        audit_write(audit, AUDIT_user_joined, NULL, "f47ac10b-58cc-4372-a567-0e02b2c3d479", NULL,
                    "{\"n\":%u}", i);
        if (i % 750 == 375) {
            unsigned before = relay_swallowed;

            relay_swallows = true;
            for (unsigned ms = 0; ms < 3000 && relay_swallowed == before; ms += 5)
                loop_for(&test_loop, 5);
            relay_swallows = false;
        }
    }
    for (unsigned i = 0; i < 1000 && outside_number("SELECT count(*) FROM audit_logs") < 3000; i++)
        loop_for(&test_loop, 10);
    assert_true(relay_swallowed >= 4);
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
        T(typeorms_tables_are_used_as_they_stand),
        T(of_two_starters_one_makes_the_tables),
        T(what_is_wrong_is_said_and_may_be_put_right),
        T(rights_lost_while_running_are_named),
        T(only_its_own_meetings_are_stale),
        T(a_stopped_server_is_unavailable_and_comes_back),
        T(a_hung_server_is_unavailable_and_comes_back),
        T(a_hang_is_noticed_though_nobody_asks),
        T(a_role_with_no_more_than_it_needs),
        T(a_start_without_a_server_waits_for_it),
        T(several_hosts_and_tls_that_is_verified),
        T(cut_after_commit_nothing_is_doubled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
