/* Writes HTTP replies: status line, headers, body. */
#define _GNU_SOURCE
#include "reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "request.h"
#include "server.h"

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
        {421, "Misdirected Request"},
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

/* Every reply has these headers. */
#define SECURITY_HEADERS                  \
    "X-Content-Type-Options: nosniff\r\n" \
    "Referrer-Policy: no-referrer\r\n"
/* RFC 6797. Only in production: a browser that saw this header on a test server would refuse plain
 * HTTP from that host for a year. */
#define TLS_HEADERS "Strict-Transport-Security: max-age=31536000\r\n"
/* The page uses only scripts, styles and media of this server. */
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

/* request may be NULL: its head was refused. The body is `copied` or `borrowed`, or there is
 * none. */
static void send_reply(struct http_connection *http, struct http_request *request, int status,
                       const char *type, const char *extra, const char *copied,
                       const char *borrowed, size_t count)
{
    bool head_only = request != NULL && slice_is(request->head.method, "HEAD");
    bool has_body = status != 204 && status != 304;
    bool is_tls = http->connection.tls != NULL;
    struct slice allowed = request != NULL ? request->allow_headers : (struct slice){"", 0};
    size_t room = 2560 + allowed.bytes + (copied != NULL ? count : 0);
    char *reply = malloc(room);
    bool is_production = settings_in_production(http->server->settings);
    size_t at;

    if (reply == NULL) {
        connection_close(&http->connection);
        return;
    }
    http->server->replies[status < HTTP_STATUS_MAX ? status : 0]++;
    at = (size_t)snprintf(reply, room, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: %s\r\n", status,
                          status_text(status), server_date(http->server),
                          http->keep_alive ? "keep-alive" : "close");
    if (has_body)
        at += (size_t)snprintf(reply + at, room - at, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                               type, count);
    if (request != NULL && request->allow_origin != NULL && request->allow_origin[0] != '\0')
        at += (size_t)snprintf(reply + at, room - at, "Access-Control-Allow-Origin: %s\r\n%s",
                               request->allow_origin,
                               request->allow_origin[0] == '*'
                                   ? ""
                                   : "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n");
    if (allowed.bytes > 0)
        at += (size_t)snprintf(reply + at, room - at, "Access-Control-Allow-Headers: %.*s\r\n",
                               (int)allowed.bytes, allowed.at);
    at += (size_t)snprintf(reply + at, room - at, SECURITY_HEADERS "%s%s%s\r\n",
                           is_tls && is_production ? TLS_HEADERS : "", extra,
                           request != NULL ? request->headers : "");
    if (copied != NULL && has_body && !head_only) {
        memcpy(reply + at, copied, count);
        at += count;
    }
    if (head_only || !has_body)
        borrowed = NULL;
    http->state = HTTP_REPLY;
    connection_set_deadline(&http->connection, HTTP_WRITE_TIMEOUT_MS);
    connection_write(&http->connection, reply, at, borrowed, borrowed != NULL ? count : 0, true);
}

void http_reply_bytes(struct http_request *request, int status, const char *type, const char *bytes,
                      size_t count)
{
    struct http_connection *http = http_request_detach(request);

    if (http != NULL)
        send_reply(http, request, status, type, "Cache-Control: no-store\r\n", bytes, NULL, count);
    http_request_free(request);
}

void http_reply_page(struct http_request *request, int status, const char *type,
                     const char *borrowed, size_t count)
{
    struct http_connection *http = http_request_detach(request);

    if (http != NULL)
        send_reply(http, request, status, type, PAGE_HEADERS, NULL, borrowed, count);
    http_request_free(request);
}

void http_reply_json(struct http_request *request, int status, cJSON *body)
{
    static const char no_memory[] = "{\"statusCode\":503,\"message\":\"Out of memory, try again\","
                                    "\"error\":\"Service Unavailable\"}";
    char *text = json_is_complete(body) ? cJSON_PrintUnformatted(body) : NULL;

    cJSON_Delete(body);
    if (text != NULL)
        http_reply_bytes(request, status, "application/json; charset=utf-8", text, strlen(text));
    else
        http_reply_bytes(request, 503, "application/json; charset=utf-8", no_memory,
                         sizeof(no_memory) - 1);
    cJSON_free(text);
}

void http_reply_error(struct http_request *request, int status, const char *message)
{
    cJSON *body = json_new_object();

    cJSON_AddNumberToObject(body, "statusCode", status);
    cJSON_AddStringToObject(body, "message", message);
    cJSON_AddStringToObject(body, "error", status_text(status));
    http_reply_json(request, status, body);
}

void http_reply_errors(struct http_request *request, int status, cJSON *messages)
{
    cJSON *body = json_new_object();

    cJSON_AddNumberToObject(body, "statusCode", status);
    json_add(body, "message", messages);
    cJSON_AddStringToObject(body, "error", status_text(status));
    http_reply_json(request, status, body);
}

void http_refuse(struct http_connection *http, int status, const char *message)
{
    char body[256];
    int count =
        snprintf(body, sizeof(body), "{\"statusCode\":%d,\"message\":\"%s\",\"error\":\"%s\"}",
                 status, message, status_text(status));

    http->keep_alive = false;
    send_reply(http, NULL, status, "application/json; charset=utf-8",
               status == 429 ? "Cache-Control: no-store\r\nRetry-After: 10\r\n"
                             : "Cache-Control: no-store\r\n",
               body, NULL, (size_t)count);
}

void http_reply_header(struct http_request *request, const char *name, const char *value)
{
    size_t used = strlen(request->headers);

    /* A value may come from a client: it must not begin a new line. */
    if (strpbrk(name, "\r\n") != NULL || strpbrk(value, "\r\n") != NULL)
        return;
    if (used + strlen(name) + strlen(value) + 5 > sizeof(request->headers))
        return;
    snprintf(request->headers + used, sizeof(request->headers) - used, "%s: %s\r\n", name, value);
}
