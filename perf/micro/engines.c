/* Stages of the path that need no worker: classify, parse, header template, decrypt, encrypt. */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#include "packets.h"

#include "dataplane/io/io.h"
#include "dataplane/engines/rtp.h"

#define DATAGRAM_ROOM 1600
#define KEYS 50 /* one for each subscriber */

struct stage {
    struct bench_options options;
    struct srtp_engine *engine;
    struct srtp_key keys[KEYS];
    struct srtp_stream streams[KEYS];
    uint64_t next_index;
    size_t count;
    uint8_t clear[IO_BATCH][DATAGRAM_ROOM], datagrams[IO_BATCH][DATAGRAM_ROOM];
    struct rtp_view views[IO_BATCH];
    struct rtp_template template;
    struct rtp_patch patch;
    struct srtp_protect_job protect[SRTP_BURST];
    struct srtp_unprotect_job unprotect[SRTP_BURST];
    uint64_t sum; /* of all results, so that the compiler drops none */
};

static const uint8_t sent_id[EXTENSIONS] = {
    [EXTENSION_mid] = PACKET_ID_MID, [EXTENSION_abs_send_time] = PACKET_ID_ABS_SEND_TIME};

static void write_packets(struct stage *s)
{
    for (size_t i = 0; i < IO_BATCH; i++) {
        struct packet_rtp rtp = {.index = i, .ssrc = 77, .bytes = s->options.bytes};

        packet_rtp_write(s->clear[i], &rtp);
        packet_rtp_write(s->datagrams[i], &rtp);
    }
}

static void *open_stage(struct bench_options *o, char *what)
{
    struct stage *s = bench_pages(sizeof(*s));
    uint8_t master[32], salt[16] = {1};

    if (!o->profile)
        o->profile = SRTP_PROFILE_aead_aes_128_gcm;
    if (!o->bytes)
        o->bytes = 1200;
    if (!o->burst)
        o->burst = SRTP_BURST;
    if (!o->rounds)
        o->rounds = 100;
    if (!o->units)
        o->units = 5000;
    if (o->burst > SRTP_BURST || o->bytes < PACKET_HEADER_BYTES + 16 || o->bytes > 1480)
        bench_die("bursts of 1 to %d packets of %d to 1480 bytes", SRTP_BURST,
                  PACKET_HEADER_BYTES + 16);
    s->options = *o;
    s->engine = srtp_engine_new();
    for (size_t i = 0; i < KEYS; i++) {
        memset(master, (int)i + 1, sizeof(master));
        if (!s->engine || !srtp_key_init(s->engine, &s->keys[i], o->profile, master, salt))
            bench_die("no SRTP engine on this processor");
    }
    write_packets(s);
    snprintf(what, 64, "%u B", o->bytes);
    return s;
}

static void *open_crypto(struct bench_options *o, char *what)
{
    void *s = open_stage(o, what);

    snprintf(what, 64, "%s %u B, burst of %u", bench_profile_name(o->profile), o->bytes, o->burst);
    return s;
}

static void close_stage(void *state)
{
    struct stage *s = state;

    srtp_engine_delete(s->engine);
    bench_pages_free(s, sizeof(*s));
}

/* ---- reading headers ---- */

static void classify_work(void *state)
{
    struct stage *s = state;

    for (size_t i = 0; i < IO_BATCH; i++)
        s->sum += datagram_classify(s->datagrams[i], s->options.bytes);
}

static void classify_step(void *state, struct bench_tally *tally)
{
    tally->ticks += bench_measure(classify_work, state);
    tally->units += IO_BATCH;
}

static void parse_work(void *state)
{
    struct stage *s = state;

    for (size_t i = 0; i < IO_BATCH; i++)
        s->sum += rtp_parse(s->datagrams[i], s->options.bytes, &s->views[i]);
}

static void parse_step(void *state, struct bench_tally *tally)
{
    tally->ticks += bench_measure(parse_work, state);
    tally->units += IO_BATCH;
}

/* ---- writing headers ---- */

static void *open_template(struct bench_options *o, char *what)
{
    struct stage *s = open_stage(o, what);
    struct rtp_template_options options = {.sent_id = sent_id,
                                           .mask =
                                               1 << EXTENSION_mid | 1 << EXTENSION_abs_send_time,
                                           .mid_bytes = 1,
                                           .payload_type = PACKET_PAYLOAD_TYPE_OUT};

    parse_work(s);
    rtp_template_build(&s->template, s->datagrams[0], &s->views[0], &options);
    if (s->template.size != PACKET_HEADER_BYTES)
        bench_die("a header of %u bytes became one of %u", PACKET_HEADER_BYTES, s->template.size);
    s->patch = (struct rtp_patch){.ssrc = 1, .mid = "0"};
    snprintf(what, 64, "header of %u B", s->template.size);
    return s;
}

