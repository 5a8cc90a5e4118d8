/* One connection to Redis: whatever a server does, the connection reports its end once, with the
 * reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/live/redis_connection.h"
#include "tests/unit/patience.h"

#define EVENT_MS 60000 /* a test waits this long for an event */

static uv_loop_t loop;
static uint32_t timeout_ms; /* of the connection */

/* ---- a server that sends one text when a client connects, or when it sends something ---- */

static struct server {
    uv_tcp_t listener, client;
    uint16_t port;
    const char *greeting, *answer; /* NULL: sends nothing */
    bool hangs_up;                 /* after it has sent the text */
    bool has_client;
    size_t received_bytes;
} server;

static void written(uv_write_t *request, int status)
{
    free(request);
    if (server.hangs_up && !uv_is_closing((uv_handle_t *)&server.client))
        uv_close((uv_handle_t *)&server.client, NULL);
}

static void send_text(const char *text)
{
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));

    uv_write(malloc(sizeof(uv_write_t)), (uv_stream_t *)&server.client, &buffer, 1, written);
}

static void allocate(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    static char room[65536];

    *buffer = uv_buf_init(room, sizeof(room));
}

static void received(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    if (count < 0) {
        if (!uv_is_closing((uv_handle_t *)stream))
            uv_close((uv_handle_t *)stream, NULL);
        return;
    }
    if (server.received_bytes == 0 && server.answer != NULL)
        send_text(server.answer);
    server.received_bytes += (size_t)count;
}

static void accepted(uv_stream_t *listener, int status)
{
    uv_tcp_init(&loop, &server.client);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&server.client), 0);
    server.has_client = true;
    uv_read_start((uv_stream_t *)&server.client, allocate, received);
    if (server.greeting != NULL)
        send_text(server.greeting);
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
    assert_int_equal(uv_listen((uv_stream_t *)&server.listener, 1, accepted), 0);
    uv_tcp_getsockname(&server.listener, (struct sockaddr *)&address, &bytes);
    server.port = ntohs(address.sin_port);
}

/* ---- the client ---- */

static struct {
    struct redis_connection *connection;
    int opened, replies, closed;
    char why[200], last[64];
    const char *question; /* sent when the connection is open */
    uint32_t wanted;      /* replies */
    bool closes_in_reply;
} client;

static void opened(void *context)
{
    client.opened++;
    if (client.question != NULL)
        redis_connection_send(client.connection, client.question, strlen(client.question),
                              client.wanted);
}

static void replied(void *context, const redisReply *reply)
{
    client.replies++;
    snprintf(client.last, sizeof(client.last), "%s", reply->str != NULL ? reply->str : "");
    if (client.closes_in_reply)
        redis_connection_close(client.connection);
}

static void closed(void *context, const char *why)
{
    client.closed++;
    snprintf(client.why, sizeof(client.why), "%s", why);
}

static const struct redis_connection_handlers handlers = {opened, replied, closed};

static bool is_open(void)
{
    return client.opened > 0;
}

static bool is_closed(void)
{
    return client.closed > 0;
}

static bool has_all_replies(void)
{
    return client.replies == (int)client.wanted;
}

static void loop_until(bool (*condition)(void), uint64_t most_ms)
{
    uint64_t end = uv_hrtime() / 1000000 + most_ms;

    while (uv_hrtime() / 1000000 < end && !condition()) {
        uv_run(&loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
}

static void connect_to(uint16_t port, const char *question, uint32_t wanted)
{
    memset(&client, 0, sizeof(client));
    client.question = question;
    client.wanted = wanted;
    client.connection =
        redis_connection_open(&loop, "127.0.0.1", port, NULL, timeout_ms, &handlers, NULL);
    assert_non_null(client.connection);
}

static void server_stop(void)
{
    if (client.closed == 0)
        redis_connection_close(client.connection);
    uv_close((uv_handle_t *)&server.listener, NULL);
    if (server.has_client && !uv_is_closing((uv_handle_t *)&server.client))
        uv_close((uv_handle_t *)&server.client, NULL);
    uv_run(&loop, UV_RUN_DEFAULT); /* returns: every handle is closed */
    assert_in_range(client.closed, 0, 1);
}

static void every_failure_of_a_server_is_reported_once(void **state)
{
    static const struct {
        const char *greeting, *answer;
        bool hangs_up;
        const char *question;
        uint32_t wanted;
        int replies;
        const char *why; /* NULL: the connection stays open */
    } rows[] = {
        {NULL, "+PONG\r\n", false, "PING\r\n", 1, 1, NULL},
        {NULL, "+A\r\n$1\r\nB\r\n:3\r\n", false, "…", 3, 3, NULL},
        {NULL, "+A\r\n", false, "…", 2, 1, "no answer within "},
        {NULL, NULL, false, "PING\r\n", 1, 0, "no answer within "},
        {NULL, NULL, false, NULL, 0, 0, NULL}, /* without a command no reply is due */
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
        connect_to(server.port, rows[i].question, rows[i].wanted);
        if (rows[i].why != NULL) {
            loop_until(is_closed, EVENT_MS);
        } else {
            loop_until(is_open, EVENT_MS);
            loop_until(has_all_replies, EVENT_MS);
            loop_until(is_closed, 2 * timeout_ms); /* it must not close */
        }
        if (client.replies != rows[i].replies || client.closed != (rows[i].why != NULL))
            fail_msg("row %zu: %d replies, closed %d: %s", i, client.replies, client.closed,
                     client.why);
        if (rows[i].why != NULL)
            assert_ptr_equal(strstr(client.why, rows[i].why), client.why);
        server_stop();
    }
}

static void a_port_without_a_server(void **state)
{
    server_start(NULL, NULL, false);
    connect_to(1, NULL, 0);
    loop_until(is_closed, EVENT_MS);
    assert_int_equal(client.closed, 1);
    assert_int_equal(client.opened, 0);
    assert_string_equal(client.why, "connection refused");
    server_stop();
}

/* The handler of a reply may close the connection when more replies have arrived already. */
static void a_reply_handler_may_close(void **state)
{
    server_start(NULL, "+A\r\n+B\r\n", false);
    connect_to(server.port, NULL, 0);
    loop_until(is_open, EVENT_MS);
    client.closes_in_reply = true;
    client.wanted = 1;
    redis_connection_send(client.connection, "x", 1, 2);
    loop_until(has_all_replies, EVENT_MS);
    loop_until(is_closed, timeout_ms); /* no second reply, and no closed handler */
    assert_int_equal(client.replies, 1);
    assert_int_equal(client.closed, 0);
    client.closed = 1; /* so that server_stop does not close it again */
    server_stop();
}

/* In every phase, also while the name is resolved. */
static void a_connection_may_be_closed_at_any_time(void **state)
{
    for (int turns = 0; turns < 12; turns++) {
        server_start(NULL, "+PONG\r\n", false);
        connect_to(server.port, "PING\r\n", 1);
        for (int i = 0; i < turns; i++) {
            uv_run(&loop, UV_RUN_NOWAIT);
            uv_sleep(1);
        }
        server_stop();
        assert_int_equal(client.closed, 0);
    }
}

static int setup(void **state)
{
    timeout_ms = 150 * patience();
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
        TEST(every_failure_of_a_server_is_reported_once),
        TEST(a_port_without_a_server),
        TEST(a_reply_handler_may_close),
        TEST(a_connection_may_be_closed_at_any_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
