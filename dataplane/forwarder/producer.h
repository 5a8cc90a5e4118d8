/* A producer: one stream that a client publishes, with all its encodings.
 *
 * It lives on the worker of its transport, its home. A worker that has consumers of it but not its
 * transport has a replica of it: the same struct, fed by the home through handoff.c.
 *
 * Shape:   struct producer at the row's index.
 * Threads: a worker's own array; home and replica share nothing but the notes between them.
 * Memory:  mapped at start; a page takes memory when it is first touched. */
#ifndef RINGCAST_PRODUCER_H
#define RINGCAST_PRODUCER_H

#include "audio_levels.h"
#include "dataplane/engines/quality/score.h"
#include "dataplane/engines/wheel.h"
#include "packet.h"
#include "src/tables.h"

struct consumer;
struct transport;

/* One encoding (simulcast stream) and its reception statistics (RFC 3550 A.1, A.3, A.8). */
struct encoding {
    uint32_t ssrc, rtx_ssrc; /* as declared, 0: not declared; see struct stream for learnt ones */
    uint32_t seen_ssrc;      /* of the last packet */
    uint8_t source;          /* its place among the streams of the transport, see transport.h */
    bool started;
    bool sends_parameters; /* H264: it sent an SPS, so each of its key frames begins with one */
    uint64_t first_index, highest_index; /* SRTP indexes */
    uint64_t highest_before;             /* before the newest packet; 0: it was the first */
    uint64_t packets, bytes, rtx_packets;
    uint64_t empty_packets;                  /* of packets, those without media, see numbers_in.h */
    bool has_dropped_numbers;                /* numbers_in.h knows which */
    uint64_t expected_prior, received_prior; /* at the last report */
    uint32_t jitter;                         /* scaled by 16, in time-stamp units */
    uint32_t transit;
    uint32_t fraction_lost;
    uint32_t pli_sent, fir_sent, key_frames; /* see PRODUCER_STATE_ROW, like the next ones */
    uint32_t discarded, rtx_discarded, seen_rtx_ssrc;
    uint32_t nacks_sent, packets_asked, packets_repaired; /* see PRODUCER_STATE_ROW */
    uint64_t last_packet_ns;
    uint64_t bytes_repaired;
    struct score score;
    bool is_silent;                 /* see scores.h */
    bool has_sr;                    /* the client sent a sender report: */
    uint64_t sr_ntp, sr_arrival_ns; /* on the client's clock; on our monotonic one */
    uint32_t sr_timestamp;
    uint64_t key_frame_asked_ns;                     /* the last request to the publisher */
    bool key_frame_wanted;                           /* a consumer asked, and none came since */
    uint64_t spatial_seen_ns[LAYER_SPATIAL_MAX + 1]; /* the last packet of each layer; 0: none */
};

struct producer {
    uint32_t generation; /* 0: free */
    uint32_t index;
    /* One value for each object that a worker ever made at home, never two; so the history can tell an
     * object from the next one with the same row. A replica has that of the last packet or report, or 0. */
    uint32_t owner;
    struct transport *transport; /* NULL: a replica, or it is leaving */
    bool is_replica;
    bool is_leaving;                      /* its consumers are being removed, some in each turn */
    uint8_t home;                         /* worker */
    uint16_t replica_workers;             /* at home: bit per worker that has a replica, */
    uint16_t workers_want[ENCODINGS_MAX]; /* and those of them whose consumers want the encoding */
    uint32_t want_count[ENCODINGS_MAX];   /* consumers on this worker that want it */
    uint8_t wanted;                       /* bit per encoding: a consumer on this worker wants it */
    uint64_t ntp_offset;                  /* our NTP time minus the client's, 32.32 */
    struct producer *next;                /* of the transport */
    struct producer *next_leaving;
    struct consumer *consumers;
    uint32_t consumer_count;

    /* as the row says */
    uint8_t kind, type, paused;
    bool uses_fir;
    bool has_audio_nack; /* the client sends lost audio again when it is asked */
    uint8_t codec_count, encoding_count, mid_bytes;
    uint8_t sent_id[EXTENSIONS]; /* enum extension_id → the client's id, see rtp.h */
    uint8_t codec[CODECS_MAX], payload_type[CODECS_MAX], mapped_payload_type[CODECS_MAX];
    uint8_t rtx_payload_type[CODECS_MAX];
    uint32_t clock_rate[CODECS_MAX];
    uint8_t dependency[ENCODINGS_MAX]; /* enum layer_dependency */
    uint8_t spatial_layers;            /* SVC: that the publisher announced */
    char mid[MID_BYTES_MAX];
    char rid[ENCODINGS_MAX][RID_BYTES_MAX];
    char cname[CNAME_ROOM];

