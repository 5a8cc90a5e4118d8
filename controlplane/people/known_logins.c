/* Known logins: a set-associative table of names and when each was seen last. */
#include "known_logins.h"

#include <stdlib.h>

#include "attempt_name.h"
#include "uuid.h"

#define SETS 2048 /* a power of two */
#define WAYS 8

struct known_logins {
    uint8_t key[32];
    struct {
        uint64_t name, seen_ns;
    } entries[SETS][WAYS];
};

struct known_logins *known_logins_new(void)
{
    struct known_logins *known = calloc(1, sizeof(*known));

    if (known)
        random_fill(known->key, sizeof(known->key));
    return known;
}

void known_logins_delete(struct known_logins *known)
{
    free(known);
}

void known_logins_add(struct known_logins *known, const char *name, uint64_t now_ns)
{
    uint64_t hash = attempt_name_hash(known->key, name);
    unsigned set = hash & (SETS - 1), place = 0;

    for (unsigned i = 0; i < WAYS; i++) {
        if (known->entries[set][i].name == hash) {
            place = i;
            break;
        }
        if (known->entries[set][i].seen_ns < known->entries[set][place].seen_ns)
            place = i;
    }
    known->entries[set][place].name = hash;
    known->entries[set][place].seen_ns = now_ns;
}

bool known_logins_has(struct known_logins *known, const char *name)
{
    uint64_t hash = attempt_name_hash(known->key, name);

    for (unsigned i = 0; i < WAYS; i++)
        if (known->entries[hash & (SETS - 1)][i].name == hash)
            return true;
    return false;
}
