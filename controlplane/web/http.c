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

void server_unref(struct http_server *server)
{
    if (--server->handles > 0)
        return;
    address_limits_clear(&server->address_limits);
    free(server);
}

static void connection_waiting(uv_stream_t *listener, int status)
{
    if (status == 0)
        connection_accept(listener->data);
}

static void listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    server_unref(listener->server);
}

/* Binds one listener; a libuv error. */
static int listen_on(struct http_server *server, enum listener_kind kind, const char *ip,
                     uint16_t port)
{
    struct listener *listener = &server->listeners[server->listener_count];
    uv_tcp_t *tcp = &listener->tcp;
    struct sockaddr_storage name;
    bool is_v6 = strchr(ip, ':') != NULL;
    int error = is_v6 ? uv_ip6_addr(ip, port, (struct sockaddr_in6 *)&name)
                      : uv_ip4_addr(ip, port, (struct sockaddr_in *)&name);

    if (error != 0)
        return error;
    uv_tcp_init(server->loop, tcp);
    tcp->data = listener;
    listener->server = server;
    listener->kind = kind;
    server->listener_count++;
    server->handles++;
    error = uv_tcp_bind(tcp, (struct sockaddr *)&name, 0);
    if (error == 0)
        error = uv_listen((uv_stream_t *)tcp, 1024, connection_waiting);
    return error;
}

static bool listen_at(struct http_server *server, enum listener_kind kind, const char *ip,
                      uint16_t port, const char *port_setting, const char *ip_setting, char *why)
{
    int error;

    if (ip[0] != '\0') {
        error = listen_on(server, kind, ip, port);
    } else {
        error = listen_on(server, kind, "::", port);
        /* A machine without IPv6. */
        if (error == UV_EAFNOSUPPORT || error == UV_EADDRNOTAVAIL)
            error = listen_on(server, kind, ip = "0.0.0.0", port);
    }
    if (error == 0)
        return true;
    if (error == UV_EADDRINUSE)
        snprintf(why, 192,
                 "port %u is in use by another program: stop that one or set %s to another", port,
                 port_setting);
    else if (error == UV_EACCES)
        snprintf(why, 192, "port %u may not be opened by this user: set %s to 1024 or more", port,
                 port_setting);
    else
        snprintf(why, 192, "cannot serve HTTP on '%.64s' port %u: %s; check %s", ip, port,
                 uv_strerror(error), ip_setting);
    return false;
}

static bool listen_everywhere(struct http_server *server, char *why)
{
    const struct settings *settings = server->settings;

    return listen_at(server, LISTENER_MAIN, settings->http_listen_ip, (uint16_t)settings->http_port,
                     "PORT", "RINGCAST_HTTP_LISTEN_IP", why) &&
           (settings->redirect_port == 0 ||
            listen_at(server, LISTENER_REDIRECT, settings->http_listen_ip,
                      (uint16_t)settings->redirect_port, "RINGCAST_REDIRECT_PORT",
                      "RINGCAST_HTTP_LISTEN_IP", why)) &&
           (settings->metrics_port == 0 ||
            listen_at(server, LISTENER_METRICS, settings->metrics_listen_ip,
                      (uint16_t)settings->metrics_port, "RINGCAST_METRICS_PORT",
                      "RINGCAST_METRICS_LISTEN_IP", why));
}

static bool take_certificate(struct http_server *server, char *why)
{
    const char *file = server->settings->tls_certificate_file;
    const char *key = server->settings->tls_key_file;

    if (file[0] == '\0' && key[0] == '\0' && server->settings->redirect_port == 0)
        return true;
    if (file[0] == '\0' || key[0] == '\0') {
        snprintf(why, 192, "%s is set and %s is not: TLS needs both",
                 file[0] != '\0'  ? "RINGCAST_TLS_CERTIFICATE"
                 : key[0] != '\0' ? "RINGCAST_TLS_KEY"
                                  : "RINGCAST_REDIRECT_PORT",
                 file[0] == '\0' ? "RINGCAST_TLS_CERTIFICATE" : "RINGCAST_TLS_KEY");
        return false;
    }
    server->certificate = certificate_open(server->loop, file, key, why);
    return server->certificate != NULL;
}

