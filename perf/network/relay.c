/* ringcast-relay: stands between clients and the media ports of a server, and is a bad network.
 *
 *   client ── 127.0.0.2:40000 ──[ up link ]──► 127.0.0.1:40000 server
 *          ◄────────────────────[ down link ]──
 *
 * Each client gets a socket of its own towards the server, so the server sees different addresses,
 * as it does behind a NAT. Each client has two links of its own, with seeds of their own. All
 * clients have the same options (--up, --down).
 *
 * It also looks at what enters: an RTP packet that comes again with its SSRC and sequence number must be
 * the same to the last byte, because SRTP encrypts both with one index (RFC 7714 8.1). `repeated` counts
 * them, `changed` those that are not the same. It knows the last SEEN_MAX packets of each direction of a
 * client.
 *
 * Limits: CLIENTS_MAX clients, WAITING_MAX packets under way; packets over these are lost and
 * counted. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "link.h"

#define PORTS_MAX 64
#define CLIENTS_MAX 512
#define WAITING_MAX 65536
#define PACKET_BYTES_MAX 2048
#define RECEIVE_BYTES (4 << 20)
#define SEEN_MAX 4096
#define SECONDS_DEFAULT 600

/* The RTP packets that entered, by SSRC and sequence number. */
struct seen {
    uint64_t name[SEEN_MAX], hash[SEEN_MAX];
    uint64_t repeated, changed;
};

struct client {
    int server_fd, port_fd; /* towards the server; the port that the client sends to */
    struct sockaddr_in address;
    struct link up, down;
    struct seen seen_up, seen_down;
};

/* A packet that is under way. */
struct waiting {
    uint64_t due_ns, number;
    struct client *client;
    bool goes_up;
    uint32_t bytes;
    uint8_t *data;
};

static struct {
    const char *listen, *server;
    unsigned first_port, last_port;
    struct link_options up, down;
    uint64_t seed, end_ns;
    int epoll;
    int port_fds[PORTS_MAX];
    struct client clients[CLIENTS_MAX];
    unsigned client_count;
    struct waiting heap[WAITING_MAX]; /* the earliest first */
    size_t heap_count;
    uint64_t number, refused;
} relay;

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    stopped = 1;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "ringcast-relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- packets under way ---- */

static bool earlier(size_t a, size_t b)
{
    const struct waiting *x = &relay.heap[a], *y = &relay.heap[b];

    return x->due_ns != y->due_ns ? x->due_ns < y->due_ns : x->number < y->number;
}

static void swap(size_t a, size_t b)
{
    struct waiting keep = relay.heap[a];

    relay.heap[a] = relay.heap[b];
    relay.heap[b] = keep;
}

static void heap_put(struct waiting packet)
{
    size_t i = relay.heap_count++;

    relay.heap[i] = packet;
    for (; i > 0 && earlier(i, (i - 1) / 2); i = (i - 1) / 2)
        swap(i, (i - 1) / 2);
}

static struct waiting heap_take(void)
{
    struct waiting first = relay.heap[0];
    size_t i = 0;

    relay.heap[0] = relay.heap[--relay.heap_count];
    for (;;) {
        size_t least = i, child = 2 * i + 1;

        for (size_t k = child; k < child + 2 && k < relay.heap_count; k++)
            if (earlier(k, least))
                least = k;
        if (least == i)
            return first;
        swap(i, least);
        i = least;
    }
}

static uint64_t fnv(const uint8_t *data, uint32_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325ull;

    for (uint32_t i = 0; i < bytes; i++)
        hash = (hash ^ data[i]) * 0x100000001b3ull;
    return hash;
}

static void look_at(struct seen *seen, const uint8_t *data, uint32_t bytes)
{
    uint64_t name = 1, hash;
    size_t i;

    if (bytes < 12 || data[0] >> 6 != 2 || (data[1] >= 192 && data[1] <= 223))
        return; /* not RTP, see RFC 7983 */
    for (unsigned k = 0; k < 4; k++)
        name = name << 8 | data[8 + k];
    name = name << 16 | (uint64_t)data[2] << 8 | data[3];
    i = (name * 0x9e3779b97f4a7c15ull) >> 52;
    hash = fnv(data, bytes);
    if (seen->name[i] == name) {
        seen->repeated++;
        seen->changed += seen->hash[i] != hash;
    }
    seen->name[i] = name;
    seen->hash[i] = hash;
}

