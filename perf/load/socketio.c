/* Socket.IO over WebSocket: wslay reads and writes the frames, one epoll serves all sessions. */
#define _GNU_SOURCE
#include "socketio.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#include "memory.h"
#include "src/clock.h"
#include "target.h"

#define EVENTS_AT_ONCE 64
#define ACKS_MAX 512 /* unanswered events of one session */
#define SEND_TIMEOUT_MS 5000
#define HANDSHAKE_BYTES_MAX 4096

struct socketio {
    struct server_url url;
    int epoll;
    LIST_HEAD(, session) sessions;
    char failure[TARGET_WHY_BYTES]; /* why the first session ended that the caller did not close */
};

struct session {
    struct socketio *socketio;
    int fd;
    wslay_event_context_ptr frames;
    bool connected, closing;
    char failure[200];
    uint32_t last_ack;
    struct {
        uint32_t ack;
        cJSON *value; /* the ack's array; NULL: it has not arrived */
    } acks[ACKS_MAX];
    LIST_ENTRY(session) link;
};

struct socketio *socketio_open(const struct server_url *url, char *why)
{
    struct socketio *socketio = memory_zeroed(1, sizeof(*socketio));

    socketio->url = *url;
    LIST_INIT(&socketio->sessions);
    socketio->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (socketio->epoll >= 0)
        return socketio;
    snprintf(why, TARGET_WHY_BYTES, "epoll does not start: %s", strerror(errno));
    free(socketio);
    return NULL;
}

void socketio_close(struct socketio *socketio)
{
    while (!LIST_EMPTY(&socketio->sessions))
        session_close(LIST_FIRST(&socketio->sessions));
    close(socketio->epoll);
    free(socketio);
}

/* ---- WebSocket frames ---- */

static void session_fail(struct session *s, const char *why)
{
    if (!s->failure[0])
        snprintf(s->failure, sizeof(s->failure), "%s", why);
    epoll_ctl(s->socketio->epoll, EPOLL_CTL_DEL, s->fd, NULL);
}

static ssize_t frames_send(wslay_event_context_ptr frames, const uint8_t *data, size_t bytes,
                           int flags, void *context)
{
    struct session *s = context;
    ssize_t sent;

    while ((sent = send(s->fd, data, bytes, MSG_NOSIGNAL)) < 0 && errno == EAGAIN) {
        struct pollfd wait = {.fd = s->fd, .events = POLLOUT};

        if (poll(&wait, 1, SEND_TIMEOUT_MS) <= 0)
            break;
    }
    if (sent < 0)
        wslay_event_set_error(frames, WSLAY_ERR_CALLBACK_FAILURE);
    return sent;
}

