/* Fan-out: sends every packet to every consumer of its producer. It goes subscriber by subscriber,
 * so that the packets to one of them lie side by side: segmentation and the cipher need that.
 *
 *   queue of a producer ─► job: its packets × its consumers, served from `cursor` on
 *     fan_out, each turn:  gather   which consumers of which jobs are due, within the turn's budget
 *                          emit     subscriber by subscriber: select, rewrite, encrypt, send
 *                          retire   the packets of jobs that are done
 *
 * A room that is larger than a turn's budget continues in the next turn, after all producers that
 * have received something meanwhile: so it delays itself, not the other rooms on this worker.
 *
 * Threads: the worker's.
 * Limits:  FAN_OUT_NEW_NS and FAN_OUT_BEGUN_NS of sending in one turn; when packets of a
 *          producer wait longer than BACKLOG_NS_MAX, new ones are dropped. */
#ifndef RINGCAST_FANOUT_H
#define RINGCAST_FANOUT_H

#include "src/tables.h"

/* How much one turn may send, in about nanoseconds of work: for producers that have just received
 * something, and for jobs that began in an earlier turn. Together they limit how long a large room
 * delays a small one on the same worker. */
#define FAN_OUT_NEW_NS 600000
#define FAN_OUT_BEGUN_NS 300000
#define BACKLOG_NS_MAX (100 * 1000000ull)

struct consumer;
struct packet;
struct producer;

/* Producers with packets to send, in the order in which they are served. */
struct producer_list {
    struct producer *first, *last;
};

struct fanout {
    struct turn *turn;
    struct transmit *transmit;
    const struct resume *resume;
    struct lanes *lanes;
    struct consumers *consumers;
    struct key_frames *key_frames;
    struct repair_out *repair_out;
    struct replays *replays;
    struct proofs *proofs;

    struct producer_list new; /* producers whose packets nobody has got yet */
    struct producer_list begun[MEDIA_KIND_video + 1]; /* by media kind */
    struct egress *touched_first, *touched_last;      /* in this turn */
};

/* Queues an authentic packet; the caller counts the hold. False when packets of this producer
 * already wait too long. */
bool fan_out_queue(struct fanout *f, struct producer *p, struct packet *packet);
/* Sends as much of what is queued as the turn's budget allows. */
void fan_out(struct fanout *f);
static inline bool fan_out_has_work(const struct fanout *f)
{
    return f->new.first || f->begun[MEDIA_KIND_audio].first || f->begun[MEDIA_KIND_video].first;
}
/* ---- for replay.c ---- */

/* The consumer begins with this packet, which was stored. span: from its time stamp to that of the last
 * packet that will be replayed. */
void fan_out_start(struct fanout *f, struct consumer *c, struct packet *first, uint32_t span);
/* Sends a stored packet. It must stay as it is until fan_out_flush, which several packets share: those to
 * one subscriber leave in one send. */
void fan_out_stored(struct fanout *f, struct consumer *c, struct packet *packet);
void fan_out_flush(struct fanout *f);

/* Gives back the queued packets of a producer that is removed or paused. */
void fan_out_forget(struct fanout *f, struct producer *p);

#endif
