/* Key-frame requests to publishers, and their throttle.
 *
 * Consumers ask as often as they like. The publisher is asked at most once a second for each
 * encoding (threat D19), and again every second until a key frame came. A replica asks its home.
 *
 * Threads: the worker's. */
#ifndef RINGCAST_KEY_FRAMES_H
#define RINGCAST_KEY_FRAMES_H

#include <stdint.h>

struct producer;

struct key_frames {
    struct turn *turn;
    struct wheel *wheel;
    struct reports *reports;
    struct replicas *replicas;
};

/* A consumer needs a key frame of this encoding. Audio and paused producers are not asked. */
void key_frame_request(struct key_frames *k, struct producer *p, uint8_t encoding);
/* The timer fired: sends requests that were held back, and repeats those that brought no key
 * frame. */
void key_frames_on_timer(struct key_frames *k, struct producer *p);

#endif
