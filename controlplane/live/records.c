/* The records of the mirror: one per room, participant and socket, and which of them are dirty. */
#include "records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- rooms and participants ---- */

struct room_record *room_record_find(struct mirror *mirror, const char *id)
{
    return INDEX_OWNER(index_get(&mirror->rooms, id), struct room_record, by_id);
}

static struct participant_record *participant_record_find(struct mirror *mirror,
                                                          const char *room_id, const char *user_id)
{
    char key[2 * ID_ROOM];

    snprintf(key, sizeof(key), "%.39s/%.39s", room_id, user_id);
    return INDEX_OWNER(index_get(&mirror->participants, key), struct participant_record, by_key);
}

void room_mark(struct mirror *mirror, struct room_record *room)
{
    if (mirror->mode != MIRROR_WRITING || room->is_dirty)
        return;
    room->is_dirty = true;
    if (room->is_removed)
        TAILQ_INSERT_HEAD(&mirror->dirty_rooms, room, dirty_link);
    else
        TAILQ_INSERT_TAIL(&mirror->dirty_rooms, room, dirty_link);
}

static void participant_mark(struct mirror *mirror, struct participant_record *p)
{
    if (mirror->mode != MIRROR_WRITING)
        return;
    if (!p->is_changed) {
        p->is_changed = true;
        TAILQ_INSERT_TAIL(&p->room->changed, p, changed_link);
    }
    room_mark(mirror, p->room);
}

static void participant_record_free(struct mirror *mirror, struct participant_record *p)
{
    if (p->is_changed)
        TAILQ_REMOVE(&p->room->changed, p, changed_link);
    if (!p->is_removed) {
        TAILQ_REMOVE(&p->room->participants, p, link);
        p->room->count--;
    }
    index_remove(&mirror->participants, &p->by_key);
    free(p->json);
    free(p);
}

/* Everything about the room is written: it is not dirty any more. */
void room_mark_written(struct mirror *mirror, struct room_record *room)
{
    struct participant_record *p;

    while ((p = TAILQ_FIRST(&room->changed)) != NULL) {
        if (p->is_removed) {
            participant_record_free(mirror, p);
        } else {
            TAILQ_REMOVE(&room->changed, p, changed_link);
            p->is_changed = false;
        }
    }
    if (room->is_dirty)
        TAILQ_REMOVE(&mirror->dirty_rooms, room, dirty_link);
    room->is_dirty = room->fields_changed = room->rewrite = false;
}

static void room_empty(struct mirror *mirror, struct room_record *room)
{
    struct participant_record *p;

    while ((p = TAILQ_FIRST(&room->changed)) != NULL)
        participant_record_free(mirror, p);
    while ((p = TAILQ_FIRST(&room->participants)) != NULL)
        participant_record_free(mirror, p);
}

void room_record_free(struct mirror *mirror, struct room_record *room)
{
    room_empty(mirror, room);
    if (room->is_dirty)
        TAILQ_REMOVE(&mirror->dirty_rooms, room, dirty_link);
    if (!room->is_removed)
        TAILQ_REMOVE(&mirror->all_rooms, room, link);
    index_remove(&mirror->rooms, &room->by_id);
    free(room->title);
    free(room);
}

/* The record counts as removed until mirror_room_put. */
struct room_record *room_record_new(struct mirror *mirror, const char *id)
{
    struct room_record *room = calloc(1, sizeof(*room));

    if (room == NULL) {
        mirror->is_incomplete = true;
        return NULL;
    }
    snprintf(room->id, sizeof(room->id), "%s", id);
    TAILQ_INIT(&room->participants);
    TAILQ_INIT(&room->changed);
    room->is_removed = true;
    index_put(&mirror->rooms, &room->by_id, room->id);
    return room;
}

static bool room_is_same(const struct room_record *room, const struct live_room *from)
{
    return !room->is_removed && strcmp(room->host_id, from->host_id) == 0 &&
           strcmp(room->status, from->status) == 0 && strcmp(room->code, from->code) == 0 &&
           strcmp(room->title, from->title) == 0 &&
           room->participants_max == from->participants_max && room->created_ms == from->created_ms;
}

void mirror_room_put(struct mirror *mirror, const struct live_room *from)
{
    struct room_record *room = room_record_find(mirror, from->id);
    char *title;

    if (room != NULL && room_is_same(room, from))
        return;
    title = strdup(from->title);
    if (room == NULL)
        room = room_record_new(mirror, from->id);
    if (room == NULL || title == NULL) {
        mirror->is_incomplete = true;
        free(title);
        return;
    }
    if (room->is_removed) {
        room->is_removed = false;
        room->rewrite = true;
        room->refresh_number = mirror->refresh_number;
        TAILQ_INSERT_TAIL(&mirror->all_rooms, room, link);
    }
    free(room->title);
    room->title = title;
    snprintf(room->host_id, sizeof(room->host_id), "%s", from->host_id);
    snprintf(room->status, sizeof(room->status), "%s", from->status);
    snprintf(room->code, sizeof(room->code), "%s", from->code);
    room->participants_max = from->participants_max;
    room->created_ms = from->created_ms;
    room->fields_changed = true;
    room_mark(mirror, room);
}

void mirror_room_remove(struct mirror *mirror, const char *room_id)
{
    struct room_record *room = room_record_find(mirror, room_id);

    if (room == NULL || room->is_removed)
        return;
    if (mirror->mode != MIRROR_WRITING) {
        room_record_free(mirror, room);
        return;
    }
    room_empty(mirror, room);
    room->is_removed = true;
    TAILQ_REMOVE(&mirror->all_rooms, room, link);
    room_mark(mirror, room);
}

