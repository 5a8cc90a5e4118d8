/* The usual call of a scenario: client 0 publishes on worker 0, the others watch. */
#ifndef RINGCAST_LAB_CALL_H
#define RINGCAST_LAB_CALL_H

#include "publisher.h"
#include "receiver.h"

#define CALL_VIEWERS_MAX 110

struct call {
    struct world *world;
    struct world_client *sender, *clients[CALL_VIEWERS_MAX];
    struct publisher *publisher;
    struct receiver *viewers[CALL_VIEWERS_MAX];
    unsigned count; /* of viewers */
};

/* One more viewer, on the last worker, or on the worker that is given. */
static inline struct receiver *call_add(struct call *call, uint32_t worker,
                                        const struct receiver_options *options)
{
    unsigned i = call->count++;

    call->clients[i] = world_join(call->world, worker);
    call->viewers[i] = receiver_open(call->clients[i], 0, 0, options);
    return call->viewers[i];
}

static inline struct call call_open(uint64_t seed, unsigned workers,
                                    const struct publisher_options *from,
                                    const struct receiver_options *to)
{
    struct call call = {.world = world_open(seed, workers)};

    call.sender = world_join(call.world, 0);
    call.publisher = publisher_open(call.sender, 0, from);
    world_run(call.world, MS(10));
    if (to)
        call_add(&call, workers - 1, to);
    return call;
}

static inline void call_close(struct call *call)
{
    for (unsigned i = 0; i < call->count; i++)
        receiver_close(call->viewers[i]);
    publisher_close(call->publisher);
    world_close(call->world);
}

/* Packets of the first key frame, at most. */
#define KEY_PACKETS 64

/* Since the call began, without its first second. */
#define CALL_SETTLED (WORLD_BEGIN_NS + SECONDS(1))

static inline void call_report(const struct call *call, const char *what)
{
    const struct receiver *r = call->viewers[0];

    print_message(
        "# %s, seed %llu: %zu pictures, longest gap %llu ms, %u freezes, %u lost packets repaired, "
        "%u within 200 ms, %u not; %u PLI, %u holes, %u key frames, %u sent as RTX first, time "
        "wrong "
        "by %lld us\n",
        what, (unsigned long long)world_seed(call->world), receiver_shown(r, CALL_SETTLED),
        (unsigned long long)(receiver_gap_ns(r, CALL_SETTLED) / NS_PER_MS),
        receiver_freezes(r, CALL_SETTLED), r->repaired, r->repaired_in_time, r->given_up,
        r->key_frames_asked, receiver_holes(r, 0), call->publisher->streams[0].keys_sent,
        r->sent.resent_first, (long long)r->timestamp_error_us);
}

#endif
