/* One TCP connection: bytes in and out, TLS when the port speaks TLS, one deadline. It knows
 * nothing of HTTP: the protocol that is spoken on it (HTTP, later perhaps WebSocket) gives its
 * functions.
 *
 *   socket ─► [TLS] ─► protocol->received          connection_write ─► [TLS] ─► socket
 *
 * Threads: the loop's.
 * Memory:  a struct connection is part of its owner's struct. It lives until `released` is called,
 *          some turns of the loop after connection_close.
 * Errors:  a connection that fails is closed; its protocol's `lost` is called. */
#ifndef RINGCAST_WEB_CONNECTION_H
#define RINGCAST_WEB_CONNECTION_H

#include <stdbool.h>
#include <uv.h>

#include "budget.h"
#include "counters.h"

#define CONNECTION_READ_BYTES 65536
#define CONNECTION_HANDSHAKE_TIMEOUT_MS 10000 /* TLS: three round trips over a bad mobile link */
/* After our last byte the connection stays open for a while and reads, so that the byte arrives:
 * closing with unread bytes makes the kernel reset the connection. */
#define CONNECTION_LINGER_MS 2000
#define CONNECTION_LINGER_BYTES_MAX (4u * 1024 * 1024)
/* A TLS peer can make us answer records (key updates) and not read the answers. */
#define CONNECTION_UNREAD_BYTES_MAX (4u * 1024 * 1024)

struct certificate;
struct tls_server;

enum connection_state {
    CONNECTION_HANDSHAKE, /* TLS */
    CONNECTION_OPEN,      /* bytes go to the protocol */
    CONNECTION_LINGER,    /* all is sent: reads until the peer closes or the time is over */
    CONNECTION_CLOSING
};

struct connection_protocol {
    /* Bytes from the peer. Returns how many of them were used. The others are given again, to the
     * protocol that the connection has then. */
    size_t (*received)(void *context, const char *bytes, size_t count);
    /* All bytes of one read from the socket were given. May be NULL. */
    void (*read_done)(void *context);
    /* The bytes of a connection_write with `tell` were written. */
    void (*written)(void *context);
    /* The peer will send no more. NULL: the connection is closed. */
    void (*peer_finished)(void *context);
    void (*deadline_passed)(void *context);
    /* The connection can be used: it is accepted and the TLS handshake, if any, is done. */
    void (*opened)(void *context);
    /* The peer's first byte on a TLS port was not TLS. */
    void (*not_tls)(void *context);
    /* The connection is closing. No other function is called after this one. */
    void (*lost)(void *context);
};

/* What all connections of one server use. */
struct connection_shared {
    uv_loop_t *loop;
    struct certificate *certificate; /* NULL: no TLS */
    struct http_counters counters;
    struct budgets budgets;
    /* One buffer for all connections: its bytes are used before libuv reads again. */
    char read_buffer[CONNECTION_READ_BYTES];
    char plain_buffer[CONNECTION_READ_BYTES]; /* the same bytes after TLS */
};

struct connection {
    uv_tcp_t tcp;
    uv_timer_t timer;
    struct connection_shared *shared;
    const struct connection_protocol *protocol; /* NULL: bytes are ignored */
    void *context;                              /* the protocol's */
    void (*released)(struct connection *connection);
    struct tls_server *tls; /* NULL: plain, or the peer has sent nothing yet */
    enum connection_state state;
    uint8_t handles;
    bool is_reading, is_doomed; /* is_doomed: connection_close_soon was called */
    uint32_t read_bytes_max, lingered_bytes;
    struct budget_share share; /* of the client's address */
};

/* Begins with a zeroed struct; end it with connection_close. */
void connection_init(struct connection *connection, struct connection_shared *shared,
                     void (*released)(struct connection *connection));
void connection_set_protocol(struct connection *connection,
                             const struct connection_protocol *protocol, void *context);
/* After uv_accept: TLS handshake or not, then `opened`, then bytes. */
void connection_begin(struct connection *connection, bool is_tls);

/* Sends what is queued, then ends the connection. The protocol gets no more calls. */
void connection_finish(struct connection *connection);
void connection_close(struct connection *connection);
/* Closes on the loop's next turn: for callers in the middle of their work. */
void connection_close_soon(struct connection *connection);

/* From now on the connection keeps `bytes` of what its client sent. False, and counted: the budget
 * of its address or of all addresses does not have them. */
bool connection_hold(struct connection *connection, size_t bytes);

/* `deadline_passed` is called after this time; 0: never. */
void connection_set_deadline(struct connection *connection, uint64_t timeout_ms);
void connection_start_reading(struct connection *connection);
void connection_stop_reading(struct connection *connection);
/* Gives bytes to the protocol as if the peer had just sent them. */
void connection_deliver(struct connection *connection, const char *bytes, size_t count);

/* Queues bytes: `owned` is freed when they are written, `borrowed` (may be NULL) must live as long
 * as the server. tell: then the protocol's `written` is called. */
void connection_write(struct connection *connection, char *owned, size_t owned_bytes,
                      const char *borrowed, size_t borrowed_bytes, bool tell);
/* Queues bytes that other connections send too; release(owner) is called exactly once. */
void connection_write_shared(struct connection *connection, const char *bytes, size_t count,
                             void (*release)(void *owner), void *owner);
/* Bytes that the socket has not taken yet. */
size_t connection_queued_bytes(const struct connection *connection);

#endif
