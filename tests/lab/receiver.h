/* A virtual receiver of one producer: it does what a browser does with the packets that arrive, and
 * counts what a person would see.
 *
 *   packets ─► numbers that are missing are asked for (NACK), retransmissions unwrapped
 *           ─► frames ─► decoder: is all there that this frame was predicted from?
 *
 * And it looks at every packet that leaves the worker, before the network loses any:
 * see struct sent_counts.
 *
 * As in libwebrtc: a missing packet is asked for at once, or after as many packets as usually overtake
 * one another; again after a round trip, ten times. A key frame is asked for when none came for 200 ms at
 * the beginning, when no picture could be shown for 3 s, and when too much is missing. */
#ifndef RINGCAST_LAB_RECEIVER_H
#define RINGCAST_LAB_RECEIVER_H

#include "media.h"
#include "world.h"

#define RECEIVER_PACKETS 4096
#define RECEIVER_FRAMES 512
#define RECEIVER_MISSING 1000
#define SENT_PLACES 8192
#define SENT_NUMBERS (1 << 18)
#define SENT_BEFORE 1024 /* numbers before the first one that are noticed */

/* What is wrong with the packets that left. All of these must be 0, but for `holes` when packets of the
 * publisher never arrived. */
struct sent_counts {
    uint32_t packets, highest; /* highest: the number, counted on for ever, minus the first one */
    uint32_t twice;            /* two packets with one number */
    uint32_t backwards;        /* numbers before the first one, long after it */
    uint32_t resent;           /* retransmissions, and of these: */
    uint32_t resent_first;     /* of a number in a gap: it leaves for the first time */
    uint32_t resent_outside;   /* of a number before the first one or behind the last */
    uint32_t resent_changed;   /* marker, time stamp or payload are not those of the first send */
    uint32_t empty;            /* packets without payload, to fill a number */
    uint32_t markers;
    uint32_t damaged;     /* the filling is not what the publisher sent */
    uint32_t key_packets; /* first packets of key frames */
};

struct shown {
    uint64_t at_ns;
    uint32_t capture_us, timestamp;
    uint8_t encoding, spatial, temporal, is_key;
};

struct missing {
    int64_t number, send_at;       /* send_at: asked for when this number has come */
    uint64_t noticed_ns, asked_ns; /* asked_ns 0: not yet */
    unsigned tries;
};

struct arrived {
    bool is_used;
    int64_t number;
    uint32_t timestamp;
    uint64_t at_ns;
    bool marker, is_done; /* done: part of a frame already */
    struct reading reading;
    struct truth truth;
    uint8_t extension[64]; /* while reading.is_unknown: to be read again */
    size_t extension_bytes;
};

struct assembled {
    int64_t first, last; /* numbers of its packets */
    uint64_t at_ns;      /* when it was complete */
    uint32_t timestamp;
    bool marker, is_key, has_parameters, has_picture;
    int64_t id; /* picture_id or number, counted on for ever */
    struct reading reading;
    struct truth truth;
};

struct receiver_options {
    enum codec codec;
    bool without_rtx, without_nack;
    uint64_t round_trip_ns;    /* what it believes; 0 stands for 100 ms, as in Chromium */
    uint64_t patience_ns;      /* how long a picture waits for older ones; 0 stands for 150 ms */
    uint64_t held_ns;          /* how long every picture is held back; 0 stands for 100 ms */
    uint8_t spatial, temporal; /* what it prefers; 0 stands for 255, the best; counts from 1 */
    bool is_paused;
    uint32_t generation;
};

struct receiver {
    struct world_client *client;
    struct receiver_options options;
    uint32_t index, producer; /* of the consumer, and of what it consumes */
    uint32_t ssrc, rtx_ssrc;
    bool is_closed;

    /* numbers */
    bool has_first;
    int64_t first, newest, complete_to; /* complete_to: all up to it have come */
    struct missing missing[RECEIVER_MISSING];
    unsigned missing_count;
    unsigned overtaken[128]; /* how many packets overtook one that came late, for the last such */
    unsigned overtaken_count;
    struct arrived packets[RECEIVER_PACKETS];

    /* frames */
    struct reader reader;
    struct assembled frames[RECEIVER_FRAMES];
    unsigned frame_count;
    bool has_key, has_decoded;
    int64_t decoded_to; /* the last number of the last decoded frame */
    int64_t last_id;    /* of the last picture ID or frame number that came */
    uint8_t tl0;
    int64_t base_id;        /* VP8: picture ID of the base layer's last frame */
    int64_t ids[4096][2];   /* decoded: ID and spatial layer, by ID % 4096: a mask of layers */
    int64_t came[4096];     /* picture IDs of complete frames */
    uint32_t decoded[8192]; /* struct truth.frame of what was decoded, by frame % 8192 */

    /* wishes */
    uint64_t began_ns, asked_key_ns, last_shown_ns;
    uint64_t way_ns; /* the shortest time from capture to decoding */
    uint32_t last_sr;
    uint64_t last_sr_ns;

    /* what a person sees */
    struct shown *shown;
    size_t shown_count, shown_room;
    uint32_t frames_decoded, broken, useless; /* broken: decoded without what it needs */
    uint32_t nacks, asked, key_frames_asked, rtx_packets;
    uint32_t repaired, repaired_in_time, given_up; /* lost packets; in time: within 200 ms */
    struct sent_counts sent;
    struct sent_place {
        int64_t number;
        uint32_t timestamp;
        uint64_t hash;
        bool marker, is_used;
    } places[SENT_PLACES];
    uint8_t left[SENT_NUMBERS / 8]; /* bit n: number sent_base - SENT_BEFORE + n has left */
    int64_t sent_base, sent_first, sent_newest; /* base: of `left` */
    bool has_sent;
    int64_t timestamp_error_us;     /* RTP time against capture time: the greatest, */
    int64_t timestamp_error_now_us; /* and of the last picture */
    int64_t timestamp_base_us;
    bool has_timestamp_base;
};

/* Writes the consumer's row; it has the index of the client's transport times 8 plus `number`. */
struct receiver *receiver_open(struct world_client *client, unsigned number, uint32_t producer,
                               const struct receiver_options *options);
/* Changes the row: layers count from 1, 0: the best. */
void receiver_prefer(struct receiver *receiver, unsigned spatial, unsigned temporal);
void receiver_pause(struct receiver *receiver, bool pause);
void receiver_close(struct receiver *receiver);

/* What it asks for by itself; a test may ask for more. */
void receiver_ask_key_frame(struct receiver *receiver);
void receiver_ask_again(struct receiver *receiver, const uint16_t *numbers, size_t count);

/* The longest time between two pictures from `from_ns` on, up to now. */
uint64_t receiver_gap_ns(const struct receiver *receiver, uint64_t from_ns);
/* Pictures shown since from_ns. */
size_t receiver_shown(const struct receiver *receiver, uint64_t from_ns);
/* Freezes as browsers count them: a gap of more than three usual ones, and by more than 150 ms. */
unsigned receiver_freezes(const struct receiver *receiver, uint64_t from_ns);
/* Numbers that never left, from the first one plus `after` up to the highest; not the last hundred, which
 * may still come. */
uint32_t receiver_holes(const struct receiver *receiver, uint32_t after);
/* The encoding plus the spatial layer of the last picture; -1: none since from_ns. */
int receiver_level(const struct receiver *receiver, uint64_t from_ns);

/* Fails unless all that left was right, and nothing was decoded that should not be. */
void receiver_check(const struct receiver *receiver);

#endif
