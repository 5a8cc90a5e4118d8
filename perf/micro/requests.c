/* What clients send beside media (ICE checks, reports, key-frame requests), and what a worker must
 * refuse. Each turn receives one datagram from each of many clients. */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#include "packets.h"
#include "world.h"

#include "dataplane/engines/rtcp.h"
#include "src/clock.h"

#define CLIENTS 200
#define CHECK_INTERVAL_NS (100 * NS_PER_MS)   /* so that STUN_PER_SECOND_MAX is not reached */
#define FEEDBACK_INTERVAL_NS (20 * NS_PER_MS) /* nor RTCP_PER_SECOND_MAX */

struct requests {
    struct bench_options options;
    struct bench_world world;
    uint64_t asked, verdicts_before;
    uint32_t rtcp_index;
    enum verdict verdict; /* the one that each datagram must have */
    struct srtp_key keys[IO_BATCH];
};

static struct worker *worker_of(struct requests *s)
{
    return s->world.workers[0].worker;
}

static void *open_requests(struct bench_options *o, char *what, enum verdict verdict)
{
    struct requests *s = bench_pages(sizeof(*s));
    struct world_shape shape = {.kind = MEDIA_KIND_video, .room_count = 1, .publishers = 1};

    if (!o->profile)
        o->profile = SRTP_PROFILE_aead_aes_128_gcm;
    if (!o->transports)
        o->transports = CLIENTS;
    if (!o->rounds)
        o->rounds = 100;
    if (!o->units)
        o->units = 1000;
    if (o->transports > IO_BATCH)
        bench_die("--transports is at most %d: one turn serves all clients", IO_BATCH);
    s->options = *o;
    s->verdict = verdict;
    shape.profile = o->profile;
    shape.subscribers = o->transports;
    world_open(&s->world, 1);
    world_connect(&s->world, &shape);
    world_consume(&s->world);
    for (uint32_t i = 0; i < o->transports; i++)
        world_client_key(&s->world, world_subscriber(&s->world, 0, i), false, &s->keys[i]);
    s->verdicts_before = worker_of(s)->turn.verdicts[verdict];
    snprintf(what, 64, "%u clients, %s", o->transports, bench_profile_name(o->profile));
    return s;
}

static void close_requests(void *state)
{
    struct requests *s = state;

    world_close(&s->world);
    bench_pages_free(s, sizeof(*s));
}

static void check_requests(void *state)
{
    struct requests *s = state;
    uint64_t right = worker_of(s)->turn.verdicts[s->verdict] - s->verdicts_before;

    if (right != s->asked)
        bench_die("%llu datagrams were sent, but %llu have the right verdict",
                  (unsigned long long)s->asked, (unsigned long long)right);
}

static void turn_work(void *worker)
{
    worker_turn(worker);
}

static void feed(struct requests *s, const struct path *path, const uint8_t *data, uint32_t bytes)
{
    if (!io_replay_feed(s->world.workers[0].io, path, data, bytes))
        bench_die("the queue of the replay backend is full");
    s->asked++;
}

static void turn(struct requests *s, uint64_t advance_ns, struct bench_tally *tally)
{
    world_advance(advance_ns);
    tally->ticks += bench_measure(turn_work, worker_of(s));
    tally->units += s->options.transports;
    world_drain(&s->world);
}

/* ---- STUN ---- */

static void *open_answer(struct bench_options *o, char *what)
{
    return open_requests(o, what, VERDICT_stun_answered);
}

static void *open_stranger(struct bench_options *o, char *what)
{
    return open_requests(o, what, VERDICT_drop_stun_stranger);
}

static void stun_step(void *state, struct bench_tally *tally)
{
    struct requests *s = state;
    uint8_t check[256];

    for (uint32_t i = 0; i < s->options.transports; i++) {
        char ufrag[BENCH_UFRAG_BYTES + 1], password[BENCH_UFRAG_BYTES + 1];
        struct path path = world_path(world_subscriber(&s->world, 0, i));
        uint32_t bytes;

        world_credentials(world_subscriber(&s->world, 0, i), ufrag, password);
        if (s->verdict == VERDICT_drop_stun_stranger)
            ufrag[0] = 'x';
        bytes = packet_stun_write(check, ufrag, password, s->asked, false);
        feed(s, &path, check, bytes);
    }
    turn(s, CHECK_INTERVAL_NS, tally);
}

/* ---- media that must be refused ---- */

static void *open_unknown(struct bench_options *o, char *what)
{
    return open_requests(o, what, VERDICT_drop_media_stranger);
}

