/* The phases of a run, one after the other. */
#include "scenario.h"

#include <stdio.h>
#include <stdlib.h>

#include "clients.h"
#include "endpoint.h"
#include "joins.h"
#include "media.h"
#include "memory.h"
#include "options.h"
#include "perf/sendto_cost.h"
#include "receiver.h"
#include "senders.h"
#include "src/clock.h"

#define PUBLISHERS_PER_MEMBER 16 /* a server allows a participant 32 producers; each may have two */
#define IDLE_MEMBERS_PER_ROOM 8
#define SERVICE_MS 20
#define CALM_NS NS_PER_S /* from "all streams flow" to the start of the measurement */
#define DRAIN_IDLE_NS (300 * NS_PER_MS) /* after this time without a packet no more will arrive */
#define DRAIN_MAX_NS (10 * NS_PER_S)

static void say(const struct run *run, const char *text)
{
    if (!run->options->quiet)
        fprintf(stderr, "ringcast-load: %s\n", text);
}

/* ---- ramp: everybody connects ---- */

static bool ramp_participants(struct run *run, struct room *room, unsigned streams)
{
    unsigned count = run->options->participants;
    struct client *publishers = run->publishers + run->publisher_count;
    struct client *subscribers = run->subscribers + run->subscriber_count;

    if (!room_open(run, room, count * streams))
        return false;
    for (unsigned i = 0; i < count; i++) {
        publishers[i] = (struct client){.room = room, .own_first = i * streams};
        publishers[i].member = run->type->join(room->handle, run->why);
        if (!publishers[i].member || !publisher_open(run, &publishers[i]))
            return false;
        run->publisher_count++;
    }
    for (unsigned i = 0; i < count; i++) {
        subscribers[i] = publishers[i];
        subscribers[i].handle = NULL;
        subscribers[i].endpoint = NULL;
        if (!subscriber_open(run, &subscribers[i]))
            return false;
        run->subscriber_count++;
    }
    return true;
}

static bool ramp_one_way(struct run *run, struct room *room, unsigned streams)
{
    const struct options *o = run->options;
    unsigned per_member = o->endpoints_per_member;
    unsigned subscribers = o->large && room == run->rooms ? o->large : o->subscribers;
    unsigned publishing = per_member < PUBLISHERS_PER_MEMBER ? per_member : PUBLISHERS_PER_MEMBER;
    struct target_member *member = NULL;

    if (!room_open(run, room, o->publishers * streams))
        return false;
    for (unsigned i = 0; i < o->publishers; i++) {
        struct client *client = &run->publishers[run->publisher_count];

        if (i % publishing == 0 && !(member = run->type->join(room->handle, run->why)))
            return false;
        *client = (struct client){.room = room, .member = member, .own_first = i * streams};
        if (!publisher_open(run, client))
            return false;
        run->publisher_count++;
    }
    for (unsigned i = 0; i < subscribers; i++) {
        struct client *client = &run->subscribers[run->subscriber_count];

        if (i % per_member == 0 && !(member = run->type->join(room->handle, run->why)))
            return false;
        *client = (struct client){.room = room, .member = member};
        if (!subscriber_open(run, client))
            return false;
        run->subscriber_count++;
    }
    return true;
}

static bool ramp_idle(struct run *run)
{
    const struct options *o = run->options;
    unsigned per_room = o->endpoints_per_member * IDLE_MEMBERS_PER_ROOM;
    struct target_member *member = NULL;
    struct room *room = NULL;

    for (unsigned i = 0; i < o->idle; i++) {
        struct client client = {0};

        if (i % per_room == 0) {
            room = &run->rooms[run->room_count];
            if (!room_open(run, room, 0))
                return false;
            run->room_count++;
        }
        if (i % o->endpoints_per_member == 0 && !(member = run->type->join(room->handle, run->why)))
            return false;
        client.room = room;
        client.member = member;
        if (!idle_client_open(run, &client))
            return false;
        if ((i + 1) % 1000 == 0 && !o->quiet)
            fprintf(stderr, "ringcast-load: %u of %u idle endpoints are connecting\n", i + 1,
                    o->idle);
    }
    return true;
}

