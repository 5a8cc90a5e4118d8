/* HTTP/1.1 on a connection: reads one request at a time, hands it on when it is complete, continues
 * to the next one when its reply is written.
 *
 *   HEAD ─► BODY ─► HANDLER ─► REPLY ─► HEAD …      each state but HANDLER has a deadline
 *
 * Threads: the loop's. Memory: freed by http_connection_free, when its connection was released. */
#ifndef RINGCAST_WEB_HTTP_CONNECTION_H
#define RINGCAST_WEB_HTTP_CONNECTION_H

#include "address_limits.h"
#include "connection.h"
#include "http_parse.h"

/* A client that sends slower than this is cut off (threat C9). */
#define HTTP_HEAD_TIMEOUT_MS 5000
#define HTTP_BODY_TIMEOUT_MS 10000
#define HTTP_WRITE_TIMEOUT_MS 30000 /* for the client to take a reply */

struct http_request;
struct http_server;

/* Which port the connection came in by. */
enum listener_kind {
    LISTENER_MAIN,     /* PORT: everything; TLS when there is a certificate */
    LISTENER_REDIRECT, /* plain HTTP: redirects to https:// */
    LISTENER_METRICS   /* plain HTTP: /metrics and /health only */
};

enum http_state {
    HTTP_HEAD,
    HTTP_BODY,
    HTTP_HANDLER, /* a handler prepares the reply */
    HTTP_REPLY    /* the reply is being written */
};

struct http_connection {
    struct connection connection; /* first: a pointer to one is a pointer to the other */
    struct http_server *server;
    struct http_connection *next, **link; /* in the server's list */
    struct address_limit *address_limit;  /* NULL: the address is not limited */
    struct address peer;
    enum listener_kind kind;
    enum http_state state;
    bool keep_alive, half_closed, had_request;
    char *kept; /* the beginning of a head; during HANDLER and REPLY the bytes after the request */
    size_t kept_bytes, kept_room;
    struct http_chunks chunks;
    struct http_request *request; /* from the end of its head until its reply */
};

/* Pays for the kept bytes and for the request. False: it is too much. */
bool http_connection_hold(struct http_connection *http);
void http_connection_init(struct http_connection *http, struct http_server *server);
void http_connection_free(struct http_connection *http);

#endif
