/* Live state for others: sends the commands of the mirror to the Redis server. */
#include "live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/data_directory_open.h"
#include "mirror.h"
#include "redis.h"
#include "src/log.h"

#define GATHER_MS 5 /* changes within this time are sent together */
/* Commands without a reply yet: enough to keep the server busy, too few to delay its other
 * clients. */
#define PENDING_MAX 512
#define BATCH_BYTES (256u << 10)
#define RETRY_MS_MIN 500 /* after a refusal or a missing key; doubles with each */
#define RETRY_MS_MAX 30000
#define CLOSE_MS 1000
/* Some servers do not let us end our earlier connections, and commands of those may arrive late.
 * Everything is written again after this many time limits: by then they have most likely
 * arrived. */
#define LATE_TIMEOUTS 5

struct live {
    uv_loop_t *loop;
    const struct settings *settings;
    struct redis *redis;
    struct mirror *mirror;
    uv_timer_t gather_timer, refresh_timer, retry_timer, closing_timer;
    unsigned handles;
    bool is_closing, is_ending;
    uint32_t retries; /* since a refresh that had no problem */
    bool had_problem; /* since the last refresh */
    char refused[SETTING_ERROR_BYTES], logged_problem[SETTING_ERROR_BYTES];
    void (*gather)(void *context);
    void *gather_context;
    struct commands commands;
};

/* ---- closing ---- */

static void handle_closed(uv_handle_t *handle)
{
    struct live *live = handle->data;

    if (--live->handles > 0)
        return;
    mirror_delete(live->mirror);
    commands_free(&live->commands);
    free(live);
}

static void end(struct live *live)
{
    uv_timer_t *timers[] = {&live->gather_timer, &live->refresh_timer, &live->retry_timer,
                            &live->closing_timer};

    if (live->is_ending)
        return;
    live->is_ending = true;
    redis_close(live->redis);
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++)
        uv_close((uv_handle_t *)timers[i], handle_closed);
}

static void end_by_timeout(uv_timer_t *timer)
{
    struct live *live = timer->data;

    if (!mirror_is_synced(live->mirror))
        LOG(WARN, "live",
            "stopped before everything was written to Redis; the next start removes this run's "
            "leftover keys");
    end(live);
}

/* ---- writing ---- */

static void send_commands(struct live *live)
{
    if (live->commands.failed) {
        commands_clear(&live->commands);
        mirror_stop(live->mirror);
        redis_leave(live->redis, "out of memory");
        return;
    }
    redis_send(live->redis, &live->commands);
    commands_clear(&live->commands);
}

static void pump(struct live *live)
{
    while (redis_is_up(live->redis) && mirror_pending(live->mirror) < PENDING_MAX) {
        while (live->commands.count < BATCH_BYTES && mirror_pending(live->mirror) < PENDING_MAX &&
               mirror_write(live->mirror, &live->commands))
            ;
        if (live->commands.count == 0 && !live->commands.failed)
            break;
        send_commands(live);
    }
    if (live->is_closing && mirror_pending(live->mirror) == 0)
        end(live);
}

static void gather_due(uv_timer_t *timer)
{
    struct live *live = timer->data;

    if (live->gather != NULL)
        live->gather(live->gather_context);
    pump(live);
}

static void write_later(struct live *live)
{
    if (!live->is_closing && !uv_is_active((uv_handle_t *)&live->gather_timer))
        uv_timer_start(&live->gather_timer, gather_due, GATHER_MS, 0);
}

/* ---- replies of Redis ---- */

static void mirror_restart(uv_timer_t *timer)
{
    struct live *live = timer->data;

    if (!redis_is_up(live->redis))
        return;
    if (mirror_pending(live->mirror) > 0) { /* replies are due: wait for them */
        uv_timer_start(timer, mirror_restart, GATHER_MS, 0);
        return;
    }
    mirror_start(live->mirror, &live->commands);
    send_commands(live);
}

