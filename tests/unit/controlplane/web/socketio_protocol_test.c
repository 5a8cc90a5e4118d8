/* Decodes and encodes Socket.IO packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/socketio_protocol.h"

static const struct {
    const char *text;
    bool taken;
    enum socketio_type type;
    unsigned attachments;
    const char *name_space;
    int64_t ack;
    const char *data; /* as text; NULL: none */
} rows[] = {
    {"0", true, SOCKETIO_CONNECT, 0, "/", -1, NULL},
    {"0{\"token\":\"x\"}", true, SOCKETIO_CONNECT, 0, "/", -1, "{\"token\":\"x\"}"},
    {"0/admin,", true, SOCKETIO_CONNECT, 0, "/admin", -1, NULL},
    {"0/admin", true, SOCKETIO_CONNECT, 0, "/admin", -1, NULL},
    {"0/admin?a=b,{}", true, SOCKETIO_CONNECT, 0, "/admin", -1, "{}"},
    {"1", true, SOCKETIO_DISCONNECT, 0, "/", -1, NULL},
    {"1/admin,", true, SOCKETIO_DISCONNECT, 0, "/admin", -1, NULL},
    {"2[\"foo\"]", true, SOCKETIO_EVENT, 0, "/", -1, "[\"foo\"]"},
    {"212[\"foo\"]", true, SOCKETIO_EVENT, 0, "/", 12, "[\"foo\"]"},
    {"20[\"foo\"]", true, SOCKETIO_EVENT, 0, "/", 0, "[\"foo\"]"},
    {"2/admin,13[\"foo\",1]", true, SOCKETIO_EVENT, 0, "/admin", 13, "[\"foo\",1]"},
    {"312[]", true, SOCKETIO_ACK, 0, "/", 12, "[]"},
    {"3/admin,13[\"bar\"]", true, SOCKETIO_ACK, 0, "/admin", 13, "[\"bar\"]"},
    {"51-[\"baz\",{\"_placeholder\":true,\"num\":0}]", true, SOCKETIO_BINARY_EVENT, 1, "/", -1,
     "[\"baz\",{\"_placeholder\":true,\"num\":0}]"},
    {"58-14[\"baz\",{\"_placeholder\":true,\"num\":7}]", true, SOCKETIO_BINARY_EVENT, 8, "/", 14,
     "[\"baz\",{\"_placeholder\":true,\"num\":7}]"},
    {"52-/admin,[\"baz\"]", true, SOCKETIO_BINARY_EVENT, 2, "/admin", -1, "[\"baz\"]"},
    {"61-15[\"bar\",{\"_placeholder\":true,\"num\":0}]", true, SOCKETIO_BINARY_ACK, 1, "/", 15,
     "[\"bar\",{\"_placeholder\":true,\"num\":0}]"},
    {"50-[\"x\",{\"_placeholder\":false,\"num\":9}]", true, SOCKETIO_BINARY_EVENT, 0, "/", -1,
     "[\"x\",{\"_placeholder\":false,\"num\":9}]"},
    {.text = ""},
    {.text = "7"},
    {.text = "9[\"x\"]"},
    {.text = "a"},
    {.text = "-1"},
    {.text = "0[]"},
    {.text = "0\"x\""},
    {.text = "05"},
    {.text = "0{"},
    {.text = "0{}x"},
    {.text = "1{}"},
    {.text = "15"},
    {.text = "2"},
    {.text = "2{}"},
    {.text = "2[]"},
    {.text = "2[1]"},
    {.text = "2[\"\"]"},
    {.text = "2abc[\"x\"]"},
    {.text = "21234567890123456[\"x\"]"},
    {.text = "2[\"connect\"]"},
    {.text = "2[\"connect_error\"]"},
    {.text = "2[\"disconnect\"]"},
    {.text = "2[\"disconnecting\"]"},
    {.text = "2[\"newListener\"]"},
    {.text = "2[\"removeListener\"]"},
    {.text = "3[]"},
    {.text = "312"},
    {.text = "312{}"},
    {.text = "4{\"message\":\"x\"}"},
    {.text = "5[\"x\"]"},
    {.text = "51[\"x\"]"},
    {.text = "5-[\"x\"]"},
    {.text = "59-[\"x\"]"},
    {.text = "51000000000000-[\"x\"]"},
    {.text = "51-[\"x\",{\"_placeholder\":true,\"num\":1}]"},
    {.text = "51-[\"x\",{\"_placeholder\":true,\"num\":-1}]"},
    {.text = "51-[\"x\",{\"_placeholder\":true,\"num\":0.5}]"},
    {.text = "51-[\"x\",{\"_placeholder\":true,\"num\":1e300}]"},
    {.text = "51-[\"x\",{\"_placeholder\":true,\"num\":\"splice\"}]"},
    {.text = "51-[\"x\",{\"_placeholder\":true}]"},
    {.text = "51-[\"x\",[{\"a\":{\"_placeholder\":true,\"num\":2}}]]"},
    {.text = "61-[\"bar\"]"},
    {.text = "0/a b,"},
    {.text = "0/a\"b,"},
    {.text = "0/0123456789012345678901234567890123456789012345678901234567890123,"},
};

