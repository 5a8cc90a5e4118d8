/* One connection to a Redis server or a Sentinel: resolved, connected, TLS where wanted; commands out,
 * replies in, in order.
 *
 * hiredis 0.14, Debian's, would resolve names on the loop, and knows neither TLS nor time limits in its
 * asynchronous half: so the connection is libuv's, and hiredis formats commands and reads replies.
 *
 * Time:   connecting as a whole, and then each reply after the one before (or after its command), may
 *         take timeout_ms; a server that is stopped or cut off is found so.
 * Memory: from redis_connection_open until `closed`, or until redis_connection_close, after which nothing is called any more.
 * Errors: `closed` with a sentence, once. */
#ifndef RINGCAST_LIVE_REDIS_CONNECTION_H
#define RINGCAST_LIVE_REDIS_CONNECTION_H

#include <hiredis/hiredis.h>
#include <uv.h>

#include "tls.h"

struct redis_connection_handlers {
    void (*open)(void *context);
    void (*reply)(void *context, const redisReply *reply);
    void (*closed)(void *context, const char *why);
};

struct redis_connection;
/* context_tls NULL: plain. NULL: no memory. */
struct redis_connection *redis_connection_open(uv_loop_t *loop, const char *host, uint16_t port,
                                               SSL_CTX *context_tls, uint32_t timeout_ms,
                                               const struct redis_connection_handlers *handlers,
                                               void *context);
/* bytes: whole commands that bring `replies` replies. Copied. Errors come as `closed`, later. */
void redis_connection_send(struct redis_connection *connection, const char *bytes, size_t count,
                           uint32_t replies);
uint32_t redis_connection_awaited(const struct redis_connection *connection);
void redis_connection_close(struct redis_connection *connection);

#endif
