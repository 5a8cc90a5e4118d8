/* Audit: every change of state becomes a row, and the request that caused it does not wait for the
 * database.
 *
 * Each row goes to the spool first, a file in the data directory, and from there in batches to the
 * database. While the database does not answer, the rows wait in the spool, synced to the disk.
 * They then arrive in order and exactly once: the ids of the rows make a repeat harmless. A request
 * that changes something asks first whether its rows can be logged, and fails when they cannot:
 * nothing is confirmed to a client that was not logged (threats C22, F19–F21).
 * Threads: the loop's. Memory: everything given is copied. */
#ifndef RINGCAST_AUDIT_H
#define RINGCAST_AUDIT_H

#include "persistence.h"

/* A(name): the audit actions of the NestJS backend, and those that Ringcast adds. */
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
                         const struct settings *settings, char *why /* WHY_BYTES */);
/* Sends the waiting rows to the database. Call it before persistence_close. */
void audit_close(struct audit *audit);
/* Requests in progress may write rows after audit_close. Whoever runs such requests holds the audit
 * until they have ended; the rows go to the spool, and the next start sends them. */
void audit_hold(struct audit *audit);
void audit_release(struct audit *audit);

/* May a request continue that writes at most `rows`? False: the disk is full or broken, or the
 * spool is full because the database was unavailable for too long. The request then fails with
 * `unavailable`. */
bool audit_ready(struct audit *audit, uint64_t rows);

/* For /health and /metrics. */
struct audit_health {
    /* "ok", or what an operator should do something about. Valid until the next audit_health. */
    const char *status;
    uint64_t spool_bytes, spool_bytes_max; /* rows that wait for the database */
    uint64_t rows_in_memory;               /* rows that the disk did not take */
    /* since the start */
    uint64_t rows_lost, lines_damaged;
    uint64_t requests_refused; /* by audit_ready */
    uint64_t alarms;           /* levels that the spool reached: 50, 80, 95, 100 % */
};
void audit_health(struct audit *audit, struct audit_health *health);

/* True: the row is in the spool. False: memory keeps the row as long as it can, and the change that
 * it stands for must not be confirmed to the client. user_id, room_id, ip: NULL or "" for null.
 * metadata_format: a printf format of a JSON object, or NULL. Texts in it must need no escaping in
 * JSON (ids, fixed words). */
bool audit_write(struct audit *audit, enum audit_action action, const char *user_id,
                 const char *room_id, const char *ip, const char *metadata_format, ...)
    __attribute__((format(printf, 6, 7)));

#endif
