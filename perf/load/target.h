/* What the load generator needs of a server's signaling. One implementation per kind of server
 * (target_ringcast.c; others join the list in target.c). Media is the generator's own affair: ICE,
 * DTLS, SRTP, RTP and RTCP happen elsewhere, with what these calls return.
 *
 *   open ─► room_open ─► join ─► publish ────────► (media flows to the server)
 *                          └───► subscribe ─► start ─► (media flows to us)
 *                                    └─► subscribe again on the same endpoint: more publications
 *   drop ends an endpoint, leave a member with all its endpoints, close everything.
 *
 * Shape:   a member is one signed-in participant of one room (a Socket.IO session, a Janus session);
 *          an endpoint is one ICE + DTLS + SRTP transport (Ringcast: a transport, Janus: a handle with
 *          its PeerConnection). A member may hold many endpoints, so that thousands of them do not
 *          cost thousands of accounts.
 * Threads: every call comes from one thread, the signaling thread, and may block up to the target's
 *          own time-out (CALL_TIMEOUT_MS). Nothing here is called from the media thread.
 * Memory:  rooms, members and endpoints belong to the target; the pointers are handles for the
 *          generator. What a call fills in belongs to the caller.
 * Errors:  false or NULL with one sentence for a human in `why` (TARGET_WHY_BYTES).
 * Roles:   we are always the DTLS client (an SDP adapter offers or answers a=setup:active). We are
 *          the controlling ICE agent unless target_remote.controls says that the server is. */
#ifndef RINGCAST_LOAD_TARGET_H
#define RINGCAST_LOAD_TARGET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define TARGET_WHY_BYTES 400
#define TARGET_ID_ROOM 96
#define TARGET_REQUEST_TIMEOUT_MS 15000

enum stream_kind { STREAM_AUDIO, STREAM_VIDEO };

/* What we send and how, as Chromium 156 numbers it (captures/produce-av-*.json). An SDP adapter offers
 * exactly these; a server that answers with other payload types says so in target_stream. */
enum {
    SENT_OPUS = 111,
    SENT_VP8 = 96,
    SENT_VP8_RTX = 97,
};
enum { /* header extension ids of what we send */
       SENT_ID_AUDIO_LEVEL = 1,
       SENT_ID_ABS_SEND_TIME = 2,
       SENT_ID_TRANSPORT_CC = 3,
       SENT_ID_MID = 4,
       SENT_ID_PLAYOUT_DELAY = 5,
       SENT_ID_VIDEO_ORIENTATION = 13,
       SENT_ID_TOFFSET = 14,
};

struct target_options {
    const char *url;               /* of the server's signaling: http://host:port */
    unsigned endpoints_per_member; /* never more than this many are asked of one member */
    bool nack;                     /* ask for NACK and RTX where they are negotiated */
    bool transport_cc;             /* ask for transport-wide congestion control */
};

/* Our end of one endpoint, made by the generator before it signals. */
struct target_local {
    char ufrag[16], password[40];
    char fingerprint[96]; /* sha-256, "AB:CD:…" */
    char cname[24];
    struct sockaddr_in address; /* where it will send from: its one host candidate */
};

/* The server's end. */
struct target_remote {
    struct sockaddr_in address; /* one host candidate, UDP over IPv4 */
    char ufrag[64], password[128];
    char algorithm[12], fingerprint[200]; /* "sha-256", "AB:CD:…" */
    bool controls; /* the server is a full ICE agent and controlling: we answer and wait */
};

/* One RTP stream of an endpoint.
 * publish:   kind, mid, ssrc, rtx_ssrc (0: none) and payload types are given; the call fills in
 *            `publication` and may change payload types to the ones that the server wants.
 * subscribe: `publication` and kind are given; the call fills in the rest: what will arrive. */
struct target_stream {
    char publication[TARGET_ID_ROOM]; /* the server's name of what was published */
    char mid[16];
    uint32_t ssrc, rtx_ssrc;
    uint8_t payload_type, rtx_payload_type;
    uint8_t kind;            /* enum stream_kind */
    uint8_t transport_cc_id; /* subscribe: header extension to answer with transport-cc; 0: none */
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

    /* One new endpoint that sends `count` streams (0: it sends nothing). Afterwards the generator
     * connects it and sends as soon as it has keys. */
    struct target_endpoint *(*publish)(struct target_member *member,
                                       const struct target_local *local,
                                       struct target_remote *remote, struct target_stream *streams,
                                       unsigned count, char *why);
    /* One endpoint that will receive `count` streams (0: an idle one). endpoint NULL: a new one,
     * remote is filled in; else: added to that one, and only `streams` are filled in. Nothing may
     * arrive before `start`. */
    struct target_endpoint *(*subscribe)(struct target_member *member,
                                         struct target_endpoint *endpoint,
                                         const struct target_local *local,
                                         struct target_remote *remote,
                                         struct target_stream *streams, unsigned count, char *why);
    /* What was subscribed since the last start may flow. */
    bool (*start)(struct target_endpoint *endpoint, char *why);
    void (*drop)(struct target_endpoint *endpoint);

    /* Called whenever the signaling thread has nothing else to do: answers pings, reads events;
     * returns after timeout_ms at the latest. False: a session that is still wanted was lost. */
    bool (*service)(struct target *target, int timeout_ms, char *why);
};

/* By --target NAME; NULL: no such. */
const struct target_type *target_type_find(const char *name);
/* All names, comma separated, for the usage text. */
const char *target_type_names(void);

#endif
