/* Threat D13: no SRTP index is ever used twice with one key, whatever the publisher sends and
 * whoever dies. Two subscribers, one on the publisher's worker and one on another, hold their keys
 * and compare all that they were sent: (SSRC, SRTP index) has one ciphertext.
 *
 *   usage: keystream_test [PACKETS]   of all publishers together; make keystream sends 10^6 */
#include "pair.h"

#include "dataplane/engines/srtp/engine.h"

#define PACKETS_DEFAULT 100000
#define TABLE_ENTRIES (1u << 22) /* of what was sent in one call; a power of two */
#define SENDERS 8
#define RTX_PAYLOAD_TYPE 102
#define TURN_NS (10 * NS_PER_MS)
#define SILENT_NS (600 * NS_PER_MS)

static unsigned long packets_wanted = PACKETS_DEFAULT;

/* ---- what a subscriber was sent ---- */

/* One SSRC. */
struct seen {
    uint64_t highest; /* SRTP index */
    bool started;
};

struct entry {
    uint64_t key, ciphertext; /* hashes; key 0: free */
};

static struct entry *table;
static uint32_t table_used;

struct subscriber {
    struct srtp_key key;
    struct srtp_engine *engine;
    struct seen media, rtx;
    uint32_t ssrc;        /* of the last packet; what was sent again has the one behind it */
    uint32_t next_report; /* SRTCP index */
    uint64_t reports, again;
    uint64_t received, reused, unauthentic, backwards, gaps, wrong;
};

struct call {
    struct pair pair;
    struct subscriber subscribers[2]; /* people 1 and 2 */
    uint32_t stamp;                   /* of the latest packet sent */
    uint64_t sent, random;
};

static uint64_t fnv(const uint8_t *data, size_t bytes, uint64_t hash)
{
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ data[i]) * 0x100000001b3ull;
    return hash | 1;
}

enum memory {
    NEW,
    SAME,
    REUSED
}; /* SAME: this key was there with this ciphertext, as if doubled */

static enum memory remember(uint64_t key, uint64_t ciphertext)
{
    uint32_t i = (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 40) & (TABLE_ENTRIES - 1);

    for (; table[i].key; i = (i + 1) & (TABLE_ENTRIES - 1))
        if (table[i].key == key)
            return table[i].ciphertext == ciphertext ? SAME : REUSED;
    assert_true(++table_used < TABLE_ENTRIES / 4 * 3);
    table[i] = (struct entry){key, ciphertext};
    return NEW;
}

/* Decrypts with this index: true when it is the one that the packet was encrypted with. */
static bool opens(struct subscriber *s, const struct rig_sent *sent, const struct rtp_view *view,
                  uint64_t index, uint8_t *clear, uint16_t *bytes)
{
    struct srtp_stream stream = {.highest_index = index, .started = true};
    uint8_t copy[1700];
    struct srtp_unprotect_job job = {.key = &s->key,
                                     .stream = &stream,
                                     .packet = copy,
                                     .out = clear,
                                     .ssrc = view->ssrc,
                                     .sequence = view->sequence,
                                     .header_bytes = view->header_bytes,
                                     .bytes = (uint16_t)sent->bytes};

    memcpy(copy, sent->data, sent->bytes);
    srtp_unprotect_burst(s->engine, &job, 1);
    *bytes = job.bytes;
    return job.result == SRTP_OK && job.index == index;
}

/* Its SRTP index: this roll-over counter, the one before and those behind it are tried, so that a
 * sender that goes back or leaps ahead is found out, too. */
static bool open_packet(struct subscriber *s, const struct seen *seen, const struct rig_sent *sent,
                        const struct rtp_view *view, uint64_t *index, uint8_t *clear,
                        uint16_t *bytes)
{
    static const int64_t steps[] = {0, 1, -1, 2, -2, 3};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int64_t counter = (int64_t)(seen->highest >> 16) + steps[i];

        if (counter < 0)
            continue;
        *index = (uint64_t)counter << 16 | view->sequence;
        if (opens(s, sent, view, *index, clear, bytes))
            return true;
    }
    return false;
}

/* What every packet carries behind the VP8 header: its number, and bytes that follow from it. */
static bool payload_is_whole(const uint8_t *payload, size_t bytes, uint32_t *stamp)
{
    if (bytes < 18)
        return false;
    *stamp = get32(payload + 10);
    return get32(payload + 14) == *stamp * 2654435761u;
}

