/* Password hashes: argon2id PHC strings for new ones; bcrypt of existing users is understood.
 *
 * Cost: one hash is 19 MiB or more and some 25 ms of CPU: thread pool only, never the loop.
 * Threads: any; no state. Source: RFC 9106, threats.md C1 and C4, signaling.md §3. */
#ifndef RINGCAST_PASSWORD_H
#define RINGCAST_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#define PASSWORD_HASH_BYTES 256

/* The settings' argon2_memory_kib, argon2_passes, argon2_lanes. */
struct password_cost {
    uint32_t memory_kib, passes, lanes;
};

/* False: no memory for it. */
bool password_hash(const struct password_cost *cost, const char *password,
                   char out[PASSWORD_HASH_BYTES]);
bool password_verify(const char *hash, const char *password);
/* Made with less than this cost, or another way? Then hash anew at the next login. */
bool password_hash_is_weaker(const char *hash, const struct password_cost *cost);

/* Verified in place of a hash that does not exist, so that an unknown email takes as long. No
 * password is known for it (its tag is made up). */
void password_nobody(const struct password_cost *cost, char out[PASSWORD_HASH_BYTES]);

#endif
