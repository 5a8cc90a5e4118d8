/* Known logins: a set-associative table of names and their order, and a copy of it in a file. */
#include "known_logins.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attempt_name.h"
#include "src/log.h"
#include "uuid.h"

#define SETS 1024 /* a power of two */
#define WAYS 16
#define PER_ACCOUNT_MAX 8
#define FILE_NAME "known-logins"
#define LOSS "after a restart nobody's address is familiar"

/* The file is this structure. The hashes in it tell no names without trying them all. */
struct table {
    char magic[8];
    uint8_t key[ATTEMPT_KEY_BYTES];
    struct entry {
        uint32_t account, pair; /* keyed hashes of the account, and of both; 0, 0: free */
        uint64_t order;         /* a higher one was seen later */
    } entries[SETS][WAYS];
};

struct known_logins {
    struct table table;
    uint64_t order;
    int fd; /* -1: memory only */
};

static const char magic[8] = "RCKNOWN1";

/* Fails for a file that is new, cut off or of something else. */
static bool table_read(struct known_logins *known)
{
    ssize_t got = pread(known->fd, &known->table, sizeof(known->table), 0);

    if (got != (ssize_t)sizeof(known->table) ||
        memcmp(known->table.magic, magic, sizeof(magic)) != 0)
        return false;
    for (unsigned set = 0; set < SETS; set++)
        for (unsigned i = 0; i < WAYS; i++)
            if (known->table.entries[set][i].order > known->order)
                known->order = known->table.entries[set][i].order;
    return true;
}

static void table_begin(struct known_logins *known)
{
    memset(&known->table, 0, sizeof(known->table));
    memcpy(known->table.magic, magic, sizeof(magic));
    random_fill(known->table.key, sizeof(known->table.key));
}

/* Writes bytes of the table to their place in the file. After a failure the table is in memory
 * only. */
static void table_write(struct known_logins *known, const void *from, size_t bytes)
{
    off_t at = (const char *)from - (const char *)&known->table;

    if (known->fd < 0 || pwrite(known->fd, from, bytes, at) == (ssize_t)bytes)
        return;
    LOG(WARN, "auth", "cannot write known-logins in the data directory: " LOSS,
        F("why", "%s", strerror(errno)));
    close(known->fd);
    known->fd = -1;
}

struct known_logins *known_logins_open(int directory)
{
    struct known_logins *known = calloc(1, sizeof(*known));

    if (!known)
        return NULL;
    known->fd = openat(directory, FILE_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (known->fd < 0)
        LOG(WARN, "auth", "cannot open known-logins in the data directory: " LOSS,
            F("why", "%s", strerror(errno)));
    if (known->fd >= 0 && table_read(known))
        return known;
    table_begin(known);
    table_write(known, &known->table, sizeof(known->table));
    return known;
}

void known_logins_close(struct known_logins *known)
{
    if (known && known->fd >= 0)
        close(known->fd);
    free(known);
}

static struct entry *set_of(struct known_logins *known, const char *account, const char *address,
                            struct entry *wanted)
{
    uint64_t hash = attempt_name_hash(known->table.key, account);
    char pair[KNOWN_LOGIN_BYTES];

    snprintf(pair, sizeof(pair), "%s %s", account, address);
    *wanted = (struct entry){.account = (uint32_t)(hash >> 32),
                             .pair = (uint32_t)(attempt_name_hash(known->table.key, pair) | 1)};
    return known->table.entries[hash & (SETS - 1)];
}

static bool is_same(const struct entry *a, const struct entry *b)
{
    return a->account == b->account && a->pair == b->pair;
}

void known_logins_add(struct known_logins *known, const char *account, const char *address)
{
    struct entry wanted, *set = set_of(known, account, address, &wanted), *oldest = set,
                         *own_oldest = NULL;
    unsigned own = 0;

    wanted.order = ++known->order;
    for (struct entry *e = set; e < set + WAYS; e++) {
        if (is_same(e, &wanted)) {
            e->order = wanted.order; /* in memory only: there are many such logins */
            return;
        }
        if (e->order < oldest->order)
            oldest = e;
        if (e->pair && e->account == wanted.account) {
            own++;
            if (!own_oldest || e->order < own_oldest->order)
                own_oldest = e;
        }
    }
    if (own >= PER_ACCOUNT_MAX)
        oldest = own_oldest;
    *oldest = wanted;
    table_write(known, oldest, sizeof(*oldest));
}

bool known_logins_has(struct known_logins *known, const char *account, const char *address)
{
    struct entry wanted, *set = set_of(known, account, address, &wanted);

    for (unsigned i = 0; i < WAYS; i++)
        if (is_same(&set[i], &wanted))
            return true;
    return false;
}