static void template_build_work(void *state)
{
    struct stage *s = state;
    struct rtp_template_options options = {.sent_id = sent_id,
                                           .mask =
                                               1 << EXTENSION_mid | 1 << EXTENSION_abs_send_time,
                                           .mid_bytes = 1,
                                           .payload_type = PACKET_PAYLOAD_TYPE_OUT};

    for (size_t i = 0; i < IO_BATCH; i++)
        rtp_template_build(&s->template, s->datagrams[i], &s->views[i], &options);
}

static void template_build_step(void *state, struct bench_tally *tally)
{
    tally->ticks += bench_measure(template_build_work, state);
    tally->units += IO_BATCH;
}

static void template_copy_work(void *state)
{
    struct stage *s = state;

    for (size_t i = 0; i < IO_BATCH; i++) {
        s->patch.sequence++;
        rtp_template_copy(s->clear[i], s->options.bytes, &s->template, &s->patch);
    }
}

static void template_copy_step(void *state, struct bench_tally *tally)
{
    tally->ticks += bench_measure(template_copy_work, state);
    tally->units += IO_BATCH;
}

/* ---- crypto ---- */

/* Consumer after consumer, VIDEO_BURST packets for each, from the same payloads. */
static void make_protect_jobs(struct stage *s)
{
    enum { VIDEO_BURST = 9 };

    for (size_t i = 0; i < s->options.burst; i++)
        s->protect[i] = (struct srtp_protect_job){
            .key = &s->keys[i / VIDEO_BURST % KEYS],
            .out = s->datagrams[i],
            .payload = s->clear[i % VIDEO_BURST] + PACKET_HEADER_BYTES,
            .index = s->next_index + i % VIDEO_BURST,
            .ssrc = (uint32_t)(i / VIDEO_BURST),
            .header_bytes = PACKET_HEADER_BYTES,
            .payload_bytes = (uint16_t)(s->options.bytes - PACKET_HEADER_BYTES),
        };
    s->next_index += VIDEO_BURST;
}

static void protect_work(void *state)
{
    struct stage *s = state;

    srtp_protect_burst(s->engine, s->protect, s->options.burst);
}

static void protect_step(void *state, struct bench_tally *tally)
{
    struct stage *s = state;

    make_protect_jobs(s);
    tally->ticks += bench_measure(protect_work, s);
    tally->units += s->options.burst;
}

static void unprotect_work(void *state)
{
    struct stage *s = state;

    srtp_unprotect_burst(s->engine, s->unprotect, s->options.burst);
}

/* One stream of one client: the packets of a video frame. */
static void unprotect_step(void *state, struct bench_tally *tally)
{
    struct stage *s = state;
    size_t tag_bytes = srtp_tag_bytes(s->options.profile);

    for (size_t i = 0; i < s->options.burst; i++) {
        struct packet_rtp rtp = {.index = s->next_index++, .ssrc = 77, .bytes = s->options.bytes};

        packet_rtp_write(s->clear[i], &rtp);
        packet_rtp_protect(s->engine, &s->keys[0], s->datagrams[i], s->clear[i], &rtp);
        s->unprotect[i] = (struct srtp_unprotect_job){
            .key = &s->keys[0],
            .stream = &s->streams[0],
            .packet = s->datagrams[i],
            .ssrc = rtp.ssrc,
            .sequence = (uint16_t)rtp.index,
            .header_bytes = PACKET_HEADER_BYTES,
            .bytes = (uint16_t)(rtp.bytes + tag_bytes),
        };
    }
    tally->ticks += bench_measure(unprotect_work, s);
    tally->units += s->options.burst;
    for (size_t i = 0; i < s->options.burst; i++)
        if (s->unprotect[i].result != SRTP_OK)
            bench_die("a packet does not decrypt: result %d", s->unprotect[i].result);
}

const struct bench_case case_classify = {
    .name = "classify",
    .unit = "packet",
    .prose = "datagram_classify",
    .open = open_stage,
    .step = classify_step,
    .close = close_stage,
};
const struct bench_case case_parse = {
    .name = "parse",
    .unit = "packet",
    .prose = "rtp_parse, two extensions",
    .open = open_stage,
    .step = parse_step,
    .close = close_stage,
};
const struct bench_case case_template_build = {
    .name = "template-build",
    .unit = "packet in",
    .prose = "the header that consumers get, built once for each packet",
    .open = open_template,
    .step = template_build_step,
    .close = close_stage,
};
const struct bench_case case_template_copy = {
    .name = "template-copy",
    .unit = "packet out",
    .prose = "that header copied and patched for one consumer",
    .open = open_template,
    .step = template_copy_step,
    .close = close_stage,
};
const struct bench_case case_unprotect = {
    .name = "unprotect",
    .unit = "packet",
    .prose = "srtp_unprotect_burst, one stream",
    .open = open_crypto,
    .step = unprotect_step,
    .close = close_stage,
};
const struct bench_case case_protect = {
    .name = "protect",
    .unit = "packet",
    .prose = "srtp_protect_burst, nine packets for each key",
    .open = open_crypto,
    .step = protect_step,
    .close = close_stage,
};
