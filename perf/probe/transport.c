/* One WebRTC transport of the probe: ICE by libnice, DTLS by OpenSSL, SRTP by libsrtp2. */
#define _GNU_SOURCE /* pthread_cond_clockwait */
#include "transport.h"

#include <arpa/inet.h>
#include <nice/agent.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STREAM_NAME "media"
#define DTLS_MTU 1200
#define KEY_MATERIAL_BYTES_MAX (2 * (32 + 14))

struct transport {
    GMainContext *loop;
    NiceAgent *agent;
    guint stream;
    GSource *timer; /* DTLS retransmission */
    char ufrag[64], password[64], fingerprint[200], algorithm[16];
    NiceCandidate *remote[8];
    unsigned remote_count;
    pthread_mutex_t mutex; /* ssl, srtp, state below; ThreadSanitizer does not know GLib's */
    pthread_cond_t changed;
    SSL *ssl;
    BIO *incoming;
    srtp_t send, receive;
    bool keyed, failed, started;
    char failure[200];
    struct transport_times times;
    void (*received)(void *context, const uint8_t *data, size_t bytes, bool is_rtcp,
                     uint64_t now_ns);
    void *context;
};

static EVP_PKEY *identity_key;
static X509 *identity_certificate;

uint64_t probe_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void fingerprint_text(const X509 *certificate, const EVP_MD *digest, char *out)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned count = 0;

    X509_digest(certificate, digest, raw, &count);
    for (unsigned i = 0; i < count; i++)
        out += sprintf(out, i ? ":%02X" : "%02X", raw[i]);
}

bool transport_identity(char fingerprint[96])
{
    if (!identity_key) {
        X509_NAME *name;

        identity_key = EVP_EC_gen("P-256");
        identity_certificate = X509_new();
        if (!identity_key || !identity_certificate)
            return false;
        X509_set_version(identity_certificate, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(identity_certificate), (long)time(NULL));
        X509_gmtime_adj(X509_getm_notBefore(identity_certificate), -86400);
        X509_gmtime_adj(X509_getm_notAfter(identity_certificate), 30 * 86400);
        X509_set_pubkey(identity_certificate, identity_key);
        name = X509_get_subject_name(identity_certificate);
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"probe", -1, -1,
                                   0);
        X509_set_issuer_name(identity_certificate, name);
        X509_sign(identity_certificate, identity_key, EVP_sha256());
        srtp_init();
    }
    fingerprint_text(identity_certificate, EVP_sha256(), fingerprint);
    return true;
}

/* With the mutex held. */
static void fail(struct transport *t, const char *why)
{
    if (!t->failed)
        snprintf(t->failure, sizeof(t->failure), "%s", why);
    t->failed = true;
    pthread_cond_broadcast(&t->changed);
}

/* ---- DTLS: a BIO that keeps datagrams apart on the way out ---- */

static int datagram_write(BIO *bio, const char *data, int bytes)
{
    struct transport *t = BIO_get_data(bio);

    nice_agent_send(t->agent, t->stream, 1, (guint)bytes, data);
    return bytes; /* what the network loses, DTLS sends again */
}

static long datagram_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    if (command == BIO_CTRL_DGRAM_QUERY_MTU || command == BIO_CTRL_DGRAM_GET_FALLBACK_MTU)
        return DTLS_MTU;
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

static int accept_any(int ok, X509_STORE_CTX *context)
{
    (void)ok, (void)context;
    return 1; /* the fingerprint decides */
}

static bool dtls_open(struct transport *t)
{
    static SSL_CTX *context;
    BIO *outgoing;

    if (!context) {
        context = SSL_CTX_new(DTLS_client_method());
        SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION);
        SSL_CTX_use_certificate(context, identity_certificate);
        SSL_CTX_use_PrivateKey(context, identity_key);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_any);
        if (SSL_CTX_set_tlsext_use_srtp(context, "SRTP_AEAD_AES_128_GCM:SRTP_AES128_CM_SHA1_80") !=
            0)
            return false;
    }
    t->ssl = SSL_new(context);
    t->incoming = BIO_new(BIO_s_mem());
    outgoing = BIO_new(datagram_method());
    if (!t->ssl || !t->incoming || !outgoing)
        return false;
    BIO_set_mem_eof_return(t->incoming, -1);
    BIO_set_data(outgoing, t);
    SSL_set_bio(t->ssl, t->incoming, outgoing);
    SSL_set_options(t->ssl, SSL_OP_NO_QUERY_MTU);
    SSL_set_mtu(t->ssl, DTLS_MTU);
    SSL_set_connect_state(t->ssl);
    return true;
}

