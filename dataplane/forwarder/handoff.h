/* Between the workers of one forwarder: packets handed over by reference, and notes about producers.
 *
 *   worker A (has the publisher)                     worker B (has subscribers)
 *   decrypts once into its pool ── lane A→B: note ──► replica of the producer, its own fan-out,
 *   holds the packet until     ◄── consumed ───────── reads A's clear bytes, protects for its own
 *
 * Shape: one lane per ordered pair of workers: a ring of 16-byte notes, `published` written by the one
 *        end, `consumed` by the other, so every word has one writer and nothing is locked. A note that
 *        names a packet keeps that packet: its owner counts one hold a lane and takes it back when
 *        `consumed` has passed the note. Notes of a lane are taken in order, but may be finished out of
 *        order: consumed stands before the oldest unfinished one.
 *        wanted[worker][producer] says which generation of a producer a worker has a replica of, 0:
 *        none: like a table of desired, it says what should be; notes only say where to look.
 * Units: positions count notes for ever; a place in the ring is position % HANDOFF_NOTES.
 * Threads: each worker touches its own ends only. Nobody waits: a full lane refuses; a packet is then
 *          lost for that worker's subscribers and counted, a lost note makes the other end rescan.
 * Memory: mapped at start, paid when touched. */
#ifndef RINGCAST_HANDOFF_H
#define RINGCAST_HANDOFF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "packet.h"
#include "src/limits.h"

#define HANDOFF_NOTES 2048 /* of one lane; a power of two */

enum handoff_kind {
    HANDOFF_packet,    /* of this producer: fan it out to your consumers */
    HANDOFF_report,    /* struct handoff_report lies in the packet's room */
    HANDOFF_producer,  /* to a replica: its row changed, or is not there any more */
    HANDOFF_wanted,    /* to the home of a producer: what I want of it changed */
    HANDOFF_key_frame, /* to the home of a producer: a consumer here waits for one */
};

struct handoff_note {
    uint8_t kind; /* enum handoff_kind */
    uint8_t encoding;
    uint16_t packet; /* index in the sender's pool */
    uint32_t producer;
    uint32_t generation;
    struct header_kind typical; /* wanted: what consumers there get */
};
_Static_assert(sizeof(struct handoff_note) == 16, "handoff_note: hidden padding");
_Static_assert(POOL_PACKETS <= UINT16_MAX, "a note cannot name every packet");

/* What sender reports of the publisher say (RFC 3550 6.4.1), for the reports to consumers. */
struct handoff_report {
    uint64_t ntp_offset;
    uint64_t sr_ntp[ENCODINGS_MAX];
    uint32_t sr_timestamp[ENCODINGS_MAX];
    bool has_sr[ENCODINGS_MAX];
};
_Static_assert(sizeof(struct handoff_report) <= PACKET_ROOM, "reports outgrew a packet");

struct handoff_lane {
    _Alignas(64) _Atomic uint64_t published; /* by the sender */
    _Atomic uint32_t lost;                   /* notes that found no place */
    _Alignas(64) _Atomic uint64_t consumed;  /* by the receiver */
    _Alignas(64) struct handoff_note notes[HANDOFF_NOTES];
};

struct handoff {
    uint32_t worker_count;
    struct {
        _Alignas(64) _Atomic bool asleep; /* ring its bell after publishing */
        int bell;                         /* eventfd, -1: none */
        struct packet *pool;
    } workers[WORKERS_MAX];
    _Atomic uint32_t wanted[WORKERS_MAX][PRODUCERS_MAX];
    struct handoff_lane lanes[WORKERS_MAX][WORKERS_MAX]; /* [from][to] */
};

/* Shared by all workers of a process; NULL when there is no address space. */
struct handoff *handoff_new(uint32_t worker_count);
void handoff_delete(struct handoff *handoff);

/* A worker's ends of its lanes to and from one other worker. */
struct handoff_ends {
    uint64_t sent;       /* notes put into the lane, published or not */
    uint64_t taken_back; /* of those, up to where packets were taken back */
    uint64_t taken;      /* notes taken from the other lane */
    uint64_t finished;
    uint32_t lost_seen;
    uint8_t is_done[HANDOFF_NOTES]; /* taken and finished, by place */
};

struct worker;
struct producer;

bool handoff_open(struct worker *w);

/* Gives a packet to all workers in p's replica_workers: each that took it holds it once more. False when none
 * did. */
bool handoff_packet(struct worker *w, struct producer *p, struct packet *packet);
/* Tells the workers in `replica_workers` what sender reports said of p. */
void handoff_report(struct worker *w, struct producer *p, uint16_t replica_workers);
/* To the home of a replica: what is wanted of it has changed. */
void handoff_wanted(struct worker *w, const struct producer *replica);
void handoff_send(struct worker *w, uint32_t to, enum handoff_kind kind, uint32_t producer,
                  uint32_t generation, uint8_t encoding);

/* Makes everything sent visible to the others and wakes who sleeps. */
void handoff_publish(struct worker *w);
/* Takes notes: packets join the queues of their replicas. True when there were any. */
bool handoff_receive(struct worker *w);
/* The packet of this note is not needed here any more. */
void handoff_finish(struct worker *w, uint32_t from, uint64_t position);
/* Tells the others what was finished, and takes back what they have. */
void handoff_take_back(struct worker *w);

/* Before sleeping: false when there are notes; true: whoever publishes from now on rings the bell. */
bool handoff_may_sleep(struct worker *w);
void handoff_awake(struct worker *w);

#endif
