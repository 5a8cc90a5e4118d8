/* A worker: one thread that moves the packets of its transports, and what it knows about them.
 * Internal to the forwarder; forwarder.h is its outside.
 *
 *   io_receive ─► classify.c ─► ingress.c ─► queue of its producer ─► fanout.c ─► io_transmit
 *                    │  STUN, DTLS    RTCP │ ─► feedback.c     ▲
 *                    ▼                     ▼                   │
 *                 handshaker_link.c (handshaker)   handoff.c ═► other workers' replicas (replica.c)
 *
 *   reports.c (timers), reconcile.c (tables), publish.c (statistics, events)
 *
 * Threads: everything here belongs to one worker thread.
 * Memory: all mapped at start, paid when touched; nothing is allocated afterwards. */
#ifndef RINGCAST_WORKER_H
#define RINGCAST_WORKER_H

#include "handoff.h"
#include "dataplane/engines/ice.h"
#include "dataplane/io/io.h"
#include "dataplane/engines/map.h"
#include "dataplane/engines/batch_fill.h"
#include "packet.h"
#include "random_pool.h"
#include "resume.h"
#include "transmit.h"
#include "turn.h"
#include "dataplane/engines/rtp.h"
#include "src/region.h"
#include "src/verdicts.h"
#include "dataplane/engines/srtp/srtp.h"
#include "dataplane/engines/transport_cc.h"
#include "dataplane/engines/wheel.h"

#define STREAMS_MAX 32           /* SSRCs one transport may send (threats.md D15) */
#define CHANGES_PER_TURN 64      /* table rows applied between two bursts of packets */
#define RESCAN_ROWS_PER_TURN 512 /* rows looked at per turn of a full scan */
#define KEY_FRAME_INTERVAL_NS (1 * 1000000000ull) /* per encoding (threats.md D19) */
#define KEY_FRAME_RETRY_NS (50 * 1000000ull)      /* while the publisher cannot be told */
#define REPORT_INTERVAL_NS (1 * 1000000000ull)    /* RTCP reports of an active transport */
#define PUBLISH_INTERVAL_NS (500 * 1000000ull)    /* statistics rows of an active transport */
#define IDLE_INTERVAL_NS (2500 * 1000000ull)      /* look at a silent transport */
/* Sending in one turn, about nanoseconds: for producers that have just received something, and for
 * those that were not finished before. Together about a millisecond, what a large room costs a small
 * one on the same worker at most. */
#define FAN_OUT_FRESH 600000
#define FAN_OUT_LATE 300000
#define BACKLOG_NS_MAX (100 * 1000000ull) /* a producer's packets that wait longer are too many */
#define RTCP_PER_SECOND_MAX 100           /* per transport (threats.md D18) */
#define STUN_PER_SECOND_MAX 50            /* answered, per transport */

struct worker;
struct producer;
struct consumer;

/* What one SSRC of a client belongs to, and its SRTP state. A slot without producer whose srtp has
 * started remembers a stream whose producer was closed: should the SSRC come back, nothing of its
 * past can be replayed. */
struct stream {
    struct srtp_stream srtp;
    struct producer *producer;
    uint32_t ssrc;
    uint8_t encoding;
    bool is_rtx;
};

/* A stream whose SSRC was seen in the clear header of this turn only; it moves to a slot of its
 * transport when one of its packets proves authentic, so strangers can take no slot (D15). */
struct unproven_stream {
    struct transport *transport;
    struct stream *adopted; /* the slot it got */
    struct stream stream;
};

/* What sending media to a transport touches, and nothing else: the fan-out walks thousands of these.
 * It follows the transport's ICE agent and keys (egress_update). */
struct egress {
    struct path path;
    bool open;  /* there are keys and a selected path */
    bool dirty; /* sent something since statistics were published */
    uint8_t tag_bytes;
    struct consumer *due_first, *due_last; /* this turn: who gets packets here */
    struct egress *next_touched;
    uint64_t packets, bytes; /* RTP */
    struct srtp_key key;
};

/* What only a transport that sends to us needs. */
struct inbound {
    struct transport_cc congestion;
    struct stream streams[STREAMS_MAX];
};

