/* The server's certificate: loaded, watched, replaced while connections go on.
 *
 * Shape: certificate_current gives the SSL_CTX for new connections; those that are open keep theirs.
 * Reload: certificate_reload, and by itself within CERTIFICATE_WATCH_MS when one of the two files
 *         changed (what a name of them points to counts, so a renewed symbolic link is a change). A
 *         pair that is broken, does not belong together or is over is refused: an ERROR line says
 *         why, and the old one serves on. Files that are replaced one after the other are refused
 *         once and taken with the second.
 * Tickets: keys outlive a reload and change every TICKET_LIFE_S; the one before is still taken, so
 *          that a stolen memory image opens two hours of recorded resumptions at most.
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

/* why (192): what is wrong with which file, and what to do. */
struct certificate *certificate_open(uv_loop_t *loop, const char *certificate_file,
                                     const char *key_file, char *why);
/* The loop must run on for the handles to close. */
void certificate_close(struct certificate *certificate);
SSL_CTX *certificate_current(const struct certificate *certificate);
bool certificate_reload(struct certificate *certificate, char *why);

int64_t certificate_not_after_s(const struct certificate *certificate); /* unix time */
uint64_t certificate_reloads(const struct certificate *certificate);
uint64_t certificate_refusals(const struct certificate *certificate);

#endif
