/* One participant of the probe: an account, a socket, two transports, what it publishes and what it
 * consumes. */
#ifndef RINGCAST_PROBE_PEER_H
#define RINGCAST_PROBE_PEER_H

#include <pthread.h>

#include "rtcp.h"
#include "signaling.h"
#include "transport.h"

/* Subscribing costs two events, and a socket has 60 a minute (signaling.md §2). */
#define CONSUMERS_MAX_PROBE 20

struct peer {
    const char *name;
    struct signaling *signaling;
    GQueue *news; /* producer ids that appeared, char *; under mutex */
    struct transport *send, *recv;
    char room_id[64], room_code[32], recv_id[64];
    cJSON *capabilities;
    struct sender video, audio;
    pthread_mutex_t mutex;             /* news, consumers */
    unsigned consumer_count, left_out; /* left_out: streams that were one too many */
    struct receiver consumers[CONSUMERS_MAX_PROBE];
    uint64_t mark; /* of this process, in every packet */
    double account_ms, socket_ms, join_ms, ice_ms, dtls_ms;
};

/* room: NULL creates one. Each step's time is kept; false with a sentence. */
bool peer_join(struct peer *peer, const struct signaling_options *options, const char *email,
               const char *password, bool register_first, const char *room, char *why);
/* Both transports up to SRTP; publishes video and audio; consumes what is there. */
bool peer_media(struct peer *peer, GMainContext *loop, char *why);
/* Consumes producers that were announced since; false when one could not be. */
bool peer_consume_news(struct peer *peer, char *why);
/* False when the session or a transport ended by itself. */
bool peer_is_well(struct peer *peer, char *why);
/* Sends RTCP about what goes and what came; about once a second. */
void peer_reports(struct peer *peer);
void peer_leave(struct peer *peer);

#endif
