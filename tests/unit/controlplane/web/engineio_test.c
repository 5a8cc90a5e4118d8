/* Engine.IO sessions step by step: the input and the expected output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/engineio.h"

static const struct engine_settings settings = {300, 200, 1000};

/* The output of the engine as one line: "poll(…)", "frame(…)", "probe(…)", "close", "closeprobe",
 * "upgraded", "message(…)", "binary(n)", "closed(…)". */
struct bench {
    struct engine engine;
    char said[4096];
    bool queue_is_full, close_on_message;
};

static void say(struct bench *bench, const char *word, const char *bytes, size_t count)
{
    size_t at = strlen(bench->said);

    at += (size_t)snprintf(bench->said + at, sizeof(bench->said) - at, "%s%s", at > 0 ? " " : "",
                           word);
    if (bytes != NULL)
        snprintf(bench->said + at, sizeof(bench->said) - at, "(%.*s)", (int)count, bytes);
}

static void on_poll(void *owner, const char *body, size_t bytes)
{
    say(owner, "poll", body, bytes);
}

static bool on_frame(void *owner, enum engine_link link, struct engine_packet *packet)
{
    struct bench *bench = owner;

    if (bench->queue_is_full)
        return false;
    say(bench, link == ENGINE_LINK ? "frame" : "probe", engine_packet_payload(packet),
        packet->bytes);
    return true;
}

static void on_link_close(void *owner, enum engine_link link)
{
    say(owner, link == ENGINE_LINK ? "close" : "closeprobe", NULL, 0);
}

static void on_upgraded(void *owner)
{
    say(owner, "upgraded", NULL, 0);
}

static void on_message(void *owner, const char *bytes, size_t count, bool is_binary)
{
    struct bench *bench = owner;
    char number[16];

    snprintf(number, sizeof(number), "%zu", count);
    say(bench, is_binary ? "binary" : "message", is_binary ? number : bytes,
        is_binary ? strlen(number) : count);
    if (bench->close_on_message)
        engine_abort(&bench->engine, "parse error");
}

static void on_closed(void *owner, const char *reason)
{
    say(owner, "closed", reason, strlen(reason));
}

static const struct engine_output output = {on_poll,     on_frame,   on_link_close,
                                            on_upgraded, on_message, on_closed};

static void send_text(struct bench *bench, const char *text)
{
    struct engine_packet *packet = engine_packet_new(text, strlen(text), false);

    engine_send(&bench->engine, packet);
    engine_packet_unref(packet);
}

/* One step in words: "GET", "GONE", "POST …", "OPEN" (a probe), "PROBE …", "FRAME …", "BINARY",
 * "LOST" (the link), "LOSTPROBE", "SEND …", "CLOSE", "AT ms". What it returns is said as yes or
 * no. */
static void step(struct bench *bench, const char *line, uint64_t *now_ms)
{
    struct engine *engine = &bench->engine;
    char word[16] = "";
    const char *rest = strchr(line, ' ');
    int answer = -1;

    snprintf(word, sizeof(word), "%.*s", (int)(rest == NULL ? strlen(line) : (size_t)(rest - line)),
             line);
    rest = rest == NULL ? "" : rest + 1;
    if (strcmp(word, "GET") == 0)
        answer = engine_poll(engine, *now_ms);
    else if (strcmp(word, "GONE") == 0)
        engine_poll_gone(engine);
    else if (strcmp(word, "POST") == 0)
        answer = engine_post(engine, rest, strlen(rest), *now_ms);
    else if (strcmp(word, "OPEN") == 0)
        answer = engine_probe_open(engine, *now_ms);
    else if (strcmp(word, "PROBE") == 0)
        engine_frame(engine, ENGINE_PROBE_LINK, rest, strlen(rest), false, *now_ms);
    else if (strcmp(word, "FRAME") == 0)
        engine_frame(engine, ENGINE_LINK, rest, strlen(rest), false, *now_ms);
    else if (strcmp(word, "BINARY") == 0)
        engine_frame(engine, ENGINE_LINK, rest, strlen(rest), true, *now_ms);
    else if (strcmp(word, "LOST") == 0)
        engine_link_gone(engine, ENGINE_LINK, false);
    else if (strcmp(word, "LOSTPROBE") == 0)
        engine_link_gone(engine, ENGINE_PROBE_LINK, false);
    else if (strcmp(word, "SEND") == 0)
        send_text(bench, rest);
    else if (strcmp(word, "CLOSE") == 0)
        engine_close(engine, "server disconnect", *now_ms);
    else if (strcmp(word, "FULL") == 0)
        bench->queue_is_full = true;
    else if (strcmp(word, "BREAK") == 0)
        bench->close_on_message = true;
    else if (strcmp(word, "AT") == 0)
        engine_tick(engine, *now_ms = strtoull(rest, NULL, 10));
    else
        fail_msg("unknown step %s", line);
    if (answer >= 0)
        say(bench, answer ? "yes" : "no", NULL, 0);
}

