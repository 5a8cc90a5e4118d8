/* Limits of an unproven path, guesses, and proofs (threat D4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/engines/proof.c"

#define T0 (100 * NS_PER_S)

static void three_bytes_out_for_each_byte_in(void **state)
{
    struct proof_limit limit = {0};
    struct proof proof = {0};

    assert_false(proof_spend(&proof, &limit, PROOF_USE_CONTROL, 1, T0));
    proof_count_received(&proof, 100);
    assert_int_equal(proof_room(&proof, &limit, PROOF_USE_CONTROL, T0), 300);
    assert_false(proof_spend(&proof, &limit, PROOF_USE_CONTROL, 301, T0));
    assert_true(proof_spend(&proof, &limit, PROOF_USE_CONTROL, 64, T0));
    assert_false(proof_spend(&proof, &limit, PROOF_USE_CONTROL, 237, T0));
    assert_true(proof_spend(&proof, &limit, PROOF_USE_CONTROL, 236, T0));
    assert_false(proof_spend(&proof, &limit, PROOF_USE_CONTROL, 1, T0 + 3600 * NS_PER_S));
    proof_count_received(&proof, 1);
    assert_true(proof_spend(&proof, &limit, PROOF_USE_CONTROL, 3, T0 + 3600 * NS_PER_S));
}

/* However much is sent from however many addresses: at most 9500 bytes go out in any 30 s. */
static void all_paths_together_get_little(void **state)
{
    struct proof_limit limit = {0};
    struct proof proofs[8] = {0};
    uint64_t in_window[30] = {0}, most = 0;

    for (unsigned tick = 0; tick < 6000; tick++) { /* 100 a second; a pause after 30 s */
        uint64_t now_ns = T0 + tick * (NS_PER_S / 100) + (tick >= 3000 ? 60 * NS_PER_S : 0);
        unsigned second = (unsigned)((now_ns - T0) / NS_PER_S);

        if (tick == 3000)
            memset(in_window, 0, sizeof(in_window));
        if (tick % 100 == 0)
            in_window[second % 30] = 0;
        for (unsigned i = 0; i < 8; i++) {
            enum proof_use use = i < 3 ? (enum proof_use)i : PROOF_USE_CONTROL;

            proof_count_received(&proofs[i], 1500);
            if (proof_spend(&proofs[i], &limit, use, 64, now_ns))
                in_window[second % 30] += 64;
            if (proof_spend(NULL, &limit, PROOF_USE_STANDBY, 64, now_ns))
                in_window[second % 30] += 64;
        }
        if (tick % 100 == 99) {
            uint64_t sum = 0;

            for (unsigned i = 0; i < 30; i++)
                sum += in_window[i];
            if (sum > most)
                most = sum;
        }
    }
    printf("at most %llu bytes in 30 s\n", (unsigned long long)most);
    assert_in_range(most, 9000, 9500);
}

/* Media and standby paths leave something for checks and challenges of the nominated path. */
static void a_reserve_is_kept_for_the_nominated_path(void **state)
{
    static const enum proof_use others[] = {PROOF_USE_MEDIA, PROOF_USE_STANDBY};

    for (unsigned i = 0; i < 2; i++) {
        struct proof_limit limit = {0};
        struct proof proof = {.received_bytes = 1000000};

        for (unsigned k = 0; k < 100 && proof_spend(&proof, &limit, others[i], 100, T0); k++)
            continue;
        assert_int_equal(proof_room(&proof, &limit, others[i], T0), 0);
        assert_int_equal(proof_room(&proof, &limit, PROOF_USE_CONTROL, T0), PROOF_RESERVE_BYTES);
    }
}

