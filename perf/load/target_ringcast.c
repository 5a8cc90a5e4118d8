/* Ringcast's signaling (and that of whoever speaks the same): the calls of signaling.md in the order in
 * which a browser app makes them, with the RTP parameters that Chromium gives (captures/). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <unistd.h>

#include "session.h"
#include "target.h"

#define STREAMS_AT_ONCE 128 /* calls under way on one session */

struct target {
    struct target_options options;
    struct hub *hub;
    unsigned accounts;
    LIST_HEAD(, target_room) rooms;
};

struct target_room {
    struct target *target;
    char id[64];
    struct session *host; /* until it joins as the first member */
    LIST_HEAD(, target_member) members;
    LIST_ENTRY(target_room) link;
};

struct target_member {
    struct target_room *room;
    struct session *session;
    char *capabilities; /* JSON: what we can take */
    LIST_HEAD(, target_endpoint) endpoints;
    LIST_ENTRY(target_member) link;
};

struct target_endpoint {
    struct target_member *member;
    char id[64];
    char (*waiting)[64]; /* consumers that are not resumed yet */
    unsigned waiting_count;
    LIST_ENTRY(target_endpoint) link;
};

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

static double number_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static void *memory(size_t bytes)
{
    void *p = calloc(1, bytes);

    if (!p)
        abort(); /* without memory there is no measurement */
    return p;
}

/* Which call it was, in front of what went wrong. */
static void during(const char *what, char *why)
{
    char sentence[TARGET_WHY_BYTES];

    snprintf(sentence, sizeof(sentence), "%.80s: %.300s", what, why);
    memcpy(why, sentence, sizeof(sentence));
}

/* ---- accounts, rooms, members ---- */

static struct target *ringcast_open(const struct target_options *options, char *why)
{
    struct target *t = memory(sizeof(*t));

    t->options = *options;
    LIST_INIT(&t->rooms);
    t->hub = hub_open(options->url, why);
    if (t->hub)
        return t;
    free(t);
    return NULL;
}

static struct session *account_open(struct target *t, char *why)
{
    char body[300];
    struct session *session = NULL;
    cJSON *answer;
    long status;

    snprintf(body, sizeof(body),
             "{\"email\":\"load-%d-%ld-%u@example.org\",\"password\":\"correct horse battery\","
             "\"displayName\":\"load %u\"}",
             (int)getpid(), random(), t->accounts, t->accounts);
    t->accounts++;
    answer = hub_call(t->hub, "/auth/register", body, &status, why);
    if (!answer)
        return NULL;
    if (text_of(answer, "accessToken")[0])
        session = session_open(t->hub, text_of(answer, "accessToken"), why);
    else
        snprintf(why, TARGET_WHY_BYTES,
                 "registering was answered with %ld %.200s; a server under load needs "
                 "RINGCAST_LOGIN_ATTEMPTS=100000",
                 status, text_of(answer, "message"));
    cJSON_Delete(answer);
    return session;
}

static struct target_room *ringcast_room_open(struct target *t, char *why)
{
    struct target_room *room = memory(sizeof(*room));
    cJSON *answer = NULL;

    room->target = t;
    LIST_INIT(&room->members);
    room->host = account_open(t, why);
    if (room->host &&
        !(answer = session_wait(
              room->host, session_send(room->host, "room:create", "{\"title\":\"load\"}"), why)))
        during("room:create", why);
    if (!answer) {
        if (room->host)
            session_close(room->host);
        free(room);
        return NULL;
    }
    snprintf(room->id, sizeof(room->id), "%s", text_of(answer, "roomId"));
    cJSON_Delete(answer);
    LIST_INSERT_HEAD(&t->rooms, room, link);
    return room;
}

/* Without what nobody answers: a server that counted on our feedback would measure a bandwidth of 0. */
static void feedback_cut(cJSON *codec)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(codec, "rtcpFeedback");

    for (int i = cJSON_GetArraySize(list) - 1; i >= 0; i--) {
        const char *type = text_of(cJSON_GetArrayItem(list, i), "type");

        if (strcmp(type, "transport-cc") == 0 || strcmp(type, "goog-remb") == 0)
            cJSON_DeleteItemFromArray(list, i);
    }
}

