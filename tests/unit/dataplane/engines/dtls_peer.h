/* A DTLS-SRTP client or server for tests. It uses OpenSSL and has no code of the engine. */
#ifndef RINGCAST_TEST_DTLS_PEER_H
#define RINGCAST_TEST_DTLS_PEER_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PEER_DEFAULT_PROFILES "SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM"

enum peer_certificate { PEER_ECDSA, PEER_RSA, PEER_RSA_1024, PEER_NO_CERTIFICATE };

struct peer_settings {
    bool server;
    enum peer_certificate certificate;
    const char *profiles; /* NULL: PEER_DEFAULT_PROFILES; "": no use_srtp extension */
    const char *ciphers;  /* NULL: OpenSSL's default */
    int version_min, version_max;
    int mtu;               /* 0: 1200 */
    long first_timeout_us; /* 0: 100 ms */
    SSL_SESSION *resume;
};

struct peer {
    SSL_CTX *context;
    SSL *ssl;
    X509 *certificate;
    EVP_PKEY *key;
    const uint8_t *in;
    size_t in_bytes;
    void (*send)(void *context, const uint8_t *datagram, size_t bytes);
    void *send_context;
    unsigned first_timeout_us;
    bool connected, failed, closed;
};

static inline int peer_bio_read(BIO *bio, char *out, int room)
{
    struct peer *peer = BIO_get_data(bio);
    int bytes = (int)peer->in_bytes;

    BIO_clear_retry_flags(bio);
    if (bytes == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (bytes > room)
        bytes = room;
    memcpy(out, peer->in, (size_t)bytes);
    peer->in_bytes = 0;
    return bytes;
}

static inline int peer_bio_write(BIO *bio, const char *data, int bytes)
{
    struct peer *peer = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    peer->send(peer->send_context, (const uint8_t *)data, (size_t)bytes);
    return bytes;
}

static inline long peer_bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static inline int peer_accept_any(X509_STORE_CTX *store, void *unused)
{
    (void)store, (void)unused;
    return 1;
}

static inline unsigned peer_timeout(SSL *ssl, unsigned before_us)
{
    struct peer *peer = SSL_get_app_data(ssl);

    if (before_us == 0)
        return peer->first_timeout_us;
    return before_us < 2000000 ? before_us * 2 : before_us;
}

static inline void peer_make_certificate(struct peer *peer, enum peer_certificate kind)
{
    X509 *certificate = X509_new();
    X509_NAME *name = X509_get_subject_name(certificate);

    peer->key =
        kind == PEER_ECDSA ? EVP_EC_gen("P-256") : EVP_RSA_gen(kind == PEER_RSA ? 2048u : 1024u);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"peer", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_set_pubkey(certificate, peer->key);
    X509_sign(certificate, peer->key, EVP_sha256());
    peer->certificate = certificate;
}

static inline void peer_open(struct peer *peer, const struct peer_settings *settings)
{
    static BIO_METHOD *method;
    BIO *bio;
    const char *profiles = settings->profiles ? settings->profiles : PEER_DEFAULT_PROFILES;

    *peer = (struct peer){.first_timeout_us = settings->first_timeout_us
                                                  ? (unsigned)settings->first_timeout_us
                                                  : 100000};
    if (!method) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "test peer");
        BIO_meth_set_read(method, peer_bio_read);
        BIO_meth_set_write(method, peer_bio_write);
        BIO_meth_set_ctrl(method, peer_bio_control);
    }
    peer->context = SSL_CTX_new(DTLS_method());
    SSL_CTX_set_security_level(peer->context, 0);
    SSL_CTX_set_min_proto_version(peer->context, settings->version_min);
    SSL_CTX_set_max_proto_version(peer->context, settings->version_max);
    if (settings->ciphers && SSL_CTX_set_cipher_list(peer->context, settings->ciphers) != 1)
        abort();
    if (settings->certificate != PEER_NO_CERTIFICATE) {
        peer_make_certificate(peer, settings->certificate);
        SSL_CTX_use_certificate(peer->context, peer->certificate);
        SSL_CTX_use_PrivateKey(peer->context, peer->key);
    }
    SSL_CTX_set_verify(peer->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(peer->context, peer_accept_any, NULL);
    SSL_CTX_set_options(peer->context, SSL_OP_NO_QUERY_MTU);
    if (*profiles && SSL_CTX_set_tlsext_use_srtp(peer->context, profiles) != 0)
        abort();
    peer->ssl = SSL_new(peer->context);
    bio = BIO_new(method);
    BIO_set_init(bio, 1);
    BIO_set_data(bio, peer);
    SSL_set_bio(peer->ssl, bio, bio);
    SSL_set_app_data(peer->ssl, peer);
    SSL_set_mtu(peer->ssl, settings->mtu ? settings->mtu : 1200);
    DTLS_set_timer_cb(peer->ssl, peer_timeout);
    if (settings->resume)
        SSL_set_session(peer->ssl, settings->resume);
    if (settings->server)
        SSL_set_accept_state(peer->ssl);
    else
        SSL_set_connect_state(peer->ssl);
    ERR_clear_error();
}

static inline void peer_close(struct peer *peer)
{
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->context);
    X509_free(peer->certificate);
    EVP_PKEY_free(peer->key);
    *peer = (struct peer){0};
}

/* Continues the handshake, or reads what arrives after it. */
static inline void peer_continue(struct peer *peer)
{
    uint8_t data[2048];
    int result, error;

    ERR_clear_error();
    if (!peer->connected && !peer->failed) {
        result = SSL_do_handshake(peer->ssl);
        error = SSL_get_error(peer->ssl, result);
        peer->connected = result == 1;
        peer->failed = result != 1 && error != SSL_ERROR_WANT_READ;
    }
    if (peer->connected) {
        result = SSL_read(peer->ssl, data, sizeof(data));
        error = SSL_get_error(peer->ssl, result);
        peer->closed |= result <= 0 && error == SSL_ERROR_ZERO_RETURN;
        peer->failed |= result <= 0 && error == SSL_ERROR_SSL;
    }
    ERR_clear_error();
}

static inline void peer_receive(struct peer *peer, const uint8_t *datagram, size_t bytes)
{
    peer->in = datagram;
    peer->in_bytes = bytes;
    peer_continue(peer);
    peer->in_bytes = 0;
}

static inline size_t peer_fingerprint(const struct peer *peer, const EVP_MD *digest, uint8_t *out)
{
    unsigned bytes = 0;

    if (peer->certificate)
        X509_digest(peer->certificate, digest, out, &bytes);
    return bytes;
}

/* Exports the SRTP keys: client key, server key, client salt, server salt (RFC 5764 4.2). */
static inline bool peer_export(const struct peer *peer, uint8_t *out, size_t bytes)
{
    return SSL_export_keying_material(peer->ssl, out, bytes, "EXTRACTOR-dtls_srtp", 19, NULL, 0,
                                      0) == 1;
}

#endif
