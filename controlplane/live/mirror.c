/* The mirror: the conversation that gets the records into Redis. */
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

/* ---- the conversation ---- */

/* Nothing is to be written any more: the next start writes everything. */
static void forget_changes(struct mirror *mirror)
{
    struct socket_record *socket;
    struct room_record *room;

    while ((room = TAILQ_FIRST(&mirror->dirty_rooms)) != NULL) {
        if (room->is_gone)
            room_record_free(mirror, room);
        else
            room_settle(mirror, room);
    }
    while ((socket = TAILQ_FIRST(&mirror->dirty_sockets)) != NULL) {
        if (socket->is_gone)
            socket_record_free(mirror, socket);
        else
            socket_settle(mirror, socket);
    }
    mirror->is_refreshing = mirror->is_synced = false;
}

void mirror_start(struct mirror *mirror, struct commands *out)
{
    forget_changes(mirror);
    mirror->mode = MIRROR_LISTING;
    mirror->problem[0] = '\0';
    mirror_say(mirror, out, EXPECT_ROOMS, 0, "SMEMBERS", mirror->own_rooms, NULL);
    mirror_say(mirror, out, EXPECT_SOCKETS, 0, "HGETALL", mirror->own_sockets, NULL);
}

void mirror_stop(struct mirror *mirror)
{
    forget_changes(mirror);
    mirror->mode = MIRROR_AWAY;
    mirror->expected.head = mirror->expected.count = 0;
}

void mirror_refresh(struct mirror *mirror)
{
    if (mirror->mode != MIRROR_WRITING || mirror->is_refreshing)
        return;
    mirror->is_refreshing = true;
    mirror->pass++;
}

static bool refresh_some(struct mirror *mirror, struct commands *out)
{
    struct room_record *room = TAILQ_FIRST(&mirror->all_rooms);
    struct socket_record *socket = TAILQ_FIRST(&mirror->all_sockets);

    if (room != NULL && room->pass != mirror->pass) {
        room->pass = mirror->pass;
        TAILQ_REMOVE(&mirror->all_rooms, room, link);
        TAILQ_INSERT_TAIL(&mirror->all_rooms, room, link);
        write_room_refresh(mirror, room, out);
    } else if (socket != NULL && socket->pass != mirror->pass) {
        socket->pass = mirror->pass;
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
    if (socket->is_gone)
        socket_record_free(mirror, socket);
    else
        socket_settle(mirror, socket);
}

static void write_room_record(struct mirror *mirror, struct room_record *room, struct commands *out)
{
    if (room->is_gone) {
        write_room_gone(mirror, room->id, out);
        room_record_free(mirror, room);
    } else {
        write_room(mirror, room, out);
        room_settle(mirror, room);
    }
}

/* What is gone goes first: a full Redis takes removals, and has room afterwards. */
bool mirror_write(struct mirror *mirror, struct commands *out)
{
    struct room_record *room = TAILQ_FIRST(&mirror->dirty_rooms);
    struct socket_record *socket = TAILQ_FIRST(&mirror->dirty_sockets);

    if (mirror->mode != MIRROR_WRITING)
        return false;
    if (room != NULL && (room->is_gone || socket == NULL))
        write_room_record(mirror, room, out);
    else if (socket != NULL)
        write_socket_record(mirror, socket, out);
    else
        return mirror->is_refreshing && refresh_some(mirror, out);
    return true;
}

/* ---- replies ---- */

/* Noted as ours but not living: an earlier life of this instance left it behind. */
static void take_noted_rooms(struct mirror *mirror, const redisReply *reply)
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

static void take_noted_sockets(struct mirror *mirror, const redisReply *reply)
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

/* From the first listing's arrival on, so that nothing that ends between the two slips through. */
static void start_writing(struct mirror *mirror)
{
    mirror->mode = MIRROR_WRITING;
    mark_all(mirror, &mirror->rooms, mark_room);
    mark_all(mirror, &mirror->sockets, mark_socket);
}

/* NULL, or the error that is in the reply: itself, or the first of a transaction's. */
static const char *error_of(const redisReply *reply, enum expectation_kind kind)
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

static enum mirror_verdict take(struct mirror *mirror, struct expectation expected,
                                const redisReply *reply)
{
    const char *error = error_of(reply, (enum expectation_kind)expected.kind);
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
        start_writing(mirror);
        if (is_list)
            take_noted_rooms(mirror, reply);
        return is_list ? MIRROR_FINE : MIRROR_DRIFTED;
    case EXPECT_SOCKETS:
        if (is_list)
            take_noted_sockets(mirror, reply);
        return is_list ? MIRROR_FINE : MIRROR_DRIFTED;
    default:
        return MIRROR_FINE;
    }
}

enum mirror_verdict mirror_reply(struct mirror *mirror, const redisReply *reply)
{
    struct expectations *list = &mirror->expected;
    enum mirror_verdict verdict = MIRROR_FINE;
    struct expectation expected;

    if (list->count == 0)
        return MIRROR_FINE; /* none of ours */
    expected = list->ring[list->head];
    list->head = (list->head + 1) % list->size;
    list->count--;
    if (mirror->mode == MIRROR_SPOILT)
        return MIRROR_FINE;
    verdict = take(mirror, expected, reply);
    if (verdict != MIRROR_FINE) {
        mirror->mode = MIRROR_SPOILT;
        forget_changes(mirror);
    } else if (mirror->mode == MIRROR_WRITING && list->count == 0 &&
               TAILQ_EMPTY(&mirror->dirty_rooms) && TAILQ_EMPTY(&mirror->dirty_sockets)) {
        mirror->is_synced = true;
    }
    return verdict;
}

const char *mirror_problem(const struct mirror *mirror)
{
    return mirror->problem;
}

uint32_t mirror_awaited(const struct mirror *mirror)
{
    return mirror->expected.count;
}

bool mirror_is_spoilt(const struct mirror *mirror)
{
    return mirror->mode == MIRROR_SPOILT;
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
    index_close(&mirror->participants);
    index_close(&mirror->sockets);
    index_close(&mirror->users);
    free(mirror->expected.ring);
    free(mirror);
}
