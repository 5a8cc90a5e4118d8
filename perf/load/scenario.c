/* Who joins when: ramp, settling, the window with its comings and goings, the drain. */
#include "scenario.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"
#include "media.h"
#include "options.h"
#include "perf/sendto_cost.h"
#include "receiver.h"
#include "senders.h"
#include "src/clock.h"

#define PUBLISHERS_PER_MEMBER 16 /* the server allows 32 producers of one participant */
#define IDLE_MEMBERS_PER_ROOM 8
#define SERVICE_MS 20
#define CALM_NS NS_PER_S /* between "all flows" and the window */
#define DRAIN_QUIET_NS (300 * NS_PER_MS)
#define DRAIN_MAX_NS (10 * NS_PER_S)

/* What somebody published and others may take. */
struct publication {
    char id[TARGET_ID_ROOM];
    uint32_t sender;
    uint8_t kind;
};

struct hall { /* a room of the server */
    struct target_room *room;
    struct publication *publications;
    unsigned publication_count;
};

/* One endpoint, and whom it belongs to. */
struct place {
    struct hall *hall;
    struct target_member *member;
    struct target_endpoint *signal;
    struct endpoint *endpoint;
    unsigned own_first,
        own_count; /* publications: of a publisher its own, of others those left out */
};

struct run {
    const struct options *options;
    const struct target_type *type;
    struct target *target;
    struct media *media;
    const char *fingerprint;
    const volatile int *interrupted;
    struct hall *halls;
    unsigned hall_count, idle_hall_count;
    struct place *publishers, *subscribers; /* of participants: those of one have the same index */
    unsigned publisher_count, subscriber_count;
    uint32_t next_endpoint, next_sender, alive;
    uint64_t next_begin_ns;
    char *why;
};

static void *memory(size_t count, size_t bytes)
{
    void *p = calloc(count ? count : 1, bytes);

    if (!p)
        abort(); /* without memory there is no measurement */
    return p;
}

static uint64_t random_word(void)
{
    uint64_t word;

    RAND_bytes((unsigned char *)&word, sizeof(word));
    return word;
}

static void say(const struct run *run, const char *text)
{
    if (!run->options->quiet)
        fprintf(stderr, "ringcast-load: %s\n", text);
}

/* Lets time pass; false when the run is over. */
static bool service(struct run *run, int ms)
{
    if (*run->interrupted) {
        snprintf(run->why, TARGET_WHY_BYTES, "interrupted");
        return false;
    }
    return run->type->service(run->target, ms, run->why);
}

static bool service_until(struct run *run, uint64_t when_ns)
{
    uint64_t now;

    while ((now = clock_monotonic_ns()) < when_ns) {
        uint64_t left_ms = (when_ns - now) / NS_PER_MS;

        if (!service(run, left_ms < SERVICE_MS ? (int)left_ms : SERVICE_MS))
            return false;
    }
    return true;
}

/* ---- endpoints ---- */

/* Not faster than --ramp, and not more than --pending-max connecting at a time. */
static bool pace(struct run *run)
{
    const struct options *o = run->options;

    while (run->alive - atomic_load(&run->media->connected) - atomic_load(&run->media->failed) >=
           o->pending_max)
        if (!service(run, 1))
            return false;
    if (!o->ramp_per_second)
        return service(run, 0);
    if (!service_until(run, run->next_begin_ns))
        return false;
    if (run->next_begin_ns < clock_monotonic_ns() - NS_PER_S)
        run->next_begin_ns = clock_monotonic_ns();
    run->next_begin_ns += NS_PER_S / o->ramp_per_second;
    return true;
}

static bool place_open(struct run *run, struct place *place)
{
    if (run->next_endpoint == ENDPOINTS_MAX) {
        snprintf(run->why, TARGET_WHY_BYTES, "more than %d endpoints came and went", ENDPOINTS_MAX);
        return false;
    }
    if (!pace(run))
        return false;
    place->endpoint = endpoint_new(run->media, run->next_endpoint++, run->fingerprint);
    return true;
}

static void place_begin(struct run *run, struct place *place)
{
    run->alive++;
    media_post(run->media, endpoint_begin, place->endpoint);
}

static void place_close(struct run *run, struct place *place)
{
    if (!place->endpoint)
        return;
    run->alive--;
    media_call(run->media, endpoint_end, place->endpoint);
    run->type->drop(place->signal);
    place->endpoint = NULL;
    place->signal = NULL;
}