static void note(struct subscriber *s, uint32_t who, const struct rig_sent *sent)
{
    uint8_t clear[1700];
    struct rtp_view view;
    struct seen *seen;
    uint64_t index, key;
    uint16_t bytes;
    uint32_t stamp;
    enum memory memory;
    size_t at;
    bool is_rtx;

    assert_true(rtp_parse(sent->data, sent->bytes, &view));
    is_rtx = view.payload_type == RTX_PAYLOAD_TYPE;
    seen = is_rtx ? &s->rtx : &s->media;
    if (!open_packet(s, seen, sent, &view, &index, clear, &bytes)) {
        s->unauthentic++;
        return;
    }
    key = fnv((const uint8_t *)&index, sizeof(index),
              (uint64_t)view.ssrc << 8 ^ who ^ 0xcbf29ce484222325ull);
    memory = remember(key, fnv(sent->data, sent->bytes, 0xcbf29ce484222325ull));
    s->reused += memory == REUSED;
    s->again += is_rtx || memory == SAME;
    s->received += !is_rtx && memory == NEW;
    if (memory == SAME)
        return;
    at = view.header_bytes + (is_rtx ? 2u : 0u);
    if (!payload_is_whole(clear + at, bytes - at, &stamp)) {
        s->wrong++;
        return;
    }
    s->backwards += seen->started && index <= seen->highest;
    s->gaps += !is_rtx && seen->started && index > seen->highest + 1;
    if (!seen->started || index > seen->highest)
        seen->highest = index;
    seen->started = true;
    if (!is_rtx)
        s->ssrc = view.ssrc;
}

/* SRTCP: its index is not encrypted; it is at the end or in front of the tag (RFC 3711 3.4, RFC
 * 7714 9). */
static void note_rtcp(struct subscriber *s, uint32_t who, enum srtp_profile profile,
                      const struct rig_sent *sent)
{
    size_t tag = profile == SRTP_PROFILE_aes128_cm_sha1_80 ? 10 : 0;
    uint32_t index = get32(sent->data + sent->bytes - tag - 4) & 0x7fffffff;
    uint64_t name = (uint64_t)get32(sent->data + 4) << 8 ^ who ^ 0x84222325cbf29ce4ull;

    s->reports++;
    s->reused += remember(fnv((const uint8_t *)&index, sizeof(index), name),
                          fnv(sent->data, sent->bytes, 0xcbf29ce484222325ull)) != NEW;
    s->backwards += index < s->next_report;
    s->next_report = index + 1;
}

static void collect(struct call *c)
{
    for (uint32_t who = 1; who <= 2; who++) {
        struct rig *rig = rig_of(&c->pair, who);

        for (size_t i = 0; i < rig->sent_count; i++) {
            const struct rig_sent *sent = &rig->sent[i];
            enum datagram_kind kind = datagram_classify(sent->data, sent->bytes);

            if (!path_equal(&sent->path, &c->pair.people[who].path))
                continue;
            if (kind == DATAGRAM_rtp)
                note(&c->subscribers[who - 1], who, sent);
            else if (kind == DATAGRAM_rtcp)
                note_rtcp(&c->subscribers[who - 1], who, c->pair.people[who].profile, sent);
        }
        rig->sent_count = 0;
    }
}

static uint32_t number(struct call *c, uint32_t below)
{
    c->random ^= c->random << 13;
    c->random ^= c->random >> 7;
    c->random ^= c->random << 17;
    return (uint32_t)(c->random >> 32) % below;
}

/* Each subscriber says that it lost some of the last packets. */
static void lose_some(struct call *c)
{
    for (uint32_t who = 1; who <= 2; who++) {
        const struct subscriber *s = &c->subscribers[who - 1];
        uint16_t lost = (uint16_t)(s->media.highest - number(c, 40));
        uint8_t rtcp[64];
        struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp) - 24};

        if (!s->media.started || !rtcp_add_nack(&b, 99, s->ssrc, &lost, 1))
            continue;
        client_send_rtcp(rig_of(&c->pair, who), &c->pair.people[who], rtcp, b.bytes);
    }
}

