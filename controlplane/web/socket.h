/* Sockets of the Socket.IO server, as the files of this folder see them; others use socketio.h. */
#ifndef RINGCAST_WEB_SOCKET_H
#define RINGCAST_WEB_SOCKET_H

#include "client.h"

enum socket_state { SOCKET_CONNECTING, SOCKET_OPEN, SOCKET_CLOSED };

struct socket {
    uint32_t references;
    enum socket_state state;
    struct client *client; /* NULL: the socket is closed */
    unsigned name_space;   /* index in socketio.namespaces */
    void *context, *data;
    char id[SID_ROOM];
    char name[SOCKETIO_NAMESPACE_ROOM];
    char ip[ADDRESS_TEXT_ROOM];
};

/* A Socket.IO message of the client. False: it breaks the protocol. */
bool sockets_receive(struct client *client, const char *bytes, size_t count, bool is_binary);
/* The client's session is over: closes its sockets. */
void sockets_close(struct client *client, const char *reason);

#endif
