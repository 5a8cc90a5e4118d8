/* Handshakes through OpenSSL. */
#include "dtls_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dataplane/engines/srtp/srtp.h"

#define MTU 1200

struct dtls_client {
    SSL *ssl;
    BIO *incoming;
    void (*send)(void *context, const uint8_t *data, size_t bytes);
    void *context;
};

static SSL_CTX *ssl_context;
static BIO_METHOD *datagram_method;
static enum srtp_profile offered;

/* ---- shared by all handshakes ---- */

static const char *profile_name(enum srtp_profile profile)
{
    switch (profile) {
    case SRTP_PROFILE_aead_aes_128_gcm:
        return "SRTP_AEAD_AES_128_GCM";
    case SRTP_PROFILE_aead_aes_256_gcm:
        return "SRTP_AEAD_AES_256_GCM";
    default:
        return "SRTP_AES128_CM_SHA1_80";
    }
}

static void fingerprint_text(const X509 *certificate, const EVP_MD *digest, char *out)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned count = 0;

    out[0] = '\0';
    if (!X509_digest(certificate, digest, raw, &count))
        return;
    for (unsigned i = 0; i < count; i++)
        out += sprintf(out, i ? ":%02X" : "%02X", raw[i]);
}

static int accept_any(int ok, X509_STORE_CTX *context)
{
    return 1; /* the fingerprint is checked after the handshake */
}

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *made = X509_new();
    X509_NAME *name = X509_get_subject_name(made);

    X509_set_version(made, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), -86400);
    X509_gmtime_adj(X509_getm_notAfter(made), 30 * 86400);
    X509_set_pubkey(made, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"WebRTC", -1, -1,
                               0);
    X509_set_issuer_name(made, name);
    return X509_sign(made, key, EVP_sha256()) > 0 ? made : NULL;
}

/* A BIO that sends each write as one datagram. OpenSSL's memory BIO would join them. */
static int datagram_write(BIO *bio, const char *data, int bytes)
{
    struct dtls_client *client = BIO_get_data(bio);

    client->send(client->context, (const uint8_t *)data, (size_t)bytes);
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

bool dtls_client_open(enum srtp_profile profile, char fingerprint[96], char *why)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key ? make_certificate(key) : NULL;

    offered = profile;
    ssl_context = SSL_CTX_new(DTLS_client_method());
    datagram_method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "load");
    if (!certificate || !ssl_context || !datagram_method) {
        snprintf(why, DTLS_CLIENT_WHY_BYTES, "OpenSSL cannot create a P-256 certificate");
        return false;
    }
    BIO_meth_set_write(datagram_method, datagram_write);
    BIO_meth_set_ctrl(datagram_method, datagram_control);
    BIO_meth_set_create(datagram_method, datagram_create);
    SSL_CTX_set_min_proto_version(ssl_context, DTLS1_2_VERSION);
    SSL_CTX_use_certificate(ssl_context, certificate);
    SSL_CTX_use_PrivateKey(ssl_context, key);
    SSL_CTX_set_verify(ssl_context, SSL_VERIFY_PEER, accept_any);
    SSL_CTX_set_session_cache_mode(ssl_context, SSL_SESS_CACHE_OFF);
    fingerprint_text(certificate, EVP_sha256(), fingerprint);
    X509_free(certificate);
    EVP_PKEY_free(key);
    if (SSL_CTX_set_tlsext_use_srtp(ssl_context, profile_name(profile)) == 0)
        return true;
    snprintf(why, DTLS_CLIENT_WHY_BYTES, "OpenSSL does not know %s", profile_name(profile));
    return false;
}

void dtls_client_close(void)
{
    SSL_CTX_free(ssl_context);
    BIO_meth_free(datagram_method);
    ssl_context = NULL;
    datagram_method = NULL;
}

/* ---- one handshake ---- */

