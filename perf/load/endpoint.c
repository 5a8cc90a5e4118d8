/* The life of an endpoint: ICE checks until the server answers, the DTLS handshake, then consent
 * checks and reports. */
#include "endpoint.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/engines/transport_cc.h"
#include "dtls_client.h"
#include "endpoint_rtcp.h"
#include "media.h"
#include "memory.h"
#include "net.h"
#include "options.h"
#include "receiver.h"
#include "senders.h"
#include "src/clock.h"

#define CONNECT_TIMEOUT_NS (20 * NS_PER_S)
#define CHECK_FIRST_NS (50 * NS_PER_MS) /* doubles with every check */
#define CHECK_INTERVAL_MAX_NS (500 * NS_PER_MS)
#define CONSENT_NS (5 * NS_PER_S) /* RFC 7675 5.1: every 5 s, ± 20 % at random */
#define CONSENT_TIMEOUT_NS (30 * NS_PER_S)
#define HANDSHAKE_TICK_NS (50 * NS_PER_MS) /* OpenSSL decides what to send again */
#define REPORT_NS NS_PER_S
#define FIRST_REPORT_NS (300 * NS_PER_MS)

static void random_word(char *out, size_t characters)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t raw[64];

    RAND_bytes(raw, (int)characters);
    for (size_t i = 0; i < characters; i++)
        out[i] = alphabet[raw[i] & 63];
    out[characters] = '\0';
}

struct endpoint *endpoint_new(struct media *media, uint32_t index, const char *fingerprint)
{
    struct endpoint *e = NULL;

    if (posix_memalign((void **)&e, 64, sizeof(*e)) != 0)
        abort(); /* as memory_zeroed does */
    memset(e, 0, sizeof(*e));
    e->index = index;
    e->media = media;
    e->timer.owner = e;
    random_word(e->local.ufrag, 4);
    random_word(e->local.password, 24);
    random_word(e->local.cname, 16);
    snprintf(e->local.fingerprint, sizeof(e->local.fingerprint), "%s", fingerprint);
    e->local.address = net_address(media->net, index);
    RAND_bytes((unsigned char *)&e->tie_breaker, sizeof(e->tie_breaker));
    RAND_bytes((unsigned char *)&e->report_ssrc, sizeof(e->report_ssrc));
    return e;
}

void endpoint_arm(struct endpoint *e, uint64_t due_ns)
{
    if (!e->timer.previous || due_ns < e->timer.due_ns)
        timer_set(&e->media->wheel, &e->timer, due_ns);
}

static void fail(struct endpoint *e, const char *why)
{
    struct media *media = e->media;
    uint8_t was = atomic_load(&e->state);

    if (was == ENDPOINT_FAILED)
        return;
    if (was == ENDPOINT_CONNECTED)
        atomic_fetch_sub(&media->connected, 1);
    if (atomic_fetch_add(&media->failed, 1) == 0)
        snprintf(media->failure, sizeof(media->failure), "endpoint %u: %s", e->index, why);
    for (unsigned i = 0; i < e->sender_count; i++)
        sender_stop(media, e->senders[i]);
    dtls_client_free(e->dtls);
    e->dtls = NULL;
    timer_cancel(&e->timer);
    atomic_store(&e->state, ENDPOINT_FAILED);
}

/* ---- ICE ---- */

static void send_check(struct endpoint *e)
{
    struct stun_check check = {.remote_ufrag = e->remote.ufrag,
                               .local_ufrag = e->local.ufrag,
                               .remote_password = e->remote.password,
                               .tie_breaker = e->tie_breaker,
                               .controlled = e->remote.controls};
    uint64_t words[2] = {media_random(e->media), media_random(e->media)};
    uint8_t out[STUN_CLIENT_BYTES_MAX];
    size_t bytes;

    memcpy(check.transaction, words, sizeof(check.transaction));
    memcpy(e->transaction, words, sizeof(e->transaction));
    bytes = stun_check_build(out, &check);
    net_send(e->media->net, e->index, &e->remote.address, out, bytes);
    e->check_sent_ns = e->media->now_ns;
    e->checks++;
    e->media->measurement.counts.checks_sent++;
}

static void handshake_step(struct endpoint *e, const uint8_t *data, size_t bytes);

static void send_datagram(void *context, const uint8_t *data, size_t bytes)
{
    struct endpoint *e = context;

    if (bytes <= NET_SLOT_BYTES)
        net_send(e->media->net, e->index, &e->remote.address, data, bytes);
}

