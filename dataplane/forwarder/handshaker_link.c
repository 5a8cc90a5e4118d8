/* A worker's side of the rings to and from the handshaker. */
#include <string.h>

#include "worker.h"

void handshaker_pass(struct worker *w, uint32_t position, struct transport *t)
{
    const struct io_datagram *datagram = &w->datagrams[position];
    struct ring_datagram *slot;

    /* RFC 6347 4.1: a record header is 13 bytes. */
    if (datagram->bytes < 13 || datagram->bytes > sizeof(slot->data)) {
        verdict_set(w, position, VERDICT_drop_dtls_malformed);
        return;
    }
    slot = ring_reserve(&w->to_handshaker);
    if (!slot) {
        verdict_set(w, position, VERDICT_drop_dtls_full);
        return;
    }
    slot->handle = handle_make(t->index, t->generation);
    slot->note = DTLS_NOTE_datagram;
    slot->bytes = datagram->bytes;
    memcpy(slot->data, datagram->data, datagram->bytes);
    ring_publish(&w->to_handshaker);
    w->ring_handshaker = true;
    verdict_set(w, position, VERDICT_dtls_passed);
}

bool handshaker_notify(struct worker *w, struct transport *t, enum dtls_note note)
{
    struct ring_datagram *slot = ring_reserve(&w->to_handshaker);

    if (!slot)
        return false;
    slot->handle = handle_make(t->index, t->generation);
    slot->note = note;
    slot->bytes = 0;
    ring_publish(&w->to_handshaker);
    w->ring_handshaker = true;
    return true;
}

static void send_datagram(struct worker *w, struct transport *t, const uint8_t *data,
                          uint32_t bytes)
{
    const struct path *path = ice_selected_path(&t->ice);

    if (!path || bytes == 0 || bytes > DTLS_DATAGRAM_BYTES_MAX)
        return;
    if (transmit_datagram(&w->transmit, path, data, bytes, COUNTER_dtls_sent))
        t->bytes_sent += bytes;
}

/* At most a ring of notes a turn, so that a mad handshaker cannot keep us from the packets. What it
 * wrote is read once, then checked, then used. */
void handshaker_receive(struct worker *w)
{
    for (unsigned i = 0; i < DTLS_RING_ENTRIES; i++) {
        const struct ring_datagram *shared = ring_peek(&w->from_handshaker);
        struct transport *t;
        uint32_t note, bytes;

        if (!shared)
            return;
        note = __atomic_load_n(&shared->note, __ATOMIC_RELAXED);
        bytes = __atomic_load_n(&shared->bytes, __ATOMIC_RELAXED);
        t = worker_transport(w, __atomic_load_n(&shared->handle, __ATOMIC_RELAXED));
        if (t && note == DTLS_NOTE_datagram)
            send_datagram(w, t, shared->data, bytes);
        else if (t && (note == DTLS_NOTE_keys || note == DTLS_NOTE_closed))
            transport_keys(w, t);
        ring_consume(&w->from_handshaker);
    }
}
