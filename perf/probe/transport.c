/* Connects libnice, the DTLS client and libsrtp2. */
#define _GNU_SOURCE /* pthread_cond_clockwait */
#include "transport.h"

#include <arpa/inet.h>
#include <nice/agent.h>
#include <pthread.h>
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dtls.h"
#include "error.h"
#include "src/clock.h"

#define DTLS_TICK_MS 50

struct transport {
    GMainContext *loop;
    NiceAgent *agent;
    guint stream;
    GSource *timer; /* for DTLS retransmissions */
    char ufrag[64], password[64], fingerprint[200], algorithm[16];
    NiceCandidate *remote[8];
    unsigned remote_count;
    /* Protects everything below. Not a GLib mutex, because ThreadSanitizer does not know those. */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct dtls *dtls;
    srtp_t send, receive;
    bool keyed, failed, started;
    char failure[PROBE_WHY_BYTES];
    struct transport_times times;
    void (*received)(void *context, const uint8_t *data, size_t bytes, bool is_rtcp,
                     uint64_t now_ns);
    void *context;
};

bool transport_prepare(void)
{
    char fingerprint[96];

    srtp_init();
    return dtls_identity(fingerprint);
}

/* With the mutex held. */
static void fail(struct transport *t, const char *why)
{
    if (!t->failed)
        snprintf(t->failure, sizeof(t->failure), "%s", why);
    t->failed = true;
    pthread_cond_broadcast(&t->changed);
}

/* ---- DTLS and SRTP keys ---- */

static srtp_t open_srtp(uint8_t *key, bool gcm, bool outbound)
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

static void take_keys(struct transport *t, struct dtls_keys *keys)
{
    t->send = open_srtp(keys->send, keys->is_gcm, true);
    t->receive = open_srtp(keys->receive, keys->is_gcm, false);
    if (!t->send || !t->receive) {
        fail(t, "libsrtp2 cannot create a session");
        return;
    }
    t->times.dtls_ns = clock_monotonic_ns();
    memcpy(t->times.profile, keys->profile, sizeof(t->times.profile));
    t->keyed = true;
    pthread_cond_broadcast(&t->changed);
}

static void send_datagram(void *context, const uint8_t *data, size_t bytes)
{
    struct transport *t = context;

    nice_agent_send(t->agent, t->stream, 1, (guint)bytes, (const gchar *)data);
}

/* With the mutex held. data NULL: time has passed. */
static void step_handshake(struct transport *t, const uint8_t *data, size_t bytes)
{
    struct dtls_keys keys;
    char why[PROBE_WHY_BYTES];

    if (t->keyed || t->failed)
        return;
    switch (dtls_step(t->dtls, data, bytes, t->algorithm, t->fingerprint, &keys, why)) {
    case DTLS_BUSY:
        break;
    case DTLS_KEYED:
        take_keys(t, &keys);
        break;
    case DTLS_FAILED:
        fail(t, why);
        break;
    }
}

static gboolean dtls_tick(gpointer argument)
{
    struct transport *t = argument;

    pthread_mutex_lock(&t->mutex);
    if (t->started && !t->keyed && !t->failed && t->times.ice_ns)
        step_handshake(t, NULL, 0);
    pthread_mutex_unlock(&t->mutex);
    return G_SOURCE_CONTINUE;
}

/* ---- events of libnice ---- */

static void take_media(struct transport *t, uint8_t *data, int bytes)
{
    bool is_rtcp = bytes > 1 && data[1] >= 192 && data[1] <= 223;
    uint64_t now = clock_monotonic_ns();
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

    if (length == 0 || length > sizeof(copy))
        return;
    if (first >= 20 && first <= 63) {
        pthread_mutex_lock(&t->mutex);
        step_handshake(t, (const uint8_t *)buffer, length);
        pthread_mutex_unlock(&t->mutex);
    } else if (first >= 128 && first <= 191) {
        memcpy(copy, buffer, length);
        take_media(t, copy, (int)length);
    }
}

static void on_state(NiceAgent *agent, guint stream, guint component, guint state,
                     gpointer argument)
{
    struct transport *t = argument;

    pthread_mutex_lock(&t->mutex);
    if ((state == NICE_COMPONENT_STATE_CONNECTED || state == NICE_COMPONENT_STATE_READY) &&
        !t->times.ice_ns) {
        t->times.ice_ns = clock_monotonic_ns();
        step_handshake(t, NULL, 0);
    } else if (state == NICE_COMPONENT_STATE_FAILED) {
        fail(t, t->times.ice_ns ? "the media port has stopped answering"
                                : "ICE failed: no answer from the media port; is UDP open to it?");
    }
    pthread_mutex_unlock(&t->mutex);
}

