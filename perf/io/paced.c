/* A bare forwarder: HZ times a second it receives some datagrams and sends each of them to all
 * subscribers, without ciphers, rewriting or reports. It sleeps between bursts, as a server with
 * little to do does. This is the lowest cost that a server over kernel sockets can have at the load
 * of a scenario. A bare call in a loop costs less, because its caches are warm and its socket
 * drops.
 *
 *   first processor                       second processor
 *     recvmmsg ◄────────────── burst ────── publisher
 *     sendmmsg, a run to each ────────────► subscribers' sockets, read with UDP_GRO */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "src/clock.h"

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define READ_NS \
    (500 * 1000ull) /* between two reads of the subscribers' sockets, as in ringcast-load */
#define NAP_NS (100 * 1000)
#define WAIT_MS 100
#define SENDTO_RUNS 100
#define SENDTO_EACH 50
#define SENDTO_PAUSE_NS (2 * NS_PER_MS)

/* The thread on the second processor, and its results. */
struct far_side {
    struct sender *sender;
    const struct pace *pace;
    struct sockaddr_in server;
    int processor;
    atomic_bool stop;
    uint64_t received;
    const char *failure;
};

static bool pin(int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

/* The first two processors that this process may use. */
static bool processors_choose(int processors[2])
{
    unsigned found = 0;
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return false;
    for (int i = 0; i < CPU_SETSIZE && found < 2; i++)
        if (CPU_ISSET(i, &set))
            processors[found++] = i;
    return found == 2;
}

static void read_all(struct far_side *far)
{
    static uint8_t data[1 << 16];

    for (uint32_t i = 0; i < far->sender->destination_count; i++) {
        ssize_t bytes;

        while ((bytes = recv(far->sender->sockets[i], data, sizeof(data), MSG_DONTWAIT)) > 0)
            far->received += (uint64_t)bytes / far->pace->work.bytes;
    }
}

static void *far_main(void *argument)
{
    struct far_side *far = argument;
    const struct pace *pace = far->pace;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint64_t next_ns = clock_monotonic_ns(), next_read_ns = next_ns;
    const struct timespec nap = {.tv_nsec = NAP_NS};

    if (fd < 0 || !pin(far->processor))
        far->failure = strerror(errno);
    while (!far->failure && !atomic_load(&far->stop)) {
        uint64_t now_ns = clock_monotonic_ns();

        for (; now_ns >= next_ns; next_ns += NS_PER_S / pace->hz)
            for (uint32_t i = 0; i < pace->work.segments; i++)
                sendto(fd, payload_next(pace->work.bytes), pace->work.bytes, 0,
                       (const struct sockaddr *)&far->server, sizeof(far->server));
        if (now_ns >= next_read_ns) {
            read_all(far);
            next_read_ns = now_ns + READ_NS;
        }
        nanosleep(&nap, NULL);
    }
    read_all(far);
    if (fd >= 0)
        close(fd);
    return NULL;
}

static bool receivers_prepare(const struct sender *sender)
{
    int room = 8 << 20, on = 1;

    for (uint32_t i = 0; i < sender->destination_count; i++)
        if ((setsockopt(sender->sockets[i], SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) != 0 &&
             setsockopt(sender->sockets[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) != 0) ||
            setsockopt(sender->sockets[i], SOL_UDP, UDP_GRO, &on, sizeof(on)) != 0)
            return false;
    return true;
}

/* Measures sendto as ringcast-load does: short loops to a socket that nobody reads. 0: it
 * failed. */
static double sendto_ns(const struct sender *sender, uint32_t bytes)
{
    const struct timespec pause = {.tv_nsec = SENDTO_PAUSE_NS};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t to_bytes = sizeof(to);
    int unread = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    double runs[SENDTO_RUNS];

    if (unread < 0 || bind(unread, (struct sockaddr *)&to, sizeof(to)) != 0 ||
        getsockname(unread, (struct sockaddr *)&to, &to_bytes) != 0) {
        if (unread >= 0)
            close(unread);
        return 0;
    }
    for (unsigned r = 0; r < SENDTO_RUNS; r++) {
        uint64_t began_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);

        for (unsigned i = 0; i < SENDTO_EACH; i++)
            sendto(sender->udp4, payload_next(bytes), bytes, MSG_DONTWAIT,
                   (const struct sockaddr *)&to, sizeof(to));
        runs[r] = (double)(clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - began_ns) / SENDTO_EACH;
        nanosleep(&pause, NULL);
    }
    close(unread);
    return median(runs, SENDTO_RUNS);
}

/* Forwards until the time is over. Returns how many datagrams were sent; *cpu_ns is their cost. */
static uint64_t forward(struct sender *sender, const struct pace *pace, uint64_t *cpu_ns)
{
    struct pollfd readable = {.fd = sender->udp4, .events = POLLIN};
    uint64_t end_ns = clock_monotonic_ns() + pace->seconds * NS_PER_S, sent = 0;
    uint64_t began_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);

    while (clock_monotonic_ns() < end_ns) {
        struct work work = pace->work;

        if (poll(&readable, 1, WAIT_MS) <= 0)
            continue;
        work.segments = raw_recvmmsg(NULL, NULL, sender);
        work.runs = sender->destination_count;
        if (work.segments > IO_SEGMENTS_MAX)
            work.segments = IO_SEGMENTS_MAX;
        if (work.segments > 0)
            raw_sendmmsg_segmented(NULL, NULL, sender, &work);
        sent += (uint64_t)work.segments * work.runs;
    }
    *cpu_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - began_ns;
    return sent;
}

bool paced_measure(struct sender *sender, const struct pace *pace, struct paced *paced)
{
    struct far_side far = {.sender = sender, .pace = pace};
    uint64_t sent, cpu_ns;
    int processors[2];
    pthread_t thread;

    if (!processors_choose(processors) || !pin(processors[0])) {
        fputs(
            "this needs two processors: one for the forwarder, one for publisher and subscribers\n",
            stderr);
        return false;
    }
    if (!receivers_prepare(sender)) {
        fprintf(stderr, "cannot enlarge the buffers of the subscribers' sockets: %s\n",
                strerror(errno));
        return false;
    }
    far.processor = processors[1];
    far.server = (struct sockaddr_in){.sin_family = AF_INET,
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                      .sin_port = htons(sender->local_port)};
    if (pthread_create(&thread, NULL, far_main, &far) != 0) {
        fputs("cannot start the thread of publisher and subscribers\n", stderr);
        return false;
    }
    paced->sendto_ns = sendto_ns(sender, pace->work.bytes) / 2;
    raw_recvmmsg(NULL, NULL, sender); /* what has arrived until now */
    sent = forward(sender, pace, &cpu_ns);
    paced->sendto_ns += sendto_ns(sender, pace->work.bytes) / 2;
    atomic_store(&far.stop, true);
    pthread_join(thread, NULL);
    if (far.failure || paced->sendto_ns <= 0 || sent == 0 || far.received + sent / 1000 < sent) {
        fprintf(stderr, "the bare forwarder sent %llu datagrams, but only %llu arrived: %s\n",
                (unsigned long long)sent, (unsigned long long)far.received,
                far.failure ? far.failure : "the result is not valid");
        return false;
    }
    paced->ns = (double)cpu_ns / (double)sent;
    return true;
}
