/* What the tests of repair share: a publisher whose packets are lost or come again, and subscribers that
 * ask for theirs. */
#ifndef RINGCAST_TEST_REPAIR_H
#define RINGCAST_TEST_REPAIR_H

#include "pair.h"

enum { CONSUMER_SSRC = 4000, RTX_SSRC = 4001, PAYLOAD = 500, TIMESTAMP_STEP = 3000 };

static inline void repair_publish(struct rig *rig, struct client *c, uint16_t sequence,
                                  bool key_frame)
{
    call_publish(rig, c, sequence, sequence * (uint32_t)TIMESTAMP_STEP, key_frame, PAYLOAD);
}

/* The sequence numbers that the publisher was asked for in the last turn. */
static inline size_t repair_asked_for(struct rig *rig, struct client *publisher,
                                      uint16_t *sequences)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    size_t at = 0, found = 0, count;
    struct rig_sent copy;
    uint16_t first, mask;

    while ((count = client_next_rtcp(rig, publisher, &at, &copy, packets)) > 0)
        for (size_t i = 0; i < count; i++)
            for (size_t k = 0; rtcp_read_nack(&packets[i], k, &first, &mask); k++)
                for (unsigned bit = 0; bit <= 16; bit++)
                    if (bit == 0 || mask >> (bit - 1) & 1)
                        sequences[found++] = (uint16_t)(first + bit);
    return found;
}

static inline void repair_lose(struct rig *rig, struct client *subscriber, uint32_t ssrc,
                               const uint16_t *sequences, size_t count)
{
    uint8_t rtcp[1200];
    struct rtcp_buffer b = {.data = rtcp, .capacity = 1100};

    assert_true(rtcp_add_nack(&b, 99, ssrc, sequences, count));
    client_send_rtcp(rig, subscriber, rtcp, b.bytes);
}

static inline struct rig *repair_open(struct client clients[2])
{
    struct rig *rig = call_open(clients, 1, SRTP_PROFILE_aes128_cm_sha1_80);

    rig_consumer(rig, 0, 1, 0, CONSUMER_SSRC, false, 1);
    rig_turn(rig);
    return rig;
}

#endif
