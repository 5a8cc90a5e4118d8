/* Audit: every state change becomes a row, without holding up the call that made it.
 *
 * Rows are batched to the store; while it does not answer they go to an append-only, fsynced spool
 * file in the data directory, which is replayed in order, exactly once (row ids make a repeat
 * harmless). A call that changes something asks first whether its rows can be logged, and does not
 * happen when they cannot: nothing is acknowledged that was not logged (threats.md C22, F19–F21).
 * Threads: the loop's. Memory: everything given is copied. */
#ifndef RINGCAST_AUDIT_H
#define RINGCAST_AUDIT_H

#include "persistence.h"

/* A(name): the enum of the seed and ours (signaling.md §3). */
/* clang-format off */
#define AUDIT_ACTIONS(A) \
    A(room_created) A(room_closed) A(user_joined) A(user_left) A(user_kicked) A(user_muted) \
    A(all_muted) A(role_changed) A(producer_created) A(producer_closed) A(consumer_created) \
    A(user_registered) A(user_login) A(user_login_failed) A(transport_connected) \
    A(transport_failed) A(rate_limited) A(config_changed)
/* clang-format on */

enum audit_action {
#define A(name) AUDIT_##name,
    AUDIT_ACTIONS(A)
#undef A
        AUDIT_COUNT
};

struct audit;
struct audit *audit_open(uv_loop_t *loop, struct persistence *store,
                         const struct settings *settings, char *why /* 192 */);
/* Hands what is left to the store; call before persistence_close. */
void audit_close(struct audit *audit);
/* Whoever may still write after audit_close (calls that were under way) holds it until then: such
 * rows go to the spool, for the next start. */
void audit_hold(struct audit *audit);
void audit_release(struct audit *audit);

/* May a call go on that writes at most `rows`? False: the disk is full or broken, or the spool is
 * full because the store was away for too long; answer `unavailable`. */
bool audit_ready(struct audit *audit, uint64_t rows);

/* For /health. status: "ok", or what somebody should do something about; valid until the next. */
struct audit_health {
    const char *status;
    uint64_t spool_bytes, spool_bytes_max; /* rows that wait for the database */
    uint64_t rows_in_memory;               /* that the disk did not take */
    uint64_t rows_lost, lines_damaged;     /* since the start, */
    uint64_t calls_refused;                /* by audit_ready, */
    uint64_t alarms;                       /* levels that the spool reached: 50, 80, 95, 100 % */
};
void audit_health(struct audit *audit, struct audit_health *health);

/* True: the row is in the spool. False: memory keeps it as long as it can; what it stands for must
 * not be acknowledged.
 * user_id, room_id, ip: NULL or "" for null. metadata_format: printf of a JSON object, NULL for
 * none; texts in it must come from json-safe sources (ids, words of ours). */
bool audit_write(struct audit *audit, enum audit_action action, const char *user_id,
                 const char *room_id, const char *ip, const char *metadata_format, ...)
    __attribute__((format(printf, 6, 7)));

#endif
