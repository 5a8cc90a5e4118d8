/* DTLS with OpenSSL: checks in front of it, datagrams in and out, keys out. */
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dtls.h"
#include "dtls_clock.h"
#include "src/clock.h"

#define CIPHERS                                                    \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256:"   \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305"
#define SIGNATURES                                                   \
    "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:RSA-PSS+SHA256:" \
    "RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512"
#define PROFILES "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"
#define EXPORTER_LABEL "EXTRACTOR-dtls_srtp"
#define ALERT_FATAL 2
#define ALERT_GRACE_NS (3 * NS_PER_S) /* to finish a handshake after an alert in plaintext */
#define PEER_KEY_BITS_MIN 112         /* security bits: at least RSA-2048 or P-256 */

struct dtls_context {
    SSL_CTX *ssl;
    BIO_METHOD *pipe;
};

struct dtls {
    SSL *ssl;
    const uint8_t *in; /* the datagram that dtls_receive got, until OpenSSL has read it */
    size_t in_bytes;
    void (*send)(void *context, const uint8_t *datagram, size_t bytes);
    void *send_context;
    uint64_t deadline_ns, retransmit_ns;
    uint64_t rate_ns; /* see rate_allows */
    uint32_t timeout_us_max;
    uint32_t early, sent_bytes;
    enum dtls_role role;
    enum dtls_state state;
    enum dtls_failure failure;
    const char *reason;
    const char *alert; /* OpenSSL's text for one that came in plaintext, or NULL */
    bool is_answered;  /* as client: the server has said something */
    bool fingerprint_refused, fingerprint_matched;
    enum fingerprint_algorithm fingerprint_algorithm;
    uint8_t fingerprint[FINGERPRINT_BYTES_MAX];
};

/* ---- the pipe: a BIO that reads and writes whole datagrams ---- */

/* A datagram that is longer than the buffer is truncated, as with a socket. */
static int pipe_read(BIO *bio, char *out, int room)
{
    struct dtls *dtls = BIO_get_data(bio);
    size_t bytes = dtls->in_bytes;

    BIO_clear_retry_flags(bio);
    if (bytes == 0 || room <= 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (bytes > (size_t)room)
        bytes = (size_t)room;
    memcpy(out, dtls->in, bytes);
    dtls->in_bytes = 0;
    return (int)bytes;
}

/* Never blocks and never fails. A datagram that exceeds the limit is dropped, as if the network had
 * lost it. So is an alert before anything else: a peer whose first message we refuse hears nothing,
 * because that message may have come from somebody else. */
static int pipe_write(BIO *bio, const char *data, int bytes)
{
    struct dtls *dtls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (bytes <= 0)
        return 0;
    if (dtls->sent_bytes == 0 && (uint8_t)data[0] == DTLS_RECORD_alert)
        return bytes;
    if (dtls->state == DTLS_STATE_connecting) {
        if ((uint32_t)bytes > DTLS_SENT_BYTES_MAX - dtls->sent_bytes)
            return bytes;
        dtls->sent_bytes += (uint32_t)bytes;
    }
    dtls->send(dtls->send_context, (const uint8_t *)data, (size_t)bytes);
    return bytes;
}

static long pipe_control(BIO *bio, int command, long number, void *pointer)
{
    const struct dtls *dtls = BIO_get_data(bio);

    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_PENDING:
        return (long)dtls->in_bytes;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return DTLS_MTU_BYTES;
    default:
        return 0;
    }
}

static int pipe_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *pipe_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagrams");

    if (method && BIO_meth_set_create(method, pipe_create) &&
        BIO_meth_set_read(method, pipe_read) && BIO_meth_set_write(method, pipe_write) &&
        BIO_meth_set_ctrl(method, pipe_control))
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* ---- context ---- */

/* Replaces OpenSSL's verification of certificate chains: peers use self-signed certificates, and
 * signaling has told us the fingerprint (RFC 8827 6.5). After a return value of 0, OpenSSL sends a
 * fatal alert and exports no keys. */
static int verify_leaf(X509_STORE_CTX *store, void *unused)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct dtls *dtls = SSL_get_app_data(ssl);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    EVP_PKEY *key = leaf ? X509_get0_pubkey(leaf) : NULL;
    uint8_t digest[FINGERPRINT_BYTES_MAX];
    size_t bytes = 0;

    if (key && EVP_PKEY_get_security_bits(key) >= PEER_KEY_BITS_MIN)
        bytes = fingerprint_make(dtls->fingerprint_algorithm, leaf, digest);
    dtls->fingerprint_matched = bytes && CRYPTO_memcmp(digest, dtls->fingerprint, bytes) == 0;
    dtls->fingerprint_refused = !dtls->fingerprint_matched;
    X509_STORE_CTX_set_error(store,
                             dtls->fingerprint_matched ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
    return dtls->fingerprint_matched;
}

