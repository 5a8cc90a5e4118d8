/* A server that sends back what it receives. It has only the HTTP and Socket.IO parts of the
 * control plane, for tests of the protocols, and takes the same settings as the product.
 *
 * Prints "listening <port>" when it is ready. SIGTERM ends it. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/web/client.h"
#include "src/log.h"

extern char **environ;

struct echo {
    uv_loop_t loop;
    struct settings settings;
    struct http_server *http;
    struct socketio *io;
    uv_signal_t terminate, reload;
    uint64_t closed, held_requests;
    struct http_request *held;
    char last_reason[64];
};

struct later {
    uv_timer_t timer;
    struct socket *socket;
    cJSON *auth;
};

static void greet(struct socket *socket, cJSON *auth)
{
    const cJSON *user = cJSON_GetObjectItemCaseSensitive(auth, "user");

    if (cJSON_IsString(user))
        socket_set_account(socket, user->valuestring);
    socket_accept(socket);
    socket_emit(socket, "auth", auth != NULL ? auth : cJSON_CreateObject());
}

static void later_closed(uv_handle_t *handle)
{
    struct later *later = handle->data;

    socket_unref(later->socket);
    free(later);
}

static void later_passed(uv_timer_t *timer)
{
    struct later *later = timer->data;

    greet(later->socket, later->auth);
    uv_close((uv_handle_t *)timer, later_closed);
}

static void on_connecting(struct socket *socket, const cJSON *auth, const char *bearer)
{
    struct echo *echo = socket_context(socket);
    const cJSON *token = cJSON_GetObjectItemCaseSensitive(auth, "token");
    struct later *later;

    if (cJSON_IsString(token) && strcmp(token->valuestring, "bad") == 0) {
        socket_refuse(socket, "Authentication failed");
        return;
    }
    if (!cJSON_IsString(token) || strcmp(token->valuestring, "later") != 0) {
        greet(socket, auth == NULL ? NULL : cJSON_Duplicate(auth, 1));
        if (bearer != NULL)
            socket_emit(socket, "bearer", cJSON_CreateString(bearer));
        return;
    }
    later = calloc(1, sizeof(*later));
    later->socket = socket_ref(socket);
    later->auth = cJSON_Duplicate(auth, 1);
    uv_timer_init(&echo->loop, &later->timer);
    later->timer.data = later;
    uv_timer_start(&later->timer, later_passed, 200, 0);
}

static cJSON *with_name(const char *name, const cJSON *args)
{
    cJSON *array = cJSON_Duplicate(args, 1);

    if (name != NULL)
        cJSON_InsertItemInArray(array, 0, cJSON_CreateString(name));
    return array;
}

static void send_many(struct socket *socket, const cJSON *args)
{
    int count = cJSON_GetArrayItem(args, 0)->valueint,
        bytes = cJSON_GetArrayItem(args, 1)->valueint;
    char *text = malloc((size_t)bytes + 1);

    memset(text, 'x', (size_t)bytes);
    text[bytes] = '\0';
    for (int i = 0; i < count && socket_is_open(socket); i++)
        socket_emit(socket, "flood", cJSON_CreateString(text));
    free(text);
}

static void on_event(struct socket *socket, const char *name, const cJSON *args, int64_t ack)
{
    if (strcmp(name, "message-with-ack") == 0) {
        socket_send(socket, ack, cJSON_Duplicate(args, 1), NULL, 0);
    } else if (strcmp(name, "message") == 0) {
        socket_send(socket, -1, with_name("message-back", args), NULL, 0);
    } else if (strcmp(name, "ack-one") == 0) {
        socket_ack(socket, ack, cJSON_CreateTrue());
    } else if (strcmp(name, "disconnect-me") == 0) {
        socket_emit(socket, "bye", NULL);
        socket_disconnect(socket);
    } else if (strcmp(name, "flood-me") == 0 && cJSON_GetArraySize(args) == 2) {
        send_many(socket, args);
    }
}

static void on_binary(struct socket *socket, const char *name, const cJSON *args,
                      const struct socket_attachment *attachments, size_t count, int64_t ack)
{
    bool wants_ack = strcmp(name, "message-with-ack") == 0;

    socket_send(socket, wants_ack ? ack : -1, with_name(wants_ack ? NULL : "message-back", args),
                attachments, count);
}

static void on_closed(struct socket *socket, const char *reason)
{
    struct echo *echo = socket_context(socket);

    echo->closed++;
    snprintf(echo->last_reason, sizeof(echo->last_reason), "%s", reason);
}

static const struct socket_handlers handlers = {
    .connecting = on_connecting,
    .event = on_event,
    .closed = on_closed,
    .binary = on_binary,
};
static const struct socket_handlers text_handlers = {
    .connecting = on_connecting,
    .event = on_event,
    .closed = on_closed,
};

/* For tests of Engine.IO alone: sends back every message. */
static bool echo_message(struct client *client, const char *bytes, size_t count, bool is_binary)
{
    struct engine_packet *packet = engine_packet_new(NULL, count + !is_binary, is_binary);

    if (packet == NULL)
        return false;
    engine_packet_payload(packet)[0] = '4';
    memcpy(engine_packet_payload(packet) + !is_binary, bytes, count);
    client_send(client, packet);
    return true;
}

