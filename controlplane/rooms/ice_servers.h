/* The STUN and TURN servers that a client is told to use. */
#ifndef RINGCAST_ROOMS_ICE_SERVERS_H
#define RINGCAST_ROOMS_ICE_SERVERS_H

#include <cjson/cJSON.h>

#include "src/settings.h"

/* The array iceServers for this user, with fresh credentials for TURN. */
cJSON *ice_servers(const struct settings *settings, const char *user_id);
/* False, with a sentence in `why`: the settings contradict each other. */
bool ice_servers_check(const struct settings *settings, char *why /* 192 bytes */);

#endif
