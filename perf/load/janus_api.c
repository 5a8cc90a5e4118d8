/* Janus's requests, events and messages. */
#include "janus_api.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "http.h"
#include "json.h"
#include "memory.h"
#include "src/clock.h"
#include "target.h"

#define PATH_BYTES 120

struct janus {
    struct http_client *http;
    uint64_t session;
    unsigned transactions;
};

/* ---- JSON ---- */

uint64_t janus_id(const cJSON *object, const char *name)
{
    double value = json_number(object, name);

    return value > 0 ? (uint64_t)value : 0;
}

/* cJSON would write 6453901596010200 as 6.4539015960102e+15, which Janus does not accept as an
 * integer. */
void janus_add_id(cJSON *object, const char *name, uint64_t id)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%" PRIu64, id);
    cJSON_AddRawToObject(object, name, digits);
}

const cJSON *janus_data(const cJSON *message)
{
    return json_item(json_item(message, "plugindata"), "data");
}

/* ---- requests ---- */

cJSON *janus_request(struct janus *janus, uint64_t handle, cJSON *request, char *why)
{
    char path[PATH_BYTES] = "/janus", transaction[24], *body;
    const cJSON *error;
    cJSON *answer;
    long status;

    if (handle)
        snprintf(path, sizeof(path), "/janus/%" PRIu64 "/%" PRIu64, janus->session, handle);
    else if (janus->session)
        snprintf(path, sizeof(path), "/janus/%" PRIu64, janus->session);
    snprintf(transaction, sizeof(transaction), "%u", ++janus->transactions);
    cJSON_AddStringToObject(request, "transaction", transaction);
    body = cJSON_PrintUnformatted(request);
    answer = http_client_request(janus->http, path, body, &status, why);
    free(body);
    cJSON_Delete(request);
    error = json_item(answer, "error");
    if (!error)
        return answer;
    snprintf(why, TARGET_WHY_BYTES, "Janus refused: %.200s (%" PRIu64 ")",
             json_text(error, "reason"), janus_id(error, "code"));
    cJSON_Delete(answer);
    return NULL;
}

/* Returns the waiting events as an array, oldest first. If none arrives within 30 s, Janus answers
 * with a keep-alive event. */
static cJSON *wait_for_events(struct janus *janus, char *why)
{
    char path[PATH_BYTES];
    cJSON *events, *list;
    long status;

    snprintf(path, sizeof(path), "/janus/%" PRIu64 "?maxev=10", janus->session);
    events = http_client_request(janus->http, path, NULL, &status, why);
    if (!events || cJSON_IsArray(events))
        return events;
    list = cJSON_CreateArray();
    cJSON_AddItemToArray(list, events);
    return list;
}

bool janus_is_success(const cJSON *message, int *code, char *why)
{
    const cJSON *data = janus_data(message);

    *code = (int)janus_id(data, "error_code");
    if (data && *code == 0)
        return true;
    snprintf(why, TARGET_WHY_BYTES, "VideoRoom refused: %.200s (%d)",
             data ? json_text(data, "error") : "its answer has no data", *code);
    return false;
}

cJSON *janus_message(const char *plugin_request, uint64_t room, cJSON **body)
{
    cJSON *m = cJSON_CreateObject();

    cJSON_AddStringToObject(m, "janus", "message");
    *body = cJSON_AddObjectToObject(m, "body");
    cJSON_AddStringToObject(*body, "request", plugin_request);
    if (room)
        janus_add_id(*body, "room", room);
    return m;
}

void janus_add_sdp(cJSON *m, const char *type, const char *sdp)
{
    cJSON *jsep = cJSON_AddObjectToObject(m, "jsep");

    cJSON_AddStringToObject(jsep, "type", type);
    cJSON_AddStringToObject(jsep, "sdp", sdp);
    cJSON_AddBoolToObject(jsep, "trickle", false);
}

cJSON *janus_ask(struct janus *janus, uint64_t handle, cJSON *m, int *code, char *why)
{
    uint64_t deadline = clock_monotonic_ns() + TARGET_REQUEST_TIMEOUT_MS * NS_PER_MS;
    cJSON *answer = janus_request(janus, handle, m, why), *found = NULL;
    char transaction[24];

    *code = 0;
    if (!answer)
        return NULL;
    cJSON_Delete(answer);
    snprintf(transaction, sizeof(transaction), "%u", janus->transactions);
    while (!found && clock_monotonic_ns() < deadline) {
        cJSON *events = wait_for_events(janus, why);

        if (!events)
            return NULL;
        for (int i = 0; i < cJSON_GetArraySize(events) && !found; i++)
            if (strcmp(json_text(cJSON_GetArrayItem(events, i), "transaction"), transaction) == 0)
                found = cJSON_DetachItemFromArray(events, i);
        cJSON_Delete(events);
    }
    if (!found)
        snprintf(why, TARGET_WHY_BYTES, "Janus sent no event within 15 s");
    else if (janus_is_success(found, code, why))
        return found;
    cJSON_Delete(found);
    return NULL;
}

uint64_t janus_attach(struct janus *janus, char *why)
{
    cJSON *m = cJSON_CreateObject(), *answer;
    uint64_t handle;

    cJSON_AddStringToObject(m, "janus", "attach");
    cJSON_AddStringToObject(m, "plugin", "janus.plugin.videoroom");
    answer = janus_request(janus, 0, m, why);
    handle = janus_id(json_item(answer, "data"), "id");
    cJSON_Delete(answer);
    return handle;
}

void janus_detach(struct janus *janus, uint64_t handle)
{
    cJSON *m = cJSON_CreateObject();
    char why[TARGET_WHY_BYTES];

    cJSON_AddStringToObject(m, "janus", "detach");
    cJSON_Delete(janus_request(janus, handle, m, why));
}

/* ---- the session ---- */

struct janus *janus_connect(const char *url, char *why)
{
    struct janus *janus;
    struct server_url parsed;
    cJSON *m, *answer;

    if (!server_url_parse(&parsed, url, why))
        return NULL;
    janus = memory_zeroed(1, sizeof(*janus));
    janus->http = http_client_open(&parsed, why);
    if (!janus->http) {
        free(janus);
        return NULL;
    }
    m = cJSON_CreateObject();
    cJSON_AddStringToObject(m, "janus", "create");
    answer = janus_request(janus, 0, m, why);
    janus->session = janus_id(json_item(answer, "data"), "id");
    cJSON_Delete(answer);
    if (janus->session)
        return janus;
    janus_disconnect(janus);
    return NULL;
}

void janus_disconnect(struct janus *janus)
{
    char why[TARGET_WHY_BYTES];

    if (janus->session) {
        cJSON *m = cJSON_CreateObject();

        cJSON_AddStringToObject(m, "janus", "destroy");
        cJSON_Delete(janus_request(janus, 0, m, why));
    }
    http_client_close(janus->http);
    free(janus);
}