static void echo_body(struct http_request *request)
{
    http_reply_json(request, 201, cJSON_Duplicate(http_body(request), 1));
}

static void reply_thing(struct http_request *request)
{
    cJSON *body = cJSON_CreateObject();

    cJSON_AddStringToObject(body, "parameter", http_parameter(request));
    cJSON_AddStringToObject(body, "ip", http_client_ip(request));
    if (http_bearer(request) != NULL)
        cJSON_AddStringToObject(body, "bearer", http_bearer(request));
    http_reply_json(request, 200, body);
}

/* Answers only when the next request arrives: like a store that is slow. */
static void hold(struct http_request *request)
{
    struct echo *echo = http_context(request);

    if (echo->held != NULL)
        http_reply_json(echo->held, 200, cJSON_CreateObject());
    echo->held = request;
    echo->held_requests++;
}

static void reply_counters(struct http_request *request)
{
    struct echo *echo = http_context(request);
    const struct socketio_counters *counters = socketio_counters(echo->io);
    cJSON *body = cJSON_CreateObject();
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file != NULL) {
        if (fscanf(file, "%*s %ld", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    cJSON_AddNumberToObject(body, "connections", (double)counters->connections);
    cJSON_AddNumberToObject(body, "sockets_open", (double)counters->sockets_open);
    cJSON_AddNumberToObject(body, "sessions_open", (double)counters->sessions_open);
    cJSON_AddNumberToObject(body, "events_received", (double)counters->events_received);
    cJSON_AddNumberToObject(body, "binary_refused", (double)counters->binary_refused);
    cJSON_AddNumberToObject(body, "protocol_errors", (double)counters->protocol_errors);
    cJSON_AddNumberToObject(body, "timeouts", (double)counters->timeouts);
    cJSON_AddNumberToObject(body, "slow_readers", (double)counters->slow_readers);
    cJSON_AddNumberToObject(body, "closed", (double)echo->closed);
    cJSON_AddStringToObject(body, "last_reason", echo->last_reason);
    cJSON_AddNumberToObject(body, "held_requests", (double)echo->held_requests);
    cJSON_AddNumberToObject(body, "rss_bytes", (double)pages * (double)sysconf(_SC_PAGESIZE));
    cJSON_AddNumberToObject(body, "heap_bytes", (double)mallinfo2().uordblks);
    http_reply_json(request, 200, body);
}

static void terminated(uv_signal_t *signal, int number)
{
    struct echo *echo = signal->data;

    uv_close((uv_handle_t *)signal, NULL);
    uv_close((uv_handle_t *)&echo->reload, NULL);
    socketio_close(echo->io);
    http_close(echo->http);
    if (echo->held != NULL)
        http_reply_json(echo->held, 200, cJSON_CreateObject());
}

/* ECHO_RELOAD_ORIGINS takes the place of a changed list of origins in the settings file. */
static void reload_asked(uv_signal_t *signal, int number)
{
    struct echo *echo = signal->data;
    const char *origins = getenv("ECHO_RELOAD_ORIGINS");
    char why[192];

    if (origins != NULL)
        snprintf(echo->settings.cors_origins, sizeof(echo->settings.cors_origins), "%s", origins);
    if (!http_reload(echo->http, &echo->settings, why))
        fprintf(stderr, "refused: %s\n", why);
}

int main(int argc, char **argv)
{
    static struct echo echo;
    enum settings_request request;
    char error[SETTING_ERROR_BYTES], why[192];
    const char *text_only = getenv("ECHO_TEXT_ONLY");

    if (!settings_load(&echo.settings, argc, argv, environ, &request, error)) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    log_open("echo", LOG_WARN, false);
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&echo.loop);
    echo.http = http_open(&echo.loop, &echo.settings, why);
    if (echo.http == NULL) {
        fprintf(stderr, "%s\n", why);
        uv_run(&echo.loop, UV_RUN_DEFAULT);
        uv_loop_close(&echo.loop);
        return 1;
    }
    http_route(echo.http, "POST", "/echo", echo_body, &echo);
    http_route(echo.http, "GET", "/things/:id", reply_thing, &echo);
    http_route(echo.http, "GET", "/counters", reply_counters, &echo);
    http_route(echo.http, "GET", "/hold", hold, &echo);
    echo.io = socketio_open(echo.http, &echo.settings,
                            text_only != NULL ? &text_handlers : &handlers, &echo);
    socketio_namespace(echo.io, "/custom");
    if (getenv("ECHO_ENGINE") != NULL)
        echo.io->message = echo_message;
    uv_signal_init(&echo.loop, &echo.terminate);
    echo.terminate.data = &echo;
    uv_signal_start(&echo.terminate, terminated, SIGTERM);
    uv_signal_init(&echo.loop, &echo.reload);
    echo.reload.data = &echo;
    uv_signal_start(&echo.reload, reload_asked, SIGHUP);
    printf("listening %u\n", echo.settings.http_port);
    fflush(stdout);
    uv_run(&echo.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&echo.loop) == 0 ? 0 : 3;
}
