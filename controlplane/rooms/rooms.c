/* The object that holds all rooms: opened, ticked, told by the data dataplane, closed. */
#include "rooms.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/clock.h"
#include "src/log.h"
#include "state.h"

int64_t wall_ms(void)
{
    return (int64_t)(clock_wall_ns() / NS_PER_MS);
}

void rooms_ref(struct rooms *rooms)
{
    rooms->references++;
}

void rooms_unref(struct rooms *rooms)
{
    if (--rooms->references > 0)
        return;
    audit_release(rooms->audit);
    index_close(&rooms->rooms_by_id);
    index_close(&rooms->rooms_by_code);
    index_close(&rooms->transports);
    index_close(&rooms->producers);
    index_close(&rooms->consumers);
    cJSON_Delete(rooms->capabilities);
    free(rooms->capabilities_text);
    free(rooms->transport_of_row);
    free(rooms);
}

static void stale_closed(void *context, enum persistence_result result)
{
    struct rooms *rooms = context;

    rooms->stale_asked = false;
    rooms->stale = result != PERSISTED;
    if (rooms->stale)
        LOG(WARN, "rooms", "meetings of an earlier run are not marked closed yet; trying on");
    rooms_unref(rooms);
}

/* Also a start while the database is away; but not among meetings of this run. */
static void stale_close(struct rooms *rooms)
{
    if (!rooms->stale || rooms->stale_asked || rooms->closing || !TAILQ_EMPTY(&rooms->all))
        return;
    rooms->stale_asked = true;
    rooms_ref(rooms);
    meetings_close_stale(rooms->store, wall_ms(), stale_closed, rooms);
}

static void tick(uv_timer_t *timer)
{
    struct rooms *rooms = timer->data;
    uint64_t now_ms = uv_now(rooms->loop);
    struct participant *p, *next;
    struct room *room, *after;

    for (p = TAILQ_FIRST(&rooms->absent); p != NULL; p = next) {
        next = TAILQ_NEXT(p, absent_link);
        if (now_ms < p->grace_until_ms)
            continue;
        participant_remove(p, GONE);
        /* Removing one may shut a room and take others along: start over. */
        next = TAILQ_FIRST(&rooms->absent);
    }
    for (room = TAILQ_FIRST(&rooms->all); room != NULL; room = after) {
        after = TAILQ_NEXT(room, link);
        room_save(room);
    }
    stale_close(rooms);
    sessions_reverify(rooms);
}

bool rooms_check(const struct settings *settings, char *why)
{
    cJSON *capabilities = ortc_router_capabilities(settings->media_codecs, why);
    bool ok = capabilities != NULL && ice_servers_check(settings, why);

    cJSON_Delete(capabilities);
    return ok;
}

struct rooms *rooms_open(uv_loop_t *loop, const struct settings *settings,
                         struct dataplane *dataplane, struct persistence *store, struct auth *auth,
                         struct audit *audit, char *why)
{
    struct rooms *rooms;

    if (!ice_servers_check(settings, why))
        return NULL;
    rooms = calloc(1, sizeof(*rooms));
    if (rooms == NULL) {
        snprintf(why, 192, "no memory for rooms");
        return NULL;
    }
    rooms->references = 1;
    rooms->loop = loop;
    rooms->settings = settings;
    rooms->dataplane = dataplane;
    rooms->store = store;
    rooms->auth = auth;
    rooms->audit = audit;
    audit_hold(audit); /* calls under way may still write when audit_close was called */
    TAILQ_INIT(&rooms->all);
    TAILQ_INIT(&rooms->sessions);
    TAILQ_INIT(&rooms->absent);
    TAILQ_INIT(&rooms->heard);
    TAILQ_INIT(&rooms->touched);
    rooms->transport_of_row = calloc(TRANSPORTS_MAX, sizeof(struct transport *));
    if (rooms->transport_of_row == NULL || !index_open(&rooms->rooms_by_id) ||
        !index_open(&rooms->rooms_by_code) || !index_open(&rooms->transports) ||
        !index_open(&rooms->producers) || !index_open(&rooms->consumers)) {
        snprintf(why, 192, "no memory for rooms");
        rooms_unref(rooms);
        return NULL;
    }
    rooms->capabilities = ortc_router_capabilities(settings->media_codecs, why);
    if (rooms->capabilities != NULL)
        rooms->capabilities_text = cJSON_PrintUnformatted(rooms->capabilities);
    if (rooms->capabilities_text == NULL) {
        rooms_unref(rooms);
        return NULL;
    }
    rooms->tick.data = rooms;
    uv_timer_init(loop, &rooms->tick);
    uv_timer_start(&rooms->tick, tick, TICK_MS, TICK_MS);
    rooms->audio_levels_tick.data = rooms;
    uv_timer_init(loop, &rooms->audio_levels_tick);
    rooms_ref(rooms);
    rooms->stale = true;
    stale_close(rooms);
    return rooms;
}

void rooms_drain(struct rooms *rooms)
{
    rooms->draining = true;
}

static void tick_closed(uv_handle_t *handle)
{
    rooms_unref(handle->data);
}

void rooms_close(struct rooms *rooms)
{
    struct session *session;
    struct room *room, *next;

    if (rooms == NULL)
        return;
    rooms->closing = true;
    for (room = TAILQ_FIRST(&rooms->all); room != NULL; room = next) {
        next = TAILQ_NEXT(room, link);
        if (room->closed)
            room_save(room); /* a last attempt */
        else
            room_close(room, true, NULL);
    }
    while ((session = TAILQ_FIRST(&rooms->sessions)) != NULL) {
        TAILQ_REMOVE(&rooms->sessions, session, link);
        rooms->session_count--;
        live_socket_remove(rooms->live, socket_id(session->socket));
        socket_set_data(session->socket, NULL);
        socket_disconnect(session->socket);
        rate_limit_free(&session->rate);
        free(session->token);
        free(session);
    }
    uv_close((uv_handle_t *)&rooms->tick, tick_closed);
    uv_close((uv_handle_t *)&rooms->audio_levels_tick, tick_closed);
}

uint32_t rooms_participant_count(void *context, const char *room_id)
{
    const struct room *room = context != NULL ? room_find(context, room_id) : NULL;

    return room != NULL ? room->participant_count : 0;
}

/* ---- the data plane's news ---- */

static void plane_changed(void *context, enum table_id table, handle_word handle)
{
    struct rooms *rooms = *(struct rooms **)context;

    if (rooms != NULL && table == TABLE_transport_state)
        transport_changed(rooms, handle);
}

static void plane_up(void *context, bool is_up)
{
    struct rooms *rooms = *(struct rooms **)context;

    if (rooms != NULL && is_up)
        transports_check_all(rooms);
}

const struct dataplane_handlers rooms_dataplane_handlers = {.changed = plane_changed,
                                                            .up = plane_up};
