/* media:getStats: every number of the rows under mediasoup's name, and no other members. */
#include "rooms_steps.h"

static double number(const cJSON *item, const char *key)
{
    const cJSON *value = cJSON_GetObjectItem(item, key);

    if (!cJSON_IsNumber(value))
        fail_msg("%s is missing in %s", key, cJSON_PrintUnformatted(item));
    return value->valuedouble;
}

/* The object has exactly these members. names: separated by spaces. */
static void assert_members(const cJSON *item, const char *names)
{
    const cJSON *member;
    size_t count = 0;

    cJSON_ArrayForEach(member, item)
    {
        const char *at = strstr(names, member->string);
        size_t bytes = strlen(member->string);

        while (at && !((at == names || at[-1] == ' ') && (at[bytes] == ' ' || at[bytes] == '\0')))
            at = strstr(at + 1, member->string);
        if (!at)
            fail_msg("%s is not expected", member->string);
        count++;
    }
    for (const char *at = names; at; at = strchr(at + 1, ' '))
        count--;
    if (count != 0)
        fail_msg("some of %s are missing: %s", names, cJSON_PrintUnformatted(item));
}

#define COMMON                                                                             \
    "type kind mimeType timestamp ssrc packetCount byteCount bitrate packetsLost "         \
    "fractionLost jitter packetsDiscarded packetsRetransmitted packetsRepaired nackCount " \
    "nackPacketCount pliCount firCount score"
#define INBOUND COMMON " bitrateByLayer"

static struct producer_state_row *producer_row_of(const char *id)
{
    struct producer *p = producer_find(rooms, id);
    struct producer_state_row *row =
        &fake_dataplane.producer_states[handle_index(p->handle)].producer_state;

    row->header.generation = handle_generation(p->handle);
    row->header.used = 1;
    row->published_ns = clock_monotonic_ns();
    return row;
}

static void producers(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);
    struct person a = enter(1, room);
    struct producer_state_row *row;
    const cJSON *list, *item;

    publish(&a, room);
    list = request(a.s, "media:getStats", "{'producerId':'%s'}", a.video);
    assert_int_equal(cJSON_GetArraySize(list), 0); /* nothing was received yet */
    row = producer_row_of(a.video);
    row->encoding_packets[0] = 1000;
    row->encoding_bytes[0] = 900000;
    row->encoding_bps[0] = 1234567;
    row->encoding_packets_lost[0] = -3; /* negative because of duplicates (RFC 3550) */
    row->encoding_fraction_lost[0] = 25;
    row->encoding_jitter[0] = 321;
    row->encoding_rtx_packets[0] = 12;
    row->encoding_pli_sent[0] = 4;
    row->encoding_nacks_sent[0] = 8;
    row->encoding_packets_asked[0] = 15;
    row->encoding_packets_repaired[0] = 11;
    row->encoding_bytes_repaired[0] = 9900;
    row->encoding_packets_discarded[0] = 2;
    row->encoding_rtx_discarded[0] = 1;
    row->encoding_fir_sent[0] = 3;
    row->encoding_score[0] = 6;
    row->encoding_ssrc[0] = 0xdeadbeef;
    row->encoding_rtx_ssrc[0] = 0xfeedbeef;
    row->orientation = ORIENTATION_NONE;
    list = request(a.s, "media:getStats", "{'producerId':'%s'}", a.video);
    assert_int_equal(cJSON_GetArraySize(list), 1);
    item = cJSON_GetArrayItem(list, 0);
    assert_members(item, INBOUND " rtxSsrc rtxPacketsDiscarded");
    assert_string_equal(text_of(item, "type"), "inbound-rtp");
    assert_string_equal(text_of(item, "kind"), "video");
    assert_string_equal(text_of(item, "mimeType"), "video/VP8");
    assert_true(number(item, "ssrc") == 0xdeadbeef);
    /* repaired packets are received packets */
    assert_true(number(item, "packetCount") == 1011 && number(item, "byteCount") == 909900);
    assert_true(number(item, "bitrate") == 1234567);
    assert_true(number(item, "packetsDiscarded") == 2 && number(item, "rtxPacketsDiscarded") == 1);
    assert_true(number(item, "firCount") == 3 && number(item, "score") == 6);
    assert_true(number(item, "rtxSsrc") == 0xfeedbeef);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(item, "bitrateByLayer")), 0);
    assert_true(number(item, "packetsLost") == -3 && number(item, "fractionLost") == 25);
    assert_true(number(item, "jitter") == 321 && number(item, "pliCount") == 4);
    assert_true(number(item, "packetsRetransmitted") == 12 &&
                number(item, "packetsRepaired") == 11);
    assert_true(number(item, "nackCount") == 8 && number(item, "nackPacketCount") == 15);
    assert_true(number(item, "timestamp") > 0);
    row->round_trip_us = 41500;
    row->orientation = 0x0b; /* the back camera, turned by 270 degrees */
    item = cJSON_GetArrayItem(request(a.s, "media:getStats", "{'producerId':'%s'}", a.video), 0);
    assert_true(number(item, "roundTripTime") == 41.5);
    item = cJSON_GetObjectItem(item, "videoOrientation");
    assert_members(item, "camera flip rotation");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(item, "camera")));
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(item, "flip")));
    assert_true(number(item, "rotation") == 270);
    row->published_ns -= 2 * NS_PER_S; /* media stopped, so the data plane stopped publishing */
    item = cJSON_GetArrayItem(request(a.s, "media:getStats", "{'producerId':'%s'}", a.video), 0);
    assert_true(number(item, "bitrate") == 0);
    assert_true(number(item, "packetCount") == 1011);
    socket_lose(a.s);
    socket_lose(host);
}

