/* Payloads that a receiver can check to the last bit:
 *
 *   head of the codec │ body: a part of a fixed random pattern │ label (32 bytes)
 *
 * The label holds the stream, the number of the packet in it, the time of sending, and where the
 * packet is in its frame and the frame among the layers. Which part of
 * the pattern the body holds follows from stream and number, so a receiver finds every changed
 * byte, also if the SRTP tag is correct. A server may change the codec's head (VP8 picture ids),
 * therefore body and label are found from the end of the payload.
 *
 * Units: send time in ns of CLOCK_MONOTONIC; sizes in bytes. Threads: any, after payload_open. */
#ifndef RINGCAST_LOAD_PAYLOAD_H
#define RINGCAST_LOAD_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LABEL_BYTES 32
#define PAYLOAD_BODY_BYTES_MAX 1500

struct payload_label {
    uint32_t stream; /* id of the sender, unique in this run */
    uint32_t number; /* of the packet in its stream */
    uint64_t sent_ns;
    uint16_t body_bytes; /* payload_write fills it in */
    /* of video */
    uint32_t frame;            /* counts the pictures of its camera: the same in all encodings */
    uint8_t spatial, temporal; /* layer, 0 to 15 */
    uint8_t at, last;          /* this packet is number `at` of its layer frame, 0 to `last` */
    uint8_t back;              /* its frame needs the one so many frames before it; 0: none */
    bool key;                  /* its picture can be decoded without older ones */
    bool needs_lower;          /* its layer frame needs the next lower layer of the same picture */
};

enum payload_verdict {
    PAYLOAD_OK,
    PAYLOAD_FOREIGN, /* it has no label of this run */
    PAYLOAD_CORRUPT,
};

/* Creates the pattern and the mark of this run. Call it once, at start. */
void payload_open(uint64_t seed);
/* Writes body and label behind the first head_bytes, up to payload + bytes.
 * head_bytes + LABEL_BYTES <= bytes. */
void payload_write(uint8_t *payload, size_t head_bytes, size_t bytes, struct payload_label *label);
enum payload_verdict payload_read(const uint8_t *payload, size_t bytes,
                                  struct payload_label *label);

#endif
