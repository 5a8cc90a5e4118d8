/* Looks up events and checks their payloads. */
#include "events.h"

#include <stdio.h>
#include <string.h>

#include "request.h"

static const struct event events[] = {
#define E(name, may, rate, audit, payload, handler) \
    {name, MAY_##may, RATE_##rate, AUDIT_##audit, payload, handle_##handler},
    EVENTS(E)
#undef E
};

const struct event *event_find(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (strcmp(events[i].name, name) == 0)
            return &events[i];
    }
    return NULL;
}

const struct event *event_at(size_t i)
{
    return i < sizeof(events) / sizeof(events[0]) ? &events[i] : NULL;
}

static bool type_fits(const char *type, size_t length, const cJSON *item)
{
    if (strncmp(type, "text", length) == 0)
        return cJSON_IsString(item) && item->valuestring[0] != '\0' &&
               strlen(item->valuestring) <= 255;
    if (strncmp(type, "line", length) == 0)
        return cJSON_IsString(item);
    if (strncmp(type, "flag", length) == 0)
        return cJSON_IsBool(item);
    if (strncmp(type, "whole", length) == 0)
        return cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble <= 65535 &&
               item->valuedouble == (double)(uint32_t)item->valuedouble;
    return cJSON_IsObject(item);
}

bool payload_check(const struct event *event, const cJSON *payload, char why[PAYLOAD_WHY_BYTES])
{
    const char *member = event->payload;

    while (*member != '\0') {
        size_t name_bytes = strcspn(member, "?:");
        bool optional = member[name_bytes] == '?';
        const char *type = member + name_bytes + (optional ? 2 : 1);
        size_t type_bytes = strcspn(type, " ");
        const cJSON *item;
        char name[32];

        snprintf(name, sizeof(name), "%.*s", (int)name_bytes, member);
        item = cJSON_GetObjectItemCaseSensitive(payload, name);
        if ((item == NULL || cJSON_IsNull(item)) ? !optional : !type_fits(type, type_bytes, item)) {
            snprintf(why, PAYLOAD_WHY_BYTES, "%s is %s", name,
                     item == NULL ? "missing" : "not of the right type or length");
            return false;
        }
        member = type + type_bytes;
        member += *member == ' ';
    }
    return true;
}

void handle_unsupported(struct request *request)
{
    request_fail_because(request, ERROR_unavailable, "this version does not support %s",
                         request->event->name);
}
