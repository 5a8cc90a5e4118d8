/* JSON that several answers and announcements have in common. */
#include "room_json.h"

#include <stdarg.h>

#include "controlplane/web/json.h"
#include "producer.h"
#include "room.h"
#include "transport.h"

cJSON *json_texts(const char *key, ...)
{
    cJSON *object = json_new_object();
    va_list arguments;

    va_start(arguments, key);
    for (; key != NULL; key = va_arg(arguments, const char *))
        cJSON_AddStringToObject(object, key, va_arg(arguments, const char *));
    va_end(arguments);
    return object;
}

const char *role_text(enum role role)
{
    static const char *const texts[] = {"participant", "co_host", "host"};

    return texts[role];
}

const char *kind_text(uint8_t kind)
{
    return kind == MEDIA_KIND_audio ? "audio" : "video";
}

void presence_add(cJSON *object, const struct participant *p)
{
    const struct transport *transport;
    const struct producer *producer;
    cJSON *ids;

    cJSON_AddNumberToObject(object, "joinedAt", (double)p->joined_ms);
    ids = cJSON_AddArrayToObject(object, "producerIds");
    TAILQ_FOREACH(transport, &p->transports, link)
    {
        TAILQ_FOREACH(producer, &transport->producers, link)
        json_push(ids, cJSON_CreateString(producer->id));
    }
    cJSON_AddBoolToObject(object, "isMuted", p->is_muted);
    cJSON_AddBoolToObject(object, "isVideoOff", p->is_video_off);
}

static cJSON *participant_json(const struct participant *p)
{
    cJSON *object = json_texts("userId", p->user_id, "displayName", p->display_name, "socketId",
                               p->socket_id, "role", role_text(p->role), NULL);

    presence_add(object, p);
    return object;
}

cJSON *participants_json(const struct room *room)
{
    cJSON *list = json_new_array();
    const struct participant *p;

    TAILQ_FOREACH(p, &room->participants, link)
    json_push(list, participant_json(p));
    return list;
}
