/* The requests of one participant, in order (controlplane/README.md, Client contract). */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dtls.h"
#include "error.h"
#include "src/clock.h"

#define MEDIA_TIMEOUT_MS 15000

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

static double since_ms(uint64_t began_ns)
{
    return (double)(clock_monotonic_ns() - began_ns) / 1e6;
}

static void add_producer(struct peer *peer, const char *producer_id)
{
    pthread_mutex_lock(&peer->mutex);
    g_queue_push_tail(peer->new_producers, g_strdup(producer_id));
    pthread_mutex_unlock(&peer->mutex);
}

static char *take_producer(struct peer *peer)
{
    char *producer_id;

    pthread_mutex_lock(&peer->mutex);
    producer_id = g_queue_pop_head(peer->new_producers);
    pthread_mutex_unlock(&peer->mutex);
    return producer_id;
}

static void on_event(void *context, const char *name, const cJSON *payload)
{
    struct peer *peer = context;

    if (strcmp(name, "media:newProducer") == 0)
        add_producer(peer, text_of(payload, "producerId"));
}

/* The router's capabilities, reduced to what the probe can receive: Opus, VP8 and its RTX. */
static cJSON *own_capabilities(const cJSON *router)
{
    cJSON *own = cJSON_CreateObject(), *codecs = cJSON_AddArrayToObject(own, "codecs");
    const cJSON *codec;
    double vp8 = -1;

    cJSON_ArrayForEach(codec, cJSON_GetObjectItemCaseSensitive(router, "codecs"))
    {
        const char *mime = text_of(codec, "mimeType");
        const cJSON *apt = cJSON_GetObjectItemCaseSensitive(
            cJSON_GetObjectItemCaseSensitive(codec, "parameters"), "apt");

        if (strcasecmp(mime, "video/VP8") == 0)
            vp8 = cJSON_GetNumberValue(
                cJSON_GetObjectItemCaseSensitive(codec, "preferredPayloadType"));
        if (strcasecmp(mime, "video/VP8") == 0 || strcasecmp(mime, "audio/opus") == 0 ||
            (apt && cJSON_GetNumberValue(apt) == vp8))
            cJSON_AddItemToArray(codecs, cJSON_Duplicate(codec, true));
    }
    cJSON_AddItemToObject(
        own, "headerExtensions",
        cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(router, "headerExtensions"), true));
    return own;
}

bool peer_join(struct peer *peer, const struct signaling_options *options, const char *email,
               const char *password, bool register_first, const char *room, char *why)
{
    uint64_t began = clock_monotonic_ns();
    char *token =
        signaling_account(options, email, password, register_first ? peer->name : NULL, why);
    cJSON *payload, *answer;
    const cJSON *producer;

    if (!token)
        return false;
    peer->account_ms = since_ms(began);
    began = clock_monotonic_ns();
    peer->new_producers = g_queue_new();
    pthread_mutex_init(&peer->mutex, NULL);
    peer->signaling = signaling_open(options, token, on_event, peer, why);
    free(token);
    if (!peer->signaling)
        return false;
    peer->socket_ms = since_ms(began);
    began = clock_monotonic_ns();
    if (!room) {
        payload = cJSON_CreateObject();
        cJSON_AddStringToObject(payload, "title", "ringcast-probe");
        answer = signaling_request(peer->signaling, "room:create", payload, why);
        if (!answer)
            return false;
        snprintf(peer->room_id, sizeof(peer->room_id), "%s", text_of(answer, "roomId"));
        cJSON_Delete(answer);
        room = peer->room_id;
    }
    payload = cJSON_CreateObject();
    cJSON_AddStringToObject(payload, "roomId", room);
    answer = signaling_request(peer->signaling, "room:join", payload, why);
    if (!answer)
        return false;
    snprintf(peer->room_id, sizeof(peer->room_id), "%s", text_of(answer, "roomId"));
    snprintf(peer->room_code, sizeof(peer->room_code), "%s", text_of(answer, "roomCode"));
    peer->capabilities =
        own_capabilities(cJSON_GetObjectItemCaseSensitive(answer, "rtpCapabilities"));
    cJSON_ArrayForEach(producer, cJSON_GetObjectItemCaseSensitive(answer, "existingProducers"))
        add_producer(peer, text_of(producer, "producerId"));
    cJSON_Delete(answer);
    peer->join_ms = since_ms(began);
    return true;
}

/* ---- media ---- */

static void on_feedback(void *context, const uint8_t *data, size_t bytes, bool is_rtcp,
                        uint64_t now_ns)
{
    struct peer *peer = context;

    if (!is_rtcp)
        return;
    rtcp_read_about_sender(&peer->video, data, bytes, clock_wall_ns());
    rtcp_read_about_sender(&peer->audio, data, bytes, clock_wall_ns());
}

