/* Checks what a server made of a published video stream, packet by packet, in the order of the
 * sequence numbers that the subscriber sees. A server that selects layers must rewrite numbers, time
 * stamps and picture ids so that a decoder notices nothing. The label in each payload (payload.h)
 * says what the publisher sent; the header and the descriptor say what the server made of it.
 *
 *   verify_add ─► window (packets wait for missing ones before them) ─► judge ─► found[]
 *
 * A packet that never comes is a hole. What follows a hole is judged again from the next key frame
 * on, as far as a decoder is concerned; numbers that can be checked without the missing packet are
 * checked at once.
 *
 * Shape:   one struct verify for each receiver. No I/O, no clock.
 * Units:   RTP time stamps of 90 kHz; indexes are roll-over counter and sequence number.
 * Threads: one. Memory: verify_new allocates about 24 KiB, verify_free frees it.
 * Source:  RFC 7741 4.2 (PictureID, TL0PICIDX), RFC 9628 4.2, RFC 3550 5.1. */
#ifndef RINGCAST_LOAD_VERIFY_H
#define RINGCAST_LOAD_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "payload.h"
#include "video_head.h"

/* X(name, what the server did wrong) */
/* clang-format off */
#define VIOLATIONS(X) \
    X(unreadable, "the payload descriptor cannot be read") \
    X(changed_layer, "the descriptor names another layer, or another end of a frame, than the publisher did") \
    X(resend_differs, "a packet arrived twice, with different content") \
    X(out_of_sequence, "the next number holds another packet of the frame than the next one") \
    X(frame_cut, "another frame begins although the one before is not complete, and no number is missing") \
    X(frame_backward, "a frame of the same encoding arrives after a later one") \
    X(switch_without_key, "another encoding begins without the beginning of a key frame") \
    X(undecodable, "a frame needs another one that was not forwarded") \
    X(marker_missing, "the last packet of a picture has no marker") \
    X(marker_early, "a packet in the middle of a picture has the marker") \
    X(timestamp_split, "the packets of a picture have different time stamps") \
    X(timestamp_backward, "a picture has no later time stamp than the one before") \
    X(timestamp_jump, "the time stamps of two pictures do not differ as the pictures do") \
    X(picture_id, "the picture id does not continue") \
    X(tl0_index, "TL0PICIDX does not continue")
/* clang-format on */

enum violation {
#define X(name, text) VIOLATION_##name,
    VIOLATIONS(X)
#undef X
        VIOLATION_COUNT
};
extern const char *const violation_names[VIOLATION_COUNT];
extern const char *const violation_texts[VIOLATION_COUNT];

struct verify_packet {
    uint64_t index;
    uint32_t timestamp;
    bool marker;
    bool is_readable; /* `head` is what video_head_read found */
    struct video_head head;
    struct payload_label label;
    bool is_empty; /* nothing but padding, in the place of a packet that is not forwarded */
};

struct verify_counts {
    uint64_t found[VIOLATION_COUNT];
    uint64_t packets, pictures, holes, empty, switches; /* packets: without the empty ones */
    uint64_t after_hole; /* frames that cannot be decoded because of a hole: no violation */
};

struct verify;
/* ticks: between two pictures of the publisher. */
struct verify *verify_new(enum video_codec codec, uint32_t ticks);
void verify_free(struct verify *verify);
/* A packet of the stream arrived, in any order, for the first time or again. */
void verify_add(struct verify *verify, const struct verify_packet *packet);
/* Nothing more arrives: judges what still waits. */
void verify_end(struct verify *verify);
const struct verify_counts *verify_counts(const struct verify *verify);
uint64_t verify_sum(const struct verify_counts *counts); /* of all violations */

#endif
