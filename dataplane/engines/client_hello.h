/* The ClientHello with which a DTLS handshake begins. Only a well-formed one may begin a handshake:
 * everything else that a peer, or somebody with its address, sends first is dropped (threat D5).
 *
 * A ClientHello may be longer than a datagram: those of DTLS 1.3 clients are. It then comes in
 * fragments, each in a datagram of its own, in any order. The engine puts them together itself, so
 * that OpenSSL never sees half of one. When two fragments contradict each other, the later one
 * counts and the others are forgotten: they will be sent again.
 *
 * Shape:   a struct client_hello holds the ClientHello of one peer, whole or in part.
 * Threads: any. Memory: no pointers in it; zero it first, or to forget what it holds.
 * Errors:  what has not the form of a ClientHello is ignored.
 * Limits:  a ClientHello of DTLS_MESSAGE_BYTES_MAX.
 * Source:  RFC 6347 4.2, RFC 5246 7.4.1.2, RFC 9147 5.3 (the ClientHello of DTLS 1.3). */
#ifndef RINGCAST_CLIENT_HELLO_H
#define RINGCAST_CLIENT_HELLO_H

#include "dtls_records.h"

#define CLIENT_HELLO_HEAD_BYTES (DTLS_RECORD_HEADER_BYTES + DTLS_FRAGMENT_HEADER_BYTES)

struct client_hello {
    uint16_t message_bytes;                  /* 0: it holds nothing */
    uint16_t received;                       /* how many bytes of the message it has */
    uint16_t version;                        /* of the record */
    uint64_t sequence;                       /* the greatest of its records */
    uint8_t has[DTLS_MESSAGE_BYTES_MAX / 8]; /* bit i: it has byte i of the message */
    /* The datagram that client_hello_add makes: one record with the whole message. */
    uint8_t datagram[CLIENT_HELLO_HEAD_BYTES + DTLS_MESSAGE_BYTES_MAX];
};

/* May this datagram be the first one of a handshake? It begins with a fragment of a ClientHello, and
 * if that is all of it, it is well-formed. */
bool client_hello_begins(const uint8_t *datagram, size_t bytes);
/* Takes the fragments out of a datagram. Returns the length of hello->datagram once it is complete
 * and well-formed, and then holds nothing any more; otherwise 0. */
size_t client_hello_add(struct client_hello *hello, const uint8_t *datagram, size_t bytes);

#endif
