/* The mirror: which commands bring the records into Redis, and what the replies mean. */
#include "mirror.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "records.h"

struct mirror *mirror_new(const char *instance)
{
    struct mirror *mirror = calloc(1, sizeof(*mirror));

    if (mirror == NULL)
        return NULL;
    snprintf(mirror->instance, sizeof(mirror->instance), "%s", instance);
    snprintf(mirror->own_rooms, KEY_ROOM, "ringcast:%s:rooms", mirror->instance);
    snprintf(mirror->own_sockets, KEY_ROOM, "ringcast:%s:sockets", mirror->instance);
    TAILQ_INIT(&mirror->all_rooms);
    TAILQ_INIT(&mirror->dirty_rooms);
    TAILQ_INIT(&mirror->all_sockets);
    TAILQ_INIT(&mirror->dirty_sockets);
    if (index_open(&mirror->rooms) && index_open(&mirror->participants) &&
        index_open(&mirror->sockets) && index_open(&mirror->users))
        return mirror;
    mirror_delete(mirror);
    return NULL;
}

/* ---- commands ---- */

/* Empties the dirty lists: the next mirror_start writes everything. */
static void dirty_clear(struct mirror *mirror)
{
    struct socket_record *socket;
    struct room_record *room;

    while ((room = TAILQ_FIRST(&mirror->dirty_rooms)) != NULL) {
        if (room->is_removed)
            room_record_free(mirror, room);
        else
            room_mark_written(mirror, room);
    }
    while ((socket = TAILQ_FIRST(&mirror->dirty_sockets)) != NULL) {
        if (socket->is_removed)
            socket_record_free(mirror, socket);
        else
            socket_mark_written(mirror, socket);
    }
    mirror->is_refreshing = mirror->is_synced = false;
}

void mirror_start(struct mirror *mirror, struct commands *out)
{
    dirty_clear(mirror);
    mirror->mode = MIRROR_LISTING;
    mirror->problem[0] = '\0';
    mirror_command(mirror, out, EXPECT_ROOMS, 0, "SMEMBERS", mirror->own_rooms, NULL);
    mirror_command(mirror, out, EXPECT_SOCKETS, 0, "HGETALL", mirror->own_sockets, NULL);
}

void mirror_stop(struct mirror *mirror)
{
    dirty_clear(mirror);
    mirror->mode = MIRROR_AWAY;
    mirror->expected.head = mirror->expected.count = 0;
}

void mirror_refresh(struct mirror *mirror)
{
    if (mirror->mode != MIRROR_WRITING || mirror->is_refreshing)
        return;
    mirror->is_refreshing = true;
    mirror->refresh_number++;
}

static bool refresh_some(struct mirror *mirror, struct commands *out)
{
    struct room_record *room = TAILQ_FIRST(&mirror->all_rooms);
    struct socket_record *socket = TAILQ_FIRST(&mirror->all_sockets);

    if (room != NULL && room->refresh_number != mirror->refresh_number) {
        room->refresh_number = mirror->refresh_number;
        TAILQ_REMOVE(&mirror->all_rooms, room, link);
        TAILQ_INSERT_TAIL(&mirror->all_rooms, room, link);
        write_room_refresh(mirror, room, out);
    } else if (socket != NULL && socket->refresh_number != mirror->refresh_number) {
        socket->refresh_number = mirror->refresh_number;
        TAILQ_REMOVE(&mirror->all_sockets, socket, link);
        TAILQ_INSERT_TAIL(&mirror->all_sockets, socket, link);
        write_socket_refresh(mirror, socket, out);
    } else {
        write_refresh_of_lists(mirror, out);
        mirror->is_refreshing = false;
    }
    return true;
}

static void write_socket_record(struct mirror *mirror, struct socket_record *socket,
                                struct commands *out)
{
    write_socket(mirror, socket, out);
    if (socket->is_removed)
        socket_record_free(mirror, socket);
    else
        socket_mark_written(mirror, socket);
}

static void write_room_record(struct mirror *mirror, struct room_record *room, struct commands *out)
{
    if (room->is_removed) {
        write_room_removal(mirror, room->id, out);
        room_record_free(mirror, room);
    } else {
        write_room(mirror, room, out);
        room_mark_written(mirror, room);
    }
}

/* Removals go first: a Redis that is full accepts them, and has space afterwards. */
bool mirror_write(struct mirror *mirror, struct commands *out)
{
    struct room_record *room = TAILQ_FIRST(&mirror->dirty_rooms);
    struct socket_record *socket = TAILQ_FIRST(&mirror->dirty_sockets);

    if (mirror->mode != MIRROR_WRITING)
        return false;
    if (room != NULL && (room->is_removed || socket == NULL))
        write_room_record(mirror, room, out);
    else if (socket != NULL)
        write_socket_record(mirror, socket, out);
    else
        return mirror->is_refreshing && refresh_some(mirror, out);
    return true;
}

/* ---- replies ---- */

/* Our own key lists a room that does not exist: the last run of this instance has left it. Removes
 * it. */
static void take_own_rooms(struct mirror *mirror, const redisReply *reply)
{
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *id = reply->element[i];

        struct room_record *room;

        if (id->type != REDIS_REPLY_STRING || id->len >= ID_ROOM ||
            room_record_find(mirror, id->str) != NULL)
            continue;
        room = room_record_new(mirror, id->str);
        if (room != NULL)
            room_mark(mirror, room);
    }
}

