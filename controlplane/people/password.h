/* Password hashes: argon2id PHC strings for new ones; bcrypt of existing users is understood.
 *
 * Cost: one hash is 19 MiB and some 25 ms of CPU: thread pool only, never the loop.
 * Threads: any; no state. Source: RFC 9106, threats.md C1 and C4, signaling.md §3. */
#ifndef RINGCAST_PASSWORD_H
#define RINGCAST_PASSWORD_H

#include <stdbool.h>

#define PASSWORD_HASH_BYTES 256
#define PASSWORD_PASSES 2
#define PASSWORD_MEMORY_KIB 19456
#define PASSWORD_LANES 1

/* False: no memory for it. */
bool password_hash(const char *password, char out[PASSWORD_HASH_BYTES]);
bool password_verify(const char *hash, const char *password);
/* Made with the parameters of today? If not, hash anew at the next login. */
bool password_hash_is_current(const char *hash);

/* Verified in place of a hash that does not exist, so that an unknown email takes as long. No
 * password is known for it (its tag is made up). */
extern const char password_nobody[];

#endif