static bool context_configure(SSL_CTX *ssl, const struct identity *identity)
{
    SSL_CTX_set_security_level(ssl, 2);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_NO_QUERY_MTU | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_SINGLE_ECDH_USE);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ssl, DTLS_MESSAGE_BYTES_MAX);
    SSL_CTX_set_max_send_fragment(ssl, 1200);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ssl, verify_leaf, NULL);
    /* Unlike the others, SSL_CTX_set_tlsext_use_srtp returns 0 for success. */
    return SSL_CTX_set_min_proto_version(ssl, DTLS1_2_VERSION) &&
           SSL_CTX_set_max_proto_version(ssl, DTLS1_2_VERSION) &&
           SSL_CTX_set_cipher_list(ssl, CIPHERS) && SSL_CTX_set1_sigalgs_list(ssl, SIGNATURES) &&
           SSL_CTX_set1_groups_list(ssl, "X25519:P-256:P-384") &&
           SSL_CTX_set_tlsext_use_srtp(ssl, PROFILES) == 0 &&
           SSL_CTX_use_certificate(ssl, identity->certificate) == 1 &&
           SSL_CTX_use_PrivateKey(ssl, identity->private_key) == 1 &&
           SSL_CTX_check_private_key(ssl) == 1;
}

struct dtls_context *dtls_context_new(const struct identity *identity, char *why)
{
    struct dtls_context *context = calloc(1, sizeof(*context));

    if (context && (context->pipe = pipe_method()) && (context->ssl = SSL_CTX_new(DTLS_method())) &&
        context_configure(context->ssl, identity)) {
        ERR_clear_error();
        return context;
    }
    snprintf(why, 128, "cannot set up OpenSSL for DTLS 1.2 with SRTP: %s",
             ERR_reason_error_string(ERR_peek_error()));
    ERR_clear_error();
    dtls_context_free(context);
    return NULL;
}

void dtls_context_free(struct dtls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->pipe);
    free(context);
}

/* ---- one association ---- */

/* OpenSSL asks how long to wait before it sends again. before_us is the last wait, or 0. It is
 * doubled each time, as RFC 6347 4.2.4.1 says, up to a limit. OpenSSL gives up after twelve
 * attempts; the limit is so large that our own deadline comes first. */
static unsigned retransmission_us(SSL *ssl, unsigned before_us)
{
    const struct dtls *dtls = SSL_get_app_data(ssl);

    if (before_us == 0)
        return DTLS_FIRST_TIMEOUT_MS * 1000;
    return before_us * 2 < dtls->timeout_us_max ? before_us * 2 : dtls->timeout_us_max;
}

static bool association_open(struct dtls_context *context, struct dtls *dtls)
{
    BIO *bio;

    dtls->ssl = SSL_new(context->ssl);
    if (!dtls->ssl)
        return false;
    bio = BIO_new(context->pipe);
    if (!bio)
        return false;
    BIO_set_data(bio, dtls);
    SSL_set_bio(dtls->ssl, bio, bio);
    SSL_set_app_data(dtls->ssl, dtls);
    SSL_set_mtu(dtls->ssl, DTLS_MTU_BYTES);
    DTLS_set_timer_cb(dtls->ssl, retransmission_us);
    if (dtls->role == DTLS_ROLE_client)
        SSL_set_connect_state(dtls->ssl);
    else
        SSL_set_accept_state(dtls->ssl);
    return true;
}

struct dtls *dtls_new(struct dtls_context *context, const struct dtls_options *options,
                      uint64_t now_ns)
{
    uint64_t sixth_us = options->timeout_ns / NS_PER_US / 6;
    struct dtls *dtls;

    if (options->fingerprint_bytes == 0 ||
        options->fingerprint_bytes != fingerprint_bytes(options->fingerprint_algorithm))
        return NULL;
    dtls = calloc(1, sizeof(*dtls));
    if (!dtls)
        return NULL;
    dtls->role = options->role;
    dtls->state = DTLS_STATE_connecting;
    dtls->reason = "";
    dtls->is_answered = options->role == DTLS_ROLE_server;
    dtls->fingerprint_algorithm = options->fingerprint_algorithm;
    memcpy(dtls->fingerprint, options->fingerprint, options->fingerprint_bytes);
    dtls->send = options->send;
    dtls->send_context = options->send_context;
    dtls->deadline_ns = now_ns + options->timeout_ns;
    dtls->retransmit_ns = UINT64_MAX;
    dtls->timeout_us_max = (uint32_t)(sixth_us < 1000000    ? 1000000
                                      : sixth_us > 60000000 ? 60000000
                                                            : sixth_us);
    if (association_open(context, dtls)) {
        ERR_clear_error();
        return dtls;
    }
    ERR_clear_error();
    dtls_free(dtls);
    return NULL;
}

