/* The server's TLS certificate and key. They can be replaced while connections are open.
 *
 * Shape:   certificate_current gives the SSL_CTX for new connections. Open connections keep theirs.
 * Reload:  by certificate_reload, or automatically within CERTIFICATE_WATCH_MS after one of the two
 *          files has changed (also when a symbolic link points to another file). A pair that is
 *          broken, does not belong together or has expired is refused: an ERROR line says why, and
 *          the old pair stays in use. When the two files are replaced one after the other, the
 *          first change is refused and the second is loaded.
 * Tickets: ticket keys survive a reload. A new key is made every TICKET_LIFE_S, and the previous
 *          key is still accepted, so stolen keys open at most two hours of recorded resumed
 *          sessions.
 * Threads: the loop's. Source: RFC 8446, RFC 5077, RFC 7301, RFC 9325. */
#ifndef RINGCAST_WEB_CERTIFICATE_H
#define RINGCAST_WEB_CERTIFICATE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define CERTIFICATE_WATCH_MS 1000
#define TICKET_LIFE_S 3600

struct certificate;

/* NULL: why (192) says what is wrong with which file. */
struct certificate *certificate_open(uv_loop_t *loop, const char *certificate_file,
                                     const char *key_file, char *why);
/* Frees it when the loop has closed its handles. certificate may be NULL. */
void certificate_close(struct certificate *certificate);
SSL_CTX *certificate_current(const struct certificate *certificate);
/* Is it for this host name or IP address? (RFC 6125) */
bool certificate_names(const struct certificate *certificate, const char *host);
bool certificate_reload(struct certificate *certificate, char *why);

int64_t certificate_not_after_s(const struct certificate *certificate); /* unix time */
uint64_t certificate_reloads(const struct certificate *certificate);
uint64_t certificate_refusals(const struct certificate *certificate);

#endif