static void restart_later(struct live *live)
{
    uint32_t doublings = live->retries < 7 ? live->retries : 7;
    uint64_t delay = (uint64_t)RETRY_MS_MIN << doublings;

    live->retries++;
    uv_timer_start(&live->retry_timer, mirror_restart, delay < RETRY_MS_MAX ? delay : RETRY_MS_MAX,
                   0);
}

static bool starts_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void refusal_take(struct live *live)
{
    const char *problem = mirror_problem(live->mirror), *advice = "";

    if (starts_with(problem, "READONLY") || starts_with(problem, "LOADING") ||
        starts_with(problem, "MASTERDOWN") || starts_with(problem, "NOAUTH")) {
        redis_leave(live->redis, problem);
        mirror_stop(live->mirror);
        return;
    }
    if (starts_with(problem, "OOM"))
        advice = "; raise its maxmemory";
    else if (starts_with(problem, "MISCONF"))
        advice = "; it cannot write its snapshots to disk";
    else if (starts_with(problem, "NOPERM"))
        advice = "; see the README for the commands that its user needs";
    else if (starts_with(problem, "MOVED") || starts_with(problem, "CROSSSLOT"))
        advice = "; Redis Cluster is not supported, Sentinel is";
    snprintf(live->refused, sizeof(live->refused), "Redis at %.100s refuses: %.190s%s",
             redis_address(live->redis), problem, advice);
    if (strcmp(live->refused, live->logged_problem) != 0)
        LOG(WARN, "live", "Redis refuses live state; rooms keep running; will retry",
            F("why", "%s", live->refused));
    snprintf(live->logged_problem, sizeof(live->logged_problem), "%s", live->refused);
}

static void reply_take(void *context, const redisReply *reply)
{
    struct live *live = context;
    enum mirror_result result = mirror_reply(live->mirror, reply);

    if (result == MIRROR_DRIFTED) {
        LOG(WARN, "live", "Redis has lost some of the live state; writing all of it again",
            F("server", "%s", redis_address(live->redis)));
        live->had_problem = true;
    } else if (result == MIRROR_REFUSED) {
        live->had_problem = true;
        refusal_take(live);
    }
    if (!redis_is_up(live->redis))
        return;
    if (mirror_is_synced(live->mirror) && live->refused[0] != '\0') {
        LOG(INFO, "live", "Redis accepts live state again",
            F("server", "%s", redis_address(live->redis)));
        live->refused[0] = live->logged_problem[0] = '\0';
    }
    if (mirror_pending(live->mirror) == 0 && mirror_has_failed(live->mirror))
        restart_later(live);
    pump(live);
}

static void redis_up(void *context)
{
    struct live *live = context;

    mirror_start(live->mirror, &live->commands);
    send_commands(live);
    if (!redis_is_fenced(live->redis))
        uv_timer_start(&live->retry_timer, mirror_restart,
                       (uint64_t)LATE_TIMEOUTS * live->settings->redis_timeout_ms, 0);
}

static void redis_down(void *context)
{
    struct live *live = context;

    uv_timer_stop(&live->retry_timer);
    mirror_stop(live->mirror);
    pump(live);
}

static const struct redis_handlers handlers = {redis_up, redis_down, reply_take};

static void refresh_due(uv_timer_t *timer)
{
    struct live *live = timer->data;

    if (!live->had_problem)
        live->retries = 0;
    live->had_problem = false;
    mirror_refresh(live->mirror);
    pump(live);
}

/* ---- open and close ---- */

struct live *live_open(uv_loop_t *loop, const struct settings *settings, char *why)
{
    struct live *live = calloc(1, sizeof(*live));

    if (live == NULL) {
        snprintf(why, WHY_BYTES, "out of memory");
        return NULL;
    }
    live->loop = loop;
    live->settings = settings;
    if (strcmp(settings->state, "redis") != 0) {
        if (getenv("REDIS_HOST") != NULL) /* a setting of the NestJS backend */
            LOG(WARN, "live",
                "REDIS_HOST is set, but live state stays in memory; set RINGCAST_STATE=redis to "
                "write it to Redis");
        return live;
    }
    live->redis = redis_open(loop, settings, &handlers, live, why);
    if (live->redis != NULL)
        return live;
    free(live);
    return NULL;
}

