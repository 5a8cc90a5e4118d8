/* The first look at every datagram: what kind it is, to which transport it belongs, and the gates
 * G1 to G3, G6 and G8. A refused datagram changes no state and causes no byte to be sent.
 *
 *   STUN ─► checks.c    DTLS ─► handshaker_link.c    RTP ─► ingress.c    RTCP ─► feedback.c */
#ifndef RINGCAST_CLASSIFY_H
#define RINGCAST_CLASSIFY_H

struct classifier {
    struct turn *turn;
    struct batch *batch;
    struct checks *checks;
    struct handshaker_link *handshaker;
    struct arrivals *arrivals;
    struct feedback *feedback;
};

/* Gives every datagram of the batch its verdict, except RTP: ingress_run does that. */
void classify(struct classifier *c);

#endif