/* What a client's checks must name and be signed with. */
struct ice_credentials {
    uint8_t ufrag_bytes; /* 0: none */
    char ufrag[ICE_CREDENTIAL_ROOM];
    char password[ICE_CREDENTIAL_ROOM];
};

struct transport {
    uint32_t generation; /* 0: free */
    uint32_t index;
    uint8_t id[16];
    uint8_t direction;
    uint8_t dtls_role;
    uint8_t dtls_state;
    uint8_t dtls_failure;
    uint8_t profile;         /* enum srtp_profile; 0: no keys */
    bool validated_notified; /* the handshaker knows that ICE validated it */
    /* extension ids of what this client sends, 0: none */
    uint8_t mid_id, rid_id, repaired_rid_id, transport_cc_id;
    struct ice_credentials credentials; /* as the row says */
    struct ice_credentials outgoing;    /* before an ICE restart, until a check with the new ones */
    struct ice ice;
    struct path mapped[ICE_PATHS_MAX]; /* what the worker's path map holds for this transport */
    struct timer timer, feedback_timer;
    uint64_t next_report_ns, next_publish_ns;
    uint64_t connected_ns;
    uint64_t ntp_offset; /* our NTP minus the client's, 32.32; valid when has_ntp_offset */
    bool has_ntp_offset;
    bool dirty; /* statistics changed since published */
    uint32_t rate_window_s, rtcp_in_window, stun_in_window;

    uint64_t bytes_received, bytes_sent; /* bytes_sent: but for RTP, which egress counts */
    uint64_t rtp_packets_received, rtp_bytes_received;

    struct egress *egress; /* at the same index */
    struct inbound *inbound;
    bool has_published; /* inbound was written to */
    struct producer *producers;
    struct consumer *consumers;
    uint32_t consumer_count;
    uint32_t rtcp_index, rtcp_index_reserved;
    uint32_t report_ssrc; /* we send receiver reports as */
    struct srtcp_window rtcp_window;
    struct srtp_key receive_key;
};

/* Reception statistics of one encoding (RFC 3550 A.1, A.3, A.8). */
struct encoding {
    uint32_t ssrc, rtx_ssrc; /* as declared; learnt ones are in transport.streams */
    uint32_t seen_ssrc;      /* the one that sends now */
    bool started;
    uint64_t first_index, highest_index; /* SRTP indexes */
    uint64_t packets, bytes, rtx_packets;
    uint64_t expected_prior, received_prior;
    uint32_t jitter; /* scaled by 16, time-stamp units */
    uint32_t transit;
    uint32_t fraction_lost;
    uint32_t pli_sent;
    uint64_t last_packet_ns;
    bool has_sr;
    uint64_t sr_ntp, sr_arrival_ns; /* the client's clock; our monotonic one */
    uint32_t sr_timestamp;
    uint64_t key_frame_asked_ns;
    bool key_frame_wanted;
};

/* One stream of a publisher. It lives on the worker of its transport, its home; a worker that has
 * consumers of it but not its transport has a replica: the same struct, fed by handoff.c. */
struct producer {
    uint32_t generation;
    uint32_t index;
    struct transport *transport; /* NULL: a replica, or about to go */
    bool is_replica;
    bool is_leaving;          /* its consumers are taken off it, some each turn */
    uint8_t home;             /* worker */
    uint16_t replica_workers; /* at home: bit per worker that has a replica */
    uint64_t ntp_offset;      /* our NTP minus the client's, 32.32 */
    struct producer *next;    /* of the transport */
    struct consumer *consumers;
    uint32_t consumer_count;
    uint8_t kind, type, paused;
    uint8_t codec_count, encoding_count, mid_bytes;
    struct timer timer; /* key-frame requests held back by the throttle */
    struct encoding encodings[ENCODINGS_MAX];
    uint8_t router_id[16];
    uint8_t codec[CODECS_MAX], payload_type[CODECS_MAX], mapped_payload_type[CODECS_MAX];
    uint8_t rtx_payload_type[CODECS_MAX];
    uint32_t clock_rate[CODECS_MAX];
    char mid[MID_BYTES_MAX];
    char rid[ENCODINGS_MAX][RID_BYTES_MAX];
    char cname[CNAME_ROOM];
    uint8_t level_id; /* of what this client says about loudness (RFC 6464), 0: nothing */
    uint32_t newest_interval, level_published; /* the newest one, here and in its row */
    uint8_t levels[AUDIO_LEVEL_INTERVALS];
    struct header_kind typical;  /* what its latest consumer gets */
    struct packet_queue job;     /* packets that the fan-out is at, */
    uint32_t job_cost;           /* what they cost for one consumer, */
    struct consumer *cursor;     /* and who gets them next; NULL: all were served */
    struct packet_queue waiting; /* what came since */
    bool is_listed;
    struct producer *next_listed; /* of worker.fresh or worker.late[] */
    struct producer *next_leaving;
};