static ssize_t frames_receive(wslay_event_context_ptr frames, uint8_t *to, size_t room, int flags,
                              void *context)
{
    struct session *s = context;
    ssize_t received = recv(s->fd, to, room, 0);

    if (received > 0)
        return received;
    wslay_event_set_error(frames, received < 0 && errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK
                                                                  : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static int frames_mask(wslay_event_context_ptr frames, uint8_t *out, size_t bytes, void *context)
{
    memset(out, 0x5a, bytes); /* random masks protect proxies; here is no proxy */
    return 0;
}

static bool text_send(struct session *s, const char *text)
{
    struct wslay_event_msg message = {
        .opcode = WSLAY_TEXT_FRAME, .msg = (const uint8_t *)text, .msg_length = strlen(text)};

    if (s->failure[0])
        return false;
    if (wslay_event_queue_msg(s->frames, &message) == 0 && wslay_event_send(s->frames) == 0)
        return true;
    session_fail(s, "sending on the WebSocket failed");
    return false;
}

/* ---- Socket.IO ---- */

static void take_ack(struct session *s, const char *text)
{
    uint32_t number = (uint32_t)strtoul(text, NULL, 10);
    const char *array = strchr(text, '[');

    if (array && number && s->acks[number % ACKS_MAX].ack == number &&
        !s->acks[number % ACKS_MAX].value)
        s->acks[number % ACKS_MAX].value = cJSON_Parse(array);
}

static void take_message(struct session *s, const char *text)
{
    switch (text[0]) {
    case '2': /* Engine.IO ping */
        text_send(s, "3");
        break;
    case '1':
        session_fail(s, "the server closed the session");
        break;
    case '4':
        if (text[1] == '0')
            s->connected = true;
        else if (text[1] == '3')
            take_ack(s, text + 2);
        else if (text[1] == '4')
            session_fail(s, text + 2);
        else if (text[1] == '1')
            session_fail(s, "the server ended the session");
        break;
    default:
        break; /* open and noop; events are ignored, because this process causes them */
    }
}

static void frames_message(wslay_event_context_ptr frames,
                           const struct wslay_event_on_msg_recv_arg *arg, void *context)
{
    struct session *s = context;
    char *text;

    if (arg->opcode == WSLAY_CONNECTION_CLOSE)
        session_fail(s, "the server closed the WebSocket");
    /* Most messages are events, which nobody here reads. Do not even copy them. */
    if (arg->opcode != WSLAY_TEXT_FRAME || arg->msg_length == 0 ||
        (arg->msg_length > 1 && arg->msg[0] == '4' && arg->msg[1] == '2'))
        return;
    text = strndup((const char *)arg->msg, arg->msg_length);
    if (text)
        take_message(s, text);
    free(text);
}

static void read_session(struct session *s)
{
    if (wslay_event_recv(s->frames) != 0 || !wslay_event_get_read_enabled(s->frames))
        session_fail(s, "the connection to the server is gone");
    else if (wslay_event_want_write(s->frames))
        wslay_event_send(s->frames); /* sends a pong */
}

static void serve(struct socketio *socketio, int timeout_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(socketio->epoll, events, EVENTS_AT_ONCE, timeout_ms);

    for (int i = 0; i < count; i++) {
        struct session *s = events[i].data.ptr;

        if (!s->failure[0])
            read_session(s);
        if (s->failure[0] && !s->closing && !socketio->failure[0])
            snprintf(socketio->failure, sizeof(socketio->failure), "a participant's session: %s",
                     s->failure);
    }
}

bool socketio_service(struct socketio *socketio, int timeout_ms, char *why)
{
    serve(socketio, timeout_ms);
    if (!socketio->failure[0])
        return true;
    snprintf(why, TARGET_WHY_BYTES, "%s", socketio->failure);
    return false;
}

/* ---- opening ---- */

static int tcp_connect(const struct server_url *url, char *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *list, *one;
    int fd = -1, yes = 1, error;

    error = getaddrinfo(url->host, url->port, &hints, &list);
    if (error) {
        snprintf(why, TARGET_WHY_BYTES, "%s: %s", url->host, gai_strerror(error));
        return -1;
    }
    for (one = list; one; one = one->ai_next) {
        fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, one->ai_addr, one->ai_addrlen) == 0)
            break;
        error = errno;
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd < 0)
        snprintf(why, TARGET_WHY_BYTES, "%s: %s", url->text, strerror(error));
    else
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return fd;
}

/* RFC 6455 4.1. The socket still blocks. */
static bool handshake(struct session *s, char *why)
{
    static const char *const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char key[32], text[128], accept[64], answer[HANDSHAKE_BYTES_MAX];
    unsigned char raw[16], digest[EVP_MAX_MD_SIZE];
    unsigned digest_bytes = 0;
    size_t bytes = 0;

    RAND_bytes(raw, sizeof(raw));
    EVP_EncodeBlock((unsigned char *)key, raw, sizeof(raw));
    snprintf(text, sizeof(text), "%s%s", key, guid);
    EVP_Digest(text, strlen(text), digest, &digest_bytes, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)accept, digest, (int)digest_bytes);
    if (dprintf(s->fd,
                "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s:%s\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: %s\r\n\r\n",
                s->socketio->url.host, s->socketio->url.port, key) < 0) {
        snprintf(why, TARGET_WHY_BYTES, "the WebSocket handshake cannot be sent");
        return false;
    }
    answer[0] = '\0';
    while (bytes < sizeof(answer) - 1 && !strstr(answer, "\r\n\r\n")) {
        /* Byte by byte, because wslay must read everything after the handshake. */
        if (recv(s->fd, answer + bytes, 1, 0) != 1)
            break;
        answer[++bytes] = '\0';
    }
    if (strncmp(answer, "HTTP/1.1 101", 12) == 0 && strstr(answer, accept))
        return true;
    answer[strcspn(answer, "\r\n")] = '\0';
    snprintf(why, TARGET_WHY_BYTES, "%.200s/socket.io/ did not open a WebSocket: \"%.100s\"",
             s->socketio->url.text, answer);
    return false;
}

static bool frames_open(struct session *s)
{
    static const struct wslay_event_callbacks callbacks = {.recv_callback = frames_receive,
                                                           .send_callback = frames_send,
                                                           .genmask_callback = frames_mask,
                                                           .on_msg_recv_callback = frames_message};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};

    return wslay_event_context_client_init(&s->frames, &callbacks, s) == 0 &&
           epoll_ctl(s->socketio->epoll, EPOLL_CTL_ADD, s->fd, &event) == 0;
}

