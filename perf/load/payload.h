/* What the generator writes into the payloads that it sends, and finds again in those that come:
 *
 *   head of the codec │ body: a piece of a fixed random pattern │ stamp (24 bytes)
 *
 * The body's place in the pattern follows from stream and number, so a packet whose body is not exactly
 * the one that was sent with this stamp is noticed, also when its SRTP tag is right. Body and stamp are
 * found from the payload's end: a server may change the codec's head (VP8 picture ids).
 *
 * Units: send time in ns of CLOCK_MONOTONIC; bytes. Threads: any, after payload_open. */
#ifndef RINGCAST_LOAD_PAYLOAD_H
#define RINGCAST_LOAD_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LABEL_BYTES 24
#define PAYLOAD_BODY_BYTES_MAX 1500

struct payload_label {
    uint32_t stream; /* of this run */
    uint32_t number; /* of the packet in its stream */
    uint64_t sent_ns;
    uint16_t body_bytes;
};

enum payload_verdict { PAYLOAD_OK, PAYLOAD_FOREIGN /* not written by this run */, PAYLOAD_CORRUPT };

/* Makes the pattern and the mark of this run; once, at start. */
void payload_open(uint64_t seed);
/* Body and stamp end at payload + bytes; the first head_bytes are left alone.
 * head_bytes + LABEL_BYTES <= bytes. */
void payload_write(uint8_t *payload, size_t head_bytes, size_t bytes, struct payload_label *label);
enum payload_verdict payload_read(const uint8_t *payload, size_t bytes,
                                  struct payload_label *label);

#endif
