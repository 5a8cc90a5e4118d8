/* The loop of the media thread, and the commands of other threads.
 *
 * A turn reads all sockets, sends what is due and serves the timers. Turns follow each other every
 * TICK_NS, earlier if a frame is due, and without a pause under load.
 * Nothing waits on a socket. A waiting reader would make each send call of the server more
 * expensive, because the call would have to wake the reader. Reading up to TICK_NS later changes no
 * result: every datagram carries the kernel's time of arrival. */
#define _GNU_SOURCE
#include "media.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "arrivals.h"
#include "dataplane/engines/srtp/srtp.h"
#include "endpoint.h"
#include "memory.h"
#include "net.h"
#include "options.h"
#include "payload.h"
#include "receiver.h"
#include "senders.h"
#include "src/clock.h"

#define TICK_NS 500000ull
#define COMMANDS_NS_MAX 2000000ull /* of one turn, for the commands of other threads */

struct media_command {
    struct media_command *next;
    void (*run)(struct media *media, void *argument);
    void *argument;
    bool *done; /* NULL, or what media_call waits for */
};

/* ---- commands ---- */

static void command_push(struct media *media, struct media_command *command)
{
    pthread_mutex_lock(&media->mutex);
    command->next = NULL;
    *media->last = command;
    media->last = &command->next;
    atomic_store(&media->has_commands, true);
    pthread_mutex_unlock(&media->mutex);
}

static struct media_command *command_new(void (*run)(struct media *media, void *argument),
                                         void *argument, bool *done)
{
    struct media_command *command = memory_zeroed(1, sizeof(*command));

    *command = (struct media_command){.run = run, .argument = argument, .done = done};
    return command;
}

void media_post(struct media *media, void (*run)(struct media *media, void *argument),
                void *argument)
{
    command_push(media, command_new(run, argument, NULL));
}

void media_call(struct media *media, void (*run)(struct media *media, void *argument),
                void *argument)
{
    bool done = false;

    command_push(media, command_new(run, argument, &done));
    pthread_mutex_lock(&media->mutex);
    while (!done)
        pthread_cond_wait(&media->ran, &media->mutex);
    pthread_mutex_unlock(&media->mutex);
}

/* Stops after COMMANDS_NS_MAX: thousands of connecting endpoints must not delay the senders. */
static void commands_run(struct media *media)
{
    uint64_t until = media->now_ns + COMMANDS_NS_MAX;

    while (atomic_load(&media->has_commands) && clock_monotonic_ns() < until) {
        struct media_command *command;

        pthread_mutex_lock(&media->mutex);
        command = media->first;
        media->first = command->next;
        if (!media->first) {
            media->last = &media->first;
            atomic_store(&media->has_commands, false);
        }
        pthread_mutex_unlock(&media->mutex);
        command->run(media, command->argument);
        if (command->done) {
            pthread_mutex_lock(&media->mutex);
            *command->done = true;
            pthread_cond_broadcast(&media->ran);
            pthread_mutex_unlock(&media->mutex);
        }
        free(command);
    }
}

/* ---- the loop ---- */

static void fire_endpoint(void *context, struct timer *timer)
{
    endpoint_fire(timer->owner);
}

