/* Announcements: under their own names and, unless the
 * settings say otherwise, under the short ones. */
#include "announce.h"

#include <stdlib.h>

#include "controlplane/web/json.h"
#include "registry.h"
#include "room.h"
#include "participant.h"
#include "session.h"

static const struct {
    const char *event, *short_name;
} names[NOTICE_COUNT] = {
#define N(name, event, short_name) {event, short_name},
    NOTICES(N)
#undef N
};

static const char *short_name_of(const struct room *room, enum notice notice)
{
    return room->rooms->settings->short_events ? names[notice].short_name : NULL;
}

/* There was no memory for the event: whoever should hear it connects again and sees what has changed. */
static void disconnect(struct participant *p)
{
    if (p->session != NULL)
        socket_abort(p->session->socket);
}

void announce_to_participant(struct participant *to, enum notice notice, cJSON *value)
{
    const char *short_name;

    if (to->session == NULL || !json_is_complete(value)) {
        disconnect(to);
        cJSON_Delete(value);
        return;
    }
    short_name = short_name_of(to->room, notice);
    if (short_name != NULL)
        socket_emit_all(&to->session->socket, 1, names[notice].event, value);
    socket_emit(to->session->socket, short_name != NULL ? short_name : names[notice].event, value);
}

static void announce_to_many(struct room *room, const struct participant *except,
                             bool level_listeners_only, enum notice notice, cJSON *value)
{
    const char *short_name = short_name_of(room, notice);
    struct socket **sockets = malloc((room->participant_count + 1) * sizeof(*sockets));
    bool is_complete = json_is_complete(value);
    struct participant *p;
    size_t count = 0;

    TAILQ_FOREACH(p, &room->participants, link)
    {
        if (p == except || p->session == NULL || (level_listeners_only && !p->wants_audio_levels))
            continue;
        if (sockets != NULL && is_complete)
            sockets[count++] = p->session->socket;
        else if (!level_listeners_only)
            disconnect(p);
    }
    if (count > 0) {
        socket_emit_all(sockets, count, names[notice].event, value);
        if (short_name != NULL)
            socket_emit_all(sockets, count, short_name, value);
    }
    free(sockets);
    cJSON_Delete(value);
}

void announce_to_room(struct room *room, const struct participant *except, enum notice notice,
                      cJSON *value)
{
    announce_to_many(room, except, false, notice, value);
}

void announce_to_level_listeners(struct room *room, enum notice notice, cJSON *value)
{
    announce_to_many(room, NULL, true, notice, value);
}
