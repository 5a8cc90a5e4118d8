/* Socket.IO 5 over Engine.IO 4 (polling and WebSocket with upgrade), namespace "/".
 *
 * Shape: engineio.c and socketio.c are engines without I/O (bytes and `now` in, bytes out);
 *        the server binds them to http.h's connections.
 * Threads: the loop's only.
 * Memory: a `struct socket` is counted: handlers get it borrowed; who keeps it over an asynchronous
 *         step takes socket_ref and gives socket_unref. After `closed` it stays readable
 *         (socket_is_open is false) and every function called on it does nothing.
 *         cJSON given to socket_ack / socket_emit becomes the server's.
 * Errors: protocol violations close the connection and are counted; handlers never see them. */
#ifndef RINGCAST_SOCKETIO_H
#define RINGCAST_SOCKETIO_H

#include "counters.h"
#include "http.h"

struct socket;

/* What came beside a binary event; bytes are borrowed. */
struct socket_attachment {
    const char *bytes;
    size_t count;
};

struct socket_handlers {
    /* CONNECT arrived. auth is its object (NULL when absent), bearer the handshake's Authorization
     * token (NULL when absent). Answer now or later with socket_accept or socket_refuse. */
    void (*connecting)(struct socket *socket, const cJSON *auth, const char *bearer);
    /* EVENT. args: the array behind the name. ack: id for socket_ack, -1 when none is wanted. */
    void (*event)(struct socket *socket, const char *name, const cJSON *args, int64_t ack);
    /* The socket is gone, whatever the reason ("transport close", "ping timeout", "client
     * disconnect", "server disconnect"). Called once, only for accepted sockets, never from inside
     * a socket_* call (but from socketio_close). */
    void (*closed)(struct socket *socket, const char *reason);
    /* BINARY_EVENT: args have {_placeholder, num} where attachments belong. NULL: no event takes
     * them, who sends one is closed. */
    void (*binary)(struct socket *socket, const char *name, const cJSON *args,
                   const struct socket_attachment *attachments, size_t count, int64_t ack);
};

/* Serves /socket.io/ on the HTTP server. */
struct socketio *socketio_open(struct http_server *http, const struct settings *settings,
                               const struct socket_handlers *handlers, void *context);
/* Tells and closes every socket; before http_close, the loop must run on until both are done. */
void socketio_close(struct socketio *io);
/* Tells every socket `event` with `value` (stays the caller's), and takes no new sessions any more. */
void socketio_drain(struct socketio *io, const char *event, const cJSON *value);
/* One more namespace beside "/", with the same handlers (the protocol's test cases need one). */
void socketio_namespace(struct socketio *io, const char *name);
const struct socketio_counters *socketio_counters(const struct socketio *io);

/* CONNECT {sid} to the client; then it takes part. */
void socket_accept(struct socket *socket);
/* CONNECT_ERROR {message}, then the transport is closed. */
void socket_refuse(struct socket *socket, const char *message);

void socket_ack(struct socket *socket, int64_t ack, cJSON *value);
void socket_emit(struct socket *socket, const char *event, cJSON *value);
/* The same event to many: encoded once. value stays the caller's. */
void socket_emit_all(struct socket *const *sockets, size_t count, const char *event,
                     const cJSON *value);
/* Any other shape: the packet's whole array ([event, …], or the values that answer `ack`; -1: an
 * event), with attachments where it has placeholders. */
void socket_send(struct socket *socket, int64_t ack, cJSON *array,
                 const struct socket_attachment *attachments, size_t count);
/* DISCONNECT packet and close; what was emitted before is flushed first. */
void socket_disconnect(struct socket *socket);

const char *socket_id(const struct socket *socket); /* 20 characters, as clients see it */
const char *socket_namespace(const struct socket *socket);
const char *socket_client_ip(const struct socket *socket);
bool socket_is_open(const struct socket *socket);
void *socket_context(const struct socket *socket); /* socketio_open's */
void *socket_data(const struct socket *socket);
void socket_set_data(struct socket *socket, void *data);
struct socket *socket_ref(struct socket *socket);
void socket_unref(struct socket *socket);

#endif
