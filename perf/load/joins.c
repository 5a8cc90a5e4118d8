/* The joins, one after the other, and the collection of their times. */
#include "joins.h"

#include <stdio.h>
#include <stdlib.h>

#include "clients.h"
#include "endpoint.h"
#include "media.h"
#include "memory.h"
#include "options.h"
#include "receiver.h"
#include "senders.h"
#include "src/clock.h"

#define JOIN_PATIENCE_NS (10 * NS_PER_S) /* for the picture of the last one */
#define LOOK_MS 50

/* What the media thread knows about the joiners. */
struct look {
    const struct client *clients;
    unsigned count, complete;
    uint32_t key_frames_asked, key_frames_sent;
    struct joins *joins; /* NULL: only count */
};

static void look_at(struct media *media, void *argument)
{
    struct look *look = argument;

    look->complete = look->key_frames_asked = look->key_frames_sent = 0;
    for (uint32_t i = 0; i < media->sender_count; i++)
        if (media->senders[i]) {
            look->key_frames_asked += media->senders[i]->key_frames_asked;
            look->key_frames_sent += media->senders[i]->key_frames;
        }
    for (unsigned i = 0; i < look->count; i++) {
        const struct client *c = &look->clients[i];
        const struct endpoint *e = c->endpoint;
        uint64_t complete_ns = 0;

        for (unsigned k = 0; k < e->receiver_count; k++)
            if (e->receivers[k]->key_complete_ns > complete_ns)
                complete_ns = e->receivers[k]->key_complete_ns;
        look->complete += complete_ns != 0;
        if (look->joins && complete_ns)
            histogram_record(&look->joins->waited, complete_ns - c->resume_asked_ns);
        if (look->joins && e->keyed_ns)
            histogram_record(&look->joins->connected, e->keyed_ns > c->resume_asked_ns
                                                          ? e->keyed_ns - c->resume_asked_ns
                                                          : 0);
    }
}

/* Their accounts are there before the first joins: an account costs the server 40 ms. */
static bool join_members(struct run *run, struct client *clients, unsigned count)
{
    unsigned per_member = run->options->endpoints_per_member;
    struct target_member *member = NULL;

    for (unsigned i = 0; i < count; i++) {
        if (i % per_member == 0 && !(member = run->type->join(run->rooms[0].handle, run->why)))
            return false;
        clients[i] = (struct client){.room = &run->rooms[0], .member = member};
    }
    return true;
}

static bool wait_for_pictures(struct run *run, struct look *look)
{
    uint64_t deadline = clock_monotonic_ns() + JOIN_PATIENCE_NS;

    do {
        if (!run_service_until(run, clock_monotonic_ns() + LOOK_MS * NS_PER_MS))
            return false;
        media_call(run->media, look_at, look);
    } while (look->complete < look->count && clock_monotonic_ns() < deadline);
    return true;
}

bool joins_run(struct run *run, struct joins *joins)
{
    unsigned count = run->options->joiners;
    struct client *clients = run->subscribers + run->subscriber_count;
    struct look before = {0}, after = {.clients = clients, .count = count};
    uint64_t began;

    if (!join_members(run, clients, count))
        return false;
    media_call(run->media, look_at, &before);
    began = clock_monotonic_ns();
    for (unsigned i = 0; i < count; i++) {
        if (!run_service_until(run, began + i * NS_PER_S / count) ||
            !subscriber_open(run, &clients[i]))
            return false;
        joins->joined++;
    }
    joins->seconds = (double)(clock_monotonic_ns() - began) / 1e9;
    if (!wait_for_pictures(run, &after))
        return false;
    after.joins = joins;
    media_call(run->media, look_at, &after);
    joins->without_key_frame = count - after.complete;
    joins->key_frames_asked = after.key_frames_asked - before.key_frames_asked;
    joins->key_frames_sent = after.key_frames_sent - before.key_frames_sent;
    run->subscriber_count += count;
    return true;
}

void joins_print(const struct joins *j)
{
    printf(
        "joins     %u in %.2f s; first complete key frame p50 %.0f p99 %.0f max %.0f ms after the "
        "request to resume (connected: p50 %.0f p99 %.0f); without one %u; the publisher was "
        "asked for %u key frames and sent %u\n",
        j->joined, j->seconds, (double)histogram_percentile(&j->waited, 50) / 1e6,
        (double)histogram_percentile(&j->waited, 99) / 1e6, (double)j->waited.max / 1e6,
        (double)histogram_percentile(&j->connected, 50) / 1e6,
        (double)histogram_percentile(&j->connected, 99) / 1e6, j->without_key_frame,
        j->key_frames_asked, j->key_frames_sent);
}