void dtls_free(struct dtls *dtls)
{
    if (!dtls)
        return;
    SSL_free(dtls->ssl);
    OPENSSL_cleanse(dtls, sizeof(*dtls));
    free(dtls);
}

/* ---- checks before OpenSSL reads a datagram ---- */

/* The first message of a server, as far as a client can tell. Before it, nothing else is read. */
static bool is_first_answer(const struct dtls_record *record)
{
    uint8_t type = record->content.at[0];

    return record->type == DTLS_RECORD_handshake && record->epoch == 0 &&
           (type == DTLS_MESSAGE_server_hello || type == DTLS_MESSAGE_hello_verify_request);
}

/* Nobody has authenticated this alert; it may come from anybody who sends with the address of the
 * peer. So it ends no handshake, but the peer has little time left to show that it goes on. */
static void note_alert(struct dtls *dtls, uint64_t now_ns, const struct dtls_record *record)
{
    if (record->content.bytes < 2 || record->content.at[0] != ALERT_FATAL)
        return;
    dtls->alert = SSL_alert_desc_string_long(record->content.at[1]);
    if (dtls->deadline_ns > now_ns + ALERT_GRACE_NS)
        dtls->deadline_ns = now_ns + ALERT_GRACE_NS;
}

/* Returns the length of the records with which a datagram begins and that OpenSSL may read.
 * *encrypted: one of them is of epoch 1, so it is encrypted. */
static size_t records_check(struct dtls *dtls, uint64_t now_ns, const uint8_t *datagram,
                            size_t bytes, bool *encrypted)
{
    struct dtls_cursor rest = {datagram, bytes}, read = rest;
    struct dtls_record record;

    *encrypted = false;
    for (; dtls_record_next(&rest, &record); read = rest) {
        if (record.epoch == 0 && record.type == DTLS_RECORD_alert) {
            if (dtls->state == DTLS_STATE_connecting)
                note_alert(dtls, now_ns, &record);
            break;
        }
        if (!dtls->is_answered && !is_first_answer(&record))
            break;
        if (record.epoch == 0 &&
            (record.type == DTLS_RECORD_application_data ||
             (record.type == DTLS_RECORD_handshake && !dtls_messages_fit(record.content))))
            break;
        dtls->is_answered = true;
        *encrypted |= record.epoch == 1;
    }
    return bytes - read.bytes;
}

/* A leaky bucket with room for DTLS_RATE_BURST datagrams. rate_ns is the time at which it will be
 * empty. */
static bool rate_allows(struct dtls *dtls, uint64_t now_ns)
{
    const uint64_t each_ns = NS_PER_S / DTLS_RATE;

    if (dtls->rate_ns < now_ns)
        dtls->rate_ns = now_ns;
    if (dtls->rate_ns - now_ns > (DTLS_RATE_BURST - 1) * each_ns)
        return false;
    dtls->rate_ns += each_ns;
    return true;
}

/* Returns how many bytes of a datagram OpenSSL may read; 0: none. */
static size_t bytes_allowed(struct dtls *dtls, uint64_t now_ns, const uint8_t *datagram,
                            size_t bytes)
{
    bool encrypted;

    bytes = records_check(dtls, now_ns, datagram, bytes, &encrypted);
    if (bytes == 0 || !rate_allows(dtls, now_ns))
        return 0;
    /* Once there are keys, anybody could have sent a plaintext record. */
    if (dtls->state == DTLS_STATE_connected)
        return encrypted ? bytes : 0;
    /* OpenSSL stores encrypted records until it can decrypt them. */
    if (encrypted && ++dtls->early > DTLS_EARLY_MAX)
        return 0;
    return bytes;
}

/* ---- the handshake ---- */

