/* The media thread: thousands of WebRTC endpoints on one loop. Private to perf/load.
 *
 *   media ──► endpoint (ICE + DTLS + SRTP) ──► sender    one RTP stream that it sends
 *     │           │                       └──► receiver  one RTP stream that it gets
 *     └─ net      └─ timer: checks, handshake, reports
 *
 * Files: media.c (the loop, commands), endpoint.c (life of an endpoint: checks, handshake, consent),
 * senders.c (frames and packets out), arrivals.c (what comes in), reports.c (RTCP both ways),
 * window.c (a measurement: its beginning, its end, its sums).
 *
 * Threads: everything belongs to the media thread from media_start on; other threads hand over work
 *          with media_post and media_call, and may read `state` of an endpoint.
 * Memory:  endpoints are made by endpoint_new on any thread and belong to the media from
 *          endpoint_begin on; endpoint_end frees them with what hangs on them. */
#ifndef RINGCAST_LOAD_MEDIA_H
#define RINGCAST_LOAD_MEDIA_H

#include <pthread.h>
#include <stdatomic.h>

#include "dataplane/engines/srtp/srtp.h"
#include "dataplane/engines/transport_cc.h"
#include "dataplane/engines/wheel.h"
#include "dtls_client.h"
#include "histogram.h"
#include "net.h"
#include "options.h"
#include "payload.h"
#include "stun_client.h"
#include "target.h"
#include "loss_counter.h"

#define SENDERS_PER_ENDPOINT_MAX 2
#define RTP_PAYLOAD_BYTES_MAX 1400
#define FRAME_PACKETS_MAX 64
#define TICK_NS 500000ull
#define MEDIA_WHY_BYTES 300

enum endpoint_state {
    ENDPOINT_NEW,
    ENDPOINT_CHECKING,
    ENDPOINT_SHAKING,
    ENDPOINT_CONNECTED,
    ENDPOINT_FAILED,
};

/* One sent packet that is kept for a while: held back for reordering, or for answering NACKs. */
struct kept_packet {
    uint16_t sequence, header_bytes, payload_bytes;
    uint64_t index; /* SRTP */
    uint8_t bytes[RTP_PAYLOAD_BYTES_MAX + 128];
};
#define HISTORY_PACKETS 512 /* of one sender: about two seconds of video */

struct sender {
    struct endpoint *endpoint;
    uint32_t id; /* stamped into its packets */
    uint8_t kind, payload_type, rtx_payload_type;
    uint32_t ssrc, rtx_ssrc;
    char mid[16];
    bool running, mid_acknowledged, key_frame_wanted;
    uint64_t index, rtx_index; /* next SRTP indexes: roll-over counter, sequence number */
    uint32_t timestamp;
    uint32_t number; /* of the next packet */
    uint16_t picture_id;
    uint64_t due_ns, interval_ns;
    uint32_t packets, bytes; /* for sender reports */
    uint64_t last_frame_ns, last_wall_ns;
    uint32_t window_from, window_to; /* numbers */
    uint32_t not_sent;               /* of those, on purpose (--loss) */
    uint32_t key_frames, frames;
    uint8_t fir_sequence;
    bool fir_seen;
    struct kept_packet *held; /* reordering: sent behind its successor */
    bool holding;
    struct kept_packet *history; /* NACK: HISTORY_PACKETS of them */
    uint32_t heap_at;
};

struct receiver {
    uint32_t stream; /* the sender's id */
    uint32_t room;
    uint8_t kind, payload_type, rtx_payload_type;
    uint32_t ssrc, rtx_ssrc;
    struct srtp_stream srtp, *srtp_rtx;
    struct loss_counter loss;
    bool decodable; /* video: a key frame came */
    uint32_t before_key_frame;
    uint64_t asked_ns; /* PLI */
    /* RFC 3550 A.3, A.8 */
    bool counted;
    uint32_t base, highest, packets, expected_before, packets_before;
    uint32_t jitter, transit;
    uint32_t last_sr;
    uint64_t last_sr_ns;
    uint64_t missing_mask; /* NACK: bit i: highest - 1 - i has not come */
    uint64_t nacked_ns;
};

