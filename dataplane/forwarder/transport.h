/* A transport: the ICE, DTLS and SRTP state of one connection with a client.
 *
 * Shape:   three arrays, in each of them the transport lies at the index of its row. struct
 *          transport is for changes and timers, struct egress for sending. struct ingress is used
 *          only when the client sends media to us.
 * Threads: a transport lives on one worker. Every worker maps whole arrays of its own, so an index
 *          that moves from one worker to another is never touched by two threads.
 * Memory:  mapped at start; a page takes memory when it is first touched. Not in core dumps,
 *          because keys lie here. */
#ifndef RINGCAST_TRANSPORT_H
#define RINGCAST_TRANSPORT_H

#include "credentials.h"
#include "dataplane/engines/ice.h"
#include "dataplane/engines/rtcp.h"
#include "dataplane/engines/srtp/sent.h"
#include "dataplane/engines/srtp/srtp.h"
#include "dataplane/engines/transport_cc.h"
#include "dataplane/engines/wheel.h"
#include "egress.h"
#include "policer.h"
#include "src/clock.h"
#include "src/region.h"

#define STREAMS_MAX 32 /* SSRCs that one transport may send (threat D15) */
#define PUBLISH_INTERVAL_NS \
    (500 * NS_PER_MS) /* how often an active transport publishes statistics */
#define IDLE_INTERVAL_NS \
    (2500 * NS_PER_MS) /* how often the timer fires without producer and consumer */

struct consumer_details;
struct producer;

/* An SSRC that a client sends, and its SRTP state. When its producer closes, `producer` becomes
 * NULL and the SRTP state stays: if the SSRC comes back, packets from before cannot be replayed. */
struct stream {
    struct srtp_stream srtp;
    struct producer *producer;
    uint32_t ssrc;
    uint8_t encoding;
    bool is_rtx;
    bool was_source; /* its encoding took packets of it */
};

struct ingress {
    struct transport_cc congestion;
    struct stream streams[STREAMS_MAX];
};

struct transport {
    uint32_t generation; /* 0: free */
    uint32_t index;
    uint8_t dtls_role;
    uint8_t dtls_state;
    uint8_t dtls_failure;
    uint8_t profile;             /* enum srtp_profile; 0: no keys */
    bool handshaker_is_notified; /* it knows that ICE validated a path */
    /* the id that this client uses for a header extension; 0: it does not send it */
    uint8_t mid_id, rid_id, repaired_rid_id, transport_cc_id;
    struct ice_credentials credentials; /* as the row says */
    struct ice_credentials outgoing;    /* from before an ICE restart, see credentials.h */
    struct ice ice;
    struct path mapped[ICE_PATHS_MAX]; /* its entries in the map of paths (checks.h): */
    uint8_t mapped_bits;               /* bit i: mapped[i] is one */
    struct timer timer, feedback_timer;
    uint64_t next_report_ns, next_publish_ns;
    uint64_t connected_ns;
    uint64_t ntp_offset; /* our NTP time minus the client's, 32.32; valid when has_ntp_offset */
    bool has_ntp_offset;
    /* The clock that the client told as a receiver (RTCP XR), and whether it has an answer yet. */
    struct rtcp_reference_answer reference;
    uint64_t reference_arrived_ns;
    bool owes_reference_answer;
    bool dirty; /* statistics changed since they were published */
    uint32_t rate_window_s, rtcp_in_window, stun_in_window, other_stun_in_window, dtls_in_window;
    uint32_t feedback_in_window, nacked_in_window;
    struct policer authentic, refused; /* what the client sends, see policer.h */
    const struct policer_rate *rate;   /* of both: that of its media */
    uint32_t counted_moves;            /* of ice.moves, by the worker's counter */
    uint32_t withheld;                 /* datagrams that were not sent: the path is not proven */
    bool has_challenged;               /* one of its paths was asked for a proof */
    int8_t asked;                      /* the path that was asked for a proof last, -1: none */