static void pause_until(uint64_t when_ns)
{
    struct timespec t = {.tv_sec = (time_t)(when_ns / NS_PER_S),
                         .tv_nsec = (long)(when_ns % NS_PER_S)};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static void turn(struct media *media)
{
    uint64_t next, due;

    media->now_ns = clock_monotonic_ns();
    next = media->now_ns + TICK_NS;
    net_compare_clocks(media->net);
    commands_run(media);
    arrivals_run(media);
    media->now_ns = clock_monotonic_ns();
    senders_run(media);
    wheel_advance(&media->wheel, media->now_ns, fire_endpoint, media);
    net_flush(media->net);
    due = senders_due_ns(media);
    if (due < next)
        next = due;
    if (next > clock_monotonic_ns())
        pause_until(next);
}

static void *media_main(void *argument)
{
    struct media *media = argument;
    struct sched_param priority = {.sched_priority = 1};

    if (media->options->realtime && sched_setscheduler(0, SCHED_FIFO, &priority) != 0)
        fprintf(stderr, "ringcast-load: --realtime: %s; continuing with normal priority\n",
                strerror(errno));
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    prctl(PR_SET_NAME, "media", 0, 0, 0);
    while (!media->stopping)
        turn(media);
    return NULL;
}

static void stop_loop(struct media *media, void *unused)
{
    media->stopping = true;
}

bool media_start(struct media *media, const struct options *options, char *why)
{
    *media = (struct media){.options = options};
    media->now_ns = clock_monotonic_ns();
    media->random = media->now_ns * 2654435761u | 1;
    media->fault_random = options->seed * 0x9e3779b97f4a7c15ull | 1;
    media->last = &media->first;
    pthread_mutex_init(&media->mutex, NULL);
    pthread_cond_init(&media->ran, NULL);
    wheel_init(&media->wheel, WHEEL_COARSE_NS, media->now_ns);
    payload_open(media->random);
    media->endpoints = calloc(ENDPOINTS_MAX, sizeof(*media->endpoints));
    media->senders = calloc(ENDPOINTS_MAX, sizeof(*media->senders));
    media->sender_queue = calloc(ENDPOINTS_MAX, sizeof(*media->sender_queue));
    media->payloads = malloc((size_t)FRAME_PACKETS_MAX * RTP_PAYLOAD_BYTES_MAX);
    media->arrivals = arrivals_new();
    media->engine = srtp_engine_new();
    if (options->room_latency)
        media->measurement.room_latency =
            calloc(options->rooms, sizeof(*media->measurement.room_latency));
    if (!media->endpoints || !media->senders || !media->sender_queue || !media->payloads ||
        !media->arrivals || !media->engine) {
        snprintf(why, MEDIA_WHY_BYTES,
                 "not enough memory, or intel-ipsec-mb does not work on this CPU");
        return false;
    }
    media->net = net_open(options->sockets, why);
    if (!media->net)
        return false;
    if (pthread_create(&media->thread, NULL, media_main, media) == 0)
        return true;
    snprintf(why, MEDIA_WHY_BYTES, "the media thread does not start");
    return false;
}

void media_stop(struct media *media)
{
    media_post(media, stop_loop, NULL);
    pthread_join(media->thread, NULL);
}

void media_free(struct media *media)
{
    for (uint32_t i = 0; i < media->endpoint_count; i++)
        if (media->endpoints[i])
            endpoint_end(media, media->endpoints[i]);
    for (uint32_t i = 0; i < media->sender_count; i++)
        free(media->senders[i]);
    net_close(media->net);
    srtp_engine_delete(media->engine);
    free(media->measurement.room_latency);
    free(media->arrivals);
    free(media->payloads);
    free(media->sender_queue);
    free(media->senders);
    free(media->endpoints);
}

/* ---- progress ---- */

static bool is_flowing(const struct receiver *r)
{
    return r->loss.started && r->decodable;
}

void media_progress(struct media *media, void *argument)
{
    struct media_progress *progress = argument;

    *progress = (struct media_progress){.connected = atomic_load(&media->connected),
                                        .failed = atomic_load(&media->failed),
                                        .last_counted_ns = media->measurement.last_counted_ns};
    snprintf(progress->failure, sizeof(progress->failure), "%s", media->failure);
    for (uint32_t i = 0; i < media->endpoint_count; i++) {
        struct endpoint *e = media->endpoints[i];

        if (!e)
            continue;
        progress->endpoints++;
        progress->receivers += e->receiver_count;
        for (unsigned k = 0; k < e->receiver_count; k++)
            progress->flowing += is_flowing(e->receivers[k]);
    }
}
