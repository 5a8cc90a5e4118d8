/* The client's half of ICE's STUN: binding requests out, their answers in; and the little that a full
 * ICE agent on the other side asks of us. No state, no I/O. (The server's engine only answers.)
 *
 * Source: RFC 8489, RFC 8445 7.1, RFC 7675. Errors: false = not acceptable, for whatever reason. */
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
    bool controlled; /* else controlling, with USE-CANDIDATE */
};
/* Returns the bytes written. */
size_t stun_check_build(uint8_t out[STUN_CLIENT_BYTES_MAX], const struct stun_check *check);

/* Kind and transaction of a message: length, cookie and attribute lengths are right. */
bool stun_look(const uint8_t *data, size_t bytes, enum stun_kind *kind,
               const uint8_t **transaction);
/* FINGERPRINT and MESSAGE-INTEGRITY are there and right under this password. */
bool stun_is_authentic(const uint8_t *data, size_t bytes, const char *password);

/* Answers an authentic request with success. */
size_t stun_answer_build(uint8_t out[STUN_CLIENT_BYTES_MAX], const uint8_t *transaction,
                         const struct sockaddr_in *from, const char *password);

#endif
