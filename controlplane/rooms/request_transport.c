/* Requests about transports: create, connect, restart ICE, close; and the router's capabilities. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/ortc/ortc.h"
#include "controlplane/web/json.h"
#include "events.h"
#include "ice_servers.h"
#include "participant.h"
#include "registry.h"
#include "request.h"
#include "room.h"
#include "room_json.h"
#include "src/log.h"
#include "src/random.h"
#include "transport.h"

/* ---- what a client must know to connect a transport ---- */

/* nth: the earlier an address is configured, the higher is its priority. */
static void add_candidate(cJSON *list, const char *address, uint16_t port, uint32_t nth)
{
    cJSON *item = json_new_object();
    uint32_t local_preference = nth < 100 ? 10000 - 100 * nth : 100;

    cJSON_AddStringToObject(item, "foundation", "udpcandidate");
    /* RFC 8445, section 5.1.2.1, with type preference 64 and component 1 */
    cJSON_AddNumberToObject(item, "priority", (64u << 24) + (local_preference << 8) + 255);
    cJSON_AddStringToObject(item, "address", address);
    cJSON_AddStringToObject(item, "ip", address);
    cJSON_AddStringToObject(item, "protocol", "udp");
    cJSON_AddNumberToObject(item, "port", port);
    cJSON_AddStringToObject(item, "type", "host");
    json_push(list, item);
}

/* One candidate per announced address, if the worker listens on an address of the same family. */
static cJSON *candidates(struct rooms *rooms, uint32_t worker)
{
    char addresses[SETTING_TEXT_ROOM], *rest = addresses, *word;
    cJSON *list = json_new_array();
    struct worker_state_row state;
    uint32_t count = 0;

    if (!dataplane_row_read(rooms->dataplane, TABLE_worker_state, handle_make(worker, 0), &state))
        return list;
    snprintf(addresses, sizeof(addresses), "%s", rooms->settings->media_announced_ip);
    while ((word = strsep(&rest, ",")) != NULL) {
        struct in6_addr address;

        word += strspn(word, " ");
        word[strcspn(word, " ")] = '\0';
        word = (char *)settings_address_plain(word);
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
    json_push(list, json_texts("algorithm", algorithm, "value", text, NULL));
}

/* sha-256 comes last: mediasoup-client writes only the last
 * one into its SDP, and all browsers know sha-256. */
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

/* NULL: there is no candidate. */
static cJSON *transport_answer(struct rooms *rooms, const struct transport *t)
{
    cJSON *answer = json_texts("id", t->id, NULL), *list;
    bool has_candidate;

    json_add(answer, "iceParameters", ice_parameters(&t->row));
    list = candidates(rooms, t->row.worker);
    has_candidate = cJSON_GetArraySize(list) > 0;
    json_add(answer, "iceCandidates", list);
    json_add(answer, "dtlsParameters", dtls_parameters(rooms));
    json_add(answer, "iceServers", ice_servers(rooms->settings, t->owner->user_id));
    if (has_candidate || !json_is_complete(answer))
        return answer;
    cJSON_Delete(answer);
    return NULL;
}

/* ---- handlers ---- */

void handle_media_get_router_capabilities(struct request *request)
{
    cJSON *value = json_new_object();

    json_add(value, "rtpCapabilities", cJSON_CreateRaw(request->rooms->capabilities_text));
    request_succeed(request, value);
}

static void create_transport(struct request *request, enum direction direction)
{
    struct transport *t = transport_new(request->participant, direction);
    cJSON *answer;

    if (t == NULL) {
        quota_give_back(&request->participant->owner, QUOTA_transports, 1);
        request_fail_because(request, ERROR_unavailable, "the server cannot hold more transports");
        return;
    }
    answer = transport_answer(request->rooms, t);
    if (answer == NULL) {
        LOG(ERROR, "media",
            "MEDIASOUP_ANNOUNCED_IP has no address of a family (IPv4, IPv6) in "
            "MEDIASOUP_LISTEN_IP: add one",
            F("announced", "%s", request->rooms->settings->media_announced_ip));
        transport_close(t, false);
        request_fail_because(request, ERROR_unavailable, "the media service has no address");
        return;
    }
    if (!json_is_complete(answer)) { /* a transport of which nobody knows is of no use */
        cJSON_Delete(answer);
        transport_close(t, false);
        request_fail(request, ERROR_unavailable);
        return;
    }
    request_succeed(request, answer);
}

void handle_media_create_transport(struct request *request)
{
    const char *direction = payload_text(request->payload, "direction");
    uint32_t most = request->rooms->settings->transports_per_participant_max;
    char why[QUOTA_WHY_BYTES];

    if (direction == NULL)
        direction = payload_text(request->payload, "dir");
    if (direction == NULL || (strcmp(direction, "send") != 0 && strcmp(direction, "recv") != 0))
        request_fail_because(request, ERROR_invalid_payload, "direction is not send or recv");
    else if (request->participant->transport_count >= most)
        request_fail_because(request, ERROR_limit_reached, "%u transports; close one first", most);
    else if (!room_assign_worker(request->room))
        request_fail_because(request, ERROR_unavailable, "the media service is not running");
    else if (!quota_take(request->rooms, &request->participant->owner, QUOTA_transports, why))
        request_fail_because(request, ERROR_limit_reached, "%s", why);
    else
        create_transport(request, strcmp(direction, "send") == 0 ? DIRECTION_send : DIRECTION_recv);
}

void handle_media_connect_transport(struct request *request)
{
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(request->payload, "dtlsParameters");
    struct transport *t = request->transport;
    struct transport_row row = t->row;
    char why[ORTC_WHY_BYTES];

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
    request_succeed_flag(request, "connected");
}

/* The data plane accepts checks with the old credentials too,
 * until the first check with the new ones arrives. */
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
    value = json_new_object();
    json_add(value, "iceParameters", ice_parameters(&t->row));
    request_succeed(request, value);
    explicit_bzero(&row, sizeof(row));
}

void handle_media_close_transport(struct request *request)
{
    transport_close(request->transport, true);
    request_succeed_flag(request, "closed");
}
