/* A participant: one user in one room. */
#ifndef RINGCAST_ROOMS_PARTICIPANT_H
#define RINGCAST_ROOMS_PARTICIPANT_H

#include <sys/queue.h>

#include "controlplane/people/persistence.h"
#include "quota.h"

struct room;
struct rooms;
struct session;

enum role { ROLE_PARTICIPANT, ROLE_CO_HOST, ROLE_HOST };

struct participant {
    struct room *room;
    struct session *session; /* NULL: absent, without a socket */
    char user_id[UUID_TEXT_BYTES], socket_id[32], ip[46];
    char display_name[401];
    enum role role;
    int64_t joined_ms;
    bool is_muted, is_video_off;
    bool wants_audio_levels; /* room:join {audioLevels:true} */
    bool is_outdated;        /* linked by outdated_link */
    uint64_t grace_until_ms; /* loop time; 0: not absent */
    TAILQ_HEAD(, transport) transports;
    uint32_t transport_count, producer_count, consumer_count;
    struct owner owner;      /* its seat, transports, producers and consumers count there */
    uint64_t app_data_bytes; /* of its producers */
    TAILQ_ENTRY(participant) link, absent_link, outdated_link;
    LIST_ENTRY(participant) session_link;
};

struct participant *participant_find(const struct room *room, const char *user_id);
/* NULL, with what is wrong in `why`: no memory, or the user is in too many rooms. */
struct participant *participant_new(struct room *room, struct session *session, enum role role,
                                    char why[QUOTA_WHY_BYTES]);
/* Makes the session the participant's socket; detach undoes it. */
void participant_attach(struct participant *participant, struct session *session);
void participant_detach(struct participant *participant);

/* The socket was lost: the participant and its media stay until the grace time has passed. */
void participant_begin_absence(struct participant *participant);
/* The user came back on a new socket. */
void participant_end_absence(struct participant *participant, struct session *session);
/* Removes the participants whose grace time has passed. */
void participants_remove_overdue(struct rooms *rooms);

enum departure {
    DEPARTURE_LEFT,
    DEPARTURE_KICKED,
    DEPARTURE_GONE,         /* the grace time has passed, or the room closes */
    DEPARTURE_STOPPED,      /* the control plane stops */
    DEPARTURE_DISCONNECTED, /* by us: the user was deactivated, or the key of the token withdrawn */
};
/* Frees the participant and its media, tells the others, and closes the room after the last one. */
void participant_remove(struct participant *participant, enum departure how);

#endif
