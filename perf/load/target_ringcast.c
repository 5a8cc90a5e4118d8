/* Ringcast's signaling, also for other servers that speak it. The requests have the order in which
 * a browser app sends them (controlplane/README.md, Client contract). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "http.h"
#include "json.h"
#include "memory.h"
#include "ringcast_rtp.h"
#include "socketio.h"
#include "target.h"

#define STREAMS_AT_ONCE 128 /* unanswered requests of one session */

struct target {
    struct target_options options;
    struct http_client *http;
    struct socketio *socketio;
    unsigned accounts;
    LIST_HEAD(, target_room) rooms;
};

struct target_room {
    struct target *target;
    char id[64];
    struct session *host; /* created the room; NULL after it has joined as the first member */
    LIST_HEAD(, target_member) members;
    LIST_ENTRY(target_room) link;
};

struct target_member {
    struct target_room *room;
    struct session *session;
    char *capabilities; /* JSON: what it can receive */
    LIST_HEAD(, target_endpoint) endpoints;
    LIST_ENTRY(target_member) link;
};

struct consumer {
    char id[64], publication[TARGET_ID_ROOM];
};

struct target_endpoint {
    struct target_member *member;
    char id[64];
    struct consumer *consumers;
    unsigned consumer_count, resumed_count; /* `start` must resume those after the first ones */
    LIST_ENTRY(target_endpoint) link;
};

/* Puts the name of the failed request in front of `why`. */
static void name_request(const char *request, char *why)
{
    char sentence[TARGET_WHY_BYTES];

    snprintf(sentence, sizeof(sentence), "%.80s: %.300s", request, why);
    memcpy(why, sentence, sizeof(sentence));
}

/* ---- accounts, rooms, members ---- */

static struct target *ringcast_open(const struct target_options *options, char *why)
{
    struct target *t;
    struct server_url url;

    if (!server_url_parse(&url, options->url, why))
        return NULL;
    t = memory_zeroed(1, sizeof(*t));
    t->options = *options;
    LIST_INIT(&t->rooms);
    t->http = http_client_open(&url, why);
    if (t->http && (t->socketio = socketio_open(&url, why)))
        return t;
    http_client_close(t->http);
    free(t);
    return NULL;
}

static struct session *open_account(struct target *t, char *why)
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
    answer = http_client_request(t->http, "/auth/register", body, &status, why);
    if (!answer)
        return NULL;
    if (json_text(answer, "accessToken")[0])
        session = session_open(t->socketio, json_text(answer, "accessToken"), why);
    else
        snprintf(
            why, TARGET_WHY_BYTES,
            "the server refused to register an account: %ld %.200s (for a load test the server "
            "needs RINGCAST_LOGIN_ATTEMPTS=100000)",
            status, json_text(answer, "message"));
    cJSON_Delete(answer);
    return session;
}

static struct target_room *ringcast_room_open(struct target *t, char *why)
{
    struct target_room *room = memory_zeroed(1, sizeof(*room));
    cJSON *answer = NULL;

    room->target = t;
    LIST_INIT(&room->members);
    room->host = open_account(t, why);
    if (room->host &&
        !(answer = session_wait(
              room->host, session_send(room->host, "room:create", "{\"title\":\"load\"}"), why)))
        name_request("room:create", why);
    if (!answer) {
        if (room->host)
            session_close(room->host);
        free(room);
        return NULL;
    }
    snprintf(room->id, sizeof(room->id), "%s", json_text(answer, "roomId"));
    cJSON_Delete(answer);
    LIST_INSERT_HEAD(&t->rooms, room, link);
    return room;
}

static struct target_member *ringcast_join(struct target_room *room, char *why)
{
    struct session *session = room->host ? room->host : open_account(room->target, why);
    struct target_member *member;
    cJSON *answer;

    if (!session)
        return NULL;
    room->host = NULL;
    answer = session_wait(session,
                          session_send(session, "room:join", "{\"roomId\":\"%s\"}", room->id), why);
    if (!answer) {
        name_request("room:join", why);
        session_close(session);
        return NULL;
    }
    member = memory_zeroed(1, sizeof(*member));
    member->room = room;
    member->session = session;
    member->capabilities =
        rtp_capabilities(&room->target->options, json_item(answer, "rtpCapabilities"));
    cJSON_Delete(answer);
    LIST_INIT(&member->endpoints);
    LIST_INSERT_HEAD(&room->members, member, link);
    return member;
}

static void endpoint_free(struct target_endpoint *e)
{
    LIST_REMOVE(e, link);
    free(e->consumers);
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
    socketio_close(t->socketio);
    http_client_close(t->http);
    free(t);
}

/* ---- endpoints ---- */

