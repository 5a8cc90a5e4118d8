/* A network device for benchmarks that drops what is sent. */
#ifndef RINGCAST_BENCH_DEVICE_H
#define RINGCAST_BENCH_DEVICE_H

#include <stdbool.h>

#define DEVICE_WHY_BYTES 128

/* Moves the process into a network namespace of its own. There a TAP device with the address
 * 10.9.0.1/16 drops what is sent, so that only the cost of sending is measured. With `offloads` it
 * takes segmented sends uncut, as a network card with UDP segmentation does. Returns the descriptor
 * of the device, which exists as long as that is open; -1 with a sentence. */
int device_null_open(bool offloads, char why[DEVICE_WHY_BYTES]);
/* Starts or stops dropping. While the device does not drop, its queue holds what is sent (and drops
 * what does not fit); for that the kernel copies data that was sent without copying. */
bool device_null_drop(int device, bool drops);

#endif
