/* Persistence: people, meetings and audit rows, asynchronously. One interface; SQLite or PostgreSQL
 * behind it (settings->persistence; the tables are the seed's, column for column).
 *
 * Threads: called on the loop; callbacks come on the loop; the work happens elsewhere.
 * Memory: rows handed to callbacks are borrowed for the call. Texts given in are copied.
 * Errors: enum persistence_result. UNAVAILABLE: the store does not answer; try later. Every call
 *         gets its callback exactly once, never before the call has returned. */
#ifndef RINGCAST_PERSISTENCE_H
#define RINGCAST_PERSISTENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "src/settings.h"

enum persistence_result {
    PERSISTED,
    PERSISTENCE_NOT_FOUND,
    PERSISTENCE_DUPLICATE,
    PERSISTENCE_UNAVAILABLE
};

#define UUID_TEXT_BYTES 37
#define ROOM_CODE_BYTES 15 /* "ABCD-EFGH-JKLM" */

struct user_row {
    char id[UUID_TEXT_BYTES];
    char email[256], password_hash[256];
    char display_name[401]; /* 100 characters of UTF-8 */
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
    int64_t created_us; /* rows of one control plane: each later than the one before */
};

/* A query that has no answer after so long is answered UNAVAILABLE: 800 ms. Tests change it. */
extern uint64_t persistence_answer_ms_max;

struct persistence;
typedef void (*user_callback)(void *context, enum persistence_result result,
                              const struct user_row *user);
typedef void (*meeting_callback)(void *context, enum persistence_result result,
                                 const struct meeting_row *meeting);
typedef void (*done_callback)(void *context, enum persistence_result result);

/* SQLite: opens (and where needed creates) the database in settings->data_directory. PostgreSQL: begins
 * to connect; a server that is away, or tables that cannot be used, are said by persistence_status and
 * the log, and tried again. */
struct persistence *persistence_open(uv_loop_t *loop, const struct settings *settings,
                                     char *why /* 192 bytes */);
/* Finishes what is queued, then calls done. */
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
/* id or room code */
void meeting_find(struct persistence *store, const char *id_or_code, meeting_callback done,
                  void *context);
void meeting_set_active(struct persistence *store, const char *id, int64_t started_ms,
                        done_callback done, void *context);
void meeting_set_closed(struct persistence *store, const char *id, int64_t ended_ms,
                        done_callback done, void *context);
void meeting_raise_peak(struct persistence *store, const char *id, uint32_t participants,
                        done_callback done, void *context);
/* After a restart of the control plane: closes the meetings that it left active with nobody in them
 * (of several on one database: its own). */
void meetings_close_stale(struct persistence *store, int64_t ended_ms, done_callback done,
                          void *context);
/* No rows: a fence, answered when everything asked before it has been. */
void audit_insert_batch(struct persistence *store, const struct audit_row *rows, size_t count,
                        done_callback done, void *context);

/* A random UUID (version 4) as text; a room code; both from the system's CSPRNG. */
void uuid_make(char out[UUID_TEXT_BYTES]);
void room_code_make(char out[ROOM_CODE_BYTES]);

#endif
