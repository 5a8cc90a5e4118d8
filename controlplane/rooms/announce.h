/* Announcements: the events that the server sends to clients without being asked. */
#ifndef RINGCAST_ROOMS_ANNOUNCE_H
#define RINGCAST_ROOMS_ANNOUNCE_H

#include <cjson/cJSON.h>

struct participant;
struct room;

/* N(name, event, short name of the same event or NULL). The short
 * names are those of the NestJS backend that Ringcast replaces; they
 * are sent too unless the setting SIGNALING_SHORT_EVENTS is off. */
/* clang-format off */
#define NOTICES(N)                                                            \
    N(user_joined, "room:userJoined", "userJoined")                           \
    N(user_left, "room:userLeft", "userLeft")                                 \
    N(room_closed, "room:closed", "roomClosed")                               \
    N(user_kicked, "room:userKicked", "userKicked")                           \
    N(all_muted, "room:allMuted", "allMuted")                                 \
    N(role_changed, "room:roleChanged", "roleChanged")                        \
    N(new_producer, "media:newProducer", "newProducer")                       \
    N(producer_closed, "media:producerClosed", "producerClosed")              \
    N(producer_paused, "media:producerPaused", NULL)                          \
    N(producer_resumed, "media:producerResumed", NULL)                        \
    N(consumer_closed, "media:consumerClosed", NULL)                          \
    N(consumer_paused, "media:consumerPaused", NULL)                          \
    N(consumer_resumed, "media:consumerResumed", NULL)                        \
    N(layers_changed, "media:layersChanged", NULL)                            \
    N(score, "media:score", NULL)                                             \
    N(transport_state, "media:transportState", NULL)                          \
    N(active_speaker, "media:activeSpeaker", NULL)                            \
    N(audio_levels, "media:audioLevels", NULL)
/* clang-format on */
enum notice {
#define N(name, event, short_name) NOTICE_##name,
    NOTICES(N)
#undef N
        NOTICE_COUNT
};

/* These functions free value. Absent participants get nothing. */
void announce_to_participant(struct participant *to, enum notice notice, cJSON *value);
/* To everybody in the room but `except`, which may be NULL. */
void announce_to_room(struct room *room, const struct participant *except, enum notice notice,
                      cJSON *value);
/* To those in the room who asked for audio levels. */
void announce_to_level_listeners(struct room *room, enum notice notice, cJSON *value);

#endif
