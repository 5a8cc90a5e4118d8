/* A room: a meeting that people are in now. */
#ifndef RINGCAST_ROOMS_ROOM_H
#define RINGCAST_ROOMS_ROOM_H

#include <sys/queue.h>

#include "controlplane/people/persistence.h"
#include "src/handle.h"
#include "src/index.h"

struct rooms;
struct session;

struct room {
    struct rooms *rooms;
    char id[UUID_TEXT_BYTES], code[ROOM_CODE_BYTES], host_id[UUID_TEXT_BYTES];
    struct index_node by_id, by_code;
    char *title;
    uint32_t participants_max;
    TAILQ_HEAD(, participant) participants; /* in the order they joined */
    uint32_t participant_count, producer_count;
    uint64_t app_data_bytes; /* of all producers; a join answer has them all */
    int worker;              /* -1: none yet */
    handle_word handle;
    int64_t created_ms;

    /* State of the meeting, and which parts are saved. The store gets one change at a time. */
    bool closed, active, closed_saved, active_saved, saving;
    uint32_t peak, peak_saved, peak_saving;
    int64_t active_ms, closed_ms;
    /* Loop time: people of the last run may come back until then, so an empty room stays open. */
    uint64_t awaited_until_ms;

    TAILQ_HEAD(, producer) measured; /* audio producers whose level is being read */
    struct producer *dominant;       /* of the dominant speaker; NULL: nobody */
    uint64_t volumes_sent_ms;        /* loop time */
    bool volumes_were_loud;          /* the last volumes that were sent were not empty */
    bool is_measured;                /* linked by measured_link */
    TAILQ_ENTRY(room) measured_link;
    TAILQ_ENTRY(room) link;
};

/* NULL: no such room is open. Like all functions NAME_find, it takes an id as a client wrote it. */
struct room *room_find(struct rooms *rooms, const char *id_or_code);
struct room *room_open(struct rooms *rooms, const struct meeting_row *meeting);
/* Removes everybody and ends the meeting. announced: everybody gets `room:closed`. closed_by: NULL
 * when no participant asked for it. */
void room_close(struct room *room, bool announced, const struct session *closed_by);
/* Frees a room that nobody has joined or is expected to; the meeting stays open in the store. */
void room_discard(struct room *room);
/* True: the room is empty, and nobody is expected to come back. */
bool room_is_abandoned(const struct room *room);
/* Closes the rooms of the last run that nobody came back to. */
void rooms_close_abandoned(struct rooms *rooms);
/* At the stop of the control plane: everybody leaves, the meeting stays open in the store. Frees
 * the room once its state is saved. */
void room_leave_to_next_run(struct room *room);
/* Gives the room a worker and a row, if it has none; false while the data plane is down. */
bool room_assign_worker(struct room *room);
/* Writes the meeting's state to the store, if it changed. Frees a closed room once it is saved. */
void room_save(struct room *room);

#endif
