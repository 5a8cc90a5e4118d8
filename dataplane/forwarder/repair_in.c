/* Repair of what publishers send. */
#include "repair_in.h"

#include <string.h>

#include "dataplane/engines/quality/history.h"
#include "key_frames.h"
#include "memory.h"
#include "reports.h"
#include "transport.h"
#include "turn.h"

bool repair_in_open(struct repair_in *r)
{
    r->all = memory_map(sizeof(*r->all) * HISTORY_STREAMS, false);
    return r->all;
}

void repair_in_close(struct repair_in *r)
{
    memory_unmap(r->all, sizeof(*r->all) * HISTORY_STREAMS);
}

static struct stream_repair *repair_of(struct repair_in *r, const struct producer *p,
                                       uint8_t encoding)
{
    return &r->all[producer_stream(p, encoding)];
}

/* An encoding that nobody wanted was not watched, but its packets came. What is missing since the last
 * of them is noticed: it may be a part of the key frame that the new audience waits for. */
static void start(struct stream_repair *s, struct producer *p, uint8_t encoding, uint64_t index)
{
    const struct encoding *e = &p->encodings[encoding];

    timer_cancel(&s->timer);
    s->timer = (struct timer){.owner = s, .kind = TIMER_REPAIR};
    s->producer = p;
    s->encoding = encoding;
    /* Not the list, most of which was never touched. */
    memset(&s->nack, 0, offsetof(struct nack, missing));
    s->nack.is_audio = p->kind == MEDIA_KIND_audio;
    if (index != e->highest_index)
        nack_start(&s->nack, e->highest_index);
    else if (e->highest_before)
        nack_start(&s->nack, e->highest_before);
}

static void set_timer(struct repair_in *r, struct stream_repair *s)
{
    uint64_t due_ns = nack_next_ns(&s->nack);

    if (due_ns == NACK_NEVER)
        timer_cancel(&s->timer);
    else if (!s->timer.previous || s->timer.due_ns != due_ns)
        timer_set(r->wheel, &s->timer, due_ns);
}

/* Threat D13 is the client's, too: audio that it sends again has the SRTP index that it had. With AES-CM
 * that gives nothing away, because the payload is the same. With AES-GCM the header must be, too. */
static bool asks(const struct producer *p)
{
    return p->kind == MEDIA_KIND_video ||
           (p->has_audio_nack &&
            (p->transport->profile == SRTP_PROFILE_aes128_cm_sha1_80 ||
             !(p->sent_id[EXTENSION_abs_send_time] || p->sent_id[EXTENSION_transport_cc])));
}

void repair_in_add(struct repair_in *r, struct producer *p, const struct packet *packet,
                   uint64_t index, bool is_repair)
{
    struct stream_repair *s = repair_of(r, p, packet->encoding);
    struct encoding *e = &p->encodings[packet->encoding];

    if (!asks(p))
        return;
    if (s->producer != p || s->packets + !is_repair != e->packets)
        start(s, p, packet->encoding, index);
    s->packets = e->packets;
    switch (nack_add(&s->nack, index, is_repair, r->turn->now_ns)) {
    case NACK_REPAIRED:
        e->packets_repaired++;
        e->bytes_repaired += packet->bytes;
        r->turn->counters[COUNTER_repaired_in]++;
        break;
    case NACK_TOO_MANY:
        key_frame_request(r->key_frames, p, packet->encoding);
        break;
    case NACK_IN_ORDER:
    case NACK_LATE:
    case NACK_UNMISSED:
        break;
    }
    if (packet->is_key_frame)
        nack_add_key_frame(&s->nack, index);
    if (s->nack.count || s->timer.previous)
        set_timer(r, s);
}

bool repair_in_is_audio_answer(const struct repair_in *r, const struct producer *p,
                               uint8_t encoding, uint32_t ssrc, uint64_t index)
{
    const struct stream_repair *s = &r->all[producer_stream(p, encoding)];
    const struct encoding *e = &p->encodings[encoding];

    return p->has_audio_nack && e->started && e->seen_ssrc == ssrc && index < e->highest_index &&
           s->producer == p && nack_was_asked(&s->nack, index, r->turn->now_ns);
}

void repair_in_forget(struct repair_in *r, struct producer *p)
{
    for (uint8_t i = 0; i < p->encoding_count; i++) {
        struct stream_repair *s = repair_of(r, p, i);

        if (s->producer != p) /* reading takes no memory, writing does */
            continue;
        timer_cancel(&s->timer);
        s->producer = NULL;
    }
}

void repair_in_on_timer(struct repair_in *r, struct stream_repair *s)
{
    struct producer *p = s->producer;
    struct encoding *e = &p->encodings[s->encoding];
    uint16_t sequences[NACK_MISSING_MAX];
    size_t count = nack_due(&s->nack, r->turn->now_ns, sequences);

    if (!producer_is_wanted(p, s->encoding) || !e->started) {
        s->nack.count = 0;
        return;
    }
    if (count && reports_send_nack(r->reports, p->transport, e->seen_ssrc, sequences, count)) {
        e->nacks_sent++;
        e->packets_asked += (uint32_t)count;
        r->turn->counters[COUNTER_nack_sent] += count;
    }
    set_timer(r, s);
}
