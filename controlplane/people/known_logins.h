/* Known logins: the accounts, each with an address, from which the owner has logged in. They are
 * kept in a file, so that a restart does not lock people out whose passwords are being guessed.
 *
 * Limits:  16384 logins, stored as keyed hashes in 256 KiB, in memory and in the file. A new one
 *          replaces the one that was seen longest ago among the sixteen in its set, or, when its
 *          account has eight, the oldest of those: who logs in from very many addresses does not
 *          make us forget the addresses of others.
 * Errors:  a file that cannot be used is a line in the log; the names are in memory then.
 * Threads: one. No clock. */
#ifndef RINGCAST_KNOWN_LOGINS_H
#define RINGCAST_KNOWN_LOGINS_H

#include <stdbool.h>

#define KNOWN_LOGIN_BYTES 512 /* an account, a space and an address */

struct known_logins;
/* The file is known-logins in the data directory; -1: none. NULL: no memory. */
struct known_logins *known_logins_open(int directory);
void known_logins_close(struct known_logins *known);
void known_logins_add(struct known_logins *known, const char *account, const char *address);
bool known_logins_has(struct known_logins *known, const char *account, const char *address);

#endif