static void *open_forged(struct bench_options *o, char *what)
{
    return open_requests(o, what, VERDICT_drop_rtp_unauthentic);
}

static void forged_step(void *state, struct bench_tally *tally)
{
    struct requests *s = state;
    bool stranger = s->verdict == VERDICT_drop_media_stranger;
    struct path path = world_path(stranger ? TRANSPORTS_MAX - 1 : world_publisher(&s->world, 0, 0));
    uint8_t packet[1600];

    for (uint32_t i = 0; i < s->options.transports; i++) {
        struct packet_rtp rtp = {.index = s->asked, .ssrc = world_producer_ssrc(0), .bytes = 1200};

        packet_rtp_write(packet, &rtp); /* its last bytes stand where the tag should be */
        feed(s, &path, packet, rtp.bytes);
    }
    turn(s, NS_PER_MS, tally);
}

/* ---- RTCP ---- */

static void *open_feedback(struct bench_options *o, char *what)
{
    return open_requests(o, what, VERDICT_rtcp_consumed);
}

static void feed_compound(struct requests *s, uint32_t client, uint8_t *compound, size_t bytes)
{
    struct path path = world_path(world_subscriber(&s->world, 0, client));

    if (srtcp_protect(s->world.crypto, &s->keys[client], s->rtcp_index, compound, &bytes) !=
        SRTP_OK)
        bench_die("a client's RTCP cannot be encrypted");
    feed(s, &path, compound, (uint32_t)bytes);
}

/* As browsers send it: a receiver report and an SDES. */
static void report_step(void *state, struct bench_tally *tally)
{
    struct requests *s = state;

    s->rtcp_index++;
    for (uint32_t i = 0; i < s->options.transports; i++) {
        uint8_t compound[256];
        struct rtcp_buffer buffer = {.data = compound,
                                     .capacity = sizeof(compound) - SRTP_TAIL_BYTES_MAX};
        struct rtcp_report_block block = {.ssrc = world_consumer_ssrc(i), .jitter = 20};

        rtcp_add_rr(&buffer, 1, &block, 1);
        rtcp_add_sdes(&buffer, &(struct rtcp_cname){1, "subscriber"}, 1);
        feed_compound(s, i, compound, buffer.bytes);
    }
    turn(s, FEEDBACK_INTERVAL_NS, tally);
}

static void key_frame_step(void *state, struct bench_tally *tally)
{
    struct requests *s = state;

    s->rtcp_index++;
    for (uint32_t i = 0; i < s->options.transports; i++) {
        uint8_t compound[64];
        struct rtcp_buffer buffer = {.data = compound,
                                     .capacity = sizeof(compound) - SRTP_TAIL_BYTES_MAX};

        rtcp_add_pli(&buffer, 1, world_consumer_ssrc(i));
        feed_compound(s, i, compound, buffer.bytes);
    }
    turn(s, FEEDBACK_INTERVAL_NS, tally);
}

const struct bench_case case_stun_answer = {
    .name = "stun-answer",
    .unit = "answer",
    .prose = "an authentic ICE check is answered, from receive to transmit",
    .open = open_answer,
    .step = stun_step,
    .check = check_requests,
    .close = close_requests,
};
const struct bench_case case_stun_stranger = {
    .name = "stun-stranger",
    .unit = "datagram",
    .prose = "an ICE check for an unknown user fragment is refused",
    .open = open_stranger,
    .step = stun_step,
    .check = check_requests,
    .close = close_requests,
};
const struct bench_case case_media_stranger = {
    .name = "media-stranger",
    .unit = "datagram",
    .prose = "RTP from an unknown address is refused",
    .open = open_unknown,
    .step = forged_step,
    .check = check_requests,
    .close = close_requests,
};
const struct bench_case case_media_forged = {
    .name = "media-forged",
    .unit = "datagram",
    .prose = "RTP from a publisher's address with a wrong tag is refused",
    .open = open_forged,
    .step = forged_step,
    .check = check_requests,
    .close = close_requests,
};
const struct bench_case case_receiver_report = {
    .name = "receiver-report",
    .unit = "report",
    .prose = "a subscriber's RTCP report is read",
    .open = open_feedback,
    .step = report_step,
    .check = check_requests,
    .close = close_requests,
};
const struct bench_case case_key_frame_request = {
    .name = "key-frame-request",
    .unit = "request",
    .prose = "a subscriber's PLI is read; the throttle holds most of them back",
    .open = open_feedback,
    .step = key_frame_step,
    .check = check_requests,
    .close = close_requests,
};
