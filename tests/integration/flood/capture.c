/* What clients of the running call send, taken off the loopback device. */
#include "flood.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ATTRIBUTE_USERNAME 6

static int class_of(const uint8_t *data, size_t bytes)
{
    if (bytes < 12)
        return -1;
    if (data[0] < 4)
        return SEED_stun;
    if (data[0] >= 20 && data[0] <= 63)
        return SEED_dtls;
    if (data[0] < 128 || data[0] > 191)
        return -1;
    return data[1] >= 192 && data[1] <= 223 ? SEED_srtcp : SEED_srtp;
}

/* The server's user fragment: what stands before the colon (RFC 8445 7.2.2). */
static void ufrag_learn(struct seeds *seeds, const struct seed *seed)
{
    const uint8_t *data = seed->data;
    size_t bytes = seed->bytes;

    for (size_t at = 20; at + 4 <= bytes;) {
        size_t length = (size_t)data[at + 2] << 8 | data[at + 3];
        const char *text = (const char *)data + at + 4;
        const char *colon;

        if (at + 4 + length > bytes)
            return;
        colon = memchr(text, ':', length);
        if (data[at] == 0 && data[at + 1] == ATTRIBUTE_USERNAME && colon &&
            colon - text < UFRAG_ROOM) {
            char name[UFRAG_ROOM] = {0};

            memcpy(name, text, (size_t)(colon - text));
            for (unsigned i = 0; i < seeds->ufrag_count; i++)
                if (strcmp(seeds->ufrags[i].name, name) == 0)
                    return;
            if (seeds->ufrag_count == UFRAGS_MAX)
                return;
            memcpy(seeds->ufrags[seeds->ufrag_count].name, name, sizeof(name));
            seeds->ufrags[seeds->ufrag_count++].seed = seed;
            return;
        }
        at += 4 + ((length + 3) & ~(size_t)3);
    }
}

static void keep(struct seeds *seeds, const uint8_t *packet, size_t bytes, const uint16_t *ports,
                 unsigned port_count)
{
    const struct iphdr *ip = (const struct iphdr *)packet;
    const struct udphdr *udp = (const struct udphdr *)(packet + sizeof(*ip));
    const uint8_t *data = packet + sizeof(*ip) + sizeof(*udp);
    struct seed *seed;
    bool ours = false;
    int class;

    if (bytes < sizeof(*ip) + sizeof(*udp) || ip->version != 4 || ip->ihl != 5 ||
        ip->protocol != IPPROTO_UDP)
        return;
    bytes -= sizeof(*ip) + sizeof(*udp);
    for (unsigned i = 0; i < port_count; i++)
        ours |= ntohs(udp->dest) == ports[i];
    class = class_of(data, bytes);
    if (!ours || class < 0 || bytes > SEED_BYTES_MAX || seeds->count[class] == SEEDS_MAX)
        return;
    seed = &seeds->list[class][seeds->count[class]++];
    seed->from = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = udp->source};
    seed->from.sin_addr.s_addr = ip->saddr;
    seed->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = udp->dest};
    seed->to.sin_addr.s_addr = ip->daddr;
    seed->bytes = bytes;
    memcpy(seed->data, data, bytes);
    if (class == SEED_stun)
        ufrag_learn(seeds, seed);
}

bool capture(struct seeds *seeds, const uint16_t *ports, unsigned port_count, unsigned seconds)
{
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP));
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
    time_t end = time(NULL) + seconds;
    uint8_t packet[65536] __attribute__((aligned(8)));

    address.sll_ifindex = (int)if_nametoindex("lo");
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return false;
    while (time(NULL) < end) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        struct sockaddr_ll from;
        socklen_t from_bytes = sizeof(from);
        ssize_t n;

        if (poll(&wait, 1, 100) <= 0)
            continue;
        n = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&from, &from_bytes);
        /* a socket of ETH_P_ALL would see everything twice on lo: as sent and as received */
        if (n > 0 && from.sll_pkttype != PACKET_OUTGOING)
            keep(seeds, packet, (size_t)n, ports, port_count);
    }
    close(fd);
    return true;
}
