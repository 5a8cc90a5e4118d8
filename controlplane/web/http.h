/* HTTP server: routes, limits, CORS, JSON bodies, static files; HTTP/1.1 on the libuv loop.
 *
 * Heads and bodies are parsed by http_parse.c, strictly; WebSocket frames are wslay's.
 * libwebsockets 4.1.6 was looked at first: it takes unmasked frames, ends illegal lengths without a
 * close code, joins repeated headers, rewrites paths and has no chunked bodies (threats.md C10, C14,
 * C15).
 *
 * Threads: the loop's only.
 * Memory: a `struct http_request` belongs to the server; it stays valid until it is replied to exactly
 *         once (also when the client has gone: the reply is then dropped). cJSON bodies given to a
 *         reply become the server's.
 * Errors: what a stranger sent is answered with {statusCode, message, error} before a handler runs:
 *         404 no route, 405 wrong method (with Allow), 411 no length, 413 body over
 *         HTTP_BODY_BYTES_MAX, 415 body that is not application/json, 400 malformed JSON or heads,
 *         403 foreign origin, 408 too slow, 414 and 431 head too long, 429 too many connections. */
#ifndef RINGCAST_HTTP_H
#define RINGCAST_HTTP_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "src/settings.h"

#define HTTP_BODY_BYTES_MAX 65536

struct http_server;
struct http_request;

struct http_server *http_open(uv_loop_t *loop, const struct settings *settings, char *why /*192*/);
/* Stops listening, closes every connection; the loop must run on until it is done. */
void http_close(struct http_server *server);
/* Takes over what a reload may change (origins, proxies) and reads the certificate again. All or
 * nothing; why (192) says what was refused. `settings` may be the ones http_open was given. */
bool http_reload(struct http_server *server, const struct settings *settings, char *why);
/* What http_open would say to the settings, but for the ports: true, or why not. */
bool http_check(const struct settings *settings, char *why /*192*/);
/* From now on every reply ends its connection and no new session begins; health goes on telling. */
void http_drain(struct http_server *server);

/* ---- GET /metrics: Prometheus text 0.0.4 ---- */

#define HTTP_METRICS_SOURCES_MAX 8
struct metrics;
typedef void (*metrics_source)(struct metrics *metrics, void *context);
/* Asked at every scrape; the context must live as long as the server. */
void http_metrics_add(struct http_server *server, metrics_source source, void *context);
/* One metric without labels; type "counter" or "gauge". Names begin with "ringcast_" by themselves. */
void metrics_value(struct metrics *metrics, const char *name, const char *type, const char *prose,
                   double value);
/* Several of one name: the head, then each with its label. */
void metrics_head(struct metrics *metrics, const char *name, const char *type, const char *prose);
void metrics_labelled(struct metrics *metrics, const char *name, const char *label,
                      const char *label_value, double value);

/* method "GET" or "POST"; path exact, or with one last segment ":x" (http_parameter gives it).
 * context is handed back by http_context. */
void http_route(struct http_server *server, const char *method, const char *path,
                void (*handler)(struct http_request *request), void *context);

void *http_context(const struct http_request *request);
const char *http_parameter(const struct http_request *request); /* "" when the route has none */
const char *http_bearer(const struct http_request *request);    /* token, NULL without one */
const char *http_client_ip(const struct http_request *request); /* TRUSTED_PROXIES applied */
const cJSON *http_body(const struct http_request *request);     /* parsed object; NULL for GET */

void http_reply_json(struct http_request *request, int status, cJSON *body);
/* {statusCode, message, error}; extra header lines like Retry-After by http_header before it. */
void http_reply_error(struct http_request *request, int status, const char *message);
void http_reply_errors(struct http_request *request, int status, cJSON *messages /* array */);
void http_header(struct http_request *request, const char *name, const char *value);

/* Strict JSON for everything from outside: UTF-8, depth ≤ 16, ≤ 256 keys per object, no trailing
 * bytes, numbers finite. NULL when it is not. */
cJSON *json_parse(const char *text, size_t bytes);

#endif
