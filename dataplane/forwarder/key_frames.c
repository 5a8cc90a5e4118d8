/* Key-frame requests to publishers, and their throttle. */
#include "key_frames.h"

#include "producer.h"
#include "replica.h"
#include "reports.h"
#include "src/clock.h"
#include "turn.h"

#define INTERVAL_NS NS_PER_S      /* between two requests for one encoding */
#define RETRY_NS (50 * NS_PER_MS) /* while the publisher cannot be asked */

/* False: the publisher cannot be asked yet; it has no keys or path, or its SSRC is not known. */
static bool ask_publisher(struct key_frames *k, struct producer *p, struct encoding *e)
{
    uint32_t ssrc = e->started ? e->seen_ssrc : e->ssrc;

    if (ssrc == 0)
        return false;
    if (p->uses_fir) {
        if (!reports_send_fir(k->reports, p->transport, ssrc, (uint8_t)(e->fir_sent + 1)))
            return false;
        e->fir_sent++;
    } else {
        if (!reports_send_pli(k->reports, p->transport, ssrc))
            return false;
        e->pli_sent++;
    }
    k->turn->counters[COUNTER_key_frames_asked]++;
    return true;
}

static bool asked_just_now(const struct key_frames *k, const struct encoding *e)
{
    return k->turn->now_ns - e->key_frame_asked_ns < INTERVAL_NS;
}

static void ask_home(struct key_frames *k, struct producer *p, uint8_t encoding)
{
    struct encoding *e = &p->encodings[encoding];

    if (e->key_frame_wanted && asked_just_now(k, e))
        return;
    e->key_frame_wanted = true;
    e->key_frame_asked_ns = k->turn->now_ns;
    replica_request_key_frame(k->replicas, p, encoding);
}

void key_frame_request(struct key_frames *k, struct producer *p, uint8_t encoding)
{
    struct encoding *e = &p->encodings[encoding];
    uint64_t again_ns = k->turn->now_ns + INTERVAL_NS;

    if (p->kind != MEDIA_KIND_video || p->paused || p->is_leaving || encoding >= p->encoding_count)
        return;
    if (p->is_replica) {
        ask_home(k, p, encoding);
        return;
    }
    if (e->key_frame_asked_ns && asked_just_now(k, e)) {
        if (!e->key_frame_wanted)
            k->turn->counters[COUNTER_key_frames_held]++;
        again_ns = e->key_frame_asked_ns + INTERVAL_NS;
    } else if (ask_publisher(k, p, e)) {
        e->key_frame_asked_ns = k->turn->now_ns;
    } else {
        again_ns = k->turn->now_ns + RETRY_NS;
    }
    e->key_frame_wanted = true;
    if (!p->timer.previous || again_ns < p->timer.due_ns)
        timer_set(k->wheel, &p->timer, again_ns);
}

void key_frames_on_timer(struct key_frames *k, struct producer *p)
{
    for (uint8_t i = 0; i < p->encoding_count; i++)
        if (p->encodings[i].key_frame_wanted) {
            if (!producer_is_wanted(p, i))
                p->encodings[i].key_frame_wanted = false;
            else
                key_frame_request(k, p, i);
        }
}