/* Producers with packets to fan out, first come first served. */
struct producer_list {
    struct producer *first, *last;
};

struct consumer {
    uint32_t generation;
    uint32_t index;
    struct transport *transport;
    struct producer *producer;
    struct consumer *next_of_producer, **previous_of_producer;
    struct consumer *next_of_transport, **previous_of_transport;
    struct egress *egress; /* of its transport */
    struct consumer *next_due;
    uint32_t ssrc, rtx_ssrc;
    struct header_kind header;
    uint8_t kind, paused;
    uint8_t preferred_spatial_layer;
    uint8_t encoding;  /* which one is being forwarded */
    uint8_t target;    /* which one it should be; taken at that one's next key frame */
    bool synchronised; /* offsets hold; false: wait for a key frame (video) */
    bool has_sent;
    char mid[CONSUMER_MID_BYTES_MAX];
    uint64_t index_offset; /* SRTP index out = in + offset (modulo 2^64) */
    uint64_t floor_in;     /* in-indexes below belong to before the last synchronisation */
    uint64_t highest_out;
    uint64_t index_reserved;
    uint32_t timestamp_offset, last_timestamp;
    uint64_t last_sent_ns;
    uint64_t packets, bytes;
    uint32_t payload_bytes; /* of SR: sender's octet count, wraps */
    int32_t lost;
    uint32_t fraction_lost, jitter, round_trip_us;
    uint32_t pli_received, fir_received, nack_received;
    uint8_t fir_sequence;
    bool fir_seen;
};

/* A worker's objects, indexed like the tables. Every worker maps its own whole set: an index that
 * moves from one worker to another is then never touched by two threads. */
struct objects {
    struct transport *transports;
    struct egress *egresses;  /* each transport's */
    struct inbound *inbounds; /* each transport's */
    struct producer *producers;
    struct consumer *consumers;
};

struct worker_config {
    uint32_t index;
    const struct region *desired, *actual, *keys, *resume;
    const struct io_backend *backend;
    struct io *io;
    bool backend_is_measured;          /* `auto` chose it for its cost */
    int bell_control, bell_handshaker; /* eventfds, -1: none (tests) */
    struct handoff *handoff;           /* to the other workers; NULL: there are none */
    uint64_t consent_ns;
    uint64_t fill_ns_max; /* see engines/batch_fill.h */
    uint16_t udp_port;
    bool has_ipv4, has_ipv6;
    uint64_t (*monotonic_ns)(void); /* NULL: the real clocks */
    uint64_t (*wall_ns)(void);
};

struct worker {
    struct worker_config config;
    struct io *io;
    const struct io_backend *backend;
    struct turn turn;
    struct objects objects;
    uint64_t secret; /* of map_hash */
    struct random_pool random;
    struct transmit transmit;
    struct resume resume;
    struct srtp_engine *srtp;
    struct map paths, ufrags, ssrcs; /* → transport, transport, consumer index */
    struct wheel wheel;

    struct ring changes, events, to_handshaker, from_handshaker;
    bool ring_control, ring_handshaker; /* doorbells to ring at the end of the turn */
    struct {
        bool active;
        enum table_id table;
        uint32_t row;
    } rescan;