/* The router's capabilities, cut to Opus, VP8 and its RTX. */
static char *own_capabilities(const struct target_options *options, const cJSON *router)
{
    cJSON *own = cJSON_CreateObject(), *codecs = cJSON_AddArrayToObject(own, "codecs");
    cJSON *extensions = cJSON_AddArrayToObject(own, "headerExtensions");
    const cJSON *item;
    double vp8 = -1;
    char *text;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(router, "codecs"))
    {
        const char *mime = text_of(item, "mimeType");
        const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(item, "parameters");

        if (strcasecmp(mime, "video/VP8") == 0)
            vp8 = number_of(item, "preferredPayloadType");
        if (strcasecmp(mime, "video/VP8") == 0 || strcasecmp(mime, "audio/opus") == 0 ||
            number_of(parameters, "apt") == vp8) {
            cJSON *copy = cJSON_Duplicate(item, true);

            if (!options->transport_cc)
                feedback_cut(copy);
            cJSON_AddItemToArray(codecs, copy);
        }
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(router, "headerExtensions"))
    {
        if (options->transport_cc || !strstr(text_of(item, "uri"), "transport-wide-cc"))
            cJSON_AddItemToArray(extensions, cJSON_Duplicate(item, true));
    }
    text = cJSON_PrintUnformatted(own);
    cJSON_Delete(own);
    return text;
}

static struct target_member *ringcast_join(struct target_room *room, char *why)
{
    struct session *session = room->host ? room->host : account_open(room->target, why);
    struct target_member *member;
    cJSON *answer;

    if (!session)
        return NULL;
    room->host = NULL;
    answer = session_wait(session,
                          session_send(session, "room:join", "{\"roomId\":\"%s\"}", room->id), why);
    if (!answer) {
        during("room:join", why);
        session_close(session);
        return NULL;
    }
    member = memory(sizeof(*member));
    member->room = room;
    member->session = session;
    member->capabilities = own_capabilities(
        &room->target->options, cJSON_GetObjectItemCaseSensitive(answer, "rtpCapabilities"));
    cJSON_Delete(answer);
    LIST_INIT(&member->endpoints);
    LIST_INSERT_HEAD(&room->members, member, link);
    return member;
}

static void endpoint_free(struct target_endpoint *e)
{
    LIST_REMOVE(e, link);
    free(e->waiting);
    free(e);
}

static void ringcast_leave(struct target_member *member)
{
    char why[TARGET_WHY_BYTES];

    while (!LIST_EMPTY(&member->endpoints))
        endpoint_free(LIST_FIRST(&member->endpoints));
    cJSON_Delete(session_wait(
        member->session,
        session_send(member->session, "room:leave", "{\"roomId\":\"%s\"}", member->room->id), why));
    session_close(member->session);
    LIST_REMOVE(member, link);
    free(member->capabilities);
    free(member);
}

static void ringcast_room_close(struct target_room *room)
{
    while (!LIST_EMPTY(&room->members))
        ringcast_leave(LIST_FIRST(&room->members));
    if (room->host)
        session_close(room->host);
    LIST_REMOVE(room, link);
    free(room);
}

static void ringcast_close(struct target *t)
{
    while (!LIST_EMPTY(&t->rooms))
        ringcast_room_close(LIST_FIRST(&t->rooms));
    hub_close(t->hub);
    free(t);
}

/* ---- endpoints ---- */

