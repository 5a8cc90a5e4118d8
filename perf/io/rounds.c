/* Places and rounds: every method takes its turn, the first round is thrown away, medians count. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
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
#define IDLE_CALLS 2000
#define TIMED_DATAGRAMS 1000 /* of one method in one round, at least */

static int media_socket(uint32_t ip)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = ip};
    int on = 1, omit = IP_PMTUDISC_OMIT, room = 4 << 20;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &omit, sizeof(omit)) != 0 ||
        setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) != 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
    return fd;
}

/* A socket that nobody reads from. Its room is small: it is full after the first round, and every
 * later one finds the same. */
static bool destination_open(struct place *place, uint32_t i, bool on_loopback)
{
    struct sockaddr_in *name = &place->destinations[i];
    socklen_t bytes = sizeof(*name);
    int small = 2048, fd;

    name->sin_family = AF_INET;
    if (!on_loopback) {
        name->sin_addr.s_addr = htonl(0x0a090100u + i); /* 10.9.1.0 and on */
        name->sin_port = htons((uint16_t)(20000 + i));
        return true;
    }
    name->sin_addr.s_addr =
        htonl(0x7f400001u + i); /* 127.64.0.1 and on: as many routes as clients */
    fd = place->sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    return bind(fd, (struct sockaddr *)name, sizeof(*name)) == 0 &&
           getsockname(fd, (struct sockaddr *)name, &bytes) == 0;
}

struct place *place_open(uint32_t count, bool on_loopback, bool is_bound)
{
    struct place *place = calloc(1, sizeof(*place));
    struct rlimit files = {DESTINATIONS_MAX + 100, DESTINATIONS_MAX + 100};
    struct sockaddr_in name;
    socklen_t bytes = sizeof(name);

    if (!place)
        return NULL;
    setrlimit(RLIMIT_NOFILE, &files);
    memset(place->sockets, -1, sizeof(place->sockets));
    place->destination_count = count;
    place->local_ip = htonl(on_loopback ? INADDR_LOOPBACK : 0x0a090001u);
    place->udp4 = media_socket(is_bound ? place->local_ip : 0);
    place->doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    descriptors_add(&place->descriptors, place->udp4, "udp4.0");
    descriptors_add(&place->descriptors, place->doorbell, "bell.worker.0");
    for (uint32_t i = 0; i < count; i++)
        if (place->udp4 < 0 || !destination_open(place, i, on_loopback)) {
            fprintf(stderr, "no socket for destination %u: %s\n", i, strerror(errno));
            place_close(place);
            return NULL;
        }
    getsockname(place->udp4, (struct sockaddr *)&name, &bytes);
    place->local_port = ntohs(name.sin_port);
    return place;
}

void place_close(struct place *place)
{
    for (uint32_t i = 0; i < place->destination_count; i++)
        if (place->sockets[i] >= 0)
            close(place->sockets[i]);
    close(place->udp4);
    close(place->doorbell);
    free(place);
}

/* ---- rounds ---- */

const char *rounds_only;

static bool skipped(const struct method *method)
{
    return rounds_only && strcmp(method->name, rounds_only) != 0;
}

struct samples {
    double of[METHODS_MAX][ROUNDS_MAX];
};

