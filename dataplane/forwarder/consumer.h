/* A consumer: what one client gets of one producer.
 *
 * Shape:   a consumer has one entry in each of three arrays, at the index of its row. The fan-out
 *          touches struct consumer for each packet and walks thousands of them, so it has two cache
 *          lines. struct consumer_details holds the rest, for table changes, RTCP and statistics.
 *          struct srtp_skipped is touched only while SRTP indexes are skipped, struct selection only
 *          when the producer is layered.
 * Threads: a consumer lives on the worker of its transport. If its producer lives on another
 *          one, there is a replica of the producer here, see replica.h.
 * Memory:  mapped at start; a page takes memory when it is first touched. */
#ifndef RINGCAST_CONSUMER_H
#define RINGCAST_CONSUMER_H

#include "dataplane/engines/map.h"
#include "dataplane/engines/quality/score.h"
#include "dataplane/engines/srtp/sent.h"
#include "dataplane/engines/quality/squeeze.h"
#include "packet.h"
#include "src/tables.h"

struct transport;

struct consumer {
    /* the next consumer of the producer; whether packets may be sent */
    struct consumer *next_of_producer;
    struct egress *egress; /* of its transport */
    struct consumer *next_due;
    struct producer *producer;
    struct header_kind header;
    uint32_t ssrc, index;
    bool paused;
    uint8_t encoding;  /* the encoding that is forwarded now */
    uint8_t target;    /* wanted encoding; it replaces the present one at its next key frame */
    bool synchronised; /* false: the offsets are not valid; video waits for a key frame */

    uint64_t index_offset; /* SRTP index out = in + offset (modulo 2^64) */
    uint64_t floor_in; /* packets with a smaller index are from before the last synchronisation */
    struct srtp_sent sent;   /* SRTP indexes out */
    uint64_t index_reserved; /* the first one that is not reserved, see resume.h */
    uint64_t last_sent_ns;
    uint64_t packets, bytes;
    uint32_t payload_bytes; /* for sender reports; wraps */
    uint32_t timestamp_offset, last_timestamp;
    char mid[CONSUMER_MID_BYTES_MAX];
    bool has_sent;
    uint8_t source;  /* the stream of `encoding` that is being forwarded, see struct encoding */
    bool is_layered; /* its selection decides, see layers.h */
    uint8_t wants;   /* bit per encoding: it must be fanned out for this consumer */
};
_Static_assert(sizeof(struct consumer) == 128, "consumer: two cache lines");

struct consumer_details {
    uint32_t generation; /* 0: free */
    struct consumer *consumer;
    struct transport *transport;
    struct consumer **previous_of_producer;
    struct consumer_details *next_of_transport, **previous_of_transport;
    struct replay *replay;  /* NULL: it gets packets as they come */
    uint64_t first_in;      /* the first index with the present offsets; not of layered ones */
    struct squeeze squeeze; /* the same */
    uint64_t live_from;     /* smaller indexes left, or leave, with a replay */
    uint8_t preferred_spatial_layer, preferred_temporal_layer;
    uint8_t published_spatial_layer, published_temporal_layer; /* what the client knows */
    uint32_t layer_switches; /* how often the layers that are forwarded changed */
    struct score score;
    uint64_t scored_ns;
    /* as the client reports */
    int32_t lost;
    uint32_t fraction_lost, jitter, round_trip_us;
    uint32_t pli_received, fir_received, nack_received;
    uint32_t packets_asked;      /* by the client, with NACKs */
    uint64_t key_frame_asked_ns; /* when the client asked for one; 0: never */
    uint32_t rtx_ssrc;           /* of its retransmissions; 0: none */
    uint8_t rtx_payload_type;    /* 0: the client takes no retransmissions */
    bool has_audio_nack;         /* the client asks for lost audio, see repair_out.h */
    bool goes_on;                /* from an earlier consumer with the same row, see resume.h */
    uint8_t fir_sequence;
    bool fir_seen;
};

/* All consumers of a worker, and what they work with. */
struct consumers {
    struct turn *turn;
    struct random_pool *random;
    const struct resume *resume;
    struct publisher *publisher;
    struct reports *reports;
    struct replicas *replicas;
    struct key_frames *key_frames;
    struct transports *transports;
    struct producers *producers;
    struct repair_out *repair_out;
    struct replays *replays;

    uint32_t count;
    struct consumer *all; /* [CONSUMERS_MAX], like details */
    struct consumer_details *details;
    struct srtp_skipped *skipped;
    struct selection *selections;
    struct map ssrcs; /* transport and SSRC → index */
};

/* The key in `ssrcs`: the index of a transport, and an SSRC that is sent to it. */
static inline uint64_t consumer_key(uint32_t transport, uint32_t ssrc)
{
    return ((uint64_t)transport + 1) << 32 | ssrc;
}

/* Maps the arrays; false when there is no address space. */
bool consumers_open(struct consumers *cs);
void consumers_close(struct consumers *cs);

/* Makes the object at `index` say what its row says; NULL: there is no row. */
void consumer_reconcile(struct consumers *cs, uint32_t index, const struct consumer_row *row);
/* with_bye: sends its client an RTCP BYE. */
void consumer_remove(struct consumers *cs, struct consumer *c, bool with_bye);

/* It can begin only with a key frame: out of the history, or else of the publisher. Nothing happens while
 * there is no proven path: consumers_request_key_frames is called when there is. */
void consumer_need_key_frame(struct consumers *cs, struct consumer *c);
/* Its target, or what is forwarded, or whether it is paused has changed. */
void consumer_update_wants(struct consumers *cs, struct consumer *c);

/* The consumer whose packets go to the transport at this index with this SSRC; NULL: none. */
static inline struct consumer_details *consumer_find_details(const struct consumers *cs,
                                                             uint32_t transport, uint32_t ssrc)
{
    uint32_t i = map_find(&cs->ssrcs, consumer_key(transport, ssrc));

    return i == MAP_NONE ? NULL : &cs->details[i];
}

/* Publishes its row now, and tells the control plane. */
void consumer_publish_change(struct consumers *cs, const struct consumer_details *d);
/* The same, because the layers that are forwarded to it have changed. */
void consumer_publish_layers(struct consumers *cs, struct consumer_details *d);

/* ---- all consumers of a transport ---- */

void consumers_request_key_frames(struct consumers *cs, const struct transport *t);
/* Chooses the layers of each anew, see layers.h. */
void consumers_choose_layers(struct consumers *cs, const struct transport *t);
void consumers_publish(struct consumers *cs, const struct transport *t);

/* ---- all consumers of a producer ---- */

/* The producer was paused or resumed. Its consumers continue at the next key frame, which is
 * requested, without a gap in sequence numbers and time stamps. */
void consumers_restart(struct consumers *cs, struct producer *p);

#endif