static void stream_describe(const struct sender *s, struct target_stream *stream)
{
    bool video = s->kind == STREAM_VIDEO;

    *stream = (struct target_stream){.kind = s->kind,
                                     .ssrc = s->ssrc,
                                     .rtx_ssrc = s->rtx_ssrc,
                                     .payload_type = video ? SENT_VP8 : SENT_OPUS,
                                     .rtx_payload_type = video ? SENT_VP8_RTX : 0};
    snprintf(stream->mid, sizeof(stream->mid), "%s", video ? "1" : "0");
}

static bool publisher_begin(struct run *run, struct place *place)
{
    const bool wanted[2] = {
        [STREAM_AUDIO] = run->options->audio, [STREAM_VIDEO] = run->options->video};
    struct target_stream streams[SENDERS_PER_ENDPOINT_MAX];
    struct endpoint *e;

    if (!place_open(run, place))
        return false;
    e = place->endpoint;
    e->is_publisher = true;
    for (int kind = 0; kind < 2; kind++)
        if (wanted[kind]) {
            struct sender *s =
                sender_new(run->options, run->next_sender++, (enum stream_kind)kind, random_word());

            s->endpoint = e;
            e->senders[e->sender_count] = s;
            stream_describe(s, &streams[e->sender_count++]);
        }
    place->signal = run->type->publish(place->member, &e->local, &e->remote, streams,
                                       e->sender_count, run->why);
    if (!place->signal)
        return false;
    for (unsigned i = 0; i < e->sender_count; i++) {
        struct publication *p = &place->hall->publications[place->own_first + i];
        struct sender *s = e->senders[i];

        s->payload_type = streams[i].payload_type;
        s->rtx_payload_type = streams[i].rtx_payload_type;
        snprintf(s->mid, sizeof(s->mid), "%s", streams[i].mid);
        memcpy(p->id, streams[i].publication, sizeof(p->id));
        p->sender = s->id;
        p->kind = s->kind;
    }
    place->own_count = e->sender_count;
    place_begin(run, place);
    return true;
}

static struct receivers_added *receivers_make(const struct run *run, struct place *place,
                                              const struct target_stream *streams,
                                              const uint32_t *senders, unsigned count)
{
    struct receivers_added *added = memory(1, sizeof(*added) + count * sizeof(added->receivers[0]));

    added->endpoint = place->endpoint;
    added->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct receiver *r = memory(1, sizeof(*r));

        r->stream = senders[i];
        r->room = (uint32_t)(place->hall - run->halls);
        r->kind = streams[i].kind;
        r->ssrc = streams[i].ssrc;
        r->rtx_ssrc = streams[i].rtx_ssrc;
        r->payload_type = streams[i].payload_type;
        r->rtx_payload_type = streams[i].rtx_payload_type;
        if (run->options->transport_cc && streams[i].transport_cc_id)
            added->transport_cc_id = streams[i].transport_cc_id;
        added->receivers[i] = r;
    }
    return added;
}

/* Takes publications [first, first + count) of its room, without its own. */
static bool subscribe(struct run *run, struct place *place, unsigned first, unsigned count)
{
    struct target_stream *streams = memory(count, sizeof(*streams));
    uint32_t *senders = memory(count, sizeof(*senders));
    struct endpoint *e = place->endpoint;
    bool is_new = place->signal == NULL;
    struct target_endpoint *signal;
    unsigned wanted = 0;

    for (unsigned i = first; i < first + count; i++) {
        const struct publication *p = &place->hall->publications[i];

        if (i - place->own_first < place->own_count)
            continue;
        senders[wanted] = p->sender;
        streams[wanted].kind = p->kind;
        snprintf(streams[wanted++].publication, TARGET_ID_ROOM, "%s", p->id);
    }
    signal = run->type->subscribe(place->member, place->signal, &e->local, &e->remote, streams,
                                  wanted, run->why);
    if (signal) {
        place->signal = signal;
        if (is_new)
            place_begin(run, place);
        if (wanted)
            media_post(run->media, endpoint_add_receivers,
                       receivers_make(run, place, streams, senders, wanted));
    }
    free(streams);
    free(senders);
    return signal && run->type->start(signal, run->why);
}

static bool subscriber_begin(struct run *run, struct place *place)
{
    if (!place_open(run, place))
        return false;
    return subscribe(run, place, 0, place->hall->publication_count);
}

/* ---- ramp ---- */