static bool ramp(struct run *run)
{
    const struct options *o = run->options;
    unsigned streams = (unsigned)o->video + o->audio;
    bool media = o->participants || o->subscribers || o->joiners;
    unsigned idle_rooms = o->idle / (o->endpoints_per_member * IDLE_MEMBERS_PER_ROOM) + 1;

    run->rooms = memory_zeroed(o->rooms + idle_rooms, sizeof(*run->rooms));
    run->publishers =
        memory_zeroed((size_t)o->rooms * (o->participants ? o->participants : o->publishers),
                      sizeof(*run->publishers));
    run->subscribers =
        memory_zeroed((size_t)o->rooms * (o->participants ? o->participants : o->subscribers) +
                          o->large + o->joiners,
                      sizeof(*run->subscribers));
    for (unsigned i = 0; media && i < o->rooms; i++) {
        struct room *room = &run->rooms[run->room_count];
        bool ok = o->participants ? ramp_participants(run, room, streams)
                                  : ramp_one_way(run, room, streams);

        run->room_count += room->handle != NULL;
        if (!ok)
            return false;
    }
    return ramp_idle(run);
}

/* ---- settle: until all streams flow ---- */

static bool settle(struct run *run, struct result *result)
{
    uint64_t deadline = clock_monotonic_ns() + run->options->settle_seconds * NS_PER_S;
    struct media_progress p;

    for (;;) {
        media_call(run->media, media_progress, &p);
        result->endpoints = p.endpoints;
        result->receivers = p.receivers;
        if (p.failed) {
            snprintf(run->why, TARGET_WHY_BYTES, "%u of %u endpoints did not connect: %.250s",
                     p.failed, p.endpoints, p.failure);
            return false;
        }
        if (p.connected == p.endpoints && p.flowing == p.receivers)
            return run_service_until(run, clock_monotonic_ns() + CALM_NS);
        if (clock_monotonic_ns() > deadline) {
            snprintf(run->why, TARGET_WHY_BYTES,
                     "within %u s only %u of %u endpoints connected, and only %u of %u streams "
                     "arrived (a video stream counts after its first key frame)",
                     run->options->settle_seconds, p.connected, p.endpoints, p.flowing,
                     p.receivers);
            return false;
        }
        if (!run_service(run, SERVICE_MS))
            return false;
    }
}

/* ---- the measurement ---- */

/* A participant leaves and joins again. The others subscribe to its new publications. */
static bool rejoin_participant(struct run *run, unsigned at)
{
    struct client *publisher = &run->publishers[at], *subscriber = &run->subscribers[at];

    client_close(run, publisher);
    client_close(run, subscriber);
    if (!publisher_open(run, publisher) || !subscriber_open(run, subscriber))
        return false;
    for (unsigned i = 0; i < run->subscriber_count; i++) {
        struct client *other = &run->subscribers[i];

        if (i != at && other->room == publisher->room &&
            !subscriber_add(run, other, publisher->own_first, publisher->own_count))
            return false;
    }
    return true;
}

/* A random subscriber, or participant, leaves and joins again. */
static bool churn_once(struct run *run)
{
    unsigned at;

    if (!run->subscriber_count)
        return true;
    at = (unsigned)(run_random() % run->subscriber_count);
    if (run->options->participants)
        return rejoin_participant(run, at);
    client_close(run, &run->subscribers[at]);
    return subscriber_open(run, &run->subscribers[at]);
}

/* ---- --layers flip ---- */

/* What a receiver awaits from now on. */
struct awaited {
    struct endpoint *endpoint;
    uint32_t stream;
    int layer;
};

static void await_layer(struct media *media, void *argument)
{
    struct awaited *a = argument;

    for (unsigned i = 0; i < a->endpoint->receiver_count; i++) {
        struct receiver *r = a->endpoint->receivers[i];

        if (r->stream == a->stream) {
            r->awaited_layer = a->layer;
            r->awaited_since_ns = media->now_ns;
        }
    }
}

/* One subscriber asks for the same layer of everything that it sees. */
static bool prefer(struct run *run, struct result *result, struct client *client, unsigned layer)
{
    char why[TARGET_WHY_BYTES];

    for (unsigned i = 0; i < client->room->publication_count; i++) {
        const struct publication *p = &client->room->publications[i];
        struct awaited awaited = {client->endpoint, p->sender, (int)layer};

        if (p->kind != STREAM_VIDEO || i - client->own_first < client->own_count)
            continue;
        media_call(run->media, await_layer, &awaited);
        result->layer_requests++;
        if (run->type->prefer(client->handle, p->id, layer, TEMPORAL_LAYERS - 1, why))
            continue;
        awaited.layer = -1;
        media_call(run->media, await_layer, &awaited);
        if (!result->layer_refused++)
            snprintf(result->layer_refusal, TARGET_WHY_BYTES, "%s", why);
        if (!run_service(run, 0)) /* an error of the session, not of the request */
            return false;
    }
    return true;
}

