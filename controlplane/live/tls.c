/* TLS of a connection to Redis: OpenSSL reads and writes memory. */
#include "tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static void why_set(char *why, const char *what)
{
    unsigned long first = ERR_peek_error(); /* the first error is the cause */
    const char *reason =
        ERR_SYSTEM_ERROR(first) ? strerror(ERR_GET_REASON(first)) : ERR_reason_error_string(first);

    snprintf(why, TLS_WHY_BYTES, "%.120s: %.60s", what, reason != NULL ? reason : "unknown error");
    ERR_clear_error();
}

static bool load_own(SSL_CTX *context, const char *certificate, const char *key, char *why)
{
    char what[TLS_WHY_BYTES];

    if (certificate[0] == '\0')
        return true;
    snprintf(what, sizeof(what), "REDIS_TLS_CERT %.90s cannot be used", certificate);
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) {
        why_set(why, what);
        return false;
    }
    snprintf(what, sizeof(what), "REDIS_TLS_KEY %.90s cannot be used", key);
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1)
        return true;
    why_set(why, what);
    return false;
}

SSL_CTX *tls_context_open(const char *ca, const char *certificate, const char *key, char *why)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    char what[TLS_WHY_BYTES];
    int trusted;

    if (context == NULL) {
        why_set(why, "TLS cannot be set up");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    trusted = ca[0] == '\0' ? SSL_CTX_set_default_verify_paths(context)
                            : SSL_CTX_load_verify_file(context, ca);
    if (trusted != 1) {
        snprintf(what, sizeof(what), "REDIS_TLS_CA %.90s cannot be used", ca);
        why_set(why, what);
    } else if (load_own(context, certificate, key, why)) {
        return context;
    }
    SSL_CTX_free(context);
    return NULL;
}

bool tls_files_check(const char *ca, const char *certificate, const char *key, char *why)
{
    SSL_CTX *context = tls_context_open(ca, certificate, key, why);

    SSL_CTX_free(context);
    return context != NULL;
}

bool tls_open(struct tls *tls, SSL_CTX *context, const char *host)
{
    struct in6_addr parsed;
    bool is_address =
        inet_pton(AF_INET, host, &parsed) == 1 || inet_pton(AF_INET6, host, &parsed) == 1;

    tls->ssl = SSL_new(context);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (tls->ssl == NULL || tls->in == NULL || tls->out == NULL) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        SSL_free(tls->ssl);
        tls->ssl = NULL;
        return false;
    }
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_connect_state(tls->ssl);
    tls->is_up = false;
    if (is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), host) == 1;
    SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(tls->ssl, host) == 1 && SSL_set1_host(tls->ssl, host) == 1;
}

void tls_close(struct tls *tls)
{
    SSL_free(tls->ssl);
    tls->ssl = NULL;
}

bool tls_feed(struct tls *tls, const char *bytes, size_t count)
{
    return count <= INT_MAX && BIO_write(tls->in, bytes, (int)count) == (int)count;
}

/* True: no error, OpenSSL only waits for bytes from the network. */
static bool is_waiting(struct tls *tls, int result)
{
    int error = SSL_get_error(tls->ssl, result);

    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

bool tls_handshake(struct tls *tls, char *why)
{
    int result;
    long verified;

    ERR_clear_error();
    result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        tls->is_up = true;
        return true;
    }
    if (is_waiting(tls, result))
        return true;
    verified = SSL_get_verify_result(tls->ssl);
    if (verified != X509_V_OK)
        snprintf(why, TLS_WHY_BYTES, "the certificate of the server is not accepted: %.120s",
                 X509_verify_cert_error_string(verified));
    else
        why_set(why, "the TLS handshake failed");
    return false;
}

int tls_read(struct tls *tls, char *bytes, size_t room, char *why)
{
    int got;

    ERR_clear_error();
    got = SSL_read(tls->ssl, bytes, (int)room);
    if (got > 0)
        return got;
    if (is_waiting(tls, got))
        return 0;
    if (SSL_get_error(tls->ssl, got) == SSL_ERROR_ZERO_RETURN)
        snprintf(why, TLS_WHY_BYTES, "the server closed the connection");
    else
        why_set(why, "TLS failed");
    return -1;
}

bool tls_write(struct tls *tls, const char *bytes, size_t count)
{
    ERR_clear_error();
    return count == 0 || (count <= INT_MAX && SSL_write(tls->ssl, bytes, (int)count) == (int)count);
}

size_t tls_to_send(struct tls *tls, const char **bytes)
{
    char *data = NULL;
    long count = BIO_get_mem_data(tls->out, &data);

    *bytes = data;
    return count > 0 ? (size_t)count : 0;
}

void tls_sent(struct tls *tls)
{
    (void)BIO_reset(tls->out);
}
