/* Compares SRTP and SRTCP with libsrtp2: both must make the same bytes of the same random packets,
 * and each must accept what the other made. */
#include "support.h"

#include <srtp2/srtp.h>

static struct srtp_engine *engine;

static int set_up(void **state)
{
    engine = srtp_engine_new();
    return engine && srtp_init() == srtp_err_status_ok ? 0 : -1;
}

static int tear_down(void **state)
{
    srtp_engine_delete(engine);
    return srtp_shutdown() == srtp_err_status_ok ? 0 : -1;
}

static srtp_t oracle_new(struct test_key *k, srtp_ssrc_type_t direction)
{
    srtp_policy_t policy = {0};
    srtp_t oracle;

    switch (k->profile) {
    case SRTP_PROFILE_aead_aes_128_gcm:
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp);
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp);
        break;
    case SRTP_PROFILE_aead_aes_256_gcm:
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtp);
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtcp);
        break;
    default:
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtp);
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_80(&policy.rtcp);
    }
    policy.ssrc.type = direction;
    policy.key = k->master;
    policy.window_size = 1024;
    assert_int_equal(srtp_create(&oracle, &policy), srtp_err_status_ok);
    return oracle;
}

struct flow {
    uint32_t ssrc;
    uint64_t index; /* of the next packet */
    struct srtp_stream stream;
};

#define ROUNDS 120
#define FLOWS 4

/* Both protect the same burst of packets from FLOWS senders. Then each reads the packets of the
 * other. */
static void rtp_round(struct test_key *k, srtp_t sender, srtp_t receiver, struct flow *flows,
                      size_t count)
{
    static uint8_t clear[64][1700], ours[64][1700], theirs[64][1700];
    struct srtp_unprotect_job receive[64];
    struct srtp_protect_job send[64];
    int bytes[64], oracle_bytes;

    for (size_t i = 0; i < count; i++) {
        struct flow *flow = &flows[random_below(FLOWS)];
        uint64_t index = flow->index;
        size_t header, payload = random_below(8) == 0 ? random_below(40) : random_below(1400);

        flow->index += 1 + (random_below(10) == 0 ? random_below(300) : 0);
        header = random_header(clear[i], flow->ssrc, (uint16_t)index);
        random_fill(clear[i] + header, payload);
        memcpy(ours[i], clear[i], header);
        memcpy(theirs[i], clear[i], header + payload);
        bytes[i] = (int)(header + payload);
        assert_int_equal(srtp_protect(sender, theirs[i], &bytes[i]), srtp_err_status_ok);
        send[i] = (struct srtp_protect_job){
            .key = &k->key,
            .out = ours[i],
            .payload = clear[i] + header,
            .index = index,
            .ssrc = flow->ssrc,
            .header_bytes = (uint16_t)header,
            .payload_bytes = (uint16_t)payload,
        };
        receive[i] = unprotect_job(&k->key, &flow->stream, theirs[i], header, (size_t)bytes[i]);
    }
    srtp_protect_burst(engine, send, count);
    for (size_t i = 0; i < count; i++)
        assert_memory_equal(ours[i], theirs[i], (size_t)bytes[i]);
    srtp_unprotect_burst(engine, receive, count);
    for (size_t i = 0; i < count; i++) {
        size_t clear_bytes = (size_t)send[i].header_bytes + send[i].payload_bytes;

        assert_int_equal(receive[i].result, SRTP_OK);
        assert_int_equal(receive[i].index, send[i].index);
        assert_int_equal(receive[i].bytes, clear_bytes);
        assert_memory_equal(theirs[i], clear[i], clear_bytes);
        oracle_bytes = bytes[i];
        assert_int_equal(srtp_unprotect(receiver, ours[i], &oracle_bytes), srtp_err_status_ok);
        assert_int_equal(oracle_bytes, clear_bytes);
        assert_memory_equal(ours[i], clear[i], clear_bytes);
    }
}

static void rtp_is_the_same_in_both_directions(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        for (size_t set = 0; set < 3; set++) {
            struct flow flows[FLOWS] = {0};
            srtp_t sender, receiver;
            struct test_key k;
            uint64_t wraps = 0;

            test_key_make(engine, &k, profiles[p]);
            sender = oracle_new(&k, ssrc_any_outbound);
            receiver = oracle_new(&k, ssrc_any_inbound);
            for (size_t f = 0; f < FLOWS; f++) {
                flows[f].ssrc = (uint32_t)random64();
                flows[f].index = f < 2 ? 65536 - 200 : random_below(65536);
            }
            for (size_t round = 0; round < ROUNDS; round++)
                rtp_round(&k, sender, receiver, flows, 1 + random_below(64));
            for (size_t f = 0; f < FLOWS; f++)
                wraps += flows[f].index >> 16;
            assert_true(wraps >= 2);
            srtp_dealloc(sender);
            srtp_dealloc(receiver);
        }
    }
}