    size_t datagram_count;
    struct io_datagram datagrams[IO_BATCH];
    uint8_t datagram_verdict[IO_BATCH];
    size_t unprotect_count;
    struct srtp_unprotect_job unprotect[IO_BATCH];
    struct rtp_view unprotect_view[IO_BATCH];
    uint32_t unprotect_position[IO_BATCH];
    struct transport *unprotect_transport[IO_BATCH];
    struct stream *unprotect_stream[IO_BATCH];
    struct unproven_stream *unprotect_unproven[IO_BATCH]; /* NULL: the stream is known */
    struct packet *unprotect_packet[IO_BATCH];            /* NULL: nobody wants it, in place */
    size_t unproven_count;
    struct unproven_stream unproven[IO_BATCH];

    struct handoff_ends *ends; /* [peer_count] */
    uint32_t peer_count;       /* workers of this process, this one included; 0: no handoff */
    uint16_t to_publish, to_report_finished; /* bit per worker */
    struct producer *leaving;

    struct pool pool;
    struct producer_list fresh, late[MEDIA_KIND_video + 1]; /* not begun; begun, by kind */
    struct egress *touched_first, *touched_last;
    uint32_t transport_count, producer_count, consumer_count;
    uint64_t busy_ns, next_publish_ns;
    struct batch_fill batch_fill;
    _Atomic bool stop;
};

/* ---- worker.c ---- */

/* Maps what it needs and attaches to rings; false with a sentence. Call on the worker's thread. */
bool worker_open(struct worker *worker, const struct worker_config *config, char *why /* 192 */);
void worker_close(struct worker *worker);
/* One turn: receive → classify → … → transmit → housekeeping. False when there was nothing to do and
 * nothing is left to do. */
bool worker_turn(struct worker *worker);
/* Turns and sleeps until worker->stop. */
void worker_run(struct worker *worker);
/* The transport of a handle, NULL when this worker has it not (any more). */
struct transport *worker_transport(struct worker *worker, handle_word handle);

static inline void verdict_set(struct worker *w, uint32_t position, enum verdict verdict)
{
    w->datagram_verdict[position] = (uint8_t)verdict;
}

/* ---- classify.c: kinds, gates, STUN ---- */
void classify(struct worker *w);
/* Counts within a second of this transport; false over the limit. Of authentic packets only: who
 * forges a client's address must not use up what is the client's. */
bool within_rate(struct worker *w, struct transport *t, uint32_t *count, uint32_t limit);
/* Makes the path map and the transport's egress say what its ICE agent says. */
void paths_update(struct worker *w, struct transport *t);
/* Makes the transport's egress say what its ICE agent and keys say. */
void egress_update(struct transport *t);

/* ---- credentials.c: ICE user fragments and passwords, restarts ---- */
/* Takes those of the row: a new transport's first ones, or an ICE restart. False when they are not
 * usable; then nothing changed. */
bool credentials_take(struct worker *w, struct transport *t, const struct transport_row *row);
void credentials_forget(struct worker *w, struct transport *t);
/* The transport of a check, and which of its credentials the check names; NULL for strangers. */
struct transport *credentials_find(struct worker *w, const struct stun_request *request,
                                   const struct ice_credentials **named);
/* An authentic check named these: the first with new ones completes an ICE restart. */
void credentials_proven(struct worker *w, struct transport *t, const struct ice_credentials *named);

/* ---- ingress.c: SRTP → producers ---- */
void ingress_add(struct worker *w, uint32_t position, struct transport *t);
void ingress_run(struct worker *w);

/* ---- audio_levels.c: how loud audio producers are ---- */
/* A new producer: whether it tells its level, and that nothing was heard of it yet. */
void audio_levels_begin(struct worker *w, struct producer *p);
/* An authentic packet said so. */
void audio_level_note(struct worker *w, struct producer *p, uint8_t level);

/* ---- fanout.c: producers → consumers ---- */
/* Takes an authentic packet, whose hold is counted. False when the producer has too many waiting already. */
bool fan_out_queue(struct worker *w, struct producer *p, struct packet *packet);
/* The header of this packet for consumers of a kind, built for the first of them. */
const struct rtp_template *packet_header_build(struct packet *packet, const struct producer *p,
                                               const struct header_kind *kind);
