/* The commands that write a room or a socket to Redis, remove it, or refresh it. */
#include "records.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS_MAX 136
#define PAIRS_MAX 64 /* participants in one HSET: the command has about 30 KiB */

/* When another instance has taken over the room, its keys stay; only our own key loses the room. */
static const char room_removal_script[] =
    "local owner = redis.call('HGET', KEYS[1], 'instance') "
    "if not owner or owner == ARGV[1] then "
    "redis.call('DEL', KEYS[1], KEYS[2]) redis.call('SREM', KEYS[3], ARGV[2]) end "
    "redis.call('SREM', KEYS[4], ARGV[2]) return 1";
/* The user may have connected to another node meanwhile: then the key stays. */
static const char user_removal_script[] =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1";

static bool expectation_add(struct expectations *list, enum expectation_kind kind, uint32_t number)
{
    if (list->count == list->size) {
        uint32_t size = list->size ? 2 * list->size : 256, i;
        struct expectation *ring = malloc(size * sizeof(*ring));

        if (ring == NULL)
            return false;
        for (i = 0; i < list->count; i++)
            ring[i] = list->ring[(list->head + i) % list->size];
        free(list->ring);
        list->ring = ring;
        list->size = size;
        list->head = 0;
    }
    list->ring[(list->head + list->count++) % list->size] =
        (struct expectation){(uint8_t)kind, number};
    return true;
}

static void command_words(struct mirror *mirror, struct commands *out, enum expectation_kind kind,
                          uint32_t number, int count, const char **words)
{
    if (out->failed)
        return;
    commands_add_words(out, count, words);
    if (!out->failed && !expectation_add(&mirror->expected, kind, number))
        out->failed = true;
}

void mirror_command(struct mirror *mirror, struct commands *out, enum expectation_kind kind,
                    uint32_t number, ...)
{
    const char *words[WORDS_MAX];
    va_list arguments;
    int count = 0;

    va_start(arguments, number);
    while (count < WORDS_MAX && (words[count] = va_arg(arguments, const char *)) != NULL)
        count++;
    va_end(arguments);
    command_words(mirror, out, kind, number, count, words);
}

struct room_keys {
    char room[KEY_ROOM], participants[KEY_ROOM];
};

static struct room_keys keys_of(const char *room_id)
{
    struct room_keys keys;

    snprintf(keys.room, sizeof(keys.room), "room:%s", room_id);
    snprintf(keys.participants, sizeof(keys.participants), "room:%s:participants", room_id);
    return keys;
}

/* routerId: the media router of the NestJS backend. Here it is the id of the room. */
static void write_fields(struct mirror *mirror, const struct room_record *room, const char *key,
                         struct commands *out)
{
    char participants_max[16], created[24];

    snprintf(participants_max, sizeof(participants_max), "%u", room->participants_max);
    snprintf(created, sizeof(created), "%" PRId64, room->created_ms);
    mirror_command(mirror, out, EXPECT_ANY, 0, "HSET", key, "hostUserId", room->host_id, "status",
                   room->status, "routerId", room->id, "title", room->title, "roomCode", room->code,
                   "maxParticipants", participants_max, "createdAt", created, "instance",
                   mirror->instance, NULL);
}

/* Writes one HSET, or one HDEL (removed), with up to PAIRS_MAX participants from p on. Returns the
 * next. */
static const struct participant_record *
write_some_participants(struct mirror *mirror, const char *key, const struct participant_record *p,
                        bool all, bool removed, struct commands *out)
{
    const char *words[WORDS_MAX] = {removed ? "HDEL" : "HSET", key};
    int count = 2;

    for (; p != NULL && count < 2 + 2 * PAIRS_MAX;
         p = all ? TAILQ_NEXT(p, link) : TAILQ_NEXT(p, changed_link)) {
        if (p->is_removed != removed)
            continue;
        words[count++] = p->user_id;
        if (!removed)
            words[count++] = p->json;
    }
    if (count > 2)
        command_words(mirror, out, EXPECT_ANY, 0, count, words);
    return p;
}

static void write_participants(struct mirror *mirror, const struct room_record *room,
                               const char *key, struct commands *out)
{
    const struct participant_record *p;

    if (room->rewrite) {
        for (p = TAILQ_FIRST(&room->participants); p != NULL;)
            p = write_some_participants(mirror, key, p, true, false, out);
        return;
    }
    for (p = TAILQ_FIRST(&room->changed); p != NULL;)
        p = write_some_participants(mirror, key, p, false, true, out);
    for (p = TAILQ_FIRST(&room->changed); p != NULL;)
        p = write_some_participants(mirror, key, p, false, false, out);
}

