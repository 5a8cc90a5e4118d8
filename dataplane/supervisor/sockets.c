/* Opens the media sockets: one UDP port for each worker, the same number for IPv4 and IPv6. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "src/log.h"
#include "supervisor.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

struct listen_addresses {
    bool has_ipv4, has_ipv6;
    bool ipv4_is_implied; /* by ::, so a machine without IPv4 may lack it */
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

uint32_t workers_wanted(const struct settings *settings)
{
    uint32_t ports = settings->media_port_max - settings->media_port_min + 1;
    uint32_t count = settings->workers;
    cpu_set_t cores;

    if (count == 0) {
        count = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? (uint32_t)CPU_COUNT(&cores) : 1;
        if (count > ports) /* each worker needs a port */
            count = ports;
    }
    if (count > WORKERS_MAX)
        count = WORKERS_MAX;
    return count > 0 ? count : 1;
}

/* ---- addresses ---- */

static bool address_add(struct listen_addresses *to, const char *text, char *why)
{
    struct in_addr ipv4;
    struct in6_addr ipv6;

    text = settings_address_plain(text);
    if (inet_pton(AF_INET, text, &ipv4) == 1 && !to->has_ipv4) {
        to->has_ipv4 = true;
        to->ipv4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = ipv4};
        return true;
    }
    if (inet_pton(AF_INET6, text, &ipv6) == 1 && !to->has_ipv6) {
        to->has_ipv6 = true;
        to->ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = ipv6};
        return true;
    }
    snprintf(why, SUPERVISOR_WHY_BYTES,
             "media_listen_ip: \"%.60s\" is no address, or the second one of its IP version: give "
             "one IPv4 address, one IPv6 address, or both with a comma between them",
             text);
    return false;
}

static bool addresses_parse(struct listen_addresses *to, const char *list, char *why)
{
    char copy[SETTING_TEXT_ROOM], *rest = copy, *text;

    memset(to, 0, sizeof(*to));
    snprintf(copy, sizeof(copy), "%s", list);
    while ((text = strsep(&rest, ",")) != NULL) {
        char *end;

        text += strspn(text, " ");
        end = text + strlen(text);
        while (end > text && end[-1] == ' ')
            *--end = '\0';
        if (!address_add(to, text, why))
            return false;
    }
    /* As with other servers, :: alone means all addresses of this machine, IPv4 too. Each family has
     * its own socket. */
    if (to->has_ipv6 && !to->has_ipv4 && IN6_IS_ADDR_UNSPECIFIED(&to->ipv6.sin6_addr)) {
        to->has_ipv4 = to->ipv4_is_implied = true;
        to->ipv4 = (struct sockaddr_in){.sin_family = AF_INET};
    }
    return true;
}

/* ---- one socket ---- */

/* The kernel doubles the value for its own needs, and getsockopt returns the doubled value. */
static void buffer_size(int fd, int force, int plain, const char *sysctl, uint32_t wanted)
{
    int value = (int)wanted, got = 0;
    socklen_t size = sizeof(got);

    if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof(value)) != 0)
        setsockopt(fd, SOL_SOCKET, plain, &value, sizeof(value));
    if (getsockopt(fd, SOL_SOCKET, plain, &got, &size) == 0 && (uint32_t)got / 2 >= wanted)
        return;
    LOG(WARN, "sockets",
        "a media socket has a smaller buffer than configured; bursts of packets will be lost",
        F("wanted", "%u", wanted), F("got", "%d", got / 2),
        F("help", "sysctl -w net.core.%s=%u", sysctl, wanted));
}

