/* Resolves the names in POSTGRES_HOST on a thread of its own. libpq would wait for the name server
 * on the loop. The thread pool is no place for it either: it hashes passwords and syncs the audit
 * spool. A name server that does not answer delays neither of them, nor the end of the process.
 *
 * Threads: called on the loop; `done` comes on the loop. */
#ifndef RINGCAST_POSTGRES_RESOLVER_H
#define RINGCAST_POSTGRES_RESOLVER_H

#include <stdbool.h>
#include <uv.h>

#define PG_ADDRESSES_MAX 16
#define PG_HOST_BYTES 256

/* One place to connect to. hostaddr "": host is a directory of Unix sockets. */
struct pg_address {
    char host[PG_HOST_BYTES], hostaddr[64];
};

struct pg_addresses {
    struct pg_address all[PG_ADDRESSES_MAX];
    unsigned count;
};

struct pg_lookup;
struct pg_resolver {
    uv_async_t wake;          /* the lookup has ended */
    struct pg_lookup *lookup; /* NULL: none runs */
    struct pg_addresses addresses;
    void *context;
    void (*done)(void *context, const char *problem /* NULL: none */);
    void (*closed)(void *context);
};

/* False: out of descriptors. done and closed are set before. */
bool pg_resolver_open(struct pg_resolver *resolver, uv_loop_t *loop);
/* Starts a lookup; then calls `done`. When no name is known, the addresses found before stay. */
void pg_resolver_start(struct pg_resolver *resolver, const char *hosts /* comma separated */);
/* Waits for no lookup. Ends with `closed`. */
void pg_resolver_close(struct pg_resolver *resolver);

#endif