static bool peer_is_who_was_signalled(struct transport *t)
{
    X509 *certificate = SSL_get1_peer_certificate(t->ssl);
    char name[16], found[200] = "";
    const EVP_MD *digest;

    snprintf(name, sizeof(name), "%s", t->algorithm);
    for (char *dash; (dash = strchr(name, '-'));)
        memmove(dash, dash + 1, strlen(dash));
    digest = EVP_get_digestbyname(name);
    if (certificate && digest)
        fingerprint_text(certificate, digest, found);
    X509_free(certificate);
    return found[0] && strcasecmp(found, t->fingerprint) == 0;
}

static srtp_t session(uint8_t *key, bool gcm, bool outbound)
{
    srtp_policy_t policy = {0};
    srtp_t made = NULL;

    if (gcm) {
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp);
    } else {
        srtp_crypto_policy_set_rtp_default(&policy.rtp);
        srtp_crypto_policy_set_rtcp_default(&policy.rtcp);
    }
    policy.ssrc.type = outbound ? ssrc_any_outbound : ssrc_any_inbound;
    policy.key = key;
    policy.window_size = 1024;
    return srtp_create(&made, &policy) == srtp_err_status_ok ? made : NULL;
}

/* RFC 5764 4.2: client key, server key, client salt, server salt. We are the client. */
static void keys(struct transport *t)
{
    const SRTP_PROTECTION_PROFILE *profile = SSL_get_selected_srtp_profile(t->ssl);
    uint8_t material[KEY_MATERIAL_BYTES_MAX], ours[46], theirs[46];
    bool gcm = profile && profile->id == SRTP_AEAD_AES_128_GCM;
    size_t key_bytes = 16, salt_bytes = gcm ? 12 : 14;

    if (!profile) {
        fail(t, "the server chose no SRTP profile");
        return;
    }
    if (!peer_is_who_was_signalled(t)) {
        fail(t, "the server's certificate is not the one that signaling named");
        return;
    }
    if (SSL_export_keying_material(t->ssl, material, 2 * (key_bytes + salt_bytes),
                                   "EXTRACTOR-dtls_srtp", 19, NULL, 0, 0) != 1) {
        fail(t, "OpenSSL exports no keys");
        return;
    }
    memcpy(ours, material, key_bytes);
    memcpy(theirs, material + key_bytes, key_bytes);
    memcpy(ours + key_bytes, material + 2 * key_bytes, salt_bytes);
    memcpy(theirs + key_bytes, material + 2 * key_bytes + salt_bytes, salt_bytes);
    t->send = session(ours, gcm, true);
    t->receive = session(theirs, gcm, false);
    if (!t->send || !t->receive) {
        fail(t, "libsrtp2 takes no session");
        return;
    }
    t->times.dtls_ns = probe_now_ns();
    snprintf(t->times.profile, sizeof(t->times.profile), "%s", profile->name);
    t->keyed = true;
    pthread_cond_broadcast(&t->changed);
}

/* With the mutex held. */
static void dtls_step(struct transport *t)
{
    int result;

    if (t->keyed || t->failed)
        return;
    ERR_clear_error();
    result = SSL_do_handshake(t->ssl);
    if (result == 1) {
        keys(t);
    } else if (SSL_get_error(t->ssl, result) != SSL_ERROR_WANT_READ) {
        char text[160] = "DTLS: ";

        ERR_error_string_n(ERR_get_error(), text + 6, sizeof(text) - 6);
        fail(t, text);
    }
}

static gboolean dtls_tick(gpointer argument)
{
    struct transport *t = argument;

    pthread_mutex_lock(&t->mutex);
    if (t->started && !t->keyed && !t->failed && t->times.ice_ns) {
        DTLSv1_handle_timeout(t->ssl);
        dtls_step(t);
    }
    pthread_mutex_unlock(&t->mutex);
    return G_SOURCE_CONTINUE;
}

/* ---- datagrams in ---- */

static void media(struct transport *t, uint8_t *data, int bytes)
{
    bool is_rtcp = bytes > 1 && data[1] >= 192 && data[1] <= 223;
    uint64_t now = probe_now_ns();
    srtp_err_status_t status = srtp_err_status_fail;

    pthread_mutex_lock(&t->mutex);
    if (t->keyed)
        status = is_rtcp ? srtp_unprotect_rtcp(t->receive, data, &bytes)
                         : srtp_unprotect(t->receive, data, &bytes);
    pthread_mutex_unlock(&t->mutex);
    if (status == srtp_err_status_ok)
        t->received(t->context, data, (size_t)bytes, is_rtcp, now);
}

