/* Fixed limits. Shared memory files are sparse: a table costs memory only for the rows in use.
 *
 * Units: the name ends in it; a name without a unit is a count. ROOM is the size of a text field in
 * bytes, with its NUL; VERDICT_ROOM and COUNTER_ROOM are counts. A new
 * limit changes the layout of the regions: all processes must be of one build. */
#ifndef RINGCAST_LIMITS_H
#define RINGCAST_LIMITS_H

#define WORKERS_MAX 16
#define ROOMS_MAX 16384
#define TRANSPORTS_MAX 32768
#define PRODUCERS_MAX 65536
#define CONSUMERS_MAX 1048576

#define ENCODINGS_MAX 4 /* simulcast layers of one producer */
/* Room for the layers of one producer in a row: spatial and temporal layers above the fourth are
 * counted as the fourth. */
#define ROW_LAYERS 16
#define ROW_LAYER(spatial, temporal) \
    (((spatial) < 3 ? (spatial) : 3) * 4 + ((temporal) < 3 ? (temporal) : 3))
#define LAYER_NONE 255 /* in a row: no layer; as the preferred one: the best */
#define SCORE_MAX 10
#define ORIENTATION_NONE 255
#define CODECS_MAX 4 /* media codecs of one producer, RTX not counted */
#define EXTENSION_ID_MAX \
    255               /* that a client may give, RFC 8285 4.3; above 14 in two-byte headers */
#define EXTENSIONS 16 /* room for enum extension_id, our own ids */

#define MID_BYTES_MAX 32         /* MID of a producer; the client chooses it */
#define CONSUMER_MID_BYTES_MAX 8 /* MID of a consumer; Ringcast chooses "0", "1", … */
#define RID_BYTES_MAX 32         /* with a NUL */
#define CNAME_ROOM 64
#define ICE_CREDENTIAL_ROOM 40 /* Ringcast makes 32 characters */
#define FINGERPRINT_BYTES_MAX 64
#define IDENTITY_BYTES_MAX 1024 /* a certificate or a private key, DER */

#define AUDIO_INTERVAL_NS 20000000u /* most audio packets hold 20 ms */
#define AUDIO_LEVEL_INTERVALS 32    /* 640 ms; the control plane reads them every 100 ms */
#define AUDIO_PUBLISH_INTERVALS 5
#define AUDIO_LEVEL_NONE 0xff /* no packet came; from a client this byte means digital silence */

#define VERDICT_ROOM 64 /* verdicts that a row can hold */
#define COUNTER_ROOM 48 /* worker counters that a row can hold */

/* Entries of one ring of one worker. When a change or event ring overflows, its reader scans the
 * tables instead; nothing is lost. */
#define CHANGE_RING_ENTRIES 8192
#define EVENT_RING_ENTRIES 8192
#define DTLS_RING_ENTRIES 512 /* in each direction */
#define DTLS_DATAGRAM_BYTES_MAX 1500

/* Files that a process must be allowed to open: regions, sockets and doorbells of 16 workers, the
 * database, and some clients. With fewer nothing starts. */
#define OPEN_FILES_MIN 256

#define DATAGRAM_BYTES_MAX 1500 /* a longer received datagram is dropped (threat D23) */
/* A sent datagram: the longest received one and the bytes that rewriting adds. A datagram that is
 * longer than the MTU of the path leaves in IP fragments, as it arrived. */
#define DATAGRAM_SENT_BYTES_MAX 1696

#endif
