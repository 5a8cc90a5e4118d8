/* Super-datagrams: splits the result of one receive into datagrams.
 *
 * With UDP_GRO the kernel delivers several datagrams of one path and of equal size (the last may be
 * shorter) as one. A datagram that arrived alone is a super-datagram of one part. */
#ifndef RINGCAST_IO_SUPER_DATAGRAM_H
#define RINGCAST_IO_SUPER_DATAGRAM_H

#include "io.h"

#define RECEIVE_BYTES_MAX 65536u /* of one super-datagram */
#define RECEIVE_BYTES_BEHIND 32  /* a reader may read this many bytes behind a super-datagram */

struct super_datagram {
    uint8_t *data; /* the parts that are not handed out yet */
    uint32_t bytes;
    uint32_t segment_bytes; /* of every part but the last; 0: there is only one part */
    bool pending;           /* at least one part is not handed out; it may have 0 bytes */
    struct path path;
};

/* Hands out at most `room` parts as datagrams and counts them as received. Returns how many; the
 * rest stays pending. */
size_t super_datagram_split(struct super_datagram *from, struct io_datagram *datagrams, size_t room,
                            struct io_counters *counters);

#endif