static void fail(struct dtls *dtls, enum dtls_failure failure, const char *reason)
{
    dtls->state = DTLS_STATE_failed;
    dtls->failure = failure;
    dtls->reason = reason ? reason : "";
    dtls->retransmit_ns = UINT64_MAX;
}

static void fail_from_openssl(struct dtls *dtls)
{
    unsigned long error = ERR_peek_error();
    enum dtls_failure failure = DTLS_FAILURE_protocol;

    if (dtls->fingerprint_refused)
        failure = DTLS_FAILURE_fingerprint_mismatch;
    else if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
             (ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE ||
              ERR_GET_REASON(error) == SSL_R_NO_CERTIFICATES_RETURNED))
        failure = DTLS_FAILURE_no_certificate;
    else if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
             ERR_GET_REASON(error) == SSL_R_READ_TIMEOUT_EXPIRED)
        failure = DTLS_FAILURE_timeout;
    fail(dtls, failure, ERR_reason_error_string(error));
}

static enum srtp_profile selected_profile(const SSL *ssl)
{
    const SRTP_PROTECTION_PROFILE *selected = SSL_get_selected_srtp_profile((SSL *)ssl);

    switch (selected ? selected->id : 0) {
    case SRTP_AES128_CM_SHA1_80:
        return SRTP_PROFILE_aes128_cm_sha1_80;
    case SRTP_AEAD_AES_128_GCM:
        return SRTP_PROFILE_aead_aes_128_gcm;
    case SRTP_AEAD_AES_256_GCM:
        return SRTP_PROFILE_aead_aes_256_gcm;
    default:
        return SRTP_PROFILE_none;
    }
}

/* OpenSSL says that the handshake is done. Gate G4 is checked here once more: without the right
 * fingerprint the state does not become connected, and so dtls_export gives no keys. */
static void finish(struct dtls *dtls)
{
    if (!dtls->fingerprint_matched || SSL_get_verify_result(dtls->ssl) != X509_V_OK) {
        fail(dtls, DTLS_FAILURE_fingerprint_mismatch, "the certificate was not verified");
    } else if (selected_profile(dtls->ssl) == SRTP_PROFILE_none) {
        SSL_shutdown(dtls->ssl);
        fail(dtls, DTLS_FAILURE_no_srtp_profile, "no SRTP profile in common");
    } else {
        dtls->state = DTLS_STATE_connected;
        dtls->retransmit_ns = UINT64_MAX;
    }
}

static void schedule(struct dtls *dtls, uint64_t now_ns)
{
    uint64_t left_ns =
        dtls->state == DTLS_STATE_connecting ? dtls_clock_left_ns(dtls->ssl) : UINT64_MAX;

    dtls->retransmit_ns = left_ns == UINT64_MAX ? UINT64_MAX : now_ns + left_ns;
}

/* Does this error end the association? After fragments that contradict each other OpenSSL reports
 * SSL_ERROR_SYSCALL without a reason, but the handshake can continue. If we took that for the end,
 * anybody could end a handshake with one datagram. */
static bool is_fatal(int error)
{
    return error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE &&
           !(error == SSL_ERROR_SYSCALL && ERR_peek_error() == 0);
}

static void handshake(struct dtls *dtls)
{
    int result, error;

    ERR_clear_error();
    result = SSL_do_handshake(dtls->ssl);
    error = SSL_get_error(dtls->ssl, result);
    if (result == 1)
        finish(dtls);
    else if (is_fatal(error))
        fail_from_openssl(dtls);
    ERR_clear_error();
}

/* Reads what arrives after the handshake: alerts, repetitions of the peer's last handshake
 * messages, to which OpenSSL replies by itself, and application data, which we do not use. The
 * limit is above the number of records that fit into a datagram, 1500 / 14. */
static void read_records(struct dtls *dtls)
{
    uint8_t unwanted[2048];

    if (!SSL_alloc_buffers(dtls->ssl))
        return;
    for (unsigned i = 0; i < 128; i++) {
        int result, error;

        ERR_clear_error();
        result = SSL_read(dtls->ssl, unwanted, sizeof(unwanted));
        if (result > 0)
            continue;
        error = SSL_get_error(dtls->ssl, result);
        if (error == SSL_ERROR_ZERO_RETURN) {
            dtls_close(dtls);
        } else if (is_fatal(error)) {
            dtls->reason = ERR_reason_error_string(ERR_peek_error());
            dtls->reason = dtls->reason ? dtls->reason : "";
            dtls->state = DTLS_STATE_closed;
        }
        break;
    }
    ERR_clear_error();
    OPENSSL_cleanse(unwanted, sizeof(unwanted));
    /* These buffers have 33 KB, and an association that is silent does not need them. */
    if (dtls->state == DTLS_STATE_connected)
        SSL_free_buffers(dtls->ssl);
}

