/* RTCP of the virtual clients. */
#include "control.h"

#include <string.h>

#include "bytes.h"

static size_t head(uint8_t *out, unsigned count, unsigned type, size_t bytes, uint32_t ssrc)
{
    out[0] = (uint8_t)(0x80 | count);
    out[1] = (uint8_t)type;
    write16(out + 2, (uint32_t)(bytes / 4 - 1));
    write32(out + 4, ssrc);
    return bytes;
}

size_t control_sender_report(uint8_t *out, uint32_t ssrc, uint64_t ntp, uint32_t timestamp,
                             uint32_t packets, uint32_t bytes)
{
    write32(out + 8, (uint32_t)(ntp >> 32));
    write32(out + 12, (uint32_t)ntp);
    write32(out + 16, timestamp);
    write32(out + 20, packets);
    write32(out + 24, bytes);
    return head(out, 0, CONTROL_SR, 28, ssrc);
}

size_t control_receiver_report(uint8_t *out, uint32_t own, const struct control_report *report)
{
    write32(out + 8, report->ssrc);
    write32(out + 12, 0);
    write32(out + 16, report->highest);
    write32(out + 20, 0);
    write32(out + 24, report->last_sr);
    write32(out + 28, report->delay);
    return head(out, 1, CONTROL_RR, 32, own);
}

size_t control_pli(uint8_t *out, uint32_t own, uint32_t media)
{
    write32(out + 8, media);
    return head(out, 1, CONTROL_PSFB, 12, own);
}

size_t control_nack(uint8_t *out, uint32_t own, uint32_t media, const uint16_t *numbers,
                    size_t count)
{
    size_t at = 12, i = 0;

    write32(out + 8, media);
    while (i < count) {
        uint16_t first = numbers[i++], mask = 0;

        for (; i < count && (uint16_t)(numbers[i] - first) <= 16; i++)
            mask |= (uint16_t)(1 << (uint16_t)(numbers[i] - first - 1));
        write16(out + at, first);
        write16(out + at + 2, mask);
        at += 4;
    }
    return head(out, 1, CONTROL_RTPFB, at, own);
}

static void read_nack(const uint8_t *p, size_t bytes,
                      void (*wish)(void *context, const struct control_wish *wish), void *context)
{
    struct control_wish w = {.kind = WISH_PACKET, .ssrc = read32(p + 8)};

    for (size_t at = 12; at + 4 <= bytes; at += 4) {
        uint32_t mask = read16(p + at + 2) << 1 | 1;

        for (unsigned i = 0; i <= 16; i++)
            if (mask >> i & 1) {
                w.number = (uint16_t)(read16(p + at) + i);
                wish(context, &w);
            }
    }
}

static void read_one(const uint8_t *p, size_t bytes,
                     void (*wish)(void *context, const struct control_wish *wish), void *context)
{
    unsigned format = p[0] & 0x1f;
    struct control_wish w = {.kind = WISH_KEY_FRAME};

    if (p[1] == CONTROL_SR && bytes >= 28) {
        w = (struct control_wish){.kind = WISH_SENDER_REPORT,
                                  .ssrc = read32(p + 4),
                                  .ntp = (uint64_t)read32(p + 8) << 32 | read32(p + 12),
                                  .timestamp = read32(p + 16)};
        wish(context, &w);
    } else if (p[1] == CONTROL_PSFB && format == 1 && bytes >= 12) {
        w.ssrc = read32(p + 8);
        wish(context, &w);
    } else if (p[1] == CONTROL_PSFB && format == 4) {
        for (size_t at = 12; at + 8 <= bytes; at += 8) {
            w.ssrc = read32(p + at);
            wish(context, &w);
        }
    } else if (p[1] == CONTROL_RTPFB && format == 1 && bytes >= 12) {
        read_nack(p, bytes, wish, context);
    }
}

bool control_read(const uint8_t *data, size_t bytes,
                  void (*wish)(void *context, const struct control_wish *wish), void *context)
{
    while (bytes >= 8) {
        size_t length = 4 * (size_t)read16(data + 2) + 4;

        if (data[0] >> 6 != 2 || length > bytes)
            return false;
        read_one(data, length, wish, context);
        data += length;
        bytes -= length;
    }
    return bytes == 0;
}
