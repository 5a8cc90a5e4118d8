/* Inside the HTTP server: connections, requests and what the other files of this folder ask of them.
 *
 *   accept ─► [tls] ─► connection (head, body, one request at a time) ─► request (route, policy) ─► handler
 *                          │                                            │
 *                          └── after 101: websocket                     └── reply ─► connection
 */
#ifndef RINGCAST_WEB_SERVER_H
#define RINGCAST_WEB_SERVER_H

#include "certificate.h"
#include "counters.h"
#include "http.h"
#include "http_parse.h"
#include "engine_packet.h"
#include "address_limits.h"
#include "tls_server.h"

#define HTTP_HANDSHAKE_TIMEOUT_MS 10000 /* TLS: three round trips over a bad mobile link */
#define HTTP_HEAD_TIMEOUT_MS 5000       /* threats.md C9 */
#define HTTP_BODY_TIMEOUT_MS 10000      /* likewise; a message of a WebSocket too */
#define HTTP_IDLE_TIMEOUT_MS 30000      /* between two requests of a kept connection */
#define HTTP_WRITE_TIMEOUT_MS 30000     /* a reply that is not taken */
#define HTTP_LINGER_MS 2000             /* reading on after the last reply, so that it arrives */
#define HTTP_LINGER_BYTES_MAX (4u * 1024 * 1024)
#define HTTP_IP_ROOM 46
#define HTTP_ROUTES_MAX 32
#define HTTP_LISTENERS_MAX 4
#define HTTP_READ_BYTES 65536
#define HTTP_REPLY_HEADERS_ROOM 512

/* A TLS peer that makes us answer records (key updates) and reads none of the answers. */
#define HTTP_UNREAD_BYTES_MAX (4u * 1024 * 1024)
#define HTTP_STATUS_MAX 600
/* One WebSocket's share: 640 frames a second, 1000 at once. Who says more is read on later, so that TCP
 * slows it down instead of us everybody else (threats.md C19). Of what it may say no more than this is
 * handled before the others have their turn; what one read brought is always handled. */
#define WEBSOCKET_FRAME_US 1562
#define WEBSOCKET_BURST_US (1000 * WEBSOCKET_FRAME_US)
#define WEBSOCKET_TURN_FRAMES 16
#define WEBSOCKET_READ_BYTES 4096

struct page;
struct policy;
struct websocket;

enum listener_kind {
    LISTENER_MAIN,     /* PORT: everything; TLS when there is a certificate */
    LISTENER_REDIRECT, /* plain: sends to https */
    LISTENER_METRICS   /* plain: /metrics and /health only */
};

struct listener {
    uv_tcp_t tcp;
    struct http_server *server;
    enum listener_kind kind;
};

struct metrics_entry {
    metrics_source write;
    void *context;
};

struct route {
    char method[8]; /* "" for any (raw) */
    char path[128];
    bool has_parameter, is_raw;
    size_t body_bytes_max;
    void (*handler)(struct http_request *request);
    void *context;
};

struct http_server {
    uv_loop_t *loop;
    const struct settings *settings;
    struct policy *policy;
    struct page *page;
    struct certificate *certificate; /* NULL: plain HTTP */
    struct listener listeners[HTTP_LISTENERS_MAX];
    unsigned listener_count;
    unsigned handles; /* not closed yet; the server is freed after the last */
    bool is_closing, is_draining;
    uint32_t connection_count, connections_max;
    struct connection *connections;
    struct address_limits address_limits; /* connections */
    unsigned route_count;
    struct route routes[HTTP_ROUTES_MAX];
    struct http_counters counters;
    uint64_t replies[HTTP_STATUS_MAX]; /* by status */
    unsigned metrics_count;
    struct metrics_entry metrics[HTTP_METRICS_SOURCES_MAX];
    time_t date_s;
    char date[32];
    char read_buffer[HTTP_READ_BYTES];
    char plain_buffer[HTTP_READ_BYTES]; /* what TLS made of it */
};

enum connection_state {
    CONNECTION_HANDSHAKE, /* TLS */
    CONNECTION_HEAD,
    CONNECTION_BODY,
    CONNECTION_HANDLER,   /* a handler is at work */
    CONNECTION_REPLY,     /* its reply is being written */
    CONNECTION_WEBSOCKET, /* bytes are the websocket's */
    CONNECTION_LINGER,    /* everything said: reads until the peer closes or time is up */
    CONNECTION_CLOSING
};

struct connection {
    uv_tcp_t tcp;
    uv_timer_t timer;
    struct http_server *server;
    struct connection *next, **link;
    struct address_limit *address_limit; /* NULL for trusted proxies: not counted */
    struct tls_server *tls;              /* NULL: plain, or no byte has come yet */
    struct address address;
    enum connection_state state;
    enum listener_kind kind;
    uint8_t handles;
    bool reading, keep_alive, half_closed, had_request, is_doomed;
    bool is_paused; /* said much: is read on when the timer says so */
    uint16_t frames_read;
    uint64_t frames_spent_until_us;
    uint32_t lingered_bytes;
    char *in; /* part of a head, or pipelined bytes while a handler works */
    size_t in_bytes, in_room;
    struct http_chunks chunks;
    struct http_request *request;
    struct websocket *websocket;
};

