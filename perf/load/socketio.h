/* Socket.IO sessions over WebSocket (Engine.IO 4, Socket.IO 5). All sessions with one server belong
 * to one struct socketio: while the caller waits for the ack of one session, the pings of all are
 * answered.
 *
 * Threads: one, the signaling thread; functions block. Memory: the caller frees returned JSON.
 * Errors:  false or NULL, with a sentence in `why` (TARGET_WHY_BYTES). */
#ifndef RINGCAST_LOAD_SOCKETIO_H
#define RINGCAST_LOAD_SOCKETIO_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "http.h"

struct socketio;
struct session;

struct socketio *socketio_open(const struct server_url *url, char *why);
void socketio_close(struct socketio *socketio); /* closes its sessions, too */
/* Reads all sessions and answers pings. Returns when something arrived, or after timeout_ms. False:
 * a session ended that the caller did not close. */
bool socketio_service(struct socketio *socketio, int timeout_ms, char *why);

struct session *session_open(struct socketio *socketio, const char *token, char *why);
void session_close(struct session *session);

/* Sends an event and returns the number of its ack, or 0 if the session has ended. The payload is
 * JSON, written with a printf format; the values are not escaped. */
uint32_t session_send(struct session *session, const char *event, const char *payload, ...)
    __attribute__((format(printf, 3, 4)));
/* Waits for that ack and returns its value. An ack with status "error" counts as an error. */
cJSON *session_wait(struct session *session, uint32_t ack, char *why);

#endif