static void turn(struct call *c)
{
    rig_now_ns += TURN_NS;
    rig_wall_ns += TURN_NS;
    lose_some(c);
    pair_turn(&c->pair);
    collect(c);
}

/* ---- the call ---- */

enum routing { BY_SSRC, BY_MID, BY_RID };

static void producer_rows(struct call *c, enum routing routing, enum media_kind kind,
                          uint32_t generation)
{
    struct producer_row row = {.transport = handle_make(0, 1),
                               .kind = (uint8_t)kind,
                               .type = PRODUCER_TYPE_simple,
                               .codec_count = 1,
                               .encoding_count = 1,
                               .codec = {kind == MEDIA_KIND_video ? CODEC_vp8 : CODEC_opus},
                               .codec_payload_type = {96},
                               .codec_mapped_payload_type = {101},
                               .codec_clock_rate = {90000},
                               .mid_bytes = 1,
                               .mid = "m",
                               .has_audio_nack = kind == MEDIA_KIND_audio,
                               .cname = "publisher"};

    if (routing == BY_SSRC)
        row.encoding_ssrc[0] = VIDEO_SSRC;
    if (routing == BY_RID)
        row.encoding_rid[0] = 'r';
    row.extension_sent_id[EXTENSION_mid] = 4;
    row.extension_sent_id[EXTENSION_rid] = 3;
    rig_row(c->pair.home, TABLE_producer, 0, &row.header, generation);
}

#define EXTENSIONS_ALL                                                        \
    (1 << EXTENSION_mid | 1 << EXTENSION_abs_send_time | 1 << EXTENSION_rid | \
     1 << EXTENSION_transport_cc)

static void consumer_row_with(struct call *c, uint32_t who, enum media_kind kind, uint32_t ssrc,
                              uint32_t generation, uint16_t mask, bool paused)
{
    struct consumer_row row = {.transport = handle_make(who, 1),
                               .producer = handle_make(0, 2),
                               .ssrc = ssrc,
                               .rtx_ssrc = ssrc + 1,
                               .extension_mask = mask,
                               .payload_type = 101,
                               .rtx_payload_type = RTX_PAYLOAD_TYPE,
                               .kind = (uint8_t)kind,
                               .has_audio_nack = kind == MEDIA_KIND_audio,
                               .paused = paused,
                               .priority = 1,
                               .preferred_spatial_layer = 255,
                               .preferred_temporal_layer = 255,
                               .mid_bytes = 1,
                               .mid = "0"};

    rig_row(rig_of(&c->pair, who), TABLE_consumer, who - 1, &row.header, generation);
}

static void consumer_row(struct call *c, uint32_t who, enum media_kind kind, uint32_t ssrc,
                         uint32_t generation)
{
    consumer_row_with(c, who, kind, ssrc, generation, EXTENSIONS_ALL, false);
}

/* Now and then the consumers pause for a moment, and get other header extensions. */
static void change_consumers(struct call *c, enum media_kind kind, bool with_pause)
{
    for (uint32_t who = 1; who <= 2; who++) {
        uint16_t mask = number(c, 2) ? EXTENSIONS_ALL : 0;

        if (with_pause) {
            consumer_row_with(c, who, kind, 1000 * who, 1, mask, true);
            turn(c);
        }
        consumer_row_with(c, who, kind, 1000 * who, 1, mask, false);
    }
}

static struct call *call_begin(enum routing routing, enum srtp_profile profile,
                               enum media_kind kind)
{
    struct call *c = calloc(1, sizeof(*c));

    memset(table, 0, TABLE_ENTRIES * sizeof(*table));
    table_used = 0;
    c->random = 88172645463325252ull;
    pair_open(&c->pair, profile);
    rig_free_row(c->pair.home, TABLE_producer, 0, 1);
    pair_turn(&c->pair);
    producer_rows(c, routing, kind, 2);
    pair_turn(&c->pair);
    for (uint32_t who = 1; who <= 2; who++) {
        struct subscriber *s = &c->subscribers[who - 1];
        size_t key_bytes, salt_bytes;

        srtp_profile_sizes(profile, &key_bytes, &salt_bytes);
        s->engine = srtp_engine_new();
        assert_non_null(s->engine);
        assert_true(srtp_key_init(s->engine, &s->key, profile, c->pair.people[who].ours_key,
                                  c->pair.people[who].ours_key + key_bytes));
        consumer_row(c, who, kind, 1000 * who, 1);
    }
    turn(c);
    return c;
}

