/* One connection to a Redis server or a Sentinel: resolved, connected, TLS where wanted; commands out,
 * replies in, in order.
 *
 * hiredis 0.14, Debian's, would resolve names on the loop, and knows neither TLS nor time limits in its
 * asynchronous half: so the connection is libuv's, and hiredis formats commands and reads replies.
 *
 * Time:   connecting as a whole, and then each reply after the one before (or after its command), may
 *         take timeout_ms; a server that is stopped or cut off is found so.
 * Memory: from wire_open until `closed`, or until wire_close, after which nothing is called any more.
 * Errors: `closed` with a sentence, once. */
#ifndef RINGCAST_LIVE_WIRE_H
#define RINGCAST_LIVE_WIRE_H

#include <hiredis/hiredis.h>
#include <uv.h>

#include "tls.h"

struct wire_handlers {
    void (*open)(void *context);
    void (*reply)(void *context, const redisReply *reply);
    void (*closed)(void *context, const char *why);
};

struct wire;
/* context_tls NULL: plain. NULL: no memory. */
struct wire *wire_open(uv_loop_t *loop, const char *host, uint16_t port, SSL_CTX *context_tls,
                       uint32_t timeout_ms, const struct wire_handlers *handlers, void *context);
/* bytes: whole commands that bring `replies` replies. Copied. Errors come as `closed`, later. */
void wire_send(struct wire *wire, const char *bytes, size_t count, uint32_t replies);
uint32_t wire_awaited(const struct wire *wire);
void wire_close(struct wire *wire);

#endif
