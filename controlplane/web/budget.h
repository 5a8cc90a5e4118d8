/* What all clients of one address, or all sockets of one account, may hold and send together.
 *
 *   held bytes   heads, bodies and messages that are not complete, and requests that are being
 *                answered. Strangers (clients without an open Socket.IO socket) have a small share.
 *   time         messages and bytes cost time; a client that has used up its time is not read for a
 *                while. This is asked before anything is parsed.
 *
 * Addresses and accounts share BUDGET_SLOTS slots; a keyed hash chooses the slot. Nothing is
 * allocated, so a stranger cannot fill the table. Two that meet in one slot share its budget.
 * Threads: the loop's. */
#ifndef RINGCAST_WEB_BUDGET_H
#define RINGCAST_WEB_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"

#define BUDGET_SLOTS 4096
#define BUDGET_NO_SLOT BUDGET_SLOTS /* a trusted proxy: only the total is limited */
#define BUDGET_STRANGE_BYTES_PER_ADDRESS (2u * 1024 * 1024)
#define BUDGET_STRANGE_BYTES (12u * 1024 * 1024) /* of all strangers together (threat C0) */
#define BUDGET_KNOWN_SHARES 8 /* all known clients may hold this many times one address's share */
#define BUDGET_BURST_US (4u * 1000 * 1000)
#define BUDGET_ACCOUNTS 8 /* an account gets this part of the time of an address */
#define BUDGET_REFUSE_US (2u * 1000 * 1000) /* who must wait longer gets no new request in */

struct budgets {
    uint32_t known_bytes_per_address;
    uint32_t messages_per_s, bytes_per_s;
    uint64_t strange_bytes, known_bytes; /* held now by all */
    struct {
        uint32_t strange_bytes, known_bytes;
        uint64_t spent_until_us;
    } slots[BUDGET_SLOTS];
};

/* One connection's part. Zeroed: a stranger that holds nothing; set `slot` before use. */
struct budget_share {
    uint16_t slot, account; /* account: BUDGET_NO_SLOT until a handler names it */
    bool is_known;
    uint32_t bytes;
};

/* All addresses of one IPv6 /64 network have one slot. */
uint16_t budget_slot_of_address(struct address address);
uint16_t budget_slot_of_account(const char *id);

/* From now on the connection holds `bytes`. False: that is too much; it holds what it held. */
bool budget_hold(struct budgets *budgets, struct budget_share *share, size_t bytes);
/* What the connection holds counts elsewhere from now on. */
void budget_move(struct budgets *budgets, struct budget_share *share, uint16_t slot, bool is_known);

/* The address and the account pay for messages and bytes. Returns how many microseconds the client
 * must wait before it is read again. */
uint64_t budget_spend(struct budgets *budgets, const struct budget_share *share, uint32_t messages,
                      size_t bytes, uint64_t now_us);

#endif
