/* Access tokens: JWT with HS256, and nothing else.
 *
 * Ours:   header.claims.signature, with the claims sub, email, displayName, iat, exp, as the NestJS
 *         backend writes them: with the same secret each accepts the tokens of the other.
 * Others: whoever has the secret may issue tokens. Refused is only a wrong signature or algorithm, a
 *         sub that is no UUID, an exp that is missing or over, an nbf that is not yet reached, one of
 *         these twice, and a crit in the header. Every other claim and member of the header may be
 *         anything.
 * Threads: any; no state.
 * Source: RFC 7515, RFC 7519, RFC 8725 (known mistakes with JWT), threat C5. */
#ifndef RINGCAST_TOKEN_H
#define RINGCAST_TOKEN_H

#include "persistence.h"

#define TOKEN_BYTES_MAX 4096       /* ours have at most about 1300 */
#define TOKEN_READ_BYTES_MAX 16384 /* of other issuers; the head of a request has no more either */

struct token_claims {
    char subject[UUID_TEXT_BYTES];
    char email[256];
    char display_name[401];
    int64_t issued_s, expires_s; /* Unix time */
};

bool token_make(const char *secret, const struct token_claims *claims, char out[TOKEN_BYTES_MAX]);

/* Is its signature made with the secret? Says nothing of the claims. */
bool token_is_signed(const char *secret, const char *token);
/* True: the token was made with the secret, nobody changed it, and it is valid at now_s. Fills in
 * subject and expires_s. The rest stays empty: who the user is says the database, not the token. */
bool token_verify(const char *secret, const char *token, int64_t now_s,
                  struct token_claims *claims);

/* Decodes base64url (RFC 4648 §5, without padding) and returns the number of bytes. -1: the text is
 * not the canonical encoding, or the bytes do not fit. */
int base64url_decode(const char *text, size_t length, uint8_t *out, size_t room);
/* Is the signature the HMAC-SHA256 of `input`? The time does not depend on where they differ. */
bool token_signature_matches(const uint8_t *key, size_t key_bytes, const char *input,
                             size_t input_bytes, const char *signature, size_t signature_length);

#endif
