/* RTCP: splits compounds, reads the packets that we use, appends ours to a buffer. */
#include "rtcp.h"

#include <string.h>

#define RTCP_VERSION 2
#define HEADER_BYTES 4
#define REPORT_BLOCK_BYTES 24
#define REPORT_BLOCKS_MAX 31
#define CHUNKS_MAX 31
#define SENDER_INFO_BYTES 24 /* SSRC, NTP, RTP timestamp, packets, bytes */
#define FEEDBACK_BYTES 8     /* SSRCs of sender and media, RFC 4585 6.1 */
#define FIR_ENTRY_BYTES 8
#define NACK_ENTRY_BYTES 4
#define XR_BLOCK_HEAD_BYTES 4
#define XR_REFERENCE_TIME 4 /* RFC 3611 4.4 */
#define XR_REFERENCE_TIME_BYTES 8
#define XR_REFERENCE_ANSWER 5 /* RFC 3611 4.5: "delay since last RR" */
#define XR_REFERENCE_ANSWER_BYTES 12
#define SDES_CNAME 1
#define CNAME_BYTES_MAX 255
#define NTP_UNIX_SECONDS 2208988800ull /* from 1900 to 1970 */

static uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load32(const uint8_t *p)
{
    return (uint32_t)load16(p) << 16 | load16(p + 2);
}

static void store32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

size_t rtcp_split(const uint8_t *data, size_t bytes, struct rtcp_packet packets[RTCP_PACKETS_MAX])
{
    size_t count = 0;

    while (bytes > 0) {
        struct rtcp_packet *packet = &packets[count];
        size_t packet_bytes, padding = 0;

        if (count == RTCP_PACKETS_MAX || bytes < HEADER_BYTES || data[0] >> 6 != RTCP_VERSION)
            return 0;
        packet_bytes = HEADER_BYTES + 4u * load16(data + 2);
        if (packet_bytes > bytes)
            return 0;
        /* RFC 3550 6.4.1 allows padding only in the last packet, and only whole words. libwebrtc
         * pads each transport-cc feedback with 1 to 3 bytes, so we are less strict: the padding of
         * a packet must fit into that packet. */
        if (data[0] & 0x20) {
            padding = data[packet_bytes - 1];
            if (padding == 0 || padding > packet_bytes - HEADER_BYTES)
                return 0;
        }
        packet->type = data[1];
        packet->count = data[0] & 31;
        packet->body = data + HEADER_BYTES;
        packet->bytes = packet_bytes - HEADER_BYTES - padding;
        count++;
        data += packet_bytes;
        bytes -= packet_bytes;
    }
    return count;
}

bool rtcp_read_sender_info(const struct rtcp_packet *packet, struct rtcp_sender_info *sender)
{
    const uint8_t *p = packet->body;

    if (packet->type != RTCP_SR || packet->bytes < SENDER_INFO_BYTES)
        return false;
    sender->ssrc = load32(p);
    sender->ntp = (uint64_t)load32(p + 4) << 32 | load32(p + 8);
    sender->timestamp = load32(p + 12);
    sender->packets = load32(p + 16);
    sender->bytes = load32(p + 20);
    return true;
}

bool rtcp_read_report_block(const struct rtcp_packet *packet, size_t i,
                            struct rtcp_report_block *block)
{
    size_t at = packet->type == RTCP_SR ? SENDER_INFO_BYTES : 4;
    const uint8_t *p;

    if ((packet->type != RTCP_SR && packet->type != RTCP_RR) || i >= packet->count)
        return false;
    at += i * REPORT_BLOCK_BYTES;
    if (at + REPORT_BLOCK_BYTES > packet->bytes)
        return false;
    p = packet->body + at;
    block->ssrc = load32(p);
    block->fraction_lost = p[4];
    block->packets_lost = (int32_t)(load32(p + 4) & 0xffffff);
    if (block->packets_lost & 0x800000)
        block->packets_lost -= 0x1000000;
    block->highest_sequence = load32(p + 8);
    block->jitter = load32(p + 12);
    block->last_sr = load32(p + 16);
    block->delay_since_last_sr = load32(p + 20);
    return true;
}

