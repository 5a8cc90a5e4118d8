/* Names of attempts: an address as a name, and the keyed hash of a name. */
#include "attempt_name.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

uint64_t attempt_name_hash(const uint8_t key[ATTEMPT_KEY_BYTES], const char *name)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    uint64_t hash;

    if (!HMAC(EVP_sha256(), key, ATTEMPT_KEY_BYTES, (const uint8_t *)name, strlen(name), digest,
              NULL))
        return 1; /* no memory: all names share one entry, so none gets too many tries */
    memcpy(&hash, digest, sizeof(hash));
    return hash ? hash : 1;
}

void address_name(const char *ip, char out[ADDRESS_NAME_BYTES])
{
    struct in6_addr six;
    const uint8_t *b = six.s6_addr;

    if (inet_pton(AF_INET6, ip, &six) != 1)
        snprintf(out, ADDRESS_NAME_BYTES, "%s", ip);
    else if (IN6_IS_ADDR_V4MAPPED(&six))
        snprintf(out, ADDRESS_NAME_BYTES, "%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
    else /* one person usually has all addresses of a /64 */
        snprintf(out, ADDRESS_NAME_BYTES, "%02x%02x:%02x%02x:%02x%02x:%02x%02x::/64", b[0], b[1],
                 b[2], b[3], b[4], b[5], b[6], b[7]);
}
