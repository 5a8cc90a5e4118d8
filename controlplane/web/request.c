/* One HTTP request from its head to its reply: route, checks in front of the handler, answers. */
#define _GNU_SOURCE
#include "server.h"

#include <stdio.h>
#include <stdlib.h>

#include "websocket.h"

static const char *status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {304, "Not Modified"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Payload Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "Unknown";
}

/* What every reply says to browsers. The page needs its own scripts, styles and media and nothing
 * of anybody else's. */
#define SECURITY_HEADERS                  \
    "X-Content-Type-Options: nosniff\r\n" \
    "Referrer-Policy: no-referrer\r\n"
/* RFC 6797. A certificate of a try-out must not bind anybody's browser. */
#define TLS_HEADERS "Strict-Transport-Security: max-age=31536000\r\n"
#define PAGE_HEADERS                                                                        \
    "X-Frame-Options: DENY\r\n"                                                             \
    "Content-Security-Policy: default-src 'self'; script-src 'self'; style-src 'self'; "    \
    "img-src 'self' data: blob:; media-src 'self' blob: mediastream:; connect-src 'self'; " \
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "     \
    "frame-ancestors 'none'\r\n"                                                            \
    "Permissions-Policy: camera=(self), microphone=(self), display-capture=(self)\r\n"

static const char *server_date(struct http_server *server)
{
    time_t now = time(NULL);
    struct tm parts;

    if (now != server->date_s) {
        server->date_s = now;
        gmtime_r(&now, &parts);
        strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return server->date;
}

/* Writes head and body of a reply. request may be NULL: the head was refused. */
static void send_reply(struct connection *connection, struct http_request *request, int status,
                       const char *type, const char *extra, const char *copied,
                       const char *borrowed, size_t count)
{
    bool head_only = request != NULL && slice_is(request->head.method, "HEAD");
    bool has_body = status != 204 && status != 304;
    bool is_sealed = connection->tls != NULL;
    size_t room = 2048 + (copied != NULL ? count : 0);
    char *reply = malloc(room);
    bool is_production = strcmp(connection->server->settings->node_env, "production") == 0;
    size_t at;

    if (reply == NULL) {
        connection_close(connection);
        return;
    }
    connection->server->replies[status < HTTP_STATUS_MAX ? status : 0]++;
    at = (size_t)snprintf(reply, room, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: %s\r\n", status,
                          status_text(status), server_date(connection->server),
                          connection->keep_alive ? "keep-alive" : "close");
    if (has_body)
        at += (size_t)snprintf(reply + at, room - at, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                               type, count);
    if (request != NULL && request->allow_origin != NULL && request->allow_origin[0] != '\0')
        at += (size_t)snprintf(reply + at, room - at, "Access-Control-Allow-Origin: %s\r\n%s",
                               request->allow_origin,
                               request->allow_origin[0] == '*' ? "" : "Vary: Origin\r\n");
    at += (size_t)snprintf(reply + at, room - at, SECURITY_HEADERS "%s%s%s\r\n",
                           is_sealed && is_production ? TLS_HEADERS : "", extra,
                           request != NULL ? request->headers : "");
    if (copied != NULL && has_body && !head_only) {
        memcpy(reply + at, copied, count);
        at += count;
    }
    if (head_only || !has_body)
        borrowed = NULL;
    connection_write(connection, reply, at, borrowed, borrowed != NULL ? count : 0, true);
}

/* Takes the request off its connection. */
static struct connection *request_detach(struct http_request *request)
{
    struct connection *connection = request->connection;

    request->gone = NULL;
    if (connection != NULL)
        connection->request = NULL;
    return connection;
}

void http_reply_bytes(struct http_request *request, int status, const char *type, const char *bytes,
                      size_t count)
{
    struct connection *connection = request_detach(request);

    if (connection != NULL)
        send_reply(connection, request, status, type, "Cache-Control: no-store\r\n", bytes, NULL,
                   count);
    http_request_free(request);
}

void http_reply_page(struct http_request *request, int status, const char *type,
                     const char *borrowed, size_t count)
{
    struct connection *connection = request_detach(request);

    if (connection != NULL)
        send_reply(connection, request, status, type, PAGE_HEADERS, NULL, borrowed, count);
    http_request_free(request);
}

void http_reply_json(struct http_request *request, int status, cJSON *body)
{
    char *text = body == NULL ? NULL : cJSON_PrintUnformatted(body);

    cJSON_Delete(body);
    if (text == NULL && status != 204) {
        status = 500;
        text = strdup("{\"statusCode\":500,\"message\":\"Out of memory\","
                      "\"error\":\"Internal Server Error\"}");
    }
    http_reply_bytes(request, status, "application/json; charset=utf-8", text != NULL ? text : "",
                     text != NULL ? strlen(text) : 0);
    free(text);
}

static cJSON *error_body(int status, cJSON *message)
{
    cJSON *body = cJSON_CreateObject();

    cJSON_AddNumberToObject(body, "statusCode", status);
    cJSON_AddItemToObject(body, "message", message);
    cJSON_AddStringToObject(body, "error", status_text(status));
    return body;
}

void http_reply_error(struct http_request *request, int status, const char *message)
{
    http_reply_json(request, status, error_body(status, cJSON_CreateString(message)));
}

void http_reply_errors(struct http_request *request, int status, cJSON *messages)
{
    http_reply_json(request, status, error_body(status, messages));
}

void connection_refuse(struct connection *connection, int status, const char *message)
{
    char body[256];
    int count =
        snprintf(body, sizeof(body), "{\"statusCode\":%d,\"message\":\"%s\",\"error\":\"%s\"}",
                 status, message, status_text(status));

    connection->keep_alive = false;
    send_reply(connection, NULL, status, "application/json; charset=utf-8",
               status == 429 ? "Cache-Control: no-store\r\nRetry-After: 10\r\n"
                             : "Cache-Control: no-store\r\n",
               body, NULL, (size_t)count);
}

void http_header(struct http_request *request, const char *name, const char *value)
{
    size_t used = strlen(request->headers);

    /* Ours, but a value may come from elsewhere: no line may begin in it. */
    if (strpbrk(name, "\r\n") != NULL || strpbrk(value, "\r\n") != NULL)
        return;
    if (used + strlen(name) + strlen(value) + 5 > sizeof(request->headers))
        return;
    snprintf(request->headers + used, sizeof(request->headers) - used, "%s: %s\r\n", name, value);
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

static int hex_value(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* Percent-decodes one path segment; false when it is malformed, too long or not printable UTF-8. */
static bool decode_segment(struct slice segment, char *to, size_t room)
{
    size_t written = 0;

    for (size_t i = 0; i < segment.bytes; i++) {
        char c = segment.at[i];

        if (c == '%') {
            if (segment.bytes - i < 3 || hex_value(segment.at[i + 1]) < 0 ||
                hex_value(segment.at[i + 2]) < 0)
                return false;
            c = (char)(hex_value(segment.at[i + 1]) << 4 | hex_value(segment.at[i + 2]));
            i += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f || written + 1 >= room)
            return false;
        to[written++] = c;
    }
    to[written] = '\0';
    return utf8_valid(to, written);
}

static bool route_has_path(const struct route *route, struct slice path, struct slice *segment)
{
    size_t fixed = strlen(route->path);

    *segment = (struct slice){"", 0};
    if (!route->has_parameter)
        return slice_is(path, route->path);
    if (path.bytes <= fixed || memcmp(path.at, route->path, fixed) != 0)
        return false;
    *segment = (struct slice){path.at + fixed, path.bytes - fixed};
    return memchr(segment->at, '/', segment->bytes) == NULL;
}

/* The metrics port has nothing else, so that who may reach it may reach no more. */
static bool is_served_here(const struct connection *connection, struct slice path)
{
    return connection->kind != LISTENER_METRICS || slice_is(path, "/metrics") ||
           slice_is(path, "/health");
}

/* Finds the route. 0: found (or the page's business: route NULL), else a status; the allowed
 * methods of the path are written for 405 and OPTIONS. */
static int find_route(struct http_request *request, char *allow, size_t room)
{
    const struct http_server *server = request->server;
    bool head = slice_is(request->head.method, "HEAD");
    size_t used = 0;
    struct slice segment;

    allow[0] = '\0';
    if (!is_served_here(request->connection, request->head.path))
        return 404;
    for (unsigned i = 0; i < server->route_count; i++) {
        const struct route *route = &server->routes[i];

        if (!route_has_path(route, request->head.path, &segment))
            continue;
        if (route->is_raw || slice_is(request->head.method, route->method) ||
            (head && strcmp(route->method, "GET") == 0)) {
            if (!decode_segment(segment, request->parameter, sizeof(request->parameter)))
                return 400;
            request->route = route;
            return 0;
        }
        used += (size_t)snprintf(allow + used, room - used, "%s%s", used > 0 ? ", " : "",
                                 strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
    }
    if (used > 0)
        return 405;
    if (head || slice_is(request->head.method, "GET") || slice_is(request->head.method, "OPTIONS"))
        return 0;
    snprintf(allow, room, "GET, HEAD");
    return slice_is(request->head.path, "/") ? 405 : 404;
}

/* RFC 9110 9.3.7 and the Fetch standard's preflight. */
static void reply_options(struct http_request *request, const char *allow)
{
    struct slice wanted = http_field(&request->head, "access-control-request-headers");
    const char *methods = request->route != NULL || allow[0] == '\0' ? "GET, HEAD, POST" : allow;
    char value[300];

    snprintf(value, sizeof(value), "%s, OPTIONS", methods);
    http_header(request, "Allow", value);
    if (http_field(&request->head, "access-control-request-method").at != NULL &&
        request->allow_origin[0] != '\0') {
        http_header(request, "Access-Control-Allow-Methods", value);
        /* Nothing here depends on a header being absent, so any that is asked for may be sent. */
        if (wanted.bytes > 0 && wanted.bytes < 200) {
            slice_copy(wanted, value, sizeof(value));
            http_header(request, "Access-Control-Allow-Headers", value);
        }
        http_header(request, "Access-Control-Max-Age", "600");
    }
    http_reply_bytes(request, 204, "", "", 0);
}

static bool is_json_type(struct slice type)
{
    struct slice name;

    slice_next(&type, ';', &name);
    return slice_is_nocase(slice_trim(name), "application/json");
}

/* What must be right before the body is read. 0 or a status. */
static int check_body(struct http_request *request, const char **message)
{
    const struct http_head *head = &request->head;
    bool is_post = slice_is(head->method, "POST");

    request->body_bytes_max =
        request->route != NULL ? request->route->body_bytes_max : HTTP_BODY_BYTES_MAX;
    if (is_post && head->body == HTTP_BODY_NONE) {
        *message = "Content-Length is missing";
        return 411;
    }
    if (head->body == HTTP_BODY_LENGTH && head->body_bytes > request->body_bytes_max) {
        *message = "Body is too large";
        request->server->counters.bodies_too_large++;
        return 413;
    }
    if (is_post && request->route != NULL && !request->route->is_raw &&
        !is_json_type(http_field(head, "content-type"))) {
        *message = "Content-Type must be application/json";
        return 415;
    }
    return 0;
}

/* Answers with an error and ends the connection when a body is still on its way. */
static void refuse(struct http_request *request, int status, const char *message)
{
    if (request->head.body != HTTP_BODY_NONE)
        request->connection->keep_alive = false;
    http_reply_error(request, status, message);
}

/* Everything is elsewhere: on the port that speaks TLS. */
static void redirect(struct http_request *request)
{
    const struct http_head *head = &request->head;
    struct slice rest = http_field(head, "host"), host;
    uint32_t port = request->server->settings->http_port;
    bool is_v6 = rest.bytes > 0 && rest.at[0] == '[';
    char where[HTTP_REPLY_HEADERS_ROOM - 16], port_text[8] = "";
    int count;

    slice_next(&rest, is_v6 ? ']' : ':', &host);
    if (port != 443)
        snprintf(port_text, sizeof(port_text), ":%u", port);
    count = snprintf(where, sizeof(where), "https://%.*s%s%s%.*s%s%.*s", (int)host.bytes, host.at,
                     is_v6 ? "]" : "", port_text, (int)head->path.bytes, head->path.at,
                     head->query.bytes > 0 ? "?" : "", (int)head->query.bytes, head->query.at);
    if (host.bytes == 0 || count < 0 || (size_t)count >= sizeof(where)) {
        refuse(request, 400, "Ask with https://");
        return;
    }
    http_header(request, "Location", where);
    request->connection->keep_alive = false;
    http_reply_bytes(request, 308, "text/plain", "", 0);
}

static bool take_origin(struct http_request *request)
{
    char copy[256];
    const char *origin = policy_origin(request->server->policy, &request->head,
                                       &request->connection->address, copy, sizeof(copy));

    request->allow_origin = origin == copy ? strdup(copy) : origin;
    return request->allow_origin != NULL;
}

static void take_bearer(struct http_request *request)
{
    struct slice value = http_field(&request->head, "authorization");

    if (value.bytes > 7 && strncasecmp(value.at, "Bearer ", 7) == 0 &&
        http_field_count(&request->head, "authorization") == 1)
        request->bearer = strndup(value.at + 7, value.bytes - 7);
}

struct http_request *http_request_open(struct connection *connection, const char *head,
                                       size_t head_bytes)
{
    struct http_request *request = calloc(1, sizeof(*request));
    char allow[128];
    const char *message = NULL;
    size_t used;
    int status;

    if (request != NULL)
        request->head_text = malloc(head_bytes);
    if (request == NULL || request->head_text == NULL) {
        free(request);
        connection_close(connection);
        return NULL;
    }
    memcpy(request->head_text, head, head_bytes);
    http_head_parse(request->head_text, head_bytes, &request->head, &used);
    request->server = connection->server;
    request->connection = connection;
    connection->request = request;
    connection->keep_alive = request->head.keep_alive && !connection->server->is_closing &&
                             !connection->server->is_draining;
    connection->server->counters.requests++;
    policy_client_ip(request->server->policy, &connection->address, &request->head,
                     request->client_ip);
    take_bearer(request);
    if (connection->kind == LISTENER_REDIRECT) {
        request->allow_origin = "";
        redirect(request);
        return NULL;
    }
    status = find_route(request, allow, sizeof(allow));
    if (!take_origin(request) && (request->route != NULL || status != 0)) {
        request->allow_origin = "";
        connection->server->counters.origins_refused++;
        refuse(request, 403, "Origin is not allowed");
        return NULL;
    }
    if (request->allow_origin == NULL)
        request->allow_origin = "";
    if (slice_is(request->head.method, "OPTIONS") && request->head.body == HTTP_BODY_NONE) {
        reply_options(request, allow);
        return NULL;
    }
    if (status == 0 && connection->server->is_draining && request->route != NULL &&
        !request->route->is_raw && slice_is(request->head.method, "POST")) {
        http_header(request, "Retry-After", "10");
        refuse(request, 503, "The server is about to stop");
        return NULL;
    }
    if (status == 0)
        status = check_body(request, &message);
    if (status != 0) {
        if (status == 405)
            http_header(request, "Allow", allow);
        refuse(request, status,
               message != NULL ? message
               : status == 405 ? "Method is not allowed here"
               : status == 400 ? "Path is malformed"
                               : "Not found");
        return NULL;
    }
    return request;
}

char *http_request_body_room(struct http_request *request, size_t count, int *status)
{
    size_t wanted = request->body_bytes + count;

    /* `count` is what arrived; of a chunked body less than that may be content. */
    if (request->body_bytes > request->body_bytes_max ||
        (request->head.body == HTTP_BODY_LENGTH && wanted > request->body_bytes_max)) {
        *status = 413;
        return NULL;
    }
    if (wanted + 1 > request->body_room) {
        size_t room = request->body_room < 2048 ? 2048 : request->body_room * 2;
        char *body;

        room = room < wanted + 1 ? wanted + 1 : room;
        body = realloc(request->body, room);
        if (body == NULL) {
            *status = 503;
            return NULL;
        }
        request->body = body;
        request->body_room = room;
    }
    return request->body + request->body_bytes;
}

static void dispatch_page(struct http_request *request)
{
    if (!slice_is(request->head.method, "GET") && !slice_is(request->head.method, "HEAD")) {
        http_reply_error(request, 404, "Not found");
        return;
    }
    if (request->server->page != NULL && page_reply(request->server->page, request))
        return;
    if (request->server->page == NULL && slice_is(request->head.path, "/")) {
        static const char text[] = "Ringcast is running. No page is configured (RINGCAST_PAGE).\n";

        http_reply_page(request, 200, "text/plain; charset=utf-8", text, sizeof(text) - 1);
        return;
    }
    http_reply_error(request, 404, "Not found");
}

void http_request_dispatch(struct http_request *request)
{
    if (request->route == NULL) {
        dispatch_page(request);
        return;
    }
    if (!request->route->is_raw && strcmp(request->route->method, "GET") != 0) {
        request->json = json_parse(request->body, request->body_bytes);
        if (!cJSON_IsObject(request->json)) {
            request->server->counters.bodies_malformed++;
            http_reply_error(request, 400, "Body must be a JSON object");
            return;
        }
    }
    request->route->handler(request);
}
