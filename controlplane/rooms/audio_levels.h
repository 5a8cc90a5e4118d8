/* Audio levels: which producer is the dominant speaker of a room, and how loud everybody is. */
#ifndef RINGCAST_ROOMS_AUDIO_LEVELS_H
#define RINGCAST_ROOMS_AUDIO_LEVELS_H

#include <cjson/cJSON.h>

struct producer;
struct room;

/* A producer was created, paused or resumed: starts or stops reading its levels. */
void audio_levels_follow(struct producer *producer);
void audio_levels_forget(struct producer *producer);
void audio_levels_forget_room(struct room *room);
/* The payload of media:activeSpeaker; the room must have a dominant speaker. */
cJSON *active_speaker_json(const struct room *room);

#endif
