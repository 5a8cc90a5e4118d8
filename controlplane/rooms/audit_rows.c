/* Which calls of a client are audited, and how many rows one can write: what cannot be logged is refused
 * before it changes anything (threats.md C22). */
#include <string.h>

#include "state.h"

/* A seat goes with the producers of its participant, and may take the room with it. */
#define SEAT_ROWS (PRODUCERS_PER_PARTICIPANT_MAX + 4)

enum extent { ONE_ROW, ONE_SEAT, WHOLE_ROOM };

static const struct {
    const char *event;
    enum extent extent;
} logged[] = {
    {"room:create", ONE_ROW},
    {"room:join", ONE_SEAT}, /* of the socket that it replaces */
    {"room:leave", ONE_SEAT},
    {"room:close", WHOLE_ROOM},
    {"room:kick", ONE_SEAT},
    {"room:muteAll", WHOLE_ROOM},
    {"room:changeRole", ONE_ROW},
    {"media:connectTransport", ONE_ROW}, /* when it is connected, or has failed */
    {"media:closeTransport", ONE_SEAT},
    {"media:produce", ONE_ROW},
    {"media:closeProducer", ONE_ROW},
    {"media:consume", ONE_ROW},
};

static uint64_t room_rows(const struct room *room)
{
    const struct participant *p;
    uint64_t rows = 2;

    TAILQ_FOREACH(p, &room->participants, link)
    rows += 1 + p->producer_count;
    return rows;
}

uint64_t request_audit_rows(const struct request *request)
{
    for (size_t i = 0; i < sizeof(logged) / sizeof(logged[0]); i++)
        if (strcmp(logged[i].event, request->event->name) == 0)
            return logged[i].extent == ONE_ROW    ? 1
                   : logged[i].extent == ONE_SEAT ? SEAT_ROWS
                                                  : room_rows(request->room);
    return 0;
}
