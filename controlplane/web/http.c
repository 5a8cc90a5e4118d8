/* The HTTP server: opens it, reloads what may change, drains it, closes it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "certificate.h"
#include "metrics_route.h"
#include "page.h"
#include "policy.h"
#include "server.h"
#include "src/log.h"

/* File descriptors that are not for connections. */
#define DESCRIPTORS_RESERVED 128

static bool open_certificate(struct http_server *server, char *why)
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
    server->shared.certificate = certificate_open(server->shared.loop, file, key, why);
    return server->shared.certificate != NULL;
}

/* The setting, but not more than the limit of open files allows. */
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
        LOG(WARN, "http",
            "the limit of open files allows fewer connections than connections_max; raise the "
            "limit (LimitNOFILE=, ulimit -n)",
            F("setting", "%u", settings->connections_max), F("allowed", "%u", allowed));
    return settings->connections_max < allowed ? settings->connections_max : allowed;
}

static void apply_budgets(struct http_server *server)
{
    server->shared.budgets.known_bytes_per_address =
        server->settings->unfinished_mib_per_address * 1024 * 1024;
    server->shared.budgets.messages_per_s = server->settings->messages_per_address;
    server->shared.budgets.bytes_per_s = server->settings->message_kib_per_address * 1024;
}

struct http_server *http_open(uv_loop_t *loop, const struct settings *settings, char *why)
{
    struct http_server *server = calloc(1, sizeof(*server));

    if (server == NULL) {
        snprintf(why, 192, "out of memory");
        return NULL;
    }
    server->shared.loop = loop;
    server->settings = settings;
    server->connections_max = connections_allowed(settings);
    server->handles = 1; /* http_close gives it back */
    apply_budgets(server);
    server->policy = policy_open(settings, why);
    if (server->policy != NULL && open_certificate(server, why) &&
        (settings->page_directory[0] == '\0' ||
         (server->page = page_load(settings->page_directory, why)) != NULL) &&
        listeners_open(server, why)) {
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
    listeners_close(server);
    for (struct http_connection *http = server->connections, *next; http != NULL; http = next) {
        next = http->next;
        connection_close(&http->connection);
    }
    policy_free(server->policy);
    page_free(server->page);
    certificate_close(server->shared.certificate);
    server->policy = NULL;
    server->page = NULL;
    server->shared.certificate = NULL;
    http_server_unref(server);
}

bool http_reload(struct http_server *server, const struct settings *settings, char *why)
{
    struct policy *policy = policy_open(settings, why);

    if (policy == NULL)
        return false;
    if (server->shared.certificate != NULL &&
        !certificate_reload(server->shared.certificate, why)) {
        policy_free(policy);
        return false;
    }
    policy_free(server->policy);
    server->policy = policy;
    server->settings = settings;
    apply_budgets(server);
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

uv_loop_t *http_loop(const struct http_server *server)
{
    return server->shared.loop;
}

void http_route(struct http_server *server, const char *method, const char *path,
                void (*handler)(struct http_request *request), void *context)
{
    struct route *route = routes_add(&server->routes, method, path, handler, context);

    route->body_bytes_max = HTTP_BODY_BYTES_MAX;
}

void http_route_raw(struct http_server *server, const char *path, size_t body_bytes_max,
                    bool (*before_body)(struct http_request *request),
                    void (*handler)(struct http_request *request), void *context)
{
    struct route *route = routes_add(&server->routes, "", path, handler, context);

    route->is_raw = true;
    route->before_body = before_body;
    route->body_bytes_max = body_bytes_max;
}

void http_metrics_add(struct http_server *server, metrics_source source, void *context)
{
    if (server->metrics_source_count == HTTP_METRICS_SOURCES_MAX)
        abort(); /* the code fixes the number of sources */
    server->metrics_sources[server->metrics_source_count].write = source;
    server->metrics_sources[server->metrics_source_count++].context = context;
}