static void on_receive(NiceAgent *agent, guint stream, guint component, guint length, gchar *buffer,
                       gpointer argument)
{
    struct transport *t = argument;
    uint8_t first = length ? (uint8_t)buffer[0] : 0;
    uint8_t copy[2048];

    (void)agent, (void)stream, (void)component;
    if (length == 0 || length > sizeof(copy))
        return;
    if (first >= 20 && first <= 63) {
        pthread_mutex_lock(&t->mutex);
        BIO_write(t->incoming, buffer, (int)length);
        dtls_step(t);
        pthread_mutex_unlock(&t->mutex);
    } else if (first >= 128 && first <= 191) {
        memcpy(copy, buffer, length);
        media(t, copy, (int)length);
    }
}

static void on_state(NiceAgent *agent, guint stream, guint component, guint state,
                     gpointer argument)
{
    struct transport *t = argument;

    (void)agent, (void)stream, (void)component;
    pthread_mutex_lock(&t->mutex);
    if ((state == NICE_COMPONENT_STATE_CONNECTED || state == NICE_COMPONENT_STATE_READY) &&
        !t->times.ice_ns) {
        t->times.ice_ns = probe_now_ns();
        dtls_step(t);
    } else if (state == NICE_COMPONENT_STATE_FAILED) {
        fail(t, t->times.ice_ns
                    ? "the media port answers no more"
                    : "ICE failed: no answer from the media port; is UDP open on the way to it?");
    }
    pthread_mutex_unlock(&t->mutex);
}

/* ---- set-up ---- */

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

static bool read_options(struct transport *t, const cJSON *options, char *why)
{
    const cJSON *ice = cJSON_GetObjectItemCaseSensitive(options, "iceParameters");
    const cJSON *dtls = cJSON_GetObjectItemCaseSensitive(options, "dtlsParameters");
    const cJSON *prints = cJSON_GetObjectItemCaseSensitive(dtls, "fingerprints"), *candidate;
    const cJSON *print = cJSON_GetArrayItem(prints, cJSON_GetArraySize(prints) - 1);

    snprintf(t->ufrag, sizeof(t->ufrag), "%s", text_of(ice, "usernameFragment"));
    snprintf(t->password, sizeof(t->password), "%s", text_of(ice, "password"));
    snprintf(t->algorithm, sizeof(t->algorithm), "%s", text_of(print, "algorithm"));
    snprintf(t->fingerprint, sizeof(t->fingerprint), "%s", text_of(print, "value"));
    cJSON_ArrayForEach(candidate, cJSON_GetObjectItemCaseSensitive(options, "iceCandidates"))
    {
        const cJSON *port = cJSON_GetObjectItemCaseSensitive(candidate, "port");
        NiceCandidate *c;

        if (strcmp(text_of(candidate, "protocol"), "udp") != 0 || !cJSON_IsNumber(port) ||
            t->remote_count == G_N_ELEMENTS(t->remote))
            continue;
        c = nice_candidate_new(NICE_CANDIDATE_TYPE_HOST);
        if (!nice_address_set_from_string(&c->addr, text_of(candidate, "address"))) {
            nice_candidate_free(c);
            continue;
        }
        nice_address_set_port(&c->addr, (guint)port->valuedouble);
        c->transport = NICE_CANDIDATE_TRANSPORT_UDP;
        c->component_id = 1;
        c->priority = 1076302079;
        snprintf(c->foundation, sizeof(c->foundation), "udpcandidate");
        t->remote[t->remote_count++] = c;
    }
    if (t->ufrag[0] && t->password[0] && t->fingerprint[0] && t->remote_count)
        return true;
    snprintf(why, 400, "the transport options of the server lack %s",
             t->remote_count ? "ICE or DTLS parameters" : "a UDP candidate");
    return false;
}

/* The address this machine uses towards the server: libnice leaves loopback out by itself. */
static void add_local_addresses(struct transport *t)
{
    for (unsigned i = 0; i < t->remote_count; i++) {
        struct sockaddr_storage to = {0}, from = {0};
        socklen_t size = sizeof(from);
        NiceAddress local;
        int fd;

        nice_address_copy_to_sockaddr(&t->remote[i]->addr, (struct sockaddr *)&to);
        fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(struct sockaddr_in6)) == 0 &&
            getsockname(fd, (struct sockaddr *)&from, &size) == 0) {
            nice_address_set_from_sockaddr(&local, (struct sockaddr *)&from);
            nice_address_set_port(&local, 0);
            nice_agent_add_local_address(t->agent, &local);
        }
        if (fd >= 0)
            close(fd);
    }
}