struct http_request {
    struct http_server *server;    /* valid while connection is */
    struct connection *connection; /* NULL: the client has gone */
    const struct route *route;
    struct http_head head; /* into head_text */
    char *head_text;
    char *body;
    size_t body_bytes, body_room, body_bytes_max;
    cJSON *json;
    char *bearer;
    char client_ip[HTTP_IP_ROOM];
    char parameter[128];
    const char *allow_origin; /* "*", "" for none, else the request's own */
    char headers[HTTP_REPLY_HEADERS_ROOM];
    void (*gone)(void *context);
    void *gone_context;
};

/* ---- http.c ---- */
void server_unref(struct http_server *server);

/* ---- accept.c ---- */
void connection_accept(struct listener *listener);

/* ---- connection.c ---- */
/* The connection counts as one of the server's and can be closed. NULL: no memory. */
struct connection *connection_new(struct http_server *server);
/* TLS or the first request, whatever this listener speaks. */
void connection_begin(struct connection *connection, bool is_tls);
/* Everything queued is written, then the connection ends. */
void connection_finish(struct connection *connection);
void connection_close(struct connection *connection);
/* What has begun must be over by then; 0: nothing has. */
void connection_set_deadline(struct connection *connection, uint64_t timeout_ms);
/* What was to be said is out: on to the next request, or the end. */
void connection_replied(struct connection *connection);
/* On the loop's next turn: for those in the middle of something. */
void connection_close_soon(struct connection *connection);

/* ---- connection_output.c ---- */
/* What TLS itself has to say: handshake, tickets, alerts. */
void connection_flush_tls(struct connection *connection);
/* Queues bytes for writing: `owned` is freed afterwards, `borrowed` must live as long as the
 * server. after_reply: then the connection goes on to the next request, or lingers. */
void connection_write(struct connection *connection, char *owned, size_t owned_bytes,
                      const char *borrowed, size_t borrowed_bytes, bool after_reply);
void connection_write_packet(struct connection *connection, struct engine_packet *packet);

/* ---- request.c ---- */
/* The head is complete: makes the request, or answers what is wrong with it (returns NULL). */
struct http_request *http_request_open(struct connection *connection, const char *head,
                                       size_t head_bytes);
/* Grows the body by `count` and gives where to put them; NULL when the limit was passed or memory
 * is out, *status then says which. */
char *http_request_body_room(struct http_request *request, size_t count, int *status);
void http_request_dispatch(struct http_request *request);
/* The client went away: the handler is told, its reply will go nowhere. */
void http_request_gone(struct http_request *request);
void http_request_free(struct http_request *request);
/* A status for somebody whose request head was refused; the connection ends after it. */
void connection_refuse(struct connection *connection, int status, const char *message);

/* ---- raw requests: bytes instead of JSON, any method (socketio.c) ---- */
void http_route_raw(struct http_server *server, const char *path, size_t body_bytes_max,
                    void (*handler)(struct http_request *request), void *context);
/* Called at most once, before the reply, when the client goes away; the request must still be replied
 * to. */
void http_on_gone(struct http_request *request, void (*gone)(void *context), void *context);
void http_reply_bytes(struct http_request *request, int status, const char *type, const char *bytes,
                      size_t count);
void http_reply_page(struct http_request *request, int status, const char *type,
                     const char *borrowed, size_t count);

/* ---- policy.c: who may ask, and who asks ---- */
struct policy *policy_open(const struct settings *settings, char *why /* 192 */);
void policy_free(struct policy *policy);
/* Value for Access-Control-Allow-Origin: "" when the request has no Origin or it is the page's own;
 * NULL: refused. *copy is used when the origin itself is the answer. */
const char *policy_origin(const struct policy *policy, const struct http_head *head,
                          const struct address *peer, char *copy, size_t room);
bool policy_is_proxy(const struct policy *policy, const struct address *address);
/* The right-most address of X-Forwarded-For that is not a trusted proxy's. */
void policy_client_ip(const struct policy *policy, const struct address *peer,
                      const struct http_head *head, char ip[HTTP_IP_ROOM]);
bool address_parse(const char *text, struct address *address);
void address_print(const struct address *address, char ip[HTTP_IP_ROOM]);

/* ---- metrics.c ---- */
void metrics_reply(struct http_request *request);

/* ---- static.c: the page's files, in memory ---- */
struct page *page_load(const char *directory, char *why /* 192 */);
void page_free(struct page *page);
/* Answers the request when the page has that path (GET, HEAD); false: it has not. */
bool page_reply(const struct page *page, struct http_request *request);

/* ---- websocket.c ---- */
/* Bytes from the peer; the connection may be closing afterwards. */
void websocket_feed(struct websocket *websocket, const char *bytes, size_t count);
/* A message has begun and is not whole yet. */
bool websocket_is_receiving(const struct websocket *websocket);
/* The connection is gone; tells the owner and frees. */
void websocket_lost(struct websocket *websocket);

#endif
