/* One connection: what a server may do to it, and that the end is told once, with the reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/live/redis_connection.h"

static uv_loop_t loop;

/* ---- a server that says one thing to whoever comes, or to whoever asks ---- */

static struct server {
    uv_tcp_t listener, client;
    uint16_t port;
    const char *greeting, *answer; /* NULL: says nothing */
    bool hangs_up;                 /* after having said it */
    bool has_client;
    size_t heard;
} server;

static void written(uv_write_t *request, int status)
{
    free(request);
    if (server.hangs_up && !uv_is_closing((uv_handle_t *)&server.client))
        uv_close((uv_handle_t *)&server.client, NULL);
}

static void say(const char *text)
{
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));

    uv_write(malloc(sizeof(uv_write_t)), (uv_stream_t *)&server.client, &buffer, 1, written);
}

static void allocate(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    static char room[65536];

    *buffer = uv_buf_init(room, sizeof(room));
}

static void heard(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    if (count < 0) {
        if (!uv_is_closing((uv_handle_t *)stream))
            uv_close((uv_handle_t *)stream, NULL);
        return;
    }
    if (server.heard == 0 && server.answer != NULL)
        say(server.answer);
    server.heard += (size_t)count;
}

static void came(uv_stream_t *listener, int status)
{
    uv_tcp_init(&loop, &server.client);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&server.client), 0);
    server.has_client = true;
    uv_read_start((uv_stream_t *)&server.client, allocate, heard);
    if (server.greeting != NULL)
        say(server.greeting);
}

static void server_start(const char *greeting, const char *answer, bool hangs_up)
{
    struct sockaddr_in address;
    int bytes = sizeof(address);

    memset(&server, 0, sizeof(server));
    server.greeting = greeting;
    server.answer = answer;
    server.hangs_up = hangs_up;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(&loop, &server.listener);
    assert_int_equal(uv_tcp_bind(&server.listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&server.listener, 1, came), 0);
    uv_tcp_getsockname(&server.listener, (struct sockaddr *)&address, &bytes);
    server.port = ntohs(address.sin_port);
}

/* ---- us ---- */

static struct {
    struct redis_connection *connection;
    int opened, replies, closed;
    char why[200], last[64];
    const char *question; /* sent when open */
    uint32_t wanted;
    bool closes_in_reply;
} us;

static void opened(void *context)
{
    us.opened++;
    if (us.question != NULL)
        redis_connection_send(us.connection, us.question, strlen(us.question), us.wanted);
}

static void replied(void *context, const redisReply *reply)
{
    us.replies++;
    snprintf(us.last, sizeof(us.last), "%s", reply->str != NULL ? reply->str : "");
    if (us.closes_in_reply)
        redis_connection_close(us.connection);
}

static void closed(void *context, const char *why)
{
    us.closed++;
    snprintf(us.why, sizeof(us.why), "%s", why);
}

static const struct redis_connection_handlers handlers = {opened, replied, closed};

static void talk(uint16_t port, const char *question, uint32_t wanted, uint64_t ms)
{
    uint64_t end = uv_hrtime() / 1000000 + ms;

    memset(&us.opened, 0, sizeof(us) - offsetof(__typeof__(us), opened));
    us.question = question;
    us.wanted = wanted;
    us.connection = redis_connection_open(&loop, "127.0.0.1", port, NULL, 150, &handlers, NULL);
    assert_non_null(us.connection);
    while (uv_hrtime() / 1000000 < end && us.closed == 0) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
}

static void server_stop(void)
{
    if (us.closed == 0)
        redis_connection_close(us.connection);
    uv_close((uv_handle_t *)&server.listener, NULL);
    if (server.has_client && !uv_is_closing((uv_handle_t *)&server.client))
        uv_close((uv_handle_t *)&server.client, NULL);
    uv_run(&loop, UV_RUN_DEFAULT); /* ends: nothing of it is left on the loop */
    assert_in_range(us.closed, 0, 1);
}