static void decode(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct socketio_packet packet;
        bool taken = socketio_decode(rows[i].text, strlen(rows[i].text), &packet);
        char *data;

        if (taken != rows[i].taken)
            fail_msg("%s should %sbe taken", rows[i].text, rows[i].taken ? "" : "not ");
        if (!taken)
            continue;
        assert_int_equal(packet.type, rows[i].type);
        assert_int_equal(packet.attachments, rows[i].attachments);
        assert_string_equal(packet.name_space, rows[i].name_space);
        assert_int_equal(packet.ack, rows[i].ack);
        data = cJSON_PrintUnformatted(packet.data);
        if (rows[i].data == NULL)
            assert_null(packet.data);
        else
            assert_string_equal(data, rows[i].data);
        cJSON_free(data);
        socketio_packet_clear(&packet);
    }
}

/* Encoded packets are equal to the examples of the protocol, and can be decoded. */
static void encode(void **state)
{
    static const struct {
        enum socketio_type type;
        unsigned attachments;
        const char *name_space;
        int64_t ack;
        const char *data, *text;
    } said[] = {
        {SOCKETIO_CONNECT, 0, "/", -1, "{\"sid\":\"x\"}", "40{\"sid\":\"x\"}"},
        {SOCKETIO_CONNECT, 0, "/admin", -1, "{\"sid\":\"x\"}", "40/admin,{\"sid\":\"x\"}"},
        {SOCKETIO_CONNECT_ERROR, 0, "/", -1, "{\"message\":\"no\"}", "44{\"message\":\"no\"}"},
        {SOCKETIO_DISCONNECT, 0, "/", -1, NULL, "41"},
        {SOCKETIO_DISCONNECT, 0, "/admin", -1, NULL, "41/admin,"},
        {SOCKETIO_EVENT, 0, "/", -1, "[\"foo\"]", "42[\"foo\"]"},
        {SOCKETIO_EVENT, 0, "/admin", 13, "[\"foo\"]", "42/admin,13[\"foo\"]"},
        {SOCKETIO_ACK, 0, "/", 12, "[]", "4312[]"},
        {SOCKETIO_BINARY_EVENT, 2, "/", -1, "[\"a\"]", "452-[\"a\"]"},
        {SOCKETIO_BINARY_ACK, 1, "/admin", 0, "[1]", "461-/admin,0[1]"},
    };

    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        cJSON *data = said[i].data == NULL ? NULL : cJSON_Parse(said[i].data);
        struct engine_packet *packet = socketio_encode(said[i].type, said[i].attachments,
                                                       said[i].name_space, said[i].ack, data);

        assert_int_equal(packet->bytes, strlen(said[i].text));
        assert_memory_equal(engine_packet_payload(packet), said[i].text, packet->bytes);
        assert_false(packet->is_binary);
        engine_packet_unref(packet);
        cJSON_Delete(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decode), cmocka_unit_test(encode)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
