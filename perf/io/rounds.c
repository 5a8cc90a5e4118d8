/* Senders and rounds. In each round every method runs once. The first round is not counted; the
 * result is the median of the others. */
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

/* Nobody reads from this socket. Its buffer is small: it is full after the first round, so all
 * later rounds find the same. */
static bool destination_open(struct sender *sender, uint32_t i, bool on_loopback)
{
    struct sockaddr_in *name = &sender->destinations[i];
    socklen_t bytes = sizeof(*name);
    int small = 2048, fd;

    name->sin_family = AF_INET;
    if (!on_loopback) {
        name->sin_addr.s_addr = htonl(0x0a090100u + i); /* 10.9.1.0 and up */
        name->sin_port = htons((uint16_t)(20000 + i));
        return true;
    }
    name->sin_addr.s_addr =
        htonl(0x7f400001u + i); /* 127.64.0.1 and up: one route for each client */
    fd = sender->sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    return bind(fd, (struct sockaddr *)name, sizeof(*name)) == 0 &&
           getsockname(fd, (struct sockaddr *)name, &bytes) == 0;
}

struct sender *sender_open(uint32_t count, bool on_loopback, bool is_bound)
{
    struct sender *sender = calloc(1, sizeof(*sender));
    struct rlimit files = {DESTINATIONS_MAX + 100, DESTINATIONS_MAX + 100};
    struct sockaddr_in name;
    socklen_t bytes = sizeof(name);

    if (!sender)
        return NULL;
    setrlimit(RLIMIT_NOFILE, &files);
    memset(sender->sockets, -1, sizeof(sender->sockets));
    sender->destination_count = count;
    sender->local_ip = htonl(on_loopback ? INADDR_LOOPBACK : 0x0a090001u);
    sender->udp4 = media_socket(is_bound ? sender->local_ip : 0);
    sender->doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    descriptors_add(&sender->descriptors, sender->udp4, "udp4.0");
    descriptors_add(&sender->descriptors, sender->doorbell, "bell.worker.0");
    for (uint32_t i = 0; i < count; i++)
        if (sender->udp4 < 0 || !destination_open(sender, i, on_loopback)) {
            fprintf(stderr, "cannot open a socket for destination %u: %s\n", i, strerror(errno));
            sender_close(sender);
            return NULL;
        }
    getsockname(sender->udp4, (struct sockaddr *)&name, &bytes);
    sender->local_port = ntohs(name.sin_port);
    return sender;
}

void sender_close(struct sender *sender)
{
    for (uint32_t i = 0; i < sender->destination_count; i++)
        if (sender->sockets[i] >= 0)
            close(sender->sockets[i]);
    close(sender->udp4);
    close(sender->doorbell);
    free(sender);
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

/* The median of the ratios of method m to method `to` within a round. */
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

/* A backend is open only while it is measured, because two backends cannot receive from one socket.
 * Opening is not timed. */
static bool backend_begin(const struct method *method, struct sender *sender, struct io **io)
{
    char why[IO_WHY_BYTES] = "";

    *io = method->backend ? method->backend->open(&sender->descriptors, 0, why) : NULL;
    if (method->backend && !*io)
        fprintf(stderr, "%s: %s\n", method->name, why);
    return !method->backend || *io;
}

/* A result is valid only if every datagram was sent. */
static bool backend_end(const struct method *method, struct io *io)
{
    const struct io_counters *counters = io ? method->backend->counters(io) : NULL;
    bool ok = !counters || counters->send_full + counters->send_failed == 0;

    if (!ok)
        fprintf(stderr,
                "%s: %llu datagrams; the queue was full for %llu, the kernel refused %llu\n",
                method->name,
                (unsigned long long)(counters->sent + counters->send_full + counters->send_failed),
                (unsigned long long)counters->send_full, (unsigned long long)counters->send_failed);
    if (io)
        method->backend->close(io);
    return ok;
}

bool rounds_send(struct sender *sender, const struct work *work, unsigned rounds,
                 struct figures *figures)
{
    static struct samples samples;
    struct io *ios[METHODS_MAX] = {0};
    bool ok = true;

    for (unsigned m = 0; m < send_method_count; m++)
        ok &= backend_begin(&send_methods[m], sender, &ios[m]);
    for (unsigned r = 0; ok && r <= rounds; r++)
        for (unsigned m = 0; m < send_method_count; m++) {
            uint64_t start_ns, took_ns;

            if (skipped(&send_methods[m]))
                continue;
            start_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
            send_methods[m].send(send_methods[m].backend, ios[m], sender, work);
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

static void senders_send(struct sender *sender, const struct incoming *incoming)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(sender->local_port)};

    to.sin_addr.s_addr = sender->local_ip;
    for (uint32_t s = 0; s < incoming->senders; s++)
        for (uint32_t i = 0; i < incoming->each; i++)
            sendto(sender->sockets[s], payload_next(incoming->bytes), incoming->bytes, 0,
                   (struct sockaddr *)&to, sizeof(to));
}

/* Measures one method in one round: ns per datagram; < 0: it failed. The first half of the passes
 * is not timed: in it a backend uses each of its buffers for the first time. */
static double receive_round(const struct method *method, struct sender *sender,
                            const struct incoming *incoming)
{
    uint32_t all = incoming->senders * incoming->each, passes = TIMED_DATAGRAMS / all + 1;
    uint64_t took_ns = 0;
    struct io *io;

    if (!backend_begin(method, sender, &io))
        return -1;
    for (uint32_t pass = 0; pass < 2 * passes; pass++) {
        uint64_t start_ns;
        uint32_t count;

        senders_send(sender, incoming);
        start_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
        count = method->receive(method->backend, io, sender);
        if (pass >= passes)
            took_ns += clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns;
        if (count != all) {
            fprintf(stderr, "%s: only %u of %u datagrams arrived\n", method->name, count, all);
            took_ns = 0;
            break;
        }
    }
    backend_end(method, io);
    return took_ns ? (double)took_ns / all / passes : -1;
}

bool rounds_receive(struct sender *sender, const struct incoming *incoming, unsigned rounds,
                    struct figures *figures)
{
    static struct samples samples;

    for (unsigned r = 0; r <= rounds; r++)
        for (unsigned m = 0; m < receive_method_count; m++) {
            double ns = skipped(&receive_methods[m])
                            ? 0
                            : receive_round(&receive_methods[m], sender, incoming);

            if (ns < 0)
                return false;
            if (r > 0)
                samples.of[m][r - 1] = ns;
        }
    figures_make(&samples, receive_methods, receive_method_count, rounds, figures);
    return true;
}

bool rounds_idle(struct sender *sender, unsigned rounds, struct figures *figures)
{
    static struct samples samples;

    for (unsigned r = 0; r <= rounds; r++)
        for (unsigned m = 0; m < receive_method_count; m++) {
            uint64_t start_ns;
            struct io *io;

            if (skipped(&receive_methods[m]))
                continue;
            if (!backend_begin(&receive_methods[m], sender, &io))
                return false;
            receive_methods[m].receive(receive_methods[m].backend, io, sender);
            start_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
            for (unsigned i = 0; i < IDLE_CALLS; i++)
                receive_methods[m].receive(receive_methods[m].backend, io, sender);
            if (r > 0)
                samples.of[m][r - 1] =
                    (double)(clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / IDLE_CALLS;
            backend_end(&receive_methods[m], io);
        }
    figures_make(&samples, receive_methods, receive_method_count, rounds, figures);
    return true;
}
