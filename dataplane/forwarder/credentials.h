/* ICE user fragments and passwords of transports: finding the transport that a check names, and an
 * ICE restart without a gap in the media (RFC 8445 9).
 *
 *   row ─► credentials ─── ICE restart ──► credentials (new)
 *                     └──────────────────► outgoing (old) ── first check with the new ones ─► gone
 *
 * Until that check comes, the client may not know the new credentials, and its checks with the old
 * ones keep consent alive. If a second restart comes before it, the credentials of the first
 * restart are dropped: no check ever used them.
 *
 * Threads: the worker's. Errors: false or NULL, and nothing has changed. */
#ifndef RINGCAST_CREDENTIALS_H
#define RINGCAST_CREDENTIALS_H

#include "dataplane/engines/map.h"
#include "dataplane/engines/stun.h"
#include "src/tables.h"

struct transport;

/* The user fragment that checks must name, and the password that must sign them. */
struct ice_credentials {
    uint8_t ufrag_bytes; /* 0: none */
    char ufrag[ICE_CREDENTIAL_ROOM];
    char password[ICE_CREDENTIAL_ROOM];
};

/* The transports of a worker by user fragment. */
struct ufrags {
    uint64_t secret; /* for hashing: strangers choose the text */
    struct map map;  /* → index of a transport */
};

/* Takes the credentials of the row: the first ones of a new transport, or those of an ICE restart.
 * False when they are not usable. */
bool credentials_take(struct ufrags *ufrags, struct transport *t, const struct transport_row *row);
void credentials_forget(struct ufrags *ufrags, struct transport *t);

/* The index of the transport that a check may mean; MAP_NONE: none. Only the hash was compared, so
 * ask credentials_named next. */
static inline uint32_t credentials_find(const struct ufrags *ufrags,
                                        const struct stun_request *request)
{
    return map_find(&ufrags->map,
                    map_hash(ufrags->secret, request->local_ufrag, request->local_ufrag_bytes));
}
/* The credentials of the transport that the check names; NULL: none. */
const struct ice_credentials *credentials_named(const struct transport *t,
                                                const struct stun_request *request);

/* An authentic check named these. True when it is the first with the new ones: the ICE restart is
 * complete. */
bool credentials_confirm(struct ufrags *ufrags, struct transport *t,
                         const struct ice_credentials *named);

#endif
