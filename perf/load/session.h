/* Socket.IO sessions over WebSocket (Engine.IO 4, Socket.IO 5), and plain HTTP calls. One hub serves
 * all sessions: whoever waits for one ack answers the pings of all.
 *
 * Threads: one, the signaling thread; calls block. Memory: texts returned are the caller's to free.
 * Errors:  false or NULL with a sentence in `why` (TARGET_WHY_BYTES). */
#ifndef RINGCAST_LOAD_SESSION_H
#define RINGCAST_LOAD_SESSION_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

struct hub;
struct session;

/* url: http://host:port */
struct hub *hub_open(const char *url, char *why);
void hub_close(struct hub *hub); /* its sessions too */
/* POST of a JSON text, or GET when body is NULL; the parsed answer and its status, whatever that is. */
cJSON *hub_call(struct hub *hub, const char *path, const char *body, long *status, char *why);
/* Reads what came on all sessions and answers pings, for timeout_ms at most or until something came.
 * False: a session was lost that nobody closed. */
bool hub_service(struct hub *hub, int timeout_ms, char *why);

struct session *session_open(struct hub *hub, const char *token, char *why);
void session_close(struct session *session);

/* Sends an event and returns its ack's number; payload is JSON made by a printf format (nothing in it
 * is escaped). 0: the session is gone. */
uint32_t session_send(struct session *session, const char *event, const char *payload, ...)
    __attribute__((format(printf, 3, 4)));
/* Waits for that ack. An error ack ({status:"error"}) is an error. The value is the caller's. */
cJSON *session_wait(struct session *session, uint32_t ack, char *why);

#endif
