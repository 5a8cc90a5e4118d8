/* A Redis server, found and kept: directly or by asking Sentinels for the master, authenticated, its
 * role verified, watched by a heartbeat, found again after every loss.
 *
 *   WAITING ─back-off─► ASKING (Sentinels, one after the other) ─► GREETING ─► UP
 *      ▲                   │ none knows                               │ AUTH, SELECT, ROLE refused │ lost,
 *      └───────────────────┴──────────────────────────────────────────┴────────────────────────────┘ replica
 *
 * Threads: the loop. Memory: from redis_open until its handles are closed after redis_close.
 * Errors: redis_problem says what keeps us from it, in a sentence; logged once per different reason.
 * Limits: back-off 100 ms doubling to 5 s, with jitter; heartbeat every 2 s of silence. */
#ifndef RINGCAST_LIVE_REDIS_H
#define RINGCAST_LIVE_REDIS_H

#include <hiredis/hiredis.h>
#include <uv.h>

#include "commands.h"
#include "src/settings.h"

#define REDIS_PROBLEM_ROOM 320

struct redis_handlers {
    void (*up)(void *context);
    void (*down)(void *context); /* after an up; no reply will come any more */
    void (*reply)(void *context, const redisReply *reply);
};

struct redis;
struct redis *redis_open(uv_loop_t *loop, const struct settings *settings,
                         const struct redis_handlers *handlers, void *context,
                         char *why /* WHY_BYTES */);
/* instance: names our connections, by which those of before are known and ended. */
void redis_start(struct redis *redis, const char *instance);
void redis_close(struct redis *redis);
/* Only while up. */
void redis_send(struct redis *redis, const struct commands *commands);
/* This server is not the right one (any more): looks anew. `down` is not called for it. */
void redis_leave(struct redis *redis, const char *why);
bool redis_is_up(const struct redis *redis);
/* Nothing of an earlier connection can arrive any more (false: CLIENT LIST or KILL is forbidden). */
bool redis_is_fenced(const struct redis *redis);
const char *redis_problem(const struct redis *redis); /* "" while up */
const char *redis_address(const struct redis *redis); /* host:port of the server, or the last one */

#endif
