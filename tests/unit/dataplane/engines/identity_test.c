/* The certificate of the installation: making it, reading it from a row, refusing a changed row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "dataplane/engines/identity.h"

static struct identity_row made;

static void identity_is_read_from_its_row(void **state)
{
    struct identity identity;
    uint8_t digest[FINGERPRINT_BYTES_MAX];
    char why[128] = "";

    assert_true(identity_open(&identity, &made, why));
    assert_int_equal(fingerprint_make(FINGERPRINT_sha_256, identity.certificate, digest), 32);
    assert_memory_equal(digest, made.fingerprint_sha_256, 32);
    assert_int_equal(fingerprint_make(FINGERPRINT_sha_384, identity.certificate, digest), 48);
    assert_memory_equal(digest, made.fingerprint_sha_384, 48);
    assert_int_equal(fingerprint_make(FINGERPRINT_sha_512, identity.certificate, digest), 64);
    assert_memory_equal(digest, made.fingerprint_sha_512, 64);
    assert_true(X509_verify(identity.certificate, identity.private_key) == 1);
    assert_int_equal(X509_cmp_current_time(X509_get0_notBefore(identity.certificate)), -1);
    assert_int_equal(X509_cmp_current_time(X509_get0_notAfter(identity.certificate)), 1);
    identity_close(&identity);
    assert_null(identity.certificate);
}

/* The fingerprint is the digest of the DER bytes. */
static void fingerprint_is_the_digest_of_the_der(void **state)
{
    uint8_t digest[64];
    unsigned bytes = 0;

    EVP_Digest(made.certificate, made.certificate_bytes, digest, &bytes, EVP_sha256(), NULL);
    assert_int_equal(bytes, 32);
    assert_memory_equal(digest, made.fingerprint_sha_256, 32);
}

static void two_installations_differ(void **state)
{
    struct identity_row other = {0};
    char why[128];

    assert_true(identity_make(&other, why));
    assert_memory_not_equal(other.fingerprint_sha_256, made.fingerprint_sha_256, 32);
    assert_memory_not_equal(other.private_key, made.private_key, other.private_key_bytes);
}

static void new_row_is_within_its_ranges(void **state)
{
    const struct field *bad = NULL;

    assert_true(row_in_range(TABLE_identity, &made, &bad));
    assert_in_range(made.certificate_bytes, 200, 600);
    assert_in_range(made.private_key_bytes, 100, 200);
}

static void fingerprint_algorithms(void **state)
{
    static const struct {
        enum fingerprint_algorithm algorithm;
        size_t bytes;
    } rows[] = {
        {FINGERPRINT_none, 0},
        {FINGERPRINT_sha_1, 0},
        {FINGERPRINT_sha_224, 0},
        {FINGERPRINT_sha_256, 32},
        {FINGERPRINT_sha_384, 48},
        {FINGERPRINT_sha_512, 64},
        {(enum fingerprint_algorithm)6, 0},
        {(enum fingerprint_algorithm)255, 0},
    };
    struct identity identity;
    uint8_t digest[FINGERPRINT_BYTES_MAX];
    char why[128];

    assert_true(identity_open(&identity, &made, why));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(fingerprint_bytes(rows[i].algorithm), rows[i].bytes);
        assert_int_equal(fingerprint_make(rows[i].algorithm, identity.certificate, digest),
                         rows[i].bytes);
    }
    identity_close(&identity);
}

static void refuse(struct identity_row *row)
{
    struct identity identity;
    char why[128] = "";

    assert_false(identity_open(&identity, row, why));
    assert_null(identity.certificate);
    assert_null(identity.private_key);
    assert_int_not_equal(why[0], '\0');
}

/* A row is refused when a length, a fingerprint, a byte of the certificate or the key is wrong. */
static void changed_rows_are_refused(void **state)
{
    struct identity_row row, other = {0};
    char why[128];

    row = (struct identity_row){0};
    refuse(&row);
    row = made, row.certificate_bytes = 0, refuse(&row);
    row = made, row.certificate_bytes = IDENTITY_BYTES_MAX + 1, refuse(&row);
    row = made, row.private_key_bytes = 0xffffffff, refuse(&row);
    row = made, row.certificate_bytes--, refuse(&row);
    row = made, row.certificate_bytes++, refuse(&row);
    row = made, row.private_key_bytes++, refuse(&row);
    row = made, row.fingerprint_sha_256[31] ^= 1, refuse(&row);
    row = made, row.fingerprint_sha_384[0] ^= 1, refuse(&row);
    row = made, row.fingerprint_sha_512[63] ^= 1, refuse(&row);
    for (uint32_t i = 0; i < made.certificate_bytes; i++)
        row = made, row.certificate[i] ^= (uint8_t)(1u << i % 8), refuse(&row);
    assert_true(identity_make(&other, why));
    row = made;
    memcpy(row.private_key, other.private_key, sizeof(row.private_key));
    row.private_key_bytes = other.private_key_bytes;
    refuse(&row);
}

/* A complete identity, but on a curve that not every browser supports. */
static void other_curves_are_refused(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-384");
    X509 *certificate = X509_new();
    struct identity_row row = {0};
    unsigned char *at = row.private_key;
    unsigned bytes;

    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    row.private_key_bytes = (uint32_t)i2d_PrivateKey(key, &at);
    at = row.certificate;
    row.certificate_bytes = (uint32_t)i2d_X509(certificate, &at);
    X509_digest(certificate, EVP_sha256(), row.fingerprint_sha_256, &bytes);
    X509_digest(certificate, EVP_sha384(), row.fingerprint_sha_384, &bytes);
    X509_digest(certificate, EVP_sha512(), row.fingerprint_sha_512, &bytes);
    refuse(&row);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static int make(void **state)
{
    char why[128];

    return identity_make(&made, why) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_is_read_from_its_row),
        cmocka_unit_test(fingerprint_is_the_digest_of_the_der),
        cmocka_unit_test(two_installations_differ),
        cmocka_unit_test(new_row_is_within_its_ranges),
        cmocka_unit_test(fingerprint_algorithms),
        cmocka_unit_test(changed_rows_are_refused),
        cmocka_unit_test(other_curves_are_refused),
    };

    return cmocka_run_group_tests(tests, make, NULL);
}
