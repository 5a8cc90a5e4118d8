/* How a client's call ends: acknowledgement, error, or later. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

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

void call_succeed(struct call *call, cJSON *value)
{
    if (call->ack >= 0)
        socket_ack(call->socket, call->ack, value);
    else
        cJSON_Delete(value);
}

static void fail(struct call *call, enum room_error error, const char *message)
{
    cJSON *value = cJSON_CreateObject();

    call->rooms->errors[error]++;
    if (call->ack >= 0)
        cJSON_AddStringToObject(value, "status", "error");
    cJSON_AddStringToObject(value, "code", room_error_codes[error]);
    cJSON_AddStringToObject(value, "message", message);
    if (call->ack >= 0) {
        socket_ack(call->socket, call->ack, value);
        return;
    }
    cJSON_AddStringToObject(value, "event", call->name);
    socket_emit(call->socket, "error", value);
}

void call_fail(struct call *call, enum room_error error)
{
    fail(call, error, messages[error]);
}

void call_fail_because(struct call *call, enum room_error error, const char *format, ...)
{
    char text[400];
    va_list arguments;
    int length = snprintf(text, sizeof(text), "%s: ", messages[error]);

    va_start(arguments, format);
    vsnprintf(text + length, sizeof(text) - (size_t)length, format, arguments);
    va_end(arguments);
    fail(call, error, text);
}

struct call *call_defer(struct call *call)
{
    struct call *copy = malloc(sizeof(*copy));

    if (copy == NULL)
        return NULL;
    *copy = *call;
    copy->payload = NULL;
    copy->room = NULL;
    copy->caller = NULL;
    copy->transport = NULL;
    copy->producer = NULL;
    copy->consumer = NULL;
    copy->name = call->event != NULL ? call->event->name : "";
    socket_ref(copy->socket);
    rooms_ref(copy->rooms);
    return copy;
}

bool call_resume(struct call *call)
{
    call->session = socket_is_open(call->socket) ? socket_data(call->socket) : NULL;
    return call->session != NULL && !call->rooms->closing;
}

void call_drop(struct call *call)
{
    socket_unref(call->socket);
    rooms_unref(call->rooms);
    free(call->data);
    free(call);
}

const char *payload_text(const cJSON *payload, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(payload, key));
}

bool payload_flag(const cJSON *payload, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(payload, key));
}
