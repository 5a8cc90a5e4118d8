/* media:getStats: statistics of the data plane, under the field names of mediasoup. */
#include <arpa/inet.h>
#include <string.h>

#include "consumer.h"
#include "controlplane/web/json.h"
#include "events.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "request.h"
#include "room_json.h"
#include "src/clock.h"
#include "transport.h"

/* The data plane publishes every 500 ms while media flows; a rate older than this is 0. */
#define RATE_AGE_NS_MAX (1500 * NS_PER_MS)

static double now_ms(void)
{
    return (double)(clock_monotonic_ns() / NS_PER_MS);
}

static double rate(uint32_t bps, uint64_t published_ns)
{
    uint64_t now_ns = clock_monotonic_ns();

    return now_ns > published_ns && now_ns - published_ns > RATE_AGE_NS_MAX ? 0 : bps;
}

static void add_tuple(cJSON *item, const struct transport_state_row *state)
{
    char local[INET6_ADDRSTRLEN], remote[INET6_ADDRSTRLEN];
    struct in6_addr address;
    const uint8_t *ips[2] = {state->local_ip, state->remote_ip};
    char *texts[2] = {local, remote};
    cJSON *tuple;
    int i;

    if (state->remote_port == 0)
        return;
    for (i = 0; i < 2; i++) {
        memcpy(&address, ips[i], sizeof(address));
        if (IN6_IS_ADDR_V4MAPPED(&address))
            inet_ntop(AF_INET, ips[i] + 12, texts[i], INET6_ADDRSTRLEN);
        else
            inet_ntop(AF_INET6, ips[i], texts[i], INET6_ADDRSTRLEN);
    }
    tuple = json_texts("localIp", local, "localAddress", local, "remoteIp", remote, "protocol",
                       "udp", NULL);
    cJSON_AddNumberToObject(tuple, "localPort", state->local_port);
    cJSON_AddNumberToObject(tuple, "remotePort", state->remote_port);
    json_add(item, "iceSelectedTuple", tuple);
}

static cJSON *transport_stats(struct rooms *rooms, struct transport *t)
{
    struct transport_state_row state = {0};
    cJSON *list = json_new_array(), *item;

    dataplane_row_read(rooms->dataplane, TABLE_transport_state, t->handle, &state);
    item = json_texts("type", "webrtc-transport", "transportId", t->id, "iceRole", "controlled",
                      "iceState", field_enum_text(SHOW_ice_state, state.ice_state), "dtlsState",
                      field_enum_text(SHOW_dtls_state, state.dtls_state), NULL);
    cJSON_AddNumberToObject(item, "timestamp", now_ms());
    cJSON_AddNumberToObject(item, "bytesReceived", (double)state.bytes_received);
    cJSON_AddNumberToObject(item, "recvBitrate", rate(state.receive_bps, state.published_ns));
    cJSON_AddNumberToObject(item, "bytesSent", (double)state.bytes_sent);
    cJSON_AddNumberToObject(item, "sendBitrate", rate(state.send_bps, state.published_ns));
    cJSON_AddNumberToObject(item, "rtpBytesReceived", (double)state.rtp_bytes_received);
    cJSON_AddNumberToObject(item, "rtpRecvBitrate",
                            rate(state.rtp_receive_bps, state.published_ns));
    cJSON_AddNumberToObject(item, "rtpBytesSent", (double)state.rtp_bytes_sent);
    cJSON_AddNumberToObject(item, "rtpSendBitrate", rate(state.rtp_send_bps, state.published_ns));
    cJSON_AddNumberToObject(item, "rtpPacketsReceived", (double)state.rtp_packets_received);
    cJSON_AddNumberToObject(item, "rtpPacketsSent", (double)state.rtp_packets_sent);
    add_tuple(item, &state);
    json_push(list, item);
    return list;
}

static cJSON *stream(const char *type, const struct producer *producer, uint32_t ssrc,
                     uint32_t rtx_ssrc)
{
    cJSON *item = json_texts("type", type, "kind", kind_text(producer->ortc.row.kind), "mimeType",
                             producer->ortc.mime, NULL);

    cJSON_AddNumberToObject(item, "timestamp", now_ms());
    cJSON_AddNumberToObject(item, "ssrc", ssrc);
    if (rtx_ssrc != 0)
        cJSON_AddNumberToObject(item, "rtxSsrc", rtx_ssrc);
    return item;
}

/* One encoding as it was received. mediasoup also has score and packetsDiscarded; the data plane
 * does not count these. */
