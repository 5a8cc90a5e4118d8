/* A run of the probe: its options, and the one or two participants. */
#ifndef RINGCAST_PROBE_PROBE_H
#define RINGCAST_PROBE_PROBE_H

#include <glib.h>
#include <stdbool.h>

#include "peer.h"
#include "signaling.h"

struct options {
    struct signaling_options signaling;
    const char *email, *password, *room;
    unsigned seconds, video_kbps;
    double loss_percent_max;
    bool json;
};

struct probe {
    struct options options;
    unsigned peer_count; /* 2, or 1 with --room */
    struct peer peers[2];
    GMainContext *loop;
    _Atomic bool sending_ends, loop_ends;
    bool interrupted; /* Ctrl-C ended the call early */
};

#endif