static int order(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

double median(double *of, unsigned count)
{
    qsort(of, count, sizeof(of[0]), order);
    return of[count / 2];
}

/* Median of how method m compared with method `to` in the same round. */
static double ratio_median(const struct samples *samples, unsigned m, unsigned to, unsigned rounds)
{
    double ratios[ROUNDS_MAX];

    for (unsigned r = 0; r < rounds; r++)
        ratios[r] = samples->of[to][r] > 0 ? samples->of[m][r] / samples->of[to][r] : 0;
    return median(ratios, rounds);
}

static void figures_make(const struct samples *samples, const struct method *methods,
                         unsigned count, unsigned rounds, struct figures *figures)
{
    double sorted[ROUNDS_MAX];
    unsigned best = 0;

    for (unsigned m = 0; m < count; m++) {
        memcpy(sorted, samples->of[m], sizeof(sorted));
        figures->ns[m] = median(sorted, rounds);
        if (!methods[m].backend && figures->ns[m] < figures->ns[best])
            best = m;
    }
    for (unsigned m = 0; m < count; m++) {
        figures->to_plain[m] = ratio_median(samples, m, 0, rounds);
        figures->to_best[m] = ratio_median(samples, m, best, rounds);
    }
}

/* Each backend is open only while it is measured: two cannot receive from one socket. Open costs
 * are outside the time. */
static bool backend_begin(const struct method *method, struct place *place, struct io **io)
{
    char why[IO_WHY_BYTES] = "";

    *io = method->backend ? method->backend->open(&place->descriptors, 0, why) : NULL;
    if (method->backend && !*io)
        fprintf(stderr, "%s: %s\n", method->name, why);
    return !method->backend || *io;
}

/* A figure is worth something only if everything was sent. */
static bool backend_end(const struct method *method, struct io *io)
{
    const struct io_counters *counters = io ? method->backend->counters(io) : NULL;
    bool ok = !counters || counters->send_full + counters->send_failed == 0;

    if (!ok)
        fprintf(stderr, "%s: of %llu datagrams %llu found the queue full, %llu were refused\n",
                method->name,
                (unsigned long long)(counters->sent + counters->send_full + counters->send_failed),
                (unsigned long long)counters->send_full, (unsigned long long)counters->send_failed);
    if (io)
        method->backend->close(io);
    return ok;
}

bool rounds_send(struct place *place, const struct work *work, unsigned rounds,
                 struct figures *figures)
{
    static struct samples samples;
    struct io *ios[METHODS_MAX] = {0};
    bool ok = true;

    for (unsigned m = 0; m < send_method_count; m++)
        ok &= backend_begin(&send_methods[m], place, &ios[m]);
    for (unsigned r = 0; ok && r <= rounds; r++)
        for (unsigned m = 0; m < send_method_count; m++) {
            uint64_t start_ns, took_ns;

            if (skipped(&send_methods[m]))
                continue;
            start_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
            send_methods[m].send(place, ios[m], work);
            took_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns;
            if (r > 0)
                samples.of[m][r - 1] =
                    (double)took_ns / (double)work->runs / (double)work->segments;
        }
    for (unsigned m = 0; m < send_method_count; m++)
        ok &= backend_end(&send_methods[m], ios[m]);
    figures_make(&samples, send_methods, send_method_count, rounds, figures);
    return ok;
}

static void senders_send(struct place *place, const struct flight *flight)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(place->local_port)};

    to.sin_addr.s_addr = place->local_ip;
    for (uint32_t s = 0; s < flight->senders; s++)
        for (uint32_t i = 0; i < flight->each; i++)
            sendto(place->sockets[s], payload_next(flight->bytes), flight->bytes, 0,
                   (struct sockaddr *)&to, sizeof(to));
}

/* One method's share of a round. Backends go round their buffers: the first time round is theirs to
 * touch fresh memory, so time is taken from the second on. ns a datagram; < 0: failed. */
static double receive_round(const struct method *method, struct place *place,
                            const struct flight *flight)
{
    uint32_t all = flight->senders * flight->each, passes = TIMED_DATAGRAMS / all + 1;
    uint64_t took_ns = 0;
    struct io *io;

    if (!backend_begin(method, place, &io))
        return -1;
    for (uint32_t pass = 0; pass < 2 * passes; pass++) {
        uint64_t start_ns;
        uint32_t count;

        senders_send(place, flight);
        start_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
        count = method->receive(place, io);
        if (pass >= passes)
            took_ns += clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns;
        if (count != all) {
            fprintf(stderr, "%s: %u of %u datagrams came\n", method->name, count, all);
            took_ns = 0;
            break;
        }
    }
    backend_end(method, io);
    return took_ns ? (double)took_ns / all / passes : -1;
}

bool rounds_receive(struct place *place, const struct flight *flight, unsigned rounds,
                    struct figures *figures)
{
    static struct samples samples;

    for (unsigned r = 0; r <= rounds; r++)
        for (unsigned m = 0; m < receive_method_count; m++) {
            double ns = skipped(&receive_methods[m])
                            ? 0
                            : receive_round(&receive_methods[m], place, flight);

            if (ns < 0)
                return false;
            if (r > 0)
                samples.of[m][r - 1] = ns;
        }
    figures_make(&samples, receive_methods, receive_method_count, rounds, figures);
    return true;
}

bool rounds_idle(struct place *place, unsigned rounds, struct figures *figures)
{
    static struct samples samples;

    for (unsigned r = 0; r <= rounds; r++)
        for (unsigned m = 0; m < receive_method_count; m++) {
            uint64_t start_ns;
            struct io *io;

            if (skipped(&receive_methods[m]))
                continue;
            if (!backend_begin(&receive_methods[m], place, &io))
                return false;
            receive_methods[m].receive(place, io);
            start_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
            for (unsigned i = 0; i < IDLE_CALLS; i++)
                receive_methods[m].receive(place, io);
            if (r > 0)
                samples.of[m][r - 1] =
                    (double)(clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / IDLE_CALLS;
            backend_end(&receive_methods[m], io);
        }
    figures_make(&samples, receive_methods, receive_method_count, rounds, figures);
    return true;
}
