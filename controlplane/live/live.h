/* Live state as other nodes and the operator's tools see it: rooms, who is in them, whose sockets.
 *
 * The rooms of this process are the truth; `state` says who else gets to know:
 *   memory  nobody: nothing is kept here
 *   redis   a Redis server, in the seed's keys, always converging to the truth (mirror.h); no call
 *           ever waits for it, and rooms go on when it is away
 *
 * Threads: the loop. Memory: everything given in is copied. Errors: none that a caller must handle;
 * live_status says how it stands. Every function takes NULL for a `live` that there is none of. */
#ifndef RINGCAST_LIVE_H
#define RINGCAST_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "src/settings.h"

struct live;
/* Reads certificates (so it may be called before privileges are dropped), connects to nobody. */
struct live *live_open(uv_loop_t *loop, const struct settings *settings, char *why /* WHY_BYTES */);
/* instance: the id that this installation keeps over restarts; see live_instance. */
bool live_start(struct live *live, const char *instance, char *why /* WHY_BYTES */);
/* Writes what is left to write, for at most a second, then goes. */
void live_close(struct live *live);

/* The id in the data directory's file, made at the first start. */
bool live_instance(const struct settings *settings, char instance[37], char *why /* WHY_BYTES */);

struct live_room {
    const char *id, *host_id, *status, *title, *code;
    uint32_t participants_max;
    int64_t created_ms;
};
void live_room_put(struct live *live, const struct live_room *room);
void live_room_remove(struct live *live, const char *room_id); /* with everybody in it */
/* json: the seed's RoomParticipant. The room must have been put. */
void live_participant_put(struct live *live, const char *room_id, const char *user_id,
                          const char *json);
void live_participant_remove(struct live *live, const char *room_id, const char *user_id);
void live_socket_put(struct live *live, const char *socket_id, const char *user_id);
void live_socket_remove(struct live *live, const char *socket_id);

/* False: nobody looks, spare the work of making JSON. */
bool live_is_mirrored(const struct live *live);
/* Has `gather` called soon, once for many touches, to put what changed. */
void live_on_gather(struct live *live, void (*gather)(void *context), void *context);
void live_touch(struct live *live);

/* "ok", or in one word how it stands: "connecting", "syncing", "refused"; why (SETTING_ERROR_BYTES)
 * in a sentence, "" when ok. */
const char *live_status(const struct live *live, char *why);

#endif
