/* Known logins: the accounts, each with an address, from which the owner has logged in.
 *
 * Limits: 16384 names, stored as keyed hashes; a new name replaces the one that was seen longest
 *         ago among the eight in its set. Threads: one. No clock of its own. */
#ifndef RINGCAST_KNOWN_LOGINS_H
#define RINGCAST_KNOWN_LOGINS_H

#include <stdbool.h>
#include <stdint.h>

struct known_logins;
struct known_logins *known_logins_new(void);
void known_logins_delete(struct known_logins *known);
void known_logins_add(struct known_logins *known, const char *name, uint64_t now_ns);
bool known_logins_has(struct known_logins *known, const char *name);

#endif
