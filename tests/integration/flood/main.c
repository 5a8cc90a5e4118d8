/* flood: sends a limited number of bad datagrams to media ports of this network namespace, at a
 * limited rate. Prints as JSON what was sent and how many answers arrived. */
#define _GNU_SOURCE /* sendmmsg */
#include "flood.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define SENDERS 48 /* IPv4 sources 127.0.0.2 … */
#define SENDERS_IPV6 4
/* When sending is later than this, it does not catch up. */
#define LAG_NS_MAX 5000000ull
#define SEND_TRIES 1000
#define WHEEL_MAX 1024

static const char usage[] =
    "flood --port N [--port N …] [options]\n"
    "  --count N            datagrams in all (default 1000000, at most 100 million)\n"
    "  --rate N             datagrams in a second (default 100000)\n"
    "  --seconds-max N      stop after this time (default 300)\n"
    "  --capture-seconds N  first capture for this time what clients send (default 4)\n"
    "  --only KIND          send only this kind\n"
    "  --seed N             of the random numbers (default 1)\n"
    "  --ipv6               send also from ::1 to ::1\n";

static const char *const kind_names[] = {
#define K(name, weight, text) #name,
    KINDS(K)
#undef K
};

static const unsigned kind_weights[] = {
#define K(name, weight, text) weight,
    KINDS(K)
#undef K
};

struct options {
    uint16_t ports[TARGETS_MAX];
    unsigned port_count, rate, seconds_max, capture_seconds;
    uint64_t count, seed;
    bool ipv6;
    int only; /* kind; -1: all */
};

/* Datagrams to be sent on one socket. */
struct batch {
    unsigned count;
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH][2];
    struct sockaddr_in6 names[BATCH]; /* or sockaddr_in */
    uint8_t heads[BATCH][28];         /* for the raw socket: IP and UDP headers */
    uint8_t slots[BATCH][SLOT_BYTES];
    enum kind kinds[BATCH];
};

