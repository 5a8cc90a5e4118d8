/* Makes the certificate of this installation, stores it in a row, and reads it from there. */
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

#include "identity.h"

/* From one day ago to ten years ahead. Browsers compare only the fingerprint of the certificate,
 * not its dates. */
#define VALID_SINCE_S (-86400L)
#define VALID_UNTIL_S (3650L * 86400L)

static bool fail_because(char *why, const char *text)
{
    snprintf(why, 128, "%s", text);
    return false;
}

size_t fingerprint_bytes(enum fingerprint_algorithm algorithm)
{
    switch (algorithm) {
    case FINGERPRINT_sha_256:
        return 32;
    case FINGERPRINT_sha_384:
        return 48;
    case FINGERPRINT_sha_512:
        return 64;
    default:
        return 0;
    }
}

size_t fingerprint_make(enum fingerprint_algorithm algorithm, const struct x509_st *certificate,
                        uint8_t out[FINGERPRINT_BYTES_MAX])
{
    const EVP_MD *digest = algorithm == FINGERPRINT_sha_256   ? EVP_sha256()
                           : algorithm == FINGERPRINT_sha_384 ? EVP_sha384()
                           : algorithm == FINGERPRINT_sha_512 ? EVP_sha512()
                                                              : NULL;
    unsigned bytes = 0;

    if (!digest || !X509_digest(certificate, digest, out, &bytes) ||
        bytes != fingerprint_bytes(algorithm))
        return 0;
    return bytes;
}

/* ---- making ---- */

/* The serial number is positive and random (RFC 5280 4.1.2.2). The name tells nothing about this
 * installation. */
static bool certificate_fill(X509 *certificate, EVP_PKEY *key)
{
    uint64_t serial;
    X509_NAME *name = X509_get_subject_name(certificate);

    if (RAND_bytes((unsigned char *)&serial, sizeof(serial)) != 1)
        return false;
    serial = (serial >> 1) | 1;
    return X509_set_version(certificate, X509_VERSION_3) &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial) &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), VALID_SINCE_S) &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_UNTIL_S) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"WebRTC", -1,
                                      -1, 0) &&
           X509_set_issuer_name(certificate, name) && X509_set_pubkey(certificate, key) &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

static bool fingerprints_fill(struct identity_row *row, const X509 *certificate)
{
    uint8_t digest[FINGERPRINT_BYTES_MAX];

    if (!fingerprint_make(FINGERPRINT_sha_256, certificate, digest))
        return false;
    memcpy(row->fingerprint_sha_256, digest, sizeof(row->fingerprint_sha_256));
    if (!fingerprint_make(FINGERPRINT_sha_384, certificate, digest))
        return false;
    memcpy(row->fingerprint_sha_384, digest, sizeof(row->fingerprint_sha_384));
    if (!fingerprint_make(FINGERPRINT_sha_512, certificate, digest))
        return false;
    memcpy(row->fingerprint_sha_512, digest, sizeof(row->fingerprint_sha_512));
    return true;
}

static bool row_fill(struct identity_row *row, X509 *certificate, EVP_PKEY *key)
{
    unsigned char *at = row->certificate;
    int certificate_bytes = i2d_X509(certificate, NULL), key_bytes = i2d_PrivateKey(key, NULL);

    if (certificate_bytes <= 0 || certificate_bytes > IDENTITY_BYTES_MAX || key_bytes <= 0 ||
        key_bytes > IDENTITY_BYTES_MAX)
        return false;
    memset(row->certificate, 0, sizeof(row->certificate));
    memset(row->private_key, 0, sizeof(row->private_key));
    i2d_X509(certificate, &at);
    at = row->private_key;
    i2d_PrivateKey(key, &at);
    row->certificate_bytes = (uint32_t)certificate_bytes;
    row->private_key_bytes = (uint32_t)key_bytes;
    return fingerprints_fill(row, certificate);
}

bool identity_make(struct identity_row *row, char *why)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    bool ok =
        key && certificate && certificate_fill(certificate, key) && row_fill(row, certificate, key);

    X509_free(certificate);
    EVP_PKEY_free(key);
    return ok ||
           fail_because(why, "OpenSSL cannot make a key and a certificate; is libssl3 damaged?");
}

/* ---- reading ---- */

static bool is_p256(EVP_PKEY *key)
{
    char group[32] = "";

    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                          NULL) &&
           strcmp(group, "prime256v1") == 0;
}

/* Each DER object must be exactly as long as the row says. */
static bool row_parse(struct identity *identity, const struct identity_row *row)
{
    const unsigned char *at = row->certificate;

    if (row->certificate_bytes == 0 || row->certificate_bytes > IDENTITY_BYTES_MAX ||
        row->private_key_bytes == 0 || row->private_key_bytes > IDENTITY_BYTES_MAX)
        return false;
    identity->certificate = d2i_X509(NULL, &at, (long)row->certificate_bytes);
    if (!identity->certificate || at != row->certificate + row->certificate_bytes)
        return false;
    at = row->private_key;
    identity->private_key = d2i_AutoPrivateKey(NULL, &at, (long)row->private_key_bytes);
    return identity->private_key && at == row->private_key + row->private_key_bytes;
}

static bool fingerprints_match(const struct identity_row *row, const X509 *certificate)
{
    struct identity_row computed;

    if (!fingerprints_fill(&computed, certificate))
        return false;
    return memcmp(computed.fingerprint_sha_256, row->fingerprint_sha_256,
                  sizeof(row->fingerprint_sha_256)) == 0 &&
           memcmp(computed.fingerprint_sha_384, row->fingerprint_sha_384,
                  sizeof(row->fingerprint_sha_384)) == 0 &&
           memcmp(computed.fingerprint_sha_512, row->fingerprint_sha_512,
                  sizeof(row->fingerprint_sha_512)) == 0;
}

bool identity_open(struct identity *identity, const struct identity_row *row, char *why)
{
    *identity = (struct identity){0};
    if (!row_parse(identity, row))
        fail_because(why, "the stored certificate or private key is not valid DER");
    else if (!is_p256(identity->private_key) ||
             X509_check_private_key(identity->certificate, identity->private_key) != 1)
        fail_because(why, "the stored private key is not a P-256 key of the certificate");
    else if (!fingerprints_match(row, identity->certificate))
        fail_because(why, "the stored fingerprints are not those of the stored certificate");
    else
        return true;
    identity_close(identity);
    return false;
}

void identity_close(struct identity *identity)
{
    X509_free(identity->certificate);
    EVP_PKEY_free(identity->private_key);
    *identity = (struct identity){0};
}
