/* Threat H1: a control plane that was taken over writes anything into `desired`. Two workers forward
 * an honest call meanwhile, whose rows are left alone: not one packet of it may be missing.
 *
 * RINGCAST_ROW_MUTATIONS in the environment is the number of mutations (make row-mutations: 10^8),
 * RINGCAST_ROW_SEED the first random number. */
#include "call.h"

#include <time.h>

#include "src/sanitizer.h"

#define MUTATIONS (BUILT_WITH_SANITIZER ? 1000000 / 4 : 1000000)
#define MUTATIONS_PER_ROUND 64 /* as many notes as a worker takes in one turn */
#define HOSTILE 24             /* rows 0 to 23 of each table are the hostile ones */
enum { PUBLISHER = 100, HOME_SUBSCRIBER, AWAY_SUBSCRIBER, PEOPLE = 3, PRODUCER = 100 };

struct bench {
    struct handoff *handoff;
    struct rig *home, *away;
    struct client people[PEOPLE]; /* of the honest call */
    struct client guests[HOSTILE];
    uint16_t sequence;
    uint64_t sent, got[PEOPLE], written[3], refused, media_of_guests;
};

static uint64_t seed = 88172645463325252ull;

static uint64_t any(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)((any() >> 16) % limit);
}

/* A byte, with those where mistakes are likely more often than others. */
static uint8_t odd_byte(void)
{
    static const uint8_t odd[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 254, 255};

    return below(2) ? odd[below(sizeof(odd))] : (uint8_t)any();
}

static void both_turn(struct bench *b)
{
    bool busy;

    b->home->sent_count = 0;
    b->away->sent_count = 0;
    for (int idle = 0; idle < 2; idle++) {
        do {
            rig_now_ns += 1000;
            busy = worker_turn(b->home->worker) > 0;
            busy |= worker_turn(b->away->worker) > 0;
        } while (busy);
    }
}

/* ---- the honest call ---- */

static struct rig *rig_of(struct bench *b, uint32_t who)
{
    return who == AWAY_SUBSCRIBER ? b->away : b->home;
}

static void bench_open(struct bench *b)
{
    memset(b, 0, sizeof(*b));
    b->handoff = handoff_new(2);
    assert_non_null(b->handoff);
    b->home = rig_open_first(b->handoff);
    b->away = rig_open_next(b->home, 1);
    for (uint32_t i = 0; i < PEOPLE; i++)
        rig_connect(rig_of(b, PUBLISHER + i), &b->people[i], PUBLISHER + i,
                    SRTP_PROFILE_aead_aes_128_gcm);
    rig_video_producer(b->home, PRODUCER, PUBLISHER, false);
    both_turn(b);
    rig_consumer(b->home, HOME_SUBSCRIBER, HOME_SUBSCRIBER, PRODUCER, 7000, false, 1);
    rig_consumer(b->away, AWAY_SUBSCRIBER, AWAY_SUBSCRIBER, PRODUCER, 8000, false, 1);
    both_turn(b);
}

static void bench_close(struct bench *b)
{
    for (uint32_t i = 0; i < PEOPLE; i++)
        client_close(&b->people[i]);
    for (uint32_t i = 0; i < HOSTILE; i++)
        client_close(&b->guests[i]);
    rig_close(b->away);
    rig_close(b->home);
    handoff_delete(b->handoff);
}

/* One packet of the honest publisher, and a check of each honest client: consent must not run out. */
static void honest_packet(struct bench *b)
{
    uint8_t packet[1600];

    if (b->sequence % 64 == 0)
        for (uint32_t i = 0; i < PEOPLE; i++)
            client_check(rig_of(b, PUBLISHER + i), &b->people[i], true);
    client_send_rtp(b->home, &b->people[0], packet,
                    client_rtp(packet, 96, b->sequence, b->sequence * 3000u, VIDEO_SSRC,
                               b->sequence == 0, 200));
    b->sequence++;
    b->sent++;
    both_turn(b);
    for (uint32_t i = 1; i < PEOPLE; i++)
        b->got[i] += client_received_rtp(rig_of(b, PUBLISHER + i), &b->people[i], NULL, 0);
}

/* ---- hostile rows ---- */

static const enum table_id hostile_tables[] = {TABLE_transport, TABLE_producer, TABLE_consumer};

static struct row_header *hostile_row(struct bench *b, enum table_id table)
{
    return region_row(&b->home->desired, table, below(HOSTILE));
}

static void odd_header(struct row_header *row)
{
    row->generation = below(8) ? 1 + below(3) : (uint32_t)any() * below(2);
    row->used = below(16) ? below(4) != 0 : (uint32_t)any();
}

/* A row as an honest control plane would write it, so that objects come and go, with a few details
 * of it random. */
