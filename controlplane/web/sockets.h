/* Inside the Socket.IO server: one client per Engine.IO session, one socket per namespace of it. */
#ifndef RINGCAST_WEB_SOCKETS_H
#define RINGCAST_WEB_SOCKETS_H

#include "engineio.h"
#include "server.h"
#include "socketio.h"
#include "socketio_protocol.h"
#include "websocket.h"

#define CLIENT_BUCKETS 4096
#define NAMESPACES_MAX 4
/* Until a handler has accepted a socket its client is a stranger, who only says CONNECT (with a token
 * of a few KB): it must not make us keep maxPayload bytes on every connection it can open. */
#define FIRST_MESSAGE_BYTES_MAX 65536

struct client;

struct socketio {
    struct http_server *http;
    uv_loop_t *loop;
    const struct settings *settings;
    struct engine_settings engine;
    const struct socket_handlers *handlers;
    void *context;
    /* client_message; a test of Engine.IO alone puts an echo here. false: it breaks the protocol. */
    bool (*message)(struct client *client, const char *bytes, size_t count, bool is_binary);
    struct socketio_counters counters;
    struct address_limits
        address_limits; /* sessions per address: a polling one holds no connection */
    unsigned namespace_count, handles;
    bool is_draining;
    char namespaces[NAMESPACES_MAX][SOCKETIO_NAMESPACE_ROOM];
    struct client *clients[CLIENT_BUCKETS];
};

struct client {
    struct socketio *io;
    struct client *next, **link; /* in its bucket, by sid */
    struct address_limit *address_limit;
    uint32_t references;
    bool is_closed, is_probe; /* is_probe: the websocket is not the session's yet */
    struct engine engine;
    struct http_request *poll; /* waits for something to say */
    struct http_request *post; /* taken; answered at post_until_ms, for the client says too much */
    uint64_t post_until_ms, posted_until_us;
    unsigned post_packets; /* of the one being taken */
    struct websocket *websocket;
    uv_timer_t timer;
    uint64_t connect_until_ms; /* 0: a socket is there */
    struct socket *sockets[NAMESPACES_MAX];
    char *bearer;
    char ip[HTTP_IP_ROOM];
    /* a binary packet whose attachments are still coming */
    struct socketio_packet pending;
    struct socket_attachment attachments[SOCKETIO_ATTACHMENTS_MAX];
    unsigned attachment_count;
    size_t attachment_bytes;
};

enum socket_state { SOCKET_CONNECTING, SOCKET_OPEN, SOCKET_CLOSED };

struct socket {
    uint32_t references;
    enum socket_state state;
    struct client *client; /* NULL: gone */
    unsigned name_space;
    void *context, *data;
    char id[SID_ROOM];
    char name[SOCKETIO_NAMESPACE_ROOM];
    char ip[HTTP_IP_ROOM];
};

/* ---- socket.c ---- */
/* A Socket.IO message of the client; false: it breaks the protocol. */
bool client_message(struct client *client, const char *bytes, size_t count, bool is_binary);
/* Takes the socket off its client and tells the handlers, when it was accepted. */
void socket_end(struct socket *socket, const char *reason);
void client_forget_pending(struct client *client);

/* ---- socketio.c ---- */
void client_send(struct client *client, struct engine_packet *packet); /* takes the reference */
void client_close(struct client *client, const char *reason);
void client_rearm(struct client *client);
/* Messages may be as long as maxPayload from now on, when the client has a socket. */
void client_allow_messages(struct client *client);

#endif
