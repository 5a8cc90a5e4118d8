/* A packet's way out: slots, encryption, the backend. */
#include "transmit.h"

#include <string.h>

void transmit_flush(struct transmit *x)
{
    if (x->job_count > 0) {
        srtp_protect_burst(x->srtp, x->jobs, x->job_count);
        x->job_count = 0;
    }
    x->backend->transmit(x->io);
}

uint8_t *transmit_slot_after_flush(struct transmit *x, const struct path *path, uint32_t bytes)
{
    uint8_t *slot;

    transmit_flush(x);
    slot = x->backend->slot(x->io, path, bytes);
    if (!slot)
        x->turn->counters[COUNTER_send_full]++;
    return slot;
}

bool transmit_datagram(struct transmit *x, const struct path *path, const void *data, size_t bytes,
                       enum worker_counter counter)
{
    uint8_t *slot = transmit_slot(x, path, (uint32_t)bytes);

    if (!slot)
        return false;
    memcpy(slot, data, bytes);
    x->turn->counters[counter]++;
    return true;
}