static bool remote_read(const cJSON *answer, struct target_remote *remote, char *why)
{
    const cJSON *ice = cJSON_GetObjectItemCaseSensitive(answer, "iceParameters"), *one;
    const cJSON *prints = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(answer, "dtlsParameters"), "fingerprints");

    *remote = (struct target_remote){.address.sin_family = AF_INET};
    snprintf(remote->ufrag, sizeof(remote->ufrag), "%s", text_of(ice, "usernameFragment"));
    snprintf(remote->password, sizeof(remote->password), "%s", text_of(ice, "password"));
    one = cJSON_GetArrayItem(prints, cJSON_GetArraySize(prints) - 1);
    snprintf(remote->algorithm, sizeof(remote->algorithm), "%s", text_of(one, "algorithm"));
    snprintf(remote->fingerprint, sizeof(remote->fingerprint), "%s", text_of(one, "value"));
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(answer, "iceCandidates"))
    {
        const char *address =
            text_of(one, "address")[0] ? text_of(one, "address") : text_of(one, "ip");

        if (remote->address.sin_port == 0 && strcmp(text_of(one, "protocol"), "udp") == 0 &&
            inet_pton(AF_INET, address, &remote->address.sin_addr) == 1)
            remote->address.sin_port = htons((uint16_t)number_of(one, "port"));
    }
    if (remote->ufrag[0] && remote->password[0] && remote->fingerprint[0] &&
        remote->address.sin_port)
        return true;
    snprintf(why, TARGET_WHY_BYTES,
             "media:createTransport gave no ICE parameters, no fingerprint or no UDP candidate "
             "with an IPv4 address");
    return false;
}

static struct target_endpoint *transport_open(struct target_member *member, const char *direction,
                                              const struct target_local *local,
                                              struct target_remote *remote, char *why)
{
    struct session *s = member->session;
    struct target_endpoint *e;
    cJSON *answer;
    bool ok;

    answer = session_wait(s,
                          session_send(s, "media:createTransport",
                                       "{\"roomId\":\"%s\",\"direction\":\"%s\"}", member->room->id,
                                       direction),
                          why);
    if (!answer) {
        during("media:createTransport", why);
        return NULL;
    }
    e = memory(sizeof(*e));
    e->member = member;
    LIST_INSERT_HEAD(&member->endpoints, e, link);
    snprintf(e->id, sizeof(e->id), "%s", text_of(answer, "id"));
    ok = remote_read(answer, remote, why);
    cJSON_Delete(answer);
    if (ok) {
        answer = session_wait(
            s,
            session_send(s, "media:connectTransport",
                         "{\"transportId\":\"%s\",\"dtlsParameters\":{\"role\":\"client\","
                         "\"fingerprints\":[{\"algorithm\":\"sha-256\",\"value\":\"%s\"}]}}",
                         e->id, local->fingerprint),
            why);
        ok = answer != NULL;
        if (!ok)
            during("media:connectTransport", why);
        cJSON_Delete(answer);
    }
    if (ok)
        return e;
    endpoint_free(e);
    return NULL;
}

#define EXTENSION(uri, id) "{\"uri\":\"" uri "\",\"id\":" id ",\"encrypt\":false,\"parameters\":{}}"
#define EXTENSIONS_OF_BOTH                                                                 \
    EXTENSION("urn:ietf:params:rtp-hdrext:sdes:mid", "4")                                  \
    "," EXTENSION("http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",            \
                  "2") "," EXTENSION("http://www.ietf.org/id/"                             \
                                     "draft-holmer-rmcat-transport-wide-cc-extensions-01", \
                                     "3") ","

/* captures/produce-av-audio.json and -video.json */
static const char audio_parameters[] =
    "{\"mid\":\"%s\",\"codecs\":[{\"mimeType\":\"audio/opus\",\"payloadType\":%u,"
    "\"clockRate\":48000,\"channels\":2,\"parameters\":{\"minptime\":10,\"useinbandfec\":1},"
    "\"rtcpFeedback\":[{\"type\":\"transport-cc\",\"parameter\":\"\"},"
    "{\"type\":\"nack\",\"parameter\":\"\"}]}],\"headerExtensions\":[" EXTENSIONS_OF_BOTH EXTENSION(
        "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "1") "],"
             "\"encodings\":[{\"ssrc\":%u,\"dtx\":false}],"
             "\"rtcp\":{\"cname\":\"%s\",\"reducedSize\":true},\"msid\":\"load audio\"}";

