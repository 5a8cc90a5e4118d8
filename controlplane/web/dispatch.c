/* Checks in front of the handlers. */
#define _GNU_SOURCE
#include "dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certificate.h"
#include "json.h"
#include "memory.h"
#include "page.h"
#include "policy.h"
#include "reply.h"
#include "request.h"
#include "server.h"

/* Answers with an error. When a body is still on its way the connection ends after the answer. */
static void refuse(struct http_request *request, int status, const char *message)
{
    if (request->head.body != HTTP_BODY_NONE)
        request->connection->keep_alive = false;
    http_reply_error(request, status, message);
}

/* ---- the port that only redirects ---- */

static void redirect(struct http_request *request)
{
    const struct http_head *head = &request->head;
    struct slice rest = http_field(head, "host"), host;
    uint32_t port = request->server->settings->http_port;
    bool is_v6 = rest.bytes > 0 && rest.at[0] == '[';
    char where[HTTP_REPLY_HEADERS_ROOM - 16], port_text[8] = "", name[256] = "";
    int count;

    slice_next(&rest, is_v6 ? ']' : ':', &host);
    if (host.bytes > is_v6 && host.bytes < sizeof(name))
        slice_copy((struct slice){host.at + is_v6, host.bytes - is_v6}, name, sizeof(name));
    /* Otherwise the port would send people to any host that somebody wrote into a request. */
    if (name[0] != '\0' && !certificate_names(request->server->shared.certificate, name)) {
        request->server->shared.counters.redirects_refused++;
        refuse(request, 421, "The certificate of this server does not name this host");
        return;
    }
    if (port != 443)
        snprintf(port_text, sizeof(port_text), ":%u", port);
    count = snprintf(where, sizeof(where), "https://%.*s%s%s%.*s%s%.*s", (int)host.bytes, host.at,
                     is_v6 ? "]" : "", port_text, (int)head->path.bytes, head->path.at,
                     head->query.bytes > 0 ? "?" : "", (int)head->query.bytes, head->query.at);
    if (host.bytes == 0 || count < 0 || (size_t)count >= sizeof(where)) {
        refuse(request, 400, "Use https://");
        return;
    }
    http_reply_header(request, "Location", where);
    request->connection->keep_alive = false;
    http_reply_bytes(request, 308, "text/plain", "", 0);
}

/* ---- the route ---- */

/* The metrics port serves only these two paths. */
static bool is_served_here(const struct http_connection *http, struct slice path)
{
    return http->kind != LISTENER_METRICS || slice_is(path, "/metrics") ||
           slice_is(path, "/health");
}

/* Returns 200 if a route has this path, or if the page may have a file for it (then the route is
 * NULL). Otherwise returns the status of the error. */
static int find_route(struct http_request *request, char *allow, size_t room)
{
    const struct http_head *head = &request->head;
    int status;

    allow[0] = '\0';
    if (!is_served_here(request->connection, head->path))
        return 404;
    status = routes_find(&request->server->routes, head, &request->route, request->parameter, allow,
                         room);
    if (status != 404)
        return status;
    if (slice_is(head->method, "HEAD") || slice_is(head->method, "GET") ||
        slice_is(head->method, "OPTIONS"))
        return 200;
    snprintf(allow, room, "GET, HEAD");
    return slice_is(head->path, "/") ? 405 : 404;
}

static const char *route_problem(int status)
{
    return status == 405   ? "Method is not allowed here"
           : status == 400 ? "Path is malformed"
                           : "Not found";
}

/* ---- the origin ---- */

enum origin_verdict { ORIGIN_ALLOWED, ORIGIN_REFUSED, ORIGIN_NO_MEMORY };

/* Sets allow_origin, to "" if the origin is not allowed. */
static enum origin_verdict find_origin(struct http_request *request)
{
    char copy[256];
    const char *origin = policy_origin(request->server->policy, &request->head,
                                       &request->connection->peer, copy, sizeof(copy));

    request->allow_origin = "";
    if (origin == NULL)
        return ORIGIN_REFUSED;
    if (origin == copy && (origin = strdup(copy)) == NULL)
        return ORIGIN_NO_MEMORY;
    request->allow_origin = origin;
    return ORIGIN_ALLOWED;
}

/* RFC 9110 9.3.7, and the preflight request of the Fetch standard. */
static void reply_options(struct http_request *request, const char *allow)
{
    struct slice wanted = http_field(&request->head, "access-control-request-headers");
    const char *methods = request->route != NULL || allow[0] == '\0' ? "GET, HEAD, POST" : allow;
    char value[300];

    snprintf(value, sizeof(value), "%s, OPTIONS", methods);
    http_reply_header(request, "Allow", value);
    if (http_field(&request->head, "access-control-request-method").at != NULL &&
        request->allow_origin[0] != '\0') {
        http_reply_header(request, "Access-Control-Allow-Methods", value);
        /* No handler relies on the absence of a header, so a page may send any. */
        if (wanted.bytes <= HTTP_ALLOWED_HEADERS_BYTES_MAX)
            request->allow_headers = wanted;
        http_reply_header(request, "Access-Control-Max-Age", "600");
    }
    http_reply_bytes(request, 204, "", "", 0);
}

/* ---- the body ---- */

static bool is_json_type(struct slice type)
{
    struct slice name;

    slice_next(&type, ';', &name);
    return slice_is_nocase(slice_trim(name), "application/json");
}

