/* The server's side of one TLS connection, without I/O: bytes from the peer in, bytes for the peer
 * out.
 *
 *   tls_server_feed ─► tls_server_handshake (until open) ─► tls_server_read ─► plain bytes
 *   plain bytes ─► tls_server_write ─► tls_server_take_output ─► to the peer
 *
 * Threads: the loop's.
 * Memory:  the fed bytes are borrowed until tls_server_read returns TLS_MORE. The caller frees the
 *          output.
 * Errors:  TLS_FAILED; the output may hold an alert for the peer. */
#ifndef RINGCAST_WEB_TLS_SERVER_H
#define RINGCAST_WEB_TLS_SERVER_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

struct tls_server;

enum tls_server_verdict {
    TLS_MORE,   /* needs more bytes from the peer */
    TLS_DONE,   /* the handshake is done; or plain bytes were read */
    TLS_CLOSED, /* close_notify: the peer will send no more */
    TLS_FAILED
};

struct tls_server *tls_server_new(SSL_CTX *context); /* NULL: no memory */
void tls_server_free(struct tls_server *tls);        /* may be NULL */

void tls_server_feed(struct tls_server *tls, const char *bytes, size_t count);
enum tls_server_verdict tls_server_handshake(struct tls_server *tls);
enum tls_server_verdict tls_server_read(struct tls_server *tls, char *to, size_t room,
                                        size_t *count);
bool tls_server_write(struct tls_server *tls, const char *bytes, size_t count);
void tls_server_say_goodbye(struct tls_server *tls); /* close_notify */
/* NULL when there is no output. The caller frees it. */
char *tls_server_take_output(struct tls_server *tls, size_t *count);

bool tls_server_is_open(const struct tls_server *tls);    /* the handshake is done */
bool tls_server_is_resumed(const struct tls_server *tls); /* with a ticket */
/* Can these first bytes begin a TLS connection? Otherwise the peer speaks something else. */
static inline bool tls_server_begins(const char *bytes)
{
    return bytes[0] == 22; /* RFC 8446 5.1: handshake */
}

#endif
