/* The signaling of a server, as the load generator needs it. Each kind of server has one
 * implementation (target_ringcast.c, target_janus.c; the list is in target.c). Media is not part of
 * it: the media thread does ICE, DTLS, SRTP, RTP and RTCP with the values that these functions
 * return.
 *
 *   open ─► room_open ─► join ─► publish ────────► (the generator sends media)
 *                          └───► subscribe ─► start ─► (the generator receives media)
 *                                    └─► subscribe again on the same endpoint: more publications
 *   `drop` ends an endpoint, `leave` a member with all its endpoints, `close` everything.
 *
 * Shape:   a member is one signed-in participant of one room. An endpoint is one ICE + DTLS + SRTP
 *          transport (Ringcast: a transport; Janus: a handle with its PeerConnection). A member may
 *          have many endpoints, so that thousands of endpoints do not need thousands of accounts.
 * Threads: only the signaling thread calls these functions. Each may block for at most
 *          TARGET_REQUEST_TIMEOUT_MS.
 * Memory:  rooms, members and endpoints belong to the target; the generator only keeps the
 *          pointers.
 * Errors:  false or NULL, with one sentence for a human in `why` (TARGET_WHY_BYTES).
 * Roles:   the generator is always the DTLS client. It is the controlling ICE agent unless
 *          target_remote.controls says that the server is. */
#ifndef RINGCAST_LOAD_TARGET_H
#define RINGCAST_LOAD_TARGET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "video_head.h"

#define TARGET_WHY_BYTES 400
#define TARGET_ID_ROOM 96
#define TARGET_REQUEST_TIMEOUT_MS 15000

enum stream_kind { STREAM_AUDIO, STREAM_VIDEO };

/* Payload types of the sent streams, as Chromium 156 numbers them. A server that wants other
 * numbers says so in target_stream. */
enum {
    SENT_OPUS = 111,
    SENT_VP8 = 96,
    SENT_VP8_RTX = 97,
    SENT_VP9 = 98,
    SENT_VP9_RTX = 99,
    SENT_H264 = 103,
    SENT_H264_RTX = 104,
};
enum { /* header extension ids of the sent streams */
       SENT_ID_AUDIO_LEVEL = 1,
       SENT_ID_ABS_SEND_TIME = 2,
       SENT_ID_TRANSPORT_CC = 3,
       SENT_ID_MID = 4,
       SENT_ID_PLAYOUT_DELAY = 5,
       SENT_ID_RID = 10,
       SENT_ID_REPAIRED_RID = 11,
       SENT_ID_VIDEO_ORIENTATION = 13,
       SENT_ID_TOFFSET = 14,
};

struct target_options {
    const char *url;               /* of the server: http://host:port */
    unsigned endpoints_per_member; /* at most, of one member */
    bool nack;                     /* send NACKs and answer them */
    bool transport_cc;             /* negotiate transport-wide congestion control */
    enum video_codec codec;
};

/* The generator's side of one endpoint. Known before the first request about it. */
struct target_local {
    char ufrag[16], password[40];
    char fingerprint[96]; /* sha-256, "AB:CD:…" */
    char cname[24];
    struct sockaddr_in address; /* its only host candidate */
};

/* The server's side. */
struct target_remote {
    struct sockaddr_in address; /* its only host candidate: UDP over IPv4 */
    char ufrag[64], password[128];
    char algorithm[12], fingerprint[200]; /* "sha-256", "AB:CD:…" */
    bool controls; /* the server is the controlling ICE agent; false: the generator is */
};

#define TARGET_ENCODINGS_MAX 4

/* One encoding of a camera. rid "": the server knows it by its SSRC. */
struct target_encoding {
    uint32_t ssrc, rtx_ssrc;
    char rid[8];
};

/* One RTP stream of an endpoint.
 * publish:   the caller fills in kind, codec, mid, ssrc, rtx_ssrc (0: none) and payload types; of
 *            layers also scalability, and of simulcast the encodings, the lowest first. The function fills in `publication` and may change the payload types to those that the
 *            server wants.
 * subscribe: the caller fills in `publication` and kind. The function fills in the rest. */
struct target_stream {
    char publication[TARGET_ID_ROOM]; /* the server's name of the published stream */
    char mid[16];
    uint32_t ssrc, rtx_ssrc;
    uint8_t payload_type, rtx_payload_type;
    uint8_t kind;           /* enum stream_kind */
    uint8_t codec;          /* of video: enum video_codec */
    uint8_t encoding_count; /* 0: one stream, with ssrc and rtx_ssrc */
    struct target_encoding encodings[TARGET_ENCODINGS_MAX];
    const char *scalability; /* the layers of each encoding, such as "L1T3"; NULL: none */
    bool nack;               /* subscribe: the server answers NACKs for it */
    uint8_t transport_cc_id; /* subscribe: id of the transport-cc header extension; 0: none */
};

struct target;
struct target_room;
struct target_member;
struct target_endpoint;

struct target_type {
    const char *name; /* --target NAME */

    struct target *(*open)(const struct target_options *options, char *why);
    void (*close)(struct target *target);

    struct target_room *(*room_open)(struct target *target, char *why);
    void (*room_close)(struct target_room *room);

    struct target_member *(*join)(struct target_room *room, char *why);
    void (*leave)(struct target_member *member);

    /* Makes an endpoint that sends `count` streams (0: none). Then the generator connects it, and
     * sends as soon as it has keys. */
    struct target_endpoint *(*publish)(struct target_member *member,
                                       const struct target_local *local,
                                       struct target_remote *remote, struct target_stream *streams,
                                       unsigned count, char *why);
    /* Lets an endpoint receive `count` streams (0: an idle endpoint). endpoint NULL: makes a new
     * one and fills in `remote` and `streams`; else fills in only `streams`. The streams must not
     * arrive before `start`. */
    struct target_endpoint *(*subscribe)(struct target_member *member,
                                         struct target_endpoint *endpoint,
                                         const struct target_local *local,
                                         struct target_remote *remote,
                                         struct target_stream *streams, unsigned count, char *why);
    /* Lets the streams arrive that were subscribed since the last `start`. */
    bool (*start)(struct target_endpoint *endpoint, char *why);
    void (*drop)(struct target_endpoint *endpoint);
    /* Asks for these layers of a stream that the endpoint receives. NULL: the server has no such
     * request. */
    bool (*prefer)(struct target_endpoint *endpoint, const char *publication, unsigned spatial,
                   unsigned temporal, char *why);

    /* Answers pings and reads events. The signaling thread calls it while it waits. It returns
     * after timeout_ms at the latest. False: a session has ended that is still needed. */
    bool (*service)(struct target *target, int timeout_ms, char *why);
};

/* NULL: there is no target with this name. */
const struct target_type *target_type_find(const char *name);
/* All names, separated by commas, for the help text. */
const char *target_type_names(void);

#endif
