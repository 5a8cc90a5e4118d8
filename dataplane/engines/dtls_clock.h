/* The clock by which OpenSSL decides whether it is time to send a flight again: the monotonic one. */
#ifndef RINGCAST_DTLS_CLOCK_H
#define RINGCAST_DTLS_CLOCK_H

#include <openssl/ssl.h>
#include <stdint.h>

/* How long until OpenSSL wants to send again; UINT64_MAX: it waits for nothing. */
uint64_t dtls_clock_left_ns(SSL *ssl);

#endif