static void call_finish(struct call *c)
{
    for (int i = 0; i < 2; i++)
        srtp_engine_delete(c->subscribers[i].engine);
    pair_close(&c->pair);
    free(c);
}

/* One packet of the publisher, with MID or RID when it is routed by that. */
static void publish(struct call *c, enum routing routing, uint32_t ssrc, uint16_t sequence,
                    uint32_t timestamp, bool key_frame)
{
    struct client *publisher = &c->pair.people[0];
    uint8_t packet[300];
    size_t header = routing == BY_SSRC ? 12 : 20, payload;
    int bytes;

    memset(packet, 0, sizeof(packet));
    payload = 40 + ++c->stamp % 4 * 6; /* different lengths: runs of video are padded */
    client_rtp(packet + header - 12, 96, sequence, timestamp, ssrc, key_frame, payload);
    memmove(packet, packet + header - 12, 12);
    if (routing != BY_SSRC) {
        packet[0] |= 0x10;
        put32(packet + 12, 0xbede0001);
        packet[16] = routing == BY_MID ? 0x40 : 0x30;
        packet[17] = routing == BY_MID ? 'm' : 'r';
        packet[18] = packet[19] = 0;
    }
    put32(packet + header + 10, c->stamp);
    put32(packet + header + 14, c->stamp * 2654435761u);
    bytes = (int)(header + payload);
    if (srtp_protect(publisher->send, packet, &bytes) != srtp_err_status_ok)
        return; /* libsrtp does not send what is far too old */
    assert_true(io_replay_feed(c->pair.home->io, &publisher->path, packet, (uint32_t)bytes));
    c->sent++;
}

/* The publisher's sender report, without which subscribers get none. */
static void publish_report(struct call *c, uint32_t ssrc)
{
    uint8_t rtcp[64];
    struct rtcp_buffer b = {.data = rtcp, .capacity = sizeof(rtcp)};
    struct rtcp_sender_info info = {.ssrc = ssrc, .ntp = rtcp_ntp(rig_wall_ns)};

    rtcp_add_sr(&b, &info);
    client_send_rtcp(c->pair.home, &c->pair.people[0], rtcp, b.bytes);
}

/* Both workers die, and others take their place. */
static void kill_the_forwarder(struct call *c)
{
    struct pair *x = &c->pair;

    collect(c);
    rig_stop_worker(x->away);
    rig_stop_worker(x->home);
    handoff_delete(x->handoff);
    x->handoff = handoff_new(2);
    assert_non_null(x->handoff);
    x->home->handoff = x->handoff;
    x->away->handoff = x->handoff;
    rig_start_worker(x->home);
    rig_start_worker(x->away);
    for (int i = 0; i < 10; i++)
        turn(c);
    for (uint32_t i = 0; i < PEOPLE; i++)
        client_check(rig_of(x, i), &x->people[i], true);
    turn(c);
}

static void pass_time(struct call *c, uint64_t ns)
{
    rig_now_ns += ns;
    rig_wall_ns += ns;
    turn(c);
    for (uint32_t i = 0; i < PEOPLE; i++)
        client_check(rig_of(&c->pair, i), &c->pair.people[i], true);
}

/* ---- publishers ---- */

/* Sends from several SSRCs at once with sequence numbers that overlap, leap and go back. */
static void hostile(struct call *c, enum routing routing, enum media_kind kind,
                    unsigned long packets)
{
    uint16_t sequence[SENDERS] = {0};
    uint32_t senders = routing == BY_SSRC ? 1 : SENDERS;

    for (unsigned long n = 0; n < packets; n++) {
        uint32_t who = n / 5000 % 2 ? number(c, senders) : (uint32_t)n % 2 % senders;
        uint32_t chance = number(c, 1000);
        uint16_t now = ++sequence[who];

        if (chance < 2)
            now = sequence[who] = (uint16_t)(now + number(c, 20000));
        else if (chance < 100)
            now = (uint16_t)(now - number(c, 900));
        publish(c, routing, VIDEO_SSRC + who, now, (uint32_t)n * 300, number(c, 10) == 0);
        if (n % 64 == 0)
            publish_report(c, VIDEO_SSRC + who);
        if (n % 16 == 15)
            turn(c);
        if (chance >= 990 && chance < 999)
            change_consumers(c, kind, chance < 993);
        if (chance == 999)
            pass_time(c, SILENT_NS);
    }
    turn(c);
}

