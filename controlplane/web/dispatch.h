/* From a request's head to its handler: route, origin, limits, in this order. Whatever is wrong is
 * answered here, before a handler runs. */
#ifndef RINGCAST_WEB_DISPATCH_H
#define RINGCAST_WEB_DISPATCH_H

#include <stddef.h>

struct http_connection;
struct http_request;

/* The head is complete. Returns the request, which may now get its body. NULL: it has been
 * answered, or there was no memory. */
struct http_request *dispatch_head(struct http_connection *http, const char *head,
                                   size_t head_bytes);
/* The request is complete: its handler, or the page, replies now or later. */
void dispatch_request(struct http_request *request);

#endif
