/* STUN for an ICE-lite server: reading binding requests and building the answers. No state, no I/O.
 *
 * Source: RFC 8489 (and RFC 5389 which browsers still speak), RFC 8445 7.3, RFC 5769 vectors.
 * Errors: enum stun_result, always the peer's fault. The cheap checks come first, so that a flood
 * of strangers never reaches the HMAC: stun_parse touches no secret. */
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
    const char *local_ufrag; /* left half of USERNAME: ours. Points into the datagram. */
    const char *remote_ufrag;
    uint8_t local_ufrag_bytes, remote_ufrag_bytes;
    bool use_candidate, controlling, controlled, has_priority;
    bool has_unknown_required; /* comprehension-required attributes we do not know → 420 */
    uint16_t unknown[4];
    uint8_t unknown_count;
    uint64_t tie_breaker;
    uint32_t priority;
    uint16_t integrity_at, fingerprint_at; /* offsets of those attributes; 0: not there */
};

/* Structure only: header, magic cookie, every attribute inside, nothing but FINGERPRINT behind
 * MESSAGE-INTEGRITY (one MESSAGE-INTEGRITY-SHA256 between them is stepped over: RFC 8489 clients may
 * send both), FINGERPRINT last, both present, USERNAME of the form ours:theirs in ICE characters. A
 * binding indication, a response or another method is STUN_NOT_REQUEST. */
enum stun_result stun_parse(const uint8_t *data, size_t bytes, struct stun_request *request);

/* FINGERPRINT (CRC-32) first, then MESSAGE-INTEGRITY (HMAC-SHA1 with our password, compared in
 * constant time). */
enum stun_result stun_authenticate(const uint8_t *data, size_t bytes,
                                   const struct stun_request *request, const char *password);

/* Answers, all with MESSAGE-INTEGRITY and FINGERPRINT, without SOFTWARE and reason phrases: 60 to 80
 * bytes, not more than the request has (threats.md D2). Return bytes written to out. */
size_t stun_build_success(uint8_t out[STUN_RESPONSE_BYTES_MAX], const struct stun_request *request,
                          const struct path *path, const char *password);
/* 400, 420 (lists request->unknown) or 487 (RFC 8445 7.3.1.1 role conflict). */
size_t stun_build_error(uint8_t out[STUN_RESPONSE_BYTES_MAX], const struct stun_request *request,
                        unsigned code, const char *password);

#endif
