/* The first look at every datagram: kind and gates. */
#include "classify.h"

#include "batch.h"
#include "checks.h"
#include "dataplane/engines/client_hello.h"
#include "feedback.h"
#include "handshaker_link.h"
#include "ingress.h"
#include "proofs.h"
#include "transport.h"

/* The handshaker reads fewer (DTLS_RATE), but its ring is for the clients of a whole worker. */
#define DTLS_PER_SECOND_MAX 250

static enum verdict dtls_receive(struct classifier *c, const struct io_datagram *datagram)
{
    int path;
    struct transport *t = checks_find_transport(c->checks, &datagram->path, &path);

    if (!t)
        return VERDICT_drop_dtls_stranger;
    t->bytes_received += datagram->bytes;
    proofs_count_received(t, path, datagram->bytes);
    if (t->dtls_role == DTLS_ROLE_unset)
        return VERDICT_drop_dtls_unconnected;
    if (t->dtls_state == DTLS_STATE_new && t->dtls_role == DTLS_ROLE_server &&
        !client_hello_begins(datagram->data, datagram->bytes))
        return VERDICT_drop_dtls_no_hello;
    if (!transport_count_within(t, c->turn->now_ns, &t->dtls_in_window, DTLS_PER_SECOND_MAX))
        return VERDICT_drop_dtls_limit;
    return handshaker_pass(c->handshaker, t, datagram);
}

static enum verdict media_receive(struct classifier *c, struct io_datagram *datagram,
                                  uint32_t position, enum datagram_kind kind)
{
    int path;
    struct transport *t = checks_find_transport(c->checks, &datagram->path, &path);
    enum verdict verdict;

    if (!t)
        return VERDICT_drop_media_stranger;
    t->bytes_received += datagram->bytes;
    proofs_count_received(t, path, datagram->bytes);
    t->dirty = true;
    if (!t->profile)
        return VERDICT_drop_media_unkeyed;
    if (policer_is_full(&t->refused, c->turn->now_ns))
        return VERDICT_drop_media_limit;
    if (kind == DATAGRAM_rtp)
        verdict = policer_is_full(&t->authentic, c->turn->now_ns)
                      ? VERDICT_drop_media_limit
                      : ingress_add(c->arrivals, t, datagram, position,
                                    t->ice.paths[path].proof.state == PROOF_NONE);
    else
        verdict = feedback_receive(c->feedback, t, path, datagram);
    if (verdict != VERDICT_PENDING && verdict != VERDICT_rtcp_consumed &&
        verdict != VERDICT_drop_media_limit)
        policer_add(&t->refused, t->rate, datagram->bytes, c->turn->now_ns);
    return verdict;
}

static enum verdict receive(struct classifier *c, struct io_datagram *datagram, uint32_t position)
{
    enum datagram_kind kind;

    if (datagram->bytes == 0 || datagram->bytes > DATAGRAM_BYTES_MAX)
        return datagram->bytes ? VERDICT_drop_oversize : VERDICT_drop_empty;
    kind = datagram_classify(datagram->data, datagram->bytes);
    if (kind == DATAGRAM_rtp || kind == DATAGRAM_rtcp)
        return media_receive(c, datagram, position, kind);
    if (kind == DATAGRAM_stun)
        return checks_receive(c->checks, datagram);
    if (kind == DATAGRAM_dtls)
        return dtls_receive(c, datagram);
    return VERDICT_drop_first_byte;
}

void classify(struct classifier *c)
{
    struct batch *batch = c->batch;

    for (uint32_t i = 0; i < batch->count; i++)
        verdict_set(batch, i, receive(c, &batch->datagrams[i], i));
}
