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
    bool video = s->kind == STREAM_VIDEO;

    *stream = (struct target_stream){.kind = s->kind,
                                     .ssrc = s->ssrc,
                                     .rtx_ssrc = s->rtx_ssrc,
                                     .payload_type = video ? SENT_VP8 : SENT_OPUS,
                                     .rtx_payload_type = video ? SENT_VP8_RTX : 0};
    snprintf(stream->mid, sizeof(stream->mid), "%s", video ? "1" : "0");
}

bool publisher_open(struct run *run, struct client *client)
{
    const bool wanted[2] = {
        [STREAM_AUDIO] = run->options->audio, [STREAM_VIDEO] = run->options->video};
    struct target_stream streams[SENDERS_PER_ENDPOINT_MAX];
    struct endpoint *e;

    if (!client_prepare(run, client))
        return false;
    e = client->endpoint;
    e->is_publisher = true;
    for (int kind = 0; kind < 2; kind++)
        if (wanted[kind]) {
            struct sender *s =
                sender_new(run->options, run->next_sender++, (enum stream_kind)kind, run_random());

            s->endpoint = e;
            e->senders[e->sender_count] = s;
            describe_stream(s, &streams[e->sender_count++]);
        }
    client->handle = run->type->publish(client->member, &e->local, &e->remote, streams,
                                        e->sender_count, run->why);
    if (!client->handle)
        return false;
    for (unsigned i = 0; i < e->sender_count; i++) {
        struct publication *p = &client->room->publications[client->own_first + i];
        struct sender *s = e->senders[i];

        s->payload_type = streams[i].payload_type;
        s->rtx_payload_type = streams[i].rtx_payload_type;
        snprintf(s->mid, sizeof(s->mid), "%s", streams[i].mid);
        memcpy(p->id, streams[i].publication, sizeof(p->id));
        p->sender = s->id;
        p->kind = s->kind;
    }
    client->own_count = e->sender_count;
    client_begin(run, client);
    return true;
}

static struct receivers_added *make_receivers(const struct run *run, struct client *client,
                                              const struct target_stream *streams,
                                              const uint32_t *senders, unsigned count)
{
    struct receivers_added *added =
        memory_zeroed(1, sizeof(*added) + count * sizeof(added->receivers[0]));

    added->endpoint = client->endpoint;
    added->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct receiver *r = memory_zeroed(1, sizeof(*r));

        r->stream = senders[i];
        r->room = (uint32_t)(client->room - run->rooms);
        r->kind = streams[i].kind;
        r->ssrc = streams[i].ssrc;
        r->rtx_ssrc = streams[i].rtx_ssrc;
        r->payload_type = streams[i].payload_type;
        r->rtx_payload_type = streams[i].rtx_payload_type;
        r->asks = run->options->nack && streams[i].nack;
        if (run->options->transport_cc && streams[i].transport_cc_id)
            added->transport_cc_id = streams[i].transport_cc_id;
        added->receivers[i] = r;
    }
    return added;
}

bool subscriber_add(struct run *run, struct client *client, unsigned first, unsigned count)
{
    struct target_stream *streams = memory_zeroed(count, sizeof(*streams));
    uint32_t *senders = memory_zeroed(count, sizeof(*senders));
    struct endpoint *e = client->endpoint;
    bool is_new = client->handle == NULL;
    struct target_endpoint *handle;
    unsigned wanted = 0;

    for (unsigned i = first; i < first + count; i++) {
        const struct publication *p = &client->room->publications[i];

        if (i - client->own_first < client->own_count)
            continue;
        senders[wanted] = p->sender;
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
                       make_receivers(run, client, streams, senders, wanted));
    }
    free(streams);
    free(senders);
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
