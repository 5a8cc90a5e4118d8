/* GET /metrics: who may read it, the text, and what the HTTP server itself counts.
 *
 * Source: Prometheus text exposition format 0.0.4. */
#define _GNU_SOURCE
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server.h"

struct metrics {
    char *text;
    size_t bytes, room;
    bool failed;
};

/* ---- the text ---- */

static void add(struct metrics *metrics, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add(struct metrics *metrics, const char *format, ...)
{
    char line[512];
    va_list arguments;
    int count;

    va_start(arguments, format);
    count = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (metrics->failed || count < 0 || (size_t)count >= sizeof(line)) {
        metrics->failed = true;
        return;
    }
    if (metrics->bytes + (size_t)count > metrics->room) {
        size_t room = metrics->room * 2 + 8192;
        char *text = realloc(metrics->text, room);

        if (text == NULL) {
            metrics->failed = true;
            return;
        }
        metrics->text = text;
        metrics->room = room;
    }
    memcpy(metrics->text + metrics->bytes, line, (size_t)count);
    metrics->bytes += (size_t)count;
}

void metrics_head(struct metrics *metrics, const char *name, const char *type, const char *prose)
{
    add(metrics, "# HELP ringcast_%s %s\n# TYPE ringcast_%s %s\n", name, prose, name, type);
}

void metrics_value(struct metrics *metrics, const char *name, const char *type, const char *prose,
                   double value)
{
    metrics_head(metrics, name, type, prose);
    add(metrics, "ringcast_%s %.17g\n", name, value);
}

/* Label values are words of ours: nothing in them needs escaping. */
void metrics_labelled(struct metrics *metrics, const char *name, const char *label,
                      const char *label_value, double value)
{
    add(metrics, "ringcast_%s{%s=\"%s\"} %.17g\n", name, label, label_value, value);
}

/* ---- the server's own ---- */

static void tell_server(struct metrics *metrics, const struct http_server *server)
{
    const struct http_counters *counters = &server->counters;
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
    if (server->certificate == NULL)
        return;
    metrics_value(metrics, "tls_certificate_not_after_seconds", "gauge",
                  "unix time at which the certificate is over",
                  (double)certificate_not_after_s(server->certificate));
    metrics_value(metrics, "tls_certificate_reloads_total", "counter", "new certificates taken",
                  (double)certificate_reloads(server->certificate));
    metrics_value(metrics, "tls_certificate_refusals_total", "counter",
                  "new certificates refused, the old one served on",
                  (double)certificate_refusals(server->certificate));
}

/* ---- who may ---- */

static bool is_loopback(const char *ip)
{
    return strncmp(ip, "127.", 4) == 0 || strcmp(ip, "::1") == 0;
}

static bool has_token(const struct http_request *request, const char *wanted)
{
    const char *given = http_bearer(request);
    size_t bytes = strlen(wanted);

    return given != NULL && strlen(given) == bytes && CRYPTO_memcmp(given, wanted, bytes) == 0;
}

/* 200, or what the caller is refused with. */
static int may_read(const struct http_request *request, const char **message)
{
    const struct settings *settings = request->server->settings;

    if (settings->metrics_port != 0 && request->connection->kind == LISTENER_MAIN) {
        *message = "Not found";
        return 404;
    }
    if (settings->metrics_token[0] != '\0') {
        *message = "Metrics want the bearer token of RINGCAST_METRICS_TOKEN";
        return has_token(request, settings->metrics_token) ? 200 : 401;
    }
    *message = "Metrics are for this machine only: set RINGCAST_METRICS_TOKEN or _PORT";
    return settings->metrics_port != 0 || is_loopback(request->client_ip) ? 200 : 403;
}

void metrics_reply(struct http_request *request)
{
    struct http_server *server = request->server;
    struct metrics metrics = {0};
    const char *message;
    int status = may_read(request, &message);

    if (status != 200) {
        if (status == 401)
            http_header(request, "WWW-Authenticate", "Bearer");
        http_reply_error(request, status, message);
        return;
    }
    tell_server(&metrics, server);
    for (unsigned i = 0; i < server->metrics_count; i++)
        server->metrics[i].write(&metrics, server->metrics[i].context);
    if (metrics.failed)
        http_reply_error(request, 503, "Out of memory");
    else
        http_reply_bytes(request, 200, "text/plain; version=0.0.4; charset=utf-8", metrics.text,
                         metrics.bytes);
    free(metrics.text);
}

void http_metrics_add(struct http_server *server, metrics_source source, void *context)
{
    if (server->metrics_count == HTTP_METRICS_SOURCES_MAX)
        abort(); /* sources are ours, in the code */
    server->metrics[server->metrics_count++] = (struct metrics_entry){source, context};
}