static void take_check_answer(struct endpoint *e)
{
    e->answered_ns = e->media->now_ns;
    e->media->measurement.counts.checks_answered++;
    if (atomic_load(&e->state) != ENDPOINT_CHECKING)
        return;
    atomic_store(&e->state, ENDPOINT_HANDSHAKING);
    e->dtls = dtls_client_new(send_datagram, e);
    handshake_step(e, NULL, 0);
    endpoint_arm(e, e->media->now_ns + HANDSHAKE_TICK_NS);
}

void endpoint_stun(struct endpoint *e, const struct net_message *m, const uint8_t *data,
                   size_t bytes)
{
    const uint8_t *transaction;
    enum stun_kind kind;
    uint8_t out[STUN_CLIENT_BYTES_MAX];

    if (!stun_parse_header(data, bytes, &kind, &transaction))
        return;
    if (kind == STUN_IS_REQUEST && stun_is_authentic(data, bytes, e->local.password)) {
        bytes = stun_answer_build(out, transaction, &m->from, e->local.password);
        net_send(e->media->net, e->index, &m->from, out, bytes);
    } else if (kind == STUN_IS_ERROR) {
        e->media->measurement.counts.check_errors++;
    } else if (kind == STUN_IS_SUCCESS &&
               memcmp(transaction, e->transaction, STUN_TRANSACTION_BYTES) == 0 &&
               stun_is_authentic(data, bytes, e->remote.password)) {
        take_check_answer(e);
    }
}

/* ---- DTLS ---- */

static void take_keys(struct endpoint *e, const struct dtls_client_keys *keys)
{
    struct media *media = e->media;
    enum srtp_profile profile = media->options->profile;

    dtls_client_free(e->dtls);
    e->dtls = NULL;
    srtp_key_init(media->engine, &e->ours, profile, keys->ours_key, keys->ours_salt);
    srtp_key_init(media->engine, &e->theirs, profile, keys->theirs_key, keys->theirs_salt);
    e->keyed_ns = media->now_ns;
    e->next_check_ns = media->now_ns + media_random(media) % CONSENT_NS;
    e->next_report_ns =
        e->is_idle ? UINT64_MAX : media->now_ns + FIRST_REPORT_NS + media_random(media) % REPORT_NS;
    atomic_store(&e->state, ENDPOINT_CONNECTED);
    atomic_fetch_add(&media->connected, 1);
    for (unsigned i = 0; i < e->sender_count; i++)
        sender_start(media, e->senders[i]);
    endpoint_arm(e, e->next_report_ns < e->next_check_ns ? e->next_report_ns : e->next_check_ns);
}

static void handshake_step(struct endpoint *e, const uint8_t *data, size_t bytes)
{
    struct dtls_client_keys keys;
    char why[DTLS_CLIENT_WHY_BYTES];

    switch (dtls_client_step(e->dtls, data, bytes, e->remote.algorithm, e->remote.fingerprint,
                             &keys, why)) {
    case DTLS_CLIENT_BUSY:
        break;
    case DTLS_CLIENT_KEYED:
        take_keys(e, &keys);
        break;
    case DTLS_CLIENT_FAILED:
        fail(e, why);
        break;
    }
}

void endpoint_dtls(struct endpoint *e, const uint8_t *data, size_t bytes)
{
    if (atomic_load(&e->state) == ENDPOINT_HANDSHAKING)
        handshake_step(e, data, bytes);
}

/* ---- timers ---- */

static void fire_connecting(struct endpoint *e)
{
    uint64_t now = e->media->now_ns, pause = CHECK_FIRST_NS << (e->checks < 5 ? e->checks : 5);

    if (now - e->began_ns > CONNECT_TIMEOUT_NS) {
        fail(e, e->dtls ? "the DTLS handshake did not finish within 20 s"
                        : "no answer to ICE checks within 20 s");
        return;
    }
    if (e->dtls) {
        handshake_step(e, NULL, 0);
        pause = HANDSHAKE_TICK_NS;
        if (now - e->check_sent_ns > CHECK_INTERVAL_MAX_NS) /* as browsers do */
            send_check(e);
    } else {
        send_check(e);
    }
    if (atomic_load(&e->state) < ENDPOINT_CONNECTED)
        endpoint_arm(e, now + (pause < CHECK_INTERVAL_MAX_NS ? pause : CHECK_INTERVAL_MAX_NS));
}

