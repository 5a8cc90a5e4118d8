/* Network paths: who sent a datagram, and which of our addresses received it. */
#ifndef RINGCAST_PATH_H
#define RINGCAST_PATH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Addresses have 16 bytes; IPv4 is written as v4-mapped IPv6 (RFC 4291 2.5.5.2). Ports are in host
 * order. There is no hidden padding, so a path may be compared and hashed as bytes. An answer goes
 * from local to remote: a host with several addresses must answer from the address that received
 * the question. */
struct path {
    uint8_t remote_ip[16];
    uint8_t local_ip[16];
    uint16_t remote_port;
    uint16_t local_port;
};
_Static_assert(sizeof(struct path) == 36, "path: hidden padding");

static inline bool path_equal(const struct path *a, const struct path *b)
{
    /* memcmp would be a function call, because 36 is not a power of two. This runs for each
     * packet. */
    uint64_t x[4], y[4];
    uint32_t ports[2];

    memcpy(x, a, sizeof(x));
    memcpy(y, b, sizeof(y));
    memcpy(&ports[0], &a->remote_port, sizeof(ports[0]));
    memcpy(&ports[1], &b->remote_port, sizeof(ports[1]));
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) |
            (ports[0] ^ ports[1])) == 0;
}

static inline bool path_is_ipv4(const struct path *p)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return memcmp(p->remote_ip, mapped, 12) == 0;
}

#endif
