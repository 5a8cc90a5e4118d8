/* Opens and closes clients. */
#include "clients.h"

#include <arpa/inet.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "media.h"
#include "memory.h"
#include "options.h"
#include "receiver.h"
#include "senders.h"
#include "src/clock.h"

#define SERVICE_MS 20 /* how often Ctrl-C is checked */

uint64_t run_random(void)
{
    uint64_t word;

    RAND_bytes((unsigned char *)&word, sizeof(word));
    return word;
}

bool run_service(struct run *run, int ms)
{
    if (*run->interrupted) {
        snprintf(run->why, TARGET_WHY_BYTES, "interrupted");
        return false;
    }
    return run->type->service(run->target, ms, run->why);
}

bool run_service_until(struct run *run, uint64_t when_ns)
{
    uint64_t now;

    while ((now = clock_monotonic_ns()) < when_ns) {
        uint64_t left_ms = (when_ns - now) / NS_PER_MS;

        if (!run_service(run, left_ms < SERVICE_MS ? (int)left_ms : SERVICE_MS))
            return false;
    }
    return true;
}

/* ---- rooms and clients ---- */

bool room_open(struct run *run, struct room *room, unsigned publications)
{
    room->publications = memory_zeroed(publications, sizeof(*room->publications));
    room->publication_count = publications;
    room->handle = run->type->room_open(run->target, run->why);
    if (room->handle)
        return true;
    free(room->publications);
    return false;
}

/* Begins at most --ramp clients per second, and lets at most --pending-max connect at the same
 * time. */
static bool wait_to_begin(struct run *run)
{
    const struct options *o = run->options;

    while (run->open_count - atomic_load(&run->media->connected) -
               atomic_load(&run->media->failed) >=
           o->pending_max)
        if (!run_service(run, 1))
            return false;
    if (!o->ramp_per_second)
        return run_service(run, 0);
    if (!run_service_until(run, run->next_begin_ns))
        return false;
    if (run->next_begin_ns < clock_monotonic_ns() - NS_PER_S)
        run->next_begin_ns = clock_monotonic_ns();
    run->next_begin_ns += NS_PER_S / o->ramp_per_second;
    return true;
}

static bool client_prepare(struct run *run, struct client *client)
{
    if (run->next_endpoint == ENDPOINTS_MAX) {
        snprintf(run->why, TARGET_WHY_BYTES,
                 "the run needs more than %d endpoints, counting those that left", ENDPOINTS_MAX);
        return false;
    }
    if (!wait_to_begin(run))
        return false;
    client->endpoint = endpoint_new(run->media, run->next_endpoint++, run->fingerprint);
    return true;
}

static void client_begin(struct run *run, struct client *client)
{
    struct in_addr *server = &client->endpoint->remote.address.sin_addr;

    if (run->options->via) /* the relay has the same ports as the server */
        inet_pton(AF_INET, run->options->via, server);
    run->open_count++;
    media_post(run->media, endpoint_begin, client->endpoint);
}

void client_close(struct run *run, struct client *client)
{
    if (!client->endpoint)
        return;
    run->open_count--;
    media_call(run->media, endpoint_end, client->endpoint);
    run->type->drop(client->handle);
    client->endpoint = NULL;
    client->handle = NULL;
}

static void describe_stream(const struct sender *s, struct target_stream *stream)
{
    static const uint8_t types[][2] = {[VIDEO_VP8] = {SENT_VP8, SENT_VP8_RTX},
                                       [VIDEO_VP9] = {SENT_VP9, SENT_VP9_RTX},
                                       [VIDEO_H264] = {SENT_H264, SENT_H264_RTX}};
    bool video = s->kind == STREAM_VIDEO;

    *stream = (struct target_stream){.kind = s->kind,
                                     .codec = s->codec,
                                     .ssrc = s->ssrc,
                                     .rtx_ssrc = s->rtx_ssrc,
                                     .payload_type = video ? types[s->codec][0] : SENT_OPUS,
                                     .rtx_payload_type = video ? types[s->codec][1] : 0};
    snprintf(stream->mid, sizeof(stream->mid), "%s", video ? "1" : "0");
}

/* Adds one sender to the endpoint. */
static struct sender *add_sender(struct run *run, struct endpoint *e, enum stream_kind kind)
{
    struct sender *s = sender_new(run->options, run->next_sender++, kind, run_random());

    s->endpoint = e;
    e->senders[e->sender_count++] = s;
    return s;
}

/* A camera: one sender, or one for each encoding. */
static void add_camera(struct run *run, struct endpoint *e, struct target_stream *stream)
{
    const struct options *o = run->options;
    struct sender *first = add_sender(run, e, STREAM_VIDEO);

    describe_stream(first, stream);
    if (o->svc)
        stream->scalability = o->svc == SVC_KEY ? "L3T3_KEY" : "L3T3";
    else if (o->simulcast && first->has_temporal)
        stream->scalability = "L1T3";
    for (unsigned i = 0; i < o->simulcast; i++) {
        struct sender *s = i ? add_sender(run, e, STREAM_VIDEO) : first;
        struct target_encoding *encoding = &stream->encodings[stream->encoding_count++];

        sender_join_encodings(s, first, i);
        *encoding = (struct target_encoding){.ssrc = s->ssrc, .rtx_ssrc = s->rtx_ssrc};
        memcpy(encoding->rid, s->rid, sizeof(encoding->rid));
    }
}