static bool option_on(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

/* Datagrams are sent without the path MTU that the kernel has learnt: any host could make it small
 * for everybody by forged ICMP messages. Our datagrams are small (DTLS and video have at most 1200
 * bytes); a path with an even smaller MTU may fragment them. */
static bool options_set(int fd, int family)
{
    bool ok = option_on(fd, SOL_UDP, UDP_GRO, 1);

    if (family == AF_INET)
        return ok && option_on(fd, IPPROTO_IP, IP_PKTINFO, 1) &&
               option_on(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
    return ok && option_on(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
           option_on(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT);
}

/* Returns the socket; -1 with errno. */
static int media_socket(const struct sockaddr *address, socklen_t bytes,
                        const struct settings *settings)
{
    int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

    if (fd < 0)
        return -1;
    if ((address->sa_family == AF_INET || option_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) &&
        bind(fd, address, bytes) == 0 && options_set(fd, address->sa_family)) {
        buffer_size(fd, SO_RCVBUFFORCE, SO_RCVBUF, "rmem_max", settings->socket_buffer_bytes);
        buffer_size(fd, SO_SNDBUFFORCE, SO_SNDBUF, "wmem_max", settings->socket_buffer_bytes);
        return fd;
    }
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* ---- one port, all ports ---- */

/* 1: the sockets are open. 0: the port is in use. -1: it would fail with any port. */
static int port_open(struct listen_addresses *at, uint32_t port, const struct settings *settings,
                     int fds[2], const char **family)
{
    int error;

    fds[0] = fds[1] = -1;
    at->ipv4.sin_port = at->ipv6.sin6_port = htons((uint16_t)port);
    *family = "IPv4";
    if (at->has_ipv4)
        fds[0] = media_socket((struct sockaddr *)&at->ipv4, sizeof(at->ipv4), settings);
    if (at->has_ipv4 && fds[0] < 0 && !(at->ipv4_is_implied && errno == EAFNOSUPPORT))
        return errno == EADDRINUSE ? 0 : -1;
    *family = "IPv6";
    if (at->has_ipv6)
        fds[1] = media_socket((struct sockaddr *)&at->ipv6, sizeof(at->ipv6), settings);
    if (!at->has_ipv6 || fds[1] >= 0)
        return 1;
    error = errno;
    if (fds[0] >= 0)
        close(fds[0]);
    errno = error;
    return error == EADDRINUSE ? 0 : -1;
}

static void explain_error(const struct settings *settings, const char *family, char *why)
{
    const char *help = "";

    if (errno == EADDRNOTAVAIL)
        help = ": this machine has no such address; correct media_listen_ip";
    else if (errno == EAFNOSUPPORT)
        help = ": remove that address from media_listen_ip";
    else if (errno == EMFILE || errno == ENFILE)
        help = ": raise the limit of open files (LimitNOFILE=, ulimit -n)";
    snprintf(why, SUPERVISOR_WHY_BYTES,
             "no media socket can be opened for %s on media_listen_ip %.60s (%s)%s", family,
             settings->media_listen_ip, strerror(errno), help);
}

bool media_sockets_open(const struct settings *settings, uint32_t worker_count,
                        struct descriptors *set, char *why)
{
    uint32_t port = settings->media_port_min, taken = 0, w = 0;
    struct listen_addresses at;
    const char *family;

    if (!addresses_parse(&at, settings->media_listen_ip, why))
        return false;
    for (; w < worker_count && port <= settings->media_port_max; port++) {
        int fds[2], result = port_open(&at, port, settings, fds, &family);

        if (result < 0) {
            explain_error(settings, family, why);
            return false;
        }
        if (result == 0) {
            taken++;
            continue;
        }
        if (fds[0] >= 0)
            descriptors_add(set, fds[0], "udp4.%u", w);
        if (fds[1] >= 0)
            descriptors_add(set, fds[1], "udp6.%u", w);
        w++;
    }
    if (w == worker_count)
        return true;
    snprintf(
        why, SUPERVISOR_WHY_BYTES,
        "no media port is left for worker %u: other programs use %u of the ports %u to %u; "
        "widen media_port_min and media_port_max, ask for fewer workers, or end those programs",
        w, taken, settings->media_port_min, settings->media_port_max);
    return false;
}