static void test_what_a_server_does(void **state)
{
    static const struct {
        const char *greeting, *answer;
        bool hangs_up;
        const char *question;
        uint32_t wanted;
        int replies;
        const char *why; /* NULL: it stays */
    } rows[] = {
        {NULL, "+PONG\r\n", false, "PING\r\n", 1, 1, NULL},
        {NULL, "+A\r\n$1\r\nB\r\n:3\r\n", false, "…", 3, 3, NULL},
        {NULL, "+A\r\n", false, "…", 2, 1, "no answer within 150 ms"},
        {NULL, NULL, false, "PING\r\n", 1, 0, "no answer within 150 ms"},
        {NULL, NULL, false, NULL, 0, 0, NULL}, /* nobody asks, nobody need answer */
        {"", NULL, true, NULL, 0, 0, "it closed the connection"},
        {NULL, "+PO", true, "PING\r\n", 1, 0, "it closed the connection"},
        {"+HELLO\r\n", NULL, false, NULL, 0, 0, "it sent a reply without a command"},
        {NULL, "+A\r\n+B\r\n", false, "PING\r\n", 1, 1, "it sent a reply without a command"},
        {NULL, "HTTP/1.1 400 Bad Request\r\n\r\n", false, "PING\r\n", 1, 0,
         "it does not speak the Redis protocol"},
        {NULL, "*99999999999\r\n", false, "PING\r\n", 1, 0, "it does not speak the Redis protocol"},
        {NULL, "$-7\r\n", false, "PING\r\n", 1, 0, "it does not speak the Redis protocol"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        server_start(rows[i].greeting, rows[i].answer, rows[i].hangs_up);
        talk(server.port, rows[i].question, rows[i].wanted, 400);
        if (us.replies != rows[i].replies || us.closed != (rows[i].why != NULL))
            fail_msg("row %zu: %d replies, closed %d: %s", i, us.replies, us.closed, us.why);
        if (rows[i].why != NULL)
            assert_string_equal(us.why, rows[i].why);
        server_stop();
    }
}

static void test_nobody_there(void **state)
{
    server_start(NULL, NULL, false);
    talk(1, NULL, 0, 400);
    assert_int_equal(us.closed, 1);
    assert_int_equal(us.opened, 0);
    assert_string_equal(us.why, "connection refused");
    server_stop();
}

/* A reply's handler may close, with more replies already here. */
static void test_close_from_a_reply(void **state)
{
    uint64_t end;

    server_start(NULL, "+A\r\n+B\r\n", false);
    talk(server.port, NULL, 0, 100);
    us.closes_in_reply = true;
    redis_connection_send(us.connection, "x", 1, 2);
    end = uv_hrtime() / 1000000 + 200;
    while (uv_hrtime() / 1000000 < end) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
    assert_int_equal(us.replies, 1);
    assert_int_equal(us.closed, 0);
    us.closed = 1; /* it is: server_stop need not */
    server_stop();
}

/* Closed in every phase, resolving included. */
static void test_close_at_any_time(void **state)
{
    for (int turns = 0; turns < 12; turns++) {
        server_start(NULL, "+PONG\r\n", false);
        memset(&us, 0, sizeof(us));
        us.question = "PING\r\n";
        us.wanted = 1;
        us.connection =
            redis_connection_open(&loop, "127.0.0.1", server.port, NULL, 150, &handlers, NULL);
        for (int i = 0; i < turns; i++) {
            uv_run(&loop, UV_RUN_NOWAIT);
            uv_sleep(1);
        }
        server_stop();
        assert_int_equal(us.closed, 0);
    }
}

static int setup(void **state)
{
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    return uv_loop_close(&loop);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_a_server_does),
        TEST(test_nobody_there),
        TEST(test_close_from_a_reply),
        TEST(test_close_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