static void on_media(void *context, const uint8_t *data, size_t bytes, bool is_rtcp,
                     uint64_t now_ns)
{
    struct peer *peer = context;
    uint32_t ssrc;

    if (bytes < 12)
        return;
    ssrc = (uint32_t)data[8] << 24 | (uint32_t)data[9] << 16 | (uint32_t)data[10] << 8 | data[11];
    pthread_mutex_lock(&peer->mutex);
    for (unsigned i = 0; i < peer->consumer_count; i++) {
        if (is_rtcp)
            rtcp_read_about_receiver(&peer->consumers[i], data, bytes, now_ns);
        else if (peer->consumers[i].ssrc == ssrc)
            receiver_packet(&peer->consumers[i], data, bytes, now_ns, peer->run);
    }
    pthread_mutex_unlock(&peer->mutex);
}

void peer_send_reports(struct peer *peer)
{
    const struct sender *senders[] = {&peer->video, &peer->audio};
    uint64_t now = clock_monotonic_ns();
    uint8_t report[PACKET_BYTES_MAX];
    size_t bytes;

    for (unsigned i = 0; i < 2; i++) {
        bytes = rtcp_write_sender_report(report, senders[i], now, clock_wall_ns());
        if (bytes)
            transport_send_rtcp(peer->send, report, bytes, sizeof(report));
    }
    pthread_mutex_lock(&peer->mutex);
    bytes = rtcp_write_receiver_report(report, peer->consumers, peer->consumer_count,
                                       peer->video.ssrc, now);
    pthread_mutex_unlock(&peer->mutex);
    if (bytes)
        transport_send_rtcp(peer->recv, report, bytes, sizeof(report));
}

/* ---- transports, producers, consumers ---- */

static struct transport *open_transport(struct peer *peer, GMainContext *loop,
                                        const char *direction, char id[64], char *why)
{
    cJSON *payload = cJSON_CreateObject(), *answer, *dtls, *print;
    struct transport *t;
    char fingerprint[96];

    cJSON_AddStringToObject(payload, "roomId", peer->room_id);
    cJSON_AddStringToObject(payload, "direction", direction);
    answer = signaling_request(peer->signaling, "media:createTransport", payload, why);
    if (!answer)
        return NULL;
    snprintf(id, 64, "%s", text_of(answer, "id"));
    t = transport_open(loop, answer, strcmp(direction, "send") == 0 ? on_feedback : on_media, peer,
                       why);
    cJSON_Delete(answer);
    if (!t)
        return NULL;
    dtls_identity(fingerprint);
    payload = cJSON_CreateObject();
    cJSON_AddStringToObject(payload, "transportId", id);
    dtls = cJSON_AddObjectToObject(payload, "dtlsParameters");
    cJSON_AddStringToObject(dtls, "role", "client");
    print = cJSON_CreateObject();
    cJSON_AddStringToObject(print, "algorithm", "sha-256");
    cJSON_AddStringToObject(print, "value", fingerprint);
    cJSON_AddItemToArray(cJSON_AddArrayToObject(dtls, "fingerprints"), print);
    answer = signaling_request(peer->signaling, "media:connectTransport", payload, why);
    if (!answer) {
        transport_close(t);
        return NULL;
    }
    cJSON_Delete(answer);
    transport_start(t);
    return t;
}

static bool produce(struct peer *peer, const char *transport_id, const char *kind, char *why)
{
    static const char *const video =
        "{\"mid\":\"0\",\"codecs\":[{\"mimeType\":\"video/"
        "VP8\",\"payloadType\":96,\"clockRate\":90000,"
        "\"parameters\":{},\"rtcpFeedback\":[{\"type\":\"nack\",\"parameter\":\"pli\"},"
        "{\"type\":\"ccm\",\"parameter\":\"fir\"}]}],\"headerExtensions\":[],"
        "\"encodings\":[{\"ssrc\":%u}],\"rtcp\":{\"cname\":\"probe\",\"reducedSize\":true}}";
    static const char *const audio =
        "{\"mid\":\"1\",\"codecs\":[{\"mimeType\":\"audio/opus\",\"payloadType\":111,"
        "\"clockRate\":48000,\"channels\":2,\"parameters\":{},\"rtcpFeedback\":[]}],"
        "\"headerExtensions\":[],\"encodings\":[{\"ssrc\":%u}],"
        "\"rtcp\":{\"cname\":\"probe\",\"reducedSize\":true}}";
    bool is_video = strcmp(kind, "video") == 0;
    cJSON *payload = cJSON_CreateObject(), *answer;
    char parameters[800];

    snprintf(parameters, sizeof(parameters), is_video ? video : audio,
             is_video ? peer->video.ssrc : peer->audio.ssrc);
    cJSON_AddStringToObject(payload, "roomId", peer->room_id);
    cJSON_AddStringToObject(payload, "transportId", transport_id);
    cJSON_AddStringToObject(payload, "kind", kind);
    cJSON_AddItemToObject(payload, "rtpParameters", cJSON_Parse(parameters));
    answer = signaling_request(peer->signaling, "media:produce", payload, why);
    cJSON_Delete(answer);
    return answer != NULL;
}

