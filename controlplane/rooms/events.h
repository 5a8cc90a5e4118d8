/* Every event that clients may send: one row per event. A new event needs a row here and its
 * handler in one of the files request_*.c. */
#ifndef RINGCAST_ROOMS_EVENTS_H
#define RINGCAST_ROOMS_EVENTS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

struct request;

/* Who may send it. MEMBER, MODERATOR and HOST: the payload names a room by roomId, and the sender
 * is in it. OWN_*: the payload names an object by its id, and the sender owns it; if the payload
 * names a room too, the object must be in that room. */
enum permission {
    MAY_ANYONE,
    MAY_MEMBER,
    MAY_MODERATOR, /* host and co-host */
    MAY_HOST,
    MAY_OWN_TRANSPORT,
    MAY_OWN_PRODUCER,
    MAY_OWN_CONSUMER,
};

/* COUNTED events count towards the rate limit of the user. CONSUMING ones have a limit of their own,
 * which grows with the producers of the room. FREE ones do not count. */
enum rate_class { RATE_FREE, RATE_COUNTED, RATE_CONSUMING };

/* How many audit rows it writes at most. An event is refused before it changes anything if the
 * audit log has no space for these rows (threat C22).
 *   ONE_PARTICIPANT  its producers close, the participant leaves, and the room closes
 *   WHOLE_ROOM       the same for every participant of the room */
enum audit_extent { AUDIT_NO_ROW, AUDIT_ONE_ROW, AUDIT_ONE_PARTICIPANT, AUDIT_WHOLE_ROOM };

/* E(name, who may, rate class, audit rows, payload, handler)
 *
 * The payload is an object; a row lists the members that are checked before the handler runs, as
 * name:type, or name?:type for one that may be missing or null. Types:
 *   text    1 to 255 bytes
 *   line    any text; the handler checks it
 *   flag    true or false
 *   whole   an integer from 0 to 65535
 *   object
 * A handler may read other members, which it checks itself. Unknown members are ignored. */
/* clang-format off */
#define EVENTS(E)                                                                                  \
    E("room:create", ANYONE, COUNTED, ONE_ROW, "title:line", room_create)                          \
    E("room:join", ANYONE, COUNTED, ONE_PARTICIPANT /* the one that this replaces */,              \
      "roomId:text resume?:flag audioLevels?:flag", room_join)                                     \
    E("room:leave", MEMBER, COUNTED, ONE_PARTICIPANT, "roomId:text", room_leave)                   \
    E("room:close", HOST, COUNTED, WHOLE_ROOM, "roomId:text", room_close)                          \
    E("room:kick", MODERATOR, COUNTED, ONE_PARTICIPANT, "roomId:text targetUserId:text",           \
      room_kick)                                                                                   \
    E("room:muteAll", MODERATOR, COUNTED, WHOLE_ROOM, "roomId:text", room_mute_all)                \
    E("room:changeRole", HOST, COUNTED, ONE_ROW, "roomId:text targetUserId:text newRole:text",     \
      room_change_role)                                                                            \
    E("auth:refresh", ANYONE, COUNTED, NO_ROW, "token:line", auth_refresh)                         \
    E("media:getRouterCapabilities", MEMBER, FREE, NO_ROW, "roomId:text",                          \
      media_get_router_capabilities)                                                               \
    E("media:createTransport", MEMBER, COUNTED, NO_ROW, "roomId:text direction?:text dir?:text",   \
      media_create_transport)                                                                      \
    E("media:connectTransport", OWN_TRANSPORT, COUNTED, ONE_ROW /* once it is connected */,        \
      "transportId:text dtlsParameters:object", media_connect_transport)                           \
    E("media:closeTransport", OWN_TRANSPORT, COUNTED, ONE_PARTICIPANT, "transportId:text",         \
      media_close_transport)                                                                       \
    E("media:restartIce", OWN_TRANSPORT, COUNTED, NO_ROW, "transportId:text", media_restart_ice)   \
    E("media:produce", OWN_TRANSPORT, COUNTED, ONE_ROW,                                            \
      "roomId?:text transportId:text kind:text rtpParameters:object appData?:object paused?:flag", \
      media_produce)                                                                               \
    E("media:closeProducer", OWN_PRODUCER, COUNTED, ONE_ROW, "roomId?:text producerId:text",       \
      media_close_producer)                                                                        \
    E("media:pauseProducer", OWN_PRODUCER, COUNTED, NO_ROW, "producerId:text",                     \
      media_pause_producer)                                                                        \
    E("media:resumeProducer", OWN_PRODUCER, COUNTED, NO_ROW, "producerId:text",                    \
      media_resume_producer)                                                                       \
    E("media:consume", OWN_TRANSPORT, CONSUMING, ONE_ROW,                                            \
      "roomId?:text transportId:text producerId:text rtpCapabilities:object", media_consume)       \
    E("media:resumeConsumer", OWN_CONSUMER, CONSUMING, NO_ROW, "consumerId:text",                    \
      media_resume_consumer)                                                                       \
    E("media:pauseConsumer", OWN_CONSUMER, CONSUMING, NO_ROW, "consumerId:text",                     \
      media_pause_consumer)                                                                        \
    E("media:setPreferredLayers", OWN_CONSUMER, CONSUMING, NO_ROW,                              \
      "consumerId:text spatialLayer:whole temporalLayer?:whole", media_set_preferred_layers)       \
    E("media:setPriority", OWN_CONSUMER, CONSUMING, NO_ROW, "consumerId:text priority:whole",      \
      media_set_priority)                                                                          \
    E("media:getStats", ANYONE, FREE, NO_ROW,                                                      \
      "transportId?:text producerId?:text consumerId?:text", media_get_stats)                      \
    E("media:produceData", OWN_TRANSPORT, COUNTED, NO_ROW, "transportId:text", unsupported)        \
    E("media:consumeData", OWN_TRANSPORT, COUNTED, NO_ROW, "transportId:text", unsupported)
/* clang-format on */

#define E(name, may, rate, audit, payload, handler) void handle_##handler(struct request *request);
EVENTS(E)
#undef E

struct event {
    const char *name;
    enum permission may;
    enum rate_class rate;
    enum audit_extent audit;
    const char *payload;
    void (*handle)(struct request *request);
};

const struct event *event_find(const char *name); /* NULL: there is no such event */
const struct event *event_at(size_t i);           /* NULL: there are at most i events */

#define PAYLOAD_WHY_BYTES 160
/* False, with a sentence in `why`: the payload is not what the event's row says. */
bool payload_check(const struct event *event, const cJSON *payload, char why[PAYLOAD_WHY_BYTES]);

#endif
