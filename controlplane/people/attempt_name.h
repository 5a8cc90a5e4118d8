/* The names under which attempts are counted: accounts, addresses. */
#ifndef RINGCAST_ATTEMPT_NAME_H
#define RINGCAST_ATTEMPT_NAME_H

#include <stdint.h>

/* An IPv4 address, or the /64 of an IPv6 address. */
#define ADDRESS_NAME_BYTES 64
void address_name(const char *ip, char out[ADDRESS_NAME_BYTES]);

/* A hash that nobody can predict without the key. Never 0. */
#define ATTEMPT_KEY_BYTES 32
uint64_t attempt_name_hash(const uint8_t key[ATTEMPT_KEY_BYTES], const char *name);

#endif
