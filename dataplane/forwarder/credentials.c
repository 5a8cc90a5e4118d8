/* ICE user fragments and passwords of transports. */
#include "credentials.h"

#include <string.h>

#include "transport.h"

static uint64_t key_of(const struct ufrags *ufrags, const char *ufrag, size_t bytes)
{
    return map_hash(ufrags->secret, ufrag, bytes);
}

static void unmap(struct ufrags *ufrags, const struct transport *t, struct ice_credentials *c)
{
    if (!c->ufrag_bytes)
        return;
    map_remove(&ufrags->map, key_of(ufrags, c->ufrag, c->ufrag_bytes), t->index);
    explicit_bzero(c, sizeof(*c));
}

/* The lengths that RFC 8839 5.4 allows, and NUL-terminated. */
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

bool credentials_take(struct ufrags *ufrags, struct transport *t, const struct transport_row *row)
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
        key = key_of(ufrags, next.ufrag, next.ufrag_bytes);
        ok = map_find(&ufrags->map, key) == MAP_NONE && map_set(&ufrags->map, key, t->index);
    }
    if (ok) {
        if (t->outgoing.ufrag_bytes)
            unmap(ufrags, t, &t->credentials);
        else
            t->outgoing = t->credentials;
        t->credentials = next;
    }
    explicit_bzero(&next, sizeof(next));
    return ok;
}

void credentials_forget(struct ufrags *ufrags, struct transport *t)
{
    unmap(ufrags, t, &t->credentials);
    unmap(ufrags, t, &t->outgoing);
}

static bool is_named(const struct ice_credentials *c, const struct stun_request *request)
{
    return c->ufrag_bytes == request->local_ufrag_bytes &&
           memcmp(c->ufrag, request->local_ufrag, c->ufrag_bytes) == 0;
}

const struct ice_credentials *credentials_named(const struct transport *t,
                                                const struct stun_request *request)
{
    if (!t->generation || request->local_ufrag_bytes == 0)
        return NULL;
    return is_named(&t->credentials, request) ? &t->credentials
           : is_named(&t->outgoing, request)  ? &t->outgoing
                                              : NULL;
}

bool credentials_confirm(struct ufrags *ufrags, struct transport *t,
                         const struct ice_credentials *named)
{
    if (!t->outgoing.ufrag_bytes || named == &t->outgoing)
        return false;
    unmap(ufrags, t, &t->outgoing);
    return true;
}
