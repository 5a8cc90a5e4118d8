/* Live state for others: the mirror and a Redis server, brought together on the loop. */
#include "live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/data_directory_open.h"
#include "mirror.h"
#include "redis.h"
#include "src/log.h"

#define GATHER_MS 5 /* changes of so long leave together */
/* In flight at once: enough to keep a server busy, too little to keep it from others. */
#define AWAITED_MAX 512
#define BATCH_BYTES (256u << 10)
#define RETRY_MS_MIN 500 /* after a refusal, or something that was missing; doubles */
#define RETRY_MS_MAX 30000
#define CLOSE_MS 1000
/* Where earlier connections cannot be ended: after so many time limits what they held has come, most
 * likely, and all is written again. */
#define LATE_TIMEOUTS 5

struct live {
    uv_loop_t *loop;
    const struct settings *settings;
    struct redis *redis;
    struct mirror *mirror;
    uv_timer_t soon, refresh, retry, closing;
    unsigned handles;
    bool is_closing, is_ending;
    uint32_t retries; /* since a refresh went through without complaint */
    bool complained;  /* since the last refresh */
    char refused[SETTING_ERROR_BYTES], told[SETTING_ERROR_BYTES];
    void (*gather)(void *context);
    void *gather_context;
    struct commands commands;
};

/* ---- the end ---- */

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
    uv_timer_t *timers[] = {&live->soon, &live->refresh, &live->retry, &live->closing};

    if (live->is_ending)
        return;
    live->is_ending = true;
    redis_close(live->redis);
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++)
        uv_close((uv_handle_t *)timers[i], handle_closed);
}

static void end_late(uv_timer_t *timer)
{
    struct live *live = timer->data;

    if (!mirror_is_synced(live->mirror))
        LOG(WARN, "live", "leaving before all was written to Redis; the next start cleans up");
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
    while (redis_is_up(live->redis) && mirror_awaited(live->mirror) < AWAITED_MAX) {
        while (live->commands.count < BATCH_BYTES && mirror_awaited(live->mirror) < AWAITED_MAX &&
               mirror_write(live->mirror, &live->commands))
            ;
        if (live->commands.count == 0 && !live->commands.failed)
            break;
        send_commands(live);
    }
    if (live->is_closing && mirror_awaited(live->mirror) == 0)
        end(live);
}

static void due_soon(uv_timer_t *timer)
{
    struct live *live = timer->data;

    if (live->gather != NULL)
        live->gather(live->gather_context);
    pump(live);
}

static void write_soon(struct live *live)
{
    if (!live->is_closing && !uv_is_active((uv_handle_t *)&live->soon))
        uv_timer_start(&live->soon, due_soon, GATHER_MS, 0);
}

/* ---- what Redis says ---- */

static void start_again(uv_timer_t *timer)
{
    struct live *live = timer->data;

    if (!redis_is_up(live->redis))
        return;
    if (mirror_awaited(live->mirror) > 0) { /* not in the middle of something */
        uv_timer_start(timer, start_again, GATHER_MS, 0);
        return;
    }
    mirror_start(live->mirror, &live->commands);
    send_commands(live);
}

