/* Listening sockets: which connections are let in. */
#ifndef RINGCAST_WEB_LISTENER_H
#define RINGCAST_WEB_LISTENER_H

#include "http_connection.h"

struct listener {
    uv_tcp_t tcp;
    struct http_server *server;
    enum listener_kind kind;
    uv_tcp_t turned_away; /* a connection for which there is no memory: accepted and closed */
    bool is_turning_away, has_waiting;
};

/* Opens the ports that the settings name. why (192): which one failed and what to change. */
bool listeners_open(struct http_server *server, char *why);
void listeners_close(struct http_server *server);
/* Gives back one of the server's handles. */
void http_server_unref(struct http_server *server);

#endif