/* Each step is a pair: the input, the expected output. */
static void play(enum engine_transport transport, const char *const *steps)
{
    struct bench bench = {0};
    uint64_t now_ms = 1000;

    engine_open(&bench.engine, &settings, &output, &bench, transport, "abcdefghijklmnopqrst",
                now_ms);
    for (; *steps != NULL; steps += 2) {
        bench.said[0] = '\0';
        step(&bench, steps[0], &now_ms);
        if (strcmp(bench.said, steps[1]) != 0)
            fail_msg("%s: said '%s', not '%s'", steps[0], bench.said, steps[1]);
    }
    engine_free(&bench.engine);
}

#define OPEN_POLLING                                                                             \
    "poll(0{\"sid\":\"abcdefghijklmnopqrst\",\"upgrades\":[\"websocket\"],\"pingInterval\":300," \
    "\"pingTimeout\":200,\"maxPayload\":1000}) yes"
#define POLLING(name, ...)                                                           \
    static void name(void **state)                                                   \
    {                                                                                \
        static const char *const steps[] = {"GET", OPEN_POLLING, __VA_ARGS__, NULL}; \
                                                                                     \
        play(ENGINE_POLLING, steps);                                                 \
    }
#define WEBSOCKET(name, ...)                                    \
    static void name(void **state)                              \
    {                                                           \
        static const char *const steps[] = {__VA_ARGS__, NULL}; \
                                                                \
        play(ENGINE_WEBSOCKET, steps);                          \
    }

/* clang-format off */
POLLING(poll_waits_and_is_answered, "GET", "yes", "SEND 4x", "poll(4x)", "SEND 4y", "", "SEND 4z", "",
        "GET", "poll(4y\x1e" "4z) yes", "GET", "yes")
POLLING(post_one_and_several, "POST 4a", "message(a) yes", "POST 4b\x1e" "bAQID\x1e" "4c",
        "message(b) binary(3) message(c) yes", "POST 6", "yes", "POST 4", "message() yes")
POLLING(post_unknown_type, "POST 9", "closed(parse error) no", "GET", "no", "POST 4a", "no")
POLLING(post_nothing, "POST ", "closed(parse error) no")
POLLING(post_bad_base64, "POST 4a\x1e" "bAQ", "message(a) closed(parse error) no")
POLLING(post_bad_utf8, "POST 4\xff", "closed(parse error) no")
POLLING(post_ping, "POST 2", "closed(transport error) no")
POLLING(post_upgrade, "POST 5", "closed(transport error) no")
POLLING(post_open, "POST 0", "closed(transport error) no")
POLLING(post_refused_by_owner, "BREAK", "", "POST 4a\x1e" "4b", "message(a) closed(parse error) no")
POLLING(post_close, "GET", "yes", "POST 1\x1e" "4x", "poll(6) closed(transport close) yes", "GET", "no")
POLLING(duplicate_poll, "GET", "yes", "GET", "poll(1) closed(transport error) no")
POLLING(cancelled_poll, "GET", "yes", "GONE", "closed(transport close)", "GET", "no")
POLLING(gone_without_poll, "GONE", "", "GET", "yes")
POLLING(heartbeat, "AT 1299", "", "AT 1300", "", "GET", "poll(2) yes", "AT 1499", "", "POST 3", "yes",
        "AT 1798", "", "GET", "yes", "AT 1799", "poll(2)", "AT 1998", "", "AT 1999", "closed(ping timeout)")