/* Packets that are lost, reordered, repeated or far ahead: both accept and refuse the same ones. */
static void same_packets_are_accepted(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        struct srtp_stream stream = {0};
        uint64_t newest = 60000, taken = 0, refused = 0;
        struct test_key k;
        srtp_t receiver;

        test_key_make(engine, &k, profiles[p]);
        receiver = oracle_new(&k, ssrc_any_inbound);
        for (size_t i = 0; i < 12000; i++) {
            uint8_t clear[200] = {0x80, 96}, ours[256], theirs[256];
            struct srtp_unprotect_job job;
            uint64_t index;
            size_t bytes;
            int oracle_bytes;
            bool same;

            switch (random_below(8)) {
            case 0:
                index = newest - random_below(1100);
                break;
            case 1:
                index = newest - random_below(20);
                break;
            case 2:
                newest += random_below(1500);
                index = newest;
                break;
            default:
                index = ++newest;
            }
            clear[2] = (uint8_t)(index >> 8);
            clear[3] = (uint8_t)index;
            bytes = protect_one(engine, &k.key, index, clear, 12, 12 + random_below(180), ours);
            if (random_below(16) == 0)
                ours[random_below(bytes)] ^= 0x10;
            memcpy(theirs, ours, bytes);
            if ((ours[0] & 0x3f) != 0) /* this changed the length of the header */
                continue;
            job = unprotect_job(&k.key, &stream, ours, 12, bytes);
            srtp_unprotect_burst(engine, &job, 1);
            oracle_bytes = (int)bytes;
            same = (srtp_unprotect(receiver, theirs, &oracle_bytes) == srtp_err_status_ok) ==
                   (job.result == SRTP_OK);
            if (!same)
                fail_msg("profile %zu packet %zu index %llx newest %llx: ours %d", p, i,
                         (unsigned long long)index, (unsigned long long)newest, job.result);
            taken += job.result == SRTP_OK;
            refused += job.result != SRTP_OK;
        }
        assert_true(taken > 6000 && refused > 1000);
        srtp_dealloc(receiver);
    }
}

static void rtcp_is_the_same_in_both_directions(void **state)
{
    for (size_t p = 0; p < PROFILES; p++) {
        struct srtcp_window window = {0};
        srtp_t sender, receiver;
        struct test_key k;
        uint32_t index[3] = {0}; /* libsrtp2 counts for each sender, from 1 */

        test_key_make(engine, &k, profiles[p]);
        sender = oracle_new(&k, ssrc_any_outbound);
        receiver = oracle_new(&k, ssrc_any_inbound);
        for (size_t i = 0; i < 1500; i++) {
            size_t clear_bytes = 8 + 4 * random_below(90), bytes = clear_bytes;
            uint8_t clear[600], ours[600], theirs[600];
            uint32_t ssrc = (uint32_t)random_below(3);
            int oracle_bytes = (int)clear_bytes;

            random_fill(clear, sizeof(clear));
            clear[0] = 0x80 | (clear[0] & 31);
            clear[1] = (uint8_t)(200 + random_below(7));
            srtp_store32(clear + 4, ssrc);
            memcpy(ours, clear, sizeof(clear));
            memcpy(theirs, clear, sizeof(clear));
            assert_int_equal(srtcp_protect(engine, &k.key, ++index[ssrc], ours, &bytes), SRTP_OK);
            assert_int_equal(srtp_protect_rtcp(sender, theirs, &oracle_bytes), srtp_err_status_ok);
            assert_int_equal(bytes, oracle_bytes);
            assert_memory_equal(ours, theirs, bytes);
            assert_int_equal(srtp_unprotect_rtcp(receiver, ours, &oracle_bytes),
                             srtp_err_status_ok);
            assert_int_equal(oracle_bytes, clear_bytes);
            assert_memory_equal(ours, clear, clear_bytes);
            assert_int_equal(srtcp_unprotect(engine, &k.key, &window, theirs, &bytes), SRTP_OK);
            assert_int_equal(bytes, clear_bytes);
            assert_memory_equal(theirs, clear, clear_bytes);
        }
        srtp_dealloc(sender);
        srtp_dealloc(receiver);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rtp_is_the_same_in_both_directions),
        cmocka_unit_test(same_packets_are_accepted),
        cmocka_unit_test(rtcp_is_the_same_in_both_directions),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