static void retry_later(struct live *live)
{
    uint32_t doublings = live->retries < 7 ? live->retries : 7;
    uint64_t delay = (uint64_t)RETRY_MS_MIN << doublings;

    live->retries++;
    uv_timer_start(&live->retry, start_again, delay < RETRY_MS_MAX ? delay : RETRY_MS_MAX, 0);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void take_refusal(struct live *live)
{
    const char *problem = mirror_problem(live->mirror), *advice = "";

    if (begins(problem, "READONLY") || begins(problem, "LOADING") ||
        begins(problem, "MASTERDOWN") || begins(problem, "NOAUTH")) {
        redis_leave(live->redis, problem);
        mirror_stop(live->mirror);
        return;
    }
    if (begins(problem, "OOM"))
        advice = "; raise its maxmemory";
    else if (begins(problem, "MISCONF"))
        advice = "; its disk does not take snapshots";
    else if (begins(problem, "NOPERM"))
        advice = "; see the README for what its user must be allowed";
    else if (begins(problem, "MOVED") || begins(problem, "CROSSSLOT"))
        advice = "; Redis Cluster is not supported, Sentinel is";
    snprintf(live->refused, sizeof(live->refused), "Redis at %.100s refuses: %.190s%s",
             redis_address(live->redis), problem, advice);
    if (strcmp(live->refused, live->told) != 0)
        LOG(WARN, "live", "Redis does not take live state; rooms go on, trying again",
            F("why", "%s", live->refused));
    snprintf(live->told, sizeof(live->told), "%s", live->refused);
}

static void take_reply(void *context, const redisReply *reply)
{
    struct live *live = context;
    enum mirror_verdict verdict = mirror_reply(live->mirror, reply);

    if (verdict == MIRROR_DRIFTED) {
        LOG(WARN, "live", "Redis has lost some of the live state; writing all of it again",
            F("server", "%s", redis_address(live->redis)));
        live->complained = true;
    } else if (verdict == MIRROR_REFUSED) {
        live->complained = true;
        take_refusal(live);
    }
    if (!redis_is_up(live->redis))
        return;
    if (mirror_is_synced(live->mirror) && live->refused[0] != '\0') {
        LOG(INFO, "live", "Redis takes live state again",
            F("server", "%s", redis_address(live->redis)));
        live->refused[0] = live->told[0] = '\0';
    }
    if (mirror_awaited(live->mirror) == 0 && mirror_is_spoilt(live->mirror))
        retry_later(live);
    pump(live);
}

static void went_up(void *context)
{
    struct live *live = context;

    mirror_start(live->mirror, &live->commands);
    send_commands(live);
    if (!redis_is_fenced(live->redis))
        uv_timer_start(&live->retry, start_again,
                       (uint64_t)LATE_TIMEOUTS * live->settings->redis_timeout_ms, 0);
}

static void went_down(void *context)
{
    struct live *live = context;

    uv_timer_stop(&live->retry);
    mirror_stop(live->mirror);
    pump(live);
}

static const struct redis_handlers handlers = {went_up, went_down, take_reply};

static void refresh_due(uv_timer_t *timer)
{
    struct live *live = timer->data;

    if (!live->complained)
        live->retries = 0;
    live->complained = false;
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
        if (getenv("REDIS_HOST") != NULL) /* of the NestJS backend, whose place we take */
            LOG(WARN, "live",
                "REDIS_HOST is set, but live state stays in memory; set RINGCAST_STATE=redis to "
                "have it in Redis");
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
    uv_timer_t *timers[] = {&live->soon, &live->refresh, &live->retry, &live->closing};
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
    uv_timer_start(&live->refresh, refresh_due, every_ms, every_ms);
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
    uv_timer_stop(&live->soon);
    uv_timer_stop(&live->refresh);
    live->is_closing = true;
    if (redis_is_up(live->redis)) {
        uv_timer_start(&live->closing, end_late, CLOSE_MS, 0);
        pump(live);
    } else {
        end(live);
    }
}

/* ---- what should be ---- */

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

void live_touch(struct live *live)
{
    if (live_is_mirrored(live))
        write_soon(live);
}

void live_room_put(struct live *live, const struct live_room *room)
{
    if (!live_is_mirrored(live))
        return;
    mirror_room_put(live->mirror, room);
    write_soon(live);
}

void live_room_remove(struct live *live, const char *room_id)
{
    if (!live_is_mirrored(live))
        return;
    mirror_room_remove(live->mirror, room_id);
    write_soon(live);
}

void live_participant_put(struct live *live, const char *room_id, const char *user_id,
                          const char *json)
{
    if (!live_is_mirrored(live))
        return;
    mirror_participant_put(live->mirror, room_id, user_id, json);
    write_soon(live);
}

void live_participant_remove(struct live *live, const char *room_id, const char *user_id)
{
    if (!live_is_mirrored(live))
        return;
    mirror_participant_remove(live->mirror, room_id, user_id);
    write_soon(live);
}

void live_socket_put(struct live *live, const char *socket_id, const char *user_id)
{
    if (!live_is_mirrored(live))
        return;
    mirror_socket_put(live->mirror, socket_id, user_id);
    write_soon(live);
}

void live_socket_remove(struct live *live, const char *socket_id)
{
    if (!live_is_mirrored(live))
        return;
    mirror_socket_remove(live->mirror, socket_id);
    write_soon(live);
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
        snprintf(why, SETTING_ERROR_BYTES, "out of memory: some live state is not mirrored");
        return "incomplete";
    }
    if (mirror_is_synced(live->mirror))
        return "ok";
    snprintf(why, SETTING_ERROR_BYTES, "live state is being written to Redis");
    return "syncing";
}
