/* dtlsParameters of a client: they decide our role and the digest that its certificate must have.
 * Source: RFC 8122. */
#include <ctype.h>
#include <string.h>

#include "internal.h"

/* sha-1 and sha-224 are not in the list: a collision would let
 * another certificate pass (gate G4). */
static const struct {
    const char *name;
    enum fingerprint_algorithm algorithm;
    uint8_t bytes;
} algorithms[] = {{"sha-256", FINGERPRINT_sha_256, 32},
                  {"sha-384", FINGERPRINT_sha_384, 48},
                  {"sha-512", FINGERPRINT_sha_512, 64}};

static int hex_digit(char c)
{
    if (isdigit((unsigned char)c))
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Parses "AA:BB:…", which must be exactly `bytes` bytes. */
static bool parse_fingerprint(const char *text, uint32_t bytes, uint8_t *out)
{
    uint32_t i;

    if (strlen(text) != bytes * 3 - 1)
        return false;
    for (i = 0; i < bytes; i++, text += 3) {
        int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

        if (low < 0 || text[2] != (i + 1 < bytes ? ':' : '\0'))
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool ortc_dtls_parameters(const cJSON *parameters, struct transport_row *row, char *why)
{
    const cJSON *list = ortc_get(parameters, "fingerprints"), *item;
    const char *role = ortc_text(parameters, "role");
    enum dtls_role ours;
    size_t i;

    if (ortc_get(parameters, "role") == NULL)
        role = "auto";
    if (role == NULL || !cJSON_IsObject(parameters))
        return ortc_refuse(why, "dtlsParameters is not {role, fingerprints}");
    /* A client that is active, or lets us choose, makes us the server (RFC 8842, section 5.3). */
    if (strcmp(role, "client") == 0 || strcmp(role, "auto") == 0)
        ours = DTLS_ROLE_server;
    else if (strcmp(role, "server") == 0)
        ours = DTLS_ROLE_client;
    else
        return ortc_refuse(why, "dtlsParameters.role is not client, server or auto");
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > 16)
        return ortc_refuse(why, "dtlsParameters.fingerprints is not an array of 1 to 16");
    cJSON_ArrayForEach(item, list)
    {
        const char *algorithm = ortc_text(item, "algorithm"), *value = ortc_text(item, "value");

        for (i = 0; i < 3 && algorithm != NULL && value != NULL; i++) {
            uint8_t digest[FINGERPRINT_BYTES_MAX] = {0};

            if (strcmp(algorithm, algorithms[i].name) != 0)
                continue;
            if (!parse_fingerprint(value, algorithms[i].bytes, digest))
                return ortc_refuse(why,
                                   "dtlsParameters: the %s fingerprint is not %u bytes in "
                                   "hexadecimal with colons",
                                   algorithm, algorithms[i].bytes);
            row->dtls_role = (uint8_t)ours;
            row->fingerprint_algorithm = (uint8_t)algorithms[i].algorithm;
            row->fingerprint_bytes = algorithms[i].bytes;
            memcpy(row->fingerprint, digest, sizeof(digest));
            return true;
        }
    }
    return ortc_refuse(why, "dtlsParameters has no sha-256, sha-384 or sha-512 fingerprint");
}