struct dtls_client *dtls_client_new(void (*send)(void *context, const uint8_t *data, size_t bytes),
                                    void *context)
{
    struct dtls_client *client = calloc(1, sizeof(*client));
    BIO *outgoing = BIO_new(datagram_method);

    if (!client || !outgoing)
        abort(); /* as memory_zeroed does */
    client->send = send;
    client->context = context;
    client->ssl = SSL_new(ssl_context);
    client->incoming = BIO_new(BIO_s_mem());
    if (!client->ssl || !client->incoming)
        abort();
    BIO_set_mem_eof_return(client->incoming, -1);
    BIO_set_data(outgoing, client);
    SSL_set_bio(client->ssl, client->incoming, outgoing);
    SSL_set_options(client->ssl, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET);
    SSL_set_mtu(client->ssl, MTU);
    SSL_set_connect_state(client->ssl);
    return client;
}

void dtls_client_free(struct dtls_client *client)
{
    if (!client)
        return;
    SSL_free(client->ssl);
    free(client);
}

static bool has_fingerprint(SSL *ssl, const char *algorithm, const char *fingerprint)
{
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    char name[16], found[200] = "";
    const EVP_MD *digest;

    snprintf(name, sizeof(name), "%s", algorithm);
    for (char *dash; (dash = strchr(name, '-'));)
        memmove(dash, dash + 1, strlen(dash));
    digest = EVP_get_digestbyname(name);
    if (certificate && digest)
        fingerprint_text(certificate, digest, found);
    X509_free(certificate);
    return found[0] && strcasecmp(found, fingerprint) == 0;
}

/* RFC 5764 4.2: client key, server key, client salt, server salt. We are the client. */
static bool export_keys(SSL *ssl, struct dtls_client_keys *keys)
{
    uint8_t material[2 * (32 + 14)];
    size_t key, salt;

    srtp_profile_sizes(offered, &key, &salt);
    if (SSL_export_keying_material(ssl, material, 2 * (key + salt), "EXTRACTOR-dtls_srtp", 19, NULL,
                                   0, 0) != 1)
        return false;
    memcpy(keys->ours_key, material, key);
    memcpy(keys->theirs_key, material + key, key);
    memcpy(keys->ours_salt, material + 2 * key, salt);
    memcpy(keys->theirs_salt, material + 2 * key + salt, salt);
    return true;
}

static enum dtls_client_state finish(struct dtls_client *client, const char *algorithm,
                                     const char *fingerprint, struct dtls_client_keys *keys,
                                     char *why)
{
    const SRTP_PROTECTION_PROFILE *profile = SSL_get_selected_srtp_profile(client->ssl);

    if (!profile || profile->id != (unsigned long)offered)
        snprintf(why, DTLS_CLIENT_WHY_BYTES, "the server did not accept the SRTP profile %s",
                 profile_name(offered));
    else if (!has_fingerprint(client->ssl, algorithm, fingerprint))
        snprintf(why, DTLS_CLIENT_WHY_BYTES,
                 "the server's certificate does not have the fingerprint from signaling");
    else if (!export_keys(client->ssl, keys))
        snprintf(why, DTLS_CLIENT_WHY_BYTES, "OpenSSL did not export keys");
    else
        return DTLS_CLIENT_KEYED;
    return DTLS_CLIENT_FAILED;
}

enum dtls_client_state dtls_client_step(struct dtls_client *client, const uint8_t *data,
                                        size_t bytes, const char *algorithm,
                                        const char *fingerprint, struct dtls_client_keys *keys,
                                        char *why)
{
    int result, error;

    ERR_clear_error();
    if (data)
        BIO_write(client->incoming, data, (int)bytes);
    else
        DTLSv1_handle_timeout(client->ssl);
    result = SSL_do_handshake(client->ssl);
    if (result == 1)
        return finish(client, algorithm, fingerprint, keys, why);
    error = SSL_get_error(client->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return DTLS_CLIENT_BUSY;
    strcpy(why, "DTLS: ");
    ERR_error_string_n(ERR_get_error(), why + 6, DTLS_CLIENT_WHY_BYTES - 6);
    return DTLS_CLIENT_FAILED;
}
