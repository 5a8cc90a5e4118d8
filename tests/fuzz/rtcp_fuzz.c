/* uses: dataplane */
/* Splits arbitrary bytes as an RTCP compound, and calls every read function for every packet and
 * entry. */
#include <stdlib.h>

#include "dataplane/engines/rtcp.h"

static void read_all(const struct rtcp_packet *packet)
{
    struct rtcp_sender_info sender;
    struct rtcp_report_block block;
    uint32_t ssrc, media;
    uint16_t id, mask;
    uint8_t sequence;
    struct rtcp_reference_answer answer;
    uint64_t ntp;

    rtcp_read_sender_info(packet, &sender);
    rtcp_read_reference_time(packet, &ssrc, &ntp);
    for (size_t i = 0; rtcp_read_reference_answer(packet, i, &answer); i++)
        if (8 + 12 * i >= packet->bytes)
            abort();
    rtcp_read_feedback(packet, &ssrc, &media);
    for (size_t i = 0; i < 33; i++) {
        if (rtcp_read_report_block(packet, i, &block) &&
            (block.packets_lost > 0x7fffff || block.packets_lost < -0x800000))
            abort();
        rtcp_read_bye(packet, i, &ssrc);
    }
    for (size_t i = 0; rtcp_read_fir(packet, i, &ssrc, &sequence); i++)
        if (8 + 8 * i >= packet->bytes)
            abort();
    for (size_t i = 0; rtcp_read_nack(packet, i, &id, &mask); i++)
        if (8 + 4 * i >= packet->bytes)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct rtcp_packet packets[RTCP_PACKETS_MAX];
    size_t count = rtcp_split(data, bytes, packets);
    const uint8_t *end = data;

    for (size_t i = 0; i < count; i++) {
        if (packets[i].body < end + 4 || packets[i].body + packets[i].bytes > data + bytes)
            abort();
        end = packets[i].body + packets[i].bytes;
        read_all(&packets[i]);
    }
    return 0;
}
