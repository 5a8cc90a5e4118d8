/* ringcastctl top: takes a sample of the tables again and again. */
#define _GNU_SOURCE
#include "top.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "src/clock.h"

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    stopping = number;
}

/* Both samples list transports in the order of their index, so one pass finds each in the sample
 * before. */
static void sample_transports(const struct observer *observer, const struct top_sample *before,
                              struct top_sample *now)
{
    uint32_t rows = observer_rows(observer, TABLE_transport), old = 0;

    now->transport_count = 0;
    for (uint32_t index = 0; index < rows; index++) {
        struct transport_sample *t = &now->transports[now->transport_count];
        struct transport_row desired;

        if (row_copy(TABLE_transport_state, &t->row,
                     region_row(&observer->actual, TABLE_transport_state, index), 0) != ROW_OK)
            continue;
        t->index = index;
        memset(t->id, 0, sizeof(t->id));
        t->direction = 0;
        if (row_copy(TABLE_transport, &desired,
                     region_row(&observer->desired, TABLE_transport, index),
                     t->row.header.generation) == ROW_OK) {
            memcpy(t->id, desired.id, sizeof(t->id));
            t->direction = desired.direction;
        }
        t->previous_received = t->previous_sent = t->previous_packets = 0;
        while (old < before->transport_count && before->transports[old].index < index)
            old++;
        if (old < before->transport_count && before->transports[old].index == index &&
            before->transports[old].row.header.generation == t->row.header.generation) {
            const struct transport_state_row *was = &before->transports[old].row;

            t->previous_received = was->bytes_received;
            t->previous_sent = was->bytes_sent;
            t->previous_packets = was->rtp_packets_received + was->rtp_packets_sent;
        }
        now->transport_count++;
    }
}

static void sample_video(const struct observer *observer, struct video_sample *video)
{
    uint32_t rows = observer_rows(observer, TABLE_consumer);

    memset(video, 0, sizeof(*video));
    for (uint32_t index = 0; index < rows; index++) {
        struct consumer_state_row row;
        struct consumer_row desired;

        if (row_copy(TABLE_consumer, &desired,
                     region_row(&observer->desired, TABLE_consumer, index), 0) != ROW_OK ||
            desired.kind != MEDIA_KIND_video ||
            row_copy(TABLE_consumer_state, &row,
                     region_row(&observer->actual, TABLE_consumer_state, index),
                     desired.header.generation) != ROW_OK)
            continue;
        if (row.spatial_layer == LAYER_NONE)
            video->without++;
        else
            video->layers[row.spatial_layer < TOP_LAYERS ? row.spatial_layer : TOP_LAYERS - 1]++;
        video->switching += row.spatial_layer != row.target_spatial_layer ||
                            row.temporal_layer != row.target_temporal_layer;
        video->poor += row.score < SCORE_GOOD;
    }
}

static void sample_take(const struct observer *observer, const struct top_sample *before,
                        struct top_sample *now)
{
    now->now_ns = clock_monotonic_ns();
    now->heartbeat_ns = region_heartbeat(observer->actual.header);
    for (uint32_t w = 0; w < WORKERS_MAX; w++) {
        now->worker_there[w] =
            row_copy(TABLE_worker_state, &now->workers[w],
                     region_row(&observer->actual, TABLE_worker_state, w), 0) == ROW_OK;
        if (row_copy(TABLE_worker_counters, &now->counters[w],
                     region_row(&observer->actual, TABLE_worker_counters, w), 0) != ROW_OK)
            now->worker_there[w] = false;
    }
    sample_video(observer, &now->video);
    sample_transports(observer, before, now);
}

static unsigned terminal_lines(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_row < 10)
        return 40;
    return size.ws_row;
}

/* Sorts a copy by rate; the next sample needs this one in the order of the index. */
static bool show(const struct top_sample *before, const struct top_sample *now, bool once)
{
    bool screen = !once && isatty(STDOUT_FILENO);
    struct top_sample *sorted = malloc(sizeof(*sorted));

    if (!sorted) {
        fputs("ringcastctl: out of memory\n", stderr);
        return false;
    }
    *sorted = *now;
    if (screen)
        fputs("\033[H\033[2J", stdout);
    top_print(stdout, before, sorted, screen ? terminal_lines() : 0);
    free(sorted);
    if (fflush(stdout) != 0) { /* the reader of a pipe closed it */
        stopping = SIGPIPE;
        return errno == EPIPE;
    }
    return true;
}

int command_top(const struct observer *observer, const struct top_options *options)
{
    struct sigaction stop = {.sa_handler = on_signal};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct top_sample *before = calloc(1, sizeof(*before)), *now = calloc(1, sizeof(*now));
    bool fine = before && now;

    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    if (!fine)
        fputs("ringcastctl: out of memory\n", stderr);
    else
        sample_take(observer, before, before);
    while (fine && !stopping) {
        struct top_sample *swap = before;

        poll(NULL, 0, (int)options->interval_ms);
        if (stopping)
            break;
        sample_take(observer, before, now);
        fine = show(before, now, options->once);
        if (options->once)
            break;
        before = now;
        now = swap;
    }
    free(before);
    free(now);
    return fine ? 0 : 1;
}
