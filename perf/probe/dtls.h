/* The DTLS client of the probe: certificate, handshake and keys, by OpenSSL. It sends through a
 * callback and never blocks.
 *
 * Threads: one at a time, per struct dtls. */
#ifndef RINGCAST_PROBE_DTLS_H
#define RINGCAST_PROBE_DTLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DTLS_KEY_BYTES_MAX (16 + 14)

struct dtls;

/* Writes the sha-256 fingerprint of the probe's certificate. The first call creates the
 * certificate; false: OpenSSL cannot. */
bool dtls_identity(char fingerprint[96]);

struct dtls *dtls_new(void (*send)(void *context, const uint8_t *data, size_t bytes),
                      void *context);
void dtls_free(struct dtls *dtls); /* NULL: does nothing */

/* Master key and master salt of each direction, as libsrtp2 expects them. */
struct dtls_keys {
    uint8_t send[DTLS_KEY_BYTES_MAX], receive[DTLS_KEY_BYTES_MAX];
    bool is_gcm; /* AES-GCM-128, else AES-CM-SHA1-80 */
    char profile[32];
};

enum dtls_state { DTLS_BUSY, DTLS_KEYED, DTLS_FAILED };
/* A datagram arrived or, if data is NULL, time has passed. KEYED: the server's certificate has this
 * fingerprint and `keys` is filled in. FAILED: `why` has the reason. */
enum dtls_state dtls_step(struct dtls *dtls, const uint8_t *data, size_t bytes,
                          const char *algorithm, const char *fingerprint, struct dtls_keys *keys,
                          char *why);

#endif
