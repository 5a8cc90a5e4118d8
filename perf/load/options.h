/* The command line options of ringcast-load. */
#ifndef RINGCAST_LOAD_OPTIONS_H
#define RINGCAST_LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "src/rows.h" /* enum srtp_profile */
#include "target.h"

#define SERVER_PIDS_MAX 16
#define ENDPOINTS_MAX 262144 /* of one run, including those that have left */

struct options {
    const struct target_type *target;
    const char *url, *json;
    const char *via; /* an IPv4 address; NULL: straight to the server */
    /* clients */
    unsigned rooms;
    unsigned publishers, subscribers; /* of each room; unused with `participants` */
    unsigned large;                   /* subscribers of the first room; 0: as in the other rooms */
    unsigned participants; /* of each room; each publishes and receives all others; 0: unused */
    unsigned idle;         /* endpoints that connect and neither send nor receive media */
    unsigned endpoints_per_member;
    /* streams */
    bool video, audio;
    enum video_codec codec;
    unsigned simulcast; /* encodings of each camera; 0: no simulcast */
    bool by_ssrc;       /* the server knows encodings by SSRC, not by RID */
    enum { SVC_NONE, SVC_KEY, SVC_FULL } svc;
    bool verify, flip_layers;
    unsigned joiners; /* subscribers that join within a second of the measurement */
    unsigned video_kbps, fps, video_bytes, audio_bytes;
    enum srtp_profile profile;
    bool nack, transport_cc;
    /* time */
    unsigned seconds, settle_seconds, ramp_per_second, pending_max;
    double churn_per_second; /* this many clients leave and join again */
    /* faults in per cent, of sent and of received packets */
    double send_loss, send_reorder;
    unsigned seed; /* of which packets these are */
    double receive_loss, receive_duplicate, receive_corrupt, receive_scramble;
    /* measurement */
    unsigned sockets;
    int cpu, server_cpu; /* -1: not pinned */
    int server_pids[SERVER_PIDS_MAX];
    unsigned server_pid_count;
    bool realtime, room_latency, quiet;
};

/* False: the options are wrong, and the reason is on standard error. *help: the help text was
 *        printed. */
bool options_read(struct options *options, int argc, char **argv, bool *help);

#endif
