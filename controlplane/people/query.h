/* One query to a database. persistence.c makes it, a database runs it (database.h), and
 * persistence.c calls the caller back with the result. */
#ifndef RINGCAST_QUERY_H
#define RINGCAST_QUERY_H

#include <sys/queue.h>

#include "persistence.h"

#define DATABASE_PROBLEM_BYTES 160

/* R(kind, callback type, changes the database) */
/* clang-format off */
#define QUERIES(R)                         \
    R(USER_INSERT, done, true)             \
    R(USER_BY_EMAIL, user, false)          \
    R(USER_BY_ID, user, false)             \
    R(USER_SET_HASH, done, true)           \
    R(MEETING_INSERT, done, true)          \
    R(MEETING_FIND, meeting, false)        \
    R(MEETING_NEXT_ACTIVE, meeting, false) \
    R(MEETING_SET_ACTIVE, done, true)      \
    R(MEETING_SET_CLOSED, done, true)      \
    R(MEETING_RAISE_PEAK, done, true)      \
    R(AUDIT_INSERT, done, true)            \
    R(PROBE, done, true)
/* clang-format on */

enum query_kind {
#define R(name, callback, writes) QUERY_##name,
    QUERIES(R)
#undef R
};

union query_callback {
    user_callback user;
    meeting_callback meeting;
    done_callback done;
};

struct query {
    TAILQ_ENTRY(query) unanswered; /* persistence.c: in the order in which they were asked */
    TAILQ_ENTRY(query) link;       /* the database's queue, then the list of finished queries */
    enum query_kind kind;
    enum persistence_result result;
    bool answered; /* persistence.c answered it when its time was over: drop the late result */
    bool repeated; /* do not repeat it: it was repeated once, or it is finished */
    uint64_t asked_ns;
    union query_callback callback;
    void *context;
    char key[256];  /* id, email, room code */
    char text[256]; /* password hash */
    int64_t number;
    union {
        struct user_row user;
        struct meeting_row meeting;
        struct {
            struct audit_row *rows; /* freed with the query; metadata texts follow the rows */
            size_t count;
        } audit;
    } row;
    /* With PERSISTENCE_UNAVAILABLE: what is wrong with the database. "": the database works; it
     * refuses only this query. */
    char problem[DATABASE_PROBLEM_BYTES];
};
TAILQ_HEAD(query_list, query);

/* For queries.c. query_make returns NULL when there is no place for one more query; the callback
 * then comes with PERSISTENCE_UNAVAILABLE. */
struct query *query_make(struct persistence *store, enum query_kind kind,
                         union query_callback callback, void *context);
void query_send(struct persistence *store, struct query *query);
/* Answers the query with PERSISTENCE_UNAVAILABLE without asking the database. */
void query_fail(struct persistence *store, struct query *query, const char *problem);

#endif
