/* The RTP streams that endpoints send: video as frames in bursts, audio every 20 ms. The packets
 * look like those of Chromium.
 *
 * Simulcast: one sender for each encoding of a camera, at the same moments. SVC: one sender.
 *
 * Shape:   a sender has an id that is unique in the run and is part of every payload that it sends.
 *          All running senders lie in one queue (a heap), the one that is due next in front.
 * Threads: sender_new on any thread; everything else on the media thread.
 * Memory:  media->senders owns them from endpoint_begin on, also after their endpoint is gone. */
#ifndef RINGCAST_LOAD_SENDERS_H
#define RINGCAST_LOAD_SENDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "target.h"

#define VIDEO_CLOCK 90000
#define FRAME_PACKETS_MAX 256
#define RTP_PAYLOAD_BYTES_MAX 1400
#define HISTORY_PACKETS 512 /* of one sender: about two seconds of video */
#define ENCODINGS_MAX_SENT 4
#define SPATIAL_LAYERS_SENT 3 /* with --svc */

struct endpoint;
struct media;
struct options;

/* A sent packet that is kept: to answer a NACK, or to leave behind its successor (--reorder). */
struct kept_packet {
    uint16_t sequence, header_bytes, payload_bytes;
    uint64_t index;                             /* of SRTP */
    uint8_t bytes[RTP_PAYLOAD_BYTES_MAX + 128]; /* header, then clear payload */
};

struct sender {
    struct endpoint *endpoint; /* NULL: it has left */
    uint32_t id;
    uint8_t kind, payload_type, rtx_payload_type;
    uint8_t codec; /* of video: enum video_codec */
    uint32_t ssrc, rtx_ssrc;
    char mid[16], rid[8];  /* rid "": no simulcast by RID */
    struct sender *leader; /* the first encoding of the same camera, or itself */
    bool has_temporal;     /* temporal layers, see temporal_place */
    uint8_t spatial_layers;
    uint32_t kbps;
    bool running, mid_acknowledged, rtx_acknowledged, key_frame_wanted;
    uint64_t index, rtx_index; /* SRTP indexes of the next packets: roll-over counter, sequence */
    uint32_t timestamp, ticks; /* ticks: between two frames */
    uint32_t next_number;      /* counts the packets of this sender from 0; is in every payload */
    uint16_t picture_id;
    uint8_t tl0_index;
    uint32_t position; /* frames since the latest key frame */
    uint64_t due_ns, interval_ns;
    uint32_t packets, bytes; /* for sender reports */
    uint64_t last_frame_ns, last_wall_ns;
    uint64_t captured_wall_ns;           /* of the latest frame: when it was due */
    uint32_t measured_from, measured_to; /* the measurement covers the numbers [from, to) */
    uint32_t not_sent;                   /* of these, left out on purpose (--loss) */
    uint32_t key_frames, key_frames_asked;
    uint32_t frames; /* the same in all encodings of a camera */
    uint8_t fir_sequence;
    bool fir_seen;
    struct kept_packet *held;    /* NULL without --reorder */
    bool holding;                /* `held` waits for its successor */
    struct kept_packet *history; /* HISTORY_PACKETS of them; NULL without --nack */
    uint32_t queue_at;
};

struct sender *sender_new(const struct options *options, uint32_t id, enum stream_kind kind,
                          uint64_t random);
/* Makes it encoding `encoding` of `leader`'s camera, with less bitrate than the higher ones.
 * Encoding 0, the lowest, is the leader itself. */
void sender_join_encodings(struct sender *sender, struct sender *leader, unsigned encoding);
/* Its endpoint has SRTP keys from now on. */
void sender_start(struct media *media, struct sender *sender);
void sender_stop(struct media *media, struct sender *sender);
/* Sends the packet with this sequence number again as RTX, if it is still in the history. */
void sender_resend(struct media *media, struct sender *sender, uint16_t sequence);

void senders_stop_all(struct media *media, void *unused); /* fits media_call */

/* Sends everything that is due. */
void senders_run(struct media *media);
/* When the next sender is due; UINT64_MAX: no sender is running. */
uint64_t senders_due_ns(const struct media *media);

#endif