void write_room(struct mirror *mirror, const struct room_record *room, struct commands *out)
{
    struct room_keys keys = keys_of(room->id);

    if (!room->rewrite && !room->fields_changed) {
        write_participants(mirror, room, keys.participants, out);
        mirror_command(mirror, out, EXPECT_ANY, 0, "EXPIRE", keys.participants, ROOM_TTL_S, NULL);
        mirror_command(mirror, out, EXPECT_NUMBER, 1, "EXPIRE", keys.room, ROOM_TTL_S, NULL);
        return;
    }
    mirror_command(mirror, out, EXPECT_ANY, 0, "MULTI", NULL);
    mirror_command(mirror, out, EXPECT_ANY, 0, "SADD", mirror->own_rooms, room->id, NULL);
    mirror_command(mirror, out, EXPECT_ANY, 0, "EXPIRE", mirror->own_rooms, ROOM_TTL_S, NULL);
    if (room->rewrite)
        mirror_command(mirror, out, EXPECT_ANY, 0, "DEL", keys.room, keys.participants, NULL);
    write_fields(mirror, room, keys.room, out);
    write_participants(mirror, room, keys.participants, out);
    mirror_command(mirror, out, EXPECT_ANY, 0, "EXPIRE", keys.room, ROOM_TTL_S, NULL);
    mirror_command(mirror, out, EXPECT_ANY, 0, "EXPIRE", keys.participants, ROOM_TTL_S, NULL);
    mirror_command(mirror, out, EXPECT_ANY, 0, "SADD", "active_rooms", room->id, NULL);
    mirror_command(mirror, out, EXPECT_EXEC, 0, "EXEC", NULL);
}

void write_room_removal(struct mirror *mirror, const char *room_id, struct commands *out)
{
    struct room_keys keys = keys_of(room_id);

    mirror_command(mirror, out, EXPECT_ANY, 0, "EVAL", room_removal_script, "4", keys.room,
                   keys.participants, "active_rooms", mirror->own_rooms, mirror->instance, room_id,
                   NULL);
}

/* user:socket names the newest socket that the user has here. */
void write_socket(struct mirror *mirror, const struct socket_record *socket, struct commands *out)
{
    const struct socket_record *newest = TAILQ_FIRST(&socket->user->sockets);
    const char *user_id = socket->user->id;
    char by_socket[KEY_ROOM], by_user[KEY_ROOM];

    snprintf(by_socket, sizeof(by_socket), "socket:user:%s", socket->id);
    snprintf(by_user, sizeof(by_user), "user:socket:%s", user_id);
    mirror_command(mirror, out, EXPECT_ANY, 0, "MULTI", NULL);
    if (socket->is_removed) {
        mirror_command(mirror, out, EXPECT_ANY, 0, "DEL", by_socket, NULL);
        mirror_command(mirror, out, EXPECT_ANY, 0, "HDEL", mirror->own_sockets, socket->id, NULL);
    } else {
        mirror_command(mirror, out, EXPECT_ANY, 0, "HSET", mirror->own_sockets, socket->id, user_id,
                       NULL);
        mirror_command(mirror, out, EXPECT_ANY, 0, "EXPIRE", mirror->own_sockets, ROOM_TTL_S, NULL);
        mirror_command(mirror, out, EXPECT_ANY, 0, "SET", by_socket, user_id, "EX", SOCKET_TTL_S,
                       NULL);
    }
    if (newest != NULL)
        mirror_command(mirror, out, EXPECT_ANY, 0, "SET", by_user, newest->id, "EX", SOCKET_TTL_S,
                       NULL);
    else
        mirror_command(mirror, out, EXPECT_ANY, 0, "EVAL", user_removal_script, "1", by_user,
                       socket->id, NULL);
    mirror_command(mirror, out, EXPECT_EXEC, 0, "EXEC", NULL);
}

/* ---- refresh: renews the time to live, and checks what is there ---- */

void write_refresh_of_lists(struct mirror *mirror, struct commands *out)
{
    mirror_command(mirror, out, EXPECT_ANY, 0, "EXPIRE", mirror->own_rooms, ROOM_TTL_S, NULL);
    mirror_command(mirror, out, EXPECT_ANY, 0, "EXPIRE", mirror->own_sockets, ROOM_TTL_S, NULL);
}

void write_room_refresh(struct mirror *mirror, const struct room_record *room, struct commands *out)
{
    struct room_keys keys = keys_of(room->id);

    mirror_command(mirror, out, EXPECT_NUMBER, 0, "SADD", mirror->own_rooms, room->id, NULL);
    mirror_command(mirror, out, EXPECT_NUMBER, 0, "SADD", "active_rooms", room->id, NULL);
    mirror_command(mirror, out, EXPECT_NUMBER, 1, "EXPIRE", keys.room, ROOM_TTL_S, NULL);
    mirror_command(mirror, out, EXPECT_NUMBER, room->count > 0, "EXPIRE", keys.participants,
                   ROOM_TTL_S, NULL);
    mirror_command(mirror, out, EXPECT_NUMBER, room->count, "HLEN", keys.participants, NULL);
}

void write_socket_refresh(struct mirror *mirror, const struct socket_record *socket,
                          struct commands *out)
{
    char by_socket[KEY_ROOM], by_user[KEY_ROOM];

    snprintf(by_socket, sizeof(by_socket), "socket:user:%s", socket->id);
    snprintf(by_user, sizeof(by_user), "user:socket:%s", socket->user->id);
    mirror_command(mirror, out, EXPECT_NUMBER, 0, "HSET", mirror->own_sockets, socket->id,
                   socket->user->id, NULL);
    mirror_command(mirror, out, EXPECT_NUMBER, 1, "EXPIRE", by_socket, SOCKET_TTL_S, NULL);
    mirror_command(mirror, out, EXPECT_NUMBER, 1, "EXPIRE", by_user, SOCKET_TTL_S, NULL);
}