static void add_encoding(cJSON *list, const struct producer *producer,
                         const struct producer_state_row *state, uint32_t e)
{
    const struct producer_row *row = &producer->ortc.row;
    const char *rid = row->encoding_rid + e * RID_BYTES_MAX;
    cJSON *item;

    if (state->encoding_packets[e] == 0)
        return;
    item = stream("inbound-rtp", producer, state->encoding_ssrc[e], row->encoding_rtx_ssrc[e]);
    if (rid[0] != '\0')
        cJSON_AddStringToObject(item, "rid", rid);
    cJSON_AddNumberToObject(item, "packetCount", (double)state->encoding_packets[e]);
    cJSON_AddNumberToObject(item, "byteCount", (double)state->encoding_bytes[e]);
    cJSON_AddNumberToObject(item, "bitrate", rate(state->encoding_bps[e], state->published_ns));
    cJSON_AddNumberToObject(item, "packetsLost", (double)state->encoding_packets_lost[e]);
    cJSON_AddNumberToObject(item, "fractionLost", state->encoding_fraction_lost[e]);
    cJSON_AddNumberToObject(item, "jitter", state->encoding_jitter[e]);
    cJSON_AddNumberToObject(item, "packetsRetransmitted", state->encoding_rtx_packets[e]);
    cJSON_AddNumberToObject(item, "packetsRepaired", state->encoding_packets_repaired[e]);
    cJSON_AddNumberToObject(item, "nackCount", state->encoding_nacks_sent[e]);
    cJSON_AddNumberToObject(item, "nackPacketCount", state->encoding_packets_asked[e]);
    cJSON_AddNumberToObject(item, "pliCount", state->encoding_pli_sent[e]);
    json_push(list, item);
}

static cJSON *producer_stats(struct rooms *rooms, struct producer *producer)
{
    struct producer_state_row state = {0};
    cJSON *list = json_new_array();
    uint32_t e;

    dataplane_row_read(rooms->dataplane, TABLE_producer_state, producer->handle, &state);
    for (e = 0; e < producer->ortc.row.encoding_count; e++)
        add_encoding(list, producer, &state, e);
    return list;
}

/* The stream to the receiver, then the encoding that is forwarded to it. */
static cJSON *consumer_stats(struct rooms *rooms, struct consumer *consumer)
{
    struct consumer_state_row state = {0};
    struct producer_state_row source = {0};
    cJSON *list = json_new_array(), *item;

    dataplane_row_read(rooms->dataplane, TABLE_consumer_state, consumer->handle, &state);
    dataplane_row_read(rooms->dataplane, TABLE_producer_state, consumer->producer->handle, &source);
    item = stream("outbound-rtp", consumer->producer, consumer->row.ssrc, consumer->row.rtx_ssrc);
    cJSON_AddNumberToObject(item, "packetCount", (double)state.packets_sent);
    cJSON_AddNumberToObject(item, "byteCount", (double)state.bytes_sent);
    cJSON_AddNumberToObject(item, "bitrate", rate(state.send_bps, state.published_ns));
    cJSON_AddNumberToObject(item, "packetsLost", (double)state.packets_lost);
    cJSON_AddNumberToObject(item, "fractionLost", state.fraction_lost);
    cJSON_AddNumberToObject(item, "jitter", state.jitter);
    cJSON_AddNumberToObject(item, "packetsRetransmitted", state.packets_sent_again);
    cJSON_AddNumberToObject(item, "nackCount", state.nack_received);
    cJSON_AddNumberToObject(item, "nackPacketCount", state.packets_asked);
    cJSON_AddNumberToObject(item, "pliCount", state.pli_received);
    cJSON_AddNumberToObject(item, "firCount", state.fir_received);
    if (state.round_trip_us != 0) /* 0: unknown, no RTCP report arrived yet */
        cJSON_AddNumberToObject(item, "roundTripTime", state.round_trip_us / 1000.0);
    json_push(list, item);
    if (state.encoding < consumer->producer->ortc.row.encoding_count)
        add_encoding(list, consumer->producer, &source, state.encoding);
    return list;
}

void handle_media_get_stats(struct request *request)
{
    const char *transport_id = payload_text(request->payload, "transportId"),
               *producer_id = payload_text(request->payload, "producerId"),
               *consumer_id = payload_text(request->payload, "consumerId");
    struct transport *transport = transport_find(request->rooms, transport_id);
    struct producer *producer = producer_find(request->rooms, producer_id);
    struct consumer *consumer = consumer_find(request->rooms, consumer_id);

    if ((transport_id != NULL) + (producer_id != NULL) + (consumer_id != NULL) != 1)
        request_fail_because(request, ERROR_invalid_payload,
                             "give one of transportId, producerId, consumerId");
    else if (transport_id != NULL &&
             (transport == NULL || transport->owner->session != request->session))
        request_fail(request, ERROR_transport_not_found);
    else if (producer_id != NULL &&
             (producer == NULL || producer->transport->owner->session != request->session))
        request_fail(request, ERROR_producer_not_found);
    else if (consumer_id != NULL &&
             (consumer == NULL || consumer->transport->owner->session != request->session))
        request_fail(request, ERROR_consumer_not_found);
    else if (transport != NULL)
        request_succeed(request, transport_stats(request->rooms, transport));
    else if (producer != NULL)
        request_succeed(request, producer_stats(request->rooms, producer));
    else
        request_succeed(request, consumer_stats(request->rooms, consumer));
}