static void plausible(enum table_id table, uint32_t index, void *row)
{
    struct transport_row *t = row;
    struct producer_row *p = row;
    struct consumer_row *c = row;

    memset(row, 0, tables[table].row_bytes);
    if (table == TABLE_transport) {
        t->worker = below(2);
        t->direction = 1 + (uint8_t)below(2);
        t->dtls_role = (uint8_t)below(3);
        snprintf(t->ice_ufrag, sizeof(t->ice_ufrag), "ufrag%027u",
                 below(8) ? index : below(HOSTILE));
        snprintf(t->ice_pwd, sizeof(t->ice_pwd), "password%024u", index);
    } else if (table == TABLE_producer) {
        *p = rig_audio_row(below(HOSTILE), below(2) ? below(6) : 0);
        p->transport = handle_make(below(HOSTILE), below(4));
        p->encoding_count = 1 + (uint8_t)below(ENCODINGS_MAX);
        p->codec_count = 1 + (uint8_t)below(CODECS_MAX);
        p->kind = 1 + (uint8_t)below(2);
        p->type = 1 + (uint8_t)below(3);
        p->codec[0] = (uint8_t)below(8);
        p->codec_payload_type[0] = 96;
        p->paused = (uint8_t)below(2);
        p->mid_bytes = (uint8_t)below(3);
        for (int i = 0; i < EXTENSIONS; i++)
            p->extension_sent_id[i] = (uint8_t)below(EXTENSION_ID_MAX + 1);
        for (int i = 1; i < p->encoding_count; i++)
            p->encoding_ssrc[i] = below(6);
    } else {
        c->transport = handle_make(below(HOSTILE), below(4));
        c->producer = handle_make(below(HOSTILE), below(4));
        c->ssrc = below(40);
        c->extension_mask = (uint16_t)any();
        c->payload_type = below(2) ? 100 : 101;
        c->kind = 1 + (uint8_t)below(2);
        c->paused = (uint8_t)below(2);
        c->preferred_spatial_layer = odd_byte();
        c->mid_bytes = (uint8_t)below(3);
    }
}

/* Keeps the mutated rows away from the honest call: a control plane may end any call, that is no
 * fault. */
static void leave_honest_alone(enum table_id table, struct row_header *row)
{
    struct producer_row *p = (struct producer_row *)row;
    struct consumer_row *c = (struct consumer_row *)row;
    uint64_t *handle = table == TABLE_producer ? &p->transport : &c->transport;

    if (table == TABLE_transport)
        return;
    if (handle_index(*handle) - PUBLISHER < PEOPLE)
        *handle = 0;
}

static void mutate(struct bench *b)
{
    enum table_id table = hostile_tables[below(3)];
    struct row_header *row = hostile_row(b, table);
    uint8_t *bytes = (uint8_t *)row;
    uint32_t size = tables[table].row_bytes;
    union {
        struct row_header header;
        struct transport_row transport;
        struct producer_row producer;
        struct consumer_row consumer;
    } fresh;

    switch (below(8)) {
    case 0: /* any bytes, also those of the header and the sequence */
        for (uint32_t n = 1 + below(4); n > 0; n--)
            bytes[below(size)] = odd_byte();
        break;
    case 1: /* one byte of what the row says */
        bytes[sizeof(*row) + below(size - sizeof(*row))] = odd_byte();
        break;
    case 2:
        odd_header(row);
        break;
    case 3: /* the same row twice, or one that belongs to another index */
        memcpy(bytes + sizeof(*row), (uint8_t *)hostile_row(b, table) + sizeof(*row),
               size - sizeof(*row));
        break;
    case 4:
        row->used = 0;
        break;
    default:
        plausible(table, (uint32_t)((size_t)(bytes - b->home->desired.tables[table]) / size),
                  &fresh);
        odd_header(&fresh.header);
        row_write(table, row, &fresh.header);
    }
    if (below(4))
        atomic_store(&row->sequence, 2 * below(1000));
    leave_honest_alone(table, row);
    b->written[table - TABLE_transport]++;
}

/* Tells the workers about some row. Sometimes the ring itself is hostile. */
static void tell(struct bench *b)
{
    struct ring_note note = {.table = hostile_tables[below(3)],
                             .handle = handle_make(below(HOSTILE), (uint32_t)any())};

    if (below(64) == 0)
        note = (struct ring_note){.table = (uint32_t)any(), .op = (uint32_t)any(), .handle = any()};
    ring_put_note(&b->home->changes, note);
    ring_put_note(&b->away->changes, note);
    if (below(5000) == 0)
        atomic_store(&b->home->changes.head->published, any());
    if (below(5000) == 0)
        atomic_fetch_add(&b->away->changes.head->overflows, 1);
}

static struct client *guest_connects(struct bench *b, struct rig *rig, uint32_t index,
                                     uint32_t generation)
{
    struct client *guest = &b->guests[index];

    client_close(guest);
    rig_transport(rig, guest, index, generation);
    rig_turn(rig);
    client_check(rig, guest, true);
    client_keys(rig, guest, generation, SRTP_PROFILE_aead_aes_128_gcm);
    return guest;
}

/* Two hostile transports get clients with keys, a producer and a consumer, and media. So packets run
 * through the objects that the rows make and change. */
