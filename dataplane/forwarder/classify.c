/* First look at every datagram: its kind, its transport, and the gates G1–G3, G6 (threats.md). */
#include <string.h>

#include "worker.h"

#include "src/clock.h"

bool within_rate(struct worker *w, struct transport *t, uint32_t *count, uint32_t limit)
{
    uint32_t second = (uint32_t)(w->turn.now_ns / NS_PER_S);

    if (t->rate_window_s != second) {
        t->rate_window_s = second;
        t->rtcp_in_window = 0;
        t->stun_in_window = 0;
    }
    return ++*count <= limit;
}

/* The transport that ICE has validated this path for; NULL for everybody else. */
static struct transport *transport_of_path(struct worker *w, const struct path *path)
{
    uint32_t i = map_find(&w->paths, map_hash(w->secret, path, sizeof(*path)));
    struct transport *t;

    if (i == MAP_NONE)
        return NULL;
    t = &w->objects.transports[i];
    return t->generation && ice_find_path(&t->ice, path) >= 0 ? t : NULL;
}

void paths_update(struct worker *w, struct transport *t)
{
    static const struct path none;

    for (unsigned i = 0; i < ICE_PATHS_MAX; i++) {
        const struct ice_path *now = &t->ice.paths[i];
        const struct path *wanted = now->last_check_ns ? &now->path : &none;

        if (path_equal(&t->mapped[i], wanted))
            continue;
        if (!path_equal(&t->mapped[i], &none))
            map_remove(&w->paths, map_hash(w->secret, &t->mapped[i], sizeof(none)), t->index);
        if (!path_equal(wanted, &none))
            map_set(&w->paths, map_hash(w->secret, wanted, sizeof(none)), t->index);
        t->mapped[i] = *wanted;
    }
    egress_update(t);
}

void egress_update(struct transport *t)
{
    const struct path *path = ice_selected_path(&t->ice);

    t->egress->open = path && t->profile;
    if (path)
        t->egress->path = *path;
    if (t->profile)
        t->egress->tag_bytes = (uint8_t)srtp_tag_bytes(t->profile);
}

static void ice_changed(struct worker *w, struct transport *t, enum ice_event event)
{
    paths_update(w, t);
    /* Also at every later check, should the ring have been full or the handshaker have died since:
     * as DTLS client it is the one to start. */
    if (!t->validated_notified || (t->dtls_role == DTLS_ROLE_client && !t->profile))
        t->validated_notified = handshaker_notify(w, t, DTLS_NOTE_validated);
    if (event == ICE_NOTHING)
        return;
    publish_transport(w, t);
    event_publish(w, TABLE_transport_state, t->index, t->generation);
}

static enum verdict stun_receive(struct worker *w, const struct io_datagram *datagram)
{
    const struct ice_credentials *named;
    struct stun_request request;
    uint8_t answer[STUN_RESPONSE_BYTES_MAX];
    size_t answer_bytes = 0;
    struct transport *t;
    enum ice_event event;

    if (stun_parse(datagram->data, datagram->bytes, &request) != STUN_OK)
        return VERDICT_drop_stun_malformed;
    t = credentials_find(w, &request, &named);
    if (!t)
        return VERDICT_drop_stun_stranger;
    if (stun_authenticate(datagram->data, datagram->bytes, &request, named->password) != STUN_OK)
        return VERDICT_drop_stun_unauthentic;
    if (!within_rate(w, t, &t->stun_in_window, STUN_PER_SECOND_MAX))
        return VERDICT_drop_stun_limit;
    t->bytes_received += datagram->bytes;
    t->dirty = true;
    credentials_proven(w, t, named);
    event = ice_receive_request(&t->ice, &request, &datagram->path, named->password, w->turn.now_ns,
                                answer, &answer_bytes);
    ice_changed(w, t, event);
    if (answer_bytes == 0)
        return VERDICT_drop_stun_limit;
    if (transmit_datagram(&w->transmit, &datagram->path, answer, answer_bytes, COUNTER_stun_sent))
        t->bytes_sent += answer_bytes;
    return VERDICT_stun_answered;
}

static void media_receive(struct worker *w, uint32_t position, enum datagram_kind kind)
{
    const struct io_datagram *datagram = &w->datagrams[position];
    struct transport *t = transport_of_path(w, &datagram->path);

    if (!t) {
        verdict_set(w, position, VERDICT_drop_media_stranger);
        return;
    }
    t->bytes_received += datagram->bytes;
    t->dirty = true;
    if (!t->profile) {
        verdict_set(w, position, VERDICT_drop_media_unkeyed);
    } else if (kind == DATAGRAM_rtp) {
        ingress_add(w, position, t);
    } else {
        feedback_receive(w, position, t);
    }
}

static void dtls_receive(struct worker *w, uint32_t position)
{
    const struct io_datagram *datagram = &w->datagrams[position];
    struct transport *t = transport_of_path(w, &datagram->path);

    if (!t) {
        verdict_set(w, position, VERDICT_drop_dtls_stranger);
        return;
    }
    t->bytes_received += datagram->bytes;
    if (t->dtls_role == DTLS_ROLE_unset)
        verdict_set(w, position, VERDICT_drop_dtls_unconnected);
    else
        handshaker_pass(w, position, t);
}

void classify(struct worker *w)
{
    w->unprotect_count = 0;
    w->unproven_count = 0;
    for (uint32_t i = 0; i < w->datagram_count; i++) {
        const struct io_datagram *datagram = &w->datagrams[i];
        enum datagram_kind kind;

        if (datagram->bytes == 0) {
            verdict_set(w, i, VERDICT_drop_empty);
            continue;
        }
        if (datagram->bytes > DATAGRAM_BYTES_MAX) {
            verdict_set(w, i, VERDICT_drop_oversize);
            continue;
        }
        kind = datagram_classify(datagram->data, datagram->bytes);
        if (kind == DATAGRAM_stun)
            verdict_set(w, i, stun_receive(w, datagram));
        else if (kind == DATAGRAM_dtls)
            dtls_receive(w, i);
        else if (kind == DATAGRAM_unknown)
            verdict_set(w, i, VERDICT_drop_first_byte);
        else
            media_receive(w, i, kind);
    }
}