bool rtcp_read_bye(const struct rtcp_packet *packet, size_t i, uint32_t *ssrc)
{
    if (packet->type != RTCP_BYE || i >= packet->count || 4 * i + 4 > packet->bytes)
        return false;
    *ssrc = load32(packet->body + 4 * i);
    return true;
}

bool rtcp_read_feedback(const struct rtcp_packet *packet, uint32_t *sender, uint32_t *media)
{
    if ((packet->type != RTCP_RTPFB && packet->type != RTCP_PSFB) || packet->bytes < FEEDBACK_BYTES)
        return false;
    *sender = load32(packet->body);
    *media = load32(packet->body + 4);
    return true;
}

/* Returns entry i of a feedback packet. The entries follow the two SSRCs; each entry has
 * entry_bytes. NULL: there is no entry i. */
static const uint8_t *feedback_entry(const struct rtcp_packet *packet, uint8_t type, uint8_t format,
                                     size_t i, size_t entry_bytes)
{
    if (packet->type != type || packet->count != format || packet->bytes < FEEDBACK_BYTES ||
        i >= (packet->bytes - FEEDBACK_BYTES) / entry_bytes)
        return NULL;
    return packet->body + FEEDBACK_BYTES + i * entry_bytes;
}

bool rtcp_read_fir(const struct rtcp_packet *packet, size_t i, uint32_t *ssrc, uint8_t *sequence)
{
    const uint8_t *p = feedback_entry(packet, RTCP_PSFB, PSFB_FIR, i, FIR_ENTRY_BYTES);

    if (!p)
        return false;
    *ssrc = load32(p);
    *sequence = p[4];
    return true;
}

bool rtcp_read_nack(const struct rtcp_packet *packet, size_t i, uint16_t *packet_id, uint16_t *mask)
{
    const uint8_t *p = feedback_entry(packet, RTCP_RTPFB, RTPFB_NACK, i, NACK_ENTRY_BYTES);

    if (!p)
        return false;
    *packet_id = load16(p);
    *mask = load16(p + 2);
    return true;
}

/* The content of the first block of this type in an XR (RFC 3611 3); its length in *bytes. NULL: there is
 * none. */
static const uint8_t *xr_block(const struct rtcp_packet *packet, uint8_t type, size_t *bytes)
{
    const uint8_t *p = packet->body;
    size_t left = packet->bytes;

    if (packet->type != RTCP_XR || packet->bytes < 4)
        return NULL;
    p += 4; /* SSRC of the sender */
    left -= 4;
    while (left >= XR_BLOCK_HEAD_BYTES) {
        *bytes = 4u * load16(p + 2);
        if (*bytes > left - XR_BLOCK_HEAD_BYTES)
            return NULL;
        if (p[0] == type)
            return p + XR_BLOCK_HEAD_BYTES;
        p += XR_BLOCK_HEAD_BYTES + *bytes;
        left -= XR_BLOCK_HEAD_BYTES + *bytes;
    }
    return NULL;
}

bool rtcp_read_reference_time(const struct rtcp_packet *packet, uint32_t *sender, uint64_t *ntp)
{
    size_t bytes;
    const uint8_t *p = xr_block(packet, XR_REFERENCE_TIME, &bytes);

    if (!p || bytes < XR_REFERENCE_TIME_BYTES)
        return false;
    *sender = load32(packet->body);
    *ntp = (uint64_t)load32(p) << 32 | load32(p + 4);
    return true;
}

bool rtcp_read_reference_answer(const struct rtcp_packet *packet, size_t i,
                                struct rtcp_reference_answer *answer)
{
    size_t bytes;
    const uint8_t *p = xr_block(packet, XR_REFERENCE_ANSWER, &bytes);

    if (!p || i >= bytes / XR_REFERENCE_ANSWER_BYTES)
        return false;
    p += i * XR_REFERENCE_ANSWER_BYTES;
    answer->ssrc = load32(p);
    answer->last_rr = load32(p + 4);
    answer->delay_since_last_rr = load32(p + 8);
    return true;
}

/* Appends a packet of `bytes` (a multiple of 4), with its header and a body of zeros. Returns the
 * body, or NULL when the packet does not fit. */
