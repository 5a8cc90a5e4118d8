/* The HTTP interface of Janus: one session, its handles to the VideoRoom plugin, and messages to
 * them.
 *
 *   janus_request  answered in the HTTP response ("success" or "ack")
 *   janus_ask      answered by an event, which one long poll of the session delivers
 *
 * Threads: one, the signaling thread. Memory: requests given to a function become its own; the
 *          caller frees what is returned.
 * Errors:  false, 0 or NULL, with a sentence in `why` (TARGET_WHY_BYTES). */
#ifndef RINGCAST_LOAD_JANUS_API_H
#define RINGCAST_LOAD_JANUS_API_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

struct janus;

struct janus *janus_connect(const char *url, char *why);
void janus_disconnect(struct janus *janus);

/* Makes a handle of the plugin; 0: it failed. */
uint64_t janus_attach(struct janus *janus, char *why);
void janus_detach(struct janus *janus, uint64_t handle);

/* A message to the plugin. room 0: without a room. Further fields go into *body. */
cJSON *janus_message(const char *plugin_request, uint64_t room, cJSON **body);
void janus_add_sdp(cJSON *message, const char *type, const char *sdp);
/* Adds a Janus id as a plain integer. */
void janus_add_id(cJSON *object, const char *name, uint64_t id);

cJSON *janus_request(struct janus *janus, uint64_t handle, cJSON *request, char *why);
/* Returns the event. *code: the error code of the plugin, or 0. */
cJSON *janus_ask(struct janus *janus, uint64_t handle, cJSON *message, int *code, char *why);

/* The plugin's data in an answer or event. */
const cJSON *janus_data(const cJSON *message);
/* False: the plugin refused the request. */
bool janus_is_success(const cJSON *message, int *code, char *why);
/* Janus's ids have at most 53 bits, so that a double holds them. 0: none. */
uint64_t janus_id(const cJSON *object, const char *name);

#endif