static inline const struct rtp_template *
packet_header_for(struct packet *packet, const struct producer *p, const struct header_kind *kind)
{
    const struct packet_header *header = &packet->headers[kind->mid_bytes % PACKET_HEADERS];

    return header->template.size && header_kind_equal(&header->kind, kind)
               ? &header->template
               : packet_header_build(packet, p, kind);
}
/* What a turn's budget allows of what is queued. */
void fan_out(struct worker *w);
static inline bool fan_out_has_work(const struct worker *w)
{
    return w->fresh.first || w->late[MEDIA_KIND_audio].first || w->late[MEDIA_KIND_video].first;
}
/* Gives back what is queued of a producer that goes. */
void fan_out_forget(struct worker *w, struct producer *p);
/* Simulcast: aims every consumer of this transport at the highest encoding that is alive and
 * preferred. */
void targets_choose(struct worker *w, struct transport *t);

/* ---- padding.c ---- */
/* Pads packets of one stream that came together, so that they leave together. Before others see them. */
void padding_merge(const struct producer *p, struct packet *const *packets, unsigned count);

/* One hold less; with the last one it gets its verdict and goes back. */
void packet_release(struct worker *w, struct packet *packet);

/* ---- replica.c: producers of other workers that consumers here take from ---- */
/* The producer of a handle, a replica made on demand; NULL when its row does not stand (now). */
struct producer *producer_or_replica(struct worker *w, handle_word handle);
/* Tells its home what of it is wanted here; that nothing is any more. */
void replica_want(struct worker *w, const struct producer *p);
void replica_unwant(struct worker *w, const struct producer *p);
/* A replica without consumers goes. */
void replica_drop_unused(struct worker *w, struct producer *p);
/* Statistics of a packet that its home has handed over. */
void replica_count(struct worker *w, struct producer *p, const struct packet *packet);
/* At home: which workers want p; new ones are told what is. */
void replica_workers_update(struct worker *w, struct producer *p);
void replica_workers_want(struct worker *w, struct producer *p, const struct header_kind *typical);
/* At home: its row changed. */
void replica_workers_row_changed(struct worker *w, const struct producer *p);

/* ---- feedback.c: RTCP from clients ---- */
void feedback_receive(struct worker *w, uint32_t position, struct transport *t);
/* A consumer wants a key frame of what it forwards. */
void key_frame_request(struct worker *w, struct producer *p, uint8_t encoding);
void key_frame_timer(struct worker *w, struct producer *p);

/* ---- reports.c: RTCP to clients ---- */
void reports_send(struct worker *w, struct transport *t);
/* Transport-wide congestion control: when a client's packets came. */
void congestion_send(struct worker *w, struct transport *t);
void bye_send(struct worker *w, struct consumer *c);
/* Protects and queues one clear compound (room for SRTP_TAIL_BYTES_MAX behind it). */
void rtcp_send(struct worker *w, struct transport *t, uint8_t *compound, size_t bytes);

/* ---- handshaker_link.c: the handshaker ---- */
void handshaker_pass(struct worker *w, uint32_t position, struct transport *t);
/* False when the ring is full. */
bool handshaker_notify(struct worker *w, struct transport *t, enum dtls_note note);
void handshaker_receive(struct worker *w);

/* ---- reconcile.c: table changes ---- */
void reconcile_changes(struct worker *w);
void rescan_start(struct worker *w);
/* What a producer's row says, into an empty object. */
void producer_fill(struct producer *p, uint32_t index, const struct producer_row *row);
void producer_change(struct worker *w, struct producer *p, const struct producer_row *row);
/* Takes it out of the way of packets at once, its consumers off it in slices. */
void producer_remove(struct worker *w, struct producer *p);
/* All of it now: its index is taken anew. */
void producer_replace(struct worker *w, struct producer *p);
/* Makes the object at this index say what its row says. */
void producer_look(struct worker *w, uint32_t index);
void transport_keys(struct worker *w, struct transport *t);

/* ---- publish.c: statistics and events ---- */
void publish_transport(struct worker *w, struct transport *t);
void publish_audio_levels(struct worker *w, struct producer *p);
void publish_streams(struct worker *w, struct transport *t);
void publish_gone(struct worker *w, enum table_id table, uint32_t index, uint32_t generation);
void publish_worker(struct worker *w);
void event_publish(struct worker *w, enum table_id table, uint32_t index, uint32_t generation);

#endif