static uint8_t *packet_add(struct rtcp_buffer *b, uint8_t type, uint8_t count, size_t bytes)
{
    uint8_t *p = b->data + b->bytes;
    size_t words = bytes / 4 - 1;

    if (b->bytes > b->capacity || b->capacity - b->bytes < bytes)
        return NULL;
    memset(p, 0, bytes);
    p[0] = (uint8_t)(RTCP_VERSION << 6 | count);
    p[1] = type;
    p[2] = (uint8_t)(words >> 8);
    p[3] = (uint8_t)words;
    b->bytes += bytes;
    return p + HEADER_BYTES;
}

bool rtcp_add_sr(struct rtcp_buffer *b, const struct rtcp_sender_info *sender)
{
    uint8_t *p = packet_add(b, RTCP_SR, 0, HEADER_BYTES + SENDER_INFO_BYTES);

    if (!p)
        return false;
    store32(p, sender->ssrc);
    store32(p + 4, (uint32_t)(sender->ntp >> 32));
    store32(p + 8, (uint32_t)sender->ntp);
    store32(p + 12, sender->timestamp);
    store32(p + 16, sender->packets);
    store32(p + 20, sender->bytes);
    return true;
}

static void report_block_write(uint8_t *p, const struct rtcp_report_block *block)
{
    int32_t lost = block->packets_lost;

    if (lost > 0x7fffff)
        lost = 0x7fffff;
    if (lost < -0x800000)
        lost = -0x800000;
    store32(p, block->ssrc);
    store32(p + 4, (uint32_t)block->fraction_lost << 24 | ((uint32_t)lost & 0xffffff));
    store32(p + 8, block->highest_sequence);
    store32(p + 12, block->jitter);
    store32(p + 16, block->last_sr);
    store32(p + 20, block->delay_since_last_sr);
}

bool rtcp_add_rr(struct rtcp_buffer *b, uint32_t sender_ssrc,
                 const struct rtcp_report_block *blocks, size_t count)
{
    uint8_t *p;

    if (count > REPORT_BLOCKS_MAX)
        return false;
    p = packet_add(b, RTCP_RR, (uint8_t)count, HEADER_BYTES + 4 + count * REPORT_BLOCK_BYTES);
    if (!p)
        return false;
    store32(p, sender_ssrc);
    for (size_t i = 0; i < count; i++)
        report_block_write(p + 4 + i * REPORT_BLOCK_BYTES, &blocks[i]);
    return true;
}

/* RFC 3550 6.5: a chunk is SSRC, head of the item, text, and one to four zero bytes, so that it
 * ends at a whole word. */
static size_t chunk_bytes(const struct rtcp_cname *source)
{
    return (4 + 2 + strnlen(source->cname, CNAME_BYTES_MAX + 1) + 1 + 3) & ~(size_t)3;
}

bool rtcp_add_sdes(struct rtcp_buffer *b, const struct rtcp_cname *sources, size_t count)
{
    size_t bytes = HEADER_BYTES;
    uint8_t *p;

    if (count > CHUNKS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (strnlen(sources[i].cname, CNAME_BYTES_MAX + 1) > CNAME_BYTES_MAX)
            return false;
        bytes += chunk_bytes(&sources[i]);
    }
    p = packet_add(b, RTCP_SDES, (uint8_t)count, bytes);
    if (!p)
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(sources[i].cname);

        store32(p, sources[i].ssrc);
        p[4] = SDES_CNAME;
        p[5] = (uint8_t)length;
        memcpy(p + 6, sources[i].cname, length);
        p += chunk_bytes(&sources[i]);
    }
    return true;
}

/* An XR with one block. Returns the content of the block. */
static uint8_t *xr_add(struct rtcp_buffer *b, uint32_t sender_ssrc, uint8_t type, size_t bytes)
{
    uint8_t *p = packet_add(b, RTCP_XR, 0, HEADER_BYTES + 4 + XR_BLOCK_HEAD_BYTES + bytes);

    if (!p)
        return NULL;
    store32(p, sender_ssrc);
    p[4] = type;
    p[7] = (uint8_t)(bytes / 4);
    return p + 4 + XR_BLOCK_HEAD_BYTES;
}

