/* SipHash-2-4 with a key that this process draws at its start. Use it for every table whose keys
 * strangers choose: they cannot find keys that fall into one bucket.
 *
 * Threads: the loop's. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. */
#ifndef RINGCAST_WEB_KEYED_HASH_H
#define RINGCAST_WEB_KEYED_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t keyed_hash(const void *bytes, size_t count);
/* The same with a key of the caller's: for the vectors of the paper. */
uint64_t keyed_hash_with(const uint64_t key[2], const void *bytes, size_t count);

#endif
