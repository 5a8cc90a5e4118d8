/* TLS of a connection to Redis: OpenSSL reads and writes memory, not a socket.
 *
 * Threads: the loop. Errors: sentences in `why` (TLS_WHY_BYTES).
 * Checks: one of the given authorities must have signed the certificate of the server, and it must
 *         be for the host that we connect to. */
#ifndef RINGCAST_LIVE_TLS_H
#define RINGCAST_LIVE_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#define TLS_WHY_BYTES 192

/* ca: a PEM file of authorities, "" for those of the system. certificate and key: PEM files of
 * ours, "" when the server wants none. */
SSL_CTX *tls_context_open(const char *ca, const char *certificate, const char *key,
                          char *why /* TLS_WHY_BYTES */);

/* Can a context be made of these files? */
bool tls_files_check(const char *ca, const char *certificate, const char *key,
                     char *why /* TLS_WHY_BYTES */);

struct tls {
    SSL *ssl; /* NULL: the connection is plain */
    BIO *in, *out;
    bool is_up;
};

bool tls_open(struct tls *tls, SSL_CTX *context, const char *host);
void tls_close(struct tls *tls);
/* Takes bytes that arrived from the network. */
bool tls_feed(struct tls *tls, const char *bytes, size_t count);
/* Continues the handshake. False: it failed (why). is_up: it is complete. */
bool tls_handshake(struct tls *tls, char *why /* TLS_WHY_BYTES */);
/* The number of decrypted bytes; 0: none for now; -1: the connection ended, or an error (why). */
int tls_read(struct tls *tls, char *bytes, size_t room, char *why /* TLS_WHY_BYTES */);
bool tls_write(struct tls *tls, const char *bytes, size_t count);
/* The bytes to send to the network, and their number. tls_sent removes them. */
size_t tls_to_send(struct tls *tls, const char **bytes);
void tls_sent(struct tls *tls);

#endif
