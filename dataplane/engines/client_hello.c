/* The ClientHello: its form, and how its fragments are put together. */
#include "client_hello.h"

#include <string.h>

#define RANDOM_BYTES 32
#define SESSION_ID_BYTES_MAX 32

/* ---- the form of a message ---- */

/* Takes `bytes` off the cursor; false when it has fewer. */
static bool skip(struct dtls_cursor *message, size_t bytes)
{
    if (message->bytes < bytes)
        return false;
    message->at += bytes;
    message->bytes -= bytes;
    return true;
}

/* Takes off a vector, which begins with its length in `prefix` bytes. */
static bool vector(struct dtls_cursor *message, unsigned prefix, struct dtls_cursor *content)
{
    size_t bytes;

    if (message->bytes < prefix)
        return false;
    bytes = dtls_number(message->at, prefix);
    if (!skip(message, prefix))
        return false;
    *content = (struct dtls_cursor){message->at, bytes};
    return skip(message, bytes);
}

static bool extensions_are_well_formed(struct dtls_cursor *message)
{
    struct dtls_cursor extensions, content;

    if (message->bytes == 0)
        return true; /* a ClientHello may have none */
    if (!vector(message, 2, &extensions))
        return false;
    while (extensions.bytes > 0)
        if (!skip(&extensions, 2) || !vector(&extensions, 2, &content))
            return false;
    return message->bytes == 0;
}

/* The order is version, random, session id, cookie, cipher suites, compression methods,
 * extensions. */
static bool is_well_formed(const uint8_t *body, size_t bytes)
{
    struct dtls_cursor message = {body, bytes}, session, cookie, ciphers, compression;

    return bytes >= 2 && body[0] == 0xfe && skip(&message, 2 + RANDOM_BYTES) &&
           vector(&message, 1, &session) && session.bytes <= SESSION_ID_BYTES_MAX &&
           vector(&message, 1, &cookie) && vector(&message, 2, &ciphers) && ciphers.bytes >= 2 &&
           ciphers.bytes % 2 == 0 && vector(&message, 1, &compression) && compression.bytes > 0 &&
           memchr(compression.at, 0, compression.bytes) && extensions_are_well_formed(&message);
}

/* ---- fragments ---- */

/* The next fragment of the first message of a handshake, if that is a ClientHello. */
static bool hello_fragment_next(struct dtls_cursor *content, struct dtls_fragment *fragment)
{
    return dtls_fragment_next(content, fragment) && fragment->type == DTLS_MESSAGE_client_hello &&
           fragment->number == 0 && fragment->content.bytes > 0;
}

static bool hello_record_next(struct dtls_cursor *datagram, struct dtls_record *record)
{
    return dtls_record_next(datagram, record) && record->type == DTLS_RECORD_handshake &&
           record->epoch == 0;
}

bool client_hello_begins(const uint8_t *datagram, size_t bytes)
{
    struct dtls_cursor rest = {datagram, bytes};
    struct dtls_record record;
    struct dtls_fragment fragment;

    return hello_record_next(&rest, &record) && hello_fragment_next(&record.content, &fragment) &&
           (fragment.content.bytes < fragment.message_bytes ||
            is_well_formed(fragment.content.at, fragment.content.bytes));
}

static void forget(struct client_hello *hello)
{
    hello->message_bytes = 0;
    hello->received = 0;
    hello->sequence = 0;
    memset(hello->has, 0, sizeof(hello->has));
}

/* Puts the bytes of a fragment where they belong; false when we have others there. */
static bool copy_fragment(struct client_hello *hello, const struct dtls_fragment *fragment)
{
    uint8_t *body = hello->datagram + CLIENT_HELLO_HEAD_BYTES;

    if (hello->message_bytes != fragment->message_bytes)
        return false;
    for (uint32_t i = 0; i < fragment->content.bytes; i++) {
        uint32_t at = fragment->offset + i;
        uint8_t bit = (uint8_t)(1 << at % 8);

        if (hello->has[at / 8] & bit) {
            if (body[at] != fragment->content.at[i])
                return false;
            continue;
        }
        hello->has[at / 8] |= bit;
        hello->received++;
        body[at] = fragment->content.at[i];
    }
    return true;
}

static void add_fragment(struct client_hello *hello, const struct dtls_record *record,
                         const struct dtls_fragment *fragment)
{
    if (!copy_fragment(hello, fragment)) {
        forget(hello);
        hello->message_bytes = (uint16_t)fragment->message_bytes;
        copy_fragment(hello, fragment);
    }
    hello->version = record->version;
    if (hello->sequence < record->sequence)
        hello->sequence = record->sequence;
}

static void store(uint8_t *at, uint64_t number, unsigned bytes)
{
    while (bytes--)
        *at++ = (uint8_t)(number >> 8 * bytes);
}

/* Writes the headers in front of the message: one record with one fragment. */
static size_t make_datagram(struct client_hello *hello)
{
    uint8_t *record = hello->datagram, *message = record + DTLS_RECORD_HEADER_BYTES;
    uint32_t bytes = hello->message_bytes;

    store(record, DTLS_RECORD_handshake, 1);
    store(record + 1, hello->version, 2);
    store(record + 3, hello->sequence, 8); /* epoch 0 and 48 bits of sequence number */
    store(record + 11, DTLS_FRAGMENT_HEADER_BYTES + bytes, 2);
    store(message, DTLS_MESSAGE_client_hello, 1);
    store(message + 1, bytes, 3);
    store(message + 4, 0, 2 + 3); /* message 0, offset 0 */
    store(message + 9, bytes, 3);
    return CLIENT_HELLO_HEAD_BYTES + bytes;
}

size_t client_hello_add(struct client_hello *hello, const uint8_t *datagram, size_t bytes)
{
    struct dtls_cursor rest = {datagram, bytes};
    struct dtls_record record;
    struct dtls_fragment fragment;
    size_t whole = 0;

    while (hello_record_next(&rest, &record))
        while (hello_fragment_next(&record.content, &fragment)) {
            add_fragment(hello, &record, &fragment);
            if (hello->received < hello->message_bytes)
                continue;
            if (is_well_formed(hello->datagram + CLIENT_HELLO_HEAD_BYTES, hello->message_bytes))
                whole = make_datagram(hello);
            forget(hello);
            if (whole > 0)
                return whole;
        }
    return 0;
}
