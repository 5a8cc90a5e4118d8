/* What the clients of one address may hold and send together; the keyed hash of its table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "controlplane/web/budget.h"
#include "controlplane/web/keyed_hash.h"

#define MIB (1024u * 1024)

static struct budgets budgets;

static int fresh(void **state)
{
    memset(&budgets, 0, sizeof(budgets));
    budgets.known_bytes_per_address = 16 * MIB;
    budgets.messages_per_s = 1000;
    budgets.bytes_per_s = MIB;
    return 0;
}

/* The vectors of the paper: the key is 00 to 0f, the input 00, 01, 02 … */
static void hashes_as_the_paper_says(void **state)
{
    const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    unsigned char bytes[15];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)i;
    assert_true(keyed_hash_with(key, bytes, 0) == 0x726fdb47dd0e0e31u);
    assert_true(keyed_hash_with(key, bytes, 1) == 0x74f839c593dc67fdu);
    assert_true(keyed_hash_with(key, bytes, 8) == 0x93f5f5799a932462u);
    assert_true(keyed_hash_with(key, bytes, 15) == 0xa129ca6149be45e5u);
    assert_true(keyed_hash(bytes, 15) == keyed_hash(bytes, 15));
    assert_true(keyed_hash(bytes, 15) != keyed_hash_with(key, bytes, 15));
}

static uint16_t slot_of(const char *text)
{
    struct address address;

    assert_true(address_parse(text, &address));
    return budget_slot_of_address(address);
}

static void one_ipv6_network_has_one_slot(void **state)
{
    assert_int_equal(slot_of("2001:db8::1"), slot_of("2001:db8::ffff:1"));
    assert_int_equal(slot_of("192.0.2.1"), slot_of("192.0.2.1"));
}

static void strangers_hold_little(void **state)
{
    struct budget_share first = {.slot = 1}, second = {.slot = 1}, other = {.slot = 2};

    assert_true(budget_hold(&budgets, &first, 2 * MIB));
    assert_false(budget_hold(&budgets, &second, 1));
    assert_true(budget_hold(&budgets, &other, MIB)); /* another address */
    assert_true(budget_hold(&budgets, &first, MIB)); /* less than before */
    assert_true(budget_hold(&budgets, &second, MIB));
    budget_hold(&budgets, &first, 0);
    budget_hold(&budgets, &second, 0);
    budget_hold(&budgets, &other, 0);
    assert_true(budgets.strange_bytes == 0 && budgets.slots[1].strange_bytes == 0);
}

static void all_strangers_together_hold_12_mib(void **state)
{
    struct budget_share shares[8];
    unsigned held = 0;

    for (unsigned i = 0; i < 8; i++) {
        shares[i] = (struct budget_share){.slot = (uint16_t)i};
        held += budget_hold(&budgets, &shares[i], 2 * MIB);
    }
    assert_int_equal(held, 6);
}

static void known_clients_have_a_share_of_their_own(void **state)
{
    struct budget_share stranger = {.slot = 1}, known = {.slot = 1},
                        proxied = {.slot = BUDGET_NO_SLOT};

    assert_true(budget_hold(&budgets, &stranger, 2 * MIB));
    assert_true(budget_hold(&budgets, &known, 0));
    budget_move(&budgets, &known, 1, true);
    assert_true(budget_hold(&budgets, &known, 16 * MIB));
    assert_false(budget_hold(&budgets, &known, 16 * MIB + 1));
    assert_int_equal(known.bytes, 16 * MIB);
    assert_true(budget_hold(&budgets, &proxied, 3 * MIB)); /* only the total counts */
    budget_move(&budgets, &stranger, 1, true);             /* does not fit: holds nothing */
    assert_int_equal(stranger.bytes, 0);
    assert_false(budget_hold(&budgets, &stranger, 1));
}

static void messages_and_bytes_cost_time(void **state)
{
    struct budget_share one = {.slot = 1, .account = BUDGET_NO_SLOT}, other = one, user = one;
    uint64_t now_us = 5000000;

    other.slot = 2;
    user.slot = BUDGET_NO_SLOT;
    user.account = 3;
    assert_true(budget_spend(&budgets, &one, 4000, 0, now_us) == 0); /* the burst of 4 s */
    assert_true(budget_spend(&budgets, &one, 1000, MIB, now_us) == 2000000);
    assert_true(budget_spend(&budgets, &other, 1, 1, now_us) == 0); /* another address */
    assert_true(budget_spend(&budgets, &one, 0, 0, now_us + 2000000) == 0);
    assert_true(budget_spend(&budgets, &user, 500, 0, now_us) == 0); /* an eighth of the rate */
    assert_true(budget_spend(&budgets, &user, 125, 0, now_us) == 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_as_the_paper_says),
        cmocka_unit_test(one_ipv6_network_has_one_slot),
        cmocka_unit_test_setup(strangers_hold_little, fresh),
        cmocka_unit_test_setup(all_strangers_together_hold_12_mib, fresh),
        cmocka_unit_test_setup(known_clients_have_a_share_of_their_own, fresh),
        cmocka_unit_test_setup(messages_and_bytes_cost_time, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