POLLING(heartbeat_of_a_waiting_poll, "GET", "yes", "AT 1300", "poll(2)", "GET", "yes", "AT 1500",
        "poll(1) closed(ping timeout)")
POLLING(server_closes, "SEND 4x", "", "CLOSE", "", "SEND 4late", "", "GET", "poll(4x) yes", "GET",
        "poll(1) closed(server disconnect) yes", "GET", "no")
POLLING(server_closes_a_waiting_poll, "GET", "yes", "CLOSE", "poll(1) closed(server disconnect)")
POLLING(server_closes_and_nobody_polls, "CLOSE", "", "POST 3", "yes", "AT 1199", "", "AT 1200",
        "closed(server disconnect)")
POLLING(frames_are_not_for_polling, "FRAME 4x", "", "PROBE 2probe", "", "LOST", "", "GET", "yes")
POLLING(upgrade, "OPEN", "yes", "OPEN", "no", "PROBE 2probe", "probe(3probe)", "GET", "poll(6) yes",
        "PROBE 5", "upgraded", "GET", "no", "POST 4x", "no", "OPEN", "no", "FRAME 4x", "message(x)",
        "SEND 4y", "frame(4y)", "LOST", "close closed(transport close)")
POLLING(upgrade_ends_the_poll, "OPEN", "yes", "GET", "yes", "PROBE 2probe", "probe(3probe) poll(6)")
POLLING(upgrade_brings_the_queue, "OPEN", "yes", "PROBE 2probe", "probe(3probe)", "SEND 4a", "", "SEND 4b", "",
        "PROBE 5", "upgraded frame(4a) frame(4b)", "SEND 4c", "frame(4c)")
POLLING(upgrade_while_a_poll_waits, "OPEN", "yes", "PROBE 2probe", "probe(3probe)", "SEND 4a", "", "GET",
        "poll(4a) yes", "SEND 4b", "", "PROBE 5", "upgraded frame(4b)")
POLLING(upgrade_of_a_closing_session, "OPEN", "yes", "PROBE 2probe", "probe(3probe)", "SEND 4a", "", "CLOSE", "",
        "PROBE 5", "upgraded frame(4a) close closed(server disconnect)")
POLLING(upgrade_into_a_full_queue, "OPEN", "yes", "PROBE 2probe", "probe(3probe)", "SEND 4a", "", "SEND 4b", "", "FULL", "",
        "PROBE 5", "upgraded close closed(slow reader)")
POLLING(probe_says_something_else, "OPEN", "yes", "PROBE 2prob", "closeprobe", "OPEN", "yes", "PROBE 5", "closeprobe",
        "OPEN", "yes", "PROBE 2probe", "probe(3probe)", "PROBE 2probe", "closeprobe", "OPEN", "yes", "PROBE 4x", "closeprobe",
        "POST 4a", "message(a) yes")
POLLING(probe_is_late, "OPEN", "yes", "AT 1300", "", "POST 3", "yes", "PROBE 2probe", "probe(3probe)",
        "AT 11000", "closeprobe", "OPEN", "yes")
POLLING(probe_is_lost, "OPEN", "yes", "LOSTPROBE", "", "OPEN", "yes", "POST 1", "closeprobe closed(transport close) yes")
WEBSOCKET(frames, "FRAME 4x", "message(x)", "BINARY xyz", "binary(3)", "SEND 4y", "frame(4y)", "GET", "no",
          "POST 4x", "no", "OPEN", "no", "FRAME 6", "")
