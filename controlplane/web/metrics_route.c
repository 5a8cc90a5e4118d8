/* GET /metrics. */
#define _GNU_SOURCE
#include "metrics_route.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certificate.h"
#include "reply.h"
#include "request.h"
#include "server.h"

static void write_server_metrics(struct metrics *metrics, const struct http_server *server)
{
    const struct http_counters *counters = &server->shared.counters;
    char status[12];

#define X(name, prose) \
    metrics_value(metrics, "http_" #name "_total", "counter", prose, (double)counters->name);
    HTTP_COUNTERS(X)
#undef X
    metrics_head(metrics, "http_replies_total", "counter", "HTTP replies by status");
    for (int i = 100; i < HTTP_STATUS_MAX; i++) {
        if (server->replies[i] == 0)
            continue;
        snprintf(status, sizeof(status), "%d", i);
        metrics_labelled(metrics, "http_replies_total", "status", status,
                         (double)server->replies[i]);
    }
    metrics_value(metrics, "http_connections_open", "gauge", "TCP connections that are open",
                  server->connection_count);
    metrics_value(metrics, "http_connections_max", "gauge", "TCP connections that may be open",
                  server->connections_max);
    if (server->shared.certificate == NULL)
        return;
    metrics_value(metrics, "tls_certificate_not_after_seconds", "gauge",
                  "unix time at which the certificate expires",
                  (double)certificate_not_after_s(server->shared.certificate));
    metrics_value(metrics, "tls_certificate_reloads_total", "counter",
                  "new certificates that were loaded",
                  (double)certificate_reloads(server->shared.certificate));
    metrics_value(metrics, "tls_certificate_refusals_total", "counter",
                  "new certificates that were refused while the old one stays in use",
                  (double)certificate_refusals(server->shared.certificate));
}

/* ---- who may read them ---- */

static bool is_loopback(const char *ip)
{
    return strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0;
}

/* A proxy on this machine connects from a loopback address, too. It adds one of these headers, or
 * passes the host name that its client asked for. Web pages that point their own name at this
 * machine (DNS rebinding) show that name as well. */
static bool came_from_elsewhere(const struct http_head *head)
{
    static const char *const added[] = {"x-forwarded-for",
                                        "x-forwarded-host",
                                        "x-forwarded-proto",
                                        "x-forwarded-port",
                                        "x-real-ip",
                                        "forwarded",
                                        "via",
                                        "cf-connecting-ip"};
    struct slice rest = http_field(head, "host"), host;
    char name[64] = "";

    for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++)
        if (http_field_count(head, added[i]) > 0)
            return true;
    slice_next(&rest, rest.bytes > 0 && rest.at[0] == '[' ? ']' : ':', &host);
    if (host.bytes < sizeof(name))
        slice_copy(host, name, sizeof(name));
    return strcasecmp(name, "localhost") != 0 && strcmp(name, "[::1") != 0 &&
           !(strncmp(name, "127.", 4) == 0 && strspn(name, "0123456789.") == strlen(name));
}

static bool has_token(const struct http_request *request, const char *wanted)
{
    const char *given = http_bearer(request);
    size_t bytes = strlen(wanted);

    return given != NULL && strlen(given) == bytes && CRYPTO_memcmp(given, wanted, bytes) == 0;
}

/* 200, or the status and *message of the refusal. */
static int may_read(const struct http_request *request, const char **message)
{
    const struct settings *settings = request->server->settings;

    if (settings->metrics_port != 0 && request->connection->kind == LISTENER_MAIN) {
        *message = "Not found";
        return 404;
    }
    if (settings->metrics_token[0] != '\0') {
        *message = "Metrics need the bearer token of RINGCAST_METRICS_TOKEN";
        return has_token(request, settings->metrics_token) ? 200 : 401;
    }
    *message =
        "Only this machine may read metrics: set RINGCAST_METRICS_TOKEN or RINGCAST_METRICS_PORT";
    if (settings->metrics_port != 0)
        return 200;
    return is_loopback(request->client_ip) && !came_from_elsewhere(&request->head) ? 200 : 403;
}

void metrics_reply(struct http_request *request)
{
    struct http_server *server = request->server;
    struct metrics metrics = {0};
    const char *message;
    int status = may_read(request, &message);

    if (status != 200) {
        if (status == 401)
            http_reply_header(request, "WWW-Authenticate", "Bearer");
        http_reply_error(request, status, message);
        return;
    }
    write_server_metrics(&metrics, server);
    for (unsigned i = 0; i < server->metrics_source_count; i++)
        server->metrics_sources[i].write(&metrics, server->metrics_sources[i].context);
    if (metrics.failed)
        http_reply_error(request, 503, "Out of memory");
    else
        http_reply_bytes(request, 200, "text/plain; version=0.0.4; charset=utf-8", metrics.text,
                         metrics.bytes);
    free(metrics.text);
}
