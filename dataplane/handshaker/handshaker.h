/* The handshaker: every DTLS association of this machine, and what it tells the forwarder.
 * Internal to the process; handshaker_main (processes.h) is its outside.
 *
 *   worker W ── ring (resume → keys): datagrams, validated, closed ──► note_handle
 *   worker W ◄── ring (keys → resume): datagrams, "look at the key row" ── associations.c
 *                key rows, identity row (region keys) ◄── associations.c, handshaker.c
 *
 * A transport has one handshake in its life: key row free → connecting → connected | failed, then
 * closed. A row outlives this process: a successor finds `connected` rows and leaves them alone
 * (media goes on), and turns `connecting` ones into failed/restarted.
 *
 * Everything read from the rings and from region `desired` is copied first, then checked, then used
 * (threats.md H1); a note is taken off its ring before it is acted upon, so that one that kills us is
 * not met again (D27).
 * Threads: one. Memory: seats are static; associations are OpenSSL's and bounded by dtls.h, at most
 * HANDSHAKES_MAX of them unfinished. Errors: logged; a peer's fault ends in its key row. */
#ifndef RINGCAST_HANDSHAKER_H
#define RINGCAST_HANDSHAKER_H

#include "dataplane/engines/dtls.h"
#include "src/limits.h"
#include "src/region.h"

#define HANDSHAKES_MAX 1024 /* under way at once, some 40 KB each (threats.md D6) */
/* OpenSSL keeps some 39 KB of a finished handshake, which then only serves to repeat the last flight
 * and to hear close_notify. Of so many it is kept; beyond, those that finished long ago give it back:
 * their keys stay, as after a restart of this process, and their end is told by signaling or ICE. */
#define HANDSHAKES_KEPT_MAX 2048
#define HANDSHAKE_KEEP_NS (60 * 1000000000ull)
#define HANDSHAKE_YIELD_MS 3000 /* when all are taken, one older than this makes room */
#define NOTES_PER_TURN 8        /* of each worker; a datagram may cost 1 ms */
#define TICK_NS 10000000ull     /* grain of retransmission timers and deadlines */
#define SWEEP_BEATS 43          /* in which all seats are looked at: 2.6 s */

struct handshaker;

struct handshake {
    struct handshaker *handshaker;
    struct dtls *dtls;
    struct handshake *older, *newer; /* list of unfinished handshakes, by age */
    uint64_t started_ns;
    uint32_t index;
    uint8_t id[16];
};

/* What we know of the transport with this index. */
struct association {
    struct handshake *handshake; /* NULL: none, ended, given back, or an earlier process had it */
    uint32_t generation;         /* 0: nothing known */
    uint8_t state;               /* enum dtls_state, as the key row says; new: no key row */
    uint8_t worker;
    uint8_t unsent_note; /* enum dtls_note that did not fit the ring yet, 0: none */
    bool validated;      /* ICE has a path: as DTLS client we may start */
};

struct handshaker_config {
    const struct region *desired, *resume;
    struct region *keys;
    uint32_t worker_count;
    int bells[WORKERS_MAX];       /* the workers' eventfds, -1: none (tests) */
    uint32_t handshakes_kept_max; /* 0: HANDSHAKES_KEPT_MAX */
    uint64_t timeout_ns;
    uint64_t (*monotonic_ns)(void); /* NULL: the real clock */
};

struct handshaker {
    struct handshaker_config config;
    struct dtls_context *dtls;
    struct ring from_worker[WORKERS_MAX], to_worker[WORKERS_MAX];
    struct handshake *oldest, *newest;
    uint32_t unfinished, unsent_notes;
    uint32_t kept;                       /* associations, finished ones included */
    uint32_t bells_due;                  /* bit w: ring worker w's */
    uint32_t sweep_at, associations_end; /* seats from associations_end on were never used */
    uint64_t now_ns, next_tick_ns, next_beat_ns;
    struct ring_datagram note; /* private copy */
    struct association associations[TRANSPORTS_MAX];
};

/* ---- handshaker.c ---- */

/* Takes over the region: identity, rows of a predecessor, rings. False with a sentence (192 bytes).
 * The struct must be zero. */
bool handshaker_open(struct handshaker *h, const struct handshaker_config *config, char *why);
/* One turn: notes of all workers in turn, timers, heartbeat. True when more is waiting. */
bool handshaker_turn(struct handshaker *h);
void handshaker_close(struct handshaker *h);

/* ---- associations.c ---- */

/* A note of worker w; `note` is private, bytes is within data. */
void note_handle(struct handshaker *h, uint32_t w, const struct ring_datagram *note);
/* Retransmissions, deadlines, notes that did not fit. */
void associations_tick(struct handshaker *h);
/* A few seats: are their transports still there? */
void associations_sweep(struct handshaker *h);
/* Key rows that a process before us left. */
void associations_adopt(struct handshaker *h);
/* Frees what OpenSSL holds; rows stay. */
void handshakes_free(struct handshaker *h);

#endif
