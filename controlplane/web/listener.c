/* Opens the ports, accepts connections, and refuses connections over the limits. */
#define _GNU_SOURCE
#include "listener.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "reply.h"
#include "server.h"

void http_server_unref(struct http_server *server)
{
    if (--server->handles > 0)
        return;
    address_limits_clear(&server->address_limits);
    free(server);
}

/* ---- connections ---- */

static void connection_released(struct connection *connection)
{
    struct http_connection *http = (struct http_connection *)connection;
    struct http_server *server = http->server;

    *http->link = http->next;
    if (http->next != NULL)
        http->next->link = http->link;
    server->connection_count--;
    address_limits_release(&server->address_limits, http->address_limit,
                           uv_now(server->shared.loop));
    http_connection_free(http);
    http_server_unref(server);
}

/* NULL: no memory. */
static struct http_connection *connection_new(struct listener *listener)
{
    struct http_server *server = listener->server;
    struct http_connection *http = calloc(1, sizeof(*http));

    if (http == NULL)
        return NULL;
    http->kind = listener->kind;
    http->link = &server->connections;
    http->next = server->connections;
    if (http->next != NULL)
        http->next->link = &http->next;
    server->connections = http;
    server->connection_count++;
    server->handles++;
    connection_init(&http->connection, &server->shared, connection_released);
    http_connection_init(http, server);
    return http;
}

static bool read_peer(struct http_connection *http)
{
    struct sockaddr_storage name;
    int bytes = sizeof(name);

    if (uv_tcp_getpeername(&http->connection.tcp, (struct sockaddr *)&name, &bytes) != 0)
        return false;
    if (name.ss_family == AF_INET6) {
        memcpy(http->peer.bytes, &((struct sockaddr_in6 *)&name)->sin6_addr, 16);
    } else {
        http->peer.bytes[10] = http->peer.bytes[11] = 0xff;
        memcpy(http->peer.bytes + 12, &((struct sockaddr_in *)&name)->sin_addr, 4);
    }
    return true;
}

/* A TLS client can read an answer only after a handshake, and that is the work we want to avoid. */
static void turn_away(struct http_connection *http, bool is_tls, int status, const char *message)
{
    if (is_tls)
        connection_close(&http->connection);
    else
        http_refuse(http, status, message);
}

static void let_in(struct http_connection *http, bool is_tls)
{
    struct http_server *server = http->server;
    struct http_counters *counters = &server->shared.counters;
    const struct settings *settings = server->settings;
    enum address_verdict verdict = ADDRESS_ALLOWED;

    http->connection.share.slot = http->connection.share.account = BUDGET_NO_SLOT;
    if (!policy_is_proxy(server->policy, &http->peer)) {
        http->connection.share.slot = budget_slot_of_address(http->peer);
        verdict = address_limits_take(
            &server->address_limits, http->peer, settings->sockets_per_address_max,
            settings->connections_per_minute, uv_now(server->shared.loop), &http->address_limit);
    }
    if (verdict == ADDRESS_OVER_COUNT) {
        counters->connections_over_address++;
        turn_away(http, is_tls, 429, "Too many connections from your address");
    } else if (verdict == ADDRESS_NO_MEMORY) {
        turn_away(http, is_tls, 503, "Out of memory");
    } else if (verdict == ADDRESS_OVER_RATE) {
        counters->connections_over_rate++;
        turn_away(http, is_tls, 429, "Your address opens connections too fast");
    } else if (server->connection_count > server->connections_max) {
        counters->connections_over_total++;
        turn_away(http, is_tls, 503, "Too many connections");
    } else {
        connection_begin(&http->connection, is_tls);
    }
}

static void connection_waiting(uv_stream_t *stream, int status);

static void turned_away(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    bool has_waiting = listener->has_waiting;

    listener->is_turning_away = listener->has_waiting = false;
    if (has_waiting && !listener->server->is_closing)
        connection_waiting((uv_stream_t *)&listener->tcp, 0);
    http_server_unref(listener->server);
}

/* libuv accepts no other connection until this one is taken. One at a time: there is no memory. */
static void turn_away_waiting(struct listener *listener)
{
    listener->has_waiting = listener->is_turning_away;
    if (listener->is_turning_away)
        return;
    listener->server->shared.counters.connections_without_memory++;
    listener->is_turning_away = true;
    listener->server->handles++;
    uv_tcp_init(listener->server->shared.loop, &listener->turned_away);
    listener->turned_away.data = listener;
    uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)&listener->turned_away);
    uv_close((uv_handle_t *)&listener->turned_away, turned_away);
}

static void connection_waiting(uv_stream_t *stream, int status)
{
    struct listener *listener = stream->data;
    struct http_server *server = listener->server;
    struct http_connection *http = status == 0 ? connection_new(listener) : NULL;

    if (http == NULL) {
        if (status == 0)
            turn_away_waiting(listener);
        return;
    }
    server->shared.counters.connections++;
    if (uv_accept(stream, (uv_stream_t *)&http->connection.tcp) != 0 || !read_peer(http)) {
        connection_close(&http->connection);
        return;
    }
    uv_tcp_nodelay(&http->connection.tcp, 1);
    let_in(http, listener->kind == LISTENER_MAIN && server->shared.certificate != NULL);
}

/* ---- ports ---- */

/* Returns 0 or an error of libuv. */
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
    uv_tcp_init(server->shared.loop, tcp);
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
        /* The machine has no IPv6. */
        if (error == UV_EAFNOSUPPORT || error == UV_EADDRNOTAVAIL)
            error = listen_on(server, kind, ip = "0.0.0.0", port);
    }
    if (error == 0)
        return true;
    if (error == UV_EADDRINUSE)
        snprintf(
            why, 192,
            "port %u is in use by another program: stop that program or set %s to another port",
            port, port_setting);
    else if (error == UV_EACCES)
        snprintf(why, 192, "port %u may not be opened by this user: set %s to 1024 or more", port,
                 port_setting);
    else
        snprintf(why, 192, "cannot serve HTTP on '%.64s' port %u: %s; check %s", ip, port,
                 uv_strerror(error), ip_setting);
    return false;
}

bool listeners_open(struct http_server *server, char *why)
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

static void listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;

    http_server_unref(listener->server);
}

void listeners_close(struct http_server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++)
        uv_close((uv_handle_t *)&server->listeners[i].tcp, listener_closed);
}
