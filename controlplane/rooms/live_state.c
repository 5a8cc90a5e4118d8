/* Live state: rooms and participants are handed over whenever they change. */
#include "live_state.h"

#include "controlplane/live/live.h"
#include "controlplane/web/json.h"
#include "participant.h"
#include "registry.h"
#include "room.h"
#include "room_json.h"

void live_state_put_room(const struct room *room)
{
    live_room_put(room->rooms->live,
                  &(struct live_room){.id = room->id,
                                      .host_id = room->host_id,
                                      .status = room->active ? "active" : "waiting",
                                      .title = room->title != NULL ? room->title : "",
                                      .code = room->code,
                                      .participants_max = room->participants_max,
                                      .created_ms = room->created_ms});
}

void live_state_put_participant(struct participant *p)
{
    struct rooms *rooms = p->room->rooms;

    if (p->is_outdated || !live_is_mirrored(rooms->live))
        return;
    p->is_outdated = true;
    TAILQ_INSERT_TAIL(&rooms->outdated, p, outdated_link);
    live_gather_later(rooms->live);
}

void live_state_remove_participant(struct participant *p)
{
    struct rooms *rooms = p->room->rooms;

    if (p->is_outdated)
        TAILQ_REMOVE(&rooms->outdated, p, outdated_link);
    p->is_outdated = false;
    live_participant_remove(rooms->live, p->room->id, p->user_id);
}

/* Members and their order are those of RoomParticipant in the
 * NestJS backend: both may use one Redis. */
static bool hand_over(struct participant *p)
{
    cJSON *object = json_texts("userId", p->user_id, "socketId", p->socket_id, "role",
                               role_text(p->role), NULL);
    char *text = NULL;

    presence_add(object, p);
    if (json_is_complete(object))
        text = cJSON_PrintUnformatted(object);
    if (text != NULL)
        live_participant_put(p->room->rooms->live, p->room->id, p->user_id, text);
    cJSON_Delete(object);
    if (text == NULL)
        return false;
    cJSON_free(text);
    return true;
}

static void hand_over_all(void *context)
{
    struct rooms *rooms = context;
    struct participant *p;

    while ((p = TAILQ_FIRST(&rooms->outdated)) != NULL) {
        if (!hand_over(p)) { /* no memory: try again */
            live_gather_later(rooms->live);
            return;
        }
        TAILQ_REMOVE(&rooms->outdated, p, outdated_link);
        p->is_outdated = false;
    }
}

void rooms_set_live(struct rooms *rooms, struct live *live)
{
    rooms->live = live;
    live_on_gather(live, hand_over_all, rooms);
}
