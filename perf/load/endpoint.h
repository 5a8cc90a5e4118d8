/* One WebRTC endpoint (ICE, DTLS, SRTP) with the streams that it sends and receives.
 *
 *   NEW ─► CHECKING ─► HANDSHAKING ─► CONNECTED        any of the last three ─► FAILED
 *          ICE checks  DTLS           media, consent checks, reports
 *
 * Threads: endpoint_new on any thread; everything else on the media thread. Any thread may read
 *          `state`.
 * Memory:  endpoint_begin gives the endpoint to the media thread; endpoint_end frees it and its
 *          receivers. Its senders stay in media->senders. */
#ifndef RINGCAST_LOAD_ENDPOINT_H
#define RINGCAST_LOAD_ENDPOINT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/engines/srtp/srtp.h"
#include "dataplane/engines/wheel.h"
#include "stun_client.h"
#include "target.h"

#define SENDERS_PER_ENDPOINT_MAX 5 /* audio, and the encodings of a camera */

struct dtls_client;
struct media;
struct net_message;
struct receiver;
struct sender;
struct transport_cc;

enum endpoint_state {
    ENDPOINT_NEW,
    ENDPOINT_CHECKING,
    ENDPOINT_HANDSHAKING,
    ENDPOINT_CONNECTED,
    ENDPOINT_FAILED,
};

struct receiver_entry {
    uint32_t ssrc;
    struct receiver *receiver; /* NULL: free */
};

struct endpoint {
    struct srtp_key ours, theirs;
    struct srtcp_window window;
    uint32_t index; /* in media->endpoints; its address and its socket follow from it */
    _Atomic uint8_t state;
    bool is_publisher, is_idle;
    struct media *media;
    struct timer timer;
    struct target_local local;
    struct target_remote remote;
    /* ICE */
    uint8_t transaction[STUN_TRANSACTION_BYTES];
    uint64_t tie_breaker, began_ns, next_check_ns, answered_ns, check_sent_ns;
    unsigned checks;
    struct dtls_client *dtls; /* only while HANDSHAKING */
    uint64_t keyed_ns;
    /* RTCP */
    uint32_t report_ssrc, rtcp_index;
    uint64_t next_report_ns;
    /* streams */
    struct sender *senders[SENDERS_PER_ENDPOINT_MAX];
    unsigned sender_count;
    uint16_t transport_sequence; /* transport-cc: counts all packets that it sends */
    struct receiver **receivers;
    unsigned receiver_count;
    struct receiver_entry *entries; /* hash table by SSRC (RTX too), open addressing */
    uint32_t entry_mask;
    struct transport_cc *transport_cc; /* NULL: the server did not ask for this feedback */
    uint8_t transport_cc_id;
    uint32_t transport_cc_media;
    uint16_t transport_cc_number; /* of the latest packet */
    uint64_t next_feedback_ns;    /* 0: there is nothing to report */
    uint64_t next_nack_ns;        /* 0: nothing is missing */
};

/* The caller counts `index` up from 0; no index is used twice in a run. */
struct endpoint *endpoint_new(struct media *media, uint32_t index, const char *fingerprint);
void endpoint_begin(struct media *media, void *endpoint); /* fits media_post */
void endpoint_end(struct media *media, void *endpoint);   /* fits media_call */

/* A datagram for this endpoint arrived. */
void endpoint_stun(struct endpoint *endpoint, const struct net_message *message,
                   const uint8_t *data, size_t bytes);
void endpoint_dtls(struct endpoint *endpoint, const uint8_t *data, size_t bytes);

/* Does everything that is due. */
void endpoint_fire(struct endpoint *endpoint);
/* Lets endpoint_fire run at due_ns at the latest. */
void endpoint_arm(struct endpoint *endpoint, uint64_t due_ns);

/* Receivers must be added before the server is told to start their streams. The endpoint then owns
 * them. */
struct receivers_added {
    struct endpoint *endpoint;
    uint8_t transport_cc_id; /* 0: the server does not want transport-cc feedback */
    unsigned count;
    struct receiver *receivers[];
};
void endpoint_add_receivers(struct media *media, void *added); /* fits media_post; frees `added` */

/* Finds a receiver by the SSRC of its stream or of its RTX stream. NULL: unknown. */
static inline struct receiver *endpoint_receiver(const struct endpoint *e, uint32_t ssrc)
{
    uint32_t at = ssrc * 2654435761u >> 7;

    if (!e->entries)
        return NULL;
    for (at &= e->entry_mask; e->entries[at].receiver; at = (at + 1) & e->entry_mask)
        if (e->entries[at].ssrc == ssrc)
            return e->entries[at].receiver;
    return NULL;
}

#endif
