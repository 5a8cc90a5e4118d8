/* Between the workers of one forwarder: packets handed over by reference, and notes about
 * producers. What a note asks for is done in replica.c; this file only moves notes and counts who
 * holds a packet.
 *
 *   worker A (has the publisher)                       worker B (has subscribers)
 *   decrypts once into its pool ── lane A→B: note ───► replica of the producer, its own fan-out:
 *   holds the packet until      ◄── finished ───────── reads A's clear bytes, encrypts for its own
 *
 * Shape:   one lane for each ordered pair of workers: a ring of 16-byte notes. The sender writes
 *          `published`, the receiver writes `finished`; so every word has one writer, and there is
 *          no lock. A note that names a packet holds that packet: its owner counts one hold for
 *          each lane and ends it when `finished` has passed the note. The receiver takes the notes
 *          of a lane in order, but may be done with them in another order; `finished` stops at the
 *          oldest note that it still needs. wanted[worker][producer] is the generation of the
 *          producer that a worker has a replica of, 0: it has none. Like a table of `desired` it
 *          says what should be; notes only say what to look at.
 * Units:   positions count notes for ever; a note lies at position % HANDOFF_NOTES.
 * Threads: each worker touches its own ends only. Nobody waits: a full lane takes no note. A packet
 *          is then lost for the subscribers of that worker, and counted. When another note is lost,
 *          the receiver rescans the tables.
 * Memory:  mapped at start; a page takes memory when it is first touched. */
#ifndef RINGCAST_HANDOFF_H
#define RINGCAST_HANDOFF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "packet.h"
#include "src/limits.h"

#define HANDOFF_NOTES 2048         /* notes that one lane holds; a power of two */
#define HANDOFF_NOTES_PER_TURN 256 /* limit of a worker for one lane in one turn */

enum handoff_kind {
    HANDOFF_packet,      /* to a replica: fan this packet out to your consumers */
    HANDOFF_report,      /* to a replica: a struct handoff_report lies in the packet's room */
    HANDOFF_row_changed, /* to a replica: the producer's row changed, or is gone */
    HANDOFF_wanted,    /* to a producer's home: a replica came or went, or its consumers changed */
    HANDOFF_key_frame, /* to a producer's home: a consumer here waits for a key frame */
};

struct handoff_note {
    uint8_t kind; /* enum handoff_kind */
    uint8_t encoding;
    uint16_t packet; /* index in the sender's pool */
    uint32_t producer;
    uint32_t generation;
    struct header_kind typical; /* of HANDOFF_wanted: the header that consumers there get */
};
_Static_assert(sizeof(struct handoff_note) == 16, "handoff_note: hidden padding");
_Static_assert(POOL_PACKETS <= UINT16_MAX, "a note cannot name every packet");

/* What the publisher's sender reports say (RFC 3550 6.4.1); consumers elsewhere need it, too. */
struct handoff_report {
    uint64_t ntp_offset;
    uint32_t owner; /* see struct producer */
    uint64_t sr_ntp[ENCODINGS_MAX];
    uint32_t sr_timestamp[ENCODINGS_MAX];
    bool has_sr[ENCODINGS_MAX];
};
_Static_assert(sizeof(struct handoff_report) <= PACKET_ROOM,
               "the reports do not fit into a packet");

struct handoff_lane {
    _Alignas(64) _Atomic uint64_t published; /* by the sender: notes that the receiver may read */
    _Atomic uint32_t lost;                   /* by the sender: notes that found no room */
    _Alignas(64) _Atomic uint64_t finished;  /* by the receiver: notes that it no longer needs */
    _Alignas(64) struct handoff_note notes[HANDOFF_NOTES];
};

