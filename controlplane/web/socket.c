/* Sockets: what a client's Socket.IO packets mean, and what is sent to it. */
#include "socket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "json.h"

/* ---- the end of a socket ---- */

/* Takes the socket off its client. The handlers are told if the socket was accepted. */
static void end_socket(struct socket *socket, const char *reason)
{
    struct client *client = socket->client;
    bool was_open = socket->state == SOCKET_OPEN;

    if (client == NULL)
        return;
    socket->state = SOCKET_CLOSED;
    socket->client = NULL;
    client->sockets[socket->name_space] = NULL;
    if (was_open) {
        client->open_socket_count--;
        client->io->counters.sockets_open--;
        client->io->handlers->closed(socket, reason);
    }
    socket_unref(socket);
}

void sockets_close(struct client *client, const char *reason)
{
    for (unsigned i = 0; i < NAMESPACES_MAX; i++)
        if (client->sockets[i] != NULL)
            end_socket(client->sockets[i], reason);
}

/* ---- from the client ---- */

static int find_namespace(const struct socketio *io, const char *name)
{
    for (unsigned i = 0; i < io->namespace_count; i++)
        if (strcmp(io->namespaces[i], name) == 0)
            return (int)i;
    return -1;
}

static void send_to(struct client *client, enum socketio_type type, const char *name_space,
                    const cJSON *data)
{
    client_send(client, type == SOCKETIO_DISCONNECT || json_is_complete(data)
                            ? socketio_encode(type, 0, name_space, -1, data)
                            : NULL);
}

static void send_connect_error(struct client *client, const char *name_space, const char *message)
{
    cJSON *data = json_new_object();

    cJSON_AddStringToObject(data, "message", message);
    send_to(client, SOCKETIO_CONNECT_ERROR, name_space, data);
    cJSON_Delete(data);
}

static bool take_connect(struct client *client, const struct socketio_packet *packet)
{
    struct socketio *io = client->io;
    int index = find_namespace(io, packet->name_space);
    struct socket *socket;

    if (index < 0) {
        send_connect_error(client, packet->name_space, "Invalid namespace");
        return true;
    }
    if (client->sockets[index] != NULL)
        return false;
    socket = calloc(1, sizeof(*socket));
    if (socket == NULL)
        return false;
    socket->references = 1;
    socket->client = client;
    socket->name_space = (unsigned)index;
    socket->context = io->context;
    sid_make(socket->id);
    snprintf(socket->name, sizeof(socket->name), "%s", packet->name_space);
    snprintf(socket->ip, sizeof(socket->ip), "%s", client->ip);
    client->sockets[index] = socket;
    io->handlers->connecting(socket, packet->data, client->bearer);
    return true;
}

static bool take_event(struct client *client, struct socket *socket, struct socketio_packet *packet)
{
    struct socketio *io = client->io;
    cJSON *name = cJSON_DetachItemFromArray(packet->data, 0);

    io->counters.events_received++;
    if (packet->type == SOCKETIO_BINARY_EVENT && io->handlers->binary == NULL) {
        /* Nobody takes binary data. Without arguments the event gets its error, and the socket
         * lives on. */
        cJSON *none = cJSON_CreateArray();

        io->counters.binary_refused++;
        io->handlers->event(socket, name->valuestring, none, packet->ack);
        cJSON_Delete(none);
    } else if (packet->type == SOCKETIO_EVENT)
        io->handlers->event(socket, name->valuestring, packet->data, packet->ack);
    else
        io->handlers->binary(socket, name->valuestring, packet->data, client->attachments,
                             client->attachment_count, packet->ack);
    cJSON_Delete(name);
    return true;
}

/* NULL: the client has no open socket in this namespace. */
static struct socket *open_socket(const struct client *client, const char *name_space)
{
    int index = find_namespace(client->io, name_space);
    struct socket *socket = index < 0 ? NULL : client->sockets[index];

    return socket != NULL && socket->state == SOCKET_OPEN ? socket : NULL;
}

