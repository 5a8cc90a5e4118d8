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

/* Writes head and body of a reply. call may be NULL (no call came of the request). */
static void send_reply(struct connection *connection, struct http_call *call, int status,
                       const char *type, const char *extra, const char *copied,
                       const char *borrowed, size_t count)
{
    bool head_only = call != NULL && slice_is(call->head.method, "HEAD");
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
    if (call != NULL && call->allow_origin != NULL && call->allow_origin[0] != '\0')
        at += (size_t)snprintf(reply + at, room - at, "Access-Control-Allow-Origin: %s\r\n%s",
                               call->allow_origin,
                               call->allow_origin[0] == '*' ? "" : "Vary: Origin\r\n");
    at += (size_t)snprintf(reply + at, room - at, SECURITY_HEADERS "%s%s%s\r\n",
                           is_sealed && is_production ? TLS_HEADERS : "", extra,
                           call != NULL ? call->headers : "");
    if (copied != NULL && has_body && !head_only) {
        memcpy(reply + at, copied, count);
        at += count;
    }
    if (head_only || !has_body)
        borrowed = NULL;
    connection_write(connection, reply, at, borrowed, borrowed != NULL ? count : 0, true);
}

/* Takes the call off its connection. */
static struct connection *call_finish(struct http_call *call)
{
    struct connection *connection = call->connection;

    call->gone = NULL;
    if (connection != NULL)
        connection->call = NULL;
    return connection;
}

void http_reply_bytes(struct http_call *call, int status, const char *type, const char *bytes,
                      size_t count)
{
    struct connection *connection = call_finish(call);

    if (connection != NULL)
        send_reply(connection, call, status, type, "Cache-Control: no-store\r\n", bytes, NULL,
                   count);
    call_free(call);
}

void http_reply_page(struct http_call *call, int status, const char *type, const char *borrowed,
                     size_t count)
{
    struct connection *connection = call_finish(call);

    if (connection != NULL)
        send_reply(connection, call, status, type, PAGE_HEADERS, NULL, borrowed, count);
    call_free(call);
}

