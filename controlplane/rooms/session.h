/* A session is one authenticated socket of a user. */
#ifndef RINGCAST_ROOMS_SESSION_H
#define RINGCAST_ROOMS_SESSION_H

#include <sys/queue.h>

#include "controlplane/people/persistence.h"
#include "quota.h"

#define ROOMS_PER_SOCKET_MAX 8

/* So long before its token expires a client gets auth:expiring; at half the life of the token if
 * that is later, so that short tokens are not announced at once. */
#define EXPIRY_NOTICE_MS 60000

/* Each session is verified again every 3 s: a socket must be closed within 5 s after its user was
 * deactivated (threat C7). Per tick at most 512 sessions are verified, so that the store has time
 * for requests. This is enough for 6000 sockets; with more of them verifying takes longer. */
#define REVERIFY_MS 3000
#define REVERIFY_PER_TICK_MAX 512

struct session {
    struct rooms *rooms;
    struct socket *socket;
    char user_id[UUID_TEXT_BYTES];
    char display_name[401];
    char *token;
    /* Loop time, so that the wall clock may be set without effect: the socket is closed, and the
     * client is told before (UINT64_MAX: it was told). */
    uint64_t token_until_ms, announce_expiry_ms;
    uint32_t keys_version; /* of the keys that verified the token: auth_keys_version() */
    uint64_t verified_ms;  /* loop time */
    bool verifying;
    struct owner owner; /* whose budget of events it uses */
    LIST_HEAD(, participant) participants;
    uint32_t participant_count;
    TAILQ_ENTRY(session) link;
};

/* Takes the token, which auth has just verified, and frees the one before. Returns how long it will
 * be valid; 0: it is not, and the one before stays. */
uint64_t session_use_token(struct session *session, char *token);
/* Removes the user from all rooms at once, without grace time, and closes the socket. */
void session_disconnect(struct session *session);
/* Frees a session that no participant uses any more. */
void session_free(struct session *session);
/* Verifies the sessions whose turn it is. */
void sessions_reverify(struct rooms *rooms);

#endif
