/* DTLS records and fragments of handshake messages: their form. */
#include "dtls_records.h"

#define VERSION_1_0 0xfeff /* a ClientHello may stand in a record of this version */
#define VERSION_1_2 0xfefd /* of all others, and of all in DTLS 1.3 */
#define EPOCH_MAX 1

uint32_t dtls_number(const uint8_t *at, unsigned bytes)
{
    uint32_t number = 0;

    while (bytes--)
        number = number << 8 | *at++;
    return number;
}

bool dtls_record_next(struct dtls_cursor *datagram, struct dtls_record *record)
{
    const uint8_t *at = datagram->at;
    size_t length;

    if (datagram->bytes <= DTLS_RECORD_HEADER_BYTES)
        return false;
    *record = (struct dtls_record){
        .type = at[0],
        .version = (uint16_t)dtls_number(at + 1, 2),
        .epoch = (uint16_t)dtls_number(at + 3, 2),
        .sequence = (uint64_t)dtls_number(at + 5, 2) << 32 | dtls_number(at + 7, 4),
    };
    length = dtls_number(at + 11, 2);
    if (record->type < DTLS_RECORD_change_cipher_spec ||
        record->type > DTLS_RECORD_application_data ||
        (record->version != VERSION_1_0 && record->version != VERSION_1_2) ||
        record->epoch > EPOCH_MAX || length == 0 ||
        length > datagram->bytes - DTLS_RECORD_HEADER_BYTES)
        return false;
    record->content = (struct dtls_cursor){at + DTLS_RECORD_HEADER_BYTES, length};
    datagram->at += DTLS_RECORD_HEADER_BYTES + length;
    datagram->bytes -= DTLS_RECORD_HEADER_BYTES + length;
    return true;
}

bool dtls_fragment_next(struct dtls_cursor *content, struct dtls_fragment *fragment)
{
    const uint8_t *at = content->at;
    uint32_t length;

    if (content->bytes < DTLS_FRAGMENT_HEADER_BYTES)
        return false;
    *fragment = (struct dtls_fragment){
        .type = at[0],
        .message_bytes = dtls_number(at + 1, 3),
        .number = (uint16_t)dtls_number(at + 4, 2),
        .offset = dtls_number(at + 6, 3),
    };
    length = dtls_number(at + 9, 3);
    if (fragment->message_bytes > DTLS_MESSAGE_BYTES_MAX ||
        length > content->bytes - DTLS_FRAGMENT_HEADER_BYTES || length > fragment->message_bytes ||
        fragment->offset > fragment->message_bytes - length)
        return false;
    fragment->content = (struct dtls_cursor){at + DTLS_FRAGMENT_HEADER_BYTES, length};
    content->at += DTLS_FRAGMENT_HEADER_BYTES + length;
    content->bytes -= DTLS_FRAGMENT_HEADER_BYTES + length;
    return true;
}

bool dtls_messages_fit(struct dtls_cursor content)
{
    struct dtls_fragment fragment;

    while (dtls_fragment_next(&content, &fragment))
        continue;
    return content.bytes == 0;
}
