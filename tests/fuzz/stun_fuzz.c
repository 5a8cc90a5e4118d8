/* uses: dataplane */
/* Parses arbitrary bytes as a STUN datagram. Everything that the parser finds must lie inside it.
 * The request is then given to the ICE agent as if it were authentic: the agent must stay
 * consistent, and no response may be longer than the request. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/ice.h"
#include "src/clock.h"

#define CHECKS 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void inside(const uint8_t *data, size_t bytes, const struct stun_request *request)
{
    const uint8_t *ours = (const uint8_t *)request->local_ufrag;
    const uint8_t *theirs = (const uint8_t *)request->remote_ufrag;

    require(request->local_ufrag_bytes > 0 && request->remote_ufrag_bytes > 0);
    require(ours >= data + 24 && theirs == ours + request->local_ufrag_bytes + 1);
    require(theirs + request->remote_ufrag_bytes <= data + request->integrity_at);
    require(request->integrity_at + 24u <= request->fingerprint_at);
    require(request->fingerprint_at + 8u == bytes);
    require(request->unknown_count <= 4);
    require(request->has_unknown_required == (request->unknown_count > 0));
    require(!request->controlled || !request->controlling);
}

static void agent_holds(const struct ice *ice)
{
    unsigned used = 0;

    require(ice->selected >= -1 && ice->selected < ICE_PATHS_MAX);
    for (unsigned i = 0; i < ICE_PATHS_MAX; i++)
        used += ice->paths[i].last_check_ns != 0;
    if (ice_selected_path(ice)) {
        require(ice_find_path(ice, ice_selected_path(ice)) == ice->selected);
        require(ice->state == ICE_STATE_connected || ice->state == ICE_STATE_completed);
        require(ice->nominated == (ice->state == ICE_STATE_completed));
    } else {
        require(used == 0 && !ice->nominated);
        require(ice->state == ICE_STATE_new || ice->state == ICE_STATE_disconnected);
    }
}

static void checks(const struct stun_request *parsed, size_t bytes)
{
    struct stun_request request = *parsed;
    uint64_t now_ns = NS_PER_S;
    struct ice ice;

    ice_init(&ice);
    for (unsigned i = 0; i < CHECKS; i++) { /* the transaction id chooses path and time */
        uint8_t turn = (uint8_t)(request.transaction[i % 12] + i);
        struct path path = {.remote_port = turn % 11};
        uint8_t out[STUN_RESPONSE_BYTES_MAX];
        size_t out_bytes = 999;

        if (turn & 1)
            memset(path.remote_ip + 10, 0xff, 2);
        request.use_candidate = parsed->use_candidate && turn & 2;
        ice_receive_request(&ice, &request, &path, "password", now_ns, out, &out_bytes);
        require(out_bytes <= bytes && out_bytes <= sizeof(out) && out_bytes % 4 == 0);
        require(out_bytes == 0 || out_bytes == 20u + (size_t)(out[2] << 8 | out[3]));
        agent_holds(&ice);
        now_ns += (uint64_t)turn * 150 * NS_PER_MS;
        ice_check_consent(&ice, now_ns, 30 * NS_PER_S);
        agent_holds(&ice);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct stun_request request;

    if (stun_parse(data, bytes, &request) != STUN_OK)
        return 0;
    inside(data, bytes, &request);
    require(stun_authenticate(data, bytes, &request, "password") != STUN_MALFORMED);
    require(stun_authenticate(data, bytes, &request, "") == STUN_UNAUTHENTIC);
    checks(&request, bytes);
    return 0;
}
