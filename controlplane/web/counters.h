/* The counters of the web layer. The structs and /metrics are made from these rows.
 *
 * X(name, prose). Each kind of refusal has a row. HTTP replies are counted by their status too. */
#ifndef RINGCAST_WEB_COUNTERS_H
#define RINGCAST_WEB_COUNTERS_H

#include <stdint.h>

/* clang-format off */
#define HTTP_COUNTERS(X)                                                                        \
    X(connections, "TCP connections accepted")                                                  \
    X(connections_over_total, "connections refused: the maximum is open")                       \
    X(connections_without_memory, "connections refused: there was no memory for them")          \
    X(connections_over_address, "connections refused: too many from one address")               \
    X(connections_over_rate, "connections refused: one address opens them too fast")            \
    X(tls_handshakes, "TLS handshakes completed")                                               \
    X(tls_resumed, "TLS handshakes that resumed a session with a ticket")                       \
    X(tls_failed, "TLS handshakes that failed, and records that could not be decrypted")        \
    X(tls_slow, "TLS handshakes not done in time")                                              \
    X(tls_plain, "connections that spoke plain HTTP on the TLS port")                           \
    X(heads_malformed, "request heads refused: grammar or size")                                \
    X(heads_slow, "request heads not complete in time")                                         \
    X(bodies_slow, "request bodies and WebSocket messages not complete in time")                \
    X(bodies_malformed, "request bodies refused: chunks or JSON")                               \
    X(bodies_too_large, "request bodies refused: over the limit")                               \
    X(held_over_budget, "unfinished requests and messages refused: address or strangers hold too much") \
    X(slowed_by_budget, "times that a client waited: its address or account sent too much") \
    X(refused_by_budget, "requests with a body refused: their address or account sent too much") \
    X(replies_slow, "connections closed because a reply was not taken in time")                 \
    X(origins_refused, "requests refused: foreign Origin")                                      \
    X(redirects_refused, "redirects to https refused: the certificate does not name the host") \
    X(requests, "requests whose head was valid")                                                \
    X(websocket_pauses, "times that a WebSocket was not read for a while: too many frames")     \
    X(websockets, "WebSocket connections opened")                                               \
    X(websocket_grammar, "WebSocket connections closed with 1002: malformed frames")            \
    X(websocket_text, "WebSocket connections closed with 1007: text that is not UTF-8")         \
    X(websocket_too_big, "WebSocket connections closed with 1009: a message over the limit")

#define SOCKETIO_COUNTERS(X)                                                                    \
    X(connections, "Engine.IO sessions opened")                                                 \
    X(upgrades, "Engine.IO sessions upgraded to WebSocket")                                     \
    X(sessions_over_address, "Engine.IO sessions refused: too many from one address")           \
    X(sessions_while_draining, "Engine.IO sessions refused: the server is draining")            \
    X(refused_unknown_transport, "Engine.IO requests refused: code 0")                          \
    X(refused_unknown_sid, "Engine.IO requests refused: code 1")                                \
    X(refused_bad_method, "Engine.IO requests refused: code 2")                                 \
    X(refused_bad_request, "Engine.IO requests refused: code 3")                                \
    X(refused_forbidden, "Engine.IO requests refused: code 4")                                  \
    X(refused_unsupported_version, "Engine.IO requests refused: code 5")                        \
    X(posts_delayed, "POSTs answered late: too many packets")                                   \
    X(sockets_refused, "Socket.IO connections answered with CONNECT_ERROR")                     \
    X(events_received, "Socket.IO events received")                                             \
    X(binary_refused, "Socket.IO events with binary data, which no handler takes") \
    X(events_sent, "Socket.IO events sent")                                                     \
    X(protocol_errors, "sessions closed: they broke the Engine.IO or Socket.IO protocol")       \
    X(timeouts, "sessions closed: no pong or no CONNECT in time")                               \
    X(slow_readers, "sessions closed: they did not read what was sent")
/* clang-format on */

struct http_counters {
#define X(name, prose) uint64_t name;
    HTTP_COUNTERS(X)
#undef X
};

struct socketio_counters {
#define X(name, prose) uint64_t name;
    SOCKETIO_COUNTERS(X)
#undef X
    uint64_t sockets_open, sessions_open; /* now */
};

#endif
