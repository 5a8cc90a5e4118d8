/* ICE connectivity checks of clients. */
#include "checks.h"

#include "consumer.h"
#include "handshaker_link.h"
#include "proofs.h"
#include "transmit.h"
#include "transport.h"

/* Answered checks, per transport. Those from paths that are neither selected nor proven are counted
 * apart: who sends a captured check again and again must not use up the client's limit. */
#define STUN_PER_SECOND_MAX 50

bool checks_open(struct checks *checks)
{
    return map_open(&checks->paths, TRANSPORTS_MAX * ICE_PATHS_MAX);
}

void checks_close(struct checks *checks)
{
    map_close(&checks->paths);
}

static uint64_t key_of(const struct checks *checks, const struct path *path)
{
    return map_hash(checks->secret, path, sizeof(*path));
}

struct transport *checks_find_transport(const struct checks *checks, const struct path *path,
                                        int *index)
{
    uint32_t i = map_find(&checks->paths, key_of(checks, path));
    struct transport *t;

    if (i == MAP_NONE)
        return NULL;
    t = &checks->transports->all[i];
    if (!t->generation)
        return NULL;
    *index = ice_find_path(&t->ice, path);
    return *index >= 0 ? t : NULL;
}

/* Copies the paths of the transport's ICE agent to the map and to the egress. */
static void update_paths(struct checks *checks, struct transport *t)
{
    for (unsigned i = 0; i < ICE_PATHS_MAX; i++) {
        const struct ice_path *now = &t->ice.paths[i];
        bool is_wanted = now->last_check_ns, is_mapped = t->mapped_bits >> i & 1;

        if (!is_wanted && !is_mapped)
            continue;
        if (is_wanted && is_mapped && path_equal(&t->mapped[i], &now->path))
            continue;
        if (is_mapped)
            map_remove(&checks->paths, key_of(checks, &t->mapped[i]), t->index);
        t->mapped_bits &= (uint8_t) ~(1u << i);
        if (is_wanted) {
            map_set(&checks->paths, key_of(checks, &now->path), t->index);
            t->mapped[i] = now->path;
            t->mapped_bits |= (uint8_t)(1u << i);
        }
    }
    transport_update_egress(t);
}

void checks_path_changed(struct checks *checks, struct transport *t)
{
    bool is_new = t->ice.moves != t->counted_moves || t->egress->is_limited;

    checks->turn->counters[COUNTER_path_moves] += t->ice.moves - t->counted_moves;
    t->counted_moves = t->ice.moves;
    transport_update_egress(t);
    if (is_new && t->egress->open && !t->egress->is_limited) /* what went elsewhere may be lost */
        consumers_request_key_frames(checks->transports->consumers, t);
    transport_publish_change(checks->transports, t);
}

static void agent_changed(struct checks *checks, struct transport *t, enum ice_event event)
{
    update_paths(checks, t);
    /* When the handshaker is the DTLS client, it sends first. It may have died, or the ring may
     * have been full, so every check notifies it again until there are keys. */
    if (!t->handshaker_is_notified || (t->dtls_role == DTLS_ROLE_client && !t->profile))
        t->handshaker_is_notified = handshaker_notify(checks->handshaker, t, DTLS_NOTE_validated);
    if (event != ICE_NOTHING)
        checks_path_changed(checks, t);
}

/* As ice_find_path; most checks come from the selected path. */
static int index_of(const struct transport *t, const struct path *path)
{
    const struct path *selected = ice_selected_path(&t->ice);

    return selected && path_equal(selected, path) ? t->ice.selected : ice_find_path(&t->ice, path);
}

static bool is_within_limit(struct checks *checks, struct transport *t, const struct path *path)
{
    int index = index_of(t, path);
    bool is_clients = index >= 0 && (index == t->ice.selected || ice_is_proven(&t->ice, index));

    return transport_count_within(t, checks->turn->now_ns,
                                  is_clients ? &t->stun_in_window : &t->other_stun_in_window,
                                  STUN_PER_SECOND_MAX);
}

/* Sends the response to a check on path `index` (-1: it made no path). False: the path must prove
 * first that it receives. */
static bool respond(struct checks *checks, struct transport *t, const struct path *path, int index,
                    const uint8_t *data, size_t bytes)
{
    bool is_standby = index < 0 || (index != t->ice.selected && !t->ice.paths[index].is_nominated);

    if ((index < 0 || !proofs_is_complete(t, index)) &&
        !proofs_may_send(checks->proofs, t, index,
                         is_standby ? PROOF_USE_STANDBY : PROOF_USE_CONTROL, bytes))
        return false;
    if (transmit_datagram(checks->transmit, path, data, bytes, COUNTER_stun_sent))
        t->bytes_sent += bytes;
    return true;
}

/* Answers checks->request if it names transport t. Not inlined, so that refusing a stranger stays
 * cheap. */
__attribute__((noinline)) static enum verdict
answer(struct checks *checks, const struct io_datagram *datagram, struct transport *t)
{
    const struct stun_request *request = &checks->request;
    const struct ice_credentials *named = credentials_named(t, request);
    uint8_t out[STUN_RESPONSE_BYTES_MAX];
    size_t out_bytes = 0;
    enum ice_event event;
    int index;

    if (!named)
        return VERDICT_drop_stun_stranger;
    if (stun_authenticate(datagram->data, datagram->bytes, request, named->password) != STUN_OK)
        return VERDICT_drop_stun_unauthentic;
    if (!is_within_limit(checks, t, &datagram->path))
        return VERDICT_drop_stun_limit;
    t->bytes_received += datagram->bytes;
    t->dirty = true;
    if (credentials_confirm(&checks->transports->ufrags, t, named)) {
        ice_finish_restart(&t->ice);
        checks->turn->counters[COUNTER_ice_restarts]++;
    }
    event = ice_receive_request(&t->ice, request, &datagram->path, named->password,
                                checks->turn->now_ns, out, &out_bytes);
    index = index_of(t, &datagram->path);
    agent_changed(checks, t, event);
    if (out_bytes == 0)
        return VERDICT_drop_stun_limit;
    if (!respond(checks, t, &datagram->path, index, out, out_bytes))
        return VERDICT_drop_stun_unproven;
    if (index >= 0 && (index == t->asked || !proofs_is_complete(t, index)))
        proofs_ask(checks->proofs, t, index);
    return VERDICT_stun_answered;
}

enum verdict checks_receive(struct checks *checks, const struct io_datagram *datagram)
{
    struct transports *ts = checks->transports;
    uint32_t i;

    if (stun_parse(datagram->data, datagram->bytes, &checks->request) != STUN_OK)
        return VERDICT_drop_stun_malformed;
    i = credentials_find(&ts->ufrags, &checks->request);
    return i != MAP_NONE ? answer(checks, datagram, &ts->all[i]) : VERDICT_drop_stun_stranger;
}

void checks_lose_consent(struct checks *checks, struct transport *t)
{
    checks->turn->counters[COUNTER_consent_expired]++;
    update_paths(checks, t);
    transport_publish_change(checks->transports, t);
}

void checks_forget(struct checks *checks, struct transport *t)
{
    for (unsigned i = 0; i < ICE_PATHS_MAX; i++)
        if (t->mapped_bits >> i & 1)
            map_remove(&checks->paths, key_of(checks, &t->mapped[i]), t->index);
    t->mapped_bits = 0;
}
