/* Inside of persistence: one step that was asked for, as it travels loop → store thread → loop. */
#ifndef RINGCAST_REQUEST_H
#define RINGCAST_REQUEST_H

#include "persistence.h"

#define STORE_PROBLEM_BYTES 160

/* R(kind, callback type, changes the database) */
/* clang-format off */
#define REQUESTS(R)                      \
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

enum request_kind {
#define R(kind, callback, writes) REQUEST_##kind,
    REQUESTS(R)
#undef R
};

union request_callback {
    user_callback user;
    meeting_callback meeting;
    done_callback done;
};

struct request {
    struct request *next;
    enum request_kind kind;
    enum persistence_result result;
    bool abandoned; /* answered for it already: drop the outcome (under the queue's mutex) */
    uint64_t asked_ns;
    union request_callback callback;
    void *context;
    char key[256];  /* id, email, room code */
    char text[256]; /* hash */
    int64_t number;
    union {
        struct user_row user;
        struct meeting_row meeting;
        struct {
            struct audit_row *rows; /* freed with the request; metadata texts follow the rows */
            size_t count;
        } audit;
    } row;
    char problem[STORE_PROBLEM_BYTES]; /* set with PERSISTENCE_UNAVAILABLE */
};

#endif
