/* Where a benchmark's datagrams go: loopback sockets, or a device that takes them and drops
 * them. */
#ifndef RINGCAST_BENCH_DEVICE_H
#define RINGCAST_BENCH_DEVICE_H

#include <stdbool.h>

/* Moves the process into a network namespace of its own with 10.9.0.1/16 on a TUN device that drops
 * what is sent ("null NIC": pure cost of sending). With `offloads` it takes segmented sends whole,
 * as a network card with UDP segmentation does. Returns the device's descriptor, which keeps it
 * alive; -1 with a sentence (128 bytes). */
int device_null_open(bool offloads, char *why);
/* Ends or begins dropping before data is looked at. Without it the device's queue holds what is
 * sent (and drops the rest), for which the kernel copies zero-copy data. */
bool device_null_drop(int device, bool drops);

#endif