bool rtcp_add_reference_time(struct rtcp_buffer *b, uint32_t sender_ssrc, uint64_t ntp)
{
    uint8_t *p = xr_add(b, sender_ssrc, XR_REFERENCE_TIME, XR_REFERENCE_TIME_BYTES);

    if (!p)
        return false;
    store32(p, (uint32_t)(ntp >> 32));
    store32(p + 4, (uint32_t)ntp);
    return true;
}

bool rtcp_add_reference_answer(struct rtcp_buffer *b, uint32_t sender_ssrc,
                               const struct rtcp_reference_answer *answer)
{
    uint8_t *p = xr_add(b, sender_ssrc, XR_REFERENCE_ANSWER, XR_REFERENCE_ANSWER_BYTES);

    if (!p)
        return false;
    store32(p, answer->ssrc);
    store32(p + 4, answer->last_rr);
    store32(p + 8, answer->delay_since_last_rr);
    return true;
}

bool rtcp_add_bye(struct rtcp_buffer *b, uint32_t ssrc)
{
    uint8_t *p = packet_add(b, RTCP_BYE, 1, HEADER_BYTES + 4);

    if (p)
        store32(p, ssrc);
    return p;
}

bool rtcp_add_pli(struct rtcp_buffer *b, uint32_t sender_ssrc, uint32_t media_ssrc)
{
    uint8_t *p = packet_add(b, RTCP_PSFB, PSFB_PLI, HEADER_BYTES + FEEDBACK_BYTES);

    if (!p)
        return false;
    store32(p, sender_ssrc);
    store32(p + 4, media_ssrc);
    return true;
}

/* How many of the sequence numbers from the first on one entry can name: it and the 16 after it. */
static size_t nack_entry_count(const uint16_t *sequences, size_t count)
{
    size_t n = 1;

    while (n < count && (uint16_t)(sequences[n] - sequences[0]) <= 16)
        n++;
    return n;
}

static void nack_entry_write(uint8_t *p, const uint16_t *sequences, size_t count)
{
    uint32_t mask = 0;

    for (size_t i = 1; i < count; i++)
        mask |= 1u << ((uint16_t)(sequences[i] - sequences[0]) - 1);
    store32(p, (uint32_t)sequences[0] << 16 | mask);
}

bool rtcp_add_nack(struct rtcp_buffer *b, uint32_t sender_ssrc, uint32_t media_ssrc,
                   const uint16_t *sequences, size_t count)
{
    size_t entries = 0, n;
    uint8_t *p;

    for (size_t i = 0; i < count; i += nack_entry_count(sequences + i, count - i))
        entries++;
    p = packet_add(b, RTCP_RTPFB, RTPFB_NACK,
                   HEADER_BYTES + FEEDBACK_BYTES + entries * NACK_ENTRY_BYTES);
    if (!p)
        return false;
    store32(p, sender_ssrc);
    store32(p + 4, media_ssrc);
    p += FEEDBACK_BYTES;
    for (size_t i = 0; i < count; i += n, p += NACK_ENTRY_BYTES) {
        n = nack_entry_count(sequences + i, count - i);
        nack_entry_write(p, sequences + i, n);
    }
    return true;
}

/* RFC 5104 4.3.1.2: the SSRC of the media source is 0; the entry names the SSRC. */
bool rtcp_add_fir(struct rtcp_buffer *b, uint32_t sender_ssrc, uint32_t media_ssrc,
                  uint8_t sequence)
{
    uint8_t *p =
        packet_add(b, RTCP_PSFB, PSFB_FIR, HEADER_BYTES + FEEDBACK_BYTES + FIR_ENTRY_BYTES);

    if (!p)
        return false;
    store32(p, sender_ssrc);
    store32(p + FEEDBACK_BYTES, media_ssrc);
    p[FEEDBACK_BYTES + 4] = sequence;
    return true;
}

uint64_t rtcp_ntp(uint64_t wall_ns)
{
    uint64_t second_ns = 1000000000;

    return (wall_ns / second_ns + NTP_UNIX_SECONDS) << 32 | (wall_ns % second_ns << 32) / second_ns;
}
