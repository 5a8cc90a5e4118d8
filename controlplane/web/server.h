/* The HTTP server's own state.
 *
 *   listener ─► http_connection (on connection) ─► dispatch ─► handler, page
 *                      ▲                                           │
 *                      └────────────────── reply ◄─────────────────┘
 */
#ifndef RINGCAST_WEB_SERVER_H
#define RINGCAST_WEB_SERVER_H

#include <time.h>

#include "address_limits.h"
#include "connection.h"
#include "http.h"
#include "listener.h"
#include "routes.h"

#define HTTP_LISTENERS_MAX 4
#define HTTP_METRICS_SOURCES_MAX 8
#define HTTP_STATUS_MAX 600

struct page;
struct policy;

struct http_server {
    const struct settings *settings;
    struct policy *policy;
    struct page *page; /* NULL: none is configured */
    struct routes routes;
    struct connection_shared shared;
    struct listener listeners[HTTP_LISTENERS_MAX];
    unsigned listener_count;
    unsigned handles; /* listeners, connections and http_open's own; at 0 the server is freed */
    bool is_closing, is_draining;
    uint32_t connection_count, connections_max;
    struct http_connection *connections;
    struct address_limits address_limits; /* connections for each address */
    uint64_t replies[HTTP_STATUS_MAX];    /* for each status */
    unsigned metrics_source_count;
    struct {
        metrics_source write;
        void *context;
    } metrics_sources[HTTP_METRICS_SOURCES_MAX];
    time_t date_s; /* what `date` says */
    char date[32];
};

#endif
