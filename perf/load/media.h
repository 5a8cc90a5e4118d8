/* The media thread: one loop that carries thousands of WebRTC endpoints.
 *
 *   media ──► endpoint (ICE, DTLS, SRTP) ──► sender    one RTP stream that it sends
 *     │           │                     └──► receiver  one RTP stream that it receives
 *     └─ net      └─ timer: checks, handshake, reports
 *
 * Threads: after media_start everything in here belongs to the media thread. Other threads give it
 *          work with media_post and media_call. They may read `connected` and `failed`.
 * Memory:  the caller owns struct media; media_free frees what it holds. */
#ifndef RINGCAST_LOAD_MEDIA_H
#define RINGCAST_LOAD_MEDIA_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/engines/wheel.h"
#include "measurement.h"

#define MEDIA_WHY_BYTES 300

struct arrivals;
struct endpoint;
struct media_command;
struct net;
struct options;
struct sender;
struct srtp_engine;

struct media {
    const struct options *options;
    struct net *net;
    struct srtp_engine *engine;
    struct wheel wheel;
    uint64_t now_ns;
    uint64_t random, fault_random; /* fault_random: of --seed */
    struct endpoint **endpoints;   /* by index; NULL: it has left */
    uint32_t endpoint_count;       /* highest index + 1 */
    struct sender **senders;       /* by id; a sender stays here when its endpoint leaves */
    uint32_t sender_count;
    struct sender **sender_queue; /* the running senders, see senders.h */
    uint32_t queue_count;
    struct arrivals *arrivals;
    uint8_t *payloads; /* clear payloads of the frame that is being built */

    struct measurement measurement;
    _Atomic uint32_t connected, failed;
    char failure[MEDIA_WHY_BYTES]; /* why the first endpoint failed */

    bool stopping;
    pthread_t thread;
    pthread_mutex_t mutex; /* the commands */
    pthread_cond_t ran;
    struct media_command *first, **last;
    _Atomic bool has_commands;
};

bool media_start(struct media *media, const struct options *options, char *why);
/* Ends the thread. The measurement stays readable until media_free. */
void media_stop(struct media *media);
void media_free(struct media *media);

/* Runs `run` on the media thread, soon. Commands of one thread run in the order of their posts. */
void media_post(struct media *media, void (*run)(struct media *media, void *argument),
                void *argument);
/* The same, and returns after `run` has returned. */
void media_call(struct media *media, void (*run)(struct media *media, void *argument),
                void *argument);

struct media_progress {
    uint32_t endpoints, connected, failed;
    uint32_t receivers;
    uint32_t flowing; /* receivers that got a packet; of video, a key frame */
    uint64_t last_counted_ns;
    char failure[MEDIA_WHY_BYTES];
};
void media_progress(struct media *media, void *progress); /* fits media_call */

static inline uint64_t media_random(struct media *media)
{
    media->random ^= media->random << 13;
    media->random ^= media->random >> 7;
    media->random ^= media->random << 17;
    return media->random;
}

/* True in `percent` of all calls: does a fault on purpose hit this packet? */
static inline bool media_chance(struct media *media, double percent)
{
    if (percent <= 0)
        return false;
    media->fault_random ^= media->fault_random << 13;
    media->fault_random ^= media->fault_random >> 7;
    media->fault_random ^= media->fault_random << 17;
    return (double)(media->fault_random >> 11) * 0x1p-53 * 100 < percent;
}

#endif