struct session *session_open(struct socketio *socketio, const char *token, char *why)
{
    struct session *s = memory_zeroed(1, sizeof(*s));
    uint64_t deadline = clock_monotonic_ns() + TARGET_REQUEST_TIMEOUT_MS * NS_PER_MS;
    char text[2048];
    struct timeval patience = {.tv_sec = TARGET_REQUEST_TIMEOUT_MS / 1000};

    s->socketio = socketio;
    s->fd = tcp_connect(&socketio->url, why);
    LIST_INSERT_HEAD(&socketio->sessions, s, link);
    if (s->fd >= 0)
        setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (s->fd < 0 || !handshake(s, why)) {
        session_close(s);
        return NULL;
    }
    if (!frames_open(s)) {
        snprintf(why, TARGET_WHY_BYTES, "wslay or epoll accepts no more sessions");
        session_close(s);
        return NULL;
    }
    fcntl(s->fd, F_SETFL, O_NONBLOCK); /* from here on it must not block */
    snprintf(text, sizeof(text), "40{\"token\":\"%s\"}", token);
    text_send(s, text);
    while (!s->connected && !s->failure[0] && clock_monotonic_ns() < deadline)
        serve(socketio, 100);
    if (s->connected)
        return s;
    snprintf(why, TARGET_WHY_BYTES, "Socket.IO did not connect: %.200s",
             s->failure[0] ? s->failure : "no answer");
    session_close(s);
    return NULL;
}

void session_close(struct session *s)
{
    s->closing = true;
    if (s->connected && !s->failure[0]) {
        text_send(s, "41"); /* DISCONNECT, then Engine.IO close */
        text_send(s, "1");
    }
    LIST_REMOVE(s, link);
    if (s->frames)
        wslay_event_context_free(s->frames);
    if (s->fd >= 0)
        close(s->fd);
    for (unsigned i = 0; i < ACKS_MAX; i++)
        cJSON_Delete(s->acks[i].value);
    free(s);
}

/* ---- events and acks ---- */

uint32_t session_send(struct session *s, const char *event, const char *payload, ...)
{
    char *body = NULL, *text = NULL;
    uint32_t number = ++s->last_ack;
    va_list arguments;
    bool ok;

    va_start(arguments, payload);
    if (vasprintf(&body, payload, arguments) < 0 ||
        asprintf(&text, "42%u[\"%s\",%s]", number, event, body) < 0)
        abort();
    va_end(arguments);
    cJSON_Delete(s->acks[number % ACKS_MAX].value);
    s->acks[number % ACKS_MAX].value = NULL;
    s->acks[number % ACKS_MAX].ack = number;
    ok = text_send(s, text);
    free(body);
    free(text);
    return ok ? number : 0;
}

static bool is_error(const cJSON *answer, char *why)
{
    const cJSON *status = cJSON_GetObjectItemCaseSensitive(answer, "status");
    const cJSON *code, *message;

    if (!cJSON_IsString(status) || strcmp(status->valuestring, "error") != 0)
        return false;
    code = cJSON_GetObjectItemCaseSensitive(answer, "code");
    message = cJSON_GetObjectItemCaseSensitive(answer, "message");
    snprintf(why, TARGET_WHY_BYTES, "refused: %.250s (%.60s)",
             cJSON_IsString(message) ? message->valuestring : "",
             cJSON_IsString(code) ? code->valuestring : "?");
    return true;
}

cJSON *session_wait(struct session *s, uint32_t number, char *why)
{
    uint64_t deadline = clock_monotonic_ns() + TARGET_REQUEST_TIMEOUT_MS * NS_PER_MS;
    cJSON **value = &s->acks[number % ACKS_MAX].value, *answer;

    while (number && !*value && !s->failure[0] && clock_monotonic_ns() < deadline)
        serve(s->socketio, 100);
    if (number == 0 || !*value) {
        snprintf(why, TARGET_WHY_BYTES, "%.200s",
                 s->failure[0] ? s->failure : "no ack within 15 s");
        return NULL;
    }
    answer = cJSON_DetachItemFromArray(*value, 0);
    cJSON_Delete(*value);
    *value = NULL;
    if (answer && !is_error(answer, why))
        return answer;
    if (!answer)
        snprintf(why, TARGET_WHY_BYTES, "the ack has no value");
    cJSON_Delete(answer);
    return NULL;
}
