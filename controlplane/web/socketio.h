/* The Socket.IO 5 server, over Engine.IO 4 (polling, WebSocket, and the upgrade between them).
 *
 * Shape:   engineio.c and socketio_protocol.c are engines without I/O. client.c and
 *          engine_requests.c bind them to HTTP requests and WebSockets.
 * Threads: the loop's only.
 * Memory:  a struct socket has counted references. Handlers borrow it; code that needs it after an
 *          asynchronous step uses socket_ref and socket_unref. After `closed` it can still be read
 *          (socket_is_open is false) and functions that send do nothing. A cJSON that is given to
 *          socket_ack or socket_emit becomes the server's.
 * Errors:  a client that breaks the protocol is closed and counted. Handlers do not see it. */
#ifndef RINGCAST_SOCKETIO_H
#define RINGCAST_SOCKETIO_H

#include "counters.h"
#include "http.h"

struct socket;

/* Binary data of an event. The bytes are borrowed. */
struct socket_attachment {
    const char *bytes;
    size_t count;
};

struct socket_handlers {
    /* A client wants to connect. auth: the object in its CONNECT packet, or NULL. bearer: the
     * token in the Authorization header of its first request, or NULL. Answer now or later with
     * socket_accept or socket_refuse. */
    void (*connecting)(struct socket *socket, const cJSON *auth, const char *bearer);
    /* An event. args: an array. ack: for socket_ack; -1: no acknowledgement is wanted. */
    void (*event)(struct socket *socket, const char *name, const cJSON *args, int64_t ack);
    /* The socket is closed; reason: "transport close", "ping timeout", "client disconnect",
     * "server disconnect" or another. Called once, only for accepted sockets. Except by
     * socketio_close it is never called from inside a socket_* function. */
    void (*closed)(struct socket *socket, const char *reason);
    /* An event with attachments: args have {_placeholder, num} in their places. May be NULL: then
     * `event` gets such an event without arguments, so that it answers with an error. */
    void (*binary)(struct socket *socket, const char *name, const cJSON *args,
                   const struct socket_attachment *attachments, size_t count, int64_t ack);
};

/* Serves /socket.io/ on the HTTP server. */
struct socketio *socketio_open(struct http_server *http, const struct settings *settings,
                               const struct socket_handlers *handlers, void *context);
/* Closes every socket. Comes before http_close; then the loop must run until both are done. */
void socketio_close(struct socketio *io);
/* Sends `event` with `value` (stays the caller's) to every socket. No new sessions are accepted. */
void socketio_drain(struct socketio *io, const char *event, const cJSON *value);
/* Adds a namespace to "/", with the same handlers. The test cases of the protocol need one. */
void socketio_namespace(struct socketio *io, const char *name);
const struct socketio_counters *socketio_counters(const struct socketio *io);

/* Sends CONNECT {sid}. The socket is open now. */
void socket_accept(struct socket *socket);
/* Names the user; before socket_accept. All sockets of a user share a budget of messages and
 * bytes, which is asked before a message is parsed. */
void socket_set_account(struct socket *socket, const char *user_id);
/* Sends CONNECT_ERROR {message} and closes the session. */
void socket_refuse(struct socket *socket, const char *message);

void socket_ack(struct socket *socket, int64_t ack, cJSON *value);
void socket_emit(struct socket *socket, const char *event, cJSON *value);
/* Sends one event to many sockets and encodes it once. value stays the caller's. */
void socket_emit_all(struct socket *const *sockets, size_t count, const char *event,
                     const cJSON *value);
/* Sends an array with attachments where it has placeholders. ack -1: the array is [event, …];
 * otherwise it holds the values of the acknowledgement. */
void socket_send(struct socket *socket, int64_t ack, cJSON *array,
                 const struct socket_attachment *attachments, size_t count);
/* Closes the session, after everything that was sent before. socket_disconnect sends DISCONNECT
 * first, and Socket.IO's own client library then stays away. After socket_close the library
 * connects again by itself. */
void socket_disconnect(struct socket *socket);
void socket_close(struct socket *socket);
/* Closes the session at once and sends nothing. It is for lack of memory, when the client
 * would miss a message. The client's library connects again. */
void socket_abort(struct socket *socket);

const char *socket_id(const struct socket *socket); /* 20 characters, as clients see it */
const char *socket_namespace(const struct socket *socket);
const char *socket_client_ip(const struct socket *socket);
bool socket_is_open(const struct socket *socket);
void *socket_context(const struct socket *socket); /* given to socketio_open */
void *socket_data(const struct socket *socket);
void socket_set_data(struct socket *socket, void *data);
struct socket *socket_ref(struct socket *socket);
void socket_unref(struct socket *socket);

#endif