/* mediasoup: the rate of a layer contains all that it needs, and is 0 while the layer does not come. */
static void layers(void **state)
{
    static const struct {
        const char *file;
        uint32_t bps[ROW_LAYERS]; /* at ROW_LAYER */
        const char *wanted[ENCODINGS_MAX];
    } rows[] = {
        {"produce-vp8-simulcast-video",
         {[0] = 10, [1] = 5, [2] = 7, [4] = 100, [6] = 70, [8] = 1000, [12] = 99999},
         {"{'0.0':10,'0.1':15,'0.2':22}", "{'0.0':100,'0.1':0,'0.2':170}",
          "{'0.0':1000,'0.1':0,'0.2':0}"}},
        {"produce-vp9-svc-video",
         {[0] = 10, [1] = 5, [2] = 7, [4] = 100, [5] = 50, [6] = 70, [9] = 1000},
         {"{'0.0':10,'0.1':15,'0.2':22,'1.0':122,'1.1':172,'1.2':242,"
          "'2.0':0,'2.1':1242,'2.2':0}"}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct socket *host = connect_user(user(1));
        const char *room = make_room(host), *id;
        struct person a = enter(1, room);
        cJSON *json = load(rows[i].file);
        struct producer_state_row *row;
        const cJSON *list;

        cJSON_Delete(video_parameters);
        video_parameters = cJSON_DetachItemFromObject(json, "produceRtpParameters");
        cJSON_Delete(json);
        id = keep(text_of(produce(a.s, room, a.send, "video"), "id"));
        row = producer_row_of(id);
        memcpy(row->layer_bps, rows[i].bps, sizeof(row->layer_bps));
        for (int e = 0; e < ENCODINGS_MAX; e++)
            row->encoding_packets[e] = 1;
        list = request(a.s, "media:getStats", "{'producerId':'%s'}", id);
        for (int e = 0; e < cJSON_GetArraySize(list); e++) {
            char *text = cJSON_PrintUnformatted(
                cJSON_GetObjectItem(cJSON_GetArrayItem(list, e), "bitrateByLayer"));

            for (char *c = text; *c; c++)
                *c = *c == '"' ? '\'' : *c;
            assert_string_equal(text, rows[i].wanted[e]);
            free(text);
        }
        assert_int_equal(cJSON_GetArraySize(list), i == 0 ? 3 : 1);
        row->published_ns -= 2 * NS_PER_S;
        list = request(a.s, "media:getStats", "{'producerId':'%s'}", id);
        assert_true(
            number(cJSON_GetObjectItem(cJSON_GetArrayItem(list, 0), "bitrateByLayer"), "0.0") == 0);
        socket_lose(a.s);
        socket_lose(host);
    }
}

static void consumers(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host), *id;
    struct person a = enter(1, room), b = enter(2, room);
    struct consumer_state_row *row;
    struct producer_state_row *source;
    const cJSON *list, *item;
    struct consumer *c;

    publish(&a, room);
    id = keep(text_of(consume(b.s, room, b.recv, a.audio), "id"));
    c = consumer_find(rooms, id);
    row = &fake_dataplane.consumer_states[handle_index(c->handle)].consumer_state;
    row->header.generation = handle_generation(c->handle);
    row->header.used = 1;
    row->published_ns = clock_monotonic_ns();
    row->packets_sent = 50;
    row->bytes_sent = 5000;
    row->send_bps = 32000;
    row->packets_lost = 2;
    row->fraction_lost = 10;
    row->jitter = 77;
    row->nack_received = 5;
    row->packets_asked = 9;
    row->packets_sent_again = 8;
    row->packets_repaired = 4;
    row->score = 3;
    row->pli_received = 6;
    row->fir_received = 7;
    list = request(b.s, "media:getStats", "{'consumerId':'%s'}", id);
    assert_int_equal(cJSON_GetArraySize(list), 1); /* nothing is known about its producer */
    item = cJSON_GetArrayItem(list, 0);
    assert_members(item, COMMON); /* no RTCP report, so no round-trip time */
    assert_string_equal(text_of(item, "type"), "outbound-rtp");
    assert_true(number(item, "ssrc") == c->row.ssrc);
    assert_true(number(item, "packetCount") == 50 && number(item, "byteCount") == 5000);
    assert_true(number(item, "bitrate") == 32000 && number(item, "packetsLost") == 2);
    assert_true(number(item, "fractionLost") == 10 && number(item, "jitter") == 77);
    assert_true(number(item, "nackCount") == 5 && number(item, "pliCount") == 6);
    assert_true(number(item, "firCount") == 7 && number(item, "nackPacketCount") == 9);
    assert_true(number(item, "packetsRetransmitted") == 8);
    assert_true(number(item, "packetsRepaired") == 4 && number(item, "score") == 3);
    assert_true(number(item, "packetsDiscarded") == 0);

    row->round_trip_us = 12345;
    source = producer_row_of(a.audio);
    source->encoding_packets[0] = 60;
    source->encoding_ssrc[0] = 99;
    source->orientation = ORIENTATION_NONE;
    list = request(b.s, "media:getStats", "{'consumerId':'%s'}", id);
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_true(number(cJSON_GetArrayItem(list, 0), "roundTripTime") == 12.345);
    item = cJSON_GetArrayItem(list, 1);
    assert_members(item, INBOUND);
    assert_string_equal(text_of(item, "type"), "inbound-rtp");
    assert_true(number(item, "ssrc") == 99 && number(item, "packetCount") == 60);
    row->encoding = 3; /* this producer has no such encoding */
    assert_int_equal(cJSON_GetArraySize(request(b.s, "media:getStats", "{'consumerId':'%s'}", id)),
                     1);
    socket_lose(a.s);
    socket_lose(b.s);
    socket_lose(host);
}