void http_reply_json(struct http_call *call, int status, cJSON *body)
{
    char *text = body == NULL ? NULL : cJSON_PrintUnformatted(body);

    cJSON_Delete(body);
    if (text == NULL && status != 204) {
        status = 500;
        text = strdup("{\"statusCode\":500,\"message\":\"Out of memory\","
                      "\"error\":\"Internal Server Error\"}");
    }
    http_reply_bytes(call, status, "application/json; charset=utf-8", text != NULL ? text : "",
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

void http_reply_error(struct http_call *call, int status, const char *message)
{
    http_reply_json(call, status, error_body(status, cJSON_CreateString(message)));
}

void http_reply_errors(struct http_call *call, int status, cJSON *messages)
{
    http_reply_json(call, status, error_body(status, messages));
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

void http_header(struct http_call *call, const char *name, const char *value)
{
    size_t used = strlen(call->headers);

    /* Ours, but a value may come from elsewhere: no line may begin in it. */
    if (strpbrk(name, "\r\n") != NULL || strpbrk(value, "\r\n") != NULL)
        return;
    if (used + strlen(name) + strlen(value) + 5 > sizeof(call->headers))
        return;
    snprintf(call->headers + used, sizeof(call->headers) - used, "%s: %s\r\n", name, value);
}

void *http_context(const struct http_call *call)
{
    return call->route == NULL ? NULL : call->route->context;
}

const char *http_parameter(const struct http_call *call)
{
    return call->parameter;
}

const char *http_bearer(const struct http_call *call)
{
    return call->bearer;
}

const char *http_client_ip(const struct http_call *call)
{
    return call->client_ip;
}

const cJSON *http_body(const struct http_call *call)
{
    return call->json;
}

void http_on_gone(struct http_call *call, void (*gone)(void *context), void *context)
{
    call->gone = gone;
    call->gone_context = context;
}

void call_gone(struct http_call *call)
{
    void (*gone)(void *context) = call->gone;

    call->connection = NULL;
    call->gone = NULL;
    if (gone != NULL)
        gone(call->gone_context);
}

void call_free(struct http_call *call)
{
    cJSON_Delete(call->json);
    free(call->head_text);
    free(call->body);
    free(call->bearer);
    if (call->allow_origin != NULL && call->allow_origin[0] != '\0' && call->allow_origin[0] != '*')
        free((char *)call->allow_origin);
    free(call);
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
static int find_route(struct http_call *call, char *allow, size_t room)
{
    const struct http_server *server = call->server;
    bool head = slice_is(call->head.method, "HEAD");
    size_t used = 0;
    struct slice segment;

    allow[0] = '\0';
    if (!is_served_here(call->connection, call->head.path))
        return 404;
    for (unsigned i = 0; i < server->route_count; i++) {
        const struct route *route = &server->routes[i];

        if (!route_has_path(route, call->head.path, &segment))
            continue;
        if (route->is_raw || slice_is(call->head.method, route->method) ||
            (head && strcmp(route->method, "GET") == 0)) {
            if (!decode_segment(segment, call->parameter, sizeof(call->parameter)))
                return 400;
            call->route = route;
            return 0;
        }
        used += (size_t)snprintf(allow + used, room - used, "%s%s", used > 0 ? ", " : "",
                                 strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
    }
    if (used > 0)
        return 405;
    if (head || slice_is(call->head.method, "GET") || slice_is(call->head.method, "OPTIONS"))
        return 0;
    snprintf(allow, room, "GET, HEAD");
    return slice_is(call->head.path, "/") ? 405 : 404;
}

/* RFC 9110 9.3.7 and the Fetch standard's preflight. */
static void reply_options(struct http_call *call, const char *allow)
{
    struct slice wanted = http_field(&call->head, "access-control-request-headers");
    const char *methods = call->route != NULL || allow[0] == '\0' ? "GET, HEAD, POST" : allow;
    char value[300];

    snprintf(value, sizeof(value), "%s, OPTIONS", methods);
    http_header(call, "Allow", value);
    if (http_field(&call->head, "access-control-request-method").at != NULL &&
        call->allow_origin[0] != '\0') {
        http_header(call, "Access-Control-Allow-Methods", value);
        /* Nothing here depends on a header being absent, so any that is asked for may be sent. */
        if (wanted.bytes > 0 && wanted.bytes < 200) {
            slice_copy(wanted, value, sizeof(value));
            http_header(call, "Access-Control-Allow-Headers", value);
        }
        http_header(call, "Access-Control-Max-Age", "600");
    }
    http_reply_bytes(call, 204, "", "", 0);
}

static bool is_json_type(struct slice type)
{
    struct slice name;

    slice_next(&type, ';', &name);
    return slice_is_nocase(slice_trim(name), "application/json");
}

/* What must be right before the body is read. 0 or a status. */
static int check_body(struct http_call *call, const char **message)
{
    const struct http_head *head = &call->head;
    bool is_post = slice_is(head->method, "POST");

    call->body_bytes_max = call->route != NULL ? call->route->body_bytes_max : HTTP_BODY_BYTES_MAX;
    if (is_post && head->body == HTTP_BODY_NONE) {
        *message = "Content-Length is missing";
        return 411;
    }
    if (head->body == HTTP_BODY_LENGTH && head->body_bytes > call->body_bytes_max) {
        *message = "Body is too large";
        call->server->counters.bodies_too_large++;
        return 413;
    }
    if (is_post && call->route != NULL && !call->route->is_raw &&
        !is_json_type(http_field(head, "content-type"))) {
        *message = "Content-Type must be application/json";
        return 415;
    }
    return 0;
}

/* Answers with an error and ends the connection when a body is still on its way. */
static void refuse(struct http_call *call, int status, const char *message)
{
    if (call->head.body != HTTP_BODY_NONE)
        call->connection->keep_alive = false;
    http_reply_error(call, status, message);
}

/* Everything is elsewhere: on the port that speaks TLS. */
static void redirect(struct http_call *call)
{
    const struct http_head *head = &call->head;
    struct slice rest = http_field(head, "host"), host;
    uint32_t port = call->server->settings->http_port;
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
        refuse(call, 400, "Ask with https://");
        return;
    }
    http_header(call, "Location", where);
    call->connection->keep_alive = false;
    http_reply_bytes(call, 308, "text/plain", "", 0);
}

static bool call_take_origin(struct http_call *call)
{
    char copy[256];
    const char *origin = policy_origin(call->server->policy, &call->head,
                                       &call->connection->address, copy, sizeof(copy));

    call->allow_origin = origin == copy ? strdup(copy) : origin;
    return call->allow_origin != NULL;
}

static void call_take_bearer(struct http_call *call)
{
    struct slice value = http_field(&call->head, "authorization");

    if (value.bytes > 7 && strncasecmp(value.at, "Bearer ", 7) == 0 &&
        http_field_count(&call->head, "authorization") == 1)
        call->bearer = strndup(value.at + 7, value.bytes - 7);
}

struct http_call *call_open(struct connection *connection, const char *head, size_t head_bytes)
{
    struct http_call *call = calloc(1, sizeof(*call));
    char allow[128];
    const char *message = NULL;
    size_t used;
    int status;

    if (call != NULL)
        call->head_text = malloc(head_bytes);
    if (call == NULL || call->head_text == NULL) {
        free(call);
        connection_close(connection);
        return NULL;
    }
    memcpy(call->head_text, head, head_bytes);
    http_head_parse(call->head_text, head_bytes, &call->head, &used);
    call->server = connection->server;
    call->connection = connection;
    connection->call = call;
    connection->keep_alive = call->head.keep_alive && !connection->server->is_closing &&
                             !connection->server->is_draining;
    connection->server->counters.requests++;
    policy_client_ip(call->server->policy, &connection->address, &call->head, call->client_ip);
    call_take_bearer(call);
    if (connection->kind == LISTENER_REDIRECT) {
        call->allow_origin = "";
        redirect(call);
        return NULL;
    }
    status = find_route(call, allow, sizeof(allow));
    if (!call_take_origin(call) && (call->route != NULL || status != 0)) {
        call->allow_origin = "";
        connection->server->counters.origins_refused++;
        refuse(call, 403, "Origin is not allowed");
        return NULL;
    }
    if (call->allow_origin == NULL)
        call->allow_origin = "";
    if (slice_is(call->head.method, "OPTIONS") && call->head.body == HTTP_BODY_NONE) {
        reply_options(call, allow);
        return NULL;
    }
    if (status == 0 && connection->server->is_draining && call->route != NULL &&
        !call->route->is_raw && slice_is(call->head.method, "POST")) {
        http_header(call, "Retry-After", "10");
        refuse(call, 503, "The server is about to stop");
        return NULL;
    }
    if (status == 0)
        status = check_body(call, &message);
    if (status != 0) {
        if (status == 405)
            http_header(call, "Allow", allow);
        refuse(call, status,
               message != NULL ? message
               : status == 405 ? "Method is not allowed here"
               : status == 400 ? "Path is malformed"
                               : "Not found");
        return NULL;
    }
    return call;
}

char *call_body_room(struct http_call *call, size_t count, int *status)
{
    size_t wanted = call->body_bytes + count;

    /* `count` is what arrived; of a chunked body less than that may be content. */
    if (call->body_bytes > call->body_bytes_max ||
        (call->head.body == HTTP_BODY_LENGTH && wanted > call->body_bytes_max)) {
        *status = 413;
        return NULL;
    }
    if (wanted + 1 > call->body_room) {
        size_t room = call->body_room < 2048 ? 2048 : call->body_room * 2;
        char *body;

        room = room < wanted + 1 ? wanted + 1 : room;
        body = realloc(call->body, room);
        if (body == NULL) {
            *status = 503;
            return NULL;
        }
        call->body = body;
        call->body_room = room;
    }
    return call->body + call->body_bytes;
}

static void dispatch_page(struct http_call *call)
{
    if (!slice_is(call->head.method, "GET") && !slice_is(call->head.method, "HEAD")) {
        http_reply_error(call, 404, "Not found");
        return;
    }
    if (call->server->page != NULL && page_reply(call->server->page, call))
        return;
    if (call->server->page == NULL && slice_is(call->head.path, "/")) {
        static const char text[] = "Ringcast is running. No page is configured (RINGCAST_PAGE).\n";

        http_reply_page(call, 200, "text/plain; charset=utf-8", text, sizeof(text) - 1);
        return;
    }
    http_reply_error(call, 404, "Not found");
}

void call_dispatch(struct http_call *call)
{
    if (call->route == NULL) {
        dispatch_page(call);
        return;
    }
    if (!call->route->is_raw && strcmp(call->route->method, "GET") != 0) {
        call->json = json_parse(call->body, call->body_bytes);
        if (!cJSON_IsObject(call->json)) {
            call->server->counters.bodies_malformed++;
            http_reply_error(call, 400, "Body must be a JSON object");
            return;
        }
    }
    call->route->handler(call);
}
