/* Janus with its VideoRoom plugin, over its HTTP transport. One Janus session carries all handles, so
 * one long poll brings every event.
 *
 *   room      a VideoRoom                 member    nobody: handles join by themselves
 *   endpoint  a handle and its            publication "FEED/MID"
 *             PeerConnection
 *
 * What Janus asks for beside that: session_timeout = 0 (nobody sends keep-alives here). A publisher can
 * be subscribed to only when its PeerConnection is up, so the first who subscribes waits for that. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "sdp.h"
#include "session.h"
#include "src/clock.h"
#include "target.h"

#define NO_SUCH_FEED 428 /* VideoRoom: also a publisher that is not up yet */
#define RETRY_MS 20
#define PATH_BYTES 120

struct target {
    struct target_options options;
    struct hub *hub;
    uint64_t session, control; /* a handle that makes and ends rooms */
    unsigned transactions;
    LIST_HEAD(, target_room) rooms;
};

struct target_room {
    struct target *target;
    uint64_t id;
    LIST_HEAD(, target_member) members;
    LIST_ENTRY(target_room) link;
};

struct target_member {
    struct target_room *room;
    LIST_HEAD(, target_endpoint) endpoints;
    LIST_ENTRY(target_member) link;
};

struct target_endpoint {
    struct target_member *member;
    uint64_t handle;
    struct target_local local;
    char *answer; /* to Janus's offer; `start` sends it */
    LIST_ENTRY(target_endpoint) link;
};

static void *memory(size_t bytes)
{
    void *p = calloc(1, bytes);

    if (!p)
        abort(); /* without memory there is no measurement */
    return p;
}

static const cJSON *item_of(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = item_of(object, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

/* Janus's numbers have 53 bits: a double holds them. */
static uint64_t number_of(const cJSON *object, const char *name)
{
    const cJSON *item = item_of(object, name);

    return cJSON_IsNumber(item) && item->valuedouble > 0 ? (uint64_t)item->valuedouble : 0;
}

/* Digits only: cJSON writes 6453901596010200 as 6.4539015960102e+15, which Janus takes for no integer. */
static void id_add(cJSON *object, const char *name, uint64_t id)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%" PRIu64, id);
    cJSON_AddRawToObject(object, name, digits);
}

static void pause_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l};

    if (ms > 0)
        nanosleep(&t, NULL);
}

/* ---- Janus's calls ---- */

/* Frees the request. The answer: success or ack; error is an error. */
static cJSON *request(struct target *t, uint64_t handle, cJSON *request, char *why)
{
    char path[PATH_BYTES] = "/janus", transaction[24], *body;
    const cJSON *error;
    cJSON *answer;
    long status;

    if (handle)
        snprintf(path, sizeof(path), "/janus/%" PRIu64 "/%" PRIu64, t->session, handle);
    else if (t->session)
        snprintf(path, sizeof(path), "/janus/%" PRIu64, t->session);
    snprintf(transaction, sizeof(transaction), "%u", ++t->transactions);
    cJSON_AddStringToObject(request, "transaction", transaction);
    body = cJSON_PrintUnformatted(request);
    answer = hub_call(t->hub, path, body, &status, why);
    free(body);
    cJSON_Delete(request);
    error = item_of(answer, "error");
    if (!error)
        return answer;
    snprintf(why, TARGET_WHY_BYTES, "Janus refused: %.200s (%" PRIu64 ")", text_of(error, "reason"),
             number_of(error, "code"));
    cJSON_Delete(answer);
    return NULL;
}

/* The events that wait, oldest first, as an array; after 30 s without any a keep-alive. */
static cJSON *events_wait(struct target *t, char *why)
{
    char path[PATH_BYTES];
    cJSON *events, *list;
    long status;

    snprintf(path, sizeof(path), "/janus/%" PRIu64 "?maxev=10", t->session);
    events = hub_call(t->hub, path, NULL, &status, why);
    if (!events || cJSON_IsArray(events))
        return events;
    list = cJSON_CreateArray();
    cJSON_AddItemToArray(list, events);
    return list;
}

/* What the plugin says: its data in the answer or event, unless it is an error. */
static bool is_good(const cJSON *message, int *code, char *why)
{
    const cJSON *data = item_of(item_of(message, "plugindata"), "data");

    *code = (int)number_of(data, "error_code");
    if (data && *code == 0)
        return true;
    snprintf(why, TARGET_WHY_BYTES, "VideoRoom refused: %.200s (%d)",
             data ? text_of(data, "error") : "an event without data", *code);
    return false;
}