struct receiver_slot {
    uint32_t ssrc;
    struct receiver *receiver;
};

struct endpoint {
    struct srtp_key ours, theirs;
    struct srtcp_window window;
    uint32_t index; /* in media->endpoints; address and socket follow from it */
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
    struct dtls_client *dtls;
    uint64_t keyed_ns;
    /* RTCP */
    uint32_t report_ssrc, rtcp_index;
    uint64_t next_report_ns;
    /* streams */
    struct sender *senders[SENDERS_PER_ENDPOINT_MAX];
    unsigned sender_count;
    uint16_t transport_sequence; /* transport-cc, of all that it sends */
    struct receiver **receivers;
    unsigned receiver_count;
    struct receiver_slot *slots; /* by SSRC, open addressing; RTX too */
    uint32_t slot_mask;
    struct transport_cc *transport_cc; /* NULL: not asked for */
    uint8_t transport_cc_id;
    uint32_t transport_cc_media;
    uint64_t next_feedback_ns; /* 0: nothing to tell */
};

/* Plain counts; those marked w are of the window of measurement only. */
struct media_counts {
    uint64_t rtp_received, rtp_received_bytes;          /* w, by wall time: authentic ones */
    uint64_t rtp_sent, rtp_sent_bytes;                  /* w */
    uint64_t unauthentic, replayed, malformed;          /* w */
    uint64_t corrupt, foreign, misrouted;               /* w: right tag, wrong content */
    uint64_t before_key_frame;                          /* all */
    uint64_t unknown_ssrc, unknown_endpoint, too_early; /* all */
    uint64_t rtcp_received, rtcp_sent, rtcp_bad;        /* all */
    uint64_t pli_sent, pli_received, fir_received, nack_sent, nack_received, rtx_sent, rtx_received;
    uint64_t transport_cc_sent;
    uint64_t checks_sent, checks_answered, check_errors, consent_lost;
    uint64_t injected_send_loss, injected_send_reorder;                              /* w */
    uint64_t injected_loss, injected_duplicate, injected_corrupt, injected_scramble; /* w */
};

/* What receivers that are gone have left, and in the end all. */
struct media_sums {
    uint64_t expected, received, lost, duplicates, reordered, ancient;
    uint64_t receivers, silent, with_loss;
    uint64_t not_sent; /* of the lost: those that --loss kept from the server */
    uint32_t lost_worst, distance_max;
    double loss_worst; /* share of the worst receiver */
};

struct media_command {
    struct media_command *next;
    void (*run)(struct media *media, void *argument);
    void *argument;
    bool *done; /* media_call waits for it */
};

struct arrivals; /* arrivals.c */

struct media {
    const struct options *options;
    struct net *net;
    struct srtp_engine *engine;
    struct wheel wheel;
    uint64_t now_ns;
    uint64_t random;
    struct endpoint **endpoints; /* by index; NULL: gone */
    uint32_t endpoint_count;     /* highest index + 1 */
    struct sender **senders;     /* by id; kept when their endpoint goes */
    uint32_t sender_count;
    struct sender **heap; /* running senders, the next due first */
    uint32_t heap_count;
    struct arrivals *arrivals;
    uint8_t *payloads; /* clear payloads of a frame that is being built */

    bool measuring, stopping;
    uint64_t window_began_ns, window_ended_ns, last_counted_ns;
    struct media_counts counts;
    struct media_sums sums[2]; /* by kind */
    struct histogram latency[2], lateness, read_lag;
    struct histogram *room_latency;          /* --room-latency: by room */
    uint64_t own_cpu_ns, own_process_cpu_ns; /* used in the window */
    uint64_t drops, send_failed;             /* of our own sockets, in window and drain */
    _Atomic uint32_t connected, failed;
    char failure[MEDIA_WHY_BYTES]; /* of the first that failed */

    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t ran;
    struct media_command *first, **last;
    _Atomic bool has_commands;
};

/* ---- media.c ---- */

