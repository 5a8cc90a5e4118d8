/* ICE-lite agent of one transport: validated paths, the selected path, consent. */
#include "ice.h"

#include <string.h>

/* The events of the state machine. INPUT_nominate is a valid check with USE-CANDIDATE. */
enum ice_input { INPUT_check, INPUT_nominate, INPUT_consent_lost, INPUT_COUNT };

#define ICE_STATE_COUNT 4
#define REFUSED (-1)

/* The whole state machine: row = state, column = input, cell = next state. */
static const int8_t next_state[ICE_STATE_COUNT][INPUT_COUNT] = {
    [ICE_STATE_new] = {ICE_STATE_connected, ICE_STATE_completed, REFUSED},
    [ICE_STATE_connected] = {ICE_STATE_connected, ICE_STATE_completed, ICE_STATE_disconnected},
    [ICE_STATE_completed] = {ICE_STATE_completed, ICE_STATE_completed, ICE_STATE_disconnected},
    [ICE_STATE_disconnected] = {ICE_STATE_connected, ICE_STATE_completed, REFUSED},
};

void ice_init(struct ice *ice)
{
    memset(ice, 0, sizeof(*ice));
    ice_init_zeroed(ice);
}

void ice_init_zeroed(struct ice *ice)
{
    ice->selected = -1;
    ice->handshake = -1;
    ice->state = ICE_STATE_new;
}

int ice_find_path(const struct ice *ice, const struct path *path)
{
    for (int i = 0; i < ICE_PATHS_MAX; i++)
        if (ice->paths[i].last_check_ns && path_equal(&ice->paths[i].path, path))
            return i;
    return -1;
}

const struct path *ice_selected_path(const struct ice *ice)
{
    return ice->selected < 0 ? NULL : &ice->paths[ice->selected].path;
}

/* ---- proofs ---- */

bool ice_is_proven(const struct ice *ice, int index)
{
    const struct proof *proof = &ice->paths[index].proof;

    return proof->state == PROOF_COMPLETE || (proof->state == PROOF_SENDS && !ice->has_receiver);
}

int ice_handshake_path(struct ice *ice, uint64_t now_ns)
{
    if (ice->selected < 0 || ice->is_keyed || ice->handshake == ice->selected)
        return ice->selected;
    if (ice->handshake < 0) {
        ice->handshake = ice->selected;
    } else if (now_ns > ice->paths[ice->handshake].last_check_ns + ICE_HANDSHAKE_SILENT_NS) {
        ice->handshake = ice->selected;
        ice->handshake_moved = true;
    }
    return ice->handshake;
}

void ice_take_keys(struct ice *ice)
{
    ice->is_keyed = true;
    if (ice->handshake < 0 || ice->handshake_moved)
        return;
    ice->paths[ice->handshake].proof.state = PROOF_COMPLETE;
    if (ice->selected < 0 || ice->selected == ice->handshake || ice_is_proven(ice, ice->selected))
        return;
    ice->selected = ice->handshake;
    ice->last_check_ns = ice->paths[ice->selected].last_check_ns;
}

/* ---- the table of paths ---- */

/* What is forgotten last. */
static unsigned worth(const struct ice_path *p)
{
    return p->last_check_ns == 0              ? 0
           : p->proof.state == PROOF_COMPLETE ? 3
           : p->proof.is_heard                ? 2
                                              : 1;
}

static int entry_for_new_path(const struct ice *ice)
{
    int least = -1;

    for (int i = 0; i < ICE_PATHS_MAX; i++) {
        const struct ice_path *p = &ice->paths[i], *l = &ice->paths[least < 0 ? i : least];

        if (i != ice->selected && (least < 0 || worth(p) < worth(l) ||
                                   (worth(p) == worth(l) && p->last_check_ns < l->last_check_ns)))
            least = i;
    }
    return least;
}

static int path_checked(struct ice *ice, const struct stun_request *request,
                        const struct path *path, uint64_t now_ns)
{
    int index = ice_find_path(ice, path);
    struct ice_path *p;

    if (index < 0) {
        index = entry_for_new_path(ice);
        if (index == ice->handshake) { /* forgotten, so nobody knows any more what it proves */
            ice->handshake = ice->selected;
            ice->handshake_moved = true;
        }
        ice->paths[index] = (struct ice_path){.path = *path};
        if (path_equal(path, &ice->proven_before))
            ice->paths[index].proof.state = PROOF_COMPLETE;
    }
    p = &ice->paths[index];
    p->priority = request->priority;
    p->last_check_ns = now_ns;
    p->is_nominated = request->use_candidate;
    proof_count_received(&p->proof, request->fingerprint_at + 8u);
    return index;
}

/* ---- selection ---- */

