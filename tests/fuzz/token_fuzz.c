/* uses: controlplane */
/* Verifies arbitrary tokens. A token that is accepted must be valid now, and making a token of its
 * claims must give an equal one.
 *
 * Input: the token. If its first byte is 's', the rest is a header and claims, on two lines, which
 * are signed with the right key. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/people/token.h"
#include "controlplane/people/uuid.h"

#define SECRET "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
#define NOW 1800000000
#define INPUT_BYTES_MAX 2000

static size_t encode(const uint8_t *from, size_t count, char *out)
{
    size_t bytes = (size_t)EVP_EncodeBlock((uint8_t *)out, from, (int)count);

    while (bytes && out[bytes - 1] == '=')
        bytes--;
    for (size_t i = 0; i < bytes; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    out[bytes] = 0;
    return bytes;
}

static void sign(const uint8_t *data, size_t size, char *token)
{
    const uint8_t *line = memchr(data, '\n', size);
    size_t header = line ? (size_t)(line - data) : size, length;
    uint8_t signature[32];

    length = encode(data, header, token);
    token[length++] = '.';
    length += encode(line ? line + 1 : data, line ? size - header - 1 : 0, token + length);
    HMAC(EVP_sha256(), SECRET, sizeof(SECRET) - 1, (uint8_t *)token, length, signature, NULL);
    token[length++] = '.';
    encode(signature, sizeof(signature), token + length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char token[2 * INPUT_BYTES_MAX];
    struct token_claims claims, again;
    char ours[TOKEN_BYTES_MAX];

    if (size < 1 || size > INPUT_BYTES_MAX)
        return 0;
    if (data[0] == 's') {
        sign(data + 1, size - 1, token);
    } else {
        memcpy(token, data + 1, size - 1);
        token[size - 1] = 0;
    }
    if (!token_verify(SECRET, token, NOW, &claims))
        return 0;
    if (!uuid_is_valid(claims.subject) || claims.expires_s <= NOW)
        abort();
    if (!token_make(SECRET, &claims, ours) || !token_verify(SECRET, ours, NOW, &again) ||
        again.expires_s != claims.expires_s || strcmp(again.subject, claims.subject) != 0)
        abort();
    return 0;
}
