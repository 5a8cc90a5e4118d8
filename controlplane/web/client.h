/* A client of the Socket.IO server: one Engine.IO session, bound to HTTP requests, a WebSocket and
 * the clock. It may have one socket for each namespace.
 *
 *   engine_requests.c (HTTP)  ─┐
 *   websocket.c (frames)      ─┼─► client: struct engine ─► io->message ─► socket.c ─► handlers
 *   timer                     ─┘
 *
 * Threads: the loop's. Memory: counted; a client is freed after its end and after the last
 * function that works on it. */
#ifndef RINGCAST_WEB_CLIENT_H
#define RINGCAST_WEB_CLIENT_H

#include "address_limits.h"
#include "engineio.h"
#include "http.h"
#include "socketio.h"
#include "socketio_protocol.h"
#include "websocket.h"

#define CLIENT_BUCKETS 4096
#define NAMESPACES_MAX 4
/* Until a handler has accepted a socket the client is unknown and needs to send only CONNECT with
 * a token of a few KB. It must not make us hold maxPayload bytes on every connection that it
 * opens. */
#define FIRST_MESSAGE_BYTES_MAX 65536

struct client;

struct socketio {
    uv_loop_t *loop;
    const struct settings *settings;
    struct engine_settings engine;
    const struct socket_handlers *handlers;
    void *context; /* the handlers' */
    /* A message of a client; false: it breaks the protocol. A test of Engine.IO sets an echo. */
    bool (*message)(struct client *client, const char *bytes, size_t count, bool is_binary);
    /* The client's session is over. */
    void (*ended)(struct client *client, const char *reason);
    struct socketio_counters counters;
    struct address_limits address_limits; /* sessions; a polling one holds no connection */
    unsigned namespace_count;
    unsigned handles; /* clients and socketio_open's own; at 0 the server is freed */
    bool is_draining;
    char namespaces[NAMESPACES_MAX][SOCKETIO_NAMESPACE_ROOM];
    struct client *clients[CLIENT_BUCKETS]; /* by session id */
};

struct client {
    struct socketio *io;
    struct client *next, **link; /* in its bucket; link is NULL after the end */
    struct address_limit *address_limit;
    uint32_t references;
    bool is_closed; /* the session is over; the next turn of the loop tells the sockets */
    bool is_probe;  /* the WebSocket is not the session's yet */
    struct engine engine;
    struct http_request *poll; /* waits for a message */
    struct http_request *post; /* its reply waits until post_until_ms: the client sends too much */
    uint64_t post_until_ms;
    uint64_t posted_until_us; /* the client has used its share of packets until this time */
    unsigned post_packets;    /* in the POST that is being read */
    struct websocket *websocket;
    uv_timer_t timer;
    uint64_t connect_until_ms; /* 0: it has an open socket */
    unsigned open_socket_count;
    uint16_t account;                       /* BUDGET_NO_SLOT, or the slot of its user's budget */
    struct socket *sockets[NAMESPACES_MAX]; /* by namespace */
    char *bearer;
    char ip[ADDRESS_TEXT_ROOM];
    /* A binary packet that waits for its attachments. */
    struct socketio_packet pending;
    struct socket_attachment attachments[SOCKETIO_ATTACHMENTS_MAX];
    unsigned attachment_count;
    size_t attachment_bytes;
};

/* ---- its life ---- */

/* NULL: there is none with this session id. */
struct client *client_find(struct socketio *io, struct slice sid);
/* Makes a client without transport; call client_open next. NULL: this has answered the request. */
struct client *client_new(struct socketio *io, struct http_request *request);
/* Begins the session. */
void client_open(struct client *client, enum engine_transport transport);
struct client *client_ref(struct client *client);
void client_unref(struct client *client);
/* Closes the session after all queued packets were sent. */
void client_close(struct client *client, const char *reason);
/* Ends the session and its sockets at once. */
void client_end(struct client *client, const char *reason);
void socketio_unref(struct socketio *io);

/* ---- packets and time ---- */

/* Takes the reference. packet NULL (there was no memory for it): closes the session. */
void client_send(struct client *client, struct engine_packet *packet);
/* Sets the timer to the earliest deadline; after everything that may change one. */
void client_rearm(struct client *client);
/* When the client has an open socket, its messages may be as long as maxPayload; otherwise not. */
void client_allow_messages(struct client *client);
void client_forget_pending(struct client *client);
/* Replies to the POST that was delayed, if there is one. */
void client_release_post(struct client *client);

/* ---- its WebSocket ---- */

/* The client's own frames. */
extern const struct websocket_handlers client_websocket_handlers;

#endif
