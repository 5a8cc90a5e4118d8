/* media:getStats: statistics of the data plane, under the field names of mediasoup. */
#include <arpa/inet.h>
#include <stdio.h>
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

static void add_number(cJSON *item, const char *key, double number)
{
    cJSON_AddNumberToObject(item, key, number);
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
    add_number(tuple, "localPort", state->local_port);
    add_number(tuple, "remotePort", state->remote_port);
    json_add(item, "iceSelectedTuple", tuple);
}

/* mediasoup counts retransmissions apart. */
static void add_rtp(cJSON *item, const struct transport_state_row *state)
{
    uint64_t at = state->published_ns;

    add_number(item, "rtpBytesReceived",
               (double)(state->rtp_bytes_received - state->rtx_bytes_received));
    add_number(item, "rtpRecvBitrate", rate(state->rtp_receive_bps - state->rtx_receive_bps, at));
    add_number(item, "rtxBytesReceived", (double)state->rtx_bytes_received);
    add_number(item, "rtxRecvBitrate", rate(state->rtx_receive_bps, at));
    add_number(item, "rtpBytesSent", (double)(state->rtp_bytes_sent - state->rtx_bytes_sent));
    add_number(item, "rtpSendBitrate", rate(state->rtp_send_bps - state->rtx_send_bps, at));
    add_number(item, "rtxBytesSent", (double)state->rtx_bytes_sent);
    add_number(item, "rtxSendBitrate", rate(state->rtx_send_bps, at));
}

static cJSON *transport_stats(struct rooms *rooms, struct transport *t)
{
    struct transport_state_row state = {0};
    cJSON *list = json_new_array(), *item;

    dataplane_row_read(rooms->dataplane, TABLE_transport_state, t->handle, &state);
    item = json_texts("type", "webrtc-transport", "transportId", t->id, "iceRole", "controlled",
                      "iceState", field_enum_text(SHOW_ice_state, state.ice_state), "dtlsState",
                      field_enum_text(SHOW_dtls_state, state.dtls_state), NULL);
    add_number(item, "timestamp", now_ms());
    add_number(item, "bytesReceived", (double)state.bytes_received);
    add_number(item, "recvBitrate", rate(state.receive_bps, state.published_ns));
    add_number(item, "bytesSent", (double)state.bytes_sent);
    add_number(item, "sendBitrate", rate(state.send_bps, state.published_ns));
    add_rtp(item, &state);
    add_number(item, "rtpPacketsReceived", (double)state.rtp_packets_received);
    add_number(item, "rtpPacketsSent", (double)state.rtp_packets_sent);
    add_tuple(item, &state);
    json_push(list, item);
    return list;
}

static cJSON *stream(const char *type, const struct producer *producer, uint32_t ssrc,
                     uint32_t rtx_ssrc)
{
    cJSON *item = json_texts("type", type, "kind", kind_text(producer->ortc.row.kind), "mimeType",
                             producer->ortc.mime, NULL);

    add_number(item, "timestamp", now_ms());
    add_number(item, "ssrc", ssrc);
    if (rtx_ssrc != 0)
        add_number(item, "rtxSsrc", rtx_ssrc);
    return item;
}

/* The rate of each layer with all that it needs, as mediasoup computes it: all lower spatial layers,
 * and the lower temporal ones of its own; 0 while the layer itself does not come. */
static void add_layers(cJSON *item, const struct producer_row *row,
                       const struct producer_state_row *state, uint32_t e)
{
    bool is_simulcast = row->type == PRODUCER_TYPE_simulcast;
    uint32_t spatial_layers = row->encoding_spatial_layers[e],
             temporal_layers = row->encoding_temporal_layers[e];
    double below = 0;
    cJSON *layers;

    layers = cJSON_AddObjectToObject(item, "bitrateByLayer");
    if (spatial_layers <= 1 && temporal_layers <= 1)
        return;
    for (uint32_t s = 0; s < spatial_layers && s < 4; s++) {
        for (uint32_t t = 0; t < temporal_layers && t < 4; t++) {
            double own =
                rate(state->layer_bps[ROW_LAYER(is_simulcast ? e : s, t)], state->published_ns);
            char name[8];

            below += own;
            snprintf(name, sizeof(name), "%u.%u", s, t);
            add_number(layers, name, own > 0 ? below : 0);
        }
    }
}

