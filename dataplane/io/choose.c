/* Measuring the backends; see choose.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "choose.h"
#include "src/clock.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* One round, as a small call would make it: every client sends an audio packet, one a frame of video;
 * each gets a frame and an audio packet. */
#define CLIENTS 8
#define FRAME 9 /* datagrams */
#define VIDEO_BYTES 1200
#define AUDIO_BYTES 160
#define RECEIVED (CLIENTS + FRAME)
#define SENT (CLIENTS * (FRAME + 1))

#define WARM_ROUNDS 64 /* io_uring's buffers are all touched once */
#define ROUNDS_MAX 256
#define ROUNDS_MIN 8
#define WALL_NS (40 * NS_PER_MS) /* of one candidate */

struct trial {
    struct measured *measured;
    struct io *io;
    struct io_descriptors descriptors;
    int clients[CLIENTS];
    struct path paths[CLIENTS];
    unsigned rounds;
    double ns[ROUNDS_MAX];
};

/* ---- sockets of our own ---- */

static int loopback_socket(struct sockaddr_in *name, bool is_server)
{
    socklen_t bytes = sizeof(*name);
    int on = 1, small = 2048, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0)
        return -1;
    if (is_server) {
        setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
        setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on));
    } else { /* never read from: full from the first round on */
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    }
    if (bind(fd, (struct sockaddr *)name, bytes) == 0 &&
        getsockname(fd, (struct sockaddr *)name, &bytes) == 0)
        return fd;
    close(fd);
    return -1;
}

static void ip_write(uint8_t ip[16], const struct sockaddr_in *name)
{
    memset(ip, 0, 10);
    memset(ip + 10, 0xff, 2);
    memcpy(ip + 12, &name->sin_addr, 4);
}

static bool trial_open(struct trial *trial, const struct io_backend *backend)
{
    struct measured *measured = trial->measured;
    struct sockaddr_in server, client;
    bool ok;

    trial->descriptors = (struct io_descriptors){loopback_socket(&server, true), -1,
                                                 eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    ok = trial->descriptors.udp4 >= 0 && trial->descriptors.doorbell >= 0;
    for (unsigned c = 0; c < CLIENTS; c++) {
        struct path *path = &trial->paths[c];

        trial->clients[c] = ok ? loopback_socket(&client, false) : -1;
        ok = ok && trial->clients[c] >= 0 &&
             connect(trial->clients[c], (struct sockaddr *)&server, sizeof(server)) == 0;
        ip_write(path->remote_ip, &client);
        ip_write(path->local_ip, &server);
        path->remote_port = ntohs(client.sin_port);
        path->local_port = ntohs(server.sin_port);
    }
    if (!ok)
        snprintf(measured->refusal, REFUSAL_BYTES, "no loopback sockets to measure on (%s)",
                 strerror(errno));
    else
        trial->io = backend->open(&trial->descriptors, measured->refusal);
    return trial->io != NULL;
}

static void trial_close(struct trial *trial)
{
    if (trial->io)
        trial->measured->backend->close(trial->io);
    for (unsigned c = 0; c < CLIENTS; c++)
        if (trial->clients[c] >= 0)
            close(trial->clients[c]);
    if (trial->descriptors.udp4 >= 0)
        close(trial->descriptors.udp4);
    if (trial->descriptors.doorbell >= 0)
        close(trial->descriptors.doorbell);
}

/* ---- work ---- */

static void clients_send(const struct trial *trial)
{
    static const uint8_t video[FRAME * VIDEO_BYTES], audio[AUDIO_BYTES];
    int segment = VIDEO_BYTES;

    for (unsigned c = 0; c < CLIENTS; c++)
        send(trial->clients[c], audio, sizeof(audio), 0);
    if (setsockopt(trial->clients[0], SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)) == 0)
        send(trial->clients[0], video, sizeof(video), 0);
    segment = 0;
    setsockopt(trial->clients[0], SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment));
}

static void clients_are_sent_to(const struct trial *trial, const struct io_backend *backend)
{
    for (unsigned c = 0; c < CLIENTS; c++) {
        for (unsigned i = 0; i < FRAME; i++)
            backend->slot(trial->io, &trial->paths[c], VIDEO_BYTES);
        backend->slot(trial->io, &trial->paths[c], AUDIO_BYTES);
    }
    backend->transmit(trial->io);
}

