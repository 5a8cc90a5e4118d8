/* The certificate that every DTLS handshake of this installation shows, and the key to it.
 *
 *   first start     identity_make ─► identity row (region `keys`) ─► identity_open
 *   every restart                    identity row                 ─► identity_open
 *
 * So clients that were told a fingerprint find the same certificate after `kill -9`.
 * Memory: a struct identity owns two OpenSSL objects until identity_close; rows are the caller's and
 *         hold the private key: wipe the copy after use.
 * Errors: false with a sentence in `why` (128 bytes).
 * Source: RFC 8827 6.5 (P-256 certificates), RFC 8122 5 (fingerprints). */
#ifndef RINGCAST_IDENTITY_H
#define RINGCAST_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/tables.h"

struct x509_st;
struct evp_pkey_st;

struct identity {
    struct x509_st *certificate;
    struct evp_pkey_st *private_key;
};

/* Makes a P-256 key and a self-signed certificate and fills certificate, private key (both DER) and
 * the three fingerprints of the row; nothing else in it is touched. */
bool identity_make(struct identity_row *row, char *why);

/* Takes key and certificate out of a row, and checks that they are P-256, belong together and have
 * the fingerprints that the row says. */
bool identity_open(struct identity *identity, const struct identity_row *row, char *why);
void identity_close(struct identity *identity);

/* Length of a fingerprint that we accept from a client: 32, 48, 64; 0 for any other algorithm
 * (SHA-1 and SHA-224 are refused). */
size_t fingerprint_bytes(enum fingerprint_algorithm algorithm);
/* Writes the fingerprint of a certificate; returns its length, 0 when that is not possible. */
size_t fingerprint_make(enum fingerprint_algorithm algorithm, const struct x509_st *certificate,
                        uint8_t out[FINGERPRINT_BYTES_MAX]);

#endif