static bool hall_open(struct run *run, struct hall *hall, unsigned publications)
{
    hall->publications = memory(publications, sizeof(*hall->publications));
    hall->publication_count = publications;
    hall->room = run->type->room_open(run->target, run->why);
    return hall->room != NULL;
}

static bool ramp_participants(struct run *run, struct hall *hall, unsigned streams)
{
    unsigned count = run->options->participants;
    struct place *publishers = run->publishers + run->publisher_count;
    struct place *subscribers = run->subscribers + run->subscriber_count;

    if (!hall_open(run, hall, count * streams))
        return false;
    for (unsigned i = 0; i < count; i++) {
        publishers[i] = (struct place){.hall = hall, .own_first = i * streams};
        publishers[i].member = run->type->join(hall->room, run->why);
        if (!publishers[i].member || !publisher_begin(run, &publishers[i]))
            return false;
        run->publisher_count++;
    }
    for (unsigned i = 0; i < count; i++) {
        subscribers[i] = publishers[i];
        subscribers[i].signal = NULL;
        subscribers[i].endpoint = NULL;
        if (!subscriber_begin(run, &subscribers[i]))
            return false;
        run->subscriber_count++;
    }
    return true;
}

static bool ramp_one_way(struct run *run, struct hall *hall, unsigned streams)
{
    const struct options *o = run->options;
    unsigned per_member = o->endpoints_per_member;
    unsigned subscribers = o->large && hall == run->halls ? o->large : o->subscribers;
    unsigned publishing = per_member < PUBLISHERS_PER_MEMBER ? per_member : PUBLISHERS_PER_MEMBER;
    struct target_member *member = NULL;

    if (!hall_open(run, hall, o->publishers * streams))
        return false;
    for (unsigned i = 0; i < o->publishers; i++) {
        struct place *place = &run->publishers[run->publisher_count];

        if (i % publishing == 0 && !(member = run->type->join(hall->room, run->why)))
            return false;
        *place = (struct place){.hall = hall, .member = member, .own_first = i * streams};
        if (!publisher_begin(run, place))
            return false;
        run->publisher_count++;
    }
    for (unsigned i = 0; i < subscribers; i++) {
        struct place *place = &run->subscribers[run->subscriber_count];

        if (i % per_member == 0 && !(member = run->type->join(hall->room, run->why)))
            return false;
        *place = (struct place){.hall = hall, .member = member};
        if (!subscriber_begin(run, place))
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
    struct hall *hall = NULL;

    for (unsigned i = 0; i < o->idle; i++) {
        struct place place = {0};

        if (i % per_room == 0) {
            hall = &run->halls[run->hall_count];
            if (!hall_open(run, hall, 0))
                return false;
            run->hall_count++;
        }
        if (i % o->endpoints_per_member == 0 && !(member = run->type->join(hall->room, run->why)))
            return false;
        place.hall = hall;
        place.member = member;
        if (!place_open(run, &place))
            return false;
        place.endpoint->is_idle = true;
        if (!subscribe(run, &place, 0, 0))
            return false;
        if ((i + 1) % 1000 == 0 && !o->quiet)
            fprintf(stderr, "ringcast-load: %u of %u idle endpoints begun\n", i + 1, o->idle);
    }
    return true;
}

static bool ramp(struct run *run)
{
    const struct options *o = run->options;
    unsigned streams = (unsigned)o->video + o->audio;
    bool media = o->participants || o->subscribers;
    unsigned idle_halls = o->idle / (o->endpoints_per_member * IDLE_MEMBERS_PER_ROOM) + 1;

    run->halls = memory(o->rooms + idle_halls, sizeof(*run->halls));
    run->publishers = memory((size_t)o->rooms * (o->participants ? o->participants : o->publishers),
                             sizeof(*run->publishers));
    run->subscribers =
        memory((size_t)o->rooms * (o->participants ? o->participants : o->subscribers) + o->large,
               sizeof(*run->subscribers));
    for (unsigned i = 0; media && i < o->rooms; i++) {
        struct hall *hall = &run->halls[run->hall_count];
        bool ok = o->participants ? ramp_participants(run, hall, streams)
                                  : ramp_one_way(run, hall, streams);

        run->hall_count += hall->room != NULL;
        if (!ok)
            return false;
    }
    return ramp_idle(run);
}

/* ---- settle ---- */

static bool settle(struct run *run, struct result *result)
{
    uint64_t deadline = clock_monotonic_ns() + run->options->settle_seconds * NS_PER_S;
    struct media_progress p;

    for (;;) {
        media_call(run->media, media_progress, &p);
        result->endpoints = p.endpoints;
        result->receivers = p.receivers;
        if (p.failed) {
            snprintf(run->why, TARGET_WHY_BYTES, "%u of %u endpoints did not connect; %.250s",
                     p.failed, p.endpoints, p.failure);
            return false;
        }
        if (p.connected == p.endpoints && p.flowing == p.receivers)
            return service_until(run, clock_monotonic_ns() + CALM_NS);
        if (clock_monotonic_ns() > deadline) {
            snprintf(run->why, TARGET_WHY_BYTES,
                     "within %u s only %u of %u endpoints connected, and %u of %u streams were "
                     "received (video: from a key frame on)",
                     run->options->settle_seconds, p.connected, p.endpoints, p.flowing,
                     p.receivers);
            return false;
        }
        if (!service(run, SERVICE_MS))
            return false;
    }
}

/* ---- the window ---- */

/* Somebody leaves and comes again; the others take what it publishes now. */
static bool participant_again(struct run *run, unsigned at)
{
    struct place *publisher = &run->publishers[at], *subscriber = &run->subscribers[at];

    place_close(run, publisher);
    place_close(run, subscriber);
    if (!publisher_begin(run, publisher) || !subscriber_begin(run, subscriber))
        return false;
    for (unsigned i = 0; i < run->subscriber_count; i++) {
        struct place *other = &run->subscribers[i];

        if (i != at && other->hall == publisher->hall &&
            !subscribe(run, other, publisher->own_first, publisher->own_count))
            return false;
    }
    return true;
}

static bool churn_one(struct run *run)
{
    unsigned at;

    if (!run->subscriber_count)
        return true;
    at = (unsigned)(random_word() % run->subscriber_count);
    if (run->options->participants)
        return participant_again(run, at);
    place_close(run, &run->subscribers[at]);
    return subscriber_begin(run, &run->subscribers[at]);
}

static bool window(struct run *run, struct result *result)
{
    const struct options *o = run->options;
    uint64_t began = clock_monotonic_ns(), end = began + o->seconds * NS_PER_S;
    uint64_t each =
        o->churn_per_second > 0 ? (uint64_t)(1e9 / o->churn_per_second) : UINT64_MAX / 2;
    uint64_t next = began + each;

    while (clock_monotonic_ns() < end) {
        if (!service_until(run, next < end ? next : end))
            return false;
        if (next < end) {
            if (!churn_one(run))
                return false;
            result->churned++;
            next += each;
        }
    }
    return true;
}

/* Until nothing of the window has come for a while. */
static bool drain(struct run *run)
{
    uint64_t deadline = clock_monotonic_ns() + DRAIN_MAX_NS, began = clock_monotonic_ns();

    while (clock_monotonic_ns() < deadline) {
        struct media_progress p;
        uint64_t since;

        if (!service(run, SERVICE_MS))
            return false;
        media_call(run->media, media_progress, &p);
        since = p.last_counted_ns > began ? p.last_counted_ns : began;
        if (clock_monotonic_ns() > since + DRAIN_QUIET_NS)
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
    ok = window(run, result);
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
        snprintf(run->why, TARGET_WHY_BYTES, "%u endpoints failed: %.300s",
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
    struct target_options wishes = {.url = options->url,
                                    .endpoints_per_member = options->endpoints_per_member,
                                    .nack = options->nack,
                                    .transport_cc = options->transport_cc};
    uint64_t began = clock_monotonic_ns();

    result->sendto_bytes = options->video ? options->video_bytes + 16 : options->audio_bytes + 36;
    server_usage_read(&result->empty, options);
    run.target = run.type->open(&wishes, run.why);
    if (!run.target)
        return;
    say(&run, "connecting");
    if (ramp(&run)) {
        result->ramp_s = (double)(clock_monotonic_ns() - began) / 1e9;
        say(&run, "settling");
        began = clock_monotonic_ns();
        if (settle(&run, result)) {
            result->settle_s = (double)(clock_monotonic_ns() - began) / 1e9;
            measure(&run, result);
        }
    }
    say(&run, "leaving");
    run.type->close(run.target);
    for (unsigned i = 0; i < run.hall_count; i++)
        free(run.halls[i].publications);
    free(run.halls);
    free(run.publishers);
    free(run.subscribers);
}