static bool consume(struct peer *peer, const char *transport_id, const char *producer_id, char *why)
{
    cJSON *payload = cJSON_CreateObject(), *answer;
    const cJSON *encoding, *ssrc;
    struct receiver *r;
    char consumer_id[64];
    bool ok;

    cJSON_AddStringToObject(payload, "roomId", peer->room_id);
    cJSON_AddStringToObject(payload, "transportId", transport_id);
    cJSON_AddStringToObject(payload, "producerId", producer_id);
    cJSON_AddItemToObject(payload, "rtpCapabilities", cJSON_Duplicate(peer->capabilities, true));
    answer = signaling_request(peer->signaling, "media:consume", payload, why);
    if (!answer)
        return false;
    snprintf(consumer_id, sizeof(consumer_id), "%s", text_of(answer, "consumerId"));
    encoding = cJSON_GetArrayItem(
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(answer, "rtpParameters"),
                                         "encodings"),
        0);
    ssrc = cJSON_GetObjectItemCaseSensitive(encoding, "ssrc");
    ok = cJSON_IsNumber(ssrc);
    if (ok) {
        pthread_mutex_lock(&peer->mutex);
        r = &peer->consumers[peer->consumer_count];
        r->ssrc = (uint32_t)ssrc->valuedouble;
        r->is_video = strcmp(text_of(answer, "kind"), "video") == 0;
        r->paused = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "producerPaused"));
        r->consumed_ns = clock_monotonic_ns();
        r->latencies_us = malloc(LATENCIES_MAX * sizeof(uint32_t));
        ok = r->latencies_us != NULL;
        peer->consumer_count += ok;
        pthread_mutex_unlock(&peer->mutex);
    } else {
        snprintf(why, PROBE_WHY_BYTES, "the answer to media:consume has no SSRC");
    }
    cJSON_Delete(answer);
    if (!ok)
        return false;
    payload = cJSON_CreateObject();
    cJSON_AddStringToObject(payload, "consumerId", consumer_id);
    answer = signaling_request(peer->signaling, "media:resumeConsumer", payload, why);
    cJSON_Delete(answer);
    return answer != NULL;
}

bool peer_start_media(struct peer *peer, GMainContext *loop, char *why)
{
    char send_id[64];
    struct transport_times times;

    peer->send = open_transport(peer, loop, "send", send_id, why);
    peer->recv = peer->send ? open_transport(peer, loop, "recv", peer->recv_id, why) : NULL;
    if (!peer->recv || !transport_wait(peer->send, MEDIA_TIMEOUT_MS, why) ||
        !transport_wait(peer->recv, MEDIA_TIMEOUT_MS, why))
        return false;
    times = transport_times(peer->send);
    peer->ice_ms = (double)(times.ice_ns - times.started_ns) / 1e6;
    peer->dtls_ms = (double)(times.dtls_ns - times.ice_ns) / 1e6;
    return produce(peer, send_id, "video", why) && produce(peer, send_id, "audio", why) &&
           peer_consume_new(peer, why);
}

bool peer_consume_new(struct peer *peer, char *why)
{
    char *id;
    bool ok = true;

    while (ok && (id = take_producer(peer))) {
        if (peer->consumer_count == PEER_CONSUMERS_MAX)
            peer->left_out++;
        else /* a publisher that has already left is no error */
            ok = consume(peer, peer->recv_id, id, why) || strstr(why, "(producer_not_found)") ||
                 strstr(why, "(consumer_not_found)");
        g_free(id);
    }
    return ok;
}

bool peer_is_alive(struct peer *peer, char *why)
{
    return signaling_is_alive(peer->signaling, why) && transport_is_alive(peer->send, why) &&
           transport_is_alive(peer->recv, why);
}

void peer_leave(struct peer *peer)
{
    char why[PROBE_WHY_BYTES];

    if (peer->signaling) {
        cJSON *payload = cJSON_CreateObject();

        cJSON_AddStringToObject(payload, "roomId", peer->room_id);
        cJSON_Delete(signaling_request(peer->signaling, "room:leave", payload, why));
        signaling_close(peer->signaling);
    }
    if (peer->send)
        transport_close(peer->send);
    if (peer->recv)
        transport_close(peer->recv);
    if (peer->new_producers) {
        g_queue_free_full(peer->new_producers, g_free);
        pthread_mutex_destroy(&peer->mutex);
    }
    for (unsigned i = 0; i < peer->consumer_count; i++)
        free(peer->consumers[i].latencies_us);
    cJSON_Delete(peer->capabilities);
}
