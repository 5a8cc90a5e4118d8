/* Transports: made, connected, watched, closed. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/random.h"
#include "src/log.h"
#include "state.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 0;
}

void id_bytes(const char *text, uint8_t out[16])
{
    uint32_t n = 0;

    for (; *text != '\0' && n < 32; text++) {
        if (*text == '-')
            continue;
        out[n / 2] = (uint8_t)(n % 2 == 0 ? hex_digit(*text) << 4 : out[n / 2] | hex_digit(*text));
        n++;
    }
}

uint32_t worker_of(const struct transport *transport)
{
    return transport->row.worker;
}

struct transport *transport_find(struct rooms *rooms, const char *id)
{
    return id == NULL ? NULL
                      : INDEX_OWNER(index_get(&rooms->transports, id), struct transport, by_id);
}

struct producer *producer_find(struct rooms *rooms, const char *id)
{
    return id == NULL ? NULL
                      : INDEX_OWNER(index_get(&rooms->producers, id), struct producer, by_id);
}

struct consumer *consumer_find(struct rooms *rooms, const char *id)
{
    return id == NULL ? NULL
                      : INDEX_OWNER(index_get(&rooms->consumers, id), struct consumer, by_id);
}

/* ---- what a client must know to reach a transport (ortc.md §2) ---- */

static void add_candidate(cJSON *list, const char *address, uint16_t port, uint32_t nth)
{
    cJSON *item = cJSON_CreateObject();
    uint32_t preference = nth < 100 ? 10000 - 100 * nth : 100;

    cJSON_AddStringToObject(item, "foundation", "udpcandidate");
    cJSON_AddNumberToObject(item, "priority", (64u << 24) + (preference << 8) + 255);
    cJSON_AddStringToObject(item, "address", address);
    cJSON_AddStringToObject(item, "ip", address);
    cJSON_AddStringToObject(item, "protocol", "udp");
    cJSON_AddNumberToObject(item, "port", port);
    cJSON_AddStringToObject(item, "type", "host");
    cJSON_AddItemToArray(list, item);
}

/* One for each announced address whose family the worker really listens on. */
static cJSON *candidates(struct rooms *rooms, uint32_t worker)
{
    char addresses[SETTING_TEXT_ROOM], *rest = addresses, *word;
    cJSON *list = cJSON_CreateArray();
    struct worker_state_row state;
    uint32_t count = 0;

    if (!dataplane_row_read(rooms->dataplane, TABLE_worker_state, handle_make(worker, 0), &state))
        return list;
    snprintf(addresses, sizeof(addresses), "%s", rooms->settings->media_announced_ip);
    while ((word = strsep(&rest, ",")) != NULL) {
        struct in6_addr address;

        word += strspn(word, " ");
        word[strcspn(word, " ")] = '\0';
        if (word[0] == '\0')
            continue;
        if (inet_pton(AF_INET6, word, &address) == 1 ? !state.has_ipv6 : !state.has_ipv4)
            continue;
        add_candidate(list, word, state.udp_port, count++);
    }
    return list;
}

static void add_fingerprint(cJSON *list, const char *algorithm, const uint8_t *digest, size_t bytes)
{
    static const char digits[] = "0123456789ABCDEF";
    char text[3 * 64 + 1];
    size_t i;

    for (i = 0; i < bytes; i++) {
        text[3 * i] = digits[digest[i] >> 4];
        text[3 * i + 1] = digits[digest[i] & 15];
        text[3 * i + 2] = i + 1 < bytes ? ':' : '\0';
    }
    cJSON_AddItemToArray(list, json_texts("algorithm", algorithm, "value", text, NULL));
}

/* sha-256 last: clients write only the last one into their SDP, and all of them know that one. */
static cJSON *dtls_parameters(struct rooms *rooms)
{
    cJSON *parameters = json_texts("role", "auto", NULL), *list;
    struct node_row node;

    list = cJSON_AddArrayToObject(parameters, "fingerprints");
    if (dataplane_row_read(rooms->dataplane, TABLE_node, 0, &node)) {
        add_fingerprint(list, "sha-512", node.fingerprint_sha_512, 64);
        add_fingerprint(list, "sha-384", node.fingerprint_sha_384, 48);
        add_fingerprint(list, "sha-256", node.fingerprint_sha_256, 32);
    }
    return parameters;
}

