/* Engine.IO 4: one session over polling or WebSocket, or upgraded from polling to WebSocket. An
 * engine without I/O: bytes and the time come in, bytes go out through struct engine_output.
 *
 *   polling ──(2probe / 3probe / 5 on a second, WebSocket link)──► websocket
 *
 * Threads: the loop's. Memory: the owner holds the struct engine; packets have counted references.
 * Errors: a client that breaks the protocol loses its session: "parse error" or "transport error".
 * Re-entry: out->message and out->closed may use engine_send and engine_close, nothing else.
 * Source: the Engine.IO protocol, revision 4, and the behaviour of its reference server. */
#ifndef RINGCAST_ENGINEIO_H
#define RINGCAST_ENGINEIO_H

#include "engine_packet.h"
#include "text.h"

#define ENGINE_QUEUE_BYTES_MAX (1024 * 1024) /* threat C20 */
#define ENGINE_UPGRADE_TIMEOUT_MS 10000
#define ENGINE_POST_PACKETS_MAX 4096

/* The `code` in the answer to a refused request. */
enum engine_error {
    ENGINE_UNKNOWN_TRANSPORT = 0,
    ENGINE_UNKNOWN_SID = 1,
    ENGINE_BAD_METHOD = 2,
    ENGINE_BAD_REQUEST = 3,
    ENGINE_FORBIDDEN = 4,
    ENGINE_UNSUPPORTED_VERSION = 5,
    ENGINE_FINE
};
const char *engine_error_text(enum engine_error error);

enum engine_transport { ENGINE_POLLING, ENGINE_WEBSOCKET };
enum engine_link {
    ENGINE_LINK,      /* the session's WebSocket */
    ENGINE_PROBE_LINK /* a WebSocket that the session may be upgraded to */
};

struct engine_settings {
    uint32_t ping_interval_ms, ping_timeout_ms, payload_bytes_max;
};

struct engine_output {
    /* Answers the waiting poll with this body. */
    void (*poll)(void *owner, const char *body, size_t bytes);
    /* Sends one message on a WebSocket. False: its queue is full. */
    bool (*frame)(void *owner, enum engine_link link, struct engine_packet *packet);
    void (*link_close)(void *owner, enum engine_link link);
    /* From now on the probe link is the session's link. */
    void (*upgraded)(void *owner);
    void (*message)(void *owner, const char *bytes, size_t count, bool is_binary);
    /* Called once, as the last function. */
    void (*closed)(void *owner, const char *reason);
};

enum engine_state { ENGINE_OPEN, ENGINE_CLOSING /* packets wait for a poll */, ENGINE_CLOSED };
enum engine_probe { ENGINE_NO_PROBE, ENGINE_PROBE_OPEN, ENGINE_PROBED };

struct engine_node;

struct engine {
    const struct engine_settings *settings;
    const struct engine_output *out;
    void *owner;
    enum engine_state state;
    enum engine_transport transport;
    enum engine_probe probe;
    bool poll_waits;
    const char *close_reason;
    uint64_t ping_at_ms, pong_until_ms, probe_until_ms, close_until_ms; /* 0: not set */
    struct engine_node *head, **tail; /* packets for a polling client */
    size_t queued_bytes;
    char sid[SID_ROOM];
};

/* Starts the session and sends the open packet. The owner chooses the sid. */
void engine_open(struct engine *engine, const struct engine_settings *settings,
                 const struct engine_output *out, void *owner, enum engine_transport transport,
                 const char *sid, uint64_t now_ms);
void engine_free(struct engine *engine); /* the queue */

/* A GET. True: out->poll answers it now or later. False: answer ENGINE_BAD_REQUEST; the session
 * may be closed. */
bool engine_poll(struct engine *engine, uint64_t now_ms);
void engine_poll_gone(struct engine *engine);
/* A POST with packets. False: answer ENGINE_BAD_REQUEST; a polling session is closed. */
bool engine_post(struct engine *engine, const char *body, size_t bytes, uint64_t now_ms);

/* A client wants to open a second WebSocket with this session's id. False: close that WebSocket. */
bool engine_probe_open(struct engine *engine, uint64_t now_ms);
void engine_frame(struct engine *engine, enum engine_link link, const char *bytes, size_t count,
                  bool is_binary, uint64_t now_ms);
void engine_link_gone(struct engine *engine, enum engine_link link, bool peer_closed);

/* Sends a message. The payload of a text packet begins with '4', a binary payload is the bytes
 * alone. The caller keeps its reference. */
void engine_send(struct engine *engine, struct engine_packet *packet);
/* Ends the session after the queued packets were sent. */
void engine_close(struct engine *engine, const char *reason, uint64_t now_ms);
/* Ends it at once. */
void engine_abort(struct engine *engine, const char *reason);

/* When engine_tick must be called; 0: never. */
uint64_t engine_deadline(const struct engine *engine);
void engine_tick(struct engine *engine, uint64_t now_ms);

#endif
