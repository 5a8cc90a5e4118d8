/* HTTP requests of Engine.IO: open a session, poll, post, upgrade to WebSocket. */
#ifndef RINGCAST_WEB_ENGINE_REQUESTS_H
#define RINGCAST_WEB_ENGINE_REQUESTS_H

struct http_request;

/* The handler of the route /socket.io/; its context is the struct socketio. */
void engine_request(struct http_request *request);

#endif