/* A complete packet with all its attachments. */
static bool take_packet(struct client *client, struct socketio_packet *packet)
{
    struct socket *socket = open_socket(client, packet->name_space);

    if (packet->type == SOCKETIO_CONNECT)
        return take_connect(client, packet);
    /* The reference server also closes a client that sends to a namespace before its CONNECT
     * there. */
    if (socket == NULL)
        return false;
    switch (packet->type) {
    case SOCKETIO_EVENT:
    case SOCKETIO_BINARY_EVENT:
        return take_event(client, socket, packet);
    case SOCKETIO_DISCONNECT:
        end_socket(socket, "client disconnect");
        client_allow_messages(client);
        client_rearm(client);
        return true;
    default: /* an acknowledgement that we did not ask for */
        return true;
    }
}

static bool take_attachment(struct client *client, const char *bytes, size_t count)
{
    struct socketio_packet packet = client->pending;
    bool is_kept = client->io->handlers->binary != NULL;
    char *copy = NULL;
    bool ok;

    client->attachment_bytes += count;
    if (client->attachment_bytes > client->io->settings->payload_bytes_max)
        return false;
    if (is_kept) {
        copy = malloc(count + 1);
        if (copy == NULL)
            return false;
        memcpy(copy, bytes, count);
    }
    client->attachments[client->attachment_count++] = (struct socket_attachment){copy, count};
    if (client->attachment_count < packet.attachments)
        return true;
    client->pending.data = NULL;
    ok = take_packet(client, &packet);
    socketio_packet_clear(&packet);
    client_forget_pending(client);
    return ok;
}

/* Nobody takes the binary data, so only the name of the event has to wait for it. */
static void keep_name_only(struct client *client, struct socketio_packet *packet)
{
    cJSON *name = packet->data->child;

    if (client->io->handlers->binary == NULL && name != NULL)
        while (name->next != NULL)
            cJSON_Delete(cJSON_DetachItemViaPointer(packet->data, name->next));
}

bool sockets_receive(struct client *client, const char *bytes, size_t count, bool is_binary)
{
    struct socketio_packet packet;
    bool ok;

    if (client->pending.data != NULL)
        return is_binary && take_attachment(client, bytes, count);
    if (is_binary || !socketio_decode(bytes, count, &packet))
        return false;
    if (packet.type == SOCKETIO_BINARY_EVENT || packet.type == SOCKETIO_BINARY_ACK) {
        if (packet.attachments > 0 && open_socket(client, packet.name_space) != NULL) {
            keep_name_only(client, &packet);
            client->pending = packet;
            return true;
        }
    }
    ok = take_packet(client, &packet);
    socketio_packet_clear(&packet);
    return ok;
}

/* ---- to the client ---- */

static bool is_connecting(const struct socket *socket)
{
    return socket->state == SOCKET_CONNECTING && socket->client != NULL &&
           !socket->client->is_closed;
}

void socket_accept(struct socket *socket)
{
    cJSON *data;

    if (!is_connecting(socket))
        return;
    socket->state = SOCKET_OPEN;
    socket->client->open_socket_count++;
    socket->client->io->counters.sockets_open++;
    client_allow_messages(socket->client);
    socket->client->connect_until_ms = 0;
    data = json_new_object();
    cJSON_AddStringToObject(data, "sid", socket->id);
    send_to(socket->client, SOCKETIO_CONNECT, socket->name, data);
    cJSON_Delete(data);
}

void socket_set_account(struct socket *socket, const char *user_id)
{
    if (is_connecting(socket))
        socket->client->account = budget_slot_of_account(user_id);
}

void socket_refuse(struct socket *socket, const char *message)
{
    if (!is_connecting(socket))
        return;
    socket->client->io->counters.sockets_refused++;
    send_connect_error(socket->client, socket->name, message);
    client_close(socket->client, "server disconnect");
}

