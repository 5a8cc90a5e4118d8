/* What clients are told: canonical events and, unless switched off, the seed's short names. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

static const struct {
    const char *canonical, *short_name;
} names[NOTICE_COUNT] = {
#define N(name, canonical, short_name) {canonical, short_name},
    NOTICES(N)
#undef N
};

static const char *short_name(const struct rooms *rooms, enum notice notice)
{
    return rooms->settings->short_events ? names[notice].short_name : NULL;
}

void announce(struct participant *to, enum notice notice, cJSON *value)
{
    const char *other;

    if (to->session == NULL) {
        cJSON_Delete(value);
        return;
    }
    other = short_name(to->room->rooms, notice);
    if (other != NULL)
        socket_emit_all(&to->session->socket, 1, names[notice].canonical, value);
    socket_emit(to->session->socket, other != NULL ? other : names[notice].canonical, value);
}

static void announce_to_many(struct room *room, const struct participant *except,
                             bool listeners_only, enum notice notice, cJSON *value)
{
    const char *other = short_name(room->rooms, notice);
    struct socket **sockets = malloc((room->participant_count + 1) * sizeof(*sockets));
    struct participant *p;
    size_t count = 0;

    if (sockets != NULL && value != NULL) {
        TAILQ_FOREACH(p, &room->participants, link)
        {
            if (p != except && p->session != NULL && (p->wants_audio_levels || !listeners_only))
                sockets[count++] = p->session->socket;
        }
    }
    if (count > 0) {
        socket_emit_all(sockets, count, names[notice].canonical, value);
        if (other != NULL)
            socket_emit_all(sockets, count, other, value);
    }
    free(sockets);
    cJSON_Delete(value);
}

void announce_to_room(struct room *room, const struct participant *except, enum notice notice,
                      cJSON *value)
{
    announce_to_many(room, except, false, notice, value);
}

void announce_to_listeners(struct room *room, enum notice notice, cJSON *value)
{
    announce_to_many(room, NULL, true, notice, value);
}

cJSON *json_texts(const char *key, ...)
{
    cJSON *object = cJSON_CreateObject();
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

void add_presence(cJSON *object, const struct participant *p)
{
    const struct transport *transport;
    const struct producer *producer;
    cJSON *ids;

    cJSON_AddNumberToObject(object, "joinedAt", (double)p->joined_ms);
    ids = cJSON_AddArrayToObject(object, "producerIds");
    TAILQ_FOREACH(transport, &p->transports, link)
    {
        TAILQ_FOREACH(producer, &transport->producers, link)
        cJSON_AddItemToArray(ids, cJSON_CreateString(producer->id));
    }
    cJSON_AddBoolToObject(object, "isMuted", p->is_muted);
    cJSON_AddBoolToObject(object, "isVideoOff", p->is_video_off);
}

static cJSON *participant_json(const struct participant *p)
{
    cJSON *object = json_texts("userId", p->user_id, "displayName", p->display_name, "socketId",
                               p->socket_id, "role", role_text(p->role), NULL);

    add_presence(object, p);
    return object;
}

cJSON *participants_json(const struct room *room)
{
    cJSON *list = cJSON_CreateArray();
    const struct participant *p;

    TAILQ_FOREACH(p, &room->participants, link)
    cJSON_AddItemToArray(list, participant_json(p));
    return list;
}