bool media_start(struct media *media, const struct options *options, char *why);
void media_stop(struct media *media); /* the thread ends; what it counted stays */
void media_free(struct media *media);
/* Runs on the media thread, soon; posts of one thread run in their order. */
void media_post(struct media *media, void (*run)(struct media *media, void *argument),
                void *argument);
/* … and has run when this returns. */
void media_call(struct media *media, void (*run)(struct media *media, void *argument),
                void *argument);

static inline uint64_t media_random(struct media *media)
{
    media->random ^= media->random << 13;
    media->random ^= media->random >> 7;
    media->random ^= media->random << 17;
    return media->random;
}

static inline bool media_chance(struct media *media, double percent)
{
    return percent > 0 && (double)(media_random(media) >> 11) * 0x1p-53 * 100 < percent;
}

/* ---- endpoint.c ---- */

/* `index` is the caller's to count, each used once in a run. */
struct endpoint *endpoint_new(struct media *media, uint32_t index, const char *fingerprint);
void endpoint_begin(struct media *media, void *endpoint); /* for media_post */
void endpoint_end(struct media *media, void *endpoint);
void endpoint_fire(struct endpoint *e);
void endpoint_stun(struct endpoint *e, const struct net_message *m, const uint8_t *data,
                   size_t bytes);
void endpoint_dtls(struct endpoint *e, const uint8_t *data, size_t bytes);
/* When `e` next wants endpoint_fire, unless something comes before. */
void endpoint_arm(struct endpoint *e, uint64_t due_ns);

/* Receivers are added before the server is told to start; the endpoint owns them from then on. */
struct receivers_added {
    struct endpoint *endpoint;
    uint8_t transport_cc_id; /* 0: nobody wants feedback */
    unsigned count;
    struct receiver *receivers[];
};
void endpoint_add_receivers(struct media *media, void *added); /* frees `added` */

static inline struct receiver *endpoint_receiver(const struct endpoint *e, uint32_t ssrc)
{
    uint32_t at = ssrc * 2654435761u >> 7;

    if (!e->slots)
        return NULL;
    for (at &= e->slot_mask; e->slots[at].receiver; at = (at + 1) & e->slot_mask)
        if (e->slots[at].ssrc == ssrc)
            return e->slots[at].receiver;
    return NULL;
}

/* ---- senders.c ---- */

struct sender *sender_new(const struct options *options, uint32_t id, enum stream_kind kind,
                          uint64_t random);
void sender_start(struct media *media, struct sender *s); /* its endpoint has keys */
void sender_stop(struct media *media, struct sender *s);
void sender_resend(struct media *media, struct sender *s, uint16_t sequence); /* NACK */
void senders_run(struct media *media);
static inline uint64_t senders_due_ns(const struct media *media)
{
    return media->heap_count ? media->heap[0]->due_ns : UINT64_MAX;
}

/* ---- arrivals.c ---- */

struct arrivals *arrivals_new(void);
void arrivals_run(struct media *media);

/* ---- reports.c ---- */

void reports_send(struct endpoint *e);
void reports_received(struct endpoint *e, uint8_t *data, size_t bytes);
void report_count(struct receiver *r, uint64_t index, uint32_t timestamp, uint64_t arrived_ns);
void report_key_frame_request(struct endpoint *e, struct receiver *r);
void report_missing(struct endpoint *e, struct receiver *r);
void report_recovered(struct receiver *r, uint16_t sequence);
void report_feedback(struct endpoint *e);

/* ---- window.c ---- */

void measurement_start(struct media *media, void *unused);
void measurement_stop(struct media *media, void *unused);
void measurement_sum(struct media *media, void *unused); /* after the drain: all that are left */
void receiver_sum(struct media *media, struct receiver *r);

struct media_progress {
    uint32_t endpoints, connected, failed;
    uint32_t receivers, flowing; /* something came, of video a key frame */
    uint64_t last_counted_ns;
    char failure[MEDIA_WHY_BYTES];
};
void media_progress(struct media *media, void *progress); /* for media_call */

#endif
