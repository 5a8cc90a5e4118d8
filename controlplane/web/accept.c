/* Taking a connection: whose it is, and whether there is room for it. */
#define _GNU_SOURCE
#include <netinet/in.h>

#include "server.h"

static bool take_address(struct connection *connection)
{
    struct sockaddr_storage name;
    int bytes = sizeof(name);

    if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&name, &bytes) != 0)
        return false;
    if (name.ss_family == AF_INET6) {
        memcpy(connection->address.bytes, &((struct sockaddr_in6 *)&name)->sin6_addr, 16);
    } else {
        connection->address.bytes[10] = connection->address.bytes[11] = 0xff;
        memcpy(connection->address.bytes + 12, &((struct sockaddr_in *)&name)->sin_addr, 4);
    }
    return true;
}

/* A TLS client could read an answer only after the handshake that we want to be spared. */
static void turn_away(struct connection *connection, bool is_tls, int status, const char *message)
{
    if (is_tls)
        connection_close(connection);
    else
        connection_refuse(connection, status, message);
}

void connection_accept(struct listener *listener)
{
    struct http_server *server = listener->server;
    struct http_counters *counters = &server->counters;
    bool is_tls = listener->kind == LISTENER_MAIN && server->certificate != NULL;
    struct connection *connection = connection_new(server);
    enum address_verdict verdict = ADDRESS_ALLOWED;

    if (connection == NULL)
        return;
    connection->kind = listener->kind;
    counters->connections++;
    if (uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)&connection->tcp) != 0 ||
        !take_address(connection)) {
        connection_close(connection);
        return;
    }
    uv_tcp_nodelay(&connection->tcp, 1);
    if (!policy_is_proxy(server->policy, &connection->address))
        verdict = address_limits_take(&server->address_limits, connection->address,
                                      server->settings->sockets_per_address_max,
                                      server->settings->connections_per_minute,
                                      uv_now(server->loop), &connection->address_limit);
    if (verdict == ADDRESS_OVER_COUNT) {
        counters->connections_over_address++;
        turn_away(connection, is_tls, 429, "Too many connections from your address");
    } else if (verdict == ADDRESS_OVER_RATE) {
        counters->connections_over_rate++;
        turn_away(connection, is_tls, 429, "Your address opens connections too fast");
    } else if (server->connection_count > server->connections_max) {
        counters->connections_over_total++;
        turn_away(connection, is_tls, 503, "Too many connections");
    } else {
        connection_begin(connection, is_tls);
    }
}