    uint64_t bytes_received;
    uint64_t bytes_sent; /* all but RTP, which egress counts */
    uint64_t rtx_bytes_received;
    uint64_t rtp_packets_received, rtp_bytes_received;

    struct egress *egress;
    struct ingress *ingress;
    bool has_sent; /* it had a producer, so `ingress` is not all 0 */
    struct producer *producers;
    struct consumer_details *consumers;
    uint32_t consumer_count;
    uint32_t rtcp_index, rtcp_index_reserved; /* the next one; the first that is not reserved */
    uint32_t report_ssrc;                     /* our SSRC in receiver reports and feedback */
    struct srtp_sent ssrcs; /* that consumers have or sent with: none of them begins again */
    struct srtp_skipped ssrcs_skipped;
    struct srtcp_window rtcp_window;
    struct srtp_key receive_key;
};

/* All transports of a worker, and what they work with. */
struct transports {
    struct turn *turn;
    struct wheel *wheel;
    struct srtp_engine *srtp;
    struct random_pool *random;
    const struct resume *resume;
    struct publisher *publisher;
    struct handshaker_link *handshaker;
    struct checks *checks;
    struct lanes *lanes;
    struct reports *reports;
    struct proofs *proofs;
    struct producers *producers;
    struct consumers *consumers;
    const struct region *keys;
    uint32_t worker;     /* this one; it ignores rows of other workers */
    uint64_t consent_ns; /* a client that has not checked for this long has lost consent */
    /* How much a client may send that has a producer of this kind; video is more than audio. A
     * client without a producer has the rate of audio. */
    struct policer_rate rates[MEDIA_KIND_video + 1];

    bool waits_for_claim; /* a row was not applied, because another worker has that transport */
    uint32_t count;
    struct transport *all; /* [TRANSPORTS_MAX], like the two below */
    struct egress *egresses;
    struct ingress *ingresses;
    struct ufrags ufrags;
};

/* Maps the arrays; false when there is no address space. */
bool transports_open(struct transports *ts);
void transports_close(struct transports *ts);

/* Makes the object at `index` say what its row says; NULL: there is no row. */
void transport_reconcile(struct transports *ts, uint32_t index, const struct transport_row *row);
/* NULL: this worker does not have it, or no longer. */
struct transport *transport_find(const struct transports *ts, handle_word handle);

/* Reads the key row after the handshaker has changed it. */
void transport_read_keys(struct transports *ts, struct transport *t);
/* Its producers have changed: sets how much the client may send. */
void transport_set_rate(const struct transports *ts, struct transport *t);
/* Copies path and key state from the ICE agent and the keys to the egress. */
void transport_update_egress(struct transport *t);

/* The timer fired: checks consent, sends reports, publishes statistics, sets the timer again. */
void transport_on_timer(struct transports *ts, struct transport *t);
/* Makes the next report and statistics due within PUBLISH_INTERVAL_NS: there are new keys, or there
 * is a new producer or consumer. */
void transport_report_soon(struct transports *ts, struct transport *t);
/* Publishes its row, without those of its producers and consumers, and an event that names it. */
void transport_publish_change(struct transports *ts, struct transport *t);

/* Counts a packet against a limit per second. False: over the limit. Call it only for authentic
 * packets: an attacker who sends with the client's address must not use up the client's limit. DTLS
 * has no other limit than its own, so there it is called for all. */
static inline bool transport_count_within(struct transport *t, uint64_t now_ns, uint32_t *count,
                                          uint32_t limit)
{
    uint32_t second = (uint32_t)(now_ns / NS_PER_S);

    if (t->rate_window_s != second) {
        t->rate_window_s = second;
        t->rtcp_in_window = 0;
        t->stun_in_window = 0;
        t->other_stun_in_window = 0;
        t->dtls_in_window = 0;
        t->feedback_in_window = 0;
        t->nacked_in_window = 0;
    }
    return ++*count <= limit;
}

#endif
