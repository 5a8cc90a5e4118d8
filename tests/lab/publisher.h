/* A virtual publisher: encodes pictures that say what they are (struct truth), answers NACK with RTX and
 * key-frame requests with key frames, sends sender reports. */
#ifndef RINGCAST_LAB_PUBLISHER_H
#define RINGCAST_LAB_PUBLISHER_H

#include "media.h"
#include "world.h"

#define PUBLISHER_HISTORY 2048
#define PUBLISHER_PATTERN 4

struct publisher_options {
    enum codec codec;
    unsigned encodings;         /* simulcast; 0 stands for 1 */
    unsigned spatial, temporal; /* layers of each encoding; 0 stands for 1 */
    bool full_svc; /* every picture is predicted from the layer below, not only key pictures */
    unsigned frames_per_second; /* 0 stands for 25 */
    unsigned kbps; /* of the lowest layer or encoding; each next one has three times as much */
    uint8_t picture_bits;     /* 15, 7, or 1: VP8 without picture IDs; 0 stands for 15 */
    int64_t clock_ns;         /* its clock minus ours */
    uint64_t first_report_ns; /* after the beginning; 0 stands for 1 s */
    bool dtx;                 /* audio: talks and is silent in turn */
    unsigned paddings;        /* packets of only padding behind every tenth frame */
    bool without_rtx;         /* it does not answer NACK */
    bool all_keys;            /* a request for one encoding makes all of them send a key frame */
    bool probes;              /* repeats a packet that arrived, as RTX, ten times a second */
    bool slow_keys;           /* it answers a key-frame request only after 500 ms */
    unsigned first_picture;   /* picture ID of the first picture; 0: random */
    unsigned with_sequence;   /* of the first packet; 0: random */
};

struct publisher_stream {
    uint32_t ssrc, rtx_ssrc, timestamp_offset, packets, bytes;
    uint16_t sequence, rtx_sequence, number;
    uint32_t picture_id;
    uint8_t tl0;
    bool is_stopped, key_wanted, has_sent;
    uint64_t key_due_ns;
    unsigned phase;             /* of the temporal pattern */
    uint32_t last[4][4];        /* [spatial][temporal]: the latest frame */
    uint16_t last_number[4][4]; /* and its AV1 frame_number */
    uint32_t keys_asked, keys_sent, packets_asked, packets_sent_again;
    struct sent_packet {
        uint16_t sequence, bytes;
        uint64_t again_ns;
        uint8_t data[1400];
    } * history;
};

struct publisher {
    struct world_client *client;
    struct publisher_options options;
    uint32_t index; /* of its producer */
    bool is_closed, is_talking, is_paused;
    uint64_t phase_ends_ns, capture_ns;
    uint32_t frames, pictures;
    uint32_t last_timestamp;
    struct publisher_stream streams[ENCODINGS_MAX];
};

/* Writes the producer's row and begins to send. */
struct publisher *publisher_open(struct world_client *client, uint32_t index,
                                 const struct publisher_options *options);
void publisher_close(struct publisher *publisher);
/* An encoding stops, as when the client's CPU or its link is too weak, or goes on. */
void publisher_stop(struct publisher *publisher, unsigned encoding, bool stop);
/* Its NTP clock jumps. */
void publisher_set_clock(struct publisher *publisher, int64_t clock_ns);
/* The highest spatial layers of an SVC stream stop, or come back. */
void publisher_spatial_layers(struct publisher *publisher, unsigned layers);

static inline uint8_t publisher_payload_type(enum codec codec)
{
    return (uint8_t)(96 + 2 * codec);
}

#endif