static cJSON *message(const char *room_request, const struct target_room *room, cJSON **body)
{
    cJSON *m = cJSON_CreateObject();

    cJSON_AddStringToObject(m, "janus", "message");
    *body = cJSON_AddObjectToObject(m, "body");
    cJSON_AddStringToObject(*body, "request", room_request);
    if (room)
        id_add(*body, "room", room->id);
    return m;
}

static void describe(cJSON *m, const char *type, const char *sdp)
{
    cJSON *jsep = cJSON_AddObjectToObject(m, "jsep");

    cJSON_AddStringToObject(jsep, "type", type);
    cJSON_AddStringToObject(jsep, "sdp", sdp);
    cJSON_AddBoolToObject(jsep, "trickle", false);
}

/* Sends a message that an event answers, and waits for that event. code: the plugin's error, or 0. */
static cJSON *ask(struct target *t, uint64_t handle, cJSON *m, int *code, char *why)
{
    uint64_t deadline = clock_monotonic_ns() + TARGET_CALL_TIMEOUT_MS * NS_PER_MS;
    cJSON *answer = request(t, handle, m, why), *found = NULL;
    char transaction[24];

    *code = 0;
    if (!answer)
        return NULL;
    cJSON_Delete(answer);
    snprintf(transaction, sizeof(transaction), "%u", t->transactions);
    while (!found && clock_monotonic_ns() < deadline) {
        cJSON *events = events_wait(t, why);

        if (!events)
            return NULL;
        for (int i = 0; i < cJSON_GetArraySize(events) && !found; i++)
            if (strcmp(text_of(cJSON_GetArrayItem(events, i), "transaction"), transaction) == 0)
                found = cJSON_DetachItemFromArray(events, i);
        cJSON_Delete(events);
    }
    if (!found)
        snprintf(why, TARGET_WHY_BYTES, "no event of Janus within 15 s");
    else if (is_good(found, code, why))
        return found;
    cJSON_Delete(found);
    return NULL;
}

static const cJSON *data_of(const cJSON *event)
{
    return item_of(item_of(event, "plugindata"), "data");
}

static uint64_t attach(struct target *t, char *why)
{
    cJSON *m = cJSON_CreateObject(), *answer;
    uint64_t handle;

    cJSON_AddStringToObject(m, "janus", "attach");
    cJSON_AddStringToObject(m, "plugin", "janus.plugin.videoroom");
    answer = request(t, 0, m, why);
    handle = number_of(item_of(answer, "data"), "id");
    cJSON_Delete(answer);
    return handle;
}

static void detach(struct target *t, uint64_t handle)
{
    cJSON *m = cJSON_CreateObject();
    char why[TARGET_WHY_BYTES];

    cJSON_AddStringToObject(m, "janus", "detach");
    cJSON_Delete(request(t, handle, m, why));
}

/* ---- session, rooms, members ---- */

static void janus_close(struct target *t);

static struct target *janus_open(const struct target_options *options, char *why)
{
    struct target *t = memory(sizeof(*t));
    cJSON *m = cJSON_CreateObject(), *answer;

    t->options = *options;
    LIST_INIT(&t->rooms);
    cJSON_AddStringToObject(m, "janus", "create");
    t->hub = hub_open(options->url, why);
    if (!t->hub) {
        cJSON_Delete(m);
        free(t);
        return NULL;
    }
    answer = request(t, 0, m, why);
    t->session = number_of(item_of(answer, "data"), "id");
    cJSON_Delete(answer);
    if (t->session && (t->control = attach(t, why)))
        return t;
    janus_close(t);
    return NULL;
}

static struct target_room *janus_room_open(struct target *t, char *why)
{
    struct target_room *room;
    cJSON *body, *answer, *m = message("create", NULL, &body);
    uint64_t id = 0;
    int code;

    cJSON_AddNumberToObject(body, "publishers", 10000);
    cJSON_AddNumberToObject(body, "bitrate", 0); /* no limit */
    cJSON_AddNumberToObject(body, "fir_freq", 0);
    cJSON_AddStringToObject(body, "audiocodec", "opus");
    cJSON_AddStringToObject(body, "videocodec", "vp8");
    cJSON_AddBoolToObject(body, "audiolevel_event", false);
    cJSON_AddBoolToObject(body, "notify_joining", false);
    cJSON_AddBoolToObject(body, "transport_wide_cc_ext", true);
    answer = request(t, t->control, m, why);
    if (answer && is_good(answer, &code, why))
        id = number_of(data_of(answer), "room");
    cJSON_Delete(answer);
    if (!id)
        return NULL;
    room = memory(sizeof(*room));
    room->target = t;
    room->id = id;
    LIST_INIT(&room->members);
    LIST_INSERT_HEAD(&t->rooms, room, link);
    return room;
}

static struct target_member *janus_join(struct target_room *room, char *why)
{
    struct target_member *member = memory(sizeof(*member));

