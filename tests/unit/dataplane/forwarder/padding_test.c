/* Padding that makes neighbouring packets equal: which sizes go together, and what a subscriber
 * gets, on the same worker and on another one. */
#include "call.h"

#include "dataplane/forwarder/padding.h"

enum { PACKETS_MAX = 12 };

struct row {
    const char *what;
    unsigned count;
    uint16_t payload[PACKETS_MAX];
    uint16_t padded[PACKETS_MAX]; /* payload and padding */
    unsigned sends;               /* sends for one subscriber */
};

static const struct row rows[] = {
    {"equal already", 3, {900, 900, 900}, {900, 900, 900}, 1},
    {"the last one is shorter", 3, {900, 900, 400}, {900, 900, 400}, 1},
    {"split as a packetizer does", 4, {901, 901, 900, 900}, {901, 901, 901, 900}, 1},
    {"first ones shorter", 4, {900, 900, 901, 901}, {901, 901, 901, 901}, 1},
    {"the last one longer", 3, {900, 900, 910}, {910, 910, 910}, 1},
    {"exactly the maximum apart", 3, {900, 932, 900}, {932, 932, 900}, 1},
    {"too far apart, longer", 3, {900, 900, 933}, {900, 900, 933}, 2},
    {"too far apart, shorter", 3, {933, 900, 900}, {933, 900, 900}, 2},
    {"two groups", 6, {900, 901, 600, 500, 501, 499}, {901, 901, 600, 501, 501, 499}, 2},
    {"a single packet", 1, {900}, {900}, 1},
    {"near the limit of a datagram",
     3,
     {1440, 1441, 1442},
     {1442, 1442, 1442},
     1}, /* + 24 of header, 16 of tag */
};

struct spread_call {
    struct handoff *handoff;
    struct rig *home, *there; /* there: the worker of the subscriber, perhaps the same */
    struct client people[2];
};

static void turn(struct spread_call *x)
{
    bool busy;

    do {
        rig_now_ns += 1000;
        busy = worker_turn(x->home->worker);
        if (x->there != x->home)
            busy |= worker_turn(x->there->worker);
    } while (busy);
}

static void spread_call_open(struct spread_call *x, bool two_workers)
{
    memset(x, 0, sizeof(*x));
    x->handoff = two_workers ? handoff_new(2) : NULL;
    x->home = rig_open_first(x->handoff);
    x->there = two_workers ? rig_open_next(x->home, 1) : x->home;
    rig_connect(x->home, &x->people[0], 0, SRTP_PROFILE_aead_aes_128_gcm);
    rig_connect(x->there, &x->people[1], 1, SRTP_PROFILE_aes128_cm_sha1_80);
    rig_video_producer(x->home, 0, 0, false);
    turn(x);
    rig_consumer(x->there, 1, 1, 0, 1000, false, 1);
    for (int i = 0; i < 4; i++)
        turn(x);
}

static void spread_call_close(struct spread_call *x)
{
    client_close(&x->people[0]);
    client_close(&x->people[1]);
    if (x->there != x->home)
        rig_close(x->there);
    rig_close(x->home);
    handoff_delete(x->handoff);
}

static void packets_are_padded_as_the_table_says(void **state)
{
    for (int two = 0; two < 2; two++)
        for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
            const struct row *row = &rows[r];
            struct rig_sent *got = calloc(PACKETS_MAX, sizeof(*got));
            struct spread_call x;
            uint64_t sends;

            spread_call_open(&x, two);
            sends = io_replay_backend.counters(x.there->io)->sends;
            for (unsigned i = 0; i < row->count; i++) {
                uint8_t packet[1600];
                size_t bytes = client_rtp(packet, 96, (uint16_t)(100 + i), 9000, VIDEO_SSRC, i == 0,
                                          row->payload[i]);

                client_send_rtp(x.home, &x.people[0], packet, bytes);
            }
            x.there->sent_count = 0;
            turn(&x);
            assert_int_equal(client_received_rtp(x.there, &x.people[1], got, PACKETS_MAX),
                             row->count);
            sends = io_replay_backend.counters(x.there->io)->sends - sends;
            if (sends != row->sends)
                fail_msg("%s: %u sends", row->what, (unsigned)sends);
            for (unsigned i = 0; i < row->count; i++) {
                const uint8_t *p = got[i].data;
                unsigned padding = row->padded[i] - row->payload[i];
                uint8_t want[1600];

                if (got[i].bytes != 24u + row->padded[i])
                    fail_msg("%s, packet %u: %u bytes", row->what, i, got[i].bytes);
                assert_int_equal(p[0] >> 5 & 1, padding > 0);
                if (padding)
                    assert_int_equal(p[got[i].bytes - 1], padding);
                client_rtp(want, 96, (uint16_t)(100 + i), 9000, VIDEO_SSRC, i == 0,
                           row->payload[i]);
                assert_memory_equal(p + 24, want + 12, row->payload[i]);
            }
            /* sender reports count the payload without padding (RFC 3550 6.4.1) */
            {
                uint32_t payload = 0;

                for (unsigned i = 0; i < row->count; i++)
                    payload += row->payload[i];
                assert_int_equal(x.there->worker->consumers.all[1].payload_bytes, payload);
            }
            free(got);
            spread_call_close(&x);
        }
}

/* A packet that padding would make too long for a datagram is left as it is. */
static void padding_makes_no_packet_too_long(void **state)
{
    struct packet *packet = calloc(1, sizeof(*packet)), *longer = calloc(1, sizeof(*longer));
    struct packet *const both[] = {packet, longer};
    struct producer p = {.typical = {.payload_type = 101}};
    uint8_t bytes[12] = {0x80};

    for (int i = 0; i < 2; i++) {
        memcpy(both[i]->room, bytes, sizeof(bytes));
        both[i]->data = both[i]->room;
        both[i]->payload_at = 12;
        both[i]->bytes = (uint16_t)(DATAGRAM_BYTES_MAX - 10 + i * 11);
        both[i]->payload_bytes = (uint16_t)(both[i]->bytes - 12);
        assert_true(rtp_parse(both[i]->room, both[i]->bytes, &both[i]->view));
    }
    padding_merge(p.sent_id, &p.typical, both, 2);
    assert_int_equal(packet->padding_bytes, 0);
    assert_int_equal(packet->bytes, DATAGRAM_BYTES_MAX - 10);
    free(packet);
    free(longer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_are_padded_as_the_table_says),
        cmocka_unit_test(padding_makes_no_packet_too_long),
    };

    srtp_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