/* Shared by all workers of a process. */
struct handoff {
    uint32_t worker_count;
    struct {
        _Alignas(64) _Atomic bool asleep; /* ring its bell after publishing */
        int bell;                         /* eventfd, -1: none */
        struct packet *pool;
        const struct history *history; /* of what it receives */
    } workers[WORKERS_MAX];
    _Atomic uint32_t wanted[WORKERS_MAX][PRODUCERS_MAX];
    _Atomic uint8_t wanted_encodings[WORKERS_MAX][PRODUCERS_MAX]; /* bit per encoding; set first */
    _Atomic uint8_t
        alive[PRODUCERS_MAX]; /* by the home: bit per encoding that the publisher sends */
    _Atomic uint32_t claims[TRANSPORTS_MAX]; /* worker + 1 that has the transport; 0: none */
    struct handoff_lane lanes[WORKERS_MAX][WORKERS_MAX]; /* [from][to] */
};

/* NULL when there is no address space. */
struct handoff *handoff_new(uint32_t worker_count);
void handoff_delete(struct handoff *handoff);

/* One worker's ends of the two lanes between itself and another. */
struct lane_ends {
    uint64_t sent;       /* notes put into the lane to the other worker, published or not */
    uint64_t taken_back; /* of those: notes whose packets are no longer held for it */
    uint64_t taken;      /* notes taken from the other lane */
    uint64_t seen;       /* what the sender had published when we last looked */
    uint64_t finished;   /* of those, without a gap: notes that this worker no longer needs */
    uint32_t lost_seen;
    uint8_t is_done[HANDOFF_NOTES]; /* notes taken and no longer needed, by place in the ring */
};

/* One worker's ends of all its lanes. */
struct lanes {
    struct turn *turn;
    struct pool *pool;
    const struct history *history;
    struct handoff *shared; /* NULL: there is no other worker */
    uint32_t worker;        /* this one */
    uint32_t worker_count;  /* of this process, this one included; 0: there is no other worker */
    struct lane_ends *ends; /* [worker_count] */
    uint16_t to_publish;    /* bit per worker: notes were sent */
    uint16_t to_report;     /* bit per worker: notes were finished */
};

bool handoff_open(struct lanes *lanes);
void handoff_close(struct lanes *lanes);

/* ---- sending ---- */

/* A note to each of `workers` (bit per worker) about a packet; each that finds room holds the
 * packet once more. Returns how many did. */
unsigned handoff_send_packet(struct lanes *lanes, uint16_t workers, struct handoff_note note,
                             struct packet *packet);
/* A note without a packet. When it finds no room, the receiver rescans. */
void handoff_send(struct lanes *lanes, uint32_t to, struct handoff_note note);
/* Makes all sent notes visible to the other workers, and wakes those that sleep. */
void handoff_publish(struct lanes *lanes);

/* ---- transports ---- */

/* Two workers with one transport would send with one key, each with indexes that the other uses, too
 * (threat D13). So only one worker has the transport at an index. False: another one has it, and
 * has not heard yet that it goes. */
bool handoff_claim_transport(struct lanes *lanes, uint32_t index);
void handoff_release_transport(struct lanes *lanes, uint32_t index);

/* ---- receiving ---- */

/* The next note from a worker; NULL: there is none. The note must be finished, at once or later. */
const struct handoff_note *handoff_take(struct lanes *lanes, uint32_t from, uint64_t *position);
/* The packet that a note names. Its owner does not change its first half (struct packet). */
static inline const struct packet *handoff_packet(const struct lanes *lanes, uint32_t from,
                                                  const struct handoff_note *note)
{
    return &lanes->shared->workers[from].pool[note->packet];
}
/* This worker no longer needs the note, nor its packet. */
void handoff_finish(struct lanes *lanes, uint32_t from, uint64_t position);
/* True when notes from this worker were lost since the last call. */
bool handoff_has_lost(struct lanes *lanes, uint32_t from);

/* ---- both ---- */

/* Releases one hold of the packet. After the last one the packet returns to its pool: a packet of
 * this worker is counted with its verdict; one of another worker is reported to that worker as
 * finished. */
void packet_release(struct lanes *lanes, struct packet *packet);
/* Tells the other workers what was finished here, and takes back the packets that they finished. */
void handoff_take_back(struct lanes *lanes);

/* Before sleeping. False: there are notes, do not sleep. True: from now on everybody who publishes
 * rings this worker's bell. */
bool handoff_may_sleep(struct lanes *lanes);
void handoff_awake(struct lanes *lanes);

#endif