static cJSON *ice_parameters(const struct transport_row *row)
{
    cJSON *ice = json_texts("usernameFragment", row->ice_ufrag, "password", row->ice_pwd, NULL);

    cJSON_AddTrueToObject(ice, "iceLite");
    return ice;
}

static cJSON *transport_answer(struct rooms *rooms, const struct transport *transport)
{
    cJSON *answer = json_texts("id", transport->id, NULL), *list;

    cJSON_AddItemToObject(answer, "iceParameters", ice_parameters(&transport->row));
    list = candidates(rooms, transport->row.worker);
    cJSON_AddItemToObject(answer, "iceCandidates", list);
    cJSON_AddItemToObject(answer, "dtlsParameters", dtls_parameters(rooms));
    cJSON_AddItemToObject(answer, "iceServers", ice_servers(rooms, transport->owner->user_id));
    if (cJSON_GetArraySize(list) > 0)
        return answer;
    cJSON_Delete(answer);
    return NULL;
}

/* ---- calls ---- */

void handle_media_get_router_capabilities(struct request *request)
{
    cJSON *value = cJSON_CreateObject();

    cJSON_AddItemToObject(value, "rtpCapabilities",
                          cJSON_CreateRaw(request->rooms->capabilities_text));
    request_succeed(request, value);
}

static struct transport *transport_new(struct participant *owner, enum direction direction)
{
    struct room *room = owner->room;
    struct rooms *rooms = room->rooms;
    int worker =
        dataplane_pick_worker(rooms->dataplane, room->worker, rooms->settings->room_together);
    struct transport *t = worker >= 0 ? calloc(1, sizeof(*t)) : NULL;

    if (t == NULL)
        return NULL;
    uuid_make(t->id);
    id_bytes(t->id, t->row.id);
    t->owner = owner;
    t->row.room = room->handle;
    t->row.worker = (uint32_t)worker;
    t->row.direction = (uint8_t)direction;
    random_word(t->row.ice_ufrag, 32);
    random_word(t->row.ice_pwd, 32);
    TAILQ_INIT(&t->producers);
    TAILQ_INIT(&t->consumers);
    t->handle = dataplane_row_add(rooms->dataplane, TABLE_transport, &t->row, t->row.worker);
    if (t->handle == 0) {
        free(t);
        return NULL;
    }
    rooms->transport_of_row[handle_index(t->handle)] = t;
    index_put(&rooms->transports, &t->by_id, t->id);
    TAILQ_INSERT_TAIL(&owner->transports, t, link);
    owner->transport_count++;
    return t;
}

void handle_media_create_transport(struct request *request)
{
    const char *text = payload_text(request->payload, "direction");
    uint32_t most = request->rooms->settings->transports_per_participant_max;
    enum direction direction;
    struct transport *t;
    cJSON *answer;

    if (text == NULL)
        text = payload_text(request->payload, "dir");
    if (text == NULL || (strcmp(text, "send") != 0 && strcmp(text, "recv") != 0)) {
        request_fail_because(request, ERROR_invalid_payload, "direction is not send or recv");
        return;
    }
    direction = strcmp(text, "send") == 0 ? DIRECTION_send : DIRECTION_recv;
    if (request->caller->transport_count >= most) {
        request_fail_because(request, ERROR_limit_reached, "%u transports; close one first", most);
        return;
    }
    if (!room_assign_worker(request->room)) {
        request_fail_because(request, ERROR_unavailable, "the media service is not running");
        return;
    }
    t = transport_new(request->caller, direction);
    if (t == NULL) {
        request_fail_because(request, ERROR_unavailable, "no room for another transport");
        return;
    }
    answer = transport_answer(request->rooms, t);
    if (answer == NULL) {
        LOG(ERROR, "media",
            "no announced address is of a family that media is received on: set "
            "MEDIASOUP_ANNOUNCED_IP to match MEDIASOUP_LISTEN_IP",
            F("announced", "%s", request->rooms->settings->media_announced_ip));
        transport_close(t, false);
        request_fail_because(request, ERROR_unavailable,
                             "the media service has no address to offer");
        return;
    }
    request_succeed(request, answer);
}