/* May the client have this path, which it nominates, in place of the selected one? */
static bool may_replace(const struct ice *ice, int index, uint64_t now_ns)
{
    const struct ice_path *present = &ice->paths[ice->selected];
    uint64_t silent_ns = now_ns - present->last_check_ns;

    if (ice->moved_ns && now_ns - ice->moved_ns < ICE_MOVE_INTERVAL_NS)
        return false; /* the next check of the client will ask for it again */
    if (ice_is_proven(ice, index))
        return true;
    if (!ice->is_keyed)
        return !present->is_nominated || silent_ns >= ICE_HANDSHAKE_SILENT_NS;
    return silent_ns >= ICE_SILENT_NS;
}

/* RFC 8445 8.1.1, 8.2: the client has nominated path `index`. True when it replaces another one. */
static bool path_nominated(struct ice *ice, int index, uint64_t now_ns)
{
    if (index != ice->selected) {
        if (!may_replace(ice, index, now_ns))
            return false;
        ice->selected = (int8_t)index;
        ice->moved_ns = now_ns;
        ice->moves++;
        ice->last_check_ns = ice->paths[index].last_check_ns;
        return true;
    }
    return false;
}

static bool path_select(struct ice *ice, int index, bool nominated, uint64_t now_ns)
{
    bool moved = false;

    if (ice->selected < 0) /* not counted as a move, so the client may select another at once */
        ice->selected = (int8_t)index;
    else if (nominated)
        moved = path_nominated(ice, index, now_ns);
    ice->nominated |= nominated;
    return moved;
}

bool ice_path_proven(struct ice *ice, int index, uint64_t now_ns)
{
    return ice->selected >= 0 && ice->paths[index].is_nominated &&
           path_nominated(ice, index, now_ns);
}

static enum ice_event step(struct ice *ice, enum ice_input input, int index, uint64_t now_ns)
{
    int8_t next = next_state[ice->state][input];
    bool moved = path_select(ice, index, input == INPUT_nominate, now_ns);

    if (index == ice->selected)
        ice->last_check_ns = now_ns;
    if (next != ice->state) {
        ice->state = (uint8_t)next;
        return next == ICE_STATE_completed ? ICE_COMPLETED : ICE_CONNECTED;
    }
    return moved ? ICE_MOVED : ICE_NOTHING;
}

/* The error code to answer an authentic request with; 0: none. The order is that of RFC 8489 6.3.1,
 * then RFC 8445 7.1.1 (PRIORITY must be there) and 7.3.1.1. */
static unsigned request_fault(const struct stun_request *request)
{
    if (request->has_unknown_required)
        return 420;
    if (!request->has_priority)
        return 400;
    if (request->controlled)
        return 487;
    return 0;
}

enum ice_event ice_receive_request(struct ice *ice, const struct stun_request *request,
                                   const struct path *path, const char *password, uint64_t now_ns,
                                   uint8_t out[STUN_RESPONSE_BYTES_MAX], size_t *out_bytes)
{
    unsigned fault = request_fault(request);
    int index;

    *out_bytes = fault ? stun_build_error(out, request, fault, password)
                       : stun_build_success(out, request, path, password);
    /* FINGERPRINT is the last attribute, so this is the length of the request. The response must
     * not be longer (threat D2). */
    if (*out_bytes > request->fingerprint_at + 8u)
        *out_bytes = 0;
    if (fault)
        return ICE_NOTHING;
    now_ns += now_ns == 0; /* 0 means that an entry is free */
    index = path_checked(ice, request, path, now_ns);
    return step(ice, request->use_candidate ? INPUT_nominate : INPUT_check, index, now_ns);
}

void ice_finish_restart(struct ice *ice)
{
    for (int i = 0; i < ICE_PATHS_MAX; i++)
        if (i != ice->selected)
            memset(&ice->paths[i], 0, sizeof(ice->paths[i]));
    if (ice->handshake >= 0 && ice->handshake != ice->selected) {
        ice->handshake = ice->selected;
        ice->handshake_moved = true;
    }
    ice->nominated = false;
}

bool ice_check_consent(struct ice *ice, uint64_t now_ns, uint64_t consent_ns)
{
    int8_t next = next_state[ice->state][INPUT_consent_lost];
    struct ice before;

    /* The caller's time may be a little older than the last check: it is read once per turn. */
    if (next == REFUSED || now_ns < ice->last_check_ns || now_ns - ice->last_check_ns < consent_ns)
        return false;
    before = *ice;
    ice_init(ice);
    ice->state = (uint8_t)next;
    ice->is_keyed = before.is_keyed;
    ice->has_receiver = before.has_receiver;
    ice->handshake_moved = before.handshake >= 0;
    ice->moves = before.moves;
    ice->limit = before.limit;
    return true;
}