struct transport *transport_open(GMainContext *loop, const cJSON *options,
                                 void (*received)(void *context, const uint8_t *data, size_t bytes,
                                                  bool is_rtcp, uint64_t now_ns),
                                 void *context, char *why)
{
    struct transport *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->changed, NULL);
    t->loop = loop;
    t->received = received;
    t->context = context;
    /* Without consent checks (RFC 7675) the server would hold the probe for gone after 30 s. */
    t->agent =
        nice_agent_new_full(loop, NICE_COMPATIBILITY_RFC5245, NICE_AGENT_OPTION_CONSENT_FRESHNESS);
    g_object_set(t->agent, "controlling-mode", TRUE, "upnp", FALSE, "ice-tcp", FALSE, NULL);
    if (!read_options(t, options, why)) {
        transport_close(t);
        return NULL;
    }
    if (!dtls_open(t)) {
        snprintf(why, 400, "OpenSSL does not start a DTLS client");
        transport_close(t);
        return NULL;
    }
    add_local_addresses(t);
    t->stream = nice_agent_add_stream(t->agent, 1);
    g_signal_connect(t->agent, "component-state-changed", G_CALLBACK(on_state), t);
    nice_agent_attach_recv(t->agent, t->stream, 1, loop, on_receive, t);
    t->timer = g_timeout_source_new(50);
    g_source_set_callback(t->timer, dtls_tick, t, NULL);
    g_source_attach(t->timer, loop);
    return t;
}

void transport_start(struct transport *t)
{
    GSList *list = NULL;

    pthread_mutex_lock(&t->mutex);
    t->started = true;
    t->times.started_ns = probe_now_ns();
    pthread_mutex_unlock(&t->mutex);
    nice_agent_gather_candidates(t->agent, t->stream);
    nice_agent_set_remote_credentials(t->agent, t->stream, t->ufrag, t->password);
    for (unsigned i = 0; i < t->remote_count; i++)
        list = g_slist_append(list, t->remote[i]);
    nice_agent_set_remote_candidates(t->agent, t->stream, 1, list);
    g_slist_free(list);
}

bool transport_wait(struct transport *t, int timeout_ms, char *why)
{
    uint64_t end_ns = probe_now_ns() + (uint64_t)timeout_ms * 1000000;
    struct timespec end = {(time_t)(end_ns / 1000000000), (long)(end_ns % 1000000000)};
    bool ok;

    pthread_mutex_lock(&t->mutex);
    while (!t->keyed && !t->failed &&
           pthread_cond_clockwait(&t->changed, &t->mutex, CLOCK_MONOTONIC, &end) == 0)
        continue;
    ok = t->keyed;
    if (!ok)
        snprintf(why, 400, "%s",
                 t->failed          ? t->failure
                 : !t->times.ice_ns ? "no answer to ICE checks; is UDP open to the media ports?"
                                    : "ICE works, but the DTLS handshake does not finish");
    pthread_mutex_unlock(&t->mutex);
    return ok;
}

bool transport_is_well(struct transport *t, char *why)
{
    bool ok;

    pthread_mutex_lock(&t->mutex);
    ok = !t->failed;
    if (!ok)
        snprintf(why, 400, "%s", t->failure);
    pthread_mutex_unlock(&t->mutex);
    return ok;
}

void transport_close(struct transport *t)
{
    if (t->timer) {
        g_source_destroy(t->timer);
        g_source_unref(t->timer);
    }
    if (t->stream) {
        nice_agent_attach_recv(t->agent, t->stream, 1, t->loop, NULL, NULL);
        nice_agent_remove_stream(t->agent, t->stream);
    }
    g_clear_object(&t->agent);
    for (unsigned i = 0; i < t->remote_count; i++)
        nice_candidate_free(t->remote[i]);
    if (t->send)
        srtp_dealloc(t->send);
    if (t->receive)
        srtp_dealloc(t->receive);
    SSL_free(t->ssl);
    pthread_mutex_destroy(&t->mutex);
    pthread_cond_destroy(&t->changed);
    free(t);
}

static bool send_protected(struct transport *t, uint8_t *packet, size_t bytes, size_t room,
                           bool is_rtcp)
{
    int n = (int)bytes;
    bool ok;

    if (bytes + SRTP_MAX_TRAILER_LEN > room)
        return false;
    pthread_mutex_lock(&t->mutex);
    ok = t->keyed && (is_rtcp ? srtp_protect_rtcp(t->send, packet, &n)
                              : srtp_protect(t->send, packet, &n)) == srtp_err_status_ok;
    pthread_mutex_unlock(&t->mutex);
    return ok && nice_agent_send(t->agent, t->stream, 1, (guint)n, (gchar *)packet) == n;
}

bool transport_send_rtp(struct transport *t, uint8_t *packet, size_t bytes, size_t room)
{
    return send_protected(t, packet, bytes, room, false);
}

bool transport_send_rtcp(struct transport *t, uint8_t *packet, size_t bytes, size_t room)
{
    return send_protected(t, packet, bytes, room, true);
}

struct transport_times transport_times(struct transport *t)
{
    struct transport_times times;

    pthread_mutex_lock(&t->mutex);
    times = t->times;
    pthread_mutex_unlock(&t->mutex);
    return times;
}