void handle_media_connect_transport(struct request *request)
{
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(request->payload, "dtlsParameters");
    struct transport *t = request->transport;
    struct transport_row row = t->row;
    char why[ORTC_WHY_BYTES];
    cJSON *value;

    if (t->row.dtls_role != DTLS_ROLE_unset) {
        request_fail(request, ERROR_already_connected);
        return;
    }
    if (!ortc_dtls_parameters(parameters, &row, why)) {
        request_fail_because(request, ERROR_invalid_payload, "%s", why);
        return;
    }
    if (!dataplane_row_update(request->rooms->dataplane, TABLE_transport, t->handle, &row,
                              row.worker)) {
        request_fail(request, ERROR_unavailable);
        return;
    }
    t->row = row;
    value = cJSON_CreateObject();
    cJSON_AddTrueToObject(value, "connected");
    request_succeed(request, value);
}

/* The data plane takes checks with the old credentials, too, until one with these has come. */
void handle_media_restart_ice(struct request *request)
{
    struct transport *t = request->transport;
    struct transport_row row = t->row;
    cJSON *value;

    random_word(row.ice_ufrag, 32);
    random_word(row.ice_pwd, 32);
    if (!dataplane_row_update(request->rooms->dataplane, TABLE_transport, t->handle, &row,
                              row.worker)) {
        request_fail(request, ERROR_unavailable);
        return;
    }
    t->row = row;
    value = cJSON_CreateObject();
    cJSON_AddItemToObject(value, "iceParameters", ice_parameters(&t->row));
    request_succeed(request, value);
    explicit_bzero(&row, sizeof(row));
}

void handle_media_close_transport(struct request *request)
{
    cJSON *value = cJSON_CreateObject();

    transport_close(request->transport, true);
    cJSON_AddTrueToObject(value, "closed");
    request_succeed(request, value);
}

/* ---- closing ---- */

static void close_consumers(struct transport *t)
{
    struct consumer *consumer;

    while ((consumer = TAILQ_FIRST(&t->consumers)) != NULL)
        consumer_close(consumer, false);
}

static void close_producers(struct transport *t, bool announced)
{
    struct producer *producer;

    while ((producer = TAILQ_FIRST(&t->producers)) != NULL)
        producer_close(producer, announced);
}

void transport_close(struct transport *t, bool announced)
{
    struct rooms *rooms = t->owner->room->rooms;

    close_consumers(t);
    close_producers(t, announced);
    if (rooms->transport_of_row[handle_index(t->handle)] == t)
        rooms->transport_of_row[handle_index(t->handle)] = NULL;
    dataplane_row_remove(rooms->dataplane, TABLE_transport, t->handle, t->row.worker);
    index_remove(&rooms->transports, &t->by_id);
    TAILQ_REMOVE(&t->owner->transports, t, link);
    t->owner->transport_count--;
    explicit_bzero(&t->row, sizeof(t->row));
    free(t);
}

void media_close_all(struct participant *owner, bool announced)
{
    struct transport *t;

    TAILQ_FOREACH(t, &owner->transports, link)
    close_consumers(t);
    TAILQ_FOREACH(t, &owner->transports, link)
    close_producers(t, announced);
    while ((t = TAILQ_FIRST(&owner->transports)) != NULL)
        transport_close(t, announced);
}

/* ---- what the data plane says ---- */

static const char *ice_text(uint8_t state)
{
    const char *text = field_enum_text(SHOW_ice_state, state);

    return text != NULL ? text : "new";
}