static void take_own_sockets(struct mirror *mirror, const redisReply *reply)
{
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const redisReply *id = reply->element[i], *user_id = reply->element[i + 1];

        struct socket_record *socket;

        if (id->type != REDIS_REPLY_STRING || user_id->type != REDIS_REPLY_STRING ||
            id->len >= ID_ROOM || user_id->len >= ID_ROOM ||
            socket_record_find(mirror, id->str) != NULL)
            continue;
        socket = socket_record_new(mirror, id->str, user_id->str);
        if (socket != NULL)
            socket_mark(mirror, socket);
    }
}

static void mark_room(struct mirror *mirror, struct index_node *node)
{
    struct room_record *room = INDEX_OWNER(node, struct room_record, by_id);

    room->rewrite = true;
    room_mark(mirror, room);
}

static void mark_socket(struct mirror *mirror, struct index_node *node)
{
    socket_mark(mirror, INDEX_OWNER(node, struct socket_record, by_id));
}

static void mark_all(struct mirror *mirror, struct index *index,
                     void (*mark)(struct mirror *mirror, struct index_node *node))
{
    for (uint32_t i = 0; i < index->bucket_count; i++)
        for (struct index_node *node = index->buckets[i]; node != NULL; node = node->next)
            mark(mirror, node);
}

/* Called when the first list has come, not the second: a removal between the two must be
 * written. */
static void writing_start(struct mirror *mirror)
{
    mirror->mode = MIRROR_WRITING;
    mark_all(mirror, &mirror->rooms, mark_room);
    mark_all(mirror, &mirror->sockets, mark_socket);
}

/* The error in a reply, or the first error in the replies of a transaction; NULL: none. */
static const char *reply_error(const redisReply *reply, enum expectation_kind kind)
{
    if (reply->type == REDIS_REPLY_ERROR)
        return reply->str;
    if (kind != EXPECT_EXEC)
        return NULL;
    if (reply->type != REDIS_REPLY_ARRAY)
        return "the transaction was not carried out";
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->type == REDIS_REPLY_ERROR)
            return reply->element[i]->str;
    return NULL;
}

static enum mirror_result reply_check(struct mirror *mirror, struct expectation expected,
                                      const redisReply *reply)
{
    const char *error = reply_error(reply, (enum expectation_kind)expected.kind);
    bool is_list = reply->type == REDIS_REPLY_ARRAY;

    if (error != NULL) {
        snprintf(mirror->problem, sizeof(mirror->problem), "%.190s", error);
        return MIRROR_REFUSED;
    }
    switch ((enum expectation_kind)expected.kind) {
    case EXPECT_NUMBER:
        return reply->type == REDIS_REPLY_INTEGER && reply->integer == expected.number
                   ? MIRROR_FINE
                   : MIRROR_DRIFTED;
    case EXPECT_ROOMS:
        writing_start(mirror);
        if (is_list)
            take_own_rooms(mirror, reply);
        return is_list ? MIRROR_FINE : MIRROR_DRIFTED;
    case EXPECT_SOCKETS:
        if (is_list)
            take_own_sockets(mirror, reply);
        return is_list ? MIRROR_FINE : MIRROR_DRIFTED;
    default:
        return MIRROR_FINE;
    }
}

enum mirror_result mirror_reply(struct mirror *mirror, const redisReply *reply)
{
    struct expectations *list = &mirror->expected;
    enum mirror_result result = MIRROR_FINE;
    struct expectation expected;

    if (list->count == 0)
        return MIRROR_FINE; /* not a reply to the mirror */
    expected = list->ring[list->head];
    list->head = (list->head + 1) % list->size;
    list->count--;
    if (mirror->mode == MIRROR_FAILED)
        return MIRROR_FINE;
    result = reply_check(mirror, expected, reply);
    if (result != MIRROR_FINE) {
        mirror->mode = MIRROR_FAILED;
        dirty_clear(mirror);
    } else if (mirror->mode == MIRROR_WRITING && list->count == 0 &&
               TAILQ_EMPTY(&mirror->dirty_rooms) && TAILQ_EMPTY(&mirror->dirty_sockets)) {
        mirror->is_synced = true;
    }
    return result;
}

const char *mirror_problem(const struct mirror *mirror)
{
    return mirror->problem;
}

uint32_t mirror_pending(const struct mirror *mirror)
{
    return mirror->expected.count;
}

bool mirror_has_failed(const struct mirror *mirror)
{
    return mirror->mode == MIRROR_FAILED;
}

bool mirror_is_synced(const struct mirror *mirror)
{
    return mirror->is_synced;
}

bool mirror_is_complete(const struct mirror *mirror)
{
    return !mirror->is_incomplete;
}

void mirror_delete(struct mirror *mirror)
{
    struct socket_record *socket;
    struct room_record *room;

    if (mirror == NULL)
        return;
    mirror_stop(mirror);
    while ((room = TAILQ_FIRST(&mirror->all_rooms)) != NULL)
        room_record_free(mirror, room);
    while ((socket = TAILQ_FIRST(&mirror->all_sockets)) != NULL)
        socket_record_free(mirror, socket);
    index_close(&mirror->rooms);
    index_close(&mirror->participants);
    index_close(&mirror->sockets);
    index_close(&mirror->users);
    free(mirror->expected.ring);
    free(mirror);
}
