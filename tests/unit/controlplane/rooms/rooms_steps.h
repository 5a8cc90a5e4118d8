/* Steps of a conference, for tests that tell a story: somebody
 * connects, sends requests, receives announcements. */
#ifndef RINGCAST_ROOMS_STEPS_H
#define RINGCAST_ROOMS_STEPS_H

#include "rooms_fakes.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* no test uses every step */

static uv_loop_t loop;
static struct settings settings;
static struct rooms *rooms;
static cJSON *audio_parameters, *video_parameters, *capabilities;

static cJSON *load(const char *name)
{
    char path[128], *text;
    cJSON *json;
    FILE *file;
    long bytes;

    snprintf(path, sizeof(path), "tests/data/ortc/%s.json", name);
    file = fopen(path, "r");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    bytes = ftell(file);
    rewind(file);
    text = calloc(1, (size_t)bytes + 1);
    assert_int_equal(fread(text, 1, (size_t)bytes, file), bytes);
    fclose(file);
    json = cJSON_Parse(text);
    assert_non_null(json);
    free(text);
    return json;
}

static int setup(void **state)
{
    char *environment[] = {NULL}, *argv[] = {"test", NULL}, error[SETTING_ERROR_BYTES], why[192];
    enum settings_request request;
    cJSON *json;

    fakes_reset();
    log_open("test", LOG_ERROR, false);
    assert_true(settings_load(&settings, 1, argv, environment, &request, error));
    settings.rate_limit_events = 100000;
    settings.reconnect_grace_s = 1;
    assert_int_equal(uv_loop_init(&loop), 0);
    rooms = rooms_open(&loop, &settings, NULL, NULL, NULL, NULL, why);
    assert_non_null(rooms);
    json = load("produce-av-audio");
    audio_parameters = cJSON_DetachItemFromObject(json, "produceRtpParameters");
    cJSON_Delete(json);
    json = load("produce-av-video");
    video_parameters = cJSON_DetachItemFromObject(json, "produceRtpParameters");
    cJSON_Delete(json);
    json = load("device-chromium");
    capabilities = cJSON_DetachItemFromObject(json, "recvRtpCapabilities");
    cJSON_Delete(json);
    pump();
    return 0;
}

static int teardown(void **state)
{
    rooms_close(rooms);
    pump();
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(audit_holds, 0); /* the rooms object is freed */
    cJSON_Delete(audio_parameters);
    cJSON_Delete(video_parameters);
    cJSON_Delete(capabilities);
    for (int table = 0; table < 4; table++)
        assert_int_equal(fake_used(table), 0);
    return 0;
}

/* Runs the loop for this long. */
static void wait_ms(uint64_t ms)
{
    uint64_t end = uv_hrtime() / 1000000 + ms;

    while (uv_hrtime() / 1000000 < end) {
        uv_run(&loop, UV_RUN_ONCE);
        pump();
    }
}

/* Runs the loop until the condition holds. A minute is for
 * slow machines: normally it takes a moment. */
#define WAIT_UNTIL(condition)                    \
    for (int tries = 0; !(condition); tries++) { \
        if (tries == 6000)                       \
            fail_msg("waited for " #condition);  \
        wait_ms(10);                             \
    }

static const char *user(int n)
{
    static char ids[256][UUID_TEXT_BYTES];

    snprintf(ids[n % 256], UUID_TEXT_BYTES, "%08x-0000-4000-8000-000000000000", n);
    return ids[n % 256];
}

static struct socket *connect_user(const char *token)
{
    struct socket *s = fake_socket(rooms);
    cJSON *auth = cJSON_CreateObject();

    cJSON_AddStringToObject(auth, "token", token);
    rooms_socket_handlers.connecting(s, auth, NULL);
    cJSON_Delete(auth);
    pump();
    return s;
}

static void socket_lose(struct socket *s)
{
    fake_close(s, "transport close");
    socket_unref(s);
}

/* Sends a request and returns its acknowledgement, which
 * belongs to the socket until the next request. */
static const cJSON *request_json(struct socket *s, const char *event, cJSON *payload)
{
    static int64_t acks;
    cJSON *args = cJSON_CreateArray();

    cJSON_AddItemToArray(args, payload);
    cJSON_Delete(s->ack);
    s->ack = NULL;
    s->acked = -1;
    rooms_socket_handlers.event(s, event, args, ++acks);
    cJSON_Delete(args);
    pump();
    if (s->open)
        assert_int_equal(s->acked, acks);
    return s->ack;
}

static cJSON *json_of(const char *format, va_list arguments)
{
    char text[2048];
    cJSON *json;

    vsnprintf(text, sizeof(text), format, arguments);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    json = cJSON_Parse(text);
    assert_non_null(json);
    return json;
}

/* The same; `format` is printf's, and makes JSON with ' in place of ". */
static const cJSON *request(struct socket *s, const char *event, const char *format, ...)
{
    va_list arguments;
    cJSON *payload;

    va_start(arguments, format);
    payload = json_of(format, arguments);
    va_end(arguments);
    return request_json(s, event, payload);
}

static const char *text_of(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, key));

    return text ? text : "";
}

