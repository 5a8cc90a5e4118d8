/* ICE-lite agent of one transport: which paths are validated, which one media goes to, consent.
 * No I/O and no clock: authenticated requests and `now` in, a verdict and an answer out.
 *
 *   stun_parse ─► worker finds the transport by local_ufrag ─► stun_authenticate ─► ice_receive_request
 *
 * Rules: only an authenticated check adds or selects a path (G6); a path is selected by the first
 * valid check while nothing is selected, then only by USE-CANDIDATE; at most one move per second;
 * at most ICE_PATHS_MAX paths, the least recently checked unselected one makes room; consent lives
 * for consent_ns after the last valid check on the selected path (RFC 7675).
 * Role conflict: we are ice-lite and always controlled; a request that says ICE-CONTROLLED gets 487.
 * Source: RFC 8445 2.5, 7.3; RFC 7675; threats.md D4, D28. */
#ifndef RINGCAST_ICE_H
#define RINGCAST_ICE_H

#include "src/rows.h"
#include "stun.h"

#define ICE_PATHS_MAX 8
#define ICE_MOVE_INTERVAL_NS 1000000000ull

struct ice_path {
    struct path path;
    uint64_t last_check_ns; /* 0: free */
    uint32_t priority;
};

struct ice {
    struct ice_path paths[ICE_PATHS_MAX];
    int8_t selected; /* index into paths, -1: none */
    bool nominated;  /* the selection came from USE-CANDIDATE */
    uint8_t state;   /* enum ice_state */
    uint64_t moved_ns;
    uint64_t last_check_ns;
};

void ice_init(struct ice *ice);

/* CONNECTED and COMPLETED: the state became that (COMPLETED may come without CONNECTED before it, and
 * may have changed the selection, too). MOVED: another path was selected, the state stayed. */
enum ice_event { ICE_NOTHING, ICE_CONNECTED, ICE_COMPLETED, ICE_MOVED };

/* An authenticated binding request arrived on `path`. Writes the answer into out and its length into
 * *out_bytes (0: say nothing). Returns what changed. */
enum ice_event ice_receive_request(struct ice *ice, const struct stun_request *request,
                                   const struct path *path, const char *password, uint64_t now_ns,
                                   uint8_t out[STUN_RESPONSE_BYTES_MAX], size_t *out_bytes);

/* Is this path validated? (The gate of DTLS and media; index or -1.) */
int ice_find_path(const struct ice *ice, const struct path *path);

/* Where to send; NULL before the first valid check and after consent is lost. */
const struct path *ice_selected_path(const struct ice *ice);

/* An ICE restart is complete: the first check with the new credentials has come. Paths that only the old
 * ones validated are forgotten but for the selected one, which media keeps to until a check selects
 * another (RFC 8445 9, RFC 8839 4.4.1.1.1); state and consent go on. */
void ice_finish_restart(struct ice *ice);

/* True once, when consent is lost: state becomes disconnected and all paths are forgotten. A later
 * valid check starts anew. */
bool ice_check_consent(struct ice *ice, uint64_t now_ns, uint64_t consent_ns);

#endif