static const char video_parameters[] =
    "{\"mid\":\"%s\",\"codecs\":[{\"mimeType\":\"video/VP8\",\"payloadType\":%u,"
    "\"clockRate\":90000,\"parameters\":{},\"rtcpFeedback\":["
    "{\"type\":\"goog-remb\",\"parameter\":\"\"},{\"type\":\"transport-cc\",\"parameter\":\"\"},"
    "{\"type\":\"ccm\",\"parameter\":\"fir\"},{\"type\":\"nack\",\"parameter\":\"\"},"
    "{\"type\":\"nack\",\"parameter\":\"pli\"}]},"
    "{\"mimeType\":\"video/rtx\",\"payloadType\":%u,\"clockRate\":90000,"
    "\"parameters\":{\"apt\":%u},\"rtcpFeedback\":[]}],\"headerExtensions\":[" EXTENSIONS_OF_BOTH
        EXTENSION("urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id", "10") "," EXTENSION(
            "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            "11") "," EXTENSION("urn:3gpp:video-orientation",
                                "13") "," EXTENSION("urn:ietf:params:rtp-hdrext:toffset",
                                                    "14") "," EXTENSION("http://www.webrtc.org/"
                                                                        "experiments/rtp-hdrext/"
                                                                        "playout-delay",
                                                                        "5") "],"
                                                                             "\"encodings\":[{"
                                                                             "\"ssrc\":%u,\"rtx\":{"
                                                                             "\"ssrc\":%u},\"dtx\":"
                                                                             "false}],"
                                                                             "\"rtcp\":{\"cname\":"
                                                                             "\"%s\","
                                                                             "\"reducedSize\":true}"
                                                                             ",\"msid\":\"load "
                                                                             "video\"}";

static bool produce(struct target_endpoint *e, const struct target_local *local,
                    struct target_stream *stream, char *why)
{
    struct session *s = e->member->session;
    bool video = stream->kind == STREAM_VIDEO;
    char parameters[3000];
    cJSON *answer;

    if (video)
        snprintf(parameters, sizeof(parameters), video_parameters, stream->mid,
                 stream->payload_type, stream->rtx_payload_type, stream->payload_type, stream->ssrc,
                 stream->rtx_ssrc, local->cname);
    else
        snprintf(parameters, sizeof(parameters), audio_parameters, stream->mid,
                 stream->payload_type, stream->ssrc, local->cname);
    answer = session_wait(s,
                          session_send(s, "media:produce",
                                       "{\"roomId\":\"%s\",\"transportId\":\"%s\","
                                       "\"kind\":\"%s\",\"rtpParameters\":%s,\"appData\":{}}",
                                       e->member->room->id, e->id, video ? "video" : "audio",
                                       parameters),
                          why);
    if (!answer) {
        during("media:produce", why);
        return false;
    }
    snprintf(stream->publication, sizeof(stream->publication), "%s", text_of(answer, "producerId"));
    cJSON_Delete(answer);
    return true;
}

static void ringcast_drop(struct target_endpoint *e)
{
    struct session *s = e->member->session;
    char why[TARGET_WHY_BYTES];

    cJSON_Delete(session_wait(
        s, session_send(s, "media:closeTransport", "{\"transportId\":\"%s\"}", e->id), why));
    endpoint_free(e);
}

static struct target_endpoint *ringcast_publish(struct target_member *member,
                                                const struct target_local *local,
                                                struct target_remote *remote,
                                                struct target_stream *streams, unsigned count,
                                                char *why)
{
    struct target_endpoint *e = transport_open(member, "send", local, remote, why);

    for (unsigned i = 0; e && i < count; i++)
        if (!produce(e, local, &streams[i], why)) {
            ringcast_drop(e);
            return NULL;
        }
    return e;
}