/* The byte of 3GPP TS 26.114 7.4.5, under the names of mediasoup's event videoorientationchange. */
static void add_orientation(cJSON *item, uint8_t orientation)
{
    cJSON *value;

    if (orientation == ORIENTATION_NONE)
        return;
    value = cJSON_AddObjectToObject(item, "videoOrientation");
    cJSON_AddBoolToObject(value, "camera", (orientation & 8) != 0);
    cJSON_AddBoolToObject(value, "flip", (orientation & 4) != 0);
    add_number(value, "rotation", (orientation & 3) * 90);
}

/* One encoding as it was received. */
static void add_encoding(cJSON *list, const struct producer *producer,
                         const struct producer_state_row *state, uint32_t e)
{
    const struct producer_row *row = &producer->ortc.row;
    const char *rid = row->encoding_rid + e * RID_BYTES_MAX;
    cJSON *item;

    if (state->encoding_packets[e] == 0)
        return;
    item = stream("inbound-rtp", producer, state->encoding_ssrc[e], state->encoding_rtx_ssrc[e]);
    if (rid[0] != '\0')
        cJSON_AddStringToObject(item, "rid", rid);
    add_number(item, "packetCount",
               (double)state->encoding_packets[e] + state->encoding_packets_repaired[e]);
    add_number(item, "byteCount",
               (double)state->encoding_bytes[e] + (double)state->encoding_bytes_repaired[e]);
    add_number(item, "bitrate", rate(state->encoding_bps[e], state->published_ns));
    add_layers(item, row, state, e);
    add_number(item, "packetsLost", (double)state->encoding_packets_lost[e]);
    add_number(item, "fractionLost", state->encoding_fraction_lost[e]);
    add_number(item, "packetsDiscarded", state->encoding_packets_discarded[e]);
    add_number(item, "jitter", state->encoding_jitter[e]);
    add_number(item, "packetsRetransmitted", state->encoding_rtx_packets[e]);
    add_number(item, "packetsRepaired", state->encoding_packets_repaired[e]);
    if (state->encoding_rtx_ssrc[e] != 0)
        add_number(item, "rtxPacketsDiscarded", state->encoding_rtx_discarded[e]);
    add_number(item, "nackCount", state->encoding_nacks_sent[e]);
    add_number(item, "nackPacketCount", state->encoding_packets_asked[e]);
    add_number(item, "pliCount", state->encoding_pli_sent[e]);
    add_number(item, "firCount", state->encoding_fir_sent[e]);
    add_number(item, "score", state->encoding_score[e]);
    if (state->round_trip_us != 0) /* 0: unknown, the client does not report it */
        add_number(item, "roundTripTime", state->round_trip_us / 1000.0);
    add_orientation(item, state->orientation);
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
    struct consumer_state_row state = {.score = SCORE_MAX};
    struct producer_state_row source = {0};
    cJSON *list = json_new_array(), *item;

    dataplane_row_read(rooms->dataplane, TABLE_consumer_state, consumer->handle, &state);
    dataplane_row_read(rooms->dataplane, TABLE_producer_state, consumer->producer->handle, &source);
    item = stream("outbound-rtp", consumer->producer, consumer->row.ssrc, consumer->row.rtx_ssrc);
    add_number(item, "packetCount", (double)state.packets_sent);
    add_number(item, "byteCount", (double)state.bytes_sent);
    add_number(item, "bitrate", rate(state.send_bps, state.published_ns));
    add_number(item, "packetsLost", (double)state.packets_lost);
    add_number(item, "fractionLost", state.fraction_lost);
    add_number(item, "packetsDiscarded", 0); /* of what is sent, nothing is */
    add_number(item, "jitter", state.jitter);
    add_number(item, "packetsRetransmitted", state.packets_sent_again);
    add_number(item, "packetsRepaired", state.packets_repaired);
    add_number(item, "nackCount", state.nack_received);
    add_number(item, "nackPacketCount", state.packets_asked);
    add_number(item, "pliCount", state.pli_received);
    add_number(item, "firCount", state.fir_received);
    add_number(item, "score", state.score);
    if (state.round_trip_us != 0) /* 0: unknown, no RTCP report arrived yet */
        add_number(item, "roundTripTime", state.round_trip_us / 1000.0);
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
