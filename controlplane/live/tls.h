/* TLS of a connection to Redis: OpenSSL over memory, no socket of its own.
 *
 * Threads: the loop. Errors: sentences in `why` (WHY_BYTES). The server's certificate must be signed by
 * one of the named authorities and be for the host that we wanted. */
#ifndef RINGCAST_LIVE_TLS_H
#define RINGCAST_LIVE_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#define TLS_WHY_BYTES 192

/* ca: a PEM file, "" for the system's; certificate and key: ours, "" when the server wants none. */
SSL_CTX *tls_context_open(const char *ca, const char *certificate, const char *key,
                          char *why /* TLS_WHY_BYTES */);

/* Could it be opened? */
bool tls_files_check(const char *ca, const char *certificate, const char *key,
                     char *why /* TLS_WHY_BYTES */);

struct tls {
    SSL *ssl; /* NULL: the connection is plain */
    BIO *in, *out;
    bool is_up;
};

bool tls_open(struct tls *tls, SSL_CTX *context, const char *host);
void tls_close(struct tls *tls);
/* What came from the network. */
bool tls_feed(struct tls *tls, const char *bytes, size_t count);
/* Goes on with the handshake; false: it failed (why). is_up says when it is through. */
bool tls_handshake(struct tls *tls, char *why /* TLS_WHY_BYTES */);
/* Plain bytes: > 0, 0: none for now, -1: the end or an error (why). */
int tls_read(struct tls *tls, char *bytes, size_t room, char *why /* TLS_WHY_BYTES */);
bool tls_write(struct tls *tls, const char *bytes, size_t count);
/* What is to go to the network: its length; tls_sent takes it away. */
size_t tls_to_send(struct tls *tls, const char **bytes);
void tls_sent(struct tls *tls);

#endif