static void consumed(const cJSON *answer, struct target_stream *stream)
{
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(answer, "rtpParameters");
    const cJSON *encoding =
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(parameters, "encodings"), 0);
    const cJSON *codecs = cJSON_GetObjectItemCaseSensitive(parameters, "codecs"), *one;

    stream->ssrc = (uint32_t)number_of(encoding, "ssrc");
    stream->rtx_ssrc =
        (uint32_t)number_of(cJSON_GetObjectItemCaseSensitive(encoding, "rtx"), "ssrc");
    stream->payload_type = (uint8_t)number_of(cJSON_GetArrayItem(codecs, 0), "payloadType");
    stream->rtx_payload_type = (uint8_t)number_of(cJSON_GetArrayItem(codecs, 1), "payloadType");
    snprintf(stream->mid, sizeof(stream->mid), "%s", text_of(parameters, "mid"));
    stream->transport_cc_id = 0;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(parameters, "headerExtensions"))
    {
        if (strstr(text_of(one, "uri"), "transport-wide-cc"))
            stream->transport_cc_id = (uint8_t)number_of(one, "id");
    }
}

/* Calls are sent together, then their acks awaited. */
static bool consume(struct target_endpoint *e, struct target_stream *streams, unsigned count,
                    char *why)
{
    struct session *s = e->member->session;
    uint32_t acks[STREAMS_AT_ONCE];
    bool ok = true;

    for (unsigned i = 0; i < count; i++)
        acks[i] = session_send(s, "media:consume",
                               "{\"roomId\":\"%s\",\"transportId\":\"%s\",\"producerId\":\"%s\","
                               "\"rtpCapabilities\":%s}",
                               e->member->room->id, e->id, streams[i].publication,
                               e->member->capabilities);
    for (unsigned i = 0; i < count && ok; i++) {
        cJSON *answer = session_wait(s, acks[i], why);

        ok = answer != NULL;
        if (ok) {
            consumed(answer, &streams[i]);
            snprintf(e->waiting[e->waiting_count++], sizeof(e->waiting[0]), "%s",
                     text_of(answer, "consumerId"));
        } else {
            during("media:consume", why);
        }
        cJSON_Delete(answer);
    }
    return ok;
}

static struct target_endpoint *
ringcast_subscribe(struct target_member *member, struct target_endpoint *e,
                   const struct target_local *local, struct target_remote *remote,
                   struct target_stream *streams, unsigned count, char *why)
{
    struct target_endpoint *made = NULL;

    if (!e)
        e = made = transport_open(member, "recv", local, remote, why);
    if (!e)
        return NULL;
    e->waiting = realloc(e->waiting, (e->waiting_count + count + 1) * sizeof(e->waiting[0]));
    if (!e->waiting)
        abort();
    for (unsigned at = 0; at < count; at += STREAMS_AT_ONCE) {
        unsigned n = count - at < STREAMS_AT_ONCE ? count - at : STREAMS_AT_ONCE;

        if (consume(e, streams + at, n, why))
            continue;
        if (made)
            ringcast_drop(made);
        return NULL;
    }
    return e;
}

static bool ringcast_start(struct target_endpoint *e, char *why)
{
    struct session *s = e->member->session;
    uint32_t acks[STREAMS_AT_ONCE];
    bool ok = true;

    for (unsigned at = 0; at < e->waiting_count && ok; at += STREAMS_AT_ONCE) {
        unsigned n =
            e->waiting_count - at < STREAMS_AT_ONCE ? e->waiting_count - at : STREAMS_AT_ONCE;

        for (unsigned i = 0; i < n; i++)
            acks[i] = session_send(s, "media:resumeConsumer", "{\"consumerId\":\"%s\"}",
                                   e->waiting[at + i]);
        for (unsigned i = 0; i < n && ok; i++) {
            cJSON *answer = session_wait(s, acks[i], why);

            ok = answer != NULL;
            if (!ok)
                during("media:resumeConsumer", why);
            cJSON_Delete(answer);
        }
    }
    e->waiting_count = 0;
    return ok;
}

static bool ringcast_service(struct target *t, int timeout_ms, char *why)
{
    return hub_service(t->hub, timeout_ms, why);
}

const struct target_type target_ringcast = {
    .name = "ringcast",
    .open = ringcast_open,
    .close = ringcast_close,
    .room_open = ringcast_room_open,
    .room_close = ringcast_room_close,
    .join = ringcast_join,
    .leave = ringcast_leave,
    .publish = ringcast_publish,
    .subscribe = ringcast_subscribe,
    .start = ringcast_start,
    .drop = ringcast_drop,
    .service = ringcast_service,
};