    member->room = room;
    LIST_INIT(&member->endpoints);
    LIST_INSERT_HEAD(&room->members, member, link);
    return member;
}

static void janus_drop(struct target_endpoint *e)
{
    detach(e->member->room->target, e->handle);
    LIST_REMOVE(e, link);
    free(e->answer);
    free(e);
}

static void janus_leave(struct target_member *member)
{
    while (!LIST_EMPTY(&member->endpoints))
        janus_drop(LIST_FIRST(&member->endpoints));
    LIST_REMOVE(member, link);
    free(member);
}

static void janus_room_close(struct target_room *room)
{
    char why[TARGET_WHY_BYTES];
    cJSON *body;

    while (!LIST_EMPTY(&room->members))
        janus_leave(LIST_FIRST(&room->members));
    cJSON_Delete(
        request(room->target, room->target->control, message("destroy", room, &body), why));
    LIST_REMOVE(room, link);
    free(room);
}

static void janus_close(struct target *t)
{
    char why[TARGET_WHY_BYTES];
    cJSON *m = cJSON_CreateObject();

    while (!LIST_EMPTY(&t->rooms))
        janus_room_close(LIST_FIRST(&t->rooms));
    cJSON_AddStringToObject(m, "janus", "destroy");
    if (t->session)
        cJSON_Delete(request(t, 0, m, why));
    else
        cJSON_Delete(m);
    hub_close(t->hub);
    free(t);
}

/* ---- endpoints ---- */

static struct target_endpoint *endpoint_open(struct target_member *member,
                                             const struct target_local *local, char *why)
{
    uint64_t handle = attach(member->room->target, why);
    struct target_endpoint *e;

    if (!handle)
        return NULL;
    e = memory(sizeof(*e));
    e->member = member;
    e->handle = handle;
    e->local = *local;
    LIST_INSERT_HEAD(&member->endpoints, e, link);
    return e;
}

/* From Janus's answer: which payload types it wants, and the names of what is published now. */
static bool published(const cJSON *event, struct target_remote *remote,
                      struct target_stream *streams, unsigned count, char *why)
{
    uint64_t feed = number_of(data_of(event), "id");
    struct sdp sdp;
    bool ok;

    if (!sdp_read(text_of(item_of(event, "jsep"), "sdp"), false, &sdp, why))
        return false;
    *remote = sdp.remote;
    ok = feed && sdp.media_count == count;
    for (unsigned i = 0; i < count && ok; i++) {
        ok = sdp.media[i].active && sdp.media[i].kind == streams[i].kind;
        streams[i].payload_type = sdp.media[i].payload_type;
        if (sdp.media[i].rtx_payload_type)
            streams[i].rtx_payload_type = sdp.media[i].rtx_payload_type;
        snprintf(streams[i].publication, TARGET_ID_ROOM, "%" PRIu64 "/%s", feed, streams[i].mid);
    }
    free(sdp.media);
    if (!ok)
        snprintf(why, TARGET_WHY_BYTES, "Janus does not take all streams that were offered");
    return ok;
}

static struct target_endpoint *janus_publish(struct target_member *member,
                                             const struct target_local *local,
                                             struct target_remote *remote,
                                             struct target_stream *streams, unsigned count,
                                             char *why)
{
    struct target_endpoint *e;
    cJSON *body, *m, *event;
    char *offer;
    bool ok;
    int code;

    if (count == 0) {
        snprintf(why, TARGET_WHY_BYTES, "Janus knows no publisher without a stream");
        return NULL;
    }
    e = endpoint_open(member, local, why);
    if (!e)
        return NULL;
    m = message("joinandconfigure", member->room, &body);
    cJSON_AddStringToObject(body, "ptype", "publisher");
    offer = sdp_offer(local, streams, count);
    describe(m, "offer", offer);
    free(offer);
    event = ask(member->room->target, e->handle, m, &code, why);
    ok = event && published(event, remote, streams, count, why);
    cJSON_Delete(event);
    if (ok)
        return e;
    janus_drop(e);
    return NULL;
}

/* "FEED/MID" */
static bool is_publication(const cJSON *stream, const char *publication)
{
    char name[TARGET_ID_ROOM];

    snprintf(name, sizeof(name), "%" PRIu64 "/%s", number_of(stream, "feed_id"),
             text_of(stream, "feed_mid"));
    return strcmp(name, publication) == 0;
}

