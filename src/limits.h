/* Fixed limits of the appliance. Files are sparse: memory is paid only for rows in use. */
#ifndef RINGCAST_LIMITS_H
#define RINGCAST_LIMITS_H

#define WORKERS_MAX 16
#define ROOMS_MAX 16384
#define TRANSPORTS_MAX 32768
#define PRODUCERS_MAX 65536
#define CONSUMERS_MAX 1048576

#define ENCODINGS_MAX 4     /* simulcast layers of one producer */
#define CODECS_MAX 4        /* media codecs of one producer, RTX not counted */
#define EXTENSION_ID_MAX 14 /* one-byte header extensions, RFC 8285 4.2 */

#define MID_BYTES_MAX 32         /* as a client may choose it for what it sends */
#define CONSUMER_MID_BYTES_MAX 8 /* as we choose it: "0", "1", … */
#define RID_BYTES_MAX 16
#define CNAME_ROOM 64          /* NUL included */
#define ICE_CREDENTIAL_ROOM 40 /* NUL included; we make 32 characters */
#define FINGERPRINT_BYTES_MAX 64
#define IDENTITY_BYTES_MAX 1024

#define AUDIO_INTERVAL_NS 20000000u /* what one audio packet lasts, mostly */
#define AUDIO_LEVEL_INTERVALS 32    /* 640 ms: the control plane looks every 100 ms */
#define AUDIO_PUBLISH_INTERVALS 5
#define AUDIO_LEVEL_NONE 0xff /* nothing came; a client that says so means digital silence */

#define VERDICT_ROOM 64 /* rows have room for this many verdicts … */
#define COUNTER_ROOM 32 /* … and worker counters */

#define CHANGE_RING_ENTRIES 8192 /* per worker; overflow = rescan, nothing is lost */
#define EVENT_RING_ENTRIES 8192
#define DTLS_RING_ENTRIES 512 /* per worker and direction */
#define DTLS_DATAGRAM_BYTES_MAX 1500

#define DATAGRAM_BYTES_MAX 1500 /* larger datagrams are refused (threats.md D23) */

#endif
