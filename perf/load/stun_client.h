/* STUN messages of an ICE client: it builds binding requests, checks their answers, and answers
 * requests of a server that is a full ICE agent. No state, no I/O.
 *
 * Source: RFC 8489, RFC 8445 7.1, RFC 7675. Errors: false means that the message must be
 *         ignored. */
#ifndef RINGCAST_LOAD_STUN_CLIENT_H
#define RINGCAST_LOAD_STUN_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STUN_CLIENT_BYTES_MAX 320
#define STUN_TRANSACTION_BYTES 12

enum stun_kind { STUN_IS_REQUEST, STUN_IS_SUCCESS, STUN_IS_ERROR, STUN_IS_OTHER };

struct stun_check {
    const char *remote_ufrag, *local_ufrag; /* USERNAME is remote:local */
    const char *remote_password;
    uint8_t transaction[STUN_TRANSACTION_BYTES];
    uint64_t tie_breaker;
    bool controlled; /* false: controlling, with USE-CANDIDATE */
};
/* Returns the bytes written. */
size_t stun_check_build(uint8_t out[STUN_CLIENT_BYTES_MAX], const struct stun_check *check);

/* Reads kind and transaction. False: length, cookie or an attribute length is wrong. */
bool stun_parse_header(const uint8_t *data, size_t bytes, enum stun_kind *kind,
                       const uint8_t **transaction);
/* True: FINGERPRINT and MESSAGE-INTEGRITY are present and match this password. */
bool stun_is_authentic(const uint8_t *data, size_t bytes, const char *password);

/* Builds the success answer to an authentic request. Returns its bytes. */
size_t stun_answer_build(uint8_t out[STUN_CLIENT_BYTES_MAX], const uint8_t *transaction,
                         const struct sockaddr_in *from, const char *password);

#endif