static const char *dtls_text(uint8_t state)
{
    const char *text = field_enum_text(SHOW_dtls_state, state);

    return text != NULL ? text : "new";
}

static void announce_state(struct transport *t, uint8_t ice, uint8_t dtls)
{
    announce(t->owner, NOTICE_transport_state,
             json_texts("transportId", t->id, "iceState", ice_text(ice), "dtlsState",
                        dtls_text(dtls), NULL));
}

/* failure: NULL when it is none. */
static void audit_state(struct transport *t, enum audit_action action, const char *failure)
{
    const struct participant *owner = t->owner;

    audit_write(owner->room->rooms->audit, action, owner->user_id, owner->room->id, owner->ip,
                "{\"transportId\":\"%s\",\"direction\":\"%s\",\"failure\":\"%s\"}", t->id,
                t->row.direction == DIRECTION_send ? "send" : "recv",
                failure != NULL ? failure : "none");
}

/* Nothing can ever flow through it: what hangs on it goes as if its owner had closed it. */
static void dtls_failed(struct transport *t, uint8_t why)
{
    const char *failure = field_enum_text(SHOW_dtls_failure, why);

    LOG(INFO, "media", "transport failed", F("transport", "%s", t->id),
        F("user", "%s", t->owner->user_id), F("failure", "%s", failure));
    audit_state(t, AUDIT_transport_failed, failure);
    transport_close(t, true);
}

void transport_changed(struct rooms *rooms, handle_word handle)
{
    struct transport_state_row state;
    struct transport *t;
    uint8_t ice_told, dtls_told;

    if (handle_index(handle) >= TRANSPORTS_MAX)
        return;
    t = rooms->transport_of_row[handle_index(handle)];
    if (t == NULL || t->handle != handle ||
        !dataplane_row_read(rooms->dataplane, TABLE_transport_state, handle, &state) ||
        (state.ice_state == t->ice_told && state.dtls_state == t->dtls_told))
        return;
    announce_state(t, state.ice_state, state.dtls_state);
    ice_told = t->ice_told;
    dtls_told = t->dtls_told;
    t->ice_told = state.ice_state;
    t->dtls_told = state.dtls_state;
    if (state.dtls_state == DTLS_STATE_connected && dtls_told != DTLS_STATE_connected)
        audit_state(t, AUDIT_transport_connected, NULL);
    /* Checks stopped for consent_timeout: it may come back, but whoever asks why a call broke off wants
     * to find it. */
    if (state.ice_state == ICE_STATE_disconnected && ice_told != ICE_STATE_disconnected)
        audit_state(t, AUDIT_transport_failed, "consent_expired");
    if (state.dtls_state == DTLS_STATE_failed && dtls_told != DTLS_STATE_failed)
        dtls_failed(t, state.dtls_failure);
}

/* A transport whose row is gone belonged to regions that are no more (a new supervisor). */
static void check_participant(struct rooms *rooms, struct participant *p)
{
    struct transport *t, *next;
    struct transport_row row;

    for (t = TAILQ_FIRST(&p->transports); t != NULL; t = next) {
        next = TAILQ_NEXT(t, link);
        if (dataplane_row_read(rooms->dataplane, TABLE_transport, t->handle, &row) &&
            memcmp(row.id, t->row.id, sizeof(row.id)) == 0) {
            transport_changed(rooms, t->handle);
            continue;
        }
        announce_state(t, ICE_STATE_disconnected, DTLS_STATE_failed);
        audit_state(t, AUDIT_transport_failed, "restarted");
        transport_close(t, true);
    }
}

void transports_check_all(struct rooms *rooms)
{
    struct participant *p;
    struct room_row row;
    struct room *room;

    TAILQ_FOREACH(room, &rooms->all, link)
    {
        TAILQ_FOREACH(p, &room->participants, link)
        check_participant(rooms, p);
        if (room->handle != 0 &&
            !dataplane_row_read(rooms->dataplane, TABLE_room, room->handle, &row))
            room->handle = 0;
    }
}