/* One turn after a sleep, and the empty one that comes before the next. */
static void trial_round(struct trial *trial, bool is_timed)
{
    static struct io_datagram datagrams[IO_BATCH];
    const struct io_backend *backend = trial->measured->backend;
    bool sends = is_timed;
    uint64_t start_ns;
    size_t received;

    clients_send(trial);
    start_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
    backend->wait(trial->io, 0);
    do {
        received = backend->receive(trial->io, datagrams, IO_BATCH);
        backend->release(trial->io);
        if (received > 0 && sends)
            clients_are_sent_to(trial, backend);
        sends = sends && received == 0;
    } while (received > 0);
    if (is_timed)
        trial->ns[trial->rounds++] =
            (double)(clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - start_ns) / (RECEIVED + SENT);
}

static int order(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

/* A figure counts only when everything went through. */
static void trial_judge(struct trial *trial)
{
    const struct io_counters *counters = trial->measured->backend->counters(trial->io);
    uint64_t rounds = trial->rounds;

    if (rounds < ROUNDS_MIN) {
        snprintf(trial->measured->refusal, REFUSAL_BYTES, "this machine is too busy to measure");
        return;
    }
    if (counters->sent != SENT * rounds ||
        counters->received != RECEIVED * (WARM_ROUNDS + rounds)) {
        snprintf(trial->measured->refusal, REFUSAL_BYTES, "it lost datagrams on loopback");
        return;
    }
    qsort(trial->ns, rounds, sizeof(trial->ns[0]), order);
    trial->measured->ns = trial->ns[rounds / 2];
}

size_t backends_measure(struct measured *measured)
{
    static const struct io_backend *const candidates[] = {&io_uring_backend, &io_socket_backend};
    static struct trial trials[CANDIDATES_MAX]; /* once per process, on one thread */
    size_t count = sizeof(candidates) / sizeof(candidates[0]);
    uint64_t end_ns;

    for (size_t i = 0; i < count; i++) {
        measured[i] = (struct measured){.backend = candidates[i]};
        trials[i] = (struct trial){.measured = &measured[i]};
        trial_open(&trials[i], candidates[i]);
        for (unsigned r = 0; trials[i].io && r < WARM_ROUNDS; r++)
            trial_round(&trials[i], false);
    }
    end_ns = clock_monotonic_ns() + count * WALL_NS;
    for (unsigned r = 0; r < ROUNDS_MAX && clock_monotonic_ns() < end_ns; r++)
        for (size_t i = 0; i < count; i++)
            if (trials[i].io)
                trial_round(&trials[i], true);
    for (size_t i = 0; i < count; i++) {
        if (trials[i].io)
            trial_judge(&trials[i]);
        trial_close(&trials[i]);
    }
    return count;
}

/* ---- the choice ---- */

#define TIE 1.05

size_t measured_pick(const struct measured *measured, size_t count)
{
    size_t cheapest = count;

    for (size_t i = 0; i < count; i++)
        if (measured[i].ns > 0 && (cheapest == count || measured[i].ns < measured[cheapest].ns))
            cheapest = i;
    for (size_t i = 0; i < cheapest && cheapest < count; i++)
        if (measured[i].ns > 0 && measured[i].ns <= TIE * measured[cheapest].ns)
            return i;
    return cheapest;
}

void measured_explain(const struct measured *measured, size_t count, size_t picked, char *why)
{
    size_t at = 0;
    bool tie = false; /* another one was a little cheaper */

    why[0] = '\0';
    for (size_t i = 0; i < count; i++)
        tie |= measured[i].ns > 0 && measured[i].ns < measured[picked].ns;
    for (size_t n = 0; n < count && at < CHOICE_WHY_BYTES; n++) {
        /* The picked one first, then the others in their order. */
        const struct measured *m = n == 0 ? &measured[picked] : &measured[n <= picked ? n - 1 : n];
        const char *before = n == 0 ? "" : ", ";

        if (m->ns > 0)
            at += (size_t)snprintf(why + at, CHOICE_WHY_BYTES - at, "%s%s: %.0f ns%s", before,
                                   m->backend->name, m->ns,
                                   n > 0 ? ""
                                   : tie ? " a datagram (a tie)"
                                         : " a datagram");
        else
            at += (size_t)snprintf(why + at, CHOICE_WHY_BYTES - at, "%s%s: %s", before,
                                   m->backend->name, m->refusal);
    }
}
