/* A worker's side of the rings to and from the handshaker. */
#include "handshaker_link.h"

#include <string.h>

#include "proofs.h"
#include "src/limits.h"
#include "transmit.h"
#include "transport.h"

#define RECORD_HEADER_BYTES 13 /* RFC 6347 4.1 */

/* Puts an entry into the ring; false when it is full. */
static bool put(struct handshaker_link *link, const struct transport *t, enum dtls_note note,
                const uint8_t *data, uint32_t bytes)
{
    struct ring_datagram *entry = ring_reserve(&link->to);

    if (!entry)
        return false;
    entry->handle = handle_make(t->index, t->generation);
    entry->note = note;
    entry->bytes = bytes;
    if (bytes > 0)
        memcpy(entry->data, data, bytes);
    ring_publish(&link->to);
    link->ring_bell = true;
    return true;
}

enum verdict handshaker_pass(struct handshaker_link *link, const struct transport *t,
                             const struct io_datagram *datagram)
{
    if (datagram->bytes < RECORD_HEADER_BYTES ||
        datagram->bytes > sizeof(((struct ring_datagram *)NULL)->data))
        return VERDICT_drop_dtls_malformed;
    return put(link, t, DTLS_NOTE_datagram, datagram->data, datagram->bytes)
               ? VERDICT_dtls_passed
               : VERDICT_drop_dtls_full;
}

bool handshaker_notify(struct handshaker_link *link, const struct transport *t, enum dtls_note note)
{
    return put(link, t, note, NULL, 0);
}

static void send_datagram(struct handshaker_link *link, struct transport *t, const uint8_t *data,
                          uint32_t bytes)
{
    int path = ice_handshake_path(&t->ice, link->turn->now_ns);

    if (path < 0 || bytes == 0 || bytes > DTLS_DATAGRAM_BYTES_MAX ||
        !proofs_may_send(link->proofs, t, path, PROOF_USE_CONTROL, bytes))
        return;
    if (transmit_datagram(link->transmit, &t->ice.paths[path].path, data, bytes, COUNTER_dtls_sent))
        t->bytes_sent += bytes;
}

void handshaker_receive(struct handshaker_link *link)
{
    /* At most as many entries as the ring holds: a handshaker that never stops must not keep the
     * worker from its packets. */
    for (unsigned i = 0; i < DTLS_RING_ENTRIES; i++) {
        const struct ring_datagram *shared = ring_peek(&link->from);
        struct transport *t;
        uint32_t note, bytes;

        if (!shared)
            return;
        note = __atomic_load_n(&shared->note, __ATOMIC_RELAXED);
        bytes = __atomic_load_n(&shared->bytes, __ATOMIC_RELAXED);
        t = transport_find(link->transports, __atomic_load_n(&shared->handle, __ATOMIC_RELAXED));
        if (t && note == DTLS_NOTE_datagram)
            send_datagram(link, t, shared->data, bytes);
        else if (t && (note == DTLS_NOTE_keys || note == DTLS_NOTE_closed))
            transport_read_keys(link->transports, t);
        ring_consume(&link->from);
    }
}
