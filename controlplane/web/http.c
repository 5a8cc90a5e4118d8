/* The HTTP server: listening sockets, routes, its end. */
#define _GNU_SOURCE
#include "server.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "src/log.h"

/* Left to everything that is not a connection of ours. */
#define DESCRIPTORS_RESERVED 128

static void connection_waiting(uv_stream_t *listener, int status)
{
    if (status == 0)
        connection_accept(listener->data, listener);
}

static void listener_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;

    if (--server->handles == 0)
        free(server);
}

/* Binds one listener; a libuv error. */
static int listen_on(struct http_server *server, const char *ip, uint16_t port, bool v6_only)
{
    uv_tcp_t *tcp = &server->listeners[server->listener_count];
    struct sockaddr_storage name;
    bool is_v6 = strchr(ip, ':') != NULL;
    int error = is_v6 ? uv_ip6_addr(ip, port, (struct sockaddr_in6 *)&name)
                      : uv_ip4_addr(ip, port, (struct sockaddr_in *)&name);

    if (error != 0)
        return error;
    uv_tcp_init(server->loop, tcp);
    tcp->data = server;
    server->listener_count++;
    server->handles++;
    error = uv_tcp_bind(tcp, (struct sockaddr *)&name, v6_only ? UV_TCP_IPV6ONLY : 0);
    if (error == 0)
        error = uv_listen((uv_stream_t *)tcp, 1024, connection_waiting);
    return error;
}

static bool listen_everywhere(struct http_server *server, char *why)
{
    const char *ip = server->settings->http_listen_ip;
    uint16_t port = (uint16_t)server->settings->http_port;
    int error;

    if (ip[0] != '\0') {
        error = listen_on(server, ip, port, false);
    } else {
        error = listen_on(server, "::", port, false);
        /* A machine without IPv6. */
        if (error == UV_EAFNOSUPPORT || error == UV_EADDRNOTAVAIL)
            error = listen_on(server, ip = "0.0.0.0", port, false);
    }
    if (error == 0)
        return true;
    if (error == UV_EADDRINUSE)
        snprintf(why, 192,
                 "port %u is in use by another program: stop that one or set PORT to another",
                 port);
    else if (error == UV_EACCES)
        snprintf(why, 192, "port %u may not be opened by this user: set PORT to 1024 or more",
                 port);
    else
        snprintf(why, 192,
                 "cannot serve HTTP on '%.64s' port %u: %s; check RINGCAST_HTTP_LISTEN_IP", ip,
                 port, uv_strerror(error));
    return false;
}

struct http_server *http_open(uv_loop_t *loop, const struct settings *settings, char *why)
{
    struct http_server *server = calloc(1, sizeof(*server));
    struct rlimit descriptors = {.rlim_cur = 1024};

    if (server == NULL) {
        snprintf(why, 192, "out of memory");
        return NULL;
    }
    server->loop = loop;
    server->settings = settings;
    getrlimit(RLIMIT_NOFILE, &descriptors);
    server->connections_max =
        descriptors.rlim_cur > 1000000 ? 1000000 : (uint32_t)descriptors.rlim_cur;
    server->connections_max -= server->connections_max > 2 * DESCRIPTORS_RESERVED
                                   ? DESCRIPTORS_RESERVED
                                   : server->connections_max / 2;
    server->handles = 1; /* our own, given back in http_close */
    server->policy = policy_open(settings, why);
    if (server->policy != NULL &&
        (settings->page_directory[0] == '\0' ||
         (server->page = page_load(settings->page_directory, why)) != NULL) &&
        listen_everywhere(server, why))
        return server;
    http_close(server);
    return NULL;
}

void http_close(struct http_server *server)
{
    if (server->is_closing)
        return;
    server->is_closing = true;
    for (unsigned i = 0; i < server->listener_count; i++)
        uv_close((uv_handle_t *)&server->listeners[i], listener_closed);
    for (struct connection *connection = server->connections, *next; connection != NULL;
         connection = next) {
        next = connection->next;
        connection_close(connection);
    }
    policy_free(server->policy);
    page_free(server->page);
    server->policy = NULL;
    server->page = NULL;
    if (--server->handles == 0)
        free(server);
}

bool http_check(const struct settings *settings, char *why)
{
    struct policy *policy = policy_open(settings, why);
    struct page *page = NULL;
    bool ok = policy != NULL;

    if (ok && settings->page_directory[0] != '\0')
        ok = (page = page_load(settings->page_directory, why)) != NULL;
    policy_free(policy);
    if (page != NULL)
        page_free(page);
    return ok;
}

void http_take_policy(struct http_server *server, struct policy *policy)
{
    policy_free(server->policy);
    server->policy = policy;
}

static struct route *add_route(struct http_server *server, const char *method, const char *path,
                               void (*handler)(struct http_call *call), void *context)
{
    struct route *route = &server->routes[server->route_count];
    const char *colon = strchr(path, ':');

    /* Routes are ours, in the code: too many or too long is a mistake of the build. */
    if (server->route_count == HTTP_ROUTES_MAX || strlen(path) >= sizeof(route->path) ||
        strlen(method) >= sizeof(route->method))
        abort();
    server->route_count++;
    memcpy(route->method, method, strlen(method) + 1);
    memcpy(route->path, path, strlen(path) + 1);
    route->has_parameter = colon != NULL;
    if (colon != NULL)
        route->path[colon - path] = '\0';
    route->handler = handler;
    route->context = context;
    route->body_bytes_max = HTTP_BODY_BYTES_MAX;
    return route;
}

void http_route(struct http_server *server, const char *method, const char *path,
                void (*handler)(struct http_call *call), void *context)
{
    add_route(server, method, path, handler, context);
}

void http_route_raw(struct http_server *server, const char *path, size_t body_bytes_max,
                    void (*handler)(struct http_call *call), void *context)
{
    struct route *route = add_route(server, "", path, handler, context);

    route->is_raw = true;
    route->body_bytes_max = body_bytes_max;
}