static void only_the_challenge_of_this_path_proves(void **state)
{
    struct proof_limit limit = {0};
    struct proof proof = {0}, other = {0};

    assert_false(proof_echo(&proof, &limit, 1, 0, T0)); /* it was asked nothing yet */
    assert_true(proof_is_due(&proof, 0x12345678, 0xfff30001, T0));
    assert_int_equal(proof.challenge, 0x12345678 - 0x30001); /* 18 random bits */
    assert_true(proof_is_due(&other, 0x12345678, 0xfff00002, T0));
    assert_false(proof_is_due(&proof, 0x12345678, 7, T0 + PROOF_ASK_INTERVAL_NS - 1));
    assert_true(proof_is_due(&proof, 0x12355678, 7, T0 + PROOF_ASK_INTERVAL_NS));
    assert_int_equal(proof.challenge, 0x12345678 - 0x30001); /* the same, sent again */
    assert_false(proof_echo(&proof, &limit, 1, 0x12345678, T0));
    assert_false(proof_echo(&proof, &limit, 1, other.challenge, T0));
    assert_true(proof_echo(&proof, &limit, 1, proof.challenge, T0));
    assert_int_equal(proof.state, PROOF_COMPLETE);
    assert_false(proof_echo(&proof, &limit, 1, proof.challenge, T0)); /* only once */
    assert_true(proof_is_due(&other, 0x22345678, 3, T0 + PROOF_CHALLENGE_NS));
    assert_int_equal(other.challenge, 0x22345678 - 3); /* a new one */
}

/* A hostile participant has the keys and guesses. In a day it gets some 150 guesses of 2^18. */
static void guesses_are_few(void **state)
{
    struct proof_limit limit = {0};
    struct proof proofs[2] = {0};
    unsigned evaluated = 0, in_30_s = 0;

    proof_is_due(&proofs[0], 5000000, 0, T0);
    proof_is_due(&proofs[1], 5000000, 1, T0);
    for (uint32_t i = 0; i < 24 * 3600 * 10; i++) { /* 10 a second, for a day */
        uint64_t now_ns = T0 + i * (NS_PER_S / 10);
        struct proof *proof = &proofs[i & 1];
        bool is_locked = now_ns < limit.locked_until_ns;

        assert_false(proof_echo(proof, &limit, i & 1, i, now_ns));
        evaluated += !is_locked;
        in_30_s += !is_locked && i < 300;
    }
    printf("%u guesses in 30 s, %u in a day\n", in_30_s, evaluated);
    assert_true(in_30_s <= 16);
    assert_true(evaluated <= 260);
    /* the right value while it is locked proves nothing either */
    assert_false(proof_echo(&proofs[0], &limit, 0, proofs[0].challenge, limit.locked_until_ns - 1));
    assert_true(proof_echo(&proofs[0], &limit, 0, proofs[0].challenge, limit.locked_until_ns));
}

/* An honest client repeats reports from before it moved, for many streams, again and again. */
static void the_same_wrong_value_counts_once(void **state)
{
    struct proof_limit limit = {0};
    struct proof proof = {0};

    proof_is_due(&proof, 5000000, 77, T0);
    for (unsigned i = 0; i < 1000; i++)
        assert_false(proof_echo(&proof, &limit, 1, 4000000 + i % 5, T0 + i));
    assert_true(proof_echo(&proof, &limit, 1, proof.challenge, T0 + 2000));
}

static void media_in_a_row_is_half_a_proof(void **state)
{
    static const struct {
        uint32_t totals[6];
        unsigned count;
        bool proves;
    } table[] = {
        {{1, 2, 3, 4}, 4, true},
        {{7, 8, 9}, 3, false},
        {{1, 2, 3, 5, 6, 7}, 6, false}, /* one came from elsewhere meanwhile */
        {{1, 3, 4, 5, 6}, 5, true},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct proof_limit limit = {.used_bytes = PROOF_BUCKET_BYTES, .used_ns = T0};
        struct proof proof = {.received_bytes = 5000};
        bool proves = false;

        for (unsigned k = 0; k < table[i].count; k++)
            proves |= proof_media(&proof, table[i].totals[k]);
        assert_int_equal(proves, table[i].proves);
        assert_int_equal(proof.state, proves ? PROOF_SENDS : PROOF_NONE);
        /* Then three times what it sent is the only limit of RTCP; RTP is limited as before. */
        assert_int_equal(proof_room(&proof, &limit, PROOF_USE_CONTROL, T0), proves ? 15000 : 0);
        assert_int_equal(proof_room(&proof, &limit, PROOF_USE_MEDIA, T0), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_bytes_out_for_each_byte_in),
        cmocka_unit_test(all_paths_together_get_little),
        cmocka_unit_test(a_reserve_is_kept_for_the_nominated_path),
        cmocka_unit_test(only_the_challenge_of_this_path_proves),
        cmocka_unit_test(guesses_are_few),
        cmocka_unit_test(the_same_wrong_value_counts_once),
        cmocka_unit_test(media_in_a_row_is_half_a_proof),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
