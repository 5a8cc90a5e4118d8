/* Engine.IO 4: one session over polling, WebSocket, or the first upgraded to the second. An engine
 * without I/O: bytes and `now` in, bytes out through struct engine_output.
 *
 *   polling ──(2probe / 3probe / 5 on a second, WebSocket link)──► websocket
 *
 * Threads: the loop's. Memory: a session is its owner's; packets are counted.
 * Errors: a violation closes the session with "parse error" or "transport error".
 * Re-entry: out->message and out->closed may call engine_send and engine_close; nothing else.
 * Source: the protocol's document, revision 4, and the behaviour of its reference server. */
#ifndef RINGCAST_ENGINEIO_H
#define RINGCAST_ENGINEIO_H

#include "engine_packet.h"
#include "text.h"

#define ENGINE_QUEUE_BYTES_MAX (1024 * 1024) /* threats.md C20 */
#define ENGINE_UPGRADE_TIMEOUT_MS 10000
#define ENGINE_POST_PACKETS_MAX 4096

/* What a refused request is told ({code, message}). */
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
    ENGINE_LINK,
    ENGINE_PROBE_LINK
}; /* the session's WebSocket; the one it may become */

struct engine_settings {
    uint32_t ping_interval_ms, ping_timeout_ms, payload_bytes_max;
};

struct engine_output {
    /* The body for the poll that waits. */
    void (*poll)(void *owner, const char *body, size_t bytes);
    /* One message to a WebSocket; false: its queue is full. */
    bool (*frame)(void *owner, enum engine_link link, struct engine_packet *packet);
    void (*link_close)(void *owner, enum engine_link link);
    /* The probe link is the session's link from now on. */
    void (*upgraded)(void *owner);
    void (*message)(void *owner, const char *bytes, size_t count, bool is_binary);
    /* Once, last. The poll and the links that are left are the owner's to end. */
    void (*closed)(void *owner, const char *reason);
};

enum engine_state { ENGINE_OPEN, ENGINE_CLOSING /* last packets wait for a poll */, ENGINE_CLOSED };
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
    struct engine_node *head, **tail; /* towards a polling client */
    size_t queued_bytes;
    char sid[SID_ROOM];
};

/* Makes the session and sends the open packet. sid: chosen by the owner. */
void engine_open(struct engine *engine, const struct engine_settings *settings,
                 const struct engine_output *out, void *owner, enum engine_transport transport,
                 const char *sid, uint64_t now_ms);
void engine_free(struct engine *engine); /* what is queued */

/* GET. true: it is answered now or later through out->poll; false: refused (ENGINE_BAD_REQUEST),
 * the session may have closed over it. */
bool engine_poll(struct engine *engine, uint64_t now_ms);
void engine_poll_gone(struct engine *engine);
/* POST of a payload. false: refused, and the session has closed unless it is a WebSocket one. */
bool engine_post(struct engine *engine, const char *body, size_t bytes, uint64_t now_ms);

/* A WebSocket with this session's id was opened. false: it is not wanted, close it. */
bool engine_probe_open(struct engine *engine, uint64_t now_ms);
void engine_frame(struct engine *engine, enum engine_link link, const char *bytes, size_t count,
                  bool is_binary, uint64_t now_ms);
void engine_link_gone(struct engine *engine, enum engine_link link, bool peer_closed);

/* A message packet: a text packet's payload begins with '4', a binary one's is the bytes alone. The
 * caller keeps its reference. */
void engine_send(struct engine *engine, struct engine_packet *packet);
/* Sends what is queued and ends the session. */
void engine_close(struct engine *engine, const char *reason, uint64_t now_ms);
/* Ends it at once. */
void engine_abort(struct engine *engine, const char *reason);

/* When engine_tick wants to be called; 0: never. */
uint64_t engine_deadline(const struct engine *engine);
void engine_tick(struct engine *engine, uint64_t now_ms);

#endif
