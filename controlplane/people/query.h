/* Inside of persistence: one step that was asked for, as it travels front → backend → front, and what
 * a backend is.
 *
 * persistence.c (front): bounds, time limits, health ── submit ──► backend (SQLite on a thread,
 *        PostgreSQL on the loop) ── query_finished ──► front ──► callback */
#ifndef RINGCAST_QUERY_H
#define RINGCAST_QUERY_H

#include <sys/queue.h>

#include "persistence.h"

#define STORE_PROBLEM_BYTES 160

/* R(kind, callback type, changes the database) */
/* clang-format off */
#define QUERIES(R)                      \
    R(USER_INSERT, done, true)           \
    R(USER_BY_EMAIL, user, false)        \
    R(USER_BY_ID, user, false)           \
    R(USER_SET_HASH, done, true)         \
    R(MEETING_INSERT, done, true)        \
    R(MEETING_FIND, meeting, false)      \
    R(MEETING_SET_ACTIVE, done, true)    \
    R(MEETING_SET_CLOSED, done, true)    \
    R(MEETING_RAISE_PEAK, done, true)    \
    R(MEETINGS_CLOSE_STALE, done, true)  \
    R(AUDIT_INSERT, done, true)          \
    R(PROBE, done, true)
/* clang-format on */

enum query_kind {
#define R(kind, callback, writes) QUERY_##kind,
    QUERIES(R)
#undef R
};

union query_callback {
    user_callback user;
    meeting_callback meeting;
    done_callback done;
};

struct query {
    TAILQ_ENTRY(query) asked; /* the front's: not answered yet, in the order of asking */
    TAILQ_ENTRY(query) link;  /* the backend's queue, then what is finished */
    enum query_kind kind;
    enum persistence_result result;
    bool answered; /* the front's: too late, the outcome is nobody's any more */
    bool repeated; /* the backend's: was sent once already */
    uint64_t asked_ns;
    union query_callback callback;
    void *context;
    char key[256];  /* id, email, room code */
    char text[256]; /* hash */
    int64_t number;
    union {
        struct user_row user;
        struct meeting_row meeting;
        struct {
            struct audit_row *rows; /* freed with the query; metadata texts follow the rows */
            size_t count;
        } audit;
    } row;
    char problem[STORE_PROBLEM_BYTES]; /* with PERSISTENCE_UNAVAILABLE: what ails the store; "": the
                                          store is well, only this step is refused */
};
TAILQ_HEAD(query_list, query);

/* Each function is called on the loop. */
struct backend {
    /* Takes the step; query_finished gives it back, once, never before this has returned. */
    void (*submit)(struct backend *backend, struct query *query);
    /* Out of time. True: the backend has let go of it (problem may say why it was not done). False: it
     * cannot be stopped; query_finished still comes. */
    bool (*withdraw)(struct backend *backend, struct query *query);
    /* Every step has been answered: ends with backend_closed. */
    void (*close)(struct backend *backend);
    void (*free)(struct backend *backend);
};

/* For backends. The first two: any thread. backend_problem: on the loop, for what is found out without
 * a step; the front then probes until a probe succeeds. */
void query_finished(struct persistence *store, struct query *query);
void backend_closed(struct persistence *store);
void backend_problem(struct persistence *store, const char *problem);

struct backend *sqlite_backend_open(struct persistence *store, const struct settings *settings,
                                    char *why /* WHY_BYTES */);
struct backend *postgres_backend_open(struct persistence *store, uv_loop_t *loop,
                                      const struct settings *settings, char *why /* WHY_BYTES */);

#endif
