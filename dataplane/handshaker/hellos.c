/* The first datagrams of the peers: which ClientHello may try to begin a handshake. */
#include "handshaker.h"
#include "src/clock.h"

/* The slot of this transport, or the one that was used the longest time ago. */
static struct hello_slot *slot_of(struct handshaker *h, handle_word transport)
{
    struct hello_slot *slot = &h->hellos[0];

    for (unsigned i = 0; i < HELLOS_MAX; i++) {
        if (h->hellos[i].transport == transport)
            return &h->hellos[i];
        if (h->hellos[i].used < slot->used)
            slot = &h->hellos[i];
    }
    *slot = (struct hello_slot){.transport = transport};
    return slot;
}

const uint8_t *hello_receive(struct handshaker *h, handle_word transport, const uint8_t *datagram,
                             size_t *bytes)
{
    struct hello_slot *slot;

    if (!client_hello_begins(datagram, *bytes))
        return NULL;
    slot = slot_of(h, transport);
    slot->used = ++h->hellos_used;
    *bytes = client_hello_add(&slot->hello, datagram, *bytes);
    if (*bytes == 0)
        return NULL;
    slot->transport = 0; /* it is complete: the slot is free for another one */
    slot->used = 0;
    return slot->hello.datagram;
}

bool hello_may_start(struct association *association, uint64_t now_ns)
{
    const uint64_t each_ns = NS_PER_S / STARTS_PER_S;

    if (association->starts_ns < now_ns)
        association->starts_ns = now_ns;
    if (association->starts_ns - now_ns > (STARTS_BURST - 1) * each_ns)
        return false;
    association->starts_ns += each_ns;
    return true;
}
