/* Two workers of one forwarder, and a room that is spread over both. Both turn in one thread, so a
 * test chooses in which order. */
#ifndef RINGCAST_TEST_PAIR_H
#define RINGCAST_TEST_PAIR_H

#include "call.h"

enum { HOME_SUBSCRIBER = 1, AWAY_SUBSCRIBER = 2, AWAY_SECOND = 3, PEOPLE = 4 };

/* Publisher (client 0: transport 0, producer 0) and client 1 live on worker 0, "home"; the other
 * clients live on worker 1, "away". */
struct pair {
    struct handoff *handoff;
    struct rig *home, *away;
    struct client people[PEOPLE];
};

/* Turns both until neither has anything left to do. What one sends in its last turn the other sees
 * in its next, so three times. */
static inline void pair_turn(struct pair *x)
{
    bool busy;

    x->home->sent_count = 0;
    x->away->sent_count = 0;
    for (int idle = 0; idle < 3; idle++) {
        do {
            rig_now_ns += 1000;
            busy = worker_turn(x->home->worker);
            busy |= worker_turn(x->away->worker);
        } while (busy);
    }
}

static inline struct rig *rig_of(struct pair *x, uint32_t who)
{
    return who >= AWAY_SUBSCRIBER ? x->away : x->home;
}

static inline void pair_open(struct pair *x, enum srtp_profile profile)
{
    memset(x, 0, sizeof(*x));
    x->handoff = handoff_new(2);
    assert_non_null(x->handoff);
    x->home = rig_open_first(x->handoff);
    x->away = rig_open_next(x->home, 1);
    for (uint32_t i = 0; i < PEOPLE; i++)
        rig_connect(rig_of(x, i), &x->people[i], i, profile);
    rig_video_producer(x->home, 0, 0, false);
    pair_turn(x);
}

static inline void pair_close(struct pair *x)
{
    for (uint32_t i = 0; i < PEOPLE; i++)
        client_close(&x->people[i]);
    rig_close(x->away);
    rig_close(x->home);
    handoff_delete(x->handoff);
}

/* The consumer of this client, at its own index. */
static inline void pair_consume(struct pair *x, uint32_t who)
{
    rig_consumer(rig_of(x, who), who, who, 0, 1000 * who, false, 1);
}

static inline void pair_publish(struct pair *x, uint16_t sequence, bool key_frame)
{
    uint8_t packet[1600];

    client_send_rtp(x->home, &x->people[0], packet,
                    client_rtp(packet, 96, sequence, sequence * 3000u, VIDEO_SSRC, key_frame, 700));
}

/* RTP packets that this client got in the last turns. */
static inline size_t pair_received(struct pair *x, uint32_t who)
{
    return client_received_rtp(rig_of(x, who), &x->people[who], NULL, 0);
}

/* Key-frame requests that the publisher got in the last turns. */
static inline size_t pair_key_frame_requests(struct pair *x)
{
    return client_received_rtcp(x->home, &x->people[0], RTCP_PSFB, PSFB_PLI);
}

#endif
