/* HTTP requests of Engine.IO: open a session, poll, post, upgrade to WebSocket. */
#ifndef RINGCAST_WEB_ENGINE_REQUESTS_H
#define RINGCAST_WEB_ENGINE_REQUESTS_H

#include <stdbool.h>

struct http_request;

/* Before the body of a request is read: its session must exist. A stranger gets little room. */
bool engine_before_body(struct http_request *request);
/* The handler of the route /socket.io/; its context is the struct socketio. */
void engine_request(struct http_request *request);

#endif
