/* One TCP connection to a Redis server or a Sentinel, with TLS where it is wanted: commands go out,
 * replies come in, in their order.
 *
 * hiredis 0.14 of Debian resolves names on the loop, and its asynchronous part has neither TLS nor
 * time limits. So the connection uses libuv; hiredis only formats commands and parses replies.
 *
 * Time:   connecting may take timeout_ms, and then each reply may take as long after the reply
 *         before it (or after its command). So a server that is stopped or cut off is noticed.
 * Memory: valid from redis_connection_open until `closed`, or until redis_connection_close. After
 *         either no handler is called.
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
/* context_tls NULL: without TLS. Returns NULL when there is no memory. */
struct redis_connection *redis_connection_open(uv_loop_t *loop, const char *host, uint16_t port,
                                               SSL_CTX *context_tls, uint32_t timeout_ms,
                                               const struct redis_connection_handlers *handlers,
                                               void *context);
/* bytes: whole commands that cause `replies` replies; they are copied. Errors come later, as
 * `closed`. */
void redis_connection_send(struct redis_connection *connection, const char *bytes, size_t count,
                           uint32_t replies);
/* Replies that have not come yet. */
uint32_t redis_connection_pending(const struct redis_connection *connection);
void redis_connection_close(struct redis_connection *connection);

#endif
