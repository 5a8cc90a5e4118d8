/* The identity of this installation: the certificate that it presents in DTLS handshakes, and its
 * private key. The identity lives in a row of shared memory, so that a restarted handshaker
 * presents the same certificate: clients have been told its fingerprint.
 *
 *   first start     identity_make ─► identity row (region `keys`) ─► identity_open
 *   every restart                    identity row                 ─► identity_open
 *
 * Shape:   certificate and key as DER in the row, as OpenSSL objects in struct identity.
 * Units:   bytes.
 * Threads: any, one at a time per object.
 * Memory:  a struct identity owns two OpenSSL objects until identity_close. Rows belong to the
 *          caller and hold the private key: the caller wipes its copy after use.
 * Errors:  false, with a sentence in `why` (128 bytes).
 * Source:  RFC 8827 6.5 (P-256 certificates), RFC 8122 5 (fingerprints). */
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

/* Makes a P-256 key and a self-signed certificate. Writes certificate, private key and the three
 * fingerprints to the row and leaves the rest of the row as it is. */
bool identity_make(struct identity_row *row, char *why);

/* Reads certificate and key from a row. Checks that the key is a P-256 key, that it belongs to the
 * certificate, and that the certificate has the fingerprints of the row. */
bool identity_open(struct identity *identity, const struct identity_row *row, char *why);
void identity_close(struct identity *identity);

/* The length of a fingerprint of this algorithm: 32, 48 or 64. 0 for an algorithm that we do not
 * accept from clients, such as SHA-1 and SHA-224. */
size_t fingerprint_bytes(enum fingerprint_algorithm algorithm);
/* Writes the fingerprint of a certificate to out and returns its length, or 0 when OpenSSL
 * fails. */
size_t fingerprint_make(enum fingerprint_algorithm algorithm, const struct x509_st *certificate,
                        uint8_t out[FINGERPRINT_BYTES_MAX]);

#endif
