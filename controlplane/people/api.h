/* The REST interface: /auth/register, /auth/login, /auth/me, POST /rooms, GET /rooms/:room.
 *
 * Threads: the loop. Source: controlplane/README.md (client contract). */
#ifndef RINGCAST_API_H
#define RINGCAST_API_H

#include "auth.h"

struct http_server;

#define API_WHY_BYTES 120
/* What the REST interface asks the rooms. */
struct api_rooms {
    /* How many people are in a room now. */
    uint32_t (*participant_count)(void *context, const char *room_id);
    /* May this user create a room now? Returns a ticket for creation_done; or NULL, and then
     * *retry_after_s is not 0: too many in a short time, or `why` is not empty: too many rooms. */
    void *(*creation_begin)(void *context, const char *user_id, const char *ip,
                            uint32_t *retry_after_s, char why[API_WHY_BYTES]);
    /* The room is made; or not: room_id is NULL. */
    void (*creation_done)(void *ticket, const char *room_id);
};

/* Registers the routes. */
void api_open(struct http_server *http, struct auth *auth, struct persistence *store,
              struct audit *audit, const struct settings *settings, const struct api_rooms *rooms,
              void *context);

#endif
