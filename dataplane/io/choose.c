/* Measures the backends; see choose.h. */
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

/* The work of one round is that of a small call: every client sends an audio packet, one client
 * sends a frame of video, and every client gets a frame and an audio packet. */
#define CLIENTS 8
#define FRAME 9 /* datagrams */
#define VIDEO_BYTES 1200
#define AUDIO_BYTES 160
#define RECEIVED (CLIENTS + FRAME)
#define SENT (CLIENTS * (FRAME + 1))

#define WARM_ROUNDS 64 /* after these every receive buffer was used once */
#define ROUNDS_MAX 256
#define ROUNDS_MIN 8
#define WALL_NS (40 * NS_PER_MS) /* for each candidate, in real time */

struct trial {
    struct measured *measured;
    struct io *io;
    struct descriptors descriptors; /* as worker 0 has them */
    int clients[CLIENTS];
    struct path paths[CLIENTS];
    unsigned rounds;
    double ns[ROUNDS_MAX];
};

/* ---- sockets ---- */

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
    } else { /* nobody reads from it: its buffer is full after the first round */
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

/* One client's socket, connected to ours. False with errno. */
static bool client_open(struct trial *trial, unsigned c, const struct sockaddr_in *server)
{
    struct path *path = &trial->paths[c];
    struct sockaddr_in client;

    trial->clients[c] = loopback_socket(&client, false);
    ip_write(path->remote_ip, &client);
    ip_write(path->local_ip, server);
    path->remote_port = ntohs(client.sin_port);
    path->local_port = ntohs(server->sin_port);
    return trial->clients[c] >= 0 &&
           connect(trial->clients[c], (const struct sockaddr *)server, sizeof(*server)) == 0;
}

static bool sockets_open(struct trial *trial)
{
    struct sockaddr_in server;
    int udp4 = loopback_socket(&server, true), doorbell;

    if (udp4 < 0)
        return false;
    descriptors_add(&trial->descriptors, udp4, "udp4.0");
    doorbell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (doorbell < 0)
        return false;
    descriptors_add(&trial->descriptors, doorbell, "bell.worker.0");
    for (unsigned c = 0; c < CLIENTS; c++)
        if (!client_open(trial, c, &server))
            return false;
    return true;
}

static void trial_open(struct trial *trial)
{
    struct measured *measured = trial->measured;

    for (unsigned c = 0; c < CLIENTS; c++)
        trial->clients[c] = -1;
    if (!measured->backend->loopback_can_measure)
        snprintf(measured->refusal, IO_WHY_BYTES, "its cost does not show on loopback");
    else if (!sockets_open(trial))
        snprintf(measured->refusal, IO_WHY_BYTES, "no loopback sockets to measure on (%s)",
                 strerror(errno));
    else
        trial->io = measured->backend->open(&trial->descriptors, 0, measured->refusal);
}

static void trial_close(struct trial *trial)
{
    if (trial->io)
        trial->measured->backend->close(trial->io);
    for (unsigned c = 0; c < CLIENTS; c++)
        if (trial->clients[c] >= 0)
            close(trial->clients[c]);
    descriptors_close(&trial->descriptors);
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

static void send_to_clients(const struct trial *trial, const struct io_backend *backend)
{
    for (unsigned c = 0; c < CLIENTS; c++) {
        for (unsigned i = 0; i < FRAME; i++)
            backend->slot(trial->io, &trial->paths[c], VIDEO_BYTES);
        backend->slot(trial->io, &trial->paths[c], AUDIO_BYTES);
    }
    backend->transmit(trial->io);
}

/* One turn after a sleep, and the empty turn that a worker makes before it sleeps again. */
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
            send_to_clients(trial, backend);
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

/* A figure counts only when no datagram was lost. */
static void trial_judge(struct trial *trial)
{
    const struct io_counters *counters = trial->measured->backend->counters(trial->io);
    uint64_t rounds = trial->rounds;

    if (rounds < ROUNDS_MIN) {
        snprintf(trial->measured->refusal, IO_WHY_BYTES, "this machine is too busy to measure");
        return;
    }
    if (counters->sent != SENT * rounds ||
        counters->received != RECEIVED * (WARM_ROUNDS + rounds)) {
        snprintf(trial->measured->refusal, IO_WHY_BYTES, "it lost datagrams on loopback");
        return;
    }
    qsort(trial->ns, rounds, sizeof(trial->ns[0]), order);
    trial->measured->ns = trial->ns[rounds / 2];
}

/* The trials take turns, so that a busy machine affects all of them. */
static void trials_run(struct trial *trials, size_t count)
{
    uint64_t end_ns;

    for (size_t i = 0; i < count; i++)
        for (unsigned r = 0; trials[i].io && r < WARM_ROUNDS; r++)
            trial_round(&trials[i], false);
    end_ns = clock_monotonic_ns() + count * WALL_NS;
    for (unsigned r = 0; r < ROUNDS_MAX && clock_monotonic_ns() < end_ns; r++)
        for (size_t i = 0; i < count; i++)
            if (trials[i].io)
                trial_round(&trials[i], true);
}

size_t backends_measure(const struct io_backends *backends,
                        struct measured measured[IO_BACKENDS_MAX])
{
    static struct trial trials[IO_BACKENDS_MAX]; /* too big for a stack; one thread measures */
    size_t count = 0;

    for (size_t b = 0; b < backends->count && b < IO_BACKENDS_MAX; b++) {
        if (!backends->list[b]->auto_may_choose)
            continue;
        measured[count] = (struct measured){.backend = backends->list[b]};
        trials[count] = (struct trial){.measured = &measured[count]};
        trial_open(&trials[count++]);
    }
    trials_run(trials, count);
    for (size_t i = 0; i < count; i++) {
        if (trials[i].io)
            trial_judge(&trials[i]);
        trial_close(&trials[i]);
    }
    return count;
}

/* ---- the choice ---- */

#define TIE 1.05 /* an earlier backend wins if it costs at most this many times the lowest */

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

void measured_explain(const struct measured *measured, size_t count, size_t picked,
                      char why[IO_CHOICE_BYTES])
{
    size_t at = 0;
    bool tie = false; /* another one was cheaper by less than TIE */

    why[0] = '\0';
    for (size_t i = 0; i < count; i++)
        tie |= measured[i].ns > 0 && measured[i].ns < measured[picked].ns;
    for (size_t n = 0; n < count && at < IO_CHOICE_BYTES; n++) {
        /* Lists the picked backend first, then the others in their order. */
        const struct measured *m = n == 0 ? &measured[picked] : &measured[n <= picked ? n - 1 : n];
        const char *before = n == 0 ? "" : ", ";

        if (m->ns > 0)
            at += (size_t)snprintf(why + at, IO_CHOICE_BYTES - at, "%s%s: %.0f ns%s", before,
                                   m->backend->name, m->ns,
                                   n > 0 ? ""
                                   : tie ? " a datagram (a tie)"
                                         : " a datagram");
        else
            at += (size_t)snprintf(why + at, IO_CHOICE_BYTES - at, "%s%s: %s", before,
                                   m->backend->name, m->refusal);
    }
}
