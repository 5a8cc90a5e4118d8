/* Access tokens: JWT, HS256 and nothing else.
 *
 * Shape: header.claims.signature; claims sub, email, displayName, iat, exp (those of the NestJS
 *        backend, so that tokens of either are good for the other with the same secret).
 * Threads: any; no state. Memory: nothing is kept.
 * Source: RFC 7515, RFC 7519, RFC 8725 (what goes wrong with JWT), threats.md C5. */
#ifndef RINGCAST_TOKEN_H
#define RINGCAST_TOKEN_H

#include "persistence.h"

#define TOKEN_BYTES_MAX 4096 /* the longest of ours is about 1300 */
#define TOKEN_LIFE_S_MAX 31536000
#define TOKEN_CLOCK_SKEW_S 60 /* between nodes: how far in the future iat may lie */

struct token_claims {
    char subject[UUID_TEXT_BYTES];
    char email[256];
    char display_name[401];
    int64_t issued_s, expires_s; /* unix time */
};

bool token_make(const char *secret, const struct token_claims *claims, char out[TOKEN_BYTES_MAX]);

/* False for everything that is not a token of ours, unaltered and valid at now_s. */
bool token_verify(const char *secret, const char *token, int64_t now_s,
                  struct token_claims *claims);

/* Bytes of a base64url text (RFC 4648 §5, unpadded), -1 when it is not the one canonical encoding
 * of them or does not fit. */
int base64url_decode(const char *text, size_t length, uint8_t *out, size_t room);
/* HMAC-SHA256 of `input` equals the decoded signature; takes the same time wherever they differ. */
bool token_signature_matches(const uint8_t *key, size_t key_bytes, const char *input,
                             size_t input_bytes, const char *signature, size_t signature_length);

#endif