struct flood {
    struct options options;
    int senders[SENDERS + SENDERS_IPV6], raw;
    unsigned sender_count;
    struct random random;
    unsigned wheel_size;
    uint8_t wheel[WHEEL_MAX]; /* each kind as often as its weight says */
    struct samples samples;
    struct batch plain, spoofed;
    uint64_t sent[KIND_COUNT], sent_all, refused, replies, reply_bytes;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ---- sockets ---- */

static bool open_senders(struct flood *f)
{
    unsigned wanted = SENDERS + (f->options.ipv6 ? SENDERS_IPV6 : 0);
    int room = 4 << 20;

    for (unsigned i = 0; i < wanted; i++) {
        struct sockaddr_in ipv4 = {.sin_family = AF_INET};
        struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        bool is_ipv4 = i < SENDERS;
        int fd = socket(is_ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        ipv4.sin_addr.s_addr = htonl(0x7f000002 + i);
        if (fd < 0 || bind(fd, is_ipv4 ? (void *)&ipv4 : (void *)&ipv6,
                           is_ipv4 ? sizeof(ipv4) : sizeof(ipv6)) != 0) {
            perror("flood: cannot open a socket");
            return false;
        }
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
        f->senders[f->sender_count++] = fd;
    }
    f->raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (f->raw < 0) {
        perror("flood: cannot open a raw socket for spoofed sources");
        return false;
    }
    setsockopt(f->raw, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    return true;
}

static void count_replies(struct flood *f)
{
    for (unsigned i = 0; i < f->sender_count; i++) {
        uint8_t data[16];
        ssize_t n;

        while ((n = recv(f->senders[i], data, sizeof(data), MSG_DONTWAIT | MSG_TRUNC)) >= 0) {
            f->replies++;
            f->reply_bytes += (uint64_t)n;
        }
    }
}

/* ---- batches ---- */

/* Sends the whole batch. Datagrams that the kernel refuses (too long for the device) are counted
 * and left out. */
static void batch_send(struct flood *f, struct batch *b, int fd)
{
    unsigned at = 0;

    for (unsigned tries = 0; at < b->count && tries < SEND_TRIES; tries++) {
        int n = sendmmsg(fd, b->messages + at, b->count - at, 0);

        for (int i = 0; i < n; i++, at++) {
            f->sent[b->kinds[at]]++;
            f->sent_all++;
        }
        if (n < 0 && (errno == ENOBUFS || errno == EAGAIN || errno == EINTR)) {
            usleep(1000);
        } else if (n < 0) {
            f->refused++;
            at++;
        }
    }
    f->refused += b->count - at;
    b->count = 0;
}

static struct mmsghdr *batch_place(struct batch *b, enum kind kind, const struct datagram *d,
                                   const void *name, socklen_t name_bytes)
{
    struct mmsghdr *m = &b->messages[b->count];

    memcpy(&b->names[b->count], name, name_bytes);
    b->kinds[b->count] = kind;
    b->pieces[b->count][1] = (struct iovec){(void *)d->data, d->bytes};
    m->msg_hdr = (struct msghdr){.msg_name = &b->names[b->count],
                                 .msg_namelen = name_bytes,
                                 .msg_iov = &b->pieces[b->count][1],
                                 .msg_iovlen = 1};
    b->count++;
    return m;
}

/* From the client's address: we write the IP and UDP headers. A UDP checksum of 0 means none (RFC
 * 768). */
static void place_spoofed(struct flood *f, enum kind kind, const struct datagram *d)
{
    struct batch *b = &f->spoofed;
    struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
    struct udphdr udp = {.len = htons((uint16_t)(sizeof(udp) + d->bytes))};
    unsigned i = b->count;
    struct sockaddr_in to = d->sample->to;
    struct mmsghdr *m;

    ip.saddr = d->sample->from.sin_addr.s_addr;
    ip.daddr = d->sample->to.sin_addr.s_addr;
    ip.tot_len = htons((uint16_t)(sizeof(ip) + sizeof(udp) + d->bytes));
    udp.source = d->sample->from.sin_port;
    udp.dest = d->sample->to.sin_port;
    memcpy(b->heads[i], &ip, sizeof(ip));
    memcpy(b->heads[i] + sizeof(ip), &udp, sizeof(udp));
    to.sin_port = 0;
    m = batch_place(b, kind, d, &to, sizeof(to));
    b->pieces[i][0] = (struct iovec){b->heads[i], sizeof(b->heads[i])};
    m->msg_hdr.msg_iov = b->pieces[i];
    m->msg_hdr.msg_iovlen = 2;
    if (b->count == BATCH)
        batch_send(f, b, f->raw);
}

static void place_plain(struct flood *f, enum kind kind, const struct datagram *d, unsigned sender)
{
    uint16_t any = f->options.ports[random_below(&f->random, f->options.port_count)];
    /* mostly to the port that the client uses, where its transport is */
    uint16_t port = d->sample && random_below(&f->random, 8) ? ntohs(d->sample->to.sin_port) : any;
    struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 ipv6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};

    ipv4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sender < SENDERS)
        batch_place(&f->plain, kind, d, &ipv4, sizeof(ipv4));
    else
        batch_place(&f->plain, kind, d, &ipv6, sizeof(ipv6));
}

static void fill_and_send(struct flood *f, unsigned count, unsigned sender)
{
    for (unsigned i = 0; i < count; i++) {
        enum kind kind = f->wheel[random_below(&f->random, f->wheel_size)];
        bool is_spoofed = kind == KIND_spoofed_replay || kind == KIND_spoofed_mutated;
        struct batch *b = is_spoofed ? &f->spoofed : &f->plain;
        struct datagram d = make(kind, &f->samples, &f->random, b->slots[b->count]);

        if (is_spoofed && d.sample && d.bytes <= SAMPLE_BYTES_MAX)
            place_spoofed(f, kind, &d);
        else if (!is_spoofed)
            place_plain(f, kind, &d, sender);
        else
            f->refused++;
    }
    batch_send(f, &f->plain, f->senders[sender]);
}

/* ---- the run ---- */

static void run(struct flood *f)
{
    uint64_t began = now_ns(), next = began, batches = 0;

    while (f->sent_all + f->refused + f->spoofed.count < f->options.count) {
        uint64_t left = f->options.count - f->sent_all - f->refused - f->spoofed.count;
        unsigned count = left < BATCH ? (unsigned)left : BATCH;
        uint64_t now = now_ns();

        if (now - began > f->options.seconds_max * 1000000000ull)
            break;
        if (now < next) {
            struct timespec nap = {.tv_nsec = (long)(next - now) % 1000000000};

            nanosleep(&nap, NULL);
        } else if (now - next > LAG_NS_MAX) {
            next = now;
        }
        fill_and_send(f, count, random_below(&f->random, f->sender_count));
        next += count * 1000000000ull / f->options.rate;
        if (++batches % 1024 == 0)
            count_replies(f);
    }
    batch_send(f, &f->spoofed, f->raw);
}

static void report(struct flood *f, uint64_t elapsed_ns)
{
    printf(
        "{\"sent\":%llu,\"refused\":%llu,\"seconds\":%.2f,\"replies\":%llu,\"replyBytes\":%llu,"
        "\"samples\":{\"stun\":%u,\"dtls\":%u,\"srtp\":%u,\"srtcp\":%u,\"ufrags\":%u},\"kinds\":{",
        (unsigned long long)f->sent_all, (unsigned long long)f->refused, (double)elapsed_ns / 1e9,
        (unsigned long long)f->replies, (unsigned long long)f->reply_bytes,
        f->samples.count[SAMPLE_stun], f->samples.count[SAMPLE_dtls], f->samples.count[SAMPLE_srtp],
        f->samples.count[SAMPLE_srtcp], f->samples.ufrag_count);
    for (int k = 0; k < KIND_COUNT; k++)
        printf("%s\"%s\":%llu", k ? "," : "", kind_names[k], (unsigned long long)f->sent[k]);
    printf("}}\n");
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 10);
    return *text && !*end && !errno && *value >= min && *value <= max;
}