static bool read_remote(const cJSON *answer, struct target_remote *remote, char *why)
{
    const cJSON *ice = json_item(answer, "iceParameters"), *one;
    const cJSON *prints = json_item(json_item(answer, "dtlsParameters"), "fingerprints");

    *remote = (struct target_remote){.address.sin_family = AF_INET};
    snprintf(remote->ufrag, sizeof(remote->ufrag), "%s", json_text(ice, "usernameFragment"));
    snprintf(remote->password, sizeof(remote->password), "%s", json_text(ice, "password"));
    one = cJSON_GetArrayItem(prints, cJSON_GetArraySize(prints) - 1);
    snprintf(remote->algorithm, sizeof(remote->algorithm), "%s", json_text(one, "algorithm"));
    snprintf(remote->fingerprint, sizeof(remote->fingerprint), "%s", json_text(one, "value"));
    cJSON_ArrayForEach(one, json_item(answer, "iceCandidates"))
    {
        const char *address =
            json_text(one, "address")[0] ? json_text(one, "address") : json_text(one, "ip");

        if (remote->address.sin_port == 0 && strcmp(json_text(one, "protocol"), "udp") == 0 &&
            inet_pton(AF_INET, address, &remote->address.sin_addr) == 1)
            remote->address.sin_port = htons((uint16_t)json_number(one, "port"));
    }
    if (remote->ufrag[0] && remote->password[0] && remote->fingerprint[0] &&
        remote->address.sin_port)
        return true;
    snprintf(why, TARGET_WHY_BYTES,
             "the answer to media:createTransport has no ICE parameters, no fingerprint or no UDP "
             "candidate with an IPv4 address");
    return false;
}

static struct target_endpoint *open_transport(struct target_member *member, const char *direction,
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
        name_request("media:createTransport", why);
        return NULL;
    }
    e = memory_zeroed(1, sizeof(*e));
    e->member = member;
    LIST_INSERT_HEAD(&member->endpoints, e, link);
    snprintf(e->id, sizeof(e->id), "%s", json_text(answer, "id"));
    ok = read_remote(answer, remote, why);
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
            name_request("media:connectTransport", why);
        cJSON_Delete(answer);
    }
    if (ok)
        return e;
    endpoint_free(e);
    return NULL;
}

static bool produce(struct target_endpoint *e, const struct target_local *local,
                    struct target_stream *stream, char *why)
{
    struct session *s = e->member->session;
    bool video = stream->kind == STREAM_VIDEO;
    char parameters[RTP_PARAMETERS_BYTES_MAX];
    cJSON *answer;

    rtp_parameters(stream, local->cname, parameters);
    answer = session_wait(s,
                          session_send(s, "media:produce",
                                       "{\"roomId\":\"%s\",\"transportId\":\"%s\","
                                       "\"kind\":\"%s\",\"rtpParameters\":%s,\"appData\":{}}",
                                       e->member->room->id, e->id, video ? "video" : "audio",
                                       parameters),
                          why);
    if (!answer) {
        name_request("media:produce", why);
        return false;
    }
    snprintf(stream->publication, sizeof(stream->publication), "%s",
             json_text(answer, "producerId"));
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
    struct target_endpoint *e = open_transport(member, "send", local, remote, why);

    for (unsigned i = 0; e && i < count; i++)
        if (!produce(e, local, &streams[i], why)) {
            ringcast_drop(e);
            return NULL;
        }
    return e;
}

/* Sends all requests, then waits for their acks. */
static bool consume(struct target_endpoint *e, struct target_stream *streams, unsigned count,
                    char *why)
{
    struct session *s = e->member->session;
    uint32_t acks[STREAMS_AT_ONCE];
    struct consumer *consumer;
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
            rtp_parameters_read(answer, &streams[i]);
            consumer = &e->consumers[e->consumer_count++];
            snprintf(consumer->id, sizeof(consumer->id), "%s", json_text(answer, "consumerId"));
            memcpy(consumer->publication, streams[i].publication, sizeof(consumer->publication));
        } else {
            name_request("media:consume", why);
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
        e = made = open_transport(member, "recv", local, remote, why);
    if (!e)
        return NULL;
    e->consumers = realloc(e->consumers, (e->consumer_count + count + 1) * sizeof(e->consumers[0]));
    if (!e->consumers)
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

    for (unsigned at = e->resumed_count; at < e->consumer_count && ok; at += STREAMS_AT_ONCE) {
        unsigned left = e->consumer_count - at, n = left < STREAMS_AT_ONCE ? left : STREAMS_AT_ONCE;

        for (unsigned i = 0; i < n; i++)
            acks[i] = session_send(s, "media:resumeConsumer", "{\"consumerId\":\"%s\"}",
                                   e->consumers[at + i].id);
        for (unsigned i = 0; i < n && ok; i++) {
            cJSON *answer = session_wait(s, acks[i], why);

            ok = answer != NULL;
            if (!ok)
                name_request("media:resumeConsumer", why);
            cJSON_Delete(answer);
        }
    }
    e->resumed_count = e->consumer_count;
    return ok;
}

static bool ringcast_prefer(struct target_endpoint *e, const char *publication, unsigned spatial,
                            unsigned temporal, char *why)
{
    struct session *s = e->member->session;
    cJSON *answer = NULL;

    for (unsigned i = 0; i < e->consumer_count; i++) {
        if (strcmp(e->consumers[i].publication, publication) != 0)
            continue;
        answer = session_wait(s,
                              session_send(s, "media:setPreferredLayers",
                                           "{\"consumerId\":\"%s\",\"spatialLayer\":%u,"
                                           "\"temporalLayer\":%u}",
                                           e->consumers[i].id, spatial, temporal),
                              why);
        if (!answer)
            name_request("media:setPreferredLayers", why);
        cJSON_Delete(answer);
        return answer != NULL;
    }
    snprintf(why, TARGET_WHY_BYTES, "the endpoint does not receive %.90s", publication);
    return false;
}

static bool ringcast_service(struct target *t, int timeout_ms, char *why)
{
    return socketio_service(t->socketio, timeout_ms, why);
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
    .prefer = ringcast_prefer,
    .service = ringcast_service,
};
