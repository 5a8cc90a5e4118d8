/* ICE-lite agent of one transport. It knows which paths of the client are validated and which of
 * them are proven (proof.h), selects the one that media is sent to, and notices when the client is
 * gone.
 *
 *   stun_parse ─► find the transport by local_ufrag ─► stun_authenticate ─► ice_receive_request
 *
 * Rules
 * - Only an authenticated request (a connectivity check) adds or selects a path (gate G6).
 * - The first valid check selects its path. After that, only a check with USE-CANDIDATE asks for
 *   another one, at most once per second.
 * - The other one is selected when it is proven (threat D4): the client receives there. Meanwhile
 *   the old one stays. A path that has had no check for ICE_SILENT_NS gives way to one that is not
 *   proven yet, and so does, before there are keys, one that the client does not nominate. What is
 *   sent to a selected path that is not proven is limited, too.
 * - When there is no room for a new path, an unselected one is forgotten: one that nothing but
 *   checks came from before one that sent media, both before a proven one; then the one with the
 *   oldest check.
 * - The DTLS handshake stays on the path where it began, so that its end proves this path.
 * - Consent to send (RFC 7675) ends when the selected path has had no valid check for consent_ns.
 *   Then nothing is proven any more.
 * - We are always the controlled agent. A request that claims this role too gets error 487.
 *
 * Shape:   one struct ice for each transport.
 * Units:   nanoseconds of a clock that the caller reads.
 * Threads: the worker of the transport.
 * Memory:  none besides the struct.
 * Errors:  what a client may not do is ignored or answered with a STUN error.
 * Source:  RFC 8445 2.5, 7.3; RFC 7675; threats D4, D28. */
#ifndef RINGCAST_ICE_H
#define RINGCAST_ICE_H

#include "proof.h"
#include "src/rows.h"
#include "stun.h"

#define ICE_PATHS_MAX 8
#define ICE_MOVE_INTERVAL_NS 1000000000ull
/* Without a check for so long, a path has failed. Clients check at least every 6 s (RFC 7675 5.1),
 * Chromium every 2.5 s. */
#define ICE_SILENT_NS 7500000000ull
/* The same while there are no keys: clients check several times a second then. */
#define ICE_HANDSHAKE_SILENT_NS 1000000000ull

struct ice_path {
    struct path path;
    uint64_t last_check_ns; /* 0: this entry is free */
    uint32_t priority;
    bool is_nominated; /* the last check had USE-CANDIDATE */
    struct proof proof;
};

struct ice {
    struct ice_path paths[ICE_PATHS_MAX];
    int8_t selected;        /* index into paths, -1: none */
    int8_t handshake;       /* the path where DTLS began, -1: nothing of DTLS was sent */
    bool handshake_moved;   /* DTLS was sent to another one, too: it proves none */
    bool is_keyed;          /* the handshake is complete */
    bool has_receiver;      /* the client receives media; it does not only send */
    bool nominated;         /* the selection came from USE-CANDIDATE */
    uint8_t state;          /* enum ice_state */
    uint64_t moved_ns;      /* when another path was selected last; 0: never */
    uint64_t last_check_ns; /* on the selected path */
    uint32_t moves;
    struct proof_limit limit;
    struct path proven_before; /* to an earlier forwarder; all 0: none */
};

void ice_init(struct ice *ice);
/* The same, for memory that is all 0. */
void ice_init_zeroed(struct ice *ice);

/* ICE_CONNECTED, ICE_COMPLETED: the agent has entered this state. It may enter completed without
 * having been connected, and the selected path may have changed as well. ICE_MOVED: another path is
 * selected; the state has not changed. */
enum ice_event { ICE_NOTHING, ICE_CONNECTED, ICE_COMPLETED, ICE_MOVED };

/* Handles an authenticated binding request that has arrived on `path`. Writes the response to out
 * and its length to *out_bytes (0: send none). Returns what has changed. */
enum ice_event ice_receive_request(struct ice *ice, const struct stun_request *request,
                                   const struct path *path, const char *password, uint64_t now_ns,
                                   uint8_t out[STUN_RESPONSE_BYTES_MAX], size_t *out_bytes);

/* The index of a validated path, or -1. DTLS and media from any other path are dropped. */
int ice_find_path(const struct ice *ice, const struct path *path);

/* The path to send to. NULL before the first valid check, and after consent has ended. */
const struct path *ice_selected_path(const struct ice *ice);

/* The index of the path to send DTLS to, or -1. Ask it before each datagram of the handshaker. */
int ice_handshake_path(struct ice *ice, uint64_t now_ns);
/* There are keys: the handshake is complete, which proves its path. */
void ice_take_keys(struct ice *ice);

/* Is it known that the client receives at this path, as far as we send something there? */
bool ice_is_proven(const struct ice *ice, int index);
/* Path `index` was just proven: selects it if the client has nominated it. True when it replaces
 * another one. */
bool ice_path_proven(struct ice *ice, int index, uint64_t now_ns);

/* To be called when the first check with new credentials has arrived after an ICE restart. Forgets
 * the paths that the old credentials validated, except the selected one: media uses it until a
 * check selects another (RFC 8445 9, RFC 8839 4.4.1.1.1). State and consent stay as they are. */
void ice_finish_restart(struct ice *ice);

/* Returns true when consent has ended. Then the state is disconnected and all paths are forgotten;
 * the next valid check begins anew. True only once. */
bool ice_check_consent(struct ice *ice, uint64_t now_ns, uint64_t consent_ns);

#endif
