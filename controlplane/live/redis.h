/* Finds a Redis server and stays connected to it. It connects directly, or asks Sentinels for the
 * master. It authenticates, checks that the server is a master, watches it by a heartbeat, and
 * finds it again after every loss.
 *
 *   WAITING ─► ASKING ─► SETUP ─► UP
 *      ▲          │        │       └─ connection lost, or the server became a replica
 *      │          │        └─ AUTH, SELECT or ROLE refused
 *      │          └─ no Sentinel knows the master
 *      └── back-off, from each of the three
 *
 * Threads: the loop. Memory: from redis_open until its handles are closed after redis_close.
 * Errors: redis_problem says in a sentence why there is no server; the log says it once per reason.
 * Limits: the back-off doubles from 100 ms to 5 s, with jitter; a heartbeat every 2 s without
 *         commands. */
#ifndef RINGCAST_LIVE_REDIS_H
#define RINGCAST_LIVE_REDIS_H

#include <hiredis/hiredis.h>
#include <uv.h>

#include "commands.h"
#include "src/settings.h"

#define REDIS_PROBLEM_ROOM 320

struct redis_handlers {
    void (*up)(void *context);
    /* Called only after `up`: the connection is lost, and replies still due will not come. */
    void (*down)(void *context);
    void (*reply)(void *context, const redisReply *reply);
};

struct redis;
struct redis *redis_open(uv_loop_t *loop, const struct settings *settings,
                         const struct redis_handlers *handlers, void *context,
                         char *why /* WHY_BYTES */);
/* Connects. instance: part of the name of our connections, so that earlier ones can be found and
 * ended. */
void redis_start(struct redis *redis, const char *instance);
void redis_close(struct redis *redis);
/* While the server is not up the commands are dropped. */
void redis_send(struct redis *redis, const struct commands *commands);
/* This server is not the right one: find one again. `down` is not called. */
void redis_leave(struct redis *redis, const char *why);
bool redis_is_up(const struct redis *redis);
/* True: commands of our earlier connections cannot arrive any more. False: CLIENT LIST or CLIENT
 * KILL is forbidden, so they may. */
bool redis_is_fenced(const struct redis *redis);
const char *redis_problem(const struct redis *redis); /* "" while up */
const char *
redis_address(const struct redis *redis); /* host:port of the server, or of the last one */

#endif
