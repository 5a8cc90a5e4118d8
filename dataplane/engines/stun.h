/* STUN for an ICE-lite server: reads binding requests and builds the responses.
 *
 * Shape:   functions of bytes; no state, no I/O, no clock.
 * Units:   bytes.
 * Threads: any.
 * Memory:  a struct stun_request points into the datagram.
 * Errors:  enum stun_result; all of them are the peer's fault.
 * Source:  RFC 8489, RFC 5389 (its predecessor, which browsers still use), RFC 8445 7.3.
 *
 * stun_parse is cheap and needs no secret. The caller then finds the transport by local_ufrag and
 * asks stun_authenticate. So a flood of requests by strangers never reaches the HMAC. */
#ifndef RINGCAST_STUN_H
#define RINGCAST_STUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/path.h"

#define STUN_RESPONSE_BYTES_MAX 128

enum stun_result { STUN_OK, STUN_MALFORMED, STUN_NOT_REQUEST, STUN_UNAUTHENTIC };

struct stun_request {
    uint8_t transaction[12];
    const char *local_ufrag;  /* USERNAME up to the colon: the fragment that we made */
    const char *remote_ufrag; /* USERNAME behind the colon: the client's */
    uint8_t local_ufrag_bytes, remote_ufrag_bytes;
    bool use_candidate, controlling, controlled, has_priority;
    bool has_unknown_required; /* mandatory attributes that we do not know: answer 420 */
    uint16_t unknown[4];       /* the first of them */
    uint8_t unknown_count;
    uint64_t tie_breaker;
    uint32_t priority;
    uint16_t integrity_at, fingerprint_at; /* offsets of these attributes in the datagram */
};

/* Checks the structure only: header and magic cookie; every attribute lies inside the datagram;
 * MESSAGE-INTEGRITY and then FINGERPRINT are the last attributes (a MESSAGE-INTEGRITY-SHA256
 * between them is skipped: clients of RFC 8489 may send both); USERNAME is two ICE username
 * fragments with a colon between them. An indication, a response or another method is
 * STUN_NOT_REQUEST. */
enum stun_result stun_parse(const uint8_t *data, size_t bytes, struct stun_request *request);

/* Checks FINGERPRINT (a CRC-32) and then MESSAGE-INTEGRITY (HMAC-SHA1 with our password). The
 * comparison takes the same time whatever the bytes are. */
enum stun_result stun_authenticate(const uint8_t *data, size_t bytes,
                                   const struct stun_request *request, const char *password);

/* Build responses with MESSAGE-INTEGRITY and FINGERPRINT, and return their length: 60 to 80 bytes.
 * They have no SOFTWARE and no reason phrase, so that they are not longer than the request: see
 * threat D2. */
size_t stun_build_success(uint8_t out[STUN_RESPONSE_BYTES_MAX], const struct stun_request *request,
                          const struct path *path, const char *password);
/* code is 400, 420 (with the list request->unknown) or 487 (role conflict, RFC 8445 7.3.1.1). */
size_t stun_build_error(uint8_t out[STUN_RESPONSE_BYTES_MAX], const struct stun_request *request,
                        unsigned code, const char *password);

#endif