static void enter(struct client *client, bool goes_up, const uint8_t *data, uint32_t bytes)
{
    uint64_t due_ns[LINK_COPIES_MAX];
    unsigned copies;

    look_at(goes_up ? &client->seen_up : &client->seen_down, data, bytes);
    copies = link_send(goes_up ? &client->up : &client->down, now_ns(), bytes, due_ns);

    for (unsigned i = 0; i < copies; i++) {
        struct waiting packet = {.due_ns = due_ns[i],
                                 .number = relay.number++,
                                 .client = client,
                                 .goes_up = goes_up,
                                 .bytes = bytes,
                                 .data = malloc(bytes ? bytes : 1)};

        if (!packet.data || relay.heap_count == WAITING_MAX) {
            free(packet.data);
            relay.refused++;
            continue;
        }
        memcpy(packet.data, data, bytes);
        heap_put(packet);
    }
}

static void leave(void)
{
    while (relay.heap_count && relay.heap[0].due_ns <= now_ns()) {
        struct waiting packet = heap_take();
        struct client *c = packet.client;
        ssize_t n;

        if (packet.goes_up)
            n = send(c->server_fd, packet.data, packet.bytes, MSG_DONTWAIT);
        else
            n = sendto(c->port_fd, packet.data, packet.bytes, MSG_DONTWAIT,
                       (struct sockaddr *)&c->address, sizeof(c->address));
        relay.refused += n < 0;
        free(packet.data);
    }
}

/* ---- sockets ---- */

static int open_socket(const char *ip, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const int bytes = RECEIVE_BYTES;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || inet_pton(AF_INET, ip, &address.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        fail("cannot open a UDP socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    return fd;
}

/* number: the number of a port, or PORTS_MAX plus the number of a client. */
static void watch(int fd, unsigned number)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = number};

    if (epoll_ctl(relay.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll");
}

static struct client *client_of(unsigned port, const struct sockaddr_in *address)
{
    struct sockaddr_in server = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)(relay.first_port + port))};
    struct client *c;

    for (unsigned i = 0; i < relay.client_count; i++) {
        c = &relay.clients[i];
        if (c->port_fd == relay.port_fds[port] && c->address.sin_port == address->sin_port &&
            c->address.sin_addr.s_addr == address->sin_addr.s_addr)
            return c;
    }
    if (relay.client_count == CLIENTS_MAX)
        return NULL;
    c = &relay.clients[relay.client_count];
    c->port_fd = relay.port_fds[port];
    c->address = *address;
    link_open(&c->up, &relay.up, relay.seed + 2 * relay.client_count);
    link_open(&c->down, &relay.down, relay.seed + 2 * relay.client_count + 1);
    c->server_fd = open_socket("0.0.0.0", 0);
    inet_pton(AF_INET, relay.server, &server.sin_addr);
    if (connect(c->server_fd, (struct sockaddr *)&server, sizeof(server)) != 0)
        fail("connect");
    watch(c->server_fd, PORTS_MAX + relay.client_count++);
    return c;
}

static void receive(unsigned number)
{
    uint8_t data[PACKET_BYTES_MAX];

    for (unsigned i = 0; i < 64; i++) {
        struct sockaddr_in from;
        socklen_t size = sizeof(from);
        bool goes_up = number < PORTS_MAX;
        struct client *c = goes_up ? NULL : &relay.clients[number - PORTS_MAX];
        ssize_t n = recvfrom(goes_up ? relay.port_fds[number] : c->server_fd, data, sizeof(data),
                             MSG_DONTWAIT, (struct sockaddr *)&from, &size);

        if (n < 0)
            return;
        if (goes_up)
            c = client_of(number, &from);
        if (c)
            enter(c, goes_up, data, (uint32_t)n);
        else
            relay.refused++;
    }
}

static void run(void)
{
    struct epoll_event events[64];

    while (!stopped && now_ns() < relay.end_ns) {
        uint64_t now = now_ns(), due = relay.heap_count ? relay.heap[0].due_ns : now + 100000000;
        uint64_t wait = due > now ? due - now : 0;
        struct timespec limit = {.tv_sec = (time_t)(wait / 1000000000ull),
                                 .tv_nsec = (long)(wait % 1000000000ull)};
        int n = epoll_pwait2(relay.epoll, events, 64, &limit, NULL);

        for (int i = 0; i < n; i++)
            receive(events[i].data.u32);
        leave();
    }
}

