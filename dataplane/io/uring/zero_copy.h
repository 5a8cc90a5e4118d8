/* When to send without copying, decided from what the kernel says became of earlier tries.
 *
 *            a turn with sends that qualify, TRIAL_EVERY of them after the last trial
 *     off ───────────────────────────────────────────────────────────────────────► trying
 *      ▲                                                                             │
 *      ├──────────── more than one in COPIED_SHARE was copied after all ◄────────────┤
 *      │                                                                             ▼
 *      └──────────── the same, of the last WINDOW sends ◄────────────────────────── on
 *
 * Where the data is copied anyway (loopback, veth, a card without scatter-gather) asking for zero-copy
 * costs 10 to 40 % of such a send. Where it is real, a ring request, its memory and a notification cost
 * about a microsecond a send, so it pays from some 16 KiB on, if the device segments: a quarter of what
 * a run of 24 full datagrams costs (perf/README.md); a frame of 9 is cheaper copied. Short sends and
 * turns with few long ones do not qualify.
 *
 * A plain state machine: no I/O, no clock. Threads: a worker's own. */
#ifndef RINGCAST_IO_ZERO_COPY_H
#define RINGCAST_IO_ZERO_COPY_H

#include <stdbool.h>
#include <stdint.h>

#define ZERO_COPY_BYTES_MIN 16384 /* of a send */
#define ZERO_COPY_TURN_BYTES_MIN \
    49152                 /* of such in a turn: notifications may wake a sleeping worker */
#define ZERO_COPY_TRIAL 8 /* sends */
#define ZERO_COPY_TRIAL_EVERY 65536 /* sends that would have qualified */
#define ZERO_COPY_WINDOW 64         /* sends */
#define ZERO_COPY_COPIED_SHARE 8

enum zero_copy_state { ZERO_COPY_off, ZERO_COPY_trying, ZERO_COPY_on };

struct zero_copy {
    bool possible; /* this kernel and this ring can */
    enum zero_copy_state state;
    uint32_t until_trial; /* sends */
    uint32_t untried;     /* of a trial */
    uint32_t reported, copied;
};

void zero_copy_open(struct zero_copy *z, bool possible);
/* How many of `sends` qualifying ones of this turn, `bytes` together, may go without copying. */
uint32_t zero_copy_allowed(struct zero_copy *z, uint32_t sends, uint32_t bytes);
/* One that was allowed was made; one that was made is done with its memory. */
void zero_copy_made(struct zero_copy *z);
void zero_copy_reported(struct zero_copy *z, bool copied);
/* One that was made failed; `never`: this kernel cannot do it. */
void zero_copy_failed(struct zero_copy *z, bool never);

#endif
