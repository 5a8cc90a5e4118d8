/* The mirror: what should stand in Redis about the rooms that live here, and which of it is not there
 * yet. An engine without I/O: changes and replies go in, commands come out.
 *
 *   changes ─► records (one per room, participant, socket) ─► dirty queue ─► mirror_write ─► commands
 *                                   ▲                                                           │
 *              drift or refusal: all again  ◄──────────────── mirror_reply ◄── replies ◄── Redis ◄┘
 *
 * Keys, the seed's:           type    value                              life
 *   room:{roomId}              hash    hostUserId, status, routerId, …   24 h, refreshed
 *   room:{roomId}:participants hash    userId → JSON(RoomParticipant)    24 h, refreshed
 *   socket:user:{socketId}     string  userId                            2 h, refreshed
 *   user:socket:{userId}       string  socketId                          2 h, refreshed
 *   active_rooms               set     room ids                          none
 * and ours, by which an instance knows what an earlier life of it left behind:
 *   ringcast:{instance}:rooms    set   room ids                          24 h, refreshed
 *   ringcast:{instance}:sockets  hash  socketId → userId                 24 h, refreshed
 *
 * How it converges: a record is written when it is dirty, whole and from its latest state, so a burst
 * of changes is one write. A room and what we note about it go in one transaction. Nothing is queued
 * while there is no connection: a new one starts with asking what is noted as ours, takes away what no
 * longer lives and writes everything that does. So does every refusal and every refresh that finds
 * less than it should. A room that another instance has taken over (field `instance`) is left alone.
 *
 * Memory: a record per live thing; one that is gone stays only until its removal is written.
 * Errors: without memory a thing is not mirrored, and mirror_is_complete is false from then on. */
#ifndef RINGCAST_LIVE_MIRROR_H
#define RINGCAST_LIVE_MIRROR_H

#include <hiredis/hiredis.h>

#include "commands.h"
#include "live.h"

#define ROOM_LIFE_S "86400"
#define SOCKET_LIFE_S "7200"

struct mirror;
struct mirror *mirror_new(const char *instance);
void mirror_delete(struct mirror *mirror);

/* ---- what should be ---- */

void mirror_room_put(struct mirror *mirror, const struct live_room *room);
void mirror_room_remove(struct mirror *mirror, const char *room_id);
void mirror_participant_put(struct mirror *mirror, const char *room_id, const char *user_id,
                            const char *json);
void mirror_participant_remove(struct mirror *mirror, const char *room_id, const char *user_id);
void mirror_socket_put(struct mirror *mirror, const char *socket_id, const char *user_id);
void mirror_socket_remove(struct mirror *mirror, const char *socket_id);

/* ---- the conversation ---- */

/* A connection is there, or all is to be gone over again; no reply may be outstanding. */
void mirror_start(struct mirror *mirror, struct commands *out);
/* The connection is gone, and with it all outstanding replies. */
void mirror_stop(struct mirror *mirror);
/* The next thing to write; false: nothing for now. */
bool mirror_write(struct mirror *mirror, struct commands *out);
/* Lives of keys are to be refreshed and their presence checked: mirror_write does it as it goes. */
void mirror_refresh(struct mirror *mirror);

enum mirror_verdict {
    MIRROR_FINE,
    MIRROR_DRIFTED, /* something was not there as it should: start again */
    MIRROR_REFUSED, /* Redis refused a command, mirror_problem says why: start again later */
};
/* The next reply. After a bad verdict nothing is written until mirror_start. */
enum mirror_verdict mirror_reply(struct mirror *mirror, const redisReply *reply);
const char *mirror_problem(const struct mirror *mirror); /* "": none since mirror_start */
uint32_t mirror_awaited(const struct mirror *mirror);    /* replies that are still to come */
bool mirror_is_spoilt(const struct mirror *mirror);      /* since a bad verdict */
bool mirror_is_synced(const struct mirror *mirror);      /* everything is written and confirmed */
bool mirror_is_complete(const struct mirror *mirror);

#endif
