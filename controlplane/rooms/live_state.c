/* Rooms and participants as others see them in the live state: put there when they change. */
#include <stdlib.h>
#include <string.h>

#include "state.h"

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

/* Many changes of a moment (a dozen producers that go) become one JSON. */
void live_state_put_participant(struct participant *p)
{
    struct rooms *rooms = p->room->rooms;

    if (p->is_touched || !live_is_mirrored(rooms->live))
        return;
    p->is_touched = true;
    TAILQ_INSERT_TAIL(&rooms->touched, p, touched_link);
    live_touch(rooms->live);
}

void live_state_remove_participant(struct participant *p)
{
    struct rooms *rooms = p->room->rooms;

    if (p->is_touched)
        TAILQ_REMOVE(&rooms->touched, p, touched_link);
    p->is_touched = false;
    live_participant_remove(rooms->live, p->room->id, p->user_id);
}

/* The seed's RoomParticipant, in its order. */
static void put(struct participant *p)
{
    cJSON *object = json_texts("userId", p->user_id, "socketId", p->socket_id, "role",
                               role_text(p->role), NULL);
    char *text;

    add_presence(object, p);
    text = cJSON_PrintUnformatted(object);
    if (text != NULL)
        live_participant_put(p->room->rooms->live, p->room->id, p->user_id, text);
    cJSON_free(text);
    cJSON_Delete(object);
}

static void gather(void *context)
{
    struct rooms *rooms = context;
    struct participant *p;

    while ((p = TAILQ_FIRST(&rooms->touched)) != NULL) {
        TAILQ_REMOVE(&rooms->touched, p, touched_link);
        p->is_touched = false;
        put(p);
    }
}

void rooms_set_live(struct rooms *rooms, struct live *live)
{
    rooms->live = live;
    live_on_gather(live, gather, rooms);
}
