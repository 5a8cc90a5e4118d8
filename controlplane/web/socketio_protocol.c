/* Decodes and encodes Socket.IO 5 packets. */
#include "socketio_protocol.h"

#include <stdio.h>
#include <stdlib.h>

#include "json.h"

struct cursor {
    const char *at, *end;
};

static bool next_is(const struct cursor *cursor, char c)
{
    return cursor->at < cursor->end && *cursor->at == c;
}

/* Takes digits. False when there are none or too many. */
static bool take_number(struct cursor *cursor, unsigned digits_max, uint64_t *value)
{
    struct slice digits = {cursor->at, 0};

    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9') {
        cursor->at++;
        digits.bytes++;
    }
    return slice_number(digits, digits_max, value);
}

static bool take_namespace(struct cursor *cursor, char name_space[SOCKETIO_NAMESPACE_ROOM])
{
    struct slice name = {cursor->at, 0}, path;

    if (!next_is(cursor, '/')) {
        memcpy(name_space, "/", 2);
        return true;
    }
    while (cursor->at < cursor->end && *cursor->at != ',') {
        unsigned char c = (unsigned char)*cursor->at++;

        if (c < 0x21 || c == '"' || c == '\\' || c == 0x7f)
            return false;
        name.bytes++;
    }
    if (next_is(cursor, ','))
        cursor->at++;
    /* A query string after the name is not part of it. */
    slice_next(&name, '?', &path);
    if (path.bytes >= SOCKETIO_NAMESPACE_ROOM)
        return false;
    slice_copy(path, name_space, SOCKETIO_NAMESPACE_ROOM);
    return true;
}

/* A client must not send these names: they are events of the Socket.IO library itself. */
static bool is_reserved(const char *event)
{
    static const char *const names[] = {"connect",       "connect_error", "disconnect",
                                        "disconnecting", "newListener",   "removeListener"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(event, names[i]) == 0)
            return true;
    return false;
}

static bool is_event(const cJSON *data)
{
    const cJSON *name = cJSON_IsArray(data) ? data->child : NULL;

    return cJSON_IsString(name) && name->valuestring[0] != '\0' &&
           strlen(name->valuestring) <= SOCKETIO_EVENT_BYTES_MAX && !is_reserved(name->valuestring);
}

static bool payload_fits(const struct socketio_packet *packet)
{
    const cJSON *data = packet->data;

    switch (packet->type) {
    case SOCKETIO_CONNECT:
        return packet->ack < 0 && (data == NULL || cJSON_IsObject(data));
    case SOCKETIO_DISCONNECT:
        return packet->ack < 0 && data == NULL;
    case SOCKETIO_EVENT:
    case SOCKETIO_BINARY_EVENT:
        return is_event(data);
    case SOCKETIO_ACK:
    case SOCKETIO_BINARY_ACK:
        return packet->ack >= 0 && cJSON_IsArray(data);
    case SOCKETIO_CONNECT_ERROR:
        return false; /* only the server sends it */
    }
    return false;
}

/* Does every {_placeholder:true} name an announced attachment by a whole number? */
static bool placeholders_fit(const cJSON *value, unsigned attachments)
{
    const cJSON *member;

    if (cJSON_IsObject(value)) {
        const cJSON *mark = cJSON_GetObjectItemCaseSensitive(value, "_placeholder");
        const cJSON *number = cJSON_GetObjectItemCaseSensitive(value, "num");

        if (cJSON_IsTrue(mark))
            return cJSON_IsNumber(number) && number->valuedouble >= 0 &&
                   number->valuedouble < attachments &&
                   number->valuedouble == (double)(unsigned)number->valuedouble;
    }
    cJSON_ArrayForEach(member, value)
    {
        if (!placeholders_fit(member, attachments)) /* json_parse limits the depth */
            return false;
    }
    return true;
}

bool socketio_decode(const char *text, size_t bytes, struct socketio_packet *packet)
{
    struct cursor cursor = {text, text + bytes};
    uint64_t number = 0;
    bool is_binary, fits;

    *packet = (struct socketio_packet){.ack = -1};
    if (bytes == 0 || text[0] < '0' || text[0] > '6')
        return false;
    packet->type = (enum socketio_type)(*cursor.at++ - '0');
    is_binary = packet->type == SOCKETIO_BINARY_EVENT || packet->type == SOCKETIO_BINARY_ACK;
    if (is_binary) {
        if (!take_number(&cursor, 3, &number) || number > SOCKETIO_ATTACHMENTS_MAX ||
            !next_is(&cursor, '-'))
            return false;
        packet->attachments = (unsigned)number;
        cursor.at++;
    }
    if (!take_namespace(&cursor, packet->name_space))
        return false;
    if (cursor.at < cursor.end && *cursor.at >= '0' && *cursor.at <= '9') {
        if (!take_number(&cursor, 15, &number))
            return false;
        packet->ack = (int64_t)number;
    }
    if (cursor.at < cursor.end) {
        packet->data = json_parse(cursor.at, (size_t)(cursor.end - cursor.at));
        if (packet->data == NULL)
            return false;
    }
    fits =
        payload_fits(packet) && (!is_binary || placeholders_fit(packet->data, packet->attachments));
    if (!fits)
        socketio_packet_clear(packet);
    return fits;
}

void socketio_packet_clear(struct socketio_packet *packet)
{
    cJSON_Delete(packet->data);
    packet->data = NULL;
}

struct engine_packet *socketio_encode(enum socketio_type type, unsigned attachments,
                                      const char *name_space, int64_t ack, const cJSON *data)
{
    bool is_binary = type == SOCKETIO_BINARY_EVENT || type == SOCKETIO_BINARY_ACK;
    char head[SOCKETIO_NAMESPACE_ROOM + 48];
    char *json = NULL;
    struct engine_packet *packet;
    size_t head_bytes, json_bytes = 0;

    if (data != NULL) {
        json = cJSON_PrintUnformatted(data);
        if (json == NULL)
            return NULL;
        json_bytes = strlen(json);
    }
    head_bytes = (size_t)snprintf(head, sizeof(head), "4%d", (int)type);
    if (is_binary)
        head_bytes +=
            (size_t)snprintf(head + head_bytes, sizeof(head) - head_bytes, "%u-", attachments);
    if (strcmp(name_space, "/") != 0)
        head_bytes +=
            (size_t)snprintf(head + head_bytes, sizeof(head) - head_bytes, "%s,", name_space);
    if (ack >= 0)
        head_bytes +=
            (size_t)snprintf(head + head_bytes, sizeof(head) - head_bytes, "%lld", (long long)ack);
    packet = engine_packet_new(NULL, head_bytes + json_bytes, false);
    if (packet != NULL) {
        memcpy(engine_packet_payload(packet), head, head_bytes);
        if (json_bytes > 0)
            memcpy(engine_packet_payload(packet) + head_bytes, json, json_bytes);
    }
    cJSON_free(json);
    return packet;
}
