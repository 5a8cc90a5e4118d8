/* The table of events that clients may send, and the shapes of their payloads. */
#include <stdio.h>
#include <string.h>

#include "state.h"

/* X(name, who may, rate class, shape, handler). A shape is a list of name:type, with ? behind a name
 * that may be missing or null. text: 1–255 bytes; line: text that the handler checks further;
 * flag: true or false; object. Members that no shape names are ignored. */
/* clang-format off */
#define EVENTS(X)                                                                                 \
    X("room:create", ANYONE, COUNTED, "title:line", room_create)                                  \
    X("room:join", ANYONE, COUNTED, "roomId:text resume?:flag audioLevels?:flag", room_join)      \
    X("room:leave", MEMBER, COUNTED, "roomId:text", room_leave)                                   \
    X("room:close", HOST, COUNTED, "roomId:text", room_close)                                     \
    X("room:kick", MODERATE, COUNTED, "roomId:text targetUserId:text", room_kick)                 \
    X("room:muteAll", MODERATE, COUNTED, "roomId:text", room_mute_all)                            \
    X("room:changeRole", HOST, COUNTED, "roomId:text targetUserId:text newRole:text",             \
      room_change_role)                                                                           \
    X("media:getRouterCapabilities", MEMBER, FREE, "roomId:text", media_get_router_capabilities)  \
    X("media:createTransport", MEMBER, COUNTED, "roomId:text direction?:text dir?:text",          \
      media_create_transport)                                                                     \
    X("media:connectTransport", OWN_TRANSPORT, COUNTED, "transportId:text dtlsParameters:object", \
      media_connect_transport)                                                                    \
    X("media:closeTransport", OWN_TRANSPORT, COUNTED, "transportId:text", media_close_transport)  \
    X("media:restartIce", OWN_TRANSPORT, COUNTED, "transportId:text", media_restart_ice)          \
    X("media:produce", OWN_TRANSPORT, COUNTED,                                                    \
      "roomId?:text transportId:text kind:text rtpParameters:object appData?:object paused?:flag", \
      media_produce)                                                                              \
    X("media:consume", OWN_TRANSPORT, COUNTED,                                                    \
      "roomId?:text transportId:text producerId:text rtpCapabilities:object", media_consume)      \
    X("media:resumeConsumer", OWN_CONSUMER, COUNTED, "consumerId:text", media_resume_consumer)    \
    X("media:pauseConsumer", OWN_CONSUMER, COUNTED, "consumerId:text", media_pause_consumer)      \
    X("media:setPreferredLayers", OWN_CONSUMER, COUNTED, "consumerId:text", unsupported)          \
    X("media:setPriority", OWN_CONSUMER, COUNTED, "consumerId:text", unsupported)                 \
    X("media:closeProducer", OWN_PRODUCER, COUNTED, "roomId?:text producerId:text",               \
      media_close_producer)                                                                       \
    X("media:pauseProducer", OWN_PRODUCER, COUNTED, "producerId:text", media_pause_producer)      \
    X("media:resumeProducer", OWN_PRODUCER, COUNTED, "producerId:text", media_resume_producer)    \
    X("media:getStats", ANYONE, FREE, "transportId?:text producerId?:text consumerId?:text",      \
      media_get_stats)                                                                            \
    X("media:produceData", OWN_TRANSPORT, COUNTED, "transportId:text", unsupported)               \
    X("media:consumeData", OWN_TRANSPORT, COUNTED, "transportId:text", unsupported)
/* clang-format on */

static const struct event events[] = {
#define X(name, who, rate, shape, handler) {name, MAY_##who, RATE_##rate, shape, handle_##handler},
    EVENTS(X)
#undef X
};

const struct event *event_find(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (strcmp(events[i].name, name) == 0)
            return &events[i];
    }
    return NULL;
}

const struct event *event_at(size_t i)
{
    return i < sizeof(events) / sizeof(events[0]) ? &events[i] : NULL;
}

static bool type_fits(const char *type, size_t length, const cJSON *item)
{
    if (strncmp(type, "text", length) == 0)
        return cJSON_IsString(item) && item->valuestring[0] != '\0' &&
               strlen(item->valuestring) <= 255;
    if (strncmp(type, "line", length) == 0)
        return cJSON_IsString(item);
    if (strncmp(type, "flag", length) == 0)
        return cJSON_IsBool(item);
    return cJSON_IsObject(item);
}

bool shape_fits(const char *shape, const cJSON *payload, char *why)
{
    while (*shape != '\0') {
        size_t name_bytes = strcspn(shape, "?:");
        bool optional = shape[name_bytes] == '?';
        const char *type = shape + name_bytes + (optional ? 2 : 1);
        size_t type_bytes = strcspn(type, " ");
        const cJSON *item;
        char name[32];

        snprintf(name, sizeof(name), "%.*s", (int)name_bytes, shape);
        item = cJSON_GetObjectItemCaseSensitive(payload, name);
        if ((item == NULL || cJSON_IsNull(item)) ? !optional : !type_fits(type, type_bytes, item)) {
            snprintf(why, SHAPE_WHY_BYTES, "%s is %s", name,
                     item == NULL ? "missing" : "not of the right type or length");
            return false;
        }
        shape = type + type_bytes;
        shape += *shape == ' ';
    }
    return true;
}

void handle_unsupported(struct request *request)
{
    request_fail_because(request, ERROR_unavailable, "%s is not part of this version",
                         request->event->name);
}
