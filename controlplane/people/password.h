/* Password hashes: new ones are argon2id PHC strings; bcrypt hashes of existing users are verified.
 *
 * Cost: one hash takes 19 MiB or more and about 25 ms of CPU time: on the thread pool, never on the
 *       loop.
 * Threads: any; no state. Source: RFC 9106, threats C1 and C4. */
#ifndef RINGCAST_PASSWORD_H
#define RINGCAST_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#define PASSWORD_HASH_BYTES 256

/* The settings' argon2_memory_kib, argon2_passes, argon2_lanes. */
struct password_cost {
    uint32_t memory_kib, passes, lanes;
};

/* False: no memory. */
bool password_hash(const struct password_cost *cost, const char *password,
                   char out[PASSWORD_HASH_BYTES]);
/* False: it does not match, or memory_failures() has grown. */
bool password_verify(const char *hash, const char *password);
/* Was the hash made with a lower cost, or in another way? Then the next login makes a new one. */
bool password_hash_is_weaker(const char *hash, const struct password_cost *cost);

/* A hash to verify when the user does not exist, so that an unknown e-mail address takes as long as
 * a known one. No password matches it. */
void password_nobody(const struct password_cost *cost, char out[PASSWORD_HASH_BYTES]);

#endif