static void report_link(const char *name, const struct link *link, uint64_t repeated,
                        uint64_t changed)
{
    printf("\"%s\":{\"packets\":%llu,\"lost\":%llu,\"dropped\":%llu,\"repeated\":%llu,"
           "\"changed\":%llu},",
           name, (unsigned long long)link->packets, (unsigned long long)link->lost,
           (unsigned long long)link->dropped, (unsigned long long)repeated,
           (unsigned long long)changed);
}

static void report(void)
{
    uint64_t repeated[2] = {0}, changed[2] = {0};
    struct link up = {0}, down = {0};

    for (unsigned i = 0; i < relay.client_count; i++) {
        struct client *c = &relay.clients[i];

        up.packets += c->up.packets;
        up.lost += c->up.lost;
        up.dropped += c->up.dropped;
        down.packets += c->down.packets;
        down.lost += c->down.lost;
        down.dropped += c->down.dropped;
        repeated[0] += c->seen_up.repeated;
        changed[0] += c->seen_up.changed;
        repeated[1] += c->seen_down.repeated;
        changed[1] += c->seen_down.changed;
    }
    printf("{\"clients\":%u,", relay.client_count);
    report_link("up", &up, repeated[0], changed[0]);
    report_link("down", &down, repeated[1], changed[1]);
    printf("\"refused\":%llu}\n", (unsigned long long)relay.refused);
}

/* ---- options ---- */

static const char usage[] =
    "usage: ringcast-relay --listen IP --server IP --ports FIRST-LAST [--up LINK] [--down LINK]\n"
    "                      [--seed N] [--seconds N]\n"
    "Passes UDP on between clients and a server, over links with faults. It prints \"ready\" when "
    "it\n"
    "listens, ends after --seconds (600) or on SIGTERM, and then prints what it did as JSON.\n"
    "  LINK  name=value,…: loss (percent), burst (mean packets), double (percent), delay (ms),\n"
    "        jitter (ms), order (1: no packet overtakes another), rate (kbit/s), queue (ms)\n";

static _Noreturn void refuse(const char *why)
{
    fprintf(stderr, "ringcast-relay: %s\n%s", why, usage);
    exit(2);
}

static void read_option(const char *name, const char *value)
{
    char why[160], text[256];

    if (!strcmp(name, "--listen")) {
        relay.listen = value;
    } else if (!strcmp(name, "--server")) {
        relay.server = value;
    } else if (!strcmp(name, "--ports")) {
        if (sscanf(value, "%u-%u", &relay.first_port, &relay.last_port) != 2 ||
            relay.first_port == 0 || relay.last_port > 65535 ||
            relay.last_port < relay.first_port || relay.last_port - relay.first_port >= PORTS_MAX)
            refuse("--ports is FIRST-LAST, at most 64 ports");
    } else if (!strcmp(name, "--up") || !strcmp(name, "--down")) {
        if (!link_options_read(value, name[2] == 'u' ? &relay.up : &relay.down, why)) {
            snprintf(text, sizeof(text), "%s: %s", name, why);
            refuse(text);
        }
    } else if (!strcmp(name, "--seed")) {
        relay.seed = strtoull(value, NULL, 10);
    } else if (!strcmp(name, "--seconds")) {
        relay.end_ns = strtoull(value, NULL, 10);
    } else {
        snprintf(text, sizeof(text), "%s is no option", name);
        refuse(text);
    }
}

int main(int argc, char **argv)
{
    char why[160];

    relay.seed = 1;
    relay.end_ns = SECONDS_DEFAULT;
    link_options_read("", &relay.up, why);
    link_options_read("", &relay.down, why);
    for (int i = 1; i < argc; i += 2) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            return 0;
        }
        if (i + 1 == argc)
            refuse("an option has no value");
        read_option(argv[i], argv[i + 1]);
    }
    if (!relay.listen || !relay.server || !relay.first_port)
        refuse("--listen, --server and --ports are needed");
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    relay.end_ns = now_ns() + relay.end_ns * 1000000000ull;
    relay.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (relay.epoll < 0)
        fail("epoll");
    for (unsigned i = 0; i <= relay.last_port - relay.first_port; i++) {
        relay.port_fds[i] = open_socket(relay.listen, relay.first_port + i);
        watch(relay.port_fds[i], i);
    }
    puts("ready");
    fflush(stdout);
    run();
    report();
    return 0;
}
