/* One participant of the probe: an account, a signaling session and two transports. It publishes
 * video and audio, and consumes the streams of others.
 *
 * Errors: false, with one sentence in `why` (PROBE_WHY_BYTES). */
#ifndef RINGCAST_PROBE_PEER_H
#define RINGCAST_PROBE_PEER_H

#include <pthread.h>

#include "rtcp.h"
#include "signaling.h"
#include "transport.h"

/* A subscription takes two requests, and the server allows 60 a minute. */
#define PEER_CONSUMERS_MAX 20

struct peer {
    const char *name;
    struct signaling *signaling;
    GQueue *new_producers; /* ids (char *) of producers that are not consumed yet */
    struct transport *send, *recv;
    char room_id[64], room_code[32], recv_id[64];
    cJSON *capabilities;
    struct sender video, audio;
    pthread_mutex_t mutex;             /* protects new_producers and consumers */
    unsigned consumer_count, left_out; /* left_out: streams beyond PEER_CONSUMERS_MAX */
    struct receiver consumers[PEER_CONSUMERS_MAX];
    uint64_t run; /* see sender_frame */
    double account_ms, socket_ms, join_ms, ice_ms, dtls_ms;
};

/* Signs in and joins `room`; NULL: creates one. It notes how long each step takes. */
bool peer_join(struct peer *peer, const struct signaling_options *options, const char *email,
               const char *password, bool register_first, const char *room, char *why);
/* Connects both transports, publishes video and audio, and consumes what others publish. */
bool peer_start_media(struct peer *peer, GMainContext *loop, char *why);
/* Consumes the producers that the server has announced and that are not consumed yet. */
bool peer_consume_new(struct peer *peer, char *why);
/* False: the session or a transport has ended. */
bool peer_is_alive(struct peer *peer, char *why);
/* Sends RTCP reports about all streams. Call it once a second. */
void peer_send_reports(struct peer *peer);
void peer_leave(struct peer *peer);

#endif
