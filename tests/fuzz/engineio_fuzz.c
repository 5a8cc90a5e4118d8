/* uses: controlplane */
/* Drives an Engine.IO session with arbitrary input. The session must close at most once, send
 * nothing after that, answer each waiting poll, and free all its packets.
 *
 * Input: a byte (bit 0: begin with a WebSocket), then steps: a byte that chooses the call, a byte
 * of milliseconds, a byte of length, that many bytes of text. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/engineio.h"

struct owner {
    struct engine engine;
    unsigned closed;
    bool poll_waits;
};

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void on_poll(void *context, const char *body, size_t bytes)
{
    struct owner *owner = context;

    require(owner->poll_waits && owner->closed == 0 && bytes > 0);
    owner->poll_waits = false;
}

static bool on_frame(void *context, enum engine_link link, struct engine_packet *packet)
{
    require(((struct owner *)context)->closed == 0);
    return packet->bytes != 7;
}

static void on_link_close(void *context, enum engine_link link)
{
    require(((struct owner *)context)->closed == 0);
}

static void on_upgraded(void *context)
{
    require(((struct owner *)context)->closed == 0);
}

static void on_message(void *context, const char *bytes, size_t count, bool is_binary)
{
    struct owner *owner = context;
    struct engine_packet *packet;

    require(owner->closed == 0 && (is_binary || utf8_valid(bytes, count)));
    if (count > 0 && bytes[0] == 'c')
        engine_close(&owner->engine, "server disconnect", 1000);
    if (count > 0 && bytes[0] == 'a')
        engine_abort(&owner->engine, "parse error");
    packet = engine_packet_new(NULL, count + !is_binary, is_binary);
    if (!is_binary)
        engine_packet_payload(packet)[0] = '4';
    memcpy(engine_packet_payload(packet) + !is_binary, bytes, count);
    engine_send(&owner->engine, packet);
    engine_packet_unref(packet);
}

static void on_closed(void *context, const char *reason)
{
    struct owner *owner = context;

    require(!owner->poll_waits && owner->closed++ == 0);
}

static const struct engine_settings settings = {300, 200, 1000};
static const struct engine_output output = {on_poll,     on_frame,   on_link_close,
                                            on_upgraded, on_message, on_closed};

static void step(struct owner *owner, uint8_t kind, const char *text, size_t count, uint64_t now_ms)
{
    struct engine *engine = &owner->engine;
    enum engine_link link = kind & 8 ? ENGINE_LINK : ENGINE_PROBE_LINK;

    switch (kind & 7) {
    case 0:
        if (engine->state != ENGINE_CLOSED && engine->transport == ENGINE_POLLING)
            owner->poll_waits = true;
        engine_poll(engine, now_ms);
        require(owner->poll_waits == engine->poll_waits);
        break;
    case 1:
        engine_post(engine, text, count, now_ms);
        break;
    case 2:
        engine_probe_open(engine, now_ms);
        break;
    case 3:
        /* The WebSocket layer passes only valid UTF-8 as text. */
        engine_frame(engine, link, text, count, !utf8_valid(text, count), now_ms);
        break;
    case 4:
        if (kind & 16)
            engine_link_gone(engine, link, kind & 32);
        break;
    case 5:
        owner->poll_waits = false;
        engine_poll_gone(engine);
        break;
    case 6:
        if (kind & 16)
            engine_close(engine, "server disconnect", now_ms);
        break;
    default:
        engine_tick(engine, now_ms);
    }
    require((engine->state == ENGINE_CLOSED) == (owner->closed == 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct owner owner = {.closed = 0};
    uint64_t now_ms = 1000;
    size_t at = 1;

    if (bytes == 0)
        return 0;
    engine_open(&owner.engine, &settings, &output, &owner,
                data[0] & 1 ? ENGINE_WEBSOCKET : ENGINE_POLLING, "abcdefghijklmnopqrst", now_ms);
    while (bytes - at >= 3) {
        uint8_t kind = data[at], wait = data[at + 1];
        size_t count = data[at + 2];

        at += 3;
        count = count < bytes - at ? count : bytes - at;
        now_ms += wait;
        step(&owner, kind, (const char *)data + at, count, now_ms);
        at += count;
    }
    engine_abort(&owner.engine, "transport error");
    require(owner.closed == 1 && owner.engine.head == NULL);
    engine_free(&owner.engine);
    return 0;
}
