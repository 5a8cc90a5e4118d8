/* A device that drops what is sent, in a network namespace of its own. */
#define _GNU_SOURCE
#include "device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* Root may do this directly, another user in a user namespace. */
static bool namespace_enter(void)
{
    char map[32];
    int fd, bytes = snprintf(map, sizeof(map), "0 %u 1", (unsigned)geteuid());
    bool ok;

    if (unshare(CLONE_NEWNET) == 0)
        return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
    ok = fd >= 0 && write(fd, map, (size_t)bytes) == bytes;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool interface_up(int control, const char *name)
{
    struct ifreq request = {0};

    strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    if (ioctl(control, SIOCGIFFLAGS, &request) != 0)
        return false;
    request.ifr_flags |= IFF_UP;
    return ioctl(control, SIOCSIFFLAGS, &request) == 0;
}

static bool interface_address(int control, const char *name, const char *ip, const char *mask)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct ifreq request = {0};

    strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
    inet_pton(AF_INET, ip, &address.sin_addr);
    memcpy(&request.ifr_addr, &address, sizeof(address));
    if (ioctl(control, SIOCSIFADDR, &request) != 0)
        return false;
    inet_pton(AF_INET, mask, &address.sin_addr);
    memcpy(&request.ifr_netmask, &address, sizeof(address));
    return ioctl(control, SIOCSIFNETMASK, &request) == 0;
}

bool device_null_drop(int device, bool drops)
{
    struct sock_filter take_nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {1, &take_nothing};

    return ioctl(device, drops ? TUNATTACHFILTER : TUNDETACHFILTER, &program) == 0;
}

/* A TAP device, because a filter can be attached to it. With IFF_NOARP it sends to any address
 * without asking for a neighbour. */
static bool device_set_up(int device, int control, bool offloads)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    unsigned long features = TUN_F_CSUM;

    if (offloads)
        features |= TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6;
    strncpy(request.ifr_name, "null0", sizeof(request.ifr_name) - 1);
    if (ioctl(device, TUNSETIFF, &request) != 0 || ioctl(device, TUNSETOFFLOAD, features) != 0 ||
        !device_null_drop(device, true))
        return false;
    if (ioctl(control, SIOCGIFFLAGS, &request) != 0)
        return false;
    request.ifr_flags |= IFF_NOARP;
    return ioctl(control, SIOCSIFFLAGS, &request) == 0 && interface_up(control, "lo") &&
           interface_address(control, "null0", "10.9.0.1", "255.255.0.0") &&
           interface_up(control, "null0");
}

int device_null_open(bool offloads, char why[DEVICE_WHY_BYTES])
{
    int device = -1, control = -1;

    if (!namespace_enter()) {
        snprintf(why, DEVICE_WHY_BYTES, "cannot create a network namespace (%s): run this as root",
                 strerror(errno));
        return -1;
    }
    device = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (device < 0 || control < 0 || !device_set_up(device, control, offloads)) {
        snprintf(why, DEVICE_WHY_BYTES,
                 "cannot create the device that drops (a TAP device with a filter): %s",
                 strerror(errno));
        if (device >= 0)
            close(device);
        device = -1;
    }
    if (control >= 0)
        close(control);
    return device;
}
