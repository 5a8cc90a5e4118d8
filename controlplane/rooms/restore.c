/* Restore: asks the store for one meeting after the other. */
#include "restore.h"

#include <string.h>

#include "registry.h"
#include "room.h"
#include "src/log.h"

static void restore(struct rooms *rooms, const struct meeting_row *meeting)
{
    struct room *room;

    if (room_find(rooms, meeting->id) != NULL)
        return; /* somebody has joined it already */
    room = room_open(rooms, meeting);
    if (room == NULL)
        return;
    room->active_saved = true;
    rooms->restored++;
}

static void meeting_found(void *context, enum persistence_result result,
                          const struct meeting_row *meeting)
{
    struct rooms *rooms = context;

    if (result == PERSISTED) {
        memcpy(rooms->restored_id, meeting->id, sizeof(rooms->restored_id));
        if (!rooms->closing)
            restore(rooms, meeting);
        rooms->restore_is_due = true;
        restore_next(rooms);
    } else if (result == PERSISTENCE_UNAVAILABLE) {
        rooms->restore_is_due = true;
    } else if (rooms->restored > 0) {
        LOG(INFO, "rooms", "the rooms of the last run are open again",
            F("rooms", "%u", rooms->restored));
    }
    rooms_unref(rooms);
}

void restore_next(struct rooms *rooms)
{
    if (!rooms->restore_is_due || rooms->closing)
        return;
    rooms->restore_is_due = false;
    rooms_ref(rooms);
    meeting_next_active(rooms->store, rooms->restored_id, meeting_found, rooms);
}