void dtls_start(struct dtls *dtls, uint64_t now_ns)
{
    if (dtls->state != DTLS_STATE_connecting || dtls->role != DTLS_ROLE_client)
        return;
    handshake(dtls);
    schedule(dtls, now_ns);
}

void dtls_receive(struct dtls *dtls, uint64_t now_ns, const uint8_t *datagram, size_t bytes)
{
    if (dtls->state != DTLS_STATE_connecting && dtls->state != DTLS_STATE_connected)
        return;
    bytes = bytes_allowed(dtls, now_ns, datagram, bytes);
    if (bytes == 0)
        return;
    dtls->in = datagram;
    dtls->in_bytes = bytes;
    if (dtls->state == DTLS_STATE_connecting)
        handshake(dtls);
    if (dtls->state == DTLS_STATE_connected)
        read_records(dtls);
    dtls->in = NULL;
    dtls->in_bytes = 0;
    schedule(dtls, now_ns);
}

void dtls_tick(struct dtls *dtls, uint64_t now_ns)
{
    if (dtls->state != DTLS_STATE_connecting)
        return;
    if (now_ns >= dtls->deadline_ns) {
        if (dtls->alert)
            fail(dtls, DTLS_FAILURE_protocol, dtls->alert);
        else
            fail(dtls, DTLS_FAILURE_timeout, "the handshake took too long");
        return;
    }
    if (now_ns < dtls->retransmit_ns)
        return;
    ERR_clear_error();
    if (DTLSv1_handle_timeout(dtls->ssl) < 0)
        fail_from_openssl(dtls);
    ERR_clear_error();
    schedule(dtls, now_ns);
}

uint64_t dtls_next_ns(const struct dtls *dtls)
{
    if (dtls->state != DTLS_STATE_connecting)
        return UINT64_MAX;
    return dtls->retransmit_ns < dtls->deadline_ns ? dtls->retransmit_ns : dtls->deadline_ns;
}

void dtls_close(struct dtls *dtls)
{
    /* read_records() has freed the buffers, and OpenSSL 3.0 does not check that before it writes an
     * alert. */
    if (dtls->state == DTLS_STATE_connected && SSL_alloc_buffers(dtls->ssl)) {
        ERR_clear_error();
        SSL_shutdown(dtls->ssl);
        ERR_clear_error();
    }
    if (dtls->state != DTLS_STATE_failed)
        dtls->state = DTLS_STATE_closed;
    dtls->retransmit_ns = UINT64_MAX;
}

enum dtls_state dtls_state(const struct dtls *dtls)
{
    return dtls->state;
}

enum dtls_failure dtls_failure(const struct dtls *dtls)
{
    return dtls->failure;
}

const char *dtls_reason(const struct dtls *dtls)
{
    return dtls->reason;
}

/* ---- keys ---- */

/* The order is client key, server key, client salt, server salt (RFC 5764 4.2). The sizes are in
 * RFC 5764 4.1.2 and RFC 7714 12. */
bool dtls_export(const struct dtls *dtls, struct dtls_keys *keys)
{
    enum srtp_profile profile = selected_profile(dtls->ssl);
    size_t key = profile == SRTP_PROFILE_aead_aes_256_gcm ? 32 : 16;
    size_t salt = profile == SRTP_PROFILE_aes128_cm_sha1_80 ? 14 : 12;
    bool server = dtls->role == DTLS_ROLE_server;
    uint8_t material[2 * (32 + 16)];

    *keys = (struct dtls_keys){0};
    if (dtls->state != DTLS_STATE_connected || !dtls->fingerprint_matched ||
        profile == SRTP_PROFILE_none ||
        SSL_export_keying_material(dtls->ssl, material, 2 * (key + salt), EXPORTER_LABEL,
                                   sizeof(EXPORTER_LABEL) - 1, NULL, 0, 0) != 1)
        return false;
    keys->profile = profile;
    memcpy(keys->ours_key, material + (server ? key : 0), key);
    memcpy(keys->theirs_key, material + (server ? 0 : key), key);
    memcpy(keys->ours_salt, material + 2 * key + (server ? salt : 0), salt);
    memcpy(keys->theirs_salt, material + 2 * key + (server ? 0 : salt), salt);
    OPENSSL_cleanse(material, sizeof(material));
    return true;
}