/* As many as may be asked for, or as descriptors allow. */
static uint32_t connections_allowed(const struct settings *settings)
{
    struct rlimit descriptors = {.rlim_cur = 1024};
    uint32_t allowed;

    getrlimit(RLIMIT_NOFILE, &descriptors);
    allowed = descriptors.rlim_cur > 1000000 ? 1000000 : (uint32_t)descriptors.rlim_cur;
    allowed -= allowed > 2 * DESCRIPTORS_RESERVED ? DESCRIPTORS_RESERVED : allowed / 2;
    if (settings->connections_max == 0)
        return allowed;
    if (settings->connections_max > allowed)
        LOG(WARN, "http", "fewer connections than asked for: raise the limit of open files",
            F("asked", "%u", settings->connections_max), F("allowed", "%u", allowed));
    return settings->connections_max < allowed ? settings->connections_max : allowed;
}

struct http_server *http_open(uv_loop_t *loop, const struct settings *settings, char *why)
{
    struct http_server *server = calloc(1, sizeof(*server));

    if (server == NULL) {
        snprintf(why, 192, "out of memory");
        return NULL;
    }
    server->loop = loop;
    server->settings = settings;
    server->connections_max = connections_allowed(settings);
    server->handles = 1; /* our own, given back in http_close */
    server->policy = policy_open(settings, why);
    if (server->policy != NULL && take_certificate(server, why) &&
        (settings->page_directory[0] == '\0' ||
         (server->page = page_load(settings->page_directory, why)) != NULL) &&
        listen_everywhere(server, why)) {
        http_route(server, "GET", "/metrics", metrics_reply, NULL);
        return server;
    }
    http_close(server);
    return NULL;
}

void http_close(struct http_server *server)
{
    if (server->is_closing)
        return;
    server->is_closing = true;
    for (unsigned i = 0; i < server->listener_count; i++)
        uv_close((uv_handle_t *)&server->listeners[i].tcp, listener_closed);
    for (struct connection *connection = server->connections, *next; connection != NULL;
         connection = next) {
        next = connection->next;
        connection_close(connection);
    }
    policy_free(server->policy);
    page_free(server->page);
    certificate_close(server->certificate);
    server->policy = NULL;
    server->page = NULL;
    server->certificate = NULL;
    server_unref(server);
}

bool http_reload(struct http_server *server, const struct settings *settings, char *why)
{
    struct policy *policy = policy_open(settings, why);

    if (policy == NULL)
        return false;
    if (server->certificate != NULL && !certificate_reload(server->certificate, why)) {
        policy_free(policy);
        return false;
    }
    policy_free(server->policy);
    server->policy = policy;
    server->settings = settings;
    return true;
}

void http_drain(struct http_server *server)
{
    server->is_draining = true;
}

static bool certificate_check(const struct settings *settings, char *why)
{
    struct certificate *certificate;
    uv_loop_t loop;

    if (settings->tls_certificate_file[0] == '\0' && settings->tls_key_file[0] == '\0')
        return true;
    uv_loop_init(&loop);
    certificate =
        certificate_open(&loop, settings->tls_certificate_file, settings->tls_key_file, why);
    if (certificate != NULL)
        certificate_close(certificate);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return certificate != NULL;
}

bool http_check(const struct settings *settings, char *why)
{
    struct policy *policy = policy_open(settings, why);
    struct page *page = NULL;
    bool ok = policy != NULL && certificate_check(settings, why);

    if (ok && settings->page_directory[0] != '\0')
        ok = (page = page_load(settings->page_directory, why)) != NULL;
    policy_free(policy);
    if (page != NULL)
        page_free(page);
    return ok;
}

static struct route *add_route(struct http_server *server, const char *method, const char *path,
                               void (*handler)(struct http_request *request), void *context)
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
                void (*handler)(struct http_request *request), void *context)
{
    add_route(server, method, path, handler, context);
}

void http_route_raw(struct http_server *server, const char *path, size_t body_bytes_max,
                    void (*handler)(struct http_request *request), void *context)
{
    struct route *route = add_route(server, "", path, handler, context);

    route->is_raw = true;
    route->body_bytes_max = body_bytes_max;
}