bool live_start(struct live *live, const char *instance, char *why)
{
    uv_timer_t *timers[] = {&live->gather_timer, &live->refresh_timer, &live->retry_timer,
                            &live->closing_timer};
    uint64_t every_ms = live->settings->redis_refresh_s * 1000ull;

    if (live->redis == NULL)
        return true;
    live->mirror = mirror_new(instance);
    if (live->mirror == NULL) {
        snprintf(why, WHY_BYTES, "out of memory");
        return false;
    }
    live->handles = sizeof(timers) / sizeof(timers[0]);
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        uv_timer_init(live->loop, timers[i]);
        timers[i]->data = live;
    }
    uv_timer_start(&live->refresh_timer, refresh_due, every_ms, every_ms);
    redis_start(live->redis, instance);
    return true;
}

void live_close(struct live *live)
{
    if (live == NULL)
        return;
    if (live->mirror == NULL) {
        if (live->redis != NULL)
            redis_close(live->redis);
        free(live);
        return;
    }
    live->gather = NULL;
    uv_timer_stop(&live->gather_timer);
    uv_timer_stop(&live->refresh_timer);
    live->is_closing = true;
    if (redis_is_up(live->redis)) {
        uv_timer_start(&live->closing_timer, end_by_timeout, CLOSE_MS, 0);
        pump(live);
    } else {
        end(live);
    }
}

/* ---- changes of live state ---- */

bool live_is_mirrored(const struct live *live)
{
    return live != NULL && live->mirror != NULL;
}

void live_on_gather(struct live *live, void (*gather)(void *context), void *context)
{
    if (live == NULL)
        return;
    live->gather = gather;
    live->gather_context = context;
}

void live_gather_later(struct live *live)
{
    if (live_is_mirrored(live))
        write_later(live);
}

void live_room_put(struct live *live, const struct live_room *room)
{
    if (!live_is_mirrored(live))
        return;
    mirror_room_put(live->mirror, room);
    write_later(live);
}

void live_room_remove(struct live *live, const char *room_id)
{
    if (!live_is_mirrored(live))
        return;
    mirror_room_remove(live->mirror, room_id);
    write_later(live);
}

void live_participant_put(struct live *live, const char *room_id, const char *user_id,
                          const char *json)
{
    if (!live_is_mirrored(live))
        return;
    mirror_participant_put(live->mirror, room_id, user_id, json);
    write_later(live);
}

void live_participant_remove(struct live *live, const char *room_id, const char *user_id)
{
    if (!live_is_mirrored(live))
        return;
    mirror_participant_remove(live->mirror, room_id, user_id);
    write_later(live);
}

void live_socket_put(struct live *live, const char *socket_id, const char *user_id)
{
    if (!live_is_mirrored(live))
        return;
    mirror_socket_put(live->mirror, socket_id, user_id);
    write_later(live);
}

void live_socket_remove(struct live *live, const char *socket_id)
{
    if (!live_is_mirrored(live))
        return;
    mirror_socket_remove(live->mirror, socket_id);
    write_later(live);
}

const char *live_status(const struct live *live, char *why)
{
    why[0] = '\0';
    if (!live_is_mirrored(live))
        return "ok";
    if (!redis_is_up(live->redis)) {
        snprintf(why, SETTING_ERROR_BYTES, "%s", redis_problem(live->redis));
        return "down";
    }
    if (live->refused[0] != '\0') {
        snprintf(why, SETTING_ERROR_BYTES, "%s", live->refused);
        return "refused";
    }
    if (!mirror_is_complete(live->mirror)) {
        snprintf(why, SETTING_ERROR_BYTES,
                 "out of memory: a part of the live state is not in Redis");
        return "incomplete";
    }
    if (mirror_is_synced(live->mirror))
        return "ok";
    snprintf(why, SETTING_ERROR_BYTES, "live state is being written to Redis");
    return "syncing";
}