/* ---- opening ---- */

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
    snprintf(why, PROBE_WHY_BYTES, "the answer to media:createTransport has no %s",
             t->remote_count ? "ICE or DTLS parameters" : "a UDP candidate");
    return false;
}

/* Adds the address from which this machine reaches the server. libnice itself skips loopback. */
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
    /* The server closes a transport after 30 s without consent checks (RFC 7675). */
    t->agent =
        nice_agent_new_full(loop, NICE_COMPATIBILITY_RFC5245, NICE_AGENT_OPTION_CONSENT_FRESHNESS);
    g_object_set(t->agent, "controlling-mode", TRUE, "upnp", FALSE, "ice-tcp", FALSE, NULL);
    if (!read_options(t, options, why)) {
        transport_close(t);
        return NULL;
    }
    t->dtls = dtls_new(send_datagram, t);
    if (!t->dtls) {
        snprintf(why, PROBE_WHY_BYTES, "OpenSSL cannot start a DTLS client");
        transport_close(t);
        return NULL;
    }
    add_local_addresses(t);
    t->stream = nice_agent_add_stream(t->agent, 1);
    g_signal_connect(t->agent, "component-state-changed", G_CALLBACK(on_state), t);
    nice_agent_attach_recv(t->agent, t->stream, 1, loop, on_receive, t);
    t->timer = g_timeout_source_new(DTLS_TICK_MS);
    g_source_set_callback(t->timer, dtls_tick, t, NULL);
    g_source_attach(t->timer, loop);
    return t;
}

void transport_start(struct transport *t)
{
    GSList *list = NULL;

    pthread_mutex_lock(&t->mutex);
    t->started = true;
    t->times.started_ns = clock_monotonic_ns();
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
    uint64_t end_ns = clock_monotonic_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    struct timespec end = {(time_t)(end_ns / NS_PER_S), (long)(end_ns % NS_PER_S)};
    bool ok;

    pthread_mutex_lock(&t->mutex);
    while (!t->keyed && !t->failed &&
           pthread_cond_clockwait(&t->changed, &t->mutex, CLOCK_MONOTONIC, &end) == 0)
        continue;
    ok = t->keyed;
    if (!ok)
        snprintf(why, PROBE_WHY_BYTES, "%s",
                 t->failed          ? t->failure
                 : !t->times.ice_ns ? "no answer to ICE checks; is UDP open to the media ports?"
                                    : "ICE works, but the DTLS handshake does not finish");
    pthread_mutex_unlock(&t->mutex);
    return ok;
}

bool transport_is_alive(struct transport *t, char *why)
{
    bool ok;

    pthread_mutex_lock(&t->mutex);
    ok = !t->failed;
    if (!ok)
        snprintf(why, PROBE_WHY_BYTES, "%s", t->failure);
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
    dtls_free(t->dtls);
    pthread_mutex_destroy(&t->mutex);
    pthread_cond_destroy(&t->changed);
    free(t);
}

static bool send_protected(struct transport *t, uint8_t *packet, size_t bytes, size_t capacity,
                           bool is_rtcp)
{
    int n = (int)bytes;
    bool ok;

    if (bytes + SRTP_MAX_TRAILER_LEN > capacity)
        return false;
    pthread_mutex_lock(&t->mutex);
    ok = t->keyed && (is_rtcp ? srtp_protect_rtcp(t->send, packet, &n)
                              : srtp_protect(t->send, packet, &n)) == srtp_err_status_ok;
    pthread_mutex_unlock(&t->mutex);
    return ok && nice_agent_send(t->agent, t->stream, 1, (guint)n, (gchar *)packet) == n;
}

bool transport_send_rtp(struct transport *t, uint8_t *packet, size_t bytes, size_t capacity)
{
    return send_protected(t, packet, bytes, capacity, false);
}

bool transport_send_rtcp(struct transport *t, uint8_t *packet, size_t bytes, size_t capacity)
{
    return send_protected(t, packet, bytes, capacity, true);
}

struct transport_times transport_times(struct transport *t)
{
    struct transport_times times;

    pthread_mutex_lock(&t->mutex);
    times = t->times;
    pthread_mutex_unlock(&t->mutex);
    return times;
}
