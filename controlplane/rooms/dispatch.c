/* Dispatch: everything that is checked before the handler of an event runs, in this order: rate
 * limit, name, payload, permission, space in the audit log. */
#include "dispatch.h"

#include "consumer.h"
#include "controlplane/web/memory.h"
#include "events.h"
#include "participant.h"
#include "producer.h"
#include "registry.h"
#include "request.h"
#include "room.h"
#include "session.h"
#include "transport.h"

/* ---- rate limit ---- */

/* Producers in the rooms of this socket. A late joiner may take all of them. */
static uint32_t producers_around(const struct session *session)
{
    const struct participant *p;
    uint32_t count = 0;

    LIST_FOREACH(p, &session->participants, session_link)
    count += p->room->producer_count;
    return count;
}

static bool rate_check(struct request *request)
{
    struct session *session = request->session;
    const struct settings *settings = request->rooms->settings;
    enum rate_class rate = request->event != NULL ? request->event->rate : RATE_COUNTED;

    if (rate == RATE_FREE ||
        (rate == RATE_COUNTED && quota_pass_event(request->rooms, &session->owner)) ||
        (rate == RATE_CONSUMING &&
         quota_pass_consumer_event(request->rooms, &session->owner, producers_around(session))))
        return true;
    if (quota_refusal_is_first(request->rooms, &session->owner))
        audit_write(request->rooms->audit, AUDIT_rate_limited, session->user_id, NULL,
                    socket_client_ip(session->socket), "{\"limit\":%u,\"windowSeconds\":%u}",
                    settings->rate_limit_events, settings->rate_limit_window_s);
    return false;
}

/* ---- permission: each function fills in the request, or answers it and returns false ---- */

/* Finds the room that the payload names, and the sender in it. */
static bool member_resolve(struct request *request)
{
    request->room = room_find(request->rooms, payload_text(request->payload, "roomId"));
    if (request->room == NULL) {
        request_fail(request, ERROR_room_not_found);
        return false;
    }
    if (request->room->closed) {
        request_fail(request, ERROR_room_closed);
        return false;
    }
    LIST_FOREACH(request->participant, &request->session->participants, session_link)
    {
        if (request->participant->room == request->room)
            return true;
    }
    request_fail(request, ERROR_not_in_room);
    return false;
}

/* Finds the object that the payload names. An object of another participant gets the same answer as
 * one that does not exist, so that no client can find out which ids exist. */
static bool owned_resolve(struct request *request)
{
    enum room_error error = ERROR_transport_not_found;

    if (request->event->may == MAY_OWN_TRANSPORT) {
        request->transport =
            transport_find(request->rooms, payload_text(request->payload, "transportId"));
    } else if (request->event->may == MAY_OWN_PRODUCER) {
        error = ERROR_producer_not_found;
        request->producer =
            producer_find(request->rooms, payload_text(request->payload, "producerId"));
        request->transport = request->producer != NULL ? request->producer->transport : NULL;
    } else {
        error = ERROR_consumer_not_found;
        request->consumer =
            consumer_find(request->rooms, payload_text(request->payload, "consumerId"));
        request->transport = request->consumer != NULL ? request->consumer->transport : NULL;
    }
    if (request->transport == NULL || request->transport->owner->session != request->session) {
        request_fail(request, error);
        return false;
    }
    request->participant = request->transport->owner;
    request->room = request->participant->room;
    return true;
}

/* The payload names an object and a room: both the sender and the object must be in the room. */
static bool owned_in_room_resolve(struct request *request)
{
    struct room *room;

    if (!member_resolve(request))
        return false;
    room = request->room;
    if (!owned_resolve(request))
        return false;
    if (request->room == room)
        return true;
    request_fail_because(request, ERROR_not_in_room, "this object belongs to another room");
    return false;
}

static bool permission_check(struct request *request)
{
    enum permission may = request->event->may;

    if (may == MAY_ANYONE)
        return true;
    if (may >= MAY_OWN_TRANSPORT)
        return payload_text(request->payload, "roomId") == NULL ? owned_resolve(request)
                                                                : owned_in_room_resolve(request);
    if (!member_resolve(request))
        return false;
    if (may == MAY_MEMBER || request->participant->role == ROLE_HOST ||
        (may == MAY_MODERATOR && request->participant->role == ROLE_CO_HOST))
        return true;
    request_fail(request, ERROR_not_host);
    return false;
}

/* ---- audit ---- */

static uint64_t audit_rows_of_room(const struct room *room)
{
    const struct participant *p;
    uint64_t rows = 2; /* room_closed or all_muted, and one extra */

    TAILQ_FOREACH(p, &room->participants, link)
    rows += 1 + p->producer_count;
    return rows;
}

static uint64_t audit_rows_max(const struct request *request)
{
    switch (request->event->audit) {
    case AUDIT_NO_ROW:
        return 0;
    case AUDIT_ONE_ROW:
        return 1;
    case AUDIT_ONE_PARTICIPANT: /* producers, user_left, room_closed, and two extra */
        return PRODUCERS_PER_PARTICIPANT_MAX + 4;
    case AUDIT_WHOLE_ROOM:
        break;
    }
    return audit_rows_of_room(request->room);
}

/* False: the audit log has no space for the rows that this request may write. */
static bool audit_check(const struct request *request)
{
    uint64_t rows = audit_rows_max(request);

    return rows == 0 || audit_ready(request->rooms->audit, rows);
}

void event_dispatch(struct socket *socket, const char *name, const cJSON *args, int64_t ack)
{
    char why[PAYLOAD_WHY_BYTES];
    struct request request = {.rooms = socket_context(socket),
                              .socket = socket,
                              .session = socket_data(socket),
                              .event = event_find(name),
                              .name = name,
                              .payload = cJSON_GetArrayItem(args, 0),
                              .ack = ack,
                              .failures = memory_failures()};

    if (request.session == NULL || request.rooms->closing)
        return;
    request.rooms->requests++;
    if (!rate_check(&request))
        request_fail(&request, ERROR_rate_limited);
    else if (request.event == NULL)
        request_fail(&request, ERROR_unknown_event);
    else if (!cJSON_IsObject(request.payload))
        request_fail_because(&request, ERROR_invalid_payload, "%s needs one object", name);
    else if (!payload_check(request.event, request.payload, why))
        request_fail_because(&request, ERROR_invalid_payload, "%s", why);
    else if (!permission_check(&request))
        return; /* already answered */
    else if (!audit_check(&request))
        request_fail(&request, ERROR_unavailable);
    else
        request.event->handle(&request);
}
