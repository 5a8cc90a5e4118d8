/* The HTTP server: HTTP/1.1 on the libuv loop, with routes, limits, CORS, JSON bodies and the
 * files of the web page.
 *
 * http_parse.c parses heads and bodies, strictly; the library wslay reads WebSocket frames. The
 * library libwebsockets 4.1.6 is not used: it accepts unmasked frames, ends illegal lengths
 * without a close code, joins repeated headers, rewrites paths, and cannot read chunked bodies
 * (threats C10, C14, C15).
 *
 * Threads: the loop's only.
 * Memory:  a struct http_request is the server's. It stays valid until its reply, and it must get
 *          exactly one reply, also when the client has gone (that reply is dropped). A cJSON body
 *          that is given to a reply becomes the server's.
 * Errors:  wrong requests are answered with {statusCode, message, error} before a handler runs: 404
 *          no route, 405 wrong method (with Allow), 411 no length, 413 body over
 *          HTTP_BODY_BYTES_MAX, 415 body that is not application/json, 400 malformed JSON or head,
 *          403 foreign origin, 408 too slow, 414 and 431 head too long, 429 too many
 *          connections. */
#ifndef RINGCAST_HTTP_H
#define RINGCAST_HTTP_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "metrics.h"
#include "src/settings.h"

#define HTTP_BODY_BYTES_MAX 65536

struct http_server;
struct http_request;

/* ---- the server ---- */

/* NULL: why (192) says which setting is wrong or which port is in use. */
struct http_server *http_open(uv_loop_t *loop, const struct settings *settings, char *why);
/* Stops listening and closes every connection. The loop must run until all of them are closed. */
void http_close(struct http_server *server);
/* Applies new origins and proxies and reads the certificate again: all of it or nothing. why (192)
 * says what was refused. `settings` may be the ones that http_open got. */
bool http_reload(struct http_server *server, const struct settings *settings, char *why);
/* Checks what http_open would check, except that the ports are free. */
bool http_check(const struct settings *settings, char *why /* 192 */);
/* From now on every reply ends its connection, and POST requests are refused with 503. */
void http_drain(struct http_server *server);
uv_loop_t *http_loop(const struct http_server *server);

/* ---- routes ---- */

/* method: "GET" or "POST". path: exact, or its last segment is ":name" (see http_parameter). The
 * handler gets `context` from http_context. */
void http_route(struct http_server *server, const char *method, const char *path,
                void (*handler)(struct http_request *request), void *context);
/* A route for any method, whose body is not read as JSON (Socket.IO). Before a body is read
 * before_body is asked; false: it has answered the request, which is freed. */
void http_route_raw(struct http_server *server, const char *path, size_t body_bytes_max,
                    bool (*before_body)(struct http_request *request),
                    void (*handler)(struct http_request *request), void *context);

/* `source` is called for every GET /metrics and adds its lines. */
typedef void (*metrics_source)(struct metrics *metrics, void *context);
void http_metrics_add(struct http_server *server, metrics_source source, void *context);

/* ---- a request ---- */

void *http_context(const struct http_request *request);
const char *http_parameter(const struct http_request *request); /* "" when the route has none */
const char *http_bearer(const struct http_request *request);    /* the token, or NULL */
const char *http_client_ip(const struct http_request *request); /* looks behind trusted proxies */
const cJSON *http_body(const struct http_request *request);     /* an object; NULL for GET */

/* ---- its reply ---- */

/* Adds a header line; before the reply. */
void http_reply_header(struct http_request *request, const char *name, const char *value);
void http_reply_json(struct http_request *request, int status, cJSON *body);
/* {statusCode, message, error} */
void http_reply_error(struct http_request *request, int status, const char *message);
/* The same with an array of messages. */
void http_reply_errors(struct http_request *request, int status, cJSON *messages);

#endif