static struct participant_record *
participant_record_new(struct mirror *mirror, struct room_record *room, const char *user_id)
{
    struct participant_record *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    snprintf(p->key, sizeof(p->key), "%.39s/%.39s", room->id, user_id);
    p->user_id = p->key + strlen(room->id) + 1;
    p->room = room;
    p->is_removed = true;
    index_put(&mirror->participants, &p->by_key, p->key);
    return p;
}

void mirror_participant_put(struct mirror *mirror, const char *room_id, const char *user_id,
                            const char *json)
{
    struct room_record *room = room_record_find(mirror, room_id);
    struct participant_record *p = participant_record_find(mirror, room_id, user_id);
    char *copy;

    if (room == NULL || room->is_removed ||
        (p != NULL && !p->is_removed && strcmp(p->json, json) == 0))
        return;
    copy = strdup(json);
    if (p == NULL && copy != NULL)
        p = participant_record_new(mirror, room, user_id);
    if (p == NULL || copy == NULL) {
        mirror->is_incomplete = true;
        free(copy);
        return;
    }
    free(p->json);
    p->json = copy;
    if (p->is_removed) {
        p->is_removed = false;
        TAILQ_INSERT_TAIL(&room->participants, p, link);
        room->count++;
    }
    participant_mark(mirror, p);
}

void mirror_participant_remove(struct mirror *mirror, const char *room_id, const char *user_id)
{
    struct participant_record *p = participant_record_find(mirror, room_id, user_id);

    if (p == NULL || p->is_removed)
        return;
    if (mirror->mode != MIRROR_WRITING) {
        participant_record_free(mirror, p);
        return;
    }
    p->is_removed = true;
    TAILQ_REMOVE(&p->room->participants, p, link);
    p->room->count--;
    participant_mark(mirror, p);
}

/* ---- sockets ---- */

struct socket_record *socket_record_find(struct mirror *mirror, const char *id)
{
    return INDEX_OWNER(index_get(&mirror->sockets, id), struct socket_record, by_id);
}

void socket_mark(struct mirror *mirror, struct socket_record *socket)
{
    if (mirror->mode != MIRROR_WRITING || socket->is_dirty)
        return;
    socket->is_dirty = true;
    if (socket->is_removed)
        TAILQ_INSERT_HEAD(&mirror->dirty_sockets, socket, dirty_link);
    else
        TAILQ_INSERT_TAIL(&mirror->dirty_sockets, socket, dirty_link);
}

void socket_mark_written(struct mirror *mirror, struct socket_record *socket)
{
    if (socket->is_dirty)
        TAILQ_REMOVE(&mirror->dirty_sockets, socket, dirty_link);
    socket->is_dirty = false;
}

void socket_record_free(struct mirror *mirror, struct socket_record *socket)
{
    struct user_record *user = socket->user;

    socket_mark_written(mirror, socket);
    if (!socket->is_removed) {
        TAILQ_REMOVE(&mirror->all_sockets, socket, link);
        TAILQ_REMOVE(&user->sockets, socket, of_user);
    }
    index_remove(&mirror->sockets, &socket->by_id);
    free(socket);
    if (--user->references > 0)
        return;
    index_remove(&mirror->users, &user->by_id);
    free(user);
}

static struct user_record *user_record_get(struct mirror *mirror, const char *id)
{
    struct user_record *user =
        INDEX_OWNER(index_get(&mirror->users, id), struct user_record, by_id);

    if (user != NULL)
        return user;
    user = calloc(1, sizeof(*user));
    if (user == NULL)
        return NULL;
    snprintf(user->id, sizeof(user->id), "%s", id);
    TAILQ_INIT(&user->sockets);
    index_put(&mirror->users, &user->by_id, user->id);
    return user;
}

/* The record counts as removed until mirror_socket_put. */
struct socket_record *socket_record_new(struct mirror *mirror, const char *id, const char *user_id)
{
    struct socket_record *socket = calloc(1, sizeof(*socket));

    if (socket != NULL)
        socket->user = user_record_get(mirror, user_id);
    if (socket == NULL || socket->user == NULL) {
        mirror->is_incomplete = true;
        free(socket);
        return NULL;
    }
    snprintf(socket->id, sizeof(socket->id), "%s", id);
    socket->user->references++;
    socket->is_removed = true;
    index_put(&mirror->sockets, &socket->by_id, socket->id);
    return socket;
}

void mirror_socket_put(struct mirror *mirror, const char *socket_id, const char *user_id)
{
    struct socket_record *socket = socket_record_find(mirror, socket_id);

    if (socket == NULL)
        socket = socket_record_new(mirror, socket_id, user_id);
    if (socket == NULL || !socket->is_removed)
        return;
    socket->is_removed = false;
    socket->refresh_number = mirror->refresh_number;
    TAILQ_INSERT_TAIL(&mirror->all_sockets, socket, link);
    TAILQ_INSERT_HEAD(&socket->user->sockets, socket, of_user);
    socket_mark(mirror, socket);
}

void mirror_socket_remove(struct mirror *mirror, const char *socket_id)
{
    struct socket_record *socket = socket_record_find(mirror, socket_id);

    if (socket == NULL || socket->is_removed)
        return;
    if (mirror->mode != MIRROR_WRITING) {
        socket_record_free(mirror, socket);
        return;
    }
    socket->is_removed = true;
    TAILQ_REMOVE(&mirror->all_sockets, socket, link);
    TAILQ_REMOVE(&socket->user->sockets, socket, of_user);
    socket_mark(mirror, socket);
}
