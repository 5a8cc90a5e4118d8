/* Replies to HTTP requests, as the files of this folder use them; JSON replies are in http.h.
 *
 * Memory: a reply frees its request. When the client has gone the reply is dropped. */
#ifndef RINGCAST_WEB_REPLY_H
#define RINGCAST_WEB_REPLY_H

#include "http.h"

struct http_connection;

void http_reply_bytes(struct http_request *request, int status, const char *type, const char *bytes,
                      size_t count);
/* A file of the page: with the headers that protect it in a browser. `borrowed` must live as long
 * as the server. */
void http_reply_page(struct http_request *request, int status, const char *type,
                     const char *borrowed, size_t count);
/* An error for a client whose request head was refused. The connection ends after it. */
void http_refuse(struct http_connection *http, int status, const char *message);

#endif
