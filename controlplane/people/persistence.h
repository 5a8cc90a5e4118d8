/* Persistence: users, meetings and audit rows in a database, asynchronously. The setting
 * RINGCAST_PERSISTENCE chooses the database: SQLite or PostgreSQL (database.h). The tables are
 * those of the NestJS backend, which Ringcast replaces, column for column.
 *
 * Threads: called on the loop, and callbacks come on the loop; the work happens elsewhere.
 * Memory: a row given to a callback is valid during that call. Texts given in are copied.
 * Errors: enum persistence_result. UNAVAILABLE: the database does not answer; try later. Every
 *         query gets its callback exactly once, never before the function that asks has
 *         returned. */
#ifndef RINGCAST_PERSISTENCE_H
#define RINGCAST_PERSISTENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "src/settings.h"
#include "uuid.h"

enum persistence_result {
    PERSISTED,
    PERSISTENCE_NOT_FOUND,
    PERSISTENCE_DUPLICATE,
    PERSISTENCE_UNAVAILABLE
};

struct user_row {
    char id[UUID_TEXT_BYTES];
    char email[256], password_hash[256];
    char display_name[401]; /* 100 characters in UTF-8 */
    bool is_active;
    int64_t created_ms, updated_ms;
};

struct meeting_row {
    char id[UUID_TEXT_BYTES], room_code[ROOM_CODE_BYTES], host_id[UUID_TEXT_BYTES];
    char title[1021];
    char status[8]; /* waiting, active, closed */
    uint32_t participants_max, participants_peak;
    int64_t created_ms, updated_ms, started_ms, ended_ms; /* 0: null */
};

struct audit_row {
    char id[UUID_TEXT_BYTES];
    char action[32];
    char user_id[UUID_TEXT_BYTES], room_id[UUID_TEXT_BYTES]; /* "": null */
    const char *metadata;                                    /* JSON object text, NULL: null */
    char ip_address[46];
    int64_t created_us; /* in one control plane each row is later than the one before */
};

/* A query without a result after this time is answered with UNAVAILABLE. 800 ms, so that a caller
 * gets its answer within a second. Tests change it. */
extern uint64_t persistence_answer_ms_max;

struct persistence;
typedef void (*user_callback)(void *context, enum persistence_result result,
                              const struct user_row *user);
typedef void (*meeting_callback)(void *context, enum persistence_result result,
                                 const struct meeting_row *meeting);
typedef void (*done_callback)(void *context, enum persistence_result result);

/* Opens the one of `kinds` (databases.h) that settings->persistence names. SQLite: opens the
 * database in settings->data_directory, and creates it where it is missing. PostgreSQL: begins to
 * connect; when the server does not answer or its tables cannot be used, persistence_status and the
 * log say so, and persistence tries again. */
struct database_kind;
struct persistence *persistence_open(uv_loop_t *loop, const struct settings *settings,
                                     const struct database_kind *const kinds[] /* NULL ends it */,
                                     char *why /* WHY_BYTES */);
/* Finishes the queries that wait, then calls done. */
void persistence_close(struct persistence *store, void (*done)(void *context), void *context);
/* "ok" or what is wrong; for /health. */
const char *persistence_status(const struct persistence *store);

void user_insert(struct persistence *store, const struct user_row *user, done_callback done,
                 void *context);
void user_by_email(struct persistence *store, const char *email, user_callback done, void *context);
void user_by_id(struct persistence *store, const char *id, user_callback done, void *context);
void user_set_password_hash(struct persistence *store, const char *id, const char *hash,
                            done_callback done, void *context);
void meeting_insert(struct persistence *store, const struct meeting_row *meeting,
                    done_callback done, void *context);
/* id or room code, in any spelling of uuid.h */
void meeting_find(struct persistence *store, const char *id_or_code, meeting_callback done,
                  void *context);
void meeting_set_active(struct persistence *store, const char *id, int64_t started_ms,
                        done_callback done, void *context);
void meeting_set_closed(struct persistence *store, const char *id, int64_t ended_ms,
                        done_callback done, void *context);
void meeting_raise_peak(struct persistence *store, const char *id, uint32_t participants,
                        done_callback done, void *context);
/* After a restart of the control plane: the meetings that its last run left active, one with each
 * call. after_id: the last one, "" for the first; NOT_FOUND: there are no more. Where several
 * control planes share a database, each gets only its own. */
void meeting_next_active(struct persistence *store, const char *after_id, meeting_callback done,
                         void *context);
/* Without rows it is a barrier: it is answered after every query that was sent before it. */
void audit_insert_batch(struct persistence *store, const struct audit_row *rows, size_t count,
                        done_callback done, void *context);

#endif
