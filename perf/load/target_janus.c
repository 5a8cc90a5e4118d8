/* Janus with its VideoRoom plugin. What the words of target.h are at Janus:
 *
 *   room         a VideoRoom
 *   member       nothing: each handle joins by itself
 *   endpoint     a handle and its PeerConnection
 *   publication  "FEED/MID"
 *
 * Janus needs the setting session_timeout = 0, because nothing here sends keep-alives. Nobody can
 * subscribe to a publisher before its PeerConnection is up, so the first subscriber waits for
 * that. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "janus_api.h"
#include "json.h"
#include "memory.h"
#include "sdp.h"
#include "src/clock.h"
#include "target.h"

#define NO_SUCH_FEED 428 /* VideoRoom: no such publisher, or it is not up yet */
#define RETRY_MS 20

struct target {
    struct target_options options;
    struct janus *janus;
    uint64_t control; /* the handle that creates and destroys rooms */
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
    char *answer; /* SDP: the answer to Janus's offer, which `start` must send */
    LIST_ENTRY(target_endpoint) link;
};

static void pause_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l};

    if (ms > 0)
        nanosleep(&t, NULL);
}

/* ---- session, rooms, members ---- */

static struct target *janus_open(const struct target_options *options, char *why)
{
    struct target *t = memory_zeroed(1, sizeof(*t));

    t->options = *options;
    LIST_INIT(&t->rooms);
    t->janus = janus_connect(options->url, why);
    if (t->janus && (t->control = janus_attach(t->janus, why)))
        return t;
    if (t->janus)
        janus_disconnect(t->janus);
    free(t);
    return NULL;
}

static struct target_room *janus_room_open(struct target *t, char *why)
{
    struct target_room *room;
    cJSON *body, *answer, *m = janus_message("create", 0, &body);
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
    answer = janus_request(t->janus, t->control, m, why);
    if (answer && janus_is_success(answer, &code, why))
        id = janus_id(janus_data(answer), "room");
    cJSON_Delete(answer);
    if (!id)
        return NULL;
    room = memory_zeroed(1, sizeof(*room));
    room->target = t;
    room->id = id;
    LIST_INIT(&room->members);
    LIST_INSERT_HEAD(&t->rooms, room, link);
    return room;
}

static struct target_member *janus_join(struct target_room *room, char *why)
{
    struct target_member *member = memory_zeroed(1, sizeof(*member));

    member->room = room;
    LIST_INIT(&member->endpoints);
    LIST_INSERT_HEAD(&room->members, member, link);
    return member;
}

static void janus_drop(struct target_endpoint *e)
{
    janus_detach(e->member->room->target->janus, e->handle);
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
    cJSON_Delete(janus_request(room->target->janus, room->target->control,
                               janus_message("destroy", room->id, &body), why));
    LIST_REMOVE(room, link);
    free(room);
}

static void janus_close(struct target *t)
{
    while (!LIST_EMPTY(&t->rooms))
        janus_room_close(LIST_FIRST(&t->rooms));
    janus_disconnect(t->janus);
    free(t);
}

/* ---- endpoints ---- */

static struct target_endpoint *open_endpoint(struct target_member *member,
                                             const struct target_local *local, char *why)
{
    uint64_t handle = janus_attach(member->room->target->janus, why);
    struct target_endpoint *e;

    if (!handle)
        return NULL;
    e = memory_zeroed(1, sizeof(*e));
    e->member = member;
    e->handle = handle;
    e->local = *local;
    LIST_INSERT_HEAD(&member->endpoints, e, link);
    return e;
}

/* Reads from Janus's answer which payload types it wants and how it names the publications. */
static bool read_answer(const cJSON *event, struct target_remote *remote,
                        struct target_stream *streams, unsigned count, char *why)
{
    uint64_t feed = janus_id(janus_data(event), "id");
    struct sdp sdp;
    bool ok;

    if (!sdp_read(json_text(json_item(event, "jsep"), "sdp"), false, &sdp, why))
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
        snprintf(why, TARGET_WHY_BYTES, "Janus did not accept all offered streams");
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
        snprintf(why, TARGET_WHY_BYTES, "Janus does not allow a publisher without a stream");
        return NULL;
    }
    e = open_endpoint(member, local, why);
    if (!e)
        return NULL;
    m = janus_message("joinandconfigure", member->room->id, &body);
    cJSON_AddStringToObject(body, "ptype", "publisher");
    offer = sdp_offer(local, streams, count);
    janus_add_sdp(m, "offer", offer);
    free(offer);
    event = janus_ask(member->room->target->janus, e->handle, m, &code, why);
    ok = event && read_answer(event, remote, streams, count, why);
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

    snprintf(name, sizeof(name), "%" PRIu64 "/%s", janus_id(stream, "feed_id"),
             json_text(stream, "feed_mid"));
    return strcmp(name, publication) == 0;
}