static bool flip_layers(struct run *run, struct result *result)
{
    const struct options *o = run->options;
    unsigned highest = o->svc ? SPATIAL_LAYERS_SENT - 1 : o->simulcast - 1;
    bool up = result->flips++ % 2;

    for (unsigned i = 0; i < run->subscriber_count; i++)
        if (!prefer(run, result, &run->subscribers[i], up ? highest : 0))
            return false;
    return true;
}

/* ---- the time of the measurement ---- */

/* The time between start and stop, with --churn, --layers and --join. */
static bool pass_time(struct run *run, struct result *result)
{
    const struct options *o = run->options;
    uint64_t began = clock_monotonic_ns(), end = began + o->seconds * NS_PER_S;
    uint64_t each =
        o->churn_per_second > 0 ? (uint64_t)(1e9 / o->churn_per_second) : UINT64_MAX / 2;
    uint64_t next = began + each, next_flip = o->flip_layers ? began + NS_PER_S : UINT64_MAX;

    if (o->joiners && !joins_run(run, &result->joins))
        return false;
    while (clock_monotonic_ns() < end) {
        uint64_t due = next < next_flip ? next : next_flip;

        if (!run_service_until(run, due < end ? due : end))
            return false;
        if (next_flip <= due && next_flip < end) {
            if (!flip_layers(run, result))
                return false;
            next_flip += NS_PER_S;
        }
        if (next <= due && next < end) {
            if (!churn_once(run))
                return false;
            result->churned++;
            next += each;
        }
    }
    return true;
}

/* Waits for packets that were sent before the stop. */
static bool drain(struct run *run)
{
    uint64_t deadline = clock_monotonic_ns() + DRAIN_MAX_NS, began = clock_monotonic_ns();

    while (clock_monotonic_ns() < deadline) {
        struct media_progress p;
        uint64_t since;

        if (!run_service(run, SERVICE_MS))
            return false;
        media_call(run->media, media_progress, &p);
        since = p.last_counted_ns > began ? p.last_counted_ns : began;
        if (clock_monotonic_ns() > since + DRAIN_IDLE_NS)
            break;
    }
    return true;
}

static bool measure(struct run *run, struct result *result)
{
    struct media *media = run->media;
    bool ok;

    if (run->options->server_pid_count)
        result->sendto_before_ns = sendto_cost_ns(run->options->server_cpu, result->sendto_bytes);
    say(run, "measuring");
    server_usage_read(&result->before, run->options);
    media_call(media, measurement_start, NULL);
    ok = pass_time(run, result);
    media_call(media, measurement_stop, NULL);
    server_usage_read(&result->after, run->options);
    result->measured = ok;
    result->server_died = server_usage_gone(&result->before, &result->after);
    if (run->options->server_pid_count)
        result->sendto_after_ns = sendto_cost_ns(run->options->server_cpu, result->sendto_bytes);
    ok = drain(run) && ok;
    media_call(media, senders_stop_all, NULL);
    media_call(media, measurement_sum, NULL);
    if (atomic_load(&media->failed) && ok)
        snprintf(run->why, TARGET_WHY_BYTES, "%u endpoints failed; the first: %.300s",
                 atomic_load(&media->failed), media->failure);
    return ok;
}

void scenario_run(const struct options *options, struct media *media, const char *fingerprint,
                  const volatile int *interrupted, struct result *result)
{
    struct run run = {.options = options,
                      .type = options->target,
                      .media = media,
                      .fingerprint = fingerprint,
                      .interrupted = interrupted,
                      .why = result->failure};
    struct target_options wanted = {.url = options->url,
                                    .endpoints_per_member = options->endpoints_per_member,
                                    .nack = options->nack,
                                    .transport_cc = options->transport_cc,
                                    .codec = options->svc ? VIDEO_VP9 : options->codec};
    uint64_t began = clock_monotonic_ns();

    result->sendto_bytes = options->video ? options->video_bytes + 16 : options->audio_bytes + 36;
    server_usage_read(&result->empty, options);
    run.target = run.type->open(&wanted, run.why);
    if (!run.target)
        return;
    say(&run, "connecting");
    if (ramp(&run)) {
        result->ramp_s = (double)(clock_monotonic_ns() - began) / 1e9;
        say(&run, "waiting until all streams flow");
        began = clock_monotonic_ns();
        if (settle(&run, result)) {
            result->settle_s = (double)(clock_monotonic_ns() - began) / 1e9;
            measure(&run, result);
        }
    }
    say(&run, "disconnecting");
    run.type->close(run.target);
    for (unsigned i = 0; i < run.room_count; i++)
        free(run.rooms[i].publications);
    free(run.rooms);
    free(run.publishers);
    free(run.subscribers);
}
