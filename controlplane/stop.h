/* How the process ends.
 *
 *   SIGTERM ─► drain: clients are told and may stay until the deadline ─► stop ─► end of the loop
 *   SIGINT, or a second SIGTERM ─► stop at once        one more signal ─► exit
 *
 * Threads: the loop's. */
#ifndef RINGCAST_CONTROLPLANE_STOP_H
#define RINGCAST_CONTROLPLANE_STOP_H

#include "control.h"

/* Reacts to the signals from now on. */
void stop_open(struct control *control);

#endif
