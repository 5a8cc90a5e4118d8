/* Budgets of addresses and accounts. */
#include "budget.h"

#include <string.h>

#include "keyed_hash.h"

#define SECOND_US 1000000u

uint16_t budget_slot_of_address(struct address address)
{
    if (!address_is_ipv4(&address))
        memset(address.bytes + 8, 0, 8); /* its /64 network */
    return (uint16_t)(keyed_hash(address.bytes, sizeof(address.bytes)) % BUDGET_SLOTS);
}

uint16_t budget_slot_of_account(const char *id)
{
    return (uint16_t)(keyed_hash(id, strlen(id)) % BUDGET_SLOTS);
}

/* Adds `bytes` to what the share's slot holds. False: over a limit, nothing was added. */
static bool add(struct budgets *budgets, const struct budget_share *share, size_t bytes)
{
    uint64_t per_address =
        share->is_known ? budgets->known_bytes_per_address : BUDGET_STRANGE_BYTES_PER_ADDRESS;
    uint64_t in_all = share->is_known ? BUDGET_KNOWN_SHARES * per_address : BUDGET_STRANGE_BYTES;
    uint64_t *all = share->is_known ? &budgets->known_bytes : &budgets->strange_bytes;
    uint32_t *slot;

    if (*all + bytes > in_all)
        return false;
    if (share->slot != BUDGET_NO_SLOT) {
        slot = share->is_known ? &budgets->slots[share->slot].known_bytes
                               : &budgets->slots[share->slot].strange_bytes;
        if (*slot + bytes > per_address)
            return false;
        *slot += (uint32_t)bytes;
    }
    *all += bytes;
    return true;
}

static void subtract(struct budgets *budgets, const struct budget_share *share, uint32_t bytes)
{
    *(share->is_known ? &budgets->known_bytes : &budgets->strange_bytes) -= bytes;
    if (share->slot == BUDGET_NO_SLOT)
        return;
    *(share->is_known ? &budgets->slots[share->slot].known_bytes
                      : &budgets->slots[share->slot].strange_bytes) -= bytes;
}

bool budget_hold(struct budgets *budgets, struct budget_share *share, size_t bytes)
{
    if (bytes > share->bytes && !add(budgets, share, bytes - share->bytes))
        return false;
    if (bytes < share->bytes)
        subtract(budgets, share, share->bytes - (uint32_t)bytes);
    share->bytes = (uint32_t)bytes;
    return true;
}

void budget_move(struct budgets *budgets, struct budget_share *share, uint16_t slot, bool is_known)
{
    uint32_t bytes = share->bytes;

    budget_hold(budgets, share, 0);
    share->slot = slot;
    share->is_known = is_known;
    budget_hold(budgets, share, bytes); /* when it does not fit, the next budget_hold says so */
}

/* Returns how long the slot has to wait. */
static uint64_t spend(struct budgets *budgets, uint16_t slot, uint64_t cost_us, uint64_t now_us)
{
    uint64_t *spent_us;

    if (slot == BUDGET_NO_SLOT)
        return 0;
    spent_us = &budgets->slots[slot].spent_until_us;
    *spent_us = (*spent_us > now_us ? *spent_us : now_us) + cost_us;
    return *spent_us > now_us + BUDGET_BURST_US ? *spent_us - now_us - BUDGET_BURST_US : 0;
}

uint64_t budget_spend(struct budgets *budgets, const struct budget_share *share, uint32_t messages,
                      size_t bytes, uint64_t now_us)
{
    uint64_t cost_us = (uint64_t)messages * SECOND_US / budgets->messages_per_s +
                       (uint64_t)bytes * SECOND_US / budgets->bytes_per_s;
    uint64_t address_us = spend(budgets, share->slot, cost_us, now_us);
    uint64_t account_us = spend(budgets, share->account, cost_us * BUDGET_ACCOUNTS, now_us);

    return address_us > account_us ? address_us : account_us;
}
