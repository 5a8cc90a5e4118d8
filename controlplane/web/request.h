/* One HTTP request between its head and its reply, as the files of this folder see it. Handlers in
 * other folders use the functions of http.h.
 *
 * Memory: the reply frees it (reply.h). */
#ifndef RINGCAST_WEB_REQUEST_H
#define RINGCAST_WEB_REQUEST_H

#include "address.h"
#include "http.h"
#include "http_connection.h"
#include "routes.h"

#define HTTP_REPLY_HEADERS_ROOM 512
#define HTTP_ALLOWED_HEADERS_BYTES_MAX 4096

struct http_request {
    struct http_server *server;         /* valid while connection is */
    struct http_connection *connection; /* NULL: the client has gone */
    const struct route *route;          /* NULL: a path of the page */
    struct http_head head;              /* points into head_text */
    char *head_text;
    size_t head_bytes;
    char *body; /* a NUL follows; NULL when it is empty */
    size_t body_bytes, body_room, body_bytes_max;
    cJSON *json;
    char *bearer;
    char client_ip[ADDRESS_TEXT_ROOM];
    char parameter[ROUTE_PARAMETER_ROOM];
    /* reply header Access-Control-Allow-Origin: "*", a copy of the request's Origin, or "" (no
     * header) */
    const char *allow_origin;
    struct slice allow_headers;            /* of a preflight request; points into head_text */
    char headers[HTTP_REPLY_HEADERS_ROOM]; /* extra lines of the reply */
    void (*gone)(void *context);
    void *gone_context;
};

/* Copies the head, which must be valid. NULL: no memory. */
struct http_request *http_request_new(struct http_connection *http, const char *head,
                                      size_t head_bytes);
void http_request_free(struct http_request *request);
/* Makes room for `count` more bytes of the body and returns where they go. NULL: over the limit,
 * over the budget of its address, or no memory; *status says which (413, 429, 503). */
char *http_request_body_room(struct http_request *request, size_t count, int *status);
/* The address and the account of the request pay for `messages` and the body. Returns how many
 * microseconds the client should wait. */
uint64_t http_request_spend(const struct http_request *request, uint32_t messages);
/* Takes the request off its connection. NULL: the client has gone. */
struct http_connection *http_request_detach(struct http_request *request);
/* The client has gone. The handler is told; its reply will be dropped. */
void http_request_gone(struct http_request *request);
/* `gone` is called at most once, before the reply, when the client goes away. The request must
 * still get its reply. */
void http_on_gone(struct http_request *request, void (*gone)(void *context), void *context);

#endif
