/* How a request ends: acknowledged, refused, or deferred. */
#include "request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "controlplane/web/json.h"
#include "controlplane/web/memory.h"
#include "events.h"
#include "registry.h"

const char *const room_error_codes[ROOM_ERROR_COUNT] = {
#define E(name, text) #name,
    ROOM_ERRORS(E)
#undef E
};

static const char *const messages[ROOM_ERROR_COUNT] = {
#define E(name, text) text,
    ROOM_ERRORS(E)
#undef E
};

void request_succeed(struct request *request, cJSON *value)
{
    if (request->ack >= 0 && json_is_complete(value)) {
        socket_ack(request->socket, request->ack, value);
        return;
    }
    cJSON_Delete(value);
    if (request->ack >= 0) /* the client sees what has changed when it connects again */
        socket_abort(request->socket);
}

void request_succeed_flag(struct request *request, const char *key)
{
    cJSON *value = json_new_object();

    cJSON_AddTrueToObject(value, key);
    request_succeed(request, value);
}

static void fail(struct request *request, enum room_error error, const char *message)
{
    cJSON *value;

    /* What seemed wrong with the request may be only what there was no memory for. */
    if (memory_failures() != request->failures) {
        error = ERROR_unavailable;
        message = messages[error];
    }
    request->rooms->errors[error]++;
    value = json_new_object();
    if (request->ack >= 0)
        cJSON_AddStringToObject(value, "status", "error");
    cJSON_AddStringToObject(value, "code", room_error_codes[error]);
    cJSON_AddStringToObject(value, "message", message);
    if (request->ack < 0)
        cJSON_AddStringToObject(value, "event", request->name);
    if (!json_is_complete(value)) {
        cJSON_Delete(value);
        socket_abort(request->socket);
    } else if (request->ack >= 0) {
        socket_ack(request->socket, request->ack, value);
    } else {
        socket_emit(request->socket, "error", value);
    }
}

void request_fail(struct request *request, enum room_error error)
{
    fail(request, error, messages[error]);
}

void request_fail_because(struct request *request, enum room_error error, const char *format, ...)
{
    char text[400];
    va_list arguments;
    int length = snprintf(text, sizeof(text), "%s: ", messages[error]);

    va_start(arguments, format);
    vsnprintf(text + length, sizeof(text) - (size_t)length, format, arguments);
    va_end(arguments);
    fail(request, error, text);
}

struct request *request_defer(struct request *request)
{
    struct request *copy = malloc(sizeof(*copy));

    if (copy == NULL)
        return NULL;
    /* Only what stays valid is copied: the payload and the objects may be gone at the callback. */
    *copy = (struct request){.rooms = request->rooms,
                             .socket = socket_ref(request->socket),
                             .session = request->session,
                             .event = request->event,
                             .name = request->event != NULL ? request->event->name : "",
                             .ack = request->ack};
    rooms_ref(copy->rooms);
    return copy;
}

bool request_resume(struct request *request)
{
    request->failures = memory_failures();
    request->session = socket_is_open(request->socket) ? socket_data(request->socket) : NULL;
    return request->session != NULL && !request->rooms->closing;
}

void request_drop(struct request *request)
{
    socket_unref(request->socket);
    rooms_unref(request->rooms);
    free(request->data);
    free(request);
}

const char *payload_text(const cJSON *payload, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(payload, key));
}

bool payload_flag(const cJSON *payload, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(payload, key));
}
