/* Inside of the mirror: its records, and the commands that write them. For mirror.c, records.c,
 * writing.c. */
#ifndef RINGCAST_LIVE_RECORDS_H
#define RINGCAST_LIVE_RECORDS_H

#include <sys/queue.h>

#include "mirror.h"
#include "src/index.h"

#define ID_ROOM 40  /* for a UUID or a socket id */
#define KEY_ROOM 80 /* the longest key */
#define PROBLEM_ROOM 200

struct participant_record {
    struct index_node by_key;
    char key[2 * ID_ROOM]; /* roomId/userId */
    const char *user_id;   /* the second half of key */
    char *json;
    struct room_record *room;
    bool is_removed, is_changed;
    TAILQ_ENTRY(participant_record) link, changed_link;
};
TAILQ_HEAD(participant_list, participant_record);

struct room_record {
    struct index_node by_id;
    char id[ID_ROOM], host_id[ID_ROOM], status[8], code[16];
    char *title;
    uint32_t participants_max;
    int64_t created_ms;
    struct participant_list participants; /* who is in the room */
    struct participant_list changed;      /* to be written; also those who have left */
    uint32_t count;
    bool is_removed, is_dirty, fields_changed, rewrite;
    uint32_t refresh_number; /* the last refresh that wrote it */
    TAILQ_ENTRY(room_record) link, dirty_link;
};
TAILQ_HEAD(room_list, room_record);

struct user_record;
struct socket_record {
    struct index_node by_id;
    char id[ID_ROOM];
    struct user_record *user;
    bool is_removed, is_dirty;
    uint32_t refresh_number;
    TAILQ_ENTRY(socket_record) link, dirty_link, of_user;
};
TAILQ_HEAD(socket_list, socket_record);

/* A user with a socket, or with one whose removal is not written yet. */
struct user_record {
    struct index_node by_id;
    char id[ID_ROOM];
    uint32_t references;
    struct socket_list sockets; /* those that exist, the newest first */
};

enum expectation_kind {
    EXPECT_ANY,    /* anything but an error */
    EXPECT_NUMBER, /* this number */
    EXPECT_EXEC,   /* a transaction of which every command succeeded */
    EXPECT_ROOMS,  /* the rooms in our own key */
    EXPECT_SOCKETS /* the sockets in our own key */
};
struct expectation {
    uint8_t kind;
    uint32_t number;
};

/* What each pending reply should be, in the order in which they come: a ring that grows. */
struct expectations {
    struct expectation *ring;
    uint32_t size, head, count;
};

enum mirror_mode {
    MIRROR_AWAY,    /* no connection */
    MIRROR_LISTING, /* waits for the lists in our own keys */
    MIRROR_WRITING,
    MIRROR_FAILED, /* after a bad result: the pending replies are ignored */
};

struct mirror {
    char instance[ID_ROOM], own_rooms[KEY_ROOM], own_sockets[KEY_ROOM];
    struct index rooms, participants, sockets, users;
    struct room_list all_rooms, dirty_rooms;
    struct socket_list all_sockets, dirty_sockets;
    struct expectations expected;
    enum mirror_mode mode;
    uint32_t refresh_number;
    bool is_refreshing, is_synced, is_incomplete;
    char problem[PROBLEM_ROOM];
};

/* ---- records.c ----
 *
 * A new record counts as removed until mirror_room_put or mirror_socket_put. Marking a record as
 * dirty does nothing unless the mode is MIRROR_WRITING. */

struct room_record *room_record_find(struct mirror *mirror, const char *id);
void room_mark(struct mirror *mirror, struct room_record *room);
void room_mark_written(struct mirror *mirror, struct room_record *room);
void room_record_free(struct mirror *mirror, struct room_record *room);
struct room_record *room_record_new(struct mirror *mirror, const char *id);
struct socket_record *socket_record_find(struct mirror *mirror, const char *id);
void socket_mark(struct mirror *mirror, struct socket_record *socket);
void socket_mark_written(struct mirror *mirror, struct socket_record *socket);
void socket_record_free(struct mirror *mirror, struct socket_record *socket);
struct socket_record *socket_record_new(struct mirror *mirror, const char *id, const char *user_id);

/* ---- writing.c ---- */

/* Adds a command, and remembers what its reply should be. */
void mirror_command(struct mirror *mirror, struct commands *out, enum expectation_kind kind,
                    uint32_t number, ...) __attribute__((sentinel));
void write_room(struct mirror *mirror, const struct room_record *room, struct commands *out);
void write_room_removal(struct mirror *mirror, const char *room_id, struct commands *out);
void write_socket(struct mirror *mirror, const struct socket_record *socket, struct commands *out);
void write_refresh_of_lists(struct mirror *mirror, struct commands *out);
void write_room_refresh(struct mirror *mirror, const struct room_record *room,
                        struct commands *out);
void write_socket_refresh(struct mirror *mirror, const struct socket_record *socket,
                          struct commands *out);

#endif
