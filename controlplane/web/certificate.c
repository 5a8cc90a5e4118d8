/* The TLS certificate of the server, session tickets, and watching of the files. */
#define _GNU_SOURCE
#include "certificate.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/clock.h"
#include "src/log.h"

#define WHY_ROOM 192
#define FILES 2

struct ticket_key {
    unsigned char name[16], encryption[32], mac[32];
    int64_t made_s; /* when the key was made; 0: there is no key yet */
};

struct certificate {
    SSL_CTX *current;
    char *files[FILES];        /* certificate chain, key */
    struct ticket_key keys[2]; /* the current one and the previous one */
    int64_t not_after_s;
    uint64_t reloads, refusals;
    uv_fs_poll_t watches[FILES];
    bool watch_failed; /* and it is logged */
    unsigned handles;
};

/* ---- session tickets ---- */

static bool ticket_key_make(struct ticket_key *key, int64_t now_s)
{
    if (RAND_bytes(key->name, sizeof(key->name)) != 1 ||
        RAND_priv_bytes(key->encryption, sizeof(key->encryption)) != 1 ||
        RAND_priv_bytes(key->mac, sizeof(key->mac)) != 1)
        return false;
    key->made_s = now_s;
    return true;
}

static bool ticket_crypto(const struct ticket_key *key, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                          EVP_MAC_CTX *mac, bool encrypt)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->encryption, iv, encrypt) == 1 &&
           EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

/* OpenSSL asks for the key of a ticket. Returns 1: here it is; 2: here it is, and the client must
 * get a new ticket; 0: unknown key, do a full handshake; -1: failure. */
static int find_ticket_key(SSL *ssl, unsigned char name[16], unsigned char *iv,
                           EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    struct certificate *certificate = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key *keys = certificate->keys;
    bool single_use = SSL_version(ssl) >= TLS1_3_VERSION;           /* RFC 8446 C.4 */
    int64_t now_s = (int64_t)(clock_monotonic_ns() / NS_PER_S) + 1; /* 0: no key yet */

    if (keys[0].made_s == 0 || now_s - keys[0].made_s >= TICKET_LIFE_S) {
        keys[1] = keys[0];
        if (!ticket_key_make(&keys[0], now_s))
            return -1;
    }
    if (encrypt) {
        memcpy(name, keys[0].name, sizeof(keys[0].name));
        return RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
                       ticket_crypto(&keys[0], iv, cipher, mac, true)
                   ? 1
                   : -1;
    }
    for (int i = 0; i < 2; i++)
        if (keys[i].made_s != 0 && now_s - keys[i].made_s < 2 * TICKET_LIFE_S &&
            CRYPTO_memcmp(name, keys[i].name, sizeof(keys[i].name)) == 0)
            return !ticket_crypto(&keys[i], iv, cipher, mac, false) ? -1
                   : i > 0 || single_use                            ? 2
                                                                    : 1;
    return 0;
}

/* ---- one SSL_CTX ---- */

