/* ringcast-bench-io: what a datagram costs through each backend, beside bare system calls that do
 * the same work in the same run.
 *
 *   main.c     options, tables, JSON
 *   raw.c      sendto, sendmmsg, sendmmsg with UDP_SEGMENT; recvfrom, recvmmsg
 *   backend.c  the same work through `struct io_backend`
 *   rounds.c   alternating rounds, medians
 *   paced.c    a bare forwarder at the pace of a scenario
 *   device.c   where it goes */
#ifndef RINGCAST_BENCH_IO_H
#define RINGCAST_BENCH_IO_H

#include <netinet/in.h>

#include "dataplane/io/io.h"

#define DESTINATIONS_MAX 10000
#define ROUNDS_MAX 99

/* A sender's socket as the supervisor opens it, and whom it sends to. */
struct place {
    struct descriptors descriptors; /* as worker 0 of the forwarder has them: … */
    int udp4, doorbell;             /* … these two */
    uint32_t local_ip;              /* network order */
    uint16_t local_port;
    uint32_t destination_count;
    uint32_t next; /* the destination that the next round begins with */
    struct sockaddr_in destinations[DESTINATIONS_MAX];
    int sockets[DESTINATIONS_MAX]; /* on loopback: theirs, never read from; else -1 */
};

/* What one round does: `runs` runs of `segments` datagrams of `bytes`. */
struct work {
    uint32_t runs, segments, bytes;
};

/* One way of doing it. `open` may return NULL: not available. */
struct method {
    const char *name;
    const struct io_backend *backend; /* NULL: a bare call */
    void (*send)(struct place *place, struct io *io, const struct work *work);
    /* Takes what waits; returns datagrams. */
    uint32_t (*receive)(struct place *place, struct io *io);
};

/* `count` destinations: sockets on loopback, or addresses behind the null device. NULL: a sentence
 * went to standard error. */
struct place *place_open(uint32_t count, bool on_loopback, bool is_bound);
void place_close(struct place *place);

static inline const struct sockaddr_in *place_next(struct place *place)
{
    const struct sockaddr_in *to = &place->destinations[place->next];

    if (++place->next == place->destination_count)
        place->next = 0;
    return to;
}

/* Memory that is sent from, walked as the product does: `bytes` further each time. */
uint8_t *payload_next(uint32_t bytes);
void payload_write(uint8_t *data, uint32_t bytes);

void raw_sendto(struct place *place, struct io *io, const struct work *work);
void raw_sendmmsg(struct place *place, struct io *io, const struct work *work);
void raw_sendmmsg_segmented(struct place *place, struct io *io, const struct work *work);
uint32_t raw_recvfrom(struct place *place, struct io *io);
uint32_t raw_recvmmsg(struct place *place, struct io *io);

extern const struct method send_methods[], receive_methods[];
extern const unsigned send_method_count, receive_method_count;
#define METHODS_MAX 8

/* Nanoseconds of this thread's CPU time per datagram, medians of alternating rounds. The ratios are
 * medians of the ratios within a round, which the machine's wandering clock does not touch. */
struct figures {
    double ns[METHODS_MAX];
    double to_plain[METHODS_MAX]; /* times the first method, the plainest call */
    double to_best[METHODS_MAX];  /* times the best of the bare calls */
};

/* The only method that is measured; NULL: all. */
extern const char *rounds_only;
bool rounds_send(struct place *place, const struct work *work, unsigned rounds,
                 struct figures *figures);
/* What is sent outside the time, and then received: `senders` sockets send `each` of `bytes`. */
struct flight {
    uint32_t senders, each, bytes;
};
bool rounds_receive(struct place *place, const struct flight *flight, unsigned rounds,
                    struct figures *figures);
/* A receive that finds nothing, ns a call. */
bool rounds_idle(struct place *place, unsigned rounds, struct figures *figures);
double median(double *of, unsigned count); /* sorts them */

/* work.segments datagrams come `hz` times a second; each goes to all destinations. */
struct pace_of {
    struct work work;
    uint32_t hz, seconds;
};
struct paced {
    double ns;        /* CPU time of the forwarding thread per datagram sent, sleeping included */
    double sendto_ns; /* a bare sendto of that size, before and behind */
};
bool paced_measure(struct place *place, const struct pace_of *pace, struct paced *paced);

#endif
