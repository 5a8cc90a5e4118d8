/* RTCP to clients: receiver reports to publishers, sender reports to subscribers, key-frame
 * requests, transport-wide feedback, goodbyes.
 *
 * Threads: the worker's. Memory: compounds are built on the stack.
 * Errors:  nothing is sent to a transport without keys or path.
 * Source:  RFC 3550 6 and A.3, RFC 4585, RFC 3711 3.4. */
#ifndef RINGCAST_REPORTS_H
#define RINGCAST_REPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transport;

struct reports {
    struct turn *turn;
    struct transmit *transmit;
    const struct resume *resume;
};

/* Receiver reports about all that this client sends, sender reports about all that it gets. */
void reports_send(struct reports *r, struct transport *t);
/* Transport-wide congestion control: when the packets of this client arrived. */
void reports_send_congestion(struct reports *r, struct transport *t);
/* Asks for a key frame of the stream media_ssrc. False: nothing can be sent to it yet. */
bool reports_send_pli(struct reports *r, struct transport *t, uint32_t media_ssrc);
/* Asks for packets of the stream media_ssrc again; the sequence numbers ascend. False: nothing can be
 * sent to it now. */
bool reports_send_nack(struct reports *r, struct transport *t, uint32_t media_ssrc,
                       const uint16_t *sequences, size_t count);
/* The stream `ssrc` that we sent ends. */
void reports_send_bye(struct reports *r, struct transport *t, uint32_t ssrc);

#endif