/* An honest publisher sends in order. From time to time it is silent for a moment and continues
 * with another SSRC, new or used before, whose sequence numbers are in the range of the last one. A
 * packet of the last SSRC arrives late. With `deaths` the forwarder dies now and then, and no
 * packet arrives late. */
static void honest(struct call *c, enum routing routing, enum media_kind kind,
                   unsigned long packets, bool deaths)
{
    uint16_t sequence[SENDERS];
    uint32_t senders = routing == BY_SSRC ? 1 : SENDERS, who = 0;

    for (uint32_t i = 0; i < SENDERS; i++)
        sequence[i] = (uint16_t)((deaths ? 100 : 65000) + 20 * i);
    for (unsigned long n = 0; n < packets; n++) {
        unsigned long phase = n % 500;

        if (n && phase == 0) {
            uint32_t last = who;

            turn(c);
            if (deaths && number(c, 4) == 0)
                kill_the_forwarder(c);
            pass_time(c, SILENT_NS);
            who = (who + 1 + number(c, 2)) % senders;
            publish(c, routing, VIDEO_SSRC + who, sequence[who]++, (uint32_t)n * 300, true);
            if (last != who && !deaths) /* a late packet */
                publish(c, routing, VIDEO_SSRC + last, sequence[last]++, (uint32_t)n * 300, false);
        }
        publish(c, routing, VIDEO_SSRC + who, sequence[who]++, (uint32_t)n * 300, phase % 100 == 0);
        if (deaths && number(c, 700) == 0)
            kill_the_forwarder(c);
        if (n % 64 == 0)
            publish_report(c, VIDEO_SSRC + who);
        if (n % 16 == 15)
            turn(c);
        if (number(c, 300) == 0)
            change_consumers(c, kind, false);
    }
    turn(c);
}

/* ---- tests ---- */

static const enum srtp_profile profiles[] = {
    SRTP_PROFILE_aead_aes_128_gcm, SRTP_PROFILE_aead_aes_256_gcm, SRTP_PROFILE_aes128_cm_sha1_80};
enum behaviour { HOSTILE, HONEST, CRASHING };

static unsigned long packets_of_a_call(void)
{
    return packets_wanted / (3 * 3 * 3 * 2) + 1;
}

/* What a subscriber must still get, and how. */
static bool control_holds(const struct call *c, enum behaviour publisher)
{
    static const unsigned percent[] = {[HOSTILE] = 10, [HONEST] = 99, [CRASHING] = 90};
    bool holds = true;

    for (int i = 0; i < 2; i++) {
        const struct subscriber *s = &c->subscribers[i];

        holds &= s->unauthentic == 0 && s->wrong == 0 && s->reports > 0;
        holds &= s->received >= c->sent * percent[publisher] / 100;
        if (publisher != HOSTILE)
            holds &= s->backwards == 0;
        if (publisher == HONEST)
            holds &= s->gaps == 0;
    }
    return holds;
}

static void run(enum behaviour publisher)
{
    static const char *const names[] = {"hostile", "honest", "crashing"};
    uint64_t reused = 0, sent = 0, received = 0, again[3] = {0}, broken = 0;

    for (enum routing routing = BY_SSRC; routing <= BY_RID; routing++)
        for (int k = 0; k < 3; k++)
            for (enum media_kind kind = MEDIA_KIND_audio; kind <= MEDIA_KIND_video; kind++) {
                struct call *c = call_begin(routing, profiles[k], kind);

                if (publisher == HOSTILE)
                    hostile(c, routing, kind, packets_of_a_call());
                else
                    honest(c, routing, kind, packets_of_a_call(), publisher == CRASHING);
                sent += c->sent;
                for (int i = 0; i < 2; i++) {
                    reused += c->subscribers[i].reused;
                    received += c->subscribers[i].received;
                    again[kind] += c->subscribers[i].again;
                }
                broken += !control_holds(c, publisher);
                call_finish(c);
            }
    print_message(
        "%s publisher: %llu packets sent, %llu received by two subscribers, %llu of audio and %llu "
        "of video again, %llu indexes used twice; in %llu of 18 calls media did not arrive as it "
        "should\n",
        names[publisher], (unsigned long long)sent, (unsigned long long)received,
        (unsigned long long)again[MEDIA_KIND_audio], (unsigned long long)again[MEDIA_KIND_video],
        (unsigned long long)reused, (unsigned long long)broken);
    assert_int_equal(reused, 0);
    assert_true(again[MEDIA_KIND_audio] > sent / 100 && again[MEDIA_KIND_video] > sent / 100);
    assert_int_equal(broken, 0);
}

