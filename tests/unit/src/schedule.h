/* Runs two functions in a forced order. Only one of them runs at a time; they change over at race
 * points (src/race.h), and the schedule says after how many. {2, 3}: side 0 runs to its 2nd race
 * point, side 1 to its 3rd, side 0 to its end, side 1 to its end. Include this before the code
 * under test. */
#ifndef RINGCAST_TEST_SCHEDULE_H
#define RINGCAST_TEST_SCHEDULE_H

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

static void race_point(const char *name);
#define RACE_POINT(name) race_point(name)

static struct {
    sem_t turn[2];
    const unsigned *segments;
    unsigned segment_count, segment, points_left;
    bool done[2];
    void (*side[2])(void *);
    void *context;
} schedule;

static __thread int schedule_side = -1;
static void (*race_hook)(const char *name); /* if set, every race point calls it */

static void race_point(const char *name)
{
    if (race_hook)
        race_hook(name);
    if (schedule_side < 0 || schedule.done[!schedule_side] || --schedule.points_left > 0)
        return;
    schedule.segment++;
    schedule.points_left =
        schedule.segment < schedule.segment_count ? schedule.segments[schedule.segment] : UINT_MAX;
    sem_post(&schedule.turn[!schedule_side]);
    sem_wait(&schedule.turn[schedule_side]);
}

static void schedule_run_side(int side)
{
    schedule_side = side;
    sem_wait(&schedule.turn[side]);
    schedule.side[side](schedule.context);
    schedule.done[side] = true;
    sem_post(&schedule.turn[!side]);
    schedule_side = -1;
}

static void *schedule_thread(void *unused)
{
    schedule_run_side(1);
    return unused;
}

static void schedule_run(const unsigned *segments, unsigned count, void (*side0)(void *),
                         void (*side1)(void *), void *context)
{
    pthread_t thread;

    sem_init(&schedule.turn[0], 0, 1);
    sem_init(&schedule.turn[1], 0, 0);
    schedule.segments = segments;
    schedule.segment_count = count;
    schedule.segment = 0;
    schedule.points_left = count > 0 ? segments[0] : UINT_MAX;
    schedule.done[0] = schedule.done[1] = false;
    schedule.side[0] = side0;
    schedule.side[1] = side1;
    schedule.context = context;
    pthread_create(&thread, NULL, schedule_thread, NULL);
    schedule_run_side(0);
    pthread_join(thread, NULL);
}

#endif
