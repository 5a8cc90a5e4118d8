/* Numbers that stay continuous although some packets are not forwarded on purpose.
 *
 *   in    … 7  8  9  10  11 …        10 is dropped
 *   out   … 3  4  5   –   6 …
 *
 * A number that is merely missing keeps its place, because it may still arrive; only a number that
 * was dropped gives its place to the next one. That is possible for the newest number only: when one
 * is dropped that arrives late, the numbers after it were sent already, and its place stays.
 *
 * Shape:   one struct for each kind of number of a stream: packets, pictures.
 * Units:   numbers that do not wrap.
 * Threads: one worker.
 * Memory:  none besides the struct.
 * Limits:  numbers that are RENUMBER_WINDOW or more below the newest are not known any more. */
#ifndef RINGCAST_RENUMBER_H
#define RINGCAST_RENUMBER_H

#include <stdbool.h>
#include <stdint.h>

#define RENUMBER_WINDOW 512 /* a power of two */

struct renumber {
    uint64_t first;  /* smaller numbers have nothing to do with this */
    uint64_t next;   /* the highest number that was forwarded or dropped, plus one */
    uint64_t offset; /* out = in + offset (modulo 2^64) from `next` on */
    uint64_t dropped[RENUMBER_WINDOW / 64]; /* bit number % RENUMBER_WINDOW */
    uint64_t empty[RENUMBER_WINDOW / 64];   /* the same: its place was filled with nothing */
};

/* From now on `in` becomes `out`. */
void renumber_start(struct renumber *r, uint64_t in, uint64_t out);

/* What `in` becomes. False: it is too old, or was dropped. */
bool renumber_take(struct renumber *r, uint64_t in, uint64_t *out);

/* The same for a number that was forwarded or will be; nothing changes. */
bool renumber_peek(const struct renumber *r, uint64_t in, uint64_t *out);

/* `in` is not forwarded. False: it is late, and its place *out stays empty. */
bool renumber_drop(struct renumber *r, uint64_t in, uint64_t *out);

/* The place of `in`, which was forwarded or is kept, was filled with a packet without payload. */
void renumber_set_empty(struct renumber *r, uint64_t in);
bool renumber_is_empty(const struct renumber *r, uint64_t in);

/* Was it dropped? */
bool renumber_is_dropped(const struct renumber *r, uint64_t in);

/* The number that became `out`. False: there is none, or it is too old. */
bool renumber_find(const struct renumber *r, uint64_t out, uint64_t *in);

#endif
