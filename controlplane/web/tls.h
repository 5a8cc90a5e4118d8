/* One TLS connection, server side, without I/O: bytes from the peer in, bytes for the peer out.
 *
 *   tls_feed ─► tls_handshake (until open) ─► tls_read ─► plain bytes
 *   plain bytes ─► tls_write ─► tls_take_output ─► to the peer
 *
 * Threads: the loop's. Memory: what is fed is borrowed until tls_read has said TLS_MORE; output is
 * given away. Errors: TLS_FAILED; an alert for the peer may be in the output. */
#ifndef RINGCAST_WEB_TLS_H
#define RINGCAST_WEB_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

struct tls;

enum tls_verdict {
    TLS_MORE,   /* wants more bytes from the peer */
    TLS_DONE,   /* the handshake is over; plain bytes were read */
    TLS_CLOSED, /* close_notify: the peer will say no more */
    TLS_FAILED
};

struct tls *tls_new(SSL_CTX *context); /* NULL: no memory */
void tls_free(struct tls *tls);        /* NULL: nothing */

void tls_feed(struct tls *tls, const char *bytes, size_t count);
enum tls_verdict tls_handshake(struct tls *tls);
enum tls_verdict tls_read(struct tls *tls, char *to, size_t room, size_t *count);
bool tls_write(struct tls *tls, const char *bytes, size_t count);
void tls_say_goodbye(struct tls *tls); /* close_notify */
/* NULL when there is nothing; else the caller's to free. */
char *tls_take_output(struct tls *tls, size_t *count);

bool tls_is_open(const struct tls *tls);    /* the handshake is over */
bool tls_is_resumed(const struct tls *tls); /* with a ticket */
/* Could these first bytes begin a TLS connection? Else somebody speaks something else here. */
static inline bool tls_begins(const char *bytes)
{
    return bytes[0] == 22; /* RFC 8446 5.1: handshake */
}

#endif