static void transports(void **state)
{
    struct socket *host = connect_user(user(1));
    const char *room = make_room(host);
    struct person a = enter(1, room);
    struct transport *t = transport_find(rooms, a.send);
    struct transport_state_row *row = &fake_dataplane.states[handle_index(t->handle)].state;
    static const uint8_t v4[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1};
    const cJSON *item, *tuple;

    item = cJSON_GetArrayItem(request(a.s, "media:getStats", "{'transportId':'%s'}", a.send), 0);
    assert_string_equal(text_of(item, "iceState"), "new");
    assert_null(cJSON_GetObjectItem(item, "iceSelectedTuple"));
    row->published_ns = clock_monotonic_ns();
    row->ice_state = ICE_STATE_completed;
    row->dtls_state = DTLS_STATE_connected;
    row->bytes_received = 1;
    row->receive_bps = 2;
    row->bytes_sent = 3;
    row->send_bps = 4;
    row->rtp_bytes_received = 5;
    row->rtp_receive_bps = 6;
    row->rtp_bytes_sent = 7;
    row->rtp_send_bps = 8;
    row->rtx_bytes_received = 2;
    row->rtx_receive_bps = 1;
    row->rtx_bytes_sent = 3;
    row->rtx_send_bps = 2;
    row->rtp_packets_received = 9;
    row->rtp_packets_sent = 10;
    memcpy(row->remote_ip, v4, 16);
    row->local_ip[15] = 1;
    row->remote_port = 5000;
    row->local_port = 40000;
    item = cJSON_GetArrayItem(request(a.s, "media:getStats", "{'transportId':'%s'}", a.send), 0);
    assert_members(
        item, "type transportId timestamp iceRole iceState dtlsState bytesReceived recvBitrate "
              "bytesSent sendBitrate rtpBytesReceived rtpRecvBitrate rtpBytesSent "
              "rtxBytesReceived rtxRecvBitrate rtxBytesSent rtxSendBitrate "
              "rtpSendBitrate rtpPacketsReceived rtpPacketsSent iceSelectedTuple");
    assert_string_equal(text_of(item, "type"), "webrtc-transport");
    assert_string_equal(text_of(item, "transportId"), a.send);
    assert_string_equal(text_of(item, "iceState"), "completed");
    assert_string_equal(text_of(item, "dtlsState"), "connected");
    assert_true(number(item, "bytesReceived") == 1 && number(item, "recvBitrate") == 2);
    assert_true(number(item, "bytesSent") == 3 && number(item, "sendBitrate") == 4);
    /* retransmissions are counted apart */
    assert_true(number(item, "rtpBytesReceived") == 3 && number(item, "rtpRecvBitrate") == 5);
    assert_true(number(item, "rtxBytesReceived") == 2 && number(item, "rtxRecvBitrate") == 1);
    assert_true(number(item, "rtpBytesSent") == 4 && number(item, "rtpSendBitrate") == 6);
    assert_true(number(item, "rtxBytesSent") == 3 && number(item, "rtxSendBitrate") == 2);
    assert_true(number(item, "rtpPacketsReceived") == 9 && number(item, "rtpPacketsSent") == 10);
    tuple = cJSON_GetObjectItem(item, "iceSelectedTuple");
    assert_string_equal(text_of(tuple, "remoteIp"), "192.0.2.1");
    assert_string_equal(text_of(tuple, "localIp"), "::1");
    assert_true(number(tuple, "remotePort") == 5000 && number(tuple, "localPort") == 40000);
    row->published_ns -= 2 * NS_PER_S;
    item = cJSON_GetArrayItem(request(a.s, "media:getStats", "{'transportId':'%s'}", a.send), 0);
    assert_true(number(item, "recvBitrate") == 0 && number(item, "rtpSendBitrate") == 0);

    assert_code(request(a.s, "media:getStats", "{}"), "invalid_payload");
    assert_code(request(a.s, "media:getStats", "{'transportId':'%s','producerId':'x'}", a.send),
                "invalid_payload");
    socket_lose(a.s);
    socket_lose(host);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(producers), T(layers), T(consumers), T(transports)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
