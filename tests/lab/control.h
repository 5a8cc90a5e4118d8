/* RTCP as clients write and read it (RFC 3550 6.4, RFC 4585 6, RFC 5104 4.3.1). */
#ifndef RINGCAST_LAB_CONTROL_H
#define RINGCAST_LAB_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONTROL_SR = 200, CONTROL_RR = 201, CONTROL_RTPFB = 205, CONTROL_PSFB = 206 };

struct control_report {
    uint32_t ssrc, highest, last_sr, delay;
};

/* Each writes one packet and returns its bytes. */
size_t control_sender_report(uint8_t *out, uint32_t ssrc, uint64_t ntp, uint32_t timestamp,
                             uint32_t packets, uint32_t bytes);
size_t control_receiver_report(uint8_t *out, uint32_t own, const struct control_report *report);
size_t control_pli(uint8_t *out, uint32_t own, uint32_t media);
/* The numbers ascend. */
size_t control_nack(uint8_t *out, uint32_t own, uint32_t media, const uint16_t *numbers,
                    size_t count);

/* What a compound asks of its receiver, one call for each wish; unused fields are 0. */
struct control_wish {
    enum { WISH_KEY_FRAME, WISH_PACKET, WISH_SENDER_REPORT } kind;
    uint32_t ssrc;
    uint16_t number;    /* WISH_PACKET */
    uint64_t ntp;       /* WISH_SENDER_REPORT */
    uint32_t timestamp; /* WISH_SENDER_REPORT */
};
/* False: the compound is malformed. */
bool control_read(const uint8_t *data, size_t bytes,
                  void (*wish)(void *context, const struct control_wish *wish), void *context);

#endif
