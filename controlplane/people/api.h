/* The REST interface: /auth/register, /auth/login, /auth/me, POST /rooms, GET /rooms/:room.
 *
 * Threads: the loop. Source: controlplane/README.md (client contract). */
#ifndef RINGCAST_API_H
#define RINGCAST_API_H

#include "auth.h"

struct http_server;
/* Registers the routes. participant_count: how many people are in a room now. */
void api_open(struct http_server *http, struct auth *auth, struct persistence *store,
              struct audit *audit, const struct settings *settings,
              uint32_t (*participant_count)(void *context, const char *room_id), void *context);

#endif
