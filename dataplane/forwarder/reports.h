/* RTCP to clients: receiver reports to publishers, sender reports to subscribers, key-frame
 * requests, transport-wide feedback, goodbyes.
 *
 * Threads: the worker's. Memory: compounds are built on the stack.
 * Errors:  nothing is sent to a transport without keys or path.
 * Source:  RFC 3550 6 and A.3, RFC 4585, RFC 5104 4.3.1, RFC 3711 3.4. */
#ifndef RINGCAST_REPORTS_H
#define RINGCAST_REPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct path;
struct transport;

struct reports {
    struct turn *turn;
    struct transmit *transmit;
    const struct resume *resume;
    struct proofs *proofs;
};

/* Receiver reports about all that this client sends, sender reports about all that it gets. */
void reports_send(struct reports *r, struct transport *t);
/* Sends sender reports with this time to a path, at most room bytes, and returns how many; 0: nothing
 * that the client receives can be reported about yet. The pair of NTP and RTP time in each is right,
 * whatever the time is. The caller counts the bytes (threat D4). */
size_t reports_send_challenge(struct reports *r, struct transport *t, const struct path *path,
                              uint64_t ntp, uint64_t room);
/* Transport-wide congestion control: when the packets of this client arrived. */
void reports_send_congestion(struct reports *r, struct transport *t);
/* Asks for a key frame of the stream media_ssrc. False: nothing can be sent to it yet. */
bool reports_send_pli(struct reports *r, struct transport *t, uint32_t media_ssrc);
/* The same with FIR, for publishers that know only that. Each request has the next number. */
bool reports_send_fir(struct reports *r, struct transport *t, uint32_t media_ssrc,
                      uint8_t sequence);
/* Asks for packets of the stream media_ssrc again; the sequence numbers ascend. False: nothing can be
 * sent to it now. */
bool reports_send_nack(struct reports *r, struct transport *t, uint32_t media_ssrc,
                       const uint16_t *sequences, size_t count);
/* The stream `ssrc` that we sent ends. */
void reports_send_bye(struct reports *r, struct transport *t, uint32_t ssrc);

#endif