/* RFC 7301 3.2: a client that offers protocols, but not http/1.1, gets an alert. */
static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *bytes,
                           const unsigned char *offered, unsigned offered_bytes, void *context)
{
    static const unsigned char http[] = "\x8http/1.1";
    unsigned char *found;

    if (SSL_select_next_proto(&found, bytes, http, sizeof(http) - 1, offered, offered_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 9325: of TLS 1.2 only forward secrecy with authenticated encryption; all of TLS 1.3. */
static bool configure(SSL_CTX *context, struct certificate *certificate)
{
    static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* An idle connection frees its record buffers of 34 KiB. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_OFF); /* tickets need no memory of the server */
    SSL_CTX_set_timeout(context, TICKET_LIFE_S);
    SSL_CTX_set_max_send_fragment(context, SSL3_RT_MAX_PLAIN_LENGTH);
    SSL_CTX_set_app_data(context, certificate);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(context, ciphers) == 1 &&
           SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384") == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, find_ticket_key) == 1;
}

static const char *last_error(void)
{
    unsigned long error = ERR_peek_error();
    const char *reason = ERR_reason_error_string(error);

    if (ERR_GET_LIB(error) == ERR_LIB_SYS)
        return strerror(ERR_GET_REASON(error));
    return reason != NULL ? reason : "not PEM";
}

static int64_t unix_time(const ASN1_TIME *time)
{
    struct tm parts = {0};

    return ASN1_TIME_to_tm(time, &parts) == 1 ? timegm(&parts) : 0;
}

/* Reads the two files. NULL: why says what is wrong. */
static SSL_CTX *load(struct certificate *certificate, int64_t *not_after_s, char *why)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    const X509 *leaf;

    ERR_clear_error();
    if (context == NULL || !configure(context, certificate)) {
        snprintf(why, WHY_ROOM, "TLS cannot be set up: %s", last_error());
    } else if (SSL_CTX_use_certificate_chain_file(context, certificate->files[0]) != 1) {
        snprintf(why, WHY_ROOM,
                 "RINGCAST_TLS_CERTIFICATE: %.70s: %.40s; it must be PEM, own certificate first",
                 certificate->files[0], last_error());
    } else if (SSL_CTX_use_PrivateKey_file(context, certificate->files[1], SSL_FILETYPE_PEM) != 1) {
        bool foreign = ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_X509;

        snprintf(why, WHY_ROOM, "RINGCAST_TLS_KEY: %.70s: %s%.40s", certificate->files[1],
                 foreign ? "does not belong to the certificate: " : "", last_error());
    } else {
        leaf = SSL_CTX_get0_certificate(context);
        *not_after_s = unix_time(X509_get0_notAfter(leaf));
        ERR_clear_error();
        return context;
    }
    ERR_clear_error();
    SSL_CTX_free(context);
    return NULL;
}

bool certificate_reload(struct certificate *certificate, char *why)
{
    int64_t not_after_s = 0;
    SSL_CTX *next = load(certificate, &not_after_s, why);

    if (next != NULL && not_after_s <= (int64_t)time(NULL)) {
        snprintf(why, WHY_ROOM, "RINGCAST_TLS_CERTIFICATE: %.90s has expired",
                 certificate->files[0]);
        SSL_CTX_free(next);
        next = NULL;
    }
    if (next == NULL) {
        certificate->refusals++;
        LOG(ERROR, "tls", "the new certificate is refused: the old one stays in use",
            F("why", "%s", why),
            F("days_left", "%.1f", (double)(certificate->not_after_s - time(NULL)) / 86400));
        return false;
    }
    SSL_CTX_free(certificate->current); /* open connections keep it alive */
    certificate->current = next;
    certificate->not_after_s = not_after_s;
    certificate->reloads++;
    LOG(INFO, "tls", "new certificate loaded", F("file", "%s", certificate->files[0]),
        F("days_left", "%.1f", (double)(not_after_s - time(NULL)) / 86400));
    return true;
}

/* ---- watching ---- */

static void file_changed(uv_fs_poll_t *watch, int status, const uv_stat_t *before,
                         const uv_stat_t *now)
{
    struct certificate *certificate = watch->data;
    char why[WHY_ROOM];

    if (status == 0) {
        certificate->watch_failed = false;
        certificate_reload(certificate, why);
    } else if (!certificate->watch_failed) {
        certificate->watch_failed = true;
        LOG(WARN, "tls", "cannot watch a certificate file: the loaded certificate stays in use",
            F("file", "%s", certificate->files[watch == &certificate->watches[1]]),
            F("why", "%s", uv_strerror(status)));
    }
}

static void handle_closed(uv_handle_t *handle)
{
    struct certificate *certificate = handle->data;

    if (--certificate->handles > 0)
        return;
    OPENSSL_cleanse(certificate->keys, sizeof(certificate->keys));
    free(certificate->files[0]);
    free(certificate->files[1]);
    free(certificate);
}

void certificate_close(struct certificate *certificate)
{
    if (certificate == NULL)
        return;
    SSL_CTX_free(certificate->current);
    certificate->current = NULL;
    for (int i = 0; i < FILES; i++)
        uv_close((uv_handle_t *)&certificate->watches[i], handle_closed);
}

struct certificate *certificate_open(uv_loop_t *loop, const char *certificate_file,
                                     const char *key_file, char *why)
{
    struct certificate *certificate = calloc(1, sizeof(*certificate));

    if (certificate == NULL) {
        snprintf(why, WHY_ROOM, "out of memory");
        return NULL;
    }
    certificate->files[0] = strdup(certificate_file);
    certificate->files[1] = strdup(key_file);
    for (int i = 0; i < FILES; i++, certificate->handles++) {
        uv_fs_poll_init(loop, &certificate->watches[i]);
        certificate->watches[i].data = certificate;
    }
    if (certificate->files[0] != NULL && certificate->files[1] != NULL)
        certificate->current = load(certificate, &certificate->not_after_s, why);
    if (certificate->current == NULL) {
        certificate_close(certificate);
        return NULL;
    }
    for (int i = 0; i < FILES; i++)
        uv_fs_poll_start(&certificate->watches[i], file_changed, certificate->files[i],
                         CERTIFICATE_WATCH_MS);
    if (certificate->not_after_s <= (int64_t)time(NULL))
        LOG(WARN, "tls", "the certificate has expired: browsers will refuse it",
            F("file", "%s", certificate_file));
    return certificate;
}

SSL_CTX *certificate_current(const struct certificate *certificate)
{
    return certificate->current;
}

bool certificate_names(const struct certificate *certificate, const char *host)
{
    X509 *x509 = SSL_CTX_get0_certificate(certificate->current);
    bool names = x509 != NULL && (X509_check_host(x509, host, 0, 0, NULL) == 1 ||
                                  X509_check_ip_asc(x509, host, 0) == 1);

    ERR_clear_error();
    return names;
}

int64_t certificate_not_after_s(const struct certificate *certificate)
{
    return certificate->not_after_s;
}

uint64_t certificate_reloads(const struct certificate *certificate)
{
    return certificate->reloads;
}

uint64_t certificate_refusals(const struct certificate *certificate)
{
    return certificate->refusals;
}