WEBSOCKET(frame_unknown, "FRAME 9", "close closed(parse error)", "FRAME 4x", "", "LOST", "")
WEBSOCKET(frame_empty, "FRAME ", "close closed(parse error)")
WEBSOCKET(frame_ping, "FRAME 2", "close closed(transport error)")
WEBSOCKET(frame_close, "FRAME 1", "close closed(transport close)")
WEBSOCKET(websocket_heartbeat, "AT 1300", "frame(2)", "FRAME 3", "", "AT 1599", "", "AT 1600", "frame(2)", "AT 1799", "",
          "AT 1800", "close closed(ping timeout)")
WEBSOCKET(websocket_server_closes, "SEND 4x", "frame(4x)", "CLOSE", "close closed(server disconnect)", "SEND 4y", "", "CLOSE", "")
WEBSOCKET(websocket_slow, "FULL", "", "SEND 4x", "close closed(slow reader)")
WEBSOCKET(websocket_lost, "LOST", "close closed(transport close)", "AT 9000", "")
/* clang-format on */

static void queue_of_a_polling_client_is_bounded(void **state)
{
    struct bench bench = {0};
    struct engine_packet *packet = engine_packet_new(NULL, 100000, false);
    unsigned sent = 0;

    memset(engine_packet_payload(packet), 'x', packet->bytes);
    engine_open(&bench.engine, &settings, &output, &bench, ENGINE_POLLING, "s", 0);
    for (; bench.engine.state == ENGINE_OPEN && sent < 100; sent++)
        engine_send(&bench.engine, packet);
    assert_int_equal(sent, 12); /* when more than 1 MiB waits, no other message is taken */
    assert_string_equal(bench.said, "closed(slow reader)");
    assert_int_equal(packet->references, 1);
    engine_packet_unref(packet);
    engine_free(&bench.engine);
}

static void deadlines(void **state)
{
    struct bench bench = {0};

    engine_open(&bench.engine, &settings, &output, &bench, ENGINE_POLLING, "s", 1000);
    assert_int_equal(engine_deadline(&bench.engine), 1300);
    engine_tick(&bench.engine, 1300);
    assert_int_equal(engine_deadline(&bench.engine), 1500);
    engine_post(&bench.engine, "3", 1, 1400);
    assert_int_equal(engine_deadline(&bench.engine), 1700);
    engine_close(&bench.engine, "x", 1500);
    assert_int_equal(engine_deadline(&bench.engine), 1700);
    engine_abort(&bench.engine, "x");
    assert_int_equal(engine_deadline(&bench.engine), 0);
    engine_free(&bench.engine);
}

#define T(name) cmocka_unit_test(name)
int main(void)
{
    const struct CMUnitTest tests[] = {T(poll_waits_and_is_answered),
                                       T(post_one_and_several),
                                       T(post_unknown_type),
                                       T(post_nothing),
                                       T(post_bad_base64),
                                       T(post_bad_utf8),
                                       T(post_ping),
                                       T(post_upgrade),
                                       T(post_open),
                                       T(post_refused_by_owner),
                                       T(post_close),
                                       T(duplicate_poll),
                                       T(cancelled_poll),
                                       T(gone_without_poll),
                                       T(heartbeat),
                                       T(heartbeat_of_a_waiting_poll),
                                       T(server_closes),
                                       T(server_closes_a_waiting_poll),
                                       T(server_closes_and_nobody_polls),
                                       T(frames_are_not_for_polling),
                                       T(upgrade),
                                       T(upgrade_ends_the_poll),
                                       T(upgrade_brings_the_queue),
                                       T(upgrade_while_a_poll_waits),
                                       T(upgrade_of_a_closing_session),
                                       T(upgrade_into_a_full_queue),
                                       T(probe_says_something_else),
                                       T(probe_is_late),
                                       T(probe_is_lost),
                                       T(frames),
                                       T(frame_unknown),
                                       T(frame_empty),
                                       T(frame_ping),
                                       T(frame_close),
                                       T(websocket_heartbeat),
                                       T(websocket_server_closes),
                                       T(websocket_slow),
                                       T(websocket_lost),
                                       T(queue_of_a_polling_client_is_bounded),
                                       T(deadlines)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