static bool read_options(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, NULL, 'p'},        {"count", 1, NULL, 'c'}, {"rate", 1, NULL, 'r'},
        {"seconds-max", 1, NULL, 'm'}, {"seed", 1, NULL, 's'},  {"capture-seconds", 1, NULL, 'C'},
        {"ipv6", 0, NULL, '6'},        {"only", 1, NULL, 'o'},  {NULL, 0, NULL, 0},
    };
    uint64_t value = 0;
    bool ok = true;
    int which;

    *o = (struct options){.rate = 100000,
                          .seconds_max = 300,
                          .capture_seconds = 4,
                          .count = 1000000,
                          .seed = 1,
                          .only = -1};
    while (ok && (which = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (which == 'p') {
            ok = number(optarg, 1, 65535, &value) && o->port_count < TARGETS_MAX;
            if (ok)
                o->ports[o->port_count++] = (uint16_t)value;
        } else if (which == 'c') {
            ok = number(optarg, 1, 100000000, &o->count);
        } else if (which == 'r') {
            ok = number(optarg, 1000, 10000000, &value);
            o->rate = (unsigned)value;
        } else if (which == 'm') {
            ok = number(optarg, 1, 3600, &value);
            o->seconds_max = (unsigned)value;
        } else if (which == 's') {
            ok = number(optarg, 1, UINT64_MAX, &o->seed);
        } else if (which == 'C') {
            ok = number(optarg, 0, 60, &value);
            o->capture_seconds = (unsigned)value;
        } else if (which == 'o') {
            for (int k = 0; k < KIND_COUNT; k++)
                if (strcmp(kind_names[k], optarg) == 0)
                    o->only = k;
            ok = o->only >= 0;
        } else {
            ok = which == '6';
            o->ipv6 = true;
        }
    }
    return ok && o->port_count > 0 && optind == argc;
}

int main(int argc, char **argv)
{
    static struct flood flood;
    struct flood *f = &flood;
    uint64_t began;

    if (!read_options(&f->options, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    for (int k = 0; k < KIND_COUNT; k++)
        for (unsigned i = 0; f->options.only < 0 && i < kind_weights[k]; i++)
            f->wheel[f->wheel_size++] = (uint8_t)k;
    if (f->options.only >= 0)
        f->wheel[f->wheel_size++] = (uint8_t)f->options.only;
    f->random.state = f->options.seed * 0x9e3779b97f4a7c15ull | 1;
    make_prepare(&f->random);
    if (!open_senders(f))
        return 1;
    fprintf(stderr, "capturing\n");
    if (f->options.capture_seconds && !capture(&f->samples, f->options.ports, f->options.port_count,
                                               f->options.capture_seconds)) {
        perror("flood: cannot capture on lo");
        return 1;
    }
    fprintf(stderr, "sending\n");
    began = now_ns();
    run(f);
    began = now_ns() - began;
    usleep(300000);
    count_replies(f);
    report(f, began);
    return 0;
}
