/* DTLS handshakes through OpenSSL. */
#include "dtls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "error.h"

#define MTU 1200
#define CERTIFICATE_DAYS 30
#define KEY_BYTES 16

struct dtls {
    SSL *ssl;
    BIO *incoming;
    void (*send)(void *context, const uint8_t *data, size_t bytes);
    void *context;
};

static EVP_PKEY *identity_key;
static X509 *identity_certificate;

/* ---- the certificate ---- */

static void fingerprint_text(const X509 *certificate, const EVP_MD *digest, char *out)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned count = 0;

    X509_digest(certificate, digest, raw, &count);
    for (unsigned i = 0; i < count; i++)
        out += sprintf(out, i ? ":%02X" : "%02X", raw[i]);
}

bool dtls_identity(char fingerprint[96])
{
    if (!identity_key) {
        X509_NAME *name;

        identity_key = EVP_EC_gen("P-256");
        identity_certificate = X509_new();
        if (!identity_key || !identity_certificate)
            return false;
        X509_set_version(identity_certificate, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(identity_certificate), (long)time(NULL));
        X509_gmtime_adj(X509_getm_notBefore(identity_certificate), -86400);
        X509_gmtime_adj(X509_getm_notAfter(identity_certificate), CERTIFICATE_DAYS * 86400);
        X509_set_pubkey(identity_certificate, identity_key);
        name = X509_get_subject_name(identity_certificate);
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"probe", -1, -1,
                                   0);
        X509_set_issuer_name(identity_certificate, name);
        X509_sign(identity_certificate, identity_key, EVP_sha256());
    }
    fingerprint_text(identity_certificate, EVP_sha256(), fingerprint);
    return true;
}

/* ---- a BIO that sends each write as one datagram ---- */

static int datagram_write(BIO *bio, const char *data, int bytes)
{
    struct dtls *dtls = BIO_get_data(bio);

    dtls->send(dtls->context, (const uint8_t *)data, (size_t)bytes);
    return bytes; /* DTLS sends lost datagrams again */
}

static long datagram_control(BIO *bio, int command, long number, void *pointer)
{
    if (command == BIO_CTRL_DGRAM_QUERY_MTU || command == BIO_CTRL_DGRAM_GET_FALLBACK_MTU)
        return MTU;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_WPENDING ? 1 : 0;
}

static int datagram_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *datagram_method(void)
{
    static BIO_METHOD *method;

    if (!method) {
        method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "nice");
        BIO_meth_set_write(method, datagram_write);
        BIO_meth_set_ctrl(method, datagram_control);
        BIO_meth_set_create(method, datagram_create);
    }
    return method;
}

/* ---- the handshake ---- */

static int accept_any(int ok, X509_STORE_CTX *context)
{
    return 1; /* the fingerprint is checked after the handshake */
}

static SSL_CTX *ssl_context(void)
{
    static SSL_CTX *context;

    if (!context) {
        context = SSL_CTX_new(DTLS_client_method());
        SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION);
        SSL_CTX_use_certificate(context, identity_certificate);
        SSL_CTX_use_PrivateKey(context, identity_key);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_any);
        if (SSL_CTX_set_tlsext_use_srtp(context, "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80") !=
            0)
            return NULL;
    }
    return context;
}

struct dtls *dtls_new(void (*send)(void *context, const uint8_t *data, size_t bytes), void *context)
{
    struct dtls *dtls = calloc(1, sizeof(*dtls));
    SSL_CTX *shared = ssl_context();
    BIO *outgoing;

    if (!dtls || !shared) {
        free(dtls);
        return NULL;
    }
    dtls->send = send;
    dtls->context = context;
    dtls->ssl = SSL_new(shared);
    dtls->incoming = BIO_new(BIO_s_mem());
    outgoing = BIO_new(datagram_method());
    if (!dtls->ssl || !dtls->incoming || !outgoing) {
        dtls_free(dtls);
        return NULL;
    }
    BIO_set_mem_eof_return(dtls->incoming, -1);
    BIO_set_data(outgoing, dtls);
    SSL_set_bio(dtls->ssl, dtls->incoming, outgoing);
    SSL_set_options(dtls->ssl, SSL_OP_NO_QUERY_MTU);
    SSL_set_mtu(dtls->ssl, MTU);
    SSL_set_connect_state(dtls->ssl);
    return dtls;
}

