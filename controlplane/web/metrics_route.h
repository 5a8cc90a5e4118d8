/* GET /metrics: who may read it, and what the HTTP server itself counts. */
#ifndef RINGCAST_WEB_METRICS_ROUTE_H
#define RINGCAST_WEB_METRICS_ROUTE_H

struct http_request;

void metrics_reply(struct http_request *request);

#endif
