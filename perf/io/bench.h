/* ringcast-bench-io: what a datagram costs through each I/O backend, compared with bare system
 * calls that do the same work in the same run.
 *
 *   main.c     options, printing
 *   raw.c      the bare calls: sendto, sendmmsg, sendmmsg with UDP_SEGMENT; recvfrom, recvmmsg
 *   backend.c  the same work through struct io_backend
 *   rounds.c   sockets, alternating rounds, medians
 *   paced.c    a bare forwarder at the rate of a load scenario
 *   device.c   the device that drops what is sent */
#ifndef RINGCAST_BENCH_IO_H
#define RINGCAST_BENCH_IO_H

#include <netinet/in.h>

#include "dataplane/io/io.h"

#define DESTINATIONS_MAX 10000
#define ROUNDS_MAX 99

/* A socket like those that the supervisor opens, and the destinations that it sends to. */
struct sender {
    struct descriptors descriptors; /* the set of worker 0: the next two */
    int udp4, doorbell;
    uint32_t local_ip; /* network order */
    uint16_t local_port;
    uint32_t destination_count;
    uint32_t next; /* index of the next destination */
    struct sockaddr_in destinations[DESTINATIONS_MAX];
    int sockets[DESTINATIONS_MAX]; /* of the destinations on loopback, never read; else -1 */
};

/* The work of one round: `runs` runs of `segments` datagrams of `bytes`. */
struct work {
    uint32_t runs, segments, bytes;
};

/* One way to do that work. */
struct method {
    const char *name;
    const struct io_backend *backend; /* NULL: a bare call, which ignores backend and io */
    void (*send)(const struct io_backend *backend, struct io *io, struct sender *sender,
                 const struct work *work);
    /* Receives everything that is queued; returns the number of datagrams. */
    uint32_t (*receive)(const struct io_backend *backend, struct io *io, struct sender *sender);
};

/* Opens a sender with `count` destinations: sockets on loopback, or addresses behind the device.
 * NULL: the reason is on standard error. */
struct sender *sender_open(uint32_t count, bool on_loopback, bool is_bound);
void sender_close(struct sender *sender);

static inline const struct sockaddr_in *sender_next(struct sender *sender)
{
    const struct sockaddr_in *to = &sender->destinations[sender->next];

    if (++sender->next == sender->destination_count)
        sender->next = 0;
    return to;
}

/* The next `bytes` of memory to send. It moves through its memory as the product does. */
uint8_t *payload_next(uint32_t bytes);
void payload_write(uint8_t *data, uint32_t bytes);

void raw_sendto(const struct io_backend *backend, struct io *io, struct sender *sender,
                const struct work *work);
void raw_sendmmsg(const struct io_backend *backend, struct io *io, struct sender *sender,
                  const struct work *work);
void raw_sendmmsg_segmented(const struct io_backend *backend, struct io *io, struct sender *sender,
                            const struct work *work);
uint32_t raw_recvfrom(const struct io_backend *backend, struct io *io, struct sender *sender);
uint32_t raw_recvmmsg(const struct io_backend *backend, struct io *io, struct sender *sender);

extern const struct method send_methods[], receive_methods[];
extern const unsigned send_method_count, receive_method_count;
#define METHODS_MAX 8

/* CPU time of this thread in ns per datagram: medians of alternating rounds. Ratios compare methods
 * within one round, so a changing clock rate of the machine does not affect them; they are medians,
 * too. */
struct figures {
    double ns[METHODS_MAX];
    double to_plain[METHODS_MAX]; /* divided by the first method, the simplest call */
    double to_best[METHODS_MAX];  /* divided by the cheapest bare call */
};

/* The name of the only method to measure; NULL: all. */
extern const char *rounds_only;
bool rounds_send(struct sender *sender, const struct work *work, unsigned rounds,
                 struct figures *figures);
/* What is received: each of `senders` sockets has sent `each` datagrams of `bytes`. Sending is not
 * timed. */
struct incoming {
    uint32_t senders, each, bytes;
};
bool rounds_receive(struct sender *sender, const struct incoming *incoming, unsigned rounds,
                    struct figures *figures);
/* A receive that finds no datagram: ns per call. */
bool rounds_idle(struct sender *sender, unsigned rounds, struct figures *figures);
/* Sorts the values. */
double median(double *of, unsigned count);

/* `hz` times a second work.segments datagrams arrive, and each is sent to all destinations. */
struct pace {
    struct work work;
    uint32_t hz, seconds;
};
struct paced {
    double ns;        /* CPU time of the forwarding thread per sent datagram, sleeping included */
    double sendto_ns; /* of a bare sendto of that size, measured before and after */
};
bool paced_measure(struct sender *sender, const struct pace *pace, struct paced *paced);

#endif