static void guests_call(struct bench *b)
{
    uint32_t from = below(HOSTILE), to = (from + 1 + below(HOSTILE - 1)) % HOSTILE;
    uint32_t generation = 1 + below(3), producer = below(HOSTILE);
    struct rig *rig = below(2) ? b->home : b->away, *other = below(2) ? b->home : b->away;
    struct client *sender = guest_connects(b, rig, from, generation), *receiver;
    struct producer_row p = rig_audio_row(from, 5);
    struct consumer_row c = {.transport = handle_make(to, generation),
                             .producer = handle_make(producer, generation),
                             .ssrc = 1 + below(40),
                             .payload_type = 100,
                             .kind = MEDIA_KIND_audio};

    receiver = guest_connects(b, other, to, generation);
    p.transport = handle_make(from, generation);
    p.codec_payload_type[0] = 96;
    rig_row(rig, TABLE_producer, producer, &p.header, generation);
    both_turn(b);
    rig_row(other, TABLE_consumer, below(HOSTILE), &c.header, generation);
    both_turn(b);
    for (uint16_t i = 0; i < 8; i++) {
        uint8_t packet[1600];

        client_send_rtp(rig, sender, packet,
                        client_rtp(packet, 96, i, i * 960u, below(8) ? 5 : below(6), false, 100));
    }
    both_turn(b);
    b->media_of_guests += client_received_rtp(other, receiver, NULL, 0);
}

static uint64_t wanted_mutations(void)
{
    const char *text = getenv("RINGCAST_ROW_MUTATIONS"), *from = getenv("RINGCAST_ROW_SEED");

    if (from)
        seed = strtoull(from, NULL, 10) | 1;
    return text ? strtoull(text, NULL, 10) : MUTATIONS;
}

static void any_rows_do_no_harm(void **state)
{
    static struct bench b;
    uint64_t count = wanted_mutations(), done = 0, rounds = 0;

    bench_open(&b);
    while (done < count) {
        for (unsigned i = 0; i < MUTATIONS_PER_ROUND; i++, done++) {
            mutate(&b);
            tell(&b);
        }
        rounds++;
        if (rounds % 16 == 0)
            guests_call(&b);
        if (rounds % 128 == 0)
            rig_advance(b.home, 50 * NS_PER_MS); /* timers */
        honest_packet(&b);
    }
    for (unsigned w = 0; w < 2; w++)
        b.refused += (w ? b.away : b.home)->worker->turn.counters[COUNTER_rows_refused];
    print_message("%llu mutations (%llu of transports, %llu of producers, %llu of consumers), %llu "
                  "rows refused, %llu packets out to hostile transports\n",
                  (unsigned long long)done, (unsigned long long)b.written[0],
                  (unsigned long long)b.written[1], (unsigned long long)b.written[2],
                  (unsigned long long)b.refused, (unsigned long long)b.media_of_guests);
    print_message("honest call: %llu packets sent, %llu and %llu arrived\n",
                  (unsigned long long)b.sent, (unsigned long long)b.got[1],
                  (unsigned long long)b.got[2]);
    assert_int_equal(b.got[1], b.sent);
    assert_int_equal(b.got[2], b.sent);
    assert_true(b.refused > 0);
    assert_true(b.media_of_guests > 0);
    bench_close(&b);
}

/* The row that killed or hung the forwarder: in use, with generation 0, told twice. Nothing comes of
 * it; the same row with generation 1 is a transport. */
static void generation_zero_is_never_valid(void **state)
{
    static const enum table_id kinds[] = {TABLE_transport, TABLE_producer, TABLE_consumer};
    struct rig *rig = rig_open();
    struct client c;

    for (unsigned told = 0; told < 3; told++) {
        rig_transport(rig, &c, 0, 0);
        rig_turn(rig);
        for (unsigned k = 1; k < 3; k++) {
            union {
                struct row_header header;
                struct producer_row producer;
                struct consumer_row consumer;
            } row;

            plausible(kinds[k], 0, &row);
            rig_row(rig, kinds[k], 0, &row.header, 0);
            rig_turn(rig);
        }
        client_check(rig, &c, true);
        assert_int_equal(rig->sent_count, 0);
    }
    assert_int_equal(rig->worker->turn.counters[COUNTER_rows_refused], 9);
    rig_transport(rig, &c, 0, 1);
    rig_turn(rig);
    client_check(rig, &c, true);
    assert_int_equal(rig->sent_count, 1);
    rig_close(rig);
}

/* A consumer row that names a live producer's index with another generation: the producer stays. */
static void a_wrong_handle_removes_no_producer(void **state)
{
    static struct bench b;
    struct consumer_row row = {.transport = handle_make(HOME_SUBSCRIBER, 1),
                               .producer = handle_make(PRODUCER, 9),
                               .ssrc = 9000,
                               .payload_type = 101,
                               .kind = MEDIA_KIND_video};

    bench_open(&b);
    honest_packet(&b);
    rig_row(b.home, TABLE_consumer, 0, &row.header, 1);
    both_turn(&b);
    honest_packet(&b);
    assert_int_equal(b.got[1], 2);
    assert_int_equal(b.got[2], 2);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generation_zero_is_never_valid),
        cmocka_unit_test(a_wrong_handle_removes_no_producer),
        cmocka_unit_test(any_rows_do_no_harm),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