    uint8_t temporal_seen[ENCODINGS_MAX]; /* the highest layer that came */
    uint8_t orientation;                  /* see PRODUCER_STATE_ROW, like the next two */
    uint32_t round_trip_us;
    uint64_t layer_bytes[ROW_LAYERS]; /* at home */
    uint64_t paused_ns;               /* when it was last seen paused */

    struct timer timer; /* for key-frame requests that were held back */
    struct encoding encodings[ENCODINGS_MAX];
    struct audio_levels levels;

    /* fan-out, see fanout.h */
    struct header_kind typical;  /* the header that its latest consumer gets */
    struct packet_queue job;     /* packets that are being sent to the consumers, */
    uint32_t job_cost;           /* what they cost for one consumer, */
    struct consumer *cursor;     /* the next consumer; NULL: all have them */
    struct packet_queue waiting; /* packets that arrived since the job began */
    bool is_listed;              /* in a list of the fan-out */
    struct producer *next_listed;
};

/* All producers and replicas of a worker, and what they work with. */
struct producers {
    struct turn *turn;
    struct publisher *publisher;
    struct transports *transports;
    struct consumers *consumers;
    struct replicas *replicas;
    struct fanout *fanout;
    struct repair_in *repair_in;
    uint32_t worker; /* this one */
    uint32_t made;   /* objects that were ever made */

    uint32_t count;       /* without replicas */
    struct producer *all; /* [PRODUCERS_MAX] */
    struct producer *leaving;
};

/* Maps the array; false when there is no address space. */
bool producers_open(struct producers *ps);
void producers_close(struct producers *ps);

/* Makes the object at `index` say what its row says, also when it is a replica; NULL: there is no
 * row.
 */
void producer_reconcile(struct producers *ps, uint32_t index, const struct producer_row *row);
/* Copies what a row says into a free object. */
void producer_fill(struct producer *p, uint32_t index, const struct producer_row *row);

/* From now on no packet reaches it. Its consumers are removed later, some in each turn; until then
 * is_leaving is set. */
void producer_remove(struct producers *ps, struct producer *p);
/* Removes it and all its consumers now, because another object needs the index. */
void producer_remove_now(struct producers *ps, struct producer *p);
/* Removes up to `count` consumers of leaving producers. */
void producers_remove_slice(struct producers *ps, unsigned count);

/* Does anybody get packets of this encoding? */
static inline bool producer_is_wanted(const struct producer *p, uint8_t encoding)
{
    return ((p->wanted >> encoding & 1) || p->workers_want[encoding]) && !p->paused;
}

/* One of its consumers on this worker wanted the encodings `before`, and wants `after` (bits). */
void producer_change_wants(struct producers *ps, struct producer *p, uint8_t before, uint8_t after);

/* Bit per encoding that the publisher sends now. 0: none, or nobody knows. */
unsigned producer_alive(const struct producers *ps, const struct producer *p);
/* At home, after that may have changed: replicas read it. */
void producer_share_alive(const struct producers *ps, const struct producer *p);
/* SVC: the highest spatial layer that the publisher sends now. */
int producer_highest_spatial(const struct producer *p);
/* A packet of this layer came. */
static inline void producer_note_layer(struct producer *p, uint8_t encoding,
                                       const struct layer *layer, uint64_t now_ns)
{
    p->encodings[encoding].spatial_seen_ns[layer->spatial & LAYER_SPATIAL_MAX] = now_ns;
    if (layer->temporal > p->temporal_seen[encoding])
        p->temporal_seen[encoding] = layer->temporal;
}

static inline bool producer_is_layered(const struct producer *p)
{
    return p->kind == MEDIA_KIND_video && p->type != PRODUCER_TYPE_simple;
}

/* The number of an encoding among all of its home worker, as history.h wants it. */
static inline uint32_t producer_stream(const struct producer *p, uint8_t encoding)
{
    return p->index * ENCODINGS_MAX + encoding;
}

/* Publishes its row now, and tells the control plane. */
void producer_publish_change(struct producers *ps, const struct producer *p);
/* The rows of all producers of a transport. */
void producers_publish(struct producers *ps, const struct transport *t);
void producer_publish_levels(struct producers *ps, const struct producer *p);

#endif
