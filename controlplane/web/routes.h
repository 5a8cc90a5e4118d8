/* Which handler serves which path.
 *
 * Limits: HTTP_ROUTES_MAX. Routes are in the code: too many or too long ones abort at the start. */
#ifndef RINGCAST_WEB_ROUTES_H
#define RINGCAST_WEB_ROUTES_H

#include "http_parse.h"

#define HTTP_ROUTES_MAX 32
#define ROUTE_PARAMETER_ROOM 128

struct http_request;

struct route {
    char method[8]; /* "GET" or "POST"; "" for any (raw) */
    char path[128]; /* without its parameter */
    bool has_parameter;
    bool is_raw; /* any method, and the body is not JSON */
    size_t body_bytes_max;
    /* Called before the body of a request is read. It may lower request->body_bytes_max. False:
     * it has answered the request. NULL: every body is read. */
    bool (*before_body)(struct http_request *request);
    void (*handler)(struct http_request *request);
    void *context;
};

struct routes {
    unsigned count;
    struct route list[HTTP_ROUTES_MAX];
};

/* path: exact, or its last segment is ":name", a parameter. A request may have one slash more. */
struct route *routes_add(struct routes *routes, const char *method, const char *path,
                         void (*handler)(struct http_request *request), void *context);
/* 200: *found serves the request; 400: the parameter is malformed; 404: no route has the path; 405:
 * routes have it with other methods, which are listed in `allow`. */
int routes_find(const struct routes *routes, const struct http_head *head,
                const struct route **found, char parameter[ROUTE_PARAMETER_ROOM], char *allow,
                size_t allow_room);

#endif
