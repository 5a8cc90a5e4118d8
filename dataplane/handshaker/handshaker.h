/* The handshaker carries out the DTLS handshakes of this machine and publishes the keys for the
 * forwarder. This header is internal to the process; other processes know handshaker_main
 * (processes.h).
 *
 *   worker W ── ring (resume → keys): datagrams, validated, closed ──► note_handle
 *   worker W ◄── ring (keys → resume): datagrams, "read the key row" ── associations.c
 *                key rows, identity row (region keys) ◄── associations.c, handshaker.c
 *
 * An association is what the handshaker knows of one transport. It has at most one handshake, which
 * is what OpenSSL keeps for it. The key row of a transport goes from free to connecting, then to
 * connected or failed, then to closed. It becomes connecting with the first datagram that we send;
 * as server we send one when OpenSSL has accepted a ClientHello. A start that fails before leaves the
 * association as it was (threat D5). Rows outlive this process: a successor leaves `connected`
 * rows as they are (media continues) and changes `connecting` rows to failed, with the failure
 * `restarted`.
 *
 * Everything that is read from the rings and from region `desired` is first copied, then checked,
 * then used (threat H1). A note is removed from its ring before it is handled: if it kills this
 * process, the successor does not see it again (threat D27).
 * Threads: one. Memory: associations are static; a handshake is memory of OpenSSL, bounded by
 * dtls.h, and at most HANDSHAKES_MAX of them are unfinished. Errors: they are logged; when a peer
 * is at fault, its key row says so. */
#ifndef RINGCAST_HANDSHAKER_H
#define RINGCAST_HANDSHAKER_H

#include "dataplane/engines/client_hello.h"
#include "dataplane/engines/dtls.h"
#include "src/limits.h"
#include "src/region.h"

#define HANDSHAKES_MAX 1024 /* unfinished at the same time, some 40 KB each (threat D6) */
/* OpenSSL keeps 39 KB for a finished handshake, only to repeat the last flight and to receive
 * close_notify. When more than HANDSHAKES_KEPT_MAX handshakes are kept, those that began
 * more than HANDSHAKE_KEEP_NS ago are freed. Their keys stay, as after a restart of this process;
 * signaling or ICE shows when such a client leaves. */
#define HANDSHAKES_KEPT_MAX 2048
#define HANDSHAKE_KEEP_NS (60 * 1000000000ull)
/* When HANDSHAKES_MAX run, a new handshake replaces one that is older than this. */
#define HANDSHAKE_YIELD_MS 3000
/* ClientHellos of which a part has arrived. One more replaces the oldest; its client sends again. */
#define HELLOS_MAX 64
/* How often the ClientHellos of one client may try to begin a handshake. */
#define STARTS_PER_S 5
#define STARTS_BURST 10
/* Notes taken from each worker in one turn. Handling a datagram may take 1 ms. */
#define NOTES_PER_TURN 8
#define TICK_NS 10000000ull /* resolution of retransmission timers and deadlines */
#define SWEEP_BEATS 43 /* after this many heartbeats (2.6 s) each association was checked once */

struct handshaker;

struct handshake {
    struct handshaker *handshaker;
    struct dtls *dtls;
    struct handshake *older, *newer; /* in the list of unfinished handshakes */
    uint64_t started_ns;
    uint32_t index;
    uint8_t id[16];
};

/* What the handshaker knows of the transport with the same index. */
struct association {
    struct handshake *handshake; /* NULL: not begun, ended, freed, or an earlier process had it */
    uint32_t generation;         /* 0: there is no transport */
    uint8_t state;               /* of the key row; DTLS_STATE_new: there is no key row */
    uint8_t worker;
    uint8_t unsent_note; /* enum dtls_note that found its ring full, 0: none */
    bool validated;      /* ICE has a path: if we are the DTLS client, we may start */
    uint64_t starts_ns;  /* when the last STARTS_BURST tries are forgotten */
};

/* The ClientHello of a transport, of which a part has arrived. */
struct hello_slot {
    handle_word transport; /* 0: free */
    uint64_t used;         /* greater: later */
    struct client_hello hello;
};

struct handshaker_config {
    const struct region *desired, *resume;
    struct region *keys;
    uint32_t worker_count;
    int bells[WORKERS_MAX];       /* eventfds of the workers, -1: none (tests) */
    uint32_t handshakes_kept_max; /* 0: HANDSHAKES_KEPT_MAX */
    uint64_t timeout_ns;
    uint64_t (*monotonic_ns)(void); /* NULL: the real clock */
};

struct handshaker {
    struct handshaker_config config;
    struct dtls_context *dtls;
    struct ring from_worker[WORKERS_MAX], to_worker[WORKERS_MAX];
    struct handshake *oldest, *newest; /* unfinished */
    uint32_t unfinished, unsent_notes;
    uint32_t kept;                       /* handshakes, finished ones included */
    uint32_t bells_due;                  /* bit w: the bell of worker w must be rung */
    uint32_t sweep_at, associations_end; /* later associations were never used */
    uint64_t now_ns, next_tick_ns, next_beat_ns;
    struct ring_datagram note; /* a private copy */
    struct hello_slot hellos[HELLOS_MAX];
    uint64_t hellos_used;
    struct association associations[TRANSPORTS_MAX];
};

/* ---- handshaker.c ---- */

/* Opens region keys for writing: makes or takes over the identity, takes over old rows, opens the
 * rings. Zero the struct first. False: `why` (192 bytes) has a sentence. */
bool handshaker_open(struct handshaker *h, const struct handshaker_config *config, char *why);
/* One turn: handles notes of all workers in turn, timers and the heartbeat. True: there are more
 * notes. */
bool handshaker_turn(struct handshaker *h);
void handshaker_close(struct handshaker *h);

/* ---- hellos.c ---- */

/* Adds a datagram to the parts of the transport's ClientHello that have arrived. Returns the whole
 * ClientHello as one datagram of *bytes, valid until the next call. NULL: the ClientHello is not
 * complete or not well-formed. */
const uint8_t *hello_receive(struct handshaker *h, handle_word transport, const uint8_t *datagram,
                             size_t *bytes);
/* May a ClientHello of this association try to begin a handshake now? Counts the try. */
bool hello_may_start(struct association *association, uint64_t now_ns);

/* ---- associations.c ---- */

/* Handles a note of worker w. `note` is a private copy, and its `bytes` are at most those of
 * `data`. */
void note_handle(struct handshaker *h, uint32_t w, const struct ring_datagram *note);
/* Retransmissions, deadlines, and notes whose ring was full. */
void associations_tick(struct handshaker *h);
/* Checks whether the transports of some associations still exist. */
void associations_sweep(struct handshaker *h);
/* Takes over the key rows that an earlier process left. */
void associations_adopt(struct handshaker *h);
/* Frees all handshakes; rows stay. */
void handshakes_free(struct handshaker *h);

#endif
