/* Quotas: holders, by user id and by a keyed hash of the address. */
#include "quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/address.h"
#include "controlplane/web/keyed_hash.h"
#include "rate_limit.h"
#include "registry.h"
#include "src/limits.h"

#define MADE_ROOM_COUNTS_MS (24 * 3600 * 1000ull)

struct holder {
    char key[UUID_TEXT_BYTES];
    bool is_address;
    struct index_node by_key;
    uint32_t references;
    uint32_t held[QUOTA_COUNT];
    struct rate_limit events, consumer_events;
    uint64_t audited_ms; /* loop time of the last audit row rate_limited; 0: none yet */
    uint64_t idle_ms;    /* loop time of the last release */
    TAILQ_ENTRY(holder) idle_link;
};

struct made_room {
    struct rooms *rooms;
    char id[UUID_TEXT_BYTES];
    struct index_node by_id;
    struct owner owner;
    uint64_t until_ms; /* loop time; then it does not count any more */
    TAILQ_ENTRY(made_room) link;
};

/* ---- holders ---- */

/* Clients choose their addresses, so the index gets a hash that they cannot foresee. */
static void address_key(const char *ip, char key[UUID_TEXT_BYTES])
{
    struct address address = {{0}};

    address_parse(ip, &address);
    if (!address_is_ipv4(&address))
        memset(address.bytes + 8, 0, 8); /* its /64 network: one person usually has all of it */
    snprintf(key, UUID_TEXT_BYTES, "%016" PRIx64, keyed_hash(address.bytes, sizeof(address.bytes)));
}

static struct holder *holder_get(struct rooms *rooms, const char *key, bool is_address)
{
    struct holder *holder = INDEX_OWNER(index_get(&rooms->holders, key), struct holder, by_key);

    if (holder != NULL) {
        if (holder->references++ == 0)
            TAILQ_REMOVE(&rooms->idle_holders, holder, idle_link);
        return holder;
    }
    holder = calloc(1, sizeof(*holder));
    if (holder == NULL)
        return NULL;
    snprintf(holder->key, sizeof(holder->key), "%s", key);
    holder->is_address = is_address;
    holder->references = 1;
    index_put(&rooms->holders, &holder->by_key, holder->key);
    return holder;
}

static void holder_release(struct rooms *rooms, struct holder *holder)
{
    if (holder == NULL || --holder->references > 0)
        return;
    holder->idle_ms = uv_now(rooms->loop);
    TAILQ_INSERT_TAIL(&rooms->idle_holders, holder, idle_link);
}

bool owner_open(struct rooms *rooms, struct owner *owner, const char *user_id, const char *ip)
{
    char key[UUID_TEXT_BYTES];

    address_key(ip, key);
    owner->user = holder_get(rooms, user_id, false);
    owner->address = holder_get(rooms, key, true);
    if (owner->user != NULL && owner->address != NULL)
        return true;
    owner_close(rooms, owner);
    return false;
}

void owner_close(struct rooms *rooms, struct owner *owner)
{
    holder_release(rooms, owner->user);
    holder_release(rooms, owner->address);
    *owner = (struct owner){NULL, NULL};
}

/* ---- what a holder has ---- */

static uint32_t limit_of_user(const struct settings *settings, enum quota quota)
{
    switch (quota) {
    case QUOTA_transports:
        return settings->transports_per_user_max;
    case QUOTA_producers:
        return settings->producers_per_user_max;
    case QUOTA_consumers:
        return settings->consumers_per_user_max;
    default:
        return settings->rooms_per_user_max;
    }
}

/* An address is a place with many users, but it never gets all rows of the data plane. */
static uint32_t limit_of_address(const struct settings *settings, enum quota quota)
{
    static const uint32_t rows[QUOTA_COUNT] = {[QUOTA_transports] = TRANSPORTS_MAX,
                                               [QUOTA_producers] = PRODUCERS_MAX,
                                               [QUOTA_consumers] = CONSUMERS_MAX};
    uint64_t limit = (uint64_t)limit_of_user(settings, quota) * settings->users_per_address;
    uint64_t share = (uint64_t)rows[quota] * settings->address_share_percent / 100;

    if (rows[quota] != 0 && limit > share)
        limit = share;
    return limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
}

bool quota_take(struct rooms *rooms, const struct owner *owner, enum quota quota,
                char why[QUOTA_WHY_BYTES])
{
    static const char *const whats[] = {
#define Q(name, what, advice) what,
        QUOTAS(Q)
#undef Q
    };
    static const char *const advices[] = {
#define Q(name, what, advice) advice,
        QUOTAS(Q)
#undef Q
    };
    uint32_t of_user = limit_of_user(rooms->settings, quota),
             of_address = limit_of_address(rooms->settings, quota);
    bool user_is_full = owner->user->held[quota] >= of_user;

    if (!user_is_full && owner->address->held[quota] < of_address) {
        owner->user->held[quota]++;
        owner->address->held[quota]++;
        return true;
    }
    snprintf(why, QUOTA_WHY_BYTES, "%u %s for one %s; %s", user_is_full ? of_user : of_address,
             whats[quota], user_is_full ? "user" : "address", advices[quota]);
    return false;
}