/* Finds the m-line of `stream` through Janus's list of streams. */
static bool read_stream(const cJSON *list, const struct sdp *sdp, struct target_stream *stream,
                        char *why)
{
    const cJSON *one;

    cJSON_ArrayForEach(one, list)
    {
        uint64_t at = janus_id(one, "mindex");
        const struct sdp_media *m = &sdp->media[at < sdp->media_count ? at : 0];

        if (!is_publication(one, stream->publication) || at >= sdp->media_count || !m->active ||
            m->kind != stream->kind)
            continue;
        stream->ssrc = m->ssrc;
        stream->rtx_ssrc = m->rtx_ssrc;
        stream->payload_type = m->payload_type;
        stream->rtx_payload_type = m->rtx_payload_type;
        stream->transport_cc_id = m->transport_cc_id;
        stream->nack = m->kind == STREAM_VIDEO;
        memcpy(stream->mid, m->mid, sizeof(stream->mid));
        return true;
    }
    snprintf(why, TARGET_WHY_BYTES, "Janus's offer does not contain %.90s", stream->publication);
    return false;
}

static bool read_offer(struct target_endpoint *e, const cJSON *event, struct target_remote *remote,
                       struct target_stream *streams, unsigned count, char *why)
{
    const char *offer = json_text(json_item(event, "jsep"), "sdp");
    bool transport_cc = e->member->room->target->options.transport_cc;
    struct sdp sdp;
    bool ok = true;

    if (!sdp_read(offer, true, &sdp, why))
        return false;
    if (remote)
        *remote = sdp.remote;
    for (unsigned i = 0; i < count && ok; i++)
        ok = read_stream(json_item(janus_data(event), "streams"), &sdp, &streams[i], why);
    free(sdp.media);
    free(e->answer);
    e->answer = sdp_answer(offer, &e->local, transport_cc);
    return ok;
}

static cJSON *subscribe_message(struct target_endpoint *e, bool is_new,
                                const struct target_stream *streams, unsigned count)
{
    cJSON *body,
        *m = janus_message(is_new ? "join" : "subscribe", is_new ? e->member->room->id : 0, &body);
    cJSON *list = cJSON_AddArrayToObject(body, "streams");

    if (is_new) {
        cJSON_AddStringToObject(body, "ptype", "subscriber");
        cJSON_AddBoolToObject(body, "autoupdate", false);
    }
    for (unsigned i = 0; i < count; i++) {
        cJSON *one = cJSON_CreateObject();
        const char *mid = strchr(streams[i].publication, '/');

        janus_add_id(one, "feed", strtoull(streams[i].publication, NULL, 10));
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
    m = janus_message("start", 0, &body);
    janus_add_sdp(m, "answer", e->answer);
    free(e->answer);
    e->answer = NULL;
    event = janus_ask(e->member->room->target->janus, e->handle, m, &code, why);
    cJSON_Delete(event);
    return event != NULL;
}

static struct target_endpoint *
janus_subscribe(struct target_member *member, struct target_endpoint *e,
                const struct target_local *local, struct target_remote *remote,
                struct target_stream *streams, unsigned count, char *why)
{
    uint64_t deadline = clock_monotonic_ns() + TARGET_REQUEST_TIMEOUT_MS * NS_PER_MS;
    bool is_new = e == NULL, ok;
    cJSON *event;
    int code;

    if (count == 0) {
        snprintf(why, TARGET_WHY_BYTES,
                 "Janus does not allow a subscriber without a stream, so --idle is not possible");
        return NULL;
    }
    if (is_new && !(e = open_endpoint(member, local, why)))
        return NULL;
    while (!(event = janus_ask(member->room->target->janus, e->handle,
                               subscribe_message(e, is_new, streams, count), &code, why)) &&
           code == NO_SUCH_FEED && clock_monotonic_ns() < deadline)
        pause_ms(RETRY_MS);
    if (event)
        why[0] = '\0'; /* forget the refusals before */
    ok = event && read_offer(e, event, is_new ? remote : NULL, streams, count, why);
    cJSON_Delete(event);
    /* Answer at once: Janus's ICE agent must know this endpoint before its first check arrives. No
     * media can arrive before the handshake, so this does not start the streams too early. */
    if (ok && is_new)
        ok = janus_start(e, why);
    if (ok)
        return e;
    if (is_new)
        janus_drop(e);
    return NULL;
}

/* Nothing to do: Janus keeps its events until the next janus_ask, which ignores foreign ones. */
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
