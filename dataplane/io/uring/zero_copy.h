/* Decides when to send without copying. The kernel reports of each such send whether it copied the
 * data nevertheless.
 *
 *            sends qualify, and TRIAL_EVERY have qualified since the last trial
 *     off ───────────────────────────────────────────────────────────────────────► trying
 *      ▲                                                                             │
 *      ├──────────── the kernel copied more than one in COPIED_SHARE ◄───────────────┤
 *      │                                                                             ▼
 *      └──────────── the same, among the last WINDOW sends ◄─────────────────────── on
 *
 * Where the kernel copies nevertheless (loopback, veth, a card without scatter-gather), asking for
 * zero-copy makes a send cost 10 to 40 % more. Where it does not copy, the ring request, its memory
 * and the notification cost about 1 µs for each send. So zero-copy pays from some 16 KiB on, if the
 * device cuts the segments: it saves a quarter of the cost of a run of 24 full datagrams
 * (perf/README.md), but a frame of 9 is cheaper when copied. Short sends do not qualify, nor does a
 * turn with few long ones.
 *
 * A state machine without I/O and clock. Threads: each worker has its own. */
#ifndef RINGCAST_IO_ZERO_COPY_H
#define RINGCAST_IO_ZERO_COPY_H

#include <stdbool.h>
#include <stdint.h>

#define ZERO_COPY_BYTES_MIN 16384 /* of a send that qualifies */
/* All qualifying sends of a turn together. With less, the notifications, which may wake a sleeping
 * worker, cost more than the copies. */
#define ZERO_COPY_TURN_BYTES_MIN 49152
#define ZERO_COPY_TRIAL 8           /* sends of one trial */
#define ZERO_COPY_TRIAL_EVERY 65536 /* qualifying sends from one trial to the next */
#define ZERO_COPY_WINDOW 64         /* sends */
#define ZERO_COPY_COPIED_SHARE 8    /* up to one copied send in 8 is accepted */

enum zero_copy_state { ZERO_COPY_off, ZERO_COPY_trying, ZERO_COPY_on };

struct zero_copy {
    bool possible; /* with this kernel and this ring */
    enum zero_copy_state state;
    uint32_t until_trial;      /* qualifying sends until the next trial */
    uint32_t untried;          /* sends of the trial that are not made yet */
    uint32_t reported, copied; /* sends of this trial or window */
};

void zero_copy_open(struct zero_copy *z, bool possible);
/* A turn has `sends` sends that qualify, with `bytes` bytes in total. Returns how many of them may
 * go without copying. */
uint32_t zero_copy_allowed(struct zero_copy *z, uint32_t sends, uint32_t bytes);
/* An allowed send was given to the kernel. */
void zero_copy_made(struct zero_copy *z);
/* The kernel is done with the memory of a send. */
void zero_copy_reported(struct zero_copy *z, bool copied);
/* A send failed. never: this kernel cannot send without copying. */
void zero_copy_failed(struct zero_copy *z, bool never);

#endif
