/* What a run does: the command line, once. */
#ifndef RINGCAST_LOAD_OPTIONS_H
#define RINGCAST_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "src/rows.h" /* enum srtp_profile */
#include "target.h"

#define SERVER_PIDS_MAX 16
#define ENDPOINTS_MAX 262144 /* of one run, those that left included */

struct options {
    const struct target_type *target;
    const char *url, *json;
    /* who */
    unsigned rooms;
    unsigned publishers, subscribers; /* one way; or */
    unsigned large;                   /* subscribers of the first room instead, 0: as the others */
    unsigned participants;            /* everybody publishes and consumes all others */
    unsigned idle;                    /* endpoints that are connected and silent */
    unsigned endpoints_per_member;
    /* what they send */
    bool video, audio;
    unsigned video_kbps, fps, video_bytes, audio_bytes;
    enum srtp_profile profile;
    bool nack, transport_cc;
    /* when */
    unsigned seconds, settle_seconds, ramp_per_second, pending_max;
    double churn_per_second; /* leaves, each followed by a join */
    /* faults, in per cent: in what we send, and in what has come to us */
    double send_loss, send_reorder;
    double receive_loss, receive_duplicate, receive_corrupt, receive_scramble;
    /* measuring */
    unsigned sockets;
    int cpu, server_cpu; /* -1: not pinned */
    int server_pids[SERVER_PIDS_MAX];
    unsigned server_pid_count;
    bool realtime, room_latency, quiet;
};

/* False: a sentence and the usage went to stderr (help: to stdout, *help). */
bool options_read(struct options *options, int argc, char **argv, bool *help);

#endif