/* What the server made of the streams. */
static void take_published(struct client *client, const struct target_stream *streams,
                           unsigned count)
{
    struct endpoint *e = client->endpoint;
    unsigned sender = 0;

    for (unsigned i = 0; i < count; i++) {
        struct publication *p = &client->room->publications[client->own_first + i];

        memcpy(p->id, streams[i].publication, sizeof(p->id));
        p->sender = e->senders[sender]->id;
        p->kind = streams[i].kind;
        p->encodings = streams[i].encoding_count ? streams[i].encoding_count : 1;
        for (unsigned k = 0; k < p->encodings; k++, sender++) {
            struct sender *s = e->senders[sender];

            s->payload_type = streams[i].payload_type;
            s->rtx_payload_type = streams[i].rtx_payload_type;
            memcpy(s->mid, streams[i].mid, sizeof(s->mid));
        }
    }
    client->own_count = count;
}

bool publisher_open(struct run *run, struct client *client)
{
    struct target_stream streams[2];
    unsigned count = 0;
    struct endpoint *e;

    if (!client_prepare(run, client))
        return false;
    e = client->endpoint;
    e->is_publisher = true;
    if (run->options->audio)
        describe_stream(add_sender(run, e, STREAM_AUDIO), &streams[count++]);
    if (run->options->video)
        add_camera(run, e, &streams[count++]);
    client->handle =
        run->type->publish(client->member, &e->local, &e->remote, streams, count, run->why);
    if (!client->handle)
        return false;
    take_published(client, streams, count);
    client_begin(run, client);
    return true;
}

static struct receivers_added *make_receivers(const struct run *run, struct client *client,
                                              const struct target_stream *streams,
                                              const struct publication *const *wanted,
                                              unsigned count)
{
    const struct options *o = run->options;
    struct receivers_added *added =
        memory_zeroed(1, sizeof(*added) + count * sizeof(added->receivers[0]));

    added->endpoint = client->endpoint;
    added->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct receiver *r = memory_zeroed(1, sizeof(*r));

        r->stream = wanted[i]->sender;
        r->stream_count = wanted[i]->encodings;
        r->codec = (uint8_t)(o->svc ? VIDEO_VP9 : o->codec);
        r->kind = streams[i].kind;
        r->is_layered = r->kind == STREAM_VIDEO && (o->svc || o->simulcast);
        r->room = (uint32_t)(client->room - run->rooms);
        r->ssrc = streams[i].ssrc;
        r->rtx_ssrc = streams[i].rtx_ssrc;
        r->payload_type = streams[i].payload_type;
        r->rtx_payload_type = streams[i].rtx_payload_type;
        r->awaited_layer = -1;
        r->asks = o->nack && streams[i].nack;
        if (o->verify && r->kind == STREAM_VIDEO)
            r->verify = verify_new((enum video_codec)r->codec, VIDEO_CLOCK / o->fps);
        if (o->transport_cc && streams[i].transport_cc_id)
            added->transport_cc_id = streams[i].transport_cc_id;
        added->receivers[i] = r;
    }
    return added;
}

bool subscriber_add(struct run *run, struct client *client, unsigned first, unsigned count)
{
    struct target_stream *streams = memory_zeroed(count, sizeof(*streams));
    const struct publication **publications = memory_zeroed(count, sizeof(*publications));
    struct endpoint *e = client->endpoint;
    bool is_new = client->handle == NULL;
    struct target_endpoint *handle;
    unsigned wanted = 0;

    for (unsigned i = first; i < first + count; i++) {
        const struct publication *p = &client->room->publications[i];

        if (i - client->own_first < client->own_count)
            continue;
        publications[wanted] = p;
        streams[wanted].kind = p->kind;
        snprintf(streams[wanted++].publication, TARGET_ID_ROOM, "%s", p->id);
    }
    handle = run->type->subscribe(client->member, client->handle, &e->local, &e->remote, streams,
                                  wanted, run->why);
    if (handle) {
        client->handle = handle;
        if (is_new)
            client_begin(run, client);
        if (wanted)
            media_post(run->media, endpoint_add_receivers,
                       make_receivers(run, client, streams, publications, wanted));
    }
    free(streams);
    free(publications);
    client->resume_asked_ns = clock_monotonic_ns();
    return handle && run->type->start(handle, run->why);
}

bool subscriber_open(struct run *run, struct client *client)
{
    if (!client_prepare(run, client))
        return false;
    return subscriber_add(run, client, 0, client->room->publication_count);
}

bool idle_client_open(struct run *run, struct client *client)
{
    if (!client_prepare(run, client))
        return false;
    client->endpoint->is_idle = true;
    return subscriber_add(run, client, 0, 0);
}
