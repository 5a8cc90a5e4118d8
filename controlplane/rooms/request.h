/* A request: one event that a client sent, until it is answered. */
#ifndef RINGCAST_ROOMS_REQUEST_H
#define RINGCAST_ROOMS_REQUEST_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "errors.h"

struct event;

struct request {
    struct rooms *rooms;
    struct socket *socket;
    struct session *session;
    const struct event *event; /* NULL: there is no such event */
    const char *name;          /* the event's name, for errors */
    const cJSON *payload;      /* an object; NULL in a deferred request */
    int64_t ack; /* the acknowledgement id for socket_ack; -1: the client wants none */

    /* dispatch.c fills in what the event's row demands; the rest is NULL. */
    struct room *room;
    struct participant *participant; /* who asks */
    struct transport *transport;
    struct producer *producer;
    struct consumer *consumer;

    unsigned failures; /* memory_failures() at its start */
    void *data;        /* of a deferred request; request_drop frees it */
};

/* Every request ends with exactly one of these. They free value. */
void request_succeed(struct request *request, cJSON *value);
void request_succeed_flag(struct request *request, const char *key); /* {key: true} */
void request_fail(struct request *request, enum room_error error);
void request_fail_because(struct request *request, enum room_error error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A copy that outlives the handler, for a request that waits for something. NULL: no memory. The
 * callback calls request_resume first: false means that the socket is gone and nobody waits for an
 * answer. It calls request_drop last. */
struct request *request_defer(struct request *request);
bool request_resume(struct request *request);
void request_drop(struct request *request);

const char *payload_text(const cJSON *payload, const char *key); /* NULL: absent, or no text */
bool payload_flag(const cJSON *payload, const char *key);        /* absent counts as false */

#endif