/* Janus's list of streams says in which m-line what comes. */
static bool subscribed(const cJSON *list, const struct sdp *sdp, struct target_stream *stream,
                       char *why)
{
    const cJSON *one;

    cJSON_ArrayForEach(one, list)
    {
        uint64_t at = number_of(one, "mindex");
        const struct sdp_media *m = &sdp->media[at < sdp->media_count ? at : 0];

        if (!is_publication(one, stream->publication) || at >= sdp->media_count || !m->active ||
            m->kind != stream->kind)
            continue;
        stream->ssrc = m->ssrc;
        stream->rtx_ssrc = m->rtx_ssrc;
        stream->payload_type = m->payload_type;
        stream->rtx_payload_type = m->rtx_payload_type;
        stream->transport_cc_id = m->transport_cc_id;
        memcpy(stream->mid, m->mid, sizeof(stream->mid));
        return true;
    }
    snprintf(why, TARGET_WHY_BYTES, "Janus's offer is without %.90s", stream->publication);
    return false;
}

static bool offered(struct target_endpoint *e, const cJSON *event, struct target_remote *remote,
                    struct target_stream *streams, unsigned count, char *why)
{
    const char *offer = text_of(item_of(event, "jsep"), "sdp");
    bool transport_cc = e->member->room->target->options.transport_cc;
    struct sdp sdp;
    bool ok = true;

    if (!sdp_read(offer, true, &sdp, why))
        return false;
    if (remote)
        *remote = sdp.remote;
    for (unsigned i = 0; i < count && ok; i++)
        ok = subscribed(item_of(data_of(event), "streams"), &sdp, &streams[i], why);
    free(sdp.media);
    free(e->answer);
    e->answer = sdp_answer(offer, &e->local, transport_cc);
    return ok;
}

static cJSON *subscription(struct target_endpoint *e, bool is_new,
                           const struct target_stream *streams, unsigned count)
{
    cJSON *body,
        *m = message(is_new ? "join" : "subscribe", is_new ? e->member->room : NULL, &body);
    cJSON *list = cJSON_AddArrayToObject(body, "streams");

    if (is_new) {
        cJSON_AddStringToObject(body, "ptype", "subscriber");
        cJSON_AddBoolToObject(body, "autoupdate", false);
    }
    for (unsigned i = 0; i < count; i++) {
        cJSON *one = cJSON_CreateObject();
        const char *mid = strchr(streams[i].publication, '/');

        id_add(one, "feed", strtoull(streams[i].publication, NULL, 10));
        cJSON_AddStringToObject(one, "mid", mid ? mid + 1 : "");
        cJSON_AddItemToArray(list, one);
    }
    return m;
}

static bool janus_start(struct target_endpoint *e, char *why)
{
    cJSON *body, *m, *event;
    int code;

    if (!e->answer)
        return true;
    m = message("start", NULL, &body);
    describe(m, "answer", e->answer);
    free(e->answer);
    e->answer = NULL;
    event = ask(e->member->room->target, e->handle, m, &code, why);
    cJSON_Delete(event);
    return event != NULL;
}

static struct target_endpoint *
janus_subscribe(struct target_member *member, struct target_endpoint *e,
                const struct target_local *local, struct target_remote *remote,
                struct target_stream *streams, unsigned count, char *why)
{
    uint64_t deadline = clock_monotonic_ns() + TARGET_CALL_TIMEOUT_MS * NS_PER_MS;
    bool is_new = e == NULL, ok;
    cJSON *event;
    int code;

    if (count == 0) {
        snprintf(why, TARGET_WHY_BYTES, "Janus knows no subscriber without a stream (--idle)");
        return NULL;
    }
    if (is_new && !(e = endpoint_open(member, local, why)))
        return NULL;
    while (!(event = ask(member->room->target, e->handle, subscription(e, is_new, streams, count),
                         &code, why)) &&
           code == NO_SUCH_FEED && clock_monotonic_ns() < deadline)
        pause_ms(RETRY_MS);
    if (event)
        why[0] = '\0'; /* of the attempts before */
    ok = event && offered(e, event, is_new ? remote : NULL, streams, count, why);
    cJSON_Delete(event);
    /* A new one is answered at once: Janus's ICE agent must know us before our first check, and
     * before the handshake nothing arrives. */
    if (ok && is_new)
        ok = janus_start(e, why);
    if (ok)
        return e;
    if (is_new)
        janus_drop(e);
    return NULL;
}

/* Events pile up at Janus until somebody asks something: nobody here needs one that he did not cause. */
static bool janus_service(struct target *t, int timeout_ms, char *why)
{
    pause_ms(timeout_ms);
    return true;
}

const struct target_type target_janus = {
    .name = "janus",
    .open = janus_open,
    .close = janus_close,
    .room_open = janus_room_open,
    .room_close = janus_room_close,
    .join = janus_join,
    .leave = janus_leave,
    .publish = janus_publish,
    .subscribe = janus_subscribe,
    .start = janus_start,
    .drop = janus_drop,
    .service = janus_service,
};