static void a_hostile_publisher(void **state)
{
    run(HOSTILE);
}

static void an_honest_publisher_that_changes_its_ssrc(void **state)
{
    run(HONEST);
}

static void a_publisher_whose_forwarder_dies(void **state)
{
    run(CRASHING);
}

/* A hostile control plane makes the consumers again and again with SSRCs that they had, under an old
 * or a new generation, closes the producer meanwhile, and the forwarder dies. */
static void consumers_that_are_made_again(void **state)
{
    struct call *c = call_begin(BY_MID, SRTP_PROFILE_aead_aes_128_gcm, MEDIA_KIND_audio);
    uint32_t ssrc[2] = {1000, 2000}, generation = 1, good = 0, rounds = 0;
    uint16_t sequence = 1;

    for (; rounds < 200; rounds++) {
        uint64_t before[2] = {c->subscribers[0].received, c->subscribers[1].received};
        uint32_t how = number(c, 4); /* 0: the old generation, 1: a new SSRC, else the old SSRC */

        for (uint32_t who = 1; who <= 2; who++)
            rig_free_row(rig_of(&c->pair, who), TABLE_consumer, who - 1, generation);
        turn(c);
        if (number(c, 10) == 0)
            kill_the_forwarder(c);
        if (number(c, 10) == 0) {
            rig_free_row(c->pair.home, TABLE_producer, 0, 2);
            turn(c);
            producer_rows(c, BY_MID, MEDIA_KIND_audio, 2);
            turn(c);
        }
        generation += how > 0;
        for (uint32_t who = 1; who <= 2; who++) {
            ssrc[who - 1] += how == 1 ? 2 : 0;
            consumer_row(c, who, MEDIA_KIND_audio, ssrc[who - 1], generation);
        }
        turn(c);
        for (int n = 0; n < 60; n++)
            publish(c, BY_MID, VIDEO_SSRC, sequence++, 300u * c->stamp, false);
        for (int i = 0; i < 5; i++)
            turn(c); /* some of them are lost, and leave again */
        if (how == 1)
            for (int i = 0; i < 2; i++) {
                /* a new stream begins with roll-over counter 0, and what it carries is whole */
                assert_true(c->subscribers[i].received >= before[i] + 60);
                good++;
            }
        for (uint32_t i = 0; i < PEOPLE; i++)
            client_check(rig_of(&c->pair, i), &c->pair.people[i], true);
    }
    print_message("consumers made again: %u times, %llu packets received, %llu again, %llu indexes "
                  "used twice; "
                  "%u times with a new SSRC, all of which got everything\n",
                  rounds * 2,
                  (unsigned long long)(c->subscribers[0].received + c->subscribers[1].received),
                  (unsigned long long)(c->subscribers[0].again + c->subscribers[1].again),
                  (unsigned long long)(c->subscribers[0].reused + c->subscribers[1].reused), good);
    assert_int_equal(c->subscribers[0].reused + c->subscribers[1].reused, 0);
    assert_true(good > 40 && c->subscribers[0].again + c->subscribers[1].again > 20);
    call_finish(c);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hostile_publisher),
        cmocka_unit_test(an_honest_publisher_that_changes_its_ssrc),
        cmocka_unit_test(a_publisher_whose_forwarder_dies),
        cmocka_unit_test(consumers_that_are_made_again),
    };
    int failed;

    if (argc > 1)
        packets_wanted = strtoul(argv[1], NULL, 10);
    table = malloc(TABLE_ENTRIES * sizeof(*table));
    srtp_init();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(table);
    return failed;
}
