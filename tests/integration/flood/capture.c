/* Captures what clients of a running call send over the loopback device. */
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
        return SAMPLE_stun;
    if (data[0] >= 20 && data[0] <= 63)
        return SAMPLE_dtls;
    if (data[0] < 128 || data[0] > 191)
        return -1;
    return data[1] >= 192 && data[1] <= 223 ? SAMPLE_srtcp : SAMPLE_srtp;
}

/* The server's user fragment is the part before the colon (RFC 8445 7.2.2). */
static void take_ufrag(struct samples *samples, const struct sample *sample)
{
    const uint8_t *data = sample->data;
    size_t bytes = sample->bytes;

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
            for (unsigned i = 0; i < samples->ufrag_count; i++)
                if (strcmp(samples->ufrags[i].name, name) == 0)
                    return;
            if (samples->ufrag_count == UFRAGS_MAX)
                return;
            memcpy(samples->ufrags[samples->ufrag_count].name, name, sizeof(name));
            samples->ufrags[samples->ufrag_count++].sample = sample;
            return;
        }
        at += 4 + ((length + 3) & ~(size_t)3);
    }
}

static void keep(struct samples *samples, const uint8_t *packet, size_t bytes,
                 const uint16_t *ports, unsigned port_count)
{
    const struct iphdr *ip = (const struct iphdr *)packet;
    const struct udphdr *udp = (const struct udphdr *)(packet + sizeof(*ip));
    const uint8_t *data = packet + sizeof(*ip) + sizeof(*udp);
    struct sample *sample;
    bool ours = false;
    int class;

    if (bytes < sizeof(*ip) + sizeof(*udp) || ip->version != 4 || ip->ihl != 5 ||
        ip->protocol != IPPROTO_UDP)
        return;
    bytes -= sizeof(*ip) + sizeof(*udp);
    for (unsigned i = 0; i < port_count; i++)
        ours |= ntohs(udp->dest) == ports[i];
    class = class_of(data, bytes);
    if (!ours || class < 0 || bytes > SAMPLE_BYTES_MAX || samples->count[class] == SAMPLES_MAX)
        return;
    sample = &samples->list[class][samples->count[class]++];
    sample->from = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = udp->source};
    sample->from.sin_addr.s_addr = ip->saddr;
    sample->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = udp->dest};
    sample->to.sin_addr.s_addr = ip->daddr;
    sample->bytes = bytes;
    memcpy(sample->data, data, bytes);
    if (class == SAMPLE_stun)
        take_ufrag(samples, sample);
}

bool capture(struct samples *samples, const uint16_t *ports, unsigned port_count, unsigned seconds)
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
        /* lo shows each packet as outgoing and as incoming */
        if (n > 0 && from.sll_pkttype != PACKET_OUTGOING)
            keep(samples, packet, (size_t)n, ports, port_count);
    }
    close(fd);
    return true;
}