bool socket_is_open(const struct socket *socket)
{
    return socket->state == SOCKET_OPEN && socket->client != NULL && !socket->client->is_closed;
}

static void send_packet(struct socket *socket, struct engine_packet *packet)
{
    socket->client->io->counters.events_sent++;
    client_send(socket->client, packet);
}

void socket_ack(struct socket *socket, int64_t ack, cJSON *value)
{
    cJSON *values = cJSON_CreateArray();
    bool complete = values != NULL && (value == NULL || cJSON_AddItemToArray(values, value));

    if (socket_is_open(socket) && ack >= 0)
        send_packet(socket,
                    complete ? socketio_encode(SOCKETIO_ACK, 0, socket->name, ack, values) : NULL);
    if (!complete)
        cJSON_Delete(value);
    cJSON_Delete(values);
}

void socket_emit(struct socket *socket, const char *event, cJSON *value)
{
    socket_emit_all(&socket, 1, event, value);
    cJSON_Delete(value);
}

void socket_emit_all(struct socket *const *sockets, size_t count, const char *event,
                     const cJSON *value)
{
    cJSON *array = cJSON_CreateArray(), *first = cJSON_CreateString(event);
    struct engine_packet *packet = NULL;
    const char *name = "";
    bool complete = cJSON_AddItemToArray(array, first);

    if (!complete)
        cJSON_Delete(first);
    complete = complete && (value == NULL || cJSON_AddItemReferenceToArray(array, (cJSON *)value));
    for (size_t i = 0; i < count; i++) {
        if (!socket_is_open(sockets[i]))
            continue;
        if (packet == NULL || strcmp(name, sockets[i]->name) != 0) {
            engine_packet_unref(packet);
            name = sockets[i]->name;
            packet = complete ? socketio_encode(SOCKETIO_EVENT, 0, name, -1, array) : NULL;
        }
        send_packet(sockets[i], packet == NULL ? NULL : engine_packet_ref(packet));
    }
    engine_packet_unref(packet);
    cJSON_Delete(array);
}

void socket_send(struct socket *socket, int64_t ack, cJSON *array,
                 const struct socket_attachment *attachments, size_t count)
{
    enum socketio_type type = ack >= 0 ? (count > 0 ? SOCKETIO_BINARY_ACK : SOCKETIO_ACK)
                                       : (count > 0 ? SOCKETIO_BINARY_EVENT : SOCKETIO_EVENT);

    if (socket_is_open(socket) && count <= SOCKETIO_ATTACHMENTS_MAX)
        send_packet(socket, socketio_encode(type, (unsigned)count, socket->name, ack, array));
    for (size_t i = 0; i < count && socket_is_open(socket); i++)
        client_send(socket->client,
                    engine_packet_new(attachments[i].bytes, attachments[i].count, true));
    cJSON_Delete(array);
}

void socket_close(struct socket *socket)
{
    if (socket_is_open(socket))
        client_close(socket->client, "server close");
}

void socket_abort(struct socket *socket)
{
    if (socket_is_open(socket))
        client_send(socket->client, NULL);
}

void socket_disconnect(struct socket *socket)
{
    if (!socket_is_open(socket))
        return;
    send_to(socket->client, SOCKETIO_DISCONNECT, socket->name, NULL);
    client_close(socket->client, "server disconnect");
}

const char *socket_id(const struct socket *socket)
{
    return socket->id;
}

const char *socket_namespace(const struct socket *socket)
{
    return socket->name;
}

const char *socket_client_ip(const struct socket *socket)
{
    return socket->ip;
}

void *socket_context(const struct socket *socket)
{
    return socket->context;
}

void *socket_data(const struct socket *socket)
{
    return socket->data;
}

void socket_set_data(struct socket *socket, void *data)
{
    socket->data = data;
}

struct socket *socket_ref(struct socket *socket)
{
    socket->references++;
    return socket;
}

void socket_unref(struct socket *socket)
{
    if (--socket->references == 0)
        free(socket);
}
