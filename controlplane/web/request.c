/* One HTTP request: its memory, its body, what handlers may ask of it. */
#define _GNU_SOURCE
#include "request.h"

#include <stdlib.h>
#include <string.h>

/* False: no memory. */
static bool copy_bearer(struct http_request *request)
{
    struct slice value = http_field(&request->head, "authorization");

    if (value.bytes <= 7 || strncasecmp(value.at, "Bearer ", 7) != 0 ||
        http_field_count(&request->head, "authorization") != 1)
        return true;
    request->bearer = strndup(value.at + 7, value.bytes - 7);
    return request->bearer != NULL;
}

struct http_request *http_request_new(struct http_connection *http, const char *head,
                                      size_t head_bytes)
{
    struct http_request *request = calloc(1, sizeof(*request));
    size_t used;

    if (request != NULL)
        request->head_text = malloc(head_bytes);
    if (request == NULL || request->head_text == NULL) {
        free(request);
        return NULL;
    }
    request->head_bytes = head_bytes;
    memcpy(request->head_text, head, head_bytes);
    http_head_parse(request->head_text, head_bytes, &request->head, &used);
    request->server = http->server;
    request->connection = http;
    if (!copy_bearer(request)) {
        http_request_free(request);
        return NULL;
    }
    http->request = request;
    return request;
}

void http_request_free(struct http_request *request)
{
    cJSON_Delete(request->json);
    free(request->head_text);
    free(request->body);
    free(request->bearer);
    if (request->allow_origin != NULL && request->allow_origin[0] != '\0' &&
        request->allow_origin[0] != '*')
        free((char *)request->allow_origin);
    free(request);
}

struct http_connection *http_request_detach(struct http_request *request)
{
    struct http_connection *http = request->connection;

    request->gone = NULL;
    if (http != NULL)
        http->request = NULL;
    if (http != NULL)
        http_connection_hold(http);
    return http;
}

void http_on_gone(struct http_request *request, void (*gone)(void *context), void *context)
{
    request->gone = gone;
    request->gone_context = context;
}

void http_request_gone(struct http_request *request)
{
    void (*gone)(void *context) = request->gone;

    request->connection = NULL;
    request->gone = NULL;
    if (gone != NULL)
        gone(request->gone_context);
}

char *http_request_body_room(struct http_request *request, size_t count, int *status)
{
    size_t wanted = request->body_bytes + count;

    /* Of a chunked body only a part of the `count` bytes may be content. */
    if (request->body_bytes > request->body_bytes_max ||
        (request->head.body == HTTP_BODY_LENGTH && wanted > request->body_bytes_max)) {
        *status = 413;
        return NULL;
    }
    if (wanted + 1 > request->body_room) {
        size_t had = request->body_room, room = had < 2048 ? 2048 : had * 2;
        char *body;

        room = room < wanted + 1 ? wanted + 1 : room;
        request->body_room = room;
        if (!http_connection_hold(request->connection)) {
            request->body_room = had;
            *status = 429;
            return NULL;
        }
        body = realloc(request->body, room);
        if (body == NULL) {
            request->body_room = had;
            *status = 503;
            return NULL;
        }
        request->body = body;
    }
    return request->body + request->body_bytes;
}

uint64_t http_request_spend(const struct http_request *request, uint32_t messages)
{
    struct connection *connection = &request->connection->connection;
    uint64_t wait_us = budget_spend(&connection->shared->budgets, &connection->share, messages,
                                    request->body_bytes, uv_now(connection->shared->loop) * 1000);

    connection->shared->counters.slowed_by_budget += wait_us > 0;
    return wait_us;
}

void *http_context(const struct http_request *request)
{
    return request->route == NULL ? NULL : request->route->context;
}

const char *http_parameter(const struct http_request *request)
{
    return request->parameter;
}

const char *http_bearer(const struct http_request *request)
{
    return request->bearer;
}

const char *http_client_ip(const struct http_request *request)
{
    return request->client_ip;
}

const cJSON *http_body(const struct http_request *request)
{
    return request->json;
}
