/* Live state for other nodes and for the tools of operators: rooms, who is in them, and their
 * sockets.
 *
 * Only the rooms of this process are always correct. The setting RINGCAST_STATE says
 * where copies go:
 *   memory  nowhere
 *   redis   a Redis server, in the keys of the NestJS backend, which Ringcast replaces. The copy
 *           always converges to the rooms (mirror.h). No request waits for Redis, and rooms keep
 *           running without it.
 *
 * Threads: the loop. Memory: everything given in is copied. Errors: none that a caller must handle;
 * live_status says how it stands. Every function but live_start takes NULL and then does
 * nothing. */
#ifndef RINGCAST_LIVE_H
#define RINGCAST_LIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "src/settings.h"

struct live;
/* Reads certificates and does not connect, so it can be called before privileges are dropped. */
struct live *live_open(uv_loop_t *loop, const struct settings *settings, char *why /* WHY_BYTES */);
/* Connects. instance: the id of this installation, from live_instance. */
bool live_start(struct live *live, const char *instance, char *why /* WHY_BYTES */);
/* Writes the last changes, for at most a second, then closes. */
void live_close(struct live *live);

/* Reads the id of this installation from the data directory; the first start makes it. */
bool live_instance(const struct settings *settings, char instance[37], char *why /* WHY_BYTES */);

struct live_room {
    const char *id, *host_id, *status, *title, *code;
    uint32_t participants_max;
    int64_t created_ms;
};
void live_room_put(struct live *live, const struct live_room *room);
void live_room_remove(struct live *live, const char *room_id); /* with its participants */
/* json: RoomParticipant of the NestJS backend. The room must have been put before. */
void live_participant_put(struct live *live, const char *room_id, const char *user_id,
                          const char *json);
void live_participant_remove(struct live *live, const char *room_id, const char *user_id);
void live_socket_put(struct live *live, const char *socket_id, const char *user_id);
void live_socket_remove(struct live *live, const char *socket_id);

/* False: there is no copy, so the caller need not make JSON. */
bool live_is_mirrored(const struct live *live);
/* live_gather_later makes `gather` run soon, once for many calls. It then puts what has changed. */
void live_on_gather(struct live *live, void (*gather)(void *context), void *context);
void live_gather_later(struct live *live);

/* "ok", "down", "refused", "incomplete" or "syncing". why (SETTING_ERROR_BYTES): the reason in a
 * sentence, "" when ok. */
const char *live_status(const struct live *live, char *why);

#endif
