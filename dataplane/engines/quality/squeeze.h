/* Time stamps of pictures that leave later than they should.
 *
 * When a subscriber changes to another stream, or gets the pictures since the last key frame at once, the
 * clock of the time stamps may stand before what it got already, or before the moment. Such pictures are
 * put closely one behind the other, in their order, until the clock has caught up. So the receiver does
 * not believe that it must hold later pictures back.
 *
 * Shape:   one struct for each stretch with the same offset; zeroed: nothing is squeezed.
 * Units:   RTP time stamps, which wrap.
 * Threads: any. */
#ifndef RINGCAST_SQUEEZE_H
#define RINGCAST_SQUEEZE_H

#include <stdbool.h>
#include <stdint.h>

#define SQUEEZE 64                /* how much closer the time stamps are */
#define SQUEEZED_MAX (10 * 90000) /* nothing that is so much later is squeezed */

struct squeeze {
    bool is_on;
    uint32_t first; /* time stamp in, of the first picture */
    uint32_t floor; /* time stamp out, that all pictures exceed */
};

/* The time stamp of a packet that came with `in` and would leave with `out`. */
static inline uint32_t squeeze(const struct squeeze *s, uint32_t in, uint32_t out)
{
    int32_t since_first = (int32_t)(in - s->first);
    uint32_t least = s->floor + 1 + (uint32_t)(since_first / SQUEEZE);

    return s->is_on && since_first >= 0 && since_first < SQUEEZED_MAX && (int32_t)(out - least) < 0
               ? least
               : out;
}

/* How far the pictures since the first one reach when they are squeezed. */
static inline uint32_t squeezed_span(uint32_t span)
{
    return span / SQUEEZE + 2;
}

#endif