/* Checks that need only the head. 200, or the status and *message of what is wrong. */
static int check_body(struct http_request *request, const char **message)
{
    const struct http_head *head = &request->head;
    const struct route *route = request->route;
    bool is_post = slice_is(head->method, "POST");

    if (is_post && head->body == HTTP_BODY_NONE) {
        *message = "Content-Length is missing";
        return 411;
    }
    if (head->body == HTTP_BODY_LENGTH && head->body_bytes > request->body_bytes_max) {
        *message = "Body is too large";
        request->server->shared.counters.bodies_too_large++;
        return 413;
    }
    if (is_post && route != NULL && !route->is_raw &&
        !is_json_type(http_field(head, "content-type"))) {
        *message = "Content-Type must be application/json";
        return 415;
    }
    return 200;
}

/* False: the route has refused the request. The server drops the rest of the body. */
static bool takes_body(struct http_request *request)
{
    const struct route *route = request->route;

    request->body_bytes_max = route != NULL ? route->body_bytes_max : HTTP_BODY_BYTES_MAX;
    return request->head.body == HTTP_BODY_NONE || route == NULL || route->before_body == NULL ||
           route->before_body(request);
}

/* Bodies are paid for when they are complete. Whoever owes too much may not send another one: a
 * late reply slows down one connection, but the client can open more. */
static bool is_over_budget(const struct http_request *request)
{
    return request->head.body != HTTP_BODY_NONE &&
           http_request_spend(request, 0) > BUDGET_REFUSE_US;
}

/* ---- head and request ---- */

/* A draining server accepts no new work, but Socket.IO sessions (raw routes) continue. */
static bool is_refused_by_drain(const struct http_request *request)
{
    return request->server->is_draining && request->route != NULL && !request->route->is_raw &&
           slice_is(request->head.method, "POST");
}

/* A page's files are public: any origin may read them. False: the request has been answered. */
static bool pass_origin(struct http_request *request, bool is_public)
{
    enum origin_verdict verdict = find_origin(request);

    if (verdict == ORIGIN_NO_MEMORY) {
        refuse(request, 503, "Out of memory, try again");
        return false;
    }
    if (verdict == ORIGIN_ALLOWED || is_public)
        return true;
    request->server->shared.counters.origins_refused++;
    refuse(request, 403, "Origin is not allowed");
    return false;
}

/* False: the request has been answered. */
static bool pass_checks(struct http_request *request)
{
    struct http_server *server = request->server;
    const char *message = NULL;
    char allow[128];
    int status = find_route(request, allow, sizeof(allow));

    if (!pass_origin(request, request->route == NULL && status == 200))
        return false;
    if (slice_is(request->head.method, "OPTIONS") && request->head.body == HTTP_BODY_NONE) {
        reply_options(request, allow);
        return false;
    }
    if (status != 200) {
        if (status == 405)
            http_reply_header(request, "Allow", allow);
        refuse(request, status, route_problem(status));
        return false;
    }
    if (is_refused_by_drain(request)) {
        http_reply_header(request, "Retry-After", "10");
        refuse(request, 503, "The server is about to stop");
        return false;
    }
    if (!takes_body(request))
        return false;
    if (is_over_budget(request)) {
        server->shared.counters.refused_by_budget++;
        http_reply_header(request, "Retry-After", "5");
        refuse(request, 429, "Your address or your account sends too much");
        return false;
    }
    status = check_body(request, &message);
    if (status != 200)
        refuse(request, status, message);
    return status == 200;
}

/* Behind a trusted proxy each request of a connection may be another client's. */
static void find_share(struct http_connection *http, const struct http_request *request)
{
    struct address client = http->peer;

    address_parse(request->client_ip, &client);
    budget_move(&http->server->shared.budgets, &http->connection.share,
                policy_is_proxy(http->server->policy, &client) ? BUDGET_NO_SLOT
                                                               : budget_slot_of_address(client),
                false);
    http->connection.share.account = BUDGET_NO_SLOT;
}

struct http_request *dispatch_head(struct http_connection *http, const char *head,
                                   size_t head_bytes)
{
    struct http_server *server = http->server;
    struct http_request *request = http_request_new(http, head, head_bytes);

    if (request == NULL) {
        connection_close(&http->connection);
        return NULL;
    }
    http->keep_alive = request->head.keep_alive && !server->is_closing && !server->is_draining;
    server->shared.counters.requests++;
    policy_client_ip(server->policy, &http->peer, &request->head, request->client_ip);
    find_share(http, request);
    if (http->kind == LISTENER_REDIRECT) {
        request->allow_origin = "";
        redirect(request);
        return NULL;
    }
    return pass_checks(request) ? request : NULL;
}

static void dispatch_page(struct http_request *request)
{
    const struct page *page = request->server->page;

    if (!slice_is(request->head.method, "GET") && !slice_is(request->head.method, "HEAD")) {
        http_reply_error(request, 404, "Not found");
        return;
    }
    if (page != NULL && page_reply(page, request))
        return;
    if (page == NULL && slice_is(request->head.path, "/")) {
        static const char text[] = "Ringcast is running. No page is configured (RINGCAST_PAGE).\n";

        http_reply_page(request, 200, "text/plain; charset=utf-8", text, sizeof(text) - 1);
        return;
    }
    http_reply_error(request, 404, "Not found");
}

void dispatch_request(struct http_request *request)
{
    if (request->route == NULL) {
        dispatch_page(request);
        return;
    }
    if (!request->route->is_raw && strcmp(request->route->method, "GET") != 0) {
        unsigned failures = memory_failures();

        http_request_spend(request, 1);
        request->json = json_parse(request->body, request->body_bytes);
        if (request->json == NULL && memory_failures() != failures) {
            http_reply_error(request, 503, "Out of memory, try again");
            return;
        }
        if (!cJSON_IsObject(request->json)) {
            request->server->shared.counters.bodies_malformed++;
            http_reply_error(request, 400, "Body must be a JSON object");
            return;
        }
    }
    request->route->handler(request);
}