void dtls_free(struct dtls *dtls)
{
    if (!dtls)
        return;
    SSL_free(dtls->ssl);
    free(dtls);
}

static bool server_has_fingerprint(SSL *ssl, const char *algorithm, const char *fingerprint)
{
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    char name[16], found[200] = "";
    const EVP_MD *digest;

    snprintf(name, sizeof(name), "%s", algorithm); /* "sha-256", which OpenSSL calls "sha256" */
    for (char *dash; (dash = strchr(name, '-'));)
        memmove(dash, dash + 1, strlen(dash));
    digest = EVP_get_digestbyname(name);
    if (certificate && digest)
        fingerprint_text(certificate, digest, found);
    X509_free(certificate);
    return found[0] && strcasecmp(found, fingerprint) == 0;
}

/* RFC 5764 4.2: client key, server key, client salt, server salt. The probe is the client. */
static bool export_keys(SSL *ssl, const SRTP_PROTECTION_PROFILE *profile, struct dtls_keys *keys)
{
    size_t salt_bytes = profile->id == SRTP_AEAD_AES_128_GCM ? 12 : 14;
    uint8_t material[2 * DTLS_KEY_BYTES_MAX];

    if (SSL_export_keying_material(ssl, material, 2 * (KEY_BYTES + salt_bytes),
                                   "EXTRACTOR-dtls_srtp", 19, NULL, 0, 0) != 1)
        return false;
    memcpy(keys->send, material, KEY_BYTES);
    memcpy(keys->receive, material + KEY_BYTES, KEY_BYTES);
    memcpy(keys->send + KEY_BYTES, material + 2 * KEY_BYTES, salt_bytes);
    memcpy(keys->receive + KEY_BYTES, material + 2 * KEY_BYTES + salt_bytes, salt_bytes);
    keys->is_gcm = profile->id == SRTP_AEAD_AES_128_GCM;
    snprintf(keys->profile, sizeof(keys->profile), "%s", profile->name);
    return true;
}

static enum dtls_state finish(struct dtls *dtls, const char *algorithm, const char *fingerprint,
                              struct dtls_keys *keys, char *why)
{
    const SRTP_PROTECTION_PROFILE *profile = SSL_get_selected_srtp_profile(dtls->ssl);

    if (!profile)
        snprintf(why, PROBE_WHY_BYTES, "the server accepted no SRTP profile");
    else if (!server_has_fingerprint(dtls->ssl, algorithm, fingerprint))
        snprintf(why, PROBE_WHY_BYTES,
                 "the server's certificate does not have the fingerprint from signaling");
    else if (!export_keys(dtls->ssl, profile, keys))
        snprintf(why, PROBE_WHY_BYTES, "OpenSSL did not export keys");
    else
        return DTLS_KEYED;
    return DTLS_FAILED;
}

enum dtls_state dtls_step(struct dtls *dtls, const uint8_t *data, size_t bytes,
                          const char *algorithm, const char *fingerprint, struct dtls_keys *keys,
                          char *why)
{
    int result;

    ERR_clear_error();
    if (data)
        BIO_write(dtls->incoming, data, (int)bytes);
    else
        DTLSv1_handle_timeout(dtls->ssl);
    result = SSL_do_handshake(dtls->ssl);
    if (result == 1)
        return finish(dtls, algorithm, fingerprint, keys, why);
    if (SSL_get_error(dtls->ssl, result) == SSL_ERROR_WANT_READ)
        return DTLS_BUSY;
    strcpy(why, "DTLS: ");
    ERR_error_string_n(ERR_get_error(), why + 6, PROBE_WHY_BYTES - 6);
    return DTLS_FAILED;
}
