/* Password hashes: new ones are argon2id; the prefix of a hash says how to verify it. */
#define _GNU_SOURCE /* crypt_r */
#include "password.h"

#include <argon2.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/web/memory.h"
#include "uuid.h"

#define SALT_BYTES 16
#define TAG_BYTES 32
/* A stored hash names the cost of its verification. These are the highest costs that are accepted;
 * the settings have the same maxima. */
#define STORED_MEMORY_KIB_MAX 262144
#define STORED_PASSES_MAX 16
#define STORED_LANES_MAX 4
#define BCRYPT_COST_MAX 14

bool password_hash(const struct password_cost *cost, const char *password,
                   char out[PASSWORD_HASH_BYTES])
{
    uint8_t salt[SALT_BYTES];

    random_fill(salt, sizeof(salt));
    return argon2id_hash_encoded(cost->passes, cost->memory_kib, cost->lanes, password,
                                 strlen(password), salt, sizeof(salt), TAG_BYTES, out,
                                 PASSWORD_HASH_BYTES) == ARGON2_OK;
}

void password_nobody(const struct password_cost *cost, char out[PASSWORD_HASH_BYTES])
{
    snprintf(out, PASSWORD_HASH_BYTES,
             "$argon2id$v=19$m=%u,t=%u,p=%u$bm9ib2R5IGhhcyBpdC4uLg$"
             "4hYkS8uMDrjvz0dV3J7XnQqLw5cTgE2ibmNf1OZpRCs",
             cost->memory_kib, cost->passes, cost->lanes);
}

static bool cost_read(const char *hash, struct password_cost *cost)
{
    return sscanf(hash, "$argon2id$v=19$m=%9u,t=%9u,p=%9u$", &cost->memory_kib, &cost->passes,
                  &cost->lanes) == 3;
}

static bool argon2id_matches(const char *hash, const char *password)
{
    struct password_cost cost;
    int result;

    if (!cost_read(hash, &cost) || cost.memory_kib > STORED_MEMORY_KIB_MAX ||
        cost.passes > STORED_PASSES_MAX || cost.lanes > STORED_LANES_MAX)
        return false;
    result = argon2id_verify(hash, password, strlen(password));
    if (result == ARGON2_MEMORY_ALLOCATION_ERROR || result == ARGON2_THREAD_FAIL)
        memory_failed();
    return result == ARGON2_OK;
}

/* Hashes of the NestJS backend, by libxcrypt. bcrypt uses only the first 72 bytes of a password. */
static bool bcrypt_matches(const char *hash, const char *password)
{
    struct crypt_data *work;
    const char *again;
    bool matches;

    if (strlen(hash) != 60 || atoi(hash + 4) > BCRYPT_COST_MAX)
        return false;
    work = calloc(1, sizeof(*work));
    if (!work) {
        memory_failed();
        return false;
    }
    again = crypt_r(password, hash, work);
    matches = again && strlen(again) == 60 && CRYPTO_memcmp(again, hash, 60) == 0;
    explicit_bzero(work, sizeof(*work));
    free(work);
    return matches;
}

bool password_verify(const char *hash, const char *password)
{
    static const struct {
        const char *prefix;
        bool (*matches)(const char *hash, const char *password);
    } kinds[] = {
        {"$argon2id$", argon2id_matches},
        {"$2a$", bcrypt_matches},
        {"$2b$", bcrypt_matches},
        {"$2y$", bcrypt_matches},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (!strncmp(hash, kinds[i].prefix, strlen(kinds[i].prefix)))
            return kinds[i].matches(hash, password);
    return false;
}

/* The lanes do not matter here: more of them make a hash faster, not stronger. */
bool password_hash_is_weaker(const char *hash, const struct password_cost *cost)
{
    struct password_cost old;

    return !cost_read(hash, &old) || old.memory_kib < cost->memory_kib || old.passes < cost->passes;
}
