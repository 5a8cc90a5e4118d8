/* What can be read of a DTLS datagram without keys: records, and the fragments of handshake
 * messages in them. Nothing here is authentic; it only has the right form.
 *
 * Threads: any.
 * Memory:  a record or fragment points into its datagram.
 * Source:  RFC 6347 4.1 (records), 4.2.2 (fragments); RFC 9147 4 (DTLS 1.3 begins with the same). */
#ifndef RINGCAST_DTLS_RECORDS_H
#define RINGCAST_DTLS_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DTLS_RECORD_HEADER_BYTES 13
#define DTLS_FRAGMENT_HEADER_BYTES 12
#define DTLS_MESSAGE_BYTES_MAX 8192 /* of a handshake message; certificates have up to 4 KB */

enum dtls_record_type {
    DTLS_RECORD_change_cipher_spec = 20,
    DTLS_RECORD_alert = 21,
    DTLS_RECORD_handshake = 22,
    DTLS_RECORD_application_data = 23,
};

enum dtls_message_type {
    DTLS_MESSAGE_client_hello = 1,
    DTLS_MESSAGE_server_hello = 2,
    DTLS_MESSAGE_hello_verify_request = 3,
};

/* A part of a datagram, of a record or of a message. */
struct dtls_cursor {
    const uint8_t *at;
    size_t bytes;
};

struct dtls_record {
    uint8_t type; /* enum dtls_record_type */
    uint16_t version, epoch;
    uint64_t sequence; /* 48 bits */
    struct dtls_cursor content;
};

struct dtls_fragment {
    uint8_t type; /* enum dtls_message_type, or another one */
    uint16_t number;
    uint32_t message_bytes, offset; /* of the whole message; of this fragment in it */
    struct dtls_cursor content;
};

/* Reads a number of up to four bytes. */
uint32_t dtls_number(const uint8_t *at, unsigned bytes);
/* Takes the next record off the datagram. False when there is none, or it is not well-formed: its
 * type, version or length is impossible, or it is encrypted with later keys than our first ones.
 * There are none of those without renegotiation. */
bool dtls_record_next(struct dtls_cursor *datagram, struct dtls_record *record);
/* Takes the next fragment off the content of a plaintext handshake record. False when there is none,
 * or it does not lie inside its message, or the message is longer than DTLS_MESSAGE_BYTES_MAX. */
bool dtls_fragment_next(struct dtls_cursor *content, struct dtls_fragment *fragment);
/* Does the content of a plaintext handshake record consist of such fragments? OpenSSL would allocate
 * 17 KB for each of up to ten messages that are too long, and after a bad fragment it reads the
 * fragment's body as a header. */
bool dtls_messages_fit(struct dtls_cursor content);

#endif
