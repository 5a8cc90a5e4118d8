/* JSON that several answers and announcements have in common. */
#ifndef RINGCAST_ROOMS_ROOM_JSON_H
#define RINGCAST_ROOMS_ROOM_JSON_H

#include <cjson/cJSON.h>

#include "participant.h"
#include "src/tables.h"

/* An object whose members are all texts: key, value, key, value, …, NULL. */
cJSON *json_texts(const char *key, ...) __attribute__((sentinel));
/* Everybody in the room, as clients see them. */
cJSON *participants_json(const struct room *room);
/* Adds joinedAt, producerIds, isMuted, isVideoOff. */
void presence_add(cJSON *object, const struct participant *participant);

const char *role_text(enum role role);
const char *kind_text(uint8_t kind); /* of an enum media_kind */

#endif