static void assert_ok(const cJSON *ack)
{
    if (strcmp(text_of(ack, "status"), "error") == 0)
        fail_msg("refused: %s, %s", text_of(ack, "code"), text_of(ack, "message"));
}

static void assert_code(const cJSON *ack, const char *code)
{
    assert_string_equal(text_of(ack, "status"), "error");
    assert_string_equal(text_of(ack, "code"), code);
    assert_true(strlen(text_of(ack, "message")) > 10);
}

/* The next event that this socket received must be `name`.
 * Returns its value, which stays the socket's. */
static const cJSON *received(struct socket *s, const char *name)
{
    const char *got =
        s->received_read < s->received_count ? s->received[s->received_read].name : "nothing";

    if (strcmp(got, name) != 0)
        fail_msg("%s should have received %s, but received %s", s->id, name, got);
    return s->received[s->received_read++].value;
}

static void received_nothing(struct socket *s)
{
    if (s->received_read != s->received_count)
        fail_msg("%s received %s", s->id, s->received[s->received_read].name);
}

static void skip_received(struct socket *s)
{
    s->received_read = s->received_count;
}

static const char *keep(const char *text)
{
    static char kept[1024][64];
    static int next;

    next = (next + 1) % 1024;
    snprintf(kept[next], sizeof(kept[0]), "%s", text);
    return kept[next];
}

static const char *make_room(struct socket *host)
{
    const cJSON *ack = request(host, "room:create", "{'title':'standup','maxParticipants':100}");

    assert_ok(ack);
    return keep(text_of(ack, "roomId"));
}

static const char *make_transport(struct socket *s, const char *room, const char *direction)
{
    const cJSON *ack =
        request(s, "media:createTransport", "{'roomId':'%s','direction':'%s'}", room, direction);

    assert_ok(ack);
    return keep(text_of(ack, "id"));
}

static const cJSON *produce(struct socket *s, const char *room, const char *transport,
                            const char *kind)
{
    cJSON *payload = cJSON_CreateObject();

    cJSON_AddStringToObject(payload, "roomId", room);
    cJSON_AddStringToObject(payload, "transportId", transport);
    cJSON_AddStringToObject(payload, "kind", kind);
    cJSON_AddItemToObject(payload, "rtpParameters",
                          cJSON_Duplicate(kind[0] == 'a' ? audio_parameters : video_parameters, 1));
    cJSON_AddItemToObject(payload, "appData", cJSON_Parse("{\"source\":\"camera\"}"));
    return request_json(s, "media:produce", payload);
}

static const cJSON *consume(struct socket *s, const char *room, const char *transport,
                            const char *producer)
{
    cJSON *payload = cJSON_CreateObject();

    cJSON_AddStringToObject(payload, "roomId", room);
    cJSON_AddStringToObject(payload, "transportId", transport);
    cJSON_AddStringToObject(payload, "producerId", producer);
    cJSON_AddItemToObject(payload, "rtpCapabilities", cJSON_Duplicate(capabilities, 1));
    return request_json(s, "media:consume", payload);
}

/* A participant with a transport for sending and one for receiving. */
struct person {
    struct socket *s;
    const char *id, *send, *recv, *audio, *video;
};

static struct person enter(int n, const char *room)
{
    struct person p = {.s = connect_user(user(n)), .id = user(n)};

    assert_ok(request(p.s, "room:join", "{'roomId':'%s'}", room));
    p.send = make_transport(p.s, room, "send");
    p.recv = make_transport(p.s, room, "recv");
    return p;
}

static void publish(struct person *p, const char *room)
{
    const cJSON *ack = produce(p->s, room, p->send, "audio");

    assert_ok(ack);
    p->audio = keep(text_of(ack, "id"));
    ack = produce(p->s, room, p->send, "video");
    assert_ok(ack);
    p->video = keep(text_of(ack, "id"));
}

#define FINGERPRINT                                                                           \
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:" \
    "DD:EE:FF"

#endif