void quota_put(const struct owner *owner, enum quota quota, uint32_t count)
{
    owner->user->held[quota] += count;
    owner->address->held[quota] += count;
}

void quota_give_back(const struct owner *owner, enum quota quota, uint32_t count)
{
    owner->user->held[quota] -= count;
    owner->address->held[quota] -= count;
}

/* ---- how fast it sends ---- */

static uint64_t window_ms(const struct rooms *rooms)
{
    return rooms->settings->rate_limit_window_s * 1000ull;
}

bool quota_pass_event(struct rooms *rooms, const struct owner *owner)
{
    const struct settings *settings = rooms->settings;
    uint64_t now_ms = uv_now(rooms->loop);
    uint64_t of_address = (uint64_t)settings->rate_limit_events * settings->users_per_address;

    return rate_limit_pass(&owner->user->events, settings->rate_limit_events, window_ms(rooms),
                           now_ms) &&
           rate_limit_pass(&owner->address->events,
                           of_address < UINT32_MAX ? (uint32_t)of_address : UINT32_MAX,
                           window_ms(rooms), now_ms);
}

bool quota_pass_consumer_event(struct rooms *rooms, const struct owner *owner, uint32_t producers)
{
    return rate_limit_pass(&owner->user->consumer_events,
                           rooms->settings->rate_limit_events + 4 * producers, window_ms(rooms),
                           uv_now(rooms->loop));
}

uint32_t quota_retry_after_s(struct rooms *rooms, const struct owner *owner)
{
    const struct rate_limit *rate = &owner->user->events;
    uint64_t now_ms = uv_now(rooms->loop), until_ms = now_ms;

    if (rate->count >= rooms->settings->rate_limit_events)
        until_ms = rate->passed_ms[rate->head] + window_ms(rooms);
    return until_ms > now_ms ? (uint32_t)((until_ms - now_ms + 999) / 1000) : 1;
}

bool quota_refusal_is_first(struct rooms *rooms, const struct owner *owner)
{
    uint64_t now_ms = uv_now(rooms->loop);

    if (owner->user->audited_ms != 0 && now_ms - owner->user->audited_ms < window_ms(rooms))
        return false;
    owner->user->audited_ms = now_ms;
    return true;
}

/* ---- rooms that were created ---- */

struct made_room *made_room_new(struct rooms *rooms, const char *user_id, const char *ip,
                                char why[QUOTA_WHY_BYTES])
{
    struct made_room *made = calloc(1, sizeof(*made));

    snprintf(why, QUOTA_WHY_BYTES, "no memory");
    if (made == NULL || !owner_open(rooms, &made->owner, user_id, ip)) {
        free(made);
        return NULL;
    }
    if (quota_take(rooms, &made->owner, QUOTA_rooms, why)) {
        made->rooms = rooms;
        rooms_ref(rooms);
        return made;
    }
    owner_close(rooms, &made->owner);
    free(made);
    return NULL;
}

static void made_room_free(struct rooms *rooms, struct made_room *made)
{
    quota_give_back(&made->owner, QUOTA_rooms, 1);
    owner_close(rooms, &made->owner);
    free(made);
}

static void made_room_forget(struct rooms *rooms, struct made_room *made)
{
    index_remove(&rooms->made_rooms_by_id, &made->by_id);
    TAILQ_REMOVE(&rooms->made_rooms, made, link);
    made_room_free(rooms, made);
}

void made_room_done(struct made_room *made, const char *id)
{
    struct rooms *rooms = made->rooms;

    if (id != NULL) {
        snprintf(made->id, sizeof(made->id), "%s", id);
        made->until_ms = uv_now(rooms->loop) + MADE_ROOM_COUNTS_MS;
        index_put(&rooms->made_rooms_by_id, &made->by_id, made->id);
        TAILQ_INSERT_TAIL(&rooms->made_rooms, made, link);
    } else {
        made_room_free(rooms, made);
    }
    rooms_unref(rooms);
}

void made_room_closed(struct rooms *rooms, const char *id)
{
    struct made_room *made =
        INDEX_OWNER(index_get(&rooms->made_rooms_by_id, id), struct made_room, by_id);

    if (made != NULL)
        made_room_forget(rooms, made);
}

void quotas_sweep(struct rooms *rooms, bool all)
{
    uint64_t now_ms = uv_now(rooms->loop);
    struct made_room *made;
    struct holder *holder;

    while ((made = TAILQ_FIRST(&rooms->made_rooms)) != NULL && (all || now_ms >= made->until_ms))
        made_room_forget(rooms, made);
    while ((holder = TAILQ_FIRST(&rooms->idle_holders)) != NULL &&
           (all || now_ms >= holder->idle_ms + window_ms(rooms))) {
        TAILQ_REMOVE(&rooms->idle_holders, holder, idle_link);
        index_remove(&rooms->holders, &holder->by_key);
        rate_limit_free(&holder->events);
        rate_limit_free(&holder->consumer_events);
        free(holder);
    }
}