static void fire_connected(struct endpoint *e)
{
    uint64_t now = e->media->now_ns, due;

    if (now - e->answered_ns > CONSENT_TIMEOUT_NS) {
        e->media->measurement.counts.consent_lost++;
        fail(e, "no answer to consent checks for 30 s");
        return;
    }
    if (now >= e->next_check_ns) {
        send_check(e);
        e->next_check_ns = now + CONSENT_NS * 4 / 5 + media_random(e->media) % (CONSENT_NS * 2 / 5);
    }
    if (now >= e->next_report_ns) {
        endpoint_send_reports(e);
        e->next_report_ns += REPORT_NS;
        if (e->next_report_ns <= now)
            e->next_report_ns = now + REPORT_NS;
    }
    if (e->next_feedback_ns && now >= e->next_feedback_ns)
        endpoint_send_transport_cc(e);
    if (e->next_nack_ns && now >= e->next_nack_ns)
        endpoint_send_nacks(e);
    due = e->next_check_ns < e->next_report_ns ? e->next_check_ns : e->next_report_ns;
    if (e->next_feedback_ns && e->next_feedback_ns < due)
        due = e->next_feedback_ns;
    if (e->next_nack_ns && e->next_nack_ns < due)
        due = e->next_nack_ns;
    endpoint_arm(e, due);
}

void endpoint_fire(struct endpoint *e)
{
    switch (atomic_load(&e->state)) {
    case ENDPOINT_CHECKING:
    case ENDPOINT_HANDSHAKING:
        fire_connecting(e);
        break;
    case ENDPOINT_CONNECTED:
        fire_connected(e);
        break;
    default:
        break;
    }
}

/* ---- begin, add streams, end ---- */

void endpoint_begin(struct media *media, void *endpoint)
{
    struct endpoint *e = endpoint;

    media->endpoints[e->index] = e;
    if (e->index >= media->endpoint_count)
        media->endpoint_count = e->index + 1;
    for (unsigned i = 0; i < e->sender_count; i++) {
        struct sender *s = e->senders[i];

        s->endpoint = e;
        media->senders[s->id] = s;
        if (s->id >= media->sender_count)
            media->sender_count = s->id + 1;
    }
    e->began_ns = media->now_ns;
    atomic_store(&e->state, ENDPOINT_CHECKING);
    endpoint_fire(e);
}

static void add_entry(struct endpoint *e, uint32_t ssrc, struct receiver *r)
{
    uint32_t at = (ssrc * 2654435761u >> 7) & e->entry_mask;

    if (!ssrc)
        return;
    while (e->entries[at].receiver)
        at = (at + 1) & e->entry_mask;
    e->entries[at] = (struct receiver_entry){.ssrc = ssrc, .receiver = r};
}

void endpoint_add_receivers(struct media *media, void *argument)
{
    struct receivers_added *added = argument;
    struct endpoint *e = added->endpoint;
    unsigned count = e->receiver_count + added->count;
    uint32_t entries = 8;

    e->receivers = realloc(e->receivers, count * sizeof(*e->receivers));
    while (entries < 4 * count) /* two per receiver (RTX), and half of all stay free */
        entries *= 2;
    free(e->entries);
    e->entries = calloc(entries, sizeof(*e->entries));
    if (!e->receivers || !e->entries)
        abort();
    e->entry_mask = entries - 1;
    for (unsigned i = 0; i < added->count; i++) {
        e->receivers[e->receiver_count++] = added->receivers[i];
        if (media->measurement.running)
            loss_counter_start(&added->receivers[i]->loss, 0, true);
    }
    for (unsigned i = 0; i < e->receiver_count; i++) {
        add_entry(e, e->receivers[i]->ssrc, e->receivers[i]);
        add_entry(e, e->receivers[i]->rtx_ssrc, e->receivers[i]);
    }
    if (added->transport_cc_id)
        e->transport_cc_id = added->transport_cc_id;
    if (e->transport_cc_id && !e->transport_cc)
        e->transport_cc = calloc(1, sizeof(*e->transport_cc));
    free(added);
}

void endpoint_end(struct media *media, void *endpoint)
{
    struct endpoint *e = endpoint;

    timer_cancel(&e->timer);
    if (atomic_load(&e->state) == ENDPOINT_CONNECTED)
        atomic_fetch_sub(&media->connected, 1);
    if (media->endpoints[e->index] == e)
        media->endpoints[e->index] = NULL;
    for (unsigned i = 0; i < e->sender_count; i++) {
        sender_stop(media, e->senders[i]);
        e->senders[i]->endpoint = NULL;
    }
    for (unsigned i = 0; i < e->receiver_count; i++) {
        struct receiver *r = e->receivers[i];

        if (media->measurement.running)
            loss_counter_stop_at_highest(&r->loss);
        measurement_add_receiver(media, r);
        free(r->srtp_rtx);
        gaps_free(&r->gaps);
        verify_free(r->verify);
        free(r);
    }
    dtls_client_free(e->dtls);
    srtp_key_wipe(&e->ours);
    srtp_key_wipe(&e->theirs);
    free(e->transport_cc);
    free(e->receivers);
    free(e->entries);
    free(e);
}
