/* ICE user fragments and passwords of transports: found by the worker's map, and changed by an ICE
 * restart without a gap in the media (RFC 8445 9).
 *
 *   row ─► credentials ──── ICE restart ───► credentials (new)
 *                     └───────────────────►  outgoing (old) ─── first check with the new ones ─► gone
 *
 * Until then the client may not have heard of the new ones, and its consent checks keep the old path
 * alive. A second restart meanwhile drops the ones between, which no check was ever seen with. */
#include <string.h>

#include "worker.h"

static uint64_t key_of(const struct worker *w, const char *ufrag, size_t bytes)
{
    return map_hash(w->secret, ufrag, bytes);
}

static void unmap(struct worker *w, struct transport *t, struct ice_credentials *c)
{
    if (!c->ufrag_bytes)
        return;
    map_remove(&w->ufrags, key_of(w, c->ufrag, c->ufrag_bytes), t->index);
    explicit_bzero(c, sizeof(*c));
}

/* Lengths of RFC 8839 5.4, and NUL-terminated. */
static bool read_row(const struct transport_row *row, struct ice_credentials *c)
{
    size_t bytes = strnlen(row->ice_ufrag, ICE_CREDENTIAL_ROOM);

    if (bytes < 4 || bytes == ICE_CREDENTIAL_ROOM ||
        strnlen(row->ice_pwd, ICE_CREDENTIAL_ROOM) < 22 ||
        row->ice_pwd[ICE_CREDENTIAL_ROOM - 1] != '\0')
        return false;
    c->ufrag_bytes = (uint8_t)bytes;
    memcpy(c->ufrag, row->ice_ufrag, sizeof(c->ufrag));
    memcpy(c->password, row->ice_pwd, sizeof(c->password));
    return true;
}

bool credentials_take(struct worker *w, struct transport *t, const struct transport_row *row)
{
    struct ice_credentials next;
    uint64_t key;
    bool ok;

    if (memcmp(row->ice_ufrag, t->credentials.ufrag, sizeof(row->ice_ufrag)) == 0 &&
        memcmp(row->ice_pwd, t->credentials.password, sizeof(row->ice_pwd)) == 0 &&
        t->credentials.ufrag_bytes)
        return true;
    ok = read_row(row, &next);
    if (ok) {
        key = key_of(w, next.ufrag, next.ufrag_bytes);
        ok = map_find(&w->ufrags, key) == MAP_NONE && map_set(&w->ufrags, key, t->index);
    }
    if (ok) {
        if (t->outgoing.ufrag_bytes)
            unmap(w, t, &t->credentials);
        else
            t->outgoing = t->credentials;
        t->credentials = next;
    }
    explicit_bzero(&next, sizeof(next));
    return ok;
}

void credentials_forget(struct worker *w, struct transport *t)
{
    unmap(w, t, &t->credentials);
    unmap(w, t, &t->outgoing);
}

static bool is_named(const struct ice_credentials *c, const struct stun_request *request)
{
    return c->ufrag_bytes == request->local_ufrag_bytes &&
           memcmp(c->ufrag, request->local_ufrag, c->ufrag_bytes) == 0;
}

struct transport *credentials_find(struct worker *w, const struct stun_request *request,
                                   const struct ice_credentials **named)
{
    uint32_t i = map_find(&w->ufrags, key_of(w, request->local_ufrag, request->local_ufrag_bytes));
    struct transport *t;

    if (i == MAP_NONE || request->local_ufrag_bytes == 0)
        return NULL;
    t = &w->objects.transports[i];
    *named = is_named(&t->credentials, request) ? &t->credentials : &t->outgoing;
    return t->generation && is_named(*named, request) ? t : NULL;
}

void credentials_proven(struct worker *w, struct transport *t, const struct ice_credentials *named)
{
    if (!t->outgoing.ufrag_bytes || named == &t->outgoing)
        return;
    unmap(w, t, &t->outgoing);
    ice_finish_restart(&t->ice);
    w->turn.counters[COUNTER_ice_restarts]++;
}
