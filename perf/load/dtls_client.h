/* The DTLS 1.2 handshake of one endpoint, until it has SRTP keys. Then the endpoint frees it: the
 * server sends the last message of a handshake, so the client never has to send anything again.
 *
 * Clock: OpenSSL's own retransmission timer (gettimeofday). Threads: one.
 * Source: RFC 6347, RFC 5764 (use_srtp, exporter), RFC 8122 (fingerprints). */
#ifndef RINGCAST_LOAD_DTLS_CLIENT_H
#define RINGCAST_LOAD_DTLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/rows.h" /* enum srtp_profile */

#define DTLS_CLIENT_WHY_BYTES 200

/* Creates the certificate that all endpoints use; `fingerprint` is its sha-256. All handshakes
 * offer only `profile`. */
bool dtls_client_open(enum srtp_profile profile, char fingerprint[96], char *why);
void dtls_client_close(void);

struct dtls_client;
struct dtls_client_keys {
    uint8_t ours_key[32], theirs_key[32], ours_salt[16], theirs_salt[16];
};

struct dtls_client *dtls_client_new(void (*send)(void *context, const uint8_t *data, size_t bytes),
                                    void *context);
void dtls_client_free(struct dtls_client *client);

enum dtls_client_state { DTLS_CLIENT_BUSY, DTLS_CLIENT_KEYED, DTLS_CLIENT_FAILED };
/* A datagram arrived or, if data is NULL, time has passed. The first call also has data NULL.
 * KEYED: the server's certificate has the given fingerprint, and `keys` is filled in. FAILED: `why`
 * has the reason. */
enum dtls_client_state dtls_client_step(struct dtls_client *client, const uint8_t *data,
                                        size_t bytes, const char *algorithm,
                                        const char *fingerprint, struct dtls_client_keys *keys,
                                        char *why);

#endif
